/* GET /system/df: what everything occupies, counted when asked for. */
#include "engine/private.h"

static int df_run(struct engine_call *c, struct err *err)
{
	struct json images;
	uint64_t layers;
	int rc = engine_images_df(c, &images, &layers, err);
	if (rc < 0)
		return rc;
	c->out = json_object();
	(void)json_setl(&c->arena, &c->out, "LayersSize", json_int((int64_t)layers));
	(void)json_setl(&c->arena, &c->out, "Images", images);
	(void)json_setl(&c->arena, &c->out, "Containers", json_array());
	(void)json_setl(&c->arena, &c->out, "Volumes", json_array());
	(void)json_setl(&c->arena, &c->out, "BuildCache", json_array());
	(void)json_setl(&c->arena, &c->out, "BuilderSize", json_int(0));
	engine_shape(ENGINE_DOC_DF, c->api, &c->arena, &c->out);
	return 0;
}

void engine_df(struct engine_call *c)
{
	engine_work(c, df_run, NULL);
}
