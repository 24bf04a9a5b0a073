/* Volumes: a thin face over src/volume, whose calls block and run on workers. */
#include "engine/private.h"

static void event_post(struct engine_call *c, const char *action, struct span name)
{
	auto_arena struct arena a = {};
	struct json attributes = json_object();
	(void)json_setl(&a, &attributes, "driver", json_cstr("local"));
	engine_event(c->e, "volume", span_of(action), name, &attributes);
}

static int list_run(struct engine_call *c, struct err *err)
{
	struct arena *a = &c->arena;
	struct engine_filters f;
	struct volume_info *v;
	size_t n;
	int rc = engine_filters_of(c, "dangling,driver,label,label!,name,scope", &f, err);
	if (rc < 0)
		return rc;
	struct json filters = engine_filters_json(&f, a), list = json_array();
	if ((rc = volume_list(c->e->volumes, f.n ? &filters : NULL, a, &v, &n, err)) < 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		(void)json_push(a, &list, volume_document(&v[i], -1, a));
	c->out = json_object();
	(void)json_setl(a, &c->out, "Volumes", list);
	(void)json_setl(a, &c->out, "Warnings", JSON_NULL_VALUE);
	return 0;
}

void engine_volumes_list(struct engine_call *c)
{
	engine_work(c, list_run, NULL);
}

struct made {
	struct span name;
	bool fresh;
};

static int create_run(struct engine_call *c, struct err *err)
{
	struct made *m = c->state;
	struct volume_info v;
	const struct volume_params p = { .name = json_span(json_getl(&c->body, "Name")), .driver = json_span(json_getl(&c->body,
		"Driver")),
		.options = json_getl(&c->body, "DriverOpts"), .labels = json_getl(&c->body, "Labels") };
	int rc = volume_create(c->e->volumes, &p, &c->arena, &v, &m->fresh, err);
	if (rc < 0)
		return rc;
	m->name = v.name;
	c->out = volume_document(&v, -1, &c->arena);
	return 0;
}

static void create_done(struct engine_call *c, int rc)
{
	const struct made *m = c->state;
	if (rc < 0) {
		engine_fail(c);
		return;
	}
	if (m->fresh)
		event_post(c, "create", m->name);
	engine_answer_json(c, 201, &c->out);
}

void engine_volume_create(struct engine_call *c)
{
	engine_fields_count(c, ENGINE_DOC_VOLUME_CREATE, &c->body);
	engine_fields_name(ENGINE_DOC_VOLUME_CREATE, &c->body);
	engine_shape(ENGINE_DOC_VOLUME_CREATE, c->api, &c->arena, &c->body);
	const struct json *cluster = json_getl(&c->body, "ClusterVolumeSpec");
	if (cluster && cluster->kind != JSON_NULL) {
		engine_swarm_manager(c);
		return;
	}
	c->state = arena_new(&c->arena, struct made);
	engine_work(c, create_run, create_done);
}

static int inspect_run(struct engine_call *c, struct err *err)
{
	struct volume_info v;
	int rc = volume_get(c->e->volumes, c->name, &c->arena, &v, err);
	if (rc == 0)
		c->out = volume_document(&v, -1, &c->arena);
	return rc;
}

void engine_volume_inspect(struct engine_call *c)
{
	engine_work(c, inspect_run, NULL);
}

/* By force one that is not there is success too, but nothing was destroyed then. */
static int delete_run(struct engine_call *c, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	int rc = volume_remove(c->e->volumes, c->name, false, &why);
	if (rc == -ERR_NOT_FOUND && engine_truth(c, "force", false))
		return 0;
	c->state = rc == 0 ? c : NULL;
	return rc < 0 ? err_move(err, &why) : 0;
}

static void delete_done(struct engine_call *c, int rc)
{
	if (rc < 0) {
		engine_fail(c);
		return;
	}
	if (c->state)
		event_post(c, "destroy", c->name);
	engine_answer_empty(c, 204);
}

void engine_volume_delete(struct engine_call *c)
{
	engine_work(c, delete_run, delete_done);
}

static int prune_run(struct engine_call *c, struct err *err)
{
	struct arena *a = &c->arena;
	struct engine_filters f;
	struct span *names;
	size_t n;
	uint64_t bytes;
	int rc = engine_filters_of(c, "label,label!,all", &f, err);
	if (rc < 0)
		return rc;
	struct json filters = engine_filters_json(&f, a);
	/* Until 1.41 named volumes were pruned too. */
	if ((rc = volume_prune(c->e->volumes, f.n ? &filters : NULL, c->api < 42, a, &names, &n, &bytes, err)) < 0)
		return rc;
	c->out = json_object();
	(void)json_setl(a, &c->out, "VolumesDeleted", engine_strings(a, names, n));
	(void)json_setl(a, &c->out, "SpaceReclaimed", json_int((int64_t)bytes));
	return 0;
}

static void prune_done(struct engine_call *c, int rc)
{
	if (rc == 0) {
		struct json attributes = json_object();
		auto_buf struct buf n = {};
		JSON_EACH_ITEM(json_getl(&c->out, "VolumesDeleted"), name)
			event_post(c, "destroy", json_span(name));
		buf_i64(&n, json_i64(json_getl(&c->out, "SpaceReclaimed"), 0));
		(void)json_setl(&c->arena, &attributes, "reclaimed", json_str(buf_span(&n)));
		engine_event(c->e, "volume", SPAN("prune"), SPAN_EMPTY, &attributes);
	}
	engine_work_end(c, rc);
}

void engine_volumes_prune(struct engine_call *c)
{
	engine_work(c, prune_run, prune_done);
}
