#include <sched.h>
#include "snapshot/snapshot_test.h"

static const enum snapshot_backend backends[] = { SNAPSHOT_OVERLAY, SNAPSHOT_COPY };

#define EACH_BACKEND(s)                                                                                                \
	for (size_t b_ = 0; b_ < ARRAY_LEN(backends); b_++)                                                            \
		for (struct snapshot_store *s = opened(snapshot_backend_name(backends[b_]), backends[b_], false); s;     \
		     snapshot_close(s), s = NULL)

static const char base_layer[] = "d etc\nf etc/a one\nf etc/b two\nd dir\nf dir/x x\nf dir/y y\ns link etc\nh etc/hard etc/a\np pipe\nc null 1:3\n"
				 "d gone\nf gone/z z\n";
static const char top_layer[] = "d etc\nf etc/.wh.b \nf etc/a three\nd dir\nf dir/.wh..wh..opq \nf dir/new n\nf .wh.gone \nf link new\n"
				".wh";

static void layers_make(struct snapshot_store *s)
{
	auto_buf struct buf second = {};
	buf_add(&second, top_layer, sizeof(top_layer) - 5);
	OK(unpack(s, chain('a'), "", base_layer, &err));
	OK(unpack(s, chain('b'), chain('a'), buf_cstr(&second), &err));
}

static void test_layers(void **state)
{
	top_make();
	EACH_BACKEND(s) {
		layers_make(s);
		OK(unpack(s, chain('b'), chain('a'), "f other 1\n", &err)); /* there already: dropped */
		OK(snapshot_layer_mount(s, chain('a'), target, &err));
		assert_string_equal(tree(target), "dir\ndir/x = x\ndir/y = y\netc\netc/a = one\netc/b = two\netc/hard = one\ngone\ngone/z = z\n"
						  "link -> etc\nnull c 1:3\npipe p 0:0\n");
		FAILS(ERR_IN_USE, "mounted there already", snapshot_layer_mount(s, chain('a'), target, &err));
		OK(snapshot_unmount(target, &err));
		FAILS(ERR_NOT_FOUND, "nothing is mounted", snapshot_unmount(target, &err));
		OK(snapshot_prepare(s, "c1", chain('b'), &err));
		FAILS(ERR_EXISTS, "there already", snapshot_prepare(s, "c1", chain('b'), &err));
		FAILS(ERR_INVALID, "no key", snapshot_prepare(s, "../c1", chain('b'), &err));
		FAILS(ERR_NOT_FOUND, "layer", snapshot_prepare(s, "c2", chain('e'), &err));
		OK(snapshot_mount(s, "c1", target, false, &err));
		assert_string_equal(tree(target), "dir\ndir/new = n\netc\netc/a = three\netc/hard = one\nlink = new\nnull c 1:3\npipe p 0:0\n");
		FAILS(ERR_IN_USE, "is mounted", snapshot_remove(s, "c1", &err));
		FAILS(ERR_IN_USE, "stand on it", snapshot_layer_remove(s, chain('b'), &err));
		FAILS(ERR_IN_USE, "stand on it", snapshot_layer_remove(s, chain('a'), &err));
		OK(snapshot_unmount(target, &err));
		OK(snapshot_prepare(s, "empty", "", &err));
		OK(snapshot_mount(s, "empty", target, false, &err));
		assert_string_equal(tree(target), "");
		FAILS(ERR_IN_USE, "is mounted", snapshot_remove(s, "empty", &err));
		OK(snapshot_unmount(target, &err));
		OK(snapshot_remove(s, "empty", &err));
		FAILS(ERR_NOT_FOUND, "empty", snapshot_remove(s, "empty", &err));
	}
	/* What was made is there again after another open; both are closed now. */
	EACH_BACKEND(s) {
		char parent[SNAPSHOT_CHAIN_LEN + 1];
		struct snapshot_layer l;
		OK(snapshot_parent(s, "c1", parent, &err));
		assert_string_equal(parent, chain('b'));
		OK(snapshot_layer_get(s, chain('b'), &l, &err));
		assert_string_equal(l.parent, chain('a'));
		FAILS(ERR_IN_USE, "another process", snapshot_open(&(struct snapshot_params){ .dir = s->dir }, &(struct snapshot_store *){ NULL }, &err));
		OK(snapshot_remove(s, "c1", &err));
		OK(snapshot_layer_remove(s, chain('b'), &err));
		OK(snapshot_layer_remove(s, chain('a'), &err));
	}
	top_remove();
}

