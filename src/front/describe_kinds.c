/* describe of deployments, replica sets, services, nodes, namespaces, config maps and secrets. */
#include "front/describe.h"

/* ---- deployments and what stands under them */

static const struct client_kind replica_sets = { SPAN_INIT("apps"), SPAN_INIT("v1"), SPAN_INIT("replicasets"), true };
static const struct client_kind pods = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("pods"), true };

static int ask_selected(struct describe *d, const struct client_kind *k, const struct json *o, struct json *out, struct err *err)
{
	auto_buf struct buf path = {};
	client_path(&path, k, json_span(json_path(o, "metadata", "namespace", NULL)), SPAN_EMPTY, NULL);
	buf_str(&path, "?limit=500&labelSelector=");
	percent_add(&path, span_of(describe_selector(d, json_path(o, "spec", "selector", NULL))), NULL);
	return describe_ask(d, buf_span(&path), out, err);
}

static bool owned(const struct json *child, const struct json *parent)
{
	struct span uid = json_span(json_path(parent, "metadata", "uid", NULL));
	JSON_EACH_ITEM(json_path(child, "metadata", "ownerReferences", NULL), r)
		if (json_truth(json_getl(r, "controller"), false))
			return span_eq(json_span(json_getl(r, "uid")), uid);
	return false;
}

/* The newest set of a deployment is the one of its template, whose hash aside it is equal to. */
static bool same_template(struct arena *a, const struct json *deployment, const struct json *set)
{
	struct json copy = json_copy(a, json_path(set, "spec", "template", NULL));
	struct json *labels = json_path(&copy, "metadata", "labels", NULL);
	if (json_is(labels, JSON_OBJECT))
		(void)json_remove(labels, SPAN("pod-template-hash"));
	return json_equal(&copy, json_path(deployment, "spec", "template", NULL));
}

static void put_set(struct describe *d, struct buf *out, const struct json *set)
{
	buf_printf(out, "%s%s (%lld/%lld replicas created)", out->len ? ", " : "", describe_text(d, set, "metadata", "name", NULL),
		   (long long)json_i64(json_path(set, "status", "replicas", NULL), 0),
		   (long long)json_i64(json_path(set, "spec", "replicas", NULL), 1));
}

static void conditions(struct describe *d, const struct json *list)
{
	JSON_EACH_ITEM(list, c) {
		if (c == list->items) {
			describe_put(d, 0, "Conditions:\n  Type\tStatus\tReason\n");
			describe_put(d, 1, "----\t------\t------\n");
		}
		describe_put(d, 1, "%s \t%s\t%s\n", describe_text(d, c, "type", NULL), describe_text(d, c, "status", NULL),
			     describe_text(d, c, "reason", NULL));
	}
}

int describe_deployment(struct describe *d, const struct json *o, struct err *err)
{
	const struct json *spec = json_getl(o, "spec"), *status = json_getl(o, "status"), *meta = json_getl(o, "metadata");
	const struct json *rolling = json_path(spec, "strategy", "rollingUpdate", NULL);
	auto_buf struct buf now = {}, old = {};
	struct json sets;
	bool found = false;
	int rc = ask_selected(d, &replica_sets, o, &sets, err);
	if (rc < 0)
		return rc;
	describe_head(d, o, false);
	describe_put(d, 0, "CreationTimestamp:\t%s\n", describe_time(d, json_getl(meta, "creationTimestamp")));
	describe_labels(d, "", "Labels", json_getl(meta, "labels"));
	describe_annotations(d, "", "Annotations", json_getl(meta, "annotations"));
	describe_put(d, 0, "Selector:\t%s\n", describe_selector(d, json_getl(spec, "selector")));
	describe_put(d, 0, "Replicas:\t%lld desired | %lld updated | %lld total | %lld available | %lld unavailable\n",
		     (long long)json_i64(json_getl(spec, "replicas"), 1), (long long)json_i64(json_getl(status, "updatedReplicas"), 0),
		     (long long)json_i64(json_getl(status, "replicas"), 0), (long long)json_i64(json_getl(status, "availableReplicas"), 0),
		     (long long)json_i64(json_getl(status, "unavailableReplicas"), 0));
	describe_put(d, 0, "StrategyType:\t%s\n", describe_text(d, spec, "strategy", "type", NULL));
	describe_put(d, 0, "MinReadySeconds:\t%lld\n", (long long)json_i64(json_getl(spec, "minReadySeconds"), 0));
	if (rolling)
		describe_put(d, 0, "RollingUpdateStrategy:\t%s max unavailable, %s max surge\n", describe_text(d, rolling, "maxUnavailable",
			NULL),
			     describe_text(d, rolling, "maxSurge", NULL));
	describe_pod_template(d, json_getl(spec, "template"));
	conditions(d, json_getl(status, "conditions"));
	JSON_EACH_ITEM(json_getl(&sets, "items"), set) {
		if (!owned(set, o))
			continue;
		bool newest = !found && same_template(&d->f->arena, o, set);
		found = found || newest;
		put_set(d, newest ? &now : &old, set);
	}
	if (old.len || now.len) {
		describe_put(d, 0, "OldReplicaSets:\t%s\n", describe_or_none(buf_cstr(&old)));
		describe_put(d, 0, "NewReplicaSet:\t%s\n", describe_or_none(buf_cstr(&now)));
	}
	describe_events(d);
	return 0;
}

