/* Plans by tables: a service and its slices as JSON, elements as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdlib.h>

#include "proxy/plan.h"

static struct proxy_service *service(const char *text)
{
	auto_arena struct arena a = { 0 };
	struct json o;
	assert_int_equal(json_parse(&a, span_of(text), 0, NULL, &o, NULL), 0);
	return proxy_service_read(&o);
}

static struct proxy_slice *slice(const char *text)
{
	auto_arena struct arena a = { 0 };
	struct json o;
	assert_int_equal(json_parse(&a, span_of(text), 0, NULL, &o, NULL), 0);
	return proxy_slice_read(&o, SPAN("here"), SPAN("a"));
}

/* "front4 10.96.0.1 6 80 -> 10.96.0.1 80 6 1" a line: addresses as such, ports, other words as numbers. */
static void fields(struct buf *out, const uint8_t *types, unsigned n, const uint8_t *p)
{
	for (unsigned i = 0; i < n && types[i]; i++) {
		char text[64];
		uint32_t v;
		memcpy(&v, p, 4);
		if (types[i] == SYS_NFT_IP4 || types[i] == SYS_NFT_IP6)
			buf_printf(out, " %s", inet_ntop(types[i] == SYS_NFT_IP4 ? AF_INET : AF_INET6, p, text, sizeof(text)));
		else if (types[i] == SYS_NFT_PORT)
			buf_printf(out, " %u", p[0] << 8 | p[1]);
		else if (types[i] == SYS_NFT_PROTO)
			buf_printf(out, " %u", p[0]);
		else
			buf_printf(out, " %#x", v);
		p += types[i] == SYS_NFT_IP6 ? 16 : 4;
	}
}

static void one(struct buf *out, const struct proxy_element *e)
{
	const struct sys_nft_set *row = proxy_set_row(e->family, e->set);
	buf_str(out, row->name);
	fields(out, row->key, 5, e->key);
	if (e->key_end) {
		buf_str(out, " to");
		fields(out, row->key, 5, e->key_end);
	}
	if (e->data_len) {
		buf_str(out, " ->");
		fields(out, row->data, 5, e->data);
	}
	buf_chr(out, '\n');
}

static void text_of(const struct proxy_plan *p, struct buf *out)
{
	for (size_t i = 0; i < p->elements.n; i++) {
		struct proxy_element e = proxy_elements_at(&p->elements, i);
		one(out, &e);
	}
}

static const char *const one_ready =
	"{\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"\",\"port\":8080,\"protocol\":\"TCP\"}],\"endpoints\":["
	"{\"addresses\":[\"10.1.0.5\"],\"nodeName\":\"other\",\"conditions\":{\"ready\":true}}]}";
static const char *const two_one_here =
	"{\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"\",\"port\":8080,\"protocol\":\"TCP\"}],\"endpoints\":["
	"{\"addresses\":[\"10.1.0.5\"],\"nodeName\":\"other\"},{\"addresses\":[\"10.1.1.5\"],\"nodeName\":\"here\"}]}";

