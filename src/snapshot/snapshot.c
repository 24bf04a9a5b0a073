/* The folder, its index, and everything that makes or removes a layer or snapshot. See snapshot.h for the layout.
 *
 *     tmp/N/ ── filled ── syncfs ── rename to layers/CHAIN or live/KEY ── fsync of that folder ── index
 *     layers/CHAIN ── rename to tmp/N ── removed
 *
 * Invariants
 * 1. Whatever stands in layers/ or live/ was complete and synced before its rename.
 * 2. The index (by_chain, by_key) holds exactly what stands there; refs counts who stands on a layer.
 * 3. Files are made and removed without the mutex; renames into and out of layers/ and live/ happen with it held. */
#include <dirent.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "json/json.h"
#include "snapshot/private.h"
#include "sys/sys.h"

static const char *const backend_names[SNAPSHOT_BACKEND_COUNT] = { "auto", "overlay", "copy" };

const char *snapshot_backend_name(enum snapshot_backend b)
{
	return backend_names[b];
}

enum snapshot_backend snapshot_backend(const struct snapshot_store *s)
{
	return s->backend;
}

unsigned snapshot_healed(const struct snapshot_store *s)
{
	return s->healed;
}

static bool is_chain(struct span c)
{
	uint8_t raw[32];
	if (c.len != SNAPSHOT_CHAIN_LEN || !hex_parse(c, raw))
		return false;
	for (size_t i = 0; i < c.len; i++)
		if (c.ptr[i] >= 'A' && c.ptr[i] <= 'F')
			return false;
	return true;
}

static bool is_key(struct span k)
{
	if (!k.len || k.len > 128 || k.ptr[0] == '.')
		return false;
	for (size_t i = 0; i < k.len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", k.ptr[i]))
			return false;
	return true;
}

static int chain_check(const char *chain, bool may_be_empty, struct err *err)
{
	return is_chain(span_of(chain)) || (may_be_empty && !*chain) ? 0
								     : err_set(err, ERR_INVALID, "\"%s\" is no chain id", chain);
}

static struct layer *layer_find(struct snapshot_store *s, const char *chain)
{
	return map_get(&s->by_chain, span_of(chain));
}

static int layer_missing(const char *chain, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "layer %.12s is not there", chain);
}

/* ---- work in progress ---- */

int snapshot_tmp_make(struct snapshot_store *s, char name[32], int *out_dir, int *out_fs, struct err *err)
{
	pthread_mutex_lock(&s->mutex);
	snprintf(name, 32, "%llu", (unsigned long long)++s->next_tmp);
	pthread_mutex_unlock(&s->mutex);
	if (mkdirat(s->tmp, name, 0700) < 0)
		return err_sys(err, "make %s/tmp/%s", s->dir, name);
	auto_fd int dir = openat(s->tmp, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || mkdirat(dir, "fs", 0755) < 0 || fchmodat(dir, "fs", 0755, 0) < 0)
		return err_sys(err, "make %s/tmp/%s/fs", s->dir, name);
	*out_fs = openat(dir, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*out_fs < 0)
		return err_sys(err, "open %s/tmp/%s/fs", s->dir, name);
	*out_dir = take_fd(&dir);
	return 0;
}

void snapshot_tmp_remove(struct snapshot_store *s, const char *name)
{
	/* What stays is removed at the next open; nobody looks into tmp/ before. */
	(void)snapshot_tree_remove(s->tmp, name, NULL);
}

/* Everything of this file system to disk: one call for thousands of files. */
static int sync_all(int fd, struct err *err)
{
	int num = 0;
	if (FAILPOINT_ERR("snapshot.sync", &num))
		return err_sys_num(err, num, "sync");
	return syncfs(fd) < 0 ? err_sys(err, "sync") : 0;
}

static int rename_lazy(int fromdir, const char *from, int todir, const char *to, struct err *err)
{
	return renameat(fromdir, from, todir, to) < 0 ? err_sys(err, "rename to %s", to) : 0;
}

static int rename_durable(int fromdir, const char *from, int todir, const char *to, struct err *err)
{
	if (renameat(fromdir, from, todir, to) < 0)
		return err_sys(err, "rename to %s", to);
	if (fsync(todir) < 0)
		return err_sys(err, "sync the folder of %s", to);
	return 0;
}

/* ---- records ---- */

static int layer_write(int dir, const struct layer *l, struct err *err)
{
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	json_out_kspan(&o, "parent", span_of(l->facts.parent));
	json_out_key(&o, SPAN("entries"));
	json_out_u64(&o, l->facts.entries);
	json_out_key(&o, SPAN("bytes"));
	json_out_u64(&o, l->facts.bytes);
	if (l->opaque_root)
		json_out_kbool(&o, "opaqueRoot", true);
	json_out_end(&o);
	return io_write_file_lazy(dir, "layer.json", buf_span(&b), 0600, err);
}

