/* Definitions: a schema for each type that something names.
 *
 * A walk makes a def when a type is first named and puts it on a list; openapi_defs_make empties the list, naming more
 * as it goes. So nothing recurses from one struct into the next, and a type that holds itself (JSONSchemaProps) is no
 * special case. Only inside one def does the walk recurse: lists and maps of built-in fields (three levels at most) and the nodes
 * of a custom resource, as deep as its schema (which whoever built the nodes has bounded).
 *
 * What a built-in field becomes follows kube-openapi's rules for Go types:
 *   required   neither omitempty nor optional (the flag of the field)
 *   default    the marker; else {} for an embedded struct, and the zero value for a scalar that is neither pointer nor omitempty.
 *              Types with a JSON form of their own (Time, Quantity, IntOrString) have none: their zero value is null.
 *   enum       closed sets of values alone
 */
#include <ctype.h>
#include "openapi/private.h"

#define DATE_TIME "{\"type\":\"string\",\"format\":\"date-time\"}"
static const struct openapi_fixed fixed_types[] = {
	{ "apiextensions/v1.JSON", NULL, "{}", "{}" },
	{ "apiextensions/v1.JSONSchemaPropsOrArray", NULL, "{}", "{}" },
	{ "apiextensions/v1.JSONSchemaPropsOrBool", NULL, "{}", "{}" },
	{ "apiextensions/v1.JSONSchemaPropsOrStringArray", NULL, "{}", "{}" },
	{ "intstr.IntOrString", "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
	  "{\"type\":\"string\",\"format\":\"int-or-string\"}",
	  "{\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}" },
	{ "meta/v1.Duration", NULL, "{\"type\":\"string\"}", "{\"type\":\"string\"}" },
	{ "meta/v1.FieldsV1", NULL, "{\"type\":\"object\"}", "{\"type\":\"object\"}" },
	{ "meta/v1.MicroTime", NULL, DATE_TIME, DATE_TIME },
	{ "meta/v1.Patch", NULL, "{\"type\":\"object\"}", "{\"type\":\"object\"}" },
	{ "meta/v1.Time", NULL, DATE_TIME, DATE_TIME },
	{ "quantity.Quantity", "io.k8s.apimachinery.pkg.api.resource.Quantity",
	  "{\"type\":\"string\"}", "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]}" },
	{ "runtime.RawExtension", NULL, "{\"type\":\"object\"}", "{\"type\":\"object\"}" },
	{ "version.Info", "io.k8s.apimachinery.pkg.version.Info",
#define VERSION_INFO                                                                                                         \
	"{\"description\":\"The version of the server and how it was built.\",\"type\":\"object\","                          \
	"\"required\":[\"major\",\"minor\",\"gitVersion\",\"gitCommit\",\"gitTreeState\",\"buildDate\",\"goVersion\","       \
	"\"compiler\",\"platform\"],\"properties\":{"                                                                        \
	"\"buildDate\":{\"type\":\"string\",\"description\":\"When it was built.\"},"                                        \
	"\"compiler\":{\"type\":\"string\",\"description\":\"The compiler that built it.\"},"                                \
	"\"emulationMajor\":{\"type\":\"string\",\"description\":\"Major version that the server behaves as.\"},"           \
	"\"emulationMinor\":{\"type\":\"string\",\"description\":\"Minor version that the server behaves as.\"},"           \
	"\"gitCommit\":{\"type\":\"string\",\"description\":\"Commit that it was built from.\"},"                            \
	"\"gitTreeState\":{\"type\":\"string\",\"description\":\"Whether that tree had changes of its own: clean or dirty.\"}," \
	"\"gitVersion\":{\"type\":\"string\",\"description\":\"The whole version, such as v1.33.0.\"},"                     \
	"\"goVersion\":{\"type\":\"string\",\"description\":\"Version of the language's tools.\"},"                          \
	"\"major\":{\"type\":\"string\",\"description\":\"Major version of the API.\"},"                                     \
	"\"minCompatibilityMajor\":{\"type\":\"string\",\"description\":\"Major version of the oldest component it works with.\"}," \
	"\"minCompatibilityMinor\":{\"type\":\"string\",\"description\":\"Minor version of the oldest component it works with.\"}," \
	"\"minor\":{\"type\":\"string\",\"description\":\"Minor version of the API.\"},"                                     \
	"\"platform\":{\"type\":\"string\",\"description\":\"Operating system and architecture.\"}}}"
	  VERSION_INFO, VERSION_INFO },
};

