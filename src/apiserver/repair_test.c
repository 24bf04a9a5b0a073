/* The pass over addresses and ports on a store of its own, with a clock that is turned by hand. */
#include "repair.c"

#include "server_test.h"

static void pass(struct bench *b)
{
	struct repair r = { .w = &b->worker };
	do
		slice(&r);
	while (r.phase != SERVICES || r.next.len);
	buf_done(&r.next);
	tell_done(&r.tell);
}

/* The range of every address of these tests. */
static void range(struct bench *b)
{
	put(b, "/registry/networking.k8s.io/servicecidrs/kubernetes",
	    "{\"kind\":\"ServiceCIDR\",\"apiVersion\":\"networking.k8s.io/v1\",\"metadata\":{\"name\":\"kubernetes\"},"
	    "\"spec\":{\"cidrs\":[\"10.0.0.0/8\",\"fd00::/112\"]}}");
}

/* Each Event as "reason: message", a line each, in the order of their keys. */
static const char *told(struct bench *b, struct arena *a)
{
	auto_buf struct buf out = {};
	struct store_iter it;
	const struct store_item *item;
	(void)stored(b, a, "/");
	struct store_snapshot *snap = store_snapshot(b->server.store);
	assert_int_equal(store_iter_init(&it, snap, SPAN("/registry/core/events/"), SPAN_EMPTY, 0, NULL), 0);
	while ((item = store_iter_next(&it))) {
		struct json event;
		if (json_parse(a, arena_span(a, bytes_span(item->value)), 0, NULL, &event, NULL) < 0)
			fail_msg("no JSON: %.*s", SPAN_ARG(bytes_span(item->value)));
		assert_true(span_is(text_of(&event, "type"), "Warning"));
		const struct json *count = json_path(&event, "series", "count", NULL);
		buf_printf(&out, "%.*s: %.*s%s%.*s\n", SPAN_ARG(text_of(&event, "reason")), SPAN_ARG(text_of(&event, "message")),
			   count ? " x" : "", count ? 1 : 0, count ? (const char[]){ (char)('0' + json_i64(count, 0)), 0 } : "");
	}
	store_iter_done(&it);
	store_snapshot_unref(snap);
	return arena_span(a, buf_span(&out)).ptr;
}

#define IP(name) "/registry/networking.k8s.io/ipaddresses/" name
#define SERVICE(name) "/registry/core/services/d/" name
#define OWNED(ip, service)                                                                                                        \
	"{\"kind\":\"IPAddress\",\"apiVersion\":\"networking.k8s.io/v1\",\"metadata\":{\"name\":\"" ip "\",\"labels\":{"               \
	"\"ipaddress.kubernetes.io/managed-by\":\"ipallocator.k8s.io\"}},\"spec\":{\"parentRef\":{\"resource\":\"services\","        \
	"\"namespace\":\"d\",\"name\":\"" service "\"}}}"
#define HAS(name, ip, port)                                                                                                       \
	"{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"d\"},\"spec\":{"             \
	"\"type\":\"NodePort\",\"clusterIPs\":[\"" ip "\"],\"ports\":[{\"port\":1,\"nodePort\":" port "}]}}"

static void what_is_missing_is_made(void **state)
{
	struct bench *b = *state;
	auto_arena struct arena a = {};
	range(b);
	put(b, SERVICE("s"), HAS("s", "10.0.0.1", "30001"));
	(void)stored(b, &a, SERVICE("s"));
	pass(b);
	const char *ip = stored(b, &a, IP("10.0.0.1"));
	if (!strstr(ip, "\"parentRef\":{\"resource\":\"services\",\"namespace\":\"d\",\"name\":\"s\"}"))
		fail_msg("the address is: %s", ip);
	assert_string_equal(stored(b, &a, "/registry/ranges/servicenodeports/30001"), "{\"namespace\":\"d\",\"name\":\"s\"}");
	/* A second pass finds nothing to do. */
	pass(b);
	assert_string_equal(stored(b, &a, IP("10.0.0.1")), ip);
	assert_string_equal(told(b, &a), "ClusterIPNotAllocated: Cluster IP [IPv4]: 10.0.0.1 is not allocated; repairing\n"
					 "PortNotAllocated: Port 30001 is not allocated; repairing\n");
}

