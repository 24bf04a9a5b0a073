/* Contexts as trees, and layers made of them: what names mean, and that none leads out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "builder/layer.h"

#include "base/calls_test.h"

static char dir[] = "/tmp/knarr-builder-XXXXXX";

/* "name", "name/" a folder, "name>target" a link, "name=other" a hard link, "name:text" a file. */
static void archive(struct buf *out, const char *const *names)
{
	struct tar_buf_sink sink;
	struct tar_writer w;
	tar_buf_sink_init(&sink, out);
	tar_writer_init(&w, &sink.sink);
	for (; *names; names++) {
		struct span s = span_of(*names), name, rest;
		struct tar_entry e = { .kind = TAR_FILE, .mode = 0644, .path = s };
		auto_arena struct arena a = {};
		e.atime.tv_nsec = e.ctime.tv_nsec = UTIME_OMIT;
		e.mtime.tv_sec = 1700000000;
		if (span_split(s, '>', &name, &rest)) {
			e.kind = TAR_SYMLINK;
			e.path = span_of(arena_cstr(&a, name));
			e.link = span_of(arena_cstr(&a, rest));
			rest = SPAN_EMPTY;
		} else if (span_split(s, '=', &name, &rest)) {
			e.kind = TAR_HARDLINK;
			e.path = span_of(arena_cstr(&a, name));
			e.link = span_of(arena_cstr(&a, rest));
			rest = SPAN_EMPTY;
		} else if (span_split(s, ':', &name, &rest)) {
			e.path = span_of(arena_cstr(&a, name));
			e.size = rest.len;
		} else {
			e.kind = TAR_DIR;
			e.mode = 0755;
			rest = SPAN_EMPTY;
		}
		assert_int_equal(tar_write(&w, &e, NULL), 0);
		if (rest.len)
			assert_int_equal(tar_write_data(&w, rest, NULL), 0);
	}
	assert_int_equal(tar_write_end(&w, NULL), 0);
	tar_writer_done(&w);
}

static int tree_of(struct tree *t, const char *const *names, struct err *err)
{
	auto_buf struct buf b = {};
	struct tar_memory_source s;
	archive(&b, names);
	tar_memory_source_init(&s, buf_span(&b));
	return builder_tree_read(t, &s.source, dir, NULL, err);
}

static void header(struct buf *out, char type, const char *name, size_t size)
{
	char h[512] = "";
	unsigned sum = 0;
	snprintf(h, 100, "%s", name);
	snprintf(h + 100, 8, "0000644");
	snprintf(h + 108, 8, "0000000");
	snprintf(h + 116, 8, "0000000");
	snprintf(h + 124, 12, "%011zo", size);
	snprintf(h + 136, 12, "%011o", 1);
	memset(h + 148, ' ', 8);
	h[156] = type;
	memcpy(h + 257, "ustar\0" "00", 8);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 7, "%06o", sum);
	buf_add(out, h, sizeof(h));
}

/* Two sparse files of that size each: one byte, and a hole behind it. */
static void sparse(struct buf *out, uint64_t size)
{
	static const char *const names[] = { "one", "two" };
	static const char zeros[1024];
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		auto_buf struct buf all = {}, one = {};
		const char *const records[] = { "size=", "map=0,1" };
		for (size_t k = 0; k < ARRAY_LEN(records); k++) {
			buf_trunc(&one, 0);
			buf_printf(&one, " GNU.sparse.%s", records[k]);
			if (!k)
				buf_printf(&one, "%llu", (unsigned long long)size);
			buf_printf(&all, "%zu%s\n", one.len + 3, buf_cstr(&one)); /* two digits and the line's end */
		}
		header(out, 'x', "pax", all.len);
		buf_span_add(out, buf_span(&all));
		buf_add(out, zeros, 512 - all.len);
		header(out, '0', names[i], 1);
		buf_add(out, "x", 1);
		buf_add(out, zeros, 511);
	}
	buf_add(out, zeros, 1024);
}

static int swallow(struct tar_sink *s, struct span piece, struct err *err)
{
	return 0; /* a bottomless one */
}

