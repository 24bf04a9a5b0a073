/* One exchange: what the handler sees of it and what it asks for. Version-independent; the protocols call the functions
 * of http_impl.h, the handler those of http.h. */
#include "http/http_impl.h"

#include <time.h>

/* ---- life ---- */

struct http_req *http_req_new(struct http_conn *c, int version)
{
	struct http_req *r = mem_new(struct http_req);
	r->conn = c;
	r->version = version;
	r->length = -1;
	r->status = 200;
	list_init(&r->link);
	list_init(&r->dirty);
	c->n_reqs++;
	return r;
}

void http_req_start(struct http_req *r)
{
	struct http_server *s = r->conn->server;
	r->headers = http_head_fields(&r->head);
	r->no_body_answer = span_is(r->method, "HEAD");
	r->counted = true;
	s->stats.requests++;
	s->stats.streams++;
	s->p.handle(r, s->p.arg);
}

void http_req_finish(struct http_req *r, bool complete)
{
	struct http_conn *c = r->conn;
	if (r->ops && r->ops->done)
		r->ops->done(r, complete, r->arg);
	if (r->counted)
		c->server->stats.streams--;
	c->n_reqs--;
	list_remove(&r->link);
	list_remove(&r->dirty);
	http_gzip_free(r->gzip);
	http_out_done(&r->out);
	http_out_done(&r->zip);
	buf_done(&r->in);
	buf_done(&r->whole.body);
	http_head_done(&r->head);
	http_head_done(&r->trailers);
	http_head_done(&r->reply);
	http_head_done(&r->reply_trailers);
	arena_done(&r->arena);
	free(r);
}

/* ---- what came ---- */

struct span http_req_method(const struct http_req *r)
{
	return r->method;
}

bool http_req_is(const struct http_req *r, const char *method)
{
	return span_is(r->method, method);
}

struct span http_req_target(const struct http_req *r)
{
	return r->target;
}

struct span http_req_path(const struct http_req *r)
{
	return r->path;
}

struct span http_req_query(const struct http_req *r)
{
	return r->query;
}

struct span http_req_host(const struct http_req *r)
{
	return r->host;
}

int http_req_segments(struct http_req *r, const struct span **out_segments, size_t *out_n, struct err *err)
{
	return http_path_segments(&r->arena, r->path, out_segments, out_n, err);
}

const struct http_fields *http_req_headers(const struct http_req *r)
{
	return &r->headers;
}

struct span http_req_header(const struct http_req *r, const char *name)
{
	return http_fields_get(&r->headers, name);
}

struct span http_req_header_all(struct http_req *r, const char *name)
{
	struct span want = span_of(name), one = SPAN_EMPTY;
	auto_buf struct buf all = {};
	unsigned n = 0;
	const char *glue = span_eq_nocase(want, SPAN("cookie")) ? "; " : ", ";
	for (unsigned i = 0; i < r->headers.n; i++) {
		const struct http_field *f = &r->headers.items[i];
		if (!span_eq_nocase(f->name, want))
			continue;
		if (n++)
			buf_str(&all, glue);
		else
			one = f->value;
		buf_span_add(&all, f->value);
	}
	return n > 1 ? arena_span(&r->arena, buf_span(&all)) : one;
}

const struct http_fields *http_req_trailers(const struct http_req *r)
{
	return &r->trailer_fields;
}

int http_req_version(const struct http_req *r)
{
	return r->version;
}

int64_t http_req_length(const struct http_req *r)
{
	return r->length;
}

const struct http_peer *http_req_peer(const struct http_req *r)
{
	return &r->conn->peer;
}

struct arena *http_req_arena(struct http_req *r)
{
	return &r->arena;
}

struct loop *http_req_loop(const struct http_req *r)
{
	return r->conn->server->loop;
}

void http_req_shed(struct http_req *r)
{
	/* Standard methods need no memory; others are nobody's who streams. */
	static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" };
	struct span was = r->method;
	r->method = SPAN("OTHER");
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (span_is(was, methods[i]))
			r->method = span_of(methods[i]);
	r->target = r->path = r->query = r->host = SPAN_EMPTY;
	r->headers = (struct http_fields){};
	http_head_done(&r->head);
	arena_done(&r->arena);
	/* Many streams at once leave holes between what they keep, as handshakes do. */
	r->conn->server->bursts++;
	loop_timer_start(&r->conn->server->trim, HTTP_TRIM_MS);
}

/* ---- body in ---- */

void http_req_ops_set(struct http_req *r, const struct http_req_ops *ops, void *arg)
{
	r->ops = ops;
	r->arg = arg;
	http_conn_wake(r->conn, r);
}

void http_req_pause(struct http_req *r)
{
	r->paused = true;
}

