/* What decoding accepts, refuses and changes, in the words of Go and Kubernetes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <cmocka.h>
#include "api/api.h"

#define POD "core/v1.Pod"
#define META_NULL "\"metadata\":{\"creationTimestamp\":null}"

/* Decoded leniently, written again. An `error` instead of `out` is the message expected. */
static const struct row {
	const char *type, *in, *out, *error;
} rows[] = {
	/* zero values that Go writes */
	{ POD, "{}", "{" META_NULL ",\"spec\":{\"containers\":null},\"status\":{}}", NULL },
	{ POD, "null", "{" META_NULL ",\"spec\":{\"containers\":null},\"status\":{}}", NULL },
	{ "core/v1.Service", "{\"spec\":{\"ports\":[{\"port\":80}]}}",
	  "{" META_NULL ",\"spec\":{\"ports\":[{\"port\":80,\"targetPort\":0}]},\"status\":{\"loadBalancer\":{}}}", NULL },
	{ "core/v1.Container", "{\"name\":\"a\"}", "{\"name\":\"a\",\"resources\":{}}", NULL },
	{ "apps/v1.ControllerRevision", "{\"revision\":1}", "{" META_NULL ",\"data\":null,\"revision\":1}", NULL },
	{ "meta/v1.LabelSelectorRequirement", "{}", "{\"key\":\"\",\"operator\":\"\"}", NULL },
	/* omitempty, pointers, order */
	{ "core/v1.Container", "{\"tty\":false,\"stdin\":true,\"image\":\"\",\"name\":\"a\",\"args\":[],\"env\":null}",
	  "{\"name\":\"a\",\"resources\":{},\"stdin\":true}", NULL },
	{ "apps/v1.DeploymentSpec", "{\"paused\":false,\"replicas\":0,\"template\":{\"spec\":{\"containers\":[]}},\"selector\":null}",
	  "{\"replicas\":0,\"selector\":null,\"template\":{" META_NULL ",\"spec\":{\"containers\":[]}},\"strategy\":{}}", NULL },
	{ "core/v1.ConfigMap", "{\"data\":{\"b\":\"<&>\",\"a\":null},\"binaryData\":{\"x\":null,\"w\":\"AA==\"}}",
	  "{" META_NULL ",\"data\":{\"a\":\"\",\"b\":\"\\u003c\\u0026\\u003e\"},\"binaryData\":{\"w\":\"AA==\",\"x\":null}}", NULL },
	{ "core/v1.PodSpec", "{\"containers\":[null],\"imagePullSecrets\":[{}]}",
	  "{\"containers\":[{\"name\":\"\",\"resources\":{}}],\"imagePullSecrets\":[{}]}", NULL },
	/* canonical scalars */
	{ "meta/v1.ObjectMeta", "{\"creationTimestamp\":\"2020-01-02T03:04:05.678+02:00\"}",
	  "{\"creationTimestamp\":\"2020-01-02T01:04:05Z\"}", NULL },
	{ "meta/v1.ObjectMeta", "{\"creationTimestamp\":\"0001-01-01T00:00:00Z\"}", "{\"creationTimestamp\":null}", NULL },
	{ "coordination/v1.LeaseSpec", "{\"renewTime\":\"2020-01-02T03:04:05.600000+01:00\"}",
	  "{\"renewTime\":\"2020-01-02T02:04:05.600000Z\"}", NULL },
	{ "core/v1.ResourceRequirements", "{\"limits\":{\"memory\":\"1024Ki\",\"cpu\":0.5,\"x\":2,\"n\":null}}",
	  "{\"limits\":{\"cpu\":\"500m\",\"memory\":\"1Mi\",\"n\":\"0\",\"x\":\"2\"}}", NULL },
	{ "core/v1.Secret", "{\"data\":{\"a\":\"YQ=\\n=\",\"b\":\"YR==\"}}",
	  "{" META_NULL ",\"data\":{\"a\":\"YQ==\",\"b\":\"YQ==\"}}", NULL },
	{ "core/v1.HTTPGetAction", "{\"port\":\"http\"}", "{\"port\":\"http\"}", NULL },
	{ "core/v1.HTTPGetAction", "{\"port\":8080}", "{\"port\":8080}", NULL },
	/* JSON schema's forms */
	{ "apiextensions/v1.JSONSchemaProps",
	  "{\"additionalProperties\":false,\"items\":{\"type\":\"string\"},\"dependencies\":{\"b\":[\"x\"],\"a\":{\"type\":\"x\"}},"
	  "\"default\":{\"z\":1,\"a\":[null]},\"enum\":[null,1],\"maximum\":1e3}",
	  "{\"default\":{\"z\":1,\"a\":[null]},\"maximum\":1000,\"enum\":[null,1],\"items\":{\"type\":\"string\"},"
	  "\"additionalProperties\":false,\"dependencies\":{\"a\":{\"type\":\"x\"},\"b\":[\"x\"]}}", NULL },
	{ "apiextensions/v1.JSONSchemaProps", "{\"items\":[{\"type\":\"a\"}],\"additionalProperties\":{\"type\":\"b\"}}",
	  "{\"items\":[{\"type\":\"a\"}],\"additionalProperties\":{\"type\":\"b\"}}", NULL },
	{ "apiextensions/v1.JSONSchemaProps", "{\"additionalProperties\":1}", NULL, "boolean or JSON schema expected" },
	/* kinds, in Go's words */
	{ POD, "[]", NULL, "json: cannot unmarshal array into Go value of type v1.Pod" },
	{ POD, "{\"metadata\":{\"name\":1}}", NULL,
	  "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string" },
	{ "apps/v1.Deployment", "{\"spec\":{\"replicas\":\"abc\"}}", NULL,
	  "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32" },
	{ "apps/v1.Deployment", "{\"spec\":{\"replicas\":3000000000}}", NULL,
	  "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32" },
	{ "apps/v1.Deployment", "{\"spec\":{\"replicas\":1.5}}", NULL,
	  "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32" },
	{ "apps/v1.Deployment", "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{},{\"env\":[{\"value\":1}]}]}}}}", NULL,
	  "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string" },
	{ POD, "{\"spec\":\"x\"}", NULL, "json: cannot unmarshal string into Go struct field Pod.spec of type v1.PodSpec" },
	{ POD, "{\"spec\":{\"containers\":{}}}", NULL,
	  "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container" },
	{ POD, "{\"spec\":{\"restartPolicy\":true}}", NULL,
	  "json: cannot unmarshal bool into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy" },
	{ POD, "{\"metadata\":{\"labels\":{\"a\":true}}}", NULL,
	  "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string" },
	{ POD, "{\"metadata\":{\"labels\":[]}}", NULL,
	  "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string" },
	{ POD, "{\"metadata\":{\"creationTimestamp\":5}}", NULL,
	  "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string" },
	{ POD, "{\"metadata\":{\"creationTimestamp\":\"yesterday\"}}", NULL,
	  "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"" },
	{ "core/v1.ServicePort", "{\"targetPort\":true}", NULL,
	  "json: cannot unmarshal bool into Go struct field ServicePort.targetPort of type int32" },
	{ "core/v1.ResourceRequirements", "{\"limits\":{\"cpu\":\"1x\"}}", NULL,
	  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'" },
	{ "core/v1.Secret", "{\"data\":{\"a\":\"!\"}}", NULL, "illegal base64 data at input byte 0" },
	{ "core/v1.Secret", "{\"data\":{\"a\":\"YQ\"}}", NULL, "illegal base64 data at input byte 0" },
	{ "core/v1.Secret", "{\"data\":{\"a\":1}}", NULL,
	  "json: cannot unmarshal number into Go struct field Secret.data of type []uint8" },
};

static void rows_come_out(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf b = {}, pb = {}, again = {};
		struct json v, back;
		const struct api_type *t = api_type_find(span_of(r->type));
		assert_non_null(t);
		int rc = api_decode_json(&a, t, span_of(r->in), NULL, &v, &err);
		if (r->error) {
			if (rc != -ERR_INVALID_REQUEST || strcmp(err_msg(&err), r->error) != 0)
				fail_msg("%s\nwant %s\nhave %s", r->in, r->error, rc ? err_msg(&err) : "no error");
			continue;
		}
		if (rc < 0)
			fail_msg("%s: %s", r->in, err_msg(&err));
		api_encode_json(&b, t, &v, 0);
		if (strcmp(buf_cstr(&b), r->out) != 0)
			fail_msg("%s\nwant %s\nhave %s", r->in, r->out, buf_cstr(&b));
		/* And through protobuf, which cannot tell an empty list from none. */
		if (strstr(r->out, "[]"))
			continue;
		assert_int_equal(api_encode_proto(&pb, t, &v, &err), 0);
		if (api_decode_proto(&a, t, buf_span(&pb), &back, &err) < 0)
			fail_msg("%s: %s", r->in, err_msg(&err));
		api_encode_json(&again, t, &back, 0);
		if (strcmp(buf_cstr(&again), r->out) != 0 && !strstr(r->in, "enum"))
			fail_msg("through protobuf: %s\nwant %s\nhave %s", r->in, r->out, buf_cstr(&again));
	}
}

static void strict_names_what_it_found(void **state)
{
	static const char in[] = "{\"foo\":1,\"spec\":{\"x\":{},\"containers\":[{\"name\":\"a\"},{\"name\":\"b\",\"name\":\"c\",\"imagee\":1,"
				 "\"imagee\":2}],\"x\":1},\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\",\"a\":\"3\"}}}";
	static const char *const want[] = {
		"unknown field \"foo\"", "unknown field \"spec.x\"", "duplicate field \"spec.containers[1].name\"",
		"unknown field \"spec.containers[1].imagee\"", "duplicate field \"metadata.labels.a\"",
	};
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf b = {};
	const struct api_type *t = api_type_find(SPAN(POD));
	struct json v;
	struct api_decode d = {};
	assert_int_equal(api_decode_json(&a, t, span_of(in), &d, &v, &err), 0);
	assert_int_equal(d.n_found, ARRAY_LEN(want));
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		if (!span_is(d.found[i], want[i]))
			fail_msg("want %s, have %.*s", want[i], SPAN_ARG(d.found[i]));
	api_encode_json(&b, t, &v, 0); /* the last one counts */
	assert_string_equal(buf_cstr(&b), "{\"metadata\":{\"creationTimestamp\":null,\"labels\":{\"a\":\"3\",\"b\":\"2\"}},\"spec\":"
			    "{\"containers\":[{\"name\":\"a\",\"resources\":{}},{\"name\":\"c\",\"resources\":{}}]},\"status\":{}}");
	d.strict = true;
	assert_int_equal(api_decode_json(&a, t, span_of(in), &d, &v, &err), -ERR_INVALID_REQUEST);
	assert_string_equal(err_msg(&err), "strict decoding error: unknown field \"foo\", unknown field \"spec.x\", duplicate field "
			    "\"spec.containers[1].name\", unknown field \"spec.containers[1].imagee\", duplicate field \"metadata.labels.a\"");
}

static void repeated_fields_without_a_type(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf b = {};
	struct json v;
	struct api_decode d = {};
	struct span in = SPAN("[{\"a\":1,\"a\":{\"b\":1,\"b\":2}},{\"a\":1,\"c\":[{\"d\":1,\"d\":null}]}]");
	static const char *const want[] = { "duplicate field \"[0].a\"", "duplicate field \"[0].a.b\"", "duplicate field \"[1].c[0].d\"" };
	assert_int_equal(api_decode_any(&a, in, &d, &v, &err), 0);
	assert_int_equal(d.n_found, ARRAY_LEN(want));
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		if (!span_is(d.found[i], want[i]))
			fail_msg("want %s, have %.*s", want[i], SPAN_ARG(d.found[i]));
	json_write(&b, &v, 0);
	assert_string_equal(buf_cstr(&b), "[{\"a\":{\"b\":2}},{\"a\":1,\"c\":[{\"d\":null}]}]");
	api_decode_note(&a, &d, SPAN("more"));
	api_decode_note(&a, &d, SPAN("more"));
	assert_int_equal(d.n_found, ARRAY_LEN(want) + 1);
	d = (struct api_decode){ .strict = true };
	assert_int_equal(api_decode_any(&a, SPAN("{\"a\":1,\"a\":2}"), &d, &v, &err), -ERR_INVALID_REQUEST);
	assert_string_equal(err_msg(&err), "strict decoding error: duplicate field \"a\"");
}

static void yaml_is_strict_in_its_own_words(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	const struct api_type *t = api_type_find(SPAN(POD));
	struct api_decode d = {};
	struct json v;
	struct span text = SPAN("metadata:\n  name: a\n  name: b\nspec:\n  foo: 1\n");
	assert_int_equal(api_decode_yaml(&a, t, text, &d, &v, &err), 0);
	assert_int_equal(d.n_found, 2);
	assert_true(span_is(json_span(json_path(&v, "metadata", "name", NULL)), "b"));
	d.strict = true;
	assert_int_equal(api_decode_yaml(&a, t, text, &d, &v, &err), -ERR_INVALID_REQUEST);
	assert_string_equal(err_msg(&err), "strict decoding error: yaml: unmarshal errors:\n"
			    "  line 3: key \"name\" already set in map, unknown field \"spec.foo\"");
	assert_int_equal(api_decode_yaml(&a, t, SPAN("a: b: c"), &d, &v, &err), -ERR_INVALID_REQUEST);
	assert_string_equal(err_msg(&err), "yaml: mapping values are not allowed in this context");
	assert_int_equal(api_decode_yaml(&a, t, SPAN("spec: {containers: 5}"), &d, &v, &err), -ERR_INVALID_REQUEST);
	assert_string_equal(err_msg(&err), "json: cannot unmarshal number into Go struct field PodSpec.spec.containers of type "
			    "[]v1.Container");
}

/* The short cut for usual quantities agrees with the whole way. */
static void plain_quantities_are_canonical(void **state)
{
	static const char *const suffixes[] = { "", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "n", "u" };
	static const int values[] = { 0, 1, 7, 10, 500, 512, 999, 1000, 1001, 1023, 1024, 1500, 2000, 2048, 10240, 65536, 100000,
				      123456, 512000, 999999, 1000000, 1048576 };
	const struct api_type *t = api_type_find(SPAN("core/v1.ResourceRequirements"));
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		for (size_t k = 0; k < ARRAY_LEN(suffixes); k++) {
			auto_arena struct arena a = {};
			auto_buf struct buf want = {};
			auto_err struct err err = ERR_INIT;
			struct json v;
			struct span text = arena_printf(&a, "%d%s", values[i], suffixes[k]);
			struct span body = arena_printf(&a, "{\"limits\":{\"x\":\"%.*s\"}}", SPAN_ARG(text));
			assert_int_equal(api_quantity_canon(text, &want, &err), 0);
			assert_int_equal(api_decode_json(&a, t, body, NULL, &v, &err), 0);
			struct span have = json_span(json_path(&v, "limits", "x", NULL));
			if (!span_eq(have, buf_span(&want)))
				fail_msg("%.*s: want %s, have %.*s", SPAN_ARG(text), buf_cstr(&want), SPAN_ARG(have));
		}
	}
}

