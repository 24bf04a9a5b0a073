/* May this pod run here? Upstream's canAdmitPod (lifecycle/predicate.go): what the scheduler decided may be out of date, and pods
 * that name their node were never looked at. Reasons and messages are those of status.reason and of the event. */
#include "kubelet/config.h"
#include "kubelet/node.h"
#include "kubelet/worker.h"

/* Those that hold resources: here before, and not over. */
static bool counts(const struct kl_pod *o, const struct kl_pod *p)
{
	return o != p && o->object && o->worker && o->worker->stage != KL_NEW && o->worker->stage != KL_ENDED && !o->worker->reason;
}

static bool room(struct arena *a, const struct kl_pod *p, const char *name, int64_t wanted, int64_t used, int64_t capacity,
		 const char **out_reason, struct span *out_message)
{
	if (wanted == 0 || wanted <= capacity - used)
		return true;
	*out_reason = arena_printf(a, "OutOf%s", name).ptr;
	*out_message = arena_printf(a, "Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld", name,
				    (long long)wanted, (long long)used, (long long)capacity);
	return false;
}

static bool fits(struct arena *a, const struct kl_pod *p, const char **out_reason, struct span *out_message)
{
	struct kl_amounts all;
	struct kl_sums want, used = {};
	int64_t n = 0;
	size_t pos = 0;
	kl_node_allocatable(p->k, &all);
	kl_sums(&p->object->pod.spec, &want);
	for (struct kl_pod *o; (o = kl_pod_next(p->k, &pos));) {
		struct kl_sums one;
		if (!counts(o, p))
			continue;
		kl_sums(&o->object->pod.spec, &one);
		n++;
		used.cpu_request = kl_plus(used.cpu_request, one.cpu_request);
		used.memory_request = kl_plus(used.memory_request, one.memory_request);
		used.storage_request = kl_plus(used.storage_request, one.storage_request);
	}
	return room(a, p, "pods", 1, n, all.pods, out_reason, out_message) &&
	       room(a, p, "cpu", want.cpu_request, used.cpu_request, all.cpu_milli, out_reason, out_message) &&
	       room(a, p, "memory", want.memory_request, used.memory_request, all.memory, out_reason, out_message) &&
	       room(a, p, "ephemeral-storage", want.storage_request, used.storage_request, all.storage, out_reason, out_message);
}

static bool same_port(const struct api_core_container_port *x, const struct api_core_container_port *y)
{
	bool any = !x->host_ip.len || !y->host_ip.len || span_is(x->host_ip, "0.0.0.0") || span_is(y->host_ip, "0.0.0.0");
	return x->host_port == y->host_port && span_eq(x->protocol, y->protocol) && (any || span_eq(x->host_ip, y->host_ip));
}

/* Does a pod have this port of the host? */
static bool has_port(const struct api_core_pod_spec *s, const struct api_core_container_port *wanted)
{
	for (unsigned i = 0; i < s->init_containers.n + s->containers.n; i++) {
		const struct api_core_container *c = kl_spec_container(s, i, NULL);
		for (uint32_t k = 0; k < c->ports.n; k++)
			if (same_port(wanted, &c->ports.ptr[k]))
				return true;
	}
	return false;
}

/* Does a pod have one of those that the other wants? */
static bool ports_clash(const struct api_core_pod_spec *has, const struct api_core_pod_spec *wants)
{
	for (unsigned i = 0; i < wants->init_containers.n + wants->containers.n; i++) {
		const struct api_core_container *c = kl_spec_container(wants, i, NULL);
		for (uint32_t k = 0; k < c->ports.n; k++)
			if (c->ports.ptr[k].host_port && has_port(has, &c->ports.ptr[k]))
				return true;
	}
	return false;
}

static bool ports_free(const struct kl_pod *p)
{
	size_t pos = 0;
	for (struct kl_pod *o; (o = kl_pod_next(p->k, &pos));)
		if (counts(o, p) && ports_clash(&o->object->pod.spec, &p->object->pod.spec))
			return false;
	return true;
}

static bool requirement(const struct api_core_node_selector_requirement *r, struct span value, bool there)
{
	bool in = false;
	int64_t have, than;
	for (uint32_t i = 0; i < r->values.n; i++)
		in |= there && span_eq(r->values.ptr[i], value);
	if (span_is(r->operator, "In"))
		return in;
	if (span_is(r->operator, "NotIn"))
		return !in;
	if (span_is(r->operator, "Exists"))
		return there;
	if (span_is(r->operator, "DoesNotExist"))
		return !there;
	if (!there || r->values.n != 1 || !span_to_i64(value, &have) || !span_to_i64(r->values.ptr[0], &than))
		return false;
	return span_is(r->operator, "Gt") ? have > than : span_is(r->operator, "Lt") && have < than;
}

