/* Upstream's repair loops (RepairIPAddress, the port allocator's, kubernetesservice, systemnamespaces, the cluster's authentication
 * info), as one pass in slices: a slice looks at SLICE objects of one snapshot and gives the loop back. What it writes is a
 * compare-and-set on what it saw and nobody waits for it; who loses the race is seen by the next pass. */
#include "apiserver/repair.h"

#include "apiserver/claims.h"
#include "apiserver/seed.h"
#include "apiserver/tell.h"

#define EVERY_MS INT64_C(180000)
#define FIRST_MS 1000 /* after the start: what a restored or damaged store lacks */
#define SLICE 256
#define VERSIONS_MS 100 /* definitions are applied in bunches */
#define LEAKED_MS (60 * 1000) /* an address may be written before its Service by another server */

enum phase { SERVICES, ADDRESSES, EVENTS, PHASE_COUNT };

struct watched {
	struct repair *r;
	struct store_watch *watch;
	enum seed_part part;
};

struct repair {
	struct worker *w;
	struct loop_timer timer, versions;
	enum phase phase;
	struct buf next; /* the key from which the pass goes on; empty: its phase begins */
	struct store_txn *events_over; /* of this slice; NULL = none */
	struct store_watch *addresses;
	struct watched parts[SEED_PART_COUNT * 2];
	unsigned n_parts;
	struct tell tell;
};

static const struct api_resource *resource(struct repair *r, const char *group, const char *plural)
{
	struct worker *w = r->w;
	return api_registry_find(api_registry_get(w->server->registry, &w->registry), span_of(group), SPAN("v1"), span_of(plural));
}

static void on_written(struct store_call *sc, void *arg)
{
	if (sc->err.class != ERR_NONE)
		log_error("repairing", kv_err(&sc->err));
}

/* ---- what people are told: upstream's reasons and words */

static void tell(struct repair *r, const char *controller, const char *action, const struct api_resource *about,
		 const struct json *object, const char *reason, struct span note)
{
	tell_warning(&r->tell, r->w,
		     &(struct tell_note){ .controller = controller, .action = action, .reason = reason, .about = about,
					  .object = object, .note = note });
}

static void tell_service(struct repair *r, const struct json *service, const char *reason, struct span note)
{
	tell(r, "ipallocator-repair-controller", "ClusterIPAllocation", resource(r, "", "services"), service, reason, note);
}

static void tell_port(struct repair *r, const struct json *service, const char *reason, struct span note)
{
	tell(r, "portallocator-repair-controller", "PortAllocation", resource(r, "", "services"), service, reason, note);
}

static void tell_address(struct repair *r, const struct json *address, const char *reason, struct span note)
{
	tell(r, "ipallocator-repair-controller", "IPAddressAllocation", resource(r, "networking.k8s.io", "ipaddresses"), address,
	     reason, note);
}

/* ---- Services: what they claim is theirs in the store too */

struct held { /* a Service that is looked at */
	const struct json *object;
	struct span ns, name;
};

static void address_put(struct repair *r, struct arena *a, struct span name, const struct held *by,
			const struct store_item *instead)
{
	const struct api_resource *res = resource(r, "networking.k8s.io", "ipaddresses");
	struct json tree = claims_address(a, name, by->ns, by->name);
	auto_buf struct buf key = {};
	auto_bytes struct bytes *value = NULL;
	auto_err struct err err = ERR_INIT;
	struct span family = claims_family(name);
	if (seed_object(r->w->server, res, a, &tree, NULL, SPAN("kube-apiserver"), &value, &err) < 0) {
		log_error("cluster IP cannot be repaired", kv_span("ip", name), kv_err(&err));
		return;
	}
	log_warn(instead ? "IPAddress has a wrong reference; repairing" : "cluster IP is not allocated; repairing", kv_span("ip", name),
		 kv_span("namespace", by->ns), kv_span("service", by->name));
	tell_service(r, by->object, "ClusterIPNotAllocated",
		     instead ? arena_printf(a, "the ClusterIP [%.*s]: %.*s for Service %.*s/%.*s has a wrong reference; repairing",
					    SPAN_ARG(family), SPAN_ARG(name), SPAN_ARG(by->ns), SPAN_ARG(by->name))
			     : arena_printf(a, "Cluster IP [%.*s]: %.*s is not allocated; repairing", SPAN_ARG(family), SPAN_ARG(name)));
	struct store_txn *t = store_txn_new();
	object_key(&key, res, SPAN(""), name);
	store_txn_if(t, buf_span(&key), STORE_REV, STORE_EQUAL, instead ? instead->rev : 0);
	store_txn_put(t, STORE_THEN, buf_span(&key), value, 0);
	store_commit(r->w->server->store, t, r->w->port, on_written, NULL);
}

