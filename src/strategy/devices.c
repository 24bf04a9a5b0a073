/* resource.k8s.io, as 1.33 has it with the alpha gates off: DeviceClass, ResourceClaim, ResourceClaimTemplate. Written for
 * v1beta1, which is stored; objects of other versions are checked as the stored ones that they stand for.
 *
 * Upstream checks its internal form, which is v1beta2's: what v1beta1 has flat in a request stands under `exactly` there, and so it
 * does in complaints. Fields of gates that are off (adminAccess, firstAvailable, tolerations) are dropped before, as upstream.
 *
 * Selectors are CEL. There is no CEL here: their presence and length are checked, and a new or changed one is refused with
 * words that say so, so that no claim is ever given a device that its selector would not have chosen. */
#include "strategy/devices.h"

#define REQUESTS_MAX 32
#define CONSTRAINTS_MAX 32
#define CONFIG_MAX 32
#define SELECTORS_MAX 32
#define RESERVED_MAX 256
#define RESULTS_MAX 32
#define TEXT_MAX (10 * 1024) /* CEL expressions, opaque parameters */

static void check_most(struct check *c, const struct path *at, const struct json *list, int64_t most)
{
	if (json_count(list) > most)
		bad_too_many(c, at, json_count(list), most);
}

void check_device_as_stored(struct check *c, const struct json *object, const struct json *old, check_fn *check)
{
	struct json now, was;
	bool converted = api_to_storage(c->arena, c->s->resource, object, &now);
	if (old && api_to_storage(c->arena, c->s->resource, old, &was))
		old = &was;
	check(c, converted ? &now : object, old);
}

/* ---- what classes and claims share */

static void check_selectors(struct check *c, const struct path *at, const struct json *list, bool stored)
{
	JSON_EACH_INDEX(list, selector, i) {
		const struct path item = PATH_INDEX(at, i), cel_at = PATH(&item, "cel"), text_at = PATH(&cel_at, "expression");
		const struct json *cel = member(selector, "cel");
		struct span text = member_text(cel, "expression");
		if (!cel)
			bad_required(c, &cel_at, "");
		else if (stored)
			continue; /* it was good when it was written */
		else if (text.len > TEXT_MAX)
			bad_too_long(c, &text_at, TEXT_MAX);
		else if (!text.len)
			bad_required(c, &text_at, "");
		else
			bad_forbidden(c, &text_at, "CEL expressions cannot be evaluated by this server yet");
	}
	check_most(c, at, list, SELECTORS_MAX);
}

static void check_parameters(struct check *c, const struct path *at, const struct json *parameters, bool stored)
{
	auto_buf struct buf text = {};
	if (!parameters || json_is(parameters, JSON_NULL)) {
		bad_required(c, at, "");
		return;
	}
	json_write(&text, parameters, 0);
	if (!stored && text.len > TEXT_MAX)
		bad_too_long(c, at, TEXT_MAX);
	else if (!json_is(parameters, JSON_OBJECT))
		bad_string(c, at, SPAN("<value omitted>"), "must be a valid JSON object");
}

static void check_configuration(struct check *c, const struct path *at, const struct json *config, bool stored)
{
	const struct json *opaque = member(config, "opaque");
	const struct path opaque_at = PATH(at, "opaque");
	if (!opaque) {
		bad_required(c, &opaque_at, "");
		return;
	}
	check_csi_driver_name(c, &PATH(&opaque_at, "driver"), member_text(opaque, "driver"));
	check_parameters(c, &PATH(&opaque_at, "parameters"), member(opaque, "parameters"), stored);
}

/* ---- DeviceClass */

static void check_device_class(struct check *c, const struct json *class, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec"), config_at = PATH(&at, "config");
	const struct json *spec = member(class, "spec"), *was = member(old, "spec"), *config = member(spec, "config");
	if (old)
		check_meta_update(c, class, old, META_CORE);
	else
		check_meta(c, class, META_CORE, api_name_dns1123_subdomain);
	check_selectors(c, &PATH(&at, "selectors"), member(spec, "selectors"), old && !member_changed(spec, was, "selectors"));
	JSON_EACH_INDEX(config, item, i)
		check_configuration(c, &PATH_INDEX(&config_at, i), item, old && !member_changed(spec, was, "config"));
	check_most(c, &config_at, config, CONFIG_MAX);
}

static void prepare_class(struct strategy *s)
{
	strategy_generation(s, strategy_part_changed(s, "spec"));
}

const struct strategy_kind strategy_kind_device_class = {
	.group = "resource.k8s.io", .kind = "DeviceClass", .flags = STRATEGY_UNCONDITIONAL_UPDATE | STRATEGY_HAS_GENERATION,
	.prepare = prepare_class, .check = check_device_class,
};

