/* Pattern to tree: an operator-precedence parser with a stack of its own.
 *
 * Operands are pushed as they come; a repetition wraps the top of the stack. At '|' and ')' what stands above the
 * last mark (PAREN or BAR) becomes one concatenation; at ')' and at the end the alternatives between bars become
 * one alternation. So nothing recurses on nesting, and the limits are checked where each node is made:
 * height (REGEX_MAX_DEPTH), counts (REGEX_MAX_REPEAT) and size (REGEX_MAX_INSTS) are known from its operands.
 *
 * Which inputs are errors, and with which words and excerpt, follows Go's regexp/syntax with its Perl flags:
 * clients show these messages to people and their tests compare them. */
#include "regex/regex_prog.h"

struct parser {
	struct span whole;
	const char *p, *end;
	unsigned flags;
	struct arena *arena;
	struct regex_sets *sets;
	struct regex_names *names;
	struct regex_node **stack; /* owned */
	size_t n_stack, cap_stack;
	uint32_t n_groups;
	bool no_posix_end; /* no ":]" from here on: "[[:[[:..." must not look for it at every step */
	struct err *err;
};

/* ---- errors: one excerpt each; -1 everywhere, so that callers pass it on */

static int fail(struct parser *p, const char *what, const char *from, const char *to)
{
	(void)err_set(p->err, ERR_INVALID, "error parsing regexp: %s: `%.*s`", what, (int)(to - from), from);
	return -1;
}

static int fail_whole(struct parser *p, const char *what)
{
	return fail(p, what, p->whole.ptr, p->end);
}

/* The next rune of the pattern, which unlike a text must be well-formed. At the end: one that fits nowhere. */
static int next_rune(struct parser *p, uint32_t *out_rune)
{
	if (p->p == p->end) {
		*out_rune = REGEX_RUNE_BAD;
		return 0;
	}
	size_t len = utf8_next(span_make(p->p, (size_t)(p->end - p->p)), out_rune);
	if (!len)
		return fail(p, "invalid UTF-8", p->p, p->end);
	p->p += len;
	return 0;
}

/* Go checks the excerpt of some errors first, and complains of its encoding instead. */
static int check_utf8(struct parser *p, const char *from, const char *to)
{
	uint32_t rune;
	while (from < to) {
		size_t len = utf8_next(span_make(from, (size_t)(to - from)), &rune);
		if (!len)
			return fail(p, "invalid UTF-8", from, to);
		from += len;
	}
	return 0;
}

static bool at(const struct parser *p, char c)
{
	return p->p < p->end && *p->p == c;
}

static const char *find(const char *from, const char *end, const char *what)
{
	ptrdiff_t i = span_find(span_make(from, (size_t)(end - from)), span_of(what));
	return i < 0 ? NULL : from + i;
}

/* ---- nodes */

static int node_check(struct parser *p, uint64_t size, unsigned height)
{
	if (size > REGEX_MAX_INSTS)
		return fail_whole(p, "expression too large");
	if (height > REGEX_MAX_DEPTH)
		return fail_whole(p, "expression nests too deeply");
	return 0;
}

static struct regex_node *node_new(struct parser *p, enum regex_node_kind kind, uint32_t arg)
{
	struct regex_node *n = arena_new(p->arena, struct regex_node);
	n->kind = (uint8_t)kind;
	n->arg = arg;
	n->height = n->size = n->reps = 1;
	n->nullable = kind == REGEX_NODE_EMPTY || kind == REGEX_NODE_LOOK;
	return n;
}

static int push(struct parser *p, struct regex_node *n)
{
	/* The number of nodes alone is bounded too: each waits on the stack or makes a program larger. */
	if (p->n_stack > REGEX_MAX_INSTS)
		return fail_whole(p, "expression too large");
	MEM_GROW(p->stack, p->n_stack, p->cap_stack);
	p->stack[p->n_stack++] = n;
	return 0;
}

static int push_new(struct parser *p, enum regex_node_kind kind, uint32_t arg)
{
	return push(p, node_new(p, kind, arg));
}

