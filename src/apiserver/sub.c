/* Which sub-resources are actions, and what the actions have in common. */
#include "apiserver/sub.h"

#include "apiserver/write.h"

static const struct sub_row {
	const char *plural, *sub; /* of the core group; sub empty: the resource itself */
	bool body;		  /* begins when the body is there */
	void (*begin)(struct call *c);
} rows[] = {
	{ "bindings", "", true, bind_create },		 { "pods", "binding", true, bind_create },
	{ "pods", "eviction", true, evict_create },	 { "pods", "log", false, connect_begin },
	{ "componentstatuses", "", false, components_begin },
	{ "pods", "exec", false, connect_begin },	 { "pods", "attach", false, connect_begin },
	{ "pods", "portforward", false, connect_begin }, { "pods", "proxy", false, proxy_begin },
	{ "services", "proxy", false, proxy_begin },	 { "nodes", "proxy", false, proxy_begin },
};

static const struct sub_row *row_of(const struct call *c)
{
	if (c->res->group.len)
		return NULL;
	struct span sub = c->sub ? c->sub->name : SPAN("");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (span_is(c->res->plural, rows[i].plural) && span_is(sub, rows[i].sub))
			return &rows[i];
	return NULL;
}

bool sub_begin(struct call *c)
{
	const struct sub_row *row = row_of(c);
	if (!row)
		return false;
	if (row->body) {
		c->is_virtual = true;
		write_begin(c);
	} else {
		row->begin(c);
	}
	return true;
}

bool sub_body(struct call *c)
{
	const struct sub_row *row = row_of(c);
	if (row)
		row->begin(c);
	return row;
}

/* ---- answers */

void sub_succeed(struct call *c)
{
	auto_buf struct buf body = {};
	struct json_out o = { .buf = &body, .style = JSON_HTML };
	json_out_begin(&o);
	json_out_kspan(&o, "kind", SPAN("Status"));
	json_out_kspan(&o, "apiVersion", SPAN("v1"));
	json_out_key(&o, SPAN("metadata"));
	json_out_begin(&o);
	json_out_end(&o);
	json_out_kspan(&o, "status", SPAN("Success"));
	json_out_ki64(&o, "code", 201);
	json_out_end(&o);
	buf_chr(&body, '\n');
	call_answer(c, 201, "application/json", &body);
}

void sub_fail_unknown(struct call *c)
{
	auto_buf struct buf body = {};
	status_write_unknown(&body, &c->err);
	call_answer(c, 500, "application/json", &body);
}

/* ---- what bodies must agree with */

int sub_agree(struct call *c, const struct json *body, struct span group_version)
{
	const struct json *meta = json_getl(body, "metadata");
	struct span gv = json_span(json_getl(body, "apiVersion")), kind = json_span(json_getl(body, "kind"));
	struct span ns = json_span(json_getl(meta, "namespace")), name = json_span(json_getl(meta, "name"));
	struct span want = c->sub ? c->sub->kind : c->res->kind;
	if (gv.len && !span_eq(gv, group_version))
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "the API version in the data (%.*s) does not match the expected API version (%.*s)",
			       SPAN_ARG(gv), SPAN_ARG(group_version));
	if (kind.len && !span_eq(kind, want))
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "%.*s in version \"%.*s\" cannot be handled as a %.*s: no kind match", SPAN_ARG(kind),
			       SPAN_ARG(c->res->version), SPAN_ARG(want));
	if (ns.len && !span_eq(ns, c->route.ns))
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "the namespace of the provided object does not match the namespace sent on the request");
	if (c->sub && !span_eq(name, c->route.name))
		return err_set(&c->err, ERR_INVALID_REQUEST, "name in URL does not match name in %.*s object",
			       SPAN_ARG(want));
	return 0;
}

/* ---- objects */

const struct store_item *sub_object(struct call *c, struct span group, const char *plural, struct span ns,
				    struct span name, struct json *out)
{
	const struct api_resource *res = api_registry_find(c->registry, group, SPAN("v1"), span_of(plural));
	auto_buf struct buf key = {};
	object_key(&key, res, ns, name);
	const struct store_item *it = store_get(c->snap, buf_span(&key));
	if (it && object_read(&c->arena, res, bytes_span(it->value), it->rev, out, &c->err) < 0)
		return NULL;
	return it;
}

static void set_text(struct arena *a, struct json *object, const char *key, const char *text)
{
	if (text)
		(void)json_set(a, object, span_of(key), json_cstr(text));
	else
		(void)json_remove(object, span_of(key));
}

bool sub_condition_set(struct call *c, struct json *pod, const char *type, const char *reason, const char *message)
{
	struct json *status = json_getl(pod, "status"), *condition = NULL;
	if (!status)
		status = json_set(&c->arena, pod, SPAN("status"), json_object());
	struct json *list = json_getl(status, "conditions");
	if (!list)
		list = json_set(&c->arena, status, SPAN("conditions"), json_array());
	JSON_EACH_ITEM(list, item)
		if (span_is(json_span(json_getl(item, "type")), type))
			condition = item;
	struct json was = condition ? json_copy(&c->arena, condition) : json_object();
	if (!condition)
		condition = json_push(&c->arena, list, json_object());
	set_text(&c->arena, condition, "type", type);
	set_text(&c->arena, condition, "status", "True");
	set_text(&c->arena, condition, "reason", reason);
	set_text(&c->arena, condition, "message", message);
	/* The time is that of the last change of status alone. */
	if (!span_is(json_span(json_getl(&was, "status")), "True"))
		(void)json_setl(&c->arena, condition, "lastTransitionTime", json_str(write_now(c)));
	return !json_equal(&was, condition);
}
