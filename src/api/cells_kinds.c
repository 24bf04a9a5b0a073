/* The cells of built-in kinds that are more than a member: one function each, called by the rows of cells.c. */
#include "api/cells_private.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "api/times.h"

static unsigned count(const struct json *v)
{
	return json_is(v, JSON_ARRAY) || json_is(v, JSON_OBJECT) ? v->n : 0;
}

/* Comma lists: each item of out is added with this. */
static void item_add(struct buf *out, const char *separator, struct span item)
{
	if (out->len)
		buf_str(out, separator);
	buf_span_add(out, item);
}

static struct json or_else(struct arena *a, struct buf *text, const char *otherwise)
{
	if (text->len)
		return api_cell_done(a, text);
	return json_cstr(otherwise);
}

static int span_order(const void *x, const void *y)
{
	return span_cmp(*(const struct span *)x, *(const struct span *)y);
}

/* The first three items and how many more there are. */
struct some {
	struct buf text;
	unsigned n;
};
static void some_add(struct some *s, struct span item)
{
	if (s->n++ < 3)
		item_add(&s->text, ",", item);
}
static struct json some_done(struct arena *a, struct some *s, const char *otherwise)
{
	if (s->n > 3)
		buf_printf(&s->text, " + %u more...", s->n - 3);
	struct json v = or_else(a, &s->text, otherwise);
	buf_done(&s->text);
	return v;
}

/* ---- functions of several kinds */
struct json api_cell_names(const struct cell_ctx *c, const char *path, const char *member)
{
	auto_buf struct buf out = {};
	JSON_EACH_ITEM(api_cell_get(c->object, path), i)
		item_add(&out, ",", api_cell_str(i, member));
	return api_cell_done(c->arena, &out);
}

struct json api_cell_selector_map(const struct cell_ctx *c, const char *path)
{
	struct api_label_selector sel;
	auto_buf struct buf out = {};
	api_label_selector_of_map(c->arena, api_cell_get(c->object, path), &sel);
	api_label_selector_print(&sel, &out);
	return or_else(c->arena, &out, "<none>");
}

struct json api_cell_selector_struct(const struct cell_ctx *c, const char *path, const char *none, const char *bad)
{
	struct api_label_selector sel;
	auto_buf struct buf out = {};
	if (api_label_selector_of(c->arena, api_cell_get(c->object, path), &sel, NULL) < 0)
		return json_cstr(bad);
	api_label_selector_print(&sel, &out);
	return or_else(c->arena, &out, none);
}

static struct json access_modes(const struct cell_ctx *c, const char *path)
{
	static const char *const modes[][2] = { { "ReadWriteOnce", "RWO" }, { "ReadOnlyMany", "ROX" },
						{ "ReadWriteMany", "RWX" }, { "ReadWriteOncePod", "RWOP" } };
	auto_buf struct buf out = {};
	for (size_t m = 0; m < ARRAY_LEN(modes); m++)
		JSON_EACH_ITEM(api_cell_get(c->object, path), i)
			if (span_is(json_span(i), modes[m][0])) {
				item_add(&out, ",", span_of(modes[m][1]));
				break;
			}
	return api_cell_done(c->arena, &out);
}

static struct json subjects(const struct cell_ctx *c, const char *kind)
{
	auto_buf struct buf out = {};
	JSON_EACH_ITEM(api_cell_get(c->object, "subjects"), s) {
		if (!span_is(api_cell_str(s, "kind"), kind))
			continue;
		if (span_is(span_of(kind), "ServiceAccount"))
			item_add(&out, ", ", arena_printf(c->arena, "%.*s/%.*s", SPAN_ARG(api_cell_str(s, "namespace")),
							  SPAN_ARG(api_cell_str(s, "name"))));
		else
			item_add(&out, ", ", api_cell_str(s, "name"));
	}
	return api_cell_done(c->arena, &out);
}
struct json api_cell_subjects_user(const struct cell_ctx *c)
{
	return subjects(c, "User");
}
struct json api_cell_subjects_group(const struct cell_ctx *c)
{
	return subjects(c, "Group");
}
struct json api_cell_subjects_account(const struct cell_ctx *c)
{
	return subjects(c, "ServiceAccount");
}

