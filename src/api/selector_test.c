#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/selector.h"
#include "json/parse_test.h"

static void labels_text(void **state)
{
	(void)state;
#define QNAME_WORDS                                                                                                    \
	"must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " \
	"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "                                  \
	"'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
#define VALUE_WORDS                                                                                                    \
	"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and " \
	"end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " \
	"'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
	static const struct {
		const char *in, *out, *error;
	} rows[] = {
		{ "", "", NULL },
		{ "  ", "", NULL },
		{ "x=a,y=b,z=c", "x=a,y=b,z=c", NULL },
		{ "x!=a,y==b", "x!=a,y==b", NULL },
		{ "y,x", "x,y", NULL },
		{ "x=", "x=", NULL },
		{ "x= ,z= ", "x=,z=", NULL },
		{ "!x", "!x", NULL },
		{ " x , ! y", "x,!y", NULL },
		{ "x>1", "x>1", NULL },
		{ "x>1,z<5", "x>1,z<5", NULL },
		{ "x in (b,a,b)", "x in (a,b)", NULL },
		{ "x notin (a)", "x notin (a)", NULL },
		{ "x in ()", "x in ()", NULL },
		{ "x in (,)", "x in ()", NULL },
		{ "x in (a,)", "x in (,a)", NULL },
		{ "x in (,,a)", "x in (,a)", NULL },
		{ "x in (a,,b)", "x in (,a,b)", NULL },
		{ "in in (in, notin)", "in in (in,notin)", NULL },
		{ "notin", "notin", NULL },
		{ "app.kubernetes.io/name=web,tier in (front)", "app.kubernetes.io/name=web,tier in (front)", NULL },
		{ "x=a,x=b", "x=a,x=b", NULL },
		{ "x=a||y=b", NULL,
		  "unable to parse requirement: values[0][x]: Invalid value: \"a||y\": " VALUE_WORDS },
		{ "x==a==b", NULL, "found '==', expected: ',' or 'end of string'" },
		{ "!x=a", NULL, "found '=', expected: ',' or 'end of string'" },
		{ "x<a", NULL,
		  "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators, the value must be an integer" },
		{ "x,", NULL, "found '', expected: identifier after ','" },
		{ ",x", NULL, "found ',', expected: !, identifier, or 'end of string'" },
		{ "=x", NULL, "found '=', expected: !, identifier, or 'end of string'" },
		{ "!", NULL, "unable to parse requirement: found '', expected: identifier" },
		{ "x y", NULL, "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt" },
		{ "x in a", NULL, "unable to parse requirement: found 'a' expected: '('" },
		{ "x in (a", NULL, "unable to parse requirement: found '', expected: ',' or ')'" },
		{ "x in (", NULL, "unable to parse requirement: found '', expected: ',', ')' or identifier" },
		{ "x in (a b)", NULL, "unable to parse requirement: found 'b', expected: ',' or ')'" },
		{ "x in (,=)", NULL, "unable to parse requirement: found '=', expected: ',', or identifier" },
		{ "x=(a)", NULL, "unable to parse requirement: found '(', expected: identifier" },
		{ "a/b/c", NULL,
		  "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a qualified name " QNAME_WORDS
		  " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')" },
		{ "-x=1", NULL, "unable to parse requirement: <nil>: Invalid value: \"-x\": name part " QNAME_WORDS },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		struct api_label_selector sel, again;
		int rc = api_label_selector_parse(&a, span_of(rows[i].in), &sel, &err);
		if (rows[i].error) {
			if (rc != -ERR_INVALID_REQUEST || strcmp(err_msg(&err), rows[i].error))
				fail_msg("\"%s\":\n got  %d %s\n want %s", rows[i].in, rc, err_msg(&err), rows[i].error);
			continue;
		}
		if (rc < 0)
			fail_msg("\"%s\": %s", rows[i].in, err_msg(&err));
		api_label_selector_print(&sel, &out);
		assert_string_equal(buf_cstr(&out), rows[i].out);
		auto_buf struct buf twice = {};
		assert_int_equal(api_label_selector_parse(&a, buf_span(&out), &again, NULL), 0);
		api_label_selector_print(&again, &twice);
		assert_string_equal(buf_cstr(&twice), rows[i].out);
	}
}

