/* A seccomp program made smaller without a change of its meaning.
 *
 * libseccomp spends two or three instructions on each system call: 1,250 for Docker's profile and its three architectures. The
 * kernel verifies, translates and walks all of them for every container that loads it (0.25 ms). But what a profile says is
 * mostly long ranges of numbers with one answer. So:
 *
 *  1. The program is taken as a function of (arch, nr, arguments). One pass over it (jumps only go forward) finds with which
 *     constants arch and nr are compared: between two neighbours of those nothing can change.
 *  2. It is run for one pair of each range. It either answers without looking at an argument, or comes to the
 *     instruction that loads the first one: from there on a copy of what can be reached answers.
 *  3. Equal neighbours become one range, and the ranges a binary tree of comparisons (JGE), per architecture.
 *
 * The tree is written from its end to its start, so that every jump's target is known; what is too far for the 8 bits of a
 * conditional jump gets a stepping stone (the answer again, or a long jump).
 *
 * A program with anything that is not understood (scratch memory, arithmetic on arch or nr, a part behind an argument that looks at
 * nr again) stays as it is. shrink_test.c compares the two on every number and on many arguments. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/plan.h"

#define OFF_NR offsetof(struct seccomp_data, nr)
#define OFF_ARCH offsetof(struct seccomp_data, arch)
#define TARGETS_MAX 1024
#define REACH 255

/* What the accumulator may hold. */
enum { HOLDS_NOTHING = 1, HOLDS_ARCH = 2, HOLDS_NR = 4, HOLDS_ARGUMENT = 8 };

struct target {
	bool constant;
	uint32_t value; /* the answer; else the instruction that loads the first argument */
	int at;		/* where its last copy begins in out[]; -1 */
};

struct range {
	uint32_t first;
	int target;
};

struct points {
	uint32_t *at; /* ascending, each once; at[0] is 0 */
	size_t n;
};

struct shrink {
	struct arena *a;
	const struct sock_filter *in;
	size_t n_in;
	struct sock_filter *out; /* backwards: [0] is the last instruction */
	size_t n_out;
	struct target targets[TARGETS_MAX];
	size_t n_targets;
	bool failed;
};

/* ---- 1: the constants */

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

/* The values at which a comparison's outcome changes. */
static void points_add(struct points *p, uint8_t op, uint32_t k)
{
	if (op == BPF_JEQ || op == BPF_JGE)
		p->at[p->n++] = k;
	if ((op == BPF_JEQ || op == BPF_JGT) && k != UINT32_MAX)
		p->at[p->n++] = k + 1;
}

static void points_sort(struct points *p)
{
	size_t n = 0;
	qsort(p->at, p->n, sizeof(*p->at), by_value);
	for (size_t i = 0; i < p->n; i++)
		if (n == 0 || p->at[n - 1] != p->at[i])
			p->at[n++] = p->at[i];
	p->n = n;
}

/* Fills arches and numbers; false when the program does something unknown. */
static bool constants_find(struct shrink *s, struct points *arches, struct points *numbers)
{
	uint8_t *holds = arena_alloc(s->a, s->n_in + 1);
	memset(holds, 0, s->n_in + 1);
	holds[0] = HOLDS_NOTHING;
	arches->at = arena_alloc_n(s->a, 2 * s->n_in + 1, sizeof(uint32_t));
	numbers->at = arena_alloc_n(s->a, 2 * s->n_in + 1, sizeof(uint32_t));
	arches->at[arches->n++] = numbers->at[numbers->n++] = 0;
	for (size_t i = 0; i < s->n_in; i++) {
		const struct sock_filter *f = &s->in[i];
		uint8_t h = holds[i];
		if (!h) /* never reached */
			continue;
		if (f->code == (BPF_RET | BPF_K))
			continue;
		if (i + 1 == s->n_in)
			return false;
		if (f->code == (BPF_LD | BPF_W | BPF_ABS)) {
			holds[i + 1] |= f->k == OFF_ARCH ? HOLDS_ARCH : f->k == OFF_NR ? HOLDS_NR : HOLDS_ARGUMENT;
		} else if (f->code == (BPF_ALU | BPF_AND | BPF_K)) {
			if (h != HOLDS_ARGUMENT)
				return false;
			holds[i + 1] |= h;
		} else if (f->code == (BPF_JMP | BPF_JA)) {
			if (f->k >= s->n_in - i - 1)
				return false;
			holds[i + 1 + f->k] |= h;
		} else if (BPF_CLASS(f->code) == BPF_JMP && BPF_SRC(f->code) == BPF_K) {
			uint8_t op = BPF_OP(f->code);
			bool known = op == BPF_JEQ || op == BPF_JGT || op == BPF_JGE || op == BPF_JSET;
			if (!known || (h & HOLDS_NOTHING) || (op == BPF_JSET && h != HOLDS_ARGUMENT) ||
			    i + 1 + MAX(f->jt, f->jf) >= s->n_in)
				return false;
			if (h & HOLDS_ARCH)
				points_add(arches, op, f->k);
			if (h & HOLDS_NR)
				points_add(numbers, op, f->k);
			holds[i + 1 + f->jt] |= h;
			holds[i + 1 + f->jf] |= h;
		} else {
			return false;
		}
	}
	points_sort(arches);
	points_sort(numbers);
	return true;
}

