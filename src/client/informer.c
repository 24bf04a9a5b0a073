/* Informers: a list, then a watch from where the list stood, for ever.
 *
 *     LIST ── whole ──► WATCH ── its time is over ──► WATCH
 *      ▲ fails: waits      │ breaks: waits, then WATCH from the last revision seen
 *      └───────────────────┴─ 410: history is gone → LIST, the difference is told
 *
 * Lists are read as they arrive (split.h): the memory is one item, not the list. */
#include "client/private.h"
#include "client/split.h"

#define ITEM_MAX (32u << 20)
#define PAGE "500"
#define BACKOFF_MS 50
#define BACKOFF_MAX_MS 30000
#define CALM_MS 10000 /* a watch that held so long was a success: the next failure waits the least again */
#define WATCH_MIN_S 300

struct item {
	struct client_item pub;
	char rv_text[40];
	char text[]; /* key, uid */
};

struct client_informer {
	struct client *client;
	struct client_informer_params p;
	struct arena arena; /* ns and selectors */
	struct map items;
	struct client_stream *stream;
	struct client_split split;
	struct loop_timer wait;
	struct arena scratch; /* the object that is being told */
	struct buf rv;        /* where the watch goes on */
	struct buf next_rv;   /* of the list that is being read */
	struct buf more;      /* its continue token */
	struct buf event;     /* type of the event that is being read */
	struct buf object;    /* its object */
	unsigned failures;
	uint32_t generation;
	int64_t began_ms;
	enum { INF_LIST, INF_WATCH } state;
	bool synced;
	bool exact;           /* the next list must be the newest: history was gone */
	bool telling, dead;
	struct err err;
};

static void list_page(struct client_informer *inf);
static void watch_open(struct client_informer *inf);

/* ---- the cache */

static struct item *item_new(struct span ns, struct span name, struct span uid)
{
	size_t key_len = ns.len ? ns.len + 1 + name.len : name.len;
	struct item *it = mem_zalloc(sizeof(*it) + key_len + uid.len + 2);
	char *at = it->text;
	if (ns.len) {
		memcpy(at, ns.ptr, ns.len);
		at += ns.len;
		*at++ = '/';
	}
	memcpy(at, name.ptr, name.len);
	it->pub.key = span_make(it->text, key_len);
	it->pub.ns = span_make(it->text, ns.len);
	it->pub.name = span_make(at, name.len);
	at += name.len + 1;
	if (uid.len)
		memcpy(at, uid.ptr, uid.len);
	it->pub.uid = span_make(at, uid.len);
	return it;
}

static void item_free(struct item *it)
{
	bytes_unref(it->pub.json);
	free(it);
}

/* rv fits: who calls has looked. */
static void item_state(struct client_informer *inf, struct item *it, struct span text, struct span rv)
{
	memcpy(it->rv_text, rv.ptr, rv.len);
	it->pub.rv = span_make(it->rv_text, rv.len);
	it->pub.json = inf->p.no_bytes ? NULL : bytes_of(text);
	it->pub.generation = inf->generation;
}

static void tell_removed(struct client_informer *inf, struct item *it)
{
	map_remove(&inf->items, it->pub.key);
	if (inf->p.removed)
		inf->p.removed(inf, &it->pub, inf->p.arg);
	item_free(it);
}

static int nonsense(struct client_informer *inf, const char *what)
{
	return err_set(&inf->err, ERR_UPSTREAM, "%.*s: the server sent %s", SPAN_ARG(inf->p.kind.plural), what);
}

