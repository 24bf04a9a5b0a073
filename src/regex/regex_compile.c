/* Tree to program, and the rune classes for the automaton.
 *
 * Code is made from its end to its beginning: gen(node, next) emits instructions that continue at `next`
 * and returns where they begin, so there is nothing to patch but the loop of a star. Recursion is on the height of
 * the tree, which the parser bounds by REGEX_MAX_DEPTH. The parser bounds the size as well (node->size is never
 * less than what is emitted here), so emitting cannot fail. */
#include <stdatomic.h>
#include "regex/regex_prog.h"

struct gen {
	struct regex_inst *insts;
	uint32_t n, cap;
};

static uint32_t emit(struct gen *g, enum regex_op op, uint32_t out, uint32_t arg)
{
	MEM_GROW(g->insts, g->n, g->cap);
	g->insts[g->n] = (struct regex_inst){ .op = op, .out = out, .arg = arg };
	return g->n++;
}

/* A fork: into `inner` first, or last when lazy. */
static void fork_set(struct gen *g, uint32_t at, bool lazy, uint32_t inner, uint32_t next)
{
	g->insts[at].out = lazy ? next : inner;
	g->insts[at].arg = lazy ? inner : next;
}

static uint32_t gen(struct gen *g, const struct regex_node *n, uint32_t next);

static uint32_t gen_quest(struct gen *g, bool lazy, uint32_t inner, uint32_t next)
{
	uint32_t at = emit(g, REGEX_OP_ALT, 0, 0);
	fork_set(g, at, lazy, inner, next);
	return at;
}

/* x+; returns where it begins, *out_loop where the fork behind x stands. */
static uint32_t gen_plus(struct gen *g, const struct regex_node *sub, bool lazy, uint32_t next, uint32_t *out_loop)
{
	uint32_t loop = emit(g, REGEX_OP_ALT, 0, 0);
	uint32_t inner = gen(g, sub, loop);
	fork_set(g, loop, lazy, inner, next);
	*out_loop = loop;
	return inner;
}

static uint32_t gen_star(struct gen *g, const struct regex_node *sub, bool lazy, uint32_t next)
{
	/* (x*)* prefers what x* prefers. */
	while (sub->kind == REGEX_NODE_REPEAT && sub->min == 0 && sub->max < 0 && sub->lazy == lazy)
		sub = sub->subs[0];
	uint32_t loop, inner = gen_plus(g, sub, lazy, next, &loop);
	/* An x that can be empty needs (x+)?, or else (|a)* would try the second alternative before leaving. */
	return sub->nullable ? gen_quest(g, lazy, inner, next) : loop;
}

static uint32_t gen_repeat(struct gen *g, const struct regex_node *n, uint32_t next)
{
	const struct regex_node *sub = n->subs[0];
	if (n->max == 0 || sub->kind == REGEX_NODE_EMPTY)
		return next;
	if (n->max < 0) {
		if (n->min == 0)
			return gen_star(g, sub, n->lazy, next);
		/* x{3,} is xxx+ */
		uint32_t loop;
		next = gen_plus(g, sub, n->lazy, next, &loop);
		for (int32_t i = 1; i < n->min; i++)
			next = gen(g, sub, next);
		return next;
	}
	/* x{2,4} is xx(x(x)?)? */
	uint32_t exit = next;
	for (int32_t i = n->min; i < n->max; i++)
		next = gen_quest(g, n->lazy, gen(g, sub, next), exit);
	for (int32_t i = 0; i < n->min; i++)
		next = gen(g, sub, next);
	return next;
}

static uint32_t gen(struct gen *g, const struct regex_node *n, uint32_t next)
{
	switch ((enum regex_node_kind)n->kind) {
	case REGEX_NODE_EMPTY:
		return next;
	case REGEX_NODE_RUNE:
		return emit(g, REGEX_OP_RUNE, next, n->arg);
	case REGEX_NODE_SET:
		return emit(g, REGEX_OP_SET, next, n->arg);
	case REGEX_NODE_LOOK:
		return emit(g, REGEX_OP_LOOK, next, n->arg);
	case REGEX_NODE_CAPTURE:
		next = emit(g, REGEX_OP_CAPTURE, next, n->arg * 2 + 1);
		next = gen(g, n->subs[0], next);
		return emit(g, REGEX_OP_CAPTURE, next, n->arg * 2);
	case REGEX_NODE_CONCAT:
		for (uint32_t i = n->n; i-- > 0;)
			next = gen(g, n->subs[i], next);
		return next;
	case REGEX_NODE_ALT: {
		uint32_t rest = gen(g, n->subs[n->n - 1], next);
		for (uint32_t i = n->n - 1; i-- > 0;)
			rest = gen_quest(g, false, gen(g, n->subs[i], next), rest);
		return rest;
	}
	case REGEX_NODE_REPEAT:
		return gen_repeat(g, n, next);
	case REGEX_NODE_PAREN:
	case REGEX_NODE_BAR:
		break;
	}
	abort(); /* marks never leave the parser */
}

