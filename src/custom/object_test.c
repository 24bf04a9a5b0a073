/* Objects against schemas: validation in kube-openapi's words, ratcheting, defaults, pruning, lists, embedded resources, scale,
 * formats. In the tables ' stands for ", ` for '. */
#include "custom/custom_test.h"

static const char *quoted(struct arena *a, const char *text)
{
	char *copy = arena_cstr(a, span_of(text));
	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c == '`' ? '\'' : *c;
	return copy;
}

/* {type: object, properties: {spec: SPEC, ...}}: rows say SPEC. */
static struct api_resource *row_for(struct arena *a, const char *spec, const char *subs)
{
	auto_buf struct buf schema = {};
	buf_printf(&schema, "{'type':'object','properties':{'spec':%s,'status':{'type':'object','properties':{'n':{'type':"
			    "'integer','maximum':5},'s':{'x-kubernetes-preserve-unknown-fields':true}}}}}", spec);
	struct json crd = crd_of(a, quoted(a, buf_cstr(&schema)), subs ? quoted(a, subs) : NULL);
	const struct json *s = json_path(&json_path(&crd, "spec", "versions", (char *)NULL)->items[0], "schema", "openAPIV3Schema",
					 (char *)NULL);
	auto_err struct err err = ERR_INIT;
	if (custom_schema_check(a, SPAN("s"), s, false, &err))
		fail_msg("%s", lines_of(a, &err));
	return row_of_crd(a, &crd);
}

static struct json object_for(struct arena *a, const struct api_resource *row, const char *rest, struct api_decode *d)
{
	struct json object;
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf text = {};
	buf_printf(&text, "{'apiVersion':'x.io/v1','kind':'Foo','metadata':{'name':'a'}%s%s}", *rest ? "," : "", rest);
	if (api_decode_json(a, row->type, span_of(quoted(a, buf_cstr(&text))), d, &object, &err) < 0)
		fail_msg("%s", err_msg(&err));
	return object;
}

struct row {
	const char *spec, *value, *want; /* schema of spec, spec, complaints: NULL = none */
};

static void check_rows(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf text = {};
		struct api_resource *row = row_for(&a, rows[i].spec, NULL);
		buf_printf(&text, "'spec':%s", rows[i].value);
		struct json object = object_for(&a, row, buf_cstr(&text), NULL);
		custom_default(&a, row, &object);
		struct custom_change c = { .arena = &a, .row = row, .object = &object };
		unsigned found = custom_validate(&c, &err);
		const char *got = lines_of(&a, &err), *want = rows[i].want ? quoted(&a, rows[i].want) : "";
		if (strcmp(got, want) != 0)
			fail_msg("%s of %s\n got: %s\nwant: %s", rows[i].value, rows[i].spec, got, want);
		assert_int_equal(found, err.n_causes);
		api_resource_unref(row);
	}
}

#define OBJ(rest) "{'type':'object','properties':{" rest "}}"

static void types(void **state)
{
	static const struct row rows[] = {
		{ OBJ("'n':{'type':'integer'}"), "{'n':1}" },
		{ OBJ("'n':{'type':'integer'}"), "{'n':1.0}" },
		{ OBJ("'n':{'type':'integer'}"), "{'n':'x'}",
		  "spec.n: Invalid value: 'string': spec.n in body must be of type integer: 'string'" },
		{ OBJ("'n':{'type':'integer'}"), "{'n':1.5}",
		  "spec.n: Invalid value: 'number': spec.n in body must be of type integer: 'number'" },
		{ OBJ("'n':{'type':'number'}"), "{'n':3}" },
		{ OBJ("'n':{'type':'string'}"), "{'n':{}}",
		  "spec.n: Invalid value: 'object': spec.n in body must be of type string: 'object'" },
		{ OBJ("'n':{'type':'array','items':{'type':'string'}}"), "{'n':['a',2,true]}",
		  "spec.n[1]: Invalid value: 'integer': spec.n[1] in body must be of type string: 'integer'\n"
		  "spec.n[2]: Invalid value: 'boolean': spec.n[2] in body must be of type string: 'boolean'" },
		{ OBJ("'n':{'type':'string'}"), "[]", "spec: Invalid value: 'array': spec in body must be of type object: 'array'" },
		{ OBJ("'n':{'x-kubernetes-int-or-string':true}"), "{'n':'50%'}" },
		{ OBJ("'n':{'x-kubernetes-int-or-string':true}"), "{'n':5}" },
		{ OBJ("'n':{'x-kubernetes-int-or-string':true}"), "{'n':true}",
		  "spec.n: Invalid value: 'boolean': spec.n in body must be of type integer,string: 'boolean'" },
		{ OBJ("'n':{'type':'string','nullable':true}"), "{'n':null}" },
		{ OBJ("'n':{'type':'string'}"), "{'n':null}" }, /* pruned */
		{ OBJ("'n':{'type':'array','items':{'type':'string'}}"), "{'n':[null]}",
		  "spec.n[0]: Invalid value: 'null': spec.n[0] in body must be of type string: 'null'" },
	};
	check_rows(rows, ARRAY_LEN(rows));
}

