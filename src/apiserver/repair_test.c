/* The pass over addresses and ports on a store of its own, with a clock that is turned by hand. */
#include "repair.c"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* Turned by hand while the committer's thread looks. */
struct test_clock {
	struct clock clock;
	_Atomic int64_t passed_ns;
};

static int64_t test_mono(struct clock *c)
{
	return atomic_load(&container_of(c, struct test_clock, clock)->passed_ns);
}

static int64_t test_wall(struct clock *c)
{
	return INT64_C(1700000000) * NS_PER_S + test_mono(c);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

struct bench {
	char dir[64];
	struct test_clock clock;
	struct apiserver server;
	struct worker worker;
	struct repair repair;
};

/* seed.c's are the parts of a running server; here the pass alone is looked at. */
static void put(struct bench *b, const char *key, const char *value)
{
	auto_err struct err err = ERR_INIT;
	auto_bytes struct bytes *bytes = value ? bytes_of(span_of(value)) : NULL;
	struct store_txn *t = store_txn_new();
	if (bytes)
		store_txn_put(t, STORE_THEN, span_of(key), bytes, 0);
	else
		store_txn_delete(t, STORE_THEN, span_of(key));
	store_commit(b->server.store, t, NULL, on_written, NULL);
}

/* What stands at the key once all that was handed in is there; a write of our own tells when. */
static const char *stored(struct bench *b, struct arena *a, const char *key)
{
	static unsigned n;
	auto_buf struct buf mark = {};
	buf_printf(&mark, "/mark/%u", n++);
	put(b, buf_cstr(&mark), "1");
	for (int i = 0; i < 5000; i++) {
		struct store_snapshot *snap = store_snapshot(b->server.store);
		const struct store_item *it = store_get(snap, span_of(key));
		bool there = store_get(snap, buf_span(&mark));
		const char *text = it ? arena_span(a, bytes_span(it->value)).ptr : "";
		store_snapshot_unref(snap);
		if (there)
			return text;
		usleep(1000);
	}
	fail_msg("the store does not answer");
	return NULL;
}

static void pass(struct bench *b)
{
	do
		slice(&b->repair);
	while (b->repair.phase != SERVICES || b->repair.next.len);
}

static int setup(void **state)
{
	struct bench *b = mem_new(struct bench);
	auto_err struct err err = ERR_INIT;
	(void)snprintf(b->dir, sizeof(b->dir), "/tmp/knarr-repair-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	b->clock.clock = (struct clock){ .mono_ns = test_mono, .wall_ns = test_wall };
	const struct store_options o = { .dir = b->dir, .clock = &b->clock.clock };
	if (store_open(&o, &b->server.store, &err) < 0)
		fail_msg("%s", err_msg(&err));
	b->server.clock = &b->clock.clock;
	b->server.registry = api_registry_box_new(api_registry_builtin(false));
	b->worker.server = &b->server;
	b->repair.w = &b->worker;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;
	auto_err struct err err = ERR_INIT;
	assert_int_equal(store_close(b->server.store, &err), 0);
	api_registry_cache_done(&b->worker.registry);
	api_registry_box_free(b->server.registry);
	buf_done(&b->repair.next);
	assert_int_equal(nftw(b->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	free(b);
	return 0;
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
