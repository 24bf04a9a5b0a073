/* PersistentVolume, and the sources of volumes that it shares with pods. */
#include "strategy/check.h"

#define ONE_TYPE "may not specify more than 1 volume type"

/* ---- defaults */
static void default_volume_source(struct arena *a, struct json *spec)
{
	struct json *rbd = member(spec, "rbd"), *azure = member(spec, "azureDisk"), *scale = member(spec, "scaleIO");
	if (member(spec, "hostPath"))
		default_unset(a, member(spec, "hostPath"), "type", "");
	if (member(spec, "iscsi"))
		default_string(a, member(spec, "iscsi"), "iscsiInterface", "default");
	default_string(a, rbd, "pool", "rbd");
	default_string(a, rbd, "user", "admin");
	default_string(a, rbd, "keyring", "/etc/ceph/keyring");
	default_unset(a, azure, "cachingMode", "ReadWrite");
	default_unset(a, azure, "kind", "Shared");
	default_unset(a, azure, "fsType", "ext4");
	default_bool(a, azure, "readOnly", false);
	default_string(a, scale, "storageMode", "ThinProvisioned");
	default_string(a, scale, "fsType", "xfs");
}

static void default_volume(struct arena *a, struct json *object)
{
	default_string(a, default_object(a, object, "status"), "phase", "Pending");
	struct json *spec = default_object(a, object, "spec"); /* after: a new member moves the others */
	default_string(a, spec, "persistentVolumeReclaimPolicy", "Retain");
	default_unset(a, spec, "volumeMode", "Filesystem");
	default_resource_list(a, member(spec, "capacity"));
	default_volume_source(a, spec);
}

/* ---- prepare */
static void drop_attributes(struct strategy *s)
{
	if (!json_path(s->old, "spec", "volumeAttributesClassName", NULL)) /* a feature that is off in 1.33 */
		strategy_drop_in(s, "spec", "volumeAttributesClassName");
}

static void prepare_volume(struct strategy *s)
{
	if (s->old) {
		strategy_keep(s, "status");
	} else {
		struct json *status = json_setl(s->arena, s->object, "status", json_object());
		json_setl(s->arena, status, "phase", json_str(SPAN("Pending")));
		if (s->now.len)
			json_setl(s->arena, status, "lastPhaseTransitionTime", json_str(s->now));
	}
	drop_attributes(s);
}

static void prepare_volume_status(struct strategy *s)
{
	struct json *status = member(s->object, "status");
	const struct json *was = member(s->old, "status");
	strategy_keep(s, "spec");
	bool moved = member_changed(status, was, "phase");
	if (!moved && !member(status, "lastPhaseTransitionTime") && member(was, "lastPhaseTransitionTime"))
		strategy_keep_in(s, "status", "lastPhaseTransitionTime");
	else if (moved && s->now.len && (!member(status, "lastPhaseTransitionTime") || !member_changed(status, was,
		"lastPhaseTransitionTime")))
		json_setl(s->arena, default_object(s->arena, s->object, "status"), "lastPhaseTransitionTime", json_str(s->now));
}

/* ---- sources. Each gets its own path; some of upstream's paths differ from the field's name. */
static void check_backsteps(struct check *c, const struct path *at, struct span path)
{
	struct span rest = path, part;
	while (span_cut(&rest, '/', &part))
		if (span_is(part, "..")) {
			bad_string(c, at, path, "must not contain '..'");
			return;
		}
}

void check_host_path(struct check *c, const struct path *at, const struct json *source)
{
	static const char types[] = "BlockDevice CharDevice Directory DirectoryOrCreate File FileOrCreate Socket";
	const struct json *type = member(source, "type");
	if (!check_present(c, at, source, "path"))
		return;
	check_backsteps(c, &PATH(at, "path"), member_text(source, "path"));
	if (!json_span(type).len || check_one_of(json_span(type), types))
		return;
	auto_buf struct buf quoted = {};
	api_go_quote(&quoted, json_span(type));
	auto_buf struct buf field = {};
	path_text(&PATH(at, "type"), &field);
	/* the empty type is one of the supported ones, which bad_choice cannot say */
	auto_buf struct buf detail = {};
	buf_str(&detail, "supported values: \"\"");
	struct span rest = span_of(types), one;
	while (span_cut(&rest, ' ', &one))
		buf_printf(&detail, ", \"%.*s\"", SPAN_ARG(one));
	api_fe_add(&c->err, buf_span(&field), API_FE_NOT_SUPPORTED, buf_span(&quoted), buf_span(&detail));
	c->n++;
}

