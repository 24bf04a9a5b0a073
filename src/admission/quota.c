/* ResourceQuota: what an object counts for, which quotas it falls under, and what they would hold with it.
 *
 * Upstream serializes the requests of a namespace and writes status.used before it lets them pass. Here the arithmetic is a pure
 * function over the quotas of one snapshot; whoever calls commits the new status.used together with the object, atomically, and
 * asks again when a quota has changed meanwhile. */
#include "admission/private.h"

/* ---- lists of resources as JSON objects of quantities in canonical form */
static struct api_quantity quantity_of(const struct json *v)
{
	struct api_quantity q = {};
	if (v)
		(void)api_quantity_parse(json_span(v), &q, NULL); /* decoding has refused what is none */
	return q;
}

static void quantity_set(struct arena *a, struct json *list, struct span name, const struct api_quantity *q)
{
	auto_buf struct buf text = {};
	api_quantity_print(q, &text);
	json_set(a, list, name, json_str(arena_span(a, buf_span(&text))));
}

static void amount_add(struct arena *a, struct json *list, struct span name, const struct api_quantity *q)
{
	struct api_quantity sum = quantity_of(json_get(list, name));
	if (sum.sign == 0)
		sum.format = q->format;
	api_quantity_add(&sum, q);
	quantity_set(a, list, name, &sum);
}

static void count_add(struct arena *a, struct json *list, struct span name, int64_t n)
{
	struct api_quantity q = api_quantity_of(n, 0, API_QUANTITY_DECIMAL);
	amount_add(a, list, name, &q);
}

static void list_add(struct arena *a, struct json *to, const struct json *from)
{
	JSON_EACH_MEMBER(from, m) {
		struct api_quantity q = quantity_of(&m->value);
		amount_add(a, to, json_key(m), &q);
	}
}

static void list_max(struct arena *a, struct json *to, const struct json *from)
{
	JSON_EACH_MEMBER(from, m) {
		const struct json *mine = json_get(to, json_key(m));
		struct api_quantity q = quantity_of(&m->value), have = quantity_of(mine);
		if (!mine || api_quantity_cmp(&q, &have) > 0)
			json_set(a, to, json_key(m), m->value);
	}
}

/* ---- pods */
static const struct json *status_of_container(const struct json *pod, const char *list, struct span name)
{
	JSON_EACH_ITEM(json_get(json_getl(pod, "status"), span_of(list)), s)
		if (span_eq(text_of(s, "name"), name))
			return s;
	return NULL;
}

static bool resize_infeasible(const struct json *pod)
{
	JSON_EACH_ITEM(json_path(pod, "status", "conditions", NULL), c)
		if (span_is(text_of(c, "type"), "PodResizePending") && span_is(text_of(c, "reason"), "Infeasible"))
			return true;
	return false;
}

/* What a container counts for while it may be being resized: the most of what it wants, has been promised and has. */
static struct json container_amounts(struct arena *a, const struct json *pod, const struct json *c, const char *statuses,
				     const char *which)
{
	struct json out = json_object();
	const struct json *status = statuses ? status_of_container(pod, statuses, text_of(c, "name")) : NULL;
	const struct json *actual = json_getl(status, "resources");
	if (!actual || !resize_infeasible(pod))
		list_max(a, &out, json_get(json_getl(c, "resources"), span_of(which)));
	if (actual) {
		list_max(a, &out, json_get(actual, span_of(which)));
		if (strcmp(which, "requests") == 0)
			list_max(a, &out, json_getl(status, "allocatedResources"));
	}
	return out;
}

