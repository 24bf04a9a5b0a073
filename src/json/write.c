/* The writer: trees and streams of values to text, in the bytes that Go's encoding/json would send.
 *
 * Strings dominate. A piece of at most 256 bytes gets room for its worst case in the output (six bytes
 * for one), is copied 16 bytes at a time, and the copy stops where a byte needs a thought. A buf with a limit must
 * not be asked for the worst case, or a text that fits would be refused: there the piece is made in a block on
 * the stack and appended. */
#include "json/json.h"
#include "json/private.h"
#include "json/scan.h"

enum {
	PIECE = 256,
	PIECE_ROOM = (PIECE + 4) * 6 + 16 + 4, /* worst case, one wide store past the end, and quotes around */
};

/* ---- strings */
static char *hex_escape(char *to, unsigned code)
{
	static const char digits[] = "0123456789abcdef";
	memcpy(to, "\\u", 2);
	to[2] = digits[code >> 12 & 15];
	to[3] = digits[code >> 8 & 15];
	to[4] = digits[code >> 4 & 15];
	to[5] = digits[code & 15];
	return to + 6;
}

/* What stands for c, an ASCII byte that is not plain. Go 1.22 and later: \b and \f have their short form. */
static char *ascii_escape(char *to, unsigned char c)
{
	char brief = 0;
	switch (c) {
	case '"': brief = '"'; break;
	case '\\': brief = '\\'; break;
	case '\b': brief = 'b'; break;
	case '\f': brief = 'f'; break;
	case '\n': brief = 'n'; break;
	case '\r': brief = 'r'; break;
	case '\t': brief = 't'; break;
	default:
		return hex_escape(to, c);
	}
	to[0] = '\\';
	to[1] = brief;
	return to + 2;
}

/* One sequence of bytes that are not ASCII. */
static const char *wide(const char *s, const char *end, char **to)
{
	uint32_t code;
	size_t n = utf8_next(span_make(s, (size_t)(end - s)), &code);
	if (n == 0) {
		*to = hex_escape(*to, 0xfffd);
		return s + 1;
	}
	if (code == 0x2028 || code == 0x2029) {
		*to = hex_escape(*to, code);
	} else {
		memcpy(*to, s, n);
		*to += n;
	}
	return s + n;
}

/* Writes [*ps, stop), and the rest of a sequence that begins before stop, to `to`; returns behind it. */
static inline char *piece(const char **ps, const char *stop, const char *end, bool html, char *to)
{
	const char *s = *ps;
	while (s < stop) {
#if defined(__SSE2__)
		while (stop - s >= 16) {
			unsigned hit = scan_mask16(s, html);
			_mm_storeu_si128((__m128i *)to, _mm_loadu_si128((const __m128i *)s));
			if (hit) {
				unsigned n = (unsigned)__builtin_ctz(hit);
				s += n;
				to += n;
				goto thought;
			}
			s += 16;
			to += 16;
		}
#endif
		{
			const char *plain = scan_plain_portable(s, stop, html);
			size_t n = (size_t)(plain - s);
			memcpy(to, s, n);
			to += n;
			s = plain;
		}
		if (s == stop)
			break;
#if defined(__SSE2__)
	thought:
#endif
		if ((unsigned char)*s >= 0x80)
			s = wide(s, end, &to);
		else
			to = ascii_escape(to, (unsigned char)*s++);
	}
	*ps = s;
	return to;
}

/* Room for n bytes and the 0 behind them, in a buf without a limit. */
static inline char *room(struct buf *out, size_t n)
{
	return likely(out->cap - out->len > n) ? out->ptr + out->len : buf_reserve(out, n);
}

static inline void fill_to(struct buf *out, const char *to)
{
	out->len = (size_t)(to - out->ptr);
	out->ptr[out->len] = 0;
}

#if defined(__SSE2__)
/* Copies n bytes, at least 4, to `to` if all of them are plain. Looks at whole blocks, the last of which overlaps the one
 * before it: most names and values are shorter than two blocks, and a loop over their bytes took half of the writer's time. */
static inline bool copy_plain(const char *s, size_t n, char *to, bool html)
{
	if (n >= 16) {
		for (size_t i = 0;; i += 16) {
			i = MIN(i, n - 16);
			__m128i v = _mm_loadu_si128((const __m128i *)(s + i));
			_mm_storeu_si128((__m128i *)(to + i), v);
			if (scan_hits(v, html))
				return false;
			if (i == n - 16)
				return true;
		}
	}
	if (n >= 8) {
		__m128i head = _mm_loadl_epi64((const __m128i *)s), tail = _mm_loadl_epi64((const __m128i *)(s + n - 8));
		_mm_storel_epi64((__m128i *)to, head);
		_mm_storel_epi64((__m128i *)(to + n - 8), tail);
		return !scan_hits(_mm_unpacklo_epi64(head, tail), html);
	}
	uint32_t head, tail;
	memcpy(&head, s, 4);
	memcpy(&tail, s + n - 4, 4);
	memcpy(to, &head, 4);
	memcpy(to + n - 4, &tail, 4);
	return !scan_hits(_mm_set1_epi64x((int64_t)((uint64_t)tail << 32 | head)), html);
}

