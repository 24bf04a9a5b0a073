/* src/image and src/snapshot from the command line, for tests and measurements: `imagectl DIR COMMAND [ARGS]`.
 * Options are read from
 * the environment (KNARR_MIRROR, KNARR_INSECURE, KNARR_CERTS, KNARR_USER, KNARR_PASSWORD, KNARR_PLATFORM, KNARR_BACKEND,
 * KNARR_PROGRESS=1, KNARR_NO_UNPACK=1, KNARR_STALL_MS; HTTP_PROXY and so on as usual). Answers are lines; an error
 * is `CLASS: words` on
 * descriptor 2 and status 1. */
#include <fcntl.h>
#include <sys/stat.h>

#include "image/image.h"
#include "snapshot/snapshot.h"

static struct image_store *images;
static struct snapshot_store *snapshots;
static struct err err = ERR_INIT;

static int failed(int rc)
{
	fprintf(stderr, "%s: %s\n", err_class_name(rc), err_msg(&err));
	if (err.retry_ms)
		fprintf(stderr, "retry_ms: %d\n", err.retry_ms);
	return 1;
}

/* ---- snapshot behind image_unpacker ---- */

static bool layer_has(void *arg, const char *chain)
{
	return snapshot_layer_has(arg, chain);
}

static int layer_unpack(void *arg, const char *parent, struct tar_source *from, void **out_pending, struct err *e)
{
	struct snapshot_pending *p;
	int rc = snapshot_unpack(arg, parent, from, &p, NULL, e);
	if (rc == 0)
		*out_pending = p;
	return rc;
}

static int layer_commit(void *arg, void *pending, const char *chain, const char *parent, struct err *e)
{
	return snapshot_unpack_commit(pending, chain, parent, e);
}

static void layer_drop(void *arg, void *pending)
{
	snapshot_unpack_drop(pending);
}

static struct image_unpacker unpacker = { .has = layer_has, .unpack = layer_unpack, .commit = layer_commit, .drop = layer_drop };

static const struct image_unpacker *the_unpacker(void)
{
	unpacker.arg = snapshots;
	unpacker.sequential = snapshot_needs_parent(snapshots);
	return getenv("KNARR_NO_UNPACK") ? NULL : &unpacker;
}

/* ---- helpers ---- */

static void print_progress(const struct image_progress *p, void *arg)
{
	if ((p->total || p->current) && !getenv("KNARR_PROGRESS"))
		return;
	if (p->id.len)
		printf("%.*s: ", SPAN_ARG(p->id));
	printf("%.*s", SPAN_ARG(p->status));
	if (p->total)
		printf(" %llu/%llu", (unsigned long long)p->current, (unsigned long long)p->total);
	printf("\n");
	fflush(stdout);
}

static const struct image_reporter reporter = { .fn = print_progress };

static struct span env(const char *name)
{
	return span_of(getenv(name));
}

static struct image_registry_params registry_params(void)
{
	static const char *mirrors[2], *insecure[2];
	mirrors[0] = getenv("KNARR_MIRROR");
	insecure[0] = getenv("KNARR_INSECURE");
	uint64_t stall = 0;
	(void)span_to_u64(env("KNARR_STALL_MS"), &stall);
	return (struct image_registry_params){ .certs_dir = getenv("KNARR_CERTS"), .mirrors = mirrors, .insecure = insecure,
		.http_proxy = env("HTTP_PROXY"), .https_proxy = env("HTTPS_PROXY"), .no_proxy = env("NO_PROXY"),
			.username = env("KNARR_USER"),
		.password = env("KNARR_PASSWORD"), .identity_token = env("KNARR_IDENTITY_TOKEN"), .stall_ms = (unsigned)stall };
}

static int pull(struct arena *a, const char *name)
{
	const struct image_registry_params registry = registry_params();
	struct image_pull_params p = { .registry = &registry, .unpacker = the_unpacker(), .reporter = &reporter };
	struct image_digest id;
	int rc = image_ref_parse(span_of(name), a, &p.ref, &err);
	if (rc == 0 && getenv("KNARR_PLATFORM"))
		rc = image_platform_parse(env("KNARR_PLATFORM"), &p.platform, &err);
	image_ref_default(&p.ref);
	if (rc == 0)
		rc = image_pull(images, &p, &id, &err);
	if (rc == 0)
		printf("%s\n", id.text);
	return rc;
}

