/* What the seam promises, one promise a test, on one thread of callers. Concurrency: store_model_test.c; faults:
 * store_fault_test.c, store_kill_test.c, store_space_test.c; the tree by itself: store_tree_test.c. */
#include <fcntl.h>
#include "store/store_test_util.h"

static char dir[200];

static int setup(void **state)
{
	dir_make(dir, sizeof(dir));
	return 0;
}
static int teardown(void **state)
{
	dir_remove(dir);
	return 0;
}
static struct store *open_plain(void)
{
	return do_open(&(struct store_options){ .dir = dir });
}

static void revisions(void **state)
{
	struct store *s = open_plain();
	assert_int_equal(do_put(s, "a", "1"), 2);
	assert_int_equal(do_put(s, "b", "1"), 3);
	assert_int_equal(do_put(s, "a", "2"), 4);
	struct store_snapshot *snap = store_snapshot(s);
	const struct store_item *a = store_get(snap, SPAN("a"));
	assert_int_equal(a->create_rev, 2);
	assert_int_equal(a->rev, 4);
	assert_int_equal(a->version, 2);
	assert_int_equal(do_delete(s, "a"), 5);
	assert_int_equal(do_delete(s, "a"), 5); /* nothing to delete: no revision */
	assert_non_null(store_get(snap, SPAN("a"))); /* the snapshot stays as it was */
	assert_int_equal(store_snapshot_rev(snap), 4);
	store_snapshot_unref(snap);
	assert_int_equal(do_put(s, "a", "3"), 6);
	snap = store_snapshot(s);
	assert_int_equal(store_get(snap, SPAN("a"))->create_rev, 6);
	assert_int_equal(store_get(snap, SPAN("a"))->version, 1);
	store_snapshot_unref(snap);
	do_close(s);
	s = open_plain();
	assert_int_equal(do_sync(s), 6);
	assert_true(is_value(s, "a", "3"));
	assert_true(is_value(s, "b", "1"));
	assert_int_equal(do_put(s, "c", ""), 7);
	assert_true(is_value(s, "c", ""));
	do_close(s);
}

static void transactions(void **state)
{
	struct store *s = open_plain();
	auto_bytes struct bytes *v = bytes_of(SPAN("v"));
	int64_t rev = do_put(s, "k", "old");
	struct {
		enum store_field field;
		enum store_compare how;
		int64_t number;
		bool held;
	} rows[] = {
		{ STORE_REV, STORE_EQUAL, rev, true },       { STORE_REV, STORE_EQUAL, rev - 1, false },
		{ STORE_REV, STORE_NOT_EQUAL, 0, true },     { STORE_VERSION, STORE_GREATER, 0, true },
		{ STORE_VERSION, STORE_LESS, 1, false },     { STORE_CREATE_REV, STORE_GREATER, rev, false },
		{ STORE_LEASE, STORE_EQUAL, 0, true },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_wait struct wait w;
		struct store_txn *t = store_txn_new();
		store_txn_if(t, SPAN("k"), rows[i].field, rows[i].how, rows[i].number);
		assert_int_equal(do_commit(s, t, &w), 0);
		assert_int_equal(w.held, rows[i].held);
		assert_int_equal(w.rev, rev); /* changed nothing */
	}
	{ /* value compares; an absent key holds for none */
		auto_wait struct wait w;
		struct store_txn *t = store_txn_new();
		store_txn_if_value(t, SPAN("k"), STORE_EQUAL, SPAN("old"));
		store_txn_if_value(t, SPAN("k"), STORE_LESS, SPAN("oldest"));
		store_txn_put(t, STORE_THEN, SPAN("k"), v, 0);
		store_txn_put(t, STORE_THEN, SPAN("k2"), v, 0);
		assert_int_equal(do_commit(s, t, &w), 0);
		assert_true(w.held);
		assert_int_equal(w.rev, rev + 1);
	}
	{
		auto_wait struct wait w;
		struct store_txn *t = store_txn_new();
		store_txn_if_value(t, SPAN("absent"), STORE_NOT_EQUAL, SPAN("x"));
		store_txn_put(t, STORE_THEN, SPAN("k"), v, 0);
		store_txn_get(t, STORE_ELSE, SPAN("k"));
		assert_int_equal(do_commit(s, t, &w), 0);
		assert_false(w.held);
		assert_int_equal(w.item->rev, rev + 1); /* both puts at one revision */
	}
	{ /* delete by prefix, and reading what the same transaction did before */
		auto_wait struct wait w;
		struct store_txn *t = store_txn_new();
		store_txn_delete_prefix(t, STORE_THEN, SPAN("k"));
		store_txn_range(t, STORE_THEN, SPAN(""), 0, true);
		assert_int_equal(do_commit(s, t, &w), 0);
		assert_int_equal(w.count, 2);
		struct store_snapshot *snap = store_snapshot(s);
		assert_int_equal(store_count(snap, SPAN("")), 0);
		store_snapshot_unref(snap);
	}
	{ /* the same key twice */
		auto_wait struct wait w;
		struct store_txn *t = store_txn_new();
		store_txn_put(t, STORE_THEN, SPAN("d"), v, 0);
		store_txn_delete(t, STORE_THEN, SPAN("d"));
		assert_int_equal(do_commit(s, t, &w), ERR_INVALID_REQUEST);
		assert_non_null(strstr(w.msg, "duplicate key"));
		assert_true(is_value(s, "d", "-"));
	}
	{ /* a put beneath a deleted prefix */
		auto_wait struct wait w;
		struct store_txn *t = store_txn_new();
		store_txn_put(t, STORE_THEN, SPAN("pre/d"), v, 0);
		store_txn_delete_prefix(t, STORE_THEN, SPAN("pre/"));
		assert_int_equal(do_commit(s, t, &w), ERR_INVALID_REQUEST);
	}
	do_close(s);
}

