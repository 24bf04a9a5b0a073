/* The nftables table, and wanted elements as values. Private to src/proxy. */
#pragma once

#include <sys/socket.h>
#include "base/base.h"
#include "sys/addr.h"
#include "sys/nft.h"

enum { V4, V6, FAMILIES };

/* Fields of keys and data as registers hold them; "list" is where slots hang: (address, port, kind). */
enum proxy_set {
	PROXY_FRONT,        /* address . protocol . port -> class . list: cluster, external and load-balancer addresses */
	PROXY_PORTS,        /* protocol . port -> class . list: node ports */
	PROXY_OUTER,        /* as FRONT, for who comes from outside: externalTrafficPolicy Local */
	PROXY_OUTER_PORTS,
	PROXY_SLOTS,        /* list . slot -> address . port */
	PROXY_CLOSED,       /* address . protocol . port -> enum proxy_closed */
	PROXY_CLOSED_PORTS,
	PROXY_MASQ,         /* address . protocol . port: masquerade whoever asks there */
	PROXY_MASQ_PORTS,
	PROXY_HAIRPIN,      /* address . address of an endpoint on this node */
	PROXY_STICKY,       /* list -> number of a lifetime: session affinity */
	PROXY_LIVE,         /* list . address . port: endpoints that affinity may name */
	PROXY_AFFINITY,     /* list . source -> address . port; filled by rules, with timeout */
	PROXY_GUARD,        /* address . protocol . port: only from SOURCES */
	PROXY_SOURCES,      /* address . protocol . port . source range */
	PROXY_PODS,         /* ranges: who is inside the cluster */
	PROXY_MINE,         /* ranges: pods of this node */
	PROXY_RANGE,        /* ranges: addresses of services */
	PROXY_SET_COUNT
};
enum proxy_closed { PROXY_REJECT = 1, PROXY_DROP, PROXY_DROP_OUTER };

#define PROXY_LOCAL 0x100u     /* in a list's kind: endpoints of this node alone */
#define PROXY_STICKY_BIT 0x10000u /* in a class: with affinity */

/* How many slots a list of n endpoints has: 1 to 16 exactly n; then 64, 256, 1024, 4096 so that each has three or more. */
uint32_t proxy_class(size_t n_endpoints);
#define PROXY_SLOTS_MAX 4096u
/* The number of the shortest lifetime that is not below. */
unsigned proxy_lifetime(unsigned seconds);

const struct sys_nft_set *proxy_set_row(int family, enum proxy_set set);

/* Writes the whole table into a transaction: chains, rules, sets without elements. */
void proxy_table_write(struct sys_nft *n);
#define PROXY_TABLE_VERSION "knarr-proxy 1"

/* ---- elements */
struct proxy_element {
	uint8_t family, set; /* V4 or V6; enum proxy_set */
	uint8_t key_len, data_len;
	const uint8_t *key, *data;
	const uint8_t *key_end; /* SOURCES: the range's end, as long as key; else NULL */
};
/* A set of wanted elements: packed, then sorted once. Zero-initialised is empty. */
struct proxy_elements {
	struct buf packed;
	uint32_t *at; /* owned; sorted by proxy_elements_sort */
	size_t n, cap;
};
void proxy_elements_done(struct proxy_elements *e);
void proxy_elements_put(struct proxy_elements *e, int family, enum proxy_set set, const void *key, const void *key_end,
			const void *data);
void proxy_elements_sort(struct proxy_elements *e); /* and drops repetitions of a key: the first stays */
struct proxy_element proxy_elements_at(const struct proxy_elements *e, size_t i);
/* Whether the set holds the key with exactly these data. */
int proxy_element_order(const struct proxy_element *a, const struct proxy_element *b); /* by family, set, key */
/* What must be taken out of and put into the kernel to get from `from` to `to` (both sorted; NULL = empty). */
void proxy_elements_diff(const struct proxy_elements *from, const struct proxy_elements *to,
			 void (*out)(void *arg, const struct proxy_element *e), void (*in)(void *arg, const struct proxy_element *e),
			 void *arg);

/* ---- keys, appended field by field */
struct proxy_key {
	uint8_t b[64];
	unsigned len;
};
static inline void proxy_key_addr(struct proxy_key *k, const struct sys_addr *a)
{
	unsigned n = sys_addr_len(a);
	memcpy(k->b + k->len, a->b, n);
	k->len += n;
}
static inline void proxy_key_u32(struct proxy_key *k, uint32_t v) /* host order */
{
	memcpy(k->b + k->len, &v, 4);
	k->len += 4;
}
static inline void proxy_key_port(struct proxy_key *k, uint16_t port)
{
	const uint8_t b[4] = { (uint8_t)(port >> 8), (uint8_t)port };
	memcpy(k->b + k->len, b, 4);
	k->len += 4;
}
static inline void proxy_key_protocol(struct proxy_key *k, uint8_t protocol)
{
	const uint8_t b[4] = { protocol };
	memcpy(k->b + k->len, b, 4);
	k->len += 4;
}
