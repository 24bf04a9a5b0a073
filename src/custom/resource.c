/* Rows of the registry: one for each served version of an established CRD. */
#include <openssl/sha.h>
#include "custom/private.h"

#define SUB_VERBS (API_VERB_GET | API_VERB_PATCH | API_VERB_UPDATE)

static struct span text_of(const struct json *object, const char *name)
{
	return json_span(json_get(object, span_of(name)));
}

static const struct span *texts(struct arena *a, const struct json *list, unsigned *out_n)
{
	*out_n = json_is(list, JSON_ARRAY) ? list->n : 0;
	struct span *items = *out_n ? arena_alloc_n(a, *out_n, sizeof(*items)) : NULL;
	for (unsigned i = 0; i < *out_n; i++)
		items[i] = json_span(&list->items[i]);
	return items;
}

static const struct json *storage_version(const struct json *crd)
{
	JSON_EACH_ITEM(json_path(crd, "spec", "versions", (char *)NULL), v)
		if (json_truth(json_getl(v, "storage"), false))
			return v;
	return NULL;
}

/* discovery.StorageVersionHash */
static struct span storage_hash(struct arena *a, struct span group, struct span version, struct span kind)
{
	auto_buf struct buf gvk = {}, text = {};
	unsigned char sum[SHA256_DIGEST_LENGTH];
	buf_printf(&gvk, "%.*s/%.*s/%.*s", SPAN_ARG(group), SPAN_ARG(version), SPAN_ARG(kind));
	SHA256((const unsigned char *)gvk.ptr, gvk.len, sum);
	base64_add(&text, BASE64_STD, sum, 8);
	return arena_span(a, buf_span(&text));
}

static struct span deprecation(struct arena *a, const struct json *crd, const struct json *version)
{
	struct span group = json_span(json_path(crd, "spec", "group", (char *)NULL));
	struct span name = text_of(version, "name"), best = SPAN_EMPTY;
	struct span kind = json_span(json_path(crd, "spec", "names", "kind", (char *)NULL));
	const struct json *own = json_getl(version, "deprecationWarning");
	if (!json_truth(json_getl(version, "deprecated"), false))
		return SPAN_EMPTY;
	if (own)
		return json_span(own);
	JSON_EACH_ITEM(json_path(crd, "spec", "versions", (char *)NULL), v) {
		struct span other = text_of(v, "name");
		if (json_truth(json_getl(v, "served"), false) && !json_truth(json_getl(v, "deprecated"), false) &&
		    api_version_compare(other, name) < 0 && (!best.len || api_version_compare(other, best) < 0))
			best = other;
	}
	if (!best.len)
		return arena_printf(a, "%.*s/%.*s %.*s is deprecated", SPAN_ARG(group), SPAN_ARG(name), SPAN_ARG(kind));
	return arena_printf(a, "%.*s/%.*s %.*s is deprecated; use %.*s/%.*s %.*s", SPAN_ARG(group), SPAN_ARG(name),
			    SPAN_ARG(kind), SPAN_ARG(group), SPAN_ARG(best), SPAN_ARG(kind));
}

/* ---- the parts of a row */

static void add_columns(struct api_resource *row, struct arena *a, const struct json *list)
{
	unsigned n = json_is(list, JSON_ARRAY) ? list->n : 0;
	struct api_column *columns = arena_zalloc(a, (size_t)(n ? n + 1 : 2) * sizeof(*columns));
	columns[row->n_columns++] = (struct api_column){
		.name = SPAN("Name"),
		.type = SPAN("string"),
		.format = SPAN("name"),
		.shows = SPAN(".metadata.name"),
		.description = SPAN("The name of the object, unique among those of its kind in its namespace."),
	};
	for (unsigned i = 0; i < n; i++) {
		const struct json *c = &list->items[i];
		struct span path = text_of(c, "jsonPath"), words = text_of(c, "description");
		columns[row->n_columns++] = (struct api_column){
			.name = text_of(c, "name"),
			.type = text_of(c, "type"),
			.format = text_of(c, "format"),
			.priority = (int)json_i64(json_getl(c, "priority"), 0),
			.shows = path,
			.description = words.len ? words
						 : arena_printf(a, "Custom resource definition column (in JSONPath format): %.*s",
								SPAN_ARG(path)),
		};
	}
	if (!n)
		columns[row->n_columns++] = (struct api_column){
			.name = SPAN("Age"),
			.type = SPAN("date"),
			.shows = SPAN(".metadata.creationTimestamp"),
			.description = SPAN("When the server created the object, RFC 3339, in UTC. Set by the system."),
		};
	row->columns = columns;
}

