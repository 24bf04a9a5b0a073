/* Environment variables and where their values come from; references to fields and resources, in volumes too. */
#include "strategy/pod.h"

static const char env_fields[] = "metadata.name metadata.namespace metadata.uid spec.nodeName spec.serviceAccountName "
				 "status.hostIP status.hostIPs status.podIP status.podIPs";

/* ConvertDownwardAPIFieldLabel: the names that v1 knows. */
static bool is_field(struct span path)
{
	return check_one_of(path,
			    "metadata.annotations metadata.labels metadata.name metadata.namespace metadata.uid spec.nodeName "
			    "spec.restartPolicy spec.serviceAccountName spec.schedulerName status.phase status.hostIP "
			    "status.hostIPs status.podIP status.podIPs");
}

/* "metadata.labels['x']": path and subscript. */
static bool split_subscript(struct span field, struct span *out_path, struct span *out_key)
{
	if (!span_ends(field, SPAN("']")))
		return false;
	struct span s = span_sub(field, 0, field.len - 2);
	ptrdiff_t at = span_find(s, SPAN("['"));
	if (at <= 0)
		return false;
	*out_path = span_sub(s, 0, (size_t)at);
	*out_key = span_from(s, (size_t)at + 2);
	return true;
}

static struct span lower(struct arena *a, struct span s)
{
	char *copy = arena_cstr(a, s);
	for (size_t i = 0; i < s.len; i++)
		if (copy[i] >= 'A' && copy[i] <= 'Z')
			copy[i] = (char)(copy[i] + 'a' - 'A');
	return span_make(copy, s.len);
}

void check_pod_field_ref(struct check *c, const struct path *at, const struct json *ref, const char *choices)
{
	struct span version = member_text(ref, "apiVersion"), field = member_text(ref, "fieldPath"), path, key;
	if (!version.len) {
		bad_required(c, &PATH(at, "apiVersion"), "");
		return;
	}
	if (!field.len) {
		bad_required(c, &PATH(at, "fieldPath"), "");
		return;
	}
	bool subscript = split_subscript(field, &path, &key);
	if (!span_is(version, "v1")) {
		bad_string(c, &PATH(at, "fieldPath"), field, "error converting fieldPath: unsupported pod version: %.*s",
			   SPAN_ARG(version));
		return;
	}
	if (subscript ? !check_one_of(path, "metadata.annotations metadata.labels")
		      : !is_field(field) && !span_is(field, "spec.host")) {
		if (subscript)
			bad_string(c, &PATH(at, "fieldPath"), field, "error converting fieldPath: field label does not support "
				   "subscript: %.*s", SPAN_ARG(field));
		else
			bad_string(c, &PATH(at, "fieldPath"), field, "error converting fieldPath: field label not supported: %.*s",
				   SPAN_ARG(field));
		return;
	}
	if (subscript) {
		struct span name = span_is(path, "metadata.annotations") ? lower(c->arena, key) : key;
		check_name(c, at, name, api_name_qualified);
		return;
	}
	if (span_is(field, "spec.host"))
		field = SPAN("spec.nodeName");
	if (!check_one_of(field, choices))
		bad_choice(c, &PATH(at, "fieldPath"), field, choices);
}

/* The divisor's value, of which there are few; a wrong one shows the resource, as upstream has it. */
static void check_divisor(struct check *c, const struct path *at, struct span resource, const struct json *divisor)
{
	static const char sizes[] = "1 1k 1M 1G 1T 1P 1E 1Ki 1Mi 1Gi 1Ti 1Pi 1Ei";
	static const char list[] = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
	struct api_quantity q;
	if (!divisor || (check_quantity(divisor, &q) && !api_quantity_sign(&q)))
		return;
	struct span text = json_span(divisor);
	const struct path d = PATH(at, "divisor");
	if (check_one_of(resource, "limits.cpu requests.cpu")) {
		if (!check_one_of(text, "1m 1"))
			bad_string(c, &d, resource, "only divisor's values 1m and 1 are supported with the cpu resource");
	} else if (check_one_of(resource, "limits.memory requests.memory")) {
		if (!check_one_of(text, sizes))
			bad_string(c, &d, resource, "only divisor's values %s are supported with the memory resource", list);
	} else if (check_one_of(resource, "limits.ephemeral-storage requests.ephemeral-storage")) {
		if (!check_one_of(text, sizes))
			bad_string(c, &d, resource,
				   "only divisor's values %s are supported with the local ephemeral storage resource", list);
	} else if (span_starts(resource, SPAN("requests.hugepages-")) || span_starts(resource, SPAN("limits.hugepages-"))) {
		if (!check_one_of(text, sizes))
			bad_string(c, &d, resource, "only divisor's values %s are supported with the hugepages resource", list);
	}
}