static void check_partition(struct check *c, const struct path *at, const struct json *source, const char *name)
{
	const struct json *part = member(source, "partition");
	check_present(c, at, source, name);
	if (json_i64(part, 0) < 0 || json_i64(part, 0) > 255)
		bad_value(c, &PATH(at, "partition"), part, "must be between 1 and 255, inclusive");
}

void check_gce_disk(struct check *c, const struct path *at, const struct json *source)
{
	check_partition(c, at, source, "pdName");
}

void check_aws_disk(struct check *c, const struct path *at, const struct json *source)
{
	check_partition(c, at, source, "volumeID");
}

static void check_glusterfs(struct check *c, const struct path *at, const struct json *source)
{
	const struct json *ns = member(source, "endpointsNamespace");
	check_present(c, at, source, "endpoints");
	check_present(c, at, source, "path");
	if (ns && !json_span(ns).len)
		bad_value(c, &PATH(at, "endpointsNamespace"), ns,
			  "if the endpointnamespace is set, it must be a valid namespace name");
	else if (ns)
		check_name(c, &PATH(at, "endpointsNamespace"), json_span(ns), api_name_dns1123_label);
}

void check_flocker(struct check *c, const struct path *at, const struct json *source)
{
	struct span name = member_text(source, "datasetName"), uuid = member_text(source, "datasetUUID");
	if (!name.len && !uuid.len)
		bad_required(c, at, "one of datasetName and datasetUUID is required");
	if (name.len && uuid.len)
		bad_string(c, at, SPAN("resource"), "datasetName and datasetUUID can not be specified simultaneously");
	if (span_chr(name, '/') >= 0)
		bad_string(c, &PATH(at, "datasetName"), name, "must not contain '/'");
}

void check_nfs(struct check *c, const struct path *at, const struct json *source)
{
	struct span path = member_text(source, "path");
	check_present(c, at, source, "server");
	check_present(c, at, source, "path");
	if (!span_starts(path, SPAN("/")))
		bad_string(c, &PATH(at, "path"), path, "must be an absolute path");
}

static void check_monitors(struct check *c, const struct path *at, const struct json *source)
{
	if (!json_count(member(source, "monitors")))
		bad_required(c, &PATH(at, "monitors"), "");
}

void check_rbd(struct check *c, const struct path *at, const struct json *source)
{
	check_monitors(c, at, source);
	check_present(c, at, source, "image");
}

/* net.SplitHostPort: one colon outside brackets. */
static bool is_host_port(struct span s)
{
	if (s.len && s.ptr[0] == '[') {
		ptrdiff_t end = span_chr(s, ']');
		return end > 0 && (size_t)end + 1 < s.len && s.ptr[end + 1] == ':' && span_chr(span_from(s, (size_t)end + 2),
			':') < 0;
	}
	ptrdiff_t colon = span_chr(s, ':');
	return colon >= 0 && colon == span_rchr(s, ':') && span_chr(s, '[') < 0 && span_chr(s, ']') < 0;
}

void check_quobyte(struct check *c, const struct path *at, const struct json *source)
{
	static const char why[] = "must be a host:port pair or multiple pairs separated by commas";
	struct span registry = member_text(source, "registry"), rest = registry, pair;
	if (!registry.len)
		bad_required(c, &PATH(at, "registry"), why);
	else if (member_text(source, "tenant").len >= 65)
		bad_required(c, &PATH(at, "tenant"), "must be a UUID and may not exceed a length of 64 characters");
	else
		while (span_cut(&rest, ',', &pair))
			if (!is_host_port(pair))
				bad_string(c, &PATH(at, "registry"), registry, "%s", why);
	check_present(c, at, source, "volume");
}

/* A chain of letters and digits of the given length behind the prefix. */
static bool is_alnum_id(struct span s, size_t want)
{
	if (s.len != want)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') || ((s.ptr[i] | 32) >= 'a' && (s.ptr[i] | 32) <= 'z')))
			return false;
	return true;
}

