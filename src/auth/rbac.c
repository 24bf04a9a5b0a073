/* The index of RBAC: from who asks to what is bound to them.
 *
 *     subjects   "NS\0uNAME" or "NS\0gNAME"  ->  grants: one for each binding that names this subject
 *     bindings   "NS\0NAME"                  ->  what it refers to, and its grants
 *     roles      "NS\0NAME"                  ->  rules
 *
 * NS is empty for the cluster-wide kinds. A service account is the user "system:serviceaccount:NS:NAME". A question of a user
 * with g groups looks up 2 (g + 1) subjects: cluster-wide and in the namespace. Grants refer to roles by name, not by
 * pointer, because roles and bindings come and go in any order.
 *
 * Invariants
 *  1. Every grant is in exactly two lists: its subject's and (as an array) its binding's; a subject without grants is removed.
 *  2. Everything reached through the maps is owned here; answers copy into the asker's arena while the lock is held. */
#include "auth/auth.h"

struct role {
	struct arena arena;
	struct span key; /* in the arena */
	const struct auth_rule *rules;
	unsigned n_rules;
};

struct subject {
	struct list grants;
	struct span key; /* owned */
};

struct grant {
	struct list link; /* in subject->grants */
	struct subject *subject;
	struct binding *binding;
	struct span kind, name, ns; /* as the binding writes the subject, for reasons */
};

struct binding {
	struct arena arena;
	struct span key, ns, name;
	struct span role_ns, role_name; /* role_ns empty: a ClusterRole */
	struct grant *grants;
	unsigned n_grants;
};

struct auth_rbac {
	pthread_rwlock_t lock;
	struct map roles, bindings, subjects;
};

static struct span make_key(struct arena *a, struct span ns, struct span name)
{
	char *p = arena_alloc(a, ns.len + name.len + 1);
	if (ns.len)
		memcpy(p, ns.ptr, ns.len);
	p[ns.len] = 0;
	if (name.len)
		memcpy(p + ns.len + 1, name.ptr, name.len);
	return span_make(p, ns.len + 1 + name.len);
}

static void role_free(struct role *r)
{
	struct arena a = r->arena; /* the role itself lies in it */
	arena_done(&a);
}

static void binding_free(struct auth_rbac *r, struct binding *b)
{
	for (unsigned i = 0; i < b->n_grants; i++) {
		struct subject *s = b->grants[i].subject;
		list_remove(&b->grants[i].link);
		if (list_empty(&s->grants)) {
			map_remove(&r->subjects, s->key);
			free((char *)s->key.ptr);
			free(s);
		}
	}
	struct arena a = b->arena;
	arena_done(&a);
}

struct auth_rbac *auth_rbac_new(void)
{
	struct auth_rbac *r = mem_new(struct auth_rbac);
	int rc = pthread_rwlock_init(&r->lock, NULL);
	assert(rc == 0);
	return r;
}

void auth_rbac_free(struct auth_rbac *r)
{
	if (!r)
		return;
	MAP_EACH(&r->bindings, e)
		binding_free(r, e->value);
	MAP_EACH(&r->roles, e)
		role_free(e->value);
	assert(r->subjects.n == 0); /* invariant 1 */
	map_done(&r->bindings);
	map_done(&r->roles);
	map_done(&r->subjects);
	pthread_rwlock_destroy(&r->lock);
	free(r);
}

static struct subject *subject_get(struct auth_rbac *r, struct span ns, char type, struct span name)
{
	auto_buf struct buf key = {};
	buf_span_add(&key, ns);
	buf_chr(&key, 0);
	buf_chr(&key, type);
	buf_span_add(&key, name);
	struct subject *s = map_get(&r->subjects, buf_span(&key));
	if (s)
		return s;
	s = mem_new(struct subject);
	list_init(&s->grants);
	s->key = span_make(mem_dup(key.ptr, key.len), key.len);
	map_put(&r->subjects, s->key, s);
	return s;
}

