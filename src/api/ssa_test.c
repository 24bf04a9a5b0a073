#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/codec.h"
#include "api/ssa.h"
#include "json/parse_test.h"

static void same_text(const struct json *v, const char *want)
{
	auto_buf struct buf got = {};
	json_write(&got, v, 0);
	if (strcmp(buf_cstr(&got), want))
		fail_msg("\n got  %s\n want %s", buf_cstr(&got), want);
}

/* ---- field sets */
static void sets(void **state)
{
	(void)state;
	auto_arena struct arena a = {};
	const struct api_fieldset *x, *y;
	struct json vx = parse(&a, "{\"f:spec\":{\"f:replicas\":{},\"f:a\":{\".\":{},\"k:{\\\"b\\\":1,\\\"a\\\":\\\"x\\\"}\":{\".\":{},\"f:i\":{}},"
				   "\"v:\\\"s\\\"\":{},\"v:2\":{},\"v:10\":{},\"v:true\":{},\"i:1\":{}}},\"z:unknown\":{}}");
	struct json vy = parse(&a, "{\"f:spec\":{\"f:a\":{\"v:2\":{},\"v:3\":{}}},\"f:meta\":{}}");
	assert_int_equal(api_fieldset_parse(&a, &vx, &x, NULL), 0);
	assert_int_equal(api_fieldset_parse(&a, &vy, &y, NULL), 0);
	struct json out = api_fieldset_json(&a, x);
	same_text(&out, "{\"f:spec\":{\"f:a\":{\".\":{},\"k:{\\\"a\\\":\\\"x\\\",\\\"b\\\":1}\":{\".\":{},\"f:i\":{}},\"v:2\":{},\"v:10\":{},"
			"\"v:\\\"s\\\"\":{},\"v:true\":{},\"i:1\":{}},\"f:replicas\":{}}}");
	out = api_fieldset_json(&a, api_fieldset_union(&a, x, y));
	same_text(&out, "{\"f:meta\":{},\"f:spec\":{\"f:a\":{\".\":{},\"k:{\\\"a\\\":\\\"x\\\",\\\"b\\\":1}\":{\".\":{},\"f:i\":{}},\"v:2\":{},"
			"\"v:3\":{},\"v:10\":{},\"v:\\\"s\\\"\":{},\"v:true\":{},\"i:1\":{}},\"f:replicas\":{}}}");
	out = api_fieldset_json(&a, api_fieldset_intersection(&a, x, y));
	same_text(&out, "{\"f:spec\":{\"f:a\":{\"v:2\":{}}}}");
	out = api_fieldset_json(&a, api_fieldset_difference(&a, y, x, false));
	same_text(&out, "{\"f:meta\":{},\"f:spec\":{\"f:a\":{\"v:3\":{}}}}");
	assert_int_equal(api_fieldset_size(x), 9);
	auto_err struct err err = ERR_INIT;
	static const char *const broken[] = { "{\"f\":{}}", "{\"fx:a\":{}}", "{\"v:{\":{}}", "{\"i:x\":{}}", "{\"k:1\":{}}", "[]" };
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		struct json v = parse(&a, broken[i]);
		assert_int_equal(api_fieldset_parse(&a, &v, &x, &err) < 0, 1);
	}
}

/* ---- the life of an object */
struct life {
	struct arena a;
	struct api_ssa s;
	struct json live;
	bool exists;
};

static void life_begin(struct life *l, const char *type, const char *version, const char *kind)
{
	*l = (struct life){ .s = { .type = api_type_find(span_of(type)), .api_version = span_of(version), .kind = span_of(kind),
				   .now_unix_s = 1000000000 } };
	assert_non_null(l->s.type);
}

