/* What disruption budgets say. */
#include "apiserver/budget.h"
#include "json/parse_test.h"

static void free_pods(void **state)
{
	static const struct {
		const char *pod;
		bool is_free;
	} rows[] = {
		{ "{}", false },
		{ "{\"status\":{\"phase\":\"Running\"}}", false },
		{ "{\"status\":{\"phase\":\"Pending\"}}", true },
		{ "{\"status\":{\"phase\":\"Succeeded\"}}", true },
		{ "{\"status\":{\"phase\":\"Failed\"}}", true },
		{ "{\"metadata\":{\"deletionTimestamp\":\"2024-01-01T00:00:00Z\"},\"status\":{\"phase\":\"Running\"}}", true },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json pod = parse(&a, rows[i].pod);
		if (budget_is_free(&pod) != rows[i].is_free)
			fail_msg("%s: want %d", rows[i].pod, rows[i].is_free);
	}
}

static void unready_pods(void **state)
{
	static const char ready[] = "{\"status\":{\"conditions\":[{\"type\":\"X\"},{\"type\":\"Ready\",\"status\":\"True\"}]}}";
	static const char unready[] = "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}";
	static const struct {
		const char *budget, *pod;
		bool goes;
	} rows[] = {
		{ "{\"status\":{\"currentHealthy\":3,\"desiredHealthy\":2}}", ready, false },
		{ "{\"status\":{\"currentHealthy\":2,\"desiredHealthy\":2}}", unready, true },
		{ "{\"status\":{\"currentHealthy\":1,\"desiredHealthy\":2}}", unready, false },
		{ "{\"status\":{\"currentHealthy\":0,\"desiredHealthy\":0}}", unready, false },
		{ "{\"spec\":{\"unhealthyPodEvictionPolicy\":\"AlwaysAllow\"},\"status\":{\"desiredHealthy\":2}}", unready, true },
		{ "{\"spec\":{\"unhealthyPodEvictionPolicy\":\"AlwaysAllow\"}}", ready, false },
		{ "{\"spec\":{\"unhealthyPodEvictionPolicy\":\"IfHealthyBudget\"}}", "{}", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json budget = parse(&a, rows[i].budget), pod = parse(&a, rows[i].pod);
		if (budget_lets_go_unready(&budget, &pod) != rows[i].goes)
			fail_msg("%s, %s: want %d", rows[i].budget, rows[i].pod, rows[i].goes);
	}
}

#define AT "2024-05-05T05:05:05Z"

static void disruptions_are_taken(void **state)
{
	static const struct {
		const char *budget, *want; /* the status afterwards, or how the refusal begins */
		int retry_ms;
	} rows[] = {
		{ "{\"metadata\":{\"name\":\"b\",\"generation\":1},\"status\":{\"observedGeneration\":1,\"disruptionsAllowed\":2}}",
		  "{\"observedGeneration\":1,\"disruptionsAllowed\":1,\"disruptedPods\":{\"p\":\"" AT "\"}}", 0 },
		/* The last one says so; what was disrupted before stays, however the members move. */
		{ "{\"metadata\":{\"name\":\"b\"},\"status\":{\"disruptionsAllowed\":1,\"disruptedPods\":{\"q\":\"x\"},\"currentHealthy\":3,"
		  "\"desiredHealthy\":2}}",
		  "{\"disruptionsAllowed\":0,\"disruptedPods\":{\"q\":\"x\",\"p\":\"" AT "\"},\"currentHealthy\":3,\"desiredHealthy\":2,"
		  "\"conditions\":[{\"type\":\"DisruptionAllowed\",\"lastTransitionTime\":\"" AT "\",\"status\":\"False\",\"reason\":"
		  "\"InsufficientPods\",\"message\":\"\"}]}", 0 },
		/* A condition that is False already keeps its time. */
		{ "{\"metadata\":{\"name\":\"b\"},\"status\":{\"disruptionsAllowed\":1,\"conditions\":[{\"type\":\"DisruptionAllowed\","
		  "\"status\":\"False\",\"lastTransitionTime\":\"then\"}]}}",
		  "{\"disruptionsAllowed\":0,\"conditions\":[{\"type\":\"DisruptionAllowed\",\"status\":\"False\",\"lastTransitionTime\":"
		  "\"then\",\"reason\":\"InsufficientPods\",\"message\":\"\"}],\"disruptedPods\":{\"p\":\"" AT "\"}}", 0 },
		{ "{\"metadata\":{\"name\":\"b\",\"generation\":2},\"status\":{\"observedGeneration\":1,\"disruptionsAllowed\":2}}",
		  "The disruption budget b is still being processed by the server.", 10000 },
		{ "{\"metadata\":{\"name\":\"b\"},\"status\":{\"disruptionsAllowed\":0,\"currentHealthy\":1,\"desiredHealthy\":2}}",
		  "The disruption budget b needs 2 healthy pods and has 1 currently", 0 },
		{ "{\"metadata\":{\"name\":\"b\"},\"status\":{\"disruptionsAllowed\":-1}}",
		  "poddisruptionbudget.policy \"b\" is forbidden: pdb disruptions allowed is negative", 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf b = {};
		struct json budget = parse(&a, rows[i].budget);
		int rc = budget_take(&a, &budget, SPAN("p"), SPAN(AT), &err);
		if (rc == 0)
			json_write(&b, json_getl(&budget, "status"), 0);
		else
			buf_str(&b, err.n_causes ? err.causes[0].message : err_msg(&err));
		assert_string_equal(buf_cstr(&b), rows[i].want);
		assert_int_equal(err.retry_ms, rows[i].retry_ms);
	}
}

static void too_many_unconfirmed(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json budget = parse(&a, "{\"metadata\":{\"name\":\"b\"},\"status\":{\"disruptionsAllowed\":1,\"disruptedPods\":{}}}");
	struct json *disrupted = json_path(&budget, "status", "disruptedPods", NULL);
	for (unsigned i = 0; i < 2001; i++)
		(void)json_add(&a, disrupted, arena_printf(&a, "p%u", i), json_cstr(AT));
	assert_int_equal(budget_take(&a, &budget, SPAN("p"), SPAN(AT), &err), -ERR_FORBIDDEN);
	assert_non_null(strstr(err_msg(&err), "DisruptedPods map too big"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(free_pods),
		cmocka_unit_test(unready_pods),
		cmocka_unit_test(disruptions_are_taken),
		cmocka_unit_test(too_many_unconfirmed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
