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
}

static void wrong_references(void **state)
{
	struct bench *b = *state;
	auto_arena struct arena a = {};
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
}

static void leaks_go_after_a_minute(void **state)
{
	struct bench *b = *state;
	auto_arena struct arena a = {};
	static const char foreign[] = "{\"kind\":\"IPAddress\",\"apiVersion\":\"networking.k8s.io/v1\",\"metadata\":{\"name\":\"10.0.0.8\"},"
				      "\"spec\":{\"parentRef\":{\"resource\":\"services\",\"namespace\":\"d\",\"name\":\"gone\"}}}";
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
}

/* More than a slice holds: the pass goes on where it was. */
static void slices(void **state)
{
	struct bench *b = *state;
	auto_arena struct arena a = {};
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
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
