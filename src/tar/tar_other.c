/* bzip2 and xz: what people's own archives come in. Nothing that this engine makes or pulls does, so their libraries are opened
 * when the first such stream comes, and never linked: a machine without them refuses these streams by name. */
#include <bzlib.h>
#include <dlfcn.h>
#include <lzma.h>

#include "tar/private.h"

#define XZ_MEMORY_BYTES (UINT64_C(128) << 20) /* `xz -9` needs 65 MB */

static struct {
	pthread_once_t once;
	bool bzip2_there, xz_there;
	__typeof__(&BZ2_bzDecompressInit) bz_begin;
	__typeof__(&BZ2_bzDecompress) bz_code;
	__typeof__(&BZ2_bzDecompressEnd) bz_end;
	__typeof__(&lzma_stream_decoder) xz_begin;
	__typeof__(&lzma_code) xz_code;
	__typeof__(&lzma_end) xz_end;
} libs = { .once = PTHREAD_ONCE_INIT };

static void libs_open(void)
{
	void *bz = dlopen("libbz2.so.1.0", RTLD_NOW | RTLD_LOCAL), *xz = dlopen("liblzma.so.5", RTLD_NOW | RTLD_LOCAL);
	if (bz) {
		libs.bz_begin = (__typeof__(libs.bz_begin))dlsym(bz, "BZ2_bzDecompressInit");
		libs.bz_code = (__typeof__(libs.bz_code))dlsym(bz, "BZ2_bzDecompress");
		libs.bz_end = (__typeof__(libs.bz_end))dlsym(bz, "BZ2_bzDecompressEnd");
		libs.bzip2_there = libs.bz_begin && libs.bz_code && libs.bz_end;
	}
	if (xz) {
		libs.xz_begin = (__typeof__(libs.xz_begin))dlsym(xz, "lzma_stream_decoder");
		libs.xz_code = (__typeof__(libs.xz_code))dlsym(xz, "lzma_code");
		libs.xz_end = (__typeof__(libs.xz_end))dlsym(xz, "lzma_end");
		libs.xz_there = libs.xz_begin && libs.xz_code && libs.xz_end;
	}
}

struct tar_other {
	enum tar_format format;
	bool open;    /* the library's state is there */
	bz_stream bz;
	lzma_stream xz;
};

static int damaged(const struct tar_other *o, const char *why, struct err *err)
{
	return err_set(err, ERR_CORRUPT, "compressed stream (%s): %s", tar_format_name(o->format), why);
}

int tar_other_new(enum tar_format f, struct tar_other **out, struct err *err)
{
	pthread_once(&libs.once, libs_open);
	if (f == TAR_BZIP2 ? !libs.bzip2_there : !libs.xz_there)
		return err_set(err, ERR_UNSUPPORTED, "compressed stream: %s is not supported without %s", tar_format_name(f),
			f == TAR_BZIP2 ? "libbz2.so.1.0" : "liblzma.so.5");
	struct tar_other *o = mem_new(struct tar_other);
	o->format = f;
	*out = o;
	return 0;
}

void tar_other_free(struct tar_other *o)
{
	if (!o)
		return;
	if (o->open && o->format == TAR_BZIP2)
		(void)libs.bz_end(&o->bz);
	else if (o->open)
		libs.xz_end(&o->xz);
	free(o);
}

static int bzip2_step(struct tar_other *o, struct span *in, char *out, size_t *out_n, bool *within, struct err *err)
{
	if (!o->open) {
		o->bz = (bz_stream){};
		if (libs.bz_begin(&o->bz, 0, 0) != BZ_OK)
			return err_set(err, ERR_INTERNAL, "bzip2: cannot begin");
		o->open = true;
	}
	size_t n_in = MIN(in->len, (size_t)1 << 30);
	o->bz.next_in = (char *)(uintptr_t)in->ptr; /* its API lacks the const, it does not write */
	o->bz.avail_in = (unsigned)n_in;
	o->bz.next_out = out;
	o->bz.avail_out = TAR_PIECE_BYTES;
	int rc = libs.bz_code(&o->bz);
	*in = span_from(*in, n_in - o->bz.avail_in);
	*out_n = TAR_PIECE_BYTES - o->bz.avail_out;
	*within = rc != BZ_STREAM_END;
	if (rc == BZ_STREAM_END) { /* another may follow, with a state of its own */
		(void)libs.bz_end(&o->bz);
		o->open = false;
	} else if (rc != BZ_OK) {
		return damaged(o, rc == BZ_DATA_ERROR_MAGIC ? "trailing garbage" : rc == BZ_MEM_ERROR ? "no memory" : "broken", err);
	}
	return 0;
}

static int xz_step(struct tar_other *o, struct span *in, bool last, char *out, size_t *out_n, bool *within, struct err *err)
{
	if (!o->open) {
		o->xz = (lzma_stream)LZMA_STREAM_INIT;
		if (libs.xz_begin(&o->xz, XZ_MEMORY_BYTES, LZMA_CONCATENATED) != LZMA_OK)
			return err_set(err, ERR_INTERNAL, "xz: cannot begin");
		o->open = true;
	}
	o->xz.next_in = (const uint8_t *)in->ptr;
	o->xz.avail_in = in->len;
	o->xz.next_out = (uint8_t *)out;
	o->xz.avail_out = TAR_PIECE_BYTES;
	/* With streams in a row the end is where nothing follows, so it is asked for without input. */
	lzma_ret rc = libs.xz_code(&o->xz, last ? LZMA_FINISH : LZMA_RUN);
	*in = span_from(*in, in->len - o->xz.avail_in);
	*out_n = TAR_PIECE_BYTES - o->xz.avail_out;
	*within = rc != LZMA_STREAM_END;
	switch (rc) {
	case LZMA_OK:
	case LZMA_STREAM_END:
	case LZMA_BUF_ERROR: /* neither input nor room: the caller sees that it is cut off */
		return 0;
	case LZMA_MEMLIMIT_ERROR:
		return err_set(err, ERR_TOO_LARGE, "compressed stream (xz): it needs more than %llu bytes of memory",
			(unsigned long long)XZ_MEMORY_BYTES);
	case LZMA_MEM_ERROR:
		return damaged(o, "no memory", err);
	case LZMA_OPTIONS_ERROR:
		return damaged(o, "a form that liblzma does not know", err);
	default:
		return damaged(o, "broken", err);
	}
}

int tar_other_step(struct tar_other *o, struct span *in, bool last, char *out, size_t *out_n, bool *within, struct err *err)
{
	return o->format == TAR_BZIP2 ? bzip2_step(o, in, out, out_n, within, err) : xz_step(o, in, last, out, out_n, within, err);
}
