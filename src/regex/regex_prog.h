/* Private to src/regex: the parse tree, the program, and who makes which.
 *
 *     pattern --regex_parse--> tree --regex_compile--> program --regex_dfa / regex_match--> answer
 *
 * regex_class.c owns character classes, regex_unicode.inc the tables behind them.
 */
#pragma once

#include "regex/regex.h"

enum {
	REGEX_RUNE_LAST = 0x10FFFF,
	REGEX_RUNE_BAD = 0xFFFD,
	REGEX_WORK_MAX = 1 << 22, /* ranges that all classes of a pattern may be put together from */
};

/* ---- character classes */
struct regex_runes { /* one range, both ends included */
	uint32_t lo, hi;
};

/* A class being built: ranges in any order until regex_class_clean. */
struct regex_class {
	struct regex_runes *ranges; /* owned */
	size_t n, cap;
};

/* An interned class: ranges[first .. first + n), sorted, apart by at least one rune. */
struct regex_set {
	uint32_t first, n;
	uint32_t ascii[4]; /* bit per rune below 128 */
};

/* All classes of a pattern; equal ones are kept once. */
struct regex_sets {
	struct regex_set *sets;     /* owned */
	struct regex_runes *ranges; /* owned */
	size_t n, cap, n_ranges, cap_ranges;
	uint32_t *buckets;          /* owned; hash -> set + 1, while parsing */
	size_t n_buckets;
	uint64_t work;              /* ranges touched; bounds what a hostile pattern can cost */
};

void regex_class_done(struct regex_class *c);
void regex_class_add(struct regex_class *c, uint32_t lo, uint32_t hi);
/* Adds what differs from a member by case alone; returns how many runes it looked at. */
uint64_t regex_class_fold(struct regex_class *c);
void regex_class_clean(struct regex_class *c);
void regex_class_negate(struct regex_class *c); /* wants a clean one, leaves a clean one */
/* Adds a general category or script, "Any" included. False: no such name. */
bool regex_class_add_unicode(struct regex_class *c, struct span name);
/* \d \s \w by letter, [:alpha:] by name. False: no such class. */
bool regex_class_add_perl(struct regex_class *c, char letter);
bool regex_class_add_posix(struct regex_class *c, struct span name);
uint32_t regex_fold_next(uint32_t rune); /* the next rune of its case orbit; itself when it has none */

/* Index of the clean class c among sets, or -1 when the bounds on ranges or work are passed. */
int64_t regex_sets_intern(struct regex_sets *s, const struct regex_class *c);
void regex_sets_done(struct regex_sets *s);

static inline bool regex_set_has(const struct regex_set *set, const struct regex_runes *all, uint32_t rune)
{
	if (rune < 128)
		return set->ascii[rune >> 5] >> (rune & 31) & 1;
	const struct regex_runes *r = all + set->first;
	size_t lo = 0, hi = set->n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (rune > r[mid].hi)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < set->n && rune >= r[lo].lo;
}

/* ---- tree */
enum regex_node_kind {
	REGEX_NODE_EMPTY,
	REGEX_NODE_RUNE,    /* arg: the rune */
	REGEX_NODE_SET,     /* arg: index of the set */
	REGEX_NODE_LOOK,    /* arg: enum regex_look */
	REGEX_NODE_CAPTURE, /* arg: group */
	REGEX_NODE_CONCAT,
	REGEX_NODE_ALT,
	REGEX_NODE_REPEAT,  /* min, max; max -1 = no end */
	/* On the parser's stack only; everything below is an operand. */
	REGEX_NODE_PAREN,   /* arg: group, 0 = none; flags: to restore */
	REGEX_NODE_BAR,
};

struct regex_node {
	uint8_t kind;
	bool lazy;       /* REPEAT prefers fewer */
	bool nullable;   /* can match without consuming */
	uint8_t flags;   /* PAREN */
	uint16_t height; /* of the tree, at most REGEX_MAX_DEPTH */
	uint16_t reps;   /* largest product of counts of nested repetitions, at most REGEX_MAX_REPEAT */
	uint32_t arg;
	uint32_t size;   /* instructions, an upper bound */
	int32_t min, max;
	uint32_t n;      /* operands */
	struct regex_node **subs;
};

