/* A watch from its request to its end:
 *
 *     request ─▶ [what there is, from a snapshot, ADDED] ─▶ [bookmark: that was all] ─▶ changes, from a cursor in the store's ring
 *
 * The request's call is given back at once: an idle watch is this struct, its cursor and the stream (2 KB in all). A watch whose
 * queue is full stops taking events, which costs nothing; when the ring has moved on without it, it ends with 410. */
#include "apiserver/watch.h"

#include "apiserver/meter.h"
#include "metrics/metrics.h"

#define BOOKMARK_MS 60000
#define INITIAL_BYTES (16 * 1024)
#define PASS_OVER 500 /* objects that a filter passes over before others have their turn: 1 ms */

/* ---- out */

bool watch_roomy(const struct watch *w)
{
	if (w->ended)
		return false;
	return w->ws ? watch_ws_roomy(w->ws) : w->http && http_reply_queued(w->http) <= CALL_QUEUE_BYTES;
}

void watch_send(struct watch *w, struct span events)
{
	if (w->ws)
		watch_ws_send(w->ws, events);
	else if (w->http) /* by reference: a copy would take a chunk of 4 KB in the stream's queue */
		http_reply_add(w->http, http_bytes(bytes_of(events)));
}

void watch_send_event(struct watch *w, struct span event)
{
	meter_events(&w->fan->meter, event.len, 1);
	watch_send(w, event);
}

static void initial_done(struct watch *w)
{
	if (!w->initial)
		return;
	store_iter_done(&w->initial->it);
	store_snapshot_unref(w->initial->snap);
	free(w->initial);
	w->initial = NULL;
}

void watch_close(struct watch *w)
{
	if (w->ended)
		return;
	w->ended = true;
	list_remove(&w->link);
	loop_timer_stop(&w->timeout);
	loop_timer_stop(&w->bookmark);
	hub_leave(w);
	if (w->cursor)
		store_watch_close(w->cursor);
	w->cursor = NULL;
	initial_done(w);
	if (w->http)
		http_reply_end(w->http);
	if (w->ws)
		watch_ws_close(w->ws);
}

void watch_fail(struct watch *w, const struct err *err)
{
	auto_buf struct buf out = {};
	fan_error(w->fan, err, &out);
	watch_send_event(w, buf_span(&out));
	watch_close(w);
}

void watch_free(struct watch *w)
{
	w->http = NULL;
	w->ws = NULL;
	watch_close(w);
	fan_release(w->fan);
	if (w->gauge)
		metrics_add(w->gauge, -1);
	if (w->call) {
		w->call->pending--;
		call_release(w->call);
	}
	free(w);
}

/* ---- changes */

static size_t on_events(struct store_watch *cursor, const struct store_batch *b, void *arg)
{
	struct watch *w = arg;
	struct fan *f = w->fan;
	size_t n = 0;
	fan_batch(f, b);
	for (unsigned i = 0; n < b->n && watch_roomy(w); i++) {
		auto_err struct err err = ERR_INIT;
		const struct fan_piece *p = fan_piece(f, i, &err);
		if (!p) {
			watch_fail(w, &err);
			return b->n;
		}
		if (p->data && w->ws)
			watch_ws_send(w->ws, bytes_span(p->data));
		else if (p->data)
			http_reply_add(w->http, http_bytes(bytes_ref(p->data)));
		n = p->end;
		w->sent_rev = b->events[n - 1]->rev;
	}
	if (n < b->n)
		list_remove(&w->hub_link); /* while it stands still nobody looks at it */
	return n;
}

static void fail_expired(struct watch *w, int64_t rev)
{
	auto_err struct err err = ERR_INIT;
	err_set(&err, ERR_EXPIRED, "too old resource version: %lld (%lld)", (long long)rev,
		(long long)store_port_rev(w->w->port));
	watch_fail(w, &err);
}

static void on_expired(struct store_watch *cursor, void *arg)
{
	struct watch *w = arg;
	fail_expired(w, w->sent_rev);
}

static const struct store_watch_fns watch_fns = { .events = on_events, .expired = on_expired };

