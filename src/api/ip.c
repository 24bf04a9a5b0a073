/* Addresses: parsing as Go's net.ParseIP with leading zeros allowed (ParseIPSloppy of k8s.io/utils/net), printing as
 * RFC 5952, and the checks of IP and CIDR fields. Declared in names.h. */
#include "api/gotext.h"
#include "api/names.h"

static bool v4_parse(struct span s, uint8_t out[4], bool *sloppy)
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned v = 0, n = 0;
		if (i && (!s.len || s.ptr[0] != '.'))
			return false;
		if (i)
			s = span_from(s, 1);
		for (; n < s.len && s.ptr[n] >= '0' && s.ptr[n] <= '9'; n++) {
			v = v * 10 + (unsigned)(s.ptr[n] - '0');
			if (v > 255)
				return false;
		}
		if (!n)
			return false;
		if (n > 1 && s.ptr[0] == '0')
			*sloppy = true;
		out[i] = (uint8_t)v;
		s = span_from(s, n);
	}
	return s.len == 0;
}

static bool v6_parse(struct span s, uint8_t out[16], bool *sloppy)
{
	int ellipsis = -1;
	unsigned at = 0;
	memset(out, 0, 16);
	if (span_starts(s, SPAN("::"))) {
		ellipsis = 0;
		s = span_from(s, 2);
		if (!s.len)
			return true;
	}
	while (at < 16) {
		unsigned v = 0;
		size_t n = 0;
		for (; n < s.len && hex_value(s.ptr[n]) >= 0; n++) {
			v = v * 16 + (unsigned)hex_value(s.ptr[n]);
			if (v > 0xffff)
				return false;
		}
		if (!n)
			return false;
		if (n < s.len && s.ptr[n] == '.') {
			if ((ellipsis < 0 && at != 12) || at + 4 > 16 || !v4_parse(s, out + at, sloppy))
				return false;
			at += 4;
			s = SPAN_EMPTY;
			break;
		}
		if (n > 4) /* Go's netip refuses 00001, its net.ParseIP took it */
			*sloppy = true;
		out[at++] = (uint8_t)(v >> 8);
		out[at++] = (uint8_t)v;
		s = span_from(s, n);
		if (!s.len)
			break;
		if (s.ptr[0] != ':' || s.len == 1)
			return false;
		s = span_from(s, 1);
		if (s.ptr[0] == ':') {
			if (ellipsis >= 0)
				return false;
			ellipsis = (int)at;
			s = span_from(s, 1);
			if (!s.len)
				break;
		}
	}
	if (s.len)
		return false;
	if (at < 16) {
		if (ellipsis < 0)
			return false;
		unsigned tail = at - (unsigned)ellipsis, gap = 16 - at;
		memmove(out + ellipsis + gap, out + ellipsis, tail);
		memset(out + ellipsis, 0, gap);
		return true;
	}
	return ellipsis < 0; /* "::" must stand for at least one group */
}

bool api_ip_parse(struct span s, struct api_ip *out)
{
	struct api_ip ip = { .len = 4 };
	if (span_chr(s, ':') < 0) {
		if (!v4_parse(s, ip.bytes, &ip.sloppy))
			return false;
	} else {
		static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
		if (!v6_parse(s, ip.bytes, &ip.sloppy))
			return false;
		ip.len = 16;
		if (memcmp(ip.bytes, mapped, 12) == 0) {
			memmove(ip.bytes, ip.bytes + 12, 4);
			memset(ip.bytes + 4, 0, 12);
			ip.len = 4;
			ip.mapped = true;
		}
	}
	*out = ip;
	return true;
}

bool api_cidr_parse(struct span s, struct api_ip *out, unsigned *out_bits)
{
	struct span address, bits_text;
	struct api_ip ip;
	uint64_t bits;
	if (!span_split(s, '/', &address, &bits_text) || !api_ip_parse(address, &ip))
		return false;
	if (bits_text.len && bits_text.ptr[0] == '+')
		return false;
	if (!span_to_u64(bits_text, &bits) || bits > (ip.mapped ? 128 : ip.len * 8))
		return false;
	if (ip.mapped) { /* a prefix of the IPv6 form that cuts into ::ffff: has no IPv4 reading */
		if (bits < 96) {
			memmove(ip.bytes + 12, ip.bytes, 4);
			memset(ip.bytes, 0, 10);
			ip.bytes[10] = ip.bytes[11] = 0xff;
			ip.len = 16;
		} else {
			bits -= 96;
		}
	}
	if (bits_text.len > 1 && bits_text.ptr[0] == '0')
		ip.sloppy = true;
	*out = ip;
	*out_bits = (unsigned)bits;
	return true;
}

