#include "api/fixture_test.h"

static const struct api_resource *find(const char *group, const char *version, const char *plural)
{
	static struct api_registry *r;
	if (!r)
		r = api_registry_builtin(true);
	const struct api_resource *res = api_registry_find(r, span_of(group), span_of(version), span_of(plural));
	assert_non_null(res);
	return res;
}

static struct json decoded(struct arena *a, const struct api_type *t, struct span text)
{
	struct json v;
	auto_err struct err err = ERR_INIT;
	if (api_decode_json(a, t, text, NULL, &v, &err) < 0)
		fail_msg("%s", err_msg(&err));
	return v;
}

static struct span encoded(struct arena *a, const struct api_type *t, const struct json *v)
{
	auto_buf struct buf b = {};
	api_encode_json(&b, t, v, 0);
	return arena_span(a, buf_span(&b));
}

static void test_which(void **state)
{
	assert_true(api_converts(find("events.k8s.io", "v1", "events")));
	assert_false(api_converts(find("", "v1", "events")));
	assert_true(api_converts(find("autoscaling", "v1", "horizontalpodautoscalers")));
	assert_false(api_converts(find("autoscaling", "v2", "horizontalpodautoscalers")));
	assert_false(api_converts(find("apps", "v1", "deployments")));
	assert_ptr_equal(api_storage_type(find("events.k8s.io", "v1", "events")), find("", "v1", "events")->type);
	assert_ptr_equal(api_storage_type(find("autoscaling", "v1", "horizontalpodautoscalers")),
			 find("autoscaling", "v2", "horizontalpodautoscalers")->type);
	/* Resources whose storage version is another's name alone keep their type. */
	assert_ptr_equal(api_storage_type(find("networking.k8s.io", "v1", "ipaddresses")),
			 find("networking.k8s.io", "v1", "ipaddresses")->type);
}

/* Every field of an event, by upstream's fixture, survives the way there and back. */
static void test_events(void **state)
{
	static const char *const files[] = { FIXTURES "/events.k8s.io.v1.Event.json", NULL };
	const struct api_resource *modern = find("events.k8s.io", "v1", "events"), *core = find("", "v1", "events");
	for (size_t i = 0; files[i]; i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf text = {};
		struct json stored;
		assert_int_equal(io_read_file(AT_FDCWD, files[i], &text, 1 << 20, NULL), 0);
		struct json v = decoded(&a, modern->type, buf_span(&text));
		struct span before = encoded(&a, modern->type, &v);
		assert_true(api_to_storage(&a, modern, &v, &stored));
		same(files[i], "the object that was given", before, encoded(&a, modern->type, &v));
		struct span bytes = encoded(&a, core->type, &stored);
		assert_true(span_has(bytes, SPAN("\"involvedObject\":{\"kind\":")));
		assert_true(span_has(bytes, SPAN("\"message\":\"noteValue\"")));
		assert_true(span_has(bytes, SPAN("\"reportingComponent\":\"reportingControllerValue\"")));
		struct json back = decoded(&a, core->type, bytes);
		api_from_storage(&a, modern, &back);
		same(files[i], "there and back", before, encoded(&a, modern->type, &back));
	}
}

#define NOTE "autoscaling.alpha.kubernetes.io/"

static const char full_v2[] =
	"{\"kind\":\"HorizontalPodAutoscaler\",\"apiVersion\":\"autoscaling/v2\",\"metadata\":{\"name\":\"h\",\"annotations\":{\"own\":"
	"\"kept\"}},\"spec\":{\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"web\",\"apiVersion\":\"apps/v1\"},"
	"\"minReplicas\":2,\"maxReplicas\":9,\"metrics\":["
	"{\"type\":\"Resource\",\"resource\":{\"name\":\"memory\",\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"1Gi\"}}},"
	"{\"type\":\"Object\",\"object\":{\"describedObject\":{\"kind\":\"Service\",\"name\":\"s\"},\"target\":{\"type\":\"Value\","
	"\"value\":\"7\"},\"metric\":{\"name\":\"hits\",\"selector\":{\"matchLabels\":{\"a\":\"b\"}}}}},"
	"{\"type\":\"Object\",\"object\":{\"describedObject\":{\"kind\":\"Service\",\"name\":\"s\"},\"target\":{\"type\":"
	"\"AverageValue\",\"averageValue\":\"3\"},\"metric\":{\"name\":\"hits\"}}},"
	"{\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"qps\"},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"5\"}}},"
	"{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"queue\",\"selector\":{\"matchLabels\":{\"q\":\"1\"}}},\"target\":{"
	"\"type\":\"Value\",\"value\":\"30\"}}},"
	"{\"type\":\"ContainerResource\",\"containerResource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\","
	"\"averageUtilization\":60},\"container\":\"c\"}},"
	"{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":70}}}],"
	"\"behavior\":{\"scaleUp\":{\"stabilizationWindowSeconds\":0,\"selectPolicy\":\"Max\",\"policies\":[{\"type\":\"Pods\","
	"\"value\":4,\"periodSeconds\":15}]}}},\"status\":{\"observedGeneration\":3,\"currentReplicas\":4,\"desiredReplicas\":5,"
	"\"currentMetrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"current\":{\"averageValue\":\"10m\","
	"\"averageUtilization\":12}}}],\"conditions\":[{\"type\":\"AbleToScale\",\"status\":\"True\",\"lastTransitionTime\":null,"
	"\"reason\":\"Ready\"}]}}";

