/* Events: what client-go's recorder and its correlator do. Each event passes the flood filter of its source and object, then is
 * merged with its equals; what is left is created or patched, one after the other, oldest first. */
#include "client/private.h"

#define BURST 25                          /* events of one source about one object at once */
#define REFILL_MS 300000                  /* then one in this time */
#define SIMILAR 10                        /* differing only in message, within SIMILAR_MS: one for all from here on */
#define SIMILAR_MS 600000
#define REMEMBER 4096                     /* sources, groups and events each; the oldest is forgotten */
#define QUEUE_MAX 1000
#define RETRY_MS 500
#define RETRY_MAX_MS 60000
#define TRIES_MAX 12

static const struct client_kind events_kind = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("events"), true };

/* What is remembered by a key, the least recently used forgotten first. A process that runs pods remembers thousands of these for
 * good, so the key is kept as its hash (keyed, 64 bits: two of 4,096 keys are taken for one in a million million processes) and
 * what an entry holds is one allocation. */
struct memory {
	struct list link;
	uint64_t id;
};

struct flood { /* of a source about an object */
	struct memory memory;
	double tokens;
	int64_t tokens_ms;
};

struct group { /* of events that differ only in their message */
	struct memory memory;
	int64_t since_ms;
	unsigned n;
	uint64_t messages[SIMILAR]; /* hashes */
};

struct known { /* an event that exists */
	struct memory memory;
	int64_t count, first_s;
	struct span ns, name; /* in text */
	char text[];
};

struct memories {
	struct map map;    /* key: memory.id */
	struct list order; /* oldest first */
};

struct outgoing {
	struct list link;
	bool patch;
	unsigned tries;
	uint64_t id;                /* of the event in `known` */
	struct span ns, name, body; /* in text */
	char text[];
};

struct client_recorder {
	struct client *client;
	struct arena arena;
	struct span component, host;
	struct memories floods, groups, known;
	struct list out; /* outgoing.link: the first is on its way */
	unsigned n_out;
	struct client_call *call;
	struct loop_timer wait;
	uint64_t serial;
};

/* ---- what is remembered */

static struct span id_span(const uint64_t *id)
{
	return span_make(id, sizeof(*id));
}

static void forget(struct memories *ms, struct memory *m)
{
	(void)map_remove(&ms->map, id_span(&m->id));
	list_remove(&m->link);
	free(m);
}

/* size: of a new one, which is zero but for its key. */
static void *remember(struct memories *ms, uint64_t id, size_t size, bool *out_new)
{
	struct memory *m = map_get(&ms->map, id_span(&id));
	*out_new = !m;
	if (!m) {
		if (ms->map.n >= REMEMBER)
			forget(ms, LIST_FIRST(&ms->order, struct memory, link));
		m = mem_zalloc(size);
		m->id = id;
		list_init(&m->link);
		(void)map_put(&ms->map, id_span(&m->id), m);
	}
	list_remove(&m->link);
	list_push(&ms->order, &m->link);
	return m;
}

static void memories_done(struct memories *ms)
{
	MAP_EACH(&ms->map, e)
		free(e->value);
	map_done(&ms->map);
}

/* Copies to *at and steps over it. */
static struct span text_put(char **at, struct span s)
{
	struct span copy = span_make(memcpy(*at, s.ptr, s.len), s.len);
	*at += s.len;
	return copy;
}

/* ---- sending */

static void send_first(struct client_recorder *r);

static void outgoing_free(struct client_recorder *r, struct outgoing *o)
{
	list_remove(&o->link);
	r->n_out--;
	free(o);
}

static void on_wait(struct loop_timer *t)
{
	send_first(container_of(t, struct client_recorder, wait));
}

static void on_sent(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct client_recorder *r = arg;
	struct outgoing *o = LIST_FIRST(&r->out, struct outgoing, link);
	r->call = NULL;
	if (why && why->class == ERR_NOT_FOUND && o->patch) {
		/* The event to count up has expired: the next one is a first one again. */
		struct memory *m = map_get(&r->known.map, id_span(&o->id));
		if (m)
			forget(&r->known, m);
	} else if (why && (err_may_retry(why->class) || status >= 500) && ++o->tries < TRIES_MAX) {
		loop_timer_start(&r->wait, client_backoff(r->client, o->tries, RETRY_MS, RETRY_MAX_MS));
		return;
	} else if (why) {
		log_warn("event not recorded", kv_err(why), kv_span("event", o->name));
	}
	outgoing_free(r, o);
	send_first(r);
}

