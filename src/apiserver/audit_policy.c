/* The rules, and what fits them: k8s.io/apiserver's audit/policy in the form of flat lists. */
#include "apiserver/audit.h"

#include "api/api.h"
#include "yaml/yaml.h"

const char *const audit_level_names[AUDIT_LEVEL_COUNT] = { "None", "Metadata", "Request", "RequestResponse" };
const char *const audit_stage_names[AUDIT_STAGE_COUNT] = { "RequestReceived", "ResponseStarted", "ResponseComplete", "Panic" };

#define RULES_MAX 10000

struct words {
	const struct span *items;
	unsigned n;
};
struct group_resources {
	struct span group;
	struct words resources, names;
};
struct rule {
	struct audit_verdict verdict;
	struct words users, groups, verbs, namespaces, urls;
	const struct group_resources *resources;
	unsigned n_resources;
};
struct audit_policy {
	struct arena arena;
	struct rule *rules;
	unsigned n_rules;
};

static bool has(const struct words *w, struct span s)
{
	for (unsigned i = 0; i < w->n; i++)
		if (span_eq(w->items[i], s))
			return true;
	return false;
}

/* ---- reading */

struct reader {
	struct arena *a;
	struct buf *faults; /* joined with ", " */
	unsigned n_faults;
};

static void fault(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fault(struct reader *r, const char *fmt, ...)
{
	va_list ap;
	if (r->n_faults++)
		buf_str(r->faults, ", ");
	va_start(ap, fmt);
	buf_vprintf(r->faults, fmt, ap);
	va_end(ap);
}

static void only_known(struct reader *r, const struct json *object, const char *where, const char *const *known)
{
	JSON_EACH_MEMBER(object, m) {
		unsigned i = 0;
		while (known[i] && !span_is(json_key(m), known[i]))
			i++;
		if (!known[i])
			fault(r, "%s: unknown field \"%.*s\"", where, SPAN_ARG(json_key(m)));
	}
}

static struct words words_read(struct reader *r, const struct json *object, const char *where, const char *key)
{
	const struct json *list = json_get(object, span_of(key));
	struct words w = {};
	if (!list || list->kind == JSON_NULL)
		return w;
	if (list->kind != JSON_ARRAY) {
		fault(r, "%s.%s: a list is expected", where, key);
		return w;
	}
	struct span *items = arena_alloc_n(r->a, list->n, sizeof(*items));
	JSON_EACH_ITEM(list, item) {
		if (item->kind != JSON_STRING)
			fault(r, "%s.%s[%u]: a string is expected", where, key, w.n);
		items[w.n++] = json_span(item);
	}
	w.items = items;
	return w;
}

static unsigned stages_read(struct reader *r, const struct json *object, const char *where)
{
	struct words w = words_read(r, object, where, "omitStages");
	unsigned mask = 0;
	for (unsigned i = 0; i < w.n; i++) {
		unsigned k = 0;
		while (k < AUDIT_STAGE_COUNT && !span_is(w.items[i], audit_stage_names[k]))
			k++;
		if (k == AUDIT_STAGE_COUNT)
			fault(r,
			      "%s.omitStages[%u]: Invalid value: \"%.*s\": allowed stages are "
			      "RequestReceived,ResponseStarted,ResponseComplete,Panic",
			      where, i, SPAN_ARG(w.items[i]));
		else
			mask |= 1u << k;
	}
	return mask;
}

static void resources_read(struct reader *r, const struct json *object, const char *where, struct rule *out)
{
	static const char *const known[] = { "group", "resources", "resourceNames", NULL };
	const struct json *list = json_getl(object, "resources");
	struct group_resources *all = arena_alloc_n(r->a, json_is(list, JSON_ARRAY) ? list->n : 0, sizeof(*all));
	if (list && list->kind != JSON_ARRAY && list->kind != JSON_NULL)
		fault(r, "%s.resources: a list is expected", where);
	JSON_EACH_ITEM(list, item) {
		struct group_resources *g = &all[out->n_resources++];
		*g = (struct group_resources){ .group = json_span(json_getl(item, "group")),
					       .resources = words_read(r, item, where, "resources"),
					       .names = words_read(r, item, where, "resourceNames") };
		only_known(r, item, where, known);
		struct api_complaints bad;
		if (g->group.len && api_name_dns1123_subdomain(g->group, &bad))
			fault(r, "%s.resources.group: Invalid value: \"%.*s\": not the name of a group", where,
			      SPAN_ARG(g->group));
		if (g->names.n && !g->resources.n)
			fault(r, "%s.resources.resourceNames: using resourceNames requires at least one resource", where);
	}
	out->resources = all;
}

static void urls_check(struct reader *r, const struct words *urls, const char *where)
{
	for (unsigned i = 0; i < urls->n; i++) {
		struct span u = urls->items[i];
		if (span_is(u, "*"))
			continue;
		if (!span_starts(u, SPAN("/")))
			fault(r,
			      "%s.nonResourceURLs[%u]: Invalid value: \"%.*s\": non-resource URL rules must begin with a '/' "
			      "character",
			      where, i, SPAN_ARG(u));
		if (u.len && span_chr(span_sub(u, 0, u.len - 1), '*') >= 0)
			fault(r,
			      "%s.nonResourceURLs[%u]: Invalid value: \"%.*s\": non-resource URL wildcards '*' must be the "
			      "final character of the rule",
			      where, i, SPAN_ARG(u));
	}
}

static void rule_read(struct reader *r, const struct json *object, unsigned i, const struct audit_verdict *common,
		      struct rule *out)
{
	static const char *const known[] = { "level",	   "users",	      "userGroups", "verbs",		 "resources",
					     "namespaces", "nonResourceURLs", "omitStages", "omitManagedFields", NULL };
	char where[32];
	(void)snprintf(where, sizeof(where), "rules[%u]", i);
	*out = (struct rule){ .users = words_read(r, object, where, "users"),
			      .groups = words_read(r, object, where, "userGroups"),
			      .verbs = words_read(r, object, where, "verbs"),
			      .namespaces = words_read(r, object, where, "namespaces"),
			      .urls = words_read(r, object, where, "nonResourceURLs") };
	only_known(r, object, where, known);
	struct span level = json_span(json_getl(object, "level"));
	unsigned k = 0;
	while (k < AUDIT_LEVEL_COUNT && !span_is(level, audit_level_names[k]))
		k++;
	if (!level.len)
		fault(r, "%s.level: Required value", where);
	else if (k == AUDIT_LEVEL_COUNT)
		fault(r,
		      "%s.level: Unsupported value: \"%.*s\": supported values: \"None\", \"Metadata\", \"Request\", "
		      "\"RequestResponse\"",
		      where, SPAN_ARG(level));
	else
		out->verdict.level = (enum audit_level)k;
	out->verdict.omit = common->omit | stages_read(r, object, where);
	out->verdict.omit_managed_fields = json_truth(json_getl(object, "omitManagedFields"), common->omit_managed_fields);
	resources_read(r, object, where, out);
	urls_check(r, &out->urls, where);
	if (out->urls.n && (out->n_resources || out->namespaces.n))
		fault(r, "%s.nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs", where);
}

int audit_policy_read(struct span text, const char *where, struct audit_policy **out_policy, struct err *err)
{
	static const char *const known[] = { "apiVersion", "kind", "metadata", "omitStages", "omitManagedFields", "rules", NULL };
	struct audit_policy *p = mem_new(struct audit_policy);
	auto_buf struct buf faults = {};
	struct reader r = { .a = &p->arena, .faults = &faults };
	struct json doc;
	int rc = yaml_parse(&p->arena, text, YAML_STRICT, NULL, &doc, err);
	if (rc < 0) {
		audit_policy_free(p);
		return err_note(err, "%s", where);
	}
	if (!span_is(json_span(json_getl(&doc, "apiVersion")), "audit.k8s.io/v1") ||
	    !span_is(json_span(json_getl(&doc, "kind")), "Policy"))
		fault(&r, "a Policy of audit.k8s.io/v1 is expected");
	only_known(&r, &doc, "policy", known);
	const struct audit_verdict common = { .omit = stages_read(&r, &doc, "policy"),
					      .omit_managed_fields = json_truth(json_getl(&doc, "omitManagedFields"), false) };
	const struct json *rules = json_getl(&doc, "rules");
	unsigned n = json_is(rules, JSON_ARRAY) ? rules->n : 0;
	if (!n)
		fault(&r, "loaded illegal policy with 0 rules");
	else if (n > RULES_MAX)
		fault(&r, "more than %d rules", RULES_MAX);
	else
		p->rules = arena_alloc_n(&p->arena, n, sizeof(*p->rules));
	for (; p->rules && p->n_rules < n; p->n_rules++)
		rule_read(&r, &rules->items[p->n_rules], p->n_rules, &common, &p->rules[p->n_rules]);
	if (r.n_faults) {
		audit_policy_free(p);
		return err_set(err, ERR_INVALID, "%s: %s", where, buf_cstr(&faults));
	}
	*out_policy = p;
	return 0;
}

void audit_policy_free(struct audit_policy *p)
{
	if (!p)
		return;
	arena_done(&p->arena);
	free(p);
}

/* ---- matching */

static bool path_fits(struct span path, struct span spec)
{
	if (span_is(spec, "*") || span_eq(path, spec))
		return true;
	if (!span_ends(spec, SPAN("*")))
		return false;
	while (span_ends(spec, SPAN("*")))
		spec.len--;
	return span_starts(path, spec);
}

/* "pods", "pods/log", "*", "pods/asterisk", "asterisk/log" against resource and subresource. */
static bool resource_fits(struct span spec, struct span resource, struct span sub)
{
	struct span head, tail;
	if (span_is(spec, "*"))
		return true;
	if (!span_split(spec, '/', &head, &tail))
		return !sub.len && span_eq(spec, resource);
	if (span_is(tail, "*") && span_eq(head, resource))
		return true;
	return sub.len && span_eq(tail, sub) && (span_is(head, "*") || span_eq(head, resource));
}

static bool group_fits(const struct group_resources *g, const struct auth_ask *ask)
{
	if (!span_eq(g->group, ask->group))
		return false;
	if (!g->resources.n)
		return true;
	if (g->names.n && !has(&g->names, ask->name))
		return false;
	for (unsigned i = 0; i < g->resources.n; i++)
		if (resource_fits(g->resources.items[i], ask->resource, ask->subresource))
			return true;
	return false;
}

static bool user_fits(const struct rule *r, const struct auth_user *user)
{
	if (r->users.n && (!user || !has(&r->users, user->name)))
		return false;
	if (!r->groups.n)
		return true;
	for (unsigned i = 0; user && i < user->n_groups; i++)
		if (has(&r->groups, user->groups[i]))
			return true;
	return false;
}

static bool rule_fits(const struct rule *r, const struct auth_ask *ask)
{
	if (!user_fits(r, ask->user) || (r->verbs.n && !has(&r->verbs, ask->verb)))
		return false;
	if (r->namespaces.n || r->n_resources) {
		if (!ask->is_resource || (r->namespaces.n && !has(&r->namespaces, ask->ns)))
			return false;
		for (unsigned i = 0; i < r->n_resources; i++)
			if (group_fits(&r->resources[i], ask))
				return true;
		return !r->n_resources;
	}
	if (!r->urls.n)
		return true;
	for (unsigned i = 0; !ask->is_resource && i < r->urls.n; i++)
		if (path_fits(ask->path, r->urls.items[i]))
			return true;
	return false;
}

struct audit_verdict audit_policy_match(const struct audit_policy *p, const struct auth_ask *ask)
{
	for (unsigned i = 0; i < p->n_rules; i++)
		if (rule_fits(&p->rules[i], ask))
			return p->rules[i].verdict;
	return (struct audit_verdict){ .level = AUDIT_NONE };
}
