/* The kubelet: runs the pods of one node. The seam of src/kubelet.
 *
 * `knarr kubelet` runs it in the foreground with the flags of the real one. It meets the rest only through the Kubernetes API
 * (its Node, its pods, what their volumes and environments name) and through CRI v1 on a unix socket, which may be our engine,
 * containerd or CRI-O.
 *
 * What it promises: a container of a pod is started only when everything before it in the pod is as it must be, and at most
 * once at a time; the status of a pod is written when something in it changed, and not otherwise; a kubelet that is killed and
 * started again takes every pod up where it is, without restarting a container; a pod object that is being deleted is removed
 * from the API only when none of its containers runs any more. It acts on events (watches, container events, timers of
 * probes and back-offs); with nothing to do it wakes for the Lease (10 s) and the node status (5 min) alone. A runtime that has
 * no GetContainerEvents (containerd before 1.7) is asked for its containers once a second instead.
 *
 * Threads: everything on the caller's, in one loop. */
#pragma once

#include "base/base.h"

/* The applet: ends at SIGTERM or SIGINT, leaving every container as it is. Returns the exit status. */
int kubelet_main(int argc, char **argv);
