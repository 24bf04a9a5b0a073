/* Tables: a Dockerfile, a target and build arguments on the left, the graph that comes of them on the right; and what variables
 * mean in a stage. */
#include "builder/plan.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct json args_of(struct arena *a, const char *text)
{
	struct json v = json_object();
	if (text)
		assert_int_equal(json_parse(a, span_of(text), 0, NULL, &v, NULL), 0);
	return v;
}

static void print_plan(struct buf *out, const char *text, const char *target, const char *args)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct builder_file f;
	struct vars v;
	struct plan p;
	struct json given = args_of(&a, args);
	assert_int_equal(builder_file_parse(span_of(text), &a, &f, &err), 0);
	builder_vars_init(&v, &a, &given, SPAN("linux/arm64/v8"), SPAN("linux/amd64"));
	if (builder_plan_make(&f, span_of(target), &v, &p, &err) < 0) {
		assert_int_equal(err.class, ERR_INVALID_REQUEST);
		buf_printf(out, "error: %s", err_msg(&err));
		builder_vars_done(&v);
		return;
	}
	buf_printf(out, "%u:", p.steps);
	for (size_t i = 0; i < p.n_order; i++) {
		const struct plan_stage *s = &p.stages[p.order[i]];
		buf_printf(out, " %u", p.order[i]);
		if (s->base == PLAN_STAGE)
			buf_printf(out, "<%u", s->base_stage);
		else
			buf_printf(out, "=%.*s", SPAN_ARG(s->image));
		if (s->platform.len)
			buf_printf(out, "(%.*s)", SPAN_ARG(s->platform));
		buf_printf(out, "@%u", s->first_step);
		assert_true(s->needed);
	}
	builder_vars_unused(&v, out);
	builder_vars_done(&v);
}

