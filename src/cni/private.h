/* What the files of the plugin share. One process, one call, one thread: it ends with the call. */
#pragma once

#include <net/if.h>
#include "base/base.h"
#include "json/json.h"
#include "sys/addr.h"
#include "sys/link.h"
#include "sys/nft.h"

#define CNI_CONF_MAX (1u << 20)
#define CNI_ID_MAX 200      /* bytes of a container's ID: it stands in a symbolic link's target with two more names */
#define CNI_PORTS_MAX 1024  /* mappings of one pod */

enum cni_code {
	CNI_OK = 0,
	CNI_INCOMPATIBLE = 1, /* the spec's */
	CNI_UNSUPPORTED = 2,
	CNI_UNKNOWN_CONTAINER = 3,
	CNI_ENVIRONMENT = 4,
	CNI_IO = 5,
	CNI_DECODE = 6,
	CNI_CONFIG = 7,
	CNI_AGAIN = 11,
	CNI_NOT_AVAILABLE = 50,
	CNI_THERE = 100, /* ours */
	CNI_FULL = 101,
	CNI_DIFFERENT = 102,
};

enum { V4, V6, FAMILIES };

struct cni_port {
	struct sys_addr at; /* family 0: every address of the host */
	uint8_t protocol;
	uint16_t host, pod;
};

struct cni_call {
	struct arena arena;
	/* the environment; empty when not given */
	struct span command, container, netns, ifname;
	/* the configuration */
	struct json conf;
	const char *version; /* one of ours, static */
	struct span name;    /* of the network */
	char id[9];
	struct sys_prefix subnet[FAMILIES]; /* family 0: none */
	unsigned mtu;
	const char *state;
	struct cni_port *ports;
	unsigned n_ports;
	/* what is worked with */
	int dir, route, nf; /* the network's folder, sockets in the host's namespace; -1 */
	char table[32], prefix[16]; /* "knarr_cni_ID", "kID-" */
	/* the outcome */
	enum cni_code code;
	struct err err;
};
/* Sets code and words; returns -1. fail_with keeps the words that err has. */
int cni_fail(struct cni_call *c, enum cni_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int cni_fail_with(struct cni_call *c, enum cni_code code);

/* ---- conf.c */
bool cni_version_ours(struct span v, const char **out);
bool cni_version_from(const struct cni_call *c, const char *first); /* the call's version is that one or a later one */
void cni_versions_write(struct json_out *o);
int cni_conf_read(struct cni_call *c, struct span text);
bool cni_ifname_valid(struct span s);

/* ---- lease.c: addresses given, one symbolic link each in the network's folder: ADDRESS -> CONTAINER/IFNAME/HOST-INTERFACE.
 * A link is made or it is not: there is no half of one, neither after SIGKILL nor after a pulled plug. */
struct cni_lease {
	struct sys_addr addr[FAMILIES]; /* family 0: none */
	char host[IFNAMSIZ];            /* the host's end; "" = no lease */
};
int cni_state_open(struct cni_call *c, bool make); /* 1: there is none (make false) */
/* The folder's lock: held while addresses are given, and while a pod's ports change in kernel and file. */
int cni_lock(struct cni_call *c);
void cni_unlock(struct cni_call *c);
/* What this call's container has; an empty one when it has nothing. */
int cni_lease_find(struct cni_call *c, struct cni_lease *out);
/* Finds or gives; under the folder's lock. */
int cni_lease_take(struct cni_call *c, struct cni_lease *out);
int cni_lease_drop(struct cni_call *c, const struct cni_lease *l);
int cni_lease_each(struct cni_call *c, int (*fn)(void *arg, struct span container, struct span ifname, const struct cni_lease *one),
		   void *arg);

/* ---- attach.c: the kernel's side */
struct cni_attached {
	uint8_t host_mac[6], pod_mac[6];
};
int cni_attach(struct cni_call *c, const struct cni_lease *l, struct cni_attached *out);
/* Gone on both ends; no error when it was not there. */
int cni_detach(struct cni_call *c, const char *host);
int cni_check(struct cni_call *c, const struct cni_lease *l);
/* Interfaces with our prefix that no lease names, at least one listing old: GC. */
int cni_sweep(struct cni_call *c);

/* ---- kept.c: host ports of each pod as text, STATE/NETWORK+ports/HOST-INTERFACE, from which the table is made again */
int cni_kept_write(struct cni_call *c, const struct cni_lease *l);
void cni_kept_remove(struct cni_call *c, const struct cni_lease *l);
/* Every folder of addresses below STATE, locked until done; each pod's ports go to fn, one family at a time. */
struct cni_kept {
	int dirs[16];
	unsigned n;
};
void cni_kept_lock(struct cni_call *c, struct cni_kept *k);
void cni_kept_done(struct cni_kept *k);
int cni_kept_each(struct cni_call *c, const struct cni_kept *k,
		  void (*fn)(void *arg, const struct cni_lease *l, const struct cni_port *ports, unsigned n), void *arg);

/* ---- ports.c: host ports, elements of the table knarr_cni_ID */
/* The table as this version writes it. Where it was not, it is written with the ports of all pods that there are. */
int cni_table_ready(struct cni_call *c);
int cni_ports_add(struct cni_call *c, const struct cni_lease *l);
int cni_ports_drop(struct cni_call *c, const struct cni_lease *l); /* all elements that lead to the lease's addresses */
int cni_ports_check(struct cni_call *c, const struct cni_lease *l);
