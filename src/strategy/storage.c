/* storage.k8s.io: StorageClass, VolumeAttachment, CSINode, CSIDriver, CSIStorageCapacity. */
#include "strategy/check.h"

/* ---- StorageClass */
static void default_storage_class(struct arena *a, struct json *object)
{
	default_unset(a, object, "reclaimPolicy", "Delete");
	default_unset(a, object, "volumeBindingMode", "Immediate");
}

static void check_parameters(struct check *c, const struct path *at, const struct json *params)
{
	size_t total = 0;
	if (json_count(params) > 512) {
		bad_too_long(c, at, 512);
		return;
	}
	JSON_EACH_MEMBER(params, m) {
		if (!m->key_len)
			bad_string(c, at, SPAN_EMPTY, "field can not be empty.");
		total += m->key_len + json_span(&m->value).len;
	}
	if (total > 256 << 10)
		bad_too_long(c, at, 256 << 10);
}

static void check_topology_term(struct check *c, const struct path *at, const struct json *term)
{
	const struct path list_at = PATH(at, "matchLabelExpressions");
	const struct json *list = member(term, "matchLabelExpressions");
	JSON_EACH_INDEX(list, rq, i) {
		const struct path item = PATH_INDEX(&list_at, i), values_at = PATH(&item, "values");
		const struct json *values = member(rq, "values");
		if (!json_count(values))
			bad_required(c, &values_at, "");
		JSON_EACH_INDEX(values, v, k)
			for (uint32_t m = 0; m < k; m++)
				if (json_equal(&values->items[m], v)) {
					bad_duplicate(c, &PATH_INDEX(&values_at, k), v);
					break;
				}
		check_name(c, &PATH(&item, "key"), member_text(rq, "key"), api_name_qualified);
		for (uint32_t m = 0; m < i; m++)
			if (span_eq(member_text(&list->items[m], "key"), member_text(rq, "key"))) {
				bad_duplicate_string(c, &PATH(&item, "key"), member_text(rq, "key"));
				break;
			}
	}
}

static struct span lower(struct arena *a, struct span s)
{
	char *copy = arena_cstr(a, s);
	for (size_t i = 0; i < s.len; i++)
		if (copy[i] >= 'A' && copy[i] <= 'Z')
			copy[i] = (char)(copy[i] + 32);
	return span_make(copy, s.len);
}

static void check_storage_class(struct check *c, const struct json *class, const struct json *old)
{
	struct span provisioner = member_text(class, "provisioner"), policy = member_text(class, "reclaimPolicy");
	const struct path provisioner_at = PATH(PATH_ROOT, "provisioner"), topologies_at = PATH(PATH_ROOT, "allowedTopologies");
	const struct json *mode = member(class, "volumeBindingMode"), *topologies = member(class, "allowedTopologies");
	check_meta(c, class, META_CORE, api_name_dns1123_subdomain);
	if (!provisioner.len)
		bad_required(c, &provisioner_at, "");
	else
		check_name(c, &provisioner_at, lower(c->arena, provisioner), api_name_qualified);
	check_parameters(c, &PATH(PATH_ROOT, "parameters"), member(class, "parameters"));
	if (policy.len && !check_one_of(policy, "Delete Retain"))
		bad_choice(c, &PATH(PATH_ROOT, "reclaimPolicy"), policy, "Delete Retain");
	if (!mode)
		bad_required(c, &PATH(PATH_ROOT, "volumeBindingMode"), "");
	check_choice(c, &PATH(PATH_ROOT, "volumeBindingMode"), mode, "Immediate WaitForFirstConsumer");
	JSON_EACH_INDEX(topologies, term, i) {
		check_topology_term(c, &PATH_INDEX(&topologies_at, i), term);
		for (uint32_t k = 0; k < i; k++)
			if (strategy_same(&topologies->items[k], term))
				bad_duplicate_string(c, &PATH(&PATH_INDEX(&topologies_at, i), "matchLabelExpressions"), SPAN_EMPTY);
	}
	if (!old)
		return;
	check_meta_update(c, class, old, META_CORE);
	static const char *const frozen[] = { "parameters", "provisioner", "reclaimPolicy" };
	for (size_t i = 0; i < ARRAY_LEN(frozen); i++)
		if (member_changed(class, old, frozen[i]))
			bad_forbidden(c, &PATH_SPAN(PATH_ROOT, span_of(frozen[i])), "updates to %s are forbidden.", frozen[i]);
	check_immutable(c, &PATH(PATH_ROOT, "volumeBindingMode"), "", mode, member(old, "volumeBindingMode"));
}

