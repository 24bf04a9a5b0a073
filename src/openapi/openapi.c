/* Which documents there are, and each from its parts: paths (paths.c) name types, definitions (defs.c) follow from the names,
 * and the whole is a tree that is written as JSON or, by gnostic.c, as protobuf. A tree shares what repeats (a response, a list
 * of media types): copying a struct json copies a pointer. */
#include <openssl/evp.h>
#include "openapi/private.h"

bool openapi_row_shown(const struct openapi *o, const struct api_resource *r)
{
	return r->served != API_SERVED_AGGREGATED || o->opts.aggregated;
}

static void kind_add(struct openapi *o, struct span type, struct span group, struct span version, struct span kind)
{
	struct openapi_kind **at, *first = map_get(&o->kinds, type);
	for (at = &first; *at; at = &(*at)->next)
		if (span_eq((*at)->group, group) && span_eq((*at)->version, version) && span_eq((*at)->kind, kind))
			return;
	struct openapi_kind *k = arena_new(&o->arena, struct openapi_kind);
	*k = (struct openapi_kind){ .group = group, .version = version, .kind = kind };
	*at = k;
	if (first == k)
		map_put(&o->kinds, type, k);
}

static void type_add(struct openapi *o, const struct api_type *t, struct span group, struct span version)
{
	if (!t || api_type_flags(t) & API_TYPE_CUSTOM)
		return;
	struct span name = api_type_name(t);
	kind_add(o, name, group, version, span_from(name, (size_t)span_rchr(name, '.') + 1));
}

