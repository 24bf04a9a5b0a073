/* Frames (SPDY/3.1 section 2.2), big endian:
 *
 *     control  1:1 version:15 type:16 | flags:8 length:24 | body
 *     data     0:1 stream:31          | flags:8 length:24 | payload
 *
 * Reading is a machine of three states: HEAD collects 8 bytes; CONTROL collects a body of bounded length; DATA passes
 * payload on as it comes. A stream is in `streams` while frames for it mean something, then in `closing` until
 * `closed` was called:
 *
 *     open --both sides finished, or reset by either--> closing --feed or take: closed()--> freed
 *
 * Invariants:
 *  1. A stream in `streams` is not dead; a dead one is in `closing`, and its memory lives until report() frees it.
 *  2. s->unconsumed is the sum over the streams in `streams`.
 *  3. Windows matter only with flow_control; a stream is in `blocked` while its queue is not empty. */
#include <assert.h>
#include "http/http_spdy_block.h"

enum {
	TYPE_SYN_STREAM = 1,
	TYPE_SYN_REPLY = 2,
	TYPE_RST_STREAM = 3,
	TYPE_SETTINGS = 4,
	TYPE_PING = 6,
	TYPE_GOAWAY = 7,
	TYPE_HEADERS = 8,
	TYPE_WINDOW_UPDATE = 9,

	SETTING_MAX_STREAMS = 4,
	SETTING_INITIAL_WINDOW = 7,

	VERSION = 3,
	WINDOW = 65536,
	WINDOW_MAX = 0x7fffffff,
	ID_MAX = 0x7fffffff,
	DATA_FRAME = 16384,      /* largest that we send */
	STREAM_ERRORS_MAX = 1000, /* resets that a peer may cause in a session by broken frames */
};

struct http_spdy_stream {
	struct http_spdy *session;
	uint32_t id;
	bool ours, replied;
	bool local_end, remote_end; /* FIN was sent, was received */
	bool dead;
	unsigned status;            /* for closed */
	struct list link;           /* in closing */
	struct list blocked;        /* in session->blocked */
	struct buf queue;           /* kept back by a window; from queue_at on */
	size_t queue_at;
	bool fin_queued;
	int64_t send_window, recv_window;
	size_t unconsumed;
	uint32_t credit;            /* consumed and not yet told by WINDOW_UPDATE */
	void *data;
	uint8_t key[4];             /* id, as the map's key */
};

struct http_spdy {
	struct http_spdy_params p;
	struct buf out;
	struct http_spdy_block block;
	struct map streams;
	struct list closing, blocked;

	enum { HEAD, CONTROL, DATA } state;
	uint8_t head[8];
	unsigned n_head;
	uint32_t left;             /* of the frame's body */
	struct buf control, plain;

	uint32_t next_id, last_peer_id, next_ping;
	unsigned n_ours, n_peers, stream_errors;
	uint32_t peer_max_streams;
	int64_t peer_initial_window, send_window, recv_window;
	size_t unconsumed;
	uint32_t credit;
	bool goaway_sent, goaway_received, over;
};

/* ---- writing frames */

static void u32_put(struct buf *out, uint32_t v)
{
	uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
	buf_add(out, b, 4);
}

