#include "controllers/replicaset_plan.h"

int rs_difference(int64_t wanted, unsigned active)
{
	int64_t d = wanted - (int64_t)active;
	return d > RS_BURST ? RS_BURST : d < -RS_BURST ? -RS_BURST : (int)d;
}

struct ranked {
	struct rs_pod pod;
	int64_t now_s;
};

/* floor(log2(age)), so that of pods about as old none is preferred for a second's sake; below a second 0. */
static int age_class(int64_t since_s, int64_t now_s)
{
	int64_t age = now_s - since_s;
	return age < 1 ? 0 : 63 - __builtin_clzll((unsigned long long)age);
}

static int sign(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}

/* Negative: x goes before y. Unknown times come first. */
static int by_time(int64_t x_s, int64_t y_s, int64_t now_s, struct span x_uid, struct span y_uid, bool *out_equal)
{
	*out_equal = false;
	if (x_s == y_s) {
		*out_equal = true;
		return 0;
	}
	if (!x_s || !y_s)
		return x_s ? 1 : -1;
	int x = age_class(x_s, now_s), y = age_class(y_s, now_s);
	return x == y ? span_cmp(x_uid, y_uid) : sign(x, y); /* younger: the smaller class */
}

static int phase_order(enum pod_phase p)
{
	return p == POD_PENDING ? 0 : p == POD_UNKNOWN ? 1 : 2;
}

static int compare(const void *px, const void *py)
{
	const struct ranked *x = px, *y = py;
	const struct row *a = x->pod.row, *b = y->pod.row;
	bool equal;
	int d;
	if ((a->node.len > 0) != (b->node.len > 0))
		return a->node.len ? 1 : -1;
	if ((d = sign(phase_order(a->phase), phase_order(b->phase))))
		return d;
	if (a->ready != b->ready)
		return a->ready ? 1 : -1;
	if ((d = sign(a->deletion_cost, b->deletion_cost)))
		return d;
	if (x->pod.rank != y->pod.rank)
		return x->pod.rank > y->pod.rank ? -1 : 1;
	if (a->ready && b->ready) {
		d = by_time(a->ready_s, b->ready_s, x->now_s, x->pod.uid, y->pod.uid, &equal);
		if (!equal)
			return d;
	}
	if ((d = sign(b->restarts, a->restarts)) || (d = sign(b->sidecar_restarts, a->sidecar_restarts)))
		return d;
	d = by_time(a->created_s, b->created_s, x->now_s, x->pod.uid, y->pod.uid, &equal);
	return equal ? span_cmp(x->pod.uid, y->pod.uid) : d;
}

void rs_rank_deletions(struct rs_pod *pods, unsigned n, int64_t now_s)
{
	struct ranked *all = mem_alloc((n + 1) * sizeof(*all));
	for (unsigned i = 0; i < n; i++)
		all[i] = (struct ranked){ pods[i], now_s };
	qsort(all, n, sizeof(*all), compare);
	for (unsigned i = 0; i < n; i++)
		pods[i] = all[i].pod;
	free(all);
}
