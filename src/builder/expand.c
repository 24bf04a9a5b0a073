/* Words: what a POSIX shell does with quotes, escapes and variables, in the subset and with the deviations of Docker's
 * frontend: a quoted empty word vanishes, an escape inside double quotes only counts before ", $ and itself, substitution never
 * runs anything. */
#include "builder/private.h"

#include "regex/regex.h"

struct walk {
	const struct builder_scope *scope;
	struct arena *a;
	struct span s;
	size_t pos;
	unsigned depth; /* of ${} in ${} */
	bool raw_escapes;
	struct err *err;
};

/* What a stretch of text gives: all of it, and the same split. */
struct yield {
	struct buf all, word;
	struct span *words;
	size_t n_words;
	bool split; /* words are wanted */
};

static void yield_done(struct yield *y)
{
	buf_done(&y->all);
	buf_done(&y->word);
}

#define auto_yield auto_cleanup(yield_done)

static void word_end(struct walk *w, struct yield *y)
{
	if (!y->word.len)
		return;
	if ((y->n_words & (y->n_words - 1)) == 0) {
		struct span *to = arena_alloc_n(w->a, y->n_words ? 2 * y->n_words : 1, sizeof(*to));
		if (y->n_words)
			memcpy(to, y->words, y->n_words * sizeof(*to));
		y->words = to;
	}
	y->words[y->n_words++] = arena_span(w->a, buf_span(&y->word));
	buf_trunc(&y->word, 0);
}

/* Text that may be split at white space, and text that may not (it was quoted or escaped). */
static void yield_open(struct walk *w, struct yield *y, struct span s)
{
	buf_span_add(&y->all, s);
	for (size_t i = 0; y->split && i < s.len; i++)
		if (builder_space(s.ptr[i]))
			word_end(w, y);
		else
			buf_chr(&y->word, s.ptr[i]);
}

static void yield_closed(struct yield *y, struct span s)
{
	buf_span_add(&y->all, s);
	if (y->split)
		buf_span_add(&y->word, s);
}

static int bad(struct walk *w, const char *text)
{
	return err_set(w->err, ERR_INVALID_REQUEST, "%s", text);
}

static bool at_end(const struct walk *w)
{
	return w->pos == w->s.len;
}

static char peek(const struct walk *w)
{
	return at_end(w) ? 0 : w->s.ptr[w->pos];
}

/* ---- ${name#pattern} and its kin */

/* A shell pattern (* and ?, escapes) as a regular expression. The escapes of } and / are the substitution's own. */
static int pattern_add(struct walk *w, struct buf *re, struct span pattern, bool greedy)
{
	for (size_t i = 0; i < pattern.len; i++) {
		char c = pattern.ptr[i], after = i + 1 < pattern.len ? pattern.ptr[i + 1] : 0;
		if (c == '*') {
			buf_str(re, greedy ? ".*" : ".*?");
			continue;
		}
		if (c == '?') {
			buf_chr(re, '.');
			continue;
		}
		if (c == '\\') {
			if (after == '}' || after == '/')
				continue;
			if (after != '*' && after != '?' && after != '\\')
				return err_set(w->err, ERR_INVALID_REQUEST, "invalid pattern (%.*s) in substitution: invalid escape '\\%c'",
					       SPAN_ARG(pattern), after ? after : ' ');
			c = pattern.ptr[++i];
		}
		regex_quote(re, (struct span){ &c, 1 });
	}
	return 0;
}

/* The value without its beginning (front) or end that matches; greedy: the longest such. */
static int trimmed(struct walk *w, struct span pattern, struct span value, bool front, bool greedy, struct span *out)
{
	auto_buf struct buf re = {};
	/* At the end the part before decides: the longest one leaves the shortest end. */
	buf_str(&re, front ? "^" : greedy ? "^(?s:(.*?))(?:" : "^(?s:(.*))(?:");
	int rc = pattern_add(w, &re, pattern, greedy);
	if (rc < 0)
		return rc;
	if (!front)
		buf_str(&re, ")$");
	auto_regex struct regex *compiled = regex_new(buf_span(&re), 0, w->err);
	if (!compiled)
		return err_note(w->err, "invalid pattern (%.*s) in substitution", SPAN_ARG(pattern));
	struct regex_scratch scratch = {};
	struct regex_range groups[2];
	rc = regex_find(compiled, &scratch, value, 0, groups, 2, w->err);
	regex_scratch_done(&scratch);
	if (rc > 0)
		*out = front ? span_from(value, (size_t)groups[0].to) : span_sub(value, 0, (size_t)groups[1].to);
	else
		*out = value;
	return rc < 0 ? rc : 0;
}