/* ---- names */

/* "core/v1.Pod" as io.k8s.api.core.v1.Pod: the Go package, its host reversed. */
static struct span builtin_name(struct arena *a, struct span type)
{
	static const struct {
		struct span package;
		const char *prefix;
	} odd[] = {
		{ SPAN_INIT("meta/v1"), "io.k8s.apimachinery.pkg.apis.meta.v1" },
		{ SPAN_INIT("runtime"), "io.k8s.apimachinery.pkg.runtime" },
		{ SPAN_INIT("apiextensions/v1"), "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1" },
		{ SPAN_INIT("apiregistration/v1"), "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1" },
		{ SPAN_INIT("metrics/v1beta1"), "io.k8s.metrics.pkg.apis.metrics.v1beta1" },
	};
	size_t dot = (size_t)span_rchr(type, '.');
	struct span package = span_sub(type, 0, dot), name = span_from(type, dot + 1), group, version;
	for (unsigned i = 0; i < ARRAY_LEN(odd); i++)
		if (span_eq(package, odd[i].package))
			return arena_printf(a, "%s.%.*s", odd[i].prefix, SPAN_ARG(name));
	(void)span_split(package, '/', &group, &version);
	return arena_printf(a, "io.k8s.api.%.*s.%.*s.%.*s", SPAN_ARG(group), SPAN_ARG(version), SPAN_ARG(name));
}

/* stable.example.com, v1, CronTab as com.example.stable.v1.CronTab. */
static struct span custom_name(struct arena *a, const struct api_resource *r, struct span kind)
{
	struct span name = SPAN_EMPTY, rest = r->group, label;
	while (span_cut(&rest, '.', &label))
		name = name.len ? arena_printf(a, "%.*s.%.*s", SPAN_ARG(label), SPAN_ARG(name)) : label;
	return arena_printf(a, "%.*s.%.*s.%.*s", SPAN_ARG(name), SPAN_ARG(r->version), SPAN_ARG(kind));
}

static struct openapi_def *def_add(struct openapi_doc *d, struct openapi_def want)
{
	struct openapi_def *def = map_get(&d->defs, want.name);
	if (def)
		return def;
	def = arena_new(d->a, struct openapi_def);
	*def = want;
	def->ref = json_object();
	json_addl(d->a, &def->ref, "$ref",
		  json_str(arena_printf(d->a, "#/%s/%.*s", d->v3 ? "components/schemas" : "definitions", SPAN_ARG(def->name))));
	map_put(&d->defs, def->name, def);
	if (d->n_defs == d->room_defs) {
		unsigned room = d->room_defs ? 2 * d->room_defs : 64;
		struct openapi_def **list = arena_alloc_n(d->a, room, sizeof(*list));
		for (unsigned i = 0; i < d->n_defs; i++)
			list[i] = d->list[i];
		d->list = list;
		d->room_defs = room;
	}
	d->list[d->n_defs++] = def;
	def->next = d->todo;
	d->todo = def;
	return def;
}

struct openapi_def *openapi_def_named(struct openapi_doc *d, const char *type)
{
	for (unsigned i = 0; i < ARRAY_LEN(fixed_types); i++) {
		const struct openapi_fixed *f = &fixed_types[i];
		if (strcmp(f->type, type) == 0)
			return def_add(d, (struct openapi_def){ .name = f->name ? span_of(f->name) : builtin_name(d->a, span_of(type)),
								.fixed = f });
	}
	return openapi_def_type(d, api_type_find(span_of(type)));
}