/* The annotations as kube-apiserver writes them. */
static const char full_v1[] =
	"{\"kind\":\"HorizontalPodAutoscaler\",\"apiVersion\":\"autoscaling/v2\",\"metadata\":{\"name\":\"h\",\"annotations\":{\"" NOTE
	"behavior\":\"{\\\"ScaleUp\\\":{\\\"StabilizationWindowSeconds\\\":0,\\\"SelectPolicy\\\":\\\"Max\\\",\\\"Policies\\\":[{"
	"\\\"Type\\\":\\\"Pods\\\",\\\"Value\\\":4,\\\"PeriodSeconds\\\":15}],\\\"Tolerance\\\":null},\\\"ScaleDown\\\":null}\",\"" NOTE
	"conditions\":\"[{\\\"type\\\":\\\"AbleToScale\\\",\\\"status\\\":\\\"True\\\",\\\"lastTransitionTime\\\":null,"
	"\\\"reason\\\":\\\"Ready\\\"}]\",\"" NOTE "current-metrics\":\"[{\\\"type\\\":\\\"Resource\\\",\\\"resource\\\":{"
	"\\\"name\\\":\\\"cpu\\\",\\\"currentAverageUtilization\\\":12,\\\"currentAverageValue\\\":\\\"10m\\\"}}]\",\"" NOTE
	"metrics\":\"[{\\\"type\\\":\\\"Resource\\\",\\\"resource\\\":{\\\"name\\\":\\\"memory\\\",\\\"targetAverageValue\\\":"
	"\\\"1Gi\\\"}},{\\\"type\\\":\\\"Object\\\",\\\"object\\\":{\\\"target\\\":{\\\"kind\\\":\\\"Service\\\",\\\"name\\\":"
	"\\\"s\\\"},\\\"metricName\\\":\\\"hits\\\",\\\"targetValue\\\":\\\"7\\\",\\\"selector\\\":{\\\"matchLabels\\\":{"
	"\\\"a\\\":\\\"b\\\"}}}},{\\\"type\\\":\\\"Object\\\",\\\"object\\\":{\\\"target\\\":{\\\"kind\\\":\\\"Service\\\","
	"\\\"name\\\":\\\"s\\\"},\\\"metricName\\\":\\\"hits\\\",\\\"targetValue\\\":\\\"0\\\",\\\"averageValue\\\":\\\"3\\\"}},{"
	"\\\"type\\\":\\\"Pods\\\",\\\"pods\\\":{\\\"metricName\\\":\\\"qps\\\",\\\"targetAverageValue\\\":\\\"5\\\"}},{"
	"\\\"type\\\":\\\"External\\\",\\\"external\\\":{\\\"metricName\\\":\\\"queue\\\",\\\"metricSelector\\\":{"
	"\\\"matchLabels\\\":{\\\"q\\\":\\\"1\\\"}},\\\"targetValue\\\":\\\"30\\\"}},{\\\"type\\\":\\\"ContainerResource\\\","
	"\\\"containerResource\\\":{\\\"name\\\":\\\"cpu\\\",\\\"targetAverageUtilization\\\":60,\\\"container\\\":\\\"c\\\"}}]\","
	"\"own\":\"kept\"}},\"spec\":{\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"web\",\"apiVersion\":\"apps/v1\"},"
	"\"minReplicas\":2,\"maxReplicas\":9,\"targetCPUUtilizationPercentage\":70},\"status\":{\"observedGeneration\":3,"
	"\"currentReplicas\":4,\"desiredReplicas\":5,\"currentCPUUtilizationPercentage\":12}}";

static void test_autoscalers(void **state)
{
	auto_arena struct arena a = {};
	const struct api_resource *v1 = find("autoscaling", "v1", "horizontalpodautoscalers"),
				  *v2 = find("autoscaling", "v2", "horizontalpodautoscalers");
	struct json v = decoded(&a, v2->type, span_of(full_v2)), stored;
	struct span before = encoded(&a, v2->type, &v);
	api_from_storage(&a, v1, &v);
	struct span shown = encoded(&a, v1->type, &v);
	struct json want = decoded(&a, v1->type, span_of(full_v1));
	same("full", "v1", encoded(&a, v1->type, &want), shown);
	struct json sent = decoded(&a, v1->type, shown);
	assert_true(api_to_storage(&a, v1, &sent, &stored));
	same("full", "there and back", before, encoded(&a, v2->type, &stored));
}

