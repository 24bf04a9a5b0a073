/* The Node: made and kept in the API, its Lease, its conditions, and what others need to know of the machine.
 * Private to src/kubelet. */
#pragma once

#include "kubelet/env.h"
#include "kubelet/pod.h"

struct kl_node;
struct kl_node *kl_node_new(struct kl *k);
void kl_node_free(struct kl_node *n); /* accepts NULL */
void kl_node_begin(struct kl_node *n);
/* The runtime said something of itself, or is gone: conditions are looked at again. */
void kl_node_runtime(struct kl_node *n, const struct err *why);

bool kl_node_network_ready(const struct kl *k);
void kl_node_network_words(const struct kl *k, struct buf *out);
int64_t kl_node_memory(const struct kl *k); /* bytes of the machine */
/* The file system of the pods' folders. */
bool kl_node_disk(const struct kl *k, uint64_t *out_total, uint64_t *out_avail);
struct kl_amounts {
	int64_t cpu_milli, memory, storage, pods;
};
void kl_node_allocatable(const struct kl *k, struct kl_amounts *out);
/* The Node as the API has it; NULL: not known yet. Labels and taints decide about pods. */
const struct api_core_node *kl_node_object(const struct kl *k);
/* What environments and downward API files can name; for kl_volumes_params.facts. Spans are good for this turn. */
void kl_node_facts(void *pod, struct kl_facts *out);
void kl_node_event(const struct kl *k, const char *type, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
