/* A service is what its object says and what its slices say; either may come first. Whatever changes marks it, and at the end of
 * the loop's turn all that are marked go to the kernel in one transaction: one event alone is one service, a burst is one change.
 *
 * When the kernel refuses (somebody flushed the ruleset), everything is compared with it and put right; when that fails too, again
 * after a second, doubled up to a minute. */
#include <netinet/in.h>

#include "proxy/state.h"

#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 60000
#define STALE_MAX 4096

struct slice {
	struct list link; /* of its service */
	struct service *service; /* borrowed: lives longer */
	char *key;        /* owned */
	struct proxy_slice *columns; /* owned */
};

struct service {
	struct list marked; /* waits for apply */
	struct list slices;
	char *key;          /* owned */
	struct proxy_service *columns; /* owned; NULL: endpoints alone are known */
	struct proxy_plan plan;
	struct claim *claims; /* newest first, by next_own */
	bool lost;          /* somebody else has an address it wants */
};

struct claim {
	uint8_t key[24];
	uint8_t len;
	struct service *owner;
	struct claim *next_own;
	bool wanted; /* by the plan that is being made */
};

struct proxy_state {
	struct proxy_state_params p;
	struct map services, slices, claims;
	struct list marked;
	struct loop_task task;
	struct loop_timer retry;
	unsigned retry_ms;
	bool begun, right;
	int64_t last_ms;
	struct service *planning; /* whose plan asks for claims */
	bool freed; /* a claim went, and somebody had lost one */
	struct proxy_stale *stale; /* owned */
	size_t n_stale, cap_stale;
};

static void on_task(struct loop_task *t);
static void on_retry(struct loop_timer *t);

struct proxy_state *proxy_state_new(const struct proxy_state_params *p)
{
	struct proxy_state *s = mem_new(struct proxy_state);
	s->p = *p;
	list_init(&s->marked);
	loop_task_init(&s->task, on_task);
	loop_timer_init(&s->retry, p->loop, "services put right again", on_retry);
	return s;
}

/* Those that nobody wants any more go. True: there were some. */
static bool claims_drop(struct proxy_state *s, struct service *svc)
{
	bool any = false;
	for (struct claim **at = &svc->claims, *c; (c = *at);) {
		if (c->wanted) {
			at = &c->next_own;
			continue;
		}
		any = true;
		*at = c->next_own;
		(void)map_remove(&s->claims, span_make(c->key, c->len));
		free(c);
	}
	return any;
}

static void claims_unwant(struct service *svc)
{
	for (struct claim *c = svc->claims; c; c = c->next_own)
		c->wanted = false;
}

static void slice_free(struct proxy_state *s, struct slice *l)
{
	list_remove(&l->link);
	(void)map_remove(&s->slices, span_of(l->key));
	free(l->key);
	free(l->columns);
	free(l);
}

static void service_free(struct proxy_state *s, struct service *svc)
{
	LIST_EACH(&svc->slices, l, struct slice, link)
		slice_free(s, l);
	claims_unwant(svc);
	(void)claims_drop(s, svc);
	list_remove(&svc->marked);
	(void)map_remove(&s->services, span_of(svc->key));
	proxy_plan_done(&svc->plan);
	free(svc->columns);
	free(svc->key);
	free(svc);
}

void proxy_state_free(struct proxy_state *s)
{
	if (!s)
		return;
	MAP_EACH(&s->services, e)
		service_free(s, e->value);
	loop_task_cancel(&s->task);
	loop_timer_stop(&s->retry);
	map_done(&s->services);
	map_done(&s->slices);
	map_done(&s->claims);
	free(s->stale);
	free(s);
}

static void mark(struct proxy_state *s, struct service *svc)
{
	if (list_empty(&svc->marked))
		list_push(&s->marked, &svc->marked);
	if (s->begun && !loop_task_waiting(&s->task))
		loop_defer(s->p.loop, &s->task);
}

