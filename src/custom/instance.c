/* Custom resources on their way into the store: registry/customresource/strategy.go, validator.go and status_strategy.go. */
#include "custom/private.h"

bool custom_is(const struct api_resource *row)
{
	return row->id == API_RESOURCE_CUSTOM;
}

static const struct custom_row *row_of(const struct api_resource *row)
{
	return row->owner;
}

/* ---- paths of scale: ".spec.replicas" */

const struct json *custom_path_get(const struct json *object, struct span path)
{
	struct span part;
	if (path.len && path.ptr[0] == '.')
		path = span_from(path, 1);
	while (object && span_cut(&path, '.', &part))
		object = json_get(object, part);
	return object && object->kind != JSON_NULL ? object : NULL;
}

bool custom_path_set(struct arena *a, struct json *object, struct span path, struct json value)
{
	struct span part;
	if (path.len && path.ptr[0] == '.')
		path = span_from(path, 1);
	while (span_cut(&path, '.', &part)) {
		if (!json_is(object, JSON_OBJECT))
			return false;
		struct json *below = json_get(object, part);
		if (!path.len)
			(void)json_set(a, object, part, value);
		else if (!below)
			below = json_set(a, object, part, json_object());
		object = below;
	}
	return true;
}

bool custom_scale_of(const struct api_resource *row, struct custom_scale *out)
{
	if (!custom_is(row) || !row_of(row)->has_scale)
		return false;
	*out = row_of(row)->scale;
	return true;
}

/* ---- prepare */

/* Without metadata, which has no generation, and apiVersion, which follows the version asked for. */
static bool same_wish(const struct json *a, const struct json *b)
{
	uint32_t n = 0, m = 0;
	JSON_EACH_MEMBER(a, x) {
		const struct json *y = json_get(b, json_key(x));
		if (span_is(json_key(x), "metadata") || span_is(json_key(x), "apiVersion") || span_is(json_key(x), "kind"))
			continue;
		n++;
		if (!y || !json_equal(&x->value, y))
			return false;
	}
	JSON_EACH_MEMBER(b, y)
		m += !span_is(json_key(y), "metadata") && !span_is(json_key(y), "apiVersion") && !span_is(json_key(y), "kind");
	return n == m;
}

static void keep_member(struct arena *a, struct json *object, const struct json *old, struct span name)
{
	const struct json *was = json_get(old, name);
	if (was)
		(void)json_set(a, object, name, json_copy(a, was));
	else
		(void)json_remove(object, name);
}

/* Everything but the status is what it was, and the record of who changed what. */
static void prepare_status(const struct custom_change *c)
{
	const struct json *status = json_getl(c->object, "status");
	const struct json *managers = json_getl(json_getl(c->object, "metadata"), "managedFields");
	struct json object = json_copy(c->arena, c->old);
	if (status)
		(void)json_setl(c->arena, &object, "status", *status);
	else
		(void)json_remove(&object, SPAN("status"));
	struct json *meta = json_getl(&object, "metadata");
	if (managers)
		(void)json_setl(c->arena, meta, "managedFields", *managers);
	else
		(void)json_remove(meta, SPAN("managedFields"));
	*c->object = object;
}

void custom_prepare(const struct custom_change *c)
{
	const struct custom_row *r = row_of(c->row);
	if (c->old && c->status) {
		prepare_status(c);
		return;
	}
	int64_t generation = json_i64(json_path(c->old, "metadata", "generation", (char *)NULL), 0);
	if (c->old && r->has_status)
		keep_member(c->arena, c->object, c->old, SPAN("status"));
	else if (r->has_status)
		(void)json_remove(c->object, SPAN("status"));
	struct json *meta = json_getl(c->object, "metadata");
	if (c->old && same_wish(c->object, c->old))
		keep_member(c->arena, meta, json_getl(c->old, "metadata"), SPAN("generation"));
	else
		(void)json_setl(c->arena, meta, "generation", json_int(generation + 1));
}

/* ---- scale's fields in the object */

/* Go's unstructured.NestedFieldNoCopy and what its callers say of a wrong type. wanted: "int64", "string". False: said. */
static bool nested(struct complaints *c, const struct json *object, struct span path, const char *wanted, enum json_kind kind,
		   const struct json *zero, const struct json **out)
{
	struct span rest = span_from(path, 1), part;
	size_t upto = 0;
	const char *expected = "map[string]interface {}";
	*out = NULL;
	while (span_cut(&rest, '.', &part)) {
		if (!json_is(object, JSON_OBJECT))
			break;
		upto += part.len + 1;
		object = json_get(object, part);
		if (!object || object->kind == JSON_NULL)
			return true;
		if (!rest.len)
			expected = wanted;
	}
	if (span_is(span_of(expected), wanted) && json_is(object, kind)) {
		*out = object;
		return true;
	}
	auto_buf struct buf why = {};
	buf_printf(&why, "%.*s accessor error: ", SPAN_ARG(span_sub(path, 0, upto)));
	api_go_value(&why, object);
	buf_printf(&why, " is of the type %s, expected %s", api_go_type(object),
		   expected == wanted ? wanted : "map[string]interface{}");
	custom_complain(c, path, API_FE_INVALID, zero, buf_span(&why));
	return false;
}

static void check_replicas(struct complaints *c, const struct json *object, struct span path)
{
	const struct json zero = json_int(0), *v;
	if (!nested(c, object, path, "int64", JSON_INT, &zero, &v) || !v)
		return;
	if (v->i < 0)
		custom_complain(c, path, API_FE_INVALID, v, SPAN("should be a non-negative integer"));
	else if (v->i > INT32_MAX)
		custom_complain(c, path, API_FE_INVALID, v, SPAN("should be less than or equal to 2147483647"));
}

static void check_scale(const struct custom_row *r, const struct json *object, bool spec, struct complaints *c)
{
	const struct json none = json_str(SPAN("")), *v;
	if (!r->has_scale)
		return;
	if (spec)
		check_replicas(c, object, r->scale.spec_replicas);
	check_replicas(c, object, r->scale.status_replicas);
	if (r->scale.selector.len)
		(void)nested(c, object, r->scale.selector, "string", JSON_STRING, &none, &v);
}

/* ---- validation */

/* List sets and maps are looked at only when the old object was right in them. */
static void check_lists(const struct custom_change *ch, const struct custom_row *r, struct complaints *c)
{
	auto_err struct err scrap = ERR_INIT;
	struct complaints old = { .err = &scrap };
	if (ch->old)
		custom_lists_validate(ch->arena, r->root, ch->old, &old);
	if (!old.n)
		custom_lists_validate(ch->arena, r->root, ch->object, c);
}

unsigned custom_validate(const struct custom_change *ch, struct err *err)
{
	const struct custom_row *r = row_of(ch->row);
	auto_err struct err scrap = ERR_INIT;
	struct complaints c = { .err = err ? err : &scrap };
	if (ch->old && ch->status) {
		const struct node *n = custom_node_property(r->root, SPAN("status"));
		const struct json *status = json_getl(ch->object, "status");
		if (n && status)
			custom_validate_value(ch->arena, n, SPAN("status"), status, json_getl(ch->old, "status"), &c);
		check_scale(r, ch->object, false, &c);
	} else {
		custom_validate_value(ch->arena, r->root, SPAN_EMPTY, ch->object, ch->old, &c);
		check_scale(r, ch->object, true, &c);
		custom_embedded_validate(ch, r->root, ch->object, &c);
	}
	check_lists(ch, r, &c);
	return c.n;
}
