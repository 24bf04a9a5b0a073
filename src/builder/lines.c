/* A Dockerfile's text into instructions: directives, comments, continuation, here-documents, words. What an instruction may have is
 * check.c's matter. */
#include "builder/private.h"
#include "image/image.h"

#include "json/json.h"

static const char *const ops[BUILDER_OP_COUNT] = {
	[BUILDER_ADD] = "ADD",		   [BUILDER_ARG] = "ARG",	   [BUILDER_CMD] = "CMD",
	[BUILDER_COPY] = "COPY",	   [BUILDER_ENTRYPOINT] = "ENTRYPOINT", [BUILDER_ENV] = "ENV",
	[BUILDER_EXPOSE] = "EXPOSE",	   [BUILDER_FROM] = "FROM",	   [BUILDER_HEALTHCHECK] = "HEALTHCHECK",
	[BUILDER_LABEL] = "LABEL",	   [BUILDER_MAINTAINER] = "MAINTAINER", [BUILDER_ONBUILD] = "ONBUILD",
	[BUILDER_RUN] = "RUN",		   [BUILDER_SHELL] = "SHELL",	   [BUILDER_STOPSIGNAL] = "STOPSIGNAL",
	[BUILDER_USER] = "USER",	   [BUILDER_VOLUME] = "VOLUME",	   [BUILDER_WORKDIR] = "WORKDIR",
};

const char *builder_op_name(enum builder_op op)
{
	return ops[op];
}

/* ---- lists that grow in the arena */

/* Room for one more of an array that is at its end when n is 0 or a power of two. */
static void *grown(struct arena *a, void *items, size_t n, size_t size)
{
	if (n & (n - 1))
		return items;
	char *to = arena_alloc_n(a, n ? 2 * n : 1, size);
	if (n)
		memcpy(to, items, n * size);
	return to;
}

#define PUSH(a, items, n, value) ((items) = grown((a), (items), (n), sizeof(*(items))), (items)[(n)++] = (value))

/* ---- lines */

struct lines {
	struct arena *a;
	struct builder_file *out;
	struct span text;
	size_t pos;
	unsigned line;	/* number of the one read last */
	bool directives; /* may the next line be one? */
	bool escape_seen;
	struct builder_instruction *items;
	size_t n;
};

/* Without its end. False at the end of the text. */
static bool line_next(struct lines *l, struct span *out)
{
	if (l->pos >= l->text.len)
		return false;
	struct span rest = span_from(l->text, l->pos);
	ptrdiff_t end = span_chr(rest, '\n');
	*out = end < 0 ? rest : span_sub(rest, 0, (size_t)end);
	l->pos += end < 0 ? rest.len : (size_t)end + 1;
	l->line++;
	if (out->len && out->ptr[out->len - 1] == '\r')
		out->len--;
	return true;
}

static struct span left_trim(struct span s)
{
	while (s.len && builder_space(*s.ptr))
		s = span_from(s, 1);
	return s;
}