/* Positions between runes that a LOOK can ask for. A set of bits. */
enum regex_look {
	REGEX_LOOK_LINE_BEGIN = 1,
	REGEX_LOOK_LINE_END = 2,
	REGEX_LOOK_TEXT_BEGIN = 4,
	REGEX_LOOK_TEXT_END = 8,
	REGEX_LOOK_WORD_EDGE = 16,
	REGEX_LOOK_NO_WORD_EDGE = 32,
};

/* Names of groups: names[i] belongs to group i + 1. */
struct regex_names {
	struct span *names; /* owned, as is each text */
	size_t n, cap;
};

/* The tree in arena a, or NULL with *err. Fills sets and names. */
struct regex_node *regex_parse(struct span pattern, unsigned flags, struct arena *a, struct regex_sets *sets,
			       struct regex_names *names, struct err *err);

/* ---- program */
enum regex_op {
	REGEX_OP_ALT,     /* out first, then arg */
	REGEX_OP_CAPTURE, /* arg: slot (2 x group, + 1 at its end) */
	REGEX_OP_LOOK,    /* arg: the one enum regex_look bit that must hold */
	REGEX_OP_RUNE,    /* consumes arg */
	REGEX_OP_SET,     /* consumes one of set arg */
	REGEX_OP_MATCH,
};

struct regex_inst {
	uint32_t op;
	uint32_t out, arg;
};

struct regex {
	struct regex_inst *insts; /* owned */
	uint32_t n_insts;
	uint32_t start;
	uint32_t n_consuming;     /* insts that are RUNE, SET or MATCH: what can be a thread */
	uint32_t looks;           /* every enum regex_look bit that some inst asks for */
	bool anchored;            /* matches can begin at the start of the text only */
	uint64_t id;              /* of this object in this process; tells a scratch whose states it holds */
	struct regex_sets sets;
	struct regex_names names;

	/* Rune classes: runes that no instruction tells apart. starts[i] is the first rune of interval i, which
	 * belongs to class_of[i]. n_classes 0: too many, no automaton for this pattern. */
	uint32_t *starts;   /* owned; starts[0] = 0 */
	uint8_t *class_of;  /* owned */
	uint32_t n_intervals;
	uint32_t n_classes; /* at most 255; the number itself stands for the end of the text */
	uint8_t ascii_class[128];
	uint32_t class_rune[256]; /* one rune of each */

	/* The whole automaton, when it is small: rows of n_classes + 1 cells, REGEX_DFA_* or a row number. */
	uint16_t *table; /* owned, or NULL */
	uint32_t table_start, n_table;
};

/* Program and rune classes from the tree; re->sets and re->names are there already. */
void regex_compile(struct regex *re, const struct regex_node *tree);

static inline uint32_t regex_rune_class(const struct regex *re, uint32_t rune)
{
	if (rune < 128)
		return re->ascii_class[rune];
	size_t lo = 0, hi = re->n_intervals;
	while (hi - lo > 1) {
		size_t mid = (lo + hi) / 2;
		if (re->starts[mid] <= rune)
			lo = mid;
		else
			hi = mid;
	}
	return re->class_of[lo];
}

static inline bool regex_inst_takes(const struct regex *re, const struct regex_inst *inst, uint32_t rune)
{
	return inst->op == REGEX_OP_RUNE ? inst->arg == rune :
	       inst->op == REGEX_OP_SET && regex_set_has(&re->sets.sets[inst->arg], re->sets.ranges, rune);
}

/* One rune of the text; *len becomes the bytes it takes (0 at the end). */
static inline uint32_t regex_rune_at(const char *p, const char *end, size_t *len)
{
	uint32_t rune;
	if (likely((uint8_t)*p < 0x80)) {
		*len = 1;
		return (uint8_t)*p;
	}
	*len = utf8_next(span_make(p, (size_t)(end - p)), &rune);
	if (*len)
		return rune;
	*len = 1;
	return REGEX_RUNE_BAD;
}

static inline bool regex_is_word(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* ---- automaton */
enum { REGEX_DFA_UNKNOWN, REGEX_DFA_DEAD, REGEX_DFA_MATCH, REGEX_DFA_FIRST };

void regex_dfa_free(struct regex_dfa *d);
/* Builds the whole automaton into re->table if it is small; else leaves NULL. */
void regex_dfa_build_table(struct regex *re);
/* The answer from states made as needed, kept in scratch. Wants re->n_classes. */
bool regex_dfa_matches(const struct regex *re, struct regex_scratch *scratch, struct span text);
