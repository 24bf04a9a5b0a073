/* Header blocks go through three gates: the guard (one pass over raw bytes, incremental), llhttp in strict mode on the
 * complete block, and a check of what the fields mean together. Bodies are framed here, not by llhttp: it is given
 * header blocks only. llhttp 8.1.0 takes a bare LF behind a chunk size and any amount of chunk extensions;
 * smuggling and floods live there, and the strict form is short.
 *
 *     guard      START ─▶ FIRST ─▶ CR ─▶ LINE ─▶ NAME ─▶ VALUE ─▶ CR ...
 *                                         └─▶ END_CR ─▶ done
 *     chunked    SIZE ─▶ [EXT] ─▶ SIZE_LF ─▶ DATA ─▶ DATA_CR ─▶ DATA_LF ─▶ SIZE ... size 0 ─▶ TRAILERS ─▶ done */
#include "http/http_wire.h"

#include <llhttp/llhttp.h>

/* ---- character classes ---- */

enum { TOKEN = 1, VALUE = 2 };

static uint8_t class_of(unsigned char c)
{
	uint8_t class = 0;
	if (c == '\t' || (c >= 0x20 && c != 0x7f))
		class |= VALUE;
	if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c)))
		class |= TOKEN;
	return class;
}

static uint8_t classes[256];

__attribute__((constructor)) static void classes_make(void)
{
	for (unsigned c = 0; c < 256; c++)
		classes[c] = class_of((unsigned char)c);
}

static inline bool is(char c, uint8_t class)
{
	return classes[(unsigned char)c] & class;
}

bool http_is_token(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is(s.ptr[i], TOKEN))
			return false;
	return s.len > 0;
}

bool http_value_ok(struct span value)
{
	for (size_t i = 0; i < value.len; i++)
		if (!is(value.ptr[i], VALUE))
			return false;
	return true;
}

/* ---- the guard ---- */

enum { G_START, G_START_CR, G_FIRST, G_CR, G_LINE, G_NAME, G_VALUE, G_END_CR };
enum { BLANK_LINES_MAX = 4 };

void http_guard_fields_begin(struct http_guard *g)
{
	*g = (struct http_guard){ .state = G_LINE };
}

int http_guard_feed(struct http_guard *g, struct span data, size_t *out_used, const char **out_why)
{
	const char *p = data.ptr, *end = p + data.len;
	const char *why = NULL;
	while (p < end) {
		char c = *p;
		switch (g->state) {
		case G_START:
			if (c == '\r' || (c == '\n' && g->bare_lf)) { /* empty lines before a request are skipped (RFC 9112 section 2.2) */
				g->state = G_START_CR;
				p += c == '\r';
				continue;
			}
			g->state = G_FIRST;
			continue;
		case G_START_CR:
			if (c != '\n' || ++g->blank_lines > BLANK_LINES_MAX) {
				why = "no request line";
				goto bad;
			}
			g->state = G_START;
			break;
		case G_FIRST:
			while (p < end && is(*p, VALUE))
				p++;
			if (p == end)
				goto more;
			if (*p != '\r' && !(*p == '\n' && g->bare_lf)) {
				why = "control character in the start line";
				goto bad;
			}
			g->state = G_CR;
			p += *p == '\r';
			continue;
		case G_CR:
			if (c != '\n') {
				why = "CR without LF";
				goto bad;
			}
			if (!g->start_line)
				g->start_line = g->seen + (uint32_t)(p + 1 - data.ptr);
			g->state = G_LINE;
			break;
		case G_LINE:
			if (c == '\r' || (c == '\n' && g->bare_lf)) {
				g->state = G_END_CR;
				p += c == '\r';
				continue;
			}
			if (!is(c, TOKEN)) {
				why = c == ' ' || c == '\t' ? "folded header line" : "character not allowed in a header name";
				goto bad;
			}
			g->lines++;
			g->state = G_NAME;
			break;
		case G_NAME:
			while (p < end && is(*p, TOKEN))
				p++;
			if (p == end)
				goto more;
			if (*p != ':') {
				why = *p == ' ' || *p == '\t' ? "blank before a header's colon" :
					"character not allowed in a header name";
				goto bad;
			}
			g->state = G_VALUE;
			break;
		case G_VALUE:
			while (p < end && is(*p, VALUE))
				p++;
			if (p == end)
				goto more;
			if (*p != '\r' && !(*p == '\n' && g->bare_lf)) {
				why = "control character in a header value";
				goto bad;
			}
			g->state = G_CR;
			p += *p == '\r';
			continue;
		case G_END_CR:
			if (c != '\n') {
				why = "CR without LF";
				goto bad;
			}
			p++;
			*out_used = (size_t)(p - data.ptr);
			g->seen += (uint32_t)*out_used;
			return HTTP_GUARD_DONE;
		}
		p++;
	}
more:
	*out_used = data.len;
	g->seen += (uint32_t)data.len;
	return HTTP_GUARD_MORE;
bad:
	*out_used = (size_t)(p - data.ptr);
	*out_why = why;
	return HTTP_GUARD_BAD;
}

