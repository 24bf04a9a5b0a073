/* A container's start: its root is mounted, config.json written, a monitor spawned.
 *
 *     loop    what other containers have to say (namespaces to join)
 *     loop    the network: texts                worker  folders, mount
 *                          └─────────────────────────────> user, config.json
 *             namespace, interfaces
 *                    └───────────────────────────────────> build, wait until the program runs
 *     loop    watch the monitor, tell everybody
 *
 * The loop makes the network while the worker mounts, and the worker waits for it (net_wait): it is under way already, in the call
 * that gave the worker its work, and waits for nobody.
 *
 * A failure takes back everything. Death in between leaves what container_engine_open takes back: from the spawn on the monitor's
 * folder says what is true. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "container/private.h"
#include "network/network.h"
#include "sys/sys.h"

#define BUILD_WAIT_S 120
/* How long an attached client may be asleep before it is cut off. */
#define PATIENCE_MS 60000

enum net_stage { NET_BEGUN, NET_TEXTS, NET_DONE };

struct start {
	struct op op;
	bool by_policy, restart, sync;
	/* found out on the loop */
	struct span netns, pid_ns, ipc_ns, uts_ns, hostname, hosts, resolv_conf, shm;
	struct span files[3]; /* paths of hosts, resolv.conf, hostname: its own, or those of the container whose network it shares */
	bool make_shm, own_files;
	/* what the loop finds out while the worker mounts: netns to own_files but shm (the worker's from NET_TEXTS on), and this
	 * (from NET_DONE on) */
	struct network_got got; /* sockets for the monitor */
	struct arena net_arena;
	struct err net_err;
	pthread_mutex_t net_lock;
	pthread_cond_t net_cond;
	enum net_stage net; /* under the lock */
	bool texts_told;    /* the loop's */
	struct container_stream **streams; /* owned: attached before the start; NULL for one that left */
	unsigned *takes;                   /* owned: MONITOR_TAKE_* */
	int *socks;                        /* owned */
	unsigned n_streams;
	/* found out on the worker */
	int control, state_dir;
	bool asked; /* the monitor builds, or has */
	pid_t pid;
	int64_t started_ns;
	int exit_code; /* of a failure */
	bool runtime_said; /* the failure is the runtime's, not ours */
	enum run_left run_left;
};

const char *container_snapshot_key(struct arena *a, const struct container_engine *e, const char *id)
{
	return arena_printf(a, "%s-%s", e->kind, id).ptr;
}

/* ---- the worker's part */

static int texts_write(struct start *s, struct err *err)
{
	const struct container *c = s->op.c;
	auto_fd int dir = openat(c->e->containers_fd, c->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "open the container's folder");
	const struct {
		const char *name;
		struct span text;
	} files[] = { { "hosts", s->hosts }, { "resolv.conf", s->resolv_conf }, { CONTAINER_RESOLV_GIVEN, s->resolv_conf },
		      { "hostname", arena_printf(&s->op.arena, "%.*s\n", SPAN_ARG(s->hostname)) } };
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		int rc = io_write_file_lazy(dir, files[i].name, files[i].text, 0644, err);
		if (rc < 0)
			return err_note(err, "%s", files[i].name);
	}
	return 0;
}

/* What programs look for to know where they are (/.dockerenv) and what is mounted. Docker has both in its init layer; they are no
 * change of the container's (container_mount_points). */
static int marks_make(int root, struct err *err)
{
	auto_fd int mark = openat(root, ".dockerenv", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755);
	if (mark < 0 && errno != EEXIST)
		return err_sys(err, "make /.dockerenv");
	auto_fd int etc = sys_path_mkdirs(root, "/etc", 0755);
	if (etc < 0) /* an image without that folder needs no list of mounts in it */
		return errno == ENOTDIR ? 0 : err_sys(err, "make /etc");
	return symlinkat("/proc/mounts", etc, "mtab") < 0 && errno != EEXIST ? err_sys(err, "make /etc/mtab") : 0;
}