static void plans(void **state)
{
	static const struct {
		const char *text, *target, *args, *want;
	} rows[] = {
		{ "FROM a\nRUN x", "", NULL, "2: 0=a@1" },
		{ "FROM scratch\nCOPY a b\nCMD x", "", NULL, "3: 0=scratch@1" },
		{ "ARG V=1\nFROM a:${V}", "", NULL, "2: 0=a:1@2" },
		{ "ARG V=1\nFROM a:${V}", "", "{\"V\":\"2\"}", "2: 0=a:2@2" },
		{ "ARG V=1\nFROM a:${V}", "", "{\"V\":null}", "2: 0=a:1@2" },
		{ "ARG V=1\nARG W=$V-x\nFROM a:$W", "", NULL, "3: 0=a:1-x@3" },
		{ "FROM a:${V:-z}", "", "{\"V\":\"2\"}", "1: 0=a:z@1[Warning] One or more build-args [V] were not consumed\n" },
		{ "FROM $X", "", NULL, "error: base name ($X) should not be blank" },
		{ "FROM --platform=$BUILDPLATFORM a", "", NULL, "1: 0=a(linux/amd64)@1" },
		{ "FROM --platform=$TARGETOS/$TARGETARCH/$TARGETVARIANT a", "", NULL, "1: 0=a(linux/arm64/v8)@1" },
		{ "FROM --platform=$Y a", "", NULL, "error: empty platform value from expression $Y" },
		/* what is not reached is not built, and does not count */
		{ "FROM a AS one\nRUN x\nFROM b\nRUN y", "", NULL, "2: 1=b@1" },
		{ "FROM a AS one\nRUN x\nFROM one\nRUN y", "", NULL, "4: 0=a@1 1<0@3" },
		{ "FROM a AS one\nRUN x\nFROM b\nCOPY --from=ONE p q", "", NULL, "4: 0=a@1 1=b@3" },
		{ "FROM a\nFROM b\nFROM c\nCOPY --from=0 p q", "", NULL, "3: 0=a@1 2=c@2" },
		{ "FROM a\nFROM b\nCOPY --from=img p q", "", NULL, "2: 1=b@1" },
		{ "FROM a AS t\nFROM b\nRUN --mount=type=bind,from=t,target=/t ls", "", NULL, "3: 0=a@1 1=b@2" },
		{ "FROM a AS t\nFROM b\nRUN --mount=type=cache,target=/t ls", "", NULL, "2: 1=b@1" },
		{ "FROM a AS x\nFROM b AS y\nCOPY --from=x p q\nFROM c\nCOPY --from=y p q\nCOPY --from=x p q", "", NULL,
			"6: 0=a@1 1=b@2 2=c@4" },
		/* told as they stand in the file, whichever is named first */
		{ "FROM a AS x\nFROM b AS y\nFROM c\nCOPY --from=y p q\nCOPY --from=x p q", "", NULL, "5: 0=a@1 1=b@2 2=c@3" },
		{ "FROM a AS x\nCOPY --from=z p q\nFROM b AS y\nFROM c AS z\nFROM x\nCOPY --from=y p q", "", NULL,
			"6: 1=b@3 2=c@4 0=a@1 3<0@5" },
		/* later stages may be named, as long as nobody waits for himself */
		{ "FROM a AS x\nCOPY --from=y p q\nFROM b AS y", "x", NULL, "3: 1=b@3 0=a@1" },
		{ "FROM a AS x\nCOPY --from=x p q", "", NULL, "error: circular dependency detected on stage: x" },
		{ "FROM a AS x\nCOPY --from=y p q\nFROM x AS y", "", NULL, "error: circular dependency detected on stage: y" },
		{ "FROM a\nCOPY --from=1 p q\nFROM b\nCOPY --from=0 p q", "", NULL, "error: circular dependency detected on stage: 1" },
		{ "FROM a\nCOPY --from=7 p q", "", NULL, "error: invalid from flag value 7: invalid stage index 7" },
		/* targets */
		{ "FROM a AS x\nFROM b AS y\nFROM c", "y", NULL, "1: 1=b@1" },
		{ "FROM a AS x\nFROM b AS y\nFROM c", "X", NULL, "1: 0=a@1" },
		{ "FROM a AS x\nFROM b", "0", NULL, "1: 0=a@1" },
		{ "FROM a", "nope", NULL, "error: failed to reach build target nope in Dockerfile" },
		{ "FROM a", "3", NULL, "error: failed to reach build target 3 in Dockerfile" },
		/* a stage called as its base is an image's child, not its own; a name that is given twice means the last */
		{ "FROM busybox AS busybox\nFROM busybox", "", NULL, "2: 0=busybox@1 1<0@2" },
		{ "FROM a AS x\nFROM b AS x\nFROM c\nCOPY --from=x p q", "", NULL, "3: 1=b@1 2=c@2" },
		{ "ARG A\nFROM a", "", "{\"A\":\"1\",\"B\":\"2\",\"HTTP_PROXY\":\"x\",\"C\":\"3\"}",
			"2: 0=a@2[Warning] One or more build-args [B C] were not consumed\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {};
		print_plan(&out, rows[i].text, rows[i].target, rows[i].args);
		bool begins = i == 4; /* a name without its tag is refused where the image is looked for */
		if (begins ? !span_starts(buf_span(&out), SPAN("2: 0=a:")) : strcmp(buf_cstr(&out), rows[i].want) != 0)
			fail_msg("row %zu:\n%s\n got: %s\nwant: %s", i, rows[i].text, buf_cstr(&out), rows[i].want);
	}
}

static void scopes(void **state)
{
	auto_arena struct arena a = {};
	struct json given = args_of(&a, "{\"G\":\"given\",\"HTTP_PROXY\":\"p\",\"N\":null}"), env = json_array();
	struct vars v;
	struct span got, *list, *key;
	size_t n, n_key;
	builder_vars_init(&v, &a, &given, SPAN("linux/amd64"), SPAN("linux/amd64"));
	builder_vars_global_add(&v, SPAN("V"), SPAN("1"), true);
	assert_true(builder_vars_global_get(&v, SPAN("V"), &got) && span_is(got, "1"));
	assert_false(builder_vars_stage_get(&v, SPAN("V"), &got)); /* not named in the stage yet */
	builder_vars_stage_begin(&v);
	builder_vars_stage_add(&v, SPAN("V"), SPAN_EMPTY, false);
	assert_true(builder_vars_stage_get(&v, SPAN("V"), &got) && span_is(got, "1"));
	builder_vars_stage_add(&v, SPAN("V"), SPAN("2"), true);
	assert_true(builder_vars_stage_get(&v, SPAN("V"), &got) && span_is(got, "2"));
	builder_vars_stage_add(&v, SPAN("G"), SPAN("default"), true);
	assert_true(builder_vars_stage_get(&v, SPAN("G"), &got) && span_is(got, "given"));
	assert_false(builder_vars_stage_get(&v, SPAN("TARGETARCH"), &got));
	builder_vars_stage_add(&v, SPAN("TARGETARCH"), SPAN_EMPTY, false);
	assert_true(builder_vars_stage_get(&v, SPAN("TARGETARCH"), &got) && span_is(got, "amd64"));
	builder_vars_stage_add(&v, SPAN("N"), SPAN("default"), true); /* named without a value: as if it were not */
	assert_true(builder_vars_stage_get(&v, SPAN("N"), &got) && span_is(got, "default"));
	assert_true(builder_vars_stage_get(&v, SPAN("HTTP_PROXY"), &got) && span_is(got, "p"));
	(void)json_push(&a, &env, json_cstr("V=of the image"));
	builder_vars_run(&v, &env, &list, &n, &key, &n_key);
	assert_int_equal(n, 4); /* ENV wins over ARG; the proxy comes along */
	assert_true(span_is(list[0], "G=given") && span_is(list[1], "HTTP_PROXY=p") && span_is(list[2], "N=default") &&
		span_is(list[3], "TARGETARCH=amd64"));
	assert_int_equal(n_key, 3);
	assert_true(span_is(key[0], "G=given") && span_is(key[1], "N=default") && span_is(key[2], "TARGETARCH=amd64"));
	builder_vars_stage_add(&v, SPAN("HTTP_PROXY"), SPAN_EMPTY, false);
	builder_vars_run(&v, &env, &list, &n, &key, &n_key);
	assert_int_equal(n_key, 4); /* named: it counts */
	builder_vars_stage_begin(&v);
	assert_false(builder_vars_stage_get(&v, SPAN("G"), &got));
	builder_vars_done(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(plans), cmocka_unit_test(scopes) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