/* A state of an object that the server told. gone: it was the last one. */
static int state_take(struct client_informer *inf, struct span text, bool gone, bool note_rv)
{
	struct json object;
	arena_reset(&inf->scratch);
	int rc = json_parse(&inf->scratch, text, JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &object, &inf->err);
	if (rc < 0)
		return rc;
	const struct json *meta = json_getl(&object, "metadata");
	struct span ns = json_span(json_getl(meta, "namespace")), name = json_span(json_getl(meta, "name")),
		    uid = json_span(json_getl(meta, "uid")), rv = json_span(json_getl(meta, "resourceVersion"));
	if (!name.len || !rv.len || rv.len >= sizeof(((struct item *)0)->rv_text))
		return nonsense(inf, "an object without name or resourceVersion");
	if (note_rv) {
		buf_trunc(&inf->rv, 0);
		buf_span_add(&inf->rv, rv);
	}
	auto_buf struct buf key = {};
	if (ns.len)
		buf_printf(&key, "%.*s/", SPAN_ARG(ns));
	buf_span_add(&key, name);
	struct item *it = map_get(&inf->items, buf_span(&key));
	if (it && !gone && span_eq(it->pub.rv, rv) && span_eq(it->pub.uid, uid)) {
		it->pub.generation = inf->generation;
		return 0;
	}
	bool same = it && span_eq(it->pub.uid, uid); /* else one that had its name before */
	inf->telling = true;
	if (it && gone == same) {
		tell_removed(inf, it);
		it = NULL;
	}
	if (!gone && !inf->dead && it) {
		auto_bytes struct bytes *old = it->pub.json;
		item_state(inf, it, text, rv);
		if (inf->p.changed)
			inf->p.changed(inf, &it->pub, old, &object, inf->p.arg);
	} else if (!gone && !inf->dead) {
		it = item_new(ns, name, uid);
		item_state(inf, it, text, rv);
		map_put(&inf->items, it->pub.key, it);
		if (inf->p.added)
			inf->p.added(inf, &it->pub, &object, inf->p.arg);
	}
	inf->telling = false;
	return inf->dead ? -ERR_CANCELLED : 0;
}

/* ---- lists */

static int list_member(struct span key, struct span value, void *arg)
{
	struct client_informer *inf = arg;
	struct json meta;
	if (!span_is(key, "metadata"))
		return 0;
	arena_reset(&inf->scratch);
	int rc = json_parse(&inf->scratch, value, JSON_BORROW, NULL, &meta, &inf->err);
	if (rc < 0)
		return rc;
	buf_trunc(&inf->next_rv, 0);
	buf_span_add(&inf->next_rv, json_span(json_getl(&meta, "resourceVersion")));
	buf_trunc(&inf->more, 0);
	buf_span_add(&inf->more, json_span(json_getl(&meta, "continue")));
	return 0;
}

static int list_item(struct span value, void *arg)
{
	return state_take(arg, value, false, false);
}

static int list_end(void *arg)
{
	return 0;
}

static const struct client_split_ops list_ops = { .member = list_member, .item = list_item, .end = list_end };

/* What the whole list did not have is gone. */
static int sweep(struct client_informer *inf)
{
	MAP_EACH(&inf->items, e) {
		struct item *it = e->value;
		if (it->pub.generation == inf->generation)
			continue;
		inf->telling = true;
		tell_removed(inf, it);
		inf->telling = false;
		if (inf->dead)
			return -ERR_CANCELLED;
	}
	return 0;
}

/* ---- watches */

static int watch_member(struct span key, struct span value, void *arg)
{
	struct client_informer *inf = arg;
	struct buf *to = span_is(key, "type") ? &inf->event : span_is(key, "object") ? &inf->object : NULL;
	if (to) {
		buf_trunc(to, 0);
		buf_span_add(to, value);
	}
	return 0;
}

static int watch_end(void *arg)
{
	struct client_informer *inf = arg;
	struct span type = buf_span(&inf->event), object = buf_span(&inf->object);
	struct json tree;
	int rc;
	if (span_is(type, "\"ADDED\"") || span_is(type, "\"MODIFIED\"")) {
		rc = state_take(inf, object, false, true);
	} else if (span_is(type, "\"DELETED\"")) {
		rc = state_take(inf, object, true, true);
	} else if (span_is(type, "\"BOOKMARK\"")) {
		arena_reset(&inf->scratch);
		rc = json_parse(&inf->scratch, object, JSON_BORROW, NULL, &tree, &inf->err);
		struct span rv = rc == 0 ? json_span(json_path(&tree, "metadata", "resourceVersion", (char *)NULL)) : SPAN_EMPTY;
		if (rc == 0 && rv.len) {
			buf_trunc(&inf->rv, 0);
			buf_span_add(&inf->rv, rv);
		}
	} else if (span_is(type, "\"ERROR\"")) {
		rc = client_status_error(500, object, &inf->err);
	} else {
		rc = nonsense(inf, "a watch event of no known type");
	}
	buf_trunc(&inf->event, 0);
	buf_trunc(&inf->object, 0);
	return rc;
}

static const struct client_split_ops watch_ops = { .member = watch_member, .item = list_item, .end = watch_end };

/* ---- the way on */