static int replaced(struct walk *w, struct span pattern, struct span by, struct span value, bool all, struct buf *out)
{
	auto_buf struct buf re = {};
	int rc = pattern_add(w, &re, pattern, true);
	if (rc < 0)
		return rc;
	auto_regex struct regex *compiled = regex_new(buf_span(&re), 0, w->err);
	if (!compiled)
		return err_note(w->err, "invalid pattern (%.*s) in substitution", SPAN_ARG(pattern));
	struct regex_scratch scratch = {};
	struct regex_walk at = {};
	struct regex_range found;
	size_t from = 0;
	while ((rc = regex_find_next(compiled, &scratch, value, &at, &found, 1, w->err)) > 0) {
		buf_span_add(out, span_sub(value, from, (size_t)found.from));
		buf_span_add(out, by);
		from = (size_t)found.to;
		if (!all)
			break;
	}
	regex_scratch_done(&scratch);
	buf_span_add(out, span_from(value, from));
	return rc < 0 ? rc : 0;
}

/* ---- variables */

/* Letters, digits and '_'; or only digits; or one of the shell's special parameters. Empty when there is no name. */
static struct span name_of(struct walk *w)
{
	size_t from = w->pos;
	char c = peek(w);
	if (c >= '0' && c <= '9') {
		while (peek(w) >= '0' && peek(w) <= '9')
			w->pos++;
	} else if (c && strchr("@*#?-$!", c)) {
		w->pos++;
	} else {
		while ((c = peek(w)) && (c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
					 (unsigned char)c >= 0x80))
			w->pos++;
	}
	return span_sub(w->s, from, w->pos);
}

static int until(struct walk *w, char stop, bool raw_escapes, struct yield *y);

/* Text up to stop, which is passed over. */
static int inner(struct walk *w, char stop, bool raw_escapes, struct span *out)
{
	auto_yield struct yield y = { .all.limit = BUILDER_EXPANDED_MAX };
	if (w->depth == BUILDER_NEST_MAX)
		return bad(w, "substitutions are nested too deeply");
	w->depth++;
	int rc = until(w, stop, raw_escapes, &y);
	w->depth--;
	if (rc < 0)
		return at_end(w) ? bad(w, stop == '/' ? "syntax error: missing '/' in ${}" : "syntax error: missing '}'") : rc;
	*out = arena_span(w->a, buf_span(&y.all));
	return 0;
}

/* Behind "${": the name and what is to be done with it. */
static int braced(struct walk *w, size_t from, struct buf *out)
{
	char c = peek(w);
	if (!c)
		return bad(w, "syntax error: missing '}'");
	if (c == '{' || c == '}' || c == ':')
		return bad(w, "syntax error: bad substitution");
	struct span name = name_of(w), value = SPAN_EMPTY, word, by;
	bool set = w->scope->get && w->scope->get(w->scope->arg, name, &value), null_is_unset = false;
	size_t op_at = w->pos;
	c = peek(w);
	if (!at_end(w))
		w->pos++;
	if (c == '}') {
		buf_span_add(out, !set && w->scope->keep_unset ? span_sub(w->s, from, w->pos) : value);
		return 0;
	}
	if (c == '/') {
		bool all = peek(w) == '/';
		w->pos += all;
		int rc = inner(w, '/', true, &word);
		if (rc == 0)
			rc = inner(w, '}', true, &by);
		if (rc < 0)
			return rc;
		if (!set && w->scope->keep_unset) {
			buf_span_add(out, span_sub(w->s, from, w->pos));
			return 0;
		}
		return replaced(w, word, by, value, all, out);
	}
	if (c == ':') {
		null_is_unset = true;
		c = peek(w);
		if (!at_end(w))
			w->pos++;
	}
	struct span op = span_sub(w->s, op_at, w->pos);
	if (!c || !strchr(null_is_unset ? "+-?" : "+-?#%", c))
		return at_end(w) && !op.len ?
			       bad(w, "syntax error: missing '}'") :
			       err_set(w->err, ERR_INVALID_REQUEST, "unsupported modifier (%.*s) in substitution", SPAN_ARG(op));
	int rc = inner(w, '}', c == '#' || c == '%', &word);
	if (rc < 0)
		return rc;
	if (!set && w->scope->keep_unset) {
		buf_span_add(out, span_sub(w->s, from, w->pos));
		return 0;
	}
	bool there = set && (!null_is_unset || value.len);
	switch (c) {
	case '-':
		buf_span_add(out, there ? value : word);
		return 0;
	case '+':
		buf_span_add(out, there ? word : SPAN_EMPTY);
		return 0;
	case '?':
		if (!there)
			return err_set(w->err, ERR_INVALID_REQUEST, "%.*s: %.*s", SPAN_ARG(name),
				       SPAN_ARG(word.len ? word :
						set	 ? SPAN("is not allowed to be empty") :
							   SPAN("is not allowed to be unset")));
		buf_span_add(out, value);
		return 0;
	default: {
		bool greedy = word.len && *word.ptr == c;
		rc = trimmed(w, span_from(word, greedy), value, c == '#', greedy, &value);
		buf_span_add(out, rc == 0 ? value : SPAN_EMPTY);
		return rc;
	}
	}
}

