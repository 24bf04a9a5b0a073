/* Namespace and ServiceAccount. */
#include "strategy/check.h"

#define NAME_LABEL SPAN("kubernetes.io/metadata.name")

static void set_name_label(struct arena *a, struct json *object)
{
	struct json *meta = member(object, "metadata");
	struct span name = member_text(meta, "name");
	if (name.len)
		json_set(a, default_object(a, meta, "labels"), NAME_LABEL, json_str(name));
}

static void default_namespace(struct arena *a, struct json *object)
{
	set_name_label(a, object);
	default_string(a, default_object(a, object, "status"), "phase", "Active");
}

static void prepare_namespace(struct strategy *s)
{
	if (s->old) {
		strategy_keep_in(s, "spec", "finalizers");
		strategy_keep(s, "status");
		return;
	}
	struct json *status = json_setl(s->arena, s->object, "status", json_object());
	json_setl(s->arena, status, "phase", json_str(SPAN("Active")));
	struct json *spec = default_object(s->arena, s->object, "spec");
	struct json *list = member(spec, "finalizers");
	if (!json_is(list, JSON_ARRAY))
		list = json_setl(s->arena, spec, "finalizers", json_array());
	if (!check_list_has(list, SPAN("kubernetes")))
		json_push(s->arena, list, json_str(SPAN("kubernetes")));
	set_name_label(s->arena, s->object); /* a generated name was not known to defaulting */
}

static void check_finalizer(struct check *c, const struct path *at, struct span name)
{
	check_name(c, at, name, api_name_qualified);
	if (span_chr(name, '/') < 0 && !check_one_of(name, "kubernetes orphan foregroundDeletion"))
		bad_string(c, at, name, "name is neither a standard finalizer name nor is it fully qualified");
}

static void check_namespace(struct check *c, const struct json *object, const struct json *old)
{
	check_meta(c, object, META_CORE, api_name_dns1123_label);
	const struct path list = PATH(&PATH(PATH_ROOT, "spec"), "finalizers");
	JSON_EACH_ITEM(json_path(object, "spec", "finalizers", NULL), f)
		check_finalizer(c, &list, json_span(f));
	if (old)
		check_meta_update(c, object, old, META_CORE);
}

static void check_namespace_status(struct check *c, const struct json *object, const struct json *old)
{
	check_meta_update(c, object, old, META_CORE);
	const struct path phase = PATH(&PATH(PATH_ROOT, "status"), "Phase");
	struct span now = json_span(json_path(object, "status", "phase", NULL));
	bool leaving = json_path(object, "metadata", "deletionTimestamp", NULL);
	if (!leaving && !span_is(now, "Active"))
		bad_string(c, &phase, now, "may only be 'Active' if `deletionTimestamp` is empty");
	if (leaving && !span_is(now, "Terminating"))
		bad_string(c, &phase, now, "may only be 'Terminating' if `deletionTimestamp` is not empty");
}

static void prepare_finalize(struct strategy *s)
{
	strategy_keep(s, "status");
}

static void check_finalize(struct check *c, const struct json *object, const struct json *old)
{
	check_meta_update(c, object, old, META_CORE);
	const struct path list = PATH(&PATH(PATH_ROOT, "spec"), "finalizers");
	JSON_EACH_INDEX(json_path(object, "spec", "finalizers", NULL), f, i)
		check_finalizer(c, &PATH_INDEX(&list, i), json_span(f));
}

const struct strategy_kind strategy_kind_namespace = {
	.group = "", .kind = "Namespace", .flags = STRATEGY_UNCONDITIONAL_UPDATE, .defaults = default_namespace,
	.prepare = prepare_namespace, .check = check_namespace,
	.subs = { { "status", prepare_status_only, check_namespace_status }, { "finalize", prepare_finalize, check_finalize } },
};

/* ---- ServiceAccount */
/* Of the references to secrets only the names are kept. */
static void prepare_service_account(struct strategy *s)
{
	struct json *secrets = member(s->object, "secrets");
	JSON_EACH_ITEM(secrets, ref) {
		struct span name = member_text(ref, "name");
		*ref = json_object();
		if (name.len)
			json_setl(s->arena, ref, "name", json_str(name));
	}
}

static void check_service_account(struct check *c, const struct json *object, const struct json *old)
{
	if (old)
		check_meta_update(c, object, old, META_CORE);
	check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
}

static void warn_service_account(struct check *c, const struct json *object, const struct json *old)
{
	struct span key = SPAN("kubernetes.io/enforce-mountable-secrets");
	bool now = json_get(json_path(object, "metadata", "annotations", NULL), key);
	bool was = json_get(json_path(old, "metadata", "annotations", NULL), key);
	if (now && !was)
		strategy_warn(c->s, "metadata.annotations[%.*s]: deprecated in v1.32+; prefer separate namespaces to isolate "
				    "access to mounted secrets", SPAN_ARG(key));
}

const struct strategy_kind strategy_kind_service_account = {
	.group = "", .kind = "ServiceAccount", .flags = STRATEGY_UNCONDITIONAL_UPDATE,
	.prepare = prepare_service_account, .check = check_service_account, .warnings = warn_service_account,
};
