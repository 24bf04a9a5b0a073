/* Helpers of this folder's tests: calls that wait for their answer, folders that go away. */
#pragma once

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#ifndef STORE_FUZZ
#include <cmocka.h>
#else /* fuzz targets have no frame around them: a finding aborts */
#define fail_msg(...) (fprintf(stderr, __VA_ARGS__), abort())
#define print_error(...) fprintf(stderr, __VA_ARGS__)
#define assert_non_null(p) assert(p)
#endif
#include "store/store_private.h"

/* A clock turned by hand while other threads look. */
struct test_clock {
	struct clock clock;
	_Atomic int64_t mono, wall;
};
static inline int64_t test_mono(struct clock *c)
{
	return atomic_load(&container_of(c, struct test_clock, clock)->mono);
}
static inline int64_t test_wall(struct clock *c)
{
	return atomic_load(&container_of(c, struct test_clock, clock)->wall);
}
static inline void test_clock_init(struct test_clock *c, int64_t mono_ns, int64_t wall_ns)
{
	c->clock = (struct clock){ .mono_ns = test_mono, .wall_ns = test_wall };
	atomic_init(&c->mono, mono_ns);
	atomic_init(&c->wall, wall_ns);
}
static inline void test_clock_advance(struct test_clock *c, int64_t ns)
{
	atomic_fetch_add(&c->mono, ns);
	atomic_fetch_add(&c->wall, ns);
}

struct wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	int class;
	int64_t rev, lease, next;
	bool held, more;
	uint64_t count;
	size_t n_items;
	struct store_item *item; /* first found or previous item of the first operation, referenced */
	struct store_version versions[64]; /* owned */
	size_t n_versions;
	char msg[300];
};

static inline void wait_init(struct wait *w)
{
	memset(w, 0, sizeof(*w));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->cond, NULL);
}

static inline void wait_done_fn(struct store_call *call, void *arg)
{
	struct wait *w = arg;
	w->class = (int)call->err.class;
	snprintf(w->msg, sizeof(w->msg), "%s", err_msg(&call->err));
	w->rev = call->rev;
	w->lease = call->lease;
	w->more = call->more;
	w->next = call->next;
	if (call->kind_ == CALL_TXN) {
		const struct store_result *r;
		w->held = store_txn_held(call);
		if (store_txn_results(call, &r)) {
			w->count = r->count;
			w->n_items = r->n_items;
			if (r->n_items || r->n_prev)
				w->item = store_item_ref(r->n_items ? r->items[0] : r->prev[0]);
		}
	}
	for (size_t i = 0; i < call->n_versions && i < ARRAY_LEN(w->versions); i++) {
		struct store_version v = call->versions[i];
		v.key.ptr = mem_dup(v.key.ptr, v.key.len);
		v.value = bytes_ref(v.value);
		w->versions[w->n_versions++] = v;
	}
	pthread_mutex_lock(&w->lock);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static inline void wait_for(struct wait *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->done)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

static inline void wait_free(struct wait *w)
{
	store_item_unref(w->item);
	for (size_t i = 0; i < w->n_versions; i++) {
		free((void *)w->versions[i].key.ptr);
		bytes_unref(w->versions[i].value);
	}
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->cond);
}
#define auto_wait auto_cleanup(wait_free)

static inline int do_commit(struct store *s, struct store_txn *t, struct wait *w)
{
	wait_init(w);
	store_commit(s, t, NULL, wait_done_fn, w);
	wait_for(w);
	return w->class;
}

/* Returns the revision, or a negative class. */
static inline int64_t do_put_dirt(struct store *s, const char *key, const char *value, enum dirt dirt, int64_t lease)
{
	auto_wait struct wait w;
	auto_bytes struct bytes *v = bytes_of(span_of(value));
	struct store_txn *t = store_txn_new();
	store_txn_put(t, STORE_THEN, span_of(key), v, lease);
	if (dirt)
		(dirt == DIRT_FLEETING ? store_txn_fleeting : store_txn_volatile)(t);
	int class = do_commit(s, t, &w);
	return class ? -class : w.rev;
}
static inline int64_t do_put_flags(struct store *s, const char *key, const char *value, bool is_volatile, int64_t lease)
{
	return do_put_dirt(s, key, value, is_volatile ? DIRT_VOLATILE : DIRT_NONE, lease);
}
static inline int64_t do_put(struct store *s, const char *key, const char *value)
{
	return do_put_flags(s, key, value, false, 0);
}
static inline int64_t do_delete(struct store *s, const char *key)
{
	auto_wait struct wait w;
	struct store_txn *t = store_txn_new();
	store_txn_delete(t, STORE_THEN, span_of(key));
	int class = do_commit(s, t, &w);
	return class ? -class : w.rev;
}
static inline int64_t do_sync(struct store *s)
{
	auto_wait struct wait w;
	wait_init(&w);
	store_sync(s, NULL, wait_done_fn, &w);
	wait_for(&w);
	return w.rev;
}

/* Value now, copied into out ("-" when absent); returns the item's revision. */
static inline int64_t do_get(struct store *s, const char *key, char *out, size_t size)
{
	struct store_snapshot *snap = store_snapshot(s);
	const struct store_item *it = store_get(snap, span_of(key));
	int64_t rev = it ? it->rev : 0;
	snprintf(out, size, "%.*s", it ? (int)it->value->len : 1, it ? it->value->data : "-");
	store_snapshot_unref(snap);
	return rev;
}
static inline bool is_value(struct store *s, const char *key, const char *want)
{
	char have[20000];
	(void)do_get(s, key, have, sizeof(have));
	if (strcmp(have, want) == 0)
		return true;
	print_error("key %s: have \"%.200s\", want \"%.200s\"\n", key, have, want);
	return false;
}

static inline int rm_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}
static inline void dir_make(char *out, size_t size)
{
	/* Memory where there is some: what syncs do is the fault test's subject, not these tests'. */
	const char *base = getenv("TMPDIR");
	base = base ? base : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(out, size, "%s/knarr-store-XXXXXX", base);
	assert_non_null(mkdtemp(out));
}
static inline void dir_remove(const char *path)
{
	(void)nftw(path, rm_one, 16, FTW_DEPTH | FTW_PHYS);
}
static inline struct store *do_open(const struct store_options *o)
{
	auto_err struct err err = ERR_INIT;
	struct store *s = NULL;
	if (store_open(o, &s, &err) < 0)
		fail_msg("store_open: %s", err_msg(&err));
	return s;
}
static inline void do_close(struct store *s)
{
	auto_err struct err err = ERR_INIT;
	if (store_close(s, &err) < 0)
		fail_msg("store_close: %s", err_msg(&err));
}