/* ---- claims */

static bool has_request(const struct json *spec, struct span name)
{
	JSON_EACH_ITEM(member(member(spec, "devices"), "requests"), request)
		if (span_eq(member_text(request, "name"), name))
			return true;
	return false;
}

static void check_request_ref(struct check *c, const struct path *at, struct span name, const struct json *spec)
{
	static const char words[] = "must be the name of a request in the claim or the name of a request and a subrequest separated by "
				    "'/'";
	struct span rest = name, one;
	if (span_chr(name, '/') != span_rchr(name, '/')) {
		bad_string(c, at, name, "%s", words);
		return;
	}
	while (span_cut(&rest, '/', &one))
		check_name(c, at, one, api_name_dns1123_label);
	if (!has_request(spec, name)) /* there are no subrequests: their gate is off */
		bad_string(c, at, name, "%s", words);
}

static void check_request_refs(struct check *c, const struct path *at, const struct json *names, const struct json *spec)
{
	JSON_EACH_INDEX(names, name, i) {
		const struct path item = PATH_INDEX(at, i);
		check_request_ref(c, &item, json_span(name), spec);
		for (uint32_t k = 0; k < i; k++)
			if (json_equal(&names->items[k], name)) {
				bad_duplicate(c, &item, name);
				break;
			}
	}
	check_most(c, at, names, REQUESTS_MAX);
}

static void check_request(struct check *c, const struct path *at, const struct json *request, bool stored)
{
	static const char *const main_fields[] = { "deviceClassName", "selectors", "allocationMode", "count" };
	const struct path exactly = PATH(at, "exactly");
	struct span class = member_text(request, "deviceClassName"), mode = member_text(request, "allocationMode");
	int64_t count = member_int(request, "count");
	bool any = false;
	check_name(c, &PATH(at, "name"), member_text(request, "name"), api_name_dns1123_label);
	for (size_t i = 0; i < ARRAY_LEN(main_fields); i++) {
		const struct json *v = json_get(request, span_of(main_fields[i]));
		any = any || json_span(v).len || json_count(v) || json_i64(v, 0);
	}
	if (!any) {
		bad_required(c, at, "exactly one of `exactly` or `firstAvailable` is required");
		return;
	}
	if (!class.len)
		bad_required(c, &PATH(&exactly, "deviceClassName"), "");
	else
		check_name(c, &PATH(&exactly, "deviceClassName"), class, api_name_dns1123_subdomain);
	check_selectors(c, &PATH(&exactly, "selectors"), member(request, "selectors"), stored);
	if (span_is(mode, "All")) {
		if (count)
			bad_int(c, &PATH(&exactly, "count"), count, "must not be specified when allocationMode is 'All'");
	} else if (span_is(mode, "ExactCount")) {
		if (count <= 0)
			bad_int(c, &PATH(&exactly, "count"), count, "must be greater than zero");
	} else {
		bad_choice(c, &PATH(&exactly, "allocationMode"), mode, "All ExactCount");
	}
}

static void check_claim(struct check *c, const struct path *at, const struct json *spec)
{
	const struct json *devices = member(spec, "devices"), *requests = member(devices, "requests"),
			  *constraints = member(devices, "constraints"), *config = member(devices, "config");
	const struct path devices_at = PATH(at, "devices"), requests_at = PATH(&devices_at, "requests"),
			  constraints_at = PATH(&devices_at, "constraints"), config_at = PATH(&devices_at, "config");
	JSON_EACH_INDEX(requests, request, i) {
		const struct path item = PATH_INDEX(&requests_at, i);
		check_request(c, &item, request, false);
		for (uint32_t k = 0; k < i; k++)
			if (span_eq(member_text(&requests->items[k], "name"), member_text(request, "name"))) {
				bad_duplicate_string(c, &PATH(&item, "name"), member_text(request, "name"));
				break;
			}
	}
	check_most(c, &requests_at, requests, REQUESTS_MAX);
	JSON_EACH_INDEX(constraints, constraint, i) {
		const struct path item = PATH_INDEX(&constraints_at, i), match_at = PATH(&item, "matchAttribute");
		const struct json *match = member(constraint, "matchAttribute");
		check_request_refs(c, &PATH(&item, "requests"), member(constraint, "requests"), spec);
		if (match)
			check_device_attribute_name(c, &match_at, json_span(match), true);
		else
			bad_required(c, &match_at, "");
	}
	check_most(c, &constraints_at, constraints, CONSTRAINTS_MAX);
	JSON_EACH_INDEX(config, item, i) {
		const struct path item_at = PATH_INDEX(&config_at, i);
		check_request_refs(c, &PATH(&item_at, "requests"), member(item, "requests"), spec);
		check_configuration(c, &item_at, item, false);
	}
	check_most(c, &config_at, config, CONFIG_MAX);
}

