#include "controllers/deployment_plan.h"

static int32_t scaled(const struct json *v, int32_t total, bool up)
{
	int64_t n;
	if (api_intstr_scaled(v, total, up, &n, NULL) < 0 || n < 0)
		return 0;
	return n < INT32_MAX ? (int32_t)n : INT32_MAX;
}

void deployment_fenceposts(const struct json *max_surge, const struct json *max_unavailable, int32_t replicas, int32_t *out_surge,
			   int32_t *out_unavailable)
{
	int32_t surge = scaled(max_surge, replicas, true), unavailable = scaled(max_unavailable, replicas, false);
	if (surge == 0 && unavailable == 0)
		unavailable = 1;
	*out_surge = surge;
	*out_unavailable = replicas == 0 ? 0 : MIN(unavailable, replicas);
}

static int by_age(const void *px, const void *py)
{
	const struct deployment_rs *x = px, *y = py;
	return x->created_s != y->created_s ? (x->created_s < y->created_s ? -1 : 1) : span_cmp(x->name, y->name);
}

void deployment_prepare(struct deployment_plan *d)
{
	qsort(d->sets, d->n, sizeof(*d->sets), by_age);
	for (unsigned i = 0; i < d->n; i++)
		d->sets[i].to = d->sets[i].replicas;
}

static struct deployment_rs *new_of(const struct deployment_plan *d)
{
	for (unsigned i = 0; i < d->n; i++)
		if (d->sets[i].is_new)
			return &d->sets[i];
	return NULL;
}

static int64_t total_of(const struct deployment_plan *d)
{
	int64_t n = 0;
	for (unsigned i = 0; i < d->n; i++)
		n += d->sets[i].replicas;
	return n;
}

int32_t deployment_new_size(const struct deployment_plan *d)
{
	const struct deployment_rs *rs = new_of(d);
	int32_t now = rs ? rs->replicas : 0;
	if (!d->rolling)
		return d->replicas;
	int64_t most = (int64_t)d->replicas + d->surge, total = total_of(d);
	if (total >= most)
		return now;
	int64_t up = MIN(most - total, (int64_t)d->replicas - now);
	return (int32_t)(now + up);
}

bool deployment_was_scaled(const struct deployment_plan *d)
{
	for (unsigned i = 0; i < d->n; i++)
		if (d->sets[i].replicas > 0 && d->sets[i].noted_desired >= 0 && d->sets[i].noted_desired != d->replicas)
			return true;
	return false;
}

bool deployment_scale_down_old(struct deployment_plan *d)
{
	bool moves = false;
	for (unsigned i = 0; i < d->n; i++) {
		if (d->sets[i].is_new || !d->sets[i].replicas)
			continue;
		d->sets[i].to = 0;
		moves = true;
	}
	return moves;
}

/* [FindActiveOrLatest] the one set that takes the whole change, if there is only one to take it. */
static struct deployment_rs *active_or_latest(const struct deployment_plan *d)
{
	struct deployment_rs *active = NULL, *rs = new_of(d);
	unsigned n = 0;
	for (unsigned i = 0; i < d->n; i++) {
		if (d->sets[i].replicas > 0) {
			active = &d->sets[i];
			n++;
		}
	}
	if (n == 1)
		return active;
	return n ? NULL : rs ? rs : d->n ? &d->sets[d->n - 1] : NULL;
}

/* Go's rounding of a quotient: half away from zero. */
static int64_t rounded(int64_t x, int64_t by)
{
	return x >= 0 ? (2 * x + by) / (2 * by) : -((-2 * x + by) / (2 * by));
}

/* [GetReplicaSetProportion] */
static int64_t proportion(const struct deployment_plan *d, const struct deployment_rs *rs, int64_t to_add, int64_t added)
{
	int64_t fraction, allowed = to_add - added;
	if (!rs->replicas || !to_add || !allowed)
		return 0;
	if (d->replicas == 0) {
		fraction = -(int64_t)rs->replicas;
	} else {
		int64_t before = rs->noted_max > 0 ? rs->noted_max : d->status_replicas;
		if (before == 0)
			return 0;
		fraction = rounded((int64_t)rs->replicas * ((int64_t)d->replicas + d->surge), before) - rs->replicas;
	}
	return to_add > 0 ? MIN(fraction, allowed) : MAX(fraction, allowed);
}

struct by_size {
	struct deployment_rs *rs;
	bool up;
};

/* The largest first; of equals the newer when scaling up, the older when scaling down. */
static int by_size(const void *px, const void *py)
{
	const struct by_size *x = px, *y = py;
	if (x->rs->replicas != y->rs->replicas)
		return x->rs->replicas > y->rs->replicas ? -1 : 1;
	return x->up ? by_age(y->rs, x->rs) : by_age(x->rs, y->rs);
}