static void binding_put(struct auth_rbac *r, bool cluster, const struct json *object)
{
	struct arena a = {};
	arena_small(&a);
	struct binding *b = arena_new(&a, struct binding);
	const struct json *meta = json_getl(object, "metadata");
	const struct json *ref = json_getl(object, "roleRef");
	const struct json *subjects = json_getl(object, "subjects");
	b->ns = cluster ? SPAN("") : arena_span(&a, json_span(json_getl(meta, "namespace")));
	b->name = arena_span(&a, json_span(json_getl(meta, "name")));
	b->key = make_key(&a, b->ns, b->name);
	b->role_ns = span_is(json_span(json_getl(ref, "kind")), "Role") ? b->ns : SPAN("");
	b->role_name = arena_span(&a, json_span(json_getl(ref, "name")));
	uint32_t n = json_is(subjects, JSON_ARRAY) ? subjects->n : 0;
	b->grants = arena_alloc_n(&a, n, sizeof(*b->grants));
	JSON_EACH_ITEM(subjects, s) {
		struct grant *g = &b->grants[b->n_grants];
		*g = (struct grant){ .binding = b };
		g->kind = arena_span(&a, json_span(json_getl(s, "kind")));
		g->name = arena_span(&a, json_span(json_getl(s, "name")));
		g->ns = arena_span(&a, json_span(json_getl(s, "namespace")));
		if (span_is(g->kind, "User")) {
			g->subject = subject_get(r, b->ns, 'u', g->name);
		} else if (span_is(g->kind, "Group")) {
			g->subject = subject_get(r, b->ns, 'g', g->name);
		} else if (span_is(g->kind, "ServiceAccount")) {
			/* Without a namespace of its own it is one of the binding's; cluster-wide it is nobody. */
			struct span ns = g->ns.len ? g->ns : b->ns;
			if (!ns.len)
				continue;
			struct span user = arena_printf(&a, "system:serviceaccount:%.*s:%.*s", SPAN_ARG(ns), SPAN_ARG(g->name));
			g->subject = subject_get(r, b->ns, 'u', user);
		} else {
			continue; /* validation lets no other kind in */
		}
		list_push(&g->subject->grants, &g->link);
		b->n_grants++;
	}
	b->arena = a;
	struct binding *old = map_put(&r->bindings, b->key, b);
	if (old)
		binding_free(r, old);
}

static void role_put(struct auth_rbac *r, bool cluster, const struct json *object)
{
	struct arena a = {};
	arena_small(&a);
	struct role *role = arena_new(&a, struct role);
	const struct json *meta = json_getl(object, "metadata");
	struct span ns = cluster ? SPAN("") : json_span(json_getl(meta, "namespace"));
	role->key = make_key(&a, ns, json_span(json_getl(meta, "name")));
	struct json rules = JSON_NULL_VALUE;
	if (json_getl(object, "rules"))
		rules = json_copy(&a, json_getl(object, "rules"));
	auth_rules_read(&a, &rules, &role->rules, &role->n_rules);
	role->arena = a;
	struct role *old = map_put(&r->roles, role->key, role);
	if (old)
		role_free(old);
}

void auth_rbac_put(struct auth_rbac *r, enum auth_rbac_kind kind, const struct json *object)
{
	pthread_rwlock_wrlock(&r->lock);
	if (kind == AUTH_ROLE || kind == AUTH_CLUSTER_ROLE)
		role_put(r, kind == AUTH_CLUSTER_ROLE, object);
	else
		binding_put(r, kind == AUTH_CLUSTER_ROLE_BINDING, object);
	pthread_rwlock_unlock(&r->lock);
}

void auth_rbac_remove(struct auth_rbac *r, enum auth_rbac_kind kind, struct span ns, struct span name)
{
	auto_arena struct arena a = {};
	struct span key = make_key(&a, kind == AUTH_CLUSTER_ROLE || kind == AUTH_CLUSTER_ROLE_BINDING ? SPAN("") : ns, name);
	pthread_rwlock_wrlock(&r->lock);
	if (kind == AUTH_ROLE || kind == AUTH_CLUSTER_ROLE) {
		struct role *role = map_remove(&r->roles, key);
		if (role)
			role_free(role);
	} else {
		struct binding *b = map_remove(&r->bindings, key);
		if (b)
			binding_free(r, b);
	}
	pthread_rwlock_unlock(&r->lock);
}

/* ---- asking */

static const struct role *role_of(const struct auth_rbac *r, struct span ns, struct span name)
{
	char small[512];
	size_t need = ns.len + 1 + name.len;
	auto_arena struct arena a = {};
	struct span key;
	if (need <= sizeof(small)) {
		if (ns.len)
			memcpy(small, ns.ptr, ns.len);
		small[ns.len] = 0;
		if (name.len)
			memcpy(small + ns.len + 1, name.ptr, name.len);
		key = span_make(small, need);
	} else {
		key = make_key(&a, ns, name);
	}
	return map_get(&r->roles, key);
}

