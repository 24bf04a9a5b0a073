/* Strategic merge patch. The order of merged lists and the words of errors are compared with the real kubectl in
 * tests/10-api; these rows keep the main ones where there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/smp.h"
#include "json/parse_test.h"

static void rows(void **state)
{
	(void)state;
#define AB "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"b\",\"image\":\"2\"}]}}"
	static const struct {
		const char *object, *patch, *out, *error;
	} table[] = {
		{ AB, "{\"spec\":{\"containers\":[{\"name\":\"b\",\"image\":\"3\"}]}}",
		  "{\"spec\":{\"containers\":[{\"image\":\"1\",\"name\":\"a\"},{\"image\":\"3\",\"name\":\"b\"}]}}", NULL },
		{ AB, "{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}",
		  "{\"spec\":{\"containers\":[{\"name\":\"c\"},{\"image\":\"1\",\"name\":\"a\"},{\"image\":\"2\",\"name\":\"b\"}]}}", NULL },
		{ AB, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"$patch\":\"delete\"}]}}",
		  "{\"spec\":{\"containers\":[{\"image\":\"2\",\"name\":\"b\"}]}}", NULL },
		{ AB, "{\"spec\":{\"containers\":[{\"$patch\":\"replace\"},{\"name\":\"z\"}]}}", "{\"spec\":{\"containers\":[{\"name\":\"z\"}]}}",
		  NULL },
		{ AB, "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]}}",
		  "{\"spec\":{\"containers\":[{\"image\":\"2\",\"name\":\"b\"},{\"image\":\"1\",\"name\":\"a\"}]}}", NULL },
		{ AB, "{\"spec\":{\"$patch\":\"replace\",\"hostNetwork\":true}}", "{\"spec\":{\"hostNetwork\":true}}", NULL },
		{ AB, "{\"spec\":{\"$patch\":\"delete\"}}", "{\"spec\":{}}", NULL },
		{ AB, "{\"$patch\":\"replace\",\"kind\":\"X\"}", "{\"kind\":\"X\"}", NULL },
		{ "{\"metadata\":{\"finalizers\":[\"a\",\"b\",\"c\"]}}",
		  "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"b\"],\"finalizers\":[\"d\"]}}",
		  "{\"metadata\":{\"finalizers\":[\"d\",\"a\",\"c\"]}}", NULL },
		{ "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}}",
		  "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"$retainKeys\":[\"name\",\"hostPath\"],\"hostPath\":{\"path\":\"/\"}}]}}",
		  "{\"spec\":{\"volumes\":[{\"hostPath\":{\"path\":\"/\"},\"name\":\"v\"}]}}", NULL },
		{ "{\"spec\":{\"tolerations\":[{\"key\":\"a\"}]}}", "{\"spec\":{\"tolerations\":[{\"key\":\"b\"}]}}",
		  "{\"spec\":{\"tolerations\":[{\"key\":\"b\"}]}}", NULL },
		{ "{}", "{\"spec\":{\"a\":null,\"volumes\":[{\"name\":\"x\",\"y\":null},{\"name\":\"z\",\"$patch\":\"delete\"}]}}",
		  "{\"spec\":{\"volumes\":[{\"name\":\"x\"}]}}", NULL },
		{ AB, "{\"spec\":{\"containers\":[{\"image\":\"3\"}]}}", NULL,
		  "map: map[image:3] does not contain declared merge key: name" },
		{ AB, "{\"spec\":{\"$patch\":\"x\"}}", NULL, "unknown patch type: x in map: map[$patch:x]" },
		{ AB, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"$patch\":\"merge\"}]}}", NULL,
		  "merging lists cannot yet be specified in the patch" },
		{ AB, "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"a\"}],\"containers\":[{\"name\":\"c\"}]}}", NULL,
		  "The order in patch list:\n[map[name:c]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n" },
		{ AB, "{\"spec\":{\"$setElementOrder/containers\":1}}", NULL, "expected a []interface {}, but received a int64" },
		{ AB, "{\"spec\":{\"$deleteFromPrimitiveList\":[1]}}", NULL, "invalid patch format of primitive list" },
		{ AB, "{\"spec\":{\"containers\":[\"x\"]}}", NULL,
		  "list element types are not identical: [[map[image:1 name:a] map[image:2 name:b]] [x]]" },
		{ AB, "{\"spec\":{\"$retainKeys\":[\"a\"],\"hostNetwork\":true}}", NULL, "invalid patch format of retainKeys" },
		{ "{\"spec\":{\"zork\":{}}}", "{\"spec\":{\"zork\":{}}}", NULL,
		  "unable to find api field in struct PodSpec for the json field \"zork\"" },
		{ AB, "[]", NULL, "invalid JSON document" },
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {}, before = {}, after = {};
		struct json object = parse(&a, table[i].object), patch = parse(&a, table[i].patch);
		json_write(&before, &patch, 0);
		int rc = api_smp_apply(&a, api_type_find(SPAN("core/v1.Pod")), &object, &patch, &err);
		json_write(&after, &patch, 0);
		assert_string_equal(buf_cstr(&before), buf_cstr(&after)); /* the patch stays as it was */
		if (table[i].error) {
			if (rc != -ERR_INVALID_REQUEST || strcmp(err_msg(&err), table[i].error))
				fail_msg("%s: got %d %s, want %s", table[i].patch, rc, err_msg(&err), table[i].error);
			continue;
		}
		json_write(&out, &object, JSON_SORTED);
		if (rc < 0 || strcmp(buf_cstr(&out), table[i].out))
			fail_msg("%s:\n got  %d %s %s\n want %s", table[i].patch, rc, err_msg(&err), buf_cstr(&out), table[i].out);
	}
}

