/* What the kernel shall have for a service.
 *
 * For each port and family there are up to two lists of endpoints: all of them, and those of this node (for the policies called
 * Local). A list's slots are kept as they were as far as its endpoints still exist, so that one endpoint more or less changes a few
 * slots and not all.
 *
 *     cluster address     FRONT -> cluster list (internalTrafficPolicy Local: the local one)
 *     external address    FRONT -> cluster list; Local: OUTER -> local list; else MASQ
 *     node port           the same with PORTS, OUTER_PORTS, MASQ_PORTS
 *     no endpoint         CLOSED: reject; none of them here though the policy wants it: drop */
#include <netinet/in.h>

#include "proxy/plan.h"

void proxy_plan_done(struct proxy_plan *p)
{
	proxy_elements_done(&p->elements);
	for (size_t i = 0; i < p->n_lists; i++)
		free(p->lists[i].slots);
	free(p->lists);
	*p = (struct proxy_plan){ 0 };
}

static int by_address(const void *a, const void *b)
{
	const struct proxy_endpoint *x = a, *y = b;
	int c = memcmp(x->addr, y->addr, sizeof(x->addr));
	return c ? c : (x->port > y->port) - (x->port < y->port);
}

struct candidates {
	struct proxy_endpoint *all;
	uint8_t *flags;
	size_t n, cap, cap_flags;
};

static void collect(const struct proxy_port *port, int family, const struct proxy_slice *const *slices, size_t n,
		    struct candidates *out)
{
	for (size_t i = 0; i < n; i++) {
		const struct proxy_slice *s = slices[i];
		if (s->family != family)
			continue;
		for (unsigned p = 0; p < s->n_ports; p++) {
			struct span name = span_make(s->names + s->ports[p].name_at, s->ports[p].name_len);
			if (s->ports[p].protocol != port->protocol || !span_eq(name, port->name))
				continue;
			for (unsigned e = 0; e < s->n; e++) {
				size_t at = out->n;
				MEM_GROW(out->all, out->n, out->cap);
				if (out->cap_flags < out->cap) {
					out->flags = mem_realloc_n(out->flags, out->cap, 1);
					out->cap_flags = out->cap;
				}
				memcpy(out->all[at].addr, s->endpoints[e].addr, 16);
				out->all[at].port = s->ports[p].port;
				out->flags[at] = s->endpoints[e].flags;
				out->n++;
			}
		}
	}
}

/* Those that may be used: the ready ones; when there is none, those that still serve while they end (KEP-1669). */
static size_t choose(const struct candidates *c, bool here, bool zone, struct proxy_endpoint *out)
{
	size_t n = 0;
	for (int pass = 0; pass < 2 && n == 0; pass++)
		for (size_t i = 0; i < c->n; i++) {
			uint8_t f = c->flags[i];
			bool good = pass == 0 ? (f & PROXY_READY) != 0 : (f & PROXY_SERVING) && (f & PROXY_TERMINATING);
			if (good && (!here || (f & PROXY_HERE)) && (!zone || (f & PROXY_ZONE)))
				out[n++] = c->all[i];
		}
	qsort(out, n, sizeof(*out), by_address);
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) /* one address in two slices, while it moves from one to the other */
		if (i == 0 || by_address(&out[kept - 1], &out[i]) != 0)
			out[kept++] = out[i];
	return kept;
}

/* Hints count when every usable endpoint has some and at least one is meant for our zone. */
static bool hinted(const struct candidates *c)
{
	bool any = false;
	for (size_t i = 0; i < c->n; i++) {
		if (!(c->flags[i] & PROXY_READY))
			continue;
		if (!(c->flags[i] & PROXY_HINTED))
			return false;
		any |= (c->flags[i] & PROXY_ZONE) != 0;
	}
	return any;
}

static const struct proxy_list *list_before(const struct proxy_plan *last, const struct proxy_list *l)
{
	for (size_t i = 0; last && i < last->n_lists; i++) {
		const struct proxy_list *x = &last->lists[i];
		if (x->family == l->family && x->protocol == l->protocol && x->local == l->local && x->port == l->port)
			return x;
	}
	return NULL;
}

/* Every endpoint has size / n slots or one more. What was in a slot stays while its endpoint is there and has no more than that. */
static void fill(struct proxy_list *l, const struct proxy_endpoint *e, size_t n, const struct proxy_list *before)
{
	uint32_t base = l->n / (uint32_t)n, more = l->n % (uint32_t)n;
	uint32_t *has = mem_zalloc(n * sizeof(*has));
	uint8_t *kept = mem_zalloc(l->n);
	for (uint32_t i = 0; before && i < l->n && i < before->n; i++) {
		const struct proxy_endpoint *x = bsearch(&before->slots[i], e, n, sizeof(*e), by_address);
		size_t at = x ? (size_t)(x - e) : 0;
		if (!x || has[at] > base || (has[at] == base && !more))
			continue;
		more -= has[at] == base;
		has[at]++;
		l->slots[i] = *x;
		kept[i] = 1;
	}
	size_t at = 0;
	for (uint32_t i = 0; i < l->n; i++) {
		if (kept[i])
			continue;
		while (at < n && has[at] >= base)
			at++;
		size_t use = at;
		if (at == n) { /* all have their share: the first that has no more than that gets one more */
			for (use = 0; has[use] > base; use++)
				;
		}
		has[use]++;
		l->slots[i] = e[use];
	}
	free(has);
	free(kept);
}