static uint32_t u32_at(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void control_put(struct http_spdy *s, unsigned type, unsigned flags, uint32_t len)
{
	u32_put(&s->out, 0x80000000u | VERSION << 16 | type);
	u32_put(&s->out, flags << 24 | len);
}

/* A control frame of two numbers. */
static void pair_put(struct http_spdy *s, unsigned type, uint32_t a, uint32_t b)
{
	control_put(s, type, 0, 8);
	u32_put(&s->out, a);
	u32_put(&s->out, b);
}

/* SYN_STREAM, SYN_REPLY or HEADERS: some numbers, then a block. */
static void block_put(struct http_spdy *s, unsigned type, unsigned flags, const void *fixed, size_t n_fixed,
		      const struct http_spdy_field *fields, unsigned n)
{
	size_t at = s->out.len;
	control_put(s, type, flags, 0);
	buf_add(&s->out, fixed, n_fixed);
	http_spdy_block_write(&s->block, fields, n, &s->out);
	size_t len = s->out.len - at - 8;
	assert(len <= 0xffffff);
	s->out.ptr[at + 5] = (char)(len >> 16);
	s->out.ptr[at + 6] = (char)(len >> 8);
	s->out.ptr[at + 7] = (char)len;
}

static void data_put(struct http_spdy *s, uint32_t id, struct span data, bool fin)
{
	u32_put(&s->out, id);
	u32_put(&s->out, (fin ? 1u << 24 : 0) | (uint32_t)data.len);
	buf_span_add(&s->out, data);
}

/* ---- streams */

static struct span id_key(uint8_t key[4], uint32_t id)
{
	memcpy(key, &id, 4);
	return span_make(key, 4);
}

static struct http_spdy_stream *stream_find(struct http_spdy *s, uint32_t id)
{
	uint8_t key[4];
	return map_get(&s->streams, id_key(key, id));
}

static bool is_ours(const struct http_spdy *s, uint32_t id)
{
	return (id & 1) == (s->p.client ? 1 : 0);
}

static struct http_spdy_stream *stream_new(struct http_spdy *s, uint32_t id, unsigned flags)
{
	struct http_spdy_stream *st = mem_new(struct http_spdy_stream);
	st->session = s;
	st->id = id;
	st->ours = is_ours(s, id);
	st->send_window = s->peer_initial_window;
	st->recv_window = WINDOW;
	list_init(&st->link);
	list_init(&st->blocked);
	/* Who opens unidirectionally is the only one to send. */
	if (st->ours)
		st->remote_end = flags & HTTP_SPDY_UNIDIRECTIONAL;
	else
		st->local_end = flags & HTTP_SPDY_UNIDIRECTIONAL;
	if (st->ours)
		s->n_ours++;
	else
		s->n_peers++;
	(void)map_put(&s->streams, id_key(st->key, id), st);
	return st;
}

static void stream_free(struct http_spdy_stream *st)
{
	list_remove(&st->link);
	list_remove(&st->blocked);
	buf_done(&st->queue);
	free(st);
}

static void session_credit(struct http_spdy *s, size_t n)
{
	if (!s->p.flow_control || s->over)
		return;
	s->credit += (uint32_t)n;
	if (s->credit >= WINDOW / 2) {
		pair_put(s, TYPE_WINDOW_UPDATE, 0, s->credit);
		s->recv_window += s->credit;
		s->credit = 0;
	}
}

static void stream_die(struct http_spdy_stream *st, unsigned status)
{
	struct http_spdy *s = st->session;
	if (st->dead)
		return;
	st->dead = true;
	st->status = status;
	if (st->ours)
		s->n_ours--;
	else
		s->n_peers--;
	s->unconsumed -= st->unconsumed;
	session_credit(s, st->unconsumed);
	st->unconsumed = 0;
	list_remove(&st->blocked);
	buf_done(&st->queue);
	(void)map_remove(&s->streams, span_make(st->key, 4));
	list_push(&s->closing, &st->link);
}

static void stream_check_end(struct http_spdy_stream *st)
{
	if (st->local_end && st->remote_end)
		stream_die(st, HTTP_SPDY_OK);
}

static void report(struct http_spdy *s)
{
	struct http_spdy_stream *st;
	while ((st = LIST_POP(&s->closing, struct http_spdy_stream, link))) {
		if (s->p.ops->closed)
			s->p.ops->closed(st, st->status, s->p.arg);
		stream_free(st);
	}
}

static void session_end(struct http_spdy *s)
{
	s->over = true;
	MAP_EACH(&s->streams, e)
		stream_die(e->value, HTTP_SPDY_SESSION_ENDED);
}

static int session_error(struct http_spdy *s, const char *why, struct err *err)
{
	http_spdy_goaway(s, 1);
	session_end(s);
	return err_set(err, ERR_UPSTREAM, "spdy: %s", why);
}

/* A frame that is wrong for one stream: RST_STREAM, and `closed` if there is one. */
static int stream_error(struct http_spdy *s, uint32_t id, enum http_spdy_status status, struct err *err)
{
	if (++s->stream_errors > STREAM_ERRORS_MAX)
		return session_error(s, "too many stream errors", err);
	struct http_spdy_stream *st = stream_find(s, id);
	pair_put(s, TYPE_RST_STREAM, id, status);
	if (st)
		stream_die(st, status);
	return 0;
}

/* A frame for a stream that is not there: a mistake, unless it is one that is gone (we may have reset it while the frame
 * was under way) or that we did not want to know of any more. */
static int stream_unknown(struct http_spdy *s, uint32_t id, struct err *err)
{
	bool gone = id && (is_ours(s, id) ? id < s->next_id : id <= s->last_peer_id || s->goaway_sent);
	return gone ? 0 : stream_error(s, id, HTTP_SPDY_INVALID_STREAM, err);
}

/* ---- sending data */

/* What the windows let through of the queue. */
static void stream_flush(struct http_spdy_stream *st)
{
	struct http_spdy *s = st->session;
	size_t waiting = st->queue.len - st->queue_at;
	while (waiting && st->send_window > 0 && s->send_window > 0) {
		size_t n = MIN(waiting, (size_t)DATA_FRAME);
		int64_t window = MIN(st->send_window, s->send_window);
		n = MIN(n, (size_t)window);
		waiting -= n;
		data_put(s, st->id, span_make(st->queue.ptr + st->queue_at, n), st->fin_queued && !waiting);
		st->queue_at += n;
		st->send_window -= (int64_t)n;
		s->send_window -= (int64_t)n;
	}
	if (waiting) {
		if (list_empty(&st->blocked))
			list_push(&s->blocked, &st->blocked);
		return;
	}
	list_remove(&st->blocked);
	buf_done(&st->queue);
	st->queue_at = 0;
	if (st->fin_queued) {
		st->local_end = true;
		stream_check_end(st);
	}
}

void http_spdy_write(struct http_spdy_stream *st, struct span data, bool last)
{
	struct http_spdy *s = st->session;
	if (st->dead || st->local_end || st->fin_queued)
		return;
	assert(st->ours || st->replied);
	if (s->p.flow_control && data.len) {
		buf_span_add(&st->queue, data);
		st->fin_queued = last;
		stream_flush(st);
		return;
	}
	if (st->queue.len) { /* an end without data waits its turn */
		st->fin_queued = last;
		return;
	}
	while (data.len > DATA_FRAME) {
		data_put(s, st->id, span_sub(data, 0, DATA_FRAME), false);
		data = span_from(data, DATA_FRAME);
	}
	if (data.len || last)
		data_put(s, st->id, data, last);
	if (last) {
		st->local_end = true;
		stream_check_end(st);
	}
}

size_t http_spdy_queued(const struct http_spdy_stream *st)
{
	return st->queue.len - st->queue_at;
}

/* Windows have grown: those that wait go on, in the order in which they began to. */
static void flush_blocked(struct http_spdy *s)
{
	/* A list of their own for this round: stream_flush puts back who still waits, and drain may reset any of them. */
	struct list round;
	struct http_spdy_stream *st;
	list_init(&round);
	list_append(&round, &s->blocked);
	while ((st = LIST_POP(&round, struct http_spdy_stream, blocked))) {
		stream_flush(st);
		if (!http_spdy_queued(st) && !st->dead && s->p.ops->drain)
			s->p.ops->drain(st, s->p.arg);
	}
}

/* ---- the other calls */

int http_spdy_open(struct http_spdy *s, const struct http_spdy_field *fields, unsigned n, unsigned flags,
		   struct http_spdy_stream **out_stream, struct err *err)
{
	if (s->over || s->goaway_received || s->next_id > ID_MAX)
		return err_set(err, ERR_UNAVAILABLE, "spdy: the session takes no more streams");
	if (s->n_ours >= s->peer_max_streams)
		return err_set(err, ERR_TOO_MANY, "spdy: the peer allows %u streams", s->peer_max_streams);
	struct http_spdy_stream *st = stream_new(s, s->next_id, flags);
	s->next_id += 2;
	uint8_t fixed[10] = { (uint8_t)(st->id >> 24), (uint8_t)(st->id >> 16), (uint8_t)(st->id >> 8), (uint8_t)st->id };
	block_put(s, TYPE_SYN_STREAM, flags & 3, fixed, sizeof(fixed), fields, n);
	st->local_end = flags & HTTP_SPDY_FIN;
	stream_check_end(st);
	*out_stream = st;
	return 0;
}

static void fields_send(struct http_spdy_stream *st, unsigned type, const struct http_spdy_field *fields, unsigned n,
			bool fin)
{
	if (st->dead || st->local_end || st->fin_queued)
		return;
	assert(!st->queue.len); /* fields behind data that a window holds would overtake it */
	uint8_t id[4] = { (uint8_t)(st->id >> 24), (uint8_t)(st->id >> 16), (uint8_t)(st->id >> 8), (uint8_t)st->id };
	block_put(st->session, type, fin, id, sizeof(id), fields, n);
	if (fin) {
		st->local_end = true;
		stream_check_end(st);
	}
}

void http_spdy_reply(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, bool fin)
{
	assert(!st->ours && !st->replied);
	st->replied = true;
	fields_send(st, TYPE_SYN_REPLY, fields, n, fin);
}

void http_spdy_headers(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, bool fin)
{
	assert(st->ours || st->replied);
	fields_send(st, TYPE_HEADERS, fields, n, fin);
}

void http_spdy_consumed(struct http_spdy_stream *st, size_t n)
{
	struct http_spdy *s = st->session;
	if (st->dead)
		return;
	assert(n <= st->unconsumed);
	st->unconsumed -= n;
	s->unconsumed -= n;
	session_credit(s, n);
	st->credit += (uint32_t)n;
	if (s->p.flow_control && st->credit >= WINDOW / 2 && !st->remote_end) {
		pair_put(s, TYPE_WINDOW_UPDATE, st->id, st->credit);
		st->recv_window += st->credit;
		st->credit = 0;
	}
}

void http_spdy_reset(struct http_spdy_stream *st, enum http_spdy_status status)
{
	if (st->dead)
		return;
	pair_put(st->session, TYPE_RST_STREAM, st->id, status);
	stream_die(st, status);
}

uint32_t http_spdy_ping(struct http_spdy *s)
{
	uint32_t id = s->next_ping;
	s->next_ping += 2;
	if (!s->over) {
		control_put(s, TYPE_PING, 0, 4);
		u32_put(&s->out, id);
	}
	return id;
}

void http_spdy_goaway(struct http_spdy *s, unsigned status)
{
	if (!s->over && !s->goaway_sent)
		pair_put(s, TYPE_GOAWAY, s->last_peer_id, status);
	s->goaway_sent = true;
}

/* ---- reading control frames */

/* Uncompresses the block at data. 1: fields are there (the caller's to free); 0: the block is bad for its stream; -class. */
static int fields_get(struct http_spdy *s, struct span data, struct http_spdy_field **out_fields, unsigned *out_n,
		      struct err *err)
{
	if (!http_spdy_block_inflate(&s->block, data, s->p.header_bytes, &s->plain))
		return session_error(s, "header block is damaged or too large", err);
	return http_spdy_block_parse(buf_span(&s->plain), out_fields, out_n) == 0;
}

static void remote_ended(struct http_spdy_stream *st)
{
	struct http_spdy *s = st->session;
	if (st->dead || st->remote_end)
		return;
	st->remote_end = true;
	if (s->p.ops->end)
		s->p.ops->end(st, s->p.arg);
	if (!st->dead)
		stream_check_end(st);
}

static int syn_stream(struct http_spdy *s, unsigned flags, struct span body, struct err *err)
{
	auto_free struct http_spdy_field *fields = NULL;
	unsigned n = 0;
	if (body.len < 10)
		return session_error(s, "SYN_STREAM is too short", err);
	uint32_t id = u32_at((const uint8_t *)body.ptr) & ID_MAX;
	int rc = fields_get(s, span_from(body, 10), &fields, &n, err);
	if (rc < 0)
		return rc;
	if (id == 0 || is_ours(s, id) || id <= s->last_peer_id)
		return session_error(s, "stream id out of order", err);
	if (s->goaway_sent)
		return 0;
	s->last_peer_id = id;
	if (rc == 0)
		return stream_error(s, id, HTTP_SPDY_PROTOCOL_ERROR, err);
	if (s->n_peers >= s->p.max_streams || !s->p.ops->open)
		return stream_error(s, id, HTTP_SPDY_REFUSED, err);
	struct http_spdy_stream *st = stream_new(s, id, flags);
	s->p.ops->open(st, fields, n, s->p.arg);
	if (flags & HTTP_SPDY_FIN)
		remote_ended(st);
	return 0;
}

/* SYN_REPLY and HEADERS. */
static int more_fields(struct http_spdy *s, unsigned type, unsigned flags, struct span body, struct err *err)
{
	auto_free struct http_spdy_field *fields = NULL;
	unsigned n = 0;
	if (body.len < 4)
		return session_error(s, "SYN_REPLY or HEADERS is too short", err);
	uint32_t id = u32_at((const uint8_t *)body.ptr) & ID_MAX;
	int rc = fields_get(s, span_from(body, 4), &fields, &n, err);
	if (rc < 0)
		return rc;
	struct http_spdy_stream *st = stream_find(s, id);
	if (!st)
		return stream_unknown(s, id, err);
	if (rc == 0 || (type == TYPE_SYN_REPLY && !st->ours))
		return stream_error(s, id, HTTP_SPDY_PROTOCOL_ERROR, err);
	if (st->remote_end)
		return stream_error(s, id, HTTP_SPDY_ALREADY_CLOSED, err);
	if (type == TYPE_SYN_REPLY && st->replied)
		return stream_error(s, id, HTTP_SPDY_IN_USE, err);
	if (type == TYPE_SYN_REPLY) {
		st->replied = true;
		if (s->p.ops->reply)
			s->p.ops->reply(st, fields, n, s->p.arg);
	} else if (s->p.ops->headers) {
		s->p.ops->headers(st, fields, n, s->p.arg);
	}
	if (flags & HTTP_SPDY_FIN)
		remote_ended(st);
	return 0;
}

static int settings(struct http_spdy *s, struct span body, struct err *err)
{
	const uint8_t *p = (const uint8_t *)body.ptr;
	if (body.len < 4 || (body.len - 4) / 8 != u32_at(p) || (body.len - 4) % 8)
		return session_error(s, "SETTINGS of a wrong length", err);
	for (size_t at = 4; at < body.len; at += 8) {
		uint32_t id = u32_at(p + at) & 0xffffff, value = u32_at(p + at + 4);
		if (id == SETTING_MAX_STREAMS)
			s->peer_max_streams = value;
		if (id != SETTING_INITIAL_WINDOW)
			continue;
		if (value > WINDOW_MAX)
			return session_error(s, "initial window is too large", err);
		/* Open streams move by the difference (section 2.6.8), perhaps below 0. */
		int64_t by = (int64_t)value - s->peer_initial_window;
		s->peer_initial_window = value;
		MAP_EACH(&s->streams, e)
			((struct http_spdy_stream *)e->value)->send_window += by;
	}
	flush_blocked(s);
	return 0;
}

static int window_update(struct http_spdy *s, uint32_t id, uint32_t delta, struct err *err)
{
	if (!s->p.flow_control)
		return 0;
	struct http_spdy_stream *st = id ? stream_find(s, id) : NULL;
	if (id && !st)
		return 0; /* late */
	int64_t *window = st ? &st->send_window : &s->send_window;
	if (delta == 0 || *window + delta > WINDOW_MAX)
		return st ? stream_error(s, id, HTTP_SPDY_FLOW_CONTROL_ERROR, err) :
			    session_error(s, "session window overflows", err);
	*window += delta;
	flush_blocked(s);
	return 0;
}

static void goaway(struct http_spdy *s, uint32_t last, uint32_t status)
{
	s->goaway_received = true;
	MAP_EACH(&s->streams, e) {
		struct http_spdy_stream *st = e->value;
		if (st->ours && st->id > last)
			stream_die(st, HTTP_SPDY_REFUSED);
	}
	if (s->p.ops->goaway)
		s->p.ops->goaway(s, last, status, s->p.arg);
}

static int control_frame(struct http_spdy *s, struct err *err)
{
	unsigned type = (unsigned)s->head[2] << 8 | s->head[3], flags = s->head[4];
	struct span body = buf_span(&s->control);
	const uint8_t *p = (const uint8_t *)body.ptr;
	if (type == TYPE_SYN_STREAM)
		return syn_stream(s, flags, body, err);
	if (type == TYPE_SYN_REPLY || type == TYPE_HEADERS)
		return more_fields(s, type, flags, body, err);
	if (type == TYPE_SETTINGS)
		return settings(s, body, err);
	size_t want = type == TYPE_PING ? 4 : 8;
	if (type != TYPE_RST_STREAM && type != TYPE_PING && type != TYPE_GOAWAY && type != TYPE_WINDOW_UPDATE)
		return 0; /* unknown types are ignored (section 2.2.1) */
	if (body.len != want)
		return session_error(s, "control frame of a wrong length", err);
	uint32_t a = u32_at(p), b = want == 8 ? u32_at(p + 4) : 0;
	if (type == TYPE_PING) {
		if (is_ours(s, a)) {
			if (s->p.ops->pong)
				s->p.ops->pong(s, a, s->p.arg);
		} else {
			control_put(s, TYPE_PING, 0, 4);
			u32_put(&s->out, a);
		}
	} else if (type == TYPE_RST_STREAM) {
		struct http_spdy_stream *st = stream_find(s, a & ID_MAX);
		if (st)
			stream_die(st, b ? b & 0xffff : HTTP_SPDY_PROTOCOL_ERROR);
	} else if (type == TYPE_GOAWAY) {
		goaway(s, a & ID_MAX, b);
	} else {
		return window_update(s, a & ID_MAX, b & ID_MAX, err);
	}
	return 0;
}

/* ---- reading data frames */

static int data_begin(struct http_spdy *s, struct err *err)
{
	uint32_t id = u32_at(s->head);
	struct http_spdy_stream *st = stream_find(s, id);
	if (s->p.flow_control) {
		s->recv_window -= s->left;
		if (s->recv_window < 0)
			return session_error(s, "more data than the session window", err);
	}
	if (!st)
		return stream_unknown(s, id, err);
	enum http_spdy_status wrong = HTTP_SPDY_OK;
	if (st->remote_end)
		wrong = HTTP_SPDY_ALREADY_CLOSED;
	else if (s->p.flow_control && (st->recv_window -= s->left) < 0)
		wrong = HTTP_SPDY_FLOW_CONTROL_ERROR;
	return wrong ? stream_error(s, id, wrong, err) : 0;
}

static void data_piece(struct http_spdy *s, struct span piece)
{
	struct http_spdy_stream *st = stream_find(s, u32_at(s->head));
	if (!st) { /* as good as consumed */
		session_credit(s, piece.len);
		return;
	}
	if (piece.len) {
		st->unconsumed += piece.len;
		s->unconsumed += piece.len;
		if (s->p.ops->data)
			s->p.ops->data(st, piece, s->p.arg);
		else
			http_spdy_consumed(st, piece.len);
	}
	if (!s->left && s->head[4] & HTTP_SPDY_FIN)
		remote_ended(st);
}

/* ---- the machine */

static int head_end(struct http_spdy *s, struct err *err)
{
	s->left = u32_at(s->head + 4) & 0xffffff;
	s->n_head = 0;
	if (!(s->head[0] & 0x80)) {
		s->state = DATA;
		return data_begin(s, err);
	}
	if ((u32_at(s->head) >> 16 & 0x7fff) != VERSION)
		return session_error(s, "frame of another version", err);
	if (s->left > s->p.control_bytes)
		return session_error(s, "control frame is too long", err);
	s->state = CONTROL;
	buf_trunc(&s->control, 0);
	return 0;
}

static int step(struct http_spdy *s, struct span *in, struct err *err)
{
	int rc = 0;
	size_t n;
	switch (s->state) {
	case HEAD:
		n = MIN(sizeof(s->head) - s->n_head, in->len);
		memcpy(s->head + s->n_head, in->ptr, n);
		s->n_head += (unsigned)n;
		*in = span_from(*in, n);
		if (s->n_head == sizeof(s->head))
			rc = head_end(s, err);
		/* A frame without a body is complete already. */
		if (rc < 0 || s->state == HEAD || s->left)
			return rc;
		__attribute__((fallthrough));
	case CONTROL:
	case DATA:
		n = MIN((size_t)s->left, in->len);
		s->left -= (uint32_t)n;
		if (s->state == DATA)
			data_piece(s, span_sub(*in, 0, n));
		else
			buf_add(&s->control, in->ptr, n);
		*in = span_from(*in, n);
		if (s->left)
			return 0;
		if (s->state == CONTROL)
			rc = control_frame(s, err);
		s->state = HEAD;
		buf_done(&s->control);
		return rc;
	}
	return rc;
}

int http_spdy_feed(struct http_spdy *s, struct span data, struct err *err)
{
	int rc = 0;
	while (data.len && rc == 0 && !s->over) {
		rc = step(s, &data, err);
		report(s);
	}
	return rc;
}

void http_spdy_end(struct http_spdy *s)
{
	session_end(s);
	report(s);
}

struct bytes *http_spdy_take(struct http_spdy *s)
{
	report(s);
	return s->out.len ? buf_seal(&s->out) : NULL;
}

size_t http_spdy_pending(const struct http_spdy *s)
{
	return s->out.len;
}

size_t http_spdy_unconsumed(const struct http_spdy *s)
{
	return s->unconsumed;
}

uint32_t http_spdy_stream_id(const struct http_spdy_stream *st)
{
	return st->id;
}

struct http_spdy *http_spdy_stream_session(const struct http_spdy_stream *st)
{
	return st->session;
}

void http_spdy_stream_set(struct http_spdy_stream *st, void *data)
{
	st->data = data;
}

void *http_spdy_stream_get(const struct http_spdy_stream *st)
{
	return st->data;
}

unsigned http_spdy_n_streams(const struct http_spdy *s)
{
	return s->n_ours + s->n_peers;
}

struct http_spdy *http_spdy_new(const struct http_spdy_params *p)
{
	struct http_spdy *s = mem_new(struct http_spdy);
	s->p = *p;
	if (!s->p.max_streams)
		s->p.max_streams = 1000;
	if (!s->p.control_bytes)
		s->p.control_bytes = 65536;
	if (!s->p.header_bytes)
		s->p.header_bytes = 65536;
	list_init(&s->closing);
	list_init(&s->blocked);
	s->next_id = s->next_ping = p->client ? 1 : 2;
	s->peer_max_streams = UINT32_MAX;
	s->peer_initial_window = s->send_window = s->recv_window = WINDOW;
	return s;
}

void http_spdy_free(struct http_spdy *s)
{
	if (!s)
		return;
	MAP_EACH(&s->streams, e)
		stream_free(e->value);
	LIST_EACH(&s->closing, st, struct http_spdy_stream, link)
		stream_free(st);
	map_done(&s->streams);
	http_spdy_block_done(&s->block);
	buf_done(&s->out);
	buf_done(&s->control);
	buf_done(&s->plain);
	free(s);
}
