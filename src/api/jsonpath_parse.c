/* The parser of JSONPath templates. It follows upstream's rune by rune, because what is accepted by accident (["a.b"] as a path,
 * a '=' more at the end of a filter) is in people's scripts. */
#include <stdlib.h>

#include "api/gotext.h"
#include "api/jsonpath_private.h"

#define TEXT_MAX (64 * 1024)
#define NESTING_MAX 16

#define END_OF_TEXT UINT32_MAX

struct parser {
	struct arena *arena;
	struct span in;
	size_t pos, start;
	unsigned width;
	unsigned nesting;
	struct err *err;
};

static int parse_template(struct arena *a, struct span text, unsigned nesting, struct node_list *root, struct err *err);

/* ---- characters */
static uint32_t next(struct parser *p)
{
	uint32_t c;
	if (p->pos >= p->in.len) {
		p->width = 0;
		return END_OF_TEXT;
	}
	size_t n = utf8_next(span_from(p->in, p->pos), &c);
	p->width = n ? (unsigned)n : 1;
	p->pos += p->width;
	return n ? c : 0xfffd;
}

static void backup(struct parser *p)
{
	p->pos -= p->width;
	p->width = 0;
}

static struct span consume(struct parser *p)
{
	struct span s = span_sub(p->in, p->start, p->pos);
	p->start = p->pos;
	return s;
}

static bool ahead(const struct parser *p, struct span s)
{
	return span_starts(span_from(p->in, p->pos), s);
}

static bool is_digit(uint32_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(uint32_t c) /* beyond ASCII everything counts as a letter */
{
	return c == '_' || is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= 0x80 && c != END_OF_TEXT);
}

static bool is_terminator(uint32_t c)
{
	return c == END_OF_TEXT || (c && c < 0x80 && strchr(" \t\r\n.,[]$@{}", (int)c));
}

static bool escaped(const struct parser *p) /* the character just read */
{
	return p->pos >= 2 && p->in.ptr[p->pos - 2] == '\\';
}

