/* Names of others: asked of the servers in resolv.conf, kept as long as they say. Private to src/dns.
 *
 * Bounds: ASKS questions under way, CACHE answers and CACHE_BYTES of them kept; beyond that a question is refused (SERVFAIL)
 * and the oldest answer goes. Equal questions wait for one answer; so does a question that comes back to us through the
 * servers that we asked, which is why a loop costs one question and no storm. Loops are also looked for: each server gets a
 * question with a name that only we know, and the one through which it returns is not asked any more. */
#pragma once

#include "dnsmsg/dnsmsg.h"
#include "loop/loop.h"

enum { DNS_ASKS_MAX = 1024, DNS_WAITS_MAX = 4096, DNS_CACHE_MAX = 16384, DNS_CACHE_BYTES = 16 << 20, DNS_SERVERS_MAX = 8,
       DNS_KEEP_MAX_S = 3600, DNS_KEEP_NEGATIVE_MAX_S = 60, DNS_TRY_MS = 1500, DNS_ROUNDS = 2 };

struct dns_forward_counts {
	uint64_t asked, hits, misses; /* questions sent; found and not found among what is kept */
	size_t kept;                  /* now */
};
struct dns_forward;
struct dns_forward_params {
	struct loop *loop;
	const char *resolv_conf;  /* read again whenever it changes; borrowed for ever */
	struct sys_addr own;      /* where we listen: never asked */
	uint16_t own_port;
	uint16_t server_port;     /* where servers listen; 0 = 53 */
};
int dns_forward_new(const struct dns_forward_params *p, struct dns_forward **out_forward, struct err *err);
/* Nothing is told any more; closes are under way in the loop, which must turn before dns_forward_free. */
void dns_forward_stop(struct dns_forward *f);
void dns_forward_free(struct dns_forward *f); /* accepts NULL */

/* Who waits; embedded in the caller's. done never runs inside dns_forward_ask; answer is for dnsmsg_adopt or dnsmsg_import,
 * lives for the call, and is empty when no server helped. */
struct dns_wait {
	struct list link;
	struct dns_forward *of; /* NULL: does not wait */
	void (*done)(struct dns_wait *w, struct span answer);
};
/* 1: *out_answer is there, until the next call; 0: done will tell; -1: too much is being asked, or there is nobody to ask. */
int dns_forward_ask(struct dns_forward *f, const struct dnsmsg_name *name, uint16_t type, bool dnssec, bool cd, struct dns_wait *w,
		    struct span *out_answer);
void dns_forward_cancel(struct dns_wait *w); /* harmless when it does not wait */
struct dns_forward_counts dns_forward_counts(const struct dns_forward *f);
/* Somebody asks us this: is it one of our own questions that came round? */
bool dns_forward_loops(struct dns_forward *f, const struct dnsmsg_name *name);
