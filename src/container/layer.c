/* What a container changed, for who makes images of it. */
#include <sys/stat.h>

#include "container/private.h"

struct layer {
	struct op op;
	struct snapshot_places places;
};

enum { EMPTY_BYTES = 1024 }; /* of an archive without entries: its two blocks of zeros */

static void layer_run(struct loop_work *w)
{
	struct layer *l = OP_OF_WORK(layer, w);
	struct arena *a = &l->op.arena;
	struct container_engine *e = l->op.c->e;
	struct image_ingest *in;
	struct image_digest d;
	struct err *err = &l->op.err;
	int rc = image_ingest_begin(e->o.images, NULL, &in, NULL, err);
	if (rc < 0)
		return;
	rc = snapshot_diff(e->o.snapshots, container_snapshot_key(a, e, l->op.c->id), &l->places, image_ingest_sink(in), err);
	uint64_t size = image_ingest_size(in);
	l->op.result = json_object();
	if (rc < 0 || size <= EMPTY_BYTES) {
		image_ingest_drop(in, false);
		json_setl(a, &l->op.result, "Size", json_int(0));
		return;
	}
	if (image_ingest_commit(in, &d, err) < 0)
		return;
	json_setl(a, &l->op.result, "Digest", json_str(arena_span(a, image_digest_span(&d))));
	json_setl(a, &l->op.result, "Size", json_int((int64_t)size));
}

static void layer_done(struct loop_work *w)
{
	struct layer *l = OP_OF_WORK(layer, w);
	auto_err struct err err = ERR_INIT;
	err_move(&err, &l->op.err);
	container_op_end(&l->op, err.class ? &err : NULL);
}

static void layer_begin(struct op *op)
{
	container_op_work(op, layer_run, layer_done);
}

void container_layer(struct container_engine *e, struct span name, const struct span *besides, size_t n_besides,
	struct container_call *call)
{
	struct container *c = container_for_call(e, name, call);
	if (!c)
		return;
	struct layer *l = container_op_new(sizeof(*l), c, "container layer", layer_begin, call);
	size_t n = container_mount_points.n;
	/* Each may be a folder or a file: which one was made depends on what was mounted. */
	struct snapshot_place *places = arena_alloc_n(&l->op.arena, n + 2 * n_besides + 1, sizeof(*places));
	memcpy(places, container_mount_points.items, n * sizeof(*places));
	for (size_t i = 0; i < n_besides; i++) {
		const char *path = arena_cstr(&l->op.arena, besides[i]);
		places[n++] = (struct snapshot_place){ path, S_IFDIR };
		places[n++] = (struct snapshot_place){ path, S_IFREG };
	}
	l->places = (struct snapshot_places){ places, n };
	l->op.waiting_end = true;
	container_op_submit(&l->op);
}
