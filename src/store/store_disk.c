/* The disk: one SQLite file in WAL mode, written by the committer alone. docs/formats/store.md is the description.
 *
 * A record is appended for every durable change and never altered: the newest of a key is its state (or, without a value,
 * its absence), older ones are undo history until store_undo.c removes them. Appending touches the right edge of one
 * B-tree only, so a commit of 16 records of 2 KB is about 20 pages in the log and one sync; marking the old record
 * dead, or an index on keys, would touch a random page per change. Finding things is what the memory is for.
 *
 * What is checked at start, while everything is read anyway: each record's sum over all its columns, types and
 * bounds, and the number of records, which must be the highest id less those ever removed (meta.removed changes in the same
 * transaction as a removal): a page that went missing as a whole shows there. SQLite's own quick_check reads every page a
 * second time and finds less; it runs only to name the damage once something is wrong.
 *
 * When to move the log home: never by the clock. After options.wal_pages a moment without work is used; from
 * eight times as many on the work waits. Below that the log stays as it is: nothing is written while nothing changes,
 * and hourly flushes of a quiet cluster cost a few pages each. */
#include <errno.h>
#include "store/store_private.h"

#define DISK_APPLICATION_ID 0x6b6e7273 /* "knrs" */
#define DISK_SCHEMA 1
#define DISK_PAGE 8192
#define LOG_AHEAD (1 << 16)
#define LOG_REST_MS (60 * 1000)

static const char schema[] =
	"CREATE TABLE record(id INTEGER PRIMARY KEY, rev INTEGER NOT NULL, key TEXT NOT NULL, create_rev INTEGER NOT NULL,"
	" version INTEGER NOT NULL, lease INTEGER NOT NULL, at_ms INTEGER NOT NULL, sum INTEGER NOT NULL, value TEXT);"
	"CREATE TABLE lease(id INTEGER PRIMARY KEY, ttl_ms INTEGER NOT NULL);"
	"CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"INSERT INTO meta VALUES('removed', 0), ('reserved', 1);"
	"CREATE VIEW current AS SELECT key, rev, create_rev, version, lease,"
	" strftime('%Y-%m-%dT%H:%M:%SZ', at_ms / 1000, 'unixepoch') AS at, value, max(id) AS id"
	" FROM record GROUP BY key HAVING value IS NOT NULL;";

/* ---- sums */

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t p = (__uint128_t)a * b;
	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t sum_span(uint64_t h, struct span s)
{
	const char *p = s.ptr;
	size_t left = s.len;
	for (; left >= 8; left -= 8, p += 8) {
		uint64_t w;
		memcpy(&w, p, 8);
		h = mix(h ^ le64toh(w), UINT64_C(0x9e3779b97f4a7c15)) + UINT64_C(0xd6e8feb86659fd93);
	}
	uint64_t w = 0;
	if (left)
		memcpy(&w, p, left);
	return mix(h ^ le64toh(w), UINT64_C(0xa0761d6478bd642f)) + s.len;
}

uint64_t store_disk_sum(struct span key, int64_t rev, int64_t create_rev, int64_t version, int64_t lease, int64_t at_ms,
		  bool is_delete, struct span value)
{
	uint64_t numbers[6] = { htole64((uint64_t)rev), htole64((uint64_t)create_rev), htole64((uint64_t)version),
				htole64((uint64_t)lease), htole64((uint64_t)at_ms), htole64(is_delete ? 1 : 0) };
	uint64_t h = sum_span(UINT64_C(0x8ebc6af09c88c6e3), span_make(numbers, sizeof(numbers)));
	return sum_span(sum_span(h, key), value);
}

/* ---- errors */