static void labels_match(void **state)
{
	(void)state;
	static const struct {
		const char *sel, *labels;
		bool want;
	} rows[] = {
		{ "", "{\"x\":\"y\"}", true },
		{ "x=y", "{\"x\":\"y\"}", true },
		{ "x=y,z=w", "{\"x\":\"y\",\"z\":\"w\"}", true },
		{ "x!=y,z!=w", "{\"x\":\"z\",\"z\":\"a\"}", true },
		{ "notin=in", "{\"notin\":\"in\"}", true },
		{ "x", "{\"x\":\"z\"}", true },
		{ "!x", "{\"y\":\"z\"}", true },
		{ "x>1", "{\"x\":\"2\"}", true },
		{ "x<1", "{\"x\":\"0\"}", true },
		{ "x>1", "{\"x\":\"1\"}", false },
		{ "x>1", "{\"x\":\"two\"}", false },
		{ "x>1", "{}", false },
		{ "x=z", "{}", false },
		{ "x=y", "{\"x\":\"z\"}", false },
		{ "x!=y", "{}", true },
		{ "!x", "{\"x\":\"z\"}", false },
		{ "x in (a,b)", "{\"x\":\"b\"}", true },
		{ "x in (a,b)", "{\"x\":\"c\"}", false },
		{ "x in (a,b)", "{}", false },
		{ "x notin (a,b)", "{}", true },
		{ "x notin (a,b)", "{\"x\":\"a\"}", false },
		{ "x in ()", "{\"x\":\"\"}", true },
		{ "a,b,c,!d,e=1", "{\"e\":\"1\",\"c\":\"\",\"b\":\"\",\"a\":\"\"}", true },
		{ "a,b,c,!d,e=1", "{\"e\":\"1\",\"c\":\"\",\"b\":\"\",\"a\":\"\",\"d\":\"\"}", false },
		{ "x,x=a,x!=b", "{\"x\":\"a\"}", true },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct api_label_selector sel;
		struct json labels = parse(&a, rows[i].labels);
		assert_int_equal(api_label_selector_parse(&a, span_of(rows[i].sel), &sel, NULL), 0);
		struct api_label_set set = api_label_set_of(&a, &labels);
		bool got = api_label_selector_match(&sel, &labels), got_set = api_label_selector_match_set(&sel, &set);
		if (got != rows[i].want || got_set != rows[i].want)
			fail_msg("%s on %s: got %d, by set %d", rows[i].sel, rows[i].labels, got, got_set);
	}
	auto_arena struct arena a = {};
	struct api_label_selector sel;
	struct span value;
	assert_int_equal(api_label_selector_parse(&a, SPAN("x in (a),y in (a,b),z"), &sel, NULL), 0);
	assert_true(api_label_selector_exact(&sel, SPAN("x"), &value));
	assert_true(span_is(value, "a"));
	assert_false(api_label_selector_exact(&sel, SPAN("y"), &value));
	assert_false(api_label_selector_exact(&sel, SPAN("z"), &value));
	assert_int_equal(api_label_selector_parse(&a, SPAN("!x"), &sel, NULL), 0);
	assert_true(api_label_selector_match(&sel, NULL));
}

/* Random selectors over a small world: both matchers agree, and so does the reparsed text. */
static void labels_agree(void **state)
{
	(void)state;
	struct rng rng;
	rng_init(&rng, 7);
	for (int round = 0; round < 5000; round++) {
		auto_arena struct arena a = {};
		auto_buf struct buf text = {}, printed = {};
		static const char *const forms[] = { "%s", "!%s", "%s=%llu", "%s!=%llu", "%s>%llu", "%s<%llu", "%s in (%llu,7)",
						     "%s notin (%llu,x)" };
		static const char *const keys[] = { "a", "b", "c.d/e", "f" };
		for (uint64_t n = rng_below(&rng, 4), i = 0; i < n; i++) {
			if (i)
				buf_chr(&text, ',');
			buf_printf(&text, forms[rng_below(&rng, ARRAY_LEN(forms))], keys[rng_below(&rng, 4)],
				   (unsigned long long)rng_below(&rng, 4));
		}
		struct json labels = json_object();
		for (int k = 0; k < 4; k++)
			if (rng_below(&rng, 2))
				json_set(&a, &labels, span_of(keys[k]), json_str(arena_printf(&a, "%d", (int)rng_below(&rng, 8))));
		struct api_label_selector sel, again;
		if (api_label_selector_parse(&a, buf_span(&text), &sel, NULL) < 0)
			fail_msg("%s", buf_cstr(&text));
		api_label_selector_print(&sel, &printed);
		assert_int_equal(api_label_selector_parse(&a, buf_span(&printed), &again, NULL), 0);
		struct api_label_set set = api_label_set_of(&a, &labels);
		bool want = api_label_selector_match(&sel, &labels);
		assert_int_equal(want, api_label_selector_match_set(&sel, &set));
		assert_int_equal(want, api_label_selector_match(&again, &labels));
	}
}

