/* state, list, ps, events, features: what is printed, in runc's forms. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/cli.h"

static void out_line(struct buf *b)
{
	buf_chr(b, '\n');
	(void)io_write_all(1, b->ptr, b->len, NULL); /* a reader that left */
}

int runtime_cli_state(int argc, char **argv, struct err *err)
{
	struct state s;
	auto_fd int dir = -1;
	auto_buf struct buf b = {};
	int r = runtime_cli_parse(NULL, 0, &argc, &argv, err);
	r = r < 0 ? r : runtime_cli_count(argc, 1, 1, err);
	r = r < 0 ? r : runtime_state_look(&runtime_cli.arena, runtime_cli.root, argv[0], &s, &dir, err);
	if (r < 0)
		return r;
	runtime_state_json(&b, &s, runtime_state_status(dir, &s), true);
	out_line(&b);
	return 0;
}

/* ---- list */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int names_read(char ***out, size_t *out_n, struct err *err)
{
	char **names = NULL;
	size_t n = 0, cap = 0;
	DIR *list = opendir(runtime_cli.root);
	if (!list && errno != ENOENT)
		return err_sys(err, "read %s", runtime_cli.root);
	struct dirent *e;
	while (list && (e = readdir(list))) {
		if (!runtime_state_id_ok(span_of(e->d_name)))
			continue;
		MEM_GROW(names, n, cap);
		names[n++] = arena_cstr(&runtime_cli.arena, span_of(e->d_name));
	}
	if (list)
		closedir(list);
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	*out = names;
	*out_n = n;
	return 0;
}

int runtime_cli_list_containers(int argc, char **argv, struct err *err)
{
	const char *format = "table";
	bool quiet = false;
	const struct cli_option options[] = { { "format f", CLI_TEXT, &format, NULL },
					      { "quiet q", CLI_FLAG, &quiet, NULL } };
	int r = runtime_cli_parse(options, ARRAY_LEN(options), &argc, &argv, err);
	r = r < 0 ? r : runtime_cli_count(argc, 0, 0, err);
	if (r < 0)
		return r;
	bool json = !strcmp(format, "json");
	if (!json && strcmp(format, "table") != 0)
		return err_set(err, ERR_USAGE, "invalid format option");
	char **names = NULL;
	size_t n = 0;
	r = names_read(&names, &n, err);
	if (r < 0)
		return r;
	auto_buf struct buf b = {};
	struct json all = json_array();
	struct {
		struct state s;
		enum runtime_state_status status;
	} *c = arena_alloc_n(&runtime_cli.arena, n + 1, sizeof(*c));
	size_t got = 0, width[4] = { 2, 3, 6, 6 };
	for (size_t i = 0; i < n; i++) {
		auto_fd int dir = -1;
		char path[4200];
		if (runtime_state_read(&runtime_cli.arena, runtime_cli.root, names[i], &c[got].s, NULL, NULL) < 0)
			continue; /* being built or removed, or "seccomp" */
		snprintf(path, sizeof(path), "%s/%s", runtime_cli.root, names[i]);
		dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		c[got].status = runtime_state_status(dir, &c[got].s);
		width[0] = MAX(width[0], strlen(c[got].s.id));
		width[3] = MAX(width[3], strlen(c[got].s.bundle));
		width[2] = MAX(width[2], strlen(runtime_state_status_names[c[got].status]));
		width[1] = MAX(width[1], (size_t)7);
		got++;
	}
	free(names);
	if (!quiet && !json)
		buf_printf(&b, "%-*s   %-*s   %-*s   %-*s   %-30s   %s\n", (int)width[0], "ID", (int)width[1], "PID",
			   (int)width[2], "STATUS", (int)width[3], "BUNDLE", "CREATED", "OWNER");
	for (size_t i = 0; i < got; i++) {
		const struct state *s = &c[i].s;
		int pid = c[i].status == STATE_STOPPED ? 0 : s->pid;
		char created[40];
		time_format(created, s->created_s, s->created_ns, -1);
		const char *owner = s->owner == 0 ? "root" : arena_printf(&runtime_cli.arena, "%u", s->owner).ptr;
		if (quiet) {
			buf_printf(&b, "%s\n", s->id);
		} else if (json) {
			auto_buf struct buf one = {};
			runtime_state_json(&one, s, c[i].status, true);
			struct json v;
			if (json_parse(&runtime_cli.arena, arena_span(&runtime_cli.arena, buf_span(&one)), 0, NULL, &v,
				       NULL) == 0)
				json_push(&runtime_cli.arena, &all, v);
		} else {
			buf_printf(&b, "%-*s   %-*d   %-*s   %-*s   %-30s   %s\n", (int)width[0], s->id, (int)width[1],
				   pid, (int)width[2], runtime_state_status_names[c[i].status], (int)width[3],
				   s->bundle, created, owner);
		}
	}
	if (json && !quiet) {
		if (all.n)
			json_write(&b, &all, 0);
		else
			buf_str(&b, "null");
		buf_chr(&b, '\n');
	}
	return b.len ? io_write_all(1, b.ptr, b.len, err) : 0;
}

