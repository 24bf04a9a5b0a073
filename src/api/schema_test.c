/* Types, fields, enums, resources: spot checks against what upstream's sources say (the whole of the tables is compared with
 * the facts by tools/gen/check_schema.py), laws that hold for every row, and types and resources added at run time. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "api/api.h"
#include "api/rows.h"

#define assert_span(have, want) assert_span_(have, want, __LINE__)
static void assert_span_(struct span have, const char *want, int line)
{
	if (!span_is(have, want))
		fail_msg("line %d: want \"%s\", have \"%.*s\"", line, want, SPAN_ARG(have));
}

static const struct api_type *walk(const char *type, ...)
{
	const struct api_type *t = api_type_find(span_of(type));
	va_list ap;
	assert_non_null(t);
	va_start(ap, type);
	for (const char *name; (name = va_arg(ap, const char *));) {
		const struct api_field *f = api_type_field(t, span_of(name));
		if (!f)
			fail_msg("%s has no field %s", type, name);
		t = api_field_type(f);
		if (api_type_kind(t) == API_LIST)
			t = api_type_elem(t);
	}
	va_end(ap);
	return t;
}

static void pods_are_as_upstream(void **state)
{
	const struct api_type *spec = walk("core/v1.Pod", "spec", NULL);
	assert_span(api_type_name(spec), "core/v1.PodSpec");
	assert_int_equal(api_type_kind(spec), API_OBJECT);
	assert_int_equal(api_type_n_fields(spec), 40);
	assert_span(api_field_name(api_type_field_at(spec, 0)), "volumes");
	assert_int_equal(api_field_index(spec, api_type_field(spec, SPAN("volumes"))), 0);
	assert_null(api_type_field(spec, SPAN("Volumes")));
	assert_null(api_type_field(spec, SPAN("volume")));
	assert_null(api_type_field(spec, SPAN("")));

	const struct api_field *f = api_type_field(spec, SPAN("containers"));
	assert_true(api_field_has(f, API_FIELD_REQUIRED | API_FIELD_PATCH_MERGE));
	assert_span(api_field_merge_key(f), "name");
	assert_int_equal(api_field_num(f), 2);
	const struct api_type *list = api_field_type(f);
	assert_int_equal(api_type_list(list), API_LIST_MAP);
	assert_int_equal(api_type_n_keys(list), 1);
	assert_span(api_type_key(list, 0), "name");

	const struct api_type *container = api_type_elem(list);
	f = api_type_field(container, SPAN("ports"));
	assert_span(api_field_merge_key(f), "containerPort");
	assert_int_equal(api_type_n_keys(api_field_type(f)), 2);
	assert_span(api_type_key(api_field_type(f), 1), "protocol");
	f = api_type_field(api_type_elem(api_field_type(f)), SPAN("protocol"));
	assert_span(api_field_default(f), "\"TCP\"");
	assert_span(api_enum_name(api_field_enum(f)), "core/v1.Protocol");
	assert_true(api_enum_closed(api_field_enum(f)));
	assert_span(api_enum_value(api_field_enum(f), 1), "UDP");

	/* Inlined structs: in the parent's JSON, messages of their own on the wire. */
	const struct api_type *volume = walk("core/v1.Pod", "spec", "volumes", NULL);
	f = api_type_field(volume, SPAN("hostPath"));
	assert_true(api_field_has(f, API_FIELD_INLINED | API_FIELD_POINTER));
	assert_true(api_field_has(api_type_field(spec, SPAN("volumes")), API_FIELD_PATCH_MERGE | API_FIELD_RETAIN_KEYS));

	/* Atomic by the struct's marker, by the field's, and not at all. */
	assert_true(api_type_flags(walk("core/v1.Container", "env", "valueFrom", "fieldRef", NULL)) & API_TYPE_ATOMIC);
	assert_true(api_type_flags(walk("core/v1.PodSpec", "nodeSelector", NULL)) & API_TYPE_ATOMIC);
	assert_false(api_type_flags(walk("core/v1.Pod", "metadata", "labels", NULL)) & API_TYPE_ATOMIC);

	auto_buf struct buf b = {};
	api_type_go_name(list, &b);
	assert_string_equal(buf_cstr(&b), "[]v1.Container");
	buf_trunc(&b, 0);
	api_type_go_name(walk("core/v1.Container", "resources", "limits", NULL), &b);
	assert_string_equal(buf_cstr(&b), "v1.ResourceList");
	assert_null(api_type_find(SPAN("core/v1.Nothing")));
	assert_null(api_enum_find(SPAN("core/v1.Nothing")));
	assert_span(api_constant(SPAN("core/v1"), SPAN("NamespaceDefault")), "default");
	assert_int_equal(api_constant(SPAN("core/v1"), SPAN("Nothing")).len, 0);
}

