/* Defaults of pods and of what stands in one: pkg/apis/core/v1/defaults.go and the declared ones of 1.33, and what conversion from
 * v1 adds. Each list is walked in place; a second run finds nothing to do. */
#include "strategy/pod.h"

/* ---- image references: does the tag say latest? (util/parsers.ParseImageName over distribution's reference grammar) */
static bool is_alnum_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_word(char c)
{
	return is_alnum_lower(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

/* [a-z0-9]+ ((\.|_|__|-+) [a-z0-9]+)*, several with slashes between */
static bool is_image_path(struct span s)
{
	struct span part;
	if (!s.len || s.ptr[s.len - 1] == '/')
		return false;
	while (span_cut(&s, '/', &part)) {
		size_t i = 0;
		for (;;) {
			size_t start = i;
			while (i < part.len && is_alnum_lower(part.ptr[i]))
				i++;
			if (i == start)
				return false;
			if (i == part.len)
				break;
			char sep = part.ptr[i];
			size_t run = 0;
			while (i < part.len && part.ptr[i] == sep && run <= part.len)
				i++, run++;
			if (!(sep == '-' || (sep == '.' && run == 1) || (sep == '_' && run <= 2)))
				return false;
		}
	}
	return true;
}

/* domain-component (. domain-component)* or [IPv6], and a port */
static bool is_image_domain(struct span s)
{
	ptrdiff_t colon = span_rchr(s, ':');
	if (s.len && s.ptr[0] == '[') {
		ptrdiff_t end = span_chr(s, ']');
		if (end < 0)
			return false;
		for (ptrdiff_t i = 1; i < end; i++) {
			char c = s.ptr[i];
			if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':'))
				return false;
		}
		if ((size_t)end + 1 == s.len)
			return true;
		if (colon != end + 1)
			return false;
	}
	if (colon >= 0) {
		if ((size_t)colon + 1 == s.len)
			return false;
		for (size_t i = (size_t)colon + 1; i < s.len; i++)
			if (s.ptr[i] < '0' || s.ptr[i] > '9')
				return false;
		if (s.ptr[0] == '[')
			return true;
		s = span_sub(s, 0, (size_t)colon);
	}
	struct span part;
	if (!s.len || s.ptr[s.len - 1] == '.')
		return false;
	while (span_cut(&s, '.', &part)) {
		if (!part.len || part.ptr[0] == '-' || part.ptr[part.len - 1] == '-')
			return false;
		for (size_t i = 0; i < part.len; i++)
			if (!is_word(part.ptr[i]) && part.ptr[i] != '-')
				return false;
		if (span_chr(part, '_') >= 0)
			return false;
	}
	return true;
}

static bool is_image_digest(struct span s)
{
	struct span algorithm, hex;
	if (!span_split(s, ':', &algorithm, &hex))
		return false;
	size_t want = span_is(algorithm, "sha256")   ? 64
		      : span_is(algorithm, "sha384") ? 96
		      : span_is(algorithm, "sha512") ? 128
						     : 0;
	if (!want || hex.len != want)
		return false;
	for (size_t i = 0; i < hex.len; i++)
		if (!((hex.ptr[i] >= '0' && hex.ptr[i] <= '9') || (hex.ptr[i] >= 'a' && hex.ptr[i] <= 'f')))
			return false;
	return true;
}

static bool has_upper(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z')
			return true;
	return false;
}

/* Of what cannot be read the tag is "", not latest. */
static bool image_is_latest(struct span image)
{
	struct span name = image, digest = SPAN_EMPTY, tag = SPAN_EMPTY;
	if (span_split(image, '@', &name, &digest) && !is_image_digest(digest))
		return false;
	ptrdiff_t slash = span_rchr(name, '/'), colon = span_rchr(name, ':');
	if (colon > slash) {
		tag = span_from(name, (size_t)colon + 1);
		name = span_sub(name, 0, (size_t)colon);
		if (!tag.len || tag.len > 128 || !is_word(tag.ptr[0]))
			return false;
		for (size_t i = 1; i < tag.len; i++)
			if (!is_word(tag.ptr[i]) && tag.ptr[i] != '.' && tag.ptr[i] != '-')
				return false;
	}
	if (!name.len || name.len > 255)
		return false;
	/* 64 hex digits alone are the id of an image, no name */
	if (image.len == 64) {
		size_t n = 0;
		while (n < 64 && ((image.ptr[n] >= '0' && image.ptr[n] <= '9') || (image.ptr[n] >= 'a' && image.ptr[n] <= 'f')))
			n++;
		if (n == 64)
			return false;
	}
	slash = span_chr(name, '/');
	if (slash >= 0) {
		struct span first = span_sub(name, 0, (size_t)slash), rest = span_from(name, (size_t)slash + 1);
		bool domain = span_chr(first, '.') >= 0 || span_chr(first, ':') >= 0 || span_is(first, "localhost") ||
			      has_upper(first);
		if (domain && !is_image_path(rest))
			return false;
		if (domain ? !is_image_domain(first) && !is_image_path(name) : !is_image_path(name))
			return false;
	} else if (!is_image_path(name)) {
		return false;
	}
	return tag.len ? span_is(tag, "latest") : digest.len == 0;
}

