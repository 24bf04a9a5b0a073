/* How the kubelet of a node is reached: its address, its port, and the credentials that we show. Private to apiserver. */
#pragma once

#include "apiserver/server.h"

/* What the flags --kubelet-* say, read once at start. Immutable afterwards; any thread. */
struct kubelets;
int kubelet_open(const struct apiserver_options *o, struct kubelets **out, struct err *err);
void kubelet_close(struct kubelets *k); /* accepts NULL */
bool kubelet_same(const struct kubelets *a, const struct kubelets *b); /* made of the same files */

struct kubelet_place {
	struct span host; /* in the call's arena */
	unsigned port;
};
/* From the Node object in c->snap: status.addresses in the order of --kubelet-preferred-address-types, the port of
 * status.daemonEndpoints. NOT_FOUND: nodes "x" not found; INTERNAL without a reason when it has no such address. */
int kubelet_find(struct call *c, struct span node, struct kubelet_place *out);

enum kubelet_trust {
	KUBELET_VERIFIED, /* our certificate, theirs checked if --kubelet-certificate-authority is set */
	KUBELET_ANY,	  /* our certificate, theirs not looked at: ?insecureSkipTLSVerifyBackend */
	KUBELET_PLAIN,	  /* pods and services behind a proxy: no certificate of ours, any of theirs */
	KUBELET_TRUST_COUNT
};
struct tls_ctx *kubelet_tls(const struct kubelets *k, enum kubelet_trust trust); /* borrowed for this turn */
