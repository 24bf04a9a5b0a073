/* The zone by tables: objects as JSON, questions and answers as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "dns/zone.h"

static void service(struct dns_zone *z, const char *key, const char *text)
{
	auto_arena struct arena a = { 0 };
	struct json o;
	assert_int_equal(json_parse(&a, span_of(text), 0, NULL, &o, NULL), 0);
	dns_zone_service(z, span_of(key), dns_service_read(&o));
}

static void slice(struct dns_zone *z, const char *service_key, const char *key, const char *text)
{
	auto_arena struct arena a = { 0 };
	struct json o;
	assert_int_equal(json_parse(&a, span_of(text), 0, NULL, &o, NULL), 0);
	dns_zone_slice(z, span_of(service_key), span_of(key), dns_slice_read(&o));
}

static size_t u16(const uint8_t *p)
{
	return (size_t)p[0] << 8 | p[1];
}

/* The name at `at` as text; returns what is behind it. */
static size_t name_text(const uint8_t *m, size_t at, struct buf *out)
{
	size_t behind = 0;
	while (m[at])
		if (m[at] >= 0xc0) {
			behind = behind ? behind : at + 2;
			at = u16(m + at) & 0x3fff;
		} else {
			buf_add(out, m + at + 1, m[at]);
			buf_chr(out, '.');
			at += m[at] + 1u;
		}
	return behind ? behind : at + 1;
}

/* "NOERROR aa; A 10.0.0.1; +A ..." : code, flags, then records; '!' before those of authority, '+' before additional ones. */
static void answer_text(const struct dnsmsg_out *o, struct buf *out)
{
	const uint8_t *m = o->ptr;
	size_t at = DNSMSG_HEAD;
	auto_buf struct buf asked = { 0 };
	buf_printf(out, "%u%s%s", m[3] & 15u, m[2] & 4 ? " aa" : "", m[2] & 2 ? " tc" : "");
	at = name_text(m, at, &asked) + 4;
	for (unsigned s = 1; s <= 3; s++)
		for (size_t n = u16(m + 4 + 2 * s); n; n--) {
			auto_buf struct buf owner = { 0 };
			struct sys_addr a = { 0 };
			char text[SYS_ADDR_TEXT];
			at = name_text(m, at, &owner);
			size_t type = u16(m + at), len = u16(m + at + 8);
			const uint8_t *data = m + at + 10;
			at += 10 + len;
			assert_true(at <= o->len);
			buf_printf(out, "; %s", s == 2 ? "!" : s == 3 ? "+" : "");
			if (!span_eq_nocase(buf_span(&owner), buf_span(&asked)))
				buf_printf(out, "%s ", buf_cstr(&owner));
			if (type == DNSMSG_A || type == DNSMSG_AAAA) {
				a.family = type == DNSMSG_A ? AF_INET : AF_INET6;
				memcpy(a.b, data, len);
				buf_str(out, sys_addr_text(&a, text));
			} else if (type == DNSMSG_SRV) {
				buf_printf(out, "SRV %zu %zu %zu ", u16(data), u16(data + 2), u16(data + 4));
				(void)name_text(m, (size_t)(data + 6 - m), out);
			} else if (type == DNSMSG_TXT) {
				buf_printf(out, "TXT %.*s", data[0], (const char *)data + 1);
			} else if (type == DNSMSG_SOA) {
				buf_str(out, "SOA");
			} else if (type == DNSMSG_OPT) {
				buf_str(out, "OPT");
			} else {
				buf_printf(out, "%s ", type == DNSMSG_CNAME ? "CNAME" : type == DNSMSG_PTR ? "PTR" : "NS");
				(void)name_text(m, (size_t)(data - m), out);
			}
		}
	assert_int_equal(at, o->len);
}

static size_t query(uint8_t *packet, const char *name, uint16_t type)
{
	struct dnsmsg_name n;
	assert_true(dnsmsg_name_parse(span_of(name), &n));
	return dnsmsg_query(packet, 7, &n, type, false, false) - DNSMSG_OPT_LEN;
}

