/* The documents as trees: names, references, extensions, operations, both forms, custom resources, descriptions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "openapi/sample_test.h"
#include "proto/proto.h"

static struct arena arena;
static struct api_registry *registry;
static struct openapi *docs;
static unsigned custom_calls;

static int set_up(void **state)
{
	registry = sample_registry();
	struct openapi_opts opts = { .custom = sample_custom, .arg = &custom_calls };
	docs = openapi_new(registry, &opts);
	return 0;
}

static int tear_down(void **state)
{
	openapi_free(docs);
	api_registry_unref(registry);
	arena_done(&arena);
	return 0;
}

static struct json parse(struct buf *b)
{
	struct json v = JSON_NULL_VALUE;
	struct err err = {};
	int code = json_parse(&arena, buf_span(b), 0, NULL, &v, &err); /* repeated names are an error */
	if (code)
		fail_msg("not JSON: %s", err.msg);
	return v;
}

static struct json v2(struct openapi *o)
{
	auto_buf struct buf b = {};
	openapi_v2(o, OPENAPI_JSON, &b);
	return parse(&b);
}

static struct json v3(struct openapi *o, const char *path)
{
	auto_buf struct buf b = {};
	assert_true(openapi_v3(o, span_of(path), OPENAPI_JSON, &b));
	return parse(&b);
}

static void same(const char *what, const struct json *got, const char *want)
{
	auto_buf struct buf text = {};
	if (got)
		json_write(&text, got, JSON_SORTED);
	if (strcmp(buf_cstr(&text), want) != 0)
		fail_msg("%s\n  got  %s\n  want %s", what, buf_cstr(&text), want);
}

/* Each $ref names something in the same document. */
static unsigned refs(const struct json *doc, const struct json *v)
{
	unsigned n = 0;
	JSON_EACH_ITEM(v, item)
		n += refs(doc, item);
	JSON_EACH_MEMBER(v, m) {
		if (!span_is(json_key(m), "$ref") || !json_is(&m->value, JSON_STRING)) {
			n += refs(doc, &m->value);
			continue;
		}
		struct span rest = json_span(&m->value), part;
		const struct json *at = doc;
		assert_true(span_cut(&rest, '/', &part) && span_is(part, "#"));
		while (at && span_cut(&rest, '/', &part))
			at = json_get(at, part);
		if (!at)
			fail_msg("dangling reference %.*s", SPAN_ARG(json_span(&m->value)));
		n++;
	}
	return n;
}

static void references(void **state)
{
	struct json doc = v2(docs);
	assert_true(refs(&doc, &doc) > 5000);
	for (unsigned i = 0; i < openapi_v3_count(docs); i++) {
		struct span path = openapi_v3_path(docs, i);
		auto_buf struct buf b = {};
		assert_true(openapi_v3(docs, path, OPENAPI_JSON, &b));
		doc = parse(&b);
		(void)refs(&doc, &doc);
	}
}

/* What Swagger 2.0 and OpenAPI 3.0 ask of an operation; every identifier once; every {name} of a path is a parameter. */
static void operations_valid(const struct json *doc, bool three, struct map *ids)
{
	JSON_EACH_MEMBER(json_getl(doc, "paths"), path) {
		const struct json *shared = json_getl(&path->value, "parameters");
		JSON_EACH_MEMBER(&path->value, m) {
			if (span_is(json_key(m), "parameters"))
				continue;
			struct span id = json_span(json_getl(&m->value, "operationId"));
			assert_true(id.len > 0);
			if (map_put(ids, id, (void *)1))
				fail_msg("operationId %.*s stands twice", SPAN_ARG(id));
			assert_non_null(json_path(&m->value, "responses", "200", "description", NULL));
			assert_true(json_span(json_getl(&m->value, "description")).len > 0);
			assert_int_equal(json_getl(&m->value, "consumes") != NULL, !three);
			assert_int_equal(json_getl(&m->value, "produces") != NULL, !three);
			assert_int_equal(json_getl(&m->value, "x-kubernetes-action") != NULL,
					 json_getl(&m->value, "x-kubernetes-group-version-kind") != NULL);
			struct span rest = json_key(path), name;
			while (span_cut(&rest, '{', &name) && span_cut(&rest, '}', &name)) {
				bool found = false;
				JSON_EACH_ITEM(shared, p) {
					struct span ref = json_span(json_getl(p, "$ref"));
					const struct json *whole = p;
					if (ref.len)
						whole = json_get(json_getl(doc, "parameters"), span_from(ref, strlen("#/parameters/")));
					found |= span_eq(json_span(json_getl(whole, "name")), name) &&
						 span_is(json_span(json_getl(whole, "in")), "path") &&
						 json_truth(json_getl(whole, "required"), false);
				}
				if (!found)
					fail_msg("%.*s: no parameter %.*s", SPAN_ARG(json_key(path)), SPAN_ARG(name));
			}
		}
	}
}