static void limits(void **state)
{
	struct store *s = open_plain();
	char key[STORE_KEY_MAX + 2];
	memset(key, 'k', sizeof(key));
	key[STORE_KEY_MAX] = 0;
	assert_true(do_put(s, key, "v") > 0);
	key[STORE_KEY_MAX] = 'k';
	key[STORE_KEY_MAX + 1] = 0;
	assert_int_equal(do_put(s, key, "v"), -ERR_TOO_LARGE);
	assert_int_equal(do_put(s, "", "v"), -ERR_INVALID_REQUEST);
	auto_bytes struct bytes *big = bytes_alloc(STORE_VALUE_MAX + 1);
	memset(big->data, 'x', big->len);
	auto_wait struct wait w;
	struct store_txn *t = store_txn_new();
	store_txn_put(t, STORE_THEN, SPAN("big"), big, 0);
	assert_int_equal(do_commit(s, t, &w), ERR_TOO_LARGE);
	auto_bytes struct bytes *fits = bytes_alloc(STORE_VALUE_MAX);
	memset(fits->data, 'y', fits->len);
	auto_wait struct wait w2;
	t = store_txn_new();
	store_txn_put(t, STORE_THEN, SPAN("big"), fits, 0);
	assert_int_equal(do_commit(s, t, &w2), 0);
	auto_wait struct wait w3;
	t = store_txn_new();
	for (int i = 0; i <= STORE_TXN_OPS_MAX; i++)
		store_txn_get(t, STORE_THEN, SPAN("k"));
	assert_int_equal(do_commit(s, t, &w3), ERR_TOO_LARGE);
	do_close(s);
	s = open_plain();
	struct store_snapshot *snap = store_snapshot(s);
	assert_int_equal(store_get(snap, SPAN("big"))->value->len, STORE_VALUE_MAX);
	store_snapshot_unref(snap);
	do_close(s);
}

/* "k1=v1 k2=v2 " of a range as of a revision. */
static void listing(struct store_snapshot *snap, const char *prefix, const char *from, int64_t rev, char *out, size_t size)
{
	struct store_iter it;
	size_t n = 0;
	out[0] = 0;
	assert_int_equal(store_iter_init(&it, snap, span_of(prefix), span_of(from), rev, NULL), 0);
	uint64_t left = store_iter_left(&it);
	for (const struct store_item *i; (i = store_iter_next(&it)); left--) {
		assert_int_equal(store_iter_left(&it), left - 1);
		n += (size_t)snprintf(out + n, size - n, "%s=%s ", i->key, i->value->data);
	}
	assert_int_equal(left, 0);
	store_iter_done(&it);
}

static void ranges(void **state)
{
	struct store *s = open_plain();
	char all[500];
	do_put(s, "p/a", "1");
	do_put(s, "p/c", "1");
	int64_t r1 = do_put(s, "q", "1");
	do_put(s, "p/a", "2");
	do_delete(s, "p/c");
	int64_t r2 = do_put(s, "p/b", "1");
	do_put(s, "p/c", "9");
	do_put(s, "p/d", "1");
	do_delete(s, "p/d");
	struct store_snapshot *snap = store_snapshot(s);
	listing(snap, "p/", "", 0, all, sizeof(all));
	assert_string_equal(all, "p/a=2 p/b=1 p/c=9 ");
	listing(snap, "p/", "", r2, all, sizeof(all));
	assert_string_equal(all, "p/a=2 p/b=1 ");
	listing(snap, "p/", "", r1, all, sizeof(all));
	assert_string_equal(all, "p/a=1 p/c=1 ");
	listing(snap, "", "", r1, all, sizeof(all));
	assert_string_equal(all, "p/a=1 p/c=1 q=1 ");
	listing(snap, "", "p/b", r1, all, sizeof(all));
	assert_string_equal(all, "p/c=1 q=1 ");
	listing(snap, "p/", "p/c", 0, all, sizeof(all));
	assert_string_equal(all, "p/c=9 ");
	listing(snap, "p/", "z", 0, all, sizeof(all));
	assert_string_equal(all, "");
	listing(snap, "", "", 1, all, sizeof(all)); /* before the first change */
	assert_string_equal(all, "");
	struct store_iter it;
	assert_int_equal(store_iter_init(&it, snap, SPAN(""), SPAN(""), 1000, NULL), -ERR_INVALID_REQUEST);
	auto_wait struct wait w;
	wait_init(&w);
	store_compact(s, r1, NULL, wait_done_fn, &w);
	wait_for(&w);
	assert_int_equal(w.class, 0);
	store_snapshot_unref(snap);
	snap = store_snapshot(s);
	assert_int_equal(store_snapshot_floor(snap), r1);
	assert_int_equal(store_iter_init(&it, snap, SPAN(""), SPAN(""), r1 - 1, NULL), -ERR_EXPIRED);
	listing(snap, "p/", "", r1, all, sizeof(all));
	assert_string_equal(all, "p/a=1 p/c=1 ");
	store_snapshot_unref(snap);
	do_close(s);
}

/* ---- watches */

struct seen {
	char text[4000];
	size_t take; /* events taken a call */
	bool expired, close_now;
	uint64_t serial;
};

static size_t on_events(struct store_watch *w, const struct store_batch *b, void *arg)
{
	struct seen *seen = arg;
	size_t n = strlen(seen->text), i;
	for (i = 0; i < b->n && i < seen->take; i++) {
		const struct store_event *e = b->events[i];
		n += (size_t)snprintf(seen->text + n, sizeof(seen->text) - n, "%s%s@%lld ", e->item ? e->prev ? "~" : "+" : "-",
				      store_event_key(e).ptr, (long long)e->rev);
	}
	seen->serial = b->serial;
	if (seen->close_now)
		store_watch_close(w);
	return i;
}
static void on_expired(struct store_watch *w, void *arg)
{
	((struct seen *)arg)->expired = true;
}
static const struct store_watch_fns fns = { on_events, on_expired };

static atomic_int wakes;
static void on_wake(void *arg)
{
	atomic_fetch_add(&wakes, 1);
}
static void run_all(struct store_port *p)
{
	while (store_port_run(p, 1000))
		;
}

