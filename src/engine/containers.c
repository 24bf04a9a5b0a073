/* Containers: what one call answers with one document. Lists are in list.c, streams in attach.c, logs.c and stats.c. */
#include <unistd.h>

#include "engine/private.h"

static const struct engine_route routes[] = {
#define ROUTE(method, pattern, fn, flags, since, params) { method, pattern, engine_##fn, flags, since, params },
#include "engine/routes_containers.def"
#undef ROUTE
	{ .method = NULL },
};
const struct engine_route *const engine_container_routes = routes;

/* ---- opening and closing ---- */

/* The program beside us that makes containers: where main looks for it, too. */
static int runner_find(struct buf *out, struct err *err)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return err_sys(err, "/proc/self/exe");
	struct span path = span_make(self, (size_t)n), dir = span_sub(path, 0, (size_t)span_rchr(path, '/'));
	static const char *const places[] = { "knarr-run", "../libexec/knarr/knarr-run" };
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		buf_trunc(out, 0);
		buf_printf(out, "%.*s/%s", SPAN_ARG(dir), places[i]);
		if (access(buf_cstr(out), X_OK) == 0)
			return 0;
	}
	return err_set(err, ERR_NOT_FOUND, "knarr-run is neither beside %.*s/knarr nor in %.*s/../libexec/knarr", SPAN_ARG(dir),
		SPAN_ARG(dir));
}

static void on_warn(void *arg, const char *what, const char *id, const struct err *err)
{
	log_warn(what, kv_str("container", id), kv_err(err));
}

int engine_containers_open(struct engine *e, struct err *err)
{
	auto_buf struct buf runner = {};
	int rc = runner_find(&runner, err);
	if (rc < 0)
		return rc;
	const struct container_opts o = { .loop = e->loop, .pool = e->pool, .dir = arena_cstr(&e->texts, e->o->data_dir),
		.run_dir = arena_cstr(&e->texts, e->o->run_dir),
		.runner = arena_cstr(&e->texts, buf_span(&runner)), .images = e->images, .snapshots = e->snapshots,
			.networks = e->networks,
		.volumes = e->volumes, .settings = &e->o->settings, .warn = on_warn, .event = engine_container_event,
		.event_arg = e };
	return container_engine_open(&o, &e->containers, err);
}

static void on_closed(void *arg)
{
	bool *closed = arg;
	*closed = true;
}

void engine_containers_close(struct engine *e)
{
	bool closed = false;
	if (!e->containers)
		return;
	container_engine_close(e->containers, on_closed, &closed);
	while (!closed)
		(void)loop_turn(e->loop, true);
	e->containers = NULL;
}

const struct image_unpacker *engine_unpacker(struct engine *e)
{
	return container_unpacker(e->containers);
}

/* ---- calls of containers on behalf of a request ---- */

struct pending {
	struct container_call call;
	struct engine_call *c;
	void (*then)(struct engine_call *c, struct container_call *done);
	const char *note; /* before the words of a failure: NOTE: NAME: words */
};

static void on_done(struct container_call *call, const struct err *err)
{
	struct pending *p = container_of(call, struct pending, call);
	struct engine_call *c = p->c;
	c->gone = NULL;
	if (err) {
		(void)err_set(&c->err, err->class, "%s", err_msg(err));
		if (p->note)
			(void)err_note(&c->err, "%s: %.*s", p->note, SPAN_ARG(c->name));
		engine_fail(c);
	} else if (p->then) {
		p->then(c, call);
	} else {
		engine_answer_empty(c, call->unchanged ? 304 : 204);
	}
	engine_call_unref(c);
}

static void on_gone(struct engine_call *c)
{
	struct pending *p = c->state;
	container_call_forget(&p->call);
	engine_call_unref(c);
}

struct container_call *engine_container_call(struct engine_call *c, void (*then)(struct engine_call *c,
	struct container_call *done))
{
	struct pending *p = arena_new(&c->arena, struct pending);
	*p = (struct pending){ .call = { .done = on_done, .arena = &c->arena }, .c = engine_call_ref(c), .then = then };
	c->state = p;
	c->gone = on_gone;
	return &p->call;
}