const struct strategy_kind strategy_kind_storage_class = {
	.group = "storage.k8s.io", .kind = "StorageClass", .flags = STRATEGY_UNCONDITIONAL_UPDATE,
		.defaults = default_storage_class,
	.prepare = prepare_nothing, .check = check_storage_class,
};

/* ---- VolumeAttachment */
static void check_volume_error(struct check *c, const struct path *at, const struct json *error)
{
	if (member_text(error, "message").len > 1024)
		bad_too_long(c, &PATH(at, "message"), 256 << 10); /* upstream names the other bound */
}

static void check_attachment(struct check *c, const struct json *object, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec"), source_at = PATH(&at, "source"), status_at = PATH(PATH_ROOT, "status");
	const struct json *spec = member(object, "spec"), *source = member(spec, "source"), *status = member(object, "status");
	const struct json *inlined = member(source, "inlineVolumeSpec"), *name = member(source, "persistentVolumeName");
	check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
	check_present(c, &at, spec, "attacher");
	static const char one[] = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
	if (!inlined && !name)
		bad_required(c, &source_at, one);
	else if (inlined && name)
		bad_forbidden(c, &source_at, one);
	else if (name && !json_span(name).len)
		bad_required(c, &PATH(&source_at, "persistentVolumeName"), "must specify non empty persistentVolumeName");
	else if (inlined)
		check_volume_spec(c, &PATH(&source_at, "inlineVolumeSpec"), inlined, SPAN_EMPTY, true, NULL);
	check_name(c, &PATH(&at, "nodeName"), member_text(spec, "nodeName"), api_name_dns1123_subdomain);
	size_t total = 0;
	JSON_EACH_MEMBER(member(status, "attachmentMetadata"), m)
		total += m->key_len + json_span(&m->value).len;
	if (total > 256 << 10)
		bad_too_long(c, &PATH(&status_at, "attachmentMetadata"), 256 << 10);
	check_volume_error(c, &PATH(&status_at, "attachError"), member(status, "attachError"));
	check_volume_error(c, &PATH(&status_at, "detachError"), member(status, "detachError"));
	if (old) {
		if (!strategy_same(spec, member(old, "spec")))
			bad_typed(c, &at, "storage/v1.VolumeAttachmentSpec", spec, "field is immutable");
		return;
	}
	check_csi_driver_name(c, &PATH(PATH_ROOT, "spec.attacher"), member_text(spec, "attacher"));
	if (name)
		check_name(c, &PATH(PATH_ROOT, "spec.source.persistentVolumeName"), json_span(name), api_name_dns1123_subdomain);
}

static void prepare_attachment_status(struct strategy *s)
{
	strategy_keep(s, "spec");
}

const struct strategy_kind strategy_kind_attachment = {
	.group = "storage.k8s.io", .kind = "VolumeAttachment", .flags = 0, .check = check_attachment,
	.subs = { { "status", prepare_attachment_status, check_attachment } },
};