static int chain_read(const struct json *v, char out[SNAPSHOT_CHAIN_LEN + 1], struct err *err)
{
	struct span parent = json_span(json_getl(v, "parent"));
	if (parent.len && !is_chain(parent))
		return err_set(err, ERR_CORRUPT, "malformed record");
	snprintf(out, SNAPSHOT_CHAIN_LEN + 1, "%.*s", SPAN_ARG(parent));
	return 0;
}

static int record_read(int dirfd, const char *name, const char *file, struct arena *a, struct json *out, struct err *err)
{
	auto_buf struct buf path = {}, text = {};
	buf_printf(&path, "%s/%s", name, file);
	int rc = io_read_file(dirfd, buf_cstr(&path), &text, 4096, err);
	if (rc == 0)
		rc = json_parse(a, arena_span(a, buf_span(&text)), 0, NULL, out, err);
	return rc;
}

static int layer_read(struct snapshot_store *s, const char *chain, struct layer *out, struct err *err)
{
	auto_arena struct arena a = {};
	struct json v;
	int rc = record_read(s->layers, chain, "layer.json", &a, &v, err);
	if (rc == 0)
		rc = chain_read(&v, out->facts.parent, err);
	if (rc < 0)
		return rc;
	memcpy(out->facts.chain, chain, SNAPSHOT_CHAIN_LEN + 1);
	out->facts.entries = (uint64_t)json_i64(json_getl(&v, "entries"), -1);
	out->facts.bytes = (uint64_t)json_i64(json_getl(&v, "bytes"), -1);
	out->opaque_root = json_truth(json_getl(&v, "opaqueRoot"), false);
	return 0;
}

/* ---- open ---- */

static int subdir_open(int dirfd, const char *name, struct err *err)
{
	if (mkdirat(dirfd, name, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make folder %s", name);
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open folder %s", name) : fd;
}

/* Does a mount of overlayfs with our options work here? Tried in tmp/, with a name in each of two layers. */
static bool overlay_works(struct snapshot_store *s)
{
	int dir = -1, fs = -1;
	char name[32];
	bool works = false;
	if (snapshot_tmp_make(s, name, &dir, &fs, NULL) == 0) {
		auto_buf struct buf data = {}, target = {};
		buf_printf(&target, "%s/tmp/%s/m", s->dir, name);
		buf_printf(&data, "lowerdir=/proc/self/fd/%d/l,upperdir=/proc/self/fd/%d/u,workdir=/proc/self/fd/%d/w", dir, dir, dir);
		if (mkdirat(dir, "l", 0755) == 0 && mkdirat(dir, "u", 0755) == 0 && mkdirat(dir, "w", 0755) == 0 &&
		    mkdirat(dir, "m", 0755) == 0 && snapshot_xattr_set(dir, "u", OPAQUE_XATTR, SPAN("n")) == 0 &&
		    mknodat(dir, "u/whiteout", S_IFCHR, 0) == 0 &&
		    mount("overlay", buf_cstr(&target), "overlay", 0, buf_cstr(&data)) == 0) {
			works = true;
			(void)umount2(buf_cstr(&target), MNT_DETACH);
		}
		snapshot_tmp_remove(s, name);
	}
	fd_close(&dir);
	fd_close(&fs);
	return works;
}

static int format_open(struct snapshot_store *s, enum snapshot_backend wanted, struct err *err)
{
	static const char head[] = "knarr snapshots 1 ";
	auto_buf struct buf text = {};
	enum snapshot_backend made = SNAPSHOT_AUTO;
	int rc = io_read_file(s->dirfd, "format", &text, 256, err);
	if (rc == 0) {
		struct span line = span_trim(buf_span(&text));
		for (enum snapshot_backend b = SNAPSHOT_OVERLAY; b < SNAPSHOT_BACKEND_COUNT; b++)
			if (span_starts(line, span_of(head)) && span_is(span_from(line, strlen(head)), backend_names[b]))
				made = b;
		if (made == SNAPSHOT_AUTO)
			return err_set(err, ERR_UNSUPPORTED, "%s/format: \"%.*s\" is not known", s->dir, SPAN_ARG(line));
	} else if (rc != -ERR_NOT_FOUND) {
		return rc;
	}
	if (made != SNAPSHOT_AUTO && wanted != SNAPSHOT_AUTO && wanted != made)
		return err_set(err, ERR_PRECONDITION, "%s was made with backend %s, not %s", s->dir,
			backend_names[made], backend_names[wanted]);
	s->backend = made != SNAPSHOT_AUTO ? made : wanted;
	if (s->backend != SNAPSHOT_COPY) {
		bool works = overlay_works(s);
		if (!works && s->backend == SNAPSHOT_OVERLAY)
			return err_set(err, ERR_UNSUPPORTED, "%s: overlayfs cannot be mounted here", s->dir);
		s->backend = works ? SNAPSHOT_OVERLAY : SNAPSHOT_COPY;
	}
	if (made != SNAPSHOT_AUTO)
		return 0;
	if (err)
		err_done(err); /* "no such file" was the expected answer */
	buf_trunc(&text, 0);
	buf_printf(&text, "%s%s\n", head, backend_names[s->backend]);
	return io_write_file(s->dirfd, "format", buf_span(&text), 0600, err);
}

/* Calls fn with every name in a folder. */
static int names_each(int dirfd, void (*fn)(struct snapshot_store *s, const char *name), struct snapshot_store *s, struct err *err)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return err_sys(err, "read %s", s->dir);
	}
	struct dirent *e;
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			fn(s, e->d_name);
	closedir(d);
	return 0;
}