void watch_follow(struct watch *w)
{
	struct fan *f = w->fan;
	auto_buf struct buf key = {};
	auto_err struct err err = ERR_INIT;
	/* One object by name is a key; the store finds its watches by hash. */
	bool exact = f->name.len && (f->ns.len || !f->res->namespaced);
	object_key(&key, f->res, f->ns, exact ? f->name : SPAN_EMPTY);
	if (store_watch_open(w->w->port, buf_span(&key), exact, w->from_rev, &watch_fns, w, &w->cursor, &err) == 0)
		return;
	if (err.class == ERR_EXPIRED)
		fail_expired(w, w->from_rev - 1);
	else
		watch_fail(w, &err);
}

/* ---- what there is at first */

static void initial_send(struct watch *w)
{
	const struct store_item *it;
	auto_buf struct buf out = {};
	auto_err struct err err = ERR_INIT;
	unsigned passed_over = 0;
	while (watch_roomy(w)) {
		it = store_iter_next(&w->initial->it);
		if (!it) {
			int64_t rev = store_snapshot_rev(w->initial->snap);
			initial_done(w);
			size_t before = out.len;
			if (w->end_mark)
				fan_bookmark(w->fan, rev, true, &out);
			if (out.len > before)
				meter_events(&w->fan->meter, out.len - before, 1);
			if (out.len)
				watch_send(w, buf_span(&out));
			w->sent_rev = rev;
			w->from_rev = rev + 1;
			watch_follow(w);
			return;
		}
		if (!filter_match_item(&w->fan->filter, w->fan->res, it)) {
			if (++passed_over < PASS_OVER)
				continue;
			loop_timer_start(&w->bookmark, 0); /* which is not needed yet: it goes on from there */
			break;
		}
		size_t before = out.len;
		if (fan_object(w->fan, "ADDED", bytes_span(it->value), it->rev, &out, &err) < 0) {
			watch_fail(w, &err);
			return;
		}
		meter_events(&w->fan->meter, out.len - before, 1);
		if (out.len >= INITIAL_BYTES) {
			watch_send(w, buf_span(&out));
			buf_trunc(&out, 0);
		}
	}
	if (out.len)
		watch_send(w, buf_span(&out));
}

void watch_drained(struct watch *w)
{
	if (w->ended)
		return;
	if (w->initial) {
		initial_send(w);
	} else if (w->cursor) {
		if (w->hub)
			hub_apart(w);
		store_watch_resume(w->cursor);
	} else if (w->hub && !w->node) {
		watch_follow(w);
		if (!w->ended)
			hub_apart(w);
	}
}

/* ---- time */

/* Up to where it has been told everything; 0: unknown, it is behind. */
static int64_t told_rev(const struct watch *w)
{
	if (w->initial || !watch_roomy(w))
		return 0;
	if (w->node)
		return hub_rev(w);
	return w->cursor ? store_watch_rev(w->cursor) : 0;
}

static void bookmark_send(struct watch *w)
{
	int64_t rev = told_rev(w);
	if (!w->bookmarks || rev <= w->sent_rev)
		return;
	auto_buf struct buf out = {};
	fan_bookmark(w->fan, rev, false, &out);
	watch_send_event(w, buf_span(&out));
	w->sent_rev = rev;
}

static void on_bookmark(struct loop_timer *t)
{
	struct watch *w = container_of(t, struct watch, bookmark);
	if (w->initial)
		initial_send(w);
	else
		bookmark_send(w);
	if (w->bookmarks && !w->ended && !loop_timer_running(t))
		loop_timer_start(t, BOOKMARK_MS);
}

static void on_timeout(struct loop_timer *t)
{
	struct watch *w = container_of(t, struct watch, timeout);
	bookmark_send(w); /* so that the next watch begins where this one ended */
	watch_close(w);
}

static void timers_start(struct watch *w, int64_t timeout_s)
{
	if (!timeout_s) {
		uint64_t spread;
		rng_secret(&spread, sizeof(spread));
		/* Between --min-request-timeout and twice that, so that not all come again at once. */
		int64_t least_s = MAX(w->w->server->opt->min_request_timeout_ms / 1000, (int64_t)1);
		timeout_s = least_s + (int64_t)(spread % (uint64_t)least_s);
	}
	loop_timer_start(&w->timeout, MIN(timeout_s, (int64_t)86400) * 1000);
	if (w->bookmarks)
		loop_timer_start(&w->bookmark, BOOKMARK_MS);
}

