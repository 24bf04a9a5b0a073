/* Words are those of dockerd 20.10 and 28, asked over their API. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/calls_test.h"
#include "snapshot/snapshot.h"
#include "volume/private.h"

static char dir[64];

static int dir_make(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/knarr-volume-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return 0;
}

static int dir_drop(void **state)
{
	char image[80];
	snprintf(image, sizeof(image), "%s.image", dir);
	OK(snapshot_tree_remove(AT_FDCWD, dir, &err));
	OK(snapshot_tree_remove(AT_FDCWD, image, &err));
	return 0;
}

static struct json doc_of(struct arena *a, const char *text)
{
	struct json v = {};
	OK(json_parse(a, span_of(text), 0, NULL, &v, &err));
	return v;
}

static void span_is_text(struct span got, const char *want)
{
	if (!span_is(got, want))
		fail_msg("wanted \"%s\", got \"%.*s\"", want, SPAN_ARG(got));
}

/* ---- parsing ---- */

static void test_clean(void **state)
{
	static const char *const rows[][2] = { { "/a/../b", "/b" }, { "/..", "/" }, { "//a//b/", "/a/b" }, { "a/./b", "a/b" }, { "", "." },
		{ "..", ".." }, { "../a/..", ".." }, { "../../x", "../../x" }, { "a/../..", ".." }, { "/a/./", "/a" } };
	auto_arena struct arena a = {};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		span_is_text(volume_path_clean(span_of(rows[i][0]), &a), rows[i][1]);
}

static void test_binds(void **state)
{
	/* text, what comes: "kind name-or-source target mode rw propagation" or the error's words */
	static const char *const good[][2] = {
		{ "/a", "volume  /a  rw " },
		{ "vol1:/a/../b", "volume vol1 /b z rw " },
		{ "vol1:/a:ro", "volume vol1 /a ro ro " },
		{ "vol1:/a:nocopy", "volume vol1 /a nocopy rw " },
		{ "/tmp/../x:/a:", "bind /x /a  rw rprivate" },
		{ "/tmp:/a/:rshared,ro", "bind /tmp /a rshared,ro ro rshared" },
		{ "/tmp:/a:cached", "bind /tmp /a cached rw rprivate" },
		{ "a/b:/a", "volume a/b /a z rw " }, /* the driver refuses the name later */
	};
	static const char *const bad[][2] = {
		{ "a", "invalid volume specification: 'a': invalid mount config for type \"volume\": invalid mount path: 'a' mount path must be absolute" },
		{ "vol1:/a:ro:x", "invalid volume specification: 'vol1:/a:ro:x'" },
		{ "vol1:a", "invalid volume specification: 'vol1:a': invalid mount config for type \"volume\": invalid mount path: 'a' mount path must be absolute" },
		{ "vol1:/", "invalid volume specification: 'vol1:/': invalid mount config for type \"volume\": invalid specification: destination can't be '/'" },
		{ "/x:/", "invalid volume specification: '/x:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'" },
		{ ":/a", "invalid volume specification: ':/a'" },
		{ "vol1:/a:foo", "invalid mode: foo" },
		{ "vol1:/a:ro,rw", "invalid mode: ro,rw" },
		{ "/tmp:/a:nocopy",
			"invalid volume specification: '/tmp:/a:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not be specified" },
		{ "vol1:/a:shared",
			"invalid volume specification: 'vol1:/a:shared': invalid mount config for type \"volume\": field BindOptions must not be specified" },
		{ "/tmp:/a:z,Z", "invalid mode: z,Z" },
		{ "/tmp:/a:ro,", "invalid mode: ro," },
		{ "/tmp:/a:ro,ro", "invalid mode: ro,ro" },
		{ "", "invalid volume specification: ''" },
		{ "vol1:", "invalid volume specification: 'vol1:'" },
		{ "vol1:ro", "invalid volume specification: 'vol1:ro'" },
	};
	auto_arena struct arena a = {};
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct volume_mount m;
		OK(volume_mount_parse(span_of(good[i][0]), SPAN_EMPTY, &a, &m, &err));
		struct span got = arena_printf(&a, "%s %.*s %.*s %.*s %s %.*s", volume_kind_name(m.kind),
			SPAN_ARG(m.kind == VOLUME_BIND ? m.source : m.name), SPAN_ARG(m.target), SPAN_ARG(m.mode), m.read_only ? "ro" : "rw",
			SPAN_ARG(m.propagation));
		span_is_text(got, good[i][1]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct volume_mount m;
		auto_err struct err err = ERR_INIT;
		assert_int_equal(volume_mount_parse(span_of(bad[i][0]), SPAN_EMPTY, &a, &m, &err), -ERR_INVALID_REQUEST);
		assert_string_equal(err_msg(&err), bad[i][1]);
	}
}

