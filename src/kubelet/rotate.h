/* Logs of containers are rotated: NAME/0.log becomes 0.log.1 and so on when it grows beyond a size, and the runtime opens a new
 * one (ReopenContainerLog). The numbers are those that the logs component reads across. Private to src/kubelet.
 *
 * Nobody polls: a file is watched for its next write, and looked at ten seconds after that (upstream's
 * containerLogMonitorInterval). A log to which nothing is written wakes nobody. One loop thread. */
#pragma once

#include "kubelet/cri.h"
#include "kubelet/pod.h"

struct kl_rotation;
struct kl_rotation_params {
	struct loop *loop;
	struct kubelet_cri *cri;
	int64_t max_bytes;  /* containerLogMaxSize; 0 = 10 MB */
	int64_t max_files;  /* containerLogMaxFiles, the current one included; 0 = 5, at least 2 */
	int64_t look_ms;    /* 0 = 10000 */
};
struct kl_rotation *kl_rotation_new(const struct kl_rotation_params *p);
void kl_rotation_free(struct kl_rotation *r); /* accepts NULL */
/* The records of the pod's containers have changed: what runs is watched, what runs no more is not. */
void kl_rotation_look(struct kl_rotation *r, const struct kl_pod *p);
void kl_rotation_forget(struct kl_rotation *r, const struct kl_pod *p); /* the pod goes */
/* A container was removed: its log with all that was rotated. */
void kl_log_remove(struct span log_path);
