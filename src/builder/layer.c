/* A layer's archive. See layer.h.
 *
 * Invariants
 * 1. A path in `made` was written to the archive; its parent folders exist below or were written before it.
 * 2. No component of a resolved path but the last is a link. */
#include "builder/layer.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/sys.h"

struct layer_made {
	enum layer_is is;
	struct span link;
	const struct tree_node *file; /* whose contents it has, and no other's since */
	uint64_t at;                  /* the entry that made it what it is; of a folder: that made it one */
};

void builder_layer_begin(struct layer *l, struct tar_sink *to, int lower, const int64_t *clamp_s, int64_t now_ns)
{
	*l = (struct layer){ .lower = lower, .clamp = clamp_s != NULL, .clamp_s = clamp_s ? *clamp_s : 0,
		.now = { now_ns / NS_PER_S, now_ns % NS_PER_S } };
	tar_writer_init(&l->w, to);
}

int builder_layer_end(struct layer *l, struct err *err)
{
	return tar_write_end(&l->w, err);
}

void builder_layer_done(struct layer *l)
{
	tar_writer_done(&l->w);
	map_done(&l->made);
	map_done(&l->folders);
	arena_done(&l->a);
}

static struct span above(struct span path)
{
	ptrdiff_t slash = span_rchr(path, '/');
	return slash < 0 ? SPAN_EMPTY : span_sub(path, 0, (size_t)slash);
}

static struct span join(struct layer *l, struct span dir, struct span name)
{
	return dir.len ? arena_printf(&l->a, "%.*s/%.*s", SPAN_ARG(dir), SPAN_ARG(name)) : arena_span(&l->a, name);
}

/* ---- what is where ---- */

/* Is what was written there still to be seen, or did something else take the place of a folder above it? */
static bool stands(struct layer *l, struct span path, const struct layer_made *m)
{
	for (struct span up = above(path); up.len; up = above(up)) {
		const struct layer_made *dir = map_get(&l->made, up);
		if (dir && (dir->is != LAYER_FOLDER || dir->at > m->at))
			return false;
	}
	return true;
}

/* Of a path whose parents are no links. */
static int look(struct layer *l, struct span path, enum layer_is *out, struct span *out_link, struct err *err)
{
	const struct layer_made *m = map_get(&l->made, path);
	*out = LAYER_MISSING;
	if (!path.len) {
		*out = LAYER_FOLDER;
		return 0;
	}
	if (m) {
		*out = stands(l, path, m) ? m->is : LAYER_MISSING;
		*out_link = m->link;
		return 0;
	}
	/* What this layer put in the place of a folder hides all that was in it. */
	for (struct span up = above(path); up.len; up = above(up))
		if ((m = map_get(&l->made, up))) {
			if (m->is != LAYER_FOLDER)
				return 0;
			break;
		}
	if (l->lower < 0)
		return 0;
	auto_free char *name = mem_dup(path.ptr, path.len);
	auto_fd int fd = sys_path_open(l->lower, name, O_PATH | O_NOFOLLOW, 0);
	struct stat st;
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(err, "look at /%s", name);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "look at /%s", name);
	*out = S_ISDIR(st.st_mode) ? LAYER_FOLDER : S_ISLNK(st.st_mode) ? LAYER_LINK : LAYER_OTHER;
	if (*out == LAYER_LINK) {
		char to[PATH_MAX];
		ssize_t n = readlinkat(fd, "", to, sizeof(to));
		if (n < 0)
			return err_sys(err, "read link /%s", name);
		*out_link = arena_span(&l->a, span_make(to, (size_t)n));
	}
	return 0;
}

int builder_layer_resolve(struct layer *l, struct span path, bool follow_last, struct span *out, enum layer_is *out_is,
	struct err *err)
{
	struct span rest = path, part, real = SPAN_EMPTY, link = SPAN_EMPTY;
	enum layer_is is = LAYER_FOLDER;
	unsigned links = 0;
	while (span_cut(&rest, '/', &part)) {
		if (!part.len || span_is(part, "."))
			continue;
		if (span_is(part, "..")) {
			real = above(real);
			is = LAYER_FOLDER;
			continue;
		}
		if (part.len > NAME_MAX)
			return err_set(err, ERR_INVALID_REQUEST, "%.*s: a name of more than %d bytes", SPAN_ARG(path), NAME_MAX);
		if (is == LAYER_OTHER)
			return err_set(err, ERR_INVALID_REQUEST, "/%.*s: not a directory", SPAN_ARG(real));
		struct span next = join(l, real, part);
		if (is == LAYER_FOLDER) {
			int rc = look(l, next, &is, &link, err);
			if (rc < 0)
				return rc;
		}
		bool more = false;
		for (size_t i = 0; i < rest.len; i++)
			more |= rest.ptr[i] != '/';
		if (is == LAYER_LINK && (more || follow_last)) {
			if (++links > BUILDER_LINKS_MAX)
				return err_set(err, ERR_INVALID_REQUEST, "%.*s: too many levels of symbolic links", SPAN_ARG(path));
			rest = arena_printf(&l->a, "%.*s/%.*s", SPAN_ARG(link), SPAN_ARG(rest));
			if (span_starts(link, SPAN("/")))
				real = SPAN_EMPTY;
			is = LAYER_FOLDER;
			continue;
		}
		real = next;
	}
	if (real.len >= PATH_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "a path of more than %d bytes", PATH_MAX - 1);
	*out = real;
	*out_is = is;
	return 0;
}

