/* Contents by digest.
 *
 *     ingest/HEX (resumable, digest known)  ┐ hashed as it is written
 *     ingest/.N  (digest not known)         ┘ ── fsync ── rename to blobs/sha256/HEX ── fsync of that folder */
#include <dirent.h>
#include <sys/file.h>

#include "image/private.h"

static const char *hex_of(const struct image_digest *d)
{
	return d->text + 7;
}

bool image_blob_has(struct image_store *s, const struct image_digest *d)
{
	struct stat st;
	return fstatat(s->blobs, hex_of(d), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

bool image_blob_touch(struct image_store *s, const struct image_digest *d)
{
	/* With the mutex, which image_gc holds while it removes: what was touched stays, what is gone says so. */
	pthread_mutex_lock(&s->mutex);
	bool there = utimensat(s->blobs, hex_of(d), NULL, AT_SYMLINK_NOFOLLOW) == 0;
	pthread_mutex_unlock(&s->mutex);
	return there;
}

static int missing(const struct image_digest *d, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "content digest %s: not found", d->text);
}

int image_blob_read(struct image_store *s, const struct image_digest *d, struct buf *out, size_t limit_bytes, struct err *err)
{
	size_t before = out->len;
	int rc = io_read_file(s->blobs, hex_of(d), out, limit_bytes, err);
	if (rc == -ERR_NOT_FOUND)
		return missing(d, err);
	if (rc < 0)
		return rc;
	struct image_digest is = image_digest_of(span_from(buf_span(out), before));
	if (image_digest_eq(&is, d))
		return 0;
	/* Thrown away: the next pull or load brings it afresh. */
	(void)unlinkat(s->blobs, hex_of(d), 0);
	return err_set(err, ERR_CORRUPT, "content digest %s: its bytes are damaged (they hash to %s)", d->text, is.text);
}

static void verified_add(struct image_store *s, const struct image_digest *d)
{
	pthread_mutex_lock(&s->mutex);
	if (!map_get(&s->verified, image_digest_span(d)))
		map_put(&s->verified, arena_span(&s->verified_arena, image_digest_span(d)), s);
	pthread_mutex_unlock(&s->mutex);
}

int image_blob_verified(struct image_store *s, const struct image_digest *d, int fd, struct err *err)
{
	pthread_mutex_lock(&s->mutex);
	bool known = map_get(&s->verified, image_digest_span(d));
	pthread_mutex_unlock(&s->mutex);
	if (known)
		return 0;
	struct pread_source file;
	struct hash_source h;
	image_pread_source_init(&file, fd);
	image_hash_source_init(&h, &file.source);
	struct span piece;
	int rc;
	while ((rc = h.source.pull(&h.source, &piece, err)) > 0)
		;
	struct image_digest is = image_hash_source_end(&h);
	free(file.buf);
	if (rc < 0)
		return rc;
	if (!image_digest_eq(&is, d)) {
		(void)unlinkat(s->blobs, hex_of(d), 0);
		return err_set(err, ERR_CORRUPT, "content digest %s: its bytes are damaged (they hash to %s)", d->text, is.text);
	}
	verified_add(s, d);
	return 0;
}

int image_blob_open(struct image_store *s, const struct image_digest *d, int *out_fd, uint64_t *out_size, struct err *err)
{
	auto_fd int fd = openat(s->blobs, hex_of(d), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (fd < 0)
		return errno == ENOENT ? missing(d, err) : err_sys(err, "open content %s", d->text);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat content %s", d->text);
	int rc = image_blob_verified(s, d, fd, err);
	if (rc < 0)
		return rc;
	*out_fd = take_fd(&fd);
	*out_size = (uint64_t)st.st_size;
	return 0;
}

int image_blob_put(struct image_store *s, struct span data, struct image_digest *out, struct err *err)
{
	struct image_digest d = image_digest_of(data);
	*out = d;
	auto_buf struct buf there = {};
	if (image_blob_touch(s, &d) && image_blob_read(s, &d, &there, data.len, NULL) == 0)
		return 0; /* if its bytes were damaged, it is written again */
	return io_write_file(s->blobs, hex_of(&d), data, 0600, err);
}

/* ---- sources ---- */

static int pread_pull(struct tar_source *source, struct span *out_piece, struct err *err)
{
	struct pread_source *p = container_of(source, struct pread_source, source);
	if (!p->buf)
		p->buf = mem_alloc(TAR_PIECE_BYTES);
	ssize_t n;
	do
		n = pread(p->fd, p->buf, TAR_PIECE_BYTES, p->at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, "read content");
	p->at += n;
	*out_piece = span_make(p->buf, (size_t)n);
	if (p->seen)
		p->seen(p);
	return n > 0;
}

void image_pread_source_init(struct pread_source *p, int fd)
{
	*p = (struct pread_source){ .source.pull = pread_pull, .fd = fd };
}

static int hash_pull(struct tar_source *source, struct span *out_piece, struct err *err)
{
	struct hash_source *h = container_of(source, struct hash_source, source);
	int rc = h->from->pull(h->from, out_piece, err);
	if (rc > 0) {
		tls_hash_add(&h->hash, out_piece->ptr, out_piece->len);
		h->bytes += out_piece->len;
	}
	return rc;
}

void image_hash_source_init(struct hash_source *h, struct tar_source *from)
{
	*h = (struct hash_source){ .source.pull = hash_pull, .from = from };
	tls_sha256_begin(&h->hash);
}

struct image_digest image_hash_source_end(struct hash_source *h)
{
	uint8_t sha[32];
	tls_hash_end(&h->hash, sha);
	return image_digest_raw(sha);
}

/* ---- writing ---- */

struct image_ingest {
	struct image_store *s;
	struct tar_sink sink;
	struct image_digest expected; /* "" = not known */
	char name[80];
	int fd;
	uint64_t size;
	struct tls_hash hash;
	bool kept; /* a digest's partial file: others stay off it */
};

static int ingest_sink_push(struct tar_sink *sink, struct span data, struct err *err)
{
	return image_ingest_add(container_of(sink, struct image_ingest, sink), data, err);
}

struct tar_sink *image_ingest_sink(struct image_ingest *i)
{
	return &i->sink;
}

uint64_t image_ingest_size(const struct image_ingest *i)
{
	return i->size;
}

int image_ingest_fd(const struct image_ingest *i)
{
	return i->fd;
}

/* Hashes what an earlier try left. */
static int resume(struct image_ingest *i, struct err *err)
{
	struct pread_source file;
	image_pread_source_init(&file, i->fd);
	struct span piece;
	int rc;
	while ((rc = file.source.pull(&file.source, &piece, err)) > 0) {
		tls_hash_add(&i->hash, piece.ptr, piece.len);
		i->size += piece.len;
	}
	free(file.buf);
	if (rc == 0 && lseek(i->fd, (off_t)i->size, SEEK_SET) < 0)
		rc = err_sys(err, "seek in %s", i->name);
	return rc;
}

int image_ingest_begin(struct image_store *s, const struct image_digest *expected, struct image_ingest **out, uint64_t *out_have,
	struct err *err)
{
	struct image_ingest *i = mem_new(struct image_ingest);
	i->s = s;
	i->fd = -1;
	i->sink.push = ingest_sink_push;
	pthread_mutex_lock(&s->mutex);
	if (expected) {
		i->expected = *expected;
		/* Two pulls of one layer: the second writes a file of its own. */
		i->kept = !map_get(&s->ingesting, image_digest_span(expected));
		if (i->kept)
			map_put(&s->ingesting, image_digest_span(&i->expected), i);
	}
	snprintf(i->name, sizeof(i->name), ".%llu", (unsigned long long)++s->next_ingest);
	pthread_mutex_unlock(&s->mutex);
	if (i->kept)
		snprintf(i->name, sizeof(i->name), "%s", hex_of(expected));
	tls_sha256_begin(&i->hash);
	i->fd = openat(s->ingest, i->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | (i->kept ? 0 : O_EXCL), 0600);
	int rc = i->fd < 0 ? err_sys(err, "create ingest/%s", i->name) : i->kept ? resume(i, err) : 0;
	if (rc < 0) {
		image_ingest_drop(i, true);
		return rc;
	}
	if (out_have)
		*out_have = i->size;
	*out = i;
	return 0;
}

int image_ingest_add(struct image_ingest *i, struct span data, struct err *err)
{
	int num = 0;
	if (FAILPOINT_ERR("image.ingest.write", &num))
		return err_sys_num(err, num, "write content");
	int rc = io_write_all(i->fd, data.ptr, data.len, err);
	if (rc < 0)
		return rc;
	tls_hash_add(&i->hash, data.ptr, data.len);
	i->size += data.len;
	return 0;
}

int image_ingest_restart(struct image_ingest *i, struct err *err)
{
	if (ftruncate(i->fd, 0) < 0 || lseek(i->fd, 0, SEEK_SET) < 0)
		return err_sys(err, "empty ingest/%s", i->name);
	tls_hash_done(&i->hash);
	tls_sha256_begin(&i->hash);
	i->size = 0;
	return 0;
}

void image_ingest_drop(struct image_ingest *i, bool keep_partial)
{
	if (!i)
		return;
	if (i->fd >= 0 && !(keep_partial && i->kept && i->size))
		(void)unlinkat(i->s->ingest, i->name, 0); /* what stays goes with image_gc */
	if (i->kept) {
		pthread_mutex_lock(&i->s->mutex);
		(void)map_remove(&i->s->ingesting, image_digest_span(&i->expected));
		pthread_mutex_unlock(&i->s->mutex);
	}
	fd_close(&i->fd);
	tls_hash_done(&i->hash);
	free(i);
}

int image_ingest_commit(struct image_ingest *i, struct image_digest *out, struct err *err)
{
	struct image_store *s = i->s;
	uint8_t sha[32];
	tls_hash_end(&i->hash, sha);
	struct image_digest is = image_digest_raw(sha);
	int rc = 0;
	if (i->expected.text[0] && !image_digest_eq(&i->expected, &is)) {
		rc = err_set(err, ERR_CORRUPT, "content digest %s: what came hashes to %s", i->expected.text, is.text);
		image_ingest_drop(i, false);
		return rc;
	}
	FAILPOINT("image.ingest.before_sync");
	if (fsync(i->fd) < 0)
		rc = err_sys(err, "sync content");
	FAILPOINT("image.ingest.synced");
	if (rc == 0 && (renameat(s->ingest, i->name, s->blobs, hex_of(&is)) < 0 || fsync(s->blobs) < 0))
		rc = err_sys(err, "publish content %s", is.text);
	FAILPOINT("image.ingest.renamed");
	if (rc == 0) {
		verified_add(s, &is);
		fd_close(&i->fd); /* drop then removes no file */
		*out = is;
	}
	image_ingest_drop(i, true);
	return rc;
}