int store_disk_err(struct disk *d, int rc, struct err *err, const char *what)
{
	int sys = d->db ? sqlite3_system_errno(d->db) : 0;
	const char *path = d->path;
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return err_set(err, ERR_NO_SPACE, "%s: no space left on the device of %s; free some, writing goes on by itself",
			       what, path);
	case SQLITE_READONLY:
		return err_set(err, ERR_UNAVAILABLE, "%s: %s is read-only; make it writable, writing goes on by itself", what,
			       path);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return err_set(err, ERR_UNAVAILABLE, "%s: another program keeps %s locked; end it", what, path);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return err_set(err, ERR_CORRUPT, "%s: %s is damaged: %s", what, path,
			       d->db ? sqlite3_errmsg(d->db) : sqlite3_errstr(rc));
	case SQLITE_NOMEM:
		return err_set(err, ERR_UNAVAILABLE, "%s: out of memory", what);
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
		if (sys == ENOSPC || sys == EDQUOT)
			return err_set(err, ERR_NO_SPACE,
				       "%s: no space left on the device of %s; free some, writing goes on by itself", what, path);
		if (sys == EROFS)
			return err_set(err, ERR_UNAVAILABLE,
				       "%s: %s is on a read-only file system; make it writable, writing goes on by itself", what,
				       path);
		if (sys)
			return err_sys_num(err, sys, "%s: %s: %s", what, path, sqlite3_errstr(rc));
		break;
	default:
		break;
	}
	return err_set(err, ERR_IO, "%s: %s: %s", what, path, d->db ? sqlite3_errmsg(d->db) : sqlite3_errstr(rc));
}

static int exec(struct disk *d, const char *sql, struct err *err, const char *what)
{
	int rc = sqlite3_exec(d->db, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : store_disk_err(d, rc, err, what);
}

/* Steps a statement without results to its end; resets it always. */
static int run(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	int again = sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : again ? again : rc;
}

static int64_t read_number(sqlite3_stmt *st)
{
	int64_t v = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;
	(void)sqlite3_reset(st); /* its error was the step's */
	return v;
}

static int on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	((struct disk *)arg)->wal_pages = pages;
	return SQLITE_OK;
}

/* ---- opening */

static int prepare(struct disk *d, struct err *err)
{
	const struct {
		sqlite3_stmt **st;
		const char *sql;
	} all[] = {
		{ &d->begin, "BEGIN IMMEDIATE" },
		{ &d->commit, "COMMIT" },
		{ &d->rollback, "ROLLBACK" },
		{ &d->insert, "INSERT INTO record VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)" },
		{ &d->lease_put, "INSERT OR REPLACE INTO lease VALUES(?1,?2)" },
		{ &d->lease_delete, "DELETE FROM lease WHERE id = ?1" },
		{ &d->meta_put, "INSERT OR REPLACE INTO meta VALUES(?1,?2)" },
		{ &d->row_delete, "DELETE FROM record WHERE id = ?1" },
		{ &d->row_get, "SELECT rev, create_rev, version, at_ms, key, value, lease, sum FROM record WHERE id = ?1" },
		{ &d->page_count, "PRAGMA page_count" },
		{ &d->free_count, "PRAGMA freelist_count" },
	};
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		int rc = sqlite3_prepare_v3(d->db, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT, all[i].st, NULL);
		if (rc != SQLITE_OK)
			return store_disk_err(d, rc, err, "opening the store");
	}
	return 0;
}