static void test_attributes(void **state)
{
	top_make();
	EACH_BACKEND(s) {
		auto_buf struct buf b = {};
		struct tar_buf_sink sink;
		struct tar_writer w;
		tar_buf_sink_init(&sink, &b);
		tar_writer_init(&w, &sink.sink);
		/* cap_net_raw+ep: struct vfs_cap_data of revision 2 */
		static const char cap[20] = { 1, 0, 0, 2, 0, 32 };
		const struct tar_xattr xattrs[] = { { SPAN("security.capability"), span_make(cap, sizeof(cap)) }, { SPAN("user.k"), SPAN("v") } };
		const struct tar_entry all[] = {
			{ .kind = TAR_DIR, .path = SPAN("./"), .mode = 0711, .mtime = { 77, 0 }, .uid = 5, .gid = 6 },
			{ .kind = TAR_DIR, .path = SPAN("d"), .mode = 01777, .mtime = { 100, 1 }, .uid = 70000, .gid = 3000000000 },
			{ .kind = TAR_FILE, .path = SPAN("d/su"), .mode = 06755, .mtime = { -5, 999999999 }, .uid = 1000, .xattrs = xattrs, .n_xattrs = 2 },
			{ .kind = TAR_SYMLINK, .path = SPAN("d/l"), .link = SPAN("/nowhere"), .mtime = { 9, 9 }, .uid = 3, .gid = 4 },
		};
		for (size_t i = 0; i < ARRAY_LEN(all); i++)
			OK(tar_write(&w, &all[i], &err));
		OK(tar_write_end(&w, &err));
		tar_writer_done(&w);
		OK(unpack_span(s, chain('a'), "", buf_span(&b), &err));
		/* A folder that a layer implies without naming it keeps what the layer below says. */
		OK(unpack(s, chain('b'), chain('a'), "f d/e/new 1\n", &err));
		OK(snapshot_prepare(s, "c", chain('b'), &err));
		OK(snapshot_mount(s, "c", target, false, &err));
		for (size_t i = 0; i < ARRAY_LEN(all); i++) {
			char path[200];
			struct stat st;
			snprintf(path, sizeof(path), "%s/%s", target, all[i].path.ptr);
			assert_int_equal(lstat(path, &st), 0);
			if (st.st_uid != all[i].uid || st.st_gid != all[i].gid || (i && (st.st_mtim.tv_sec != all[i].mtime.tv_sec ||
			    st.st_mtim.tv_nsec != all[i].mtime.tv_nsec)) || (i != 3 && (st.st_mode & 07777) != all[i].mode))
				if (i != 1 || s->backend != SNAPSHOT_COPY || st.st_mode != (S_IFDIR | all[i].mode)) /* its time: a name was added */
					fail_msg("%s: %u:%u %o %lld.%09ld", path, st.st_uid, st.st_gid, st.st_mode, (long long)st.st_mtim.tv_sec,
						st.st_mtim.tv_nsec);
			if (i == 2) {
				char v[32];
				assert_int_equal(lgetxattr(path, "security.capability", v, sizeof(v)), 20);
				assert_memory_equal(v, cap, 20);
				assert_int_equal(lgetxattr(path, "user.k", v, sizeof(v)), 1);
			}
		}
		OK(snapshot_unmount(target, &err));
	}
	top_remove();
}

