/* Rounds: look at a snapshot, hand in one transaction for each thing that is missing or wrong, wait for all (one sync for many),
 * look again while any lost its race (another server of the same store) or asked for another look. */
#include "apiserver/seed.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#define ROUNDS_MAX 16

struct seeding {
	struct apiserver *s;
	struct api_registry *reg; /* borrowed */
	struct store_snapshot *snap;
	struct store_port *port; /* at run time: nobody waits for what is written; NULL: rounds do */
	struct arena arena; /* of this round */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned left;
	bool again;
	struct err err;
};

/* ---- writing */

static void on_commit(struct store_call *sc, void *arg)
{
	struct seeding *g = arg;
	pthread_mutex_lock(&g->lock);
	if (sc->err.class != ERR_NONE) {
		if (g->err.class == ERR_NONE)
			(void)err_move(&g->err, &sc->err);
	} else if (!store_txn_held(sc)) {
		g->again = true;
	}
	g->left--;
	pthread_cond_signal(&g->cond);
	pthread_mutex_unlock(&g->lock);
}

static void on_late(struct store_call *sc, void *arg)
{
	if (sc->err.class != ERR_NONE)
		log_error("making anew what every cluster has", kv_err(&sc->err));
}

static void submit(void *arg, struct store_txn *t)
{
	struct seeding *g = arg;
	if (g->port) {
		store_commit(g->s->store, t, g->port, on_late, NULL);
		return;
	}
	pthread_mutex_lock(&g->lock);
	g->left++;
	pthread_mutex_unlock(&g->lock);
	store_commit(g->s->store, t, NULL, on_commit, g);
}

int seed_object(struct apiserver *s, const struct api_resource *res, struct arena *a, struct json *tree, const struct json *old,
		struct span manager, struct bytes **out, struct err *err)
{
	int64_t now_s = clock_wall_ns(s->clock) / NS_PER_S;
	struct json *meta = json_getl(tree, "metadata");
	auto_buf struct buf value = {}, gv = {};
	char now[40], uid[37];
	uint8_t id[16];
	size_t n = time_format(now, now_s, 0, 0);
	struct strategy st = { .arena = a, .resource = res, .subresource = SPAN(""), .object = tree, .old = old,
			       .now = arena_span(a, span_make(now, n)), .user_name = SPAN("system:apiserver") };
	if (!old) {
		rng_secret(id, sizeof(id));
		text_uuid(id, uid);
		(void)json_set(a, meta, SPAN("uid"), json_str(arena_span(a, span_of(uid))));
		(void)json_set(a, meta, SPAN("creationTimestamp"), json_str(st.now));
	}
	strategy_default(a, res, tree);
	api_resource_gv(res, &gv);
	struct api_ssa ssa = { .type = res->type, .api_version = arena_span(a, buf_span(&gv)), .kind = res->kind,
			       .subresource = SPAN(""), .now_unix_s = now_s };
	api_ssa_update(a, &ssa, old, tree, manager);
	strategy_prepare(&st);
	int rc = strategy_validate(&st, err);
	if (rc < 0)
		return rc;
	object_encode(&value, res, tree, a);
	*out = buf_seal(&value);
	return 0;
}

/* seen_rev 0: it must not be there. */
static int put(struct seeding *g, const struct api_resource *res, struct span ns, struct span name, struct json *tree,
	       const struct json *old, int64_t seen_rev)
{
	auto_buf struct buf key = {};
	auto_bytes struct bytes *value = NULL;
	int rc = seed_object(g->s, res, &g->arena, tree, old, SPAN("kube-apiserver"), &value, &g->err);
	if (rc < 0)
		return err_note(&g->err, "%.*s %.*s", SPAN_ARG(res->plural), SPAN_ARG(name));
	struct store_txn *t = store_txn_new();
	object_key(&key, res, ns, name);
	store_txn_if(t, buf_span(&key), STORE_REV, STORE_EQUAL, seen_rev);
	store_txn_put(t, STORE_THEN, buf_span(&key), value, 0);
	submit(g, t);
	return 0;
}

static const struct store_item *stored(struct seeding *g, const struct api_resource *res, struct span ns, struct span name)
{
	auto_buf struct buf key = {};
	object_key(&key, res, ns, name);
	return store_get(g->snap, buf_span(&key));
}

static const struct api_resource *resource(struct seeding *g, const char *group, const char *plural)
{
	const struct api_resource *r = api_registry_find(g->reg, span_of(group), SPAN("v1"), span_of(plural));
	assert(r);
	return r;
}

