/* The pure parts, by tables. */
#include "controllers/csr_plan.h"
#include "controllers/deployment_plan.h"
#include "controllers/discovery.h"
#include "controllers/disruption_plan.h"
#include "controllers/endpoints_plan.h"
#include "controllers/gc.h"
#include "controllers/job_plan.h"
#include "controllers/node_plan.h"
#include "controllers/replicaset_plan.h"
#include "json/parse_test.h"

#define same_json(what, got, want)                                                                                     \
	do {                                                                                                           \
		auto_buf struct buf got_ = {}, want_ = {};                                                             \
		struct json want_tree_ = parse(&a, want);                                                              \
		json_write(&got_, got, JSON_SORTED);                                                                   \
		json_write(&want_, &want_tree_, JSON_SORTED);                                                          \
		if (!span_eq(buf_span(&got_), buf_span(&want_)))                                                       \
			fail_msg("%s\n got: %s\nwant: %s", what, buf_cstr(&got_), buf_cstr(&want_));                    \
	} while (0)

static void differences_are_merge_patches(void **state)
{
	static const char *const rows[][3] = {
		{ "{}", "{}", NULL },
		{ "{'a':1,'b':[1]}", "{'a':1,'b':[1]}", NULL },
		{ "{'a':1}", "{'a':2}", "{'a':2}" },
		{ "{'a':1,'b':2}", "{'a':1}", "{'b':null}" },
		{ "{'a':{'x':1,'y':2}}", "{'a':{'x':1}}", "{'a':{'y':null}}" },
		{ "{'a':[1,2]}", "{'a':[1]}", "{'a':[1]}" },
		{ "{}", "{'a':{'b':{}}}", "{'a':{'b':{}}}" },
		{ "{'a':1}", "{'a':{'b':1}}", "{'a':{'b':1}}" },
		{ "{'a':{'b':1}}", "{'a':{}}", "{'a':{'b':null}}" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json from = parse(&a, rows[i][0]), to = parse(&a, rows[i][1]), got;
		bool differs = tree_diff(&a, &from, &to, &got);
		if (differs != (rows[i][2] != NULL))
			fail_msg("%s -> %s: differs is %d", rows[i][0], rows[i][1], differs);
		if (differs)
			same_json(rows[i][1], &got, rows[i][2]);
	}
}

static void conditions_keep_their_time(void **state)
{
	auto_arena struct arena a = {};
	struct json list = json_array();
	assert_true(tree_condition(&a, &list, "A", "True", "Why", SPAN("words"), 1000, NULL));
	assert_false(tree_condition(&a, &list, "A", "True", "Why", SPAN("words"), 2000, NULL));
	assert_true(tree_condition(&a, &list, "A", "True", "Other", SPAN("words"), 2000, NULL));
	same_json("same status", &list, "[{'type':'A','status':'True','lastTransitionTime':'1970-01-01T00:16:40Z','reason':'Other','message':'words'}]");
	assert_true(tree_condition(&a, &list, "A", "False", "Other", SPAN("words"), 3000, "lastUpdateTime"));
	same_json("other status", &list, "[{'type':'A','status':'False','lastUpdateTime':'1970-01-01T00:50:00Z','lastTransitionTime':"
		  "'1970-01-01T00:50:00Z','reason':'Other','message':'words'}]");
}

static void claims(void **state)
{
	static const struct {
		const char *owner;
		bool owner_deleting, object_deleting, matches;
		enum claim want;
	} rows[] = {
		{ "me", false, false, true, CLAIM_MINE },   { "me", false, false, false, CLAIM_RELEASE },
		{ "me", true, false, true, CLAIM_MINE },    { "me", true, false, false, CLAIM_NOT },
		{ "other", false, false, true, CLAIM_NOT }, { "", false, false, true, CLAIM_ADOPT },
		{ "", false, false, false, CLAIM_NOT },	    { "", true, false, true, CLAIM_NOT },
		{ "", false, true, true, CLAIM_NOT },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct row r = { .owner_uid = span_of(rows[i].owner) };
		enum claim got = claim_of(&r, SPAN("me"), rows[i].owner_deleting, rows[i].object_deleting, rows[i].matches);
		if (got != rows[i].want)
			fail_msg("row %zu: got %d, want %d", i, got, rows[i].want);
	}
}

static void deletions_are_ranked(void **state)
{
	enum { NOW = 100000 };
	/* In the order in which they must go; each differs from the next in one thing. */
	static const struct {
		struct row row;
		unsigned rank;
	} rows[] = {
		{ { .phase = POD_PENDING }, 0 },
		{ { .node = SPAN_INIT("n"), .phase = POD_PENDING }, 0 },
		{ { .node = SPAN_INIT("n"), .phase = POD_UNKNOWN }, 0 },
		{ { .node = SPAN_INIT("n"), .phase = POD_RUNNING, .restarts = 2, .created_s = 10 }, 0 },
		{ { .node = SPAN_INIT("n"), .phase = POD_RUNNING, .created_s = NOW - 10 }, 0 },
		{ { .node = SPAN_INIT("n"), .phase = POD_RUNNING, .created_s = 10 }, 0 },
		{ { .node = SPAN_INIT("n"), .phase = POD_RUNNING, .ready = true, .ready_s = 10, .deletion_cost = -5 }, 0 },
		{ { .node = SPAN_INIT("n"), .phase = POD_RUNNING, .ready = true, .ready_s = 10 }, 3 },
		{ { .node = SPAN_INIT("n"), .phase = POD_RUNNING, .ready = true, .ready_s = 10 }, 2 },
		{ { .node = SPAN_INIT("n"), .phase = POD_RUNNING, .ready = true, .ready_s = NOW - 20 }, 1 },
		{ { .node = SPAN_INIT("n"), .phase = POD_RUNNING, .ready = true, .ready_s = NOW - 2000 }, 1 },
		{ { .node = SPAN_INIT("n"), .phase = POD_RUNNING, .ready = true, .ready_s = NOW - 2000, .deletion_cost = 7 }, 9 },
	};
	static const char *const uids = "abcdefghijkl";
	for (unsigned turn = 0; turn < ARRAY_LEN(rows); turn++) {
		struct rs_pod pods[ARRAY_LEN(rows)];
		for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
			unsigned from = (i * 5 + turn) % ARRAY_LEN(rows);
			pods[i] = (struct rs_pod){ .row = &rows[from].row, .rank = rows[from].rank, .uid = { uids + from, 1 } };
		}
		rs_rank_deletions(pods, ARRAY_LEN(rows), NOW);
		for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
			if (pods[i].row != &rows[i].row)
				fail_msg("turn %u, place %u: got row %td", turn, i,
					 ((const char *)pods[i].row - (const char *)&rows[0].row) / (ptrdiff_t)sizeof(rows[0]));
	}
}

