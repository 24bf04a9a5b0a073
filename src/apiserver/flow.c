#include "apiserver/flow.h"

#define GREED 4 /* times what is free */

bool flow_enter(struct flow *f, enum flow_kind kind, struct span user, bool exempt, struct flow_ticket *out)
{
	struct flow_class *c = &f->classes[kind];
	*out = (struct flow_ticket){ .kind = (uint8_t)kind, .exempt = exempt };
	if (exempt) {
		atomic_fetch_add_explicit(&c->exempt, 1, memory_order_relaxed);
		out->held = true;
		return true;
	}
	out->slot = (uint16_t)(span_hash(user) % FLOW_SLOTS);
	int64_t total = atomic_fetch_add_explicit(&c->total, 1, memory_order_relaxed);
	int64_t mine = atomic_fetch_add_explicit(&c->held[out->slot], 1, memory_order_relaxed);
	out->held = true;
	if (!c->limit || mine < GREED * (c->limit - total))
		return true;
	flow_leave(f, out);
	return false;
}

void flow_leave(struct flow *f, struct flow_ticket *t)
{
	struct flow_class *c = &f->classes[t->kind];
	if (!t->held)
		return;
	t->held = false;
	if (t->exempt) {
		atomic_fetch_sub_explicit(&c->exempt, 1, memory_order_relaxed);
		return;
	}
	atomic_fetch_sub_explicit(&c->held[t->slot], 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&c->total, 1, memory_order_relaxed);
}

int64_t flow_now(const struct flow *f, enum flow_kind kind)
{
	const struct flow_class *c = &f->classes[kind];
	return atomic_load_explicit(&c->total, memory_order_relaxed) + atomic_load_explicit(&c->exempt, memory_order_relaxed);
}

int64_t flow_exempt(const struct flow *f, enum flow_kind kind)
{
	return atomic_load_explicit(&f->classes[kind].exempt, memory_order_relaxed);
}