int describe_replica_set(struct describe *d, const struct json *o, struct err *err)
{
	static const char *const phases[] = { "Running", "Pending", "Succeeded", "Failed" };
	const struct json *spec = json_getl(o, "spec"), *status = json_getl(o, "status");
	unsigned n[ARRAY_LEN(phases)] = {};
	struct json list;
	int rc = ask_selected(d, &pods, o, &list, err);
	if (rc < 0)
		return rc;
	JSON_EACH_ITEM(json_getl(&list, "items"), pod)
		for (size_t i = 0; owned(pod, o) && i < ARRAY_LEN(phases); i++)
			n[i] += span_is(json_span(json_path(pod, "status", "phase", NULL)), phases[i]);
	describe_head(d, o, false);
	describe_put(d, 0, "Selector:\t%s\n", describe_selector(d, json_getl(spec, "selector")));
	describe_labels(d, "", "Labels", json_path(o, "metadata", "labels", NULL));
	describe_annotations(d, "", "Annotations", json_path(o, "metadata", "annotations", NULL));
	JSON_EACH_ITEM(json_path(o, "metadata", "ownerReferences", NULL), r)
		if (json_truth(json_getl(r, "controller"), false))
			describe_put(d, 0, "Controlled By:\t%s/%s\n", describe_text(d, r, "kind", NULL), describe_text(d, r, "name", NULL));
	describe_put(d, 0, "Replicas:\t%lld current / %lld desired\n", (long long)json_i64(json_getl(status, "replicas"), 0),
		     (long long)json_i64(json_getl(spec, "replicas"), 1));
	describe_put(d, 0, "Pods Status:\t");
	if (json_is(&list, JSON_NULL))
		describe_put(d, 0, "error in fetching pods\n");
	else
		describe_put(d, 0, "%u Running / %u Waiting / %u Succeeded / %u Failed\n", n[0], n[1], n[2], n[3]);
	describe_pod_template(d, json_getl(spec, "template"));
	conditions(d, json_getl(status, "conditions"));
	describe_events(d);
	return 0;
}

/* ---- services */