/* Makes what is not there from JSON; what is there stays. */
static int make(struct seeding *g, const struct api_resource *res, struct span ns, struct span name, struct span text)
{
	struct json tree;
	if (stored(g, res, ns, name))
		return 0;
	int rc = api_decode_json(&g->arena, res->type, arena_span(&g->arena, text), NULL, &tree, &g->err);
	return rc < 0 ? rc : put(g, res, ns, name, &tree, NULL, 0);
}

/* ---- the rounds */

static int seed_namespaces(struct seeding *g)
{
	static const char *const names[] = { "default", "kube-system", "kube-public", "kube-node-lease" };
	const struct api_resource *res = resource(g, "", "namespaces");
	int rc = 0;
	for (size_t i = 0; i < ARRAY_LEN(names) && rc == 0; i++)
		rc = make(g, res, SPAN(""), span_of(names[i]),
			  arena_printf(&g->arena,
				       "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"kubernetes.io/metadata.name\":\"%s\"}},"
				       "\"spec\":{\"finalizers\":[\"kubernetes\"]}}", names[i], names[i]));
	return rc;
}

static int seed_priorities(struct seeding *g)
{
	const struct api_resource *res = resource(g, "scheduling.k8s.io", "priorityclasses");
	int rc = make(g, res, SPAN(""), SPAN("system-node-critical"),
		      SPAN("{\"metadata\":{\"name\":\"system-node-critical\"},\"value\":2000001000,\"description\":\"Used for "
			   "system critical pods that must not be moved from their current node.\"}"));
	return rc < 0 ? rc : make(g, res, SPAN(""), SPAN("system-cluster-critical"),
		      SPAN("{\"metadata\":{\"name\":\"system-cluster-critical\"},\"value\":2000000000,\"description\":\"Used for system "
			   "critical pods that must run in the cluster, but can be moved to another node if necessary.\"}"));
}

/* The range of the options as ServiceCIDR "kubernetes"; ready from the start, as nobody else declares it so. */
static int seed_ranges(struct seeding *g)
{
	const struct api_resource *res = resource(g, "networking.k8s.io", "servicecidrs");
	static const struct span name = SPAN_INIT("kubernetes");
	const struct store_item *it = stored(g, res, SPAN(""), name);
	struct json tree, ready = json_object(), list = json_array(), conditions = json_array(), *spec, *status;
	struct span rest = g->s->opt->service_cluster_ip_range, one;
	struct arena *a = &g->arena;
	if (!it) {
		while (span_cut(&rest, ',', &one))
			(void)json_push(a, &list, json_str(one));
		int rc = api_decode_json(a, res->type, SPAN("{\"metadata\":{\"name\":\"kubernetes\"},\"spec\":{}}"), NULL, &tree, &g->err);
		if (rc < 0)
			return rc;
		spec = json_getl(&tree, "spec");
		json_setl(a, spec, "cidrs", list);
		g->again = true; /* its status comes with the next round: creation has none */
		return put(g, res, SPAN(""), name, &tree, NULL, 0);
	}
	int rc = object_read(a, res, bytes_span(it->value), it->rev, &tree, &g->err);
	const struct json *had = json_path(&tree, "status", "conditions", NULL);
	if (rc < 0 || (had && had->n))
		return rc;
	char now[40];
	size_t n = time_format(now, clock_wall_ns(g->s->clock) / NS_PER_S, 0, 0);
	json_setl(a, &ready, "type", json_cstr("Ready"));
	json_setl(a, &ready, "status", json_cstr("True"));
	json_setl(a, &ready, "lastTransitionTime", json_str(arena_span(a, span_make(now, n))));
	json_setl(a, &ready, "reason", json_cstr(""));
	json_setl(a, &ready, "message", json_cstr("Kubernetes default Service CIDR is ready"));
	(void)json_push(a, &conditions, ready);
	status = json_setl(a, &tree, "status", json_object());
	json_setl(a, status, "conditions", conditions);
	auto_buf struct buf key = {}, value = {};
	struct store_txn *t = store_txn_new();
	object_key(&key, res, SPAN(""), name);
	object_encode(&value, res, &tree, a);
	auto_bytes struct bytes *bytes = buf_seal(&value);
	store_txn_if(t, buf_span(&key), STORE_REV, STORE_EQUAL, it->rev);
	store_txn_put(t, STORE_THEN, buf_span(&key), bytes, 0);
	submit(g, t);
	return 0;
}

