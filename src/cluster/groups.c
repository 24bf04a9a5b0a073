/* The control groups of a cluster, /knarr-ID in every hierarchy, under systemd /knarr_ID.slice: who is in them, how they end
 * and go. Needed where no runtime can be asked: what is in there was started for this cluster and nothing else is. */
#include "cluster/private.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

#include "sys/sys.h"

#define DEPTH 16
#define PIDS_MAX 65536
#define REMOVE_MS 2000
#define KILL_MS 5000

bool cluster_mount_point(struct span line, struct buf *out)
{
	struct span rest = line, field = SPAN_EMPTY;
	for (int i = 0; i < 5; i++)
		if (!span_cut(&rest, ' ', &field))
			return false;
	for (size_t i = 0; i < field.len; i++) {
		uint64_t c;
		if (field.ptr[i] == '\\' && i + 3 < field.len && span_to_u64_base(span_sub(field, i + 1, i + 4), 8, &c) && c < 256) {
			buf_chr(out, (char)c);
			i += 3;
		} else {
			buf_chr(out, field.ptr[i]);
		}
	}
	return true;
}

/* Runs fn for the top folder of every hierarchy. */
static void each_hierarchy(void (*fn)(int top, const char *path, void *arg), void *arg)
{
	auto_buf struct buf text = {};
	struct span rest, line;
	if (sys_file_read(AT_FDCWD, "/proc/self/mountinfo", &text, 64 << 20) < 0)
		return;
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &line)) {
		auto_buf struct buf point = {};
		if ((!span_has(line, SPAN(" - cgroup ")) && !span_has(line, SPAN(" - cgroup2 "))) || !cluster_mount_point(line, &point))
			continue;
		auto_fd int top = open(buf_cstr(&point), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (top >= 0)
			fn(top, buf_cstr(&point), arg);
	}
}

/* ---- who is in them */

/* What they are called: by their makers, and by systemd, for which a "-" would be a slice above. */
struct names {
	char of[2][48];
};

static void names_make(struct names *n, const struct cluster_layout *l)
{
	(void)snprintf(n->of[0], sizeof(n->of[0]), "knarr-%s", l->id);
	(void)snprintf(n->of[1], sizeof(n->of[1]), "knarr_%s.slice", l->id);
}

struct members {
	const struct names *names;
	pid_t *pids; /* owned; each once */
	size_t n, cap;
};

static bool is_member(const struct members *m, pid_t pid)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->pids[i] == pid)
			return true;
	return false;
}

static void member_add(struct members *m, pid_t pid)
{
	if (is_member(m, pid) || m->n == PIDS_MAX)
		return;
	MEM_GROW(m->pids, m->n, m->cap);
	m->pids[m->n++] = pid;
}

static void collect(struct members *m, int parent, const char *name, unsigned depth)
{
	auto_buf struct buf text = {};
	struct span rest, line;
	int64_t pid;
	auto_fd int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	if (sys_file_read(fd, "cgroup.procs", &text, 4 << 20) == 0) {
		rest = buf_span(&text);
		while (span_cut(&rest, '\n', &line))
			if (span_to_i64(line, &pid) && pid > 1)
				member_add(m, (pid_t)pid);
	}
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;
	while (depth && d && (e = readdir(d)))
		if (e->d_type == DT_DIR && e->d_name[0] != '.')
			collect(m, fd, e->d_name, depth - 1);
	if (d)
		closedir(d);
}

static void collect_here(int top, const char *path, void *arg)
{
	struct members *m = arg;
	for (size_t i = 0; i < ARRAY_LEN(m->names->of); i++)
		collect(m, top, m->names->of[i], DEPTH);
}

/* The first of its PID namespace: the one that a stop signal is meant for; the others are its to end. */
static bool is_first(pid_t pid)
{
	char path[40];
	auto_buf struct buf text = {};
	struct span rest, line;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (sys_file_read(AT_FDCWD, path, &text, 1 << 16) < 0)
		return false;
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &line))
		if (span_starts(line, SPAN("NSpid:")))
			return span_ends(line, SPAN("\t1"));
	return false;
}

/* Sends signum (to the first ones alone, or all) and waits for the end of each it went to. How many are left;
 * *seen: how many were in the groups at first. */