static void found_is_bounded(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf b = {};
	struct api_decode d = {};
	struct json v;
	buf_chr(&b, '{');
	for (int i = 0; i < 500; i++)
		buf_printf(&b, "%s\"u%d\":1", i ? "," : "", i);
	buf_chr(&b, '}');
	assert_int_equal(api_decode_json(&a, api_type_find(SPAN(POD)), buf_span(&b), &d, &v, NULL), 0);
	assert_int_equal(d.n_found, 100);
	assert_int_equal(v.n, 0);
	d.keep_unknown = true;
	assert_int_equal(api_decode_json(&a, api_type_find(SPAN(POD)), buf_span(&b), &d, &v, NULL), 0);
	assert_int_equal(v.n, 500);
}

static void depth_is_bounded(void **state)
{
	auto_arena struct arena a = {};
	const struct api_type *t = api_type_find(SPAN("apiextensions/v1.JSONSchemaProps"));
	for (int depth = 50; depth < 5000; depth *= 3) {
		auto_buf struct buf b = {};
		auto_err struct err err = ERR_INIT;
		struct json v;
		for (int i = 0; i < depth; i++)
			buf_str(&b, "{\"not\":");
		buf_str(&b, "{}");
		for (int i = 0; i < depth; i++)
			buf_chr(&b, '}');
		int rc = api_decode_json(&a, t, buf_span(&b), NULL, &v, &err);
		assert_int_equal(rc == 0, depth < 190);
		if (rc == 0) {
			auto_buf struct buf pb = {};
			assert_int_equal(api_encode_message(&pb, t, &v, &err) == 0, depth < 99);
		}
	}
	/* The same on the wire: field 1 of Not, nested. */
	for (int depth = 10; depth < 3000; depth *= 3) {
		auto_buf struct buf b = {};
		struct json v;
		for (int i = 0; i < depth; i++) {
			auto_buf struct buf outer = {};
			uint32_t n = (uint32_t)b.len;
			buf_str(&outer, "\xe2\x01"); /* not = 28 */
			do
				buf_chr(&outer, (char)((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
			while (n >>= 7);
			buf_span_add(&outer, buf_span(&b));
			buf_trunc(&b, 0);
			buf_span_add(&b, buf_span(&outer));
		}
		assert_int_equal(api_decode_message(&a, t, buf_span(&b), &v, NULL) == 0, depth < 100);
	}
}

static void damaged_protobuf_is_refused(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf pb = {};
	const struct api_type *t = api_type_find(SPAN(POD));
	struct json v;
	assert_int_equal(api_decode_json(&a, t, SPAN("{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"x\",\"labels\":"
		"{\"a\":\"b\"},\"creationTimestamp\":\"2020-01-02T03:04:05Z\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":"
		"{\"limits\":{\"cpu\":\"1\"}}}]}}"), NULL, &v, NULL), 0);
	assert_int_equal(api_encode_proto(&pb, t, &v, NULL), 0);
	for (size_t cut = 0; cut < pb.len; cut++) /* every cut: an error or a smaller object, never more */
		(void)api_decode_proto(&a, t, span_make(pb.ptr, cut), &v, NULL);
	assert_int_equal(api_decode_proto(&a, t, SPAN("k8s"), &v, NULL), -ERR_INVALID_REQUEST);
	assert_int_equal(api_encode_proto(&pb, api_type_find(SPAN("meta/v1.Table")), &v, NULL), -ERR_NOT_ACCEPTABLE);
	assert_int_equal(api_decode_message(&a, api_type_find(SPAN("meta/v1.Table")), SPAN(""), &v, NULL), -ERR_UNSUPPORTED_MEDIA);
	assert_int_equal(api_decode_message(&a, t, SPAN("\x08\x01"), &v, NULL), -ERR_INVALID_REQUEST); /* metadata as varint */
	assert_int_equal(api_decode_message(&a, t, SPAN("\x0a\x05"), &v, NULL), -ERR_INVALID_REQUEST);
	assert_int_equal(api_decode_message(&a, t, SPAN("\xfa\x7f\x00"), &v, NULL), 0); /* unknown number */
	/* Bad UTF-8 becomes what JSON can show. */
	assert_int_equal(api_decode_message(&a, t, SPAN("\x0a\x05\x0a\x03" "a\xff" "b"), &v, NULL), 0);
	assert_true(span_is(json_span(json_path(&v, "metadata", "name", NULL)), "a\xef\xbf\xbd" "b"));
}

static void watch_events_carry_envelopes(void **state)
{
	auto_buf struct buf b = {};
	struct span type, object;
	buf_chr(&b, 'x');
	api_encode_watch_event(&b, SPAN("ADDED"), SPAN("k8s\0rest"));
	/* {1: "ADDED", 2: {1: "k8s\0rest"}} */
	assert_int_equal(b.len, 20);
	assert_memory_equal(b.ptr, "x\x0a\x05" "ADDED\x12\x0a\x0a\x08k8s\0rest", 20);
	assert_int_equal(api_decode_watch_event(span_from(buf_span(&b), 1), &type, &object, NULL), 0);
	assert_true(span_is(type, "ADDED"));
	assert_true(span_eq(object, SPAN("k8s\0rest")));
	for (size_t cut = 2; cut < 19; cut++)
		if (api_decode_watch_event(span_sub(buf_span(&b), 1, cut), &type, &object, NULL) == 0)
			assert_int_equal(cut, 8); /* after a whole field */
	/* The fixture's object is JSON; the same reader takes it. */
	auto_buf struct buf pb = {};
	assert_int_equal(io_read_file(AT_FDCWD, "tests/fixtures/roundtrip/core.v1.WatchEvent.pb", &pb, 1 << 20, NULL), 0);
	struct api_envelope e;
	assert_int_equal(api_envelope_read(buf_span(&pb), &e, NULL), 0);
	assert_int_equal(api_decode_watch_event(e.raw, &type, &object, NULL), 0);
	assert_true(span_is(type, "typeValue"));
	assert_true(span_starts(object, SPAN("{\"apiVersion\"")));
}

static void kinds_are_peeked(void **state)
{
	auto_arena struct arena a = {};
	struct span version, kind;
	assert_int_equal(api_peek_gvk(&a, SPAN("{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}"), &version, &kind, NULL), 0);
	assert_true(span_is(version, "v1") && span_is(kind, "Pod"));
	assert_int_equal(api_peek_gvk(&a, SPAN("k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod"), &version, &kind, NULL), 0);
	assert_true(span_is(version, "v1") && span_is(kind, "Pod"));
	assert_int_equal(api_peek_gvk(&a, SPAN("{}"), &version, &kind, NULL), 0);
	assert_int_equal(kind.len, 0);
	assert_true(api_peek_gvk(&a, SPAN("{"), &version, &kind, NULL) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_come_out),
		cmocka_unit_test(strict_names_what_it_found),
		cmocka_unit_test(repeated_fields_without_a_type),
		cmocka_unit_test(yaml_is_strict_in_its_own_words),
		cmocka_unit_test(plain_quantities_are_canonical),
		cmocka_unit_test(found_is_bounded),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(damaged_protobuf_is_refused),
		cmocka_unit_test(watch_events_carry_envelopes),
		cmocka_unit_test(kinds_are_peeked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