static struct json pair(const struct cell_ctx *c, const char *first, const char *second)
{
	return json_str(arena_printf(c->arena, "%.*s/%.*s", SPAN_ARG(api_cell_str(c->object, first)),
				     SPAN_ARG(api_cell_str(c->object, second))));
}
struct json api_cell_role_ref(const struct cell_ctx *c)
{
	return pair(c, "roleRef.kind", "roleRef.name");
}

struct json api_cell_ready_of_wanted(const struct cell_ctx *c)
{
	return json_str(arena_printf(c->arena, "%lld/%lld", (long long)api_cell_int(c->object, "status.readyReplicas"),
				     (long long)api_cell_int(c->object, "spec.replicas")));
}

struct json api_cell_phase_or_terminating(const struct cell_ctx *c)
{
	if (api_cell_str(c->object, "metadata.deletionTimestamp").len)
		return json_cstr("Terminating");
	return json_str(api_cell_str(c->object, "status.phase"));
}

struct json api_cell_storage_class(const struct cell_ctx *c)
{
	struct span beta = json_span(json_get(api_cell_get(c->object, "metadata.annotations"),
					      SPAN("volume.beta.kubernetes.io/storage-class")));
	return json_str(beta.len ? beta : api_cell_str(c->object, "spec.storageClassName"));
}

struct json api_cell_deployment_selector(const struct cell_ctx *c)
{
	return api_cell_selector_struct(c, "spec.selector", "", "<invalid>");
}

/* ---- functions of one kind */
struct json api_cell_job_status(const struct cell_ctx *c)
{
	static const char *const types[] = { "Complete", "Failed", NULL, "Suspended", "FailureTarget" };
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (!types[i]) {
			if (api_cell_str(c->object, "metadata.deletionTimestamp").len)
				return json_cstr("Terminating");
		} else if (span_is(api_cell_str(api_cell_condition(c->object, types[i]), "status"), "True")) {
			return json_cstr(types[i]);
		}
	}
	return json_cstr("Running");
}

struct json api_cell_job_completions(const struct cell_ctx *c)
{
	long long done = api_cell_int(c->object, "status.succeeded"), parallel = api_cell_int(c->object, "spec.parallelism");
	if (api_cell_get(c->object, "spec.completions"))
		return json_str(arena_printf(c->arena, "%lld/%lld", done, (long long)api_cell_int(c->object, "spec.completions")));
	if (parallel > 1)
		return json_str(arena_printf(c->arena, "%lld/1 of %lld", done, parallel));
	return json_str(arena_printf(c->arena, "%lld/1", done));
}

struct json api_cell_job_duration(const struct cell_ctx *c)
{
	struct span start = api_cell_str(c->object, "status.startTime"), end = api_cell_str(c->object, "status.completionTime");
	int64_t s;
	int32_t ns;
	struct cell_ctx until = *c;
	if (!start.len)
		return json_cstr("");
	if (end.len && time_parse(end.ptr, end.len, &s, &ns) == 0)
		until.now_unix_s = s;
	return api_cell_age(&until, start);
}

struct json api_cell_cron_suspend(const struct cell_ctx *c)
{
	const struct json *v = api_cell_get(c->object, "spec.suspend");
	return json_cstr(!v ? "<unset>" : json_truth(v, false) ? "True" : "False");
}

struct json api_cell_cron_last(const struct cell_ctx *c)
{
	struct span last = api_cell_str(c->object, "status.lastScheduleTime");
	return last.len ? api_cell_age(c, last) : json_cstr("<none>");
}

/* Addresses of status.loadBalancer.ingress, each once, sorted. */
static void balancer_addresses(const struct cell_ctx *c, struct buf *out)
{
	const struct json *list = api_cell_get(c->object, "status.loadBalancer.ingress");
	struct span *all = arena_alloc_n(c->arena, count(list), sizeof(*all));
	unsigned n = 0;
	JSON_EACH_ITEM(list, i) {
		struct span ip = api_cell_str(i, "ip");
		all[n] = ip.len ? ip : api_cell_str(i, "hostname");
		n += all[n].len > 0;
	}
	if (n > 1)
		qsort(all, n, sizeof(*all), span_order);
	for (unsigned i = 0; i < n; i++)
		if (!i || !span_eq(all[i], all[i - 1]))
			item_add(out, ",", all[i]);
}