static int one_number(struct disk *d, const char *sql, int64_t *out, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(d->db, sql, -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	bool ok = rc == SQLITE_ROW;
	if (ok)
		*out = sqlite3_column_int64(st, 0);
	int code = ok ? 0 : store_disk_err(d, rc == SQLITE_DONE ? SQLITE_CORRUPT : rc, err, "opening the store");
	sqlite3_finalize(st);
	return code;
}

/* err is not NULL here and below: store_disk_open brings its own. */
static int open_file(struct store *s, struct err *err)
{
	struct disk *d = &s->disk;
	int rc = sqlite3_open_v2(d->path, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, s->o.vfs);
	if (rc != SQLITE_OK)
		return store_disk_err(d, rc, err, "opening the store");
	sqlite3_extended_result_codes(d->db, 1);
	int64_t application = 0, version = 0, tables = 0;
	if (exec(d, "PRAGMA cell_size_check = ON; PRAGMA secure_delete = OFF; PRAGMA trusted_schema = OFF;"
		    "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -512; PRAGMA busy_timeout = 2000",
		 err, "opening the store") < 0 ||
	    one_number(d, "PRAGMA application_id", &application, err) < 0 ||
	    one_number(d, "PRAGMA user_version", &version, err) < 0 ||
	    one_number(d, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0)
		return -(int)err->class;
	if (application != DISK_APPLICATION_ID && (application || tables))
		return err_set(err, ERR_CORRUPT, "%s is an SQLite file, but not a store of ours (application id %lld)", d->path,
			       (long long)application);
	if (version > DISK_SCHEMA)
		return err_set(err, ERR_UNSUPPORTED, "%s has schema %lld, written by a newer version; this one knows %d", d->path,
			       (long long)version, DISK_SCHEMA);
	/* These count only before the first table is made (and on a store that is there they would write). 8 KB pages:
	 * with 4 KB two records of 2 KB do not fit into one, so log and file are half empty (58,000 records/s at 16 a commit
	 * against 84-101,000 here); with 16 KB a lone small write logs too much for too little. */
	if (!version && exec(d, "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL", err, "making the store") < 0)
		return -(int)err->class;
	if (exec(d, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;"
		    "PRAGMA journal_size_limit = 33554432", err, "opening the store") < 0)
		return -(int)err->class;
	if (!version) {
		auto_buf struct buf sql = { 0 };
		buf_printf(&sql, "BEGIN IMMEDIATE; %s PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", schema,
			   DISK_APPLICATION_ID, DISK_SCHEMA);
		int code = exec(d, buf_cstr(&sql), err, "making the store");
		if (code < 0)
			return code;
	}
	sqlite3_wal_hook(d->db, on_wal, d);
	return prepare(d, err);
}

/* ---- loading */

static int damaged(struct store *s, struct err *err, int64_t id, struct span key, const char *how)
{
	auto_buf struct buf more = { 0 };
	sqlite3_stmt *st = NULL;
	if (sqlite3_prepare_v2(s->disk.db, "PRAGMA quick_check(1)", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW) {
		const char *found = (const char *)sqlite3_column_text(st, 0);
		if (found && strcmp(found, "ok") != 0)
			buf_printf(&more, " (quick_check: %s)", found);
	}
	sqlite3_finalize(st);
	size_t shown = MIN(key.len, (size_t)200);
	return err_set(err, ERR_CORRUPT,
		       "%s is damaged: record %lld%s%.*s: %s%s. Put a backup in its place (knarr restore FILE), or save what "
		       "can be read with: sqlite3 %s .recover", s->disk.path, (long long)id, shown ? " of " : "", (int)shown,
		       shown ? key.ptr : "", how, buf_cstr(&more), s->disk.path);
}

static int load_record(struct store *s, sqlite3_stmt *st, struct err *err)
{
	int64_t id = sqlite3_column_int64(st, 0), n[6];
	static const int number_at[] = { 1, 3, 4, 5, 6, 7 };
	if (sqlite3_column_type(st, 2) != SQLITE_TEXT)
		return damaged(s, err, id, SPAN_EMPTY, "the key is not text");
	const void *key_ptr = sqlite3_column_blob(st, 2);
	struct span key = span_make(key_ptr, (size_t)sqlite3_column_bytes(st, 2));
	for (size_t i = 0; i < ARRAY_LEN(n); i++) {
		if (sqlite3_column_type(st, number_at[i]) != SQLITE_INTEGER)
			return damaged(s, err, id, key, "a number is missing");
		n[i] = sqlite3_column_int64(st, number_at[i]);
	}
	int64_t rev = n[0], create_rev = n[1], version = n[2], lease = n[3], at_ms = n[4];
	int type = sqlite3_column_type(st, 8);
	bool gone = type == SQLITE_NULL;
	if (!gone && type != SQLITE_TEXT)
		return damaged(s, err, id, key, "the value is not text");
	const void *value_ptr = gone ? NULL : sqlite3_column_blob(st, 8);
	struct span value = span_make(value_ptr, gone ? 0 : (size_t)sqlite3_column_bytes(st, 8));
	if (!key.len || key.len > STORE_KEY_MAX || value.len > STORE_VALUE_MAX)
		return damaged(s, err, id, span_sub(key, 0, 200), "a length is out of bounds");
	if ((uint64_t)n[5] != store_disk_sum(key, rev, create_rev, version, lease, at_ms, gone, value))
		return damaged(s, err, id, key, "its sum does not match");
	if (id <= s->disk.last_row || id > INT64_MAX / 2 || rev < 2 || rev > INT64_MAX / 2 || create_rev > rev || version < 0)
		return damaged(s, err, id, key, "its revision makes no sense");
	s->disk.last_row = id;

	const struct store_item *prev = store_state_get(&s->st, key);
	if (prev) {
		s->live_bytes -= store_item_bytes(prev);
		store_undo_add(&s->undo, (struct dead){ .row = prev->row_, .born_rev = prev->rev, .died_rev = rev,
						  .born_s = (uint32_t)(prev->at_ms / 1000), .died_s = (uint32_t)(at_ms / 1000),
						  .bytes = (uint32_t)store_item_bytes(prev), .hash = store_undo_hash(key) });
	}
	if (gone) {
		uint32_t at_s = (uint32_t)(at_ms / 1000);
		store_undo_add(&s->undo, (struct dead){ .row = id, .born_rev = rev, .died_rev = rev, .born_s = at_s, .died_s = at_s,
						  .bytes = (uint32_t)key.len, .hash = store_undo_hash(key), .tombstone = true });
		(void)store_state_delete(&s->st, key, rev);
	} else {
		auto_bytes struct bytes *v = bytes_of(value);
		struct store_item *it = store_item_new(key, v);
		it->rev = rev;
		it->create_rev = create_rev;
		it->version = version;
		it->lease = lease;
		it->at_ms = at_ms;
		it->row_ = id;
		s->live_bytes += store_item_bytes(it);
		store_state_put(&s->st, it);
	}
	s->st.rev = MAX(s->st.rev, rev);
	store_state_load_settle(&s->st);
	return 0;
}

static int load_records(struct store *s, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(s->disk.db, "SELECT id, rev, key, create_rev, version, lease, at_ms, sum, value FROM record"
						" ORDER BY id", -1, &st, NULL);
	int64_t n = 0;
	int code = 0;
	while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW && code == 0) {
		code = load_record(s, st, err);
		n++;
		rc = SQLITE_OK;
	}
	sqlite3_finalize(st);
	if (code < 0)
		return code;
	if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)
		return damaged(s, err, s->disk.last_row, SPAN_EMPTY, "the page behind it cannot be read");
	if (rc != SQLITE_DONE)
		return store_disk_err(&s->disk, rc, err, "reading the store");
	if (n != s->disk.last_row - s->disk.removed)
		return err_set(err, ERR_CORRUPT,
			       "%s is damaged: it holds %lld records, but %lld were written and not removed. Put a backup in its "
			       "place (knarr restore FILE), or save what can be read with: sqlite3 %s .recover", s->disk.path,
			       (long long)n, (long long)(s->disk.last_row - s->disk.removed), s->disk.path);
	return 0;
}

static int load_meta(struct store *s, struct err *err)
{
	struct disk *d = &s->disk;
	int code = one_number(d, "SELECT value FROM meta WHERE name = 'removed'", &d->removed, err);
	if (code == 0)
		code = one_number(d, "SELECT value FROM meta WHERE name = 'reserved'", &d->reserved, err);
	if (code < 0)
		return code;
	/* Half the range is left: nobody counts that far, and sums of these never overflow. */
	if (d->removed < 0 || d->removed > INT64_MAX / 2 || d->reserved < 1 || d->reserved > INT64_MAX / 2)
		return err_set(err, ERR_CORRUPT, "%s is damaged: meta has removed %lld, reserved %lld. Put a backup in its place "
			       "(knarr restore FILE)", d->path, (long long)d->removed, (long long)d->reserved);
	return 0;
}

static int load_leases(struct store *s, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(s->disk.db, "SELECT id, ttl_ms FROM lease", -1, &st, NULL);
	while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(st, 0), ttl_ms = sqlite3_column_int64(st, 1);
		if (id > 0 && ttl_ms > 0 && ttl_ms <= INT64_MAX / 4 && !store_lease_get(s, id))
			(void)store_lease_add(s, id, ttl_ms);
		rc = SQLITE_OK;
	}
	sqlite3_finalize(st);
	if (rc != SQLITE_DONE)
		return store_disk_err(&s->disk, rc, err, "reading leases");
	struct store_iter it;
	int code = store_iter_init(&it, s->st.published, SPAN_EMPTY, SPAN_EMPTY, 0, err);
	if (code < 0)
		return code;
	for (const struct store_item *item; (item = store_iter_next(&it));) {
		struct lease *l = item->lease ? store_lease_get(s, item->lease) : NULL;
		if (l)
			store_lease_key_add(l, store_item_key(item));
	}
	store_iter_done(&it);
	return 0;
}

