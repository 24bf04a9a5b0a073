/* describe of pods, and of the templates that workloads make them from. */
#include "front/describe.h"

/* Of a pod (statuses and values of its fields are known) or of a template. */
struct place {
	const struct json *pod;      /* NULL: a template */
	const char *indent;          /* "" or "  " */
};

void describe_quantities(struct describe *d, unsigned level, const char *title, const struct json *list)
{
	uint32_t n;
	const struct json_member **rows = describe_sorted(d, list, &n);
	if (n)
		describe_put(d, level, "%s:\n", title);
	for (uint32_t i = 0; i < n; i++)
		describe_put(d, level + 1, "%.*s:\t%s\n", SPAN_ARG(json_key(rows[i])), describe_value(d, &rows[i]->value));
}

static void tolerations(struct describe *d, const char *indent, const struct json *list)
{
	uint32_t n = json_is(list, JSON_ARRAY) ? list->n : 0;
	const struct json **rows = arena_alloc_n(&d->f->arena, n + 1, sizeof(*rows));
	describe_put(d, 0, "%sTolerations:\t", indent);
	if (!n)
		describe_put(d, 0, "<none>\n");
	for (uint32_t i = 0; i < n; i++) { /* by key; equal ones stay in order */
		uint32_t k = i;
		struct span key = json_span(json_getl(&list->items[i], "key"));
		for (; k > 0 && span_cmp(json_span(json_getl(rows[k - 1], "key")), key) > 0; k--)
			rows[k] = rows[k - 1];
		rows[k] = &list->items[i];
	}
	for (uint32_t i = 0; i < n; i++) {
		const char *key = describe_text(d, rows[i], "key", NULL), *value = describe_text(d, rows[i], "value", NULL);
		const char *effect = describe_text(d, rows[i], "effect", NULL);
		const struct json *seconds = json_getl(rows[i], "tolerationSeconds");
		describe_put(d, 0, "%s%s%s%s%s%s", i ? "\t" : "", key, *value ? "=" : "", value, *effect ? ":" : "", effect);
		if (span_is(json_span(json_getl(rows[i], "operator")), "Exists") && !*value)
			describe_put(d, 0, "%sop=Exists", *key || *effect ? " " : "");
		if (seconds)
			describe_put(d, 0, " for %llds", (long long)json_i64(seconds, 0));
		describe_put(d, 0, "\n");
	}
}

static void spread(struct describe *d, const char *indent, const struct json *list)
{
	JSON_EACH_ITEM(list, c) {
		if (c == list->items)
			describe_put(d, 0, "%sTopology Spread Constraints:\t", indent);
		else
			describe_put(d, 0, "\t");
		describe_put(d, 0, "%s:%s when max skew %s is exceeded", describe_text(d, c, "topologyKey", NULL),
			     describe_text(d, c, "whenUnsatisfiable", NULL), describe_text(d, c, "maxSkew", NULL));
		if (json_getl(c, "labelSelector"))
			describe_put(d, 0, " for selector %s", describe_selector(d, json_getl(c, "labelSelector")));
		describe_put(d, 0, "\n");
	}
}

/* ---- volumes */

static void describe_projected(struct describe *d, const struct json *sources)
{
	JSON_EACH_ITEM(sources, s) {
		const struct json *secret = json_getl(s, "secret"), *map = json_getl(s, "configMap");
		if (secret)
			describe_put(d, 2, "SecretName:\t%s\n    Optional:\t%s\n", describe_text(d, secret, "name", NULL),
				     json_truth(json_getl(secret, "optional"), false) ? "true" : "false");
		else if (json_getl(s, "downwardAPI"))
			describe_put(d, 2, "DownwardAPI:\ttrue\n");
		else if (map)
			describe_put(d, 2, "ConfigMapName:\t%s\n    Optional:\t%s\n", describe_text(d, map, "name", NULL),
				     json_truth(json_getl(map, "optional"), false) ? "true" : "false");
		else if (json_getl(s, "serviceAccountToken"))
			describe_put(d, 2, "TokenExpirationSeconds:\t%s\n",
				     describe_text(d, s, "serviceAccountToken", "expirationSeconds", NULL));
	}
}