static struct json pod_amounts(struct arena *a, const struct json *pod, const char *which)
{
	const struct json *spec = json_getl(pod, "spec");
	struct json total = json_object(), sidecars = json_object(), init = json_object();
	JSON_EACH_ITEM(json_getl(spec, "containers"), c) {
		struct json own = container_amounts(a, pod, c, "containerStatuses", which);
		list_add(a, &total, &own);
	}
	JSON_EACH_ITEM(json_getl(spec, "initContainers"), c) {
		bool sidecar = span_is(text_of(c, "restartPolicy"), "Always");
		struct json own = container_amounts(a, pod, c, sidecar ? "initContainerStatuses" : NULL, which);
		if (sidecar) {
			list_add(a, &total, &own);
			list_add(a, &sidecars, &own);
			list_max(a, &init, &sidecars);
		} else {
			list_add(a, &own, &sidecars);
			list_max(a, &init, &own);
		}
	}
	list_max(a, &total, &init);
	JSON_EACH_MEMBER(json_getl(spec, "overhead"), m) {
		struct api_quantity q = quantity_of(&m->value), have = quantity_of(json_get(&total, json_key(m)));
		/* a limit that is not there is none, and gets no overhead */
		if (strcmp(which, "requests") == 0 || have.sign != 0)
			amount_add(a, &total, json_key(m), &q);
	}
	return total;
}

static bool is_native(struct span name)
{
	return span_chr(name, '/') < 0 || span_has(name, SPAN("kubernetes.io/"));
}

/* podComputeUsageHelper: the names that quotas have for requests and limits. */
static void compute_usage(struct arena *a, struct json *out, const struct json *requests, const struct json *limits)
{
	static const char *const plain[] = { "cpu", "memory", "ephemeral-storage" };
	for (unsigned i = 0; i < ARRAY_LEN(plain); i++) {
		const struct json *r = json_get(requests, span_of(plain[i])), *l = json_get(limits, span_of(plain[i]));
		if (r) {
			json_set(a, out, span_of(plain[i]), *r);
			json_set(a, out, arena_printf(a, "requests.%s", plain[i]), *r);
		}
		if (l)
			json_set(a, out, arena_printf(a, "limits.%s", plain[i]), *l);
	}
	JSON_EACH_MEMBER(requests, m) {
		struct span name = json_key(m);
		bool huge = span_starts(name, SPAN("hugepages-"));
		if (huge)
			json_set(a, out, name, m->value);
		if (huge || (!is_native(name) && !span_starts(name, SPAN("requests."))))
			json_set(a, out, arena_printf(a, "requests.%.*s", SPAN_ARG(name)), m->value);
	}
}

static bool pod_counts(const struct json *pod, int64_t now_s)
{
	struct span phase = text_of(json_getl(pod, "status"), "phase");
	if (span_is(phase, "Failed") || span_is(phase, "Succeeded"))
		return false;
	const struct json *deleted = json_getl(meta_of(pod), "deletionTimestamp");
	const struct json *grace = json_getl(meta_of(pod), "deletionGracePeriodSeconds");
	int64_t at;
	int32_t ns;
	if (!deleted || !grace || api_time_parse(json_span(deleted), API_TIME_SECONDS, &at, &ns, NULL) < 0)
		return true;
	int64_t end;
	return __builtin_add_overflow(at, json_i64(grace, 0), &end) || now_s <= end;
}

static struct json pod_usage(struct arena *a, const struct json *pod, int64_t now_s)
{
	struct json out = json_object();
	count_add(a, &out, SPAN("count/pods"), 1);
	if (!pod_counts(pod, now_s))
		return out;
	count_add(a, &out, SPAN("pods"), 1);
	struct json requests = pod_amounts(a, pod, "requests"), limits = pod_amounts(a, pod, "limits");
	compute_usage(a, &out, &requests, &limits);
	return out;
}

/* ---- services and claims */
static struct json service_usage(struct arena *a, const struct json *service)
{
	const struct json *spec = json_getl(service, "spec"), *ports = json_getl(spec, "ports");
	struct span type = text_of(spec, "type");
	int64_t node_ports = 0, balancers = 0;
	if (span_is(type, "NodePort"))
		node_ports = count_of(ports);
	if (span_is(type, "LoadBalancer")) {
		balancers = 1;
		if (json_truth(json_getl(spec, "allocateLoadBalancerNodePorts"), true))
			node_ports = count_of(ports);
		else
			JSON_EACH_ITEM(ports, p)
				node_ports += json_i64(json_getl(p, "nodePort"), 0) != 0;
	}
	struct json out = json_object();
	count_add(a, &out, SPAN("count/services"), 1);
	count_add(a, &out, SPAN("services"), 1);
	count_add(a, &out, SPAN("services.nodeports"), node_ports);
	count_add(a, &out, SPAN("services.loadbalancers"), balancers);
	return out;
}

