/* Series in tables that are read without a lock.
 *
 *     registry -> tables -> families -> slots: hash of the label values -> series (atomic pointers)
 *
 * A family's slot array begins small (most families have a handful of series, and each thread of the API server has its own) and
 * doubles: the larger one takes its place with all that it holds, the smaller ones stay until the end. Readers probe without a
 * lock; a writer puts a new series into the first empty slot under the registry's mutex (release), and nothing is ever
 * taken out. Invariants:
 *  1. A slot changes once, from NULL to a series; an array that was replaced does not change.
 *  2. A series' labels never change after it can be seen.
 *  3. The series "other" of a family is made with the first label value beyond the bound. */
#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include "metrics/metrics.h"

enum { SLOTS_FIRST = 16 };

const double metrics_bounds_seconds[] = { .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, INFINITY };

/* On cache lines of its own: neighbours counted by other threads do not disturb. */
struct metrics_series {
	_Alignas(64) _Atomic uint64_t whole; /* counted in ones */
	_Atomic uint64_t bits;        /* a double: the rest of a counter, a gauge, a histogram's sum */
	const struct metrics_family *row;
	struct span *values;          /* owned, with their texts, in one piece */
	uint64_t hash;
	unsigned n_bounds;
	_Atomic uint64_t buckets[];   /* histogram: n_bounds, not cumulated */
};

/* Open addressing by hash, at most half full. Readers probe without a lock; whoever adds holds the mutex, and what has become too
 * small stays for those who still look there: all of them together are as large as the last. */
struct slots {
	struct slots *older; /* owned */
	size_t n;            /* a power of two */
	_Atomic(struct metrics_series *) at[];
};

struct family {
	const struct metrics_family *row;
	unsigned n_labels, n_bounds;
	unsigned n_series, max_series; /* n_series: under the mutex */
	_Atomic(struct slots *) slots; /* owned; NULL: no series yet */
	_Atomic(struct metrics_series *) other;  /* owned; also the only one of a family without labels */
};

struct metrics_table {
	struct metrics_table *next;
	struct metrics *registry;
	unsigned n;
	struct family families[];
};

struct collector {
	struct collector *next;
	void (*collect)(struct metrics_writer *w, void *arg);
	void *arg;
};

struct metrics {
	pthread_mutex_t lock;
	struct metrics_table *tables, **last_table; /* owned */
	struct collector *collectors, **last_collector; /* owned */
};

struct metrics_writer {
	struct buf *out;
	struct map names;   /* families written so far */
	const char *family; /* the collector's current one; NULL = skipped */
};

struct metrics *metrics_new(void)
{
	struct metrics *m = mem_new(struct metrics);
	int failed = pthread_mutex_init(&m->lock, NULL);
	assert(!failed);
	m->last_table = &m->tables;
	m->last_collector = &m->collectors;
	return m;
}

