/* Admission's look-ups read the snapshot of the try, so plugins, quotas, strategy and the write itself see one state of the
 * cluster; what a verdict rests on and must not move meanwhile (a quota's counters) is compared again by the commit.
 *
 * Invariant 1: a quota's status.used is written by the transaction that writes the object it counts, and only if the quota is
 * still at the revision that the check saw. So any number of concurrent creators never exceed it together. */
#include "apiserver/admit.h"

#include "apiserver/look.h"
#include "apiserver/meter.h"

#include <time.h>

/* ---- riders of the commit */

struct also {
	struct also *next;
	struct span key;
	int64_t seen_rev;
	struct bytes *value; /* NULL: deleted */
};

void also_reset(struct call *c)
{
	c->also = NULL; /* the arena has them until the call ends */
}

static void also_any(struct call *c, struct span key, int64_t seen_rev, struct bytes *value)
{
	assert(!also_has(c, key));
	struct also *new = arena_new(&c->arena, struct also);
	*new = (struct also){ .next = c->also, .key = arena_span(&c->arena, key), .seen_rev = seen_rev, .value = value };
	c->also = new;
}

static void unref_bytes(void *bytes)
{
	bytes_unref(bytes);
}

void also_put(struct call *c, struct span key, int64_t seen_rev, struct bytes *value)
{
	arena_defer(&c->arena, unref_bytes, value);
	also_any(c, key, seen_rev, value);
}

void also_delete(struct call *c, struct span key, int64_t seen_rev)
{
	also_any(c, key, seen_rev, NULL);
}

bool also_has(const struct call *c, struct span key)
{
	for (const struct also *x = c->also; x; x = x->next)
		if (span_eq(x->key, key))
			return true;
	return false;
}

void also_add(const struct call *c, struct store_txn *t)
{
	for (const struct also *x = c->also; x; x = x->next) {
		store_txn_if(t, x->key, STORE_REV, STORE_EQUAL, x->seen_rev);
		if (x->value)
			store_txn_put(t, STORE_THEN, x->key, x->value, 0);
		else
			store_txn_delete(t, STORE_THEN, x->key);
	}
}

/* ---- look-ups */

/* The resource in the version that plugins know: v1, else the first that is served. */
static const struct api_resource *resource_of(struct call *c, struct span group, struct span plural)
{
	const struct api_resource *r = api_registry_find(c->registry, group, SPAN("v1"), plural);
	for (unsigned i = 0; !r && i < api_registry_n_versions(c->registry); i++) {
		const struct api_group_version *gv = api_registry_version(c->registry, i);
		if (span_eq(gv->group, group))
			r = api_registry_find(c->registry, group, gv->version, plural);
	}
	return r;
}

/* The tree of an item; the pass ends with an error if it cannot be read. */
static const struct json *tree_of(struct call *c, struct arena *a, const struct api_resource *r, const struct store_item *it)
{
	auto_err struct err err = ERR_INIT;
	const struct json *tree = look_tree(c->w, a, r, it, &err);
	if (!tree && c->err.class == ERR_NONE)
		(void)err_move(&c->err, &err);
	return tree;
}

static const struct json *look_get(void *arg, struct arena *a, struct span group, struct span plural, struct span ns,
				   struct span name)
{
	struct call *c = arg;
	const struct api_resource *r = resource_of(c, group, plural);
	auto_buf struct buf key = {};
	if (!r || !name.len || span_chr(name, '/') >= 0)
		return NULL;
	object_key(&key, r, ns, name);
	const struct store_item *it = store_get(c->snap, buf_span(&key));
	return it ? tree_of(c, a, r, it) : NULL;
}