static void wrong_references(void **state)
{
	struct bench *b = *state;
	auto_arena struct arena a = {};
	range(b);
	/* one names a Service that is not there; one a Service that has the address as well, which only people can settle */
	put(b, SERVICE("s"), HAS("s", "10.0.0.1", "30001"));
	put(b, IP("10.0.0.1"), OWNED("10.0.0.1", "gone"));
	put(b, SERVICE("t"), HAS("t", "10.0.0.2", "30002"));
	put(b, SERVICE("u"), HAS("u", "10.0.0.2", "30002"));
	put(b, IP("10.0.0.2"), OWNED("10.0.0.2", "u"));
	(void)stored(b, &a, SERVICE("s"));
	pass(b);
	assert_non_null(strstr(stored(b, &a, IP("10.0.0.1")), "\"name\":\"s\"}"));
	assert_string_equal(stored(b, &a, IP("10.0.0.2")), OWNED("10.0.0.2", "u"));
	assert_string_equal(told(b, &a),
			    "ClusterIPNotAllocated: the ClusterIP [IPv4]: 10.0.0.1 for Service d/s has a wrong reference; repairing\n"
			    "PortNotAllocated: Port 30001 is not allocated; repairing\n"
			    "ClusterIPAlreadyAllocated: Cluster IP [IPv4]:10.0.0.2 was assigned to multiple services; please recreate service\n"
			    "PortNotAllocated: Port 30002 is not allocated; repairing\n"
			    "PortNotAllocated: Port 30002 is not allocated; repairing\n");
}

/* What people have to settle is told again and again: as one Event that counts, until nobody has seen it for six minutes. */
static void series_of_events(void **state)
{
	static const char what[] = "ClusterIPOutOfRange: Cluster IP [IPv6]: fd01::1 is not within any configured Service CIDR; please recreate service";
	struct bench *b = *state;
	struct repair r = { .w = &b->worker };
	auto_arena struct arena a = {};
	range(b);
	put(b, SERVICE("s"), "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\",\"namespace\":\"d\"},"
			     "\"spec\":{\"type\":\"ClusterIP\",\"clusterIPs\":[\"fd01:0::1\"],\"ports\":[{\"port\":1}]}}");
	for (unsigned i = 1; i <= 3; i++) {
		(void)stored(b, &a, "/");
		do
			slice(&r);
		while (r.phase != SERVICES || r.next.len);
		assert_string_equal(told(b, &a), i == 1 ? arena_printf(&a, "%s\n", what).ptr : arena_printf(&a, "%s x%u\n", what, i).ptr);
		atomic_fetch_add(&b->clock.passed_ns, 180 * NS_PER_S);
	}
	atomic_fetch_add(&b->clock.passed_ns, 180 * NS_PER_S);
	do
		slice(&r);
	while (r.phase != SERVICES || r.next.len);
	assert_string_equal(told(b, &a), arena_printf(&a, "%s x3\n%s\n", what, what).ptr);
	buf_done(&r.next);
	tell_done(&r.tell);
}

static void ports_beyond_the_range(void **state)
{
	struct bench *b = *state;
	auto_arena struct arena a = {};
	range(b);
	b->options.service_node_port_range = SPAN("30000-32767");
	put(b, SERVICE("s"), HAS("s", "10.0.0.1", "20001"));
	put(b, IP("10.0.0.1"), OWNED("10.0.0.1", "s"));
	(void)stored(b, &a, "/");
	pass(b);
	assert_string_equal(told(b, &a), "PortOutOfRange: Port 20001 is not within the port range 30000-32767; please recreate service\n");
	assert_string_equal(stored(b, &a, "/registry/ranges/servicenodeports/20001"), "");
}

/* The store's numbers with all that a snapshot shows: they are written down a moment after it is published. */
static void status_now(struct bench *b, struct store_status *out)
{
	struct store_snapshot *snap = store_snapshot(b->server.store);
	int64_t rev = store_snapshot_rev(snap);
	store_snapshot_unref(snap);
	for (int i = 0; i < 60000; i++) {
		store_status(b->server.store, out);
		if (out->rev >= rev)
			return;
		usleep(1000);
	}
	fail_msg("the store's numbers stay at %lld", (long long)out->rev);
}