static struct service *service_of(struct proxy_state *s, struct span key, bool make)
{
	struct service *svc = map_get(&s->services, key);
	if (svc || !make)
		return svc;
	svc = mem_new(struct service);
	svc->key = mem_dup(key.ptr, key.len);
	list_init(&svc->slices);
	list_init(&svc->marked);
	(void)map_put(&s->services, span_of(svc->key), svc); /* was absent */
	return svc;
}

void proxy_state_service(struct proxy_state *s, struct span key, struct proxy_service *columns)
{
	struct service *svc = service_of(s, key, columns != NULL);
	if (!svc)
		return;
	free(svc->columns);
	svc->columns = columns;
	mark(s, svc);
}

void proxy_state_slice(struct proxy_state *s, struct span service_key, struct span slice_key, struct proxy_slice *columns)
{
	struct slice *l = map_get(&s->slices, slice_key);
	if (l)
		mark(s, l->service);
	if (l && !columns) {
		slice_free(s, l);
		return;
	}
	if (!columns)
		return;
	struct service *svc = service_of(s, service_key, true);
	if (!l) {
		l = mem_new(struct slice);
		l->key = mem_dup(slice_key.ptr, slice_key.len);
		list_init(&l->link);
		(void)map_put(&s->slices, span_of(l->key), l); /* was absent */
	}
	free(l->columns);
	l->columns = columns;
	l->service = svc; /* the label that names it may have changed */
	list_remove(&l->link);
	list_push(&svc->slices, &l->link);
	mark(s, svc);
}

/* ---- planning */

static bool claim(void *arg, const struct sys_addr *a, uint8_t protocol, uint16_t port)
{
	struct proxy_state *s = arg;
	uint8_t key[24] = { 0 };
	unsigned len = sys_addr_len(a);
	memcpy(key, a->b, len);
	key[len] = protocol;
	memcpy(key + len + 1, &port, 2);
	struct claim *c = map_get(&s->claims, span_make(key, len + 3));
	if (c && c->owner != s->planning) {
		s->planning->lost = true;
		return false;
	}
	if (c) {
		c->wanted = true;
		return true;
	}
	c = mem_new(struct claim);
	c->wanted = true;
	memcpy(c->key, key, sizeof(key));
	c->len = (uint8_t)(len + 3);
	c->owner = s->planning;
	c->next_own = s->planning->claims;
	s->planning->claims = c;
	(void)map_put(&s->claims, span_make(c->key, c->len), c); /* was absent */
	return true;
}

static void plan(struct proxy_state *s, struct service *svc, struct proxy_plan *out)
{
	const struct proxy_view view = { .ranges = s->p.ranges, .n_ranges = s->p.n_ranges, .claim = claim, .arg = s };
	const struct proxy_slice **slices = NULL;
	size_t n = 0, cap = 0;
	svc->lost = false;
	claims_unwant(svc);
	if (!svc->columns) {
		s->freed |= claims_drop(s, svc);
		return;
	}
	LIST_EACH(&svc->slices, l, struct slice, link) {
		MEM_GROW(slices, n, cap);
		slices[n++] = l->columns;
	}
	s->planning = svc;
	proxy_plan_make(svc->columns, slices, n, &view, &svc->plan, out);
	s->planning = NULL;
	/* What is claimed again was never free: who lost it is not asked anew, or two that want one address would ask for ever. */
	s->freed |= claims_drop(s, svc);
	free(slices);
	if (out->cut)
		log_warn("a service has more endpoints than are used", kv_str("service", svc->key), kv_u64("used", PROXY_SLOTS_MAX));
}

/* ---- UDP flows that lead nowhere */

static void stale_add(struct proxy_state *s, const struct proxy_stale *x)
{
	if (s->n_stale >= STALE_MAX)
		return; /* a service that large is not served by UDP flows that never end */
	MEM_GROW(s->stale, s->n_stale, s->cap_stale);
	s->stale[s->n_stale++] = *x;
}

static int by_address(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct proxy_endpoint));
}