static void bounds(void **state)
{
	static const struct row rows[] = {
		{ OBJ("'n':{'type':'integer','minimum':1,'maximum':9}"), "{'n':0}",
		  "spec.n: Invalid value: 0: spec.n in body should be greater than or equal to 1" },
		{ OBJ("'n':{'type':'integer','minimum':1,'maximum':9}"), "{'n':10}",
		  "spec.n: Invalid value: 10: spec.n in body should be less than or equal to 9" },
		{ OBJ("'n':{'type':'number','minimum':1.5,'exclusiveMinimum':true}"), "{'n':1.5}",
		  "spec.n: Invalid value: 1.5: spec.n in body should be greater than 1.5" },
		{ OBJ("'n':{'type':'integer','maximum':9,'exclusiveMaximum':true}"), "{'n':9}",
		  "spec.n: Invalid value: 9: spec.n in body should be less than 9" },
		{ OBJ("'n':{'type':'integer','multipleOf':4}"), "{'n':6}",
		  "spec.n: Invalid value: 6: spec.n in body should be a multiple of 4" },
		{ OBJ("'n':{'type':'number','multipleOf':0.1}"), "{'n':0.3}" },
		{ OBJ("'n':{'type':'string','maxLength':3}"), "{'n':'\303\244\303\266\303\274'}" },
		{ OBJ("'n':{'type':'string','maxLength':3}"), "{'n':'abcd'}", "spec.n: Too long: may not be more than 3 bytes" },
		{ OBJ("'n':{'type':'string','minLength':3}"), "{'n':'ab'}",
		  "spec.n: Invalid value: 'ab': spec.n in body should be at least 3 chars long" },
		{ OBJ("'n':{'type':'string','pattern':'^a+$'}"), "{'n':'b'}",
		  "spec.n: Invalid value: 'b': spec.n in body should match `^a+$`" },
		{ OBJ("'n':{'type':'array','maxItems':1,'items':{'type':'integer'}}"), "{'n':[1,2]}",
		  "spec.n: Too many: 2: must have at most 1 items" },
		{ OBJ("'n':{'type':'array','minItems':1,'items':{'type':'integer'}}"), "{'n':[]}",
		  "spec.n: Invalid value: 0: spec.n in body should have at least 1 items" },
		{ OBJ("'n':{'type':'object','maxProperties':1,'additionalProperties':{'type':'integer'}}"), "{'n':{'a':1,'b':2}}",
		  "spec.n: Too many: 2: must have at most 1 items" },
		{ OBJ("'n':{'type':'object','minProperties':1,'additionalProperties':{'type':'integer'}}"), "{'n':{}}",
		  "spec.n: Invalid value: 0: spec.n in body should have at least 1 properties" },
		{ OBJ("'n':{'type':'object','additionalProperties':{'type':'integer'}}"), "{'n':{'a':'x'}}",
		  "spec.n.a: Invalid value: 'string': spec.n.a in body must be of type integer: 'string'" },
		{ OBJ("'n':{'type':'string','enum':['a','b']}"), "{'n':'c'}",
		  "spec.n: Unsupported value: 'c': supported values: 'a', 'b'" },
		{ OBJ("'n':{'type':'integer','enum':[1,2]}"), "{'n':3}",
		  "spec.n: Unsupported value: 3: supported values: '1', '2'" },
		{ "{'type':'object','required':['a','b'],'properties':{'a':{'type':'string'},'b':{'type':'string'}}}", "{'a':'x'}",
		  "spec.b: Required value" },
	};
	check_rows(rows, ARRAY_LEN(rows));
	/* What upstream says twice of equal sentences is said once. */
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct api_resource *row = row_for(&a, "{'type':'object','required':['x'],'allOf':[{'required':['x']}],'properties':{'x':{'type':"
					       "'string'}}}", NULL);
	struct json object = object_for(&a, row, "'spec':{}", NULL);
	struct custom_change c = { .arena = &a, .row = row, .object = &object };
	assert_int_equal(custom_validate(&c, &err), 2);
	assert_string_equal(lines_of(&a, &err), "spec.x: Required value\n"
						"<nil>: Invalid value: \"\": \"spec\" must validate all the schemas (allOf). None "
						"validated");
	api_resource_unref(row);
}