size_t api_ip_print(const struct api_ip *ip, char out[46])
{
	if (ip->len == 4)
		return (size_t)snprintf(out, 46, "%u.%u.%u.%u", ip->bytes[0], ip->bytes[1], ip->bytes[2], ip->bytes[3]);
	unsigned best = 8, best_len = 1; /* the longest run of at least two zero groups, the first of equals */
	for (unsigned i = 0; i < 8;) {
		unsigned n = 0;
		while (i + n < 8 && !ip->bytes[2 * (i + n)] && !ip->bytes[2 * (i + n) + 1])
			n++;
		if (n > best_len) {
			best = i;
			best_len = n;
		}
		i += n ? n : 1;
	}
	size_t len = 0;
	for (unsigned i = 0; i < 8; i++) {
		if (i == best) {
			out[len++] = ':';
			out[len++] = ':';
			i += best_len - 1;
			continue;
		}
		if (i && i != best + best_len)
			out[len++] = ':';
		len += (size_t)snprintf(out + len, 46 - len, "%x", ip->bytes[2 * i] << 8 | ip->bytes[2 * i + 1]);
	}
	out[len] = 0;
	return len;
}

bool api_ip_mask(struct api_ip *ip, unsigned bits)
{
	bool cleared = false;
	for (unsigned i = 0; i < ip->len; i++) {
		unsigned keep = bits >= 8 * (i + 1) ? 8 : bits > 8 * i ? bits - 8 * i : 0;
		uint8_t kept = ip->bytes[i] & (uint8_t)(0xff00 >> keep);
		cleared |= kept != ip->bytes[i];
		ip->bytes[i] = kept;
	}
	return cleared;
}

static void complain(struct api_complaints *out, const char *text)
{
	out->text[out->n++] = text; /* at most three here */
}

static void complain_canonical(struct arena *a, struct api_complaints *out, struct span text)
{
	complain(out, arena_printf(a, "must be in canonical form (\"%.*s\")", SPAN_ARG(text)).ptr);
}

unsigned api_ip_check(struct arena *a, struct span s, enum api_ip_mode mode, struct api_complaints *out)
{
	struct api_ip ip;
	char text[46];
	*out = (struct api_complaints){};
	if (!api_ip_parse(s, &ip)) {
		complain(out, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
		return out->n;
	}
	if (mode == API_IP_LEGACY)
		return 0;
	if (ip.sloppy)
		complain(out, "must not have leading 0s");
	else if (ip.mapped)
		complain(out, "must not be an IPv4-mapped IPv6 address");
	else if (mode == API_IP_CANONICAL && !span_eq(s, span_make(text, api_ip_print(&ip, text))))
		complain_canonical(a, out, span_of(text));
	return out->n;
}

unsigned api_cidr_check(struct arena *a, struct span s, enum api_ip_mode mode, struct api_complaints *out)
{
	struct api_ip ip;
	unsigned bits;
	char text[64];
	*out = (struct api_complaints){};
	if (!api_cidr_parse(s, &ip, &bits)) {
		complain(out, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
		return out->n;
	}
	if (mode == API_IP_LEGACY)
		return 0;
	if (ip.sloppy)
		complain(out, "must not have leading 0s in IP or prefix length");
	else if (ip.mapped)
		complain(out, "must not have an IPv4-mapped IPv6 address");
	else if (api_ip_mask(&ip, bits))
		complain(out, "must not have bits set beyond the prefix length");
	if (out->n || mode != API_IP_CANONICAL)
		return out->n;
	size_t n = api_ip_print(&ip, text);
	n += (size_t)snprintf(text + n, sizeof(text) - n, "/%u", bits);
	if (!span_eq(s, span_make(text, n)))
		complain_canonical(a, out, span_make(text, n));
	return out->n;
}
