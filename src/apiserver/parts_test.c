/* Tests of the parts that need no server: reading a request line, negotiating forms, writing statuses and discovery. */
#include "apiserver/accept.h"
#include "apiserver/discovery.h"
#include "apiserver/route.h"
#include "apiserver/status.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- route */

static struct route read_route(struct arena *a, const char *line)
{
	struct span method, rest = span_of(line), path, query, seg;
	span_split(rest, ' ', &method, &rest);
	span_split(rest, '?', &path, &query);
	struct span segments[16];
	size_t n = 0;
	struct span left = span_from(path, 1);
	while (span_cut(&left, '/', &seg))
		segments[n++] = seg;
	struct span *kept = arena_alloc_n(a, n + 1, sizeof(*kept));
	memcpy(kept, segments, n * sizeof(*kept));
	struct route r;
	route_read(a, method, path, kept, n, query, &r);
	return r;
}

static void routes(void **state)
{
	/* verb group/version resource[/sub] ns name, "-" for none; paths: verb and the path */
	static const char *const rows[][2] = {
		{ "GET /api/v1/pods", "list /v1 pods - -" },
		{ "GET /api/v1/namespaces/d/pods", "list /v1 pods d -" },
		{ "GET /api/v1/namespaces/d/pods?watch=true", "watch /v1 pods d -" },
		{ "GET /api/v1/namespaces/d/pods?watch=0", "list /v1 pods d -" },
		{ "GET /api/v1/namespaces/d/pods?watch", "watch /v1 pods d -" },
		{ "GET /api/v1/watch/namespaces/d/pods", "watch /v1 pods d -" },
		{ "GET /api/v1/namespaces/d/pods/web", "get /v1 pods d web" },
		{ "HEAD /api/v1/namespaces/d/pods/web", "get /v1 pods d web" },
		{ "GET /api/v1/namespaces/d/pods/web/log?follow=1", "get /v1 pods/log d web" },
		{ "POST /api/v1/namespaces/d/pods", "create /v1 pods d -" },
		{ "POST /api/v1/namespaces/d/pods/web/eviction", "create /v1 pods/eviction d web" },
		{ "PUT /apis/apps/v1/namespaces/d/deployments/web", "update apps/v1 deployments d web" },
		{ "PATCH /apis/apps/v1/namespaces/d/deployments/web/scale", "patch apps/v1 deployments/scale d web" },
		{ "DELETE /api/v1/namespaces/d/pods/web", "delete /v1 pods d web" },
		{ "DELETE /api/v1/namespaces/d/pods", "deletecollection /v1 pods d -" },
		{ "GET /api/v1/namespaces", "list /v1 namespaces - -" },
		{ "GET /api/v1/namespaces/d", "get /v1 namespaces d d" },
		{ "PUT /api/v1/namespaces/d/status", "update /v1 namespaces/status d d" },
		{ "PUT /api/v1/namespaces/d/finalize", "update /v1 namespaces/finalize d d" },
		{ "GET /api/v1/namespaces/d/finalize/x", "get /v1 finalize d x" },
		{ "GET /api/v1/nodes/n1", "get /v1 nodes - n1" },
		{ "GET /api/v1/nodes/n1/proxy/stats/summary", "get /v1 nodes/proxy - n1" },
		{ "GET /api/v1/pods?fieldSelector=metadata.name%3Dweb", "list /v1 pods - web" },
		{ "GET /api/v1/pods?watch=1&fieldSelector=metadata.name%3Dweb,spec.nodeName%3Dn",
		  "watch /v1 pods - web" },
		{ "GET /api/v1/pods?fieldSelector=metadata.name!%3Dweb", "list /v1 pods - -" },
		{ "GET /api/v1/pods?fieldSelector=metadata.name%3Da%2Fb", "list /v1 pods - -" },
		{ "OPTIONS /api/v1/pods", "options /v1 pods - -" },
		{ "GET /api", "get /api" },
		{ "GET /api/v1", "get /api/v1" },
		{ "GET /apis", "get /apis" },
		{ "GET /apis/apps", "get /apis/apps" },
		{ "GET /apis/apps/v1", "get /apis/apps/v1" },
		{ "POST /healthz", "post /healthz" },
		{ "GET /", "get /" },
		{ "GET /apix/v1/pods", "get /apix/v1/pods" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct route r = read_route(&a, rows[i][0]);
		auto_buf struct buf got = {};
		if (r.is_resource)
			buf_printf(&got, "%.*s %.*s/%.*s %.*s%s%.*s %.*s %.*s", SPAN_ARG(r.verb_name),
				   SPAN_ARG(r.group), SPAN_ARG(r.version), SPAN_ARG(r.resource),
				   r.subresource.len ? "/" : "", SPAN_ARG(r.subresource),
				   SPAN_ARG(r.ns.len ? r.ns : SPAN("-")), SPAN_ARG(r.name.len ? r.name : SPAN("-")));
		else
			buf_printf(&got, "%.*s %.*s", SPAN_ARG(r.verb_name), SPAN_ARG(r.path));
		if (!span_is(buf_span(&got), rows[i][1]))
			fail_msg("%s\n got %s\nwant %s", rows[i][0], buf_cstr(&got), rows[i][1]);
	}
	auto_arena struct arena a = {};
	struct route r = read_route(&a, "GET /api/v1/nodes/n1/proxy/stats/summary");
	assert_int_equal(r.n_rest, 2);
	assert_true(span_is(r.rest[1], "summary"));
}

/* ---- accept */

static void negotiation(void **state)
{
	static const struct {
		const char *header;
		unsigned can_do;
		int form, shape; /* form -1: refused */
	} rows[] = {
		{ "", 0, FORM_JSON, SHAPE_OBJECT },
		{ "*/*", 0, FORM_JSON, SHAPE_OBJECT },
		{ "application/json", 0, FORM_JSON, SHAPE_OBJECT },
		{ "text/html, application/*;q=0.8", 0, FORM_JSON, SHAPE_OBJECT },
		{ "text/html", 0, -1, 0 },
		{ "application/json;q=0", 0, -1, 0 },
		{ "application/json;q=x", 0, -1, 0 },
		{ "application/vnd.kubernetes.protobuf, */*", ACCEPT_PROTO, FORM_PROTO, SHAPE_OBJECT },
		{ "application/vnd.kubernetes.protobuf, */*", 0, FORM_JSON, SHAPE_OBJECT },
		{ "application/vnd.kubernetes.protobuf", 0, -1, 0 },
		{ "application/json;q=0.5,application/yaml;q=0.9", ACCEPT_YAML, FORM_YAML, SHAPE_OBJECT },
		/* what kubectl get sends */
		{ "application/json;as=Table;v=v1;g=meta.k8s.io,application/"
		  "json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
		  ACCEPT_SHAPES, FORM_JSON, SHAPE_TABLE },
		{ "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", 0, FORM_JSON, SHAPE_OBJECT },
		{ "application/json;as=Table;v=v2;g=meta.k8s.io", ACCEPT_SHAPES, -1, 0 },
		{ "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
		  ACCEPT_SHAPES | ACCEPT_PROTO, FORM_PROTO, SHAPE_PARTIAL },
		/* what discovery clients send */
		{ "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/"
		  "json;g=apidiscovery.k8s.io;"
		  "v=v2beta1;as=APIGroupDiscoveryList,application/json",
		  ACCEPT_DISCOVERY, FORM_JSON, SHAPE_DISCOVERY_V2 },
		{ "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
		  ACCEPT_DISCOVERY, FORM_JSON, SHAPE_DISCOVERY_V2BETA1 },
		{ "application/json; as=\"Table\"; v=v1; g=meta.k8s.io", ACCEPT_SHAPES, FORM_JSON, SHAPE_TABLE },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err err = ERR_INIT;
		struct accepted got = {};
		int rc = accept_read(span_of(rows[i].header), rows[i].can_do, &got, &err);
		if ((rc < 0) != (rows[i].form < 0) ||
		    (rc == 0 && ((int)got.form != rows[i].form || (int)got.shape != rows[i].shape)))
			fail_msg("\"%s\": %d form %d shape %d", rows[i].header, rc, got.form, got.shape);
	}
	auto_err struct err err = ERR_INIT;
	struct accepted got;
	assert_int_equal(accept_read(SPAN("text/html"), ACCEPT_PROTO | ACCEPT_YAML, &got, &err), -ERR_NOT_ACCEPTABLE);
	assert_string_equal(err_msg(&err),
			    "only the following media types are accepted: application/json, application/yaml, "
			    "application/vnd.kubernetes.protobuf");
	assert_int_equal(accept_read(SPAN("application/json;pretty=1"), 0, &got, &err), 0);
	assert_true(got.pretty);

	enum form form;
	assert_int_equal(content_form(SPAN("Application/JSON; charset=utf-8"), false, &form, &err), 0);
	assert_int_equal(form, FORM_JSON);
	assert_int_equal(content_form(SPAN(""), false, &form, &err), 0);
	assert_int_equal(content_form(SPAN("application/vnd.kubernetes.protobuf"), true, &form, &err), 0);
	assert_int_equal(form, FORM_PROTO);
	assert_int_equal(content_form(SPAN("application/vnd.kubernetes.protobuf"), false, &form, &err),
			 -ERR_UNSUPPORTED_MEDIA);
	assert_int_equal(content_form(SPAN("text/plain"), true, &form, &err), -ERR_UNSUPPORTED_MEDIA);
	assert_string_equal(err_msg(&err),
			    "the body of the request was in an unknown format - accepted media types include: "
			    "application/json, application/yaml, application/vnd.kubernetes.protobuf");
	assert_string_equal(accept_content_type(FORM_PROTO, true), "application/vnd.kubernetes.protobuf;stream=watch");
	assert_string_equal(accept_content_type(FORM_JSON, true), "application/json");
}

/* ---- status */

static void statuses(void **state)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf out = {};
	err_set(&err, ERR_NOT_FOUND, "pods \"web\" not found");
	status_write(&out, &err, &(struct status_details){ .name = SPAN("web"), .kind = SPAN("pods") });
	assert_string_equal(
		buf_cstr(&out),
		"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":"
		"\"pods \\\"web\\\" not found\",\"reason\":\"NotFound\",\"details\":{\"name\":\"web\",\"kind\":"
		"\"pods\"},\"code\":404}\n");
	buf_trunc(&out, 0);
	err_set(&err, ERR_UNAUTHORIZED, "Unauthorized");
	status_write(&out, &err, NULL);
	assert_string_equal(
		buf_cstr(&out),
		"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":"
		"\"Unauthorized\",\"reason\":\"Unauthorized\",\"code\":401}\n");
	buf_trunc(&out, 0);
	err_set(&err, ERR_INVALID, "Pod \"w\" is invalid: spec.containers: Required value");
	err_cause_add(&err, SPAN("spec.containers"), "FieldValueRequired", SPAN("Required value"));
	status_write(&out, &err, &(struct status_details){ .name = SPAN("w"), .kind = SPAN("Pod") });
	assert_string_equal(
		buf_cstr(&out),
		"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":"
		"\"Pod \\\"w\\\" is invalid: spec.containers: Required value\",\"reason\":\"Invalid\",\"details\":"
		"{\"name\":\"w\",\"kind\":\"Pod\",\"causes\":[{\"reason\":\"FieldValueRequired\",\"message\":"
		"\"Required value\",\"field\":\"spec.containers\"}]},\"code\":422}\n");
	buf_trunc(&out, 0);
	auto_err struct err busy = ERR_INIT;
	err_set(&busy, ERR_TOO_MANY, "too many requests, please try again later");
	busy.retry_ms = 1200;
	status_write(&out, &busy, NULL);
	assert_non_null(strstr(buf_cstr(&out), "\"details\":{\"retryAfterSeconds\":2},\"code\":429}"));
	assert_int_equal(status_code(&busy), 429);
	buf_trunc(&out, 0);
	err_set(&busy, ERR_IO, "disk gone");
	status_write(&out, &busy, NULL);
	assert_non_null(strstr(buf_cstr(&out),
			       "\"message\":\"Internal error occurred: disk gone\",\"reason\":\"InternalError\""));
	buf_trunc(&out, 0);
	status_write_success(&out, &(struct status_details){ .name = SPAN("web"),
							     .group = SPAN("apps"),
							     .kind = SPAN("deployments"),
							     .uid = SPAN("u1") });
	assert_string_equal(
		buf_cstr(&out),
		"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\",\"details\":"
		"{\"name\":\"web\",\"group\":\"apps\",\"kind\":\"deployments\",\"uid\":\"u1\"}}\n");
}

