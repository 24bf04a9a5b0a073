/* A policy rule of RBAC: match a question, cover other rules, break down, compact, print. The semantics of matching are
 * documented with the rbac/v1 API; those of covering are what "escalate" protects. */
#include "auth/auth.h"

/* Breaking a rule down multiplies its lists. Beyond this many single rights a rule that is not covered as a whole is
 * reported as it stands: the answer (not covered) stays right, only its text is coarser. */
#define RIGHTS_MAX 100000

static bool has(const struct span *list, unsigned n, struct span value)
{
	for (unsigned i = 0; i < n; i++)
		if (span_eq(list[i], value))
			return true;
	return false;
}

static bool has_all(const struct span *list, unsigned n, const struct span *wanted, unsigned n_wanted)
{
	for (unsigned i = 0; i < n_wanted; i++)
		if (!has(list, n, wanted[i]))
			return false;
	return true;
}

static void read_list(struct arena *a, const struct json *rule, struct span key, const struct span **out, unsigned *out_n)
{
	const struct json *list = json_get(rule, key);
	*out = NULL;
	*out_n = 0;
	if (!json_is(list, JSON_ARRAY) || !list->n)
		return;
	struct span *items = arena_alloc_n(a, list->n, sizeof(*items));
	for (uint32_t i = 0; i < list->n; i++)
		items[i] = json_span(&list->items[i]);
	*out = items;
	*out_n = list->n;
}

void auth_rules_read(struct arena *a, const struct json *rules, const struct auth_rule **out_rules, unsigned *out_n)
{
	*out_rules = NULL;
	*out_n = 0;
	if (!json_is(rules, JSON_ARRAY) || !rules->n)
		return;
	struct auth_rule *list = arena_alloc_n(a, rules->n, sizeof(*list));
	for (uint32_t i = 0; i < rules->n; i++) {
		const struct json *r = &rules->items[i];
		read_list(a, r, SPAN("verbs"), &list[i].verbs, &list[i].n_verbs);
		read_list(a, r, SPAN("apiGroups"), &list[i].groups, &list[i].n_groups);
		read_list(a, r, SPAN("resources"), &list[i].resources, &list[i].n_resources);
		read_list(a, r, SPAN("resourceNames"), &list[i].names, &list[i].n_names);
		read_list(a, r, SPAN("nonResourceURLs"), &list[i].urls, &list[i].n_urls);
	}
	*out_rules = list;
	*out_n = rules->n;
}

/* ---- matching */

static bool resource_matches(struct span pattern, const struct auth_ask *ask)
{
	if (span_eq(pattern, SPAN("*")))
		return true;
	if (!ask->subresource.len)
		return span_eq(pattern, ask->resource);
	struct span head, tail;
	if (!span_split(pattern, '/', &head, &tail) || !span_eq(tail, ask->subresource))
		return false;
	return span_eq(head, SPAN("*")) || span_eq(head, ask->resource);
}

/* A pattern that ends in a star covers what begins with the rest; several stars are one. */
static bool url_covers(struct span pattern, struct span path)
{
	if (span_eq(pattern, path) || span_eq(pattern, SPAN("*")))
		return true;
	if (!span_ends(pattern, SPAN("*")))
		return false;
	while (span_ends(pattern, SPAN("*")))
		pattern = span_sub(pattern, 0, pattern.len - 1);
	return span_starts(path, pattern);
}

bool auth_rule_matches(const struct auth_rule *rule, const struct auth_ask *ask)
{
	if (!has(rule->verbs, rule->n_verbs, ask->verb) && !has(rule->verbs, rule->n_verbs, SPAN("*")))
		return false;
	if (!ask->is_resource) {
		for (unsigned i = 0; i < rule->n_urls; i++)
			if (url_covers(rule->urls[i], ask->path))
				return true;
		return false;
	}
	if (!has(rule->groups, rule->n_groups, ask->group) && !has(rule->groups, rule->n_groups, SPAN("*")))
		return false;
	if (rule->n_names && !has(rule->names, rule->n_names, ask->name))
		return false;
	for (unsigned i = 0; i < rule->n_resources; i++)
		if (resource_matches(rule->resources[i], ask))
			return true;
	return false;
}

/* ---- covering */

static bool resources_cover(const struct auth_rule *have, const struct auth_rule *want)
{
	if (has(have->resources, have->n_resources, SPAN("*")))
		return true;
	for (unsigned i = 0; i < want->n_resources; i++) {
		struct span r = want->resources[i], head, tail;
		if (has(have->resources, have->n_resources, r))
			continue;
		if (!span_split(r, '/', &head, &tail))
			return false;
		bool found = false;
		for (unsigned j = 0; j < have->n_resources && !found; j++)
			found = span_starts(have->resources[j], SPAN("*/")) && span_eq(span_from(have->resources[j], 2), tail);
		if (!found)
			return false;
	}
	return true;
}

static bool rule_covers(const struct auth_rule *have, const struct auth_rule *want)
{
	if (!has(have->verbs, have->n_verbs, SPAN("*")) &&
	    !has_all(have->verbs, have->n_verbs, want->verbs, want->n_verbs))
		return false;
	if (!has(have->groups, have->n_groups, SPAN("*")) &&
	    !has_all(have->groups, have->n_groups, want->groups, want->n_groups))
		return false;
	if (!resources_cover(have, want))
		return false;
	for (unsigned i = 0; i < want->n_urls; i++) {
		bool found = false;
		for (unsigned j = 0; j < have->n_urls && !found; j++)
			found = url_covers(have->urls[j], want->urls[i]);
		if (!found)
			return false;
	}
	if (!want->n_names)
		return have->n_names == 0;
	return have->n_names == 0 || has_all(have->names, have->n_names, want->names, want->n_names);
}

