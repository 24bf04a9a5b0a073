/* The parser: one pass over the text, no recursion.
 *
 * Finished and unfinished values lie on one stack of members. An open array or object is a slot whose value.n holds the
 * index of the container around it; its children lie above it:
 *
 *     stack   [0] {          value.n = NONE            text so far: {"a":1,"b":[true,
 *             [1]   "a": 1
 *             [2]   "b": [   value.n = 0     <- open
 *             [3]        true
 *             [4]        (next)              <- top
 *
 * Closing copies the children in one piece of exactly their size into the arena and pops them, so a container's items
 * are contiguous and nothing is ever grown in the arena.
 *
 * While on the stack a member's mark holds where its name stands in the text (for the message about a repeated
 * name); it is 0 in the arena.
 *
 * Invariants
 *  1. text <= pos <= end; no byte at or behind end is read.
 *  2. top <= cap, open < top or open is NONE.
 *  3. Every number of levels, values and bytes is compared with its limit before anything is stored. */
#include "json/json.h"
#include "json/private.h"
#include "json/scan.h"

enum {
	BYTES_DEFAULT = 64 << 20,
	DEPTH_DEFAULT = 512,
	NODES_DEFAULT = 8 << 20,
	STACK_FIRST = 128,  /* slots on the C stack: most API objects need no more */
	PAIRWISE_MOST = 16, /* objects up to this size find repeated names by comparing all pairs */
};
#define NONE UINT32_MAX
#define BYTES_MOST (UINT32_MAX - 1) /* positions and lengths are 32 bits wide */

struct name_slot {
	uint32_t hash; /* upper half of the keyed hash */
	uint32_t index; /* 1 + index of the member; 0 = free */
};

struct parser {
	const char *text, *pos, *end;
	struct arena *arena; /* NULL: check only */
	struct arena names;  /* check only: names with escapes */
	unsigned flags;
	unsigned depth, depth_most;
	size_t nodes, nodes_most;
	struct json_member *stack;
	uint32_t top, cap;
	bool stack_owned;
	struct buf scratch;      /* a string with escapes, while it is decoded */
	struct name_slot *table; /* owned */
	size_t table_cap;
	struct err *err;
	int failed;
};

/* ---- errors */
static __attribute__((cold, noinline, format(printf, 4, 5))) void fail_at(struct parser *p, enum err_class class,
									   const char *at, const char *fmt, ...)
{
	size_t line = 1;
	const char *line_start = p->text;
	for (const char *s = p->text; s < at; s++) {
		if (*s == '\n') {
			line++;
			line_start = s + 1;
		}
	}
	va_list ap;
	va_start(ap, fmt);
	p->failed = err_vset(p->err, class, fmt, ap);
	va_end(ap);
	if (p->err)
		(void)err_note(p->err, "line %zu, column %zu", line, (size_t)(at - line_start) + 1); /* same class */
}
/* Macros, so that the compiler sees that the value is false. */
#define fail_class(p, class, at, ...) (fail_at((p), (class), (at), __VA_ARGS__), false)
#define fail(p, at, ...) fail_class((p), ERR_INVALID_REQUEST, (at), __VA_ARGS__)

/* What stands at `at`, for people: 'x', byte 0xff or "end of the text". */
static const char *what_is(struct parser *p, const char *at, char room[16])
{
	if (at >= p->end)
		return "the end of the text";
	unsigned char c = (unsigned char)*at;
	if (c > 0x20 && c < 0x7f)
		snprintf(room, 16, "'%c'", c);
	else
		snprintf(room, 16, "byte 0x%02x", c);
	return room;
}

static __attribute__((cold, noinline)) void expected_at(struct parser *p, const char *at, const char *expected)
{
	char room[16];
	fail_at(p, ERR_INVALID_REQUEST, at, "expected %s, found %s", expected, what_is(p, at, room));
}
#define fail_expected(p, at, expected) (expected_at((p), (at), (expected)), false)

