/* Flags by tables, with pflag's grammar: --name=value, --name value, -n value, -nvalue, -n=value, -it for two that take
 * none, and "--" before words that are no flags. */
#include "front/private.h"

static const struct front_flag *by_name(const struct front_flag *const *tables, unsigned n, struct span name)
{
	for (unsigned i = 0; i < n; i++)
		for (const struct front_flag *f = tables[i]; f->name; f++)
			if (span_is(name, f->name))
				return f;
	return NULL;
}

static const struct front_flag *by_letter(const struct front_flag *const *tables, unsigned n, char letter)
{
	for (unsigned i = 0; i < n; i++)
		for (const struct front_flag *f = tables[i]; f->name; f++)
			if (f->letter == letter)
				return f;
	return NULL;
}

void front_words_add(struct arena *a, struct front_words *w, struct span word)
{
	/* Room doubles at the powers of two from 4 on. */
	if (w->n == 0 || (w->n >= 4 && (w->n & (w->n - 1)) == 0)) {
		struct span *more = arena_alloc_n(a, w->n ? (size_t)w->n * 2 : 4, sizeof(*more));
		if (w->n)
			memcpy(more, w->items, w->n * sizeof(*more));
		w->items = more;
	}
	w->items[w->n++] = word;
}

/* How pflag names the flag in its complaints. */
static int bad_value(const struct front_flag *f, struct span value, const char *why, struct err *err)
{
	char letter[8] = "";
	if (f->letter)
		(void)snprintf(letter, sizeof(letter), "-%c, ", f->letter);
	return err_set(err, ERR_USAGE, "invalid argument \"%.*s\" for \"%s--%s\" flag: %s", SPAN_ARG(value), letter, f->name, why);
}

static int flag_set(struct arena *a, const struct front_flag *f, struct span v, struct err *err)
{
	auto_buf struct buf why = {};
	auto_err struct err inner = ERR_INIT;
	struct span rest = v, one;
	int64_t seconds;
	switch (f->kind) {
	case FRONT_FLAG_BOOL:
		if (span_to_bool(v, f->value))
			return 0;
		buf_printf(&why, "strconv.ParseBool: parsing \"%.*s\": invalid syntax", SPAN_ARG(v));
		return bad_value(f, v, buf_cstr(&why), err);
	case FRONT_FLAG_TEXT:
		*(struct span *)f->value = v;
		return 0;
	case FRONT_FLAG_EACH:
		front_words_add(a, f->value, v);
		return 0;
	case FRONT_FLAG_LIST:
		while (span_cut(&rest, ',', &one))
			front_words_add(a, f->value, one);
		return 0;
	case FRONT_FLAG_NUMBER:
		if (span_to_i64(v, f->value))
			return 0;
		buf_printf(&why, "strconv.ParseInt: parsing \"%.*s\": invalid syntax", SPAN_ARG(v));
		return bad_value(f, v, buf_cstr(&why), err);
	case FRONT_FLAG_DURATION:
		/* --request-timeout takes "30" too, and 0 means for ever. */
		if (span_to_i64(v, &seconds) && seconds >= 0 && seconds < INT64_MAX / 1000000000) {
			*(int64_t *)f->value = seconds * 1000000000;
			return 0;
		}
		if (api_duration_parse(v, f->value, &inner) == 0)
			return 0;
		return bad_value(f, v, err_msg(&inner), err);
	}
	return err_set(err, ERR_INTERNAL, "flag --%s has no kind", f->name);
}

static bool needs_value(const struct front_flag *f)
{
	return f->kind != FRONT_FLAG_BOOL && !f->bare;
}

/* "-it", "-nkube-system", "-n", "kube-system". Returns how many further words were used. */
static int letters(struct arena *a, const struct front_flag *const *tables, unsigned n, struct span word, const char *next,
		   struct front_args *out, struct err *err)
{
	for (size_t i = 1; i < word.len; i++) {
		const struct front_flag *f = by_letter(tables, n, word.ptr[i]);
		struct span rest = span_from(word, i + 1);
		int rc;
		if (!f && word.ptr[i] == 'h') {
			out->help = true;
			continue;
		}
		if (!f)
			return err_set(err, ERR_USAGE, "unknown shorthand flag: '%c' in -%.*s", word.ptr[i], SPAN_ARG(span_from(word, i)));
		if (rest.len > 1 && rest.ptr[0] == '=') {
			rc = flag_set(a, f, span_from(rest, 1), err);
			return rc;
		}
		if (!needs_value(f)) {
			rc = flag_set(a, f, f->bare ? span_of(f->bare) : SPAN("true"), err);
			if (rc < 0)
				return rc;
			continue;
		}
		if (!rest.len && !next)
			return err_set(err, ERR_USAGE, "flag needs an argument: '%c' in -%.*s", word.ptr[i], SPAN_ARG(span_from(word, i)));
		rc = flag_set(a, f, rest.len ? rest : span_of(next), err);
		return rc < 0 ? rc : !rest.len;
	}
	return 0;
}

static int long_name(struct arena *a, const struct front_flag *const *tables, unsigned n, struct span word, const char *next,
		     struct front_args *out, struct err *err)
{
	struct span name, value;
	bool given = span_split(span_from(word, 2), '=', &name, &value);
	const struct front_flag *f = by_name(tables, n, name);
	int rc;
	if (!f && span_is(name, "help")) {
		out->help = true;
		return 0;
	}
	if (!f)
		return err_set(err, ERR_USAGE, "unknown flag: --%.*s", SPAN_ARG(name));
	if (given)
		return flag_set(a, f, value, err);
	if (!needs_value(f))
		return flag_set(a, f, f->bare ? span_of(f->bare) : SPAN("true"), err);
	if (!next)
		return err_set(err, ERR_USAGE, "flag needs an argument: --%.*s", SPAN_ARG(name));
	rc = flag_set(a, f, span_of(next), err);
	return rc < 0 ? rc : 1;
}

int front_args_parse(struct arena *a, const struct front_flag *const *tables, unsigned n, int argc, char **argv,
		     struct front_args *out, struct err *err)
{
	*out = (struct front_args){ .dash = -1 };
	for (int i = 0; i < argc; i++) {
		struct span word = span_of(argv[i]);
		const char *next = i + 1 < argc ? argv[i + 1] : NULL;
		int used;
		if (out->dash >= 0 || word.len < 2 || word.ptr[0] != '-') {
			front_words_add(a, &out->words, word);
			continue;
		}
		if (span_is(word, "--")) {
			out->dash = (int)out->words.n;
			continue;
		}
		used = word.ptr[1] == '-' ? long_name(a, tables, n, word, next, out, err)
					  : letters(a, tables, n, word, next, out, err);
		if (used < 0)
			return used;
		i += used;
	}
	return 0;
}

void front_args_help(struct buf *out, const struct front_flag *table)
{
	for (const struct front_flag *f = table; f->name; f++) {
		if (f->letter)
			buf_printf(out, "    -%c, --%s", f->letter, f->name);
		else
			buf_printf(out, "    --%s", f->name);
		if (needs_value(f))
			buf_str(out, " VALUE");
		buf_printf(out, ":\n\t%s\n\n", f->help);
	}
}