static void stale_collect(struct proxy_state *s, const struct service *svc, const struct proxy_plan *now)
{
	const struct proxy_plan *was = &svc->plan;
	for (size_t i = 0; i < was->n_lists; i++) {
		const struct proxy_list *l = &was->lists[i], *still[2] = { NULL, NULL };
		if (l->protocol != IPPROTO_UDP)
			continue;
		for (size_t j = 0; j < now->n_lists; j++)
			if (now->lists[j].family == l->family && now->lists[j].protocol == IPPROTO_UDP && now->lists[j].port == l->port)
				still[now->lists[j].local] = &now->lists[j];
		for (uint32_t k = 0; k < l->n; k++) {
			bool there = k > 0 && by_address(&l->slots[k], &l->slots[k - 1]) == 0; /* looked at already */
			for (int x = 0; x < 2 && !there; x++)
				for (uint32_t m = 0; still[x] && m < still[x]->n && !there; m++)
					there = by_address(&still[x]->slots[m], &l->slots[k]) == 0;
			if (there)
				continue;
			struct proxy_stale gone = { .addr.family = l->family == V4 ? AF_INET : AF_INET6, .port = l->slots[k].port };
			memcpy(gone.addr.b, l->slots[k].addr, 16);
			stale_add(s, &gone);
		}
	}
	/* What was closed and is open now. */
	for (size_t i = 0; i < now->n_lists; i++) {
		const struct proxy_list *l = &now->lists[i];
		bool before = false;
		for (size_t j = 0; j < was->n_lists && !before; j++)
			before = was->lists[j].family == l->family && was->lists[j].protocol == l->protocol && was->lists[j].port == l->port;
		if (l->protocol != IPPROTO_UDP || before || !svc->columns)
			continue;
		const struct proxy_service *c = svc->columns;
		stale_add(s, &(struct proxy_stale){ .addr = c->cluster[l->family], .port = l->port, .front = true });
		for (unsigned k = 0; k < c->n_external; k++)
			stale_add(s, &(struct proxy_stale){ .addr = c->external[k], .port = l->port, .front = true });
		for (unsigned k = 0; k < c->n_balancer; k++)
			stale_add(s, &(struct proxy_stale){ .addr = c->balancer[k], .port = l->port, .front = true });
		for (unsigned k = 0; k < c->n_ports; k++)
			if (c->ports[k].port == l->port && c->ports[k].protocol == IPPROTO_UDP && c->ports[k].node_port)
				stale_add(s, &(struct proxy_stale){ .port = c->ports[k].node_port, .front = true });
	}
}

static void stale_flush(struct proxy_state *s)
{
	auto_err struct err err = ERR_INIT;
	unsigned flows = 0;
	if (!s->n_stale)
		return;
	/* Kept then, for the next change: a flow that leads nowhere has no end of its own while its client goes on. */
	if (proxy_conntrack_flush(s->stale, s->n_stale, &flows, &err) < 0) {
		log_warn("UDP flows to endpoints that are gone could not be forgotten", kv_err(&err));
		return;
	}
	if (flows)
		log_debug("forgot UDP flows", kv_u64("flows", flows));
	s->n_stale = 0;
}

/* ---- to the kernel */

static void done(struct proxy_state *s, int64_t start_ns, size_t n)
{
	s->last_ms = loop_now_ms(s->p.loop);
	s->retry_ms = 0;
	if (s->p.applied)
		s->p.applied(s->p.arg, clock_mono_ns(loop_clock(s->p.loop)) - start_ns, n);
}

static int put_right(struct proxy_state *s, struct err *err)
{
	size_t n = 0, changed = 0;
	int64_t start = clock_mono_ns(loop_clock(s->p.loop));
	const struct proxy_elements **all = mem_realloc_n(NULL, s->services.n + 1, sizeof(*all));
	MAP_EACH(&s->services, e) {
		const struct service *svc = e->value;
		all[n++] = &svc->plan.elements;
	}
	int rc = proxy_kernel_put_right(s->p.kernel, all, n, &changed, err);
	free(all);
	s->right = rc == 0;
	if (rc == 0) {
		log_info("services put right", kv_u64("services", n), kv_u64("changes", changed));
		done(s, start, n);
		stale_flush(s);
	}
	return rc;
}

