/* Character classes: sets of runes as sorted ranges.
 *
 * A class is collected as ranges in any order (regex_class), then cleaned, perhaps negated, and interned among
 * the pattern's sets, so that \pL written a thousand times is stored once. What a pattern can cost here is bounded
 * by REGEX_MAX_RANGES (memory) and REGEX_WORK_MAX (ranges that were ever put into a class: time). */
#include "regex/regex_prog.h"

struct unicode_table {
	const char *name;
	uint16_t first16, n16, first32, n32;
};

/* [lo, hi]: the next rune of the orbit is delta away; delta 0: neighbours swap, beginning with lo. */
struct unicode_fold {
	uint32_t lo, hi;
	int32_t delta;
};

#include "regex/regex_unicode.inc"

void regex_class_done(struct regex_class *c)
{
	free(c->ranges);
	*c = (struct regex_class){};
}

void regex_class_add(struct regex_class *c, uint32_t lo, uint32_t hi)
{
	/* Typing order is often rising: growing the last range keeps the sort short. */
	if (c->n && lo >= c->ranges[c->n - 1].lo && lo <= c->ranges[c->n - 1].hi + 1) {
		if (hi > c->ranges[c->n - 1].hi)
			c->ranges[c->n - 1].hi = hi;
		return;
	}
	MEM_GROW(c->ranges, c->n, c->cap);
	c->ranges[c->n++] = (struct regex_runes){ lo, hi };
}

