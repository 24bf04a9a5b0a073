#include "controllers/node_plan.h"

bool node_silence(struct arena *a, struct json *conditions, int64_t created_s, int64_t now_s)
{
	static const char *const types[] = { "Ready", "MemoryPressure", "DiskPressure", "PIDPressure" };
	bool changed = false;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct json *c = tree_find(conditions, "type", span_of(types[i]));
		if (!c) {
			(void)tree_condition(a, conditions, types[i], "Unknown", "NodeStatusNeverUpdated",
					     SPAN("Kubelet never posted node status."), now_s, NULL);
			c = tree_find(conditions, "type", span_of(types[i]));
			tree_set(a, c, "lastHeartbeatTime", tree_time_of(a, created_s));
			changed = true;
		} else if (!span_is(tree_span(c, "status"), "Unknown")) {
			struct json heard = tree_get(c, "lastHeartbeatTime") ? *tree_get(c, "lastHeartbeatTime") : JSON_NULL_VALUE;
			changed |= tree_condition(a, conditions, types[i], "Unknown", "NodeStatusUnknown",
						  SPAN("Kubelet stopped posting node status."), now_s, NULL);
			if (heard.kind == JSON_STRING)
				tree_set(a, tree_find(conditions, "type", span_of(types[i])), "lastHeartbeatTime", heard);
		}
	}
	return changed;
}

/* ---- taints */

#define OURS "node.kubernetes.io/"
static const struct rule {
	const char *condition, *status, *key, *effect;
} rules[] = {
	{ "Ready", "False", OURS "not-ready", "NoSchedule" },
	{ "Ready", "Unknown", OURS "unreachable", "NoSchedule" },
	{ "Ready", "False", OURS "not-ready", "NoExecute" },
	{ "Ready", "Unknown", OURS "unreachable", "NoExecute" },
	{ "MemoryPressure", "True", OURS "memory-pressure", "NoSchedule" },
	{ "DiskPressure", "True", OURS "disk-pressure", "NoSchedule" },
	{ "PIDPressure", "True", OURS "pid-pressure", "NoSchedule" },
	{ "NetworkUnavailable", "True", OURS "network-unavailable", "NoSchedule" },
	{ NULL, NULL, OURS "unschedulable", "NoSchedule" },
};

static bool holds(const struct json *node, const struct rule *r)
{
	if (!r->condition)
		return tree_bool(tree_get(node, "spec"), "unschedulable", false);
	const struct json *c = tree_find(tree_get(tree_get(node, "status"), "conditions"), "type", span_of(r->condition));
	return span_is(tree_span(c, "status"), r->status);
}

static bool is_rule(const struct json *taint, const struct rule *r)
{
	return span_is(tree_span(taint, "key"), r->key) && span_is(tree_span(taint, "effect"), r->effect);
}

bool node_taints(struct arena *a, const struct json *node, int64_t now_s, struct json *out_taints)
{
	const struct json *has = tree_get(tree_get(node, "spec"), "taints");
	bool ready_known = tree_find(tree_get(tree_get(node, "status"), "conditions"), "type", SPAN("Ready"));
	bool present[ARRAY_LEN(rules)] = { false }, changed = false;
	*out_taints = json_array();
	JSON_EACH_ITEM(has, t) {
		bool keep = true;
		for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
			if (!is_rule(t, &rules[i]))
				continue;
			/* A new node is tainted at admission until it has said how it is. */
			keep = holds(node, &rules[i]) || (!ready_known && span_is(tree_span(t, "key"), OURS "not-ready"));
			present[i] = keep;
		}
		if (keep)
			(void)json_push(a, out_taints, *t);
		changed |= !keep;
	}
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		struct json t = json_object();
		if (present[i] || !holds(node, &rules[i]))
			continue;
		tree_set_cstr(a, &t, "key", rules[i].key);
		tree_set_cstr(a, &t, "effect", rules[i].effect);
		tree_set(a, &t, "timeAdded", tree_time_of(a, now_s));
		(void)json_push(a, out_taints, t);
		changed = true;
	}
	return changed;
}