static int push(struct arena *a, const char *name)
{
	const struct image_registry_params registry = registry_params();
	struct image_push_params p = { .registry = &registry, .reporter = &reporter };
	int rc = image_ref_parse(span_of(name), a, &p.ref, &err);
	image_ref_default(&p.ref);
	return rc < 0 ? rc : image_push(images, &p, NULL, &err);
}

static int with_source(const char *path, int (*fn)(struct tar_source *from, const char *arg), const char *arg)
{
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(&err, "open %s", path);
	struct tar_fd_source file;
	tar_fd_source_init(&file, fd);
	int rc = fn(&file.source, arg);
	tar_fd_source_done(&file);
	return rc;
}

static int load(struct tar_source *from, const char *arg)
{
	return image_load(images, from, NULL, the_unpacker(), &reporter, &err);
}

static int import(struct tar_source *from, const char *ref)
{
	const struct image_import_params p = { .ref = span_of(ref), .config = env("KNARR_CONFIG"), .unpacker = the_unpacker() };
	struct image_digest id;
	int rc = image_import(images, from, &p, &id, &err);
	if (rc == 0)
		printf("%s\n", id.text);
	return rc;
}

static int save(const char *path, char **names, int n)
{
	auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	struct span list[64];
	struct tar_fd_sink sink;
	if (fd < 0)
		return err_sys(&err, "open %s", path);
	for (int i = 0; i < n && i < 64; i++)
		list[i] = span_of(names[i]);
	tar_fd_sink_init(&sink, fd);
	return image_save(images, list, (size_t)MIN(n, 64), &sink.sink, &err);
}

static void names_out(struct json_out *o, const char *key, const struct span *names, size_t n)
{
	json_out_key(o, span_of(key));
	json_out_begin_array(o);
	for (size_t i = 0; i < n; i++)
		json_out_span(o, names[i]);
	json_out_end(o);
}

static int list(struct arena *a)
{
	struct image_info *all;
	size_t n;
	int rc = image_list(images, a, &all, &n, &err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		auto_buf struct buf b = {};
		struct json_out o = { .buf = &b };
		char top[65];
		json_out_begin(&o);
		json_out_kspan(&o, "id", image_digest_span(&all[i].id));
		json_out_kspan(&o, "manifest", image_digest_span(&all[i].manifest));
		names_out(&o, "tags", all[i].tags, all[i].n_tags);
		names_out(&o, "digests", all[i].digests, all[i].n_digests);
		json_out_ki64(&o, "size", (int64_t)all[i].size);
		json_out_kspan(&o, "os", span_of(all[i].platform.os));
		json_out_kspan(&o, "arch", span_of(all[i].platform.arch));
		json_out_kspan(&o, "variant", span_of(all[i].platform.variant));
		if (image_top(images, &all[i].id, top, NULL) == 0)
			json_out_kspan(&o, "top", span_of(top));
		json_out_end(&o);
		printf("%s\n", buf_cstr(&b));
	}
	return rc;
}

