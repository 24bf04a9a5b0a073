/* The rows. Private to src/controllers. */
#pragma once

#include "controllers/frame.h"

extern const struct controller_row cm_replica_set, cm_replication_controller, cm_garbage_collector, cm_deployment;
