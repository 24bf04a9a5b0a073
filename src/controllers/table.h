/* The rows. Private to src/controllers. */
#pragma once

#include "controllers/frame.h"

extern const struct controller_row cm_replica_set, cm_replication_controller, cm_garbage_collector, cm_deployment;
extern const struct controller_row cm_disruption;
extern const struct controller_row cm_endpoints, cm_endpoint_slice, cm_endpoint_slice_mirroring;
extern const struct controller_row cm_job, cm_ttl_after_finished;
extern const struct controller_row cm_csr_approving, cm_csr_signing, cm_csr_cleaner;
extern const struct controller_row cm_node_lifecycle, cm_taint_eviction, cm_pod_gc, cm_node_ipam;
extern const struct controller_row cm_namespace, cm_service_account, cm_service_account_token, cm_root_ca;
