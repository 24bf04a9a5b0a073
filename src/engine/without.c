/* Stands for containers.c and its like while src/container has not all that its seam promises (meson.build): an engine of images,
 * volumes and networks. There are no containers then, and this is what that means for the rest. */
#include "engine/private.h"
#include "tar/tar.h"

static const struct engine_route none = { .method = NULL };
const struct engine_route *const engine_container_routes = &none;

static bool layer_has(void *arg, const char *chain)
{
	return snapshot_layer_has(arg, chain);
}

static int layer_unpack(void *arg, const char *parent, struct tar_source *from, void **out_pending, struct err *err)
{
	struct snapshot_pending *p;
	int rc = snapshot_unpack(arg, parent, from, &p, NULL, err);
	if (rc == 0)
		*out_pending = p;
	return rc;
}

static int layer_commit(void *arg, void *pending, const char *chain, const char *parent, struct err *err)
{
	return snapshot_unpack_commit(pending, chain, parent, err);
}

static void layer_drop(void *arg, void *pending)
{
	snapshot_unpack_drop(pending);
}

static struct image_unpacker unpacker = { .has = layer_has, .unpack = layer_unpack, .commit = layer_commit, .drop = layer_drop };

int engine_containers_open(struct engine *e, struct err *err)
{
	unpacker.arg = e->snapshots;
	unpacker.sequential = snapshot_needs_parent(e->snapshots);
	return 0;
}

void engine_containers_close(struct engine *e)
{
}

const struct image_unpacker *engine_unpacker(struct engine *e)
{
	return &unpacker;
}

void engine_info_containers(struct engine_call *c, struct json *info)
{
	static const char *const counts[] = { "Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped" };
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		(void)json_set(&c->arena, info, span_of(counts[i]), json_int(0));
}

void engine_containers_df(struct engine_call *c, struct json *out, bool sizes, void (*then)(struct engine_call *c))
{
	*out = json_array();
	then(c);
}

void engine_image_users(struct engine *e, struct image_remove_params *p)
{
	p->used = NULL;
}

void engine_sessions_end(struct engine *e)
{
}

void engine_followers_end(struct engine *e, struct span id)
{
}
