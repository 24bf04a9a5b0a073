/* NodeRestriction: what a kubelet may do to pods, nodes, claims, leases and tokens is what concerns its own node.
 *
 * The user "system:node:NAME" in group system:nodes speaks for node NAME; others are not looked at. Upstream does all of it in
 * the mutating pass, so a refusal comes before any validation. */
#include "admission/private.h"

#define FORBID(req, err, node, fmt, ...) admission_forbid((req), (err), "node \"%.*s\" " fmt, SPAN_ARG(node), ##__VA_ARGS__)

static bool in_group(const struct admission *req, const char *group)
{
	for (unsigned i = 0; i < req->n_groups; i++)
		if (span_is(req->groups[i], group))
			return true;
	return false;
}

static int unexpected(const struct admission *req, struct err *err)
{
	const char *op = req->op == ADMISSION_CREATE ? "CREATE" : req->op == ADMISSION_UPDATE ? "UPDATE" :
			 req->op == ADMISSION_DELETE ? "DELETE" : "CONNECT";
	return admission_forbid(req, err, "unexpected operation \"%s\"", op);
}

static int pod_of(struct admission *req, struct span name, const struct json **out, struct err *err)
{
	*out = admission_get(req, "", "pods", req->ns, name);
	return *out ? 0 : admission_missing(req, SPAN("pods"), name, err);
}

static struct span node_of(const struct json *pod)
{
	return text_of(json_getl(pod, "spec"), "nodeName");
}

/* ---- pods */

static bool names_config_map(const struct json *spec)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_get(spec, span_of(lists[i])), c) {
			JSON_EACH_ITEM(json_getl(c, "envFrom"), e)
				if (json_getl(e, "configMapRef"))
					return true;
			JSON_EACH_ITEM(json_getl(c, "env"), e)
				if (json_path(e, "valueFrom", "configMapKeyRef", NULL))
					return true;
		}
	JSON_EACH_ITEM(json_getl(spec, "volumes"), v) {
		if (json_getl(v, "configMap"))
			return true;
		JSON_EACH_ITEM(json_path(v, "projected", "sources", NULL), s)
			if (json_getl(s, "configMap"))
				return true;
	}
	return false;
}

static int check_owner(struct admission *req, struct span node, struct err *err)
{
	const struct json *owners = json_getl(meta_of(req->object), "ownerReferences");
	if (count_of(owners) > 1)
		return FORBID(req, err, node, "can only create pods with a single owner reference set to itself");
	const struct json *owner = count_of(owners) ? &owners->items[0] : NULL;
	if (!owner || !span_is(text_of(owner, "apiVersion"), "v1") || !span_is(text_of(owner, "kind"), "Node") ||
	    !span_eq(text_of(owner, "name"), node))
		return FORBID(req, err, node, "can only create pods with an owner reference set to itself");
	if (!json_truth(json_getl(owner, "controller"), false))
		return FORBID(req, err, node, "can only create pods with a controller owner reference set to itself");
	if (json_truth(json_getl(owner, "blockOwnerDeletion"), false))
		return FORBID(req, err, node, "must not set blockOwnerDeletion on an owner reference");
	const struct json *object = admission_get(req, "", "nodes", SPAN_EMPTY, node);
	if (!object)
		return admission_missing(req, SPAN("nodes"), node, err);
	struct span uid = text_of(meta_of(object), "uid"), given = text_of(owner, "uid");
	if (!span_eq(uid, given))
		return admission_forbid(req, err, "node %.*s UID mismatch: expected %.*s got %.*s", SPAN_ARG(node), SPAN_ARG(given),
					SPAN_ARG(uid));
	return 0;
}

static int check_mirror(struct admission *req, struct span node, struct err *err)
{
	const struct json *spec = json_getl(req->object, "spec");
	if (!annotation_of(req->object, "kubernetes.io/config.mirror"))
		return admission_forbid(req, err, "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"%.*s\" can only "
					"create mirror pods", SPAN_ARG(node));
	if (!span_eq(node_of(req->object), node))
		return FORBID(req, err, node, "can only create pods with spec.nodeName set to itself");
	int rc = check_owner(req, node, err);
	if (rc < 0)
		return rc;
	if (text_of(spec, "serviceAccountName").len)
		return FORBID(req, err, node, "can not create pods that reference a service account");
	if (admission_pod_names_secret(spec))
		return FORBID(req, err, node, "can not create pods that reference secrets");
	if (names_config_map(spec))
		return FORBID(req, err, node, "can not create pods that reference configmaps");
	JSON_EACH_ITEM(json_getl(spec, "volumes"), v)
		JSON_EACH_ITEM(json_path(v, "projected", "sources", NULL), s)
			if (json_getl(s, "clusterTrustBundle"))
				return FORBID(req, err, node, "can not create pods that reference clustertrustbundles");
	JSON_EACH_ITEM(json_getl(spec, "volumes"), v)
		if (json_getl(v, "persistentVolumeClaim"))
			return FORBID(req, err, node, "can not create pods that reference persistentvolumeclaims");
	if (count_of(json_getl(spec, "resourceClaims")))
		return FORBID(req, err, node, "can not create pods that reference resourceclaims");
	return 0;
}