static void watches(void **state)
{
	struct store *s = open_plain();
	struct store_port *p = store_port_open(s, on_wake, NULL);
	struct seen all = { .take = 100 }, one = { .take = 100 }, late = { .take = 100 }, slow = { .take = 1 };
	struct store_watch *w_all, *w_one, *w_late, *w_slow, *w;
	atomic_store(&wakes, 0);
	assert_int_equal(store_watch_open(p, SPAN("p/"), false, 0, &fns, &all, &w_all, NULL), 0);
	assert_int_equal(store_watch_open(p, SPAN("p/b"), true, 0, &fns, &one, &w_one, NULL), 0);
	assert_int_equal(store_watch_open(p, SPAN("p/"), false, 0, &fns, &slow, &w_slow, NULL), 0);
	do_put(s, "p/a", "1"); /* 2 */
	do_put(s, "p/b", "1");
	do_put(s, "p/bb", "1");
	do_put(s, "q", "1");
	do_put(s, "p/a", "2"); /* 6 */
	do_delete(s, "p/b");
	assert_true(atomic_load(&wakes) == 1); /* once until the port runs */
	assert_string_equal(all.text, "");
	run_all(p);
	assert_string_equal(all.text, "+p/a@2 +p/b@3 +p/bb@4 ~p/a@6 -p/b@7 ");
	assert_string_equal(one.text, "+p/b@3 -p/b@7 ");
	assert_string_equal(slow.text, "+p/a@2 ");
	assert_int_equal(store_watch_rev(w_all), 7);
	assert_int_equal(store_watch_rev(w_slow), 2);
	assert_int_equal(store_port_rev(p), 7);
	/* from the past */
	assert_int_equal(store_watch_open(p, SPAN("p/"), false, 4, &fns, &late, &w_late, NULL), 0);
	assert_string_equal(late.text, ""); /* never inside the call */
	store_watch_resume(w_slow);
	run_all(p);
	assert_string_equal(late.text, "+p/bb@4 ~p/a@6 -p/b@7 ");
	assert_string_equal(slow.text, "+p/a@2 +p/b@3 ");
	slow.take = 100;
	store_watch_resume(w_slow);
	run_all(p);
	assert_string_equal(slow.text, all.text);
	/* level again: the very same batch */
	do_put(s, "p/z", "1"); /* 8 */
	run_all(p);
	assert_int_equal(all.serial, late.serial);
	assert_int_equal(all.serial, slow.serial);
	assert_non_null(strstr(slow.text, "+p/z@8"));
	/* from a revision that is still to come */
	struct seen future = { .take = 100 };
	assert_int_equal(store_watch_open(p, SPAN(""), false, 10, &fns, &future, &w, NULL), 0);
	do_put(s, "x", "1"); /* 9 */
	do_put(s, "y", "1"); /* 10 */
	run_all(p);
	assert_string_equal(future.text, "+y@10 ");
	store_watch_close(w);
	/* closing inside the callback */
	one.close_now = true;
	do_put(s, "p/b", "3");
	run_all(p);
	do_put(s, "p/b", "4");
	run_all(p);
	assert_string_equal(one.text, "+p/b@3 -p/b@7 +p/b@11 ");
	/* behind the floor */
	auto_wait struct wait c;
	wait_init(&c);
	store_compact(s, 9, NULL, wait_done_fn, &c);
	wait_for(&c);
	assert_int_equal(c.class, 0);
	assert_int_equal(store_watch_open(p, SPAN(""), false, 9, &fns, &future, &w, NULL), -ERR_EXPIRED);
	assert_int_equal(store_watch_open(p, SPAN(""), false, 10, &fns, &future, &w, NULL), 0);
	store_watch_close(w);
	store_watch_close(w_all);
	store_watch_close(w_late);
	store_watch_close(w_slow);
	run_all(p);
	store_port_close(p);
	do_close(s);
}

static void watch_falls_off(void **state)
{
	struct store *s = do_open(&(struct store_options){ .dir = dir, .history_bytes = 300000 });
	struct store_port *p = store_port_open(s, on_wake, NULL);
	struct seen slow = { .take = 0 }, fast = { .take = 1000 };
	struct store_watch *w_slow, *w_fast, *w;
	static char big[20001];
	memset(big, 'x', 20000);
	assert_int_equal(store_watch_open(p, SPAN("k"), false, 0, &fns, &slow, &w_slow, NULL), 0);
	assert_int_equal(store_watch_open(p, SPAN("k"), false, 0, &fns, &fast, &w_fast, NULL), 0);
	for (int i = 0; i < 400; i++) {
		assert_true(do_put(s, "k", big) > 0);
		run_all(p);
		fast.text[0] = 0;
	}
	assert_false(slow.expired); /* nothing happens for who does not ask */
	assert_false(fast.expired);
	store_watch_resume(w_slow);
	run_all(p);
	assert_true(slow.expired);
	struct store_status st;
	do_sync(s);
	store_status(s, &st);
	assert_true(st.ring_bytes <= 300000 + (1 << 20));
	assert_true(st.floor_rev > 300);
	/* a port whose thread did not run for longer than the ring reaches back */
	for (int i = 0; i < 400; i++)
		assert_true(do_put(s, "k", big) > 0);
	run_all(p);
	assert_true(fast.expired);
	assert_int_equal(store_watch_open(p, SPAN("k"), false, 2, &fns, &fast, &w, NULL), -ERR_EXPIRED);
	store_watch_close(w_fast);
	store_watch_close(w_slow);
	run_all(p);
	store_port_close(p);
	do_close(s);
}

static void calls_through_port(void **state)
{
	struct store *s = open_plain();
	struct store_port *p = store_port_open(s, on_wake, NULL);
	auto_wait struct wait w;
	wait_init(&w);
	struct store_txn *t = store_txn_new();
	auto_bytes struct bytes *v = bytes_of(SPAN("v"));
	store_txn_put(t, STORE_THEN, SPAN("k"), v, 0);
	atomic_store(&wakes, 0);
	store_commit(s, t, p, wait_done_fn, &w);
	while (!atomic_load(&wakes))
		sched_yield();
	assert_false(w.done);
	run_all(p);
	assert_true(w.done);
	assert_int_equal(w.rev, 2);
	store_port_close(p);
	do_close(s);
}

/* ---- leases, time */

static int64_t do_grant(struct store *s, int64_t id, int64_t ttl_ms)
{
	auto_wait struct wait w;
	wait_init(&w);
	store_lease_grant(s, id, ttl_ms, NULL, wait_done_fn, &w);
	wait_for(&w);
	return w.class ? -w.class : w.lease;
}

static int do_lease(struct store *s, int64_t id, bool keep)
{
	auto_wait struct wait w;
	wait_init(&w);
	if (keep)
		store_lease_keep(s, id, NULL, wait_done_fn, &w);
	else
		store_lease_revoke(s, id, NULL, wait_done_fn, &w);
	wait_for(&w);
	return w.class;
}

