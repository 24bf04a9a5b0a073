/* What the recipes of cells.c and cells_pod.c share. */
#pragma once

#include "api/cells.h"

struct cell_ctx {
	struct arena *arena;
	const struct json *object;
	int64_t now_unix_s;
};
typedef struct json cell_fn(const struct cell_ctx *c);

/* A member by dotted path; "[0]" behind a name takes the first item. NULL when absent. */
const struct json *api_cell_get(const struct json *v, const char *path);
struct span api_cell_str(const struct json *v, const char *path);
int64_t api_cell_int(const struct json *v, const char *path);
/* Age of an RFC 3339 text: "<unknown>" when empty or not a time. */
struct json api_cell_age(const struct cell_ctx *c, struct span time);
struct json api_cell_done(struct arena *a, struct buf *text); /* the text as a cell; empties the buf */
/* The condition of that type in status.conditions, or NULL. */
const struct json *api_cell_condition(const struct json *v, const char *type);

cell_fn api_cell_pod_ready, api_cell_pod_status, api_cell_pod_restarts, api_cell_pod_gates;
/* cells_kinds.c */
cell_fn api_cell_apiservice_available, api_cell_apiservice_service, api_cell_cidrs, api_cell_claim_state,
	api_cell_component_error, api_cell_component_message, api_cell_component_status, api_cell_config_map_data,
	api_cell_cron_last, api_cell_cron_suspend, api_cell_csi_modes, api_cell_csi_tokens, api_cell_csr_condition,
	api_cell_csr_duration, api_cell_deployment_selector, api_cell_endpoints, api_cell_event_count,
	api_cell_event_first, api_cell_event_last, api_cell_event_message, api_cell_event_object,
	api_cell_event_source, api_cell_event_subobject, api_cell_flow_dangling, api_cell_fn,
	api_cell_hpa_reference, api_cell_hpa_targets, api_cell_ingress_address, api_cell_ingress_class_parameters,
	api_cell_ingress_hosts, api_cell_ingress_ports, api_cell_ip_parent, api_cell_job_completions,
	api_cell_job_duration, api_cell_job_status, api_cell_level_hand, api_cell_level_length,
	api_cell_level_queues, api_cell_level_shares, api_cell_node_external, api_cell_node_internal,
	api_cell_node_roles, api_cell_node_status, api_cell_phase_or_terminating, api_cell_policy_param_kind,
	api_cell_policy_param_ref, api_cell_pv_claim, api_cell_pv_modes, api_cell_pvc_capacity, api_cell_pvc_modes,
	api_cell_quota_limit, api_cell_quota_request, api_cell_ready_of_wanted, api_cell_revision_controller,
	api_cell_role_ref, api_cell_service_cluster_ip, api_cell_service_external, api_cell_service_ports,
	api_cell_slice_endpoints, api_cell_slice_ports, api_cell_storage_class, api_cell_storage_class_name,
	api_cell_subjects_account, api_cell_subjects_group, api_cell_subjects_user, api_cell_usage_cpu,
	api_cell_usage_memory;
/* Names (or another member) of the items of a list; a map as a selector; a LabelSelector as text. */
struct json api_cell_names(const struct cell_ctx *c, const char *path, const char *member);
struct json api_cell_selector_map(const struct cell_ctx *c, const char *path);
struct json api_cell_selector_struct(const struct cell_ctx *c, const char *path, const char *none, const char *bad);