static int config_write(struct start *s, const char *run, const char *root, struct err *err)
{
	const struct container *c = s->op.c;
	struct arena *a = &s->op.arena;
	struct container_ids ids;
	struct json tmpfs;
	auto_buf struct buf text = {};
	auto_fd int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open the root file system");
	int rc = container_user_find(fd, container_str(c->config, "User"), json_getl(c->host, "GroupAdd"),
		container_str(container_extra_of(c), "Groups"), a, &ids, err);
	if (rc < 0)
		return rc;
	const char *cwd = arena_cstr(a, container_str(c->config, "WorkingDir"));
	if (*cwd) {
		auto_fd int made = sys_path_mkdirs(fd, cwd, 0755);
		if (made < 0)
			return errno == ENOTDIR || errno == EEXIST
				? err_set(err, ERR_INVALID_REQUEST, "Cannot mkdir: %s is not a directory", cwd)
				: err_set(err, ERR_INVALID_REQUEST, "mkdir %s: %s", cwd, err_why(errno));
	}
	struct mount_bind *binds;
	size_t n_binds;
	rc = container_mounts_start(c->e, c->id, json_getl(&c->doc, "Plan"), a, &binds, &n_binds, &tmpfs, err);
	if (rc < 0)
		return rc;
	struct spec_params p = { .e = c->e, .id = c->id, .config = c->config, .host = c->host, .extra = container_extra_of(c),
		.root = root, .ids = &ids,
		.path = container_str(&c->doc, "Path"), .args = json_getl(&c->doc, "Args"), .netns = s->netns, .hostname = s->hostname,
		.pid_ns = s->pid_ns, .ipc_ns = s->ipc_ns, .uts_ns = s->uts_ns, .shm = s->shm, .tmpfs = &tmpfs };
	rc = container_extra_of(c) ? 0 : marks_make(fd, err);
	if (rc < 0)
		return rc;
	p.binds = binds;
	p.n_binds = n_binds;
	p.hosts = s->files[0];
	p.resolv_conf = s->files[1];
	p.hostname_file = s->files[2];
	rc = container_spec_write(&p, a, &text, err);
	if (rc < 0)
		return rc;
	auto_fd int dir = open(run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? err_sys(err, "open %s", run) : io_write_file_lazy(dir, "config.json", buf_span(&text), 0600, err);
}

static int folder_open(int at, const char *name, struct err *err)
{
	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make %s", name);
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open %s", name) : fd;
}

/* The first word after the build: the program runs, or why not. */
static int started_wait(struct start *s, int control, struct err *err)
{
	struct timeval limit = { .tv_sec = BUILD_WAIT_S };
	(void)setsockopt(control, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)); /* without it a stuck disk holds a worker */
	for (;;) {
		char text[MONITOR_LINE];
		struct monitor_head h;
		int rc = monitor_recv(control, &h, text, sizeof(text), NULL, 0, NULL, err);
		if (rc < 0)
			return err_note(err, "building the container");
		if (h.op == MONITOR_STARTED) {
			s->pid = h.a;
			if (h.len == sizeof(s->started_ns))
				memcpy(&s->started_ns, text, sizeof(s->started_ns));
			return 0;
		}
		if (h.op != MONITOR_ERROR || h.tag != 0)
			continue;
		s->runtime_said = true;
		return err_set(err, h.a > 0 && h.a < ERR_COUNT ? (enum err_class)h.a : ERR_INTERNAL, "%.*s", (int)h.len, text);
	}
}

/* Clients that attached before the start get everything: they are connected while the program waits. */
static int held_start(struct start *s, int state_dir, int control, struct err *err)
{
	for (unsigned i = 0; i < s->n_streams; i++) {
		auto_fd int sock = monitor_connect(state_dir, err);
		if (sock < 0)
			return sock;
		monitor_patience(sock, MONITOR_ANSWER_MS);
		int rc = monitor_call(sock, MONITOR_ATTACH, (int)s->takes[i], PATIENCE_MS, NULL, err);
		if (rc < 0)
			return rc;
		s->socks[i] = take_fd(&sock);
	}
	FAILPOINT("container.start.held");
	struct monitor_state state = {};
	int rc = monitor_call(control, MONITOR_START, 0, 0, &state, err);
	s->started_ns = state.started_ns;
	return rc;
}

