/* A block: number of pairs:32, then for each  length:32 name  length:32 value [0 value]...
 *
 * Both directions share one dictionary that the protocol defines (section 2.6.10.1): common words, each behind its
 * length, and a tail of text. It is put together here from the words; its checksum is what zlib asks for. */
#include <assert.h>
#include <zlib.h>
#include "http/http_spdy_block.h"

enum { DICTIONARY_BYTES = 1423 };

static const char *const words[] = {
	"options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding",
	"accept-language", "accept-ranges", "age", "allow", "authorization", "cache-control", "connection",
	"content-base", "content-encoding", "content-language", "content-length", "content-location", "content-md5",
	"content-range", "content-type", "date", "etag", "expect", "expires", "from", "host", "if-match",
	"if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified", "location",
	"max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "range", "referer", "retry-after",
	"server", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "vary", "via", "warning",
	"www-authenticate", "method", "get", "status", "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie",
	"keep-alive", "origin",
};
static const char tail[] =
	"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
	"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
	"403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
	"Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
	"chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
	"text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static void dictionary(uint8_t out[DICTIONARY_BYTES])
{
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		size_t len = strlen(words[i]);
		memset(out + n, 0, 3);
		out[n + 3] = (uint8_t)len;
		memcpy(out + n + 4, words[i], len);
		n += 4 + len;
	}
	assert(n + sizeof(tail) - 1 == DICTIONARY_BYTES);
	memcpy(out + n, tail, sizeof(tail) - 1);
}

struct http_spdy_deflate {
	z_stream z;
};
struct http_spdy_inflate {
	z_stream z;
};

void http_spdy_block_done(struct http_spdy_block *b)
{
	if (b->deflate)
		(void)deflateEnd(&b->deflate->z); /* complains of output not taken: there is none */
	if (b->inflate)
		(void)inflateEnd(&b->inflate->z);
	free(b->deflate);
	free(b->inflate);
	*b = (struct http_spdy_block){};
}

static z_stream *deflate_get(struct http_spdy_block *b)
{
	if (!b->deflate) {
		uint8_t dict[DICTIONARY_BYTES];
		b->deflate = mem_new(struct http_spdy_deflate);
		/* A window of 2 KB holds the dictionary; header blocks are small, and sessions many. */
		int rc = deflateInit2(&b->deflate->z, 6, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY);
		if (rc != Z_OK)
			abort(); /* out of memory */
		dictionary(dict);
		rc = deflateSetDictionary(&b->deflate->z, dict, sizeof(dict));
		assert(rc == Z_OK);
	}
	return &b->deflate->z;
}

static void u32_put(struct buf *out, size_t v)
{
	uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
	buf_add(out, b, 4);
}

static void lower_put(struct buf *out, struct span s)
{
	u32_put(out, s.len);
	for (size_t i = 0; i < s.len; i++)
		buf_chr(out, s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] + 32) : s.ptr[i]);
}

static bool named_before(const struct http_spdy_field *fields, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (span_eq_nocase(fields[k].name, fields[i].name))
			return true;
	return false;
}

static void block_plain(const struct http_spdy_field *fields, unsigned n, struct buf *out)
{
	unsigned pairs = 0;
	for (unsigned i = 0; i < n; i++)
		pairs += !named_before(fields, i);
	u32_put(out, pairs);
	for (unsigned i = 0; i < n; i++) {
		if (named_before(fields, i))
			continue;
		lower_put(out, fields[i].name);
		size_t len = 0, values = 0;
		for (unsigned k = i; k < n; k++)
			if (span_eq_nocase(fields[k].name, fields[i].name)) {
				len += fields[k].value.len;
				values++;
			}
		u32_put(out, len + values - 1);
		for (unsigned k = i; k < n; k++)
			if (span_eq_nocase(fields[k].name, fields[i].name)) {
				if (k > i)
					buf_chr(out, 0);
				buf_span_add(out, fields[k].value);
			}
	}
}