void http_lines_end(struct span block, struct buf *out)
{
	for (size_t i = 0; i < block.len; i++) {
		if (block.ptr[i] == '\n' && (!i || block.ptr[i - 1] != '\r'))
			buf_chr(out, '\r');
		buf_chr(out, block.ptr[i]);
	}
}

/* ---- heads ---- */

void http_head_done(struct http_head *h)
{
	free(h->text);
	free(h->items);
	*h = (struct http_head){};
}

static uint32_t text_add(struct http_head *h, struct span s, bool lower)
{
	uint32_t at = h->len;
	if (s.len > h->cap - h->len) {
		size_t cap = MAX((size_t)h->cap * 2, (size_t)256);
		while (cap < h->len + s.len)
			cap *= 2;
		assert(cap <= UINT32_MAX);
		h->text = mem_realloc(h->text, cap);
		h->cap = (uint32_t)cap;
	}
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		h->text[at + i] = lower && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	h->len += (uint32_t)s.len;
	return at;
}

void http_head_add(struct http_head *h, struct span name, struct span value, bool lower)
{
	MEM_GROW(h->items, h->n, h->cap_items);
	uint32_t name_at = text_add(h, name, lower), value_at = text_add(h, value, false);
	h->items[h->n++] = (struct http_field){ { (const char *)(uintptr_t)name_at, name.len },
		{ (const char *)(uintptr_t)value_at, value.len } };
}

void http_head_fix(struct http_head *h)
{
	for (unsigned i = 0; i < h->n; i++) {
		h->items[i].name.ptr = h->text + (uintptr_t)h->items[i].name.ptr;
		h->items[i].value.ptr = h->text + (uintptr_t)h->items[i].value.ptr;
	}
}

/* ---- llhttp on a complete block ---- */

struct parsing {
	struct http_head *head;
	struct http_start *start;
	unsigned max_fields;
	bool too_many;
};

static int on_method(llhttp_t *p, const char *at, size_t len)
{
	struct parsing *s = p->data;
	s->start->method = span_make(at, len);
	return 0;
}

static int on_url(llhttp_t *p, const char *at, size_t len)
{
	struct parsing *s = p->data;
	s->start->target = span_make(at, len);
	return 0;
}

static int on_field(llhttp_t *p, const char *at, size_t len)
{
	struct parsing *s = p->data;
	struct http_head *h = s->head;
	if (h->n >= s->max_fields) {
		s->too_many = true;
		return -1;
	}
	MEM_GROW(h->items, h->n, h->cap_items);
	h->items[h->n++] = (struct http_field){ .name = { at, len } };
	return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t len)
{
	struct parsing *s = p->data;
	struct http_field *f = &s->head->items[s->head->n - 1];
	/* One call a value: the block is whole and has no folded lines. */
	f->value = span_trim(span_make(at, len));
	return 0;
}

