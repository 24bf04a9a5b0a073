/* A disk that breaks on command: an SQLite file layer in memory that knows what was synced.
 *
 * Each file has what programs read (`now`) and what a loss of power leaves for sure (`safe`), and the writes and
 * truncations between the two, in order. A sync moves them over. Every write, sync, truncation and deletion is one numbered
 * operation; at number `at` the chosen thing happens:
 *
 *   DISK_ERROR  the operation fails with EIO and does nothing; the next ones work
 *   DISK_STUCK  it and the next 20 fail, then all work again
 *   DISK_FULL   writes that make a file longer fail with SQLITE_FULL for 20 operations
 *   DISK_TORN   half of the write is done, then it fails
 *   DISK_KILL   the process dies here: nothing works any more; what was written stays
 *   DISK_CUT    the power goes: as KILL, and of what was not synced any part may be there: each write whole, in 512-byte
 *               pieces, or not at all, as chance wants (in no order: caches reorder)
 *
 * One connection at a time, so shared-memory locks always succeed. Used by one process, tests only. */
#pragma once

#include "store/store_private.h"

enum disk_fault { DISK_NONE, DISK_ERROR, DISK_STUCK, DISK_FULL, DISK_TORN, DISK_KILL, DISK_CUT, DISK_FAULT_COUNT };

struct fv_op {
	size_t at, len; /* len bytes at; data NULL = truncated to `at` */
	char *data;
};
struct fv_node {
	char *path;
	struct buf now, safe;
	struct fv_op *ops;
	size_t n_ops, cap_ops;
	bool exists, safe_exists;
	void **shm;
	int n_shm;
};
struct fv_file {
	sqlite3_file base;
	struct fv_node *node;
};
static struct {
	pthread_mutex_t lock;
	struct fv_node nodes[8];
	long count, at;
	enum disk_fault fault;
	bool dead;
	struct rng rng;
} fv = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct fv_node *fv_find(const char *path, bool make)
{
	for (size_t i = 0; i < ARRAY_LEN(fv.nodes); i++) {
		struct fv_node *n = &fv.nodes[i];
		if (n->path && strcmp(n->path, path) == 0)
			return n;
		if (!n->path && make) {
			n->path = mem_dup(path, strlen(path));
			return n;
		}
	}
	return NULL;
}

/* What happens to the next operation: 0 = go on, else SQLite's code. */
static int fv_step(int code, bool grows, bool *out_torn)
{
	*out_torn = false;
	long n = ++fv.count;
	if (fv.dead)
		return code;
	if (!fv.at || n < fv.at)
		return 0;
	switch (fv.fault) {
	case DISK_ERROR:
		return n == fv.at ? code : 0;
	case DISK_STUCK:
		return n < fv.at + 20 ? code : 0;
	case DISK_FULL:
		return n < fv.at + 20 && grows ? SQLITE_FULL : 0;
	case DISK_TORN:
		*out_torn = n == fv.at;
		return n == fv.at ? code : 0;
	case DISK_KILL:
		fv.dead = true;
		return code;
	case DISK_CUT:
		fv.dead = true;
		*out_torn = true; /* it may have been on its way */
		return code;
	default:
		return 0;
	}
}

