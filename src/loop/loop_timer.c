/* Timers: a 4-ary heap of pointers, ordered by (slot, order of start).
 *
 *            0
 *     1    2    3    4          children of i: 4i+1 .. 4i+4
 *   5..8 9..12 ...
 *
 * Most timers are idle timeouts that are pushed back again and again and hardly ever run. So moving one to a later
 * time only writes due_ms; the slot it sits in stays, and when that slot comes up the timer is put where it
 * belongs by then. At 10,000 connections a request costs no heap work.
 *
 * Invariants
 * 1. slot_ms <= due_ms for every timer in the heap.
 * 2. heap[t->pos - 1] == t.
 * 3. A timer started by a timer's callback does not run in the same phase, even with delay 0. */
#include "loop/loop_impl.h"

static bool before(const struct loop_timer *a, const struct loop_timer *b)
{
	return a->slot_ms != b->slot_ms ? a->slot_ms < b->slot_ms : a->order < b->order;
}

static void place(struct loop *l, uint32_t i, struct loop_timer *t)
{
	l->heap[i] = t;
	t->pos = i + 1;
}

static void sift_up(struct loop *l, uint32_t i)
{
	struct loop_timer *t = l->heap[i];
	while (i > 0) {
		uint32_t parent = (i - 1) / 4;
		if (!before(t, l->heap[parent]))
			break;
		place(l, i, l->heap[parent]);
		i = parent;
	}
	place(l, i, t);
}

static void sift_down(struct loop *l, uint32_t i)
{
	struct loop_timer *t = l->heap[i];
	for (;;) {
		uint32_t first = 4 * i + 1;
		if (first >= l->n_timers)
			break;
		uint32_t best = first;
		uint32_t end = MIN(first + 4, l->n_timers);
		for (uint32_t c = first + 1; c < end; c++)
			if (before(l->heap[c], l->heap[best]))
				best = c;
		if (!before(l->heap[best], t))
			break;
		place(l, i, l->heap[best]);
		i = best;
	}
	place(l, i, t);
}

static void heap_remove(struct loop *l, uint32_t i)
{
	l->heap[i]->pos = 0;
	struct loop_timer *last = l->heap[--l->n_timers];
	if (i == l->n_timers)
		return;
	place(l, i, last);
	sift_up(l, i);
	sift_down(l, last->pos - 1);
}

void loop_timer_init(struct loop_timer *t, struct loop *l, const char *name, void (*fn)(struct loop_timer *t))
{
	*t = (struct loop_timer){ .loop = l, .name = name, .fn = fn };
}

void loop_timer_start(struct loop_timer *t, int64_t delay_ms)
{
	struct loop *l = t->loop;
	assert(delay_ms >= 0);
	int64_t due;
	if (__builtin_add_overflow(l->now_ms, delay_ms, &due))
		due = INT64_MAX;
	t->due_ms = due;
	t->due_order = ++l->order;
	if (t->pos && due > t->slot_ms)
		return;
	t->slot_ms = due;
	t->order = t->due_order;
	if (t->pos) {
		sift_up(l, t->pos - 1);
		sift_down(l, t->pos - 1); /* the same slot again: behind those started meanwhile */
		return;
	}
	MEM_GROW(l->heap, l->n_timers, l->cap_timers);
	place(l, l->n_timers, t);
	l->n_timers++;
	sift_up(l, l->n_timers - 1);
	loop_keep(l, t->background, 1);
}

void loop_timer_stop(struct loop_timer *t)
{
	if (!t->pos)
		return;
	heap_remove(t->loop, t->pos - 1);
	loop_keep(t->loop, t->background, -1);
}

void loop_timers_run(struct loop *l)
{
	uint64_t last_order = l->order; /* invariant 3 */
	unsigned left = l->budget;
	while (l->n_timers && left) {
		struct loop_timer *t = l->heap[0];
		if (t->slot_ms > l->now_ms)
			return;
		if (t->due_ms > t->slot_ms) { /* was pushed back */
			t->slot_ms = t->due_ms;
			t->order = t->due_order;
			sift_down(l, 0);
			continue;
		}
		if (t->order > last_order) {
			return; /* started in this phase; older ones with this slot would stand before it */
		}
		heap_remove(l, 0);
		loop_keep(l, t->background, -1);
		left--;
		l->stats.timers++;
		t->fn(t);
	}
}

int64_t loop_timers_next_ms(const struct loop *l)
{
	return l->n_timers ? l->heap[0]->slot_ms : INT64_MAX;
}

void loop_timers_dump(const struct loop *l, struct buf *out)
{
	for (uint32_t i = 0; i < l->n_timers; i++) {
		const struct loop_timer *t = l->heap[i];
		buf_printf(out, "timer %s in %lld ms%s\n", t->name, (long long)(t->due_ms - l->now_ms),
			t->background ? " (background)" : "");
	}
}
