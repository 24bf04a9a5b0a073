/* Reads no byte without its bound, follows no pointer (a question comes first, it has nothing to point at), recurses nowhere.
 * */
#include <arpa/inet.h>
#include <ctype.h>

#include "network/dnsmsg.h"

static uint16_t get16(struct span s, size_t at)
{
	return (uint16_t)((uint8_t)s.ptr[at] << 8 | (uint8_t)s.ptr[at + 1]);
}

static void put16(struct buf *out, unsigned v)
{
	buf_chr(out, (char)(v >> 8));
	buf_chr(out, (char)v);
}

/* The name at *at as text; false when it is none. */
static bool read_name(struct span p, size_t *at, struct network_dns_question *q)
{
	size_t pos = *at, n = 0;
	while (pos < p.len) {
		unsigned len = (uint8_t)p.ptr[pos++];
		if (len == 0) {
			q->name[n] = 0;
			*at = pos;
			return true;
		}
		/* Wire form at most 255 bytes (section 2.3.4): text, dots counted, is two bytes less. */
		if (len > 63 || len > p.len - pos || n + (n > 0) + len + 2 > 255)
			return false;
		if (n)
			q->name[n++] = '.';
		for (unsigned i = 0; i < len; i++) {
			unsigned char c = (unsigned char)p.ptr[pos + i];
			q->odd = q->odd || c == '.' || c <= ' ' || c > 126;
			q->name[n++] = c <= ' ' || c > 126 ? '?' : (char)tolower(c);
		}
		pos += len;
	}
	return false;
}

/* Over a name that may end in a pointer. */
static bool skip_name(struct span p, size_t *at)
{
	size_t pos = *at;
	while (pos < p.len) {
		unsigned len = (uint8_t)p.ptr[pos];
		if (len >= 0xc0) {
			*at = pos + 2;
			return pos + 2 <= p.len;
		}
		if (len > 63)
			return false;
		pos += len + 1;
		if (len == 0) {
			*at = pos;
			return pos <= p.len;
		}
	}
	return false;
}

static void read_opt(struct span p, size_t at, unsigned records, struct network_dns_question *q)
{
	for (unsigned i = 0; i < records; i++) {
		if (!skip_name(p, &at) || p.len - at < 10)
			return;
		uint16_t type = get16(p, at), class = get16(p, at + 2), len = get16(p, at + 8);
		at += 10;
		if (len > p.len - at)
			return;
		at += len;
		if (type == NETWORK_DNS_OPT) /* RFC 6891 section 6.2.3: the class is the size */
			q->answer_max = MIN(MAX((size_t)class, (size_t)512), (size_t)NETWORK_DNS_QUERY_MAX);
	}
}

int network_dns_parse(struct span p, struct network_dns_question *q)
{
	*q = (struct network_dns_question){ .answer_max = 512 };
	if (p.len < NETWORK_DNS_HEAD)
		return -1;
	uint16_t flags = get16(p, 2);
	q->id = get16(p, 0);
	if (flags & 0x8000)
		return -1;
	if (flags & 0x7800)
		return NETWORK_DNS_NOTIMP;
	size_t at = NETWORK_DNS_HEAD;
	if (p.len > NETWORK_DNS_QUERY_MAX || get16(p, 4) != 1 || !read_name(p, &at, q) || p.len - at < 4)
		return NETWORK_DNS_FORMERR;
	q->type = get16(p, at);
	q->class = get16(p, at + 2);
	q->end = at + 4;
	read_opt(p, q->end, (unsigned)get16(p, 6) + get16(p, 8) + get16(p, 10), q);
	return 0;
}

void network_dns_answer_begin(struct buf *out, struct span packet, const struct network_dns_question *q, unsigned rcode)
{
	size_t end = rcode == NETWORK_DNS_FORMERR || rcode == NETWORK_DNS_NOTIMP ? 0 : q->end;
	buf_trunc(out, 0);
	put16(out, q->id);
	/* QR, opcode and RD as asked, RA */
	put16(out, 0x8000u | (get16(packet, 2) & 0x7900u) | 0x0080u | rcode);
	put16(out, end ? 1 : 0);
	put16(out, 0);
	put16(out, 0);
	put16(out, 0);
	if (end)
		buf_add(out, packet.ptr + NETWORK_DNS_HEAD, end - NETWORK_DNS_HEAD);
}

static bool record(struct buf *out, uint16_t type, const void *data, size_t len, size_t max)
{
	if (out->len + 12 + len > max) {
		out->ptr[2] |= 0x02; /* TC */
		return false;
	}
	put16(out, 0xc000 | NETWORK_DNS_HEAD); /* the question's name */
	put16(out, type);
	put16(out, 1);
	put16(out, 0);
	put16(out, NETWORK_DNS_TTL);
	put16(out, (unsigned)len);
	buf_add(out, data, len);
	unsigned n = (unsigned)((uint8_t)out->ptr[6] << 8 | (uint8_t)out->ptr[7]) + 1;
	out->ptr[6] = (char)(n >> 8);
	out->ptr[7] = (char)n;
	return true;
}

bool network_dns_answer_addr(struct buf *out, const struct sys_addr *a, size_t max)
{
	return record(out, a->family == AF_INET ? NETWORK_DNS_A : NETWORK_DNS_AAAA, a->b, sys_addr_len(a), max);
}

bool network_dns_answer_name(struct buf *out, const char *name, size_t max)
{
	auto_buf struct buf wire = { 0 };
	struct span rest = span_of(name), label;
	while (span_cut(&rest, '.', &label)) {
		if (label.len == 0 || label.len > 63 || wire.len + label.len > 250)
			return true; /* a container's name that no DNS name can be */
		buf_chr(&wire, (char)label.len);
		buf_span_add(&wire, label);
	}
	buf_chr(&wire, 0);
	return record(out, NETWORK_DNS_PTR, wire.ptr, wire.len, max);
}

bool network_dns_reverse(const char *name, struct sys_addr *out)
{
	static const char v4[] = ".in-addr.arpa", v6[] = ".ip6.arpa";
	struct span s = span_of(name), part;
	*out = (struct sys_addr){ 0 };
	if (span_ends(s, span_of(v4))) {
		s.len -= sizeof(v4) - 1;
		for (int i = 3; i >= 0; i--) {
			uint64_t v;
			if (!span_cut(&s, '.', &part) || part.len > 3 || !span_to_u64(part, &v) || v > 255)
				return false;
			out->b[i] = (uint8_t)v;
		}
		out->family = AF_INET;
		return s.len == 0;
	}
	if (!span_ends(s, span_of(v6)) || s.len != 63 + sizeof(v6) - 1)
		return false;
	for (int i = 0; i < 32; i++) {
		int v = hex_value(s.ptr[2 * i]);
		if (v < 0 || s.ptr[2 * i + 1] != '.')
			return false;
		out->b[15 - i / 2] |= (uint8_t)(i % 2 ? v << 4 : v);
	}
	out->family = AF_INET6;
	return true;
}

int network_dns_rcode(struct span p, uint16_t id)
{
	if (p.len < NETWORK_DNS_HEAD || get16(p, 0) != id || !(get16(p, 2) & 0x8000))
		return -1;
	return get16(p, 2) & 15;
}