struct openapi_def *openapi_def_type(struct openapi_doc *d, const struct api_type *t)
{
	assert(t && !(api_type_flags(t) & API_TYPE_CUSTOM));
	return def_add(d, (struct openapi_def){ .name = builtin_name(d->a, api_type_name(t)), .type = t });
}

struct openapi_def *openapi_def_root(struct openapi_doc *d, const struct api_resource *r)
{
	if (!r->types)
		return openapi_def_type(d, r->type);
	return def_add(d, (struct openapi_def){ .name = custom_name(d->a, r, r->kind), .type = r->type, .resource = r });
}

struct openapi_def *openapi_def_list(struct openapi_doc *d, const struct api_resource *r)
{
	if (!r->types)
		return openapi_def_type(d, r->list_type);
	return def_add(d, (struct openapi_def){ .name = custom_name(d->a, r, r->list_kind), .resource = r, .is_list = true });
}

/* ---- schemas */

static void set(struct openapi_doc *d, struct json *schema, const char *key, struct json value)
{
	json_add(d->a, schema, span_of(key), value);
}

static struct json parsed(struct openapi_doc *d, struct span text)
{
	struct json v = JSON_NULL_VALUE;
	struct err err = {};
	int code = json_parse(d->a, text, JSON_BORROW, NULL, &v, &err);
	assert(code == 0); /* our tables, or a default that was JSON when the node was made */
	return v;
}

/* A reference, with room for siblings: in 3.0 they stand beside an allOf. */
static struct json ref_schema(struct openapi_doc *d, const struct openapi_def *def)
{
	struct json schema = json_object();
	if (d->v3) {
		struct json all = json_array();
		json_push(d->a, &all, def->ref);
		set(d, &schema, "allOf", all);
	} else {
		set(d, &schema, "$ref", def->ref.members[0].value);
	}
	return schema;
}

/* An allOf with nothing beside it is written as the reference alone. */
static struct json plain_ref(const struct json *schema)
{
	if (schema->n == 1 && json_is(&schema->members[0].value, JSON_ARRAY) && json_key(&schema->members[0]).len == 5)
		return schema->members[0].value.items[0];
	return *schema;
}

void openapi_scalar(struct openapi_doc *d, const struct api_type *t, struct json *schema)
{
	static const struct {
		const char *type, *format;
	} scalars[API_KIND_COUNT] = {
		[API_STRING] = { "string", NULL }, [API_INT32] = { "integer", "int32" }, [API_INT64] = { "integer", "int64" },
		[API_BOOL] = { "boolean", NULL }, [API_DOUBLE] = { "number", "double" }, [API_BYTES] = { "string", "byte" },
		[API_TIME] = { "string", NULL }, [API_MICROTIME] = { "string", NULL }, [API_LIST] = { "string", NULL },
	};
	enum api_kind kind = api_type_kind(t);
	assert(scalars[kind].type);
	if (scalars[kind].format)
		set(d, schema, "format", json_cstr(scalars[kind].format));
	set(d, schema, "type", json_cstr(scalars[kind].type));
}

static const char *fixed_of(const struct api_type *t, struct span owner)
{
	switch (api_type_kind(t)) {
	case API_TIME:
		return "meta/v1.Time";
	case API_MICROTIME:
		return "meta/v1.MicroTime";
	case API_DURATION:
		return "meta/v1.Duration";
	case API_QUANTITY:
		return "quantity.Quantity";
	case API_INTORSTRING:
		return "intstr.IntOrString";
	case API_RAW: /* one kind for us, three Go types */
		if (span_starts(owner, SPAN("apiextensions/v1.")))
			return "apiextensions/v1.JSON";
		return span_is(owner, "meta/v1.ManagedFieldsEntry") ? "meta/v1.FieldsV1" : "runtime.RawExtension";
	case API_UNION:
		switch (api_type_union(t)) {
		case API_UNION_OR_ARRAY:
			return "apiextensions/v1.JSONSchemaPropsOrArray";
		case API_UNION_OR_BOOL:
			return "apiextensions/v1.JSONSchemaPropsOrBool";
		case API_UNION_OR_STRINGS:
			return "apiextensions/v1.JSONSchemaPropsOrStringArray";
		}
		return NULL;
	default:
		return NULL;
	}
}