/* ---- parts */
static void default_handler(struct arena *a, struct json *handler)
{
	struct json *http = member(handler, "httpGet");
	if (http) {
		default_string(a, http, "path", "/");
		default_string(a, http, "scheme", "HTTP");
	}
	struct json *grpc = member(handler, "grpc");
	if (grpc)
		default_unset(a, grpc, "service", "");
}

static void default_probe(struct arena *a, struct json *probe)
{
	if (!probe)
		return;
	default_handler(a, probe);
	default_int_nonzero(a, probe, "timeoutSeconds", 1);
	default_int_nonzero(a, probe, "periodSeconds", 10);
	default_int_nonzero(a, probe, "successThreshold", 1);
	default_int_nonzero(a, probe, "failureThreshold", 3);
}

static void default_field_ref(struct arena *a, struct json *holder)
{
	struct json *ref = member(holder, "fieldRef");
	if (ref)
		default_string(a, ref, "apiVersion", "v1");
}

static void default_container(struct arena *a, struct json *c)
{
	bool latest = image_is_latest(member_text(c, "image"));
	JSON_EACH_ITEM(member(c, "ports"), port)
		default_string(a, port, "protocol", "TCP");
	JSON_EACH_ITEM(member(c, "env"), env)
		default_field_ref(a, member(env, "valueFrom"));
	default_resources(a, member(c, "resources"));
	default_probe(a, member(c, "livenessProbe"));
	default_probe(a, member(c, "readinessProbe"));
	default_probe(a, member(c, "startupProbe"));
	default_handler(a, json_path(c, "lifecycle", "postStart", NULL));
	default_handler(a, json_path(c, "lifecycle", "preStop", NULL));
	default_string(a, c, "terminationMessagePath", "/dev/termination-log");
	default_string(a, c, "terminationMessagePolicy", "File");
	default_string(a, c, "imagePullPolicy", latest ? "Always" : "IfNotPresent");
}

static void default_projected(struct arena *a, struct json *projected)
{
	default_int(a, projected, "defaultMode", 0644);
	JSON_EACH_ITEM(member(projected, "sources"), source) {
		JSON_EACH_ITEM(json_path(source, "downwardAPI", "items", NULL), file)
			default_field_ref(a, file);
		struct json *token = member(source, "serviceAccountToken");
		if (token)
			default_int(a, token, "expirationSeconds", 3600);
	}
}

static void default_volume(struct arena *a, struct json *v)
{
	struct json *s;
	unsigned sources = 0;
	JSON_EACH_MEMBER(v, m)
		sources += !span_is(json_key(m), "name");
	if (!sources)
		default_object(a, v, "emptyDir");
	if ((s = member(v, "hostPath")))
		default_unset(a, s, "type", "");
	if ((s = member(v, "secret")))
		default_int(a, s, "defaultMode", 0644);
	if ((s = member(v, "configMap")))
		default_int(a, s, "defaultMode", 0644);
	if ((s = member(v, "iscsi")))
		default_string(a, s, "iscsiInterface", "default");
	if ((s = member(v, "rbd"))) {
		default_string(a, s, "pool", "rbd");
		default_string(a, s, "user", "admin");
		default_string(a, s, "keyring", "/etc/ceph/keyring");
	}
	if ((s = member(v, "downwardAPI"))) {
		default_int(a, s, "defaultMode", 0644);
		JSON_EACH_ITEM(member(s, "items"), file)
			default_field_ref(a, file);
	}
	if ((s = member(v, "azureDisk"))) {
		default_unset(a, s, "cachingMode", "ReadWrite");
		default_unset(a, s, "fsType", "ext4");
		default_bool(a, s, "readOnly", false);
		default_unset(a, s, "kind", "Shared");
	}
	if ((s = member(v, "projected")))
		default_projected(a, s);
	if ((s = member(v, "scaleIO"))) {
		default_string(a, s, "storageMode", "ThinProvisioned");
		default_string(a, s, "fsType", "xfs");
	}
	struct json *claim = json_path(v, "ephemeral", "volumeClaimTemplate", NULL);
	if (claim)
		default_claim_spec(a, default_object(a, claim, "spec"));
}