/* Is there a Service that has this address? */
static bool is_held(struct repair *r, struct arena *a, struct store_snapshot *snap, const struct json *address, struct span name)
{
	const struct json *ref = json_getl(spec_of(address), "parentRef");
	const struct api_resource *res = resource(r, "", "services");
	auto_buf struct buf key = {};
	struct json service;
	if (!span_is(text_of(ref, "resource"), "services") || !text_of(ref, "name").len)
		return false;
	object_key(&key, res, text_of(ref, "namespace"), text_of(ref, "name"));
	const struct store_item *it = store_get(snap, buf_span(&key));
	if (!it || object_read(a, res, bytes_span(it->value), it->rev, &service, NULL) < 0)
		return it; /* what cannot be read is not taken from */
	struct claims c = claims_of(&service);
	for (unsigned i = 0; i < c.n_ips; i++) {
		const char *canonical = claims_name(a, c.ips[i]);
		if (canonical && span_is(name, canonical))
			return true;
	}
	return false;
}

/* Is it in any ServiceCIDR? One that is gone, or was narrower once, leaves Services behind. */
static bool is_in_a_range(struct repair *r, struct arena *a, struct store_snapshot *snap, struct span name)
{
	const struct api_resource *res = resource(r, "networking.k8s.io", "servicecidrs");
	auto_buf struct buf prefix = {};
	const struct store_item *item;
	struct store_iter it;
	struct api_ip ip;
	bool in = false;
	object_key(&prefix, res, SPAN_EMPTY, SPAN_EMPTY);
	if (!api_ip_parse(name, &ip) || store_iter_init(&it, snap, buf_span(&prefix), SPAN_EMPTY, 0, NULL) < 0)
		return false;
	while (!in && (item = store_iter_next(&it))) {
		struct json cidr;
		if (object_read(a, res, bytes_span(item->value), item->rev, &cidr, NULL) < 0)
			continue;
		JSON_EACH_ITEM(json_path(&cidr, "spec", "cidrs", NULL), range)
			in = in || claims_in(json_span(range), &ip);
	}
	store_iter_done(&it);
	return in;
}

static void address_check(struct repair *r, struct arena *a, struct store_snapshot *snap, struct span ip, const struct held *by)
{
	const struct api_resource *res = resource(r, "networking.k8s.io", "ipaddresses");
	const char *canonical = claims_name(a, ip);
	struct span name = canonical ? span_of(canonical) : ip, family = claims_family(name);
	auto_buf struct buf key = {};
	struct json address;
	if (!canonical)
		return; /* validation lets none in */
	if (!is_in_a_range(r, a, snap, name)) {
		tell_service(r, by->object, "ClusterIPOutOfRange",
			     arena_printf(a, "Cluster IP [%.*s]: %.*s is not within any configured Service CIDR; please recreate service",
					  SPAN_ARG(family), SPAN_ARG(name)));
		return;
	}
	object_key(&key, res, SPAN(""), name);
	const struct store_item *it = store_get(snap, buf_span(&key));
	if (!it) {
		address_put(r, a, name, by, NULL);
		return;
	}
	if (object_read(a, res, bytes_span(it->value), it->rev, &address, NULL) < 0 || claims_address_fits(&address, by->ns, by->name))
		return;
	if (!is_held(r, a, snap, &address, name)) {
		address_put(r, a, name, by, it);
		return;
	}
	log_warn("cluster IP was assigned to multiple services; please recreate service", kv_span("ip", name),
		 kv_span("namespace", by->ns), kv_span("service", by->name));
	tell_service(r, by->object, "ClusterIPAlreadyAllocated",
		     arena_printf(a, "Cluster IP [%.*s]:%.*s was assigned to multiple services; please recreate service", SPAN_ARG(family),
				  SPAN_ARG(name)));
}