static void leases(void **state)
{
	struct test_clock clock;
	test_clock_init(&clock, 1000 * NS_PER_S, 1000000 * NS_PER_S);
	struct store_options o = { .dir = dir, .clock = &clock.clock };
	struct store *s = do_open(&o);
	assert_int_equal(do_grant(s, 7, 10000), 7);
	assert_int_equal(do_grant(s, 7, 10000), -ERR_EXISTS);
	assert_int_equal(do_grant(s, 8, 10), -ERR_INVALID_REQUEST);
	int64_t own = do_grant(s, 0, 10000);
	assert_true(own > 0);
	assert_int_equal(do_put_flags(s, "no", "v", false, 99), -ERR_NOT_FOUND);
	assert_true(do_put_flags(s, "a", "v", false, 7) > 0);
	assert_true(do_put_flags(s, "b", "v", false, 7) > 0);
	assert_true(do_put_flags(s, "c", "v", false, own) > 0);
	assert_true(do_put(s, "b", "without") > 0); /* leaves the lease */
	test_clock_advance(&clock, 6 * NS_PER_S);
	assert_int_equal(do_lease(s, own, true), 0);
	test_clock_advance(&clock, 6 * NS_PER_S);
	store_kick(s);
	do_sync(s);
	do_sync(s);
	assert_true(is_value(s, "a", "-"));
	assert_true(is_value(s, "b", "without"));
	assert_true(is_value(s, "c", "v"));
	assert_int_equal(do_lease(s, 7, true), ERR_NOT_FOUND);
	do_close(s);
	s = do_open(&o); /* its whole time again */
	test_clock_advance(&clock, 9 * NS_PER_S);
	store_kick(s);
	do_sync(s);
	assert_true(is_value(s, "c", "v"));
	assert_int_equal(do_lease(s, own, false), 0);
	do_sync(s);
	assert_true(is_value(s, "c", "-"));
	/* more keys than one step takes */
	assert_int_equal(do_grant(s, 5, 1000), 5);
	char key[20];
	for (int i = 0; i < 2500; i++) {
		snprintf(key, sizeof(key), "many/%d", i);
		assert_true(do_put_flags(s, key, "v", true, 5) > 0);
	}
	test_clock_advance(&clock, 2 * NS_PER_S);
	struct store_status st;
	do {
		store_kick(s);
		do_sync(s);
		store_status(s, &st);
	} while (st.leases);
	assert_int_equal(st.items, 1);
	do_close(s);
}

/* ---- durability */

/* Copies the files as they are: what a crash of the process would leave. */
static void copy_dir(const char *to)
{
	char cmd[600];
	for (int i = 0; i < 3; i++) {
		const char *names[] = { "store.db", "store.db-wal", "lock" };
		snprintf(cmd, sizeof(cmd), "%s/%s", dir, names[i]);
		auto_buf struct buf b = { 0 };
		if (io_read_file(AT_FDCWD, cmd, &b, 1 << 28, NULL) < 0)
			continue;
		snprintf(cmd, sizeof(cmd), "%s/%s", to, names[i]);
		assert_int_equal(io_write_file(AT_FDCWD, cmd, buf_span(&b), 0600, NULL), 0);
	}
}

static void volatile_writes(void **state)
{
	struct store *s = open_plain();
	struct store_status before, st;
	int64_t durable = do_put(s, "lease", "1");
	int64_t first = do_put_flags(s, "lease", "2", true, 0); /* reserves a block */
	assert_int_equal(first, durable + 1);
	do_sync(s);
	store_status(s, &before);
	for (int i = 0; i < 100; i++)
		assert_true(do_put_flags(s, "lease", "3", true, 0) > 0);
	assert_true(do_put_flags(s, "event", "new", true, 0) > 0);
	int64_t last = do_put_flags(s, "gone", "x", true, 0);
	last = do_delete(s, "gone"); /* was never on disk: nothing is written */
	do_sync(s);
	store_status(s, &st);
	assert_int_equal(st.syncs, before.syncs);
	assert_true(st.dirty_bytes > 0);
	assert_true(is_value(s, "lease", "3"));
	char copy[200];
	dir_make(copy, sizeof(copy));
	copy_dir(copy);
	do_close(s); /* clean: everything stays */
	s = open_plain();
	assert_true(is_value(s, "lease", "3"));
	assert_true(is_value(s, "event", "new"));
	assert_int_equal(do_sync(s), last);
	do_close(s);
	/* the crash: the last durable version, and no revision again */
	s = do_open(&(struct store_options){ .dir = copy });
	assert_true(is_value(s, "lease", "1"));
	assert_true(is_value(s, "event", "-"));
	assert_true(do_put(s, "next", "1") > last);
	do_close(s);
	dir_remove(copy);
	/* opening and closing without a change writes nothing */
	struct stat a, b;
	char path[300];
	snprintf(path, sizeof(path), "%s/store.db", dir);
	assert_int_equal(stat(path, &a), 0);
	do_close(open_plain());
	assert_int_equal(stat(path, &b), 0);
	assert_int_equal(a.st_mtim.tv_nsec, b.st_mtim.tv_nsec);
	assert_int_equal(a.st_mtim.tv_sec, b.st_mtim.tv_sec);
}

static void flush_by_time(void **state)
{
	struct test_clock clock;
	test_clock_init(&clock, 1000 * NS_PER_S, 1000000 * NS_PER_S);
	struct store *s = do_open(&(struct store_options){ .dir = dir, .clock = &clock.clock });
	do_put(s, "k", "durable");
	do_put_flags(s, "k", "volatile", true, 0);
	test_clock_advance(&clock, 3601 * NS_PER_S);
	store_kick(s);
	do_sync(s);
	do_sync(s);
	struct store_status st;
	store_status(s, &st);
	assert_int_equal(st.dirty_bytes, 0);
	char copy[200];
	dir_make(copy, sizeof(copy));
	copy_dir(copy);
	struct store *c = do_open(&(struct store_options){ .dir = copy });
	assert_true(is_value(c, "k", "volatile"));
	do_close(c);
	dir_remove(copy);
	/* One key alone that is renewed and renewed has its hour, too. */
	uint64_t syncs = st.syncs;
	for (int minute = 0; minute < 60; minute++) {
		do_put_flags(s, "k", minute ? "renewed" : "first", true, 0);
		store_status(s, &st);
		assert_int_equal(st.syncs, syncs);
		test_clock_advance(&clock, 60 * NS_PER_S);
	}
	do_put_flags(s, "k", "late", true, 0);
	do_sync(s);
	store_status(s, &st);
	assert_int_equal(st.syncs, syncs + 1);
	assert_int_equal(st.dirty_bytes, 0);
	do_close(s);
}

