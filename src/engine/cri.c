/* The other face: the CRI of --cri-host, over the same images, layers and workers. */
#include "builder/builder.h"
#include "cri/cri.h"

#include <fcntl.h>

#include "engine/private.h"

static void on_registry(void *engine, struct image_registry_params *out)
{
	struct engine *e = engine;
	engine_registry_params(e->registry, out);
}

static bool build_uses(const struct engine *e, const struct image_digest *id, char out_container[65], bool *out_running)
{
	if (!e->builder || !builder_uses_image(e->builder, id))
		return false;
	(void)snprintf(out_container, 65, "of a build");
	return *out_running = true;
}

/* For the CRI: what the other face needs. */
static bool on_used(void *engine, const struct image_digest *id, bool only_running, char out_container[65], bool *out_running)
{
	struct engine *e = engine;
	return container_uses_image(e->containers, id, only_running, out_container, out_running) ||
	       build_uses(e, id, out_container, out_running);
}

bool engine_image_used(void *engine, const struct image_digest *id, bool only_running, char out_container[65], bool *out_running)
{
	struct engine *e = engine;
	bool running = false;
	char other[65];
	bool found = container_uses_image(e->containers, id, only_running, out_container, out_running);
	pthread_mutex_lock(&e->cri_lock);
	if (e->cri && !(found && *out_running) && cri_uses_image(e->cri, id, only_running, other, &running)) {
		memcpy(out_container, other, sizeof(other));
		*out_running = running;
		found = true;
	}
	pthread_mutex_unlock(&e->cri_lock);
	return found || build_uses(e, id, out_container, out_running);
}

static int listen_at(struct engine *e, struct span host, struct err *err)
{
	struct span path = span_starts(host, SPAN("unix://")) ? span_from(host, 7) : host;
	if (!path.len || path.ptr[0] != '/')
		return err_set(err, ERR_USAGE, "--cri-host %.*s: unix:// and an absolute path are needed", SPAN_ARG(host));
	ptrdiff_t slash = span_rchr(path, '/');
	auto_free char *name = mem_dup(path.ptr, path.len), *folder = mem_dup(path.ptr, (size_t)slash);
	int rc = slash > 0 ? io_mkdirs(AT_FDCWD, folder, 0755, err) : 0;
	if (rc < 0)
		return rc;
	/* Root's alone: who may speak to it may do everything here. */
	int fd = http_listen_unix(name, 0600, err);
	rc = fd < 0 ? fd : cri_listen(e->cri, fd, err);
	if (rc == 0)
		log_info("listening", kv_str("cri", name));
	return rc;
}

int engine_cri_open(struct engine *e, struct err *err)
{
	struct arena *a = &e->texts;
	const struct engine_options *o = e->o;
	if (!o->cri_host.len)
		return 0;
	const struct cri_params p = { .loop = e->loop, .pool = e->pool, .data_dir = arena_cstr(a, o->data_dir),
		.run_dir = arena_cstr(a, o->run_dir), .runner = container_runner(e->containers), .images = e->images,
		.snapshots = e->snapshots, .settings = &o->settings, .registry = on_registry, .image_used = on_used, .arg = e,
		.cni_conf_dir = o->cni_conf_dir.len ? arena_cstr(a, o->cni_conf_dir) : NULL,
		.cni_bin_dir = o->cni_bin_dir.len ? arena_cstr(a, o->cni_bin_dir) : NULL };
	int rc = cri_open(&p, &e->cri, err);
	rc = rc < 0 ? rc : listen_at(e, o->cri_host, err);
	return rc < 0 ? err_note(err, "CRI") : 0;
}

static void on_closed(void *arg)
{
	*(bool *)arg = true;
}

void engine_cri_close(struct engine *e)
{
	bool closed = false;
	pthread_mutex_lock(&e->cri_lock);
	struct cri *cri = take(&e->cri);
	pthread_mutex_unlock(&e->cri_lock);
	if (!cri)
		return;
	cri_close(cri, on_closed, &closed);
	while (!closed)
		(void)loop_turn(e->loop, true);
}