static void series_free(struct metrics_series *s)
{
	if (!s)
		return;
	free(s->values);
	free(s);
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	for (struct metrics_table *t = m->tables, *next; t; t = next) {
		next = t->next;
		for (unsigned i = 0; i < t->n; i++) {
			struct slots *slots = t->families[i].slots;
			for (size_t k = 0; slots && k < slots->n; k++)
				series_free(slots->at[k]);
			series_free(t->families[i].other);
			for (struct slots *older; slots; slots = older) {
				older = slots->older;
				free(slots);
			}
		}
		free(t);
	}
	for (struct collector *c = m->collectors, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	pthread_mutex_destroy(&m->lock);
	free(m);
}

/* ---- registering */

static bool name_good(const char *name, bool colons)
{
	if (!name || !*name || (*name >= '0' && *name <= '9'))
		return false;
	for (; *name; name++)
		if (!(*name == '_' || (*name == ':' && colons) || (*name >= 'a' && *name <= 'z') ||
		      (*name >= 'A' && *name <= 'Z') || (*name >= '0' && *name <= '9')))
			return false;
	return true;
}

static bool name_taken(const struct metrics *m, const char *name)
{
	for (const struct metrics_table *t = m->tables; t; t = t->next)
		for (unsigned i = 0; i < t->n; i++)
			if (strcmp(t->families[i].row->name, name) == 0)
				return true;
	return false;
}

/* values are copied. */
static struct metrics_series *series_new(const struct family *f, const struct span *values, uint64_t hash)
{
	size_t size = sizeof(struct metrics_series) + f->n_bounds * sizeof(uint64_t);
	size = (size + 63) & ~(size_t)63;
	struct metrics_series *s = aligned_alloc(64, size);
	if (!s)
		abort();
	memset(s, 0, size);
	s->row = f->row;
	s->hash = hash;
	s->n_bounds = f->n_bounds;
	size = f->n_labels * sizeof(struct span);
	for (unsigned i = 0; i < f->n_labels; i++)
		size += values[i].len;
	s->values = mem_alloc(size + 1);
	char *text = (char *)(s->values + f->n_labels);
	for (unsigned i = 0; i < f->n_labels; i++) {
		if (values[i].len)
			memcpy(text, values[i].ptr, values[i].len);
		s->values[i] = span_make(text, values[i].len);
		text += values[i].len;
	}
	return s;
}

static void family_init(struct family *f, const struct metrics_family *row)
{
	f->row = row;
	assert(row->type < METRICS_TYPE_COUNT && row->help);
	while (f->n_labels < METRICS_LABELS_MAX && row->labels[f->n_labels]) {
		const char *label = row->labels[f->n_labels++];
		assert(name_good(label, false) && strncmp(label, "__", 2) != 0);
		assert(row->type != METRICS_HISTOGRAM || strcmp(label, "le") != 0);
	}
	assert((row->type == METRICS_HISTOGRAM) == (row->bounds != NULL));
	if (row->bounds) {
		while (!isinf(row->bounds[f->n_bounds])) {
			assert(f->n_bounds == 0 || row->bounds[f->n_bounds] > row->bounds[f->n_bounds - 1]);
			f->n_bounds++;
			assert(f->n_bounds < METRICS_BOUNDS_MAX);
		}
		f->n_bounds++;
	}
	f->max_series = row->max_series ? row->max_series : METRICS_SERIES_DEFAULT;
	if (f->n_labels == 0)
		f->other = series_new(f, NULL, 0);
}

struct metrics_table *metrics_register(struct metrics *m, const struct metrics_family *rows, unsigned n)
{
	struct metrics_table *t = mem_zalloc(sizeof(*t) + n * sizeof(t->families[0]));
	t->registry = m;
	for (unsigned i = 0; i < n; i++) {
		assert(name_good(rows[i].name, true) && !name_taken(m, rows[i].name));
		for (unsigned k = 0; k < i; k++)
			assert(strcmp(rows[i].name, rows[k].name) != 0);
		family_init(&t->families[i], &rows[i]);
	}
	t->n = n;
	pthread_mutex_lock(&m->lock);
	*m->last_table = t;
	m->last_table = &t->next;
	pthread_mutex_unlock(&m->lock);
	return t;
}

void metrics_collector_add(struct metrics *m, void (*collect)(struct metrics_writer *w, void *arg), void *arg)
{
	struct collector *c = mem_new(struct collector);
	c->collect = collect;
	c->arg = arg;
	pthread_mutex_lock(&m->lock);
	*m->last_collector = c;
	m->last_collector = &c->next;
	pthread_mutex_unlock(&m->lock);
}

/* ---- looking up */

static uint64_t values_hash(const struct span *values, unsigned n)
{
	uint64_t h = 0;
	for (unsigned i = 0; i < n; i++)
		h = (h << 7 | h >> 57) * 0x9e3779b97f4a7c15u + span_hash(values[i]);
	return h;
}

static bool series_is(const struct metrics_series *s, uint64_t hash, const struct span *values, unsigned n)
{
	if (s->hash != hash)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (!span_eq(s->values[i], values[i]))
			return false;
	return true;
}

/* The series, or NULL and the slot where it would go (NULL: nowhere yet). */
static struct metrics_series *family_probe(struct family *f, uint64_t hash, const struct span *values,
					   _Atomic(struct metrics_series *) **out_slot)
{
	struct slots *slots = atomic_load_explicit(&f->slots, memory_order_acquire);
	*out_slot = NULL;
	if (!slots)
		return NULL;
	for (size_t i = hash & (slots->n - 1);; i = (i + 1) & (slots->n - 1)) {
		struct metrics_series *s = atomic_load_explicit(&slots->at[i], memory_order_acquire);
		*out_slot = &slots->at[i];
		if (!s || series_is(s, hash, values, f->n_labels))
			return s;
	}
}

/* Under the mutex: room for one more. */
static void family_grow(struct family *f)
{
	struct slots *old = f->slots;
	if (old && (f->n_series + 1) * 2 <= old->n)
		return;
	size_t n = old ? old->n * 2 : SLOTS_FIRST;
	struct slots *new = mem_zalloc(sizeof(*new) + n * sizeof(new->at[0]));
	new->older = old;
	new->n = n;
	for (size_t k = 0; old && k < old->n; k++) {
		struct metrics_series *s = old->at[k];
		size_t i = s ? s->hash & (n - 1) : 0;
		while (s && new->at[i])
			i = (i + 1) & (n - 1);
		if (s)
			new->at[i] = s;
	}
	atomic_store_explicit(&f->slots, new, memory_order_release);
}

static struct metrics_series *family_other(struct family *f)
{
	struct metrics_series *s = atomic_load_explicit(&f->other, memory_order_acquire);
	if (s)
		return s;
	struct span values[METRICS_LABELS_MAX];
	for (unsigned i = 0; i < f->n_labels; i++)
		values[i] = SPAN("other");
	s = series_new(f, values, 0);
	atomic_store_explicit(&f->other, s, memory_order_release);
	return s;
}

static struct metrics_series *family_find(struct metrics *m, struct family *f, const struct span *values)
{
	uint64_t hash = values_hash(values, f->n_labels);
	_Atomic(struct metrics_series *) *slot;
	struct metrics_series *s = family_probe(f, hash, values, &slot);
	if (s)
		return s;
	pthread_mutex_lock(&m->lock);
	s = family_probe(f, hash, values, &slot); /* somebody may have been faster */
	if (!s && f->n_series >= f->max_series) {
		s = family_other(f);
	} else if (!s) {
		family_grow(f);
		(void)family_probe(f, hash, values, &slot);
		s = series_new(f, values, hash);
		f->n_series++;
		atomic_store_explicit(slot, s, memory_order_release);
	}
	pthread_mutex_unlock(&m->lock);
	return s;
}

/* Cut, and well-formed UTF-8, appended to text. */
static void value_clean(struct buf *text, struct span v)
{
	size_t start = text->len;
	while (v.len) {
		uint32_t code;
		size_t len = utf8_next(v, &code);
		size_t width = len ? len : 3;
		if (text->len - start + width > METRICS_VALUE_MAX)
			return;
		if (len)
			buf_add(text, v.ptr, len);
		else
			utf8_add(text, 0xFFFD);
		v = span_from(v, len ? len : 1);
	}
}

struct metrics_series *metrics_series(struct metrics_table *t, unsigned family, const struct span *values, unsigned n)
{
	assert(family < t->n && n == t->families[family].n_labels);
	struct family *f = &t->families[family];
	if (n == 0)
		return f->other;
	bool clean = true;
	for (unsigned i = 0; i < n; i++)
		clean &= values[i].len <= METRICS_VALUE_MAX && utf8_valid(values[i]);
	if (likely(clean))
		return family_find(t->registry, f, values);

	auto_buf struct buf text = {};
	struct span cleaned[METRICS_LABELS_MAX];
	size_t ends[METRICS_LABELS_MAX];
	for (unsigned i = 0; i < n; i++) {
		value_clean(&text, values[i]);
		ends[i] = text.len;
	}
	for (unsigned i = 0; i < n; i++)
		cleaned[i] = span_sub(buf_span(&text), i ? ends[i - 1] : 0, ends[i]);
	return family_find(t->registry, f, cleaned);
}

/* ---- counting */

static double bits_get(const _Atomic uint64_t *bits)
{
	uint64_t v = atomic_load_explicit(bits, memory_order_relaxed);
	double d;
	memcpy(&d, &v, sizeof(d));
	return d;
}

static void bits_add(_Atomic uint64_t *bits, double by)
{
	uint64_t old = atomic_load_explicit(bits, memory_order_relaxed), new;
	do {
		double d;
		memcpy(&d, &old, sizeof(d));
		d += by;
		memcpy(&new, &d, sizeof(new));
	} while (!atomic_compare_exchange_weak_explicit(bits, &old, new, memory_order_relaxed, memory_order_relaxed));
}

void metrics_inc(struct metrics_series *s)
{
	if (likely(s->row->type == METRICS_COUNTER))
		atomic_fetch_add_explicit(&s->whole, 1, memory_order_relaxed);
	else
		metrics_add(s, 1);
}

void metrics_add(struct metrics_series *s, double by)
{
	assert(s->row->type == METRICS_GAUGE || (s->row->type == METRICS_COUNTER && by >= 0));
	bits_add(&s->bits, by);
}

void metrics_set(struct metrics_series *s, double value)
{
	assert(s->row->type == METRICS_GAUGE);
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	atomic_store_explicit(&s->bits, bits, memory_order_relaxed);
}

void metrics_observe(struct metrics_series *s, double value)
{
	metrics_observe_n(s, value, 1);
}

void metrics_observe_n(struct metrics_series *s, double value, uint64_t n)
{
	assert(s->row->type == METRICS_HISTOGRAM);
	if (isnan(value) || !n)
		return;
	/* The first bound that is not below; the last is infinite. */
	unsigned lo = 0, hi = s->n_bounds - 1;
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		if (value > s->row->bounds[mid])
			lo = mid + 1;
		else
			hi = mid;
	}
	atomic_fetch_add_explicit(&s->buckets[lo], n, memory_order_relaxed);
	if (value != 0)
		bits_add(&s->bits, value * (double)n);
}

