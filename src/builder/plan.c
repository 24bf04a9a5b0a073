/* Stages as a graph: which ones the target needs, in which order, and that none waits for itself.
 *
 *     target ── base, COPY --from, RUN --mount=from= ──> other stages ──> ... ; what is not reached is not built */
#include "builder/plan.h"

static bool global_get(void *arg, struct span name, struct span *out)
{
	return builder_vars_global_get(arg, name, out);
}

static int globals(const struct builder_file *f, struct vars *v, struct err *err)
{
	const struct builder_scope scope = { .escape = f->escape, .get = global_get, .arg = v };
	for (size_t i = 0; i < f->n_globals; i++)
		for (size_t k = 0; k < f->globals[i].n_pairs; k++) {
			const struct builder_pair *p = &f->globals[i].pairs[k];
			struct span name, value = SPAN_EMPTY;
			int rc = builder_expand(p->key, &scope, v->a, &name, err);
			if (rc == 0 && p->has_value)
				rc = builder_expand(p->value, &scope, v->a, &value, err);
			if (rc < 0)
				return rc;
			builder_vars_global_add(v, name, value, p->has_value);
		}
	return 0;
}

static int by_name(const struct plan *p, size_t before, struct span word)
{
	/* The last of a name counts, as names may be given again. */
	for (size_t i = before; i-- > 0;)
		if (p->stages[i].is->name.len && span_eq_nocase(p->stages[i].is->name, word))
			return (int)i;
	return -1;
}

int builder_plan_stage_find(const struct plan *p, struct span word)
{
	int at = by_name(p, p->n, word);
	uint64_t n;
	if (at < 0 && span_to_u64(word, &n))
		return n < p->n ? (int)n : -2;
	return at;
}

static int base(struct plan *p, size_t at, const struct builder_file *f, struct vars *v, struct err *err)
{
	const struct builder_scope scope = { .escape = f->escape, .get = global_get, .arg = v };
	struct plan_stage *s = &p->stages[at];
	int rc = builder_expand(s->is->base, &scope, v->a, &s->image, err);
	if (rc == 0)
		rc = builder_expand(s->is->platform, &scope, v->a, &s->platform, err);
	if (rc < 0)
		return rc;
	if (!s->image.len)
		return err_set(err, ERR_INVALID_REQUEST, "base name (%.*s) should not be blank", SPAN_ARG(s->is->base));
	if (s->is->platform.len && !s->platform.len)
		return err_set(err, ERR_INVALID_REQUEST, "empty platform value from expression %.*s", SPAN_ARG(s->is->platform));
	int stage = by_name(p, at, s->image); /* only those above; a stage of the same name is not itself */
	s->base = stage >= 0 ? PLAN_STAGE : span_is(s->image, "scratch") ? PLAN_SCRATCH : PLAN_IMAGE;
	s->base_stage = stage >= 0 ? (unsigned)stage : 0;
	return 0;
}

static int use(struct plan *p, struct plan_stage *s, struct span word, struct err *err)
{
	int at = word.len ? builder_plan_stage_find(p, word) : -1;
	if (at == -2)
		return err_set(err, ERR_INVALID_REQUEST, "invalid from flag value %.*s: invalid stage index %.*s", SPAN_ARG(word),
			SPAN_ARG(word));
	if (at >= 0)
		s->uses[s->n_uses++] = (unsigned)at;
	return 0;
}

static int uses(struct plan *p, struct plan_stage *s, struct vars *v, struct err *err)
{
	size_t room = 1;
	for (size_t i = 0; i < s->is->n; i++)
		room += s->is->items[i].n_flags;
	s->uses = arena_alloc_n(v->a, room, sizeof(*s->uses));
	if (s->base == PLAN_STAGE)
		s->uses[s->n_uses++] = s->base_stage;
	int rc = 0;
	for (size_t i = 0; i < s->is->n && rc == 0; i++) {
		const struct builder_instruction *in = &s->is->items[i];
		for (size_t k = 0; k < in->n_flags && rc == 0; k++) {
			const struct builder_flag *f = &in->flags[k];
			struct builder_mount m;
			if (in->op == BUILDER_COPY && span_is(f->name, "from"))
				rc = use(p, s, f->value, err);
			else if (in->op == BUILDER_RUN && span_is(f->name, "mount") && builder_mount_parse(f->value, v->a, &m, NULL) == 0)
				rc = use(p, s, m.from, err); /* one that cannot be read is told when it runs, variables and all */
		}
	}
	return rc;
}