static int bad(const struct parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int bad(const struct parser *p, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int rc = err_vset(p->err, ERR_INVALID_REQUEST, fmt, ap);
	va_end(ap);
	return rc;
}

static struct node *append(struct parser *p, struct node_list *list, enum node_kind kind)
{
	struct node *n = arena_new(p->arena, struct node);
	n->kind = kind;
	if (list->last)
		list->last->next = n;
	else
		list->first = n;
	list->last = n;
	return n;
}

/* The nodes of the action {text}, parsed by itself. */
static int parse_nested(struct parser *p, struct span text, struct node_list *out)
{
	struct node_list root = {};
	struct span whole = arena_printf(p->arena, "{%.*s}", SPAN_ARG(text));
	if (p->nesting >= NESTING_MAX)
		return bad(p, "filters and unions are nested deeper than %d", NESTING_MAX);
	int rc = parse_template(p->arena, whole, p->nesting + 1, &root, p->err);
	if (rc == 0)
		*out = root.first->list;
	return rc;
}

/* ---- pieces of an action */
/* strconv.UnquoteChar: one character of a quoted string; false on a bad escape. */
static bool unquote_char(struct span *s, char quote, struct buf *out)
{
	char c = s->ptr[0];
	if (c == quote)
		return false;
	if (c != '\\') {
		buf_chr(out, c);
		*s = span_from(*s, 1);
		return true;
	}
	if (s->len < 2)
		return false;
	c = s->ptr[1];
	*s = span_from(*s, 2);
	static const char from[] = "abfnrtv\\", to[] = "\a\b\f\n\r\t\v\\";
	const char *at = c ? strchr(from, c) : NULL;
	if (at) {
		buf_chr(out, to[at - from]);
		return true;
	}
	if (c == '\'' || c == '"') {
		buf_chr(out, c);
		return c == quote;
	}
	uint64_t v;
	if (c >= '0' && c <= '7') {
		struct span digits = span_make(s->ptr - 1, 3);
		if (s->len < 2 || !span_to_u64_base(digits, 8, &v) || v > 255)
			return false;
		*s = span_from(*s, 2);
		buf_chr(out, (char)v);
		return true;
	}
	size_t n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
	if (!n || s->len < n || !span_to_u64_base(span_sub(*s, 0, n), 16, &v))
		return false;
	*s = span_from(*s, n);
	if (c == 'x') {
		buf_chr(out, (char)v);
		return true;
	}
	if (v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return false;
	utf8_add(out, (uint32_t)v);
	return true;
}

static int parse_quote(struct parser *p, struct node_list *cur, uint32_t quote)
{
	for (;;) {
		uint32_t c = next(p);
		if (c == END_OF_TEXT || c == '\n')
			return bad(p, "unterminated quoted string");
		if (c == quote && !escaped(p))
			break;
	}
	struct span value = consume(p), rest = span_sub(value, 1, value.len - 1);
	auto_buf struct buf text = {};
	while (rest.len)
		if (!unquote_char(&rest, (char)quote, &text))
			return bad(p, "unquote string %.*s error invalid syntax", SPAN_ARG(value));
	append(p, cur, NODE_TEXT)->text = arena_span(p->arena, buf_span(&text));
	return 0;
}

static int parse_number(struct parser *p, struct node_list *cur)
{
	uint32_t c = next(p);
	if (c != '+' && c != '-')
		backup(p);
	do
		c = next(p);
	while (c == '.' || is_digit(c));
	backup(p);
	struct span value = consume(p);
	int64_t i;
	if (span_to_i64(value, &i)) {
		append(p, cur, NODE_INT)->i = i;
		return 0;
	}
	unsigned dots = 0, digits = 0;
	for (size_t k = 0; k < value.len; k++) {
		dots += value.ptr[k] == '.';
		digits += is_digit((unsigned char)value.ptr[k]);
	}
	if (dots > 1 || !digits)
		return bad(p, "cannot parse number %.*s", SPAN_ARG(value));
	append(p, cur, NODE_FLOAT)->d = strtod(arena_cstr(p->arena, value), NULL);
	return 0;
}

static void parse_identifier(struct parser *p, struct node_list *cur)
{
	while (!is_terminator(next(p)))
		;
	backup(p);
	struct span value = consume(p);
	bool yes = span_is(value, "true");
	if (yes || span_is(value, "false"))
		append(p, cur, NODE_BOOL)->b = yes;
	else
		append(p, cur, NODE_IDENTIFIER)->text = value;
}

static void parse_field(struct parser *p, struct node_list *cur)
{
	(void)consume(p);
	for (;;) {
		uint32_t c = next(p);
		if (c == '\\') {
			(void)next(p);
		} else if (is_terminator(c)) {
			backup(p);
			break;
		}
	}
	struct span value = consume(p);
	if (span_is(value, "*")) {
		append(p, cur, NODE_WILDCARD);
		return;
	}
	char *plain = arena_alloc(p->arena, value.len + 1);
	size_t n = 0;
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] != '\\')
			plain[n++] = value.ptr[i];
	append(p, cur, NODE_FIELD)->text = span_make(plain, n);
}

static int parse_recursive(struct parser *p, struct node_list *cur)
{
	if (cur->last && cur->last->kind == NODE_RECURSIVE)
		return bad(p, "invalid multiple recursive descent");
	p->pos += 2;
	(void)consume(p);
	append(p, cur, NODE_RECURSIVE);
	uint32_t c = next(p);
	backup(p);
	if (is_word(c))
		parse_field(p, cur);
	return 0;
}

/* "-?digits*", at the start of *s; true when it is in the form. */
static struct span slice_number(struct span *s)
{
	size_t n = s->len && s->ptr[0] == '-';
	while (n < s->len && is_digit((unsigned char)s->ptr[n]))
		n++;
	struct span out = span_sub(*s, 0, n);
	*s = span_from(*s, n);
	return out;
}