/* ---- strings */
static int hex4(const char *s)
{
	int v = 0;
	for (int i = 0; i < 4; i++) {
		int digit = hex_value(s[i]);
		if (digit < 0)
			return -1;
		v = v << 4 | digit;
	}
	return v;
}

/* One escape at *ps, which points at the backslash; its meaning goes to the scratch. RFC 8259 section 7. */
static bool escape(struct parser *p, const char **ps)
{
	const char *s = *ps;
	if (p->end - s < 2)
		return fail(p, s, "string without an end");
	char plain;
	switch (s[1]) {
	case '"': plain = '"'; break;
	case '\\': plain = '\\'; break;
	case '/': plain = '/'; break;
	case 'b': plain = '\b'; break;
	case 'f': plain = '\f'; break;
	case 'n': plain = '\n'; break;
	case 'r': plain = '\r'; break;
	case 't': plain = '\t'; break;
	case 'u': {
		int code = p->end - s >= 6 ? hex4(s + 2) : -1;
		if (code < 0)
			return fail(p, s, "\\u needs four hexadecimal digits");
		*ps = s + 6;
		if (code >= 0xd800 && code < 0xdc00 && p->end - s >= 12 && s[6] == '\\' && s[7] == 'u') {
			int low = hex4(s + 8);
			if (low >= 0xdc00 && low < 0xe000) {
				code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
				*ps = s + 12;
			}
		}
		bool lone = code >= 0xd800 && code < 0xe000; /* half a pair means nothing: U+FFFD, as in Go */
		utf8_add(&p->scratch, lone ? 0xfffd : (uint32_t)code);
		return true;
	}
	default: {
		char room[16];
		return fail(p, s + 1, "unknown escape: backslash and %s", what_is(p, s + 1, room));
	}
	}
	buf_chr(&p->scratch, plain);
	*ps = s + 2;
	return true;
}

/* The rest of a string that holds escapes or bad UTF-8: its meaning is made in the scratch.
 * start is behind the quote, s at the first byte that is not as in the text. */
static __attribute__((noinline)) bool string_decode(struct parser *p, const char *start, const char *s,
						    struct span *out)
{
	buf_trunc(&p->scratch, 0);
	buf_add(&p->scratch, start, (size_t)(s - start));
	for (;;) {
		if (s == p->end)
			return fail(p, start - 1, "string without an end");
		unsigned char c = (unsigned char)*s;
		if (c == '"')
			break;
		if (c == '\\') {
			if (!escape(p, &s))
				return false;
		} else if (c < 0x20) {
			return fail(p, s, "control character 0x%02x in a string must be escaped", c);
		} else if (c < 0x80) {
			const char *plain = s;
			s = scan_plain(s, p->end, false);
			buf_add(&p->scratch, plain, (size_t)(s - plain));
		} else {
			uint32_t code;
			size_t n = utf8_next(span_make(s, (size_t)(p->end - s)), &code);
			if (n == 0) {
				if (!(p->flags & JSON_REPLACE_BAD_UTF8))
					return fail(p, s, "byte 0x%02x is not valid UTF-8", c);
				utf8_add(&p->scratch, 0xfffd);
				n = 1;
			} else {
				buf_add(&p->scratch, s, n);
			}
			s += n;
		}
	}
	p->pos = s + 1;
	/* Each bad byte grows to three: a text near the limit could pass 32 bits. */
	if (p->scratch.len > BYTES_MOST)
		return fail_class(p, ERR_TOO_LARGE, start - 1, "string too long");
	*out = buf_span(&p->scratch);
	return true;
}