static void combinations(void **state)
{
#define AB "'a':{'type':'integer'},'b':{'type':'string'}"
	static const struct row rows[] = {
		{ "{'type':'object','oneOf':[{'required':['a']},{'required':['b']}],'properties':{" AB "}}", "{'a':1}" },
		{ "{'type':'object','oneOf':[{'required':['a']},{'required':['b']}],'properties':{" AB "}}", "{'a':1,'b':'x'}",
		  "<nil>: Invalid value: '': 'spec' must validate one and only one schema (oneOf). Found 2 valid alternatives" },
		{ "{'type':'object','oneOf':[{'required':['a']},{'required':['b']}],'properties':{" AB "}}", "{}",
		  "<nil>: Invalid value: '': 'spec' must validate one and only one schema (oneOf). Found none valid\n"
		  "spec.a: Required value" },
		{ "{'type':'object','anyOf':[{'required':['a']},{'required':['b']}],'properties':{" AB "}}", "{'a':1,'b':'x'}" },
		{ "{'type':'object','anyOf':[{'required':['a']},{'required':['b']}],'properties':{" AB "}}", "{}",
		  "<nil>: Invalid value: '': 'spec' must validate at least one schema (anyOf)\nspec.a: Required value" },
		{ "{'type':'object','not':{'required':['a','b']},'properties':{" AB "}}", "{'a':1}" },
		{ "{'type':'object','not':{'required':['a','b']},'properties':{" AB "}}", "{'a':1,'b':'x'}",
		  "<nil>: Invalid value: '': 'spec' must not validate the schema (not)" },
		/* of several failures the one that had most right is shown */
		{ "{'type':'object','anyOf':[{'properties':{'a':{'minimum':5},'b':{'minLength':5}}},{'properties':{'a':{'minimum':"
		  "1},'b':{'maxLength':0}}}],'properties':{" AB "}}", "{'a':3,'b':'xyz'}",
		  "<nil>: Invalid value: '': 'spec' must validate at least one schema (anyOf)\n"
		  "spec.a: Invalid value: 3: spec.a in body should be greater than or equal to 5\n"
		  "spec.b: Invalid value: 'xyz': spec.b in body should be at least 5 chars long" },
	};
	check_rows(rows, ARRAY_LEN(rows));
}

