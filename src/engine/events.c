/* /events: what happened, to whoever listens, and a short memory of it.
 *
 * A ring of the last events is kept for `since`. A listener's filter is applied once for each event; a listener that takes
 * nothing for
 * so long that LAG_MAX bytes wait for it is dropped, as a client of Docker is. */
#include "engine/private.h"

#define HISTORY 1024 /* Docker keeps 256 */
#define LAG_MAX (1u << 20)

struct event {
	struct bytes *line;  /* with its newline */
	struct arena arena;  /* of what follows */
	struct span type, action, id;
	struct json attributes;
	int64_t time_ns;
};

struct listener {
	struct engine_call *c;
	struct list link;
	struct engine_filters filters;
	int64_t since_ns, until_ns; /* 0 = none */
	struct loop_timer timer;
};

struct engine_events {
	struct engine *e;
	struct event ring[HISTORY];
	unsigned first, n;
	struct list listeners;
	unsigned n_listeners;
};

/* ---- filters ---- */

/* A name or id of an object of one type: "the first match wins", by full id, by name, or by the beginning of the id. */
static bool match_object(const struct engine_filters *f, const char *type, const struct event *ev)
{
	const struct engine_filter *i = engine_filter_get(f, type);
	if (!i)
		return true;
	if (!span_is(ev->type, type))
		return false;
	struct span name = json_span(json_getl(&ev->attributes, "name"));
	for (size_t k = 0; k < i->n; k++)
		if (i->values[k].len && (span_starts(ev->id, i->values[k]) || span_starts(name, i->values[k])))
			return true;
	return false;
}

static bool match_action(const struct engine_filters *f, struct span action)
{
	const struct engine_filter *i = engine_filter_get(f, "event");
	for (size_t k = 0; i && k < i->n; k++) {
		struct span v = i->values[k], head, tail;
		if (span_eq(v, action))
			return true;
		/* "exec_start: ls" is met by "exec_start", "health_status: healthy" by "health_status". */
		if (span_split(action, ':', &head, &tail) && span_eq(head, v) &&
		    (span_is(v, "health_status") || span_is(v, "exec_create") || span_is(v, "exec_start") || span_is(v, "exec_die")))
			return true;
	}
	return !i;
}

/* By name of the image, with or without its tag, whatever the object is. */
static bool match_image(const struct engine_filters *f, const struct event *ev)
{
	const struct engine_filter *i = engine_filter_get(f, "image");
	struct span name = json_span(json_get(&ev->attributes, span_is(ev->type, "image") ? SPAN("name") : SPAN("image")));
	for (size_t k = 0; i && k < i->n; k++) {
		struct span v = i->values[k];
		if (span_eq(v, name) || span_eq(v, ev->id) ||
		    (span_starts(name, v) && name.len > v.len && (name.ptr[v.len] == ':' || name.ptr[v.len] == '@')) ||
		    (span_is(ev->type, "image") && span_starts(ev->id, v) && ev->id.len > v.len && ev->id.ptr[v.len] == ':'))
			return true;
	}
	return !i;
}

static bool match_event(const struct listener *l, const struct event *ev)
{
	static const char *const objects[] = { "config", "container", "daemon", "network", "node", "plugin", "secret", "service",
		"volume" };
	const struct engine_filters *f = &l->filters;
	for (size_t i = 0; i < ARRAY_LEN(objects); i++)
		if (!match_object(f, objects[i], ev))
			return false;
	return engine_filter_exact(f, "type", ev->type) && engine_filter_exact(f, "scope", SPAN("local")) &&
	       match_action(f, ev->action) && match_image(f, ev) && engine_filter_label(f, "label", &ev->attributes);
}

/* ---- making ---- */

static void event_done(struct event *ev)
{
	bytes_unref(ev->line);
	arena_done(&ev->arena);
	*ev = (struct event){};
}

