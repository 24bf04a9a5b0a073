/* LimitRange and ResourceQuota. */
#include "strategy/check.h"

static bool is_quota_resource(struct span name)
{
	return check_one_of(name, "cpu memory ephemeral-storage requests.cpu requests.memory requests.storage "
		"requests.ephemeral-storage limits.cpu limits.memory limits.ephemeral-storage pods resourcequotas services "
				  "replicationcontrollers secrets persistentvolumeclaims configmaps services.nodeports "
				  "services.loadbalancers") ||
	       span_starts(name, SPAN("hugepages-")) || span_starts(name, SPAN("requests.hugepages-"));
}

static bool is_native(struct span name)
{
	return span_chr(name, '/') < 0 || span_has(name, SPAN("kubernetes.io/"));
}

static bool may_overcommit(struct span name)
{
	return is_native(name) && !span_starts(name, SPAN("hugepages-"));
}

/* ---- LimitRange */
static void copy_missing(struct arena *a, struct json *item, const char *to, const char *from)
{
	struct json *source = json_get(item, span_of(from)), *target = default_object(a, item, to);
	JSON_EACH_MEMBER(source, m)
		if (!json_get(target, json_key(m)))
			json_set(a, target, json_key(m), json_copy(a, &m->value));
}

static void default_limit_range(struct arena *a, struct json *object)
{
	static const char *const lists[] = { "max", "min", "default", "defaultRequest", "maxLimitRequestRatio" };
	JSON_EACH_ITEM(json_path(object, "spec", "limits", NULL), item) {
		for (size_t i = 0; i < ARRAY_LEN(lists); i++)
			default_resource_list(a, json_get(item, span_of(lists[i])));
		if (!span_is(member_text(item, "type"), "Container"))
			continue;
		copy_missing(a, item, "default", "max");
		copy_missing(a, item, "defaultRequest", "default");
		copy_missing(a, item, "defaultRequest", "min");
	}
}

void check_container_resource_name(struct check *c, const struct path *at, struct span name)
{
	struct api_complaints bad;
	check_resource_name(c, at, name);
	if (span_chr(name, '/') < 0) {
		if (!check_one_of(name, "cpu memory ephemeral-storage") && !span_starts(name, SPAN("hugepages-")))
			bad_string(c, at, name, "must be a standard resource for containers");
		return;
	}
	if (is_native(name))
		return;
	auto_buf struct buf quota = {};
	buf_printf(&quota, "requests.%.*s", SPAN_ARG(name));
	if (span_starts(name, SPAN("requests.")) || api_name_qualified(buf_span(&quota), &bad))
		bad_string(c, at, name, "doesn't follow extended resource name standard");
}

static void check_limit_names(struct check *c, const struct path *item, struct span type, const struct json *limit,
	const char *list)
{
	const struct path at = PATH_SPAN(item, span_of(list));
	JSON_EACH_MEMBER(json_get(limit, span_of(list)), m) {
		if (check_one_of(type, "Pod Container"))
			check_container_resource_name(c, &PATH_KEY(&at, json_key(m)), json_key(m));
		else
			check_resource_name(c, &PATH_KEY(&at, json_key(m)), json_key(m));
	}
}

/* One amount of a limit: is it there, and its text. */
struct amount {
	const struct json *json;
	struct api_quantity q;
	struct span text;
};

static struct amount amount_of(const struct json *limit, const char *list, struct span key)
{
	struct amount a = { .json = json_get(json_get(limit, span_of(list)), key) };
	if (!check_quantity(a.json, &a.q))
		a.json = NULL;
	a.text = json_span(a.json);
	return a;
}

static bool above(const struct amount *a, const struct amount *b)
{
	return a->json && b->json && api_quantity_cmp(&a->q, &b->q) > 0;
}

static void bad_amount(struct check *c, const struct path *item, const char *list, struct span key, const struct amount *shown,
		       const char *fmt, ...) __attribute__((format(printf, 6, 7)));
static void bad_amount(struct check *c, const struct path *item, const char *list, struct span key, const struct amount *shown,
		       const char *fmt, ...)
{
	auto_buf struct buf why = {};
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&why, fmt, ap);
	va_end(ap);
	bad_typed(c, &PATH_KEY(&PATH_SPAN(item, span_of(list)), key), "resource.Quantity", shown->json, "%s", buf_cstr(&why));
}

