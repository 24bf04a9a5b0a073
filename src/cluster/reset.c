/* `knarr reset`: takes away everything that Knarr made, and nothing else.
 *
 *     systemd starts it no more; stop the supervisor, containers stay; take its lock: from here on nobody else starts one
 *                                               (it may have been killed before: then there is nothing to stop)
 *     an engine by itself, for this alone       removes every container: mounts, control groups, namespaces, addresses go as they
 *                                               came
 *     networks of the engine, then the cable and the cluster's network namespace
 *     what is in the control groups of the ID ends; then the pods' interfaces, tables and routes, and forwarding as it was
 *     mounts below D and RUN that are left, those groups, files by their names, the lock last
 *
 * A folder that bears no sign of Knarr is left alone. Of D only what Knarr is known to make is removed, the signs last;
 * config.yaml and what others put there stay, and D itself is removed when it is empty. A step that fails is told, and those behind
 * it are done nevertheless. */
#include "cluster/ask.h"
#include "cluster/server.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "network/network.h"
#include "proxy/proxy.h"
#include "snapshot/snapshot.h"
#include "sys/addr.h"
#include "sys/sys.h"

#define ASK_MS 60000
#define ENGINE_END_MS 10000
#define SYSTEMD_MS 150000 /* TimeoutStopSec and some more */
#define LIST_MAX (16 << 20)
#define MOUNTS_MAX 65536
#define POD_LOGS "/var/log/pods" /* of the default cluster: rows.c */
#define DOCKER_SOCK "/run/docker.sock"
#define TMPFILES "/etc/tmpfiles.d/knarr.conf"

/* What the parts make in D. */
static const char *const made[] = { "admin.kubeconfig", "builder", "containers", "cri", "images", "kubelet", "log", "manifests",
	"network", "nodes", "pki", "proxy", "pods-log", "run", "snapshots", "store", "volumes", "cni", "engine-id", "cluster.json" };
/* Names like "images" or "log" are anybody's. One of these says that D is ours, whatever part was there, however early it ended. */
static const char *const signs[] = { "cluster.json", "engine-id", "cni/bin/knarr-cni", "run/server.lock", "log/server.log" };

struct resetting {
	struct cluster_layout l;
	struct cluster_settings s;
	int lock;
	bool containers_left; /* some may run on: their files stay */
	unsigned failures;
};

static void failed(struct resetting *r, const char *what, const struct err *err)
{
	r->failures++;
	(void)fprintf(stderr, "knarr reset: %s: %s\n", what, err_msg(err));
}

/* ---- other programs */

struct tool {
	struct loop *loop;
	struct proc proc;
	struct loop_timer deadline;
	int status;
};

static void on_ended(struct proc *p, int status, const struct rusage *used)
{
	struct tool *t = container_of(p, struct tool, proc);
	t->status = status;
	loop_timer_stop(&t->deadline);
}

static void on_deadline(struct loop_timer *timer)
{
	proc_signal(&container_of(timer, struct tool, deadline)->proc, SIGKILL);
}

static int tool_start(struct tool *t, const char *name, const struct proc_wish *w, struct err *err)
{
	int rc = loop_new(NULL, &t->loop, err);
	if (rc < 0)
		return rc;
	loop_timer_init(&t->deadline, t->loop, name, on_deadline);
	return proc_start(&t->proc, t->loop, name, w, on_ended, err);
}

/* Until it has ended; SIGKILL after most_ms. */
static void tool_wait(struct tool *t, int64_t most_ms)
{
	loop_timer_start(&t->deadline, most_ms);
	loop_run(t->loop);
}

/* Otherwise the next start of the machine would make a new cluster, and a supervisor that was killed comes back within 100 ms. */
static int systemd_disable(struct err *err)
{
	static const char *const argv[] = { "systemctl", "disable", "--quiet", "--now", "knarr.service", NULL };
	const struct proc_wish w = { .path = "/usr/bin/systemctl", .argv = argv, .in = -1, .out = 1, .err = 2 };
	auto_buf struct buf how = {};
	struct tool t = {};
	int rc = tool_start(&t, "systemctl", &w, err);
	if (rc == 0)
		tool_wait(&t, SYSTEMD_MS);
	loop_free(t.loop);
	if (rc < 0 || t.status == 0)
		return rc;
	proc_status_text(&how, t.status);
	return err_set(err, ERR_UPSTREAM, "systemctl disable --now knarr.service: %s", buf_cstr(&how));
}