struct json api_cell_service_external(const struct cell_ctx *c)
{
	struct span type = api_cell_str(c->object, "spec.type");
	auto_buf struct buf out = {};
	bool balancer = span_is(type, "LoadBalancer");
	if (span_is(type, "ExternalName"))
		return json_str(api_cell_str(c->object, "spec.externalName"));
	if (!balancer && !span_is(type, "ClusterIP") && !span_is(type, "NodePort"))
		return json_cstr("<unknown>");
	if (balancer)
		balancer_addresses(c, &out);
	JSON_EACH_ITEM(api_cell_get(c->object, "spec.externalIPs"), i)
		item_add(&out, ",", json_span(i));
	return or_else(c->arena, &out, balancer ? "<pending>" : "<none>");
}

struct json api_cell_service_ports(const struct cell_ctx *c)
{
	auto_buf struct buf out = {};
	JSON_EACH_ITEM(api_cell_get(c->object, "spec.ports"), p) {
		if (out.len)
			buf_chr(&out, ',');
		buf_i64(&out, api_cell_int(p, "port"));
		if (api_cell_int(p, "nodePort"))
			buf_printf(&out, ":%lld", (long long)api_cell_int(p, "nodePort"));
		buf_printf(&out, "/%.*s", SPAN_ARG(api_cell_str(p, "protocol")));
	}
	return or_else(c->arena, &out, "<none>");
}

struct json api_cell_service_cluster_ip(const struct cell_ctx *c)
{
	struct span ip = api_cell_str(c->object, "spec.clusterIPs[0]");
	return json_str(ip.len ? ip : SPAN("<none>"));
}

struct json api_cell_ingress_hosts(const struct cell_ctx *c)
{
	struct some s = {};
	JSON_EACH_ITEM(api_cell_get(c->object, "spec.rules"), r)
		if (api_cell_str(r, "host").len)
			some_add(&s, api_cell_str(r, "host"));
	return some_done(c->arena, &s, "*");
}

struct json api_cell_ingress_address(const struct cell_ctx *c)
{
	auto_buf struct buf out = {};
	balancer_addresses(c, &out);
	return api_cell_done(c->arena, &out);
}

struct json api_cell_ingress_ports(const struct cell_ctx *c)
{
	return json_cstr(count(api_cell_get(c->object, "spec.tls")) ? "80, 443" : "80");
}

struct json api_cell_ingress_class_parameters(const struct cell_ctx *c)
{
	const struct json *p = api_cell_get(c->object, "spec.parameters");
	struct span group = api_cell_str(p, "apiGroup");
	if (!p)
		return json_cstr("<none>");
	return json_str(arena_printf(c->arena, "%.*s%s%.*s/%.*s", SPAN_ARG(api_cell_str(p, "kind")), group.len ? "." : "",
				     SPAN_ARG(group), SPAN_ARG(api_cell_str(p, "name"))));
}

struct json api_cell_endpoints(const struct cell_ctx *c)
{
	const struct json *subsets = api_cell_get(c->object, "subsets");
	struct some s = {};
	JSON_EACH_ITEM(subsets, set) {
		const struct json *ports = api_cell_get(set, "ports");
		if (!count(ports))
			JSON_EACH_ITEM(api_cell_get(set, "addresses"), i)
				some_add(&s, api_cell_str(i, "ip"));
		JSON_EACH_ITEM(ports, p)
			JSON_EACH_ITEM(api_cell_get(set, "addresses"), i) {
				struct span ip = api_cell_str(i, "ip");
				bool v6 = span_chr(ip, ':') >= 0;
				some_add(&s, arena_printf(c->arena, "%s%.*s%s:%lld", v6 ? "[" : "", SPAN_ARG(ip), v6 ? "]" : "",
							  (long long)api_cell_int(p, "port")));
			}
	}
	return some_done(c->arena, &s, count(subsets) ? "" : "<none>");
}

