/* Networks of the engine: bridges, host and none; containers on them; published ports; names at 127.0.0.11.
 *
 *     DIR/networks.json       the networks that there are (durable: replaced atomically and synced)
 *     RUN/sandboxes/ID.json   what a running container has: endpoints, ports (atomic, not synced: like the namespace itself
 *     RUN/netns/ID            its network namespace, pinned by a bind mount    it does not survive the machine's restart)
 *
 * A *network* is Docker's object of that name. A *sandbox* is the network side of one running container: its namespace, its
 * endpoints, its published ports and its name server; it is called by the container's 64 hex digits. A container that does not
 * run has no sandbox: its wishes stay in the container's own document, its addresses are free for others.
 *
 * Documents are Docker's, in the shape of the newest API (`struct json`): NetworkCreateRequest, Network, EndpointSettings,
 * ContainerConfig, HostConfig, PortMap. Unknown members are passed over. What comes out lives in the caller's arena.
 *
 * Promises
 * - Nothing of others is touched. Everything that is ours carries the engine's ID: interfaces `brID-…` and `vID-…` (the default
 *   bridge and one that the user named: by their alias `knarr:ID:NETWORK`), the nftables table `knarr_net_ID`.
 * - A call that failed has left nothing behind. A call that answered is on disk and in the kernel.
 * - After SIGKILL at any instruction network_engine_open puts state and kernel together again: what was half made is removed,
 *   running containers keep their addresses and connections.
 * - network_engine_close leaves everything in place, so that containers go on; network_engine_reset removes it.
 * - nft chains and rules are made once; networks and ports come and go as elements of sets and maps alone.
 *
 * Threads: everything is for the thread of opts.loop, which must not be inside another namespace; calls are synchronous and
 * short (netlink, some files of RUN): below a millisecond; network_remove, network_disconnect and network_engine_reset delete
 * interfaces and wait some 10 ms for the kernel (decision 0612). The calling thread visits a container's namespace for some
 * microseconds inside a call, other threads are not concerned. Callbacks (events) come inside the call that caused them, as
 * its last act. SIGPIPE is ignored in this process from network_engine_open on, unless somebody handles it.
 *
 * A thread of this component's own makes network namespaces beforehand once a sandbox was started (decision 0807); it ends with
 * network_engine_close.
 *
 * Errors have Docker's words and the class that gives Docker's code; see each call.
 *
 *     network_engine_open(&(struct network_opts){ .loop = l, .dir = ..., .run_dir = ..., .id = "0" }, &e, &err);
 *     network_sandbox_start(e, &(struct network_wish){ .id = id, .name = "web", .config = c, .host_config = h,
 *                           .networks = NULL }, &arena, &got, &err);
 *     ... config.json: namespace network, path got.netns; bind mounts of the three texts; monitor_spawn.sockets = got.sockets
 *     network_sandbox_stop(e, id); */
#pragma once

#include "base/base.h"
#include "json/json.h"
#include "loop/loop.h"

struct network_engine;
struct network_got;

/* ---- the engine's part ---- */

enum network_event_kind {
	NETWORK_CREATED,      /* "create" */
	NETWORK_CONNECTED,    /* "connect" */
	NETWORK_DISCONNECTED, /* "disconnect" */
	NETWORK_DESTROYED,    /* "destroy" */
	NETWORK_EVENT_COUNT
};
struct network_event { /* borrowed for the call */
	enum network_event_kind kind;
	const char *action;             /* Docker's word for kind */
	struct span id, name, driver;   /* of the network: Actor.ID, attributes "name" and "type" */
	struct span container;          /* attribute "container" of connect and disconnect; else empty */
};