/* The first three ready endpoints of the port of this name, and how many more. */
static const char *endpoints(struct describe *d, const struct json *slices, struct span port_name)
{
	auto_buf struct buf out = {};
	const struct json *items = json_getl(slices, "items");
	unsigned n = 0;
	if (!json_is(items, JSON_ARRAY) || !items->n)
		return "<none>";
	JSON_EACH_ITEM(items, slice) {
		const struct json *ports = json_getl(slice, "ports"), *list = json_getl(slice, "endpoints");
		if (!json_is(ports, JSON_ARRAY) || !ports->n) /* headless: addresses alone */
			JSON_EACH_ITEM(list, e) {
				const struct json *a = json_getl(e, "addresses");
				if (json_truth(json_path(e, "conditions", "ready", NULL), true) && json_is(a, JSON_ARRAY) && a->n && n++ < 3)
					buf_printf(&out, "%s%s", n > 1 ? "," : "", describe_value(d, &a->items[0]));
			}
		JSON_EACH_ITEM(ports, port) {
			if (!span_eq(json_span(json_getl(port, "name")), port_name))
				continue;
			JSON_EACH_ITEM(list, e) {
				bool ready = json_truth(json_path(e, "conditions", "ready", NULL), true);
				JSON_EACH_ITEM(json_getl(e, "addresses"), a) {
					bool six = span_chr(json_span(a), ':') >= 0;
					if (ready && n++ < 3)
						buf_printf(&out, "%s%s%.*s%s:%s", n > 1 ? "," : "", six ? "[" : "", SPAN_ARG(json_span(a)),
							   six ? "]" : "", describe_text(d, port, "port", NULL));
				}
			}
		}
	}
	if (n > 3)
		buf_printf(&out, " + %u more...", n - 3);
	return arena_cstr(&d->f->arena, buf_span(&out));
}

static void service_port(struct describe *d, const struct json *port, const struct json *slices)
{
	struct span named = json_span(json_getl(port, "name"));
	const char *name = named.len ? describe_text(d, port, "name", NULL) : "<unset>";
	const char *protocol = describe_text(d, port, "protocol", NULL), *node = describe_text(d, port, "nodePort", NULL);
	describe_put(d, 0, "Port:\t%s\t%s/%s\n", name, describe_text(d, port, "port", NULL), protocol);
	describe_put(d, 0, "TargetPort:\t%s/%s\n", describe_text(d, port, "targetPort", NULL), protocol);
	if (*node)
		describe_put(d, 0, "NodePort:\t%s\t%s/%s\n", name, node, protocol);
	describe_put(d, 0, "Endpoints:\t%s\n", endpoints(d, slices, named));
}

int describe_service(struct describe *d, const struct json *o, struct err *err)
{
	static const struct client_kind kind = { SPAN_INIT("discovery.k8s.io"), SPAN_INIT("v1"), SPAN_INIT("endpointslices"), true };
	const struct json *spec = json_getl(o, "spec");
	auto_buf struct buf path = {}, selector = {}, ingress = {};
	struct json slices;
	uint32_t n;
	const struct json_member **labels = describe_sorted(d, json_getl(spec, "selector"), &n);
	client_path(&path, &kind, json_span(json_path(o, "metadata", "namespace", NULL)), SPAN_EMPTY, NULL);
	buf_printf(&path, "?limit=500&labelSelector=kubernetes.io%%2Fservice-name%%3D");
	percent_add(&path, json_span(json_path(o, "metadata", "name", NULL)), NULL);
	int rc = describe_ask(d, buf_span(&path), &slices, err);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < n; i++)
		buf_printf(&selector, "%s%.*s=%.*s", i ? "," : "", SPAN_ARG(json_key(labels[i])), SPAN_ARG(json_span(&labels[i]->value)));
	JSON_EACH_ITEM(json_path(o, "status", "loadBalancer", "ingress", NULL), in) {
		const char *ip = describe_text(d, in, "ip", NULL), *mode = describe_text(d, in, "ipMode", NULL);
		buf_printf(&ingress, "%s%s", ingress.len ? ", " : "", *ip ? ip : describe_text(d, in, "hostname", NULL));
		if (*ip && *mode)
			buf_printf(&ingress, " (%s)", mode);
	}
	describe_head(d, o, true);
	describe_put(d, 0, "Selector:\t%s\n", describe_or_none(buf_cstr(&selector)));
	const struct { const char *label, *value; bool always; } rows[] = {
		{ "Type", describe_text(d, spec, "type", NULL), true },
		{ "IP Family Policy", describe_text(d, spec, "ipFamilyPolicy", NULL), false },
		{ "IP Families", describe_or_none(describe_joined(d, json_getl(spec, "ipFamilies"), ",")), true },
		{ "IP", describe_text(d, spec, "clusterIP", NULL), true },
		{ "IPs", describe_or_none(describe_joined(d, json_getl(spec, "clusterIPs"), ",")), true },
		{ "External IPs", describe_joined(d, json_getl(spec, "externalIPs"), ","), false },
		{ "Desired LoadBalancer IP", describe_text(d, spec, "loadBalancerIP", NULL), false },
		{ "External Name", describe_text(d, spec, "externalName", NULL), false },
		{ "LoadBalancer Ingress", buf_cstr(&ingress), false },
	}, after[] = {
		{ "Session Affinity", describe_text(d, spec, "sessionAffinity", NULL), true },
		{ "External Traffic Policy", describe_text(d, spec, "externalTrafficPolicy", NULL), false },
		{ "Internal Traffic Policy", describe_text(d, spec, "internalTrafficPolicy", NULL), false },
		{ "HealthCheck NodePort", describe_text(d, spec, "healthCheckNodePort", NULL), false },
		{ "LoadBalancer Source Ranges", describe_joined(d, json_getl(spec, "loadBalancerSourceRanges"), ","), false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].always || *rows[i].value)
			describe_put(d, 0, "%s:\t%s\n", rows[i].label, rows[i].value);
	JSON_EACH_ITEM(json_getl(spec, "ports"), port)
		service_port(d, port, &slices);
	for (size_t i = 0; i < ARRAY_LEN(after); i++)
		if (after[i].always || *after[i].value)
			describe_put(d, 0, "%s:\t%s\n", after[i].label, after[i].value);
	describe_events(d);
	return 0;
}

