/* Requests, limits and claims of containers, overhead, and the quality-of-service class that follows from them. */
#include "strategy/pod.h"

bool pod_is_huge_page(struct span resource)
{
	return span_starts(resource, SPAN("hugepages-"));
}

/* Resources without a domain, or of ours (IsNativeResource). */
static bool is_native(struct span resource)
{
	return span_chr(resource, '/') < 0 || span_has(resource, SPAN("kubernetes.io/"));
}

static bool may_overcommit(struct span resource)
{
	return is_native(resource) && !pod_is_huge_page(resource);
}

bool pod_huge_page_fits(struct span resource, const struct json *value)
{
	struct api_quantity page, q;
	if (api_quantity_parse(span_from(resource, strlen("hugepages-")), &page, NULL) < 0 || api_quantity_sign(&page) <= 0 ||
	    api_quantity_milli(&page) % 1000 != 0 || !check_quantity(value, &q))
		return false;
	return api_quantity_value(&q) % api_quantity_value(&page) == 0;
}

static void check_one(struct check *c, const struct path *at, struct span resource, const struct json *value)
{
	check_container_resource_name(c, at, resource);
	check_resource_value(c, at, resource, value);
}

static void check_huge_page(struct check *c, const struct path *at, const struct pod_opts *opts, struct span resource,
			    const struct json *value)
{
	if (pod_is_huge_page(resource) && !opts->lax_huge_pages && !pod_huge_page_fits(resource, value))
		bad_value(c, at, value, "%.*s is not positive integer multiple of %.*s", SPAN_ARG(json_span(value)),
			  SPAN_ARG(resource));
}

/* A request against the limit of the same resource. */
static void check_against_limit(struct check *c, const struct path *req_at, const struct path *lim_at, struct span resource,
				const struct json *request, const struct json *limit)
{
	struct api_quantity r, l;
	if (!limit) {
		if (!may_overcommit(resource))
			bad_required(c, lim_at, "Limit must be set for non overcommitable resources");
		return;
	}
	if (!check_quantity(request, &r) || !check_quantity(limit, &l))
		return;
	struct span text = json_span(limit);
	int cmp = api_quantity_cmp(&r, &l);
	if (cmp != 0 && !may_overcommit(resource))
		bad_value(c, req_at, request, "must be equal to %.*s limit of %.*s", SPAN_ARG(resource), SPAN_ARG(text));
	else if (cmp > 0)
		bad_value(c, req_at, request, "must be less than or equal to %.*s limit of %.*s", SPAN_ARG(resource),
			  SPAN_ARG(text));
}

static void check_requirements(struct check *c, const struct path *at, const struct json *limits, const struct json *requests,
			       const struct pod_opts *opts)
{
	const struct path lim = PATH(at, "limits"), req = PATH(at, "requests");
	bool huge = false, usual = false;
	JSON_EACH_MEMBER(limits, m) {
		const struct path item = PATH_KEY(&lim, json_key(m));
		check_one(c, &item, json_key(m), &m->value);
		check_huge_page(c, &item, opts, json_key(m), &m->value);
		huge |= pod_is_huge_page(json_key(m));
		usual |= check_one_of(json_key(m), "cpu memory");
	}
	JSON_EACH_MEMBER(requests, m) {
		const struct path item = PATH_KEY(&req, json_key(m));
		check_one(c, &item, json_key(m), &m->value);
		check_against_limit(c, &req, &lim, json_key(m), &m->value, json_get(limits, json_key(m)));
		check_huge_page(c, &item, opts, json_key(m), &m->value);
		huge |= pod_is_huge_page(json_key(m));
		usual |= check_one_of(json_key(m), "cpu memory");
	}
	if (huge && !usual)
		bad_forbidden(c, at, "HugePages require cpu or memory");
}