/* One that does not answer: when the end of its run is on disk, nothing is lost with it. */
static void ended_kill(int state_dir)
{
	enum monitor_found found;
	struct monitor_exit end;
	auto_fd int sock = -1;
	if (monitor_find(state_dir, &found, &sock, &end, NULL) == 0 && found == MONITOR_FOUND_EXIT)
		(void)monitor_signal(state_dir, true, SIGKILL, NULL); /* it has ended: its lock tells */
}

/* The monitor of the run before has told the end, but may still give a sleepy client its last output, or listen to a process that
 * outlived the first one. It is waited for, sent away, then killed. */
int container_monitor_gone(int state_dir, struct err *err)
{
	for (int ms = 0; ms < 6000; ms += 5) {
		if (flock(state_dir, LOCK_EX | LOCK_NB) == 0) {
			(void)flock(state_dir, LOCK_UN); /* ours a moment ago */
			return 0;
		}
		if (errno != EWOULDBLOCK)
			return err_sys(err, "lock the state folder");
		if (ms == 2500) {
			auto_fd int sock = monitor_connect(state_dir, NULL);
			if (sock >= 0)
				(void)monitor_send(sock, MONITOR_QUIT, 1, 0, 0, SPAN_EMPTY, NULL); /* its lock tells */
		}
		if (ms == 5000)
			ended_kill(state_dir);
		struct pollfd pause = { .fd = -1 };
		(void)poll(&pause, 0, 5);
	}
	return err_set(err, ERR_IN_USE, "the monitor of the run before does not end");
}

/* Extra.LogPath's folder, made when it is missing. */
static int log_folder(struct span path, struct arena *a, struct err *err)
{
	ptrdiff_t slash = span_rchr(path, '/');
	if (slash <= 0 || (size_t)slash + 1 == path.len || path.ptr[0] != '/')
		return err_set(err, ERR_INVALID_REQUEST, "log path %.*s: an absolute path of a file is needed", SPAN_ARG(path));
	const char *dir = arena_cstr(a, span_sub(path, 0, (size_t)slash));
	int rc = io_mkdirs(AT_FDCWD, dir, 0755, err);
	if (rc < 0)
		return err_note(err, "the folder of the log");
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open %s", dir) : fd;
}

/* Sockets go with the request, so what publishes ports is spawned when the network is there; everything else before, so that the
 * monitor is there when config.json is. */
static bool spawns_early(const struct container *c)
{
	const struct json *ports = json_getl(c->host, "PortBindings");
	return !(ports && ports->n) && !container_truth(c->host, "PublishAllPorts");
}