/* ---- writing ---- */

static void made_add(struct layer *l, struct span path, enum layer_is is, struct span link)
{
	struct layer_made *m = map_get(&l->made, path);
	bool folder_still = m && m->is == LAYER_FOLDER && is == LAYER_FOLDER;
	if (!m) {
		m = arena_new(&l->a, struct layer_made);
		map_put(&l->made, arena_span(&l->a, path), m);
	}
	*m = (struct layer_made){ .is = is, .link = link, .at = folder_still ? m->at : l->entries };
}

static struct timespec clamped(const struct layer *l, struct timespec t)
{
	return l->clamp && (t.tv_sec > l->clamp_s || (t.tv_sec == l->clamp_s && t.tv_nsec)) ? (struct timespec){ l->clamp_s, 0 } : t;
}

/* Whoever unpacks the layer would delete what the rest of the name says. */
static int whiteout_refuse(struct span path, struct err *err)
{
	for (struct span part, rest = path; span_cut(&rest, '/', &part);)
		if (span_starts(part, SPAN(".wh.")))
			return err_set(err, ERR_INVALID_REQUEST,
				"/%.*s: a layer cannot hold a name that begins with .wh.: there it means a deletion", SPAN_ARG(path));
	return 0;
}

static int entry_write(struct layer *l, struct tar_entry *e, struct err *err)
{
	if (!l->any_name && whiteout_refuse(e->path, err) < 0)
		return -ERR_INVALID_REQUEST;
	e->mtime = clamped(l, e->mtime);
	e->atime.tv_nsec = e->ctime.tv_nsec = UTIME_OMIT;
	e->uname = e->gname = SPAN_EMPTY;
	e->path = span_of(arena_cstr(&l->a, e->path));
	int rc = tar_write(&l->w, e, err);
	if (rc < 0)
		return rc;
	l->entries++;
	enum layer_is is = e->kind == TAR_DIR ? LAYER_FOLDER : e->kind == TAR_SYMLINK ? LAYER_LINK : LAYER_OTHER;
	struct span link = e->kind == TAR_SYMLINK ? arena_span(&l->a, e->link) : SPAN_EMPTY;
	made_add(l, e->path, is, link);
	/* A link may lead names elsewhere; something else may stand where a folder was. */
	if (is == LAYER_LINK || (is == LAYER_OTHER && map_get(&l->folders, e->path)))
		map_clear(&l->folders);
	return 0;
}

static int data_write(void *arg, struct span piece, struct err *err)
{
	struct layer *l = arg;
	return tar_write_data(&l->w, piece, err);
}

int builder_layer_folders(struct layer *l, struct span path, const struct layer_owner *own, struct err *err)
{
	/* The deepest that is there, then downward. */
	size_t end = 0;
	while (end <= path.len) {
		struct span rest = span_from(path, end + (end != 0)), here;
		ptrdiff_t slash = span_chr(rest, '/');
		size_t to = slash < 0 ? path.len : end + (end != 0) + (size_t)slash;
		here = span_sub(path, 0, to);
		enum layer_is is;
		struct span link;
		int rc = look(l, here, &is, &link, err);
		if (rc < 0)
			return rc;
		if (is == LAYER_LINK || is == LAYER_OTHER)
			return err_set(err, ERR_INVALID_REQUEST, "/%.*s: not a directory", SPAN_ARG(here));
		if (is == LAYER_MISSING) {
			struct tar_entry e = { .kind = TAR_DIR, .mode = 0755, .path = here, .uid = own && own->set ? own->uid : 0,
				.gid = own && own->set ? own->gid : 0, .mtime = l->now };
			rc = entry_write(l, &e, err);
			if (rc < 0)
				return rc;
		}
		if (to == path.len)
			break;
		end = to;
	}
	return 0;
}

