/* Columns: what controllers look at often, taken out of an object once, in one block of memory. */
#include "controllers/frame.h"

static enum pod_phase phase_of(struct span s)
{
	return span_is(s, "Running")	 ? POD_RUNNING
	       : span_is(s, "Succeeded") ? POD_SUCCEEDED
	       : span_is(s, "Failed")	 ? POD_FAILED
	       : span_is(s, "Unknown")	 ? POD_UNKNOWN
					 : POD_PENDING;
}

static void most_restarts(const struct json *statuses, int32_t *out)
{
	JSON_EACH_ITEM(statuses, s) {
		int64_t n = tree_int(s, "restartCount", 0);
		if (n > *out)
			*out = n < INT32_MAX ? (int32_t)n : INT32_MAX;
	}
}

static void pod_columns(struct row *r, const struct json *pod)
{
	const struct json *status = tree_get(pod, "status");
	const struct json *ready = tree_find(tree_get(status, "conditions"), "type", SPAN("Ready"));
	int64_t cost;
	r->phase = phase_of(tree_span(status, "phase"));
	r->ready = span_is(tree_span(ready, "status"), "True");
	r->ready_s = r->ready ? tree_time(tree_get(ready, "lastTransitionTime")) : 0;
	most_restarts(tree_get(status, "containerStatuses"), &r->restarts);
	most_restarts(tree_get(status, "initContainerStatuses"), &r->sidecar_restarts);
	if (span_to_i64(tree_annotation(pod, "controller.kubernetes.io/pod-deletion-cost"), &cost) && cost >= INT32_MIN &&
	    cost <= INT32_MAX)
		r->deletion_cost = (int32_t)cost;
}

static struct span keep(char **place, struct span s)
{
	struct span kept = { *place, s.len };
	if (s.len)
		memcpy(*place, s.ptr, s.len);
	*place += s.len;
	return kept;
}

static size_t pairs_len(const struct api_label_set *set)
{
	size_t n = 0;
	for (unsigned i = 0; i < set->n; i++)
		n += set->items[i].key.len + set->items[i].value.len;
	return n;
}

static struct api_label_set keep_pairs(char **place, struct api_label *to, const struct api_label_set *set)
{
	for (unsigned i = 0; i < set->n; i++)
		to[i] = (struct api_label){ keep(place, set->items[i].key), keep(place, set->items[i].value) };
	return (struct api_label_set){ set->n, to };
}

struct row *row_new(enum cm_kind kind, const struct json *object)
{
	auto_arena struct arena a = {};
	const struct json *owner = NULL;
	JSON_EACH_ITEM(tree_meta(object, "ownerReferences"), o)
		if (tree_bool(o, "controller", false))
			owner = o;
	struct api_label_set labels = api_label_set_of(&a, tree_meta(object, "labels"));
	struct span uid = tree_span(owner, "uid"), owner_kind = tree_span(owner, "kind"), name = tree_span(owner, "name");
	struct span node = kind == CM_PODS ? tree_span(tree_get(object, "spec"), "nodeName") : SPAN_EMPTY;
	struct span ip = kind == CM_PODS ? tree_span(tree_get(object, "status"), "podIP") : SPAN_EMPTY;
	struct api_label_set selector =
		api_label_set_of(&a, kind == CM_SERVICES ? tree_get(tree_get(object, "spec"), "selector") : NULL);
	size_t size = sizeof(struct row) + (labels.n + selector.n) * sizeof(struct api_label);
	size += uid.len + owner_kind.len + name.len + node.len + ip.len + pairs_len(&labels) + pairs_len(&selector);
	struct row *r = mem_zalloc(size);
	struct api_label *items = (struct api_label *)(r + 1);
	char *place = (char *)(items + labels.n + selector.n);
	r->labels = keep_pairs(&place, items, &labels);
	r->selector = keep_pairs(&place, items + labels.n, &selector);
	r->ip = keep(&place, ip);
	r->owner_uid = keep(&place, uid);
	r->owner_kind = keep(&place, owner_kind);
	r->owner_name = keep(&place, name);
	r->node = keep(&place, node);
	r->created_s = tree_time(tree_meta(object, "creationTimestamp"));
	r->deleted_s = tree_time(tree_meta(object, "deletionTimestamp"));
	if (kind == CM_PODS)
		pod_columns(r, object);
	return r;
}

bool row_active(const struct row *r)
{
	return r->phase != POD_SUCCEEDED && r->phase != POD_FAILED && !r->deleted_s;
}

bool row_available(const struct row *r, int32_t min_ready_s, int64_t now_s)
{
	return r->ready && (min_ready_s == 0 || (r->ready_s && r->ready_s + min_ready_s <= now_s));
}

bool row_same_labels(const struct row *a, const struct row *b)
{
	if (a->labels.n != b->labels.n)
		return false;
	for (unsigned i = 0; i < a->labels.n; i++)
		if (!span_eq(a->labels.items[i].key, b->labels.items[i].key) ||
		    !span_eq(a->labels.items[i].value, b->labels.items[i].value))
			return false;
	return true;
}

bool row_selects(const struct row *service, const struct row *pod)
{
	const struct api_label_set *want = &service->selector, *has = &pod->labels;
	unsigned k = 0;
	for (unsigned i = 0; i < want->n; i++) { /* both are sorted by key */
		while (k < has->n && span_cmp(has->items[k].key, want->items[i].key) < 0)
			k++;
		if (k == has->n || !span_eq(has->items[k].key, want->items[i].key) || !span_eq(has->items[k].value, want->items[i].value))
			return false;
	}
	return want->n > 0;
}