static void add_selectors(struct api_resource *row, struct arena *a, const struct json *list)
{
	unsigned n = json_is(list, JSON_ARRAY) ? list->n : 0;
	struct api_selector *s = arena_zalloc(a, (size_t)(n + 2) * sizeof(*s));
	s[row->n_selectors++] = (struct api_selector){ SPAN("metadata.name"), SPAN("metadata.name"), 'A' };
	if (row->namespaced)
		s[row->n_selectors++] = (struct api_selector){ SPAN("metadata.namespace"), SPAN("metadata.namespace"), 'A' };
	for (unsigned i = 0; i < n; i++) {
		struct span path = text_of(&list->items[i], "jsonPath");
		path = path.len && path.ptr[0] == '.' ? span_from(path, 1) : path;
		s[row->n_selectors++] = (struct api_selector){ path, path, 'A' };
	}
	row->selectors = s;
}

static void add_subs(struct api_resource *row, struct custom_row *own, struct arena *a, const struct json *version)
{
	const struct json *subs = json_getl(version, "subresources"), *scale = json_getl(subs, "scale");
	struct api_subresource *list = arena_zalloc(a, 2 * sizeof(*list));
	own->has_status = json_getl(subs, "status") != NULL;
	own->has_scale = scale != NULL;
	if (own->has_status)
		list[row->n_subresources++] = (struct api_subresource){
			.name = SPAN("status"),
			.kind = row->kind,
			.group_version = arena_printf(a, "%.*s/%.*s", SPAN_ARG(row->group), SPAN_ARG(row->version)),
			.verbs = SUB_VERBS,
			.type = row->type,
		};
	if (own->has_scale) {
		own->scale = (struct custom_scale){ text_of(scale, "specReplicasPath"), text_of(scale, "statusReplicasPath"),
						    text_of(scale, "labelSelectorPath") };
		list[row->n_subresources++] = (struct api_subresource){
			.name = SPAN("scale"),
			.kind = SPAN("Scale"),
			.group_version = SPAN("autoscaling/v1"),
			.verbs = SUB_VERBS,
			.type = api_type_find(SPAN("autoscaling/v1.Scale")),
		};
	}
	row->subresources = list;
}

