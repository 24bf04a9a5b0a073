/* Structural schemas: every place of an object has exactly one type, said outside of allOf, anyOf, oneOf and not; these may only
 * add restrictions to places that are defined already.
 *
 * The rules and sentences are those of apiextensions-apiserver's pkg/apiserver/schema; complaints are sorted by their text, as
 * there. Schemas were found not to nest too deeply before. */
#include "custom/private.h"

enum level { LEVEL_ROOT, LEVEL_ITEM, LEVEL_FIELD };

struct structural {
	struct span base;
	struct complaints *c;
};

static const struct json *member(const struct json *schema, const char *name)
{
	return json_get(schema, span_of(name));
}

static struct span text_of(const struct json *schema, const char *name)
{
	return json_span(member(schema, name));
}

static bool flag(const struct json *schema, const char *name)
{
	return json_truth(member(schema, name), false);
}

/* A list, map or object that is not empty. */
static bool is_filled(const struct json *v)
{
	return (json_is(v, JSON_ARRAY) || json_is(v, JSON_OBJECT)) && v->n;
}

static void bad(struct structural *s, const struct place *at, const char *field, enum api_field_error type,
		const struct json *value, const char *detail)
{
	auto_buf struct buf path = {};
	buf_span_add(&path, s->base);
	custom_place_text(at, &path);
	if (*field)
		buf_printf(&path, ".%s", field);
	custom_complain(s->c, buf_span(&path), type, value, span_of(detail));
}

static void forbidden(struct structural *s, const struct place *at, const char *field, const char *detail)
{
	bad(s, at, field, API_FE_FORBIDDEN, NULL, detail);
}

/* ---- the one exception: int or string */

static bool is_only_type(const struct json *schema, const char *type)
{
	return json_is(schema, JSON_OBJECT) && schema->n == 1 && span_is(text_of(schema, "type"), type);
}

static bool is_int_or_string(const struct json *schema)
{
	const struct json *any = member(schema, "anyOf");
	return json_is(any, JSON_ARRAY) && any->n == 2 && is_only_type(&any->items[0], "integer") &&
	       is_only_type(&any->items[1], "string");
}

static bool is_all_int_or_string(const struct json *schema)
{
	const struct json *all = member(schema, "allOf");
	return json_is(all, JSON_ARRAY) && all->n && is_int_or_string(&all->items[0]);
}

/* ---- restrictions: what stands inside of allOf and the like */

static void check_nested(struct structural *s, const struct json *v, bool skip_any, const struct place *at);

static void check_restrictions(struct structural *s, const struct json *v, bool skip_any, bool skip_first_all,
			       const struct place *at)
{
	const struct json *any = member(v, "anyOf"), *all = member(v, "allOf"), *one = member(v, "oneOf");
	struct span pattern = text_of(v, "pattern");
	for (uint32_t i = 0; !skip_any && json_is(any, JSON_ARRAY) && i < any->n; i++)
		check_nested(s, &any->items[i], false, &PLACE_INDEX(&PLACE(at, SPAN("anyOf")), i));
	for (uint32_t i = 0; json_is(all, JSON_ARRAY) && i < all->n; i++)
		check_nested(s, &all->items[i], skip_first_all && i == 0, &PLACE_INDEX(&PLACE(at, SPAN("allOf")), i));
	for (uint32_t i = 0; json_is(one, JSON_ARRAY) && i < one->n; i++)
		check_nested(s, &one->items[i], false, &PLACE_INDEX(&PLACE(at, SPAN("oneOf")), i));
	if (member(v, "not"))
		check_nested(s, member(v, "not"), false, &PLACE(at, SPAN("not")));
	if (pattern.len) {
		auto_err struct err why = ERR_INIT;
		auto_regex struct regex *re = regex_new(pattern, 0, &why);
		auto_buf struct buf detail = {};
		struct json shown = json_str(pattern);
		buf_printf(&detail, "must be a valid regular expression, but isn't: %s", err_msg(&why));
		if (!re)
			bad(s, at, "pattern", API_FE_INVALID, &shown, buf_cstr(&detail));
	}
}