/* ---- CSINode */
static void check_node_driver(struct check *c, const struct path *at, const struct json *drivers, uint32_t i, bool long_id)
{
	const struct json *driver = &drivers->items[i], *keys = member(driver, "topologyKeys");
	struct span name = member_text(driver, "name"), id = member_text(driver, "nodeID");
	const size_t most = long_id ? 256 : 192;
	check_csi_driver_name(c, &PATH(at, "name"), name);
	check_present(c, at, driver, "nodeID");
	if (id.len > most)
		bad_string(c, &PATH(at, "nodeID"), id, "must be %zu characters or less", most);
	check_non_negative(c, &PATH(&PATH(at, "allocatable"), "count"), member(member(driver, "allocatable"), "count"));
	for (uint32_t k = 0; k < i; k++)
		if (span_eq(member_text(&drivers->items[k], "name"), name)) {
			bad_duplicate_string(c, &PATH(at, "name"), name);
			break;
		}
	JSON_EACH_INDEX(keys, key, k) {
		if (!json_span(key).len)
			bad_required(c, at, "");
		for (uint32_t m = 0; m < k; m++)
			if (json_equal(&keys->items[m], key)) {
				bad_duplicate(c, at, key);
				break;
			}
		check_name(c, at, json_span(key), api_name_qualified);
	}
}

static void check_csi_node(struct check *c, const struct json *object, const struct json *old)
{
	const struct path at = PATH(&PATH(PATH_ROOT, "spec"), "drivers");
	const struct json *drivers = json_path(object, "spec", "drivers", NULL), *was = json_path(old, "spec", "drivers", NULL);
	bool long_id = !old; /* on update only where one was stored */
	JSON_EACH_ITEM(was, driver)
		long_id |= member_text(driver, "nodeID").len > 192;
	check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
	JSON_EACH_INDEX(drivers, driver, i)
		check_node_driver(c, &PATH_INDEX(&at, i), drivers, i, long_id);
	JSON_EACH_ITEM(was, old_driver)
		JSON_EACH_ITEM(drivers, driver)
			if (span_eq(member_text(driver, "name"), member_text(old_driver, "name")) && !strategy_same(driver,
				old_driver))
				bad_typed(c, &PATH(PATH_ROOT, "CSINodeDriver"), "storage/v1.CSINodeDriver", driver,
					"field is immutable");
}

const struct strategy_kind strategy_kind_csi_node = {
	.group = "storage.k8s.io", .kind = "CSINode", .flags = 0, .prepare = prepare_nothing, .check = check_csi_node,
};

