/* A tree of names over a spooled archive or a folder. See tree.h.
 *
 * Invariants
 * 1. A path in by_path has no "", "." or ".." component; its parent is a folder and in by_path too.
 * 2. What is opened in a folder is opened by the tree's own path beneath its descriptor, without following a link. */
#include "builder/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "sys/sys.h"
#include "tls/tls.h"

/* ---- names ---- */

static struct tree_node *node_add(struct tree *t, struct tree_node *parent, struct span name)
{
	struct tree_node *n = arena_new(&t->a, struct tree_node);
	n->path = parent->path.len ? arena_printf(&t->a, "%.*s/%.*s", SPAN_ARG(parent->path), SPAN_ARG(name)) : arena_span(&t->a,
		name);
	n->name = span_from(n->path, n->path.len - name.len);
	n->parent = parent;
	n->next = parent->first;
	n->mtime = parent->mtime;
	parent->first = n;
	parent->sorted = false;
	map_put(&t->by_path, n->path, n);
	t->n++;
	return n;
}

static void root_make(struct tree *t)
{
	t->root = arena_new(&t->a, struct tree_node);
	t->root->kind = TAR_DIR;
	t->root->mode = 0755;
	t->root->path = t->root->name = SPAN("");
	map_put(&t->by_path, t->root->path, t->root);
}

void builder_tree_done(struct tree *t)
{
	if (t->root)
		fd_close(&t->fd);
	map_done(&t->by_path);
	map_done(&t->inodes);
	arena_done(&t->a);
	*t = (struct tree){ .fd = -1 };
}

static struct tree_node *get(struct tree *t, struct tree_node *parent, struct span name, struct buf *scratch)
{
	buf_trunc(scratch, 0);
	buf_span_add(scratch, parent->path);
	if (parent->path.len)
		buf_chr(scratch, '/');
	buf_span_add(scratch, name);
	return map_get(&t->by_path, buf_span(scratch));
}

void builder_tree_remove(struct tree *t, struct tree_node *n)
{
	if (!n->parent)
		return;
	struct tree_node **at = &n->parent->first;
	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	/* What is beneath goes along. */
	for (struct tree_node *x = n; x;) {
		(void)map_remove(&t->by_path, x->path);
		x->gone = true;
		if (x->first) {
			x = x->first;
			continue;
		}
		while (x != n && !x->next)
			x = x->parent;
		x = x == n ? NULL : x->next;
	}
}

void builder_tree_ignore(struct tree *t, const struct builder_ignore *rules)
{
	/* Children before their folder: depth first, the way back is the visit. */
	struct tree_node *n = t->root;
	while (n->first)
		n = n->first;
	while (n != t->root) {
		struct tree_node *next = n->next ? n->next : n->parent;
		if (n->next)
			while (next->first)
				next = next->first;
		if (!n->first && builder_ignore_has(rules, n->path))
			builder_tree_remove(t, n);
		n = next;
	}
}

/* ---- a context ---- */

struct spool {
	struct tree *t;
	uint64_t end;
};

static int outside(struct span path, struct err *err)
{
	return err_set(err, ERR_INVALID_REQUEST, "\"%.*s\": forbidden path outside the build context", SPAN_ARG(path));
}

/* The node of an entry's name, its folders made where they are missing. NULL in *out for the root itself. */
static int entry_place(struct tree *t, struct span path, struct tree_node **out, struct buf *scratch, struct err *err)
{
	struct tree_node *at = t->root;
	struct span part, name = SPAN_EMPTY;
	bool have = false;
	*out = NULL;
	for (struct span rest = path; span_cut(&rest, '/', &part);) {
		if (!part.len || span_is(part, "."))
			continue;
		if (span_is(part, ".."))
			return outside(path, err);
		if (part.len > NAME_MAX)
			return err_set(err, ERR_INVALID_REQUEST, "\"%.*s\": a name of more than %d bytes", SPAN_ARG(path), NAME_MAX);
		if (have) {
			struct tree_node *dir = get(t, at, name, scratch);
			if (!dir) {
				dir = node_add(t, at, name);
				dir->kind = TAR_DIR;
				dir->mode = 0755;
			}
			if (dir->kind != TAR_DIR)
				return err_set(err, ERR_INVALID_REQUEST, "\"%.*s\": \"%.*s\" is no folder in the build context", SPAN_ARG(path),
					SPAN_ARG(dir->path));
			at = dir;
		}
		name = part;
		have = true;
	}
	if (!have)
		return 0;
	struct tree_node *n = get(t, at, name, scratch);
	*out = n ? n : node_add(t, at, name);
	return 0;
}

