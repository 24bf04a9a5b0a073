/* The tree against a sorted array, with snapshots held at random; what is freed must be exactly what no snapshot sees:
 * the address sanitizer watches the one side, the count of live snapshots and its leak check the other. */
#include "store/store_test_util.h"

#define UNIVERSE 3000

static struct state *state_new(void)
{
	struct state *st = mem_new(struct state);
	store_state_init(st, 1);
	return st;
}

static struct store_item *numbered(int i, int64_t rev)
{
	char key[16];
	snprintf(key, sizeof(key), "k%05d", i);
	auto_bytes struct bytes *v = bytes_new(&rev, sizeof(rev));
	struct store_item *it = store_item_new(span_of(key), v);
	it->rev = it->create_rev = rev;
	it->version = 1;
	return it;
}

struct held {
	struct store_snapshot *snap;
	int64_t revs[UNIVERSE]; /* 0 = absent */
};

static void check(struct store_snapshot *snap, const int64_t *revs)
{
	struct store_iter it;
	assert_int_equal(store_iter_init(&it, snap, SPAN("k"), SPAN_EMPTY, 0, NULL), 0);
	uint64_t n = 0;
	for (int i = 0; i < UNIVERSE; i++) {
		if (!revs[i])
			continue;
		n++;
		const struct store_item *item = store_iter_next(&it);
		assert_non_null(item);
		char key[16];
		snprintf(key, sizeof(key), "k%05d", i);
		assert_string_equal(item->key, key);
		assert_int_equal(item->rev, revs[i]);
	}
	assert_null(store_iter_next(&it));
	store_iter_done(&it);
	assert_int_equal(store_count(snap, SPAN("k")), n);
	assert_int_equal(store_count(snap, SPAN("")), n);
	uint64_t tens = 0;
	for (int i = 1000; i < 2000; i++)
		tens += revs[i] != 0;
	assert_int_equal(store_count(snap, SPAN("k01")), tens);
	assert_true(store_tree_check(snap->root, true));
}

static void random_work(void **unused)
{
	struct state *st = state_new();
	struct rng rng;
	static struct held held[20];
	static int64_t now[UNIVERSE], next[UNIVERSE];
	rng_init(&rng, 42);
	int64_t rev = 1;
	for (int batch = 0; batch < 2000; batch++) {
		memcpy(next, now, sizeof(now));
		store_state_begin(st);
		/* grow, shrink, and grow again */
		unsigned putting = batch < 700 ? 80 : batch < 1400 ? 20 : 60;
		for (int i = (int)rng_below(&rng, 30); i >= 0; i--) {
			int k = (int)rng_below(&rng, UNIVERSE);
			rev++;
			if (rng_below(&rng, 100) < putting) {
				store_state_put(st, numbered(k, rev));
				next[k] = rev;
			} else {
				char key[16];
				snprintf(key, sizeof(key), "k%05d", k);
				assert_int_equal(store_state_delete(st, span_of(key), rev), next[k] != 0);
				next[k] = 0;
			}
		}
		if (rng_below(&rng, 10) == 0) {
			store_state_drop(st);
		} else {
			store_state_ring_trim(st, 0, 4096, 0);
			store_state_commit(st, rev, 1);
			memcpy(now, next, sizeof(now));
		}
		struct held *h = &held[rng_below(&rng, ARRAY_LEN(held))];
		if (h->snap) {
			check(h->snap, h->revs);
			store_snapshot_unref(h->snap);
			h->snap = NULL;
		} else {
			h->snap = store_state_acquire(st);
			memcpy(h->revs, now, sizeof(now));
		}
		if (batch % 50 == 0) {
			struct store_snapshot *s = store_state_acquire(st);
			check(s, now);
			store_snapshot_unref(s);
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(held); i++) {
		if (held[i].snap)
			check(held[i].snap, held[i].revs);
		store_snapshot_unref(held[i].snap);
	}
	store_state_reap(st);
	assert_int_equal(st->n_live, 1);
	assert_int_equal(st->published->garbage.n, 0);
	store_state_done(st);
	free(st);
}

/* An old snapshot keeps its own version alive, not every version that came since. */
static void old_snapshot_is_cheap(void **unused)
{
	struct state *st = state_new();
	store_state_begin(st);
	for (int i = 0; i < 1000; i++)
		store_state_put(st, numbered(i, 2));
	store_state_commit(st, 2, 1);
	struct store_snapshot *old = store_state_acquire(st);
	for (int64_t rev = 3; rev < 3000; rev++) {
		store_state_begin(st);
		store_state_put(st, numbered((int)rev % 1000, rev));
		store_state_ring_trim(st, 10, 0, 0); /* all of it: the ring is not the subject */
		store_state_commit(st, rev, 1);
	}
	assert_int_equal(st->n_live, 2);
	/* at most every item and node that it sees, and the ring's leftovers */
	assert_true(old->garbage.n < 1000 + 1000 / NODE_MIN + 10);
	assert_int_equal(store_get(old, SPAN("k00007"))->rev, 2);
	store_snapshot_unref(old);
	store_state_reap(st);
	assert_int_equal(st->n_live, 1);
	store_state_done(st);
	free(st);
}

static void ordered_fill(void **unused)
{
	struct state *st = state_new();
	store_state_begin(st);
	for (int i = 0; i < 20000; i++)
		store_state_put(st, numbered(i, 2));
	/* Names in order must not leave nodes half empty: 42 of 62 is what the split keeps. */
	size_t nodes = 0;
	for (size_t i = 0; i < st->n_fresh; i++)
		nodes += !st->fresh[i]->dead;
	assert_in_range(nodes, 20000 / NODE_MAX, 20000 / 42 + 20);
	assert_true(store_tree_check(st->root, true));
	store_state_commit(st, 2, 1);
	store_state_begin(st);
	for (int i = 0; i < 20000; i++) {
		char key[16];
		snprintf(key, sizeof(key), "k%05d", i);
		assert_true(store_state_delete(st, span_of(key), 3));
	}
	assert_null(st->root);
	store_state_commit(st, 3, 1);
	store_state_done(st);
	free(st);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_work),
		cmocka_unit_test(old_snapshot_is_cheap),
		cmocka_unit_test(ordered_fill),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