static int push_class(struct parser *p, const struct regex_class *c)
{
	if (c->n == 1 && c->ranges[0].lo == c->ranges[0].hi)
		return push_new(p, REGEX_NODE_RUNE, c->ranges[0].lo);
	int64_t set = regex_sets_intern(p->sets, c);
	if (set < 0)
		return fail_whole(p, "expression too large");
	return push_new(p, REGEX_NODE_SET, (uint32_t)set);
}

static int push_literal(struct parser *p, uint32_t rune)
{
	if (!(p->flags & REGEX_FOLD) || regex_fold_next(rune) == rune)
		return push_new(p, REGEX_NODE_RUNE, rune);
	struct regex_class c = {};
	regex_class_add(&c, rune, rune);
	(void)regex_class_fold(&c);
	regex_class_clean(&c);
	int ret = push_class(p, &c);
	regex_class_done(&c);
	return ret;
}

static bool is_mark(const struct regex_node *n)
{
	return n->kind >= REGEX_NODE_PAREN;
}

/* One node of a kind over n operands, which are copied into the arena. */
static struct regex_node *node_join(struct parser *p, enum regex_node_kind kind, struct regex_node **subs, size_t n)
{
	struct regex_node *node = node_new(p, kind, 0);
	uint64_t size = kind == REGEX_NODE_ALT ? n - 1 : 0;
	unsigned height = 0;
	node->nullable = kind == REGEX_NODE_CONCAT;
	for (size_t i = 0; i < n; i++) {
		size += subs[i]->size;
		height = MAX(height, subs[i]->height);
		node->reps = MAX(node->reps, subs[i]->reps);
		if (kind == REGEX_NODE_CONCAT)
			node->nullable &= subs[i]->nullable;
		else
			node->nullable |= subs[i]->nullable;
	}
	if (node_check(p, size, height + 1) < 0)
		return NULL;
	node->size = (uint32_t)size;
	node->height = (uint16_t)(height + 1);
	node->n = (uint32_t)n;
	node->subs = arena_alloc_n(p->arena, n, sizeof(*subs));
	memcpy(node->subs, subs, n * sizeof(*subs));
	return node;
}

/* What stands above the last mark becomes one operand. */
static int concat(struct parser *p)
{
	size_t from = p->n_stack;
	while (from > 0 && !is_mark(p->stack[from - 1]))
		from--;
	size_t n = p->n_stack - from;
	if (n == 1)
		return 0;
	struct regex_node *node = n ? node_join(p, REGEX_NODE_CONCAT, p->stack + from, n) :
				      node_new(p, REGEX_NODE_EMPTY, 0);
	if (!node)
		return -1;
	p->n_stack = from;
	return push(p, node);
}

/* Neighbouring alternatives of one rune each become one class: a|b|[cd] is [a-d]. Returns how many are left, or
 * -1. */
static int64_t merge_runes(struct parser *p, struct regex_node **subs, size_t n)
{
	size_t out = 0;
	for (size_t i = 0; i < n;) {
		size_t run = i;
		while (run < n && (subs[run]->kind == REGEX_NODE_RUNE || subs[run]->kind == REGEX_NODE_SET))
			run++;
		if (run - i < 2) {
			subs[out++] = subs[i++];
			continue;
		}
		struct regex_class c = {};
		uint64_t ranges = 0;
		for (; i < run && ranges <= REGEX_MAX_RANGES; i++) {
			if (subs[i]->kind == REGEX_NODE_RUNE) {
				ranges++;
				regex_class_add(&c, subs[i]->arg, subs[i]->arg);
				continue;
			}
			const struct regex_set *set = &p->sets->sets[subs[i]->arg];
			ranges += set->n;
			for (uint32_t k = 0; k < set->n; k++)
				regex_class_add(&c, p->sets->ranges[set->first + k].lo, p->sets->ranges[set->first + k].hi);
		}
		p->sets->work += ranges;
		regex_class_clean(&c);
		int64_t set = i < run ? -1 : regex_sets_intern(p->sets, &c);
		regex_class_done(&c);
		if (set < 0)
			return fail_whole(p, "expression too large");
		subs[out++] = node_new(p, REGEX_NODE_SET, (uint32_t)set);
	}
	return (int64_t)out;
}