static void labels_struct(void **state)
{
	(void)state;
	static const struct {
		const char *json, *out, *error;
	} rows[] = {
		{ "{}", "", NULL },
		{ "{\"matchLabels\":{\"b\":\"2\",\"a\":\"1\"}}", "a=1,b=2", NULL },
		{ "{\"matchLabels\":{\"x\":\"1\"},\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\",\"values\":[\"c\",\"b\"]},"
		  "{\"key\":\"n\",\"operator\":\"NotIn\",\"values\":[\"c\"]},{\"key\":\"e\",\"operator\":\"Exists\"},"
		  "{\"key\":\"d\",\"operator\":\"DoesNotExist\"}]}",
		  "a in (b,c),!d,e,n notin (c),x=1", NULL },
		{ "{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"in\"}]}", NULL, "\"in\" is not a valid label selector operator" },
		{ "{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"}]}", NULL,
		  "values: Invalid value: []string(nil): for 'in', 'notin' operators, values set can't be empty" },
		{ "{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Exists\",\"values\":[\"x\",\"y\"]}]}", NULL,
		  "values: Invalid value: []string{\"x\", \"y\"}: values set must be empty for exists and does not exist" },
		{ "{\"matchLabels\":{\"a\":\"b c\"}}", NULL, "values[0][a]: Invalid value: \"b c\": " VALUE_WORDS },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		struct api_label_selector sel;
		struct json v = parse(&a, rows[i].json);
		int rc = api_label_selector_of(&a, &v, &sel, &err);
		if (rows[i].error) {
			assert_int_equal(rc, -ERR_INVALID);
			assert_string_equal(err_msg(&err), rows[i].error);
			continue;
		}
		assert_int_equal(rc, 0);
		api_label_selector_print(&sel, &out);
		assert_string_equal(buf_cstr(&out), rows[i].out);
	}
	auto_arena struct arena a = {};
	struct api_label_selector sel;
	struct json labels = parse(&a, "{\"x\":\"1\"}");
	assert_int_equal(api_label_selector_of(&a, NULL, &sel, NULL), 0);
	assert_false(api_label_selector_match(&sel, &labels));
	api_label_selector_of_map(&a, &labels, &sel);
	assert_true(api_label_selector_match(&sel, &labels));
	assert_false(api_label_selector_match(&sel, NULL));
	api_label_selector_of_map(&a, NULL, &sel);
	assert_true(api_label_selector_match(&sel, NULL));
}

static void labels_validate(void **state)
{
	(void)state;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json v = parse(&a, "{\"matchLabels\":{\"-\":\"a b\"},\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"},"
				  "{\"key\":\"\",\"operator\":\"Exists\",\"values\":[\"x!\"]},{\"key\":\"a\",\"operator\":\"Gt\"}]}");
	static const char *const want[][3] = {
		{ "spec.selector.matchLabels", "FieldValueInvalid", "Invalid value: \"-\": name part " QNAME_WORDS },
		{ "spec.selector.matchLabels", "FieldValueInvalid", "Invalid value: \"a b\": " VALUE_WORDS },
		{ "spec.selector.matchExpressions[0].values", "FieldValueRequired",
		  "Required value: must be specified when `operator` is 'In' or 'NotIn'" },
		{ "spec.selector.matchExpressions[1].values", "FieldValueForbidden",
		  "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'" },
		{ "spec.selector.matchExpressions[1].key", "FieldValueInvalid", "Invalid value: \"\": name part must be non-empty" },
		{ "spec.selector.matchExpressions[1].key", "FieldValueInvalid", "Invalid value: \"\": name part " QNAME_WORDS },
		{ "spec.selector.matchExpressions[1].values[0]", "FieldValueInvalid", "Invalid value: \"x!\": " VALUE_WORDS },
		{ "spec.selector.matchExpressions[2].operator", "FieldValueInvalid",
		  "Invalid value: \"Gt\": not a valid selector operator" },
	};
	assert_int_equal(api_label_selector_validate(&v, SPAN("spec.selector"), false, &err), ARRAY_LEN(want));
	assert_int_equal(err.n_causes, ARRAY_LEN(want));
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_string_equal(err.causes[i].field, want[i][0]);
		assert_string_equal(err.causes[i].reason, want[i][1]);
		assert_string_equal(err.causes[i].message, want[i][2]);
	}
	assert_int_equal(api_label_selector_validate(&v, SPAN("s"), true, NULL), ARRAY_LEN(want) - 1);
}

static void fields_text(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out, *error;
	} rows[] = {
		{ "", "", NULL },
		{ "metadata.name=web", "metadata.name=web", NULL },
		{ "b==1,a!=2", "a!=2,b=1", NULL },
		{ "a=,,b=", "a=,b=", NULL },
		{ "a=x\\,y\\=z\\\\", "a=x\\,y\\=z\\\\", NULL },
		{ "=a", "=a", NULL },
		{ "foo", NULL, "invalid selector: 'foo'; can't understand 'foo'" },
		{ "a=1,foo", NULL, "invalid selector: 'a=1,foo'; can't understand 'foo'" },
		{ "a===b", NULL, "invalid field selector: unescaped character in value: 61" },
		{ "a=\\x", NULL, "invalid field selector: invalid escape sequence: \\x" },
		{ "a=b\\", NULL, "invalid field selector: invalid escape sequence: \\" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		struct api_field_selector sel;
		int rc = api_field_selector_parse(&a, span_of(rows[i].in), &sel, &err);
		if (rows[i].error) {
			if (rc != -ERR_INVALID_REQUEST || strcmp(err_msg(&err), rows[i].error))
				fail_msg("\"%s\": got %d %s, want %s", rows[i].in, rc, err_msg(&err), rows[i].error);
			continue;
		}
		assert_int_equal(rc, 0);
		api_field_selector_print(&sel, &out);
		assert_string_equal(buf_cstr(&out), rows[i].out);
	}
}

