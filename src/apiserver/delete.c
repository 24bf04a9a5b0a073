/* Deletion: at once, or in steps when somebody has to act first.
 *
 *     finalizers (or propagation Orphan, Foreground)   deletionTimestamp is set; who removes the last finalizer ends it
 *     pods on a node                                   deletionTimestamp = now + grace; the kubelet ends it with grace 0
 *     namespaces                                       phase Terminating; the namespace controller ends it
 *     everything else                                  gone in one transaction */
#include "apiserver/delete.h"

#include "apiserver/admit.h"
#include "apiserver/service.h"
#include "apiserver/write.h"
#include "apiserver/custom.h"

struct deletion {
	struct call *c;
	bool has_grace;
	int64_t grace_s;
	struct span policy, uid, rv; /* propagationPolicy and preconditions */
	struct span gone_uid;	     /* of the object that was deleted */
	void (*done)(struct call *c), (*stale)(struct call *c); /* of who deletes on behalf of the client; NULL: we answer */
	/* collection */
	struct filter filter;
	struct span *names, *spaces; /* what is still to be deleted */
	unsigned n, at;
};

/* opts: DeleteOptions; what they leave open comes from the query. */
static int options_take(struct call *c, struct deletion *d, const struct json *opts)
{
	struct span grace = call_param(c, "gracePeriodSeconds"), policy = call_param(c, "propagationPolicy");
	const struct json *g = json_getl(opts, "gracePeriodSeconds"), *pre = json_getl(opts, "preconditions");
	const struct json *orphan = json_getl(opts, "orphanDependents"), *dry = json_getl(opts, "dryRun");
	d->c = c;
	if (g) {
		d->has_grace = true;
		d->grace_s = json_i64(g, 0);
	} else if (grace.len) {
		if (!span_to_i64(grace, &d->grace_s))
			return err_set(&c->err, ERR_INVALID_REQUEST,
				       "strconv.ParseInt: parsing \"%.*s\": invalid syntax", SPAN_ARG(grace));
		d->has_grace = true;
	}
	d->policy = json_span(json_getl(opts, "propagationPolicy"));
	if (!d->policy.len)
		d->policy = policy;
	if (orphan && d->policy.len)
		return err_set(&c->err, ERR_INVALID,
			       "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"%.*s\": "
			       "orphanDependents and deletionPropagation cannot be both set",
			       SPAN_ARG(d->policy));
	if (orphan)
		d->policy = json_truth(orphan, false) ? SPAN("Orphan") : SPAN("Background");
	if (d->policy.len && !span_is(d->policy, "Orphan") && !span_is(d->policy, "Background") &&
	    !span_is(d->policy, "Foreground"))
		return err_set(
			&c->err, ERR_INVALID,
			"DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"%.*s\": "
			"supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
			SPAN_ARG(d->policy));
	JSON_EACH_ITEM(dry, item)
		c->dry_run = c->dry_run || span_is(json_span(item), "All");
	d->uid = json_span(json_getl(pre, "uid"));
	d->rv = json_span(json_getl(pre, "resourceVersion"));
	return 0;
}

static int options_read(struct call *c, struct deletion *d)
{
	struct json opts = json_object();
	if (c->body.len) {
		const struct api_type *t = api_type_find(SPAN("meta/v1.DeleteOptions"));
		if (write_decode(c, t, SPAN("DeleteOptions"), &opts) < 0)
			return -ERR_INVALID_REQUEST;
	}
	return options_take(c, d, &opts);
}

/* ---- one object */

static bool has_item(const struct json *list, struct span text)
{
	JSON_EACH_ITEM(list, item)
		if (span_eq(json_span(item), text))
			return true;
	return false;
}

static void finalizer_set(struct call *c, struct json *meta, struct span name, bool wanted)
{
	struct json *list = json_getl(meta, "finalizers");
	if (wanted && !has_item(list, name)) {
		if (!list)
			list = json_set(&c->arena, meta, SPAN("finalizers"), json_array());
		(void)json_push(&c->arena, list, json_str(name));
	} else if (!wanted && list) {
		for (uint32_t i = 0; i < list->n; i++)
			if (span_eq(json_span(&list->items[i]), name))
				json_remove_at(list, i--);
		if (!list->n)
			(void)json_remove(meta, SPAN("finalizers"));
	}
}

/* How long a pod may take to end: what was asked for, else its own wish; nothing for one that never ran or has ended. */
static int64_t pod_grace(const struct deletion *d, const struct json *pod)
{
	const struct json *spec = json_getl(pod, "spec");
	struct span phase = json_span(json_path(pod, "status", "phase", (char *)NULL));
	int64_t grace = d->has_grace ? d->grace_s : json_i64(json_getl(spec, "terminationGracePeriodSeconds"), 30);
	if (grace < 0)
		grace = 1;
	if (!json_span(json_getl(spec, "nodeName")).len || span_is(phase, "Succeeded") || span_is(phase, "Failed"))
		grace = 0;
	return grace;
}