static void differences_are_bounded(void **state)
{
	assert_int_equal(rs_difference(3, 1), 2);
	assert_int_equal(rs_difference(1, 3), -2);
	assert_int_equal(rs_difference(2000, 0), 500);
	assert_int_equal(rs_difference(0, 2000), -500);
	assert_int_equal(rs_difference(INT32_MAX, 0), 500);
}

static void columns(void **state)
{
	auto_arena struct arena a = {};
	struct json pod = parse(&a, "{'metadata':{'name':'p','labels':{'b':'2','a':'1'},'creationTimestamp':'1970-01-01T00:16:40Z','annotations':"
				    "{'controller.kubernetes.io/pod-deletion-cost':'-7'},'ownerReferences':[{'kind':'X','uid':'0'},{'kind':'ReplicaSet',"
				    "'name':'rs','uid':'u1','controller':true}]},'spec':{'nodeName':'n1'},'status':{'phase':'Running','conditions':[{'type':"
				    "'Ready','status':'True','lastTransitionTime':'1970-01-01T00:33:20Z'}],'containerStatuses':[{'restartCount':2},"
				    "{'restartCount':5}]}}");
	auto_free struct row *r = row_new(CM_PODS, &pod);
	assert_true(span_is(r->owner_uid, "u1") && span_is(r->owner_kind, "ReplicaSet") && span_is(r->owner_name, "rs"));
	assert_true(span_is(r->node, "n1") && r->phase == POD_RUNNING && r->ready && row_active(r));
	assert_int_equal(r->labels.n, 2);
	assert_true(span_is(r->labels.items[0].key, "a") && span_is(r->labels.items[1].value, "2"));
	assert_int_equal(r->created_s, 1000);
	assert_int_equal(r->ready_s, 2000);
	assert_int_equal(r->restarts, 5);
	assert_int_equal(r->deletion_cost, -7);
	assert_true(row_available(r, 0, 2000));
	assert_false(row_available(r, 10, 2009));
	assert_true(row_available(r, 10, 2010));
}

static void verdicts(void **state)
{
	static const struct {
		enum gc_owner owners[3];
		unsigned n;
		bool dependents, circle;
		enum gc_verdict want;
	} rows[] = {
		{ { GC_SOLID }, 0, true, false, GC_KEEP },	   { { GC_SOLID }, 1, true, false, GC_KEEP },
		{ { GC_SOLID, GC_DANGLING }, 2, false, false, GC_DROP_REFS }, { { GC_WAITING, GC_SOLID, GC_DANGLING }, 3, true, true, GC_DROP_REFS },
		{ { GC_DANGLING }, 1, true, false, GC_DELETE },	   { { GC_DANGLING, GC_DANGLING }, 2, false, false, GC_DELETE },
		{ { GC_WAITING }, 1, false, false, GC_DELETE },	   { { GC_WAITING }, 1, true, false, GC_DELETE_FOREGROUND },
		{ { GC_WAITING, GC_DANGLING }, 2, true, true, GC_UNBLOCK_FOREGROUND },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		enum gc_verdict got = gc_verdict_of(rows[i].owners, rows[i].n, rows[i].dependents, rows[i].circle);
		if (got != rows[i].want)
			fail_msg("row %zu: got %d, want %d", i, got, rows[i].want);
	}
}

static void discovery_takes_the_best_version(void **state)
{
	auto_arena struct arena a = {};
	struct served_list l = { .whole = true };
	struct json list = parse(&a, "{'items':[{'metadata':{'name':'g.io'},'versions':[{'version':'v2','resources':[{'resource':'xs','responseKind':"
				     "{'kind':'X'},'scope':'Namespaced','verbs':['delete','list','watch','get']}]},{'version':'v1','resources':["
				     "{'resource':'xs','responseKind':{'kind':'X'},'scope':'Namespaced','verbs':['list']},{'resource':'ys','responseKind':"
				     "{'kind':'Y'},'scope':'Cluster','verbs':['deletecollection']}]}]},{'metadata':{'name':'h'},'versions':[{'version':'v1',"
				     "'freshness':'Stale'}]}]}");
	discovery_read(&l, &list);
	assert_int_equal(l.n, 2);
	assert_true(span_is(l.items[0].key, "g.io/xs") && span_is(l.items[0].kind.version, "v2") && l.items[0].kind.namespaced);
	assert_int_equal(l.items[0].verbs, SERVES_DELETE | SERVES_LIST | SERVES_WATCH);
	assert_true(span_is(l.items[1].name, "Y") && span_is(l.items[1].kind.version, "v1") && !l.items[1].kind.namespaced);
	assert_false(l.whole);
	arena_done(&l.arena);
}

