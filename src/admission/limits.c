/* LimitRanger: defaults for the resources of containers, and bounds of containers, pods and claims.
 *
 * Order of complaints: LimitRanges by name; of one, its limits as listed; of one limit min, max, ratio, resources by name (upstream
 * walks Go maps there, in another order each time). */
#include "admission/private.h"

/* ---- lists of resources, sorted by name */
struct amount {
	struct span name;
	struct api_quantity q;
};
struct amounts {
	struct arena *a;
	struct amount *v;
	unsigned n, cap;
};

static struct amount *amount_find(const struct amounts *l, struct span name)
{
	for (unsigned i = 0; i < l->n; i++)
		if (span_eq(l->v[i].name, name))
			return &l->v[i];
	return NULL;
}

static struct amount *amount_place(struct amounts *l, struct span name)
{
	struct amount *found = amount_find(l, name);
	if (found)
		return found;
	if (l->n == l->cap) {
		unsigned cap = l->cap ? l->cap * 2 : 8;
		struct amount *v = arena_alloc_n(l->a, cap, sizeof(*v));
		if (l->n)
			memcpy(v, l->v, l->n * sizeof(*v));
		l->v = v;
		l->cap = cap;
	}
	unsigned at = l->n++;
	for (; at && span_cmp(l->v[at - 1].name, name) > 0; at--)
		l->v[at] = l->v[at - 1];
	l->v[at] = (struct amount){ .name = name };
	return &l->v[at];
}

static struct amounts amounts_of(struct arena *a, const struct json *list)
{
	struct amounts l = { .a = a };
	JSON_EACH_MEMBER(list, m) {
		struct api_quantity q = {};
		(void)api_quantity_parse(json_span(&m->value), &q, NULL); /* decoding has refused what is none */
		amount_place(&l, json_key(m))->q = q;
	}
	return l;
}

static void amounts_add(struct amounts *to, const struct amounts *from)
{
	for (unsigned i = 0; i < from->n; i++)
		api_quantity_add(&amount_place(to, from->v[i].name)->q, &from->v[i].q);
}

static void amounts_max(struct amounts *to, const struct amounts *from)
{
	for (unsigned i = 0; i < from->n; i++) {
		struct amount *mine = amount_find(to, from->v[i].name);
		if (!mine || api_quantity_cmp(&from->v[i].q, &mine->q) > 0)
			amount_place(to, from->v[i].name)->q = from->v[i].q;
	}
}

/* What a pod asks for as a whole: its containers and sidecars, or, if more, the init container that asks for most beside the
 * sidecars started before it. which: "requests" or "limits". */
static struct amounts pod_amounts(struct arena *a, const struct json *spec, const char *which)
{
	struct amounts total = { .a = a }, sidecars = { .a = a }, init = { .a = a };
	JSON_EACH_ITEM(json_getl(spec, "containers"), c) {
		struct amounts own = amounts_of(a, json_get(json_getl(c, "resources"), span_of(which)));
		amounts_add(&total, &own);
	}
	JSON_EACH_ITEM(json_getl(spec, "initContainers"), c) {
		struct amounts own = amounts_of(a, json_get(json_getl(c, "resources"), span_of(which)));
		if (span_is(text_of(c, "restartPolicy"), "Always")) {
			amounts_add(&total, &own);
			amounts_add(&sidecars, &own);
			amounts_max(&init, &sidecars);
		} else {
			amounts_add(&own, &sidecars);
			amounts_max(&init, &own);
		}
	}
	amounts_max(&total, &init);
	return total;
}

/* ---- defaults */
static void names_sorted(struct buf *out, const struct amounts *set, const char *what, struct span container, const char *kind)
{
	if (!set->n)
		return;
	if (out->len)
		buf_str(out, "; ");
	for (unsigned i = 0; i < set->n; i++)
		buf_printf(out, "%s%.*s", i ? ", " : "", SPAN_ARG(set->v[i].name));
	buf_printf(out, " %s for %s %.*s", what, kind, SPAN_ARG(container));
}

static struct amounts fill(struct arena *a, struct json *container, const char *which, const struct json *defaults)
{
	struct amounts set = { .a = a };
	JSON_EACH_MEMBER(defaults, m) {
		struct json *list = admission_object(a, admission_object(a, container, "resources"), which);
		if (json_get(list, json_key(m)))
			continue;
		json_set(a, list, json_key(m), m->value);
		amount_place(&set, json_key(m));
	}
	return set;
}

static struct json merged_defaults(struct arena *a, const struct json *range, const char *which)
{
	struct json all = json_object();
	JSON_EACH_ITEM(json_path(range, "spec", "limits", NULL), limit)
		if (span_is(text_of(limit, "type"), "Container"))
			JSON_EACH_MEMBER(json_get(limit, span_of(which)), m)
				json_set(a, &all, json_key(m), m->value);
	return all;
}

