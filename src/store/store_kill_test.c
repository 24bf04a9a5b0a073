/* SIGKILL at random moments under write load, on one folder that lives through all rounds.
 *
 * A child writes: 16 transactions under way, each raising the number of a key, some volatile, some deleting and making
 * again, and a moment of housekeeping now and then. What is submitted and what is answered it notes in memory shared with
 * the parent. The parent kills it, opens the store itself and checks each key:
 *
 *   durable     answered number <= number found <= submitted number; at the answered number: the answered revision
 *   volatile    number found <= submitted number; once flushed it never goes back behind what an earlier round found (every
 *               second one is fleeting)
 *   revisions   the store's is not below any that was answered, in any round; the next write gets a higher one
 *
 * usage: store_kill_test [SEED]. 10 rounds; KNARR_TEST_LONG=1: 200. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "store/store_test_util.h"

#define KEYS 64
#define IN_FLIGHT 16

struct shared {
	_Atomic int64_t submitted[KEYS], answered[KEYS], answered_rev[KEYS];
	_Atomic int64_t highest; /* revision answered, or told by a watch */
	_Atomic int64_t count, refused;
};
static struct shared *sh;
static char dir[200];
static uint64_t seed;

static bool is_volatile(int k)
{
	return k % 4 == 3;
}

/* ---- the child */

struct slot {
	struct store *s;
	int key;
	int64_t number;
	struct rng rng;
};

static void submit(struct slot *slot);

static void raise_highest(int64_t rev)
{
	if (rev > atomic_load(&sh->highest))
		atomic_store(&sh->highest, rev); /* the committer's thread alone */
}

static void on_done(struct store_call *call, void *arg)
{
	struct slot *slot = arg;
	if (call->err.class)
		atomic_fetch_add(&sh->refused, 1);
	raise_highest(call->rev);
	atomic_store(&sh->answered_rev[slot->key], call->rev);
	atomic_store(&sh->answered[slot->key], slot->number);
	atomic_fetch_add(&sh->count, 1);
	submit(slot);
}

/* Slot i owns the keys i, i + 16, ...: one write a key is under way at a time. */
static void submit(struct slot *slot)
{
	int k = slot->key = (slot->key % IN_FLIGHT) + IN_FLIGHT * (int)rng_below(&slot->rng, KEYS / IN_FLIGHT);
	char key[16], value[3000];
	int64_t n = slot->number = atomic_load(&sh->submitted[k]) + 1;
	snprintf(key, sizeof(key), "key/%02d", k);
	size_t len = 30 + (size_t)rng_below(&slot->rng, sizeof(value) - 30);
	memset(value, 'x', len);
	snprintf(value, sizeof(value), "%lld:", (long long)n);
	auto_bytes struct bytes *b = bytes_new(value, len);
	struct store_txn *t = store_txn_new();
	store_txn_put(t, STORE_THEN, span_of(key), b, 0);
	if (is_volatile(k))
		(k % 8 == 3 ? store_txn_volatile : store_txn_fleeting)(t);
	atomic_store(&sh->submitted[k], n);
	store_commit(slot->s, t, NULL, on_done, slot);
}

static void child(uint64_t round)
{
	struct store_options o = { .dir = dir, .wal_pages = 128, .volatile_bytes = 20000, .volatile_flush_ms = 10, .fleeting_ms = 15 };
	auto_err struct err err = ERR_INIT;
	struct store *s;
	if (store_open(&o, &s, &err) < 0) {
		fprintf(stderr, "child: %s\n", err_msg(&err));
		_exit(3);
	}
	static struct slot slots[IN_FLIGHT];
	for (int i = 0; i < IN_FLIGHT; i++) {
		slots[i].s = s;
		slots[i].key = i;
		rng_init(&slots[i].rng, seed * 1000 + round * 16 + (uint64_t)i);
		submit(&slots[i]);
	}
	for (;;)
		pause();
}

/* ---- the parent */

static int64_t found[KEYS];

static int64_t check(int round)
{
	struct store *s = do_open(&(struct store_options){ .dir = dir });
	struct store_snapshot *snap = store_snapshot(s);
	int64_t highest = atomic_load(&sh->highest);
	if (store_snapshot_rev(snap) < highest)
		fail_msg("round %d: revision %lld after %lld was answered", round, (long long)store_snapshot_rev(snap),
			 (long long)highest);
	for (int k = 0; k < KEYS; k++) {
		char key[16];
		snprintf(key, sizeof(key), "key/%02d", k);
		const struct store_item *it = store_get(snap, span_of(key));
		int64_t have = 0, answered = atomic_load(&sh->answered[k]), rev = atomic_load(&sh->answered_rev[k]);
		struct span head, tail;
		if (it && (!span_split(bytes_span(it->value), ':', &head, &tail) || !span_to_i64(head, &have)))
			fail_msg("round %d: key %d holds a value nobody wrote", round, k);
		if (have > atomic_load(&sh->submitted[k]) || have < (is_volatile(k) ? found[k] : answered))
			fail_msg("round %d: key %d has number %lld; answered %lld, submitted %lld, found before %lld", round, k,
				 (long long)have, (long long)answered, (long long)atomic_load(&sh->submitted[k]),
				 (long long)found[k]);
		if (have && have == answered && it->rev != rev)
			fail_msg("round %d: key %d has revision %lld, answered was %lld", round, k, (long long)it->rev,
				 (long long)rev);
		found[k] = have;
		/* From here on this is what was answered. */
		atomic_store(&sh->submitted[k], have);
		atomic_store(&sh->answered[k], have);
		atomic_store(&sh->answered_rev[k], it ? it->rev : 0);
	}
	store_snapshot_unref(snap);
	int64_t next = do_put(s, "parent", "was here");
	if (next <= highest)
		fail_msg("round %d: revision %lld given again (highest was %lld)", round, (long long)next, (long long)highest);
	raise_highest(next);
	do_close(s);
	return next;
}

static void kills(void **state)
{
	const char *env = getenv("KNARR_TEST_LONG");
	int rounds = env && *env == '1' ? 200 : 10;
	struct rng rng;
	rng_init(&rng, seed);
	dir_make(dir, sizeof(dir));
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(sh, MAP_FAILED);
	for (int round = 0; round < rounds; round++) {
		int64_t before = atomic_load(&sh->count);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			child((uint64_t)round);
		int status = 0;
		/* Sometimes while it opens, mostly under load. */
		if (rng_below(&rng, 8)) {
			int64_t after = before + 1 + (int64_t)rng_below(&rng, 60);
			for (int i = 0; i < 60000 && atomic_load(&sh->count) < after; i++)
				usleep(1000);
			assert_true(atomic_load(&sh->count) >= after);
		}
		usleep((useconds_t)rng_below(&rng, 60000));
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		check(round);
	}
	print_message("%d kills, %lld writes answered, seed %llu\n", rounds, (long long)atomic_load(&sh->count),
		      (unsigned long long)seed);
	assert_int_equal(atomic_load(&sh->refused), 0);
	dir_remove(dir);
}

int main(int argc, char **argv)
{
	rng_secret(&seed, sizeof(seed));
	seed %= 1000000;
	if (argc > 1 && !span_to_u64(span_of(argv[1]), &seed))
		return 2;
	print_message("seed %llu\n", (unsigned long long)seed);
	const struct CMUnitTest tests[] = { cmocka_unit_test(kills) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