/* A hole may be long. */
static int zeros_hash(struct tree *t, struct tls_hash *h, uint64_t n, struct err *err)
{
	static char zeros[64 << 10]; /* never written: no constant, which would be 64 KB of the program file */
	int rc = 0;
	for (; n && (rc = builder_stop_check(t->stop, err)) == 0; n -= MIN(n, sizeof(zeros)))
		tls_hash_add(h, zeros, MIN(n, sizeof(zeros)));
	return rc;
}

/* The digest of a file whose contents came with rc. */
static int hashed(struct tree_node *n, struct tls_hash *h, int rc)
{
	if (rc < 0) {
		tls_hash_done(h);
		return rc;
	}
	tls_hash_end(h, n->sha);
	n->hashed = true;
	return 0;
}

static int file_spool(struct tree *t, struct tar_reader *r, const struct tar_entry *e, struct tree_node *n, uint64_t *end,
	struct err *err)
{
	struct tls_hash h;
	struct tar_piece piece;
	uint64_t seen = 0;
	int rc;
	n->offset = *end;
	tls_sha256_begin(&h);
	while ((rc = tar_data(r, &piece, err)) > 0) {
		rc = zeros_hash(t, &h, piece.offset - seen, err);
		if (rc < 0)
			break;
		tls_hash_add(&h, piece.data.ptr, piece.data.len);
		seen = piece.offset + piece.data.len;
		for (size_t done = 0; done < piece.data.len;) {
			ssize_t w = pwrite(t->fd, piece.data.ptr + done, piece.data.len - done, (off_t)(*end + piece.offset + done));
			if (w < 0 && errno == EINTR)
				continue;
			if (w < 0) {
				rc = err_sys(err, "keep the build context");
				break;
			}
			done += (size_t)w;
		}
		if (rc < 0)
			break;
	}
	rc = hashed(n, &h, rc < 0 ? rc : zeros_hash(t, &h, e->size - seen, err));
	if (rc == 0)
		*end += e->size;
	return rc;
}

static int entry_add(struct tree *t, struct tar_reader *r, const struct tar_entry *e, uint64_t *end, struct buf *scratch,
	struct err *err)
{
	struct tree_node *n, *to = NULL;
	int rc = builder_stop_check(t->stop, err);
	if (rc == 0 && e->kind == TAR_FILE && e->size > BUILDER_BYTES_MAX - *end)
		rc = err_set(err, ERR_TOO_LARGE, "\"%.*s\": the build context is larger than %llu bytes", SPAN_ARG(e->path),
			(unsigned long long)BUILDER_BYTES_MAX);
	rc = rc < 0 ? rc : entry_place(t, e->path, &n, scratch, err);
	if (rc < 0 || (!n && e->kind != TAR_DIR))
		return rc < 0 ? rc : err_set(err, ERR_INVALID_REQUEST, "the build context's root is no folder");
	if (!n)
		n = t->root;
	if (e->kind == TAR_HARDLINK) {
		struct tree_node *found;
		rc = entry_place(t, e->link, &found, scratch, err);
		if (rc < 0)
			return rc;
		to = found && found->same ? found->same : found;
		if (!to || to == n || to->kind != TAR_FILE || !to->hashed)
			return err_set(err, ERR_INVALID_REQUEST, "\"%.*s\": hard link to \"%.*s\", which is no file before it",
				SPAN_ARG(e->path), SPAN_ARG(e->link));
	}
	if (e->kind != TAR_DIR)
		while (n->first) /* a folder of that name came before */
			builder_tree_remove(t, n->first);
	n->kind = to ? TAR_FILE : e->kind;
	n->mode = e->mode;
	n->uid = e->uid < UINT32_MAX ? (uint32_t)e->uid : 0;
	n->gid = e->gid < UINT32_MAX ? (uint32_t)e->gid : 0;
	n->mtime = e->mtime;
	n->size = to ? to->size : e->kind == TAR_FILE ? e->size : 0;
	n->link = e->kind == TAR_SYMLINK ? arena_span(&t->a, e->link) : SPAN_EMPTY;
	n->major = e->major;
	n->minor = e->minor;
	n->same = to;
	if (e->n_xattrs) {
		struct tar_xattr *x = arena_alloc_n(&t->a, e->n_xattrs, sizeof(*x));
		for (size_t i = 0; i < e->n_xattrs; i++)
			x[i] = (struct tar_xattr){ arena_span(&t->a, e->xattrs[i].name), arena_span(&t->a, e->xattrs[i].value) };
		n->xattrs = x;
		n->n_xattrs = e->n_xattrs;
	}
	if (to) {
		n->offset = to->offset;
		memcpy(n->sha, to->sha, sizeof(n->sha));
		n->hashed = true;
		return 0;
	}
	return e->kind == TAR_FILE ? file_spool(t, r, e, n, end, err) : 0;
}