static sqlite3_file *log_file(struct disk *d, sqlite3_int64 *out_size)
{
	sqlite3_file *log = NULL;
	if (sqlite3_file_control(d->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) != SQLITE_OK || !log || !log->pMethods ||
	    log->pMethods->xFileSize(log, out_size) != SQLITE_OK)
		return NULL;
	return log;
}

/* What recovery found in the log may never have been synced: the process before us can have died between writing and
 * syncing. It was read from the page cache, it would be shown, and a loss of power could still take it back. So it is
 * synced before anybody sees it. After a clean close there is no log. */
static int sync_log(struct disk *d, struct err *err)
{
	sqlite3_int64 size = 0;
	sqlite3_file *log = log_file(d, &size);
	int rc = log && size ? log->pMethods->xSync(log, SQLITE_SYNC_NORMAL) : SQLITE_OK;
	return rc == SQLITE_OK ? 0 : store_disk_err(d, rc, err, "syncing the log");
}

/* Keeps written zeros ahead of the log's end. A sync of a file that has grown, or of blocks that were only reserved,
 * commits the file system's journal as well: several times the price of one that overwrites (etcd lays its log out in
 * advance, too). SQLite begins the log anew in the same file after moving it home, so this is paid once. Zeros are no valid
 * frame: recovery ends there as at the end of the file. A quarter of a megabyte at first, twice as much each time while
 * the last time is less than a minute ago: a store that hardly writes does not pay for one that does, and one at
 * rest (GOALS row 16) lays out what it needs. */