/* Which kinds each built-in type is. DeleteOptions and WatchEvent belong to every group version that the program knows. */
static void kinds_init(struct openapi *o)
{
	static const char *const meta[] = { "APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "Status" };
	for (unsigned i = 0; i < ARRAY_LEN(meta); i++)
		kind_add(o, arena_printf(&o->arena, "meta/v1.%s", meta[i]), SPAN_EMPTY, SPAN("v1"), span_of(meta[i]));
	for (unsigned i = 0; i < api_registry_n(o->registry); i++) {
		const struct api_resource *r = api_registry_at(o->registry, i);
		if (!openapi_row_shown(o, r))
			continue;
		type_add(o, r->type, r->group, r->version);
		type_add(o, r->list_type, r->group, r->version);
		for (unsigned s = 0; s < r->n_subresources; s++) {
			const struct api_subresource *sub = &r->subresources[s];
			struct span group, version;
			if (!span_split(sub->group_version, '/', &group, &version)) {
				version = group;
				group = SPAN_EMPTY;
			}
			type_add(o, sub->type, group, version);
		}
		if (r->types)
			continue;
		kind_add(o, SPAN("meta/v1.DeleteOptions"), r->group, r->version, SPAN("DeleteOptions"));
		kind_add(o, SPAN("meta/v1.WatchEvent"), r->group, r->version, SPAN("WatchEvent"));
	}
}

static int by_text(const void *x, const void *y)
{
	return span_cmp(*(const struct span *)x, *(const struct span *)y);
}

static void paths_init(struct openapi *o)
{
	static const char *const always[] = { ".well-known/openid-configuration", "api", "apis", "openid/v1/jwks", "version" };
	unsigned n_versions = api_registry_n_versions(o->registry), n = 0;
	struct span *paths = arena_alloc_n(&o->arena, ARRAY_LEN(always) + 2 * (size_t)n_versions, sizeof(*paths));
	for (unsigned i = 0; i < ARRAY_LEN(always); i++)
		paths[n++] = span_of(always[i]);
	struct span last = SPAN_EMPTY;
	for (unsigned i = 0; i < n_versions; i++) {
		const struct api_group_version *v = api_registry_version(o->registry, i);
		bool shown = false;
		for (unsigned k = 0; k < v->n && !shown; k++)
			shown = openapi_row_shown(o, api_registry_at(o->registry, v->first + k));
		if (!shown)
			continue;
		if (!v->group.len) {
			paths[n++] = arena_printf(&o->arena, "api/%.*s", SPAN_ARG(v->version));
			continue;
		}
		if (!span_eq(last, v->group)) /* versions of a group stand together */
			paths[n++] = arena_printf(&o->arena, "apis/%.*s", SPAN_ARG(v->group));
		last = v->group;
		paths[n++] = arena_printf(&o->arena, "apis/%.*s/%.*s", SPAN_ARG(v->group), SPAN_ARG(v->version));
	}
	qsort(paths, n, sizeof(*paths), by_text);
	o->v3_paths = paths;
	o->n_v3_paths = n;
}

struct openapi *openapi_new(struct api_registry *registry, const struct openapi_opts *opts)
{
	struct openapi *o = mem_new(struct openapi);
	o->registry = api_registry_ref(registry);
	if (opts)
		o->opts = *opts;
	openapi_words_init(&o->words);
	kinds_init(o);
	paths_init(o);
	return o;
}

void openapi_free(struct openapi *o)
{
	if (!o)
		return;
	map_done(&o->kinds);
	openapi_words_done(&o->words);
	arena_done(&o->arena);
	api_registry_unref(o->registry);
	free(o);
}

static struct json parsed(struct arena *a, const char *text)
{
	struct json v = JSON_NULL_VALUE;
	struct err err = {};
	int code = json_parse(a, span_of(text), JSON_BORROW, NULL, &v, &err);
	assert(code == 0);
	return v;
}

void openapi_v2(struct openapi *o, enum openapi_form form, struct buf *out)
{
	auto_arena struct arena a = {};
	struct openapi_doc d = { .o = o, .a = &a };
	struct json parameters, doc = parsed(&a, "{\"swagger\":\"2.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"v1.33.0\"}}");
	struct json paths = openapi_paths_all(&d, &parameters);
	json_addl(&a, &doc, "paths", paths);
	json_addl(&a, &doc, "definitions", openapi_defs_make(&d));
	json_addl(&a, &doc, "parameters", parameters);
	json_addl(&a, &doc, "securityDefinitions",
		  parsed(&a, "{\"BearerToken\":{\"description\":\"A bearer token in the Authorization header.\",\"in\":\"header\","
			     "\"name\":\"authorization\",\"type\":\"apiKey\"}}"));
	json_addl(&a, &doc, "security", parsed(&a, "[{\"BearerToken\":[]}]"));
	if (form == OPENAPI_PROTO)
		openapi_gnostic_v2(&doc, out);
	else
		json_write(out, &doc, 0);
	map_done(&d.defs);
}

unsigned openapi_v3_count(const struct openapi *o)
{
	return o->n_v3_paths;
}

struct span openapi_v3_path(const struct openapi *o, unsigned i)
{
	assert(i < o->n_v3_paths);
	return o->v3_paths[i];
}

bool openapi_v3(struct openapi *o, struct span path, enum openapi_form form, struct buf *out)
{
	if (!bsearch(&path, o->v3_paths, o->n_v3_paths, sizeof(path), by_text))
		return false;
	auto_arena struct arena a = {};
	struct openapi_doc d = { .o = o, .a = &a, .v3 = true };
	struct json doc = parsed(&a, "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"v1.33.0\"}}");
	json_addl(&a, &doc, "paths", openapi_paths_of(&d, path));
	struct json components = json_object();
	struct json schemas = openapi_defs_make(&d);
	if (schemas.n)
		json_addl(&a, &components, "schemas", schemas);
	json_addl(&a, &components, "securitySchemes",
		  parsed(&a, "{\"BearerToken\":{\"description\":\"A bearer token in the Authorization header.\",\"in\":\"header\","
			     "\"name\":\"authorization\",\"type\":\"apiKey\"}}"));
	json_addl(&a, &doc, "components", components);
	json_addl(&a, &doc, "security", parsed(&a, "[{\"BearerToken\":[]}]"));
	if (form == OPENAPI_PROTO)
		openapi_gnostic_v3(&doc, out);
	else
		json_write(out, &doc, 0);
	map_done(&d.defs);
	return true;
}

void openapi_etag(struct span json, char out[OPENAPI_ETAG_LEN + 1])
{
	unsigned char sum[64];
	unsigned len = 0;
	int ok = EVP_Digest(json.ptr, json.len, sum, &len, EVP_sha512(), NULL);
	assert(ok == 1 && len == sizeof(sum)); /* fails only without memory, or with a provider lacking SHA-512 */
	for (unsigned i = 0; i < sizeof(sum); i++) {
		out[2 * i] = "0123456789ABCDEF"[sum[i] >> 4];
		out[2 * i + 1] = "0123456789ABCDEF"[sum[i] & 15];
	}
	out[OPENAPI_ETAG_LEN] = 0;
}

void openapi_v3_index_of(const struct openapi *o, const struct span *etags, struct buf *out)
{
	struct json_out j = { .buf = out };
	auto_buf struct buf url = {};
	json_out_begin(&j);
	json_out_key(&j, SPAN("paths"));
	json_out_begin(&j);
	for (unsigned i = 0; i < o->n_v3_paths; i++) {
		json_out_key(&j, o->v3_paths[i]);
		json_out_begin(&j);
		buf_trunc(&url, 0);
		buf_printf(&url, "/openapi/v3/%.*s?hash=%.*s", SPAN_ARG(o->v3_paths[i]), SPAN_ARG(etags[i]));
		json_out_key(&j, SPAN("serverRelativeURL"));
		json_out_span(&j, buf_span(&url));
		json_out_end(&j);
	}
	json_out_end(&j);
	json_out_end(&j);
}

void openapi_v3_index(struct openapi *o, struct buf *out)
{
	auto_arena struct arena a = {};
	auto_buf struct buf doc = {};
	struct span *etags = arena_alloc_n(&a, o->n_v3_paths, sizeof(*etags));
	for (unsigned i = 0; i < o->n_v3_paths; i++) {
		char *tag = arena_alloc(&a, OPENAPI_ETAG_LEN + 1);
		buf_trunc(&doc, 0);
		(void)openapi_v3(o, o->v3_paths[i], OPENAPI_JSON, &doc); /* one of our own paths */
		openapi_etag(buf_span(&doc), tag);
		etags[i] = span_make(tag, OPENAPI_ETAG_LEN);
	}
	openapi_v3_index_of(o, etags, out);
}