/* The file whose contents n has: of names of one inode the first. */
static struct tree_node *file_of(struct tree_node *n)
{
	/* In a context the other name may have been given to another file since. */
	const struct tree_node *s = n->same;
	return s && s->kind == TAR_FILE && s->offset == n->offset && s->size == n->size ? n->same : n;
}

static int node_write(struct layer *l, struct tree *t, struct tree_node *n, struct span to, const struct layer_owner *own,
	struct err *err)
{
	struct tree_node *file = file_of(n);
	struct tar_entry e = { .kind = n->kind, .mode = n->mode, .path = to, .link = n->link, .uid = n->uid, .gid = n->gid,
		.size = n->kind == TAR_FILE ? n->size : 0, .major = n->major, .minor = n->minor, .mtime = n->mtime, .xattrs = n->xattrs,
		.n_xattrs = n->n_xattrs };
	if (own->set) {
		e.uid = own->uid;
		e.gid = own->gid;
	}
	if (own->mode_set && n->kind != TAR_SYMLINK)
		e.mode = own->mode;
	const struct layer_made *first = n->kind == TAR_FILE && file->put.len ? map_get(&l->made, file->put) : NULL;
	if (first && first->file == file && stands(l, file->put, first) && !span_eq(file->put, to)) {
		e.kind = TAR_HARDLINK;
		e.link = file->put;
		e.size = 0;
	}
	int rc = entry_write(l, &e, err);
	if (rc < 0 || n->kind != TAR_FILE)
		return rc;
	struct layer_made *made = map_get(&l->made, e.path);
	made->file = file;
	if (e.kind == TAR_HARDLINK)
		return 0;
	file->put = arena_span(&t->a, e.path);
	return builder_tree_contents(t, n, data_write, l, err);
}

int builder_layer_copy(struct layer *l, struct tree *t, struct tree_node *top, struct span to, const struct builder_ignore *skip,
	const struct layer_owner *own, struct err *err)
{
	enum layer_is is;
	struct span link;
	for (struct tree_node *n = top; n;) {
		struct span rel = n == top ? SPAN_EMPTY : span_from(n->path, top->path.len + (top->path.len != 0));
		struct span path = n == top ? to : to.len ? arena_printf(&l->a, "%.*s/%.*s", SPAN_ARG(to), SPAN_ARG(rel)) : rel;
		bool left_out = skip && n != top && builder_ignore_has(skip, rel);
		int rc = builder_stop_check(l->stop, err);
		rc = rc < 0 || left_out ? rc : look(l, path, &is, &link, err);
		if (rc < 0)
			return rc;
		if (left_out) {
			/* Its children are asked for themselves where there are exceptions. */
		} else if (n == top && n->kind == TAR_DIR) {
			/* The destination: made by default attributes when missing, left as it is otherwise. */
			if (is == LAYER_OTHER || is == LAYER_LINK)
				return err_set(err, ERR_INVALID_REQUEST, "cannot copy to non-directory: /%.*s", SPAN_ARG(to));
			if (is == LAYER_MISSING) {
				rc = builder_layer_folders(l, above(path), NULL, err);
				rc = rc < 0 ? rc : builder_layer_folders(l, path, own, err);
			}
		} else {
			rc = n == top ? builder_layer_folders(l, above(path), own, err) : 0;
			rc = rc < 0 ? rc : node_write(l, t, n, path, own, err);
		}
		if (rc == 0 && n->kind == TAR_DIR && (!left_out || skip->exceptions)) {
			rc = builder_tree_children(t, n, err);
			if (rc == 0 && n->first) {
				n = n->first;
				continue;
			}
		}
		if (rc < 0)
			return rc;
		while (n != top && !n->next)
			n = n->parent;
		n = n == top ? NULL : n->next;
	}
	return 0;
}

/* ---- archives ---- */

/* The resolved folder that an entry's parent leads to, made where it is missing. */
static int folder_of(struct layer *l, struct span dir, struct span *out, struct err *err)
{
	struct span *known = map_get(&l->folders, dir);
	enum layer_is is;
	if (known) {
		*out = *known;
		return 0;
	}
	int rc = builder_layer_resolve(l, dir, true, out, &is, err);
	rc = rc < 0 ? rc : builder_layer_folders(l, *out, NULL, err);
	if (rc < 0)
		return rc;
	known = arena_alloc(&l->a, sizeof(*known));
	*known = *out;
	map_put(&l->folders, arena_span(&l->a, dir), known);
	map_put(&l->folders, *known, known);
	return 0;
}