static void send_first(struct client_recorder *r)
{
	struct outgoing *o = LIST_FIRST(&r->out, struct outgoing, link);
	if (!o || r->call)
		return;
	auto_buf struct buf path = {};
	client_path(&path, &events_kind, o->ns, o->patch ? o->name : SPAN_EMPTY, NULL);
	const struct client_request q = { .method = o->patch ? "PATCH" : "POST",
					  .path = buf_span(&path),
					  .body = o->body,
					  .content_type = o->patch ? CLIENT_STRATEGIC_PATCH : NULL,
					  .done = on_sent,
					  .arg = r };
	r->call = client_send(r->client, &q);
}

static void outgoing_push(struct client_recorder *r, const struct known *k, bool patch, struct span body)
{
	if (r->n_out >= QUEUE_MAX) {
		/* The oldest that is not on its way says the least about now. */
		outgoing_free(r, r->call ? LIST_ENTRY(r->out.next->next, struct outgoing, link)
					 : LIST_POP(&r->out, struct outgoing, link));
	}
	struct outgoing *o = mem_alloc(sizeof(*o) + k->ns.len + k->name.len + body.len);
	char *at = o->text;
	*o = (struct outgoing){ .patch = patch, .id = k->memory.id };
	o->ns = text_put(&at, k->ns);
	o->name = text_put(&at, k->name);
	o->body = text_put(&at, body);
	list_push(&r->out, &o->link);
	r->n_out++;
}

/* ---- the correlator */

/* May this source say one more thing about this object? */
static bool flood_passes(struct client_recorder *r, struct span key)
{
	bool fresh;
	int64_t now = loop_now_ms(r->client->loop);
	struct flood *m = remember(&r->floods, span_hash(key), sizeof(*m), &fresh);
	if (fresh) {
		m->tokens = BURST;
		m->tokens_ms = now;
	}
	m->tokens += (double)(now - m->tokens_ms) / REFILL_MS;
	m->tokens_ms = now;
	if (m->tokens > BURST)
		m->tokens = BURST;
	if (m->tokens < 1)
		return false;
	m->tokens -= 1;
	return true;
}

/* Are there so many that differ only in their message that this one goes into their sum? */
static bool is_one_of_many(struct client_recorder *r, struct span key, struct span message)
{
	bool fresh;
	int64_t now = loop_now_ms(r->client->loop);
	struct group *g = remember(&r->groups, span_hash(key), sizeof(*g), &fresh);
	uint64_t id = span_hash(message);
	if (now - g->since_ms > SIMILAR_MS)
		g->n = 0;
	g->since_ms = now;
	for (unsigned i = 0; i < g->n; i++)
		if (g->messages[i] == id)
			return g->n >= SIMILAR;
	if (g->n < SIMILAR)
		g->messages[g->n++] = id;
	return g->n >= SIMILAR;
}

static struct span ref_key(struct arena *a, const struct client_object_ref *o)
{
	return arena_printf(a, "%.*s\n%.*s\n%.*s\n%.*s\n%.*s\n%.*s", SPAN_ARG(o->kind), SPAN_ARG(o->ns), SPAN_ARG(o->name),
			    SPAN_ARG(o->uid), SPAN_ARG(o->api_version), SPAN_ARG(o->field_path));
}

static struct json ref_tree(struct arena *a, const struct client_object_ref *o)
{
	static const char *const names[] = { "kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath" };
	const struct span values[] = { o->kind, o->ns, o->name, o->uid, o->api_version, o->resource_version, o->field_path };
	struct json t = json_object();
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (values[i].len)
			(void)json_add(a, &t, span_of(names[i]), json_str(values[i]));
	return t;
}

