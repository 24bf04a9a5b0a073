/* Every fixture (tests/fixtures/roundtrip: upstream's own files, 92 kinds as .json, .pb and .yaml) goes
 *
 *     JSON -> tree -> JSON       same bytes as the file
 *     JSON -> tree -> protobuf   same bytes as the .pb
 *     protobuf -> tree -> JSON   same bytes as the .json
 *     YAML -> tree -> JSON       same bytes as the .json
 *     tree -> YAML               same bytes as the .yaml
 *     tree -> schema walk again  nothing found, nothing changed
 *
 * The JSON files are indented by the encoder that made them, so ours is written with the same indentation. */
#include "api/fixture_test.h"

static void one_fixture(const char *file)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf json = {}, pb = {}, yaml = {}, out = {}, out_pb = {};
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

	/* YAML: the same object, and the same text back. */
	read_fixture(arena_cstr(&a, stem), ".yaml", &yaml);
	if (api_decode_yaml(&a, t, buf_span(&yaml), &d, &tree, &err) < 0)
		fail_msg("%s: %s", file, err_msg(&err));
	buf_trunc(&out, 0);
	api_encode_json(&out, t, &tree, JSON_PRETTY);
	same(file, "JSON from YAML", buf_span(&json), buf_span(&out));
	buf_trunc(&out, 0);
	api_encode_yaml(&out, t, &from_pb);
	same(file, "YAML", buf_span(&yaml), buf_span(&out));

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