static void log_lay_out(struct disk *d, size_t payload, int64_t now_ms)
{
	static char zeros[LOG_AHEAD]; /* never written: no constant, which would be 64 KB of the program file */
	/* Records go side by side into the pages at the right edge, half as much again for what pages leave free. */
	sqlite3_int64 size = 0, need = (sqlite3_int64)d->wal_pages * (DISK_PAGE + 24) + (sqlite3_int64)payload * 3 / 2 + LOG_AHEAD;
	sqlite3_file *log = log_file(d, &size);
	if (!log || need <= size)
		return;
	bool rests = d->laid_out_ms && now_ms - d->laid_out_ms > LOG_REST_MS;
	sqlite3_int64 step = rests ? 0 : MAX(size, (sqlite3_int64)1 << 18), until = size + MIN(step, (sqlite3_int64)4 << 20);
	until = MAX(until, need);
	d->laid_out_ms = now_ms;
	for (; size < until; size += (sqlite3_int64)sizeof(zeros))
		if (log->pMethods->xWrite(log, zeros, sizeof(zeros), size) != SQLITE_OK)
			return; /* the commit itself meets the same disk and reports it */
}

int store_disk_open(struct store *s, struct err *err)
{
	struct disk *d = &s->disk;
	auto_err struct err own = ERR_INIT;
	int code = open_file(s, &own);
	if (code < 0) {
		store_state_init(&s->st, 1);
		return err ? err_move(err, &own) : code;
	}
	store_state_init(&s->st, 1);
	store_state_begin(&s->st);
	if (load_meta(s, &own) < 0 || load_records(s, &own) < 0 || sync_log(d, &own) < 0) {
		store_state_commit(&s->st, 1, 0); /* so that store_state_done finds what was loaded */
		code = -(int)own.class;
		return err ? err_move(err, &own) : code;
	}
	int64_t rev = MAX(s->st.rev, d->reserved);
	s->st.floor_rev = rev;
	s->st.rev = rev;
	store_state_commit(&s->st, rev, 0);
	store_disk_measure(d);
	store_disk_rest(d);
	code = load_leases(s, &own);
	if (code < 0)
		return err ? err_move(err, &own) : code;
	return 0;
}

