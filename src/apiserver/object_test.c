/* Tests of stored objects: keys, marks, and that what is written is what Go would write with the revision in its place. */
#include "apiserver/object.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct api_resource *find(struct api_registry *r, const char *group, const char *version,
				       const char *plural)
{
	const struct api_resource *res = api_registry_find(r, span_of(group), span_of(version), span_of(plural));
	assert_non_null(res);
	return res;
}

static void keys(void **state)
{
	struct api_registry *r = api_registry_builtin(false);
	const struct api_resource *pods = find(r, "", "v1", "pods"), *nodes = find(r, "", "v1", "nodes");
	const struct api_resource *deployments = find(r, "apps", "v1", "deployments");
	static const struct {
		int res;
		const char *ns, *name, *key;
	} rows[] = {
		{ 0, "d", "web", "/registry/core/pods/d/web" },
		{ 0, "d", "", "/registry/core/pods/d/" },
		{ 0, "", "", "/registry/core/pods/" },
		{ 1, "", "n1", "/registry/core/nodes/n1" },
		{ 1, "ignored", "n1", "/registry/core/nodes/n1" },
		{ 2, "d", "web", "/registry/apps/deployments/d/web" },
	};
	const struct api_resource *const res[] = { pods, nodes, deployments };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf b = {};
		object_key(&b, res[rows[i].res], span_of(rows[i].ns), span_of(rows[i].name));
		assert_string_equal(buf_cstr(&b), rows[i].key);
		struct span ns, name;
		bool whole = rows[i].name[0];
		assert_int_equal(object_key_read(buf_span(&b), res[rows[i].res], &ns, &name), whole);
		if (whole)
			assert_true(span_is(name, rows[i].name) &&
				    span_is(ns, res[rows[i].res]->namespaced ? rows[i].ns : ""));
	}
	struct span ns, name;
	assert_false(object_key_read(SPAN("/registry/core/pods/d/web"), nodes, &ns, &name));
	assert_false(object_key_read(SPAN("/registry/core/pods/web"), pods, &ns, &name));
	assert_false(object_key_read(SPAN("/registry/core/pods/d/web/x"), pods, &ns, &name));
	api_registry_unref(r);
}