static void plans(void **state)
{
	static const struct {
		const char *what, *service, *slice, *want;
	} rows[] = {
		{ "cluster address",
		  "{\"spec\":{\"type\":\"ClusterIP\",\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80,\"protocol\":\"TCP\"}]}}", one_ready,
		  "front4 10.96.0.1 6 80 -> 0x1 10.96.0.1 80 0x6\n"
		  "slots4 10.96.0.1 80 0x6 0 -> 10.1.0.5 8080\n" },
		{ "nobody there",
		  "{\"spec\":{\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80,\"nodePort\":30001}]}}", NULL,
		  "closed4 10.96.0.1 6 80 -> 0x1\n"
		  "closed_ports4 6 30001 -> 0x1\n" },
		{ "node port",
		  "{\"spec\":{\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80,\"nodePort\":30001}]}}", two_one_here,
		  "front4 10.96.0.1 6 80 -> 0x2 10.96.0.1 80 0x6\n"
		  "ports4 6 30001 -> 0x2 10.96.0.1 80 0x6\n"
		  "slots4 10.96.0.1 80 0x6 0 -> 10.1.0.5 8080\n"
		  "slots4 10.96.0.1 80 0x6 0x1 -> 10.1.1.5 8080\n"
		  "masq_ports4 6 30001\n"
		  "hairpin4 10.1.1.5 10.1.1.5\n" },
		{ "node port, Local",
		  "{\"spec\":{\"type\":\"NodePort\",\"externalTrafficPolicy\":\"Local\",\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80,"
		  "\"nodePort\":30001}]}}", two_one_here,
		  "front4 10.96.0.1 6 80 -> 0x2 10.96.0.1 80 0x6\n"
		  "ports4 6 30001 -> 0x2 10.96.0.1 80 0x6\n"
		  "outer_ports4 6 30001 -> 0x1 10.96.0.1 80 0x106\n"
		  "slots4 10.96.0.1 80 0x6 0 -> 10.1.0.5 8080\n"
		  "slots4 10.96.0.1 80 0x6 0x1 -> 10.1.1.5 8080\n"
		  "slots4 10.96.0.1 80 0x106 0 -> 10.1.1.5 8080\n"
		  "hairpin4 10.1.1.5 10.1.1.5\n" },
		{ "node port, Local, none here",
		  "{\"spec\":{\"type\":\"NodePort\",\"externalTrafficPolicy\":\"Local\",\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80,"
		  "\"nodePort\":30001}]}}", one_ready,
		  "front4 10.96.0.1 6 80 -> 0x1 10.96.0.1 80 0x6\n"
		  "ports4 6 30001 -> 0x1 10.96.0.1 80 0x6\n"
		  "slots4 10.96.0.1 80 0x6 0 -> 10.1.0.5 8080\n"
		  "closed_ports4 6 30001 -> 0x3\n" },
		{ "internal Local, none here",
		  "{\"spec\":{\"internalTrafficPolicy\":\"Local\",\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80}]}}", one_ready,
		  "slots4 10.96.0.1 80 0x6 0 -> 10.1.0.5 8080\n"
		  "closed4 10.96.0.1 6 80 -> 0x2\n" },
		{ "affinity",
		  "{\"spec\":{\"clusterIP\":\"10.96.0.1\",\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":{"
		  "\"timeoutSeconds\":25}},\"ports\":[{\"port\":80}]}}", one_ready,
		  "front4 10.96.0.1 6 80 -> 0x10001 10.96.0.1 80 0x6\n"
		  "slots4 10.96.0.1 80 0x6 0 -> 10.1.0.5 8080\n"
		  "sticky4 10.96.0.1 80 0x6 -> 0x5\n"
		  "live4 10.96.0.1 80 0x6 10.1.0.5 8080\n" },
		{ "load balancer with ranges; an external address among the cluster's own is not honoured",
		  "{\"spec\":{\"type\":\"LoadBalancer\",\"clusterIP\":\"10.96.0.1\",\"externalIPs\":[\"192.0.2.9\",\"10.96.0.77\"],"
		  "\"loadBalancerSourceRanges\":[\"198.51.100.0/24\",\"198.51.100.7/32\"],\"ports\":[{\"port\":80}]},"
		  "\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.1\"},{\"ip\":\"192.0.2.2\",\"ipMode\":\"Proxy\"}]}}}", one_ready,
		  "front4 10.96.0.1 6 80 -> 0x1 10.96.0.1 80 0x6\n"
		  "front4 192.0.2.1 6 80 -> 0x1 10.96.0.1 80 0x6\n"
		  "front4 192.0.2.9 6 80 -> 0x1 10.96.0.1 80 0x6\n"
		  "slots4 10.96.0.1 80 0x6 0 -> 10.1.0.5 8080\n"
		  "masq4 192.0.2.1 6 80\n"
		  "masq4 192.0.2.9 6 80\n"
		  "guard4 192.0.2.1 6 80\n"
		  "sources4 192.0.2.1 6 80 198.51.100.0 to 192.0.2.1 6 80 198.51.100.255\n" },
		{ "the last ones end, and serve while they do",
		  "{\"spec\":{\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80}]}}",
		  "{\"addressType\":\"IPv4\",\"ports\":[{\"port\":1}],\"endpoints\":["
		  "{\"addresses\":[\"10.1.0.5\"],\"conditions\":{\"ready\":false,\"serving\":true,\"terminating\":true}},"
		  "{\"addresses\":[\"10.1.0.6\"],\"conditions\":{\"ready\":false,\"serving\":false,\"terminating\":true}},"
		  "{\"addresses\":[\"10.1.0.7\"],\"conditions\":{\"ready\":false}}]}",
		  "front4 10.96.0.1 6 80 -> 0x1 10.96.0.1 80 0x6\n"
		  "slots4 10.96.0.1 80 0x6 0 -> 10.1.0.5 1\n" },
		{ "one that is ready is preferred to those that end",
		  "{\"spec\":{\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80}]}}",
		  "{\"addressType\":\"IPv4\",\"ports\":[{\"port\":1}],\"endpoints\":["
		  "{\"addresses\":[\"10.1.0.5\"],\"conditions\":{\"ready\":false,\"serving\":true,\"terminating\":true}},"
		  "{\"addresses\":[\"10.1.0.7\"],\"conditions\":{\"ready\":true}}]}",
		  "front4 10.96.0.1 6 80 -> 0x1 10.96.0.1 80 0x6\n"
		  "slots4 10.96.0.1 80 0x6 0 -> 10.1.0.7 1\n" },
		{ "the zone's own",
		  "{\"spec\":{\"clusterIP\":\"10.96.0.1\",\"trafficDistribution\":\"PreferClose\",\"ports\":[{\"port\":80}]}}",
		  "{\"addressType\":\"IPv4\",\"ports\":[{\"port\":1}],\"endpoints\":["
		  "{\"addresses\":[\"10.1.0.5\"],\"hints\":{\"forZones\":[{\"name\":\"b\"}]}},"
		  "{\"addresses\":[\"10.1.0.7\"],\"hints\":{\"forZones\":[{\"name\":\"a\"}]}}]}",
		  "front4 10.96.0.1 6 80 -> 0x1 10.96.0.1 80 0x6\n"
		  "slots4 10.96.0.1 80 0x6 0 -> 10.1.0.7 1\n" },
		{ "IPv6",
		  "{\"spec\":{\"clusterIP\":\"fd00:96::1\",\"ports\":[{\"port\":53,\"protocol\":\"UDP\",\"name\":\"dns\"}]}}",
		  "{\"addressType\":\"IPv6\",\"ports\":[{\"name\":\"dns\",\"port\":5353,\"protocol\":\"UDP\"},{\"name\":\"x\",\"port\":1}],"
		  "\"endpoints\":[{\"addresses\":[\"fd00:1::5\"],\"nodeName\":\"here\"}]}",
		  "front6 fd00:96::1 17 53 -> 0x1 fd00:96::1 53 0x11\n"
		  "slots6 fd00:96::1 53 0x11 0 -> fd00:1::5 5353\n"
		  "hairpin6 fd00:1::5 fd00:1::5\n" },
	};
	const struct sys_prefix range = { { AF_INET, { 10, 96 } }, 16 };
	const struct proxy_view view = { .ranges = &range, .n_ranges = 1 };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct proxy_service *s = service(rows[i].service);
		struct proxy_slice *x = rows[i].slice ? slice(rows[i].slice) : NULL;
		const struct proxy_slice *list[] = { x };
		struct proxy_plan p = { 0 };
		auto_buf struct buf got = { 0 };
		assert_non_null(s);
		proxy_plan_make(s, list, x ? 1 : 0, &view, NULL, &p);
		text_of(&p, &got);
		if (strcmp(buf_cstr(&got), rows[i].want) != 0)
			fail_msg("%s:\n%s--- wanted\n%s", rows[i].what, buf_cstr(&got), rows[i].want);
		proxy_plan_done(&p);
		free(s);
		free(x);
	}
}