static void check_nested(struct structural *s, const struct json *v, bool skip_any, const struct place *at)
{
	static const struct { const char *name, *why; } flags[] = {
		{ "nullable", "must be false to be structural" },
		{ "x-kubernetes-preserve-unknown-fields", "must be false to be structural" },
		{ "x-kubernetes-embedded-resource", "must be false to be structural" },
		{ "x-kubernetes-int-or-string", "must be false to be structural" },
	};
	const struct json *items = member(v, "items"), *additional = member(v, "additionalProperties"),
			  *dflt = member(v, "default");
	check_restrictions(s, v, skip_any, false, at);
	if (json_is(items, JSON_OBJECT))
		check_nested(s, items, false, &PLACE(at, SPAN("items")));
	JSON_EACH_MEMBER(member(v, "properties"), m)
		check_nested(s, &m->value, false, &PLACE_KEY(&PLACE(at, SPAN("properties")), json_key(m)));
	if (text_of(v, "type").len)
		forbidden(s, at, "type", "must be empty to be structural");
	if (json_is(additional, JSON_OBJECT) || json_truth(additional, false))
		forbidden(s, at, "additionalProperties", "must be undefined to be structural");
	if (dflt && dflt->kind != JSON_NULL)
		forbidden(s, at, "default", "must be undefined to be structural");
	if (text_of(v, "title").len)
		forbidden(s, at, "title", "must be empty to be structural");
	if (text_of(v, "description").len)
		forbidden(s, at, "description", "must be empty to be structural");
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (flag(v, flags[i].name))
			forbidden(s, at, flags[i].name, flags[i].why);
	if (is_filled(member(v, "x-kubernetes-list-map-keys")))
		forbidden(s, at, "x-kubernetes-list-map-keys", "must be empty to be structural");
	if (member(v, "x-kubernetes-list-type"))
		forbidden(s, at, "x-kubernetes-list-type", "must be undefined to be structural");
	if (member(v, "x-kubernetes-map-type"))
		forbidden(s, at, "x-kubernetes-map-type", "must be undefined to be structural");
	if (is_filled(member(v, "x-kubernetes-validations")))
		forbidden(s, at, "x-kubernetes-validations", "must be empty to be structural");
	/* What is said about metadata could restrict it in ways that nobody wants. */
	if (json_getl(member(v, "properties"), "metadata"))
		forbidden(s, &PLACE_KEY(&PLACE(at, SPAN("properties")), SPAN("metadata")), "",
			  "must not be specified in a nested context");
}

/* ---- the structure */

/* metadata of the resource itself: type, and restrictions of name and generateName, nothing else. */
static bool is_plain_metadata(const struct json *meta)
{
	const struct json *properties = member(meta, "properties");
	bool names_only = is_filled(properties) && properties->n == (json_getl(properties, "name") ? 1u : 0u) +
									   (json_getl(properties, "generateName") ? 1u : 0u);
	JSON_EACH_MEMBER(meta, m) {
		struct span name = json_key(m);
		if (span_is(name, "type") || span_is(name, "default") || (span_is(name, "properties") && names_only) ||
		    (m->value.kind == JSON_BOOL && !m->value.b) || (m->value.kind == JSON_STRING && !m->value.n) ||
		    ((m->value.kind == JSON_ARRAY || m->value.kind == JSON_OBJECT) && !m->value.n &&
		     !span_is(name, "additionalProperties") && !span_is(name, "items") && !span_is(name, "not")))
			continue;
		/* What people read is no restriction. */
		if (span_is(name, "externalDocs") || span_is(name, "example"))
			continue;
		return false;
	}
	return true;
}

static void check_metadata(struct structural *s, const struct json *v, bool check_meta, enum level level, const struct place *at)
{
	const struct json *meta = json_getl(member(v, "properties"), "metadata");
	const struct place here = PLACE_KEY(&PLACE(at, SPAN("properties")), SPAN("metadata"));
	struct json type = json_str(text_of(meta, "type"));
	if (!meta)
		return;
	if (check_meta && !span_is(json_span(&type), "object"))
		bad(s, &here, "type", API_FE_INVALID, &type, "must be object");
	if (level == LEVEL_ROOT && !is_plain_metadata(meta))
		forbidden(s, &here, "", "must not specify anything other than name and generateName, but metadata is implicitly "
				       "specified");
}

static void check_type(struct structural *s, const struct json *v, enum level level, const struct place *at)
{
	static const char *const empty[] = { "must not be empty at the root", "must not be empty for specified array items",
					     "must not be empty for specified object fields" };
	struct json type = json_str(text_of(v, "type"));
	bool embedded = flag(v, "x-kubernetes-embedded-resource");
	if (embedded && !span_is(json_span(&type), "object"))
		bad(s, at, "type", type.n ? API_FE_INVALID : API_FE_REQUIRED, &type,
		    "must be object if x-kubernetes-embedded-resource is true");
	else if (!type.n && !flag(v, "x-kubernetes-int-or-string") && !flag(v, "x-kubernetes-preserve-unknown-fields"))
		bad(s, at, "type", API_FE_REQUIRED, NULL, empty[level]);
	if (embedded && member(v, "additionalProperties"))
		forbidden(s, at, "additionalProperties", "must not be used if x-kubernetes-embedded-resource is set");
	if (level == LEVEL_ROOT && type.n && !span_is(json_span(&type), "object"))
		bad(s, at, "type", API_FE_INVALID, &type, "must be object at the root");
}

static void check_head(struct structural *s, const struct json *v, const char *name, const struct place *at)
{
	const struct json *p = json_get(member(v, "properties"), span_of(name));
	struct json type = json_str(text_of(p, "type"));
	if (p && !span_is(json_span(&type), "string"))
		bad(s, &PLACE_KEY(&PLACE(at, SPAN("properties")), span_of(name)), "type", API_FE_INVALID, &type, "must be string");
}

