/* CRDs: what a schema may say, names, conditions, rows. The sentences are those of apiextensions-apiserver 1.33. */
#include "custom/custom_test.h"

static void expect(const char *schema, bool status, const char *want)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json s = schema_of(&a, schema);
	unsigned n = custom_schema_check(&a, SPAN("s"), &s, status, &err);
	const char *got = lines_of(&a, &err);
	if (strcmp(got, want) != 0)
		fail_msg("%s\n got: %s\nwant: %s", schema, got, want);
	assert_int_equal(n, err.n_causes);
}

static void structural(void **state)
{
	expect("{\"type\":\"object\"}", true, "");
	expect("{}", false, "s.type: Required value: must not be empty at the root");
	expect("{\"type\":\"string\"}", false, "s.type: Invalid value: \"string\": must be object at the root");
	expect("{\"type\":\"object\",\"properties\":{\"spec\":{}}}", false,
	       "s.properties[spec].type: Required value: must not be empty for specified object fields");
	expect("{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"array\"}}}", false,
	       "s.properties[l].items: Required value: must be specified");
	expect("{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"array\",\"items\":{}}}}", false,
	       "s.properties[l].items.type: Required value: must not be empty for specified array items");
	expect("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}", false,
	       "s.additionalProperties: Forbidden: must not be used at the root");
	expect("{\"type\":\"object\",\"properties\":{\"a\":{\"x-kubernetes-int-or-string\":true}}}", false, "");
	expect("{\"type\":\"object\",\"properties\":{\"a\":{\"x-kubernetes-int-or-string\":true,\"anyOf\":[{\"type\":\"integer\"},"
	       "{\"type\":\"string\"}]}}}", false, "");
	expect("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"anyOf\":[{\"type\":\"string\"}]}}}", false,
	       "s.properties[a].anyOf[0].type: Forbidden: must be empty to be structural");
	expect("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"not\":{\"nullable\":true,\"default\":1,"
	       "\"description\":\"d\"}}}}", false,
	       "s.properties[a].not.default: Forbidden: must be undefined to be structural\n"
	       "s.properties[a].not.description: Forbidden: must be empty to be structural\n"
	       "s.properties[a].not.nullable: Forbidden: must be false to be structural");
	expect("{\"type\":\"object\",\"oneOf\":[{\"properties\":{\"a\":{\"minLength\":1}}}]}", false,
	       "s.properties[a]: Required value: because it is defined in s.oneOf[0].properties[a]");
	expect("{\"type\":\"object\",\"properties\":{\"metadata\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\","
	       "\"maxLength\":5}}}}}", false, "");
	expect("{\"type\":\"object\",\"properties\":{\"metadata\":{\"type\":\"object\",\"properties\":{\"labels\":{\"type\":\"object\","
	       "\"additionalProperties\":{\"type\":\"string\"}}}}}}", false,
	       "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is "
	       "implicitly specified");
	expect("{\"type\":\"object\",\"properties\":{\"kind\":{\"type\":\"integer\"}}}", false,
	       "s.properties[kind].type: Invalid value: \"integer\": must be string");
	expect("{\"type\":\"object\",\"properties\":{\"e\":{\"x-kubernetes-embedded-resource\":true}}}", false,
	       "s.properties[e].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without "
	       "x-kubernetes-preserve-unknown-fields\n"
	       "s.properties[e].type: Required value: must be object if x-kubernetes-embedded-resource is true");
	expect("{\"type\":\"object\",\"properties\":{\"p\":{\"type\":\"string\",\"pattern\":\"a(b\"}}}", false,
	       "s.properties[p].pattern: Invalid value: \"a(b\": must be a valid regular expression, but isn't: error parsing regexp: "
	       "missing closing ): `a(b`");
}

static void keywords(void **state)
{
	expect("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"text\"}}}", false,
	       "s.properties[a].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", "
	       "\"object\", \"string\"");
	expect("{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"string\"}}}}",
	       false, "s.properties[l].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes "
	       "quadratic");
	expect("{\"type\":\"object\",\"$ref\":\"x\"}", false, "s.$ref: Forbidden: $ref is not supported");
	expect("{\"type\":\"object\",\"$schema\":\"x\"}", false, "s: Invalid value: \"\": OpenAPIV3Schema 'schema' is not supported");
	expect("{\"type\":\"object\",\"properties\":{\"m\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},"
	       "\"additionalProperties\":{\"type\":\"string\"}}}}", false,
	       "s.properties[m].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive");
	expect("{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":false}", false,
	       "s.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined");
	expect("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"x-kubernetes-validations\":[{\"rule\":\"self>0\"}]}}}",
	       false, "s.properties[a].x-kubernetes-validations: Forbidden: validation rules (CEL) are not supported by this server");
	expect("{\"type\":\"object\",\"nullable\":true}", false, "s.nullable: Forbidden: nullable cannot be true at the root");
	expect("{\"type\":\"object\",\"properties\":{\"a\":{\"x-kubernetes-preserve-unknown-fields\":true,\"properties\":{\"b\":{\"type\":"
	       "\"string\"}},\"items\":{\"type\":\"string\"}}}}", false,
	       "s.properties[a].items: Forbidden: items beside properties without a type are not supported by this server");
	expect("{\"type\":\"object\",\"oneOf\":[{\"required\":[\"a\"]}]}", true,
	       "s: Invalid value: map[string]interface {}{\"oneOf\":[]interface {}{map[string]interface {}{\"required\":[]interface {}{"
	       "\"a\"}}}, \"type\":\"object\"}: only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum "
	       "MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example "
	       "XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the status subresource is enabled");
}