static int runes_cmp(const void *a, const void *b)
{
	const struct regex_runes *x = a, *y = b;
	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

void regex_class_clean(struct regex_class *c)
{
	size_t i = 1;
	while (i < c->n && c->ranges[i].lo > c->ranges[i - 1].hi + 1)
		i++;
	if (i >= c->n)
		return;
	qsort(c->ranges, c->n, sizeof(*c->ranges), runes_cmp);
	size_t n = 1;
	for (i = 1; i < c->n; i++) {
		struct regex_runes *last = &c->ranges[n - 1];
		if (c->ranges[i].lo <= last->hi + 1)
			last->hi = MAX(last->hi, c->ranges[i].hi);
		else
			c->ranges[n++] = c->ranges[i];
	}
	c->n = n;
}

void regex_class_negate(struct regex_class *c)
{
	struct regex_class out = {};
	uint32_t next = 0;
	for (size_t i = 0; i < c->n; i++) {
		if (c->ranges[i].lo > next)
			regex_class_add(&out, next, c->ranges[i].lo - 1);
		next = c->ranges[i].hi + 1;
	}
	if (next <= REGEX_RUNE_LAST)
		regex_class_add(&out, next, REGEX_RUNE_LAST);
	regex_class_done(c);
	*c = out;
}

/* The first fold rule that ends at or behind rune. */
static size_t fold_at(uint32_t rune)
{
	size_t lo = 0, hi = ARRAY_LEN(unicode_folds);
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (unicode_folds[mid].hi < rune)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint32_t regex_fold_next(uint32_t rune)
{
	size_t i = fold_at(rune);
	if (i == ARRAY_LEN(unicode_folds) || rune < unicode_folds[i].lo)
		return rune;
	if (unicode_folds[i].delta == 0)
		return (rune - unicode_folds[i].lo) % 2 ? rune - 1 : rune + 1;
	return (uint32_t)((int32_t)rune + unicode_folds[i].delta);
}

uint64_t regex_class_fold(struct regex_class *c)
{
	uint64_t work = 0;
	size_t n = c->n; /* what is added below is complete already */
	for (size_t i = 0; i < n; i++) {
		struct regex_runes r = c->ranges[i];
		if (r.lo <= REGEX_FOLD_FIRST && r.hi >= REGEX_FOLD_LAST)
			continue;
		for (size_t k = fold_at(r.lo); k < ARRAY_LEN(unicode_folds) && unicode_folds[k].lo <= r.hi; k++) {
			uint32_t lo = MAX(r.lo, unicode_folds[k].lo), hi = MIN(r.hi, unicode_folds[k].hi);
			work += hi - lo + 1;
			for (uint32_t rune = lo; rune <= hi; rune++)
				for (uint32_t other = regex_fold_next(rune); other != rune; other = regex_fold_next(other)) {
					/* Inside the same range: there already. */
					if (other >= r.lo && other <= r.hi)
						continue;
					MEM_GROW(c->ranges, c->n, c->cap);
					c->ranges[c->n++] = (struct regex_runes){ other, other };
				}
		}
	}
	return work;
}

bool regex_class_add_unicode(struct regex_class *c, struct span name)
{
	if (span_is(name, "Any")) {
		regex_class_add(c, 0, REGEX_RUNE_LAST);
		return true;
	}
	bool found = false;
	/* "L" is every category whose two-letter name begins so; scripts have longer names. */
	for (size_t i = 0; i < ARRAY_LEN(unicode_tables); i++) {
		const struct unicode_table *t = &unicode_tables[i];
		if (!(name.len == 1 ? t->name[0] == name.ptr[0] && strlen(t->name) == 2 : span_is(name, t->name)))
			continue;
		found = true;
		for (size_t k = t->first16; k < (size_t)t->first16 + t->n16; k++)
			regex_class_add(c, unicode_r16[k][0], unicode_r16[k][1]);
		for (size_t k = t->first32; k < (size_t)t->first32 + t->n32; k++)
			regex_class_add(c, unicode_r32[k][0], unicode_r32[k][1]);
	}
	return found;
}

static void add_pairs(struct regex_class *c, const char *pairs)
{
	for (; pairs[0]; pairs += 2)
		regex_class_add(c, (uint8_t)pairs[0], (uint8_t)pairs[1]);
}

bool regex_class_add_perl(struct regex_class *c, char letter)
{
	switch (letter) {
	case 'd': add_pairs(c, "09"); return true;
	case 's': add_pairs(c, "\t\n\f\r  "); return true; /* without \v, as Perl had it */
	case 'w': add_pairs(c, "09AZ__az"); return true;
	}
	return false;
}

bool regex_class_add_posix(struct regex_class *c, struct span name)
{
	static const struct {
		const char *name, *pairs;
	} table[] = {
		{ "alnum", "09AZaz" },	   { "alpha", "AZaz" },	 { "ascii", "" },	   { "blank", "\t\t  " },
		{ "cntrl", "\x7f\x7f" },   { "digit", "09" },	 { "graph", "!~" },	   { "lower", "az" },
		{ "print", " ~" },	   { "punct", "!/:@[`{~" }, { "space", "\t\r  " }, { "upper", "AZ" },
		{ "word", "09AZ__az" },	   { "xdigit", "09AFaf" },
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (!span_is(name, table[i].name))
			continue;
		/* The two that hold U+0000, which cannot stand in a string of pairs. */
		if (span_is(name, "ascii"))
			regex_class_add(c, 0, 0x7f);
		if (span_is(name, "cntrl"))
			regex_class_add(c, 0, 0x1f);
		add_pairs(c, table[i].pairs);
		return true;
	}
	return false;
}

static bool set_is(const struct regex_sets *s, const struct regex_set *set, const struct regex_class *c)
{
	return set->n == c->n &&
	       (c->n == 0 || memcmp(s->ranges + set->first, c->ranges, c->n * sizeof(*c->ranges)) == 0);
}

static uint64_t class_hash(const struct regex_runes *ranges, size_t n)
{
	return span_hash(span_make(ranges, n * sizeof(*ranges)));
}

static void buckets_grow(struct regex_sets *s)
{
	size_t n = s->n_buckets ? s->n_buckets * 2 : 64;
	uint32_t *buckets = mem_zalloc(n * sizeof(*buckets));
	for (size_t i = 0; i < s->n; i++) {
		size_t b = class_hash(s->ranges + s->sets[i].first, s->sets[i].n) & (n - 1);
		while (buckets[b])
			b = (b + 1) & (n - 1);
		buckets[b] = (uint32_t)i + 1;
	}
	free(s->buckets);
	s->buckets = buckets;
	s->n_buckets = n;
}

int64_t regex_sets_intern(struct regex_sets *s, const struct regex_class *c)
{
	s->work += c->n + 1;
	if (s->work > REGEX_WORK_MAX)
		return -1;
	if (s->n * 2 >= s->n_buckets)
		buckets_grow(s);
	size_t b = class_hash(c->ranges, c->n) & (s->n_buckets - 1);
	for (; s->buckets[b]; b = (b + 1) & (s->n_buckets - 1))
		if (set_is(s, &s->sets[s->buckets[b] - 1], c))
			return s->buckets[b] - 1;

	if (s->n_ranges + c->n > REGEX_MAX_RANGES || s->n >= REGEX_MAX_RANGES)
		return -1;
	while (!s->ranges || s->cap_ranges < s->n_ranges + c->n) {
		s->cap_ranges = s->cap_ranges ? s->cap_ranges * 2 : 16;
		s->ranges = mem_realloc_n(s->ranges, s->cap_ranges, sizeof(*s->ranges));
	}
	struct regex_set set = { .first = (uint32_t)s->n_ranges, .n = (uint32_t)c->n };
	if (c->n)
		memcpy(s->ranges + s->n_ranges, c->ranges, c->n * sizeof(*c->ranges));
	s->n_ranges += c->n;
	for (size_t i = 0; i < c->n; i++)
		for (uint32_t rune = c->ranges[i].lo; rune <= c->ranges[i].hi && rune < 128; rune++)
			set.ascii[rune >> 5] |= 1u << (rune & 31);
	MEM_GROW(s->sets, s->n, s->cap);
	s->sets[s->n] = set;
	s->buckets[b] = (uint32_t)++s->n;
	return (int64_t)s->n - 1;
}

void regex_sets_done(struct regex_sets *s)
{
	free(s->sets);
	free(s->ranges);
	free(s->buckets);
	*s = (struct regex_sets){};
}
