/* APIService, CustomResourceDefinition (all but its schemas, which belong to who serves them) and RuntimeClass. */
#include "strategy/check.h"

static struct span lower(struct arena *a, struct span s)
{
	char *copy = arena_cstr(a, s);
	for (size_t i = 0; i < s.len; i++)
		copy[i] = (char)(copy[i] >= 'A' && copy[i] <= 'Z' ? copy[i] + 32 : copy[i]);
	return span_make(copy, s.len);
}

/* One complaint with all that is wrong, joined by commas. */
static void check_joined(struct check *c, const struct path *at, struct span value, struct span checked, const char *before,
			 api_name_fn *rule)
{
	struct api_complaints bad;
	auto_buf struct buf why = {};
	if (!rule(checked, &bad))
		return;
	for (unsigned i = 0; i < bad.n; i++)
		buf_printf(&why, "%s%s", i ? "," : "", bad.text[i]);
	bad_string(c, at, value, "%s%s", before, buf_cstr(&why));
}

/* ---- APIService */
static void default_api_service(struct arena *a, struct json *object)
{
	default_int(a, json_path(object, "spec", "service", NULL), "port", 443);
}

static void prepare_api_service(struct strategy *s)
{
	prepare_status(s);
	if (s->old || json_path(s->object, "spec", "service", NULL))
		return;
	struct json *status = json_setl(s->arena, s->object, "status", json_object());
	struct json *list = json_setl(s->arena, status, "conditions", json_array());
	struct json *cond = json_push(s->arena, list, json_object());
	json_setl(s->arena, cond, "type", json_str(SPAN("Available")));
	json_setl(s->arena, cond, "status", json_str(SPAN("True")));
	if (s->now.len)
		json_setl(s->arena, cond, "lastTransitionTime", json_str(s->now));
	json_setl(s->arena, cond, "reason", json_str(SPAN("Local")));
	json_setl(s->arena, cond, "message", json_str(SPAN("Local APIServices are always available")));
}

static void check_api_service(struct check *c, const struct json *object, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec"), service_at = PATH(&at, "service");
	const struct json *spec = member(object, "spec"), *service = member(spec, "service"), *ca = member(spec, "caBundle");
	struct span name = json_span(json_path(object, "metadata", "name", NULL));
	struct span group = member_text(spec, "group"), version = member_text(spec, "version");
	int64_t group_rank = member_int(spec, "groupPriorityMinimum"), rank = member_int(spec, "versionPriority");
	struct span want = arena_printf(c->arena, "%.*s.%.*s", SPAN_ARG(version), SPAN_ARG(group));
	struct api_complaints bad;
	if (old)
		check_meta_update(c, object, old, META_PLAIN);
	check_meta(c, object, META_PLAIN, api_name_path_segment);
	if (name.len && !api_name_path_segment(name, NULL) && !span_eq(name, want)) {
		auto_buf struct buf quoted = {};
		api_go_quote(&quoted, want);
		bad_string(c, &PATH(&PATH(PATH_ROOT, "metadata"), "name"), name, "must be `spec.version+\".\"+spec.group`: %s",
			   buf_cstr(&quoted));
	}
	if (!group.len && !span_is(version, "v1"))
		bad_required(c, &PATH(&at, "group"), "only v1 may have an empty group and it better be legacy kube");
	if (group.len)
		check_name(c, &PATH(&at, "group"), group, api_name_dns1123_subdomain);
	check_name(c, &PATH(&at, "version"), version, api_name_dns1035_label);
	if (group_rank <= 0 || group_rank > 20000)
		bad_int(c, &PATH(&at, "groupPriorityMinimum"), group_rank, "must be positive and less than 20000");
	if (rank <= 0 || rank > 1000)
		bad_int(c, &PATH(&at, "versionPriority"), rank, "must be positive and less than 1000");
	auto_buf struct buf bytes = {};
	(void)base64_parse(&bytes, BASE64_STD, json_span(ca));
	bool insecure = member_true(spec, "insecureSkipTLSVerify");
	const struct path insecure_at = PATH(&at, "insecureSkipTLSVerify");
	if (!service) {
		if (bytes.len)
			bad_string(c, &PATH(&at, "caBundle"), arena_printf(c->arena, "%zu bytes", bytes.len),
				   "local APIServices may not have a caBundle");
		if (insecure)
			bad_value(c, &insecure_at, member(spec, "insecureSkipTLSVerify"),
				  "local APIServices may not have insecureSkipTLSVerify");
		return;
	}
	check_present(c, &service_at, service, "namespace");
	check_present(c, &service_at, service, "name");
	if (api_port_check(member_int(service, "port"), &bad))
		bad_int(c, &PATH(&service_at, "port"), member_int(service, "port"), "port is not valid: %s", bad.text[0]);
	if (insecure && bytes.len)
		bad_value(c, &insecure_at, member(spec, "insecureSkipTLSVerify"), "may not be true if caBundle is present");
}

