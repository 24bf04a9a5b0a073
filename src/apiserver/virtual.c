/* The review kinds answer with what was sent and a status; a TokenRequest with a signed token. */
#include "apiserver/virtual.h"
#include "apiserver/admit.h"

#include "apiserver/sub.h"
#include "apiserver/write.h"
#include "apiserver/custom.h"

#define EXPIRATION_LEAST_S 600
#define EXPIRATION_DEFAULT_S 3600

static void answer_tree(struct call *c, int code, const struct api_type *type, struct json *tree, struct span gv,
			struct span kind)
{
	auto_buf struct buf out = {};
	(void)json_set(&c->arena, tree, SPAN("kind"), json_str(kind));
	(void)json_set(&c->arena, tree, SPAN("apiVersion"), json_str(gv));
	int rc = 0;
	if (c->want.form == FORM_PROTO) {
		rc = api_encode_proto(&out, type, tree, &c->err);
	} else if (c->want.form == FORM_YAML) {
		api_encode_yaml(&out, type, tree);
	} else {
		api_encode_json(&out, type, tree, c->want.pretty ? JSON_PRETTY : 0);
		buf_chr(&out, '\n');
	}
	if (rc < 0)
		call_fail(c);
	else
		call_answer(c, code, accept_content_type(c->want.form, false), &out);
}

static void set(struct call *c, struct json *object, const char *key, struct json value)
{
	(void)json_set(&c->arena, object, span_of(key), value);
}

static struct json list_of(struct call *c, const struct span *items, unsigned n)
{
	struct json list = json_array();
	for (unsigned i = 0; i < n; i++)
		(void)json_push(&c->arena, &list, json_str(items[i]));
	return list;
}

/* ---- who */

static struct json user_info(struct call *c, const struct auth_user *u)
{
	struct json info = json_object();
	set(c, &info, "username", json_str(u->name));
	if (u->uid.len)
		set(c, &info, "uid", json_str(u->uid));
	if (u->n_groups)
		set(c, &info, "groups", list_of(c, u->groups, u->n_groups));
	if (u->n_extra) {
		struct json extra = json_object();
		for (unsigned i = 0; i < u->n_extra; i++)
			(void)json_set(&c->arena, &extra, u->extra[i].key,
				       list_of(c, u->extra[i].values, u->extra[i].n_values));
		set(c, &info, "extra", extra);
	}
	return info;
}

static void review_self(struct call *c, struct json *status)
{
	set(c, status, "userInfo", user_info(c, &c->user));
}

static void review_token(struct call *c, struct json *status)
{
	const struct json *spec = json_getl(&c->object, "spec"), *wanted = json_getl(spec, "audiences");
	struct span token = json_span(json_getl(spec, "token")), *want = NULL;
	unsigned n_want = 0;
	if (json_is(wanted, JSON_ARRAY)) {
		want = arena_alloc_n(&c->arena, wanted->n, sizeof(*want));
		JSON_EACH_ITEM(wanted, item)
			want[n_want++] = json_span(item);
	}
	struct auth_user user;
	const struct span *audiences = NULL;
	unsigned n_audiences = 0;
	auto_err struct err why = ERR_INIT;
	if (call_token_user(c, token, want, n_want, &user, &audiences, &n_audiences, &why) < 0) {
		set(c, status, "error", json_str(arena_printf(&c->arena, "[invalid bearer token, %s]", err_msg(&why))));
		return;
	}
	set(c, status, "authenticated", json_bool(true));
	set(c, status, "user", user_info(c, &user));
	if (n_audiences)
		set(c, status, "audiences", list_of(c, audiences, n_audiences));
}

/* ---- may they */

static struct span member(const struct json *object, const char *key)
{
	return json_span(json_get(object, span_of(key)));
}