static int seed_policy_object(struct seeding *g, enum auth_rbac_kind kind, const struct api_resource *res, unsigned i)
{
	struct json wanted = auth_policy_object(kind, i, &g->arena), was, out;
	const struct json *meta = json_getl(&wanted, "metadata");
	struct span ns = json_span(json_getl(meta, "namespace")), name = json_span(json_getl(meta, "name"));
	const struct store_item *it = stored(g, res, ns, name);
	if (it && object_read(&g->arena, res, bytes_span(it->value), it->rev, &was, &g->err) < 0)
		return -(int)g->err.class;
	switch (auth_policy_reconcile(kind, it ? &was : NULL, &wanted, &g->arena, &out)) {
	case AUTH_POLICY_NONE: return 0;
	case AUTH_POLICY_PROTECTED:
		log_warn("bootstrap policy differs and is protected", kv_span("resource", res->plural), kv_span("name", name));
		return 0;
	case AUTH_POLICY_CREATE:
		/* Aggregation gives a role of others its rules; until then it has none, as upstream. */
		if (json_is(json_getl(&out, "rules"), JSON_NULL))
			(void)json_remove(&out, SPAN("rules"));
		return put(g, res, ns, name, &out, NULL, 0);
	case AUTH_POLICY_UPDATE: return put(g, res, ns, name, &out, &was, it->rev);
	case AUTH_POLICY_RECREATE: break;
	}
	auto_buf struct buf key = {};
	struct store_txn *t = store_txn_new();
	object_key(&key, res, ns, name);
	store_txn_if(t, buf_span(&key), STORE_REV, STORE_EQUAL, it->rev);
	store_txn_delete(t, STORE_THEN, buf_span(&key));
	submit(g, t);
	g->again = true; /* the next round makes it */
	return 0;
}

static int seed_policy(struct seeding *g)
{
	static const struct {
		enum auth_rbac_kind kind;
		const char *plural;
	} kinds[] = { { AUTH_CLUSTER_ROLE, "clusterroles" },
		      { AUTH_CLUSTER_ROLE_BINDING, "clusterrolebindings" },
		      { AUTH_ROLE, "roles" },
		      { AUTH_ROLE_BINDING, "rolebindings" } };
	int rc = 0;
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (unsigned i = 0; i < auth_policy_count(kinds[k].kind) && rc == 0; i++)
			rc = seed_policy_object(g, kinds[k].kind, resource(g, "rbac.authorization.k8s.io", kinds[k].plural), i);
	return rc;
}

static void submit_and_look(void *arg, struct store_txn *t)
{
	struct seeding *g = arg;
	submit(g, t);
	g->again = true; /* others may be made of this one */
}

static int seed_aggregated(struct seeding *g)
{
	return aggregate_plan(g->s, g->snap, submit_and_look, g, &g->err);
}

/* The authorities that extension servers and kubelets believe: kube-system's ConfigMap extension-apiserver-authentication. */
static int seed_authentication(struct seeding *g)
{
	const struct api_resource *res = resource(g, "", "configmaps");
	static const struct span ns = SPAN_INIT("kube-system"), name = SPAN_INIT("extension-apiserver-authentication");
	struct span pem = arena_span(&g->arena, bytes_span(g->s->authorities));
	int rc = 0;
	if (!pem.len) /* its own certificates were given: there is no authority to name */
		return 0;
	struct json tree = json_object(), meta = json_object(), data = json_object(), was;
	const struct store_item *it = stored(g, res, ns, name);
	if (it) {
		rc = object_read(&g->arena, res, bytes_span(it->value), it->rev, &was, &g->err);
		if (rc < 0 || span_eq(json_span(json_path(&was, "data", "client-ca-file", NULL)), pem))
			return rc;
		tree = json_copy(&g->arena, &was);
		struct json *own = json_getl(&tree, "data");
		if (json_is(own, JSON_OBJECT))
			data = *own;
	} else {
		json_setl(&g->arena, &meta, "name", json_str(name));
		json_setl(&g->arena, &meta, "namespace", json_str(ns));
		json_setl(&g->arena, &tree, "metadata", meta);
	}
	json_setl(&g->arena, &data, "client-ca-file", json_str(pem));
	json_setl(&g->arena, &tree, "data", data);
	return put(g, res, ns, name, &tree, it ? &was : NULL, it ? it->rev : 0);
}

static int seed_builtin_versions(struct seeding *g)
{
	return apiservices_plan(g->s, g->snap, true, submit, g, &g->err);
}

static int seed_custom_versions(struct seeding *g)
{
	return apiservices_plan(g->s, g->snap, false, submit, g, &g->err);
}

/* ---- Service kubernetes */

