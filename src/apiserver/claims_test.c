/* What Services claim, and where ranges begin and end. */
#include "apiserver/claims.h"
#include "json/parse_test.h"

static void services_claim(void **state)
{
	static const struct {
		const char *spec, *ips, *ports;
	} rows[] = {
		{ "{\"type\":\"ClusterIP\",\"clusterIPs\":[\"10.0.0.1\"],\"ports\":[{\"port\":1,\"nodePort\":30001}]}", "10.0.0.1 ", "" },
		{ "{\"type\":\"ClusterIP\",\"clusterIPs\":[\"None\"]}", "", "" },
		{ "{\"type\":\"ExternalName\",\"clusterIPs\":[\"10.0.0.1\"]}", "", "" },
		{ "{\"type\":\"NodePort\",\"clusterIPs\":[\"10.0.0.1\",\"fd00::1\"],\"ports\":[{\"nodePort\":30001},{\"nodePort\":30002},"
		  "{\"nodePort\":30001},{\"port\":5}]}", "10.0.0.1 fd00::1 ", "30001 30002 " },
		{ "{\"type\":\"LoadBalancer\",\"clusterIPs\":[\"10.0.0.1\",\"10.0.0.2\",\"10.0.0.3\"],\"healthCheckNodePort\":30009,"
		  "\"externalTrafficPolicy\":\"Local\"}", "10.0.0.1 10.0.0.2 ", "30009 " },
		{ "{\"type\":\"LoadBalancer\",\"healthCheckNodePort\":30009,\"externalTrafficPolicy\":\"Cluster\"}", "", "" },
		{ "{\"type\":\"NodePort\",\"ports\":[{\"nodePort\":-1},{\"nodePort\":65536},{\"nodePort\":65535}]}", "", "65535 " },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf ips = {}, ports = {};
		struct json service = json_object();
		json_setl(&a, &service, "spec", parse(&a, rows[i].spec));
		struct claims c = claims_of(&service);
		for (unsigned k = 0; k < c.n_ips; k++)
			buf_printf(&ips, "%.*s ", SPAN_ARG(c.ips[k]));
		for (unsigned k = 0; k < c.n_ports; k++)
			buf_printf(&ports, "%d ", c.ports[k]);
		assert_string_equal(buf_cstr(&ips), rows[i].ips);
		assert_string_equal(buf_cstr(&ports), rows[i].ports);
	}
	assert_int_equal(claims_of(NULL).n_ips + claims_of(NULL).n_ports, 0);
}

/* More ports than there is room for: the rest is left out, nothing is overrun. */
static void many_ports(void **state)
{
	auto_arena struct arena a = {};
	struct json service = parse(&a, "{\"spec\":{\"type\":\"NodePort\",\"ports\":[]}}");
	for (int i = 0; i < 2 * CLAIMS_PORTS_MAX; i++) {
		struct json port = json_object();
		json_setl(&a, &port, "nodePort", json_int(30000 + i));
		(void)json_push(&a, json_path(&service, "spec", "ports", NULL), port);
	}
	struct claims c = claims_of(&service);
	assert_int_equal(c.n_ports, CLAIMS_PORTS_MAX);
	assert_true(claims_have_port(&c, 30000 + CLAIMS_PORTS_MAX - 1));
	assert_false(claims_have_port(&c, 30000 + CLAIMS_PORTS_MAX));
}