static const struct json *look_list(void *arg, struct arena *a, struct span group, struct span plural, struct span ns)
{
	struct call *c = arg;
	const struct api_resource *r = resource_of(c, group, plural);
	auto_buf struct buf prefix = {};
	struct store_iter it;
	if (!r)
		return NULL;
	object_key(&prefix, r, ns, SPAN_EMPTY);
	if (store_iter_init(&it, c->snap, buf_span(&prefix), SPAN_EMPTY, 0, &c->err) < 0)
		return NULL;
	const struct store_item *item = store_iter_next(&it);
	struct json *list = item ? arena_new(a, struct json) : NULL; /* nothing there, as most often: nothing is made */
	if (list)
		*list = json_array();
	for (; item; item = store_iter_next(&it)) {
		const struct json *tree = tree_of(c, a, r, item);
		if (tree)
			(void)json_push(a, list, *tree);
	}
	store_iter_done(&it);
	return list;
}

static bool look_allows(void *arg, struct arena *a, const struct admission_ask *ask, struct span *out_reason)
{
	struct call *c = arg;
	const struct auth_ask question = {
		.user = &c->user,
		.verb = ask->verb,
		.group = ask->group,
		.version = ask->version,
		.resource = ask->resource,
		.subresource = ask->subresource,
		.ns = ask->ns,
		.name = ask->name,
		.is_resource = true,
	};
	return call_decide(c, &question, out_reason) == AUTH_ALLOW;
}

static const struct api_resource *look_kind(void *arg, struct span group, struct span version, struct span kind)
{
	struct call *c = arg;
	return api_registry_find_kind(c->registry, group, version, kind);
}

static void look_suffix(void *arg, char *out, size_t len)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	rng_secret(out, len);
	for (size_t i = 0; i < len; i++)
		out[i] = alphabet[(uint8_t)out[i] % 27];
}

/* ---- the passes */

bool admit_has(const struct apiserver *s, const char *plugin)
{
	return admission_set_has(&s->admission, span_of(plugin));
}

/* One reading of the clock a plugin: where one ends the next begins. They take well under a microsecond each, and there are 25
 * in a create; so it is the coarse clock, which only reads memory. It stands still for 4 ms (1 to 10, by the kernel): most readings
 * are 0, a few are a whole tick, and their sum is right. */
struct timing {
	struct call *call;
	enum admission_op op;
	int64_t last_ns;
};

