/* openapi_cat DIR: writes every document of the built-in API and of one custom resource under DIR, as the server would
 * answer them: openapi/v2.json, openapi/v2.pb, openapi/v3.json (the index), openapi/v3/PATH.json and .pb, and the lists of
 * discovery (api.json, apis.json, api/v1.json, apis/GROUP/VERSION.json). For kubectl_test.py and protobuf_test.py. */
#include <sys/stat.h>
#include "openapi/sample_test.h"

static void save(const char *dir, struct span path, const char *ending, struct buf *b)
{
	auto_buf struct buf name = {};
	buf_printf(&name, "%s/%.*s%s", dir, SPAN_ARG(path), ending);
	for (size_t i = strlen(dir) + 1; i < name.len; i++) { /* the folders above */
		if (name.ptr[i] != '/')
			continue;
		name.ptr[i] = 0;
		(void)mkdir(name.ptr, 0755); /* it may be there */
		name.ptr[i] = '/';
	}
	FILE *f = fopen(buf_cstr(&name), "wbe");
	if (!f || fwrite(b->ptr, 1, b->len, f) != b->len || fclose(f) != 0) {
		fprintf(stderr, "openapi_cat: %s: %s\n", buf_cstr(&name), strerror(errno));
		exit(1);
	}
	buf_trunc(b, 0);
}

static void list(struct json_out *j, const char *key, const struct span *words, unsigned n)
{
	json_out_key(j, span_of(key));
	json_out_begin_array(j);
	for (unsigned i = 0; i < n; i++)
		json_out_span(j, words[i]);
	json_out_end(j);
}

static void verbs(struct json_out *j, unsigned mask)
{
	json_out_key(j, SPAN("verbs"));
	json_out_begin_array(j);
	for (unsigned i = 0; i < API_VERB_COUNT; i++)
		if (mask & (1u << i))
			json_out_span(j, span_of(api_verb_name(i)));
	json_out_end(j);
}

/* APIResourceList of one group version. */
static void resources(const char *dir, const struct api_registry *r, const struct api_group_version *v)
{
	auto_buf struct buf b = {};
	auto_buf struct buf path = {};
	struct json_out j = { .buf = &b };
	buf_printf(&path, v->group.len ? "%.*s/%.*s" : "%.*s%.*s", SPAN_ARG(v->group), SPAN_ARG(v->version));
	json_out_begin(&j);
	json_out_kspan(&j, "kind", SPAN("APIResourceList"));
	json_out_kspan(&j, "apiVersion", SPAN("v1"));
	json_out_kspan(&j, "groupVersion", buf_span(&path));
	json_out_key(&j, SPAN("resources"));
	json_out_begin_array(&j);
	for (unsigned i = 0; i < v->n; i++) {
		const struct api_resource *x = api_registry_at(r, v->first + i);
		json_out_begin(&j);
		json_out_kspan(&j, "name", x->plural);
		json_out_kspan(&j, "singularName", x->singular);
		json_out_kbool(&j, "namespaced", x->namespaced);
		json_out_kspan(&j, "kind", x->kind);
		verbs(&j, x->verbs);
		list(&j, "shortNames", x->short_names, x->n_short_names);
		json_out_end(&j);
	}
	json_out_end(&j);
	json_out_end(&j);
	auto_buf struct buf whole = {};
	buf_printf(&whole, "%s/%s", v->group.len ? "apis" : "api", buf_cstr(&path));
	save(dir, buf_span(&whole), ".json", &b);
}

static void groups(const char *dir, const struct api_registry *r)
{
	auto_buf struct buf b = {};
	struct json_out j = { .buf = &b };
	buf_str(&b, "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":[]}");
	save(dir, SPAN("api"), ".json", &b);
	json_out_begin(&j);
	json_out_kspan(&j, "kind", SPAN("APIGroupList"));
	json_out_kspan(&j, "apiVersion", SPAN("v1"));
	json_out_key(&j, SPAN("groups"));
	json_out_begin_array(&j);
	unsigned n = api_registry_n_versions(r);
	for (unsigned i = 0; i < n; ) {
		const struct api_group_version *first = api_registry_version(r, i), *v = first;
		if (!first->group.len) {
			i++;
			continue;
		}
		auto_buf struct buf gv = {};
		json_out_begin(&j);
		json_out_kspan(&j, "name", first->group);
		json_out_key(&j, SPAN("versions"));
		json_out_begin_array(&j);
		for (; i < n && span_eq((v = api_registry_version(r, i))->group, first->group); i++) {
			buf_trunc(&gv, 0);
			buf_printf(&gv, "%.*s/%.*s", SPAN_ARG(v->group), SPAN_ARG(v->version));
			json_out_begin(&j);
			json_out_kspan(&j, "groupVersion", buf_span(&gv));
			json_out_kspan(&j, "version", v->version);
			json_out_end(&j);
		}
		json_out_end(&j);
		json_out_end(&j);
	}
	json_out_end(&j);
	json_out_end(&j);
	save(dir, SPAN("apis"), ".json", &b);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: openapi_cat DIR\n");
		return 2;
	}
	struct api_registry *r = sample_registry();
	struct openapi_opts opts = { .custom = sample_custom };
	struct openapi *o = openapi_new(r, &opts);
	auto_buf struct buf b = {};
	openapi_v2(o, OPENAPI_JSON, &b);
	save(argv[1], SPAN("openapi/v2"), ".json", &b);
	openapi_v2(o, OPENAPI_PROTO, &b);
	save(argv[1], SPAN("openapi/v2"), ".pb", &b);
	openapi_v3_index(o, &b);
	save(argv[1], SPAN("openapi/v3"), ".json", &b);
	for (unsigned i = 0; i < openapi_v3_count(o); i++) {
		auto_buf struct buf path = {};
		buf_printf(&path, "openapi/v3/%.*s", SPAN_ARG(openapi_v3_path(o, i)));
		(void)openapi_v3(o, openapi_v3_path(o, i), OPENAPI_JSON, &b);
		save(argv[1], buf_span(&path), ".json", &b);
		(void)openapi_v3(o, openapi_v3_path(o, i), OPENAPI_PROTO, &b);
		save(argv[1], buf_span(&path), ".pb", &b);
	}
	groups(argv[1], r);
	for (unsigned i = 0; i < api_registry_n_versions(r); i++)
		resources(argv[1], r, api_registry_version(r, i));
	openapi_free(o);
	api_registry_unref(r);
	return 0;
}
