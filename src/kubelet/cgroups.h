/* Control groups of pods: /ROOT/kubepods[/burstable|/besteffort]/podUID, or what systemd calls that,
 * kubepods-burstable-podUID.slice. Who manages them is the runtime's word (CRI's RuntimeConfig), because what it puts below must be
 * of the same kind; a runtime that has none leaves it to --cgroup-driver. With systemd groups are made by systemd, on a thread of
 * their own: it may take its time.
 *
 * As with the published kubelet, names come from the parts of the path: "-" in a part becomes "_", parts are joined by "-".
 *     cgroupfs  /knarr-0/kubepods/besteffort/pod1-2
 *     systemd   /knarr_0.slice/knarr_0-kubepods.slice/knarr_0-kubepods-besteffort.slice/knarr_0-kubepods-besteffort-pod1_2.slice
 * Private to src/kubelet. */
#pragma once

#include "kubelet/worker.h"

struct kl_cgroups;

/* class "", "burstable" or "besteffort"; uid "" = the class's own group. */
void kl_cgroup_path(struct buf *out, bool systemd, struct span root, const char *class, struct span uid);

/* Asks the runtime (again and again while it is away: `away` tells why), makes kubepods and its classes, then calls ready once,
 * never inside this call. why: they cannot be made. Before that no pod's group may be made. */
struct kl_cgroups_params {
	struct kl *k;
	void (*away)(const struct err *why, void *arg);
	void (*ready)(bool systemd, const struct err *why, void *arg);
	void *arg;
};
struct kl_cgroups *kl_cgroups_begin(const struct kl_cgroups_params *p);
/* Waits for what systemd is being asked; what waits for that is forgotten. Accepts NULL. */
void kl_cgroups_free(struct kl_cgroups *c);
/* Removes groups of pods that nobody knows any more: their pods went while the kubelet was away, and their sandboxes too. Nothing
 * in them is ended: who is not the runtime's stays, and is told. Once sources and runtime are known. */
void kl_cgroups_sweep(struct kl *k);