/* ---- claims of devices */
static int by_text(const void *a, const void *b)
{
	return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

static void bad_claim(struct pod_view *v, const struct path *at, struct span name)
{
	const struct json *claims = member(v->spec, "resourceClaims");
	struct span *names = arena_alloc_n(v->c->arena, json_count(claims) + 1, sizeof(*names));
	auto_buf struct buf list = {}, shown = {};
	uint32_t n = 0;
	JSON_EACH_ITEM(claims, claim)
		if (member_text(claim, "name").len)
			names[n++] = member_text(claim, "name");
	qsort(names, n, sizeof(*names), by_text);
	for (uint32_t i = 0; i < n; i++)
		if (!i || !span_eq(names[i], names[i - 1]))
			buf_printf(&list, "%s%.*s", list.len ? ", " : ": ", SPAN_ARG(names[i]));
	if (!n)
		buf_str(&list, " which is empty");
	api_go_quote(&shown, name);
	pod_bad(v->c, at, API_FE_NOT_FOUND, buf_span(&shown), "must be one of the names in pod.spec.resourceClaims%s",
		buf_cstr(&list));
}

static void check_claim_names(struct pod_view *v, const struct path *at, const struct json *claims)
{
	struct check *c = v->c;
	auto_map struct map seen = {};
	JSON_EACH_INDEX(claims, claim, i) {
		const struct path item = PATH_INDEX(at, i);
		struct span name = member_text(claim, "name"), request = member_text(claim, "request"), key = name;
		if (!name.len) {
			bad_required(c, &item, "");
			continue;
		}
		if (map_get(&seen, name)) {
			bad_duplicate_string(c, &item, name);
		} else {
			if (request.len) {
				check_name(c, &PATH(&item, "request"), request, api_name_dns1123_label);
				key = arena_printf(c->arena, "%.*s/%.*s", SPAN_ARG(name), SPAN_ARG(request));
			}
			if (map_get(&seen, key))
				bad_duplicate_string(c, &item, key);
			else if (!request.len)
				for (uint32_t k = 0; k < i; k++)
					if (span_eq(member_text(&claims->items[k], "name"), name))
						bad_duplicate_string(c, &item, name);
			map_put(&seen, key, &seen);
		}
		bool known = false;
		JSON_EACH_ITEM(member(v->spec, "resourceClaims"), have)
			known |= span_eq(member_text(have, "name"), name);
		if (!known)
			bad_claim(v, &item, name);
	}
}

void check_pod_claims(struct pod_view *v, const struct path *at)
{
	struct check *c = v->c;
	const struct json *claims = member(v->spec, "resourceClaims");
	JSON_EACH_INDEX(claims, claim, i) {
		const struct path item = PATH_INDEX(at, i);
		const struct json *by_name = member(claim, "resourceClaimName"),
				  *template = member(claim, "resourceClaimTemplateName");
		struct span name = member_text(claim, "name");
		bool twice = false;
		for (uint32_t k = 0; k < i && name.len; k++)
			twice |= span_eq(member_text(&claims->items[k], "name"), name);
		if (!name.len)
			bad_required(c, &PATH(&item, "name"), "");
		else if (twice)
			bad_duplicate_string(c, &PATH(&item, "name"), name);
		else
			check_name(c, &PATH(&item, "name"), name, api_name_dns1123_label);
		if (by_name && template)
			bad_typed(c, &item, "core/v1.PodResourceClaim", claim, "at most one of `resourceClaimName` or "
				  "`resourceClaimTemplateName` may be specified");
		if (!by_name && !template)
			bad_typed(c, &item, "core/v1.PodResourceClaim", claim, "must specify one of: `resourceClaimName`, "
				  "`resourceClaimTemplateName`");
		if (by_name)
			check_name(c, &PATH(&item, "resourceClaimName"), json_span(by_name), api_name_dns1123_subdomain);
		if (template)
			check_name(c, &PATH(&item, "resourceClaimTemplateName"), json_span(template), api_name_dns1123_subdomain);
	}
}

void check_pod_resources(struct pod_view *v, const struct path *at, const struct json *requirements)
{
	check_requirements(v->c, at, member(requirements, "limits"), member(requirements, "requests"), v->opts);
	check_claim_names(v, &PATH(at, "claims"), member(requirements, "claims"));
}

void check_pod_overhead(struct check *c, const struct path *at, const struct json *overhead, const struct pod_opts *opts)
{
	const struct json none = json_object();
	check_requirements(c, at, overhead, &none, opts);
}

/* ---- ComputePodQOS: sums of cpu and memory over regular and init containers */
struct qos {
	struct api_quantity request[2], limit[2];
	bool requested[2], limited[2], guaranteed;
};

static void qos_add(struct qos *q, const struct json *resources)
{
	static const char *const names[] = { "cpu", "memory" };
	for (int i = 0; i < 2; i++) {
		struct api_quantity x;
		if (check_quantity(json_get(member(resources, "requests"), span_of(names[i])), &x) && api_quantity_sign(&x) > 0) {
			if (q->requested[i])
				api_quantity_add(&q->request[i], &x);
			else
				q->request[i] = x;
			q->requested[i] = true;
		}
		if (check_quantity(json_get(member(resources, "limits"), span_of(names[i])), &x) && api_quantity_sign(&x) > 0) {
			if (q->limited[i])
				api_quantity_add(&q->limit[i], &x);
			else
				q->limit[i] = x;
			q->limited[i] = true;
		} else {
			q->guaranteed = false;
		}
	}
}

struct span pod_qos(struct arena *a, const struct json *spec)
{
	struct qos q = { .guaranteed = true };
	JSON_EACH_ITEM(member(spec, "containers"), c)
		qos_add(&q, member(c, "resources"));
	JSON_EACH_ITEM(member(spec, "initContainers"), c)
		qos_add(&q, member(c, "resources"));
	if (!q.requested[0] && !q.requested[1] && !q.limited[0] && !q.limited[1])
		return SPAN("BestEffort");
	for (int i = 0; i < 2; i++) {
		if (q.requested[i] && (!q.limited[i] || api_quantity_cmp(&q.limit[i], &q.request[i]) != 0))
			q.guaranteed = false;
		if (q.requested[i] != q.limited[i])
			q.guaranteed = false;
	}
	return q.guaranteed ? SPAN("Guaranteed") : SPAN("Burstable");
}
