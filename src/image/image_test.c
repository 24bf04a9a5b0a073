#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "base/calls_test.h"
#include "image/private.h"


/* ---- names ---- */

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_refs(void **state)
{
	static const struct {
		const char *text, *full, *familiar; /* full NULL: familiar holds the error's words */
	} rows[] = {
		{ "nginx", "docker.io/library/nginx", "nginx" },
		{ "nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25" },
		{ "me/app", "docker.io/me/app", "me/app" },
		{ "library/nginx", "docker.io/library/nginx", "nginx" },
		{ "index.docker.io/nginx", "docker.io/library/nginx", "nginx" },
		{ "docker.io/library/nginx:a", "docker.io/library/nginx:a", "nginx:a" },
		{ "docker.io/library/a/b", "docker.io/library/a/b", "library/a/b" },
		{ "localhost/x", "localhost/x", "localhost/x" },
		{ "docker.io/x.y/z", "docker.io/x.y/z", "docker.io/x.y/z" },
		{ "library/" HEX64, "docker.io/library/" HEX64, "library/" HEX64 },
		{ "localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1" },
		{ "LOCAL/x", "LOCAL/x", "LOCAL/x" },
		{ "192.168.1.1:5000/a/b_c.d-e__f--g", "192.168.1.1:5000/a/b_c.d-e__f--g", "192.168.1.1:5000/a/b_c.d-e__f--g" },
		{ "[2001:db8::1]:5000/x:t", "[2001:db8::1]:5000/x:t", "[2001:db8::1]:5000/x:t" },
		{ "quay.io/a:T_a.g-1", "quay.io/a:T_a.g-1", "quay.io/a:T_a.g-1" },
		{ "a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			"docker.io/library/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			"a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "a:t@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			"docker.io/library/a:t@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			"a:t@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080", "foo/foo_bar.com:8080" },
		{ "", NULL, "invalid reference format" },
		{ "Nginx", NULL, "invalid reference format: repository name (Nginx) must be lowercase" },
		{ "me/App:x", NULL, "repository name (me/App) must be lowercase" },
		{ "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", NULL,
			"invalid repository name (e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855), cannot specify 64-byte "
			"hexadecimal strings" },
		{ "a:", NULL, "invalid reference format" },
		{ ":a", NULL, "invalid reference format" },
		{ "a b", NULL, "invalid reference format" },
		{ "-a", NULL, "invalid reference format" },
		{ "a-", NULL, "invalid reference format" },
		{ "a..b", NULL, "invalid reference format" },
		{ "a___b", NULL, "invalid reference format" },
		{ "a//b", NULL, "invalid reference format" },
		{ "/a", NULL, "invalid reference format" },
		{ "a/", NULL, "invalid reference format" },
		{ "a:.x", NULL, "invalid reference format" },
		{ "foo_bar.com:8080/x", NULL, "invalid reference format" },
		{ "-x.com/a", NULL, "invalid reference format" },
		{ "x.com:/a", NULL, "invalid reference format" },
		{ "a@sha256:12", NULL, "invalid reference format" },
		{ "a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8", NULL, "invalid checksum digest length" },
		{ "a@sha999:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", NULL, "unsupported digest algorithm" },
		{ "a@1sha:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", NULL, "invalid reference format" },
		{ "../a", NULL, "invalid reference format" },
		{ "a/../b", NULL, "invalid reference format" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct image_ref r;
		int rc = image_ref_parse(span_of(rows[i].text), &a, &r, &err);
		if (!rows[i].full) {
			if (rc != -ERR_INVALID_REQUEST || !strstr(err_msg(&err), rows[i].familiar))
				fail_msg("\"%s\": wanted \"%s\", got %d \"%s\"", rows[i].text, rows[i].familiar, rc, err_msg(&err));
			continue;
		}
		if (rc < 0)
			fail_msg("\"%s\": %s", rows[i].text, err_msg(&err));
		struct span full = image_ref_text(&r, &a), familiar = image_ref_familiar(&r, &a);
		if (!span_is(full, rows[i].full) || !span_is(familiar, rows[i].familiar))
			fail_msg("\"%s\": \"%.*s\" \"%.*s\"", rows[i].text, SPAN_ARG(full), SPAN_ARG(familiar));
	}
	auto_arena struct arena a = {};
	struct image_ref r;
	char longest[300];
	memset(longest, 'a', sizeof(longest));
	longest[2] = '/';
	OK(image_ref_parse(span_make(longest, 255), &a, &r, &err));
	FAILS(ERR_INVALID_REQUEST, "repository name must not be more than 255 characters",
		image_ref_parse(span_make(longest, 256), &a, &r, &err));
}

static void test_digests(void **state)
{
	struct image_digest d;
	FAILS(ERR_INVALID_REQUEST, "invalid checksum digest format", image_digest_parse(SPAN("x"), &d, &err));
	FAILS(ERR_INVALID_REQUEST, "invalid checksum digest format",
		image_digest_parse(SPAN("sha256:E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), &d, &err));
	d = image_digest_of(SPAN(""));
	assert_string_equal(d.text, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	char one[65], two[65];
	image_chain("", &d, one);
	assert_string_equal(one, d.text + 7);
	image_chain(one, &d, two);
	auto_buf struct buf both = {};
	buf_printf(&both, "%s %s", d.text, d.text);
	struct image_digest want = image_digest_of(buf_span(&both));
	assert_string_equal(two, want.text + 7);
}

/* ---- platforms, manifests ---- */

static void test_platforms(void **state)
{
	static const struct {
		const char *text, *os, *arch, *variant;
	} rows[] = {
		{ "linux/amd64", "linux", "amd64", "" }, { "linux/arm/v7", "linux", "arm", "v7" }, { "arm64", "linux", "arm64", "" },
		{ "linux/arm", "linux", "arm", "v7" }, { "linux/aarch64", "linux", "arm64", "" }, { "linux/arm64/v8", "linux", "arm64", "" },
		{ "linux/arm/6", "linux", "arm", "v6" }, { "armel", "linux", "arm", "v6" }, { "windows/amd64", "windows", "amd64", "" },
		{ "Linux/x86_64", "linux", "amd64", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct image_platform p;
		OK(image_platform_parse(span_of(rows[i].text), &p, &err));
		if (strcmp(p.os, rows[i].os) || strcmp(p.arch, rows[i].arch) || strcmp(p.variant, rows[i].variant))
			fail_msg("%s: %s/%s/%s", rows[i].text, p.os, p.arch, p.variant);
	}
	static const char *const bad[] = { "linux/", "/amd64", "a/b/c/d", "what", "linux//v7", "lin ux/amd64" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct image_platform p;
		FAILS(ERR_INVALID_REQUEST, "invalid argument", image_platform_parse(span_of(bad[i]), &p, &err));
	}
	static const struct {
		const char *want;
		int best;
	} choice[] = { { "linux/amd64", 0 }, { "linux/arm64", 3 }, { "linux/arm/v7", 2 }, { "linux/arm/v6", 1 }, { "linux/arm/v8", 2 },
		{ "linux/s390x", -1 }, { "linux/arm/v5", -1 } };
	struct image_descriptor items[] = { { .platform = { "linux", "amd64", "" } }, { .platform = { "linux", "arm", "v6" } },
		{ .platform = { "linux", "arm", "v7" } }, { .platform = { "linux", "arm64", "v8" } },
		{ .platform = { "unknown", "unknown", "" }, .attestation = true } };
	const struct image_manifest index = { .kind = IMAGE_INDEX, .items = items, .n = ARRAY_LEN(items) };
	for (size_t i = 0; i < ARRAY_LEN(choice); i++) {
		struct image_platform p;
		const struct image_descriptor *d = NULL;
		OK(image_platform_parse(span_of(choice[i].want), &p, &err));
		auto_err struct err err = ERR_INIT;
		int rc = image_index_choose(&index, &p, &d, &err);
		int got = rc < 0 ? -1 : (int)(d - items);
		if (got != choice[i].best)
			fail_msg("%s: entry %d, wanted %d", choice[i].want, got, choice[i].best);
		if (rc < 0)
			assert_non_null(strstr(err_msg(&err), "no matching manifest for linux/"));
	}
}

#define D1 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void test_manifests(void **state)
{
	auto_arena struct arena a = {};
	struct image_manifest m;
	struct image_config c;
	OK(image_manifest_parse(SPAN("{\"schemaVersion\":2,\"config\":{\"digest\":\"" D1 "\",\"size\":2,\"mediaType\":\"c\"},\"layers\":[{\"digest\":\"" D1
				     "\",\"size\":3}]}"), span_of(IMAGE_TYPE_OCI_MANIFEST), &a, &m, &err));
	assert_int_equal(m.kind, IMAGE_MANIFEST);
	assert_int_equal(m.n, 1);
	assert_int_equal(m.items[0].size, 3);
	assert_true(span_is(m.media_type, IMAGE_TYPE_OCI_MANIFEST));
	OK(image_manifest_parse(SPAN("{\"manifests\":[{\"digest\":\"" D1 "\",\"size\":2,\"platform\":{\"os\":\"linux\",\"architecture\":\"arm\","
				     "\"variant\":\"v7\"}}]}"), SPAN_EMPTY, &a, &m, &err));
	assert_string_equal(m.items[0].platform.variant, "v7");
	static const struct {
		const char *text;
		int class;
	} bad[] = {
		{ "", ERR_CORRUPT }, { "[]", ERR_CORRUPT }, { "{\"schemaVersion\":1,\"layers\":[]}", ERR_UNSUPPORTED },
		{ "{\"layers\":[]}", ERR_CORRUPT }, { "{\"layers\":[],\"manifests\":[]}", ERR_CORRUPT },
		{ "{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"layers\":[]}", ERR_CORRUPT },
		{ "{\"manifests\":[{\"digest\":\"" D1 "\",\"size\":-1}]}", ERR_CORRUPT },
		{ "{\"manifests\":[{\"digest\":\"sha256:00\",\"size\":1}]}", ERR_CORRUPT },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		FAILS((enum err_class)bad[i].class, "", image_manifest_parse(span_of(bad[i].text), SPAN_EMPTY, &a, &m, &err));
	OK(image_config_parse(SPAN("{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D1 "\"]}}"), &a, &c, &err));
	assert_int_equal(c.n_diffs, 1);
	FAILS(ERR_CORRUPT, "rootfs", image_config_parse(SPAN("{\"rootfs\":{\"type\":\"other\"}}"), &a, &c, &err));
	FAILS(ERR_CORRUPT, "digest", image_config_parse(SPAN("{\"rootfs\":{\"diff_ids\":[1]}}"), &a, &c, &err));
}

/* ---- the store ---- */

static char top[64];

static struct image_store *opened(void)
{
	struct image_store *s = NULL;
	OK(image_store_open(top, &s, &err));
	return s;
}

static int store_setup(void **state)
{
	snprintf(top, sizeof(top), "/tmp/knarr-image-XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int store_teardown(void **state)
{
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* An image of one file; text makes it differ. */
static struct image_digest imported(struct image_store *s, const char *text, const char *ref)
{
	auto_buf struct buf b = {};
	struct tar_buf_sink sink;
	struct tar_writer w;
	tar_buf_sink_init(&sink, &b);
	tar_writer_init(&w, &sink.sink);
	const struct tar_entry e = { .kind = TAR_FILE, .path = SPAN("file"), .mode = 0644, .size = strlen(text) };
	OK(tar_write(&w, &e, &err));
	OK(tar_write_data(&w, span_of(text), &err));
	OK(tar_write_end(&w, &err));
	tar_writer_done(&w);
	struct tar_memory_source m;
	tar_memory_source_init(&m, buf_span(&b));
	const struct image_import_params p = { .ref = span_of(ref), .config = SPAN("{\"Cmd\":[\"/file\"]}") };
	struct image_digest id;
	OK(image_import(s, &m.source, &p, &id, &err));
	return id;
}

static void test_blobs(void **state)
{
	struct image_store *s = opened();
	struct image_digest d, want = image_digest_of(SPAN("hello world"));
	struct image_ingest *i;
	uint64_t have, size;
	OK(image_ingest_begin(s, &want, &i, &have, &err));
	OK(image_ingest_add(i, SPAN("hello "), &err));
	struct image_ingest *second; /* of the same digest at the same time: a file of its own */
	OK(image_ingest_begin(s, &want, &second, &have, &err));
	assert_int_equal(have, 0);
	image_ingest_drop(second, true);
	image_ingest_drop(i, true);
	image_store_close(s);
	s = opened();
	OK(image_ingest_begin(s, &want, &i, &have, &err)); /* taken up again */
	assert_int_equal(have, 6);
	OK(image_ingest_add(i, SPAN("world"), &err));
	assert_false(image_blob_has(s, &want));
	OK(image_ingest_commit(i, &d, &err));
	assert_true(image_blob_has(s, &want));
	OK(image_ingest_begin(s, &want, &i, &have, &err));
	OK(image_ingest_add(i, SPAN("lies"), &err));
	FAILS(ERR_CORRUPT, "what came hashes to", image_ingest_commit(i, &d, &err));
	OK(image_ingest_begin(s, &want, &i, &have, &err));
	assert_int_equal(have, 0); /* nothing of the lie is left */
	image_ingest_drop(i, false);
	/* Damage is noticed: at each whole read, at the first opening after a start. */
	char path[200];
	snprintf(path, sizeof(path), "%s/blobs/sha256/%s", top, want.text + 7);
	image_store_close(s);
	OK(io_write_file(AT_FDCWD, path, SPAN("hello WORLD"), 0600, &err));
	s = opened();
	int fd;
	FAILS(ERR_CORRUPT, "damaged", image_blob_open(s, &want, &fd, &size, &err));
	assert_false(image_blob_has(s, &want));
	auto_buf struct buf b = {};
	FAILS(ERR_NOT_FOUND, "not found", image_blob_read(s, &want, &b, 100, &err));
	struct image_store *two;
	FAILS(ERR_IN_USE, "another process", image_store_open(top, &two, &err));
	image_store_close(s);
}

static void removed(struct image_store *s, const char *what, const struct image_remove_params *p, const char *wanted)
{
	auto_arena struct arena a = {};
	auto_buf struct buf b = {};
	auto_err struct err err = ERR_INIT;
	struct image_removed *list;
	size_t n;
	static const struct image_remove_params none;
	if (image_remove(s, span_of(what), p ? p : &none, &a, &list, &n, &err) < 0)
		buf_str(&b, err_msg(&err));
	else
		for (size_t i = 0; i < n; i++)
			buf_printf(&b, "%s %.*s\n", list[i].deleted ? "Deleted:" : "Untagged:", SPAN_ARG(list[i].what));
	/* a trailing '*' in wanted: the beginning is compared */
	size_t len = strlen(wanted);
	bool same = len && wanted[len - 1] == '*' ? strncmp(buf_cstr(&b), wanted, len - 1) == 0 : strcmp(buf_cstr(&b), wanted) == 0;
	if (!same)
		fail_msg("remove %s: wanted\n%s\ngot\n%s", what, wanted, buf_cstr(&b));
}

static char running_word[] = "r", stopped_word[] = "s";

static bool in_use(void *arg, const struct image_digest *id, bool only_running, char container[65], bool *running)
{
	const char *kind = arg;
	if (only_running && *kind != 'r')
		return false;
	snprintf(container, 65, "c0ffee%058d", 0);
	*running = *kind == 'r';
	return true;
}

static void test_names(void **state)
{
	struct image_store *s = opened();
	struct image_digest a = imported(s, "a", "app:1"), b = imported(s, "b", "");
	struct image_digest found;
	OK(image_tag(s, &a, SPAN("localhost:5000/x"), &err));
	OK(image_tag(s, &a, SPAN("app:2"), &err));
	FAILS(ERR_INVALID_REQUEST, "refusing to create a tag with a digest reference", image_tag(s, &a, SPAN("a@" D1), &err));
	FAILS(ERR_NOT_FOUND, "No such image: nothing:latest", image_find(s, SPAN("nothing"), &found, &err));
	FAILS(ERR_NOT_FOUND, "No such image: app:3", image_find(s, SPAN("app:3"), &found, &err));
	FAILS(ERR_NOT_FOUND, "No such image: " D1, image_find(s, SPAN(D1), &found, &err));
	OK(image_find(s, span_make(b.text + 7, 12), &found, &err));
	assert_true(image_digest_eq(&found, &b));
	OK(image_find(s, SPAN("docker.io/library/app:2"), &found, &err));
	assert_true(image_digest_eq(&found, &a));
	auto_arena struct arena arena = {};
	struct image_info *list;
	size_t n;
	OK(image_list(s, &arena, &list, &n, &err));
	assert_int_equal(n, 2);
	image_store_close(s);
	s = opened(); /* all of it is on disk */
	struct image_info info;
	struct image_config config;
	struct image_manifest m;
	OK(image_inspect(s, &a, &arena, &info, &config, &m, &err));
	assert_int_equal(info.n_tags, 3);
	assert_true(span_is(info.tags[0], "app:1") && span_is(info.tags[2], "localhost:5000/x:latest"));
	struct image_history *h;
	OK(image_history(s, &a, &arena, &h, &n, &err));
	assert_int_equal(n, 1);
	assert_true(span_is(h[0].comment, "Imported from -"));

	char want[300];
	static const struct image_remove_params by_running = { .used = in_use, .arg = running_word }, by_stopped = { .used = in_use, .arg = stopped_word },
		forced_running = { .force = true, .used = in_use, .arg = running_word }, forced = { .force = true, .used = in_use, .arg = stopped_word };
	snprintf(want, sizeof(want), "conflict: unable to delete %.12s (must be forced) - image is referenced in multiple repositories", a.text + 7);
	removed(s, a.text, NULL, want);
	removed(s, "app:1", &by_running, "Untagged: app:1\n"); /* others are left: nobody minds */
	removed(s, "localhost:5000/x", NULL, "Untagged: localhost:5000/x:latest\n");
	snprintf(want, sizeof(want), "conflict: unable to remove repository reference \"app:2\" (must force) - container c0ffee000000 is using its "
		"referenced image %.12s", a.text + 7);
	removed(s, "app:2", &by_stopped, want);
	snprintf(want, sizeof(want), "conflict: unable to delete %.12s (cannot be forced) - image is being used by running container c0ffee000000",
		a.text + 7);
	removed(s, a.text, &forced_running, want);
	removed(s, "app:2", &forced_running, "Untagged: app:2\n"); /* forced, by its last name: it stays for the container */
	OK(image_tag(s, &a, SPAN("app:2"), &err));
	snprintf(want, sizeof(want), "conflict: unable to delete %.12s (must be forced) - image is being used by stopped container c0ffee000000",
		b.text + 7);
	removed(s, b.text, &by_stopped, want);
	snprintf(want, sizeof(want), "Untagged: app:2\nDeleted: %s\nDeleted: sha256:*", a.text);
	removed(s, a.text, &forced, want);
	removed(s, "app:2", NULL, "No such image: app:2");
	char top_chain[65];
	OK(image_top(s, &b, top_chain, &err));
	assert_true(image_chain_used(top_chain, s));
	unsigned blobs;
	uint64_t bytes;
	usleep(30000);
	OK(image_gc(s, 0, &blobs, &bytes, &err));
	assert_int_equal(blobs, 3); /* manifest, configuration, layer */
	OK(image_inspect(s, &b, &arena, &info, &config, &m, &err));
	struct image_removed *gone;
	const struct span names[] = { SPAN("nosuch"), image_digest_span(&b), SPAN("nosuch") };
	size_t ends[ARRAY_LEN(names)];
	OK(image_remove_all(s, names, ARRAY_LEN(names), &(struct image_remove_params){}, &arena, &gone, ends, &err));
	assert_int_equal(ends[0], 0);
	assert_int_equal(ends[1], 2);
	assert_int_equal(ends[2], 2);
	assert_true(gone[0].deleted && span_eq(gone[0].what, image_digest_span(&b)));
	assert_false(image_chain_used(top_chain, s));
	image_store_close(s);
}

static void test_parents(void **state)
{
	struct image_store *s = opened();
	struct image_digest base = imported(s, "base", ""), child = imported(s, "child", "child"), ignored;
	auto_arena struct arena a = {};
	struct image_info info;
	struct image_config config;
	struct image_manifest m;
	OK(image_inspect(s, &child, &a, &info, &config, &m, &err));
	OK(image_register(s, &info.manifest, &base, NULL, NULL, &ignored, &err));
	/* What came from elsewhere was not made here upon nothing, although it has no parent. */
	const struct image_digest none = {};
	struct image_digest *list;
	size_t n;
	image_children(s, &none, &a, &list, &n);
	assert_int_equal(n, 0);
	OK(image_inspect(s, &base, &a, &info, &config, &m, &err));
	OK(image_register(s, &info.manifest, &none, NULL, NULL, &ignored, &err));
	for (int again = 0; again < 2; again++) {
		image_children(s, &none, &a, &list, &n);
		assert_int_equal(n, 1);
		assert_string_equal(list[0].text, base.text);
		image_children(s, &base, &a, &list, &n);
		assert_int_equal(n, 1);
		assert_string_equal(list[0].text, child.text);
		image_store_close(s);
		s = opened();
	}
	char want[300];
	snprintf(want, sizeof(want), "conflict: unable to delete %.12s (cannot be forced) - image has dependent child images", base.text + 7);
	removed(s, base.text, NULL, want);
	/* By a name it loses the name, and stays for its child: dockerd says no more. */
	static const struct image_remove_params forced = { .force = true };
	OK(image_tag(s, &base, SPAN("based:1"), &err));
	removed(s, "based:1", NULL, "Untagged: based:1\n");
	OK(image_tag(s, &base, SPAN("based:2"), &err));
	removed(s, "based:2", &forced, "Untagged: based:2\n");
	snprintf(want, sizeof(want), "Untagged: child:latest\nDeleted: %s\nDeleted: *", child.text);
	removed(s, "child", NULL, want); /* the nameless parent goes along */
	FAILS(ERR_NOT_FOUND, "No such image", image_find(s, image_digest_span(&base), &ignored, &err));
	image_store_close(s);
}

static void report_lines(const struct image_progress *p, void *arg)
{
	buf_printf(arg, "%.*s\n", SPAN_ARG(p->status));
}

static void test_save_load(void **state)
{
	struct image_store *s = opened();
	struct image_digest a = imported(s, "one", "one:1"), b = imported(s, "two", "host.example/two:x"), found;
	auto_buf struct buf saved = {}, again = {}, lines = {};
	struct tar_buf_sink sink;
	tar_buf_sink_init(&sink, &saved);
	const struct span names[] = { SPAN("one:1"), SPAN("host.example/two:x") };
	OK(image_save(s, names, 2, &sink.sink, &err));
	tar_buf_sink_init(&sink, &again);
	OK(image_save(s, names, 2, &sink.sink, &err));
	assert_true(span_eq(buf_span(&saved), buf_span(&again))); /* the same images, the same bytes */
	FAILS(ERR_NOT_FOUND, "No such image: none:latest", image_save(s, &SPAN("none"), 1, &sink.sink, &err));
	removed(s, "one:1", NULL, "Untagged: one:1\nDeleted: *");
	removed(s, "host.example/two:x", NULL, "Untagged: host.example/two:x\nDeleted: *");
	usleep(30000);
	OK(image_gc(s, 0, NULL, NULL, &err));
	assert_false(image_blob_has(s, &a));
	struct tar_memory_source m;
	tar_memory_source_init(&m, buf_span(&saved));
	const struct image_reporter r = { .fn = report_lines, .arg = &lines };
	OK(image_load(s, &m.source, NULL, NULL, &r, &err));
	assert_string_equal(buf_cstr(&lines), "Loaded image: one:1\nLoaded image: host.example/two:x\n");
	OK(image_find(s, SPAN("one:1"), &found, &err));
	assert_true(image_digest_eq(&found, &a));
	OK(image_find(s, SPAN("host.example/two:x"), &found, &err));
	assert_true(image_digest_eq(&found, &b));
	/* One bit anywhere in the archive: refused, or what is loaded is what was saved. */
	unsigned refused = 0;
	for (size_t at = 600; at < saved.len; at += 487) {
		saved.ptr[at] ^= 1;
		tar_memory_source_init(&m, buf_span(&saved));
		refused += image_load(s, &m.source, NULL, NULL, NULL, NULL) < 0;
		saved.ptr[at] ^= 1;
	}
	assert_true(refused > 10);
	tar_memory_source_init(&m, SPAN("no archive"));
	FAILS(ERR_CORRUPT, "archive", image_load(s, &m.source, NULL, NULL, NULL, &err));
	FAILS(ERR_CORRUPT, "archive", image_import(s, (tar_memory_source_init(&m, SPAN("no archive")), &m.source), &(struct image_import_params){}, &found,
		&err));
	image_store_close(s);
}

/* Death at each step of load and tag; then everything that was answered is there and the store works. */
static void test_kill(void **state)
{
	struct image_store *s = opened();
	struct image_digest a = imported(s, "one", "one:1"), found;
	auto_buf struct buf saved = {};
	struct tar_buf_sink sink;
	tar_buf_sink_init(&sink, &saved);
	OK(image_save(s, &SPAN("one:1"), 1, &sink.sink, &err));
	removed(s, "one:1", NULL, "Untagged: one:1\nDeleted: *");
	usleep(30000);
	OK(image_gc(s, 0, NULL, NULL, &err));
	image_store_close(s);
	static const char *const points[] = { "image.ingest.before_sync", "image.ingest.synced", "image.ingest.renamed", "image.load.taken",
		"image.store.written", "io.write_file.before_rename" };
	int deaths = 0;
	for (size_t i = 0; i < ARRAY_LEN(points); i++)
		for (int passage = 1;; passage++) {
			int status;
			pid_t pid = fork();
			if (pid == 0) {
				char spec[100];
				snprintf(spec, sizeof(spec), "%s=kill@%d", points[i], passage);
				struct tar_memory_source m;
				tar_memory_source_init(&m, buf_span(&saved));
				struct image_store *c;
				if (fail_arm(spec) < 0 || image_store_open(top, &c, NULL) < 0 || image_load(c, &m.source, NULL, NULL, NULL, NULL) < 0 ||
				    image_tag(c, &a, SPAN("two"), NULL) < 0)
					_exit(9);
				_exit(0);
			}
			assert_int_equal(waitpid(pid, &status, 0), pid);
			bool killed = WIFSIGNALED(status);
			if (!killed && status)
				fail_msg("%s@%d: status %x", points[i], passage, status);
			deaths += killed;
			s = opened();
			bool there = image_find(s, SPAN("one:1"), &found, NULL) == 0;
			if (!killed && !there)
				fail_msg("%s@%d: the image is not there", points[i], passage);
			auto_arena struct arena arena = {};
			struct image_info *list;
			size_t n;
			OK(image_list(s, &arena, &list, &n, &err));
			for (size_t k = 0; k < n; k++)
				if (list[k].size == 0)
					fail_msg("%s@%d: a half-made image", points[i], passage);
			struct span *ids = arena_alloc_n(&arena, n + 1, sizeof(*ids));
			size_t *ends = arena_alloc_n(&arena, n + 1, sizeof(*ends));
			for (size_t k = 0; k < n; k++)
				ids[k] = image_digest_span(&list[k].id);
			struct image_removed *gone;
			OK(image_remove_all(s, ids, n, &(struct image_remove_params){ .force = true }, &arena, &gone, ends, &err));
			usleep(25000);
			OK(image_gc(s, 0, NULL, NULL, &err));
			unsigned left;
			OK(image_gc(s, 0, &left, NULL, &err));
			assert_int_equal(left, 0);
			assert_false(image_blob_has(s, &a));
			image_store_close(s);
			if (!killed)
				break;
		}
	assert_true(deaths >= 15);
}

/* A record and its names in one write: all of it, or nothing. */
static void test_named_at_once(void **state)
{
	struct image_store *s = opened();
	struct image_digest a = imported(s, "a", "app:1"), b = imported(s, "b", ""), fresh, is, target;
	static const struct span tag = SPAN_INIT("docker.io/library/app:1"), by_digest = SPAN_INIT("docker.io/library/app@" D1);
	const struct image_naming names = { { tag, by_digest }, &b };
	const struct image_config none = {};
	OK(image_digest_parse(SPAN(D1), &fresh, &err));
	int folder = s->dirfd;
	s->dirfd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* nothing can be written there */
	assert_true(s->dirfd >= 0);
	assert_true(image_record_put(s, &b, &b, NULL, &none, &names, NULL) < 0);
	assert_true(image_record_put(s, &fresh, &b, NULL, &none, &names, NULL) < 0);
	close(s->dirfd);
	s->dirfd = folder;
	assert_false(image_known(s, &fresh));
	assert_true(image_name_get(s, tag, &is, &target));
	assert_string_equal(is.text, a.text);
	assert_false(image_name_get(s, by_digest, &is, &target));
	OK(image_record_put(s, &b, &b, NULL, &none, &names, &err));
	image_store_close(s);
	s = opened();
	for (size_t i = 0; i < ARRAY_LEN(names.texts); i++) {
		assert_true(image_name_get(s, names.texts[i], &is, &target));
		assert_string_equal(is.text, b.text);
		assert_string_equal(target.text, b.text);
	}
	image_store_close(s);
}

static int64_t tagged(struct image_store *s, const struct image_digest *id)
{
	auto_arena struct arena a = {};
	struct image_info *list;
	size_t n;
	OK(image_list(s, &a, &list, &n, &err));
	for (size_t i = 0; i < n; i++)
		if (image_digest_eq(&list[i].id, id))
			return list[i].tagged_ns;
	fail_msg("%s is not listed", id->text);
	return 0;
}

/* A pull that found nothing new leaves no trace, one that moves a name and a tag by hand do. */
static void test_tagged_when(void **state)
{
	struct image_store *s = opened();
	struct image_digest a = imported(s, "a", "app:1"), b = imported(s, "b", "other:1");
	static const struct span tag = SPAN_INIT("docker.io/library/app:2"), moves = SPAN_INIT("docker.io/library/other:1");
	const struct image_naming same = { { tag }, &a }, other = { { tag, moves }, &a };
	const struct image_config none = {};
	int64_t was = tagged(s, &a);
	usleep(2000);
	OK(image_record_put(s, &a, &a, NULL, &none, &same, &err)); /* a new name */
	int64_t now = tagged(s, &a);
	assert_true(now > was);
	usleep(2000);
	OK(image_record_put(s, &a, &a, NULL, &none, &same, &err));
	assert_int_equal(tagged(s, &a), now);
	OK(image_record_put(s, &a, &a, NULL, &none, NULL, &err));
	assert_int_equal(tagged(s, &a), now);
	was = tagged(s, &b);
	OK(image_record_put(s, &a, &a, NULL, &none, &other, &err)); /* a name that was another's */
	assert_true(tagged(s, &a) > now);
	assert_int_equal(tagged(s, &b), was);
	now = tagged(s, &a);
	usleep(2000);
	OK(image_tag(s, &a, SPAN("app:2"), &err));
	assert_true(tagged(s, &a) > now);
	image_store_close(s);
}

/* ---- a stream decompressed ahead ---- */

struct slow_source { /* waits at a gate before its last piece, then fails or ends */
	struct tar_source source;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct span left;
	size_t piece_bytes;
	unsigned pulls;
	bool gate, waits;
	int end;
};

static int slow_pull(struct tar_source *source, struct span *out_piece, struct err *err)
{
	struct slow_source *s = container_of(source, struct slow_source, source);
	pthread_mutex_lock(&s->mutex);
	s->pulls++;
	size_t n = MIN(s->piece_bytes, s->left.len);
	if (n == s->left.len) {
		s->waits = true;
		pthread_cond_broadcast(&s->changed);
		while (s->gate)
			pthread_cond_wait(&s->changed, &s->mutex);
	}
	*out_piece = span_sub(s->left, 0, n);
	s->left = span_from(s->left, n);
	pthread_mutex_unlock(&s->mutex);
	return n ? 1 : s->end < 0 ? err_set(err, (enum err_class)-s->end, "the source says so") : 0;
}

static void slow_init(struct slow_source *s, struct span all, size_t piece_bytes, int end)
{
	*s = (struct slow_source){ .source.pull = slow_pull, .left = all, .piece_bytes = piece_bytes, .end = end };
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->changed, NULL);
}

static void test_relay(void **state)
{
	auto_buf struct buf plain = {}, got = {};
	for (unsigned i = 0; plain.len < 9 * TAR_PIECE_BYTES + 1000; i++)
		buf_u64(&plain, i * 2654435761u);
	static const size_t sizes[] = { 0, 1, 1000, TAR_PIECE_BYTES, 4 * TAR_PIECE_BYTES, 9 * TAR_PIECE_BYTES + 1000 };
	for (size_t k = 0; k < 2 * ARRAY_LEN(sizes); k++) { /* whole: as it is; and with a failure at its end */
		auto_err struct err err = ERR_INIT;
		struct span all = span_sub(buf_span(&plain), 0, sizes[k / 2]);
		struct slow_source from;
		struct image_relay r;
		slow_init(&from, all, 100000, k % 2 ? -ERR_IO : 0);
		assert_int_equal(image_relay_begin(&r, &from.source, &err), 0);
		struct span piece;
		int rc;
		buf_trunc(&got, 0);
		while ((rc = r.source.pull(&r.source, &piece, &err)) > 0)
			buf_span_add(&got, piece);
		assert_int_equal(rc, k % 2 ? -ERR_IO : 0);
		if (k % 2)
			assert_string_equal(err_msg(&err), "the source says so");
		if (k % 2 == 0 || all.len >= 8) { /* shorter than that the failure comes while the format is looked for */
			assert_int_equal(got.len, all.len);
			assert_memory_equal(got.len ? got.ptr : "", all.ptr, all.len);
		}
		assert_true(r.source.pull(&r.source, &piece, NULL) <= 0); /* over is over */
		image_relay_end(&r);
	}
	/* It works ahead, but not beyond its slots, whatever the stream's length. */
	auto_err struct err err = ERR_INIT;
	struct slow_source from;
	struct image_relay r;
	slow_init(&from, buf_span(&plain), TAR_PIECE_BYTES, 0);
	assert_int_equal(image_relay_begin(&r, &from.source, &err), 0);
	struct span piece;
	assert_int_equal(r.source.pull(&r.source, &piece, &err), 1);
	for (int i = 0; i < 6000; i++) {
		pthread_mutex_lock(&r.mutex);
		bool full = r.made - r.taken == RELAY_SLOTS;
		pthread_mutex_unlock(&r.mutex);
		if (full)
			break;
		usleep(10000);
	}
	pthread_mutex_lock(&from.mutex);
	unsigned pulls = from.pulls;
	pthread_mutex_unlock(&from.mutex);
	assert_in_range(pulls, RELAY_SLOTS - 1, RELAY_SLOTS + 1); /* the first gives two: the head is looked at apart */
	image_relay_end(&r); /* given up with its slots full */
	/* Given up while the source waits: its owner lets it go first. */
	slow_init(&from, SPAN("abc"), 3, 0);
	from.gate = true;
	assert_int_equal(image_relay_begin(&r, &from.source, &err), 0);
	pthread_mutex_lock(&from.mutex);
	while (!from.waits)
		pthread_cond_wait(&from.changed, &from.mutex);
	from.gate = false;
	pthread_cond_broadcast(&from.changed);
	pthread_mutex_unlock(&from.mutex);
	image_relay_end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relay),
		cmocka_unit_test(test_refs), cmocka_unit_test(test_digests), cmocka_unit_test(test_platforms), cmocka_unit_test(test_manifests),
		cmocka_unit_test_setup_teardown(test_blobs, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_names, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_parents, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_named_at_once, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_tagged_when, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_save_load, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_kill, store_setup, store_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