/* iqn.YYYY-MM.NAME:REST, eui.16, naa.32. */
static bool is_iscsi_name(struct span s)
{
	if (span_starts(s, SPAN("eui")))
		return s.len > 4 && is_alnum_id(span_from(s, 4), 16);
	if (span_starts(s, SPAN("naa")))
		return s.len > 4 && is_alnum_id(span_from(s, 4), 32);
	struct span date = span_sub(s, 4, 12);
	bool good = s.len > 12 && s.ptr[3] == '.' && date.ptr[4] == '-' && date.ptr[7] == '.';
	for (size_t i = 0; good && i < 7; i++)
		good = i == 4 || (date.ptr[i] >= '0' && date.ptr[i] <= '9');
	struct span rest = span_from(s, 12);
	ptrdiff_t colon = span_chr(rest, ':');
	if (!good || colon < 1 || (size_t)colon + 1 >= rest.len)
		return false;
	for (ptrdiff_t i = 0; i < colon; i++)
		if (!is_alnum_id(span_sub(rest, (size_t)i, (size_t)i + 1), 1) && rest.ptr[i] != '-' && rest.ptr[i] != '.')
			return false;
	for (size_t i = (size_t)colon + 1; i < rest.len; i++)
		if (strchr(",;*&$| \t\n\f\r", rest.ptr[i]))
			return false;
	return true;
}

static bool is_iscsi_kind(struct span s)
{
	return span_starts(s, SPAN("iqn")) || span_starts(s, SPAN("eui")) || span_starts(s, SPAN("naa"));
}

/* of_volume: an ISCSIPersistentVolumeSource, whose name goes into the target's; else a pod's volume. */
void check_iscsi(struct check *c, const struct path *at, const struct json *source, struct span volume, bool of_volume)
{
	struct span portal = member_text(source, "targetPortal"), iqn = member_text(source, "iqn");
	const struct json *initiator = member(source, "initiatorName"), *lun = member(source, "lun"), *secret = member(source,
		"secretRef");
	const char *start = of_volume ? "must be valid format" : "must be valid format starting with iqn, eui, or naa";
	check_present(c, at, source, "targetPortal");
	if (of_volume && initiator && volume.len + 1 + portal.len > 64)
		bad_string(c, &PATH(at, "targetportal"), portal, "Total length of <volume name>:<iscsi.targetPortal> must be "
			"under 64 characters if iscsi.initiatorName is specified.");
	if (check_present(c, at, source, "iqn")) {
		if (!is_iscsi_kind(iqn))
			bad_string(c, &PATH(at, "iqn"), iqn, "%s", start);
		else if (!is_iscsi_name(iqn))
			bad_string(c, &PATH(at, "iqn"), iqn, "must be valid format");
	}
	if (json_i64(lun, 0) < 0 || json_i64(lun, 0) > 255)
		bad_value(c, &PATH(at, "lun"), lun, "must be between 0 and 255, inclusive");
	if ((member_true(source, "chapAuthDiscovery") || member_true(source, "chapAuthSession")) && !secret)
		bad_required(c, &PATH(at, "secretRef"), "");
	if (of_volume && secret)
		check_present(c, &PATH(at, "secretRef"), secret, "name");
	if (!initiator)
		return;
	struct span name = json_span(initiator);
	if (!is_iscsi_kind(name))
		bad_string(c, &PATH(at, "initiatorname"), name, "%s", start);
	else if (!is_iscsi_name(name))
		bad_string(c, &PATH(at, "initiatorname"), name, "must be valid format");
}

static void check_secret_pair(struct check *c, const struct path *at, const struct json *secret)
{
	if (!secret)
		return;
	check_present(c, at, secret, "name");
	check_present(c, at, secret, "namespace");
}

void check_fc(struct check *c, const struct path *at, const struct json *source)
{
	const struct json *names = member(source, "targetWWNs"), *ids = member(source, "wwids"), *lun = member(source, "lun");
	if (!json_count(names) && !json_count(ids))
		bad_required(c, &PATH(at, "targetWWNs"), "must specify either targetWWNs or wwids, but not both");
	if (json_count(names) && json_count(ids))
		bad_typed(c, &PATH(at, "targetWWNs"), "[]string", names,
			"targetWWNs and wwids can not be specified simultaneously");
	if (!json_count(names))
		return;
	if (!lun)
		bad_required(c, &PATH(at, "lun"), "lun is required if targetWWNs is specified");
	else if (json_i64(lun, 0) < 0 || json_i64(lun, 0) > 255)
		bad_value(c, &PATH(at, "lun"), lun, "must be between 0 and 255, inclusive");
}