static void not_for_us(void **state)
{
	assert_null(service("{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"x\"}}"));
	assert_null(service("{\"spec\":{\"clusterIP\":\"None\",\"ports\":[{\"port\":80}]}}"));
	assert_null(slice("{\"addressType\":\"FQDN\",\"ports\":[{\"port\":80}],\"endpoints\":[{\"addresses\":[\"a.b\"]}]}"));
	assert_null(slice("{\"addressType\":\"IPv4\",\"ports\":[{\"port\":80}],\"endpoints\":[]}"));
}

static void slice_of(struct buf *text, const unsigned *hosts, unsigned n)
{
	buf_trunc(text, 0);
	buf_str(text, "{\"addressType\":\"IPv4\",\"ports\":[{\"port\":1}],\"endpoints\":[");
	for (unsigned i = 0; i < n; i++)
		buf_printf(text, "%s{\"addresses\":[\"10.1.%u.%u\"]}", i ? "," : "", hosts[i] / 250, hosts[i] % 250 + 1);
	buf_str(text, "]}");
}

static void count(void *arg, const struct proxy_element *e)
{
	unsigned *n = arg;
	n[e->set == PROXY_SLOTS]++;
}

static void ignore(void *arg, const struct proxy_element *e)
{
}

/* One endpoint more or less: every endpoint has its share, few slots change. */
static void slots_stay(void **state)
{
	static const unsigned sizes[] = { 1, 2, 3, 5, 16, 17, 21, 22, 85, 86, 341, 342, 999 };
	auto_buf struct buf text = { 0 };
	struct proxy_service *s = service("{\"spec\":{\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80}]}}");
	const struct proxy_view view = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		unsigned hosts[1000], n = sizes[i];
		for (unsigned k = 0; k <= n; k++)
			hosts[k] = k;
		struct proxy_plan last = { 0 };
		for (int step = 0; step < 3; step++) { /* n, then one gone from the middle and a new one, then one more */
			if (step == 1)
				hosts[n / 2] = 2000;
			unsigned now = n + (step == 2);
			if (step == 2)
				hosts[n] = 2001;
			slice_of(&text, hosts, now);
			struct proxy_slice *x = slice(buf_cstr(&text));
			const struct proxy_slice *list[] = { x };
			struct proxy_plan p = { 0 };
			proxy_plan_make(s, list, 1, &view, &last, &p);
			assert_int_equal(p.n_lists, 1);
			uint32_t size = p.lists[0].n;
			assert_int_equal(size, proxy_class(now));
			unsigned *has = mem_zalloc(65536 * sizeof(*has));
			for (uint32_t k = 0; k < size; k++)
				has[p.lists[0].slots[k].addr[2] << 8 | p.lists[0].slots[k].addr[3]]++;
			unsigned users = 0;
			for (unsigned k = 0; k < 65536; k++)
				if (has[k]) {
					users++;
					assert_in_range(has[k], size / now, size / now + 1);
				}
			assert_int_equal(users, now);
			free(has);
			if (step && size == last.lists[0].n) {
				unsigned in[2] = { 0 };
				proxy_elements_diff(&last.elements, &p.elements, ignore, count, in);
				assert_in_range(in[1], 1, 2 * (size / now + 1) + size % now);
			}
			free(x);
			proxy_plan_done(&last);
			last = p;
		}
		proxy_plan_done(&last);
	}
	free(s);
}