void deployment_scale(struct deployment_plan *d)
{
	struct deployment_rs *rs = new_of(d), *only = active_or_latest(d);
	if (only) {
		only->to = d->replicas;
		return;
	}
	/* [IsSaturated] */
	if (rs && rs->replicas == d->replicas && rs->noted_desired == d->replicas && rs->available == d->replicas) {
		(void)deployment_scale_down_old(d);
		return;
	}
	if (!d->rolling)
		return;
	int64_t most = d->replicas > 0 ? (int64_t)d->replicas + d->surge : 0, to_add = most - total_of(d), added = 0;
	struct by_size *sorted = mem_alloc((d->n + 1) * sizeof(*sorted));
	unsigned n = 0;
	for (unsigned i = 0; i < d->n; i++)
		if (d->sets[i].replicas > 0)
			sorted[n++] = (struct by_size){ &d->sets[i], to_add > 0 };
	qsort(sorted, n, sizeof(*sorted), by_size);
	for (unsigned i = 0; i < n; i++) {
		int64_t share = proportion(d, sorted[i].rs, to_add, added);
		sorted[i].rs->to = (int32_t)(sorted[i].rs->replicas + share);
		added += share;
	}
	if (n && to_add) { /* what rounding left over is the largest one's */
		int64_t size = sorted[0].rs->to + to_add - added;
		sorted[0].rs->to = (int32_t)(size > 0 ? size : 0);
	}
	free(sorted);
}

/* How many of a set serve and stay. A status may be older than the size: of a set that has just become smaller those that go
 * are still told as available, and counting on them took the last that a rollout must leave, now and then. [upstream does] */
static int64_t there(const struct deployment_rs *rs)
{
	return MIN(rs->available, rs->replicas);
}

bool deployment_roll(struct deployment_plan *d)
{
	struct deployment_rs *rs = new_of(d);
	/* [reconcileNewReplicaSet] */
	if (rs && rs->replicas != d->replicas) {
		rs->to = rs->replicas > d->replicas ? d->replicas : deployment_new_size(d);
		if (rs->to != rs->replicas)
			return true;
	}
	/* [reconcileOldReplicaSets] */
	int64_t old = 0, available = rs ? there(rs) : 0, down = 0;
	for (unsigned i = 0; i < d->n; i++) {
		if (d->sets[i].is_new)
			continue;
		old += d->sets[i].replicas;
		available += there(&d->sets[i]);
	}
	int64_t least = (int64_t)d->replicas - d->unavailable;
	int64_t not_there = rs ? rs->replicas - there(rs) : 0;
	int64_t most_down = old + (rs ? rs->replicas : 0) - least - not_there;
	if (old == 0 || most_down <= 0)
		return false;
	/* [cleanupUnhealthyReplicas] what serves nobody goes first */
	for (unsigned i = 0; i < d->n && down < most_down; i++) {
		struct deployment_rs *o = &d->sets[i];
		if (o->is_new || !o->replicas || o->replicas <= o->available)
			continue;
		int64_t n = MIN(most_down - down, (int64_t)o->replicas - o->available);
		o->to -= (int32_t)n;
		down += n;
	}
	/* [scaleDownOldReplicaSetsForRollingUpdate] */
	int64_t healthy = 0;
	for (unsigned i = 0; i < d->n && healthy < available - least; i++) {
		struct deployment_rs *o = &d->sets[i];
		if (o->is_new || !o->to)
			continue;
		int64_t n = MIN((int64_t)o->to, available - least - healthy);
		o->to -= (int32_t)n;
		healthy += n;
	}
	return down + healthy > 0;
}

static int by_revision(const void *px, const void *py)
{
	const struct deployment_rs *x = *(struct deployment_rs *const *)px, *y = *(struct deployment_rs *const *)py;
	return x->revision != y->revision ? (x->revision < y->revision ? -1 : 1) : by_age(x, y);
}

void deployment_clean(struct deployment_plan *d)
{
	struct deployment_rs **old = mem_alloc((d->n + 1) * sizeof(struct deployment_rs *));
	unsigned n = 0;
	for (unsigned i = 0; i < d->n; i++)
		if (!d->sets[i].is_new && !d->sets[i].deleting)
			old[n++] = &d->sets[i];
	qsort(old, n, sizeof(struct deployment_rs *), by_revision);
	for (unsigned i = 0; d->history >= 0 && i + d->history < n; i++)
		old[i]->doomed = !old[i]->actual && !old[i]->replicas && old[i]->observed;
	free(old);
}

static struct json without_hash(struct arena *a, const struct json *template)
{
	struct json t = json_copy(a, template);
	struct json *labels = json_getl(json_getl(&t, "metadata"), "labels");
	if (labels)
		(void)json_remove(labels, SPAN("pod-template-hash"));
	return t;
}

bool deployment_same_template(struct arena *a, const struct json *x, const struct json *y)
{
	if (!json_is(x, JSON_OBJECT) || !json_is(y, JSON_OBJECT))
		return false;
	struct json one = without_hash(a, x), two = without_hash(a, y);
	return json_equal(&one, &two);
}

struct span deployment_hash(struct arena *a, const struct json *template, int64_t collisions)
{
	static const char safe[] = "bcdfghjklmnpqrstvwxz2456789"; /* no vowels: no words; upstream's alphabet */
	struct json t = without_hash(a, template);
	auto_buf struct buf text = {};
	json_write(&text, &t, JSON_SORTED);
	buf_printf(&text, "%lld", (long long)collisions);
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */
	for (size_t i = 0; i < text.len; i++)
		h = (h ^ (unsigned char)text.ptr[i]) * UINT64_C(1099511628211);
	char out[10];
	for (size_t i = 0; i < sizeof(out); i++, h /= sizeof(safe) - 1)
		out[i] = safe[h % (sizeof(safe) - 1)];
	return arena_span(a, span_make(out, sizeof(out)));
}