static void layer_load(struct snapshot_store *s, const char *name)
{
	struct layer *l = mem_new(struct layer);
	if (is_chain(span_of(name)) && layer_read(s, name, l, NULL) == 0) {
		map_put(&s->by_chain, span_of(l->facts.chain), l);
		return;
	}
	/* No record, or none that reads: what a power cut left. */
	free(l);
	s->healed++;
	char tmp[32];
	snprintf(tmp, sizeof(tmp), "torn-%u", s->healed);
	if (renameat(s->layers, name, s->tmp, tmp) == 0)
		snapshot_tmp_remove(s, tmp);
}

static void live_load(struct snapshot_store *s, const char *name)
{
	auto_arena struct arena a = {};
	struct json v;
	struct live *l = mem_new(struct live);
	if (is_key(span_of(name)) && record_read(s->live, name, "snapshot.json", &a, &v, NULL) == 0 &&
	    chain_read(&v, l->parent, NULL) == 0) {
		l->key = mem_dup(name, strlen(name));
		l->unsynced = json_truth(json_getl(&v, "volatile"), false);
		map_put(&s->by_key, span_of(l->key), l);
		return;
	}
	free(l);
	/* It stays on disk: a person's data is not thrown away because its record is damaged. One without a single byte was never
	 * synced: a volatile one that a power cut met. */
	auto_buf struct buf path = {};
	struct stat st;
	buf_printf(&path, "%s/snapshot.json", name);
	int rc = fstatat(s->live, buf_cstr(&path), &st, AT_SYMLINK_NOFOLLOW);
	if (is_key(span_of(name)) && ((rc == 0 && st.st_size == 0) || (rc < 0 && errno == ENOENT)) &&
	    rename_lazy(s->live, name, s->tmp, name, NULL) == 0)
		snapshot_tmp_remove(s, name);
}

static void tmp_clean(struct snapshot_store *s, const char *name)
{
	snapshot_tmp_remove(s, name);
}

static void layer_forget(struct snapshot_store *s, struct layer *l)
{
	char tmp[80];
	snprintf(tmp, sizeof(tmp), "gone-%.64s", l->facts.chain);
	if (renameat(s->layers, l->facts.chain, s->tmp, tmp) == 0)
		snapshot_tmp_remove(s, tmp);
	(void)map_remove(&s->by_chain, span_of(l->facts.chain));
	free(l);
	s->healed++;
}

/* Is the layer what its record says? */
static bool layer_whole(struct snapshot_store *s, const struct layer *l)
{
	auto_buf struct buf path = {};
	buf_printf(&path, "%s/fs", l->facts.chain);
	auto_fd int fs = openat(s->layers, buf_cstr(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t entries, bytes;
	return fs >= 0 && snapshot_tree_count(fs, &entries, &bytes, NULL) == 0 && entries == l->facts.entries &&
	       bytes == l->facts.bytes;
}

static void heal(struct snapshot_store *s, bool count)
{
	if (count)
		MAP_EACH(&s->by_chain, e) {
			struct layer *l = e->value;
			if (!layer_whole(s, l))
				layer_forget(s, l); /* removes the current entry only */
		}
	/* Whatever stood on a layer that is gone goes too; again until nothing changes. */
	for (bool again = true; again;) {
		again = false;
		MAP_EACH(&s->by_chain, e) {
			struct layer *l = e->value;
			if (l->facts.parent[0] && !layer_find(s, l->facts.parent)) {
				layer_forget(s, l);
				again = true;
			}
		}
	}
}

static int boot_check(struct snapshot_store *s, bool *out_changed, struct err *err)
{
	auto_buf struct buf now = {}, then = {};
	int rc = io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &now, 64, err);
	if (rc < 0)
		return rc;
	*out_changed = io_read_file(s->dirfd, "boot", &then, 64, NULL) < 0 || !span_eq(buf_span(&now), buf_span(&then));
	return 0;
}

static int boot_write(struct snapshot_store *s, struct err *err)
{
	auto_buf struct buf now = {};
	int rc = io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &now, 64, err);
	return rc < 0 ? rc : io_write_file(s->dirfd, "boot", buf_span(&now), 0600, err);
}