static void mark_deleted(struct call *c, struct json *object, int64_t grace_s)
{
	struct json *meta = json_getl(object, "metadata");
	char text[40];
	size_t n = time_format(text, clock_wall_ns(c->server->clock) / NS_PER_S + grace_s, 0, 0);
	(void)json_set(&c->arena, meta, SPAN("deletionTimestamp"), json_str(arena_span(&c->arena, span_make(text, n))));
	(void)json_set(&c->arena, meta, SPAN("deletionGracePeriodSeconds"), json_int(grace_s));
	int64_t generation = json_i64(json_getl(meta, "generation"), 0);
	if (generation)
		(void)json_set(&c->arena, meta, SPAN("generation"), json_int(generation + 1));
}

/* Decides what deletion means for this object now. True: it goes at once; false: object was changed (or not) and stays. */
static bool deletion_step(struct deletion *d, struct json *object)
{
	struct call *c = d->c;
	struct json *meta = json_getl(object, "metadata");
	bool deleting = json_getl(meta, "deletionTimestamp");
	int64_t grace_s = 0;
	if (span_is(c->res->storage_kind, "Pod") && !c->res->storage_group.len)
		grace_s = pod_grace(d, object);
	if (d->policy.len) {
		finalizer_set(c, meta, SPAN("orphan"), span_is(d->policy, "Orphan"));
		finalizer_set(c, meta, SPAN("foregroundDeletion"), span_is(d->policy, "Foreground"));
	}
	apiserver_custom_deleting(c, object);
	meta = json_getl(object, "metadata"); /* members may have moved */
	const struct json *finalizers = json_getl(meta, "finalizers");
	bool held = finalizers && finalizers->n;
	if (span_is(c->res->storage_kind, "Namespace")) {
		const struct json *own = json_path(object, "spec", "finalizers", (char *)NULL);
		if (!deleting) {
			struct json *status = json_getl(object, "status");
			if (!status) {
				status = json_set(&c->arena, object, SPAN("status"), json_object());
				meta = json_getl(object, "metadata"); /* a new member moves the others */
			}
			(void)json_set(&c->arena, status, SPAN("phase"), json_cstr("Terminating"));
		}
		held = held || (own && own->n);
	}
	if (!held && grace_s == 0)
		return true;
	int64_t was_s = json_i64(json_getl(meta, "deletionGracePeriodSeconds"), 0);
	if (!deleting || grace_s < was_s) /* a second deletion may only hasten */
		mark_deleted(c, object, grace_s);
	return false;
}

static void done_one(struct call *c, struct span uid)
{
	auto_buf struct buf body = {};
	status_write_success(
		&body, &(struct status_details){
			       .name = c->route.name, .group = c->res->group, .kind = c->res->plural, .uid = uid });
	call_answer(c, 200, "application/json", &body);
}

/* Kinds whose deletion answers the object that was there. */
static bool returns_object(const struct api_resource *res)
{
	static const char *const kinds[] = {
		"Pod",	       "Service",	"PersistentVolumeClaim", "PersistentVolume",
		"PodTemplate", "ResourceQuota", "ServiceAccount",	 "LimitRange"
	};
	if (res->storage_group.len)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (span_is(res->storage_kind, kinds[i]))
			return true;
	return false;
}

static void delete_next(struct call *c);

static void after_delete(struct call *c, int64_t rev)
{
	struct deletion *d = c->deletion;
	if (d->names) {
		delete_next(c);
		return;
	}
	if (d->done)
		d->done(c);
	else if (c->value)
		call_answer_object(c, 200, bytes_span(c->value), rev);
	else
		done_one(c, d->gone_uid);
}