void http_spdy_block_write(struct http_spdy_block *b, const struct http_spdy_field *fields, unsigned n, struct buf *out)
{
	z_stream *z = deflate_get(b);
	auto_buf struct buf plain = {};
	block_plain(fields, n, &plain);
	z->next_in = (Bytef *)plain.ptr;
	z->avail_in = (uInt)plain.len;
	do {
		enum { ROOM = 512 };
		z->next_out = (Bytef *)buf_reserve(out, ROOM);
		z->avail_out = ROOM;
		int rc = deflate(z, Z_SYNC_FLUSH);
		assert(rc == Z_OK || rc == Z_BUF_ERROR);
		buf_commit(out, ROOM - z->avail_out);
	} while (z->avail_out == 0);
	assert(z->avail_in == 0);
}

bool http_spdy_block_inflate(struct http_spdy_block *b, struct span data, size_t limit, struct buf *plain)
{
	if (!b->inflate) {
		b->inflate = mem_new(struct http_spdy_inflate);
		if (inflateInit(&b->inflate->z) != Z_OK)
			abort(); /* out of memory */
	}
	z_stream *z = &b->inflate->z;
	buf_trunc(plain, 0);
	z->next_in = (Bytef *)data.ptr;
	z->avail_in = (uInt)data.len;
	for (;;) {
		size_t room = MIN(limit + 1 - plain->len, (size_t)4096);
		z->next_out = (Bytef *)buf_reserve(plain, room);
		z->avail_out = (uInt)room;
		int rc = inflate(z, Z_SYNC_FLUSH);
		buf_commit(plain, room - z->avail_out);
		if (rc == Z_NEED_DICT) {
			uint8_t dict[DICTIONARY_BYTES];
			dictionary(dict);
			/* Refuses a stream that asks for another dictionary. */
			if (inflateSetDictionary(z, dict, sizeof(dict)) != Z_OK)
				return false;
			continue;
		}
		if (plain->len > limit)
			return false;
		/* BUF_ERROR: everything was used up before this round. The stream itself must never end. */
		if (rc == Z_BUF_ERROR && z->avail_in == 0)
			return true;
		if (rc != Z_OK)
			return false;
	}
}

static bool u32_get(struct span *in, uint32_t *out)
{
	if (in->len < 4)
		return false;
	const uint8_t *p = (const uint8_t *)in->ptr;
	*out = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	*in = span_from(*in, 4);
	return true;
}

static bool string_get(struct span *in, struct span *out)
{
	uint32_t len;
	if (!u32_get(in, &len) || len > in->len)
		return false;
	*out = span_make(in->ptr, len);
	*in = span_from(*in, len);
	return true;
}

static bool name_good(struct span name)
{
	for (size_t i = 0; i < name.len; i++)
		if ((uint8_t)name.ptr[i] <= ' ' || name.ptr[i] == 0x7f || (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z'))
			return false;
	return name.len > 0;
}

int http_spdy_block_parse(struct span plain, struct http_spdy_field **out_fields, unsigned *out_n)
{
	uint32_t pairs;
	/* A pair takes at least 8 bytes: a number of pairs that cannot be true ends here. */
	if (!u32_get(&plain, &pairs) || pairs > plain.len / 8)
		return -1;
	auto_free struct http_spdy_field *fields = NULL;
	auto_map struct map names = {};
	unsigned n = 0, cap = 0;
	for (uint32_t i = 0; i < pairs; i++) {
		struct span name, value, one;
		if (!string_get(&plain, &name) || !string_get(&plain, &value) || !name_good(name) ||
		    map_put(&names, name, (void *)name.ptr))
			return -1;
		do {
			(void)span_split(value, 0, &one, &value);
			MEM_GROW(fields, n, cap);
			fields[n++] = (struct http_spdy_field){ name, one };
		} while (value.ptr && value.len);
	}
	if (plain.len)
		return -1;
	*out_fields = take(&fields);
	*out_n = n;
	return 0;
}