struct json api_cell_node_status(const struct cell_ctx *c)
{
	const struct json *ready = api_cell_condition(c->object, "Ready");
	auto_buf struct buf out = {};
	buf_str(&out, !ready ? "Unknown" : span_is(api_cell_str(ready, "status"), "True") ? "Ready" : "NotReady");
	if (json_truth(api_cell_get(c->object, "spec.unschedulable"), false))
		buf_str(&out, ",SchedulingDisabled");
	return api_cell_done(c->arena, &out);
}

struct json api_cell_node_roles(const struct cell_ctx *c)
{
	const struct json *labels = api_cell_get(c->object, "metadata.labels");
	struct span *roles = arena_alloc_n(c->arena, count(labels), sizeof(*roles));
	struct span prefix = SPAN("node-role.kubernetes.io/");
	unsigned n = 0;
	auto_buf struct buf out = {};
	JSON_EACH_MEMBER(labels, m) {
		if (span_starts(json_key(m), prefix))
			roles[n] = span_from(json_key(m), prefix.len);
		else if (span_is(json_key(m), "kubernetes.io/role"))
			roles[n] = json_span(&m->value);
		else
			continue;
		n += roles[n].len > 0;
	}
	if (n > 1)
		qsort(roles, n, sizeof(*roles), span_order);
	for (unsigned i = 0; i < n; i++)
		if (!i || !span_eq(roles[i], roles[i - 1]))
			item_add(&out, ",", roles[i]);
	return or_else(c->arena, &out, "<none>");
}

static struct json node_address(const struct cell_ctx *c, const char *type)
{
	JSON_EACH_ITEM(api_cell_get(c->object, "status.addresses"), i)
		if (span_is(api_cell_str(i, "type"), type))
			return json_str(api_cell_str(i, "address"));
	return json_cstr("<none>");
}
struct json api_cell_node_internal(const struct cell_ctx *c)
{
	return node_address(c, "InternalIP");
}
struct json api_cell_node_external(const struct cell_ctx *c)
{
	return node_address(c, "ExternalIP");
}

/* Events: both APIs. The members of events.k8s.io that hold the old ones are called deprecated... */
static struct span event_old(const struct cell_ctx *c, const char *old, const char *deprecated)
{
	struct span v = api_cell_str(c->object, old);
	return v.len ? v : api_cell_str(c->object, deprecated);
}

struct json api_cell_event_first(const struct cell_ctx *c)
{
	struct span first = event_old(c, "firstTimestamp", "deprecatedFirstTimestamp");
	return api_cell_age(c, first.len ? first : api_cell_str(c->object, "eventTime"));
}

struct json api_cell_event_last(const struct cell_ctx *c)
{
	struct span last = event_old(c, "lastTimestamp", "deprecatedLastTimestamp");
	if (api_cell_get(c->object, "series"))
		return api_cell_age(c, api_cell_str(c->object, "series.lastObservedTime"));
	return last.len ? api_cell_age(c, last) : api_cell_event_first(c);
}

struct json api_cell_event_object(const struct cell_ctx *c)
{
	const struct json *ref = api_cell_get(c->object, "involvedObject");
	auto_buf struct buf out = {};
	if (!ref)
		ref = api_cell_get(c->object, "regarding");
	struct span kind = api_cell_str(ref, "kind"), name = api_cell_str(ref, "name");
	for (size_t i = 0; i < kind.len; i++)
		buf_chr(&out, kind.ptr[i] >= 'A' && kind.ptr[i] <= 'Z' ? (char)(kind.ptr[i] + 32) : kind.ptr[i]);
	if (name.len)
		buf_printf(&out, "/%.*s", SPAN_ARG(name));
	return api_cell_done(c->arena, &out);
}

struct json api_cell_event_subobject(const struct cell_ctx *c)
{
	return json_str(event_old(c, "involvedObject.fieldPath", "regarding.fieldPath"));
}