static bool any_covers(const struct auth_rule *have, unsigned n, const struct auth_rule *want)
{
	for (unsigned i = 0; i < n; i++)
		if (rule_covers(&have[i], want))
			return true;
	return false;
}

struct missing {
	struct arena *a;
	struct auth_rule *rules; /* in malloc'ed memory while it grows */
	unsigned n, cap;
};

static void missing_add(struct missing *m, struct auth_rule rule)
{
	MEM_GROW(m->rules, m->n, m->cap);
	m->rules[m->n++] = rule;
}

/* Checks one right; what is not covered joins an earlier missing right on the same resource and name (upstream's
 * CompactRules), so that the message lists verbs together. */
static void right_check(struct missing *m, const struct auth_rule *have, unsigned n_have, const struct auth_rule *right)
{
	if (any_covers(have, n_have, right))
		return;
	for (unsigned i = 0; i < m->n && right->n_resources; i++) {
		struct auth_rule *r = &m->rules[i];
		if (r->n_resources != 1 || r->n_groups != 1 || r->n_names != right->n_names || r->n_urls ||
		    !span_eq(r->resources[0], right->resources[0]) || !span_eq(r->groups[0], right->groups[0]) ||
		    (r->n_names && !span_eq(r->names[0], right->names[0])))
			continue;
		struct span *verbs = arena_alloc_n(m->a, r->n_verbs + 1, sizeof(*verbs));
		memcpy(verbs, r->verbs, r->n_verbs * sizeof(*verbs));
		verbs[r->n_verbs] = right->verbs[0];
		r->verbs = verbs;
		r->n_verbs++;
		return;
	}
	missing_add(m, *right);
}

static void break_down(struct missing *m, const struct auth_rule *have, unsigned n_have, const struct auth_rule *want)
{
	unsigned n_names = want->n_names ? want->n_names : 1;
	for (unsigned g = 0; g < want->n_groups; g++)
		for (unsigned r = 0; r < want->n_resources; r++)
			for (unsigned v = 0; v < want->n_verbs; v++)
				for (unsigned k = 0; k < n_names; k++) {
					const struct auth_rule right = {
						.groups = &want->groups[g], .n_groups = 1,
						.resources = &want->resources[r], .n_resources = 1,
						.verbs = &want->verbs[v], .n_verbs = 1,
						.names = want->n_names ? &want->names[k] : NULL,
						.n_names = want->n_names ? 1 : 0,
					};
					right_check(m, have, n_have, &right);
				}
	for (unsigned u = 0; u < want->n_urls; u++)
		for (unsigned v = 0; v < want->n_verbs; v++) {
			const struct auth_rule right = {
				.urls = &want->urls[u], .n_urls = 1, .verbs = &want->verbs[v], .n_verbs = 1
			};
			right_check(m, have, n_have, &right);
		}
}

bool auth_rules_cover(const struct auth_rule *have, unsigned n_have, const struct auth_rule *want, unsigned n_want,
		      struct arena *a, const struct auth_rule **out_missing, unsigned *out_n_missing)
{
	struct missing m = { .a = a };
	for (unsigned i = 0; i < n_want; i++) {
		const struct auth_rule *w = &want[i];
		if (any_covers(have, n_have, w))
			continue;
		size_t rights = (size_t)w->n_verbs;
		size_t places = 0;
		if (__builtin_mul_overflow((size_t)w->n_groups * w->n_resources, (size_t)(w->n_names ? w->n_names : 1), &places) ||
		    __builtin_add_overflow(places, (size_t)w->n_urls, &places) ||
		    __builtin_mul_overflow(rights, places, &rights) || rights > RIGHTS_MAX)
			missing_add(&m, *w);
		else
			break_down(&m, have, n_have, w);
	}
	bool covered = m.n == 0;
	if (!covered && out_missing) {
		struct auth_rule *rules = arena_alloc_n(a, m.n, sizeof(*rules));
		memcpy(rules, m.rules, m.n * sizeof(*rules));
		*out_missing = rules;
		*out_n_missing = m.n;
	}
	free(m.rules);
	return covered;
}

/* ---- printing */

/* Go's %q of a list of strings: ["a" "b"]. */
static void quoted_list(struct buf *out, bool *first, const char *label, const struct span *list, unsigned n)
{
	if (!n)
		return;
	buf_printf(out, "%s%s:[", *first ? "" : ", ", label);
	*first = false;
	for (unsigned i = 0; i < n; i++) {
		if (i)
			buf_chr(out, ' ');
		json_write_string(out, list[i], 0);
	}
	buf_chr(out, ']');
}

void auth_rule_text(const struct auth_rule *rule, struct buf *out)
{
	bool first = true;
	buf_chr(out, '{');
	quoted_list(out, &first, "APIGroups", rule->groups, rule->n_groups);
	quoted_list(out, &first, "Resources", rule->resources, rule->n_resources);
	quoted_list(out, &first, "NonResourceURLs", rule->urls, rule->n_urls);
	quoted_list(out, &first, "ResourceNames", rule->names, rule->n_names);
	quoted_list(out, &first, "Verbs", rule->verbs, rule->n_verbs);
	buf_chr(out, '}');
}
