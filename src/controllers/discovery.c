#include "controllers/discovery.h"

#define ACCEPT "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
#define SOON_MS 200
#define AGAIN_MS 1000
#define AGAIN_MAX_MS 30000
#define RESOURCES_MAX 20000

struct discovery {
	struct cm *cm;
	struct served_list now, next;
	bool known;
	struct client_call *call;
	bool groups; /* asking for /apis, else for /api */
	struct loop_timer timer;
	unsigned failures;
};

static void ask(struct discovery *d);

static void add(struct served_list *out, struct span group, struct span version, const struct json *r, size_t *cap)
{
	static const struct {
		const char *verb;
		unsigned bit;
	} verbs[] = { { "delete", SERVES_DELETE }, { "list", SERVES_LIST }, { "watch", SERVES_WATCH },
		      { "deletecollection", SERVES_DELETECOLLECTION } };
	struct arena *a = &out->arena;
	struct span plural = tree_span(r, "resource"), key = arena_printf(a, "%.*s/%.*s", SPAN_ARG(group), SPAN_ARG(plural));
	for (unsigned i = 0; i < out->n; i++)
		if (span_eq(out->items[i].key, key))
			return; /* a better version has it */
	if (out->n == RESOURCES_MAX)
		return;
	if (out->n == *cap) {
		struct served *more = arena_alloc_n(a, *cap * 2 + 64, sizeof(*more));
		if (out->n)
			memcpy(more, out->items, out->n * sizeof(*more));
		out->items = more;
		*cap = *cap * 2 + 64;
	}
	struct served *s = &out->items[out->n++];
	*s = (struct served){ .key = key, .name = arena_span(a, tree_span(tree_get(r, "responseKind"), "kind")) };
	s->kind = (struct client_kind){ arena_span(a, group), arena_span(a, version), arena_span(a, plural),
					span_is(tree_span(r, "scope"), "Namespaced") };
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (tree_has_text(tree_get(r, "verbs"), span_of(verbs[i].verb)))
			s->verbs |= verbs[i].bit;
}

void discovery_read(struct served_list *out, const struct json *list)
{
	size_t cap = out->n; /* the first addition moves what is there */
	JSON_EACH_ITEM(tree_get(list, "items"), group) {
		JSON_EACH_ITEM(tree_get(group, "versions"), version) {
			if (span_is(tree_span(version, "freshness"), "Stale"))
				out->whole = false;
			JSON_EACH_ITEM(tree_get(version, "resources"), r)
				add(out, tree_meta_span(group, "name"), tree_span(version, "version"), r, &cap);
		}
	}
}

static void later(struct discovery *d, const struct err *why)
{
	log_debug("discovery failed", kv_err(why));
	arena_done(&d->next.arena);
	d->next = (struct served_list){};
	int64_t ms = (int64_t)AGAIN_MS << (d->failures < 5 ? d->failures : 5);
	d->failures++;
	loop_timer_start(&d->timer, ms < AGAIN_MAX_MS ? ms : AGAIN_MAX_MS);
}

static void on_answer(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct discovery *d = arg;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json list;
	d->call = NULL;
	if (!why && json_parse(&a, body, JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &list, &err) < 0)
		why = &err;
	if (!why && !span_is(tree_span(&list, "kind"), "APIGroupDiscoveryList")) {
		err_set(&err, ERR_UPSTREAM, "the server has no aggregated discovery (apidiscovery.k8s.io/v2)");
		why = &err;
	}
	if (why) {
		later(d, why);
		return;
	}
	discovery_read(&d->next, &list);
	if (!d->groups) {
		d->groups = true;
		ask(d);
		return;
	}
	d->failures = 0;
	struct served_list old = d->now;
	d->now = d->next;
	d->next = (struct served_list){};
	d->known = true;
	for (unsigned i = 0; i < d->cm->n_controllers; i++)
		if (d->cm->controllers[i].row->discovered)
			d->cm->controllers[i].row->discovered(&d->cm->controllers[i]);
	arena_done(&old.arena);
	if (!d->now.whole)
		loop_timer_start(&d->timer, AGAIN_MAX_MS);
}

static void ask(struct discovery *d)
{
	const struct client_request r = { .method = "GET", .path = d->groups ? SPAN("/apis") : SPAN("/api"), .accept = ACCEPT,
					  .done = on_answer, .arg = d };
	d->call = client_send(d->cm->client, &r);
}

static void on_timer(struct loop_timer *t)
{
	struct discovery *d = container_of(t, struct discovery, timer);
	if (d->call)
		client_cancel(d->call);
	arena_done(&d->next.arena);
	d->next = (struct served_list){ .whole = true };
	d->groups = false;
	ask(d);
}

struct discovery *discovery_new(struct cm *cm)
{
	struct discovery *d = mem_new(struct discovery);
	*d = (struct discovery){ .cm = cm };
	loop_timer_init(&d->timer, cm->loop, "discovery", on_timer);
	loop_timer_start(&d->timer, 0);
	return d;
}

void discovery_soon(struct discovery *d)
{
	if (!loop_timer_running(&d->timer) || d->timer.due_ms > loop_now_ms(d->cm->loop) + SOON_MS)
		loop_timer_start(&d->timer, SOON_MS);
}

void discovery_free(struct discovery *d)
{
	if (!d)
		return;
	loop_timer_stop(&d->timer);
	if (d->call)
		client_cancel(d->call);
	arena_done(&d->now.arena);
	arena_done(&d->next.arena);
	free(d);
}

const struct served_list *discovery_list(const struct discovery *d)
{
	return d && d->known ? &d->now : NULL;
}

const struct served *discovery_find(const struct discovery *d, struct span api_version, struct span kind)
{
	struct span group, version;
	if (!d || !d->known)
		return NULL;
	if (!span_split(api_version, '/', &group, &version))
		group = SPAN_EMPTY;
	for (unsigned i = 0; i < d->now.n; i++)
		if (span_eq(d->now.items[i].kind.group, group) && span_eq(d->now.items[i].name, kind))
			return &d->now.items[i];
	return NULL;
}
