/* Watches: a cursor in the store's ring for each. What happens to one event is decided here: does it match now, did it
 * match before, so is it ADDED, MODIFIED, DELETED or nothing to this watcher. */
#include "apiserver/server.h"

#define BOOKMARK_MS 60000

struct watch {
	struct list link; /* in worker->watches */
	struct call *c;
	struct filter filter;
	struct store_watch *cursor;
	struct store_iter it; /* while initial objects are sent */
	bool initial, bookmarks, end_mark, ended;
	int64_t sent_rev;
	struct span gv;
	const char *include;
	bool columns_sent;
	struct loop_timer timeout, bookmark;
};

static bool roomy(struct watch *w)
{
	return w->c->http && !w->ended && http_reply_queued(w->c->http) <= CALL_QUEUE_BYTES;
}

static void watch_close(struct watch *w)
{
	if (w->ended)
		return;
	w->ended = true;
	list_remove(&w->link);
	loop_timer_stop(&w->timeout);
	loop_timer_stop(&w->bookmark);
	if (w->cursor)
		store_watch_close(w->cursor);
	w->cursor = NULL;
	if (w->c->http)
		http_reply_end(w->c->http);
}

static void event_write(struct watch *w, const char *type, struct span object)
{
	auto_buf struct buf out = {};
	if (w->c->want.form == FORM_PROTO) {
		/* four bytes of length, big endian, before each event */
		auto_buf struct buf event = {};
		api_encode_watch_event(&event, span_of(type), object);
		const char head[4] = { (char)(event.len >> 24), (char)(event.len >> 16), (char)(event.len >> 8),
				       (char)event.len };
		buf_add(&out, head, 4);
		buf_span_add(&out, buf_span(&event));
	} else {
		buf_printf(&out, "{\"type\":\"%s\",\"object\":", type);
		buf_span_add(&out, span_trim(object));
		buf_str(&out, "}\n");
	}
	http_reply_add(w->c->http, http_copy(buf_span(&out)));
}

static void send_error(struct watch *w, struct err *err)
{
	auto_buf struct buf status = {}, proto = {};
	status_write(&status, err, NULL);
	if (w->c->want.form == FORM_PROTO) {
		auto_arena struct arena a = {};
		const struct api_type *t = api_type_find(SPAN("meta/v1.Status"));
		struct json tree;
		if (api_decode_json(&a, t, buf_span(&status), NULL, &tree, NULL) < 0 ||
		    api_encode_proto(&proto, t, &tree, NULL) < 0)
			return;
	}
	event_write(w, "ERROR", buf_span(w->c->want.form == FORM_PROTO ? &proto : &status));
}

/* One object as an event. False when it cannot be made: the watch ends with an error event. */
static bool send_object(struct watch *w, const char *type, struct span value, int64_t rev)
{
	struct call *c = w->c;
	auto_arena struct arena a = {};
	auto_buf struct buf object = {};
	auto_err struct err err = ERR_INIT;
	int64_t now_s = clock_wall_ns(c->server->clock) / NS_PER_S;
	struct accepted want = c->want;
	want.pretty = false;
	if (object_answer(&a, c->res, w->gv, &want, value, rev, false, now_s, w->include, &object, &err) < 0) {
		send_error(w, &err);
		watch_close(w);
		return false;
	}
	event_write(w, type, buf_span(&object));
	w->sent_rev = rev;
	return true;
}

static void send_bookmark(struct watch *w, int64_t rev, bool initial_end)
{
	auto_arena struct arena a = {};
	struct json object = json_object(), meta = json_object();
	(void)json_add(&a, &object, SPAN("kind"), json_str(w->c->res->kind));
	(void)json_add(&a, &object, SPAN("apiVersion"), json_str(w->gv));
	(void)json_add(&a, &meta, SPAN("resourceVersion"), json_str(arena_printf(&a, "%lld", (long long)rev)));
	if (initial_end) {
		struct json notes = json_object();
		(void)json_add(&a, &notes, SPAN("k8s.io/initial-events-end"), json_cstr("true"));
		(void)json_add(&a, &meta, SPAN("annotations"), notes);
	}
	(void)json_add(&a, &object, SPAN("metadata"), meta);
	auto_buf struct buf out = {};
	if (w->c->want.form == FORM_PROTO) {
		if (api_encode_proto(&out, w->c->res->type, &object, NULL) < 0)
			return;
	} else {
		api_encode_json(&out, w->c->res->type, &object, 0);
	}
	event_write(w, "BOOKMARK", buf_span(&out));
	w->sent_rev = rev;
}