/* What a power cut would leave: the value of key in a copy of the folder as it is now. */
static bool is_on_disk(const char *key, const char *want)
{
	char copy[200];
	dir_make(copy, sizeof(copy));
	copy_dir(copy);
	struct store *s = do_open(&(struct store_options){ .dir = copy });
	bool same = is_value(s, key, want);
	do_close(s);
	dir_remove(copy);
	return same;
}

static struct store_status after(struct store *s, struct test_clock *clock, int64_t seconds)
{
	struct store_status st;
	test_clock_advance(clock, seconds * NS_PER_S);
	store_kick(s);
	do_sync(s);
	do_sync(s);
	store_status(s, &st);
	return st;
}

static void fleeting_writes(void **state)
{
	struct test_clock clock;
	test_clock_init(&clock, 1000 * NS_PER_S, INT64_C(1700000000) * NS_PER_S);
	struct store_options o = { .dir = dir, .clock = &clock.clock, .fleeting_ms = 3600 * 1000 };
	struct store *s = do_open(&o);
	struct store_status before, st;
	do_put(s, "was", "durable");
	do_put_flags(s, "lease", "1", true, 0); /* from now on the hour runs */
	before = after(s, &clock, 5);
	do_put_dirt(s, "event", "1", DIRT_FLEETING, 0);
	do_put_dirt(s, "was", "told again", DIRT_FLEETING, 0);
	do_put_dirt(s, "late", "1", DIRT_FLEETING, 0);
	do_put_dirt(s, "both", "1", DIRT_FLEETING, 0);
	do_put_flags(s, "both", "2", true, 0); /* how it is kept is the last write's say */
	st = after(s, &clock, 3590);
	assert_int_equal(st.syncs, before.syncs);
	st = after(s, &clock, 10); /* the flush: all but what is over before the next one */
	assert_int_equal(st.syncs, before.syncs + 1);
	assert_int_equal(st.dirty_bytes, strlen("event1wastold againlate1"));
	assert_true(is_on_disk("lease", "1"));
	assert_true(is_on_disk("both", "2"));
	assert_true(is_on_disk("was", "durable"));
	assert_true(is_on_disk("event", "-"));
	/* its end is nobody's business but ours; where a record stands it is written */
	assert_true(do_delete(s, "event") > 0);
	st = after(s, &clock, 60);
	assert_int_equal(st.syncs, before.syncs + 1);
	assert_true(do_delete(s, "was") > 0);
	st = after(s, &clock, 60);
	assert_int_equal(st.syncs, before.syncs + 2);
	assert_true(is_on_disk("was", "-"));
	assert_int_equal(st.dirty_bytes, strlen("late1"));
	/* Who is late by an interval is not waited for any more. */
	before = after(s, &clock, 0);
	st = after(s, &clock, 3400);
	assert_int_equal(st.syncs, before.syncs);
	assert_true(is_on_disk("late", "-"));
	st = after(s, &clock, 100);
	assert_int_equal(st.syncs, before.syncs + 1);
	assert_int_equal(st.dirty_bytes, 0);
	assert_true(is_on_disk("late", "1"));
	/* A backup and a clean close have everything. */
	auto_wait struct wait w;
	wait_init(&w);
	do_put_dirt(s, "event", "2", DIRT_FLEETING, 0);
	char file[300], folder[300];
	snprintf(file, sizeof(file), "%s/backup", dir);
	snprintf(folder, sizeof(folder), "%s/restored", dir);
	store_backup(s, file, NULL, wait_done_fn, &w);
	wait_for(&w);
	assert_int_equal(w.class, 0);
	assert_int_equal(store_restore(file, folder, NULL), 0);
	struct store *r = do_open(&(struct store_options){ .dir = folder });
	assert_true(is_value(r, "event", "2"));
	do_close(r);
	do_put_dirt(s, "event", "3", DIRT_FLEETING, 0);
	do_close(s);
	/* So has the flush of too much. And what stands for longer than an interval is flushed as long as it does. */
	o.volatile_bytes = 1000;
	o.fleeting_ms = 2 * 3600 * 1000;
	s = do_open(&o);
	assert_true(is_value(s, "event", "3"));
	do_put_dirt(s, "event", "4", DIRT_FLEETING, 0);
	st = after(s, &clock, 3599);
	assert_true(is_on_disk("event", "3"));
	do_put_dirt(s, "young", "1", DIRT_FLEETING, 0);
	st = after(s, &clock, 2);
	assert_true(is_on_disk("young", "1"));
	assert_true(is_on_disk("event", "3"));
	char much[1200];
	memset(much, 'm', sizeof(much));
	much[sizeof(much) - 1] = 0;
	do_put_dirt(s, "much", much, DIRT_FLEETING, 0);
	st = after(s, &clock, 0);
	assert_int_equal(st.dirty_bytes, 0);
	assert_true(is_on_disk("event", "4"));
	do_close(s);
	/* Without a length of life it is a volatile one. */
	o.fleeting_ms = 0;
	s = do_open(&o);
	do_put_dirt(s, "event", "5", DIRT_FLEETING, 0);
	(void)after(s, &clock, 3601);
	assert_true(is_on_disk("event", "5"));
	do_close(s);
}

/* Bytes that this process has handed to write(2) and its like. */
static int64_t written_so_far(void)
{
	auto_buf struct buf io = {};
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/io", &io, 4096, NULL), 0);
	const char *at = strstr(buf_cstr(&io), "wchar: ");
	assert_non_null(at);
	return strtoll(at + 7, NULL, 10);
}