/* Where others reach us: --advertise-address, a bind address that is one, else the first IPv4 address that is not loopback. */
static struct span advertised(struct seeding *g)
{
	const struct apiserver_options *o = g->s->opt;
	struct ifaddrs *all = NULL;
	char text[INET_ADDRSTRLEN] = "";
	struct api_ip ip;
	static const struct api_ip any = {};
	if (o->advertise_address.len)
		return o->advertise_address;
	if (api_ip_parse(o->bind_address, &ip) && memcmp(ip.bytes, any.bytes, ip.len) != 0 && !(ip.len == 4 && ip.bytes[0] == 127) &&
	    !span_is(o->bind_address, "::1"))
		return o->bind_address;
	if (getifaddrs(&all) < 0)
		return SPAN("");
	for (const struct ifaddrs *i = all; i && !*text; i = i->ifa_next)
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && (i->ifa_flags & IFF_UP) && !(i->ifa_flags & IFF_LOOPBACK)) {
			struct sockaddr_in in;
			memcpy(&in, i->ifa_addr, sizeof(in));
			(void)inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
		}
	freeifaddrs(all);
	return arena_span(&g->arena, span_of(text));
}

/* Makes the object, or gives the stored one the members of `text` named by `member` when they differ. */
static int keep(struct seeding *g, const struct api_resource *res, const char *member, const char *second, struct span text)
{
	static const struct span ns = SPAN_INIT("default"), name = SPAN_INIT("kubernetes");
	const struct store_item *it = stored(g, res, ns, name);
	struct json wanted, was;
	if (!it)
		return make(g, res, ns, name, text);
	int rc = api_decode_json(&g->arena, res->type, text, NULL, &wanted, &g->err);
	if (rc == 0)
		rc = object_read(&g->arena, res, bytes_span(it->value), it->rev, &was, &g->err);
	if (rc < 0)
		return rc;
	struct json tree = json_copy(&g->arena, &was);
	strategy_default(&g->arena, res, &wanted);
	bool same = true;
	for (const char *key = member; key; key = key == member ? second : NULL) {
		const struct json *now = json_get(&wanted, span_of(key));
		same = same && strategy_same(now, json_get(&was, span_of(key)));
		if (now)
			(void)json_set(&g->arena, &tree, span_of(key), *now);
	}
	return same ? 0 : put(g, res, ns, name, &tree, &was, it->rev);
}

