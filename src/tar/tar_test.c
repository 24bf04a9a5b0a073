#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <bzlib.h>
#include <lzma.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "tar/private.h"

/* ---- helpers ---- */

static struct span made(struct buf *b, const struct tar_entry *entries, size_t n, const char *contents)
{
	auto_err struct err err = ERR_INIT;
	struct tar_buf_sink sink;
	struct tar_writer w;
	tar_buf_sink_init(&sink, b);
	tar_writer_init(&w, &sink.sink);
	for (size_t i = 0; i < n; i++) {
		if (tar_write(&w, &entries[i], &err) < 0)
			fail_msg("entry %zu: %s", i, err_msg(&err));
		for (uint64_t left = entries[i].kind == TAR_FILE ? entries[i].size : 0; left;) {
			size_t step = (size_t)MIN(left, (uint64_t)strlen(contents));
			assert_int_equal(tar_write_data(&w, span_make(contents, step), &err), 0);
			left -= step;
		}
	}
	assert_int_equal(tar_write_end(&w, &err), 0);
	tar_writer_done(&w);
	return buf_span(b);
}

struct opened {
	struct tar_memory_source memory;
	struct tar_reader *r;
};

static struct tar_reader *opened(struct opened *o, struct span archive, size_t piece_bytes, const struct tar_limits *limits)
{
	tar_memory_source_init(&o->memory, archive);
	o->memory.piece_bytes = piece_bytes;
	tar_reader_new(&o->memory.source, limits, &o->r);
	return o->r;
}

static void contents_read(struct tar_reader *r, struct buf *out, size_t size)
{
	auto_err struct err err = ERR_INIT;
	struct tar_piece piece;
	int rc;
	buf_trunc(out, 0);
	memset(buf_reserve(out, size + 1), 0, size + 1);
	buf_commit(out, size);
	while ((rc = tar_data(r, &piece, &err)) > 0)
		memcpy(out->ptr + piece.offset, piece.data.ptr, piece.data.len);
	if (rc < 0)
		fail_msg("data: %s", err_msg(&err));
}

static void refused(struct span archive, const struct tar_limits *limits, int class, const char *words)
{
	struct opened o;
	auto_err struct err err = ERR_INIT;
	struct tar_reader *r = opened(&o, archive, 0, limits);
	const struct tar_entry *e;
	int rc;
	while ((rc = tar_next(r, &e, &err)) > 0) {
		struct tar_piece piece;
		while ((rc = tar_data(r, &piece, &err)) > 0)
			;
		if (rc < 0)
			break;
	}
	if (rc != -class || !strstr(err_msg(&err), words))
		fail_msg("wanted %s \"%s\", got %s \"%s\"", err_class_name(class), words, err_class_name(rc), err_msg(&err));
	tar_reader_free(r);
}

/* A header made by hand. */
static void raw(struct buf *b, char type, const char *name, const char *size, struct span data, void (*change)(struct tar_header *))
{
	struct tar_header h = { .type = type };
	memcpy(h.name, name, MIN(strlen(name), sizeof(h.name)));
	memcpy(h.mode, "0000644", 8);
	memcpy(h.uid, "0000000", 8);
	memcpy(h.gid, "0000000", 8);
	memcpy(h.size, size, MIN(strlen(size), sizeof(h.size)));
	memcpy(h.mtime, "00000000000", 12);
	memcpy(h.magic, "ustar\00000", 8);
	if (change)
		change(&h);
	snprintf(h.sum, sizeof(h.sum), "%06o", tar_sum(&h, false));
	buf_add(b, &h, sizeof(h));
	buf_span_add(b, data);
	static const char zeros[TAR_BLOCK_BYTES];
	buf_add(b, zeros, -data.len & (TAR_BLOCK_BYTES - 1));
}

static const char octal_size[] = "00000000000"; /* none */

