/* Addresses as values; every text from outside goes through inet_pton, which takes the strict forms alone. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "sys/addr.h"

bool sys_addr_parse(struct span text, struct sys_addr *out)
{
	char s[INET6_ADDRSTRLEN + 1];
	if (text.len == 0 || text.len >= sizeof(s) || memchr(text.ptr, 0, text.len))
		return false;
	memcpy(s, text.ptr, text.len);
	s[text.len] = 0;
	struct sys_addr a = { 0 };
	a.family = strchr(s, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(a.family, s, a.b) != 1)
		return false;
	*out = a;
	return true;
}

bool sys_addr_port_parse(struct span text, struct sys_addr *out, uint16_t *out_port)
{
	struct sys_addr a;
	uint64_t port = *out_port;
	bool brackets = text.len && text.ptr[0] == '[';
	ptrdiff_t colon = span_rchr(text, ':');
	struct span host = text;
	if (brackets || !sys_addr_parse(text, &a)) {
		if (colon < 0 || !span_to_u64(span_from(text, (size_t)colon + 1), &port) || port > UINT16_MAX)
			return false;
		host = span_sub(text, 0, (size_t)colon);
		if (brackets && (host.len < 2 || host.ptr[host.len - 1] != ']'))
			return false;
		if (brackets)
			host = span_sub(host, 1, host.len - 1);
		if (!sys_addr_parse(host, &a) || brackets != (a.family == AF_INET6))
			return false;
	}
	*out = a;
	*out_port = (uint16_t)port;
	return true;
}

bool sys_prefix_parse(struct span text, struct sys_prefix *out)
{
	struct span head, tail;
	struct sys_prefix p = { 0 };
	uint64_t bits;
	if (!span_split(text, '/', &head, &tail) || !sys_addr_parse(head, &p.addr) || tail.len > 3 || !span_to_u64(tail,
		&bits) ||
	    bits > sys_addr_len(&p.addr) * 8 || (tail.len > 1 && tail.ptr[0] == '0'))
		return false;
	p.bits = (uint8_t)bits;
	*out = p;
	return true;
}

char *sys_addr_text(const struct sys_addr *a, char out[SYS_ADDR_TEXT])
{
	out[0] = 0;
	if (a->family)
		inet_ntop(a->family, a->b, out, SYS_ADDR_TEXT);
	return out;
}

char *sys_prefix_text(const struct sys_prefix *p, char out[SYS_ADDR_TEXT])
{
	sys_addr_text(&p->addr, out);
	size_t n = strlen(out);
	snprintf(out + n, SYS_ADDR_TEXT - n, "/%u", p->bits);
	return out;
}

bool sys_addr_eq(const struct sys_addr *a, const struct sys_addr *b)
{
	return a->family == b->family && (a->family == 0 || memcmp(a->b, b->b, sys_addr_len(a)) == 0);
}

bool sys_addr_zero(const struct sys_addr *a)
{
	static const uint8_t zero[16];
	return memcmp(a->b, zero, 16) == 0;
}

bool sys_addr_loopback(const struct sys_addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };
	return a->family == AF_INET ? a->b[0] == 127 : a->family == AF_INET6 && memcmp(a->b, one, 16) == 0;
}

struct sys_prefix sys_prefix_mask(struct sys_prefix p)
{
	unsigned len = sys_addr_len(&p.addr);
	for (unsigned i = 0; i < len; i++) {
		unsigned have = p.bits > i * 8 ? p.bits - i * 8 : 0;
		if (have < 8)
			p.addr.b[i] &= (uint8_t)(0xff00 >> have);
	}
	return p;
}

bool sys_prefix_has(const struct sys_prefix *p, const struct sys_addr *a)
{
	if (p->addr.family != a->family)
		return false;
	struct sys_prefix x = sys_prefix_mask((struct sys_prefix){ *a, p->bits });
	struct sys_prefix y = sys_prefix_mask(*p);
	return sys_addr_eq(&x.addr, &y.addr);
}

bool sys_prefix_overlaps(const struct sys_prefix *a, const struct sys_prefix *b)
{
	return a->bits <= b->bits ? sys_prefix_has(a, &b->addr) : sys_prefix_has(b, &a->addr);
}

uint64_t sys_prefix_size(const struct sys_prefix *p)
{
	unsigned host = sys_addr_len(&p->addr) * 8 - p->bits;
	return host >= 64 ? UINT64_MAX : UINT64_C(1) << host;
}

/* The last 8 bytes of an address (all 4 of AF_INET) as a number. */
static uint64_t low(const struct sys_addr *a)
{
	unsigned len = sys_addr_len(a), from = len > 8 ? len - 8 : 0;
	uint64_t v = 0;
	for (unsigned i = from; i < len; i++)
		v = v << 8 | a->b[i];
	return v;
}

struct sys_addr sys_prefix_at(const struct sys_prefix *p, uint64_t offset)
{
	struct sys_addr a = sys_prefix_mask(*p).addr;
	unsigned len = sys_addr_len(&a);
	uint64_t v = low(&a) + offset;
	for (unsigned i = 0; i < 8 && i < len; i++, v >>= 8)
		a.b[len - 1 - i] = (uint8_t)v;
	return a;
}

uint64_t sys_prefix_offset(const struct sys_prefix *p, const struct sys_addr *a)
{
	struct sys_addr base = sys_prefix_mask(*p).addr;
	return low(a) - low(&base);
}

socklen_t sys_addr_sock(const struct sys_addr *a, uint16_t port, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (a->family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, a->b, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, a->b, 16);
	return sizeof(*in6);
}

void sys_addr_from_sock(const struct sockaddr_storage *s, struct sys_addr *out, uint16_t *out_port)
{
	*out = (struct sys_addr){ 0 };
	*out_port = 0;
	if (s->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)s;
		out->family = AF_INET;
		memcpy(out->b, &in->sin_addr, 4);
		*out_port = ntohs(in->sin_port);
	} else if (s->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)s;
		out->family = AF_INET6;
		memcpy(out->b, &in6->sin6_addr, 16);
		*out_port = ntohs(in6->sin6_port);
	}
}

bool sys_mac_parse(struct span text, uint8_t out[6])
{
	uint8_t mac[6];
	if (text.len != 17)
		return false;
	for (unsigned i = 0; i < 6; i++) {
		int hi = hex_value(text.ptr[i * 3]), lo = hex_value(text.ptr[i * 3 + 1]);
		if (hi < 0 || lo < 0 || (i < 5 && text.ptr[i * 3 + 2] != text.ptr[2]))
			return false;
		mac[i] = (uint8_t)(hi << 4 | lo);
	}
	if (text.ptr[2] != ':' && text.ptr[2] != '-')
		return false;
	memcpy(out, mac, 6);
	return true;
}

char *sys_mac_text(const uint8_t mac[6], char out[18])
{
	snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return out;
}
