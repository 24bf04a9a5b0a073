#include "base/base.h"

static const char hex_digits[] = "0123456789abcdef";

void hex_add(struct buf *out, const void *data, size_t len)
{
	const unsigned char *p = data;
	for (size_t i = 0; i < len; i++) {
		buf_chr(out, hex_digits[p[i] >> 4]);
		buf_chr(out, hex_digits[p[i] & 15]);
	}
}

int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool hex_parse(struct span s, void *out_data)
{
	unsigned char *p = out_data;
	if (s.len % 2)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (hex_value(s.ptr[i]) < 0)
			return false;
	for (size_t i = 0; i < s.len; i += 2)
		*p++ = (unsigned char)(hex_value(s.ptr[i]) << 4 | hex_value(s.ptr[i + 1]));
	return true;
}

void text_uuid(const uint8_t random[16], char out[37])
{
	uint8_t b[16];
	memcpy(b, random, 16);
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = hex_digits[b[i] >> 4];
		*out++ = hex_digits[b[i] & 15];
	}
	*out = 0;
}

static const char base64_alphabet[2][65] = {
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

static inline bool is_url(enum base64_kind kind)
{
	return kind == BASE64_URL || kind == BASE64_URL_RAW;
}
static inline bool is_padded(enum base64_kind kind)
{
	return kind == BASE64_STD || kind == BASE64_URL;
}

void base64_add(struct buf *out, enum base64_kind kind, const void *data, size_t len)
{
	const char *alphabet = base64_alphabet[is_url(kind)];
	const unsigned char *p = data;
	size_t full = len / 3 * 3, need = len / 3 * 4 + 4;
	char *to = buf_reserve(out, need), *start = to;
	if (!to)
		return;
	for (size_t i = 0; i < full; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
		*to++ = alphabet[v >> 18];
		*to++ = alphabet[v >> 12 & 63];
		*to++ = alphabet[v >> 6 & 63];
		*to++ = alphabet[v & 63];
	}
	size_t left = len - full;
	if (left) {
		uint32_t v = (uint32_t)p[full] << 16 | (left == 2 ? (uint32_t)p[full + 1] << 8 : 0);
		*to++ = alphabet[v >> 18];
		*to++ = alphabet[v >> 12 & 63];
		if (left == 2)
			*to++ = alphabet[v >> 6 & 63];
		if (is_padded(kind)) {
			*to++ = '=';
			if (left == 1)
				*to++ = '=';
		}
	}
	buf_commit(out, (size_t)(to - start));
}

int base64_digit(char c, bool url)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (url ? '-' : '+'))
		return 62;
	if (c == (url ? '_' : '/'))
		return 63;
	return -1;
}

bool base64_parse(struct buf *out, enum base64_kind kind, struct span s)
{
	size_t before = out->len;
	uint32_t v = 0;
	unsigned n = 0, pads = 0;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		if (c == '\r' || c == '\n')
			continue;
		if (c == '=' && is_padded(kind)) {
			if (++pads > 2 || n % 4 < 2)
				goto bad;
			continue;
		}
		int digit = base64_digit(c, is_url(kind));
		if (digit < 0 || pads)
			goto bad;
		v = v << 6 | (uint32_t)digit;
		n++;
		if (n % 4 == 0) {
			const char three[3] = { (char)(v >> 16), (char)(v >> 8), (char)v };
			buf_add(out, three, 3);
			v = 0;
		}
	}
	unsigned left = n % 4;
	if (left == 1 || (is_padded(kind) ? (left + pads) % 4 != 0 || (left == 0 && pads) : pads != 0))
		goto bad;
	if (left == 2)
		buf_chr(out, (char)(v >> 4));
	if (left == 3) {
		buf_chr(out, (char)(v >> 10));
		buf_chr(out, (char)(v >> 2));
	}
	return !buf_overflowed(out);
bad:
	buf_trunc(out, before);
	return false;
}

size_t utf8_next(struct span s, uint32_t *out_code)
{
	if (!s.len)
		return 0;
	const unsigned char *p = (const unsigned char *)s.ptr;
	unsigned char c = p[0];
	if (c < 0x80) {
		*out_code = c;
		return 1;
	}
	size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	if (c < 0xc2 || c > 0xf4 || s.len < n)
		return 0;
	uint32_t code = c & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if ((n == 3 && (code < 0x800 || (code >= 0xd800 && code <= 0xdfff))) ||
	    (n == 4 && (code < 0x10000 || code > 0x10ffff)))
		return 0;
	*out_code = code;
	return n;
}

bool utf8_valid(struct span s)
{
	while (s.len) {
		/* Most text is ASCII: eight bytes at a time. */
		uint64_t word;
		while (s.len >= 8 && (memcpy(&word, s.ptr, 8), (word & UINT64_C(0x8080808080808080)) == 0))
			s = span_from(s, 8);
		if (!s.len)
			break;
		uint32_t code;
		size_t n = utf8_next(s, &code);
		if (!n)
			return false;
		s = span_from(s, n);
	}
	return true;
}

void utf8_add(struct buf *out, uint32_t code)
{
	if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		code = 0xfffd;
	char p[4];
	size_t n = 0;
	if (code < 0x80) {
		p[n++] = (char)code;
	} else if (code < 0x800) {
		p[n++] = (char)(0xc0 | code >> 6);
		p[n++] = (char)(0x80 | (code & 0x3f));
	} else if (code < 0x10000) {
		p[n++] = (char)(0xe0 | code >> 12);
		p[n++] = (char)(0x80 | (code >> 6 & 0x3f));
		p[n++] = (char)(0x80 | (code & 0x3f));
	} else {
		p[n++] = (char)(0xf0 | code >> 18);
		p[n++] = (char)(0x80 | (code >> 12 & 0x3f));
		p[n++] = (char)(0x80 | (code >> 6 & 0x3f));
		p[n++] = (char)(0x80 | (code & 0x3f));
	}
	buf_add(out, p, n);
}

bool percent_parse(struct buf *out, struct span s, bool plus_is_space)
{
	size_t before = out->len;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		if (c == '%') {
			unsigned char byte;
			if (s.len - i < 3 || !hex_parse(span_sub(s, i + 1, i + 3), &byte)) {
				buf_trunc(out, before);
				return false;
			}
			buf_chr(out, (char)byte);
			i += 2;
		} else {
			buf_chr(out, c == '+' && plus_is_space ? ' ' : c);
		}
	}
	return true;
}

void percent_add(struct buf *out, struct span s, const char *keep)
{
	static const char digits[] = "0123456789ABCDEF";
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
			     c == '.' || c == '_' || c == '~' || (keep && c && strchr(keep, c));
		if (plain) {
			buf_chr(out, (char)c);
		} else {
			buf_chr(out, '%');
			buf_chr(out, digits[c >> 4]);
			buf_chr(out, digits[c & 15]);
		}
	}
}

bool query_get(struct span query, const char *name, struct buf *out)
{
	struct span part, key, value;
	while (span_cut(&query, '&', &part)) {
		span_split(part, '=', &key, &value);
		auto_buf struct buf decoded = {};
		if (!percent_parse(&decoded, key, true) || !span_is(buf_span(&decoded), name))
			continue;
		return percent_parse(out, value, true);
	}
	return false;
}