static void test_escapes(void **state)
{
	top_make();
	char outside[100], link[1000];
	snprintf(outside, sizeof(outside), "%s/outside", top);
	assert_int_equal(mkdir(outside, 0755), 0);
	EACH_BACKEND(s) {
		FAILS(ERR_INVALID, "outside of the root", unpack(s, chain('a'), "", "f ../x 1\n", &err));
		FAILS(ERR_INVALID, "outside of the root", unpack(s, chain('a'), "", "f a/../../x 1\n", &err));
		FAILS(ERR_INVALID, "outside of the root", unpack(s, chain('a'), "", "f x 1\nh y ../x\n", &err));
		FAILS(ERR_INVALID, "which the layer does not have", unpack(s, chain('a'), "", "h y /etc/passwd\n", &err));
		FAILS(ERR_INVALID, "which is no file", unpack(s, chain('a'), "", "d e\nh y e\n", &err));
		FAILS(ERR_INVALID, "replace the root", unpack(s, chain('a'), "", "f ./ 1\n", &err));
		FAILS(ERR_INVALID, "0:0", unpack(s, chain('a'), "", "c x 0:0\n", &err));
		FAILS(ERR_INVALID, "removes no name", unpack(s, chain('a'), "", "f d/.wh. \n", &err));
		FAILS(ERR_INVALID, "removes no name", unpack(s, chain('a'), "", "f d/.wh... \n", &err));
		FAILS(ERR_IO, "folder loop", unpack(s, chain('a'), "", "s loop loop\nf loop/x 1\n", &err));
		/* Links on the way lead around inside, wherever they point. */
		FAILS(ERR_INVALID, "leads nowhere", unpack(s, chain('a'), "", "s up /nowhere\nf up/1 in\n", &err));
		snprintf(link, sizeof(link), "f %s/here 0\ns up ../../../../../../../..%s\ns abs %s\nf up/1 in\nf abs/2 in\nd up/sub\nh hard up/1\nf up/../3 in\n"
			 "s file /etc/passwd\nf file mine\nf q 1\ns q %s/kept\nf q 2\n", outside + 1, outside, outside, outside);
		OK(unpack(s, chain('a'), "", link, &err));
		OK(snapshot_layer_mount(s, chain('a'), target, &err));
		auto_free char *seen = mem_dup(tree(target), strlen(tree(target)));
		OK(snapshot_unmount(target, &err));
		assert_non_null(strstr(seen, "\nfile = mine\n"));
		assert_non_null(strstr(seen, "\nhard = in\n"));
		assert_non_null(strstr(seen, "\nq = 2\n"));
		assert_non_null(strstr(seen, "/outside/1 = in\n"));
		assert_non_null(strstr(seen, "\nup -> "));
		assert_string_equal(tree(outside), "");
		/* A hard link to a link does not follow it. */
		OK(unpack(s, chain('c'), "", "s l /etc/passwd\nh m l\nf m x\n", &err));
		OK(snapshot_layer_mount(s, chain('c'), target, &err));
		assert_string_equal(tree(target), "l -> /etc/passwd\nm = x\n");
		OK(snapshot_unmount(target, &err));
	}
	top_remove();
}

static void test_bombs(void **state)
{
	top_make();
	char dir[100];
	snprintf(dir, sizeof(dir), "%s/bombs", top);
	const struct snapshot_params p = { .dir = dir, .limits = { .entries = 3, .bytes = 10 } };
	struct snapshot_store *s;
	OK(snapshot_open(&p, &s, &err));
	FAILS(ERR_TOO_LARGE, "more than 3 entries", unpack(s, chain('a'), "", "p a\np b\np c\np d\n", &err));
	FAILS(ERR_TOO_LARGE, "more than 10 bytes", unpack(s, chain('a'), "", "f a 123456\nf b 12345\n", &err));
	assert_false(snapshot_layer_has(s, chain('a')));
	char tmp[120];
	snprintf(tmp, sizeof(tmp), "%s/tmp", dir);
	assert_string_equal(tree(tmp), ""); /* nothing is left of either */
	int fd = open(tmp, O_RDONLY | O_DIRECTORY);
	/* Deeper than any path can say: made one step at a time, moved away and removed. */
	int at = dup(fd);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(mkdirat(at, "d", 0755), 0);
		int next = openat(at, "d", O_RDONLY | O_DIRECTORY);
		close(at);
		at = next;
	}
	close(at);
	OK(snapshot_tree_remove(fd, "d", &err));
	close(fd);
	assert_string_equal(tree(tmp), "");
	snapshot_close(s);
	top_remove();
}

