/* The rules of an openAPIV3Schema: ValidateCustomResourceDefinitionOpenAPISchema and its neighbours of apiextensions-apiserver's
 * pkg/apis/apiextensions/validation, in their order:
 *
 *     what the root may say beside a status sub-resource → structural? (structural.c) → defaults → keyword by keyword
 *
 * Where upstream walks a Go map, properties come in the order of their names here. */
#include "custom/private.h"

struct check {
	struct arena *a;
	struct span base;
	struct complaints *c;
};

/* What may not be said inside of metadata, or below additionalProperties there. */
struct context {
	bool inside_meta, no_defaults;
	const char *why; /* of no_defaults */
	struct span why_name;
};

static const struct json *member(const struct json *schema, const char *name)
{
	return json_get(schema, span_of(name));
}

static struct span text_of(const struct json *schema, const char *name)
{
	return json_span(member(schema, name));
}

static bool is_filled(const struct json *v)
{
	return (json_is(v, JSON_ARRAY) || json_is(v, JSON_OBJECT)) && v->n;
}

static struct span path_to(struct check *k, const struct place *at, const char *field)
{
	auto_buf struct buf path = {};
	buf_span_add(&path, k->base);
	custom_place_text(at, &path);
	if (*field)
		buf_printf(&path, ".%s", field);
	return arena_span(k->a, buf_span(&path));
}

static void bad(struct check *k, const struct place *at, const char *field, enum api_field_error type, const struct json *value,
		const char *detail)
{
	custom_complain(k->c, path_to(k, at, field), type, value, span_of(detail));
}

static void forbidden(struct check *k, const struct place *at, const char *field, const char *detail)
{
	bad(k, at, field, API_FE_FORBIDDEN, NULL, detail);
}

/* A list of strings as Go's %#v shows a []string. */
static void bad_strings(struct check *k, const struct place *at, const char *field, const struct json *list, const char *detail)
{
	auto_buf struct buf shown = {};
	buf_str(&shown, "[]string{");
	for (uint32_t i = 0; json_is(list, JSON_ARRAY) && i < list->n; i++) {
		buf_str(&shown, i ? ", " : "");
		api_go_quote(&shown, json_span(&list->items[i]));
	}
	buf_chr(&shown, '}');
	if (k->c->n++ < CUSTOM_CAUSES_MAX)
		api_fe_add(k->c->err, path_to(k, at, field), API_FE_INVALID, buf_span(&shown), span_of(detail));
}

static void not_supported(struct check *k, const struct place *at, const char *field, struct span value, const char *choices)
{
	auto_buf struct buf detail = {};
	struct span rest = span_of(choices), one;
	struct json shown = json_str(value);
	while (span_cut(&rest, ' ', &one)) {
		buf_str(&detail, detail.len ? ", " : "supported values: ");
		api_go_quote(&detail, one);
	}
	bad(k, at, field, API_FE_NOT_SUPPORTED, &shown, buf_cstr(&detail));
}

/* ---- one schema's own keywords */