struct json api_cell_event_source(const struct cell_ctx *c)
{
	struct span component = event_old(c, "source.component", "deprecatedSource.component");
	struct span host = event_old(c, "source.host", "deprecatedSource.host");
	if (!component.len)
		component = event_old(c, "reportingComponent", "reportingController");
	if (!host.len)
		host = api_cell_str(c->object, "reportingInstance");
	if (!host.len)
		return json_str(component);
	return json_str(arena_printf(c->arena, "%.*s, %.*s", SPAN_ARG(component), SPAN_ARG(host)));
}

struct json api_cell_event_message(const struct cell_ctx *c)
{
	return json_str(span_trim(event_old(c, "message", "note")));
}

struct json api_cell_event_count(const struct cell_ctx *c)
{
	if (api_cell_get(c->object, "series"))
		return json_int(api_cell_int(c->object, "series.count"));
	int64_t n = api_cell_int(c->object, "count");
	n = n ? n : api_cell_int(c->object, "deprecatedCount");
	return json_int(n ? n : 1);
}

struct json api_cell_pv_modes(const struct cell_ctx *c)
{
	return access_modes(c, "spec.accessModes");
}

struct json api_cell_pv_claim(const struct cell_ctx *c)
{
	if (!api_cell_get(c->object, "spec.claimRef"))
		return json_cstr("");
	return pair(c, "spec.claimRef.namespace", "spec.claimRef.name");
}

struct json api_cell_pvc_capacity(const struct cell_ctx *c)
{
	bool bound = api_cell_str(c->object, "spec.volumeName").len;
	return json_str(bound ? api_cell_str(c->object, "status.capacity.storage") : SPAN_EMPTY);
}

struct json api_cell_pvc_modes(const struct cell_ctx *c)
{
	return api_cell_str(c->object, "spec.volumeName").len ? access_modes(c, "status.accessModes") : json_cstr("");
}

static const struct json *component_condition(const struct cell_ctx *c)
{
	JSON_EACH_ITEM(api_cell_get(c->object, "conditions"), k)
		if (span_is(api_cell_str(k, "type"), "Healthy"))
			return k;
	return NULL;
}
struct json api_cell_component_status(const struct cell_ctx *c)
{
	const struct json *k = component_condition(c);
	return json_cstr(!k ? "Unknown" : span_is(api_cell_str(k, "status"), "True") ? "Healthy" : "Unhealthy");
}
struct json api_cell_component_message(const struct cell_ctx *c)
{
	return json_str(api_cell_str(component_condition(c), "message"));
}
struct json api_cell_component_error(const struct cell_ctx *c)
{
	return json_str(api_cell_str(component_condition(c), "error"));
}

/* "current/target" of one metric of an autoscaler. */
static void hpa_metric(struct buf *out, const struct json *spec, const struct json *status)
{
	static const char *const types[][2] = { { "External", "external" }, { "Pods", "pods" },
						{ "Object", "object" }, { "Resource", "resource" },
						{ "ContainerResource", "containerResource" } };
	size_t t = 0;
	while (t < ARRAY_LEN(types) && !span_is(api_cell_str(spec, "type"), types[t][0]))
		t++;
	if (t == ARRAY_LEN(types)) {
		buf_str(out, "<unknown type>");
		return;
	}
	const struct json *source = api_cell_get(spec, types[t][1]), *now = api_cell_get(api_cell_get(status, types[t][1]), "current");
	bool resource = t >= 3, average = t == 1 || api_cell_get(source, "target.averageValue");
	if (resource)
		buf_printf(out, "%.*s: ", SPAN_ARG(api_cell_str(source, "name")));
	if (resource && !average) {
		if (api_cell_get(now, "averageUtilization"))
			buf_printf(out, "%lld%%/", (long long)api_cell_int(now, "averageUtilization"));
		else
			buf_str(out, "<unknown>/");
		if (api_cell_get(source, "target.averageUtilization"))
			buf_printf(out, "%lld%%", (long long)api_cell_int(source, "target.averageUtilization"));
		else
			buf_str(out, "<auto>");
		return;
	}
	struct span current = api_cell_str(now, average ? "averageValue" : "value");
	buf_printf(out, "%.*s/%.*s%s", SPAN_ARG(current.len ? current : SPAN("<unknown>")),
		   SPAN_ARG(api_cell_str(source, average ? "target.averageValue" : "target.value")),
		   average && (t == 0 || t == 2) ? " (avg)" : "");
}

