/* The walk over the rows of kinds.def: what BeforeCreate and BeforeUpdate of k8s.io/apiserver do, in their order. */
#include "strategy/check.h"
#include "strategy/pod.h"

#define KIND(name) extern const struct strategy_kind strategy_kind_##name;
#define TYPE(name) extern const struct strategy_type strategy_type_##name;
#include "strategy/kinds.def"
#undef KIND
#undef TYPE

static const struct strategy_kind *const kinds[] = {
#define KIND(name) &strategy_kind_##name,
#define TYPE(name)
#include "strategy/kinds.def"
#undef KIND
#undef TYPE
};
static const struct strategy_type *const types[] = {
#define KIND(name)
#define TYPE(name) &strategy_type_##name,
#include "strategy/kinds.def"
#undef KIND
#undef TYPE
	NULL,
};

const struct strategy_kind *strategy_kind_find(struct span group, struct span version, struct span kind)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct strategy_kind *k = kinds[i];
		if (!kind.len || kind.ptr[0] != k->kind[0]) /* each write asks four times */
			continue;
		if (span_is(kind, k->kind) && span_is(group, k->group) && (!k->version || span_is(version, k->version)))
			return k;
	}
	return NULL;
}

static const struct strategy_kind *kind_of(const struct api_resource *r)
{
	return r->id == API_RESOURCE_CUSTOM ? NULL : strategy_kind_find(r->group, r->version, r->kind);
}

static const struct strategy_sub *sub_of(const struct strategy_kind *k, struct span name)
{
	for (size_t i = 0; k && i < ARRAY_LEN(k->subs) && k->subs[i].name; i++)
		if (span_is(name, k->subs[i].name))
			return &k->subs[i];
	return NULL;
}

unsigned strategy_flags(const struct api_resource *resource)
{
	const struct strategy_kind *k = kind_of(resource);
	if (resource->id == API_RESOURCE_CUSTOM)
		return STRATEGY_HAS_GENERATION;
	return k ? k->flags : STRATEGY_UNCONDITIONAL_UPDATE;
}

/* ---- defaults */
void strategy_default(struct arena *a, const struct api_resource *resource, struct json *object)
{
	const struct strategy_kind *k = kind_of(resource);
	if (k && k->defaults && json_is(object, JSON_OBJECT))
		k->defaults(a, object);
}

void strategy_default_type(struct arena *a, struct span type_name, struct json *value)
{
	for (size_t i = 0; types[i]; i++)
		if (span_is(type_name, types[i]->name) && json_is(value, JSON_OBJECT))
			types[i]->defaults(a, value);
}

/* ---- prepare */
struct json *strategy_meta(struct strategy *s)
{
	return default_object(s->arena, s->object, "metadata");
}

/* A member becomes old's; the copy keeps later changes out of old. */
static void keep(struct arena *a, struct json *object, const struct json *old, struct span name)
{
	const struct json *was = json_get(old, name);
	if (was)
		json_set(a, object, name, json_copy(a, was));
	else
		json_remove(object, name);
}

void strategy_keep(struct strategy *s, const char *name)
{
	keep(s->arena, s->object, s->old, span_of(name));
}

void strategy_keep_in(struct strategy *s, const char *outer, const char *name)
{
	const struct json *was = json_get(s->old, span_of(outer));
	if (json_get(was, span_of(name)))
		keep(s->arena, default_object(s->arena, s->object, outer), was, span_of(name));
	else
		strategy_drop_in(s, outer, name);
}

void strategy_drop(struct strategy *s, const char *name)
{
	json_remove(s->object, span_of(name));
}

void strategy_drop_in(struct strategy *s, const char *outer, const char *name)
{
	struct json *o = json_get(s->object, span_of(outer));
	if (json_is(o, JSON_OBJECT))
		json_remove(o, span_of(name));
}

void strategy_generation(struct strategy *s, bool changed)
{
	int64_t was = json_i64(json_path(s->old, "metadata", "generation", NULL), 0);
	if (strategy_creates(s))
		json_setl(s->arena, strategy_meta(s), "generation", json_int(1));
	else if (changed)
		json_setl(s->arena, strategy_meta(s), "generation", json_int(was + 1));
}

bool strategy_part_changed(const struct strategy *s, const char *name)
{
	const struct json *now = json_get(s->object, span_of(name)), *was = json_get(s->old, span_of(name));
	const struct api_field *field = api_type_field(s->resource->type, span_of(name));
	if (!s->old)
		return false;
	return field ? !pod_same(api_field_type(field), now, was) : !strategy_same(now, was);
}

void prepare_nothing(struct strategy *s)
{
}

void prepare_status(struct strategy *s)
{
	if (strategy_creates(s))
		strategy_drop(s, "status");
	else
		strategy_keep(s, "status");
}

void prepare_generation(struct strategy *s)
{
	prepare_status(s);
	strategy_generation(s, strategy_part_changed(s, "spec"));
}

void prepare_status_only(struct strategy *s)
{
	strategy_keep(s, "spec");
}

void prepare_status_meta(struct strategy *s)
{
	strategy_keep(s, "spec");
	strategy_keep_in(s, "metadata", "labels");
}

/* BeforeUpdate: what no request may change is put back. Generation comes before the kind's own part, the rest behind it. */
static void keep_generation(struct strategy *s)
{
	keep(s->arena, strategy_meta(s), member(s->old, "metadata"), SPAN("generation"));
}