/* The alternatives above the last PAREN become one operand. */
static int alternate(struct parser *p)
{
	size_t from = p->n_stack;
	while (from > 0 && p->stack[from - 1]->kind != REGEX_NODE_PAREN)
		from--;
	/* operand (BAR operand)*: squeeze the bars out. */
	size_t n = 0;
	for (size_t i = from; i < p->n_stack; i += 2)
		p->stack[from + n++] = p->stack[i];
	int64_t left = merge_runes(p, p->stack + from, n);
	if (left < 0)
		return -1;
	struct regex_node *node = p->stack[from];
	if (left > 1)
		node = node_join(p, REGEX_NODE_ALT, p->stack + from, (size_t)left);
	if (!node)
		return -1;
	p->n_stack = from;
	return push(p, node);
}

static int close_group(struct parser *p)
{
	if (concat(p) < 0 || alternate(p) < 0)
		return -1;
	if (p->n_stack < 2)
		return fail_whole(p, "unexpected )");
	struct regex_node *sub = p->stack[p->n_stack - 1], *paren = p->stack[p->n_stack - 2];
	p->n_stack -= 2;
	p->flags = paren->flags;
	if (paren->arg == 0)
		return push(p, sub);
	struct regex_node *node = node_new(p, REGEX_NODE_CAPTURE, paren->arg);
	if (node_check(p, (uint64_t)sub->size + 2, sub->height + 1u) < 0)
		return -1;
	node->size = sub->size + 2;
	node->height = (uint16_t)(sub->height + 1);
	node->reps = sub->reps;
	node->nullable = sub->nullable;
	node->n = 1;
	node->subs = arena_alloc_n(p->arena, 1, sizeof(*node->subs));
	node->subs[0] = sub;
	return push(p, node);
}

/* ---- repetition */

/* Wraps the top of the stack. before: where the operator begins; p->p stands behind it (and moves over a '?').
 * last: where the operator before it began, if that stood directly before; a** is an error. */
static int repeat(struct parser *p, int32_t min, int32_t max, bool counted, const char *before, const char *last)
{
	bool lazy = p->flags & REGEX_UNGREEDY;
	if (at(p, '?')) {
		p->p++;
		lazy = !lazy;
	}
	if (last)
		return fail(p, "invalid nested repetition operator", last, p->p);
	if (p->n_stack == 0 || is_mark(p->stack[p->n_stack - 1]))
		return fail(p, "missing argument to repetition operator", before, p->p);

	struct regex_node *sub = p->stack[p->n_stack - 1];
	uint64_t size;
	if (max < 0) /* x*: 1 or 2 more than x; xx+: 1 more */
		size = min == 0 ? (uint64_t)sub->size + 2 : (uint64_t)min * sub->size + 1;
	else /* xx(x(x)?)? */
		size = (uint64_t)max * sub->size + (uint64_t)(max - min);
	if (node_check(p, size, sub->height + 1u) < 0)
		return -1;
	uint32_t reps = sub->reps;
	if (counted) {
		int32_t times = max < 0 ? min : max;
		reps = max == 0 ? 1 : reps * (uint32_t)MAX(times, 1);
		if (times >= 2 && reps > REGEX_MAX_REPEAT)
			return fail(p, "invalid repeat count", before, p->p);
	}
	struct regex_node *node = node_new(p, REGEX_NODE_REPEAT, 0);
	node->lazy = lazy;
	node->min = min;
	node->max = max;
	node->reps = (uint16_t)reps;
	node->size = (uint32_t)MAX(size, (uint64_t)1);
	node->height = (uint16_t)(sub->height + 1);
	node->nullable = min == 0 || sub->nullable;
	node->n = 1;
	node->subs = arena_alloc_n(p->arena, 1, sizeof(*node->subs));
	node->subs[0] = sub;
	p->stack[p->n_stack - 1] = node;
	return 0;
}

/* Decimal digits without leading zeros; -1 stands for a number far too large. False: no number here. */
static bool parse_count(const char **pos, const char *end, int32_t *out)
{
	const char *s = *pos;
	if (s == end || *s < '0' || *s > '9')
		return false;
	if (*s == '0' && s + 1 < end && s[1] >= '0' && s[1] <= '9')
		return false;
	int32_t v = 0;
	for (; s < end && *s >= '0' && *s <= '9'; s++)
		if (v >= 0)
			v = v >= 100000000 ? -1 : v * 10 + (*s - '0');
	*pos = s;
	*out = v;
	return true;
}