/* Laws of the tables (rows.h), for every type. */
static void every_row_obeys(void **state)
{
	unsigned n_fields = 0;
	for (uint32_t i = 0; i < api_t_n_types; i++) {
		const struct api_type *t = &api_t_types[i];
		assert_true(t->n_fields <= API_FIELDS_MAX);
		assert_int_equal(t->kind == API_LIST || t->kind == API_MAP || t->kind == API_UNION, api_type_elem(t) != NULL);
		for (unsigned k = 0; k < t->n_fields; k++) {
			const struct api_field *f = api_type_field_at(t, k);
			struct span name = api_field_name(f);
			assert_ptr_equal(api_type_field(t, name), f);
			assert_int_equal(api_field_index(t, f), k);
			for (unsigned j = 0; j < k; j++)
				assert_false(span_eq(api_field_name(api_type_field_at(t, j)), name));
			/* Names are pooled. */
			const struct api_field *meta = api_type_field(api_type_find(SPAN("meta/v1.ObjectMeta")), name);
			if (meta)
				assert_ptr_equal(api_field_name(meta).ptr, name.ptr);
			n_fields++;
		}
		for (unsigned k = 0; k < t->n_wire; k++) {
			const struct api_wire *w = &api_t_wire[t->wire + k];
			assert_true(k == 0 || w[-1].num < w->num);
			unsigned width = w->flags & API_WIRE_INLINE ? api_t_types[w->type].n_fields : 1;
			assert_true(w->field + width <= t->n_fields);
			for (unsigned j = 0; j < width && width > 1; j++)
				assert_ptr_equal(api_field_name(api_type_field_at(t, w->field + j)).ptr,
						 api_field_name(api_type_field_at(&api_t_types[w->type], j)).ptr);
		}
		if (t->kind == API_LIST && t->list_type == API_LIST_MAP)
			for (unsigned k = 0; k < t->n_keys; k++)
				assert_non_null(api_type_field(api_type_elem(t), api_type_key(t, k)));
	}
	assert_true(n_fields > 2600);
	for (uint32_t i = 1; i < api_t_n_named; i++)
		assert_true(span_cmp(api_type_name(&api_t_types[api_t_by_name[i - 1]]),
				     api_type_name(&api_t_types[api_t_by_name[i]])) < 0);
}