void check_flex(struct check *c, const struct path *at, const struct json *source)
{
	const struct path options = PATH(at, "options");
	check_present(c, at, source, "driver");
	JSON_EACH_MEMBER(member(source, "options"), m) {
		struct span domain = json_key(m), rest;
		span_split(json_key(m), '/', &domain, &rest);
		auto_buf struct buf dotted = {};
		buf_chr(&dotted, '.');
		for (size_t i = 0; i < domain.len; i++)
			buf_chr(&dotted, (char)(domain.ptr[i] >= 'A' && domain.ptr[i] <= 'Z' ? domain.ptr[i] + 32 : domain.ptr[i]));
		if (span_ends(buf_span(&dotted), SPAN(".kubernetes.io")) || span_ends(buf_span(&dotted), SPAN(".k8s.io")))
			bad_string(c, &PATH_KEY(&options, json_key(m)), json_key(m),
				"kubernetes.io and k8s.io namespaces are reserved");
	}
}

void check_azure_file(struct check *c, const struct path *at, const struct json *source, bool of_volume)
{
	const struct json *ns = member(source, "secretNamespace");
	check_present(c, at, source, "secretName");
	check_present(c, at, source, "shareName");
	if (of_volume && ns && !json_span(ns).len)
		bad_required(c, &PATH(at, "secretNamespace"), "");
}

void check_azure_disk(struct check *c, const struct path *at, const struct json *source)
{
	static const char managed[] =
		"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
	static const char blob[] = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
	struct span uri = member_text(source, "diskURI");
	const struct json *kind = member(source, "kind");
	bool is_managed = span_is(json_span(kind), "Managed");
	check_present(c, at, source, "diskName");
	check_present(c, at, source, "diskURI");
	check_choice(c, &PATH(at, "cachingMode"), member(source, "cachingMode"), "None ReadOnly ReadWrite");
	check_choice(c, &PATH(at, "kind"), kind, "Dedicated Managed Shared");
	if (kind && !span_starts(uri, is_managed ? SPAN("/subscriptions/") : SPAN("https://")))
		bad_choice(c, &PATH(at, "diskURI"), uri, is_managed ? managed : blob);
}

void check_scale_io(struct check *c, const struct path *at, const struct json *source)
{
	check_present(c, at, source, "gateway");
	check_present(c, at, source, "system");
	check_present(c, at, source, "volumeName");
}

void check_storage_os(struct check *c, const struct path *at, const struct json *source, bool of_volume)
{
	struct span ns = member_text(source, "volumeNamespace");
	const struct json *secret = member(source, "secretRef");
	if (check_present(c, at, source, "volumeName"))
		check_name(c, &PATH(at, "volumeName"), member_text(source, "volumeName"), api_name_dns1123_label);
	if (ns.len)
		check_name(c, &PATH(at, "volumeNamespace"), ns, api_name_dns1123_label);
	if (secret && of_volume)
		check_secret_pair(c, &PATH(at, "secretRef"), secret);
	else if (secret)
		check_present(c, &PATH(at, "secretRef"), secret, "name");
}

void check_csi_driver_name(struct check *c, const struct path *at, struct span name)
{
	struct api_complaints bad;
	if (!name.len)
		bad_required(c, at, "");
	if (name.len > 63)
		bad_too_long(c, at, 63);
	char *lower = arena_cstr(c->arena, name);
	for (size_t i = 0; i < name.len; i++)
		if (lower[i] >= 'A' && lower[i] <= 'Z')
			lower[i] = (char)(lower[i] + 32);
	if (api_name_dns1123_subdomain(span_make(lower, name.len), &bad))
		bad_complaints(c, at, name, &bad);
}

