/* New networks: a NetworkCreateRequest is checked, completed (driver, subnets, gateways, options) and becomes the stored
 * object. */
#include "network/private.h"

#define MEMBERS_MAX 256		/* labels, options, subnets, auxiliary addresses of one request */
#define AVOID_MAX 20000		/* subnets and routes that a chosen subnet keeps clear of */

struct avoid {
	struct sys_prefix *list;
	size_t n, cap;
};

static int on_prefix(void *arg, const struct sys_prefix *p, int index)
{
	struct avoid *av = arg;
	if (p->bits == 0 || av->n >= AVOID_MAX) /* the default route overlaps everything and means nothing */
		return 0;
	MEM_GROW(av->list, av->n, av->cap);
	av->list[av->n++] = *p;
	return 0;
}

static int choose_subnet(struct network_engine *e, int v, struct sys_prefix *out, struct err *err)
{
	struct avoid av = { 0 };
	int family = network_family(v);
	LIST_EACH(&e->networks, n, struct network, link)
		if (n->pool[v].subnet.addr.family)
			on_prefix(&av, &n->pool[v].subnet, 0);
	/* Routes of the host and addresses that have no route of their own (/32) must stay reachable. */
	int rc = sys_route_each(e->route, family, on_prefix, &av, err);
	if (rc == 0)
		rc = sys_address_each(e->route, on_prefix, &av, err);
	bool found = false;
	if (rc == 0)
		found = network_supply_choose(e->set.supplies, e->set.n_supplies, family, av.list, av.n, out);
	if (rc == 0 && !found && v == V6) {
		static const uint8_t none[5];
		if (memcmp(e->ula, none, 5) == 0)
			rng_secret(e->ula, 5);
		struct network_supply ula = { .base = { { AF_INET6, { 0xfd } }, 48 }, .size = 64 };
		memcpy(ula.base.addr.b + 1, e->ula, 5);
		found = network_supply_choose(&ula, 1, family, av.list, av.n, out);
	}
	free(av.list);
	if (rc == 0 && !found)
		rc = err_set(err, ERR_INVALID_REQUEST, "all predefined address pools have been fully subnetted");
	return rc;
}

/* ---- checks of IPAM, in the words of Docker's api/types/network */