static bool event_send(struct watch *w, const struct store_event *e)
{
	auto_arena struct arena a = {};
	const struct api_resource *res = w->c->res;
	bool now = e->item && filter_match(&w->filter, res, &a, bytes_span(e->item->value));
	bool before = e->prev && filter_match(&w->filter, res, &a, bytes_span(e->prev->value));
	if (now)
		return send_object(w, before ? "MODIFIED" : "ADDED", bytes_span(e->item->value), e->rev);
	/* It is gone, or no longer what was asked for: the last state that matched, at the revision of its end. */
	return !before || send_object(w, "DELETED", bytes_span(e->prev->value), e->rev);
}

static size_t on_events(struct store_watch *cursor, const struct store_batch *b, void *arg)
{
	struct watch *w = arg;
	size_t n = 0;
	while (n < b->n && roomy(w)) {
		if (!event_send(w, b->events[n]))
			return b->n; /* ended */
		n++;
	}
	return n;
}

static void on_expired(struct store_watch *cursor, void *arg)
{
	struct watch *w = arg;
	auto_err struct err err = ERR_INIT;
	err_set(&err, ERR_EXPIRED, "too old resource version: %lld (%lld)", (long long)w->sent_rev,
		(long long)store_port_rev(w->c->w->port));
	send_error(w, &err);
	watch_close(w);
}

static const struct store_watch_fns watch_fns = { .events = on_events, .expired = on_expired };

/* Opens the cursor at the revision behind what was sent. */
static void follow(struct watch *w, int64_t from)
{
	auto_buf struct buf key = {};
	struct call *c = w->c;
	auto_err struct err err = ERR_INIT;
	object_key(&key, c->res, c->route.ns, SPAN_EMPTY);
	if (store_watch_open(c->w->port, buf_span(&key), false, from, &watch_fns, w, &w->cursor, &err) < 0) {
		if (err.class == ERR_EXPIRED) {
			err_set(&err, ERR_EXPIRED, "too old resource version: %lld (%lld)", (long long)from - 1,
				(long long)store_port_rev(c->w->port));
			send_error(w, &err);
		} else {
			send_error(w, &err);
		}
		watch_close(w);
	}
}

static void send_initial(struct watch *w)
{
	const struct store_item *it;
	while (roomy(w)) {
		it = store_iter_next(&w->it);
		if (!it) {
			int64_t rev = store_snapshot_rev(w->c->snap);
			store_iter_done(&w->it);
			store_snapshot_unref(w->c->snap);
			w->c->snap = NULL;
			w->initial = false;
			if (w->end_mark)
				send_bookmark(w, rev, true);
			follow(w, rev + 1);
			return;
		}
		auto_arena struct arena a = {};
		if (filter_match(&w->filter, w->c->res, &a, bytes_span(it->value)) &&
		    !send_object(w, "ADDED", bytes_span(it->value), it->rev))
			return;
	}
}

static void on_drain(struct http_req *r, void *arg)
{
	struct watch *w = arg;
	if (w->initial)
		send_initial(w);
	else if (w->cursor)
		store_watch_resume(w->cursor);
}

static void on_hangup(struct http_req *r, void *arg)
{
	watch_close(arg);
}

static void on_done(struct http_req *r, bool complete, void *arg)
{
	struct watch *w = arg;
	w->c->http = NULL;
	watch_close(w);
	if (w->initial)
		store_iter_done(&w->it);
	call_release(w->c);
}

static void on_timeout(struct loop_timer *t)
{
	watch_close(container_of(t, struct watch, timeout));
}

static void on_bookmark(struct loop_timer *t)
{
	struct watch *w = container_of(t, struct watch, bookmark);
	int64_t rev = store_port_rev(w->c->w->port);
	if (w->cursor && roomy(w) && rev > w->sent_rev)
		send_bookmark(w, rev, false);
	loop_timer_start(t, BOOKMARK_MS);
}