static void check_csi(struct check *c, const struct path *at, const struct json *source)
{
	static const char *const secrets[] = { "controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef",
					       "nodeExpandSecretRef" };
	check_csi_driver_name(c, &PATH(at, "driver"), member_text(source, "driver"));
	check_present(c, at, source, "volumeHandle");
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
		const struct json *ref = json_get(source, span_of(secrets[i]));
		const struct path ref_at = PATH_SPAN(at, span_of(secrets[i]));
		if (!ref)
			continue;
		if (check_present(c, &ref_at, ref, "name"))
			check_name(c, &PATH(&ref_at, "name"), member_text(ref, "name"), api_name_dns1123_subdomain);
		if (check_present(c, &ref_at, ref, "namespace"))
			check_name(c, &PATH(&ref_at, "namespace"), member_text(ref, "namespace"), api_name_dns1123_label);
	}
}

static void check_cinder(struct check *c, const struct path *at, const struct json *source)
{
	check_present(c, at, source, "volumeID");
	check_secret_pair(c, &PATH(at, "secretRef"), member(source, "secretRef"));
}

static void check_local(struct check *c, const struct path *at, const struct json *source)
{
	if (check_present(c, at, source, "path"))
		check_backsteps(c, &PATH(at, "path"), member_text(source, "path"));
}

static void check_vsphere(struct check *c, const struct path *at, const struct json *source)
{
	check_present(c, at, source, "volumePath");
}

static void check_photon(struct check *c, const struct path *at, const struct json *source)
{
	check_present(c, at, source, "pdID");
}

static void check_portworx(struct check *c, const struct path *at, const struct json *source)
{
	check_present(c, at, source, "volumeID");
}

static void check_azure_file_pv(struct check *c, const struct path *at, const struct json *source)
{
	check_azure_file(c, at, source, true);
}

static void check_storage_os_pv(struct check *c, const struct path *at, const struct json *source)
{
	check_storage_os(c, at, source, true);
}

/* In upstream's order. at: where details are told; twice: where a second source is refused. */
static const struct source {
	const char *name, *at, *twice;
	void (*check)(struct check *c, const struct path *at, const struct json *source);
} sources[] = {
	{ "hostPath", "hostPath", "hostPath", check_host_path },
	{ "gcePersistentDisk", "persistentDisk", "gcePersistentDisk", check_gce_disk },
	{ "awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore", check_aws_disk },
	{ "glusterfs", "glusterfs", "glusterfs", check_glusterfs },
	{ "flocker", "flocker", "flocker", check_flocker },
	{ "nfs", "nfs", "nfs", check_nfs },
	{ "rbd", "rbd", "rbd", check_rbd },
	{ "quobyte", "quobyte", "quobyte", check_quobyte },
	{ "cephfs", "cephfs", "cephFS", check_monitors },
	{ "iscsi", "iscsi", "iscsi", NULL }, /* needs the volume's name */
	{ "cinder", "cinder", "cinder", check_cinder },
	{ "fc", "fc", "fc", check_fc },
	{ "flexVolume", "flexVolume", NULL, check_flex }, /* never refused as a second one */
	{ "azureFile", "azureFile", "azureFile", check_azure_file_pv },
	{ "vsphereVolume", "vsphereVolume", "vsphereVolume", check_vsphere },
	{ "photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk", check_photon },
	{ "portworxVolume", "portworxVolume", "portworxVolume", check_portworx },
	{ "azureDisk", "azureDisk", "azureDisk", check_azure_disk },
	{ "scaleIO", "scaleIO", "scaleIO", check_scale_io },
	{ "local", "local", "local", check_local },
	{ "storageos", "storageos", "storageos", check_storage_os_pv },
	{ "csi", "csi", "csi", check_csi },
};

static void check_sources(struct check *c, const struct path *at, const struct json *spec, struct span name, bool placed)
{
	unsigned n = 0;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		const struct source *s = &sources[i];
		const struct json *v = json_get(spec, span_of(s->name));
		const struct path details = PATH_SPAN(at, span_of(s->at));
		if (!v)
			continue;
		if (n && s->twice) {
			bad_forbidden(c, &PATH_SPAN(at, span_of(s->twice)), ONE_TYPE);
			continue;
		}
		n++;
		if (s->check)
			s->check(c, &details, v);
		else
			check_iscsi(c, &details, v, name, true);
		if (s->check == check_local && !placed)
			bad_required(c, &PATH(at, "nodeAffinity"), "Local volume requires node affinity");
	}
	if (!n)
		bad_required(c, at, "must specify a volume type");
}

