/* down, logs: small commands that look at what is there. */
#include "cluster/private.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define TAIL_BYTES (64 << 10)

#define DATA_DIR_OPTION(dir) \
	{ "data-dir", 0, CLUSTER_OPTION_TEXT, dir, "folder of everything (default $KNARR_DATA_DIR or /var/lib/knarr)" }

/* ---- down */

/* What is left of the cluster, and how it ends. 1: it was to end and did not. */
static int left_tell(const struct cluster_layout *l, struct span dir, bool keep)
{
	unsigned containers, processes;
	auto_buf struct buf reset = {};
	cluster_groups_count(l, &containers, &processes);
	buf_printf(&reset, "'knarr reset%s%.*s'", dir.len ? " --data-dir " : "", SPAN_ARG(dir));
	if (!processes) {
		printf(keep ? "Stopped; there are no containers that would go on running.\n" : "Stopped.\n");
		return 0;
	}
	printf("Stopped; %u container%s go%s on running (%u process%s in all%s).\n", containers, containers == 1 ? "" : "s",
	       containers == 1 ? "es" : "", processes, processes == 1 ? "" : "es", keep ? "" : ", which do not end");
	if (keep)
		printf("'knarr up' takes them up again, 'knarr down' after it ends them; %s ends and removes them.\n", buf_cstr(&reset));
	else
		printf("They were told to end. %s ends and removes them, with all that is in the cluster.\n", buf_cstr(&reset));
	return keep ? 0 : 1;
}

int cluster_down_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct cluster_layout l = {};
	struct span dir = SPAN_EMPTY;
	bool keep = false;
	const struct cluster_option options[] = {
		DATA_DIR_OPTION(&dir),
		{ "keep", 0, CLUSTER_OPTION_TRUE, &keep, "leave containers running" },
	};
	struct cluster_usage u = { .usage = "down [flags]", .about =
		"Stops a cluster. 'knarr up' starts it again, with all that is in it.",
				   .options = options, .n_options = ARRAY_LEN(options) };
	int rc = cluster_options_parse(&u, argc - 1, argv + 1, &err);
	if (rc > 0)
		return 0;
	if (rc == 0)
		rc = cluster_layout_init(&l, dir, &err);
	if (rc == 0)
		rc = cluster_stop(&l, keep, &err);
	int left = rc == 0 ? left_tell(&l, dir, keep) : 0;
	cluster_layout_done(&l);
	return rc < 0 ? cluster_fail("down", &err) : left;
}

/* ---- logs */

/* Where the last lines begin. */
static off_t tail_start(int fd, unsigned lines, off_t size)
{
	auto_free char *b = mem_alloc(TAIL_BYTES);
	unsigned seen = 0;
	for (off_t end = size, from; end > 0; end = from) {
		from = end > TAIL_BYTES ? end - TAIL_BYTES : 0;
		ssize_t n = pread(fd, b, (size_t)(end - from), from);
		for (ssize_t i = n - 1; i >= 0; i--)
			if (b[i] == '\n' && from + i != size - 1 && ++seen == lines)
				return from + i + 1;
	}
	return 0;
}

void cluster_log_tail(const struct cluster_layout *l, const char *part, unsigned lines, struct buf *out)
{
	auto_buf struct buf path = {}, text = {};
	struct stat st;
	struct span rest, one;
	buf_printf(&path, "%s/%s.log", l->log.ptr, part);
	auto_fd int fd = open(buf_cstr(&path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0 || lseek(fd, tail_start(fd, lines, st.st_size), SEEK_SET) < 0 ||
	    io_read_all(fd, &text, TAIL_BYTES * 2, NULL) < 0)
		return;
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &one))
		buf_printf(out, "  %.*s\n", SPAN_ARG(one));
}

/* Prints what is behind *at; a file that was emptied is begun anew. */
static int print_from(int fd, off_t *at, struct err *err)
{
	char b[16384];
	struct stat st;
	if (fstat(fd, &st) == 0 && st.st_size < *at)
		*at = 0;
	for (;;) {
		ssize_t n = pread(fd, b, sizeof(b), *at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "reading the log");
		if (n == 0)
			return fflush(stdout) == 0 ? 0 : err_sys(err, "standard output");
		if (fwrite(b, 1, (size_t)n, stdout) != (size_t)n)
			return err_sys(err, "standard output");
		*at += n;
	}
}