static void formats(void **state)
{
	static const struct { const char *format, *good[5], *bad[6]; } table[] = {
		{ "date-time", { "2014-12-15T19:30:20.000Z", "2014-12-15t19:30:20+01:00" }, { "2014-12-15", "x", "2014-02-30T00:00:00Z",
		  "2014-12-15T24:00:00Z" } },
		{ "date", { "2024-02-29" }, { "2023-02-29", "2023-2-1", "", "2023-13-01" } },
		{ "duration", { "1h30m", "3 days", "22 ns", "1s" }, { "", "x", "5", "7 moons" } },
		{ "uri", { "https://a.b/c?d=e", "/abs/path", "urn:x:y", "http://u:p@[::1]:80/%20" }, { "", "rel/path", "http://a b/", ":x",
		  "http://a:x/", "/%zz" } },
		{ "email", { "a@b.c", "Bob <a@b.c>", "\"a b\"@c" }, { "", "a", "a@", "@b", "a@b.c x", "a..b@c" } },
		{ "hostname", { "a", "a.example.com", "1a.example" }, { "", "-a", "a_b", "a..b" } },
		{ "ipv4", { "1.2.3.4" }, { "1.2.3", "::1", "1.2.3.256" } },
		{ "ipv6", { "::1", "fe80::1" }, { "1.2.3.4", "x::", "" } },
		{ "cidr", { "10.0.0.0/8", "::/0" }, { "10.0.0.0", "10.0.0.0/33" } },
		{ "mac", { "00:11:22:33:44:55", "0011.2233.4455", "00-11-22-33-44-55-66-77" }, { "00:11:22:33:44", "00:11-22:33:44:55", "" } },
		{ "uuid", { "123e4567-e89b-12d3-a456-426614174000", "123E4567E89B12D3A456426614174000" }, { "123", "" } },
		{ "uuid4", { "123e4567-e89b-42d3-a456-426614174000" }, { "123e4567-e89b-12d3-a456-426614174000",
		  "123e4567-e89b-42d3-c456-426614174000" } },
		{ "uuid3", { "123e4567-e89b-32d3-c456-426614174000" }, { "123e4567-e89b-42d3-a456-426614174000" } },
		{ "isbn", { "0321751043", "978-0321751041" }, { "0321751044", "978-0321751042", "" } },
		{ "creditcard", { "4111 1111 1111 1111" }, { "4111 1111 1111 1112", "", "41" } },
		{ "ssn", { "111-22-3333" }, { "111223333", "111-22-333" } },
		{ "hexcolor", { "#FFFFFF", "abc" }, { "#ab", "ggg" } },
		{ "rgbcolor", { "rgb(255, 0,1)" }, { "rgb(256,0,0)", "rgb(1,2)" } },
		{ "byte", { "aGk=" }, { "", "aGk", "*" } },
		{ "bsonobjectid", { "0123456789abcdef01234567" }, { "0123", "" } },
		{ "password", { "", "x" }, {} },
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		assert_true(custom_format_known(span_of(table[i].format)));
		for (size_t k = 0; k < 5 && table[i].good[k]; k++)
			if (!custom_format_matches(span_of(table[i].format), span_of(table[i].good[k])))
				fail_msg("%s refuses %s", table[i].format, table[i].good[k]);
		for (size_t k = 0; k < 6 && table[i].bad[k]; k++)
			if (custom_format_matches(span_of(table[i].format), span_of(table[i].bad[k])))
				fail_msg("%s takes %s", table[i].format, table[i].bad[k]);
	}
	assert_false(custom_format_known(SPAN("int32")));
	static const struct row rows[] = {
		{ OBJ("'n':{'type':'string','format':'ipv4'}"), "{'n':'x'}",
		  "spec.n: Invalid value: 'x': spec.n in body must be of type ipv4: 'x'" },
		{ OBJ("'n':{'type':'string','format':'date'}"), "{'n':5}",
		  "spec.n: Invalid value: 'int64': spec.n in body must be of type date: 'int64'" },
		{ OBJ("'n':{'type':'string','format':'anything'}"), "{'n':'x'}" },
		{ OBJ("'n':{'type':'integer','format':'int32'}"), "{'n':4294967296}" },
	};
	check_rows(rows, ARRAY_LEN(rows));
}

/* ---- defaults and pruning */

static void expect_after(const char *spec, const char *value, const char *want)
{
	auto_arena struct arena a = {};
	auto_buf struct buf text = {}, got = {};
	struct api_resource *row = row_for(&a, spec, NULL);
	buf_printf(&text, "'spec':%s", value);
	struct json object = object_for(&a, row, buf_cstr(&text), NULL);
	custom_default(&a, row, &object);
	json_write(&got, json_getl(&object, "spec"), JSON_SORTED);
	assert_string_equal(buf_cstr(&got), quoted(&a, want));
	api_resource_unref(row);
}

