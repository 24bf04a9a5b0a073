/* Go's filepath.Match, and the rules of .dockerignore as moby/patternmatcher reads them. */
#include "builder/private.h"

#include "regex/regex.h"

/* ---- filepath.Match */

/* A character of a class, maybe escaped. False where the pattern is malformed. */
static bool class_char(struct span *p, uint32_t *out)
{
	if (!p->len || *p->ptr == '-' || *p->ptr == ']')
		return false;
	if (*p->ptr == '\\')
		*p = span_from(*p, 1);
	size_t n = p->len ? utf8_next(*p, out) : 0;
	*p = span_from(*p, n);
	return n && p->len; /* no character, or a class that is not closed */
}

/* Behind '[': does it have c? What follows it is left in *p. False: malformed. */
static bool class_has(struct span *p, uint32_t c, bool *out)
{
	bool not = p->len && *p->ptr == '^', found = false;
	*p = span_from(*p, not);
	for (unsigned n = 0;; n++) {
		uint32_t low, high;
		if (p->len && *p->ptr == ']' && n) {
			*p = span_from(*p, 1);
			*out = found != not;
			return true;
		}
		if (!class_char(p, &low))
			return false;
		high = low;
		if (*p->ptr == '-') {
			*p = span_from(*p, 1);
			if (!class_char(p, &high))
				return false;
		}
		found |= low <= c && c <= high;
	}
}

static bool well_formed(struct span p)
{
	while (p.len) {
		char c = *p.ptr;
		bool has;
		p = span_from(p, 1);
		if (c == '\\') {
			if (!p.len)
				return false;
			p = span_from(p, 1);
		} else if (c == '[' && !class_has(&p, 0, &has)) {
			return false;
		}
	}
	return true;
}

/* One character of name against what stands at *p, which is no '*'. A byte that is no UTF-8 is a character of its own. */
static bool one(struct span *p, struct span *name)
{
	uint32_t have;
	size_t n = utf8_next(*name, &have);
	char c = *p->ptr;
	bool same;
	if (!n) {
		have = 0xFFFD;
		n = 1;
	}
	if (c == '[') {
		*p = span_from(*p, 1);
		(void)class_has(p, have, &same);
	} else if (c == '?') {
		*p = span_from(*p, 1);
		same = have != '/';
	} else { /* bytes are compared with bytes */
		*p = span_from(*p, c == '\\');
		same = *p->ptr == *name->ptr;
		*p = span_from(*p, 1);
		n = 1;
	}
	*name = span_from(*name, n);
	return same;
}

int builder_glob(struct span pattern, struct span name, bool *out, struct err *err)
{
	if (!well_formed(pattern))
		return err_set(err, ERR_INVALID_REQUEST, "syntax error in pattern");
	/* Of several stars only the last one met may have to take more: what comes before it is settled. */
	struct span star = SPAN_EMPTY, taken = SPAN_EMPTY;
	bool open = false;
	*out = false;
	for (;;) {
		if (pattern.len && *pattern.ptr == '*') {
			pattern = span_from(pattern, 1);
			star = pattern;
			taken = name;
			open = true;
			continue;
		}
		if (!pattern.len && !name.len) {
			*out = true;
			return 0;
		}
		if (pattern.len && name.len && one(&pattern, &name))
			continue;
		if (!open || !taken.len || *taken.ptr == '/')
			return 0;
		taken = span_from(taken, 1);
		name = taken;
		pattern = star;
	}
}

bool builder_glob_is(struct span pattern)
{
	for (size_t i = 0; i < pattern.len; i++)
		if (strchr("*?[\\", pattern.ptr[i]) && pattern.ptr[i])
			return true;
	return false;
}

/* ---- rules */

enum rule_kind { EXACT, PREFIX, SUFFIX, REGEX };
struct builder_rule {
	struct span text; /* what is compared: the whole, without the trailing or leading ** */
	enum rule_kind kind;
	bool except;
	struct regex *regex;
	struct regex_scratch *scratch; /* one for all rules: what a rule's states may take is taken once */
};

static void regex_drop(void *arg)
{
	regex_free(arg);
}

static void scratch_drop(void *arg)
{
	regex_scratch_done(arg);
}

/* As Go's filepath.Clean: no "//", "/./", "x/..", no "/" at the end; empty is ".". */
static struct span clean(struct span path, struct arena *a)
{
	bool rooted = path.len && *path.ptr == '/';
	auto_buf struct buf out = {};
	size_t floor = 0; /* ".." above it stays */
	struct span rest = path, part;
	if (rooted)
		buf_chr(&out, '/');
	while (span_cut(&rest, '/', &part)) {
		if (!part.len || span_is(part, "."))
			continue;
		if (span_is(part, "..")) {
			if (out.len > floor + rooted) {
				ptrdiff_t at = span_rchr(buf_span(&out), '/');
				buf_trunc(&out, at < 0 ? 0 : at == 0 && rooted ? 1 : (size_t)at);
				continue;
			}
			if (rooted)
				continue;
		}
		if (out.len > rooted)
			buf_chr(&out, '/');
		buf_span_add(&out, part);
		if (span_is(part, ".."))
			floor = out.len;
	}
	return out.len ? arena_span(a, buf_span(&out)) : SPAN(".");
}

