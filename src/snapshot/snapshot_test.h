/* Helpers of the snapshot tests: archives from a line each, trees as text. */
#pragma once

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/calls_test.h"
#include "snapshot/private.h"

/* "d PATH", "f PATH CONTENTS", "s PATH TARGET", "h PATH TARGET", "c PATH MAJOR:MINOR", "p PATH"; one a line. */
static void archive(struct buf *out, const char *lines)
{
	struct tar_buf_sink sink;
	struct tar_writer w;
	auto_err struct err err = ERR_INIT;
	tar_buf_sink_init(&sink, out);
	tar_writer_init(&w, &sink.sink);
	struct span rest = span_of(lines), line, kind, path, tail;
	while (span_cut(&rest, '\n', &line)) {
		(void)span_split(line, ' ', &kind, &tail);
		struct span arg;
		(void)span_split(tail, ' ', &path, &arg);
		struct tar_entry e = { .path = path, .mode = 0644, .mtime = { 1000000, 5 }, .atime.tv_nsec = UTIME_OMIT,
			.ctime.tv_nsec = UTIME_OMIT };
		switch (kind.ptr[0]) {
		case 'd': e.kind = TAR_DIR; e.mode = 0755; break;
		case 'f': e.kind = TAR_FILE; e.size = arg.len; break;
		case 's': e.kind = TAR_SYMLINK; e.link = arg; e.mode = 0777; break;
		case 'h': e.kind = TAR_HARDLINK; e.link = arg; break;
		case 'p': e.kind = TAR_FIFO; break;
		default:
			e.kind = TAR_CHAR;
			e.major = (unsigned)(arg.ptr[0] - '0');
			e.minor = (unsigned)(arg.ptr[2] - '0');
		}
		if (tar_write(&w, &e, &err) < 0 || (e.kind == TAR_FILE && arg.len && tar_write_data(&w, arg, &err) < 0))
			fail_msg("%s", err_msg(&err));
	}
	assert_int_equal(tar_write_end(&w, &err), 0);
	tar_writer_done(&w);
}

/* A chain id from a letter. */
static const char *chain(char letter)
{
	static char texts[8][SNAPSHOT_CHAIN_LEN + 1];
	static unsigned next;
	char *t = texts[next++ % 8];
	memset(t, letter, SNAPSHOT_CHAIN_LEN);
	t[SNAPSHOT_CHAIN_LEN] = 0;
	return t;
}

static int unpack_span(struct snapshot_store *s, const char *name, const char *parent, struct span tar, struct err *err)
{
	struct tar_memory_source m;
	tar_memory_source_init(&m, tar);
	struct snapshot_pending *p;
	int rc = snapshot_unpack(s, parent, &m.source, &p, NULL, err);
	return rc < 0 ? rc : snapshot_unpack_commit(p, name, parent, err);
}

static int unpack(struct snapshot_store *s, const char *name, const char *parent, const char *lines, struct err *err)
{
	auto_buf struct buf b = {};
	archive(&b, lines);
	return unpack_span(s, name, parent, buf_span(&b), err);
}

static struct buf listing;
static size_t listing_base;

static int list_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	char target[256] = "";
	if (ftw->level == 0)
		return 0;
	buf_printf(&listing, "%s", path + listing_base);
	if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		buf_printf(&listing, " -> %.*s", (int)n, target);
	} else if (S_ISREG(st->st_mode)) {
		auto_buf struct buf text = {};
		assert_int_equal(io_read_file(AT_FDCWD, path, &text, 1 << 20, NULL), 0);
		buf_printf(&listing, " = %s", buf_cstr(&text));
	} else if (!S_ISDIR(st->st_mode)) {
		buf_printf(&listing, " %c %u:%u", S_ISCHR(st->st_mode) ? 'c' : S_ISFIFO(st->st_mode) ? 'p' : '?', major(st->st_rdev),
			minor(st->st_rdev));
	}
	buf_chr(&listing, '\n');
	return 0;
}

static int line_cmp(const void *a, const void *b)
{
	return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

/* The tree as sorted lines; valid until the next call. */
static const char *tree(const char *root)
{
	static struct buf sorted;
	buf_trunc(&listing, 0);
	buf_trunc(&sorted, 0);
	listing_base = strlen(root) + 1;
	assert_int_equal(nftw(root, list_one, 16, FTW_PHYS), 0);
	struct span lines[2000], rest = buf_span(&listing);
	size_t n = 0;
	while (n < ARRAY_LEN(lines) && span_cut(&rest, '\n', &lines[n]))
		n++;
	qsort(lines, n, sizeof(*lines), line_cmp);
	for (size_t i = 0; i < n; i++)
		buf_printf(&sorted, "%.*s\n", SPAN_ARG(lines[i]));
	return buf_cstr(&sorted);
}

static char top[64], target[80];

static void top_make(void)
{
	snprintf(top, sizeof(top), "/tmp/knarr-snapshot-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(target, sizeof(target), "%s/mnt", top);
}

static void top_remove(void)
{
	(void)umount2(target, MNT_DETACH);
	assert_int_equal(snapshot_tree_remove(AT_FDCWD, top, NULL), 0);
}

static struct snapshot_store *opened(const char *sub, enum snapshot_backend backend, bool check_all)
{
	char dir[100];
	auto_err struct err err = ERR_INIT;
	snprintf(dir, sizeof(dir), "%s/%s", top, sub);
	const struct snapshot_params p = { .dir = dir, .backend = backend, .check_all = check_all };
	struct snapshot_store *s = NULL;
	if (snapshot_open(&p, &s, &err) < 0)
		fail_msg("open: %s", err_msg(&err));
	return s;
}

