/* Networks: a face over src/network, whose calls are short and made on the loop. Connecting is in containers.c: a container
 * keeps what
 * it wants. */
#include "engine/private.h"

static bool builtin(const struct json *v)
{
	struct span name = json_span(json_getl(v, "Name"));
	return span_is(name, "bridge") || span_is(name, "host") || span_is(name, "none");
}

static bool wants(const struct engine_filters *f, const struct json *v)
{
	const struct json *labels = json_getl(v, "Labels"), *containers = json_getl(v, "Containers");
	bool dangling;
	if (!engine_filter_exact(f, "driver", json_span(json_getl(v, "Driver"))) ||
	    !engine_filter_exact(f, "scope", json_span(json_getl(v, "Scope"))) || !engine_filter_id(f, json_span(json_getl(v, "Id"))) ||
	    !engine_filter_match(f, "name", json_span(json_getl(v, "Name"))) || !engine_filter_label(f, "label", labels) ||
	    !engine_filter_not_label(f, labels) || !engine_filter_exact(f, "type", builtin(v) ? SPAN("builtin") : SPAN("custom")))
		return false;
	if (!engine_filter_get(f, "dangling"))
		return true;
	bool unused = !builtin(v) && (!containers || !containers->n);
	return engine_filter_truth(f, "dangling", false, &dangling, NULL) == 0 && dangling == unused;
}

void engine_network_event(void *engine, const struct network_event *ev)
{
	struct engine *e = engine;
	auto_arena struct arena a = {};
	struct json attributes = json_object();
	if (!e->events)
		return; /* the default networks are made before anybody can listen */
	if (ev->container.len)
		(void)json_setl(&a, &attributes, "container", json_str(ev->container));
	(void)json_setl(&a, &attributes, "name", json_str(ev->name));
	(void)json_setl(&a, &attributes, "type", json_str(ev->driver));
	engine_event(e, "network", span_of(ev->action), ev->id, &attributes);
}

/* Exceptions that were made in other firewalls, and warnings. */
void engine_info_networks(struct engine_call *c, struct json *info)
{
	struct arena *a = &c->arena;
	auto_buf struct buf notes = {};
	network_engine_notes(c->e->networks, &notes);
	struct json *warnings = json_getl(info, "Warnings");
	struct span rest = arena_span(a, buf_span(&notes)), line;
	while (span_cut(&rest, '\n', &line)) {
		if (!json_is(warnings, JSON_ARRAY))
			warnings = json_setl(a, info, "Warnings", json_array());
		(void)json_push(a, warnings, json_str(line));
	}
}

void engine_networks_list(struct engine_call *c)
{
	struct arena *a = &c->arena;
	struct engine_filters f;
	struct json all = json_array();
	bool dangling;
	int rc = engine_filters_of(c, "dangling,driver,id,label,label!,name,scope,type", &f, &c->err);
	const struct engine_filter *type = rc == 0 ? engine_filter_get(&f, "type") : NULL;
	for (size_t i = 0; rc == 0 && type && i < type->n; i++)
		if (!span_is(type->values[i], "builtin") && !span_is(type->values[i], "custom"))
			rc = err_set(&c->err, ERR_INVALID_REQUEST, "invalid filter: 'type'='%.*s'", SPAN_ARG(type->values[i]));
	if (rc == 0)
		rc = engine_filter_truth(&f, "dangling", false, &dangling, &c->err);
	if (rc < 0) {
		engine_fail(c);
		return;
	}
	network_list(c->e->networks, a, &all);
	c->out = json_array();
	JSON_EACH_ITEM(&all, v) {
		if (!wants(&f, v))
			continue;
		/* Since 1.28 only inspection tells who is on it. */
		if (c->api >= 28)
			(void)json_setl(a, v, "Containers", json_object());
		engine_shape(ENGINE_DOC_NETWORK, c->api, a, v);
		(void)json_push(a, &c->out, *v);
	}
	engine_answer_json(c, 200, &c->out);
}

void engine_network_inspect(struct engine_call *c)
{
	if (engine_param(c, "scope").len && !span_is(engine_param(c, "scope"), "local")) {
		engine_fail_with(c, ERR_NOT_FOUND, "network %.*s not found", SPAN_ARG(c->name));
		return;
	}
	if (network_inspect(c->e->networks, c->name, &c->arena, &c->out, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	engine_shape(ENGINE_DOC_NETWORK, c->api, &c->arena, &c->out);
	engine_answer_json(c, 200, &c->out);
}

void engine_network_create(struct engine_call *c)
{
	struct json v = json_object();
	struct span warning = SPAN_EMPTY;
	char id[65];
	engine_fields_count(c, ENGINE_DOC_NETWORK_CREATE, &c->body);
	engine_fields_name(ENGINE_DOC_NETWORK_CREATE, &c->body);
	engine_shape(ENGINE_DOC_NETWORK_CREATE, c->api, &c->arena, &c->body);
	if (network_create(c->e->networks, &c->body, id, &c->arena, &warning, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	(void)json_setl(&c->arena, &v, "Id", json_cstr(id));
	(void)json_setl(&c->arena, &v, "Warning", json_str(warning));
	engine_answer_json(c, 201, &v);
}

void engine_network_delete(struct engine_call *c)
{
	if (network_remove(c->e->networks, c->name, &c->err) < 0)
		engine_fail(c);
	else
		engine_answer_empty(c, 204);
}

struct prune {
	struct engine_filters filters;
	int64_t until_ns;
};

static bool want_pruned(void *arg, const struct json *v)
{
	const struct prune *p = arg;
	const struct json *labels = json_getl(v, "Labels");
	return engine_filter_label(&p->filters, "label", labels) && engine_filter_not_label(&p->filters, labels) &&
	       (!p->until_ns || engine_unix_of(json_span(json_getl(v, "Created"))) < p->until_ns / NS_PER_S);
}

void engine_networks_prune(struct engine_call *c)
{
	struct arena *a = &c->arena;
	struct prune p = {};
	struct json names = json_array(), attributes = json_object();
	int rc = engine_filters_of(c, "label,label!,until", &p.filters, &c->err);
	const struct engine_filter *until = rc == 0 ? engine_filter_get(&p.filters, "until") : NULL;
	if (until && until->n > 1)
		rc = err_set(&c->err, ERR_INVALID_REQUEST, "more than one until filter specified");
	else if (until)
		rc = engine_time_parse(until->values[0], loop_wall_ns(c->e->loop), &p.until_ns, &c->err);
	if (rc < 0) {
		engine_fail(c);
		return;
	}
	network_prune(c->e->networks, want_pruned, &p, a, &names);
	(void)json_setl(a, &attributes, "reclaimed", json_cstr("0"));
	engine_event(c->e, "network", SPAN("prune"), SPAN_EMPTY, &attributes);
	c->out = json_object();
	(void)json_setl(a, &c->out, "NetworksDeleted", names.n ? names : JSON_NULL_VALUE);
	engine_answer_json(c, 200, &c->out);
}