void engine_then_json(struct engine_call *c, struct container_call *done)
{
	engine_answer_json(c, 200, &done->result);
}

void engine_then_ok(struct engine_call *c, struct container_call *done)
{
	engine_answer_empty(c, 200);
}

/* ---- create ---- */

/* Go's strslice: a string where a list is meant is a list of one. */
static void list_of_one(struct arena *a, struct json *v, const char *key)
{
	struct json *is = json_get(v, span_of(key));
	if (!json_is(is, JSON_STRING))
		return;
	struct json list = json_array();
	(void)json_push(a, &list, *is);
	*is = list;
}

/* Mounts that the client's version cannot say are refused: passed over they would be another mount. */
static int mounts_check(struct engine_call *c, const struct json *host, struct err *err)
{
	static const struct {
		const char *group, *member;
		unsigned since;
	} rows[] = { { "BindOptions", "ReadOnlyNonRecursive", 44 }, { "BindOptions", "ReadOnlyForceRecursive", 44 },
		{ "VolumeOptions", "Subpath", 45 }, { "TmpfsOptions", "Options", 46 } };
	JSON_EACH_ITEM(json_getl(host, "Mounts"), m) {
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			const struct json *v = json_get(json_get(m, span_of(rows[i].group)), span_of(rows[i].member));
			bool said = v && (json_truth(v, false) || ((v->kind == JSON_STRING || v->kind == JSON_ARRAY) && v->n));
			if (said && c->api < rows[i].since)
				return err_set(err, ERR_INVALID_REQUEST, "%s.%s needs API v1.%u or newer", rows[i].group, rows[i].member,
					rows[i].since);
		}
		if (c->api < 48 && span_is(json_span(json_getl(m, "Type")), "image"))
			return err_set(err, ERR_INVALID_REQUEST, "Mount type \"Image\" needs API v1.48 or newer");
	}
	return 0;
}

static int create_check(struct engine_call *c, const struct json *host, const struct json *networking, struct err *err)
{
	int rc = mounts_check(c, host, err);
	const struct json *endpoints = json_getl(networking, "EndpointsConfig");
	if (rc < 0 || c->api >= 44 || !json_is(endpoints, JSON_OBJECT) || endpoints->n < 2)
		return rc;
	auto_buf struct buf names = {};
	JSON_EACH_MEMBER(endpoints, m)
		buf_printf(&names, "%s%.*s", names.len ? ", " : "", SPAN_ARG(json_key(m)));
	return err_set(err, ERR_INVALID_REQUEST, "Container cannot be connected to network endpoints: %s", buf_cstr(&names));
}

static void created(struct engine_call *c, struct container_call *done)
{
	struct json *warnings = json_getl(&done->result, "Warnings");
	if (!json_is(warnings, JSON_ARRAY))
		(void)json_setl(&c->arena, &done->result, "Warnings", json_array());
	engine_answer_json(c, 201, &done->result);
}

