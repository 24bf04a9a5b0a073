/* The seam's functions, and the two matchers that know where a match and its groups lie.
 *
 *     regex_matches   re->table, else the automaton in the scratch, else threads without groups
 *     regex_find      short texts: backtracking that visits no (instruction, position) twice
 *                     else: threads in step (Pike's machine), each with its group offsets
 *
 * Both matchers try alternatives in the order in which a plain backtracking matcher would, and both take at most
 * (instructions x runes) steps. Backtracking is several times faster, but needs a bit for each pair. */
#include <stdatomic.h>
#include "regex/regex_prog.h"

enum { VISITED_BITS = 1 << 15 };

struct regex *regex_new(struct span pattern, unsigned flags, struct err *err)
{
	static _Atomic uint64_t last_id;
	struct arena arena = {};
	struct regex *re = mem_new(struct regex);
	struct regex_node *tree = regex_parse(pattern, flags, &arena, &re->sets, &re->names, err);
	if (tree) {
		re->id = atomic_fetch_add(&last_id, 1) + 1;
		regex_compile(re, tree);
		regex_dfa_build_table(re);
		free(take(&re->sets.buckets));
	}
	arena_done(&arena);
	if (!tree) {
		regex_free(re);
		return NULL;
	}
	return re;
}

void regex_free(struct regex *re)
{
	if (!re)
		return;
	for (size_t i = 0; i < re->names.n; i++)
		free((char *)re->names.names[i].ptr);
	free(re->names.names);
	regex_sets_done(&re->sets);
	free(re->insts);
	free(re->starts);
	free(re->class_of);
	free(re->table);
	free(re);
}

void regex_scratch_done(struct regex_scratch *scratch)
{
	regex_dfa_free(scratch->dfa);
	free(scratch->threads);
	*scratch = (struct regex_scratch){};
}

unsigned regex_n_groups(const struct regex *re)
{
	return (unsigned)re->names.n + 1;
}

struct span regex_group_name(const struct regex *re, unsigned group)
{
	return group >= 1 && group <= re->names.n ? re->names.names[group - 1] : SPAN_EMPTY;
}

size_t regex_size(const struct regex *re)
{
	return sizeof(*re) + re->n_insts * sizeof(*re->insts) + re->sets.cap * sizeof(*re->sets.sets) +
	       re->sets.cap_ranges * sizeof(*re->sets.ranges) + re->n_intervals * 5 +
	       (size_t)re->n_table * (re->n_classes + 1) * sizeof(*re->table) + re->names.cap * sizeof(struct span);
}

static void *scratch_bytes(struct regex_scratch *scratch, size_t bytes)
{
	if (scratch->threads_bytes < bytes) {
		free(scratch->threads);
		scratch->threads = mem_alloc(bytes);
		scratch->threads_bytes = bytes;
	}
	return scratch->threads;
}

/* Which positions of enum regex_look the offset at is. Looking at bytes is enough: word characters and \n are
 * ASCII, and such a byte is never part of another rune. */
static uint32_t looks_at(struct span text, size_t at)
{
	uint32_t looks = 0;
	bool before = at > 0 && regex_is_word((uint8_t)text.ptr[at - 1]);
	bool after = at < text.len && regex_is_word((uint8_t)text.ptr[at]);
	if (at == 0)
		looks |= REGEX_LOOK_TEXT_BEGIN | REGEX_LOOK_LINE_BEGIN;
	else if (text.ptr[at - 1] == '\n')
		looks |= REGEX_LOOK_LINE_BEGIN;
	if (at == text.len)
		looks |= REGEX_LOOK_TEXT_END | REGEX_LOOK_LINE_END;
	else if (text.ptr[at] == '\n')
		looks |= REGEX_LOOK_LINE_END;
	return looks | (before != after ? REGEX_LOOK_WORD_EDGE : REGEX_LOOK_NO_WORD_EDGE);
}

/* ---- backtracking */

/* Where to go on when the current path fails: an instruction at a position, or a slot to put back. */
struct job {
	uint32_t inst;
	bool restore;  /* inst is the slot, at the old value */
	ptrdiff_t at;
};

struct backtrack {
	const struct regex *re;
	struct span text;
	size_t from;       /* visited counts positions from here */
	size_t width;      /* of a row of visited: positions */
	uint64_t *visited; /* a bit per (inst, position) */
	struct job *jobs;
	size_t n_jobs;
	ptrdiff_t *slots;
	size_t n_slots;
	uint64_t steps;
};