static int64_t coarse_ns(struct clock *clock)
{
	struct timespec t;
	if (clock != clock_real())
		return clock_mono_ns(clock);
	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void timing_begin(struct admission *req)
{
	struct timing *t = req->ran_arg;
	t->last_ns = coarse_ns(t->call->server->clock);
}

static void on_ran(void *arg, unsigned plugin, bool validating, bool refused)
{
	struct timing *t = arg;
	int64_t now_ns = coarse_ns(t->call->server->clock);
	meter_plugin(t->call->w, plugin, t->op, validating, refused, now_ns - t->last_ns);
	t->last_ns = now_ns;
}

struct admission *admit_begin(struct call *c, enum admission_op op, struct json *object, const struct json *old)
{
	struct admission_lookup *look = arena_new(&c->arena, struct admission_lookup);
	struct admission *req = arena_new(&c->arena, struct admission);
	*look = (struct admission_lookup){
		.arg = c, .get = look_get, .list = look_list, .allows = look_allows, .kind = look_kind, .random_suffix = look_suffix
	};
	if (!c->snap)
		c->snap = store_snapshot(c->server->store);
	*req = (struct admission){
		.arena = &c->arena,
		.lookup = look,
		.op = op,
		.resource = c->res,
		.subresource = c->sub ? c->sub->name : SPAN(""),
		.ns = c->route.ns,
		.name = c->route.name,
		.object = object,
		.old = old,
		.user_name = c->user.name,
		.groups = c->user.groups,
		.n_groups = c->user.n_groups,
		.dry_run = c->dry_run,
	};
	struct timing *timing = arena_new(&c->arena, struct timing);
	*timing = (struct timing){ .call = c, .op = op };
	req->ran = on_ran;
	req->ran_arg = timing;
	/* The namespace of a namespace is itself, as its requests' attributes have it. */
	if (!c->res->group.len && span_is(c->res->plural, "namespaces"))
		req->ns = c->route.name;
	c->admitted = req;
	return req;
}

static int finish(struct call *c, struct admission *req, int rc)
{
	for (unsigned i = 0; i < req->n_warnings; i++)
		call_warn(c, req->warnings[i]);
	for (unsigned i = 0; i < req->n_audit; i++)
		call_annotate(c, req->audit[i].key, req->audit[i].value);
	if (rc < 0 && req->missing_name.len) {
		c->about = arena_new(&c->arena, struct status_details);
		*c->about = (struct status_details){ .name = req->missing_name, .kind = req->missing_resource };
	}
	/* What a look-up could not read outweighs the verdict that missed it. */
	return rc < 0 ? rc : -(int)c->err.class;
}

int admit_mutate(struct call *c, struct admission *req)
{
	int64_t began_ns = clock_mono_ns(c->server->clock);
	timing_begin(req);
	int rc = finish(c, req, admission_mutate(&c->server->admission, req, &c->err));
	meter_admitted(c, req->op, false, rc < 0, began_ns);
	return rc;
}

/* ResourceQuota comes behind all others, as upstream: nobody is charged for what somebody else refuses. */
static int charge(struct call *c, struct admission *req)
{
	if (!(req->op & (ADMISSION_CREATE | ADMISSION_UPDATE)) || !req->ns.len || !c->res->namespaced ||
	    !admit_has(c->server, "ResourceQuota"))
		return 0;
	const struct json *list = look_list(c, &c->arena, SPAN(""), SPAN("resourcequotas"), req->ns);
	if (!json_is(list, JSON_ARRAY) || !list->n)
		return 0;
	unsigned n = list->n;
	struct admission_quota *quotas = arena_alloc_n(&c->arena, n, sizeof(*quotas));
	for (unsigned i = 0; i < n; i++)
		quotas[i] = (struct admission_quota){ .object = &list->items[i] };
	int rc = admission_quota_check(req, quotas, n, clock_wall_ns(c->server->clock) / NS_PER_S, &c->err);
	if (rc < 0 || c->dry_run)
		return rc;
	const struct api_resource *res = resource_of(c, SPAN(""), SPAN("resourcequotas"));
	for (unsigned i = 0; i < n; i++) {
		if (!quotas[i].changed)
			continue;
		struct json tree = json_copy(&c->arena, quotas[i].object);
		struct json *meta = json_getl(&tree, "metadata"), *status = json_getl(&tree, "status");
		int64_t rev = 0;
		auto_buf struct buf key = {}, value = {};
		(void)span_to_i64(json_span(json_getl(meta, "resourceVersion")), &rev); /* object_read has written it */
		object_key(&key, res, req->ns, json_span(json_getl(meta, "name")));
		(void)json_set(&c->arena, status, SPAN("used"), quotas[i].used); /* status.hard is there: it was counted against */
		object_encode(&value, res, &tree, &c->arena);
		also_put(c, buf_span(&key), rev, buf_seal(&value));
	}
	return 0;
}

int admit_check(struct call *c, struct admission *req)
{
	int64_t began_ns = clock_mono_ns(c->server->clock);
	timing_begin(req);
	int rc = finish(c, req, admission_validate(&c->server->admission, req, &c->err));
	meter_admitted(c, req->op, true, rc < 0, began_ns);
	return rc;
}

int admit_validate(struct call *c, struct admission *req)
{
	int rc = admit_check(c, req);
	if (rc < 0)
		return rc;
	int64_t began_ns = coarse_ns(c->server->clock);
	rc = charge(c, req);
	if (req->op & (ADMISSION_CREATE | ADMISSION_UPDATE) && admit_has(c->server, "ResourceQuota"))
		meter_plugin(c->w, METER_QUOTA, req->op, true, rc < 0, coarse_ns(c->server->clock) - began_ns);
	return rc;
}

int admit_both(struct call *c, enum admission_op op, struct json *object, const struct json *old)
{
	struct admission *req = admit_begin(c, op, object, old);
	int rc = admit_mutate(c, req);
	return rc < 0 ? rc : admit_check(c, req);
}
