/* Truth is in the store, one key for each thing that may be given once:
 *
 *     IPAddress networking.k8s.io/v1, named by the address     as 1.33 has it; spec.parentRef is the Service
 *     /registry/ranges/servicenodeports/PORT                   the Service's namespace/name
 *
 * A claim is a put that expects the key to be absent, a release a delete that expects it as seen, both in the transaction of the
 * Service itself. So nothing is given twice (two claims of one key cannot both commit), nothing leaks when a write fails, and a
 * restart has nothing to repair. Upstream allocates first and reverts, and repairs in a loop.
 *
 * What is wanted after a write is computed from the object; what differs from the old object's is claimed or released. Chosen
 * ones are random in the upper part of the range: the lower part (16 to 256 addresses, 16 to 128 ports) is for those who name
 * theirs, and is used only when the upper one is full. */
#include "apiserver/service.h"

#include "apiserver/admit.h"
#include "apiserver/claims.h"
#include "apiserver/seed.h"

#define PROBES_MAX (1 << 20)

/* ---- ranges */

int service_options(const struct apiserver_options *o, struct err *err)
{
	struct span rest = o->service_cluster_ip_range, one;
	struct api_ip ip;
	unsigned bits, n = 0, four = 0;
	int low, high;
	while (span_cut(&rest, ',', &one)) {
		if (!api_cidr_parse(one, &ip, &bits) || ip.mapped || bits > ip.len * 8u - 3)
			return err_set(err, ERR_USAGE, "--service-cluster-ip-range: \"%.*s\" is no range of eight addresses or more",
				       SPAN_ARG(one));
		four += ip.len == 4;
		n++;
	}
	if (!n || n > 2 || (n == 2 && four != 1))
		return err_set(err, ERR_USAGE, "--service-cluster-ip-range must be one range, or one of each IP family");
	if (!claims_port_range(o->service_node_port_range, &low, &high))
		return err_set(err, ERR_USAGE, "--service-node-port-range: \"%.*s\" is no range such as 30000-32767",
			       SPAN_ARG(o->service_node_port_range));
	return 0;
}

/* The i-th configured family; empty beyond. */
static struct span family_at(struct call *c, unsigned i)
{
	struct span rest = c->server->opt->service_cluster_ip_range, one;
	while (span_cut(&rest, ',', &one))
		if (!i--)
			return claims_family(one);
	return SPAN("");
}

static bool family_served(struct call *c, struct span family)
{
	return span_eq(family, family_at(c, 0)) || span_eq(family, family_at(c, 1));
}

/* ---- complaints */

static int complain(struct call *c, const struct json *object, const char *field, const char *value, struct span why)
{
	err_cause_add(&c->err, span_of(field), "FieldValueInvalid",
		      arena_printf(&c->arena, "Invalid value: %s: %.*s", value, SPAN_ARG(why)));
	return strategy_invalid(c->res, text_of(json_getl(object, "metadata"), "name"), &c->err);
}

static const char *quoted(struct call *c, struct span value)
{
	return arena_printf(&c->arena, "\"%.*s\"", SPAN_ARG(value)).ptr;
}

static const char *go_list(struct call *c, const struct json *list)
{
	auto_buf struct buf b = {};
	buf_str(&b, "[]string{");
	JSON_EACH_ITEM(list, item)
		buf_printf(&b, "%s\"%.*s\"", item == list->items ? "" : ", ", SPAN_ARG(json_span(item)));
	buf_str(&b, "}");
	return arena_span(&c->arena, buf_span(&b)).ptr;
}

/* ---- families: which of them, how many (initIPFamilyFields) */

static struct json *list_in(struct call *c, struct json *spec, const char *key)
{
	struct json *list = json_get(spec, span_of(key));
	return json_is(list, JSON_ARRAY) ? list : json_set(&c->arena, spec, span_of(key), json_array());
}

static struct span other_family(struct span family)
{
	return span_is(family, "IPv4") ? SPAN("IPv6") : SPAN("IPv4");
}

static bool same(const struct json *a, const struct json *b, const char *key)
{
	return strategy_same(json_get(spec_of(a), span_of(key)), json_get(spec_of(b), span_of(key)));
}

