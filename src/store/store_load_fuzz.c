/* What the store reads from its file beyond SQLite's own checks: records with any types, numbers and order.
 *
 * The input describes records, leases and meta rows; they go into a store's file by plain SQL, with right or wrong sums, and
 * the store is opened on it: it opens, or says CORRUPT (never anything else, never a crash). What opens can be written to,
 * closed and opened again. */
#define STORE_FUZZ
#include <stdint.h>
#include "store/store_test_util.h"
#include "store/store_fault_vfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[200];
static void leave(void)
{
	dir_remove(dir);
}

struct input {
	const uint8_t *p, *end;
};
static uint8_t byte(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}
static int64_t number(struct input *in)
{
	uint8_t kind = byte(in);
	if (kind < 200)
		return kind;
	static const int64_t odd[] = { INT64_MAX, INT64_MIN, -1, INT64_MAX / 2 + 1, INT64_C(1) << 32, 1700000000000 };
	return odd[kind % ARRAY_LEN(odd)];
}
static struct span text(struct input *in)
{
	size_t n = byte(in);
	n = n > 250 ? 1100 : n % 24;
	n = MIN(n, (size_t)(in->end - in->p));
	struct span s = span_make(in->p, n);
	in->p += n;
	return s;
}

static void bind_any(sqlite3_stmt *st, int at, struct input *in, uint8_t how, int64_t n, struct span s)
{
	switch (how) {
	case 1:
		sqlite3_bind_null(st, at);
		break;
	case 2:
		sqlite3_bind_double(st, at, 1.5);
		break;
	case 3:
		sqlite3_bind_blob64(st, at, s.ptr ? s.ptr : "", s.len, SQLITE_TRANSIENT);
		break;
	case 4:
		sqlite3_bind_text64(st, at, s.ptr ? s.ptr : "", s.len, SQLITE_TRANSIENT, SQLITE_UTF8);
		break;
	default:
		sqlite3_bind_int64(st, at, n);
	}
}

static void fill(struct input *in)
{
	sqlite3 *db;
	char path[300];
	snprintf(path, sizeof(path), "%s/store.db", dir);
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, "fault") != SQLITE_OK)
		abort();
	/* Without the declared constraints, so that everything gets through. */
	sqlite3_exec(db, "DROP VIEW current; DROP TABLE record; CREATE TABLE record(id INTEGER PRIMARY KEY, rev, key, create_rev,"
			 "version, lease, at_ms, sum, value)", NULL, NULL, NULL);
	sqlite3_stmt *record, *lease, *meta;
	if (sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO record VALUES(?,?,?,?,?,?,?,?,?)", -1, &record, NULL) ||
	    sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO lease VALUES(?,?)", -1, &lease, NULL) ||
	    sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO meta VALUES(?,?)", -1, &meta, NULL))
		abort();
	int64_t id = 0;
	while (in->p < in->end) {
		uint8_t what = byte(in);
		if (what < 16) {
			sqlite3_bind_int64(lease, 1, number(in));
			sqlite3_bind_int64(lease, 2, number(in));
			sqlite3_step(lease);
			sqlite3_reset(lease);
			continue;
		}
		if (what < 32) {
			sqlite3_bind_text(meta, 1, what & 1 ? "removed" : "reserved", -1, SQLITE_STATIC);
			sqlite3_bind_int64(meta, 2, number(in));
			sqlite3_step(meta);
			sqlite3_reset(meta);
			continue;
		}
		id += what & 1 ? 1 : number(in) % 5;
		struct span key = text(in), value = text(in);
		bool gone = what & 2;
		int64_t rev = number(in), create_rev = number(in), version = number(in), on = number(in), at_ms = number(in);
		if (what & 4) /* plausible */
			rev = id + 1, create_rev = MIN(create_rev & 127, rev), version &= 127;
		int64_t sum = what & 8 ? number(in) :
			(int64_t)store_disk_sum(key, rev, create_rev, version, on, at_ms, gone, gone ? SPAN_EMPTY : value);
		uint8_t odd = what & 16 ? byte(in) : 0; /* one column of another type */
		sqlite3_bind_int64(record, 1, id);
		bind_any(record, 2, in, odd / 8 == 2 ? odd % 8 : 0, rev, key);
		bind_any(record, 3, in, odd / 8 == 3 ? odd % 8 : 4, rev, key);
		bind_any(record, 4, in, odd / 8 == 4 ? odd % 8 : 0, create_rev, key);
		bind_any(record, 5, in, odd / 8 == 5 ? odd % 8 : 0, version, key);
		bind_any(record, 6, in, odd / 8 == 6 ? odd % 8 : 0, on, key);
		bind_any(record, 7, in, odd / 8 == 7 ? odd % 8 : 0, at_ms, key);
		bind_any(record, 8, in, odd / 8 == 8 ? odd % 8 : 0, sum, key);
		bind_any(record, 9, in, gone ? 1 : odd / 8 == 9 ? odd % 8 : 4, 0, value);
		sqlite3_step(record);
		sqlite3_reset(record);
	}
	sqlite3_finalize(record);
	sqlite3_finalize(lease);
	sqlite3_finalize(meta);
	sqlite3_close(db);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!dir[0]) {
		dir_make(dir, sizeof(dir));
		atexit(leave);
	}
	if (size > 4096)
		return 0;
	fv_reset();
	struct store_options o = { .dir = dir, .vfs = "fault" };
	do_close(do_open(&o)); /* the tables */
	struct input in = { data, data + size };
	fill(&in);
	auto_err struct err err = ERR_INIT;
	struct store *s = NULL;
	if (store_open(&o, &s, &err) < 0) {
		if (err.class != ERR_CORRUPT)
			fail_msg("%s\n", err_msg(&err));
		return 0;
	}
	struct store_snapshot *snap = store_snapshot(s);
	if (!store_tree_check(snap->root, true))
		abort();
	int64_t rev = store_snapshot_rev(snap);
	store_snapshot_unref(snap);
	if (do_put(s, "after", "v") <= rev)
		abort();
	do_close(s);
	s = do_open(&o);
	if (!is_value(s, "after", "v"))
		abort();
	do_close(s);
	return 0;
}