double metrics_value(const struct metrics_series *s)
{
	if (s->row->type != METRICS_HISTOGRAM)
		return (double)atomic_load_explicit(&s->whole, memory_order_relaxed) + bits_get(&s->bits);
	uint64_t count = 0;
	for (unsigned i = 0; i < s->n_bounds; i++)
		count += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
	return (double)count;
}

/* ---- writing */

static void number_write(struct buf *out, double v)
{
	if (isnan(v))
		buf_str(out, "NaN");
	else if (isinf(v))
		buf_str(out, v < 0 ? "-Inf" : "+Inf");
	else if (v == floor(v) && fabs(v) < 9007199254740992.0)
		buf_i64(out, (int64_t)v);
	else
		for (int digits = 15; digits <= 17; digits++) {
			char text[40];
			int len = snprintf(text, sizeof(text), "%.*g", digits, v);
			if (digits < 17 && strtod(text, NULL) != v)
				continue;
			buf_add(out, text, (size_t)len);
			break;
		}
}

static void escape_write(struct buf *out, struct span s, bool quotes)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\n') {
			buf_str(out, "\\n");
			continue;
		}
		if (s.ptr[i] == '\\' || (quotes && s.ptr[i] == '"'))
			buf_chr(out, '\\');
		buf_chr(out, s.ptr[i]);
	}
}

