/* Many threads against a model: one copy of the state that every operation meets at one instant.
 *
 * Writers run random compare-and-set transactions, volatile and fleeting ones too; readers take snapshots, list (also at older
 * revisions) and follow watches through ports. Revisions order the writes, so the history needs no search: afterwards all
 * acknowledged transactions are sorted by revision and replayed on the model, and
 *
 *   1. each compare gives, in the model just before its revision, what the transaction was told;
 *   2. real time agrees: a call that began after another was answered has no smaller revision (reads included);
 *   3. each listing equals the model at the listing's revision;
 *   4. each watch saw exactly the model's changes from its revision on, in order, once each, with the right states before.
 *
 * Also the ThreadSanitizer run (make tsan COMPONENT=store_model). usage: store_model_test [SEED] */
#include "store/store_test_util.h"

#define WRITERS 4
#define READERS 2
#define WATCHERS 2
#define KEYS 12

static int n_ops = 400;
static uint64_t seed;
static struct store *store;
static atomic_int running;

/* ---- what happened */

struct change_rec {
	int key;
	int64_t value; /* 0 = deleted */
};
struct txn_rec {
	int64_t rev;
	int64_t began_rev;    /* highest revision that was known to be answered when it began */
	int key_if;
	int64_t number;       /* its compare: rev of key_if equals */
	bool held, changed;
	struct change_rec changes[2];
	int n;
	unsigned thread;
};
struct list_rec {
	int64_t rev;
	int64_t value[KEYS], item_rev[KEYS];
};
struct event_rec {
	int64_t rev, value, prev_value;
	int key;
};

static struct txn_rec *txns[WRITERS];
static _Atomic int64_t answered; /* highest revision answered so far */
static struct list_rec *lists[READERS];
static int n_lists[READERS];
static struct {
	struct event_rec *v;
	size_t n, cap;
	int64_t from;
	bool expired;
} seen[WATCHERS];

static void raise_answered(int64_t rev)
{
	int64_t was = atomic_load(&answered);
	while (was < rev && !atomic_compare_exchange_weak(&answered, &was, rev))
		;
}

static int64_t value_of(const struct bytes *b)
{
	int64_t v;
	assert(b->len >= sizeof(v));
	memcpy(&v, b->data, sizeof(v));
	return v;
}
static int key_of(struct span key)
{
	uint64_t k;
	assert(span_to_u64(span_from(key, 4), &k));
	return (int)k;
}
static void key_name(char out[16], int k)
{
	snprintf(out, 16, "key/%02d", k);
}

/* ---- threads */