static void review_access(struct call *c, struct json *status)
{
	const struct json *spec = json_getl(&c->object, "spec");
	const struct json *what = json_getl(spec, "resourceAttributes"),
			  *path = json_getl(spec, "nonResourceAttributes");
	struct auth_user other = {};
	struct auth_ask ask = { .user = &c->user, .is_resource = what != NULL };
	if (!span_is(c->res->plural, "selfsubjectaccessreviews")) {
		const struct json *groups = json_getl(spec, "groups");
		struct span *list = arena_alloc_n(&c->arena, groups ? groups->n : 0, sizeof(*list));
		other.name = member(spec, "user");
		other.uid = member(spec, "uid");
		JSON_EACH_ITEM(groups, g)
			list[other.n_groups++] = json_span(g);
		other.groups = list;
		ask.user = &other;
	}
	if (!what && !path) {
		err_set(&c->err, ERR_INVALID,
			"%.*s.authorization.k8s.io \"\" is invalid: spec.resourceAttributes: Invalid value: null: "
			"exactly one of "
			"nonResourceAttributes or resourceAttributes must be specified",
			SPAN_ARG(c->res->kind));
		return;
	}
	const struct json *from = what ? what : path;
	ask.verb = member(from, "verb");
	ask.path = member(from, "path");
	ask.group = member(from, "group");
	ask.version = member(from, "version");
	ask.resource = member(from, "resource");
	ask.subresource = member(from, "subresource");
	ask.ns = member(from, "namespace");
	ask.name = member(from, "name");
	struct span reason;
	enum auth_decision d = call_decide(c, &ask, &reason);
	set(c, status, "allowed", json_bool(d == AUTH_ALLOW));
	if (d == AUTH_DENY)
		set(c, status, "denied", json_bool(true));
	if (reason.len)
		set(c, status, "reason", json_str(reason));
}

static void review_rules(struct call *c, struct json *status)
{
	const struct auth_rule *rules;
	unsigned n;
	struct span missing;
	auth_rbac_rules_of(c->server->rbac, &c->user, member(json_getl(&c->object, "spec"), "namespace"), &c->arena,
			   &rules, &n, &missing);
	struct json resources = json_array(), paths = json_array();
	for (unsigned i = 0; i < n; i++) {
		struct json rule = json_object();
		set(c, &rule, "verbs", list_of(c, rules[i].verbs, rules[i].n_verbs));
		if (rules[i].n_urls) {
			set(c, &rule, "nonResourceURLs", list_of(c, rules[i].urls, rules[i].n_urls));
			(void)json_push(&c->arena, &paths, rule);
			continue;
		}
		set(c, &rule, "apiGroups", list_of(c, rules[i].groups, rules[i].n_groups));
		set(c, &rule, "resources", list_of(c, rules[i].resources, rules[i].n_resources));
		if (rules[i].n_names)
			set(c, &rule, "resourceNames", list_of(c, rules[i].names, rules[i].n_names));
		(void)json_push(&c->arena, &resources, rule);
	}
	set(c, status, "resourceRules", resources);
	set(c, status, "nonResourceRules", paths);
	set(c, status, "incomplete", json_bool(missing.len > 0));
	if (missing.len)
		set(c, status, "evaluationError", json_str(missing));
}

/* ---- tokens */

static int missing(struct call *c, const char *plural, struct span name)
{
	c->about = arena_new(&c->arena, struct status_details);
	*c->about = (struct status_details){ .name = name, .kind = span_of(plural) };
	return err_set(&c->err, ERR_NOT_FOUND, "%s \"%.*s\" not found", plural, SPAN_ARG(name));
}