static void downward(struct describe *d, const struct json *items)
{
	JSON_EACH_ITEM(items, i)
		describe_put(d, 3, "%s -> %s\n", json_getl(i, "fieldRef") ? describe_text(d, i, "fieldRef", "fieldPath", NULL)
			     : describe_text(d, i, "resourceFieldRef", "resource", NULL), describe_text(d, i, "path", NULL));
}

enum how { AS_TEXT, AS_BOOL, AS_TEXT_OR_NONE };
static const struct {
	const char *source, *type;
	struct { const char *label, *field; enum how how; } rows[4];
} volumes[] = {
	{ "hostPath", "HostPath (bare host directory volume)", { { "Path", "path", AS_TEXT }, { "HostPathType", "type", AS_TEXT } } },
	{ "emptyDir", "EmptyDir (a temporary directory that shares a pod's lifetime)", { { "Medium", "medium", AS_TEXT } } },
	{ "secret", "Secret (a volume populated by a Secret)", { { "SecretName", "secretName", AS_TEXT }, { "Optional", "optional",
	AS_BOOL } } },
	{ "configMap", "ConfigMap (a volume populated by a ConfigMap)", { { "Name", "name", AS_TEXT }, { "Optional", "optional",
	AS_BOOL } } },
	{ "nfs", "NFS (an NFS mount that lasts the lifetime of a pod)",
	  { { "Server", "server", AS_TEXT }, { "Path", "path", AS_TEXT }, { "ReadOnly", "readOnly", AS_BOOL } } },
	{ "persistentVolumeClaim", "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
	  { { "ClaimName", "claimName", AS_TEXT }, { "ReadOnly", "readOnly", AS_BOOL } } },
	{ "downwardAPI", "DownwardAPI (a volume populated by information about the pod)", { {} } },
	{ "projected", "Projected (a volume that contains injected data from multiple sources)", { {} } },
	{ "csi", "CSI (a Container Storage Interface (CSI) volume source)",
	  { { "Driver", "driver", AS_TEXT }, { "FSType", "fsType", AS_TEXT }, { "ReadOnly", "readOnly", AS_BOOL } } },
	{ "image", "Image (a container image or OCI artifact)",
	  { { "Reference", "reference", AS_TEXT }, { "PullPolicy", "pullPolicy", AS_TEXT } } },
};

static void describe_volume(struct describe *d, const struct json *v)
{
	for (size_t i = 0; i < ARRAY_LEN(volumes); i++) {
		const struct json *s = json_get(v, span_of(volumes[i].source));
		if (!s)
			continue;
		describe_put(d, 2, "Type:\t%s\n", volumes[i].type);
		for (size_t k = 0; k < ARRAY_LEN(volumes[i].rows) && volumes[i].rows[k].label; k++) {
			const struct json *field = json_get(s, span_of(volumes[i].rows[k].field));
			describe_put(d, 2, "%s:\t%s\n", volumes[i].rows[k].label, volumes[i].rows[k].how == AS_BOOL
				     ? json_truth(field, false) ? "true" : "false" : field ? describe_value(d, field) : "");
		}
		if (span_is(span_of(volumes[i].source), "emptyDir")) {
			const char *size = describe_text(d, s, "sizeLimit", NULL);
			describe_put(d, 2, "SizeLimit:\t%s\n", *size && strcmp(size, "0") != 0 ? size : "<unset>");
		}
		if (span_is(span_of(volumes[i].source), "downwardAPI")) {
			describe_put(d, 2, "Items:\n");
			downward(d, json_getl(s, "items"));
		}
		describe_projected(d, json_getl(s, "sources"));
		return;
	}
	/* Sources of clouds and storage systems: named, not spelled out. */
	describe_put(d, 1, "<unknown>\n");
}

static void describe_volumes(struct describe *d, const char *indent, const struct json *list)
{
	bool any = json_is(list, JSON_ARRAY) && list->n;
	describe_put(d, 0, any ? "%sVolumes:\n" : "%sVolumes:\t<none>\n", indent);
	JSON_EACH_ITEM(list, v) {
		describe_put(d, 1, "%s%s:\n", *indent ? " " : "", describe_text(d, v, "name", NULL));
		describe_volume(d, v);
	}
}

/* ---- containers */

