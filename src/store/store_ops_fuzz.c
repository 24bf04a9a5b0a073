/* Sequences of operations against a model that remembers every revision: puts, deletes, transactions, volatile writes, reads
 * of old revisions, compaction, snapshots held across changes, restarts, passing disk errors. */
#define STORE_FUZZ
#include <stdint.h>
#include "store/store_test_util.h"
#include "store/store_fault_vfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KEYS 16
#define STEPS 120

struct world {
	int64_t rev;
	int64_t value[KEYS], mod[KEYS]; /* 0 = absent */
};
static struct world worlds[STEPS + 2]; /* one a revision that changed something */
static int n_worlds;
static char dir[200];

static void leave(void)
{
	dir_remove(dir);
}

static void compare(struct store_snapshot *snap, int64_t rev, const struct world *w)
{
	struct store_iter it;
	auto_err struct err err = ERR_INIT;
	if (store_iter_init(&it, snap, SPAN("k"), SPAN_EMPTY, rev, &err) < 0)
		fail_msg("%s\n", err_msg(&err));
	for (int k = 0; k < KEYS; k++) {
		if (!w->mod[k])
			continue;
		const struct store_item *item = store_iter_next(&it);
		if (!item || item->key[1] != 'a' + k || item->rev != w->mod[k] ||
		    memcmp(item->value->data, &w->value[k], sizeof(w->value[k])) != 0)
			fail_msg("key %c at revision %lld differs\n", 'a' + k, (long long)rev);
	}
	if (store_iter_next(&it))
		fail_msg("a key too many at revision %lld\n", (long long)rev);
	store_iter_done(&it);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!dir[0]) {
		dir_make(dir, sizeof(dir));
		atexit(leave);
	}
	fv_reset();
	struct store_options o = { .dir = dir, .vfs = "fault", .wal_pages = 4 };
	struct store *s = do_open(&o);
	struct store_snapshot *held = NULL;
	int held_at = 0;
	int64_t next_value = 0;
	bool failed = false; /* a failed write may come back with a restart: none after that */
	n_worlds = 1;
	worlds[0] = (struct world){ .rev = 1 };
	for (size_t i = 0; i + 1 < size && n_worlds <= STEPS && i < 2 * STEPS; i += 2) {
		struct world *now = &worlds[n_worlds - 1];
		uint8_t what = data[i] % 16, arg = data[i + 1];
		int k = arg % KEYS, n = 1 + arg / 64;
		if (what < 10) { /* 0-4 put, 5-7 delete, 8 volatile or fleeting put, 9 put during a passing error; conditional in part */
			struct world next = *now;
			struct store_txn *t = store_txn_new();
			bool want = true, changed = false;
			if (arg & 16) {
				char key[3] = { 'k', (char)('a' + k), 0 };
				int64_t guess = arg & 32 ? now->mod[k] : now->rev;
				want = guess == now->mod[k];
				store_txn_if(t, span_of(key), STORE_REV, STORE_EQUAL, guess);
			}
			for (int c = 0; c < n; c++) {
				int at = (k + c) % KEYS;
				char key[3] = { 'k', (char)('a' + at), 0 };
				if (what >= 5 && what < 8) {
					changed |= next.mod[at] != 0;
					next.mod[at] = next.value[at] = 0;
					store_txn_delete(t, STORE_THEN, span_of(key));
					continue;
				}
				changed = true;
				next.value[at] = ++next_value;
				next.mod[at] = INT64_MAX; /* to be known */
				auto_bytes struct bytes *b = bytes_alloc(8 + (size_t)arg * 13);
				memset(b->data, 'x', b->len);
				memcpy(b->data, &next_value, sizeof(next_value));
				store_txn_put(t, STORE_THEN, span_of(key), b, 0);
			}
			if (what == 8)
				(arg & 64 ? store_txn_fleeting : store_txn_volatile)(t);
			if (what == 9)
				fv_arm(DISK_ERROR, 1 + arg % 7, 1);
			auto_wait struct wait w;
			int class = do_commit(s, t, &w);
			if (what == 9)
				fv_arm(DISK_NONE, 0, 1);
			if (class) {
				if (what != 9)
					fail_msg("refused: %s\n", w.msg);
				failed = true;
			} else if (w.held != want) {
				fail_msg("the compare said %d\n", w.held);
			} else if (want && changed) {
				if (w.rev <= now->rev)
					fail_msg("revision %lld again\n", (long long)w.rev);
				for (int at = 0; at < KEYS; at++)
					if (next.mod[at] == INT64_MAX)
						next.mod[at] = w.rev;
				next.rev = w.rev;
				worlds[n_worlds++] = next;
				failed = failed && what != 0 && what != 9; /* a durable success settles it */
			}
		} else if (what == 10) {
			struct store_snapshot *snap = store_snapshot(s);
			struct world *w = &worlds[arg % n_worlds];
			if (w->rev >= store_snapshot_floor(snap))
				compare(snap, w->rev, w);
			store_snapshot_unref(snap);
		} else if (what == 11) {
			if (held)
				compare(held, 0, &worlds[held_at]);
			store_snapshot_unref(held);
			held = arg & 1 ? store_snapshot(s) : NULL;
			held_at = n_worlds - 1;
		} else if (what == 12) {
			auto_wait struct wait w;
			wait_init(&w);
			store_compact(s, worlds[arg % n_worlds].rev, NULL, wait_done_fn, &w);
			wait_for(&w);
		} else if (what == 13 && !failed) {
			store_snapshot_unref(held);
			held = NULL;
			do_close(s);
			s = do_open(&o);
		}
		struct store_snapshot *snap = store_snapshot(s);
		compare(snap, 0, &worlds[n_worlds - 1]);
		if (!store_tree_check(snap->root, true))
			abort();
		store_snapshot_unref(snap);
	}
	if (held)
		compare(held, 0, &worlds[held_at]);
	store_snapshot_unref(held);
	do_close(s);
	return 0;
}