static void fv_put(struct buf *b, size_t at, const void *data, size_t len)
{
	while (b->len < at + len)
		buf_add(b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", MIN(at + len - b->len, (size_t)16));
	if (len)
		memcpy(b->ptr + at, data, len);
}

static void fv_note(struct fv_node *n, size_t at, const void *data, size_t len)
{
	MEM_GROW(n->ops, n->n_ops, n->cap_ops);
	n->ops[n->n_ops++] = (struct fv_op){ at, len, data ? mem_dup(data, len) : NULL };
}

static void fv_forget(struct fv_node *n)
{
	for (size_t i = 0; i < n->n_ops; i++)
		free(n->ops[i].data);
	n->n_ops = 0;
}

static int fv_close(sqlite3_file *f)
{
	return SQLITE_OK;
}

static int fv_read(sqlite3_file *f, void *out, int len, sqlite3_int64 at)
{
	struct fv_node *n = ((struct fv_file *)f)->node;
	pthread_mutex_lock(&fv.lock);
	size_t have = n->now.len > (size_t)at ? MIN(n->now.len - (size_t)at, (size_t)len) : 0;
	if (have)
		memcpy(out, n->now.ptr + at, have);
	memset((char *)out + have, 0, (size_t)len - have);
	pthread_mutex_unlock(&fv.lock);
	return have == (size_t)len ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int fv_write(sqlite3_file *f, const void *data, int len, sqlite3_int64 at)
{
	struct fv_node *n = ((struct fv_file *)f)->node;
	bool torn;
	pthread_mutex_lock(&fv.lock);
	bool was_dead = fv.dead;
	int code = fv_step(SQLITE_IOERR_WRITE, (size_t)at + (size_t)len > n->now.len, &torn);
	size_t done = !code ? (size_t)len : torn && !was_dead ? (size_t)len / 2 : 0;
	if (done) {
		fv_put(&n->now, (size_t)at, data, done);
		fv_note(n, (size_t)at, data, done);
	}
	pthread_mutex_unlock(&fv.lock);
	return code;
}

static int fv_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct fv_node *n = ((struct fv_file *)f)->node;
	bool torn;
	pthread_mutex_lock(&fv.lock);
	int code = fv_step(SQLITE_IOERR_TRUNCATE, false, &torn);
	if (!code && (size_t)size < n->now.len) {
		buf_trunc(&n->now, (size_t)size);
		fv_note(n, (size_t)size, NULL, 0);
	}
	pthread_mutex_unlock(&fv.lock);
	return code;
}

static int fv_sync(sqlite3_file *f, int flags)
{
	struct fv_node *n = ((struct fv_file *)f)->node;
	bool torn;
	pthread_mutex_lock(&fv.lock);
	int code = fv_step(SQLITE_IOERR_FSYNC, false, &torn);
	if (!code) {
		buf_trunc(&n->safe, 0);
		buf_span_add(&n->safe, buf_span(&n->now));
		n->safe_exists = true;
		fv_forget(n);
	}
	pthread_mutex_unlock(&fv.lock);
	return code;
}

static int fv_size(sqlite3_file *f, sqlite3_int64 *out)
{
	pthread_mutex_lock(&fv.lock);
	*out = (sqlite3_int64)((struct fv_file *)f)->node->now.len;
	pthread_mutex_unlock(&fv.lock);
	return SQLITE_OK;
}

static int fv_lock_ok(sqlite3_file *f, int level)
{
	return SQLITE_OK;
}
static int fv_reserved(sqlite3_file *f, int *out)
{
	*out = 0;
	return SQLITE_OK;
}
static int fv_control(sqlite3_file *f, int op, void *arg)
{
	return SQLITE_NOTFOUND;
}
static int fv_sector(sqlite3_file *f)
{
	return 4096;
}
static int fv_traits(sqlite3_file *f)
{
	return 0;
}
static int fv_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **out)
{
	struct fv_node *n = ((struct fv_file *)f)->node;
	*out = NULL;
	if (region >= n->n_shm) {
		if (!extend)
			return SQLITE_OK;
		n->shm = mem_realloc_n(n->shm, (size_t)region + 1, sizeof(n->shm[0]));
		while (n->n_shm <= region)
			n->shm[n->n_shm++] = mem_zalloc((size_t)size);
	}
	*out = n->shm[region];
	return SQLITE_OK;
}
static int fv_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return SQLITE_OK;
}
static void fv_shm_barrier(sqlite3_file *f)
{
	static atomic_int fence;
	atomic_fetch_add(&fence, 1);
}
static void fv_shm_forget(struct fv_node *n)
{
	for (int i = 0; i < n->n_shm; i++)
		free(n->shm[i]);
	free(n->shm);
	n->shm = NULL;
	n->n_shm = 0;
}
static int fv_shm_unmap(sqlite3_file *f, int remove)
{
	fv_shm_forget(((struct fv_file *)f)->node);
	return SQLITE_OK;
}

static const sqlite3_io_methods fv_methods = {
	.iVersion = 2, .xClose = fv_close, .xRead = fv_read, .xWrite = fv_write, .xTruncate = fv_truncate, .xSync = fv_sync,
	.xFileSize = fv_size, .xLock = fv_lock_ok, .xUnlock = fv_lock_ok, .xCheckReservedLock = fv_reserved,
	.xFileControl = fv_control, .xSectorSize = fv_sector, .xDeviceCharacteristics = fv_traits, .xShmMap = fv_shm_map,
	.xShmLock = fv_shm_lock, .xShmBarrier = fv_shm_barrier, .xShmUnmap = fv_shm_unmap,
};

