/* The kubelet: what its parts share. Private to src/kubelet. One loop thread owns all of it. */
#pragma once

#include "api/api.h"
#include "base/base.h"
#include "client/client.h"
#include "http/http.h"
#include "kubelet/options.h"
#include "loop/loop.h"
#include "metrics/metrics.h"

/* What a pod says in seconds is cut down to this (68 years): in ms and ns it fits an int64_t, whatever is added. */
#define KL_SECONDS_MAX ((int64_t)INT32_MAX)

struct tls_ctx;
struct kubelet_cri; /* cri.h: the client of the runtime */

struct kl {
	struct loop *loop;
	const struct kl_options *o;
	struct client *client;
	struct kubelet_cri *cri;
	struct http_client *http;            /* probes and hooks */
	struct tls_ctx *probe_tls;           /* of HTTPS probes; NULL: none yet */
	struct client_recorder *events;
	struct metrics *metrics;
	struct map pods;                     /* uid → struct kl_pod */
	struct map pods_by_name;             /* "ns/name" → the newest struct kl_pod */
	struct map mirrors;                  /* uid of a mirror → its static struct kl_pod */
	struct client_informer *pod_informer, *services;
	bool pods_synced, services_synced, runtime_known; /* runtime_known: its containers were listed once */
	struct span node_name, node_uid;     /* node_uid: the name, as the real kubelet's events have it */
	struct span node_ips[2];             /* "" = not known */
	unsigned n_node_ips;
	struct kl_volumes *volumes;          /* volume.h */
	struct kl_objects *objects;          /* objects.h */
	struct kl_node *node;                /* node.c */
	struct kl_images *images;            /* image.c */
	struct kl_sources *sources;          /* sources.c */
	struct kl_relist *relist;            /* relist.c */
	struct kl_cgroups *cgroups;          /* cgroups.h */
	struct kl_serving *serving;          /* serving.h; NULL: not begun, or ended */
	struct span runtime_name, runtime_version;
	bool stopping, orphans_swept;
	unsigned folders_out;                /* removals of pods' folders that have begun and are not over */
};

int64_t kl_now_s(const struct kl *k);
/* "ns/name" of an object in an arena. */
struct span kl_key(struct arena *a, struct span ns, struct span name);