/* A cluster at rest: two leaders renew every other second, a node every ten, for a day. GOALS row 16: at most 1 MB. */
static void a_day_of_renewals(void **state)
{
	struct test_clock clock;
	test_clock_init(&clock, 1000 * NS_PER_S, INT64_C(1700000000) * NS_PER_S);
	struct store *s = do_open(&(struct store_options){ .dir = dir, .clock = &clock.clock });
	char value[701];
	memset(value, 'v', 700);
	value[700] = 0;
	for (int i = 0; i < 300; i++) { /* what a cluster holds */
		char key[40];
		snprintf(key, sizeof(key), "/registry/object/%d", i);
		assert_true(do_put(s, key, value) > 0);
	}
	static const char *const leases[] = { "/registry/lease/cm", "/registry/lease/scheduler", "/registry/lease/node" };
	for (size_t i = 0; i < ARRAY_LEN(leases); i++)
		assert_true(do_put(s, leases[i], value) > 0);
	int64_t before = written_so_far();
	for (int t = 0; t < 86400; t += 2) {
		test_clock_advance(&clock, 2 * NS_PER_S);
		assert_true(do_put_flags(s, leases[0], value, true, 0) > 0);
		assert_true(do_put_flags(s, leases[1], value, true, 0) > 0);
		if (t % 10 == 0)
			assert_true(do_put_flags(s, leases[2], value, true, 0) > 0);
	}
	int64_t bytes = written_so_far() - before;
	print_message("a day of renewals: %lld bytes written\n", (long long)bytes);
	assert_in_range(bytes, 1, 1000000);
	do_close(s);
}

/* Such a day that begins with a start of the cluster, whose Events live an hour, as upstream's: never written. */
static void a_day_after_a_start(void **state)
{
	enum { EVENTS = 80 };
	struct test_clock clock;
	test_clock_init(&clock, 1000 * NS_PER_S, INT64_C(1700000000) * NS_PER_S);
	struct store *s = do_open(&(struct store_options){ .dir = dir, .clock = &clock.clock, .fleeting_ms = 3600 * 1000 });
	char value[1201], key[60];
	memset(value, 'v', 1200);
	value[1200] = 0;
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "/registry/object/%d", i);
		assert_true(do_put(s, key, value) > 0);
	}
	assert_true(do_put(s, "/registry/lease/node", value) > 0);
	int64_t before = written_so_far();
	for (int t = 0; t < 86400; t += 10) {
		test_clock_advance(&clock, 10 * NS_PER_S);
		assert_true(do_put_flags(s, "/registry/lease/node", value, true, 0) > 0);
		for (int i = 0; i < EVENTS; i++) {
			snprintf(key, sizeof(key), "/registry/events/default/pod-%d.%08x", i % 10, i * 7919);
			if (t / 10 == i / 14)
				assert_true(do_put_dirt(s, key, value, DIRT_FLEETING, 0) > 0);
		}
		if (t == 3780) { /* src/apiserver/repair.c, whose passes are 180 s apart */
			auto_wait struct wait w;
			struct store_txn *over = store_txn_new();
			store_txn_delete_prefix(over, STORE_THEN, SPAN("/registry/events/"));
			assert_int_equal(do_commit(s, over, &w), 0);
		}
	}
	int64_t bytes = written_so_far() - before;
	print_message("a day after a start: %lld bytes written\n", (long long)bytes);
	assert_in_range(bytes, 1, 350000); /* 190,000 more with its Events written once, and their end */
	do_close(s);
}

static int64_t log_size(void)
{
	char path[300];
	struct stat st;
	snprintf(path, sizeof(path), "%s/store.db-wal", dir);
	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* The zeros ahead of the log's end: much while there is much to write, little at rest, and never more for many small records. */
static void the_log_is_laid_out(void **state)
{
	struct test_clock clock;
	test_clock_init(&clock, 1000 * NS_PER_S, INT64_C(1700000000) * NS_PER_S);
	struct store *s = do_open(&(struct store_options){ .dir = dir, .clock = &clock.clock });
	char key[20], value[6001];
	memset(value, 'v', 6000);
	value[6000] = 0;
	do_put(s, "first", value);
	int64_t size = log_size();
	assert_in_range(size, 256 << 10, 320 << 10);
	while (log_size() == size)
		do_put(s, "more", value);
	assert_in_range(log_size(), 2 * size, 2 * size + (64 << 10));
	/* at rest: hundreds of small deletions together, then one write an hour */
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "small/%d", i);
		do_put_flags(s, key, "v", true, 0);
	}
	(void)after(s, &clock, 3601);
	size = log_size();
	auto_wait struct wait w;
	struct store_txn *t = store_txn_new();
	store_txn_delete_prefix(t, STORE_THEN, SPAN("small/"));
	assert_int_equal(do_commit(s, t, &w), 0);
	assert_int_equal(w.count, 300);
	assert_in_range(log_size(), size, size + (128 << 10));
	int64_t rest = log_size();
	for (int i = 0; i < 40; i++) {
		(void)after(s, &clock, 3600);
		size = log_size();
		do_put(s, "hourly", value);
		assert_in_range(log_size(), size, size + size / 2); /* not doubled; what thins older records may write meanwhile */
	}
	assert_in_range(log_size(), rest, rest + 40 * (64 << 10));
	do_close(s);
}

static void history(void **state)
{
	struct test_clock clock;
	test_clock_init(&clock, 1000 * NS_PER_S, INT64_C(1700000000) * NS_PER_S);
	struct store_options o = { .dir = dir, .clock = &clock.clock };
	struct store *s = do_open(&o);
	char value[20];
	int64_t revs[10];
	for (int i = 0; i < 5; i++) {
		snprintf(value, sizeof(value), "v%d", i);
		revs[i] = do_put(s, "p/k", value);
		test_clock_advance(&clock, 5 * NS_PER_S);
	}
	do_put(s, "p/other", "o");
	int64_t deleted = do_delete(s, "p/k");
	for (int round = 0; round < 2; round++) { /* the second time after a restart */
		auto_wait struct wait w;
		wait_init(&w);
		store_history(s, SPAN("p/k"), 0, 0, NULL, wait_done_fn, &w);
		wait_for(&w);
		assert_int_equal(w.class, 0);
		assert_int_equal(w.n_versions, 6);
		assert_int_equal(w.versions[0].rev, deleted);
		assert_null(w.versions[0].value);
		assert_int_equal(w.versions[1].rev, revs[4]);
		assert_string_equal(w.versions[5].value->data, "v0");
		auto_wait struct wait page;
		wait_init(&page);
		store_history(s, SPAN("p/k"), 2, 0, NULL, wait_done_fn, &page);
		wait_for(&page);
		assert_true(page.more);
		auto_wait struct wait page2;
		wait_init(&page2);
		store_history(s, SPAN("p/k"), 2, page.next, NULL, wait_done_fn, &page2);
		wait_for(&page2);
		assert_int_equal(page2.versions[0].rev, revs[3]);
		auto_wait struct wait at;
		wait_init(&at);
		store_history_at(s, SPAN("p/"), revs[2], 0, 0, NULL, wait_done_fn, &at);
		wait_for(&at);
		assert_int_equal(at.n_versions, 1);
		assert_string_equal(at.versions[0].value->data, "v2");
		auto_wait struct wait when;
		wait_init(&when);
		store_history_at(s, SPAN("p/"), 0, INT64_C(1700000000000) + 6000, 0, NULL, wait_done_fn, &when);
		wait_for(&when);
		assert_int_equal(when.n_versions, 1);
		assert_string_equal(when.versions[0].value->data, "v1");
		do_close(s);
		s = do_open(&o);
	}
	do_close(s);
}