static void settle(struct life *l, struct json *object)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf stored = {};
	*object = json_copy(&l->a, object);
	if (api_decode_tree(&l->a, l->s.type, object, NULL, &err) < 0)
		fail_msg("%s", err_msg(&err));
	api_encode_json(&stored, l->s.type, object, 0);
	if (api_decode_json(&l->a, l->s.type, arena_span(&l->a, buf_span(&stored)), NULL, object, &err) < 0)
		fail_msg("%s", err_msg(&err));
	struct json *metadata = json_getl(object, "metadata");
	json_setl(&l->a, metadata, "uid", json_cstr("u1"));
	l->live = *object;
	l->exists = true;
	l->s.now_unix_s++;
}

static void update(struct life *l, const char *manager, const char *text)
{
	struct json object = parse(&l->a, text);
	api_ssa_update(&l->a, &l->s, l->exists ? &l->live : NULL, &object, span_of(manager));
	settle(l, &object);
}

static void apply(struct life *l, const char *manager, bool force, const char *text, const char *want_error)
{
	struct json patch = parse(&l->a, text), out;
	auto_err struct err err = ERR_INIT;
	int rc = api_ssa_apply(&l->a, &l->s, l->exists ? &l->live : NULL, &patch, span_of(manager), force, &out, &err);
	if (want_error) {
		if (rc >= 0 || strcmp(err_msg(&err), want_error))
			fail_msg("\n got  %d %s\n want %s", rc, err_msg(&err), want_error);
		return;
	}
	if (rc < 0)
		fail_msg("%s: %s", text, err_msg(&err));
	settle(l, &out);
}

/* "manager/Apply {fields}; ..." */
static void owns(struct life *l, const char *want)
{
	auto_buf struct buf got = {};
	const struct json *list = json_getl(json_getl(&l->live, "metadata"), "managedFields");
	JSON_EACH_ITEM(list, e) {
		struct span sub = json_span(json_getl(e, "subresource"));
		buf_printf(&got, "%s%.*s/%.*s%s%.*s ", got.len ? "; " : "", SPAN_ARG(json_span(json_getl(e, "manager"))),
			   SPAN_ARG(json_span(json_getl(e, "operation"))), sub.len ? "/" : "", SPAN_ARG(sub));
		json_write(&got, json_getl(e, "fieldsV1"), 0);
	}
	if (strcmp(buf_cstr(&got), want))
		fail_msg("\n got  %s\n want %s", buf_cstr(&got), want);
}

static void spec_is(struct life *l, const char *member, const char *want)
{
	const struct json *v = json_get(&l->live, span_of(member));
	auto_buf struct buf got = {};
	if (v)
		json_write(&got, v, JSON_SORTED);
	if (strcmp(buf_cstr(&got), want))
		fail_msg("\n got  %s\n want %s", buf_cstr(&got), want);
}

#define CM "\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\",\"namespace\":\"d\"}"

