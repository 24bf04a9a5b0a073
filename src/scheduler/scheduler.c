/* One pod at a time: the one of the highest priority that waits longest is filtered against every node, goes to the emptiest that
 * fits, counts there at once, and is bound while the next one is looked at. */
#include "scheduler/queue.h"

#define BACKOFF_MS 1000
#define BACKOFF_MAX_MS 10000
#define FORGOTTEN_MS (5 * 60 * 1000)
#define US "default-scheduler"

static void on_cycle(struct loop_task *t);
static void on_timer(struct loop_timer *t);

static const struct json *get(const struct json *o, const char *key)
{
	return json_get(o, span_of(key));
}

static struct json tree_of(struct arena *a, const struct client_item *it)
{
	struct json v = JSON_NULL_VALUE;
	/* The informer has read this text before it told us. */
	int rc = json_parse(a, arena_span(a, bytes_span(it->json)), JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &v, NULL);
	assert(rc == 0);
	return v;
}

/* ---- nodes and who is on them */

static struct node *node_get(struct scheduler *s, struct span name)
{
	struct node *n = map_get(&s->by_name, name);
	if (n)
		return n;
	n = mem_zalloc(sizeof(*n) + name.len + 1);
	memcpy(n->name, name.ptr, name.len);
	list_init(&n->pods);
	map_put(&s->by_name, span_make(n->name, name.len), n);
	return n;
}

static void node_settle(struct scheduler *s, struct node *n)
{
	if (n->item || !list_empty(&n->pods))
		return;
	map_remove(&s->by_name, span_of(n->name));
	arena_done(&n->arena);
	free(n);
}

static void pod_leave(struct pod *p)
{
	struct node *n = p->node;
	if (!n)
		return;
	list_remove(&p->link);
	n->dirty = true;
	p->node = NULL;
	node_settle(p->s, n);
}

static void pod_join(struct pod *p, struct span name)
{
	if (p->node && span_is(name, p->node->name))
		return;
	pod_leave(p);
	p->node = node_get(p->s, name);
	p->node->dirty = true;
	list_push(&p->node->pods, &p->link);
}

static void node_refresh(struct node *n)
{
	struct arena *a = &n->arena;
	unsigned cap = 0;
	if (!n->dirty)
		return;
	arena_reset(a);
	struct json *tree = arena_new(a, struct json);
	*tree = tree_of(a, n->item);
	n->good = sched_node_read(a, tree, &n->columns);
	n->dirty = false;
	LIST_EACH(&n->pods, p, struct pod, link) {
		struct sched_pod *x = arena_new(a, struct sched_pod);
		struct json pod = tree_of(a, p->item);
		/* One that cannot be read counts as what could be read of it. */
		(void)sched_pod_read(a, &pod, x);
		sched_node_count(&n->columns, x);
		if (n->columns.n_ports + x->n_ports > cap) {
			struct sched_port *more = arena_alloc_n(a, cap = (n->columns.n_ports + x->n_ports) * 2, sizeof(*more));
			if (n->columns.n_ports)
				memcpy(more, n->columns.ports, n->columns.n_ports * sizeof(*more));
			n->columns.ports = more;
		}
		for (unsigned i = 0; i < x->n_ports; i++)
			n->columns.ports[n->columns.n_ports++] = x->ports[i];
	}
}

/* ---- where a pod stands */

static void pod_to(struct pod *p, enum place place)
{
	struct scheduler *s = p->s;
	bool waits = place == PLACE_ACTIVE || place == PLACE_BACKOFF || place == PLACE_UNSCHEDULABLE || place == PLACE_GATED;
	p->place = place;
	loop_timer_stop(&p->timer);
	list_remove(&p->queued);
	if (waits)
		list_push(&s->pending, &p->queued);
	if (place == PLACE_ACTIVE && s->begun)
		loop_defer(s->loop, &s->cycle);
}