static unsigned end_members(const struct names *names, int signum, bool first_only, int64_t wait_ms, unsigned *seen)
{
	struct members m = { .names = names }, held = { .names = names };
	int64_t until = clock_mono_ms(clock_real()) + wait_ms;
	unsigned left = 0;
	each_hierarchy(collect_here, &m);
	*seen = (unsigned)m.n;
	int *fds = mem_alloc((m.n + 1) * sizeof(*fds));
	for (size_t i = 0; i < m.n; i++)
		fds[i] = (int)syscall(SYS_pidfd_open, m.pids[i], 0);
	/* A number may be somebody else's by now: the groups are asked once more, with the processes held. */
	each_hierarchy(collect_here, &held);
	for (size_t i = 0; i < m.n; i++) {
		if (fds[i] >= 0 && is_member(&held, m.pids[i]) && (!first_only || is_first(m.pids[i])))
			(void)syscall(SYS_pidfd_send_signal, fds[i], signum, NULL, 0);
		else
			fd_close(&fds[i]);
	}
	for (size_t i = 0; i < m.n; i++) {
		if (fds[i] < 0)
			continue;
		struct pollfd p = { .fd = fds[i], .events = POLLIN };
		int64_t wait = until - clock_mono_ms(clock_real());
		left += poll(&p, 1, (int)MAX(wait, (int64_t)0)) != 1;
		close(fds[i]);
	}
	free(fds);
	free(held.pids);
	free(m.pids);
	return left;
}

static bool is_pause(pid_t pid)
{
	char path[40];
	auto_buf struct buf text = {};
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	return sys_file_read(AT_FDCWD, path, &text, 64) == 0 && span_is(span_trim(buf_span(&text)), "pause");
}

void cluster_groups_count(const struct cluster_layout *l, unsigned *out_containers, unsigned *out_processes)
{
	struct names names = {};
	names_make(&names, l);
	struct members m = { .names = &names };
	each_hierarchy(collect_here, &m);
	*out_containers = 0;
	*out_processes = (unsigned)m.n;
	for (size_t i = 0; i < m.n; i++)
		*out_containers += is_first(m.pids[i]) && !is_pause(m.pids[i]);
	free(m.pids);
}

static void kill_here(int top, const char *path, void *arg)
{
	const struct names *n = arg;
	for (size_t i = 0; i < ARRAY_LEN(n->of); i++) {
		auto_fd int group = openat(top, n->of[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		auto_fd int fd = group < 0 ? -1 : openat(group, "cgroup.kill", O_WRONLY | O_CLOEXEC);
		if (fd >= 0)
			(void)!write(fd, "1", 1); /* refused: they are ended one by one */
	}
}

unsigned cluster_groups_end(const struct cluster_layout *l, int64_t grace_ms)
{
	struct names names = {};
	names_make(&names, l);
	if (grace_ms > 0)
		(void)end_members(&names, SIGTERM, true, grace_ms, &(unsigned){ 0 });
	/* Whoever forks between our look and our signal leaves a child that nobody has seen. Version 2 kills a group at once, forks
	 * included (cgroup.kill, Linux 5.14); the others are looked at until a look finds nobody. */
	int64_t until = clock_mono_ms(clock_real()) + KILL_MS;
	each_hierarchy(kill_here, &names);
	for (;;) {
		int64_t wait = until - clock_mono_ms(clock_real());
		unsigned seen;
		(void)end_members(&names, SIGKILL, false, MAX(wait, (int64_t)0), &seen);
		if (!seen || wait <= 0)
			return seen;
	}
}

/* ---- removing them */

struct removal {
	const struct names *names;
	struct err *err;
	unsigned failed;
};

/* Children first; the kernel lets an empty group go. */
static int remove_one(int parent, const char *name, unsigned depth, int64_t until_ms)
{
	auto_fd int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;
	while (depth && d && (e = readdir(d)))
		if (e->d_type == DT_DIR && e->d_name[0] != '.')
			(void)remove_one(fd, e->d_name, depth - 1, until_ms);
	if (d)
		closedir(d);
	for (;;) {
		if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		/* A process that was just killed leaves its group a moment later, and v1 tells nobody. */
		if (errno != EBUSY || clock_mono_ms(clock_real()) >= until_ms)
			return -1;
		(void)poll(NULL, 0, 5);
	}
}

static void remove_here(int top, const char *path, void *arg)
{
	struct removal *r = arg;
	for (size_t i = 0; i < ARRAY_LEN(r->names->of); i++)
		if (remove_one(top, r->names->of[i], DEPTH, clock_mono_ms(clock_real()) + REMOVE_MS) < 0 && r->failed++ == 0)
			(void)err_sys(r->err, "%s/%s", path, r->names->of[i]);
}

int cluster_groups_remove(const struct cluster_layout *l, struct err *err)
{
	struct names names = {};
	names_make(&names, l);
	struct removal r = { .names = &names, .err = err };
	/* Its slices below end with it, and systemd forgets them. What is left then it did not know. */
	if (sys_slice_possible() && sys_slice_stop(names.of[1], err) < 0)
		r.failed++;
	each_hierarchy(remove_here, &r);
	return r.failed ? -(int)(err ? err->class : ERR_IO) : 0;
}
