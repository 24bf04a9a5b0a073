#include "base/flags.h"

static const char *name_of(const struct flags *w, size_t row)
{
	const char *name;
	memcpy(&name, (const char *)w->rows + row * w->row_size, sizeof(name));
	return name;
}

void flags_print(const void *rows, size_t n_rows, size_t row_size, size_t help_at)
{
	for (const char *row = rows, *end = row + n_rows * row_size; row < end; row += row_size) {
		const char *name, *help;
		memcpy(&name, row, sizeof(name));
		memcpy(&help, row + help_at, sizeof(help));
		if (name)
			printf("      --%-40s %s\n", name, help);
	}
}

int flags_next(struct flags *w, struct err *err)
{
	if (w->at == w->argc)
		return 0;
	struct span arg = span_of(w->argv[w->at]), name;
	if (span_is(arg, "--help") || span_is(arg, "-h")) {
		w->help = true;
		return 0;
	}
	size_t dashes = span_starts(arg, SPAN("--")) ? 2 : span_starts(arg, SPAN("-v")) ? 1 : 0;
	if (!dashes)
		return err_set(err, ERR_USAGE, "%s %s", w->stray, arg.ptr);
	w->at++;
	if (!span_split(span_from(arg, dashes), '=', &name, &w->value))
		w->value = SPAN_EMPTY;
	for (w->row = 0; w->row < w->n_rows; w->row++) {
		const char *known = name_of(w, w->row);
		if (known && span_is(name, known))
			return 1;
	}
	return err_set(err, ERR_USAGE, "unknown flag: --%.*s", SPAN_ARG(name));
}

int flags_value(struct flags *w, bool is_truth, struct span *out, struct err *err)
{
	if (w->value.ptr)
		*out = w->value;
	else if (is_truth)
		*out = SPAN("true");
	else if (w->at == w->argc)
		return err_set(err, ERR_USAGE, "flag needs an argument: --%s", name_of(w, w->row));
	else
		*out = span_of(w->argv[w->at++]);
	return 0;
}
