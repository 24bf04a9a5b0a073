/* Yes or no with one table look-up per rune: a deterministic automaton over rune classes.
 *
 * A state is what a set of threads could be waiting for: a sorted set of instructions that consume a rune
 * (RUNE, SET), ask for a kind of position (LOOK) or have matched, and what the rune before was (for LOOK):
 *
 *     state = { before, {inst, inst, ...} }         row = one cell for each rune class, and one for the end of text
 *
 * A LOOK stays in the set unanswered until the next rune's class is known; the step then answers it from both sides.
 * So a match is noticed at the latest one step behind, and every step is exact. The order of the set does not matter
 * for yes or no. Instructions that can never be satisfied again (\A behind the first rune) are dropped, so that an
 * anchored pattern dies at the first wrong rune.
 *
 * Where states live: a small automaton is built whole by regex_new and then shared by all threads without a lock
 * (re->table). Otherwise the scratch makes states when they are first entered; at REGEX_DFA_BYTES it forgets them
 * all and goes on from the current one, so memory is bounded and the time stays that of simulating the threads. */
#include "regex/regex_prog.h"

/* What stood before the position of a state. */
enum before { BEFORE_TEXT, BEFORE_LINE, BEFORE_WORD, BEFORE_OTHER };

struct state {
	uint32_t first, n; /* pool[first .. first + n): instructions, rising */
	uint32_t before;
	uint32_t next_same_hash; /* state number, 0 = none */
};

struct regex_dfa {
	uint64_t id;           /* of the regex that the states belong to */
	uint32_t stride;       /* cells of a row */
	struct state *states;  /* owned; [0 .. REGEX_DFA_FIRST) unused */
	uint32_t *cells;       /* owned; n_states x stride */
	uint32_t n_states, cap_states;
	uint32_t *pool;        /* owned */
	size_t n_pool, cap_pool;
	uint32_t buckets[1024];
	uint32_t start;        /* REGEX_DFA_UNKNOWN before it is made */

	/* A set of instructions with O(1) insert, test and clear: member i iff dense[sparse[i]] == i. */
	uint32_t *dense, *sparse, *stack; /* owned; cap_insts each */
	uint32_t n_dense, cap_insts;
	uint32_t *kernel;                 /* owned; cap_insts */
	uint64_t *bits;                   /* owned; a bit per instruction, all 0 between uses */
	uint64_t steps;
	uint64_t forgotten;               /* times that all states were */
};

void regex_dfa_free(struct regex_dfa *d)
{
	if (!d)
		return;
	free(d->states);
	free(d->cells);
	free(d->pool);
	free(d->dense);
	free(d->sparse);
	free(d->stack);
	free(d->kernel);
	free(d->bits);
	free(d);
}

static size_t dfa_bytes(const struct regex_dfa *d)
{
	return (size_t)d->n_states * (sizeof(*d->states) + d->stride * sizeof(*d->cells)) +
	       d->n_pool * sizeof(*d->pool);
}

static void dfa_forget(struct regex_dfa *d)
{
	d->forgotten++;
	d->n_states = REGEX_DFA_FIRST;
	d->n_pool = 0;
	d->start = REGEX_DFA_UNKNOWN;
	memset(d->buckets, 0, sizeof(d->buckets));
}

static void dfa_bind(struct regex_dfa *d, const struct regex *re)
{
	if (d->id == re->id)
		return;
	if (d->cap_insts < re->n_insts) {
		d->cap_insts = re->n_insts;
		d->dense = mem_realloc_n(d->dense, d->cap_insts, sizeof(*d->dense));
		d->sparse = mem_realloc_n(d->sparse, d->cap_insts, sizeof(*d->sparse));
		d->stack = mem_realloc_n(d->stack, d->cap_insts, sizeof(*d->stack));
		d->kernel = mem_realloc_n(d->kernel, d->cap_insts, sizeof(*d->kernel));
		/* Read before written by design; defined values keep checkers quiet. */
		memset(d->sparse, 0, d->cap_insts * sizeof(*d->sparse));
		free(d->bits);
		d->bits = mem_zalloc((d->cap_insts / 64 + 1) * sizeof(*d->bits));
	}
	d->id = re->id;
	d->stride = re->n_classes + 1;
	/* Rows of another width do not fit the old ones. */
	free(d->states);
	free(d->cells);
	d->states = NULL;
	d->cells = NULL;
	d->cap_states = 0;
	dfa_forget(d);
}