static int64_t backoff_ms(const struct pod *p)
{
	int64_t ms = p->attempts > 4 ? BACKOFF_MAX_MS : (int64_t)BACKOFF_MS << (p->attempts ? p->attempts - 1 : 0);
	return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

/* Something changed that may help: it comes again when its back-off is over. */
static void pod_again(struct pod *p)
{
	int64_t left = p->tried_ms + backoff_ms(p) - loop_now_ms(p->s->loop);
	if (left <= 0) {
		pod_to(p, PLACE_ACTIVE);
		return;
	}
	pod_to(p, PLACE_BACKOFF);
	loop_timer_start(&p->timer, left);
}

static void on_timer(struct loop_timer *t)
{
	pod_to(container_of(t, struct pod, timer), PLACE_ACTIVE);
}

static void wake_all(struct scheduler *s)
{
	struct list waiting;
	list_init(&waiting);
	LIST_EACH(&s->pending, p, struct pod, queued) {
		if (p->place != PLACE_UNSCHEDULABLE)
			continue;
		list_remove(&p->queued);
		list_push(&waiting, &p->queued);
	}
	LIST_EACH(&waiting, p, struct pod, queued)
		pod_again(p);
}

/* What a pod's object says about where it stands. */
static void pod_seen(struct pod *p, const struct json *object)
{
	const struct json *spec = get(object, "spec"), *gates = get(spec, "schedulingGates");
	struct span node = json_span(get(spec, "nodeName")), phase = json_span(get(get(object, "status"), "phase"));
	struct scheduler *s = p->s;
	bool over = span_is(phase, "Succeeded") || span_is(phase, "Failed");
	p->priority = json_i64(get(spec, "priority"), 0);
	if (node.len && !over) {
		pod_join(p, node);
		p->node->dirty = true; /* its requests may have been resized */
		pod_to(p, PLACE_ASSIGNED);
		return;
	}
	if (node.len || over || get(get(object, "metadata"), "deletionTimestamp") ||
	    !span_is(json_span(get(spec, "schedulerName")), US)) {
		bool freed = p->node;
		pod_leave(p);
		pod_to(p, PLACE_NONE);
		if (freed)
			wake_all(s);
		return;
	}
	if (p->place == PLACE_BINDING)
		return;
	if (json_is(gates, JSON_ARRAY) && gates->n)
		pod_to(p, PLACE_GATED);
	else if (p->place == PLACE_NONE || p->place == PLACE_GATED)
		pod_to(p, PLACE_ACTIVE);
	/* One that fits nowhere stays so: our own word about it is a change too. See on_pod_changed. */
}

/* ---- the cycle */

static struct pod *next_pod(struct scheduler *s)
{
	struct pod *best = NULL;
	LIST_EACH(&s->pending, p, struct pod, queued)
		if (p->place == PLACE_ACTIVE &&
		    (!best || p->priority > best->priority || (p->priority == best->priority && p->since_ms < best->since_ms)))
			best = p;
	return best;
}

static struct client_object_ref ref_of(const struct json *object)
{
	struct client_object_ref r = client_ref(object);
	r.api_version = SPAN("v1");
	r.kind = SPAN("Pod");
	return r;
}

static void on_told(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	if (why && why->class != ERR_NOT_FOUND)
		log_debug("a pod's condition was not written", kv_err(why));
}

static void tell_why(struct pod *p, struct arena *a, const struct json *object, struct span words)
{
	struct scheduler *s = p->s;
	auto_buf struct buf path = {}, body = {};
	char now[40];
	struct client_object_ref ref = ref_of(object);
	client_event(s->events, &ref, "Warning", "FailedScheduling", words);
	JSON_EACH_ITEM(get(get(object, "status"), "conditions"), c)
		if (span_is(json_span(get(c, "type")), "PodScheduled") && span_eq(json_span(get(c, "message")), words))
			return;
	time_format(now, loop_wall_ns(s->loop) / NS_PER_S, 0, 0);
	struct json patch = json_object(), meta = json_object(), st = json_object(), list = json_array(), c = json_object();
	(void)json_setl(a, &c, "type", json_cstr("PodScheduled"));
	(void)json_setl(a, &c, "status", json_cstr("False"));
	(void)json_setl(a, &c, "reason", json_cstr("Unschedulable"));
	(void)json_setl(a, &c, "message", json_str(words));
	(void)json_setl(a, &c, "lastTransitionTime", json_cstr(now));
	(void)json_push(a, &list, c);
	(void)json_setl(a, &st, "conditions", list);
	(void)json_setl(a, &meta, "uid", json_str(p->item->uid));
	(void)json_setl(a, &patch, "metadata", meta);
	(void)json_setl(a, &patch, "status", st);
	json_write(&body, &patch, 0);
	client_path(&path, &CLIENT_KIND("", "v1", "pods", true), p->item->ns, p->item->name, "status");
	const struct client_request r = { .method = "PATCH", .path = buf_span(&path), .body = buf_span(&body),
					  .content_type = CLIENT_STRATEGIC_PATCH, .done = on_told };
	client_send(s->client, &r);
}

static void on_bound(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct pod *p = arg;
	auto_arena struct arena a = {};
	p->call = NULL;
	if (!why) {
		struct json object = tree_of(&a, p->item);
		struct client_object_ref ref = ref_of(&object);
		if (p->node)
			client_event(p->s->events, &ref, "Normal", "Scheduled",
				     arena_printf(&a, "Successfully assigned %.*s to %s", SPAN_ARG(p->item->key), p->node->name));
		if (p->place == PLACE_BINDING) /* the cache may have told already */
			pod_to(p, PLACE_ASSIGNED);
		return;
	}
	log_debug("a binding failed", kv_span("pod", p->item->key), kv_err(why));
	if (p->place != PLACE_BINDING)
		return; /* it was bound nevertheless, or has gone */
	/* Whether an answer that never came was a binding is for the cache to tell; trying again is harmless: a bound pod refuses. */
	pod_leave(p);
	pod_again(p);
}

static void pod_bind(struct pod *p, struct node *n)
{
	auto_arena struct arena a = {};
	auto_buf struct buf path = {}, body = {};
	struct json b = json_object(), meta = json_object(), target = json_object();
	(void)json_setl(&a, &b, "apiVersion", json_cstr("v1"));
	(void)json_setl(&a, &b, "kind", json_cstr("Binding"));
	(void)json_setl(&a, &meta, "name", json_str(p->item->name));
	(void)json_setl(&a, &meta, "namespace", json_str(p->item->ns));
	(void)json_setl(&a, &meta, "uid", json_str(p->item->uid));
	(void)json_setl(&a, &target, "kind", json_cstr("Node"));
	(void)json_setl(&a, &target, "name", json_cstr(n->name));
	(void)json_setl(&a, &b, "metadata", meta);
	(void)json_setl(&a, &b, "target", target);
	json_write(&body, &b, 0);
	client_path(&path, &CLIENT_KIND("", "v1", "pods", true), p->item->ns, p->item->name, "binding");
	pod_join(p, span_of(n->name)); /* counts from now on */
	pod_to(p, PLACE_BINDING);
	const struct client_request r = { .method = "POST", .path = buf_span(&path), .body = buf_span(&body), .done = on_bound,
					  .arg = p };
	p->call = client_send(p->s->client, &r);
}

static void schedule(struct pod *p)
{
	struct scheduler *s = p->s;
	auto_arena struct arena a = {};
	struct json object = tree_of(&a, p->item);
	struct sched_pod *want = arena_new(&a, struct sched_pod);
	struct sched_tally *tally = arena_new(&a, struct sched_tally);
	struct node *best = NULL;
	int64_t best_score = -1;
	unsigned n_nodes = 0, equals = 0;
	bool good = sched_pod_read(&a, &object, want);
	p->attempts++;
	p->tried_ms = loop_now_ms(s->loop);
	MAP_EACH(&s->by_name, e) {
		struct node *n = e->value;
		struct span reasons[SCHED_REASONS_MAX];
		unsigned n_reasons;
		if (!n->item || !good || want->unknown)
			continue;
		node_refresh(n);
		if (!n->good)
			continue;
		n_nodes++;
		enum sched_verdict v = sched_filter(&a, want, &n->columns, reasons, &n_reasons);
		if (v != SCHED_FITS) {
			sched_tally_add(tally, v, reasons, n_reasons);
			continue;
		}
		int64_t score = sched_score(want, &n->columns);
		/* Of equals one by chance, as upstream's selectHost. */
		equals = score == best_score ? equals + 1 : 1;
		if (score > best_score || (score == best_score && rng_below(&s->rng, equals) == 0)) {
			best_score = score;
			best = n;
		}
	}
	if (best) {
		pod_bind(p, best);
		return;
	}
	struct span words;
	if (!good)
		words = arena_printf(&a, "the pod asks for more than %d extended resources or %d host ports, or for an amount that is none",
				     SCHED_EXTENDED_MAX, SCHED_PORTS_MAX);
	else if (want->unknown)
		words = arena_printf(&a, "the pod asks for %s, which this scheduler does not decide yet", want->unknown);
	else
		words = sched_tally_words(&a, tally, n_nodes);
	pod_to(p, PLACE_UNSCHEDULABLE);
	loop_timer_start(&p->timer, FORGOTTEN_MS);
	tell_why(p, &a, &object, words);
}

static void on_cycle(struct loop_task *t)
{
	struct scheduler *s = container_of(t, struct scheduler, cycle);
	struct pod *p = next_pod(s);
	if (!p)
		return;
	loop_defer(s->loop, &s->cycle); /* one pod a task: the loop's other work has its turn */
	schedule(p);
}

/* ---- what informers tell */

static void on_pod(struct client_informer *inf, struct client_item *it, const struct json *object, void *arg)
{
	struct scheduler *s = arg;
	struct pod *p = mem_new(struct pod);
	*p = (struct pod){ .s = s, .item = it, .since_ms = loop_now_ms(s->loop) };
	list_init(&p->link);
	list_init(&p->queued);
	loop_timer_init(&p->timer, s->loop, "pod waits", on_timer);
	it->user = p;
	pod_seen(p, object);
}

static bool same_spec(struct bytes *old, const struct json *object)
{
	auto_arena struct arena a = {};
	struct json was;
	if (json_parse(&a, bytes_span(old), JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &was, NULL) < 0)
		return false;
	const struct json *x = get(&was, "spec"), *y = get(object, "spec");
	return x && y && json_equal(x, y);
}

static void on_pod_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *object,
			   void *arg)
{
	struct pod *p = it->user;
	enum place was = p->place;
	pod_seen(p, object);
	/* Its own change may let it fit (a toleration, a smaller request); its status does not. */
	if (was == PLACE_UNSCHEDULABLE && p->place == PLACE_UNSCHEDULABLE && !same_spec(old, object))
		pod_again(p);
}