static void check_ratio(struct check *c, const struct path *item, struct span key, const struct amount *ratio,
			const struct amount *min, const struct amount *max)
{
	const struct api_quantity one = api_quantity_of(1, 0, API_QUANTITY_DECIMAL);
	if (!ratio->json)
		return;
	if (api_quantity_cmp(&ratio->q, &one) < 0)
		bad_amount(c, item, "maxLimitRequestRatio", key, ratio, "ratio %.*s is less than 1", SPAN_ARG(ratio->text));
	if (!min->json || !max->json)
		return;
	/* MaxMilliValue: whole units where thousandths would not fit. */
	const int64_t most = ((int64_t)1 << 53) / 1000;
	int64_t r = api_quantity_value(&ratio->q), lo = api_quantity_value(&min->q), hi = api_quantity_value(&max->q);
	double value = (double)r;
	if (r < most && lo < most && hi < most) {
		value = (double)api_quantity_milli(&ratio->q) / 1000;
		lo = api_quantity_milli(&min->q);
		hi = api_quantity_milli(&max->q);
	}
	double bound = (double)hi / (double)lo;
	if (value > bound)
		bad_amount(c, item, "maxLimitRequestRatio", key, ratio, "ratio %.*s is greater than max/min = %f",
			SPAN_ARG(ratio->text),
			   bound);
}

/* The amounts of one resource against each other. */
static void check_amounts(struct check *c, const struct path *item, struct span key, const struct json *limit, bool pod)
{
	struct amount min = amount_of(limit, "min", key), max = amount_of(limit, "max", key);
	struct amount ratio = amount_of(limit, "maxLimitRequestRatio", key), normal = {}, request = {};
	if (!pod) {
		normal = amount_of(limit, "default", key);
		request = amount_of(limit, "defaultRequest", key);
	}
	if (above(&min, &max))
		bad_amount(c, item, "min", key, &min, "min value %.*s is greater than max value %.*s", SPAN_ARG(min.text),
			   SPAN_ARG(max.text));
	if (above(&min, &request))
		bad_amount(c, item, "defaultRequest", key, &request, "min value %.*s is greater than default request value %.*s",
			   SPAN_ARG(min.text), SPAN_ARG(request.text));
	if (above(&request, &max))
		bad_amount(c, item, "defaultRequest", key, &request, "default request value %.*s is greater than max value %.*s",
			   SPAN_ARG(request.text), SPAN_ARG(max.text));
	if (above(&request, &normal))
		bad_amount(c, item, "defaultRequest", key, &request,
			   "default request value %.*s is greater than default limit value %.*s", SPAN_ARG(request.text),
			   SPAN_ARG(normal.text));
	if (above(&min, &normal))
		bad_amount(c, item, "default", key, &min, "min value %.*s is greater than default value %.*s", SPAN_ARG(min.text),
			   SPAN_ARG(normal.text));
	if (above(&normal, &max))
		bad_amount(c, item, "default", key, &max, "default value %.*s is greater than max value %.*s",
			SPAN_ARG(normal.text),
			   SPAN_ARG(max.text));
	check_ratio(c, item, key, &ratio, &min, &max);
	if (!may_overcommit(key) && normal.json && request.json && api_quantity_cmp(&normal.q, &request.q) != 0)
		bad_amount(c, item, "defaultRequest", key, &request, "default value %.*s must equal to defaultRequest value %.*s "
			"in %.*s",
			   SPAN_ARG(normal.text), SPAN_ARG(request.text), SPAN_ARG(key));
}