struct case_row {
	const char *v1, *v2;
};

/* What v1 alone says, and annotations that say nothing. */
static void test_from_v1(void **state)
{
#define SPEC "\"spec\":{\"scaleTargetRef\":{\"kind\":\"K\",\"name\":\"n\"},\"maxReplicas\":3"
#define OUTER(annotations, spec) "{\"metadata\":{\"name\":\"h\"" annotations "}," SPEC spec "},\"status\":{}}"
#define DONE(spec)                                                                                                             \
	"{\"metadata\":{\"name\":\"h\"}," SPEC spec "},\"status\":{\"desiredReplicas\":0,\"currentMetrics\":null}}"
#define CPU(n)                                                                                                                 \
	",\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\","    \
	"\"averageUtilization\":" #n "}}}]"
	static const struct case_row rows[] = {
		{ OUTER("", ""), DONE(CPU(80)) },
		{ OUTER("", ",\"targetCPUUtilizationPercentage\":5"), DONE(CPU(5)) },
		{ OUTER(",\"annotations\":{\"" NOTE "metrics\":\"no JSON\"}", ""), DONE(CPU(80)) },
		{ OUTER(",\"annotations\":{\"" NOTE "metrics\":\"{}\"}", ""), DONE(CPU(80)) },
		{ OUTER(",\"annotations\":{\"" NOTE "metrics\":\"[7]\",\"" NOTE "behavior\":\"[]\",\"" NOTE "conditions\":\"x\"}", ""),
		  DONE(CPU(80)) },
		{ OUTER(",\"annotations\":{\"" NOTE "metrics\":\"[{\\\"type\\\":\\\"Pods\\\",\\\"pods\\\":{\\\"metricName\\\":\\\"m\\\","
			"\\\"targetAverageValue\\\":\\\"1\\\"}}]\"}", ""),
		  DONE(",\"metrics\":[{\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"m\"},\"target\":{\"type\":\"AverageValue\","
		       "\"averageValue\":\"1\"}}}]") },
		{ OUTER(",\"annotations\":{\"" NOTE "behavior\":\"{\\\"scaledown\\\":{\\\"SELECTPOLICY\\\":\\\"Min\\\"}}\"}", ""),
		  DONE(CPU(80) ",\"behavior\":{\"scaleDown\":{\"selectPolicy\":\"Min\"}}") },
	};
	const struct api_resource *v1 = find("autoscaling", "v1", "horizontalpodautoscalers"),
				  *v2 = find("autoscaling", "v2", "horizontalpodautoscalers");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json v = decoded(&a, v1->type, span_of(rows[i].v1)), stored;
		struct json want = decoded(&a, v2->type, span_of(rows[i].v2));
		assert_true(api_to_storage(&a, v1, &v, &stored));
		same(rows[i].v1, "v2", encoded(&a, v2->type, &want), encoded(&a, v2->type, &stored));
	}
}

/* Every field of the kinds of resource.k8s.io survives the way to the other shape and back, whichever is first. */
static void test_devices(void **state)
{
	static const struct {
		const char *kind, *plural;
	} kinds[] = { { "ResourceClaim", "resourceclaims" },
		      { "ResourceClaimTemplate", "resourceclaimtemplates" },
		      { "ResourceSlice", "resourceslices" },
		      { "DeviceClass", "deviceclasses" } };
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct api_resource *one = find("resource.k8s.io", "v1beta1", kinds[i].plural),
					  *two = find("resource.k8s.io", "v1beta2", kinds[i].plural);
		for (int first = 1; first <= 2; first++) {
			auto_arena struct arena a = {};
			auto_buf struct buf text = {};
			struct json stored;
			const char *file = arena_printf(&a, FIXTURES "/resource.k8s.io.v1beta%d.%s.json", first, kinds[i].kind).ptr;
			assert_int_equal(io_read_file(AT_FDCWD, file, &text, 1 << 20, NULL), 0);
			struct json v = decoded(&a, first == 1 ? one->type : two->type, buf_span(&text));
			struct span before = encoded(&a, first == 1 ? one->type : two->type, &v);
			if (first == 1) {
				api_from_storage(&a, two, &v); /* in place */
				v = decoded(&a, two->type, encoded(&a, two->type, &v));
			}
			if (!api_to_storage(&a, two, &v, &stored))
				stored = v; /* classes */
			struct json back = decoded(&a, api_storage_type(two), encoded(&a, api_storage_type(two), &stored));
			if (first == 2)
				api_from_storage(&a, two, &back);
			same(file, "there and back", before, encoded(&a, first == 1 ? one->type : two->type, &back));
		}
	}
}