/* Calls visit for each grant of the user, cluster-wide ones first, until it returns true. Lock held. */
static bool each_grant(struct auth_rbac *r, const struct auth_user *u, struct span ns,
		       bool (*visit)(struct auth_rbac *r, const struct grant *g, void *arg), void *arg)
{
	auto_buf struct buf key = {};
	for (int scope = 0; scope < (ns.len ? 2 : 1); scope++) {
		for (unsigned i = 0; i <= u->n_groups; i++) {
			buf_trunc(&key, 0);
			if (scope)
				buf_span_add(&key, ns);
			buf_chr(&key, 0);
			buf_chr(&key, i ? 'g' : 'u');
			buf_span_add(&key, i ? u->groups[i - 1] : u->name);
			struct subject *s = map_get(&r->subjects, buf_span(&key));
			if (!s)
				continue;
			LIST_EACH(&s->grants, g, struct grant, link)
				if (visit(r, g, arg))
					return true;
		}
	}
	return false;
}

static void missing_role(struct arena *a, struct span *missing, unsigned *n, const struct binding *b)
{
	struct span text = arena_printf(a, "%s.rbac.authorization.k8s.io \"%.*s\" not found",
					b->role_ns.len ? "role" : "clusterrole", SPAN_ARG(b->role_name));
	if (span_has(*missing, text))
		return; /* each once */
	*missing = *n ? arena_printf(a, "%.*s, %.*s", SPAN_ARG(*missing), SPAN_ARG(text)) : text;
	(*n)++;
}

struct asking {
	const struct auth_ask *ask;
	struct arena *a;
	struct span reason, missing;
	unsigned n_missing;
};

static bool ask_grant(struct auth_rbac *r, const struct grant *g, void *arg)
{
	struct asking *s = arg;
	const struct binding *b = g->binding;
	const struct role *role = role_of(r, b->role_ns, b->role_name);
	if (!role) {
		missing_role(s->a, &s->missing, &s->n_missing, b);
		return false;
	}
	for (unsigned i = 0; i < role->n_rules; i++) {
		if (!auth_rule_matches(&role->rules[i], s->ask))
			continue;
		auto_buf struct buf why = {};
		buf_printf(&why, "RBAC: allowed by %s \"%.*s%s%.*s\" of %s \"%.*s\" to %.*s \"%.*s%s%.*s\"",
			   b->ns.len ? "RoleBinding" : "ClusterRoleBinding", SPAN_ARG(b->name), b->ns.len ? "/" : "",
			   SPAN_ARG(b->ns), b->role_ns.len ? "Role" : "ClusterRole", SPAN_ARG(b->role_name), SPAN_ARG(g->kind),
			   SPAN_ARG(g->name), g->ns.len ? "/" : "", SPAN_ARG(g->ns));
		s->reason = arena_span(s->a, buf_span(&why));
		return true;
	}
	return false;
}

enum auth_decision auth_rbac_allows(struct auth_rbac *r, const struct auth_ask *ask, struct arena *a, struct span *out_reason)
{
	struct asking s = { .ask = ask, .a = a };
	pthread_rwlock_rdlock(&r->lock);
	bool allowed = each_grant(r, ask->user, ask->is_resource ? ask->ns : SPAN(""), ask_grant, &s);
	pthread_rwlock_unlock(&r->lock);
	if (allowed)
		*out_reason = s.reason;
	else if (s.n_missing)
		*out_reason = arena_printf(a, s.n_missing > 1 ? "RBAC: [%.*s]" : "RBAC: %.*s", SPAN_ARG(s.missing));
	else
		*out_reason = SPAN("");
	return allowed ? AUTH_ALLOW : AUTH_NO_OPINION;
}

/* ---- the rules of somebody */

static const struct span *copy_list(struct arena *a, const struct span *list, unsigned n)
{
	struct span *copy = arena_alloc_n(a, n, sizeof(*copy));
	for (unsigned i = 0; i < n; i++)
		copy[i] = arena_span(a, list[i]);
	return copy;
}

static struct auth_rule copy_rule(struct arena *a, const struct auth_rule *r)
{
	struct auth_rule copy = *r;
	copy.verbs = copy_list(a, r->verbs, r->n_verbs);
	copy.groups = copy_list(a, r->groups, r->n_groups);
	copy.resources = copy_list(a, r->resources, r->n_resources);
	copy.names = copy_list(a, r->names, r->n_names);
	copy.urls = copy_list(a, r->urls, r->n_urls);
	return copy;
}

