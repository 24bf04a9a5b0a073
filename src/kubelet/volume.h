/* Volumes of pods: set up before their containers start, kept as their sources are, removed with the pod. Private to src/kubelet.
 *
 *     pod->volumes = kl_volumes_open(v, pod->object, pod->uid, pod);     // begins; also follows what environments name
 *     if (!kl_volumes_ready(pod->volumes)) wait;                         // params.wake comes when it may have changed
 *     kl_volumes_mounts(pod->volumes, &arena, container, env, n_env, &mounts, &n_mounts, &err);
 *     kl_volumes_update(pod->volumes, pod->object);                      // labels and annotations of downward API files
 *     kl_volumes_close(pod->volumes, on_gone, pod);                      // no container runs any more
 *
 * Where: ROOT/pods/UID/volumes/kubernetes.io~KIND/NAME and ROOT/pods/UID/volume-subpaths/VOLUME/CONTAINER/INDEX, as upstream;
 * Secrets, projections and emptyDir of medium Memory are tmpfs. A kubelet that is started again finds them and changes nothing
 * that is as it should be.
 *
 * Kinds: emptyDir (disk, Memory, HugePages), hostPath, configMap, secret, downwardAPI, projected (all but
 * clusterTrustBundle), persistentVolumeClaim and ephemeral whose volume is a hostPath or local one. Others fail with upstream's
 * "no volume plugin matched".
 *
 * What fails is told as event FailedMount in upstream's words and tried again when what it waits for changes, at the latest
 * after a back-off of 500 ms doubled up to 2 min 2 s.
 *
 * Without an API server (client NULL) what needs one fails, and the rest works.
 *
 * One loop thread; trees are removed, and a claim's volume is given to fsGroup, on workers. Callbacks never run inside
 * the call that caused them. */
#pragma once

#include "kubelet/env.h"
#include "kubelet/objects.h"
#include "kubelet/pod.h"

struct kl_volumes;
struct kl_volumes_pod;

struct kl_volumes_params {
	struct loop *loop;
	struct client *client;  /* NULL = there is no API server */
	struct kl_objects *objects;
	struct span root_dir;   /* --root-dir; borrowed */
	void (*facts)(void *owner, struct kl_facts *out);
	void (*wake)(void *owner); /* ready, or an object that an environment names has changed */
	/* "Warning" FailedMount; Failed for an object of an environment that the server does not tell. */
	void (*event)(void *owner, const char *reason, struct span message);
	int64_t patience_ms;    /* after which a pod that still waits says so, again and again; 0 = 2 min 3 s */
	int64_t late_ms;        /* after which a removal that is not through is told to the log, again and again; 0 = 1 min */
};
struct kl_volumes *kl_volumes_new(const struct kl_volumes_params *p);
/* Pods are closed or left. Of removals that are not through nothing is told any more; the loop must turn until it has nothing
 * left. Accepts NULL. */
void kl_volumes_free(struct kl_volumes *v);
/* Is a volume being given to its group? kl_volumes_free would wait for that. */
bool kl_volumes_owning(const struct kl_volumes *v);

/* uid: as the folder of the pod is called; copied. owner: of the callbacks. */
struct kl_volumes_pod *kl_volumes_open(struct kl_volumes *v, struct kl_object *o, struct span uid, void *owner);
bool kl_volumes_ready(const struct kl_volumes_pod *p);
/* The same pod in a newer state; its volumes are the same (they cannot change). */
void kl_volumes_update(struct kl_volumes_pod *p, struct kl_object *o);
/* Mounts of a container in the order of its volumeMounts; they borrow from the arena and p. env: for subPathExpr. INVALID with
 * the words of CreateContainerConfigError. */
int kl_volumes_mounts(struct kl_volumes_pod *p, struct arena *a, const struct api_core_container *c, const struct api_pair *env,
		      uint32_t n_env, struct api_cri_mount **out, uint32_t *out_n, struct err *err);
/* Unmounts and removes, again and again until it is done; then `gone`, and p is no more. */
void kl_volumes_close(struct kl_volumes_pod *p, void (*gone)(void *arg), void *arg);
/* The same of a pod whose volumes were never opened here: a kubelet before us may have set them up. */
void kl_volumes_close_of(struct kl_volumes *v, struct span uid, void (*gone)(void *arg), void *arg);
void kl_volumes_leave(struct kl_volumes_pod *p); /* forgets p, everything stays as it is: the kubelet ends */

/* ROOT/pods/UID with all in it, mounts included: a pod that is gone, or was never known. */
void kl_volumes_purge(struct kl_volumes *v, struct span uid, void (*gone)(void *arg), void *arg);

/* Where a volume of the pod is, for statistics; NULL behind the last or when it is not set up. */
const char *kl_volumes_path(const struct kl_volumes_pod *p, unsigned i, struct span *out_name);
unsigned kl_volumes_n(const struct kl_volumes_pod *p);
