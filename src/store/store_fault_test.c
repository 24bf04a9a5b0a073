/* The sweep: a scripted piece of work is run again and again, and in run N the N-th operation on the disk goes wrong, in
 * each of the ways of store_fault_vfs.h. Then the store is opened on what is left. Checked, against what was answered:
 *
 *   1. it opens;
 *   2. each key is as its last acknowledged durable write left it, at that revision, or as a later write that was answered
 *      with an error, if no write succeeded after that (the seam's one exception), or as a later volatile version;
 *   3. no revision that anybody saw is given again;
 *      nor is anything that was shown after a kill lost when the power goes right then;
 *   4. a watch from before is EXPIRED, one from now on works;
 *   5. while the store goes on after a passing error, memory shows exactly what was acknowledged, and it recovers.
 *
 * usage: store_fault_test [SEED]. KNARR_TEST_LONG=1 sweeps every operation, else every seventh with a random start. */
#include "store/store_test_util.h"
#include "store/store_fault_vfs.h"

#define KEYS 12
#define MAYBES 64

struct version {
	int64_t rev;     /* 0 = absent */
	uint32_t number; /* identifies the value */
};
struct expect {
	struct version durable;         /* acknowledged */
	struct version maybe[MAYBES];   /* failed since, or volatile since */
	bool maybe_failed[MAYBES];
	size_t n_maybe;
	struct version memory;          /* what reads must show */
};
static struct expect model[KEYS];
static int64_t highest; /* revision seen */
static uint32_t next_number;
static char dir[200];
static const char *what;
static long what_at;

static void value_make(struct buf *b, uint32_t number)
{
	size_t len = 10 + number * 7919u % 5000u;
	buf_printf(b, "%u:", number);
	while (b->len < len)
		buf_add(b, "abcdefghijklmnopqrstuvwxyz", MIN((size_t)26, len - b->len));
}

#define MUST(cond, ...)                                                                                                \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			print_error("%s at operation %ld: ", what, what_at);                                           \
			fail_msg(__VA_ARGS__);                                                                         \
		}                                                                                                      \
	} while (0)

static void maybe_add(struct expect *e, struct version v, bool failed)
{
	MUST(e->n_maybe < MAYBES, "the script repeats a key too often");
	e->maybe[e->n_maybe] = v;
	e->maybe_failed[e->n_maybe++] = failed;
}

/* A durable write succeeded: failures before it are gone for good. */
static void settle(void)
{
	for (int k = 0; k < KEYS; k++) {
		struct expect *e = &model[k];
		size_t kept = 0;
		for (size_t i = 0; i < e->n_maybe; i++) {
			if (e->maybe_failed[i])
				continue;
			e->maybe[kept] = e->maybe[i];
			e->maybe_failed[kept++] = false;
		}
		e->n_maybe = kept;
	}
}

static bool shows(struct store_snapshot *snap, int k, struct version *out)
{
	char key[16];
	snprintf(key, sizeof(key), "key/%02d", k);
	const struct store_item *it = store_get(snap, span_of(key));
	*out = (struct version){ 0 };
	if (!it)
		return true;
	uint64_t number;
	struct span head, tail;
	if (!span_split(bytes_span(it->value), ':', &head, &tail) || !span_to_u64(head, &number))
		return false;
	auto_buf struct buf want = { 0 };
	value_make(&want, (uint32_t)number);
	*out = (struct version){ it->rev, (uint32_t)number };
	return span_eq(bytes_span(it->value), buf_span(&want));
}

static void check_memory(struct store *s)
{
	struct store_snapshot *snap = store_snapshot(s);
	for (int k = 0; k < KEYS; k++) {
		struct version v;
		MUST(shows(snap, k, &v), "key %d holds a value nobody wrote", k);
		MUST(v.rev == model[k].memory.rev && v.number == model[k].memory.number,
		     "key %d in memory: have %u@%lld, want %u@%lld", k, v.number, (long long)v.rev, model[k].memory.number,
		     (long long)model[k].memory.rev);
	}
	store_snapshot_unref(snap);
}

