/* DNS messages (RFC 1035 section 4, RFC 6891): a question read, an answer written into a buffer of the caller's. The seam of
 * src/dnsmsg.
 *
 * Pure and bounded, for any thread: nothing allocates, nothing recurses, each byte is read behind its check. Names are kept in
 * wire form and lower case (labels with their lengths, the root's 0 at the end), so that a name is one key of a map, whatever
 * bytes its labels hold; the question goes back as it was asked, letter case included (draft "0x20").
 *
 *     struct dnsmsg_question q;
 *     int rcode = dnsmsg_parse(packet, &q);
 *     if (rcode < 0) return;                                  // no answer is due
 *     struct dnsmsg_out o = { .ptr = room, .max = q.udp_max };
 *     dnsmsg_begin(&o, packet, &q, (unsigned)rcode, DNSMSG_AA);
 *     dnsmsg_record(&o, DNSMSG_ANSWER, DNSMSG_HEAD, DNSMSG_A, 5, address, 4);
 *     dnsmsg_end(&o, &q);                                     // o.ptr, o.len */
#pragma once

#include "sys/addr.h"

enum { DNSMSG_A = 1, DNSMSG_NS = 2, DNSMSG_CNAME = 5, DNSMSG_SOA = 6, DNSMSG_PTR = 12, DNSMSG_MX = 15, DNSMSG_TXT = 16,
       DNSMSG_AAAA = 28, DNSMSG_SRV = 33, DNSMSG_OPT = 41, DNSMSG_IXFR = 251, DNSMSG_AXFR = 252, DNSMSG_ANY = 255 };
enum { DNSMSG_OK = 0, DNSMSG_FORMERR = 1, DNSMSG_SERVFAIL = 2, DNSMSG_NXDOMAIN = 3, DNSMSG_NOTIMP = 4, DNSMSG_REFUSED = 5,
       DNSMSG_BADVERS = 16 };
enum { DNSMSG_QR = 0x8000, DNSMSG_AA = 0x0400, DNSMSG_TC = 0x0200, DNSMSG_RD = 0x0100, DNSMSG_RA = 0x0080, DNSMSG_CD = 0x0010 };
enum dnsmsg_section { DNSMSG_ANSWER = 1, DNSMSG_AUTHORITY, DNSMSG_ADDITIONAL };
enum { DNSMSG_HEAD = 12, DNSMSG_NAME_MAX = 255, DNSMSG_MAX = 65535, DNSMSG_OPT_LEN = 11,
       DNSMSG_UDP_MAX = 1232 }; /* what fits any path unfragmented; nothing longer is sent or asked for over UDP */

struct dnsmsg_name {
	uint8_t len; /* the root's 0 included: 1 to 255; 0 = none */
	uint8_t b[DNSMSG_NAME_MAX];
};
static inline struct span dnsmsg_name_span(const struct dnsmsg_name *n)
{
	return span_make(n->b, n->len);
}
/* "Web.default.svc" with or without a last dot; "" and "." are the root. False for what is no name. */
bool dnsmsg_name_parse(struct span text, struct dnsmsg_name *out);
/* label.name; false (name as it was) when the label or the whole is too long, or the label empty. */
bool dnsmsg_name_push(struct dnsmsg_name *name, struct span label);
/* Is name in zone, or the zone itself? Returns how many bytes stand before the zone, or -1. */
int dnsmsg_name_within(const struct dnsmsg_name *name, const struct dnsmsg_name *zone);
/* As text without the last dot, "" for the root. False, and nothing sensible in out, when a label holds what stands in no
 * text: a dot, a blank, a control character, a byte above 126. */
bool dnsmsg_name_text(const struct dnsmsg_name *name, char out[DNSMSG_NAME_MAX]);
/* The name of an address below in-addr.arpa or ip6.arpa, and back; false for a name that is not one of a whole address. */
void dnsmsg_name_reverse(const struct sys_addr *a, struct dnsmsg_name *out);
bool dnsmsg_name_address(const struct dnsmsg_name *name, struct sys_addr *out);

struct dnsmsg_question {
	uint16_t id, flags, type, class;
	struct dnsmsg_name name;
	size_t end;     /* of the question in the packet */
	bool edns, dnssec, future; /* an OPT record came; it has DO; it is of a version that nobody knows yet */
	size_t udp_max; /* bytes that the asker takes over UDP: 512 to DNSMSG_UDP_MAX */
};
/* 0; -1: not a query, no answer is due; else the response code that is due (FORMERR, NOTIMP, BADVERS). id and flags are set
 * unless -1, the question unless FORMERR or NOTIMP (end is 0 then). */
int dnsmsg_parse(struct span packet, struct dnsmsg_question *out);

/* What is being written. ptr and max are the caller's; max at least 512. Room for an OPT record is kept. */
struct dnsmsg_out {
	uint8_t *ptr;
	size_t len, max;
};
void dnsmsg_begin(struct dnsmsg_out *o, struct span packet, const struct dnsmsg_question *q, unsigned rcode, unsigned flags);
void dnsmsg_rcode_set(struct dnsmsg_out *o, unsigned rcode);
/* A record whose owner stands at owner_at in the message (DNSMSG_HEAD: the question's name). Sections come in their order.
 * False when it does not fit: an answer that lacks records has TC. */
bool dnsmsg_record(struct dnsmsg_out *o, enum dnsmsg_section s, size_t owner_at, uint16_t type, uint32_t ttl_s, const void *data,
		   size_t len);
/* The same from a prepared record: two bytes in place of the owner, type, class, TTL, length, data. */
bool dnsmsg_prepared(struct dnsmsg_out *o, enum dnsmsg_section s, size_t owner_at, const uint8_t *record, size_t len);
/* The answers of another message with their own owners; names within are written out. False when one did not fit. */
bool dnsmsg_import(struct dnsmsg_out *o, struct span answer);
void dnsmsg_end(struct dnsmsg_out *o, const struct dnsmsg_question *q);

/* ---- what a server that we asked sends */

/* A query of ours: recursion wanted, EDNS0. out holds at least 12 + 255 + 4 + 11 bytes; returns the length. */
size_t dnsmsg_query(uint8_t *out, uint16_t id, const struct dnsmsg_name *name, uint16_t type, bool dnssec, bool cd);
/* The response code of a message that is an answer to this id, -1 for another. It is not looked further into. */
int dnsmsg_rcode(struct span packet, uint16_t id);
struct dnsmsg_reply {
	unsigned rcode;
	bool truncated;
	size_t question_end, len; /* len: without the OPT record and what came behind it */
	unsigned n_additional;    /* that are left */
	uint32_t ttl_s; /* how long it may be kept: least TTL; of a negative answer by its SOA (RFC 2308 section 5), 0 without */
	bool negative;
};
/* Is it a whole and well-formed answer to that query (id, name, type)? */
bool dnsmsg_reply_parse(struct span packet, uint16_t id, const struct dnsmsg_name *name, uint16_t type, struct dnsmsg_reply *out);
/* Takes age_s off each TTL of a message without OPT, none below 0. */
void dnsmsg_age(uint8_t *packet, size_t len, uint32_t age_s);
/* The stored answer (without OPT) as the answer to this packet: its id, question and flags; cut with TC where it is too long. */
void dnsmsg_adopt(struct dnsmsg_out *o, struct span packet, const struct dnsmsg_question *q, struct span answer);