/* Go's zero value as a default; NULL when the type has none. */
static const char *zero_of(const struct api_type *t)
{
	switch (api_type_kind(t)) {
	case API_STRING:
		return "\"\"";
	case API_INT32:
	case API_INT64:
	case API_DOUBLE:
		return "0";
	case API_BOOL:
		return "false";
	case API_OBJECT:
		return "{}";
	default:
		return NULL;
	}
}

static void list_marks(struct openapi_doc *d, const struct api_type *t, struct json *schema)
{
	static const char *const names[] = { NULL, "atomic", "set", "map" };
	enum api_list_type lt = api_type_list(t);
	if (lt == API_LIST_MAP) {
		struct json keys = json_array();
		for (unsigned i = 0; i < api_type_n_keys(t); i++)
			json_push(d->a, &keys, json_str(api_type_key(t, i)));
		set(d, schema, "x-kubernetes-list-map-keys", keys);
	}
	if (names[lt])
		set(d, schema, "x-kubernetes-list-type", json_cstr(names[lt]));
}

static void enum_values(struct openapi_doc *d, const struct api_enum *e, struct json *schema)
{
	if (!e || !api_enum_closed(e))
		return;
	struct json values = json_array();
	for (unsigned i = 0; i < api_enum_n_values(e); i++) { /* in order: they are few */
		struct span v = api_enum_value(e, i);
		uint32_t at = values.n;
		while (at > 0 && span_cmp(json_span(&values.items[at - 1]), v) > 0)
			at--;
		json_insert(d->a, &values, at, json_str(v));
	}
	set(d, schema, "enum", values);
}

/* What a value of type t looks like, without description and default. */
static struct json value_schema(struct openapi_doc *d, const struct api_type *t, struct span owner, const struct api_enum *e)
{
	const char *fixed = fixed_of(t, owner);
	if (fixed)
		return ref_schema(d, openapi_def_named(d, fixed));
	struct json schema = json_object(), inner;
	const char *zero;
	switch (api_type_kind(t)) {
	case API_OBJECT:
		return ref_schema(d, openapi_def_type(d, t));
	case API_ANY:
		return schema;
	case API_LIST:
	case API_MAP:
		inner = value_schema(d, api_type_elem(t), owner, e);
		zero = d->v3 ? zero_of(api_type_elem(t)) : NULL;
		if (zero)
			set(d, &inner, "default", parsed(d, span_of(zero)));
		inner = plain_ref(&inner);
		set(d, &schema, api_type_kind(t) == API_LIST ? "items" : "additionalProperties", inner);
		set(d, &schema, "type", json_cstr(api_type_kind(t) == API_LIST ? "array" : "object"));
		return schema;
	default:
		enum_values(d, e, &schema);
		openapi_scalar(d, t, &schema);
		return schema;
	}
}