static int check_pod(struct admission *req, struct span node, struct err *err)
{
	const struct json *pod;
	if (req->op == ADMISSION_CREATE)
		return check_mirror(req, node, err);
	if (req->op != ADMISSION_DELETE)
		return admission_forbid(req, err, "unexpected operation \"UPDATE\", node \"%.*s\" can only create and delete mirror pods",
					SPAN_ARG(node));
	int rc = pod_of(req, req->name, &pod, err);
	if (rc == 0 && !span_eq(node_of(pod), node))
		rc = FORBID(req, err, node, "can only delete pods with spec.nodeName set to itself");
	return rc;
}

static int check_pod_status(struct admission *req, struct span node, struct err *err)
{
	if (req->op != ADMISSION_UPDATE)
		return unexpected(req, err);
	if (!span_eq(node_of(req->old), node))
		return FORBID(req, err, node, "can only update pod status for pods with spec.nodeName set to itself");
	if (!strategy_same(json_getl(meta_of(req->object), "labels"), json_getl(meta_of(req->old), "labels")))
		return FORBID(req, err, node, "cannot update labels through pod status");
	if (!strategy_same(json_path(req->object, "status", "resourceClaimStatuses", NULL),
			   json_path(req->old, "status", "resourceClaimStatuses", NULL)))
		return FORBID(req, err, node, "cannot update resource claim statues"); /* upstream's spelling */
	return 0;
}

static int check_eviction(struct admission *req, struct span node, struct err *err)
{
	struct span name = req->name.len ? req->name : name_of(req->object);
	const struct json *pod;
	if (req->op != ADMISSION_CREATE)
		return admission_forbid(req, err, "unexpected operation %s", req->op == ADMISSION_UPDATE ? "UPDATE" : "DELETE");
	if (!name.len)
		return admission_forbid(req, err, "could not determine pod from request data");
	int rc = pod_of(req, name, &pod, err);
	if (rc == 0 && !span_eq(node_of(pod), node))
		rc = admission_forbid(req, err, "node %.*s can only evict pods with spec.nodeName set to itself", SPAN_ARG(node));
	return rc;
}

/* ---- claims: their status alone, and of it what resizing reports */

static struct json claim_rest(struct arena *a, const struct json *claim)
{
	static const struct span reported[] = { SPAN_INIT("capacity"), SPAN_INIT("conditions"), SPAN_INIT("allocatedResourceStatuses"),
						SPAN_INIT("allocatedResources") };
	struct json rest = json_copy(a, claim);
	struct json *meta = json_getl(&rest, "metadata"), *status = json_getl(&rest, "status");
	if (json_is(meta, JSON_OBJECT)) {
		json_remove(meta, SPAN("resourceVersion"));
		json_remove(meta, SPAN("managedFields"));
	}
	for (size_t i = 0; i < ARRAY_LEN(reported) && json_is(status, JSON_OBJECT); i++)
		json_remove(status, reported[i]);
	return rest;
}

static int check_claim(struct admission *req, struct span node, struct err *err)
{
	if (!span_is(req->subresource, "status"))
		return admission_forbid(req, err, "may only update PVC status");
	if (req->op != ADMISSION_UPDATE)
		return unexpected(req, err);
	struct json now = claim_rest(req->arena, req->object), was = claim_rest(req->arena, req->old);
	if (!strategy_same(&now, &was))
		return FORBID(req, err, node, "is not allowed to update fields other than status.capacity and status.conditions");
	return 0;
}

/* ---- nodes */

static bool in_zone(struct span name, const char *zone)
{
	size_t n = strlen(zone);
	return span_is(name, zone) || (name.len > n && name.ptr[name.len - n - 1] == '.' && span_ends(name, span_of(zone)));
}

/* Labels that steer workloads are the administrator's; those that a kubelet reports are few. */
static bool label_forbidden(struct span key)
{
	static const char *const own[] = {
		"kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
		"failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region", "node.kubernetes.io/instance-type",
		"beta.kubernetes.io/instance-type", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os",
		"beta.kubernetes.io/arch",
	};
	struct span zone, name;
	if (!span_split(key, '/', &zone, &name))
		return false;
	if (in_zone(zone, "node-restriction.kubernetes.io"))
		return true;
	if (!in_zone(zone, "kubernetes.io") && !in_zone(zone, "k8s.io"))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (span_is(key, own[i]))
			return false;
	return !in_zone(zone, "kubelet.kubernetes.io") && !in_zone(zone, "node.kubernetes.io");
}

