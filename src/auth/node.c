/* The Node authorizer: a kubelet may read what its pods refer to, and little else.
 *
 *     secret  ->  pod  ->  node            referred to by env, volumes, pull secrets, ...
 *     secret  ->  pv   ->  pvc  ->  pod    a volume's own secrets
 *     volumeattachment, resourceslice  ->  node
 *
 * Vertices are objects, edges point towards the node. Each fed object (pod, PV, ...) owns the edges that it
 * causes; feeding it again replaces them. A vertex lives while an edge or an object holds it. A path has at most four
 * edges, so the walk needs no marks.
 *
 * Mirror pods (made by a kubelet itself) cause only their own edge to the node: a kubelet must not be able to give
 * itself access by writing a pod. Rules and reasons: plugin/pkg/auth/authorizer/node of Kubernetes 1.33, whose
 * sentences people see. */
#include "auth/auth.h"

#define PATH_MAX_EDGES 4

struct vertex {
	struct span key; /* owned: "TYPE\0NS\0NAME" */
	struct list out; /* struct edge.link */
	struct span node; /* owned by the source of this object; empty = leads to no node by itself */
	unsigned uses;   /* edges from and to it, plus one while it is a fed object */
};

struct edge {
	struct list link; /* in from->out */
	struct vertex *from, *to;
};

struct source { /* one fed object and the edges that it causes */
	struct span key; /* borrowed from its vertex */
	struct vertex *self;
	struct edge *edges;
	unsigned n_edges, cap_edges;
	char *node;
};

struct auth_node {
	pthread_rwlock_t lock;
	struct map vertices, sources;
};

static const char *const kind_names[AUTH_NODE_KIND_COUNT] = {
	[AUTH_NODE_POD] = "pods",
	[AUTH_NODE_PV] = "persistentvolumes",
	[AUTH_NODE_ATTACHMENT] = "volumeattachments",
	[AUTH_NODE_RESOURCE_SLICE] = "resourceslices",
};

struct auth_node *auth_node_new(void)
{
	struct auth_node *n = mem_new(struct auth_node);
	int rc = pthread_rwlock_init(&n->lock, NULL);
	assert(rc == 0);
	return n;
}

static void key_make(struct buf *out, const char *type, struct span ns, struct span name)
{
	buf_trunc(out, 0);
	buf_str(out, type);
	buf_chr(out, 0);
	buf_span_add(out, ns);
	buf_chr(out, 0);
	buf_span_add(out, name);
}

static struct vertex *vertex_use(struct auth_node *n, const char *type, struct span ns, struct span name)
{
	auto_buf struct buf key = {};
	key_make(&key, type, ns, name);
	struct vertex *v = map_get(&n->vertices, buf_span(&key));
	if (!v) {
		v = mem_new(struct vertex);
		v->key = span_make(mem_dup(key.ptr, key.len), key.len);
		list_init(&v->out);
		map_put(&n->vertices, v->key, v);
	}
	v->uses++;
	return v;
}

static void vertex_drop(struct auth_node *n, struct vertex *v)
{
	assert(v->uses);
	if (--v->uses)
		return;
	map_remove(&n->vertices, v->key);
	free((char *)v->key.ptr);
	free(v);
}

static void source_free(struct auth_node *n, struct source *s)
{
	for (unsigned i = 0; i < s->n_edges; i++) {
		list_remove(&s->edges[i].link);
		vertex_drop(n, s->edges[i].from);
		vertex_drop(n, s->edges[i].to);
	}
	s->self->node = SPAN_EMPTY;
	vertex_drop(n, s->self);
	free(s->edges);
	free(s->node);
	free(s);
}

void auth_node_free(struct auth_node *n)
{
	if (!n)
		return;
	MAP_EACH(&n->sources, e)
		source_free(n, e->value);
	assert(n->vertices.n == 0);
	map_done(&n->sources);
	map_done(&n->vertices);
	pthread_rwlock_destroy(&n->lock);
	free(n);
}

/* ---- what an object refers to */

struct feeding {
	struct auth_node *n;
	struct source *s;
	struct span ns;
};

/* Only collects: the array may still move, so edges are linked when all are there. */
static void edge_to(struct feeding *f, const char *type, struct span ns, struct span name, struct vertex *to)
{
	if (!name.len)
		return;
	MEM_GROW(f->s->edges, f->s->n_edges, f->s->cap_edges);
	struct edge *e = &f->s->edges[f->s->n_edges++];
	e->from = vertex_use(f->n, type, ns, name);
	e->to = to;
	to->uses++;
}

