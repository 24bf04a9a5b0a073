/* GET /system/df: what everything occupies, counted when asked for. */
#include "engine/private.h"

struct df {
	bool containers, images, volumes, cache;
	struct json image_list, volume_list, container_list, cache_list;
	uint64_t layers;
};

static int volumes_add(struct engine_call *c, struct df *d, struct err *err)
{
	struct volume_info *v;
	size_t n;
	int rc = volume_list(c->e->volumes, NULL, &c->arena, &v, &n, err);
	d->volume_list = json_array();
	for (size_t i = 0; rc == 0 && i < n; i++) {
		uint64_t bytes;
		auto_err struct err why = ERR_INIT;
		/* One that is gone meanwhile has no size; that is what -1 means. */
		int64_t shown = volume_usage(c->e->volumes, v[i].name, &bytes, &why) < 0 ? -1 : (int64_t)bytes;
		struct json doc = volume_document(&v[i], shown < 0 ? 0 : shown, &c->arena);
		struct json usage = json_object();
		(void)json_setl(&c->arena, &usage, "Size", json_int(shown));
		(void)json_setl(&c->arena, &usage, "RefCount", json_int((int64_t)v[i].n_users));
		(void)json_setl(&c->arena, &doc, "UsageData", usage);
		(void)json_push(&c->arena, &d->volume_list, doc);
	}
	return rc;
}

static int df_run(struct engine_call *c, struct err *err)
{
	struct df *d = c->state;
	int rc = 0;
	if (d->images)
		rc = engine_images_df(c, &d->image_list, &d->layers, err);
	if (rc == 0 && d->volumes)
		rc = volumes_add(c, d, err);
	if (rc == 0 && d->cache)
		rc = engine_build_cache_df(c, &d->cache_list, err);
	return rc;
}

static void df_answer(struct engine_call *c)
{
	struct arena *a = &c->arena;
	struct df *d = (struct df *)c->body.str;
	struct json v = json_object();
	/* Who uses which image is known here alone. */
	JSON_EACH_ITEM(d->images ? &d->image_list : NULL, i) {
		int64_t users = 0;
		JSON_EACH_ITEM(&d->container_list, k)
			users += span_eq(json_span(json_getl(k, "ImageID")), json_span(json_getl(i, "Id")));
		(void)json_setl(a, i, "Containers", json_int(users));
	}
	if (d->images || c->api < 42)
		(void)json_setl(a, &v, "LayersSize", json_int((int64_t)d->layers));
	(void)json_setl(a, &v, "Images", d->images ? d->image_list : JSON_NULL_VALUE);
	(void)json_setl(a, &v, "Containers", d->containers ? d->container_list : JSON_NULL_VALUE);
	(void)json_setl(a, &v, "Volumes", d->volumes ? d->volume_list : JSON_NULL_VALUE);
	(void)json_setl(a, &v, "BuildCache", d->cache ? d->cache_list : JSON_NULL_VALUE);
	(void)json_setl(a, &v, "BuilderSize", json_int(0));
	engine_shape(ENGINE_DOC_DF, c->api, a, &v);
	engine_answer_json(c, 200, &v);
}

static void df_done(struct engine_call *c, int rc)
{
	struct df *d = c->state;
	if (rc < 0) {
		engine_fail(c);
		return;
	}
	/* What follows keeps its own in c->state; ours goes where the body was. */
	c->body = json_str(span_make(d, sizeof(*d)));
	engine_containers_df(c, &d->container_list, d->containers, df_answer);
}

void engine_df(struct engine_call *c)
{
	struct df *d = arena_new(&c->arena, struct df);
	bool said = false;
	for (size_t i = 0; i < c->n_params; i++) {
		struct span v = c->params[i].value;
		if (!span_is(c->params[i].key, "type") || c->api < 42)
			continue;
		said = true;
		if (span_is(v, "container"))
			d->containers = true;
		else if (span_is(v, "image"))
			d->images = true;
		else if (span_is(v, "volume"))
			d->volumes = true;
		else if (span_is(v, "build-cache"))
			d->cache = true;
		else {
			engine_fail_with(c, ERR_INVALID_REQUEST, "unknown object type: %.*s", SPAN_ARG(v));
			return;
		}
	}
	if (!said)
		d->containers = d->images = d->volumes = d->cache = true;
	c->state = d;
	engine_work(c, df_run, df_done);
}
