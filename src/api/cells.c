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
	const char *path;      /* of the object */
	const char *otherwise; /* TEXT, BOOL: when absent */
	cell_fn *call;
};
#define COLUMNS_MAX 12
struct row {
	const char *group, *kind;
	struct recipe cells[COLUMNS_MAX];
};

#define TEXT(path) { R_TEXT, path, "", NULL }
#define TEXT_OR(path, otherwise) { R_TEXT, path, otherwise, NULL }
#define INT(path) { R_INT, path, NULL, NULL }
#define BOOL_OR(path, otherwise) { R_BOOL, path, otherwise, NULL }
#define COUNT(path) { R_COUNT, path, NULL, NULL }
#define NAMES(path) { R_NAMES, path, NULL, NULL }
#define IMAGES(path) { R_IMAGES, path, NULL, NULL }
#define MAP(path) { R_MAP, path, NULL, NULL }
#define SELECTOR(path) { R_SELECTOR, path, NULL, NULL }
#define CALL(fn) { R_CALL, NULL, NULL, api_cell_##fn }
#define NAME TEXT("metadata.name")
#define AGE { R_AGE, "metadata.creationTimestamp", NULL, NULL }
#define CONTAINERS "spec.template.spec.containers"

static const struct row rows[] = {
	{ "", "Pod",
	  { NAME, CALL(pod_ready), CALL(pod_status), CALL(pod_restarts), AGE,
	    TEXT_OR("status.podIPs[0].ip", "<none>"), TEXT_OR("spec.nodeName", "<none>"),
	    TEXT_OR("status.nominatedNodeName", "<none>"), CALL(pod_gates) } },
	{ "", "PodTemplate",
	  { NAME, NAMES("template.spec.containers"), IMAGES("template.spec.containers"), MAP("template.metadata.labels") } },
	{ "policy", "PodDisruptionBudget",
	  { NAME, TEXT_OR("spec.minAvailable", "N/A"), TEXT_OR("spec.maxUnavailable", "N/A"), INT("status.disruptionsAllowed"),
	    AGE } },
	{ "", "ReplicationController",
	  { NAME, INT("spec.replicas"), INT("status.replicas"), INT("status.readyReplicas"), AGE, NAMES(CONTAINERS),
	    IMAGES(CONTAINERS), MAP("spec.selector") } },
	{ "apps", "ReplicaSet",
	  { NAME, INT("spec.replicas"), INT("status.replicas"), INT("status.readyReplicas"), AGE, NAMES(CONTAINERS),
	    IMAGES(CONTAINERS), SELECTOR("spec.selector") } },
	{ "apps", "DaemonSet",
	  { NAME, INT("status.desiredNumberScheduled"), INT("status.currentNumberScheduled"), INT("status.numberReady"),
	    INT("status.updatedNumberScheduled"), INT("status.numberAvailable"), MAP("spec.template.spec.nodeSelector"), AGE,
	    NAMES(CONTAINERS), IMAGES(CONTAINERS), SELECTOR("spec.selector") } },
	{ "batch", "Job",
	  { NAME, CALL(job_status), CALL(job_completions), CALL(job_duration), AGE, NAMES(CONTAINERS), IMAGES(CONTAINERS),
	    SELECTOR("spec.selector") } },
	{ "batch", "CronJob",
	  { NAME, TEXT("spec.schedule"), TEXT_OR("spec.timeZone", "<none>"), CALL(cron_suspend), COUNT("status.active"),
	    CALL(cron_last), AGE, NAMES("spec.jobTemplate." CONTAINERS), IMAGES("spec.jobTemplate." CONTAINERS),
	    SELECTOR("spec.jobTemplate.spec.selector") } },
	{ "", "Service",
	  { NAME, TEXT("spec.type"), CALL(service_cluster_ip), CALL(service_external), CALL(service_ports), AGE,
	    MAP("spec.selector") } },
	{ "networking.k8s.io", "Ingress",
	  { NAME, TEXT_OR("spec.ingressClassName", "<none>"), CALL(ingress_hosts), CALL(ingress_address), CALL(ingress_ports),
	    AGE } },
	{ "networking.k8s.io", "IngressClass", { NAME, TEXT("spec.controller"), CALL(ingress_class_parameters), AGE } },
	{ "apps", "StatefulSet", { NAME, CALL(ready_of_wanted), AGE, NAMES(CONTAINERS), IMAGES(CONTAINERS) } },
	{ "", "Endpoints", { NAME, CALL(endpoints), AGE } },
	{ "", "Node",
	  { NAME, CALL(node_status), CALL(node_roles), AGE, TEXT("status.nodeInfo.kubeletVersion"), CALL(node_internal),
	    CALL(node_external), TEXT_OR("status.nodeInfo.osImage", "<unknown>"),
	    TEXT_OR("status.nodeInfo.kernelVersion", "<unknown>"),
	    TEXT_OR("status.nodeInfo.containerRuntimeVersion", "<unknown>") } },
	{ "", "Event",
	  { CALL(event_last), TEXT("type"), TEXT("reason"), CALL(event_object), CALL(event_subobject), CALL(event_source),
	    CALL(event_message), CALL(event_first), CALL(event_count), NAME } },
	{ "events.k8s.io", "Event",
	  { CALL(event_last), TEXT("type"), TEXT("reason"), CALL(event_object), CALL(event_subobject), CALL(event_source),
	    CALL(event_message), CALL(event_first), CALL(event_count), NAME } },
	{ "", "Namespace", { NAME, TEXT("status.phase"), AGE } },
	{ "", "Secret", { NAME, TEXT("type"), COUNT("data"), AGE } },
	{ "", "ServiceAccount", { NAME, COUNT("secrets"), AGE } },
	{ "", "PersistentVolume",
	  { NAME, TEXT("spec.capacity.storage"), CALL(pv_modes), TEXT("spec.persistentVolumeReclaimPolicy"),
	    CALL(phase_or_terminating), CALL(pv_claim), CALL(storage_class),
	    TEXT_OR("spec.volumeAttributesClassName", "<unset>"), TEXT("status.reason"), AGE,
	    TEXT_OR("spec.volumeMode", "<unset>") } },
	{ "", "PersistentVolumeClaim",
	  { NAME, CALL(phase_or_terminating), TEXT("spec.volumeName"), CALL(pvc_capacity), CALL(pvc_modes), CALL(storage_class),
	    TEXT_OR("spec.volumeAttributesClassName", "<unset>"), AGE, TEXT_OR("spec.volumeMode", "<unset>") } },
	{ "", "ComponentStatus", { NAME, CALL(component_status), CALL(component_message), CALL(component_error) } },
	{ "apps", "Deployment",
	  { NAME, CALL(ready_of_wanted), INT("status.updatedReplicas"), INT("status.availableReplicas"), AGE, NAMES(CONTAINERS),
	    IMAGES(CONTAINERS), CALL(deployment_selector) } },
	{ "autoscaling", "HorizontalPodAutoscaler",
	  { NAME, CALL(hpa_reference), CALL(hpa_targets), TEXT_OR("spec.minReplicas", "<unset>"), INT("spec.maxReplicas"),
	    INT("status.currentReplicas"), AGE } },
	{ "", "ConfigMap", { NAME, CALL(config_map_data), AGE } },
	{ "networking.k8s.io", "NetworkPolicy", { NAME, SELECTOR("spec.podSelector"), AGE } },
	{ "rbac.authorization.k8s.io", "RoleBinding",
	  { NAME, CALL(role_ref), AGE, CALL(subjects_user), CALL(subjects_group), CALL(subjects_account) } },
	{ "rbac.authorization.k8s.io", "ClusterRoleBinding",
	  { NAME, CALL(role_ref), AGE, CALL(subjects_user), CALL(subjects_group), CALL(subjects_account) } },
	{ "certificates.k8s.io", "CertificateSigningRequest",
	  { NAME, AGE, TEXT_OR("spec.signerName", "<none>"), TEXT("spec.username"), CALL(csr_duration), CALL(csr_condition) } },
	{ "coordination.k8s.io", "Lease", { NAME, TEXT("spec.holderIdentity"), AGE } },
	{ "storage.k8s.io", "StorageClass",
	  { CALL(storage_class_name), TEXT("provisioner"), TEXT_OR("reclaimPolicy", "Delete"),
	    TEXT_OR("volumeBindingMode", "Immediate"), BOOL_OR("allowVolumeExpansion", NULL), AGE } },
	{ "", "Status", { TEXT("status"), TEXT("reason"), TEXT("message") } },
	{ "apps", "ControllerRevision", { NAME, CALL(revision_controller), INT("revision"), AGE } },
	{ "", "ResourceQuota", { NAME, CALL(quota_request), CALL(quota_limit), AGE } },
	{ "scheduling.k8s.io", "PriorityClass",
	  { NAME, INT("value"), BOOL_OR("globalDefault", NULL), AGE, TEXT("preemptionPolicy") } },
	{ "node.k8s.io", "RuntimeClass", { NAME, TEXT("handler"), AGE } },
	{ "storage.k8s.io", "VolumeAttachment",
	  { NAME, TEXT("spec.attacher"), TEXT("spec.source.persistentVolumeName"), TEXT("spec.nodeName"),
	    BOOL_OR("status.attached", NULL), AGE } },
	{ "discovery.k8s.io", "EndpointSlice", { NAME, TEXT("addressType"), CALL(slice_ports), CALL(slice_endpoints), AGE } },
	{ "storage.k8s.io", "CSINode", { NAME, COUNT("spec.drivers"), AGE } },
	{ "storage.k8s.io", "CSIDriver",
	  { NAME, BOOL_OR("spec.attachRequired", "true"), BOOL_OR("spec.podInfoOnMount", NULL),
	    BOOL_OR("spec.storageCapacity", NULL), CALL(csi_tokens), BOOL_OR("spec.requiresRepublish", NULL), CALL(csi_modes),
	    AGE } },
	{ "storage.k8s.io", "CSIStorageCapacity", { NAME, TEXT("storageClassName"), TEXT_OR("capacity", "<unset>") } },
	{ "admissionregistration.k8s.io", "MutatingWebhookConfiguration", { NAME, COUNT("webhooks"), AGE } },
	{ "admissionregistration.k8s.io", "ValidatingWebhookConfiguration", { NAME, COUNT("webhooks"), AGE } },
	{ "admissionregistration.k8s.io", "ValidatingAdmissionPolicy",
	  { NAME, COUNT("spec.validations"), CALL(policy_param_kind), AGE } },
	{ "admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding",
	  { NAME, TEXT("spec.policyName"), CALL(policy_param_ref), AGE } },
	{ "flowcontrol.apiserver.k8s.io", "FlowSchema",
	  { NAME, TEXT("spec.priorityLevelConfiguration.name"), INT("spec.matchingPrecedence"),
	    TEXT_OR("spec.distinguisherMethod.type", "<none>"), AGE, CALL(flow_dangling) } },
	{ "flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration",
	  { NAME, TEXT("spec.type"), CALL(level_shares), CALL(level_queues), CALL(level_hand), CALL(level_length), AGE } },
	{ "autoscaling", "Scale", { NAME, INT("spec.replicas"), INT("status.replicas"), AGE } },
	{ "resource.k8s.io", "DeviceClass", { NAME, AGE } },
	{ "resource.k8s.io", "ResourceClaim", { NAME, CALL(claim_state), AGE } },
	{ "resource.k8s.io", "ResourceClaimTemplate", { NAME, AGE } },
	{ "resource.k8s.io", "ResourceSlice",
	  { NAME, TEXT("spec.nodeName"), TEXT("spec.driver"), TEXT("spec.pool.name"), AGE } },
	{ "networking.k8s.io", "ServiceCIDR", { NAME, CALL(cidrs), AGE } },
	{ "networking.k8s.io", "IPAddress", { NAME, CALL(ip_parent), AGE } }, /* AGE has no column, as upstream */
	{ "apiregistration.k8s.io", "APIService", { NAME, CALL(apiservice_service), CALL(apiservice_available), AGE } },
	{ "metrics.k8s.io", "NodeMetrics", { NAME, CALL(usage_cpu), CALL(usage_memory), TEXT("window") } },
	{ "metrics.k8s.io", "PodMetrics", { NAME, CALL(usage_cpu), CALL(usage_memory), TEXT("window") } },
};

static const struct row *row_of(struct span group, struct span kind)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (span_is(kind, rows[i].kind) && span_is(group, rows[i].group))
			return &rows[i];
	return NULL;
}

unsigned api_table_recipes(struct span group, struct span kind)
{
	const struct row *r = row_of(group, kind);
	unsigned n = 0;
	while (r && n < COLUMNS_MAX && r->cells[n].kind != R_NONE)
		n++;
	return n;
}

static struct json cook(const struct cell_ctx *c, const struct recipe *r)
{
	const struct json *v = r->path ? api_cell_get(c->object, r->path) : NULL;
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
	static const struct recipe name = NAME, created = TEXT("metadata.creationTimestamp");
	for (unsigned i = 0; i < resource->n_columns; i++) {
		if (resource->id == API_RESOURCE_CUSTOM)
			cells[i] = custom_cell(&c, &resource->columns[i]);
		else if (row)
			cells[i] = i < COLUMNS_MAX ? cook(&c, &row->cells[i]) : JSON_NULL_VALUE;
		else
			cells[i] = cook(&c, i ? &created : &name);
	}
	unsigned n = resource->n_columns;
	if (row && n < COLUMNS_MAX && row->cells[n].kind != R_NONE) {
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