/* ---- the request */

static void on_drain(struct http_req *r, void *arg)
{
	watch_drained(arg);
}

static void on_hangup(struct http_req *r, void *arg)
{
	watch_close(arg);
}

static void on_done(struct http_req *r, bool complete, void *arg)
{
	watch_free(arg);
}

/* What is told first is in a snapshot: the revision asked for may not be above it. */
static struct watch_initial *initial_open(struct call *c, int64_t rev)
{
	struct watch_initial *in = mem_new(struct watch_initial);
	auto_buf struct buf prefix = {};
	in->snap = store_snapshot(c->server->store);
	object_key(&prefix, c->res, c->route.ns, SPAN_EMPTY);
	if (list_revision_ahead(c, rev, store_snapshot_rev(in->snap)) == 0 &&
	    store_iter_init(&in->it, in->snap, buf_span(&prefix), SPAN_EMPTY, 0, &c->err) == 0)
		return in;
	store_snapshot_unref(in->snap);
	free(in);
	return NULL;
}

static void begun(struct call *c, int code)
{
	c->answered = true;
	c->code = code;
	audit_started(c, code);
}

static int reply_begin(struct watch *w, struct call *c)
{
	static const struct http_req_ops ops = { .drain = on_drain, .hangup = on_hangup, .done = on_done };
	if (http_req_wants_upgrade(c->http, "websocket")) {
		int rc = watch_ws_serve(w, c->http, &c->err);
		if (rc == 0)
			begun(c, 101);
		return rc;
	}
	begun(c, 200);
	w->http = c->http;
	http_req_ops_set(c->http, &ops, w);
	call_headers(c, 200, accept_content_type(c->want.form, true));
	http_reply_begin(c->http);
	return 0;
}

static void part(struct watch *w, struct call *c);

static int begin(struct call *c)
{
	struct list_options opt;
	struct filter filter;
	struct watch_initial *initial = NULL;
	if (filter_read(c, &filter) < 0 || list_options_read(c, &opt) < 0)
		return -1;
	/* A revision to come from means changes alone; none (or 0) means what there is first. */
	bool with_initial = opt.has_initial ? opt.initial : opt.rev == 0;
	if (with_initial && !(initial = initial_open(c, opt.rev)))
		return -1;
	struct watch *w = mem_new(struct watch);
	w->w = c->w;
	w->fan = fan_get(c, &filter, opt.include);
	w->initial = initial;
	w->bookmarks = call_param_true(c, "allowWatchBookmarks");
	w->end_mark = opt.has_initial && opt.initial && w->bookmarks;
	w->sent_rev = opt.rev;
	list_init(&w->link);
	list_init(&w->hub_link);
	loop_timer_init(&w->timeout, w->w->loop, "watch timeout", on_timeout);
	loop_timer_init(&w->bookmark, w->w->loop, "watch bookmark", on_bookmark);
	if (reply_begin(w, c) < 0) {
		watch_free(w);
		return -1;
	}
	list_push(&w->w->watches, &w->link);
	timers_start(w, opt.timeout_s);
	if (w->initial) {
		initial_send(w);
	} else {
		w->from_rev = opt.rev ? opt.rev + 1 : 0;
		watch_follow(w);
	}
	struct span node = hub_node_of(c, &filter);
	if (node.len && !w->ended)
		hub_join(w, node);
	part(w, c);
	return 0;
}

/* The request is the watch's now, and what the call holds (4 KB) is not needed any more, unless audit is told of the end. With
 * WebSocket the request is still the call's and ends with the handshake. */
static void part(struct watch *w, struct call *c)
{
	if (c->audit) {
		w->call = c;
		c->pending++;
	} else {
		w->gauge = c->gauge;
		c->gauge = NULL;
	}
	if (w->ws)
		return;
	if (!w->call)
		http_req_shed(c->http);
	c->http = NULL;
	call_release(c);
}

void watch_begin(struct call *c)
{
	if (begin(c) < 0)
		call_fail(c);
}

void watch_end_all(struct worker *worker)
{
	LIST_EACH(&worker->watches, w, struct watch, link)
		watch_close(w);
}