static void test_mounts(void **state)
{
	static const char *const bad[][2] = {
		{ "{'Type':'bind','Target':'/x'}", "invalid mount config for type \"bind\": field Source must not be empty" },
		{ "{'Type':'bind','Source':'x','Target':'/x'}", "invalid mount config for type \"bind\": invalid mount path: 'x' mount path must be absolute" },
		{ "{'Type':'bind','Source':'/tmp'}", "invalid mount config for type \"bind\": field Target must not be empty" },
		{ "{'Type':'bind','Source':'/tmp','Target':'x'}", "invalid mount config for type \"bind\": invalid mount path: 'x' mount path must be absolute" },
		{ "{'Type':'bind','Source':'/tmp','Target':'/x','BindOptions':{'Propagation':'foo'}}",
			"invalid mount config for type \"bind\": invalid propagation mode: foo" },
		{ "{'Type':'foo','Source':'/tmp','Target':'/x'}", "invalid mount config for type \"foo\": mount type unknown" },
		{ "{'Source':'/tmp','Target':'/x'}", "invalid mount config for type \"\": mount type unknown" },
		{ "{'Type':'volume','Source':'vol1','Target':'/x','BindOptions':{}}",
			"invalid mount config for type \"volume\": field BindOptions must not be specified" },
		{ "{'Type':'volume','Target':'/x','ReadOnly':true}",
			"invalid mount config for type \"volume\": must not set ReadOnly mode when using anonymous volumes" },
		{ "{'Type':'volume','Source':'v1','Target':'/x','VolumeOptions':{'Subpath':'../y'}}",
			"invalid mount config for type \"volume\": subpath must be a relative path within the volume" },
		{ "{'Type':'tmpfs','Source':'q','Target':'/x'}", "invalid mount config for type \"tmpfs\": field Source must not be specified" },
		{ "{'Type':'tmpfs','Target':'/x','TmpfsOptions':{'Options':[['foo']]}}", "invalid mount config for type \"tmpfs\": invalid tmpfs option [\"foo\"]" },
		{ "{'Type':'bind','Source':'/tmp','Target':'/'}", "invalid mount config for type \"bind\": invalid specification: destination can't be '/'" },
	};
	auto_arena struct arena a = {};
	struct volume_mount m;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *text = arena_cstr(&a, span_of(bad[i][0]));
		for (char *p = text; *p; p++)
			*p = *p == '\'' ? '"' : *p;
		struct json doc = doc_of(&a, text);
		auto_err struct err err = ERR_INIT;
		assert_int_equal(volume_mount_read(&doc, &a, &m, &err), -ERR_INVALID_REQUEST);
		assert_string_equal(err_msg(&err), bad[i][1]);
	}
	struct json t = doc_of(&a, "{\"Type\":\"tmpfs\",\"Target\":\"/x\",\"ReadOnly\":true,\"TmpfsOptions\":{\"SizeBytes\":1000,\"Mode\":448,"
				   "\"Options\":[[\"exec\"],[\"uid\",\"5\"]]}}");
	OK(volume_mount_read(&t, &a, &m, &err));
	span_is_text(m.tmpfs_options, "nosuid,nodev,ro,mode=700,size=1000,exec,uid=5");
	struct json b = doc_of(&a, "{\"Type\":\"bind\",\"Source\":\"/no/such\",\"Target\":\"/x\"}");
	OK(volume_mount_read(&b, &a, &m, &err));
	FAILS(ERR_INVALID_REQUEST, "invalid mount config for type \"bind\": bind source path does not exist: /no/such", volume_bind_check(&m, &err));
	struct span id, mode;
	FAILS(ERR_INVALID_REQUEST, "invalid mode: foo", volume_from_parse(SPAN("c:foo"), &id, &mode, &err));
	FAILS(ERR_INVALID_REQUEST, "volumes-from specification cannot be an empty string", volume_from_parse(SPAN(""), &id, &mode, &err));
	OK(volume_from_parse(SPAN("c:ro"), &id, &mode, &err));
	span_is_text(id, "c");
	span_is_text(mode, "ro");
}