static void resources_are_found(void **state)
{
	struct api_registry *r = api_registry_builtin(false);
	const struct api_resource *pods = api_registry_find(r, SPAN(""), SPAN("v1"), SPAN("pods"));
	assert_non_null(pods);
	assert_span(pods->kind, "Pod");
	assert_span(pods->list_kind, "PodList");
	assert_true(pods->namespaced);
	assert_int_equal(pods->verbs, 0xff);
	assert_int_equal(pods->n_short_names, 1);
	assert_span(pods->short_names[0], "po");
	assert_span(pods->categories[0], "all");
	assert_span(pods->storage_hash, "xPOwRZ+Yhw8=");
	assert_span(pods->storage_version, "v1");
	assert_span(pods->storage_kind, "Pod");
	assert_ptr_equal(pods->type, api_type_find(SPAN("core/v1.Pod")));
	assert_ptr_equal(pods->list_type, api_type_find(SPAN("core/v1.PodList")));
	assert_int_equal(pods->n_subresources, 10);
	assert_span(api_resource_sub(pods, SPAN("eviction"))->group_version, "policy/v1");
	assert_ptr_equal(api_resource_sub(pods, SPAN("eviction"))->type, api_type_find(SPAN("policy/v1.Eviction")));
	assert_null(api_resource_sub(pods, SPAN("nothing")));
	assert_int_equal(pods->n_columns, 9);
	assert_span(pods->columns[2].name, "Status");
	assert_int_equal(api_resource_selector(pods, SPAN("spec.nodeName"))->style, 'A');

	assert_ptr_equal(api_registry_find_kind(r, SPAN(""), SPAN("v1"), SPAN("Pod")), pods);
	assert_null(api_registry_find(r, SPAN("apps"), SPAN("v1"), SPAN("pods")));
	assert_null(api_registry_find(r, SPAN("resource.k8s.io"), SPAN("v1beta1"), SPAN("deviceclasses")));
	struct api_registry *all = api_registry_builtin(true);
	assert_non_null(api_registry_find(all, SPAN("resource.k8s.io"), SPAN("v1beta1"), SPAN("deviceclasses")));
	assert_int_equal(api_registry_n(all), 75);
	assert_int_equal(api_registry_n(r), 63);
	struct api_registry *some = api_registry_serving(&SPAN("resource.k8s.io/v1beta1"), 1);
	assert_int_equal(api_registry_n(some), 67);
	assert_int_equal(api_registry_find(some, SPAN("resource.k8s.io"), SPAN("v1beta1"), SPAN("resourceclaims"))->served, API_SERVED);
	assert_null(api_registry_find(some, SPAN("resource.k8s.io"), SPAN("v1beta2"), SPAN("resourceclaims")));
	assert_int_equal(api_registry_find(all, SPAN("resource.k8s.io"), SPAN("v1beta1"), SPAN("resourceclaims"))->served, API_SERVED_OFF);
	api_registry_unref(some);
	assert_span(api_registry_version(r, 0)->group, "");
	assert_int_equal(api_registry_version(r, 0)->group_priority, 18000);
	assert_span(api_registry_version(r, 1)->group, "apiregistration.k8s.io"); /* as the aggregator lists /apis */
	assert_span(api_registry_version(r, 2)->group, "apps");
	const struct api_group_version *v2 = api_registry_find_version(r, SPAN("autoscaling"), SPAN("v2"));
	const struct api_group_version *v1 = api_registry_find_version(r, SPAN("autoscaling"), SPAN("v1"));
	assert_true(v2 < v1); /* v2 is preferred */
	unsigned n = 0;
	for (unsigned i = 0; i < api_registry_n_versions(r); i++) {
		const struct api_group_version *gv = api_registry_version(r, i);
		assert_int_equal(gv->first, n);
		for (unsigned k = 0; k < gv->n; k++)
			assert_true(span_eq(api_registry_at(r, n + k)->group, gv->group));
		n += gv->n;
	}
	assert_int_equal(n, api_registry_n(r));
	api_registry_unref(all);
	api_registry_unref(r);
}