void store_disk_close(struct disk *d)
{
	sqlite3_stmt **all[] = { &d->begin, &d->commit, &d->rollback, &d->insert, &d->lease_put, &d->lease_delete, &d->meta_put,
				 &d->row_delete, &d->row_get, &d->page_count, &d->free_count };
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		sqlite3_finalize(*all[i]);
		*all[i] = NULL;
	}
	if (d->db)
		(void)sqlite3_close(d->db); /* the log is still there for the next start if this fails */
	d->db = NULL;
	free(d->path);
	d->path = NULL;
}

/* ---- writing */

static int insert_row(struct disk *d, const struct disk_row *r)
{
	const struct store_item *it = r->item;
	sqlite3_stmt *st = d->insert;
	struct span value = it ? bytes_span(it->value) : SPAN_EMPTY;
	int64_t create_rev = it ? it->create_rev : 0, version = it ? it->version : 0, lease = it ? it->lease : 0;
	uint64_t sum = store_disk_sum(r->key, r->rev, create_rev, version, lease, r->at_ms, !it, value);
	sqlite3_bind_int64(st, 1, r->row);
	sqlite3_bind_int64(st, 2, r->rev);
	sqlite3_bind_text64(st, 3, r->key.ptr, r->key.len, SQLITE_STATIC, SQLITE_UTF8);
	sqlite3_bind_int64(st, 4, create_rev);
	sqlite3_bind_int64(st, 5, version);
	sqlite3_bind_int64(st, 6, lease);
	sqlite3_bind_int64(st, 7, r->at_ms);
	sqlite3_bind_int64(st, 8, (int64_t)sum);
	if (it)
		sqlite3_bind_text64(st, 9, value.len ? value.ptr : "", value.len, SQLITE_STATIC, SQLITE_UTF8);
	else
		sqlite3_bind_null(st, 9);
	d->written_since += r->key.len + value.len + 64;
	return run(st);
}

static int meta_put(struct disk *d, const char *name, int64_t value)
{
	sqlite3_bind_text(d->meta_put, 1, name, -1, SQLITE_STATIC);
	sqlite3_bind_int64(d->meta_put, 2, value);
	return run(d->meta_put);
}

static int finish(struct disk *d, int rc, struct err *err, const char *what)
{
	FAILPOINT("store.commit.written");
	if (rc == SQLITE_OK)
		rc = run(d->commit);
	if (rc == SQLITE_OK) {
		FAILPOINT("store.commit.synced");
		return 0;
	}
	int code = store_disk_err(d, rc, err, what);
	if (!sqlite3_get_autocommit(d->db))
		(void)run(d->rollback); /* what matters failed already */
	return code;
}

int store_disk_commit(struct disk *d, const struct disk_batch *b, int64_t now_ms, struct err *err)
{
	int errnum = 0;
	if (FAILPOINT_ERR("store.commit.begin", &errnum))
		return err_sys_num(err, errnum, "writing %s", d->path);
	size_t payload = 0;
	for (size_t i = 0; i < b->n_rows; i++)
		payload += b->rows[i].key.len + 64 + (b->rows[i].item ? b->rows[i].item->value->len : 0);
	log_lay_out(d, payload, now_ms);
	int rc = run(d->begin);
	for (size_t i = 0; i < b->n_rows && rc == SQLITE_OK; i++)
		rc = insert_row(d, &b->rows[i]);
	for (size_t i = 0; i < b->n_leases && rc == SQLITE_OK; i++) {
		sqlite3_stmt *st = b->leases[i].ttl_ms ? d->lease_put : d->lease_delete;
		sqlite3_bind_int64(st, 1, b->leases[i].id);
		if (b->leases[i].ttl_ms)
			sqlite3_bind_int64(st, 2, b->leases[i].ttl_ms);
		rc = run(st);
	}
	if (b->reserve && rc == SQLITE_OK)
		rc = meta_put(d, "reserved", b->reserve);
	int code = finish(d, rc, err, "writing");
	if (code < 0)
		return code;
	if (b->reserve)
		d->reserved = b->reserve;
	if (b->n_rows)
		d->last_row = b->rows[b->n_rows - 1].row;
	return 0;
}