static void config_map(void **state)
{
	(void)state;
	struct life l;
	life_begin(&l, "core/v1.ConfigMap", "v1", "ConfigMap");
	update(&l, "kubectl-create", "{" CM ",\"data\":{\"a\":\"1\",\"b\":\"2\"}}");
	owns(&l, "kubectl-create/Update {\"f:data\":{\".\":{},\"f:a\":{},\"f:b\":{}}}");
	/* the same value is no conflict: both own it */
	apply(&l, "one", false, "{" CM ",\"data\":{\"a\":\"1\",\"c\":\"3\"}}", NULL);
	spec_is(&l, "data", "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}");
	owns(&l, "one/Apply {\"f:data\":{\"f:a\":{},\"f:c\":{}}}; kubectl-create/Update {\"f:data\":{\".\":{},\"f:a\":{},\"f:b\":{}}}");
	apply(&l, "two", false, "{" CM ",\"data\":{\"a\":\"9\"}}",
	      "Apply failed with 2 conflicts: conflicts with \"kubectl-create\" using v1:\n- .data.a\nconflicts with \"one\":\n- .data.a");
	apply(&l, "two", true, "{" CM ",\"data\":{\"a\":\"9\"}}", NULL);
	owns(&l, "one/Apply {\"f:data\":{\"f:c\":{}}}; two/Apply {\"f:data\":{\"f:a\":{}}}; "
		 "kubectl-create/Update {\"f:data\":{\".\":{},\"f:b\":{}}}");
	/* what a manager applies no more goes, unless somebody else owns it */
	apply(&l, "two", false, "{" CM ",\"data\":{\"b\":\"2\"}}", NULL);
	spec_is(&l, "data", "{\"b\":\"2\",\"c\":\"3\"}");
	apply(&l, "two", false, "{" CM "}", NULL);
	spec_is(&l, "data", "{\"b\":\"2\",\"c\":\"3\"}");
	owns(&l, "one/Apply {\"f:data\":{\"f:c\":{}}}; kubectl-create/Update {\"f:data\":{\".\":{},\"f:b\":{}}}");
	/* a write by somebody else takes over what it changed */
	update(&l, "edit", "{" CM ",\"data\":{\"b\":\"2\",\"c\":\"4\"}}");
	owns(&l, "kubectl-create/Update {\"f:data\":{\".\":{},\"f:b\":{}}}; edit/Update {\"f:data\":{\"f:c\":{}}}");
	apply(&l, "one", false, "{" CM ",\"data\":{\"c\":\"3\"}}",
	      "Apply failed with 1 conflict: conflict with \"edit\" using v1: .data.c");
	arena_done(&l.a);
}

#define DEP "\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"w\",\"namespace\":\"d\"}"
#define SELECT "\"selector\":{\"matchLabels\":{\"app\":\"w\"}},"
#define TEMPLATE(containers) "\"template\":{\"metadata\":{\"labels\":{\"app\":\"w\"}},\"spec\":{\"containers\":[" containers "]}}"

static void deployment(void **state)
{
	(void)state;
	struct life l;
	life_begin(&l, "apps/v1.Deployment", "apps/v1", "Deployment");
	apply(&l, "kubectl", false,
	      "{" DEP ",\"spec\":{\"replicas\":1," SELECT TEMPLATE(
		      "{\"name\":\"a\",\"image\":\"i\",\"ports\":[{\"containerPort\":80}]}") "}}", NULL);
	owns(&l, "kubectl/Apply {\"f:spec\":{\"f:replicas\":{},\"f:selector\":{},\"f:template\":{\"f:metadata\":{\"f:labels\":{\"f:app\":{}}},"
		 "\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"a\\\"}\":{\".\":{},\"f:image\":{},\"f:name\":{},\"f:ports\":{"
		 "\"k:{\\\"containerPort\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:containerPort\":{}}}}}}}}}");
	/* a second manager adds a container; the first one's apply does not touch it */
	apply(&l, "sidecar", false, "{" DEP ",\"spec\":{" TEMPLATE("{\"name\":\"s\",\"image\":\"j\"}") "}}", NULL);
	apply(&l, "kubectl", false, "{" DEP ",\"spec\":{\"replicas\":1," SELECT TEMPLATE("{\"name\":\"a\",\"image\":\"i2\"}") "}}", NULL);
	spec_is(&l, "spec",
		"{\"replicas\":1,\"selector\":{\"matchLabels\":{\"app\":\"w\"}},\"strategy\":{},\"template\":{\"metadata\":{\"labels\":"
		"{\"app\":\"w\"}},\"spec\":{\"containers\":[{\"image\":\"i2\",\"name\":\"a\",\"resources\":{}},{"
		"\"image\":\"j\",\"name\":\"s\",\"resources\":{}}]}}}");
	/* the scale sub-resource's manager */
	l.s.subresource = SPAN("scale");
	update(&l, "hpa",
	       "{" DEP ",\"spec\":{\"replicas\":5," SELECT TEMPLATE(
		       "{\"name\":\"a\",\"image\":\"i2\"},{\"name\":\"s\",\"image\":\"j\"}") "}}");
	l.s.subresource = SPAN_EMPTY;
	apply(&l, "kubectl", false, "{" DEP ",\"spec\":{\"replicas\":1," SELECT TEMPLATE("{\"name\":\"a\",\"image\":\"i2\"}") "}}",
	      "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas");
	/* giving replicas up keeps the other's value */
	apply(&l, "kubectl", false, "{" DEP ",\"spec\":{" SELECT TEMPLATE("{\"name\":\"a\",\"image\":\"i2\"}") "}}", NULL);
	assert_int_equal(json_i64(json_getl(json_getl(&l.live, "spec"), "replicas"), 0), 5);
	/* a container that nobody applies any more goes as a whole */
	apply(&l, "sidecar", false, "{" DEP "}", NULL);
	assert_int_equal(json_getl(json_getl(json_getl(json_getl(&l.live, "spec"), "template"), "spec"), "containers")->n, 1);
	arena_done(&l.a);
}

