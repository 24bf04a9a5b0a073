/* The pure parts of kubectl: flags, discovery, columns, patches of custom resources, the words of a rollout. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front/private.h"
/* Two files with a `run` and the like of their own: the first one's are given other names here. */
#define one apply_one_target
#define query apply_query
#include "front/apply.c"
#undef one
#undef query
#include "front/rollout.c"

static struct json tree(struct arena *a, const char *text)
{
	struct json v;
	auto_err struct err err = ERR_INIT;
	if (json_parse(a, span_of(text), 0, NULL, &v, &err) < 0)
		fail_msg("%s: %s", text, err_msg(&err));
	return v;
}

/* ---- flags */

struct got {
	bool it, tty, wait;
	struct span ns, dry;
	struct front_words files;
	int64_t tail, timeout_ns;
};

static int parse(struct arena *a, struct got *g, struct front_args *args, struct err *err, int argc, const char **argv)
{
	const struct front_flag flags[] = {
		{ "stdin", 'i', FRONT_FLAG_BOOL, &g->it, NULL, "" },
		{ "tty", 't', FRONT_FLAG_BOOL, &g->tty, NULL, "" },
		{ "wait", 0, FRONT_FLAG_BOOL, &g->wait, NULL, "" },
		{ "dry-run", 0, FRONT_FLAG_TEXT, &g->dry, "unchanged", "" },
		{ "filename", 'f', FRONT_FLAG_LIST, &g->files, NULL, "" },
		{},
	};
	const struct front_flag global[] = {
		{ "namespace", 'n', FRONT_FLAG_TEXT, &g->ns, NULL, "" },
		{ "tail", 0, FRONT_FLAG_NUMBER, &g->tail, NULL, "" },
		{ "timeout", 0, FRONT_FLAG_DURATION, &g->timeout_ns, NULL, "" },
		{},
	};
	const struct front_flag *const tables[] = { flags, global };
	return front_args_parse(a, tables, 2, argc, (char **)argv, args, err);
}

static void test_args(void **state)
{
	auto_arena struct arena a = {};
	struct got g = { .wait = true };
	struct front_args args;
	const char *argv[] = { "-it", "web", "-nkube-system", "--wait=false", "--dry-run", "-f", "a,b", "-f=c", "--tail", "-5",
			       "--timeout=1m30s", "--", "ls", "-l" };
	assert_int_equal(parse(&a, &g, &args, NULL, ARRAY_LEN(argv), argv), 0);
	assert_true(g.it && g.tty && !g.wait);
	assert_true(span_is(g.ns, "kube-system"));
	assert_true(span_is(g.dry, "unchanged"));
	assert_int_equal(g.files.n, 3);
	assert_true(span_is(g.files.items[2], "c"));
	assert_int_equal(g.tail, -5);
	assert_int_equal(g.timeout_ns, INT64_C(90000000000));
	assert_int_equal(args.words.n, 3);
	assert_int_equal(args.dash, 1);
	assert_true(span_is(args.words.items[2], "-l"));
}

