/* The Container Runtime Interface, runtime.v1: the engine's second face, which a kubelet speaks to. The seam of src/cri.
 *
 *     struct cri_params p = { .loop = l, .pool = pool, .data_dir = dir, .run_dir = run, .images = images, ... };
 *     cri_open(&p, &cri, &err);                         // finds every sandbox and container again
 *     cri_listen(cri, http_listen_unix(path, 0660, &err), &err);
 *     ...
 *     cri_stop(cri, 5000);                              // no new requests; containers go on
 *     cri_close(cri, closed, arg);
 *
 * Two services of gRPC on a unix socket: RuntimeService (sandboxes, containers, exec and friends, statistics, events) and
 * ImageService. A container here is one of src/container, in a container engine of its own: DIR/cri beside the Docker face's
 * DIR, so `docker ps` does not show them and no name or prune of one face meets the other's. Images and layers are shared: what
 * docker built can be run at once, and the reverse.
 *
 *     DIR/cri/containers/ID/     containers and the pause containers of sandboxes (container.h); the CRI's own words about one
 *                                stand in its record, so there is one truth
 *     DIR/cri/sandboxes/ID/      what a sandbox's network is: the plugins' configuration and results, for their DEL; resolv.conf
 *     RUN/cri/netns/ID           its network namespace, pinned
 *
 * Promises
 * - What was answered is on disk; a power cut may take back the last seconds' sandboxes with all that is in them. After SIGKILL at
 *   any instruction cri_open finds every sandbox and container again; those that were half made are gone, and
 *   their addresses are given back (CNI DEL): on a thread of its own, beside what is served. A DEL that fails is
 *   tried again with the next sandbox that gets a network and at the next start.
 * - Errors have the status codes and the beginnings of words that the kubelet and crictl know from containerd.
 * - Nothing polls: the configuration of networks is watched, statistics are read when asked for.
 *
 * Threads: everything is for the thread of params.loop, but cri_uses_image. Mounts and disks are waited for by workers; CNI
 * plugins and pulls, which may take minutes, by threads of their own. */
#pragma once

#include "base/base.h"
#include "image/image.h"
#include "json/json.h"
#include "loop/loop.h"
#include "snapshot/snapshot.h"

struct cri;

struct cri_params { /* strings are copied; what is pointed at outlives the face */
	struct loop *loop;
	struct loop_pool *pool;
	const char *data_dir;     /* absolute */
	const char *run_dir;      /* absolute, at most 72 bytes */
	const char *runner;       /* the program knarr-run: absolute */
	struct image_store *images;
	struct snapshot_store *snapshots;
	const struct json *settings;  /* of the engine: container_opts.settings; NULL = defaults */
	const char *cni_conf_dir; /* NULL = /etc/cni/net.d */
	const char *cni_bin_dir;  /* folders, separated by colons; NULL = /opt/cni/bin */
	/* How registries are reached, but for credentials. On the loop; what it points at outlives the face. */
	void (*registry)(void *arg, struct image_registry_params *out);
	/* image_remove_params.used for the containers of the other face. Any thread. NULL = there are none. */
	bool (*image_used)(void *arg, const struct image_digest *id, bool only_running, char out_container[65], bool *out_running);
	void *arg;                /* of these two: image_used gets it, registry too */
};
/* Blocks while everything is found again; what was half made is taken back. One process has DIR/cri open (IN_USE). */
int cri_open(const struct cri_params *p, struct cri **out_cri, struct err *err);
/* A listening unix socket; taken over, also on failure. A negative one fails with what its errno says. */
int cri_listen(struct cri *c, int fd, struct err *err);
/* Takes no new requests; those that run have deadline_ms, then they are cut off. Their operations go on, but CNI plugins, which are
 * ended then. Accepts NULL. */
void cri_stop(struct cri *c, unsigned deadline_ms);
/* The end, in two steps: `closed` is called from the loop when nothing of the face is left in it. Accepts NULL (closed is not
 * called then). */
void cri_close(struct cri *c, void (*closed)(void *arg), void *arg);

/* image_remove_params.used: does a container of this face use the image? arg is the cri. Any thread. */
bool cri_uses_image(void *cri, const struct image_digest *id, bool only_running, char out_container[65], bool *out_running);