int store_disk_remove(struct disk *d, const int64_t *rows, size_t n, int64_t rev, struct err *err)
{
	int64_t removed = 0, reserved = MAX(d->reserved, rev);
	int rc = run(d->begin);
	for (size_t i = 0; i < n && rc == SQLITE_OK; i++) {
		if (!rows[i])
			continue;
		sqlite3_bind_int64(d->row_delete, 1, rows[i]);
		rc = run(d->row_delete);
		removed += sqlite3_changes(d->db);
	}
	if (rc == SQLITE_OK)
		rc = meta_put(d, "removed", d->removed + removed);
	/* A removed record may be the only one that knew the highest revision. */
	if (rc == SQLITE_OK && reserved > d->reserved)
		rc = meta_put(d, "reserved", reserved);
	int code = finish(d, rc, err, "thinning undo history");
	if (code < 0)
		return code;
	d->removed += removed;
	d->reserved = reserved;
	return 0;
}

void store_disk_measure(struct disk *d)
{
	int64_t pages = read_number(d->page_count), unused = read_number(d->free_count);
	if (pages < 0 || unused < 0)
		return;
	d->pages = (uint64_t)pages;
	d->free_pages = (uint64_t)unused;
	d->page_size = DISK_PAGE;
	d->written_since = 0;
}

/* Gives free pages back when they are more than a quarter of the file and more than 1 MB; 2 MB at a time. */
bool store_disk_shrink(struct disk *d, struct err *err)
{
	store_disk_measure(d);
	if (d->free_pages < 128 || d->free_pages < d->pages / 4)
		return false;
	uint64_t before = d->free_pages;
	if (exec(d, "PRAGMA incremental_vacuum(256)", err, "shrinking the store") < 0)
		return false;
	store_disk_measure(d);
	return d->free_pages < before;
}

int store_disk_checkpoint(struct disk *d, bool truncate, struct err *err)
{
	int in_log = -1, moved = -1;
	int rc = sqlite3_wal_checkpoint_v2(d->db, NULL, truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE,
					   &in_log, &moved);
	if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
		return store_disk_err(d, rc, err, "moving the log home");
	if (rc == SQLITE_OK && in_log == moved)
		d->wal_pages = 0;
	return 0;
}

void store_disk_rest(struct disk *d)
{
	(void)sqlite3_db_release_memory(d->db); /* what it cannot give back it keeps */
	d->cached = false;
}

int store_disk_row_read(struct disk *d, int64_t row, struct store_version *out, struct err *err)
{
	sqlite3_stmt *st = d->row_get;
	sqlite3_bind_int64(st, 1, row);
	int rc = sqlite3_step(st);
	if (rc != SQLITE_ROW) {
		(void)sqlite3_reset(st); /* its error was the step's */
		if (rc == SQLITE_DONE)
			return err_set(err, ERR_CORRUPT, "%s: record %lld is missing", d->path, (long long)row);
		return store_disk_err(d, rc, err, "reading history");
	}
	const void *key_ptr = sqlite3_column_blob(st, 4);
	struct span key = span_make(key_ptr, (size_t)sqlite3_column_bytes(st, 4));
	bool gone = sqlite3_column_type(st, 5) == SQLITE_NULL;
	const void *value_ptr = sqlite3_column_blob(st, 5);
	struct span value = span_make(value_ptr, (size_t)sqlite3_column_bytes(st, 5));
	struct store_version v = { .rev = sqlite3_column_int64(st, 0), .create_rev = sqlite3_column_int64(st, 1),
				   .version = sqlite3_column_int64(st, 2), .at_ms = sqlite3_column_int64(st, 3) };
	uint64_t sum = store_disk_sum(key, v.rev, v.create_rev, v.version, sqlite3_column_int64(st, 6), v.at_ms, gone, value);
	bool good = sum == (uint64_t)sqlite3_column_int64(st, 7);
	if (good) {
		v.key = span_make(mem_dup(key.ptr, key.len), key.len);
		v.value = gone ? NULL : bytes_of(value);
		*out = v;
	}
	(void)sqlite3_reset(st); /* nothing can fail after the row */
	return good ? 0 : err_set(err, ERR_CORRUPT, "%s: record %lld: its sum does not match", d->path, (long long)row);
}