static void defaults_set(struct admission *req, const struct json *range)
{
	static const char *const lists[][2] = { { "containers", "container" }, { "initContainers", "init container" } };
	struct arena *a = req->arena;
	struct json requests = merged_defaults(a, range, "defaultRequest"), limits = merged_defaults(a, range, "default");
	auto_buf struct buf note = {};
	for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_get(json_getl(req->object, "spec"), span_of(lists[i][0])), c) {
			struct amounts set_limits = fill(a, c, "limits", &limits);
			struct amounts set_requests = fill(a, c, "requests", &requests);
			names_sorted(&note, &set_requests, "request", text_of(c, "name"), lists[i][1]);
			names_sorted(&note, &set_limits, "limit", text_of(c, "name"), lists[i][1]);
		}
	if (!note.len)
		return;
	struct json *annotations = admission_object(a, admission_object(a, req->object, "metadata"), "annotations");
	json_setl(a, annotations, "kubernetes.io/limit-ranger",
		  json_str(arena_printf(a, "LimitRanger plugin set: %s", buf_cstr(&note))));
}

/* ---- bounds */
struct complaints {
	struct arena *a;
	struct span *v; /* each once */
	unsigned n, cap;
};

static void complain(struct complaints *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void complain(struct complaints *l, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct span text = arena_vprintf(l->a, fmt, ap);
	va_end(ap);
	for (unsigned i = 0; i < l->n; i++)
		if (span_eq(l->v[i], text))
			return;
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 8;
		struct span *v = arena_alloc_n(l->a, l->cap, sizeof(*v));
		if (l->n)
			memcpy(v, l->v, l->n * sizeof(*v));
		l->v = v;
	}
	l->v[l->n++] = text;
}

static const char *text_q(struct arena *a, const struct api_quantity *q)
{
	auto_buf struct buf b = {};
	api_quantity_print(q, &b);
	return arena_cstr(a, buf_span(&b));
}

/* Upstream compares milli units where all three fit, else whole ones. */
struct values {
	int64_t request, limit, enforced;
};
static struct values values_of(const struct amount *request, const struct amount *limit, const struct api_quantity *enforced)
{
	static const struct api_quantity zero;
	const struct api_quantity *r = request ? &request->q : &zero, *l = limit ? &limit->q : &zero;
	const int64_t most = INT64_MAX / 1000;
	struct values v = { api_quantity_value(r), api_quantity_value(l), api_quantity_value(enforced) };
	if (v.request <= most && v.limit <= most && v.enforced <= most)
		v = (struct values){ api_quantity_milli(r), api_quantity_milli(l), api_quantity_milli(enforced) };
	return v;
}

#define ABOUT SPAN_ARG(b->name), SPAN_ARG(type), text_q(l->a, &b->q)
static void check_min(struct complaints *l, struct span type, const struct amount *b, const struct amounts *requests,
		      const struct amounts *limits)
{
	const struct amount *request = amount_find(requests, b->name), *limit = amount_find(limits, b->name);
	struct values v = values_of(request, limit, &b->q);
	if (!request)
		complain(l, "minimum %.*s usage per %.*s is %s.  No request is specified", ABOUT);
	else if (v.request < v.enforced)
		complain(l, "minimum %.*s usage per %.*s is %s, but request is %s", ABOUT, text_q(l->a, &request->q));
	else if (limit && v.limit < v.enforced)
		complain(l, "minimum %.*s usage per %.*s is %s, but limit is %s", ABOUT, text_q(l->a, &limit->q));
}

static void check_max(struct complaints *l, struct span type, const struct amount *b, const struct amounts *requests,
		      const struct amounts *limits)
{
	const struct amount *request = amount_find(requests, b->name), *limit = amount_find(limits, b->name);
	struct values v = values_of(request, limit, &b->q);
	if (!limit)
		complain(l, "maximum %.*s usage per %.*s is %s.  No limit is specified", ABOUT);
	else if (v.limit > v.enforced)
		complain(l, "maximum %.*s usage per %.*s is %s, but limit is %s", ABOUT, text_q(l->a, &limit->q));
	else if (request && v.request > v.enforced)
		complain(l, "maximum %.*s usage per %.*s is %s, but request is %s", ABOUT, text_q(l->a, &request->q));
}

static void check_max_request(struct complaints *l, struct span type, const struct amount *b, const struct amounts *requests)
{
	const struct amount *request = amount_find(requests, b->name);
	struct values v = values_of(request, NULL, &b->q);
	if (!request)
		complain(l, "maximum %.*s usage per %.*s is %s.  No request is specified", ABOUT);
	else if (v.request > v.enforced)
		complain(l, "maximum %.*s usage per %.*s is %s, but request is %s", ABOUT, text_q(l->a, &request->q));
}