void watch_begin(struct call *c)
{
	static const struct http_req_ops ops = { .drain = on_drain, .hangup = on_hangup, .done = on_done };
	struct span rv = call_param(c, "resourceVersion"), seconds = call_param(c, "timeoutSeconds");
	struct span include = call_param(c, "includeObject"), match = call_param(c, "resourceVersionMatch");
	bool send_initial_events = call_param_true(c, "sendInitialEvents"),
	     has_initial = call_param(c, "sendInitialEvents").len;
	int64_t from = 0, timeout_s = 0;
	struct watch *w = arena_new(&c->arena, struct watch);
	w->c = c;
	w->bookmarks = call_param_true(c, "allowWatchBookmarks");
	w->gv = call_group_version(c, c->res);
	w->include = include.len ? arena_cstr(&c->arena, include) : NULL;
	if (rv.len && (!span_to_i64(rv, &from) || from < 0))
		err_set(&c->err, ERR_INVALID_REQUEST, "invalid resource version \"%.*s\"", SPAN_ARG(rv));
	else if (seconds.len && (!span_to_i64(seconds, &timeout_s) || timeout_s < 0))
		err_set(&c->err, ERR_INVALID_REQUEST, "strconv.ParseInt: parsing \"%.*s\": invalid syntax",
			SPAN_ARG(seconds));
	else if (has_initial && !span_is(match, "NotOlderThan"))
		err_set(&c->err, ERR_INVALID_REQUEST,
			"sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
	else if (match.len && !has_initial)
		err_set(&c->err, ERR_INVALID_REQUEST,
			"resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
	else
		(void)filter_read(c, &w->filter); /* sets c->err */
	if (c->err.class != ERR_NONE) {
		call_fail(c);
		return;
	}
	/* A revision to come from means changes alone; none (or 0) means what there is first. */
	w->initial = has_initial ? send_initial_events : from == 0;
	w->end_mark = has_initial && send_initial_events && w->bookmarks;
	if (w->initial) {
		auto_buf struct buf prefix = {};
		object_key(&prefix, c->res, c->route.ns, SPAN_EMPTY);
		c->snap = store_snapshot(c->server->store);
		if (from > store_snapshot_rev(c->snap)) {
			err_set(&c->err, ERR_TIMEOUT, "Timeout: Too large resource version: %lld, current: %lld",
				(long long)from, (long long)store_snapshot_rev(c->snap));
			c->err.retry_ms = 1000;
			call_fail(c);
			return;
		}
		if (store_iter_init(&w->it, c->snap, buf_span(&prefix), SPAN_EMPTY, 0, &c->err) < 0) {
			call_fail(c);
			return;
		}
	}
	list_push(&c->w->watches, &w->link);
	http_req_ops_set(c->http, &ops, w);
	http_reply_status(c->http, 200);
	http_reply_header(c->http, "cache-control", SPAN("no-cache, private"));
	http_reply_header(c->http, "content-type", span_of(accept_content_type(c->want.form, true)));
	http_reply_begin(c->http);
	if (!timeout_s) {
		uint64_t spread;
		rng_secret(&spread, sizeof(spread));
		/* Between --min-request-timeout and twice that, so that not all come again at once. */
		int64_t least_s = MAX(c->server->opt->min_request_timeout_ms / 1000, (int64_t)1);
		timeout_s = least_s + (int64_t)(spread % (uint64_t)least_s);
	}
	loop_timer_init(&w->timeout, c->w->loop, "watch timeout", on_timeout);
	loop_timer_init(&w->bookmark, c->w->loop, "watch bookmark", on_bookmark);
	loop_timer_start(&w->timeout, MIN(timeout_s, (int64_t)86400) * 1000);
	if (w->bookmarks)
		loop_timer_start(&w->bookmark, BOOKMARK_MS);
	if (w->initial)
		send_initial(w);
	else
		follow(w, from == 0 ? 0 : from + 1);
}

void watch_end_all(struct worker *worker)
{
	LIST_EACH(&worker->watches, w, struct watch, link)
		watch_close(w);
}