static void informer_free(struct client_informer *inf)
{
	if (inf->stream)
		client_stream_close(inf->stream);
	loop_timer_stop(&inf->wait);
	MAP_EACH(&inf->items, e)
		item_free(e->value);
	map_done(&inf->items);
	client_split_done(&inf->split);
	buf_done(&inf->rv);
	buf_done(&inf->next_rv);
	buf_done(&inf->more);
	buf_done(&inf->event);
	buf_done(&inf->object);
	err_done(&inf->err);
	arena_done(&inf->scratch);
	arena_done(&inf->arena);
	free(inf);
}

/* inf->err says what went wrong. */
static void broken(struct client_informer *inf)
{
	bool expired = inf->err.class == ERR_EXPIRED || inf->err.class == ERR_GONE;
	unsigned asked_ms = inf->err.retry_ms > 0 ? (unsigned)inf->err.retry_ms : 0;
	if (inf->stream) {
		client_stream_close(inf->stream);
		inf->stream = NULL;
	}
	if (expired) {
		/* From the list's first page on; at once when it is the first time. */
		inf->state = INF_LIST;
		inf->exact = true;
		buf_trunc(&inf->rv, 0);
	} else if (inf->p.broken) {
		inf->telling = true;
		inf->p.broken(inf, &inf->err, inf->p.arg);
		inf->telling = false;
	}
	err_done(&inf->err);
	if (inf->dead) {
		informer_free(inf);
		return;
	}
	buf_trunc(&inf->more, 0); /* a list that broke begins anew */
	unsigned ms = expired && !inf->failures ? 0 : client_backoff(inf->client, inf->failures + 1, BACKOFF_MS, BACKOFF_MAX_MS);
	inf->failures++;
	loop_timer_start(&inf->wait, ms > asked_ms ? ms : asked_ms);
}

static void on_wait(struct loop_timer *t)
{
	struct client_informer *inf = container_of(t, struct client_informer, wait);
	if (inf->state == INF_LIST)
		list_page(inf);
	else
		watch_open(inf);
}

static void list_whole(struct client_informer *inf)
{
	if (sweep(inf) < 0) {
		informer_free(inf);
		return;
	}
	inf->exact = false;
	buf_trunc(&inf->rv, 0);
	buf_span_add(&inf->rv, buf_span(&inf->next_rv));
	if (!inf->synced) {
		inf->synced = true;
		inf->telling = true;
		if (inf->p.synced)
			inf->p.synced(inf, inf->p.arg);
		inf->telling = false;
		if (inf->dead) {
			informer_free(inf);
			return;
		}
	}
	inf->state = INF_WATCH;
	watch_open(inf);
}

static void on_data(struct http_call *h, struct span data, void *arg)
{
	struct client_informer *inf = arg;
	int rc = client_split_feed(&inf->split, data);
	if (inf->dead) {
		informer_free(inf);
		return;
	}
	if (rc == 0)
		return;
	if (inf->err.class == ERR_NONE)
		(void)nonsense(inf, rc == -ERR_TOO_LARGE ? "an object that is too large" : "what is no JSON");
	broken(inf);
}

static void on_done(const struct err *why, void *arg)
{
	struct client_informer *inf = arg;
	int64_t held_ms = loop_now_ms(inf->client->loop) - inf->began_ms;
	bool whole = client_split_whole(&inf->split);
	inf->stream = NULL;
	if (inf->state == INF_WATCH && held_ms >= CALM_MS)
		inf->failures = 0;
	if (why) {
		err_set(&inf->err, why->class, "%s", err_msg(why));
		inf->err.retry_ms = why->retry_ms;
		broken(inf);
	} else if (inf->state == INF_LIST && (!whole || !inf->next_rv.len)) {
		(void)nonsense(inf, "a list without its end");
		broken(inf);
	} else if (inf->state == INF_LIST) {
		inf->failures = 0;
		if (inf->more.len)
			list_page(inf);
		else
			list_whole(inf);
	} else if (held_ms < 1000) {
		/* Watches that end at once would otherwise be asked for without a pause. */
		err_set(&inf->err, ERR_UNAVAILABLE, "very short watch: the server ended it after %d ms", (int)held_ms);
		broken(inf);
	} else {
		watch_open(inf);
	}
}

static void query_add(struct buf *path, const char *name, struct span value)
{
	if (!value.len)
		return;
	buf_chr(path, span_chr(buf_span(path), '?') < 0 ? '?' : '&');
	buf_str(path, name);
	buf_chr(path, '=');
	percent_add(path, value, NULL);
}

