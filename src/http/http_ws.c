/* A frame (RFC 6455 section 5.2), most significant bit first:
 *
 *     FIN:1 RSV:3 opcode:4 | MASK:1 length:7 | [length:16 or :64] | [mask:32] | payload
 *
 * Reading is a machine of two states: HEAD collects 2 to 14 bytes, PAYLOAD passes bytes on. Data payload is
 * unmasked in pieces through a small buffer on the stack; control payload (125 bytes at most) is collected.
 * Invariants:
 *  1. closed is called once; afterwards `over` is set and nothing is read or queued.
 *  2. in_message is the kind of the unfinished message, 0 between messages.
 *  3. pong_due holds the latest ping of a feed; it is answered when the feed returns. */
#include <openssl/sha.h>
#include "http/http_ws.h"

enum {
	OP_CONTINUE = 0,
	OP_CLOSE = 8,
	OP_PING = 9,
	OP_PONG = 10,
	HEAD_MAX = 14,
	CONTROL_MAX = 125,
	LIMIT_DEFAULT = 16 << 20,
};

/* UTF-8 in pieces: how many continuation bytes are due, and the range of the next. */
struct utf8_state {
	uint8_t due, lo, hi;
};

struct http_ws {
	struct http_ws_params p;
	struct buf out;

	uint8_t head[HEAD_MAX];
	uint8_t n_head;
	bool in_payload;
	uint8_t opcode;
	bool fin;
	uint8_t mask[4];
	unsigned mask_at;
	uint64_t left;           /* payload bytes still to come */
	uint8_t control[CONTROL_MAX];
	uint8_t n_control;

	uint8_t in_message;      /* kind */
	uint64_t message_bytes;
	struct utf8_state utf8;
	struct buf message;      /* with ops->message */

	uint8_t out_message;     /* kind of the message that http_ws_send has begun */
	bool close_sent, over;
	bool pong_due;
	uint8_t n_pong;
	uint8_t pong[CONTROL_MAX];
};

/* ---- UTF-8 */

/* Takes one byte; false when no well-formed text goes on so (RFC 3629 section 4). */
static bool utf8_step(struct utf8_state *s, uint8_t c)
{
	if (s->due) {
		if (c < s->lo || c > s->hi)
			return false;
		s->due--;
		s->lo = 0x80;
		s->hi = 0xbf;
		return true;
	}
	if (c < 0x80)
		return true;
	*s = (struct utf8_state){ .lo = 0x80, .hi = 0xbf };
	if (c >= 0xc2 && c <= 0xdf)
		s->due = 1;
	else if (c >= 0xe0 && c <= 0xef)
		s->due = 2;
	else if (c >= 0xf0 && c <= 0xf4)
		s->due = 3;
	else
		return false;
	if (c == 0xe0)
		s->lo = 0xa0; /* no overlong forms */
	else if (c == 0xed)
		s->hi = 0x9f; /* no surrogates */
	else if (c == 0xf0)
		s->lo = 0x90;
	else if (c == 0xf4)
		s->hi = 0x8f; /* nothing above U+10FFFF */
	return true;
}

static bool utf8_feed(struct utf8_state *s, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!utf8_step(s, (uint8_t)data[i]))
			return false;
	return true;
}

/* ---- writing */

static void frame_write(struct http_ws *ws, uint8_t opcode, bool fin, struct span data)
{
	uint8_t head[HEAD_MAX];
	size_t n = 2;
	head[0] = (uint8_t)((fin ? 0x80 : 0) | opcode);
	if (data.len < 126) {
		head[1] = (uint8_t)data.len;
	} else if (data.len <= 0xffff) {
		head[1] = 126;
		head[n++] = (uint8_t)(data.len >> 8);
		head[n++] = (uint8_t)data.len;
	} else {
		head[1] = 127;
		for (int shift = 56; shift >= 0; shift -= 8)
			head[n++] = (uint8_t)((uint64_t)data.len >> shift);
	}
	if (!ws->p.client) {
		buf_add(&ws->out, head, n);
		buf_span_add(&ws->out, data);
		return;
	}
	uint8_t mask[4];
	if (ws->p.mask) {
		uint32_t m = ws->p.mask(ws->p.arg);
		memcpy(mask, &m, 4);
	} else {
		rng_secret(mask, 4);
	}
	head[1] |= 0x80;
	memcpy(head + n, mask, 4);
	buf_add(&ws->out, head, n + 4);
	char *to = buf_reserve(&ws->out, data.len);
	for (size_t i = 0; i < data.len; i++)
		to[i] = (char)((uint8_t)data.ptr[i] ^ mask[i & 3]);
	buf_commit(&ws->out, data.len);
}