static int row_make(const struct json *crd_in, uint32_t at, struct api_resource **out, struct err *err)
{
	struct api_resource *row = api_resource_new();
	row->types = api_types_new();
	struct arena *a = api_types_arena(row->types); /* lives as long as the row: one arena for all of it */
	struct custom_row *own = arena_new(a, struct custom_row);
	struct json *crd = arena_new(a, struct json);
	*crd = json_copy(a, crd_in);
	const struct json *names = json_path(crd, "status", "acceptedNames", (char *)NULL), *storage = storage_version(crd);
	const struct json *version = &json_path(crd, "spec", "versions", (char *)NULL)->items[at];
	own->crd = crd;
	own->version = version;
	row->owner = own;
	row->group = json_span(json_path(crd, "spec", "group", (char *)NULL));
	row->version = text_of(version, "name");
	row->kind = text_of(names, "kind");
	row->list_kind = text_of(names, "listKind");
	row->plural = text_of(names, "plural");
	row->singular = text_of(names, "singular");
	row->short_names = texts(a, json_getl(names, "shortNames"), &row->n_short_names);
	row->categories = texts(a, json_getl(names, "categories"), &row->n_categories);
	row->namespaced = span_is(json_span(json_path(crd, "spec", "scope", (char *)NULL)), "Namespaced");
	row->served = API_SERVED;
	row->verbs = (1u << API_VERB_COUNT) - 1;
	if (custom_condition_true(crd, "Terminating"))
		row->verbs &= ~(unsigned)(API_VERB_CREATE | API_VERB_PATCH | API_VERB_UPDATE);
	row->storage_group = row->group;
	row->storage_version = text_of(storage, "name");
	row->storage_kind = row->kind;
	if (json_truth(json_getl(storage, "served"), false))
		row->storage_hash = storage_hash(a, row->group, row->storage_version, row->kind);
	const struct json *schema = json_path(version, "schema", "openAPIV3Schema", (char *)NULL);
	int rc = schema ? custom_node_compile(a, row->types, schema, true, &own->root, err)
			: err_set(err, ERR_INVALID, "there is no schema");
	if (rc < 0) {
		(void)err_note(err, "version %.*s", SPAN_ARG(row->version));
		api_resource_unref(row);
		return rc;
	}
	row->type = own->root->api;
	own->warning = deprecation(a, crd, version);
	add_columns(row, a, json_getl(version, "additionalPrinterColumns"));
	add_selectors(row, a, json_getl(version, "selectableFields"));
	add_subs(row, own, a, version);
	*out = row;
	return 0;
}

int custom_rows(const struct json *crd, struct api_resource **out, unsigned *out_n, struct err *err)
{
	const struct json *versions = json_path(crd, "spec", "versions", (char *)NULL);
	unsigned n = 0;
	*out_n = 0;
	if (!custom_condition_true(crd, "Established") || !storage_version(crd))
		return 0;
	for (uint32_t i = 0; json_is(versions, JSON_ARRAY) && i < versions->n; i++) {
		if (!json_truth(json_getl(&versions->items[i], "served"), false))
			continue;
		int rc = row_make(crd, i, &out[n], err);
		if (rc < 0) {
			while (n)
				api_resource_unref(out[--n]);
			return rc;
		}
		n++;
	}
	*out_n = n;
	return 0;
}

struct span custom_warning(const struct api_resource *row)
{
	return custom_is(row) ? ((const struct custom_row *)row->owner)->warning : SPAN_EMPTY;
}

/* ---- OpenAPI */

void custom_openapi(void *arg, const struct api_resource *row, const struct api_type *node, bool v3, struct arena *arena,
		    struct json *schema)
{
	static const char *const both[] = { "description", "title", "format", "maximum", "minimum", "multipleOf", "maxLength",
					    "minLength", "pattern", "maxItems", "minItems", "maxProperties", "minProperties",
					    "enum", "externalDocs" };
	static const char *const flags[] = { "exclusiveMaximum", "exclusiveMinimum" };
	static const char *const v3_only[] = { "allOf", "anyOf", "oneOf", "not", "example" };
	const struct node *n = api_type_rules(node);
	if (!n)
		return;
	bool typed = v3 || json_getl(schema, "type"); /* in v2 a node without type has no bounds either */
	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		const struct json *v = json_get(n->source, span_of(both[i]));
		if (v && v->kind != JSON_NULL && (typed || i < 2))
			(void)json_set(arena, schema, span_of(both[i]), *v);
	}
	for (size_t i = 0; typed && i < ARRAY_LEN(flags); i++)
		if (json_truth(json_get(n->source, span_of(flags[i])), false))
			(void)json_set(arena, schema, span_of(flags[i]), json_bool(true));
	for (size_t i = 0; v3 && i < ARRAY_LEN(v3_only); i++) {
		const struct json *v = json_get(n->source, span_of(v3_only[i]));
		if (v)
			(void)json_set(arena, schema, span_of(v3_only[i]), *v);
	}
}
