/* Table cells.
 *
 * A kind is a row of recipes, one a column: take a member as text, as a number, as an age, count a list, or call a function. The
 * test compares the rows with the columns of the schema files: one recipe a column, no kind without. */
#include "api/cells_private.h"

#include "api/gotext.h"
#include "api/jsonpath.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "api/times.h"

/* ---- reading */
const struct json *api_cell_get(const struct json *v, const char *path)
{
	struct span rest = span_of(path), part;
	while (v && span_cut(&rest, '.', &part)) {
		bool first = span_ends(part, SPAN("[0]"));
		if (first)
			part.len -= 3;
		v = json_get(v, part);
		if (first)
			v = json_is(v, JSON_ARRAY) && v->n ? &v->items[0] : NULL;
	}
	return v && v->kind != JSON_NULL ? v : NULL;
}

struct span api_cell_str(const struct json *v, const char *path)
{
	return json_span(api_cell_get(v, path));
}

int64_t api_cell_int(const struct json *v, const char *path)
{
	return json_i64(api_cell_get(v, path), 0);
}

const struct json *api_cell_condition(const struct json *v, const char *type)
{
	JSON_EACH_ITEM(api_cell_get(v, "status.conditions"), c)
		if (span_is(api_cell_str(c, "type"), type))
			return c;
	return NULL;
}

struct json api_cell_done(struct arena *a, struct buf *text)
{
	struct json v = json_str(arena_span(a, buf_span(text)));
	buf_trunc(text, 0);
	return v;
}

struct json api_cell_age(const struct cell_ctx *c, struct span time)
{
	int64_t s;
	int32_t ns;
	auto_buf struct buf out = {};
	if (!time.len || time_parse(time.ptr, time.len, &s, &ns) < 0)
		return json_cstr("<unknown>");
	int64_t elapsed = c->now_unix_s - s;
	elapsed = MIN(MAX(elapsed, INT64_MIN / NS_PER_S), INT64_MAX / NS_PER_S);
	api_age_print(&out, elapsed * NS_PER_S);
	return api_cell_done(c->arena, &out);
}

/* ---- the rows */
enum recipe_kind { R_NONE, R_TEXT, R_INT, R_BOOL, R_AGE, R_COUNT, R_NAMES, R_IMAGES, R_MAP, R_SELECTOR, R_CALL };
struct recipe {
	enum recipe_kind kind;
	union {
		const char *path; /* of the object */
		cell_fn *call;	  /* CALL */
	};
	const char *otherwise; /* TEXT, BOOL: when absent */
};
struct row {
	const char *group, *kind;
	const struct recipe *cells; /* up to NONE. By pointer: every byte of a table with pointers is a process's own */
};
#define CELLS(...) (const struct recipe[]){ __VA_ARGS__, { R_NONE, {}, NULL } }

#define TEXT(path) { R_TEXT, { path }, "" }
#define TEXT_OR(path, otherwise) { R_TEXT, { path }, otherwise }
#define INT(path) { R_INT, { path }, NULL }
#define BOOL_OR(path, otherwise) { R_BOOL, { path }, otherwise }
#define COUNT(path) { R_COUNT, { path }, NULL }
#define NAMES(path) { R_NAMES, { path }, NULL }
#define IMAGES(path) { R_IMAGES, { path }, NULL }
#define MAP(path) { R_MAP, { path }, NULL }
#define SELECTOR(path) { R_SELECTOR, { path }, NULL }
#define CALL(fn) { R_CALL, { .call = api_cell_##fn }, NULL }
#define NAME TEXT("metadata.name")
#define AGE { R_AGE, { "metadata.creationTimestamp" }, NULL }
#define CONTAINERS "spec.template.spec.containers"