static void test_plan(void **state)
{
	auto_arena struct arena a = {};
	struct json host = doc_of(&a, "{\"Binds\":[\"v1:/a:ro,z\",\"/tmp:/b/c\"],\"Mounts\":[{\"Type\":\"tmpfs\",\"Target\":\"/t\"},"
				      "{\"Type\":\"volume\",\"Source\":\"mvol\",\"Target\":\"/b\"}],\"Tmpfs\":{\"/tt\":\"size=1m\"}}");
	struct json volumes = doc_of(&a, "{\"/a\":{},\"/anon\":{},\"/tt\":{}}");
	const struct volume_mount inherited[] = { { .kind = VOLUME_NAMED, .target = SPAN("/a"), .name = SPAN("old") },
		{ .kind = VOLUME_NAMED, .target = SPAN("/inherited"), .name = SPAN("old2") } };
	const struct volume_plan p = { .inherited = inherited, .n_inherited = 2, .host_config = &host, .volumes = &volumes };
	struct volume_mount *list;
	size_t n;
	OK(volume_mounts_plan(&p, &a, &list, &n, &err));
	auto_buf struct buf got = {};
	for (size_t i = 0; i < n; i++) {
		struct json point = volume_mount_point(&list[i], list[i].name, list[i].source, &a);
		json_write(&got, &point, 0);
		buf_chr(&got, '\n');
	}
	assert_string_equal(buf_cstr(&got),
		"{\"Type\":\"volume\",\"Name\":\"v1\",\"Source\":\"\",\"Destination\":\"/a\","
		"\"Driver\":\"local\",\"Mode\":\"ro,z\",\"RW\":false,\"Propagation\":\"\"}\n"
		"{\"Type\":\"volume\",\"Source\":\"\",\"Destination\":\"/anon\",\"Driver\":\"local\",\"Mode\":\"\",\"RW\":true,\"Propagation\":\"\"}\n"
		"{\"Type\":\"volume\",\"Name\":\"mvol\",\"Source\":\"\",\"Destination\":\"/b\","
		"\"Driver\":\"local\",\"Mode\":\"z\",\"RW\":true,\"Propagation\":\"\"}\n"
		"{\"Type\":\"volume\",\"Name\":\"old2\",\"Source\":\"\",\"Destination\":\"/inherited\","
		"\"Driver\":\"local\",\"Mode\":\"\",\"RW\":true,\"Propagation\":\"\"}\n"
		"{\"Type\":\"tmpfs\",\"Source\":\"\",\"Destination\":\"/t\",\"Mode\":\"\",\"RW\":true,\"Propagation\":\"\"}\n"
		"{\"Type\":\"tmpfs\",\"Source\":\"\",\"Destination\":\"/tt\",\"Mode\":\"\",\"RW\":true,\"Propagation\":\"\"}\n"
		"{\"Type\":\"bind\",\"Source\":\"/tmp\",\"Destination\":\"/b/c\",\"Mode\":\"\",\"RW\":true,\"Propagation\":\"rprivate\"}\n");
	static const char *const twice[][2] = {
		{ "{\"Binds\":[\"/tmp:/x\",\"/usr:/x/\"]}", "Duplicate mount point: /x" },
		{ "{\"Binds\":[\"/tmp:/x\"],\"Mounts\":[{\"Type\":\"bind\",\"Source\":\"/usr\",\"Target\":\"/x/\"}]}", "Duplicate mount point: /x/" },
		{ "{\"Binds\":[\"/tmp:/x\"],\"Tmpfs\":{\"/x\":\"\"}}", "Duplicate mount point: /x" },
		{ "{\"Tmpfs\":{\"x\":\"\"}}", "invalid mount path: 'x' mount path must be absolute" },
		{ "{\"Tmpfs\":{\"/\":\"\"}}", "invalid specification: destination can't be '/'" },
		{ "{\"Tmpfs\":{\"/x\":\"foo\"}}", "invalid tmpfs option [\"foo\"]" },
	};
	for (size_t i = 0; i < ARRAY_LEN(twice); i++) {
		struct json h = doc_of(&a, twice[i][0]);
		const struct volume_plan q = { .host_config = &h };
		auto_err struct err err = ERR_INIT;
		assert_int_equal(volume_mounts_plan(&q, &a, &list, &n, &err), -ERR_INVALID_REQUEST);
		assert_string_equal(err_msg(&err), twice[i][1]);
	}
}

