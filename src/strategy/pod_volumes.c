/* Volumes: one source each, and what each source needs. A row per kind of source, in the order in which upstream looks at them. */
#include "strategy/pod.h"

static const char mode_words[] = "must be a number between 0 and 0777 (octal), both inclusive";

static void require(struct check *c, const struct path *at, const struct json *object, const char *name)
{
	const struct json *m = json_get(object, span_of(name));
	if (!json_span(m).len && !json_count(m))
		bad_required(c, &PATH_SPAN(at, span_of(name)), "");
}

static void check_mode(struct check *c, const struct path *at, const struct json *mode)
{
	if (mode && (json_i64(mode, 0) > 0777 || json_i64(mode, 0) < 0))
		bad_value(c, at, mode, "%s", mode_words);
}

/* ---- sources */
struct volume_at {
	struct pod_view *v;
	const struct path *at;     /* the source */
	const struct path *volume; /* the volume */
	const struct json *source;
	struct span name;          /* the volume's */
};

static void empty_dir(const struct volume_at *p)
{
	struct api_quantity q;
	if (check_quantity(member(p->source, "sizeLimit"), &q) && api_quantity_sign(&q) < 0)
		bad_forbidden(p->v->c, &PATH(p->at, "sizeLimit"), "SizeLimit field must be a valid resource quantity");
}

static void git_repo(const struct volume_at *p)
{
	require(p->v->c, p->at, p->source, "repository");
	check_pod_local_path(p->v->c, &PATH(p->at, "directory"), member_text(p->source, "directory"));
}

static void check_item(struct check *c, const struct path *at, const struct json *kp) /* a key and where it goes */
{
	require(c, at, kp, "key");
	require(c, at, kp, "path");
	check_pod_nonreserved_path(c, &PATH(at, "path"), member_text(kp, "path"));
	check_mode(c, &PATH(at, "mode"), member(kp, "mode"));
}

static void keyed(const struct volume_at *p) /* secret, configMap */
{
	check_mode(p->v->c, &PATH(p->at, "defaultMode"), member(p->source, "defaultMode"));
	const struct path items = PATH(p->at, "items");
	JSON_EACH_INDEX(member(p->source, "items"), kp, i)
		check_item(p->v->c, &PATH_INDEX(&items, i), kp);
}

static void with_secret_ref(const struct volume_at *p)
{
	if (member(p->source, "secretRef"))
		check_present(p->v->c, &PATH(p->at, "secretRef"), member(p->source, "secretRef"), "name");
}

/* Kinds of source that persistent volumes have too. */
#define SHARED(name, call)                                                                                             \
	static void name(const struct volume_at *p)                                                                    \
	{                                                                                                              \
		struct check *c = p->v->c;                                                                             \
		const struct path *at = p->at;                                                                         \
		const struct json *s = p->source;                                                                      \
		call;                                                                                                  \
	}
SHARED(host_path, check_host_path(c, at, s))
SHARED(gce_disk, check_gce_disk(c, at, s))
SHARED(aws_disk, check_aws_disk(c, at, s))
SHARED(nfs, check_nfs(c, at, s))
SHARED(iscsi, check_iscsi(c, at, s, p->name, false))
SHARED(flocker, check_flocker(c, at, s))
SHARED(rbd, check_rbd(c, at, s))
SHARED(quobyte, check_quobyte(c, at, s))
SHARED(fc, check_fc(c, at, s))
SHARED(flex, check_flex(c, at, s))
SHARED(azure_file, check_azure_file(c, at, s, false))
SHARED(azure_disk, check_azure_disk(c, at, s))
SHARED(storage_os, check_storage_os(c, at, s, false))
SHARED(scale_io, check_scale_io(c, at, s))