static int parse_slice(struct parser *p, struct node_list *cur, struct span text)
{
	struct span rest = text, numbers[3];
	bool given[3] = { true, false, false };
	numbers[0] = slice_number(&rest);
	for (int i = 1; i < 3; i++) {
		numbers[i] = SPAN_EMPTY;
		if (!rest.len || rest.ptr[0] != ':')
			continue;
		given[i] = true;
		rest = span_from(rest, 1);
		numbers[i] = slice_number(&rest);
	}
	if (rest.len)
		return bad(p, "invalid array index %.*s", SPAN_ARG(text));
	struct bound bounds[3] = {};
	for (int i = 0; i < 3; i++) {
		if (numbers[i].len) {
			bounds[i].known = true;
			if (!span_to_i64(numbers[i], &bounds[i].value))
				return bad(p, "array index %.*s is not a number", SPAN_ARG(numbers[i]));
		} else if (i == 1 && !given[1]) { /* a single index */
			bounds[1] = (struct bound){ true, true, bounds[0].value == INT64_MAX ? INT64_MAX : bounds[0].value + 1 };
		}
	}
	memcpy(append(p, cur, NODE_ARRAY)->bounds, bounds, sizeof(bounds));
	return 0;
}

static int parse_array(struct parser *p, struct node_list *cur)
{
	uint32_t c;
	do {
		c = next(p);
		if (c == END_OF_TEXT || c == '\n')
			return bad(p, "unterminated array");
	} while (c != ']');
	struct span text = consume(p);
	text = span_sub(text, 1, text.len - 1);
	if (span_is(text, "*"))
		text = SPAN(":");
	if (span_chr(text, ',') >= 0) {
		struct node *u = append(p, cur, NODE_UNION);
		struct span rest = text, part;
		bool more = true;
		while (more) {
			more = span_split(rest, ',', &part, &rest);
			while (part.len && part.ptr[0] == ' ')
				part = span_from(part, 1);
			while (part.len && part.ptr[part.len - 1] == ' ')
				part.len--;
			struct node_list member;
			int rc = parse_nested(p, arena_printf(p->arena, "[%.*s]", SPAN_ARG(part)), &member);
			if (rc < 0)
				return rc;
			append(p, &u->list, NODE_ACTION)->list = member;
		}
		return 0;
	}
	if (text.len >= 2 && text.ptr[0] == '\'' && span_chr(span_from(text, 1), '\'') == (ptrdiff_t)text.len - 2) {
		struct node_list nodes;
		int rc = parse_nested(p, arena_printf(p->arena, ".%.*s", (int)text.len - 2, text.ptr + 1), &nodes);
		if (rc < 0 || !nodes.first)
			return rc;
		if (cur->last)
			cur->last->next = nodes.first;
		else
			cur->first = nodes.first;
		cur->last = nodes.last;
		return 0;
	}
	return parse_slice(p, cur, text);
}

static bool is_operator(char c)
{
	return c && strchr("!<>=", c);
}

static int parse_filter(struct parser *p, struct node_list *cur)
{
	bool begun = false, ended = false;
	uint32_t pair = 0, c;
	p->pos += 3;
	(void)consume(p);
	for (;;) {
		c = next(p);
		if (c == END_OF_TEXT || c == '\n')
			return bad(p, "unterminated filter");
		if ((c == '"' || c == '\'') && !begun) {
			begun = true;
			pair = c;
		} else if ((c == '"' || c == '\'') && !escaped(p) && c == pair) {
			ended = true;
		} else if (c == ')' && begun == ended) {
			break;
		}
	}
	if (next(p) != ']')
		return bad(p, "unclosed array expect ]");
	struct span text = consume(p);
	text.len -= 2;
	/* left, a run of operator characters, right: ^([^!<>=]+)([!<>=]+)(.+?)$ */
	size_t from = 0, to;
	while (from < text.len && !is_operator(text.ptr[from]))
		from++;
	for (to = from; to < text.len && is_operator(text.ptr[to]); to++)
		;
	if (to == text.len && to > from + 1)
		to--; /* something must stand at the right */
	struct node *f = append(p, cur, NODE_FILTER);
	if (from == 0 || to == from || to == text.len) {
		f->text = SPAN("exists");
		return parse_nested(p, text, &f->list);
	}
	f->text = span_sub(text, from, to);
	int rc = parse_nested(p, span_sub(text, 0, from), &f->list);
	return rc < 0 ? rc : parse_nested(p, span_from(text, to), &f->right);
}

