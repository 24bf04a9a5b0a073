/* Wanted elements, packed one behind the other:
 *
 *     family  set  key_len  data_len  has_end  key ...  [key_end ...]  data ...
 *
 * and an array of their offsets, sorted by (family, set, key). A service's elements are such a list, and so is what the kernel has:
 * a change is the walk through two of them. */
#include "proxy/table.h"

enum { HEAD = 5 };

void proxy_elements_done(struct proxy_elements *e)
{
	buf_done(&e->packed);
	free(e->at);
	*e = (struct proxy_elements){ 0 };
}

void proxy_elements_put(struct proxy_elements *e, int family, enum proxy_set set, const void *key, const void *key_end,
			const void *data)
{
	const struct sys_nft_set *row = proxy_set_row(family, set);
	unsigned key_len = sys_nft_key_len(row), data_len = sys_nft_data_len(row);
	const uint8_t head[HEAD] = { (uint8_t)family, (uint8_t)set, (uint8_t)key_len, (uint8_t)data_len, key_end != NULL };
	assert(e->packed.len < UINT32_MAX);
	MEM_GROW(e->at, e->n, e->cap);
	e->at[e->n++] = (uint32_t)e->packed.len;
	buf_add(&e->packed, head, HEAD);
	buf_add(&e->packed, key, key_len);
	if (key_end)
		buf_add(&e->packed, key_end, key_len);
	buf_add(&e->packed, data, data_len);
}

static struct proxy_element element(const struct proxy_elements *e, uint32_t at)
{
	const uint8_t *p = (const uint8_t *)e->packed.ptr + at;
	struct proxy_element x = { .family = p[0], .set = p[1], .key_len = p[2], .data_len = p[3], .key = p + HEAD };
	if (p[4])
		x.key_end = x.key + x.key_len;
	x.data = x.key + x.key_len * (p[4] ? 2 : 1);
	return x;
}

struct proxy_element proxy_elements_at(const struct proxy_elements *e, size_t i)
{
	return element(e, e->at[i]);
}

int proxy_element_order(const struct proxy_element *a, const struct proxy_element *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	if (a->set != b->set)
		return a->set < b->set ? -1 : 1;
	int c = memcmp(a->key, b->key, a->key_len); /* of one set: as long as each other */
	/* Two ranges may begin at the same address. */
	return c || !a->key_end || !b->key_end ? c : memcmp(a->key_end, b->key_end, a->key_len);
}

static int by_key(const void *a, const void *b, void *arg)
{
	uint32_t x, y;
	memcpy(&x, a, 4);
	memcpy(&y, b, 4);
	struct proxy_element ex = element(arg, x), ey = element(arg, y);
	int c = proxy_element_order(&ex, &ey);
	return c ? c : (x > y) - (x < y);
}

void proxy_elements_sort(struct proxy_elements *e)
{
	size_t n = 0;
	if (e->n < 2)
		return;
	qsort_r(e->at, e->n, sizeof(*e->at), by_key, e);
	for (size_t i = 1; i < e->n; i++) {
		struct proxy_element last = element(e, e->at[n]), next = element(e, e->at[i]);
		if (proxy_element_order(&last, &next) != 0)
			e->at[++n] = e->at[i];
	}
	e->n = n + 1;
}

void proxy_elements_diff(const struct proxy_elements *from, const struct proxy_elements *to,
			 void (*out)(void *arg, const struct proxy_element *e), void (*put)(void *arg, const struct proxy_element *e),
			 void *arg)
{
	size_t i = 0, k = 0, n = from ? from->n : 0, m = to ? to->n : 0;
	while (i < n || k < m) {
		struct proxy_element a = { 0 }, b = { 0 };
		if (i < n)
			a = proxy_elements_at(from, i);
		if (k < m)
			b = proxy_elements_at(to, k);
		int c = i == n ? 1 : k == m ? -1 : proxy_element_order(&a, &b);
		bool same = c == 0 && memcmp(a.data, b.data, a.data_len) == 0;
		if (c <= 0 && !same)
			out(arg, &a);
		if (c >= 0 && !same)
			put(arg, &b);
		i += c <= 0;
		k += c >= 0;
	}
}