static void delete_try(struct call *c)
{
	struct deletion *d = c->deletion;
	auto_buf struct buf key = {};
	struct json object, old;
	const struct store_item *it = write_current(c, &key, &object);
	if (!it) {
		if (d->names && c->err.class == ERR_NONE) { /* somebody else was faster */
			store_snapshot_unref(c->snap);
			c->snap = NULL;
			delete_next(c);
			return;
		}
		if (c->err.class == ERR_NONE)
			not_found(c);
		call_fail(c);
		return;
	}
	const struct json *meta = json_getl(&object, "metadata");
	struct span uid = json_span(json_getl(meta, "uid")), rv = json_span(json_getl(meta, "resourceVersion"));
	if ((d->uid.len && !span_eq(d->uid, uid)) || (d->rv.len && !span_eq(d->rv, rv))) {
		bool by_uid = d->uid.len && !span_eq(d->uid, uid);
		err_set(&c->err, ERR_STALE,
			"Operation cannot be fulfilled on %.*s%s%.*s \"%.*s\": the %s in the precondition (%.*s) does "
			"not match "
			"the %s in record (%.*s). The object might have been %s",
			SPAN_ARG(c->res->plural), c->res->group.len ? "." : "", SPAN_ARG(c->res->group),
			SPAN_ARG(c->route.name), by_uid ? "UID" : "ResourceVersion", SPAN_ARG(by_uid ? d->uid : d->rv),
			by_uid ? "UID" : "ResourceVersion", SPAN_ARG(by_uid ? uid : rv),
			by_uid ? "deleted and then recreated" : "modified");
		if (d->stale)
			d->stale(c);
		else
			call_fail(c);
		return;
	}
	also_reset(c);
	/* Who deletes on behalf of the client has been admitted as what it is: an eviction is no DELETE of its pod. */
	if (!d->done && admit_both(c, ADMISSION_DELETE, NULL, &object) < 0) {
		call_fail(c);
		return;
	}
	d->gone_uid = uid;
	old = json_copy(&c->arena, &object);
	bool at_once = deletion_step(d, &object);
	auto_buf struct buf encoded = {};
	object_encode(&encoded, c->res, &object, &c->arena);
	bytes_unref(c->value);
	c->value = at_once && !returns_object(c->res) ? NULL : buf_seal(&encoded);
	if (c->dry_run) {
		after_delete(c, it->rev);
		return;
	}
	if (!at_once) {
		if (json_equal(&old, &object) || span_eq(bytes_span(c->value), bytes_span(it->value)))
			after_delete(c, it->rev);
		else
			write_put(c, buf_span(&key), it->rev);
		return;
	}
	service_release(c, &old);
	struct store_txn *t = store_txn_new();
	store_txn_if(t, buf_span(&key), STORE_REV, STORE_EQUAL, it->rev);
	store_txn_delete(t, STORE_THEN, buf_span(&key));
	also_add(c, t);
	write_commit(c, t);
}

static void delete_again(struct call *c)
{
	if (++c->tries >= 100) { /* each loss means that somebody else's write succeeded */
		write_conflict(c);
		call_fail(c);
		return;
	}
	delete_try(c);
}

static struct deletion *deletion_new(struct call *c)
{
	struct deletion *d = arena_new(&c->arena, struct deletion);
	c->deletion = d;
	c->written = after_delete;
	c->again = delete_again;
	return d;
}

void delete_begin(struct call *c)
{
	struct deletion *d = deletion_new(c);
	if (options_read(c, d) < 0)
		call_fail(c);
	else
		delete_try(c);
}

void delete_with(struct call *c, const struct json *options, void (*done)(struct call *c), void (*stale)(struct call *c))
{
	struct deletion *d = deletion_new(c);
	d->done = done;
	d->stale = stale;
	c->tries = 0;
	if (options_take(c, d, options) < 0)
		call_fail(c);
	else
		delete_try(c);
}

/* ---- a collection: one after the other, as upstream */

static void delete_next(struct call *c)
{
	struct deletion *d = c->deletion;
	store_snapshot_unref(c->snap);
	c->snap = NULL;
	bytes_unref(c->value);
	c->value = NULL;
	if (d->at == d->n) {
		auto_buf struct buf body = {};
		status_write_success(&body, &(struct status_details){ .group = c->res->group, .kind = c->res->plural });
		call_answer(c, 200, "application/json", &body);
		return;
	}
	c->tries = 0;
	c->route.name = d->names[d->at];
	c->route.ns = d->spaces[d->at];
	d->at++;
	delete_try(c);
}

void delete_collection_begin(struct call *c)
{
	struct deletion *d = deletion_new(c);
	auto_buf struct buf prefix = {};
	struct store_iter it;
	const struct store_item *item;
	if (options_read(c, d) < 0 || filter_read(c, &d->filter) < 0) {
		call_fail(c);
		return;
	}
	object_key(&prefix, c->res, c->route.ns, SPAN_EMPTY);
	struct store_snapshot *snap = store_snapshot(c->server->store);
	if (store_iter_init(&it, snap, buf_span(&prefix), SPAN_EMPTY, 0, &c->err) < 0) {
		store_snapshot_unref(snap);
		call_fail(c);
		return;
	}
	uint64_t most = store_iter_left(&it);
	d->names = arena_alloc_n(&c->arena, most + 1, sizeof(*d->names));
	d->spaces = arena_alloc_n(&c->arena, most + 1, sizeof(*d->spaces));
	while ((item = store_iter_next(&it))) {
		auto_arena struct arena a = {};
		struct span ns, name;
		if (!filter_match(&d->filter, c->res, &a, bytes_span(item->value)) ||
		    !object_key_read(store_item_key(item), c->res, &ns, &name))
			continue;
		d->names[d->n] = arena_span(&c->arena, name);
		d->spaces[d->n++] = arena_span(&c->arena, ns);
	}
	store_iter_done(&it);
	store_snapshot_unref(snap);
	delete_next(c);
}