/* ---- the store ---- */

static struct volume_store *open_store(void)
{
	struct volume_store *s = NULL;
	OK(volume_store_open(dir, &s, &err));
	return s;
}

static struct volume_info made(struct volume_store *s, struct arena *a, const char *name, const char *options, const char *labels)
{
	struct json o = options ? doc_of(a, options) : JSON_NULL_VALUE, l = labels ? doc_of(a, labels) : JSON_NULL_VALUE;
	const struct volume_params p = { .name = span_of(name), .options = &o, .labels = &l };
	struct volume_info v = {};
	OK(volume_create(s, &p, a, &v, NULL, &err));
	return v;
}

static void refused(struct volume_store *s, const char *name, const char *driver, const char *options, int class, const char *words)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json o = options ? doc_of(&a, options) : JSON_NULL_VALUE;
	const struct volume_params p = { .name = span_of(name), .driver = span_of(driver), .options = &o };
	struct volume_info v;
	assert_int_equal(volume_create(s, &p, &a, &v, NULL, &err), -class);
	assert_string_equal(err_msg(&err), words);
}

static void test_create(void **state)
{
	auto_arena struct arena a = {};
	struct volume_store *s = open_store();
	refused(s, "a/b", "", NULL, ERR_INVALID_REQUEST, "create a/b: \"a/b\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9]"
		"[a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path");
	refused(s, "a", "", NULL, ERR_INVALID_REQUEST, "create a: volume name is too short, names should be at least two alphanumeric characters");
	refused(s, "vol1", "nope", NULL, ERR_NOT_FOUND, "create vol1: error looking up volume plugin nope: plugin \"nope\" not found");
	refused(s, "vol2", "", "{\"foo\":\"bar\"}", ERR_INVALID_REQUEST, "create vol2: invalid option: \"foo\"");
	refused(s, "vol2", "", "{\"type\":\"tmpfs\"}", ERR_INVALID_REQUEST, "create vol2: missing required option: \"device\"");
	refused(s, "vol3", "", "{\"device\":\"tmpfs\"}", ERR_INVALID_REQUEST, "create vol3: missing required option: \"type\"");
	refused(s, "vol5", "", "{\"size\":\"10m\"}", ERR_INVALID_REQUEST, "create vol5: quota size requested but no quota support");
	struct volume_info v = made(s, &a, "vol4", "{\"device\":\"tmpfs\",\"o\":\"size=1m\",\"type\":\"tmpfs\"}", "{\"k\":\"v\"}"), got;
	made(s, &a, "vol4", NULL, "{\"other\":\"labels\"}"); /* answered as it is */
	struct volume_info anon = made(s, &a, "", NULL, NULL);
	assert_int_equal(anon.name.len, 64);
	assert_true(anon.anonymous);
	FAILS(ERR_NOT_FOUND, "get nosuch: no such volume", volume_get(s, SPAN("nosuch"), &a, &got, &err));
	struct volume_store *second = NULL;
	FAILS(ERR_IN_USE, "another process", volume_store_open(dir, &second, &err));
	volume_store_close(s);
	/* All of it is there again, and what is not ours is left alone. */
	assert_int_equal(mkdirat(AT_FDCWD, arena_printf(&a, "%s/not a volume", dir).ptr, 0755), 0);
	OK(io_mkdirs(AT_FDCWD, arena_printf(&a, "%s/byhand/_data", dir).ptr, 0755, &err));
	s = open_store();
	OK(volume_get(s, SPAN("byhand"), &a, &got, &err));
	OK(volume_get(s, anon.name, &a, &got, &err));
	assert_true(got.anonymous);
	OK(volume_get(s, SPAN("vol4"), &a, &got, &err));
	auto_buf struct buf text = {};
	struct json doc = volume_document(&got, 5, &a);
	json_write(&text, &doc, 0);
	span_is_text(buf_span(&text), arena_printf(&a, "{\"CreatedAt\":\"%.*s\",\"Driver\":\"local\",\"Labels\":{\"k\":\"v\"},\"Mountpoint\":\"%s/vol4/_data\","
		"\"Name\":\"vol4\",\"Options\":{\"device\":\"tmpfs\",\"o\":\"size=1m\",\"type\":\"tmpfs\"},\"Scope\":\"local\",\"UsageData\":"
		"{\"RefCount\":0,\"Size\":5}}", SPAN_ARG(v.created), dir).ptr);
	volume_store_close(s);
	assert_int_equal(access(arena_printf(&a, "%s/not a volume", dir).ptr, F_OK), 0);
}