static void operations(void **state)
{
	struct json doc = v2(docs);
	auto_map struct map ids = {}, ids3 = {};
	operations_valid(&doc, false, &ids);
	for (unsigned i = 0; i < openapi_v3_count(docs); i++) {
		auto_buf struct buf b = {};
		assert_true(openapi_v3(docs, openapi_v3_path(docs, i), OPENAPI_JSON, &b));
		struct json part = parse(&b);
		operations_valid(&part, true, &ids3);
	}
	assert_int_equal(ids.n, ids3.n); /* v2 is all of v3 */
	static const char *const known[] = {
		"createCoreV1NamespacedPod", "listCoreV1PodForAllNamespaces", "readCoreV1NamespacedPodLog",
		"deleteAppsV1CollectionNamespacedDeployment", "connectCoreV1PostNamespacedPodExec", "connectCoreV1GetNodeProxyWithPath",
		"replaceRbacAuthorizationV1ClusterRole", "createCoreV1NamespacedServiceAccountToken", "getAppsAPIGroup",
		"getRbacAuthorizationV1APIResources", "watchCoreV1NamespacedPodList", "watchCoreV1PodListForAllNamespaces",
		"patchAppsV1NamespacedDeploymentScale", "getCodeVersion", "getCoreAPIVersions", "getAPIVersions",
		"patchStableExampleComV1NamespacedWidgetStatus",
	};
	for (unsigned i = 0; i < ARRAY_LEN(known); i++)
		if (!map_get(&ids, span_of(known[i])))
			fail_msg("no operation %s", known[i]);
}

/* kubectl looks for these in the patch operation itself, under its kind. */
static void what_kubectl_looks_for(void **state)
{
	struct json doc = v2(docs), three = v3(docs, "apis/apps/v1");
	const char *path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
	for (int v = 0; v < 2; v++) {
		struct json *patch = json_path(v ? &three : &doc, "paths", path, "patch", NULL);
		same("kind", json_getl(patch, "x-kubernetes-group-version-kind"),
		     "{\"group\":\"apps\",\"kind\":\"Deployment\",\"version\":\"v1\"}");
		same("action", json_getl(patch, "x-kubernetes-action"), "\"patch\"");
		unsigned found = 0;
		JSON_EACH_ITEM(json_getl(patch, "parameters"), p) {
			struct span name = json_span(json_getl(p, "name"));
			found += span_is(name, "dryRun") || span_is(name, "fieldValidation");
		}
		assert_int_equal(found, 2);
	}
	same("consumes", json_path(&doc, "paths", path, "patch", "consumes", NULL),
	     "[\"application/json-patch+json\",\"application/merge-patch+json\",\"application/apply-patch+yaml\","
	     "\"application/strategic-merge-patch+json\"]");
}