static void lifetimes_round_up(void **state)
{
	static const unsigned rows[][2] = { { 1, 1 }, { 3, 5 }, { 10, 10 }, { 61, 120 }, { 10800, 10800 }, { 43201, 86400 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		unsigned asked = rows[i][0], given = rows[i][1];
		assert_int_equal(proxy_lifetime(asked), proxy_lifetime(given));
		if (given < 86400) /* it is one of them: a second more is the next */
			assert_int_equal(proxy_lifetime(given + 1), proxy_lifetime(given) + 1);
	}
	assert_int_equal(proxy_lifetime(86401), proxy_lifetime(86400));
}

static bool refuse_9(void *arg, const struct sys_addr *a, uint8_t protocol, uint16_t port)
{
	return a->b[3] != 9;
}

static void addresses_of_others(void **state)
{
	struct proxy_service *s = service("{\"spec\":{\"clusterIP\":\"10.96.0.1\",\"externalIPs\":[\"192.0.2.8\",\"192.0.2.9\"],"
					  "\"ports\":[{\"port\":80}]}}");
	const struct proxy_view view = { .claim = refuse_9 };
	struct proxy_plan p = { 0 };
	auto_buf struct buf got = { 0 };
	proxy_plan_make(s, NULL, 0, &view, NULL, &p);
	text_of(&p, &got);
	assert_string_equal(buf_cstr(&got), "closed4 10.96.0.1 6 80 -> 0x1\nclosed4 192.0.2.8 6 80 -> 0x1\n");
	proxy_plan_done(&p);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans),      cmocka_unit_test(not_for_us),	     cmocka_unit_test(slots_stay),
		cmocka_unit_test(lifetimes_round_up), cmocka_unit_test(addresses_of_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
