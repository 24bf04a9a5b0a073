/* What the runtime has, into records of pods: everything listed when the event stream opens, then event by event.
 * Private to src/kubelet. */
#pragma once

#include "kubelet/cri.h"
#include "kubelet/pod.h"

struct kl_relist *kl_relist_new(struct kl *k);
void kl_relist_begin(struct kl_relist *r);
void kl_relist_free(struct kl_relist *r); /* accepts NULL */
