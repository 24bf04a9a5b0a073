/* What the files of this component share. */
#pragma once

#include "sys/addr.h"
#include "sys/link.h"
#include "network/network.h"
#include "network/nft.h"
#include "network/pool.h"

#define NETWORK_NAMES_MAX 255	   /* bytes of a network's or container's name */
#define NETWORK_COUNT_MAX 4096	   /* networks */
#define NETWORK_ENDPOINTS_MAX 64   /* networks of one container */
#define NETWORK_RECORD_MAX (1 << 20) /* bytes of a sandbox's record */
#define NETWORK_STATE_MAX (16 << 20) /* bytes of networks.json */

enum network_driver { NETWORK_BRIDGE, NETWORK_HOST, NETWORK_NONE, NETWORK_DRIVER_COUNT };
extern const char *const network_driver_names[NETWORK_DRIVER_COUNT];

/* com.docker.network.bridge.gateway_mode_ipv4 and _ipv6 */
enum network_mode { NETWORK_NAT, NETWORK_NAT_UNPROTECTED, NETWORK_ROUTED, NETWORK_ISOLATED, NETWORK_MODE_COUNT };

enum { V4, V6 }; /* indices of what there is one of per family */
static inline int network_family(int v)
{
	return v == V4 ? AF_INET : AF_INET6;
}

struct network {
	struct list link;      /* network_engine.networks, in the order of creation */
	struct arena arena;
	struct json tree;      /* Docker's Network object without Containers; in the arena */
	char id[65], name[NETWORK_NAMES_MAX + 1];
	enum network_driver driver;
	bool builtin;
	bool internal, attachable, icc, masquerade;
	bool config_only;      /* what others are made from; itself nothing but its tree */
	bool chosen[2];        /* was the subnet named by the user? */
	enum network_mode mode[2];
	unsigned mtu;
	char bridge[16];
	struct span inside_prefix; /* of interfaces in containers, a number follows; empty = eth; in the arena */
	int ifindex;           /* of the bridge */
	struct network_pool pool[2];
	struct sys_addr gateway_inside[2]; /* what containers route through when it is not the bridge (default-gateway) */
	struct sys_addr host_ip; /* where ports are published that name no address; family 0 = everywhere */
	struct list endpoints; /* network_endpoint.of_network */
};

struct network_endpoint {
	struct list of_network, of_sandbox;
	struct network *net;      /* borrowed: a network outlives its endpoints */
	struct network_sandbox *box;
	struct arena arena;
	struct json wish;         /* EndpointSettings as wished; in the arena */
	char id[65];
	char outside[16], inside[16]; /* interfaces; "" for host and none */
	int inside_index, outside_index; /* 0 = not made yet */
	struct sys_prefix addr[2]; /* family 0 = none */
	uint8_t mac[6];
	int64_t priority;
};

struct network_port { /* one published address of the host */
	uint8_t protocol; /* IPPROTO_TCP, _UDP, _SCTP */
	uint16_t inside;
	struct sys_addr host; /* the address bound, maybe unspecified */
	uint16_t outside;
	uint16_t first, last;     /* wished for; 0 = any */
	bool paired;              /* shares its number with the one before: IPv4 and IPv6 of one binding */
	int sock;                 /* owned; -1 before it is bound */
	struct network_relay *relay; /* owned; NULL without */
	bool mapped, routed;      /* stands in PORTS, in ROUTED */
	struct sys_addr to;   /* what it is mapped to */
};

struct network_sandbox {
	char id[65], name[NETWORK_NAMES_MAX + 1];
	struct network_engine *engine;
	struct arena arena;
	struct json config, host_config; /* what is needed of the documents; in the arena */
	bool host;             /* lives in the host's namespace */
	bool adopted;          /* belongs to a container of this run */
	struct list endpoints; /* network_endpoint.of_sandbox, in the order of interfaces */
	struct network_port *ports; /* owned */
	unsigned n_ports;
	struct network_dns *dns;    /* owned; NULL without */
	uint16_t dns_ports[2];      /* udp, tcp; 0 = none */
};

struct network_settings {
	struct arena arena;
	bool bridge_none, icc, ip_forward, masquerade, ipv6, userland_proxy;
	char bridge[16];                /* "" = docker0, knarr0 */
	struct sys_prefix bip[2], fixed[2];
	struct sys_addr gateway[2], host_ip;
	unsigned mtu;
	struct network_supply *supplies; /* in the arena */
	unsigned n_supplies;
	struct json dns, dns_opts, dns_search; /* arrays; in the arena */
	struct json bridge_options;      /* default-network-opts.bridge */
};