static const struct row rows[] = {
	{ "", "Pod",
	  CELLS(NAME, CALL(pod_ready), CALL(pod_status), CALL(pod_restarts), AGE,
	    TEXT_OR("status.podIPs[0].ip", "<none>"), TEXT_OR("spec.nodeName", "<none>"),
	    TEXT_OR("status.nominatedNodeName", "<none>"), CALL(pod_gates)) },
	{ "", "PodTemplate",
	  CELLS(NAME, NAMES("template.spec.containers"), IMAGES("template.spec.containers"), MAP("template.metadata.labels")) },
	{ "policy", "PodDisruptionBudget",
	  CELLS(NAME, TEXT_OR("spec.minAvailable", "N/A"), TEXT_OR("spec.maxUnavailable", "N/A"), INT("status.disruptionsAllowed"),
	    AGE) },
	{ "", "ReplicationController",
	  CELLS(NAME, INT("spec.replicas"), INT("status.replicas"), INT("status.readyReplicas"), AGE, NAMES(CONTAINERS),
	    IMAGES(CONTAINERS), MAP("spec.selector")) },
	{ "apps", "ReplicaSet",
	  CELLS(NAME, INT("spec.replicas"), INT("status.replicas"), INT("status.readyReplicas"), AGE, NAMES(CONTAINERS),
	    IMAGES(CONTAINERS), SELECTOR("spec.selector")) },
	{ "apps", "DaemonSet",
	  CELLS(NAME, INT("status.desiredNumberScheduled"), INT("status.currentNumberScheduled"), INT("status.numberReady"),
	    INT("status.updatedNumberScheduled"), INT("status.numberAvailable"), MAP("spec.template.spec.nodeSelector"), AGE,
	    NAMES(CONTAINERS), IMAGES(CONTAINERS), SELECTOR("spec.selector")) },
	{ "batch", "Job",
	  CELLS(NAME, CALL(job_status), CALL(job_completions), CALL(job_duration), AGE, NAMES(CONTAINERS), IMAGES(CONTAINERS),
	    SELECTOR("spec.selector")) },
	{ "batch", "CronJob",
	  CELLS(NAME, TEXT("spec.schedule"), TEXT_OR("spec.timeZone", "<none>"), CALL(cron_suspend), COUNT("status.active"),
	    CALL(cron_last), AGE, NAMES("spec.jobTemplate." CONTAINERS), IMAGES("spec.jobTemplate." CONTAINERS),
	    SELECTOR("spec.jobTemplate.spec.selector")) },
	{ "", "Service",
	  CELLS(NAME, TEXT("spec.type"), CALL(service_cluster_ip), CALL(service_external), CALL(service_ports), AGE,
	    MAP("spec.selector")) },
	{ "networking.k8s.io", "Ingress",
	  CELLS(NAME, TEXT_OR("spec.ingressClassName", "<none>"), CALL(ingress_hosts), CALL(ingress_address), CALL(ingress_ports),
	    AGE) },
	{ "networking.k8s.io", "IngressClass", CELLS(NAME, TEXT("spec.controller"), CALL(ingress_class_parameters), AGE) },
	{ "apps", "StatefulSet", CELLS(NAME, CALL(ready_of_wanted), AGE, NAMES(CONTAINERS), IMAGES(CONTAINERS)) },
	{ "", "Endpoints", CELLS(NAME, CALL(endpoints), AGE) },
	{ "", "Node",
	  CELLS(NAME, CALL(node_status), CALL(node_roles), AGE, TEXT("status.nodeInfo.kubeletVersion"), CALL(node_internal),
	    CALL(node_external), TEXT_OR("status.nodeInfo.osImage", "<unknown>"),
	    TEXT_OR("status.nodeInfo.kernelVersion", "<unknown>"),
	    TEXT_OR("status.nodeInfo.containerRuntimeVersion", "<unknown>")) },
	{ "", "Event",
	  CELLS(CALL(event_last), TEXT("type"), TEXT("reason"), CALL(event_object), CALL(event_subobject), CALL(event_source),
	    CALL(event_message), CALL(event_first), CALL(event_count), NAME) },
	{ "events.k8s.io", "Event",
	  CELLS(CALL(event_last), TEXT("type"), TEXT("reason"), CALL(event_object), CALL(event_subobject), CALL(event_source),
	    CALL(event_message), CALL(event_first), CALL(event_count), NAME) },
	{ "", "Namespace", CELLS(NAME, TEXT("status.phase"), AGE) },
	{ "", "Secret", CELLS(NAME, TEXT("type"), COUNT("data"), AGE) },
	{ "", "ServiceAccount", CELLS(NAME, COUNT("secrets"), AGE) },
	{ "", "PersistentVolume",
	  CELLS(NAME, TEXT("spec.capacity.storage"), CALL(pv_modes), TEXT("spec.persistentVolumeReclaimPolicy"),
	    CALL(phase_or_terminating), CALL(pv_claim), CALL(storage_class),
	    TEXT_OR("spec.volumeAttributesClassName", "<unset>"), TEXT("status.reason"), AGE,
	    TEXT_OR("spec.volumeMode", "<unset>")) },
	{ "", "PersistentVolumeClaim",
	  CELLS(NAME, CALL(phase_or_terminating), TEXT("spec.volumeName"), CALL(pvc_capacity), CALL(pvc_modes), CALL(storage_class),
	    TEXT_OR("spec.volumeAttributesClassName", "<unset>"), AGE, TEXT_OR("spec.volumeMode", "<unset>")) },
	{ "", "ComponentStatus", CELLS(NAME, CALL(component_status), CALL(component_message), CALL(component_error)) },
	{ "apps", "Deployment",
	  CELLS(NAME, CALL(ready_of_wanted), INT("status.updatedReplicas"), INT("status.availableReplicas"), AGE, NAMES(CONTAINERS),
	    IMAGES(CONTAINERS), CALL(deployment_selector)) },
	{ "autoscaling", "HorizontalPodAutoscaler",
	  CELLS(NAME, CALL(hpa_reference), CALL(hpa_targets), TEXT_OR("spec.minReplicas", "<unset>"), INT("spec.maxReplicas"),
	    INT("status.currentReplicas"), AGE) },
	{ "", "ConfigMap", CELLS(NAME, CALL(config_map_data), AGE) },
	{ "networking.k8s.io", "NetworkPolicy", CELLS(NAME, SELECTOR("spec.podSelector"), AGE) },
	{ "rbac.authorization.k8s.io", "RoleBinding",
	  CELLS(NAME, CALL(role_ref), AGE, CALL(subjects_user), CALL(subjects_group), CALL(subjects_account)) },
	{ "rbac.authorization.k8s.io", "ClusterRoleBinding",
	  CELLS(NAME, CALL(role_ref), AGE, CALL(subjects_user), CALL(subjects_group), CALL(subjects_account)) },
	{ "certificates.k8s.io", "CertificateSigningRequest",
	  CELLS(NAME, AGE, TEXT_OR("spec.signerName", "<none>"), TEXT("spec.username"), CALL(csr_duration), CALL(csr_condition)) },
	{ "coordination.k8s.io", "Lease", CELLS(NAME, TEXT("spec.holderIdentity"), AGE) },
	{ "storage.k8s.io", "StorageClass",
	  CELLS(CALL(storage_class_name), TEXT("provisioner"), TEXT_OR("reclaimPolicy", "Delete"),
	    TEXT_OR("volumeBindingMode", "Immediate"), BOOL_OR("allowVolumeExpansion", NULL), AGE) },
	{ "", "Status", CELLS(TEXT("status"), TEXT("reason"), TEXT("message")) },
	{ "apps", "ControllerRevision", CELLS(NAME, CALL(revision_controller), INT("revision"), AGE) },
	{ "", "ResourceQuota", CELLS(NAME, CALL(quota_request), CALL(quota_limit), AGE) },
	{ "scheduling.k8s.io", "PriorityClass",
	  CELLS(NAME, INT("value"), BOOL_OR("globalDefault", NULL), AGE, TEXT("preemptionPolicy")) },
	{ "node.k8s.io", "RuntimeClass", CELLS(NAME, TEXT("handler"), AGE) },
	{ "storage.k8s.io", "VolumeAttachment",
	  CELLS(NAME, TEXT("spec.attacher"), TEXT("spec.source.persistentVolumeName"), TEXT("spec.nodeName"),
	    BOOL_OR("status.attached", NULL), AGE) },
	{ "discovery.k8s.io", "EndpointSlice", CELLS(NAME, TEXT("addressType"), CALL(slice_ports), CALL(slice_endpoints), AGE) },
	{ "storage.k8s.io", "CSINode", CELLS(NAME, COUNT("spec.drivers"), AGE) },
	{ "storage.k8s.io", "CSIDriver",
	  CELLS(NAME, BOOL_OR("spec.attachRequired", "true"), BOOL_OR("spec.podInfoOnMount", NULL),
	    BOOL_OR("spec.storageCapacity", NULL), CALL(csi_tokens), BOOL_OR("spec.requiresRepublish", NULL), CALL(csi_modes),
	    AGE) },
	{ "storage.k8s.io", "CSIStorageCapacity", CELLS(NAME, TEXT("storageClassName"), TEXT_OR("capacity", "<unset>")) },
	{ "admissionregistration.k8s.io", "MutatingWebhookConfiguration", CELLS(NAME, COUNT("webhooks"), AGE) },
	{ "admissionregistration.k8s.io", "ValidatingWebhookConfiguration", CELLS(NAME, COUNT("webhooks"), AGE) },
	{ "admissionregistration.k8s.io", "ValidatingAdmissionPolicy",
	  CELLS(NAME, COUNT("spec.validations"), CALL(policy_param_kind), AGE) },
	{ "admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding",
	  CELLS(NAME, TEXT("spec.policyName"), CALL(policy_param_ref), AGE) },
	{ "flowcontrol.apiserver.k8s.io", "FlowSchema",
	  CELLS(NAME, TEXT("spec.priorityLevelConfiguration.name"), INT("spec.matchingPrecedence"),
	    TEXT_OR("spec.distinguisherMethod.type", "<none>"), AGE, CALL(flow_dangling)) },
	{ "flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration",
	  CELLS(NAME, TEXT("spec.type"), CALL(level_shares), CALL(level_queues), CALL(level_hand), CALL(level_length), AGE) },
	{ "autoscaling", "Scale", CELLS(NAME, INT("spec.replicas"), INT("status.replicas"), AGE) },
	{ "resource.k8s.io", "DeviceClass", CELLS(NAME, AGE) },
	{ "resource.k8s.io", "ResourceClaim", CELLS(NAME, CALL(claim_state), AGE) },
	{ "resource.k8s.io", "ResourceClaimTemplate", CELLS(NAME, AGE) },
	{ "resource.k8s.io", "ResourceSlice",
	  CELLS(NAME, TEXT("spec.nodeName"), TEXT("spec.driver"), TEXT("spec.pool.name"), AGE) },
	{ "networking.k8s.io", "ServiceCIDR", CELLS(NAME, CALL(cidrs), AGE) },
	{ "networking.k8s.io", "IPAddress", CELLS(NAME, CALL(ip_parent), AGE) }, /* AGE has no column, as upstream */
	{ "apiregistration.k8s.io", "APIService", CELLS(NAME, CALL(apiservice_service), CALL(apiservice_available), AGE) },
	{ "metrics.k8s.io", "NodeMetrics", CELLS(NAME, CALL(usage_cpu), CALL(usage_memory), TEXT("window")) },
	{ "metrics.k8s.io", "PodMetrics", CELLS(NAME, CALL(usage_cpu), CALL(usage_memory), TEXT("window")) },
};