/* {n}, {n,} or {n,m} at p->p. False: the brace is a plain character. */
static bool parse_braces(struct parser *p, int32_t *out_min, int32_t *out_max)
{
	const char *s = p->p + 1;
	int32_t min, max;
	if (!parse_count(&s, p->end, &min))
		return false;
	max = min;
	if (s < p->end && *s == ',') {
		s++;
		if (s < p->end && *s == '}')
			max = -1;
		else if (!parse_count(&s, p->end, &max))
			return false;
		else if (max < 0)
			min = -1;
	}
	if (s == p->end || *s != '}')
		return false;
	p->p = s + 1;
	*out_min = min;
	*out_max = max;
	return true;
}

/* ---- escapes and classes */

static int unhex(uint32_t c)
{
	if (c >= '0' && c <= '9')
		return (int)c - '0';
	if (c >= 'a' && c <= 'f')
		return (int)c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return (int)c - 'A' + 10;
	return -1;
}

static int bad_escape(struct parser *p, const char *start)
{
	return fail(p, "invalid escape sequence", start, p->p);
}

/* \x41 or \x{1F600}; p->p stands behind the x. */
static int parse_hex(struct parser *p, const char *start, uint32_t *out_rune)
{
	uint32_t c, value = 0;
	if (p->p == p->end)
		return bad_escape(p, start);
	if (next_rune(p, &c) < 0)
		return -1;
	if (c != '{') {
		int high = unhex(c);
		if (next_rune(p, &c) < 0)
			return -1;
		if (high < 0 || unhex(c) < 0)
			return bad_escape(p, start);
		*out_rune = (uint32_t)(high * 16 + unhex(c));
		return 0;
	}
	for (unsigned digits = 0;; digits++) {
		if (p->p == p->end)
			return bad_escape(p, start);
		if (next_rune(p, &c) < 0)
			return -1;
		if (c == '}') {
			if (!digits)
				return bad_escape(p, start);
			*out_rune = value;
			return 0;
		}
		if (unhex(c) < 0)
			return bad_escape(p, start);
		value = value * 16 + (uint32_t)unhex(c);
		if (value > REGEX_RUNE_LAST)
			return bad_escape(p, start);
	}
}

/* A single character behind a backslash at p->p. */
static int parse_escape(struct parser *p, uint32_t *out_rune)
{
	const char *start = p->p++;
	uint32_t c;
	if (p->p == p->end)
		return fail(p, "trailing backslash at end of expression", "", "");
	if (next_rune(p, &c) < 0)
		return -1;
	if (c >= '0' && c <= '7') {
		/* Octal, up to three digits; one digit other than 0 would be a back-reference. */
		if (c != '0' && (p->p == p->end || *p->p < '0' || *p->p > '7'))
			return bad_escape(p, start);
		uint32_t value = c - '0';
		for (int i = 1; i < 3 && p->p < p->end && *p->p >= '0' && *p->p <= '7'; i++)
			value = value * 8 + (uint32_t)(*p->p++ - '0');
		*out_rune = value;
		return 0;
	}
	switch (c) {
	case 'x': return parse_hex(p, start, out_rune);
	case 'a': *out_rune = '\a'; return 0;
	case 'f': *out_rune = '\f'; return 0;
	case 'n': *out_rune = '\n'; return 0;
	case 'r': *out_rune = '\r'; return 0;
	case 't': *out_rune = '\t'; return 0;
	case 'v': *out_rune = '\v'; return 0;
	}
	/* Punctuation stands for itself; letters and digits without a meaning are kept free. */
	if (c >= 0x80 || (regex_is_word((uint8_t)c) && c != '_'))
		return bad_escape(p, start);
	*out_rune = c;
	return 0;
}

/* Adds what `group` holds, folded and negated as asked, to c. */
static void add_group(struct parser *p, struct regex_class *c, struct regex_class *group, bool negate)
{
	if (p->flags & REGEX_FOLD)
		p->sets->work += regex_class_fold(group);
	p->sets->work += group->n;
	if (negate) {
		regex_class_clean(group);
		regex_class_negate(group);
	}
	for (size_t i = 0; i < group->n; i++)
		regex_class_add(c, group->ranges[i].lo, group->ranges[i].hi);
	regex_class_done(group);
}

