/* One loop thread's end of the store: what it asked is answered here, and its watches look at the ring from here.
 *
 * The committer only wakes the port, once per batch; which watch an event concerns is found on the port's own thread:
 *
 *     ring      ... | 41 42 43 | 44 45 46 47 |      (segments; numbers of events)
 *     port               ^ at 44: everything before has been offered to every watch that keeps up
 *     sets      "/pods/" -> { w1 w2 w3 }  exact "/nodes/a" -> { w4 }    found by hash for each event key:
 *               once for the whole key and once for each length that some prefix has
 *     w5        ^ at 42: paused or just opened; reads the ring by itself until it is at the port's place
 *
 * The watches of one set that keep up get the same array of events, so 1,000 of them cost one scan. A paused watch is in
 * no set: nothing happens for it until it resumes, and the ring forgets its place in time (EXPIRED).
 *
 * Everything here belongs to the port's thread except inbox, woken and the list of ports (locks named there). */
#include "store/store_private.h"

#define RUN_EVENTS SEGMENT_EVENTS /* offered at once: one segment at most */

struct watch_set {
	char *name;          /* owned; 'x' or 'p', then the key or prefix */
	size_t name_len;
	struct list watches; /* that keep up */
	size_t n;
	const struct store_event **events; /* owned; of the segment under scan */
	size_t n_events, cap_events;
	struct list touched;
};

struct store_watch {
	struct store_port *port;
	const struct store_watch_fns *fns;
	void *arg;
	struct watch_set *set;   /* shared by all watches of the same range */
	struct list link;        /* in set->watches, port->behind, port->paused or port->closed */
	enum { WATCH_LEVEL, WATCH_BEHIND, WATCH_PAUSED, WATCH_EXPIRED, WATCH_CLOSED } state;
	uint64_t next;           /* event to look at next, unless level */
	int64_t from_rev;        /* nothing below it is told */
};

struct store_port {
	struct store *s;
	void (*wake)(void *arg);
	void *arg;
	struct list link;         /* s->ports_lock */
	atomic_bool woken;
	atomic_uint n_watches;    /* the committer wakes for events only who has some */
	pthread_mutex_t lock;
	struct list inbox;        /* lock */

	struct map sets;
	unsigned lengths[STORE_KEY_MAX + 1]; /* prefix sets of each length */
	unsigned max_length;
	struct list behind, paused, closed;
	uint64_t next;            /* event to offer next */
	int64_t rev;
	uint64_t serial;
	bool running;
};

/* ---- the committer's side */

void store_port_answer(struct store_port *p, struct store_call *call)
{
	pthread_mutex_lock(&p->lock);
	list_push(&p->inbox, &call->link_);
	pthread_mutex_unlock(&p->lock);
}

static void wake(struct store_port *p)
{
	/* Published, then exchanged; store_port_run clears, then looks: all sequentially consistent, so one of the two sees. */
	if (!atomic_exchange(&p->woken, true))
		p->wake(p->arg);
}

void store_ports_wake(struct store *s, bool events)
{
	pthread_mutex_lock(&s->ports_lock);
	LIST_EACH(&s->ports, p, struct store_port, link) {
		bool want = events && atomic_load_explicit(&p->n_watches, memory_order_acquire);
		if (!want) {
			pthread_mutex_lock(&p->lock);
			want = !list_empty(&p->inbox);
			pthread_mutex_unlock(&p->lock);
		}
		if (want)
			wake(p);
	}
	pthread_mutex_unlock(&s->ports_lock);
}

/* ---- ports */

struct store_port *store_port_open(struct store *s, void (*wake_fn)(void *arg), void *arg)
{
	struct store_port *p = mem_new(struct store_port);
	p->s = s;
	p->wake = wake_fn;
	p->arg = arg;
	pthread_mutex_init(&p->lock, NULL);
	list_init(&p->inbox);
	list_init(&p->behind);
	list_init(&p->paused);
	list_init(&p->closed);
	struct store_snapshot *snap = store_snapshot(s);
	p->next = snap->events_end;
	p->rev = snap->rev;
	store_snapshot_unref(snap);
	pthread_mutex_lock(&s->ports_lock);
	list_push(&s->ports, &p->link);
	pthread_mutex_unlock(&s->ports_lock);
	return p;
}

