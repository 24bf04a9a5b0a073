/* A schema as nodes, and as the types of api: what decodes, prunes, merges and is published.
 *
 *     type: object, properties             API_OBJECT; unknown fields stay with x-kubernetes-preserve-unknown-fields
 *     type: object, additionalProperties   API_MAP
 *     type: array                          API_LIST, with its list type and keys
 *     x-kubernetes-int-or-string           API_INTORSTRING
 *     no type, preserving                  as what it says of its inside, else API_ANY
 *
 * A list that preserves unknown fields hands that on to its items, as upstream's pruning does. */
#include "custom/private.h"

struct compile {
	struct arena *a;
	struct api_types *set; /* may be NULL */
	struct err *err;
	unsigned depth;
};

enum schema_type custom_schema_type_of(struct span name)
{
	static const char *const names[SCHEMA_TYPE_COUNT] = {
		[SCHEMA_ANY] = "",	   [SCHEMA_OBJECT] = "object",	 [SCHEMA_ARRAY] = "array",
		[SCHEMA_STRING] = "string", [SCHEMA_INTEGER] = "integer", [SCHEMA_NUMBER] = "number",
		[SCHEMA_BOOLEAN] = "boolean",
	};
	unsigned i = 0;
	while (i < SCHEMA_TYPE_COUNT && !span_is(name, names[i]))
		i++;
	return (enum schema_type)i;
}

static int compile(struct compile *c, const struct json *schema, bool structural, bool root, bool preserving,
		   struct node **out);

/* ---- the plain members */

static const struct json *member(const struct json *schema, const char *name)
{
	return json_get(schema, span_of(name));
}

static double number_of(const struct json *v)
{
	return v->kind == JSON_INT ? (double)v->i : v->kind == JSON_UINT ? (double)v->u : v->d;
}

static void read_double(const struct json *schema, const char *name, unsigned bit, double *out, unsigned *has)
{
	const struct json *v = member(schema, name);
	if (!json_is_number(v))
		return;
	*out = number_of(v);
	*has |= bit;
}

static void read_int(const struct json *schema, const char *name, unsigned bit, int64_t *out, unsigned *has)
{
	const struct json *v = member(schema, name);
	if (!json_is(v, JSON_INT))
		return;
	*out = v->i;
	*has |= bit;
}

static struct span *texts(struct arena *a, const struct json *list, unsigned *out_n)
{
	*out_n = json_is(list, JSON_ARRAY) ? list->n : 0;
	struct span *items = *out_n ? arena_alloc_n(a, *out_n, sizeof(*items)) : NULL;
	for (unsigned i = 0; i < *out_n; i++)
		items[i] = json_span(&list->items[i]);
	return items;
}

static enum api_list_type list_type_of(struct span text)
{
	return span_is(text, "atomic") ? API_LIST_ATOMIC
	       : span_is(text, "set")  ? API_LIST_SET
	       : span_is(text, "map")  ? API_LIST_MAP
				       : API_LIST_NONE;
}

static void regex_drop(void *re)
{
	regex_free(re);
}

static int read_pattern(struct compile *c, const struct json *schema, struct node *n)
{
	n->pattern = json_span(member(schema, "pattern"));
	if (!n->pattern.len)
		return 0;
	n->regex = regex_new(n->pattern, 0, c->err);
	if (!n->regex)
		return -ERR_INVALID;
	arena_defer(c->a, regex_drop, n->regex);
	return 0;
}