static void definitions(void **state)
{
	struct json doc = v2(docs), core = v3(docs, "api/v1");
	struct json *d = json_getl(&doc, "definitions"), *s = json_path(&core, "components", "schemas", NULL);
	static const char *const names[] = {
		"io.k8s.api.core.v1.Pod", "io.k8s.api.rbac.v1.ClusterRole", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
		"io.k8s.apimachinery.pkg.api.resource.Quantity", "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
		"io.k8s.apimachinery.pkg.runtime.RawExtension", "io.k8s.apimachinery.pkg.version.Info",
		"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps",
		"io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService", "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent",
	};
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		if (!json_get(d, span_of(names[i])))
			fail_msg("no definition %s", names[i]);
	struct json *containers = json_path(d, "io.k8s.api.core.v1.PodSpec", "properties", "containers", NULL);
	(void)json_remove(containers, SPAN("description"));
	same("containers", containers,
	     "{\"items\":{\"$ref\":\"#/definitions/io.k8s.api.core.v1.Container\"},\"type\":\"array\","
	     "\"x-kubernetes-list-map-keys\":[\"name\"],\"x-kubernetes-list-type\":\"map\","
	     "\"x-kubernetes-patch-merge-key\":\"name\",\"x-kubernetes-patch-strategy\":\"merge\"}");
	same("required", json_path(d, "io.k8s.api.core.v1.PodSpec", "required", NULL), "[\"containers\"]");
	same("volumes", json_path(d, "io.k8s.api.core.v1.PodSpec", "properties", "volumes", "x-kubernetes-patch-strategy", NULL),
	     "\"merge,retainKeys\"");
	same("strategy", json_path(d, "io.k8s.api.apps.v1.DeploymentSpec", "properties", "strategy", "x-kubernetes-patch-strategy", NULL),
	     "\"retainKeys\"");
	same("selector", json_path(d, "io.k8s.api.core.v1.ServiceSpec", "properties", "selector", "x-kubernetes-map-type", NULL),
	     "\"atomic\"");
	same("atomic", json_path(d, "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector", "x-kubernetes-map-type", NULL), "\"atomic\"");
	same("kind", json_path(d, "io.k8s.api.apps.v1.Deployment", "x-kubernetes-group-version-kind", NULL),
	     "[{\"group\":\"apps\",\"kind\":\"Deployment\",\"version\":\"v1\"}]");
	same("union", json_path(d, "io.k8s.api.core.v1.SeccompProfile", "x-kubernetes-unions", NULL),
	     "[{\"discriminator\":\"type\",\"fields-to-discriminateBy\":{\"localhostProfile\":\"LocalhostProfile\"}}]");
	same("int32", json_path(d, "io.k8s.api.core.v1.ContainerPort", "properties", "containerPort", "format", NULL), "\"int32\"");
	same("byte", json_path(d, "io.k8s.api.core.v1.Secret", "properties", "data", "additionalProperties", NULL),
	     "{\"format\":\"byte\",\"type\":\"string\"}");
	same("time", json_path(d, "io.k8s.apimachinery.pkg.apis.meta.v1.Time", "format", NULL), "\"date-time\"");
	same("intorstring", json_path(d, "io.k8s.apimachinery.pkg.util.intstr.IntOrString", "format", NULL), "\"int-or-string\"");
	same("enum", json_path(d, "io.k8s.api.core.v1.Container", "properties", "imagePullPolicy", "enum", NULL),
	     "[\"Always\",\"IfNotPresent\",\"Never\"]");
	assert_null(json_path(d, "io.k8s.api.core.v1.ContainerPort", "properties", "protocol", "default", NULL)); /* not in v2 */
	same("default", json_path(s, "io.k8s.api.core.v1.ContainerPort", "properties", "protocol", "default", NULL), "\"TCP\"");
	same("zero", json_path(s, "io.k8s.api.core.v1.Container", "properties", "name", "default", NULL), "\"\"");
	struct json *meta = json_path(s, "io.k8s.api.core.v1.Pod", "properties", "metadata", NULL);
	(void)json_remove(meta, SPAN("description"));
	same("allOf", meta, "{\"allOf\":[{\"$ref\":\"#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta\"}],\"default\":{}}");
	struct json *quantity = json_path(s, "io.k8s.apimachinery.pkg.api.resource.Quantity", "oneOf", NULL);
	same("quantity", quantity, "[{\"type\":\"string\"},{\"type\":\"number\"}]");
	same("fieldsV1", json_path(s, "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry", "properties", "fieldsV1", "allOf", NULL),
	     "[{\"$ref\":\"#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1\"}]");
}