static void check_api_service_status(struct check *c, const struct json *object, const struct json *old)
{
	const struct path at = PATH(&PATH(PATH_ROOT, "status"), "conditions");
	check_meta_update(c, object, old, META_PLAIN);
	JSON_EACH_INDEX(json_path(object, "status", "conditions", NULL), cond, i)
		if (!check_one_of(member_text(cond, "status"), "True False Unknown"))
			bad_choice(c, &PATH(&PATH_INDEX(&at, i), "status"), member_text(cond, "status"), "True False Unknown");
}

const struct strategy_kind strategy_kind_api_service = {
	.group = "apiregistration.k8s.io", .kind = "APIService", .flags = 0, .defaults = default_api_service,
	.prepare = prepare_api_service, .check = check_api_service,
	.subs = { { "status", prepare_status_only, check_api_service_status } },
};

/* ---- CustomResourceDefinition */
static void store_version(struct arena *a, struct json *crd, bool if_none)
{
	JSON_EACH_ITEM(json_path(crd, "spec", "versions", NULL), version) {
		if (!member_true(version, "storage"))
			continue;
		struct json *status = default_object(a, crd, "status"), *list = member(status, "storedVersions");
		if (!list)
			list = json_setl(a, status, "storedVersions", json_array());
		if (if_none ? !list->n : !check_list_has(list, member_text(version, "name")))
			json_push(a, list, json_str(member_text(version, "name")));
		return;
	}
}

static void default_crd(struct arena *a, struct json *object)
{
	struct json *spec = default_object(a, object, "spec"), *names = default_object(a, spec, "names");
	struct span kind = member_text(names, "kind");
	if (kind.len && !member_text(names, "singular").len)
		json_setl(a, names, "singular", json_str(lower(a, kind)));
	if (kind.len && !member_text(names, "listKind").len)
		json_setl(a, names, "listKind", json_str(arena_printf(a, "%.*sList", SPAN_ARG(kind))));
	if (!member(spec, "conversion"))
		json_setl(a, default_object(a, spec, "conversion"), "strategy", json_str(SPAN("None")));
	default_int(a, json_path(spec, "conversion", "webhook", "clientConfig", "service", NULL), "port", 443);
	store_version(a, object, true);
}

static void prepare_crd(struct strategy *s)
{
	prepare_generation(s);
	store_version(s->arena, s->object, false);
}

/* Of metadata only what a status update may write: finalizers and owner references are the spec's. */
static void prepare_crd_status(struct strategy *s)
{
	static const char *const kept[] = { "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "labels",
		"annotations",
					    "ownerReferences", "generation" };
	strategy_keep(s, "spec");
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		strategy_keep_in(s, "metadata", kept[i]);
}

static void check_crd_names(struct check *c, const struct path *at, const struct json *names)
{
	static const char *const plain[] = { "plural", "singular" }, *const cased[] = { "kind", "listKind" };
	static const char mixed[] = "may have mixed case, but should otherwise match: ";
	for (size_t i = 0; i < 2; i++) {
		struct span v = member_text(names, plain[i]);
		if (v.len)
			check_joined(c, &PATH_SPAN(at, span_of(plain[i])), v, v, "", api_name_dns1035_label);
	}
	for (size_t i = 0; i < 2; i++) {
		struct span v = member_text(names, cased[i]);
		if (v.len)
			check_joined(c, &PATH_SPAN(at, span_of(cased[i])), v, lower(c->arena, v), mixed, api_name_dns1035_label);
	}
	JSON_EACH_INDEX(member(names, "shortNames"), v, i)
		check_joined(c, &PATH_INDEX(&PATH(at, "shortNames"), i), json_span(v), json_span(v), "", api_name_dns1035_label);
	struct span kind = member_text(names, "kind"), list = member_text(names, "listKind");
	if (kind.len && span_eq(kind, list))
		bad_string(c, &PATH(at, "listKind"), list, "kind and listKind may not be the same");
	JSON_EACH_INDEX(member(names, "categories"), v, i)
		check_joined(c, &PATH_INDEX(&PATH(at, "categories"), i), json_span(v), json_span(v), "", api_name_dns1035_label);
}