/* ---- ps */

static int ps_table(char **words, int n_words, const pid_t *pids, size_t n, struct err *err)
{
	int out[2];
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	char *const def[] = { (char *)"ps", (char *)"-ef", NULL };
	char **argv = arena_alloc_n(&runtime_cli.arena, (size_t)n_words + 3, sizeof(*argv));
	argv[0] = (char *)"ps";
	for (int i = 0; i < n_words; i++)
		argv[i + 1] = words[i];
	argv[n_words + 1] = NULL;
	pid_t pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		execvp("ps", n_words ? argv : def);
		_exit(127);
	}
	close(out[1]);
	auto_fd int in = out[0];
	auto_buf struct buf text = {}, b = {};
	if (pid < 0)
		return err_sys(err, "fork");
	int r = io_read_all(in, &text, 16 << 20, err), status = 0;
	waitpid(pid, &status, 0);
	if (r == 0 && (!WIFEXITED(status) || WEXITSTATUS(status)))
		r = err_set(err, ERR_UPSTREAM, "ps ended with status %d",
			    WIFEXITED(status) ? WEXITSTATUS(status) : 128);
	if (r < 0)
		return r;
	struct span rest = buf_span(&text), line;
	int column = -1, row = 0;
	while (span_cut(&rest, '\n', &line)) {
		struct span words_left = line, word;
		bool keep = row == 0;
		for (int at = 0; span_cut(&words_left, ' ', &word);) {
			uint64_t id;
			if (!word.len)
				continue;
			if (row == 0 && span_is(word, "PID"))
				column = at;
			if (row > 0 && at == column && span_to_u64(word, &id))
				for (size_t i = 0; i < n; i++)
					keep |= (uint64_t)pids[i] == id;
			at++;
		}
		if (row++ == 0 && column < 0)
			return err_set(err, ERR_INVALID, "couldn't find PID field in ps output");
		if (keep && line.len)
			buf_printf(&b, "%.*s\n", SPAN_ARG(line));
	}
	return io_write_all(1, b.ptr, b.len, err);
}

int runtime_cli_ps(int argc, char **argv, struct err *err)
{
	const char *format = "table";
	const struct cli_option options[] = { { "format f", CLI_TEXT, &format, NULL } };
	auto_sys_cgroup struct sys_cgroup cg = {};
	int r = runtime_cli_parse(options, ARRAY_LEN(options), &argc, &argv, err);
	r = r < 0 ? r : runtime_cli_count(argc, 1, -1, err);
	r = r < 0 ? r : runtime_cgroup_open(&runtime_cli.arena, runtime_cli.root, argv[0], &cg, err);
	pid_t *pids;
	size_t n;
	r = r < 0 ? r : sys_cgroup_pids(&runtime_cli.arena, &cg, &pids, &n, err);
	if (r < 0)
		return r;
	if (!strcmp(format, "table"))
		return ps_table(argv + 1, argc - 1, pids, n, err);
	if (strcmp(format, "json") != 0)
		return err_set(err, ERR_USAGE, "invalid format option");
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	json_out_begin_array(&o);
	for (size_t i = 0; i < n; i++)
		json_out_i64(&o, pids[i]);
	json_out_end(&o);
	out_line(&b);
	return 0;
}

/* ---- events */

static void num(struct json_out *o, const char *key, uint64_t v)
{
	json_out_key(o, span_of(key));
	json_out_u64(o, v);
}

static void memory_entry(struct json_out *o, const char *key, uint64_t limit, uint64_t usage, uint64_t max,
			 uint64_t failcnt)
{
	json_out_key(o, span_of(key));
	json_out_begin(o);
	num(o, "limit", limit);
	if (usage)
		num(o, "usage", usage);
	if (max)
		num(o, "max", max);
	num(o, "failcnt", failcnt);
	json_out_end(o);
}