static void refs_count(struct snapshot_store *s)
{
	MAP_EACH(&s->by_chain, e) {
		struct layer *below = layer_find(s, ((struct layer *)e->value)->facts.parent);
		if (below)
			below->refs++;
	}
	MAP_EACH(&s->by_key, e) {
		struct layer *below = layer_find(s, ((struct live *)e->value)->parent);
		if (below)
			below->refs++;
	}
}

int snapshot_open(const struct snapshot_params *p, struct snapshot_store **out_store, struct err *err)
{
	auto_cleanup(auto_snapshot_store_) struct snapshot_store *s = mem_new(struct snapshot_store);
	s->dirfd = s->tmp = s->layers = s->live = s->lock = -1;
	s->limits = p->limits;
	pthread_mutex_init(&s->mutex, NULL);
	int rc = io_mkdirs(AT_FDCWD, p->dir, 0700, err);
	if (rc < 0)
		return rc;
	s->dir = realpath(p->dir, NULL);
	if (!s->dir || (s->dirfd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_sys(err, "open %s", p->dir);
	s->lock = openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock < 0)
		return err_sys(err, "open %s/lock", s->dir);
	if (flock(s->lock, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? err_set(err, ERR_IN_USE, "%s is open in another process", s->dir)
					    : err_sys(err, "lock %s", s->dir);
	if ((s->tmp = rc = subdir_open(s->dirfd, "tmp", err)) < 0 || (s->layers = rc = subdir_open(s->dirfd, "layers", err)) < 0 ||
	    (s->live = rc = subdir_open(s->dirfd, "live", err)) < 0 || (rc = names_each(s->tmp, tmp_clean, s, err)) < 0 ||
	    (rc = format_open(s, p->backend, err)) < 0)
		return rc;
	bool changed;
	if ((rc = boot_check(s, &changed, err)) < 0 || (rc = names_each(s->layers, layer_load, s, err)) < 0 ||
	    (rc = names_each(s->live, live_load, s, err)) < 0)
		return rc;
	heal(s, changed || p->check_all);
	refs_count(s);
	if (changed && (rc = boot_write(s, err)) < 0)
		return rc;
	*out_store = take(&s);
	return 0;
}

void snapshot_close(struct snapshot_store *s)
{
	if (!s)
		return;
	MAP_EACH(&s->by_chain, e)
		free(e->value);
	MAP_EACH(&s->by_key, e) {
		struct live *l = e->value;
		free(l->key);
		free(l);
	}
	map_done(&s->by_chain);
	map_done(&s->by_key);
	fd_close(&s->dirfd);
	fd_close(&s->tmp);
	fd_close(&s->layers);
	fd_close(&s->live);
	fd_close(&s->lock);
	pthread_mutex_destroy(&s->mutex);
	free(s->dir);
	free(s);
}

/* ---- layers ---- */

bool snapshot_layer_has(struct snapshot_store *s, const char *chain)
{
	pthread_mutex_lock(&s->mutex);
	bool has = layer_find(s, chain);
	pthread_mutex_unlock(&s->mutex);
	return has;
}

int snapshot_layer_get(struct snapshot_store *s, const char *chain, struct snapshot_layer *out, struct err *err)
{
	pthread_mutex_lock(&s->mutex);
	const struct layer *l = layer_find(s, chain);
	if (l)
		*out = l->facts;
	pthread_mutex_unlock(&s->mutex);
	return l ? 0 : layer_missing(chain, err);
}

void snapshot_layers_each(struct snapshot_store *s, void (*fn)(const struct snapshot_layer *l, void *arg), void *arg)
{
	pthread_mutex_lock(&s->mutex);
	MAP_EACH(&s->by_chain, e)
		fn(&((struct layer *)e->value)->facts, arg);
	pthread_mutex_unlock(&s->mutex);
}

/* Renames tmp/name, complete and synced, to layers/chain. 1 when it was there already. (No layer stands on a missing one:
 * heal.) */
static int layer_publish(struct snapshot_store *s, const char *tmp, struct layer *l, struct err *err)
{
	int rc = 0;
	pthread_mutex_lock(&s->mutex);
	struct layer *below = l->facts.parent[0] ? layer_find(s, l->facts.parent) : NULL;
	if (l->facts.parent[0] && !below)
		rc = layer_missing(l->facts.parent, err);
	else if (layer_find(s, l->facts.chain))
		rc = 1;
	else if ((rc = rename_durable(s->tmp, tmp, s->layers, l->facts.chain, err)) == 0) {
		map_put(&s->by_chain, span_of(l->facts.chain), l);
		if (below)
			below->refs++;
		/* A torn layer that is unpacked again finds those who stood on it. */
		MAP_EACH(&s->by_key, e)
			l->refs += !strcmp(((struct live *)e->value)->parent, l->facts.chain);
	}
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

static int implied_attr(const char *attr, struct span value, void *arg, struct err *err)
{
	const int *fd = arg;
	return fsetxattr(*fd, attr, value.ptr, value.len, 0) < 0 ? err_sys(err, "set attribute %s", attr) : 0;
}

/* Folders that the archive implied look as the layers below have them. */
static int implied_settle(struct snapshot_pending *p, const char *parent, struct err *err)
{
	if (!p->n_implied || p->s->backend != SNAPSHOT_OVERLAY || !*parent)
		return 0;
	struct lowers below = {};
	int rc = snapshot_lowers_open(p->s, parent, &below, err);
	auto_free unsigned *all = mem_alloc((below.n + 1) * sizeof(*all) * 2);
	for (size_t i = 0; rc == 0 && i < p->n_implied; i++) {
		/* Which layers make up the folder above it: one step per component. */
		size_t n = below.n;
		unsigned *set = all, *next = all + below.n + 1;
		for (size_t k = 0; k < n; k++)
			set[k] = (unsigned)k;
		auto_free char *rel = mem_dup(p->implied[i], strlen(p->implied[i]));
		for (char *slash = strchr(rel, '/'); slash; slash = strchr(slash + 1, '/')) {
			*slash = 0;
			n = snapshot_lowers_dir(&below, set, n, rel, next);
			*slash = '/';
			unsigned *swap = set;
			set = next;
			next = swap;
		}
		struct stat st;
		unsigned which = 0;
		if (!*rel ? fstat(below.fds[0], &st) < 0 : !snapshot_lowers_find(&below, set, n, rel, &st, &which) || !S_ISDIR(st.st_mode))
			continue;
		auto_fd int from = snapshot_dir_open(below.fds[which], rel, err);
		auto_fd int to = from < 0 ? -1 : snapshot_dir_open(p->fs, rel, err);
		if (to < 0) {
			rc = -ERR_IO;
			break;
		}
		const struct timespec times[2] = { st.st_atim, st.st_mtim };
		if (fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0 || futimens(to, times) < 0)
			rc = err_sys(err, "attributes of folder %s", rel);
		else
			rc = snapshot_xattrs_each(from, ".", implied_attr, &to, err);
	}
	snapshot_lowers_done(&below);
	return rc;
}

int snapshot_unpack_commit(struct snapshot_pending *p, const char *chain, const char *parent, struct err *err)
{
	struct snapshot_store *s = p->s;
	struct layer *l = mem_new(struct layer);
	int rc = chain_check(chain, false, err);
	if (rc == 0)
		rc = chain_check(parent, true, err);
	if (rc == 0 && *parent && !snapshot_layer_has(s, parent))
		rc = layer_missing(parent, err);
	if (rc == 0 && snapshot_layer_has(s, chain)) {
		free(l);
		snapshot_unpack_drop(p);
		return 0;
	}
	if (rc == 0)
		rc = implied_settle(p, parent, err);
	if (rc == 0) {
		snprintf(l->facts.chain, sizeof(l->facts.chain), "%s", chain);
		snprintf(l->facts.parent, sizeof(l->facts.parent), "%s", parent);
		l->opaque_root = p->opaque_root;
		rc = snapshot_tree_count(p->fs, &l->facts.entries, &l->facts.bytes, err);
	}
	if (rc == 0)
		rc = layer_write(p->dir, l, err);
	FAILPOINT("snapshot.commit.recorded");
	if (rc == 0)
		rc = sync_all(p->fs, err);
	FAILPOINT("snapshot.commit.synced");
	if (rc == 0)
		rc = layer_publish(s, p->name, l, err);
	FAILPOINT("snapshot.commit.renamed");
	if (rc == 0)
		p->name[0] = 0; /* it is a layer now */
	else
		free(l);
	snapshot_unpack_drop(p);
	return MIN(rc, 0);
}

/* Takes a layer out of the index and out of layers/; what is left to do is removing tmp. With the mutex held. */
static int layer_unlink(struct snapshot_store *s, struct layer *l, char tmp[80], struct err *err)
{
	if (l->refs)
		return err_set(err, ERR_IN_USE, "layer %.12s: %u others stand on it", l->facts.chain, l->refs);
	snprintf(tmp, 80, "gone-%.64s", l->facts.chain);
	int rc = rename_durable(s->layers, l->facts.chain, s->tmp, tmp, err);
	if (rc < 0)
		return rc;
	struct layer *below = layer_find(s, l->facts.parent);
	if (below)
		below->refs--;
	(void)map_remove(&s->by_chain, span_of(l->facts.chain));
	free(l);
	return 0;
}

int snapshot_layer_remove(struct snapshot_store *s, const char *chain, struct err *err)
{
	char tmp[80];
	pthread_mutex_lock(&s->mutex);
	struct layer *l = layer_find(s, chain);
	int rc = l ? layer_unlink(s, l, tmp, err) : layer_missing(chain, err);
	pthread_mutex_unlock(&s->mutex);
	FAILPOINT("snapshot.remove.renamed");
	return rc < 0 ? rc : snapshot_tree_remove(s->tmp, tmp, err);
}

int snapshot_layers_prune(struct snapshot_store *s, bool (*keep)(const char *chain, void *arg), void *arg, unsigned *out_removed,
	uint64_t *out_bytes, struct err *err)
{
	unsigned removed = 0;
	uint64_t bytes = 0;
	int rc = 0;
	for (bool again = true; again && rc == 0;) {
		again = false;
		char tmp[80] = "";
		pthread_mutex_lock(&s->mutex);
		MAP_EACH(&s->by_chain, e) {
			struct layer *l = e->value;
			if (l->refs || keep(l->facts.chain, arg))
				continue;
			uint64_t had = l->facts.bytes;
			if ((rc = layer_unlink(s, l, tmp, err)) == 0) {
				removed++;
				bytes += had;
				again = true;
			}
			break;
		}
		pthread_mutex_unlock(&s->mutex);
		if (again)
			rc = snapshot_tree_remove(s->tmp, tmp, err);
	}
	if (out_removed)
		*out_removed = removed;
	if (out_bytes)
		*out_bytes = bytes;
	return rc;
}

/* ---- snapshots ---- */

static int live_missing(const char *key, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "snapshot %s is not there", key);
}

bool snapshot_has(struct snapshot_store *s, const char *key)
{
	pthread_mutex_lock(&s->mutex);
	bool has = map_get(&s->by_key, span_of(key));
	pthread_mutex_unlock(&s->mutex);
	return has;
}

int snapshot_live_facts(struct snapshot_store *s, const char *key, char out_parent[SNAPSHOT_CHAIN_LEN + 1], bool *out_unsynced,
	struct err *err)
{
	pthread_mutex_lock(&s->mutex);
	const struct live *l = map_get(&s->by_key, span_of(key));
	if (l) {
		memcpy(out_parent, l->parent, SNAPSHOT_CHAIN_LEN + 1);
		*out_unsynced = l->unsynced;
	}
	pthread_mutex_unlock(&s->mutex);
	return l ? 0 : live_missing(key, err);
}

int snapshot_parent(struct snapshot_store *s, const char *key, char out_parent[SNAPSHOT_CHAIN_LEN + 1], struct err *err)
{
	bool unsynced;
	return snapshot_live_facts(s, key, out_parent, &unsynced, err);
}

int snapshot_find_folders(struct snapshot_store *s, const char *key, struct arena *a, struct snapshot_where *out, struct err *err)
{
	char chain[SNAPSHOT_CHAIN_LEN + 1];
	auto_buf struct buf lower = {};
	if (s->backend != SNAPSHOT_OVERLAY)
		return err_set(err, ERR_UNSUPPORTED, "snapshot %s is one folder", key);
	int rc = snapshot_parent(s, key, chain, err);
	if (rc < 0)
		return rc;
	struct snapshot_layer l;
	for (; chain[0] && snapshot_layer_get(s, chain, &l, NULL) == 0; memcpy(chain, l.parent, sizeof(chain)))
		buf_printf(&lower, "%s%s/layers/%s/fs", lower.len ? ":" : "", s->dir, chain);
	*out = (struct snapshot_where){ .lower = arena_span(a, buf_span(&lower)),
		.upper = arena_printf(a, "%s/live/%s/fs", s->dir, key), .work = arena_printf(a, "%s/live/%s/work", s->dir, key) };
	return 0;
}

void snapshot_each(struct snapshot_store *s, void (*fn)(const char *key, const char *parent, void *arg), void *arg)
{
	pthread_mutex_lock(&s->mutex);
	MAP_EACH(&s->by_key, e) {
		const struct live *l = e->value;
		fn(l->key, l->parent, arg);
	}
	pthread_mutex_unlock(&s->mutex);
}

/* The root folder of a new snapshot looks as the tree below it: overlayfs shows the upper folder's. */
static int root_like(struct snapshot_store *s, const char *parent, int fs, struct err *err)
{
	struct lowers below = {};
	int rc = snapshot_lowers_open(s, parent, &below, err);
	struct stat st;
	if (rc == 0 && below.n) {
		if (fstat(below.fds[0], &st) < 0 || fchown(fs, st.st_uid, st.st_gid) < 0 || fchmod(fs, st.st_mode & 07777) < 0)
			rc = err_sys(err, "attributes of the root");
		else
			rc = snapshot_xattrs_each(below.fds[0], ".", implied_attr, &fs, err);
	}
	if (rc == 0 && s->backend == SNAPSHOT_COPY && below.n)
		rc = snapshot_tree_copy(below.fds[0], fs, err);
	snapshot_lowers_done(&below);
	return rc;
}

static int prepare(struct snapshot_store *s, const char *key, const char *parent, bool durable, struct err *err)
{
	if (!is_key(span_of(key)))
		return err_set(err, ERR_INVALID, "\"%s\" is no key of a snapshot", key);
	int rc = chain_check(parent, true, err);
	if (rc < 0)
		return rc;
	if (snapshot_has(s, key))
		return err_set(err, ERR_EXISTS, "snapshot %s is there already", key);
	char name[32] = "";
	auto_fd int dir = -1, fs = -1;
	rc = snapshot_tmp_make(s, name, &dir, &fs, err);
	if (rc == 0)
		rc = root_like(s, parent, fs, err);
	if (rc == 0 && s->backend == SNAPSHOT_OVERLAY && mkdirat(dir, "work", 0700) < 0)
		rc = err_sys(err, "make the work folder of %s", key);
	if (rc == 0) {
		auto_buf struct buf b = {};
		struct json_out o = { .buf = &b };
		json_out_begin(&o);
		json_out_kspan(&o, "parent", span_of(parent));
		if (!durable) {
			json_out_key(&o, SPAN("volatile"));
			json_out_bool(&o, true);
		}
		json_out_end(&o);
		/* Last in the folder, whose sync takes fs and work along. */
		rc = durable ? io_write_file(dir, "snapshot.json", buf_span(&b), 0600, err)
			     : io_write_file_lazy(dir, "snapshot.json", buf_span(&b), 0600, err);
	}
	FAILPOINT("snapshot.prepare.synced");
	if (rc == 0) {
		pthread_mutex_lock(&s->mutex);
		struct layer *below = *parent ? layer_find(s, parent) : NULL;
		if (*parent && !below)
			rc = layer_missing(parent, err);
		else if (map_get(&s->by_key, span_of(key)))
			rc = err_set(err, ERR_EXISTS, "snapshot %s is there already", key);
		else if ((rc = durable ? rename_durable(s->tmp, name, s->live, key, err)
				       : rename_lazy(s->tmp, name, s->live, key, err)) == 0) {
			struct live *l = mem_new(struct live);
			l->key = mem_dup(key, strlen(key));
			snprintf(l->parent, sizeof(l->parent), "%s", parent);
			l->unsynced = !durable;
			map_put(&s->by_key, span_of(l->key), l);
			if (below)
				below->refs++;
		}
		pthread_mutex_unlock(&s->mutex);
	}
	FAILPOINT("snapshot.prepare.renamed");
	if (rc < 0 && name[0])
		snapshot_tmp_remove(s, name);
	return rc;
}

int snapshot_prepare(struct snapshot_store *s, const char *key, const char *parent, struct err *err)
{
	return prepare(s, key, parent, true, err);
}

int snapshot_prepare_volatile(struct snapshot_store *s, const char *key, const char *parent, struct err *err)
{
	return prepare(s, key, parent, false, err);
}

/* Out of the index and of live/; its folder is tmp/gone-N-KEY then. */
int snapshot_retire(struct snapshot_store *s, const char *key, char out_rest[SNAPSHOT_REST_LEN], struct err *err)
{
	int rc;
	char tmp[SNAPSHOT_REST_LEN];
	pthread_mutex_lock(&s->mutex);
	struct live *l = map_get(&s->by_key, span_of(key));
	/* A number: the next snapshot of this key may be retired while this one is still being removed. */
	snprintf(tmp, sizeof(tmp), "gone-%llu-%.128s", (unsigned long long)++s->next_tmp, key);
	if (!l)
		rc = live_missing(key, err);
	else if (snapshot_mounted(s, key))
		rc = err_set(err, ERR_IN_USE, "snapshot %s is mounted", key);
	else if ((rc = rename_lazy(s->live, key, s->tmp, tmp, err)) == 0) {
		struct layer *below = layer_find(s, l->parent);
		if (below)
			below->refs--;
		(void)map_remove(&s->by_key, span_of(key));
		free(l->key);
		free(l);
		memcpy(out_rest, tmp, sizeof(tmp));
	}
	pthread_mutex_unlock(&s->mutex);
	FAILPOINT("snapshot.remove.renamed");
	return rc;
}

int snapshot_rest_remove(struct snapshot_store *s, const char *rest, struct err *err)
{
	return snapshot_tree_remove(s->tmp, rest, err);
}

int snapshot_remove(struct snapshot_store *s, const char *key, struct err *err)
{
	char rest[SNAPSHOT_REST_LEN];
	int rc = snapshot_retire(s, key, rest, err);
	return rc < 0 ? rc : snapshot_rest_remove(s, rest, err);
}

/* One rename turns the snapshot into a layer, so that a crash leaves the one or the other. */
static int live_become(struct snapshot_store *s, const char *key, struct layer *l, struct err *err)
{
	int rc;
	pthread_mutex_lock(&s->mutex);
	struct live *live = map_get(&s->by_key, span_of(key));
	if (!live)
		rc = live_missing(key, err);
	else if (layer_find(s, l->facts.chain))
		rc = err_set(err, ERR_EXISTS, "layer %.12s is there already", l->facts.chain);
	else if ((rc = rename_durable(s->live, key, s->layers, l->facts.chain, err)) == 0 && fsync(s->live) < 0)
		rc = err_sys(err, "sync the folder of snapshots");
	if (rc == 0) { /* who stood on the parent still does: refs stay */
		map_put(&s->by_chain, span_of(l->facts.chain), l);
		(void)map_remove(&s->by_key, span_of(key));
		free(live->key);
		free(live);
	}
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

int snapshot_commit(struct snapshot_store *s, const char *key, const char *chain, struct err *err)
{
	int rc = chain_check(chain, false, err);
	if (rc < 0)
		return rc;
	/* The record goes into the snapshot while it still is one; the rename to a layer is the moment of change. */
	struct layer *l = mem_new(struct layer);
	snprintf(l->facts.chain, sizeof(l->facts.chain), "%s", chain);
	auto_fd int dir = -1, fs = -1;
	rc = snapshot_parent(s, key, l->facts.parent, err);
	if (rc == 0 && snapshot_mounted(s, key))
		rc = err_set(err, ERR_IN_USE, "snapshot %s is mounted", key);
	if (rc == 0 && snapshot_layer_has(s, chain))
		rc = err_set(err, ERR_EXISTS, "layer %.12s is there already", chain);
	if (rc == 0 && ((dir = openat(s->live, key, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
			(fs = openat(dir, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0))
		rc = err_sys(err, "open snapshot %s", key);
	if (rc == 0)
		rc = snapshot_tree_remove(dir, "work", err);
	if (rc == 0)
		rc = snapshot_tree_count(fs, &l->facts.entries, &l->facts.bytes, err);
	if (rc == 0)
		rc = layer_write(dir, l, err);
	if (rc == 0)
		rc = sync_all(fs, err);
	FAILPOINT("snapshot.commit.synced");
	if (rc == 0)
		rc = live_become(s, key, l, err);
	FAILPOINT("snapshot.commit.renamed");
	if (rc < 0) {
		free(l);
		return rc;
	}
	(void)unlinkat(dir, "snapshot.json", 0); /* says nothing any more; harmless where it stays */
	return 0;
}

int snapshot_usage(struct snapshot_store *s, const char *key, uint64_t *out_entries, uint64_t *out_bytes, struct err *err)
{
	if (!snapshot_has(s, key))
		return live_missing(key, err);
	auto_buf struct buf path = {};
	buf_printf(&path, "%s/fs", key);
	auto_fd int fs = openat(s->live, buf_cstr(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fs < 0)
		return err_sys(err, "open snapshot %s", key);
	return snapshot_tree_count(fs, out_entries, out_bytes, err);
}
