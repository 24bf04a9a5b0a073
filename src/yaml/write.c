/* The writer: the text that go-yaml v2's emitter makes of a tree.
 *
 * The emitter knows where it is by four values, and every decision about line breaks and blanks follows from them:
 *
 *     column       characters written since the last line feed
 *     indent       where the lines of the innermost container begin, -1 outside
 *     blank        what was written last needs no blank behind it
 *     only_indent  the line holds nothing but indentation, "-" and "?" so far
 *
 * So "- a: 1" needs no rule of its own: behind "-" only_indent still holds, and the mapping's first key finds itself at its
 * column. A list under a key begins a line at the key's own indent because behind "key:" only_indent does not hold. */
#include "yaml/private.h"

enum {
	WIDTH = 80,      /* plain and quoted text breaks at the first blank behind it */
	STEP = 2,        /* blanks a level */
	KEY_MOST = 128,  /* longer keys are written with "?" */
	DEPTH_MOST = 10000,
};

struct writer {
	struct buf *out;
	int column, indent;
	bool blank, only_indent;
};

/* ---- characters and lines */
static void put(struct writer *w, char c)
{
	buf_chr(w->out, c);
	w->column++;
}

static void put_feed(struct writer *w)
{
	buf_chr(w->out, '\n');
	w->column = 0;
}

/* Goes to the indent, on a new line unless this one is still free there. */
static void begin_line(struct writer *w)
{
	int indent = w->indent < 0 ? 0 : w->indent;
	if (!w->only_indent || w->column > indent || (w->column == indent && !w->blank))
		put_feed(w);
	while (w->column < indent)
		put(w, ' ');
	w->blank = true;
	w->only_indent = true;
}

static void need_blank(struct writer *w)
{
	if (!w->blank)
		put(w, ' ');
}

/* "-" and "?" keep only_indent; blank says whether what follows may stand right behind. */
static void put_mark(struct writer *w, const char *mark, bool keeps_indent)
{
	while (*mark)
		put(w, *mark++);
	w->blank = false;
	w->only_indent = w->only_indent && keeps_indent;
}

/* ---- what a string allows */
struct shape {
	bool multiline;
	bool plain, single, block; /* styles that can hold it */
};

static size_t code_at(struct span s, size_t i, uint32_t *out)
{
	size_t n = utf8_next(span_from(s, i), out);
	return n ? n : 1;
}

static bool is_feed(uint32_t c)
{
	return c == '\r' || c == '\n' || c == 0x85 || c == 0x2028 || c == 0x2029;
}

/* go-yaml's idea, which knows nothing beyond the basic plane and no tab. */
static bool is_printable(uint32_t c)
{
	return c == '\n' || (c >= 0x20 && c <= 0x7e) || (c >= 0xa0 && c <= 0xd7ff) ||
	       (c >= 0xe000 && c <= 0xfffd && c != 0xfeff);
}

static bool is_white(struct span s, size_t i)
{
	return i >= s.len || s.ptr[i] == ' ' || s.ptr[i] == '\t';
}

/* Whether an indicator stands where it would mean something in block context. */
static bool has_indicator(struct span s)
{
	if (span_starts(s, SPAN("---")) || span_starts(s, SPAN("...")))
		return true;
	if (strchr("#,[]{}&*!|>'\"%@`", s.ptr[0]) && s.ptr[0])
		return true;
	if ((s.ptr[0] == '?' || s.ptr[0] == ':' || s.ptr[0] == '-') && is_white(s, 1))
		return true;
	for (size_t i = 1; i < s.len; i++) {
		if (s.ptr[i] == ':' && is_white(s, i + 1))
			return true;
		if (s.ptr[i] != '#')
			continue;
		/* after a blank or the end of a line */
		char before = s.ptr[i - 1];
		if (before == ' ' || before == '\t' || before == '\r' || before == '\n' || before == 0)
			return true;
		if (i >= 2 && memcmp(s.ptr + i - 2, "\xc2\x85", 2) == 0)
			return true;
		if (i >= 3 && memcmp(s.ptr + i - 3, "\xe2\x80", 2) == 0 && (before == '\xa8' || before == '\xa9'))
			return true;
	}
	return false;
}

