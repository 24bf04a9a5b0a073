/* ComponentStatus: asked for, made up, never stored. The scheduler and the controller manager are looked for where kube-apiserver
 * looks, at the health ports of this machine; etcd-0 is our store. Deprecated since 1.19 and still what `kubectl get cs` shows.
 *
 *     GET → probes begin (GET https://127.0.0.1:PORT/healthz) → the last answer writes ours */
#include "apiserver/sub.h"

#include "apiserver/kubelet.h"
#include "apiserver/relay.h"

#define PROBE_MS 20000
#define TEXT_MAX 1000

struct components;

struct component {
	struct components *of;
	const char *name;
	unsigned port; /* 0: healthy as long as we answer */
	struct http_call *call;
	bool healthy;
	int status;
	struct buf text;
};

struct components {
	struct call *c;
	struct filter filter;
	unsigned waiting;
	struct component items[3];
};

static void texts_free(void *arg)
{
	struct components *k = arg;
	for (size_t i = 0; i < ARRAY_LEN(k->items); i++)
		buf_done(&k->items[i].text);
}

static struct json tree_of(struct call *c, const struct component *item)
{
	struct json object = json_object(), meta = json_object(), list = json_array(), condition = json_object();
	(void)json_setl(&c->arena, &meta, "name", json_cstr(item->name));
	(void)json_setl(&c->arena, &condition, "type", json_cstr("Healthy"));
	(void)json_setl(&c->arena, &condition, "status", json_cstr(item->healthy ? "True" : "False"));
	(void)json_setl(&c->arena, &condition, "message", json_str(buf_span(&item->text)));
	(void)json_push(&c->arena, &list, condition);
	(void)json_setl(&c->arena, &object, "kind", json_str(c->res->kind));
	(void)json_setl(&c->arena, &object, "apiVersion", json_cstr("v1"));
	(void)json_setl(&c->arena, &object, "metadata", meta);
	(void)json_setl(&c->arena, &object, "conditions", list);
	return object;
}

/* ---- answers */

static void answer_one(struct components *k)
{
	struct call *c = k->c;
	for (size_t i = 0; i < ARRAY_LEN(k->items); i++) {
		if (!span_is(c->route.name, k->items[i].name))
			continue;
		auto_buf struct buf value = {};
		struct json tree = tree_of(c, &k->items[i]);
		api_encode_json(&value, c->res->type, &tree, 0);
		call_answer_object(c, 200, buf_span(&value), 0);
		return;
	}
	not_found(c);
	call_fail(c);
}

static void answer_list(struct components *k)
{
	struct call *c = k->c;
	auto_buf struct buf body = {};
	struct json items = json_array(), list = json_object();
	bool table = c->want.shape == SHAPE_TABLE, first = true;
	int64_t now_s = clock_wall_ns(c->server->clock) / NS_PER_S;
	if (table) {
		buf_str(&body, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{},");
		table_columns(&body, c->res);
		buf_str(&body, ",\"rows\":[");
	}
	for (size_t i = 0; i < ARRAY_LEN(k->items); i++) {
		auto_buf struct buf value = {};
		struct json tree = tree_of(c, &k->items[i]);
		api_encode_json(&value, c->res->type, &tree, 0);
		if (!filter_match(&k->filter, c->res, &c->arena, buf_span(&value)))
			continue;
		(void)json_push(&c->arena, &items, tree);
		if (!table)
			continue;
		if (!first)
			buf_chr(&body, ',');
		first = false;
		if (object_answer(&c->arena, c->res, SPAN("v1"), &c->want, buf_span(&value), 0, true, now_s, NULL, &body,
				  &c->err) < 0) {
			call_fail(c);
			return;
		}
	}
	int rc = 0;
	(void)json_setl(&c->arena, &list, "kind", json_str(c->res->list_kind));
	(void)json_setl(&c->arena, &list, "apiVersion", json_cstr("v1"));
	(void)json_setl(&c->arena, &list, "metadata", json_object());
	(void)json_setl(&c->arena, &list, "items", items);
	if (table)
		buf_str(&body, "]}\n");
	else if (c->want.form == FORM_PROTO)
		rc = api_encode_proto(&body, c->res->list_type, &list, &c->err);
	else if (c->want.form == FORM_YAML)
		api_encode_yaml(&body, c->res->list_type, &list);
	else
		api_encode_json(&body, c->res->list_type, &list, c->want.pretty ? JSON_PRETTY : 0);
	if (rc < 0)
		call_fail(c);
	else
		call_answer(c, 200, accept_content_type(c->want.form, false), &body);
}

static void arrived(struct components *k)
{
	struct call *c = k->c;
	if (--k->waiting || !c->http)
		return;
	if (c->route.verb == ROUTE_GET)
		answer_one(k);
	else
		answer_list(k);
}

/* ---- probes */

static void probe_head(struct http_call *call, void *arg)
{
	struct component *item = arg;
	item->status = http_call_status(call);
}

static void probe_data(struct http_call *call, struct span data, void *arg)
{
	struct component *item = arg;
	buf_span_add(&item->text, span_sub(data, 0, TEXT_MAX - item->text.len));
}

static void probe_done(struct http_call *call, const struct err *why, void *arg)
{
	struct component *item = arg;
	struct call *c = item->of->c;
	item->healthy = !why && item->status >= 200 && item->status < 400;
	if (why) {
		buf_trunc(&item->text, 0);
		buf_printf(&item->text, "Get \"https://127.0.0.1:%u/healthz\": ", item->port);
		http_dial_words(&item->text, SPAN("127.0.0.1"), item->port, why);
	}
	arrived(item->of);
	c->pending--;
	call_release(c); /* the probes live in it */
}

static void probe(struct component *item)
{
	static const struct http_call_ops ops = { .head = probe_head, .data = probe_data, .done = probe_done };
	struct call *c = item->of->c;
	const struct http_origin origin = { .tls = true,
					    .host = "127.0.0.1",
					    .port = item->port,
					    .tls_ctx = kubelet_tls(atomic_load(&c->server->kubelets), KUBELET_PLAIN) };
	const struct http_call_params p = { .origin = &origin,
					    .method = "GET",
					    .target = SPAN("/healthz"),
					    .total_ms = PROBE_MS,
					    .ops = &ops,
					    .arg = item };
	auto_err struct err err = ERR_INIT;
	int rc = http_call_begin(relay_client(c->w), &p, &item->call, &err);
	assert(rc == 0); /* no parameter comes from outside */
	item->of->waiting++;
	c->pending++;
}

void components_begin(struct call *c)
{
	static const struct {
		const char *name;
		unsigned port;
	} rows[] = { { "controller-manager", 10257 }, { "etcd-0", 0 }, { "scheduler", 10259 } };
	struct components *k = arena_new(&c->arena, struct components);
	k->c = c;
	if (filter_read(c, &k->filter) < 0) {
		call_fail(c);
		return;
	}
	call_deprecated(c, SPAN("v1 ComponentStatus is deprecated in v1.19+"));
	arena_defer(&c->arena, texts_free, k);
	k->waiting = 1;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		k->items[i] = (struct component){ .of = k, .name = rows[i].name, .port = rows[i].port };
		if (rows[i].port) {
			probe(&k->items[i]);
		} else {
			k->items[i].healthy = true;
			buf_str(&k->items[i].text, "ok");
		}
	}
	arrived(k);
}
