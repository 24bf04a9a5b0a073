/* Rounds: look at a snapshot, hand in one transaction for each thing that is missing or wrong, wait for all (one sync for many),
 * look again while any lost its race (another server of the same store) or asked for another look. */
#include "apiserver/seed.h"

#include <fcntl.h>

#define ROUNDS_MAX 16
#define CA_MAX (1 << 20)

struct seeding {
	struct apiserver *s;
	struct api_registry *reg; /* borrowed */
	struct store_snapshot *snap;
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

static void submit(void *arg, struct store_txn *t)
{
	struct seeding *g = arg;
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
	const struct apiserver_options *o = g->s->opt;
	const struct api_resource *res = resource(g, "", "configmaps");
	static const struct span ns = SPAN_INIT("kube-system"), name = SPAN_INIT("extension-apiserver-authentication");
	auto_buf struct buf path = {}, ca = {};
	if (o->client_ca_file.len)
		buf_span_add(&path, o->client_ca_file);
	else if (o->cert_dir.len)
		buf_printf(&path, "%.*s/ca.crt", SPAN_ARG(o->cert_dir));
	else
		buf_printf(&path, "%.*s/pki/ca.crt", SPAN_ARG(o->data_dir));
	int rc = io_read_file(AT_FDCWD, buf_cstr(&path), &ca, CA_MAX, &g->err);
	if (rc == -ERR_NOT_FOUND && !o->client_ca_file.len) { /* its own certificates were given: there is no authority to name */
		err_done(&g->err);
		return 0;
	}
	if (rc < 0)
		return rc;
	struct json tree = json_object(), meta = json_object(), data = json_object(), was;
	struct span pem = arena_span(&g->arena, buf_span(&ca));
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

int seed_start(struct apiserver *s, struct err *err)
{
	static const struct {
		int (*round)(struct seeding *g);
		const char *what;
	} steps[] = { { seed_namespaces, "namespaces" },
		      { seed_priorities, "system priority classes" },
		      { seed_policy, "the bootstrap policy" },
		      { seed_aggregated, "aggregated cluster roles" },
		      { seed_authentication, "extension-apiserver-authentication" } };
	struct api_registry_cache cache = {};
	struct seeding g = { .s = s, .reg = api_registry_get(s->registry, &cache), .lock = PTHREAD_MUTEX_INITIALIZER,
			     .cond = PTHREAD_COND_INITIALIZER, .err = ERR_INIT };
	int rc = 0;
	for (size_t i = 0; i < ARRAY_LEN(steps) && rc == 0; i++)
		rc = rounds(&g, steps[i].round, steps[i].what, err);
	arena_done(&g.arena);
	api_registry_cache_done(&cache);
	return rc;
}