static int fv_open(sqlite3_vfs *v, const char *path, sqlite3_file *f, int flags, int *out_flags)
{
	struct fv_file *file = (struct fv_file *)f;
	file->base.pMethods = NULL;
	pthread_mutex_lock(&fv.lock);
	struct fv_node *n = path ? fv_find(path, true) : NULL; /* temporary files are kept in memory by SQLite */
	if (n && (n->exists || (flags & SQLITE_OPEN_CREATE && !fv.dead))) {
		n->exists = true;
		file->node = n;
		file->base.pMethods = &fv_methods;
	}
	pthread_mutex_unlock(&fv.lock);
	if (out_flags)
		*out_flags = flags;
	return file->base.pMethods ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int fv_delete(sqlite3_vfs *v, const char *path, int sync_dir)
{
	bool torn;
	pthread_mutex_lock(&fv.lock);
	int code = fv_step(SQLITE_IOERR_DELETE, false, &torn);
	struct fv_node *n = fv_find(path, false);
	if (!code && n) {
		n->exists = n->safe_exists = false;
		buf_trunc(&n->now, 0);
		buf_trunc(&n->safe, 0);
		fv_forget(n);
	}
	pthread_mutex_unlock(&fv.lock);
	return code;
}

static int fv_access(sqlite3_vfs *v, const char *path, int flags, int *out)
{
	pthread_mutex_lock(&fv.lock);
	struct fv_node *n = fv_find(path, false);
	*out = n && n->exists;
	pthread_mutex_unlock(&fv.lock);
	return SQLITE_OK;
}

static int fv_full_path(sqlite3_vfs *v, const char *path, int size, char *out)
{
	snprintf(out, (size_t)size, "%s", path);
	return SQLITE_OK;
}
static int fv_random(sqlite3_vfs *v, int len, char *out)
{
	sqlite3_vfs *real = sqlite3_vfs_find("unix");
	return real->xRandomness(real, len, out);
}
static int fv_sleep(sqlite3_vfs *v, int us)
{
	return us;
}
static int fv_time(sqlite3_vfs *v, double *out)
{
	*out = 2460000.5;
	return SQLITE_OK;
}
static int fv_last_error(sqlite3_vfs *v, int size, char *out)
{
	return EIO;
}

static sqlite3_vfs fv_vfs = {
	.iVersion = 1, .szOsFile = sizeof(struct fv_file), .mxPathname = 512, .zName = "fault", .xOpen = fv_open,
	.xDelete = fv_delete, .xAccess = fv_access, .xFullPathname = fv_full_path, .xRandomness = fv_random,
	.xSleep = fv_sleep, .xCurrentTime = fv_time, .xGetLastError = fv_last_error,
};

/* An empty disk, without faults. */
static inline void fv_reset(void)
{
	static bool registered;
	if (!registered)
		sqlite3_vfs_register(&fv_vfs, 0);
	registered = true;
	for (size_t i = 0; i < ARRAY_LEN(fv.nodes); i++) {
		struct fv_node *n = &fv.nodes[i];
		fv_forget(n);
		fv_shm_forget(n);
		free(n->ops);
		free(n->path);
		buf_done(&n->now);
		buf_done(&n->safe);
		*n = (struct fv_node){ 0 };
	}
	fv.count = fv.at = 0;
	fv.dead = false;
	fv.fault = DISK_NONE;
}

static inline void fv_arm(enum disk_fault fault, long at, uint64_t seed)
{
	pthread_mutex_lock(&fv.lock);
	fv.fault = fault;
	fv.at = at;
	fv.count = 0;
	fv.dead = false;
	rng_init(&fv.rng, seed);
	pthread_mutex_unlock(&fv.lock);
}

/* The machine starts again: after a cut, with what the cut left. No file is open. */
static inline void fv_restart(void)
{
	for (size_t i = 0; i < ARRAY_LEN(fv.nodes); i++) {
		struct fv_node *n = &fv.nodes[i];
		fv_shm_forget(n);
		if (fv.fault == DISK_CUT && fv.dead) {
			for (size_t k = 0; k < n->n_ops; k++) {
				struct fv_op *op = &n->ops[k];
				uint64_t chance = rng_below(&fv.rng, 3);
				if (!op->data && chance)
					buf_trunc(&n->safe, MIN(op->at, n->safe.len));
				for (size_t piece = 0; op->data && chance && piece < op->len; piece += 512) {
					size_t len = MIN((size_t)512, op->len - piece);
					if (chance == 1 || rng_below(&fv.rng, 2))
						fv_put(&n->safe, op->at + piece, op->data + piece, len);
				}
			}
			/* A file never synced may be there or not. */
			n->exists = n->exists && (n->safe_exists || rng_below(&fv.rng, 2));
			if (!n->exists)
				buf_trunc(&n->safe, 0);
			buf_trunc(&n->now, 0);
			buf_span_add(&n->now, buf_span(&n->safe));
			fv_forget(n);
		}
	}
	fv.dead = false;
	fv.fault = DISK_NONE;
	fv.at = 0;
}