static void topology(void **state)
{
	expect("{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"items\":{\"type\":"
	       "\"object\",\"properties\":{\"k\":{\"type\":\"string\"}}}}}}", false,
	       "s.properties[l].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map");
	expect("{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\","
	       "\"x-kubernetes-list-map-keys\":[\"k\",\"z\",\"k\"],\"items\":{\"type\":\"object\",\"nullable\":true,\"properties\":{\"k\":{"
	       "\"type\":\"string\"}}}}}}", false,
	       "s.properties[l].x-kubernetes-list-map-keys: Invalid value: []string{\"k\", \"z\", \"k\"}: entries must all be names of "
	       "item properties\n"
	       "s.properties[l].x-kubernetes-list-map-keys: Invalid value: []string{\"k\", \"z\", \"k\"}: must not contain duplicate "
	       "entries\n"
	       "s.properties[l].items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is map\n"
	       "s.properties[l].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must "
	       "have a default or be a required property\n"
	       "s.properties[l].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must "
	       "have a default or be a required property");
	expect("{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"items\":{\"type\":"
	       "\"object\"}}}}", false,
	       "s.properties[l].items.x-kubernetes-map-type: Invalid value: \"null\": must be atomic as item of a list with "
	       "x-kubernetes-list-type=set");
	expect("{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"string\",\"x-kubernetes-list-type\":\"bag\"}}}", false,
	       "s.properties[l].type: Invalid value: \"string\": must be array if x-kubernetes-list-type is specified\n"
	       "s.properties[l].x-kubernetes-list-type: Unsupported value: \"bag\": supported values: \"atomic\", \"set\", \"map\"");
	expect("{\"type\":\"object\",\"properties\":{\"m\":{\"type\":\"object\",\"x-kubernetes-map-type\":\"loose\"}}}", false,
	       "s.properties[m].x-kubernetes-map-type: Unsupported value: \"loose\": supported values: \"atomic\", \"granular\"");
}

static void defaults(void **state)
{
	expect("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"default\":5}}}", false,
	       "s.properties[a].default: Invalid value: \"integer\":  in body must be of type string: \"integer\"");
	expect("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"default\":{\"b\":1,\"c\":2},\"properties\":{\"b\":{\"type\":"
	       "\"integer\"}}}}}", false,
	       "s.properties[a].default: Invalid value: map[string]interface {}{\"b\":1, \"c\":2}: must not have unknown fields");
	expect("{\"type\":\"object\",\"properties\":{\"metadata\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\","
	       "\"default\":\"x\"}}}}}", false,
	       "s.properties[metadata].properties[name].default: Forbidden: must not be set in top-level metadata");
	expect("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"default\":null}}}", false, "");
}

static void too_deep(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf text = {};
	for (unsigned levels = CUSTOM_DEPTH_MAX - 1; levels <= CUSTOM_DEPTH_MAX; levels++) {
		auto_err struct err err = ERR_INIT;
		struct json leaf = tree_of(&a, "{\"type\":\"string\"}");
		for (unsigned i = 0; i < levels; i++) {
			struct json outer = tree_of(&a, "{\"type\":\"object\"}"), properties = json_object();
			(void)json_setl(&a, &properties, "p", leaf);
			(void)json_setl(&a, &outer, "properties", properties);
			leaf = outer;
		}
		unsigned n = custom_schema_check(&a, SPAN("s"), &leaf, false, &err);
		if (levels < CUSTOM_DEPTH_MAX)
			assert_int_equal(n, 0);
		else
			assert_string_equal(lines_of(&a, &err), "s: Forbidden: schemas that nest more than 90 levels deep are not "
								"supported by this server");
	}
}