/* ---- containers, by an engine of our own */

static int remove_containers(const struct resetting *r, struct err *err)
{
	auto_arena struct arena a = {};
	auto_buf struct buf body = { .limit = LIST_MAX };
	struct json list;
	int status, rc;
	/* The first question waits in the queue of a socket that listens before the engine does. */
	rc = cluster_ask(r->l.docker_sock.ptr, "GET", "/containers/json?all=1", ASK_MS, &body, &status, err);
	if (rc == 0 && status != 200)
		rc = err_set(err, ERR_UPSTREAM, "the engine answers %d", status);
	if (rc == 0)
		rc = json_parse(&a, buf_span(&body), JSON_BORROW, NULL, &list, err);
	if (rc < 0)
		return rc;
	JSON_EACH_ITEM(&list, item) {
		auto_buf struct buf answer = { .limit = 4096 }, target = {};
		struct span id = json_span(json_getl(item, "Id"));
		buf_printf(&target, "/containers/%.*s?force=1&v=1", SPAN_ARG(id));
		int one = cluster_ask(r->l.docker_sock.ptr, "DELETE", buf_cstr(&target), ASK_MS, &answer, &status, err);
		if (one == 0 && status / 100 != 2 && status != 404)
			one = err_set(err, ERR_UPSTREAM, "container %.12s: %.*s", id.ptr, SPAN_ARG(buf_span(&answer)));
		rc = one < 0 ? one : rc;
	}
	return rc;
}