static void *writer(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;
	struct rng rng;
	rng_init(&rng, seed * 100 + id);
	for (int i = 0; i < n_ops; i++) {
		struct txn_rec *r = &txns[id][i];
		char name[16], name2[16];
		r->thread = id;
		r->key_if = (int)rng_below(&rng, KEYS);
		int k2 = (r->key_if + 1) % KEYS;
		key_name(name, r->key_if);
		key_name(name2, k2);
		r->began_rev = atomic_load(&answered);
		struct store_snapshot *snap = store_snapshot(store);
		const struct store_item *it = store_get(snap, span_of(name));
		r->number = it ? it->rev : 0;
		store_snapshot_unref(snap);
		struct store_txn *t = store_txn_new();
		store_txn_if(t, span_of(name), STORE_REV, STORE_EQUAL, r->number);
		unsigned what = (unsigned)rng_below(&rng, 10);
		int64_t v = (int64_t)id * 1000000 + i + 1;
		char data[600] = "";
		memcpy(data, &v, sizeof(v));
		auto_bytes struct bytes *b = bytes_new(data, 8 + rng_below(&rng, 500));
		if (what < 3) {
			store_txn_delete(t, STORE_THEN, span_of(name));
			r->changes[r->n++] = (struct change_rec){ r->key_if, 0 };
		} else {
			store_txn_put(t, STORE_THEN, span_of(name), b, 0);
			r->changes[r->n++] = (struct change_rec){ r->key_if, v };
		}
		if (what == 3 || what == 4) {
			store_txn_put(t, STORE_THEN, span_of(name2), b, 0);
			r->changes[r->n++] = (struct change_rec){ k2, v };
		}
		store_txn_get(t, STORE_ELSE, span_of(name));
		if (what == 5)
			store_txn_volatile(t);
		if (what == 6)
			store_txn_fleeting(t);
		auto_wait struct wait w;
		assert_int_equal(do_commit(store, t, &w), 0);
		r->held = w.held;
		r->rev = w.rev;
		r->changed = w.held && (what >= 3 || r->number); /* deleting an absent key changes nothing */
		raise_answered(w.rev);
		if (w.rev < r->began_rev)
			fail_msg("answered at %lld after %lld was", (long long)w.rev, (long long)r->began_rev);
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static void *reader(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;
	struct rng rng;
	rng_init(&rng, seed * 1000 + id);
	while (atomic_load(&running) > 0 && n_lists[id] < 2000) {
		int64_t least = atomic_load(&answered);
		struct store_snapshot *snap = store_snapshot(store);
		struct list_rec *l = &lists[id][n_lists[id]++];
		l->rev = store_snapshot_rev(snap);
		if (l->rev < least)
			fail_msg("read at %lld after %lld was answered", (long long)l->rev, (long long)least);
		int64_t floor = store_snapshot_floor(snap);
		if (rng_below(&rng, 2) && l->rev > floor) /* some time ago */
			l->rev = floor + 1 + (int64_t)rng_below(&rng, (uint64_t)(l->rev - floor));
		struct store_iter it;
		assert_int_equal(store_iter_init(&it, snap, SPAN("key/"), SPAN_EMPTY, l->rev, NULL), 0);
		for (const struct store_item *item; (item = store_iter_next(&it));) {
			int k = key_of(store_item_key(item));
			l->value[k] = value_of(item->value);
			l->item_rev[k] = item->rev;
		}
		store_iter_done(&it);
		store_snapshot_unref(snap);
		usleep(200);
	}
	return NULL;
}

struct loop {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool woken;
};
static void loop_wake(void *arg)
{
	struct loop *l = arg;
	pthread_mutex_lock(&l->lock);
	l->woken = true;
	pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->lock);
}

static struct rng pause_rng[WATCHERS];
static size_t on_events(struct store_watch *w, const struct store_batch *b, void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;
	size_t take = rng_below(&pause_rng[id], 4) ? b->n : rng_below(&pause_rng[id], b->n + 1);
	for (size_t i = 0; i < take; i++) {
		const struct store_event *e = b->events[i];
		MEM_GROW(seen[id].v, seen[id].n, seen[id].cap);
		seen[id].v[seen[id].n++] = (struct event_rec){
			.rev = e->rev, .key = key_of(store_event_key(e)), .value = e->item ? value_of(e->item->value) : 0,
			.prev_value = e->prev ? value_of(e->prev->value) : 0 };
	}
	return take;
}
static void on_expired(struct store_watch *w, void *arg)
{
	seen[(unsigned)(uintptr_t)arg].expired = true;
}
static const struct store_watch_fns fns = { on_events, on_expired };

static _Atomic int64_t final_rev;

static void *watcher(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;
	struct loop l = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, true };
	struct store_port *p = store_port_open(store, loop_wake, &l);
	struct store_watch *w = NULL;
	rng_init(&pause_rng[id], seed + id);
	if (id)
		usleep(20000); /* begins in the past */
	seen[id].from = 2;
	assert_int_equal(store_watch_open(p, SPAN("key/"), false, 2, &fns, arg, &w, NULL), 0);
	while (!seen[id].expired) {
		int64_t end = atomic_load(&final_rev);
		if (end && store_watch_rev(w) >= end)
			break;
		pthread_mutex_lock(&l.lock);
		struct timespec at;
		clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_nsec += 20000000;
		at.tv_sec += at.tv_nsec / 1000000000;
		at.tv_nsec %= 1000000000;
		if (!l.woken)
			pthread_cond_clockwait(&l.cond, &l.lock, CLOCK_MONOTONIC, &at); /* the end is seen by polling, events by waking */
		l.woken = false;
		pthread_mutex_unlock(&l.lock);
		while (store_port_run(p, 10))
			;
		store_watch_resume(w);
	}
	store_watch_close(w);
	(void)store_port_run(p, 10);
	store_port_close(p);
	return NULL;
}