static const char *block(int family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

static void check_inside(struct buf *out, const char *what, struct span text, const struct sys_prefix *subnet)
{
	struct sys_addr a;
	char s[SYS_ADDR_TEXT];
	if (!sys_addr_parse(text, &a))
		buf_printf(out, "%s %.*s: invalid address\n", what, SPAN_ARG(text));
	else if (a.family != subnet->addr.family)
		buf_printf(out, "%s %.*s: parent subnet is an %s block\n", what, SPAN_ARG(text), block(subnet->addr.family));
	else if (!sys_prefix_has(subnet, &a))
		buf_printf(out, "%s %.*s: parent subnet %s doesn't contain this address\n", what, SPAN_ARG(text),
			sys_prefix_text(subnet, s));
}

static void check_range(struct buf *out, struct span text, const struct sys_prefix *subnet)
{
	struct sys_prefix r;
	char s[SYS_ADDR_TEXT];
	if (!sys_prefix_parse(text, &r)) {
		buf_printf(out, "invalid ip-range %.*s: invalid CIDR block notation\n", SPAN_ARG(text));
		return;
	}
	struct sys_prefix masked = sys_prefix_mask(r);
	if (r.addr.family != subnet->addr.family) {
		buf_printf(out, "invalid ip-range %.*s: parent subnet is an %s block\n", SPAN_ARG(text), block(subnet->addr.family));
		return;
	}
	if (r.bits < subnet->bits)
		buf_printf(out, "invalid ip-range %.*s: CIDR block is bigger than its parent subnet %s\n", SPAN_ARG(text),
			   sys_prefix_text(subnet, s));
	if (!sys_addr_eq(&masked.addr, &r.addr))
		buf_printf(out, "invalid ip-range %.*s: it should be %s\n", SPAN_ARG(text), sys_prefix_text(&masked, s));
	if (!sys_prefix_overlaps(&r, subnet))
		buf_printf(out, "invalid ip-range %.*s: parent subnet %s doesn't contain ip-range\n", SPAN_ARG(text),
			sys_prefix_text(subnet, s));
}

static int check_ipam(const struct json *configs, struct err *err)
{
	auto_buf struct buf out = { .limit = 4096 };
	JSON_EACH_ITEM(configs, c) {
		struct span text = span_sub(json_span(json_getl(c, "Subnet")), 0, 100);
		struct sys_prefix p;
		char s[SYS_ADDR_TEXT];
		if (!sys_prefix_parse(text, &p)) {
			buf_printf(&out, "invalid subnet %.*s: invalid CIDR block notation\n", SPAN_ARG(text));
			continue;
		}
		struct sys_prefix masked = sys_prefix_mask(p);
		if (!sys_addr_eq(&masked.addr, &p.addr))
			buf_printf(&out, "invalid subnet %.*s: it should be %s\n", SPAN_ARG(text), sys_prefix_text(&masked, s));
		struct span range = json_span(json_getl(c, "IPRange")), gateway = json_span(json_getl(c, "Gateway"));
		if (range.len)
			check_range(&out, span_sub(range, 0, 100), &masked);
		if (gateway.len)
			check_inside(&out, "invalid gateway", span_sub(gateway, 0, 100), &masked);
		JSON_EACH_MEMBER(json_getl(c, "AuxiliaryAddresses"), m) {
			char what[128];
			snprintf(what, sizeof(what), "invalid auxiliary address %.*s", SPAN_ARG(span_sub(json_key(m), 0, 64)));
			check_inside(&out, what, span_sub(json_span(&m->value), 0, 100), &masked);
		}
	}
	if (out.len)
		return err_set(err, ERR_INVALID_REQUEST, "invalid network config:\n%.*s", SPAN_ARG(span_sub(buf_span(&out), 0,
			out.len - 1)));
	return 0;
}

static int check_overlap(struct network_engine *e, const struct network *fresh, struct err *err)
{
	LIST_EACH(&e->networks, n, struct network, link)
		for (int v = V4; v <= V6; v++)
			if (fresh->pool[v].subnet.addr.family && n->pool[v].subnet.addr.family &&
			    sys_prefix_overlaps(&fresh->pool[v].subnet, &n->pool[v].subnet))
				return err_set(err, ERR_FORBIDDEN, "invalid pool request: Pool overlaps with other one on this address space");
	LIST_EACH(&e->networks, n, struct network, link)
		if (n->driver == NETWORK_BRIDGE && strcmp(n->bridge, fresh->bridge) == 0)
			return err_set(err, ERR_FORBIDDEN,
				"cannot create network %s (%s): conflicts with network %s (%s): networks have same bridge name",
				       fresh->id, fresh->bridge, n->id, n->bridge);
	return 0;
}

/* ---- completing */

static struct json text_prefix(struct arena *a, const struct sys_prefix *p)
{
	char s[SYS_ADDR_TEXT];
	return json_str(arena_span(a, span_of(sys_prefix_text(p, s))));
}

static struct json text_addr(struct arena *a, const struct sys_addr *p)
{
	char s[SYS_ADDR_TEXT];
	return json_str(arena_span(a, span_of(sys_addr_text(p, s))));
}

/* A subnet with its gateway: the one that is named, else the first address that no auxiliary one has. */
static int add_config(struct arena *a, struct json *configs, const struct json *given, const struct sys_prefix *subnet,
	struct err *err)
{
	struct network_pool p;
	struct sys_addr got, gw;
	network_pool_init(&p, subnet);
	struct span gateway = json_span(json_getl(given, "Gateway")), range = json_span(json_getl(given, "IPRange"));
	int rc = 0;
	struct json c = json_object();
	json_add(a, &c, SPAN("Subnet"), text_prefix(a, subnet));
	if (range.len)
		json_add(a, &c, SPAN("IPRange"), json_str(arena_span(a, range)));
	JSON_EACH_MEMBER(json_getl(given, "AuxiliaryAddresses"), m) {
		struct sys_addr aux;
		if (sys_addr_parse(json_span(&m->value), &aux))
			(void)network_pool_take(&p, &aux, &got); /* twice the same is said when the network is loaded */
	}
	if (gateway.len)
		(void)sys_addr_parse(gateway, &gw); /* checked before */
	else if (network_pool_take(&p, NULL, &gw) != NETWORK_TAKEN)
		rc = err_set(err, ERR_INVALID_REQUEST, "failed to allocate gateway (): no available addresses on this pool");
	network_pool_done(&p);
	if (rc < 0)
		return rc;
	json_add(a, &c, SPAN("Gateway"), text_addr(a, &gw));
	const struct json *aux = json_getl(given, "AuxiliaryAddresses");
	if (json_is(aux, JSON_OBJECT) && aux->n)
		json_add(a, &c, SPAN("AuxiliaryAddresses"), json_copy(a, aux));
	json_push(a, configs, c);
	return 0;
}

static struct json texts(struct arena *a, const struct json *object)
{
	return json_is(object, JSON_OBJECT) ? json_copy(a, object) : json_object();
}

struct draft {
	const char *name, *driver;
	bool ipv4, ipv6, internal, attachable;
	const struct json *configs; /* as asked for; may be NULL */
	struct json options, labels, ipam_options;
	bool config_only;      /* kept as it was asked for: what is made from it completes it */
	const char *config_from; /* "" = none */
};

/* The stored object; subnets are chosen where none is given. */
static int complete(struct network_engine *e, struct arena *a, const struct draft *d, struct json *out, bool chosen[2],
	struct err *err)
{
	struct json configs = json_array();
	bool bridge = strcmp(d->driver, "bridge") == 0;
	int rc;
	chosen[V4] = chosen[V6] = false;
	JSON_EACH_ITEM(d->configs, c) {
		struct sys_prefix p;
		(void)sys_prefix_parse(json_span(json_getl(c, "Subnet")), &p); /* checked before */
		int v = p.addr.family == AF_INET6;
		if (d->config_only) {
			json_push(a, &configs, json_copy(a, c));
			continue;
		}
		if (!(v == V4 ? d->ipv4 : d->ipv6)) /* as Docker: subnets of a family that is off are passed over */
			continue;
		if ((rc = add_config(a, &configs, c, &p, err)) < 0)
			return rc;
		chosen[v] = true;
	}
	for (int v = V4; v <= V6 && bridge; v++) {
		struct sys_prefix p;
		if (chosen[v] || !(v == V4 ? d->ipv4 : d->ipv6))
			continue;
		if ((rc = choose_subnet(e, v, &p, err)) < 0 || (rc = add_config(a, &configs, NULL, &p, err)) < 0)
			return rc;
	}
	uint8_t secret[32];
	auto_buf struct buf hex = { 0 };
	rng_secret(secret, sizeof(secret));
	hex_add(&hex, secret, sizeof(secret));
	char when[40];
	int64_t now = clock_wall_ns(clock_real());
	size_t when_len = time_format(when, now / NS_PER_S, (int32_t)(now % NS_PER_S), -1);
	struct json o = json_object(), ipam = json_object(), from = json_object();
	json_add(a, &ipam, SPAN("Driver"), json_cstr("default"));
	json_add(a, &ipam, SPAN("Options"), d->ipam_options);
	json_add(a, &ipam, SPAN("Config"), configs);
	json_add(a, &from, SPAN("Network"), json_str(arena_span(a, span_of(d->config_from ? d->config_from : ""))));
	json_add(a, &o, SPAN("Name"), json_str(arena_span(a, span_of(d->name))));
	json_add(a, &o, SPAN("Id"), json_str(arena_span(a, buf_span(&hex))));
	json_add(a, &o, SPAN("Created"), json_str(arena_span(a, span_make(when, when_len))));
	json_add(a, &o, SPAN("Scope"), json_cstr("local"));
	json_add(a, &o, SPAN("Driver"), json_cstr(d->driver));
	json_add(a, &o, SPAN("EnableIPv4"), json_bool(d->ipv4));
	json_add(a, &o, SPAN("EnableIPv6"), json_bool(d->ipv6));
	json_add(a, &o, SPAN("IPAM"), ipam);
	json_add(a, &o, SPAN("Internal"), json_bool(d->internal));
	json_add(a, &o, SPAN("Attachable"), json_bool(d->attachable));
	json_add(a, &o, SPAN("Ingress"), json_bool(false));
	json_add(a, &o, SPAN("ConfigFrom"), from);
	json_add(a, &o, SPAN("ConfigOnly"), json_bool(d->config_only));
	json_add(a, &o, SPAN("Options"), d->options);
	json_add(a, &o, SPAN("Labels"), d->labels);
	*out = o;
	return 0;
}

static int install(struct network_engine *e, const struct json *tree, const bool chosen[2], struct network **out,
	struct err *err)
{
	struct network *n;
	int rc = network_load(e, tree, chosen[V4], chosen[V6], &n, err);
	if (rc < 0)
		return rc;
	if ((rc = check_overlap(e, n, err)) < 0)
		goto undo_load;
	/* The kernel before the record: a bridge without one is swept away at the next start. */
	list_push(&e->networks, &n->link);
	e->n_networks++;
	if ((rc = network_kernel_make(e, n, err)) < 0)
		goto undo_list;
	FAILPOINT("network.create.made");
	if ((rc = network_state_save(e, err)) < 0)
		goto undo_kernel;
	if (n->driver == NETWORK_BRIDGE)
		network_firewall_settle(e);
	*out = n;
	return 0;
undo_kernel:
	list_remove(&n->link);
	(void)network_kernel_remove(e, n, NULL); /* the first failure is the one to tell */
undo_list:
	list_remove(&n->link);
	e->n_networks--;
undo_load:
	network_free(n);
	return rc;
}

static bool only_texts(const struct json *object)
{
	JSON_EACH_MEMBER(object, m)
		if (m->value.kind != JSON_STRING)
			return false;
	return !object || object->kind == JSON_NULL || (object->kind == JSON_OBJECT && object->n <= MEMBERS_MAX);
}

/* ConfigOnly and ConfigFrom, in the words of libnetwork's validateConfiguration. */
static int check_configuration(const struct json *q, struct err *err)
{
	const struct json *ipam = json_getl(q, "IPAM"), *labels = json_getl(q, "Labels"), *options = json_getl(q, "Options");
	const struct json *configs = json_getl(ipam, "Config"), *ipam_options = json_getl(ipam, "Options");
	struct span from = json_span(json_path(q, "ConfigFrom", "Network", NULL)), ipam_driver = json_span(json_getl(ipam, "Driver"));
	bool only = json_truth(json_getl(q, "ConfigOnly"), false);
	if (only && (json_truth(json_getl(q, "Ingress"), false) || json_truth(json_getl(q, "Internal"), false) ||
			    json_truth(json_getl(q, "Attachable"), false) || json_span(json_getl(q, "Scope")).len))
		return err_set(err, ERR_FORBIDDEN, "configuration network can only contain network specific fields. Network operator "
			"fields like [ ingress | internal | attachable | scope ] are not supported.");
	if (!from.len)
		return 0;
	if (only)
		return err_set(err, ERR_FORBIDDEN, "a configuration network cannot depend on another configuration network");
	if ((ipam_driver.len && !span_is(ipam_driver, "default")) || json_truth(json_getl(q, "EnableIPv6"), false) ||
	    (labels && labels->n) || (ipam_options && ipam_options->n) || (configs && configs->n))
		return err_set(err, ERR_FORBIDDEN,
			"user specified configurations are not supported if the network depends on a configuration network");
	if (options && options->n)
		return err_set(err, ERR_FORBIDDEN,
			"network driver options are not supported if the network depends on a configuration network");
	return 0;
}

static int check_request(struct network_engine *e, const struct json *q, struct span name, struct span driver, struct err *err)
{
	const struct json *ipam = json_getl(q, "IPAM"), *configs = json_getl(ipam, "Config");
	if (!json_is(q, JSON_OBJECT))
		return err_set(err, ERR_INVALID_REQUEST, "a network is described by a JSON object");
	if (span_trim(name).len == 0)
		return err_set(err, ERR_INVALID_REQUEST, "invalid name: name is empty");
	if (name.len > NETWORK_NAMES_MAX || !utf8_valid(name) || memchr(name.ptr, 0, name.len) || span_chr(name, '/') >= 0 ||
		span_chr(name, '\n') >= 0)
		return err_set(err, ERR_INVALID_REQUEST, "invalid name: at most %d bytes, no slash, no control characters",
			NETWORK_NAMES_MAX);
	if (network_name_builtin(name))
		return err_set(err, ERR_FORBIDDEN, "operation is not permitted on predefined %.*s network ", SPAN_ARG(name));
	if (!only_texts(json_getl(q, "Labels")) || !only_texts(json_getl(q, "Options")) || !only_texts(json_getl(ipam, "Options")))
		return err_set(err, ERR_INVALID_REQUEST, "Labels and Options are at most %d texts by name", MEMBERS_MAX);
	if (configs && configs->kind != JSON_NULL && (configs->kind != JSON_ARRAY || configs->n > MEMBERS_MAX))
		return err_set(err, ERR_INVALID_REQUEST, "IPAM.Config is a list of at most %d subnets", MEMBERS_MAX);
	JSON_EACH_ITEM(configs, c)
		if (!only_texts(json_getl(c, "AuxiliaryAddresses")))
			return err_set(err, ERR_INVALID_REQUEST, "AuxiliaryAddresses are at most %d addresses by name", MEMBERS_MAX);
	LIST_EACH(&e->networks, n, struct network, link)
		if (span_is(name, n->name))
			return err_set(err, ERR_EXISTS, "network with name %s already exists", n->name);
	if (e->n_networks >= NETWORK_COUNT_MAX)
		return err_set(err, ERR_TOO_MANY, "there are %d networks already", NETWORK_COUNT_MAX);
	int rc = check_configuration(q, err);
	if (rc < 0 || json_truth(json_getl(q, "ConfigOnly"), false)) /* drivers are for those that are made from it */
		return rc < 0 ? rc : check_ipam(configs, err);
	struct span ipam_driver = json_span(json_getl(ipam, "Driver"));
	if (ipam_driver.len && !span_is(ipam_driver, "default"))
		return err_set(err, ERR_NOT_FOUND, "could not find plugin %.*s in v1 plugin registry: plugin \"%.*s\" not found",
			       SPAN_ARG(span_sub(ipam_driver, 0, 64)), SPAN_ARG(span_sub(ipam_driver, 0, 64)));
	struct span scope = json_span(json_getl(q, "Scope"));
	bool ingress = json_truth(json_getl(q, "Ingress"), false);
	if (span_is(scope, "swarm"))
		return err_set(err, ERR_FORBIDDEN, "cannot create a swarm scoped network when swarm is not active");
	if (ingress && !span_is(driver, "overlay"))
		return err_set(err, ERR_FORBIDDEN, "Ingress network can only be global scope network");
	if (span_is(driver, "overlay") || (scope.len && !span_is(scope, "local")))
		return err_set(err, ERR_UNAVAILABLE,
			"This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect "
			       "this node to swarm and try again.");
	if (span_is(driver, "host") || span_is(driver, "null"))
		return err_set(err, ERR_FORBIDDEN, "only one instance of \"%.*s\" network is allowed", SPAN_ARG(driver));
	if (span_is(driver, "macvlan") || span_is(driver, "ipvlan"))
		return err_set(err, ERR_UNSUPPORTED, "network driver \"%.*s\" is not supported", SPAN_ARG(driver));
	if (!span_is(driver, "bridge"))
		return err_set(err, ERR_NOT_FOUND, "could not find plugin %.*s in v1 plugin registry: plugin \"%.*s\" not found",
			       SPAN_ARG(span_sub(driver, 0, 64)), SPAN_ARG(span_sub(driver, 0, 64)));
	return check_ipam(configs, err);
}

/* The object of a network of configuration only, by its name alone as Docker has it. */
static const struct json *configuration_find(struct network_engine *e, struct span name, struct err *err)
{
	LIST_EACH(&e->networks, n, struct network, link)
		if (n->config_only && span_is(name, n->name))
			return &n->tree;
	err_set(err, ERR_NOT_FOUND, "configuration network \"%.*s\" does not exist", SPAN_ARG(span_sub(name, 0, NETWORK_NAMES_MAX)));
	return NULL;
}

int network_create(struct network_engine *e, const struct json *q, char out_id[65], struct arena *a, struct span *out_warning,
		   struct err *err)
{
	struct span name = json_span(json_getl(q, "Name")), driver = json_span(json_getl(q, "Driver"));
	if (driver.len == 0)
		driver = SPAN("bridge");
	int rc = check_request(e, q, name, driver, err);
	if (rc < 0)
		return rc;
	struct draft d = { .name = arena_cstr(a, name), .driver = "bridge", .ipv4 = json_truth(json_getl(q, "EnableIPv4"), true),
			   .ipv6 = json_truth(json_getl(q, "EnableIPv6"), false), .internal = json_truth(json_getl(q, "Internal"), false),
			   .attachable = json_truth(json_getl(q, "Attachable"), false), .configs = json_path(q, "IPAM", "Config", NULL),
			   .config_only = json_truth(json_getl(q, "ConfigOnly"), false) };
	struct span from = json_span(json_path(q, "ConfigFrom", "Network", NULL));
	if (from.len && (q = configuration_find(e, from, err)) == NULL)
		return -ERR_NOT_FOUND;
	if (from.len) { /* everything that was refused in the request itself */
		d.config_from = arena_cstr(a, from);
		d.ipv4 = json_truth(json_getl(q, "EnableIPv4"), true);
		d.ipv6 = json_truth(json_getl(q, "EnableIPv6"), false);
		d.configs = json_path(q, "IPAM", "Config", NULL);
	}
	if (d.config_only)
		d.driver = "null";
	d.options = texts(a, json_getl(q, "Options"));
	d.labels = texts(a, json_getl(q, "Labels"));
	const struct json *ipam_options = json_path(q, "IPAM", "Options", NULL);
	d.ipam_options = json_is(ipam_options, JSON_OBJECT) ? json_copy(a, ipam_options) : JSON_NULL_VALUE;
	JSON_EACH_MEMBER(&e->set.bridge_options, m)
		if (!d.config_only && !from.len && !json_get(&d.options, json_key(m)))
			json_set(a, &d.options, json_key(m), json_copy(a, &m->value));
	/* The old spelling of the families' switches, which compose files still have. */
	const struct json *v4 = json_getl(&d.options, "com.docker.network.enable_ipv4"), *v6 = json_getl(&d.options,
		"com.docker.network.enable_ipv6");
	if (v4)
		d.ipv4 = span_is(json_span(v4), "true");
	if (v6)
		d.ipv6 = span_is(json_span(v6), "true");
	if (!d.ipv4 && !d.ipv6)
		return err_set(err, ERR_INVALID_REQUEST, "IPv4 or IPv6 must be enabled");
	struct json tree;
	bool chosen[2];
	struct network *n;
	if ((rc = complete(e, a, &d, &tree, chosen, err)) < 0 || (rc = install(e, &tree, chosen, &n, err)) < 0)
		return rc;
	memcpy(out_id, n->id, sizeof(n->id));
	if (out_warning)
		*out_warning = SPAN("");
	network_event(e, NETWORK_CREATED, n, NULL);
	return 0;
}

/* ---- the three that are always there */

/* docker0 where nobody else has it; else knarr0, else a name with our ID. */
static int default_bridge_name(struct network_engine *e, char out[16], struct err *err)
{
	char mine[16];
	snprintf(mine, sizeof(mine), "knarr%s", e->id);
	const char *const names[] = { "docker0", "knarr0", mine };
	if (e->set.bridge[0]) {
		snprintf(out, 16, "%s", e->set.bridge);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct sys_link l;
		char prefix[32];
		auto_err struct err why = ERR_INIT;
		int rc = sys_link_get(e->route, names[i], 0, &l, &why);
		if (rc < 0 && rc != -ERR_NOT_FOUND)
			return err ? err_move(err, &why) : rc;
		snprintf(prefix, sizeof(prefix), "knarr:%s:", e->id);
		if (rc == -ERR_NOT_FOUND || strncmp(l.alias, prefix, strlen(prefix)) == 0) {
			snprintf(out, 16, "%s", names[i]);
			return 0;
		}
	}
	return err_set(err, ERR_EXISTS, "docker0, knarr0 and %s all belong to somebody else", mine);
}

static int make_bridge(struct network_engine *e, struct err *err)
{
	auto_arena struct arena a = { 0 };
	char name[16], number[16], ip[SYS_ADDR_TEXT] = "0.0.0.0";
	int rc = default_bridge_name(e, name, err);
	if (rc < 0)
		return rc;
	struct draft d = { .name = "bridge", .driver = "bridge", .ipv4 = true, .ipv6 = e->set.ipv6, .options = json_object(),
			   .labels = json_object(), .ipam_options = JSON_NULL_VALUE };
	struct json configs = json_array();
	for (int v = V4; v <= V6; v++) {
		const struct sys_prefix *bip = &e->set.bip[v], *fixed = &e->set.fixed[v];
		if (!bip->addr.family && !fixed->addr.family)
			continue;
		struct json c = json_object(), aux = json_object();
		struct sys_prefix subnet = sys_prefix_mask(bip->addr.family ? *bip : *fixed);
		json_add(&a, &c, SPAN("Subnet"), text_prefix(&a, &subnet));
		if (bip->addr.family && fixed->addr.family)
			json_add(&a, &c, SPAN("IPRange"), text_prefix(&a, fixed));
		if (bip->addr.family)
			json_add(&a, &c, SPAN("Gateway"), text_addr(&a, &bip->addr));
		if (e->set.gateway[v].family) {
			json_add(&a, &aux, v == V4 ? SPAN("DefaultGatewayIPv4") : SPAN("DefaultGatewayIPv6"), text_addr(&a,
				&e->set.gateway[v]));
			json_add(&a, &c, SPAN("AuxiliaryAddresses"), aux);
		}
		json_push(&a, &configs, c);
	}
	d.configs = &configs;
	if (e->set.host_ip.family)
		sys_addr_text(&e->set.host_ip, ip);
	snprintf(number, sizeof(number), "%u", e->set.mtu);
	const char *const options[][2] = { { "default_bridge", "true" }, { "enable_icc", e->set.icc ? "true" : "false" },
					   { "enable_ip_masquerade", e->set.masquerade ? "true" : "false" }, { "host_binding_ipv4", ip },
					   { "name", name } };
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		json_add(&a, &d.options, arena_printf(&a, "com.docker.network.bridge.%s", options[i][0]), json_cstr(options[i][1]));
	json_add(&a, &d.options, SPAN("com.docker.network.driver.mtu"), json_cstr(number));
	struct json tree;
	bool chosen[2];
	struct network *n;
	if ((rc = check_ipam(&configs, err)) < 0 || (rc = complete(e, &a, &d, &tree, chosen, err)) < 0)
		return rc;
	return install(e, &tree, chosen, &n, err);
}

int network_builtins(struct network_engine *e, struct err *err)
{
	static const struct {
		const char *name, *driver;
	} rows[] = { { "bridge", "bridge" }, { "host", "host" }, { "none", "null" } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = { 0 };
		bool there = false, chosen[2];
		LIST_EACH(&e->networks, n, struct network, link)
			there = there || strcmp(n->name, rows[i].name) == 0;
		if (there || (i == 0 && e->set.bridge_none))
			continue;
		int rc;
		if (i == 0) {
			rc = make_bridge(e, err);
		} else {
			struct draft d = { .name = rows[i].name, .driver = rows[i].driver, .ipv4 = true, .options = json_object(),
					   .labels = json_object(), .ipam_options = JSON_NULL_VALUE };
			struct json tree;
			struct network *n;
			rc = complete(e, &a, &d, &tree, chosen, err);
			if (rc == 0)
				rc = install(e, &tree, chosen, &n, err);
		}
		if (rc < 0)
			return err_note(err, "making the network %s", rows[i].name);
	}
	return 0;
}
