/* Typed structs: every fixture whose type has one goes through it, as JSON and as protobuf, and comes back the same; then
 * the members themselves. CRI's and etcd's structs go through wire_test.py. */
#include "api/fixture_test.h"

static void compact(struct buf *out, struct span json)
{
	auto_arena struct arena a = {};
	struct json v;
	assert_int_equal(json_parse(&a, json, 0, NULL, &v, NULL), 0);
	json_write(out, &v, JSON_HTML);
}

static bool one_fixture(const char *file)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf json = {}, flat = {}, pb = {}, out = {};
	struct span stem = span_sub(span_of(file), 0, strlen(file) - 5);
	int id = api_typed_find(api_type_name(type_of_file(span_of(file))));
	if (id < 0)
		return false;
	read_fixture(arena_cstr(&a, stem), ".json", &json);
	read_fixture(arena_cstr(&a, stem), ".pb", &pb);
	compact(&flat, buf_span(&json));
	void *v = arena_alloc(&a, api_typed_size(id));

	if (api_typed_decode(&a, id, API_FORM_JSON, buf_span(&flat), v, &err) < 0)
		fail_msg("%s: %s", file, err_msg(&err));
	assert_int_equal(api_typed_encode(&out, id, API_FORM_JSON, v, &err), 0);
	same(file, "JSON", buf_span(&flat), buf_span(&out));
	buf_trunc(&out, 0);
	assert_int_equal(api_typed_encode(&out, id, API_FORM_PROTO, v, &err), 0);
	same(file, "protobuf", buf_span(&pb), buf_span(&out));

	if (api_typed_decode(&a, id, API_FORM_PROTO, buf_span(&pb), v, &err) < 0)
		fail_msg("%s: %s", file, err_msg(&err));
	buf_trunc(&out, 0);
	assert_int_equal(api_typed_encode(&out, id, API_FORM_JSON, v, &err), 0);
	same(file, "JSON from protobuf", buf_span(&flat), buf_span(&out));
	return true;
}

static void every_fixture(void **state)
{
	DIR *dir = opendir(FIXTURES);
	struct dirent *de;
	int n = 0;
	assert_non_null(dir);
	while ((de = readdir(dir)))
		if (span_ends(span_of(de->d_name), SPAN(".json")))
			n += one_fixture(de->d_name);
	closedir(dir);
	assert_true(n >= 40);
}

static void members_hold_what_was_sent(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf out = {};
	struct api_core_pod pod;
	int rc = api_core_pod_decode(&a, API_FORM_JSON, SPAN(
		"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"w\",\"labels\":{\"b\":\"2\",\"a\":\"1\"},\"creationTimestamp\":"
		"\"2020-01-02T03:04:05Z\"},\"spec\":{\"terminationGracePeriodSeconds\":0,\"containers\":[{\"name\":\"c\",\"env\":[],"
		"\"resources\":{\"limits\":{\"memory\":\"1024Mi\"}},\"livenessProbe\":{\"httpGet\":{\"port\":\"http\"}}}],"
		"\"securityContext\":{},\"hostNetwork\":true,\"unknown\":1}}"), &pod, &err);
	if (rc < 0)
		fail_msg("%s", err_msg(&err));
	assert_true(span_is(pod.kind, "Pod"));
	assert_null(pod.api_version.ptr);
	assert_int_equal(pod.metadata.labels.n, 2);
	assert_true(span_is(pod.metadata.labels.ptr[0].key, "a"));
	assert_true(span_is(api_pair_get(pod.metadata.labels.ptr, pod.metadata.labels.n, SPAN("b")), "2"));
	assert_null(api_pair_get(pod.metadata.labels.ptr, pod.metadata.labels.n, SPAN("c")).ptr);
	assert_true(pod.metadata.creation_timestamp.set);
	assert_int_equal(pod.metadata.creation_timestamp.unix_s, 1577934245);
	assert_false(pod.metadata.deletion_timestamp.set);
	assert_true(pod.spec.has_termination_grace_period_seconds);
	assert_int_equal(pod.spec.termination_grace_period_seconds, 0);
	assert_false(pod.spec.has_active_deadline_seconds);
	assert_non_null(pod.spec.security_context);
	assert_null(pod.spec.affinity);
	assert_true(pod.spec.host_network);
	assert_int_equal(pod.spec.containers.n, 1);
	const struct api_core_container *c = pod.spec.containers.ptr;
	assert_non_null(c->env.ptr);
	assert_int_equal(c->env.n, 0);
	assert_null(c->args.ptr);
	assert_true(span_is(c->resources.limits.ptr[0].value, "1Gi"));
	assert_true(c->liveness_probe->http_get->port.is_string);

	pod.spec.has_termination_grace_period_seconds = false;
	pod.spec.security_context = NULL;
	pod.spec.containers.n = 0;
	assert_int_equal(api_core_pod_encode(&out, API_FORM_JSON, &pod, &err), 0);
	assert_string_equal(buf_cstr(&out), "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"w\",\"creationTimestamp\":\"2020-01-02T03:04:05Z\","
			    "\"labels\":{\"a\":\"1\",\"b\":\"2\"}},\"spec\":{\"containers\":[],\"hostNetwork\":true},\"status\":{}}");

	/* Raw bytes, not base64; a zeroed struct is an empty object. */
	struct api_core_secret secret;
	assert_int_equal(api_core_secret_decode(&a, API_FORM_JSON, SPAN("{\"data\":{\"k\":\"aGk=\"}}"), &secret, &err), 0);
	assert_true(span_is(api_pair_get(secret.data.ptr, secret.data.n, SPAN("k")), "hi"));
	secret = (struct api_core_secret){};
	buf_trunc(&out, 0);
	assert_int_equal(api_core_secret_encode(&out, API_FORM_JSON, &secret, &err), 0);
	assert_string_equal(buf_cstr(&out), "{\"metadata\":{\"creationTimestamp\":null}}");

	/* Errors leave the struct alone. */
	secret.kind = SPAN("mine");
	assert_true(api_core_secret_decode(&a, API_FORM_JSON, SPAN("{\"data\":1}"), &secret, &err) < 0);
	assert_true(span_is(secret.kind, "mine"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_fixture),
		cmocka_unit_test(members_hold_what_was_sent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