struct json api_cell_hpa_targets(const struct cell_ctx *c)
{
	const struct json *metrics = api_cell_get(c->object, "spec.metrics");
	const struct json *current = api_cell_get(c->object, "status.currentMetrics");
	auto_buf struct buf out = {};
	unsigned n = 0;
	if (api_cell_get(c->object, "spec.targetCPUUtilizationPercentage")) { /* autoscaling/v1 */
		const struct json *now = api_cell_get(c->object, "status.currentCPUUtilizationPercentage");
		buf_str(&out, "cpu: ");
		if (now)
			buf_printf(&out, "%lld%%", (long long)json_i64(now, 0));
		else
			buf_str(&out, "<unknown>");
		buf_printf(&out, "/%lld%%", (long long)api_cell_int(c->object, "spec.targetCPUUtilizationPercentage"));
	}
	JSON_EACH_ITEM(metrics, m) {
		const struct json *status = json_is(current, JSON_ARRAY) && n < current->n ? &current->items[n] : NULL;
		if (n++ >= 2)
			continue;
		if (out.len)
			buf_str(&out, ", ");
		hpa_metric(&out, m, status);
	}
	if (n > 2)
		buf_printf(&out, " + %u more...", n - 2);
	return or_else(c->arena, &out, "<none>");
}

struct json api_cell_hpa_reference(const struct cell_ctx *c)
{
	return pair(c, "spec.scaleTargetRef.kind", "spec.scaleTargetRef.name");
}

struct json api_cell_config_map_data(const struct cell_ctx *c)
{
	return json_int(count(api_cell_get(c->object, "data")) + count(api_cell_get(c->object, "binaryData")));
}

struct json api_cell_csr_duration(const struct cell_ctx *c)
{
	const struct json *v = api_cell_get(c->object, "spec.expirationSeconds");
	auto_buf struct buf out = {};
	if (!v)
		return json_cstr("<none>");
	api_age_print(&out, json_i64(v, 0) * NS_PER_S);
	return api_cell_done(c->arena, &out);
}

struct json api_cell_csr_condition(const struct cell_ctx *c)
{
	auto_buf struct buf out = {};
	bool denied = api_cell_condition(c->object, "Denied"), approved = api_cell_condition(c->object, "Approved");
	buf_str(&out, denied ? "Denied" : approved ? "Approved" : "Pending");
	if (api_cell_condition(c->object, "Failed"))
		buf_str(&out, ",Failed");
	if (api_cell_str(c->object, "status.certificate").len)
		buf_str(&out, ",Issued");
	return api_cell_done(c->arena, &out);
}

struct json api_cell_storage_class_name(const struct cell_ctx *c)
{
	const struct json *notes = api_cell_get(c->object, "metadata.annotations");
	struct span name = api_cell_str(c->object, "metadata.name");
	if (span_is(json_span(json_get(notes, SPAN("storageclass.kubernetes.io/is-default-class"))), "true") ||
	    span_is(json_span(json_get(notes, SPAN("storageclass.beta.kubernetes.io/is-default-class"))), "true"))
		return json_str(arena_printf(c->arena, "%.*s (default)", SPAN_ARG(name)));
	return json_str(name);
}

struct json api_cell_revision_controller(const struct cell_ctx *c)
{
	JSON_EACH_ITEM(api_cell_get(c->object, "metadata.ownerReferences"), o) {
		struct span version = api_cell_str(o, "apiVersion"), group, rest, kind = api_cell_str(o, "kind");
		auto_buf struct buf out = {};
		if (!json_truth(api_cell_get(o, "controller"), false))
			continue;
		if (!span_split(version, '/', &group, &rest))
			group = SPAN_EMPTY;
		buf_printf(&out, "%.*s%s%.*s", SPAN_ARG(kind), group.len ? "." : "", SPAN_ARG(group));
		for (size_t i = 0; i < out.len; i++)
			out.ptr[i] += out.ptr[i] >= 'A' && out.ptr[i] <= 'Z' ? 32 : 0;
		buf_printf(&out, "/%.*s", SPAN_ARG(api_cell_str(o, "name")));
		return api_cell_done(c->arena, &out);
	}
	return json_cstr("<none>");
}