/* A PreferDualStack Service is not changed by a cluster that has become dual-stack meanwhile. */
static bool prefers_as_before(const struct json *service, const struct json *old)
{
	struct span now = text_of(spec_of(service), "ipFamilyPolicy"), was = text_of(spec_of(old), "ipFamilyPolicy");
	return old && span_is(now, "PreferDualStack") && (!was.len || span_is(was, "PreferDualStack")) && same(service, old, "type") &&
	       !type_is(service, "ExternalName") && same(service, old, "clusterIPs") && same(service, old, "ipFamilies");
}

static void policy_default(struct call *c, struct json *service, const struct json *old)
{
	struct json *spec = json_getl(service, "spec");
	const struct json *selector = json_getl(spec, "selector");
	struct span was = text_of(spec_of(old), "ipFamilyPolicy");
	if (json_getl(spec, "ipFamilyPolicy"))
		return;
	if (!was.len)
		was = is_headless(service) && !(json_is(selector, JSON_OBJECT) && selector->n) ? SPAN("RequireDualStack")
											      : SPAN("SingleStack");
	json_setl(&c->arena, spec, "ipFamilyPolicy", json_str(was));
}

static void cut(struct json *list)
{
	while (count_of(list) > 1)
		json_remove_at(list, list->n - 1);
}

static int families_agree(struct call *c, struct json *service, const struct json *old)
{
	struct json *spec = json_getl(service, "spec");
	struct json *families = list_in(c, spec, "ipFamilies");
	const struct json *ips = json_getl(spec, "clusterIPs");
	struct span policy = text_of(spec, "ipFamilyPolicy");
	bool single = span_is(policy, "SingleStack");
	if (old && single) {
		if (same(service, old, "clusterIPs"))
			cut(json_getl(spec, "clusterIPs"));
		if (same(service, old, "ipFamilies"))
			cut(families);
	} else if (old) {
		if (count_of(ips) && count_of(ips) < count_of(json_getl(spec_of(old), "clusterIPs")))
			return complain(c, service, "spec.ipFamilyPolicy", quoted(c, policy),
					SPAN("must be 'SingleStack' to release the secondary cluster IP"));
		if (count_of(families) && count_of(families) < count_of(json_getl(spec_of(old), "ipFamilies")))
			return complain(c, service, "spec.ipFamilyPolicy", quoted(c, policy),
					SPAN("must be 'SingleStack' to release the secondary IP family"));
	}
	if (single && count_of(ips) == 2)
		return complain(c, service, "spec.ipFamilyPolicy", quoted(c, policy), SPAN("must be 'RequireDualStack' or "
				"'PreferDualStack' when multiple cluster IPs are specified"));
	if (single && count_of(families) == 2)
		return complain(c, service, "spec.ipFamilyPolicy", quoted(c, policy), SPAN("must be 'RequireDualStack' or "
				"'PreferDualStack' when multiple IP families are specified"));
	for (unsigned i = count_of(families); i < count_of(ips) && !is_headless(service); i++) {
		struct span family = claims_family(json_span(&ips->items[i]));
		if (!family_served(c, family))
			return complain(c, service, i ? "spec.clusterIPs[1]" : "spec.clusterIPs[0]", go_list(c, ips),
					arena_printf(&c->arena, "%.*s is not configured on this cluster", SPAN_ARG(family)));
		(void)json_push(&c->arena, families, json_str(family));
	}
	return 0;
}

static int families_init(struct call *c, struct json *service, const struct json *old)
{
	policy_default(c, service, old);
	int rc = families_agree(c, service, old);
	if (rc < 0)
		return rc;
	struct json *spec = json_getl(service, "spec"), *families = list_in(c, spec, "ipFamilies");
	const struct json *selector = json_getl(spec, "selector");
	struct span policy = text_of(spec, "ipFamilyPolicy");
	bool single = span_is(policy, "SingleStack"), dual = family_at(c, 1).len > 0;
	/* Headless without selector: somebody else writes the endpoints, of whatever family. */
	bool free_hand = is_headless(service) && !(json_is(selector, JSON_OBJECT) && selector->n);
	if (!free_hand && span_is(policy, "RequireDualStack") && !dual)
		return complain(c, service, "spec.ipFamilyPolicy", quoted(c, policy),
				SPAN("this cluster is not configured for dual-stack services"));
	for (unsigned i = 0; i < count_of(families) && !free_hand; i++)
		if (!family_served(c, json_span(&families->items[i])))
			return complain(c, service, i ? "spec.ipFamilies[1]" : "spec.ipFamilies[0]",
					quoted(c, json_span(&families->items[i])), SPAN("not configured on this cluster"));
	if (!count_of(families))
		(void)json_push(&c->arena, families, json_str(family_at(c, 0)));
	if (!single && count_of(families) == 1 && (dual || free_hand))
		(void)json_push(&c->arena, families, json_str(other_family(json_span(&families->items[0]))));
	return 0;
}

