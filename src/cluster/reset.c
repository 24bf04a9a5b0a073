/* `knarr reset`: takes away everything that Knarr made, and nothing else.
 *
 *     stop the supervisor, containers stay      (it may have been killed before: then there is nothing to stop)
 *     an engine by itself, for this alone       removes every container: mounts, control groups, namespaces, addresses go as they
 *                                               came
 *     networks of the engine, then the cable and the cluster's network namespace
 *     what is in the control groups of the ID ends; then the pods' interfaces, tables and routes, and forwarding as it was
 *     mounts below D and RUN that are left, those groups, files by their names
 *
 * Of D only what Knarr is known to make is removed; config.yaml and what others put there stay, and D itself is removed when it is
 * empty. A step that fails is told, and those behind it are done nevertheless. */
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
#define LIST_MAX (16 << 20)
#define MOUNTS_MAX 65536

/* What the parts make in D. */
static const char *const made[] = { "admin.kubeconfig", "builder", "cluster.json", "cni", "containers", "cri", "engine-id",
	"images",
	"kubelet", "log", "manifests",
				    "network", "nodes", "pki", "proxy", "pods-log", "run", "snapshots", "store", "volumes" };

struct resetting {
	struct cluster_layout l;
	struct cluster_settings s;
	unsigned failures;
};

static void failed(struct resetting *r, const char *what, const struct err *err)
{
	r->failures++;
	(void)fprintf(stderr, "knarr reset: %s: %s\n", what, err_msg(err));
}

/* ---- containers, by an engine of our own */

struct tool {
	struct loop *loop;
	struct proc engine;
	bool ended;
};

static void on_ended(struct proc *p, int status, const struct rusage *used)
{
	container_of(p, struct tool, engine)->ended = true;
}

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
	int rc = loop_new(NULL, &t.loop, err);
	if (rc < 0)
		return rc;
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
	rc = sock < 0 ? sock : proc_start(&t.engine, t.loop, "engine", &w, on_ended, err);
	fd_close(&sock); /* the engine's alone: when it ends, so does the wait for its answer */
	if (rc == 0) {
		rc = remove_containers(r, err);
		proc_signal(&t.engine, SIGTERM);
		loop_run(t.loop);
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
	if (containers && engine_run(r, &err) < 0)
		failed(r, "containers", &err);
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

/* From the last to the first: what was mounted on top goes first. */
static void unmount_below(struct resetting *r)
{
	auto_buf struct buf text = {};
	auto_arena struct arena a = {};
	struct span rest, line, *points = NULL;
	size_t n = 0, cap = 0;
	if (sys_file_read(AT_FDCWD, "/proc/self/mountinfo", &text, 64 << 20) < 0)
		return;
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &line) && n < MOUNTS_MAX) {
		auto_buf struct buf point = {};
		if (!cluster_mount_point(line, &point) || (!below(buf_span(&point), r->l.data) && !below(buf_span(&point), r->l.run)))
			continue;
		/* A person may keep D on a disk of its own. */
		if (span_eq(buf_span(&point), r->l.data) || span_eq(buf_span(&point), r->l.run))
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

static void files_remove(struct resetting *r)
{
	struct dirent *e;
	DIR *d = opendir(r->l.run.ptr);
	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !others(&r->l, e->d_name))
			remove_name(r, r->l.run.ptr, e->d_name);
	if (d)
		closedir(d);
	(void)rmdir(r->l.run.ptr); /* what is not empty stays, here and below */
	if (!r->l.is_default)
		(void)rmdir("/run/knarr");
	for (size_t i = 0; i < ARRAY_LEN(made); i++)
		remove_name(r, r->l.data.ptr, made[i]);
	d = opendir(r->l.data.ptr);
	while (d && (e = readdir(d)))
		if (torn(e->d_name))
			remove_name(r, r->l.data.ptr, e->d_name);
	if (d)
		closedir(d);
	if (r->l.is_default) {
		(void)unlink(r->l.admin.ptr);
		(void)rmdir("/etc/knarr");
	}
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

static int reset(struct resetting *r)
{
	auto_err struct err err = ERR_INIT;
	struct stat st;
	if (lstat(r->l.data.ptr, &st) < 0 && lstat(r->l.run.ptr, &st) < 0) {
		printf("There is nothing of Knarr in %s.\n", r->l.data.ptr);
		return 0;
	}
	if (cluster_stop(&r->l, true, &err) < 0 && err.class != ERR_NOT_FOUND)
		return cluster_fail("reset", &err); /* what runs is not taken apart */
	err_done(&err);
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
	struct resetting r = {};
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
	cluster_settings_done(&r.s);
	cluster_layout_done(&r.l);
	return status;
}