/* Each resource that is served can be found by its kind, and its items by their path. */
static void every_resource(void **state)
{
	struct json doc = v2(docs);
	auto_map struct map kinds = {};
	JSON_EACH_MEMBER(json_getl(&doc, "definitions"), def)
		JSON_EACH_ITEM(json_getl(&def->value, "x-kubernetes-group-version-kind"), k) {
			struct span key = arena_printf(&arena, "%.*s/%.*s/%.*s", SPAN_ARG(json_span(json_getl(k, "group"))),
						       SPAN_ARG(json_span(json_getl(k, "version"))),
						       SPAN_ARG(json_span(json_getl(k, "kind"))));
			if (map_put(&kinds, key, (void *)1))
				fail_msg("two definitions for %.*s", SPAN_ARG(key));
		}
	for (unsigned i = 0; i < api_registry_n(registry); i++) {
		const struct api_resource *r = api_registry_at(registry, i);
		struct span key = arena_printf(&arena, "%.*s/%.*s/%.*s", SPAN_ARG(r->group), SPAN_ARG(r->version), SPAN_ARG(r->kind));
		if (!map_get(&kinds, key) != (r->served == API_SERVED_AGGREGATED))
			fail_msg("%.*s: served %d", SPAN_ARG(key), r->served);
		if (r->served == API_SERVED_AGGREGATED || !(r->verbs & API_VERB_GET))
			continue;
		struct span path = arena_printf(&arena, "/%s/%.*s%s%.*s%s/%.*s/{name}", r->group.len ? "apis" : "api",
						SPAN_ARG(r->group), r->group.len ? "/" : "", SPAN_ARG(r->version),
						r->namespaced ? "/namespaces/{namespace}" : "", SPAN_ARG(r->plural));
		struct json *item = json_get(json_getl(&doc, "paths"), path);
		if (!json_getl(item, "get"))
			fail_msg("no get at %.*s", SPAN_ARG(path));
	}
	struct openapi_opts all = { .aggregated = true };
	auto_openapi struct openapi *o = openapi_new(registry, &all);
	doc = v2(o);
	assert_non_null(json_path(&doc, "definitions", "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics", NULL));
}

static void custom_resource(void **state)
{
	custom_calls = 0;
	struct json doc = v2(docs);
	assert_true(custom_calls > 10);
	struct json three = v3(docs, "apis/stable.example.com/v1");
	struct json *d = json_path(&doc, "definitions", "com.example.stable.v1.Widget", NULL);
	struct json *s = json_path(&three, "components", "schemas", "com.example.stable.v1.Widget", NULL);
	same("kind", json_getl(d, "x-kubernetes-group-version-kind"),
	     "[{\"group\":\"stable.example.com\",\"kind\":\"Widget\",\"version\":\"v1\"}]");
	same("description", json_getl(s, "description"), "\"A widget, as the sample has it.\"");
	same("spec v2", json_path(d, "properties", "spec", "properties", "maybe", NULL), "{}");
	same("spec v3", json_path(s, "properties", "spec", "properties", "maybe", NULL), "{\"nullable\":true,\"type\":\"string\"}");
	same("default", json_path(s, "properties", "spec", "properties", "color", NULL), "{\"default\":\"red\",\"type\":\"string\"}");
	same("no default", json_path(d, "properties", "spec", "properties", "color", NULL), "{\"type\":\"string\"}");
	same("bound", json_path(s, "properties", "spec", "properties", "size", NULL),
	     "{\"format\":\"int64\",\"minimum\":1,\"type\":\"integer\"}");
	same("int or string", json_path(s, "properties", "spec", "properties", "port", NULL), "{\"x-kubernetes-int-or-string\":true}");
	same("map list", json_path(s, "properties", "spec", "properties", "parts", NULL),
	     "{\"items\":{\"properties\":{\"count\":{\"format\":\"int32\",\"type\":\"integer\"},\"name\":{\"type\":\"string\"}},"
	     "\"required\":[\"name\"],\"type\":\"object\"},\"type\":\"array\",\"x-kubernetes-list-map-keys\":[\"name\"],"
	     "\"x-kubernetes-list-type\":\"map\"}");
	same("anything", json_path(s, "properties", "spec", "properties", "anything", NULL),
	     "{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true}");
	struct json *inside = json_path(s, "properties", "spec", "properties", "inside", NULL);
	same("embedded", json_getl(inside, "x-kubernetes-embedded-resource"), "true");
	assert_non_null(json_path(inside, "properties", "metadata", "allOf", NULL));
	same("required", json_getl(s, "required"), "[\"spec\"]");
	same("list", json_path(&three, "components", "schemas", "com.example.stable.v1.WidgetList", "properties", "items", "items", NULL),
	     "{\"$ref\":\"#/components/schemas/com.example.stable.v1.Widget\"}");
	struct json *patch = json_path(&three, "paths", "/apis/stable.example.com/v1/namespaces/{namespace}/widgets/{name}", "patch",
				       "requestBody", "content", NULL);
	assert_non_null(json_getl(patch, "application/merge-patch+json"));
	assert_null(json_getl(patch, "application/strategic-merge-patch+json"));
	assert_non_null(json_path(&three, "paths", "/apis/stable.example.com/v1/namespaces/{namespace}/widgets/{name}/scale", NULL));
	/* The built-in documents do not change with it. */
	struct api_registry *plain = api_registry_builtin(false);
	auto_openapi struct openapi *o = openapi_new(plain, NULL);
	auto_buf struct buf a = {};
	auto_buf struct buf b = {};
	assert_true(openapi_v3(o, SPAN("apis/apps/v1"), OPENAPI_JSON, &a));
	assert_true(openapi_v3(docs, SPAN("apis/apps/v1"), OPENAPI_JSON, &b));
	assert_true(span_eq(buf_span(&a), buf_span(&b)));
	assert_false(openapi_v3(o, SPAN("apis/stable.example.com/v1"), OPENAPI_JSON, &a));
	api_registry_unref(plain);
}