static void defaulting(void **state)
{
	expect_after(OBJ("'a':{'type':'string','default':'x'},'b':{'type':'integer','default':3}"), "{'b':4}", "{'a':'x','b':4}");
	expect_after(OBJ("'a':{'type':'string','default':'x'}"), "{'a':null}", "{'a':'x'}");
	expect_after(OBJ("'a':{'type':'string','nullable':true,'default':'x'}"), "{'a':null}", "{'a':null}");
	expect_after(OBJ("'a':{'type':'string'}"), "{'a':null}", "{}");
	expect_after(OBJ("'o':{'type':'object','default':{},'properties':{'p':{'type':'string','default':'q'}}}"), "{}",
		     "{'o':{'p':'q'}}");
	expect_after(OBJ("'l':{'type':'array','items':{'type':'object','properties':{'p':{'type':'string','default':'q'}}}}"),
		     "{'l':[{},{'p':'r'}]}", "{'l':[{'p':'q'},{'p':'r'}]}");
	expect_after(OBJ("'m':{'type':'object','additionalProperties':{'type':'object','properties':{'p':{'type':'integer','default':"
			 "1}}}}"), "{'m':{'x':{}}}", "{'m':{'x':{'p':1}}}");
}

static void pruning(void **state)
{
	expect_after(OBJ("'a':{'type':'string'}"), "{'a':'x','b':1}", "{'a':'x'}");
	expect_after("{'type':'object','x-kubernetes-preserve-unknown-fields':true,'properties':{'o':{'type':'object'}}}",
		     "{'b':{'c':1},'o':{'gone':1}}", "{'b':{'c':1},'o':{}}");
	expect_after(OBJ("'e':{'type':'object','x-kubernetes-embedded-resource':true,'properties':{'spec':{'type':'object'}}}"),
		     "{'e':{'apiVersion':'v1','kind':'Pod','metadata':{'name':'x','nope':1},'spec':{'gone':1},'gone':2}}",
		     "{'e':{'apiVersion':'v1','kind':'Pod','metadata':{'name':'x'},'spec':{}}}");
	expect_after(OBJ("'m':{'type':'object','additionalProperties':true}"), "{'m':{'a':1,'b':{'c':1},'d':[{'e':1},2]}}",
		     "{'m':{'a':1,'b':{},'d':[{},2]}}");
	expect_after(OBJ("'any':{'x-kubernetes-preserve-unknown-fields':true}"), "{'any':[{'x':[1,{'y':null}]}]}",
		     "{'any':[{'x':[1,{'y':null}]}]}");
	auto_arena struct arena a = {};
	struct api_resource *row = row_for(&a, OBJ("'l':{'type':'array','items':{'type':'object'}}"), NULL);
	struct api_decode d = {};
	(void)object_for(&a, row, "'spec':{'l':[{'x':1}],'b':1,'b':2}", &d);
	assert_int_equal(d.n_found, 3);
	auto_buf struct buf got = {};
	for (unsigned i = 0; i < d.n_found; i++)
		buf_printf(&got, "%.*s\n", SPAN_ARG(d.found[i]));
	assert_string_equal(buf_cstr(&got), "duplicate field \"spec.b\"\nunknown field \"spec.b\"\nunknown field \"spec.l[0].x\"\n");
	api_resource_unref(row);
}

/* ---- sets, maps, embedded resources, scale */