static void test_args_wrong(void **state)
{
	static const struct { const char *word, *says; } rows[] = {
		{ "--nope", "unknown flag: --nope" },
		{ "-ix", "unknown shorthand flag: 'x' in -x" },
		{ "--namespace", "flag needs an argument: --namespace" },
		{ "-n", "flag needs an argument: 'n' in -n" },
		{ "--tail=x", "invalid argument \"x\" for \"--tail\" flag: strconv.ParseInt: parsing \"x\": invalid syntax" },
		{ "--stdin=x", "invalid argument \"x\" for \"-i, --stdin\" flag: strconv.ParseBool: parsing \"x\": invalid syntax" },
		{ "--timeout=1y", "invalid argument \"1y\" for \"--timeout\" flag: time: unknown unit \"y\" in duration \"1y\"" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct got g = {};
		struct front_args args;
		const char *argv[] = { rows[i].word };
		assert_int_equal(parse(&a, &g, &args, &err, 1, argv), -ERR_USAGE);
		assert_string_equal(err_msg(&err), rows[i].says);
	}
}

/* ---- discovery */

static const char core[] =
	"{\"kind\":\"APIGroupDiscoveryList\",\"items\":[{\"metadata\":{},\"versions\":[{\"version\":\"v1\",\"resources\":["
	"{\"resource\":\"pods\",\"responseKind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Pod\"},\"scope\":\"Namespaced\","
	"\"singularResource\":\"pod\",\"verbs\":[\"get\",\"list\"],\"shortNames\":[\"po\"],\"categories\":[\"all\"]},"
	"{\"resource\":\"events\",\"responseKind\":{\"kind\":\"Event\"},\"scope\":\"Namespaced\",\"singularResource\":\"event\","
	"\"verbs\":[\"list\"],\"shortNames\":[\"ev\"]}]}]}]}";
static const char groups[] =
	"{\"kind\":\"APIGroupDiscoveryList\",\"items\":[{\"metadata\":{\"name\":\"example.com\"},\"versions\":["
	"{\"version\":\"v2\",\"resources\":[{\"resource\":\"shops\",\"responseKind\":{\"kind\":\"Shop\"},\"scope\":\"Cluster\","
	"\"singularResource\":\"shop\",\"verbs\":[\"get\"],\"shortNames\":[\"pods\"]}]},"
	"{\"version\":\"v1\",\"resources\":[{\"resource\":\"shops\",\"responseKind\":{\"kind\":\"Shop\"},\"scope\":\"Cluster\","
	"\"singularResource\":\"shop\",\"verbs\":[\"get\"]}]}]},{\"metadata\":{\"name\":\"events.k8s.io\"},\"versions\":["
	"{\"version\":\"v1\",\"resources\":[{\"resource\":\"events\",\"responseKind\":{\"kind\":\"Event\"},\"scope\":\"Namespaced\","
	"\"singularResource\":\"event\",\"verbs\":[\"list\"]}]}]}]}";

static void test_discovery(void **state)
{
	static const struct { const char *word, *group, *version, *plural; } rows[] = {
		{ "pods", "", "v1", "pods" }, { "po", "", "v1", "pods" }, { "Pod", "", "v1", "pods" }, { "pods.v1.", "", "v1", "pods" },
		{ "events", "", "v1", "events" }, { "events.events.k8s.io", "events.k8s.io", "v1", "events" },
		{ "shop", "example.com", "v2", "shops" }, { "shops.v1.example.com", "example.com", "v1", "shops" },
		{ "shops.example.com", "example.com", "v2", "shops" },
	};
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf word = {};
	struct front_discovery d = {};
	const struct front_resource *r;
	struct json one = tree(&a, core), two = tree(&a, groups);
	assert_int_equal(front_discovery_add(&d, &a, &one, NULL), 0);
	assert_int_equal(front_discovery_add(&d, &a, &two, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (front_discovery_find(&d, span_of(rows[i].word), &r, NULL) < 0)
			fail_msg("%s was not found", rows[i].word);
		if (!span_is(r->group, rows[i].group) || !span_is(r->version, rows[i].version) || !span_is(r->plural, rows[i].plural))
			fail_msg("%s gives %.*s %.*s %.*s", rows[i].word, SPAN_ARG(r->group), SPAN_ARG(r->version), SPAN_ARG(r->plural));
	}
	assert_int_equal(front_discovery_find(&d, SPAN("foo"), &r, &err), -ERR_NOT_FOUND);
	assert_string_equal(err_msg(&err), "the server doesn't have a resource type \"foo\"");
	r = front_discovery_kind(&d, SPAN("example.com/v1"), SPAN("Shop"));
	assert_non_null(r);
	assert_false(r->namespaced || r->preferred);
	front_resource_word(&word, r);
	assert_string_equal(buf_cstr(&word), "shop.example.com");
	assert_null(front_discovery_kind(&d, SPAN("v1"), SPAN("Shop")));
	assert_true(front_resource_can(&d.rows[0], "list") && !front_resource_can(&d.rows[0], "watch"));
	front_discovery_done(&d);
}

/* ---- columns */

static const char table_text[] =
	"{\"kind\":\"Table\",\"columnDefinitions\":[{\"name\":\"Name\",\"priority\":0},{\"name\":\"Ready\",\"priority\":0},"
	"{\"name\":\"Age\",\"priority\":0},{\"name\":\"Node\",\"priority\":1}],\"rows\":["
	"{\"cells\":[\"web-1\",\"1/1\",\"2d\",\"n1\"],\"object\":{\"metadata\":{\"namespace\":\"shop\",\"labels\":{\"app\":\"web\"}}}},"
	"{\"cells\":[\"a-much-longer-name\",0,null,\"two\\nlines\"],\"object\":{\"metadata\":{\"namespace\":\"x\"}}}]}";

static void print_is(const struct front_table *t, struct front_columns *c, const char *want)
{
	auto_buf struct buf out = {};
	assert_int_equal(front_table_print(t, c, NULL), 0);
	front_columns_flush(c, &out);
	assert_string_equal(buf_cstr(&out), want);
}

static void test_table(void **state)
{
	auto_arena struct arena a = {};
	struct json table = tree(&a, table_text), later = tree(&a, "{\"kind\":\"Table\",\"columnDefinitions\":null,\"rows\":[{\"cells\":"
			"[\"b\",\"1/1\",\"1s\",\"n\"]}]}"), empty = tree(&a, "{\"kind\":\"Table\",\"columnDefinitions\":[],\"rows\":[]}");
	struct front_columns c = {};
	struct front_table t = { .table = &table };
	print_is(&t, &c, "NAME                 READY   AGE\n"
			 "web-1                1/1     2d\n"
			 "a-much-longer-name   0       \n");
	/* A watch: no header, the widths of before. */
	print_is(&(struct front_table){ .table = &later, .columns = json_getl(&table, "columnDefinitions"), .flags = FRONT_TABLE_NO_HEADERS },
		 &c, "b                    1/1     1s\n");
	print_is(&(struct front_table){ .table = &empty }, &c, "");
	front_columns_forget(&c);
	t.flags = FRONT_TABLE_WIDE | FRONT_TABLE_NAMESPACE | FRONT_TABLE_SHOW_LABELS;
	t.name_prefix = SPAN("pod/");
	print_is(&t, &c, "NAMESPACE   NAME                     READY   AGE   NODE     LABELS\n"
			 "shop        pod/web-1                1/1     2d    n1       app=web\n"
			 "x           pod/a-much-longer-name   0             two...   <none>\n");
	front_columns_done(&c);
}

static void test_cells_do_not_steer(void **state)
{
	struct front_columns c = {};
	auto_buf struct buf out = {};
	front_columns_cell(&c, SPAN("\x1b[2J\x1f"), false);
	front_columns_cell(&c, SPAN("z\xc3\xbc"), true);
	front_columns_flush(&c, &out);
	assert_string_equal(buf_cstr(&out), "^[[2J^_   z\xc3\xbc\n");
	front_columns_done(&c);
}

/* ---- apply, rollout */

static void test_last_applied(void **state)
{
	auto_arena struct arena a = {};
	struct json object = tree(&a, "{\"metadata\":{\"name\":\"x\"},\"kind\":\"A\"}"), made = with_last_applied(&a, &object);
	struct span text = json_span(json_get(json_path(&made, "metadata", "annotations", NULL), SPAN(LAST_APPLIED)));
	assert_string_equal(arena_cstr(&a, text), "{\"kind\":\"A\",\"metadata\":{\"annotations\":{},\"name\":\"x\"}}\n");
	assert_null(json_path(&object, "metadata", "annotations", NULL));
}

static void test_merge_three(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf out = {};
	struct json was = tree(&a, "{\"a\":1,\"gone\":{\"x\":1},\"in\":{\"k\":1,\"old\":2}}"), patch;
	struct json file = tree(&a, "{\"a\":2,\"in\":{\"k\":1},\"new\":[1]}");
	struct json live = tree(&a, "{\"a\":1,\"gone\":{\"x\":1},\"in\":{\"k\":1,\"old\":2,\"others\":3},\"mine\":true}");
	assert_true(merge_three(&a, &was, &file, &live, &patch, 0));
	json_write(&out, &patch, JSON_SORTED);
	assert_string_equal(buf_cstr(&out), "{\"a\":2,\"gone\":null,\"in\":{\"old\":null},\"new\":[1]}");
	assert_false(merge_three(&a, &file, &file, &file, &patch, 0));
}

static void test_rollout_words(void **state)
{
	static const struct { const char *object, *says; bool done; } rows[] = {
		{ "{\"metadata\":{\"generation\":2},\"status\":{\"observedGeneration\":1}}",
		  "Waiting for deployment spec update to be observed...\n", false },
		{ "{\"spec\":{\"replicas\":3},\"status\":{\"updatedReplicas\":1}}",
		  "Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated...\n", false },
		{ "{\"spec\":{\"replicas\":3},\"status\":{\"updatedReplicas\":3,\"replicas\":4}}",
		  "Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination...\n", false },
		{ "{\"spec\":{\"replicas\":3},\"status\":{\"updatedReplicas\":3,\"replicas\":3,\"availableReplicas\":2}}",
		  "Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas are available...\n", false },
		{ "{\"spec\":{\"replicas\":3},\"status\":{\"updatedReplicas\":3,\"replicas\":3,\"availableReplicas\":3}}",
		  "deployment \"web\" successfully rolled out\n", true },
	};
	const struct front_resource r = { .group = SPAN("apps"), .plural = SPAN("deployments") };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf words = {};
		struct json o = tree(&a, rows[i].object);
		bool done;
		assert_int_equal(rollout_status(&r, &o, SPAN("web"), &words, &done, NULL), 0);
		assert_string_equal(buf_cstr(&words), rows[i].says);
		assert_int_equal(done, rows[i].done);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_args), cmocka_unit_test(test_args_wrong), cmocka_unit_test(test_discovery),
		cmocka_unit_test(test_table), cmocka_unit_test(test_cells_do_not_steer), cmocka_unit_test(test_last_applied),
		cmocka_unit_test(test_merge_three), cmocka_unit_test(test_rollout_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