static void check_keywords(struct check *k, const struct json *s, const struct context *ctx, const struct place *at)
{
	struct span type = text_of(s, "type");
	const struct json *dflt = member(s, "default");
	if (type.len && custom_schema_type_of(type) == SCHEMA_TYPE_COUNT)
		not_supported(k, at, "type", type, "array boolean integer number object string");
	if (dflt && dflt->kind != JSON_NULL && ctx->no_defaults) {
		auto_buf struct buf detail = {};
		buf_printf(&detail, "must not be set %s%.*s", ctx->why, SPAN_ARG(ctx->why_name));
		forbidden(k, at, "default", buf_cstr(&detail));
	}
	if (text_of(s, "id").len)
		forbidden(k, at, "id", "id is not supported");
	if (member(s, "additionalItems"))
		forbidden(k, at, "additionalItems", "additionalItems is not supported");
	if (is_filled(member(s, "patternProperties")))
		forbidden(k, at, "patternProperties", "patternProperties is not supported");
	if (is_filled(member(s, "definitions")))
		forbidden(k, at, "definitions", "definitions is not supported");
	if (member(s, "dependencies"))
		forbidden(k, at, "dependencies", "dependencies is not supported");
	if (member(s, "$ref"))
		forbidden(k, at, "$ref", "$ref is not supported");
	if (span_is(type, "null"))
		forbidden(k, at, "type", "type cannot be set to null, use nullable as an alternative");
	if (is_filled(member(s, "items")) && json_is(member(s, "items"), JSON_ARRAY))
		forbidden(k, at, "items", "items must be a schema object and not an array");
	if (ctx->inside_meta && json_truth(member(s, "x-kubernetes-embedded-resource"), false))
		forbidden(k, at, "x-kubernetes-embedded-resource", "must not be used inside of resource meta");
	if (json_truth(member(s, "uniqueItems"), false))
		forbidden(k, at, "uniqueItems",
			  "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
}

/* ---- list and map types */

static void check_key(struct check *k, const struct json *s, uint32_t i, const struct place *at)
{
	const struct json *keys = member(s, "x-kubernetes-list-map-keys"), *items = member(s, "items");
	struct span key = json_span(&keys->items[i]);
	const struct json *p = json_get(member(items, "properties"), key);
	struct json object = json_str(text_of(items, "type"));
	const struct place at_key = PLACE_KEY(&PLACE(&PLACE(at, SPAN("items")), SPAN("properties")), key);
	if (!p)
		bad_strings(k, at, "x-kubernetes-list-map-keys", keys, "entries must all be names of item properties");
	else if (span_is(text_of(p, "type"), "array") || span_is(text_of(p, "type"), "object"))
		bad(k, &at_key, "type", API_FE_INVALID, &object,
		    "must be a scalar type if parent array's x-kubernetes-list-type is map");
	for (uint32_t before = 0; before < i; before++)
		if (span_eq(json_span(&keys->items[before]), key)) {
			bad_strings(k, at, "x-kubernetes-list-map-keys", keys, "must not contain duplicate entries");
			break;
		}
}

static void check_list_map(struct check *k, const struct json *s, const struct place *at)
{
	const struct json *keys = member(s, "x-kubernetes-list-map-keys"), *items = member(s, "items");
	struct json type = json_str(text_of(items, "type"));
	if (!is_filled(keys))
		bad(k, at, "x-kubernetes-list-map-keys", API_FE_REQUIRED, NULL,
		    "must not be empty if x-kubernetes-list-type is map");
	if (!items) {
		bad(k, at, "items", API_FE_REQUIRED, NULL, "must have a schema if x-kubernetes-list-type is map");
		return;
	}
	if (!json_is(items, JSON_OBJECT)) {
		bad(k, at, "items", API_FE_INVALID, items, "must only have a single schema if x-kubernetes-list-type is map");
		return;
	}
	if (!span_is(json_span(&type), "object")) {
		bad(k, &PLACE(at, SPAN("items")), "type", API_FE_INVALID, &type,
		    "must be object if parent array's x-kubernetes-list-type is map");
		return;
	}
	for (uint32_t i = 0; json_is(keys, JSON_ARRAY) && i < keys->n && i < CUSTOM_CAUSES_MAX; i++)
		check_key(k, s, i, at);
}

static bool lists_text(const struct json *list, struct span text)
{
	JSON_EACH_ITEM(list, item)
		if (span_eq(json_span(item), text))
			return true;
	return false;
}

/* Items of sets and maps are never null, and keys are always there. */
static void check_items_of(struct check *k, const struct json *s, struct span list, const struct place *at)
{
	const struct json *items = member(s, "items");
	const struct place here = PLACE(at, SPAN("items"));
	if (!json_is(items, JSON_OBJECT) || (!span_is(list, "set") && !span_is(list, "map")))
		return;
	if (json_truth(member(items, "nullable"), false)) {
		auto_buf struct buf detail = {};
		buf_printf(&detail, "cannot be nullable when x-kubernetes-list-type is %.*s", SPAN_ARG(list));
		forbidden(k, &here, "nullable", buf_cstr(&detail));
	}
	if (!span_is(list, "map"))
		return;
	JSON_EACH_ITEM(member(s, "x-kubernetes-list-map-keys"), key) {
		const struct json *p = json_get(member(items, "properties"), json_span(key));
		const struct json *dflt = member(p, "default");
		const struct place at_key = PLACE_KEY(&PLACE(&here, SPAN("properties")), json_span(key));
		if (!p)
			continue;
		if (!lists_text(member(items, "required"), json_span(key)) && (!dflt || dflt->kind == JSON_NULL))
			bad(k, &at_key, "default", API_FE_REQUIRED, NULL,
			    "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
		if (json_truth(member(p, "nullable"), false))
			forbidden(k, &at_key, "nullable",
				  "this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
	}
}

static void check_set_items(struct check *k, const struct json *items, const struct place *at)
{
	struct span type = text_of(items, "type");
	const struct json *list = member(items, "x-kubernetes-list-type"), *map = member(items, "x-kubernetes-map-type");
	const struct place here = PLACE(at, SPAN("items"));
	static const char why[] = "must be atomic as item of a list with x-kubernetes-list-type=set";
	if (span_is(type, "array") && list && !span_is(json_span(list), "atomic"))
		bad(k, &here, "x-kubernetes-list-type", API_FE_INVALID, list, why);
	if (span_is(type, "object") && !span_is(json_span(map), "atomic"))
		bad(k, &here, "x-kubernetes-map-type", API_FE_INVALID, list, why);
}

static void check_topology(struct check *k, const struct json *s, const struct place *at)
{
	const struct json *map = member(s, "x-kubernetes-map-type"), *list = member(s, "x-kubernetes-list-type");
	const struct json *items = member(s, "items"), *keep = member(s, "x-kubernetes-preserve-unknown-fields");
	struct json type = json_str(text_of(s, "type"));
	struct span list_type = json_span(list);
	if (json_is(keep, JSON_BOOL) && !keep->b)
		bad(k, at, "x-kubernetes-preserve-unknown-fields", API_FE_INVALID, keep, "must be true or undefined");
	if (map && !span_is(json_span(&type), "object"))
		bad(k, at, "type", type.n ? API_FE_INVALID : API_FE_REQUIRED, &type,
		    "must be object if x-kubernetes-map-type is specified");
	if (map && !span_is(json_span(map), "atomic") && !span_is(json_span(map), "granular"))
		not_supported(k, at, "x-kubernetes-map-type", json_span(map), "atomic granular");
	if (list && !span_is(json_span(&type), "array"))
		bad(k, at, "type", type.n ? API_FE_INVALID : API_FE_REQUIRED, &type,
		    "must be array if x-kubernetes-list-type is specified");
	else if (span_is(list_type, "set") && json_is(items, JSON_OBJECT))
		check_set_items(k, items, at);
	if (list && !span_is(list_type, "atomic") && !span_is(list_type, "set") && !span_is(list_type, "map"))
		not_supported(k, at, "x-kubernetes-list-type", list_type, "atomic set map");
	if (is_filled(member(s, "x-kubernetes-list-map-keys")) && !span_is(list_type, "map"))
		bad(k, at, "x-kubernetes-list-type", list ? API_FE_INVALID : API_FE_REQUIRED, list,
		    "must be map if x-kubernetes-list-map-keys is non-empty");
	if (span_is(list_type, "map"))
		check_list_map(k, s, at);
	check_items_of(k, s, list_type, at);
}

/* ---- the walk */

static void check_schema(struct check *k, const struct json *s, bool root, bool structural, const struct context *ctx,
			 const struct place *at);

static int by_key(const void *x, const void *y)
{
	return span_cmp(json_key(*(const struct json_member *const *)x), json_key(*(const struct json_member *const *)y));
}

/* The members of a map of schemas in the order of their names. */
static const struct json_member **sorted(struct arena *a, const struct json *map, uint32_t *out_n)
{
	*out_n = json_is(map, JSON_OBJECT) ? map->n : 0;
	const struct json_member **list = arena_alloc_n(a, (size_t)*out_n + 1, sizeof(*list));
	for (uint32_t i = 0; i < *out_n; i++)
		list[i] = &map->members[i];
	qsort(list, *out_n, sizeof(*list), by_key);
	return list;
}

static bool is_meta(struct span name)
{
	return span_is(name, "metadata") || span_is(name, "kind") || span_is(name, "apiVersion");
}

static void check_properties(struct check *k, const struct json *s, bool root, bool structural, const struct context *ctx,
			     const struct place *at)
{
	uint32_t n;
	const struct json_member **list = sorted(k->a, member(s, "properties"), &n);
	bool resource = root || json_truth(member(s, "x-kubernetes-embedded-resource"), false);
	for (uint32_t i = 0; i < n; i++) {
		struct context inside = *ctx;
		struct span name = json_key(list[i]);
		if (resource && is_meta(name)) {
			inside.inside_meta = true;
			if (root) {
				inside.no_defaults = true;
				inside.why = "in top-level ";
				inside.why_name = name;
			}
		}
		check_schema(k, &list[i]->value, false, structural, &inside, &PLACE_KEY(&PLACE(at, SPAN("properties")), name));
	}
}

static void check_additional(struct check *k, const struct json *s, bool structural, const struct context *ctx,
			     const struct place *at)
{
	const struct json *v = member(s, "additionalProperties");
	struct context inside = *ctx;
	if (!v)
		return;
	if (is_filled(member(s, "properties")) && !json_truth(v, false))
		forbidden(k, at, "additionalProperties", "additionalProperties and properties are mutual exclusive");
	if (ctx->inside_meta) {
		inside.no_defaults = true;
		inside.why = "inside additionalProperties applying to object metadata";
		inside.why_name = SPAN_EMPTY;
	}
	if (json_is(v, JSON_OBJECT))
		check_schema(k, v, false, structural, &inside, &PLACE(at, SPAN("additionalProperties")));
}

static void check_inside(struct check *k, const struct json *s, bool root, bool structural, const struct context *ctx,
			 const struct place *at)
{
	static const char *const lists[] = { "allOf", "oneOf", "anyOf" };
	const struct json *items = member(s, "items"), *not_ = member(s, "not");
	check_additional(k, s, structural, ctx, at);
	check_properties(k, s, root, structural, ctx, at);
	if (json_is(not_, JSON_OBJECT))
		check_schema(k, not_, false, false, ctx, &PLACE(at, SPAN("not")));
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		const struct json *list = member(s, lists[i]);
		for (uint32_t n = 0; json_is(list, JSON_ARRAY) && n < list->n; n++)
			check_schema(k, &list->items[n], false, false, ctx, &PLACE_INDEX(&PLACE(at, span_of(lists[i])), n));
	}
	if (json_is(items, JSON_OBJECT))
		check_schema(k, items, false, structural, ctx, &PLACE(at, SPAN("items")));
}

static void check_schema(struct check *k, const struct json *s, bool root, bool structural, const struct context *ctx,
			 const struct place *at)
{
	check_keywords(k, s, ctx, at);
	check_inside(k, s, root, structural, ctx, at);
	check_topology(k, s, at);
	/* What this server does not obey it does not take. */
	if (is_filled(member(s, "x-kubernetes-validations")))
		forbidden(k, at, "x-kubernetes-validations", "validation rules (CEL) are not supported by this server");
	if (structural && !text_of(s, "type").len && is_filled(member(s, "properties")) && member(s, "items"))
		forbidden(k, at, "items", "items beside properties without a type are not supported by this server");
}

/* ---- what makes a schema unfit for the steps that need a structural one */

/* NewStructural's error, NULL = none. */
static const char *unfit(const struct json *s)
{
	static const struct { const char *name, *why; } keywords[] = {
		{ "patternProperties", "OpenAPIV3Schema 'patternProperties' is not supported" },
		{ "dependencies", "OpenAPIV3Schema 'dependencies' is not supported" },
		{ "definitions", "OpenAPIV3Schema 'definitions' is not supported" },
	};
	static const char *const maps[] = { "properties" }, *const lists[] = { "allOf", "anyOf", "oneOf" },
				 *const single[] = { "not", "items", "additionalProperties" };
	const struct json *keep = member(s, "x-kubernetes-preserve-unknown-fields");
	const char *why = NULL;
	if (text_of(s, "id").len)
		return "OpenAPIV3Schema 'id' is not supported";
	if (text_of(s, "$schema").len)
		return "OpenAPIV3Schema 'schema' is not supported";
	if (text_of(s, "$ref").len)
		return "OpenAPIV3Schema '$ref' is not supported";
	for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
		if (is_filled(member(s, keywords[i].name)))
			return keywords[i].why;
	if (member(s, "additionalItems"))
		return "OpenAPIV3Schema 'additionalItems' is not supported";
	if (json_is(keep, JSON_BOOL) && !keep->b)
		return "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined";
	if (is_filled(member(s, "items")) && json_is(member(s, "items"), JSON_ARRAY))
		return "OpenAPIV3Schema 'items' must be a schema, but is an array";
	for (size_t i = 0; i < ARRAY_LEN(maps) && !why; i++)
		JSON_EACH_MEMBER(member(s, maps[i]), m)
			why = why ? why : unfit(&m->value);
	for (size_t i = 0; i < ARRAY_LEN(lists) && !why; i++)
		JSON_EACH_ITEM(member(s, lists[i]), item)
			why = why ? why : unfit(item);
	for (size_t i = 0; i < ARRAY_LEN(single) && !why; i++)
		if (json_is(member(s, single[i]), JSON_OBJECT))
			why = unfit(member(s, single[i]));
	return why;
}

/* Levels of schemas; stops counting past the bound. */
static unsigned depth_of(const struct json *s, unsigned so_far)
{
	static const char *const maps[] = { "properties", "patternProperties", "definitions", "dependencies" };
	static const char *const lists[] = { "allOf", "anyOf", "oneOf" },
				 *const single[] = { "not", "items", "additionalProperties", "additionalItems" };
	unsigned deepest = so_far;
	if (!json_is(s, JSON_OBJECT))
		return so_far - 1;
	if (so_far > CUSTOM_DEPTH_MAX)
		return so_far;
	for (size_t i = 0; i < ARRAY_LEN(maps); i++)
		JSON_EACH_MEMBER(member(s, maps[i]), m)
			deepest = MAX(deepest, depth_of(&m->value, so_far + 1));
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(member(s, lists[i]), item)
			deepest = MAX(deepest, depth_of(item, so_far + 1));
	for (size_t i = 0; i < ARRAY_LEN(single); i++)
		deepest = MAX(deepest, depth_of(member(s, single[i]), so_far + 1));
	return deepest;
}

/* ---- defaults */

static void check_default(struct check *k, const struct node *n, bool inside_meta, const struct place *at)
{
	struct span path = path_to(k, at, "default");
	struct json pruned = json_copy(k->a, n->dflt);
	unsigned before = k->c->n;
	if (!inside_meta && custom_prune_value(n, &pruned))
		bad(k, at, "default", API_FE_INVALID, n->dflt, "must not have unknown fields");
	if (!inside_meta)
		custom_embedded_validate_at(k->a, path, n, n->dflt, k->c);
	if (k->c->n == before)
		custom_validate_value(k->a, n, path, n->dflt, NULL, k->c);
}

static void check_defaults(struct check *k, const struct node *n, bool root, bool inside_meta, const struct place *at)
{
	if (n->embedded)
		inside_meta = false;
	if (n->dflt)
		check_default(k, n, inside_meta, at);
	if (n->items)
		check_defaults(k, n->items, false, inside_meta, &PLACE(at, SPAN("items")));
	for (unsigned i = 0; i < n->n_properties; i++) {
		struct span name = n->properties[i].name;
		check_defaults(k, n->properties[i].node, false, inside_meta || ((root || n->embedded) && is_meta(name)),
			       &PLACE_KEY(&PLACE(at, SPAN("properties")), name));
	}
}

/* ---- the root */

static const char root_words[] =
	"only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern "
	"MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields "
	"XValidations] fields are allowed at the root of the schema if the status subresource is enabled";

/* properties.status must say all about the status: nothing else at the root may. */
static void check_root(struct check *k, const struct json *s)
{
	static const char *const never[] = { "id", "$schema", "$ref", "nullable", "default", "enum", "maxProperties",
					     "minProperties", "allOf", "oneOf", "anyOf", "not", "additionalProperties",
					     "patternProperties", "dependencies", "additionalItems", "definitions",
					     "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
					     "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type" };
	struct json type = json_str(text_of(s, "type"));
	for (size_t i = 0; i < ARRAY_LEN(never); i++) {
		const struct json *v = member(s, never[i]);
		if (i == 3 && type.n && !span_is(json_span(&type), "object")) { /* type's place among the fields */
			bad(k, NULL, "type", API_FE_INVALID, &type,
			    "only \"object\" is allowed as the type at the root of the schema if the status subresource is "
			    "enabled");
			return;
		}
		bool off = json_is(v, JSON_BOOL) && !v->b && !span_is(span_of(never[i]), "additionalProperties");
		if (!v || v->kind == JSON_NULL || off || ((v->kind == JSON_STRING || v->kind == JSON_ARRAY) && !v->n))
			continue;
		bad(k, NULL, "", API_FE_INVALID, s, root_words);
		return;
	}
}

unsigned custom_schema_check(struct arena *a, struct span at, const struct json *schema, bool has_status, struct err *err)
{
	auto_err struct err scrap = ERR_INIT;
	struct complaints c = { .err = err ? err : &scrap };
	struct check k = { a, at, &c };
	struct context ctx = {};
	struct node *root = NULL;
	const struct json none = json_str(SPAN(""));
	if (!json_is(schema, JSON_OBJECT))
		return 0;
	if (depth_of(schema, 1) > CUSTOM_DEPTH_MAX) {
		forbidden(&k, NULL, "", "schemas that nest more than 90 levels deep are not supported by this server");
		return c.n;
	}
	if (has_status)
		check_root(&k, schema);
	if (json_truth(member(schema, "nullable"), false))
		forbidden(&k, NULL, "nullable", "nullable cannot be true at the root");
	const char *why = unfit(schema);
	if (!why) {
		unsigned before = c.n;
		auto_err struct err broken = ERR_INIT;
		custom_structural_check(at, schema, &c);
		if (c.n == before && custom_node_compile(a, NULL, schema, true, &root, &broken) == 0)
			check_defaults(&k, root, true, false, NULL);
	}
	check_schema(&k, schema, true, true, &ctx, NULL);
	if (why && !c.n)
		bad(&k, NULL, "", API_FE_INVALID, &none, why);
	if (!c.n) {
		auto_err struct err broken = ERR_INIT;
		auto_buf struct buf detail = {};
		if (custom_node_compile(a, NULL, schema, true, &root, &broken) < 0) {
			buf_printf(&detail, "error building validator: %s", err_msg(&broken));
			bad(&k, NULL, "", API_FE_INVALID, &none, buf_cstr(&detail));
		}
	}
	return c.n;
}

/* ---- selectableFields */

#define SELECTABLE_MAX 8

/* cel.ValidFieldPath without array notation: the schema at ".spec.x", or why there is none. */
static const struct json *schema_at(struct arena *a, const struct json *schema, struct span path, struct span *out_why)
{
	struct span rest = path, part;
	*out_why = SPAN_EMPTY;
	if (path.ptr[0] != '.') {
		(void)span_split(path, '.', &part, &rest);
		*out_why = path.ptr[0] == '[' ? SPAN("array notation is not allowed")
					      : arena_printf(a, "expected [ or . but got: %.*s", SPAN_ARG(part));
		return NULL;
	}
	while (rest.len) {
		rest = span_from(rest, 1);
		size_t n = 0;
		while (n < rest.len && rest.ptr[n] != '.' && rest.ptr[n] != '[' && rest.ptr[n] != ']')
			n++;
		part = span_sub(rest, 0, n);
		rest = span_from(rest, n);
		const struct json *properties = member(schema, "properties"), *additional = member(schema, "additionalProperties");
		if (!part.len && !rest.len)
			*out_why = SPAN("unexpected end of JSON path");
		else if (rest.len && rest.ptr[0] != '.')
			*out_why = rest.ptr[0] == '[' ? SPAN("array notation is not allowed") : SPAN("expected [ or . but got: ]");
		else if (is_filled(properties) ? !json_get(properties, part) : !additional)
			*out_why = SPAN("does not refer to a valid field");
		if (out_why->len)
			return NULL;
		schema = is_filled(properties) ? json_get(properties, part) : json_is(additional, JSON_OBJECT) ? additional : NULL;
	}
	return schema;
}

static void check_selectable(struct check *k, const struct json *fields, uint32_t i, const struct json *schema)
{
	const struct json *path = json_getl(&fields->items[i], "jsonPath");
	const struct place at = PLACE_INDEX(NULL, i);
	struct span text = json_span(path), why;
	if (!text.len) {
		bad(k, &at, "jsonPath", API_FE_REQUIRED, NULL, "");
		return;
	}
	const struct json *found = schema_at(k->a, schema, text, &why);
	if (why.len) {
		auto_buf struct buf detail = {};
		buf_printf(&detail, "is an invalid path: %.*s", SPAN_ARG(why));
		bad(k, &at, "jsonPath", API_FE_INVALID, path, buf_cstr(&detail));
		return;
	}
	if (span_is(text, ".metadata") || span_starts(text, SPAN(".metadata.")))
		bad(k, &at, "jsonPath", API_FE_INVALID, path, "must not point to fields in metadata");
	struct span type = text_of(found, "type");
	if (!span_is(type, "string") && !span_is(type, "boolean") && !span_is(type, "integer"))
		bad(k, &at, "jsonPath", API_FE_INVALID, path,
		    "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are "
		    "allowed.");
	for (uint32_t before = 0; before < i; before++)
		if (span_eq(json_span(json_getl(&fields->items[before], "jsonPath")), text)) {
			bad(k, &at, "jsonPath", API_FE_DUPLICATE, path, "");
			break;
		}
}

unsigned custom_selectable_check(struct arena *a, struct span at, const struct json *fields, const struct json *schema,
				 struct err *err)
{
	auto_err struct err scrap = ERR_INIT;
	struct complaints c = { .err = err ? err : &scrap };
	struct check k = { a, at, &c };
	uint32_t n = json_is(fields, JSON_ARRAY) ? fields->n : 0;
	for (uint32_t i = 0; i < n && i <= CUSTOM_CAUSES_MAX; i++)
		check_selectable(&k, fields, i, schema);
	if (n > SELECTABLE_MAX) {
		struct json have = json_int(n);
		bad(&k, NULL, "", API_FE_TOO_MANY, &have, "must have at most 8 items");
	}
	return c.n;
}