/* Most strings: plain all through, of at most PIECE bytes. False (nothing written) on others. */
static inline bool write_plain(struct buf *out, char before, struct span s, char after, bool html)
{
	if (s.len < 4 || s.len > PIECE || out->limit)
		return false;
	char *to = room(out, s.len + 4);
	if (before)
		*to++ = before;
	*to++ = '"';
	if (!copy_plain(s.ptr, s.len, to, html)) {
		out->ptr[out->len] = 0;
		return false;
	}
	to += s.len;
	*to++ = '"';
	if (after)
		*to++ = after;
	fill_to(out, to);
	return true;
}
#endif

/* before (0 = none), the string in quotes, after (0 = none). */
static void write_quoted(struct buf *out, char before, struct span s, char after, bool html)
{
#if defined(__SSE2__)
	if (likely(write_plain(out, before, s, after, html)))
		return;
#endif
	const char *at = s.ptr, *end = s.ptr + s.len;
	bool first = true;
	for (;;) {
		bool last = end - at <= PIECE;
		const char *stop = last ? end : at + PIECE;
		char block[PIECE_ROOM] __attribute__((uninitialized));
		char *start = likely(!out->limit) ? room(out, (size_t)(stop - at + 4) * 6 + 20) : block;
		char *to = start;
		if (first) {
			if (before)
				*to++ = before;
			*to++ = '"';
			first = false;
		}
		to = piece(&at, stop, end, html, to);
		last = last || at == end;
		if (last) {
			*to++ = '"';
			if (after)
				*to++ = after;
		}
		if (likely(start != block))
			fill_to(out, to);
		else
			buf_add(out, block, (size_t)(to - block));
		if (last)
			return;
	}
}

void json_write_string(struct buf *out, struct span s, unsigned style)
{
	write_quoted(out, 0, s, 0, style & JSON_HTML);
}

/* ---- values without children */
static void write_leaf(struct buf *out, const struct json *v, bool html)
{
	switch ((enum json_kind)v->kind) {
	case JSON_NULL:
		buf_add(out, "null", 4);
		break;
	case JSON_BOOL:
		if (v->b)
			buf_add(out, "true", 4);
		else
			buf_add(out, "false", 5);
		break;
	case JSON_INT:
		buf_i64(out, v->i);
		break;
	case JSON_UINT:
		buf_u64(out, v->u);
		break;
	case JSON_DOUBLE:
		json_write_double(out, v->d);
		break;
	case JSON_STRING:
		write_quoted(out, 0, json_span(v), 0, html);
		break;
	case JSON_RAW:
		buf_add(out, v->str, v->n);
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
	case JSON_KIND_COUNT:
		abort();
	}
}

/* ---- trees */
struct level {
	const struct json *v;
	struct json_member **order; /* owned; sorted style only, NULL when the members stand in order */
	uint32_t next;
};

struct writer {
	struct buf *out;
	struct level *levels;
	unsigned depth, cap;
	bool html, sorted, pretty;
	unsigned indent; /* blanks a level; 0 = a tab */
	struct level room[32];
};

static void new_line(struct writer *w)
{
	unsigned n = w->depth * (w->indent ? w->indent : 1);
	static const char blanks[] = "\n                                                                ";
	static const char tabs[] = "\n\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t";
	const char *text = w->indent ? blanks : tabs;
	unsigned most = (unsigned)(w->indent ? sizeof(blanks) : sizeof(tabs)) - 2;
	buf_add(w->out, text, 1 + MIN(n, most));
	while (n > most) {
		n -= most;
		buf_add(w->out, text + 1, MIN(n, most));
	}
}

/* Begins a container that has children. */
static void descend(struct writer *w, const struct json *v)
{
	assert(w->depth < JSON_DEPTH_MOST);
	if (w->depth == w->cap) {
		struct level *bigger = mem_realloc_n(w->levels == w->room ? NULL : w->levels, w->cap * 2, sizeof(*bigger));
		if (w->levels == w->room)
			memcpy(bigger, w->room, sizeof(w->room));
		w->levels = bigger;
		w->cap *= 2;
	}
	struct level *l = w->levels + w->depth++;
	l->v = v;
	l->next = 0;
	l->order = NULL;
	if (w->sorted && v->kind == JSON_OBJECT && !json_in_order(v))
		l->order = json_order(v, NULL, 0);
	buf_chr(w->out, v->kind == JSON_OBJECT ? '{' : '[');
}

/* A whole value, or the beginning of one with children. */
static inline void write_one(struct writer *w, const struct json *v)
{
	if (v->kind != JSON_ARRAY && v->kind != JSON_OBJECT)
		write_leaf(w->out, v, w->html);
	else if (v->n)
		descend(w, v);
	else
		buf_add(w->out, v->kind == JSON_OBJECT ? "{}" : "[]", 2);
}