/* One transaction over keys k .. k + n - 1; op 'p' put, 'v' volatile put, 'f' fleeting put, 'd' delete. */
static void write_keys(struct store *s, char op, int k, int n)
{
	struct store_txn *t = store_txn_new();
	uint32_t numbers[KEYS] = { 0 };
	for (int i = 0; i < n; i++) {
		char key[16];
		snprintf(key, sizeof(key), "key/%02d", (k + i) % KEYS);
		if (op == 'd') {
			store_txn_delete(t, STORE_THEN, span_of(key));
			continue;
		}
		auto_buf struct buf b = { 0 };
		value_make(&b, numbers[i] = ++next_number);
		auto_bytes struct bytes *v = buf_seal(&b);
		store_txn_put(t, STORE_THEN, span_of(key), v, 0);
	}
	if (op == 'v')
		store_txn_volatile(t);
	if (op == 'f')
		store_txn_fleeting(t);
	auto_wait struct wait w;
	int class = do_commit(s, t, &w);
	MUST(class == 0 || class == ERR_IO || class == ERR_NO_SPACE || class == ERR_UNAVAILABLE, "refused with %s: %s",
	     err_class_name(class), w.msg);
	if (class == 0 && op == 'p') /* a deletion may have had nothing to write */
		settle();
	for (int i = 0; i < n; i++) {
		struct expect *e = &model[(k + i) % KEYS];
		struct version v = { op == 'd' ? 0 : class ? -1 : w.rev, op == 'd' ? 0 : numbers[i] };
		if (op == 'd' && e->memory.rev == 0)
			continue;
		if (class == 0) {
			e->memory = v;
			if (op == 'v' || op == 'f') {
				maybe_add(e, v, false);
			} else if (op == 'p' || e->durable.rev) {
				e->durable = v;
				e->n_maybe = 0;
			}
		} else if (op != 'v' && op != 'f') {
			maybe_add(e, v, true);
		}
	}
	if (class == 0) {
		MUST(w.rev >= highest, "revision %lld after %lld", (long long)w.rev, (long long)highest);
		highest = w.rev;
	}
	check_memory(s);
}

static void idle(struct store *s, struct test_clock *clock)
{
	for (int i = 0; i < 6; i++) {
		test_clock_advance(clock, 60 * NS_PER_MS);
		store_kick(s);
		(void)do_sync(s);
	}
}

/* Returns NULL when even opening failed. */
static struct store *try_open(struct test_clock *clock)
{
	auto_err struct err err = ERR_INIT;
	struct store *s = NULL;
	/* Over an hour after the day that the script lets pass: its flush leaves them out. */
	struct store_options o = { .dir = dir, .clock = &clock->clock, .vfs = "fault", .wal_pages = 4,
				   .fleeting_ms = 26 * 3600 * 1000 + 1800 * 1000 };
	if (store_open(&o, &s, &err) == 0)
		return s;
	MUST(err.class != ERR_CORRUPT || fv.at, "opening: %s", err_msg(&err));
	return NULL;
}

static void reload_memory(struct store *s)
{
	/* What a restart made of volatile and failed writes is the new truth. */
	struct store_snapshot *snap = store_snapshot(s);
	for (int k = 0; k < KEYS; k++) {
		struct version v;
		MUST(shows(snap, k, &v), "key %d holds a value nobody wrote", k);
		struct expect *e = &model[k];
		bool found = v.rev == e->durable.rev && v.number == e->durable.number;
		for (size_t i = 0; i < e->n_maybe && !found; i++)
			found = v.number == e->maybe[i].number && (e->maybe[i].rev <= 0 || v.rev == e->maybe[i].rev) &&
				(v.rev == 0) == (e->maybe[i].rev == 0);
		MUST(found, "key %d after the restart: have %u@%lld, want %u@%lld or one of %zu others", k, v.number,
		     (long long)v.rev, e->durable.number, (long long)e->durable.rev, e->n_maybe);
		e->durable = e->memory = v;
		e->n_maybe = 0;
	}
	MUST(store_tree_check(snap->root, true), "the tree is out of order");
	MUST(store_snapshot_rev(snap) >= highest, "revision %lld after %lld was seen", (long long)store_snapshot_rev(snap),
	     (long long)highest);
	store_snapshot_unref(snap);
}

static size_t take_all(struct store_watch *w, const struct store_batch *b, void *arg)
{
	*(size_t *)arg += b->n;
	return b->n;
}
static void no_expiry(struct store_watch *w, void *arg)
{
	*(size_t *)arg += 1000;
}
static void no_wake(void *arg)
{
}

/* What the store shows after a kill must survive a loss of power right then, though the killed process may never have
 * synced it. */
static void show_then_cut(struct test_clock *clock, uint64_t chance)
{
	struct store *s = try_open(clock);
	MUST(s, "does not open after the kill");
	reload_memory(s); /* what is seen is now what is owed */
	fv_arm(DISK_CUT, 1, chance);
	fv.dead = true;
	(void)store_close(s, NULL); /* the power is off */
	fv_restart();
}