bool node_tolerates(const struct json *toleration, const struct json *taint)
{
	struct span key = tree_span(toleration, "key"), effect = tree_span(toleration, "effect");
	if (effect.len && !span_eq(effect, tree_span(taint, "effect")))
		return false;
	if (key.len && !span_eq(key, tree_span(taint, "key")))
		return false;
	if (span_is(tree_span(toleration, "operator"), "Exists"))
		return true;
	return key.len && span_eq(tree_span(toleration, "value"), tree_span(taint, "value"));
}

int64_t node_leave_s(const struct json *taints, const struct json *tolerations)
{
	int64_t first = -1;
	JSON_EACH_ITEM(taints, taint) {
		bool tolerated = false;
		int64_t seconds = -1;
		if (!span_is(tree_span(taint, "effect"), "NoExecute"))
			continue;
		JSON_EACH_ITEM(tolerations, t) {
			int64_t n = tree_int(t, "tolerationSeconds", -1);
			if (!node_tolerates(t, taint))
				continue;
			tolerated = true;
			if (tree_get(t, "tolerationSeconds") && (seconds < 0 || n < seconds))
				seconds = n > 0 ? n : 0;
		}
		if (!tolerated)
			return 0;
		int64_t leave = tree_time(tree_get(taint, "timeAdded")) + seconds;
		if (seconds >= 0 && (first < 0 || leave < first))
			first = leave;
	}
	return first;
}

/* ---- ranges */

int node_range_init(struct node_range *r, struct span cidr, unsigned mask, struct err *err)
{
	*r = (struct node_range){ .mask = mask };
	if (!api_cidr_parse(cidr, &r->base, &r->bits))
		return err_set(err, ERR_USAGE, "--cluster-cidr: \"%.*s\" is no range of addresses", SPAN_ARG(cidr));
	(void)api_ip_mask(&r->base, r->bits);
	if (mask < r->bits || mask > r->base.len * 8u || mask - r->bits > 16)
		return err_set(err, ERR_USAGE, "--node-cidr-mask-size %u does not go with --cluster-cidr %.*s: from the range's own "
			       "size to 16 bits more", mask, SPAN_ARG(cidr));
	r->n = 1u << (mask - r->bits);
	r->used = mem_zalloc(r->n);
	return 0;
}

void node_range_done(struct node_range *r)
{
	free(r->used);
	*r = (struct node_range){};
}

/* Bits [bits, mask) of an address, and setting them. */
static uint32_t block_of(const struct node_range *r, const struct api_ip *ip)
{
	uint32_t n = 0;
	for (unsigned b = r->bits; b < r->mask; b++)
		n = n << 1 | (ip->bytes[b / 8] >> (7 - b % 8) & 1);
	return n;
}

int64_t node_range_find(const struct node_range *r, struct span cidr)
{
	struct api_ip ip, start;
	unsigned bits;
	if (!r->used || !api_cidr_parse(cidr, &ip, &bits) || ip.len != r->base.len || bits != r->mask)
		return -1;
	start = ip;
	(void)api_ip_mask(&start, r->bits);
	return memcmp(start.bytes, r->base.bytes, r->base.len) == 0 ? (int64_t)block_of(r, &ip) : -1;
}

struct span node_range_take(struct arena *a, struct node_range *r)
{
	char text[46];
	for (uint32_t i = 0; i < r->n; i++) {
		if (r->used[i])
			continue;
		struct api_ip ip = r->base;
		for (unsigned b = r->bits; b < r->mask; b++)
			if (i >> (r->mask - 1 - b) & 1)
				ip.bytes[b / 8] |= (uint8_t)(1 << (7 - b % 8));
		r->used[i] = 1;
		size_t n = api_ip_print(&ip, text);
		return arena_printf(a, "%.*s/%u", (int)n, text, r->mask);
	}
	return SPAN_EMPTY;
}