static void encode(struct event *ev)
{
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	/* Docker's first shape of events, which lives on for containers and images. */
	if (span_is(ev->type, "container") || span_is(ev->type, "image")) {
		json_out_kspan(&o, "status", ev->action);
		json_out_kspan(&o, "id", ev->id);
		json_out_kspan(&o, "from", json_span(json_getl(&ev->attributes, "image")));
	}
	json_out_kspan(&o, "Type", ev->type);
	json_out_kspan(&o, "Action", ev->action);
	json_out_key(&o, SPAN("Actor"));
	json_out_begin(&o);
	json_out_key(&o, SPAN("ID"));
	json_out_span(&o, ev->id);
	json_out_key(&o, SPAN("Attributes"));
	json_out_value(&o, &ev->attributes);
	json_out_end(&o);
	json_out_kspan(&o, "scope", SPAN("local"));
	json_out_key(&o, SPAN("time"));
	json_out_i64(&o, ev->time_ns / NS_PER_S);
	json_out_key(&o, SPAN("timeNano"));
	json_out_i64(&o, ev->time_ns);
	json_out_end(&o);
	buf_chr(&b, '\n');
	ev->line = buf_seal(&b);
}

static void listener_drop(struct listener *l)
{
	list_remove(&l->link);
	l->c->e->events->n_listeners--;
	loop_timer_stop(&l->timer);
	engine_call_unref(l->c);
	/* its memory is the call's */
}

static void listener_gone(struct engine_call *c)
{
	listener_drop(c->state);
}

static void listener_end(struct listener *l)
{
	l->c->gone = NULL;
	if (l->c->req)
		http_reply_end(l->c->req);
	listener_drop(l);
}

static void tell(struct listener *l, const struct event *ev)
{
	if ((l->until_ns && ev->time_ns > l->until_ns) || !match_event(l, ev) || !l->c->req)
		return;
	if (http_reply_queued(l->c->req) > LAG_MAX) {
		log_warn("a listener to events takes nothing and is dropped");
		http_reply_abort(l->c->req);
		return;
	}
	http_reply_add(l->c->req, http_bytes(bytes_ref(ev->line)));
}

static void event_add(struct engine *e, struct span type, struct span action, struct span id, const struct json *attributes,
	int64_t time_ns)
{
	struct engine_events *evs = e->events;
	struct event *ev = &evs->ring[(evs->first + evs->n) % HISTORY];
	if (evs->n == HISTORY) {
		evs->first = (evs->first + 1) % HISTORY;
		event_done(ev);
	} else {
		evs->n++;
	}
	*ev = (struct event){ .time_ns = time_ns };
	ev->type = arena_span(&ev->arena, type);
	ev->action = arena_span(&ev->arena, action);
	ev->id = arena_span(&ev->arena, id);
	ev->attributes = attributes && attributes->kind == JSON_OBJECT ? json_copy(&ev->arena, attributes) : json_object();
	json_sort(&ev->attributes);
	encode(ev);
	metrics_inc(METRICS_SERIES(e->counted, ENGINE_EVENTS_TOTAL, type));
	LIST_EACH(&evs->listeners, l, struct listener, link)
		tell(l, ev);
}

void engine_event(struct engine *e, const char *type, struct span action, struct span id, const struct json *attributes)
{
	event_add(e, span_of(type), action, id, attributes, loop_wall_ns(e->loop));
}

/* Docker's: the labels, and over one that is called so, the name. */
static struct json image_attributes(struct arena *a, struct span name, const struct json *labels)
{
	struct json v = labels && labels->kind == JSON_OBJECT ? json_copy(a, labels) : json_object();
	(void)json_setl(a, &v, "name", json_str(arena_span(a, name)));
	return v;
}

struct json engine_image_labels(struct engine *e, struct span image, struct arena *a)
{
	struct image_digest id;
	struct image_info info;
	struct image_config config;
	struct image_manifest manifest;
	const struct json *labels = NULL;
	if (image_find(e->images, image, &id, NULL) == 0 && image_inspect(e->images, &id, a, &info, &config, &manifest, NULL) == 0)
		labels = json_path(&config.tree, "config", "Labels", NULL);
	return json_is(labels, JSON_OBJECT) ? *labels : json_object();
}