static void begin(struct client_informer *inf, struct buf *path, const struct client_split_ops *ops)
{
	const char *shape = !inf->p.metadata_only ? NULL
			    : inf->state == INF_LIST
				    ? "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
				    : "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
	query_add(path, "labelSelector", inf->p.label_selector);
	query_add(path, "fieldSelector", inf->p.field_selector);
	client_split_done(&inf->split);
	client_split_init(&inf->split, ops, inf, ITEM_MAX);
	buf_trunc(&inf->event, 0);
	buf_trunc(&inf->object, 0);
	inf->began_ms = loop_now_ms(inf->client->loop);
	const struct client_stream_params p = {
		.path = buf_span(path), .accept = shape, .data = on_data, .done = on_done, .arg = inf
	};
	inf->stream = client_stream_open(inf->client, &p);
}

static void list_page(struct client_informer *inf)
{
	auto_buf struct buf path = {};
	client_path(&path, &inf->p.kind, inf->p.ns, SPAN_EMPTY, NULL);
	query_add(&path, "limit", SPAN(PAGE));
	if (inf->more.len) {
		query_add(&path, "continue", buf_span(&inf->more));
	} else {
		inf->generation++;
		/* Anything not older than what was seen; what is newest when history is gone. */
		if (!inf->exact)
			query_add(&path, "resourceVersion", inf->rv.len ? buf_span(&inf->rv) : SPAN("0"));
	}
	buf_trunc(&inf->next_rv, 0);
	begin(inf, &path, &list_ops);
}

static void watch_open(struct client_informer *inf)
{
	auto_buf struct buf path = {}, seconds = {};
	client_path(&path, &inf->p.kind, inf->p.ns, SPAN_EMPTY, NULL);
	buf_u64(&seconds, WATCH_MIN_S + rng_below(&inf->client->rng, WATCH_MIN_S));
	query_add(&path, "watch", SPAN("true"));
	query_add(&path, "allowWatchBookmarks", SPAN("true"));
	query_add(&path, "resourceVersion", buf_span(&inf->rv));
	query_add(&path, "timeoutSeconds", buf_span(&seconds));
	begin(inf, &path, &watch_ops);
}

/* ---- the seam */

struct client_informer *client_informer_new(const struct client_informer_params *p)
{
	struct client_informer *inf = mem_new(struct client_informer);
	*inf = (struct client_informer){ .client = p->client, .p = *p, .err = ERR_INIT };
	arena_small(&inf->arena);
	inf->p.ns = arena_span(&inf->arena, p->ns);
	inf->p.label_selector = arena_span(&inf->arena, p->label_selector);
	inf->p.field_selector = arena_span(&inf->arena, p->field_selector);
	loop_timer_init(&inf->wait, p->client->loop, "informer", on_wait);
	loop_timer_start(&inf->wait, 0);
	return inf;
}

void client_informer_free(struct client_informer *inf)
{
	if (!inf)
		return;
	if (inf->telling) /* inside one of its callbacks: what called it frees it */
		inf->dead = true;
	else
		informer_free(inf);
}

bool client_informer_synced(const struct client_informer *inf)
{
	return inf->synced;
}

struct client_item *client_informer_get(const struct client_informer *inf, struct span key)
{
	struct item *it = map_get(&inf->items, key);
	return it ? &it->pub : NULL;
}

size_t client_informer_n(const struct client_informer *inf)
{
	return inf->items.n;
}

struct client_item *client_informer_next(const struct client_informer *inf, size_t *pos)
{
	struct map_entry *e = *pos < inf->items.cap ? map_next_(&inf->items, inf->items.slots + *pos) : NULL;
	if (!e)
		return NULL;
	*pos = (size_t)(e - inf->items.slots) + 1;
	return &((struct item *)e->value)->pub;
}

int client_item_tree(struct arena *a, const struct client_item *it, struct json *out, struct err *err)
{
	return json_parse(a, bytes_span(it->json), JSON_BORROW | JSON_DUPLICATES_LAST, NULL, out, err);
}

void client_key_split(struct span key, struct span *out_ns, struct span *out_name)
{
	if (!span_split(key, '/', out_ns, out_name)) {
		*out_name = key;
		*out_ns = SPAN_EMPTY;
	}
}