static bool set_has(const struct regex_dfa *d, uint32_t inst)
{
	uint32_t i = d->sparse[inst];
	return i < d->n_dense && d->dense[i] == inst;
}

static bool set_add(struct regex_dfa *d, uint32_t inst)
{
	if (set_has(d, inst))
		return false;
	d->sparse[inst] = d->n_dense;
	d->dense[d->n_dense++] = inst;
	return true;
}

/* Adds inst and everything reachable without consuming. looks: the positions that hold here; LOOKs that do not
 * hold stay members. True when that reaches MATCH. */
static bool set_close(struct regex_dfa *d, const struct regex *re, uint32_t inst, uint32_t looks)
{
	uint32_t n = 0;
	bool matched = false;
	if (set_add(d, inst))
		d->stack[n++] = inst;
	while (n) {
		const struct regex_inst *at = &re->insts[d->stack[--n]];
		d->steps++;
		switch ((enum regex_op)at->op) {
		case REGEX_OP_ALT:
			/* Each instruction goes on the stack once, so cap_insts places are enough. */
			if (set_add(d, at->arg))
				d->stack[n++] = at->arg;
			if (set_add(d, at->out))
				d->stack[n++] = at->out;
			break;
		case REGEX_OP_LOOK:
			if (!(at->arg & looks))
				break;
			__attribute__((fallthrough));
		case REGEX_OP_CAPTURE:
			if (set_add(d, at->out))
				d->stack[n++] = at->out;
			break;
		case REGEX_OP_MATCH:
			matched = true;
			break;
		case REGEX_OP_RUNE:
		case REGEX_OP_SET:
			break;
		}
	}
	return matched;
}

/* Sorts instruction numbers by way of the bits: linear in the program, not n log n. */
static void kernel_sort(struct regex_dfa *d, uint32_t n)
{
	uint32_t lo = UINT32_MAX, hi = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t word = d->kernel[i] / 64;
		d->bits[word] |= UINT64_C(1) << (d->kernel[i] & 63);
		lo = MIN(lo, word);
		hi = MAX(hi, word);
	}
	n = 0;
	for (uint32_t word = lo; word <= hi; word++) {
		for (uint64_t bits = d->bits[word]; bits; bits &= bits - 1)
			d->kernel[n++] = word * 64 + (uint32_t)__builtin_ctzll(bits);
		d->bits[word] = 0;
	}
}

/* What a LOOK at a position may still hope for when it is known what stands before. */
static uint32_t looks_possible(enum before before)
{
	uint32_t looks = ~0u;
	if (before != BEFORE_TEXT)
		looks &= ~(uint32_t)REGEX_LOOK_TEXT_BEGIN;
	if (before != BEFORE_TEXT && before != BEFORE_LINE)
		looks &= ~(uint32_t)REGEX_LOOK_LINE_BEGIN;
	return looks;
}

static uint32_t looks_between(enum before before, bool end, uint32_t rune)
{
	uint32_t looks = 0;
	if (before == BEFORE_TEXT)
		looks |= REGEX_LOOK_TEXT_BEGIN | REGEX_LOOK_LINE_BEGIN;
	if (before == BEFORE_LINE)
		looks |= REGEX_LOOK_LINE_BEGIN;
	if (end)
		looks |= REGEX_LOOK_TEXT_END | REGEX_LOOK_LINE_END;
	else if (rune == '\n')
		looks |= REGEX_LOOK_LINE_END;
	bool word = !end && rune < 128 && regex_is_word((uint8_t)rune);
	looks |= (before == BEFORE_WORD) != word ? REGEX_LOOK_WORD_EDGE : REGEX_LOOK_NO_WORD_EDGE;
	return looks;
}

