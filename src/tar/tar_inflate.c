/* Plain bytes from a stream that may be compressed.
 *
 * One engine is open at a time: zlib, ISA-L, zstd, or one of tar_other.c. All are driven the same way: `in` is what is left of
 * the last compressed piece, `out` a buffer of ours that is lent to whoever pulls.
 *
 * ISA-L is a shared object that only unpacking needs, so it is opened at first use and never linked: a program
 * that unpacks nothing does not load it, and a machine without it unpacks through zlib. */
#include <dlfcn.h>
#include <isa-l/igzip_lib.h>
#include <zlib.h>
#include <zstd.h>

#include "tar/private.h"

enum { WINDOW_LOG_MAX = 27 };

static struct {
	pthread_once_t once;
	atomic_bool off;
	bool there;
	__typeof__(&isal_inflate_init) init;
	__typeof__(&isal_inflate_reset) reset;
	__typeof__(&isal_inflate) inflate;
} isal = { .once = PTHREAD_ONCE_INIT };

static void isal_open(void)
{
	void *lib = dlopen("libisal.so.2", RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return;
	isal.init = (__typeof__(isal.init))dlsym(lib, "isal_inflate_init");
	isal.reset = (__typeof__(isal.reset))dlsym(lib, "isal_inflate_reset");
	isal.inflate = (__typeof__(isal.inflate))dlsym(lib, "isal_inflate");
	isal.there = isal.init && isal.reset && isal.inflate;
}

bool tar_isal_usable(void)
{
	pthread_once(&isal.once, isal_open);
	return isal.there && !atomic_load(&isal.off);
}

void tar_isal_set(bool on)
{
	atomic_store(&isal.off, !on);
}

const char *tar_format_name(enum tar_format f)
{
	static const char *const names[TAR_FORMAT_COUNT] = { "plain", "gzip", "zstd", "bzip2", "xz" };
	return names[f];
}

enum tar_format tar_format_of(struct span head)
{
	static const struct {
		struct span magic;
		enum tar_format format;
	} rows[] = {
		{ SPAN_INIT("\x1f\x8b\x08"), TAR_GZIP },
		{ SPAN_INIT("\x28\xb5\x2f\xfd"), TAR_ZSTD },
		{ SPAN_INIT("BZh"), TAR_BZIP2 },
		{ SPAN_INIT("\xfd" "7zXZ\0"), TAR_XZ },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (span_starts(head, rows[i].magic))
			return rows[i].format;
	/* zstd skippable frames: 0x184D2A5x, little-endian (RFC 8878 section 3.1.2) */
	if (head.len >= 4 && (head.ptr[0] & 0xf0) == 0x50 && memcmp(head.ptr + 1, "\x2a\x4d\x18", 3) == 0)
		return TAR_ZSTD;
	return TAR_PLAIN;
}

enum engine { UNKNOWN, PLAIN, ZLIB, ISAL, ZSTD, OTHER };

struct tar_inflate {
	struct tar_source source;
	struct tar_source *from; /* borrowed */
	enum tar_format format;
	enum engine engine;
	struct span in, next;    /* next: what follows while `in` is the head */
	char head[8];            /* the first bytes, gathered so that the format can be seen */
	bool within;             /* a member or frame has begun and not ended */
	bool members;            /* a gzip member has ended */
	bool padding;            /* zeros were seen behind a gzip member */
	bool from_ended;
	uint64_t made, limit_bytes;
	char *out;               /* owned; TAR_PIECE_BYTES; made when a pull needs it */
	char *to;                /* where this pull's output goes: out, or the caller's memory */
	z_stream z;
	struct inflate_state *isal; /* owned; 90 KB */
	ZSTD_DStream *zstd;      /* owned */
	struct tar_other *other; /* owned */
};

static int cut_off(struct err *err)
{
	return err_set(err, ERR_CORRUPT, "compressed stream: it ends too early");
}

static int damaged(const struct tar_inflate *i, const char *why, struct err *err)
{
	return err_set(err, ERR_CORRUPT, "compressed stream (%s): %s", tar_format_name(i->format), why);
}

/* 1: there is input; 0: the stream has ended. */
static int refill(struct tar_inflate *i, struct err *err)
{
	if (i->in.len)
		return 1;
	if (i->next.len) {
		i->in = i->next;
		i->next = SPAN_EMPTY;
		return 1;
	}
	if (i->from_ended)
		return 0;
	int rc = i->from->pull(i->from, &i->in, err);
	if (rc == 0)
		i->from_ended = true;
	if (rc <= 0)
		i->in = SPAN_EMPTY;
	return rc;
}

static int engine_open(struct tar_inflate *i, struct err *err)
{
	size_t n_head = 0;
	int rc;
	while (n_head < sizeof(i->head)) {
		rc = refill(i, err);
		if (rc < 0)
			return rc;
		if (rc == 0)
			break;
		size_t n = MIN(sizeof(i->head) - n_head, i->in.len);
		memcpy(i->head + n_head, i->in.ptr, n);
		i->in = span_from(i->in, n);
		n_head += n;
	}
	i->next = i->in;
	i->in = span_make(i->head, n_head);
	i->format = tar_format_of(i->in);
	switch (i->format) {
	case TAR_GZIP:
		if (tar_isal_usable()) {
			i->isal = mem_zalloc(sizeof(*i->isal));
			isal.init(i->isal);
			i->isal->crc_flag = ISAL_GZIP;
			i->engine = ISAL;
		} else {
			if (inflateInit2(&i->z, 15 + 16) != Z_OK)
				return err_set(err, ERR_INTERNAL, "zlib: %s", i->z.msg ? i->z.msg : "cannot begin");
			i->engine = ZLIB;
		}
		return 0;
	case TAR_ZSTD:
		i->zstd = ZSTD_createDStream();
		assert(i->zstd);
		(void)ZSTD_DCtx_setParameter(i->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX); /* in range: it cannot fail */
		i->engine = ZSTD;
		return 0;
	case TAR_PLAIN:
		i->engine = PLAIN;
		return 0;
	default:
		rc = tar_other_new(i->format, &i->other, err);
		if (rc < 0)
			return rc;
		i->engine = OTHER;
		return 0;
	}
}

/* Each step consumes from `in`, gives what it made, and keeps `within`. Nothing made and input left is fine. */

static int step_zlib(struct tar_inflate *i, size_t *out_n, struct err *err)
{
	size_t n_in = MIN(i->in.len, (size_t)1 << 30);
	i->z.next_in = (Bytef *)(uintptr_t)i->in.ptr; /* zlib's API lacks the const, it does not write */
	i->z.avail_in = (unsigned)n_in;
	i->z.next_out = (Bytef *)i->to;
	i->z.avail_out = TAR_PIECE_BYTES;
	i->within = true;
	int rc = inflate(&i->z, Z_NO_FLUSH);
	i->in = span_from(i->in, n_in - i->z.avail_in);
	*out_n = TAR_PIECE_BYTES - i->z.avail_out;
	if (rc == Z_STREAM_END) {
		(void)inflateReset(&i->z);
		i->within = false;
		i->members = true;
	} else if (rc != Z_OK && rc != Z_BUF_ERROR) {
		return damaged(i, i->z.msg ? i->z.msg : "broken", err);
	}
	return 0;
}

static int step_isal(struct tar_inflate *i, size_t *out_n, struct err *err)
{
	size_t n_in = MIN(i->in.len, (size_t)1 << 30);
	i->isal->next_in = (uint8_t *)(uintptr_t)i->in.ptr;
	i->isal->avail_in = (uint32_t)n_in;
	i->isal->next_out = (uint8_t *)i->to;
	i->isal->avail_out = TAR_PIECE_BYTES;
	i->within = true;
	int rc = isal.inflate(i->isal);
	i->in = span_from(i->in, n_in - i->isal->avail_in);
	*out_n = TAR_PIECE_BYTES - i->isal->avail_out;
	if (rc < 0)
		return damaged(i, rc == ISAL_INCORRECT_CHECKSUM ? "incorrect data check" : "broken", err);
	if (i->isal->block_state == ISAL_BLOCK_FINISH) {
		isal.reset(i->isal);
		i->isal->crc_flag = ISAL_GZIP;
		i->within = false;
		i->members = true;
	}
	return 0;
}

static int step_zstd(struct tar_inflate *i, size_t *out_n, struct err *err)
{
	ZSTD_inBuffer in = { i->in.ptr, i->in.len, 0 };
	ZSTD_outBuffer out = { i->to, TAR_PIECE_BYTES, 0 };
	size_t rc = ZSTD_decompressStream(i->zstd, &out, &in);
	i->in = span_from(i->in, in.pos);
	*out_n = out.pos;
	if (ZSTD_isError(rc))
		return damaged(i, ZSTD_getErrorName(rc), err);
	i->within = rc != 0;
	return 0;
}

/* Behind a gzip member: another member, zeros to the end, or nonsense. 1: another; 0: the end. */
static int between_members(struct tar_inflate *i, struct err *err)
{
	for (;;) {
		int rc = refill(i, err);
		if (rc <= 0)
			return rc;
		if (i->in.ptr[0]) {
			if (i->padding)
				return damaged(i, "trailing garbage", err);
			return 1; /* no gzip header there is the engine's to report */
		}
		i->padding = true;
		i->in = span_from(i->in, 1);
	}
}

static int step(struct tar_inflate *i, bool last, size_t *out_n, struct err *err)
{
	if (i->engine == OTHER)
		return tar_other_step(i->other, &i->in, last, i->to, out_n, &i->within, err);
	return i->engine == ZLIB ? step_zlib(i, out_n, err) : i->engine == ISAL ? step_isal(i, out_n, err)
										 : step_zstd(i, out_n, err);
}

static int next_piece(struct tar_inflate *i, char *to, struct span *out_piece, struct err *err)
{
	int rc;
	if (i->engine == UNKNOWN && (rc = engine_open(i, err)) < 0)
		return rc;
	if (!to && i->engine != PLAIN) {
		if (!i->out)
			i->out = mem_alloc(TAR_PIECE_BYTES);
		to = i->out;
	}
	i->to = to;
	size_t n = 0;
	while (!n) {
		if ((rc = refill(i, err)) < 0 || (rc == 0 && !i->within))
			return rc;
		if (i->engine == PLAIN) {
			n = to ? MIN(i->in.len, (size_t)TAR_PIECE_BYTES) : i->in.len;
			*out_piece = span_sub(i->in, 0, n);
			if (to) {
				memcpy(to, i->in.ptr, n);
				out_piece->ptr = to;
			}
			i->in = span_from(i->in, n);
			break;
		}
		if (!i->within && i->members && (rc = between_members(i, err)) <= 0)
			return rc;
		bool more = rc > 0;
		/* Without input too: the engine may hold output that an earlier, full buffer had no room for. */
		if ((rc = step(i, !more, &n, err)) < 0)
			return rc;
		if (!n && !more && i->within)
			return cut_off(err);
		*out_piece = span_make(to, n);
	}
	i->made += n;
	if (i->limit_bytes && i->made > i->limit_bytes)
		return err_set(err, ERR_TOO_LARGE, "compressed stream: more than %llu bytes once decompressed",
			(unsigned long long)i->limit_bytes);
	return 1;
}

static int inflate_pull(struct tar_source *source, struct span *out_piece, struct err *err)
{
	return next_piece(container_of(source, struct tar_inflate, source), NULL, out_piece, err);
}

int tar_inflate_into(struct tar_inflate *i, char *to, struct span *out_piece, struct err *err)
{
	return next_piece(i, to, out_piece, err);
}

void tar_inflate_new(struct tar_source *from, uint64_t limit_bytes, struct tar_inflate **out_inflate)
{
	struct tar_inflate *i = mem_new(struct tar_inflate);
	i->source.pull = inflate_pull;
	i->from = from;
	i->limit_bytes = limit_bytes;
	*out_inflate = i;
}

struct tar_source *tar_inflate_source(struct tar_inflate *i)
{
	return &i->source;
}

void tar_inflate_free(struct tar_inflate *i)
{
	if (!i)
		return;
	if (i->engine == ZLIB)
		(void)inflateEnd(&i->z);
	if (i->zstd)
		(void)ZSTD_freeDStream(i->zstd);
	tar_other_free(i->other);
	free(i->isal);
	free(i->out);
	free(i);
}
