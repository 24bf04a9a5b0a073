/* Every fixture (tests/fixtures/roundtrip: upstream's own files, 92 kinds as .json, .pb and .yaml) goes
 *
 *     JSON -> tree -> JSON       same bytes as the file
 *     JSON -> tree -> protobuf   same bytes as the .pb
 *     protobuf -> tree -> JSON   same bytes as the .json
 *     tree -> schema walk again  nothing found, nothing changed
 *
 * The JSON files are indented by the encoder that made them, so ours is written with the same indentation. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <cmocka.h>
#include "api/api.h"

#define FIXTURES "tests/fixtures/roundtrip"

static const struct {
	const char *group, *package;
} packages[] = {
	{ "rbac.authorization.k8s.io", "rbac" }, { "networking.k8s.io", "networking" }, { "storage.k8s.io", "storage" },
	{ "scheduling.k8s.io", "scheduling" }, { "coordination.k8s.io", "coordination" },
	{ "discovery.k8s.io", "discovery" }, { "events.k8s.io", "events" }, { "node.k8s.io", "node" },
	{ "certificates.k8s.io", "certificates" }, { "authentication.k8s.io", "authentication" },
	{ "authorization.k8s.io", "authorization" }, { "admissionregistration.k8s.io", "admissionregistration" },
	{ "admission.k8s.io", "admission" }, { "flowcontrol.apiserver.k8s.io", "flowcontrol" },
	{ "resource.k8s.io", "resource" }, { "apidiscovery.k8s.io", "apidiscovery" },
};

/* "apps.v1.Deployment.json": the type apps/v1.Deployment. Upstream files meta's own kinds under core. */
static const struct api_type *type_of_file(struct span file)
{
	struct span stem = span_sub(file, 0, (size_t)span_rchr(file, '.'));
	struct span kind = span_from(stem, (size_t)span_rchr(stem, '.') + 1);
	stem = span_sub(stem, 0, (size_t)span_rchr(stem, '.'));
	struct span version = span_from(stem, (size_t)span_rchr(stem, '.') + 1);
	struct span group = span_sub(stem, 0, (size_t)span_rchr(stem, '.'));
	auto_buf struct buf name = {};
	for (size_t i = 0; i < ARRAY_LEN(packages); i++)
		if (span_is(group, packages[i].group))
			group = span_of(packages[i].package);
	buf_printf(&name, "%.*s/%.*s.%.*s", SPAN_ARG(group), SPAN_ARG(version), SPAN_ARG(kind));
	const struct api_type *t = api_type_find(buf_span(&name));
	if (t)
		return t;
	buf_trunc(&name, 0);
	buf_printf(&name, "meta/v1.%.*s", SPAN_ARG(kind));
	return api_type_find(buf_span(&name));
}

static void show_difference(const char *file, const char *what, struct span want, struct span have)
{
	size_t i = 0;
	while (i < want.len && i < have.len && want.ptr[i] == have.ptr[i])
		i++;
	size_t from = i < 60 ? 0 : i - 60;
	fail_msg("%s: %s differs at byte %zu of %zu (ours %zu)\nwant ...%.*s\nhave ...%.*s", file, what, i, want.len, have.len,
		 (int)MIN(want.len - from, (size_t)160), want.ptr + from, (int)MIN(have.len - from, (size_t)160), have.ptr + from);
}

static void same(const char *file, const char *what, struct span want, struct span have)
{
	if (!span_eq(want, have))
		show_difference(file, what, want, have);
}

static void read_fixture(const char *stem, const char *suffix, struct buf *out)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf path = {};
	buf_printf(&path, FIXTURES "/%s%s", stem, suffix);
	if (io_read_file(AT_FDCWD, buf_cstr(&path), out, 1 << 20, &err) < 0)
		fail_msg("%s", err_msg(&err));
}

static void one_fixture(const char *file)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf json = {}, pb = {}, out = {}, out_pb = {};
	struct json tree, from_pb;
	struct span stem = span_sub(span_of(file), 0, strlen(file) - 5);
	const struct api_type *t = type_of_file(span_of(file));
	if (!t)
		fail_msg("%s: no such type", file);
	read_fixture(arena_cstr(&a, stem), ".json", &json);
	read_fixture(arena_cstr(&a, stem), ".pb", &pb);

	struct api_decode d = { .strict = true };
	if (api_decode_json(&a, t, buf_span(&json), &d, &tree, &err) < 0)
		fail_msg("%s: %s", file, err_msg(&err));
	api_encode_json(&out, t, &tree, JSON_PRETTY);
	same(file, "JSON", buf_span(&json), buf_span(&out));

	if (api_encode_proto(&out_pb, t, &tree, &err) < 0)
		fail_msg("%s: %s", file, err_msg(&err));
	same(file, "protobuf", buf_span(&pb), buf_span(&out_pb));

	if (api_decode_proto(&a, t, buf_span(&pb), &from_pb, &err) < 0)
		fail_msg("%s: %s", file, err_msg(&err));
	buf_trunc(&out, 0);
	api_encode_json(&out, t, &from_pb, JSON_PRETTY);
	same(file, "JSON from protobuf", buf_span(&json), buf_span(&out));

	if (api_decode_tree(&a, t, &from_pb, &d, &err) < 0)
		fail_msg("%s: %s", file, err_msg(&err));
	buf_trunc(&out_pb, 0);
	assert_int_equal(api_encode_proto(&out_pb, t, &from_pb, &err), 0);
	same(file, "protobuf again", buf_span(&pb), buf_span(&out_pb));
}

static void every_fixture(void **state)
{
	DIR *dir = opendir(FIXTURES);
	struct dirent *de;
	int n = 0;
	assert_non_null(dir);
	while ((de = readdir(dir))) {
		if (!span_ends(span_of(de->d_name), SPAN(".json")))
			continue;
		one_fixture(de->d_name);
		n++;
	}
	closedir(dir);
	assert_int_equal(n, 92);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_fixture),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
