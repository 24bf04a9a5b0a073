/* The networks of sandboxes: CNI plugins, network namespaces, and what is kept of them on disk. Private to cri. All of it blocks
 * and is for workers.
 *
 *     DIR/cri/sandboxes/ID/network.json   {"Config": conflist, "Args": CNI_ARGS, "Capabilities": {...}}. Written, synced, before
 *                                         the first plugin runs. While it is there, plugins may hold something for this id: DEL
 *                                         is owed. (Those of before have "Result" in it.)
 *     DIR/cri/sandboxes/ID/result.json    what the last plugin said, when all have run; not synced: after a power cut there is no
 *                                         sandbox, and a DEL without it is a DEL
 *     RUN/cri/netns/ID                    the namespace, pinned by a bind mount */
#pragma once

#include "cri/cri.h"

#define CRI_IFNAME "eth0"

struct cri_paths { /* constant while the face is open */
	const char *sandboxes, *netns, *bin;
	int ending; /* readable: plugins are to end now (CANCELLED); -1 = they never are */
};

struct cri_plugin {
	const char *command; /* ADD, DEL, CHECK */
	const char *id, *netns; /* netns "": it is gone */
	struct span args, folders;
	int ending; /* as in cri_paths */
	int lock;   /* of cri_alone_begin: the plugin has it as CRI_PLUGIN_LOCK_FD */
	const struct json *config;
};
/* *out_result: of ADD; else null. */
int cri_plugin_run(const struct cri_plugin *p, struct arena *a, struct json *out_result, struct err *err);

/* alone.c. The lock of a sandbox' folder, under which its plugins are asked, one after the other. Ends those that an engine that
 * was killed left in the middle of an answer. IN_USE: one of them cannot be ended within ten seconds; CANCELLED: ending. */
#define CRI_PLUGIN_LOCK_FD 3
int cri_alone_begin(const char *folder, const char *id, int ending, struct err *err);
void cri_alone_end(int *fd);

/* netns.c. A new one, its loopback interface up; the calling thread is where it was afterwards. */
int cri_netns_make(const char *path, struct err *err);
bool cri_netns_there(const char *path); /* false also for a file that a reboot left */
int cri_netns_remove(const char *path, struct err *err); /* harmless when there is none */
/* A TCP socket that lives in the namespace (NULL: ours). */
int cri_netns_socket(const char *path, int family, struct err *err);

/* cni.c */
struct cri_net_wish {
	const char *id;
	struct json config;       /* the conflist */
	struct span args;         /* CNI_ARGS */
	struct json capabilities; /* what runtimeConfig may get: {"portMappings": [...], ...} */
};
/* Runs ADD of every plugin on the namespace that cri_netns_make has made. On failure everything is taken back, the namespace
 * too. */
int cri_net_add(const struct cri_paths *paths, const struct cri_net_wish *w, struct arena *a, struct json *out_result,
	struct err *err);
/* DEL of every plugin, then the namespace goes, then the record. Harmless when nothing is there. A failure of a plugin leaves
 * record and namespace for another try. With force the others have had their DEL by then, and a plugin that is not installed any
 * more, or a record that nobody can read, does not stand in the way. */
int cri_net_del(const struct cri_paths *paths, const char *id, bool force, struct err *err);
/* CHECK of every plugin that can (0.4.0 and later, unless disableCheck). */
int cri_net_check(const struct cri_paths *paths, const char *id, struct err *err);
/* The record's result; null when there is none (the host's network, plugins that have not all run, or taken down). */
int cri_net_result(const struct cri_paths *paths, const char *id, struct arena *a, struct json *out, struct err *err);
/* Addresses of a result without their prefix lengths, IPv4 first; pure. */
unsigned cri_net_ips(const struct json *result, struct span *out, unsigned most);
/* "10.1.0.0/24,fd00::/64" as capability ipRanges: an address of each. Pure; in the arena, as workers read it when cidrs may have
 * been replaced. */
struct json cri_ip_ranges(struct arena *a, struct span cidrs);
/* A plugin's configuration as it gets it: pure. result may be null. */
struct json cri_net_plugin_config(struct arena *a, const struct json *list, const struct json *plugin,
	const struct json *capabilities, const struct json *result);