static void methods_and_columns_are_found(void **state)
{
	struct api_rpc rpc;
	assert_int_equal(api_rpc_count(), 35 + 41);
	assert_true(api_rpc_find(SPAN("/runtime.v1.RuntimeService/Version"), &rpc));
	assert_ptr_equal(rpc.request, api_type_find(SPAN("cri.VersionRequest")));
	assert_ptr_equal(rpc.response, api_type_find(SPAN("cri.VersionResponse")));
	assert_false(rpc.request_stream || rpc.response_stream);
	assert_true(api_rpc_find(SPAN("/etcdserverpb.Watch/Watch"), &rpc));
	assert_true(rpc.request_stream && rpc.response_stream);
	assert_ptr_equal(rpc.request, api_type_find(SPAN("etcdserverpb.WatchRequest")));
	assert_false(api_rpc_find(SPAN("/etcdserverpb.Watch/Nothing"), &rpc));
	for (unsigned i = 0; i < api_rpc_count(); i++)
		assert_true(api_rpc_find(api_rpc_at(i).path, &rpc));

	struct api_column column;
	assert_true(api_kind_column(SPAN("autoscaling/v1.Scale"), 0, &column));
	assert_span(column.name, "Name");
	assert_true(api_kind_column(SPAN("core/v1.Pod"), 8, &column));
	assert_false(api_kind_column(SPAN("core/v1.Pod"), 9, &column));
	assert_false(api_kind_column(SPAN("core/v1.Nothing"), 0, &column));
}

/* A custom resource "widgets" with size, parts by name, free-form labels and built-in metadata. */
static struct api_resource *widgets(void)
{
	struct api_types *set = api_types_new();
	struct span key = SPAN("name");
	const struct api_type *text = api_types_scalar(set, API_STRING, NULL);
	const struct api_type *part = api_types_object(set, SPAN(""), (struct api_field_spec[]){
		{ SPAN("name"), text, API_FIELD_REQUIRED }, { SPAN("length"), api_types_scalar(set, API_INT32, NULL), 0 } }, 2, NULL);
	struct api_node_opts opts = { .flags = API_TYPE_PRESERVE, .default_json = SPAN("{\"a\":1}"), .rules = set };
	const struct api_type *spec = api_types_object(set, SPAN(""), (struct api_field_spec[]){
		{ SPAN("size"), api_types_scalar(set, API_INT64, NULL), 0 },
		{ SPAN("parts"), api_types_list(set, part, API_LIST_MAP, &key, 1, NULL), 0 },
		{ SPAN("labels"), api_types_map(set, text, NULL), 0 },
		{ SPAN("free"), api_types_object(set, SPAN(""), NULL, 0, &opts), 0 } }, 4, NULL);
	struct api_resource *r = api_resource_new();
	r->group = SPAN("example.com");
	r->version = SPAN("v1");
	r->kind = SPAN("Widget");
	r->plural = SPAN("widgets");
	r->types = set;
	r->type = api_types_object(set, SPAN("example.com/v1.Widget"), (struct api_field_spec[]){
		{ SPAN("apiVersion"), text, 0 }, { SPAN("kind"), text, 0 },
		{ SPAN("metadata"), api_type_find(SPAN("meta/v1.ObjectMeta")), 0 }, { SPAN("spec"), spec, 0 } }, 4, NULL);
	return r;
}