void http_ws_send(struct http_ws *ws, enum http_ws_kind kind, struct span data, bool last)
{
	if (ws->close_sent || ws->over)
		return;
	frame_write(ws, ws->out_message ? OP_CONTINUE : (uint8_t)kind, last, data);
	ws->out_message = last ? 0 : (uint8_t)kind;
}

void http_ws_ping(struct http_ws *ws, struct span payload)
{
	if (!ws->close_sent && !ws->over)
		frame_write(ws, OP_PING, true, span_sub(payload, 0, CONTROL_MAX));
}

void http_ws_close(struct http_ws *ws, unsigned code, struct span reason)
{
	if (ws->close_sent || ws->over)
		return;
	ws->close_sent = true;
	char payload[CONTROL_MAX];
	size_t n = 0;
	if (code) {
		payload[n++] = (char)(code >> 8);
		payload[n++] = (char)code;
		/* Cut between characters: the peer checks the reason's encoding. */
		size_t keep = MIN(reason.len, sizeof(payload) - 2);
		while (keep > 0 && keep < reason.len && ((uint8_t)reason.ptr[keep] & 0xc0) == 0x80)
			keep--;
		if (keep)
			memcpy(payload + n, reason.ptr, keep);
		n += keep;
	}
	frame_write(ws, OP_CLOSE, true, span_make(payload, n));
}

struct bytes *http_ws_take(struct http_ws *ws)
{
	return ws->out.len ? buf_seal(&ws->out) : NULL;
}

size_t http_ws_pending(const struct http_ws *ws)
{
	return ws->out.len;
}

/* ---- reading */

static void set_over(struct http_ws *ws, unsigned code, struct span reason)
{
	ws->over = true;
	buf_done(&ws->message);
	if (ws->p.ops->closed)
		ws->p.ops->closed(ws, code, reason, ws->p.arg);
}

static int violation(struct http_ws *ws, enum http_ws_code code, const char *why, struct err *err)
{
	http_ws_close(ws, code, span_of(why));
	set_over(ws, code, span_of(why));
	return err_set(err, ERR_UPSTREAM, "websocket: %s", why);
}

/* Codes that may stand in a Close frame (section 7.4; 1012-1014 were registered later). */
static bool code_good(unsigned code)
{
	return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
	       (code >= 3000 && code <= 4999);
}

static int close_received(struct http_ws *ws, struct err *err)
{
	unsigned code = HTTP_WS_NO_CODE;
	struct span reason = SPAN_EMPTY;
	if (ws->n_control == 1)
		return violation(ws, HTTP_WS_PROTOCOL_ERROR, "close frame of one byte", err);
	if (ws->n_control) {
		code = (unsigned)ws->control[0] << 8 | ws->control[1];
		reason = span_make(ws->control + 2, ws->n_control - 2u);
		if (!code_good(code))
			return violation(ws, HTTP_WS_PROTOCOL_ERROR, "close code that must not be sent", err);
		if (!utf8_valid(reason))
			return violation(ws, HTTP_WS_BAD_DATA, "close reason is not UTF-8", err);
	}
	http_ws_close(ws, ws->n_control ? code : 0, SPAN_EMPTY);
	set_over(ws, code, reason);
	return 0;
}

static int control_end(struct http_ws *ws, struct err *err)
{
	if (ws->opcode == OP_CLOSE)
		return close_received(ws, err);
	if (ws->opcode == OP_PING) {
		memcpy(ws->pong, ws->control, ws->n_control);
		ws->n_pong = ws->n_control;
		ws->pong_due = true;
	} else if (ws->p.ops->pong) {
		ws->p.ops->pong(ws, span_make(ws->control, ws->n_control), ws->p.arg);
	}
	return 0;
}