/* The state of the instructions in the set, made if it is new. `before` matters only where something looks. */
static uint32_t state_of_set(struct regex_dfa *d, const struct regex *re, enum before before)
{
	if (!re->looks)
		before = BEFORE_OTHER;
	uint32_t possible = looks_possible(before), n = 0;
	for (uint32_t i = 0; i < d->n_dense; i++) {
		const struct regex_inst *at = &re->insts[d->dense[i]];
		if (at->op >= REGEX_OP_RUNE || (at->op == REGEX_OP_LOOK && at->arg & possible))
			d->kernel[n++] = d->dense[i];
	}
	/* Nothing waits; but unless the pattern is anchored, the next position starts anew. */
	if (n == 0 && re->anchored)
		return REGEX_DFA_DEAD;
	kernel_sort(d, n);
	d->steps += n;
	uint32_t bucket = 2166136261u ^ before;
	for (uint32_t i = 0; i < n; i++)
		bucket = (bucket ^ d->kernel[i]) * 16777619u;
	bucket = (bucket ^ bucket >> 15) % ARRAY_LEN(d->buckets);
	for (uint32_t s = d->buckets[bucket]; s; s = d->states[s].next_same_hash)
		if (d->states[s].n == n && d->states[s].before == before &&
		    memcmp(d->pool + d->states[s].first, d->kernel, n * sizeof(*d->kernel)) == 0)
			return s;

	size_t more = sizeof(*d->states) + d->stride * sizeof(*d->cells) + n * sizeof(*d->pool);
	if (d->n_states > REGEX_DFA_FIRST && dfa_bytes(d) + more > REGEX_DFA_BYTES)
		dfa_forget(d);
	if (d->n_states >= d->cap_states) {
		d->cap_states = d->cap_states ? d->cap_states * 2 : 16;
		d->states = mem_realloc_n(d->states, d->cap_states, sizeof(*d->states));
		d->cells = mem_realloc_n(d->cells, (size_t)d->cap_states * d->stride, sizeof(*d->cells));
	}
	while (!d->pool || d->n_pool + n > d->cap_pool) {
		d->cap_pool = d->cap_pool ? d->cap_pool * 2 : 256;
		d->pool = mem_realloc_n(d->pool, d->cap_pool, sizeof(*d->pool));
	}
	uint32_t s = d->n_states++;
	d->states[s] = (struct state){ .first = (uint32_t)d->n_pool, .n = n, .before = before,
				       .next_same_hash = d->buckets[bucket] };
	d->buckets[bucket] = s;
	memcpy(d->pool + d->n_pool, d->kernel, n * sizeof(*d->kernel));
	d->n_pool += n;
	memset(d->cells + (size_t)s * d->stride, 0, d->stride * sizeof(*d->cells));
	return s;
}

static uint32_t dfa_start(struct regex_dfa *d, const struct regex *re)
{
	if (d->start == REGEX_DFA_UNKNOWN) {
		d->n_dense = 0;
		uint32_t start = set_close(d, re, re->start, 0) ? REGEX_DFA_MATCH : state_of_set(d, re, BEFORE_TEXT);
		d->start = start;
	}
	return d->start;
}

/* Where state s goes on a rune of class c (re->n_classes: the end). The cell is filled unless states were
 * forgotten on the way. */