static void stats_write(struct json_out *o, const struct sys_cgroup_stats *s)
{
	json_out_begin(o);
	json_out_key(o, SPAN("cpu"));
	json_out_begin(o);
	json_out_key(o, SPAN("usage"));
	json_out_begin(o);
	num(o, "total", s->cpu_total_ns);
	num(o, "kernel", s->cpu_kernel_ns);
	num(o, "user", s->cpu_user_ns);
	json_out_end(o);
	json_out_key(o, SPAN("throttling"));
	json_out_begin(o);
	num(o, "periods", s->cpu_periods);
	num(o, "throttledPeriods", s->cpu_throttled);
	num(o, "throttledTime", s->cpu_throttled_ns);
	json_out_end(o);
	json_out_end(o);
	json_out_key(o, SPAN("memory"));
	json_out_begin(o);
	num(o, "cache", s->memory_cache);
	memory_entry(o, "usage", s->memory_limit, s->memory_usage, s->memory_max_usage, s->memory_failcnt);
	memory_entry(o, "swap", s->swap_limit, s->swap_usage, s->swap_max_usage, s->swap_failcnt);
	memory_entry(o, "kernel", 0, s->kernel_usage, 0, 0);
	memory_entry(o, "kernelTCP", 0, s->kernel_tcp_usage, 0, 0);
	json_out_key(o, SPAN("raw"));
	json_out_begin(o);
	for (unsigned i = 0; i < s->n_memory_stat; i++)
		num(o, s->memory_stat[i].key, s->memory_stat[i].value);
	json_out_end(o);
	json_out_end(o);
	json_out_key(o, SPAN("pids"));
	json_out_begin(o);
	num(o, "current", s->pids);
	if (s->pids_limit)
		num(o, "limit", s->pids_limit);
	json_out_end(o);
	json_out_key(o, SPAN("blkio"));
	json_out_begin(o);
	static const char *const lists[] = { "ioServiceBytesRecursive", "ioServicedRecursive" };
	for (int k = 0; k < 2 && s->n_io; k++) {
		json_out_key(o, span_of(lists[k]));
		json_out_begin_array(o);
		for (unsigned i = 0; i < s->n_io; i++) {
			for (int w = 0; w < 2; w++) {
				json_out_begin(o);
				num(o, "major", s->io[i].major);
				num(o, "minor", s->io[i].minor);
				json_out_kspan(o, "op", w ? SPAN("Write") : SPAN("Read"));
				num(o, "value",
				    k	? (w ? s->io[i].write_ops : s->io[i].read_ops)
				    : w ? s->io[i].write_bytes
					: s->io[i].read_bytes);
				json_out_end(o);
			}
		}
		json_out_end(o);
	}
	json_out_end(o);
	json_out_key(o, SPAN("hugetlb"));
	json_out_begin(o);
	for (unsigned i = 0; i < s->n_hugetlb; i++) {
		json_out_key(o, span_of(s->hugetlb[i].size));
		json_out_begin(o);
		num(o, "usage", s->hugetlb[i].usage);
		num(o, "max", s->hugetlb[i].max_usage);
		num(o, "failcnt", s->hugetlb[i].failcnt);
		json_out_end(o);
	}
	json_out_end(o);
	json_out_key(o, SPAN("intel_rdt"));
	json_out_begin(o);
	json_out_end(o);
	json_out_key(o, SPAN("network_interfaces"));
	json_out_null(o);
	json_out_end(o);
}

static int event_print(const char *type, const char *id, const struct sys_cgroup_stats *s, struct err *err)
{
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	json_out_kspan(&o, "type", span_of(type));
	json_out_kspan(&o, "id", span_of(id));
	if (s) {
		json_out_key(&o, SPAN("data"));
		stats_write(&o, s);
	}
	json_out_end(&o);
	buf_chr(&b, '\n');
	return io_write_all(1, b.ptr, b.len, err);
}

/* A descriptor that becomes readable at an out-of-memory kill: v1 an eventfd on memory.oom_control, v2 inotify on
 * memory.events. -1 when the machine offers neither. */
static int oom_watch(const struct sys_cgroup *cg, int *out_file)
{
	const struct sys_cgroup_dir *d = sys_cgroup_find(cg, SYS_CG_MEMORY);
	char path[4200];
	if (!d)
		return -1;
	if (d->v2) {
		snprintf(path, sizeof(path), "%s/memory.events", d->path);
		int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		if (watch >= 0 && inotify_add_watch(watch, path, IN_MODIFY) < 0)
			fd_close(&watch);
		return watch;
	}
	auto_fd int file = openat(d->fd, "memory.oom_control", O_RDONLY | O_CLOEXEC);
	int event = file < 0 ? -1 : sys_cgroup_oom_event(d, file);
	if (event >= 0)
		*out_file = take_fd(&file);
	return event;
}