static void check_limit(struct check *c, const struct path *item, const struct json *limits, uint32_t i)
{
	static const char *const lists[] = { "max", "min", "default", "defaultRequest", "maxLimitRequestRatio" };
	const struct json *limit = &limits->items[i];
	struct span type = member_text(limit, "type");
	bool pod = span_is(type, "Pod");
	if (check_name(c, &PATH(item, "type"), type, api_name_qualified) && span_chr(type, '/') < 0 &&
	    !check_one_of(type, "Pod Container PersistentVolumeClaim"))
		bad_string(c, &PATH(item, "type"), type, "must be a standard limit type or fully qualified");
	for (uint32_t k = 0; k < i; k++)
		if (span_eq(member_text(&limits->items[k], "type"), type)) {
			bad_duplicate_string(c, &PATH(item, "type"), type);
			break;
		}
	check_limit_names(c, item, type, limit, "max");
	check_limit_names(c, item, type, limit, "min");
	if (pod) {
		if (json_count(member(limit, "default")))
			bad_forbidden(c, &PATH(item, "default"), "may not be specified when `type` is 'Pod'");
		if (json_count(member(limit, "defaultRequest")))
			bad_forbidden(c, &PATH(item, "defaultRequest"), "may not be specified when `type` is 'Pod'");
	} else {
		check_limit_names(c, item, type, limit, "default");
		check_limit_names(c, item, type, limit, "defaultRequest");
	}
	if (span_is(type, "PersistentVolumeClaim") && !json_path(limit, "min", "storage", NULL) && !json_path(limit, "max",
		"storage", NULL))
		bad_required(c, &PATH(item, "limits"), "either minimum or maximum storage value is required, but neither was "
			"provided");
	check_limit_names(c, item, type, limit, "maxLimitRequestRatio");
	auto_map struct map seen = {};
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		if (pod && (l == 2 || l == 3))
			continue;
		JSON_EACH_MEMBER(json_get(limit, span_of(lists[l])), m)
			if (!map_put(&seen, json_key(m), m))
				check_amounts(c, item, json_key(m), limit, pod);
	}
}

static void check_limit_range(struct check *c, const struct json *object, const struct json *old)
{
	const struct path at = PATH(&PATH(PATH_ROOT, "spec"), "limits");
	const struct json *limits = json_path(object, "spec", "limits", NULL);
	check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
	JSON_EACH_INDEX(limits, limit, i)
		check_limit(c, &PATH_INDEX(&at, i), limits, i);
}

const struct strategy_kind strategy_kind_limit_range = {
	.group = "", .kind = "LimitRange", .flags = STRATEGY_CREATE_ON_UPDATE | STRATEGY_UNCONDITIONAL_UPDATE,
	.defaults = default_limit_range, .prepare = prepare_nothing, .check = check_limit_range,
};

/* ---- ResourceQuota */
static void default_quota(struct arena *a, struct json *object)
{
	default_resource_list(a, json_path(object, "spec", "hard", NULL));
	default_resource_list(a, json_path(object, "status", "hard", NULL));
	default_resource_list(a, json_path(object, "status", "used", NULL));
}

static void check_quota_list(struct check *c, const struct path *at, const struct json *list)
{
	JSON_EACH_MEMBER(list, m) {
		const struct path item = PATH_KEY(at, json_key(m));
		unsigned before = c->n;
		check_resource_name(c, &item, json_key(m));
		(void)before;
		if (span_chr(json_key(m), '/') < 0 && !is_quota_resource(json_key(m)))
			bad_string(c, &item, json_key(m), "must be a standard resource for quota");
		check_resource_value(c, &item, json_key(m), &m->value);
	}
}

#define SCOPES "Terminating NotTerminating BestEffort NotBestEffort PriorityClass CrossNamespacePodAffinity"

static bool scope_fits(struct span scope, struct span resource)
{
	bool count = span_is(resource, "pods");
	if (span_is(scope, "BestEffort"))
		return count;
	if (check_one_of(scope, SCOPES))
		return count || check_one_of(resource, "cpu memory limits.cpu limits.memory requests.cpu requests.memory");
	return true;
}

static bool has_scope(const struct json *list, const char *member_name, const char *scope)
{
	JSON_EACH_ITEM(list, item)
		if (span_is(member_name ? member_text(item, member_name) : json_span(item), scope))
			return true;
	return false;
}

static void check_scope_pairs(struct check *c, const struct path *at, const struct json *list, const char *name,
	const struct json *shown)
{
	static const char *const pairs[][2] = { { "BestEffort", "NotBestEffort" }, { "Terminating", "NotTerminating" } };
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		if (has_scope(list, name, pairs[i][0]) && has_scope(list, name, pairs[i][1]))
			bad_typed(c, at, "[]core/v1.ResourceQuotaScope", shown, "conflicting scopes");
}

