/* Addresses, pools, DNS messages: what needs neither the kernel nor a namespace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/calls_test.h"
#include "network/pool.h"
#include "network/private.h"

static struct sys_prefix prefix(const char *text)
{
	struct sys_prefix p = { 0 };
	assert_true(sys_prefix_parse(span_of(text), &p));
	return p;
}

static struct sys_addr addr(const char *text)
{
	struct sys_addr a = { 0 };
	assert_true(sys_addr_parse(span_of(text), &a));
	return a;
}

static void addresses_as_text(void **state)
{
	static const char *const good[] = { "10.0.0.0/8", "0.0.0.0/0", "192.0.2.255/32", "fd00::/8", "2001:db8::1/128", "::/0" };
	static const char *const bad[] = { "", "/", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0/8", "10.0.0.01/8", "::/129",
					   "::1%eth0/64", "10.0.0.0/-1", "10.0.0.0/8 ", "a.b.c.d/8" };
	char out[SYS_ADDR_TEXT], mac[18];
	struct sys_prefix p;
	uint8_t bytes[6];
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		p = prefix(good[i]);
		assert_string_equal(sys_prefix_text(&p, out), good[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (sys_prefix_parse(span_of(bad[i]), &p))
			fail_msg("\"%s\" was taken for a prefix", bad[i]);
	assert_true(sys_mac_parse(SPAN("02:42:AC:11:00:02"), bytes));
	assert_string_equal(sys_mac_text(bytes, mac), "02:42:ac:11:00:02");
	assert_false(sys_mac_parse(SPAN("02:42:ac:11:00"), bytes));
	assert_false(sys_mac_parse(SPAN("02:42:ac-11:00:02"), bytes));
	assert_false(sys_mac_parse(SPAN("02;42;ac;11;00;02"), bytes));
}

static void prefixes_overlap(void **state)
{
	static const struct {
		const char *a, *b;
		bool overlap;
	} rows[] = { { "10.0.0.0/8", "10.255.0.0/16", true }, { "10.0.0.0/9", "10.128.0.0/9", false }, { "0.0.0.0/0", "1.2.3.4/32", true },
		     { "fd00::/8", "10.0.0.0/8", false }, { "fd00::/64", "fd00:0:0:1::/64", false }, { "fd00::/62", "fd00:0:0:3::/64", true } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sys_prefix a = prefix(rows[i].a), b = prefix(rows[i].b);
		if (sys_prefix_overlaps(&a, &b) != rows[i].overlap || sys_prefix_overlaps(&b, &a) != rows[i].overlap)
			fail_msg("%s and %s: wanted overlap %d", rows[i].a, rows[i].b, rows[i].overlap);
	}
}

static void pools_give_the_lowest(void **state)
{
	struct network_pool p;
	struct sys_prefix subnet = prefix("10.1.0.0/29");
	struct sys_addr a, wanted;
	char text[SYS_ADDR_TEXT];
	network_pool_init(&p, &subnet);
	static const char *const order[] = { "10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6" };
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		assert_int_equal(network_pool_take(&p, NULL, &a), NETWORK_TAKEN);
		assert_string_equal(sys_addr_text(&a, text), order[i]);
	}
	assert_int_equal(network_pool_take(&p, NULL, &a), NETWORK_TAKE_NONE_LEFT);
	wanted = addr("10.1.0.4");
	assert_int_equal(network_pool_take(&p, &wanted, &a), NETWORK_TAKE_BUSY);
	network_pool_give(&p, &wanted);
	network_pool_give(&p, &wanted); /* twice is harmless */
	assert_false(network_pool_is_used(&p, &wanted));
	assert_int_equal(network_pool_take(&p, NULL, &a), NETWORK_TAKEN);
	assert_string_equal(sys_addr_text(&a, text), "10.1.0.4");
	wanted = addr("10.1.0.0");
	assert_int_equal(network_pool_take(&p, &wanted, &a), NETWORK_TAKE_BUSY);
	wanted = addr("10.1.0.7");
	assert_int_equal(network_pool_take(&p, &wanted, &a), NETWORK_TAKE_BUSY);
	wanted = addr("10.1.0.8");
	assert_int_equal(network_pool_take(&p, &wanted, &a), NETWORK_TAKE_OUTSIDE);
	network_pool_done(&p);
}

