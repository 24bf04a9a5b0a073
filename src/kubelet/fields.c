/* Fields and resources of a pod by their paths: fieldRef, resourceFieldRef. */
#include "kubelet/env.h"

/* key="value", one a line, by key (maps of typed objects are in the order of their keys): fieldpath.FormatMap. */
static struct span map_text(struct arena *a, const struct api_pair *pairs, uint32_t n)
{
	auto_buf struct buf b = {};
	for (uint32_t i = 0; i < n; i++) {
		buf_printf(&b, "%s%.*s=", i ? "\n" : "", SPAN_ARG(pairs[i].key));
		api_go_quote(&b, pairs[i].value);
	}
	return arena_span(a, buf_span(&b));
}

static struct span join(struct arena *a, const struct span *items, unsigned n)
{
	auto_buf struct buf b = {};
	for (unsigned i = 0; i < n; i++)
		buf_printf(&b, "%s%.*s", i ? "," : "", SPAN_ARG(items[i]));
	return arena_span(a, buf_span(&b));
}

/* metadata.labels['key'] */
static bool subscript(struct span path, struct span map, struct span *out_key)
{
	if (!span_starts(path, map) || !span_starts(span_from(path, map.len), SPAN("['")) || !span_ends(path, SPAN("']")) ||
	    path.len < map.len + 4)
		return false;
	*out_key = span_sub(path, map.len + 2, path.len - 2);
	return true;
}

int kl_field_value(struct arena *a, const struct api_core_pod *pod, const struct kl_facts *f, struct span path, struct span *out,
		   struct err *err)
{
	const struct api_meta_object_meta *m = &pod->metadata;
	struct span key, v;
	if (subscript(path, SPAN("metadata.annotations"), &key))
		v = api_pair_get(m->annotations.ptr, m->annotations.n, key);
	else if (subscript(path, SPAN("metadata.labels"), &key))
		v = api_pair_get(m->labels.ptr, m->labels.n, key);
	else if (span_is(path, "metadata.annotations"))
		v = map_text(a, m->annotations.ptr, m->annotations.n);
	else if (span_is(path, "metadata.labels"))
		v = map_text(a, m->labels.ptr, m->labels.n);
	else if (span_is(path, "metadata.name"))
		v = m->name;
	else if (span_is(path, "metadata.namespace"))
		v = m->namespace;
	else if (span_is(path, "metadata.uid"))
		v = m->uid;
	else if (span_is(path, "spec.nodeName"))
		v = f->node_name;
	else if (span_is(path, "spec.serviceAccountName"))
		v = pod->spec.service_account_name;
	else if (span_is(path, "status.hostIP"))
		v = f->n_host_ips ? f->host_ips[0] : SPAN_EMPTY;
	else if (span_is(path, "status.hostIPs"))
		v = join(a, f->host_ips, f->n_host_ips);
	else if (span_is(path, "status.podIP"))
		v = f->n_pod_ips ? f->pod_ips[0] : SPAN_EMPTY;
	else if (span_is(path, "status.podIPs"))
		v = join(a, f->pod_ips, f->n_pod_ips);
	else
		return err_set(err, ERR_INVALID, "unsupported fieldPath: %.*s", SPAN_ARG(path));
	*out = v.ptr ? v : SPAN("");
	return 0;
}

static const struct api_core_container *container_find(const struct api_core_pod *pod, struct span name)
{
	for (uint32_t i = 0; i < pod->spec.containers.n; i++)
		if (span_eq(pod->spec.containers.ptr[i].name, name))
			return &pod->spec.containers.ptr[i];
	for (uint32_t i = 0; i < pod->spec.init_containers.n; i++)
		if (span_eq(pod->spec.init_containers.ptr[i].name, name))
			return &pod->spec.init_containers.ptr[i];
	return NULL;
}

static bool quantity_of(struct span text, struct api_quantity *out)
{
	return text.len && api_quantity_parse(text, out, NULL) == 0;
}

/* Rounded up as upstream: milli units of CPU, whole units of everything else. */
static int64_t divided(const struct api_quantity *q, const struct api_quantity *by, bool cpu)
{
	int64_t n = cpu ? api_quantity_milli(q) : api_quantity_value(q);
	int64_t d = cpu ? api_quantity_milli(by) : api_quantity_value(by);
	if (d <= 0)
		d = cpu ? 1000 : 1;
	return n / d + (n % d > 0);
}

int kl_resource_value(struct arena *a, const struct api_core_pod *pod, const struct api_core_container *own,
	const struct kl_facts *f,
		      const struct api_core_resource_field_selector *ref, struct span *out, struct err *err)
{
	struct span which, resource = ref->resource, name;
	const struct api_core_container *c = ref->container_name.len ? container_find(pod, ref->container_name) : own;
	struct api_quantity q = {}, by;
	if (!c)
		return err_set(err, ERR_INVALID, "container %.*s not found", SPAN_ARG(ref->container_name));
	bool split = span_split(resource, '.', &which, &name);
	bool limits = split && span_is(which, "limits"), cpu = span_is(name, "cpu");
	if (!split || (!limits && !span_is(which, "requests")) ||
	    (!cpu && !span_is(name, "memory") && !span_is(name, "ephemeral-storage") && !span_starts(name, SPAN("hugepages-"))))
		return err_set(err, ERR_INVALID, "unsupported container resource : %.*s", SPAN_ARG(resource));
	if (!quantity_of(ref->divisor, &by) || api_quantity_sign(&by) == 0)
		by = api_quantity_of(1, 0, API_QUANTITY_DECIMAL);
	struct span text = limits ? api_pair_get(c->resources.limits.ptr, c->resources.limits.n, name) :
				    api_pair_get(c->resources.requests.ptr, c->resources.requests.n, name);
	if (limits && (!quantity_of(text, &q) || api_quantity_sign(&q) == 0)) /* who has no limit may use the node */
		text = cpu ? f->cpu : span_is(name, "memory") ? f->memory : span_is(name, "ephemeral-storage") ? f->storage : SPAN_EMPTY;
	if (!quantity_of(text, &q))
		q = (struct api_quantity){};
	*out = arena_printf(a, "%lld", (long long)divided(&q, &by, cpu));
	return 0;
}