/* What a real server stores for `kubectl create deployment nginx --image=nginx` after defaulting. */
static void created(void **state)
{
	(void)state;
	struct life l;
	life_begin(&l, "apps/v1.Deployment", "apps/v1", "Deployment");
	update(&l, "kubectl-create",
	       "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"nginx\",\"namespace\":\"default\",\"uid\":\"x\","
	       "\"generation\":1,\"creationTimestamp\":\"2024-01-01T00:00:00Z\",\"labels\":{\"app\":\"nginx\"}},\"spec\":{\"replicas\":1,"
	       "\"selector\":{\"matchLabels\":{\"app\":\"nginx\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"nginx\"}},\"spec\":{"
	       "\"containers\":[{\"name\":\"nginx\",\"image\":\"nginx\",\"resources\":{},\"terminationMessagePath\":\"/dev/termination-log\","
	       "\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"Always\"}],\"restartPolicy\":\"Always\","
	       "\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":\"ClusterFirst\",\"securityContext\":{},\"schedulerName\":"
	       "\"default-scheduler\"}},\"strategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxUnavailable\":\"25%\",\"maxSurge\":"
	       "\"25%\"}},\"revisionHistoryLimit\":10,\"progressDeadlineSeconds\":600},\"status\":{}}");
	owns(&l, "kubectl-create/Update {\"f:metadata\":{\"f:labels\":{\".\":{},\"f:app\":{}}},\"f:spec\":{\"f:progressDeadlineSeconds\":{},"
		 "\"f:replicas\":{},\"f:revisionHistoryLimit\":{},\"f:selector\":{},\"f:strategy\":{\"f:rollingUpdate\":{\".\":{},"
		 "\"f:maxSurge\":{},\"f:maxUnavailable\":{}},\"f:type\":{}},\"f:template\":{\"f:metadata\":{\"f:labels\":{\".\":{},"
		 "\"f:app\":{}}},\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"nginx\\\"}\":{\".\":{},\"f:image\":{},"
		 "\"f:imagePullPolicy\":{},\"f:name\":{},\"f:resources\":{},\"f:terminationMessagePath\":{},"
		 "\"f:terminationMessagePolicy\":{}}},\"f:dnsPolicy\":{},\"f:restartPolicy\":{},\"f:schedulerName\":{},"
		 "\"f:securityContext\":{},\"f:terminationGracePeriodSeconds\":{}}}}}");
	arena_done(&l.a);
}