static void fields_match(void **state)
{
	(void)state;
	static const struct api_selector pod_selectors[] = {
		{ SPAN_INIT("metadata.name"), SPAN_INIT(""), 'A' },    { SPAN_INIT("spec.nodeName"), SPAN_INIT(""), 'A' },
		{ SPAN_INIT("spec.hostNetwork"), SPAN_INIT(""), 'A' }, { SPAN_INIT("status.podIP"), SPAN_INIT(""), 'A' },
		{ SPAN_INIT("status.podIPs"), SPAN_INIT(""), 'A' },    { SPAN_INIT("spec.host"), SPAN_INIT(""), 'A' },
	};
	struct api_resource pod = { .kind = SPAN("Pod"), .selectors = pod_selectors, .n_selectors = ARRAY_LEN(pod_selectors) };
	struct api_resource job = { .group = SPAN("batch"), .kind = SPAN("Job") };
	struct api_resource event = { .kind = SPAN("Event") };
	static const char pod_json[] = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n1\"},\"status\":{\"podIPs\":"
				       "[{\"ip\":\"10.0.0.1\"}]}}";
	static const struct {
		int kind; /* 0 pod, 1 job, 2 event */
		const char *sel, *json;
		bool want;
	} rows[] = {
		{ 0, "metadata.name=p", pod_json, true },
		{ 0, "metadata.name!=p", pod_json, false },
		{ 0, "spec.nodeName=n1,metadata.name=p", pod_json, true },
		{ 0, "spec.host=n1", pod_json, true },
		{ 0, "spec.hostNetwork=false", pod_json, true },
		{ 0, "spec.hostNetwork=true", "{\"spec\":{\"hostNetwork\":true}}", true },
		{ 0, "status.podIP=10.0.0.1", pod_json, true },
		{ 0, "status.podIPs=", pod_json, true },
		{ 0, "spec.nodeName=", "{}", true },
		{ 1, "status.successful=2", "{\"status\":{\"succeeded\":2}}", true },
		{ 1, "status.successful=0", "{}", true },
		{ 2, "source=kubelet", "{\"source\":{\"component\":\"kubelet\"}}", true },
		{ 2, "source=ctl", "{\"source\":{},\"reportingComponent\":\"ctl\"}", true },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct api_field_selector sel;
		struct json v = parse(&a, rows[i].json);
		const struct api_resource *kinds[] = { &pod, &job, &event };
		assert_int_equal(api_field_selector_parse(&a, span_of(rows[i].sel), &sel, NULL), 0);
		if (api_field_selector_match(&sel, kinds[rows[i].kind], &v) != rows[i].want)
			fail_msg("%s on %s: want %d", rows[i].sel, rows[i].json, rows[i].want);
	}
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct api_field_selector sel;
	struct span value;
	assert_int_equal(api_field_selector_parse(&a, SPAN("spec.nodeName=n1,metadata.name!=x"), &sel, NULL), 0);
	assert_true(api_field_selector_exact(&sel, SPAN("spec.nodeName"), &value));
	assert_true(span_is(value, "n1"));
	assert_false(api_field_selector_exact(&sel, SPAN("metadata.name"), &value));
	assert_int_equal(api_field_selector_check(&sel, &pod, &err), 0);
	assert_int_equal(api_field_selector_check(&sel, &job, &err), -ERR_INVALID_REQUEST);
	assert_string_equal(err_msg(&err), "\"metadata.name\" is not a known field selector: only \"metadata.name\", "
					   "\"metadata.namespace\"");
	assert_int_equal(api_field_selector_parse(&a, SPAN("spec.foo=1"), &sel, NULL), 0);
	assert_int_equal(api_field_selector_check(&sel, &pod, &err), -ERR_INVALID_REQUEST);
	assert_string_equal(err_msg(&err), "field label not supported: spec.foo");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels_text),   cmocka_unit_test(labels_match),    cmocka_unit_test(labels_agree),
		cmocka_unit_test(labels_struct), cmocka_unit_test(labels_validate), cmocka_unit_test(fields_text),
		cmocka_unit_test(fields_match),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