static struct json quota(const struct cell_ctx *c, bool limits)
{
	const struct json *hard = api_cell_get(c->object, "status.hard"), *used = api_cell_get(c->object, "status.used");
	struct span *keys = arena_alloc_n(c->arena, count(hard), sizeof(*keys));
	unsigned n = 0;
	auto_buf struct buf out = {};
	JSON_EACH_MEMBER(hard, m)
		if (span_starts(json_key(m), SPAN("limits.")) == limits)
			keys[n++] = json_key(m);
	if (n > 1)
		qsort(keys, n, sizeof(*keys), span_order);
	for (unsigned i = 0; i < n; i++) {
		struct span u = json_span(json_get(used, keys[i]));
		item_add(&out, ", ", arena_printf(c->arena, "%.*s: %.*s/%.*s", SPAN_ARG(keys[i]), SPAN_ARG(u.len ? u : SPAN("0")),
						  SPAN_ARG(json_span(json_get(hard, keys[i])))));
	}
	return api_cell_done(c->arena, &out);
}
struct json api_cell_quota_request(const struct cell_ctx *c)
{
	return quota(c, false);
}
struct json api_cell_quota_limit(const struct cell_ctx *c)
{
	return quota(c, true);
}

struct json api_cell_slice_ports(const struct cell_ctx *c)
{
	struct some s = {};
	JSON_EACH_ITEM(api_cell_get(c->object, "ports"), p) {
		struct span name = api_cell_str(p, "name");
		if (api_cell_get(p, "port"))
			some_add(&s, arena_printf(c->arena, "%lld", (long long)api_cell_int(p, "port")));
		else
			some_add(&s, name.len ? name : SPAN("*"));
	}
	return some_done(c->arena, &s, "<unset>");
}

struct json api_cell_slice_endpoints(const struct cell_ctx *c)
{
	struct some s = {};
	JSON_EACH_ITEM(api_cell_get(c->object, "endpoints"), e)
		JSON_EACH_ITEM(api_cell_get(e, "addresses"), i)
			some_add(&s, json_span(i));
	return some_done(c->arena, &s, "<unset>");
}

struct json api_cell_csi_tokens(const struct cell_ctx *c)
{
	const struct json *v = api_cell_get(c->object, "spec.tokenRequests");
	return v ? api_cell_names(c, "spec.tokenRequests", "audience") : json_cstr("<unset>");
}

static struct json text_list(const struct cell_ctx *c, const char *path, const char *none)
{
	auto_buf struct buf out = {};
	JSON_EACH_ITEM(api_cell_get(c->object, path), i)
		item_add(&out, ",", json_span(i));
	return or_else(c->arena, &out, none);
}
struct json api_cell_csi_modes(const struct cell_ctx *c)
{
	return text_list(c, "spec.volumeLifecycleModes", "<none>");
}
struct json api_cell_cidrs(const struct cell_ctx *c)
{
	return text_list(c, "spec.cidrs", "");
}

struct json api_cell_policy_param_kind(const struct cell_ctx *c)
{
	if (!api_cell_get(c->object, "spec.paramKind"))
		return json_cstr("<unset>");
	return pair(c, "spec.paramKind.apiVersion", "spec.paramKind.kind");
}

struct json api_cell_policy_param_ref(const struct cell_ctx *c)
{
	const struct json *ref = api_cell_get(c->object, "spec.paramRef");
	struct span namespace = api_cell_str(ref, "namespace"), name = api_cell_str(ref, "name");
	if (!ref)
		return json_cstr("<unset>");
	if (!name.len)
		return api_cell_selector_struct(c, "spec.paramRef.selector", "<none>", "<error>");
	return json_str(arena_printf(c->arena, "%.*s/%.*s", SPAN_ARG(namespace.len ? namespace : SPAN("*")), SPAN_ARG(name)));
}

