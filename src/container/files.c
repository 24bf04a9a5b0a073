/* Paths as Docker means them, what is there, and archives of it. See files.h.
 *
 *     asked for      what it means                          the archive begins with
 *     /a/dir         dir in /a; a link is the link          dir/  dir/x
 *     /a/dir/        what dir leads to, a folder            dir/  dir/x
 *     /a/dir/.       likewise                               ./    ./x
 *     /              the root                               /     /x */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container/files_private.h"
#include "json/json.h"
#include "sys/sys.h"

enum { LINKS_MAX = 40 };

/* ---- paths ---- */

/* Go's filepath.Join("/", path), as bytes. */
static void clean(struct span path, struct buf *out)
{
	struct span part;
	for (struct span rest = path; span_cut(&rest, '/', &part);) {
		if (!part.len || span_is(part, "."))
			continue;
		if (span_is(part, "..")) {
			ptrdiff_t slash = span_rchr(buf_span(out), '/');
			buf_trunc(out, slash < 0 ? 0 : (size_t)slash);
			continue;
		}
		buf_chr(out, '/');
		buf_span_add(out, part);
	}
	if (!out->len)
		buf_chr(out, '/');
}

int container_files_path(struct span path, struct arena *a, struct files_path *out, struct err *err)
{
	auto_buf struct buf text = {};
	if (!path.len)
		return err_set(err, ERR_INVALID_REQUEST, "bad parameter: path cannot be empty");
	if (path.len >= PATH_MAX - 2 || memchr(path.ptr, 0, path.len))
		return err_set(err, ERR_INVALID_REQUEST, "bad parameter: path is too long or holds a 0 byte");
	clean(path, &text);
	struct span c = arena_span(a, buf_span(&text)), last = path;
	while (last.len > 1 && span_ends(last, SPAN("/")))
		last.len--;
	bool dot = span_is(last, ".") || span_ends(last, SPAN("/.")), root = c.len == 1;
	ptrdiff_t slash = span_rchr(c, '/');
	*out = (struct files_path){ .path = c.ptr, .inside = root || dot || span_ends(path, SPAN("/")) };
	out->name = dot ? SPAN(".") : root ? SPAN("/") : span_from(c, (size_t)slash + 1);
	out->parent = out->inside ? c.ptr : arena_cstr(a, slash ? span_sub(c, 0, (size_t)slash) : SPAN("/"));
	out->leaf = out->inside ? "" : out->name.ptr;
	return 0;
}

int container_files_missing(struct span path, const char *who, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "Could not find the file %.*s in container %s", SPAN_ARG(path), who);
}

/* The folder that holds the leaf, or with `inside` the folder itself. */
static int folder_open(int root, const struct files_path *p, struct span asked, const char *who, struct err *err)
{
	int fd = sys_path_open(root, p->parent, O_PATH | O_DIRECTORY, 0);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT || (errno == ENOTDIR && !p->inside))
		return container_files_missing(asked, who, err);
	return err_sys(err, "%.*s", SPAN_ARG(asked));
}

const char *container_files_real(int root, int fd, struct arena *a, struct err *err)
{
	char name[40], base[PATH_MAX], text[PATH_MAX];
	snprintf(name, sizeof(name), "/proc/self/fd/%d", root);
	ssize_t n = readlink(name, base, sizeof(base));
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	ssize_t k = n < 0 ? -1 : readlink(name, text, sizeof(text));
	if (n <= 0 || k <= 0 || k == PATH_MAX) {
		(void)err_sys(err, "find where a folder is");
		return NULL;
	}
	struct span root_path = span_make(base, (size_t)n), path = span_make(text, (size_t)k);
	if (root_path.len > 1 && span_starts(path, root_path))
		path = span_from(path, root_path.len);
	return path.len ? arena_cstr(a, path) : "/";
}

/* ---- stat ---- */

/* Go's os.FileMode. */
static uint32_t go_mode(mode_t m)
{
	uint32_t out = m & 0777;
	static const struct {
		mode_t kind;
		uint32_t bits;
	} kinds[] = { { S_IFDIR, 1u << 31 }, { S_IFLNK, 1u << 27 }, { S_IFBLK, 1u << 26 }, { S_IFCHR, 1u << 26 | 1u << 21 },
		{ S_IFIFO, 1u << 25 }, { S_IFSOCK, 1u << 24 } };
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if ((m & S_IFMT) == kinds[i].kind)
			out |= kinds[i].bits;
	out |= (m & S_ISUID ? 1u << 23 : 0) | (m & S_ISGID ? 1u << 22 : 0) | (m & S_ISVTX ? 1u << 20 : 0);
	return out;
}