void default_pod_spec(struct arena *a, struct json *spec)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	if (!json_is(spec, JSON_OBJECT))
		return;
	JSON_EACH_ITEM(member(spec, "volumes"), volume)
		default_volume(a, volume);
	for (size_t k = 0; k < ARRAY_LEN(lists); k++)
		JSON_EACH_ITEM(json_get(spec, span_of(lists[k])), c)
			default_container(a, c);
	default_resource_list(a, member(spec, "overhead"));
	default_resources(a, member(spec, "resources"));
	default_string(a, spec, "restartPolicy", "Always");
	default_int(a, spec, "terminationGracePeriodSeconds", 30);
	default_string(a, spec, "dnsPolicy", "ClusterFirst");
	/* Conversion: the deprecated name and its successor are one field. */
	struct span account = member_text(spec, "serviceAccountName");
	if (!account.len)
		account = member_text(spec, "serviceAccount");
	if (account.len) {
		json_setl(a, spec, "serviceAccountName", json_str(account));
		json_setl(a, spec, "serviceAccount", json_str(account));
	}
	default_object(a, spec, "securityContext");
	default_string(a, spec, "schedulerName", "default-scheduler");
}

/* Annotations in which init containers were written before 1.8 are no longer taken. */
static void drop_init_annotations(struct json *meta)
{
	static const char *const keys[] = {
		"pod.beta.kubernetes.io/init-containers", "pod.alpha.kubernetes.io/init-containers",
		"pod.beta.kubernetes.io/init-container-statuses", "pod.alpha.kubernetes.io/init-container-statuses",
	};
	struct json *annotations = member(meta, "annotations");
	if (!json_is(annotations, JSON_OBJECT))
		return;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		json_remove(annotations, span_of(keys[i]));
}

void default_pod_template(struct arena *a, struct json *template)
{
	if (!json_is(template, JSON_OBJECT))
		return;
	drop_init_annotations(member(template, "metadata"));
	default_pod_spec(a, default_object(a, template, "spec"));
}

/* Only in pods: requests that are not given are the limits; host ports with the host's network. */
static void default_pod_containers(struct arena *a, struct json *list, bool host_network)
{
	JSON_EACH_ITEM(list, c) {
		struct json *resources = member(c, "resources");
		const struct json *limits = member(resources, "limits");
		if (json_count(limits)) {
			struct json *requests = default_object(a, resources, "requests");
			JSON_EACH_MEMBER(limits, m)
				if (!json_get(requests, json_key(m)))
					json_add(a, requests, json_key(m), m->value);
		}
		if (!host_network)
			continue;
		JSON_EACH_ITEM(member(c, "ports"), port)
			if (member_int(port, "containerPort"))
				default_int_nonzero(a, port, "hostPort", member_int(port, "containerPort"));
	}
}

static void default_pod_status(struct arena *a, struct json *status)
{
	static const char *const lists[] = { "initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses" };
	for (size_t k = 0; k < ARRAY_LEN(lists); k++)
		JSON_EACH_ITEM(json_get(status, span_of(lists[k])), c) {
			default_resource_list(a, member(c, "allocatedResources"));
			default_resources(a, member(c, "resources"));
		}
	/* Conversion: podIP is the first of podIPs, and rules when they differ. */
	struct span ip = member_text(status, "podIP");
	struct json *ips = member(status, "podIPs");
	if (!ip.len) {
		if (json_count(ips) && member_text(&ips->items[0], "ip").len)
			json_setl(a, status, "podIP", json_str(member_text(&ips->items[0], "ip")));
		return;
	}
	if (json_count(ips) && span_eq(member_text(&ips->items[0], "ip"), ip))
		return;
	struct json one = json_object();
	json_setl(a, &one, "ip", json_str(ip));
	json_push(a, json_setl(a, status, "podIPs", json_array()), one);
}

static void default_pod(struct arena *a, struct json *pod)
{
	drop_init_annotations(member(pod, "metadata"));
	struct json *spec = default_object(a, pod, "spec");
	default_pod_spec(a, spec);
	bool host_network = member_true(spec, "hostNetwork");
	default_pod_containers(a, member(spec, "containers"), host_network);
	default_pod_containers(a, member(spec, "initContainers"), host_network);
	default_bool(a, spec, "enableServiceLinks", true);
	if (member(pod, "status"))
		default_pod_status(a, member(pod, "status"));
}

const struct strategy_type strategy_type_pod_spec = { "core/v1.PodSpec", default_pod_spec };
const struct strategy_type strategy_type_pod_template_spec = { "core/v1.PodTemplateSpec", default_pod_template };
const struct strategy_type strategy_type_pod = { "core/v1.Pod", default_pod };