static struct shape shape_of(struct span s)
{
	struct shape shape = { .plain = true, .single = true, .block = true };
	if (s.len == 0) {
		shape.block = false;
		return shape;
	}
	bool special = false, after_space = false, after_feed = false, space_feed = false, feed_space = false;
	for (size_t i = 0, n; i < s.len; i += n) {
		uint32_t c;
		n = code_at(s, i, &c);
		special = special || !is_printable(c);
		bool end = i == 0 || i + n == s.len;
		if (c == ' ') {
			feed_space = feed_space || after_feed;
			if (end)
				shape.plain = false;
			if (i + n == s.len)
				shape.block = false;
		} else if (is_feed(c)) {
			shape.multiline = true;
			shape.plain = false;
			space_feed = space_feed || after_space;
		}
		after_space = c == ' ';
		after_feed = is_feed(c);
	}
	if (feed_space)
		shape.plain = shape.single = false;
	if (space_feed || special)
		shape.plain = shape.single = shape.block = false;
	if (has_indicator(s))
		shape.plain = false;
	return shape;
}

/* ---- the styles */
/* Writes the code point at *i as it is. */
static void copy_code(struct writer *w, struct span s, size_t *i)
{
	uint32_t c;
	size_t n = code_at(s, *i, &c);
	buf_add(w->out, s.ptr + *i, n);
	w->column++;
	*i += n;
}

/* A line break of the string. */
static void copy_feed(struct writer *w, struct span s, size_t *i)
{
	copy_code(w, s, i);
	w->column = 0;
}

/* A line break inside a scalar; true: the next line is still to be begun. */
static bool copy_break(struct writer *w, struct span s, size_t *i)
{
	copy_feed(w, s, i);
	w->only_indent = true;
	return true;
}

/* Whether the blank at i is where a long line breaks. */
static bool folds(const struct writer *w, struct span s, size_t i, bool fold, bool after_space)
{
	return fold && !after_space && w->column > WIDTH && !(i + 1 < s.len && s.ptr[i + 1] == ' ');
}

/* Plain (quote = 0) and single quoted text differ in the quotes alone. */
static void put_flow(struct writer *w, struct span s, bool fold, char quote)
{
	need_blank(w);
	if (quote)
		put_mark(w, "'", false);
	bool space = false, feed = false;
	for (size_t i = 0; i < s.len;) {
		uint32_t c;
		code_at(s, i, &c);
		if (c == ' ') {
			bool inside = !quote || (i > 0 && i + 1 < s.len);
			if (inside && folds(w, s, i, fold, space)) {
				begin_line(w);
				i++;
			} else {
				copy_code(w, s, &i);
			}
			space = true;
		} else if (is_feed(c)) {
			if (!feed && c == '\n')
				put_feed(w);
			feed = copy_break(w, s, &i);
		} else {
			if (feed)
				begin_line(w);
			if (quote && c == '\'')
				put(w, '\'');
			copy_code(w, s, &i);
			w->only_indent = false;
			space = feed = false;
		}
	}
	if (quote)
		put_mark(w, "'", false);
	w->blank = false;
	w->only_indent = false;
}

static void put_escape(struct writer *w, uint32_t c)
{
	static const struct {
		uint32_t code;
		char letter;
	} brief[] = { { 0, '0' },    { 7, 'a' },    { 8, 'b' },     { 9, 't' },     { 10, 'n' },     { 11, 'v' },
		      { 12, 'f' },   { 13, 'r' },   { 0x1b, 'e' },  { '"', '"' },   { '\\', '\\' },  { 0x85, 'N' },
		      { 0xa0, '_' }, { 0x2028, 'L' }, { 0x2029, 'P' } };
	put(w, '\\');
	for (size_t i = 0; i < ARRAY_LEN(brief); i++) {
		if (brief[i].code == c) {
			put(w, brief[i].letter);
			return;
		}
	}
	int digits = c <= 0xff ? 2 : c <= 0xffff ? 4 : 8;
	put(w, c <= 0xff ? 'x' : c <= 0xffff ? 'u' : 'U');
	for (int i = digits - 1; i >= 0; i--)
		put(w, "0123456789ABCDEF"[c >> (i * 4) & 15]);
}