/* ---- rune classes */

static int u32_cmp(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

struct cuts {
	uint32_t *at; /* owned; first runes of intervals */
	size_t n, cap;
};

static void cut(struct cuts *c, uint32_t lo, uint32_t hi)
{
	MEM_GROW(c->at, c->n, c->cap);
	c->at[c->n++] = lo;
	if (hi < REGEX_RUNE_LAST) {
		MEM_GROW(c->at, c->n, c->cap);
		c->at[c->n++] = hi + 1;
	}
}

static const struct regex_runes word_runes[] = { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } };
static const struct regex_runes line_runes[] = { { '\n', '\n' } };

/* Splits every class that the ranges cut through: members of the ranges leave for a class of their own.
 * False when there are more than 255 by then. */
static bool split(const struct cuts *c, uint16_t *class_of, uint32_t *n_classes, const struct regex_runes *r, size_t n)
{
	uint16_t moved[256];
	memset(moved, 0xff, sizeof(moved));
	size_t i = 0;
	for (size_t k = 0; k < n; k++) {
		/* The interval that begins at r[k].lo: there is one, by construction. */
		size_t lo = i, hi = c->n;
		while (lo < hi) {
			size_t mid = (lo + hi) / 2;
			if (c->at[mid] < r[k].lo)
				lo = mid + 1;
			else
				hi = mid;
		}
		for (i = lo; i < c->n && c->at[i] <= r[k].hi; i++) {
			uint16_t *to = &moved[class_of[i]];
			if (*to == 0xffff) {
				if (*n_classes == 256)
					return false;
				*to = (uint16_t)(*n_classes)++;
			}
			class_of[i] = *to;
		}
	}
	return true;
}

/* Renumbers the classes that are still in use from 0. */
static uint32_t renumber(uint16_t *class_of, size_t n)
{
	uint16_t to[256];
	uint32_t used = 0;
	memset(to, 0xff, sizeof(to));
	for (size_t i = 0; i < n; i++) {
		if (to[class_of[i]] == 0xffff)
			to[class_of[i]] = (uint16_t)used++;
		class_of[i] = to[class_of[i]];
	}
	return used;
}