static void places(void **state)
{
	static const struct {
		const char *value, *whole, *item; /* NULL = refused */
	} rows[] = {
		{ "{\"kind\":\"P\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"w\",\"uid\":\"u\",\"labels\":{}},"
		  "\"spec\":{}}",
		  "{\"kind\":\"K\",\"apiVersion\":\"g/"
		  "v2\",\"metadata\":{\"name\":\"w\",\"uid\":\"u\",\"resourceVersion\":\"7\",\"labels\":{}},"
		  "\"spec\":{}}",
		  "{\"metadata\":{\"name\":\"w\",\"uid\":\"u\",\"resourceVersion\":\"7\",\"labels\":{}},\"spec\":{}}" },
		{ "{\"kind\":\"P\",\"apiVersion\":\"v1\",\"metadata\":{}}",
		  "{\"kind\":\"K\",\"apiVersion\":\"g/v2\",\"metadata\":{\"resourceVersion\":\"7\"}}",
		  "{\"metadata\":{\"resourceVersion\":\"7\"}}" },
		{ "{\"kind\":\"P\",\"apiVersion\":\"v1\",\"metadata\":{\"labels\":{\"uid\":\"x\"}}}",
		  "{\"kind\":\"K\",\"apiVersion\":\"g/"
		  "v2\",\"metadata\":{\"resourceVersion\":\"7\",\"labels\":{\"uid\":\"x\"}}}",
		  "{\"metadata\":{\"resourceVersion\":\"7\",\"labels\":{\"uid\":\"x\"}}}" },
		{ "{\"kind\":\"P\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\\\"}b\"}}",
		  "{\"kind\":\"K\",\"apiVersion\":\"g/"
		  "v2\",\"metadata\":{\"name\":\"a\\\"}b\",\"resourceVersion\":\"7\"}}",
		  "{\"metadata\":{\"name\":\"a\\\"}b\",\"resourceVersion\":\"7\"}}" },
		{ "{\"apiVersion\":\"v1\",\"kind\":\"P\",\"metadata\":{}}", NULL, NULL },
		{ "{\"kind\":\"P\",\"apiVersion\":\"v1\",\"spec\":{}}", NULL, NULL },
		{ "{\"kind\":\"P\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":", NULL, NULL },
		{ "{\"kind\":\"P\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"w", NULL, NULL },
		{ "{\"kind\":\"P", NULL, NULL },
		{ "", NULL, NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf b = {};
		bool ok = object_write(&b, span_of(rows[i].value), 7, SPAN("K"), SPAN("g/v2"));
		if (ok != (rows[i].whole != NULL) || strcmp(buf_cstr(&b), ok ? rows[i].whole : "") != 0)
			fail_msg("row %zu: %d %s", i, ok, buf_cstr(&b));
		buf_trunc(&b, 0);
		if (ok) {
			assert_true(object_write(&b, span_of(rows[i].value), 7, SPAN_EMPTY, SPAN_EMPTY));
			assert_string_equal(buf_cstr(&b), rows[i].item);
		}
	}
}

/* Names of every length, with an escaped quote or backslash at every place: eight bytes are looked at at once. */
static void escapes(void **state)
{
	for (int len = 0; len < 40; len++) {
		for (int at = -1; at < len; at++) {
			for (int c = 0; c < 2; c++) {
				auto_buf struct buf name = {}, value = {}, want = {}, got = {};
				for (int i = 0; i < len; i++)
					buf_str(&name, i != at ? "x" : c ? "\\\"" : "\\\\");
				buf_printf(&value, "{\"kind\":\"P\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\"}}",
					   buf_cstr(&name));
				buf_printf(&want, "{\"metadata\":{\"name\":\"%s\",\"resourceVersion\":\"7\"}}",
					   buf_cstr(&name));
				assert_true(object_write(&got, buf_span(&value), 7, SPAN_EMPTY, SPAN_EMPTY));
				assert_string_equal(buf_cstr(&got), buf_cstr(&want));
				/* cut anywhere it is refused, and nothing behind the end is read (sanitizers look) */
				for (size_t n = 0; n < value.len - 2; n++) {
					auto_free char *cut = mem_dup(value.ptr, n);
					buf_trunc(&got, 0);
					if (object_write(&got, span_make(cut, n), 7, SPAN_EMPTY, SPAN_EMPTY))
						fail_msg("taken, cut to %zu of %s", n, buf_cstr(&value));
				}
			}
		}
	}
}

/* Every fixture of a stored kind: stored, read back and written with a revision, it is what the codec writes for the whole object. */
static void fixtures(void **state)
{
	struct api_registry *r = api_registry_builtin(true);
	unsigned seen = 0;
	for (unsigned i = 0; i < api_registry_n(r); i++) {
		const struct api_resource *res = api_registry_at(r, i);
		if (!res->storage_kind.len || !span_eq(res->storage_version, res->version) ||
		    !span_eq(res->storage_group, res->group))
			continue;
		auto_buf struct buf path = {}, text = {}, group = {};
		buf_span_add(&group, res->group);
		const char *group_name = buf_cstr(&group);
		buf_printf(&path, "tests/fixtures/roundtrip/%s.%.*s.%.*s.json", res->group.len ? group_name : "core",
			   SPAN_ARG(res->version), SPAN_ARG(res->kind));
		if (io_read_file(AT_FDCWD, buf_cstr(&path), &text, 1 << 20, NULL) < 0)
			continue;
		seen++;
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct json tree, back;
		if (api_decode_json(&a, res->type, buf_span(&text), NULL, &tree, &err) < 0)
			fail_msg("%s: %s", buf_cstr(&path), err_msg(&err));
		(void)json_set(&a, json_getl(&tree, "metadata"), SPAN("resourceVersion"), json_cstr("4711"));
		auto_buf struct buf want = {}, stored = {}, sent = {}, again = {}, gv = {};
		api_encode_json(&want, res->type, &tree, 0);
		object_encode(&stored, res, &tree, &a);
		assert_false(span_has(buf_span(&stored), SPAN("\"resourceVersion\":\"4711\"")));
		api_resource_gv(res, &gv);
		assert_true(object_write(&sent, buf_span(&stored), 4711, res->kind, buf_span(&gv)));
		if (!span_eq(buf_span(&sent), buf_span(&want)))
			fail_msg("%s:\n got %s\nwant %s", buf_cstr(&path), buf_cstr(&sent), buf_cstr(&want));
		assert_int_equal(object_read(&a, res, buf_span(&stored), 4711, &back, &err), 0);
		api_encode_json(&again, res->type, &back, 0);
		assert_string_equal(buf_cstr(&again), buf_cstr(&want));
	}
	assert_true(seen > 50);
	api_registry_unref(r);
}

static void damage(void **state)
{
	struct api_registry *r = api_registry_builtin(false);
	const struct api_resource *pods = find(r, "", "v1", "pods");
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json v;
	assert_int_equal(object_read(&a, pods, SPAN("{\"kind\":\"Pod\","), 1, &v, &err), -ERR_CORRUPT);
	assert_int_equal(object_read(&a, pods, SPAN("{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}"), 1, &v, &err),
			 -ERR_CORRUPT);
	api_registry_unref(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys),
		cmocka_unit_test(places),
		cmocka_unit_test(escapes),
		cmocka_unit_test(fixtures),
		cmocka_unit_test(damage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