/* The string whose quote stands at pos. decoded tells whether *out lies in the scratch instead of the text. */
static inline bool string_scan(struct parser *p, struct span *out, bool *decoded)
{
	const char *start = p->pos + 1, *s = start, *end = p->end;
	*decoded = false;
	for (;;) {
		s = scan_plain(s, end, false);
		if (unlikely(s == end))
			return fail(p, start - 1, "string without an end");
		if (likely(*s == '"'))
			break;
		size_t n = 0;
		if ((unsigned char)*s >= 0x80) {
			uint32_t code;
			n = utf8_next(span_make(s, (size_t)(end - s)), &code);
		}
		if (n == 0) {
			*decoded = true;
			return string_decode(p, start, s, out);
		}
		s += n;
	}
	p->pos = s + 1;
	*out = span_make(start, (size_t)(s - start));
	return true;
}

static inline bool parse_string(struct parser *p, struct json *out)
{
	struct span s;
	bool decoded;
	if (!string_scan(p, &s, &decoded))
		return false;
	out->kind = JSON_STRING;
	out->n = (uint32_t)s.len;
	if (!p->arena)
		out->str = NULL;
	else if (!decoded && (p->flags & JSON_BORROW))
		out->str = s.ptr;
	else
		out->str = json_arena_text(p->arena, s);
	return true;
}

static inline bool parse_name(struct parser *p, struct json_member *out)
{
	struct span s;
	bool decoded;
	out->mark = (uint32_t)(p->pos - p->text);
	if (!string_scan(p, &s, &decoded))
		return false;
	out->key_len = (uint32_t)s.len;
	if (!decoded && (!p->arena || (p->flags & JSON_BORROW)))
		out->key = s.ptr;
	else
		out->key = json_arena_text(p->arena ? p->arena : &p->names, s);
	return true;
}

/* ---- numbers: RFC 8259 section 6 */
static inline bool is_digit(char c)
{
	return (unsigned char)(c - '0') < 10;
}

static __attribute__((noinline)) bool parse_double(struct parser *p, const char *start, const char *end,
						   struct json *out)
{
	double d;
	if (!json_read_double(span_make(start, (size_t)(end - start)), &d)) {
		int shown = (int)MIN(end - start, (ptrdiff_t)40);
		return fail(p, start, "number %.*s%s is beyond the range of a double", shown, start,
			    end - start > 40 ? "..." : "");
	}
	out->kind = JSON_DOUBLE;
	out->d = d;
	p->pos = end;
	return true;
}

static bool parse_number(struct parser *p, struct json *out)
{
	const char *start = p->pos, *s = start, *end = p->end;
	bool negative = *s == '-';
	s += negative;
	const char *digits = s;
	uint64_t v = 0; /* wraps past 19 digits; then the count of digits tells */
	while (s < end && is_digit(*s))
		v = v * 10 + (uint64_t)(*s++ - '0');
	ptrdiff_t n = s - digits;
	if (n == 0)
		return fail_expected(p, s, "a digit");
	if (*digits == '0' && n > 1)
		return fail(p, digits, "a number must not begin with 0");
	if (s < end && (*s == '.' || *s == 'e' || *s == 'E')) {
		if (*s == '.') {
			s++;
			if (s == end || !is_digit(*s))
				return fail_expected(p, s, "a digit behind the decimal point");
			while (s < end && is_digit(*s))
				s++;
		}
		if (s < end && (*s == 'e' || *s == 'E')) {
			s++;
			if (s < end && (*s == '+' || *s == '-'))
				s++;
			if (s == end || !is_digit(*s))
				return fail_expected(p, s, "a digit in the exponent");
			while (s < end && is_digit(*s))
				s++;
		}
		return parse_double(p, start, s, out);
	}
	/* 20 digits fit 64 bits only when they begin with 1, and then a value that wrapped is below 10^19. */
	bool fits = n <= 19 || (n == 20 && *digits == '1' && v >= 10000000000000000000ull);
	if (!fits || (negative && (v == 0 || v > (uint64_t)INT64_MAX + 1)))
		return parse_double(p, start, s, out);
	p->pos = s;
	if (negative) {
		out->kind = JSON_INT;
		out->i = (int64_t)(0 - v);
	} else if (v <= INT64_MAX) {
		out->kind = JSON_INT;
		out->i = (int64_t)v;
	} else {
		out->kind = JSON_UINT;
		out->u = v;
	}
	return true;
}