struct json api_cell_flow_dangling(const struct cell_ctx *c)
{
	struct span status = api_cell_str(api_cell_condition(c->object, "Dangling"), "status");
	return json_str(status.len ? status : SPAN("?"));
}

static struct json level_number(const struct cell_ctx *c, const char *path)
{
	const struct json *v = api_cell_get(c->object, path);
	return v ? *v : json_cstr("<none>");
}
struct json api_cell_level_shares(const struct cell_ctx *c)
{
	const char *path = "spec.limited.nominalConcurrencyShares";
	return level_number(c, api_cell_get(c->object, path) ? path : "spec.exempt.nominalConcurrencyShares");
}
struct json api_cell_level_queues(const struct cell_ctx *c)
{
	return level_number(c, "spec.limited.limitResponse.queuing.queues");
}
struct json api_cell_level_hand(const struct cell_ctx *c)
{
	return level_number(c, "spec.limited.limitResponse.queuing.handSize");
}
struct json api_cell_level_length(const struct cell_ctx *c)
{
	return level_number(c, "spec.limited.limitResponse.queuing.queueLengthLimit");
}

struct json api_cell_claim_state(const struct cell_ctx *c)
{
	auto_buf struct buf out = {};
	bool deleted = api_cell_str(c->object, "metadata.deletionTimestamp").len;
	if (deleted)
		buf_str(&out, "deleted");
	if (api_cell_get(c->object, "status.allocation"))
		item_add(&out, ",", SPAN("allocated"));
	else if (!deleted)
		item_add(&out, ",", SPAN("pending"));
	if (api_cell_get(c->object, "status.allocation") && count(api_cell_get(c->object, "status.reservedFor")))
		item_add(&out, ",", SPAN("reserved"));
	return api_cell_done(c->arena, &out);
}

struct json api_cell_ip_parent(const struct cell_ctx *c)
{
	const struct json *ref = api_cell_get(c->object, "spec.parentRef");
	struct span group = api_cell_str(ref, "group"), namespace = api_cell_str(ref, "namespace");
	if (!ref)
		return json_cstr("<none>");
	return json_str(arena_printf(c->arena, "%.*s%s%.*s%s%.*s/%.*s", SPAN_ARG(api_cell_str(ref, "resource")), group.len ? "." : "",
				     SPAN_ARG(group), namespace.len ? "/" : "", SPAN_ARG(namespace),
				     SPAN_ARG(api_cell_str(ref, "name"))));
}

struct json api_cell_apiservice_service(const struct cell_ctx *c)
{
	if (!api_cell_get(c->object, "spec.service"))
		return json_cstr("Local");
	return pair(c, "spec.service.namespace", "spec.service.name");
}

struct json api_cell_apiservice_available(const struct cell_ctx *c)
{
	const struct json *k = api_cell_condition(c->object, "Available");
	struct span status = api_cell_str(k, "status"), reason = api_cell_str(k, "reason");
	if (!k)
		return json_cstr("Unknown");
	if (span_is(status, "True") || !reason.len)
		return json_str(status);
	return json_str(arena_printf(c->arena, "%.*s (%.*s)", SPAN_ARG(status), SPAN_ARG(reason)));
}

static struct json usage(const struct cell_ctx *c, const char *key)
{
	const struct json *own = api_cell_get(c->object, "usage");
	struct api_quantity sum = {}, q;
	auto_buf struct buf out = {};
	if (own)
		return json_str(api_cell_str(own, key));
	JSON_EACH_ITEM(api_cell_get(c->object, "containers"), i)
		if (api_quantity_parse(api_cell_str(api_cell_get(i, "usage"), key), &q, NULL) == 0)
			api_quantity_add(&sum, &q);
	api_quantity_print(&sum, &out);
	return api_cell_done(c->arena, &out);
}
struct json api_cell_usage_cpu(const struct cell_ctx *c)
{
	return usage(c, "cpu");
}
struct json api_cell_usage_memory(const struct cell_ctx *c)
{
	return usage(c, "memory");
}