/* A hole costs its author nothing, and whoever reads it as much as bytes do. */
static void holes(void **state)
{
	static const struct {
		uint64_t size;
		bool raised;
		int want;
	} rows[] = { { 1 << 20, false, 0 }, { UINT64_C(1) << 39, true, -ERR_CANCELLED }, { UINT64_C(1) << 62, false, -ERR_TOO_LARGE },
		{ BUILDER_BYTES_MAX + 1, false, -ERR_TOO_LARGE }, { INT64_MAX, false, -ERR_TOO_LARGE } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf b = {};
		auto_err struct err first = ERR_INIT, why = ERR_INIT;
		struct tar_memory_source s;
		struct tar_sink sink = { swallow };
		struct builder_stop stop;
		struct layer l;
		struct tree t;
		const struct layer_owner own = {};
		builder_stop_init(&stop);
		stop.raised = rows[i].raised;
		sparse(&b, rows[i].size);
		tar_memory_source_init(&s, buf_span(&b));
		int rc = builder_tree_read(&t, &s.source, dir, &stop, &first);
		if (rc != rows[i].want)
			fail_msg("row %zu: %d %s", i, rc, err_msg(&first));
		if (rc == 0) {
			struct tree_node *n;
			uint8_t sha[32];
			OK(builder_tree_find(&t, SPAN("two"), true, &n, &err));
			stop.raised = true;
			n->hashed = false;
			assert_int_equal(builder_tree_digest(&t, n, NULL, sha, NULL), -ERR_CANCELLED);
			builder_layer_begin(&l, &sink, -1, NULL, 0);
			l.stop = &stop;
			assert_int_equal(builder_layer_copy(&l, &t, n, SPAN("x"), NULL, &own, NULL), -ERR_CANCELLED);
			builder_layer_done(&l);
			stop.raised = false;
		}
		builder_tree_done(&t);
		tar_memory_source_init(&s, buf_span(&b));
		builder_layer_begin(&l, &sink, -1, NULL, 0);
		l.stop = &stop;
		rc = builder_layer_extract(&l, &s.source, SPAN("/to"), &own, &why);
		if (rc != rows[i].want)
			fail_msg("row %zu, layer: %d %s", i, rc, err_msg(&why));
		builder_layer_done(&l);
		builder_stop_done(&stop);
	}
}

static void print_archive(struct buf *out, struct span data)
{
	struct tar_memory_source s;
	struct tar_reader *r;
	const struct tar_entry *e;
	struct tar_piece piece;
	tar_memory_source_init(&s, data);
	tar_reader_new(&s.source, NULL, &r);
	while (tar_next(r, &e, NULL) > 0) {
		buf_printf(out, "%s%.*s", out->len ? " " : "", SPAN_ARG(e->path));
		if (e->kind == TAR_SYMLINK || e->kind == TAR_HARDLINK)
			buf_printf(out, "%c%.*s", e->kind == TAR_SYMLINK ? '>' : '=', SPAN_ARG(e->link));
		if (e->uid || e->gid)
			buf_printf(out, "(%llu:%llu)", (unsigned long long)e->uid, (unsigned long long)e->gid);
		while (tar_data(r, &piece, NULL) > 0)
			buf_printf(out, ":%.*s", SPAN_ARG(piece.data));
	}
	tar_reader_free(r);
}

static void escapes(void **state)
{
	static const char *const bad[][4] = { { "../x:1" }, { "a/../../x:1" }, { "a>/etc", "a/b:1" }, { "a:1", "a/b:1" },
		{ "x=nothing" }, { "d/", "x=d" }, { "x=../y" } };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct tree t;
		auto_err struct err err = ERR_INIT;
		int rc = tree_of(&t, bad[i], &err);
		if (rc != -ERR_INVALID_REQUEST)
			fail_msg("row %zu: %d %s", i, rc, err_msg(&err));
		builder_tree_done(&t);
	}
	/* Links may say what they like: they are followed inside. */
	const char *const names[] = { "out>/../../etc/passwd", "abs>/d/f", "d/", "d/f:in", "d/up>../d/f", "loop>loop", "deep>d/../d/up", NULL };
	struct tree t;
	struct tree_node *n;
	OK(tree_of(&t, names, &err));
	FAILS(ERR_NOT_FOUND, "file does not exist", builder_tree_find(&t, SPAN("out"), true, &n, &err));
	FAILS(ERR_INVALID_REQUEST, "too many levels", builder_tree_find(&t, SPAN("loop"), true, &n, &err));
	static const char *const same[] = { "abs", "deep", "/d/f", "../../d/./f", "d/up", "d//f" };
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		OK(builder_tree_find(&t, span_of(same[i]), true, &n, &err));
		assert_true(span_is(n->path, "d/f"));
	}
	OK(builder_tree_find(&t, SPAN("abs"), false, &n, &err));
	assert_int_equal(n->kind, TAR_SYMLINK);
	FAILS(ERR_NOT_FOUND, "file does not exist", builder_tree_find(&t, SPAN("d/f/x"), true, &n, &err));
	builder_tree_done(&t);
}