static bool visit(struct backtrack *b, uint32_t inst, size_t at)
{
	size_t bit = (size_t)inst * b->width + (at - b->from);
	uint64_t mask = UINT64_C(1) << (bit & 63);
	if (b->visited[bit / 64] & mask)
		return false;
	b->visited[bit / 64] |= mask;
	return true;
}

/* Runs from one instruction until the path fails (false) or matches. */
static bool backtrack_path(struct backtrack *b, uint32_t inst, size_t at)
{
	const struct regex *re = b->re;
	while (visit(b, inst, at)) {
		const struct regex_inst *i = &re->insts[inst];
		b->steps++;
		switch ((enum regex_op)i->op) {
		case REGEX_OP_ALT:
			b->jobs[b->n_jobs++] = (struct job){ .inst = i->arg, .at = (ptrdiff_t)at };
			break;
		case REGEX_OP_CAPTURE:
			if (i->arg < b->n_slots) {
				b->jobs[b->n_jobs++] = (struct job){ .inst = i->arg, .restore = true, .at = b->slots[i->arg] };
				b->slots[i->arg] = (ptrdiff_t)at;
			}
			break;
		case REGEX_OP_LOOK:
			if (!(looks_at(b->text, at) & i->arg))
				return false;
			break;
		case REGEX_OP_RUNE:
		case REGEX_OP_SET: {
			if (at == b->text.len)
				return false;
			size_t len;
			uint32_t rune = regex_rune_at(b->text.ptr + at, b->text.ptr + b->text.len, &len);
			if (!regex_inst_takes(re, i, rune))
				return false;
			at += len;
			break;
		}
		case REGEX_OP_MATCH:
			if (b->n_slots > 1)
				b->slots[1] = (ptrdiff_t)at;
			return true;
		}
		inst = i->out;
	}
	return false;
}

static bool backtrack_at(struct backtrack *b, size_t start)
{
	if (b->n_slots)
		b->slots[0] = (ptrdiff_t)start;
	b->jobs[b->n_jobs++] = (struct job){ .inst = b->re->start, .at = (ptrdiff_t)start };
	while (b->n_jobs) {
		struct job job = b->jobs[--b->n_jobs];
		if (job.restore)
			b->slots[job.inst] = job.at;
		else if (backtrack_path(b, job.inst, (size_t)job.at))
			return true;
	}
	return false;
}

/* Positions are bytes here, not runes, so that a bit is found without counting. */
static bool backtrack_fits(const struct regex *re, struct span text, size_t from)
{
	return text.len - from < VISITED_BITS / re->n_insts;
}

static bool backtrack_find(const struct regex *re, struct regex_scratch *scratch, struct span text, size_t from,
			   ptrdiff_t *slots, size_t n_slots)
{
	size_t width = text.len - from + 1, words = (width * re->n_insts + 63) / 64;
	/* A visit pushes at most one job, and each is visited once; one more for the start. */
	size_t n_jobs = width * re->n_insts + 1;
	uint64_t *mem = scratch_bytes(scratch, words * sizeof(uint64_t) + n_jobs * sizeof(struct job));
	struct backtrack b = { .re = re, .text = text, .from = from, .width = width, .visited = mem,
			       .jobs = (struct job *)(mem + words), .slots = slots, .n_slots = n_slots };
	memset(mem, 0, words * sizeof(uint64_t));
	bool found = false;
	for (size_t at = from; !found && at <= text.len;) {
		if (at > 0 && re->anchored)
			break;
		/* What failed from an earlier start fails from here too: visited stays. */
		found = backtrack_at(&b, at);
		size_t len = 1;
		if (at < text.len)
			(void)regex_rune_at(text.ptr + at, text.ptr + text.len, &len);
		at += len;
	}
	scratch->steps += b.steps;
	return found;
}

/* ---- threads in step */

/* Threads of one position, in order of preference. An instruction is there once. */
struct threads {
	uint32_t *dense, *sparse; /* all instructions reached; sparse set as in regex_dfa.c */
	uint32_t n_dense;
	uint32_t *insts;          /* those that consume or match: the threads */
	ptrdiff_t *slots;         /* n_slots each */
	uint32_t n;
};

struct follow { /* a place to go on from, or a slot to put back */
	uint32_t inst;
	bool restore;
	ptrdiff_t old;
};

struct pike {
	const struct regex *re;
	struct span text;
	struct threads now, next;
	struct follow *stack;
	ptrdiff_t *work; /* slots of the thread that is being followed */
	size_t n_slots;
	uint64_t steps;
};

static bool threads_add(struct threads *t, uint32_t inst)
{
	uint32_t i = t->sparse[inst];
	if (i < t->n_dense && t->dense[i] == inst)
		return false;
	t->sparse[inst] = t->n_dense;
	t->dense[t->n_dense++] = inst;
	return true;
}