/* ---- nodes */

static struct api_quantity quantity(const struct json *list, struct span name)
{
	struct api_quantity q = {};
	const struct json *v = json_get(list, name);
	struct span text = json_span(v);
	if (text.len && api_quantity_parse(text, &q, NULL) < 0)
		q = (struct api_quantity){};
	return q;
}

/* What the scheduler counts of a pod: its containers and those that run beside them, or the largest that runs before. */
static struct api_quantity pod_sum(const struct json *pod, const char *what, struct span name)
{
	struct api_quantity sum = {}, beside = {}, largest = {}, over = quantity(json_path(pod, "spec", "overhead", NULL), name);
	JSON_EACH_ITEM(json_path(pod, "spec", "containers", NULL), c) {
		struct api_quantity q = quantity(json_path(c, "resources", what, NULL), name);
		api_quantity_add(&sum, &q);
	}
	JSON_EACH_ITEM(json_path(pod, "spec", "initContainers", NULL), c) {
		struct api_quantity q = quantity(json_path(c, "resources", what, NULL), name);
		if (span_is(json_span(json_getl(c, "restartPolicy")), "Always")) {
			api_quantity_add(&beside, &q);
			q = beside;
		} else {
			api_quantity_add(&q, &beside);
		}
		if (api_quantity_cmp(&q, &largest) > 0)
			largest = q;
	}
	api_quantity_add(&sum, &beside);
	if (api_quantity_cmp(&largest, &sum) > 0)
		sum = largest;
	if (strcmp(what, "requests") == 0 || api_quantity_sign(&sum) > 0)
		api_quantity_add(&sum, &over);
	return sum;
}

/* "100m (2%)" */
static const char *share(struct describe *d, const struct api_quantity *q, const struct api_quantity *of, bool milli)
{
	auto_buf struct buf b = {};
	int64_t part = milli ? api_quantity_milli(q) : api_quantity_value(q), whole = milli
		? api_quantity_milli(of) : api_quantity_value(of);
	api_quantity_print(q, &b);
	buf_printf(&b, " (%lld%%)", whole > 0 ? (long long)((double)part / (double)whole * 100) : 0);
	return arena_cstr(&d->f->arena, buf_span(&b));
}

