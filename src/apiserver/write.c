/* create, update and patch. Each try reads the state that it changes from one snapshot and commits only if that state is
 * still there; who loses the race starts again, unless the client named the version it meant.
 *
 *     body → [decode | patch of the current object] → defaults → strategy → managers → validate → commit → answer
 */
#include "apiserver/admit.h"
#include "apiserver/delete.h"
#include "apiserver/meter.h"
#include "apiserver/guard.h"
#include "apiserver/heartbeat.h"
#include "apiserver/server.h"
#include "apiserver/custom.h"
#include "apiserver/service.h"
#include "apiserver/virtual.h"
#include "apiserver/write.h"

#define NAMES_MAX 8 /* as upstream: random endings that are tried */
#define TRIES_MAX 1000 /* each loss means that somebody else's write succeeded, as many as may be in flight at once */

/* ---- commits */

static void on_commit(struct store_call *sc, void *arg)
{
	struct call *c = arg;
	c->pending--;
	meter_committed(c);
	if (!c->http) {
		call_release(c);
		return;
	}
	if (sc->err.class != ERR_NONE) {
		(void)err_move(&c->err, &sc->err); /* answered below */
		call_fail(c);
	} else if (store_txn_held(sc)) {
		c->written(c, sc->rev);
	} else {
		store_snapshot_unref(c->snap);
		c->snap = NULL;
		c->again(c);
	}
}

void write_commit(struct call *c, struct store_txn *txn)
{
	c->pending++;
	c->commit_ns = clock_mono_ns(c->server->clock);
	store_commit(c->server->store, txn, c->w->port, on_commit, c);
}

static void put(struct call *c, struct span key, int64_t seen_rev, const struct store_item *old)
{
	struct store_txn *t = store_txn_new();
	store_txn_if(t, key, STORE_REV, STORE_EQUAL, seen_rev);
	/* What rides along (a quota's counters) is durable, so this is, too. */
	enum heartbeat beat = c->also ? HEARTBEAT_NONE : heartbeat_of(c, old);
	if (beat == HEARTBEAT_EVENT)
		store_txn_fleeting(t);
	else if (beat)
		store_txn_volatile(t);
	also_add(c, t);
	if (!seen_rev && c->res->namespaced && admit_has(c->server, "NamespaceLifecycle")) {
		/* Nothing is born in a namespace that went meanwhile. */
		auto_buf struct buf ns = {};
		write_namespace_key(&ns, c->route.ns);
		store_txn_if(t, buf_span(&ns), STORE_CREATE_REV, STORE_GREATER, 0);
	}
	if (!seen_rev && custom_is(c->res)) {
		/* Nor under a definition that went. */
		auto_buf struct buf crd = {};
		apiserver_custom_key(&crd, c->res->plural, c->res->group);
		store_txn_if(t, buf_span(&crd), STORE_CREATE_REV, STORE_GREATER, 0);
	}
	store_txn_put(t, STORE_THEN, key, c->value, 0);
	write_commit(c, t);
}

void write_put(struct call *c, struct span key, int64_t seen_rev)
{
	put(c, key, seen_rev, NULL);
}

void write_answer(struct call *c, int64_t rev)
{
	call_answer_object(c, c->success_code, bytes_span(c->value), rev);
}

/* ---- metadata */

static struct span meta_span(const struct json *object, const char *key)
{
	return json_span(json_get(json_getl(object, "metadata"), span_of(key)));
}

struct json *write_meta(struct call *c, struct json *object)
{
	struct json *meta = json_getl(object, "metadata");
	return json_is(meta, JSON_OBJECT) ? meta : json_set(&c->arena, object, SPAN("metadata"), json_object());
}

struct span write_now(struct call *c)
{
	char text[40];
	size_t n = time_format(text, clock_wall_ns(c->server->clock) / NS_PER_S, 0, 0);
	return arena_span(&c->arena, span_make(text, n));
}

void write_namespace_key(struct buf *out, struct span ns)
{
	buf_str(out, "/registry/core/namespaces/");
	buf_span_add(out, ns);
}

