/* metadata: ValidateObjectMeta and ValidateObjectMetaUpdate of apimachinery, and what pkg/apis/core adds. */
#include "strategy/check.h"

static unsigned name_complaints(struct span name, bool prefix, api_name_fn *rule, struct api_complaints *out)
{
	if (!prefix)
		return rule(name, out);
	return rule == api_name_path_segment ? api_name_path_prefix(name, out) : api_name_as_prefix(rule, name, out);
}

/* Version and kind of an owner as FromAPIVersionAndKind has them: of "a/b" the version is b, of three parts nothing is left. */
static struct span owner_version(struct span api_version)
{
	struct span head, tail;
	if (!span_split(api_version, '/', &head, &tail))
		return api_version;
	return span_chr(tail, '/') >= 0 ? SPAN_EMPTY : tail;
}

static void check_owner(struct check *c, const struct path *at, const struct json *owner)
{
	struct span version = member_text(owner, "apiVersion"), kind = member_text(owner, "kind");
	/* An apiVersion of three parts loses the kind too. */
	struct span head, tail;
	bool broken = span_split(version, '/', &head, &tail) && span_chr(tail, '/') >= 0;
	if (!owner_version(version).len)
		bad_string(c, &PATH(at, "apiVersion"), version, "version must not be empty");
	if (!kind.len && !broken)
		bad_string(c, &PATH(at, "kind"), kind, "kind must not be empty");
	if (!member_text(owner, "name").len)
		bad_string(c, &PATH(at, "name"), SPAN_EMPTY, "name must not be empty");
	if (!member_text(owner, "uid").len)
		bad_string(c, &PATH(at, "uid"), SPAN_EMPTY, "uid must not be empty");
	if (span_is(version, "v1") && span_is(kind, "Event"))
		bad_typed(c, at, "meta/v1.OwnerReference", owner, "/v1, Kind=Event is disallowed from being an owner");
}

static void check_owners(struct check *c, const struct path *at, const struct json *owners)
{
	const struct json *first = NULL;
	JSON_EACH_ITEM(owners, owner) {
		check_owner(c, at, owner);
		if (!member_true(owner, "controller"))
			continue;
		if (!first) {
			first = owner;
			continue;
		}
		struct span kind = member_text(first, "kind"), name = member_text(first, "name");
		struct span kind2 = member_text(owner, "kind"), name2 = member_text(owner, "name");
		bad_typed(c, at, "[]meta/v1.OwnerReference", owners,
			  "Only one reference can have Controller set to true. Found \"true\" in references for %.*s/%.*s and "
			  "%.*s/%.*s", SPAN_ARG(kind), SPAN_ARG(name), SPAN_ARG(kind2), SPAN_ARG(name2));
	}
}

static void check_finalizers(struct check *c, const struct path *at, const struct json *finalizers)
{
	JSON_EACH_ITEM(finalizers, f)
		check_name(c, at, json_span(f), api_name_qualified);
	if (check_list_has(finalizers, SPAN("orphan")) && check_list_has(finalizers, SPAN("foregroundDeletion")))
		bad_typed(c, at, "[]string", finalizers, "finalizer orphan and foregroundDeletion cannot be both set");
}

/* pkg/apis/core: a finalizer has a domain, or is one of ours. */
static void check_core_finalizers(struct check *c, const struct path *at, const struct json *finalizers)
{
	JSON_EACH_INDEX(finalizers, f, i) {
		struct span name = json_span(f);
		if (span_chr(name, '/') < 0 && !check_one_of(name, "kubernetes orphan foregroundDeletion"))
			bad_string(c, &PATH_INDEX(at, i), name,
				   "name is neither a standard finalizer name nor is it fully qualified");
	}
}

static void check_manager(struct check *c, const struct path *at, struct span manager)
{
	if (manager.len > 128)
		bad_too_long(c, at, 128);
	for (size_t i = 0; i < manager.len;) {
		uint32_t code;
		if (manager.ptr[i] >= ' ' && manager.ptr[i] < 0x7f) { /* prints: all of nearly every name */
			i++;
			continue;
		}
		size_t n = utf8_next(span_from(manager, i), &code);
		auto_buf struct buf shown = {};
		if (n == 0) {
			n = 1;
			code = 0xfffd;
		}
		api_go_quote(&shown, span_sub(manager, i, i + n));
		/* %#U adds the character itself only where it prints, which is where quoting leaves it alone. */
		if (shown.len > 2 && shown.ptr[1] == '\\')
			bad_string(c, at, manager, "invalid character U+%04X (at position %zu)", code, i);
		i += n;
	}
}

static void check_managed_fields(struct check *c, const struct path *at, const struct json *list)
{
	JSON_EACH_INDEX(list, entry, i) {
		const struct path item = PATH_INDEX(at, i);
		struct span operation = member_text(entry, "operation"), type = member_text(entry, "fieldsType");
		if (!check_one_of(operation, "Apply Update"))
			bad_string(c, &PATH(&item, "operation"), operation, "must be `Apply` or `Update`");
		if (type.len && !span_is(type, "FieldsV1"))
			bad_string(c, &PATH(&item, "fieldsType"), type, "must be `FieldsV1`");
		check_manager(c, &PATH(&item, "manager"), member_text(entry, "manager"));
		if (member_text(entry, "subresource").len > 256)
			bad_too_long(c, &PATH(&item, "subresource"), 256);
	}
}

