/* resource.k8s.io ResourceSlice: what a driver has on one node or on all. Written for v1beta1, as devices.c. */
#include "strategy/devices.h"

#define DEVICES_MAX 128
#define PROPERTIES_MAX 32
#define VALUE_MAX 64
#define ID_MAX 32

void check_device_pool_name(struct check *c, const struct path *at, struct span name)
{
	struct span rest = name, part;
	if (!name.len) {
		bad_required(c, at, "");
		return;
	}
	if (name.len > 253)
		bad_too_long(c, at, 253);
	while (span_cut(&rest, '/', &part))
		check_name(c, at, part, api_name_dns1123_subdomain);
}

static void check_id(struct check *c, const struct path *at, struct span id)
{
	if (id.len > ID_MAX)
		bad_too_long(c, at, ID_MAX);
	check_name(c, at, id, api_name_c_identifier);
}

void check_device_attribute_name(struct check *c, const struct path *at, struct span name, bool domain)
{
	struct span prefix, id;
	if (!name.len) {
		bad_required(c, at, "name required");
		return;
	}
	if (!span_split(name, '/', &prefix, &id)) {
		if (domain)
			bad_string(c, at, name, "must include a domain");
		else
			check_id(c, at, name);
		return;
	}
	if (!prefix.len)
		bad_required(c, at, "the domain must not be empty");
	else
		check_csi_driver_name(c, at, prefix);
	if (!id.len)
		bad_required(c, at, "the name must not be empty");
	else
		check_id(c, at, id);
}

/* ---- devices */

static bool number_ok(struct span s) /* of a version: no leading zero */
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
	return s.len && (s.len == 1 || s.ptr[0] != '0');
}

static bool identifiers_ok(struct span list, bool numbers) /* a.b-c.1; numbers: without leading zeros */
{
	struct span rest = list, one;
	bool any = false;
	while (span_cut(&rest, '.', &one)) {
		bool digits = true;
		for (size_t i = 0; i < one.len; i++) {
			char ch = one.ptr[i];
			bool digit = ch >= '0' && ch <= '9';
			if (!digit && !(ch >= 'a' && ch <= 'z') && !(ch >= 'A' && ch <= 'Z') && ch != '-')
				return false;
			digits = digits && digit;
		}
		if (!one.len || (numbers && digits && !number_ok(one)))
			return false;
		any = true;
	}
	return any && list.ptr[list.len - 1] != '.';
}

/* semver.org 2.0.0: MAJOR.MINOR.PATCH, then -PRE, then +BUILD. */
static bool semver_ok(struct span s)
{
	struct span core = s, pre, build, rest, part;
	bool has_build = span_split(core, '+', &rest, &build);
	core = has_build ? rest : core;
	bool has_pre = span_split(core, '-', &rest, &pre);
	core = has_pre ? rest : core;
	unsigned n = 0;
	rest = core;
	while (span_cut(&rest, '.', &part)) {
		if (!number_ok(part))
			return false;
		n++;
	}
	return n == 3 && (!has_pre || identifiers_ok(pre, true)) && (!has_build || identifiers_ok(build, false));
}

static void check_attribute(struct check *c, const struct path *at, const struct json *attribute)
{
	const struct json *text = member(attribute, "string"), *version = member(attribute, "version");
	unsigned n = (member(attribute, "int") != NULL) + (member(attribute, "bool") != NULL) + (text != NULL) + (version != NULL);
	if (text && json_span(text).len > VALUE_MAX)
		bad_too_long(c, &PATH(at, "string"), VALUE_MAX);
	if (version && json_span(version).len > VALUE_MAX)
		bad_too_long(c, &PATH(at, "version"), VALUE_MAX);
	if (version && !semver_ok(json_span(version)))
		bad_string(c, &PATH(at, "version"), json_span(version), "must be a string compatible with semver.org spec 2.0.0");
	if (!n)
		bad_required(c, at, "exactly one value must be specified");
	else if (n > 1)
		bad_typed(c, at, "resource/v1beta1.DeviceAttribute", attribute, "exactly one value must be specified");
}

static void check_device(struct check *c, const struct path *at, const struct json *device)
{
	const struct json *basic = member(device, "basic"), *attributes = member(basic, "attributes"),
			  *capacity = member(basic, "capacity");
	const struct path attributes_at = PATH(at, "attributes"), capacity_at = PATH(at, "capacity");
	check_name(c, &PATH(at, "name"), member_text(device, "name"), api_name_dns1123_label);
	if (!basic) {
		bad_required(c, &PATH(at, "basic"), "");
		return;
	}
	if (json_count(attributes) + json_count(capacity) > PROPERTIES_MAX)
		bad_int(c, at, json_count(attributes) + json_count(capacity),
			"the total number of attributes and capacities must not exceed %d", PROPERTIES_MAX);
	JSON_EACH_MEMBER(attributes, m) {
		const struct path item = PATH_KEY(&attributes_at, json_key(m));
		check_device_attribute_name(c, &item, json_key(m), false);
		check_attribute(c, &item, &m->value);
	}
	JSON_EACH_MEMBER(capacity, m)
		check_device_attribute_name(c, &PATH_KEY(&capacity_at, json_key(m)), json_key(m), false);
}