/* A change every second for half an hour, then time passes: what stood at full minutes stays. */
static void history_thins(void **state)
{
	struct test_clock clock;
	int64_t start_s = 1700000040; /* a full minute */
	test_clock_init(&clock, 1000 * NS_PER_S, start_s * NS_PER_S);
	struct store_options o = { .dir = dir, .clock = &clock.clock };
	struct store *s = do_open(&o);
	char value[20];
	for (int i = 0; i < 1800; i++) {
		snprintf(value, sizeof(value), "second-%d", i);
		assert_true(do_put(s, "k", value) > 0);
		test_clock_advance(&clock, NS_PER_S);
	}
	struct store_status st;
	for (int i = 0; i < 50; i++) { /* idle moments */
		test_clock_advance(&clock, 60 * NS_PER_MS);
		store_kick(s);
		do_sync(s);
		test_clock_advance(&clock, 60 * NS_PER_MS);
		store_kick(s);
		usleep(1000);
	}
	test_clock_advance(&clock, 700 * NS_PER_S);
	do_put(s, "k", "end");
	for (int i = 0; i < 4000; i++) {
		test_clock_advance(&clock, 60 * NS_PER_MS);
		store_kick(s);
		usleep(1000);
		do_sync(s);
		store_status(s, &st);
		if (st.undo_rows < 100)
			break;
	}
	assert_true(st.undo_rows >= 29 && st.undo_rows < 700);
	for (int round = 0; round < 2; round++) {
		for (int minute = 1; minute < 10; minute++) {
			auto_wait struct wait w;
			wait_init(&w);
			store_history_at(s, SPAN(""), 0, (start_s + minute * 60) * 1000, 0, NULL, wait_done_fn, &w);
			wait_for(&w);
			assert_int_equal(w.n_versions, 1);
			/* the change of that very second, or of the one before: seconds are the resolution */
			int64_t second;
			assert_true(span_to_i64(span_from(bytes_span(w.versions[0].value), 7), &second));
			assert_in_range(second, minute * 60 - 1, minute * 60);
		}
		do_close(s);
		s = do_open(&o);
	}
	do_close(s);
}

static void backup_and_restore(void **state)
{
	struct store *s = open_plain();
	char key[30], file[300], other[200];
	static char big[3001];
	memset(big, 'x', 3000);
	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "k%04d", i);
		assert_true(do_put_flags(s, key, big, i % 2, 0) > 0);
	}
	int64_t vol = do_put_flags(s, "v", "volatile", true, 0);
	snprintf(file, sizeof(file), "%s/backup", dir);
	auto_wait struct wait w;
	wait_init(&w);
	store_backup(s, file, NULL, wait_done_fn, &w);
	for (int i = 0; i < 50; i++) /* goes on meanwhile */
		assert_true(do_put(s, "during", "x") > 0);
	wait_for(&w);
	assert_string_equal(w.msg, "");
	int64_t last = do_put(s, "after", "x");
	auto_wait struct wait bad;
	wait_init(&bad);
	store_backup(s, "/nonexistent/dir/file", NULL, wait_done_fn, &bad);
	wait_for(&bad);
	assert_int_equal(bad.class, ERR_NOT_FOUND);
	do_close(s);

	dir_make(other, sizeof(other));
	char into[300];
	snprintf(into, sizeof(into), "%s/in/here", other);
	auto_err struct err err = ERR_INIT;
	if (store_restore(file, into, &err) < 0)
		fail_msg("%s", err_msg(&err));
	assert_int_equal(store_restore(file, into, NULL), -ERR_EXISTS);
	s = do_open(&(struct store_options){ .dir = into });
	assert_true(is_value(s, "k0000", big));
	assert_true(is_value(s, "v", "volatile"));
	char value[100];
	assert_int_equal(do_get(s, "v", value, sizeof(value)), vol);
	assert_true(do_put(s, "new", "1") > last + 1000000);
	do_close(s);
	/* a damaged backup is refused and leaves nothing */
	sqlite3 *db;
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "UPDATE record SET value = 'y' WHERE id = 17", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	snprintf(into, sizeof(into), "%s/second", other);
	assert_int_equal(store_restore(file, into, NULL), -ERR_CORRUPT);
	snprintf(into, sizeof(into), "%s/second/store.db", other);
	assert_int_not_equal(access(into, F_OK), 0);
	dir_remove(other);
}