static int read_plain(struct compile *c, const struct json *schema, struct node *n)
{
	const struct json *dflt = member(schema, "default"), *enums = member(schema, "enum");
	struct span format = json_span(member(schema, "format"));
	n->source = schema;
	n->type = custom_schema_type_of(json_span(member(schema, "type")));
	if (n->type == SCHEMA_TYPE_COUNT)
		return err_set(c->err, ERR_INVALID, "unknown type");
	n->int_or_string = json_truth(member(schema, "x-kubernetes-int-or-string"), false);
	n->preserve = json_truth(member(schema, "x-kubernetes-preserve-unknown-fields"), false);
	n->embedded = json_truth(member(schema, "x-kubernetes-embedded-resource"), false);
	n->nullable = json_truth(member(schema, "nullable"), false);
	n->exclusive_maximum = json_truth(member(schema, "exclusiveMaximum"), false);
	n->exclusive_minimum = json_truth(member(schema, "exclusiveMinimum"), false);
	n->map_atomic = span_is(json_span(member(schema, "x-kubernetes-map-type")), "atomic");
	n->list = list_type_of(json_span(member(schema, "x-kubernetes-list-type")));
	read_double(schema, "maximum", HAS_MAXIMUM, &n->maximum, &n->has);
	read_double(schema, "minimum", HAS_MINIMUM, &n->minimum, &n->has);
	read_double(schema, "multipleOf", HAS_MULTIPLE_OF, &n->multiple_of, &n->has);
	read_int(schema, "maxLength", HAS_MAX_LENGTH, &n->max_length, &n->has);
	read_int(schema, "minLength", HAS_MIN_LENGTH, &n->min_length, &n->has);
	read_int(schema, "maxItems", HAS_MAX_ITEMS, &n->max_items, &n->has);
	read_int(schema, "minItems", HAS_MIN_ITEMS, &n->min_items, &n->has);
	read_int(schema, "maxProperties", HAS_MAX_PROPERTIES, &n->max_properties, &n->has);
	read_int(schema, "minProperties", HAS_MIN_PROPERTIES, &n->min_properties, &n->has);
	n->format = custom_format_known(format) ? format : SPAN_EMPTY;
	n->dflt = dflt && dflt->kind != JSON_NULL ? dflt : NULL;
	n->enums = json_is(enums, JSON_ARRAY) && enums->n ? enums : NULL;
	n->required = texts(c->a, member(schema, "required"), &n->n_required);
	n->keys = texts(c->a, member(schema, "x-kubernetes-list-map-keys"), &n->n_keys);
	return read_pattern(c, schema, n);
}

/* ---- what is inside */

static int by_name(const void *x, const void *y)
{
	return span_cmp(((const struct property *)x)->name, ((const struct property *)y)->name);
}

static int read_properties(struct compile *c, const struct json *schema, bool structural, struct node *n)
{
	const struct json *list = member(schema, "properties");
	if (!json_is(list, JSON_OBJECT) || !list->n)
		return 0;
	if (list->n > 60000)
		return err_set(c->err, ERR_INVALID, "more than 60000 properties");
	n->properties = arena_alloc_n(c->a, list->n, sizeof(*n->properties));
	JSON_EACH_MEMBER(list, m) {
		if (m->key_len > 4096)
			return err_set(c->err, ERR_INVALID, "the name of a property is longer than 4096 bytes");
		struct property *p = &n->properties[n->n_properties++];
		p->name = json_key(m);
		int rc = compile(c, &m->value, structural, false, false, &p->node);
		if (rc < 0)
			return rc;
	}
	qsort(n->properties, n->n_properties, sizeof(*n->properties), by_name);
	return 0;
}

static int read_additional(struct compile *c, const struct json *schema, bool structural, struct node *n)
{
	const struct json *v = member(schema, "additionalProperties");
	if (json_is(v, JSON_OBJECT))
		return compile(c, v, structural, false, false, &n->additional);
	n->additional_true = json_is(v, JSON_BOOL) && v->b;
	n->additional_false = json_is(v, JSON_BOOL) && !v->b;
	return 0;
}

static int read_branches(struct compile *c, const struct json *list, struct node ***out, unsigned *out_n)
{
	*out = json_is(list, JSON_ARRAY) && list->n ? arena_alloc_n(c->a, list->n, sizeof(**out)) : NULL;
	JSON_EACH_ITEM(list, item) {
		int rc = compile(c, item, false, false, false, &(*out)[*out_n]);
		if (rc < 0)
			return rc;
		++*out_n;
	}
	return 0;
}

static int read_inside(struct compile *c, const struct json *schema, bool structural, bool preserving, struct node *n)
{
	const struct json *items = member(schema, "items"), *not_ = member(schema, "not");
	int rc = read_properties(c, schema, structural, n);
	if (rc == 0)
		rc = read_additional(c, schema, structural, n);
	if (rc == 0 && json_is(items, JSON_OBJECT))
		rc = compile(c, items, structural, false, n->preserve || preserving, &n->items);
	if (rc == 0)
		rc = read_branches(c, member(schema, "allOf"), &n->all, &n->n_all);
	if (rc == 0)
		rc = read_branches(c, member(schema, "anyOf"), &n->any, &n->n_any);
	if (rc == 0)
		rc = read_branches(c, member(schema, "oneOf"), &n->one, &n->n_one);
	if (rc == 0 && json_is(not_, JSON_OBJECT))
		rc = compile(c, not_, false, false, false, &n->not_);
	return rc;
}