/* At '$'. */
static int dollar(struct walk *w, struct buf *out)
{
	size_t from = w->pos++;
	if (peek(w) == '{') {
		w->pos++;
		return braced(w, from, out);
	}
	struct span name = name_of(w), value = SPAN_EMPTY;
	if (!name.len)
		buf_chr(out, '$');
	else if (!(w->scope->get && w->scope->get(w->scope->arg, name, &value)) && w->scope->keep_unset)
		buf_span_add(out, span_sub(w->s, from, w->pos));
	else
		buf_span_add(out, value);
	return 0;
}

/* ---- quotes */

static int single_quoted(struct walk *w, struct buf *out)
{
	struct span rest = span_from(w->s, w->pos + 1);
	ptrdiff_t end = span_chr(rest, '\'');
	if (end < 0) {
		w->pos = w->s.len;
		return bad(w, "unexpected end of statement while looking for matching single-quote");
	}
	buf_span_add(out, w->scope->raw_quotes ? span_sub(w->s, w->pos, w->pos + (size_t)end + 2) : span_sub(rest, 0, (size_t)end));
	w->pos += (size_t)end + 2;
	return 0;
}

static int double_quoted(struct walk *w, struct buf *out)
{
	char escape = w->scope->escape, c;
	if (w->scope->raw_quotes)
		buf_chr(out, '"');
	w->pos++;
	while ((c = peek(w)) != '"') {
		if (at_end(w))
			return bad(w, "unexpected end of statement while looking for matching double-quote");
		if (c == '$') {
			int rc = dollar(w, out);
			if (rc < 0)
				return rc;
			continue;
		}
		w->pos++;
		if (c == escape) {
			if (w->raw_escapes)
				buf_chr(out, c);
			if (at_end(w))
				continue;
			char after = peek(w);
			if (after == '"' || after == '$' || after == escape) {
				c = after;
				w->pos++;
			}
		}
		buf_chr(out, c);
	}
	w->pos++;
	if (w->scope->raw_quotes)
		buf_chr(out, '"');
	return 0;
}

/* Up to stop (0: to the end), which is passed over. */
static int until(struct walk *w, char stop, bool raw_escapes, struct yield *y)
{
	bool before = w->raw_escapes;
	w->raw_escapes = raw_escapes;
	int rc = 0;
	while (!at_end(w)) {
		char c = peek(w);
		if (stop && c == stop) {
			w->pos++;
			w->raw_escapes = before;
			return 0;
		}
		if (c == '$' || c == '\'' || c == '"') {
			auto_buf struct buf part = { .limit = BUILDER_EXPANDED_MAX };
			rc = c == '$' ? dollar(w, &part) : c == '"' ? double_quoted(w, &part) : single_quoted(w, &part);
			if (rc == 0 && buf_overflowed(&part))
				rc = bad(w, "the expanded text is too long");
			if (rc < 0)
				return rc;
			if (c == '$')
				yield_open(w, y, buf_span(&part));
			else
				yield_closed(y, buf_span(&part));
		} else {
			bool escaped = c == w->scope->escape;
			if (escaped && raw_escapes)
				yield_closed(y, span_sub(w->s, w->pos, w->pos + 1));
			w->pos += escaped;
			if (at_end(w))
				break;
			struct span one = span_sub(w->s, w->pos, w->pos + 1);
			w->pos++;
			if (escaped)
				yield_closed(y, one);
			else
				yield_open(w, y, one);
		}
		if (buf_overflowed(&y->all))
			return bad(w, "the expanded text is too long");
	}
	w->raw_escapes = before;
	return stop ? err_set(w->err, ERR_INVALID_REQUEST, "unexpected end of statement while looking for matching %c", stop) : 0;
}

static int expand(struct span text, const struct builder_scope *scope, struct arena *a, struct yield *y, struct err *err)
{
	struct walk w = { .scope = scope, .a = a, .s = text, .err = err };
	y->all.limit = BUILDER_EXPANDED_MAX;
	int rc = until(&w, 0, scope->raw_escapes, y);
	if (rc < 0)
		return err_note(err, "failed to process \"%.*s\"", SPAN_ARG(text));
	word_end(&w, y);
	return 0;
}

int builder_expand(struct span text, const struct builder_scope *scope, struct arena *a, struct span *out, struct err *err)
{
	auto_yield struct yield y = {};
	int rc = expand(text, scope, a, &y, err);
	if (rc == 0)
		*out = arena_span(a, buf_span(&y.all));
	return rc;
}

int builder_expand_words(struct span text, const struct builder_scope *scope, struct arena *a, struct span **out, size_t *out_n,
			 struct err *err)
{
	auto_yield struct yield y = { .split = true };
	int rc = expand(text, scope, a, &y, err);
	if (rc == 0) {
		*out = y.words;
		*out_n = y.n_words;
	}
	return rc;
}