struct network_opts {
	struct loop *loop;   /* borrowed; outlives the engine */
	const char *dir;     /* made when missing (0700) */
	const char *run_dir; /* absolute; made when missing (0711). At most 80 bytes. */
	const char *id;      /* the engine's ID: 1 to 8 of [0-9a-f] */
	/* dockerd's settings by their names in daemon.json; NULL = all defaults. Read: bridge, bip, bip6, fixed-cidr,
	 * fixed-cidr-v6, default-gateway, default-gateway-v6, default-address-pools, default-network-opts.bridge, mtu, icc, ip,
	 * ip-forward, ip-masq, ipv6, dns, dns-opts, dns-search, userland-proxy. "bridge": "none" = no default bridge. INVALID for
	 * a bad value. */
	const struct json *settings;
	/* Leave firewalls of others alone even when they drop what we forward (--firewall=leave). */
	bool firewall_leave;
	bool pods; /* what a firewall of others drops lets the interfaces of the pod network (kID-*) pass too */
	void (*event)(void *arg, const struct network_event *ev); /* may be NULL */
	void *event_arg;
};

/* Reads the state, makes the default networks (bridge, host, none) and what the kernel lacks of the others. Sandboxes of the
 * last run wait for network_sandbox_adopt or network_engine_settle. One process has RUN open (flock; IN_USE). */
int network_engine_open(const struct network_opts *opts, struct network_engine **out_engine, struct err *err);
/* Ends relays and name servers in this process; kernel and files stay. Accepts NULL. Connections that a relay carries end. */
void network_engine_close(struct network_engine *e);
/* Removes everything that this engine made: sandboxes, interfaces, nft table, exceptions in other firewalls, with `networks`
 * the definitions too. Containers lose their network. The engine is then only good for network_engine_close. */
int network_engine_reset(struct network_engine *e, bool networks, struct err *err);
/* "" or one line per exception made in others' firewalls and per warning (`docker info`, `knarr status`): appended. */
void network_engine_notes(struct network_engine *e, struct buf *out);

/* ---- networks ---- */

struct network_ref { /* what a name meant */
	char id[65];
	char name[256];
	char driver[16]; /* "bridge", "host", "null" */
	bool builtin;    /* one of the three that cannot be removed */
	bool internal;
	bool attachable;
	bool ipv4, ipv6; /* are addresses of that family given? */
};
/* By full id, name, or unique beginning of the id, in this order; "default" is "bridge". NOT_FOUND "network x not found";
 * INVALID_REQUEST "network x is ambiguous (2 matches found based on ID prefix)". */
int network_find(struct network_engine *e, struct span name, struct network_ref *out, struct err *err);
/* POST /networks/create. Drivers bridge (default), and refusals in Docker's words for the others. Answers Docker's 64 hex
 * digits. *out_warning (may be NULL) is the Warning of the reply, "" mostly.
 * ConfigOnly: nothing but the object, of driver "null", from which others are made (ConfigFrom: its addresses, options and labels);
 * nobody can be on it, it stays while one of them is there, and prune leaves it alone.
 * EXISTS "network with name x already exists"; FORBIDDEN "Pool overlaps with other one on this address space"; INVALID_REQUEST
 * "invalid network config:\n..." and the like; UNAVAILABLE "all predefined address pools have been fully subnetted". */
int network_create(struct network_engine *e, const struct json *request, char out_id[65], struct arena *a,
	struct span *out_warning,
		   struct err *err);
/* DELETE /networks/x. FORBIDDEN "bridge is a pre-defined network and cannot be removed", "error while removing network:
 * network x has active endpoints (name:"web" id:"0123456789ab")". */
int network_remove(struct network_engine *e, struct span name, struct err *err);
/* The Network object of inspect: also Containers (those that run). */
int network_inspect(struct network_engine *e, struct span name, struct arena *a, struct json *out, struct err *err);
/* All of them as an array of the same objects, in the order of their creation, with Containers ({} in a reply of /networks
 * before 1.47 is the face's part). Filtering is too: `dangling` = no Containers and not built in. */
void network_list(struct network_engine *e, struct arena *a, struct json *out);
/* Removes each that is not built in, has no endpoint, and that want (NULL = all) agrees to. Answers an array of names. A
 * network of which a stopped container speaks is unused, as with Docker: start then says "network x not found". */
void network_prune(struct network_engine *e, bool (*want)(void *arg, const struct json *network), void *arg, struct arena *a,
		   struct json *out_names);

/* ---- sandboxes ---- */

