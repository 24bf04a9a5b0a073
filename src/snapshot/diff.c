/* What a snapshot changed, as a list (archive.c makes a layer of it).
 *
 * The snapshot's own folder ("upper") is walked; beside each folder goes the set of layers that make up the same folder
 * below. A name in upper is compared with the first layer of the set that has it. What lies below and not in upper was
 * deleted where upper hides it: a whiteout, an opaque folder, or, with plain copies, everywhere.
 *
 * An upper folder without layers below holds additions only. */
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "snapshot/private.h"
#include "sys/sys.h"

enum { CHANGES_MAX = 10000000 };

struct folder { /* still to be compared */
	struct folder *next;
	char *rel;
	unsigned *set;
	size_t n_set;
	bool hides;
};

struct compare {
	struct snapshot_changes *out;
	const struct snapshot_places *besides;
	struct lowers below;
	int upper;
	bool copy;
	struct folder *todo; /* in arena */
	struct arena arena;
	unsigned *scratch;   /* below.n */
};

void snapshot_changes_done(struct snapshot_changes *c)
{
	free(c->items);
	arena_done(&c->arena);
	*c = (struct snapshot_changes){};
}

static int change_add(struct compare *c, enum snapshot_change_kind kind, const char *rel, struct err *err)
{
	struct snapshot_changes *o = c->out;
	if (o->n >= CHANGES_MAX)
		return err_set(err, ERR_TOO_LARGE, "more than %d changes", CHANGES_MAX);
	MEM_GROW(o->items, o->n, o->cap);
	o->items[o->n++] = (struct snapshot_change){ kind, arena_printf(&o->arena, "/%s", rel).ptr };
	return 0;
}

/* Two times of one file are the same when one of them has no fraction and the seconds agree: archives may lack it. */
static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && (a.tv_nsec == b.tv_nsec || !a.tv_nsec || !b.tv_nsec);
}

static size_t capability(int dirfd, const char *rel, char out[64])
{
	auto_buf struct buf path = {};
	buf_printf(&path, "/proc/self/fd/%d/%s", dirfd, rel);
	ssize_t n = lgetxattr(buf_cstr(&path), "security.capability", out, 64);
	return n < 0 ? 0 : (size_t)n;
}

static bool differs(struct compare *c, const char *rel, const struct stat *now, const struct stat *then, unsigned which)
{
	if (now->st_mode != then->st_mode || now->st_uid != then->st_uid || now->st_gid != then->st_gid ||
	    now->st_rdev != then->st_rdev)
		return true;
	if (!S_ISDIR(now->st_mode) && (now->st_size != then->st_size || !same_time(now->st_mtim, then->st_mtim)))
		return true;
	char a[64], b[64];
	size_t n_a = capability(c->upper, rel, a), n_b = capability(c->below.fds[which], rel, b);
	return n_a != n_b || memcmp(a, b, n_a) != 0;
}

static void folder_push(struct compare *c, const char *rel, const unsigned *set, size_t n_set, bool hides)
{
	struct folder *f = arena_new(&c->arena, struct folder);
	f->rel = arena_cstr(&c->arena, span_of(rel));
	f->set = arena_alloc_n(&c->arena, n_set + 1, sizeof(*f->set));
	if (n_set)
		memcpy(f->set, set, n_set * sizeof(*set));
	f->n_set = n_set;
	f->hides = hides;
	f->next = c->todo;
	c->todo = f;
}

static const char *rel_of(struct buf *path, const char *folder, const char *name)
{
	buf_trunc(path, 0);
	if (*folder) {
		buf_str(path, folder);
		buf_chr(path, '/');
	}
	buf_str(path, name);
	return buf_cstr(path);
}

/* An addition; of a place that only waits to be mounted on, only what was made of it. */
static int added(struct compare *c, const char *rel, const struct stat *now, struct err *err)
{
	bool place = false; /* a name may be given as a folder and as a file */
	for (size_t i = 0; c->besides && i < c->besides->n; i++) {
		const struct snapshot_place *p = &c->besides->items[i];
		if (strcmp(p->path + 1, rel) != 0)
			continue;
		place = true;
		if ((now->st_mode & S_IFMT) == p->type && (p->type != S_IFREG || now->st_size == 0))
			return 0;
	}
	return change_add(c, place ? SNAPSHOT_MODIFIED : SNAPSHOT_ADDED, rel, err);
}

