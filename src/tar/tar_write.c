/* Writing entries: a ustar header, and before it a pax header for what does not fit. */
#include <sys/stat.h>

#include "tar/private.h"

static const char zeros[2 * TAR_BLOCK_BYTES];

void tar_writer_init(struct tar_writer *w, struct tar_sink *to)
{
	*w = (struct tar_writer){ .to = to };
}

void tar_writer_done(struct tar_writer *w)
{
	buf_done(&w->pax);
}

static bool is_ascii(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] >= 0x80)
			return false;
	return true;
}

/* Splits a path at a '/' into prefix and name; false when no place fits. */
static bool path_split(struct tar_header *h, struct span path)
{
	if (path.len <= sizeof(h->name)) {
		memcpy(h->name, path.ptr, path.len);
		return true;
	}
	for (size_t at = MIN(path.len - 1, sizeof(h->prefix) + 1); at-- > 1;) {
		size_t tail = path.len - at - 1;
		if (tail > sizeof(h->name))
			return false;
		if (path.ptr[at] != '/' || !tail || at > sizeof(h->prefix))
			continue;
		memcpy(h->prefix, path.ptr, at);
		memcpy(h->name, path.ptr + at + 1, tail);
		return true;
	}
	return false;
}

/* A number where it fits, else zero here and the truth in a pax record. */
static void number(struct tar_writer *w, char *field, size_t len, const char *key, uint64_t v)
{
	if (tar_number_write(field, len, v))
		return;
	char text[24];
	int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	tar_number_write(field, len, 0);
	tar_pax_add(&w->pax, key, "", span_make(text, (size_t)n));
}

/* What does not fit is in a pax record whole, and here as far as it goes, as with GNU tar and Go: libarchive 3.6 takes a
 * symbolic link whose field is empty for one without a target. */
static void text(struct tar_writer *w, char *field, size_t len, const char *key, struct span v)
{
	for (size_t i = 0; i < MIN(v.len, len); i++)
		field[i] = (unsigned char)v.ptr[i] < 0x80 ? v.ptr[i] : '_';
	if (v.len > len || !is_ascii(v))
		tar_pax_add(&w->pax, key, "", v);
}

static void seal(struct tar_header *h)
{
	memcpy(h->magic, "ustar\00000", 8);
	unsigned sum = tar_sum(h, false);
	(void)tar_number_write(h->sum, 7, sum); /* at most 512 * 255: six digits, 0, blank */
	h->sum[7] = ' ';
}

static int push(struct tar_writer *w, const void *data, size_t len, struct err *err)
{
	return len ? w->to->push(w->to, span_make(data, len), err) : 0;
}

static int pax_write(struct tar_writer *w, struct span path, struct err *err)
{
	struct tar_header h = {};
	/* As Go and pax(1) name it: DIR/PaxHeaders.0/FILE; only people who unpack with an old tar see it. */
	ptrdiff_t slash = span_rchr(span_sub(path, 0, path.len ? path.len - 1 : 0), '/');
	struct span leaf = span_sub(span_from(path, (size_t)(slash + 1)), 0, 80);
	int n = snprintf(h.name, sizeof(h.name), "PaxHeaders.0/%.*s", SPAN_ARG(leaf));
	assert(n > 0 && (size_t)n < sizeof(h.name));
	for (size_t i = 0; i < (size_t)n; i++)
		if ((unsigned char)h.name[i] >= 0x80)
			h.name[i] = '_';
	h.type = 'x';
	(void)tar_number_write(h.mode, sizeof(h.mode), 0644);
	(void)tar_number_write(h.uid, sizeof(h.uid), 0);
	(void)tar_number_write(h.gid, sizeof(h.gid), 0);
	(void)tar_number_write(h.size, sizeof(h.size), w->pax.len); /* far below 8 GB */
	(void)tar_number_write(h.mtime, sizeof(h.mtime), 0);
	seal(&h);
	int rc = push(w, &h, sizeof(h), err);
	if (rc == 0)
		rc = push(w, w->pax.ptr, w->pax.len, err);
	if (rc == 0)
		rc = push(w, zeros, -w->pax.len & (TAR_BLOCK_BYTES - 1), err);
	return rc;
}

static int check(const struct tar_entry *e, struct err *err)
{
	if (!e->path.len || memchr(e->path.ptr, 0, e->path.len) || (e->link.len && memchr(e->link.ptr, 0, e->link.len)))
		return err_set(err, ERR_INVALID, "archive: an empty name or a 0 byte in one");
	if (e->size > INT64_MAX || e->uid > INT64_MAX || e->gid > INT64_MAX)
		return err_set(err, ERR_INVALID, "archive: %.*s: a number beyond 63 bits", SPAN_ARG(e->path));
	for (size_t i = 0; i < e->n_xattrs; i++)
		if (!e->xattrs[i].name.len || span_chr(e->xattrs[i].name, '=') >= 0)
			return err_set(err, ERR_INVALID, "archive: %.*s: an attribute whose name pax cannot hold", SPAN_ARG(e->path));
	return 0;
}