int runtime_cli_events(int argc, char **argv, struct err *err)
{
	const char *interval = "5s";
	bool once = false;
	const struct cli_option options[] = { { "interval", CLI_TEXT, &interval, NULL },
					      { "stats", CLI_FLAG, &once, NULL } };
	struct state s;
	struct sys_cgroup_stats stats;
	auto_fd int dir = -1;
	int r = runtime_cli_parse(options, ARRAY_LEN(options), &argc, &argv, err);
	r = r < 0 ? r : runtime_cli_count(argc, 1, 1, err);
	r = r < 0 ? r : runtime_state_look(&runtime_cli.arena, runtime_cli.root, argv[0], &s, &dir, err);
	if (r < 0)
		return r;
	struct span digits = span_of(interval), unit = SPAN_EMPTY;
	size_t n_digits = strspn(interval, "0123456789");
	uint64_t every_ms;
	unit = span_from(digits, n_digits);
	if (!span_to_u64(span_sub(digits, 0, n_digits), &every_ms) || every_ms == 0 || every_ms > 1000000)
		return err_set(err, ERR_USAGE, "duration interval must be greater than 0");
	if (span_is(unit, "s"))
		every_ms *= 1000;
	else if (span_is(unit, "m"))
		every_ms *= 60000;
	else if (!span_is(unit, "ms"))
		return err_set(err, ERR_USAGE, "\"%s\" is no duration (5s, 500ms, 1m)", interval);
	if (runtime_state_status(dir, &s) == STATE_STOPPED)
		return err_set(err, ERR_IN_USE, "container with id %s is not running", s.id);
	fd_close(&dir);
	r = sys_cgroup_open(&s.cgroup, err);
	r = r < 0 ? r : sys_cgroup_stats_read(&s.cgroup, &stats, err);
	if (r < 0 || once)
		return r < 0 ? r : event_print("stats", s.id, &stats, err);
	auto_fd int file = -1;
	auto_fd int oom = oom_watch(&s.cgroup, &file);
	auto_fd int pidfd = sys_process_open(s.pid, s.start_ticks);
	uint64_t kills = stats.oom_kills;
	struct pollfd p[2] = { { .fd = pidfd, .events = POLLIN }, { .fd = oom, .events = POLLIN } };
	r = event_print("stats", s.id, &stats, err);
	while (r == 0 && pidfd >= 0) {
		int n = poll(p, 2, (int)MIN(every_ms, (uint64_t)INT32_MAX));
		if (n < 0 && errno != EINTR)
			return err_sys(err, "poll");
		if (sys_cgroup_stats_read(&s.cgroup, &stats, NULL) == 0 && stats.oom_kills > kills) {
			kills = stats.oom_kills;
			r = event_print("oom", s.id, NULL, err);
		}
		if (p[1].revents) {
			char drop[4096];
			(void)!read(oom, drop, sizeof(drop));
		}
		if (p[0].revents)
			break;
		if (n == 0 && r == 0)
			r = event_print("stats", s.id, &stats, err);
	}
	sys_cgroup_done(&s.cgroup);
	return r;
}

/* ---- features (runtime spec, features.md) */

static void strings(struct json_out *o, const char *key, const char *const *list, size_t n)
{
	json_out_key(o, span_of(key));
	json_out_begin_array(o);
	for (size_t i = 0; i < n; i++)
		json_out_span(o, span_of(list[i]));
	json_out_end(o);
}

static void enabled(struct json_out *o, const char *key, const char *member, bool on)
{
	json_out_key(o, span_of(key));
	json_out_begin(o);
	json_out_key(o, span_of(member));
	json_out_bool(o, on);
	json_out_end(o);
}