static struct span right_trim(struct span s)
{
	while (s.len && builder_space(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

static bool is_comment(struct span line)
{
	struct span s = left_trim(line);
	return s.len && *s.ptr == '#';
}

/* Does the line go on? Then the escape is taken off. Two escapes at the end are one that is escaped, not a continuation. */
static bool line_goes_on(char escape, struct span *line)
{
	struct span s = *line;
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	if (!s.len || s.ptr[s.len - 1] != escape || (s.len > 1 && s.ptr[s.len - 2] == escape))
		return false;
	*line = span_sub(s, 0, s.len - 1);
	return true;
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_letter(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

/* "# name = value" before anything else in the file; whatever is none ends them. */
static int directive(struct lines *l, struct span line, struct err *err)
{
	struct span s = left_trim(line), name;
	l->directives = false;
	if (!s.len || *s.ptr != '#')
		return 0;
	s = left_trim(span_from(s, 1));
	name = s;
	name.len = 0;
	while (s.len && (is_letter(*s.ptr) || (name.len && *s.ptr >= '0' && *s.ptr <= '9'))) {
		name.len++;
		s = span_from(s, 1);
	}
	s = left_trim(s);
	if (!name.len || !s.len || *s.ptr != '=')
		return 0;
	s = right_trim(left_trim(span_from(s, 1)));
	if (!s.len)
		return 0;
	struct span *to = span_eq_nocase(name, SPAN("syntax")) ? &l->out->syntax :
			  span_eq_nocase(name, SPAN("check"))  ? &l->out->check :
								 NULL;
	bool escape = span_eq_nocase(name, SPAN("escape"));
	if (!to && !escape)
		return 0;
	l->directives = true;
	if (escape ? l->escape_seen : to->len > 0)
		return err_set(err, ERR_INVALID_REQUEST, "only one %s parser directive can be used",
			       escape ? "escape" : to == &l->out->check ? "check" : "syntax");
	if (to) {
		*to = s;
		return 0;
	}
	if (!span_is(s, "`") && !span_is(s, "\\"))
		return err_set(err, ERR_INVALID_REQUEST, "invalid escape token '%.*s' does not match ` or \\", SPAN_ARG(s));
	l->escape_seen = true;
	l->out->escape = *s.ptr;
	return 0;
}

/* ---- words of one line */

/* Splits at the first run of white space. */
static bool cut_space(struct span s, struct span *out_head, struct span *out_tail)
{
	size_t i = 0;
	while (i < s.len && !builder_space(s.ptr[i]))
		i++;
	*out_head = span_sub(s, 0, i);
	*out_tail = left_trim(span_from(s, i));
	return i < s.len;
}

static void words_plain(struct builder_instruction *in, struct arena *a, struct span rest)
{
	struct span word;
	while (rest.len) {
		(void)cut_space(rest, &word, &rest);
		PUSH(a, in->args, in->n_args, word);
	}
}

/* Words with quotes and escapes left in them, for ENV, LABEL and ARG: a quoted part may hold white space. */
static struct span *words_quoted(struct span rest, char escape, struct arena *a, size_t *out_n)
{
	struct span *words = NULL;
	size_t n = 0, i = 0;
	while (i < rest.len) {
		while (i < rest.len && builder_space(rest.ptr[i]))
			i++;
		auto_buf struct buf word = {};
		char quote = 0;
		bool any = false;
		for (; i < rest.len && (quote || !builder_space(rest.ptr[i])); i++) {
			char c = rest.ptr[i];
			if (c == escape && quote != '\'') {
				if (i + 1 == rest.len)
					continue; /* one at the very end is passed over */
				buf_chr(&word, c);
				c = rest.ptr[++i];
			} else if (quote ? c == quote : c == '\'' || c == '"') {
				quote = quote ? 0 : c;
				any = true; /* "" is a word */
			}
			buf_chr(&word, c);
		}
		if (any || word.len)
			PUSH(a, words, n, arena_span(a, buf_span(&word)));
	}
	*out_n = n;
	return words;
}

static int words_pairs(struct builder_instruction *in, char escape, struct arena *a, struct span rest, struct err *err)
{
	size_t n;
	struct span *words = words_quoted(rest, escape, a, &n), key, value;
	if (!n)
		return 0;
	if (span_chr(words[0], '=') < 0) {
		if (!cut_space(rest, &key, &value))
			return err_set(err, ERR_INVALID_REQUEST, "%s must have two arguments", ops[in->op]);
		PUSH(a, in->pairs, in->n_pairs,
		     ((struct builder_pair){ .key = key, .value = value, .has_value = true, .spaced = true }));
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		if (!span_split(words[i], '=', &key, &value))
			return err_set(err, ERR_INVALID_REQUEST,
				       "Syntax error - can't find = in \"%.*s\". Must be of the form: name=value",
				       SPAN_ARG(words[i]));
		PUSH(a, in->pairs, in->n_pairs, ((struct builder_pair){ .key = key, .value = value, .has_value = true }));
	}
	return 0;
}

static void words_args(struct builder_instruction *in, char escape, struct arena *a, struct span rest)
{
	size_t n;
	struct span *words = words_quoted(rest, escape, a, &n);
	for (size_t i = 0; i < n; i++) {
		struct builder_pair p = { .key = words[i] };
		p.has_value = span_split(words[i], '=', &p.key, &p.value);
		PUSH(a, in->pairs, in->n_pairs, p);
	}
}

/* The exec form. 1 it was one; 0 it is none (what is no valid JSON is a command line). */
static int words_json(struct builder_instruction *in, struct arena *a, struct span rest, struct err *err)
{
	struct json tree;
	if (!rest.len || *rest.ptr != '[' || json_parse(a, rest, 0, NULL, &tree, NULL) < 0)
		return 0;
	JSON_EACH_ITEM(&tree, item) {
		if (!json_is(item, JSON_STRING))
			return err_set(err, ERR_INVALID_REQUEST,
				       "when using JSON array syntax, arrays must be comprised of strings only");
		PUSH(a, in->args, in->n_args, json_span(item));
	}
	in->json = true;
	return 1;
}

static int words_command(struct builder_instruction *in, struct arena *a, struct span rest, struct err *err)
{
	int rc = words_json(in, a, rest, err);
	if (rc == 0 && rest.len)
		PUSH(a, in->args, in->n_args, rest);
	return rc < 0 ? rc : 0;
}

/* Words that begin with "--", up to the first that does not; "--" alone ends them. Quotes and escapes are resolved. */
static struct span flags_of(struct builder_instruction *in, struct arena *a, struct span rest)
{
	for (;;) {
		rest = left_trim(rest);
		if (!span_starts(rest, SPAN("--")))
			return rest;
		auto_buf struct buf word = {};
		char quote = 0;
		size_t i = 0;
		for (; i < rest.len && (quote || !builder_space(rest.ptr[i])); i++) {
			char c = rest.ptr[i];
			if (quote ? c == quote : c == '\'' || c == '"') {
				quote = quote ? 0 : c;
				continue;
			}
			if (c == '\\') {
				if (++i == rest.len)
					break;
				c = rest.ptr[i];
			}
			buf_chr(&word, c);
		}
		rest = span_from(rest, i);
		if (span_is(buf_span(&word), "--"))
			return left_trim(rest);
		struct builder_flag f = { .name = arena_span(a, span_from(buf_span(&word), 2)) };
		f.has_value = span_split(f.name, '=', &f.name, &f.value);
		PUSH(a, in->flags, in->n_flags, f);
	}
}

/* `NAME flags words`. The line outlives the instruction. nested: behind ONBUILD. */
static int instruction(struct span line, char escape, bool nested, struct arena *a, struct builder_instruction *out,
		       struct err *err)
{
	struct span name, rest;
	*out = (struct builder_instruction){ .code = line };
	(void)cut_space(right_trim(left_trim(line)), &name, &rest);
	out->op = BUILDER_OP_COUNT;
	for (unsigned i = 0; i < BUILDER_OP_COUNT; i++)
		if (span_eq_nocase(name, span_of(ops[i])))
			out->op = i;
	if (out->op == BUILDER_OP_COUNT) {
		static const char *const names[] = { "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK",
						     "LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER",
						     "VOLUME", "WORKDIR", NULL };
		(void)err_set(err, ERR_INVALID_REQUEST, "unknown instruction: %.*s", SPAN_ARG(name));
		return builder_suggest(err, name, names, false);
	}
	rest = flags_of(out, a, rest);
	switch (out->op) {
	case BUILDER_ADD:
	case BUILDER_COPY:
	case BUILDER_VOLUME: {
		int rc = words_json(out, a, rest, err);
		if (rc == 0)
			words_plain(out, a, rest);
		return rc < 0 ? rc : 0;
	}
	case BUILDER_EXPOSE:
	case BUILDER_FROM:
		words_plain(out, a, rest);
		return 0;
	case BUILDER_ENV:
	case BUILDER_LABEL:
		return words_pairs(out, escape, a, rest, err);
	case BUILDER_ARG:
		words_args(out, escape, a, rest);
		return 0;
	case BUILDER_CMD:
	case BUILDER_ENTRYPOINT:
	case BUILDER_RUN:
	case BUILDER_SHELL:
		return words_command(out, a, rest, err);
	case BUILDER_HEALTHCHECK: {
		struct span kind;
		if (!rest.len)
			return 0;
		(void)cut_space(rest, &kind, &rest);
		out->health_none = span_eq_nocase(kind, SPAN("NONE"));
		if (!out->health_none && !span_eq_nocase(kind, SPAN("CMD"))) {
			auto_buf struct buf upper = {};
			for (size_t i = 0; i < kind.len; i++)
				buf_chr(&upper, is_lower(kind.ptr[i]) ? (char)(kind.ptr[i] - 32) : kind.ptr[i]);
			return err_set(err, ERR_INVALID_REQUEST, "Unknown type \"%s\" in HEALTHCHECK (try CMD)", buf_cstr(&upper));
		}
		int rc = words_command(out, a, rest, err);
		if (rc == 0 && !out->health_none && !out->n_args)
			return err_set(err, ERR_INVALID_REQUEST, "Missing command after HEALTHCHECK CMD");
		return rc;
	}
	case BUILDER_ONBUILD: {
		struct builder_instruction sub;
		out->trigger = rest;
		if (nested || !rest.len)
			return 0; /* check.c refuses both */
		return instruction(rest, escape, true, a, &sub, err);
	}
	default: /* MAINTAINER, STOPSIGNAL, USER, WORKDIR */
		if (rest.len)
			PUSH(a, out->args, out->n_args, rest);
		return 0;
	}
}

/* ---- here-documents */

/* A word with the form of one: digits << -? name. The name may be quoted, and is not a word with another '<'. */
static bool heredoc_parse(struct span word, struct arena *a, struct builder_heredoc *out)
{
	size_t i = 0;
	uint64_t fd = 0;
	while (i < word.len && word.ptr[i] >= '0' && word.ptr[i] <= '9')
		i++;
	if ((i && !span_to_u64(span_sub(word, 0, i), &fd)) || fd > 1024)
		return false;
	word = span_from(word, i);
	if (!span_starts(word, SPAN("<<")))
		return false;
	word = span_from(word, 2);
	*out = (struct builder_heredoc){ .fd = (unsigned)fd, .chomp = word.len && *word.ptr == '-' };
	word = span_from(word, out->chomp);
	if (!word.len || span_chr(word, '<') >= 0)
		return false;
	struct builder_scope scope = { .escape = '\\', .keep_unset = true };
	struct span *names;
	size_t n;
	if (builder_expand_words(word, &scope, a, &names, &n, NULL) < 0 || n != 1)
		return false;
	out->name = names[0];
	out->expand = span_eq(names[0], word); /* nothing of it was quoted or escaped */
	return true;
}

struct span builder_heredoc_text(const struct builder_heredoc *d, struct arena *a)
{
	if (!d->chomp)
		return d->content;
	auto_buf struct buf out = {};
	bool begin = true;
	for (size_t i = 0; i < d->content.len; i++) {
		char c = d->content.ptr[i];
		if (!(begin && c == '\t'))
			buf_chr(&out, c), begin = c == '\n';
	}
	return arena_span(a, buf_span(&out));
}

static int heredocs(struct lines *l, struct builder_instruction *in, struct err *err)
{
	const struct builder_instruction *what = in;
	struct builder_instruction sub;
	if (in->op == BUILDER_ONBUILD && in->trigger.len && instruction(in->trigger, l->out->escape, true, l->a, &sub, NULL) == 0)
		what = &sub;
	if ((what->op != BUILDER_ADD && what->op != BUILDER_COPY && what->op != BUILDER_RUN) || what->json)
		return 0;
	struct builder_scope scope = { .escape = '\\', .keep_unset = true, .raw_quotes = true, .raw_escapes = true };
	struct span *words;
	size_t n;
	if (builder_expand_words(in->code, &scope, l->a, &words, &n, NULL) < 0)
		return 0; /* such a line has none; what is wrong with it is told where it is used */
	for (size_t i = 0; i < n; i++) {
		struct builder_heredoc d;
		struct span line;
		bool ended = false;
		if (!heredoc_parse(words[i], l->a, &d))
			continue;
		size_t from = l->pos, to = from;
		while (!ended && line_next(l, &line)) {
			while (d.chomp && line.len && *line.ptr == '\t')
				line = span_from(line, 1);
			ended = span_eq(line, d.name);
			if (!ended)
				to = l->pos;
		}
		if (!ended)
			return err_set(err, ERR_INVALID_REQUEST, "unterminated heredoc");
		d.content = span_sub(l->text, from, to);
		PUSH(l->a, in->docs, in->n_docs, d);
	}
	if (in->op == BUILDER_ONBUILD && in->n_docs) {
		auto_buf struct buf b = {};
		buf_span_add(&b, in->trigger);
		for (size_t i = 0; i < in->n_docs; i++)
			buf_printf(&b, "\n%.*s%.*s", SPAN_ARG(in->docs[i].content), SPAN_ARG(in->docs[i].name));
		in->trigger = arena_span(l->a, buf_span(&b));
	}
	return 0;
}

/* ---- the file */

/* One instruction with all that belongs to it. 1 it is in l->items; 0 there was none on these lines. */
static int next(struct lines *l, struct span line, struct err *err)
{
	bool blank = false;
	unsigned first = l->line;
	line = is_comment(line) ? SPAN_EMPTY : left_trim(line);
	auto_buf struct buf joined = { .limit = BUILDER_FILE_MAX };
	bool more = line_goes_on(l->out->escape, &line);
	buf_span_add(&joined, line);
	if (!more && !line.len)
		return 0;
	while (more && line_next(l, &line)) {
		if (line.len > BUILDER_LINE_MAX)
			return err_set(err, ERR_INVALID_REQUEST, "dockerfile line greater than max allowed size of %d", BUILDER_LINE_MAX);
		if (is_comment(line))
			continue;
		if (!left_trim(line).len) {
			blank = true;
			continue;
		}
		more = line_goes_on(l->out->escape, &line);
		buf_span_add(&joined, line);
	}
	struct span code = arena_span(l->a, buf_span(&joined));
	if (blank) {
		struct span w = arena_printf(l->a, "[WARNING]: Empty continuation line found in:\n    %.*s", SPAN_ARG(code));
		PUSH(l->a, l->out->warnings, l->out->n_warnings, w);
	}
	if (!left_trim(code).len)
		return 0;
	struct builder_instruction in;
	int rc = instruction(code, l->out->escape, false, l->a, &in, err);
	if (rc == 0)
		rc = heredocs(l, &in, err);
	if (rc == 0)
		rc = builder_check(&in, l->a, err);
	if (rc < 0)
		return rc;
	if (l->n == BUILDER_INSTRUCTIONS_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "more than %d instructions", BUILDER_INSTRUCTIONS_MAX);
	in.line = first;
	in.end_line = l->line;
	PUSH(l->a, l->items, l->n, in);
	return 1;
}

/* FROM begins a stage. Points into l->items, which is whole by now. */
static int stages(struct lines *l, struct builder_file *out, unsigned *out_line, struct err *err)
{
	size_t i = 0;
	while (i < l->n && l->items[i].op == BUILDER_ARG)
		i++;
	out->globals = l->items;
	out->n_globals = i;
	if (i < l->n && l->items[i].op != BUILDER_FROM) {
		*out_line = l->items[i].line;
		return err_set(err, ERR_INVALID_REQUEST, "no build stage in current context");
	}
	while (i < l->n) {
		struct builder_instruction *from = &l->items[i++];
		struct builder_stage st = { .base = from->args[0], .from = from, .items = &l->items[i],
					    .platform = builder_flag_get(from, "platform", NULL) };
		if (from->n_args == 3) {
			char *name = arena_cstr(l->a, from->args[2]);
			for (char *c = name; *c; c++)
				if (*c >= 'A' && *c <= 'Z')
					*c = (char)(*c + 32);
			st.name = span_of(name);
		}
		while (i < l->n && l->items[i].op != BUILDER_FROM)
			i++, st.n++;
		PUSH(l->a, out->stages, out->n_stages, st);
	}
	return 0;
}

int builder_file_parse(struct span text, struct arena *a, struct builder_file *out, struct err *err)
{
	struct lines l = { .a = a, .out = out, .text = text, .directives = true };
	struct span line;
	*out = (struct builder_file){ .escape = '\\' };
	if (text.len > BUILDER_FILE_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "dockerfile larger than %d bytes", BUILDER_FILE_MAX);
	if (span_starts(text, SPAN("\xef\xbb\xbf")))
		l.pos = 3;
	while (line_next(&l, &line)) {
		unsigned at = l.line;
		int rc = l.directives ? directive(&l, line, err) : 0;
		if (rc == 0 && line.len > BUILDER_LINE_MAX)
			rc = err_set(err, ERR_INVALID_REQUEST, "dockerfile line greater than max allowed size of %d", BUILDER_LINE_MAX);
		if (rc == 0)
			rc = next(&l, line, err);
		if (rc < 0)
			return err_note(err, "dockerfile parse error on line %u", at);
	}
	if (out->n_warnings)
		PUSH(a, out->warnings, out->n_warnings,
		     SPAN("[WARNING]: Empty continuation lines will become errors in a future release."));
	if (!l.n)
		return err_set(err, ERR_INVALID_REQUEST, "file with no instructions");
	unsigned at = 0;
	int rc = stages(&l, out, &at, err);
	return rc < 0 ? err_note(err, "dockerfile parse error on line %u", at) : 0;
}

int builder_trigger_parse(struct span text, struct arena *a, struct builder_instruction *out, struct err *err)
{
	struct builder_file file = { .escape = '\\' };
	struct lines l = { .a = a, .out = &file, .text = text };
	struct span line;
	int rc = 0;
	while (rc == 0 && line_next(&l, &line))
		rc = next(&l, line, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(err, ERR_INVALID_REQUEST, "file with no instructions");
	while (line_next(&l, &line))
		if (left_trim(line).len)
			return err_set(err, ERR_INVALID_REQUEST, "ONBUILD trigger has more than one instruction");
	/* An image's list of triggers is anybody's: `docker commit --change` and images from elsewhere passed no builder_check. */
	rc = image_trigger_check(span_of(builder_op_name(l.items[0].op)), err);
	if (rc < 0)
		return rc;
	*out = l.items[0];
	return 0;
}