int builder_tree_read(struct tree *t, struct tar_source *from, const char *spool_dir, struct builder_stop *stop, struct err *err)
{
	*t = (struct tree){ .fd = open(spool_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), .stop = stop };
	if (t->fd < 0)
		return err_sys(err, "make a file for the build context in %s", spool_dir);
	root_make(t);
	const struct tar_limits limits = { .entries = BUILDER_ENTRIES_MAX };
	struct tar_inflate *plain = NULL;
	struct tar_reader *r = NULL;
	const struct tar_entry *e;
	auto_buf struct buf scratch = {};
	uint64_t end = 0;
	int rc;
	tar_inflate_new(from, 0, &plain);
	tar_reader_new(tar_inflate_source(plain), &limits, &r);
	while ((rc = tar_next(r, &e, err)) > 0)
		if ((rc = entry_add(t, r, e, &end, &scratch, err)) < 0)
			break;
	if (rc == 0)
		rc = tar_drain(r, err);
	tar_reader_free(r);
	tar_inflate_free(plain);
	return rc < 0 ? rc : 0;
}

int builder_tree_single(struct tree *t, int fd, struct span name, mode_t mode, struct timespec mtime, struct builder_stop *stop,
	struct err *err)
{
	struct stat st;
	*t = (struct tree){ .fd = fd, .stop = stop };
	root_make(t);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "look at what was fetched");
	t->root->mtime = mtime;
	struct tree_node *n = node_add(t, t->root, name);
	n->kind = TAR_FILE;
	n->mode = mode;
	n->size = (uint64_t)st.st_size;
	return 0;
}

/* ---- a folder ---- */

int builder_tree_folder(struct tree *t, int root, struct builder_stop *stop, struct err *err)
{
	struct stat st;
	*t = (struct tree){ .fd = root, .folder = true, .stop = stop };
	root_make(t);
	if (fstat(root, &st) < 0)
		return err_sys(err, "look at a file system");
	t->root->mode = st.st_mode & 07777;
	t->root->uid = st.st_uid;
	t->root->gid = st.st_gid;
	t->root->mtime = st.st_mtim;
	return 0;
}

static int node_open(struct tree *t, const struct tree_node *n, int flags)
{
	return sys_path_open(t->fd, n->path.len ? n->path.ptr : "/", flags | O_NOFOLLOW, 0);
}

static void capability_read(struct tree *t, struct tree_node *n)
{
	char value[256], link[32];
	auto_fd int fd = node_open(t, n, O_PATH);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t len = fd < 0 ? -1 : getxattr(link, "security.capability", value, sizeof(value));
	if (len <= 0)
		return;
	struct tar_xattr *x = arena_new(&t->a, struct tar_xattr);
	*x = (struct tar_xattr){ SPAN("security.capability"), arena_span(&t->a, span_make(value, (size_t)len)) };
	n->xattrs = x;
	n->n_xattrs = 1;
}