static int bound_object(struct call *c, const struct json *ref, struct auth_bound *out)
{
	static const struct {
		const char *kind, *plural;
	} kinds[] = { { "Pod", "pods" }, { "Secret", "secrets" }, { "Node", "nodes" } };
	struct span kind = member(ref, "kind"), name = member(ref, "name"), uid = member(ref, "uid"), found;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!span_is(kind, kinds[i].kind))
			continue;
		int64_t deletion_s;
		struct span ns = span_is(kind, "Node") ? SPAN("") : c->route.ns;
		if (!lookup_uid(c->server, span_of(kinds[i].plural), ns, name, &c->arena, &found, &deletion_s))
			return missing(c, kinds[i].plural, name);
		if (uid.len && !span_eq(uid, found))
			return err_set(
				&c->err, ERR_STALE,
				"Operation cannot be fulfilled on %s \"%.*s\": the UID in the bound object reference "
				"(%.*s) does "
				"not match the UID in record. The object might have been deleted and then recreated",
				kinds[i].plural, SPAN_ARG(name), SPAN_ARG(uid));
		*out = (struct auth_bound){ .kind = kind, .name = name, .uid = found };
		return 0;
	}
	return err_set(&c->err, ERR_INVALID_REQUEST,
		       "cannot bind token for serviceaccount \"%.*s\" to type with kind \"%.*s\"",
		       SPAN_ARG(c->route.name), SPAN_ARG(kind));
}

static int token_invalid(struct call *c, const char *field, struct span value, const char *why)
{
	err_cause_add(&c->err, span_of(field), "FieldValueInvalid",
		      arena_printf(&c->arena, "Invalid value: %.*s: %s", SPAN_ARG(value), why));
	static struct status_details about = { .group = SPAN_INIT("authentication.k8s.io"), .kind = SPAN_INIT("TokenRequest") };
	c->about = &about;
	return err_set(&c->err, ERR_INVALID, "TokenRequest.authentication.k8s.io \"\" is invalid: %s: Invalid value: %.*s: %s", field,
		       SPAN_ARG(value), why);
}

/* Both fields are the path's; absent ones get its values. */
static int token_names(struct call *c)
{
	struct json *meta = json_getl(&c->object, "metadata");
	const struct {
		const char *key, *field, *why;
		struct span want;
	} rows[] = {
		{ "name", "metadata.name", "must match the service account name if specified", c->route.name },
		{ "namespace", "metadata.namespace", "must match the service account namespace if specified", c->route.ns },
	};
	if (!json_is(meta, JSON_OBJECT))
		meta = json_set(&c->arena, &c->object, SPAN("metadata"), json_object());
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span is = member(meta, rows[i].key);
		if (is.len && !span_eq(is, rows[i].want))
			return token_invalid(c, rows[i].field, arena_printf(&c->arena, "\"%.*s\"", SPAN_ARG(is)), rows[i].why);
		set(c, meta, rows[i].key, json_str(rows[i].want));
	}
	set(c, meta, "creationTimestamp", json_str(write_now(c)));
	return 0;
}

static int token_check(struct call *c, int64_t asked_s)
{
	struct span seconds = arena_printf(&c->arena, "%lld", (long long)asked_s);
	if (asked_s < EXPIRATION_LEAST_S)
		return token_invalid(c, "spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes");
	if (asked_s > INT64_C(1) << 32)
		return token_invalid(c, "spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds");
	return 0;
}