static const char *ports(struct describe *d, const struct json *list, const char *field)
{
	auto_buf struct buf b = {};
	JSON_EACH_ITEM(list, p)
		buf_printf(&b, "%s%lld/%s", b.len ? ", " : "", (long long)json_i64(json_get(p, span_of(field)), 0),
			   describe_text(d, p, "protocol", NULL));
	return arena_cstr(&d->f->arena, buf_span(&b));
}

static void describe_ports(struct describe *d, const char *what, const char *text)
{
	if (strchr(text, ','))
		describe_put(d, 2, "%ss:\t%s\n", what, text);
	else
		describe_put(d, 2, "%s:\t%s\n", what, describe_or_none(text));
}

static void words(struct describe *d, const char *title, const struct json *list)
{
	if (json_is(list, JSON_ARRAY) && list->n)
		describe_put(d, 2, "%s:\n", title);
	JSON_EACH_ITEM(list, w) {
		struct span rest = json_span(w), line;
		do {
			struct span tail = SPAN_EMPTY;
			bool more = span_split(rest, '\n', &line, &tail);
			describe_put(d, 3, "%.*s\n", SPAN_ARG(line));
			rest = tail;
			if (!more)
				break;
		} while (true);
	}
}

static void describe_seccomp(struct describe *d, unsigned level, const struct json *context)
{
	const struct json *profile = json_getl(context, "seccompProfile");
	if (!json_is(profile, JSON_OBJECT))
		return;
	describe_put(d, level, "SeccompProfile:\t%s\n", describe_text(d, profile, "type", NULL));
	if (json_getl(profile, "localhostProfile"))
		describe_put(d, level, "LocalhostProfile:\t%s\n", describe_text(d, profile, "localhostProfile", NULL));
}

static void describe_state(struct describe *d, const char *what, const struct json *state)
{
	const struct json *running = json_getl(state, "running"), *ended = json_getl(state, "terminated");
	const char *reason = describe_text(d, state, "waiting", "reason", NULL);
	describe_put(d, 2, "%s:\t%s\n", what, running ? "Running" : ended ? "Terminated" : "Waiting");
	if (running) {
		describe_put(d, 3, "Started:\t%s\n", describe_time(d, json_getl(running, "startedAt")));
	} else if (ended) {
		const char *why = describe_text(d, ended, "reason", NULL), *message = describe_text(d, ended, "message", NULL);
		int64_t signal = json_i64(json_getl(ended, "signal"), 0);
		if (*why)
			describe_put(d, 3, "Reason:\t%s\n", why);
		if (*message)
			describe_put(d, 3, "Message:\t%s\n", message);
		describe_put(d, 3, "Exit Code:\t%lld\n", (long long)json_i64(json_getl(ended, "exitCode"), 0));
		if (signal > 0)
			describe_put(d, 3, "Signal:\t%lld\n", (long long)signal);
		describe_put(d, 3, "Started:\t%s\n", describe_time(d, json_getl(ended, "startedAt")));
		describe_put(d, 3, "Finished:\t%s\n", describe_time(d, json_getl(ended, "finishedAt")));
	} else if (*reason) {
		describe_put(d, 3, "Reason:\t%s\n", reason);
	}
}

static void probe(struct describe *d, const char *what, const struct json *p)
{
	if (!json_is(p, JSON_OBJECT))
		return;
	const struct json *exec = json_getl(p, "exec"), *http = json_getl(p, "httpGet"), *tcp = json_getl(p, "tcpSocket");
	const struct json *grpc = json_getl(p, "grpc");
	describe_put(d, 2, "%s:\t", what);
	if (exec) {
		describe_put(d, 0, "exec [%s]", describe_joined(d, json_getl(exec, "command"), " "));
	} else if (http) {
		const char *scheme = describe_text(d, http, "scheme", NULL), *path = describe_text(d, http, "path", NULL);
		describe_put(d, 0, "http-get %s://%s:%s%s%s", strcmp(scheme, "HTTPS") == 0 ? "https" : "http",
			     describe_text(d, http, "host", NULL), describe_text(d, http, "port", NULL), *path && *path != '/' ? "/" : "",
			     path);
	} else if (tcp) {
		describe_put(d, 0, "tcp-socket %s:%s", describe_text(d, tcp, "host", NULL), describe_text(d, tcp, "port", NULL));
	} else if (grpc) {
		describe_put(d, 0, "grpc <pod>:%s %s", describe_text(d, grpc, "port", NULL), describe_text(d, grpc, "service", NULL));
	} else {
		describe_put(d, 0, "unknown");
	}
	describe_put(d, 0, " delay=%llds timeout=%llds period=%llds #success=%lld #failure=%lld\n",
		     (long long)json_i64(json_getl(p, "initialDelaySeconds"), 0), (long long)json_i64(json_getl(p, "timeoutSeconds"), 0),
		     (long long)json_i64(json_getl(p, "periodSeconds"), 0), (long long)json_i64(json_getl(p, "successThreshold"), 0),
		     (long long)json_i64(json_getl(p, "failureThreshold"), 0));
}

