/* The scheduler: finds a node for each pod that has none. The seam of src/scheduler.
 *
 * `knarr scheduler` runs it in the foreground with kube-scheduler's flags. It meets the rest only through the Kubernetes API.
 *
 * What it promises: a pod is bound at most once, to a node that had room for it by everything that had been seen and bound
 * before; a pod that fits nowhere is told why, in kube-scheduler's words, and looked at again when something changes that may
 * help. Plugins: SchedulingGates, PrioritySort, NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts,
 * NodeResourcesFit (filter, and score LeastAllocated), DefaultBinder. Pods that ask for what no plugin here decides (pod
 * affinity, hard spread constraints, claims for volumes or devices) are refused by name instead of being placed wrongly; nobody
 * is preempted.
 *
 * Threads: everything on the caller's, in one loop. */
#pragma once

#include "base/base.h"

/* The applet: ends at SIGTERM or SIGINT, giving its lease back, or when it leads no more. Returns the exit status. */
int scheduler_main(int argc, char **argv);