static const struct volume_mount named = { .kind = VOLUME_NAMED, .target = { "/data", 5 }, .name = { "vol1", 4 } };

static void test_references(void **state)
{
	auto_arena struct arena a = {};
	struct volume_store *s = open_store();
	struct volume_info v, anon;
	const struct volume_mount nameless = { .kind = VOLUME_NAMED, .target = SPAN("/x") };
	OK(volume_use(s, &named, SPAN("c2"), &a, &v, &err));
	OK(volume_use(s, &named, SPAN("c1"), &a, &v, &err));
	OK(volume_use(s, &named, SPAN("c1"), &a, &v, &err));
	OK(volume_use(s, &nameless, SPAN("c1"), &a, &anon, &err));
	FAILS(ERR_INVALID, "no container id", volume_use(s, &named, SPAN("../x"), &a, &v, &err));
	volume_store_close(s);
	s = open_store();
	OK(volume_get(s, SPAN("vol1"), &a, &v, &err));
	assert_int_equal(v.n_users, 2);
	span_is_text(v.users[0], "c1");
	auto_err struct err why = ERR_INIT;
	assert_int_equal(volume_remove(s, SPAN("vol1"), true, &why), -ERR_IN_USE);
	if (strcmp(err_msg(&why), "remove vol1: volume is in use - [c1, c2]") && strcmp(err_msg(&why), "remove vol1: volume is in use - [c2, c1]"))
		fail_msg("got \"%s\"", err_msg(&why));
	OK(volume_release(s, SPAN("vol1"), SPAN("c1"), true, NULL, &err));
	OK(volume_release(s, SPAN("vol1"), SPAN("c1"), true, NULL, &err));
	OK(volume_release(s, anon.name, SPAN("c1"), true, NULL, &err));
	FAILS(ERR_NOT_FOUND, "no such volume", volume_get(s, anon.name, &a, &v, &err)); /* anonymous: gone with its last user */
	OK(volume_release(s, SPAN("vol1"), SPAN("c2"), true, NULL, &err));
	OK(volume_remove(s, SPAN("vol1"), false, &err));
	FAILS(ERR_NOT_FOUND, "get vol1: no such volume", volume_remove(s, SPAN("vol1"), false, &err));
	OK(volume_remove(s, SPAN("vol1"), true, &err));
	volume_store_close(s);
}

static bool nobody(void *arg, struct span id)
{
	return span_is(id, arg);
}

