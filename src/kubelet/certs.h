/* The kubelet's certificates, asked for by CertificateSigningRequest: P-256, kept in --cert-dir as upstream keeps them
 * (kubelet-client-current.pem and kubelet-server-current.pem, links to files that hold certificate and key), renewed at a time
 * drawn between 70 % and 90 % of their life. Private to src/kubelet.
 *
 *     const struct kl_cert_params p = { .loop = l, .client = c, .dir = o->cert_dir, .kind = KL_CERT_SERVING, .node_name = name,
 *                                       .ips = ips, .ready = on_serving, .arg = me };
 *     cert = kl_cert_new(&p);                       // on_serving: kl_server_tls(server, cert_pem, key_pem, ...)
 *
 * A request that is denied, fails or is not answered within 15 minutes is made anew after a back-off (2 s doubled up to 5 min).
 * One loop thread; callbacks never run inside the call that caused them. */
#pragma once

#include "base/base.h"
#include "client/client.h"

enum kl_cert_kind {
	KL_CERT_CLIENT,  /* kubernetes.io/kube-apiserver-client-kubelet: system:node:NAME of system:nodes */
	KL_CERT_SERVING, /* kubernetes.io/kubelet-serving: the same with the node's names and addresses */
};

struct kl_cert;
struct kl_cert_params {
	struct loop *loop;
	struct client *client;     /* who asks: the bootstrap token's, later the node's own */
	struct span dir, node_name; /* copied */
	enum kl_cert_kind kind;
	const char *const *ips;    /* of a serving certificate; NULL-ended or NULL; copied */
	const char *const *dns_names; /* likewise; NULL: the node's name */
	/* A pair that is good: the kept one at first, later each new one. Texts live for the call. */
	void (*ready)(struct kl_cert *c, struct span cert_pem, struct span key_pem, void *arg);
	void *arg;
};
struct kl_cert *kl_cert_new(const struct kl_cert_params *p);
void kl_cert_free(struct kl_cert *c); /* accepts NULL; may run inside `ready` */

/* The way in: when kubeconfig is not there (or its certificate has expired) it is made with the rights of bootstrap, which may
 * do no more than ask for a client certificate: the same server and authority, the certificate in cert_dir. done: rc 0 and
 * kubeconfig is good, or the error that makes it hopeless (bootstrap cannot be read). The struct frees itself before. */
struct kl_bootstrap;
struct kl_bootstrap_params {
	struct loop *loop;
	struct span kubeconfig, bootstrap, cert_dir, node_name; /* paths 0-ended; borrowed until done */
	void (*done)(int rc, const struct err *why, void *arg);
	void *arg;
};
struct kl_bootstrap *kl_bootstrap_begin(const struct kl_bootstrap_params *p);
void kl_bootstrap_cancel(struct kl_bootstrap *b); /* accepts NULL */

/* A certificate signed by itself, for the port until a better one comes. Appended. */
int kl_cert_self_signed(struct span node_name, const char *const *ips, int64_t now_s, struct buf *out_cert, struct buf *out_key,
			struct err *err);