/* ---- 2: the answers */

static int target_of(struct shrink *s, bool constant, uint32_t value)
{
	for (size_t i = 0; i < s->n_targets; i++)
		if (s->targets[i].constant == constant && s->targets[i].value == value)
			return (int)i;
	if (s->n_targets == TARGETS_MAX) {
		s->failed = true;
		return 0;
	}
	s->targets[s->n_targets] = (struct target){ constant, value, -1 };
	return (int)s->n_targets++;
}

static bool holds(uint8_t op, uint32_t value, uint32_t k)
{
	return op == BPF_JEQ ? value == k : op == BPF_JGT ? value > k : value >= k;
}

static int answer(struct shrink *s, uint32_t arch, uint32_t nr)
{
	uint32_t value = 0;
	for (size_t i = 0;; i++) {
		const struct sock_filter *f = &s->in[i];
		if (f->code == (BPF_RET | BPF_K))
			return target_of(s, true, f->k);
		if (f->code == (BPF_JMP | BPF_JA)) {
			i += f->k;
		} else if (BPF_CLASS(f->code) == BPF_JMP) {
			i += holds(BPF_OP(f->code), value, f->k) ? f->jt : f->jf;
		} else if (f->k == OFF_ARCH || f->k == OFF_NR) {
			value = f->k == OFF_ARCH ? arch : nr;
		} else {
			return target_of(s, false, (uint32_t)i);
		}
	}
}

static struct range *ranges_of(struct shrink *s, uint32_t arch, const struct points *numbers, size_t *out_n)
{
	struct range *r = arena_alloc_n(s->a, numbers->n, sizeof(*r));
	size_t n = 0;
	for (size_t i = 0; i < numbers->n; i++) {
		int t = answer(s, arch, numbers->at[i]);
		if (n == 0 || r[n - 1].target != t)
			r[n++] = (struct range){ numbers->at[i], t };
	}
	*out_n = n;
	return r;
}

/* ---- 3: the new program, backwards */

static int emit(struct shrink *s, uint16_t code, size_t jt, size_t jf, uint32_t k)
{
	if (s->n_out >= s->n_in || jt > REACH || jf > REACH) { /* not smaller: not wanted */
		s->failed = true;
		return 0;
	}
	s->out[s->n_out] = (struct sock_filter){ code, (uint8_t)jt, (uint8_t)jf, k };
	return (int)s->n_out++;
}

/* How many instructions the next one would skip to go on at `at`. */
static size_t distance(const struct shrink *s, int at)
{
	return s->n_out - 1 - (size_t)at;
}

/* The part of the program behind the load at `from`, which must not look at arch or nr again. */
static int part_copy(struct shrink *s, size_t from)
{
	uint8_t *reached = arena_alloc(s->a, s->n_in);
	int *at = arena_alloc_n(s->a, s->n_in, sizeof(*at));
	memset(reached, 0, s->n_in);
	reached[from] = 1;
	for (size_t i = from; i < s->n_in; i++) {
		const struct sock_filter *f = &s->in[i];
		if (!reached[i] || f->code == (BPF_RET | BPF_K))
			continue;
		if (f->code == (BPF_LD | BPF_W | BPF_ABS) && (f->k == OFF_ARCH || f->k == OFF_NR)) {
			s->failed = true;
			return 0;
		}
		if (f->code == (BPF_JMP | BPF_JA)) {
			reached[i + 1 + f->k] = 1;
		} else if (BPF_CLASS(f->code) == BPF_JMP) {
			reached[i + 1 + f->jt] = reached[i + 1 + f->jf] = 1;
		} else {
			reached[i + 1] = 1;
		}
	}
	for (size_t i = s->n_in; i-- > from && !s->failed;) {
		const struct sock_filter *f = &s->in[i];
		if (!reached[i])
			continue;
		if (f->code == (BPF_JMP | BPF_JA))
			at[i] = emit(s, f->code, 0, 0, (uint32_t)distance(s, at[i + 1 + f->k]));
		else if (BPF_CLASS(f->code) == BPF_JMP)
			at[i] = emit(s, f->code, distance(s, at[i + 1 + f->jt]), distance(s, at[i + 1 + f->jf]), f->k);
		else
			at[i] = emit(s, f->code, 0, 0, f->k);
	}
	return at[from];
}