static void test_device_shapes(void **state)
{
#define CLAIM(request) "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"devices\":{\"requests\":[{\"name\":\"r\"" request "}]}},\"status\":{}}"
#define SLICE(more, device)                                                                                                    \
	"{\"metadata\":{\"name\":\"s\"},\"spec\":{\"driver\":\"d\",\"pool\":{\"name\":\"p\",\"generation\":1,"                      \
	"\"resourceSliceCount\":1}" more ",\"devices\":[{\"name\":\"g\"" device "}]}}"
	static const struct {
		const char *plural, *version, *other, *stored;
	} rows[] = {
		{ "resourceclaims", "v1beta2", CLAIM(",\"exactly\":{\"deviceClassName\":\"x\",\"count\":2}"),
		  CLAIM(",\"deviceClassName\":\"x\",\"count\":2") },
		{ "resourceclaims", "v1beta2", CLAIM(""), CLAIM(",\"deviceClassName\":\"\"") },
		{ "resourceslices", "v1beta2", SLICE(",\"nodeName\":\"\",\"allNodes\":false", ""), SLICE("", ",\"basic\":{}") },
		{ "resourceslices", "v1beta2", SLICE(",\"nodeName\":\"n\"", ",\"capacity\":{\"m\":{\"value\":\"1Gi\"}}"),
		  SLICE(",\"nodeName\":\"n\"", ",\"basic\":{\"capacity\":{\"m\":{\"value\":\"1Gi\"}}}") },
		{ "resourceslices", "v1alpha3", SLICE(",\"nodeName\":\"n\"", ",\"basic\":{\"capacity\":{\"m\":\"1Gi\"}}"),
		  SLICE(",\"nodeName\":\"n\"", ",\"basic\":{\"capacity\":{\"m\":{\"value\":\"1Gi\"}}}") },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		const struct api_resource *other = find("resource.k8s.io", rows[i].version, rows[i].plural);
		const struct api_type *type = api_storage_type(other);
		struct json v = decoded(&a, other->type, span_of(rows[i].other)), want = decoded(&a, type, span_of(rows[i].stored)), stored;
		assert_true(api_to_storage(&a, other, &v, &stored));
		same(rows[i].other, "stored", encoded(&a, type, &want), encoded(&a, type, &stored));
	}
}

/* Managed fields of one version in another, also where neither is stored. */
static void test_between_versions(void **state)
{
	auto_arena struct arena a = {};
	const struct api_resource *slices = find("resource.k8s.io", "v1beta2", "resourceslices");
	struct json v = decoded(&a, slices->type, SPAN(SLICE("", ",\"capacity\":{\"m\":{\"value\":\"1\"}}"))), out;
	const struct api_type *type = api_convert_versions(&a, slices, SPAN("resource.k8s.io/v1beta2"), SPAN("resource.k8s.io/v1alpha3"),
							   &v, &out);
	assert_ptr_equal(type, find("resource.k8s.io", "v1alpha3", "resourceslices")->type);
	struct json want = decoded(&a, type, SPAN(SLICE("", ",\"basic\":{\"capacity\":{\"m\":\"1\"}}")));
	same("v1alpha3", "capacity", encoded(&a, type, &want), encoded(&a, type, &out));
	assert_null(api_convert_versions(&a, slices, SPAN("resource.k8s.io/v1beta2"), SPAN("resource.k8s.io/v9"), &v, &out));
	assert_null(api_convert_versions(&a, slices, SPAN("resource.k8s.io/v1beta2"), SPAN("resource.k8s.io/v1beta2"), &v, &out));
}

/* v2 takes none of the annotations over. */
static void test_v2_clean(void **state)
{
	auto_arena struct arena a = {};
	const struct api_resource *v2 = find("autoscaling", "v2", "horizontalpodautoscalers");
	struct json v = decoded(&a, v2->type, SPAN("{\"metadata\":{\"annotations\":{\"" NOTE "metrics\":\"[]\"}}}")), stored;
	assert_true(api_to_storage(&a, v2, &v, &stored));
	assert_null(json_path(&stored, "metadata", "annotations", (char *)NULL));
	assert_non_null(json_path(&v, "metadata", "annotations", (char *)NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_which),	  cmocka_unit_test(test_events),   cmocka_unit_test(test_autoscalers),
		cmocka_unit_test(test_from_v1),   cmocka_unit_test(test_v2_clean),  cmocka_unit_test(test_devices),
		cmocka_unit_test(test_device_shapes), cmocka_unit_test(test_between_versions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