/* \d and friends, \pN, \p{Greek}, \P{^Lu} at p->p. 1: added; 0: something else stands here; -1: error. */
static int parse_class_escape(struct parser *p, struct regex_class *c)
{
	if (p->end - p->p < 2 || *p->p != '\\')
		return 0;
	struct regex_class group = {};
	char letter = p->p[1];
	if (letter != 'p' && letter != 'P') {
		bool negate = letter >= 'A' && letter <= 'Z';
		if (!regex_class_add_perl(&group, negate ? (char)(letter + 'a' - 'A') : letter))
			return 0;
		p->p += 2;
		add_group(p, c, &group, negate);
		return 1;
	}

	const char *start = p->p;
	bool negate = letter == 'P';
	uint32_t rune;
	p->p += 2;
	const char *name = p->p;
	if (next_rune(p, &rune) < 0)
		return -1;
	const char *name_end = p->p;
	if (rune == '{') {
		const char *brace = find(start, p->end, "}");
		if (!brace)
			return check_utf8(p, start, p->end) < 0 ? -1 : fail(p, "invalid character class range", start, p->end);
		name = start + 3;
		name_end = brace;
		p->p = brace + 1;
		if (check_utf8(p, name, name_end) < 0)
			return -1;
	}
	const char *whole_end = p->p;
	if (name < name_end && *name == '^') {
		negate = !negate;
		name++;
	}
	if (!regex_class_add_unicode(&group, span_make(name, (size_t)(name_end - name)))) {
		regex_class_done(&group);
		return fail(p, "invalid character class range", start, whole_end);
	}
	add_group(p, c, &group, negate);
	return 1;
}

/* [:alpha:] or [:^alpha:] at p->p, which begins with "[:". Results as above. */
static int parse_posix_class(struct parser *p, struct regex_class *c)
{
	const char *name = p->p + 2, *close = p->no_posix_end ? NULL : find(name, p->end, ":]");
	if (!close) {
		p->no_posix_end = true;
		return 0;
	}
	bool negate = name < close && *name == '^';
	struct regex_class group = {};
	if (!regex_class_add_posix(&group, span_make(name + negate, (size_t)(close - name) - negate)))
		return fail(p, "invalid character class range", p->p, close + 2);
	p->p = close + 2;
	add_group(p, c, &group, negate);
	return 1;
}

static int parse_class_rune(struct parser *p, const char *class_start, uint32_t *out_rune)
{
	if (p->p == p->end)
		return fail(p, "missing closing ]", class_start, p->end);
	if (*p->p == '\\')
		return parse_escape(p, out_rune);
	return next_rune(p, out_rune);
}

/* One member of [...] into c. */
static int parse_class_item(struct parser *p, const char *class_start, struct regex_class *c)
{
	int found = 0;
	if (p->end - p->p > 2 && p->p[0] == '[' && p->p[1] == ':')
		found = parse_posix_class(p, c);
	if (found == 0)
		found = parse_class_escape(p, c);
	if (found != 0)
		return found;

	const char *item = p->p;
	uint32_t lo, hi;
	if (parse_class_rune(p, class_start, &lo) < 0)
		return -1;
	hi = lo;
	/* In [a-] the minus is a member. */
	if (p->end - p->p >= 2 && p->p[0] == '-' && p->p[1] != ']') {
		p->p++;
		if (parse_class_rune(p, class_start, &hi) < 0)
			return -1;
		if (hi < lo)
			return fail(p, "invalid character class range", item, p->p);
	}
	struct regex_class range = {};
	regex_class_add(&range, lo, hi);
	add_group(p, c, &range, false);
	return 0;
}

