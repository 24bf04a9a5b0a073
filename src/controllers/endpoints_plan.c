#include "controllers/endpoints_plan.h"

enum ep_family ep_family_of(struct span address)
{
	return span_chr(address, ':') >= 0 ? EP_IPV6 : EP_IPV4;
}

struct span ep_address(const struct json *pod, enum ep_family family)
{
	const struct json *status = tree_get(pod, "status");
	struct span first = tree_span(status, "podIP");
	JSON_EACH_ITEM(tree_get(status, "podIPs"), ip)
		if (tree_span(ip, "ip").len && ep_family_of(tree_span(ip, "ip")) == family)
			return tree_span(ip, "ip");
	return first.len && ep_family_of(first) == family ? first : SPAN_EMPTY;
}

/* A container port by its name; init containers count when they stay (restartPolicy Always). */
static int64_t port_by_name(const struct json *pod, struct span name, struct span protocol)
{
	static const char *const lists[] = { "containers", "initContainers" };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		JSON_EACH_ITEM(tree_get(tree_get(pod, "spec"), lists[i]), c) {
			if (i == 1 && !span_is(tree_span(c, "restartPolicy"), "Always"))
				continue;
			JSON_EACH_ITEM(tree_get(c, "ports"), port) {
				struct span has = tree_span(port, "protocol");
				if (span_eq(tree_span(port, "name"), name) && span_eq(has.len ? has : SPAN("TCP"), protocol))
					return tree_int(port, "containerPort", 0);
			}
		}
	}
	return 0;
}

struct json ep_ports(struct arena *a, const struct json *service, const struct json *pod)
{
	struct json ports = json_array();
	JSON_EACH_ITEM(tree_get(tree_get(service, "spec"), "ports"), sp) {
		struct span protocol = tree_span(sp, "protocol"), app = tree_span(sp, "appProtocol");
		const struct json *target = tree_get(sp, "targetPort");
		if (!protocol.len)
			protocol = SPAN("TCP");
		bool by_name = json_is(target, JSON_STRING);
		int64_t number = by_name ? port_by_name(pod, json_span(target), protocol) : json_i64(target, 0);
		if (!by_name && !number)
			number = tree_int(sp, "port", 0);
		if (!number)
			continue;
		struct json port = json_object();
		tree_set(a, &port, "name", json_str(tree_span(sp, "name").len ? tree_span(sp, "name") : SPAN("")));
		tree_set_int(a, &port, "port", number);
		tree_set(a, &port, "protocol", json_str(protocol));
		tree_set_span(a, &port, "appProtocol", app);
		(void)json_push(a, &ports, port);
	}
	return ports;
}

bool ep_counts(const struct row *pod)
{
	return pod->phase != POD_SUCCEEDED && pod->phase != POD_FAILED && pod->ip.len > 0;
}

static void *grown(struct arena *a, void *old, unsigned n, unsigned *cap, size_t size)
{
	if (n < *cap)
		return old;
	unsigned more = *cap ? *cap * 2 : 8;
	void *room = arena_alloc_n(a, more, size);
	if (n)
		memcpy(room, old, n * size);
	*cap = more;
	return room;
}

void ep_add(struct arena *a, struct ep_groups *g, struct json ports, struct json item, bool ready)
{
	auto_buf struct buf key = {};
	struct ep_group *group = NULL;
	json_write(&key, &ports, JSON_SORTED);
	for (unsigned i = 0; i < g->n && !group; i++)
		if (span_eq(g->items[i].key, buf_span(&key)))
			group = &g->items[i];
	if (!group) {
		g->items = grown(a, g->items, g->n, &g->cap, sizeof(*g->items));
		group = &g->items[g->n++];
		*group = (struct ep_group){ .key = arena_span(a, buf_span(&key)), .ports = ports };
	}
	group->items = grown(a, group->items, group->n, &group->cap, sizeof(*group->items));
	group->ready = grown(a, group->ready, group->n, &group->cap_ready, sizeof(*group->ready));
	group->items[group->n] = item;
	group->ready[group->n++] = ready;
}

/* [ShouldSetHostname] */
static struct span hostname_of(const struct json *pod, const struct json *service)
{
	const struct json *spec = tree_get(pod, "spec");
	return span_eq(tree_span(spec, "subdomain"), tree_meta_span(service, "name")) ? tree_span(spec, "hostname") : SPAN_EMPTY;
}

static struct json target_of(struct arena *a, const struct json *pod)
{
	struct json ref = json_object();
	tree_set_cstr(a, &ref, "kind", "Pod");
	tree_set_span(a, &ref, "namespace", tree_meta_span(pod, "namespace"));
	tree_set_span(a, &ref, "name", tree_meta_span(pod, "name"));
	tree_set_span(a, &ref, "uid", tree_meta_span(pod, "uid"));
	return ref;
}

static bool pod_ready(const struct json *pod)
{
	const struct json *c = tree_find(tree_get(tree_get(pod, "status"), "conditions"), "type", SPAN("Ready"));
	return span_is(tree_span(c, "status"), "True");
}

