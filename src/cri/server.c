/* The face as a whole: what it opens, in which order it ends.
 *
 *     open: volumes ─ containers ─ sandboxes are taken up ─ server
 *     close: server ─ requests ─ containers' watching, the folder of networks ─ `closed` */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cri/private.h"
#include "volume/volume.h"

#define STOPPED_MS 0

static const char *text(struct cri *c, const char *s, const char *otherwise)
{
	return arena_cstr(&c->texts, span_of(s ? s : otherwise));
}

static void free_all(struct cri *c)
{
	struct cri_pod *pod;
	while ((pod = LIST_FIRST(&c->pods, struct cri_pod, link)))
		cri_pod_free(pod);
	loop_timer_stop(&c->plugins_timer);
	cri_debts_free(c);
	fd_close(&c->paths.ending);
	volume_store_close(c->volumes);
	cri_streams_free(c);
	grpc_server_free(c->grpc);
	http_server_free(c->server);
	cri_cni_free(c->cni);
	map_done(&c->pods_by_id);
	map_done(&c->all_by_id);
	arena_done(&c->texts);
	free(c->pod_cidr);
	free(c);
}

static void close_step(struct loop_task *t)
{
	struct cri *c = container_of(t, struct cri, close_task);
	void (*closed)(void *arg) = c->closed;
	void *arg = c->closed_arg;
	if (c->busy)
		return;
	free_all(c);
	if (closed)
		closed(arg);
}

static void on_warn(void *arg, const char *what, const char *id, const struct err *err)
{
	log_warn(what, kv_str("container", id), kv_err(err));
}

/* A plugin that does not end holds its call, and its call the face. What it leaves is owed: its record stays. */
static void on_plugins_late(struct loop_timer *t)
{
	struct cri *c = container_of(t, struct cri, plugins_timer);
	const uint64_t one = 1;
	if (c->paths.ending >= 0)
		(void)!write(c->paths.ending, &one, sizeof(one)); /* it cannot be full */
	cri_check_cancel(c);
}

static int containers_open(struct cri *c, struct err *err)
{
	struct arena *a = &c->texts;
	const char *dir = arena_printf(a, "%s/cri", c->p.data_dir).ptr;
	int rc = io_mkdirs(AT_FDCWD, dir, 0711, err);
	rc = rc < 0 ? rc : io_mkdirs(AT_FDCWD, arena_printf(a, "%s/cri", c->p.run_dir).ptr, 0711, err);
	c->paths = (struct cri_paths){ .sandboxes = arena_printf(a, "%s/sandboxes", dir).ptr,
		.netns = arena_printf(a, "%s/cri/netns", c->p.run_dir).ptr,
		.bin = c->p.cni_bin_dir, .ending = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	rc = rc == 0 && c->paths.ending < 0 ? err_sys(err, "eventfd") : rc;
	rc = rc < 0 ? rc : io_mkdirs(AT_FDCWD, c->paths.sandboxes, 0700, err);
	rc = rc < 0 ? rc : io_mkdirs(AT_FDCWD, c->paths.netns, 0755, err);
	rc = rc < 0 ? rc : volume_store_open(arena_printf(a, "%s/volumes", dir).ptr, &c->volumes, err);
	if (rc < 0)
		return rc;
	const struct container_opts o = { .loop = c->p.loop, .pool = c->p.pool, .dir = dir, .kind = "cri", .end_execs = true,
		.run_dir = arena_printf(a, "%s/cri", c->p.run_dir).ptr, .runner = c->p.runner, .images = c->p.images,
		.snapshots = c->p.snapshots, .volumes = c->volumes, .settings = c->p.settings, .warn = on_warn,
		.event = cri_on_container_event,
		.event_arg = c };
	return container_engine_open(&o, &c->containers, err);
}

static int server_open(struct cri *c, struct err *err)
{
	const struct grpc_server_params gp = { .loop = c->p.loop, .methods = cri_methods, .n = cri_n_methods, .arg = c,
		.recv_bytes = 16 << 20 };
	struct http_server_params hp = { .loop = c->p.loop, .name = "cri", .handle = grpc_server_handle };
	c->grpc = grpc_server_new(&gp);
	hp.arg = c->grpc;
	grpc_limits(&hp.limits);
	return http_server_new(&hp, &c->server, err);
}

static void closed_set(void *arg)
{
	*(bool *)arg = true;
}

int cri_open(const struct cri_params *p, struct cri **out_cri, struct err *err)
{
	struct cri *c = mem_new(struct cri);
	c->p = *p;
	list_init(&c->pods);
	list_init(&c->all);
	list_init(&c->calls);
	list_init(&c->making);
	list_init(&c->making_containers);
	list_init(&c->debts);
	list_init(&c->net_jobs);
	list_init(&c->listeners);
	list_init(&c->tickets);
	list_init(&c->conns);
	c->paths.ending = -1;
	loop_task_init(&c->close_task, close_step);
	loop_timer_init(&c->plugins_timer, c->p.loop, "cri plugins' end", on_plugins_late);
	c->plugins_timer.background = true;
	c->p.data_dir = text(c, p->data_dir, NULL);
	c->p.run_dir = text(c, p->run_dir, NULL);
	c->p.runner = text(c, p->runner, NULL);
	c->p.cni_conf_dir = text(c, p->cni_conf_dir, "/etc/cni/net.d");
	c->p.cni_bin_dir = text(c, p->cni_bin_dir, "/opt/cni/bin");
	cri_cni_new(c);
	int rc = containers_open(c, err);
	rc = rc < 0 ? rc : cri_take_up(c, err);
	rc = rc < 0 ? rc : server_open(c, err);
	rc = rc < 0 ? rc : cri_streams_open(c, err);
	if (rc < 0) {
		bool closed = false;
		cri_close(c, closed_set, &closed);
		while (!closed)
			(void)loop_turn(p->loop, true);
		return rc;
	}
	*out_cri = c;
	return 0;
}

int cri_listen(struct cri *c, int fd, struct err *err)
{
	return http_server_listen(c->server, fd, 0, err);
}

static void on_stopped(struct http_server *s, void *arg)
{
	struct cri *c = arg;
	cri_busy(c, -1);
}

void cri_stop(struct cri *c, unsigned deadline_ms)
{
	if (!c || c->stopping)
		return;
	c->stopping = true;
	cri_events_end(c);
	cri_threads_cancel(c);
	cri_streams_cut(c);
	cri_exec_syncs_end(c);
	loop_timer_start(&c->plugins_timer, deadline_ms);
	if (c->server) {
		cri_busy(c, 1);
		http_server_stop(c->server, deadline_ms, on_stopped, c);
	}
	if (c->streams) {
		cri_busy(c, 1);
		http_server_stop(c->streams, 0, on_stopped, c);
	}
}

static void containers_closed(void *arg)
{
	struct cri *c = arg;
	cri_busy(c, -1);
}

void cri_close(struct cri *c, void (*closed)(void *arg), void *arg)
{
	if (!c)
		return;
	cri_stop(c, STOPPED_MS);
	c->closing = true;
	c->closed = closed;
	c->closed_arg = arg;
	cri_cni_close(c->cni);
	if (c->containers) {
		cri_busy(c, 1);
		container_engine_close(c->containers, containers_closed, c);
	}
	loop_defer(c->p.loop, &c->close_task);
}

bool cri_uses_image(void *cri, const struct image_digest *id, bool only_running, char out_container[65], bool *out_running)
{
	struct cri *c = cri;
	return container_uses_image(c->containers, id, only_running, out_container, out_running);
}