/* Is the cleaned path "/"? */
static bool is_root(struct span path)
{
	struct span part;
	if (!span_starts(path, SPAN("/")))
		return false;
	int depth = 0;
	while (span_cut(&path, '/', &part)) {
		if (span_is(part, ".."))
			depth -= depth > 0;
		else if (part.len && !span_is(part, "."))
			depth++;
	}
	return depth == 0;
}

static void check_capacity(struct check *c, const struct path *at, const struct json *capacity)
{
	struct api_quantity q;
	if (!json_count(capacity))
		bad_required(c, at, "");
	if (!member(capacity, "storage") || capacity->n > 1) {
		auto_buf struct buf field = {}, text = {};
		path_text(at, &field);
		json_count(capacity) ? json_write(&text, capacity, 0) : buf_str(&text, "core.ResourceList(nil)");
		api_fe_add(&c->err, buf_span(&field), API_FE_NOT_SUPPORTED, buf_span(&text), SPAN("supported values: \"storage\""));
		c->n++;
	}
	JSON_EACH_MEMBER(capacity, m) {
		const struct path item = PATH_KEY(at, json_key(m));
		if (!check_quantity(&m->value, &q))
			continue;
		if (api_quantity_value(&q) < 0)
			bad_int(c, &item, api_quantity_value(&q), "must be a valid resource quantity");
		if (api_quantity_sign(&q) <= 0)
			bad_value(c, &item, &m->value, "must be greater than zero");
	}
}

#define NOT_INLINE "may not be specified in the context of inline volumes"

void check_volume_spec(struct check *c, const struct path *at, const struct json *spec, struct span name, bool inline_in,
		       const struct json *old_spec)
{
	struct span policy = member_text(spec, "persistentVolumeReclaimPolicy"), class = member_text(spec, "storageClassName");
	const struct json *mode = member(spec, "volumeMode"), *affinity = member(spec, "nodeAffinity");
	const struct json *attributes = member(spec, "volumeAttributesClassName");
	const struct path policy_at = PATH(at, "persistentVolumeReclaimPolicy"), affinity_at = PATH(at, "nodeAffinity");
	if (inline_in && member(spec, "claimRef"))
		bad_forbidden(c, &PATH(at, "claimRef"), NOT_INLINE);
	if (inline_in && json_count(member(spec, "capacity")))
		bad_forbidden(c, &PATH(at, "capacity"), NOT_INLINE);
	if (inline_in && !member(spec, "csi"))
		bad_required(c, &PATH(at, "csi"), "has to be specified in the context of inline volumes");
	if (!json_count(member(spec, "accessModes")))
		bad_required(c, &PATH(at, "accessModes"), "");
	check_access_modes(c, &PATH(at, "accessModes"), member(spec, "accessModes"));
	if (!inline_in)
		check_capacity(c, &PATH(at, "capacity"), member(spec, "capacity"));
	if (policy.len && inline_in && !span_is(policy, "Retain"))
		bad_forbidden(c, &policy_at, "may only be Retain in the context of inline volumes");
	else if (policy.len && !inline_in && !check_one_of(policy, "Delete Recycle Retain"))
		bad_choice(c, &policy_at, policy, "Delete Recycle Retain");
	if (affinity && inline_in)
		bad_forbidden(c, &affinity_at, NOT_INLINE);
	else if (affinity && !member(affinity, "required"))
		bad_required(c, &PATH(&affinity_at, "required"), "must specify required node constraints");
	else if (affinity)
		check_node_selector(c, &PATH(&affinity_at, "required"), member(affinity, "required"),
				    check_node_selector_has_bad_value(json_path(old_spec, "nodeAffinity", "required", NULL)));
	check_sources(c, at, spec, name, affinity && !inline_in);
	if (is_root(json_span(json_path(spec, "hostPath", "path", NULL))) && span_is(policy, "Recycle"))
		bad_forbidden(c, &policy_at, "may not be 'recycle' for a hostPath mount of '/'");
	if (class.len && inline_in)
		bad_forbidden(c, &PATH(at, "storageClassName"), NOT_INLINE);
	else if (class.len)
		check_name(c, &PATH(at, "storageClassName"), class, api_name_dns1123_subdomain);
	if (mode && inline_in && !span_is(json_span(mode), "Filesystem"))
		bad_forbidden(c, &PATH(at, "volumeMode"), "may not specify volumeMode other than Filesystem in the context of "
			"inline volumes");
	else if (!inline_in)
		check_choice(c, &PATH(at, "volumeMode"), mode, "Block Filesystem");
	if (!attributes || !member(old_spec, "volumeAttributesClassName"))
		return;
	if (!json_span(attributes).len)
		bad_required(c, &PATH(at, "volumeAttributesClassName"), "an empty string is disallowed");
	else
		check_name(c, &PATH(at, "volumeAttributesClassName"), json_span(attributes), api_name_dns1123_subdomain);
	if (!member(spec, "csi"))
		bad_required(c, &PATH(at, "csi"), "has to be specified when using volumeAttributesClassName");
}

