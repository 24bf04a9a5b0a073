/* Which pod a command means: itself, or the best one of what stands for it (k8s.io/kubectl/pkg/polymorphichelpers). */
#include "front/private.h"

static const struct client_kind pods = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("pods"), true };

int front_pod_container(const struct json *pod, bool quiet, struct span *out, struct err *err)
{
	static const char *const lists[] = { "containers", "initContainers", "ephemeralContainers" };
	const struct json *list = json_path(pod, "spec", "containers", NULL);
	struct span wish = json_span(json_get(json_path(pod, "metadata", "annotations", NULL),
		SPAN("kubectl.kubernetes.io/default-container")));
	auto_buf struct buf names = {};
	unsigned n = 0;
	if (!json_is(list, JSON_ARRAY) || !list->n)
		return err_set(err, ERR_UPSTREAM, "the pod has no containers");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_path(pod, "spec", lists[i], NULL), c) {
			struct span name = json_span(json_getl(c, "name"));
			if (wish.len && span_eq(name, wish)) {
				*out = wish;
				return 0;
			}
			buf_printf(&names, "%s%.*s%s", n++ ? ", " : "", SPAN_ARG(name), i == 1 ? " (init)" : i == 2 ? " (ephem)" : "");
		}
	*out = json_span(json_getl(&list->items[0], "name"));
	if (n > 1 && !quiet)
		(void)fprintf(stderr, "Defaulted container \"%.*s\" out of: %s\n", SPAN_ARG(*out), buf_cstr(&names));
	return 0;
}

/* The text of a label selector out of an object's spec.selector. */
static int selector_text(struct front *f, const struct json *object, struct buf *out, struct err *err)
{
	const struct json *s = json_path(object, "spec", "selector", NULL);
	struct arena *a = &f->arena;
	struct api_label_selector sel;
	int rc = 0;
	if (json_getl(s, "matchLabels") || json_getl(s, "matchExpressions"))
		rc = api_label_selector_of(a, s, &sel, err);
	else
		api_label_selector_of_map(a, s, &sel); /* ReplicationController, Service */
	if (rc < 0)
		return rc;
	api_label_selector_print(&sel, out);
	return out->len ? 0 : err_set(err, ERR_USAGE, "%.*s has no selector, so no pods", SPAN_ARG(json_span(json_getl(object,
		"kind"))));
}

int front_pods_list(struct front *f, struct span ns, struct span selector, struct json *out, struct err *err)
{
	auto_buf struct buf path = {};
	client_path(&path, &pods, ns, SPAN_EMPTY, NULL);
	buf_str(&path, "?labelSelector=");
	percent_add(&path, selector, NULL);
	return front_ask(f, &(struct front_request){ .path = buf_span(&path) }, out, err);
}

/* How kubectl orders them (podutils.ByLogging): those that are ready first, then the oldest. */
static bool ready(const struct json *pod)
{
	JSON_EACH_ITEM(json_path(pod, "status", "conditions", NULL), c)
		if (span_is(json_span(json_getl(c, "type")), "Ready"))
			return span_is(json_span(json_getl(c, "status")), "True");
	return false;
}

static const struct json *best(const struct json *items)
{
	const struct json *b = NULL;
	JSON_EACH_ITEM(items, pod) {
		struct span born = json_span(json_path(pod, "metadata", "creationTimestamp", NULL));
		if (!b || ready(pod) > ready(b) ||
		    (ready(pod) == ready(b) && span_cmp(born, json_span(json_path(b, "metadata", "creationTimestamp", NULL))) < 0))
			b = pod;
	}
	return b;
}

int front_pod_of(struct front *f, const struct front_target *t, struct json *out_object, struct json *out_pod, unsigned *out_n,
		 struct err *err)
{
	auto_buf struct buf path = {}, selector = {};
	struct json list;
	front_target_path(&path, t, NULL);
	*out_n = 1;
	int rc = front_ask(f, &(struct front_request){ .path = buf_span(&path) }, out_object, err);
	if (rc < 0)
		return rc;
	if (span_is(t->resource->plural, "pods") && !t->resource->group.len) {
		*out_pod = *out_object;
		return 0;
	}
	rc = selector_text(f, out_object, &selector, err);
	if (rc == 0)
		rc = front_pods_list(f, t->ns, buf_span(&selector), &list, err);
	if (rc < 0)
		return rc;
	const struct json *items = json_getl(&list, "items"), *pod = best(items);
	if (!pod)
		return err_set(err, ERR_TIMEOUT, "timed out waiting for the condition");
	*out_n = items->n;
	*out_pod = *pod;
	return 0;
}