/* ---- repeated names */
/* Equal names have equal fingerprints; unequal ones seldom do. */
static inline uint64_t fingerprint(const char *s, uint32_t len)
{
	uint32_t head = 0, tail = 0;
	if (len >= 4) {
		memcpy(&head, s, 4);
		memcpy(&tail, s + len - 4, 4);
	} else if (len) {
		head = (uint32_t)(unsigned char)s[0] << 8 | (unsigned char)s[len / 2];
		tail = (unsigned char)s[len - 1];
	}
	return ((uint64_t)head << 32 | tail) ^ (uint64_t)len * 0x9e3779b97f4a7c15ull;
}

static bool same_name(const struct json_member *a, const struct json_member *b)
{
	return a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0;
}

struct name_search {
	struct name_slot *table; /* NULL: compare all pairs */
	size_t mask;
	uint64_t prints[PAIRWISE_MOST];
};

static void search_begin(struct parser *p, struct name_search *search, uint32_t n)
{
	search->table = NULL;
	if (n <= PAIRWISE_MOST)
		return;
	size_t want = 64;
	while (want < (size_t)n * 2)
		want *= 2;
	if (want > p->table_cap) {
		p->table = mem_realloc_n(p->table, want, sizeof(*p->table));
		p->table_cap = want;
	}
	memset(p->table, 0, want * sizeof(*p->table));
	search->table = p->table;
	search->mask = want - 1;
}

/* Index of the member of m's name among members[0..i), or -1, and then m counts as members[i]. */
static inline ptrdiff_t earlier(struct name_search *search, const struct json_member *members, uint32_t i,
				const struct json_member *m)
{
	if (!search->table) {
		uint64_t print = fingerprint(m->key, m->key_len);
		for (uint32_t j = 0; j < i; j++) {
			if (unlikely(search->prints[j] == print) && same_name(members + j, m))
				return j;
		}
		search->prints[i] = print;
		return -1;
	}
	uint64_t hash = span_hash(json_key(m));
	size_t at = hash & search->mask;
	for (; search->table[at].index; at = (at + 1) & search->mask) {
		uint32_t j = search->table[at].index - 1;
		if (search->table[at].hash == hash >> 32 && same_name(members + j, m))
			return j;
	}
	search->table[at] = (struct name_slot){ .hash = (uint32_t)(hash >> 32), .index = i + 1 };
	return -1;
}

/* Finds repeated names among the n members; an error, or (JSON_DUPLICATES_LAST) the later value takes the
 * earlier one's place. *n is how many stay. */
static bool names_check(struct parser *p, struct json_member *members, uint32_t *n)
{
	struct name_search search __attribute__((uninitialized));
	search_begin(p, &search, *n);
	uint32_t kept = 0;
	for (uint32_t i = 0; i < *n; i++) {
		struct json_member *m = members + i;
		ptrdiff_t first = earlier(&search, members, kept, m);
		if (first < 0) {
			if (kept != i)
				members[kept] = *m;
			kept++;
		} else if (p->flags & JSON_DUPLICATES_LAST) {
			members[first].value = m->value;
		} else {
			return fail(p, p->text + m->mark, "name \"%.*s\" is there twice", (int)MIN(m->key_len, 100u), m->key);
		}
	}
	*n = kept;
	return true;
}

/* ---- the tree */
static __attribute__((noinline)) void stack_grow(struct parser *p)
{
	uint32_t cap = p->cap * 2;
	if (p->stack_owned) {
		p->stack = mem_realloc_n(p->stack, cap, sizeof(*p->stack));
	} else {
		struct json_member *bigger = mem_realloc_n(NULL, cap, sizeof(*bigger));
		memcpy(bigger, p->stack, p->top * sizeof(*bigger));
		p->stack = bigger;
		p->stack_owned = true;
	}
	p->cap = cap;
}