/* An extension header of records "KEY=VALUE", separated by ';'. */
static void raw_pax(struct buf *b, char type, const char *records)
{
	auto_buf struct buf text = {};
	struct span rest = span_of(records), one, k, v;
	while (span_cut(&rest, ';', &one)) {
		assert_true(span_split(one, '=', &k, &v));
		auto_free char *key = mem_dup(k.ptr, k.len);
		tar_pax_add(&text, key, "", v);
	}
	char size[12];
	snprintf(size, sizeof(size), "%011zo", text.len);
	raw(b, type, "x", size, buf_span(&text), NULL);
}

/* ---- tests ---- */

static void test_numbers(void **state)
{
	static const struct {
		const char *field;
		size_t len;
		bool good;
		int64_t v;
	} rows[] = {
		{ "0000644\0", 8, true, 0644 }, { "   644 \0", 8, true, 0644 }, { "\0\0\0\0\0\0\0\0", 8, true, 0 },
		{ "77777777", 8, true, 077777777 }, { "00000008", 8, false, 0 }, { "-0000001", 8, false, 0 },
		{ "\x80\0\0\0\0\0\0\xff", 8, true, 255 }, { "\xff\xff\xff\xff\xff\xff\xff\xfe", 8, true, -2 },
		{ "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12, true, INT64_MAX },
		{ "\x80\0\0\1\0\0\0\0\0\0\0\0", 12, false, 0 }, { "\x80\0\0\0\x80\0\0\0\0\0\0\0", 12, false, 0 },
		{ "\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", 12, true, INT64_MIN }, { "\xff\xff\xff\xff\x7f\0\0\0\0\0\0\0", 12, false, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t v = 0;
		bool good = tar_number_read(rows[i].field, rows[i].len, &v);
		if (good != rows[i].good || v != rows[i].v)
			fail_msg("row %zu: %d %lld, wanted %d %lld", i, good, (long long)v, rows[i].good, (long long)rows[i].v);
	}
	char f[8];
	assert_true(tar_number_write(f, sizeof(f), 07777777));
	assert_string_equal(f, "7777777");
	assert_false(tar_number_write(f, sizeof(f), 010000000));
}

static void test_pax_text(void **state)
{
	auto_buf struct buf b = {};
	tar_pax_add(&b, "path", "", SPAN("x"));
	assert_string_equal(buf_cstr(&b), "9 path=x\n"); /* the length's own digits count */
	char value[200];
	for (size_t len = 0; len < sizeof(value); len++) {
		memset(value, 'v', sizeof(value));
		buf_trunc(&b, 0);
		tar_pax_add(&b, "SCHILY.xattr.", "user.k", span_make(value, len));
		struct span rest = buf_span(&b), k, v;
		assert_int_equal(tar_pax_next(&rest, &k, &v), 1);
		assert_true(span_is(k, "SCHILY.xattr.user.k") && v.len == len);
		assert_int_equal(tar_pax_next(&rest, &k, &v), 0);
	}
	static const char *const bad[] = { "1", "x path=a\n", "0 path=a\n", "11 path=x\n", "10 path=x\r", "8 path=x\n", "10 pathxx\n",
		"6 =a\n\n", "99999999999999999999999 a=b\n", " 10 path=x\n" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct span rest = span_of(bad[i]), k, v;
		if (tar_pax_next(&rest, &k, &v) != -1)
			fail_msg("taken: %s", bad[i]);
	}
}

static void test_pax_times(void **state)
{
	static const struct {
		const char *text;
		int64_t s;
		long ns;
		const char *again;
	} rows[] = {
		{ "0", 0, 0, "0" }, { "1350244992.023960108", 1350244992, 23960108, "1350244992.023960108" },
		{ "1.5", 1, 500000000, "1.5" }, { "-1.5", -2, 500000000, "-1.5" }, { "-0.5", -1, 500000000, "-0.5" },
		{ "1.0000000001", 1, 0, "1" }, { "-1.0000000001", -2, 999999999, "-1.000000001" }, { "1.", 1, 0, "1" },
		{ "-9223372036854775808", INT64_MIN, 0, "-9223372036854775808" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct timespec t = {};
		if (!tar_pax_time_read(span_of(rows[i].text), &t) || t.tv_sec != rows[i].s || t.tv_nsec != rows[i].ns)
			fail_msg("%s: %lld.%09ld", rows[i].text, (long long)t.tv_sec, t.tv_nsec);
		auto_buf struct buf b = {};
		tar_pax_time_add(&b, "mtime", t);
		struct span rest = buf_span(&b), k, v;
		assert_int_equal(tar_pax_next(&rest, &k, &v), 1);
		if (!span_is(v, rows[i].again))
			fail_msg("%s came back as %.*s", rows[i].text, SPAN_ARG(v));
	}
	static const char *const bad[] = { "", "x", "1.x", "--1", "99999999999999999999", "-9223372036854775808.5" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct timespec t;
		if (tar_pax_time_read(span_of(bad[i]), &t))
			fail_msg("taken: %s", bad[i]);
	}
}

#define SAME(field, a, b)                                                                                              \
	do {                                                                                                           \
		if (!span_eq((a)->field, (b)->field))                                                                  \
			fail_msg(#field ": wrote \"%.*s\", read \"%.*s\"", SPAN_ARG((a)->field), SPAN_ARG((b)->field)); \
	} while (0)

static void test_round_trip(void **state)
{
	char deep[3000], split[200];
	for (size_t i = 0; i < sizeof(deep); i++)
		deep[i] = i % 60 ? 'd' : '/';
	deep[0] = 'D';
	memset(split, 's', sizeof(split));
	split[90] = '/';
	const struct tar_xattr attrs[] = { { SPAN("user.a"), SPAN("1") },
		{ SPAN("security.capability"), SPAN("\1\0\0\2\0\0\0\0\n=\0") } };
	const struct timespec none = { .tv_nsec = UTIME_OMIT };
	const struct tar_entry all[] = {
		{ .kind = TAR_DIR, .mode = 01777, .path = SPAN("tmp/"), .mtime = { 1, 0 }, .atime = none, .ctime = none },
		{ .kind = TAR_FILE, .mode = 04755, .path = SPAN("bin/su"), .size = 1000, .mtime = { 5, 123456789 }, .atime = { 7, 1 },
			.ctime = none, .uid = 1000, .gid = 3000000000, .uname = SPAN("me"), .gname = SPAN("us"), .xattrs = attrs, .n_xattrs = 2 },
		{ .kind = TAR_FILE, .path = SPAN("empty"), .mtime = { -2, 500000000 }, .atime = none, .ctime = none },
		{ .kind = TAR_HARDLINK, .mode = 0644, .path = SPAN("hard"), .link = SPAN("bin/su"), .atime = none, .ctime = none },
		{ .kind = TAR_SYMLINK, .mode = 0777, .path = SPAN("sym"), .link = span_make(deep, 150), .atime = none, .ctime = none },
		{ .kind = TAR_CHAR, .mode = 0666, .path = SPAN("dev/null"), .major = 1, .minor = 3, .atime = none, .ctime = none },
		{ .kind = TAR_BLOCK, .mode = 0660, .path = SPAN("dev/sda"), .major = 8, .minor = 1048575, .atime = none, .ctime = none },
		{ .kind = TAR_FIFO, .mode = 0600, .path = SPAN("p"), .atime = none, .ctime = none },
		{ .kind = TAR_FILE, .path = span_make(deep, sizeof(deep)), .size = 512, .atime = none, .ctime = none },
		{ .kind = TAR_FILE, .path = span_make(split, 180), .size = 513, .atime = none, .ctime = none },
		{ .kind = TAR_FILE, .path = SPAN("r\xc3\xa4ucher\nfisch"), .size = 1, .atime = none, .ctime = none },
		{ .kind = TAR_FILE, .path = span_make(split + 100, 100), .size = 1, .uid = UINT32_MAX, .atime = none, .ctime = none },
	};
	auto_buf struct buf b = {}, got = {};
	struct span archive = made(&b, all, ARRAY_LEN(all), "0123456789");
	assert_int_equal(archive.len % TAR_BLOCK_BYTES, 0);
	static const size_t pieces[] = { 0, 1, 511, 512, 513, 4096 };
	for (size_t p = 0; p < ARRAY_LEN(pieces); p++) {
		struct opened o;
		auto_err struct err err = ERR_INIT;
		struct tar_reader *r = opened(&o, archive, pieces[p], NULL);
		const struct tar_entry *e;
		for (size_t i = 0; i < ARRAY_LEN(all); i++) {
			if (tar_next(r, &e, &err) != 1)
				fail_msg("entry %zu, pieces of %zu: %s", i, pieces[p], err_msg(&err));
			const struct tar_entry *w = &all[i];
			SAME(path, w, e);
			SAME(link, w, e);
			SAME(uname, w, e);
			SAME(gname, w, e);
			assert_int_equal(e->kind, w->kind);
			assert_int_equal(e->mode, w->mode);
			assert_int_equal(e->size, w->size);
			assert_int_equal(e->uid, w->uid);
			assert_int_equal(e->gid, w->gid);
			assert_int_equal(e->mtime.tv_sec, w->mtime.tv_sec);
			assert_int_equal(e->mtime.tv_nsec, w->mtime.tv_nsec);
			assert_int_equal(e->atime.tv_nsec, w->atime.tv_nsec);
			assert_int_equal(e->major, w->major);
			assert_int_equal(e->minor, w->minor);
			assert_int_equal(e->n_xattrs, w->n_xattrs);
			for (size_t x = 0; x < e->n_xattrs; x++)
				assert_true(span_eq(e->xattrs[x].name, w->xattrs[x].name) && span_eq(e->xattrs[x].value, w->xattrs[x].value));
			if (i % 2) /* the others are skipped */
				contents_read(r, &got, e->size);
			if (i == 1)
				assert_memory_equal(got.ptr + 990, "0123456789", 10);
		}
		assert_int_equal(tar_next(r, &e, &err), 0);
		assert_int_equal(tar_next(r, &e, &err), 0);
		assert_int_equal(tar_drain(r, &err), 0);
		tar_reader_free(r);
	}
	/* Cut anywhere but between entries it is an error, and never more entries than before. */
	for (size_t cut = 1; cut < archive.len - 1024; cut += 37) {
		struct opened o;
		struct tar_reader *r = opened(&o, span_sub(archive, 0, cut), 0, NULL);
		const struct tar_entry *e;
		size_t n = 0;
		int rc;
		while ((rc = tar_next(r, &e, NULL)) > 0)
			n++;
		if (rc == 0 && cut % TAR_BLOCK_BYTES)
			fail_msg("cut at %zu: no error", cut);
		assert_true(n <= ARRAY_LEN(all));
		tar_reader_free(r);
	}
}

/* What the docker client sends for `build -f -`: it ends behind the last byte of the last file. Less, or a part of the padding, is torn. */
static void test_no_padding_at_the_end(void **state)
{
	auto_buf struct buf b = {};
	raw(&b, '0', "one", "00000000005", SPAN("first"), NULL);
	raw(&b, '0', "two", "00000000006", SPAN("second"), NULL);
	size_t data_end = 3 * TAR_BLOCK_BYTES + 6;
	assert_true(b.len >= data_end);
	for (size_t end = data_end - 1; end <= data_end + 1; end++)
		for (int reads = 0; reads < 2; reads++) {
			struct opened o;
			auto_err struct err err = ERR_INIT;
			struct tar_reader *r = opened(&o, span_sub(buf_span(&b), 0, end), 0, NULL);
			const struct tar_entry *e;
			auto_buf struct buf got = {};
			int rc = tar_next(r, &e, &err);
			assert_int_equal(rc, 1);
			rc = tar_next(r, &e, &err);
			assert_int_equal(rc, 1);
			if (reads && end >= data_end)
				contents_read(r, &got, e->size);
			rc = tar_next(r, &e, &err);
			assert_int_equal(rc, end == data_end ? 0 : -ERR_CORRUPT);
			tar_reader_free(r);
		}
}

static void test_globals(void **state)
{
	auto_buf struct buf b = {};
	raw_pax(&b, 'g', "uname=glob;mtime=42.5");
	raw_pax(&b, 'x', "uname=mine");
	raw(&b, '0', "one", octal_size, SPAN_EMPTY, NULL);
	raw(&b, '0', "two", octal_size, SPAN_EMPTY, NULL);
	struct opened o;
	auto_err struct err err = ERR_INIT;
	struct tar_reader *r = opened(&o, buf_span(&b), 0, NULL);
	const struct tar_entry *e;
	int rc = tar_next(r, &e, &err);
	if (rc != 1)
		fail_msg("%s", err_msg(&err));
	assert_true(span_is(e->uname, "mine"));
	assert_int_equal(e->mtime.tv_sec, 42);
	assert_int_equal(tar_next(r, &e, &err), 1);
	assert_true(span_is(e->uname, "glob"));
	assert_int_equal(tar_next(r, &e, &err), 0);
	tar_reader_free(r);
}

static void as_gnu(struct tar_header *h)
{
	memcpy(h->magic, "ustar  ", 8);
}

static void as_sparse(struct tar_header *h)
{
	as_gnu(h);
	struct tar_gnu_tail tail = {};
	memcpy(tail.sparse[0], "00000001000\00000000000003\0", 24);
	memcpy(tail.sparse[1], "00000002000\00000000000002\0", 24);
	memcpy(tail.real_size, "00000004000", 12);
	memcpy(h->prefix, &tail, sizeof(tail));
}

static void test_gnu(void **state)
{
	auto_buf struct buf b = {}, got = {};
	char name[300];
	memset(name, 'n', sizeof(name));
	raw(&b, 'L', "././@LongLink", "00000000455", span_make(name, 300), as_gnu); /* 301: with the closing 0 */
	raw(&b, 'K', "././@LongLink", "00000000004", SPAN("abc"), as_gnu);
	raw(&b, '2', "short", octal_size, SPAN_EMPTY, as_gnu);
	raw(&b, 'S', "sparse", "00000000005", SPAN("abcde"), as_sparse);
	struct opened o;
	auto_err struct err err = ERR_INIT;
	struct tar_reader *r = opened(&o, buf_span(&b), 0, NULL);
	const struct tar_entry *e;
	if (tar_next(r, &e, &err) != 1)
		fail_msg("%s", err_msg(&err));
	assert_int_equal(e->path.len, 300);
	assert_true(span_is(e->link, "abc"));
	if (tar_next(r, &e, &err) != 1)
		fail_msg("%s", err_msg(&err));
	assert_true(e->sparse);
	assert_int_equal(e->size, 2048);
	contents_read(r, &got, 2048);
	assert_memory_equal(got.ptr + 512, "abc", 4);
	assert_memory_equal(got.ptr + 1024, "de", 3);
	assert_int_equal(tar_next(r, &e, &err), 0);
	tar_reader_free(r);
}

static void test_sparse_pax(void **state)
{
	auto_buf struct buf b = {}, got = {}, map = {};
	char size[12];
	raw_pax(&b, 'x', "GNU.sparse.major=0;GNU.sparse.minor=1;GNU.sparse.name=big;GNU.sparse.size=20000;GNU.sparse.map=100,3,19998,2");
	raw(&b, '0', "GNUSparseFile.0/big", "00000000005", SPAN("abcde"), NULL);
	raw_pax(&b, 'x', "GNU.sparse.major=1;GNU.sparse.minor=0;GNU.sparse.name=big;GNU.sparse.realsize=20000");
	buf_str(&map, "2\n100\n3\n19998\n2\n");
	memset(buf_reserve(&map, 512), 0, 512);
	buf_commit(&map, 512 - map.len);
	buf_str(&map, "abcde");
	snprintf(size, sizeof(size), "%011zo", map.len);
	raw(&b, '0', "GNUSparseFile.0/big", size, buf_span(&map), NULL);
	struct opened o;
	auto_err struct err err = ERR_INIT;
	struct tar_reader *r = opened(&o, buf_span(&b), 0, NULL);
	const struct tar_entry *e;
	for (int i = 0; i < 2; i++) {
		if (tar_next(r, &e, &err) != 1)
			fail_msg("%d: %s", i, err_msg(&err));
		assert_true(span_is(e->path, "big"));
		assert_int_equal(e->size, 20000);
		contents_read(r, &got, 20000);
		assert_memory_equal(got.ptr + 100, "abc", 4);
		assert_memory_equal(got.ptr + 19998, "de", 2);
	}
	assert_int_equal(tar_next(r, &e, &err), 0);
	tar_reader_free(r);
}

static void negative_size(struct tar_header *h)
{
	memset(h->size, 0xff, sizeof(h->size));
}

static void bad_sparse(struct tar_header *h)
{
	as_sparse(h);
	h->prefix[offsetof(struct tar_gnu_tail, real_size) + 7] = '0'; /* a file of no bytes */
}

static void test_refused(void **state)
{
	auto_buf struct buf b = {};
	static const struct tar_limits small = { .path_bytes = 10, .pax_bytes = 100, .entries = 2, .bytes = 1000 };
#define REFUSED(class, words)                                                                                          \
	refused(buf_span(&b), &small, class, words);                                                                   \
	buf_trunc(&b, 0)
	buf_add(&b, "not an archive at all", 21);
	REFUSED(ERR_CORRUPT, "ends within entry 1");
	for (int i = 0; i < 600; i++)
		buf_chr(&b, 'x');
	REFUSED(ERR_CORRUPT, "bad checksum");
	raw(&b, '0', "12345678901", octal_size, SPAN_EMPTY, NULL);
	REFUSED(ERR_TOO_LARGE, "a path of 11 bytes");
	raw(&b, 'x', "x", "00000000145", SPAN_EMPTY, NULL);
	REFUSED(ERR_TOO_LARGE, "a pax header of 101 bytes");
	raw(&b, '0', "a", "00000001751", SPAN_EMPTY, NULL);
	REFUSED(ERR_TOO_LARGE, "more than 1000 bytes");
	raw(&b, '0', "a", octal_size, SPAN_EMPTY, NULL);
	raw(&b, '0', "b", octal_size, SPAN_EMPTY, NULL);
	raw(&b, '0', "c", octal_size, SPAN_EMPTY, NULL);
	REFUSED(ERR_TOO_LARGE, "more than 2 entries");
	raw(&b, '0', "a", octal_size, SPAN_EMPTY, negative_size);
	REFUSED(ERR_CORRUPT, "out of range");
	raw(&b, '0', "", octal_size, SPAN_EMPTY, NULL);
	REFUSED(ERR_CORRUPT, "no name");
	raw(&b, '2', "l", octal_size, SPAN_EMPTY, NULL);
	REFUSED(ERR_CORRUPT, "link without target");
	raw(&b, 'V', "l", octal_size, SPAN_EMPTY, NULL);
	REFUSED(ERR_UNSUPPORTED, "type 'V'");
	raw(&b, 'x', "x", "00000000013", SPAN("11 path=abc"), NULL);
	raw(&b, '0', "a", octal_size, SPAN_EMPTY, NULL);
	REFUSED(ERR_CORRUPT, "malformed pax record");
	raw(&b, 'x', "x", "00000000014", SPAN("12 path=a\0b\n"), NULL);
	raw(&b, '0', "a", octal_size, SPAN_EMPTY, NULL);
	REFUSED(ERR_CORRUPT, "a 0 byte in a name");
	raw(&b, 'S', "s", "00000000005", SPAN("abcde"), bad_sparse);
	REFUSED(ERR_CORRUPT, "beyond the end");
	for (int i = 0; i < 9; i++)
		raw(&b, 'L', "x", octal_size, SPAN_EMPTY, NULL);
	REFUSED(ERR_CORRUPT, "eight extension headers");
}

/* ---- compression ---- */

static void squeeze(struct buf *out, enum tar_format f, struct span plain)
{
	auto_err struct err err = ERR_INIT;
	struct tar_buf_sink sink;
	if (f == TAR_BZIP2 || f == TAR_XZ) {
		auto_free char *to = mem_alloc(plain.len + (64 << 10));
		unsigned n = (unsigned)plain.len + (64 << 10);
		size_t at = 0;
		if (f == TAR_BZIP2) {
			assert_int_equal(BZ2_bzBuffToBuffCompress(to, &n, (char *)(uintptr_t)plain.ptr, (unsigned)plain.len, 1, 0, 0), BZ_OK);
			at = n;
		} else {
			assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC64, NULL, (const uint8_t *)plain.ptr, plain.len, (uint8_t *)to, &at,
				n), LZMA_OK);
		}
		buf_add(out, to, at);
		return;
	}
	tar_buf_sink_init(&sink, out);
	struct tar_deflate *d;
	assert_int_equal(tar_deflate_new(&sink.sink, f, 0, &d, &err), 0);
	struct tar_sink *s = tar_deflate_sink(d);
	assert_int_equal(s->push(s, span_sub(plain, 0, plain.len / 3), &err), 0);
	assert_int_equal(s->push(s, span_from(plain, plain.len / 3), &err), 0);
	assert_int_equal(tar_deflate_end(d, &err), 0);
	tar_deflate_free(d);
}

static int inflated(struct span input, size_t piece_bytes, uint64_t limit, struct buf *out, struct err *err)
{
	struct tar_memory_source m;
	tar_memory_source_init(&m, input);
	m.piece_bytes = piece_bytes;
	struct tar_inflate *i;
	tar_inflate_new(&m.source, limit, &i);
	struct tar_source *s = tar_inflate_source(i);
	struct span piece;
	int rc;
	buf_trunc(out, 0);
	while ((rc = s->pull(s, &piece, err)) > 0) {
		assert_true(piece.len > 0);
		buf_span_add(out, piece);
	}
	tar_inflate_free(i);
	return rc;
}

/* Every piece in memory of its own, put together at the end: none may have moved or changed. */
static void inflated_into(struct span input, size_t piece_bytes, struct buf *out)
{
	auto_err struct err err = ERR_INIT;
	auto_arena struct arena a = {};
	struct tar_memory_source m;
	tar_memory_source_init(&m, input);
	m.piece_bytes = piece_bytes;
	struct tar_inflate *i;
	tar_inflate_new(&m.source, 0, &i);
	struct span pieces[400];
	size_t n = 0;
	int rc;
	for (;; n++) {
		assert_in_range(n, 0, ARRAY_LEN(pieces) - 1);
		char *to = arena_alloc(&a, TAR_PIECE_BYTES);
		if ((rc = tar_inflate_into(i, to, &pieces[n], &err)) <= 0)
			break;
		assert_ptr_equal(pieces[n].ptr, to);
		assert_in_range(pieces[n].len, 1, TAR_PIECE_BYTES);
	}
	if (rc < 0)
		fail_msg("%s", err_msg(&err));
	buf_trunc(out, 0);
	for (size_t k = 0; k < n; k++)
		buf_span_add(out, pieces[k]);
	tar_inflate_free(i);
}

static void test_inflate(void **state)
{
	auto_buf struct buf plain = {}, z = {}, got = {};
	struct rng rng;
	rng_init(&rng, 5);
	for (int i = 0; i < 120000; i++) /* compresses, but not to nothing; several pieces of output */
		buf_u64(&plain, rng_below(&rng, 3000));
	for (int engine = 0; engine < 2; engine++) {
		tar_isal_set(engine == 0);
		for (enum tar_format f = TAR_PLAIN; f < TAR_FORMAT_COUNT; f++) {
			buf_trunc(&z, 0);
			squeeze(&z, f, buf_span(&plain));
			squeeze(&z, f, SPAN("")); /* an empty member */
			squeeze(&z, f, SPAN("tail"));
			size_t whole = z.len;
			static const size_t pieces[] = { 0, 1, 100, 65536 };
			for (size_t p = 0; p < ARRAY_LEN(pieces); p++) {
				auto_err struct err err = ERR_INIT;
				if (inflated(buf_span(&z), pieces[p], 0, &got, &err) != 0)
					fail_msg("%s, engine %d, pieces of %zu: %s", tar_format_name(f), engine, pieces[p], err_msg(&err));
				assert_int_equal(got.len, plain.len + 4);
				assert_memory_equal(got.ptr, plain.ptr, plain.len);
				assert_memory_equal(got.ptr + plain.len, "tail", 4);
				if (pieces[p] == 1 || pieces[p] == 100)
					continue; /* a piece of memory for each */
				inflated_into(buf_span(&z), pieces[p], &got);
				assert_int_equal(got.len, plain.len + 4);
				assert_memory_equal(got.ptr, plain.ptr, plain.len);
				assert_memory_equal(got.ptr + plain.len, "tail", 4);
			}
			auto_err struct err err = ERR_INIT;
			assert_int_equal(inflated(buf_span(&z), 0, plain.len - 1, &got, &err), -ERR_TOO_LARGE);
			if (f == TAR_PLAIN)
				continue;
			for (size_t cut = 6; cut < whole; cut += whole / 97) { /* an end between members is a complete stream */
				err_done(&err);
				int rc = inflated(span_sub(buf_span(&z), 0, cut), 0, 0, &got, &err);
				if (rc != -ERR_CORRUPT)
					fail_msg("%s, engine %d, cut at %zu of %zu: %d", tar_format_name(f), engine, cut, whole, rc);
			}
			for (size_t at = 20; at < whole - 100; at += whole / 53) { /* one bit: the checksums see it */
				z.ptr[at] ^= 4;
				err_done(&err);
				int rc = inflated(buf_span(&z), 0, plain.len * 2, &got, &err);
				if (rc == 0 && got.len == plain.len + 4 && memcmp(got.ptr, plain.ptr, plain.len) != 0)
					fail_msg("%s, engine %d, bit at %zu not seen", tar_format_name(f), engine, at);
				z.ptr[at] ^= 4;
			}
			if (f == TAR_GZIP) {
				buf_add(&z, "\0\0\0\0", 4);
				assert_int_equal(inflated(buf_span(&z), 0, 0, &got, &err), 0);
				buf_chr(&z, 'x');
				assert_int_equal(inflated(buf_span(&z), 0, 0, &got, &err), -ERR_CORRUPT);
			}
		}
	}
	tar_isal_set(true);
	auto_err struct err err = ERR_INIT;
	assert_int_equal(inflated(SPAN(""), 0, 0, &got, &err), 0);
	/* Behind a whole stream: another, or nothing. */
	for (enum tar_format f = TAR_BZIP2; f <= TAR_XZ; f++) {
		buf_trunc(&z, 0);
		squeeze(&z, f, SPAN("x"));
		buf_str(&z, "garbage behind it");
		err_done(&err);
		assert_int_equal(inflated(buf_span(&z), 0, 0, &got, &err), -ERR_CORRUPT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers), cmocka_unit_test(test_pax_text), cmocka_unit_test(test_pax_times),
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_no_padding_at_the_end),
		cmocka_unit_test(test_globals), cmocka_unit_test(test_gnu),
		cmocka_unit_test(test_sparse_pax), cmocka_unit_test(test_refused), cmocka_unit_test(test_inflate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