static void port_put(struct repair *r, struct arena *a, int port, const struct held *by)
{
	auto_buf struct buf key = {}, wanted = {};
	log_warn("node port is not allocated; repairing", kv_i64("port", port), kv_span("namespace", by->ns),
		 kv_span("service", by->name));
	tell_port(r, by->object, "PortNotAllocated", arena_printf(a, "Port %d is not allocated; repairing", port));
	claims_port_key(&key, port);
	claims_port_value(&wanted, by->ns, by->name);
	struct store_txn *t = store_txn_new();
	auto_bytes struct bytes *value = buf_seal(&wanted);
	store_txn_if(t, buf_span(&key), STORE_REV, STORE_EQUAL, 0);
	store_txn_put(t, STORE_THEN, buf_span(&key), value, 0);
	store_commit(r->w->server->store, t, r->w->port, on_written, NULL);
}

static void port_check(struct repair *r, struct arena *a, struct store_snapshot *snap, int port, const struct held *by)
{
	struct span range = r->w->server->opt->service_node_port_range;
	auto_buf struct buf key = {}, wanted = {};
	int low, high;
	if (claims_port_range(range, &low, &high) && (port < low || port > high)) {
		tell_port(r, by->object, "PortOutOfRange",
			  arena_printf(a, "Port %d is not within the port range %d-%d; please recreate service", port, low, high));
		return;
	}
	claims_port_key(&key, port);
	claims_port_value(&wanted, by->ns, by->name);
	const struct store_item *it = store_get(snap, buf_span(&key));
	if (!it) {
		port_put(r, a, port, by);
	} else if (!span_eq(bytes_span(it->value), buf_span(&wanted))) {
		log_warn("node port was assigned to multiple services; please recreate service", kv_i64("port", port),
			 kv_span("namespace", by->ns), kv_span("service", by->name));
		tell_port(r, by->object, "PortAlreadyAllocated",
			  arena_printf(a, "Port %d was assigned to multiple services; please recreate service", port));
	}
}

static void service_check(struct repair *r, struct store_snapshot *snap, const struct api_resource *res,
			  const struct store_item *it)
{
	auto_arena struct arena a = {};
	struct json service;
	struct held by = { .object = &service };
	if (!object_key_read(store_item_key(it), res, &by.ns, &by.name) ||
	    object_read(&a, res, bytes_span(it->value), it->rev, &service, NULL) < 0)
		return;
	struct claims c = claims_of(&service);
	for (unsigned i = 0; i < c.n_ips; i++)
		address_check(r, &a, snap, c.ips[i], &by);
	for (unsigned i = 0; i < c.n_ports; i++)
		port_check(r, &a, snap, c.ports[i], &by);
}

/* ---- addresses that nobody has */

static void tell_leak(struct repair *r, struct arena *a, struct store_snapshot *snap, const struct json *address, struct span name)
{
	const struct json *ref = json_getl(spec_of(address), "parentRef");
	struct span group = text_of(ref, "group"), what = text_of(ref, "resource"), ns = text_of(ref, "namespace"),
		    service = text_of(ref, "name");
	auto_buf struct buf key = {};
	if (group.len || !span_is(what, "services")) {
		tell_address(r, address, "IPAddressNotAllocated",
			     arena_printf(a, "IPAddress %.*s appears to have been modified, not referencing a Service &ParentReference{"
					  "Group:%.*s,Resource:%.*s,Namespace:%.*s,Name:%.*s,}: cleaning up", SPAN_ARG(name),
					  SPAN_ARG(group), SPAN_ARG(what), SPAN_ARG(ns), SPAN_ARG(service)));
		return;
	}
	object_key(&key, resource(r, "", "services"), ns, service);
	bool there = service.len && store_get(snap, buf_span(&key));
	tell_address(r, address, there ? "IPAddressWrongReference" : "IPAddressNotAllocated",
		     arena_printf(a, "IPAddress: %.*s for Service %.*s/%.*s %s", SPAN_ARG(name), SPAN_ARG(ns), SPAN_ARG(service),
				  there ? "has a wrong reference; cleaning up" : "appears to have leaked: cleaning up"));
}