/* Depth first without recursion: what the target reaches, and that nothing reaches itself. */
static int reach(struct plan *p, struct arena *a, struct err *err)
{
	enum { NEW, OPEN, DONE };
	uint8_t *mark = arena_zalloc(a, p->n);
	size_t *at = arena_alloc_n(a, p->n, sizeof(*at)), depth = 0;
	unsigned *path = arena_alloc_n(a, p->n, sizeof(*path));
	path[depth] = p->target;
	at[depth++] = 0;
	mark[p->target] = OPEN;
	while (depth) {
		unsigned i = path[depth - 1];
		struct plan_stage *s = &p->stages[i];
		if (at[depth - 1] == s->n_uses) {
			mark[i] = DONE;
			s->needed = true;
			p->n_order++;
			depth--;
			continue;
		}
		unsigned next = s->uses[at[depth - 1]++];
		if (mark[next] == OPEN) {
			const struct builder_stage *is = p->stages[next].is;
			struct span name = is->name.len ? is->name : arena_printf(a, "%u", next);
			return err_set(err, ERR_INVALID_REQUEST, "circular dependency detected on stage: %.*s", SPAN_ARG(name));
		}
		if (mark[next] == NEW) {
			mark[next] = OPEN;
			path[depth] = next;
			at[depth++] = 0;
		}
	}
	return 0;
}

/* Each behind all that it uses; of those that could come next the first in the file, which is how they are told. */
static void order(struct plan *p, struct arena *a)
{
	bool *placed = arena_zalloc(a, p->n * sizeof(*placed));
	p->order = arena_alloc_n(a, p->n, sizeof(*p->order));
	for (size_t k = 0; k < p->n_order; k++)
		for (size_t i = 0; i < p->n; i++) {
			const struct plan_stage *s = &p->stages[i];
			bool ready = s->needed && !placed[i];
			for (size_t u = 0; u < s->n_uses && ready; u++)
				ready = placed[s->uses[u]];
			if (!ready)
				continue;
			placed[i] = true;
			p->order[k] = (unsigned)i;
			break;
		}
}

int builder_plan_make(const struct builder_file *f, struct span target, struct vars *v, struct plan *out, struct err *err)
{
	*out = (struct plan){ .n = f->n_stages, .target = f->n_stages ? (unsigned)f->n_stages - 1 : 0 };
	int rc = globals(f, v, err);
	if (rc < 0)
		return rc;
	if (!out->n)
		return err_set(err, ERR_INVALID_REQUEST, "no build stage in current context");
	if (out->n > BUILDER_STAGES_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "more than %d stages", BUILDER_STAGES_MAX);
	out->stages = arena_alloc_n(v->a, out->n, sizeof(*out->stages));
	for (size_t i = 0; i < out->n; i++)
		out->stages[i] = (struct plan_stage){ .is = &f->stages[i] };
	if (target.len) {
		int at = builder_plan_stage_find(out, target);
		if (at < 0)
			return err_set(err, ERR_INVALID_REQUEST, "failed to reach build target %.*s in Dockerfile", SPAN_ARG(target));
		out->target = (unsigned)at;
	}
	for (size_t i = 0; i < out->n && rc == 0; i++)
		rc = base(out, i, f, v, err);
	for (size_t i = 0; i < out->n && rc == 0; i++)
		rc = uses(out, &out->stages[i], v, err);
	rc = rc < 0 ? rc : reach(out, v->a, err);
	if (rc < 0)
		return rc;
	order(out, v->a);
	out->steps = (unsigned)f->n_globals;
	for (size_t i = 0; i < out->n; i++)
		if (out->stages[i].needed) {
			out->stages[i].first_step = out->steps + 1;
			out->steps += 1 + (unsigned)out->stages[i].is->n;
		}
	return 0;
}