static void put_double(struct writer *w, struct span s, bool fold)
{
	need_blank(w);
	put_mark(w, "\"", false);
	/* go-yaml looks for a byte order mark at the start of the string, not at the place, and escapes all behind one. */
	bool marked = span_starts(s, SPAN("\xef\xbb\xbf"));
	bool space = false;
	for (size_t i = 0; i < s.len;) {
		uint32_t c;
		size_t n = code_at(s, i, &c);
		if (marked || !is_printable(c) || is_feed(c) || c == '"' || c == '\\') {
			put_escape(w, c);
			i += n;
			space = false;
		} else if (c == ' ') {
			if (fold && !space && w->column > WIDTH && i > 0 && i + 1 < s.len) {
				begin_line(w);
				if (s.ptr[i + 1] == ' ')
					put(w, '\\');
				i++;
			} else {
				copy_code(w, s, &i);
			}
			space = true;
		} else {
			copy_code(w, s, &i);
			space = false;
		}
	}
	put_mark(w, "\"", false);
}

/* The code point that ends at `end`, and where it begins. */
static uint32_t code_before(struct span s, size_t end, size_t *out_start)
{
	size_t i = end - 1;
	while (i > 0 && ((unsigned char)s.ptr[i] & 0xc0) == 0x80)
		i--;
	uint32_t c;
	code_at(s, i, &c);
	*out_start = i;
	return c;
}

static void put_literal(struct writer *w, struct span s)
{
	need_blank(w);
	put_mark(w, "|", false);
	uint32_t c;
	size_t start;
	code_at(s, 0, &c);
	if (c == ' ' || is_feed(c))
		put_mark(w, "2", false);
	if (!is_feed(code_before(s, s.len, &start)))
		put_mark(w, "-", false);
	else if (start == 0 || is_feed(code_before(s, start, &start)))
		put_mark(w, "+", false);
	put_feed(w);
	w->only_indent = true;
	w->blank = true;
	bool feed = true;
	for (size_t i = 0; i < s.len;) {
		code_at(s, i, &c);
		if (is_feed(c)) {
			feed = copy_break(w, s, &i);
		} else {
			if (feed)
				begin_line(w);
			copy_code(w, s, &i);
			w->only_indent = false;
			feed = false;
		}
	}
}

/* ---- scalars */
/* YAML 1.1's base 60 numbers: go-yaml reads them as strings and quotes them for readers that do not. */
static bool is_base60(struct span s)
{
	size_t i = 0;
	unsigned parts = 0;
#define DIGIT(at) ((at) < s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9')
	if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+'))
		i++;
	if (!DIGIT(i))
		return false;
	while (DIGIT(i) || (i < s.len && s.ptr[i] == '_'))
		i++;
	/* (:[0-5]?[0-9])+ */
	while (i < s.len && s.ptr[i] == ':' && DIGIT(i + 1)) {
		if (DIGIT(i + 2) && s.ptr[i + 1] > '5')
			return false;
		i += DIGIT(i + 2) ? 3 : 2;
		parts++;
	}
	if (i < s.len && s.ptr[i] == '.')
		for (i++; DIGIT(i) || (i < s.len && s.ptr[i] == '_');)
			i++;
#undef DIGIT
	return parts && i == s.len;
}