static void errors(void **state)
{
	(void)state;
	struct life l;
	life_begin(&l, "apps/v1.Deployment", "apps/v1", "Deployment");
	apply(&l, "k", false, "{" DEP ",\"spec\":{\"foo\":1}}",
	      "failed to create typed patch object (d/w; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema");
	apply(&l, "k", false, "{" DEP ",\"spec\":{" TEMPLATE("{\"name\":\"a\"},{\"name\":\"a\"}") "}}",
	      "failed to create typed patch object (d/w; apps/v1, Kind=Deployment): .spec.template.spec.containers: duplicate entries for "
	      "key [name=\"a\"]");
	apply(&l, "k", false, "{" DEP ",\"spec\":{" TEMPLATE("{\"image\":\"a\"}") "}}",
	      "failed to create typed patch object (d/w; apps/v1, Kind=Deployment): .spec.template.spec.containers: element 0: associative "
	      "list with keys has an element that omits key field \"name\" (and doesn't have default value)");
	apply(&l, "k", false, "{" DEP ",\"spec\":{\"replicas\":\"1\",\"x\":2}}",
	      "failed to create typed patch object (d/w; apps/v1, Kind=Deployment): errors:\n  .spec.replicas: expected numeric (int or "
	      "float), got string\n  .spec.x: field not declared in schema");
	apply(&l, "k", false, "{\"apiVersion\":\"v1\",\"kind\":\"Deployment\"}", "invalid object type: /v1, Kind=Deployment");
	apply(&l, "k", false, "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"managedFields\":[]}}",
	      "metadata.managedFields must be nil");
	struct err err = ERR_INIT;
	struct json bad = parse(&l.a, "[{\"operation\":\"Frob\",\"fieldsType\":\"V2\"},{\"operation\":\"Apply\"}]");
	assert_int_equal(api_ssa_validate(&bad, &err), 2);
	assert_string_equal(err.causes[0].field, "metadata.managedFields[0].operation");
	assert_string_equal(err.causes[0].message, "Invalid value: \"Frob\": must be `Apply` or `Update`");
	err_done(&err);
	arena_done(&l.a);
}

static void managers(void **state)
{
	(void)state;
	struct life l;
	life_begin(&l, "core/v1.ConfigMap", "v1", "ConfigMap");
	update(&l, "first", "{" CM ",\"data\":{\"k0\":\"v\"}}");
	auto_buf struct buf text = {};
	for (int i = 1; i <= 14; i++) { /* each writer adds a key */
		buf_trunc(&text, 0);
		buf_str(&text, "{" CM ",\"data\":{\"k0\":\"v\"");
		for (int k = 1; k <= i; k++)
			buf_printf(&text, ",\"k%d\":\"v\"", k);
		buf_str(&text, "}}");
		char name[16];
		snprintf(name, sizeof(name), "w%d", i);
		update(&l, name, buf_cstr(&text));
	}
	const struct json *list = json_getl(json_getl(&l.live, "metadata"), "managedFields");
	assert_int_equal(list->n, 10);
	assert_true(span_is(json_span(json_getl(&list->items[0], "manager")), "ancient-changes"));
	const struct api_fieldset *set;
	assert_int_equal(api_fieldset_parse(&l.a, json_getl(&list->items[0], "fieldsV1"), &set, NULL), 0);
	assert_int_equal(api_fieldset_size(set), 7); /* data and k0 to k5 */
	/* an empty list forgets them all */
	update(&l, "x", "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\",\"managedFields\":[]},\"data\":{\"k0\":\"v\"}}");
	assert_null(json_getl(json_getl(&l.live, "metadata"), "managedFields"));
	/* an object without managers: its fields get one at the first apply */
	apply(&l, "kubectl", false, "{" CM ",\"data\":{\"n\":\"1\"}}", NULL);
	owns(&l, "kubectl/Apply {\"f:data\":{\"f:n\":{}}}; before-first-apply/Update {\"f:data\":{\".\":{},\"f:k0\":{}}}");
	arena_done(&l.a);
}