/* The time of an Event begins with its last change. */
static void events_go(void **state)
{
	struct bench *b = *state;
	auto_arena struct arena a = {};
	b->options.event_ttl_ms = 3600000;
	put(b, "/registry/core/events/d/one", "{}");
	put(b, "/registry/core/events/d/two", "{}");
	(void)stored(b, &a, "/");
	atomic_fetch_add(&b->clock.passed_ns, 1800 * NS_PER_S);
	put(b, "/registry/core/events/d/two", "{\"a\":1}");
	(void)stored(b, &a, "/");
	pass(b);
	assert_string_equal(stored(b, &a, "/registry/core/events/d/one"), "{}");
	atomic_fetch_add(&b->clock.passed_ns, 1800 * NS_PER_S);
	pass(b);
	assert_string_equal(stored(b, &a, "/registry/core/events/d/one"), "");
	assert_string_equal(stored(b, &a, "/registry/core/events/d/two"), "{\"a\":1}");
	atomic_fetch_add(&b->clock.passed_ns, 1800 * NS_PER_S);
	pass(b);
	assert_string_equal(stored(b, &a, "/registry/core/events/d/two"), "");
	/* All of a slice in one transaction: one by one they cost the disk two pages each (GOALS row 16). */
	struct store_status before, after;
	for (int i = 0; i < 100; i++)
		put(b, arena_printf(&a, "/registry/core/events/d/many-%d", i).ptr, "{}");
	(void)stored(b, &a, "/");
	atomic_fetch_add(&b->clock.passed_ns, 3600 * NS_PER_S);
	status_now(b, &before);
	pass(b);
	assert_string_equal(stored(b, &a, "/registry/core/events/d/many-99"), "");
	status_now(b, &after);
	assert_in_range(after.items, before.items - 100, before.items - 90); /* a pass makes what else is missing */
	assert_in_range(after.rev, before.rev + 1, before.rev + 10);
}

static void leaks_go_after_a_minute(void **state)
{
	struct bench *b = *state;
	auto_arena struct arena a = {};
	static const char foreign[] = "{\"kind\":\"IPAddress\",\"apiVersion\":\"networking.k8s.io/v1\",\"metadata\":{\"name\":\"10.0.0.8\"},"
				      "\"spec\":{\"parentRef\":{\"resource\":\"services\",\"namespace\":\"d\",\"name\":\"gone\"}}}";
	range(b);
	put(b, SERVICE("s"), HAS("s", "10.0.0.1", "30001"));
	put(b, IP("10.0.0.1"), OWNED("10.0.0.1", "s"));
	put(b, IP("10.0.0.7"), OWNED("10.0.0.7", "gone"));
	put(b, IP("10.0.0.6"), OWNED("10.0.0.6", "s")); /* which does not have it */
	put(b, IP("10.0.0.8"), foreign);		  /* somebody else manages it */
	(void)stored(b, &a, SERVICE("s"));
	pass(b);
	assert_string_equal(stored(b, &a, IP("10.0.0.7")), OWNED("10.0.0.7", "gone")); /* its Service may be on its way */
	atomic_fetch_add(&b->clock.passed_ns, 61 * NS_PER_S);
	pass(b);
	assert_string_equal(stored(b, &a, IP("10.0.0.7")), "");
	assert_string_equal(stored(b, &a, IP("10.0.0.6")), "");
	assert_string_equal(stored(b, &a, IP("10.0.0.8")), foreign);
	assert_string_equal(stored(b, &a, IP("10.0.0.1")), OWNED("10.0.0.1", "s"));
	assert_string_equal(told(b, &a), "PortNotAllocated: Port 30001 is not allocated; repairing\n"
					 "IPAddressWrongReference: IPAddress: 10.0.0.6 for Service d/s has a wrong reference; cleaning up\n"
					 "IPAddressNotAllocated: IPAddress: 10.0.0.7 for Service d/gone appears to have leaked: cleaning up\n");
}

/* More than a slice holds: the pass goes on where it was. */
static void slices(void **state)
{
	struct bench *b = *state;
	auto_arena struct arena a = {};
	range(b);
	const unsigned n = 2 * SLICE + 3;
	for (unsigned i = 0; i < n; i++)
		put(b, arena_printf(&a, "/registry/core/services/d/s%04u", i).ptr,
		    arena_printf(&a, HAS("s%04u", "10.1.%u.%u", "%u"), i, i / 200, 1 + i % 200, 20000 + i).ptr);
	(void)stored(b, &a, "/");
	pass(b);
	(void)stored(b, &a, "/");
	struct store_snapshot *snap = store_snapshot(b->server.store);
	assert_int_equal(store_count(snap, SPAN(IP(""))), n);
	assert_int_equal(store_count(snap, SPAN("/registry/ranges/servicenodeports/")), n);
	store_snapshot_unref(snap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_missing_is_made, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_references, setup, teardown),
		cmocka_unit_test_setup_teardown(leaks_go_after_a_minute, setup, teardown),
		cmocka_unit_test_setup_teardown(slices, setup, teardown),
		cmocka_unit_test_setup_teardown(series_of_events, setup, teardown),
		cmocka_unit_test_setup_teardown(ports_beyond_the_range, setup, teardown),
		cmocka_unit_test_setup_teardown(events_go, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