static void refers(struct feeding *f, const char *type, const struct json *name)
{
	edge_to(f, type, f->ns, json_span(name), f->s->self);
}

static void containers_refer(struct feeding *f, const struct json *containers)
{
	JSON_EACH_ITEM(containers, c) {
		JSON_EACH_ITEM(json_getl(c, "env"), env) {
			refers(f, "secrets", json_path(env, "valueFrom", "secretKeyRef", "name", NULL));
			refers(f, "configmaps", json_path(env, "valueFrom", "configMapKeyRef", "name", NULL));
		}
		JSON_EACH_ITEM(json_getl(c, "envFrom"), from) {
			refers(f, "secrets", json_path(from, "secretRef", "name", NULL));
			refers(f, "configmaps", json_path(from, "configMapRef", "name", NULL));
		}
	}
}

static void volumes_refer(struct feeding *f, const struct json *volumes, struct span pod_name)
{
	/* Members of a volume source whose `name` is a Secret of the pod's namespace. */
	static const char *const secret_refs[][2] = {
		{ "cephfs", "secretRef" },     { "cinder", "secretRef" },   { "flexVolume", "secretRef" },
		{ "iscsi", "secretRef" },      { "rbd", "secretRef" },      { "scaleIO", "secretRef" },
		{ "storageos", "secretRef" },  { "csi", "nodePublishSecretRef" },
	};
	JSON_EACH_ITEM(volumes, v) {
		refers(f, "secrets", json_path(v, "secret", "secretName", NULL));
		refers(f, "secrets", json_path(v, "azureFile", "secretName", NULL));
		for (size_t i = 0; i < ARRAY_LEN(secret_refs); i++)
			refers(f, "secrets", json_path(v, secret_refs[i][0], secret_refs[i][1], "name", NULL));
		refers(f, "configmaps", json_path(v, "configMap", "name", NULL));
		refers(f, "persistentvolumeclaims", json_path(v, "persistentVolumeClaim", "claimName", NULL));
		if (json_getl(v, "ephemeral")) {
			auto_arena struct arena a = {};
			struct span volume = json_span(json_getl(v, "name"));
			struct span claim = arena_printf(&a, "%.*s-%.*s", SPAN_ARG(pod_name), SPAN_ARG(volume));
			edge_to(f, "persistentvolumeclaims", f->ns, claim, f->s->self);
		}
		JSON_EACH_ITEM(json_path(v, "projected", "sources", NULL), s) {
			refers(f, "secrets", json_path(s, "secret", "name", NULL));
			refers(f, "configmaps", json_path(s, "configMap", "name", NULL));
		}
	}
}

static void pod_refers(struct feeding *f, const struct json *pod)
{
	const struct json *meta = json_getl(pod, "metadata"), *spec = json_getl(pod, "spec");
	if (json_get(json_getl(meta, "annotations"), SPAN("kubernetes.io/config.mirror")))
		return;
	struct span name = json_span(json_getl(meta, "name"));
	refers(f, "serviceaccounts", json_getl(spec, "serviceAccountName"));
	JSON_EACH_ITEM(json_getl(spec, "imagePullSecrets"), s)
		refers(f, "secrets", json_getl(s, "name"));
	containers_refer(f, json_getl(spec, "containers"));
	containers_refer(f, json_getl(spec, "initContainers"));
	containers_refer(f, json_getl(spec, "ephemeralContainers"));
	volumes_refer(f, json_getl(spec, "volumes"), name);
	JSON_EACH_ITEM(json_getl(spec, "resourceClaims"), claim)
		refers(f, "resourceclaims", json_getl(claim, "resourceClaimName"));
	JSON_EACH_ITEM(json_path(pod, "status", "resourceClaimStatuses", NULL), claim)
		refers(f, "resourceclaims", json_getl(claim, "resourceClaimName"));
}