void json_write(struct buf *out, const struct json *v, unsigned style)
{
	struct writer w __attribute__((uninitialized));
	w.out = out;
	w.levels = w.room;
	w.depth = 0;
	w.cap = ARRAY_LEN(w.room);
	w.html = style & JSON_HTML;
	w.sorted = style & JSON_SORTED;
	w.pretty = style & (JSON_PRETTY | JSON_PRETTY4);
	w.indent = style & JSON_TABS ? 0 : style & JSON_PRETTY4 ? 4 : 2;
	write_one(&w, v);
	while (w.depth) {
		struct level *l = w.levels + w.depth - 1;
		bool object = l->v->kind == JSON_OBJECT;
		if (l->next == l->v->n) {
			free(l->order);
			w.depth--;
			if (w.pretty)
				new_line(&w);
			buf_chr(out, object ? '}' : ']');
			continue;
		}
		uint32_t i = l->next++;
		const struct json *child;
		char comma = i ? ',' : 0;
		if (w.pretty) {
			if (comma)
				buf_chr(out, comma);
			new_line(&w);
			comma = 0;
		}
		if (object) {
			struct json_member *m = l->order ? l->order[i] : l->v->members + i;
			write_quoted(out, comma, json_key(m), ':', w.html);
			if (w.pretty)
				buf_chr(out, ' ');
			child = &m->value;
		} else {
			if (comma)
				buf_chr(out, comma);
			child = l->v->items + i;
		}
		write_one(&w, child);
	}
	if (w.levels != w.room)
		free(w.levels);
}

/* ---- without a tree */
static uint64_t level_bit(const struct json_out *o)
{
	assert(o->depth);
	return 1ull << (o->depth - 1);
}

/* The comma that a value or name at this place needs. */
static char comma(struct json_out *o)
{
	if (o->after_key) {
		o->after_key = false;
		return 0;
	}
	if (o->depth == 0)
		return 0;
	uint64_t bit = level_bit(o);
	char c = o->filled & bit ? ',' : 0;
	o->filled |= bit;
	return c;
}

/* In an object only names may come without a name before them. */
static void before_value(struct json_out *o)
{
	assert(o->depth == 0 || o->after_key || (o->arrays & level_bit(o)));
	char c = comma(o);
	if (c)
		buf_chr(o->buf, c);
}

static void begin(struct json_out *o, bool array)
{
	before_value(o);
	assert(o->depth < 64);
	o->depth++;
	uint64_t bit = level_bit(o);
	o->filled &= ~bit;
	o->arrays = array ? o->arrays | bit : o->arrays & ~bit;
	buf_chr(o->buf, array ? '[' : '{');
}

void json_out_begin(struct json_out *o)
{
	begin(o, false);
}

void json_out_begin_array(struct json_out *o)
{
	begin(o, true);
}

void json_out_end(struct json_out *o)
{
	assert(!o->after_key);
	buf_chr(o->buf, o->arrays & level_bit(o) ? ']' : '}');
	o->depth--;
}

void json_out_key(struct json_out *o, struct span key)
{
	assert(!o->after_key && !(o->arrays & level_bit(o)));
	write_quoted(o->buf, comma(o), key, ':', o->style & JSON_HTML);
	o->after_key = true;
}

void json_out_span(struct json_out *o, struct span s)
{
	before_value(o);
	write_quoted(o->buf, 0, s, 0, o->style & JSON_HTML);
}

void json_out_i64(struct json_out *o, int64_t v)
{
	before_value(o);
	buf_i64(o->buf, v);
}

void json_out_u64(struct json_out *o, uint64_t v)
{
	before_value(o);
	buf_u64(o->buf, v);
}

void json_out_double(struct json_out *o, double v)
{
	before_value(o);
	json_write_double(o->buf, v);
}

void json_out_bool(struct json_out *o, bool v)
{
	before_value(o);
	if (v)
		buf_add(o->buf, "true", 4);
	else
		buf_add(o->buf, "false", 5);
}

void json_out_null(struct json_out *o)
{
	before_value(o);
	buf_add(o->buf, "null", 4);
}

void json_out_raw(struct json_out *o, struct span valid_json)
{
	before_value(o);
	buf_span_add(o->buf, valid_json);
}

void json_out_value(struct json_out *o, const struct json *v)
{
	before_value(o);
	json_write(o->buf, v, o->style & JSON_HTML);
}

void json_out_kspan(struct json_out *o, const char *key, struct span s)
{
	if (s.len == 0)
		return;
	json_out_key(o, span_of(key));
	json_out_span(o, s);
}

void json_out_ki64(struct json_out *o, const char *key, int64_t v)
{
	if (v == 0)
		return;
	json_out_key(o, span_of(key));
	json_out_i64(o, v);
}

void json_out_kbool(struct json_out *o, const char *key, bool v)
{
	if (!v)
		return;
	json_out_key(o, span_of(key));
	json_out_bool(o, v);
}