/* Adds the threads that p->work reaches from inst at the position without consuming, in order. */
static void pike_follow(struct pike *p, struct threads *t, uint32_t inst, size_t at, uint32_t looks)
{
	size_t n = 0;
	p->stack[n++] = (struct follow){ .inst = inst };
	while (n) {
		struct follow f = p->stack[--n];
		if (f.restore) {
			p->work[f.inst] = f.old;
			continue;
		}
		while (threads_add(t, f.inst)) {
			const struct regex_inst *i = &p->re->insts[f.inst];
			p->steps++;
			if (i->op == REGEX_OP_ALT) {
				p->stack[n++] = (struct follow){ .inst = i->arg };
			} else if (i->op == REGEX_OP_CAPTURE) {
				if (i->arg < p->n_slots) {
					p->stack[n++] = (struct follow){ .inst = i->arg, .restore = true, .old = p->work[i->arg] };
					p->work[i->arg] = (ptrdiff_t)at;
				}
			} else if (i->op == REGEX_OP_LOOK) {
				if (!(looks & i->arg))
					break;
			} else {
				if (p->n_slots)
					memcpy(t->slots + t->n * p->n_slots, p->work, p->n_slots * sizeof(*p->work));
				t->insts[t->n++] = f.inst;
				break;
			}
			f.inst = i->out;
		}
	}
}

static bool pike_run(struct pike *p, size_t from, ptrdiff_t *out_slots)
{
	bool found = false;
	for (size_t at = from;; ) {
		uint32_t looks = p->re->looks ? looks_at(p->text, at) : 0;
		if (!found && (at == 0 || !p->re->anchored)) {
			for (size_t i = 0; i < p->n_slots; i++)
				p->work[i] = -1;
			if (p->n_slots)
				p->work[0] = (ptrdiff_t)at;
			pike_follow(p, &p->now, p->re->start, at, looks);
		}
		if (p->now.n == 0 && (found || p->re->anchored))
			break;
		size_t len = 0;
		uint32_t rune = 0;
		if (at < p->text.len)
			rune = regex_rune_at(p->text.ptr + at, p->text.ptr + p->text.len, &len);
		uint32_t next_looks = len && p->re->looks ? looks_at(p->text, at + len) : 0;
		for (uint32_t k = 0; k < p->now.n; k++) {
			const struct regex_inst *i = &p->re->insts[p->now.insts[k]];
			ptrdiff_t *slots = p->now.slots + k * p->n_slots;
			p->steps++;
			if (i->op == REGEX_OP_MATCH) {
				/* Those behind it are less preferred. */
				found = true;
				if (p->n_slots)
					memcpy(out_slots, slots, p->n_slots * sizeof(*slots));
				if (p->n_slots > 1)
					out_slots[1] = (ptrdiff_t)at;
				break;
			}
			if (len && regex_inst_takes(p->re, i, rune)) {
				if (p->n_slots)
					memcpy(p->work, slots, p->n_slots * sizeof(*slots));
				pike_follow(p, &p->next, i->out, at + len, next_looks);
			}
		}
		if (!len || (found && !p->n_slots))
			break;
		at += len;
		struct threads done = p->now;
		p->now = p->next;
		p->next = done;
		p->next.n = p->next.n_dense = 0;
	}
	return found;
}

static bool pike_find(const struct regex *re, struct regex_scratch *scratch, struct span text, size_t from,
		      ptrdiff_t *slots, size_t n_slots)
{
	size_t n = re->n_insts, threads = re->n_consuming;
	/* Slots and the stack first (8-byte members), then the numbers. A follow is pushed once per instruction. */
	size_t slot_bytes = (2 * threads + 1) * n_slots * sizeof(ptrdiff_t);
	size_t stack_bytes = (n + 1) * sizeof(struct follow);
	char *mem = scratch_bytes(scratch, slot_bytes + stack_bytes + (4 * n + 2 * threads) * sizeof(uint32_t));
	struct pike p = { .re = re, .text = text, .n_slots = n_slots };
	ptrdiff_t *slot = (ptrdiff_t *)mem;
	uint32_t *number = (uint32_t *)(mem + slot_bytes + stack_bytes);
	p.stack = (struct follow *)(mem + slot_bytes);
	p.work = slot;
	p.now.slots = slot + n_slots;
	p.next.slots = slot + n_slots * (threads + 1);
	p.now.dense = number;
	p.now.sparse = number + n;
	p.next.dense = number + 2 * n;
	p.next.sparse = number + 3 * n;
	p.now.insts = number + 4 * n;
	p.next.insts = number + 4 * n + threads;
	/* Read before written by design; defined values keep checkers quiet. */
	memset(p.now.sparse, 0, n * sizeof(uint32_t));
	memset(p.next.sparse, 0, n * sizeof(uint32_t));
	bool found = pike_run(&p, from, slots);
	scratch->steps += p.steps;
	return found;
}