static void leak_check(struct repair *r, struct store_snapshot *snap, const struct api_resource *res, const struct store_item *it)
{
	auto_arena struct arena a = {};
	struct json address;
	struct span ns, name;
	struct apiserver *s = r->w->server;
	if (clock_wall_ns(s->clock) / NS_PER_MS - it->at_ms < LEAKED_MS || !object_key_read(store_item_key(it), res, &ns, &name) ||
	    object_read(&a, res, bytes_span(it->value), it->rev, &address, NULL) < 0)
		return;
	const struct json *labels = json_path(&address, "metadata", "labels", NULL);
	if (!span_is(text_of(labels, "ipaddress.kubernetes.io/managed-by"), "ipallocator.k8s.io") ||
	    is_held(r, &a, snap, &address, name))
		return;
	log_warn("IPAddress appears to have leaked: cleaning up", kv_span("ip", name));
	tell_leak(r, &a, snap, &address, name);
	struct store_txn *t = store_txn_new();
	store_txn_if(t, store_item_key(it), STORE_REV, STORE_EQUAL, it->rev);
	store_txn_delete(t, STORE_THEN, store_item_key(it));
	store_commit(s->store, t, r->w->port, on_written, NULL);
}

/* ---- Events whose time is up */

/* Each write begins an Event's time anew, as the leases of upstream's do. Those of a slice go in one transaction, as those of a
 * lease do there: one by one each would be a page of the log and one of the table (GOALS row 16). One that was told again
 * meanwhile keeps all of them until the next pass. */
static void event_check(struct repair *r, struct store_snapshot *snap, const struct api_resource *res, const struct store_item *it)
{
	struct apiserver *s = r->w->server;
	int64_t ttl_ms = s->opt->event_ttl_ms;
	if (!ttl_ms || clock_wall_ns(s->clock) / NS_PER_MS - it->at_ms < ttl_ms)
		return;
	if (!r->events_over)
		r->events_over = store_txn_new();
	store_txn_if(r->events_over, store_item_key(it), STORE_REV, STORE_EQUAL, it->rev);
	store_txn_delete(r->events_over, STORE_THEN, store_item_key(it));
}

/* ---- the pass */

static void slice(struct repair *r)
{
	static const struct {
		const char *group, *plural;
		void (*check)(struct repair *r, struct store_snapshot *snap, const struct api_resource *res, const struct store_item *it);
	} phases[PHASE_COUNT] = {
		[SERVICES] = { "", "services", service_check },
		[ADDRESSES] = { "networking.k8s.io", "ipaddresses", leak_check },
		[EVENTS] = { "", "events", event_check },
	};
	const struct api_resource *res = resource(r, phases[r->phase].group, phases[r->phase].plural);
	auto_buf struct buf prefix = {};
	struct store_iter it;
	const struct store_item *item = NULL;
	auto_err struct err err = ERR_INIT;
	struct store_snapshot *snap = store_snapshot(r->w->server->store);
	object_key(&prefix, res, SPAN_EMPTY, SPAN_EMPTY);
	if (store_iter_init(&it, snap, buf_span(&prefix), buf_span(&r->next), 0, &err) == 0) {
		for (unsigned i = 0; i < SLICE && (item = store_iter_next(&it)); i++)
			phases[r->phase].check(r, snap, res, item);
		if (r->events_over)
			store_commit(r->w->server->store, r->events_over, r->w->port, on_written, NULL);
		r->events_over = NULL;
		if (item)
			item = store_iter_next(&it);
		buf_trunc(&r->next, 0);
		if (item)
			buf_span_add(&r->next, store_item_key(item));
		store_iter_done(&it);
	} else {
		log_error("looking for what is to be repaired", kv_err(&err));
	}
	if (!item)
		r->phase = (r->phase + 1) % PHASE_COUNT;
	store_snapshot_unref(snap);
}

static void on_timer(struct loop_timer *t)
{
	struct repair *r = container_of(t, struct repair, timer);
	bool begins = r->phase == SERVICES && !r->next.len;
	for (unsigned i = 0; begins && i < SEED_PART_COUNT; i++)
		seed_again(r->w, (enum seed_part)i);
	slice(r);
	bool over = r->phase == SERVICES && !r->next.len;
	int64_t ttl_ms = r->w->server->opt->event_ttl_ms, every_ms = ttl_ms ? MIN(ttl_ms / 4, EVERY_MS) : EVERY_MS;
	loop_timer_start(t, over ? every_ms : 1);
}

/* ---- events */