static void selectable(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json s = schema_of(&a, "{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"color\":{\"type\":"
				      "\"string\"},\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}}}}}");
	struct json fields = tree_of(&a, "[{\"jsonPath\":\".spec.color\"},{\"jsonPath\":\".spec.nope\"},{\"jsonPath\":\".spec.tags\"},"
					 "{\"jsonPath\":\"spec\"},{\"jsonPath\":\".spec.color\"},{},{\"jsonPath\":\".spec['x']\"}]");
	assert_int_equal(custom_selectable_check(&a, SPAN("f"), &fields, &s, &err), 6);
	assert_string_equal(lines_of(&a, &err),
			    "f[1].jsonPath: Invalid value: \".spec.nope\": is an invalid path: does not refer to a valid field\n"
			    "f[2].jsonPath: Invalid value: \".spec.tags\": must point to a field of type string, boolean or integer. Enum "
			    "string fields and strings with formats are allowed.\n"
			    "f[3].jsonPath: Invalid value: \"spec\": is an invalid path: expected [ or . but got: spec\n"
			    "f[4].jsonPath: Duplicate value: \".spec.color\"\n"
			    "f[5].jsonPath: Required value\n"
			    "f[6].jsonPath: Invalid value: \".spec['x']\": is an invalid path: array notation is not allowed");
}

/* ---- names and conditions */

static struct json named(struct arena *a, const char *name, const char *kind, const char *short_name)
{
	struct json crd = crd_of(a, "{\"type\":\"object\"}", NULL);
	struct json *names = json_path(&crd, "spec", "names", (char *)NULL);
	(void)json_setl(a, names, "plural", json_str(arena_printf(a, "%ss", name)));
	(void)json_setl(a, names, "singular", json_cstr(name));
	(void)json_setl(a, names, "kind", json_cstr(kind));
	(void)json_setl(a, names, "listKind", json_str(arena_printf(a, "%sList", kind)));
	(void)json_setl(a, names, "shortNames", json_array());
	if (short_name)
		(void)json_push(a, json_getl(names, "shortNames"), json_cstr(short_name));
	return crd;
}

static const char *condition(struct arena *a, const struct json *crd, const char *type)
{
	JSON_EACH_ITEM(json_path(crd, "status", "conditions", (char *)NULL), c) {
		if (!span_is(json_span(json_getl(c, "type")), type))
			continue;
		struct span s = json_span(json_getl(c, "status")), r = json_span(json_getl(c, "reason")),
			    m = json_span(json_getl(c, "message"));
		return arena_cstr(a, arena_printf(a, "%.*s %.*s %.*s", SPAN_ARG(s), SPAN_ARG(r), SPAN_ARG(m)));
	}
	return "";
}

static void names(void **state)
{
	auto_arena struct arena a = {};
	struct span now = SPAN("2026-01-01T00:00:00Z"), later = SPAN("2026-01-02T00:00:00Z");
	struct json first = named(&a, "cat", "Cat", "c"), second = named(&a, "cow", "Cow", "c"), third = named(&a, "dog", "Cat", NULL);
	const struct json *all[] = { &first, &second, &third };
	assert_true(custom_names_accept(&a, &first, all, 3, now));
	assert_string_equal(condition(&a, &first, "NamesAccepted"), "True NoConflicts no conflicts found");
	assert_false(custom_names_accept(&a, &first, all, 3, later));
	assert_true(custom_establish(&a, &first, now));
	assert_false(custom_establish(&a, &first, later));
	assert_string_equal(condition(&a, &first, "Established"), "True InitialNamesAccepted the initial names have been accepted");

	assert_true(custom_names_accept(&a, &second, all, 3, now));
	assert_string_equal(condition(&a, &second, "NamesAccepted"), "False ShortNamesConflict \"c\" is already in use");
	assert_string_equal(condition(&a, &second, "Established"), "False NotAccepted not all names are accepted");
	assert_false(custom_establish(&a, &second, now));
	assert_true(custom_names_accept(&a, &third, all, 3, now));
	assert_string_equal(condition(&a, &third, "NamesAccepted"), "False ListKindConflict \"CatList\" is already in use");

	/* The first goes: its names are free. */
	assert_true(custom_names_accept(&a, &second, all + 1, 2, later));
	assert_string_equal(condition(&a, &second, "NamesAccepted"), "True NoConflicts no conflicts found");
	assert_true(custom_establish(&a, &second, later));
}