static bool check_simple_path(struct check *c, const struct path *at, struct span path)
{
	if (path.len && path.ptr[0] == '.')
		return true;
	bad_string(c, at, path, "must be a simple json path starting with .");
	return false;
}

static void check_scale(struct check *c, const struct path *at, const struct json *scale)
{
	static const struct { const char *name, *member, *under, *why; } paths[] = {
		{ "scale.specReplicasPath", "specReplicasPath", ".spec.", "should be a json path under .spec" },
		{ "scale.statusReplicasPath", "statusReplicasPath", ".status.", "should be a json path under .status" },
	};
	for (size_t i = 0; i < 2; i++) {
		struct span v = member_text(scale, paths[i].member);
		const struct path path_at = PATH_SPAN(at, span_of(paths[i].name));
		if (!v.len)
			bad_required(c, &path_at, "");
		else if (check_simple_path(c, &path_at, v) && !span_starts(v, span_of(paths[i].under)))
			bad_string(c, &path_at, v, "%s", paths[i].why);
	}
	struct span v = member_text(scale, "labelSelectorPath");
	const struct path path_at = PATH(at, "scale.labelSelectorPath");
	if (v.len && check_simple_path(c, &path_at, v) && !span_starts(v, SPAN(".spec.")) && !span_starts(v, SPAN(".status.")))
		bad_string(c, &path_at, v, "should be a json path under either .spec or .status");
}

static void check_column(struct check *c, const struct path *at, const struct json *column)
{
	static const char types[] = "must be one of boolean,date,integer,number,string";
	struct span type = member_text(column, "type"), format = member_text(column, "format"), path = member_text(column,
		"jsonPath");
	check_present(c, at, column, "name");
	if (!type.len)
		bad_required(c, &PATH(at, "type"), types);
	else if (!check_one_of(type, "boolean date integer number string"))
		bad_string(c, &PATH(at, "type"), type, "%s", types);
	if (format.len && !check_one_of(format, "byte date date-time double float int32 int64 password"))
		bad_string(c, &PATH(at, "format"), format, "must be one of byte,date,date-time,double,float,int32,int64,password");
	if (!path.len)
		bad_required(c, &PATH(at, "JSONPath"), "");
	else
		(void)check_simple_path(c, &PATH(at, "JSONPath"), path);
}

/* Upstream's internal form moves to the top what all versions have alike, and its complaints follow: a schema that is the
 * schema of every version is at spec.validation. */
struct common {
	bool schema, subs, columns, fields;
};

static struct common common_of(const struct json *versions)
{
	struct common same = { true, true, true, true };
	for (uint32_t i = 1; i < json_count(versions); i++) {
		const struct json *a = &versions->items[0], *b = &versions->items[i];
		same.schema &= !member_changed(a, b, "schema");
		same.subs &= !member_changed(a, b, "subresources");
		same.columns &= !member_changed(a, b, "additionalPrinterColumns");
		same.fields &= !member_changed(a, b, "selectableFields");
	}
	return same;
}

static void check_schema(struct check *c, const struct path *at, const struct json *version, bool has_status)
{
	const struct strategy_crd *crd = c->s->crd;
	const struct json *schema = json_path(version, "schema", "openAPIV3Schema", NULL);
	auto_buf struct buf path = {};
	if (!crd || !schema)
		return;
	path_text(&PATH(at, "openAPIV3Schema"), &path);
	c->n += crd->schema(c->arena, buf_span(&path), schema, has_status, &c->err);
}

static void check_subresources(struct check *c, const struct path *at, const struct json *version)
{
	const struct json *scale = json_path(version, "subresources", "scale", NULL);
	if (scale)
		check_scale(c, &PATH(at, "subresources"), scale);
}