void store_port_close(struct store_port *p)
{
	assert(!p->running && atomic_load(&p->n_watches) == 0);
	pthread_mutex_lock(&p->s->ports_lock);
	list_remove(&p->link);
	pthread_mutex_unlock(&p->s->ports_lock);
	assert(list_empty(&p->inbox));
	map_done(&p->sets);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

int64_t store_port_rev(const struct store_port *p)
{
	return p->rev;
}

/* ---- watches */

static struct watch_set *set_of(struct store_port *p, struct span range, bool exact)
{
	char name[STORE_KEY_MAX + 1];
	name[0] = exact ? 'x' : 'p';
	if (range.len)
		memcpy(name + 1, range.ptr, range.len);
	struct watch_set *set = map_get(&p->sets, span_make(name, range.len + 1));
	if (set)
		return set;
	set = mem_new(struct watch_set);
	set->name = mem_dup(name, range.len + 1);
	set->name_len = range.len + 1;
	list_init(&set->watches);
	list_init(&set->touched);
	map_put(&p->sets, span_make(set->name, set->name_len), set);
	if (!exact) {
		p->lengths[range.len]++;
		p->max_length = MAX(p->max_length, (unsigned)range.len);
	}
	return set;
}

static void set_release(struct store_port *p, struct watch_set *set)
{
	if (--set->n)
		return;
	assert(list_empty(&set->watches));
	map_remove(&p->sets, span_make(set->name, set->name_len));
	if (set->name[0] == 'p')
		p->lengths[set->name_len - 1]--;
	while (p->max_length && !p->lengths[p->max_length])
		p->max_length--;
	list_remove(&set->touched);
	free(set->events);
	free(set->name);
	free(set);
}

static bool set_covers(const struct watch_set *set, struct span key)
{
	struct span range = span_make(set->name + 1, set->name_len - 1);
	return set->name[0] == 'x' ? span_eq(key, range) : store_key_vs_prefix(key, range) == 0;
}

static void place(struct store_watch *w, int state)
{
	struct store_port *p = w->port;
	list_remove(&w->link);
	w->state = (__typeof__(w->state))state;
	list_push(state == WATCH_LEVEL ? &w->set->watches : state == WATCH_BEHIND ? &p->behind :
		  state == WATCH_CLOSED ? &p->closed : &p->paused, &w->link);
}

int store_watch_open(struct store_port *p, struct span prefix, bool exact, int64_t from, const struct store_watch_fns *fns,
		     void *arg, struct store_watch **out_watch, struct err *err)
{
	if (prefix.len > STORE_KEY_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "prefix of %zu bytes is longer than %d", prefix.len, STORE_KEY_MAX);
	atomic_fetch_add(&p->n_watches, 1); /* before looking, so that no event comes unnoticed in between */
	struct store_snapshot *snap = store_snapshot(p->s);
	if (from == 0)
		from = snap->rev + 1;
	if (from <= snap->floor_rev) {
		int code = err_set(err, ERR_EXPIRED, "required revision %lld has been compacted, oldest is %lld", (long long)from,
				   (long long)snap->floor_rev + 1);
		store_snapshot_unref(snap);
		atomic_fetch_sub(&p->n_watches, 1);
		return code;
	}
	struct store_watch *w = mem_new(struct store_watch);
	w->port = p;
	w->fns = fns;
	w->arg = arg;
	w->from_rev = from;
	w->next = store_snapshot_event_of_rev(snap, from);
	list_init(&w->link);
	w->set = set_of(p, prefix, exact);
	w->set->n++;
	/* Whoever begins at or behind the port's own place is level at once: from_rev holds back what lies between. A port in the
	 * middle of a scan offers this segment to the sets it has touched already, so there it has to go the long way. */
	if (w->next >= p->next && !p->running) {
		place(w, WATCH_LEVEL);
		/* An event may have come between the port's last run and its first watch: nobody woke it for that. */
		if (snap->events_end > p->next)
			wake(p);
	} else {
		place(w, WATCH_BEHIND);
		wake(p);
	}
	store_snapshot_unref(snap);
	*out_watch = w;
	return 0;
}

static void watch_free(struct store_watch *w)
{
	list_remove(&w->link);
	set_release(w->port, w->set);
	free(w);
}

void store_watch_close(struct store_watch *w)
{
	struct store_port *p = w->port;
	atomic_fetch_sub(&p->n_watches, 1);
	place(w, WATCH_CLOSED);
	if (!p->running)
		watch_free(w);
}

void store_watch_resume(struct store_watch *w)
{
	if (w->state != WATCH_PAUSED)
		return;
	place(w, WATCH_BEHIND);
	wake(w->port);
}

int64_t store_watch_rev(const struct store_watch *w)
{
	const struct store_port *p = w->port;
	if (w->state == WATCH_LEVEL)
		return MAX(p->rev, w->from_rev - 1);
	return w->from_rev - 1;
}

static void expire(struct store_watch *w)
{
	place(w, WATCH_EXPIRED);
	w->fns->expired(w, w->arg);
}

/* Offers events of one segment. Level watches that took all stay level; else the watch goes on at the first event
 * it did not take. True if all was taken. */
static bool offer(struct store_watch *w, const struct store_event *const *events, size_t n, struct segment *seg,
		  uint64_t serial)
{
	size_t skip = 0;
	while (skip < n && events[skip]->rev < w->from_rev)
		skip++;
	if (skip == n)
		return true;
	struct store_batch b = { .events = events + skip, .n = n - skip, .serial = serial, .segment = seg };
	size_t took = w->fns->events(w, &b, w->arg);
	if (w->state == WATCH_CLOSED)
		return true;
	assert(took <= b.n);
	if (took == b.n)
		return true;
	const struct store_event *at = b.events[took];
	w->next = seg->first + (uint64_t)(at - seg->events);
	w->from_rev = MAX(w->from_rev, at->rev); /* what lies below has been taken */
	place(w, WATCH_PAUSED);
	return false;
}

static void touch(struct store_port *p, struct list *touched, char kind, struct span part, const struct store_event *e)
{
	char name[STORE_KEY_MAX + 1];
	name[0] = kind;
	if (part.len)
		memcpy(name + 1, part.ptr, part.len);
	struct watch_set *set = map_get(&p->sets, span_make(name, part.len + 1));
	if (!set || list_empty(&set->watches))
		return;
	if (!set->n_events)
		list_push(touched, &set->touched);
	MEM_GROW(set->events, set->n_events, set->cap_events);
	set->events[set->n_events++] = e;
}

static void offer_segment(struct store_port *p, struct segment *seg, uint64_t end)
{
	struct list touched;
	list_init(&touched);
	for (; p->next < end; p->next++) {
		const struct store_event *e = &seg->events[p->next - seg->first];
		struct span key = store_event_key(e);
		touch(p, &touched, 'x', key, e);
		for (unsigned len = 0; len <= p->max_length && len <= key.len; len++)
			if (p->lengths[len])
				touch(p, &touched, 'p', span_sub(key, 0, len), e);
	}
	while (!list_empty(&touched)) {
		struct watch_set *set = LIST_POP(&touched, struct watch_set, touched);
		p->serial++;
		/* A callback may pause or close any watch, this one included, which moves it to another list: so this list is
		 * emptied into one of our own and each watch goes back when its turn came. */
		struct list turn;
		list_init(&turn);
		list_append(&turn, &set->watches);
		set->n++; /* keeps the set while callbacks close its watches */
		while (!list_empty(&turn)) {
			struct store_watch *w = LIST_POP(&turn, struct store_watch, link);
			list_push(&set->watches, &w->link);
			(void)offer(w, set->events, set->n_events, seg, p->serial);
		}
		set->n_events = 0;
		set_release(p, set);
	}
}

/* A watch that reads the ring by itself. True when it is level, paused or gone; false when its budget is used up. */
static bool catch_up(struct store_watch *w, struct store_snapshot *snap, unsigned budget)
{
	struct store_port *p = w->port;
	const struct store_event *found[RUN_EVENTS];
	for (unsigned told = 0; w->next < p->next;) {
		if (w->next < store_snapshot_events_begin(snap)) {
			expire(w);
			return true;
		}
		if (told >= budget)
			return false;
		uint64_t end;
		struct segment *seg = store_snapshot_segment(snap, w->next, &end);
		end = MIN(end, p->next);
		size_t n = 0;
		for (uint64_t at = w->next; at < end; at++) {
			const struct store_event *e = &seg->events[at - seg->first];
			if (set_covers(w->set, store_event_key(e)))
				found[n++] = e;
		}
		w->next = end;
		told += (unsigned)n;
		if (n && !offer(w, found, n, seg, ++p->serial))
			return true;
		if (w->state == WATCH_CLOSED)
			return true;
		w->from_rev = MAX(w->from_rev, seg->events[end - 1 - seg->first].rev);
	}
	place(w, WATCH_LEVEL);
	return true;
}

/* The port itself fell behind the ring: its thread did not run for as long as the ring reaches back. Paused watches find
 * out when they resume. */
static void expire_level(struct store_port *p)
{
	struct list all;
	list_init(&all);
	MAP_EACH(&p->sets, e) {
		struct watch_set *set = e->value;
		list_append(&all, &set->watches);
	}
	while (!list_empty(&all)) { /* a callback may close any of them, which takes it off this list */
		struct store_watch *w = LIST_FIRST(&all, struct store_watch, link);
		if (w->next < p->next)
			expire(w);
		else
			place(w, WATCH_BEHIND);
	}
}

bool store_port_run(struct store_port *p, unsigned budget)
{
	assert(!p->running);
	atomic_store(&p->woken, false);
	struct list inbox;
	list_init(&inbox);
	pthread_mutex_lock(&p->lock);
	list_append(&inbox, &p->inbox);
	pthread_mutex_unlock(&p->lock);
	p->running = true;
	LIST_EACH(&inbox, c, struct store_call, link_) {
		list_remove(&c->link_);
		c->done(c, c->arg);
		store_call_free(c);
	}
	struct store_snapshot *snap = store_snapshot(p->s);
	bool more = false;
	if (p->next < store_snapshot_events_begin(snap)) {
		p->next = store_snapshot_events_begin(snap);
		expire_level(p);
	}
	for (unsigned done = 0; p->next < snap->events_end && !more;) {
		uint64_t end;
		struct segment *seg = store_snapshot_segment(snap, p->next, &end);
		if (!atomic_load_explicit(&p->n_watches, memory_order_relaxed)) {
			p->next = snap->events_end;
			break;
		}
		done += (unsigned)(end - p->next);
		offer_segment(p, seg, end);
		p->rev = seg->events[end - 1 - seg->first].rev;
		more = done >= budget && p->next < snap->events_end;
	}
	if (!more)
		p->rev = snap->rev;
	struct list behind;
	list_init(&behind);
	list_append(&behind, &p->behind);
	while (!list_empty(&behind)) {
		struct store_watch *w = LIST_POP(&behind, struct store_watch, link);
		list_push(&p->behind, &w->link);
		if (!catch_up(w, snap, budget))
			more = true;
	}
	store_snapshot_unref(snap);
	p->running = false;
	struct store_watch *closed;
	while ((closed = LIST_POP(&p->closed, struct store_watch, link)))
		watch_free(closed);
	return more;
}