/* ---- the judgement */

static int txn_cmp(const void *pa, const void *pb)
{
	const struct txn_rec *a = *(struct txn_rec *const *)pa, *b = *(struct txn_rec *const *)pb;
	/* Those that changed something own their revision; those that did not stand behind it. */
	return a->rev != b->rev ? (a->rev < b->rev ? -1 : 1) : (int)b->changed - (int)a->changed;
}

static void judge(void)
{
	size_t n = (size_t)(WRITERS * n_ops), at[WATCHERS] = { 0 };
	struct txn_rec **all = mem_alloc(n * sizeof(*all));
	for (size_t i = 0; i < n; i++)
		all[i] = &txns[i / (size_t)n_ops][i % (size_t)n_ops];
	qsort(all, n, sizeof(all[0]), txn_cmp);
	int64_t value[KEYS] = { 0 }, rev[KEYS] = { 0 }, last = 1;
	struct list_rec **by_rev = NULL;
	size_t n_by = 0, cap_by = 0, checked = 0, held = 0;
	for (unsigned r = 0; r < READERS; r++)
		for (int i = 0; i < n_lists[r]; i++) {
			MEM_GROW(by_rev, n_by, cap_by);
			by_rev[n_by++] = &lists[r][i];
		}
	for (size_t i = 0; i <= n; i++) {
		struct txn_rec *t = i < n ? all[i] : NULL;
		if (!t || (t->changed && t->rev > last)) { /* lists of the revisions up to here see what is there now */
			for (size_t k = 0; k < n_by; k++) {
				if (by_rev[k]->rev < last || (t && by_rev[k]->rev >= t->rev))
					continue;
				assert_memory_equal(by_rev[k]->value, value, sizeof(value));
				assert_memory_equal(by_rev[k]->item_rev, rev, sizeof(rev));
				checked++;
			}
		}
		if (!t)
			break;
		if (t->held != (rev[t->key_if] == t->number))
			fail_msg("txn at %lld: compare of key %d with %lld said %d, the model has %lld", (long long)t->rev,
				 t->key_if, (long long)t->number, t->held, (long long)rev[t->key_if]);
		held += t->held;
		if (!t->changed)
			continue;
		if (t->rev <= last)
			fail_msg("revision %lld came twice", (long long)t->rev);
		last = t->rev;
		for (int c = 0; c < t->n; c++) {
			int k = t->changes[c].key;
			for (unsigned w = 0; w < WATCHERS; w++) {
				struct event_rec want = { .rev = t->rev, .key = k, .value = t->changes[c].value,
							  .prev_value = value[k] };
				if (at[w] >= seen[w].n)
					fail_msg("watch %u missed revision %lld", w, (long long)t->rev);
				struct event_rec *have = &seen[w].v[at[w]++];
				if (have->rev != want.rev || have->key != want.key || have->value != want.value ||
				    have->prev_value != want.prev_value)
					fail_msg("watch %u: have key %d %lld -> %lld at %lld, want key %d %lld -> %lld at %lld", w,
						 have->key, (long long)have->prev_value, (long long)have->value,
						 (long long)have->rev, k, (long long)want.prev_value, (long long)want.value,
						 (long long)want.rev);
			}
			value[k] = t->changes[c].value;
			rev[k] = value[k] ? t->rev : 0;
		}
	}
	for (unsigned w = 0; w < WATCHERS; w++)
		assert_int_equal(at[w], seen[w].n);
	assert_int_equal(checked, n_by);
	print_message("%zu transactions (%zu held), %zu lists, %zu events a watch, seed %llu\n", n, held, n_by, seen[0].n,
		      (unsigned long long)seed);
	assert_true(held > n / 4 && held < n);
	free(all);
	free(by_rev);
}