static void drop_gated(struct json *spec)
{
	static const char *const gated[] = { "adminAccess", "firstAvailable", "tolerations" };
	JSON_EACH_ITEM(member(member(spec, "devices"), "requests"), request)
		for (size_t i = 0; i < ARRAY_LEN(gated); i++) {
			(void)json_remove(request, span_of(gated[i]));
			(void)json_remove(json_getl(request, "exactly"), span_of(gated[i])); /* v1beta2 */
		}
}

static void default_requests(struct arena *a, struct json *spec)
{
	JSON_EACH_ITEM(member(member(spec, "devices"), "requests"), request) {
		struct json *exactly = json_getl(request, "exactly"), *of = exactly ? exactly : request; /* v1beta2, v1beta1 */
		if (!exactly && !member_text(request, "deviceClassName").len)
			continue;
		default_string(a, of, "allocationMode", "ExactCount");
		if (span_is(member_text(of, "allocationMode"), "ExactCount"))
			default_int_nonzero(a, of, "count", 1);
	}
}

static void default_resource_claim(struct arena *a, struct json *claim)
{
	default_requests(a, json_getl(claim, "spec"));
}

static void prepare_resource_claim(struct strategy *s)
{
	if (strategy_creates(s))
		drop_gated(json_getl(s->object, "spec"));
	prepare_status(s);
}

static void check_resource_claim_stored(struct check *c, const struct json *claim, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec");
	if (!old) {
		check_meta(c, claim, META_CORE, api_name_dns1123_subdomain);
		check_claim(c, &at, member(claim, "spec"));
		return;
	}
	check_meta_update(c, claim, old, META_CORE);
	check_immutable(c, &at, "resource/v1beta1.ResourceClaimSpec", member(claim, "spec"), member(old, "spec"));
}

static void check_resource_claim(struct check *c, const struct json *object, const struct json *old)
{
	check_device_as_stored(c, object, old, check_resource_claim_stored);
}

/* ---- the status of a claim: what the scheduler and drivers write */