static void later(struct proxy_state *s)
{
	s->retry_ms = s->retry_ms ? MIN(s->retry_ms * 2, (unsigned)RETRY_MAX_MS) : RETRY_MIN_MS;
	loop_timer_start(&s->retry, s->retry_ms);
}

int proxy_state_apply(struct proxy_state *s, struct err *err)
{
	int64_t start = clock_mono_ns(loop_clock(s->p.loop));
	size_t n = 0, cap = 0;
	struct {
		struct service *svc;
		struct proxy_plan plan;
	} *next = NULL;
	struct proxy_step *steps = NULL;
	if (!s->begun)
		return 0;
	for (struct service *svc; (svc = LIST_POP(&s->marked, struct service, marked));) {
		MEM_GROW(next, n, cap);
		next[n].svc = svc;
		next[n].plan = (struct proxy_plan){ 0 };
		plan(s, svc, &next[n].plan);
		stale_collect(s, svc, &next[n].plan);
		n++;
	}
	int rc = 0;
	if (s->right) {
		steps = mem_realloc_n(NULL, n + 1, sizeof(*steps));
		for (size_t i = 0; i < n; i++)
			steps[i] = (struct proxy_step){ &next[i].svc->plan.elements, &next[i].plan.elements };
		auto_err struct err why = ERR_INIT;
		rc = proxy_kernel_change(s->p.kernel, steps, n, &why);
		if (rc < 0) {
			log_warn("the kernel refused a change; comparing everything", kv_err(&why));
			s->right = false;
		}
	}
	for (size_t i = 0; i < n; i++) {
		struct service *svc = next[i].svc;
		proxy_plan_done(&svc->plan);
		svc->plan = next[i].plan;
		if (!svc->columns && list_empty(&svc->slices))
			service_free(s, svc);
	}
	free(steps);
	free(next);
	if (!s->right)
		rc = put_right(s, err);
	else
		done(s, start, n);
	if (rc < 0)
		later(s);
	stale_flush(s);
	if (s->freed) {
		s->freed = false;
		MAP_EACH(&s->services, e) {
			struct service *svc = e->value;
			if (svc->lost)
				mark(s, svc);
		}
	}
	return rc;
}

static void on_task(struct loop_task *t)
{
	auto_err struct err err = ERR_INIT;
	if (proxy_state_apply(container_of(t, struct proxy_state, task), &err) < 0)
		log_error("services could not be written; trying again", kv_err(&err));
}

static void on_retry(struct loop_timer *t)
{
	struct proxy_state *s = container_of(t, struct proxy_state, retry);
	if (!loop_task_waiting(&s->task))
		loop_defer(s->p.loop, &s->task);
}

int proxy_state_begin(struct proxy_state *s, struct err *err)
{
	s->begun = true;
	return proxy_state_apply(s, err);
}

void proxy_state_doubt(struct proxy_state *s)
{
	s->right = false;
	if (s->begun && !loop_task_waiting(&s->task))
		loop_defer(s->p.loop, &s->task);
}

bool proxy_state_right(const struct proxy_state *s)
{
	return s->right;
}

int64_t proxy_state_last_ms(const struct proxy_state *s)
{
	return s->last_ms;
}

size_t proxy_state_elements(const struct proxy_state *s)
{
	size_t n = 0;
	MAP_EACH(&s->services, e)
		n += ((const struct service *)e->value)->plan.elements.n;
	return n;
}

int proxy_state_local(const struct proxy_state *s, uint16_t health_port, struct span *out_key)
{
	MAP_EACH(&s->services, e) {
		const struct service *svc = e->value;
		if (svc->columns && svc->columns->health_port == health_port) {
			*out_key = span_of(svc->key);
			return (int)MIN(svc->plan.n_local, 1000000u);
		}
	}
	return -1;
}

void proxy_state_ports(const struct proxy_state *s, void (*fn)(void *arg, uint16_t health_port), void *arg)
{
	MAP_EACH(&s->services, e) {
		const struct service *svc = e->value;
		if (svc->columns && svc->columns->health_port)
			fn(arg, svc->columns->health_port);
	}
}