static void lists(void **state)
{
#define SET "'s':{'type':'array','x-kubernetes-list-type':'set','items':{'type':'integer'}}"
#define MAP                                                                                                            \
	"'m':{'type':'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-keys':['k'],'items':{'type':'object'," \
	"'required':['k'],'properties':{'k':{'type':'string'},'v':{'type':'integer','maximum':5}}}}"
	static const struct row rows[] = {
		{ OBJ(SET), "{'s':[1,2,3]}" },
		{ OBJ(SET), "{'s':[1,2,1,1]}", "spec.s[2]: Duplicate value: 1" },
		{ OBJ(MAP), "{'m':[{'k':'a'},{'k':'b'},{'k':'a'}]}",
		  "spec.m[2]: Duplicate value: map[string]interface {}{'k':'a'}" },
		{ OBJ("'e':{'type':'object','x-kubernetes-embedded-resource':true,'x-kubernetes-preserve-unknown-fields':true}"),
		  "{'e':{'apiVersion':'a/b/c','kind':'-'}}",
		  "spec.e.apiVersion: Invalid value: 'a/b/c': unexpected GroupVersion string: a/b/c\n"
		  "spec.e.kind: Invalid value: '-': may have mixed case, but should otherwise match: a DNS-1035 label must consist of "
		  "lower case alphanumeric characters or `-`, start with an alphabetic character, and end with an alphanumeric "
		  "character (e.g. `my-name`,  or `abc-123`, regex used for validation is `[a-z]([-a-z0-9]*[a-z0-9])?`)" },
		{ OBJ("'e':{'type':'object','x-kubernetes-embedded-resource':true,'x-kubernetes-preserve-unknown-fields':true}"),
		  "{'e':{}}", "spec.e.apiVersion: Required value: must not be empty\nspec.e.kind: Required value: must not be empty" },
	};
	check_rows(rows, ARRAY_LEN(rows));
}

/* old and new spec; status: the sub-resource writes and both are statuses. */
static void expect_update(const char *schema, bool status, const char *old, const char *new, const char *want)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf was_text = {}, is_text = {};
	struct api_resource *row = row_for(&a, schema, "{'status':{},'scale':{'specReplicasPath':'.spec.n','statusReplicasPath':"
						       "'.status.n','labelSelectorPath':'.status.s'}}");
	buf_printf(&was_text, "'%s':%s", status ? "status" : "spec", old);
	buf_printf(&is_text, "'%s':%s", status ? "status" : "spec", new);
	struct json was = object_for(&a, row, buf_cstr(&was_text), NULL), is = object_for(&a, row, buf_cstr(&is_text), NULL);
	struct custom_change c = { .arena = &a, .row = row, .status = status, .object = &is, .old = &was };
	custom_prepare(&c);
	(void)custom_validate(&c, &err);
	const char *got = lines_of(&a, &err);
	if (strcmp(got, quoted(&a, want)) != 0)
		fail_msg("%s to %s\n got: %s\nwant: %s", old, new, got, want);
	api_resource_unref(row);
}

static void ratcheting(void **state)
{
	static const char two[] = OBJ("'n':{'type':'integer','maximum':5},'t':{'type':'string','maxLength':2}");
	expect_update(two, false, "{'n':9}", "{'n':9,'t':'a'}", "");
	expect_update(two, false, "{'n':9}", "{'n':8}", "spec.n: Invalid value: 8: spec.n in body should be less than or equal to 5");
	expect_update(OBJ(MAP), false, "{'m':[{'k':'a','v':9}]}", "{'m':[{'k':'b'},{'k':'a','v':9}]}", "");
	expect_update(OBJ(MAP), false, "{'m':[{'k':'a','v':9}]}", "{'m':[{'k':'b','v':9}]}",
		      "spec.m[0].v: Invalid value: 9: spec.m[0].v in body should be less than or equal to 5");
	expect_update(OBJ("'l':{'type':'array','items':{'type':'integer','maximum':5}}"), false, "{'l':[9]}", "{'l':[9,1]}",
		      "spec.l[0]: Invalid value: 9: spec.l[0] in body should be less than or equal to 5");
	expect_update(OBJ(SET), false, "{'s':[1,1]}", "{'s':[1,1,2]}", "");
	expect_update(OBJ(SET), false, "{'s':[1]}", "{'s':[2,2]}", "spec.s[1]: Duplicate value: 2");
	expect_update(two, true, "{'n':9}", "{'n':9}", "");
	expect_update(two, true, "{}", "{'n':9}", "status.n: Invalid value: 9: n in body should be less than or equal to 5");
}