static void check_file(struct check *c, const struct path *at, const struct json *file)
{
	const struct json *field = member(file, "fieldRef"), *resource = member(file, "resourceFieldRef");
	require(c, at, file, "path");
	check_pod_nonreserved_path(c, &PATH(at, "path"), member_text(file, "path"));
	if (field) {
		check_pod_field_ref(c, &PATH(at, "fieldRef"), field,
				    "metadata.annotations metadata.labels metadata.name metadata.namespace metadata.uid");
		if (resource)
			bad_string(c, at, SPAN("resource"), "fieldRef and resourceFieldRef can not be specified simultaneously");
	} else if (resource) {
		check_pod_resource_ref(c, &PATH(at, "resourceFieldRef"), resource, true);
	} else {
		bad_required(c, at, "one of fieldRef and resourceFieldRef is required");
	}
	check_mode(c, &PATH(at, "mode"), member(file, "mode"));
}

static void downward(const struct volume_at *p)
{
	check_mode(p->v->c, &PATH(p->at, "defaultMode"), member(p->source, "defaultMode"));
	JSON_EACH_ITEM(member(p->source, "items"), file)
		check_file(p->v->c, p->at, file);
}

/* ---- projected */
static void check_path_once(struct check *c, const struct path *at, struct map *paths, struct span path, struct span shown)
{
	if (!path.len)
		return;
	if (map_get(paths, path))
		bad_string(c, at, shown, "conflicting duplicate paths");
	else
		map_put(paths, path, paths);
}

static void check_token(struct pod_view *v, const struct path *projected_at, const struct path *at, const struct json *token)
{
	struct check *c = v->c;
	const struct json *seconds = member(token, "expirationSeconds");
	struct span path = member_text(token, "path");
	int64_t n = json_i64(seconds, 0);
	if (n < 600)
		bad_int(c, &PATH(at, "expirationSeconds"), n, "may not specify a duration less than 10 minutes");
	if (n > INT64_C(1) << 32)
		bad_int(c, &PATH(at, "expirationSeconds"), n, "may not specify a duration larger than 2^32 seconds");
	if (!path.len)
		bad_required(c, &PATH(projected_at, "path"), "");
	else if (!v->opts->lax_token_path)
		check_pod_nonreserved_path(c, &PATH(projected_at, "path"), path);
}

/* clusterTrustBundle is off in 1.33: what it holds is cleared before this (pod_drop_disabled). */
static void projected(const struct volume_at *p)
{
	static const char *const keyed_sources[] = { "secret", "configMap" };
	struct check *c = p->v->c;
	const struct path sources = PATH(p->at, "sources");
	auto_map struct map paths = {};
	check_mode(c, &PATH(p->at, "defaultMode"), member(p->source, "defaultMode"));
	JSON_EACH_INDEX(member(p->source, "sources"), source, i) {
		const struct path at = PATH_INDEX(&sources, i);
		unsigned n = 0;
		for (size_t k = 0; k < ARRAY_LEN(keyed_sources); k++) {
			const struct json *s = json_get(source, span_of(keyed_sources[k]));
			const struct path s_at = PATH_SPAN(&at, span_of(keyed_sources[k])), items = PATH(&s_at, "items");
			if (!s)
				continue;
			n++;
			require(c, &s_at, s, "name");
			JSON_EACH_INDEX(member(s, "items"), kp, item) {
				check_item(c, &PATH_INDEX(&items, item), kp);
				check_path_once(c, p->at, &paths, member_text(kp, "path"), member_text(s, "name"));
			}
		}
		const struct json *down = member(source, "downwardAPI"), *token = member(source, "serviceAccountToken");
		if (down) {
			n++;
			JSON_EACH_ITEM(member(down, "items"), file) {
				check_file(c, &PATH(&at, "downwardAPI"), file);
				check_path_once(c, p->at, &paths, member_text(file, "path"), member_text(file, "path"));
			}
		}
		if (token) {
			n++;
			check_token(p->v, p->at, &PATH(&at, "serviceAccountToken"), token);
		}
		if (n > 1)
			bad_forbidden(c, &at, "may not specify more than 1 volume type per source");
	}
}

static void csi(const struct volume_at *p)
{
	struct check *c = p->v->c;
	check_csi_driver_name(c, &PATH(p->at, "driver"), member_text(p->source, "driver"));
	const struct json *ref = member(p->source, "nodePublishSecretRef");
	if (!ref)
		return;
	if (!member_text(ref, "name").len)
		bad_required(c, &PATH(&PATH(p->at, "nodePublishSecretRef"), "name"), "");
	else
		check_name(c, &PATH(p->at, "name"), member_text(ref, "name"), api_name_dns1123_subdomain);
}