static struct json field_schema(struct openapi_doc *d, struct span owner, const struct api_field *f, struct span sentence)
{
	const struct api_type *t = api_field_type(f);
	struct json schema = value_schema(d, t, owner, api_field_enum(f));
	unsigned flags = api_field_flags(f);
	if (d->v3) {
		struct span text = api_field_default(f);
		const char *zero = flags & API_FIELD_POINTER ? NULL : zero_of(t);
		if (!text.len && zero && (api_type_kind(t) == API_OBJECT || !(flags & API_FIELD_OMITEMPTY)))
			text = span_of(zero);
		if (text.len)
			set(d, &schema, "default", parsed(d, text));
	}
	if (sentence.len)
		set(d, &schema, "description", json_str(sentence));
	if (api_type_kind(t) == API_LIST)
		list_marks(d, t, &schema);
	bool atomic = api_type_flags(t) & API_TYPE_ATOMIC;
	if (api_type_kind(t) == API_OBJECT) /* where the type itself is atomic, its definition says so */
		atomic = atomic && !(api_type_flags(api_type_find(api_type_name(t))) & API_TYPE_ATOMIC);
	if (atomic && api_type_kind(t) != API_LIST)
		set(d, &schema, "x-kubernetes-map-type", json_cstr("atomic"));
	if (api_field_merge_key(f).len)
		set(d, &schema, "x-kubernetes-patch-merge-key", json_str(api_field_merge_key(f)));
	unsigned patch = flags & (API_FIELD_PATCH_MERGE | API_FIELD_PATCH_REPLACE | API_FIELD_RETAIN_KEYS);
	if (patch) {
		const char *words = patch & API_FIELD_PATCH_REPLACE ? "replace" : "merge";
		if (patch == (API_FIELD_PATCH_MERGE | API_FIELD_RETAIN_KEYS))
			words = "merge,retainKeys";
		else if (patch == API_FIELD_RETAIN_KEYS)
			words = "retainKeys";
		set(d, &schema, "x-kubernetes-patch-strategy", json_cstr(words));
	}
	return plain_ref(&schema);
}

static int by_name(const void *x, const void *y)
{
	return span_cmp(api_field_name(*(const struct api_field *const *)x), api_field_name(*(const struct api_field *const *)y));
}

static const struct api_field **sorted_fields(struct openapi_doc *d, const struct api_type *t)
{
	unsigned n = api_type_n_fields(t);
	const struct api_field **fields = arena_alloc_n(d->a, (size_t)n + 1, sizeof(*fields));
	for (unsigned i = 0; i < n; i++)
		fields[i] = api_type_field_at(t, i);
	qsort(fields, n, sizeof(*fields), by_name);
	return fields;
}

static struct json required_of(struct openapi_doc *d, const struct api_type *t)
{
	struct json required = json_array();
	for (unsigned i = 0; i < api_type_n_fields(t); i++)
		if (api_field_has(api_type_field_at(t, i), API_FIELD_REQUIRED))
			json_push(d->a, &required, json_str(api_field_name(api_type_field_at(t, i))));
	return required;
}

struct json openapi_kind_json(struct arena *a, struct span group, struct span version, struct span kind)
{
	struct json k = json_object();
	json_addl(a, &k, "group", json_str(group));
	json_addl(a, &k, "kind", json_str(kind));
	json_addl(a, &k, "version", json_str(version));
	return k;
}

/* A struct of which one field says which other one is set. */
static void unions(struct openapi_doc *d, const struct api_type *t, struct json *schema)
{
	for (unsigned i = 0; i < api_type_n_fields(t); i++) {
		const struct api_field *by = api_type_field_at(t, i);
		if (!span_has(api_field_markers(by), SPAN("unionDiscriminator")))
			continue;
		struct json one = json_object(), fields = json_object(), all = json_array();
		for (unsigned k = 0; k < api_type_n_fields(t); k++) {
			const struct api_field *f = api_type_field_at(t, k);
			if (f == by || !api_field_has(f, API_FIELD_POINTER))
				continue;
			char *value = arena_cstr(d->a, api_field_name(f)); /* as Go writes it: with a capital */
			value[0] = (char)toupper((unsigned char)value[0]);
			json_add(d->a, &fields, api_field_name(f), json_cstr(value));
		}
		set(d, &one, "discriminator", json_str(api_field_name(by)));
		set(d, &one, "fields-to-discriminateBy", fields);
		json_push(d->a, &all, one);
		set(d, schema, "x-kubernetes-unions", all);
	}
}