int tar_write(struct tar_writer *w, const struct tar_entry *e, struct err *err)
{
	static const char types[TAR_KIND_COUNT] = {
		[TAR_FILE] = '0', [TAR_HARDLINK] = '1', [TAR_SYMLINK] = '2', [TAR_CHAR] = '3', [TAR_BLOCK] = '4', [TAR_DIR] = '5',
		[TAR_FIFO] = '6',
	};
	assert(!w->left && !w->pad);
	int rc = check(e, err);
	if (rc < 0)
		return rc;
	struct tar_header h = { .type = types[e->kind] };
	buf_trunc(&w->pax, 0);

	auto_buf struct buf folder = {};
	struct span path = e->path;
	if (e->kind == TAR_DIR && path.ptr[path.len - 1] != '/') {
		buf_span_add(&folder, path);
		buf_chr(&folder, '/');
		path = buf_span(&folder);
	}
	if (!is_ascii(path) || !path_split(&h, path)) {
		tar_pax_add(&w->pax, "path", "", path);
		memcpy(h.name, path.ptr, MIN(path.len, sizeof(h.name))); /* for readers without pax */
	}
	if (e->kind == TAR_HARDLINK || e->kind == TAR_SYMLINK)
		text(w, h.link, sizeof(h.link), "linkpath", e->link);
	(void)tar_number_write(h.mode, sizeof(h.mode), e->mode & 07777);
	number(w, h.uid, sizeof(h.uid), "uid", e->uid);
	number(w, h.gid, sizeof(h.gid), "gid", e->gid);
	uint64_t size = e->kind == TAR_FILE ? e->size : 0;
	number(w, h.size, sizeof(h.size), "size", size);
	text(w, h.uname, sizeof(h.uname) - 1, "uname", e->uname);
	text(w, h.gname, sizeof(h.gname) - 1, "gname", e->gname);
	if (e->kind == TAR_CHAR || e->kind == TAR_BLOCK) {
		if (!tar_number_write(h.major, sizeof(h.major), e->major) || !tar_number_write(h.minor, sizeof(h.minor), e->minor))
			return err_set(err, ERR_INVALID, "archive: %.*s: a device number beyond 21 bits", SPAN_ARG(e->path));
	}
	if (e->mtime.tv_sec < 0 || e->mtime.tv_nsec || !tar_number_write(h.mtime, sizeof(h.mtime), (uint64_t)e->mtime.tv_sec)) {
		tar_pax_time_add(&w->pax, "mtime", e->mtime);
		if (e->mtime.tv_sec < 0 || !tar_number_write(h.mtime, sizeof(h.mtime), (uint64_t)e->mtime.tv_sec))
			(void)tar_number_write(h.mtime, sizeof(h.mtime), 0);
	}
	if (e->atime.tv_nsec != UTIME_OMIT && (e->atime.tv_sec || e->atime.tv_nsec))
		tar_pax_time_add(&w->pax, "atime", e->atime);
	if (e->ctime.tv_nsec != UTIME_OMIT && (e->ctime.tv_sec || e->ctime.tv_nsec))
		tar_pax_time_add(&w->pax, "ctime", e->ctime);
	for (size_t i = 0; i < e->n_xattrs; i++) {
		auto_free char *name = mem_dup(e->xattrs[i].name.ptr, e->xattrs[i].name.len);
		tar_pax_add(&w->pax, "SCHILY.xattr.", name, e->xattrs[i].value);
	}
	seal(&h);
	if (w->pax.len)
		rc = pax_write(w, path, err);
	if (rc == 0)
		rc = push(w, &h, sizeof(h), err);
	if (rc == 0) {
		w->left = size;
		w->pad = (unsigned)(-size & (TAR_BLOCK_BYTES - 1));
	}
	return rc;
}

int tar_write_data(struct tar_writer *w, struct span data, struct err *err)
{
	assert(data.len <= w->left);
	int rc = push(w, data.ptr, data.len, err);
	if (rc < 0)
		return rc;
	w->left -= data.len;
	if (!w->left && w->pad) {
		rc = push(w, zeros, w->pad, err);
		w->pad = 0;
	}
	return rc;
}

int tar_write_end(struct tar_writer *w, struct err *err)
{
	assert(!w->left && !w->pad);
	return push(w, zeros, sizeof(zeros), err);
}