/* A string that no other scalar could be taken for, in the style that go-yaml chooses. */
static void put_string(struct writer *w, struct span s, bool key)
{
	struct shape shape = shape_of(s);
	int outer = w->indent;
	w->indent = outer < 0 ? STEP : outer + STEP;
	struct json ignored;
	if (memchr(s.ptr ? s.ptr : "", '\n', s.len)) {
		if (shape.block && !key)
			put_literal(w, s);
		else
			put_double(w, s, !key);
	} else if (yaml_resolve(s, &ignored) != YAML_TYPE_STRING || is_base60(s)) {
		put_double(w, s, !key);
	} else if (shape.plain) {
		put_flow(w, s, !key, 0);
	} else if (shape.single && !(key && shape.multiline)) {
		put_flow(w, s, !key, '\'');
	} else {
		put_double(w, s, !key);
	}
	w->indent = outer;
}

/* Numbers and words: never quoted, never folded. */
static void put_word(struct writer *w, struct span s)
{
	need_blank(w);
	buf_span_add(w->out, s);
	w->column += (int)s.len;
	w->blank = false;
	w->only_indent = false;
}

/* JSON numbers take the way through JSON text: -0.0 is "-0" there, which reads as the integer 0; 1e6 is "1000000"; what still
 * is a float then prints in Go's 'g' form. */
static void put_number(struct writer *w, const struct json *v)
{
	auto_buf struct buf text = {};
	json_write(&text, v, 0);
	struct json again;
	if (v->kind == JSON_DOUBLE && yaml_resolve(buf_span(&text), &again) == YAML_TYPE_FLOAT) {
		buf_trunc(&text, 0);
		yaml_float_text(&text, again.d, 64);
	} else if (v->kind == JSON_DOUBLE) {
		buf_trunc(&text, 0);
		json_write(&text, &again, 0);
	}
	put_word(w, buf_span(&text));
}

/* ---- trees */
struct level {
	const struct json *v;
	struct json_member **order; /* owned */
	uint32_t next;
	int outer;        /* indent around it */
	bool value_next;  /* a mapping's key was written with "?"; its value is next */
};

static int by_bytes(const struct json_member *a, const struct json_member *b)
{
	return span_cmp(json_key(a), json_key(b));
}

static int by_key(const struct json_member *a, const struct json_member *b)
{
	return yaml_key_cmp(json_key(a), json_key(b));
}

/* A stable merge sort: from and to are n pointers each; the result is in `from`. Not qsort, because go-yaml's order is not
 * transitive for every three keys, and glibc's fallback writes out of bounds then. */
static void sort(struct json_member **from, struct json_member **to, uint32_t n,
		 int (*cmp)(const struct json_member *, const struct json_member *))
{
	for (uint64_t width = 1; width < n; width *= 2) {
		for (uint64_t start = 0; start < n; start += 2 * width) {
			uint64_t a = start, a_end = MIN(start + width, (uint64_t)n);
			uint64_t b = a_end, b_end = MIN(start + 2 * width, (uint64_t)n);
			for (uint64_t i = start; i < b_end; i++)
				to[i] = b == b_end || (a < a_end && cmp(from[a], from[b]) <= 0) ? from[a++] : from[b++];
		}
		memcpy(from, to, n * sizeof(*from));
	}
}

/* The members in go-yaml's order. Byte order first, so that the result never depends on the order they are in. */
static struct json_member **order_of(const struct json *object)
{
	uint32_t n = object->n;
	struct json_member **order = mem_realloc_n(NULL, (size_t)n * 2, sizeof(struct json_member *));
	for (uint32_t i = 0; i < n; i++)
		order[i] = object->members + i;
	sort(order, order + n, n, by_bytes);
	sort(order, order + n, n, by_key);
	return order;
}

/* Strings that are not UTF-8 (in trees nobody checked) are written as Go's JSON would hand them on. */
static void put_text(struct writer *w, struct span s, bool key)
{
	if (utf8_valid(s)) {
		put_string(w, s, key);
		return;
	}
	auto_buf struct buf fixed = {};
	for (size_t i = 0; i < s.len;) {
		uint32_t c;
		size_t n = utf8_next(span_from(s, i), &c);
		utf8_add(&fixed, n ? c : 0xfffd);
		i += n ? n : 1;
	}
	put_string(w, buf_span(&fixed), key);
}