/* ---- CSIDriver */
static void default_csi_driver(struct arena *a, struct json *object)
{
	struct json *spec = default_object(a, object, "spec");
	default_bool(a, spec, "attachRequired", true);
	default_bool(a, spec, "podInfoOnMount", false);
	default_bool(a, spec, "storageCapacity", false);
	default_unset(a, spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
	default_bool(a, spec, "requiresRepublish", false);
	default_bool(a, spec, "seLinuxMount", false);
	if (!json_count(member(spec, "volumeLifecycleModes"))) {
		struct json *modes = json_setl(a, spec, "volumeLifecycleModes", json_array());
		json_push(a, modes, json_str(SPAN("Persistent")));
	}
}

/* The kubelet's periodic updates of a driver's capacity belong to a feature that is off in 1.33. */
static void prepare_csi_driver(struct strategy *s)
{
	if (!json_path(s->old, "spec", "nodeAllocatableUpdatePeriodSeconds", NULL))
		strategy_drop_in(s, "spec", "nodeAllocatableUpdatePeriodSeconds");
	/* upstream counts changes of what a running pod would notice */
	static const char *const noticed[] = { "tokenRequests", "requiresRepublish", "seLinuxMount" };
	const struct json *now = member(s->object, "spec"), *was = member(s->old, "spec");
	for (size_t i = 0; s->old && i < ARRAY_LEN(noticed); i++)
		if (member_changed(now, was, noticed[i])) {
			strategy_generation(s, true);
			return;
		}
}

static void check_token_requests(struct check *c, const struct path *at, const struct json *requests)
{
	JSON_EACH_INDEX(requests, request, i) {
		const struct path item = PATH_INDEX(at, i), seconds_at = PATH(&item, "expirationSeconds");
		const struct json *seconds = member(request, "expirationSeconds");
		bool twice = false;
		for (uint32_t k = 0; k < i; k++)
			twice |= span_eq(member_text(&requests->items[k], "audience"), member_text(request, "audience"));
		if (twice)
			bad_duplicate_string(c, &PATH(&item, "audience"), member_text(request, "audience"));
		if (twice || !seconds)
			continue;
		if (seconds->i < 600)
			bad_value(c, &seconds_at, seconds, "may not specify a duration less than 10 minutes");
		if (seconds->i > INT64_C(1) << 32)
			bad_value(c, &seconds_at, seconds, "may not specify a duration larger than 2^32 seconds");
	}
}

static void check_csi_driver(struct check *c, const struct json *object, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec"), requests_at = PATH(&at, "tokenRequests");
	const struct json *spec = member(object, "spec"), *was = member(old, "spec"), *requests = member(spec, "tokenRequests");
	if (old)
		check_meta_update(c, object, old, META_CORE);
	else
		check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
	if (!member(spec, "attachRequired"))
		bad_required(c, &PATH(&at, "attachedRequired"), "");
	if (!member(spec, "podInfoOnMount"))
		bad_required(c, &PATH(&at, "podInfoOnMount"), "");
	if (!member(spec, "storageCapacity"))
		bad_required(c, &PATH(&at, "storageCapacity"), "");
	check_choice(c, &PATH(&at, "fsGroupPolicy"), member(spec, "fsGroupPolicy"), "File None ReadWriteOnceWithFSType");
	check_token_requests(c, &requests_at, requests);
	JSON_EACH_ITEM(member(spec, "volumeLifecycleModes"), mode)
		check_choice(c, &PATH(&at, "volumeLifecycleModes"), mode, "Persistent Ephemeral");
	if (!member(spec, "seLinuxMount"))
		bad_required(c, &PATH(&at, "seLinuxMount"), "");
	if (!old)
		return;
	check_immutable(c, &PATH(&at, "attachedRequired"), "", member(spec, "attachRequired"), member(was, "attachRequired"));
	check_immutable(c, &PATH(&at, "fsGroupPolicy"), "", member(spec, "fsGroupPolicy"), member(was, "fsGroupPolicy"));
	check_immutable(c, &PATH(&at, "volumeLifecycleModes"), "[]storage/v1.VolumeLifecycleMode", member(spec,
		"volumeLifecycleModes"),
			member(was, "volumeLifecycleModes"));
	check_token_requests(c, &requests_at, requests);
}

const struct strategy_kind strategy_kind_csi_driver = {
	.group = "storage.k8s.io", .kind = "CSIDriver", .flags = 0, .defaults = default_csi_driver, .prepare = prepare_csi_driver,
	.check = check_csi_driver,
};

/* ---- CSIStorageCapacity */
static void check_capacity_object(struct check *c, const struct json *object, const struct json *old)
{
	const struct json *topology = member(object, "nodeTopology");
	const struct path class_at = PATH(PATH_ROOT, "storageClassName");
	struct span class = member_text(object, "storageClassName");
	if (!old) {
		check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
		check_label_selector(c, &PATH(PATH_ROOT, "nodeTopology"), topology, false);
		check_name(c, &class_at, class, api_name_dns1123_subdomain);
		check_non_negative_quantity(c, &PATH(PATH_ROOT, "capacity"), member(object, "capacity"));
		check_non_negative_quantity(c, &PATH(PATH_ROOT, "maximumVolumeSize"), member(object, "maximumVolumeSize"));
		return;
	}
	check_meta_update(c, object, old, META_CORE);
	check_immutable(c, &PATH(PATH_ROOT, "nodeTopology"), "*meta/v1.LabelSelector", topology, member(old, "nodeTopology"));
	if (!span_eq(class, member_text(old, "storageClassName")))
		bad_string(c, &class_at, class, "field is immutable");
}

const struct strategy_kind strategy_kind_storage_capacity = {
	.group = "storage.k8s.io", .kind = "CSIStorageCapacity", .flags = 0, .prepare = prepare_nothing,
		.check = check_capacity_object,
};
