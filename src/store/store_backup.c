/* Online backup and restore.
 *
 * A backup is copied in steps of 1 MB between two batches by SQLite's backup interface on the committer's own
 * connection, which carries changes made meanwhile into the copy, so it needs no pause and no second pass. It is written
 * as FILE.tmp, synced, renamed: FILE is complete or as it was.
 *
 * A restored store begins a thousand million revisions above the backup: what clients saw between the backup and the
 * disaster is then older than anything that comes (etcd's advice, too), and their watches are EXPIRED. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "store/store_private.h"

#define BACKUP_PAGES 128
#define RESTORE_JUMP INT64_C(1000000000)

struct backup_job {
	struct other_call *call; /* owned until answered */
	char *tmp;               /* owned */
	sqlite3 *db;
	sqlite3_backup *run;
};

static int copy_error(sqlite3 *db, int rc, const char *path, struct err *err)
{
	int sys = db ? sqlite3_system_errno(db) : 0;
	if ((rc & 0xff) == SQLITE_FULL || sys == ENOSPC)
		return err_set(err, ERR_NO_SPACE, "backup: no space left for %s", path);
	if (sys)
		return err_sys_num(err, sys, "backup: %s", path);
	return err_set(err, ERR_IO, "backup: %s: %s", path, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
}

static int sync_path(const char *path, int flags, struct err *err)
{
	auto_fd int fd = open(path, flags | O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_sys(err, "syncing %s", path);
	return 0;
}

static int sync_folder_of(const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return sync_path(".", O_DIRECTORY, err);
	auto_free char *dir = mem_dup(path, slash == path ? 1 : (size_t)(slash - path));
	return sync_path(dir, O_DIRECTORY, err);
}

static void job_end(struct store *s, struct list *answered)
{
	struct backup_job *j = s->backup;
	s->backup = NULL;
	if (j->run)
		(void)sqlite3_backup_finish(j->run); /* told its error by the step */
	if (j->db)
		(void)sqlite3_close(j->db);
	if (j->call->call.err.class)
		(void)unlink(j->tmp); /* may never have been made */
	list_push(answered, &j->call->call.link_);
	free(j->tmp);
	free(j);
}

static void job_begin(struct store *s, struct other_call *call)
{
	struct backup_job *j = mem_new(struct backup_job);
	struct err *err = &call->call.err;
	auto_buf struct buf tmp = { 0 };
	buf_printf(&tmp, "%.*s.tmp", SPAN_ARG(bytes_span(call->key)));
	j->call = call;
	j->tmp = buf_take(&tmp, NULL);
	s->backup = j;
	if (unlink(j->tmp) < 0 && errno != ENOENT) {
		err_sys(err, "removing %s", j->tmp);
		return;
	}
	/* Made by us first: SQLite would take the umask's word for who may read it. */
	int fd = open(j->tmp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0) {
		err_sys(err, "making %s", j->tmp);
		return;
	}
	fd_close(&fd);
	int rc = sqlite3_open_v2(j->tmp, &j->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(j->db, "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY", NULL, NULL, NULL);
	if (rc == SQLITE_OK && !(j->run = sqlite3_backup_init(j->db, "main", s->disk.db, "main")))
		rc = sqlite3_errcode(j->db);
	if (rc != SQLITE_OK)
		copy_error(j->db, rc, j->tmp, err);
}

static void job_finish(struct store *s)
{
	struct backup_job *j = s->backup;
	struct err *err = &j->call->call.err;
	char *path = j->call->key->data;
	(void)sqlite3_backup_finish(j->run); /* told its error by the last step */
	j->run = NULL;
	/* The copy says WAL like the original; a single file is wanted. */
	int rc = sqlite3_exec(j->db, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
	if (rc != SQLITE_OK) {
		copy_error(j->db, rc, j->tmp, err);
		return;
	}
	(void)sqlite3_close(j->db); /* nothing is open in it */
	j->db = NULL;
	if (sync_path(j->tmp, 0, err) < 0)
		return;
	if (rename(j->tmp, path) < 0)
		err_sys(err, "renaming %s to %s", j->tmp, path);
	else
		(void)sync_folder_of(path, err);
}

void store_backup_step(struct store *s, struct list *answered)
{
	if (!s->backup) {
		struct store_call *next = LIST_POP(&s->backups, struct store_call, link_);
		if (!next)
			return;
		job_begin(s, (struct other_call *)next);
	}
	struct backup_job *j = s->backup;
	struct err *err = &j->call->call.err;
	if (!err->class) {
		int rc = sqlite3_backup_step(j->run, BACKUP_PAGES);
		if (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
			return;
		if (rc == SQLITE_DONE)
			job_finish(s);
		else
			copy_error(j->db, rc, j->tmp, err);
	}
	job_end(s, answered);
}

void store_backup_abort(struct store *s, struct list *answered)
{
	do {
		struct store_call *next = s->backup ? NULL : LIST_POP(&s->backups, struct store_call, link_);
		if (next) {
			err_set(&next->err, ERR_CANCELLED, "the store is closing");
			list_push(answered, &next->link_);
		}
		if (s->backup) {
			err_set(&s->backup->call->call.err, ERR_CANCELLED, "the store is closing");
			job_end(s, answered);
		}
	} while (!list_empty(&s->backups));
}

/* ---- restore */

static int copy_file(const char *from, const char *to, struct err *err)
{
	auto_fd int in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return err_sys(err, "opening backup %s", from);
	auto_fd int out = open(to, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (out < 0)
		return err_sys(err, "making %s", to);
	auto_free char *block = mem_alloc(1 << 20);
	for (ssize_t n; (n = read(in, block, 1 << 20)) != 0;) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "reading %s", from);
		int code = io_write_all(out, block, (size_t)n, err);
		if (code < 0)
			return code;
	}
	return fsync(out) < 0 ? err_sys(err, "syncing %s", to) : 0;
}

static int raise_revision(const char *path, struct err *err)
{
	sqlite3 *db = NULL;
	char *sql = sqlite3_mprintf("PRAGMA synchronous = FULL; UPDATE meta SET value = %lld + max("
					      "(SELECT max(value) FROM meta WHERE name = 'reserved'),"
					      "(SELECT coalesce(max(rev), 1) FROM record)) WHERE name = 'reserved'",
					      (long long)RESTORE_JUMP);
	int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	int code = rc == SQLITE_OK ? 0 : err_set(err, ERR_IO, "raising the revision of %s: %s", path,
						 db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
	(void)sqlite3_close(db); /* the statement has ended */
	sqlite3_free(sql);
	return code;
}

static int restore_into(const char *backup, const char *tmp_dir, const char *tmp_db, struct err *err)
{
	int code = copy_file(backup, tmp_db, err);
	if (code == 0) { /* opening checks every record */
		struct store_options o = { .dir = tmp_dir };
		struct store *s = NULL;
		code = store_open(&o, &s, err);
		if (code == 0)
			code = store_close(s, err);
	}
	return code < 0 ? err_note(err, "restoring %s", backup) : raise_revision(tmp_db, err);
}

int store_restore(const char *backup, const char *dir, struct err *err)
{
	auto_err struct err own = ERR_INIT;
	if (!err)
		err = &own;
	auto_buf struct buf db = { 0 }, tmp_dir = { 0 }, tmp_db = { 0 }, tmp_lock = { 0 };
	buf_printf(&db, "%s/store.db", dir);
	buf_printf(&tmp_dir, "%s/restoring", dir);
	buf_printf(&tmp_db, "%s/restoring/store.db", dir);
	buf_printf(&tmp_lock, "%s/restoring/lock", dir);
	if (access(buf_cstr(&db), F_OK) == 0)
		return err_set(err, ERR_EXISTS, "%s holds a store; move it away first", dir);
	int code = io_mkdirs(AT_FDCWD, buf_cstr(&tmp_dir), 0700, err);
	if (code < 0)
		return code;
	code = restore_into(backup, buf_cstr(&tmp_dir), buf_cstr(&tmp_db), err);
	if (code == 0 && rename(buf_cstr(&tmp_db), buf_cstr(&db)) < 0)
		code = err_sys(err, "renaming %s", buf_cstr(&tmp_db));
	if (code == 0)
		code = sync_folder_of(buf_cstr(&db), err);
	(void)unlink(buf_cstr(&tmp_db)); /* there only after a failure */
	(void)unlink(buf_cstr(&tmp_lock));
	(void)rmdir(buf_cstr(&tmp_dir));
	return code;
}