/* The pattern as a regular expression. Classes are the same in both; what Match does not know is escaped. */
static int compile(struct builder_rule *r, struct span pattern, struct err *err)
{
	auto_buf struct buf re = {};
	r->text = pattern;
	r->kind = EXACT;
	buf_str(&re, "^");
	for (size_t i = 0; i < pattern.len; i++) {
		char c = pattern.ptr[i], after = i + 1 < pattern.len ? pattern.ptr[i + 1] : 0;
		if (c == '*' && after == '*') {
			size_t from = i++;
			i += i + 1 < pattern.len && pattern.ptr[i + 1] == '/'; /* "**" and "**" with a slash are the same */
			bool end = i + 1 == pattern.len;
			if (end && r->kind == EXACT) {
				r->kind = PREFIX;
				r->text = span_sub(pattern, 0, from);
			} else {
				buf_str(&re, end ? ".*" : "(.*/)?");
				r->kind = REGEX;
			}
			if (!from) { /* "**x": any beginning, also of a name */
				r->kind = SUFFIX;
				r->text = span_from(pattern, 2);
			}
		} else if (c == '*') {
			buf_str(&re, "[^/]*");
			r->kind = REGEX;
		} else if (c == '?') {
			buf_str(&re, "[^/]");
			r->kind = REGEX;
		} else if (c == '\\' && after) {
			regex_quote(&re, span_sub(pattern, i + 1, i + 2));
			i++;
			r->kind = REGEX;
		} else if (c == '[' || c == ']') {
			buf_chr(&re, c);
			r->kind = REGEX;
		} else if (c == '^' || c == '-') { /* what they mean in a class is the same */
			buf_chr(&re, c);
		} else {
			regex_quote(&re, span_sub(pattern, i, i + 1));
		}
	}
	buf_str(&re, "$");
	if (r->kind != REGEX) /* "**" at the beginning, and then something that is no text, is REGEX again by now */
		return 0;
	r->regex = regex_new(buf_span(&re), 0, NULL);
	return r->regex ? 0 : err_set(err, ERR_INVALID_REQUEST, "syntax error in pattern");
}

int builder_ignore_parse(struct span text, struct arena *a, struct builder_ignore *out, struct err *err)
{
	struct span line;
	size_t cap = 0;
	*out = (struct builder_ignore){};
	if (text.len > BUILDER_FILE_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "ignore file larger than %d bytes", BUILDER_FILE_MAX);
	if (span_starts(text, SPAN("\xef\xbb\xbf")))
		text = span_from(text, 3);
	for (struct span rest = text; span_cut(&rest, '\n', &line);)
		cap++;
	if (cap > BUILDER_RULES_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "more than %d rules in the ignore file", BUILDER_RULES_MAX);
	out->rules = arena_alloc_n(a, cap ? cap : 1, sizeof(*out->rules));
	struct regex_scratch *scratch = arena_new(a, struct regex_scratch);
	arena_defer(a, scratch_drop, scratch);
	while (span_cut(&text, '\n', &line)) {
		struct builder_rule *r = &out->rules[out->n];
		if (line.len && *line.ptr == '#')
			continue;
		line = span_trim(line);
		if (!line.len)
			continue;
		*r = (struct builder_rule){ .except = *line.ptr == '!', .scratch = scratch };
		line = span_trim(span_from(line, r->except));
		if (!line.len)
			return err_set(err, ERR_INVALID_REQUEST, "illegal exclusion pattern: \"!\"");
		line = clean(line, a);
		if (line.len > 1 && *line.ptr == '/')
			line = span_from(line, 1);
		int rc = well_formed(line) ? compile(r, line, err) : err_set(err, ERR_INVALID_REQUEST, "syntax error in pattern");
		if (rc < 0)
			return rc;
		if (r->regex)
			arena_defer(a, regex_drop, r->regex);
		out->exceptions |= r->except;
		out->n++;
	}
	return 0;
}

static bool rule_matches(struct builder_rule *r, struct span path)
{
	switch (r->kind) {
	case EXACT:
		return span_eq(path, r->text);
	case PREFIX:
		return span_starts(path, r->text);
	case SUFFIX:
		return span_ends(path, r->text) || (r->text.len && *r->text.ptr == '/' && span_eq(path, span_from(r->text, 1)));
	default:
		return regex_matches(r->regex, r->scratch, path);
	}
}

bool builder_ignore_has(const struct builder_ignore *ig, struct span path)
{
	bool out = false;
	for (size_t i = 0; i < ig->n; i++) {
		struct builder_rule *r = &ig->rules[i];
		if (r->except != out)
			continue; /* it would change nothing */
		bool hit = rule_matches(r, path);
		for (size_t at = 0; !hit && at < path.len; at++)
			if (path.ptr[at] == '/')
				hit = rule_matches(r, span_sub(path, 0, at));
		if (hit)
			out = !r->except;
	}
	return out;
}