static void new_uid(struct call *c, struct json *meta)
{
	uint8_t b[16];
	char text[37];
	rng_secret(b, sizeof(b));
	text_uuid(b, text);
	(void)json_set(&c->arena, meta, SPAN("uid"), json_str(arena_span(&c->arena, span_of(text))));
}

/* Five of 27 characters that spell no words, behind a base cut to 58: upstream's SimpleNameGenerator. */
static struct span generated_name(struct call *c, struct span base)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	uint8_t random[5];
	char tail[6] = {};
	rng_secret(random, sizeof(random));
	for (int i = 0; i < 5; i++)
		tail[i] = alphabet[random[i] % 27];
	base = span_sub(base, 0, 58);
	return arena_printf(&c->arena, "%.*s%s", SPAN_ARG(base), tail);
}

/* Namespace of the request and of the object must agree. */
int write_namespace_agree(struct call *c, struct json *object)
{
	struct json *meta = write_meta(c, object);
	struct span ns = json_span(json_getl(meta, "namespace"));
	if (!c->res->namespaced) {
		(void)json_remove(meta, SPAN("namespace"));
		return 0;
	}
	if (ns.len && !span_eq(ns, c->route.ns))
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "the namespace of the provided object does not match the namespace sent on the "
			       "request");
	(void)json_set(&c->arena, meta, SPAN("namespace"), json_str(c->route.ns));
	return 0;
}

/* apiVersion and kind in the data must be those of the endpoint, or absent. */
int write_kind_agree(struct call *c, const struct json *object)
{
	struct span kind = json_span(json_getl(object, "kind")), gv = json_span(json_getl(object, "apiVersion"));
	struct span want_gv = call_group_version(c, c->res);
	if (gv.len && !span_eq(gv, want_gv))
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "the API version in the data (%.*s) does not match the expected API version (%.*s)",
			       SPAN_ARG(gv), SPAN_ARG(want_gv));
	if (kind.len && !span_eq(kind, c->res->kind))
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "%.*s in version \"%.*s\" cannot be handled as a %.*s: no kind match", SPAN_ARG(kind),
			       SPAN_ARG(c->res->version), SPAN_ARG(c->res->kind));
	return 0;
}

/* ---- the body */

int write_field_validation(struct call *c, enum write_fields *out)
{
	struct span v = call_param(c, "fieldValidation");
	if (!v.len || span_is(v, "Warn"))
		*out = FIELDS_WARN;
	else if (span_is(v, "Strict"))
		*out = FIELDS_STRICT;
	else if (span_is(v, "Ignore"))
		*out = FIELDS_IGNORE;
	else
		return err_set(
			&c->err, ERR_INVALID,
			"CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"%.*s\": "
			"supported values: \"Ignore\", \"Strict\", \"Warn\"",
			SPAN_ARG(v));
	return 0;
}

int write_found_fields(struct call *c, const struct api_decode *d, enum write_fields how)
{
	for (unsigned i = 0; how == FIELDS_WARN && i < d->n_found; i++)
		call_warn(c, d->found[i]);
	return 0;
}

/* A body that is no JSON at all, in upstream's words: what Go says, and how the body begins. */
static int no_json(struct call *c, struct span kind, const struct buf *words)
{
	enum { SHOWN = 30 };
	auto_buf struct buf summary = {};
	struct span start = span_sub(c->body, 0, MIN(c->body.len, (size_t)SHOWN));
	if (!start.len)
		buf_str(&summary, "<empty>");
	else if (start.ptr[0] == '{')
		buf_span_add(&summary, start);
	else
		hex_add(&summary, start.ptr, start.len);
	if (c->body.len > SHOWN)
		buf_str(&summary, " ...");
	return err_set(&c->err, ERR_INVALID_REQUEST,
		       "the object provided is unrecognized (must be of type %.*s): couldn't get version/kind; json parse error: %s (%s)",
		       SPAN_ARG(kind), buf_cstr(words), buf_cstr(&summary));
}

