/* Stages side by side. A lane is one stage that the plan needs; its rank is its place in the plan's order.
 *
 *     caller's thread:  rank 0 ──> rank 1 ──> rank 2 ──> ...      what is told, in that order, as if built one by one
 *                         │          │ a helper has begun it: its spool is read out while it grows
 *                         │          └ nobody has: it is built here, and talks straight to the client
 *     helpers, 3 to 7, else as many as processors: the first stages whose base is there and which nobody has begun. Not fewer:
 *     a step mostly waits (for a network, a disk, a sleep), and the caller builds nothing while it tells
 *
 * Invariants:
 *  1. A lane waits for lanes of lower rank alone: for the stage that it copies from, and for a step that both may make. The lowest
 *     lane that is not done is always being built, on the caller's thread if need be. So somebody always goes on.
 *  2. A lane that fails ends those of higher rank, which would not have been begun had the stages been built one by one; those of
 *     lower rank go on, as theirs would be the failure then. What is told and what is reported are the same in every run.
 *  3. Words held back lie in a file without a name. Together they are at most SPOOL_MAX: beyond it a program's output is clipped,
 *     and that is said. It is not made to wait: it may hold what a lane of lower rank needs (a locked cache mount).
 *  4. Locks: a stop's mutex, then lanes.mutex, then the image store's. The builder's mutex is never held with lanes.mutex. */
#include "builder/work.h"

#include <fcntl.h>
#include <unistd.h>

#define HELPERS_MIN 3
#define HELPERS_MAX 7
#define SPOOL_MAX (256ull << 20)
#define AHEAD_MAX (1u << 20)  /* bytes that a lane whose turn it is may be ahead of the client */
#define PIECE_MAX (64u << 10) /* longest record */

struct lane {
	struct build w;
	struct arena arena;
	struct builder_params p;
	struct builder_stop stop;
	struct lanes *all;
	unsigned rank, stage;
	bool direct;             /* on the caller's thread */
	/* with lanes.mutex */
	enum { LANE_NEW, LANE_RUNS, LANE_DONE, LANE_FAILED } state;
	bool cancelled;
	bool placed, making, away, any;
	struct image_digest at;  /* once placed */
	const struct builder_instruction *next;
	uint8_t key[32];         /* making */
	int fd;                  /* the spool; -1 = nothing was said */
	uint64_t written, told;  /* offsets in it */
	bool clipped;
	struct err lost;         /* why the spool could not be written */
	/* when it is over */
	int rc;
	struct err err;
};

struct lanes {
	struct build *w;
	pthread_mutex_t mutex, context;
	pthread_cond_t changed;
	struct lane *at;         /* by rank */
	unsigned n, front, failed; /* front: whose words go out; failed: the lowest that did, n = none */
	uint64_t spooled;
	unsigned *rank;          /* of a stage; n = none */
	pthread_t threads[HELPERS_MAX];
	unsigned helpers, helpers_max, idle;
	bool over;
};

struct record {
	uint32_t len;
	uint32_t line; /* else text */
};

/* ---- words ---- */