static void expect_max(struct dns_zone *z, const char *name, uint16_t type, size_t max, const char *want)
{
	uint8_t packet[600], room[4096];
	auto_buf struct buf got = { 0 };
	struct dnsmsg_question q;
	struct dnsmsg_name target;
	struct dnsmsg_out o = { .ptr = room, .max = max };
	size_t len = query(packet, name, type);
	packet[11] = 0;
	assert_int_equal(dnsmsg_parse(span_make(packet, len), &q), 0);
	enum dns_verdict v = dns_zone_answer(z, span_make(packet, len), &q, 0, &o, &target);
	if (v == DNS_ELSEWHERE) {
		buf_str(&got, "elsewhere");
	} else {
		dnsmsg_end(&o, &q);
		answer_text(&o, &got);
		if (v == DNS_CHASE)
			buf_str(&got, "; chase");
	}
	if (strcmp(buf_cstr(&got), want) != 0)
		print_error("%s %u\n  got  %s\n  want %s\n", name, type, buf_cstr(&got), want);
	assert_string_equal(buf_cstr(&got), want);
}

static void expect(struct dns_zone *z, const char *name, uint16_t type, const char *want)
{
	expect_max(z, name, type, 4096, want);
}

static struct dns_zone *zone(void)
{
	const struct sys_addr own = { AF_INET, { 10, 244, 0, 1 } };
	struct dns_zone *z;
	assert_int_equal(dns_zone_new(SPAN("Cluster.Local."), &own, &z, NULL), 0);
	return z;
}

static void test_zone_itself(void **state)
{
	struct dns_zone *z = zone();
	expect(z, "dns-version.cluster.local", DNSMSG_TXT, "0 aa; TXT 1.1.0");
	expect(z, "cluster.local", DNSMSG_SOA, "0 aa; SOA");
	expect(z, "cluster.local", DNSMSG_NS, "0 aa; NS ns.dns.cluster.local.");
	expect(z, "ns.dns.cluster.local", DNSMSG_A, "0 aa; 10.244.0.1");
	expect(z, "cluster.local", DNSMSG_A, "0 aa; !SOA");
	expect(z, "svc.cluster.local", DNSMSG_A, "0 aa; !cluster.local. SOA");
	expect(z, "none.cluster.local", DNSMSG_A, "3 aa; !cluster.local. SOA");
	expect(z, "example.com", DNSMSG_A, "elsewhere");
	expect(z, "xcluster.local", DNSMSG_A, "elsewhere");
	expect(z, "local", DNSMSG_A, "elsewhere");
	dns_zone_free(z);
}

static void test_cluster_ip(void **state)
{
	struct dns_zone *z = zone();
	service(z, "default/web", "{\"spec\":{\"type\":\"ClusterIP\",\"clusterIP\":\"10.96.0.7\",\"clusterIPs\":[\"10.96.0.7\",\"fd00::7\"],"
		"\"ports\":[{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":80},{\"port\":81}]}}");
	expect(z, "web.default.svc.cluster.local", DNSMSG_A, "0 aa; 10.96.0.7");
	expect(z, "WEB.default.SVC.cluster.LOCAL", DNSMSG_AAAA, "0 aa; fd00::7");
	expect(z, "web.default.svc.cluster.local", DNSMSG_MX, "0 aa; !cluster.local. SOA");
	expect(z, "_http._tcp.web.default.svc.cluster.local", DNSMSG_SRV, "0 aa; SRV 0 100 80 web.default.svc.cluster.local.; "
		"+web.default.svc.cluster.local. 10.96.0.7; +web.default.svc.cluster.local. fd00::7");
	expect(z, "_tcp.web.default.svc.cluster.local", DNSMSG_A, "0 aa; !cluster.local. SOA");
	expect(z, "_udp.web.default.svc.cluster.local", DNSMSG_A, "3 aa; !cluster.local. SOA");
	expect(z, "default.svc.cluster.local", DNSMSG_A, "0 aa; !cluster.local. SOA");
	expect(z, "7.0.96.10.in-addr.arpa", DNSMSG_PTR, "0 aa; PTR web.default.svc.cluster.local.");
	expect(z, "8.0.96.10.in-addr.arpa", DNSMSG_PTR, "elsewhere");
	dns_zone_service(z, SPAN("default/web"), NULL);
	expect(z, "web.default.svc.cluster.local", DNSMSG_A, "3 aa; !cluster.local. SOA");
	expect(z, "default.svc.cluster.local", DNSMSG_A, "3 aa; !cluster.local. SOA");
	expect(z, "7.0.96.10.in-addr.arpa", DNSMSG_PTR, "elsewhere");
	dns_zone_free(z);
}