static int parse_action(struct parser *p, struct node_list *cur)
{
	int rc = 0;
	while (rc == 0) {
		if (ahead(p, SPAN("}"))) {
			p->pos++;
			(void)consume(p);
			return 0;
		}
		if (ahead(p, SPAN("[?("))) {
			rc = parse_filter(p, cur);
			continue;
		}
		if (ahead(p, SPAN(".."))) {
			rc = parse_recursive(p, cur);
			continue;
		}
		uint32_t c = next(p);
		if (c == END_OF_TEXT || c == '\r' || c == '\n')
			return bad(p, "unclosed action");
		if (c == ' ' || c == '@' || c == '$') {
			(void)consume(p);
		} else if (c == '[') {
			rc = parse_array(p, cur);
		} else if (c == '"' || c == '\'') {
			rc = parse_quote(p, cur, c);
		} else if (c == '.') {
			parse_field(p, cur);
		} else if (c == '+' || c == '-' || is_digit(c)) {
			backup(p);
			rc = parse_number(p, cur);
		} else if (is_word(c)) {
			backup(p);
			parse_identifier(p, cur);
		} else {
			return bad(p, c >= 0x20 && c < 0x7f ? "unrecognized character in action: U+%04X '%c'" :
							      "unrecognized character in action: U+%04X",
				   c, (int)c);
		}
	}
	return rc;
}

static int parse_template(struct arena *a, struct span text, unsigned nesting, struct node_list *root, struct err *err)
{
	struct parser p = { .arena = a, .in = text, .nesting = nesting, .err = err };
	while (p.pos < text.len) {
		ptrdiff_t brace = span_chr(span_from(text, p.pos), '{');
		p.pos = brace < 0 ? text.len : p.pos + (size_t)brace;
		struct span plain = consume(&p);
		if (plain.len)
			append(&p, root, NODE_TEXT)->text = plain;
		if (brace < 0)
			break;
		p.pos++;
		(void)consume(&p);
		struct node *action = append(&p, root, NODE_ACTION);
		int rc = parse_action(&p, &action->list);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int api_jsonpath_parse(struct arena *a, struct span text, struct api_jsonpath **out, struct err *err)
{
	struct api_jsonpath *path = arena_new(a, struct api_jsonpath);
	if (text.len > TEXT_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "the jsonpath template has more than %d bytes", TEXT_MAX);
	int rc = parse_template(a, arena_span(a, text), 0, &path->root, err);
	if (rc == 0)
		*out = path;
	return rc;
}

int api_jsonpath_relaxed(struct span text, struct buf *out, struct err *err)
{
	struct span s = text;
	if (!s.len)
		return 0;
	bool braces = s.len >= 2 && s.ptr[0] == '{' && s.ptr[s.len - 1] == '}';
	if (braces)
		s = span_sub(s, 1, s.len - 1);
	if (s.len > 1 && s.ptr[0] == '.')
		s = span_from(s, 1);
	if (!s.len || span_chr(s, '{') >= 0 || span_chr(s, '}') >= 0)
		return err_set(err, ERR_INVALID_REQUEST,
			       "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or "
			       "'{.name1.name2}'");
	buf_printf(out, "{.%.*s}", SPAN_ARG(s));
	return 0;
}