int write_decode(struct call *c, const struct api_type *type, struct span kind, struct json *out)
{
	enum form form;
	enum write_fields how;
	int rc = content_form(http_req_header(c->http, "content-type"), true, &form, &c->err);
	if (rc == 0)
		rc = write_field_validation(c, &how);
	if (rc < 0)
		return rc;
	struct api_decode d = { .strict = how == FIELDS_STRICT };
	if (form == FORM_PROTO)
		rc = api_decode_proto(&c->arena, type, c->body, out, &c->err);
	else if (form == FORM_YAML)
		rc = api_decode_yaml(&c->arena, type, c->body, &d, out, &c->err);
	else
		rc = api_decode_json(&c->arena, type, c->body, &d, out, &c->err);
	auto_buf struct buf words = {};
	if (rc < 0 && form == FORM_JSON && json_go_complaint(&words, c->body))
		return no_json(c, kind, &words);
	if (rc < 0)
		return err_note(&c->err, "%.*s in version \"%.*s\" cannot be handled as a %.*s", SPAN_ARG(kind),
				SPAN_ARG(c->res->version), SPAN_ARG(kind));
	if (type == c->res->type)
		apiserver_custom_default(c, out);
	return write_found_fields(c, &d, how);
}

/* ---- from a wanted object to stored bytes */

static struct span manager_of(struct call *c)
{
	struct span m = call_param(c, "fieldManager");
	if (!m.len) {
		struct span tail;
		span_split(http_req_header(c->http, "user-agent"), '/', &m, &tail);
		m = m.len ? m : SPAN("unknown");
	}
	return span_sub(m, 0, 128);
}

struct api_ssa write_ssa(struct call *c)
{
	static const struct span status[] = { SPAN_INIT("status") }, spec[] = { SPAN_INIT("spec") };
	bool resets = !c->sub && api_resource_sub(c->res, SPAN("status"));
	bool resets_spec = c->sub && custom_is(c->res) && span_is(c->sub->name, "status");
	return (struct api_ssa){
		.type = c->res->type,
		.api_version = call_group_version(c, c->res),
		.kind = c->res->kind,
		.subresource = c->sub ? c->sub->name : SPAN(""),
		.reset = resets ? status : resets_spec ? spec : NULL,
		.n_reset = resets || resets_spec ? 1 : 0,
		.now_unix_s = clock_wall_ns(c->server->clock) / NS_PER_S,
		.convert = api_convert_versions,
		.resource = c->res,
	};
}

/* What is about to be stored: system fields are the server's, the strategy decides the rest. old NULL: create. tracked: its
 * managedFields are up to date already (server-side apply). */