/* Upstream's order: admission's first pass, the account, names, limits, admission's second, the object that it is bound to. */
static void token_request(struct call *c)
{
	struct json *spec = json_getl(&c->object, "spec"), *auds = json_getl(spec, "audiences");
	const struct json *seconds = json_getl(spec, "expirationSeconds"), *ref = json_getl(spec, "boundObjectRef");
	struct span sa_uid, *audiences = NULL;
	unsigned n = 0;
	int64_t deletion_s, expires_s, asked_s = json_i64(seconds, EXPIRATION_DEFAULT_S);
	struct auth_bound bound = {};
	struct admission *req = admit_begin(c, ADMISSION_CREATE, &c->object, NULL);
	int rc = admit_mutate(c, req);
	if (rc == 0 && !lookup_uid(c->server, SPAN("serviceaccounts"), c->route.ns, c->route.name, &c->arena, &sa_uid, &deletion_s))
		rc = not_found(c);
	if (rc == 0)
		rc = token_names(c);
	if (rc == 0)
		rc = token_check(c, asked_s);
	if (rc == 0)
		rc = admit_check(c, req);
	if (rc == 0 && ref)
		rc = bound_object(c, ref, &bound);
	if (rc < 0) {
		call_fail(c);
		return;
	}
	spec = json_getl(&c->object, "spec"); /* a new member moves the others */
	auds = json_getl(spec, "audiences");
	if (json_is(auds, JSON_ARRAY)) {
		audiences = arena_alloc_n(&c->arena, auds->n, sizeof(*audiences));
		JSON_EACH_ITEM(auds, item)
			audiences[n++] = json_span(item);
	}
	uint8_t jti[16];
	auto_buf struct buf token = {};
	rng_secret(jti, sizeof(jti));
	int64_t now_s = clock_wall_ns(c->server->clock) / NS_PER_S;
	const struct auth_issuer *i = issuer_now(c->server);
	if (auth_token_issue(i, c->route.ns, c->route.name, sa_uid, ref ? &bound : NULL, audiences, n,
			     asked_s, now_s, jti, &token, &expires_s, &c->err) < 0) {
		call_fail(c);
		return;
	}
	char when[40];
	size_t len = time_format(when, expires_s, 0, 0);
	struct json status = json_object();
	set(c, &status, "token", json_str(arena_span(&c->arena, buf_span(&token))));
	set(c, &status, "expirationTimestamp", json_str(arena_span(&c->arena, span_make(when, len))));
	if (!n)
		set(c, spec, "audiences", i->n_audiences ? list_of(c, i->audiences, i->n_audiences) : list_of(c, &i->issuer, 1));
	set(c, spec, "expirationSeconds", json_int(asked_s));
	set(c, &c->object, "status", status);
	answer_tree(c, 201, c->sub->type, &c->object, SPAN("authentication.k8s.io/v1"), SPAN("TokenRequest"));
}

/* ---- */

static const struct virtual_row {
	const char *group, *plural;
	void (*review)(struct call *c, struct json *status);
} rows[] = {
	{ "authentication.k8s.io", "selfsubjectreviews", review_self },
	{ "authentication.k8s.io", "tokenreviews", review_token },
	{ "authorization.k8s.io", "selfsubjectaccessreviews", review_access },
	{ "authorization.k8s.io", "subjectaccessreviews", review_access },
	{ "authorization.k8s.io", "localsubjectaccessreviews", review_access },
	{ "authorization.k8s.io", "selfsubjectrulesreviews", review_rules },
};

static const struct virtual_row *row_of(const struct call *c)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (!c->sub && span_is(c->res->group, rows[i].group) && span_is(c->res->plural, rows[i].plural))
			return &rows[i];
	return NULL;
}

static bool is_token(const struct call *c)
{
	return c->sub && span_is(c->sub->name, "token") && span_is(c->res->plural, "serviceaccounts");
}

static bool is_scale(const struct call *c)
{
	return c->sub && span_is(c->sub->name, "scale");
}

bool virtual_begin(struct call *c)
{
	if (is_scale(c) && c->route.verb == ROUTE_GET) {
		scale_get(c);
		return true;
	}
	if (sub_begin(c))
		return true;
	if (!row_of(c) && !is_token(c) && !is_scale(c))
		return false;
	c->is_virtual = true;
	write_begin(c);
	return true;
}

void virtual_create(struct call *c)
{
	if (sub_body(c))
		return;
	if (is_scale(c)) {
		scale_write(c);
		return;
	}
	const struct virtual_row *row = row_of(c);
	const struct api_type *type = row ? c->res->type : c->sub->type;
	if (write_decode(c, type, row ? c->res->kind : c->sub->kind, &c->object) < 0) {
		call_fail(c);
		return;
	}
	if (!json_is(json_getl(&c->object, "spec"), JSON_OBJECT))
		set(c, &c->object, "spec", json_object());
	if (!row) {
		token_request(c);
		return;
	}
	struct json status = json_object();
	row->review(c, &status);
	if (c->err.class != ERR_NONE) {
		call_fail(c);
		return;
	}
	set(c, &c->object, "status", status);
	answer_tree(c, 201, type, &c->object, call_group_version(c, c->res), c->res->kind);
}