static void documents_of_v3(void **state)
{
	static const char *const some[] = { ".well-known/openid-configuration", "api", "api/v1", "apis", "apis/apps", "apis/apps/v1",
					    "apis/stable.example.com", "apis/stable.example.com/v1", "openid/v1/jwks", "version" };
	unsigned found = 0;
	for (unsigned i = 0; i < openapi_v3_count(docs); i++) {
		struct span path = openapi_v3_path(docs, i);
		assert_true(i == 0 || span_cmp(openapi_v3_path(docs, i - 1), path) < 0);
		for (unsigned k = 0; k < ARRAY_LEN(some); k++)
			found += span_is(path, some[k]);
		assert_false(span_starts(path, SPAN("apis/metrics.k8s.io")));
	}
	assert_int_equal(found, ARRAY_LEN(some));
	auto_buf struct buf none = {};
	assert_false(openapi_v3(docs, SPAN("apis/apps/v9"), OPENAPI_JSON, &none));
	assert_false(openapi_v3(docs, SPAN(""), OPENAPI_PROTO, &none));
	assert_int_equal(none.len, 0);
}

static void index_and_hashes(void **state)
{
	char tag[OPENAPI_ETAG_LEN + 1];
	openapi_etag(SPAN("abc"), tag); /* FIPS 180-4, example of SHA-512 */
	assert_string_equal(tag, "DDAF35A193617ABACC417349AE20413112E6FA4E89A97EA20A9EEEE64B55D39A"
				 "2192992A274FC1A836BA3C23A3FEEBBD454D4423643CE80E2A9AC94FA54CA49F");
	auto_buf struct buf b = {};
	auto_buf struct buf one = {};
	auto_buf struct buf want = {};
	openapi_v3_index(docs, &b);
	struct json index = parse(&b);
	assert_int_equal(json_getl(&index, "paths")->n, openapi_v3_count(docs));
	assert_true(openapi_v3(docs, SPAN("apis/apps/v1"), OPENAPI_JSON, &one));
	openapi_etag(buf_span(&one), tag);
	buf_printf(&want, "{\"serverRelativeURL\":\"/openapi/v3/apis/apps/v1?hash=%s\"}", tag);
	same("index", json_path(&index, "paths", "apis/apps/v1", NULL), buf_cstr(&want));
}