/* ---- discovery */

static struct json doc(struct arena *a, const struct buf *b)
{
	struct json v;
	auto_err struct err err = ERR_INIT;
	if (json_parse(a, buf_span(b), 0, NULL, &v, &err) < 0)
		fail_msg("%s in %s", err_msg(&err), buf_cstr(b));
	return v;
}

static const struct json *named(const struct json *list, const char *key, const char *name)
{
	JSON_EACH_ITEM(list, item)
		if (span_is(json_span(json_get(item, span_of(key))), name))
			return item;
	return NULL;
}

static void discovery(void **state)
{
	auto_arena struct arena a = {};
	struct api_registry *r = api_registry_builtin(false);
	auto_buf struct buf out = {};
	discovery_core_versions(&out, SPAN("127.0.0.1:6443"));
	assert_string_equal(
		buf_cstr(&out),
		"{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":[{\"clientCIDR\":"
		"\"0.0.0.0/0\",\"serverAddress\":\"127.0.0.1:6443\"}]}\n");
	buf_trunc(&out, 0);
	discovery_groups(&out, r);
	struct json groups = doc(&a, &out);
	const struct json *apps = named(json_getl(&groups, "groups"), "name", "apps");
	assert_non_null(apps);
	assert_true(span_is(json_span(json_path(apps, "preferredVersion", "groupVersion", (char *)NULL)), "apps/v1"));
	assert_null(named(json_getl(&groups, "groups"), "name", ""));
	const struct json *scaling = named(json_getl(&groups, "groups"), "name", "autoscaling");
	assert_int_equal(json_getl(scaling, "versions")->n, 2);
	assert_true(span_is(json_span(json_path(scaling, "preferredVersion", "version", (char *)NULL)), "v2"));
	assert_null(named(json_getl(&groups, "groups"), "name", "metrics.k8s.io")); /* an extension server's */

	buf_trunc(&out, 0);
	assert_true(discovery_group(&out, r, SPAN("apps")));
	assert_string_equal(
		buf_cstr(&out),
		"{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",\"name\":\"apps\",\"versions\":[{\"groupVersion\":"
		"\"apps/v1\",\"version\":\"v1\"}],\"preferredVersion\":{\"groupVersion\":\"apps/v1\",\"version\":"
		"\"v1\"}}\n");
	buf_trunc(&out, 0);
	assert_false(discovery_group(&out, r, SPAN("extensions")));
	assert_false(discovery_resources(&out, r, SPAN("apps"), SPAN("v1beta1")));

	assert_true(discovery_resources(&out, r, SPAN(""), SPAN("v1")));
	assert_true(span_starts(buf_span(&out),
				SPAN("{\"kind\":\"APIResourceList\",\"groupVersion\":\"v1\",\"resources\":[")));
	struct json core = doc(&a, &out);
	const struct json *list = json_getl(&core, "resources");
	auto_buf struct buf one = {};
	json_write(&one, named(list, "name", "configmaps"), 0);
	assert_string_equal(
		buf_cstr(&one),
		"{\"name\":\"configmaps\",\"singularName\":\"configmap\",\"namespaced\":true,\"kind\":\"ConfigMap\","
		"\"verbs\":[\"create\",\"delete\",\"deletecollection\",\"get\",\"list\",\"patch\",\"update\","
		"\"watch\"],\"shortNames\":[\"cm\"],\"storageVersionHash\":\"qFsyl6wFWjQ=\"}");
	buf_trunc(&one, 0);
	json_write(&one, named(list, "name", "pods/eviction"), 0);
	assert_string_equal(buf_cstr(&one),
			    "{\"name\":\"pods/"
			    "eviction\",\"singularName\":\"\",\"namespaced\":true,\"group\":\"policy\",\"version\":"
			    "\"v1\",\"kind\":\"Eviction\",\"verbs\":[\"create\"]}");

	buf_trunc(&out, 0);
	discovery_aggregated(&out, r, false, SPAN("v2"));
	struct json all = doc(&a, &out);
	unsigned n_groups = 0;
	JSON_EACH_ITEM(json_getl(&all, "items"), g) {
		n_groups++;
		assert_non_null(named(json_getl(&groups, "groups"), "name",
				      arena_cstr(&a, json_span(json_path(g, "metadata", "name", (char *)NULL)))));
	}
	assert_int_equal(n_groups, json_getl(&groups, "groups")->n);
	buf_trunc(&out, 0);
	discovery_aggregated(&out, r, true, SPAN("v2beta1"));
	struct json v1 = doc(&a, &out);
	assert_true(span_is(json_span(json_getl(&v1, "apiVersion")), "apidiscovery.k8s.io/v2beta1"));
	assert_int_equal(json_getl(&v1, "items")->n, 1);
	const struct json *pods =
		named(json_getl(&json_getl(&json_getl(&v1, "items")->items[0], "versions")->items[0], "resources"),
		      "resource", "pods");
	assert_true(span_is(json_span(json_path(pods, "responseKind", "kind", (char *)NULL)), "Pod"));
	assert_true(span_is(json_span(json_getl(pods, "scope")), "Namespaced"));
	assert_non_null(named(json_getl(pods, "subresources"), "subresource", "ephemeralcontainers"));
	api_registry_unref(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(routes),
		cmocka_unit_test(negotiation),
		cmocka_unit_test(statuses),
		cmocka_unit_test(discovery),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