/* A piece of data payload, unmasked; end: the frame's last. */
static int data_piece(struct http_ws *ws, struct span piece, bool end, struct err *err)
{
	bool last = end && ws->fin;
	enum http_ws_kind kind = (enum http_ws_kind)ws->in_message;
	if (kind == HTTP_WS_TEXT &&
	    (!utf8_feed(&ws->utf8, piece.ptr, piece.len) || (last && ws->utf8.due)))
		return violation(ws, HTTP_WS_BAD_DATA, "text message is not UTF-8", err);
	if (last)
		ws->in_message = 0;
	if (ws->close_sent)
		return 0;
	if (!ws->p.ops->message) {
		if (ws->p.ops->part && (piece.len || last))
			ws->p.ops->part(ws, kind, piece, last, ws->p.arg);
		return 0;
	}
	buf_span_add(&ws->message, piece);
	if (last) {
		struct buf whole = ws->message;
		ws->message = (struct buf){};
		ws->p.ops->message(ws, kind, buf_span(&whole), ws->p.arg);
		buf_done(&whole);
	}
	return 0;
}

static size_t head_need(const struct http_ws *ws)
{
	if (ws->n_head < 2)
		return 2;
	unsigned len = ws->head[1] & 0x7f;
	return 2u + (len == 126 ? 2 : len == 127 ? 8 : 0) + (ws->head[1] & 0x80 ? 4 : 0);
}

/* The first two bytes say already what is wrong with most frames. */
static int head_check(struct http_ws *ws, struct err *err)
{
	uint8_t opcode = ws->head[0] & 15, len = ws->head[1] & 0x7f;
	bool fin = ws->head[0] & 0x80, masked = ws->head[1] & 0x80;
	if (ws->head[0] & 0x70)
		return violation(ws, HTTP_WS_PROTOCOL_ERROR, "reserved bits are set", err);
	if ((opcode > HTTP_WS_BINARY && opcode < OP_CLOSE) || opcode > OP_PONG)
		return violation(ws, HTTP_WS_PROTOCOL_ERROR, "unknown opcode", err);
	if (masked == ws->p.client)
		return violation(ws, HTTP_WS_PROTOCOL_ERROR,
				 masked ? "server sent a masked frame" : "client sent an unmasked frame", err);
	if (opcode >= OP_CLOSE && (!fin || len > CONTROL_MAX))
		return violation(ws, HTTP_WS_PROTOCOL_ERROR, "control frame is fragmented or too long", err);
	if (opcode == OP_CONTINUE && !ws->in_message)
		return violation(ws, HTTP_WS_PROTOCOL_ERROR, "continuation without a message", err);
	if (opcode != OP_CONTINUE && opcode < OP_CLOSE && ws->in_message)
		return violation(ws, HTTP_WS_PROTOCOL_ERROR, "new message inside a message", err);
	return 0;
}

static int head_end(struct http_ws *ws, struct err *err)
{
	unsigned short_len = ws->head[1] & 0x7f, n = 2;
	uint64_t len = short_len;
	if (short_len >= 126) {
		len = 0;
		for (unsigned k = short_len == 126 ? 2 : 8; k > 0; k--)
			len = len << 8 | ws->head[n++];
		/* "the minimal number of bytes MUST be used"; the top bit must be 0. */
		if (len < (short_len == 126 ? 126u : 65536u) || len >> 63)
			return violation(ws, HTTP_WS_PROTOCOL_ERROR, "bad length", err);
	}
	memset(ws->mask, 0, sizeof(ws->mask));
	if (ws->head[1] & 0x80)
		memcpy(ws->mask, ws->head + n, 4);
	ws->mask_at = 0;
	ws->opcode = ws->head[0] & 15;
	ws->fin = ws->head[0] & 0x80;
	ws->left = len;
	ws->n_head = 0;
	ws->n_control = 0;
	if (ws->opcode >= OP_CLOSE)
		return len ? 0 : control_end(ws, err);
	if (ws->opcode != OP_CONTINUE) {
		ws->in_message = ws->opcode;
		ws->message_bytes = 0;
		ws->utf8 = (struct utf8_state){};
	}
	if (len > ws->p.message_limit - ws->message_bytes)
		return violation(ws, HTTP_WS_TOO_LARGE, "message is too large", err);
	ws->message_bytes += len;
	return len ? 0 : data_piece(ws, SPAN(""), true, err);
}