static void pv_refers(struct feeding *f, const struct json *pv)
{
	const struct json *spec = json_getl(pv, "spec"), *claim = json_getl(spec, "claimRef");
	struct span claim_name = json_span(json_getl(claim, "name")), claim_ns = json_span(json_getl(claim, "namespace"));
	if (!claim_name.len)
		return;
	/* pv -> pvc: the edge starts here, unlike those of pods. */
	MEM_GROW(f->s->edges, f->s->n_edges, f->s->cap_edges);
	struct edge *e = &f->s->edges[f->s->n_edges++];
	e->from = f->s->self;
	e->from->uses++;
	e->to = vertex_use(f->n, "persistentvolumeclaims", claim_ns, claim_name);
	/* Secrets that the kubelet itself reads to mount it; without a namespace of their own they are the claim's. */
	static const char *const refs[][2] = {
		{ "azureFile", NULL },		   { "cephfs", "secretRef" },
		{ "cinder", "secretRef" },	   { "flexVolume", "secretRef" },
		{ "rbd", "secretRef" },		   { "scaleIO", "secretRef" },
		{ "iscsi", "secretRef" },	   { "storageos", "secretRef" },
		{ "csi", "nodePublishSecretRef" }, { "csi", "nodeStageSecretRef" },
		{ "csi", "nodeExpandSecretRef" },
	};
	for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
		const struct json *source = json_get(spec, span_of(refs[i][0]));
		const struct json *ref = refs[i][1] ? json_get(source, span_of(refs[i][1])) : source;
		struct span ns = json_span(json_get(ref, refs[i][1] ? SPAN("namespace") : SPAN("secretNamespace")));
		struct span name = json_span(json_get(ref, refs[i][1] ? SPAN("name") : SPAN("secretName")));
		edge_to(f, "secrets", ns.len ? ns : claim_ns, name, f->s->self);
	}
}

void auth_node_put(struct auth_node *n, enum auth_node_kind kind, const struct json *object)
{
	const struct json *meta = json_getl(object, "metadata"), *spec = json_getl(object, "spec");
	struct span ns = json_span(json_getl(meta, "namespace")), name = json_span(json_getl(meta, "name"));
	pthread_rwlock_wrlock(&n->lock);
	struct source *s = mem_new(struct source);
	s->self = vertex_use(n, kind_names[kind], ns, name);
	s->key = s->self->key;
	struct source *old = map_remove(&n->sources, s->key);
	if (old)
		source_free(n, old);
	struct span node = kind == AUTH_NODE_PV ? SPAN("") : json_span(json_getl(spec, "nodeName"));
	s->node = mem_dup(node.ptr, node.len);
	s->self->node = span_make(s->node, node.len);
	struct feeding f = { .n = n, .s = s, .ns = ns };
	if (kind == AUTH_NODE_POD && node.len) /* a pod without a node gives nobody anything */
		pod_refers(&f, object);
	else if (kind == AUTH_NODE_PV)
		pv_refers(&f, object);
	for (unsigned i = 0; i < s->n_edges; i++)
		list_push(&s->edges[i].from->out, &s->edges[i].link);
	map_put(&n->sources, s->key, s);
	pthread_rwlock_unlock(&n->lock);
}

void auth_node_remove(struct auth_node *n, enum auth_node_kind kind, struct span ns, struct span name)
{
	auto_buf struct buf key = {};
	key_make(&key, kind_names[kind], ns, name);
	pthread_rwlock_wrlock(&n->lock);
	struct source *s = map_remove(&n->sources, buf_span(&key));
	if (s)
		source_free(n, s);
	pthread_rwlock_unlock(&n->lock);
}

static bool reaches(const struct vertex *v, struct span node, unsigned edges_left)
{
	if (v->node.len && span_eq(v->node, node))
		return true;
	if (!edges_left)
		return false;
	LIST_EACH((struct list *)&v->out, e, struct edge, link)
		if (reaches(e->to, node, edges_left - 1))
			return true;
	return false;
}

static bool path_exists(struct auth_node *n, struct span node, const char *type, struct span ns, struct span name)
{
	auto_buf struct buf key = {};
	key_make(&key, type, ns, name);
	pthread_rwlock_rdlock(&n->lock);
	const struct vertex *v = map_get(&n->vertices, buf_span(&key));
	bool found = v && reaches(v, node, PATH_MAX_EDGES);
	pthread_rwlock_unlock(&n->lock);
	return found;
}

/* ---- the questions of a kubelet */

struct span auth_node_of(const struct auth_user *user)
{
	static const struct span prefix = SPAN_INIT("system:node:");
	if (!span_starts(user->name, prefix) || !auth_user_in(user, SPAN(AUTH_GROUP_NODES)))
		return SPAN_EMPTY;
	return span_from(user->name, prefix.len);
}

#define S(text) SPAN_INIT(text)