/* path without "." and outer slashes; one that climbs above its root is refused. */
static int clean(struct layer *l, struct span path, struct span *out, struct err *err)
{
	struct span part;
	auto_buf struct buf b = {};
	for (struct span rest = path; span_cut(&rest, '/', &part);) {
		if (!part.len || span_is(part, "."))
			continue;
		if (span_is(part, ".."))
			return err_set(err, ERR_INVALID_REQUEST, "\"%.*s\" is outside of the archive's root", SPAN_ARG(path));
		if (b.len)
			buf_chr(&b, '/');
		buf_span_add(&b, part);
	}
	*out = arena_span(&l->a, buf_span(&b));
	return 0;
}

static int entry_data(struct layer *l, struct tar_reader *r, const struct tar_entry *e, struct err *err)
{
	static char zeros[64 << 10]; /* never written: no constant, which would be 64 KB of the program file */
	struct tar_piece piece;
	uint64_t at = 0;
	int rc;
	for (bool more = true; more;) {
		rc = builder_stop_check(l->stop, err);
		rc = rc < 0 ? rc : tar_data(r, &piece, err);
		if (rc < 0)
			return rc;
		more = rc > 0;
		for (uint64_t to = more ? piece.offset : e->size; at < to;) {
			size_t n = MIN(to - at, (uint64_t)sizeof(zeros));
			if ((rc = builder_stop_check(l->stop, err)) < 0 || (rc = tar_write_data(&l->w, span_make(zeros, n), err)) < 0)
				return rc;
			at += n;
		}
		if (more && (rc = tar_write_data(&l->w, piece.data, err)) < 0)
			return rc;
		at += more ? piece.data.len : 0;
	}
	return 0;
}

static int entry_take(struct layer *l, struct tar_reader *r, const struct tar_entry *from, struct span base, bool resolve,
	const struct layer_owner *own, struct err *err)
{
	struct tar_entry e = *from;
	struct span rel, dir, link;
	int rc = builder_stop_check(l->stop, err);
	if (rc == 0 && e.kind == TAR_FILE && e.size > BUILDER_BYTES_MAX - l->bytes)
		rc = err_set(err, ERR_TOO_LARGE, "\"%.*s\": an archive with files of more than %llu bytes", SPAN_ARG(e.path),
			(unsigned long long)BUILDER_BYTES_MAX);
	l->bytes += rc == 0 && e.kind == TAR_FILE ? e.size : 0;
	rc = rc < 0 ? rc : clean(l, e.path, &rel, err);
	if (rc < 0)
		return rc;
	if (!rel.len) {
		/* The root itself: the destination keeps what it has; a RUN may have changed the container's root. */
		if (e.kind != TAR_DIR || resolve)
			return 0;
		e.path = SPAN(".");
		return tar_write(&l->w, &e, err);
	}
	e.path = join(l, base, rel);
	if (resolve) {
		enum layer_is is;
		rc = folder_of(l, above(e.path), &dir, err);
		if (rc < 0)
			return rc;
		e.path = join(l, dir, span_from(rel, (size_t)(span_rchr(rel, '/') + 1)));
		if (e.kind == TAR_HARDLINK) {
			rc = clean(l, e.link, &rel, err);
			rc = rc < 0 ? rc : builder_layer_resolve(l, join(l, base, rel), false, &link, &is, err);
			if (rc < 0)
				return rc;
			if (is == LAYER_MISSING || is == LAYER_FOLDER || !map_get(&l->made, link))
				return err_set(err, ERR_INVALID_REQUEST, "\"%.*s\": hard link to \"%.*s\", which the archive does not have",
					SPAN_ARG(from->path), SPAN_ARG(from->link));
			e.link = span_of(arena_cstr(&l->a, link));
		}
	}
	if (own && own->set) {
		e.uid = own->uid;
		e.gid = own->gid;
	}
	rc = entry_write(l, &e, err);
	return rc < 0 || e.kind != TAR_FILE ? rc : entry_data(l, r, from, err);
}

static int archive_take(struct layer *l, struct tar_source *from, struct span base, bool resolve, const struct layer_owner *own,
	struct err *err)
{
	struct tar_reader *r = NULL;
	const struct tar_entry *e;
	int rc;
	tar_reader_new(from, NULL, &r);
	while ((rc = tar_next(r, &e, err)) > 0)
		if ((rc = entry_take(l, r, e, base, resolve, own, err)) < 0)
			break;
	tar_reader_free(r);
	return rc < 0 ? rc : 0;
}

int builder_layer_extract(struct layer *l, struct tar_source *from, struct span to, const struct layer_owner *own,
	struct err *err)
{
	struct span base;
	int rc = folder_of(l, to, &base, err);
	return rc < 0 ? rc : archive_take(l, from, base, true, own, err);
}

int builder_layer_pass(struct layer *l, struct tar_source *from, struct err *err)
{
	l->any_name = true;
	return archive_take(l, from, SPAN_EMPTY, false, NULL, err);
}