static void test_lists(void **state)
{
	auto_arena struct arena a = {};
	struct volume_store *s = open_store();
	struct volume_info v, *list;
	struct span *gone;
	size_t n;
	uint64_t bytes;
	made(s, &a, "aa", NULL, "{\"k\":\"v\"}");
	made(s, &a, "bb", NULL, "{\"k\":\"w\",\"l\":\"\"}");
	struct volume_info anon = made(s, &a, "", NULL, NULL);
	OK(volume_use(s, &named, SPAN("c1"), &a, &v, &err));
	OK(volume_use(s, &named, SPAN("dead"), &a, &v, &err));
	static const struct {
		const char *filter, *names;
	} rows[] = { /* no pattern that the anonymous one's random name could have too */
		{ "{}", "4" }, { "{\"label\":[\"k\"]}", "2" }, { "{\"label\":[\"k=v\"]}", "1" }, { "{\"label\":[\"k\",\"l\"]}", "1" },
		{ "{\"name\":[\"^aa$\"]}", "1" }, { "{\"name\":[\"b\",\"aa\"],\"label\":[\"k\"]}", "2" }, { "{\"dangling\":[\"true\"]}", "3" },
		{ "{\"dangling\":[\"0\"]}", "1" }, { "{\"dangling\":[\"true\",\"false\"]}", "4" }, { "{\"driver\":[\"local\"]}", "4" },
		{ "{\"driver\":[\"x\"]}", "0" } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json f = doc_of(&a, rows[i].filter);
		OK(volume_list(s, &f, &a, &list, &n, &err));
		if (n != (size_t)(rows[i].names[0] - '0'))
			fail_msg("%s: wanted %s, got %zu", rows[i].filter, rows[i].names, n);
	}
	struct json bad = doc_of(&a, "{\"foo\":[\"x\"]}"), bad2 = doc_of(&a, "{\"dangling\":[\"x\"]}"),
		    all = doc_of(&a, "{\"all\":[\"1\"],\"label!\":[\"k=v\"]}");
	FAILS(ERR_INVALID_REQUEST, "invalid filter 'foo'", volume_list(s, &bad, &a, &list, &n, &err));
	FAILS(ERR_INVALID_REQUEST, "invalid filter 'dangling=[x]'", volume_list(s, &bad2, &a, &list, &n, &err));
	FAILS(ERR_INVALID_REQUEST, "invalid filter 'foo'", volume_prune(s, &bad, false, &a, &gone, &n, &bytes, &err));
	OK(io_write_file(AT_FDCWD, arena_printf(&a, "%.*s/f", SPAN_ARG(anon.mountpoint)).ptr, SPAN("12345"), 0600, &err));
	OK(volume_prune(s, NULL, false, &a, &gone, &n, &bytes, &err));
	assert_int_equal(n, 1);
	assert_int_equal(bytes, 5);
	assert_true(span_eq(gone[0], anon.name));
	/* With options it holds what came from elsewhere. */
	made(s, &a, "given", "{\"type\":\"tmpfs\",\"device\":\"tmpfs\"}", NULL);
	OK(volume_prune(s, &all, false, &a, &gone, &n, &bytes, &err));
	assert_int_equal(n, 1);
	span_is_text(gone[0], "bb");
	OK(volume_get(s, SPAN("given"), &a, &v, &err));
	OK(volume_release_dead(s, nobody, (void *)(uintptr_t)"c1", &err));
	OK(volume_get(s, SPAN("vol1"), &a, &v, &err));
	assert_int_equal(v.n_users, 1);
	volume_store_close(s);
}

/* ---- contents ---- */

