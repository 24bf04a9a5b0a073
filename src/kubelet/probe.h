/* Probes of running containers: timers, thresholds, and what follows from them. Private to src/kubelet. */
#pragma once

#include "kubelet/worker.h"

void kl_probes_look(struct kl_worker *w); /* containers have started or ended: probes begin and end with them */
void kl_probes_end(struct kl_worker *w);  /* the pod ends: liveness and startup probes do; readiness goes on until the end */
void kl_probes_free(struct kl_worker *w);
/* What HTTPS probes speak with: no certificate is checked, as upstream's. */
struct tls_ctx *kl_probe_tls(struct kl *k, struct err *err);