static void check_scopes(struct check *c, const struct path *at, const struct json *spec)
{
	const struct json *scopes = member(spec, "scopes");
	JSON_EACH_ITEM(scopes, scope) {
		if (!check_one_of(json_span(scope), SCOPES))
			bad_typed(c, at, "[]core/v1.ResourceQuotaScope", scopes, "unsupported scope");
		JSON_EACH_MEMBER(member(spec, "hard"), m)
			if (is_quota_resource(json_key(m)) && !scope_fits(json_span(scope), json_key(m)))
				bad_typed(c, at, "[]core/v1.ResourceQuotaScope", scopes, "unsupported scope applied to resource");
	}
	check_scope_pairs(c, at, scopes, NULL, scopes);
}

static void check_scope_selector(struct check *c, const struct path *at, const struct json *spec)
{
	const struct json *selector = member(spec, "scopeSelector"), *list = member(selector, "matchExpressions");
	if (!selector)
		return;
	JSON_EACH_ITEM(list, rq) {
		struct span scope = member_text(rq, "scopeName"), op = member_text(rq, "operator");
		const struct json *values = member(rq, "values");
		if (!check_one_of(scope, SCOPES))
			bad_string(c, &PATH(at, "scopeName"), scope, "unsupported scope");
		JSON_EACH_MEMBER(member(spec, "hard"), m)
			if (is_quota_resource(json_key(m)) && !scope_fits(scope, json_key(m)))
				bad_typed(c, at, "core/v1.ScopeSelector", selector, "unsupported scope applied to resource");
		if (check_one_of(scope, "BestEffort NotBestEffort Terminating NotTerminating CrossNamespacePodAffinity") &&
		    !span_is(op, "Exists"))
			bad_string(c, &PATH(at, "operator"), op,
				   "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
				   "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
				   "ResourceQuotaScopeNotBestEffort or "
				   "ResourceQuotaScopeCrossNamespacePodAffinity");
		if (check_one_of(op, "In NotIn")) {
			if (!json_count(values))
				bad_required(c, &PATH(at, "values"),
					     "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
		} else if (check_one_of(op, "Exists DoesNotExist")) {
			if (json_count(values))
				bad_typed(c, &PATH(at, "values"), "[]string", values,
					  "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
		} else {
			bad_string(c, &PATH(at, "operator"), op, "not a valid selector operator");
		}
	}
	check_scope_pairs(c, at, list, "scopeName", member(spec, "scopes"));
}

static void check_quota_status_lists(struct check *c, const struct json *object)
{
	const struct path status = PATH(PATH_ROOT, "status");
	check_quota_list(c, &PATH(&status, "hard"), json_path(object, "status", "hard", NULL));
	check_quota_list(c, &PATH(&status, "used"), json_path(object, "status", "used", NULL));
}

static void check_quota(struct check *c, const struct json *object, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec");
	const struct json *spec = member(object, "spec"), *scopes = member(spec, "scopes");
	const struct json *was = json_path(old, "spec", "scopes", NULL);
	if (old)
		check_meta_update(c, object, old, META_CORE);
	else
		check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
	check_quota_list(c, &PATH(&at, "hard"), member(spec, "hard"));
	check_scopes(c, &PATH(&at, "scopes"), spec);
	check_scope_selector(c, &PATH(&PATH(&at, "scopeSelector"), "matchExpressions"), spec);
	if (!old) {
		check_quota_status_lists(c, object);
		return;
	}
	bool same = true;
	JSON_EACH_ITEM(scopes, scope)
		same &= check_list_has(was, json_span(scope));
	JSON_EACH_ITEM(was, scope)
		same &= check_list_has(scopes, json_span(scope));
	if (!same)
		bad_typed(c, &PATH(&at, "scopes"), "[]core/v1.ResourceQuotaScope", scopes, "field is immutable");
}

static void check_quota_status(struct check *c, const struct json *object, const struct json *old)
{
	check_meta_update(c, object, old, META_CORE);
	if (!json_span(json_path(object, "metadata", "resourceVersion", NULL)).len)
		bad_required(c, &PATH(PATH_ROOT, "resourceVersion"), "");
	check_quota_status_lists(c, object);
}

const struct strategy_kind strategy_kind_resource_quota = {
	.group = "", .kind = "ResourceQuota", .flags = STRATEGY_UNCONDITIONAL_UPDATE, .defaults = default_quota,
		.check = check_quota,
	.subs = { { "status", prepare_status_only, check_quota_status } },
};