int write_finish(struct call *c, struct json *object, const struct json *old, bool tracked)
{
	struct json *meta = write_meta(c, object);
	struct strategy s = {
		.arena = &c->arena,
		.resource = c->res,
		.subresource = c->sub && !span_is(c->sub->name, "scale") ? c->sub->name : SPAN(""),
		.object = object,
		.old = old,
		.now = write_now(c),
		.user_name = c->user.name,
		.user_uid = c->user.uid,
		.user_groups = c->user.groups,
		.n_user_groups = c->user.n_groups,
		.crd = &apiserver_custom_crd,
		.custom = &apiserver_custom_fns,
		.custom_arg = c,
	};
	struct json extra = json_object();
	for (unsigned i = 0; i < c->user.n_extra; i++) {
		struct json *values = json_set(&c->arena, &extra, c->user.extra[i].key, json_array());
		for (unsigned k = 0; k < c->user.extra[i].n_values; k++)
			(void)json_push(&c->arena, values, json_str(c->user.extra[i].values[k]));
	}
	if (c->user.n_extra)
		s.user_extra = &extra;
	if (!old) {
		static const struct span cleared[] = { SPAN_INIT("resourceVersion"), SPAN_INIT("selfLink"),
						       SPAN_INIT("deletionTimestamp"),
						       SPAN_INIT("deletionGracePeriodSeconds") };
		for (size_t i = 0; i < ARRAY_LEN(cleared); i++)
			(void)json_remove(meta, cleared[i]);
		new_uid(c, meta);
		(void)json_set(&c->arena, meta, SPAN("creationTimestamp"), json_str(s.now));
	} else {
		/* The server's own fields come from what is stored. */
		static const struct span kept[] = {
			SPAN_INIT("uid"),      SPAN_INIT("creationTimestamp"), SPAN_INIT("generateName"),
			SPAN_INIT("selfLink"), SPAN_INIT("deletionTimestamp"), SPAN_INIT("deletionGracePeriodSeconds")
		};
		const struct json *was = json_getl(old, "metadata");
		for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
			const struct json *v = json_get(was, kept[i]);
			if (v)
				(void)json_set(&c->arena, meta, kept[i], *v);
			else
				(void)json_remove(meta, kept[i]);
		}
	}
	also_reset(c);
	strategy_default(&c->arena, c->res, object);
	/* Who set what is what the client sent, with its defaults: what admission and the strategy add has no manager. */
	if (!tracked) {
		struct api_ssa ssa = write_ssa(c);
		api_ssa_update(&c->arena, &ssa, old, object, manager_of(c));
	}
	struct admission *req = admit_begin(c, old ? ADMISSION_UPDATE : ADMISSION_CREATE, object, old);
	int rc = admit_mutate(c, req);
	if (rc < 0)
		return rc;
	rc = guard_rbac(c, object, old);
	if (rc < 0)
		return rc;
	strategy_default(&c->arena, c->res, object);
	strategy_prepare(&s);
	rc = service_allocate(c, object, old);
	if (rc < 0)
		return rc;
	rc = strategy_validate(&s, &c->err);
	for (unsigned i = 0; i < s.n_warnings; i++)
		call_warn(c, s.warnings[i]);
	if (rc == 0)
		rc = admit_validate(c, req);
	if (rc < 0)
		return rc;
	auto_buf struct buf out = {};
	object_encode(&out, c->res, object, &c->arena);
	if (out.len > STORE_VALUE_MAX)
		return err_set(&c->err, ERR_TOO_LARGE, "the object is too large to be stored: %zu bytes", out.len);
	bytes_unref(c->value);
	c->value = buf_seal(&out);
	return 0;
}

/* ---- create */

static void create_try(struct call *c)
{
	auto_buf struct buf key = {};
	struct json *meta = json_getl(&c->object, "metadata");
	struct span base = json_span(json_getl(meta, "generateName"));
	bool generated = base.len && (c->tries || !json_span(json_getl(meta, "name")).len);
	if (generated)
		(void)json_set(&c->arena, meta, SPAN("name"), json_str(generated_name(c, base)));
	c->route.name = json_span(json_getl(meta, "name"));
	c->snap = store_snapshot(c->server->store);
	object_key(&key, c->res, c->route.ns, c->route.name);
	struct json object = json_copy(&c->arena, &c->object);
	/* Validation before existence, as upstream: an invalid object is 422 even when its name is taken. */
	if (write_finish(c, &object, NULL, false) < 0) {
		call_fail(c);
		return;
	}
	if (store_get(c->snap, buf_span(&key))) {
		if (generated && c->tries++ < NAMES_MAX) {
			store_snapshot_unref(c->snap);
			c->snap = NULL;
			create_try(c);
			return;
		}
		err_set(&c->err, ERR_EXISTS, "%.*s%s%.*s \"%.*s\" already exists", SPAN_ARG(c->res->plural),
			c->res->group.len ? "." : "", SPAN_ARG(c->res->group), SPAN_ARG(c->route.name));
		call_fail(c);
		return;
	}
	if (c->dry_run)
		write_answer(c, store_snapshot_rev(c->snap));
	else
		write_put(c, buf_span(&key), 0);
}

static void create_begin(struct call *c)
{
	if (c->route.name.len && !c->sub) {
		err_set(&c->err, ERR_METHOD_NOT_ALLOWED,
			"the server does not allow this method on the requested resource");
		call_fail(c);
		return;
	}
	if (write_decode(c, c->res->type, c->res->kind, &c->object) < 0 || write_kind_agree(c, &c->object) < 0 ||
	    write_namespace_agree(c, &c->object) < 0) {
		call_fail(c);
		return;
	}
	if (meta_span(&c->object, "resourceVersion").len) {
		err_set(&c->err, ERR_INVALID_REQUEST, "resourceVersion should not be set on objects to be created");
		call_fail(c);
		return;
	}
	c->success_code = 201;
	c->written = write_answer;
	c->again = create_try;
	create_try(c);
}

