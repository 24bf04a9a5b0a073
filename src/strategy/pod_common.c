/* What the pod files share: walks, equality by type, complaints in forms of their own. */
#include "strategy/pod.h"

void pod_bad(struct check *c, const struct path *at, enum api_field_error type, struct span shown, const char *fmt, ...)
{
	auto_buf struct buf field = {}, detail = {};
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&detail, fmt, ap);
	va_end(ap);
	path_text(at, &field);
	if (shown.len || type == API_FE_REQUIRED || type == API_FE_FORBIDDEN) {
		api_fe_add(&c->err, buf_span(&field), type, shown, buf_span(&detail));
	} else {
		/* OmitValueType: the type's words and the detail alone, as a forbidden one is put together. */
		auto_buf struct buf body = {};
		buf_printf(&body, "Invalid value: %s", buf_cstr(&detail));
		err_cause_add(&c->err, buf_span(&field), api_fe_reason(type), buf_span(&body));
	}
	c->n++;
}

void check_immutable_pointer(struct check *c, const struct path *at, const char *go_type, const struct json *now,
			     const struct json *was)
{
	if (strategy_same(now, was))
		return;
	if (!now)
		bad_null(c, at, "field is immutable");
	else if (go_type[0])
		bad_typed(c, at, go_type, now, "field is immutable");
	else
		bad_value(c, at, now, "field is immutable");
}

const struct json *pod_volume(const struct pod_view *v, struct span name)
{
	for (uint32_t i = 0; i < v->n_volumes; i++)
		if (span_eq(member_text(v->volumes[i], "name"), name))
			return v->volumes[i];
	return NULL;
}

void pod_containers_each(const struct path *spec_at, const struct json *spec, pod_container_fn *fn, void *ctx)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
		const struct path list = PATH_SPAN(spec_at, span_of(lists[k]));
		JSON_EACH_INDEX(json_get(spec, span_of(lists[k])), item, i)
			if (!fn(ctx, &PATH_INDEX(&list, i), item))
				return;
	}
}

bool pod_is_sidecar(const struct json *container)
{
	return span_is(member_text(container, "restartPolicy"), "Always");
}

/* ---- equality by type */
static bool is_zero(const struct api_type *t, const struct json *v, bool pointer)
{
	if (!v || v->kind == JSON_NULL)
		return true;
	if (v->kind == JSON_ARRAY)
		return v->n == 0;
	if (v->kind == JSON_OBJECT && (!pointer || api_type_kind(t) == API_MAP)) {
		if (api_type_kind(t) != API_OBJECT)
			return v->n == 0;
		JSON_EACH_MEMBER(v, m) {
			const struct api_field *f = api_type_field(t, json_key(m));
			if (!f || !is_zero(api_field_type(f), &m->value, api_field_has(f, API_FIELD_POINTER)))
				return false;
		}
		return true;
	}
	if (pointer)
		return false;
	switch (api_type_kind(t)) {
	case API_STRING:
	case API_BYTES:
		return json_span(v).len == 0;
	case API_INT32:
	case API_INT64:
		return json_is_number(v) && json_i64(v, 1) == 0;
	case API_BOOL:
		return !json_truth(v, true);
	case API_INTORSTRING:
		return json_is(v, JSON_INT) && v->i == 0;
	case API_QUANTITY:
		return span_is(json_span(v), "0");
	default:
		return false;
	}
}

/* Trees are at most as deep as decoding allows (200). */
static bool same(const struct api_type *t, const struct json *a, const struct json *b, bool pointer)
{
	bool no_a = is_zero(t, a, pointer), no_b = is_zero(t, b, pointer);
	if (no_a || no_b)
		return no_a && no_b;
	if (a->kind != b->kind)
		return json_equal(a, b);
	const struct api_type *elem = api_type_elem(t);
	switch (api_type_kind(t)) {
	case API_OBJECT:
		for (unsigned i = 0; i < api_type_n_fields(t); i++) {
			const struct api_field *f = api_type_field_at(t, i);
			struct span name = api_field_name(f);
			if (!same(api_field_type(f), json_get(a, name), json_get(b, name), api_field_has(f, API_FIELD_POINTER)))
				return false;
		}
		return true;
	case API_LIST:
		if (a->n != b->n)
			return false;
		for (uint32_t i = 0; i < a->n; i++)
			if (!same(elem, &a->items[i], &b->items[i], false))
				return false;
		return true;
	case API_MAP:
		if (a->n != b->n)
			return false;
		JSON_EACH_MEMBER(a, m) {
			const struct json *other = json_get(b, json_key(m));
			if (!other || !same(elem, &m->value, other, false))
				return false;
		}
		return true;
	default:
		return json_equal(a, b);
	}
}

bool pod_same(const struct api_type *t, const struct json *a, const struct json *b)
{
	return same(t, a, b, false);
}

bool pod_same_named(const char *type, const struct json *a, const struct json *b)
{
	const struct api_type *t = api_type_find(span_of(type));
	assert(t); /* names are literals of ours */
	return same(t, a, b, false);
}