static void check_columns(struct check *c, const struct path *at, const struct json *version)
{
	JSON_EACH_INDEX(member(version, "additionalPrinterColumns"), column, i)
		check_column(c, &PATH_INDEX(&PATH(at, "additionalPrinterColumns"), i), column);
}

static void check_fields(struct check *c, const struct path *at, const struct json *version)
{
	const struct strategy_crd *crd = c->s->crd;
	const struct json *schema = json_path(version, "schema", "openAPIV3Schema", NULL);
	auto_buf struct buf path = {};
	if (!crd || !schema || !member(version, "selectableFields"))
		return;
	path_text(&PATH(at, "selectableFields"), &path);
	c->n += crd->selectable(c->arena, buf_span(&path), member(version, "selectableFields"), schema, &c->err);
}

static void check_crd_version(struct check *c, const struct path *at, const struct json *version, const struct common *common)
{
	const struct json *warning = member(version, "deprecationWarning");
	const struct path warning_at = PATH(at, "deprecationWarning");
	struct span name = member_text(version, "name"), text = json_span(warning);
	check_joined(c, &PATH(at, "name"), name, name, "", api_name_dns1035_label);
	if (warning && !member_true(version, "deprecated")) {
		bad_value(c, &warning_at, warning, "can only be set for deprecated versions");
	} else if (warning) {
		if (text.len > 256)
			bad_value(c, &warning_at, warning, "must be <= 256 characters long");
		if (!text.len)
			bad_value(c, &warning_at, warning, "must not be an empty string");
		for (size_t i = 0; i < text.len; i++)
			if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f) {
				bad_value(c, &warning_at, warning,
					  "must only contain printable UTF-8 characters; non-printable character found at index "
					  "%zu", i);
				break;
			}
	}
	if (!common->schema)
		check_schema(c, &PATH(at, "schema"), version, json_path(version, "subresources", "status", NULL) != NULL);
	if (!common->subs)
		check_subresources(c, at, version);
	if (!common->columns)
		check_columns(c, at, version);
	if (!common->fields)
		check_fields(c, at, version);
}

/* What all versions have alike, where upstream keeps it then. */
static void check_common(struct check *c, const struct path *at, const struct json *versions, const struct common *common)
{
	const struct json *first = json_count(versions) ? &versions->items[0] : NULL;
	bool any_status = false;
	JSON_EACH_ITEM(versions, version)
		any_status |= json_path(version, "subresources", "status", NULL) != NULL;
	if (common->schema)
		check_schema(c, &PATH(at, "validation"), first, any_status);
	if (common->subs)
		check_subresources(c, at, first);
	if (common->columns)
		check_columns(c, at, first);
	if (common->fields)
		check_fields(c, at, first);
}

static void check_conversion(struct check *c, const struct path *at, const struct json *conversion)
{
	struct span strategy = member_text(conversion, "strategy");
	const struct json *hook = member(conversion, "webhook"), *client = member(hook, "clientConfig");
	const struct json *versions = member(hook, "conversionReviewVersions");
	const struct path client_at = PATH(at, "webhookClientConfig"), versions_at = PATH(at, "conversionReviewVersions");
	if (!strategy.len)
		bad_required(c, &PATH(at, "strategy"), "");
	else if (!check_one_of(strategy, "None Webhook"))
		bad_choice(c, &PATH(at, "strategy"), strategy, "None Webhook");
	else if (c->s->crd && c->s->crd->no_webhook && span_is(strategy, "Webhook"))
		bad_forbidden(c, &PATH(at, "strategy"), "%s", c->s->crd->no_webhook);
	if (!span_is(strategy, "Webhook")) {
		if (client)
			bad_forbidden(c, &client_at, "should not be set when strategy is not set to Webhook");
		if (json_count(versions))
			bad_forbidden(c, &versions_at, "should not be set when strategy is not set to Webhook");
		return;
	}
	const struct json *url = member(client, "url"), *service = member(client, "service");
	if (!client)
		bad_required(c, &client_at, "required when strategy is set to Webhook");
	else if (!url == !service)
		bad_required(c, &client_at, "exactly one of url or service is required");
	else if (url)
		check_webhook_url(c, &PATH(&client_at, "url"), json_span(url));
	else
		check_webhook_service(c, &PATH(&client_at, "service"), service);
	if (!json_count(versions)) {
		bad_required(c, &versions_at, "");
		return;
	}
	JSON_EACH_INDEX(versions, version, i)
		check_name(c, &PATH_INDEX(&versions_at, i), json_span(version), api_name_dns1035_label);
	if (!check_list_has(versions, SPAN("v1")) && !check_list_has(versions, SPAN("v1beta1")))
		bad_typed(c, &versions_at, "[]string", versions, "must include at least one of v1, v1beta1");
}