#define SLICE(ready) "{\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"sql\",\"protocol\":\"TCP\",\"port\":5432}],\"endpoints\":[" \
	"{\"addresses\":[\"10.244.0.5\"],\"hostname\":\"db-0\",\"conditions\":{\"ready\":true}}," \
	"{\"addresses\":[\"10.244.0.6\"],\"conditions\":{\"ready\":" ready "}}]}"

static void test_headless(void **state)
{
	struct dns_zone *z = zone();
	slice(z, "shop/db", "shop/db-1", SLICE("false"));
	expect(z, "db.shop.svc.cluster.local", DNSMSG_A, "3 aa; !cluster.local. SOA");
	service(z, "shop/db", "{\"spec\":{\"clusterIP\":\"None\"}}");
	expect(z, "db.shop.svc.cluster.local", DNSMSG_A, "0 aa; 10.244.0.5");
	expect(z, "db-0.db.shop.svc.cluster.local", DNSMSG_A, "0 aa; 10.244.0.5");
	expect(z, "10-244-0-6.db.shop.svc.cluster.local", DNSMSG_A, "3 aa; !cluster.local. SOA");
	slice(z, "shop/db", "shop/db-1", SLICE("true"));
	expect(z, "db.shop.svc.cluster.local", DNSMSG_A, "0 aa; 10.244.0.5; 10.244.0.6");
	expect_max(z, "db.shop.svc.cluster.local", DNSMSG_A, 64, "0 aa tc; 10.244.0.5");
	expect(z, "10-244-0-6.db.shop.svc.cluster.local", DNSMSG_A, "0 aa; 10.244.0.6");
	expect(z, "6.0.244.10.in-addr.arpa", DNSMSG_PTR, "0 aa; PTR 10-244-0-6.db.shop.svc.cluster.local.");
	expect(z, "_sql._tcp.db.shop.svc.cluster.local", DNSMSG_SRV, "0 aa; SRV 0 100 5432 db-0.db.shop.svc.cluster.local.; "
		"SRV 0 100 5432 10-244-0-6.db.shop.svc.cluster.local.; +db-0.db.shop.svc.cluster.local. 10.244.0.5; "
		"+10-244-0-6.db.shop.svc.cluster.local. 10.244.0.6");
	slice(z, "shop/db", "shop/db-1", SLICE("false"));
	service(z, "shop/db", "{\"spec\":{\"clusterIP\":\"None\",\"publishNotReadyAddresses\":true}}");
	expect(z, "db.shop.svc.cluster.local", DNSMSG_A, "0 aa; 10.244.0.5; 10.244.0.6");
	/* The slice goes to another service. */
	service(z, "shop/other", "{\"spec\":{\"clusterIP\":\"None\"}}");
	slice(z, "shop/other", "shop/db-1", SLICE("false"));
	expect(z, "db.shop.svc.cluster.local", DNSMSG_A, "0 aa; !cluster.local. SOA");
	expect(z, "other.shop.svc.cluster.local", DNSMSG_A, "0 aa; 10.244.0.5");
	dns_zone_slice(z, SPAN_EMPTY, SPAN("shop/db-1"), NULL);
	expect(z, "other.shop.svc.cluster.local", DNSMSG_A, "0 aa; !cluster.local. SOA");
	dns_zone_service(z, SPAN("shop/other"), NULL);
	expect(z, "other.shop.svc.cluster.local", DNSMSG_A, "3 aa; !cluster.local. SOA");
	dns_zone_free(z);
}