/* One that went with its Service, or with a change of it, is nobody's any more; one that was taken away comes back at once. */
static size_t on_addresses(struct store_watch *watch, const struct store_batch *b, void *arg)
{
	struct repair *r = arg;
	const struct api_resource *res = resource(r, "networking.k8s.io", "ipaddresses"), *services = resource(r, "", "services");
	for (size_t i = 0; i < b->n; i++) {
		const struct store_event *e = b->events[i];
		auto_arena struct arena a = {};
		auto_buf struct buf key = {};
		struct json address;
		if (e->item || !e->prev || object_read(&a, res, bytes_span(e->prev->value), e->prev->rev, &address, NULL) < 0)
			continue;
		const struct json *ref = json_getl(spec_of(&address), "parentRef");
		if (!span_is(text_of(ref, "resource"), "services") || !text_of(ref, "name").len)
			continue;
		object_key(&key, services, text_of(ref, "namespace"), text_of(ref, "name"));
		struct store_snapshot *snap = store_snapshot(r->w->server->store);
		const struct store_item *it = store_get(snap, buf_span(&key));
		if (it)
			service_check(r, snap, services, it);
		store_snapshot_unref(snap);
	}
	return b->n;
}

static size_t on_part(struct store_watch *watch, const struct store_batch *b, void *arg)
{
	struct watched *p = arg;
	if (p->part == SEED_APISERVICES)
		repair_versions(p->r->w);
	else
		seed_again(p->r->w, p->part);
	return b->n;
}

static void on_versions(struct loop_timer *t)
{
	seed_again(container_of(t, struct repair, versions)->w, SEED_APISERVICES);
}

void repair_versions(struct worker *w)
{
	if (w->repair && !loop_timer_running(&w->repair->versions))
		loop_timer_start(&w->repair->versions, VERSIONS_MS);
}

static void on_expired(struct store_watch *watch, void *arg)
{
	/* It takes every event at once: it cannot fall behind the ring by itself. */
	log_error("a watch of what is repaired fell behind");
	abort();
}

int repair_start(struct worker *w, struct err *err)
{
	static const struct store_watch_fns address_fns = { .events = on_addresses, .expired = on_expired };
	static const struct store_watch_fns part_fns = { .events = on_part, .expired = on_expired };
	static const struct {
		const char *group, *plural, *ns, *name;
		enum seed_part part;
	} rows[] = {
		{ "", "namespaces", "", "kube-node-lease", SEED_NAMESPACES },
		{ "", "configmaps", "kube-system", "extension-apiserver-authentication", SEED_AUTHENTICATION },
		{ "", "services", "default", "kubernetes", SEED_KUBERNETES },
		{ "", "endpoints", "default", "kubernetes", SEED_KUBERNETES },
		{ "discovery.k8s.io", "endpointslices", "default", "kubernetes", SEED_KUBERNETES },
		{ "apiregistration.k8s.io", "apiservices", NULL, NULL, SEED_APISERVICES }, /* each of them */
	};
	_Static_assert(ARRAY_LEN(rows) <= SEED_PART_COUNT * 2, "room for them");
	struct repair *r = mem_new(struct repair);
	w->repair = r;
	r->w = w;
	loop_timer_init(&r->timer, w->loop, "repair", on_timer);
	r->timer.background = true;
	loop_timer_init(&r->versions, w->loop, "versions", on_versions);
	r->versions.background = true;
	loop_timer_start(&r->timer, FIRST_MS);
	auto_buf struct buf prefix = {};
	object_key(&prefix, resource(r, "networking.k8s.io", "ipaddresses"), SPAN_EMPTY, SPAN_EMPTY);
	int rc = store_watch_open(w->port, buf_span(&prefix), false, 0, &address_fns, r, &r->addresses, err);
	for (size_t i = 0; i < ARRAY_LEN(rows) && rc == 0; i++) {
		auto_buf struct buf key = {};
		struct watched *p = &r->parts[i];
		*p = (struct watched){ .r = r, .part = rows[i].part };
		bool one = rows[i].name;
		object_key(&key, resource(r, rows[i].group, rows[i].plural), one ? span_of(rows[i].ns) : SPAN_EMPTY,
			   one ? span_of(rows[i].name) : SPAN_EMPTY);
		rc = store_watch_open(w->port, buf_span(&key), one, 0, &part_fns, p, &p->watch, err);
		r->n_parts += rc == 0;
	}
	return rc;
}

void repair_stop(struct worker *w)
{
	struct repair *r = w->repair;
	w->repair = NULL;
	if (!r)
		return;
	loop_timer_stop(&r->timer);
	loop_timer_stop(&r->versions);
	if (r->addresses)
		store_watch_close(r->addresses);
	for (unsigned i = 0; i < r->n_parts; i++)
		store_watch_close(r->parts[i].watch);
	buf_done(&r->next);
	tell_done(&r->tell);
	free(r);
}