/* Which runes no instruction can tell apart. Gives up (n_classes 0) on patterns that name too many. */
static void classes_find(struct regex *re)
{
	enum { WORK_MAX = 1 << 22, RUNES_MAX = 2048, RANGES_MAX = 1 << 16 };
	if (re->sets.n_ranges > RANGES_MAX)
		return;
	struct cuts c = {};
	uint16_t *class_of = NULL;
	uint32_t n_classes = 1;
	cut(&c, 0, REGEX_RUNE_LAST);
	if (re->looks & (REGEX_LOOK_WORD_EDGE | REGEX_LOOK_NO_WORD_EDGE))
		for (size_t i = 0; i < ARRAY_LEN(word_runes); i++)
			cut(&c, word_runes[i].lo, word_runes[i].hi);
	if (re->looks & (REGEX_LOOK_LINE_BEGIN | REGEX_LOOK_LINE_END))
		cut(&c, '\n', '\n');
	for (size_t i = 0; i < re->sets.n_ranges; i++)
		cut(&c, re->sets.ranges[i].lo, re->sets.ranges[i].hi);

	/* Single runes, each once. A pattern may repeat one a thousand times. */
	uint32_t *runes = mem_alloc((re->n_insts + 1) * sizeof(*runes));
	size_t n_runes = 0;
	for (uint32_t i = 0; i < re->n_insts; i++)
		if (re->insts[i].op == REGEX_OP_RUNE)
			runes[n_runes++] = re->insts[i].arg;
	qsort(runes, n_runes, sizeof(*runes), u32_cmp);
	size_t n = 0;
	for (size_t i = 0; i < n_runes; i++)
		if (n == 0 || runes[n - 1] != runes[i])
			runes[n++] = runes[i];
	n_runes = n;
	if (n_runes > RUNES_MAX)
		goto out;
	for (size_t i = 0; i < n_runes; i++)
		cut(&c, runes[i], runes[i]);

	qsort(c.at, c.n, sizeof(*c.at), u32_cmp);
	n = 0;
	for (size_t i = 0; i < c.n; i++)
		if (n == 0 || c.at[n - 1] != c.at[i])
			c.at[n++] = c.at[i];
	c.n = n;

	class_of = mem_zalloc(c.n * sizeof(*class_of));
	uint64_t work = 0;
	bool good = true;
	if (re->looks & (REGEX_LOOK_WORD_EDGE | REGEX_LOOK_NO_WORD_EDGE))
		good &= split(&c, class_of, &n_classes, word_runes, ARRAY_LEN(word_runes));
	if (re->looks & (REGEX_LOOK_LINE_BEGIN | REGEX_LOOK_LINE_END))
		good &= split(&c, class_of, &n_classes, line_runes, ARRAY_LEN(line_runes));
	for (size_t i = 0; good && i < re->sets.n + n_runes; i++) {
		if (i < re->sets.n) {
			const struct regex_set *set = &re->sets.sets[i];
			good = split(&c, class_of, &n_classes, re->sets.ranges + set->first, set->n);
		} else {
			struct regex_runes one = { runes[i - re->sets.n], runes[i - re->sets.n] };
			good = split(&c, class_of, &n_classes, &one, 1);
		}
		work += c.n;
		good &= work <= WORK_MAX;
		if (n_classes > 128)
			n_classes = renumber(class_of, c.n);
	}
	n_classes = renumber(class_of, c.n);
	if (!good || n_classes > 255)
		goto out;

	re->n_classes = n_classes;
	re->n_intervals = (uint32_t)c.n;
	re->class_of = mem_alloc(c.n);
	for (size_t i = 0; i < c.n; i++) {
		re->class_of[i] = (uint8_t)class_of[i];
		re->class_rune[class_of[i]] = c.at[i];
	}
	re->starts = take(&c.at);
	for (size_t i = 0, rune = 0; rune < 128; rune++) {
		while (i + 1 < c.n && re->starts[i + 1] <= rune)
			i++;
		re->ascii_class[rune] = re->class_of[i];
	}
out:
	free(runes);
	free(c.at);
	free(class_of);
}

/* Does every path from the start ask for the beginning of the text before anything else? */
static bool starts_anchored(const struct regex *re)
{
	auto_free bool *seen = mem_zalloc(re->n_insts);
	auto_free uint32_t *stack = mem_alloc(re->n_insts * sizeof(*stack));
	uint32_t n = 0;
	seen[re->start] = true;
	stack[n++] = re->start;
	while (n) {
		const struct regex_inst *i = &re->insts[stack[--n]];
		if (i->op == REGEX_OP_LOOK && i->arg == REGEX_LOOK_TEXT_BEGIN)
			continue;
		if (i->op != REGEX_OP_ALT && i->op != REGEX_OP_CAPTURE)
			return false;
		uint32_t next[2] = { i->out, i->arg };
		for (int k = 0; k < (i->op == REGEX_OP_ALT ? 2 : 1); k++)
			if (!seen[next[k]]) {
				seen[next[k]] = true;
				stack[n++] = next[k];
			}
	}
	return true;
}

void regex_compile(struct regex *re, const struct regex_node *tree)
{
	struct gen g = {};
	uint32_t match = emit(&g, REGEX_OP_MATCH, 0, 0);
	re->start = gen(&g, tree, match);
	re->insts = mem_realloc_n(g.insts, g.n, sizeof(*g.insts));
	re->n_insts = g.n;
	for (uint32_t i = 0; i < g.n; i++) {
		if (re->insts[i].op == REGEX_OP_LOOK)
			re->looks |= re->insts[i].arg;
		re->n_consuming += re->insts[i].op >= REGEX_OP_RUNE;
	}
	re->anchored = starts_anchored(re);
	classes_find(re);
}