/* ---- claims that live as long as the pod */
static void ephemeral(const struct volume_at *p)
{
	static const struct { const char *json, *go; } refused[] = {
		{ "name", "name" }, { "generateName", "generateName" }, { "namespace", "namespace" }, { "selfLink", "selfLink" },
		{ "uid", "uID" }, { "resourceVersion", "resourceVersion" }, { "generation", "generation" },
		{ "creationTimestamp", "creationTimestamp" }, { "deletionTimestamp", "deletionTimestamp" },
		{ "deletionGracePeriodSeconds", "deletionGracePeriodSeconds" }, { "ownerReferences", "ownerReferences" },
		{ "finalizers", "finalizers" }, { "managedFields", "managedFields" },
	};
	struct check *c = p->v->c;
	struct api_complaints bad;
	const struct json *template = member(p->source, "volumeClaimTemplate"), *meta = member(template, "metadata");
	const struct path at = PATH(p->at, "volumeClaimTemplate"), meta_at = PATH(&at, "metadata");
	if (!template) {
		bad_required(c, &at, "");
	} else {
		check_annotations(c, &PATH(&meta_at, "annotations"), member(meta, "annotations"));
		check_labels(c, &PATH(&meta_at, "labels"), member(meta, "labels"));
		for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
			const struct json *m = json_get(meta, span_of(refused[i].json));
			if (m && (json_span(m).len || json_count(m) || json_i64(m, 0)))
				bad_forbidden(c, &PATH_SPAN(&meta_at, span_of(refused[i].go)), "cannot be set");
		}
		check_claim_spec(c, &PATH(&at, "spec"), member(template, "spec"), NULL);
	}
	struct span pod = member_text(p->v->meta, "name");
	if (!pod.len || !p->name.len)
		return;
	struct span claim = arena_printf(c->arena, "%.*s-%.*s", SPAN_ARG(pod), SPAN_ARG(p->name));
	if (api_name_dns1123_subdomain(claim, &bad))
		for (unsigned i = 0; i < bad.n; i++)
			bad_string(c, &PATH(p->volume, "name"), p->name, "PVC name \"%.*s\": %s", SPAN_ARG(claim), bad.text[i]);
}

static void image(const struct volume_at *p)
{
	if (p->v->opts->is_pod)
		require(p->v->c, p->at, p->source, "reference");
	check_pod_pull_policy(p->v->c, &PATH(p->at, "pullPolicy"), member_text(p->source, "pullPolicy"));
}

/* ---- the row per source: name, name in complaints about a second one, name in paths, members that must be there */
static const struct {
	const char *name, *second, *path, *required;
	void (*check)(const struct volume_at *p);
} sources[] = {
	{ "emptyDir", "emptyDir", "emptyDir", "", empty_dir },
	{ "hostPath", "hostPath", "hostPath", "", host_path },
	{ "gitRepo", "gitRepo", "gitRepo", "", git_repo },
	{ "gcePersistentDisk", "gcePersistentDisk", "persistentDisk", "", gce_disk },
	{ "awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore", "", aws_disk },
	{ "secret", "secret", "secret", "secretName", keyed },
	{ "nfs", "nfs", "nfs", "", nfs },
	{ "iscsi", "iscsi", "iscsi", "", iscsi },
	{ "glusterfs", "glusterfs", "glusterfs", "endpoints path", NULL },
	{ "flocker", "flocker", "flocker", "", flocker },
	{ "persistentVolumeClaim", "persistentVolumeClaim", "persistentVolumeClaim", "claimName", NULL },
	{ "rbd", "rbd", "rbd", "", rbd },
	{ "cinder", "cinder", "cinder", "volumeID", with_secret_ref },
	{ "cephfs", "cephFS", "cephfs", "monitors", NULL },
	{ "quobyte", "quobyte", "quobyte", "", quobyte },
	{ "downwardAPI", "downwarAPI", "downwardAPI", "", downward },
	{ "fc", "fc", "fc", "", fc },
	{ "flexVolume", "flexVolume", "flexVolume", "", flex },
	{ "configMap", "configMap", "configMap", "name", keyed },
	{ "azureFile", "azureFile", "azureFile", "", azure_file },
	{ "vsphereVolume", "vsphereVolume", "vsphereVolume", "volumePath", NULL },
	{ "photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk", "pdID", NULL },
	{ "portworxVolume", "portworxVolume", "portworxVolume", "volumeID", NULL },
	{ "azureDisk", "azureDisk", "azureDisk", "", azure_disk },
	{ "storageos", "storageos", "storageos", "", storage_os },
	{ "projected", "projected", "projected", "", projected },
	{ "scaleIO", "scaleIO", "scaleIO", "", scale_io },
	{ "csi", "csi", "csi", "", csi },
	{ "ephemeral", "ephemeral", "ephemeral", "", ephemeral },
	{ "image", "image", "image", "", image },
};