/* What fieldpath.ExtractFieldPathAsString gives, which knows the metadata alone. */
static const char *field_value(struct describe *d, const struct place *at, const char *path)
{
	static const struct { const char *path, *a, *b; } rows[] = {
		{ "metadata.name", "metadata", "name" },         { "metadata.namespace", "metadata", "namespace" },
		{ "metadata.uid", "metadata", "uid" },
	};
	struct span p = span_of(path);
	for (size_t i = 0; at->pod && i < ARRAY_LEN(rows); i++)
		if (strcmp(path, rows[i].path) == 0)
			return describe_text(d, at->pod, rows[i].a, rows[i].b, NULL);
	static const char *const maps[] = { "labels", "annotations" };
	for (size_t i = 0; at->pod && i < ARRAY_LEN(maps); i++) {
		const char *open = arena_printf(&d->f->arena, "metadata.%s['", maps[i]).ptr;
		if (span_starts(p, span_of(open)) && span_ends(p, SPAN("']"))) {
			struct span key = span_sub(p, strlen(open), p.len - 2);
			return describe_value(d, json_get(json_path(at->pod, "metadata", maps[i], NULL),
				key) ?: &(struct json){ .kind = JSON_STRING });
		}
	}
	return "";
}

/* limits.cpu in whole units of its divisor, rounded up. */
static const char *resource_value(struct describe *d, const struct json *ref, const struct json *container)
{
	struct span resource = json_span(json_getl(ref, "resource")), kind, name;
	const char *divisor = describe_text(d, ref, "divisor", NULL);
	struct api_quantity q, unit;
	if (!span_split(resource, '.', &kind, &name))
		return "";
	const struct json *v = json_get(json_get(json_getl(container, "resources"), kind), name);
	if (api_quantity_parse(span_of(v ? describe_value(d, v) : "0"), &q, NULL) < 0 ||
	    api_quantity_parse(span_of(*divisor && strcmp(divisor, "0") != 0 ? divisor : "1"), &unit, NULL) < 0)
		return "";
	bool cpu = span_is(name, "cpu");
	int64_t n = cpu ? api_quantity_milli(&q) : api_quantity_value(&q), by = cpu
		? api_quantity_milli(&unit) : api_quantity_value(&unit);
	if (n == 0 && span_is(kind, "limits") && (cpu || span_is(name, "memory")))
		return "node allocatable";
	int64_t whole = by > 0 ? n / by + (n % by > 0) : 0;
	return by > 0 ? arena_printf(&d->f->arena, "%lld", (long long)whole).ptr : "";
}