void check_meta_at(struct check *c, const struct path *at, const struct json *meta, bool namespaced, enum meta_flavor flavor,
		   api_name_fn *name_rule)
{
	struct api_complaints bad;
	struct span generate = member_text(meta, "generateName"), name = member_text(meta, "name");
	struct span ns = member_text(meta, "namespace");
	if (generate.len && name_complaints(generate, true, name_rule, &bad))
		bad_complaints(c, &PATH(at, "generateName"), generate, &bad);
	if (!name.len)
		bad_required(c, &PATH(at, "name"), "name or generateName is required");
	else if (name_complaints(name, false, name_rule, &bad))
		bad_complaints(c, &PATH(at, "name"), name, &bad);
	if (!namespaced) {
		if (ns.len)
			bad_forbidden(c, &PATH(at, "namespace"), "not allowed on this type");
	} else if (!ns.len) {
		bad_required(c, &PATH(at, "namespace"), "");
	} else {
		check_name(c, &PATH(at, "namespace"), ns, api_name_dns1123_label);
	}
	check_non_negative(c, &PATH(at, "generation"), member(meta, "generation"));
	check_labels(c, &PATH(at, "labels"), member(meta, "labels"));
	check_annotations(c, &PATH(at, "annotations"), member(meta, "annotations"));
	check_owners(c, &PATH(at, "ownerReferences"), member(meta, "ownerReferences"));
	check_finalizers(c, &PATH(at, "finalizers"), member(meta, "finalizers"));
	check_managed_fields(c, &PATH(at, "managedFields"), member(meta, "managedFields"));
	if (flavor == META_CORE)
		check_core_finalizers(c, &PATH(at, "finalizers"), member(meta, "finalizers"));
}

static int by_text(const void *a, const void *b)
{
	return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

/* Finalizers cannot be added to an object that is being deleted. */
static void check_no_new_finalizers(struct check *c, const struct path *at, const struct json *now, const struct json *was)
{
	uint32_t n = 0;
	struct span *extra = arena_alloc_n(c->arena, json_count(now) + 1, sizeof(*extra));
	JSON_EACH_ITEM(now, f)
		if (!check_list_has(was, json_span(f)))
			extra[n++] = json_span(f);
	if (!n)
		return;
	qsort(extra, n, sizeof(*extra), by_text);
	auto_buf struct buf list = {};
	for (uint32_t i = 0; i < n; i++) {
		if (i && span_eq(extra[i], extra[i - 1]))
			continue;
		buf_str(&list, list.len ? ", " : "");
		api_go_quote(&list, extra[i]);
	}
	bad_forbidden(c, at, "no new finalizers can be added if the object is being deleted, found new finalizers []string{%s}",
		      buf_cstr(&list));
}

/* Strings: an absent one is "". */
static void check_immutable_text(struct check *c, const struct path *at, const struct json *now, const struct json *was,
				 const char *name)
{
	struct span a = member_text(now, name), b = member_text(was, name);
	if (!span_eq(a, b))
		bad_string(c, &PATH_SPAN(at, span_of(name)), a, "field is immutable");
}

/* Absent: Go's zero time, or null behind a pointer. */
static void check_immutable_time(struct check *c, const struct path *at, const struct json *now, const struct json *was,
				 const char *name, bool pointer)
{
	struct span a = member_text(now, name), b = member_text(was, name);
	if (span_eq(a, b))
		return;
	auto_buf struct buf shown = {};
	if (!a.len)
		buf_str(&shown, pointer ? "null" : "0001-01-01 00:00:00 +0000 UTC");
	else
		(void)strategy_go_time(&shown, a);
	/* bad_value would quote it. */
	struct json raw = { .kind = JSON_RAW, .n = (uint32_t)shown.len, .str = buf_cstr(&shown) };
	bad_value(c, &PATH_SPAN(at, span_of(name)), &raw, "field is immutable");
}

void check_meta_update_at(struct check *c, const struct path *at, const struct json *meta, const struct json *old,
			  enum meta_flavor flavor)
{
	const struct json *finalizers = member(meta, "finalizers");
	if (member(old, "deletionTimestamp"))
		check_no_new_finalizers(c, &PATH(at, "finalizers"), finalizers, member(old, "finalizers"));
	if (!member_text(meta, "resourceVersion").len)
		bad_string(c, &PATH(at, "resourceVersion"), SPAN_EMPTY, "must be specified for an update");
	if (member_int(meta, "generation") < member_int(old, "generation"))
		bad_int(c, &PATH(at, "generation"), member_int(meta, "generation"), "must not be decremented");
	check_immutable_text(c, at, meta, old, "name");
	check_immutable_text(c, at, meta, old, "namespace");
	check_immutable_text(c, at, meta, old, "uid");
	check_immutable_time(c, at, meta, old, "creationTimestamp", false);
	check_immutable_time(c, at, meta, old, "deletionTimestamp", true);
	check_immutable(c, &PATH(at, "deletionGracePeriodSeconds"), "", member(meta, "deletionGracePeriodSeconds"),
			member(old, "deletionGracePeriodSeconds"));
	check_labels(c, &PATH(at, "labels"), member(meta, "labels"));
	check_annotations(c, &PATH(at, "annotations"), member(meta, "annotations"));
	check_owners(c, &PATH(at, "ownerReferences"), member(meta, "ownerReferences"));
	check_managed_fields(c, &PATH(at, "managedFields"), member(meta, "managedFields"));
	if (flavor == META_CORE)
		check_core_finalizers(c, &PATH(at, "finalizers"), finalizers);
}

void check_meta(struct check *c, const struct json *object, enum meta_flavor flavor, api_name_fn *name_rule)
{
	check_meta_at(c, &PATH(PATH_ROOT, "metadata"), member(object, "metadata"), c->s->resource->namespaced, flavor, name_rule);
}

void check_meta_update(struct check *c, const struct json *object, const struct json *old, enum meta_flavor flavor)
{
	check_meta_update_at(c, &PATH(PATH_ROOT, "metadata"), member(object, "metadata"), member(old, "metadata"), flavor);
}