static const struct row *row_of(struct span group, struct span kind)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (span_is(kind, rows[i].kind) && span_is(group, rows[i].group))
			return &rows[i];
	return NULL;
}

static unsigned n_cells(const struct row *r)
{
	unsigned n = 0;
	while (r && r->cells[n].kind != R_NONE)
		n++;
	return n;
}

unsigned api_table_recipes(struct span group, struct span kind)
{
	return n_cells(row_of(group, kind));
}

static struct json cook(const struct cell_ctx *c, const struct recipe *r)
{
	const struct json *v = r->kind != R_CALL ? api_cell_get(c->object, r->path) : NULL;
	switch (r->kind) {
	case R_TEXT:
		if (json_is(v, JSON_INT))
			return json_str(arena_printf(c->arena, "%lld", (long long)v->i));
		return json_is(v, JSON_STRING) && v->n ? *v : json_cstr(r->otherwise);
	case R_INT:
		return json_int(json_i64(v, 0));
	case R_BOOL:
		return json_bool(json_truth(v, r->otherwise != NULL));
	case R_AGE:
		return api_cell_age(c, json_span(v));
	case R_COUNT:
		return json_int(json_is(v, JSON_ARRAY) || json_is(v, JSON_OBJECT) ? v->n : 0);
	case R_NAMES:
		return api_cell_names(c, r->path, "name");
	case R_IMAGES:
		return api_cell_names(c, r->path, "image");
	case R_MAP:
		return api_cell_selector_map(c, r->path);
	case R_SELECTOR:
		/* FormatLabelSelector: nothing and everything both show <none> */
		return api_cell_selector_struct(c, r->path, "<none>", "<error>");
	case R_CALL:
		return r->call(c);
	case R_NONE:
		break;
	}
	return JSON_NULL_VALUE;
}

