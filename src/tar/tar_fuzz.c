/* The reader over any bytes, whole and cut into small pieces: both must see the same entries. What was read is written
 * again and must read back the same. */
#include "tar/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t walk(struct span input, size_t piece_bytes, struct buf *copy)
{
	static const struct tar_limits limits = { .pax_bytes = 65536, .sparse_parts = 1000, .entries = 1000, .bytes = 16 << 20 };
	struct tar_memory_source memory;
	tar_memory_source_init(&memory, input);
	memory.piece_bytes = piece_bytes;
	struct tar_inflate *plain;
	tar_inflate_new(&memory.source, 8 << 20, &plain);
	struct tar_reader *r;
	tar_reader_new(tar_inflate_source(plain), &limits, &r);
	struct tar_buf_sink sink;
	struct tar_writer w;
	if (copy) {
		tar_buf_sink_init(&sink, copy);
		tar_writer_init(&w, &sink.sink);
	}
	const struct tar_entry *e;
	struct tar_piece piece;
	uint64_t seen = 0;
	int rc;
	while ((rc = tar_next(r, &e, NULL)) > 0) {
		assert(e->path.len && !memchr(e->path.ptr, 0, e->path.len) && e->path.ptr[e->path.len] == 0);
		assert(e->n_xattrs == 0 || e->xattrs);
		seen = seen * 31 + span_hash(e->path) + span_hash(e->link) + e->kind + e->mode + e->size + (uint64_t)e->mtime.tv_sec +
		       (uint64_t)e->mtime.tv_nsec + e->uid + e->n_xattrs;
		struct tar_entry out = *e;
		if (e->sparse) /* holes are not written here */
			out.size = 0;
		bool took = copy && tar_write(&w, &out, NULL) == 0;
		uint64_t total = 0, at = 0;
		while ((rc = tar_data(r, &piece, NULL)) > 0) {
			assert(piece.data.len && piece.offset >= at && piece.offset + piece.data.len <= e->size);
			at = piece.offset + piece.data.len;
			total += piece.data.len;
			for (size_t i = 0; i < piece.data.len; i++)
				seen = seen * 33 + (uint8_t)piece.data.ptr[i];
			if (took && !e->sparse)
				assert(tar_write_data(&w, piece.data, NULL) == 0);
		}
		if (rc < 0) {
			if (took) /* the copy is cut off with its original */
				buf_trunc(copy, 0);
			break;
		}
		assert(e->sparse || total == e->size);
	}
	/* Only who drains the stream knows that it is sound: damage behind the archive's end is met earlier or later, as the pieces
	 * fall. */
	if (rc < 0 || tar_drain(r, NULL) < 0) {
		seen = 0;
		if (copy)
			buf_trunc(copy, 0);
	}
	if (copy)
		tar_writer_done(&w);
	tar_reader_free(r);
	tar_inflate_free(plain);
	return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = span_make(data, size);
	auto_buf struct buf copy = {};
	uint64_t whole = walk(input, 0, &copy), cut = walk(input, 7, NULL);
	assert(whole == cut);
	if (copy.len)
		(void)walk(buf_span(&copy), 0, NULL);
	return 0;
}