static void check_volume_once(struct check *c, const struct json *volume, const struct json *old)
{
	check_meta(c, volume, META_CORE, api_name_dns1123_subdomain);
	check_volume_spec(c, &PATH(PATH_ROOT, "spec"), member(volume, "spec"), json_span(json_path(volume, "metadata", "name",
		NULL)),
			  false, member(old, "spec"));
}

/* The sources of a spec alone, as an object. */
static struct json only_sources(struct arena *a, const struct json *spec)
{
	struct json out = json_object();
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		const struct json *v = json_get(spec, span_of(sources[i].name));
		if (v)
			json_set(a, &out, span_of(sources[i].name), json_copy(a, v));
	}
	return out;
}

/* Labels that lost their beta name: a term may move to the new one. */
static struct span stable_label(struct span key)
{
	static const char *const moved[][2] = {
		{ "failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone" },
		{ "failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region" },
		{ "beta.kubernetes.io/os", "kubernetes.io/os" },
		{ "beta.kubernetes.io/arch", "kubernetes.io/arch" },
		{ "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type" },
	};
	for (size_t i = 0; i < ARRAY_LEN(moved); i++)
		if (span_is(key, moved[i][0]))
			return span_of(moved[i][1]);
	return SPAN_EMPTY;
}

/* old with the keys that now renamed from beta to stable. */
static struct json with_stable_labels(struct arena *a, const struct json *old, const struct json *now)
{
	struct json out = json_copy(a, old);
	const struct json *terms = json_path(now, "required", "nodeSelectorTerms", NULL);
	JSON_EACH_INDEX(json_path(&out, "required", "nodeSelectorTerms", NULL), term, i) {
		const struct json *other = i < json_count(terms) ? member(&terms->items[i], "matchExpressions") : NULL;
		JSON_EACH_INDEX(member(term, "matchExpressions"), rq, k) {
			struct span stable = stable_label(member_text(rq, "key"));
			if (stable.len && k < json_count(other) && span_eq(member_text(&other->items[k], "key"), stable))
				json_setl(a, rq, "key", json_str(stable));
		}
	}
	return out;
}