static int on_headers_complete(llhttp_t *p)
{
	struct parsing *s = p->data;
	s->start->version = p->http_major * 10 + p->http_minor;
	s->start->status = p->status_code;
	s->start->chunked = p->flags & F_CHUNKED;
	s->start->has_length = p->flags & F_CONTENT_LENGTH;
	s->start->length = p->content_length;
	s->start->other_coding = (p->flags & F_TRANSFER_ENCODING) && !(p->flags & F_CHUNKED);
	if (p->http_major == 1 && p->http_minor == 1)
		s->start->keep_alive = !(p->flags & F_CONNECTION_CLOSE);
	else
		s->start->keep_alive = p->flags & F_CONNECTION_KEEP_ALIVE;
	return 2; /* stop here: the body is framed by us */
}

static unsigned count(const struct http_head *h, const char *name, struct span *out_last)
{
	unsigned n = 0;
	for (unsigned i = 0; i < h->n; i++)
		if (span_eq_nocase(h->items[i].name, span_of(name))) {
			n++;
			*out_last = h->items[i].value;
		}
	return n;
}

/* What the fields mean together (RFC 9112 section 6.3, 3.2). */
static const char *meaning_bad(bool request, const struct http_head *h, struct http_start *s)
{
	struct span v = SPAN_EMPTY;
	unsigned lengths = count(h, "content-length", &v);
	if (lengths > 1)
		return "several Content-Length fields";
	uint64_t n;
	if (lengths && (!span_to_u64(v, &n) || n != s->length || n > INT64_MAX))
		return "Content-Length is not a number";
	unsigned codings = count(h, "transfer-encoding", &v);
	if (codings && lengths)
		return "Content-Length and Transfer-Encoding together";
	if (codings && s->version < 11)
		return "Transfer-Encoding in HTTP/1.0";
	if (codings > 1)
		return "several Transfer-Encoding fields";
	if (codings && !span_eq_nocase(v, SPAN("chunked"))) {
		s->chunked = false;
		s->other_coding = true;
	}
	if (codings && !s->chunked && !s->other_coding)
		return "Transfer-Encoding makes no sense";
	if (!request)
		return NULL;
	unsigned hosts = count(h, "host", &v);
	if (hosts > 1)
		return "several Host fields";
	if (!hosts && s->version >= 11)
		return "no Host field";
	for (size_t i = 0; hosts && i < v.len; i++)
		if ((unsigned char)v.ptr[i] <= ' ' || (unsigned char)v.ptr[i] >= 0x7f || strchr("/\\?#@,\"<>", v.ptr[i]))
			return "Host makes no sense";
	return NULL;
}