static struct json builtin_schema(struct openapi_doc *d, const struct api_type *t)
{
	struct span name = api_type_name(t);
	const struct openapi_entry *words = openapi_words_type(&d->o->words, name);
	struct span rest = words ? words->fields : SPAN_EMPTY;
	struct json schema = json_object(), properties = json_object(), required = required_of(d, t);
	if (words)
		set(d, &schema, "description", json_str(words->sentence));
	const struct api_field **fields = sorted_fields(d, t);
	for (unsigned i = 0; i < api_type_n_fields(t); i++) {
		struct span field = api_field_name(fields[i]);
		json_add(d->a, &properties, field, field_schema(d, name, fields[i], openapi_words_next(&rest, field)));
	}
	if (properties.n)
		set(d, &schema, "properties", properties);
	if (required.n)
		set(d, &schema, "required", required);
	set(d, &schema, "type", json_cstr("object"));
	struct json kinds = json_array();
	for (const struct openapi_kind *k = map_get(&d->o->kinds, name); k; k = k->next)
		json_push(d->a, &kinds, openapi_kind_json(d->a, k->group, k->version, k->kind));
	if (kinds.n)
		set(d, &schema, "x-kubernetes-group-version-kind", kinds);
	if (api_type_flags(api_type_find(name)) & API_TYPE_ATOMIC)
		set(d, &schema, "x-kubernetes-map-type", json_cstr("atomic"));
	unions(d, t, &schema);
	return schema;
}

/* ---- custom resources */

static struct json head_property(struct openapi_doc *d, const char *field)
{
	struct json p = json_object();
	set(d, &p, "description", json_str(openapi_describe(d->o, SPAN("meta/v1.TypeMeta"), span_of(field))));
	set(d, &p, "type", json_cstr("string"));
	return p;
}

static struct json meta_property(struct openapi_doc *d, const char *type)
{
	struct json p = ref_schema(d, openapi_def_named(d, type));
	set(d, &p, "description", json_cstr("Standard metadata: name, labels, versions."));
	return p;
}

static struct json custom_schema(struct openapi_doc *d, const struct api_type *t);

static struct json custom_properties(struct openapi_doc *d, const struct api_type *t)
{
	struct json properties = json_object();
	const struct api_field **fields = sorted_fields(d, t);
	bool object = api_type_flags(t) & API_TYPE_EMBEDDED;
	for (unsigned i = 0; i < api_type_n_fields(t); i++) {
		struct span name = api_field_name(fields[i]);
		struct json p;
		if (object && span_is(name, "metadata"))
			p = meta_property(d, "meta/v1.ObjectMeta");
		else if (object && (span_is(name, "apiVersion") || span_is(name, "kind")))
			p = head_property(d, span_is(name, "kind") ? "kind" : "apiVersion");
		else
			p = custom_schema(d, api_field_type(fields[i]));
		json_add(d->a, &properties, name, p);
	}
	return properties;
}

/* A node and all below it. Swagger 2.0 cannot say null or "string or number": there such a node has no type, and what is inside
 * is left out, because clients that check objects against v2 would refuse what the server takes. */
static struct json custom_schema(struct openapi_doc *d, const struct api_type *t)
{
	if (!(api_type_flags(t) & API_TYPE_CUSTOM)) { /* a built-in type among the nodes */
		struct json schema = value_schema(d, t, SPAN_EMPTY, NULL);
		return plain_ref(&schema);
	}
	struct json schema = json_object(), inner = JSON_NULL_VALUE;
	unsigned flags = api_type_flags(t);
	enum api_kind kind = api_type_kind(t);
	bool untyped = !d->v3 && flags & API_TYPE_NULLABLE;
	if (d->v3 && api_type_default(t).len)
		set(d, &schema, "default", parsed(d, api_type_default(t)));
	if (d->v3 && flags & API_TYPE_NULLABLE)
		set(d, &schema, "nullable", json_bool(true));
	if (!untyped && kind == API_OBJECT) {
		struct json required = required_of(d, t);
		inner = custom_properties(d, t);
		if (inner.n)
			set(d, &schema, "properties", inner);
		if (required.n)
			set(d, &schema, "required", required);
		set(d, &schema, "type", json_cstr("object"));
	} else if (!untyped && (kind == API_LIST || kind == API_MAP)) {
		inner = custom_schema(d, api_type_elem(t));
		set(d, &schema, kind == API_LIST ? "items" : "additionalProperties", inner);
		set(d, &schema, "type", json_cstr(kind == API_LIST ? "array" : "object"));
	} else if (!untyped && kind != API_INTORSTRING && kind != API_ANY) {
		openapi_scalar(d, t, &schema);
	}
	if (flags & API_TYPE_EMBEDDED && t != d->resource->type)
		set(d, &schema, "x-kubernetes-embedded-resource", json_bool(true));
	if (kind == API_INTORSTRING)
		set(d, &schema, "x-kubernetes-int-or-string", json_bool(true));
	if (kind == API_LIST)
		list_marks(d, t, &schema);
	if (flags & API_TYPE_ATOMIC && kind != API_LIST)
		set(d, &schema, "x-kubernetes-map-type", json_cstr("atomic"));
	if (flags & API_TYPE_PRESERVE)
		set(d, &schema, "x-kubernetes-preserve-unknown-fields", json_bool(true));
	if (d->o->opts.custom)
		d->o->opts.custom(d->o->opts.arg, d->resource, t, d->v3, d->a, &schema);
	return schema;
}