static void check_ratio(struct complaints *l, struct span type, const struct amount *b, const struct amounts *requests,
			const struct amounts *limits)
{
	const struct amount *request = amount_find(requests, b->name), *limit = amount_find(limits, b->name);
	struct values v = values_of(request, limit, &b->q);
	if (!request || v.request == 0) {
		complain(l, "%.*s max limit to request ratio per %.*s is %s, but no request is specified or request is 0", ABOUT);
		return;
	}
	if (!limit || v.limit == 0) {
		complain(l, "%.*s max limit to request ratio per %.*s is %s, but no limit is specified or limit is 0", ABOUT);
		return;
	}
	double ratio = (double)v.limit / (double)v.request, shown = ratio, most = (double)api_quantity_value(&b->q);
	if (api_quantity_value(&b->q) <= INT64_MAX / 1000) {
		ratio *= 1000;
		most = (double)api_quantity_milli(&b->q);
	}
	if (ratio > most)
		complain(l, "%.*s max limit to request ratio per %.*s is %s, but provided ratio is %f", ABOUT, shown);
}
#undef ABOUT

static void check_all(struct complaints *l, const struct json *limit, const struct amounts *requests, const struct amounts *limits)
{
	struct span type = text_of(limit, "type");
	struct amounts min = amounts_of(l->a, json_getl(limit, "min")), max = amounts_of(l->a, json_getl(limit, "max"));
	struct amounts ratio = amounts_of(l->a, json_getl(limit, "maxLimitRequestRatio"));
	for (unsigned i = 0; i < min.n; i++)
		check_min(l, type, &min.v[i], requests, limits);
	for (unsigned i = 0; i < max.n; i++)
		check_max(l, type, &max.v[i], requests, limits);
	for (unsigned i = 0; i < ratio.n; i++)
		check_ratio(l, type, &ratio.v[i], requests, limits);
}

static void check_containers(struct complaints *l, const struct json *limit, const struct json *containers)
{
	JSON_EACH_ITEM(containers, c) {
		struct amounts requests = amounts_of(l->a, json_path(c, "resources", "requests", NULL));
		struct amounts limits = amounts_of(l->a, json_path(c, "resources", "limits", NULL));
		check_all(l, limit, &requests, &limits);
	}
}

static void check_pod(struct complaints *l, const struct json *range, const struct json *spec)
{
	JSON_EACH_ITEM(json_path(range, "spec", "limits", NULL), limit) {
		if (span_is(text_of(limit, "type"), "Container")) {
			check_containers(l, limit, json_getl(spec, "containers"));
			check_containers(l, limit, json_getl(spec, "initContainers"));
		} else if (span_is(text_of(limit, "type"), "Pod")) {
			struct amounts requests = pod_amounts(l->a, spec, "requests"), limits = pod_amounts(l->a, spec, "limits");
			check_all(l, limit, &requests, &limits);
		}
	}
}

static void check_claim(struct complaints *l, const struct json *range, const struct json *spec)
{
	struct amounts requests = amounts_of(l->a, json_path(spec, "resources", "requests", NULL)), none = { .a = l->a };
	JSON_EACH_ITEM(json_path(range, "spec", "limits", NULL), limit) {
		struct span type = text_of(limit, "type");
		if (!span_is(type, "PersistentVolumeClaim"))
			continue;
		struct amounts min = amounts_of(l->a, json_getl(limit, "min")), max = amounts_of(l->a, json_getl(limit, "max"));
		for (unsigned i = 0; i < min.n; i++)
			check_min(l, type, &min.v[i], &requests, &none);
		for (unsigned i = 0; i < max.n; i++)
			check_max_request(l, type, &max.v[i], &requests);
	}
}

/* ---- the plugin */
static bool handles(const struct admission *req)
{
	bool pod = admission_is(req, "", "pods");
	if (pod && span_is(req->subresource, "resize") && req->op == ADMISSION_UPDATE)
		return true;
	if (req->subresource.len || (pod && req->op == ADMISSION_UPDATE)) /* what counts cannot change there */
		return false;
	return pod || admission_is(req, "", "persistentvolumeclaims");
}

int admission_limits_mutate(struct admission *req, struct err *err)
{
	if (!handles(req) || !admission_is(req, "", "pods"))
		return 0;
	JSON_EACH_ITEM(admission_list(req, "", "limitranges", req->ns), range)
		defaults_set(req, range);
	return 0;
}

int admission_limits_validate(struct admission *req, struct err *err)
{
	if (!handles(req))
		return 0;
	const struct json *spec = json_getl(req->object, "spec");
	JSON_EACH_ITEM(admission_list(req, "", "limitranges", req->ns), range) {
		struct complaints l = { .a = req->arena };
		if (admission_is(req, "", "pods"))
			check_pod(&l, range, spec);
		else
			check_claim(&l, range, spec);
		if (!l.n)
			continue;
		auto_buf struct buf text = {};
		for (unsigned i = 0; i < l.n; i++)
			buf_printf(&text, "%s%.*s", i ? ", " : "", SPAN_ARG(l.v[i]));
		return admission_forbid(req, err, l.n > 1 ? "[%s]" : "%s", buf_cstr(&text));
	}
	return 0;
}