static int by_text(const void *a, const void *b)
{
	return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

/* The forbidden labels among those that differ, sorted, ", " between. */
static struct span forbidden_labels(struct arena *a, const struct json *now, const struct json *was)
{
	unsigned n = 0;
	struct span *keys = arena_alloc_n(a, count_of(now) + count_of(was) + 1, sizeof(*keys));
	JSON_EACH_MEMBER(now, m) {
		const struct json *old = json_get(was, json_key(m));
		if ((!old || !span_eq(json_span(old), json_span(&m->value))) && label_forbidden(json_key(m)))
			keys[n++] = json_key(m);
	}
	JSON_EACH_MEMBER(was, m)
		if (!json_get(now, json_key(m)) && label_forbidden(json_key(m)))
			keys[n++] = json_key(m);
	if (n)
		qsort(keys, n, sizeof(*keys), by_text);
	auto_buf struct buf text = {};
	for (unsigned i = 0; i < n; i++)
		buf_printf(&text, "%s%.*s", i ? ", " : "", SPAN_ARG(keys[i]));
	return arena_span(a, buf_span(&text));
}

static int check_node(struct admission *req, struct span node, struct err *err)
{
	struct span name = req->name.len ? req->name : name_of(req->object);
	const struct json *spec = json_getl(req->object, "spec"), *old_spec = json_getl(req->old, "spec");
	const struct json *source = json_getl(spec, "configSource");
	struct span bad = forbidden_labels(req->arena, json_getl(meta_of(req->object), "labels"),
					   json_getl(meta_of(req->old), "labels"));
	if (!span_eq(name, node))
		return FORBID(req, err, node, "is not allowed to modify node \"%.*s\"", SPAN_ARG(name));
	if (req->op == ADMISSION_CREATE) {
		if (source)
			return FORBID(req, err, node, "is not allowed to create pods with a non-nil configSource");
		if (bad.len)
			return FORBID(req, err, node, "is not allowed to set the following labels: %.*s", SPAN_ARG(bad));
	}
	if (req->op != ADMISSION_UPDATE)
		return 0;
	if (source && !strategy_same(source, json_getl(old_spec, "configSource")))
		return FORBID(req, err, node, "is not allowed to update configSource to a new non-nil configSource");
	if (!strategy_same(json_getl(spec, "taints"), json_getl(old_spec, "taints")))
		return FORBID(req, err, node, "is not allowed to modify taints");
	if (bad.len)
		return admission_forbid(req, err, "is not allowed to modify labels: %.*s", SPAN_ARG(bad));
	if (!strategy_same(json_getl(meta_of(req->object), "ownerReferences"), json_getl(meta_of(req->old), "ownerReferences")))
		return FORBID(req, err, node, "is not allowed to modify ownerReferences");
	return 0;
}

/* ---- tokens, leases, CSI nodes */

static bool driver_wants(const struct admission *req, struct span driver, struct span audience)
{
	const struct json *object = driver.len ? admission_get(req, "storage.k8s.io", "csidrivers", SPAN_EMPTY, driver) : NULL;
	JSON_EACH_ITEM(json_path(object, "spec", "tokenRequests", NULL), t)
		if (span_eq(text_of(t, "audience"), audience))
			return true;
	return false;
}

/* A volume of the pod asks for a token of this audience: a projected one, or a CSI driver's. */
static bool pod_wants(const struct admission *req, const struct json *pod, struct span audience)
{
	JSON_EACH_ITEM(json_path(pod, "spec", "volumes", NULL), v) {
		JSON_EACH_ITEM(json_path(v, "projected", "sources", NULL), s) {
			const struct json *token = json_getl(s, "serviceAccountToken");
			if (token && span_eq(text_of(token, "audience"), audience))
				return true;
		}
		if (driver_wants(req, text_of(json_getl(v, "csi"), "driver"), audience))
			return true;
		struct span claim = text_of(json_getl(v, "persistentVolumeClaim"), "claimName");
		if (json_getl(v, "ephemeral"))
			claim = arena_printf(req->arena, "%.*s-%.*s", SPAN_ARG(name_of(pod)), SPAN_ARG(text_of(v, "name")));
		if (!claim.len)
			continue;
		const struct json *pvc = admission_get(req, "", "persistentvolumeclaims", req->ns, claim);
		struct span volume = text_of(json_getl(pvc, "spec"), "volumeName");
		const struct json *pv = volume.len ? admission_get(req, "", "persistentvolumes", SPAN_EMPTY, volume) : NULL;
		if (driver_wants(req, text_of(json_path(pv, "spec", "csi", NULL), "driver"), audience))
			return true;
	}
	return false;
}

static int check_token(struct admission *req, struct span node, struct err *err)
{
	const struct json *spec = json_getl(req->object, "spec"), *ref = json_getl(spec, "boundObjectRef"), *pod;
	const struct json *audiences = json_getl(spec, "audiences");
	if (req->op != ADMISSION_CREATE || !span_is(req->subresource, "token"))
		return 0;
	if (!span_is(text_of(ref, "apiVersion"), "v1") || !span_is(text_of(ref, "kind"), "Pod") || !text_of(ref, "name").len)
		return admission_forbid(req, err, "node requested token not bound to a pod");
	struct span uid = text_of(ref, "uid");
	if (!uid.len)
		return admission_forbid(req, err, "node requested token with a pod binding without a uid");
	int rc = pod_of(req, text_of(ref, "name"), &pod, err);
	if (rc < 0)
		return rc;
	if (!span_eq(uid, text_of(meta_of(pod), "uid")))
		return admission_forbid(req, err, "the UID in the bound object reference (%.*s) does not match the UID in record. The "
					"object might have been deleted and then recreated", SPAN_ARG(uid));
	if (!span_eq(node_of(pod), node))
		return admission_forbid(req, err, "node requested token bound to a pod scheduled on a different node");
	/* ServiceAccountNodeAudienceRestriction, on in 1.33. */
	if (count_of(audiences) > 1)
		return admission_forbid(req, err, "node may only request 0 or 1 audiences");
	struct span audience = count_of(audiences) ? json_span(&audiences->items[0]) : SPAN("");
	if (pod_wants(req, pod, audience))
		return 0;
	struct admission_ask ask = { .verb = SPAN("request-serviceaccounts-token-audience"), .version = SPAN("*"),
				     .resource = audience, .ns = req->ns, .name = req->name };
	if (req->lookup->allows && admission_allows(req, &ask))
		return 0;
	return admission_forbid(req, err, "audience \"%.*s\" not found in pod spec volume, %.*s is not authorized to "
				"request tokens for this audience", SPAN_ARG(audience), SPAN_ARG(req->user_name));
}

static struct span own_name(const struct admission *req)
{
	return req->op == ADMISSION_CREATE ? name_of(req->object) : req->name;
}

static int check_lease(struct admission *req, struct span node, struct err *err)
{
	if (!span_is(req->ns, "kube-node-lease"))
		return admission_forbid(req, err, "can only access leases in the \"kube-node-lease\" system namespace");
	if (!span_eq(own_name(req), node))
		return admission_forbid(req, err, "can only access node lease with the same name as the requesting node");
	return 0;
}

static int check_csi_node(struct admission *req, struct span node, struct err *err)
{
	return span_eq(own_name(req), node) ? 0 : admission_forbid(req, err,
		"can only access CSINode with the same name as the requesting node");
}

static int check_slice(struct admission *req, struct span node, struct err *err)
{
	const struct json *slice = req->op == ADMISSION_CREATE ? req->object : req->old;
	if (req->op == ADMISSION_UPDATE || span_eq(node_of(slice), node)) /* spec.nodeName cannot be changed */
		return 0;
	return admission_forbid(req, err, "can only %s ResourceSlice with the same NodeName as the requesting node",
				req->op == ADMISSION_CREATE ? "create" : "delete");
}

int admission_node_restriction(struct admission *req, struct err *err)
{
	static const struct span prefix = SPAN_INIT("system:node:");
	if (!in_group(req, "system:nodes") || !span_starts(req->user_name, prefix))
		return 0;
	struct span node = span_from(req->user_name, prefix.len);
	if (!node.len)
		return admission_forbid(req, err, "could not determine node from user \"%.*s\"", SPAN_ARG(req->user_name));
	if (admission_is(req, "", "pods")) {
		if (!req->subresource.len)
			return check_pod(req, node, err);
		if (span_is(req->subresource, "status"))
			return check_pod_status(req, node, err);
		if (span_is(req->subresource, "eviction"))
			return check_eviction(req, node, err);
		return admission_forbid(req, err, "unexpected pod subresource \"%.*s\", only 'status' and 'eviction' are allowed",
					SPAN_ARG(req->subresource));
	}
	if (admission_is(req, "", "nodes"))
		return check_node(req, node, err);
	if (admission_is(req, "", "persistentvolumeclaims"))
		return check_claim(req, node, err);
	if (admission_is(req, "", "serviceaccounts"))
		return check_token(req, node, err);
	if (admission_is(req, "coordination.k8s.io", "leases"))
		return check_lease(req, node, err);
	if (admission_is(req, "storage.k8s.io", "csinodes"))
		return check_csi_node(req, node, err);
	if (admission_is(req, "resource.k8s.io", "resourceslices"))
		return check_slice(req, node, err);
	return 0;
}
