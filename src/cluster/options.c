/* Command lines: `--name value`, `--name=value`, `-f`, and words. What is misspelt is told with the nearest that there is. */
#include "cluster/private.h"

#define WORD_MAX 40

static unsigned lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* Levenshtein's distance without regard to case; both at most WORD_MAX bytes. */
static unsigned distance(struct span a, struct span b)
{
	unsigned row[WORD_MAX + 1];
	for (unsigned j = 0; j <= b.len; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.len; i++) {
		unsigned corner = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= b.len; j++) {
			unsigned up = row[j], change = corner + (lower(a.ptr[i - 1]) != lower(b.ptr[j - 1]));
			unsigned add = MIN(up, row[j - 1]) + 1;
			row[j] = MIN(add, change);
			corner = up;
		}
	}
	return row[b.len];
}

const char *cluster_nearest(struct span word, const char *const *names, size_t n)
{
	const char *best = NULL;
	unsigned least = 3;
	if (!word.len || word.len > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		struct span name = span_of(names[i]);
		unsigned d = name.len > WORD_MAX ? least + 1 : distance(word, name);
		if (d <= least && d < name.len && (d < least || !best)) {
			least = d;
			best = names[i];
		}
	}
	return best;
}

static int set(const struct cluster_option *o, struct span value, struct err *err)
{
	switch (o->kind) {
	case CLUSTER_OPTION_TEXT: *(struct span *)o->out = value; return 0;
	case CLUSTER_OPTION_NUMBER:
		if (!span_to_i64(value, o->out) || *(int64_t *)o->out < 0)
			return err_set(err, ERR_USAGE, "--%s %.*s: a number is expected", o->name, SPAN_ARG(value));
		return 0;
	case CLUSTER_OPTION_TRUE:
		if (value.len && !span_is(value, "true") && !span_is(value, "false"))
			return err_set(err, ERR_USAGE, "--%s=%.*s: true or false is expected", o->name, SPAN_ARG(value));
		*(bool *)o->out = !span_is(value, "false");
		return 0;
	}
	return 0;
}

static int unknown(const struct cluster_usage *u, const char *arg, struct span name, struct err *err)
{
	const char *names[32];
	size_t n = 0;
	for (unsigned i = 0; i < u->n_options && n < ARRAY_LEN(names); i++)
		names[n++] = u->options[i].name;
	const char *near = cluster_nearest(name, names, n);
	return err_set(err, ERR_USAGE, "unknown flag: %s%s%s%s", arg, near ? "; did you mean --" : "", near ? near : "", near ? "?"
		: "");
}

static void help(const struct cluster_usage *u)
{
	printf("Usage: knarr %s\n\n%s\n\nFlags:\n", u->usage, u->about);
	for (unsigned i = 0; i < u->n_options; i++) {
		const struct cluster_option *o = &u->options[i];
		char flag[64];
		snprintf(flag, sizeof(flag), "%s%c%s--%s", o->letter ? "-" : " ", o->letter ? o->letter : ' ', o->letter ? ", " : "  ",
			o->name);
		printf("  %-24s %s\n", flag, o->help);
	}
}

int cluster_options_parse(struct cluster_usage *u, int argc, char **argv, struct err *err)
{
	for (int i = 0; i < argc; i++) {
		struct span arg = span_of(argv[i]), name, value = SPAN_EMPTY;
		const struct cluster_option *o = NULL;
		if (span_is(arg, "--help") || span_is(arg, "-h")) {
			help(u);
			return 1;
		}
		if (arg.len < 2 || arg.ptr[0] != '-') {
			if (u->got_words == u->n_words)
				return err_set(err, ERR_USAGE, "unexpected argument: %s", argv[i]);
			u->words[u->got_words++] = arg;
			continue;
		}
		bool dashes = arg.ptr[1] == '-', has_value = span_split(span_from(arg, dashes ? 2 : 1), '=', &name, &value);
		for (unsigned k = 0; k < u->n_options; k++)
			if (dashes ? span_is(name, u->options[k].name) : name.len == 1 && name.ptr[0] == u->options[k].letter)
				o = &u->options[k];
		if (!o)
			return unknown(u, argv[i], name, err);
		if (!has_value && o->kind != CLUSTER_OPTION_TRUE) {
			if (++i == argc)
				return err_set(err, ERR_USAGE, "flag needs an argument: --%s", o->name);
			value = span_of(argv[i]);
		}
		int rc = set(o, value, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int cluster_fail(const char *applet, const struct err *err)
{
	(void)fflush(stdout);
	(void)fprintf(stderr, "knarr %s: %s\n", applet, err_msg(err));
	if (err->class == ERR_USAGE)
		(void)fprintf(stderr, "See 'knarr %s --help'\n", applet);
	return err_exit_code(err->class);
}