/* False: stands in the page already. */
static bool head_write(struct metrics_writer *w, const char *name, const char *help, enum metrics_type type)
{
	static const char *const types[METRICS_TYPE_COUNT] = { "counter", "gauge", "histogram" };
	if (map_put(&w->names, span_of(name), (void *)name))
		return false;
	buf_printf(w->out, "# HELP %s ", name);
	escape_write(w->out, span_of(help), false);
	buf_printf(w->out, "\n# TYPE %s %s\n", name, types[type]);
	return true;
}

/* One line. le: the bucket's bound, or NULL. */
static void sample_write(struct buf *out, const char *name, const char *suffix, const char *const *labels,
			 const struct span *values, unsigned n, const double *le, double value)
{
	buf_str(out, name);
	buf_str(out, suffix);
	if (n || le)
		buf_chr(out, '{');
	for (unsigned i = 0; i < n; i++) {
		buf_printf(out, "%s%s=\"", i ? "," : "", labels[i]);
		escape_write(out, values[i], true);
		buf_chr(out, '"');
	}
	if (le) {
		buf_printf(out, "%sle=\"", n ? "," : "");
		number_write(out, *le);
		buf_chr(out, '"');
	}
	if (n || le)
		buf_chr(out, '}');
	buf_chr(out, ' ');
	number_write(out, value);
	buf_chr(out, '\n');
}

/* Series of the same labels, one from each registry that has it, as their sum. */
static void series_write(struct buf *out, const struct family *f, struct metrics_series *const *same, size_t n)
{
	const char *const *labels = f->row->labels;
	const struct span *values = same[0]->values;
	if (f->row->type != METRICS_HISTOGRAM) {
		double sum = 0;
		for (size_t k = 0; k < n; k++)
			sum += metrics_value(same[k]);
		sample_write(out, f->row->name, "", labels, values, f->n_labels, NULL, sum);
		return;
	}
	uint64_t count = 0;
	double sum = 0;
	for (size_t k = 0; k < n; k++)
		sum += bits_get(&same[k]->bits);
	for (unsigned i = 0; i < f->n_bounds; i++) {
		for (size_t k = 0; k < n; k++)
			count += atomic_load_explicit(&same[k]->buckets[i], memory_order_relaxed);
		sample_write(out, f->row->name, "_bucket", labels, values, f->n_labels, &f->row->bounds[i], (double)count);
	}
	sample_write(out, f->row->name, "_sum", labels, values, f->n_labels, NULL, sum);
	sample_write(out, f->row->name, "_count", labels, values, f->n_labels, NULL, (double)count);
}