/* What every kubelet may do to whatever it names; the kinds of the table below have rules of their own. */
static bool static_rules_allow(const struct auth_ask *ask)
{
	static const struct span create[] = { S("create") }, read[] = { S("get"), S("list"), S("watch") };
	static const struct span write[] = { S("create"), S("update"), S("patch") }, get[] = { S("get") };
	static const struct span csr_verbs[] = { S("create"), S("get"), S("list"), S("watch") };
	static const struct span core[] = { S("") }, authn[] = { S("authentication.k8s.io") };
	static const struct span authz[] = { S("authorization.k8s.io") }, certs[] = { S("certificates.k8s.io") };
	static const struct span storage[] = { S("storage.k8s.io") }, node_group[] = { S("node.k8s.io") };
	static const struct span tokenreviews[] = { S("tokenreviews") }, services[] = { S("services") };
	static const struct span reviews[] = { S("subjectaccessreviews"), S("localsubjectaccessreviews") };
	static const struct span events[] = { S("events") }, endpoints[] = { S("endpoints") };
	static const struct span csrs[] = { S("certificatesigningrequests") }, drivers[] = { S("csidrivers") };
	static const struct span classes[] = { S("runtimeclasses") };
#define RULE(v, g, r)                                                                                                  \
	{ .verbs = v, .n_verbs = ARRAY_LEN(v), .groups = g, .n_groups = 1, .resources = r, .n_resources = ARRAY_LEN(r) }
	static const struct auth_rule rules[] = {
		RULE(create, authn, tokenreviews), RULE(create, authz, reviews),      RULE(read, core, services),
		RULE(write, core, events),	   RULE(get, core, endpoints),	      RULE(csr_verbs, certs, csrs),
		RULE(read, storage, drivers),	   RULE(read, node_group, classes),
	};
#undef RULE
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (auth_rule_matches(&rules[i], ask))
			return true;
	return false;
}

static bool verb_in(const struct auth_ask *ask, const char *verbs)
{
	struct span rest = span_of(verbs), v;
	while (span_cut(&rest, ' ', &v))
		if (span_eq(v, ask->verb))
			return true;
	return false;
}

struct judging {
	struct auth_node *n;
	const struct auth_ask *ask;
	struct span node;
	struct arena *a;
	struct span reason;
};

static enum auth_decision refuse(struct judging *j, const char *reason)
{
	j->reason = span_of(reason);
	return AUTH_NO_OPINION;
}

static enum auth_decision related(struct judging *j, const char *type)
{
	if (path_exists(j->n, j->node, type, j->ask->ns, j->ask->name))
		return AUTH_ALLOW;
	j->reason = arena_printf(j->a, "no relationship found between node '%.*s' and this object", SPAN_ARG(j->node));
	return AUTH_NO_OPINION;
}

static enum auth_decision read_one(struct judging *j, const char *type)
{
	const struct auth_ask *ask = j->ask;
	if (!verb_in(ask, "get list watch"))
		return refuse(j, "can only read resources of this type");
	if (ask->subresource.len)
		return refuse(j, "cannot read subresource");
	if (!ask->ns.len)
		return refuse(j, "can only read namespaced object of this type");
	return related(j, type);
}

static enum auth_decision get_one(struct judging *j, const char *type)
{
	const struct auth_ask *ask = j->ask;
	if (!verb_in(ask, "get") || !ask->name.len)
		return refuse(j, "can only get individual resources of this type");
	if (ask->subresource.len)
		return refuse(j, "cannot get subresource");
	return related(j, type);
}

static enum auth_decision on_claim(struct judging *j)
{
	if (!span_is(j->ask->subresource, "status"))
		return get_one(j, "persistentvolumeclaims");
	if (!verb_in(j->ask, "get update patch"))
		return refuse(j, "can only get/update/patch this type");
	return related(j, "persistentvolumeclaims");
}

static enum auth_decision on_service_account(struct judging *j)
{
	if (!verb_in(j->ask, "create") || !j->ask->name.len)
		return refuse(j, "can only create tokens for individual service accounts");
	if (!span_is(j->ask->subresource, "token"))
		return refuse(j, "can only create token subresource of service account");
	return related(j, "serviceaccounts");
}

static enum auth_decision on_lease(struct judging *j)
{
	const struct auth_ask *ask = j->ask;
	if (!verb_in(ask, "get create update patch delete"))
		return refuse(j, "can only get, create, update, patch, or delete a node lease");
	if (!span_is(ask->ns, "kube-node-lease"))
		return refuse(j, "can only access leases in the \"kube-node-lease\" system namespace");
	if (!span_is(ask->verb, "create") && !span_eq(ask->name, j->node))
		return refuse(j, "can only access node lease with the same name as the requesting node");
	return AUTH_ALLOW;
}

static enum auth_decision on_csinode(struct judging *j)
{
	const struct auth_ask *ask = j->ask;
	if (!verb_in(ask, "get create update patch delete"))
		return refuse(j, "can only get, create, update, patch, or delete a CSINode");
	if (ask->subresource.len)
		return refuse(j, "cannot authorize CSINode subresources");
	if (!span_is(ask->verb, "create") && !span_eq(ask->name, j->node))
		return refuse(j, "can only access CSINode with the same name as the requesting node");
	return AUTH_ALLOW;
}