/* A set: spec replicas, available; the oldest first, the last one is new when `fresh`. */
struct set_row {
	int32_t replicas, available;
};

static void plan_of(struct deployment_plan *d, struct deployment_rs *sets, const struct set_row *rows, unsigned n, bool fresh)
{
	static const char *const names = "abcdefgh";
	for (unsigned i = 0; i < n; i++)
		sets[i] = (struct deployment_rs){ .name = { names + i, 1 }, .created_s = 10 + i, .replicas = rows[i].replicas,
						  .actual = rows[i].replicas, .available = rows[i].available, .revision = i + 1,
						  .noted_desired = -1, .observed = true, .is_new = fresh && i + 1 == n };
	d->sets = sets;
	d->n = n;
	deployment_prepare(d);
}

static void expect_sizes(const char *what, size_t row, const struct deployment_plan *d, const int32_t *want)
{
	for (unsigned i = 0; i < d->n; i++)
		if (d->sets[i].to != want[i])
			fail_msg("%s, row %zu, set %u: got %d, want %d", what, row, i, d->sets[i].to, want[i]);
}

static void rollouts_step_by_step(void **state)
{
	static const struct {
		int32_t replicas, surge, unavailable;
		struct set_row sets[3];
		unsigned n;
		int32_t to[3];
		bool moves;
	} rows[] = {
		{ 10, 2, 0, { { 10, 10 }, { 0, 0 } }, 2, { 10, 2 }, true },   /* up by the surge */
		{ 10, 2, 0, { { 10, 10 }, { 2, 0 } }, 2, { 10, 2 }, false },  /* wait */
		{ 10, 2, 0, { { 10, 10 }, { 2, 2 } }, 2, { 8, 2 }, true },    /* down by what is there */
		{ 10, 0, 3, { { 10, 10 }, { 0, 0 } }, 2, { 7, 0 }, true },    /* no surge: first down */
		{ 10, 0, 3, { { 10, 5 }, { 0, 0 } }, 2, { 7, 0 }, true },     /* of those that serve nobody */
		{ 10, 2, 2, { { 8, 8 }, { 4, 1 } }, 2, { 7, 4 }, true },
		{ 10, 2, 2, { { 8, 4 }, { 2, 2 } }, 2, { 8, 4 }, true },
		{ 3, 1, 0, { { 1, 1 }, { 1, 1 }, { 2, 2 } }, 3, { 0, 1, 2 }, true },
		{ 3, 1, 0, { { 0, 0 }, { 0, 0 }, { 3, 3 } }, 3, { 0, 0, 3 }, false },
		{ 2, 1, 0, { { 0, 0 }, { 5, 5 } }, 2, { 0, 2 }, true },       /* scaled down while at it */
		{ 6, 2, 1, { { 3, 4 }, { 5, 3 } }, 2, { 2, 5 }, true },       /* one that is told of goes already */
		{ 6, 2, 1, { { 1, 2 }, { 1, 2 }, { 6, 4 } }, 3, { 0, 1, 6 }, true },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct deployment_rs sets[3];
		struct deployment_plan d = { .replicas = rows[i].replicas, .surge = rows[i].surge, .unavailable = rows[i].unavailable,
					     .rolling = true };
		plan_of(&d, sets, rows[i].sets, rows[i].n, true);
		if (deployment_roll(&d) != rows[i].moves)
			fail_msg("row %zu moves: want %d", i, rows[i].moves);
		expect_sizes("roll", i, &d, rows[i].to);
	}
}

static void scaling_is_shared(void **state)
{
	static const struct {
		int32_t replicas, surge;
		struct set_row sets[3];
		unsigned n;
		int64_t noted_max;
		int32_t to[3];
	} rows[] = { /* some of upstream's own examples */
		{ 12, 0, { { 10, 10 } }, 1, 10, { 12 } },
		{ 20, 0, { { 5, 5 }, { 5, 5 } }, 2, 10, { 10, 10 } },
		{ 4, 0, { { 8, 8 }, { 2, 2 } }, 2, 10, { 3, 1 } },
		{ 10, 0, { { 0, 0 }, { 5, 5 } }, 2, 5, { 0, 10 } },
		{ 15, 3, { { 8, 8 }, { 5, 0 } }, 2, 13, { 11, 7 } },
		{ 0, 0, { { 3, 3 }, { 2, 2 }, { 1, 1 } }, 3, 6, { 0, 0, 0 } },
		{ 6, 0, { { 2, 2 }, { 2, 2 }, { 1, 1 } }, 3, 5, { 2, 3, 1 } },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct deployment_rs sets[3];
		struct deployment_plan d = { .replicas = rows[i].replicas, .surge = rows[i].surge, .rolling = true };
		plan_of(&d, sets, rows[i].sets, rows[i].n, true);
		for (unsigned k = 0; k < d.n; k++) {
			d.sets[k].noted_max = rows[i].noted_max;
			d.sets[k].noted_desired = rows[i].noted_max - rows[i].surge;
		}
		deployment_scale(&d);
		expect_sizes("scale", i, &d, rows[i].to);
	}
}