static inline struct json_member *push(struct parser *p)
{
	if (unlikely(p->top == p->cap))
		stack_grow(p);
	return p->stack + p->top++;
}

/* Closes the container in slot `open`, whose children lie above it; gives the index of the one around it. */
static bool close_container(struct parser *p, uint32_t open, uint32_t *out_around)
{
	struct json *v = &p->stack[open].value;
	struct json_member *children = p->stack + open + 1;
	uint32_t n = p->top - open - 1;
	*out_around = v->n;
	if (v->kind == JSON_OBJECT) {
		if (n > 1 && !(p->flags & JSON_DUPLICATES_KEEP) && !names_check(p, children, &n))
			return false;
		v->members = NULL;
		if (n && p->arena) {
			v->members = arena_alloc_n(p->arena, n, sizeof(*v->members));
			for (uint32_t i = 0; i < n; i++) {
				v->members[i] = children[i];
				v->members[i].mark = 0;
			}
		}
	} else {
		v->items = NULL;
		if (n && p->arena) {
			v->items = arena_alloc_n(p->arena, n, sizeof(*v->items));
			for (uint32_t i = 0; i < n; i++)
				v->items[i] = children[i].value;
		}
	}
	v->exact = 1;
	v->n = n;
	p->top = open + 1;
	p->depth--;
	return true;
}

static inline bool literal(struct parser *p, const char *word, size_t len)
{
	if ((size_t)(p->end - p->pos) < len || memcmp(p->pos, word, len) != 0)
		return false;
	p->pos += len;
	return true;
}

static bool value_begin(struct parser *p, struct json_member *slot)
{
	struct json *v = &slot->value;
	*v = (struct json){ .kind = JSON_NULL };
	if (unlikely(p->nodes++ >= p->nodes_most))
		return fail_class(p, ERR_TOO_LARGE, p->pos, "more than %zu values", p->nodes_most);
	if (unlikely(p->pos == p->end))
		return fail_expected(p, p->pos, "a value");
	switch (*p->pos) {
	case '"':
		return parse_string(p, v);
	case '{':
	case '[':
		if (unlikely(p->depth++ >= p->depth_most))
			return fail_class(p, ERR_TOO_LARGE, p->pos, "nested deeper than %u levels", p->depth_most);
		v->kind = *p->pos++ == '{' ? JSON_OBJECT : JSON_ARRAY;
		return true;
	case '-':
	case '0' ... '9':
		return parse_number(p, v);
	case 't':
		*v = json_bool(true);
		return literal(p, "true", 4) || fail_expected(p, p->pos, "a value");
	case 'f':
		*v = json_bool(false);
		return literal(p, "false", 5) || fail_expected(p, p->pos, "a value");
	case 'n':
		return literal(p, "null", 4) || fail_expected(p, p->pos, "a value");
	default:
		return fail_expected(p, p->pos, "a value");
	}
}

