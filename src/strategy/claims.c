/* PersistentVolumeClaim. */
#include "strategy/check.h"

#define ACCESS_MODES "ReadOnlyMany ReadWriteMany ReadWriteOnce ReadWriteOncePod"
#define BETA_CLASS SPAN("volume.beta.kubernetes.io/storage-class")

void default_claim_spec(struct arena *a, struct json *spec)
{
	default_unset(a, spec, "volumeMode", "Filesystem");
	default_resources(a, member(spec, "resources"));
}

static void default_claim(struct arena *a, struct json *object)
{
	default_claim_spec(a, default_object(a, object, "spec"));
	struct json *status = default_object(a, object, "status");
	default_string(a, status, "phase", "Pending");
	default_resource_list(a, member(status, "capacity"));
	default_resource_list(a, member(status, "allocatedResources"));
}

/* ---- prepare */
/* Fields of features that are off in 1.33 (VolumeAttributesClass, CrossNamespaceVolumeDataSource) stay where they were stored. */
static void drop_disabled(struct json *spec, const struct json *old_spec)
{
	if (!json_is(spec, JSON_OBJECT))
		return;
	if (!member(old_spec, "volumeAttributesClassName"))
		json_remove(spec, SPAN("volumeAttributesClassName"));
	if (member_text(member(spec, "dataSourceRef"), "namespace").len && !member(old_spec, "dataSourceRef"))
		json_remove(spec, SPAN("dataSourceRef"));
}

/* Without dataSourceRef only claims and snapshots are sources; all else is dropped without a word, as it always was. */
static void drop_strange_source(struct json *spec, const struct json *old_spec)
{
	const struct json *source = member(spec, "dataSource");
	if (member(old_spec, "dataSource") || member(old_spec, "dataSourceRef") || member(spec, "dataSourceRef") || !source)
		return;
	struct span kind = member_text(source, "kind"), group = member_text(source, "apiGroup");
	if (!(span_is(kind, "PersistentVolumeClaim") && !group.len) &&
	    !(span_is(kind, "VolumeSnapshot") && span_is(group, "snapshot.storage.k8s.io")))
		json_remove(spec, SPAN("dataSource"));
}

/* dataSource and dataSourceRef say the same; one is made from the other. */
static void copy_source(struct arena *a, struct json *spec, const char *from, const char *to)
{
	static const char *const names[] = { "apiGroup", "kind", "name" };
	struct json *source = json_get(spec, span_of(from)), made = json_object();
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct json *v = json_get(source, span_of(names[i]));
		if (v)
			json_set(a, &made, span_of(names[i]), json_copy(a, v));
	}
	json_set(a, spec, span_of(to), made);
}

static void sync_sources(struct arena *a, struct json *spec)
{
	const struct json *source = member(spec, "dataSource"), *ref = member(spec, "dataSourceRef");
	if (source && !ref)
		copy_source(a, spec, "dataSource", "dataSourceRef");
	else if (ref && !source && !member_text(ref, "namespace").len)
		copy_source(a, spec, "dataSourceRef", "dataSource");
}

static void prepare_claim(struct strategy *s)
{
	const struct json *old_spec = member(s->old, "spec");
	if (s->old) {
		strategy_keep(s, "status");
	} else {
		struct json *status = json_setl(s->arena, s->object, "status", json_object());
		json_setl(s->arena, status, "phase", json_str(SPAN("Pending")));
	}
	struct json *spec = default_object(s->arena, s->object, "spec"); /* after: a new member moves the others */
	drop_disabled(spec, old_spec);
	drop_strange_source(spec, old_spec);
	if (!s->old)
		sync_sources(s->arena, spec);
}

static void prepare_claim_status(struct strategy *s)
{
	const struct json *was = member(s->old, "status");
	strategy_keep(s, "spec");
	if (!member(was, "currentVolumeAttributesClassName"))
		strategy_drop_in(s, "status", "currentVolumeAttributesClassName");
	if (!member(was, "modifyVolumeStatus"))
		strategy_drop_in(s, "status", "modifyVolumeStatus");
}