static int series_cmp(const void *a, const void *b, void *arg)
{
	const struct metrics_series *x = *(struct metrics_series *const *)a, *y = *(struct metrics_series *const *)b;
	const struct family *f = arg;
	for (unsigned i = 0; i < f->n_labels; i++) {
		int c = span_cmp(x->values[i], y->values[i]);
		if (c)
			return c;
	}
	return 0;
}

/* The same family of n registries. */
static void family_write(struct metrics_writer *w, struct family *const *same, unsigned n)
{
	const struct family *f = same[0];
	/* A family has no more series than that, and its sum of all others. */
	auto_free struct metrics_series **all = mem_realloc_n(NULL, ((size_t)f->max_series + 1) * n, sizeof(*all));
	size_t count = 0;
	for (unsigned k = 0; k < n; k++) {
		struct slots *slots = atomic_load_explicit(&same[k]->slots, memory_order_acquire);
		for (size_t i = 0; slots && i < slots->n; i++) {
			struct metrics_series *s = atomic_load_explicit(&slots->at[i], memory_order_acquire);
			if (s)
				all[count++] = s;
		}
	}
	qsort_r(all, count, sizeof(*all), series_cmp, (void *)f);
	size_t n_named = count;
	for (unsigned k = 0; k < n; k++) {
		struct metrics_series *other = atomic_load_explicit(&same[k]->other, memory_order_acquire);
		if (other)
			all[count++] = other;
	}
	/* A family that has nothing to tell yet stays out of the page. */
	if (count == 0 || !head_write(w, f->row->name, f->row->help, f->row->type))
		return;
	for (size_t i = 0, end; i < n_named; i = end) {
		end = i + 1;
		while (end < n_named && series_cmp(&all[i], &all[end], (void *)f) == 0)
			end++;
		series_write(w->out, f, all + i, end - i);
	}
	if (count > n_named)
		series_write(w->out, f, all + n_named, count - n_named);
}

void metrics_emit_family(struct metrics_writer *w, const char *name, const char *help, enum metrics_type type)
{
	assert(name_good(name, true) && type != METRICS_HISTOGRAM);
	w->family = head_write(w, name, help, type) ? name : NULL;
}

void metrics_emit(struct metrics_writer *w, const char *const *labels, const struct span *values, unsigned n,
		  double value)
{
	if (!w->family)
		return;
	assert(n <= METRICS_LABELS_MAX);
	auto_buf struct buf text = {};
	struct span cleaned[METRICS_LABELS_MAX];
	size_t ends[METRICS_LABELS_MAX];
	for (unsigned i = 0; i < n; i++) {
		assert(name_good(labels[i], false));
		value_clean(&text, values[i]);
		ends[i] = text.len;
	}
	for (unsigned i = 0; i < n; i++)
		cleaned[i] = span_sub(buf_span(&text), i ? ends[i - 1] : 0, ends[i]);
	sample_write(w->out, w->family, "", labels, cleaned, n, NULL, value);
}

void metrics_write_sum(struct metrics *const *all, unsigned n, struct buf *out)
{
	struct metrics_writer w = { .out = out };
	struct metrics_table *at[METRICS_SUM_MAX];
	struct family *same[METRICS_SUM_MAX];
	assert(n >= 1 && n <= METRICS_SUM_MAX);
	for (unsigned k = 0; k < n; k++)
		at[k] = all[k]->tables;
	/* Tables and collectors are only ever appended, at start-up. */
	while (at[0]) {
		for (unsigned i = 0; i < at[0]->n; i++) {
			for (unsigned k = 0; k < n; k++) {
				assert(at[k] && at[k]->families[i].row == at[0]->families[i].row);
				same[k] = &at[k]->families[i];
			}
			family_write(&w, same, n);
		}
		for (unsigned k = 0; k < n; k++)
			at[k] = at[k]->next;
	}
	for (struct collector *c = all[0]->collectors; c; c = c->next) {
		w.family = NULL;
		c->collect(&w, c->arg);
	}
	map_done(&w.names);
}

void metrics_write(struct metrics *m, struct buf *out)
{
	metrics_write_sum(&m, 1, out);
}