static int stat_take(struct tree *t, struct tree_node *n, int dirfd, const struct stat *st, struct err *err)
{
	n->kind = S_ISREG(st->st_mode) ? TAR_FILE : S_ISDIR(st->st_mode) ? TAR_DIR : S_ISLNK(st->st_mode) ? TAR_SYMLINK :
		  S_ISCHR(st->st_mode) ? TAR_CHAR : S_ISBLK(st->st_mode) ? TAR_BLOCK : TAR_FIFO;
	n->mode = st->st_mode & 07777;
	n->uid = st->st_uid;
	n->gid = st->st_gid;
	n->mtime = st->st_mtim;
	n->size = n->kind == TAR_FILE ? (uint64_t)st->st_size : 0;
	n->major = major(st->st_rdev);
	n->minor = minor(st->st_rdev);
	if (n->kind == TAR_SYMLINK) {
		char to[PATH_MAX];
		ssize_t len = readlinkat(dirfd, n->name.ptr, to, sizeof(to));
		if (len < 0)
			return err_sys(err, "read link %.*s", SPAN_ARG(n->path));
		n->link = arena_span(&t->a, span_make(to, (size_t)len));
	}
	if (n->kind == TAR_FILE) {
		capability_read(t, n);
		if (st->st_nlink > 1) {
			struct span key = arena_printf(&t->a, "%llu:%llu", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
			n->same = map_get(&t->inodes, key);
			if (!n->same)
				map_put(&t->inodes, key, n);
		}
	}
	return 0;
}

/* One name of a folder; NULL in *out when it is not there. */
static int child(struct tree *t, struct tree_node *dir, struct span name, struct tree_node **out, struct buf *scratch,
	struct err *err)
{
	*out = get(t, dir, name, scratch);
	if (*out || !t->folder || dir->loaded || name.len > NAME_MAX)
		return 0;
	auto_fd int fd = node_open(t, dir, O_RDONLY | O_DIRECTORY);
	struct stat st;
	auto_free char *leaf = mem_dup(name.ptr, name.len);
	if (fd < 0)
		return err_sys(err, "open folder %.*s", SPAN_ARG(dir->path));
	if (fstatat(fd, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "look at %.*s/%s", SPAN_ARG(dir->path), leaf);
	if (S_ISSOCK(st.st_mode))
		return 0;
	*out = node_add(t, dir, name);
	return stat_take(t, *out, fd, &st, err);
}

static int folder_load(struct tree *t, struct tree_node *n, struct err *err)
{
	auto_buf struct buf scratch = {};
	int fd = node_open(t, n, O_RDONLY | O_DIRECTORY);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return err_sys(err, "read folder %.*s", SPAN_ARG(n->path));
	}
	struct dirent *e;
	int rc = 0;
	while (rc == 0 && (e = readdir(d))) {
		struct stat st;
		struct span name = span_of(e->d_name);
		if (span_is(name, ".") || span_is(name, "..") || get(t, n, name, &scratch))
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			rc = err_sys(err, "look at %.*s/%s", SPAN_ARG(n->path), e->d_name);
			break;
		}
		if (S_ISSOCK(st.st_mode))
			continue; /* an archive cannot hold it */
		rc = stat_take(t, node_add(t, n, name), fd, &st, err);
	}
	closedir(d);
	n->loaded = rc == 0;
	return rc;
}

static int by_name(const void *a, const void *b)
{
	return span_cmp((*(struct tree_node *const *)a)->name, (*(struct tree_node *const *)b)->name);
}

int builder_tree_children(struct tree *t, struct tree_node *n, struct err *err)
{
	if (t->folder && !n->loaded) {
		int rc = folder_load(t, n, err);
		if (rc < 0)
			return rc;
	}
	if (n->sorted)
		return 0;
	size_t count = 0, i = 0;
	for (struct tree_node *c = n->first; c; c = c->next)
		count++;
	auto_free struct tree_node **all = mem_alloc((count + 1) * sizeof(struct tree_node *));
	for (struct tree_node *c = n->first; c; c = c->next)
		all[i++] = c;
	qsort(all, count, sizeof(*all), by_name);
	all[count] = NULL;
	for (i = 0; i < count; i++)
		all[i]->next = all[i + 1];
	n->first = all[0];
	n->sorted = true;
	return 0;
}

/* ---- looking names up ---- */