static int spawn(struct start *s, const char *run, bool later, struct err *err)
{
	const struct container *c = s->op.c;
	struct container_engine *e = c->e;
	struct arena *a = &s->op.arena;
	const struct json *log = json_getl(c->host, "LogConfig"), *opts = json_getl(log, "Config");
	bool logged = span_is(container_str(log, "Type"), "json-file");
	uint64_t files = 1;
	auto_fd int dir = openat(e->containers_fd, c->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_fd int bundle = open(run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || bundle < 0)
		return err_sys(err, "open the container's folders");
	auto_fd int elsewhere = -1;
	struct span path = container_str(container_extra_of(c), "LogPath");
	if (path.len && (elsewhere = log_folder(path, a, err)) < 0)
		return -(int)err->class;
	auto_fd int state = folder_open(dir, "state", err);
	int rc = state < 0 ? state : container_monitor_gone(state, err);
	if (rc < 0)
		return rc;
	(void)span_to_u64(container_str(opts, "max-file"), &files);
	struct monitor_spawn p = { .id = c->id, .state_dir = state, .bundle = bundle, .max_bytes = container_log_max_bytes(opts),
		.stdio = { -1, -1, -1 } };
	p.max_files = (unsigned)MIN(files, (uint64_t)MONITOR_FILES_MAX);
	p.log_dir = logged ? dir : -1;
	p.n_sockets = s->got.n_sockets;
	memcpy(p.sockets, s->got.sockets, s->got.n_sockets * sizeof(p.sockets[0]));
	p.root = arena_printf(a, "%s/runtime", e->run_dir).ptr;
	p.cache = arena_printf(a, "%s/seccomp", e->run_dir).ptr;
	p.format = logged ? MONITOR_LOG_DOCKER : MONITOR_LOG_NONE;
	if (logged)
		p.log_name = arena_printf(a, "%s-json.log", c->id).ptr;
	if (path.len) {
		p.log_dir = elsewhere;
		p.format = MONITOR_LOG_CRI;
		p.log_name = arena_cstr(a, span_from(path, (size_t)span_rchr(path, '/') + 1));
		p.max_bytes = 0; /* its owner turns it over */
		p.max_files = 1;
	}
	rc = p.format == MONITOR_LOG_DOCKER ? container_log_attrs(c, a, &p.log_attrs, err) : 0;
	if (rc < 0)
		return rc;
	p.flags = (container_truth(c->config, "OpenStdin") ? MONITOR_OPEN_STDIN : 0U) |
		  (container_truth(c->config, "StdinOnce") ? MONITOR_STDIN_ONCE : 0U) |
		  (container_truth(c->config, "Tty") ? MONITOR_TERMINAL : 0U) | (s->n_streams ? MONITOR_HOLD : 0U) |
		  (e->settings.systemd ? MONITOR_SYSTEMD_CGROUP : 0U) | (container_is_volatile(c) ? MONITOR_VOLATILE : 0U) |
		  (later ? MONITOR_LATER : 0U) |
		  (p.format == MONITOR_LOG_DOCKER && container_log_compresses(opts) ? MONITOR_COMPRESS : 0U);
	struct monitor_spawned got;
	FAILPOINT("container.start.spawn");
	rc = container_spawn(e, &p, &got, err);
	if (rc < 0)
		return rc;
	close(got.pidfd); /* its number and start time stand in monitor.json */
	s->control = got.control;
	s->state_dir = take_fd(&state);
	FAILPOINT("container.start.spawned");
	return 0;
}

static int spawned_wait(struct start *s, bool later, struct err *err)
{
	int rc = later ? monitor_send(s->control, MONITOR_BUILD, 1, 0, 0, SPAN_EMPTY, err) : 0;
	if (rc == -ERR_GONE) /* it has said why */
		rc = 0;
	FAILPOINT("container.start.asked");
	rc = rc < 0 ? rc : started_wait(s, s->control, err);
	if (rc == 0 && s->n_streams)
		rc = held_start(s, s->state_dir, s->control, err);
	if (rc < 0)
		return rc;
	struct timeval none = {};
	(void)setsockopt(s->control, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none)); /* it worked above or never */
	fd_close(&s->state_dir);
	return 0;
}

/* The monitor of a start that failed ends when nobody listens to it; what it has built or is about to write goes with it. */
static void spawn_undo(struct start *s)
{
	auto_err struct err err = ERR_INIT;
	if (s->control < 0)
		return;
	fd_close(&s->control);
	if (s->state_dir >= 0 && !s->asked && container_monitor_gone(s->state_dir, &err) < 0)
		container_warn(s->op.c->e, "the monitor of a failed start stays", s->op.c->id, &err);
	fd_close(&s->state_dir);
}

/* Waits until the loop has come that far: 0, or the class of net_err when it is through and failed. */
static int net_wait(struct start *s, enum net_stage until)
{
	pthread_mutex_lock(&s->net_lock);
	while (s->net < until)
		pthread_cond_wait(&s->net_cond, &s->net_lock);
	bool done = s->net == NET_DONE;
	pthread_mutex_unlock(&s->net_lock);
	return done ? -(int)s->net_err.class : 0;
}

static void net_tell(struct start *s, enum net_stage stage)
{
	pthread_mutex_lock(&s->net_lock);
	s->net = stage;
	pthread_mutex_unlock(&s->net_lock);
	pthread_cond_signal(&s->net_cond);
}

/* The texts are known, the kernel's part begins: what the worker writes needs no more. */
static void net_texts(void *arg, const struct network_got *got)
{
	struct start *s = arg;
	s->netns = got->netns;
	s->hosts = got->hosts;
	s->resolv_conf = got->resolv_conf;
	s->texts_told = true;
	net_tell(s, NET_TEXTS);
}