#define CLASS_SUFFIX ".storageclass.storage.k8s.io/"
static struct json claim_usage(struct arena *a, const struct json *claim)
{
	struct json out = json_object();
	const struct json *beta = annotation_of(claim, "volume.beta.kubernetes.io/storage-class");
	struct span class = beta ? json_span(beta) : text_of(json_getl(claim, "spec"), "storageClassName");
	const struct json *asked = json_path(claim, "spec", "resources", "requests", "storage", NULL);
	const struct json *allocated = json_path(claim, "status", "allocatedResources", "storage", NULL);
	count_add(a, &out, SPAN("count/persistentvolumeclaims"), 1);
	count_add(a, &out, SPAN("persistentvolumeclaims"), 1);
	if (class.len)
		count_add(a, &out, arena_printf(a, "%.*s" CLASS_SUFFIX "persistentvolumeclaims", SPAN_ARG(class)), 1);
	if (!asked)
		return out;
	struct api_quantity q = quantity_of(asked), have = quantity_of(allocated);
	if (allocated && api_quantity_cmp(&have, &q) > 0) /* a growth that is being taken back still holds what it got */
		q = have;
	(void)api_quantity_round_up(&q, 0);
	quantity_set(a, &out, SPAN("requests.storage"), &q);
	if (class.len)
		quantity_set(a, &out, arena_printf(a, "%.*s" CLASS_SUFFIX "requests.storage", SPAN_ARG(class)), &q);
	return out;
}

/* ---- evaluators */
enum evaluator { PODS, SERVICES, CLAIMS, COUNTED };

static enum evaluator evaluator_of(const struct api_resource *r)
{
	if (r->group.len)
		return COUNTED;
	return span_is(r->plural, "pods")		    ? PODS :
	       span_is(r->plural, "services")		    ? SERVICES :
	       span_is(r->plural, "persistentvolumeclaims") ? CLAIMS :
							      COUNTED;
}

/* Kinds that quotas could count before count/ was there. */
static bool has_old_name(const struct api_resource *r)
{
	return !r->group.len && (span_is(r->plural, "configmaps") || span_is(r->plural, "resourcequotas") ||
				 span_is(r->plural, "replicationcontrollers") || span_is(r->plural, "secrets"));
}

static struct span count_name(struct arena *a, const struct api_resource *r)
{
	return arena_printf(a, "count/%.*s%s%.*s", SPAN_ARG(r->plural), r->group.len ? "." : "", SPAN_ARG(r->group));
}

struct json admission_quota_usage(struct arena *a, const struct api_resource *r, const struct json *object, int64_t now_s)
{
	switch (evaluator_of(r)) {
	case PODS:
		return pod_usage(a, object, now_s);
	case SERVICES:
		return service_usage(a, object);
	case CLAIMS:
		return claim_usage(a, object);
	case COUNTED:
		break;
	}
	struct json out = json_object();
	count_add(a, &out, count_name(a, r), 1);
	if (has_old_name(r))
		count_add(a, &out, r->plural, 1);
	return out;
}

static bool word_in(struct span s, const char *list) /* blank-separated */
{
	struct span rest = span_of(list), word;
	while (span_cut(&rest, ' ', &word))
		if (span_eq(word, s))
			return true;
	return false;
}

/* Does the evaluator of this kind count this resource? */
static bool counts(struct arena *a, const struct api_resource *r, struct span name)
{
	if (span_eq(name, count_name(a, r)))
		return true;
	switch (evaluator_of(r)) {
	case PODS:
		return word_in(name, "pods cpu memory ephemeral-storage requests.cpu requests.memory requests.ephemeral-storage limits.cpu "
				     "limits.memory limits.ephemeral-storage") ||
		       span_starts(name, SPAN("hugepages-")) || span_starts(name, SPAN("requests.hugepages-")) ||
		       (!is_native(name) && span_starts(name, SPAN("requests.")));
	case SERVICES:
		return word_in(name, "services services.nodeports services.loadbalancers");
	case CLAIMS:
		return word_in(name, "persistentvolumeclaims requests.storage") ||
		       span_ends(name, SPAN(CLASS_SUFFIX "requests.storage")) ||
		       span_ends(name, SPAN(CLASS_SUFFIX "persistentvolumeclaims"));
	case COUNTED:
		break;
	}
	return has_old_name(r) && span_eq(name, r->plural);
}