void http_req_resume(struct http_req *r)
{
	r->paused = false;
	http_conn_wake(r->conn, r);
}

void http_req_body_whole(struct http_req *r, size_t limit_bytes,
	void (*fn)(struct http_req *r, int rc, struct span body, void *arg), void *arg)
{
	assert(!r->whole.fn);
	r->whole.fn = fn;
	r->whole.arg = arg;
	r->whole.limit = limit_bytes;
	http_conn_wake(r->conn, r);
}

bool http_req_wants_body(const struct http_req *r)
{
	if (r->discard)
		return true;
	if (r->whole.fn)
		return !r->whole_told;
	return r->ops && r->ops->data && !r->paused;
}

static void whole_tell(struct http_req *r, int rc, struct span body)
{
	r->whole_told = true;
	r->whole.fn(r, rc, body, r->whole.arg);
}

void http_req_body_data(struct http_req *r, struct span data)
{
	r->in_bytes += data.len;
	if (r->discard)
		return;
	if (r->whole.fn) {
		if (r->whole_told)
			return; /* too large: what still comes is not kept */
		if (data.len > r->whole.limit - MIN(r->whole.limit, r->whole.body.len)) {
			buf_done(&r->whole.body);
			whole_tell(r, -ERR_TOO_LARGE, SPAN_EMPTY);
			return;
		}
		if (!r->whole.body.cap && r->length > 0 && (uint64_t)r->length <= r->whole.limit)
			/* One allocation for a length that is known, grown at most twice from a small one otherwise. */
			(void)buf_reserve(&r->whole.body, MIN((size_t)r->length, MAX(data.len, (size_t)65536)));
		buf_span_add(&r->whole.body, data);
		return;
	}
	r->ops->data(r, data, r->arg);
}

void http_req_told_end_check(struct http_req *r)
{
	if (r->whole.fn && !r->whole_told && r->length > 0 && (uint64_t)r->length > r->whole.limit)
		whole_tell(r, -ERR_TOO_LARGE, SPAN_EMPTY); /* announced: not a byte needs to be read */
	if (!r->in_ended || r->end_told || r->discard)
		return;
	if (r->whole.fn) {
		r->end_told = true;
		if (!r->whole_told)
			whole_tell(r, 0, span_make(buf_cstr(&r->whole.body), r->whole.body.len));
		return;
	}
	if (r->ops && !r->paused) {
		r->end_told = true;
		if (r->ops->end)
			r->ops->end(r, r->arg);
	}
}

void http_req_body_end(struct http_req *r)
{
	r->in_ended = true;
	r->trailer_fields = http_head_fields(&r->trailers);
	http_req_told_end_check(r);
}

void http_req_hang_up(struct http_req *r)
{
	if (r->hung_up || r->ended || r->aborted)
		return;
	r->hung_up = true;
	if (r->ops && r->ops->hangup)
		r->ops->hangup(r, r->arg);
}

/* ---- answer ---- */

void http_reply_status(struct http_req *r, int status)
{
	assert(status >= 100 && status <= 999 && !r->head_sent);
	r->status = status;
}