/* ---- scale */

/* Scale of an object that has spec.replicas, status.replicas and a selector. */
static struct json scale_of(struct call *c, const struct json *object)
{
	static const char *const kept[] = { "name", "namespace", "uid", "resourceVersion", "creationTimestamp" };
	const struct json *meta = json_getl(object, "metadata"),
			  *selector = json_path(object, "spec", "selector", (char *)NULL);
	struct json scale = json_object(), m = json_object(), spec = json_object(), status = json_object();
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		if (json_get(meta, span_of(kept[i])))
			set(c, &m, kept[i], *json_get(meta, span_of(kept[i])));
	set(c, &spec, "replicas", json_int(json_i64(json_path(object, "spec", "replicas", (char *)NULL), 0)));
	set(c, &status, "replicas", json_int(json_i64(json_path(object, "status", "replicas", (char *)NULL), 0)));
	struct custom_view view;
	if (apiserver_custom_view(c, object, &view)) {
		set(c, &spec, "replicas", json_int(view.replicas));
		set(c, &status, "replicas", json_int(view.status_replicas));
		if (view.selector.len)
			set(c, &status, "selector", json_str(view.selector));
		set(c, &scale, "metadata", m);
		set(c, &scale, "spec", spec);
		set(c, &scale, "status", status);
		return scale;
	}
	struct api_label_selector sel;
	auto_buf struct buf text = {};
	bool map = span_is(c->res->storage_kind, "ReplicationController");
	if (map)
		api_label_selector_of_map(&c->arena, selector, &sel);
	if (map || api_label_selector_of(&c->arena, selector, &sel, NULL) == 0)
		api_label_selector_print(&sel, &text);
	set(c, &status, "selector", json_str(arena_span(&c->arena, buf_span(&text))));
	set(c, &scale, "metadata", m);
	set(c, &scale, "spec", spec);
	set(c, &scale, "status", status);
	return scale;
}

static void answer_scale(struct call *c, const struct json *object)
{
	struct json scale = scale_of(c, object);
	answer_tree(c, 200, c->sub->type, &scale, SPAN("autoscaling/v1"), SPAN("Scale"));
}

void scale_get(struct call *c)
{
	auto_buf struct buf key = {};
	struct json object;
	if (!write_current(c, &key, &object)) {
		if (c->err.class == ERR_NONE)
			not_found(c);
		call_fail(c);
		return;
	}
	struct custom_view view;
	struct custom_scale paths;
	if (custom_scale_of(c->res, &paths) && apiserver_custom_view(c, &object, &view) && !view.has_replicas) {
		auto_buf struct buf quoted = {};
		api_go_quote(&quoted, paths.spec_replicas);
		err_set(&c->err, ERR_INTERNAL, "the spec replicas field %s does not exist", buf_cstr(&quoted));
		call_fail(c);
		return;
	}
	answer_scale(c, &object);
}

static void scale_written(struct call *c, int64_t rev)
{
	struct json object;
	if (object_read(&c->arena, c->res, bytes_span(c->value), rev, &object, &c->err) < 0)
		call_fail(c);
	else
		answer_scale(c, &object);
}

