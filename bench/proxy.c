/* Row 18: how long a change of endpoints takes to the kernel's acknowledgement with 10,000 services, and how long it takes to write
 * 10,000 services with 100,000 endpoints into an empty kernel, and to compare them with a kernel that has them.
 *
 * usage: bench-proxy [SERVICES [ENDPOINTS_EACH [CHANGES]]]; as root; it makes a network namespace of its own. Objects come as
 * the JSON that the API server sends: a change counts from the text of a slice, parsed, planned, written, acknowledged. */
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "proxy/state.h"
#include "took.h"

static void service(struct proxy_state *s, unsigned i)
{
	auto_arena struct arena a = { 0 };
	auto_buf struct buf text = { 0 }, key = { 0 };
	struct json o;
	buf_printf(&text, "{\"metadata\":{\"name\":\"s%u\",\"namespace\":\"default\"},\"spec\":{\"type\":\"ClusterIP\","
		   "\"clusterIP\":\"10.%u.%u.%u\",\"ports\":[{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":80,\"targetPort\":8080}]}}",
		   i, 96 + i / 62500, i / 250 % 250, i % 250 + 1);
	buf_printf(&key, "default/s%u", i);
	if (json_parse(&a, buf_span(&text), JSON_BORROW, NULL, &o, NULL) == 0)
		proxy_state_service(s, buf_span(&key), proxy_service_read(&o));
}

/* turn moves the last endpoint to another address. */
static void slice_text(struct buf *text, unsigned i, unsigned endpoints, unsigned turn)
{
	buf_trunc(text, 0);
	buf_printf(text, "{\"metadata\":{\"name\":\"s%u-x\",\"namespace\":\"default\","
		   "\"labels\":{\"kubernetes.io/service-name\":\"s%u\"}},"
		   "\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":8080}],\"endpoints\":[", i, i);
	for (unsigned e = 0; e < endpoints; e++) {
		unsigned n = i * endpoints + e + (e + 1 == endpoints ? turn * 3000000 : 0);
		buf_printf(text, "%s{\"addresses\":[\"10.%u.%u.%u\"],"
			   "\"conditions\":{\"ready\":true,\"serving\":true,\"terminating\":false},"
			   "\"nodeName\":\"n%u\"}", e ? "," : "", 128 + n / 62500 % 100, n / 250 % 250, n % 250 + 1, e);
	}
	buf_str(text, "]}");
}

static void slice(struct proxy_state *s, unsigned i, struct span text)
{
	auto_arena struct arena a = { 0 };
	auto_buf struct buf key = { 0 }, name = { 0 };
	struct json o;
	buf_printf(&key, "default/s%u", i);
	buf_printf(&name, "default/s%u-x", i);
	if (json_parse(&a, text, JSON_BORROW, NULL, &o, NULL) == 0)
		proxy_state_slice(s, buf_span(&key), buf_span(&name), proxy_slice_read(&o, SPAN("n1"), SPAN_EMPTY));
}

static struct proxy_state *fill(struct loop *l, struct proxy_kernel *k, unsigned services, unsigned endpoints)
{
	struct proxy_state *s = proxy_state_new(&(struct proxy_state_params){ .loop = l, .kernel = k });
	auto_buf struct buf text = { 0 };
	for (unsigned i = 0; i < services; i++) {
		service(s, i);
		slice_text(&text, i, endpoints, 0);
		slice(s, i, buf_span(&text));
	}
	return s;
}

int main(int argc, char **argv)
{
	uint64_t services = 10000, endpoints = 10, changes = 2000;
	auto_err struct err err = ERR_INIT;
	struct loop *l;
	struct proxy_kernel k;
	if ((argc > 1 && !span_to_u64(span_of(argv[1]), &services)) || (argc > 2 && !span_to_u64(span_of(argv[2]), &endpoints)) ||
	    (argc > 3 && !span_to_u64(span_of(argv[3]), &changes)) || services < 1 || services > 100000 || endpoints < 1 ||
	    endpoints > 900 || changes < 1 || changes > 1000000) {
		fprintf(stderr, "usage: bench-proxy [SERVICES [ENDPOINTS_EACH [CHANGES]]]\n");
		return 125;
	}
	log_open(2, LOG_WARN, "bench");
	if (unshare(CLONE_NEWNET) < 0) {
		printf("skip: a network namespace needs root\n");
		return 0;
	}
	if (loop_new(NULL, &l, &err) < 0 || proxy_kernel_open(&k, "be", &err) < 0) {
		fprintf(stderr, "%s\n", err_msg(&err));
		return 1;
	}
	unsigned n = (unsigned)services, e = (unsigned)endpoints;
	int64_t t0 = now_ns();
	struct proxy_state *s = fill(l, &k, n, e);
	int64_t t1 = now_ns();
	if (proxy_state_begin(s, &err) < 0) {
		fprintf(stderr, "%s\n", err_msg(&err));
		return 1;
	}
	int64_t t2 = now_ns();
	printf("proxy: %u services, %u endpoints: read %.0f ms, planned and in the kernel %.0f ms, cold start %.0f ms, %zu elements\n",
	       n, n * e, (double)(t1 - t0) / 1e6, (double)(t2 - t1) / 1e6, (double)(t2 - t0) / 1e6, proxy_state_elements(s));
	int64_t *took = mem_alloc(changes * sizeof(*took));
	auto_buf struct buf text = { 0 };
	for (unsigned i = 0; i < changes; i++) {
		unsigned which = (unsigned)((uint64_t)i * 7919 % n);
		slice_text(&text, which, e, 1 + i / n);
		int64_t from = now_ns();
		slice(s, which, buf_span(&text));
		if (proxy_state_apply(s, &err) < 0) {
			fprintf(stderr, "%s\n", err_msg(&err));
			return 1;
		}
		took[i] = now_ns() - from;
	}
	qsort(took, changes, sizeof(*took), took_by_ns);
	printf("proxy: endpoint change, event to acknowledgement: p50 %.3f ms  p99 %.3f ms  max %.3f ms (%u changes)\n",
	       (double)took[changes / 2] / 1e6, (double)took[changes * 99 / 100] / 1e6, (double)took[changes - 1] / 1e6,
	       (unsigned)changes);
	proxy_state_free(s);
	/* A process after us: everything is there. */
	s = fill(l, &k, n, e);
	int64_t t3 = now_ns();
	if (proxy_state_begin(s, &err) < 0) {
		fprintf(stderr, "%s\n", err_msg(&err));
		return 1;
	}
	struct rusage used;
	(void)getrusage(RUSAGE_SELF, &used);
	printf("proxy: restart, comparing with the kernel: %.0f ms; peak memory %.1f MB\n", (double)(now_ns() - t3) / 1e6,
	       (double)used.ru_maxrss / 1024);
	printf("ratio: goal 1 ms p99 / %.3f ms = %.1f; goal 1 s cold / %.2f s = %.1f\n", (double)took[changes * 99 / 100] / 1e6,
	       1e6 / (double)took[changes * 99 / 100], (double)(t2 - t0) / 1e9, 1e9 / (double)(t2 - t0));
	free(took);
	proxy_state_free(s);
	proxy_kernel_done(&k);
	loop_free(l);
	return 0;
}