static void check_consumers(struct check *c, const struct path *at, const struct json *status, const struct json *was, bool deleted)
{
	const struct json *list = member(status, "reservedFor"), *before = member(was, "reservedFor");
	bool added = false;
	JSON_EACH_INDEX(list, ref, i) {
		const struct path item = PATH_INDEX(at, i);
		bool known = false;
		check_present(c, &item, ref, "resource");
		check_present(c, &item, ref, "name");
		check_present(c, &item, ref, "uid");
		for (uint32_t k = 0; k < i; k++)
			if (span_eq(member_text(&list->items[k], "uid"), member_text(ref, "uid"))) {
				bad_duplicate_string(c, &PATH(&item, "uid"), member_text(ref, "uid"));
				break;
			}
		JSON_EACH_ITEM(before, one)
			known = known || json_equal(one, ref);
		added = added || !known;
	}
	check_most(c, at, list, RESERVED_MAX);
	if (json_count(list) && !member(status, "allocation"))
		bad_forbidden(c, at, "may not be specified when `allocated` is not set");
	else if (deleted && added)
		bad_forbidden(c, at, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set");
}

static void check_allocation(struct check *c, const struct path *at, const struct json *allocation, const struct json *spec)
{
	const struct json *devices = member(allocation, "devices"), *results = member(devices, "results"),
			  *config = member(devices, "config");
	const struct path devices_at = PATH(at, "devices"), results_at = PATH(&devices_at, "results"),
			  config_at = PATH(&devices_at, "config");
	JSON_EACH_INDEX(results, result, i) {
		const struct path item = PATH_INDEX(&results_at, i);
		check_request_ref(c, &PATH(&item, "request"), member_text(result, "request"), spec);
		check_csi_driver_name(c, &PATH(&item, "driver"), member_text(result, "driver"));
		check_device_pool_name(c, &PATH(&item, "pool"), member_text(result, "pool"));
		check_name(c, &PATH(&item, "device"), member_text(result, "device"), api_name_dns1123_label);
	}
	check_most(c, &results_at, results, RESULTS_MAX);
	JSON_EACH_INDEX(config, item, i) {
		const struct path item_at = PATH_INDEX(&config_at, i), source_at = PATH(&item_at, "source");
		struct span source = member_text(item, "source");
		if (!source.len)
			bad_required(c, &source_at, "");
		else if (!check_one_of(source, "FromClaim FromClass"))
			bad_choice(c, &source_at, source, "FromClaim FromClass");
		check_request_refs(c, &PATH(&item_at, "requests"), member(item, "requests"), spec);
		check_configuration(c, &item_at, item, false);
	}
	check_most(c, &config_at, config, 2 * CONFIG_MAX);
	const struct json *selector = member(allocation, "nodeSelector");
	if (selector)
		check_node_selector(c, &PATH(at, "nodeSelector"), selector, false);
}

static bool same_device(const struct json *a, const struct json *b)
{
	static const char *const parts[] = { "driver", "pool", "device" };
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (!span_eq(member_text(a, parts[i]), member_text(b, parts[i])))
			return false;
	return true;
}

/* What drivers say of the devices that were given: each of those, and each once. */
static void check_device_statuses(struct check *c, const struct path *at, const struct json *status)
{
	const struct json *list = member(status, "devices");
	const struct json *results = member(member(member(status, "allocation"), "devices"), "results");
	JSON_EACH_INDEX(list, device, i) {
		const struct path item = PATH_INDEX(at, i), data_at = PATH(&item, "data");
		bool given = false;
		check_csi_driver_name(c, &PATH(&item, "driver"), member_text(device, "driver"));
		check_device_pool_name(c, &PATH(&item, "pool"), member_text(device, "pool"));
		check_name(c, &PATH(&item, "device"), member_text(device, "device"), api_name_dns1123_label);
		JSON_EACH_ITEM(results, result)
			given = given || same_device(result, device);
		if (!given)
			bad_string(c, &item, member_text(device, "device"), "must be an allocated device in the claim");
		check_most(c, &PATH(&item, "conditions"), member(device, "conditions"), 8);
		check_conditions(c, &PATH(&item, "conditions"), member(device, "conditions"));
		if (member(device, "data"))
			check_parameters(c, &data_at, member(device, "data"), false);
		for (uint32_t k = 0; k < i; k++)
			if (same_device(&list->items[k], device)) {
				bad_duplicate(c, &item, device);
				break;
			}
	}
}

static void check_claim_status_stored(struct check *c, const struct json *claim, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "status"), allocation_at = PATH(&at, "allocation");
	const struct json *status = member(claim, "status"), *was = member(old, "status");
	const struct json *allocation = member(status, "allocation"), *allocated = member(was, "allocation");
	check_meta_update(c, claim, old, META_CORE);
	check_consumers(c, &PATH(&at, "reservedFor"), status, was, member(member(claim, "metadata"), "deletionTimestamp"));
	check_device_statuses(c, &PATH(&at, "devices"), status);
	if (allocation && allocated)
		check_immutable(c, &allocation_at, "resource/v1beta1.AllocationResult", allocation, allocated);
	else if (allocation)
		check_allocation(c, &allocation_at, allocation, member(claim, "spec"));
}

static void check_claim_status(struct check *c, const struct json *object, const struct json *old)
{
	check_device_as_stored(c, object, old, check_claim_status_stored);
}

const struct strategy_kind strategy_kind_resource_claim = {
	.group = "resource.k8s.io", .kind = "ResourceClaim", .flags = STRATEGY_UNCONDITIONAL_UPDATE,
	.defaults = default_resource_claim, .prepare = prepare_resource_claim, .check = check_resource_claim,
	.subs = { { "status", prepare_status_meta, check_claim_status } },
};

/* ---- ResourceClaimTemplate */

static void default_claim_template(struct arena *a, struct json *template)
{
	default_requests(a, json_getl(json_getl(template, "spec"), "spec"));
}

static void prepare_claim_template(struct strategy *s)
{
	if (strategy_creates(s))
		drop_gated(json_getl(json_getl(s->object, "spec"), "spec"));
}

static void check_claim_template_stored(struct check *c, const struct json *template, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec");
	if (!old) {
		check_meta(c, template, META_CORE, api_name_dns1123_subdomain);
		check_claim(c, &PATH(&at, "spec"), member(member(template, "spec"), "spec"));
		return;
	}
	check_meta_update(c, template, old, META_CORE);
	check_immutable(c, &at, "resource/v1beta1.ResourceClaimTemplateSpec", member(template, "spec"), member(old, "spec"));
}

static void check_claim_template(struct check *c, const struct json *object, const struct json *old)
{
	check_device_as_stored(c, object, old, check_claim_template_stored);
}

const struct strategy_kind strategy_kind_claim_template = {
	.group = "resource.k8s.io", .kind = "ResourceClaimTemplate", .flags = STRATEGY_UNCONDITIONAL_UPDATE,
	.defaults = default_claim_template, .prepare = prepare_claim_template, .check = check_claim_template,
};