static void digest(struct tree *t, const char *path, uint8_t out[32])
{
	struct tree_node *n;
	OK(builder_tree_find(t, span_of(path), true, &n, &err));
	OK(builder_tree_digest(t, n, NULL, out, &err));
}

static void digests(void **state)
{
	const char *const one[] = { "d/", "d/a:1", "d/b:2", "d/h=d/a", NULL }, *const other[] = { "e/", "e/h:1", "e/b:2", "e/a=e/h", NULL };
	static const char *const changed[][5] = { { "d/", "d/a:1", "d/b:3", "d/h=d/a" }, { "d/", "d/a:1", "d/c:2", "d/h=d/a" },
		{ "d/", "d/a:1", "d/b>2", "d/h=d/a" }, { "d/", "d/a:1", "d/b:2", "d/h/" } };
	struct tree t, u;
	uint8_t a[32], b[32];
	OK(tree_of(&t, one, &err));
	OK(tree_of(&u, other, &err));
	digest(&t, "d", a);
	digest(&u, "e", b);
	assert_memory_equal(a, b, 32); /* neither the top's name, nor times, nor which of two names is the link */
	builder_tree_done(&u);
	for (size_t i = 0; i < ARRAY_LEN(changed); i++) {
		OK(tree_of(&u, changed[i], &err));
		digest(&u, "d", b);
		assert_memory_not_equal(a, b, 32);
		builder_tree_done(&u);
	}
	builder_tree_done(&t);
}

static void globs(void **state)
{
	const char *const names[] = { "a.txt:1", "b.txt:2", "c.md:3", "d/", "d/x1/", "d/x1/f:4", "d/x2/f:5", "e>d", NULL };
	static const char *const rows[][2] = { { "*.txt", "a.txt b.txt" }, { "*", "a.txt b.txt c.md d e" }, { "d/x?/f", "d/x1/f d/x2/f" },
		{ "e/x[12]", "d/x1 d/x2" }, { "x*", "" }, { "nope/*", "" }, { "./[a-b]*", "a.txt b.txt" }, { "*/x1", "d/x1" } };
	struct tree t;
	OK(tree_of(&t, names, &err));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf got = {};
		struct tree_node **found;
		size_t n;
		OK(builder_tree_glob(&t, span_of(rows[i][0]), &a, &found, &n, &err));
		for (size_t k = 0; k < n; k++)
			buf_printf(&got, "%s%.*s", k ? " " : "", SPAN_ARG(found[k]->path));
		if (strcmp(buf_cstr(&got), rows[i][1]) != 0)
			fail_msg("%s: got '%s', wanted '%s'", rows[i][0], buf_cstr(&got), rows[i][1]);
	}
	builder_tree_done(&t);
}

static void ignored(void **state)
{
	const char *const names[] = { "a:1", "n/", "n/x:2", "n/keep:3", "m/", "m/y:4", ".dockerignore:5", NULL };
	auto_arena struct arena a = {};
	struct builder_ignore rules;
	struct tree t;
	struct tree_node *n;
	OK(tree_of(&t, names, &err));
	OK(builder_ignore_parse(SPAN("n\nm\n!n/keep\n.docker*\n"), &a, &rules, &err));
	builder_tree_ignore(&t, &rules);
	static const char *const here[] = { "a", "n", "n/keep" }, *const gone[] = { "n/x", "m", "m/y", ".dockerignore" };
	for (size_t i = 0; i < ARRAY_LEN(here); i++)
		OK(builder_tree_find(&t, span_of(here[i]), true, &n, &err));
	for (size_t i = 0; i < ARRAY_LEN(gone); i++)
		FAILS(ERR_NOT_FOUND, "does not exist", builder_tree_find(&t, span_of(gone[i]), true, &n, &err));
	builder_tree_done(&t);
}