static void histories(void **state)
{
	char dir[200];
	dir_make(dir, sizeof(dir));
	struct store_options o = { .dir = dir, .wal_pages = 64, .volatile_flush_ms = 20, .fleeting_ms = 30 };
	store = do_open(&o);
	pthread_t threads[WRITERS + READERS + WATCHERS];
	unsigned n = 0;
	atomic_store(&running, WRITERS);
	for (unsigned i = 0; i < WATCHERS; i++)
		pthread_create(&threads[n++], NULL, watcher, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < WRITERS; i++) {
		txns[i] = mem_zalloc((size_t)n_ops * sizeof(*txns[i]));
		pthread_create(&threads[n++], NULL, writer, (void *)(uintptr_t)i);
	}
	for (unsigned i = 0; i < READERS; i++) {
		lists[i] = mem_zalloc(2000 * sizeof(*lists[i]));
		pthread_create(&threads[n++], NULL, reader, (void *)(uintptr_t)i);
	}
	for (unsigned i = WATCHERS; i < n; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&final_rev, do_sync(store));
	for (unsigned i = 0; i < WATCHERS; i++)
		pthread_join(threads[i], NULL);
	/* what a restart reads is what was there */
	int64_t end = do_sync(store);
	int64_t values[KEYS] = { 0 }, again[KEYS] = { 0 };
	for (int round = 0; round < 2; round++) {
		struct store_snapshot *snap = store_snapshot(store);
		assert_int_equal(store_snapshot_rev(snap), end);
		for (int k = 0; k < KEYS; k++) {
			char name[16];
			key_name(name, k);
			const struct store_item *it = store_get(snap, span_of(name));
			(round ? again : values)[k] = it ? value_of(it->value) : 0;
		}
		store_snapshot_unref(snap);
		do_close(store);
		if (!round)
			store = do_open(&o);
	}
	assert_memory_equal(values, again, sizeof(values));
	judge();
	for (unsigned i = 0; i < WRITERS; i++)
		free(txns[i]);
	for (unsigned i = 0; i < READERS; i++)
		free(lists[i]);
	for (unsigned i = 0; i < WATCHERS; i++)
		free(seen[i].v);
	dir_remove(dir);
}

/* Threads that only take, copy and release snapshots while others are published. */
static void *grabber(void *arg)
{
	struct rng rng;
	rng_init(&rng, seed + (uintptr_t)arg);
	struct store_snapshot *kept[8] = { NULL };
	for (int i = 0; atomic_load(&running) > 0 || i < 1000; i++) {
		size_t k = (size_t)rng_below(&rng, 8);
		store_snapshot_unref(kept[k]);
		kept[k] = rng_below(&rng, 2) ? store_snapshot(store) : store_snapshot_ref(kept[(k + 1) % 8] ?
			kept[(k + 1) % 8] : (kept[(k + 1) % 8] = store_snapshot(store)));
		const struct store_item *it = store_get(kept[k], SPAN("key/01"));
		if (it && it->rev > store_snapshot_rev(kept[k]))
			fail_msg("an item of the future");
		if (i % 64 == 0)
			usleep(100);
	}
	for (size_t k = 0; k < 8; k++)
		store_snapshot_unref(kept[k]);
	return NULL;
}

static void snapshots(void **state)
{
	char dir[200];
	dir_make(dir, sizeof(dir));
	store = do_open(&(struct store_options){ .dir = dir });
	pthread_t threads[3];
	atomic_store(&running, 1);
	for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
		pthread_create(&threads[i], NULL, grabber, (void *)(uintptr_t)i);
	char key[16];
	for (int i = 0; i < 2000; i++) {
		key_name(key, i % 30);
		assert_true(do_put_flags(store, key, "value", i % 8 != 0, 0) > 0);
	}
	atomic_store(&running, 0);
	for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	do_put(store, "end", "v");
	do_sync(store);
	struct store_status st;
	store_status(store, &st);
	assert_in_range(st.snapshots, 1, 2);
	do_close(store);
	dir_remove(dir);
}

int main(int argc, char **argv)
{
	const char *env = getenv("KNARR_TEST_LONG");
	rng_secret(&seed, sizeof(seed));
	seed %= 1000000;
	if (argc > 1 && !span_to_u64(span_of(argv[1]), &seed))
		return 2;
	if (env && *env == '1')
		n_ops = 20000;
	print_message("seed %llu\n", (unsigned long long)seed);
	const struct CMUnitTest tests[] = { cmocka_unit_test(histories), cmocka_unit_test(snapshots) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