static int image_folder(struct arena *a)
{
	const char *path = arena_printf(a, "%s.image", dir).ptr;
	OK(io_mkdirs(AT_FDCWD, arena_printf(a, "%s/sub", path).ptr, 0755, &err));
	OK(io_write_file(AT_FDCWD, arena_printf(a, "%s/sub/f", path).ptr, SPAN("hello"), 0640, &err));
	assert_int_equal(symlink("sub/f", arena_printf(a, "%s/l", path).ptr), 0);
	assert_int_equal(chmod(path, 01750), 0);
	if (geteuid() == 0)
		assert_int_equal(chown(path, 12, 34), 0);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void is_copied(struct arena *a, const char *name)
{
	struct stat st;
	auto_buf struct buf text = {};
	OK(io_read_file(AT_FDCWD, arena_printf(a, "%s/%s/_data/l", dir, name).ptr, &text, 100, &err));
	span_is_text(buf_span(&text), "hello");
	assert_int_equal(stat(arena_printf(a, "%s/%s/_data", dir, name).ptr, &st), 0);
	assert_int_equal(st.st_mode & 07777, 01750);
	if (geteuid() == 0)
		assert_int_equal(st.st_gid, 34);
	assert_int_equal(access(arena_printf(a, "%s/%s/copy", dir, name).ptr, F_OK), -1);
	assert_int_equal(access(arena_printf(a, "%s/%s/.copy-new", dir, name).ptr, F_OK), -1);
}

static void test_copy_up(void **state)
{
	auto_arena struct arena a = {};
	struct volume_store *s = open_store();
	struct volume_info v;
	uint64_t bytes;
	auto_fd int from = image_folder(&a);
	struct volume_mount no_copy = named;
	no_copy.no_copy = true;
	OK(volume_use(s, &named, SPAN("c1"), &a, &v, &err));
	OK(volume_copy_up(s, v.name, &no_copy, from, &err));
	OK(volume_usage(s, v.name, &bytes, &err));
	assert_int_equal(bytes, 0);
	OK(volume_copy_up(s, v.name, &named, from, &err));
	is_copied(&a, "vol1");
	OK(volume_usage(s, v.name, &bytes, &err));
	assert_int_equal(bytes, 5);
	/* Not twice: what a container wrote stays. */
	assert_int_equal(unlink(arena_printf(&a, "%s/vol1/_data/l", dir).ptr), 0);
	OK(volume_copy_up(s, v.name, &named, from, &err));
	assert_int_equal(access(arena_printf(&a, "%s/vol1/_data/l", dir).ptr, F_OK), -1);
	volume_store_close(s);
}

/* Killed at each step of create, copy-up and remove: the next open finds all or nothing. */
static void test_killed(void **state)
{
	static const char *const points[] = { "volume.create.filled", "volume.create.renamed", "volume.copy.copied", "volume.copy.whole",
		"volume.copy.moved", "volume.remove.renamed" };
	auto_arena struct arena a = {};
	auto_fd int from = image_folder(&a);
	for (size_t i = 0; i < ARRAY_LEN(points); i++) {
		pid_t pid = fork();
		if (pid == 0) {
			struct volume_info v;
			struct volume_store *s = NULL;
			char spec[80];
			snprintf(spec, sizeof(spec), "%s=kill", points[i]);
			fail_arm(spec);
			if (volume_store_open(dir, &s, NULL) == 0 && volume_use(s, &named, SPAN("c1"), &a, &v, NULL) == 0 &&
			    volume_copy_up(s, v.name, &named, from, NULL) == 0 && volume_release(s, v.name, SPAN("c1"), false, NULL, NULL) == 0)
				(void)volume_remove(s, v.name, false, NULL);
			_exit(1);
		}
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFSIGNALED(status))
			fail_msg("%s was not passed", points[i]);
		struct volume_store *s = open_store();
		struct volume_info v;
		bool there = volume_get(s, SPAN("vol1"), &a, &v, NULL) == 0;
		assert_int_equal(there, i != 0 && i != 5);
		if (there) {
			assert_int_equal(v.n_users, 1);
			if (i == 3 || i == 4)
				is_copied(&a, "vol1");
			OK(volume_copy_up(s, v.name, &named, from, &err));
			is_copied(&a, "vol1");
			OK(volume_release(s, v.name, SPAN("c1"), false, NULL, &err));
			OK(volume_remove(s, v.name, false, &err));
		}
		volume_store_close(s);
		/* Nothing is left but the lock. */
		uint64_t entries, bytes;
		auto_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		OK(snapshot_tree_count(fd, &entries, &bytes, &err));
		assert_int_equal(entries, 1);
	}
}

static void test_devices(void **state)
{
	if (geteuid() != 0)
		skip();
	auto_arena struct arena a = {};
	struct volume_store *s = open_store();
	struct span path;
	struct stat st, outer;
	made(s, &a, "vol1", "{\"type\":\"tmpfs\",\"device\":\"tmpfs\",\"o\":\"size=1m,mode=0710,noexec\"}", NULL);
	made(s, &a, "broken", "{\"type\":\"nosuchfs\",\"device\":\"x\",\"o\":\"ro,a=b\"}", NULL);
	made(s, &a, "bound", arena_printf(&a, "{\"type\":\"none\",\"device\":\"%s\",\"o\":\"bind,ro\"}", dir).ptr, NULL);
	const char *data = arena_printf(&a, "%s/vol1/_data", dir).ptr;
	OK(volume_mount(s, SPAN("vol1"), &named, SPAN("c1"), &a, &path, &err));
	span_is_text(path, data);
	OK(volume_mount(s, SPAN("vol1"), &named, SPAN("c2"), &a, &path, &err));
	assert_int_equal(stat(data, &st) | stat(dir, &outer), 0);
	assert_true(st.st_dev != outer.st_dev);
	assert_int_equal(st.st_mode & 07777, 0710);
	volume_store_close(s);
	s = open_store(); /* another process' life: the mount and its users are still known */
	OK(volume_unmount(s, SPAN("vol1"), SPAN("c1"), &err));
	OK(volume_unmount(s, SPAN("vol1"), SPAN("c1"), &err));
	assert_int_equal(stat(data, &st), 0);
	assert_true(st.st_dev != outer.st_dev);
	OK(volume_unmount(s, SPAN("vol1"), SPAN("c2"), &err));
	assert_int_equal(stat(data, &st), 0);
	assert_true(st.st_dev == outer.st_dev);
	auto_err struct err why = ERR_INIT;
	assert_true(volume_mount(s, SPAN("broken"), &named, SPAN("c1"), &a, &path, &why) < 0);
	span_is_text(span_of(err_msg(&why)),
		arena_printf(&a, "error while mounting volume '%s/broken/_data': failed to mount local volume: mount x:%s/broken/_data, "
			"flags: 0x1, data: a=b: no such device", dir, dir).ptr);
	OK(volume_mount(s, SPAN("bound"), &named, SPAN("c1"), &a, &path, &err));
	assert_int_equal(open(arena_printf(&a, "%.*s/x", SPAN_ARG(path)).ptr, O_CREAT | O_WRONLY | O_CLOEXEC, 0600), -1);
	assert_int_equal(errno, EROFS);
	OK(volume_release(s, SPAN("bound"), SPAN("c1"), false, NULL, &err));
	OK(volume_remove(s, SPAN("bound"), false, &err));
	/* A mount that a lost process left is taken away with its volume. */
	OK(volume_mount(s, SPAN("vol1"), &named, SPAN("c1"), &a, &path, &err));
	OK(volume_remove(s, SPAN("vol1"), false, &err));
	volume_store_close(s);
}