/* ---- the type beside the node */

static bool is_required(const struct node *n, struct span name)
{
	for (unsigned i = 0; i < n->n_required; i++)
		if (span_eq(n->required[i], name))
			return true;
	return false;
}

static const struct api_type *object_type(struct compile *c, const struct node *n, const struct api_node_opts *opts)
{
	struct api_field_spec *fields = arena_alloc_n(c->a, n->n_properties, sizeof(*fields));
	for (unsigned i = 0; i < n->n_properties; i++)
		fields[i] = (struct api_field_spec){ .name = n->properties[i].name,
						     .type = n->properties[i].node->api,
						     .flags = is_required(n, n->properties[i].name) ? API_FIELD_REQUIRED : 0 };
	return api_types_object(c->set, SPAN_EMPTY, fields, n->n_properties, opts);
}

static const struct api_type *type_of(struct compile *c, const struct node *n, bool root, bool preserving)
{
	auto_buf struct buf text = {};
	struct api_node_opts opts = { .rules = n };
	if (n->preserve || preserving || (n->additional_true && n->n_properties))
		opts.flags |= API_TYPE_PRESERVE;
	if (n->embedded || root)
		opts.flags |= API_TYPE_EMBEDDED;
	if (n->nullable)
		opts.flags |= API_TYPE_NULLABLE;
	if (n->map_atomic)
		opts.flags |= API_TYPE_ATOMIC;
	if (n->dflt)
		json_write(&text, n->dflt, 0);
	opts.default_json = buf_span(&text);
	switch (n->type) {
	case SCHEMA_STRING: return api_types_scalar(c->set, API_STRING, &opts);
	case SCHEMA_INTEGER: return api_types_scalar(c->set, API_INT64, &opts);
	case SCHEMA_NUMBER: return api_types_scalar(c->set, API_DOUBLE, &opts);
	case SCHEMA_BOOLEAN: return api_types_scalar(c->set, API_BOOL, &opts);
	default: break;
	}
	if (n->int_or_string)
		return api_types_scalar(c->set, API_INTORSTRING, &opts);
	if (n->additional)
		return api_types_map(c->set, n->additional->api, &opts);
	if ((n->additional_true || n->additional_false) && !n->n_properties) {
		struct api_node_opts any = { .rules = NULL };
		return api_types_map(c->set, api_types_scalar(c->set, API_ANY, &any), &opts);
	}
	if (n->items)
		return api_types_list(c->set, n->items->api, n->list, n->keys, n->n_keys, &opts);
	if (n->type == SCHEMA_OBJECT || n->n_properties)
		return object_type(c, n, &opts);
	return api_types_scalar(c->set, API_ANY, &opts);
}

static int compile(struct compile *c, const struct json *schema, bool structural, bool root, bool preserving,
		   struct node **out)
{
	struct node *n = arena_new(c->a, struct node);
	if (!json_is(schema, JSON_OBJECT))
		return err_set(c->err, ERR_INVALID, "a schema must be an object");
	if (c->depth == CUSTOM_DEPTH_MAX)
		return err_set(c->err, ERR_INVALID, "nested more than %d levels deep", CUSTOM_DEPTH_MAX);
	c->depth++;
	int rc = read_plain(c, schema, n);
	if (rc == 0)
		rc = read_inside(c, schema, structural, preserving, n);
	c->depth--;
	if (rc < 0)
		return rc;
	if (n->n_keys > UINT16_MAX || (structural && n->items && n->n_properties))
		return err_set(c->err, ERR_INVALID, "a schema with both items and properties is not supported");
	if (structural && c->set)
		n->api = type_of(c, n, root, preserving);
	*out = n;
	return 0;
}

int custom_node_compile(struct arena *a, struct api_types *set, const struct json *schema, bool is_root, struct node **out,
			struct err *err)
{
	struct compile c = { .a = a, .set = set, .err = err };
	return compile(&c, schema, true, is_root, false, out);
}

struct node *custom_node_property(const struct node *n, struct span name)
{
	const struct property want = { .name = name };
	const struct property *p =
		n->n_properties ? bsearch(&want, n->properties, n->n_properties, sizeof(want), by_name) : NULL;
	return p ? p->node : NULL;
}
