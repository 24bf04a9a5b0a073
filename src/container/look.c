/* Looking inside: processes, counters, what changed, sizes, the root for archives, the whole as an archive.
 *
 * None of these changes a container. They run beside its changes, with copies of what they need; only the files of a
 * container that does not run are looked at in its queue, so that nobody starts it meanwhile. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "container/files.h"
#include "container/private.h"
#include "network/network.h"
#include "runtime/runtime.h"
#include "sys/sys.h"

extern char **environ;

#define PS_OUTPUT_MAX (16 << 20)
#define FULL_MS 20

struct look {
	struct loop_work work;
	struct ticket ticket;
	struct container_engine *e;
	struct arena arena;
	struct err err;
	struct json result;
	char id[65];
	struct span name, args;
	pid_t pid;
	bool running;
	const char *key, *runtime;
	const char *told; /* the event of one that went well; NULL = none */
	/* stats */
	struct json networks;
	/* root, export */
	struct op *op; /* in the queue of a container that does not run */
	struct json plan;
	const char *cwd; /* of one that never ran; else NULL */
	int fd;
	void (*run)(struct look *l);
	struct loop_timer again; /* release: the pool was full */
};

static void look_end(struct look *l)
{
	struct container_engine *e = l->e;
	struct container_call *call = l->ticket.call;
	if (!l->err.class && call && call->arena)
		call->result = json_copy(call->arena, &l->result);
	container_ticket_answer(&l->ticket, l->err.class ? &l->err : NULL);
	err_done(&l->err);
	arena_done(&l->arena);
	free(l);
	container_busy(e, -1);
}

static void look_run(struct loop_work *w)
{
	struct look *l = container_of(w, struct look, work);
	l->run(l);
}

static void look_done(struct loop_work *w)
{
	struct look *l = container_of(w, struct look, work);
	struct container *c = map_get(&l->e->by_id, span_of(l->id));
	if (l->told && c && !l->err.class)
		container_event_send(c, l->told, NULL);
	look_end(l);
}

/* NULL: the answer is on its way. */
static struct look *look_new(struct container_engine *e, struct span name, struct container **out_c, struct container_call *call,
	void (*run)(struct look *l))
{
	struct container *c = container_for_call(e, name, call);
	if (!c)
		return NULL;
	struct look *l = mem_new(struct look);
	l->e = e;
	l->run = run;
	l->fd = -1;
	memcpy(l->id, c->id, sizeof(l->id));
	l->name = arena_span(&l->arena, name);
	l->running = container_is_running(c) && !c->ending;
	l->pid = c->pid;
	l->key = container_snapshot_key(&l->arena, e, c->id);
	l->runtime = arena_printf(&l->arena, "%s/runtime", e->run_dir).ptr;
	container_ticket_take(&l->ticket, call);
	container_busy(e, 1);
	*out_c = c;
	return l;
}

static void look_submit(struct look *l, const char *name)
{
	if (loop_work_submit(l->e->o.pool, l->e->o.loop, &l->work, name, look_run, look_done) < 0) {
		err_set(&l->err, ERR_TOO_MANY, "too many operations are under way");
		loop_post_call(l->e->o.loop, (void (*)(void *))look_done, &l->work);
	}
}

/* ---- top: ps of the host, cut down to the container's processes */