static void put_leaf(struct writer *w, const struct json *v)
{
	switch (v->kind) {
	case JSON_NULL:
		put_word(w, SPAN("null"));
		break;
	case JSON_BOOL:
		put_word(w, v->b ? SPAN("true") : SPAN("false"));
		break;
	case JSON_INT:
	case JSON_UINT:
	case JSON_DOUBLE:
		put_number(w, v);
		break;
	case JSON_ARRAY:
		put_word(w, SPAN("[]"));
		break;
	case JSON_OBJECT:
		put_word(w, SPAN("{}"));
		break;
	default:
		put_text(w, json_span(v), false);
	}
}

struct tree {
	struct writer w;
	struct level *levels; /* owned */
	size_t depth, cap;
	struct arena raw; /* what raw text was parsed into */
};

/* Writes v, or opens it when it has children. under_key: it is a mapping's value. */
static void put_value(struct tree *t, const struct json *v, bool under_key)
{
	if (v->kind == JSON_RAW) {
		const struct json_limits none = { .depth = DEPTH_MOST, .bytes = SIZE_MAX, .nodes = SIZE_MAX };
		struct json *parsed = arena_new(&t->raw, struct json);
		int bad = json_parse(&t->raw, json_span(v), JSON_BORROW | JSON_DUPLICATES_LAST, &none, parsed, NULL);
		assert(!bad); /* raw text is valid JSON: json.h */
		v = parsed;
	}
	if ((v->kind != JSON_ARRAY && v->kind != JSON_OBJECT) || v->n == 0) {
		put_leaf(&t->w, v);
		return;
	}
	assert(t->depth < DEPTH_MOST);
	MEM_GROW(t->levels, t->depth, t->cap);
	struct level *l = t->levels + t->depth++;
	*l = (struct level){ .v = v, .outer = t->w.indent };
	bool same_indent = v->kind == JSON_ARRAY && under_key && !t->w.only_indent;
	if (t->w.indent < 0)
		t->w.indent = 0;
	else if (!same_indent)
		t->w.indent += STEP;
	if (v->kind == JSON_OBJECT)
		l->order = order_of(v);
}

/* The next key or value of a mapping. */
static void put_member(struct tree *t, struct level *l)
{
	struct writer *w = &t->w;
	const struct json_member *m = l->order[l->next];
	if (l->value_next) {
		l->value_next = false;
		l->next++;
		begin_line(w);
		put_mark(w, ":", true);
		put_value(t, &m->value, true);
		return;
	}
	begin_line(w);
	struct span key = json_key(m);
	if (key.len > KEY_MOST || shape_of(key).multiline) {
		need_blank(w);
		put_mark(w, "?", true);
		put_text(w, key, false);
		l->value_next = true;
		return;
	}
	put_text(w, key, true);
	put_mark(w, ":", false);
	l->next++;
	put_value(t, &m->value, true);
}

void yaml_write(struct buf *out, const struct json *v)
{
	struct tree t = { .w = { .out = out, .indent = -1, .blank = true, .only_indent = true } };
	put_value(&t, v, false);
	while (t.depth) {
		struct level *l = t.levels + t.depth - 1;
		if (l->next == l->v->n) {
			t.w.indent = l->outer;
			free(l->order);
			t.depth--;
		} else if (l->v->kind == JSON_OBJECT) {
			put_member(&t, l);
		} else {
			const struct json *item = l->v->items + l->next++;
			begin_line(&t.w);
			need_blank(&t.w);
			put_mark(&t.w, "-", true);
			put_value(&t, item, false);
		}
	}
	begin_line(&t.w);
	free(t.levels);
	arena_done(&t.raw);
}