static void check_source(struct pod_view *v, const struct path *at, const struct json *volume)
{
	struct check *c = v->c;
	bool found = false;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		const struct json *source = json_get(volume, span_of(sources[i].name));
		if (!source)
			continue;
		if (found) {
			bad_forbidden(c, &PATH_SPAN(at, span_of(sources[i].second)), "may not specify more than 1 volume type");
		} else {
			const struct path source_at = PATH_SPAN(at, span_of(sources[i].path));
			struct span names = span_of(sources[i].required), one;
			found = true;
			while (span_cut(&names, ' ', &one))
				if (one.len)
					require(c, &source_at, source, arena_cstr(c->arena, one));
			if (sources[i].check)
				sources[i].check(&(struct volume_at){ v, &source_at, at, source, member_text(volume, "name") });
		}
		/* Asked of a second source too. */
		struct span name = member_text(volume, "name");
		if (span_is(span_of(sources[i].name), "iscsi") && member(source, "initiatorName") &&
		    name.len + 1 + member_text(source, "targetPortal").len > 64)
			bad_string(c, &PATH(at, "name"), name,
				   "Total length of <volume name>:<iscsi.targetPortal> must be under 64 "
				   "characters if iscsi.initiatorName is specified.");
	}
	if (!found)
		bad_required(c, at, "must specify a volume type");
}

/* The claims that this pod's ephemeral volumes will make: "<pod>-<volume>". */
static bool is_own_claim(const struct pod_view *v, const struct json *volumes, struct span claim)
{
	struct span pod = member_text(v->meta, "name");
	if (!pod.len || !span_starts(claim, pod) || claim.len <= pod.len || claim.ptr[pod.len] != '-')
		return false;
	JSON_EACH_ITEM(volumes, volume)
		if (member(volume, "ephemeral") && span_eq(member_text(volume, "name"), span_from(claim, pod.len + 1)))
			return true;
	return false;
}

void check_pod_volumes(struct pod_view *v, const struct path *at)
{
	struct check *c = v->c;
	const struct json *volumes = member(v->spec, "volumes");
	v->volumes = arena_alloc_n(c->arena, json_count(volumes) + 1, sizeof(*v->volumes));
	JSON_EACH_INDEX(volumes, volume, i) {
		const struct path item = PATH_INDEX(at, i);
		struct span name = member_text(volume, "name"),
			    claim = member_text(member(volume, "persistentVolumeClaim"), "claimName");
		unsigned before = c->n;
		check_source(v, &item, volume);
		if (!name.len)
			bad_required(c, &PATH(&item, "name"), "");
		else
			check_name(c, &PATH(&item, "name"), name, api_name_dns1123_label);
		if (pod_volume(v, name))
			bad_duplicate_string(c, &PATH(&item, "name"), name);
		if (c->n == before)
			v->volumes[v->n_volumes++] = volume;
		if (member(volume, "persistentVolumeClaim") && is_own_claim(v, volumes, claim))
			bad_string(c, &PATH(&PATH(&item, "persistentVolumeClaim"), "claimName"), claim,
				   "must not reference a PVC that gets created for an ephemeral volume");
	}
}