static int engine_run(struct resetting *r, struct err *err)
{
	auto_arena struct arena a = {};
	struct server s = { .l = r->l, .s = r->s };
	struct part_args args = { .arena = &a };
	struct tool t = {};
	auto_buf struct buf log = {};
	buf_printf(&log, "%s/engine.log", r->l.log.ptr);
	auto_fd int out = open(buf_cstr(&log), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	auto_fd int sock = http_listen_unix(r->l.docker_sock.ptr, 0600, err);
	part_arg(&args, "knarr");
	part_arg(&args, "engine");
	part_rows[CLUSTER_ENGINE].arguments(&s, &args);
	args.v[args.n] = NULL;
	const struct proc_wish w = { .path = r->l.program.ptr, .argv = args.v, .fds = &sock, .n_fds = 1, .listen = true, .in = -1,
		.out = out, .err = out,
				     .dir = "/", .group = PROC_GROUP_OWN, .death_signal = SIGKILL };
	int rc = sock < 0 ? sock : tool_start(&t, "engine", &w, err);
	fd_close(&sock); /* the engine's alone: when it ends, so does the wait for its answer */
	if (rc == 0) {
		rc = remove_containers(r, err);
		proc_signal(&t.proc, SIGTERM);
		tool_wait(&t, ENGINE_END_MS);
	}
	loop_free(t.loop);
	(void)unlink(r->l.docker_sock.ptr);
	return rc;
}

static int networks_remove(struct resetting *r, struct err *err)
{
	auto_arena struct arena a = {};
	struct network_engine *e;
	struct loop *loop;
	int rc = loop_new(NULL, &loop, err);
	if (rc < 0)
		return rc;
	const struct network_opts o = { .loop = loop, .dir = arena_printf(&a, "%s/network", r->l.data.ptr).ptr,
					.run_dir = arena_printf(&a, "%s/network", r->l.run.ptr).ptr, .id = r->l.id };
	rc = network_engine_open(&o, &e, err);
	if (rc == 0) {
		rc = network_engine_reset(e, true, err);
		network_engine_close(e);
		while (loop_turn(loop, false)) /* closings */
			;
	}
	loop_free(loop);
	return rc;
}

/* In the cluster's network namespace, which is this process's only for the while. */
static void engine_parts(struct resetting *r)
{
	auto_err struct err err = ERR_INIT;
	auto_arena struct arena a = {};
	auto_fd int host = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	bool containers = access(cluster_layout_path(&r->l, &a, "containers"), F_OK) == 0;
	bool networks = access(cluster_layout_path(&r->l, &a, "network"), F_OK) == 0;
	if (host < 0 || (!containers && !networks))
		return;
	if (!r->s.host_network && cluster_network_join(&r->l, &err) < 0) {
		/* After a restart of the machine it is gone, and with it everything that was in it; containers still have their files. */
		if (err.class != ERR_NOT_FOUND)
			failed(r, "network", &err);
		err_done(&err);
		char address[NETWORK_CABLE_ADDRESS];
		const struct network_cable c = { .id = r->l.id, .pin = r->l.pin.ptr };
		if (network_cable_enter(&c, address, &err) < 0) {
			failed(r, "network", &err);
			return;
		}
	}
	if (containers && engine_run(r, &err) < 0) {
		failed(r, "containers", &err);
		/* What is in the cluster's groups is ended below. systemd's scopes are not among them. */
		r->containers_left = access("/run/systemd/system", F_OK) == 0;
	}
	err_done(&err);
	if (networks && networks_remove(r, &err) < 0)
		failed(r, "networks", &err);
	if (setns(host, CLONE_NEWNET) < 0) {
		(void)err_sys(&err, "leaving the cluster's network namespace");
		failed(r, "network", &err);
	}
}

/* ---- mounts, groups, files */

static bool below(struct span path, struct span folder)
{
	return span_starts(path, folder) && (path.len == folder.len || path.ptr[folder.len] == '/');
}

/* As mountinfo has it; D and RUN themselves keep their links. */
static struct span resolved(struct arena *a, struct span path)
{
	auto_free char *real = realpath(path.ptr, NULL);
	return real ? arena_span(a, span_of(real)) : path;
}

/* From the last to the first: what was mounted on top goes first. */
static void unmount_below(struct resetting *r)
{
	auto_buf struct buf text = {};
	auto_arena struct arena a = {};
	auto_err struct err unread = ERR_INIT;
	struct span rest, line, *points = NULL, data = resolved(&a, r->l.data), run = resolved(&a, r->l.run);
	size_t n = 0, cap = 0;
	if (sys_file_read(AT_FDCWD, "/proc/self/mountinfo", &text, 64 << 20) < 0) {
		(void)err_sys(&unread, "/proc/self/mountinfo");
		failed(r, "mounts", &unread);
		return;
	}
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &line) && n < MOUNTS_MAX) {
		auto_buf struct buf point = {};
		if (!cluster_mount_point(line, &point) || (!below(buf_span(&point), data) && !below(buf_span(&point), run)))
			continue;
		/* A person may keep D on a disk of its own. */
		if (span_eq(buf_span(&point), data) || span_eq(buf_span(&point), run))
			continue;
		MEM_GROW(points, n, cap);
		points[n++] = arena_span(&a, buf_span(&point));
	}
	while (n) {
		auto_err struct err err = ERR_INIT;
		if (umount2(points[--n].ptr, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT) {
			(void)err_sys(&err, "unmounting %s", points[n].ptr);
			failed(r, "mounts", &err);
		}
	}
	free(points);
}

static void groups_remove(struct resetting *r)
{
	auto_err struct err err = ERR_INIT;
	if (cluster_groups_remove(&r->l, &err) < 0)
		failed(r, "control groups", &err);
}

static void remove_name(struct resetting *r, const char *folder, const char *name)
{
	auto_err struct err err = ERR_INIT;
	auto_fd int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && snapshot_tree_remove(fd, name, &err) < 0)
		failed(r, folder, &err);
}

/* /run/knarr holds other clusters' run folders too: eight hex digits. */
static bool others(const struct cluster_layout *l, const char *name)
{
	size_t n = strlen(name), i = 0;
	while (i < n && hex_value(name[i]) >= 0)
		i++;
	return l->is_default && n == 8 && i == n;
}

