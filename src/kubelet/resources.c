/* Requests and limits: classes of service, sums, and what the kernel is told of them. After upstream's cm and qos. */
#include "kubelet/config.h"

int64_t kl_amount(const struct api_pair *ptr, uint32_t n, const char *name)
{
	struct span text = api_pair_get(ptr, n, span_of(name));
	struct api_quantity q;
	if (!text.len || api_quantity_parse(text, &q, NULL) < 0)
		return -1;
	return strcmp(name, "cpu") == 0 ? api_quantity_milli(&q) : api_quantity_value(&q);
}

static const char *const basics[] = { "cpu", "memory" };

enum kl_qos kl_qos(const struct api_core_pod_spec *s)
{
	bool any = false, guaranteed = true;
	for (unsigned i = 0; i < s->init_containers.n + s->containers.n; i++) {
		const struct api_core_resource_requirements *r = &kl_spec_container(s, i, NULL)->resources;
		for (size_t k = 0; k < ARRAY_LEN(basics); k++) {
			int64_t request = kl_amount(r->requests.ptr, r->requests.n, basics[k]);
			int64_t limit = kl_amount(r->limits.ptr, r->limits.n, basics[k]);
			any |= request > 0 || limit > 0;
			guaranteed &= limit > 0 && (request < 0 || request == limit);
		}
	}
	return !any ? KL_BEST_EFFORT : guaranteed ? KL_GUARANTEED : KL_BURSTABLE;
}

const char *kl_qos_name(enum kl_qos q)
{
	return q == KL_GUARANTEED ? "Guaranteed" : q == KL_BURSTABLE ? "Burstable" : "BestEffort";
}

static int64_t request_of(const struct api_core_resource_requirements *r, const char *name)
{
	int64_t request = kl_amount(r->requests.ptr, r->requests.n, name);
	if (request < 0)
		request = kl_amount(r->limits.ptr, r->limits.n, name);
	return MAX(request, 0);
}

/* Amounts are anybody's wish: what does not fit is the largest that does. */
int64_t kl_plus(int64_t a, int64_t b)
{
	int64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/* Sum of containers and sidecars, or the largest init container with the sidecars before it, whichever is more. */
static int64_t pod_sum(const struct api_core_pod_spec *s, const char *name, bool limits)
{
	int64_t sum = 0, sidecars = 0, largest = 0;
	for (unsigned i = 0; i < s->init_containers.n + s->containers.n; i++) {
		enum kl_container_kind kind;
		const struct api_core_container *c = kl_spec_container(s, i, &kind);
		int64_t one = limits ? MAX(kl_amount(c->resources.limits.ptr, c->resources.limits.n, name), 0)
				     : request_of(&c->resources, name);
		if (kind == KL_CONTAINER) {
			sum = kl_plus(sum, one);
		} else if (kl_is_sidecar(c, kind)) {
			sidecars = kl_plus(sidecars, one);
			largest = MAX(largest, sidecars);
		} else {
			largest = MAX(largest, kl_plus(sidecars, one));
		}
	}
	sum = MAX(kl_plus(sum, sidecars), largest);
	int64_t overhead = kl_amount(s->overhead.ptr, s->overhead.n, name);
	return kl_plus(sum, overhead > 0 && (sum || !limits) ? overhead : 0);
}

void kl_sums(const struct api_core_pod_spec *s, struct kl_sums *out)
{
	*out = (struct kl_sums){ .cpu_request = pod_sum(s, "cpu", false), .memory_request = pod_sum(s, "memory", false),
				 .storage_request = pod_sum(s, "ephemeral-storage", false), .cpu_limit = pod_sum(s, "cpu", true),
				 .memory_limit = pod_sum(s, "memory", true), .all_cpu_limited = true, .all_memory_limited = true };
	for (unsigned i = 0; i < s->init_containers.n + s->containers.n; i++) {
		const struct api_core_resource_requirements *r = &kl_spec_container(s, i, NULL)->resources;
		out->all_cpu_limited &= kl_amount(r->limits.ptr, r->limits.n, "cpu") > 0;
		out->all_memory_limited &= kl_amount(r->limits.ptr, r->limits.n, "memory") > 0;
	}
}

int64_t kl_cpu_shares(int64_t milli)
{
	if (milli <= 0)
		return 2;
	return milli > 256000 ? 262144 : MAX(milli * 1024 / 1000, 2);
}

int64_t kl_cpu_quota(int64_t milli, int64_t period_us)
{
	return milli > 0 && milli < INT64_MAX / period_us ? MAX(milli * period_us / 1000, 1000) : 0;
}

int64_t kl_oom_score_adj(const struct api_core_pod_spec *s, const struct api_core_container *c, int64_t capacity_bytes)
{
	if (s->has_priority && s->priority >= 2000000000)
		return -997; /* critical */
	switch (kl_qos(s)) {
	case KL_GUARANTEED: return -997;
	case KL_BEST_EFFORT: return 1000;
	case KL_BURSTABLE: break;
	}
	int64_t request = kl_amount(c->resources.requests.ptr, c->resources.requests.n, "memory");
	double part = request > 0 && capacity_bytes > 0 ? 1000.0 * (double)request / (double)capacity_bytes : 0;
	int64_t score = 1000 - (int64_t)part;
	return score < 3 ? 3 : score == 1000 ? 999 : score;
}