/* ---- custom resources */
static struct json custom_cell(const struct cell_ctx *c, const struct api_column *column)
{
	auto_buf struct buf template = {}, text = {};
	struct api_jsonpath *path;
	struct api_jsonpath_result found;
	/* A column's path is without braces, ".spec.replicas". */
	buf_printf(&template, column->shows.len && column->shows.ptr[0] == '.' ? "{%.*s}" : "{.%.*s}", SPAN_ARG(column->shows));
	if (api_jsonpath_parse(c->arena, buf_span(&template), &path, NULL) < 0 ||
	    api_jsonpath_find(path, c->arena, c->object, API_JSONPATH_MISSING, &found, NULL) < 0 || !found.n || !found.parts[0].n)
		return JSON_NULL_VALUE;
	const struct json *v = &found.parts[0].values[0];
	if (v->kind == JSON_NULL && !span_is(column->type, "string"))
		return JSON_NULL_VALUE;
	if (span_is(column->type, "integer")) {
		if (v->kind == JSON_DOUBLE && v->d > -9.2e18 && v->d < 9.2e18)
			return json_int((int64_t)v->d);
		return v->kind == JSON_INT ? *v : JSON_NULL_VALUE;
	}
	if (span_is(column->type, "number"))
		return json_is_number(v) ? *v : JSON_NULL_VALUE;
	if (span_is(column->type, "boolean"))
		return v->kind == JSON_BOOL ? *v : JSON_NULL_VALUE;
	if (span_is(column->type, "date")) {
		int64_t s;
		int32_t ns;
		if (v->kind != JSON_STRING)
			return JSON_NULL_VALUE;
		if (v->n && api_time_parse(json_span(v), API_TIME_SECONDS, &s, &ns, NULL) < 0)
			return json_cstr("<invalid>");
		return api_cell_age(c, json_span(v));
	}
	api_jsonpath_print_value(&text, v);
	return api_cell_done(c->arena, &text);
}