static void same_bytes_each_time(void **state)
{
	struct api_registry *r = sample_registry();
	struct openapi_opts opts = { .custom = sample_custom };
	auto_openapi struct openapi *o = openapi_new(r, &opts);
	for (int form = OPENAPI_JSON; form <= OPENAPI_PROTO; form++) {
		auto_buf struct buf a = {};
		auto_buf struct buf b = {};
		openapi_v2(docs, form, &a);
		openapi_v2(o, form, &b);
		assert_true(span_eq(buf_span(&a), buf_span(&b)));
	}
	api_registry_unref(r);
}

/* Messages nest where they should, whatever they mean: protobuf_test.py knows the meaning. */
static void protobuf_form(void **state)
{
	auto_buf struct buf b = {};
	openapi_v2(docs, OPENAPI_PROTO, &b);
	struct proto_in in = proto_in_of(buf_span(&b));
	uint32_t num;
	unsigned wire, definitions = 0;
	struct span v;
	while (proto_tag(&in, &num, &wire) && wire == PROTO_BYTES && proto_bytes(&in, &v)) {
		if (num == 1)
			assert_true(span_is(v, "2.0"));
		if (num != 9)
			continue;
		struct proto_in defs = proto_in_of(v);
		while (proto_tag(&defs, &num, &wire) && num == 1 && proto_bytes(&defs, &v))
			definitions++;
		assert_true(proto_end(&defs));
	}
	assert_true(proto_end(&in));
	struct json doc = v2(docs);
	assert_int_equal(definitions, json_getl(&doc, "definitions")->n);
}

/* ---- descriptions: every definition and every property of every document has one */

static unsigned undescribed(const struct json *defs)
{
	unsigned missing = 0;
	JSON_EACH_MEMBER(defs, def) {
		bool custom = span_starts(json_key(def), SPAN("com.example."));
		if (!json_span(json_getl(&def->value, "description")).len) {
			print_message("no description: %.*s\n", SPAN_ARG(json_key(def)));
			missing++;
		}
		JSON_EACH_MEMBER(custom ? NULL : json_getl(&def->value, "properties"), p)
			if (!json_span(json_getl(&p->value, "description")).len) {
				print_message("no description: %.*s.%.*s\n", SPAN_ARG(json_key(def)), SPAN_ARG(json_key(p)));
				missing++;
			}
	}
	return missing;
}

static void everything_described(void **state)
{
	struct api_registry *all = api_registry_builtin(true);
	struct openapi_opts opts = { .aggregated = true };
	auto_openapi struct openapi *o = openapi_new(all, &opts);
	struct json doc = v2(o);
	assert_int_equal(undescribed(json_getl(&doc, "definitions")), 0);
	for (unsigned i = 0; i < openapi_v3_count(o); i++) {
		auto_buf struct buf b = {};
		assert_true(openapi_v3(o, openapi_v3_path(o, i), OPENAPI_JSON, &b));
		struct json part = parse(&b);
		assert_int_equal(undescribed(json_path(&part, "components", "schemas", NULL)), 0);
	}
	assert_true(openapi_describe(o, SPAN("core/v1.Pod"), SPAN_EMPTY).len > 0);
	assert_true(openapi_describe(o, SPAN("core/v1.PodSpec"), SPAN("containers")).len > 0);
	assert_int_equal(openapi_describe(o, SPAN("core/v1.PodSpec"), SPAN("nonsense")).len, 0);
	assert_int_equal(openapi_describe(o, SPAN("core/v1.Nonsense"), SPAN_EMPTY).len, 0);
	api_registry_unref(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references), cmocka_unit_test(operations), cmocka_unit_test(what_kubectl_looks_for),
		cmocka_unit_test(definitions), cmocka_unit_test(every_resource), cmocka_unit_test(custom_resource),
		cmocka_unit_test(documents_of_v3), cmocka_unit_test(index_and_hashes), cmocka_unit_test(same_bytes_each_time),
		cmocka_unit_test(protobuf_form), cmocka_unit_test(everything_described),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