/* ---- update and patch: what there is now */

int write_conflict(struct call *c)
{
	return err_set(
		&c->err, ERR_STALE,
		"Operation cannot be fulfilled on %.*s%s%.*s \"%.*s\": the object has been modified; please apply "
		"your changes to the latest version and try again",
		SPAN_ARG(c->res->plural), c->res->group.len ? "." : "", SPAN_ARG(c->res->group),
		SPAN_ARG(c->route.name));
}

const struct store_item *write_current(struct call *c, struct buf *key, struct json *out)
{
	buf_trunc(key, 0);
	object_key(key, c->res, c->route.ns, c->route.name);
	c->snap = store_snapshot(c->server->store);
	const struct store_item *it = store_get(c->snap, buf_span(key));
	if (it && object_read(&c->arena, c->res, bytes_span(it->value), it->rev, out, &c->err) < 0)
		return NULL;
	return it;
}

/* The last finalizer of an object that is being deleted has gone: so does the object. */
static bool is_finished(const struct json *object)
{
	const struct json *meta = json_getl(object, "metadata"), *finalizers = json_getl(meta, "finalizers");
	const struct json *own = json_path(object, "spec", "finalizers", (char *)NULL);
	bool namespace = span_is(json_span(json_getl(object, "kind")), "Namespace");
	if (!json_getl(meta, "deletionTimestamp") || (finalizers && finalizers->n) || (namespace && own && own->n))
		return false;
	const struct json *grace = json_getl(meta, "deletionGracePeriodSeconds");
	return !grace || json_i64(grace, 0) == 0;
}

void write_change(struct call *c, struct span key, const struct store_item *it, const struct json *object)
{
	if (span_eq(bytes_span(c->value), bytes_span(it->value))) {
		write_answer(c, it->rev); /* nothing changed: nothing is written, no watcher wakes */
		return;
	}
	if (c->dry_run) {
		write_answer(c, it->rev);
		return;
	}
	if (is_finished(object)) {
		struct json was;
		also_reset(c); /* what the update would have claimed */
		if (object_read(&c->arena, c->res, bytes_span(it->value), it->rev, &was, &c->err) < 0) {
			call_fail(c);
			return;
		}
		service_release(c, &was);
		struct store_txn *t = store_txn_new();
		store_txn_if(t, key, STORE_REV, STORE_EQUAL, it->rev);
		store_txn_delete(t, STORE_THEN, key);
		also_add(c, t);
		write_commit(c, t);
		return;
	}
	put(c, key, it->rev, it);
}

void write_fresh(struct call *c, struct span key, struct json *object, bool tracked)
{
	if (write_finish(c, object, NULL, tracked) < 0)
		call_fail(c);
	else if (c->dry_run)
		write_answer(c, store_snapshot_rev(c->snap));
	else
		write_put(c, key, 0);
}