void client_event(struct client_recorder *r, const struct client_object_ref *ref, const char *type, const char *reason,
		  struct span message)
{
	auto_arena struct arena a = {};
	bool fresh;
	char now_text[40], first_text[40];
	int64_t wall = loop_wall_ns(r->client->loop), now_s = wall / NS_PER_S;
	struct span about = ref_key(&a, ref);
	if (!flood_passes(r, arena_printf(&a, "%.*s\n%.*s\n%.*s", SPAN_ARG(r->component), SPAN_ARG(r->host), SPAN_ARG(about))))
		return;
	struct span group = arena_printf(&a, "%.*s\n%s\n%s", SPAN_ARG(about), type, reason);
	struct span key;
	if (is_one_of_many(r, group, message)) {
		message = arena_printf(&a, "(combined from similar events): %.*s", SPAN_ARG(message));
		key = group;
	} else {
		key = arena_printf(&a, "%.*s\n%.*s", SPAN_ARG(group), SPAN_ARG(message));
	}
	message = span_sub(message, 0, 1024); /* the longest that the API takes */
	struct span ns = ref->ns.len ? ref->ns : SPAN("default");
	struct span name = arena_printf(&a, "%.*s.%llx", SPAN_ARG(ref->name), (unsigned long long)wall + r->serial);
	struct known *m = remember(&r->known, span_hash(key), sizeof(*m) + ns.len + name.len, &fresh);
	time_format(now_text, now_s, 0, 0);
	auto_buf struct buf body = {};
	struct json e = json_object();
	if (fresh) {
		char *at = m->text;
		m->count = 1;
		m->first_s = now_s;
		m->ns = text_put(&at, ns);
		m->name = text_put(&at, name);
		r->serial++;
	} else {
		m->count++;
	}
	time_format(first_text, m->first_s, 0, 0);
	if (fresh) {
		struct json meta = json_object(), source = json_object();
		(void)json_setl(&a, &meta, "name", json_str(m->name));
		(void)json_setl(&a, &meta, "namespace", json_str(m->ns));
		(void)json_setl(&a, &e, "metadata", meta);
		(void)json_setl(&a, &e, "involvedObject", ref_tree(&a, ref));
		(void)json_setl(&a, &e, "reason", json_cstr(reason));
		(void)json_setl(&a, &e, "message", json_str(message));
		(void)json_setl(&a, &source, "component", json_str(r->component));
		if (r->host.len)
			(void)json_setl(&a, &source, "host", json_str(r->host));
		(void)json_setl(&a, &e, "source", source);
		(void)json_setl(&a, &e, "firstTimestamp", json_cstr(first_text));
		(void)json_setl(&a, &e, "lastTimestamp", json_cstr(now_text));
		(void)json_setl(&a, &e, "count", json_int(1));
		(void)json_setl(&a, &e, "type", json_cstr(type));
		(void)json_setl(&a, &e, "reportingComponent", json_str(r->component));
		(void)json_setl(&a, &e, "reportingInstance", json_str(r->host));
	} else {
		(void)json_setl(&a, &e, "count", json_int(m->count));
		(void)json_setl(&a, &e, "lastTimestamp", json_cstr(now_text));
		(void)json_setl(&a, &e, "message", json_str(message));
	}
	json_write(&body, &e, 0);
	outgoing_push(r, m, !fresh, buf_span(&body));
	if (!loop_timer_running(&r->wait))
		send_first(r);
}

/* ---- the seam */

struct client_recorder *client_recorder_new(struct client *c, struct span component, struct span host)
{
	struct client_recorder *r = mem_new(struct client_recorder);
	*r = (struct client_recorder){ .client = c };
	r->component = arena_span(&r->arena, component);
	r->host = arena_span(&r->arena, host);
	list_init(&r->out);
	list_init(&r->floods.order);
	list_init(&r->groups.order);
	list_init(&r->known.order);
	loop_timer_init(&r->wait, c->loop, "event retry", on_wait);
	return r;
}

void client_recorder_free(struct client_recorder *r)
{
	if (!r)
		return;
	if (r->call)
		client_cancel(r->call);
	loop_timer_stop(&r->wait);
	LIST_EACH(&r->out, o, struct outgoing, link)
		outgoing_free(r, o);
	memories_done(&r->floods);
	memories_done(&r->groups);
	memories_done(&r->known);
	arena_done(&r->arena);
	free(r);
}

struct client_object_ref client_ref(const struct json *object)
{
	const struct json *meta = json_getl(object, "metadata");
	return (struct client_object_ref){
		.api_version = json_span(json_getl(object, "apiVersion")),
		.kind = json_span(json_getl(object, "kind")),
		.ns = json_span(json_getl(meta, "namespace")),
		.name = json_span(json_getl(meta, "name")),
		.uid = json_span(json_getl(meta, "uid")),
		.resource_version = json_span(json_getl(meta, "resourceVersion")),
	};
}