static void check_versions(struct check *c, const struct path *at, const struct json *versions, const struct common *common)
{
	unsigned stored = 0;
	bool unique = true;
	JSON_EACH_INDEX(versions, version, i)
		if (!json_path(version, "schema", "openAPIV3Schema", NULL))
			bad_required(c, &PATH(&PATH(&PATH_INDEX(at, i), "schema"), "openAPIV3Schema"), "schemas are required");
	JSON_EACH_INDEX(versions, version, i) {
		stored += member_true(version, "storage");
		for (uint32_t k = 0; k < i; k++)
			unique &= member_changed(&versions->items[k], version, "name");
		check_crd_version(c, &PATH_INDEX(at, i), version, common);
	}
	const char *type = "[]apiextensions/v1.CustomResourceDefinitionVersion";
	if (!unique)
		bad_typed(c, at, type, versions, "must contain unique version names");
	if (stored != 1)
		bad_typed(c, at, type, versions, "must have exactly one version marked as storage version");
}

static void check_stored(struct check *c, const struct json *crd)
{
	const struct path at = PATH(&PATH(PATH_ROOT, "status"), "storedVersions");
	const struct json *stored = json_path(crd, "status", "storedVersions", NULL), *versions = json_path(crd, "spec",
		"versions", NULL);
	if (!json_count(stored)) {
		bad_typed(c, &at, "[]string", stored, "must have at least one stored version");
		return;
	}
	JSON_EACH_ITEM(versions, version)
		if (member_true(version, "storage") && !check_list_has(stored, member_text(version, "name")))
			bad_typed(c, &at, "[]string", stored, "must have the storage version %.*s", SPAN_ARG(member_text(version,
				"name")));
	JSON_EACH_INDEX(stored, name, i) {
		bool found = false;
		struct span v = json_span(name);
		JSON_EACH_ITEM(versions, version)
			found |= span_eq(member_text(version, "name"), v);
		if (!found)
			bad_value(c, &PATH_INDEX(&at, i), name,
				  "missing from spec.versions; %.*s was previously a storage version, and must remain in "
				  "spec.versions until a storage migration ensures no data remains persisted in %.*s and removes "
				  "%.*s from "
				  "status.storedVersions",
				  SPAN_ARG(v), SPAN_ARG(v), SPAN_ARG(v));
	}
}

/* Groups of the Kubernetes community want the annotation api-approved.kubernetes.io with a link to the approval. */
static void check_approval(struct check *c, const struct json *crd, const struct json *old)
{
	struct span key = SPAN("api-approved.kubernetes.io"), group = json_span(json_path(crd, "spec", "group", NULL));
	const struct json *note = json_get(json_path(crd, "metadata", "annotations", NULL), key);
	const struct json *was = json_get(json_path(old, "metadata", "annotations", NULL), key);
	const struct path at = PATH_KEY(&PATH(&PATH(PATH_ROOT, "metadata"), "annotations"), key);
	bool ours = span_is(group, "k8s.io") || span_is(group, "kubernetes.io") || span_ends(group, SPAN(".k8s.io")) ||
		    span_ends(group, SPAN(".kubernetes.io"));
	struct span text = json_span(note), rest;
	if (!ours || (old && (note && was ? json_equal(note, was) : note == was)))
		return;
	static const char see[] = "see https://github.com/kubernetes/enhancements/pull/1111";
	if (!text.len) {
		auto_buf struct buf why = {};
		buf_printf(&why, "protected groups must have approval annotation \"api-approved.kubernetes.io\", %s", see);
		bad_required(c, &at, buf_cstr(&why));
		return;
	}
	if (span_starts(text, SPAN("unapproved")))
		return;
	ptrdiff_t scheme = span_find(text, SPAN("://"));
	rest = scheme > 0 ? span_from(text, (size_t)scheme + 3) : SPAN_EMPTY;
	if (!rest.len || rest.ptr[0] == '/')
		bad_string(c, &at, text, "protected groups must have approval annotation \"api-approved.kubernetes.io\" with "
			"either a URL or a reason starting with \"unapproved\", %s", see);
}