static void pod_free(struct pod *p)
{
	if (p->call)
		client_cancel(p->call);
	loop_timer_stop(&p->timer);
	list_remove(&p->queued);
	pod_leave(p);
	free(p);
}

static void on_pod_gone(struct client_informer *inf, struct client_item *it, void *arg)
{
	struct scheduler *s = arg;
	struct pod *p = it->user;
	bool freed = p->node;
	pod_free(p);
	if (freed)
		wake_all(s);
}

static void on_node(struct client_informer *inf, struct client_item *it, const struct json *object, void *arg)
{
	struct scheduler *s = arg;
	struct node *n = node_get(s, it->name);
	n->item = it;
	n->dirty = true;
	it->user = n;
	wake_all(s);
}

/* What filters look at. */
static bool node_same(struct bytes *old, const struct json *object)
{
	auto_arena struct arena a = {};
	struct json was;
	if (json_parse(&a, bytes_span(old), JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &was, NULL) < 0)
		return false;
	const struct json *pairs[][2] = {
		{ get(get(&was, "metadata"), "labels"), get(get(object, "metadata"), "labels") },
		{ get(&was, "spec"), get(object, "spec") },
		{ get(get(&was, "status"), "allocatable"), get(get(object, "status"), "allocatable") },
	};
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		if (pairs[i][0] && pairs[i][1] ? !json_equal(pairs[i][0], pairs[i][1]) : pairs[i][0] != pairs[i][1])
			return false;
	return true;
}