/* kubectl apply without --server-side first, then with it. */
static void last_applied(void **state)
{
	(void)state;
	struct life l;
	life_begin(&l, "core/v1.ConfigMap", "v1", "ConfigMap");
	update(&l, "kubectl-client-side-apply",
	       "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\",\"namespace\":\"d\",\"annotations\":{"
	       "\"kubectl.kubernetes.io/last-applied-configuration\":\"{\\\"apiVersion\\\":\\\"v1\\\",\\\"kind\\\":\\\"ConfigMap\\\","
	       "\\\"data\\\":{\\\"a\\\":\\\"1\\\"}}\"}},\"data\":{\"a\":\"1\",\"b\":\"2\"}}");
	apply(&l, "other", false, "{" CM ",\"data\":{\"a\":\"3\"}}",
	      "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.a");
	apply(&l, "kubectl", false, "{" CM ",\"data\":{\"b\":\"3\"}}",
	      "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.b");
	apply(&l, "kubectl", false, "{" CM ",\"data\":{\"a\":\"3\"}}", NULL);
	spec_is(&l, "data", "{\"a\":\"3\",\"b\":\"2\"}");
	struct json want = json_str(json_span(json_get(json_getl(json_getl(&l.live, "metadata"), "annotations"),
						       SPAN("kubectl.kubernetes.io/last-applied-configuration"))));
	assert_true(span_is(json_span(&want), "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"3\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\","
					      "\"namespace\":\"d\"}}\n"));
	arena_done(&l.a);
}

/* A custom resource: its nodes come from api_types, the walks are the same. */
static void custom(void **state)
{
	(void)state;
	struct api_types *set = api_types_new();
	struct api_node_opts atomic = { .flags = API_TYPE_ATOMIC }, open = { .flags = API_TYPE_PRESERVE };
	struct api_node_opts tcp = { .default_json = SPAN("\"TCP\"") };
	const struct api_type *text = api_types_scalar(set, API_STRING, NULL);
	struct api_field_spec item_fields[] = { { .name = SPAN("port"), .type = api_types_scalar(set, API_INT64, NULL) },
						{ .name = SPAN("protocol"), .type = api_types_scalar(set, API_STRING, &tcp) },
						{ .name = SPAN("note"), .type = text } };
	const struct api_type *item = api_types_object(set, SPAN("Item"), item_fields, 3, NULL);
	static const struct span keys[] = { SPAN_INIT("port"), SPAN_INIT("protocol") };
	struct api_field_spec pair_fields[] = { { .name = SPAN("x"), .type = text }, { .name = SPAN("y"), .type = text } };
	struct api_field_spec spec_fields[] = {
		{ .name = SPAN("items"), .type = api_types_list(set, item, API_LIST_MAP, keys, 2, NULL) },
		{ .name = SPAN("tags"), .type = api_types_list(set, text, API_LIST_SET, NULL, 0, NULL) },
		{ .name = SPAN("plain"), .type = api_types_list(set, text, API_LIST_NONE, NULL, 0, NULL) },
		{ .name = SPAN("pair"), .type = api_types_object(set, SPAN("Pair"), pair_fields, 2, &atomic) },
		{ .name = SPAN("any"), .type = api_types_object(set, SPAN("Any"), NULL, 0, &open) },
	};
	struct api_field_spec top_fields[] = { { .name = SPAN("apiVersion"), .type = text },
					       { .name = SPAN("kind"), .type = text },
					       { .name = SPAN("metadata"), .type = api_type_find(SPAN("meta/v1.ObjectMeta")) },
					       { .name = SPAN("spec"), .type = api_types_object(set, SPAN("Spec"), spec_fields, 5, NULL) } };
	struct life l = { .s = { .type = api_types_object(set, SPAN("Thing"), top_fields, 4, NULL), .api_version = SPAN("x.io/v1"),
				 .kind = SPAN("Thing"), .now_unix_s = 1000000000 } };
#define THING(spec) "{\"apiVersion\":\"x.io/v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"t\"},\"spec\":{" spec "}}"
	apply(&l, "a", false,
	      THING("\"items\":[{\"port\":80,\"note\":\"n\"}],\"tags\":[\"p\",\"q\"],\"plain\":[\"1\"],\"pair\":{\"x\":\"1\"},"
		    "\"any\":{\"deep\":{\"er\":1},\"list\":[1]}"),
	      NULL);
	owns(&l, "a/Apply {\"f:spec\":{\"f:any\":{\"f:deep\":{\".\":{},\"f:er\":{}},\"f:list\":{}},\"f:items\":{"
		 "\"k:{\\\"port\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:note\":{},\"f:port\":{}}},\"f:pair\":{},"
		 "\"f:plain\":{},\"f:tags\":{\"v:\\\"p\\\"\":{},\"v:\\\"q\\\"\":{}}}}");
	/* items and members of others are side by side; atomic ones are one field */
	apply(&l, "b", false, THING("\"items\":[{\"port\":80,\"protocol\":\"UDP\"}],\"tags\":[\"r\"],\"any\":{\"deep\":{\"b\":2}}"), NULL);
	spec_is(&l, "spec",
		"{\"any\":{\"deep\":{\"b\":2,\"er\":1},\"list\":[1]},\"items\":[{\"note\":\"n\",\"port\":80},{\"port\":80,"
		"\"protocol\":\"UDP\"}],\"pair\":{\"x\":\"1\"},\"plain\":[\"1\"],\"tags\":[\"p\",\"q\",\"r\"]}");
	apply(&l, "b", false, THING("\"pair\":{\"y\":\"2\"},\"plain\":[\"1\",\"2\"]"),
	      "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.pair\n- .spec.plain");
	apply(&l, "b", true, THING("\"pair\":{\"y\":\"2\"}"), NULL);
	spec_is(&l, "spec",
		"{\"any\":{\"deep\":{\"er\":1},\"list\":[1]},\"items\":[{\"note\":\"n\",\"port\":80}],\"pair\":{\"y\":\"2\"},"
		"\"plain\":[\"1\"],\"tags\":[\"p\",\"q\"]}");
	apply(&l, "a", false, THING("\"tags\":[\"p\",\"p\"]"),
	      "failed to create typed patch object (/t; x.io/v1, Kind=Thing): .spec.tags: duplicate entries for key [=\"p\"]");
	arena_done(&l.a);
	api_types_unref(set);
}