int builder_tree_find(struct tree *t, struct span path, bool follow_last, struct tree_node **out, struct err *err)
{
	auto_arena struct arena a = {};
	auto_buf struct buf scratch = {};
	struct tree_node *at = t->root, *next;
	struct span rest = path, part;
	unsigned links = 0;
	while (span_cut(&rest, '/', &part)) {
		if (!part.len || span_is(part, "."))
			continue;
		if (span_is(part, "..")) {
			at = at->parent ? at->parent : at;
			continue;
		}
		if (at->kind != TAR_DIR)
			return err_set(err, ERR_NOT_FOUND, "file does not exist");
		int rc = child(t, at, part, &next, &scratch, err);
		if (rc < 0)
			return rc;
		if (!next)
			return err_set(err, ERR_NOT_FOUND, "file does not exist");
		bool last = true;
		for (size_t i = 0; i < rest.len; i++)
			last &= rest.ptr[i] == '/';
		if (next->kind == TAR_SYMLINK && (!last || follow_last || rest.len)) {
			if (++links > BUILDER_LINKS_MAX)
				return err_set(err, ERR_INVALID_REQUEST, "too many levels of symbolic links");
			rest = arena_printf(&a, "%.*s/%.*s", SPAN_ARG(next->link), SPAN_ARG(rest));
			if (span_starts(next->link, SPAN("/")))
				at = t->root;
			continue;
		}
		at = next;
	}
	*out = at;
	return 0;
}

int builder_tree_glob(struct tree *t, struct span pattern, struct arena *a, struct tree_node ***out, size_t *out_n,
	struct err *err)
{
	struct tree_node **level = arena_alloc_n(a, 1, sizeof(*level)), **next;
	struct span rest = pattern, part;
	size_t n = 1, n_next, cap;
	level[0] = t->root;
	bool wild = false;
	while (span_cut(&rest, '/', &part)) {
		if (!part.len || span_is(part, "."))
			continue;
		next = NULL;
		n_next = cap = 0;
		bool is_wild = builder_glob_is(part);
		if (!wild && !is_wild) {
			/* What stands before the first wildcard is a path. */
			struct tree_node *at;
			struct span to = arena_printf(a, "%.*s/%.*s", SPAN_ARG(level[0]->path), SPAN_ARG(part));
			auto_err struct err why = ERR_INIT;
			int rc = builder_tree_find(t, to, true, &at, &why);
			if (rc == -ERR_NOT_FOUND) {
				*out_n = 0;
				return 0;
			}
			if (rc < 0)
				return err ? err_move(err, &why) : rc;
			level[0] = at;
			continue;
		}
		wild = true;
		for (size_t i = 0; i < n; i++) {
			int rc = level[i]->kind == TAR_DIR ? builder_tree_children(t, level[i], err) : 0;
			if (rc < 0)
				return rc;
			for (struct tree_node *c = level[i]->kind == TAR_DIR ? level[i]->first : NULL; c; c = c->next) {
				bool yes = false;
				rc = builder_glob(part, c->name, &yes, err);
				if (rc < 0)
					return rc;
				if (!yes)
					continue;
				if (n_next == cap) {
					struct tree_node **more = arena_alloc_n(a, cap ? cap * 2 : 16, sizeof(*more));
					if (n_next)
						memcpy(more, next, n_next * sizeof(*more));
					next = more;
					cap = cap ? cap * 2 : 16;
				}
				next[n_next++] = c;
			}
		}
		level = next;
		n = n_next;
	}
	*out = level;
	*out_n = n;
	return 0;
}

/* ---- contents ---- */

static int source_pull(struct tar_source *source, struct span *out_piece, struct err *err)
{
	struct tree_source *s = container_of(source, struct tree_source, source);
	if (s->at == s->end)
		return 0;
	int rc = builder_stop_check(s->stop, err);
	if (rc < 0)
		return rc;
	if (!s->buf)
		s->buf = mem_alloc(TAR_PIECE_BYTES);
	ssize_t n;
	do
		n = pread(s->fd, s->buf, MIN((uint64_t)TAR_PIECE_BYTES, s->end - s->at), (off_t)s->at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, "read a source");
	if (n == 0) {
		if (s->owned)
			return err_set(err, ERR_CORRUPT, "a source became shorter while it was read");
		/* A hole at the spool's end. */
		n = (ssize_t)MIN((uint64_t)TAR_PIECE_BYTES, s->end - s->at);
		memset(s->buf, 0, (size_t)n);
	}
	s->at += (uint64_t)n;
	*out_piece = span_make(s->buf, (size_t)n);
	return 1;
}

int builder_tree_source(struct tree *t, struct tree_node *n, struct tree_source *out, struct err *err)
{
	*out = (struct tree_source){ .source = { source_pull }, .fd = t->fd, .at = n->offset, .end = n->offset + n->size,
		.stop = t->stop };
	if (!t->folder)
		return 0;
	out->fd = node_open(t, n, O_RDONLY | O_NONBLOCK);
	if (out->fd < 0)
		return err_sys(err, "open %.*s", SPAN_ARG(n->path));
	out->owned = true;
	return 0;
}