static void pools_keep_to_their_range(void **state)
{
	struct network_pool p;
	struct sys_prefix subnet = prefix("10.1.0.0/16");
	struct sys_addr a, wanted = addr("10.1.0.9");
	char text[SYS_ADDR_TEXT];
	network_pool_init(&p, &subnet);
	p.range = prefix("10.1.255.254/31");
	assert_int_equal(network_pool_take(&p, NULL, &a), NETWORK_TAKEN);
	assert_string_equal(sys_addr_text(&a, text), "10.1.255.254");
	assert_int_equal(network_pool_take(&p, NULL, &a), NETWORK_TAKE_NONE_LEFT); /* .255 is the broadcast address */
	assert_int_equal(network_pool_take(&p, &wanted, &a), NETWORK_TAKEN);	   /* static ones need not be in the range */
	network_pool_done(&p);
	subnet = prefix("fd00:1:2:3::/64");
	network_pool_init(&p, &subnet);
	wanted = addr("fd00:1:2:3:ffff:ffff:ffff:ffff");
	assert_int_equal(network_pool_take(&p, &wanted, &a), NETWORK_TAKEN);
	assert_int_equal(network_pool_take(&p, NULL, &a), NETWORK_TAKEN);
	assert_string_equal(sys_addr_text(&a, text), "fd00:1:2:3::1");
	network_pool_done(&p);
	subnet = prefix("10.9.9.8/31");
	network_pool_init(&p, &subnet);
	assert_int_equal(network_pool_take(&p, NULL, &a), NETWORK_TAKEN);
	assert_string_equal(sys_addr_text(&a, text), "10.9.9.8");
	assert_int_equal(network_pool_take(&p, NULL, &a), NETWORK_TAKEN);
	assert_int_equal(network_pool_take(&p, NULL, &a), NETWORK_TAKE_NONE_LEFT);
	network_pool_done(&p);
}

/* Against a plain table of which addresses are taken. */
static void pools_against_a_model(void **state)
{
	struct network_pool p;
	struct sys_prefix subnet = prefix("10.1.2.0/24");
	bool taken[256] = { [0] = true, [255] = true };
	struct rng r;
	network_pool_init(&p, &subnet);
	rng_init(&r, 7);
	for (int i = 0; i < 20000; i++) {
		struct sys_addr a, w = sys_prefix_at(&subnet, rng_below(&r, 256));
		switch (rng_below(&r, 3)) {
		case 0: {
			int want = 1;
			while (want < 256 && taken[want])
				want++;
			enum network_taken rc = network_pool_take(&p, NULL, &a);
			assert_int_equal(rc, want == 256 ? NETWORK_TAKE_NONE_LEFT : NETWORK_TAKEN);
			if (rc == NETWORK_TAKEN) {
				assert_int_equal(a.b[3], want);
				taken[want] = true;
			}
			break;
		}
		case 1:
			assert_int_equal(network_pool_take(&p, &w, &a), taken[w.b[3]] ? NETWORK_TAKE_BUSY : NETWORK_TAKEN);
			taken[w.b[3]] = true;
			break;
		default:
			network_pool_give(&p, &w);
			taken[w.b[3]] = w.b[3] == 0 || w.b[3] == 255;
		}
	}
	network_pool_done(&p);
}

static void supplies_in_dockers_order(void **state)
{
	struct sys_prefix avoid[64], got;
	char text[SYS_ADDR_TEXT];
	size_t n = 0;
	avoid[n++] = prefix("172.17.4.0/24");
	avoid[n++] = prefix("10.0.0.0/8");
	for (int i = 18; i <= 31; i++) {
		assert_true(network_supply_choose(network_supply_default, network_supply_default_n, AF_INET, avoid, n, &got));
		char want[32];
		snprintf(want, sizeof(want), "172.%d.0.0/16", i);
		assert_string_equal(sys_prefix_text(&got, text), want);
		avoid[n++] = got;
	}
	for (int i = 0; i < 16; i++) {
		assert_true(network_supply_choose(network_supply_default, network_supply_default_n, AF_INET, avoid, n, &got));
		char want[32];
		snprintf(want, sizeof(want), "192.168.%d.0/20", i * 16);
		assert_string_equal(sys_prefix_text(&got, text), want);
		avoid[n++] = got;
	}
	assert_false(network_supply_choose(network_supply_default, network_supply_default_n, AF_INET, avoid, n, &got));
	assert_false(network_supply_choose(network_supply_default, network_supply_default_n, AF_INET6, avoid, n, &got));
}

static void settings_are_checked(void **state)
{
	static const char *const bad[][2] = {
		{ "{\"bip\":\"172.26.0.1\"}", "\"bip\": not an IPv4 CIDR block" },
		{ "{\"mtu\":10}", "\"mtu\": not within 68 to 65535" },
		{ "{\"icc\":\"yes\"}", "\"icc\": not true or false" },
		{ "{\"dns\":[\"one\"]}", "\"dns\": not a list of IP addresses" },
		{ "{\"default-address-pools\":[{\"base\":\"10.0.0.0/8\",\"size\":4}]}", "\"size\" is less" },
		{ "{\"bridge\":\"abcdefghijklmnop\"}", "longer than an interface's name" },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		auto_arena struct arena a = { 0 };
		struct network_settings s;
		struct json tree;
		OK(json_parse(&a, span_of(bad[i][0]), 0, NULL, &tree, &err));
		FAILS(ERR_INVALID, bad[i][1], network_settings_read(&s, &tree, &err));
		arena_done(&s.arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_as_text), cmocka_unit_test(prefixes_overlap), cmocka_unit_test(pools_give_the_lowest),
		cmocka_unit_test(pools_keep_to_their_range), cmocka_unit_test(pools_against_a_model),
		cmocka_unit_test(supplies_in_dockers_order), cmocka_unit_test(settings_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