static void check_structure(struct structural *s, const struct json *v, enum level level, const struct place *at)
{
	const struct json *items = member(v, "items"), *additional = member(v, "additionalProperties");
	const struct json yes = json_bool(true);
	bool int_or_string = flag(v, "x-kubernetes-int-or-string"), embedded = flag(v, "x-kubernetes-embedded-resource");
	bool preserve = flag(v, "x-kubernetes-preserve-unknown-fields"), check_meta = level == LEVEL_ROOT || embedded;
	if (span_is(text_of(v, "type"), "array") && !items)
		bad(s, at, "items", API_FE_REQUIRED, NULL, "must be specified");
	if (json_is(items, JSON_OBJECT))
		check_structure(s, items, LEVEL_ITEM, &PLACE(at, SPAN("items")));
	JSON_EACH_MEMBER(member(v, "properties"), m)
		check_structure(s, &m->value, LEVEL_FIELD, &PLACE_KEY(&PLACE(at, SPAN("properties")), json_key(m)));
	if (additional && level == LEVEL_ROOT)
		forbidden(s, at, "additionalProperties", "must not be used at the root");
	if (json_is(additional, JSON_OBJECT))
		check_structure(s, additional, LEVEL_FIELD, &PLACE(at, SPAN("additionalProperties")));
	if (int_or_string && preserve)
		bad(s, at, "x-kubernetes-preserve-unknown-fields", API_FE_INVALID, &yes,
		    "must be false if x-kubernetes-int-or-string is true");
	if (int_or_string && embedded)
		bad(s, at, "x-kubernetes-embedded-resource", API_FE_INVALID, &yes,
		    "must be false if x-kubernetes-int-or-string is true");
	check_restrictions(s, v, is_int_or_string(v), is_all_int_or_string(v), at);
	check_type(s, v, level, at);
	if (check_meta) {
		check_head(s, v, "kind", at);
		check_head(s, v, "apiVersion", at);
	}
	check_metadata(s, v, check_meta, level, at);
	if (embedded && !preserve && !is_filled(member(v, "properties")))
		bad(s, at, "properties", API_FE_REQUIRED, NULL,
		    "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields");
}

/* ---- completeness: what a restriction talks about is defined outside of it */

static void undefined(struct structural *s, const struct place *at, const struct place *from)
{
	auto_buf struct buf path = {};
	buf_str(&path, "because it is defined in ");
	buf_span_add(&path, s->base);
	custom_place_text(from, &path);
	bad(s, at, "", API_FE_REQUIRED, NULL, buf_cstr(&path));
}

/* v restricts the place at (of the structure) from the place `from`; outer is the schema at `at`, NULL when there is none. */
static void check_complete(struct structural *s, const struct json *v, const struct json *outer, bool nested,
			   const struct place *at, const struct place *from)
{
	static const char *const lists[] = { "allOf", "anyOf", "oneOf" };
	if (!outer) {
		undefined(s, at, from);
		return;
	}
	if (member(v, "not"))
		check_complete(s, member(v, "not"), outer, true, at, &PLACE(from, SPAN("not")));
	for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
		const struct json *list = member(v, lists[k]);
		for (uint32_t i = 0; json_is(list, JSON_ARRAY) && i < list->n; i++)
			check_complete(s, &list->items[i], outer, true, at, &PLACE_INDEX(&PLACE(from, span_of(lists[k])), i));
	}
	if (!nested)
		return;
	const struct json *items = member(v, "items"), *outer_items = member(outer, "items");
	if (json_is(items, JSON_OBJECT))
		check_complete(s, items, json_is(outer_items, JSON_OBJECT) ? outer_items : NULL, true, &PLACE(at, SPAN("items")),
			       &PLACE(from, SPAN("items")));
	JSON_EACH_MEMBER(member(v, "properties"), m)
		check_complete(s, &m->value, json_get(member(outer, "properties"), json_key(m)), true,
			       &PLACE_KEY(&PLACE(at, SPAN("properties")), json_key(m)),
			       &PLACE_KEY(&PLACE(from, SPAN("properties")), json_key(m)));
}

static int by_text(const void *x, const void *y)
{
	const struct err_cause *a = x, *b = y;
	auto_buf struct buf p = {}, q = {};
	buf_printf(&p, "%s: %s", a->field, a->message);
	buf_printf(&q, "%s: %s", b->field, b->message);
	return span_cmp(buf_span(&p), buf_span(&q));
}

void custom_structural_check(struct span base, const struct json *schema, struct complaints *c)
{
	auto_err struct err found = ERR_INIT;
	struct complaints mine = { .err = &found };
	struct structural s = { base, &mine };
	check_structure(&s, schema, LEVEL_ROOT, NULL);
	check_complete(&s, schema, schema, false, NULL, NULL); /* of the root alone, as upstream */
	if (found.n_causes > 1)
		qsort(found.causes, found.n_causes, sizeof(*found.causes), by_text);
	for (unsigned i = 0; i < found.n_causes; i++)
		err_cause_add(c->err, span_of(found.causes[i].field), found.causes[i].reason, span_of(found.causes[i].message));
	c->n += mine.n;
}