static void upgrade(void **state)
{
	(void)state;
	struct life l;
	life_begin(&l, "core/v1.ConfigMap", "v1", "ConfigMap");
	update(&l, "kubectl-client-side-apply", "{" CM ",\"data\":{\"a\":\"1\"}}");
	update(&l, "other", "{" CM ",\"data\":{\"a\":\"1\",\"b\":\"2\"}}");
	assert_false(api_ssa_upgrade(&l.a, &l.s, &l.live, SPAN("nobody"), SPAN("kubectl")));
	assert_true(api_ssa_upgrade(&l.a, &l.s, &l.live, SPAN("kubectl-client-side-apply"), SPAN("kubectl")));
	owns(&l, "kubectl/Apply {\"f:data\":{\".\":{},\"f:a\":{}}}; other/Update {\"f:data\":{\"f:b\":{}}}");
	update(&l, "kubectl-client-side-apply", "{" CM ",\"data\":{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}}");
	assert_true(api_ssa_upgrade(&l.a, &l.s, &l.live, SPAN("kubectl-client-side-apply"), SPAN("kubectl")));
	owns(&l, "kubectl/Apply {\"f:data\":{\".\":{},\"f:a\":{},\"f:c\":{}}}; other/Update {\"f:data\":{\"f:b\":{}}}");
	/* now what it no longer applies goes */
	apply(&l, "kubectl", false, "{" CM ",\"data\":{\"a\":\"1\"}}", NULL);
	spec_is(&l, "data", "{\"a\":\"1\",\"b\":\"2\"}");
	arena_done(&l.a);
}