static int name_compare(struct compare *c, const struct folder *f, int dir, const char *name, const char *rel, struct err *err)
{
	struct stat now, then;
	unsigned which;
	if (fstatat(dir, name, &now, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "stat /%s", rel);
	bool below = f->n_set && snapshot_lowers_find(&c->below, f->set, f->n_set, rel, &then, &which);
	if (!c->copy && snapshot_is_whiteout(&now))
		return below ? change_add(c, SNAPSHOT_DELETED, rel, err) : 0;
	int rc = 0;
	if (!below)
		rc = added(c, rel, &now, err);
	else if (differs(c, rel, &now, &then, which))
		rc = change_add(c, SNAPSHOT_MODIFIED, rel, err);
	if (rc == 0 && S_ISDIR(now.st_mode)) {
		size_t n = below && S_ISDIR(then.st_mode) ? snapshot_lowers_dir(&c->below, f->set, f->n_set, rel, c->scratch) : 0;
		folder_push(c, rel, c->scratch, n, c->copy || (n && snapshot_is_opaque(c->upper, rel)));
	}
	return rc;
}

static DIR *dir_read(int root, const char *rel, struct err *err)
{
	int fd = snapshot_dir_open(root, rel, err);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		fd_close(&fd);
	return d;
}

static bool dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* Every name of the folder below that upper does not have. */
static int deleted_compare(struct compare *c, const struct folder *f, struct map *names, struct arena *a, struct err *err)
{
	auto_buf struct buf path = {};
	int rc = 0;
	for (size_t i = 0; i < f->n_set && rc == 0; i++) {
		DIR *d = dir_read(c->below.fds[f->set[i]], f->rel, err);
		if (!d)
			return -ERR_IO;
		struct dirent *e;
		while (rc == 0 && (e = readdir(d))) {
			if (dots(e->d_name) || map_get(names, span_of(e->d_name)))
				continue;
			struct span key = arena_span(a, span_of(e->d_name));
			map_put(names, key, a);
			struct stat st;
			const char *rel = rel_of(&path, f->rel, e->d_name);
			if (snapshot_lowers_find(&c->below, f->set, f->n_set, rel, &st, NULL))
				rc = change_add(c, SNAPSHOT_DELETED, rel, err);
		}
		closedir(d);
	}
	return rc;
}

static int folder_compare(struct compare *c, const struct folder *f, struct err *err)
{
	auto_fd int dir = snapshot_dir_open(c->upper, f->rel, err);
	if (dir < 0)
		return dir == -ERR_NOT_FOUND ? 0 : dir; /* removed meanwhile */
	DIR *d = dir_read(c->upper, f->rel, err);
	if (!d)
		return -ERR_IO;
	auto_map struct map names = {};
	auto_arena struct arena a = {};
	auto_buf struct buf path = {};
	int rc = 0;
	struct dirent *e;
	while (rc == 0 && (e = readdir(d))) {
		if (dots(e->d_name))
			continue;
		if (f->hides)
			map_put(&names, arena_span(&a, span_of(e->d_name)), &a);
		const char *rel = rel_of(&path, f->rel, e->d_name);
		rc = path.len > PATH_BYTES_MAX ? err_set(err, ERR_TOO_LARGE, "/%.64s...: a path of more than %d bytes", rel, PATH_BYTES_MAX)
					       : name_compare(c, f, dir, e->d_name, rel, err);
	}
	closedir(d);
	if (rc == 0 && f->hides)
		rc = deleted_compare(c, f, &names, &a, err);
	return rc;
}

static int change_cmp(const void *a, const void *b)
{
	return strcmp(((const struct snapshot_change *)a)->path, ((const struct snapshot_change *)b)->path);
}

/* A folder in which something changed counts as modified. */
static int parents_add(struct compare *c, struct err *err)
{
	auto_map struct map seen = {};
	size_t n = c->out->n;
	int rc = 0;
	for (size_t i = 0; i < n; i++)
		map_put(&seen, span_of(c->out->items[i].path), c);
	for (size_t i = 0; i < n && rc == 0; i++) {
		struct span up = span_of(c->out->items[i].path);
		for (ptrdiff_t slash; rc == 0 && (slash = span_rchr(up, '/')) > 0;) {
			up = span_sub(up, 0, (size_t)slash);
			if (map_get(&seen, up))
				break;
			struct span kept = arena_span(&c->out->arena, up);
			map_put(&seen, kept, c);
			rc = change_add(c, SNAPSHOT_MODIFIED, kept.ptr + 1, err);
		}
	}
	return rc;
}

int snapshot_changes(struct snapshot_store *s, const char *key, const struct snapshot_places *besides, struct snapshot_changes *out,
	struct err *err)
{
	char parent[SNAPSHOT_CHAIN_LEN + 1];
	*out = (struct snapshot_changes){};
	struct compare c = { .out = out, .besides = besides, .copy = s->backend == SNAPSHOT_COPY };
	int rc = snapshot_parent(s, key, parent, err);
	if (rc < 0)
		return rc;
	c.upper = snapshot_live_fs(s, key, err);
	if (c.upper < 0)
		return c.upper;
	if ((rc = snapshot_lowers_open(s, parent, &c.below, err)) == 0) {
		c.scratch = mem_alloc((c.below.n + 1) * sizeof(*c.scratch));
		for (size_t i = 0; i < c.below.n; i++)
			c.scratch[i] = (unsigned)i;
		folder_push(&c, "", c.scratch, c.below.n, c.copy);
		while (rc == 0 && c.todo) {
			const struct folder *f = c.todo;
			c.todo = f->next;
			rc = folder_compare(&c, f, err);
		}
	}
	if (rc == 0)
		rc = parents_add(&c, err);
	if (rc == 0 && out->n)
		qsort(out->items, out->n, sizeof(*out->items), change_cmp);
	free(c.scratch);
	snapshot_lowers_done(&c.below);
	arena_done(&c.arena);
	fd_close(&c.upper);
	if (rc < 0)
		snapshot_changes_done(out);
	return rc;
}
