/* What could be better about a Dockerfile, said once behind a build that went well. Each rule names its line and what to do. */
#include "builder/work.h"

#define RUNS_MANY 8
#define LAYER_LARGE (100u << 20)

static void line(struct buf *out, const struct build *w, unsigned at, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void line(struct buf *out, const struct build *w, unsigned at, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_printf(out, "[Advice] %.*s:%u: ", SPAN_ARG(w->name), at);
	buf_vprintf(out, fmt, ap);
	buf_chr(out, '\n');
	va_end(ap);
}

static bool archive_name(struct span s)
{
	static const char *const ends[] = { ".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".gz", ".zst", ".xz",
		".bz2" };
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (span_ends(s, span_of(ends[i])))
			return true;
	return false;
}

static void add(struct buf *out, const struct build *w, const struct builder_instruction *in)
{
	for (size_t i = 0; i + 1 < in->n_args; i++) {
		struct span s = in->args[i];
		if (span_find(s, SPAN("://")) >= 0 || span_starts(s, SPAN("git@")) || span_starts(s, SPAN("<<")) || span_chr(s,
			'$') >= 0 ||
		    archive_name(s))
			return;
	}
	line(out, w, in->line, "ADD brings files that are neither archives nor URLs: COPY says so");
}

static bool installs(struct span code)
{
	static const char *const words[] = { "install", "npm ci", "apk add", "mod download", "bundle", "yarn" };
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (span_has(code, span_of(words[i])))
			return true;
	return false;
}

/* Forms that are still read; BuildKit's rules and words (LegacyKeyValueFormat, MaintainerDeprecated). */
static void old_form(struct buf *out, const struct build *w, const struct builder_instruction *in)
{
	const char *name = builder_op_name(in->op);
	if ((in->op == BUILDER_ENV || in->op == BUILDER_LABEL) && in->n_pairs && in->pairs[0].spaced)
		buf_printf(out, "[Warning] %.*s:%u: \"%s key=value\" should be used instead of legacy \"%s key value\" format\n",
			SPAN_ARG(w->name), in->line, name, name);
	if (in->op == BUILDER_MAINTAINER)
		buf_printf(out, "[Warning] %.*s:%u: Maintainer instruction is deprecated in favor of using label\n", SPAN_ARG(w->name),
			in->line);
}

static void stage(struct buf *out, const struct build *w, const struct plan_stage *ps)
{
	const struct builder_stage *is = ps->is;
	const struct builder_instruction *all = NULL, *first_run = NULL;
	unsigned runs = 0;
	if (ps->base == PLAN_IMAGE) {
		bool digest = span_chr(ps->image, '@') >= 0;
		ptrdiff_t colon = span_rchr(ps->image, ':'), slash = span_rchr(ps->image, '/');
		if (!digest && (colon <= slash || span_ends(ps->image, SPAN(":latest"))))
			line(out, w, is->from->line, "FROM %.*s means another image tomorrow: name a version", SPAN_ARG(ps->image));
	}
	for (size_t i = 0; i < is->n; i++) {
		const struct builder_instruction *in = &is->items[i];
		old_form(out, w, in);
		if (in->op == BUILDER_ADD)
			add(out, w, in);
		if (in->op == BUILDER_COPY && !builder_flag_get(in, "from", NULL).len && in->n_args == 2 &&
		    (span_is(in->args[0], ".") || span_is(in->args[0], "./")) && !all)
			all = in;
		if (in->op != BUILDER_RUN)
			continue;
		if (!runs++)
			first_run = in;
		if (all && installs(in->code)) {
			line(out, w, in->line,
				"it runs again after every change of the context, which line %u copies before it: copy what it needs "
				"first, and the rest behind it", all->line);
			all = NULL;
		}
	}
	if (runs > RUNS_MANY)
		line(out, w, first_run->line, "%u RUNs make as many layers: join those that belong together with &&", runs);
}

static void layers(struct buf *out, const struct build *w)
{
	auto_arena struct arena a = {};
	struct base base;
	if (builder_base_load(w->b, &w->stages[w->plan.target].id, &a, &base, NULL) < 0)
		return;
	size_t layer = 0;
	JSON_EACH_ITEM(&base.history, item) {
		if (json_truth(json_getl(item, "empty_layer"), false))
			continue;
		if (layer == base.n)
			break;
		uint64_t size = base.layers[layer++].size;
		struct span by = json_span(json_getl(item, "created_by"));
		if (size >= LAYER_LARGE)
			buf_printf(out, "[Advice] a layer of %llu MB: %.*s\n", (unsigned long long)(size / 1000000), SPAN_ARG(span_sub(by, 0,
				100)));
	}
}

void builder_advice(const struct build *w, struct buf *out)
{
	for (size_t i = 0; i < w->plan.n; i++)
		if (w->plan.stages[i].needed)
			stage(out, w, &w->plan.stages[i]);
	layers(out, w);
}