/* Lists keep live's order, with applied's items in applied's order. */
static void list_order(void **state)
{
	(void)state;
	static const struct {
		const char *live, *patch, *out;
	} rows[] = {
		{ "a b c", "c a", "b c a" }, { "a b c", "d b", "a d b c" }, { "a b", "c", "a b c" }, { "a b c", "a b c", "a b c" },
		{ "", "x y", "x y" },        { "a b c d", "d b", "a c d b" }, { "a b c", "b x", "a b c x" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct life l;
		life_begin(&l, "core/v1.ConfigMap", "v1", "ConfigMap");
		auto_buf struct buf got = {};
		struct buf texts[2] = {};
		for (int k = 0; k < 2; k++) {
			struct span rest = span_of(k ? rows[i].patch : rows[i].live), name;
			buf_str(&texts[k], "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\",\"finalizers\":[");
			for (bool first = true; span_cut(&rest, ' ', &name); first = false)
				buf_printf(&texts[k], "%s\"%.*s\"", first ? "" : ",", SPAN_ARG(name));
			buf_str(&texts[k], "]}}");
		}
		update(&l, "u", buf_cstr(&texts[0]));
		apply(&l, "k", false, buf_cstr(&texts[1]), NULL);
		const struct json *list = json_getl(json_getl(&l.live, "metadata"), "finalizers");
		JSON_EACH_ITEM(list, item)
			buf_printf(&got, "%s%.*s", got.len ? " " : "", SPAN_ARG(json_span(item)));
		if (strcmp(buf_cstr(&got), rows[i].out))
			fail_msg("%s + %s: got %s, want %s", rows[i].live, rows[i].patch, buf_cstr(&got), rows[i].out);
		arena_done(&l.a);
		buf_done(&texts[0]);
		buf_done(&texts[1]);
	}
}

/* An apply of {} where there is nothing counts as a change, as upstream: its time is new, which the server then ignores. */
static void times_drop(struct json *object)
{
	JSON_EACH_ITEM(json_getl(json_getl(object, "metadata"), "managedFields"), e)
		json_remove(e, SPAN("time"));
}

/* Random configurations: applying twice is a no-op, disjoint managers never conflict, the last applier's fields are there. */
static void invariants(void **state)
{
	(void)state;
	struct rng rng;
	rng_init(&rng, 11);
	for (int round = 0; round < 300; round++) {
		struct life l;
		life_begin(&l, "core/v1.ConfigMap", "v1", "ConfigMap");
		for (int step = 0; step < 6; step++) {
			int who = (int)rng_below(&rng, 3);
			auto_buf struct buf text = {};
			/* Never an empty data: its owner then conflicts with whoever adds the first key, upstream too. */
			buf_printf(&text, "{" CM ",\"data\":{\"m%d\":\"\"", who);
			for (int k = 0; k < 4; k++)
				if (rng_below(&rng, 2))
					buf_printf(&text, ",\"m%dk%d\":\"%d\"", who, k, (int)rng_below(&rng, 3));
			buf_str(&text, "}}");
			char name[8];
			snprintf(name, sizeof(name), "m%d", who);
			apply(&l, name, false, buf_cstr(&text), NULL);
			struct json once = json_copy(&l.a, &l.live);
			times_drop(&once);
			apply(&l, name, false, buf_cstr(&text), NULL);
			times_drop(&l.live);
			if (!json_equal(&once, &l.live)) {
				auto_buf struct buf x = {}, y = {};
				json_write(&x, &once, 0);
				json_write(&y, &l.live, 0);
				fail_msg("applying %s twice:\n once  %s\n twice %s", buf_cstr(&text), buf_cstr(&x), buf_cstr(&y));
			}
			struct json patch = parse(&l.a, buf_cstr(&text));
			JSON_EACH_MEMBER(json_getl(&patch, "data"), m)
				assert_true(json_equal(&m->value, json_get(json_getl(&l.live, "data"), json_key(m))));
		}
		arena_done(&l.a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets),         cmocka_unit_test(config_map), cmocka_unit_test(deployment), cmocka_unit_test(errors),
		cmocka_unit_test(managers),     cmocka_unit_test(last_applied), cmocka_unit_test(list_order), cmocka_unit_test(invariants),
		cmocka_unit_test(custom),       cmocka_unit_test(upgrade),    cmocka_unit_test(created),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