static int follow(int fd, const char *path, off_t *at, struct err *err)
{
	union {
		struct inotify_event e;
		char room[4096];
	} events;
	auto_fd int in = inotify_init1(IN_CLOEXEC);
	if (in < 0 || inotify_add_watch(in, path, IN_MODIFY) < 0)
		return err_sys(err, "watching %s", path);
	for (;;) {
		int rc = print_from(fd, at, err);
		if (rc < 0)
			return rc;
		if (read(in, &events, sizeof(events)) < 0 && errno != EINTR)
			return err_sys(err, "watching %s", path);
	}
}

/* What systemd starts it logs. Returns when that is not possible. */
static void journal_show(int64_t lines, bool go_on, struct err *err)
{
	char n[24] = "all";
	if (lines >= 0)
		snprintf(n, sizeof(n), "%lld", (long long)lines);
	(void)execl("/usr/bin/journalctl", "journalctl", "--quiet", "--no-pager", "--output=cat", "--unit=knarr.service", "--lines", n,
		    go_on ? "--follow" : NULL, NULL);
	(void)err_sys(err, "journalctl, which has the log of what systemd starts");
}

int cluster_logs_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf path = {};
	struct cluster_layout l = {};
	struct span dir = SPAN_EMPTY, name = SPAN_EMPTY;
	bool go_on = false;
	int64_t lines = -1;
	const char *names[CLUSTER_PARTS + 1];
	struct stat st;
	const struct cluster_option options[] = {
		DATA_DIR_OPTION(&dir),
		{ "follow", 'f', CLUSTER_OPTION_TRUE, &go_on, "go on with what comes" },
		{ "tail", 'n', CLUSTER_OPTION_NUMBER, &lines, "begin with the last so many lines (default: all)" },
	};
	struct cluster_usage u = { .usage = "logs [flags] PART", .options = options, .n_options = ARRAY_LEN(options), .n_words = 1,
		.words = &name,
				   .about = "Prints the log of a part: server, engine, apiserver, controller-manager, scheduler, kubelet, "
					    "proxy, dns." };
	int rc = cluster_options_parse(&u, argc - 1, argv + 1, &err);
	if (rc > 0)
		return 0;
	memcpy(names, cluster_part_names, sizeof(cluster_part_names));
	names[CLUSTER_PARTS] = "server";
	unsigned i = 0;
	while (i < ARRAY_LEN(names) && !span_is(name, names[i]))
		i++;
	if (rc == 0 && !u.got_words)
		rc = err_set(&err, ERR_USAGE, "which part?");
	if (rc == 0 && i == ARRAY_LEN(names)) {
		const char *near = cluster_nearest(name, names, ARRAY_LEN(names));
		rc = err_set(&err, ERR_USAGE, "there is no part \"%.*s\"%s%s%s", SPAN_ARG(name), near ? "; did you mean " : "", near ? near
			: "",
			     near ? "?" : "");
	}
	if (rc == 0)
		rc = cluster_layout_init(&l, dir, &err);
	if (rc == 0 && i == CLUSTER_PARTS && cluster_layout_systemd(&l)) {
		journal_show(lines, go_on, &err);
		rc = -(int)err.class;
	}
	if (rc == 0) {
		off_t at = 0;
		buf_printf(&path, "%s/%s.log", l.log.ptr, names[i]);
		auto_fd int fd = open(buf_cstr(&path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 || fstat(fd, &st) < 0)
			rc = err_sys(&err, "%s", buf_cstr(&path));
		else if (lines >= 0)
			at = lines ? tail_start(fd, (unsigned)MIN(lines, (int64_t)1000000), st.st_size) : st.st_size;
		if (rc == 0)
			rc = go_on ? follow(fd, buf_cstr(&path), &at, &err) : print_from(fd, &at, &err);
	}
	cluster_layout_done(&l);
	return rc < 0 ? cluster_fail("logs", &err) : 0;
}