static void update_try(struct call *c)
{
	auto_buf struct buf key = {};
	struct json old;
	const struct store_item *it = write_current(c, &key, &old);
	struct span uid = meta_span(&c->object, "uid"), rv = meta_span(&c->object, "resourceVersion");
	if (c->err.class != ERR_NONE) {
		call_fail(c);
		return;
	}
	if (!it) {
		if (c->sub || !(strategy_flags(c->res) & STRATEGY_CREATE_ON_UPDATE)) {
			not_found(c);
			call_fail(c);
			return;
		}
		c->success_code = 201;
		struct json fresh = json_copy(&c->arena, &c->object);
		write_fresh(c, buf_span(&key), &fresh, false);
		return;
	}
	int64_t wanted = 0;
	if (uid.len && !span_eq(uid, meta_span(&old, "uid")))
		err_set(&c->err, ERR_STALE,
			"Operation cannot be fulfilled on %.*s%s%.*s \"%.*s\": StorageError: invalid object, Code: 4, "
			"Key: "
			"%s, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: %.*s, "
			"UID "
			"in object meta: %.*s",
			SPAN_ARG(c->res->plural), c->res->group.len ? "." : "", SPAN_ARG(c->res->group),
			SPAN_ARG(c->route.name), buf_cstr(&key), SPAN_ARG(uid), SPAN_ARG(meta_span(&old, "uid")));
	else if (rv.len && !span_is(rv, "0") && (!span_to_i64(rv, &wanted) || wanted < 0))
		err_set(&c->err, ERR_INVALID,
			"%.*s \"%.*s\" is invalid: metadata.resourceVersion: Invalid value: \"%.*s\": "
			"strconv.ParseUint: "
			"parsing \"%.*s\": invalid syntax",
			SPAN_ARG(c->res->kind), SPAN_ARG(c->route.name), SPAN_ARG(rv), SPAN_ARG(rv));
	else if (wanted && wanted != it->rev)
		write_conflict(c);
	else if (!wanted && !(strategy_flags(c->res) & STRATEGY_UNCONDITIONAL_UPDATE))
		err_set(&c->err, ERR_INVALID,
			"%.*s%s%.*s \"%.*s\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified "
			"for "
			"an update",
			SPAN_ARG(c->res->plural), c->res->group.len ? "." : "", SPAN_ARG(c->res->group),
			SPAN_ARG(c->route.name));
	struct json object = json_copy(&c->arena, &c->object);
	if (!wanted && c->err.class == ERR_NONE) /* unconditional: it means what is there, for validation too */
		(void)json_set(&c->arena, json_getl(&object, "metadata"), SPAN("resourceVersion"),
			       json_str(arena_printf(&c->arena, "%lld", (long long)it->rev)));
	if (c->err.class != ERR_NONE || write_finish(c, &object, &old, false) < 0)
		call_fail(c);
	else
		write_change(c, buf_span(&key), it, &object);
}

void write_again(struct call *c, void (*try)(struct call *c))
{
	if (++c->tries >= TRIES_MAX) {
		write_conflict(c);
		call_fail(c);
		return;
	}
	try(c);
}

static void update_again(struct call *c)
{
	/* A version that the client named is compared anew: what was lost may have been a counter, not the object. */
	write_again(c, update_try);
}

static void update_begin(struct call *c)
{
	if (write_decode(c, c->res->type, c->res->kind, &c->object) < 0 || write_kind_agree(c, &c->object) < 0 ||
	    write_namespace_agree(c, &c->object) < 0) {
		call_fail(c);
		return;
	}
	struct span name = meta_span(&c->object, "name");
	if (!name.len)
		(void)json_set(&c->arena, json_getl(&c->object, "metadata"), SPAN("name"), json_str(c->route.name));
	else if (!span_eq(name, c->route.name)) {
		err_set(&c->err, ERR_INVALID_REQUEST,
			"the name of the object (%.*s) does not match the name on the URL (%.*s)", SPAN_ARG(name),
			SPAN_ARG(c->route.name));
		call_fail(c);
		return;
	}
	c->success_code = 200;
	c->written = write_answer;
	c->again = update_again;
	update_try(c);
}

/* ---- */

static void on_body(struct http_req *r, int rc, struct span body, void *arg)
{
	struct call *c = arg;
	if (rc < 0) {
		err_set(&c->err, ERR_TOO_LARGE, "the request body is too large: limit is %d", BODY_MAX);
		call_fail(c);
		return;
	}
	c->body = body;
	audit_request(c, body);
	struct span dry = call_param(c, "dryRun");
	if (dry.len && !span_is(dry, "All")) {
		err_set(&c->err, ERR_INVALID,
			"CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"%.*s\": supported "
			"values: "
			"\"All\"",
			SPAN_ARG(dry));
		call_fail(c);
		return;
	}
	c->dry_run = dry.len > 0;
	if (c->is_virtual) {
		virtual_create(c);
		return;
	}
	switch (c->route.verb) {
	case ROUTE_CREATE: create_begin(c); break;
	case ROUTE_UPDATE: update_begin(c); break;
	case ROUTE_PATCH: patch_begin(c); break;
	case ROUTE_DELETE: delete_begin(c); break;
	default: delete_collection_begin(c); break;
	}
}

void write_begin(struct call *c)
{
	http_req_body_whole(c->http, BODY_MAX, on_body, c);
}
