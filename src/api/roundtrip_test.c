/* Every fixture (tests/fixtures/roundtrip: upstream's own files, 92 kinds as .json, .pb and .yaml) goes
 *
 *     JSON -> tree -> JSON       same bytes as the file
 *     JSON -> tree -> protobuf   same bytes as the .pb
 *     protobuf -> tree -> JSON   same bytes as the .json
 *     YAML -> tree -> JSON       same bytes as the .json
 *     tree -> YAML               same bytes as the .yaml
 *     tree -> view               what parsing the JSON gives
 *     tree -> schema walk again  nothing found, nothing changed
 *
 * The JSON files are indented by the encoder that made them, so ours is written with the same indentation. */
#include "api/fixture_test.h"
#include "api/view.h"

/* The view is the tree of the text, and has no container of v: emptying it leaves v as it was. */
static void check_view(struct arena *a, const char *file, const struct api_type *t, const struct json *v)
{
	auto_buf struct buf text = {}, shown = {}, after = {};
	struct json want, view = api_view(a, t, v);
	api_encode_json(&text, t, v, 0);
	assert_int_equal(json_parse(a, buf_span(&text), 0, NULL, &want, NULL), 0);
	if (!json_equal(&view, &want)) {
		json_write(&shown, &view, 0);
		fail_msg("%s: view\n got: %s\nwant: %s", file, buf_cstr(&shown), buf_cstr(&text));
	}
	api_encode_json(&shown, t, &view, 0); /* and it encodes as the object does: its marks are right */
	same(file, "JSON of the view", buf_span(&text), buf_span(&shown));
	JSON_EACH_MEMBER(&view, m) {
		while ((m->value.kind == JSON_OBJECT || m->value.kind == JSON_ARRAY) && m->value.n)
			json_remove_at(&m->value, 0);
	}
	api_encode_json(&after, t, v, 0);
	same(file, "JSON behind a view that was emptied", buf_span(&text), buf_span(&after));
}

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
	check_view(&a, file, t, &tree);

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

/* What text changes: numbers that it writes in another way, values of a kind that the type does not have, what is not there. */
static void odd_views(void **state)
{
	static const char *const rows[] = {
		"null", "{}", "{\"spec\":null}", "{\"spec\":{}}", "{\"spec\":7}", "{\"spec\":[1,{\"a\":2.0}]}", "{\"metadata\":{\"labels\":{}}}",
		"{\"metadata\":{\"labels\":{\"b\":\"1\",\"a\":2,\"c\":{\"x\":1e2}},\"generation\":3.0}}", "{\"unknown\":1,\"kind\":\"Pod\"}",
		/* in brackets: one text of two lines */
		("{\"spec\":{\"containers\":[{\"name\":\"a\",\"ports\":[{\"containerPort\":80}],\"resources\":{\"limits\":{\"cpu\":1.5,\"memory\":1}},"
		"\"livenessProbe\":{\"httpGet\":{\"port\":\"web\"}}}],\"hostNetwork\":false,\"priority\":0}}"),
		"{\"metadata\":{\"managedFields\":[{\"fieldsV1\":{\"f:a\":{\".\":{},\"f:b\":1.50}}}]}}",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json tree;
		assert_int_equal(json_parse(&a, span_of(rows[i]), 0, NULL, &tree, NULL), 0);
		check_view(&a, rows[i], api_type_find(SPAN("core/v1.Pod")), &tree);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(odd_views),
		cmocka_unit_test(every_fixture),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