struct json ep_endpoint(struct arena *a, const struct json *pod, const struct json *service, enum ep_family family,
			struct span zone, bool close)
{
	struct json e = json_object(), addresses = json_array(), conditions = json_object();
	bool serving = pod_ready(pod), terminating = tree_meta_span(pod, "deletionTimestamp").len > 0;
	bool ready = tree_bool(tree_get(service, "spec"), "publishNotReadyAddresses", false) || (serving && !terminating);
	(void)json_push(a, &addresses, json_str(ep_address(pod, family)));
	tree_set(a, &conditions, "ready", json_bool(ready));
	tree_set(a, &conditions, "serving", json_bool(serving));
	tree_set(a, &conditions, "terminating", json_bool(terminating));
	tree_set(a, &e, "addresses", addresses);
	tree_set(a, &e, "conditions", conditions);
	tree_set_span(a, &e, "hostname", hostname_of(pod, service));
	tree_set(a, &e, "targetRef", target_of(a, pod));
	tree_set_span(a, &e, "nodeName", tree_span(tree_get(pod, "spec"), "nodeName"));
	tree_set_span(a, &e, "zone", zone);
	if (close && ready && zone.len) {
		struct json hints = json_object(), zones = json_array(), one = json_object();
		tree_set_span(a, &one, "name", zone);
		(void)json_push(a, &zones, one);
		tree_set(a, &hints, "forZones", zones);
		tree_set(a, &e, "hints", hints);
	}
	return e;
}

struct json ep_core_address(struct arena *a, const struct json *pod, const struct json *service, enum ep_family family)
{
	struct json address = json_object();
	tree_set_span(a, &address, "ip", ep_address(pod, family));
	tree_set_span(a, &address, "hostname", hostname_of(pod, service));
	tree_set_span(a, &address, "nodeName", tree_span(tree_get(pod, "spec"), "nodeName"));
	tree_set(a, &address, "targetRef", target_of(a, pod));
	return address;
}

static int by_ip(const void *x, const void *y)
{
	return span_cmp(tree_span(x, "ip"), tree_span(y, "ip"));
}

static int by_port(const void *x, const void *y)
{
	int d = span_cmp(tree_span(x, "name"), tree_span(y, "name"));
	int64_t m = tree_int(x, "port", 0), n = tree_int(y, "port", 0);
	return d ? d : m < n ? -1 : m > n;
}

static int by_key(const void *x, const void *y)
{
	return span_cmp(((const struct ep_group *)x)->key, ((const struct ep_group *)y)->key);
}

struct json ep_subsets(struct arena *a, struct ep_groups *g)
{
	struct json subsets = json_array();
	if (g->n)
		qsort(g->items, g->n, sizeof(*g->items), by_key);
	for (unsigned i = 0; i < g->n; i++) {
		struct ep_group *group = &g->items[i];
		struct json subset = json_object(), lists[2] = { json_array(), json_array() }, ports = json_copy(a, &group->ports);
		for (unsigned k = 0; k < group->n; k++)
			(void)json_push(a, &lists[group->ready[k]], group->items[k]);
		for (int k = 1; k >= 0; k--) {
			if (!lists[k].n)
				continue;
			qsort(lists[k].items, lists[k].n, sizeof(struct json), by_ip);
			tree_set(a, &subset, k ? "addresses" : "notReadyAddresses", lists[k]);
		}
		JSON_EACH_ITEM(&ports, port)
			if (!tree_span(port, "name").len)
				(void)json_remove(port, SPAN("name"));
		if (ports.n) {
			qsort(ports.items, ports.n, sizeof(struct json), by_port);
			tree_set(a, &subset, "ports", ports);
		}
		(void)json_push(a, &subsets, subset);
	}
	return subsets;
}

/* What an endpoint is the same by: the object it stands for, else its address. */
static struct span identity(const struct json *e)
{
	struct span uid = tree_span(tree_get(e, "targetRef"), "uid");
	const struct json *addresses = tree_get(e, "addresses");
	return uid.len ? uid : json_is(addresses, JSON_ARRAY) && addresses->n ? json_span(addresses->items) : SPAN_EMPTY;
}

void ep_pack(struct arena *a, struct json *wanted, unsigned n, struct ep_slice *slices, unsigned n_slices, unsigned max,
	     struct json **out_more, unsigned *out_n_more)
{
	auto_map struct map by_identity = {};
	bool *placed = arena_zalloc(a, n + 1);
	for (unsigned i = 0; i < n; i++)
		map_put(&by_identity, identity(&wanted[i]), &wanted[i]);
	for (unsigned i = 0; i < n_slices; i++) {
		struct ep_slice *s = &slices[i];
		struct json kept = json_array();
		JSON_EACH_ITEM(&s->endpoints, e) {
			struct json *w = map_get(&by_identity, identity(e));
			if (!w || placed[w - wanted] || kept.n == max) {
				s->changed = true;
				continue;
			}
			placed[w - wanted] = true;
			s->changed |= !json_equal(w, e);
			(void)json_push(a, &kept, *w);
		}
		s->endpoints = kept;
	}
	unsigned next = 0;
	for (int changed = 1; changed >= 0; changed--) { /* first those that are written anyway */
		for (unsigned i = 0; i < n_slices; i++) {
			struct ep_slice *s = &slices[i];
			if (s->changed != (changed == 1))
				continue;
			while (s->endpoints.n < max) {
				while (next < n && placed[next])
					next++;
				if (next == n)
					break;
				(void)json_push(a, &s->endpoints, wanted[next]);
				placed[next] = true;
				s->changed = true;
			}
		}
	}
	struct json *more = arena_alloc_n(a, n / max + 1, sizeof(*more));
	unsigned n_more = 0;
	for (; next < n; next++) {
		if (placed[next])
			continue;
		if (!n_more || more[n_more - 1].n == max)
			more[n_more++] = json_array();
		(void)json_push(a, &more[n_more - 1], wanted[next]);
	}
	for (unsigned i = 0; i < n_slices; i++)
		slices[i].doomed = slices[i].endpoints.n == 0;
	*out_more = more;
	*out_n_more = n_more;
}
