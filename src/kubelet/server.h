/* The kubelet's HTTPS API (port 10250): logs, exec, attach, port-forward, pods, statistics, metrics. Private to src/kubelet.
 *
 * Who asks is known by a client certificate of --client-ca-file or by a token that the API server reviews (TokenReview, kept two
 * minutes); what they may is asked of the API server (SubjectAccessReview for nodes/NAME and a subresource, kept five minutes
 * when allowed, thirty seconds when not). Which: pods, healthz, configz (each or proxy), stats, metrics, log; proxy for all else.
 *
 *     GET  /pods /runningpods/ /healthz /configz /logs/PATH
 *     GET  /metrics /metrics/resource /metrics/cadvisor /metrics/probes /stats/summary
 *     GET  /containerLogs/NS/POD/CONTAINER?follow previous timestamps tailLines sinceSeconds sinceTime limitBytes stream
 *     GET POST  /exec /attach /run/NS/POD[/UID]/CONTAINER   /portForward/NS/POD[/UID]
 *
 * Streams are proxied byte for byte to the URL that the runtime gives (CRI Exec, Attach, PortForward): what WebSocket or SPDY
 * protocol is spoken is between the client and the runtime, as with upstream's kubelet.
 *
 * One loop thread. Requests that run when the server is freed are cut. */
#pragma once

#include "kubelet/frame.h"
#include "kubelet/pod.h"

struct kl_server;
struct kl_server_params {
	struct kl *k;               /* its loop, client, cri, pods and node_name; o is not looked at */
	struct span address;        /* "" = every */
	unsigned port;              /* 0 = any free one: kl_server_port */
	int fd;                     /* a listening socket, taken over; < 0: address and port */
	struct span cert_pem, key_pem;
	struct span client_ca_pem;  /* "" = no client certificates */
	bool anonymous;             /* --anonymous-auth */
	struct span root_dir;       /* --root-dir: whose file system is the node's */
	struct span log_dir;        /* of /logs/; "" = there is none */
	void (*pod_write)(struct buf *out, const struct kl_pod *p); /* the pod with its status: kl_pod_write */
	void (*config_write)(const struct kl *k, struct buf *out); /* KubeletConfiguration as JSON; NULL = {} */
	struct metrics *probes;     /* of /metrics/probes; NULL = none */
};
int kl_server_new(const struct kl_server_params *p, struct kl_server **out, struct err *err);
/* Stops serving, then `freed`. */
void kl_server_free(struct kl_server *s, void (*freed)(void *arg), void *arg);
unsigned kl_server_port(const struct kl_server *s);
/* Another certificate or other authorities: connections from now on. */
int kl_server_tls(struct kl_server *s, struct span cert_pem, struct span key_pem, struct span client_ca_pem, struct err *err);