/* Takes up to `left` bytes of payload; returns how many, or -class. */
static ptrdiff_t payload_take(struct http_ws *ws, struct span in, struct err *err)
{
	char plain[4096];
	size_t n = MIN(in.len, sizeof(plain));
	if (n > ws->left)
		n = (size_t)ws->left;
	for (size_t i = 0; i < n; i++)
		plain[i] = (char)((uint8_t)in.ptr[i] ^ ws->mask[(ws->mask_at + i) & 3]);
	ws->mask_at += (unsigned)n & 3;
	ws->left -= n;
	int rc = 0;
	if (ws->opcode >= OP_CLOSE) {
		memcpy(ws->control + ws->n_control, plain, n);
		ws->n_control = (uint8_t)(ws->n_control + n);
		if (!ws->left)
			rc = control_end(ws, err);
	} else {
		rc = data_piece(ws, span_make(plain, n), !ws->left, err);
	}
	return rc < 0 ? rc : (ptrdiff_t)n;
}

static int feed(struct http_ws *ws, struct span in, struct err *err)
{
	while (in.len && !ws->over) {
		if (ws->in_payload) {
			ptrdiff_t n = payload_take(ws, in, err);
			if (n < 0)
				return (int)n;
			in = span_from(in, (size_t)n);
			ws->in_payload = ws->left > 0;
			continue;
		}
		ws->head[ws->n_head++] = (uint8_t)*in.ptr;
		in = span_from(in, 1);
		int rc = ws->n_head == 2 ? head_check(ws, err) : 0;
		if (rc == 0 && ws->n_head >= 2 && ws->n_head == head_need(ws)) {
			rc = head_end(ws, err);
			ws->in_payload = ws->left > 0;
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

int http_ws_feed(struct http_ws *ws, struct span data, struct err *err)
{
	int rc = feed(ws, data, err);
	if (ws->pong_due && !ws->close_sent && !ws->over)
		frame_write(ws, OP_PONG, true, span_make(ws->pong, ws->n_pong));
	ws->pong_due = false;
	return rc;
}

void http_ws_end(struct http_ws *ws)
{
	if (!ws->over)
		set_over(ws, HTTP_WS_ABNORMAL, SPAN("connection ended without a close frame"));
}

bool http_ws_over(const struct http_ws *ws)
{
	return ws->over;
}

struct http_ws *http_ws_new(const struct http_ws_params *p)
{
	struct http_ws *ws = mem_new(struct http_ws);
	ws->p = *p;
	if (!ws->p.message_limit)
		ws->p.message_limit = LIMIT_DEFAULT;
	return ws;
}

void http_ws_free(struct http_ws *ws)
{
	if (!ws)
		return;
	buf_done(&ws->out);
	buf_done(&ws->message);
	free(ws);
}

/* ---- handshake */

bool http_ws_accept(struct span key, char out[29])
{
	auto_buf struct buf text = {}, raw = {};
	if (!base64_parse(&raw, BASE64_STD, key) || raw.len != 16 || key.len != 24)
		return false;
	buf_span_add(&text, key);
	buf_str(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	uint8_t sha1[20];
	SHA1((const uint8_t *)text.ptr, text.len, sha1);
	buf_trunc(&text, 0);
	base64_add(&text, BASE64_STD, sha1, sizeof(sha1));
	memcpy(out, text.ptr, 28);
	out[28] = 0;
	return true;
}

void http_ws_key(char out[25])
{
	auto_buf struct buf text = {};
	uint8_t raw[16];
	rng_secret(raw, sizeof(raw));
	base64_add(&text, BASE64_STD, raw, sizeof(raw));
	memcpy(out, text.ptr, 24);
	out[24] = 0;
}

const char *http_ws_protocol(struct span offered, const char *const *ours)
{
	struct span one;
	while (span_cut(&offered, ',', &one))
		for (const char *const *name = ours; *name; name++)
			if (span_is(span_trim(one), *name))
				return *name;
	return NULL;
}