static bool set_here(struct span name)
{
	static const char *const names[] = { "transfer-encoding", "connection", "date", "keep-alive" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (span_eq_nocase(name, span_of(names[i])))
			return true;
	return false;
}

void http_reply_header(struct http_req *r, const char *name, struct span value)
{
	struct span n = span_of(name);
	assert(http_is_token(n) && http_value_ok(value) && !set_here(n) && !r->head_sent);
	if (span_eq_nocase(n, SPAN("content-length"))) {
		assert(r->no_body_answer);
		r->has_length = true;
	}
	http_head_add(&r->reply, n, value, r->version == 20);
}

void http_reply_add(struct http_req *r, struct http_piece piece)
{
	assert(!r->ended);
	if (r->aborted || r->conn->phase == HTTP_CLOSING || r->reset_by_peer) {
		bytes_unref(piece.bytes);
		return;
	}
	http_out_add(&r->out, piece);
	if (r->begun)
		http_conn_wake(r->conn, r);
}

void http_reply_begin(struct http_req *r)
{
	assert(!r->ended);
	r->begun = true;
	http_conn_wake(r->conn, r);
}

void http_reply_trailer(struct http_req *r, const char *name, struct span value)
{
	assert(r->begun && !r->ended && http_is_token(span_of(name)) && http_value_ok(value));
	http_head_add(&r->reply_trailers, span_of(name), value, r->version == 20);
}

void http_reply_end(struct http_req *r)
{
	assert(!r->ended);
	r->ended = true;
	http_conn_wake(r->conn, r);
}

void http_reply_abort(struct http_req *r)
{
	r->aborted = true;
	http_conn_wake(r->conn, r);
}

size_t http_reply_queued(const struct http_req *r)
{
	return r->out.len + (r->version < 20 ? http_io_queued(&r->conn->io) : 0);
}

bool http_reply_begun(const struct http_req *r)
{
	return r->begun || r->ended;
}

void http_reply_text(struct http_req *r, int status, const char *content_type, struct span body)
{
	http_reply_status(r, status);
	http_reply_header(r, "content-type", span_of(content_type));
	http_reply_add(r, http_copy(body));
	http_reply_end(r);
}

bool http_reply_not_modified(struct http_req *r, struct span etag)
{
	http_reply_header(r, "etag", etag);
	if (!http_req_is(r, "GET") && !http_req_is(r, "HEAD"))
		return false;
	struct span rest = http_req_header_all(r, "if-none-match"), part;
	/* Weak comparison (RFC 9110 section 13.1.2). */
	struct span plain = span_starts(etag, SPAN("W/")) ? span_from(etag, 2) : etag;
	bool same = false;
	while (!same && span_cut(&rest, ',', &part)) {
		part = span_trim(part);
		if (span_starts(part, SPAN("W/")))
			part = span_from(part, 2);
		same = span_is(part, "*") || span_eq(part, plain);
	}
	if (!same)
		return false;
	http_reply_status(r, 304);
	http_reply_end(r);
	return true;
}

bool http_req_accepts_gzip(const struct http_req *r)
{
	for (unsigned i = 0; i < r->headers.n; i++) {
		if (!span_eq_nocase(r->headers.items[i].name, SPAN("accept-encoding")))
			continue;
		struct span rest = r->headers.items[i].value, part, coding, params;
		while (span_cut(&rest, ',', &part)) {
			span_split(part, ';', &coding, &params);
			coding = span_trim(coding);
			if (!span_eq_nocase(coding, SPAN("gzip")) && !span_is(coding, "*"))
				continue;
			params = span_trim(params);
			/* q=0, q=0.0, q=0.000 mean no (RFC 9110 section 12.4.2). */
			if (params.len > 2 && (params.ptr[0] | 0x20) == 'q' && params.ptr[1] == '=') {
				bool zero = true;
				for (size_t k = 2; k < params.len; k++)
					zero = zero && (params.ptr[k] == '0' || params.ptr[k] == '.');
				if (zero)
					return false;
			}
			return true;
		}
	}
	return false;
}

void http_reply_gzip(struct http_req *r, size_t min_bytes)
{
	assert(!r->ended);
	r->gzip_wanted = true;
	r->gzip_min = min_bytes ? min_bytes : 131072;
}

bool http_reply_bodyless(const struct http_req *r)
{
	return r->no_body_answer || r->status == 204 || r->status == 304 || r->status < 200;
}

void http_reply_settle(struct http_req *r)
{
	if (!r->gzip_wanted || r->version < 11)
		return;
	for (unsigned i = 0; i < r->reply.n; i++) { /* offsets: not fixed yet */
		struct span name = span_make(r->reply.text + (uintptr_t)r->reply.items[i].name.ptr, r->reply.items[i].name.len);
		if (span_eq_nocase(name, SPAN("content-encoding")))
			return;
	}
	http_head_add(&r->reply, SPAN("vary"), SPAN("Accept-Encoding"), false);
	if (r->begun || http_reply_bodyless(r) || r->out.len < r->gzip_min || !http_req_accepts_gzip(r))
		return;
	http_head_add(&r->reply, SPAN("content-encoding"), SPAN("gzip"), false);
	r->gzip = http_gzip_new(1);
}

bool http_req_body_pull(struct http_req *r, struct http_out *to, size_t max)
{
	if (r->gzip)
		return http_gzip_run(r->gzip, &r->out, to, max, r->ended);
	http_out_move(to, &r->out, max);
	return !r->out.len;
}

void http_req_drain_check(struct http_req *r, size_t queued)
{
	size_t limit = r->conn->server->p.limits.queue_bytes;
	if (queued > limit) {
		r->above = true;
	} else if (r->above && queued <= limit / 2) {
		r->above = false;
		if (!r->ended && !r->aborted && r->ops && r->ops->drain)
			r->ops->drain(r, r->arg);
	}
}

/* The Date field changes once a second; formatting it for each answer would cost more than the rest of the header. */
void http_date_add(struct http_req *r, char out[32])
{
	static __thread int64_t made_for = -1;
	static __thread char text[32];
	int64_t now = loop_wall_ns(r->conn->server->loop) / NS_PER_S;
	if (now != made_for) {
		static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
		static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
			"Nov", "Dec" };
		time_t t = (time_t)now;
		struct tm tm;
		gmtime_r(&t, &tm);
		snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
			months[tm.tm_mon], (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min, tm.tm_sec);
		made_for = now;
	}
	memcpy(out, text, sizeof(text));
}