static void on_node_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *object,
			    void *arg)
{
	struct scheduler *s = arg;
	struct node *n = it->user;
	if (node_same(old, object))
		return; /* a heartbeat */
	n->dirty = true;
	wake_all(s);
}

static void on_node_gone(struct client_informer *inf, struct client_item *it, void *arg)
{
	struct node *n = it->user;
	n->item = NULL;
	node_settle(arg, n);
}

static void on_synced(struct client_informer *inf, void *arg)
{
	struct scheduler *s = arg;
	/* Nothing is decided before everything that is bound is counted. */
	if (!client_informer_synced(s->pods) || !client_informer_synced(s->nodes) || s->begun)
		return;
	s->begun = true;
	log_info("scheduling begins", kv_u64("nodes", client_informer_n(s->nodes)), kv_u64("pods", client_informer_n(s->pods)));
	notify_ready();
	loop_defer(s->loop, &s->cycle);
}

/* ---- the whole */

struct scheduler *scheduler_new(struct loop *l, struct client *client)
{
	struct scheduler *s = mem_new(struct scheduler);
	uint64_t seed;
	rng_secret(&seed, sizeof(seed));
	*s = (struct scheduler){ .loop = l, .client = client };
	rng_init(&s->rng, seed);
	list_init(&s->pending);
	loop_task_init(&s->cycle, on_cycle);
	s->events = client_recorder_new(client, SPAN(US), SPAN_EMPTY);
	return s;
}

void scheduler_start(struct scheduler *s)
{
	const struct client_informer_params pods = { .client = s->client, .kind = CLIENT_KIND("", "v1", "pods", true), .added = on_pod,
						     .changed = on_pod_changed, .removed = on_pod_gone, .synced = on_synced, .arg = s };
	const struct client_informer_params nodes = { .client = s->client, .kind = CLIENT_KIND("", "v1", "nodes", false),
						      .added = on_node, .changed = on_node_changed, .removed = on_node_gone,
						      .synced = on_synced, .arg = s };
	s->pods = client_informer_new(&pods);
	s->nodes = client_informer_new(&nodes);
}

void scheduler_free(struct scheduler *s)
{
	struct client_item *it;
	size_t pos = 0;
	if (!s)
		return;
	loop_task_cancel(&s->cycle);
	while (s->pods && (it = client_informer_next(s->pods, &pos)))
		pod_free(it->user);
	pos = 0;
	while (s->nodes && (it = client_informer_next(s->nodes, &pos))) {
		struct node *n = it->user;
		n->item = NULL;
		node_settle(s, n);
	}
	client_informer_free(s->pods);
	client_informer_free(s->nodes);
	client_recorder_free(s->events);
	map_done(&s->by_name);
	free(s);
}
