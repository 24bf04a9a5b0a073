/* Manifests as static pods: defaults, names and annotations as upstream's config.applyDefaults and file source give them. */
#include "kubelet/sources.h"
#include "kubelet/node.h"
#include "yaml/yaml.h"

static void put(struct arena *a, struct json *o, const char *key, struct json v)
{
	(void)json_set(a, o, span_of(key), v);
}

static void fill(struct arena *a, struct json *o, const char *key, struct json v)
{
	const struct json *old = json_get(o, span_of(key));
	if (!old || old->kind == JSON_NULL)
		put(a, o, key, v);
}

static struct json *object_at(struct arena *a, struct json *o, const char *key)
{
	struct json *v = json_get(o, span_of(key));
	return json_is(v, JSON_OBJECT) ? v : json_set(a, o, span_of(key), json_object());
}

/* The same text gives the same uid on every start: four FNV-1a of 32 bits with different beginnings. */
static struct span hash_of(struct arena *a, struct span node, struct span text)
{
	uint32_t h[4];
	for (unsigned i = 0; i < 4; i++) {
		h[i] = 2166136261u + i * 0x9e3779b9u;
		for (size_t k = 0; k < node.len + text.len; k++)
			h[i] = (h[i] ^ (uint8_t)(k < node.len ? node.ptr[k] : text.ptr[k - node.len])) * 16777619u;
	}
	return arena_printf(a, "%08x%08x%08x%08x", h[0], h[1], h[2], h[3]);
}

static void probe_defaults(struct arena *a, struct json *c, const char *which)
{
	struct json *p = json_get(c, span_of(which));
	if (!json_is(p, JSON_OBJECT))
		return;
	fill(a, p, "timeoutSeconds", json_int(1));
	fill(a, p, "periodSeconds", json_int(10));
	fill(a, p, "successThreshold", json_int(1));
	fill(a, p, "failureThreshold", json_int(3));
	struct json *get = json_getl(p, "httpGet");
	if (json_is(get, JSON_OBJECT)) {
		fill(a, get, "path", json_cstr("/"));
		fill(a, get, "scheme", json_cstr("HTTP"));
	}
}

static void container_defaults(struct arena *a, struct json *c)
{
	static const char *const probes[] = { "livenessProbe", "readinessProbe", "startupProbe" };
	struct span image = json_span(json_getl(c, "image"));
	ptrdiff_t slash = span_rchr(image, '/');
	struct span last = span_from(image, (size_t)(slash + 1));
	bool latest = span_chr(last, '@') < 0 && (span_chr(last, ':') < 0 || span_ends(last, SPAN(":latest")));
	fill(a, c, "imagePullPolicy", json_cstr(latest ? "Always" : "IfNotPresent"));
	fill(a, c, "terminationMessagePath", json_cstr("/dev/termination-log"));
	fill(a, c, "terminationMessagePolicy", json_cstr("File"));
	fill(a, c, "resources", json_object());
	const struct json *ports = json_getl(c, "ports");
	JSON_EACH_ITEM(ports, p)
		fill(a, p, "protocol", json_cstr("TCP"));
	for (size_t i = 0; i < ARRAY_LEN(probes); i++)
		probe_defaults(a, c, probes[i]);
}

int kl_static_read(struct arena *a, const struct kl *k, struct span text, struct json *out, struct err *err)
{
	auto_buf struct buf name = {};
	char now[40];
	int rc = yaml_parse(a, text, 0, NULL, out, err);
	if (rc < 0)
		return rc;
	if (!json_is(out, JSON_OBJECT) || !span_is(json_span(json_getl(out, "kind")), "Pod"))
		return err_set(err, ERR_INVALID, "not a Pod");
	struct json *meta = object_at(a, out, "metadata"), *spec = object_at(a, out, "spec");
	struct span own = json_span(json_getl(meta, "name"));
	if (!own.len || !json_is(json_getl(spec, "containers"), JSON_ARRAY))
		return err_set(err, ERR_INVALID, "a pod needs metadata.name and spec.containers");
	struct span hash = hash_of(a, k->node_name, text);
	put(a, meta, "name", json_str(arena_printf(a, "%.*s-%.*s", SPAN_ARG(own), SPAN_ARG(k->node_name))));
	fill(a, meta, "namespace", json_cstr("default"));
	put(a, meta, "uid", json_str(hash));
	struct json *notes = object_at(a, meta, "annotations");
	int64_t ns = loop_wall_ns(k->loop);
	size_t n = time_format(now, ns / NS_PER_S, (int32_t)(ns % NS_PER_S), 9);
	put(a, notes, "kubernetes.io/config.hash", json_str(hash));
	put(a, notes, "kubernetes.io/config.seen", json_str(arena_span(a, span_make(now, n))));
	put(a, notes, "kubernetes.io/config.source", json_cstr("file"));
	put(a, spec, "nodeName", json_str(k->node_name));
	fill(a, spec, "restartPolicy", json_cstr("Always"));
	fill(a, spec, "dnsPolicy", json_cstr("ClusterFirst"));
	fill(a, spec, "terminationGracePeriodSeconds", json_int(30));
	fill(a, spec, "securityContext", json_object());
	fill(a, spec, "schedulerName", json_cstr("default-scheduler"));
	fill(a, spec, "enableServiceLinks", json_bool(true));
	/* Nobody who taints the node means the pods that its folder says. */
	struct json all = json_object(), *tolerations = json_getl(spec, "tolerations");
	put(a, &all, "effect", json_cstr("NoExecute"));
	put(a, &all, "operator", json_cstr("Exists"));
	if (!json_is(tolerations, JSON_ARRAY))
		tolerations = json_set(a, spec, SPAN("tolerations"), json_array());
	(void)json_push(a, tolerations, all);
	static const char *const lists[] = { "initContainers", "containers" };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		const struct json *list = json_get(spec, span_of(lists[i]));
		JSON_EACH_ITEM(list, c)
			if (json_is(c, JSON_OBJECT))
				container_defaults(a, c);
	}
	(void)json_remove(out, SPAN("status"));
	return 0;
}

struct json kl_static_mirror(struct arena *a, const struct kl *k, const struct json *pod)
{
	struct json m = json_copy(a, pod);
	struct json *meta = json_getl(&m, "metadata");
	(void)json_remove(meta, SPAN("uid")); /* moves what stands behind it */
	struct json *notes = json_getl(meta, "annotations");
	struct span hash = json_span(json_getl(notes, "kubernetes.io/config.hash"));
	put(a, notes, "kubernetes.io/config.mirror", json_str(hash));
	const struct api_core_node *node = kl_node_object(k);
	if (node) {
		struct json owner = json_object(), owners = json_array();
		put(a, &owner, "apiVersion", json_cstr("v1"));
		put(a, &owner, "kind", json_cstr("Node"));
		put(a, &owner, "name", json_str(k->node_name));
		put(a, &owner, "uid", json_str(node->metadata.uid));
		put(a, &owner, "controller", json_bool(true));
		(void)json_push(a, &owners, owner);
		put(a, meta, "ownerReferences", owners);
	}
	return m;
}
