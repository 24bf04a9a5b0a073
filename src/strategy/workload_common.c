/* What workloads have in common: selectors, templates, counts in a status, preparing. */
#include "strategy/workload.h"

enum workload_match workload_match(struct arena *a, const struct json *selector, const struct json *template)
{
	struct api_label_selector sel;
	if (api_label_selector_of(a, selector, &sel, NULL) < 0)
		return WORKLOAD_BAD_SELECTOR;
	if (!sel.nothing && !sel.n)
		return WORKLOAD_EVERYTHING;
	return api_label_selector_match(&sel, json_path(template, "metadata", "labels", NULL)) ? WORKLOAD_MATCHES
											       : WORKLOAD_DIFFERS;
}

void check_template_labels(struct check *c, const struct path *template_at, const struct json *template)
{
	bad_typed(c, &PATH(&PATH(template_at, "metadata"), "labels"), "map[string]string",
		  json_path(template, "metadata", "labels", NULL), "`selector` does not match template `labels`");
}

void check_template_runs_on(struct check *c, const struct path *template_at, const struct json *template, const char *kind)
{
	const struct path spec_at = PATH(template_at, "spec");
	const struct json *spec = member(template, "spec");
	struct span policy = member_text(spec, "restartPolicy");
	if (!span_is(policy, "Always"))
		bad_choice(c, &PATH(&spec_at, "restartPolicy"), policy, "Always");
	if (member(spec, "activeDeadlineSeconds"))
		bad_forbidden(c, &PATH(&spec_at, "activeDeadlineSeconds"), "activeDeadlineSeconds in %s is not Supported", kind);
}

void check_workload_selector(struct check *c, const struct path *spec_at, const struct json *spec, const char *kind)
{
	const struct path at = PATH(spec_at, "selector");
	const struct json *selector = member(spec, "selector");
	if (!selector) {
		bad_required(c, &at, "");
		return;
	}
	check_label_selector(c, &at, selector, false);
	if (!json_count(member(selector, "matchLabels")) && !json_count(member(selector, "matchExpressions")))
		bad_typed(c, &at, "meta/v1.LabelSelector", selector, "empty selector is invalid for %s", kind);
}

/* ---- int or percentage */
static bool percent_of(const struct json *value, int64_t *out)
{
	struct span s = json_span(value);
	*out = 0;
	return json_is(value, JSON_STRING) && api_name_percent(s, NULL) == 0 &&
	       (span_to_i64(span_sub(s, 0, s.len - 1), out) || (*out = INT64_MAX, true));
}

int64_t workload_int_or_percent(const struct json *value)
{
	int64_t n;
	return percent_of(value, &n) ? n : api_intstr_int(value);
}

/* ---- status */
void check_counts(struct check *c, const struct path *at, const struct json *status, const char *names)
{
	struct span rest = span_of(names), name;
	while (span_cut(&rest, ' ', &name))
		check_non_negative(c, &PATH_SPAN(at, name), json_get(status, name));
}

void check_not_above(struct check *c, const struct path *at, const struct json *status, const char *name, const char *bound,
		     const char *words)
{
	if (member_int(status, name) > member_int(status, bound))
		bad_int(c, &PATH_SPAN(at, span_of(name)), member_int(status, name), "cannot be greater than %s", words);
}

void check_collision_count(struct check *c, const struct json *status, const struct json *old_status)
{
	const struct json *now = member(status, "collisionCount"), *was = member(old_status, "collisionCount");
	const struct path at = PATH(PATH_ROOT, "status");
	if (was && (!now || json_i64(now, 0) < json_i64(was, 0)))
		bad_int(c, &PATH(&at, "collisionCount"), json_i64(now, 0), "cannot be decremented");
}

/* ---- prepare */
void prepare_workload(struct strategy *s, const char *spec_type)
{
	struct json *spec = default_object(s->arena, s->object, "spec");
	const struct json *old_spec = member(s->old, "spec");
	pod_drop_disabled_template(s->arena, member(spec, "template"), member(old_spec, "template"));
	prepare_status(s);
	strategy_generation(s, !strategy_creates(s) && !pod_same_named(spec_type, spec, old_spec));
}

/* ---- warnings */
void workload_template_warnings(struct check *c, const struct json *object, const struct json *old)
{
	const struct json *template = json_path(object, "spec", "template", NULL);
	if (old && member_int(member(object, "metadata"), "generation") == member_int(member(old, "metadata"), "generation"))
		return;
	pod_warnings(c, &PATH(&PATH(PATH_ROOT, "spec"), "template"), member(template, "spec"), member(template, "metadata"));
}