/* A hostname may be as long as a label may be. */
static void test_long_hostname(void **state)
{
	static const char host[] = "a23456789-123456789-123456789-123456789-123456789-123456789-123";
	struct dns_zone *z = zone();
	auto_buf struct buf text = { 0 }, name = { 0 };
	assert_int_equal(strlen(host), 63);
	service(z, "shop/db", "{\"spec\":{\"clusterIP\":\"None\"}}");
	buf_printf(&text, "{\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.244.0.5\"],\"hostname\":\"%s\"}]}", host);
	slice(z, "shop/db", "shop/db-1", buf_cstr(&text));
	buf_printf(&name, "%s.db.shop.svc.cluster.local", host);
	expect(z, buf_cstr(&name), DNSMSG_A, "0 aa; 10.244.0.5");
	dns_zone_free(z);
}

static void test_external_name(void **state)
{
	struct dns_zone *z = zone();
	service(z, "default/out", "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"www.Example.com\"}}");
	service(z, "default/in", "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"web.default.svc.cluster.local\"}}");
	service(z, "default/round", "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"round.default.svc.cluster.local\"}}");
	service(z, "default/web", "{\"spec\":{\"clusterIP\":\"10.96.0.7\"}}");
	expect(z, "out.default.svc.cluster.local", DNSMSG_A, "0 aa; CNAME www.example.com.; chase");
	expect(z, "out.default.svc.cluster.local", DNSMSG_CNAME, "0 aa; CNAME www.example.com.");
	expect(z, "in.default.svc.cluster.local", DNSMSG_A,
	       "0 aa; CNAME web.default.svc.cluster.local.; web.default.svc.cluster.local. 10.96.0.7");
	expect(z, "in.default.svc.cluster.local", DNSMSG_AAAA,
	       "0 aa; CNAME web.default.svc.cluster.local.; !cluster.local. SOA");
	dns_zone_service(z, SPAN("default/web"), NULL);
	expect(z, "in.default.svc.cluster.local", DNSMSG_A, "3 aa; CNAME web.default.svc.cluster.local.; !cluster.local. SOA");
	expect_max(z, "round.default.svc.cluster.local", DNSMSG_A, 100, "0 aa tc; CNAME round.default.svc.cluster.local.");
	dns_zone_free(z);
}

static void test_pods(void **state)
{
	struct dns_zone *z = zone();
	expect(z, "10-244-0-9.default.pod.cluster.local", DNSMSG_A, "0 aa; 10.244.0.9");
	expect(z, "10-244-0-9.default.pod.cluster.local", DNSMSG_AAAA, "0 aa; !cluster.local. SOA");
	expect(z, "fd00--9.default.pod.cluster.local", DNSMSG_AAAA, "0 aa; fd00::9");
	expect(z, "10-244-0.default.pod.cluster.local", DNSMSG_A, "3 aa; !cluster.local. SOA");
	expect(z, "default.pod.cluster.local", DNSMSG_A, "0 aa; !cluster.local. SOA");
	expect(z, "x.10-244-0-9.default.pod.cluster.local", DNSMSG_A, "3 aa; !cluster.local. SOA");
	dns_zone_free(z);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zone_itself), cmocka_unit_test(test_cluster_ip), cmocka_unit_test(test_headless),
		cmocka_unit_test(test_long_hostname),
		cmocka_unit_test(test_external_name), cmocka_unit_test(test_pods),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