#define NETWORK_SOCKETS_MAX 64 /* as MONITOR_SOCKETS_MAX: a container's published sockets that the monitor can hold */

/* What a container wants; everything is borrowed for the call. */
struct network_wish {
	const char *id;              /* the container's 64 hex digits */
	const char *name;            /* without "/" */
	const struct json *config;      /* ContainerConfig: Hostname, Domainname, ExposedPorts, MacAddress */
	/* HostConfig: NetworkMode (missing, "" and "default" = bridge; host; none; container:ID with the full id; a network),
	 * PortBindings, PublishAllPorts, Dns, DnsOptions, DnsSearch, ExtraHosts, Links ("ID:alias" with the full id), Sysctls
	 * (net.ipv4.* of the container win over ours: ping_group_range, ip_unprivileged_port_start). */
	const struct json *host_config;
	/* NetworkingConfig.EndpointsConfig: network name or id → EndpointSettings as wished (IPAMConfig, Links, MacAddress,
	 * Aliases, DriverOpts, GwPriority), not as a start answered them. NULL or {} = the network of NetworkMode alone; else
	 * these alone, that of NetworkMode first (eth0). */
	const struct json *networks;
	/* It was disconnected from all: no network, also not NetworkMode's. Another can be connected while it runs. */
	bool nowhere;
	/* Called by network_sandbox_start when the namespace's path and the texts are known, before the kernel is asked for any of
	 * it: got has netns, hosts, resolv_conf and hostname alone, in the call's arena. Not called where they are known only at
	 * the end (a name server of ours, shared and host's namespaces). NULL = none. */
	void (*known)(void *arg, const struct network_got *got);
	void *known_arg;
};

/* What it got. Texts and trees live in the arena. */
struct network_got {
	struct span netns;      /* absolute path for config.json; "" = the host's namespace (NetworkMode host) */
	struct span sandbox_id; /* NetworkSettings.SandboxID; SandboxKey is netns */
	struct json networks;   /* network name → EndpointSettings, complete: NetworkSettings.Networks */
	struct json ports;      /* NetworkSettings.Ports, {} when none */
	struct span hosts;      /* /etc/hosts */
	struct span resolv_conf; /* /etc/resolv.conf */
	struct span hostname;   /* /etc/hostname, with "\n" */
	/* Bound and listening, in the order of ports, at most as many as a monitor holds: the rest is bound again at adopt. The
	 * caller passes them to the monitor and closes them (network_got_done); the engine has duplicates of its own. */
	int sockets[NETWORK_SOCKETS_MAX];
	unsigned n_sockets;
};
/* Closes what is left in sockets. */
void network_got_done(struct network_got *got);

/* Checks a container's wish without taking anything: networks exist, addresses fit ("user specified IP address is supported on
 * user defined networks only", "invalid IPv4 address: ...", "conflicting options: ..."), ports parse. For create, and for
 * connect of a container that does not run. Networks that do not exist are no error here (Docker says so at start) unless
 * `strict`. */
int network_wish_check(struct network_engine *e, const struct network_wish *w, bool strict, struct err *err);

/* Makes the namespace, joins the networks, opens the ports, starts the name server: all or nothing. A sandbox that exists
 * already under this id is removed first. container:ID: `netns` is that container's, texts are empty (share that container's
 * files), ports and networks empty; IN_USE "cannot join network of a non running container: ID" when it has none.
 * Port errors: INTERNAL "driver failed programming external connectivity on endpoint NAME (ENDPOINT): Bind for 0.0.0.0:8080
 * failed: port is already allocated". */
int network_sandbox_start(struct network_engine *e, const struct network_wish *w, struct arena *a, struct network_got *out,
			  struct err *err);
/* Gives back everything. Harmless when there is none. Never fails. Interfaces stop at once and are gone some milliseconds
 * later, or after a second when a process lives on in the namespace. */
void network_sandbox_stop(struct network_engine *e, const char *id);

/* connect and disconnect of a container that runs; *out is as from start, with the whole of networks and hosts (sockets none:
 * ports move to the new gateway network by themselves). Rewrite /etc/hosts in place (the file is bind-mounted: keep the inode).
 * FORBIDDEN "endpoint with name web already exists in network net"; INVALID_REQUEST "container sharing network namespace with
 * another container or host cannot be connected to any other network". */