static void test_parts(void **state)
{
	if (geteuid() != 0)
		skip();
	auto_arena struct arena a = {};
	struct volume_store *s = open_store();
	auto_fd int from = image_folder(&a);
	struct volume_info v;
	struct span path;
	struct volume_mount part = named;
	OK(volume_use(s, &named, SPAN("c1"), &a, &v, &err));
	OK(volume_copy_up(s, v.name, &named, from, &err));
	assert_int_equal(symlink("/etc", arena_printf(&a, "%s/vol1/_data/out", dir).ptr), 0);
	assert_int_equal(symlink("../../../../etc", arena_printf(&a, "%s/vol1/_data/up", dir).ptr), 0);
	part.subpath = SPAN("sub");
	OK(volume_mount(s, v.name, &part, SPAN("c1"), &a, &path, &err));
	/* Swapped after it was resolved: what is mounted stays what it was. */
	assert_int_equal(rename(arena_printf(&a, "%s/vol1/_data/sub", dir).ptr, arena_printf(&a, "%s/vol1/_data/sub2", dir).ptr), 0);
	assert_int_equal(access(arena_printf(&a, "%.*s/f", SPAN_ARG(path)).ptr, F_OK), 0);
	part.subpath = SPAN("sub2/f");
	OK(volume_mount(s, v.name, &part, SPAN("c1"), &a, &path, &err));
	struct stat st;
	assert_int_equal(stat(path.ptr, &st), 0);
	assert_true(S_ISREG(st.st_mode) && st.st_size == 5);
	part.subpath = SPAN("out");
	FAILS(ERR_INVALID_REQUEST, "path out escapes the volume", volume_mount(s, v.name, &part, SPAN("c3"), &a, &path, &err));
	part.subpath = SPAN("up/passwd");
	FAILS(ERR_INVALID_REQUEST, "escapes the volume", volume_mount(s, v.name, &part, SPAN("c3"), &a, &path, &err));
	part.subpath = SPAN("none");
	FAILS(ERR_NOT_FOUND, "cannot access path none: No such file", volume_mount(s, v.name, &part, SPAN("c3"), &a, &path, &err));
	OK(volume_release(s, v.name, SPAN("c1"), false, NULL, &err));
	auto_fd int sub = open(arena_printf(&a, "%s/vol1/sub", dir).ptr, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t entries, bytes;
	OK(snapshot_tree_count(sub, &entries, &bytes, &err));
	assert_int_equal(entries, 0);
	volume_store_close(s);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, dir_make, dir_drop)
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean), cmocka_unit_test(test_binds), cmocka_unit_test(test_mounts), cmocka_unit_test(test_plan),
		TEST(test_create), TEST(test_references), TEST(test_lists), TEST(test_copy_up), TEST(test_killed), TEST(test_devices),
		TEST(test_parts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
