/* Regular expressions in linear time: RE2's syntax and meaning, as Go's package regexp accepts and explains them.
 *
 * That is what `pattern` in a Kubernetes schema and `matches` in CEL mean. No back-references, no look-around;
 * in exchange the time of a match grows with (length of the text) x (size of the program) and never faster,
 * whatever pattern and text an outsider chose. Differences to Go 1.24 are listed in README.md.
 *
 *     auto_regex struct regex *re = regex_new(SPAN("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), 0, err);
 *     if (!re)
 *             return err_note(err, "spec.pattern");
 *     struct regex_scratch scratch = {};
 *     bool ok = regex_matches(re, &scratch, name);
 *     regex_scratch_done(&scratch);
 *
 * Texts are bytes. They are read as UTF-8; each byte that is not part of a well-formed sequence counts as one
 * U+FFFD. All offsets and lengths are in bytes.
 *
 * Threads: a struct regex never changes after regex_new; any number of threads may match with it at once,
 * each with a scratch of its own. Nothing here blocks, logs or recurses on the text.
 *
 * Memory: a pattern's program has at most REGEX_MAX_INSTS instructions of 12 bytes; its character classes together at
 * most REGEX_MAX_RANGES ranges of 8 bytes. A scratch holds at most REGEX_DFA_BYTES of states, 64 bytes for each
 * instruction of the largest program, half a megabyte for short texts, and 16 bytes for each instruction and each
 * wanted group offset of a regex_find.
 */
#pragma once

#include "base/base.h"

enum {
	REGEX_MAX_INSTS = 1 << 18,
	REGEX_MAX_RANGES = 1 << 19,
	REGEX_MAX_DEPTH = 1000,       /* nesting of groups and repetitions, as RE2 and Go */
	REGEX_MAX_REPEAT = 1000,      /* x{n,m}, and the product of nested ones */
	REGEX_DFA_BYTES = 1 << 20,    /* states remembered in one scratch */
	REGEX_FIND_BYTES = 64 << 20,  /* group offsets remembered during one regex_find */
};

enum regex_flags {
	REGEX_FOLD = 1,       /* (?i) letters match in either case */
	REGEX_MULTI_LINE = 2, /* (?m) ^ and $ also match at line ends */
	REGEX_DOT_NL = 4,     /* (?s) . matches \n too */
	REGEX_UNGREEDY = 8,   /* (?U) x* prefers fewer, x*? more */
	REGEX_LITERAL = 16,   /* the whole pattern is plain text */
};

struct regex;

/* NULL and *err of class INVALID with Go's wording: "error parsing regexp: missing closing ): `a(b`". A pattern beyond
 * the limits above is refused so too ("expression too large", "expression nests too deeply"). The pattern is not kept. */
struct regex *regex_new(struct span pattern, unsigned flags, struct err *err);
void regex_free(struct regex *re); /* accepts NULL */
AUTO_DEFINE(regex, struct regex *, regex_free)
#define auto_regex auto_cleanup(auto_regex_)

/* Capturing groups, the whole match (group 0) included: at least 1. */
unsigned regex_n_groups(const struct regex *re);
/* The name given with (?P<name>..) or (?<name>..); empty for a group without one. Borrowed from re. */
struct span regex_group_name(const struct regex *re, unsigned group);
/* Bytes of memory that re holds. */
size_t regex_size(const struct regex *re);

/* What matching needs to write on. Zero-initialised is valid; keeps its memory for the next match, with any regex (but
 * coming back to the same one is faster: the states found stay). One thread at a time. */
struct regex_dfa;
struct regex_scratch {
	struct regex_dfa *dfa; /* owned */
	void *threads;         /* owned */
	size_t threads_bytes;
	uint64_t steps;        /* work done since zeroed by the caller: instructions visited and runes read */
};
void regex_scratch_done(struct regex_scratch *scratch);

/* Does the pattern match anywhere in text? (Anchor it with ^(?:...)$ to ask for the whole text.) */
bool regex_matches(const struct regex *re, struct regex_scratch *scratch, struct span text);

/* A group's place in the text; a group that took no part is {-1, -1}. */
struct regex_range {
	ptrdiff_t from, to;
};

/* The leftmost match that begins at `from` or later; among those the one that a backtracking matcher would find
 * first. What stands before `from` still counts for ^, \A and \b. Writes out_groups[0 .. n-1] (groups beyond the
 * pattern's become {-1, -1}). Returns 1, or 0 without a match (out_groups untouched), or -TOO_LARGE when n offsets for
 * each instruction pass REGEX_FIND_BYTES; that cannot happen with n <= 2. */
int regex_find(const struct regex *re, struct regex_scratch *scratch, struct span text, size_t from,
	       struct regex_range *out_groups, size_t n, struct err *err);

/* All matches, one after the other, none overlapping; an empty match right behind the previous match is left
 * out, as Go's FindAll does.
 *     struct regex_walk walk = {};
 *     while ((found = regex_find_next(re, &scratch, text, &walk, groups, n, err)) > 0) ... */
struct regex_walk {
	size_t pos;        /* where to search next; beyond the text: done */
	bool ended;
	ptrdiff_t last_to; /* end of the previous match + 1; 0 = none yet */
};
int regex_find_next(const struct regex *re, struct regex_scratch *scratch, struct span text, struct regex_walk *walk,
		    struct regex_range *out_groups, size_t n, struct err *err);

/* Appends text with every special character escaped, so that as a pattern it matches itself. */
void regex_quote(struct buf *out, struct span text);
