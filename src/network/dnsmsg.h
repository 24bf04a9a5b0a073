/* DNS messages (RFC 1035 section 4): one question in, an answer out. Pure and bounded. */
#pragma once

#include "sys/addr.h"

enum { NETWORK_DNS_A = 1, NETWORK_DNS_PTR = 12, NETWORK_DNS_AAAA = 28, NETWORK_DNS_OPT = 41 };
enum { NETWORK_DNS_OK = 0, NETWORK_DNS_FORMERR = 1, NETWORK_DNS_SERVFAIL = 2, NETWORK_DNS_NXDOMAIN = 3, NETWORK_DNS_NOTIMP = 4,
       NETWORK_DNS_REFUSED = 5 };
#define NETWORK_DNS_HEAD 12
#define NETWORK_DNS_QUERY_MAX 4096
#define NETWORK_DNS_TTL 600 /* s, as Docker's */

struct network_dns_question {
	uint16_t id, type, class;
	char name[256];   /* lower case, without the last dot; "" = the root. */
	bool odd;         /* a label holds a dot, a 0 byte or a byte above 126: no name of ours */
	size_t end;       /* of the question in the packet */
	size_t answer_max; /* bytes that the asker takes over UDP: 512, or what its OPT record says up to 4096 */
};
/* 0; -1: not a query, no answer is due; else the response code that is due (FORMERR, NOTIMP). out->id is set unless -1. */
int network_dns_parse(struct span packet, struct network_dns_question *out);

/* An answer to packet begins: head and question (left out for FORMERR). */
void network_dns_answer_begin(struct buf *out, struct span packet, const struct network_dns_question *q, unsigned rcode);
/* One record about the question's name; false (and TC set) when it would grow past max. */
bool network_dns_answer_addr(struct buf *out, const struct sys_addr *a, size_t max);
bool network_dns_answer_name(struct buf *out, const char *name, size_t max); /* PTR */

/* "4.3.2.1.in-addr.arpa" and nibbles below ip6.arpa. */
bool network_dns_reverse(const char *name, struct sys_addr *out);
/* Response code of an answer of len bytes or -1 when it is no answer to id. */
int network_dns_rcode(struct span packet, uint16_t id);