struct making {
	const struct proxy_service *s;
	const struct proxy_view *view;
	const struct proxy_plan *last;
	struct proxy_plan *out;
	int v;
	const struct proxy_port *port;
};

static void put(struct making *m, enum proxy_set set, const struct proxy_key *k, const struct proxy_key *data)
{
	proxy_elements_put(&m->out->elements, m->v, set, k->b, NULL, data ? data->b : NULL);
}

static void list_key(const struct making *m, bool local, struct proxy_key *k)
{
	proxy_key_addr(k, &m->s->cluster[m->v]);
	proxy_key_port(k, m->port->port);
	proxy_key_u32(k, m->port->protocol | (local ? PROXY_LOCAL : 0));
}

static void endpoint_put(const struct making *m, const struct proxy_endpoint *e, struct proxy_key *k)
{
	struct sys_addr a = { .family = m->v == V4 ? AF_INET : AF_INET6 };
	memcpy(a.b, e->addr, 16);
	proxy_key_addr(k, &a);
	proxy_key_port(k, e->port);
}

/* The list's slots; returns its class, 0 when it is empty. */
static uint32_t list_put(struct making *m, bool local, const struct proxy_endpoint *e, size_t n)
{
	if (n > PROXY_SLOTS_MAX) {
		n = PROXY_SLOTS_MAX;
		m->out->cut = true;
	}
	if (n == 0)
		return 0;
	struct proxy_plan *out = m->out;
	MEM_GROW(out->lists, out->n_lists, out->cap_lists);
	struct proxy_list *l = &out->lists[out->n_lists++];
	*l = (struct proxy_list){ .family = (uint8_t)m->v, .protocol = m->port->protocol, .local = local, .port = m->port->port,
				  .n = proxy_class(n) };
	l->slots = mem_realloc_n(NULL, l->n, sizeof(*l->slots));
	fill(l, e, n, list_before(m->last, l));
	for (uint32_t i = 0; i < l->n; i++) {
		struct proxy_key k = { 0 }, data = { 0 };
		list_key(m, local, &k);
		proxy_key_u32(&k, i);
		endpoint_put(m, &l->slots[i], &data);
		put(m, PROXY_SLOTS, &k, &data);
	}
	if (!m->s->sticky_s)
		return l->n;
	struct proxy_key k = { 0 }, data = { 0 };
	list_key(m, local, &k);
	proxy_key_u32(&data, proxy_lifetime(m->s->sticky_s));
	put(m, PROXY_STICKY, &k, &data);
	for (size_t i = 0; i < n; i++) {
		struct proxy_key live = k;
		endpoint_put(m, &e[i], &live);
		put(m, PROXY_LIVE, &live, NULL);
	}
	return l->n | PROXY_STICKY_BIT;
}

/* An address (NULL: a node port's) and port that lead to a list, or nowhere. */
static void front(struct making *m, enum proxy_set set, const struct sys_addr *a, uint16_t port, bool local, uint32_t class)
{
	struct proxy_key k = { 0 }, data = { 0 };
	if (a)
		proxy_key_addr(&k, a);
	proxy_key_protocol(&k, m->port->protocol);
	proxy_key_port(&k, port);
	if (set == PROXY_FRONT || set == PROXY_PORTS || set == PROXY_OUTER || set == PROXY_OUTER_PORTS) {
		proxy_key_u32(&data, class);
		list_key(m, local, &data);
	} else if (set == PROXY_CLOSED || set == PROXY_CLOSED_PORTS) {
		proxy_key_u32(&data, class); /* enum proxy_closed */
	}
	put(m, set, &k, &data);
}

struct lists {
	uint32_t all, here; /* classes */
};

static void outside(struct making *m, const struct sys_addr *a, uint16_t port, struct lists l)
{
	bool local = m->s->external_local;
	enum proxy_set in = a ? PROXY_FRONT : PROXY_PORTS, outer = a ? PROXY_OUTER : PROXY_OUTER_PORTS;
	enum proxy_set closed = a ? PROXY_CLOSED : PROXY_CLOSED_PORTS, masq = a ? PROXY_MASQ : PROXY_MASQ_PORTS;
	if (!l.all) {
		front(m, closed, a, port, false, PROXY_REJECT);
		return;
	}
	front(m, in, a, port, false, l.all);
	if (local && l.here)
		front(m, outer, a, port, true, l.here);
	else if (local)
		front(m, closed, a, port, false, PROXY_DROP_OUTER);
	else
		front(m, masq, a, port, false, 0);
}