static bool term(const struct api_core_node_selector_term *t, const struct api_core_node *n)
{
	for (uint32_t i = 0; i < t->match_expressions.n; i++) {
		struct span v = api_pair_get(n->metadata.labels.ptr, n->metadata.labels.n, t->match_expressions.ptr[i].key);
		if (!requirement(&t->match_expressions.ptr[i], v, v.ptr != NULL))
			return false;
	}
	for (uint32_t i = 0; i < t->match_fields.n; i++)
		if (!requirement(&t->match_fields.ptr[i], n->metadata.name, span_is(t->match_fields.ptr[i].key, "metadata.name")))
			return false;
	return t->match_expressions.n + t->match_fields.n > 0;
}

static bool selected(const struct api_core_pod_spec *s, const struct api_core_node *n)
{
	for (uint32_t i = 0; i < s->node_selector.n; i++) {
		struct span v = api_pair_get(n->metadata.labels.ptr, n->metadata.labels.n, s->node_selector.ptr[i].key);
		if (!v.ptr || !span_eq(v, s->node_selector.ptr[i].value))
			return false;
	}
	const struct api_core_node_selector *req = s->affinity && s->affinity->node_affinity ?
		s->affinity->node_affinity->required_during_scheduling_ignored_during_execution : NULL;
	if (!req)
		return true;
	for (uint32_t i = 0; i < req->node_selector_terms.n; i++)
		if (term(&req->node_selector_terms.ptr[i], n))
			return true;
	return false;
}

static bool tolerated(const struct api_core_pod_spec *s, const struct api_core_taint *t)
{
	for (uint32_t i = 0; i < s->tolerations.n; i++) {
		const struct api_core_toleration *o = &s->tolerations.ptr[i];
		if (o->effect.len && !span_eq(o->effect, t->effect))
			continue;
		if (o->key.len && !span_eq(o->key, t->key))
			continue;
		if (span_is(o->operator, "Exists") || (o->key.len && span_eq(o->value, t->value)))
			return true;
	}
	return false;
}

/* Sysctls that no other pod can feel, and those that --allowed-unsafe-sysctls names. */
static bool sysctl_allowed(const struct kl_options *o, struct span name)
{
	static const char *const safe[] = {
		"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
		"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
		"net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem",
		"net.ipv4.tcp_wmem",
	};
	struct span rest = o->allowed_sysctls, one;
	for (size_t i = 0; i < ARRAY_LEN(safe); i++)
		if (span_is(name, safe[i]))
			return true;
	while (span_cut(&rest, ',', &one))
		if (span_eq(name, one) || (span_ends(one, SPAN("*")) && span_starts(name, span_sub(one, 0, one.len - 1))))
			return true;
	return false;
}

static bool refuse(struct arena *a, const char *plugin, const char *words, const char **out_reason, struct span *out_message)
{
	*out_reason = plugin;
	*out_message = arena_printf(a, "Predicate %s failed: %s", plugin, words);
	return false;
}

bool kl_admit(struct arena *a, const struct kl_pod *p, const char **out_reason, struct span *out_message)
{
	const struct api_core_pod_spec *s = &p->object->pod.spec;
	const struct api_core_node *n = kl_node_object(p->k);
	if (n && !selected(s, n))
		return refuse(a, "NodeAffinity", "node(s) didn't match Pod's node affinity/selector", out_reason, out_message);
	if (s->os && s->os->name.len && !span_is(s->os->name, "linux")) {
		*out_reason = "PodOSNotSupported";
		*out_message = SPAN("Failed to admit pod as the OS field doesn't match node OS");
		return false;
	}
	for (uint32_t i = 0; n && i < n->spec.taints.n; i++)
		if (span_is(n->spec.taints.ptr[i].effect, "NoExecute") && !p->is_static && !tolerated(s, &n->spec.taints.ptr[i]))
			return refuse(a, "TaintToleration", "node(s) had taints that the pod didn't tolerate", out_reason, out_message);
	for (uint32_t i = 0; s->security_context && i < s->security_context->sysctls.n; i++)
		if (!sysctl_allowed(p->k->o, s->security_context->sysctls.ptr[i].name)) {
			*out_reason = "SysctlForbidden";
			*out_message = arena_printf(a, "forbidden sysctl: \"%.*s\" not allowlisted",
						    SPAN_ARG(s->security_context->sysctls.ptr[i].name));
			return false;
		}
	if (!fits(a, p, out_reason, out_message))
		return false;
	if (!ports_free(p))
		return refuse(a, "NodePorts", "node(s) didn't have free ports for the requested pod ports", out_reason, out_message);
	return true;
}