/* ---- the questions */

static bool table_matches(const struct regex *re, struct span text, uint64_t *steps)
{
	uint32_t s = re->table_start, stride = re->n_classes + 1;
	const char *p = text.ptr, *end = text.ptr + text.len;
	while (p < end && s >= REGEX_DFA_FIRST) {
		size_t len;
		uint32_t c = regex_rune_class(re, regex_rune_at(p, end, &len));
		s = re->table[s * stride + c];
		p += len;
	}
	*steps += (uint64_t)(p - text.ptr) + 1;
	if (s >= REGEX_DFA_FIRST)
		s = re->table[s * stride + re->n_classes];
	return s == REGEX_DFA_MATCH;
}

bool regex_matches(const struct regex *re, struct regex_scratch *scratch, struct span text)
{
	if (!text.ptr)
		text = SPAN("");
	if (re->table)
		return table_matches(re, text, &scratch->steps);
	if (re->n_classes)
		return regex_dfa_matches(re, scratch, text);
	if (backtrack_fits(re, text, 0))
		return backtrack_find(re, scratch, text, 0, NULL, 0);
	return pike_find(re, scratch, text, 0, NULL, 0);
}

int regex_find(const struct regex *re, struct regex_scratch *scratch, struct span text, size_t from,
	       struct regex_range *out_groups, size_t n, struct err *err)
{
	if (!text.ptr)
		text = SPAN("");
	if (from > text.len)
		return 0;
	size_t n_slots = 2 * MIN(n, (size_t)regex_n_groups(re));
	/* Two lists of threads, and what n_slots <= 4 needs always fits: 2 x 4 x 8 x REGEX_MAX_INSTS is below. */
	if (n_slots && re->n_consuming > REGEX_FIND_BYTES / (2 * sizeof(ptrdiff_t)) / n_slots)
		return err_set(err, ERR_TOO_LARGE, "regular expression of %u instructions: too large to find %zu groups",
			       re->n_insts, n_slots / 2);
	/* A no is cheapest from the table. */
	if (from == 0 && re->table && !table_matches(re, text, &scratch->steps))
		return 0;
	ptrdiff_t few[20], *slots = few;
	auto_free ptrdiff_t *many = NULL;
	if (n_slots > ARRAY_LEN(few))
		slots = many = mem_alloc(n_slots * sizeof(*slots));
	for (size_t i = 0; i < n_slots; i++)
		slots[i] = -1;
	bool found = backtrack_fits(re, text, from) ? backtrack_find(re, scratch, text, from, slots, n_slots) :
						      pike_find(re, scratch, text, from, slots, n_slots);
	for (size_t i = 0; found && i < n; i++)
		out_groups[i] = 2 * i < n_slots ? (struct regex_range){ slots[2 * i], slots[2 * i + 1] } :
						  (struct regex_range){ -1, -1 };
	return found;
}

int regex_find_next(const struct regex *re, struct regex_scratch *scratch, struct span text, struct regex_walk *walk,
		    struct regex_range *out_groups, size_t n, struct err *err)
{
	struct regex_range whole;
	if (n == 0) {
		out_groups = &whole;
		n = 1;
	}
	while (!walk->ended && walk->pos <= text.len) {
		int found = regex_find(re, scratch, text, walk->pos, out_groups, n, err);
		if (found <= 0) {
			walk->ended = found == 0;
			return found;
		}
		struct regex_range m = out_groups[0];
		bool abuts = m.from == m.to && walk->last_to == m.from + 1;
		walk->last_to = m.to + 1;
		if ((size_t)m.to > walk->pos) {
			walk->pos = (size_t)m.to;
		} else {
			/* An empty match at the very position: go one rune on, or the same would be found again. */
			size_t len = 1;
			if (walk->pos < text.len)
				(void)regex_rune_at(text.ptr + walk->pos, text.ptr + text.len, &len);
			walk->pos += len;
		}
		if (!abuts)
			return 1;
	}
	return 0;
}

void regex_quote(struct buf *out, struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] && strchr("\\.+*?()|[]{}^$", text.ptr[i]))
			buf_chr(out, '\\');
		buf_chr(out, text.ptr[i]);
	}
}