static void check_volume(struct check *c, const struct json *volume, const struct json *old)
{
	const struct json *spec = member(volume, "spec"), *was = member(old, "spec");
	check_volume_once(c, volume, old);
	if (!old)
		return;
	check_volume_once(c, volume, old); /* upstream runs it twice on update */
	struct json now_sources = only_sources(c->arena, spec), old_sources = only_sources(c->arena, was);
	const struct json *expand = json_path(&old_sources, "csi", "controllerExpandSecretRef", NULL);
	struct json *csi = member(&now_sources, "csi");
	if (csi && member(&old_sources, "csi") && !expand)
		json_remove(csi, SPAN("controllerExpandSecretRef")); /* may be added */
	if (!strategy_same(&now_sources, &old_sources)) {
		auto_buf struct buf diff = {};
		strategy_diff(&diff, &old_sources, &now_sources);
		bad_forbidden(c, &PATH(&PATH(PATH_ROOT, "spec"), "persistentvolumesource"),
			      "spec.persistentvolumesource is immutable after creation\n%s", buf_cstr(&diff));
	}
	check_immutable(c, &PATH(PATH_ROOT, "volumeMode"), "", member(spec, "volumeMode"), member(was, "volumeMode"));
	const struct json *affinity = member(spec, "nodeAffinity"), *old_affinity = member(was, "nodeAffinity");
	if (old_affinity) {
		struct json renamed = with_stable_labels(c->arena, old_affinity, affinity);
		if (!strategy_same(affinity, &renamed))
			bad_typed(c, &PATH(PATH_ROOT, "nodeAffinity"), "*core/v1.VolumeNodeAffinity", affinity,
				  "field is immutable, except for updating from beta label to GA");
	}
	const struct path attributes_at = PATH(&PATH(PATH_ROOT, "spec"), "volumeAttributesClassName");
	const struct json *class = member(spec, "volumeAttributesClassName"), *old_class = member(was, "volumeAttributesClassName");
	if (class && old_class ? json_equal(class, old_class) : class == old_class)
		return;
	bad_forbidden(c, &attributes_at, "update is forbidden when the VolumeAttributesClass feature gate is disabled");
	if (old_class && !class)
		bad_forbidden(c, &attributes_at, "update from non-nil value to nil is forbidden");
}

static void check_volume_status(struct check *c, const struct json *volume, const struct json *old)
{
	check_meta_update(c, volume, old, META_CORE);
	if (!json_span(json_path(volume, "metadata", "resourceVersion", NULL)).len)
		bad_required(c, &PATH(PATH_ROOT, "resourceVersion"), "");
}

/* ---- warnings */
static void warn_volume(struct check *c, const struct json *volume, const struct json *old)
{
	static const struct { const char *name, *text; } gone[] = {
		{ "cephfs", "spec.cephfs: deprecated in v1.28, non-functional in v1.31+" },
		{ "photonPersistentDisk", "spec.photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+" },
		{ "rbd", "spec.rbd: deprecated in v1.28, non-functional in v1.31+" },
		{ "scaleIO", "spec.scaleIO: deprecated in v1.16, non-functional in v1.22+" },
		{ "storageos", "spec.storageOS: deprecated in v1.22, non-functional in v1.25+" },
		{ "glusterfs", "spec.glusterfs: deprecated in v1.25, non-functional in v1.26+" },
	};
	const struct json *spec = member(volume, "spec"), *notes = json_path(volume, "metadata", "annotations", NULL);
	if (member(notes, "volume.beta.kubernetes.io/storage-class"))
		strategy_warn(c->s, "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "
				    "\"storageClassName\" attribute instead");
	if (member(notes, "volume.beta.kubernetes.io/mount-options"))
		strategy_warn(c->s, "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use "
				    "\"mountOptions\" attribute instead");
	if (span_is(member_text(spec, "persistentVolumeReclaimPolicy"), "Recycle"))
		strategy_warn(c->s, "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the "
			"recommended approach is to use dynamic provisioning.");
	JSON_EACH_INDEX(json_path(spec, "nodeAffinity", "required", "nodeSelectorTerms", NULL), term, i)
		JSON_EACH_INDEX(member(term, "matchExpressions"), rq, k) {
			struct span key = member_text(rq, "key"), stable = stable_label(key);
			if (stable.len)
				strategy_warn(c->s, "spec.nodeAffinity.required.nodeSelectorTerms[%u].matchExpressions[%u].key: "
					"%.*s is deprecated since %s; use \"%.*s\" instead", i, k, SPAN_ARG(key),
					      span_starts(key, SPAN("beta.kubernetes.io/os")) || span_starts(key,
					      SPAN("beta.kubernetes.io/arch"))
						      ? "v1.14" : "v1.17", SPAN_ARG(stable));
		}
	for (size_t i = 0; i < ARRAY_LEN(gone); i++)
		if (json_get(spec, span_of(gone[i].name)))
			strategy_warn(c->s, "%s", gone[i].text);
}

const struct strategy_kind strategy_kind_volume = {
	.group = "", .kind = "PersistentVolume", .flags = STRATEGY_UNCONDITIONAL_UPDATE, .defaults = default_volume,
	.prepare = prepare_volume, .check = check_volume, .warnings = warn_volume,
	.subs = { { "status", prepare_volume_status, check_volume_status } },
};