unsigned api_table_cells(struct arena *a, const struct api_resource *resource, const struct json *object, int64_t now_unix_s,
			 struct json *cells)
{
	struct cell_ctx c = { a, object, now_unix_s };
	const struct row *row = resource->id == API_RESOURCE_CUSTOM ? NULL : row_of(resource->group, resource->kind);
	unsigned have = n_cells(row);
	static const struct recipe name = NAME, created = TEXT("metadata.creationTimestamp");
	for (unsigned i = 0; i < resource->n_columns; i++) {
		if (resource->id == API_RESOURCE_CUSTOM)
			cells[i] = custom_cell(&c, &resource->columns[i]);
		else if (row)
			cells[i] = i < have ? cook(&c, &row->cells[i]) : JSON_NULL_VALUE;
		else
			cells[i] = cook(&c, i ? &created : &name);
	}
	unsigned n = resource->n_columns;
	if (n < have) {
		cells[n] = cook(&c, &row->cells[n]);
		n++;
	}
	return n;
}

bool api_table_completed(const struct api_resource *resource, const struct json *object, struct span *out_reason)
{
	struct span phase = api_cell_str(object, "status.phase");
	if (resource->group.len || !span_is(resource->kind, "Pod") ||
	    (!span_is(phase, "Succeeded") && !span_is(phase, "Failed")))
		return false;
	*out_reason = phase;
	return true;
}