/* What is never stored, and events. */
static bool is_ignored(const struct admission *req)
{
	const struct api_resource *r = req->resource;
	if (!r->group.len)
		return word_in(r->plural, "bindings componentstatuses events");
	return span_is(r->group, "authentication.k8s.io") || span_is(r->group, "authorization.k8s.io") ||
	       span_is(r->group, "events.k8s.io");
}

static bool handles(const struct admission *req)
{
	if (!req->ns.len || is_ignored(req))
		return false;
	switch (evaluator_of(req->resource)) {
	case PODS:
		return req->subresource.len ? span_is(req->subresource, "resize") && req->op == ADMISSION_UPDATE :
					      req->op == ADMISSION_CREATE;
	case SERVICES:
	case CLAIMS:
		return !req->subresource.len && (req->op == ADMISSION_CREATE || req->op == ADMISSION_UPDATE);
	case COUNTED:
		break;
	}
	return !req->subresource.len && req->op == ADMISSION_CREATE;
}

/* ---- scopes: of pods alone; other kinds match no scope */
static bool is_best_effort(const struct json *spec)
{
	static const char *const lists[] = { "containers", "initContainers" };
	for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_get(spec, span_of(lists[i])), c) {
			const struct json *both[] = { json_path(c, "resources", "requests", NULL), json_path(c, "resources", "limits", NULL) };
			for (unsigned k = 0; k < 2; k++)
				JSON_EACH_MEMBER(both[k], m) {
					struct api_quantity q = quantity_of(&m->value);
					if (word_in(json_key(m), "cpu memory") && api_quantity_sign(&q) > 0)
						return false;
				}
		}
	return true;
}

static bool term_crosses(const struct json *term)
{
	return count_of(json_getl(term, "namespaces")) || json_getl(term, "namespaceSelector");
}

static bool crosses_namespaces(const struct json *spec)
{
	static const char *const kinds[] = { "podAffinity", "podAntiAffinity" };
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct json *k = json_get(json_getl(spec, "affinity"), span_of(kinds[i]));
		JSON_EACH_ITEM(json_getl(k, "requiredDuringSchedulingIgnoredDuringExecution"), t)
			if (term_crosses(t))
				return true;
		JSON_EACH_ITEM(json_getl(k, "preferredDuringSchedulingIgnoredDuringExecution"), t)
			if (term_crosses(json_getl(t, "podAffinityTerm")))
				return true;
	}
	return false;
}

static bool scope_matches(const struct json *pod, struct span scope, struct span op, const struct json *values)
{
	const struct json *spec = json_getl(pod, "spec");
	bool terminating = json_i64(json_getl(spec, "activeDeadlineSeconds"), -1) >= 0;
	if (span_is(scope, "Terminating"))
		return terminating;
	if (span_is(scope, "NotTerminating"))
		return !terminating;
	if (span_is(scope, "BestEffort"))
		return is_best_effort(spec);
	if (span_is(scope, "NotBestEffort"))
		return !is_best_effort(spec);
	if (span_is(scope, "CrossNamespacePodAffinity"))
		return crosses_namespaces(spec);
	if (!span_is(scope, "PriorityClass"))
		return false;
	struct span class = text_of(spec, "priorityClassName");
	bool listed = false;
	JSON_EACH_ITEM(values, v)
		listed |= class.len && span_eq(json_span(v), class);
	return span_is(op, "Exists") ? class.len > 0 : span_is(op, "DoesNotExist") ? !class.len :
	       span_is(op, "In") ? listed : span_is(op, "NotIn") && !listed;
}