void engine_container_create(struct engine_call *c)
{
	struct arena *a = &c->arena;
	struct json *body = &c->body, host = json_object(), networking = json_object();
	engine_fields_count(c, ENGINE_DOC_CREATE, body);
	engine_fields_name(ENGINE_DOC_CREATE, body);
	engine_shape(ENGINE_DOC_CREATE, c->api, a, body);
	struct json *h = json_getl(body, "HostConfig"), *n = json_getl(body, "NetworkingConfig");
	if (json_is(h, JSON_OBJECT))
		host = *h;
	if (json_is(n, JSON_OBJECT))
		networking = *n;
	(void)json_remove(body, SPAN("HostConfig"));
	(void)json_remove(body, SPAN("NetworkingConfig"));
	static const char *const of_config[] = { "Cmd", "Entrypoint", "Shell" }, *const of_host[] = { "CapAdd", "CapDrop" };
	for (size_t i = 0; i < ARRAY_LEN(of_config); i++)
		list_of_one(a, body, of_config[i]);
	for (size_t i = 0; i < ARRAY_LEN(of_host); i++)
		list_of_one(a, &host, of_host[i]);
	if (!body->n) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "config cannot be empty in order to create a container");
		return;
	}
	if (create_check(c, &host, &networking, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	const struct container_create_params p = { .name = engine_param(c, "name"), .config = body, .host_config = &host,
		.networking = &networking, .platform = c->api >= 41 ? engine_param(c, "platform") : SPAN_EMPTY };
	container_create(c->e->containers, &p, engine_container_call(c, created));
}

/* ---- life ---- */

void engine_container_start(struct engine_call *c)
{
	int64_t n = http_req_length(c->req);
	/* docker-py sends "{}" or "null"; what has a meaning was taken out of the API. */
	if (n > 7 || n < 0) {
		engine_fail_with(c, ERR_INVALID_REQUEST,
			"starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24");
		return;
	}
	container_start(c->e->containers, c->name, engine_container_call(c, NULL));
}

static bool timeout_read(struct engine_call *c, int64_t *out)
{
	if (engine_number(c, "t", CONTAINER_TIMEOUT_UNSET, out, &c->err) == 0)
		return true;
	engine_fail(c);
	return false;
}

void engine_container_stop(struct engine_call *c)
{
	int64_t t;
	struct span signal = c->api >= 42 ? engine_param(c, "signal") : SPAN_EMPTY;
	if (timeout_read(c, &t))
		container_stop(c->e->containers, c->name, signal, t, engine_container_call(c, NULL));
}

static void then_empty(struct engine_call *c, struct container_call *done)
{
	engine_answer_empty(c, 204);
}

void engine_container_restart(struct engine_call *c)
{
	int64_t t;
	struct span signal = c->api >= 42 ? engine_param(c, "signal") : SPAN_EMPTY;
	if (timeout_read(c, &t))
		container_restart(c->e->containers, c->name, signal, t, engine_container_call(c, then_empty));
}

/* The one call whose failures say what was tried. */
void engine_container_kill(struct engine_call *c)
{
	struct container_call *call = engine_container_call(c, then_empty);
	((struct pending *)c->state)->note = "cannot kill container";
	container_kill(c->e->containers, c->name, engine_param(c, "signal"), call);
}

void engine_container_pause(struct engine_call *c)
{
	container_pause(c->e->containers, c->name, engine_container_call(c, then_empty));
}

void engine_container_unpause(struct engine_call *c)
{
	container_unpause(c->e->containers, c->name, engine_container_call(c, then_empty));
}

void engine_container_rename(struct engine_call *c)
{
	container_rename(c->e->containers, c->name, engine_param(c, "name"), engine_container_call(c, then_empty));
}

void engine_container_update(struct engine_call *c)
{
	engine_fields_count(c, ENGINE_DOC_UPDATE, &c->body);
	engine_fields_name(ENGINE_DOC_UPDATE, &c->body);
	engine_shape(ENGINE_DOC_UPDATE, c->api, &c->arena, &c->body);
	container_update(c->e->containers, c->name, &c->body, engine_container_call(c, engine_then_json));
}

void engine_container_delete(struct engine_call *c)
{
	unsigned flags = (engine_truth(c, "force", false) ? CONTAINER_RM_FORCE : 0) |
			 (engine_truth(c, "v", false) ? CONTAINER_RM_VOLUMES : 0) | (engine_truth(c, "link", false) ? CONTAINER_RM_LINK : 0);
	container_remove(c->e->containers, c->name, flags, engine_container_call(c, then_empty));
}

/* ---- wait ---- */

static void waited(struct engine_call *c, struct container_call *done)
{
	auto_buf struct buf b = {};
	/* API 1.29 and before had no word but the code; what came first there was the end itself. */
	if (c->api < 30) {
		(void)json_remove(&done->result, SPAN("Error"));
		engine_answer_json(c, 200, &done->result);
		return;
	}
	json_write(&b, &done->result, 0);
	buf_chr(&b, '\n');
	if (c->req) {
		http_reply_add(c->req, http_bytes(buf_seal(&b)));
		http_reply_end(c->req);
	}
}

void engine_container_wait(struct engine_call *c)
{
	enum container_condition condition;
	if (container_condition_parse(c->api >= 30 ? engine_param(c, "condition") : SPAN_EMPTY, &condition, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	struct container_call *call = engine_container_call(c, waited);
	if (container_wait(c->e->containers, c->name, condition, call, &c->err) < 0) {
		c->gone = NULL;
		engine_fail(c);
		engine_call_unref(c);
		return;
	}
	/* The header goes out now: `docker run` starts the container when it has seen it. */
	if (c->api >= 30 && engine_answer_head(c, 200)) {
		http_reply_header(c->req, "Content-Type", SPAN("application/json"));
		http_reply_begin(c->req);
	}
}

/* ---- looking inside ---- */

void engine_container_top(struct engine_call *c)
{
	container_top(c->e->containers, c->name, engine_param(c, "ps_args"), engine_container_call(c, engine_then_json));
}

void engine_container_changes(struct engine_call *c)
{
	container_changes(c->e->containers, c->name, engine_container_call(c, engine_then_json));
}

static bool window_read(struct engine_call *c, unsigned *out_rows, unsigned *out_columns)
{
	int64_t h, w;
	if (engine_number(c, "h", 0, &h, &c->err) < 0 || engine_number(c, "w", 0, &w, &c->err) < 0) {
		engine_fail(c);
		return false;
	}
	if (h < 0 || h > 65535 || w < 0 || w > 65535) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "invalid resize dimensions: %lld x %lld", (long long)h, (long long)w);
		return false;
	}
	*out_rows = (unsigned)h;
	*out_columns = (unsigned)w;
	return true;
}

void engine_container_resize(struct engine_call *c)
{
	unsigned rows, columns;
	if (window_read(c, &rows, &columns))
		container_resize(c->e->containers, c->name, rows, columns, engine_container_call(c, engine_then_ok));
}

void engine_exec_resize(struct engine_call *c)
{
	unsigned rows, columns;
	if (window_read(c, &rows, &columns))
		container_exec_resize(c->e->containers, c->name, rows, columns, engine_container_call(c, engine_then_ok));
}

void engine_exec_create(struct engine_call *c)
{
	struct json v = json_object();
	char id[65];
	engine_fields_count(c, ENGINE_DOC_EXEC_CREATE, &c->body);
	engine_fields_name(ENGINE_DOC_EXEC_CREATE, &c->body);
	engine_shape(ENGINE_DOC_EXEC_CREATE, c->api, &c->arena, &c->body);
	list_of_one(&c->arena, &c->body, "Cmd");
	if (engine_detach_keys_check(json_span(json_getl(&c->body, "DetachKeys")), &c->err) < 0 ||
	    container_exec_create(c->e->containers, c->name, &c->body, id, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	(void)json_setl(&c->arena, &v, "Id", json_cstr(id));
	engine_answer_json(c, 201, &v);
}

void engine_exec_inspect(struct engine_call *c)
{
	if (container_exec_inspect(c->e->containers, c->name, &c->arena, &c->out, &c->err) < 0)
		engine_fail(c);
	else
		engine_answer_json(c, 200, &c->out);
}

static void committed(struct engine_call *c, struct container_call *done)
{
	struct span id = json_span(json_getl(&done->result, "Id"));
	c->out = json_object();
	(void)json_setl(&c->arena, &c->out, "Id", json_str(id));
	engine_answer_json(c, 201, &c->out);
}

void engine_commit(struct engine_call *c)
{
	struct arena *a = &c->arena;
	struct image_ref ref;
	struct container_commit_params p = { .comment = engine_param(c, "comment"), .author = engine_param(c, "author"),
		.no_pause = !engine_truth(c, "pause", true), .config = c->body.n ? &c->body : NULL };
	struct span *changes = arena_alloc_n(a, c->n_params + 1, sizeof(*changes));
	/* One parameter may hold several lines. */
	for (size_t i = 0; i < c->n_params; i++) {
		if (!span_is(c->params[i].key, "changes"))
			continue;
		struct span rest = c->params[i].value, line;
		size_t lines = 1;
		for (size_t k = 0; k < rest.len; k++)
			lines += rest.ptr[k] == '\n';
		struct span *more = arena_alloc_n(a, p.n_changes + lines + c->n_params + 1, sizeof(*more));
		memcpy(more, changes, p.n_changes * sizeof(*more));
		changes = more;
		while (span_cut(&rest, '\n', &line))
			if (span_trim(line).len)
				changes[p.n_changes++] = span_trim(line);
	}
	p.changes = changes;
	if (engine_param(c, "repo").len) {
		if (engine_reference(engine_param(c, "repo"), engine_param(c, "tag"), a, &ref, &c->err) < 0) {
			engine_fail(c);
			return;
		}
		p.reference = image_ref_text(&ref, a);
	}
	container_commit(c->e->containers, engine_param(c, "container"), &p, engine_container_call(c, committed));
}

/* ---- networks of a container ---- */

void engine_network_connect(struct engine_call *c)
{
	const struct json *endpoint = json_getl(&c->body, "EndpointConfig");
	struct network_ref ref;
	if (network_find(c->e->networks, c->name, &ref, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	container_network_connect(c->e->containers, json_span(json_getl(&c->body, "Container")), span_of(ref.name),
		json_is(endpoint, JSON_OBJECT) ? endpoint : NULL, engine_container_call(c, engine_then_ok));
}

void engine_network_disconnect(struct engine_call *c)
{
	struct network_ref ref;
	struct span name = c->name;
	/* A network that is gone can be forgotten by a container that was on it. */
	if (network_find(c->e->networks, c->name, &ref, NULL) == 0)
		name = arena_span(&c->arena, span_of(ref.name));
	container_network_disconnect(c->e->containers, json_span(json_getl(&c->body, "Container")), name,
		json_truth(json_getl(&c->body, "Force"), false), engine_container_call(c, engine_then_ok));
}

/* ---- events ---- */

void engine_event_container(struct engine *e, const char *action, struct span id)
{
	auto_arena struct arena a = {};
	struct json v, attributes = json_object();
	if (container_inspect(e->containers, id, &a, &v, NULL) < 0)
		return; /* it is gone: nobody can be told its name */
	JSON_EACH_MEMBER(json_path(&v, "Config", "Labels", NULL), m)
		(void)json_set(&a, &attributes, json_key(m), m->value);
	(void)json_setl(&a, &attributes, "image", json_str(json_span(json_path(&v, "Config", "Image", NULL))));
	(void)json_setl(&a, &attributes, "name", json_str(span_from(json_span(json_getl(&v, "Name")), 1)));
	engine_event(e, "container", span_of(action), id, &attributes);
}

void engine_container_event(void *engine, const struct container_event *ev)
{
	struct engine *e = engine;
	engine_event(e, ev->volume ? "volume" : ev->image_tag ? "image" : "container", ev->action, ev->id, ev->attributes);
	if (span_is(ev->action, "die"))
		engine_followers_end(e, ev->id);
}

/* ---- what images and the engine as a whole ask ---- */

void engine_info_containers(struct engine_call *c, struct json *info)
{
	struct arena *a = &c->arena;
	struct container_counts n = container_counts(c->e->containers);
	const struct json *s = &c->e->o->settings;
	struct span driver = json_span(json_getl(s, "log-driver")), runtime = json_span(json_getl(s, "default-runtime"));
	/* The names that a container may ask for: all of them are our own runtime. */
	static const char *const names[] = { "io.containerd.runc.v2", "knarr", "runc" };
	struct json runtimes = json_object();
	(void)json_setl(a, info, "Containers", json_int((int64_t)n.running + n.paused + n.stopped));
	(void)json_setl(a, info, "ContainersRunning", json_int(n.running));
	(void)json_setl(a, info, "ContainersPaused", json_int(n.paused));
	(void)json_setl(a, info, "ContainersStopped", json_int(n.stopped));
	(void)json_setl(a, info, "LoggingDriver", driver.len ? json_str(driver) : json_cstr("json-file"));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct json own = json_object();
		(void)json_setl(a, &own, "path", json_cstr("knarr-run"));
		(void)json_set(a, &runtimes, span_of(names[i]), own);
	}
	(void)json_setl(a, info, "Runtimes", runtimes);
	(void)json_setl(a, info, "DefaultRuntime", runtime.len ? json_str(runtime) : json_cstr("runc"));
}

void engine_image_users(struct engine *e, struct image_remove_params *p)
{
	p->used = engine_image_used;
	p->arg = e;
}