/* Where the link leaf in folder ends up: what is there in the end, or the first name that is not there. */
static int link_end(int root, int folder, const char *leaf, struct arena *a, struct span *out, struct err *err)
{
	auto_fd int here = fcntl(folder, F_DUPFD_CLOEXEC, 0);
	if (here < 0)
		return err_sys(err, "follow %s", leaf);
	for (int i = 0; i < LINKS_MAX; i++) {
		char text[PATH_MAX];
		const char *at = container_files_real(root, here, a, err);
		if (!at)
			return -ERR_IO;
		ssize_t n = readlinkat(here, leaf, text, sizeof(text));
		if (n < 0) { /* no link, or nothing: here it ends */
			*out = arena_printf(a, "%s/%s", strcmp(at, "/") != 0 ? at : "", leaf);
			return 0;
		}
		struct span whole = text[0] == '/' ? span_make(text, (size_t)n) : arena_printf(a, "%s/%.*s", at, (int)n, text);
		struct span path = whole;
		while (path.len > 1 && span_ends(path, SPAN("/")))
			path.len--;
		ptrdiff_t slash = span_rchr(path, '/');
		struct span last = span_from(path, (size_t)slash + 1);
		bool whole_dir = !last.len || span_is(last, ".") || span_is(last, "..");
		const char *parent = arena_cstr(a, whole_dir ? path : slash ? span_sub(path, 0, (size_t)slash) : SPAN("/"));
		int next = whole.len < PATH_MAX ? sys_path_open(root, parent, O_PATH | O_DIRECTORY, 0) : -1;
		if (next < 0) {
			auto_buf struct buf lexical = {};
			clean(whole, &lexical);
			*out = arena_span(a, buf_span(&lexical));
			return 0;
		}
		fd_close(&here);
		here = next;
		if (whole_dir) {
			at = container_files_real(root, here, a, err);
			*out = span_of(at);
			return at ? 0 : -ERR_IO;
		}
		leaf = arena_cstr(a, last);
	}
	*out = SPAN_EMPTY; /* a circle leads nowhere */
	return 0;
}

static int facts(int root, int folder, const struct files_path *p, struct span asked, const char *who, struct arena *a,
	struct container_files_stat *out, struct err *err)
{
	struct stat st;
	if ((p->inside ? fstat(folder, &st) : fstatat(folder, p->leaf, &st, AT_SYMLINK_NOFOLLOW)) < 0)
		return errno == ENOENT ? container_files_missing(asked, who, err) : err_sys(err, "%.*s", SPAN_ARG(asked));
	*out = (struct container_files_stat){ .name = p->name, .size = (uint64_t)st.st_size, .mode = go_mode(st.st_mode),
		.mtime = st.st_mtim };
	return S_ISLNK(st.st_mode) ? link_end(root, folder, p->leaf, a, &out->link, err) : 0;
}

int container_files_stat(int root, const char *who, struct span path, struct arena *a, struct container_files_stat *out,
	struct err *err)
{
	struct files_path p;
	int rc = container_files_path(path, a, &p, err);
	if (rc < 0)
		return rc;
	auto_fd int folder = folder_open(root, &p, path, who, err);
	return folder < 0 ? folder : facts(root, folder, &p, path, who, a, out, err);
}

void container_files_stat_write(const struct container_files_stat *st, struct buf *out)
{
	char stamp[40];
	struct json_out o = { .buf = out, .style = JSON_HTML };
	json_out_begin(&o);
	json_out_key(&o, SPAN("name"));
	json_out_span(&o, st->name);
	json_out_key(&o, SPAN("size"));
	json_out_u64(&o, st->size);
	json_out_key(&o, SPAN("mode"));
	json_out_u64(&o, st->mode);
	json_out_key(&o, SPAN("mtime"));
	json_out_span(&o, span_make(stamp, time_format(stamp, st->mtime.tv_sec, (int32_t)st->mtime.tv_nsec, -1)));
	json_out_key(&o, SPAN("linkTarget"));
	json_out_span(&o, st->link);
	json_out_end(&o);
}

/* ---- archives ---- */

int container_files_get(int root, const char *who, struct span path, struct tar_sink *to,
	int (*ready)(void *arg, const struct container_files_stat *st, struct err *err), void *arg, struct err *err)
{
	auto_arena struct arena a = {};
	struct files_path p;
	struct container_files_stat st;
	int rc = container_files_path(path, &a, &p, err);
	if (rc < 0)
		return rc;
	auto_fd int folder = folder_open(root, &p, path, who, err);
	if (folder < 0)
		return folder;
	if ((rc = facts(root, folder, &p, path, who, &a, &st, err)) < 0 || (ready && (rc = ready(arg, &st, err)) < 0))
		return rc;
	struct tar_writer w;
	tar_writer_init(&w, to);
	rc = snapshot_tree_archive(folder, p.inside ? "." : p.leaf, arena_cstr(&a, p.name), false, &w, err);
	if (rc == 0)
		rc = tar_write_end(&w, err);
	tar_writer_done(&w);
	return rc;
}

int container_files_export(int root, struct tar_sink *to, struct err *err)
{
	struct tar_writer w;
	tar_writer_init(&w, to);
	int rc = snapshot_tree_archive(root, ".", "", true, &w, err);
	if (rc == 0)
		rc = tar_write_end(&w, err);
	tar_writer_done(&w);
	return rc;
}