static bool is_established(const struct json *crd)
{
	JSON_EACH_ITEM(json_path(crd, "status", "conditions", NULL), cond)
		if (span_is(member_text(cond, "type"), "Established"))
			return span_is(member_text(cond, "status"), "True");
	return false;
}

static void check_crd_spec(struct check *c, const struct path *at, const struct json *spec)
{
	static const char *const names[] = { "plural", "singular", "kind", "listKind" };
	const struct path names_at = PATH(at, "names");
	struct span group = member_text(spec, "group"), scope = member_text(spec, "scope");
	unsigned before = c->n;
	if (!group.len)
		bad_required(c, &PATH(at, "group"), "");
	else
		check_joined(c, &PATH(at, "group"), group, group, "", api_name_dns1123_subdomain);
	if (c->n == before && span_chr(group, '.') < 0)
		bad_string(c, &PATH(at, "group"), group, "should be a domain with at least one dot");
	if (!scope.len)
		bad_required(c, &PATH(at, "scope"), "");
	else if (!check_one_of(scope, "Cluster Namespaced"))
		bad_choice(c, &PATH(at, "scope"), scope, "Cluster Namespaced");
	const struct common common = common_of(member(spec, "versions"));
	check_versions(c, &PATH(at, "versions"), member(spec, "versions"), &common);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		check_present(c, &names_at, member(spec, "names"), names[i]);
	check_crd_names(c, &names_at, member(spec, "names"));
	check_common(c, at, member(spec, "versions"), &common);
	if (member_true(spec, "preserveUnknownFields") && span_is(json_span(json_path(spec, "conversion", "strategy", NULL)),
		"Webhook"))
		bad_string(c, &PATH(&PATH(at, "conversion"), "strategy"), SPAN("Webhook"),
			   "must be None if spec.preserveUnknownFields is true");
	if (member(spec, "conversion"))
		check_conversion(c, &PATH(at, "conversion"), member(spec, "conversion"));
}

static void check_crd(struct check *c, const struct json *crd, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec"), names_at = PATH(&at, "names");
	const struct json *spec = member(crd, "spec"), *names = member(spec, "names"), *was = member(old, "spec");
	struct span name = json_span(json_path(crd, "metadata", "name", NULL));
	if (old) {
		check_meta_update(c, crd, old, META_PLAIN);
	} else {
		struct span want = arena_printf(c->arena, "%.*s.%.*s", SPAN_ARG(member_text(names, "plural")),
						SPAN_ARG(member_text(spec, "group")));
		check_meta(c, crd, META_PLAIN, api_name_dns1123_subdomain);
		if (name.len && !span_eq(name, want))
			bad_string(c, &PATH(&PATH(PATH_ROOT, "metadata"), "name"), name,
				"must be spec.names.plural+\".\"+spec.group");
	}
	check_crd_spec(c, &at, spec);
	if (old) {
		const struct json *old_names = member(was, "names");
		if (is_established(old)) {
			check_immutable(c, &PATH(&at, "scope"), "", member(spec, "scope"), member(was, "scope"));
			check_immutable(c, &PATH(&names_at, "kind"), "", member(names, "kind"), member(old_names, "kind"));
		}
		check_immutable(c, &PATH(&at, "group"), "", member(spec, "group"), member(was, "group"));
		check_immutable(c, &PATH(&names_at, "plural"), "", member(names, "plural"), member(old_names, "plural"));
	}
	check_crd_names(c, &PATH(&PATH(PATH_ROOT, "status"), "acceptedNames"), json_path(crd, "status", "acceptedNames", NULL));
	check_stored(c, crd);
	check_approval(c, crd, old);
	if (member_true(spec, "preserveUnknownFields") && !member_true(was, "preserveUnknownFields"))
		bad_value(c, &PATH(&at, "preserveUnknownFields"), member(spec, "preserveUnknownFields"),
			  "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema "
			  "instead");
}

static void check_crd_status(struct check *c, const struct json *crd, const struct json *old)
{
	check_meta_update(c, crd, old, META_PLAIN);
	check_crd_names(c, &PATH(&PATH(PATH_ROOT, "status"), "acceptedNames"), json_path(crd, "status", "acceptedNames", NULL));
}

