/* Names are read in one forward pass; a compression pointer must lead to where nothing was read yet before it (section 4.1.4
 * says "prior occurrence"), so following them ends after at most one step per byte, and after 128 in any case. */
#include "dnsmsg/dnsmsg.h"

#define POINTERS_MAX 128

static unsigned get16(const void *at)
{
	const uint8_t *p = at;
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const void *at)
{
	return (uint32_t)get16(at) << 16 | get16((const uint8_t *)at + 2);
}

static void put16(uint8_t *at, unsigned v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void put32(uint8_t *at, uint32_t v)
{
	put16(at, v >> 16);
	put16(at + 2, v & 0xffff);
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* ---- names */

/* The name at *at, lower case, pointers followed; *at goes behind it. */
static bool read_name(struct span p, size_t *at, bool pointers, struct dnsmsg_name *out)
{
	size_t pos = *at, limit = *at, n = 0;
	bool jumped = false;
	for (unsigned jumps = 0; pos < p.len;) {
		unsigned len = (uint8_t)p.ptr[pos];
		if (len >= 0xc0) {
			if (!pointers || p.len - pos < 2 || ++jumps > POINTERS_MAX)
				return false;
			size_t to = get16(p.ptr + pos) & 0x3fff;
			if (!jumped)
				*at = pos + 2;
			jumped = true;
			if (to >= limit)
				return false;
			pos = limit = to;
			continue;
		}
		if (len > 63 || len >= p.len - pos || n + 1 + len + (len > 0) > DNSMSG_NAME_MAX)
			return false;
		out->b[n++] = (uint8_t)len;
		for (unsigned i = 1; i <= len; i++)
			out->b[n++] = lower((uint8_t)p.ptr[pos + i]);
		pos += len + 1;
		if (len == 0) {
			out->len = (uint8_t)n;
			if (!jumped)
				*at = pos;
			return true;
		}
	}
	return false;
}

static bool skip_name(struct span p, size_t *at)
{
	for (size_t pos = *at; pos < p.len;) {
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
			return true;
		}
	}
	return false;
}

bool dnsmsg_name_push(struct dnsmsg_name *name, struct span label)
{
	if (!label.len || label.len > 63 || name->len + label.len + 1 > DNSMSG_NAME_MAX)
		return false;
	memmove(name->b + label.len + 1, name->b, name->len);
	name->b[0] = (uint8_t)label.len;
	for (size_t i = 0; i < label.len; i++)
		name->b[i + 1] = lower((uint8_t)label.ptr[i]);
	name->len = (uint8_t)(name->len + label.len + 1);
	return true;
}

bool dnsmsg_name_parse(struct span text, struct dnsmsg_name *out)
{
	struct dnsmsg_name n = { .len = 1 };
	if (span_ends(text, SPAN(".")))
		text.len--;
	while (text.len) {
		ptrdiff_t dot = span_rchr(text, '.');
		if (!dnsmsg_name_push(&n, span_from(text, (size_t)(dot + 1))))
			return false;
		if (dot == 0)
			return false; /* an empty first label */
		text.len = dot < 0 ? 0 : (size_t)dot;
	}
	*out = n;
	return true;
}

int dnsmsg_name_within(const struct dnsmsg_name *name, const struct dnsmsg_name *zone)
{
	unsigned at = 0;
	while (name->len - at > zone->len)
		at += name->b[at] + 1u;
	return name->len - at == zone->len && memcmp(name->b + at, zone->b, zone->len) == 0 ? (int)at : -1;
}

void dnsmsg_name_reverse(const struct sys_addr *a, struct dnsmsg_name *out)
{
	char label[4];
	(void)dnsmsg_name_parse(a->family == AF_INET ? SPAN("in-addr.arpa") : SPAN("ip6.arpa"), out);
	for (unsigned i = 0; i < sys_addr_len(a); i++) {
		if (a->family == AF_INET) {
			int n = snprintf(label, sizeof(label), "%u", a->b[i]);
			(void)dnsmsg_name_push(out, span_make(label, (size_t)n));
		} else {
			(void)dnsmsg_name_push(out, span_make(&"0123456789abcdef"[a->b[i] >> 4], 1));
			(void)dnsmsg_name_push(out, span_make(&"0123456789abcdef"[a->b[i] & 15], 1));
		}
	}
}

bool dnsmsg_name_text(const struct dnsmsg_name *name, char out[DNSMSG_NAME_MAX])
{
	size_t n = 0;
	for (unsigned at = 0; name->b[at]; at += name->b[at] + 1u) {
		if (n)
			out[n++] = '.';
		for (unsigned i = 1; i <= name->b[at]; i++) {
			char c = (char)name->b[at + i];
			if (c == '.' || c <= ' ' || c > '~')
				return false;
			out[n++] = c;
		}
	}
	out[n] = 0;
	return true;
}

bool dnsmsg_name_address(const struct dnsmsg_name *name, struct sys_addr *out)
{
	struct dnsmsg_name again;
	struct sys_addr a = { .family = AF_INET6 };
	unsigned at = 0;
	if (name->len == 16 * 4 + sizeof("\3ip6\4arpa")) {
		for (unsigned i = 0; i < 32; i++, at += 2) {
			int v = name->b[at] == 1 ? hex_value((char)name->b[at + 1]) : -1;
			if (v < 0)
				return false;
			a.b[15 - i / 2] |= (uint8_t)(i % 2 ? v << 4 : v);
		}
	} else {
		a.family = AF_INET;
		for (unsigned i = 4; i-- && name->b[at]; at += name->b[at] + 1u) {
			uint64_t v;
			if (!span_to_u64(span_make(name->b + at + 1, name->b[at]), &v) || v > 255)
				return false;
			a.b[i] = (uint8_t)v;
		}
	}
	/* Whatever else the name may be (another zone, "010") comes out here. */
	dnsmsg_name_reverse(&a, &again);
	if (!span_eq(dnsmsg_name_span(name), dnsmsg_name_span(&again)))
		return false;
	*out = a;
	return true;
}

/* ---- questions */

/* One record: *at goes behind it. rdata is inside the packet. */
static bool next_record(struct span p, size_t *at, size_t *out_fixed)
{
	if (!skip_name(p, at) || p.len - *at < 10)
		return false;
	*out_fixed = *at;
	size_t len = get16(p.ptr + *at + 8);
	*at += 10;
	if (len > p.len - *at)
		return false;
	*at += len;
	return true;
}

int dnsmsg_parse(struct span p, struct dnsmsg_question *q)
{
	*q = (struct dnsmsg_question){ .udp_max = 512 };
	if (p.len < DNSMSG_HEAD || (get16(p.ptr + 2) & DNSMSG_QR))
		return -1;
	size_t at = DNSMSG_HEAD, fixed;
	q->id = (uint16_t)get16(p.ptr);
	q->flags = (uint16_t)get16(p.ptr + 2);
	if (q->flags & 0x7800)
		return DNSMSG_NOTIMP;
	if (get16(p.ptr + 4) != 1 || !read_name(p, &at, false, &q->name) || p.len - at < 4)
		return DNSMSG_FORMERR;
	q->type = (uint16_t)get16(p.ptr + at);
	q->class = (uint16_t)get16(p.ptr + at + 2);
	at += 4;
	unsigned records = get16(p.ptr + 6) + get16(p.ptr + 8) + get16(p.ptr + 10);
	for (unsigned i = 0; i < records; i++) {
		size_t owner = at;
		if (!next_record(p, &at, &fixed))
			return DNSMSG_FORMERR;
		if (get16(p.ptr + fixed) != DNSMSG_OPT)
			continue;
		/* RFC 6891 section 6.1.1: one, and its owner is the root. 6.1.2: the class is the size. */
		if (q->edns || p.ptr[owner])
			return DNSMSG_FORMERR;
		q->edns = true;
		q->udp_max = MIN(MAX((size_t)get16(p.ptr + fixed + 2), (size_t)512), (size_t)DNSMSG_UDP_MAX);
		q->dnssec = p.ptr[fixed + 6] & 0x80;
		q->future = p.ptr[fixed + 5] != 0;
	}
	q->end = DNSMSG_HEAD + q->name.len + 4u;
	return q->future ? DNSMSG_BADVERS : 0;
}

/* ---- answers */

void dnsmsg_begin(struct dnsmsg_out *o, struct span packet, const struct dnsmsg_question *q, unsigned rcode, unsigned flags)
{
	memset(o->ptr, 0, DNSMSG_HEAD);
	put16(o->ptr, q->id);
	/* Opcode, RD and CD as asked. */
	put16(o->ptr + 2, DNSMSG_QR | DNSMSG_RA | flags | (q->flags & (0x7800 | DNSMSG_RD | DNSMSG_CD)) | (rcode & 15));
	o->len = DNSMSG_HEAD;
	if (q->edns)
		o->max -= DNSMSG_OPT_LEN;
	if (!q->end)
		return;
	put16(o->ptr + 4, 1);
	memcpy(o->ptr + DNSMSG_HEAD, packet.ptr + DNSMSG_HEAD, q->end - DNSMSG_HEAD);
	o->len = q->end;
}

void dnsmsg_rcode_set(struct dnsmsg_out *o, unsigned rcode)
{
	o->ptr[3] = (uint8_t)((o->ptr[3] & 0xf0) | (rcode & 15));
}

static void counted(struct dnsmsg_out *o, enum dnsmsg_section s)
{
	uint8_t *count = o->ptr + 4 + 2 * s;
	put16(count, get16(count) + 1);
}

/* Room for len bytes, or NULL. */
static uint8_t *room(struct dnsmsg_out *o, enum dnsmsg_section s, size_t len)
{
	if (len <= o->max - o->len)
		return o->ptr + o->len;
	if (s != DNSMSG_ADDITIONAL) /* RFC 2181 section 9: TC only where something required is missing */
		o->ptr[2] |= DNSMSG_TC >> 8;
	return NULL;
}

bool dnsmsg_prepared(struct dnsmsg_out *o, enum dnsmsg_section s, size_t owner_at, const uint8_t *record, size_t len)
{
	uint8_t *at = room(o, s, len);
	if (!at || owner_at > 0x3fff)
		return false;
	memcpy(at, record, len);
	put16(at, 0xc000 | (unsigned)owner_at);
	o->len += len;
	counted(o, s);
	return true;
}

bool dnsmsg_record(struct dnsmsg_out *o, enum dnsmsg_section s, size_t owner_at, uint16_t type, uint32_t ttl_s, const void *data,
		   size_t len)
{
	uint8_t *at = room(o, s, 12 + len);
	if (!at || owner_at > 0x3fff)
		return false;
	put16(at, 0xc000 | (unsigned)owner_at);
	put16(at + 2, type);
	put16(at + 4, 1);
	put32(at + 6, ttl_s);
	put16(at + 10, (unsigned)len);
	memcpy(at + 12, data, len);
	o->len += 12 + len;
	counted(o, s);
	return true;
}

/* How many bytes of a type's data stand before a name that may be compressed; -1: none is (RFC 3597 section 4: only in the
 * types of RFC 1035; SRV, because some compress it all the same). */
static int name_behind(unsigned type)
{
	switch (type) {
	case DNSMSG_NS:
	case DNSMSG_CNAME:
	case DNSMSG_PTR: return 0;
	case DNSMSG_MX: return 2;
	case DNSMSG_SRV: return 6;
	default: return -1;
	}
}

bool dnsmsg_import(struct dnsmsg_out *o, struct span p)
{
	size_t at = DNSMSG_HEAD;
	if (p.len < DNSMSG_HEAD || get16(p.ptr + 4) != 1 || !skip_name(p, &at) || p.len - at < 4)
		return true;
	at += 4;
	for (unsigned n = get16(p.ptr + 6); n; n--) {
		struct dnsmsg_name owner, target = { 0 };
		size_t start = at, fixed;
		if (!next_record(p, &at, &fixed) || !read_name(p, &start, true, &owner))
			return true;
		unsigned type = get16(p.ptr + fixed), len = get16(p.ptr + fixed + 8);
		int before = name_behind(type);
		size_t name_at = fixed + 10 + (size_t)MAX(before, 0);
		if (type == DNSMSG_SOA || (before >= 0 && (len <= (unsigned)before || !read_name(p, &name_at, true, &target))))
			continue;
		size_t plain = before < 0 ? len : (size_t)before, whole = plain + target.len;
		uint8_t *to = room(o, DNSMSG_ANSWER, owner.len + 10 + whole);
		if (!to)
			return false;
		memcpy(to, owner.b, owner.len);
		to += owner.len;
		memcpy(to, p.ptr + fixed, 8);
		put16(to + 8, (unsigned)whole);
		memcpy(to + 10, p.ptr + fixed + 10, plain);
		memcpy(to + 10 + plain, target.b, target.len);
		o->len += owner.len + 10 + whole;
		counted(o, DNSMSG_ANSWER);
	}
	return true;
}

static void opt(uint8_t *at, unsigned extended, bool dnssec)
{
	memset(at, 0, DNSMSG_OPT_LEN);
	put16(at + 1, DNSMSG_OPT);
	put16(at + 3, DNSMSG_UDP_MAX);
	at[5] = (uint8_t)extended;
	at[7] = dnssec ? 0x80 : 0;
}

void dnsmsg_end(struct dnsmsg_out *o, const struct dnsmsg_question *q)
{
	if (!q->edns)
		return;
	o->max += DNSMSG_OPT_LEN; /* begin kept it free */
	opt(o->ptr + o->len, q->future ? DNSMSG_BADVERS >> 4 : 0, q->dnssec);
	o->len += DNSMSG_OPT_LEN;
	counted(o, DNSMSG_ADDITIONAL);
}

/* ---- asking */

size_t dnsmsg_query(uint8_t *out, uint16_t id, const struct dnsmsg_name *name, uint16_t type, bool dnssec, bool cd)
{
	memset(out, 0, DNSMSG_HEAD);
	put16(out, id);
	put16(out + 2, DNSMSG_RD | (cd ? DNSMSG_CD : 0));
	put16(out + 4, 1);
	put16(out + 10, 1);
	uint8_t *at = out + DNSMSG_HEAD;
	memcpy(at, name->b, name->len);
	at += name->len;
	put16(at, type);
	put16(at + 2, 1);
	opt(at + 4, 0, dnssec);
	return (size_t)(at + 4 + DNSMSG_OPT_LEN - out);
}

int dnsmsg_rcode(struct span p, uint16_t id)
{
	return p.len < DNSMSG_HEAD || get16(p.ptr) != id || !(get16(p.ptr + 2) & DNSMSG_QR) ? -1 : (int)(get16(p.ptr + 2) & 15);
}

bool dnsmsg_reply_parse(struct span p, uint16_t id, const struct dnsmsg_name *name, uint16_t type, struct dnsmsg_reply *r)
{
	struct dnsmsg_name asked;
	size_t at = DNSMSG_HEAD, fixed;
	*r = (struct dnsmsg_reply){ .ttl_s = UINT32_MAX };
	if (p.len > DNSMSG_MAX || dnsmsg_rcode(p, id) < 0 || get16(p.ptr + 4) != 1 ||
	    !read_name(p, &at, false, &asked) || p.len - at < 4 ||
	    !span_eq(dnsmsg_name_span(&asked), dnsmsg_name_span(name)) || get16(p.ptr + at) != type || get16(p.ptr + at + 2) != 1)
		return false;
	r->question_end = at += 4;
	r->rcode = get16(p.ptr + 2) & 15;
	r->truncated = get16(p.ptr + 2) & DNSMSG_TC;
	r->len = at;
	if (r->truncated)
		return true; /* what is there may end anywhere; TCP brings the rest */
	unsigned answers = get16(p.ptr + 6), authority = get16(p.ptr + 8), additional = get16(p.ptr + 10);
	bool asked_for = false, soa = false;
	uint32_t negative_s = 0;
	for (unsigned i = 0; i < answers + authority + additional; i++) {
		if (!next_record(p, &at, &fixed))
			return false;
		unsigned kind = get16(p.ptr + fixed), len = get16(p.ptr + fixed + 8);
		uint32_t ttl = get32(p.ptr + fixed + 4);
		if (kind == DNSMSG_OPT && i < answers + authority)
			return false;
		if (kind == DNSMSG_OPT)
			break;
		if (ttl > INT32_MAX) /* RFC 2181 section 8 */
			ttl = 0;
		r->ttl_s = MIN(r->ttl_s, ttl);
		asked_for = asked_for || (i < answers && (kind == type || type == DNSMSG_ANY));
		if (kind == DNSMSG_SOA && i >= answers && i < answers + authority && len >= 22) {
			soa = true;
			negative_s = MIN(ttl, get32(p.ptr + fixed + 10 + len - 4));
		}
		r->n_additional += i >= answers + authority;
		r->len = at;
	}
	r->negative = r->rcode == DNSMSG_NXDOMAIN || (r->rcode == DNSMSG_OK && !asked_for);
	if (r->negative)
		r->ttl_s = soa ? MIN(r->ttl_s, negative_s) : 0;
	else if (r->ttl_s == UINT32_MAX)
		r->ttl_s = 0;
	return true;
}

void dnsmsg_age(uint8_t *packet, size_t len, uint32_t age_s)
{
	struct span p = span_make(packet, len);
	size_t at = DNSMSG_HEAD, fixed;
	if (len < DNSMSG_HEAD || !skip_name(p, &at) || len - at < 4)
		return;
	at += 4;
	for (unsigned n = get16(packet + 6) + get16(packet + 8) + get16(packet + 10); n && next_record(p, &at, &fixed); n--) {
		uint32_t ttl = get32(packet + fixed + 4);
		put32(packet + fixed + 4, ttl > age_s ? ttl - age_s : 0);
	}
}

void dnsmsg_adopt(struct dnsmsg_out *o, struct span packet, const struct dnsmsg_question *q, struct span answer)
{
	unsigned flags = get16(answer.ptr + 2);
	/* RA and AD as the server said; AA is not ours to say. */
	dnsmsg_begin(o, packet, q, flags & 15, flags & 0x0020);
	if (answer.len < q->end || answer.len - q->end > o->max - o->len) {
		o->ptr[2] |= DNSMSG_TC >> 8;
	} else {
		memcpy(o->ptr + 6, answer.ptr + 6, 6);
		memcpy(o->ptr + q->end, answer.ptr + q->end, answer.len - q->end);
		o->len = answer.len;
	}
	dnsmsg_end(o, q);
}