static void environment(struct describe *d, const struct place *at, const struct json *container)
{
	const struct json *from = json_getl(container, "envFrom"), *env = json_getl(container, "env");
	if (json_is(from, JSON_ARRAY) && from->n)
		describe_put(d, 2, "Environment Variables from:\n");
	JSON_EACH_ITEM(from, e) {
		const struct json *map = json_getl(e, "configMapRef"), *ref = map ? map : json_getl(e, "secretRef");
		const char *prefix = describe_text(d, e, "prefix", NULL);
		const char *optional = json_truth(json_getl(ref, "optional"), false) ? "true" : "false";
		describe_put(d, 3, "%s\t%s", describe_text(d, ref, "name", NULL), map ? "ConfigMap" : "Secret");
		if (*prefix)
			describe_put(d, 0, " with prefix '%s'", prefix);
		describe_put(d, 0, "\tOptional: %s\n", optional);
	}
	describe_put(d, 2, json_is(env, JSON_ARRAY) && env->n ? "Environment:\n" : "Environment:\t<none>\n");
	JSON_EACH_ITEM(env, e) {
		const char *name = describe_text(d, e, "name", NULL);
		const struct json *source = json_getl(e, "valueFrom"), *field = json_getl(source, "fieldRef");
		const struct json *resource = json_getl(source, "resourceFieldRef"), *secret = json_getl(source, "secretKeyRef");
		const struct json *key = secret ? secret : json_getl(source, "configMapKeyRef");
		if (field) {
			const char *path = describe_text(d, field, "fieldPath", NULL);
			describe_put(d, 3, "%s:\t%s (%s:%s)\n", name, field_value(d, at, path), describe_text(d, field, "apiVersion", NULL),
				path);
		} else if (resource) {
			describe_put(d, 3, "%s:\t%s (%s)\n", name, resource_value(d, resource, container),
				     describe_text(d, resource, "resource", NULL));
		} else if (key) {
			describe_put(d, 3, "%s:\t<set to the key '%s' %s '%s'>\tOptional: %s\n", name, describe_text(d, key, "key", NULL),
				     secret ? "in secret" : "of config map", describe_text(d, key, "name", NULL),
				     json_truth(json_getl(key, "optional"), false) ? "true" : "false");
		} else if (!source) {
			struct span rest = json_span(json_getl(e, "value")), line, tail;
			for (bool first = true, more = true; more; first = false, rest = tail) {
				tail = SPAN_EMPTY;
				more = span_split(rest, '\n', &line, &tail);
				describe_put(d, 3, "%s%s\t%.*s\n", first ? name : "", first ? ":" : "", SPAN_ARG(line));
			}
		}
	}
}

static int by_path(const void *pa, const void *pb)
{
	const struct json *const *a = pa, *const *b = pb;
	return span_cmp(json_span(json_getl(*a, "mountPath")), json_span(json_getl(*b, "mountPath")));
}

static void mounts(struct describe *d, const struct json *container)
{
	const struct json *list = json_getl(container, "volumeMounts"), *devices = json_getl(container, "volumeDevices");
	uint32_t n = json_is(list, JSON_ARRAY) ? list->n : 0;
	const struct json **rows = arena_alloc_n(&d->f->arena, n + 1, sizeof(*rows));
	describe_put(d, 2, n ? "Mounts:\n" : "Mounts:\t<none>\n");
	for (uint32_t i = 0; i < n; i++)
		rows[i] = &list->items[i];
	qsort(rows, n, sizeof(*rows), by_path);
	for (uint32_t i = 0; i < n; i++) {
		struct span sub = json_span(json_getl(rows[i], "subPath"));
		auto_buf struct buf quoted = {};
		if (sub.len)
			api_go_quote(&quoted, sub);
		describe_put(d, 3, "%s from %s (%s%s%s)\n", describe_text(d, rows[i], "mountPath", NULL), describe_text(d, rows[i], "name",
			NULL),
			     json_truth(json_getl(rows[i], "readOnly"), false) ? "ro" : "rw", sub.len ? ",path=" : "", buf_cstr(&quoted));
	}
	JSON_EACH_ITEM(devices, v) {
		if (v == devices->items)
			describe_put(d, 2, n ? "Devices:\n" : "Devices:\t<none>\n");
		describe_put(d, 3, "%s from %s\n", describe_text(d, v, "devicePath", NULL), describe_text(d, v, "name", NULL));
	}
}