static void fenceposts(void **state)
{
	static const struct {
		const char *surge, *unavailable;
		int32_t replicas, want_surge, want_unavailable;
	} rows[] = {
		{ "'25%'", "'25%'", 3, 1, 0 }, { "'25%'", "'25%'", 10, 3, 2 }, { "0", "0", 5, 0, 1 }, { "1", "0", 5, 1, 0 },
		{ "'0%'", "'10%'", 5, 0, 1 },  { "2", "9", 3, 2, 3 },	       { "1", "1", 0, 1, 0 }, { "'x'", "'50%'", 4, 0, 2 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json s = parse(&a, rows[i].surge), u = parse(&a, rows[i].unavailable);
		int32_t surge, unavailable;
		deployment_fenceposts(&s, &u, rows[i].replicas, &surge, &unavailable);
		if (surge != rows[i].want_surge || unavailable != rows[i].want_unavailable)
			fail_msg("row %zu: got %d %d", i, surge, unavailable);
	}
}

static void history_is_cut_from_its_old_end(void **state)
{
	static const struct set_row rows[] = { { 0, 0 }, { 0, 0 }, { 1, 1 }, { 0, 0 }, { 3, 3 } };
	struct deployment_rs sets[5];
	struct deployment_plan d = { .replicas = 3, .history = 1 };
	plan_of(&d, sets, rows, 5, true);
	sets[1].observed = false;
	deployment_clean(&d);
	static const bool want[] = { true, false, false, false, false };
	for (unsigned i = 0; i < 5; i++)
		if (sets[i].doomed != want[i])
			fail_msg("set %u: got %d", i, sets[i].doomed);
}

static void hashes(void **state)
{
	auto_arena struct arena a = {};
	struct json x = parse(&a, "{'metadata':{'labels':{'a':'b'}},'spec':{'c':1,'d':2}}");
	struct json y = parse(&a, "{'spec':{'d':2,'c':1},'metadata':{'labels':{'a':'b','pod-template-hash':'zzz'}}}");
	struct json z = parse(&a, "{'metadata':{'labels':{'a':'b'}},'spec':{'c':1,'d':3}}");
	assert_true(deployment_same_template(&a, &x, &y));
	assert_false(deployment_same_template(&a, &x, &z));
	assert_true(span_eq(deployment_hash(&a, &x, 0), deployment_hash(&a, &y, 0)));
	assert_false(span_eq(deployment_hash(&a, &x, 0), deployment_hash(&a, &z, 0)));
	assert_false(span_eq(deployment_hash(&a, &x, 0), deployment_hash(&a, &x, 1)));
	assert_int_equal(deployment_hash(&a, &x, 0).len, 10);
}

static void ports_by_name_and_number(void **state)
{
	auto_arena struct arena a = {};
	struct json pod = parse(&a, "{'spec':{'containers':[{'ports':[{'name':'http','containerPort':8080},{'name':'dns','containerPort':53,'protocol':"
				    "'UDP'}]}],'initContainers':[{'ports':[{'name':'setup','containerPort':1}]},{'restartPolicy':'Always','ports':[{'name':"
				    "'side','containerPort':2}]}]}}");
	struct json service = parse(&a, "{'spec':{'ports':[{'port':80,'targetPort':'http'},{'name':'d','port':53,'targetPort':'dns'},{'name':'u','port':53,"
					"'targetPort':'dns','protocol':'UDP'},{'name':'s','port':7,'targetPort':'side'},{'name':'i','port':8,'targetPort':"
					"'setup'},{'name':'n','port':9},{'name':'m','port':10,'targetPort':11,'appProtocol':'h2'}]}}");
	struct json got = ep_ports(&a, &service, &pod);
	same_json("ports", &got, "[{'name':'','port':8080,'protocol':'TCP'},{'name':'u','port':53,'protocol':'UDP'},{'name':'s','port':2,'protocol':"
		  "'TCP'},{'name':'n','port':9,'protocol':'TCP'},{'appProtocol':'h2','name':'m','port':11,'protocol':'TCP'}]");
}

static struct json endpoint_named(struct arena *a, unsigned n)
{
	struct json e = json_object(), list = json_array();
	(void)json_push(a, &list, json_str(arena_printf(a, "10.0.0.%u", n)));
	tree_set(a, &e, "addresses", list);
	return e;
}

static void slices_are_packed(void **state)
{
	/* Endpoints 1 ... are wanted; slices hold those of their digits; a slice has room for 3. */
	static const struct {
		unsigned wanted;
		const char *slices[3];
		const char *want; /* slices joined by '|', changed ones with '*', doomed ones '-', new ones behind '+' */
	} rows[] = {
		{ 0, { NULL }, "" },
		{ 2, { NULL }, "+12" },
		{ 7, { NULL }, "+123+456+7" },
		{ 2, { "12" }, "12" },
		{ 3, { "12" }, "123*" },
		{ 4, { "123" }, "123+4" },
		{ 3, { "129", "3" }, "12*|3" },    /* 9 is gone; nobody moves */
		{ 4, { "1", "29" }, "1|234*" },    /* the one that changes anyway is filled */
		{ 1, { "1", "2" }, "1|-" },
		{ 0, { "12" }, "-" },
		{ 2, { "12", "12" }, "12|-" },     /* twice there: once */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf got = {};
		struct json wanted[8], *more;
		struct ep_slice slices[3] = {};
		unsigned n = 0, n_more;
		for (unsigned k = 0; k < rows[i].wanted; k++)
			wanted[k] = endpoint_named(&a, k + 1);
		for (; n < 3 && rows[i].slices[n]; n++) {
			slices[n].endpoints = json_array();
			for (const char *c = rows[i].slices[n]; *c; c++)
				(void)json_push(&a, &slices[n].endpoints, endpoint_named(&a, (unsigned)(*c - '0')));
		}
		ep_pack(&a, wanted, rows[i].wanted, slices, n, 3, &more, &n_more);
		for (unsigned k = 0; k < n + n_more; k++) {
			const struct json *list = k < n ? &slices[k].endpoints : &more[k - n];
			buf_str(&got, k >= n ? "+" : k ? "|" : "");
			JSON_EACH_ITEM(list, e) {
				struct span ip = json_span(tree_get(e, "addresses")->items);
				buf_chr(&got, ip.ptr[ip.len - 1]);
			}
			if (k < n)
				buf_str(&got, slices[k].doomed ? "-" : slices[k].changed ? "*" : "");
		}
		if (!span_is(buf_span(&got), rows[i].want))
			fail_msg("row %zu\n got: %s\nwant: %s", i, buf_cstr(&got), rows[i].want);
	}
}

static void services_select(void **state)
{
	static const struct {
		const char *selector, *labels;
		bool want;
	} rows[] = {
		{ "{'a':'1'}", "{'a':'1','b':'2'}", true }, { "{'a':'1','b':'2'}", "{'b':'2','a':'1','c':'3'}", true },
		{ "{'a':'1'}", "{'a':'2'}", false },	    { "{'b':'1'}", "{'a':'1'}", false },
		{ "{}", "{'a':'1'}", false },		    { "{'a':'1','z':'1'}", "{'a':'1'}", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json s = json_object(), p = json_object();
		tree_set(&a, tree_at(&a, &s, "spec"), "selector", parse(&a, rows[i].selector));
		tree_set(&a, tree_at(&a, &p, "metadata"), "labels", parse(&a, rows[i].labels));
		auto_free struct row *service = row_new(CM_SERVICES, &s), *pod = row_new(CM_PODS, &p);
		if (row_selects(service, pod) != rows[i].want)
			fail_msg("row %zu", i);
	}
}

static void sets_of_indexes(void **state)
{
	static const char *const rows[][2] = {
		{ "", "" },	     { "0", "0" },   { "0,1", "0,1" },	 { "0-2", "0-2" }, { "2,0,1", "0-2" }, { "1,3-5,7", "1,3-5,7" },
		{ "1,3-x,7", "1" },  { "8-99", "8,9" }, { "5-4", "" }, { "99999999999999999999", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf got = {};
		struct job_indexes s = job_indexes_parse(&a, 10, span_of(rows[i][0]));
		job_indexes_print(&s, &got);
		if (!span_is(buf_span(&got), rows[i][1]))
			fail_msg("%s\n got: %s\nwant: %s", rows[i][0], buf_cstr(&got), rows[i][1]);
	}
}

static void numbers_of_jobs(void **state)
{
	static const struct {
		struct job_numbers n;
		int64_t want;
	} rows[] = {
		{ { .parallelism = 3, .completions = -1 }, 3 },
		{ { .parallelism = 3, .completions = -1, .succeeded = 1, .active = 2 }, 0 },
		{ { .parallelism = 3, .completions = 5, .succeeded = 3 }, 2 },
		{ { .parallelism = 3, .completions = 5, .succeeded = 3, .active = 3 }, -1 },
		{ { .parallelism = 1, .completions = 5, .active = 3 }, -2 },
		{ { .parallelism = 2, .completions = 2, .active = 2, .suspended = true }, -2 },
		{ { .parallelism = 2, .completions = 2, .active = 1, .terminating = 1 }, 1 },
		{ { .parallelism = 2, .completions = 2, .active = 1, .terminating = 1, .only_replace_failed = true }, 0 },
		{ { .parallelism = 9999, .completions = 9999 }, 500 },
		{ { .parallelism = 0, .completions = 5, .active = 2 }, -2 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (job_difference(&rows[i].n) != rows[i].want)
			fail_msg("row %zu: got %lld, want %lld", i, (long long)job_difference(&rows[i].n), (long long)rows[i].want);
	static const int64_t waits[] = { 0, 10000, 20000, 40000, 80000, 160000, 320000, 600000, 600000 };
	for (unsigned i = 0; i < ARRAY_LEN(waits); i++)
		assert_int_equal(job_backoff_ms(i), waits[i]);
}

static void policies_of_jobs(void **state)
{
	auto_arena struct arena a = {};
	struct json policy = parse(&a, "{'rules':[{'action':'Ignore','onPodConditions':[{'type':'DisruptionTarget','status':'True'}]},{'action':'FailJob',"
				       "'onExitCodes':{'containerName':'c','operator':'In','values':[42]}},{'action':'FailIndex','onExitCodes':{'operator':"
				       "'NotIn','values':[1,2]}}]}");
	static const struct {
		const char *pod;
		enum job_action want;
		const char *words;
	} rows[] = {
#define POD(status) "{'metadata':{'name':'p','namespace':'n'},'status':{" status "}}"
#define EXIT(name, code) "'containerStatuses':[{'name':'" name "','state':{'terminated':{'exitCode':" code "}}}]"
		{ POD(EXIT("c", "42")), JOB_FAIL, "Container c for pod n/p failed with exit code 42 matching FailJob rule at index 1" },
		{ POD(EXIT("d", "42")), JOB_FAIL_INDEX, "Container d for pod n/p failed with exit code 42 matching FailIndex rule at index 2" },
		{ POD(EXIT("c", "1")), JOB_COUNT, "" },
		{ POD(EXIT("c", "0")), JOB_COUNT, "" },
		{ POD("'conditions':[{'type':'DisruptionTarget','status':'True'}]," EXIT("c", "42")), JOB_IGNORE,
		  "Pod n/p has condition DisruptionTarget matching Ignore rule at index 0" },
		{ POD("'conditions':[{'type':'DisruptionTarget','status':'False'}]"), JOB_COUNT, "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json pod = parse(&a, rows[i].pod);
		struct span words;
		enum job_action got = job_policy(&a, &policy, &pod, &words);
		if (got != rows[i].want || !span_is(words, rows[i].words))
			fail_msg("row %zu: got %d %.*s", i, got, SPAN_ARG(words));
	}
	struct json success = parse(&a, "{'rules':[{'succeededIndexes':'0-2'},{'succeededIndexes':'3-5','succeededCount':2},{'succeededCount':5}]}");
	static const struct {
		const char *done;
		int want;
	} wins[] = { { "0,1", -1 }, { "0-2", 0 }, { "3,5", 1 }, { "0,1,3,6-7", 2 }, { "0,1,3,6", -1 } };
	for (size_t i = 0; i < ARRAY_LEN(wins); i++) {
		struct job_indexes done = job_indexes_parse(&a, 10, span_of(wins[i].done));
		int got = job_success(&a, &success, &done);
		if (got != wins[i].want)
			fail_msg("%s: got %d, want %d", wins[i].done, got, wins[i].want);
	}
}

static void certificate_requests(void **state)
{
	static const struct {
		const char *usages;
		int want;
	} kinds[] = {
		{ "['digital signature','client auth']", TLS_CERT_CLIENT }, { "['server auth','key encipherment']", TLS_CERT_SERVER },
		{ "['server auth','client auth']", TLS_CERT_BOTH },	    { "['digital signature']", -1 },
		{ "['client auth','cert sign']", -1 },
	};
	static const struct {
		const char *csr;
		int64_t end_s, want;
	} ages[] = { /* made at second 1000 */
		{ "'status':{}", 0, 1000 + 86400 },
		{ "'status':{'conditions':[{'type':'Denied','lastUpdateTime':'1970-01-01T00:33:20Z'}]}", 0, 2000 + 3600 },
		{ "'status':{'conditions':[{'type':'Approved','lastUpdateTime':'1970-01-01T00:33:20Z'}]}", 0, 2000 + 86400 },
		{ "'status':{'certificate':'eA==','conditions':[{'type':'Approved','lastUpdateTime':'1970-01-01T00:33:20Z'}]}", 0, 2000 + 3600 },
		{ "'status':{'certificate':'eA==','conditions':[{'type':'Approved','lastUpdateTime':'1970-01-01T00:33:20Z'}]}", 2500, 2500 },
		{ "'status':{'conditions':[{'type':'Approved','lastUpdateTime':'1970-01-01T00:33:20Z'},{'type':'Failed','lastUpdateTime':"
		  "'1970-01-01T00:33:21Z'}]}", 0, 2001 + 3600 },
	};
	static const char *nodes[] = { "system:nodes" }, *dns[] = { "n1" };
	static const struct {
		enum csr_signer signer;
		const char *usages;
		struct tls_peer asked;
		bool fits;
	} fits[] = {
#define CLIENT "['digital signature','client auth']"
#define SERVER "['digital signature','key encipherment','server auth']"
		{ CSR_KUBELET_CLIENT, CLIENT, { .cn = "system:node:a", .orgs = nodes, .n_orgs = 1 }, true },
		{ CSR_KUBELET_CLIENT, CLIENT, { .cn = "a", .orgs = nodes, .n_orgs = 1 }, false },
		{ CSR_KUBELET_CLIENT, CLIENT, { .cn = "system:node:a" }, false },
		{ CSR_KUBELET_CLIENT, SERVER, { .cn = "system:node:a", .orgs = nodes, .n_orgs = 1 }, false },
		{ CSR_KUBELET_CLIENT, CLIENT, { .cn = "system:node:a", .orgs = nodes, .n_orgs = 1, .dns_names = dns, .n_dns_names = 1 }, false },
		{ CSR_KUBELET_SERVING, SERVER, { .cn = "system:node:a", .orgs = nodes, .n_orgs = 1, .dns_names = dns, .n_dns_names = 1 }, true },
		{ CSR_KUBELET_SERVING, SERVER, { .cn = "system:node:a", .orgs = nodes, .n_orgs = 1 }, false },
		{ CSR_CLIENT, CLIENT, { .cn = "jane" }, true },
		{ CSR_CLIENT, "['client auth']", { .cn = "jane" }, false },
		{ CSR_LEGACY, "['cert sign']", { .cn = "x" }, true },
	};
	auto_arena struct arena a = {};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct json u = parse(&a, kinds[i].usages);
		if (csr_kind(&u) != kinds[i].want)
			fail_msg("%s: got %d", kinds[i].usages, csr_kind(&u));
	}
	for (size_t i = 0; i < ARRAY_LEN(ages); i++) {
		struct json csr = parse(&a, arena_printf(&a, "{'metadata':{'creationTimestamp':'1970-01-01T00:16:40Z'},%s}", ages[i].csr).ptr);
		if (csr_deletion_s(&csr, ages[i].end_s) != ages[i].want)
			fail_msg("row %zu: got %lld", i, (long long)csr_deletion_s(&csr, ages[i].end_s));
	}
	for (size_t i = 0; i < ARRAY_LEN(fits); i++) {
		struct json csr = parse(&a, arena_printf(&a, "{'spec':{'usages':%s}}", fits[i].usages).ptr);
		const char *why = csr_unfit(fits[i].signer, &csr, &fits[i].asked);
		if (!why != fits[i].fits)
			fail_msg("row %zu: %s", i, why ? why : "fits");
	}
}

static void taints_and_tolerations(void **state)
{
	auto_arena struct arena a = {};
	struct json node = parse(&a, "{'spec':{'unschedulable':true,'taints':[{'key':'mine','effect':'NoSchedule'},{'key':'node.kubernetes.io/not-ready',"
				     "'effect':'NoSchedule','timeAdded':'1970-01-01T00:00:01Z'},{'key':'node.kubernetes.io/unreachable','effect':'NoExecute'}]},"
				     "'status':{'conditions':[{'type':'Ready','status':'False'},{'type':'DiskPressure','status':'True'}]}}");
	struct json taints;
	assert_true(node_taints(&a, &node, 100, &taints));
	same_json("taints", &taints, "[{'key':'mine','effect':'NoSchedule'},{'key':'node.kubernetes.io/not-ready','effect':'NoSchedule','timeAdded':"
		  "'1970-01-01T00:00:01Z'},{'key':'node.kubernetes.io/not-ready','effect':'NoExecute','timeAdded':'1970-01-01T00:01:40Z'},{'key':"
		  "'node.kubernetes.io/disk-pressure','effect':'NoSchedule','timeAdded':'1970-01-01T00:01:40Z'},{'key':"
		  "'node.kubernetes.io/unschedulable','effect':'NoSchedule','timeAdded':'1970-01-01T00:01:40Z'}]");
	tree_set(&a, tree_at(&a, &node, "spec"), "taints", taints);
	assert_false(node_taints(&a, &node, 200, &taints));
	struct json fresh = parse(&a, "{'spec':{'taints':[{'key':'node.kubernetes.io/not-ready','effect':'NoSchedule'}]}}");
	assert_false(node_taints(&a, &fresh, 100, &taints)); /* it has not said how it is */

	static const struct {
		const char *tolerations;
		int64_t want;
	} rows[] = { /* the taint was added at second 1000 */
		{ "[]", 0 },
		{ "[{'operator':'Exists'}]", -1 },
		{ "[{'key':'k','value':'v','effect':'NoExecute'}]", -1 },
		{ "[{'key':'k','value':'other','effect':'NoExecute'}]", 0 },
		{ "[{'key':'k','operator':'Exists','effect':'NoExecute','tolerationSeconds':300}]", 1300 },
		{ "[{'key':'k','operator':'Exists','tolerationSeconds':300},{'key':'k','operator':'Exists','tolerationSeconds':20}]", 1020 },
		{ "[{'key':'k','operator':'Exists','tolerationSeconds':-5}]", 1000 },
		{ "[{'key':'k','operator':'Exists','effect':'NoSchedule'}]", 0 },
	};
	struct json taint = parse(&a, "[{'key':'k','value':'v','effect':'NoExecute','timeAdded':'1970-01-01T00:16:40Z'},{'key':'x','effect':'NoSchedule'}]");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json t = parse(&a, rows[i].tolerations);
		if (node_leave_s(&taint, &t) != rows[i].want)
			fail_msg("%s: got %lld", rows[i].tolerations, (long long)node_leave_s(&taint, &t));
	}
}

static void ranges_of_nodes(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct node_range r;
	assert_int_equal(node_range_init(&r, SPAN("10.244.0.0/16"), 24, &err), 0);
	assert_int_equal(r.n, 256);
	assert_true(span_is(node_range_take(&a, &r), "10.244.0.0/24"));
	assert_true(span_is(node_range_take(&a, &r), "10.244.1.0/24"));
	assert_int_equal(node_range_find(&r, SPAN("10.244.7.0/24")), 7);
	assert_int_equal(node_range_find(&r, SPAN("10.245.7.0/24")), -1);
	assert_int_equal(node_range_find(&r, SPAN("10.244.7.0/25")), -1);
	r.used[0] = 0;
	assert_true(span_is(node_range_take(&a, &r), "10.244.0.0/24"));
	memset(r.used, 1, r.n);
	assert_int_equal(node_range_take(&a, &r).len, 0);
	node_range_done(&r);
	assert_int_equal(node_range_init(&r, SPAN("fd00:10::/48"), 64, &err), 0);
	assert_true(span_is(node_range_take(&a, &r), "fd00:10::/64"));
	assert_true(span_is(node_range_take(&a, &r), "fd00:10:0:1::/64"));
	node_range_done(&r);
	assert_int_equal(node_range_init(&r, SPAN("10.244.0.0/16"), 8, &err), -ERR_USAGE);
	assert_int_equal(node_range_init(&r, SPAN("10.0.0.0/8"), 30, &err), -ERR_USAGE);
	assert_int_equal(node_range_init(&r, SPAN("nonsense"), 24, &err), -ERR_USAGE);
}

static void budgets_expect(void **state)
{
	auto_arena struct arena a = {};
	static const struct {
		const char *spec;
		int64_t pods, scale, expected, desired;
		bool asks;
	} rows[] = {
		{ "{'minAvailable':2}", 5, 0, 5, 2, false },
		{ "{'minAvailable':'50%'}", 1, 5, 5, 3, true },
		{ "{'maxUnavailable':1}", 9, 3, 3, 2, true },
		{ "{'maxUnavailable':'30%'}", 9, 10, 10, 7, true },
		{ "{'maxUnavailable':'31%'}", 9, 10, 10, 6, true },
		{ "{'maxUnavailable':4}", 9, 3, 3, 0, true },
		{ "{}", 4, 0, 0, 0, false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json budget = json_object();
		int64_t expected = -1, desired = -1;
		tree_set(&a, &budget, "spec", parse(&a, rows[i].spec));
		assert_int_equal(disruption_expect(&budget, rows[i].pods, rows[i].scale, &expected, &desired, NULL), 0);
		if (disruption_asks_scale(&budget) != rows[i].asks || expected != rows[i].expected || desired != rows[i].desired)
			fail_msg("%s: got %lld of %lld, want %lld of %lld", rows[i].spec, (long long)desired, (long long)expected,
				 (long long)rows[i].desired, (long long)rows[i].expected);
	}
	struct json bad = parse(&a, "{'spec':{'minAvailable':'many'}}");
	int64_t n;
	assert_int_equal(disruption_expect(&bad, 1, 1, &n, &n, NULL), -ERR_INVALID);
}

static void budgets_allow(void **state)
{
	auto_arena struct arena a = {};
	/* Let go: b a minute ago, c three minutes ago (late), d, which is being deleted, and one that is gone. */
	struct json budget = parse(&a, "{'metadata':{'generation':3},'status':{'disruptedPods':{'b':'1970-01-01T00:15:40Z','c':'1970-01-01T00:13:40Z',"
				       "'d':'1970-01-01T00:16:00Z','e':'1970-01-01T00:16:00Z'},'conditions':[{'type':'DisruptionAllowed','status':'True',"
				       "'lastTransitionTime':'1970-01-01T00:00:01Z'}]}}");
	struct disruption_pod pods[] = { { SPAN("a"), true }, { SPAN("b"), true }, { SPAN("c"), true }, { SPAN("d"), true, .deleted = true },
					 { SPAN("x"), false } };
	int64_t again;
	struct json s = disruption_status(&a, &budget, pods, ARRAY_LEN(pods), 4, 1, 1000, &again);
	same_json("one may go", &s, "{'observedGeneration':3,'disruptedPods':{'b':'1970-01-01T00:15:40Z'},'disruptionsAllowed':1,'currentHealthy':2,"
		  "'desiredHealthy':1,'expectedPods':4,'conditions':[{'type':'DisruptionAllowed','status':'True','observedGeneration':3,"
		  "'lastTransitionTime':'1970-01-01T00:00:01Z','reason':'SufficientPods','message':''}]}");
	assert_int_equal(again, 1060);
	assert_true(pods[2].late && !pods[1].late && !pods[3].late);
	s = disruption_status(&a, &budget, pods, 0, 0, 0, 1000, &again);
	same_json("no pods", &s, "{'observedGeneration':3,'disruptionsAllowed':0,'currentHealthy':0,'desiredHealthy':0,'expectedPods':0,"
		  "'conditions':[{'type':'DisruptionAllowed','status':'False','observedGeneration':3,'lastTransitionTime':'1970-01-01T00:16:40Z',"
		  "'reason':'InsufficientPods','message':''}]}");
	assert_int_equal(again, 0);
	struct json small = parse(&a, "{'metadata':{'generation':1},'status':{'expectedPods':2}}");
	s = disruption_failed(&a, &small, SPAN("why"), 1000);
	same_json("failed", &s, "{'expectedPods':2,'observedGeneration':1,'disruptionsAllowed':0,'conditions':[{'type':'DisruptionAllowed',"
		  "'status':'False','observedGeneration':1,'lastTransitionTime':'1970-01-01T00:16:40Z','reason':'SyncFailed','message':'why'}]}");
	struct json selector = parse(&a, "{'matchLabels':{'b':'2','a':'1'},'matchExpressions':[{'key':'k','operator':'In','values':['x','y']}]}");
	auto_buf struct buf text = {};
	disruption_selector(&text, &selector);
	assert_string_equal(buf_cstr(&text), "&LabelSelector{MatchLabels:map[string]string{a: 1,b: 2,},MatchExpressions:[]LabelSelectorRequirement{"
					     "LabelSelectorRequirement{Key:k,Operator:In,Values:[x y],},},}");
	static const struct {
		const char *pod;
		int64_t want;
	} stale[] = {
		{ "{'status':{'conditions':[{'type':'DisruptionTarget','status':'True','lastTransitionTime':'1970-01-01T00:15:40Z'}]}}", 60 },
		{ "{'status':{'conditions':[{'type':'DisruptionTarget','status':'True','lastTransitionTime':'1970-01-01T00:00:40Z'}]}}", 0 },
		{ "{'status':{'conditions':[{'type':'DisruptionTarget','status':'False','lastTransitionTime':'1970-01-01T00:00:40Z'}]}}", -1 },
		{ "{'metadata':{'deletionTimestamp':'1970-01-01T00:15:40Z'},'status':{'conditions':[{'type':'DisruptionTarget','status':'True'}]}}", -1 },
		{ "{'status':{'phase':'Failed','conditions':[{'type':'DisruptionTarget','status':'True'}]}}", -1 },
		{ "{'status':{}}", -1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(stale); i++) {
		struct json pod = parse(&a, stale[i].pod);
		if (disruption_stale_in(&pod, 1000) != stale[i].want)
			fail_msg("%s: got %lld, want %lld", stale[i].pod, (long long)disruption_stale_in(&pod, 1000), (long long)stale[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(differences_are_merge_patches), cmocka_unit_test(conditions_keep_their_time), cmocka_unit_test(claims),
		cmocka_unit_test(deletions_are_ranked), cmocka_unit_test(differences_are_bounded), cmocka_unit_test(columns),
		cmocka_unit_test(verdicts), cmocka_unit_test(discovery_takes_the_best_version),
		cmocka_unit_test(rollouts_step_by_step), cmocka_unit_test(scaling_is_shared), cmocka_unit_test(fenceposts),
		cmocka_unit_test(history_is_cut_from_its_old_end), cmocka_unit_test(hashes), cmocka_unit_test(ports_by_name_and_number),
		cmocka_unit_test(slices_are_packed), cmocka_unit_test(services_select), cmocka_unit_test(sets_of_indexes),
		cmocka_unit_test(numbers_of_jobs), cmocka_unit_test(policies_of_jobs), cmocka_unit_test(certificate_requests), cmocka_unit_test(taints_and_tolerations),
		cmocka_unit_test(ranges_of_nodes), cmocka_unit_test(budgets_expect), cmocka_unit_test(budgets_allow),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
