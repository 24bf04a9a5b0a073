/* Where this node answers, told in the API: one EndpointSlice of the Service kube-system/kube-dns. Private to src/dns.
 *
 * The slice is ours alone (each node has its own) and belongs to the Node object, with which it goes. Whatever else is done
 * to it is undone; when the API server refuses, it is tried again after 0.5 s, doubled up to 30 s. */
#pragma once

#include "client/client.h"
#include "sys/addr.h"

#define DNS_SERVICE_NS "kube-system"
#define DNS_SERVICE "kube-dns"

struct dns_announce;
struct dns_announce_params {
	struct client *client;
	struct span node, uid; /* of the Node; copied */
	struct sys_addr address;
	uint16_t port, metrics_port; /* 0: no metrics */
	void (*right)(void *arg);    /* once: the slice is as it should be */
	void *arg;
};
struct dns_announce *dns_announce_new(const struct dns_announce_params *p);
void dns_announce_free(struct dns_announce *a); /* accepts NULL; the slice stays */
/* Each slice of the cluster as it is now (NULL: gone); others than ours are passed over. */
void dns_announce_seen(struct dns_announce *a, struct span key, const struct json *slice);
/* All that are there were seen. */
void dns_announce_begin(struct dns_announce *a);