static void check_restart(struct test_clock *clock)
{
	static const struct store_watch_fns fns = { take_all, no_expiry };
	struct store *s = try_open(clock);
	MUST(s, "does not open after the restart");
	reload_memory(s);
	struct store_port *p = store_port_open(s, no_wake, NULL);
	struct store_watch *w;
	size_t told = 0;
	int64_t now = do_sync(s);
	MUST(store_watch_open(p, SPAN(""), false, now, &fns, &told, &w, NULL) == -ERR_EXPIRED, "an old watch goes on");
	MUST(store_watch_open(p, SPAN(""), false, now + 1, &fns, &told, &w, NULL) == 0, "a new watch is refused");
	int64_t before = highest;
	write_keys(s, 'p', 3, 1);
	MUST(highest > before, "revision %lld was given twice", (long long)highest);
	while (store_port_run(p, 100))
		;
	MUST(told == 1, "the watch was told %zu events instead of 1", told);
	store_watch_close(w);
	store_port_close(p);
	auto_err struct err err = ERR_INIT;
	MUST(store_close(s, &err) == 0, "closing: %s", err_msg(&err));
	s = try_open(clock);
	MUST(s, "does not open a second time");
	for (int k = 0; k < KEYS; k++)
		model[k].n_maybe = 0;
	reload_memory(s);
	MUST(store_close(s, &err) == 0, "closing: %s", err_msg(&err));
}

/* The work: every kind of write, a restart in between, housekeeping of all kinds. */
static void script(struct test_clock *clock)
{
	static const char ops[] = "p0p1p2pv3v3pd1P5p5v0D0p9pvvdpP2vf2fpdf7d5";
	for (int round = 0; round < 2; round++) {
		struct store *s = try_open(clock);
		if (!s)
			return;
		if (round)
			reload_memory(s);
		int k = round;
		for (const char *op = ops; *op; op++) {
			if (*op >= '0' && *op <= '9')
				k = *op - '0';
			else
				write_keys(s, *op == 'P' ? 'p' : *op == 'D' ? 'd' : *op, k++ % KEYS, *op < 'a' ? 4 : 1);
			if (op[1] == 0 || *op == 'D')
				idle(s, clock);
		}
		/* A day later: old records are removed, the log goes home. */
		test_clock_advance(clock, 26 * 3600 * NS_PER_S);
		store_kick(s);
		(void)do_sync(s);
		write_keys(s, 'p', 7, 1);
		idle(s, clock);
		check_memory(s);
		auto_err struct err err = ERR_INIT;
		if (store_close(s, &err) == 0) /* clean: volatile state is durable now, failures stay what they are */
			for (int i = 0; i < KEYS; i++) {
				struct expect *e = &model[i];
				size_t kept = 0;
				e->durable = e->memory;
				for (size_t m = 0; m < e->n_maybe; m++)
					if (e->maybe_failed[m]) {
						e->maybe[kept] = e->maybe[m];
						e->maybe_failed[kept++] = true;
					}
				e->n_maybe = kept;
			}
	}
}

/* True when the fault was reached. */
static bool run_once(enum disk_fault fault, long at, uint64_t seed)
{
	struct test_clock clock;
	test_clock_init(&clock, 1000 * NS_PER_S, INT64_C(1700000000) * NS_PER_S);
	memset(model, 0, sizeof(model));
	highest = next_number = 0;
	fv_reset();
	fv_arm(fault, at, seed);
	what_at = at;
	script(&clock);
	bool reached = fv.count >= at;
	fv_restart();
	if (fault == DISK_KILL)
		show_then_cut(&clock, seed);
	check_restart(&clock);
	return reached;
}

static uint64_t seed = 1;

static void sweep(void **state)
{
	static const char *const names[] = { "none", "error", "stuck", "full", "torn", "kill", "cut" };
	const char *env = getenv("KNARR_TEST_LONG");
	bool all = env && *env == '1';
	dir_make(dir, sizeof(dir));
	what = "no fault";
	run_once(DISK_NONE, 0, seed);
	long runs = 0, last = 0;
	for (int fault = DISK_ERROR; fault < DISK_FAULT_COUNT; fault++) {
		what = names[fault];
		long step = all ? 1 : 7;
		long at = all ? 1 : 1 + (long)(seed % 7);
		for (; run_once((enum disk_fault)fault, at, seed + (uint64_t)at); at += step)
			runs++;
		last = MAX(last, at);
	}
	dir_remove(dir);
	printf("%ld runs, up to operation %ld, seed %llu\n", runs, last, (unsigned long long)seed);
	assert_true(last > 100);
}

int main(int argc, char **argv)
{
	rng_secret(&seed, sizeof(seed));
	seed %= 1000000;
	if (argc > 1 && !span_to_u64(span_of(argv[1]), &seed))
		return 2;
	print_message("seed %llu\n", (unsigned long long)seed);
	const struct CMUnitTest tests[] = { cmocka_unit_test(sweep) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