static uint32_t dfa_step(struct regex_dfa *d, const struct regex *re, uint32_t s, uint32_t c)
{
	bool end = c == re->n_classes;
	uint32_t rune = end ? 0 : re->class_rune[c];
	struct state from = d->states[s];
	uint32_t looks = looks_between((enum before)from.before, end, rune);
	uint32_t next = REGEX_DFA_DEAD;
	uint64_t forgotten = d->forgotten;

	/* 1. Answer the questions of this position. The set's first part: what can consume now. */
	d->n_dense = 0;
	bool matched = false;
	for (uint32_t i = 0; i < from.n; i++) {
		const struct regex_inst *at = &re->insts[d->pool[from.first + i]];
		if (at->op == REGEX_OP_LOOK && at->arg & looks)
			matched |= set_close(d, re, at->out, looks);
		else if (at->op >= REGEX_OP_RUNE)
			(void)set_add(d, d->pool[from.first + i]);
	}
	d->steps += from.n;
	if (matched) {
		next = REGEX_DFA_MATCH;
	} else if (!end) {
		/* 2. Consume. Those that take the rune are kept aside, because the set is needed again. */
		uint32_t n = 0;
		for (uint32_t i = 0; i < d->n_dense; i++) {
			const struct regex_inst *at = &re->insts[d->dense[i]];
			if (regex_inst_takes(re, at, rune))
				d->kernel[n++] = at->out;
		}
		/* 3. What is reached behind the rune, and a new thread from the start: the match may begin anywhere. */
		d->n_dense = 0;
		for (uint32_t i = 0; i < n; i++)
			matched |= set_close(d, re, d->kernel[i], 0);
		if (!re->anchored)
			matched |= set_close(d, re, re->start, 0);
		bool word = rune < 128 && regex_is_word((uint8_t)rune);
		next = matched ? REGEX_DFA_MATCH :
		       state_of_set(d, re, rune == '\n' ? BEFORE_LINE : word ? BEFORE_WORD : BEFORE_OTHER);
	}
	if (d->forgotten == forgotten)
		d->cells[(size_t)s * d->stride + c] = next;
	return next;
}

bool regex_dfa_matches(const struct regex *re, struct regex_scratch *scratch, struct span text)
{
	if (!scratch->dfa)
		scratch->dfa = mem_new(struct regex_dfa);
	struct regex_dfa *d = scratch->dfa;
	dfa_bind(d, re);
	uint64_t before = d->steps;
	uint32_t s = dfa_start(d, re);
	const char *p = text.ptr, *end = text.ptr + text.len;
	while (s >= REGEX_DFA_FIRST) {
		uint32_t c = re->n_classes;
		size_t len = 0;
		if (p < end)
			c = regex_rune_class(re, regex_rune_at(p, end, &len));
		p += len;
		scratch->steps++;
		uint32_t next = d->cells[(size_t)s * d->stride + c];
		s = next ? next : dfa_step(d, re, s, c);
	}
	scratch->steps += d->steps - before;
	return s == REGEX_DFA_MATCH;
}

void regex_dfa_build_table(struct regex *re)
{
	enum { STATES_MAX = 64, CELLS_MAX = 8192, STEPS_MAX = 50000 };
	if (!re->n_classes)
		return;
	struct regex_dfa *d = mem_new(struct regex_dfa);
	dfa_bind(d, re);
	uint32_t start = dfa_start(d, re);
	bool small = true;
	/* New states get higher numbers: this walks until none is left. */
	for (uint32_t s = REGEX_DFA_FIRST; small && s < d->n_states; s++)
		for (uint32_t c = 0; small && c < d->stride; c++) {
			(void)dfa_step(d, re, s, c);
			small = d->n_states <= STATES_MAX && d->n_states * d->stride <= CELLS_MAX &&
				d->steps <= STEPS_MAX;
		}
	if (small) {
		re->n_table = d->n_states;
		re->table_start = start;
		re->table = mem_alloc((size_t)d->n_states * d->stride * sizeof(*re->table));
		for (size_t i = (size_t)REGEX_DFA_FIRST * d->stride; i < (size_t)d->n_states * d->stride; i++)
			re->table[i] = (uint16_t)d->cells[i];
		memset(re->table, 0, (size_t)REGEX_DFA_FIRST * d->stride * sizeof(*re->table));
	}
	regex_dfa_free(d);
}