struct network_engine {
	struct network_opts opts;
	struct network_settings set;
	char id[9];
	int dir, run, lock;     /* folders; the lock file of RUN */
	int boxes, pins;        /* RUN/sandboxes, RUN/netns */
	int host_ns;            /* this thread's own namespace */
	int route;              /* NETLINK_ROUTE in it */
	int filter;             /* NETLINK_NETFILTER in it */
	struct sys_nft nft;
	struct list networks;
	unsigned n_networks;
	struct map sandboxes;   /* id → network_sandbox */
	uint8_t ula[5];         /* global id of our fdXX:XXXX:XXXX::/48 (RFC 4193 section 3.2.2); all zero = not drawn yet */
	bool forward6;          /* IPv6 forwarding was switched on */
	uint16_t next_port;     /* where the search for a free host port goes on */
	struct list doomed;     /* interfaces that go with their namespace: looked after by the timer */
	struct loop_timer reaper;
	struct network_watch *watch; /* owned; NULL when the kernel refused */
	struct network_spare *spare; /* owned; NULL = no container was started yet */
	struct buf notes;       /* what went wrong where nobody could be told */
	struct buf firewall_notes; /* the state of others' firewalls */
	struct network_firewalld *firewalld; /* owned; NULL while its rules were never seen here */
	struct buf firewalld_note; /* what it last said */
	bool dead;              /* after reset */
};

