/* Addresses in use are a sorted array of host parts: a network has tens of containers, seldom thousands, and the lowest free
 * one is found by walking from the first of the range until the row has a gap. */
#include "network/pool.h"

#define TRIES_MAX (1 << 20) /* subnets looked at in one supply */

const struct network_supply network_supply_default[] = {
	{ { { AF_INET, { 172, 17 } }, 16 }, 16 }, { { { AF_INET, { 172, 18 } }, 16 }, 16 }, { { { AF_INET, { 172, 19 } }, 16 },
		16 },
	{ { { AF_INET, { 172, 20 } }, 14 }, 16 }, { { { AF_INET, { 172, 24 } }, 14 }, 16 }, { { { AF_INET, { 172, 28 } }, 14 },
		16 },
	{ { { AF_INET, { 192, 168 } }, 16 }, 20 },
};
const unsigned network_supply_default_n = ARRAY_LEN(network_supply_default);

void network_pool_init(struct network_pool *p, const struct sys_prefix *subnet)
{
	*p = (struct network_pool){ .subnet = sys_prefix_mask(*subnet) };
}

void network_pool_done(struct network_pool *p)
{
	free(p->used);
	*p = (struct network_pool){ 0 };
}

/* Index of the first used host part that is not below offset. */
static size_t place(const struct network_pool *p, uint64_t offset)
{
	size_t lo = 0, hi = p->n_used;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (p->used[mid] < offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void mark(struct network_pool *p, size_t at, uint64_t offset)
{
	MEM_GROW(p->used, p->n_used, p->cap_used);
	memmove(p->used + at + 1, p->used + at, (p->n_used - at) * sizeof(*p->used));
	p->used[at] = offset;
	p->n_used++;
}

/* First and last host part that may be given away at all. */
static bool edges(const struct network_pool *p, const struct sys_prefix *within, uint64_t *out_first, uint64_t *out_last)
{
	uint64_t size = sys_prefix_size(&p->subnet);
	uint64_t first = 1, last = size == UINT64_MAX ? UINT64_MAX : size - 1;
	bool v4 = p->subnet.addr.family == AF_INET;
	if (v4 && size > 2)
		last--;
	if (size <= 2) /* /31 and /32 (RFC 3021), /127: both ends are addresses */
		first = 0;
	if (within->addr.family) {
		uint64_t from = sys_prefix_offset(&p->subnet, &within->addr), n = sys_prefix_size(within);
		uint64_t to = n == UINT64_MAX || from + (n - 1) < from ? UINT64_MAX : from + (n - 1);
		first = MAX(first, from);
		last = MIN(last, to);
	}
	*out_first = first;
	*out_last = last;
	return first <= last;
}

enum network_taken network_pool_take(struct network_pool *p, const struct sys_addr *wanted, struct sys_addr *out)
{
	uint64_t first, last;
	static const struct sys_prefix whole;
	if (wanted) {
		if (!sys_prefix_has(&p->subnet, wanted) || !edges(p, &whole, &first, &last))
			return NETWORK_TAKE_OUTSIDE;
		uint64_t offset = sys_prefix_offset(&p->subnet, wanted);
		if (offset < first || offset > last)
			return NETWORK_TAKE_BUSY; /* the subnet's own addresses belong to it */
		size_t at = place(p, offset);
		if (at < p->n_used && p->used[at] == offset)
			return NETWORK_TAKE_BUSY;
		mark(p, at, offset);
		*out = *wanted;
		return NETWORK_TAKEN;
	}
	if (!edges(p, &p->range, &first, &last))
		return NETWORK_TAKE_NONE_LEFT;
	size_t at = place(p, first);
	uint64_t offset = first;
	while (at < p->n_used && p->used[at] == offset) {
		if (offset == last)
			return NETWORK_TAKE_NONE_LEFT;
		at++;
		offset++;
	}
	mark(p, at, offset);
	*out = sys_prefix_at(&p->subnet, offset);
	return NETWORK_TAKEN;
}

bool network_pool_is_used(const struct network_pool *p, const struct sys_addr *a)
{
	if (!sys_prefix_has(&p->subnet, a))
		return false;
	uint64_t offset = sys_prefix_offset(&p->subnet, a);
	size_t at = place(p, offset);
	return at < p->n_used && p->used[at] == offset;
}

void network_pool_give(struct network_pool *p, const struct sys_addr *a)
{
	if (!network_pool_is_used(p, a))
		return;
	size_t at = place(p, sys_prefix_offset(&p->subnet, a));
	memmove(p->used + at, p->used + at + 1, (--p->n_used - at) * sizeof(*p->used));
}

/* prefix + 1 subnet of its size; false when that leaves base. */
static bool advance(const struct sys_prefix *base, struct sys_prefix *p)
{
	if (p->bits == 0)
		return false;
	unsigned byte = (p->bits - 1) / 8, step = 1u << (7 - (p->bits - 1) % 8);
	for (unsigned i = byte + 1; i-- > 0;) {
		unsigned v = p->addr.b[i] + step;
		p->addr.b[i] = (uint8_t)v;
		if (v < 256)
			return sys_prefix_has(base, &p->addr);
		step = 1;
	}
	return false;
}

bool network_supply_choose(const struct network_supply *supplies, unsigned n, int family, const struct sys_prefix *avoid,
			   size_t n_avoid, struct sys_prefix *out)
{
	for (unsigned i = 0; i < n; i++) {
		const struct network_supply *s = &supplies[i];
		struct sys_prefix p = sys_prefix_mask(s->base);
		if (s->base.addr.family != family || s->size < s->base.bits)
			continue;
		p.bits = s->size;
		unsigned tries = 0;
		do {
			bool free_one = true;
			for (size_t k = 0; k < n_avoid && free_one; k++)
				free_one = !sys_prefix_overlaps(&avoid[k], &p);
			if (free_one) {
				*out = p;
				return true;
			}
		} while (++tries < TRIES_MAX && advance(&s->base, &p));
	}
	return false;
}