int network_connect(struct network_engine *e, const struct network_wish *w, struct span network, const struct json *endpoint,
		    struct arena *a, struct network_got *out, struct err *err);
/* A container at rest left it, which is told as the other is. A network that is gone tells nothing. */
void network_left(struct network_engine *e, struct span network, const char *id);
int network_disconnect(struct network_engine *e, const struct network_wish *w, struct span network, struct arena *a,
		       struct network_got *out, struct err *err);
/* The container is called otherwise from now on (names of endpoints and of the name server). */
int network_sandbox_rename(struct network_engine *e, const char *id, const char *name, struct err *err);
/* What a running one has now, as from start (no sockets). NOT_FOUND without a sandbox. */
int network_sandbox_show(struct network_engine *e, const char *id, struct arena *a, struct network_got *out, struct err *err);

/* ---- after a restart of the engine ---- */

/* The container `id` still runs; sockets are those that its monitor holds (MONITOR_SOCKETS; they become the engine's, also on
 * failure). *out (may be NULL) as from show. NOT_FOUND when nothing is known of it: its network is lost, stop it. */
int network_sandbox_adopt(struct network_engine *e, const char *id, const int *sockets, unsigned n_sockets, struct arena *a,
			  struct network_got *out, struct err *err);
/* Every container was looked at: sandboxes that nobody adopted are removed. Call once after open. */
void network_engine_settle(struct network_engine *e);

/* ---- counters: "networks" of docker stats ---- */

struct network_stats {
	char interface[16]; /* eth0, ... in the container */
	uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped;
	uint64_t tx_bytes, tx_packets, tx_errors, tx_dropped;
};
/* Without lo; *out_n at most cap. NOT_FOUND without a sandbox. */
int network_stats(struct network_engine *e, const char *id, struct network_stats *out, unsigned cap, unsigned *out_n,
		  struct err *err);

/* ---- a network for a whole cluster: a namespace, pinned at a file, and one cable from the host to it. Needs no engine. ---- */

struct network_cable {
	const char *id;      /* as in network_opts */
	const char *pin;     /* a file that is made; absolute */
	const char *address; /* that it had last time; NULL: none */
};
#define NETWORK_CABLE_ADDRESS 16
/* Makes what is missing (again after a restart of the machine) and enters the namespace with the calling thread, which must be in
 * the host's. Forwarding is switched on, what comes out is masqueraded by table knarr_net_ID. out_address: the cluster's own on the
 * cable, of 198.19.0.0/16; the last one if it is still free. UNAVAILABLE: nothing is. */
int network_cable_enter(const struct network_cable *c, char out_address[NETWORK_CABLE_ADDRESS], struct err *err);
/* The calling thread enters what is pinned there. NOT_FOUND. */
int network_cable_join(const char *pin, struct err *err);
/* Cable, table, pin. From the host's namespace. Harmless where nothing is. */
int network_cable_remove(const struct network_cable *c, struct err *err);
/* Which firewalls of others drop what this host forwards, a line each; appended. out: those that keep a chain for exceptions, which
 * the engine and network_passage write; others: what a person must do something about. Changes nothing. */
int network_forward_notes(struct buf *out, struct buf *others, struct err *err);

/* A cable's passage through firewalls of others (Docker, ufw): two accept rules in the chain that is meant for them, as long as
 * they drop; with firewalld its zone trusted, once there is a loop (watch). open: from the host's namespace; the object works there
 * wherever the thread goes. watch: from now on changes by others are answered, and the cable's own table (of the address that
 * network_cable_enter gave) is written again when somebody removed it. */
struct network_passage;
int network_passage_open(const struct network_cable *c, struct network_passage **out, struct err *err);
int network_passage_watch(struct network_passage *p, const char *address, struct loop *l, struct err *err);
/* The rules stay, like the cable (network_cable_remove takes both). Accepts NULL. */
void network_passage_free(struct network_passage *p);
