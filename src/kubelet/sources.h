/* Where pods come from: the API (those bound to this node) and a folder of manifests. Private to src/kubelet. */
#pragma once

#include "kubelet/pod.h"

struct kl_sources;
struct kl_sources *kl_sources_new(struct kl *k);
int kl_sources_begin(struct kl_sources *s, struct err *err);
void kl_sources_free(struct kl_sources *s); /* accepts NULL */
/* The pod is about to be freed; a manifest that waits for its end may have its pod now. */
void kl_sources_forget(struct kl_sources *s, const struct kl_pod *p);

/* static.c. A pod of a manifest (JSON or YAML) as the API would have it, with name, uid and annotations of a static one, in
 * the arena; INVALID where it is none. */
int kl_static_read(struct arena *a, const struct kl *k, struct span text, struct json *out, struct err *err);
/* Its mirror: what is sent to the API. */
struct json kl_static_mirror(struct arena *a, const struct kl *k, const struct json *pod);