static int parse_class(struct parser *p)
{
	const char *start = p->p++;
	bool negate = at(p, '^');
	p->p += negate;
	struct regex_class c = {};
	int ret = 0;
	size_t clean_at = 4096; /* [\pL\pL\pL...] must not hold every range a thousand times */
	/* A ] that comes first is a member. */
	for (bool first = true; ret >= 0 && (first || !at(p, ']')); first = false) {
		ret = parse_class_item(p, start, &c);
		if (ret >= 0 && p->sets->work > REGEX_WORK_MAX)
			ret = fail_whole(p, "expression too large");
		if (c.n > clean_at) {
			regex_class_clean(&c);
			clean_at = MAX(clean_at, c.n * 2);
		}
	}
	if (ret >= 0) {
		p->p++;
		regex_class_clean(&c);
		if (negate)
			regex_class_negate(&c);
		ret = push_class(p, &c);
	}
	regex_class_done(&c);
	return ret;
}

/* ---- groups */

static int open_group(struct parser *p, uint32_t group)
{
	if (push_new(p, REGEX_NODE_PAREN, group) < 0)
		return -1;
	p->stack[p->n_stack - 1]->flags = (uint8_t)p->flags;
	return 0;
}

static int open_capture(struct parser *p, struct span name)
{
	struct regex_names *names = p->names;
	MEM_GROW(names->names, names->n, names->cap);
	names->names[names->n++] = name.len ? span_make(mem_dup(name.ptr, name.len), name.len) : SPAN_EMPTY;
	return open_group(p, ++p->n_groups);
}

/* (?P<name> or (?<name>; name_at is where the name begins. */
static int parse_named(struct parser *p, const char *name_at)
{
	const char *start = p->p, *close = find(start, p->end, ">");
	if (!close)
		return check_utf8(p, start, p->end) < 0 ? -1 : fail(p, "invalid named capture", start, p->end);
	if (check_utf8(p, name_at, close) < 0)
		return -1;
	struct span name = span_make(name_at, (size_t)(close - name_at));
	bool good = name.len > 0;
	for (size_t i = 0; i < name.len; i++)
		good &= regex_is_word((uint8_t)name.ptr[i]);
	if (!good)
		return fail(p, "invalid named capture", start, close + 1);
	p->p = close + 1;
	return open_capture(p, name);
}

/* Everything that begins with "(?". */
static int parse_perl_group(struct parser *p)
{
	const char *start = p->p;
	size_t left = (size_t)(p->end - start);
	if (left > 4 && start[2] == 'P' && start[3] == '<')
		return parse_named(p, start + 4);
	if (left > 3 && start[2] == '<')
		return parse_named(p, start + 3);

	unsigned flags = p->flags;
	bool clearing = false, seen = false;
	p->p += 2;
	while (p->p < p->end) {
		uint32_t c;
		if (next_rune(p, &c) < 0)
			return -1;
		unsigned flag = c == 'i' ? REGEX_FOLD : c == 'm' ? REGEX_MULTI_LINE : c == 's' ? REGEX_DOT_NL :
				c == 'U' ? REGEX_UNGREEDY : 0;
		if (flag) {
			flags = clearing ? flags & ~flag : flags | flag;
			seen = true;
		} else if (c == '-' && !clearing) {
			clearing = true;
			seen = false;
		} else if ((c == ':' || c == ')') && (seen || !clearing)) {
			/* The mark remembers the flags from before it; what follows runs under the new ones. */
			if (c == ':' && open_group(p, 0) < 0)
				return -1;
			p->flags = flags;
			return 0;
		} else {
			break;
		}
	}
	return fail(p, "invalid or unsupported Perl syntax", start, p->p);
}

/* ---- the loop */

static int push_look(struct parser *p, uint32_t look, size_t len)
{
	p->p += len;
	return push_new(p, REGEX_NODE_LOOK, look);
}

static int parse_quoted(struct parser *p)
{
	p->p += 2;
	const char *close = find(p->p, p->end, "\\E");
	const char *stop = close ? close : p->end;
	while (p->p < stop) {
		uint32_t rune;
		size_t len = utf8_next(span_make(p->p, (size_t)(stop - p->p)), &rune);
		if (!len)
			return fail(p, "invalid UTF-8", p->p, stop);
		p->p += len;
		if (push_literal(p, rune) < 0)
			return -1;
	}
	if (close)
		p->p = close + 2;
	return 0;
}