/* Where a target can be jumped to from here, with one more instruction between. */
static int target_near(struct shrink *s, int number)
{
	struct target *t = &s->targets[number];
	if (t->at >= 0 && distance(s, t->at) < REACH)
		return t->at;
	if (t->constant)
		t->at = emit(s, BPF_RET | BPF_K, 0, 0, t->value);
	else if (t->at < 0)
		t->at = part_copy(s, t->value);
	else
		t->at = emit(s, BPF_JMP | BPF_JA, 0, 0, (uint32_t)distance(s, t->at));
	return t->at;
}

static int place_near(struct shrink *s, int at)
{
	return distance(s, at) < REACH ? at : emit(s, BPF_JMP | BPF_JA, 0, 0, (uint32_t)distance(s, at));
}

/* The tree over ranges [lo, hi); *out_leaf is set instead of a place when it is one target. Depth: log2 of the ranges. */
static int tree_emit(struct shrink *s, const struct range *r, size_t lo, size_t hi, int *out_leaf)
{
	*out_leaf = -1;
	if (s->failed)
		return 0;
	if (hi - lo == 1) {
		*out_leaf = r[lo].target;
		return 0;
	}
	size_t mid = (lo + hi) / 2;
	int left_leaf, right_leaf;
	int right = tree_emit(s, r, mid, hi, &right_leaf);
	int left = tree_emit(s, r, lo, mid, &left_leaf);
	/* Two rounds: a stepping stone for one may put the other out of reach. */
	for (int i = 0; i < 2; i++) {
		right = right_leaf >= 0 ? target_near(s, right_leaf) : place_near(s, right);
		left = left_leaf >= 0 ? target_near(s, left_leaf) : place_near(s, left);
	}
	return emit(s, BPF_JMP | BPF_JGE | BPF_K, distance(s, right), distance(s, left), r[mid].first);
}

/* The whole tree of one dimension with the load before it; a single target needs neither. */
static int dimension_emit(struct shrink *s, const struct range *r, size_t n, uint32_t offset)
{
	int leaf;
	int at = tree_emit(s, r, 0, n, &leaf);
	if (leaf >= 0)
		return target_near(s, leaf);
	if (distance(s, at) != 0) /* the load falls through to what follows it */
		emit(s, BPF_JMP | BPF_JA, 0, 0, (uint32_t)distance(s, at));
	return emit(s, BPF_LD | BPF_W | BPF_ABS, 0, 0, offset);
}

static bool same(const struct range *a, size_t n_a, const struct range *b, size_t n_b)
{
	if (n_a != n_b)
		return false;
	for (size_t i = 0; i < n_a; i++)
		if (a[i].first != b[i].first || a[i].target != b[i].target)
			return false;
	return true;
}

bool runtime_shrink_filter(struct arena *a, struct span program, struct buf *out)
{
	struct shrink s = { .a = a, .n_in = program.len / sizeof(struct sock_filter) };
	struct points arches = {}, numbers = {};
	if (!s.n_in || program.len % sizeof(struct sock_filter) || program.len > SYS_FILTER_MAX)
		return false;
	struct sock_filter *in = arena_alloc_n(a, s.n_in, sizeof(*in)); /* aligned */
	memcpy(in, program.ptr, program.len);
	s.in = in;
	s.out = arena_alloc_n(a, s.n_in, sizeof(*s.out));
	if (!constants_find(&s, &arches, &numbers) || arches.n > 64)
		return false;
	struct range *of[64], by_arch[64];
	size_t n_of[64], n = 0;
	for (size_t i = 0; i < arches.n && !s.failed; i++) {
		of[n] = ranges_of(&s, arches.at[i], &numbers, &n_of[n]);
		by_arch[n].first = arches.at[i];
		if (n == 0 || !same(of[n - 1], n_of[n - 1], of[n], n_of[n]))
			n++;
	}
	/* Each architecture's tree is a target of the tree over architectures. The last instruction must be an answer. */
	size_t answers = s.n_targets;
	for (size_t t = 0; t < answers && !s.failed; t++)
		if (s.targets[t].constant && s.n_out == 0)
			(void)target_near(&s, (int)t);
	if (s.n_out == 0)
		return false;
	for (size_t i = n; i-- > 0 && !s.failed;) {
		int at = dimension_emit(&s, of[i], n_of[i], OFF_NR);
		by_arch[i].target = target_of(&s, false, UINT32_MAX - (uint32_t)i); /* no instruction has that number */
		s.targets[by_arch[i].target].at = at;
	}
	int start = s.failed ? 0 : dimension_emit(&s, by_arch, n, OFF_ARCH);
	if (!s.failed && distance(&s, start) != 0)
		emit(&s, BPF_JMP | BPF_JA, 0, 0, (uint32_t)distance(&s, start));
	if (s.failed || s.n_out >= s.n_in)
		return false;
	for (size_t i = s.n_out; i-- > 0;)
		buf_add(out, &s.out[i], sizeof(s.out[i]));
	return true;
}