/* An object patched with itself stays the same; a patch applied twice gives what it gave once. */
static void fixed_points(void **state)
{
	(void)state;
	static const char *const patches[] = {
		"{\"spec\":{\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"X\",\"value\":\"1\"}]}]}}",
		"{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}],\"containers\":[{\"name\":\"a\",\"image\":null}]}}",
		"{\"metadata\":{\"labels\":{\"a\":\"b\",\"c\":null}}}",
		AB,
	};
	for (size_t i = 0; i < ARRAY_LEN(patches); i++) {
		auto_arena struct arena a = {};
		struct json object = parse(&a, AB), patch = parse(&a, patches[i]);
		const struct api_type *t = api_type_find(SPAN("core/v1.Pod"));
		assert_int_equal(api_smp_apply(&a, t, &object, &patch, NULL), 0);
		struct json once = json_copy(&a, &object);
		assert_int_equal(api_smp_apply(&a, t, &object, &patch, NULL), 0);
		assert_true(json_equal(&once, &object));
		assert_int_equal(api_smp_apply(&a, t, &object, &once, NULL), 0);
		assert_true(json_equal(&once, &object));
	}
}

static void differences(void **state)
{
	static const struct {
		const char *original, *modified, *current, *patch, *error; /* current NULL: two ways */
		bool keep;
	} table[] = {
		{ AB, AB, NULL, "{}", NULL, false },
		{ AB, "{\"spec\":{\"containers\":[{\"name\":\"b\",\"image\":\"2\"}]}}", NULL,
		  "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"b\"}],\"containers\":[{\"$patch\":\"delete\",\"name\":\"a\"}]}}",
		  NULL, false },
		{ AB, "{\"spec\":{\"containers\":[{\"name\":\"b\",\"image\":\"2\"},{\"name\":\"a\",\"image\":\"1\"}]}}", NULL,
		  "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]}}", NULL, false },
		{ "{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}", "{\"metadata\":{\"finalizers\":[\"b\",\"c\"]}}", NULL,
		  "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"a\"],\"$setElementOrder/finalizers\":[\"b\",\"c\"],"
		  "\"finalizers\":[\"c\"]}}", NULL, false },
		{ "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}}",
		  "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/\"}}]}}", NULL,
		  "{\"spec\":{\"$setElementOrder/volumes\":[{\"name\":\"v\"}],\"volumes\":[{\"$retainKeys\":[\"hostPath\",\"name\"],"
		  "\"emptyDir\":null,\"hostPath\":{\"path\":\"/\"},\"name\":\"v\"}]}}", NULL, false },
		{ "{\"spec\":{\"hostNetwork\":true,\"hostPID\":true}}", "{\"spec\":{\"hostPID\":true}}",
		  "{\"spec\":{\"hostNetwork\":true,\"hostPID\":false,\"hostIPC\":true}}",
		  "{\"spec\":{\"hostNetwork\":null,\"hostPID\":true}}", NULL, false },
		{ NULL, "{\"spec\":{\"hostPID\":true}}", "{\"spec\":{\"hostIPC\":true}}", "{\"spec\":{\"hostPID\":true}}", NULL, false },
		/* each side changed something else: no conflict */
		{ "{\"spec\":{\"hostPID\":true}}", "{\"spec\":{\"hostPID\":false}}", "{\"spec\":{\"hostPID\":true,\"hostIPC\":true}}",
		  "{\"spec\":{\"hostPID\":false}}", NULL, true },
		{ "{\"spec\":{\"hostname\":\"a\"}}", "{\"spec\":{\"hostname\":\"b\"}}", "{\"spec\":{\"hostname\":\"c\"}}", NULL,
		  "patch:\nspec:\n  hostname: b\n\nconflicts with changes made from original to current:\nspec:\n  hostname: c\n\n", true },
		{ AB, "{\"spec\":{\"containers\":[{\"image\":\"1\"}]}}", NULL, NULL,
		  "map: map[image:1] does not contain declared merge key: name", false },
		{ "[]", "{}", NULL, NULL, "invalid JSON document", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		const struct api_type *pod = api_type_find(SPAN("core/v1.Pod"));
		struct json patch, modified = parse(&a, table[i].modified), original, current;
		if (table[i].original)
			original = parse(&a, table[i].original);
		if (table[i].current)
			current = parse(&a, table[i].current);
		int rc = table[i].current ? api_smp_diff_three(&a, pod, table[i].original ? &original : NULL, &modified, &current,
							       !table[i].keep, &patch, &err) :
					    api_smp_diff(&a, pod, &original, &modified, &patch, &err);
		if (table[i].error) {
			if (rc >= 0 || strcmp(err_msg(&err), table[i].error))
				fail_msg("row %zu: got %d %s, want %s", i, rc, err_msg(&err), table[i].error);
			continue;
		}
		if (rc < 0)
			fail_msg("row %zu: %s", i, err_msg(&err));
		json_write(&out, &patch, 0);
		assert_string_equal(buf_cstr(&out), table[i].patch);
		if (table[i].current || !patch.n)
			continue;
		/* What was made from two states leads from one to the other. */
		if (api_smp_apply(&a, pod, &original, &patch, &err) < 0)
			fail_msg("row %zu: %s", i, err_msg(&err));
		if (!json_equal(&original, &modified)) {
			json_write(&out, &original, 0);
			fail_msg("row %zu: the patch gives %s, want %s", i, buf_cstr(&out), table[i].modified);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(rows), cmocka_unit_test(differences), cmocka_unit_test(fixed_points) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