/* ---- engine.c */
int network_state_save(struct network_engine *e, struct err *err);
void network_event(struct network_engine *e, enum network_event_kind kind, const struct network *n, const char *container);
int network_forward_v6(struct network_engine *e, struct err *err);
/* One line that an operator should know of. */
void network_note(struct network_engine *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Elements changed: to the kernel; when it does not know what we know (somebody flushed the ruleset) the table is written
 * anew. */
int network_nft_apply(struct network_engine *e, const char *what, struct err *err);
void network_nft_check(struct network_engine *e); /* is the table there? else it is written anew */

/* ---- settings.c */
int network_settings_read(struct network_settings *s, const struct json *tree, struct err *err);

/* ---- object.c, create.c */
struct network *network_by_name(struct network_engine *e, struct span name, struct err *err);
struct network *network_by_id(struct network_engine *e, struct span id);
bool network_name_builtin(struct span name);
static inline bool network_user_defined(const struct network *n)
{
	return n->driver == NETWORK_BRIDGE && !n->builtin;
}
/* A network from its stored object: parsed, not in the kernel yet. tree is copied. */
int network_load(struct network_engine *e, const struct json *tree, bool chosen4, bool chosen6, struct network **out,
	struct err *err);
void network_free(struct network *n);
int network_builtins(struct network_engine *e, struct err *err); /* those of bridge, host, none that are missing */
/* Bridge, addresses and elements as they should be; what is right already stays. */
int network_kernel_make(struct network_engine *e, struct network *n, struct err *err);
void network_kernel_elements(struct network_engine *e, const struct network *n, bool add); /* into the transaction */
int network_kernel_remove(struct network_engine *e, struct network *n, struct err *err);
void network_describe(struct network_engine *e, const struct network *n, struct arena *a, struct json *out);
/* The alias that says whose an interface is. */
void network_alias(const struct network_engine *e, const struct network *n, char out[96]);

/* ---- endpoint.c */
/* Are these settings right for that network? Words as Docker's. */
int network_endpoint_check(const struct network *n, const struct json *wish, struct err *err);
int network_endpoint_new(struct network_sandbox *box, struct network *n, const struct json *wish, struct network_endpoint **out,
			 struct err *err);
void network_endpoint_free(struct network_endpoint *ep); /* gives the addresses back; the kernel's part is not its */
struct json network_endpoint_show(const struct network_endpoint *ep, bool names, struct arena *a);
/* "name", aliases, 12 digits, host name: what the container is called on this network. Array of strings; null where none is. */
struct json network_endpoint_names(const struct network_endpoint *ep, struct arena *a);
/* The endpoint whose gateway the container uses for a family; NULL = none. */
struct network_endpoint *network_gateway_endpoint(const struct network_sandbox *box, int v);
struct sys_addr network_endpoint_gateway(const struct network_endpoint *ep, int v);

/* ---- ns.c */
/* In and out of a namespace with the calling thread; leaving cannot fail (it aborts: a thread in a strange network is our
 * end). */
int network_ns_enter(int ns, struct err *err);
void network_ns_leave(const struct network_engine *e);
/* Makes one, pinned as RUN/netns/id; the caller is inside it afterwards. */
int network_ns_make(struct network_engine *e, const char *id, struct err *err);
/* Pins the one of descriptor ns there; the caller stays where it is. */
int network_ns_pin(struct network_engine *e, const char *id, int ns, struct err *err);
int network_ns_open(struct network_engine *e, const char *id, struct err *err);
	/* descriptor; NOT_FOUND when it is none any more */
void network_ns_remove(struct network_engine *e, const char *id);
int network_sysctl(const char *name, const char *value, struct err *err); /* of the namespace the thread is in; "net/..." */

/* ---- spare.c: a namespace that is made beforehand; what is done first in every one */
struct network_spare;
struct network_sysctl_row {
	const char *key, *file, *value;
};
extern const struct network_sysctl_row network_ns_sysctls[2];
int network_ns_no_v6(struct err *err);                  /* no IPv6 on interfaces to come; inside */
int network_ns_first(int *out_route, struct err *err);  /* lo up; *out_route: a socket of the namespace, the caller's. Inside */
/* False = there is none. Both descriptors are the caller's; the settings are those of sandbox.c without IPv6. */
bool network_spare_take(struct network_engine *e, int *out_ns, int *out_route);
void network_spare_close(struct network_spare *s); /* accepts NULL */

/* ---- sandbox.c, record.c */
int network_sandbox_save(struct network_sandbox *box, struct err *err);
int network_sandbox_load(struct network_engine *e, const char *id, struct network_sandbox **out, struct err *err);
struct network_sandbox *network_sandbox_new(struct network_engine *e, const char *id, const char *name);
void network_sandbox_free(struct network_sandbox *box); /* memory, relays, name server; kernel and record stay */
void network_sandbox_destroy(struct network_sandbox *box); /* everything */
const char *network_sandbox_hostname(const struct network_sandbox *box, char out[256]);
/* The box' interfaces stop at once and go with its namespace, or by the reaper's hand when a process keeps that alive. */
void network_links_leave(struct network_sandbox *box);
void network_reaper_init(struct network_engine *e);
void network_reaper_done(struct network_engine *e);
int network_links_sweep(struct network_engine *e, struct err *err); /* interfaces of ours that nobody has */

/* ---- text.c */
struct span network_text_hosts(const struct network_sandbox *box, struct arena *a);
struct span network_text_resolv(const struct network_sandbox *box, struct arena *a);
struct span network_text_hostname(const struct network_sandbox *box, struct arena *a);
/* Servers that the container's name server asks: HostConfig.Dns, else settings, else the host's. */
struct network_resolver {
	struct sys_addr addr;
	bool host; /* asked from the host's namespace: the host's own loopback */
};
unsigned network_text_resolvers(const struct network_sandbox *box, struct network_resolver *out, unsigned cap, int *out_ndots);

/* ---- port.c */
/* Reads ExposedPorts, PortBindings and PublishAllPorts into box->ports, unbound. */
int network_ports_check(const struct json *config, const struct json *host_config, struct err *err);
int network_ports_read(struct network_sandbox *box, struct err *err);
/* Chooses and binds. Sockets stay in box->ports. */
int network_ports_open(struct network_sandbox *box, struct err *err);
int network_ports_map(struct network_sandbox *box, struct err *err); /* the elements, for the gateway's present address */
void network_ports_unmap(struct network_sandbox *box);               /* into the transaction */
void network_ports_close(struct network_sandbox *box);
/* Elements of what is mapped, added to the transaction: for a table that is written anew. */
void network_ports_elements(const struct network_sandbox *box);
struct json network_ports_show(const struct network_sandbox *box, struct arena *a);
/* Gives the monitor's sockets to the ports that they belong to, by their bound address. What fits none is closed. */
int network_ports_adopt(struct network_sandbox *box, const int *socks, unsigned n, struct err *err);

/* ---- relay.c */
int network_relay_open(struct network_engine *e, struct network_port *p, const struct sys_addr *to, struct err *err);
void network_relay_retarget(struct network_relay *r, const struct sys_addr *to);
void network_relay_close(struct network_relay *r); /* accepts NULL; the socket stays the port's */

/* ---- dns.c */
/* Sockets inside the namespace in which the thread is, its loopback interface up; ports 0 = free ones. */
int network_dns_open(struct network_sandbox *box, struct err *err);
void network_dns_close(struct network_dns *d); /* accepts NULL */

/* ---- firewall.c */
void network_firewall_settle(struct network_engine *e); /* exceptions in others' chains as they should be */
void network_firewall_clear(struct network_engine *e);
/* Looks again whenever somebody else has changed nftables: Docker or ufw that start after us. */
int network_watch_open(struct network_engine *e, struct err *err);
void network_watch_close(struct network_watch *w); /* accepts NULL */
void network_passage_clear(const struct network_cable *c); /* the rules go; from the host's namespace */

/* ---- firewalld.c: interfaces in its zone trusted, at run time. `said` hears how each request ended, on the loop: NULL = well. */
struct network_firewalld *network_firewalld_new(struct loop *l, void (*said)(void *arg, const struct err *err), void *arg);
/* These are in the zone from now on ("k0-+": every one whose name begins so); those of the last request that are not named again
 * leave it. Returns at once. One that is asked for while another is under way takes its place. */
void network_firewalld_want(struct network_firewalld *f, const char *const *names, unsigned n);
void network_firewalld_free(struct network_firewalld *f); /* accepts NULL; the interfaces stay where they are */

/* ---- cable.c */
void network_cable_name(const struct network_cable *c, char out[16]); /* IFNAMSIZ */
/* The table that masquerades what comes out of a cable. */
int network_cable_table(int filter, const char *id, const struct sys_prefix *all, struct err *err);