void check_pod_resource_ref(struct check *c, const struct path *at, const struct json *ref, bool in_volume)
{
	static const char choices[] = "limits.cpu limits.ephemeral-storage limits.memory requests.cpu requests.ephemeral-storage "
				      "requests.memory";
	struct span resource = member_text(ref, "resource");
	if (in_volume && !member_text(ref, "containerName").len)
		bad_required(c, &PATH(at, "containerName"), "");
	else if (!resource.len)
		bad_required(c, &PATH(at, "resource"), "");
	else if (!check_one_of(resource, choices) && !span_starts(resource, SPAN("limits.hugepages-")) &&
		 !span_starts(resource, SPAN("requests.hugepages-")))
		bad_choice(c, &PATH(at, "resource"), resource, choices);
	check_divisor(c, at, resource, member(ref, "divisor"));
}

static void check_key_ref(struct check *c, const struct path *at, const struct json *ref)
{
	struct span key = member_text(ref, "key");
	check_name(c, &PATH(at, "name"), member_text(ref, "name"), api_name_dns1123_subdomain);
	if (!key.len)
		bad_required(c, &PATH(at, "key"), "");
	else
		check_name(c, &PATH(at, "key"), key, api_name_config_key);
}

static void check_value_from(struct check *c, const struct path *at, const struct json *from, struct span value)
{
	const struct json *m;
	unsigned sources = 0;
	if ((m = member(from, "fieldRef"))) {
		sources++;
		check_pod_field_ref(c, &PATH(at, "fieldRef"), m, env_fields);
	}
	if ((m = member(from, "resourceFieldRef"))) {
		sources++;
		check_pod_resource_ref(c, &PATH(at, "resourceFieldRef"), m, false);
	}
	if ((m = member(from, "configMapKeyRef"))) {
		sources++;
		check_key_ref(c, &PATH(at, "configMapKeyRef"), m);
	}
	if ((m = member(from, "secretKeyRef"))) {
		sources++;
		check_key_ref(c, &PATH(at, "secretKeyRef"), m);
	}
	if (!sources)
		bad_string(c, at, SPAN_EMPTY,
			   "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`");
	else if (value.len)
		bad_string(c, at, SPAN_EMPTY, "may not be specified when `value` is not empty");
	else if (sources > 1)
		bad_string(c, at, SPAN_EMPTY, "may not have more than one field specified at a time");
}

static unsigned check_env_source(struct check *c, const struct path *at, const struct json *ref)
{
	struct api_complaints bad;
	struct span name = member_text(ref, "name");
	if (!ref)
		return 0;
	if (!name.len)
		bad_required(c, &PATH(at, "name"), "");
	else if (api_name_as_prefix(api_name_dns1123_subdomain, name, &bad)) /* upstream asks with prefix=true */
		bad_complaints(c, &PATH(at, "name"), name, &bad);
	return 1;
}

void check_pod_env(struct pod_view *v, const struct path *at, const struct json *container)
{
	struct check *c = v->c;
	const struct path env = PATH(at, "env"), env_from = PATH(at, "envFrom");
	JSON_EACH_INDEX(member(container, "env"), var, i) {
		const struct path item = PATH_INDEX(&env, i);
		struct span name = member_text(var, "name");
		if (!name.len)
			bad_required(c, &PATH(&item, "name"), "");
		else
			check_name(c, &PATH(&item, "name"), name, api_name_env_var_relaxed);
		if (member(var, "valueFrom"))
			check_value_from(c, &PATH(&item, "valueFrom"), member(var, "valueFrom"), member_text(var, "value"));
	}
	JSON_EACH_INDEX(member(container, "envFrom"), from, i) {
		const struct path item = PATH_INDEX(&env_from, i);
		if (member_text(from, "prefix").len)
			check_name(c, &PATH(&item, "prefix"), member_text(from, "prefix"), api_name_env_var_relaxed);
		unsigned sources = check_env_source(c, &PATH(&item, "configMapRef"), member(from, "configMapRef"));
		sources += check_env_source(c, &PATH(&item, "secretRef"), member(from, "secretRef"));
		if (!sources)
			bad_string(c, &env_from, SPAN_EMPTY, "must specify one of: `configMapRef` or `secretRef`");
		else if (sources > 1)
			bad_string(c, &env_from, SPAN_EMPTY, "may not have more than one field specified at a time");
	}
}