/* ---- validation */
void check_access_modes(struct check *c, const struct path *at, const struct json *modes)
{
	bool alone = false, others = false;
	JSON_EACH_ITEM(modes, mode) {
		struct span name = json_span(mode);
		if (!check_one_of(name, ACCESS_MODES))
			bad_choice(c, at, name, ACCESS_MODES);
		else if (span_is(name, "ReadWriteOncePod"))
			alone = true;
		else
			others = true;
	}
	if (alone && others)
		bad_forbidden(c, at, "may not use ReadWriteOncePod with other access modes");
}

static void check_source(struct check *c, const struct path *at, const struct json *source, bool group_lax, bool ref)
{
	struct span kind = member_text(source, "kind"), group = member_text(source, "apiGroup"), ns = member_text(source,
		"namespace");
	if (!source)
		return;
	check_present(c, at, source, "name");
	check_present(c, at, source, "kind");
	if (!group.len && !span_is(kind, "PersistentVolumeClaim"))
		bad_string(c, at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
	if (group.len && !group_lax)
		check_name(c, &PATH(at, "apiGroup"), group, api_name_dns1123_subdomain);
	if (ref && ns.len)
		check_name(c, &PATH(at, "namespace"), ns, api_name_dns1123_label);
}

/* Upstream shows the path, a Go struct, as the bad value; %v of a path is its text. */
static void bad_source(struct check *c, const struct path *at, const char *why)
{
	auto_buf struct buf text = {};
	path_text(&PATH(at, "dataSource"), &text);
	struct json raw = { .kind = JSON_RAW, .n = (uint32_t)text.len, .str = buf_cstr(&text) };
	bad_value(c, at, &raw, "%s", why);
}

void check_claim_spec(struct check *c, const struct path *at, const struct json *spec, const struct json *old_spec)
{
	const struct json *source = member(spec, "dataSource"), *ref = member(spec, "dataSourceRef");
	const struct json *size = json_path(spec, "resources", "requests", "storage", NULL);
	const struct path modes_at = PATH(at, "accessModes"), size_at = PATH_KEY(&PATH(at, "resources"), SPAN("storage"));
	bool group_lax = member(member(old_spec, "dataSource"), "apiGroup") || member(member(old_spec, "dataSourceRef"),
		"apiGroup");
	struct span class = member_text(spec, "storageClassName"), attributes = member_text(spec, "volumeAttributesClassName");
	struct api_quantity q;
	if (!json_count(member(spec, "accessModes")))
		bad_required(c, &modes_at, "at least 1 access mode is required");
	check_label_selector(c, &PATH(at, "selector"), member(spec, "selector"), check_selector_has_bad_value(member(old_spec,
		"selector")));
	check_access_modes(c, &modes_at, member(spec, "accessModes"));
	if (!size)
		bad_required(c, &size_at, "");
	else if (check_quantity(size, &q) && api_quantity_sign(&q) <= 0)
		bad_value(c, &size_at, size, "must be greater than zero");
	if (class.len)
		check_name(c, &PATH(at, "storageClassName"), class, api_name_dns1123_subdomain);
	check_choice(c, &PATH(at, "volumeMode"), member(spec, "volumeMode"), "Block Filesystem");
	check_source(c, &PATH(at, "dataSource"), source, group_lax, false);
	check_source(c, &PATH(at, "dataSourceRef"), ref, group_lax, true);
	if (member_text(ref, "namespace").len) {
		if (source)
			bad_source(c, at, "may not be specified when dataSourceRef.namespace is specified");
	} else if (source && ref && (member_changed(source, ref, "apiGroup") || member_changed(source, ref, "kind") ||
				     member_changed(source, ref, "name"))) {
		bad_source(c, at, "must match dataSourceRef");
	}
	if (attributes.len && member(old_spec, "volumeAttributesClassName"))
		check_name(c, &PATH(at, "volumeAttributesClassName"), attributes, api_name_dns1123_subdomain);
}

static struct span beta_class(const struct json *claim)
{
	return json_span(json_get(json_path(claim, "metadata", "annotations", NULL), BETA_CLASS));
}

/* The spec is frozen but for what a bound claim may still change; those parts are made equal before comparing. */
static void check_frozen_spec(struct check *c, const struct json *now, const struct json *old)
{
	struct arena *a = c->arena;
	struct json spec = json_copy(a, member(now, "spec")), was = json_copy(a, member(old, "spec"));
	const struct json *class = member(&spec, "storageClassName"), *old_class = member(&was, "storageClassName");
	const struct json *old_note = json_get(json_path(old, "metadata", "annotations", NULL), BETA_CLASS);
	const struct json *note = json_get(json_path(now, "metadata", "annotations", NULL), BETA_CLASS);
	bool bound = span_is(json_span(json_path(now, "status", "phase", NULL)), "Bound");
	if (!member_text(&was, "volumeName").len) {
		const struct json *name = member(&spec, "volumeName");
		if (name)
			json_setl(a, &was, "volumeName", *name);
	}
	if (old_note && !old_class && class && json_equal(class, old_note) && (!note || json_equal(note, old_note))) {
		json_remove(&spec, SPAN("storageClassName")); /* from the annotation to the field */
	} else {
		if (!span_eq(beta_class(now), beta_class(old)))
			bad_string(c, &PATH_SPAN(&PATH(&PATH(PATH_ROOT, "metadata"), "annotations"), BETA_CLASS), beta_class(now),
				   "field is immutable");
		if (class && !old_class && (!old_note || json_equal(class, old_note)))
			json_remove(&spec, SPAN("storageClassName"));
	}
	struct json *requests = json_path(&spec, "resources", "requests", NULL);
	const struct json *old_size = json_path(&was, "resources", "requests", "storage", NULL);
	if (bound && requests && old_size)
		json_setl(a, requests, "storage", *old_size);
	if (bound && member(&spec, "volumeAttributesClassName")) {
		const struct json *v = member(&was, "volumeAttributesClassName");
		if (v)
			json_setl(a, &spec, "volumeAttributesClassName", *v);
		else
			json_remove(&spec, SPAN("volumeAttributesClassName"));
	}
	if (strategy_same(&spec, &was))
		return;
	auto_buf struct buf diff = {};
	strategy_diff(&diff, &was, &spec);
	bad_forbidden(c, &PATH(PATH_ROOT, "spec"),
		      "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
		      "claims\n%s",
		      buf_cstr(&diff));
}

static void check_claim(struct check *c, const struct json *claim, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec"), attributes_at = PATH(&at, "volumeAttributesClassName");
	const struct json *spec = member(claim, "spec"), *old_spec = member(old, "spec");
	if (old)
		check_meta_update(c, claim, old, META_CORE);
	check_meta(c, claim, META_CORE, api_name_dns1123_subdomain);
	check_claim_spec(c, &at, spec, old_spec);
	if (!old)
		return;
	check_frozen_spec(c, claim, old);
	struct api_quantity size, was, have = {};
	(void)check_quantity(json_path(old, "status", "capacity", "storage", NULL), &have);
	if (check_quantity(json_path(spec, "resources", "requests", "storage", NULL), &size) &&
	    check_quantity(json_path(old_spec, "resources", "requests", "storage", NULL), &was) && api_quantity_cmp(&size,
	    &was) < 0 &&
	    api_quantity_cmp(&size, &have) <= 0)
		bad_forbidden(c, &PATH(&PATH(&PATH(&at, "resources"), "requests"), "storage"),
			"field can not be less than status.capacity");
	check_immutable(c, &PATH(PATH_ROOT, "volumeMode"), "", member(spec, "volumeMode"), member(old_spec, "volumeMode"));
	const struct json *class = member(spec, "volumeAttributesClassName"), *old_class = member(old_spec,
		"volumeAttributesClassName");
	if (class && old_class ? json_equal(class, old_class) : class == old_class)
		return;
	bad_forbidden(c, &attributes_at, "update is forbidden when the VolumeAttributesClass feature gate is disabled");
	if (old_class && !class)
		bad_forbidden(c, &attributes_at, "update from non-nil value to nil is forbidden");
	else if (old_class && !json_span(class).len)
		bad_forbidden(c, &attributes_at, "update from non-nil value to an empty string is forbidden");
}

/* Keys of what a resize has allocated: storage, or a name with a domain of others. */
static bool check_resize_key(struct check *c, const struct path *at, struct span key)
{
	if (!check_name(c, at, key, api_name_qualified))
		return false;
	if ((span_chr(key, '/') < 0 || span_has(key, SPAN("kubernetes.io/"))) && !span_is(key, "storage")) {
		bad_choice(c, at, key, "storage");
		return false;
	}
	return true;
}

static bool check_basic(struct check *c, const struct path *at, const struct json *value)
{
	struct api_quantity q;
	if (!check_quantity(value, &q) || api_quantity_value(&q) >= 0)
		return true;
	bad_int(c, at, api_quantity_value(&q), "must be a valid resource quantity");
	return false;
}

static void check_claim_status(struct check *c, const struct json *claim, const struct json *old)
{
	static const char states[] = "ControllerResizeInProgress ControllerResizeInfeasible NodeResizeInProgress "
		"NodeResizeInfeasible NodeResizePending";
	const struct path status_at = PATH(PATH_ROOT, "status"), capacity = PATH(&status_at, "capacity");
	const struct path resize = PATH(&status_at, "allocatedResourceStatus"), allocated = PATH(&status_at, "allocatedResources");
	const struct json *status = member(claim, "status");
	check_meta_update(c, claim, old, META_CORE);
	if (!json_span(json_path(claim, "metadata", "resourceVersion", NULL)).len)
		bad_required(c, &PATH(PATH_ROOT, "resourceVersion"), "");
	if (!json_count(json_path(claim, "spec", "accessModes", NULL)))
		bad_required(c, &PATH(&PATH(PATH_ROOT, "Spec"), "accessModes"), "");
	JSON_EACH_MEMBER(member(status, "capacity"), m)
		check_basic(c, &PATH_KEY(&capacity, json_key(m)), &m->value);
	JSON_EACH_MEMBER(member(status, "allocatedResourceStatuses"), m) {
		check_resize_key(c, &resize, json_key(m));
		if (!check_one_of(json_span(&m->value), states))
			bad_choice(c, &resize, json_key(m), states);
	}
	JSON_EACH_MEMBER(member(status, "allocatedResources"), m) {
		const struct path at = PATH_KEY(&allocated, json_key(m));
		if (check_resize_key(c, &allocated, json_key(m)) && check_basic(c, &at, &m->value))
			check_resource_value(c, &at, SPAN("storage"), &m->value);
	}
}

void strategy_warn_claim_spec(struct strategy *s, const struct path *at, const struct json *spec)
{
	static const char *const lists[] = { "requests", "limits" };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		const struct json *v = json_path(spec, "resources", lists[i], "storage", NULL);
		struct api_quantity q;
		if (!check_quantity(v, &q) || api_quantity_milli(&q) % 1000 == 0)
			continue;
		auto_buf struct buf field = {};
		path_text(&PATH_KEY(&PATH_SPAN(&PATH(at, "resources"), span_of(lists[i])), SPAN("storage")), &field);
		strategy_warn(s, "%s: fractional byte value \"%.*s\" is invalid, must be an integer", buf_cstr(&field),
			SPAN_ARG(json_span(v)));
	}
}

static void warn_claim(struct check *c, const struct json *claim, const struct json *old)
{
	if (json_get(json_path(claim, "metadata", "annotations", NULL), BETA_CLASS))
		strategy_warn(c->s, "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "
				    "\"storageClassName\" attribute instead");
	strategy_warn_claim_spec(c->s, &PATH(PATH_ROOT, "spec"), member(claim, "spec"));
}

const struct strategy_kind strategy_kind_claim = {
	.group = "", .kind = "PersistentVolumeClaim", .flags = STRATEGY_UNCONDITIONAL_UPDATE, .defaults = default_claim,
	.prepare = prepare_claim, .check = check_claim, .warnings = warn_claim,
	.subs = { { "status", prepare_claim_status, check_claim_status } },
};
const struct strategy_type strategy_type_claim_spec = { "core/v1.PersistentVolumeClaimSpec", default_claim_spec };
