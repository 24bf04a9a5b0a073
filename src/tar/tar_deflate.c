/* A sink that compresses into another. */
#include <zlib.h>
#include <zstd.h>

#include "tar/private.h"

struct tar_deflate {
	struct tar_sink sink;
	struct tar_sink *to; /* borrowed */
	enum tar_format format;
	char *out;           /* owned; TAR_PIECE_BYTES */
	z_stream z;
	ZSTD_CCtx *zstd;     /* owned */
};

static int give(struct tar_deflate *d, size_t n, struct err *err)
{
	return n ? d->to->push(d->to, span_make(d->out, n), err) : 0;
}

static int gzip_step(struct tar_deflate *d, struct span data, bool end, struct err *err)
{
	do {
		size_t n = MIN(data.len, (size_t)1 << 30);
		d->z.next_in = (Bytef *)(uintptr_t)data.ptr; /* zlib's API lacks the const */
		d->z.avail_in = (unsigned)n;
		data = span_from(data, n);
		int rc;
		do {
			d->z.next_out = (Bytef *)d->out;
			d->z.avail_out = TAR_PIECE_BYTES;
			rc = deflate(&d->z, end && !data.len ? Z_FINISH : Z_NO_FLUSH);
			assert(rc != Z_STREAM_ERROR);
			int sent = give(d, TAR_PIECE_BYTES - d->z.avail_out, err);
			if (sent < 0)
				return sent;
		} while (d->z.avail_in || !d->z.avail_out || (end && !data.len && rc != Z_STREAM_END));
	} while (data.len);
	return 0;
}

static int zstd_step(struct tar_deflate *d, struct span data, bool end, struct err *err)
{
	ZSTD_inBuffer in = { data.ptr, data.len, 0 };
	size_t left;
	do {
		ZSTD_outBuffer out = { d->out, TAR_PIECE_BYTES, 0 };
		left = ZSTD_compressStream2(d->zstd, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return err_set(err, ERR_INTERNAL, "zstd: %s", ZSTD_getErrorName(left));
		int rc = give(d, out.pos, err);
		if (rc < 0)
			return rc;
	} while (end ? left != 0 : in.pos < in.size);
	return 0;
}

static int deflate_push(struct tar_sink *sink, struct span data, struct err *err)
{
	struct tar_deflate *d = container_of(sink, struct tar_deflate, sink);
	if (d->format == TAR_PLAIN)
		return d->to->push(d->to, data, err);
	return d->format == TAR_GZIP ? gzip_step(d, data, false, err) : zstd_step(d, data, false, err);
}

int tar_deflate_end(struct tar_deflate *d, struct err *err)
{
	if (d->format == TAR_PLAIN)
		return 0;
	return d->format == TAR_GZIP ? gzip_step(d, SPAN_EMPTY, true, err) : zstd_step(d, SPAN_EMPTY, true, err);
}

int tar_deflate_new(struct tar_sink *to, enum tar_format format, int level, struct tar_deflate **out_deflate, struct err *err)
{
	if (format != TAR_PLAIN && format != TAR_GZIP && format != TAR_ZSTD)
		return err_set(err, ERR_UNSUPPORTED, "compressing to %s is not supported (gzip and zstd are)", tar_format_name(format));
	struct tar_deflate *d = mem_new(struct tar_deflate);
	d->sink.push = deflate_push;
	d->to = to;
	d->format = format;
	if (format == TAR_GZIP) {
		if (deflateInit2(&d->z, level ? level : Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
			free(d);
			return err_set(err, ERR_INTERNAL, "zlib cannot begin");
		}
	} else if (format == TAR_ZSTD) {
		d->zstd = ZSTD_createCCtx();
		assert(d->zstd);
		(void)ZSTD_CCtx_setParameter(d->zstd, ZSTD_c_compressionLevel, level ? level : ZSTD_CLEVEL_DEFAULT);
		(void)ZSTD_CCtx_setParameter(d->zstd, ZSTD_c_checksumFlag, 1); /* as zstd(1) writes them */
	}
	if (format != TAR_PLAIN)
		d->out = mem_alloc(TAR_PIECE_BYTES);
	*out_deflate = d;
	return 0;
}

struct tar_sink *tar_deflate_sink(struct tar_deflate *d)
{
	return &d->sink;
}

void tar_deflate_free(struct tar_deflate *d)
{
	if (!d)
		return;
	if (d->format == TAR_GZIP)
		(void)deflateEnd(&d->z);
	if (d->zstd)
		(void)ZSTD_freeCCtx(d->zstd);
	free(d->out);
	free(d);
}