static int remove_image(struct arena *a, const char *name, bool force)
{
	struct image_removed *gone;
	size_t n;
	int rc = image_remove(images, span_of(name), &(struct image_remove_params){ .force = force }, a, &gone, &n, &err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		printf("%s: %.*s\n", gone[i].deleted ? "Deleted" : "Untagged", SPAN_ARG(gone[i].what));
	return rc;
}

static int top_of(const char *name, char chain[65])
{
	struct image_digest id;
	int rc = image_find(images, span_of(name), &id, &err);
	return rc < 0 ? rc : image_top(images, &id, chain, &err);
}

static int changes(const char *key)
{
	struct snapshot_changes c;
	int rc = snapshot_changes(snapshots, key, NULL, &c, &err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < c.n; i++)
		printf("%c %s\n", "CAD"[c.items[i].kind], c.items[i].path);
	snapshot_changes_done(&c);
	return 0;
}

static int collect(void)
{
	unsigned blobs = 0, layers = 0;
	int rc = image_gc(images, 0, &blobs, NULL, &err);
	if (rc == 0)
		rc = snapshot_layers_prune(snapshots, image_chain_used, images, &layers, NULL, &err);
	if (rc == 0)
		printf("blobs %u layers %u\n", blobs, layers);
	return rc;
}

/* ---- archives alone: what src/tar reads and writes ---- */

static void bytes_out(struct json_out *o, const char *key, struct span s)
{
	auto_buf struct buf b = {};
	hex_add(&b, s.ptr, s.len);
	json_out_kspan(o, key, buf_span(&b));
}

/* A JSON line an entry; strings as hex, because names are bytes. */
static int tar_list(struct tar_source *from, const char *arg)
{
	auto_cleanup(auto_tar_inflate_) struct tar_inflate *plain = NULL;
	auto_cleanup(auto_tar_reader_) struct tar_reader *r = NULL;
	tar_inflate_new(from, 0, &plain);
	tar_reader_new(tar_inflate_source(plain), NULL, &r);
	const struct tar_entry *e;
	int rc;
	while ((rc = tar_next(r, &e, &err)) > 0) {
		auto_buf struct buf b = {}, contents = {};
		struct json_out o = { .buf = &b };
		struct tar_piece piece;
		memset(buf_reserve(&contents, e->size + 1), 0, e->size + 1);
		buf_commit(&contents, e->size);
		while ((rc = tar_data(r, &piece, &err)) > 0)
			memcpy(contents.ptr + piece.offset, piece.data.ptr, piece.data.len);
		if (rc < 0)
			return rc;
		struct image_digest d = image_digest_of(buf_span(&contents));
		json_out_begin(&o);
		json_out_kspan(&o, "kind", span_of(tar_kind_name(e->kind)));
		bytes_out(&o, "path", e->path);
		bytes_out(&o, "link", e->link);
		bytes_out(&o, "uname", e->uname);
		json_out_key(&o, SPAN("mode"));
		json_out_u64(&o, e->mode);
		json_out_key(&o, SPAN("uid"));
		json_out_u64(&o, e->uid);
		json_out_key(&o, SPAN("gid"));
		json_out_u64(&o, e->gid);
		json_out_key(&o, SPAN("size"));
		json_out_u64(&o, e->size);
		json_out_key(&o, SPAN("mtime_ns"));
		json_out_i64(&o, e->mtime.tv_sec * 1000000000 + e->mtime.tv_nsec);
		json_out_key(&o, SPAN("dev"));
		json_out_begin_array(&o);
		json_out_u64(&o, e->major);
		json_out_u64(&o, e->minor);
		json_out_end(&o);
		json_out_kspan(&o, "sha256", image_digest_span(&d));
		json_out_key(&o, SPAN("xattrs"));
		json_out_begin(&o);
		for (size_t i = 0; i < e->n_xattrs; i++) {
			auto_free char *key = mem_dup(e->xattrs[i].name.ptr, e->xattrs[i].name.len);
			bytes_out(&o, key, e->xattrs[i].value);
		}
		json_out_end(&o);
		json_out_end(&o);
		printf("%s\n", buf_cstr(&b));
	}
	return rc;
}

/* Reads an archive and writes it again. */
static int tar_copy(struct tar_source *from, const char *path)
{
	auto_cleanup(auto_tar_inflate_) struct tar_inflate *plain = NULL;
	auto_cleanup(auto_tar_reader_) struct tar_reader *r = NULL;
	auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_sys(&err, "open %s", path);
	struct tar_fd_sink sink;
	struct tar_writer w;
	tar_fd_sink_init(&sink, fd);
	tar_writer_init(&w, &sink.sink);
	tar_inflate_new(from, 0, &plain);
	tar_reader_new(tar_inflate_source(plain), NULL, &r);
	const struct tar_entry *e;
	int rc;
	while ((rc = tar_next(r, &e, &err)) > 0) {
		static const char zeros[65536];
		struct tar_piece piece;
		uint64_t at = 0, size = e->size;
		if ((rc = tar_write(&w, e, &err)) < 0)
			break;
		while (rc == 0 && (rc = tar_data(r, &piece, &err)) > 0) {
			rc = 0;
			for (; rc == 0 && at < piece.offset; at += MIN(piece.offset - at, sizeof(zeros)))
				rc = tar_write_data(&w, span_make(zeros, MIN(piece.offset - at, sizeof(zeros))), &err);
			if (rc == 0)
				rc = tar_write_data(&w, piece.data, &err);
			at += piece.data.len;
		}
		while (rc == 0 && at < size) {
			size_t step = MIN(size - at, sizeof(zeros));
			rc = tar_write_data(&w, span_make(zeros, step), &err);
			at += step;
		}
		if (rc < 0)
			break;
	}
	if (rc == 0)
		rc = tar_write_end(&w, &err);
	tar_writer_done(&w);
	return rc;
}

static int is(const char *command, const char *name, int argc, int want)
{
	return !strcmp(command, name) && argc == want;
}

static int run(int argc, char **argv)
{
	const char *c = argv[2];
	auto_arena struct arena a = {};
	char chain[65];
	int rc;
	if (is(c, "pull", argc, 4))
		return pull(&a, argv[3]);
	if (is(c, "push", argc, 4))
		return push(&a, argv[3]);
	if (is(c, "load", argc, 4))
		return with_source(argv[3], load, NULL);
	if (is(c, "import", argc, 5))
		return with_source(argv[3], import, argv[4]);
	if (!strcmp(c, "save") && argc >= 5)
		return save(argv[3], argv + 4, argc - 4);
	if (is(c, "list", argc, 3))
		return list(&a);
	if (is(c, "tag", argc, 5)) {
		struct image_digest id;
		rc = image_find(images, span_of(argv[3]), &id, &err);
		return rc < 0 ? rc : image_tag(images, &id, span_of(argv[4]), &err);
	}
	if (is(c, "rmi", argc, 4) || is(c, "rmi-force", argc, 4))
		return remove_image(&a, argv[3], c[3] == '-');
	if (is(c, "gc", argc, 3))
		return collect();
	if (is(c, "mount", argc, 5)) {
		rc = top_of(argv[3], chain);
		return rc < 0 ? rc : snapshot_layer_mount(snapshots, chain, argv[4], &err);
	}
	if (is(c, "prepare", argc, 5)) {
		rc = top_of(argv[4], chain);
		return rc < 0 ? rc : snapshot_prepare(snapshots, argv[3], chain, &err);
	}
	if (is(c, "mount-snapshot", argc, 5))
		return snapshot_mount(snapshots, argv[3], argv[4], false, &err);
	if (is(c, "umount", argc, 4))
		return snapshot_unmount(argv[3], &err);
	if (is(c, "changes", argc, 4))
		return changes(argv[3]);
	if (is(c, "tar-list", argc, 4))
		return with_source(argv[3], tar_list, NULL);
	if (is(c, "tar-copy", argc, 5))
		return with_source(argv[3], tar_copy, argv[4]);
	return err_set(&err, ERR_USAGE, "imagectl: unknown command or wrong number of words: %s", c);
}

int main(int argc, char **argv)
{
	if (argc < 3 || fail_init_from_env() < 0) {
		fprintf(stderr, "usage: imagectl DIR COMMAND [ARGS]\n");
		return 2;
	}
	auto_buf struct buf dir = {};
	buf_printf(&dir, "%s/snapshots", argv[1]);
	enum snapshot_backend backend = SNAPSHOT_AUTO;
	for (enum snapshot_backend b = SNAPSHOT_AUTO; b < SNAPSHOT_BACKEND_COUNT; b++)
		if (span_is(env("KNARR_BACKEND"), snapshot_backend_name(b)))
			backend = b;
	if (getenv("KNARR_ZLIB"))
		tar_isal_set(false);
	int rc = 0;
	if (strncmp(argv[2], "tar-", 4) != 0) {
		rc = snapshot_open(&(struct snapshot_params){ .dir = buf_cstr(&dir), .backend = backend }, &snapshots, &err);
		buf_trunc(&dir, 0);
		buf_printf(&dir, "%s/images", argv[1]);
		if (rc == 0)
			rc = image_store_open(buf_cstr(&dir), &images, &err);
	}
	if (rc == 0)
		rc = run(argc, argv);
	int status = rc < 0 ? failed(rc) : 0;
	image_store_close(images);
	snapshot_close(snapshots);
	err_done(&err);
	return status;
}