/* ---- addresses */

static const struct api_resource *resource_of(struct call *c, const char *plural)
{
	return api_registry_find(c->registry, SPAN("networking.k8s.io"), SPAN("v1"), span_of(plural));
}

static const struct store_item *address_item(struct call *c, struct span ip, struct buf *key)
{
	buf_trunc(key, 0);
	object_key(key, resource_of(c, "ipaddresses"), SPAN(""), ip);
	return store_get(c->snap, buf_span(key));
}

/* The name of its IPAddress. */
static struct span canonical(struct call *c, struct span ip)
{
	const char *name = claims_name(&c->arena, ip);
	return name ? span_of(name) : ip;
}

static uint64_t random_below(uint64_t n)
{
	uint64_t r;
	rng_secret(&r, sizeof(r));
	return r % n; /* the bias of 2^-40 and less chooses nothing that matters */
}

static bool condition_ready(const struct json *cidr)
{
	if (json_path(cidr, "metadata", "deletionTimestamp", NULL))
		return false;
	JSON_EACH_ITEM(json_path(cidr, "status", "conditions", NULL), cond)
		if (span_is(text_of(cond, "type"), "Ready"))
			return span_is(text_of(cond, "status"), "True");
	return false;
}

/* Every range that may be used: the ready ServiceCIDRs, by name. */
static const struct json *ranges_of(struct call *c)
{
	const struct admission_lookup *look = c->admitted->lookup;
	return look->list(look->arg, &c->arena, SPAN("networking.k8s.io"), SPAN("servicecidrs"), SPAN(""));
}

static bool is_in_a_range(struct call *c, struct span ip)
{
	struct api_ip parsed;
	if (!api_ip_parse(ip, &parsed))
		return false;
	JSON_EACH_ITEM(ranges_of(c), cidr)
		JSON_EACH_ITEM(json_path(cidr, "spec", "cidrs", NULL), range)
			if (condition_ready(cidr) && claims_in(json_span(range), &parsed))
				return true;
	return false;
}

static bool pick_between(struct call *c, const struct api_ip *base, uint64_t low, uint64_t high, struct span *out)
{
	auto_buf struct buf key = {};
	uint64_t n = high - low, at = n ? random_below(n) : 0;
	for (uint64_t i = 0; i < n && i < PROBES_MAX; i++, at = at + 1 == n ? 0 : at + 1) {
		char name[46];
		struct api_ip ip = claims_plus(*base, 1 + low + at);
		struct span s = span_make(name, api_ip_print(&ip, name));
		if (address_item(c, s, &key))
			continue;
		*out = arena_span(&c->arena, s);
		return true;
	}
	return false;
}

static bool pick_address(struct call *c, struct span family, struct span *out)
{
	JSON_EACH_ITEM(ranges_of(c), cidr)
		JSON_EACH_ITEM(json_path(cidr, "spec", "cidrs", NULL), range) {
			struct api_ip base;
			unsigned bits;
			if (!condition_ready(cidr) || !span_eq(claims_family(json_span(range)), family) ||
			    !api_cidr_parse(json_span(range), &base, &bits))
				continue;
			(void)api_ip_mask(&base, bits);
			uint64_t size = claims_hosts(&base, bits), offset = claims_reserved(size, 16, 256);
			if (pick_between(c, &base, offset, size, out) || pick_between(c, &base, 0, offset, out))
				return true;
		}
	return false;
}

static int claim_address(struct call *c, const struct json *object, struct span ip)
{
	const struct api_resource *res = resource_of(c, "ipaddresses");
	struct arena *a = &c->arena;
	struct span name = canonical(c, ip);
	struct json tree = claims_address(a, name, c->route.ns, text_of(json_getl(object, "metadata"), "name"));
	auto_buf struct buf key = {};
	auto_bytes struct bytes *value = NULL;
	(void)address_item(c, name, &key);
	int rc = seed_object(c->server, res, a, &tree, NULL, SPAN("kube-apiserver"), &value, &c->err);
	if (rc == 0)
		also_put(c, buf_span(&key), 0, bytes_ref(value));
	return rc;
}