static enum auth_decision on_slice(struct judging *j)
{
	const struct auth_ask *ask = j->ask;
	if (ask->subresource.len)
		return refuse(j, "cannot authorize ResourceSlice subresources");
	if (verb_in(ask, "create"))
		return AUTH_ALLOW; /* NodeRestriction checks spec.nodeName */
	if (verb_in(ask, "get update patch delete"))
		return related(j, "resourceslices");
	if (verb_in(ask, "list watch deletecollection")) {
		if (span_eq(ask->node_name, j->node))
			return AUTH_ALLOW;
		return refuse(j, "can only list/watch/deletecollection resourceslices with nodeName field selector");
	}
	return refuse(j, "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, "
			 "delete, deletecollection");
}

static enum auth_decision on_node(struct judging *j)
{
	const struct auth_ask *ask = j->ask;
	if (span_is(ask->subresource, "status"))
		return verb_in(ask, "update patch") ? AUTH_ALLOW : AUTH_NO_OPINION;
	if (ask->subresource.len)
		return AUTH_NO_OPINION;
	if (verb_in(ask, "create update patch"))
		return AUTH_ALLOW; /* NodeRestriction checks the name */
	if (!verb_in(ask, "get list watch"))
		return AUTH_NO_OPINION;
	/* A kubelet looks for its Node before it exists: by name, not through the graph. */
	if (span_eq(ask->name, j->node) || (!ask->name.len && span_eq(ask->field_name, j->node)))
		return AUTH_ALLOW;
	j->reason = arena_printf(j->a, "node '%.*s' cannot read '%.*s', only its own Node object", SPAN_ARG(j->node),
				 SPAN_ARG(ask->name));
	return AUTH_NO_OPINION;
}

static enum auth_decision on_pod(struct judging *j)
{
	const struct auth_ask *ask = j->ask;
	if (span_is(ask->subresource, "status"))
		return verb_in(ask, "update patch") ? AUTH_ALLOW : AUTH_NO_OPINION;
	if (span_is(ask->subresource, "eviction"))
		return verb_in(ask, "create") ? AUTH_ALLOW : AUTH_NO_OPINION;
	if (ask->subresource.len)
		return AUTH_NO_OPINION;
	if (verb_in(ask, "create delete"))
		return AUTH_ALLOW; /* mirror pods; NodeRestriction checks them */
	if (verb_in(ask, "get"))
		return related(j, "pods");
	if (verb_in(ask, "list watch")) {
		if (span_eq(ask->node_name, j->node))
			return AUTH_ALLOW;
		return refuse(j, "can only list/watch pods with spec.nodeName field selector");
	}
	return AUTH_NO_OPINION;
}

static enum auth_decision judge(struct judging *j)
{
	static const struct {
		const char *group, *resource;
		enum auth_decision (*one)(struct judging *j, const char *type);
		enum auth_decision (*own)(struct judging *j);
	} rows[] = {
		{ "", "secrets", read_one, NULL },
		{ "", "configmaps", read_one, NULL },
		{ "", "persistentvolumeclaims", NULL, on_claim },
		{ "", "persistentvolumes", get_one, NULL },
		{ "resource.k8s.io", "resourceclaims", get_one, NULL },
		{ "storage.k8s.io", "volumeattachments", get_one, NULL },
		{ "", "serviceaccounts", NULL, on_service_account },
		{ "coordination.k8s.io", "leases", NULL, on_lease },
		{ "storage.k8s.io", "csinodes", NULL, on_csinode },
		{ "resource.k8s.io", "resourceslices", NULL, on_slice },
		{ "", "nodes", NULL, on_node },
		{ "", "pods", NULL, on_pod },
	};
	for (size_t i = 0; j->ask->is_resource && i < ARRAY_LEN(rows); i++)
		if (span_is(j->ask->group, rows[i].group) && span_is(j->ask->resource, rows[i].resource))
			return rows[i].one ? rows[i].one(j, rows[i].resource) : rows[i].own(j);
	return static_rules_allow(j->ask) ? AUTH_ALLOW : AUTH_NO_OPINION;
}

enum auth_decision auth_node_allows(struct auth_node *n, const struct auth_ask *ask, struct arena *a, struct span *out_reason)
{
	struct judging j = { .n = n, .ask = ask, .node = auth_node_of(ask->user), .a = a };
	*out_reason = SPAN("");
	if (!j.node.len)
		return AUTH_NO_OPINION;
	enum auth_decision d = judge(&j);
	if (d != AUTH_ALLOW)
		*out_reason = j.reason;
	return d;
}
