/* A table of the last TELL_KEPT things that were told stands for client-go's cache of the recorder: it is what makes a series of
 * an Event. Full, it forgets what was told longest ago, which then begins a new Event. */
#include "apiserver/tell.h"

#include "apiserver/seed.h"

#include <unistd.h>

#define SERIES_MS (6 * 60 * 1000)
#define HOST_MAX 64

void tell_done(struct tell *t)
{
	for (unsigned i = 0; i < TELL_KEPT; i++) {
		buf_done(&t->told[i].key);
		buf_done(&t->told[i].at);
	}
}

static struct span meta_text(const struct json *object, const char *name)
{
	return json_span(json_get(json_getl(object, "metadata"), span_of(name)));
}

static const struct api_resource *events_of(struct worker *w)
{
	return api_registry_find(api_registry_get(w->server->registry, &w->registry), SPAN(""), SPAN("v1"), SPAN("events"));
}

/* The row of what was told before, or one to be filled. */
static struct told *find(struct tell *t, struct span key)
{
	struct told *oldest = &t->told[0];
	for (unsigned i = 0; i < TELL_KEPT; i++) {
		struct told *one = &t->told[i];
		if (span_eq(buf_span(&one->key), key))
			return one;
		if (one->last_ms < oldest->last_ms)
			oldest = one;
	}
	buf_trunc(&oldest->key, 0);
	buf_span_add(&oldest->key, key);
	oldest->count = 0;
	return oldest;
}

static void on_written(struct store_call *sc, void *arg)
{
	if (sc->err.class != ERR_NONE)
		log_error("an event of the server's own is not written", kv_err(&sc->err));
}

static void put(struct worker *w, struct arena *a, struct span key, struct json *event, const struct json *old, int64_t seen_rev)
{
	auto_bytes struct bytes *value = NULL;
	auto_err struct err err = ERR_INIT;
	if (seed_object(w->server, events_of(w), a, event, old, SPAN("kube-apiserver"), &value, &err) < 0) {
		log_error("an event of the server's own is refused", kv_err(&err));
		return;
	}
	struct store_txn *t = store_txn_new();
	store_txn_if(t, key, STORE_REV, STORE_EQUAL, seen_rev);
	store_txn_put(t, STORE_THEN, key, value, 0);
	store_txn_fleeting(t); /* as every Event: heartbeat.h */
	store_commit(w->server->store, t, w->port, on_written, NULL);
}

static struct json micro_time(struct arena *a, int64_t wall_ns)
{
	char text[40];
	return json_str(arena_span(a, span_make(text, time_format(text, wall_ns / NS_PER_S, (int32_t)(wall_ns % NS_PER_S), 6))));
}

/* False when the Event is not there any more: its time was up, or somebody deleted it. */
static bool series(struct worker *w, const struct told *one, int64_t wall_ns)
{
	struct store_snapshot *snap = store_snapshot(w->server->store);
	const struct store_item *it = store_get(snap, buf_span(&one->at));
	auto_arena struct arena a = {};
	struct json was;
	bool there = it && object_read(&a, events_of(w), bytes_span(it->value), it->rev, &was, NULL) == 0;
	if (there) {
		struct json event = json_copy(&a, &was), now = json_object();
		json_setl(&a, &now, "count", json_int(one->count));
		json_setl(&a, &now, "lastObservedTime", micro_time(&a, wall_ns));
		json_setl(&a, &event, "series", now);
		put(w, &a, buf_span(&one->at), &event, &was, it->rev);
	}
	store_snapshot_unref(snap);
	return there;
}

static void begin(struct tell *t, struct worker *w, const struct tell_note *n, struct told *one, int64_t wall_ns)
{
	auto_arena struct arena a = {};
	auto_buf struct buf gv = {};
	char host[HOST_MAX + 1] = "";
	struct json event = json_object(), meta = json_object(), about = json_object();
	struct span ns = meta_text(n->object, "namespace"), name = meta_text(n->object, "name");
	static const char *const same[] = { "namespace", "name", "uid", "resourceVersion" };
	if (gethostname(host, HOST_MAX) < 0)
		host[0] = '\0'; /* the part behind the dash stays empty */
	struct span home = ns.len ? ns : SPAN("default");
	char *event_name = arena_cstr(&a, arena_printf(&a, "%.*s.%llx", SPAN_ARG(name), (unsigned long long)wall_ns + t->serial++));
	for (char *p = event_name; *p; p++)
		if (*p == ':')
			*p = '-'; /* addresses of IPv6 are names of IPAddresses, but no names of Events */
	json_setl(&a, &meta, "name", json_cstr(event_name));
	json_setl(&a, &meta, "namespace", json_str(home));
	api_resource_gv(n->about, &gv);
	json_setl(&a, &about, "kind", json_str(n->about->kind));
	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		if (meta_text(n->object, same[i]).len)
			(void)json_set(&a, &about, span_of(same[i]), json_str(meta_text(n->object, same[i])));
	json_setl(&a, &about, "apiVersion", json_str(buf_span(&gv)));
	json_setl(&a, &event, "metadata", meta);
	json_setl(&a, &event, "involvedObject", about);
	json_setl(&a, &event, "reason", json_cstr(n->reason));
	json_setl(&a, &event, "message", json_str(n->note));
	json_setl(&a, &event, "type", json_cstr("Warning"));
	json_setl(&a, &event, "eventTime", micro_time(&a, wall_ns));
	json_setl(&a, &event, "action", json_cstr(n->action));
	json_setl(&a, &event, "reportingComponent", json_cstr(n->controller));
	json_setl(&a, &event, "reportingInstance", json_str(arena_printf(&a, "%s-%s", n->controller, host)));
	buf_trunc(&one->at, 0);
	object_key(&one->at, events_of(w), home, span_of(event_name));
	put(w, &a, buf_span(&one->at), &event, NULL, 0);
}

void tell_warning(struct tell *t, struct worker *w, const struct tell_note *n)
{
	auto_buf struct buf key = {};
	int64_t wall_ns = clock_wall_ns(w->server->clock), now_ms = wall_ns / NS_PER_MS;
	struct span uid = meta_text(n->object, "uid"), name = meta_text(n->object, "name");
	buf_printf(&key, "%s %s %.*s %.*s %.*s", n->controller, n->reason, SPAN_ARG(uid), SPAN_ARG(name), SPAN_ARG(n->note));
	struct told *one = find(t, buf_span(&key));
	bool goes_on = one->count && now_ms - one->last_ms < SERIES_MS;
	one->count = goes_on ? one->count + 1 : 1;
	one->last_ms = now_ms;
	if (goes_on && series(w, one, wall_ns))
		return;
	one->count = 1;
	begin(t, w, n, one, wall_ns);
}