static void test_same_layer(void **state)
{
	/* What a layer removes is what stands below, never what it brings itself; order does not matter. */
	static const struct {
		const char *lines, *result;
	} rows[] = {
		{ "f f new\nf .wh.f \n", "d\nd/sub\nd/sub/x = 1\nf = new\n" },
		{ "f .wh.f \nf f new\n", "d\nd/sub\nd/sub/x = 1\nf = new\n" },
		{ "f .wh.d \nd d\nf d/y 2\n", "d\nd/y = 2\nf = old\n" },
		{ "f .wh.d \nf d/y 2\n", "d\nd/y = 2\nf = old\n" },
		{ "d d\nf d/y 2\nf d/.wh..wh..opq \n", "d\nd/y = 2\nf = old\n" },
		{ "d d\nf d/.wh..wh..opq \nf d/sub/y 2\n", "d\nd/sub\nd/sub/y = 2\nf = old\n" },
		{ "f d flat\n", "d = flat\nf = old\n" },
		{ "d f\n", "d\nd/sub\nd/sub/x = 1\nf\n" },
		{ "f .wh..wh..opq \nf only 1\n", "only = 1\n" },
		{ "f .wh.nothing \nd .wh..wh.plnk\nf d/.wh.sub \n", "d\nf = old\n" },
		{ "f a 1\nf a 2\nd b\nf b/c 1\nf b 3\n", "a = 2\nb = 3\nd\nd/sub\nd/sub/x = 1\nf = old\n" },
		{ "f a 1\nh b a\nh a b\nh b a\n", "a = 1\nb = 1\nd\nd/sub\nd/sub/x = 1\nf = old\n" },
	};
	top_make();
	EACH_BACKEND(s) {
		OK(unpack(s, chain('0'), "", "d d\nd d/sub\nf d/sub/x 1\nf f old\n", &err));
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			OK(unpack(s, chain('1'), chain('0'), rows[i].lines, &err));
			OK(snapshot_layer_mount(s, chain('1'), target, &err));
			if (strcmp(tree(target), rows[i].result))
				fail_msg("%s, row %zu %s\nwanted\n%s\ngot\n%s", snapshot_backend_name(s->backend), i, rows[i].lines, rows[i].result,
					tree(target));
			OK(snapshot_unmount(target, &err));
			OK(snapshot_layer_remove(s, chain('1'), &err));
		}
	}
	top_remove();
}

static void put(const char *name, const char *text)
{
	char path[300];
	snprintf(path, sizeof(path), "%s/%s", target, name);
	OK(io_write_file_lazy(AT_FDCWD, path, span_of(text), 0644, &err));
}

static const char *in_target(const char *name)
{
	static char path[4][300];
	static unsigned n;
	char *p = path[n++ % 4];
	snprintf(p, 300, "%s/%s", target, name);
	return p;
}

static const struct snapshot_places *places; /* what changes_text leaves out */

static const char *changes_text(struct snapshot_store *s, const char *key)
{
	static struct buf b;
	struct snapshot_changes c;
	buf_trunc(&b, 0);
	OK(snapshot_changes(s, key, places, &c, &err));
	for (size_t i = 0; i < c.n; i++)
		buf_printf(&b, "%c %s\n", "CAD"[c.items[i].kind], c.items[i].path);
	snapshot_changes_done(&c);
	return buf_cstr(&b);
}