static void scale(void **state)
{
	static const char any[] = OBJ("'n':{'x-kubernetes-preserve-unknown-fields':true}");
	expect_update(any, false, "{}", "{'n':3}", "");
	expect_update(any, false, "{}", "{'n':-3}", ".spec.n: Invalid value: -3: should be a non-negative integer");
	expect_update(any, false, "{}", "{'n':4294967296}", ".spec.n: Invalid value: 4294967296: should be less than or equal to 2147483647");
	expect_update(any, false, "{}", "{'n':'x'}",
		      ".spec.n: Invalid value: 0: .spec.n accessor error: x is of the type string, expected int64");
	expect_update(any, true, "{}", "{'s':5}",
		      ".status.s: Invalid value: '': .status.s accessor error: 5 is of the type int64, expected string");
	auto_arena struct arena a = {};
	struct json object = tree_of(&a, "{\"spec\":{\"n\":2},\"x\":1}");
	assert_int_equal(json_i64(custom_path_get(&object, SPAN(".spec.n")), 0), 2);
	assert_null(custom_path_get(&object, SPAN(".spec.m.o")));
	assert_true(custom_path_set(&a, &object, SPAN(".spec.m.o"), json_int(7)));
	assert_int_equal(json_i64(custom_path_get(&object, SPAN(".spec.m.o")), 0), 7);
	assert_false(custom_path_set(&a, &object, SPAN(".x.y"), json_int(7)));
}

static void prepare(void **state)
{
	auto_arena struct arena a = {};
	struct api_resource *row = row_for(&a, OBJ("'n':{'type':'integer'}"), "{'status':{}}");
	struct json object = object_for(&a, row, "'spec':{'n':1},'status':{'n':1}", NULL), old, next;
	struct custom_change c = { .arena = &a, .row = row, .object = &object };
	custom_prepare(&c);
	assert_null(json_getl(&object, "status"));
	assert_int_equal(json_i64(json_path(&object, "metadata", "generation", (char *)NULL), 0), 1);

	old = json_copy(&a, &object);
	next = object_for(&a, row, "'spec':{'n':2},'status':{'n':3}", NULL);
	c = (struct custom_change){ .arena = &a, .row = row, .status = true, .object = &next, .old = &old };
	custom_prepare(&c);
	assert_int_equal(json_i64(json_path(&next, "spec", "n", (char *)NULL), 0), 1);
	assert_int_equal(json_i64(json_path(&next, "status", "n", (char *)NULL), 0), 3);
	assert_int_equal(json_i64(json_path(&next, "metadata", "generation", (char *)NULL), 0), 1);

	old = json_copy(&a, &next);
	next = object_for(&a, row, "'spec':{'n':2}", NULL);
	c.status = false;
	custom_prepare(&c);
	assert_int_equal(json_i64(json_path(&next, "status", "n", (char *)NULL), 0), 3);
	assert_int_equal(json_i64(json_path(&next, "metadata", "generation", (char *)NULL), 0), 2);
	api_resource_unref(row);
}

/* A complaint too many is not kept, and a value of a megabyte is not repeated. */
static void limits(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct api_resource *row = row_for(&a, OBJ("'l':{'type':'array','items':{'type':'integer'}}"), NULL);
	struct json object = object_for(&a, row, "'spec':{'l':[]}", NULL);
	struct json *list = json_path(&object, "spec", "l", (char *)NULL);
	for (unsigned i = 0; i < 3 * CUSTOM_CAUSES_MAX; i++)
		(void)json_push(&a, list, json_cstr("x"));
	struct custom_change c = { .arena = &a, .row = row, .object = &object };
	(void)custom_validate(&c, &err);
	assert_int_equal(err.n_causes, CUSTOM_CAUSES_MAX);
	api_resource_unref(row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types),      cmocka_unit_test(bounds),	    cmocka_unit_test(combinations),
		cmocka_unit_test(formats),    cmocka_unit_test(defaulting), cmocka_unit_test(pruning),
		cmocka_unit_test(lists),      cmocka_unit_test(ratcheting), cmocka_unit_test(scale),
		cmocka_unit_test(prepare),    cmocka_unit_test(limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