static struct json custom_kind(struct openapi_doc *d, const struct api_resource *r, struct span kind)
{
	struct json kinds = json_array();
	json_push(d->a, &kinds, openapi_kind_json(d->a, r->group, r->version, kind));
	return kinds;
}

static struct json custom_list(struct openapi_doc *d, const struct api_resource *r)
{
	struct json schema = json_object(), items = json_object(), properties = json_object(), required = json_array();
	set(d, &schema, "description", json_str(arena_printf(d->a, "A list of %.*s objects.", SPAN_ARG(r->kind))));
	set(d, &items, "description", json_str(arena_printf(d->a, "The %.*s objects.", SPAN_ARG(r->kind))));
	set(d, &items, "items", openapi_def_root(d, r)->ref);
	set(d, &items, "type", json_cstr("array"));
	set(d, &properties, "apiVersion", head_property(d, "apiVersion"));
	set(d, &properties, "items", items);
	set(d, &properties, "kind", head_property(d, "kind"));
	set(d, &properties, "metadata", meta_property(d, "meta/v1.ListMeta"));
	set(d, &schema, "properties", properties);
	json_push(d->a, &required, json_cstr("items"));
	set(d, &schema, "required", required);
	set(d, &schema, "type", json_cstr("object"));
	set(d, &schema, "x-kubernetes-group-version-kind", custom_kind(d, r, r->list_kind));
	return schema;
}

/* ---- all of them */

static struct json def_schema(struct openapi_doc *d, const struct openapi_def *def)
{
	if (def->fixed) {
		struct json schema = parsed(d, span_of(d->v3 ? def->fixed->v3 : def->fixed->v2));
		const struct openapi_entry *words = openapi_words_type(&d->o->words, span_of(def->fixed->type));
		if (words)
			set(d, &schema, "description", json_str(words->sentence));
		return schema;
	}
	if (!def->resource)
		return builtin_schema(d, def->type);
	d->resource = def->resource;
	if (def->is_list)
		return custom_list(d, def->resource);
	struct json schema = custom_schema(d, def->type);
	set(d, &schema, "x-kubernetes-group-version-kind", custom_kind(d, def->resource, def->resource->kind));
	return schema;
}

static int by_def(const void *x, const void *y)
{
	return span_cmp((*(struct openapi_def *const *)x)->name, (*(struct openapi_def *const *)y)->name);
}

struct json openapi_defs_make(struct openapi_doc *d)
{
	while (d->todo) {
		struct openapi_def *def = d->todo;
		d->todo = def->next;
		def->schema = def_schema(d, def);
	}
	if (d->n_defs)
		qsort(d->list, d->n_defs, sizeof(*d->list), by_def);
	struct json all = json_object();
	for (unsigned i = 0; i < d->n_defs; i++)
		json_add(d->a, &all, d->list[i]->name, d->list[i]->schema);
	return all;
}