static void custom_types_walk_the_same_path(void **state)
{
	struct api_resource *r = widgets();
	const struct api_type *spec = api_field_type(api_type_field(r->type, SPAN("spec")));
	const struct api_type *parts = api_field_type(api_type_field(spec, SPAN("parts")));
	assert_int_equal(api_type_list(parts), API_LIST_MAP);
	assert_span(api_type_key(parts, 0), "name");
	assert_span(api_field_name(api_type_field(api_type_elem(parts), SPAN("length"))), "length");
	const struct api_type *free_form = api_field_type(api_type_field(spec, SPAN("free")));
	assert_span(api_type_default(free_form), "{\"a\":1}");
	assert_ptr_equal(api_type_rules(free_form), r->types);
	assert_null(api_type_rules(api_type_find(SPAN("core/v1.Pod"))));
	assert_true(api_type_flags(free_form) & API_TYPE_PRESERVE);

	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf b = {};
	struct api_decode d = {};
	struct json v;
	int rc = api_decode_json(&a, r->type, SPAN("{\"spec\":{\"size\":\"x\",\"parts\":[{\"name\":\"b\",\"wrong\":1}],\"free\":"
		"{\"z\":1,\"a\":null}},\"metadata\":{\"name\":\"w<\",\"foo\":2},\"kind\":\"Widget\"}"), &d, &v, &err);
	assert_int_equal(rc, 0);
	assert_int_equal(d.n_found, 2);
	assert_span(d.found[0], "unknown field \"metadata.foo\""); /* metadata first, then by name */
	assert_span(d.found[1], "unknown field \"spec.parts[0].wrong\"");
	api_encode_json(&b, r->type, &v, 0); /* sorted, kinds untouched, nulls kept */
	assert_string_equal(buf_cstr(&b), "{\"kind\":\"Widget\",\"metadata\":{\"name\":\"w\\u003c\"},\"spec\":{\"free\":"
			    "{\"a\":null,\"z\":1},\"parts\":[{\"name\":\"b\"}],\"size\":\"x\"}}");
	rc = api_decode_json(&a, r->type, SPAN("{\"metadata\":{\"name\":1}}"), &d, &v, &err);
	assert_int_equal(rc, -ERR_INVALID_REQUEST);
	assert_string_equal(err_msg(&err), "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string");
	buf_trunc(&b, 0);
	assert_int_equal(api_encode_proto(&b, r->type, &v, NULL), -ERR_NOT_ACCEPTABLE);
	api_resource_unref(r);
}

static void embedded_objects_keep_their_head(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf b = {};
	struct api_types *set = api_types_new();
	struct api_node_opts opts = { .flags = API_TYPE_EMBEDDED };
	const struct api_type *any = api_types_scalar(set, API_ANY, NULL);
	const struct api_type *t = api_types_object(set, SPAN(""), (struct api_field_spec[]){
		{ SPAN("metadata"), any, 0 }, { SPAN("x"), any, 0 } }, 2, &opts);
	struct json v;
	struct api_decode d = {};
	assert_int_equal(api_type_n_fields(t), 4);
	assert_ptr_equal(api_field_type(api_type_field(t, SPAN("metadata"))), api_type_find(SPAN("meta/v1.ObjectMeta")));
	assert_int_equal(api_decode_json(&a, t, SPAN("{\"kind\":\"K\",\"apiVersion\":\"v\",\"x\":[1],\"y\":2,\"metadata\":"
		"{\"name\":\"n\",\"z\":1}}"), &d, &v, NULL), 0);
	assert_int_equal(d.n_found, 2);
	api_encode_json(&b, t, &v, 0);
	assert_string_equal(buf_cstr(&b), "{\"apiVersion\":\"v\",\"kind\":\"K\",\"metadata\":{\"name\":\"n\"},\"x\":[1]}");
	api_types_unref(set);
}

static void many_fields_are_found(void **state)
{
	struct api_types *set = api_types_new();
	enum { N = 3000 };
	static struct api_field_spec specs[N];
	auto_arena struct arena a = {};
	for (int i = 0; i < N; i++)
		specs[i] = (struct api_field_spec){ arena_printf(&a, "prefix-%d-and-the-same-end", i),
						    api_types_scalar(set, API_STRING, NULL), 0 };
	const struct api_type *t = api_types_object(set, SPAN("big"), specs, N, NULL);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(api_field_index(t, api_type_field(t, specs[i].name)), i);
	assert_null(api_type_field(t, SPAN("prefix-3000-and-the-same-end")));
	api_types_unref(set);
}