static void damage_is_named(void **state)
{
	struct store *s = open_plain();
	static char big[3001];
	memset(big, 'x', 3000);
	char key[30], path[300];
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		assert_true(do_put(s, key, big) > 0);
	}
	do_close(s);
	snprintf(path, sizeof(path), "%s/store.db", dir);
	auto_buf struct buf whole = { 0 };
	assert_int_equal(io_read_file(AT_FDCWD, path, &whole, 1 << 28, NULL), 0);
	ptrdiff_t at = span_find(buf_span(&whole), SPAN("key-199")); /* of the last record: earlier ones may have moved */
	assert_true(at > 0);
	struct {
		off_t at;
		const char *bytes;
		const char *says;
	} rows[] = {
		{ (off_t)at + 100, "y", "its sum does not match" },     /* one byte of one value */
		{ (off_t)(at / 8192 - 5) * 8192, "\377\377\377\377\377\377\377\377", "is damaged" }, /* a page header */
		{ 0, "not a database", "damaged" },
		{ 68, "zzzz", "not a store of ours" },  /* application id */
		{ 60, "\0\0\0\11", "newer version" },   /* schema */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(io_write_file(AT_FDCWD, path, buf_span(&whole), 0600, NULL), 0);
		int fd = open(path, O_RDWR);
		size_t n = i == 4 ? 4 : strlen(rows[i].bytes);
		assert_int_equal(pwrite(fd, rows[i].bytes, n, rows[i].at), (ssize_t)n);
		close(fd);
		auto_err struct err err = ERR_INIT;
		struct store *bad = NULL;
		if (store_open(&(struct store_options){ .dir = dir }, &bad, &err) == 0)
			fail_msg("row %zu: opened", i);
		if (!strstr(err_msg(&err), rows[i].says))
			fail_msg("row %zu: have \"%s\", want \"%s\"", i, err_msg(&err), rows[i].says);
		assert_int_equal(err.class, i == 4 ? ERR_UNSUPPORTED : ERR_CORRUPT);
	}
	/* a record that is missing as a whole */
	assert_int_equal(io_write_file(AT_FDCWD, path, buf_span(&whole), 0600, NULL), 0);
	sqlite3 *db;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "DELETE FROM record WHERE id = 17", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	auto_err struct err err = ERR_INIT;
	struct store *bad = NULL;
	assert_int_equal(store_open(&(struct store_options){ .dir = dir }, &bad, &err), -ERR_CORRUPT);
	assert_non_null(strstr(err_msg(&err), "199 records"));
	assert_non_null(strstr(err_msg(&err), "knarr restore"));
}

static void one_process(void **state)
{
	struct store *s = open_plain(), *second = NULL;
	auto_err struct err err = ERR_INIT;
	assert_int_equal(store_open(&(struct store_options){ .dir = dir }, &second, &err), -ERR_IN_USE);
	char pid[20];
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	assert_non_null(strstr(err_msg(&err), pid));
	do_close(s);
	do_close(open_plain());
}

static void quota(void **state)
{
	struct store *s = do_open(&(struct store_options){ .dir = dir, .quota_bytes = 2 << 20 });
	static char big[10001];
	memset(big, 'x', 10000);
	char key[30];
	int n = 0;
	for (; n < 1000; n++) {
		snprintf(key, sizeof(key), "k%d", n);
		int64_t rev = do_put(s, key, big);
		if (rev == -ERR_NO_SPACE)
			break;
		assert_true(rev > 0);
	}
	assert_in_range(n, 100, 210);
	/* reads and deletes go on, and after them puts: history gives way */
	assert_true(is_value(s, "k0", big));
	assert_true(do_delete(s, "k0") > 0);
	for (int i = 1; i < 20; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_true(do_delete(s, key) > 0);
	}
	for (int i = 0; i < 300; i++)
		assert_true(do_put(s, "same", big) > 0);
	do_close(s);
	do_close(open_plain());
}

static void shrinks(void **state)
{
	struct store *s = open_plain();
	static char big[10001];
	memset(big, 'x', 10000);
	char key[30];
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_true(do_put(s, key, big) > 0);
	}
	struct store_status st;
	do_sync(s);
	auto_wait struct wait w;
	struct store_txn *t = store_txn_new();
	store_txn_delete_prefix(t, STORE_THEN, SPAN("k"));
	assert_int_equal(do_commit(s, t, &w), 0);
	assert_int_equal(w.count, 1000);
	for (int i = 0; i < 3000; i++) {
		usleep(20000);
		store_kick(s);
		store_status(s, &st);
		if (st.undo_bytes < 2 << 20 && st.disk_bytes < 4 << 20)
			break;
	}
	assert_true(st.disk_bytes < 4 << 20); /* 1 MB of history stays */
	do_close(s);
	char path[300];
	snprintf(path, sizeof(path), "%s/store.db", dir);
	struct stat file;
	assert_int_equal(stat(path, &file), 0);
	assert_true(file.st_size < 4 << 20);
	s = open_plain();
	assert_true(do_put(s, "k", "v") > 1000);
	do_close(s);
}

/* The plain sqlite3 program reads it, also while it is in use. */
static void inspectable(void **state)
{
	struct store *s = open_plain();
	do_put(s, "/registry/pods/a", "{\"x\":1}");
	do_put(s, "/registry/pods/a", "{\"x\":2}");
	do_put(s, "/registry/pods/b", "{}");
	do_delete(s, "/registry/pods/b");
	char path[300];
	snprintf(path, sizeof(path), "%s/store.db", dir);
	sqlite3 *db;
	sqlite3_stmt *st;
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT key, value ->> '$.x', rev FROM current", -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(st, 0), "/registry/pods/a");
	assert_int_equal(sqlite3_column_int(st, 1), 2);
	assert_int_equal(sqlite3_column_int64(st, 2), 3);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	sqlite3_finalize(st);
	sqlite3_close(db);
	do_close(s);
}

static atomic_int detached;
static void on_detach(void *p)
{
	atomic_fetch_add(&detached, 1);
	free(p);
}

static void attaching(void **state)
{
	struct store *s = do_open(&(struct store_options){ .dir = dir, .detach = on_detach });
	do_put(s, "k", "v");
	struct store_snapshot *snap = store_snapshot(s);
	const struct store_item *it = store_get(snap, SPAN("k"));
	char *first = mem_dup("one", 3), *second = mem_dup("two", 3);
	assert_null(store_item_attached(it));
	assert_ptr_equal(store_item_attach(s, it, first), first);
	assert_ptr_equal(store_item_attach(s, it, second), first);
	assert_int_equal(atomic_load(&detached), 1);
	assert_string_equal(store_item_attached(it), "one");
	store_snapshot_unref(snap);
	do_close(s);
	assert_int_equal(atomic_load(&detached), 2);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(revisions), T(transactions), T(limits), T(ranges), T(watches), T(watch_falls_off), T(calls_through_port),
		T(leases), T(volatile_writes), T(flush_by_time), T(fleeting_writes), T(a_day_of_renewals), T(a_day_after_a_start),
		T(the_log_is_laid_out), T(history),
		T(history_thins), T(backup_and_restore),
		T(damage_is_named), T(one_process), T(quota), T(shrinks), T(inspectable), T(attaching),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