static void approval(void **state)
{
	auto_arena struct arena a = {};
	struct json crd = crd_of(&a, "{\"type\":\"object\"}", NULL);
	struct span now = SPAN("2026-01-01T00:00:00Z");
	static const char type[] = "KubernetesAPIApprovalPolicyConformant";
	assert_false(custom_approval_set(&a, &crd, now));
	(void)json_setl(&a, json_getl(&crd, "spec"), "group", json_cstr("x.k8s.io"));
	assert_true(custom_approval_set(&a, &crd, now));
	assert_string_equal(condition(&a, &crd, type), "False MissingAnnotation protected groups must have approval annotation "
						       "\"api-approved.kubernetes.io\", see "
						       "https://github.com/kubernetes/enhancements/pull/1111");
	struct json notes = tree_of(&a, "{\"api-approved.kubernetes.io\":\"https://x.y/1\"}");
	(void)json_setl(&a, json_getl(&crd, "metadata"), "annotations", notes);
	assert_true(custom_approval_set(&a, &crd, now));
	assert_string_equal(condition(&a, &crd, type), "True ApprovedAnnotation approved in https://x.y/1");
	assert_false(custom_approval_set(&a, &crd, now));
}

/* ---- rows */

static void rows(void **state)
{
	auto_arena struct arena a = {};
	struct json crd;
	struct api_resource *row[4] = {};
	unsigned n;
	auto_err struct err err = ERR_INIT;
	const struct api_type *t = api_type_find(SPAN("apiextensions/v1.CustomResourceDefinition"));
	static const char text[] =
		"{\"metadata\":{\"name\":\"tabs.x.io\"},\"spec\":{\"group\":\"x.io\",\"scope\":\"Cluster\",\"names\":{\"plural\":\"tabs\","
		"\"singular\":\"tab\",\"kind\":\"Tab\",\"listKind\":\"TabList\",\"shortNames\":[\"t\"],\"categories\":[\"all\"]},"
		"\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,\"additionalPrinterColumns\":[{\"name\":\"Size\",\"type\":"
		"\"integer\",\"jsonPath\":\".spec.size\",\"priority\":1}],\"subresources\":{\"status\":{},\"scale\":{\"specReplicasPath\":"
		"\".spec.size\",\"statusReplicasPath\":\".status.size\"}},\"selectableFields\":[{\"jsonPath\":\".spec.color\"}],"
		"\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"size\":{"
		"\"type\":\"integer\"},\"color\":{\"type\":\"string\"}}}}}}},{\"name\":\"v1beta1\",\"served\":true,\"deprecated\":true,"
		"\"storage\":false,\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}}},{\"name\":\"v1alpha1\",\"served\":false,\"storage\":"
		"false,\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}}}]}}";
	assert_int_equal(api_decode_json(&a, t, span_of(text), NULL, &crd, &err), 0);
	assert_int_equal(custom_rows(&crd, row, &n, &err), 0);
	assert_int_equal(n, 0); /* not established */
	const struct json *self = &crd;
	assert_true(custom_names_accept(&a, &crd, &self, 1, SPAN("2026-01-01T00:00:00Z")));
	assert_true(custom_establish(&a, &crd, SPAN("2026-01-01T00:00:00Z")));
	assert_int_equal(custom_rows(&crd, row, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_true(custom_is(row[0]));
	assert_true(span_is(row[0]->kind, "Tab") && span_is(row[0]->singular, "tab") && !row[0]->namespaced);
	assert_true(span_is(row[1]->version, "v1beta1") && span_is(row[1]->storage_version, "v1"));
	assert_int_equal(row[0]->n_columns, 2);
	assert_true(span_is(row[0]->columns[1].name, "Size") && row[0]->columns[1].priority == 1);
	assert_true(span_is(row[1]->columns[1].name, "Age"));
	assert_int_equal(row[0]->n_subresources, 2);
	assert_int_equal(row[1]->n_subresources, 0);
	assert_non_null(api_resource_selector(row[0], SPAN("spec.color")));
	assert_null(api_resource_selector(row[0], SPAN("metadata.namespace")));
	assert_int_equal(custom_warning(row[0]).len, 0);
	assert_true(span_is(custom_warning(row[1]), "x.io/v1beta1 Tab is deprecated; use x.io/v1 Tab"));
	assert_int_equal(row[0]->storage_hash.len, 12);
	for (unsigned i = 0; i < n; i++)
		api_resource_unref(row[i]);
	assert_true(custom_condition_set(&a, &crd, "Terminating", "True", "InstanceDeletionInProgress", SPAN("x"), SPAN("t")));
	assert_int_equal(custom_rows(&crd, row, &n, &err), 0);
	assert_false(row[0]->verbs & API_VERB_CREATE);
	assert_true(row[0]->verbs & API_VERB_DELETE);
	for (unsigned i = 0; i < n; i++)
		api_resource_unref(row[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structural), cmocka_unit_test(keywords),   cmocka_unit_test(topology), cmocka_unit_test(defaults),
		cmocka_unit_test(too_deep),   cmocka_unit_test(selectable), cmocka_unit_test(names),	cmocka_unit_test(approval),
		cmocka_unit_test(rows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
