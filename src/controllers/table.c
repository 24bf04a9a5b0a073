/* Every controller, in the order in which help lists them. */
#include "controllers/frame.h"
#include "controllers/table.h"

const struct controller_row *const cm_controllers[] = {
	&cm_replica_set,
	&cm_replication_controller,
	&cm_garbage_collector,
	&cm_deployment,
	&cm_disruption,
	&cm_endpoints,
	&cm_endpoint_slice,
	&cm_endpoint_slice_mirroring,
	&cm_job,
	&cm_ttl_after_finished,
	&cm_csr_approving,
	&cm_csr_signing,
	&cm_csr_cleaner,
	&cm_node_lifecycle,
	&cm_taint_eviction,
	&cm_pod_gc,
	&cm_node_ipam,
	&cm_namespace,
	&cm_service_account,
	&cm_service_account_token,
	&cm_root_ca,
};
const unsigned cm_n_controllers = ARRAY_LEN(cm_controllers);