static int parse_backslash(struct parser *p)
{
	char next = p->end - p->p >= 2 ? p->p[1] : 0;
	switch (next) {
	case 'A': return push_look(p, REGEX_LOOK_TEXT_BEGIN, 2);
	case 'z': return push_look(p, REGEX_LOOK_TEXT_END, 2);
	case 'b': return push_look(p, REGEX_LOOK_WORD_EDGE, 2);
	case 'B': return push_look(p, REGEX_LOOK_NO_WORD_EDGE, 2);
	case 'C': return fail(p, "invalid escape sequence", p->p, p->p + 2); /* a single byte: RE2 has it, Go not */
	case 'Q': return parse_quoted(p);
	}
	struct regex_class c = {};
	int found = parse_class_escape(p, &c);
	if (found > 0) {
		regex_class_clean(&c);
		found = push_class(p, &c);
		regex_class_done(&c);
		return found;
	}
	regex_class_done(&c);
	uint32_t rune;
	if (found < 0 || parse_escape(p, &rune) < 0)
		return -1;
	return push_literal(p, rune);
}

static int push_dot(struct parser *p)
{
	struct regex_class c = {};
	p->p++;
	if (p->flags & REGEX_DOT_NL) {
		regex_class_add(&c, 0, REGEX_RUNE_LAST);
	} else {
		regex_class_add(&c, 0, '\n' - 1);
		regex_class_add(&c, '\n' + 1, REGEX_RUNE_LAST);
	}
	int ret = push_class(p, &c);
	regex_class_done(&c);
	return ret;
}

/* One item of the pattern. *last: the repetition operator that ended here, or NULL. */
static int parse_item(struct parser *p, const char **last)
{
	const char *start = p->p, *before = *last;
	bool multi = p->flags & REGEX_MULTI_LINE;
	int32_t min, max;
	uint32_t rune;
	*last = NULL;
	switch (*p->p) {
	case '(':
		if (p->end - p->p >= 2 && p->p[1] == '?')
			return parse_perl_group(p);
		p->p++;
		return open_capture(p, SPAN_EMPTY);
	case ')':
		p->p++;
		return close_group(p);
	case '|':
		p->p++;
		return concat(p) < 0 ? -1 : push_new(p, REGEX_NODE_BAR, 0);
	case '^':
		return push_look(p, multi ? REGEX_LOOK_LINE_BEGIN : REGEX_LOOK_TEXT_BEGIN, 1);
	case '$':
		return push_look(p, multi ? REGEX_LOOK_LINE_END : REGEX_LOOK_TEXT_END, 1);
	case '.':
		return push_dot(p);
	case '[':
		return parse_class(p);
	case '\\':
		return parse_backslash(p);
	case '*':
	case '+':
	case '?':
		p->p++;
		*last = start;
		return repeat(p, *start == '+', *start == '?' ? 1 : -1, false, start, before);
	case '{':
		if (!parse_braces(p, &min, &max)) {
			p->p++;
			return push_literal(p, '{');
		}
		if (min < 0 || min > REGEX_MAX_REPEAT || max > REGEX_MAX_REPEAT || (max >= 0 && min > max))
			return fail(p, "invalid repeat count", start, p->p);
		*last = start;
		return repeat(p, min, max, true, start, before);
	}
	return next_rune(p, &rune) < 0 ? -1 : push_literal(p, rune);
}

static int parse_all(struct parser *p)
{
	const char *last = NULL;
	while (p->p < p->end) {
		if (p->flags & REGEX_LITERAL) {
			uint32_t rune;
			if (next_rune(p, &rune) < 0 || push_literal(p, rune) < 0)
				return -1;
		} else if (parse_item(p, &last) < 0) {
			return -1;
		}
	}
	if (concat(p) < 0 || alternate(p) < 0)
		return -1;
	return p->n_stack == 1 ? 0 : fail_whole(p, "missing closing )");
}

struct regex_node *regex_parse(struct span pattern, unsigned flags, struct arena *a, struct regex_sets *sets,
			       struct regex_names *names, struct err *err)
{
	const char *start = pattern.ptr ? pattern.ptr : "";
	struct parser p = { .whole = span_make(start, pattern.len), .p = start, .end = start + pattern.len,
			    .flags = flags, .arena = a, .sets = sets, .names = names, .err = err };
	struct regex_node *tree = parse_all(&p) < 0 ? NULL : p.stack[0];
	free(p.stack);
	return tree;
}