static void ranges(void **state)
{
	static const struct {
		const char *cidr, *ip;
		bool in;
	} rows[] = {
		{ "10.96.0.0/24", "10.96.0.0", false },	  { "10.96.0.0/24", "10.96.0.1", true },
		{ "10.96.0.0/24", "10.96.0.254", true },  { "10.96.0.0/24", "10.96.0.255", false },
		{ "10.96.0.0/24", "10.96.1.1", false },	  { "10.96.0.0/24", "fd00::1", false },
		{ "fd00::/120", "fd00::", false },	  { "fd00::/120", "fd00::1", true },
		{ "fd00::/120", "fd00::ff", true },	  { "fd00::/120", "fd00::100", false },
		{ "fd00::/64", "fd00::ffff:ffff", true }, { "nonsense", "10.96.0.1", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct api_ip ip;
		assert_true(api_ip_parse(span_of(rows[i].ip), &ip));
		if (claims_in(span_of(rows[i].cidr), &ip) != rows[i].in)
			fail_msg("%s in %s: want %d", rows[i].ip, rows[i].cidr, rows[i].in);
	}
	struct api_ip base;
	unsigned bits;
	auto_arena struct arena a = {};
	char text[46];
	assert_true(api_cidr_parse(SPAN("10.96.0.0/16"), &base, &bits));
	assert_int_equal(claims_hosts(&base, bits), 65534);
	struct api_ip ip = claims_plus(base, 65534);
	assert_true(span_is(span_make(text, api_ip_print(&ip, text)), "10.96.255.254"));
	assert_true(api_cidr_parse(SPAN("fd00::/48"), &base, &bits));
	assert_true(claims_hosts(&base, bits) == (UINT64_C(1) << 62) - 1);
	ip = claims_plus(base, UINT64_C(1) << 32);
	assert_true(span_is(span_make(text, api_ip_print(&ip, text)), "fd00::1:0:0"));
	assert_string_equal(claims_name(&a, SPAN("FD00:0::1")), "fd00::1");
	assert_null(claims_name(&a, SPAN("None")));
}

static void reserved(void **state)
{
	static const struct {
		uint64_t size, step, most, want;
	} rows[] = {
		{ 8, 16, 256, 0 },	{ 14, 16, 256, 0 },	{ 16, 16, 256, 16 },	  { 254, 16, 256, 16 },
		{ 1022, 16, 256, 63 },	{ 65534, 16, 256, 256 }, { 2768, 32, 128, 86 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(claims_reserved(rows[i].size, rows[i].step, rows[i].most), rows[i].want);
}

static void port_ranges(void **state)
{
	static const char *const bad[] = { "", "30000", "0-5", "9-1", "1-65536", "a-b", "1-2-3" };
	int low = 0, high = 0;
	assert_true(claims_port_range(SPAN("30000-32767"), &low, &high));
	assert_int_equal(low, 30000);
	assert_int_equal(high, 32767);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (claims_port_range(span_of(bad[i]), &low, &high))
			fail_msg("%s is a range", bad[i]);
}

static void addresses(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf b = {};
	struct json v = claims_address(&a, SPAN("10.0.0.1"), SPAN("d"), SPAN("a\"b"));
	json_write(&b, &v, 0);
	assert_string_equal(buf_cstr(&b), "{\"metadata\":{\"name\":\"10.0.0.1\",\"labels\":{\"ipaddress.kubernetes.io/ip-family\":\"IPv4\","
					  "\"ipaddress.kubernetes.io/managed-by\":\"ipallocator.k8s.io\"}},\"spec\":{\"parentRef\":{\"resource\":"
					  "\"services\",\"namespace\":\"d\",\"name\":\"a\\\"b\"}}}");
	assert_true(claims_address_fits(&v, SPAN("d"), SPAN("a\"b")));
	assert_false(claims_address_fits(&v, SPAN("d"), SPAN("a")));
	assert_false(claims_address_fits(&v, SPAN("e"), SPAN("a\"b")));
	v = parse(&a, "{\"spec\":{\"parentRef\":{\"group\":\"x\",\"resource\":\"services\",\"namespace\":\"d\",\"name\":\"s\"}}}");
	assert_false(claims_address_fits(&v, SPAN("d"), SPAN("s")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(services_claim), cmocka_unit_test(many_ports), cmocka_unit_test(ranges),
		cmocka_unit_test(reserved),	  cmocka_unit_test(port_ranges), cmocka_unit_test(addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