static int walked(int dirfd, const char *rel, const char *name, const struct stat *st, void *arg, struct err *e)
{
	struct stat here;
	assert_int_equal(fstatat(dirfd, name, &here, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(here.st_ino, st->st_ino);
	buf_printf(arg, "%s ", rel);
	if (!strcmp(rel, "a/b")) /* what goes meanwhile is not there */
		assert_int_equal(unlinkat(dirfd, "c", 0), 0);
	return !strcmp(rel, "shut");
}

/* By name, a folder before what is in it and that before what comes behind it, in whatever order the disk has them. */
static void test_order(void **state)
{
	static const char want[] = "a a/b a/b/x a/b/y a/d a-b n00 n01 n02 n03 n04 n05 n06 n07 n08 n09 n10 n11 shut z ";
	auto_buf struct buf got = {};
	top_make();
	assert_int_equal(mkdir(target, 0755), 0);
	for (int i = 11; i >= 0; i--) {
		char name[8];
		snprintf(name, sizeof(name), "n%02d", i);
		put(name, "");
	}
	put("z", "");
	for (const char *const *d = (const char *const[]){ "shut", "a", "a/b", NULL }; *d; d++)
		assert_int_equal(mkdir(in_target(*d), 0755), 0);
	for (const char *const *f = (const char *const[]){ "shut/in", "a-b", "a/d", "a/c", "a/b/y", "a/b/x", NULL }; *f; f++)
		put(*f, "");
	auto_fd int fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	OK(snapshot_tree_each_sorted(fd, walked, &got, &err));
	assert_string_equal(buf_cstr(&got), want);
	top_remove();
}

/* Mount points are no changes; what somebody made of them is. */
static void test_changes_besides(void **state)
{
	static const struct snapshot_place rows[] = { { "/proc", S_IFDIR }, { "/proc/in", S_IFDIR }, { "/run", S_IFDIR },
		{ "/etc/hosts", S_IFREG }, { "/etc/a", S_IFREG }, { "/etc/full", S_IFREG }, { "/etc/odd", S_IFREG }, { "/dir", S_IFDIR } };
	static const struct snapshot_places all = { rows, ARRAY_LEN(rows) };
	top_make();
	EACH_BACKEND(s) {
		layers_make(s);
		OK(snapshot_prepare(s, "p", chain('b'), &err));
		OK(snapshot_mount(s, "p", target, false, &err));
		static const char *const folders[] = { "proc", "proc/in", "run", "etc/odd" };
		for (size_t i = 0; i < ARRAY_LEN(folders); i++)
			assert_int_equal(mkdir(in_target(folders[i]), 0755), 0);
		put("etc/hosts", "");
		places = &all;
		assert_string_equal(changes_text(s, "p"), "C /etc\nC /etc/odd\n");
		assert_int_equal(rmdir(in_target("etc/odd")), 0);
		assert_string_equal(changes_text(s, "p"), "");
		auto_buf struct buf diff = {}, none = {};
		struct tar_buf_sink sink;
		struct tar_writer w;
		tar_buf_sink_init(&sink, &diff);
		OK(snapshot_diff(s, "p", &all, &sink.sink, &err));
		tar_buf_sink_init(&sink, &none);
		tar_writer_init(&w, &sink.sink);
		OK(tar_write_end(&w, &err));
		tar_writer_done(&w);
		assert_true(span_eq(buf_span(&diff), buf_span(&none)));
		put("run/pid", "1");
		put("etc/full", "text");
		put("etc/a", "changed"); /* the layers' own file */
		assert_string_equal(changes_text(s, "p"), "C /etc\nC /etc/a\nC /etc/full\nC /run\nA /run/pid\n");
		places = NULL;
		OK(snapshot_unmount(target, &err));
	}
	top_remove();
}

static void test_changes(void **state)
{
	top_make();
	EACH_BACKEND(s) {
		layers_make(s);
		OK(snapshot_prepare(s, "c", chain('b'), &err));
		OK(snapshot_mount(s, "c", target, false, &err));
		assert_string_equal(changes_text(s, "c"), "");
		put("etc/a", "changed");
		put("etc/sub-new", "1");
		assert_int_equal(mkdir(in_target("made"), 0700), 0);
		put("made/in", "2");
		assert_int_equal(link(in_target("made/in"), in_target("made/same")), 0);
		assert_int_equal(unlink(in_target("null")), 0);
		assert_int_equal(chmod(in_target("pipe"), 0600), 0);
		/* removed and made again: what stood in it is gone */
		assert_int_equal(unlink(in_target("dir/new")), 0);
		assert_int_equal(rmdir(in_target("dir")), 0);
		assert_int_equal(mkdir(in_target("dir"), 0755), 0);
		put("dir/else", "3");
		int fd = open(in_target("etc/hard"), O_RDWR); /* copied up, nothing changed */
		close(fd);
		const char wanted[] = "C /dir\nA /dir/else\nD /dir/new\nC /etc\nC /etc/a\nA /etc/sub-new\nA /made\nA /made/in\nA /made/same\n"
				      "D /null\nC /pipe\n";
		assert_string_equal(changes_text(s, "c"), wanted);
		auto_free char *before = mem_dup(tree(target), strlen(tree(target)));
		auto_buf struct buf diff = {};
		struct tar_buf_sink sink;
		tar_buf_sink_init(&sink, &diff);
		OK(snapshot_diff(s, "c", NULL, &sink.sink, &err));
		OK(snapshot_unmount(target, &err));
		/* The archive upon the same parent gives the same tree. */
		OK(unpack_span(s, chain('d'), chain('b'), buf_span(&diff), &err));
		OK(snapshot_layer_mount(s, chain('d'), target, &err));
		assert_string_equal(tree(target), before);
		struct stat a, b;
		assert_int_equal(stat(in_target("made/in"), &a), 0);
		assert_int_equal(stat(in_target("made/same"), &b), 0);
		assert_int_equal(a.st_ino, b.st_ino);
		OK(snapshot_unmount(target, &err));
		/* So does the snapshot itself as a layer. */
		uint64_t entries, bytes;
		OK(snapshot_usage(s, "c", &entries, &bytes, &err));
		assert_true(entries >= 8 && bytes >= 9);
		OK(snapshot_commit(s, "c", chain('e'), &err));
		assert_false(snapshot_has(s, "c"));
		OK(snapshot_layer_mount(s, chain('e'), target, &err));
		assert_string_equal(tree(target), before);
		OK(snapshot_unmount(target, &err));
		FAILS(ERR_IN_USE, "stand on it", snapshot_layer_remove(s, chain('b'), &err));
	}
	top_remove();
}

/* Any sequence of changes, taken as an archive and unpacked, gives the tree that was seen. */
static void test_changes_random(void **state)
{
	top_make();
	struct rng rng;
	rng_init(&rng, 11);
	EACH_BACKEND(s) {
		const char *below = "";
		char names[][12] = { "a", "b", "c", "a/b", "a/c", "b/a", "a/b/c", "b/a/c", "c/a", "c/a/b" };
		char chains[16][SNAPSHOT_CHAIN_LEN + 1];
		for (int round = 0; round < 15; round++) {
			snprintf(chains[round], sizeof(chains[round]), "%064d", round + 1);
			OK(snapshot_prepare(s, "r", below, &err));
			OK(snapshot_mount(s, "r", target, false, &err));
			for (int op = 0; op < 12; op++) {
				const char *name = in_target(names[rng_below(&rng, ARRAY_LEN(names))]);
				switch (rng_below(&rng, 6)) {
				case 0:
				case 1:
					(void)mkdir(name, 0755); /* any of these may fail: that is part of it */
					break;
				case 2: {
					int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
					if (fd >= 0)
						dprintf(fd, "%d.%d", round, op);
					close(fd);
					break;
				}
				case 3:
					(void)snapshot_tree_remove(AT_FDCWD, name, NULL);
					break;
				case 4:
					if (symlink("b", name) < 0)
						break;
					break;
				default:
					(void)rename(name, in_target(names[rng_below(&rng, ARRAY_LEN(names))]));
				}
			}
			auto_free char *seen = mem_dup(tree(target), strlen(tree(target)));
			auto_buf struct buf diff = {};
			struct tar_buf_sink sink;
			tar_buf_sink_init(&sink, &diff);
			OK(snapshot_diff(s, "r", NULL, &sink.sink, &err));
			OK(snapshot_unmount(target, &err));
			OK(snapshot_remove(s, "r", &err));
			OK(unpack_span(s, chains[round], below, buf_span(&diff), &err));
			OK(snapshot_layer_mount(s, chains[round], target, &err));
			if (strcmp(tree(target), seen))
				fail_msg("%s, round %d\nwas\n%s\nis\n%s", snapshot_backend_name(s->backend), round, seen, tree(target));
			OK(snapshot_unmount(target, &err));
			below = chains[round];
		}
	}
	top_remove();
}

static bool keep_b(const char *c, void *arg)
{
	return c[0] == 'b';
}

static void test_prune(void **state)
{
	top_make();
	EACH_BACKEND(s) {
		layers_make(s);
		OK(unpack(s, chain('c'), chain('b'), "f c 1\n", &err));
		OK(unpack(s, chain('d'), chain('c'), "f d 1\n", &err));
		OK(unpack(s, chain('e'), "", "f e 1\n", &err));
		OK(snapshot_prepare(s, "k", chain('c'), &err));
		unsigned removed;
		uint64_t bytes;
		OK(snapshot_layers_prune(s, keep_b, NULL, &removed, &bytes, &err));
		assert_int_equal(removed, 2); /* d and e: c is in use, b kept, a below it */
		OK(snapshot_remove(s, "k", &err));
		OK(snapshot_layers_prune(s, keep_b, NULL, &removed, &bytes, &err));
		assert_int_equal(removed, 1);
		assert_true(snapshot_layer_has(s, chain('a')) && snapshot_layer_has(s, chain('b')));
	}
	top_remove();
}

static void test_torn(void **state)
{
	top_make();
	EACH_BACKEND(s) {
		layers_make(s);
		OK(unpack(s, chain('c'), "", "f c 1\n", &err));
	}
	for (size_t i = 0; i < ARRAY_LEN(backends); i++) {
		const char *sub = snapshot_backend_name(backends[i]);
		char path[300];
		/* A file that lost its contents, as a power cut leaves it. */
		snprintf(path, sizeof(path), "%s/%s/layers/%s/fs/etc/a", top, sub, chain('a'));
		assert_int_equal(truncate(path, 0), 0);
		struct snapshot_store *s = opened(sub, SNAPSHOT_AUTO, false);
		assert_int_equal(snapshot_healed(s), 0); /* the machine did not restart: not looked for */
		OK(snapshot_prepare(s, "user", chain('b'), &err));
		snapshot_close(s);
		snprintf(path, sizeof(path), "%s/%s/boot", top, sub);
		OK(io_write_file_lazy(AT_FDCWD, path, SPAN("another\n"), 0600, &err));
		s = opened(sub, SNAPSHOT_AUTO, false);
		assert_int_equal(s->backend, backends[i]);
		assert_int_equal(snapshot_healed(s), 2); /* it, and the one upon it */
		assert_false(snapshot_layer_has(s, chain('a')) || snapshot_layer_has(s, chain('b')));
		assert_true(snapshot_layer_has(s, chain('c')) && snapshot_has(s, "user"));
		/* Unpacked afresh, the snapshot stands on it again. */
		layers_make(s);
		FAILS(ERR_IN_USE, "1 others", snapshot_layer_remove(s, chain('b'), &err));
		OK(snapshot_mount(s, "user", target, false, &err));
		OK(snapshot_unmount(target, &err));
		snapshot_close(s);
		/* A record that does not read. */
		snprintf(path, sizeof(path), "%s/%s/layers/%s/layer.json", top, sub, chain('c'));
		assert_int_equal(truncate(path, 3), 0);
		s = opened(sub, SNAPSHOT_AUTO, false);
		assert_int_equal(snapshot_healed(s), 1);
		assert_false(snapshot_layer_has(s, chain('c')));
		snapshot_close(s);
	}
	top_remove();
}

/* A volatile snapshot that a power cut met lost its record's bytes; a damaged record of another is for a person to look at. */
static void test_volatile(void **state)
{
	top_make();
	EACH_BACKEND(s)
		OK(snapshot_prepare_volatile(s, "fine", "", &err));
	for (size_t i = 0; i < ARRAY_LEN(backends); i++) {
		const char *sub = snapshot_backend_name(backends[i]);
		char torn[300], damaged[300], record[340];
		snprintf(torn, sizeof(torn), "%s/%s/live/torn", top, sub);
		snprintf(damaged, sizeof(damaged), "%s/%s/live/damaged", top, sub);
		struct snapshot_store *s = opened(sub, SNAPSHOT_AUTO, false);
		assert_true(snapshot_has(s, "fine"));
		OK(snapshot_prepare_volatile(s, "torn", "", &err));
		FAILS(ERR_EXISTS, "there already", snapshot_prepare_volatile(s, "torn", "", &err));
		OK(snapshot_prepare(s, "damaged", "", &err));
		snapshot_close(s);
		snprintf(record, sizeof(record), "%s/snapshot.json", torn);
		assert_int_equal(truncate(record, 0), 0);
		snprintf(record, sizeof(record), "%s/snapshot.json", damaged);
		assert_int_equal(truncate(record, 3), 0);
		s = opened(sub, SNAPSHOT_AUTO, false);
		assert_false(snapshot_has(s, "torn") || snapshot_has(s, "damaged"));
		assert_true(access(torn, F_OK) < 0 && access(damaged, F_OK) == 0);
		OK(snapshot_prepare_volatile(s, "torn", "", &err));
		OK(snapshot_remove(s, "torn", &err));
		snapshot_close(s);
	}
	top_remove();
}

/* Does the list of mounts show the option for the mount on target? */
static bool mounted_volatile(void)
{
	auto_buf struct buf text = {}, here = {};
	OK(io_read_file(AT_FDCWD, "/proc/self/mountinfo", &text, 64 << 20, &err));
	buf_printf(&here, " %s ", target);
	struct span rest = buf_span(&text), line;
	while (span_cut(&rest, '\n', &line))
		if (span_find(line, buf_span(&here)) >= 0)
			return span_find(line, SPAN(",volatile")) >= 0 || span_find(line, SPAN("=volatile")) >= 0; /* since 6.18 or so */
	return false;
}

/* A volatile one's mount syncs nothing, and is made again and again all the same, in this open and the next. */
static void test_volatile_mount(void **state)
{
	top_make();
	EACH_BACKEND(s) {
		layers_make(s);
		OK(snapshot_prepare_volatile(s, "v", chain('a'), &err));
		OK(snapshot_prepare(s, "d", chain('a'), &err));
	}
	for (int round = 0; round < 2; round++)
		EACH_BACKEND(s) {
			for (int i = 0; i < 2; i++) {
				OK(snapshot_mount(s, "v", target, false, &err));
				assert_int_equal(mounted_volatile(), s->backend == SNAPSHOT_OVERLAY);
				OK(io_write_file_lazy(AT_FDCWD, in_target("etc/a"), SPAN("written"), 0644, &err));
				OK(snapshot_unmount(target, &err));
				OK(snapshot_mount(s, "v", target, true, &err));
				auto_buf struct buf text = {};
				OK(io_read_file(AT_FDCWD, in_target("etc/a"), &text, 100, &err));
				assert_string_equal(buf_cstr(&text), "written");
				OK(snapshot_unmount(target, &err));
			}
			OK(snapshot_mount(s, "d", target, false, &err));
			assert_false(mounted_volatile());
			OK(snapshot_unmount(target, &err));
		}
	top_remove();
}

/* What is retired has no key, holds nothing, and is one of its kind: the next of that key may follow it before it is gone. */
static void test_retire(void **state)
{
	top_make();
	EACH_BACKEND(s) {
		char first[SNAPSHOT_REST_LEN], second[SNAPSHOT_REST_LEN];
		layers_make(s);
		OK(snapshot_prepare(s, "k", chain('b'), &err));
		OK(snapshot_retire(s, "k", first, &err));
		assert_false(snapshot_has(s, "k"));
		FAILS(ERR_NOT_FOUND, "k", snapshot_retire(s, "k", second, &err));
		OK(snapshot_layer_remove(s, chain('b'), &err));
		OK(snapshot_prepare(s, "k", chain('a'), &err));
		OK(snapshot_retire(s, "k", second, &err));
		assert_string_not_equal(first, second);
		assert_true(faccessat(s->tmp, first, F_OK, 0) == 0 && faccessat(s->tmp, second, F_OK, 0) == 0);
		OK(snapshot_rest_remove(s, first, &err));
		assert_true(faccessat(s->tmp, first, F_OK, 0) < 0 && faccessat(s->tmp, second, F_OK, 0) == 0);
		/* The other one: its second half never comes. */
	}
	for (size_t i = 0; i < ARRAY_LEN(backends); i++) {
		char path[300];
		snprintf(path, sizeof(path), "%s/%s/tmp", top, snapshot_backend_name(backends[i]));
		struct snapshot_store *s = opened(snapshot_backend_name(backends[i]), SNAPSHOT_AUTO, false);
		assert_string_equal(tree(path), "");
		snapshot_close(s);
	}
	top_remove();
}

static void test_no_space(void **state)
{
	/* A full disk in the middle of a layer: an error, nothing left, and the next layer works. */
	top_make();
	char small[100], dir[120];
	snprintf(small, sizeof(small), "%s/small", top);
	assert_int_equal(mkdir(small, 0755), 0);
	if (mount("tmpfs", small, "tmpfs", 0, "size=300k") < 0)
		skip();
	snprintf(dir, sizeof(dir), "%s/s", small);
	const struct snapshot_params p = { .dir = dir, .backend = SNAPSHOT_COPY };
	struct snapshot_store *s;
	OK(snapshot_open(&p, &s, &err));
	auto_buf struct buf lines = {}, text = {};
	buf_str(&lines, "f a ");
	for (int i = 0; i < 400000; i++)
		buf_chr(&lines, 'x');
	FAILS(ERR_NO_SPACE, "write a", unpack(s, chain('a'), "", buf_cstr(&lines), &err));
	OK(unpack(s, chain('a'), "", "f a 1\n", &err));
	snapshot_close(s);
	assert_int_equal(umount(small), 0);
	top_remove();
}

static int group_setup(void **state)
{
	if (geteuid() != 0) {
		print_message("skip: layers with owners, devices and overlayfs need root\n");
		exit(77);
	}
	/* Mounts of our own, so that no run can leave one behind. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layers), cmocka_unit_test(test_attributes), cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_bombs), cmocka_unit_test(test_same_layer), cmocka_unit_test(test_changes),
		cmocka_unit_test(test_changes_besides), cmocka_unit_test(test_order),
		cmocka_unit_test(test_changes_random), cmocka_unit_test(test_prune), cmocka_unit_test(test_torn),
		cmocka_unit_test(test_volatile), cmocka_unit_test(test_volatile_mount),
		cmocka_unit_test(test_retire), cmocka_unit_test(test_no_space),
	};
	return cmocka_run_group_tests(tests, group_setup, NULL);
}