static void keep_system_fields(struct strategy *s)
{
	struct json *meta = strategy_meta(s);
	const struct json *was = member(s->old, "metadata");
	if (member_text(meta, "uid").len == 0)
		keep(s->arena, meta, was, SPAN("uid"));
	if (member(was, "creationTimestamp"))
		keep(s->arena, meta, was, SPAN("creationTimestamp"));
	if (member(was, "deletionTimestamp"))
		keep(s->arena, meta, was, SPAN("deletionTimestamp"));
	if (member(was, "deletionGracePeriodSeconds") && !member(meta, "deletionGracePeriodSeconds"))
		keep(s->arena, meta, was, SPAN("deletionGracePeriodSeconds"));
}

void strategy_prepare(struct strategy *s)
{
	const struct strategy_kind *k = kind_of(s->resource);
	const struct strategy_sub *sub = s->subresource.len ? sub_of(k, s->subresource) : NULL;
	if (s->old)
		keep_generation(s);
	if (sub) {
		if (sub->prepare)
			sub->prepare(s);
	} else if (s->subresource.len) {
		if (span_is(s->subresource, "status"))
			prepare_status_only(s);
	} else if (k && k->prepare) {
		k->prepare(s);
	} else if (k && api_type_field(s->resource->type, SPAN("status"))) {
		prepare_status(s);
	}
	if (s->old)
		keep_system_fields(s);
	if (s->custom && s->resource->id == API_RESOURCE_CUSTOM)
		s->custom->prepare(s, s->custom_arg);
}

/* ---- validation */
void strategy_warn(struct strategy *s, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct span text = arena_vprintf(s->arena, fmt, ap);
	va_end(ap);
	for (unsigned i = 0; i < s->n_warnings; i++)
		if (span_eq(s->warnings[i], text))
			return;
	if (s->n_warnings == s->cap_warnings) {
		unsigned cap = s->cap_warnings ? s->cap_warnings * 2 : 4;
		struct span *more = arena_alloc_n(s->arena, cap, sizeof(*more));
		if (s->n_warnings)
			memcpy(more, s->warnings, s->n_warnings * sizeof(*more));
		s->warnings = more;
		s->cap_warnings = cap;
	}
	s->warnings[s->n_warnings++] = text;
}

/* `Kind.group "name" is invalid: ` and the causes: one bare, several in brackets, each text once (ToAggregate). */
int strategy_invalid(const struct api_resource *resource, struct span name, struct err *err)
{
	auto_buf struct buf text = {}, one = {};
	auto_map struct map seen = {};
	auto_arena struct arena a = {};
	unsigned n = 0;
	for (unsigned i = 0; i < err->n_causes; i++) {
		const struct err_cause *cause = &err->causes[i];
		buf_trunc(&one, 0);
		buf_printf(&one, "%s: %s", cause->field ? cause->field : "<nil>", cause->message);
		if (map_get(&seen, buf_span(&one)))
			continue;
		struct span key = arena_span(&a, buf_span(&one));
		map_put(&seen, key, &seen);
		if (n++)
			buf_str(&text, ", ");
		buf_span_add(&text, key);
	}
	const char *open = n > 1 ? "[" : "", *close = n > 1 ? "]" : "", *dot = resource->group.len ? "." : "";
	return err_set(err, ERR_INVALID, "%.*s%s%.*s \"%.*s\" is invalid: %s%s%s", SPAN_ARG(resource->kind), dot,
		       SPAN_ARG(resource->group), SPAN_ARG(name), open, buf_cstr(&text), close);
}

/* Moves what a check has collected into err; 0 when it is nothing. */
static int conclude(struct check *c, struct err *err)
{
	auto_err struct err found = c->err;
	c->err = (struct err)ERR_INIT;
	if (!found.n_causes)
		return 0;
	struct span name = json_span(json_path(c->s->object, "metadata", "name", NULL));
	strategy_invalid(c->s->resource, name, &found);
	return err_move(err, &found);
}

void strategy_meta_causes(struct arena *a, struct span at, const struct json *meta, struct err *err)
{
	struct strategy s = { .arena = a };
	struct check c = { .s = &s, .arena = a, .err = ERR_INIT };
	struct json named = json_copy(a, meta);
	if (!member_text(&named, "name").len)
		json_setl(a, &named, "name", json_cstr("fakename"));
	check_meta_at(&c, &PATH_SPAN(PATH_ROOT, at), &named, member_text(&named, "namespace").len > 0, META_PLAIN,
		      api_name_path_segment);
	for (unsigned i = 0; i < c.err.n_causes; i++)
		err_cause_add(err, span_of(c.err.causes[i].field), c.err.causes[i].reason, span_of(c.err.causes[i].message));
	err_done(&c.err);
}

int strategy_validate(struct strategy *s, struct err *err)
{
	const struct strategy_kind *k = kind_of(s->resource);
	const struct strategy_sub *sub = s->subresource.len ? sub_of(k, s->subresource) : NULL;
	check_fn *check = s->subresource.len ? (sub ? sub->check : NULL) : k ? k->check : NULL;
	struct check c = { .s = s, .kind = k, .arena = s->arena, .err = ERR_INIT };
	if (s->old) {
		check_meta(&c, s->object, META_PLAIN, api_name_path_segment);
		check_meta_update(&c, s->object, s->old, META_PLAIN);
	}
	if (check)
		check(&c, s->object, s->old);
	if (!s->old && !c.n)
		check_meta(&c, s->object, META_PLAIN,
			   s->resource->id == API_RESOURCE_CUSTOM ? api_name_dns1123_subdomain : api_name_path_segment);
	int rc = conclude(&c, err);
	if (s->custom && s->resource->id == API_RESOURCE_CUSTOM)
		return s->custom->validate(s, s->custom_arg, rc, err);
	if (rc < 0)
		return rc;
	if (k && k->warnings && !s->subresource.len)
		k->warnings(&c, s->object, s->old);
	return 0;
}