struct gathering {
	struct arena *a;
	struct auth_rule *rules; /* malloc'ed while it grows */
	unsigned n, cap;
	struct span missing;
	unsigned n_missing;
};

static void gather_role(struct gathering *s, const struct role *role)
{
	for (unsigned i = 0; i < role->n_rules; i++) {
		MEM_GROW(s->rules, s->n, s->cap);
		s->rules[s->n++] = copy_rule(s->a, &role->rules[i]);
	}
}

static bool gather_grant(struct auth_rbac *r, const struct grant *g, void *arg)
{
	struct gathering *s = arg;
	const struct role *role = role_of(r, g->binding->role_ns, g->binding->role_name);
	if (role)
		gather_role(s, role);
	else
		missing_role(s->a, &s->missing, &s->n_missing, g->binding);
	return false;
}

static void gathered(struct gathering *s, const struct auth_rule **out_rules, unsigned *out_n)
{
	struct auth_rule *rules = arena_alloc_n(s->a, s->n, sizeof(*rules));
	if (s->n)
		memcpy(rules, s->rules, s->n * sizeof(*rules));
	free(s->rules);
	*out_rules = rules;
	*out_n = s->n;
}

void auth_rbac_rules_of(struct auth_rbac *r, const struct auth_user *user, struct span ns, struct arena *a,
			const struct auth_rule **out_rules, unsigned *out_n, struct span *out_missing)
{
	struct gathering s = { .a = a };
	pthread_rwlock_rdlock(&r->lock);
	(void)each_grant(r, user, ns, gather_grant, &s); /* visits all: gather_grant never stops it */
	pthread_rwlock_unlock(&r->lock);
	gathered(&s, out_rules, out_n);
	*out_missing = s.missing;
}

bool auth_rbac_role_rules(struct auth_rbac *r, struct span ns, struct span name, struct arena *a,
			  const struct auth_rule **out_rules, unsigned *out_n)
{
	struct gathering s = { .a = a };
	pthread_rwlock_rdlock(&r->lock);
	const struct role *role = role_of(r, ns, name);
	if (role)
		gather_role(&s, role);
	pthread_rwlock_unlock(&r->lock);
	gathered(&s, out_rules, out_n);
	return role != NULL;
}

static int by_text(const void *a, const void *b)
{
	return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

int auth_rbac_check_grant(struct auth_rbac *r, const struct auth_user *user, struct span ns, const struct auth_rule *want,
			  unsigned n_want, struct err *err)
{
	auto_arena struct arena a = {};
	const struct auth_rule *have, *missing = NULL;
	unsigned n_have, n_missing = 0;
	struct span unresolved;
	auth_rbac_rules_of(r, user, ns, &a, &have, &n_have, &unresolved);
	if (auth_rules_cover(have, n_have, want, n_want, &a, &missing, &n_missing))
		return 0;
	struct span *texts = arena_alloc_n(&a, n_missing, sizeof(*texts));
	for (unsigned i = 0; i < n_missing; i++) {
		auto_buf struct buf text = {};
		auth_rule_text(&missing[i], &text);
		texts[i] = arena_span(&a, buf_span(&text));
	}
	qsort(texts, n_missing, sizeof(*texts), by_text);
	auto_buf struct buf msg = { .limit = 256 * 1024 };
	buf_str(&msg, "user ");
	json_write_string(&msg, user->name, 0);
	buf_str(&msg, " (groups=[");
	for (unsigned i = 0; i < user->n_groups; i++) {
		if (i)
			buf_chr(&msg, ' ');
		json_write_string(&msg, user->groups[i], 0);
	}
	buf_str(&msg, "]) is attempting to grant RBAC permissions not currently held:\n");
	for (unsigned i = 0; i < n_missing; i++) {
		if (i && span_eq(texts[i], texts[i - 1]))
			continue;
		if (i)
			buf_chr(&msg, '\n');
		buf_span_add(&msg, texts[i]);
	}
	if (unresolved.len)
		buf_printf(&msg, "; resolution errors: [%.*s]", SPAN_ARG(unresolved));
	return err_set(err, ERR_FORBIDDEN, "%s", buf_cstr(&msg));
}