static void snapshots_change_beside_their_readers(void **state)
{
	struct api_registry *first = api_registry_builtin(false);
	struct api_resource *w = widgets();
	const struct api_resource *gone = api_registry_find(first, SPAN(""), SPAN("v1"), SPAN("pods"));
	struct api_registry *second = api_registry_with(first, &w, 1, &gone, 1);
	assert_int_equal(api_registry_n(second), api_registry_n(first));
	assert_null(api_registry_find(second, SPAN(""), SPAN("v1"), SPAN("pods")));
	assert_ptr_equal(api_registry_find(second, SPAN("example.com"), SPAN("v1"), SPAN("widgets")), w);
	assert_ptr_equal(api_registry_find_kind(second, SPAN("example.com"), SPAN("v1"), SPAN("Widget")), w);
	assert_non_null(api_registry_find(first, SPAN(""), SPAN("v1"), SPAN("pods")));
	assert_null(api_registry_find(first, SPAN("example.com"), SPAN("v1"), SPAN("widgets")));
	/* The same name again replaces. */
	struct api_resource *again = widgets();
	struct api_registry *third = api_registry_with(second, &again, 1, NULL, 0);
	assert_int_equal(api_registry_n(third), api_registry_n(second));
	assert_ptr_equal(api_registry_find(third, SPAN("example.com"), SPAN("v1"), SPAN("widgets")), again);
	assert_true(api_registry_generation(third) > api_registry_generation(second));
	api_resource_unref(w);
	api_resource_unref(again);
	api_registry_unref(first);
	api_registry_unref(second);
	api_registry_unref(third);
}

static void *reader(void *arg)
{
	struct api_registry_box *box = arg;
	struct api_registry_cache cache = {};
	uint64_t last = 0;
	for (int i = 0; i < 20000; i++) {
		struct api_registry *r = api_registry_get(box, &cache);
		assert_true(api_registry_generation(r) >= last);
		last = api_registry_generation(r);
		assert_non_null(api_registry_find(r, SPAN("apps"), SPAN("v1"), SPAN("deployments")));
	}
	api_registry_cache_done(&cache);
	return NULL;
}

static void box_serves_threads(void **state)
{
	struct api_registry *now = api_registry_builtin(false);
	struct api_registry_box *box = api_registry_box_new(api_registry_ref(now));
	pthread_t threads[3];
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, box), 0);
	for (int i = 0; i < 100; i++) {
		struct api_resource *w = widgets();
		const struct api_resource *gone = w;
		struct api_registry *next = i % 2 ? api_registry_with(now, NULL, 0, &gone, 1) : api_registry_with(now, &w, 1, NULL, 0);
		api_registry_unref(now);
		now = next;
		api_registry_put(box, api_registry_ref(now));
		api_resource_unref(w);
	}
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	api_registry_unref(now);
	api_registry_box_free(box);
}

static void versions_are_ordered(void **state)
{
	static const char *const order[] = { "v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2",
					     "foo1", "foo10" };
	struct api_resource *rows[ARRAY_LEN(order)];
	struct api_registry *none = api_registry_builtin(false);
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		rows[i] = api_resource_new();
		rows[i]->group = SPAN("example.com");
		rows[i]->version = span_of(order[ARRAY_LEN(order) - 1 - i]);
		rows[i]->plural = rows[i]->kind = SPAN("x");
	}
	struct api_registry *r = api_registry_with(none, rows, ARRAY_LEN(order), NULL, 0);
	unsigned first = api_registry_n_versions(none);
	for (unsigned i = 0; i < ARRAY_LEN(order); i++)
		assert_span(api_registry_version(r, first + i)->version, order[i]);
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		api_resource_unref(rows[i]);
	api_registry_unref(none);
	api_registry_unref(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods_are_as_upstream),
		cmocka_unit_test(every_row_obeys),
		cmocka_unit_test(resources_are_found),
		cmocka_unit_test(methods_and_columns_are_found),
		cmocka_unit_test(custom_types_walk_the_same_path),
		cmocka_unit_test(embedded_objects_keep_their_head),
		cmocka_unit_test(many_fields_are_found),
		cmocka_unit_test(snapshots_change_beside_their_readers),
		cmocka_unit_test(box_serves_threads),
		cmocka_unit_test(versions_are_ordered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
