/* Expectations: what a pass has asked for and the cache has not shown yet (upstream's ControllerExpectations). A key whose
 * expectations are open is not counted anew, so a cache that lags behind an answered request makes nothing twice. */
#include "controllers/frame.h"

#define EXPIRE_MS (5 * 60 * 1000)

struct expectation {
	int64_t creations; /* may fall below 0: seen before the answer came */
	struct map deletions; /* uids still to be seen; keys are owned values */
	int64_t since_ms;
	char key[];
};

static struct expectation *get(struct controller *c, struct span key, bool make)
{
	struct expectation *x = map_get(&c->expect.by_key, key);
	if (x || !make)
		return x;
	x = mem_zalloc(sizeof(*x) + key.len + 1);
	memcpy(x->key, key.ptr, key.len);
	map_put(&c->expect.by_key, span_make(x->key, key.len), x);
	return x;
}

static void expectation_free(struct expectation *x)
{
	MAP_EACH(&x->deletions, e)
		free(e->value);
	map_done(&x->deletions);
	free(x);
}

void expect_creations(struct controller *c, struct span key, unsigned n)
{
	struct expectation *x = get(c, key, true);
	x->creations += n;
	x->since_ms = loop_now_ms(c->cm->loop);
}

void expect_deletion(struct controller *c, struct span key, struct span uid)
{
	struct expectation *x = get(c, key, true);
	x->since_ms = loop_now_ms(c->cm->loop);
	if (map_get(&x->deletions, uid))
		return;
	char *text = mem_dup(uid.ptr, uid.len);
	map_put(&x->deletions, span_make(text, uid.len), text);
}

void expect_seen_creation(struct controller *c, struct span key)
{
	struct expectation *x = get(c, key, false);
	if (x && x->creations > 0)
		x->creations--;
}

void expect_seen_deletion(struct controller *c, struct span key, struct span uid)
{
	struct expectation *x = get(c, key, false);
	if (x)
		free(map_remove(&x->deletions, uid));
}

void expect_forget(struct controller *c, struct span key)
{
	struct expectation *x = map_remove(&c->expect.by_key, key);
	if (x)
		expectation_free(x);
}

bool expect_fulfilled(struct controller *c, struct span key)
{
	struct expectation *x = get(c, key, false);
	if (!x || (x->creations <= 0 && x->deletions.n == 0) || loop_now_ms(c->cm->loop) - x->since_ms > EXPIRE_MS) {
		expect_forget(c, key);
		return true;
	}
	return false;
}

void expect_done(struct expectations *x)
{
	MAP_EACH(&x->by_key, e)
		expectation_free(e->value);
	map_done(&x->by_key);
}