static void containers(struct describe *d, const struct place *at, const char *title, const struct json *list, const char *statuses)
{
	bool any = json_is(list, JSON_ARRAY) && list->n;
	describe_put(d, 0, "%s%s:%s\n", at->indent, title, any ? "" : " <none>");
	JSON_EACH_ITEM(list, c) {
		const struct json *status = NULL, *resources = json_getl(c, "resources");
		JSON_EACH_ITEM(json_get(json_getl(at->pod, "status"), span_of(statuses)), s)
			if (span_eq(json_span(json_getl(s, "name")), json_span(json_getl(c, "name"))))
				status = s;
		describe_put(d, 1, "%s%s:\n", *at->indent ? " " : "", describe_text(d, c, "name", NULL));
		if (status)
			describe_put(d, 2, "Container ID:\t%s\n", describe_text(d, status, "containerID", NULL));
		describe_put(d, 2, "Image:\t%s\n", describe_text(d, c, "image", NULL));
		if (status)
			describe_put(d, 2, "Image ID:\t%s\n", describe_text(d, status, "imageID", NULL));
		describe_ports(d, "Port", ports(d, json_getl(c, "ports"), "containerPort"));
		describe_ports(d, "Host Port", ports(d, json_getl(c, "ports"), "hostPort"));
		describe_seccomp(d, 2, json_getl(c, "securityContext"));
		words(d, "Command", json_getl(c, "command"));
		words(d, "Args", json_getl(c, "args"));
		if (status) {
			describe_state(d, "State", json_getl(status, "state"));
			if (json_path(status, "lastState", "terminated", NULL))
				describe_state(d, "Last State", json_getl(status, "lastState"));
			describe_put(d, 2, "Ready:\t%s\n", json_truth(json_getl(status, "ready"), false) ? "True" : "False");
			describe_put(d, 2, "Restart Count:\t%lld\n", (long long)json_i64(json_getl(status, "restartCount"), 0));
		}
		describe_quantities(d, 2, "Limits", json_getl(resources, "limits"));
		describe_quantities(d, 2, "Requests", json_getl(resources, "requests"));
		probe(d, "Liveness", json_getl(c, "livenessProbe"));
		probe(d, "Readiness", json_getl(c, "readinessProbe"));
		probe(d, "Startup", json_getl(c, "startupProbe"));
		environment(d, at, c);
		mounts(d, c);
	}
}

void describe_pod_template(struct describe *d, const struct json *t)
{
	const struct place at = { .indent = "  " };
	const struct json *spec = json_getl(t, "spec"), *notes = json_path(t, "metadata", "annotations", NULL);
	const char *account = describe_text(d, spec, "serviceAccountName", NULL);
	const char *class = describe_text(d, spec, "priorityClassName", NULL);
	describe_put(d, 0, "Pod Template:\n");
	describe_labels(d, "  ", "Labels", json_path(t, "metadata", "labels", NULL));
	if (json_is(notes, JSON_OBJECT) && notes->n)
		describe_annotations(d, "  ", "Annotations", notes);
	if (*account)
		describe_put(d, 1, "Service Account:\t%s\n", account);
	if (json_getl(spec, "initContainers"))
		containers(d, &at, "Init Containers", json_getl(spec, "initContainers"), "");
	containers(d, &at, "Containers", json_getl(spec, "containers"), "");
	describe_volumes(d, "  ", json_getl(spec, "volumes"));
	spread(d, "  ", json_getl(spec, "topologySpreadConstraints"));
	if (*class)
		describe_put(d, 1, "Priority Class Name:\t%s\n", class);
	describe_labels(d, "  ", "Node-Selectors", json_getl(spec, "nodeSelector"));
	tolerations(d, "  ", json_getl(spec, "tolerations"));
}

static void head(struct describe *d, const struct json *pod)
{
	const struct json *spec = json_getl(pod, "spec"), *status = json_getl(pod, "status");
	const struct { const char *label, *value; } rows[] = {
		{ "Priority", describe_text(d, spec, "priority", NULL) },
		{ "Priority Class Name", describe_text(d, spec, "priorityClassName", NULL) },
		{ "Runtime Class Name", describe_text(d, spec, "runtimeClassName", NULL) },
		{ "Service Account", describe_text(d, spec, "serviceAccountName", NULL) },
	};
	const char *node = describe_text(d, spec, "nodeName", NULL);
	describe_head(d, pod, false);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (*rows[i].value)
			describe_put(d, 0, "%s:\t%s\n", rows[i].label, rows[i].value);
	if (*node)
		describe_put(d, 0, "Node:\t%s/%s\n", node, describe_text(d, status, "hostIP", NULL));
	else
		describe_put(d, 0, "Node:\t<none>\n");
	if (json_getl(status, "startTime"))
		describe_put(d, 0, "Start Time:\t%s\n", describe_time(d, json_getl(status, "startTime")));
	describe_labels(d, "", "Labels", json_path(pod, "metadata", "labels", NULL));
	describe_annotations(d, "", "Annotations", json_path(pod, "metadata", "annotations", NULL));
}

static void owner(struct describe *d, const struct json *o)
{
	JSON_EACH_ITEM(json_path(o, "metadata", "ownerReferences", NULL), r)
		if (json_truth(json_getl(r, "controller"), false))
			describe_put(d, 0, "Controlled By:\t%s/%s\n", describe_text(d, r, "kind", NULL), describe_text(d, r, "name", NULL));
}