/* The patch, which is a Scale, becomes one of the object: its managers are where the fields are. */
static int scale_apply(struct call *c, const struct json *old, struct json *out_object, struct json *out_scale)
{
	struct json patch, own = json_object(), meta = json_object(), checked;
	struct span manager;
	int rc = patch_apply_read(c, &patch, &manager);
	if (rc < 0)
		return rc;
	struct api_ssa ssa = write_ssa(c), as_scale = { .type = c->sub->type,
							 .api_version = c->sub->group_version,
							 .kind = c->sub->kind,
							 .subresource = c->sub->name,
							 .now_unix_s = ssa.now_unix_s };
	rc = api_ssa_apply(&c->arena, &as_scale, NULL, &patch, manager, false, &checked, &c->err);
	c->bare = rc < 0;
	if (rc < 0)
		return rc;
	const struct json *replicas = json_path(&patch, "spec", "replicas", (char *)NULL);
	set(c, &own, "apiVersion", json_str(ssa.api_version));
	set(c, &own, "kind", json_str(ssa.kind));
	set(c, &meta, "name", json_str(c->route.name));
	set(c, &own, "metadata", meta);
	if (replicas && !apiserver_custom_replicas(c, &own, json_i64(replicas, 0))) {
		struct json spec = json_object();
		set(c, &spec, "replicas", *replicas);
		set(c, &own, "spec", spec);
	}
	rc = api_ssa_apply(&c->arena, &ssa, old, &own, manager, call_param_true(c, "force"), out_object, &c->err);
	if (rc == 0)
		rc = api_decode_tree(&c->arena, c->res->type, out_object, NULL, &c->err);
	if (rc < 0)
		return rc;
	*out_scale = scale_of(c, out_object);
	const struct json *rv = json_path(&patch, "metadata", "resourceVersion", (char *)NULL);
	if (rv)
		set(c, json_getl(out_scale, "metadata"), "resourceVersion", *rv);
	return 0;
}

static void scale_try(struct call *c)
{
	auto_buf struct buf key = {};
	struct json old, scale, object;
	bool apply = patch_is_apply(c);
	const struct store_item *it = write_current(c, &key, &old);
	if (!it) {
		if (c->err.class == ERR_NONE)
			not_found(c);
		call_fail(c);
		return;
	}
	struct json was = scale_of(c, &old);
	int rc = apply				      ? scale_apply(c, &old, &object, &scale)
		 : c->route.verb == ROUTE_PATCH ? patch_tree(c, c->sub->type, &was, &scale)
						: write_decode(c, c->sub->type, SPAN("Scale"), &scale);
	if (rc < 0) {
		call_fail(c);
		return;
	}
	struct span rv = json_span(json_path(&scale, "metadata", "resourceVersion", (char *)NULL));
	int64_t wanted, replicas = json_i64(json_path(&scale, "spec", "replicas", (char *)NULL), 0);
	if (rv.len && (!span_to_i64(rv, &wanted) || wanted != it->rev))
		write_conflict(c);
	else if (replicas < 0)
		err_set(&c->err, ERR_INVALID,
			"Scale.autoscaling \"%.*s\" is invalid: spec.replicas: Invalid value: %lld: must be greater "
			"than or equal to 0",
			SPAN_ARG(c->route.name), (long long)replicas);
	if (!apply)
		object = json_copy(&c->arena, &old);
	if (!apiserver_custom_replicas(c, &object, replicas)) {
		struct json *spec = json_getl(&object, "spec");
		if (!spec)
			spec = json_set(&c->arena, &object, SPAN("spec"), json_object());
		set(c, spec, "replicas", json_int(replicas));
	}
	if (c->err.class != ERR_NONE || write_finish(c, &object, &old, apply) < 0)
		call_fail(c);
	else if (c->dry_run || span_eq(bytes_span(c->value), bytes_span(it->value)))
		scale_written(c, it->rev);
	else
		write_put(c, buf_span(&key), it->rev);
}

static void scale_again(struct call *c)
{
	if (++c->tries >= 5) {
		write_conflict(c);
		call_fail(c);
		return;
	}
	scale_try(c);
}

void scale_write(struct call *c)
{
	c->written = scale_written;
	c->again = scale_again;
	scale_try(c);
}