/* ".cluster.json.0123456789abcdef": a file that was being replaced when its writer was killed. */
static bool torn(const char *name)
{
	struct span s = span_of(name);
	for (size_t i = 0; i < ARRAY_LEN(made); i++) {
		struct span of = span_of(made[i]);
		if (s.len == of.len + 18 && s.ptr[0] == '.' && s.ptr[of.len + 1] == '.' && span_eq(span_sub(s, 1, of.len + 1), of))
			return true;
	}
	return false;
}

/* /var/log/pods is shared with whoever else keeps pods: NAMESPACE_NAME_UID is ours when our kubelet has a pod of that UID. */
static void pod_logs_remove(struct resetting *r)
{
	struct dirent *e;
	DIR *d = opendir(POD_LOGS);
	while (d && (e = readdir(d))) {
		auto_buf struct buf pod = {};
		const char *uid = strrchr(e->d_name, '_');
		if (!uid || !uid[1])
			continue;
		buf_printf(&pod, "%s/kubelet/pods/%s", r->l.data.ptr, uid + 1);
		if (access(buf_cstr(&pod), F_OK) == 0)
			remove_name(r, POD_LOGS, e->d_name);
	}
	if (d)
		closedir(d);
	(void)rmdir(POD_LOGS);
}

/* What install.sh made for the default cluster's engine, when it is as it made it: both would lead nowhere. */
static void links_remove(const struct resetting *r)
{
	char there[256];
	auto_buf struct buf line = {}, want = {};
	ssize_t n = readlink(DOCKER_SOCK, there, sizeof(there));
	if (n > 0 && span_eq(span_make(there, (size_t)n), r->l.docker_sock))
		(void)unlink(DOCKER_SOCK);
	buf_printf(&want, "L " DOCKER_SOCK " - - - - %s\n", r->l.docker_sock.ptr);
	if (io_read_file(AT_FDCWD, TMPFILES, &line, 4096, NULL) == 0 && span_eq(buf_span(&line), buf_span(&want)))
		(void)unlink(TMPFILES);
}

static void files_remove(struct resetting *r)
{
	struct dirent *e;
	DIR *d;
	auto_arena struct arena a = {};
	bool run_inside = span_eq(r->l.run, span_of(cluster_layout_path(&r->l, &a, "run")));
	if (r->l.is_default)
		pod_logs_remove(r);
	for (size_t i = 0; i < ARRAY_LEN(made); i++) {
		bool kept = r->containers_left && (strcmp(made[i], "containers") == 0 || strcmp(made[i], "snapshots") == 0);
		/* Where something stays, so does the sign by which the next reset goes on. */
		kept |= r->failures && (strcmp(made[i], "engine-id") == 0 || strcmp(made[i], "cluster.json") == 0);
		if (!kept && !(run_inside && strcmp(made[i], "run") == 0))
			remove_name(r, r->l.data.ptr, made[i]);
	}
	d = opendir(r->l.data.ptr);
	while (d && (e = readdir(d)))
		if (torn(e->d_name))
			remove_name(r, r->l.data.ptr, e->d_name);
	if (d)
		closedir(d);
	if (r->l.is_default) {
		(void)unlink(r->l.admin.ptr);
		(void)rmdir("/etc/knarr");
		links_remove(r);
	}
	/* The lock goes last: who starts a supervisor from then on finds nothing, and nothing is taken from under it. */
	d = opendir(r->l.run.ptr);
	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && strcmp(e->d_name, "server.lock") != 0 &&
		    !others(&r->l, e->d_name))
			remove_name(r, r->l.run.ptr, e->d_name);
	if (d)
		closedir(d);
	(void)unlink(r->l.lock.ptr);
	(void)rmdir(r->l.run.ptr); /* what is not empty stays, here and below */
	if (!r->l.is_default)
		(void)rmdir("/run/knarr");
	(void)rmdir(r->l.data.ptr);
}

/* ---- */

static bool sure(const struct cluster_layout *l)
{
	char answer[16] = "";
	if (!isatty(0)) {
		(void)fprintf(stderr, "knarr reset: this removes all containers, images, volumes and objects of %s; say so with --yes\n",
			l->data.ptr);
		return false;
	}
	printf("This removes all containers, images, volumes and objects of %s. Type yes to go on: ", l->data.ptr);
	(void)fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0;
}