static int seed_service(struct seeding *g)
{
	const struct api_resource *res = resource(g, "", "services"), *ips = resource(g, "networking.k8s.io", "ipaddresses");
	static const struct span ns = SPAN_INIT("default"), name = SPAN_INIT("kubernetes");
	struct span rest = g->s->opt->service_cluster_ip_range, range;
	struct arena *a = &g->arena;
	struct api_ip ip;
	unsigned bits;
	char text[46];
	if (stored(g, res, ns, name))
		return 0;
	(void)span_cut(&rest, ',', &range);
	(void)api_cidr_parse(range, &ip, &bits); /* checked at start */
	(void)api_ip_mask(&ip, bits);
	ip.bytes[ip.len - 1]++; /* a range has eight addresses at least */
	struct span address = arena_span(a, span_make(text, api_ip_print(&ip, text)));
	const char *family = ip.len == 4 ? "IPv4" : "IPv6";
	int rc = make(g, ips, SPAN(""), address,
		arena_printf(a, "{\"metadata\":{\"name\":\"%.*s\",\"labels\":{\"ipaddress.kubernetes.io/ip-family\":\"%s\","
			     "\"ipaddress.kubernetes.io/managed-by\":\"ipallocator.k8s.io\"}},\"spec\":{\"parentRef\":{\"resource\":"
			     "\"services\",\"namespace\":\"default\",\"name\":\"kubernetes\"}}}", SPAN_ARG(address), family));
	return rc < 0 ? rc : make(g, res, ns, name,
		arena_printf(a, "{\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":{\"component\":\"apiserver\","
			     "\"provider\":\"kubernetes\"}},\"spec\":{\"type\":\"ClusterIP\",\"clusterIP\":\"%.*s\",\"clusterIPs\":[\"%.*s\"],"
			     "\"ipFamilies\":[\"%s\"],\"ipFamilyPolicy\":\"SingleStack\",\"sessionAffinity\":\"None\",\"ports\":[{\"name\":"
			     "\"https\",\"port\":443,\"protocol\":\"TCP\",\"targetPort\":%u}]}}", SPAN_ARG(address), SPAN_ARG(address),
			     family, g->s->port));
}

static int seed_endpoints(struct seeding *g)
{
	struct span at = advertised(g);
	struct arena *a = &g->arena;
	struct api_ip ip;
	if (!api_ip_parse(at, &ip)) {
		log_warn("no address to advertise: Service kubernetes has no endpoints");
		return 0;
	}
	int rc = keep(g, resource(g, "", "endpoints"), "subsets", NULL,
		arena_printf(a, "{\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":{"
			     "\"endpointslice.kubernetes.io/skip-mirror\":\"true\"}},\"subsets\":[{\"addresses\":[{\"ip\":\"%.*s\"}],"
			     "\"ports\":[{\"name\":\"https\",\"port\":%u,\"protocol\":\"TCP\"}]}]}", SPAN_ARG(at), g->s->port));
	return rc < 0 ? rc : keep(g, resource(g, "discovery.k8s.io", "endpointslices"), "endpoints", "ports",
		arena_printf(a, "{\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":{"
			     "\"kubernetes.io/service-name\":\"kubernetes\"}},\"addressType\":\"%s\",\"endpoints\":[{\"addresses\":[\"%.*s\"],"
			     "\"conditions\":{\"ready\":true}}],\"ports\":[{\"name\":\"https\",\"port\":%u,\"protocol\":\"TCP\"}]}",
			     ip.len == 4 ? "IPv4" : "IPv6", SPAN_ARG(at), g->s->port));
}

static int rounds(struct seeding *g, int (*round)(struct seeding *g), const char *what, struct err *err)
{
	for (unsigned i = 0; i < ROUNDS_MAX; i++) {
		g->again = false;
		g->snap = store_snapshot(g->s->store);
		(void)round(g); /* its error is in g->err */
		pthread_mutex_lock(&g->lock);
		while (g->left)
			pthread_cond_wait(&g->cond, &g->lock);
		pthread_mutex_unlock(&g->lock);
		store_snapshot_unref(g->snap);
		arena_reset(&g->arena);
		if (g->err.class != ERR_NONE) {
			(void)err_move(err, &g->err);
			return err_note(err, "making %s", what);
		}
		if (!g->again)
			return 0;
	}
	return err_set(err, ERR_STALE, "making %s: somebody else keeps changing it", what);
}

struct step {
	int (*round)(struct seeding *g);
	const char *what;
};

static int run(struct apiserver *s, const struct step *steps, size_t n, struct err *err)
{
	struct api_registry_cache cache = {};
	struct seeding g = { .s = s, .reg = api_registry_get(s->registry, &cache), .lock = PTHREAD_MUTEX_INITIALIZER,
			     .cond = PTHREAD_COND_INITIALIZER, .err = ERR_INIT };
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = rounds(&g, steps[i].round, steps[i].what, err);
	arena_done(&g.arena);
	api_registry_cache_done(&cache);
	return rc;
}

int seed_start(struct apiserver *s, struct err *err)
{
	static const struct step steps[] = { { seed_namespaces, "namespaces" },
					     { seed_ranges, "the range of service addresses" },
					     { seed_priorities, "system priority classes" },
					     { seed_policy, "the bootstrap policy" },
					     { seed_aggregated, "aggregated cluster roles" },
					     { seed_authentication, "extension-apiserver-authentication" },
					     { seed_builtin_versions, "APIServices" } };
	return run(s, steps, ARRAY_LEN(steps), err);
}

int seed_kubernetes(struct apiserver *s, struct err *err)
{
	static const struct step steps[] = { { seed_service, "Service kubernetes" },
					     { seed_endpoints, "the endpoints of Service kubernetes" } };
	return run(s, steps, ARRAY_LEN(steps), err);
}

void seed_again(struct worker *w, enum seed_part part)
{
	static int (*const rounds_of[SEED_PART_COUNT][2])(struct seeding *g) = {
		[SEED_NAMESPACES] = { seed_namespaces },
		[SEED_AUTHENTICATION] = { seed_authentication },
		[SEED_KUBERNETES] = { seed_service, seed_endpoints },
		[SEED_APISERVICES] = { seed_custom_versions },
	};
	struct apiserver *s = w->server;
	struct seeding g = { .s = s, .reg = api_registry_get(s->registry, &w->registry), .port = w->port, .err = ERR_INIT };
	g.snap = store_snapshot(s->store);
	for (size_t i = 0; i < 2 && rounds_of[part][i] && g.err.class == ERR_NONE; i++)
		(void)rounds_of[part][i](&g); /* its error is in g.err */
	store_snapshot_unref(g.snap);
	arena_done(&g.arena);
	if (g.err.class != ERR_NONE)
		log_error("making anew what every cluster has", kv_err(&g.err));
	err_done(&g.err);
}