/* Its first line says why, as with Docker. */
static int ps_failed(int status, struct span said, struct err *err)
{
	struct span line;
	while (span_cut(&said, '\n', &line))
		if (span_trim(line).len)
			return err_set(err, ERR_INTERNAL, "ps: %.*s", SPAN_ARG(span_sub(span_trim(line), 0, 200)));
	return err_set(err, ERR_INTERNAL, "error running ps: exit status %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static int ps_run(char **argv, struct buf *out, struct err *err)
{
	/* We and clients read what it says: not in the language of whoever started the engine, nor in the columns of a PS_FORMAT. */
	static char *const env[] = { (char *)"LC_ALL=C", NULL };
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	auto_fd int read_end = p[0], write_end = p[1];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_adddup2(&actions, write_end, 1);
	posix_spawn_file_actions_adddup2(&actions, write_end, 2);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	pid_t pid;
	int errnum = posix_spawnp(&pid, "ps", &actions, &attr, argv, env), status = 0;
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	fd_close(&write_end);
	if (errnum)
		return err_sys_num(err, errnum, "error running ps");
	int rc = io_read_all(read_end, out, PS_OUTPUT_MAX, err);
	fd_close(&read_end); /* a ps that we stopped reading ends */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc == 0 && status != 0)
		rc = ps_failed(status, buf_span(out), err);
	return rc;
}

/* A line's words; the last title takes the rest of the line, blanks and all. */
static void row_cut(struct span line, uint32_t titles, struct arena *a, struct json *out)
{
	*out = json_array();
	struct span rest = span_trim(line);
	while (rest.len && out->n + 1 < titles) {
		size_t n = 0;
		while (n < rest.len && !isspace((unsigned char)rest.ptr[n]))
			n++;
		json_push(a, out, json_str(span_sub(rest, 0, n)));
		rest = span_trim(span_from(rest, n));
	}
	if (rest.len)
		json_push(a, out, json_str(rest));
}

static bool is_theirs(const struct json *row, uint32_t at, const pid_t *pids, size_t n)
{
	int64_t pid = -1;
	if (at >= row->n || !span_to_i64(json_span(&row->items[at]), &pid))
		return false;
	for (size_t i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

static int top_read(struct look *l, struct err *err)
{
	struct arena *a = &l->arena;
	auto_sys_cgroup struct sys_cgroup cg = {};
	auto_buf struct buf text = {};
	pid_t *pids;
	size_t n_pids;
	int rc = runtime_cgroup_open(a, l->runtime, l->id, &cg, err);
	rc = rc < 0 ? rc : sys_cgroup_pids(a, &cg, &pids, &n_pids, err);
	if (rc < 0)
		return rc;
	char *argv[66] = { (char *)"ps" };
	size_t argc = 1;
	struct span rest = l->args.len ? l->args : SPAN("-ef"), word;
	while (span_cut(&rest, ' ', &word) && argc < 64)
		if (word.len)
			argv[argc++] = arena_cstr(a, word);
	rc = ps_run(argv, &text, err);
	if (rc < 0)
		return rc;
	struct json titles, processes = json_array();
	struct span lines = arena_span(a, buf_span(&text)), line = SPAN_EMPTY;
	span_cut(&lines, '\n', &line);
	row_cut(line, UINT32_MAX, a, &titles);
	uint32_t at = 0;
	while (at < titles.n && !span_is(json_span(&titles.items[at]), "PID"))
		at++;
	if (at == titles.n)
		return err_set(err, ERR_INTERNAL, "Couldn't find PID field in ps output");
	while (span_cut(&lines, '\n', &line)) {
		struct json row;
		row_cut(line, titles.n, a, &row);
		if (is_theirs(&row, at, pids, n_pids))
			json_push(a, &processes, row);
	}
	l->result = json_object();
	json_setl(a, &l->result, "Titles", titles);
	json_setl(a, &l->result, "Processes", processes);
	return 0;
}

static void top_run(struct look *l)
{
	top_read(l, &l->err);
}

void container_top(struct container_engine *e, struct span name, struct span args, struct container_call *call)
{
	struct container *c;
	struct look *l = look_new(e, name, &c, call, top_run);
	if (!l)
		return;
	/* As Docker: an option that replaces the columns must leave the one that we look for. */
	l->args = arena_span(&l->arena, args);
	if (!l->running) {
		err_set(&l->err, ERR_IN_USE, "container %s is not running", c->id);
		loop_post_call(e->o.loop, (void (*)(void *))look_done, &l->work);
		return;
	}
	l->told = "top";
	look_submit(l, "container top");
}

/* ---- stats */

static void num(struct arena *a, struct json *o, const char *key, uint64_t v)
{
	json_add(a, o, span_of(key), json_uint(v));
}

/* All processors' time since boot, in nanoseconds: what the client divides by. */
static uint64_t machine_cpu_ns(unsigned *out_cpus)
{
	auto_buf struct buf b = {};
	uint64_t sum = 0;
	unsigned cpus = 0;
	if (sys_file_read(AT_FDCWD, "/proc/stat", &b, 1 << 20) < 0)
		return 0;
	struct span rest = buf_span(&b), line, word;
	while (span_cut(&rest, '\n', &line)) {
		if (!span_starts(line, SPAN("cpu")))
			break;
		if (line.len > 3 && isdigit((unsigned char)line.ptr[3])) {
			cpus++;
			continue;
		}
		uint64_t n;
		for (int i = 0; span_cut(&line, ' ', &word) && i < 8;) { /* user .. steal; guest time is in user already */
			if (span_to_u64(word, &n)) {
				sum += n;
				i++;
			}
		}
	}
	*out_cpus = cpus;
	long hz = sysconf(_SC_CLK_TCK);
	return hz > 0 ? sum * (uint64_t)(NS_PER_S / hz) : 0;
}

static struct json cpu_stats(const struct sys_cgroup_stats *s, struct arena *a)
{
	struct json cpu = json_object(), usage = json_object(), throttled = json_object();
	unsigned cpus = 0;
	uint64_t machine = machine_cpu_ns(&cpus);
	num(a, &usage, "total_usage", s->cpu_total_ns);
	num(a, &usage, "usage_in_kernelmode", s->cpu_kernel_ns);
	num(a, &usage, "usage_in_usermode", s->cpu_user_ns);
	json_setl(a, &cpu, "cpu_usage", usage);
	num(a, &cpu, "system_cpu_usage", machine);
	num(a, &cpu, "online_cpus", cpus);
	num(a, &throttled, "periods", s->cpu_periods);
	num(a, &throttled, "throttled_periods", s->cpu_throttled);
	num(a, &throttled, "throttled_time", s->cpu_throttled_ns);
	json_setl(a, &cpu, "throttling_data", throttled);
	return cpu;
}

static uint64_t machine_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

static struct json memory_stats(const struct sys_cgroup_stats *s, struct arena *a)
{
	struct json m = json_object(), stats = json_object();
	uint64_t machine = machine_memory();
	bool v2 = sys_cgroup_pure_v2();
	num(a, &m, "usage", s->memory_usage);
	if (!v2) {
		num(a, &m, "max_usage", s->memory_max_usage);
		num(a, &m, "failcnt", s->memory_failcnt);
	}
	for (unsigned i = 0; i < s->n_memory_stat; i++)
		json_add(a, &stats, arena_span(a, span_of(s->memory_stat[i].key)), json_uint(s->memory_stat[i].value));
	json_setl(a, &m, "stats", stats);
	/* No limit of its own: the machine's. */
	num(a, &m, "limit", s->memory_limit && s->memory_limit < machine ? s->memory_limit : machine);
	return m;
}

static void io_entry(struct arena *a, struct json *list, uint64_t major, uint64_t minor, const char *op, uint64_t value)
{
	struct json o = json_object();
	num(a, &o, "major", major);
	num(a, &o, "minor", minor);
	json_setl(a, &o, "op", json_cstr(op));
	num(a, &o, "value", value);
	json_push(a, list, o);
}

static struct json blkio_stats(const struct sys_cgroup_stats *s, struct arena *a)
{
	static const char *const others[] = { "io_queue_recursive", "io_service_time_recursive", "io_wait_time_recursive",
					      "io_merged_recursive", "io_time_recursive", "sectors_recursive" };
	struct json b = json_object(), bytes = json_array(), ops = json_array();
	bool v2 = sys_cgroup_pure_v2();
	for (unsigned i = 0; i < s->n_io; i++) {
		io_entry(a, &bytes, s->io[i].major, s->io[i].minor, v2 ? "read" : "Read", s->io[i].read_bytes);
		io_entry(a, &bytes, s->io[i].major, s->io[i].minor, v2 ? "write" : "Write", s->io[i].write_bytes);
		io_entry(a, &ops, s->io[i].major, s->io[i].minor, v2 ? "read" : "Read", s->io[i].read_ops);
		io_entry(a, &ops, s->io[i].major, s->io[i].minor, v2 ? "write" : "Write", s->io[i].write_ops);
	}
	json_setl(a, &b, "io_service_bytes_recursive", bytes.n ? bytes : JSON_NULL_VALUE);
	json_setl(a, &b, "io_serviced_recursive", ops.n ? ops : JSON_NULL_VALUE);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		json_add(a, &b, span_of(others[i]), JSON_NULL_VALUE);
	return b;
}

static void stats_run(struct look *l)
{
	struct arena *a = &l->arena;
	auto_sys_cgroup struct sys_cgroup cg = {};
	struct sys_cgroup_stats s = {};
	struct json v = json_object(), pids = json_object();
	int rc = 0;
	if (l->running) {
		rc = runtime_cgroup_open(a, l->runtime, l->id, &cg, &l->err);
		rc = rc < 0 ? rc : sys_cgroup_stats_read(&cg, &s, &l->err);
	}
	if (rc == -ERR_NOT_FOUND) { /* it ended just now */
		err_done(&l->err);
		l->running = false;
	} else if (rc < 0) {
		return;
	}
	json_setl(a, &v, "read", container_time(l->running ? clock_wall_ns(clock_real()) : 0, a));
	json_setl(a, &v, "preread", container_time(0, a));
	if (l->running && s.pids)
		num(a, &pids, "current", s.pids);
	/* 2^64-1 says that there is no limit, as Docker has it. */
	if (l->running)
		num(a, &pids, "limit", s.pids_limit ? s.pids_limit : UINT64_MAX);
	json_setl(a, &v, "pids_stats", pids);
	json_setl(a, &v, "blkio_stats", blkio_stats(&s, a));
	num(a, &v, "num_procs", 0);
	json_setl(a, &v, "storage_stats", json_object());
	json_setl(a, &v, "cpu_stats", l->running ? cpu_stats(&s, a) : json_object());
	json_setl(a, &v, "precpu_stats", json_object());
	json_setl(a, &v, "memory_stats", l->running ? memory_stats(&s, a) : json_object());
	if (l->networks.kind == JSON_OBJECT)
		json_setl(a, &v, "networks", l->networks);
	json_setl(a, &v, "name", json_str(l->name));
	json_setl(a, &v, "id", json_cstr(l->id));
	l->result = v;
}

static void networks_count(struct look *l, const struct container *c)
{
	struct network_stats stats[32];
	unsigned n = 0;
	struct arena *a = &l->arena;
	if (!c->has_sandbox || network_stats(l->e->o.networks, c->id, stats, ARRAY_LEN(stats), &n, NULL) < 0)
		return;
	l->networks = json_object();
	for (unsigned i = 0; i < n; i++) {
		struct json o = json_object();
		num(a, &o, "rx_bytes", stats[i].rx_bytes);
		num(a, &o, "rx_packets", stats[i].rx_packets);
		num(a, &o, "rx_errors", stats[i].rx_errors);
		num(a, &o, "rx_dropped", stats[i].rx_dropped);
		num(a, &o, "tx_bytes", stats[i].tx_bytes);
		num(a, &o, "tx_packets", stats[i].tx_packets);
		num(a, &o, "tx_errors", stats[i].tx_errors);
		num(a, &o, "tx_dropped", stats[i].tx_dropped);
		json_add(a, &l->networks, arena_span(a, span_of(stats[i].interface)), o);
	}
}

void container_stats(struct container_engine *e, struct span name, struct container_call *call)
{
	struct container *c;
	struct look *l = look_new(e, name, &c, call, stats_run);
	if (!l)
		return;
	l->name = arena_printf(&l->arena, "/%s", c->name);
	networks_count(l, c);
	look_submit(l, "container stats");
}

/* ---- changes, sizes */

/* Docker's init layer, with the folders that its names imply. */
static const struct snapshot_place mount_points[] = { { "/.dockerenv", S_IFREG }, { "/dev", S_IFDIR }, { "/dev/console", S_IFREG },
	{ "/dev/pts", S_IFDIR }, { "/dev/shm", S_IFDIR }, { "/etc", S_IFDIR }, { "/etc/hostname", S_IFREG }, { "/etc/hosts", S_IFREG },
	{ "/etc/mtab", S_IFLNK }, { "/etc/resolv.conf", S_IFREG }, { "/proc", S_IFDIR }, { "/sys", S_IFDIR } };
const struct snapshot_places container_mount_points = { mount_points, ARRAY_LEN(mount_points) };

static void changes_run(struct look *l)
{
	struct snapshot_changes found = {};
	if (snapshot_changes(l->e->o.snapshots, l->key, &container_mount_points, &found, &l->err) < 0)
		return;
	l->result = json_array();
	for (size_t i = 0; i < found.n; i++) {
		struct json one = json_object();
		json_setl(&l->arena, &one, "Path", json_str(arena_span(&l->arena, span_of(found.items[i].path))));
		json_setl(&l->arena, &one, "Kind", json_int(found.items[i].kind));
		json_push(&l->arena, &l->result, one);
	}
	snapshot_changes_done(&found);
	if (!l->result.n)
		l->result = JSON_NULL_VALUE;
}

void container_changes(struct container_engine *e, struct span name, struct container_call *call)
{
	struct container *c;
	struct look *l = look_new(e, name, &c, call, changes_run);
	if (l)
		look_submit(l, "container changes");
}

static void sizes_run(struct look *l)
{
	struct snapshot_store *s = l->e->o.snapshots;
	uint64_t entries, rw = 0, all;
	char chain[SNAPSHOT_CHAIN_LEN + 1];
	struct snapshot_layer layer;
	int rc = snapshot_usage(s, l->key, &entries, &rw, &l->err);
	rc = rc < 0 ? rc : snapshot_parent(s, l->key, chain, &l->err);
	all = rw;
	for (int i = 0; rc == 0 && chain[0] && i < 1000; i++) {
		rc = snapshot_layer_get(s, chain, &layer, &l->err);
		if (rc == 0) {
			all += layer.bytes;
			memcpy(chain, layer.parent, sizeof(chain));
		}
	}
	l->result = json_object();
	json_setl(&l->arena, &l->result, "SizeRw", json_uint(rw));
	json_setl(&l->arena, &l->result, "SizeRootFs", json_uint(all));
}

void container_sizes(struct container_engine *e, struct span name, struct container_call *call)
{
	struct container *c;
	struct look *l = look_new(e, name, &c, call, sizes_run);
	if (l)
		look_submit(l, "container sizes");
}

/* ---- the root, for archives; the whole, for export */

static int scratch_make(struct look *l, const char **out, struct err *err)
{
	*out = arena_printf(&l->arena, "%s/view", l->e->run_dir).ptr;
	return io_mkdirs(AT_FDCWD, *out, 0700, err);
}

static int root_open(struct look *l, bool mounts_too, struct err *err)
{
	struct arena *a = &l->arena;
	struct mount_bind *binds;
	struct json tmpfs;
	const char *scratch;
	size_t n = 0;
	if (l->running) {
		auto_fd int pidfd = sys_pidfd_open(l->pid, 0);
		return pidfd < 0 ? err_sys(err, "the container's first process") : container_files_running(l->pid, pidfd, err);
	}
	int rc = scratch_make(l, &scratch, err);
	if (rc == 0 && mounts_too)
		rc = container_mounts_start(l->e, l->id, &l->plan, a, &binds, &n, &tmpfs, err);
	if (rc < 0)
		return rc;
	struct container_files_mount *mounts = arena_alloc_n(a, n + 1, sizeof(*mounts));
	for (size_t i = 0; i < n; i++)
		mounts[i] = (struct container_files_mount){ .source = arena_cstr(a, binds[i].source),
			.target = arena_cstr(a, binds[i].target), .read_only = binds[i].read_only };
	return container_files_stopped(l->e->o.snapshots, l->key, scratch, l->cwd, mounts, n, err);
}

static void export_run(struct look *l)
{
	struct tar_fd_sink sink;
	auto_fd int root = root_open(l, false, &l->err);
	if (root < 0)
		return;
	tar_fd_sink_init(&sink, l->fd);
	container_files_export(root, &sink.sink, &l->err);
}

static void root_run(struct look *l)
{
	int root = root_open(l, true, &l->err);
	if (root < 0) {
		container_mounts_end(l->e, l->id, &l->plan);
		return;
	}
	json_setl(&l->arena, &l->result, "fd", json_int(root));
	struct container_ids ids;
	if (container_user_find(root, l->args, NULL, SPAN_EMPTY, &l->arena, &ids, NULL) < 0)
		ids = (struct container_ids){}; /* a user that the image does not know owns nothing */
	json_setl(&l->arena, &l->result, "uid", json_int(ids.uid));
	json_setl(&l->arena, &l->result, "gid", json_int(ids.gid));
}

/* An operation in the queue whose work is a look. */
struct looking {
	struct op op;
	struct look *look;
	bool keeps; /* a view stays until it is released */
};

static void looking_run(struct loop_work *w)
{
	struct looking *k = OP_OF_WORK(looking, w);
	k->look->run(k->look);
}

static void looking_done(struct loop_work *w)
{
	struct looking *k = OP_OF_WORK(looking, w);
	struct container *c = k->op.c;
	struct look *l = k->look;
	if (k->keeps && !l->err.class) {
		container_volume_events(c, VOLUME_MOUNTED);
		c->views++;
	}
	if (k->keeps && !l->err.class && !l->ticket.call) { /* who asked has left */
		close((int)container_num(&l->result, "fd"));
		container_root_release(c->e, span_of(c->id));
	}
	look_end(l);
	container_op_end(&k->op, NULL);
}

static void looking_begin(struct op *op)
{
	struct looking *k = OP_OF(looking, op);
	struct container *c = op->c;
	k->look->running = container_is_running(c) && !c->ending; /* it may have been started while we waited */
	k->look->pid = c->pid;
	k->keeps = k->keeps && !k->look->running;
	container_op_work(op, looking_run, looking_done);
}

static void look_queue(struct container *c, struct look *l, const char *name, bool keeps)
{
	if (l->running) {
		look_submit(l, name);
		return;
	}
	struct looking *k = container_op_new(sizeof(*k), c, name, looking_begin, NULL);
	k->look = l;
	k->keeps = keeps;
	k->op.waiting_end = true;
	container_op_submit(&k->op);
}

void container_export(struct container_engine *e, struct span name, int fd, struct container_call *call)
{
	struct container *c;
	struct look *l = look_new(e, name, &c, call, export_run);
	if (!l)
		return;
	l->fd = fd;
	l->plan = json_array();
	container_event_send(c, "export", NULL);
	look_queue(c, l, "container export", false);
}

void container_root(struct container_engine *e, struct span name, struct container_call *call)
{
	struct container *c;
	struct look *l = look_new(e, name, &c, call, root_run);
	if (!l)
		return;
	const struct json *plan = json_getl(&c->doc, "Plan");
	l->plan = plan ? json_copy(&l->arena, plan) : json_array();
	const char *cwd = arena_cstr(&l->arena, container_str(c->config, "WorkingDir"));
	l->cwd = *cwd && !c->started_ns ? cwd : NULL;
	l->args = arena_span(&l->arena, container_str(c->config, "User"));
	l->result = json_object();
	json_setl(&l->arena, &l->result, "read_only", json_bool(container_truth(c->host, "ReadonlyRootfs")));
	look_queue(c, l, "container root", true);
}

/* The volumes of the view are let go on a worker. */
static void release_run(struct look *l)
{
	container_mounts_end(l->e, l->id, &l->plan);
}

static void release_done(struct loop_work *w)
{
	struct look *l = container_of(w, struct look, work);
	struct container *c = map_get(&l->e->by_id, span_of(l->id));
	if (c && c->views) {
		c->views--;
		container_volume_events(c, VOLUME_UNMOUNTED);
		container_op_resume(c);
	}
	look_end(l);
}

/* What was mounted for the view is unmounted, whatever the pool has to do: a start waits for it, and so does the engine's end. */
static void release_submit(struct loop_timer *t)
{
	struct look *l = container_of(t, struct look, again);
	if (loop_work_submit(l->e->o.pool, l->e->o.loop, &l->work, "container view", look_run, release_done) < 0)
		loop_timer_start(t, FULL_MS);
}

void container_root_release(struct container_engine *e, struct span name)
{
	struct container *c = container_get(e, name, NULL);
	if (!c || !c->views) /* of a running one: nothing is held */
		return;
	struct look *l = mem_new(struct look);
	const struct json *plan = json_getl(&c->doc, "Plan");
	l->e = e;
	l->run = release_run;
	memcpy(l->id, c->id, sizeof(l->id));
	l->plan = c->views == 1 && plan ? json_copy(&l->arena, plan) : json_array();
	container_busy(e, 1);
	loop_timer_init(&l->again, e->o.loop, "container view", release_submit);
	release_submit(&l->again);
}