static void node_pods(struct describe *d, const struct json *node, const struct json *list)
{
	static const struct { struct span name; bool milli; } rows[] = { { SPAN_INIT("cpu"), true }, { SPAN_INIT("memory"), false },
									   { SPAN_INIT("ephemeral-storage"), false } };
	static const char *const whats[] = { "requests", "limits" };
	const struct json *all = json_path(node, "status", "allocatable", NULL), *items = json_getl(list, "items");
	if (!json_is(all, JSON_OBJECT) || !all->n)
		all = json_path(node, "status", "capacity", NULL);
	describe_put(d, 0, "Non-terminated Pods:\t(%u in total)\n", json_is(items, JSON_ARRAY) ? items->n : 0);
	describe_put(d, 1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge\n");
	describe_put(d, 1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---\n");
	JSON_EACH_ITEM(items, pod) {
		describe_put(d, 1, "%s\t%s\t\t", describe_text(d, pod, "metadata", "namespace", NULL), describe_text(d, pod, "metadata",
			"name", NULL));
		for (unsigned i = 0; i < 4; i++) {
			struct api_quantity q = pod_sum(pod, whats[i % 2], rows[i / 2].name), of = quantity(all, rows[i / 2].name);
			describe_put(d, 0, "%s\t", share(d, &q, &of, rows[i / 2].milli));
		}
		describe_put(d, 0, "%s\n", describe_since(d, json_path(pod, "metadata", "creationTimestamp", NULL)));
	}
	describe_put(d, 0, "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)\n");
	describe_put(d, 1, "Resource\tRequests\tLimits\n");
	describe_put(d, 1, "--------\t--------\t------\n");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct api_quantity of = quantity(all, rows[i].name);
		describe_put(d, 1, "%.*s", SPAN_ARG(rows[i].name));
		for (size_t k = 0; k < ARRAY_LEN(whats); k++) {
			struct api_quantity sum = {};
			JSON_EACH_ITEM(items, pod) {
				struct api_quantity q = pod_sum(pod, whats[k], rows[i].name);
				api_quantity_add(&sum, &q);
			}
			describe_put(d, 0, "\t%s", share(d, &sum, &of, rows[i].milli));
		}
		describe_put(d, 0, "\n");
	}
	uint32_t n;
	const struct json_member **more = describe_sorted(d, all, &n);
	for (uint32_t i = 0; i < n; i++) {
		struct span name = json_key(more[i]);
		/* Huge pages and extended resources. */
		if (span_is(name, "cpu") || span_is(name, "memory") || span_is(name, "ephemeral-storage") || span_is(name, "pods"))
			continue;
		describe_put(d, 1, "%.*s", SPAN_ARG(name));
		for (size_t k = 0; k < ARRAY_LEN(whats); k++) {
			struct api_quantity sum = {};
			auto_buf struct buf text = {};
			JSON_EACH_ITEM(items, pod) {
				struct api_quantity q = pod_sum(pod, whats[k], name);
				api_quantity_add(&sum, &q);
			}
			api_quantity_print(&sum, &text);
			describe_put(d, 0, "\t%s", buf_cstr(&text));
		}
		describe_put(d, 0, "\n");
	}
}

static void node_roles(struct describe *d, const struct json *labels)
{
	uint32_t n;
	auto_buf struct buf roles = {};
	const struct json_member **list = describe_sorted(d, labels, &n);
	for (uint32_t i = 0; i < n; i++) {
		struct span key = json_key(list[i]), prefix = SPAN("node-role.kubernetes.io/");
		if (span_starts(key, prefix) && key.len > prefix.len)
			buf_printf(&roles, "%s%.*s", roles.len ? "," : "", SPAN_ARG(span_from(key, prefix.len)));
		else if (span_is(key, "kubernetes.io/role") && json_span(&list[i]->value).len)
			buf_printf(&roles, "%s%.*s", roles.len ? "," : "", SPAN_ARG(json_span(&list[i]->value)));
	}
	describe_put(d, 0, "Roles:\t%s\n", describe_or_none(buf_cstr(&roles)));
}

static void node_lease(struct describe *d, const struct json *lease)
{
	const struct json *spec = json_getl(lease, "spec"), *acquired = json_getl(spec, "acquireTime"), *renewed = json_getl(spec,
		"renewTime");
	const struct json *holder = json_getl(spec, "holderIdentity");
	describe_put(d, 0, "Lease:\n");
	describe_put(d, 1, "HolderIdentity:\t%s\n", holder ? describe_value(d, holder) : "<unset>");
	describe_put(d, 1, "AcquireTime:\t%s\n", acquired ? describe_time(d, acquired) : "<unset>");
	describe_put(d, 1, "RenewTime:\t%s\n", renewed ? describe_time(d, renewed) : "<unset>");
}

int describe_node(struct describe *d, const struct json *o, struct err *err)
{
	static const struct { const char *label, *field; } infos[] = {
		{ "Machine ID", "machineID" }, { "System UUID", "systemUUID" }, { "Boot ID", "bootID" }, { "Kernel Version", "kernelVersion"
			},
		{ "OS Image", "osImage" }, { "Operating System", "operatingSystem" }, { "Architecture", "architecture" },
		{ "Container Runtime Version", "containerRuntimeVersion" }, { "Kubelet Version", "kubeletVersion" },
		{ "Kube-Proxy Version", "kubeProxyVersion" },
	};
	static const struct client_kind leases = { SPAN_INIT("coordination.k8s.io"), SPAN_INIT("v1"), SPAN_INIT("leases"), true };
	const struct json *meta = json_getl(o, "metadata"), *spec = json_getl(o, "spec"), *status = json_getl(o, "status");
	const struct json *taints = json_getl(spec, "taints"), *conditions = json_getl(status, "conditions");
	struct span name = json_span(json_getl(meta, "name"));
	auto_buf struct buf at = {}, of = {}, fields = {};
	struct json lease, list;
	client_path(&at, &leases, SPAN("kube-node-lease"), name, NULL);
	buf_printf(&fields, "spec.nodeName=%.*s,status.phase!=Failed,status.phase!=Succeeded", SPAN_ARG(name));
	buf_str(&of, "/api/v1/pods?limit=500&fieldSelector=");
	percent_add(&of, buf_span(&fields), NULL);
	const char *no_lease = NULL;
	int rc = front_ask(d->f, &(struct front_request){ .path = buf_span(&at) }, &lease, err);
	if (rc < 0 && d->f->said.answered) {
		no_lease = arena_cstr(&d->f->arena, span_of(err_msg(err)));
		err_done(err);
		d->f->said.answered = false;
		rc = 0;
	}
	if (rc == 0)
		rc = describe_ask(d, buf_span(&of), &list, err);
	if (rc < 0)
		return rc;
	describe_head(d, o, false);
	node_roles(d, json_getl(meta, "labels"));
	describe_labels(d, "", "Labels", json_getl(meta, "labels"));
	describe_annotations(d, "", "Annotations", json_getl(meta, "annotations"));
	describe_put(d, 0, "CreationTimestamp:\t%s\n", describe_time(d, json_getl(meta, "creationTimestamp")));
	describe_put(d, 0, "Taints:\t%s", json_is(taints, JSON_ARRAY) && taints->n ? "" : "<none>\n");
	JSON_EACH_ITEM(taints, t) {
		const char *value = describe_text(d, t, "value", NULL);
		describe_put(d, 0, "%s%s%s%s:%s\n", t == taints->items ? "" : "\t", describe_text(d, t, "key", NULL), *value ? "=" : "",
			value,
			     describe_text(d, t, "effect", NULL));
	}
	describe_put(d, 0, "Unschedulable:\t%s\n", json_truth(json_getl(spec, "unschedulable"), false) ? "true" : "false");
	if (no_lease)
		describe_put(d, 0, "Lease:\tFailed to get lease: %s\n", no_lease);
	else
		node_lease(d, &lease);
	JSON_EACH_ITEM(conditions, c) {
		if (c == conditions->items) {
			describe_put(d, 0, "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage\n");
			describe_put(d, 1, "----\t------\t-----------------\t------------------\t------\t-------\n");
		}
		describe_put(d, 1, "%s \t%s \t%s \t%s \t%s \t%s\n", describe_text(d, c, "type", NULL), describe_text(d, c, "status", NULL),
			     describe_time(d, json_getl(c, "lastHeartbeatTime")), describe_time(d, json_getl(c, "lastTransitionTime")),
			     describe_text(d, c, "reason", NULL), describe_text(d, c, "message", NULL));
	}
	describe_put(d, 0, "Addresses:\n");
	JSON_EACH_ITEM(json_getl(status, "addresses"), a)
		describe_put(d, 1, "%s:\t%s\n", describe_text(d, a, "type", NULL), describe_text(d, a, "address", NULL));
	describe_quantities(d, 0, "Capacity", json_getl(status, "capacity"));
	describe_quantities(d, 0, "Allocatable", json_getl(status, "allocatable"));
	describe_put(d, 0, "System Info:\n");
	for (size_t i = 0; i < ARRAY_LEN(infos); i++)
		describe_put(d, 1, "%s:\t%s\n", infos[i].label, describe_text(d, status, "nodeInfo", infos[i].field, NULL));
	const struct { const char *label, *value; } rows[] = {
		{ "PodCIDR", describe_text(d, spec, "podCIDR", NULL) }, { "PodCIDRs", describe_joined(d, json_getl(spec, "podCIDRs"),
			",") },
		{ "ProviderID", describe_text(d, spec, "providerID", NULL) },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (*rows[i].value)
			describe_put(d, 0, "%s:\t%s\n", rows[i].label, rows[i].value);
	if (json_is(&list, JSON_NULL))
		describe_put(d, 0, "Pods:\tnot authorized\n");
	else
		node_pods(d, o, &list);
	describe_events(d);
	return 0;
}

/* ---- namespaces */

static int ask_of_namespace(struct describe *d, const char *plural, struct span ns, struct json *out, struct err *err)
{
	auto_buf struct buf path = {};
	const struct client_kind k = { SPAN(""), SPAN("v1"), span_of(plural), true };
	client_path(&path, &k, ns, SPAN_EMPTY, NULL);
	buf_str(&path, "?limit=500");
	return describe_ask(d, buf_span(&path), out, err);
}

static void quotas(struct describe *d, const struct json *list)
{
	const struct json *items = json_getl(list, "items");
	if (!json_is(items, JSON_ARRAY) || !items->n) {
		describe_put(d, 0, "No resource quota.\n");
		return;
	}
	describe_put(d, 0, "Resource Quotas\n");
	JSON_EACH_ITEM(items, q) {
		uint32_t n;
		const struct json *used = json_path(q, "status", "used", NULL);
		const struct json_member **hard = describe_sorted(d, json_path(q, "status", "hard", NULL), &n);
		describe_put(d, 1, "Name:\t%s\n", describe_text(d, q, "metadata", "name", NULL));
		if (json_path(q, "spec", "scopes", NULL))
			describe_put(d, 1, "Scopes:\t%s\n", describe_joined(d, json_path(q, "spec", "scopes", NULL), ", "));
		describe_put(d, 1, "Resource\tUsed\tHard\n");
		describe_put(d, 1, "--------\t---\t---\n");
		for (uint32_t i = 0; i < n; i++) {
			const struct json *u = json_get(used, json_key(hard[i]));
			describe_put(d, 1, "%.*s\t%s\t%s\n", SPAN_ARG(json_key(hard[i])), u ? describe_value(d, u) : "0",
				     describe_value(d, &hard[i]->value));
		}
	}
}

static void limits(struct describe *d, const struct json *list)
{
	static const char *const parts[] = { "min", "max", "defaultRequest", "default", "maxLimitRequestRatio" };
	const struct json *items = json_getl(list, "items");
	if (!json_is(items, JSON_ARRAY) || !items->n) {
		describe_put(d, 0, "No LimitRange resource.\n");
		return;
	}
	describe_put(d, 0, "Resource Limits\n Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio\n");
	describe_put(d, 0, " ----\t--------\t---\t---\t---------------\t-------------\t-----------------------\n");
	JSON_EACH_ITEM(items, range)
		JSON_EACH_ITEM(json_path(range, "spec", "limits", NULL), l) {
			struct json names = json_object();
			uint32_t n;
			for (size_t i = 0; i < ARRAY_LEN(parts); i++)
				JSON_EACH_MEMBER(json_get(l, span_of(parts[i])), m)
					json_set(&d->f->arena, &names, json_key(m), JSON_NULL_VALUE);
			const struct json_member **rows = describe_sorted(d, &names, &n);
			for (uint32_t k = 0; k < n; k++) {
				describe_put(d, 0, " %s\t%.*s", describe_text(d, l, "type", NULL), SPAN_ARG(json_key(rows[k])));
				for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
					const struct json *v = json_get(json_get(l, span_of(parts[i])), json_key(rows[k]));
					describe_put(d, 0, "\t%s", v ? describe_value(d, v) : "-");
				}
				describe_put(d, 0, "\n");
			}
		}
}

int describe_namespace(struct describe *d, const struct json *o, struct err *err)
{
	const struct json *meta = json_getl(o, "metadata"), *conditions = json_path(o, "status", "conditions", NULL);
	struct span name = json_span(json_getl(meta, "name"));
	struct json quota, limit;
	int rc = ask_of_namespace(d, "resourcequotas", name, &quota, err);
	if (rc == 0)
		rc = ask_of_namespace(d, "limitranges", name, &limit, err);
	if (rc < 0)
		return rc;
	describe_head(d, o, true);
	describe_put(d, 0, "Status:\t%s\n", describe_text(d, o, "status", "phase", NULL));
	JSON_EACH_ITEM(conditions, c) {
		if (c == conditions->items) {
			describe_put(d, 0, "Conditions:\n  Type\tStatus\tLastTransitionTime\tReason\tMessage\n");
			describe_put(d, 1, "----\t------\t------------------\t------\t-------\n");
		}
		describe_put(d, 1, "%s\t%s\t%s\t%s\t%s\n", describe_text(d, c, "type", NULL), describe_text(d, c, "status", NULL),
			     describe_time(d, json_getl(c, "lastTransitionTime")), describe_text(d, c, "reason", NULL),
			     describe_text(d, c, "message", NULL));
	}
	if (!json_is(&quota, JSON_NULL)) {
		describe_put(d, 0, "\n");
		quotas(d, &quota);
	}
	if (!json_is(&limit, JSON_NULL)) {
		describe_put(d, 0, "\n");
		limits(d, &limit);
	}
	return 0;
}

/* ---- data */

static size_t decoded_len(struct span base64)
{
	auto_buf struct buf b = {};
	return base64_parse(&b, BASE64_STD, base64) ? b.len : 0;
}

int describe_config_map(struct describe *d, const struct json *o, struct err *err)
{
	uint32_t n;
	const struct json_member **data;
	describe_head(d, o, true);
	describe_put(d, 0, "\nData\n====\n");
	data = describe_sorted(d, json_getl(o, "data"), &n);
	for (uint32_t i = 0; i < n; i++)
		describe_put(d, 0, "%.*s:\n----\n%s\n\n", SPAN_ARG(json_key(data[i])), describe_value(d, &data[i]->value));
	describe_put(d, 0, "\nBinaryData\n====\n");
	data = describe_sorted(d, json_getl(o, "binaryData"), &n);
	for (uint32_t i = 0; i < n; i++)
		describe_put(d, 0, "%.*s: %zu bytes\n", SPAN_ARG(json_key(data[i])), decoded_len(json_span(&data[i]->value)));
	describe_put(d, 0, "\n");
	describe_events(d);
	return 0;
}

int describe_secret(struct describe *d, const struct json *o, struct err *err)
{
	uint32_t n;
	const struct json_member **data = describe_sorted(d, json_getl(o, "data"), &n);
	bool token = span_is(json_span(json_getl(o, "type")), "kubernetes.io/service-account-token");
	describe_head(d, o, true);
	describe_put(d, 0, "\nType:\t%s\n\nData\n====\n", describe_text(d, o, "type", NULL));
	for (uint32_t i = 0; i < n; i++) {
		struct span value = json_span(&data[i]->value);
		auto_buf struct buf text = {};
		if (token && span_is(json_key(data[i]), "token") && base64_parse(&text, BASE64_STD, value))
			describe_put(d, 0, "%.*s:\t%s\n", SPAN_ARG(json_key(data[i])), buf_cstr(&text));
		else
			describe_put(d, 0, "%.*s:\t%zu bytes\n", SPAN_ARG(json_key(data[i])), decoded_len(value));
	}
	return 0;
}