/* Reads one value at pos (blanks before it are skipped) into stack[0]. */
static bool parse_value(struct parser *p)
{
	uint32_t open = NONE;
	p->top = 0;
	p->pos = scan_blanks(p->pos, p->end);
	struct json_member *slot = push(p);
	for (;;) {
		/* A value begins at pos; slot is its place. */
		if (!value_begin(p, slot))
			return false;
		bool first = false;
		if (slot->value.kind >= JSON_ARRAY) {
			slot->value.n = open;
			open = p->top - 1;
			first = true;
		}
		/* Behind a value, or just inside a container. */
		for (;;) {
			if (open == NONE)
				return true;
			bool object = p->stack[open].value.kind == JSON_OBJECT;
			p->pos = scan_blanks(p->pos, p->end);
			char c = p->pos < p->end ? *p->pos : 0;
			if (c == (object ? '}' : ']')) {
				p->pos++;
				if (!close_container(p, open, &open))
					return false;
				first = false;
				continue;
			}
			if (!first) {
				if (c != ',')
					return fail_expected(p, p->pos, object ? "',' or '}' after a member"
									       : "',' or ']' after an item");
				p->pos = scan_blanks(p->pos + 1, p->end);
			}
			slot = push(p);
			if (!object)
				break;
			if (p->pos == p->end || *p->pos != '"')
				return fail_expected(p, p->pos, first ? "a name in quotes or '}'" : "a name in quotes");
			if (!parse_name(p, slot))
				return false;
			p->pos = scan_blanks(p->pos, p->end);
			if (p->pos == p->end || *p->pos != ':')
				return fail_expected(p, p->pos, "':' after a name");
			p->pos = scan_blanks(p->pos + 1, p->end);
			break;
		}
	}
}

/* Sets the parser up, checks the size; false when the text is too long. */
static bool parser_init(struct parser *p, struct arena *a, struct span text, unsigned flags,
			const struct json_limits *limits, struct json_member *stack, struct err *err)
{
	*p = (struct parser){ .text = text.ptr, .pos = text.ptr, .end = text.ptr + text.len, .arena = a, .flags = flags,
			      .stack = stack, .cap = STACK_FIRST, .err = err };
	size_t bytes = limits && limits->bytes ? MIN(limits->bytes, (size_t)BYTES_MOST) : BYTES_DEFAULT;
	p->depth_most = limits && limits->depth ? MIN(limits->depth, (unsigned)JSON_DEPTH_MOST) : DEPTH_DEFAULT;
	p->nodes_most = limits && limits->nodes ? limits->nodes : NODES_DEFAULT;
	if (text.len > bytes) {
		p->failed = -(int)ERR_TOO_LARGE;
		err_set(err, ERR_TOO_LARGE, "the text has %zu bytes, more than the limit of %zu", text.len, bytes);
		return false;
	}
	return true;
}

static void parser_done(struct parser *p)
{
	if (p->stack_owned)
		free(p->stack);
	free(p->table);
	buf_done(&p->scratch);
	arena_done(&p->names);
}

static int parse_whole(struct arena *a, struct span text, unsigned flags, const struct json_limits *limits,
		       struct json *out, struct err *err)
{
	struct json_member stack[STACK_FIRST] __attribute__((uninitialized));
	struct parser p;
	if (parser_init(&p, a, text, flags, limits, stack, err) && parse_value(&p)) {
		p.pos = scan_blanks(p.pos, p.end);
		if (p.pos < p.end)
			expected_at(&p, p.pos, "the end of the text");
		else if (out)
			*out = p.stack[0].value;
	}
	parser_done(&p);
	return p.failed;
}

int json_parse(struct arena *a, struct span text, unsigned flags, const struct json_limits *limits,
	       struct json *out, struct err *err)
{
	return parse_whole(a, text, flags, limits, out, err);
}

int json_check(struct span text, const struct json_limits *limits, struct err *err)
{
	return parse_whole(NULL, text, 0, limits, NULL, err);
}

int json_parse_next(struct arena *a, struct span *rest, unsigned flags, const struct json_limits *limits,
		    struct json *out, struct err *err)
{
	const char *end = rest->ptr + rest->len;
	const char *start = rest->len ? scan_blanks(rest->ptr, end) : end;
	if (start == end) {
		*rest = span_make(end, 0);
		return err_set(err, ERR_NOT_FOUND, "no more values");
	}
	struct json_member stack[STACK_FIRST] __attribute__((uninitialized));
	struct parser p;
	if (parser_init(&p, a, *rest, flags, limits, stack, err) && parse_value(&p)) {
		*out = p.stack[0].value;
		*rest = span_make(p.pos, (size_t)(end - p.pos));
	}
	parser_done(&p);
	return p.failed;
}