static void features_linux(struct json_out *o)
{
	static const char *const actions[] = { "SCMP_ACT_ALLOW",	"SCMP_ACT_ERRNO",	"SCMP_ACT_KILL",
					       "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
					       "SCMP_ACT_NOTIFY",	"SCMP_ACT_TRACE",	"SCMP_ACT_TRAP" };
	static const char *const ops[] = { "SCMP_CMP_EQ", "SCMP_CMP_GE",	"SCMP_CMP_GT", "SCMP_CMP_LE",
					   "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE" };
	static const char *const arches[] = { "SCMP_ARCH_AARCH64",  "SCMP_ARCH_ARM",	     "SCMP_ARCH_MIPS",
					      "SCMP_ARCH_MIPS64",   "SCMP_ARCH_MIPS64N32",   "SCMP_ARCH_MIPSEL",
					      "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC",
					      "SCMP_ARCH_PPC64",    "SCMP_ARCH_PPC64LE",     "SCMP_ARCH_RISCV64",
					      "SCMP_ARCH_S390",	    "SCMP_ARCH_S390X",	     "SCMP_ARCH_X32",
					      "SCMP_ARCH_X86",	    "SCMP_ARCH_X86_64" };
	static const char *const flags[] = { "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
					     "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" };
	json_out_begin(o);
	json_out_key(o, SPAN("namespaces"));
	json_out_begin_array(o);
	static const int order[] = { SYS_NS_CGROUP, SYS_NS_IPC,	 SYS_NS_MOUNT, SYS_NS_NETWORK,
				     SYS_NS_PID,    SYS_NS_TIME, SYS_NS_USER,  SYS_NS_UTS };
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		json_out_span(o, span_of(sys_ns_rows[order[i]].name));
	json_out_end(o);
	json_out_key(o, SPAN("capabilities"));
	json_out_begin_array(o);
	for (int i = 0; i <= sys_caps_last() && sys_caps_name(i); i++)
		json_out_span(o, span_of(sys_caps_name(i)));
	json_out_end(o);
	json_out_key(o, SPAN("cgroup"));
	json_out_begin(o);
	json_out_kbool(o, "v1", true);
	json_out_kbool(o, "v2", true);
	json_out_key(o, SPAN("systemd"));
	json_out_bool(o, true);
	json_out_key(o, SPAN("systemdUser"));
	json_out_bool(o, false);
	json_out_key(o, SPAN("rdma"));
	json_out_bool(o, true);
	json_out_end(o);
	json_out_key(o, SPAN("seccomp"));
	json_out_begin(o);
	json_out_kbool(o, "enabled", true);
	strings(o, "actions", actions, ARRAY_LEN(actions));
	strings(o, "operators", ops, ARRAY_LEN(ops));
	strings(o, "archs", arches, ARRAY_LEN(arches));
	strings(o, "knownFlags", flags, ARRAY_LEN(flags));
	strings(o, "supportedFlags", flags, ARRAY_LEN(flags));
	json_out_end(o);
	enabled(o, "apparmor", "enabled", true);
	enabled(o, "selinux", "enabled", true);
	enabled(o, "intelRdt", "enabled", false);
	json_out_key(o, SPAN("mountExtensions"));
	json_out_begin(o);
	enabled(o, "idmap", "enabled", true);
	json_out_end(o);
	json_out_end(o);
}

int runtime_cli_features(int argc, char **argv, struct err *err)
{
	int r = runtime_cli_parse(NULL, 0, &argc, &argv, err);
	r = r < 0 ? r : runtime_cli_count(argc, 0, 0, err);
	if (r < 0)
		return r;
	auto_buf struct buf raw = {}, b = {};
	struct json_out o = { .buf = &raw };
	json_out_begin(&o);
	json_out_kspan(&o, "ociVersionMin", SPAN("1.0.0"));
	json_out_kspan(&o, "ociVersionMax", SPAN("1.2.0"));
	static const char *const hooks[] = { "prestart",       "createRuntime", "createContainer",
					     "startContainer", "poststart",	"poststop" };
	strings(&o, "hooks", hooks, ARRAY_LEN(hooks));
	json_out_key(&o, SPAN("mountOptions"));
	json_out_begin_array(&o);
	for (unsigned i = 0; sys_mount_option_name(i); i++)
		json_out_span(&o, span_of(sys_mount_option_name(i)));
	json_out_end(&o);
	json_out_key(&o, SPAN("linux"));
	features_linux(&o);
	json_out_key(&o, SPAN("annotations"));
	json_out_begin(&o);
	json_out_kspan(&o, "io.knarr.version", SPAN(KNARR_VERSION));
	json_out_end(&o);
	json_out_end(&o);
	struct json v;
	r = json_parse(&runtime_cli.arena, buf_span(&raw), 0, NULL, &v, err);
	if (r < 0)
		return r;
	json_write(&b, &v, JSON_PRETTY4);
	out_line(&b);
	return 0;
}