static void addresses(struct describe *d, const struct json *ips)
{
	bool any = json_is(ips, JSON_ARRAY) && ips->n;
	describe_put(d, 0, any ? "IPs:\n" : "IPs:\t<none>\n");
	JSON_EACH_ITEM(ips, ip)
		describe_put(d, 1, "IP:\t%s\n", describe_text(d, ip, "ip", NULL));
}

static void conditions(struct describe *d, const struct json *pod)
{
	const struct json *gates = json_path(pod, "spec", "readinessGates", NULL), *list = json_path(pod, "status", "conditions", NULL);
	JSON_EACH_ITEM(gates, g) {
		const char *state = "<none>";
		if (g == gates->items)
			describe_put(d, 0, "Readiness Gates:\n  Type\tStatus\n");
		JSON_EACH_ITEM(list, c)
			if (span_eq(json_span(json_getl(c, "type")), json_span(json_getl(g, "conditionType"))))
				state = describe_text(d, c, "status", NULL);
		describe_put(d, 1, "%s \t%s \n", describe_text(d, g, "conditionType", NULL), state);
	}
	JSON_EACH_ITEM(list, c) {
		if (c == list->items)
			describe_put(d, 0, "Conditions:\n  Type\tStatus\n");
		describe_put(d, 1, "%s \t%s \n", describe_text(d, c, "type", NULL), describe_text(d, c, "status", NULL));
	}
}

int describe_pod(struct describe *d, const struct json *pod, struct err *err)
{
	const struct place at = { .pod = pod, .indent = "" };
	const struct json *spec = json_getl(pod, "spec"), *status = json_getl(pod, "status");
	const struct json *going = json_path(pod, "metadata", "deletionTimestamp", NULL);
	const char *phase = describe_text(d, status, "phase", NULL), *reason = describe_text(d, status, "reason", NULL);
	const char *message = describe_text(d, status, "message", NULL), *nominated = describe_text(d, status, "nominatedNodeName",
		NULL);
	head(d, pod);
	if (going && strcmp(phase, "Failed") != 0 && strcmp(phase, "Succeeded") != 0) {
		describe_put(d, 0, "Status:\tTerminating (lasts %s)\n", describe_since(d, going));
		describe_put(d, 0, "Termination Grace Period:\t%ss\n", describe_text(d, pod, "metadata", "deletionGracePeriodSeconds",
			NULL));
	} else {
		describe_put(d, 0, "Status:\t%s\n", phase);
	}
	if (*reason)
		describe_put(d, 0, "Reason:\t%s\n", reason);
	if (*message)
		describe_put(d, 0, "Message:\t%s\n", message);
	describe_seccomp(d, 0, json_getl(spec, "securityContext"));
	describe_put(d, 0, "IP:\t%s\n", describe_text(d, status, "podIP", NULL));
	addresses(d, json_getl(status, "podIPs"));
	owner(d, pod);
	if (*nominated)
		describe_put(d, 0, "NominatedNodeName:\t%s\n", nominated);
	if (json_getl(spec, "resources")) {
		describe_put(d, 0, "Resources:\n");
		describe_quantities(d, 1, "Limits", json_path(spec, "resources", "limits", NULL));
		describe_quantities(d, 1, "Requests", json_path(spec, "resources", "requests", NULL));
	}
	if (json_getl(spec, "initContainers"))
		containers(d, &at, "Init Containers", json_getl(spec, "initContainers"), "initContainerStatuses");
	containers(d, &at, "Containers", json_getl(spec, "containers"), "containerStatuses");
	if (json_getl(spec, "ephemeralContainers"))
		containers(d, &at, "Ephemeral Containers", json_getl(spec, "ephemeralContainers"), "ephemeralContainerStatuses");
	conditions(d, pod);
	describe_volumes(d, "", json_getl(spec, "volumes"));
	describe_put(d, 0, "QoS Class:\t%s\n", describe_text(d, status, "qosClass", NULL));
	describe_labels(d, "", "Node-Selectors", json_getl(spec, "nodeSelector"));
	tolerations(d, "", json_getl(spec, "tolerations"));
	spread(d, "", json_getl(spec, "topologySpreadConstraints"));
	describe_events(d);
	return 0;
}
