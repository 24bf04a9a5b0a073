/* What CRI is asked for: sandboxes and containers of a pod as configurations. Pure but for host files that are read
 * (resolv.conf). Private to src/kubelet. Everything lies in the arena or borrows from the pod. */
#pragma once

#include "kubelet/pod.h"

enum kl_qos { KL_GUARANTEED, KL_BURSTABLE, KL_BEST_EFFORT };
enum kl_qos kl_qos(const struct api_core_pod_spec *s);
const char *kl_qos_name(enum kl_qos q); /* "Guaranteed" */

/* Sums over a pod, with init containers and overhead as the scheduler counts them. In milli for cpu, else in units. */
struct kl_sums {
	int64_t cpu_request, memory_request, storage_request, cpu_limit, memory_limit;
	bool all_cpu_limited, all_memory_limited; /* every container has such a limit */
};
void kl_sums(const struct api_core_pod_spec *s, struct kl_sums *out);
/* A quantity of a list of resources: in milli for cpu. -1: not there. */
int64_t kl_plus(int64_t a, int64_t b); /* of amounts; INT64_MAX where it would be more */
int64_t kl_amount(const struct api_pair *ptr, uint32_t n, const char *name);

int64_t kl_cpu_shares(int64_t milli);            /* at least 2 */
int64_t kl_cpu_quota(int64_t milli, int64_t period_us); /* at least 1000; 0: none */
int64_t kl_oom_score_adj(const struct api_core_pod_spec *s, const struct api_core_container *c, int64_t capacity_bytes);

/* The hash of what a container is made from, 8 hex digits: another image makes another container. */
void kl_spec_hash(const struct api_core_container *c, char out[9]);
/* Host name inside, 63 bytes at most; *out_domain: "SUBDOMAIN.NS.svc.DOMAIN" or "". */
void kl_pod_hostname(struct arena *a, const struct kl_pod *p, struct span *out_host, struct span *out_domain);
/* The contents of /etc/hosts. */
void kl_pod_hosts(struct buf *out, const struct kl_pod *p, struct span own_hosts);
/* *out_fallback: ClusterFirst was asked for and there is no cluster DNS. */
void kl_pod_dns(struct arena *a, const struct kl_pod *p, struct span resolv_conf, struct api_cri_dns_config *out,
		bool *out_fallback);

/* cgroup_parent "": the runtime's own place. */
void kl_sandbox_config(struct arena *a, const struct kl_pod *p, uint32_t attempt, struct span cgroup_parent,
		       struct api_cri_pod_sandbox_config *out);

struct kl_make {
	const struct kl_pod *pod;
	unsigned index;
	uint32_t attempt;
	const struct api_cri_image *image;  /* as it is on the node */
	struct api_pair *envs;
	uint32_t n_envs;
	const struct api_cri_mount *mounts; /* all of them */
	uint32_t n_mounts;
	struct span target_id;              /* of an ephemeral container */
	int64_t memory_capacity;
};
/* INVALID: CreateContainerConfigError with upstream's words. */
int kl_container_config(struct arena *a, const struct kl_make *m, struct api_cri_container_config *out, struct err *err);