int http_block_parse(bool request, struct span block, unsigned max_fields, struct http_head *out_head,
	struct http_start *out_start, const char **out_why)
{
	static const llhttp_settings_t settings = {
		.on_method = on_method, .on_url = on_url, .on_header_field = on_field, .on_header_value = on_value,
		.on_headers_complete = on_headers_complete,
	};
	assert(block.len < UINT32_MAX && !out_head->text);
	while (block.len && (*block.ptr == '\r' || *block.ptr == '\n'))
		block = span_from(block, 1);
	out_head->text = mem_dup(block.ptr, block.len);
	out_head->len = out_head->cap = (uint32_t)block.len;
	*out_start = (struct http_start){};
	struct parsing s = { .head = out_head, .start = out_start, .max_fields = max_fields };
	llhttp_t parser;
	llhttp_init(&parser, request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
	parser.data = &s;
	llhttp_errno_t rc = llhttp_execute(&parser, out_head->text, block.len);
	if (s.too_many)
		return -2;
	if (rc != HPE_PAUSED_UPGRADE) {
		const char *reason = llhttp_get_error_reason(&parser);
		*out_why = rc == HPE_OK || !reason || !*reason ? "the header block does not parse" : reason;
		return -1;
	}
	/* One blank between the parts of a request line, no more (llhttp lets several pass). */
	if (request) {
		struct span t = out_start->target;
		struct span behind = span_from(span_make(out_head->text, block.len), (size_t)(t.ptr - out_head->text) + t.len);
		if (t.ptr != out_start->method.ptr + out_start->method.len + 1 || !span_starts(behind, SPAN(" HTTP/"))) {
			*out_why = "blanks in the request line";
			return -1;
		}
	}
	*out_why = meaning_bad(request, out_head, out_start);
	return *out_why ? -1 : 0;
}

int http_trailers_parse(struct span block, unsigned max_fields, struct http_head *out_head)
{
	out_head->text = mem_dup(block.ptr, block.len);
	out_head->len = out_head->cap = (uint32_t)block.len;
	struct span rest = span_make(out_head->text, block.len), line, name, value;
	while (span_cut(&rest, '\n', &line)) {
		if (!span_split(line, ':', &name, &value))
			continue; /* the empty last line */
		if (out_head->n >= max_fields)
			return -2;
		MEM_GROW(out_head->items, out_head->n, out_head->cap_items);
		out_head->items[out_head->n++] = (struct http_field){ name, span_trim(value) };
	}
	return 0;
}

/* ---- chunked bodies ---- */

enum { C_SIZE, C_EXT, C_SIZE_LF, C_DATA, C_DATA_CR, C_DATA_LF, C_TRAILERS, C_END };
/* A chunk of 1 byte has 6 bytes around it. More framing than this between two bytes of data is an attack. */
enum { EXTENSION_MAX = 1024, OVERHEAD_MAX = 4096, TRAILERS_MAX = 16384 };

void http_chunked_done(struct http_chunked *c)
{
	buf_done(&c->trailers);
}

int http_chunked_next(struct http_chunked *c, struct span *in, struct span *out_data, const char **out_why)
{
	while (in->len) {
		if (c->state == C_DATA) {
			size_t n = (size_t)MIN((uint64_t)in->len, c->left);
			*out_data = span_sub(*in, 0, n);
			*in = span_from(*in, n);
			c->left -= n;
			c->overhead = 0;
			if (!c->left)
				c->state = C_DATA_CR;
			return HTTP_CHUNK_DATA;
		}
		if (c->state == C_TRAILERS) {
			size_t used;
			int rc = http_guard_feed(&c->guard, *in, &used, out_why);
			if (rc == HTTP_GUARD_BAD)
				return HTTP_CHUNK_BAD;
			if (c->trailers.len + used > TRAILERS_MAX) {
				*out_why = "trailers too long";
				return HTTP_CHUNK_BAD;
			}
			buf_add(&c->trailers, in->ptr, used);
			*in = span_from(*in, used);
			if (rc == HTTP_GUARD_DONE) {
				c->state = C_END;
				return HTTP_CHUNK_END;
			}
			return HTTP_CHUNK_MORE;
		}
		char ch = *in->ptr;
		switch (c->state) {
		case C_SIZE: {
			int digit = hex_value(ch);
			if (digit >= 0) {
				if (++c->digits > 15) {
					*out_why = "chunk too large";
					return HTTP_CHUNK_BAD;
				}
				c->left = c->left << 4 | (unsigned)digit;
			} else if (!c->digits || (ch != '\r' && ch != ';')) {
				*out_why = "chunk size makes no sense";
				return HTTP_CHUNK_BAD;
			} else {
				c->state = ch == ';' ? C_EXT : C_SIZE_LF;
				c->extension = 0;
			}
			break;
		}
		case C_EXT: /* read and ignored, within bounds (RFC 9112 section 7.1.1) */
			if (ch == '\r') {
				c->state = C_SIZE_LF;
			} else if (!is(ch, VALUE) || ++c->extension > EXTENSION_MAX) {
				*out_why = "chunk extension makes no sense";
				return HTTP_CHUNK_BAD;
			}
			break;
		case C_SIZE_LF:
			if (ch != '\n') {
				*out_why = "CR without LF behind a chunk size";
				return HTTP_CHUNK_BAD;
			}
			c->digits = 0;
			c->state = c->left ? C_DATA : C_TRAILERS;
			if (!c->left)
				http_guard_fields_begin(&c->guard);
			break;
		case C_DATA_CR:
		case C_DATA_LF:
			if (ch != (c->state == C_DATA_CR ? '\r' : '\n')) {
				*out_why = "no line end behind a chunk";
				return HTTP_CHUNK_BAD;
			}
			c->state = c->state == C_DATA_CR ? C_DATA_LF : C_SIZE;
			break;
		case C_END:
			return HTTP_CHUNK_END;
		}
		*in = span_from(*in, 1);
		if (++c->overhead > OVERHEAD_MAX) {
			*out_why = "more framing than data";
			return HTTP_CHUNK_BAD;
		}
	}
	return c->state == C_END ? HTTP_CHUNK_END : HTTP_CHUNK_MORE;
}

/* ---- fields ---- */

struct span http_fields_get(const struct http_fields *f, const char *name)
{
	struct span want = span_of(name);
	for (unsigned i = 0; i < f->n; i++)
		if (f->items[i].name.len == want.len && span_eq_nocase(f->items[i].name, want))
			return f->items[i].value.ptr ? f->items[i].value : SPAN("");
	return SPAN_EMPTY;
}

bool http_fields_has(const struct http_fields *f, const char *name)
{
	return http_fields_get(f, name).ptr != NULL;
}

bool http_fields_token(const struct http_fields *f, const char *name, const char *token)
{
	struct span want = span_of(name);
	for (unsigned i = 0; i < f->n; i++) {
		if (!span_eq_nocase(f->items[i].name, want))
			continue;
		struct span rest = f->items[i].value, part, head, tail;
		while (span_cut(&rest, ',', &part)) {
			span_split(part, ';', &head, &tail);
			if (span_eq_nocase(span_trim(head), span_of(token)))
				return true;
		}
	}
	return false;
}

const char *http_status_text(int status)
{
	switch (status) {
#define TEXT(code, words) case code: return words;
	TEXT(100, "Continue") TEXT(101, "Switching Protocols") TEXT(103, "Early Hints")
	TEXT(200, "OK") TEXT(201, "Created") TEXT(202, "Accepted") TEXT(203, "Non-Authoritative Information")
	TEXT(204, "No Content") TEXT(205, "Reset Content") TEXT(206, "Partial Content")
	TEXT(300, "Multiple Choices") TEXT(301, "Moved Permanently") TEXT(302, "Found") TEXT(303, "See Other")
	TEXT(304, "Not Modified") TEXT(307, "Temporary Redirect") TEXT(308, "Permanent Redirect")
	TEXT(400, "Bad Request") TEXT(401, "Unauthorized") TEXT(403, "Forbidden") TEXT(404, "Not Found")
	TEXT(405, "Method Not Allowed") TEXT(406, "Not Acceptable") TEXT(407, "Proxy Authentication Required")
	TEXT(408, "Request Timeout") TEXT(409, "Conflict") TEXT(410, "Gone") TEXT(411, "Length Required")
	TEXT(412, "Precondition Failed") TEXT(413, "Request Entity Too Large") TEXT(414, "URI Too Long")
	TEXT(415, "Unsupported Media Type") TEXT(416, "Range Not Satisfiable") TEXT(417, "Expectation Failed")
	TEXT(421, "Misdirected Request") TEXT(422, "Unprocessable Entity") TEXT(423, "Locked") TEXT(426, "Upgrade Required")
	TEXT(428, "Precondition Required") TEXT(429, "Too Many Requests") TEXT(431, "Request Header Fields Too Large")
	TEXT(500, "Internal Server Error") TEXT(501, "Not Implemented") TEXT(502, "Bad Gateway")
	TEXT(503, "Service Unavailable") TEXT(504, "Gateway Timeout") TEXT(505, "HTTP Version Not Supported")
	TEXT(507, "Insufficient Storage")
#undef TEXT
	default: return "Unknown";
	}
}