static int spool_put(struct lane *l, struct span data, bool line, struct err *err)
{
	auto_buf struct buf b = {};
	struct record r = { (uint32_t)data.len, line };
	if (l->fd < 0 && (l->fd = open(l->w.b->work, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) < 0)
		return err_sys(err, "make a file in %s", l->w.b->work);
	buf_add(&b, &r, sizeof(r));
	buf_span_add(&b, data);
	for (size_t done = 0; done < b.len;) {
		ssize_t n = pwrite(l->fd, b.ptr + done, b.len - done, (off_t)(l->written + done));
		if (n < 0 && errno != EINTR)
			return err_sys(err, "hold back what a stage says");
		done += n < 0 ? 0 : (size_t)n;
	}
	pthread_mutex_lock(&l->all->mutex);
	l->written += b.len;
	l->all->spooled += b.len;
	pthread_cond_broadcast(&l->all->changed);
	pthread_mutex_unlock(&l->all->mutex);
	return 0;
}

/* Is there room for what a program writes? When it is its turn, it waits for the client as it would without a spool. */
static bool spool_room(struct lane *l)
{
	struct lanes *all = l->all;
	pthread_mutex_lock(&all->mutex);
	while (all->front == l->rank && l->written - l->told > AHEAD_MAX && !l->cancelled)
		pthread_cond_wait(&all->changed, &all->mutex);
	if (l->written > AHEAD_MAX && l->written == l->told && ftruncate(l->fd, 0) == 0)
		l->written = l->told = 0; /* all was told: the file begins anew */
	bool room = all->spooled < SPOOL_MAX;
	pthread_mutex_unlock(&all->mutex);
	return room;
}

static int held_back(struct lane *l, struct span text, bool much, bool line, struct err *err)
{
	if (!spool_room(l) && much) {
		if (l->clipped)
			return 0;
		l->clipped = true;
		text = SPAN("\n[output clipped: more than is held back for stages that are built beside others]\n");
	} else {
		l->clipped = false;
	}
	int rc = 0;
	if (line && !l->clipped) /* whole */
		return text.len <= PIECE_MAX ? spool_put(l, text, true, err) :
			err_set(err, ERR_INTERNAL, "a line of %zu bytes about an image", text.len);
	do {
		struct span piece = span_sub(text, 0, MIN(text.len, PIECE_MAX));
		rc = spool_put(l, piece, false, err);
		text = span_from(text, piece.len);
	} while (rc == 0 && text.len);
	return rc;
}

int builder_lane_say(struct lane *l, struct span text, bool much, struct err *err)
{
	const struct builder_params *p = l->all->w->p;
	if (l->direct)
		return p->say(p->arg, text, err);
	auto_err struct err why = ERR_INIT;
	int rc = held_back(l, text, much, false, &why);
	if (rc < 0 && !l->lost.class)
		(void)err_set(&l->lost, why.class, "%s", err_msg(&why));
	return rc < 0 && err ? err_move(err, &why) : rc;
}

static int say(void *arg, struct span text, struct err *err)
{
	return builder_lane_say(arg, text, true, err);
}

/* All that it said so far goes out. With the mutex, which is not held meanwhile. */
static int tell(struct lane *l, struct err *err)
{
	struct lanes *all = l->all;
	const struct builder_params *p = all->w->p;
	char piece[PIECE_MAX];
	struct record r;
	int rc = 0;
	while (rc == 0 && l->told < l->written) {
		uint64_t at = l->told;
		pthread_mutex_unlock(&all->mutex);
		ssize_t n = pread(l->fd, &r, sizeof(r), (off_t)at);
		if (n == (ssize_t)sizeof(r) && r.len <= sizeof(piece))
			n = pread(l->fd, piece, r.len, (off_t)(at + sizeof(r)));
		else
			r.len = UINT32_MAX;
		if (n != (ssize_t)r.len)
			rc = err_sys(err, "read what a stage said");
		else
			rc = r.line ? p->line(p->arg, span_make(piece, r.len), err) : p->say(p->arg, span_make(piece, r.len), err);
		pthread_mutex_lock(&all->mutex);
		l->told += sizeof(r) + (rc == 0 ? r.len : 0);
		all->spooled -= sizeof(r) + (rc == 0 ? r.len : 0);
		pthread_cond_broadcast(&all->changed);
	}
	return rc;
}

struct lines {
	struct tar_sink sink;
	struct lane *lane;
};

static int lines_push(struct tar_sink *s, struct span text, struct err *err)
{
	return held_back(container_of(s, struct lines, sink)->lane, text, true, true, err);
}

static int fetch(void *arg, struct span name, const struct image_platform *platform, struct tar_sink *lines, struct err *err)
{
	struct lane *l = arg;
	const struct builder_params *p = l->all->w->p;
	struct lines held = { { lines_push }, l };
	(void)lines; /* of a lane: this is where they begin */
	return p->fetch(p->arg, name, platform, l->direct ? NULL : &held.sink, err);
}

/* ---- who waits for whom ---- */

void builder_lane_stands(struct lane *l, const struct image_digest *id, const struct builder_instruction *next, bool any)
{
	pthread_mutex_lock(&l->all->mutex);
	l->at = *id;
	l->placed = true;
	l->making = false;
	l->next = next;
	l->any = any;
	pthread_cond_broadcast(&l->all->changed);
	pthread_mutex_unlock(&l->all->mutex);
}

void builder_lane_away(struct lane *l, bool away)
{
	pthread_mutex_lock(&l->all->mutex);
	l->away = away;
	pthread_cond_broadcast(&l->all->changed);
	pthread_mutex_unlock(&l->all->mutex);
}

/* Where a lane begins that is not placed yet, if that can be told. */
static bool begins_at(const struct lane *l, struct image_digest *out)
{
	const struct plan_stage *ps = &l->w.plan.stages[l->stage];
	*out = (struct image_digest){};
	if (ps->base == PLAN_IMAGE)
		return image_find(l->w.b->o.images, ps->image, out, NULL) == 0;
	if (ps->base == PLAN_STAGE) {
		if (l->all->at[l->all->rank[ps->base_stage]].state != LANE_DONE)
			return false;
		*out = l->w.stages[ps->base_stage].id;
	}
	return true;
}

/* Would me find this step made, had e been built before it? Then it waits until e has made it, or has made another: from then on
 * e stands on what nobody else does. A lane that waits for another stage, or cannot begin for lack of one, may still come to the
 * same step later; it is not waited for, and whoever comes second has the hit. */
static bool comes_first(const struct lane *e, const struct lane *me, const uint8_t key[32])
{
	struct image_digest at = e->at;
	const struct builder_stage *is = e->w.plan.stages[e->stage].is;
	const struct builder_instruction *next = e->placed ? e->next : is->n ? &is->items[0] : NULL;
	if (e->state == LANE_DONE || e->state == LANE_FAILED || e->away)
		return false;
	if (e->making)
		return image_digest_eq(&e->at, &me->at) && memcmp(e->key, key, sizeof(e->key)) == 0;
	if (!e->placed && !begins_at(e, &at))
		return false;
	/* One that runs stands there at once, and only then are the triggers known that it makes first. */
	if (!e->placed && e->state == LANE_RUNS)
		return image_digest_eq(&at, &me->at) || image_descends(e->w.b->o.images, &me->at, &at);
	/* One that has not begun may have to wait for me to end, as there are only so many threads: then its first text counts. */
	if (image_digest_eq(&at, &me->at))
		return (e->placed && e->any) || (next && me->w.in && span_eq(next->code, me->w.in->code));
	return e->placed && (e->next || e->any) && image_descends(e->w.b->o.images, &me->at, &at);
}

int builder_lane_claim(struct lane *l, const uint8_t key[32], struct err *err)
{
	struct lanes *all = l->all;
	bool waited = false, wait;
	pthread_mutex_lock(&all->mutex);
	do {
		wait = false;
		for (unsigned i = 0; i < l->rank && !wait; i++)
			wait = comes_first(&all->at[i], l, key);
		waited |= wait;
		if (wait && !l->cancelled)
			pthread_cond_wait(&all->changed, &all->mutex);
	} while (wait && !l->cancelled);
	bool cancelled = l->cancelled;
	if (!waited) {
		l->making = true;
		memcpy(l->key, key, sizeof(l->key));
		pthread_cond_broadcast(&all->changed);
	}
	pthread_mutex_unlock(&all->mutex);
	return cancelled ? err_set(err, ERR_CANCELLED, "the build was cancelled") : waited;
}

int builder_lane_await(struct lane *l, unsigned stage, struct err *err)
{
	struct lanes *all = l->all;
	unsigned rank = all->rank[stage];
	if (rank >= l->rank)
		return err_set(err, ERR_NOT_FOUND, "stage %u comes later", stage);
	struct lane *e = &all->at[rank];
	builder_lane_away(l, true);
	pthread_mutex_lock(&all->mutex);
	while (e->state != LANE_DONE && !l->cancelled)
		pthread_cond_wait(&all->changed, &all->mutex);
	bool done = e->state == LANE_DONE;
	l->away = false;
	pthread_mutex_unlock(&all->mutex);
	return done ? 0 : err_set(err, ERR_CANCELLED, "the build was cancelled");
}

void builder_context_enter(struct build *w)
{
	pthread_mutex_lock(&w->lane->all->context);
}

void builder_context_leave(struct build *w)
{
	pthread_mutex_unlock(&w->lane->all->context);
}

/* ---- ends ---- */

/* Ends the lanes from that rank on. Without the mutex. */
static void end_from(struct lanes *all, unsigned rank)
{
	for (unsigned i = rank; i < all->n; i++)
		builder_stop_raise(&all->at[i].stop);
	pthread_mutex_lock(&all->mutex);
	for (unsigned i = rank; i < all->n; i++)
		all->at[i].cancelled = true;
	pthread_cond_broadcast(&all->changed);
	pthread_mutex_unlock(&all->mutex);
}

static void heard(void *arg)
{
	end_from(arg, 0);
}

/* Builds it on this thread. Returns with the mutex. */
static void lane_run(struct lane *l)
{
	struct lanes *all = l->all;
	l->rc = builder_stage_run(&l->w, l->stage, &l->err);
	if (l->rc == -ERR_CANCELLED && l->lost.class) /* nobody left: there was no room for what it said */
		l->rc = err_move(&l->err, &l->lost);
	if (l->rc < 0)
		end_from(all, l->rank + 1);
	pthread_mutex_lock(&all->mutex);
	l->state = l->rc < 0 ? LANE_FAILED : LANE_DONE;
	if (l->rc < 0)
		all->failed = MIN(all->failed, l->rank);
	pthread_cond_broadcast(&all->changed);
}

/* ---- helpers ---- */

static bool done(const struct lanes *all, unsigned stage)
{
	return all->at[all->rank[stage]].state == LANE_DONE;
}

/* The first that can be begun: rather one that waits for nothing more than one whose base alone is there. With the mutex. */
static struct lane *pick(struct lanes *all, unsigned *out_n)
{
	struct lane *first = NULL;
	*out_n = 0;
	for (int partly = 0; partly < 2; partly++)
		for (unsigned i = 0; i < all->failed; i++) {
			struct lane *l = &all->at[i];
			const struct plan_stage *ps = &l->w.plan.stages[l->stage];
			bool whole = true, base = ps->base != PLAN_STAGE || done(all, ps->base_stage);
			if (l->state != LANE_NEW || l->cancelled || !base)
				continue;
			for (size_t u = 0; u < ps->n_uses && whole; u++)
				whole = done(all, ps->uses[u]);
			if (whole == (partly == 1))
				continue;
			first = first ? first : l;
			++*out_n;
		}
	return first;
}

static void *helper(void *arg);

/* With the mutex. A thread that cannot be had is done without. */
static void helpers_call(struct lanes *all)
{
	unsigned n;
	(void)pick(all, &n);
	for (unsigned idle = all->idle; idle < n && all->helpers < all->helpers_max; idle++)
		if (pthread_create(&all->threads[all->helpers], NULL, helper, all) != 0)
			break;
		else
			all->helpers++;
}

static void *helper(void *arg)
{
	struct lanes *all = arg;
	struct lane *l;
	unsigned n;
	pthread_mutex_lock(&all->mutex);
	while (!all->over) {
		if ((l = pick(all, &n))) {
			l->state = LANE_RUNS;
			helpers_call(all);
			pthread_mutex_unlock(&all->mutex);
			lane_run(l);
			continue;
		}
		all->idle++;
		pthread_cond_wait(&all->changed, &all->mutex);
		all->idle--;
	}
	pthread_mutex_unlock(&all->mutex);
	return NULL;
}

/* ---- the whole ---- */

static void lane_init(struct lanes *all, unsigned rank)
{
	struct lane *l = &all->at[rank];
	struct build *w = all->w;
	*l = (struct lane){ .w = *w, .p = *w->p, .all = all, .rank = rank, .stage = w->plan.order[rank], .any = true, .fd = -1 };
	all->rank[l->stage] = rank;
	builder_stop_init(&l->stop);
	l->p.stop = &l->stop;
	l->p.say = say;
	l->p.fetch = w->p->fetch ? fetch : NULL;
	l->p.arg = l;
	l->w.p = &l->p;
	l->w.a = &l->arena;
	l->w.lane = l;
	l->w.used = NULL;
	builder_vars_split(&l->w.vars, &l->arena, &w->vars);
	l->w.c = (struct config){ .a = &l->arena, .escape = w->file.escape, .vars = &l->w.vars };
	l->w.sources.ids = arena_alloc_n(&l->arena, w->sources.n + 1, sizeof(*l->w.sources.ids));
	if (w->sources.n)
		memcpy(l->w.sources.ids, w->sources.ids, w->sources.n * sizeof(*l->w.sources.ids));
	pthread_mutex_lock(&w->b->mutex);
	list_push(&w->b->builds, &l->w.link);
	pthread_mutex_unlock(&w->b->mutex);
}

static void lane_done(struct lane *l)
{
	struct build *w = l->all->w;
	pthread_mutex_lock(&w->b->mutex);
	list_remove(&l->w.link);
	pthread_mutex_unlock(&w->b->mutex);
	builder_vars_join(&w->vars, &l->w.vars);
	builder_vars_done(&l->w.vars);
	builder_stop_done(&l->stop);
	err_done(&l->err);
	err_done(&l->lost);
	fd_close(&l->fd);
	arena_done(&l->arena);
}

/* Each in its turn: built here, or told while another thread builds it. */
static int in_turn(struct lanes *all, struct err *err)
{
	int rc = 0;
	pthread_mutex_lock(&all->mutex);
	for (; all->front < all->n && rc == 0; all->front += rc == 0) {
		struct lane *l = &all->at[all->front];
		pthread_cond_broadcast(&all->changed);
		if (l->state == LANE_NEW) {
			l->state = LANE_RUNS;
			l->direct = true;
			helpers_call(all);
			pthread_mutex_unlock(&all->mutex);
			lane_run(l);
		}
		while (rc == 0 && (l->told < l->written || l->state == LANE_RUNS)) {
			if (l->told == l->written)
				pthread_cond_wait(&all->changed, &all->mutex);
			rc = tell(l, err);
		}
		if (rc == 0 && l->rc < 0) {
			all->w->in = l->w.in;
			all->w->code = l->w.code;
			rc = err ? err_move(err, &l->err) : l->rc;
		}
	}
	pthread_mutex_unlock(&all->mutex);
	return rc;
}

int builder_lanes_run(struct build *w, struct err *err)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct lanes all = { .w = w, .n = (unsigned)w->plan.n_order, .failed = (unsigned)w->plan.n_order };
	all.helpers_max = (unsigned)MIN(MAX(processors, HELPERS_MIN), HELPERS_MAX);
	all.at = arena_alloc_n(w->a, all.n, sizeof(*all.at));
	all.rank = arena_alloc_n(w->a, w->plan.n, sizeof(*all.rank));
	for (size_t i = 0; i < w->plan.n; i++)
		all.rank[i] = all.n;
	pthread_mutex_init(&all.mutex, NULL);
	pthread_mutex_init(&all.context, NULL);
	pthread_cond_init(&all.changed, NULL);
	for (unsigned i = 0; i < all.n; i++)
		lane_init(&all, i);
	if (w->p->stop)
		builder_stop_listen(w->p->stop, heard, &all);
	int rc = in_turn(&all, err);
	if (w->p->stop)
		builder_stop_listen(w->p->stop, NULL, NULL);
	if (rc < 0)
		end_from(&all, 0);
	pthread_mutex_lock(&all.mutex);
	all.over = true;
	pthread_cond_broadcast(&all.changed);
	pthread_mutex_unlock(&all.mutex);
	for (unsigned i = 0; i < all.helpers; i++)
		pthread_join(all.threads[i], NULL);
	for (unsigned i = 0; i < all.n; i++)
		lane_done(&all.at[i]);
	pthread_cond_destroy(&all.changed);
	pthread_mutex_destroy(&all.context);
	pthread_mutex_destroy(&all.mutex);
	return rc;
}