const struct strategy_kind strategy_kind_crd = {
	.group = "apiextensions.k8s.io", .kind = "CustomResourceDefinition", .flags = STRATEGY_HAS_GENERATION,
		.defaults = default_crd,
	.prepare = prepare_crd, .check = check_crd, .subs = { { "status", prepare_crd_status, check_crd_status } },
};

/* ---- RuntimeClass */
static void default_runtime_class(struct arena *a, struct json *object)
{
	default_resource_list(a, json_path(object, "overhead", "podFixed", NULL));
}

static void check_toleration(struct check *c, const struct path *at, const struct json *t)
{
	struct span key = member_text(t, "key"), op = member_text(t, "operator"), value = member_text(t, "value");
	struct span effect = member_text(t, "effect");
	struct api_complaints bad;
	if (key.len)
		check_name(c, &PATH(at, "key"), key, api_name_qualified);
	if (!key.len && !span_is(op, "Exists"))
		bad_string(c, &PATH(at, "operator"), op,
			   "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
	if (member(t, "tolerationSeconds") && !span_is(effect, "NoExecute"))
		bad_string(c, &PATH(at, "effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
	if (!op.len || span_is(op, "Equal")) {
		if (api_name_label_value(value, &bad)) {
			auto_buf struct buf why = {};
			for (unsigned i = 0; i < bad.n; i++)
				buf_printf(&why, "%s%s", i ? ";" : "", bad.text[i]);
			bad_string(c, &PATH(at, "operator"), value, "%s", buf_cstr(&why));
		}
	} else if (span_is(op, "Exists")) {
		if (value.len)
			bad_typed(c, &PATH(at, "operator"), "core/v1.Toleration", t,
				"value must be empty when `operator` is 'Exists'");
	} else {
		bad_choice(c, &PATH(at, "operator"), op, "Equal Exists");
	}
	if (effect.len && !check_one_of(effect, "NoSchedule PreferNoSchedule NoExecute"))
		bad_choice(c, &PATH(at, "effect"), effect, "NoSchedule PreferNoSchedule NoExecute");
}

void check_tolerations(struct check *c, const struct path *at, const struct json *list)
{
	JSON_EACH_INDEX(list, t, i)
		check_toleration(c, &PATH_INDEX(at, i), t);
}

static void check_runtime_class(struct check *c, const struct json *object, const struct json *old)
{
	const struct path overhead_at = PATH(&PATH(PATH_ROOT, "overhead"), "limits"), scheduling_at = PATH(PATH_ROOT, "scheduling");
	const struct json *list = json_path(object, "scheduling", "tolerations", NULL);
	const struct path list_at = PATH(&scheduling_at, "tolerations");
	if (old) {
		check_meta_update(c, object, old, META_PLAIN);
		check_immutable(c, &PATH(PATH_ROOT, "handler"), "", member(object, "handler"), member(old, "handler"));
		return;
	}
	check_meta(c, object, META_PLAIN, api_name_dns1123_subdomain);
	check_name(c, &PATH(PATH_ROOT, "handler"), member_text(object, "handler"), api_name_dns1123_label);
	JSON_EACH_MEMBER(json_path(object, "overhead", "podFixed", NULL), m) {
		check_container_resource_name(c, &PATH_KEY(&overhead_at, json_key(m)), json_key(m));
		check_resource_value(c, &PATH_KEY(&overhead_at, json_key(m)), json_key(m), &m->value);
	}
	check_labels(c, &PATH(&scheduling_at, "nodeSelector"), json_path(object, "scheduling", "nodeSelector", NULL));
	check_tolerations(c, &list_at, list);
	JSON_EACH_INDEX(list, t, i)
		for (uint32_t k = 0; k < i; k++)
			if (strategy_same(&list->items[k], t)) {
				bad_duplicate_typed(c, &PATH_INDEX(&list_at, i), "core/v1.Toleration", t, "");
				break;
			}
}

const struct strategy_kind strategy_kind_runtime_class = {
	.group = "node.k8s.io", .kind = "RuntimeClass", .flags = 0, .defaults = default_runtime_class, .prepare = prepare_nothing,
	.check = check_runtime_class,
};