static void guarded(struct making *m, const struct sys_addr *a)
{
	const struct proxy_service *s = m->s;
	struct proxy_key k = { 0 };
	if (!s->n_sources)
		return;
	proxy_key_addr(&k, a);
	proxy_key_protocol(&k, m->port->protocol);
	proxy_key_port(&k, m->port->port);
	put(m, PROXY_GUARD, &k, NULL);
	for (unsigned i = 0; i < s->n_sources; i++) {
		const struct sys_prefix *p = &s->sources[i];
		if (p->addr.family != a->family)
			continue;
		bool covered = false; /* ranges that overlap would be refused by the kernel */
		for (unsigned j = 0; j < s->n_sources && !covered; j++) {
			const struct sys_prefix *q = &s->sources[j];
			bool wider = q->bits < p->bits || (j < i && q->bits == p->bits);
			covered = j != i && wider && q->addr.family == p->addr.family && sys_prefix_overlaps(q, p);
		}
		if (covered)
			continue;
		struct proxy_key from = k, to = k;
		struct sys_prefix first = sys_prefix_mask(*p);
		struct sys_addr last = first.addr;
		for (unsigned bit = p->bits; bit < sys_addr_len(&last) * 8; bit++)
			last.b[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		proxy_key_addr(&from, &first.addr);
		proxy_key_addr(&to, &last);
		proxy_elements_put(&m->out->elements, m->v, PROXY_SOURCES, from.b, to.b, NULL);
	}
}

static bool may(const struct making *m, const struct sys_addr *a)
{
	const struct proxy_view *w = m->view;
	if (a->family != (m->v == V4 ? AF_INET : AF_INET6))
		return false;
	for (unsigned i = 0; i < w->n_ranges; i++)
		if (sys_prefix_has(&w->ranges[i], a))
			return false;
	return !w->claim || w->claim(w->arg, a, m->port->protocol, m->port->port);
}

static void port_put(struct making *m, const struct candidates *c)
{
	const struct proxy_service *s = m->s;
	struct proxy_endpoint *e = mem_realloc_n(NULL, c->n + 1, sizeof(*e));
	size_t n = choose(c, false, s->hints && hinted(c), e), n_here;
	bool any = n > 0;
	struct lists l = { .all = list_put(m, false, e, n) };
	for (size_t i = 0; i < n; i++) {
		/* Elements that several services may want; whoever applies plans counts them. */
		struct proxy_key k = { 0 };
		struct proxy_key pair = { 0 };
		endpoint_put(m, &e[i], &k);
		for (size_t j = 0; j < c->n; j++)
			if ((c->flags[j] & PROXY_HERE) && by_address(&c->all[j], &e[i]) == 0) {
				unsigned w = k.len - 4;
				memcpy(pair.b, k.b, w);
				memcpy(pair.b + w, k.b, w);
				put(m, PROXY_HAIRPIN, &pair, NULL);
				break;
			}
	}
	if (s->internal_local || s->external_local) {
		n_here = choose(c, true, false, e);
		l.here = list_put(m, true, e, n_here);
		any |= n_here > 0;
		for (size_t j = 0; j < c->n; j++)
			m->out->n_local += (c->flags[j] & PROXY_HERE) && (c->flags[j] & PROXY_READY);
	}
	free(e);
	const struct sys_addr *own = &s->cluster[m->v];
	if (s->internal_local ? l.here != 0 : l.all != 0)
		front(m, PROXY_FRONT, own, m->port->port, s->internal_local, s->internal_local ? l.here : l.all);
	else
		front(m, PROXY_CLOSED, own, m->port->port, false, any ? PROXY_DROP : PROXY_REJECT);
	for (unsigned i = 0; i < s->n_external; i++)
		if (may(m, &s->external[i]))
			outside(m, &s->external[i], m->port->port, l);
	for (unsigned i = 0; i < s->n_balancer; i++)
		if (may(m, &s->balancer[i])) {
			outside(m, &s->balancer[i], m->port->port, l);
			guarded(m, &s->balancer[i]);
		}
	if (m->port->node_port)
		outside(m, NULL, m->port->node_port, l);
}

void proxy_plan_make(const struct proxy_service *s, const struct proxy_slice *const *slices, size_t n,
		     const struct proxy_view *view, const struct proxy_plan *last, struct proxy_plan *out)
{
	struct making m = { .s = s, .view = view, .last = last, .out = out };
	struct candidates c = { 0 };
	for (m.v = V4; m.v < FAMILIES; m.v++) {
		if (!s->cluster[m.v].family)
			continue;
		for (unsigned p = 0; p < s->n_ports; p++) {
			m.port = &s->ports[p];
			c.n = 0;
			collect(m.port, m.v, slices, n, &c);
			port_put(&m, &c);
		}
	}
	free(c.all);
	free(c.flags);
	proxy_elements_sort(&out->elements);
}