static int build(struct start *s, struct err *err)
{
	const struct container *c = s->op.c;
	struct container_engine *e = c->e;
	struct arena *a = &s->op.arena;
	const char *run = container_run_path(a, c, NULL), *root = container_run_path(a, c, "rootfs");
	bool early = spawns_early(c);
	int rc = mkdir(run, 0700) == 0 || errno == EEXIST ? 0 : io_mkdirs(AT_FDCWD, run, 0700, err);
	rc = rc < 0 || !early ? rc : spawn(s, run, true, err);
	rc = rc < 0 ? rc : snapshot_mount(e->o.snapshots, container_snapshot_key(a, c->e, c->id), root, false, err);
	if (rc < 0)
		return rc;
	FAILPOINT("container.start.mounted");
	if (s->make_shm) {
		const char *shm = container_run_path(a, c, "shm");
		const char *data = arena_printf(a, "mode=1777,size=%lld", (long long)container_num(c->host, "ShmSize")).ptr;
		if ((mkdir(shm, 0700) < 0 && errno != EEXIST) || mount("shm", shm, "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, data) < 0)
			return err_sys(err, "mount /dev/shm");
	}
	rc = net_wait(s, NET_TEXTS);
	rc = rc < 0 || !s->own_files ? rc : texts_write(s, err);
	if (rc == 0 && span_is(container_apparmor_profile(c->host, container_apparmor_on()), CONTAINER_APPARMOR_DEFAULT))
		rc = container_apparmor_load(e, err);
	rc = rc < 0 ? rc : config_write(s, run, root, err);
	FAILPOINT("container.start.configured");
	rc = rc < 0 ? rc : net_wait(s, NET_DONE);
	rc = rc < 0 || early ? rc : spawn(s, run, false, err);
	s->asked = rc == 0;
	return rc < 0 ? rc : spawned_wait(s, early, err);
}

/* As containerd words it, and the exit status that Docker gives to it. */
static void failure_word(struct start *s, struct err *err)
{
	const char *text = err_msg(err);
	bool words = strstr(text, "unable to start container process");
	s->exit_code = 128;
	if (err->class == ERR_NO_COMMAND || strstr(text, "executable file not found") || strstr(text, "no such file or directory"))
		s->exit_code = 127;
	else if (err->class == ERR_NOT_EXECUTABLE || strstr(text, "permission denied") || strstr(text, "is a directory") ||
		 (strstr(text, "not a directory") && !span_starts(span_of(text), SPAN("Cannot mkdir: "))))
		s->exit_code = 126;
	enum err_class class = words || s->exit_code != 128 ? ERR_INVALID_REQUEST : err->class;
	if (!s->runtime_said && !words)
		err->class = class;
	else
		err_set(err, class, "failed to create task for container: failed to create shim task: OCI runtime create failed: "
			"runc create failed: %s%s: unknown", words ? "" : "unable to start container process: error during container init: ",
			arena_cstr(&s->op.arena, span_of(text)));
}

static void start_run(struct loop_work *w)
{
	struct start *s = OP_OF_WORK(start, w);
	const struct container *c = s->op.c;
	int rc = s->sync ? container_record_save(c, true, &s->op.err) : 0;
	if (rc == 0 && s->run_left != RUN_LEFT_NOTHING)
		rc = container_clear(c->e, c->id, &s->op.err);
	s->run_left = RUN_LEFT_ALL;
	if (rc == 0 && build(s, &s->op.err) == 0)
		return;
	if (net_wait(s, NET_DONE) < 0) { /* of two failures the network's is told */
		err_done(&s->op.err);
		err_move(&s->op.err, &s->net_err);
		s->exit_code = 128;
	} else {
		failure_word(s, &s->op.err);
	}
	auto_err struct err why = ERR_INIT;
	spawn_undo(s);
	container_mounts_end(c->e, c->id, json_getl(&c->doc, "Plan"));
	if (container_clear(c->e, c->id, &why) < 0)
		container_warn(c->e, "a failed start left something behind", c->id, &why);
	else
		s->run_left = RUN_LEFT_NOTHING;
	for (unsigned i = 0; i < s->n_streams; i++)
		fd_close(&s->socks[i]);
	auto_fd int dir = open(container_path(&s->op.arena, c, "state"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0) { /* it tells of a run that never was */
		(void)unlinkat(dir, "monitor.json", 0);
		(void)unlinkat(dir, "exit.json", 0);
	}
}

/* ---- the loop's part */

static void start_free(struct start *s)
{
	network_got_done(&s->got);
	arena_done(&s->net_arena);
	err_done(&s->net_err);
	pthread_cond_destroy(&s->net_cond);
	pthread_mutex_destroy(&s->net_lock);
	s->op.c->starting = NULL;
	free(s->streams);
	free(s->takes);
	free(s->socks);
}

void container_start_forget(struct container *c, const struct container_stream *s)
{
	for (unsigned i = 0; c->starting && i < c->starting->n_streams; i++)
		if (c->starting->streams[i] == s)
			c->starting->streams[i] = NULL;
}

static void start_failed(struct start *s)
{
	struct container *c = s->op.c;
	struct container_engine *e = c->e;
	auto_err struct err err = ERR_INIT;
	err_move(&err, &s->op.err);
	free(c->error);
	c->error = mem_dup(err_msg(&err), strlen(err_msg(&err)));
	c->exit_code = s->exit_code ? s->exit_code : 128;
	c->status = c->status == STATUS_CREATED ? STATUS_CREATED : STATUS_EXITED;
	container_users_update(c, false);
	container_net_stop(c);
	(void)container_record_save(c, false, NULL); /* State.Error is for who looks; the next save has it too */
	container_streams_fail(&c->streams, &err);
	bool remove = container_truth(c->host, "AutoRemove");
	start_free(s);
	if (s->by_policy) /* that was the last of its runs */
		container_waits_ended(c);
	else
		container_waits_failed(c);
	container_op_end(&s->op, &err);
	if (remove && !e->closing)
		container_remove_op(c, CONTAINER_RM_FORCE | CONTAINER_RM_VOLUMES, NULL);
}

static void start_done(struct loop_work *w)
{
	struct start *s = OP_OF_WORK(start, w);
	struct container *c = s->op.c;
	c->run_left = s->run_left;
	if (!s->op.err.class)
		container_control_open(c, take_fd(&s->control), &s->op.err);
	if (s->op.err.class) {
		start_failed(s);
		return;
	}
	c->status = STATUS_RUNNING;
	c->pid = s->pid;
	c->started_ns = s->started_ns; /* the monitor's, so that an engine that finds it again says the same */
	c->exit_code = 0;
	c->oom_killed = c->oom = false;
	c->ever_started = true;
	c->manually_stopped = false;
	free(c->error);
	c->error = NULL;
	container_users_update(c, false);
	for (unsigned i = 0; i < s->n_streams; i++) {
		auto_err struct err err = ERR_INIT;
		if (s->streams[i] && container_stream_attach(s->streams[i], take_fd(&s->socks[i]), &err) < 0)
			container_warn(c->e, "an attached client is lost", c->id, &err);
		fd_close(&s->socks[i]);
	}
	container_health_started(c);
	container_pack_due(c);
	/* The monitor's folder says the same, and outranks it. Of a volatile one that is over soon nobody needs it at all,
	 * and who waits for a fleeting one's start does not wait for the disk. */
	if (container_is_volatile(c) || container_is_fleeting(c))
		loop_timer_start(&c->record_timer, CONTAINER_RECORD_MS);
	else
		(void)container_record_save(c, false, NULL);
	start_free(s);
	container_volume_events(c, VOLUME_MOUNTED);
	container_event_send(c, "start", NULL);
	if (s->restart)
		container_event_send(c, "restart", NULL);
	container_op_end(&s->op, NULL);
}

static int peer_ns(struct start *s, struct arena *a, const char *mode, const char *what, const char *ns, struct span *out,
	struct container **out_peer, struct err *err)
{
	struct container *c = s->op.c;
	struct span head, who, text = container_str(c->host, mode);
	*out_peer = NULL;
	if (!span_split(text, ':', &head, &who) || !span_is(head, "container"))
		return 0;
	struct container *peer = container_get(c->e, who, err);
	if (!peer)
		return -ERR_NOT_FOUND;
	if (!container_is_running(peer) || !peer->pid)
		return err_set(err, ERR_IN_USE, "cannot join %s of a non running container: %s", what, peer->id);
	*out = arena_printf(a, "/proc/%d/ns/%s", peer->pid, ns);
	*out_peer = peer;
	return 0;
}

/* The texts of a container that has no network of the engine's. */
static void files_alone(struct start *s)
{
	struct container *c = s->op.c;
	auto_buf struct buf hosts = {}, resolv = {};
	if (span_is(container_str(c->host, "NetworkMode"), "host")) {
		(void)io_read_file(AT_FDCWD, "/etc/hosts", &hosts, 1 << 20, NULL); /* a host without has none to share */
	} else {
		buf_str(&hosts, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n"
				"ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
	}
	JSON_EACH_ITEM (json_getl(c->host, "ExtraHosts"), item) {
		struct span name, addr;
		span_split(json_span(item), ':', &name, &addr);
		buf_printf(&hosts, "%.*s\t%.*s\n", SPAN_ARG(addr), SPAN_ARG(name));
	}
	(void)io_read_file(AT_FDCWD, "/etc/resolv.conf", &resolv, 1 << 20, NULL); /* likewise */
	s->hosts = arena_span(&s->net_arena, buf_span(&hosts));
	const struct json *own = json_getl(container_extra_of(c), "ResolvConf");
	s->resolv_conf = own ? json_span(own) : arena_span(&s->net_arena, buf_span(&resolv));
}

static int network_prepare(struct start *s, struct err *err)
{
	static const char *const names[] = { "hosts", "resolv.conf", "hostname" };
	struct container *c = s->op.c, *peer;
	struct span mode = container_str(c->host, "NetworkMode");
	int rc = peer_ns(s, &s->net_arena, "NetworkMode", "network", "net", &s->netns, &peer, err);
	if (rc < 0)
		return rc;
	s->own_files = !peer;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		s->files[i] = span_of(container_path(&s->net_arena, peer ? peer : c, names[i]));
	if (peer || !c->e->o.networks) {
		if (!peer && !span_is(mode, "none") && !span_is(mode, "host"))
			return err_set(err, ERR_UNSUPPORTED, "network %.*s: this engine has no networks but none and host", SPAN_ARG(mode));
		if (!peer)
			s->netns = container_str(container_extra_of(c), "NetworkPath");
		files_alone(s);
		return 0;
	}
	rc = container_net_start(c, &s->net_arena, net_texts, s, &s->got, err);
	if (rc < 0) {
		s->got.n_sockets = 0;
		return rc;
	}
	if (s->texts_told) /* the worker reads them */
		return 0;
	s->netns = s->got.netns;
	s->hosts = s->got.hosts;
	s->resolv_conf = s->got.resolv_conf;
	return 0;
}

/* Extra.Sandbox: its host name, and unless that is the host's, its namespace. */
static int sandbox_join(struct start *s, struct err *err)
{
	const struct container *c = s->op.c;
	struct span id = container_str(container_extra_of(c), "Sandbox");
	if (!id.len)
		return 0;
	const struct container *peer = container_get(c->e, id, err);
	if (!peer)
		return -ERR_NOT_FOUND;
	if (!container_is_running(peer) || !peer->pid || peer->ending)
		return err_set(err, ERR_IN_USE, "the sandbox %s does not run", peer->id);
	s->hostname = container_str(peer->config, "Hostname");
	if (!span_is(container_str(c->host, "UTSMode"), "host"))
		s->uts_ns = arena_printf(&s->op.arena, "/proc/%d/ns/uts", peer->pid);
	return 0;
}

static int start_prepare(struct start *s, struct err *err)
{
	struct container *c = s->op.c, *peer;
	struct span ipc = container_str(c->host, "IpcMode");
	s->hostname = container_str(c->config, "Hostname");
	int rc = sandbox_join(s, err);
	rc = rc < 0 ? rc : peer_ns(s, &s->op.arena, "PidMode", "PID", "pid", &s->pid_ns, &peer, err);
	rc = rc < 0 ? rc : peer_ns(s, &s->op.arena, "IpcMode", "IPC", "ipc", &s->ipc_ns, &peer, err);
	if (rc < 0)
		return rc;
	if (peer && span_is(container_str(peer->host, "IpcMode"), "private"))
		return err_set(err, ERR_INVALID_REQUEST,
			"cannot join IPC of container %s: non-shareable IPC (hint: use IpcMode:shareable for the "
			"donor container)", peer->id);
	s->make_shm = span_is(ipc, "shareable");
	if (s->make_shm || (peer && span_is(container_str(peer->host, "IpcMode"), "shareable")))
		s->shm = span_of(container_run_path(&s->op.arena, peer ? peer : c, "shm"));
	return 0;
}

static void streams_count(struct start *s)
{
	struct container *c = s->op.c;
	LIST_EACH (&c->streams, one, struct container_stream, link_)
		s->n_streams++;
	s->streams = mem_zalloc((s->n_streams + 1) * sizeof(struct container_stream *));
	s->takes = mem_zalloc((s->n_streams + 1) * sizeof(unsigned));
	s->socks = mem_alloc((s->n_streams + 1) * sizeof(int));
	unsigned n = 0;
	LIST_EACH (&c->streams, one, struct container_stream, link_) {
		s->socks[n] = -1;
		s->takes[n] = container_stream_takes(one);
		s->streams[n++] = one;
	}
}

static void start_begin(struct op *op)
{
	struct start *s = OP_OF(start, op);
	struct container *c = op->c;
	auto_err struct err err = ERR_INIT;
	if (c->status == STATUS_RUNNING || (s->by_policy && c->status != STATUS_RESTARTING && c->status != STATUS_EXITED)) {
		op->unchanged = true;
		container_op_end(op, NULL);
		return;
	}
	if (c->status == STATUS_PAUSED) {
		err_set(&err, ERR_IN_USE, "cannot start a paused container, try unpause instead");
		container_op_end(op, &err);
		return;
	}
	if (c->status == STATUS_REMOVING || c->status == STATUS_DEAD) {
		err_set(&err, ERR_IN_USE, "container is marked for removal and cannot be started");
		container_op_end(op, &err);
		return;
	}
	if (s->by_policy && c->manually_stopped) { /* a stop came first */
		container_op_end(op, NULL);
		return;
	}
	loop_timer_stop(&c->restart_timer);
	pthread_mutex_init(&s->net_lock, NULL);
	pthread_cond_init(&s->net_cond, NULL);
	c->starting = s;
	streams_count(s);
	if (!s->by_policy) {
		c->restart_count = 0;
		c->back_off_ms = 0;
		c->manually_stopped = false;
	}
	if (start_prepare(s, &op->err) < 0) {
		s->exit_code = 128;
		start_failed(s);
		return;
	}
	struct span policy = container_str(json_getl(c->host, "RestartPolicy"), "Name");
	/* A policy outlives a power cut, so that it was started must, too. */
	s->sync = !c->ever_started && policy.len && !span_is(policy, "no");
	c->ever_started |= s->sync;
	s->run_left = c->run_left;
	container_op_work(op, start_run, start_done);
	(void)network_prepare(s, &s->net_err); /* net_err tells */
	net_tell(s, NET_DONE);
}

void container_start_op(struct container *c, struct container_call *call, bool by_policy)
{
	struct start *s = container_op_new(sizeof(*s), c, "container start", start_begin, call);
	s->by_policy = by_policy;
	s->control = s->state_dir = -1;
	s->op.waiting_end = true;
	container_op_submit(&s->op);
}

void container_restart_follow(struct container *c, struct container_call *call)
{
	struct start *s = container_op_new(sizeof(*s), c, "container start", start_begin, call);
	s->restart = true;
	s->control = s->state_dir = -1;
	s->op.waiting_end = true;
	container_op_first(&s->op);
}

void container_start(struct container_engine *e, struct span name, struct container_call *call)
{
	struct container *c = container_for_call(e, name, call);
	if (c)
		container_start_op(c, call, false);
}