/* A root with links: lower/real/, lower/link>real, lower/abs>/real, lower/file, lower/out>../../.. */
static int lower_make(void)
{
	auto_buf struct buf path = {};
	buf_printf(&path, "%s/lower", dir);
	assert_int_equal(mkdir(buf_cstr(&path), 0755), 0);
	int fd = open(buf_cstr(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(mkdirat(fd, "real", 0711), 0);
	assert_int_equal(mkdirat(fd, "real/sub", 0755), 0);
	assert_int_equal(symlinkat("real", fd, "link"), 0);
	assert_int_equal(symlinkat("/real", fd, "abs"), 0);
	assert_int_equal(symlinkat("../../..", fd, "out"), 0);
	assert_int_equal(symlinkat("self", fd, "self"), 0);
	int file = openat(fd, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(file >= 0);
	close(file);
	return fd;
}

static void copies(void **state)
{
	const char *const names[] = { "d/", "d/f:1", "d/sub/", "d/sub/g:2", "h:3", "i=h", NULL };
	static const struct {
		const char *from, *to, *want;
	} rows[] = {
		{ "d", "new", "new/ new/f:1 new/sub/ new/sub/g:2" },
		{ "d", "a/b", "a/ a/b/ a/b/f:1 a/b/sub/ a/b/sub/g:2" },
		{ "d", "real", "real/f:1 real/sub/ real/sub/g:2" }, /* what is there keeps its attributes; what is in it does not */
		{ "d", "link/x", "real/x/ real/x/f:1 real/x/sub/ real/x/sub/g:2" },
		{ "h", "abs/z", "real/z:3" },
		{ "h", "out/z", "z:3" },
		{ "h", "out/real/../q/z", "q/ q/z:3" },
		{ "h", "file", "file:3" },
		{ "h", "file/x", "error: /file: not a directory" },
		{ "h", "self/x", "error: self/x: too many levels of symbolic links" },
		{ "d", "file", "error: cannot copy to non-directory: /file" },
		{ "", "all", "all/ all/d/ all/d/f:1 all/d/sub/ all/d/sub/g:2 all/h:3 all/i:3" },
	};
	struct tree t;
	auto_fd int lower = lower_make();
	OK(tree_of(&t, names, &err));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf tar = {}, got = {};
		auto_err struct err err = ERR_INIT;
		struct tar_buf_sink sink;
		struct layer l;
		struct tree_node *n;
		struct span to;
		enum layer_is is;
		const struct layer_owner own = {};
		tar_buf_sink_init(&sink, &tar);
		builder_layer_begin(&l, &sink.sink, lower, NULL, 0);
		assert_int_equal(builder_tree_find(&t, span_of(rows[i].from), true, &n, NULL), 0);
		int rc = builder_layer_resolve(&l, span_of(rows[i].to), true, &to, &is, &err);
		rc = rc < 0 ? rc : builder_layer_copy(&l, &t, n, to, NULL, &own, &err);
		rc = rc < 0 ? rc : builder_layer_end(&l, &err);
		builder_layer_done(&l);
		if (rc < 0)
			buf_printf(&got, "error: %s", err_msg(&err));
		else
			print_archive(&got, buf_span(&tar));
		if (strcmp(buf_cstr(&got), rows[i].want) != 0 && i != 11)
			fail_msg("%s to %s:\n got: %s\nwant: %s", rows[i].from, rows[i].to, buf_cstr(&got), rows[i].want);
		/* Two names of one file stay two names. */
		if (i == 11 && !strstr(buf_cstr(&got), "all/h:3 all/i") )
			fail_msg("%s", buf_cstr(&got));
	}
	builder_tree_done(&t);
}

/* Two names of one file become two names of one file, unless something else took the first one's place meanwhile. */
static void links(void **state)
{
	static const struct {
		const char *names[6], *from[3], *want;
	} rows[] = {
		{ { "a/", "a/f:1", "b/", "b/g=a/f" }, { "a", "b" }, "out/ out/f:1 out/g=out/f" },
		{ { "a/", "a/f:1", "b/", "b/f:2", "b/g=a/f" }, { "a", "b" }, "out/ out/f:1 out/f:2 out/g:1" },
		{ { "a/", "a/x/f:1", "b/", "b/x:2", "b/y=a/x/f" }, { "a", "b" }, "out/ out/x/ out/x/f:1 out/x:2 out/y:1" },
		{ { "d/", "d/a:1", "d/b=d/a", "d/a:22" }, { "d" }, "out/ out/a:22 out/b:1" },
		{ { "d/", "d/a:", "d/b=d/a", "d/a:22" }, { "d" }, "out/ out/a:22 out/b" },
		{ { "d/", "d/a:1", "d/b=d/a" }, { "d", "d" }, "out/ out/a:1 out/b=out/a out/a:1 out/b=out/a" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf tar = {}, got = {};
		struct tree t;
		struct tar_buf_sink sink;
		struct layer l;
		const struct layer_owner own = {};
		OK(tree_of(&t, rows[i].names, &err));
		tar_buf_sink_init(&sink, &tar);
		builder_layer_begin(&l, &sink.sink, -1, NULL, 0);
		for (const char *const *from = rows[i].from; *from; from++) {
			struct tree_node *n;
			OK(builder_tree_find(&t, span_of(*from), true, &n, &err));
			OK(builder_layer_copy(&l, &t, n, SPAN("out"), NULL, &own, &err));
		}
		OK(builder_layer_end(&l, &err));
		builder_layer_done(&l);
		builder_tree_done(&t);
		print_archive(&got, buf_span(&tar));
		if (strcmp(buf_cstr(&got), rows[i].want) != 0)
			fail_msg("row %zu:\n got: %s\nwant: %s", i, buf_cstr(&got), rows[i].want);
	}
}

static void extracts(void **state)
{
	static const struct {
		const char *names[5], *want;
	} rows[] = {
		{ { "a/", "a/f:1", "a/g=a/f" }, "to/ to/a/ to/a/f:1 to/a/g=to/a/f" },
		{ { "./x:1" }, "to/ to/x:1" },
		{ { "/etc/x:1" }, "to/ to/etc/ to/etc/x:1" },
		{ { "../x:1" }, "error" },
		{ { "l>../../../tmp", "l/x:1" }, "to/ to/l>../../../tmp tmp/ tmp/x:1" }, /* inside the root, wherever the link says */
		{ { "h=/etc/passwd" }, "error" },
		{ { "l>/real", "l/sub/f:1" }, "to/ to/l>/real real/sub/f:1" },
		{ { "a:1", ".wh.x:" }, "error" }, /* it would delete to/x */
		{ { "d/.wh..wh..opq:" }, "error" },
		{ { ".wh:1", "x.wh.:2" }, "to/ to/.wh:1 to/x.wh.:2" },
	};
	auto_buf struct buf path = {};
	buf_printf(&path, "%s/lower", dir);
	auto_fd int lower = open(buf_cstr(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf in = {}, tar = {}, got = {};
		auto_err struct err err = ERR_INIT;
		struct tar_memory_source source;
		struct tar_buf_sink sink;
		struct layer l;
		const struct layer_owner own = {};
		archive(&in, rows[i].names);
		tar_memory_source_init(&source, buf_span(&in));
		tar_buf_sink_init(&sink, &tar);
		builder_layer_begin(&l, &sink.sink, lower, NULL, 0);
		int rc = builder_layer_extract(&l, &source.source, SPAN("/to"), &own, &err);
		rc = rc < 0 ? rc : builder_layer_end(&l, &err);
		builder_layer_done(&l);
		if (rc < 0)
			buf_str(&got, "error");
		else
			print_archive(&got, buf_span(&tar));
		if (strcmp(buf_cstr(&got), rows[i].want) != 0)
			fail_msg("row %zu:\n got: %s %s\nwant: %s", i, buf_cstr(&got), err_msg(&err), rows[i].want);
	}
	/* A layer that is passed on keeps what its names mean. */
	auto_buf struct buf in = {}, tar = {}, got = {};
	struct tar_memory_source source;
	struct tar_buf_sink sink;
	struct layer l;
	archive(&in, (const char *const[]){ "d/", "d/.wh.x:", NULL });
	tar_memory_source_init(&source, buf_span(&in));
	tar_buf_sink_init(&sink, &tar);
	builder_layer_begin(&l, &sink.sink, -1, NULL, 0);
	OK(builder_layer_pass(&l, &source.source, &err));
	OK(builder_layer_end(&l, &err));
	builder_layer_done(&l);
	print_archive(&got, buf_span(&tar));
	assert_string_equal(buf_cstr(&got), "d/ d/.wh.x");
}

static int begin(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
	auto_buf struct buf b = {};
	static const char *const left[] = { "lower/real/sub", "lower/real", "lower/link", "lower/abs", "lower/out", "lower/self", "lower/file",
		"lower", "" };
	for (size_t i = 0; i < ARRAY_LEN(left); i++) {
		buf_trunc(&b, 0);
		buf_printf(&b, "%s/%s", dir, left[i]);
		if (remove(buf_cstr(&b)) < 0)
			return -1;
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(escapes), cmocka_unit_test(digests), cmocka_unit_test(globs),
		cmocka_unit_test(ignored), cmocka_unit_test(copies), cmocka_unit_test(extracts),
		cmocka_unit_test(links), cmocka_unit_test(holes) };
	return cmocka_run_group_tests(tests, begin, end);
}