bool admission_quota_matches(struct arena *a, const struct api_resource *r, const struct json *quota, const struct json *object)
{
	bool any = false;
	JSON_EACH_MEMBER(json_path(quota, "status", "hard", NULL), m)
		any |= counts(a, r, json_key(m));
	if (!any)
		return false;
	const struct json *scopes = json_path(quota, "spec", "scopes", NULL);
	const struct json *selector = json_path(quota, "spec", "scopeSelector", "matchExpressions", NULL);
	if (evaluator_of(r) != PODS)
		return !count_of(scopes) && !count_of(selector);
	JSON_EACH_ITEM(scopes, s)
		if (!scope_matches(object, json_span(s), SPAN("Exists"), NULL))
			return false;
	JSON_EACH_ITEM(selector, s)
		if (!scope_matches(object, text_of(s, "scopeName"), text_of(s, "operator"), json_getl(s, "values")))
			return false;
	return true;
}

/* ---- checks */
static int text_cmp(const void *a, const void *b)
{
	return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

/* "must specify limits.cpu for: a,b; ...": each container must state what a quota of these six counts. Appended. */
static void unstated(struct arena *a, const struct json *pod, const struct json *hard, struct buf *out)
{
	static const char *const stated[] = { "cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory" };
	static const char *const lists[] = { "containers", "initContainers" };
	const struct json *spec = json_getl(pod, "spec");
	uint32_t most = count_of(json_getl(spec, "containers")) + count_of(json_getl(spec, "initContainers"));
	for (unsigned i = 0; i < ARRAY_LEN(stated); i++) {
		if (!json_get(hard, span_of(stated[i])))
			continue;
		struct span *names = arena_alloc_n(a, most ? most : 1, sizeof(*names));
		uint32_t n = 0;
		for (unsigned k = 0; k < ARRAY_LEN(lists); k++)
			JSON_EACH_ITEM(json_get(spec, span_of(lists[k])), c) {
				struct json usage = json_object();
				compute_usage(a, &usage, json_path(c, "resources", "requests", NULL), json_path(c, "resources", "limits", NULL));
				if (!json_get(&usage, span_of(stated[i])))
					names[n++] = text_of(c, "name");
			}
		if (!n)
			continue;
		qsort(names, n, sizeof(*names), text_cmp);
		buf_printf(out, "%s%s for: ", out->len ? "; " : "must specify ", stated[i]);
		for (uint32_t k = 0; k < n; k++)
			buf_printf(out, "%s%.*s", k ? "," : "", SPAN_ARG(names[k]));
	}
}

/* Members of list whose names are in mask, sorted. */
static struct json masked(struct arena *a, const struct json *list, const struct json *mask)
{
	struct json out = json_object();
	JSON_EACH_MEMBER(list, m)
		if (json_get(mask, json_key(m)))
			json_add(a, &out, json_key(m), m->value);
	json_sort(&out);
	return out;
}

static struct span amounts_text(struct arena *a, const struct json *list)
{
	auto_buf struct buf out = {};
	JSON_EACH_MEMBER(list, m)
		buf_printf(&out, "%s%.*s=%.*s", out.len ? "," : "", SPAN_ARG(json_key(m)), SPAN_ARG(json_span(&m->value)));
	return arena_span(a, buf_span(&out));
}

static struct span names_text(struct arena *a, const struct json *list)
{
	auto_buf struct buf out = {};
	JSON_EACH_MEMBER(list, m)
		buf_printf(&out, "%s%.*s", out.len ? "," : "", SPAN_ARG(json_key(m)));
	return arena_span(a, buf_span(&out));
}

/* usage less what it was before, never below nothing; what stays the same is left out. */
static struct json delta_of(struct arena *a, const struct json *usage, const struct json *before)
{
	struct json out = json_object();
	JSON_EACH_MEMBER(usage, m) {
		struct api_quantity q = quantity_of(&m->value), old = quantity_of(json_get(before, json_key(m)));
		api_quantity_sub(&q, &old);
		if (api_quantity_sign(&q) > 0)
			quantity_set(a, &out, json_key(m), &q);
	}
	json_sort(&out);
	return out;
}

static int quota_refuses(struct admission *req, const struct json *quota, struct err *err)
{
	struct arena *a = req->arena;
	const struct json *hard = json_path(quota, "status", "hard", NULL), *used = json_path(quota, "status", "used", NULL);
	struct json restricted = json_object();
	bool unknown = false;
	JSON_EACH_MEMBER(hard, m)
		if (counts(a, req->resource, json_key(m))) {
			json_add(a, &restricted, json_key(m), m->value);
			unknown |= !json_get(used, json_key(m));
		}
	json_sort(&restricted);
	auto_buf struct buf missing = {};
	if (evaluator_of(req->resource) == PODS)
		unstated(a, req->object, &restricted, &missing);
	if (missing.len)
		return admission_forbid(req, err, "failed quota: %.*s: %s", SPAN_ARG(name_of(quota)), buf_cstr(&missing));
	if (unknown)
		return admission_forbid(req, err, "status unknown for quota: %.*s, resources: %.*s", SPAN_ARG(name_of(quota)),
					SPAN_ARG(names_text(a, &restricted)));
	return 0;
}

static int quota_take(struct admission *req, struct admission_quota *q, const struct json *delta, struct err *err)
{
	struct arena *a = req->arena;
	const struct json *hard = json_path(q->object, "status", "hard", NULL), *used = json_path(q->object, "status", "used", NULL);
	struct json wanted = masked(a, delta, hard), now = used ? json_copy(a, used) : json_object(), over = json_object();
	list_add(a, &now, &wanted);
	JSON_EACH_MEMBER(&wanted, m) {
		struct api_quantity sum = quantity_of(json_get(&now, json_key(m))), most = quantity_of(json_get(hard, json_key(m)));
		if (api_quantity_cmp(&sum, &most) > 0)
			json_add(a, &over, json_key(m), m->value);
	}
	if (over.n) {
		struct json had = masked(a, used, &over), most = masked(a, hard, &over);
		return admission_forbid(req, err, "exceeded quota: %.*s, requested: %.*s, used: %.*s, limited: %.*s",
					SPAN_ARG(name_of(q->object)), SPAN_ARG(amounts_text(a, &over)), SPAN_ARG(amounts_text(a, &had)),
					SPAN_ARG(amounts_text(a, &most)));
	}
	q->used = now;
	q->changed = wanted.n > 0;
	return 0;
}

int admission_quota_check(struct admission *req, struct admission_quota *quotas, unsigned n, int64_t now_s, struct err *err)
{
	struct arena *a = req->arena;
	bool *matches = arena_zalloc(a, n ? n : 1);
	for (unsigned i = 0; i < n; i++) {
		quotas[i].changed = false;
		quotas[i].used = JSON_NULL_VALUE;
	}
	if (!handles(req))
		return 0;
	for (unsigned i = 0; i < n; i++) {
		matches[i] = admission_quota_matches(a, req->resource, quotas[i].object, req->object);
		int rc = matches[i] ? quota_refuses(req, quotas[i].object, err) : 0;
		if (rc < 0)
			return rc;
	}
	struct json usage = admission_quota_usage(a, req->resource, req->object, now_s), before = json_object();
	struct json negative = json_object();
	JSON_EACH_MEMBER(&usage, m) {
		struct api_quantity q = quantity_of(&m->value);
		if (api_quantity_sign(&q) < 0)
			json_add(a, &negative, json_key(m), m->value);
	}
	json_sort(&negative);
	if (negative.n)
		return admission_forbid(req, err, "quota usage is negative for resource(s): %.*s", SPAN_ARG(names_text(a, &negative)));
	struct json all = delta_of(a, &usage, NULL), more = all;
	if (req->op == ADMISSION_UPDATE && text_of(meta_of(req->old), "resourceVersion").len) {
		before = admission_quota_usage(a, req->resource, req->old, now_s);
		more = delta_of(a, &usage, &before);
	}
	for (unsigned i = 0; i < n; i++) {
		if (!matches[i])
			continue;
		/* An update that brings the object under a quota is charged in full. */
		bool was = req->op == ADMISSION_UPDATE && admission_quota_matches(a, req->resource, quotas[i].object, req->old);
		int rc = quota_take(req, &quotas[i], was ? &more : &all, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}