void builder_tree_source_done(struct tree_source *s)
{
	if (s->owned)
		fd_close(&s->fd);
	free(s->buf);
	s->buf = NULL;
}

int builder_tree_contents(struct tree *t, struct tree_node *n, int (*fn)(void *arg, struct span piece, struct err *err),
	void *arg,
	struct err *err)
{
	struct tree_source s;
	struct span piece;
	int rc = builder_tree_source(t, n, &s, err);
	if (rc < 0)
		return rc;
	while ((rc = s.source.pull(&s.source, &piece, err)) > 0)
		if ((rc = fn(arg, piece, err)) < 0)
			break;
	builder_tree_source_done(&s);
	return rc < 0 ? rc : 0;
}

static int to_buf(void *arg, struct span piece, struct err *err)
{
	buf_span_add(arg, piece);
	return 0;
}

int builder_tree_file(struct tree *t, struct tree_node *n, struct buf *out, size_t limit_bytes, struct err *err)
{
	if (n->size > limit_bytes)
		return err_set(err, ERR_TOO_LARGE, "%.*s is longer than %zu bytes", SPAN_ARG(n->path), limit_bytes);
	return builder_tree_contents(t, n, to_buf, out, err);
}

/* ---- digests ---- */

static int to_hash(void *arg, struct span piece, struct err *err)
{
	tls_hash_add(arg, piece.ptr, piece.len);
	return 0;
}

static int file_hash(struct tree *t, struct tree_node *n, struct err *err)
{
	struct tls_hash h;
	if (n->hashed)
		return 0;
	tls_sha256_begin(&h);
	return hashed(n, &h, builder_tree_contents(t, n, to_hash, &h, err));
}

static void field(struct tls_hash *h, struct span s)
{
	char len[24];
	int n = snprintf(len, sizeof(len), "%zu:", s.len); /* so that no two lists of fields read the same */
	tls_hash_add(h, len, (size_t)n);
	tls_hash_add(h, s.ptr ? s.ptr : "", s.len);
}

static int node_hash(struct tree *t, struct tls_hash *h, struct tree_node *n, struct span as, struct err *err)
{
	char head[128];
	int len = snprintf(head, sizeof(head), "%s %o %u:%u %llu %u,%u", tar_kind_name(n->kind), n->mode, n->uid, n->gid,
		(unsigned long long)n->size, n->kind == TAR_CHAR || n->kind == TAR_BLOCK ? n->major : 0,
		n->kind == TAR_CHAR || n->kind == TAR_BLOCK ? n->minor : 0);
	field(h, as);
	field(h, span_make(head, (size_t)len));
	field(h, n->link);
	for (size_t i = 0; i < n->n_xattrs; i++) {
		field(h, n->xattrs[i].name);
		field(h, n->xattrs[i].value);
	}
	int rc = n->kind == TAR_FILE ? file_hash(t, n, err) : 0;
	if (rc == 0 && n->kind == TAR_FILE)
		tls_hash_add(h, n->sha, sizeof(n->sha));
	return rc;
}

int builder_tree_digest(struct tree *t, struct tree_node *top, const struct builder_ignore *skip, uint8_t out[32],
	struct err *err)
{
	struct tls_hash h;
	int rc = 0;
	tls_sha256_begin(&h);
	for (struct tree_node *n = top; n && rc == 0;) {
		struct span rel = n == top ? SPAN_EMPTY : span_from(n->path, top->path.len + (top->path.len != 0));
		bool left_out = skip && n != top && builder_ignore_has(skip, rel);
		rc = builder_stop_check(t->stop, err);
		if (rc == 0 && !left_out)
			rc = node_hash(t, &h, n, rel, err);
		if (rc == 0 && n->kind == TAR_DIR && (!left_out || skip->exceptions)) {
			rc = builder_tree_children(t, n, err);
			if (rc == 0 && n->first) {
				n = n->first;
				continue;
			}
		}
		while (n != top && !n->next)
			n = n->parent;
		n = n == top ? NULL : n->next;
	}
	if (rc < 0) {
		tls_hash_done(&h);
		return rc;
	}
	tls_hash_end(&h, out);
	return 0;
}