static bool is_ours(const struct cluster_layout *l)
{
	auto_arena struct arena a = {};
	struct stat st;
	if (l->is_default)
		return lstat(l->data.ptr, &st) == 0 || lstat(l->run.ptr, &st) == 0;
	for (size_t i = 0; i < ARRAY_LEN(signs); i++)
		if (lstat(cluster_layout_path(l, &a, signs[i]), &st) == 0)
			return true;
	return lstat(l->lock.ptr, &st) == 0; /* of a RUN that is elsewhere */
}

static int reset(struct resetting *r)
{
	auto_err struct err err = ERR_INIT;
	if (!is_ours(&r->l)) {
		printf("There is nothing of Knarr in %s.\n", r->l.data.ptr);
		return 0;
	}
	/* What runs is not taken apart, and nothing begins to run while it is. */
	if (cluster_layout_systemd(&r->l) && systemd_disable(&err) < 0)
		return cluster_fail("reset", &err);
	if (cluster_stop(&r->l, true, &err) < 0 && err.class != ERR_NOT_FOUND)
		return cluster_fail("reset", &err);
	err_done(&err);
	if (io_mkdirs(AT_FDCWD, r->l.run.ptr, 0711, &err) < 0 || cluster_lock_take(&r->l, &r->lock, &err) < 0)
		return cluster_fail("reset", &err);
	FAILPOINT("cluster.reset.locked");
	if (cluster_settings_read(&r->l, false, &r->s, &err) < 0) {
		/* A config.yaml that is not to be read keeps nobody from leaving. */
		cluster_settings_done(&r->s);
		cluster_settings_default(&r->l, &r->s);
		r->s.host_network = r->l.is_default || access(r->l.pin.ptr, F_OK) < 0;
	}
	err_done(&err);
	engine_parts(r);
	if (!r->s.host_network && cluster_network_remove(&r->l, &err) < 0)
		failed(r, "network", &err);
	/* Pods, which the engine above was not asked about, and whatever else would keep a mount busy. */
	(void)cluster_groups_end(&r->l, 0);
	err_done(&err);
	struct sys_prefix pods;
	bool range = sys_prefix_parse(r->s.pod_cidr, &pods);
	/* In a namespace of its own it went with that. */
	if (r->s.host_network && proxy_cleanup(r->l.data.ptr, r->l.id, &pods, range ? 1 : 0, &err) < 0)
		failed(r, "the pods' network", &err);
	unmount_below(r);
	groups_remove(r);
	files_remove(r);
	if (r->failures) {
		printf("Not all could be removed; what is named above stays.\n");
		return 1;
	}
	printf("Everything that Knarr made in %s is gone.\n", r->l.data.ptr);
	if (rmdir(r->l.data.ptr) < 0 && (errno == ENOTEMPTY || errno == EEXIST))
		printf("The folder stays: there is something in it that Knarr did not make.\n");
	return 0;
}

int cluster_reset_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct resetting r = { .lock = -1 };
	struct span dir = SPAN_EMPTY;
	bool yes = false;
	const struct cluster_option options[] = {
		{ "data-dir", 0, CLUSTER_OPTION_TEXT, &dir, "folder of everything (default $KNARR_DATA_DIR or /var/lib/knarr)" },
		{ "yes", 'y', CLUSTER_OPTION_TRUE, &yes, "do not ask" },
	};
	struct cluster_usage u = { .usage = "reset [flags]", .options = options, .n_options = ARRAY_LEN(options),
				   .about =
					"Removes everything that Knarr made: containers, images, volumes, objects, networks, files. And only that." };
	int rc = cluster_options_parse(&u, argc - 1, argv + 1, &err);
	if (rc > 0)
		return 0;
	if (rc == 0)
		rc = cluster_layout_init(&r.l, dir, &err);
	if (rc == 0 && geteuid() != 0)
		rc = err_set(&err, ERR_FORBIDDEN, "a cluster is root's: sudo knarr reset");
	int status = rc < 0 ? cluster_fail("reset", &err) : !yes && !sure(&r.l) ? 1 : reset(&r);
	fd_close(&r.lock);
	cluster_settings_done(&r.s);
	cluster_layout_done(&r.l);
	return status;
}