static int addresses(struct call *c, struct json *object, const struct claims *had)
{
	struct json *spec = json_getl(object, "spec"), *ips = list_in(c, spec, "clusterIPs");
	const struct json *families = json_getl(spec, "ipFamilies");
	auto_buf struct buf key = {};
	for (unsigned i = 0; i < count_of(families) && i < 2; i++) {
		struct span ip;
		if (i < count_of(ips)) {
			ip = json_span(&ips->items[i]);
			if (claims_have_ip(had, ip))
				continue;
			const char *why = !is_in_a_range(c, ip) ? "the provided network does not match the current range" :
					  address_item(c, canonical(c, ip), &key) ? "provided IP is already allocated" : NULL;
			if (why)
				return complain(c, object, "spec.clusterIPs", go_list(c, ips),
						arena_printf(&c->arena, "failed to allocate IP %.*s: %s", SPAN_ARG(ip), why));
		} else if (!pick_address(c, json_span(&families->items[i]), &ip)) {
			return err_set(&c->err, ERR_INTERNAL, "failed to allocate a serviceIP: range is full");
		} else {
			(void)json_push(&c->arena, ips, json_str(ip));
		}
		if (i == 0)
			json_setl(&c->arena, spec, "clusterIP", json_str(ip));
		int rc = claim_address(c, object, ip);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- ports */

static const struct store_item *port_item(struct call *c, int port, struct buf *key)
{
	buf_trunc(key, 0);
	claims_port_key(key, port);
	return store_get(c->snap, buf_span(key));
}

static void claim_port(struct call *c, const struct json *object, int port)
{
	auto_buf struct buf key = {}, value = {};
	(void)port_item(c, port, &key);
	claims_port_value(&value, c->route.ns, text_of(json_getl(object, "metadata"), "name"));
	also_put(c, buf_span(&key), 0, buf_seal(&value));
}

static bool claimed(struct call *c, int port)
{
	auto_buf struct buf key = {};
	(void)port_item(c, port, &key);
	return also_has(c, buf_span(&key));
}

static bool pick_port(struct call *c, int *out)
{
	auto_buf struct buf key = {};
	int low = 0, high = 0;
	(void)claims_port_range(c->server->opt->service_node_port_range, &low, &high); /* checked at start */
	unsigned size = (unsigned)(high - low + 1), offset = (unsigned)claims_reserved(size, 32, 128);
	for (unsigned pass = 0; pass < 2; pass++) {
		unsigned from = pass ? 0 : offset, n = pass ? offset : size - offset, at = n ? (unsigned)random_below(n) : 0;
		for (unsigned i = 0; i < n; i++, at = at + 1 == n ? 0 : at + 1) {
			*out = low + (int)(from + at);
			if (!port_item(c, *out, &key) && !claimed(c, *out))
				return true;
		}
	}
	return false;
}

/* Why this port cannot be had; NULL when it can. */
static const char *port_refused(struct call *c, int port)
{
	auto_buf struct buf key = {};
	int low = 0, high = 0;
	(void)claims_port_range(c->server->opt->service_node_port_range, &low, &high);
	if (port < low || port > high)
		return arena_printf(&c->arena, "provided port is not in the valid range. The range of valid ports is %d-%d", low,
				    high).ptr;
	return port_item(c, port, &key) || claimed(c, port) ? "provided port is already allocated" : NULL;
}

/* Ports of one number share one node port, TCP and UDP: what another one of them has or asks for. */
static int shared_port(const struct json *ports, const struct json *port)
{
	JSON_EACH_ITEM(ports, p)
		if (p != port && json_i64(json_getl(p, "port"), 0) == json_i64(json_getl(port, "port"), 0) &&
		    json_i64(json_getl(p, "nodePort"), 0))
			return (int)json_i64(json_getl(p, "nodePort"), 0);
	return 0;
}

static int node_ports(struct call *c, struct json *object, const struct json *old, const struct claims *had)
{
	struct json *ports = json_path(object, "spec", "ports", NULL);
	bool give = type_is(object, "NodePort") ||
		    json_truth(json_getl(spec_of(object), "allocateLoadBalancerNodePorts"), true);
	for (unsigned i = 0; i < count_of(ports); i++) {
		struct json *p = &ports->items[i];
		int port = (int)json_i64(json_getl(p, "nodePort"), 0);
		if (!port && !give)
			continue;
		if (!port && !old)
			port = shared_port(ports, p);
		if (!port && !pick_port(c, &port))
			return err_set(&c->err, ERR_INTERNAL, "failed to allocate a nodePort: range is full");
		/* mine: of another protocol of this Service; validation knows the rest */
		bool mine = claims_have_port(had, port) || claimed(c, port);
		const char *why = mine ? NULL : port_refused(c, port);
		if (why)
			return complain(c, object, arena_printf(&c->arena, "spec.ports[%u].nodePort", i).ptr,
					arena_printf(&c->arena, "%d", port).ptr, span_of(why));
		if (!mine)
			claim_port(c, object, port);
		json_setl(&c->arena, p, "nodePort", json_int(port));
	}
	return 0;
}

static int health_port(struct call *c, struct json *object, const struct claims *had)
{
	struct json *spec = json_getl(object, "spec");
	int port = (int)json_i64(json_getl(spec, "healthCheckNodePort"), 0);
	if (!port && !pick_port(c, &port))
		return err_set(&c->err, ERR_INTERNAL, "failed to allocate a HealthCheck NodePort 0: range is full");
	if (claims_have_port(had, port))
		return 0;
	const char *why = port_refused(c, port);
	if (why)
		return err_set(&c->err, ERR_INTERNAL, "failed to allocate requested HealthCheck NodePort %d: %s", port, why);
	claim_port(c, object, port);
	json_setl(&c->arena, spec, "healthCheckNodePort", json_int(port));
	return 0;
}

/* ---- the whole */

static bool is_service(const struct call *c)
{
	return !c->res->group.len && span_is(c->res->plural, "services");
}

static void release(struct call *c, const struct claims *had, const struct claims *has)
{
	auto_buf struct buf key = {};
	for (unsigned i = 0; i < had->n_ips; i++) {
		const struct store_item *it = claims_have_ip(has, had->ips[i]) ? NULL : address_item(c, canonical(c, had->ips[i]), &key);
		if (it && !also_has(c, buf_span(&key)))
			also_delete(c, buf_span(&key), it->rev);
	}
	for (unsigned i = 0; i < had->n_ports; i++) {
		const struct store_item *it = claims_have_port(has, had->ports[i]) ? NULL : port_item(c, had->ports[i], &key);
		if (it && !also_has(c, buf_span(&key)))
			also_delete(c, buf_span(&key), it->rev);
	}
}

/* What validation will refuse anyway gets nothing: then its words are the answer. */
static bool is_readable(const struct json *service)
{
	const struct json *spec = spec_of(service), *ips = json_getl(spec, "clusterIPs");
	const struct json *policy = json_getl(spec, "ipFamilyPolicy");
	struct span p = json_span(policy);
	struct api_ip ip;
	if (count_of(ips) > 2 || count_of(json_getl(spec, "ipFamilies")) > 2 || (count_of(ips) && !text_of(spec, "clusterIP").len) ||
	    (policy && !span_is(p, "SingleStack") && !span_is(p, "PreferDualStack") && !span_is(p, "RequireDualStack")))
		return false;
	JSON_EACH_ITEM(ips, item)
		if (!span_is(json_span(item), "None") && !api_ip_parse(json_span(item), &ip))
			return false;
	JSON_EACH_ITEM(json_getl(spec, "ipFamilies"), f)
		if (!span_is(json_span(f), "IPv4") && !span_is(json_span(f), "IPv6"))
			return false;
	return json_is(spec, JSON_OBJECT);
}

int service_allocate(struct call *c, struct json *object, const struct json *old)
{
	struct claims had = claims_of(old), has;
	int rc = 0;
	if (!is_service(c) || c->sub || !is_readable(object))
		return 0;
	if (!type_is(object, "ExternalName") && !prefers_as_before(object, old)) {
		rc = families_init(c, object, old);
		if (rc == 0 && !is_headless(object))
			rc = addresses(c, object, &had);
	}
	if (rc == 0 && has_node_ports(object))
		rc = node_ports(c, object, old, &had);
	if (rc == 0 && has_health_port(object))
		rc = health_port(c, object, &had);
	if (rc < 0)
		return rc;
	has = claims_of(object);
	release(c, &had, &has);
	return 0;
}

void service_release(struct call *c, const struct json *old)
{
	const struct claims had = claims_of(old), has = {};
	if (is_service(c))
		release(c, &had, &has);
}
