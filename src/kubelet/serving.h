/* What the kubelet offers and keeps in order beside its pods, put together: the HTTPS API with its certificates, the renewal of
 * the client certificate, the rotation of logs. Private to src/kubelet.
 *
 *     kl_serving_begin(k, &params, &k->serving, &err);       // once the options are read, client, runtime and addresses known
 *     kl_serving_look(k->serving, pod);                       // the records of its containers have changed
 *     kl_serving_end(k->serving, on_ended, me); */
#pragma once

#include "kubelet/frame.h"
#include "kubelet/pod.h"

struct kl_serving;
struct kl_serving_params {
	void (*pod_write)(struct buf *out, const struct kl_pod *p); /* kl_pod_write */
	struct metrics *probes; /* of /metrics/probes; NULL = none */
	bool renews; /* our client certificate is that of --cert-dir: asked for anew before it ends (client_follow takes it) */
};
/* Serves on --port (0 = not at all), or on the TCP socket of LISTEN_FDS (sd_listen_fds(3)). */
int kl_serving_begin(struct kl *k, const struct kl_serving_params *p, struct kl_serving **out, struct err *err);
void kl_serving_look(struct kl_serving *s, const struct kl_pod *p);   /* s may be NULL */
void kl_serving_forget(struct kl_serving *s, const struct kl_pod *p); /* the pod goes; likewise */
/* Cuts what is served, then `ended`; s is no more. Accepts NULL: `ended` comes at once. */
void kl_serving_end(struct kl_serving *s, void (*ended)(void *arg), void *arg);
