/* Environments of containers, and what of a pod they and downward API volumes can name. Private to src/kubelet.
 *
 * Pure but for the objects, which kl_volumes_open of the pod has begun to follow (volume.h). Results lie in the arena and borrow
 * from the pod's object and the cache. Upstream's order and words: `kubectl describe` shows the error of kl_env_make behind
 * "Error: " in the event Failed and as the message of CreateContainerConfigError. */
#pragma once

#include "api/api.h"
#include "base/base.h"
#include "kubelet/objects.h"

/* What is known of a pod beside its object. */
struct kl_facts {
	struct span node_name;
	struct span host_ips[2], pod_ips[4];
	unsigned n_host_ips, n_pod_ips;
	struct span cpu, memory, storage; /* allocatable of the node as quantities: the limit of who has none */
};

struct kl_env_params {
	const struct api_core_pod *pod;
	const struct api_core_container *container;
	const struct kl_facts *facts;
	const struct kl_objects *objects;
	const struct client_informer *services; /* all Services; NULL = none */
	/* Keys of envFrom that are no names of variables, told for an event InvalidEnvironmentVariableNames; may be NULL. */
	void (*skipped)(struct span message, void *arg);
	void *arg;
};
/* The variables in the order: envFrom, env, services. -ERR_UNAVAILABLE: an object was not seen yet (the pod is woken when it is).
 * -ERR_INVALID: cannot be made as things are. */
int kl_env_make(struct arena *a, const struct kl_env_params *p, struct api_pair **out, uint32_t *out_n, struct err *err);
/* $(NAME) in commands, arguments and subPathExpr: those of env; what is not there stays as it is, $$ is $. *out_missing (may be
 * NULL): the first name that was not there, else empty. */
struct span kl_expand(struct arena *a, struct span text, const struct api_pair *env, uint32_t n, struct span *out_missing);

/* metadata.labels['x'], spec.nodeName, status.podIPs ...; INVALID: `unsupported fieldPath: X`. */
int kl_field_value(struct arena *a, const struct api_core_pod *pod, const struct kl_facts *f, struct span path, struct span *out,
		   struct err *err);
/* limits.cpu in units of the divisor, rounded up. own: the container of an environment; NULL: ref names one. */
int kl_resource_value(struct arena *a, const struct api_core_pod *pod, const struct api_core_container *own,
		      const struct kl_facts *f, const struct api_core_resource_field_selector *ref, struct span *out, struct err *err);