/* ---- the slice */

/* Where it is: one node, those that a selector chooses, or all. */
static void check_where(struct check *c, const struct path *at, const struct json *spec)
{
	static const char words[] = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
	struct span name = member_text(spec, "nodeName");
	const struct json *selector = member(spec, "nodeSelector"), *terms = member(selector, "nodeSelectorTerms");
	const struct path selector_at = PATH(at, "nodeSelector");
	auto_buf struct buf set = {};
	unsigned n = 0;
	if (name.len) {
		buf_printf(&set, "%s`nodeName`", n++ ? ", " : "");
		check_name(c, &PATH(at, "nodeName"), name, api_name_dns1123_subdomain);
	}
	if (selector) {
		buf_printf(&set, "%s`nodeSelector`", n++ ? ", " : "");
		check_node_selector(c, &selector_at, selector, false);
		if (json_count(terms) != 1)
			bad_typed(c, &PATH(&selector_at, "nodeSelectorTerms"), "[]core/v1.NodeSelectorTerm", terms,
				  "must have exactly one node selector term");
	}
	if (member_true(spec, "allNodes"))
		buf_printf(&set, "%s`allNodes`", n++ ? ", " : "");
	if (!n)
		bad_required(c, at, words);
	else if (n > 1) {
		struct span shown = arena_printf(c->arena, "{%s}", buf_cstr(&set));
		bad_string(c, at, shown, "%s, but multiple fields are set", words);
	}
}

static void check_slice_stored(struct check *c, const struct json *slice, const struct json *old)
{
	const struct json *spec = member(slice, "spec"), *was = member(old, "spec"), *pool = member(spec, "pool");
	const struct json *devices = member(spec, "devices");
	const struct path at = PATH(PATH_ROOT, "spec"), pool_at = PATH(&at, "pool"), devices_at = PATH(&at, "devices");
	if (old)
		check_meta_update(c, slice, old, META_CORE);
	else
		check_meta(c, slice, META_CORE, api_name_dns1123_subdomain);
	check_csi_driver_name(c, &PATH(&at, "driver"), member_text(spec, "driver"));
	check_device_pool_name(c, &PATH(&pool_at, "name"), member_text(pool, "name"));
	if (member_int(pool, "resourceSliceCount") <= 0)
		bad_int(c, &PATH(&pool_at, "resourceSliceCount"), member_int(pool, "resourceSliceCount"), "must be greater than zero");
	if (member_int(pool, "generation") < 0)
		bad_int(c, &PATH(&pool_at, "generation"), member_int(pool, "generation"), "must be greater than or equal to zero");
	check_where(c, &at, spec);
	JSON_EACH_INDEX(devices, device, i) {
		const struct path item = PATH_INDEX(&devices_at, i);
		check_device(c, &item, device);
		for (uint32_t k = 0; k < i; k++)
			if (span_eq(member_text(&devices->items[k], "name"), member_text(device, "name"))) {
				bad_duplicate_string(c, &PATH(&item, "name"), member_text(device, "name"));
				break;
			}
	}
	if (json_count(devices) > DEVICES_MAX)
		bad_too_many(c, &devices_at, json_count(devices), DEVICES_MAX);
	if (!old)
		return;
	check_immutable(c, &PATH(&at, "nodeName"), "", member(spec, "nodeName"), member(was, "nodeName"));
	check_immutable(c, &PATH(&at, "driver"), "", member(spec, "driver"), member(was, "driver"));
	check_immutable(c, &PATH(&pool_at, "name"), "", member(pool, "name"), member(member(was, "pool"), "name"));
}

static void check_resource_slice(struct check *c, const struct json *slice, const struct json *old)
{
	check_device_as_stored(c, slice, old, check_slice_stored);
}

/* Fields of gates that are off. */
static void prepare_resource_slice(struct strategy *s)
{
	static const char *const gated[] = { "consumesCounters", "nodeName", "nodeSelector", "allNodes", "taints" };
	struct json *spec = json_getl(s->object, "spec");
	json_remove(spec, SPAN("perDeviceNodeSelection"));
	json_remove(spec, SPAN("sharedCounters"));
	JSON_EACH_ITEM(json_getl(spec, "devices"), device)
		for (size_t i = 0; i < ARRAY_LEN(gated); i++) {
			(void)json_remove(json_getl(device, "basic"), span_of(gated[i]));
			(void)json_remove(device, span_of(gated[i])); /* v1beta2 has no `basic` */
		}
	strategy_generation(s, strategy_part_changed(s, "spec"));
}

const struct strategy_kind strategy_kind_resource_slice = {
	.group = "resource.k8s.io", .kind = "ResourceSlice", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.prepare = prepare_resource_slice, .check = check_resource_slice,
};