struct posted {
	struct loop_msg msg;
	struct engine *e;
	const char *action;
	struct arena arena;
	struct span id;
	struct json attributes;
};

static void on_posted(struct loop_msg *m)
{
	struct posted *p = container_of(m, struct posted, msg);
	engine_event(p->e, "image", span_of(p->action), p->id, &p->attributes);
	arena_done(&p->arena);
	free(p);
}

void engine_event_image_post(struct engine *e, const char *action, struct span id, struct span name, const struct json *labels)
{
	struct posted *p = mem_new(struct posted);
	*p = (struct posted){ .msg = { .fn = on_posted }, .e = e, .action = action };
	p->id = arena_span(&p->arena, id);
	p->attributes = image_attributes(&p->arena, name, labels);
	loop_post(e->loop, &p->msg);
}

void engine_event_image_read(struct engine *e, const char *action, struct span id, struct span name)
{
	auto_arena struct arena a = {};
	struct json labels = engine_image_labels(e, id, &a);
	engine_event_image_post(e, action, id, name, &labels);
}

int engine_events_new(struct engine *e, struct engine_events **out)
{
	*out = mem_new(struct engine_events);
	(*out)->e = e;
	list_init(&(*out)->listeners);
	return 0;
}

void engine_events_free(struct engine_events *evs)
{
	if (!evs)
		return;
	assert(list_empty(&evs->listeners));
	for (unsigned i = 0; i < HISTORY; i++)
		event_done(&evs->ring[i]);
	free(evs);
}

void engine_events_end(struct engine *e)
{
	while (!list_empty(&e->events->listeners))
		listener_end(LIST_FIRST(&e->events->listeners, struct listener, link));
}

unsigned engine_events_listeners(const struct engine_events *evs)
{
	return evs->n_listeners;
}

/* ---- GET /events ---- */

static void on_until(struct loop_timer *t)
{
	listener_end(container_of(t, struct listener, timer));
}

void engine_events(struct engine_call *c)
{
	struct engine *e = c->e;
	struct engine_events *evs = e->events;
	int64_t now = loop_wall_ns(e->loop);
	struct listener *l = arena_new(&c->arena, struct listener);
	l->c = c;
	if (engine_time_parse(engine_param(c, "since"), now, &l->since_ns, &c->err) < 0 ||
	    engine_time_parse(engine_param(c, "until"), now, &l->until_ns, &c->err) < 0 ||
	    engine_filters_of(c, NULL, &l->filters, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	bool has_since = engine_param(c, "since").len != 0, has_until = engine_param(c, "until").len != 0;
	if (has_since && has_until && l->until_ns < l->since_ns) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "`since` time (%.*s) cannot be after `until` time (%.*s)",
			SPAN_ARG(engine_param(c, "since")), SPAN_ARG(engine_param(c, "until")));
		return;
	}
	if (!engine_answer_head(c, 200))
		return;
	http_reply_header(c->req, "Content-Type", SPAN("application/json"));
	http_reply_begin(c->req);
	/* Either asks for what was, `until` alone from the beginning; so does `since=0`. */
	for (unsigned i = 0; i < evs->n && (has_since || has_until); i++) {
		const struct event *ev = &evs->ring[(evs->first + i) % HISTORY];
		if (ev->time_ns >= l->since_ns)
			tell(l, ev);
	}
	if (has_until && l->until_ns <= now) {
		http_reply_end(c->req);
		return;
	}
	(void)engine_call_ref(c);
	list_push(&evs->listeners, &l->link);
	evs->n_listeners++;
	loop_timer_init(&l->timer, e->loop, "end of events", on_until);
	if (has_until)
		loop_timer_start(&l->timer, (l->until_ns - now + NS_PER_MS - 1) / NS_PER_MS);
	c->state = l;
	c->gone = listener_gone;
}
