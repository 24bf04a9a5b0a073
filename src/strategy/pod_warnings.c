/* Warnings about pods and templates: pkg/api/pod/warnings.go. `at` is PATH_ROOT for a pod, else the template's path. */
#include "strategy/pod.h"

struct warn {
	struct check *c;
	const struct path *at; /* of the template */
	const struct json *spec, *meta;
};

__attribute__((format(printf, 3, 4))) static void warn_at(struct check *c, const struct path *at, const char *fmt, ...)
{
	auto_buf struct buf path = {}, text = {};
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	path_text(at, &path);
	strategy_warn(c->s, "%s: %s", buf_cstr(&path), buf_cstr(&text));
}

static const char *old_label(struct span label)
{
	static const struct { const char *label, *why; } old[] = {
		{ "beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead" },
		{ "beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead" },
		{ "failure-domain.beta.kubernetes.io/region",
		  "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead" },
		{ "failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead" },
		{ "beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead" },
	};
	for (size_t i = 0; i < ARRAY_LEN(old); i++)
		if (span_is(label, old[i].label))
			return old[i].why;
	return NULL;
}

static void warn_term(struct check *c, const struct path *at, const struct json *term, bool values)
{
	const struct path list = PATH(at, "matchExpressions");
	JSON_EACH_INDEX(member(term, "matchExpressions"), e, i) {
		const struct path item = PATH_INDEX(&list, i), values_at = PATH(&item, "values");
		struct span key = member_text(e, "key");
		if (old_label(key))
			warn_at(c, &PATH(&item, "key"), "%.*s is %s", SPAN_ARG(key), old_label(key));
		JSON_EACH_INDEX(values ? member(e, "values") : NULL, v, k) {
			struct api_complaints bad;
			struct span text = json_span(v);
			if (!api_name_label_value(text, &bad))
				continue;
			for (unsigned n = 0; n < bad.n; n++)
				warn_at(c, &PATH_INDEX(&values_at, k), "%.*s is invalid, %s", SPAN_ARG(text), bad.text[n]);
		}
	}
}

static void warn_node_labels(const struct warn *w, const struct path *spec)
{
	const struct path selector = PATH(spec, "nodeSelector"), affinity = PATH(spec, "affinity");
	const struct path node = PATH(&affinity, "nodeAffinity"), spread = PATH(spec, "topologySpreadConstraints");
	const struct path required = PATH(&node, "requiredDuringSchedulingIgnoredDuringExecution");
	const struct path terms = PATH(&required, "nodeSelectorTerms");
	const struct path preferred = PATH(&node, "preferredDuringSchedulingIgnoredDuringExecution");
	const struct json *n = json_path(w->spec, "affinity", "nodeAffinity", NULL);
	JSON_EACH_MEMBER(member(w->spec, "nodeSelector"), m)
		if (old_label(json_key(m)))
			warn_at(w->c, &PATH_KEY(&selector, json_key(m)), "%s", old_label(json_key(m)));
	JSON_EACH_INDEX(json_path(n, "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms", NULL), term, i)
		warn_term(w->c, &PATH_INDEX(&terms, i), term, false);
	JSON_EACH_INDEX(member(n, "preferredDuringSchedulingIgnoredDuringExecution"), term, i)
		warn_term(w->c, &PATH(&PATH_INDEX(&preferred, i), "preference"), member(term, "preference"), true);
	JSON_EACH_INDEX(member(w->spec, "topologySpreadConstraints"), t, i) {
		const struct path item = PATH_INDEX(&spread, i);
		struct span key = member_text(t, "topologyKey");
		if (old_label(key))
			warn_at(w->c, &PATH(&item, "topologyKey"), "%.*s is %s", SPAN_ARG(key), old_label(key));
		if (!member(t, "labelSelector"))
			warn_at(w->c, &PATH(&item, "labelSelector"), "a null labelSelector results in matching no pod");
	}
}

static void warn_annotations(const struct warn *w)
{
	static const struct { const char *key, *why; } old[] = {
		{ "scheduler.alpha.kubernetes.io/critical-pod",
		  "non-functional in v1.16+; use the \"priorityClassName\" field instead" },
		{ "security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead" },
		{ "security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead" },
	};
	const struct path meta = PATH(w->at, "metadata"), at = PATH(&meta, "annotations");
	for (size_t i = 0; i < ARRAY_LEN(old); i++)
		if (json_get(member(w->meta, "annotations"), span_of(old[i].key)))
			warn_at(w->c, &PATH_KEY(&at, span_of(old[i].key)), "%s", old[i].why);
}

/* ---- volumes */
struct mapped {
	struct span path, source;
};

static bool below(struct span inner, struct span outer)
{
	return span_starts(inner, outer) && (inner.len == outer.len || inner.ptr[outer.len] == '/');
}

static void put_mapped(struct buf *out, const struct mapped *m)
{
	api_go_quote(out, m->path);
	if (m->source.len)
		buf_printf(out, " (%.*s)", SPAN_ARG(m->source));
}

struct overlaps {
	struct check *c;
	struct span volume, what;
	struct mapped *seen;
	unsigned n, cap;
};

static void map_path(struct overlaps *o, struct span path, struct span source)
{
	while (path.len && path.ptr[path.len - 1] == '/')
		path.len--;
	const struct mapped now = { path, source };
	for (unsigned i = 0; i < o->n && path.len; i++) {
		if (!o->seen[i].path.len || (!below(o->seen[i].path, path) && !below(path, o->seen[i].path)))
			continue;
		auto_buf struct buf text = {}, name = {};
		put_mapped(&text, &now);
		buf_str(&text, " with ");
		put_mapped(&text, &o->seen[i]);
		api_go_quote(&name, o->volume);
		strategy_warn(o->c->s, "volume %s (%.*s): overlapping paths: %s", buf_cstr(&name), SPAN_ARG(o->what),
			      buf_cstr(&text));
	}
	if (o->n < o->cap)
		o->seen[o->n++] = now;
}

static struct span quoted(struct arena *a, const char *what, struct span name)
{
	auto_buf struct buf b = {};
	buf_printf(&b, "%s ", what);
	api_go_quote(&b, name);
	return arena_span(a, buf_span(&b));
}

static void map_items(struct overlaps *o, const struct json *items, struct span source)
{
	JSON_EACH_ITEM(items, item)
		map_path(o, member_text(item, "path"), source);
}

static struct overlaps overlaps_of(struct check *c, struct span volume, struct span what, uint32_t cap)
{
	return (struct overlaps){ .c = c, .volume = volume, .what = what, .cap = cap,
				  .seen = arena_alloc_n(c->arena, cap + 1, sizeof(struct mapped)) };
}

static void warn_overlaps(struct check *c, const struct json *volume)
{
	struct span name = member_text(volume, "name");
	const struct json *map = member(volume, "configMap"), *secret = member(volume, "secret");
	const struct json *down = member(volume, "downwardAPI"), *sources = member(member(volume, "projected"), "sources");
	struct overlaps o;
	if (map) {
		o = overlaps_of(c, name, quoted(c->arena, "ConfigMap", member_text(map, "name")), json_count(member(map, "items")));
		map_items(&o, member(map, "items"), SPAN_EMPTY);
	}
	if (secret) {
		o = overlaps_of(c, name, quoted(c->arena, "Secret", member_text(secret, "secretName")),
				json_count(member(secret, "items")));
		map_items(&o, member(secret, "items"), SPAN_EMPTY);
	}
	if (down) {
		o = overlaps_of(c, name, SPAN("DownwardAPI"), json_count(member(down, "items")));
		map_items(&o, member(down, "items"), SPAN_EMPTY);
	}
	uint32_t cap = json_count(sources);
	JSON_EACH_ITEM(sources, source)
		JSON_EACH_MEMBER(source, m)
			cap += json_count(member(&m->value, "items"));
	o = overlaps_of(c, name, SPAN("Projected"), cap);
	JSON_EACH_ITEM(sources, source) {
		if (!json_count(source)) {
			auto_buf struct buf text = {};
			api_go_quote(&text, name);
			strategy_warn(c->s, "volume %s (Projected) has no sources provided", buf_cstr(&text));
		}
		map = member(source, "configMap");
		secret = member(source, "secret");
		if (map)
			map_items(&o, member(map, "items"), quoted(c->arena, "ConfigMap", member_text(map, "name")));
		else if (secret)
			map_items(&o, member(secret, "items"), quoted(c->arena, "Secret", member_text(secret, "name")));
		else if (member(source, "downwardAPI"))
			map_items(&o, member(member(source, "downwardAPI"), "items"), SPAN("DownwardAPI"));
		else if (member(source, "serviceAccountToken"))
			map_path(&o, member_text(member(source, "serviceAccountToken"), "path"), SPAN("ServiceAccountToken"));
	}
}

static void warn_volumes(const struct warn *w, const struct path *spec)
{
	static const struct { const char *name, *path, *why; } old[] = {
		{ "photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+" },
		{ "gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+" },
		{ "scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+" },
		{ "flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+" },
		{ "storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+" },
		{ "quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+" },
		{ "glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+" },
		{ "ephemeral", NULL, NULL },
		{ "cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+" },
		{ "rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+" },
	};
	const struct path list = PATH(spec, "volumes");
	JSON_EACH_INDEX(member(w->spec, "volumes"), volume, i) {
		const struct path item = PATH_INDEX(&list, i), eph = PATH(&item, "ephemeral"),
				  claim = PATH(&eph, "volumeClaimTemplate");
		for (size_t k = 0; k < ARRAY_LEN(old); k++) {
			if (!json_get(volume, span_of(old[k].name)))
				continue;
			if (old[k].why)
				warn_at(w->c, &PATH_SPAN(&item, span_of(old[k].path)), "%s", old[k].why);
			else if (json_path(volume, "ephemeral", "volumeClaimTemplate", NULL))
				strategy_warn_claim_spec(w->c->s, &PATH(&claim, "spec"),
							 json_path(volume, "ephemeral", "volumeClaimTemplate", "spec", NULL));
		}
	}
	JSON_EACH_ITEM(member(w->spec, "volumes"), volume)
		warn_overlaps(w->c, volume);
}

/* ---- repeats */
static void warn_repeats(const struct warn *w, const struct path *spec, const char *list, const char *name, const char *what)
{
	const struct path at = PATH_SPAN(spec, span_of(list));
	const struct json *items = json_get(w->spec, span_of(list));
	JSON_EACH_INDEX(items, item, i)
		for (uint32_t k = 0; k < i; k++) {
			if (!span_eq(member_text(&items->items[k], name), member_text(item, name)))
				continue;
			auto_buf struct buf shown = {};
			api_go_quote(&shown, member_text(item, name));
			warn_at(w->c, &PATH_SPAN(&PATH_INDEX(&at, i), span_of(name)), "duplicate %s %s", what, buf_cstr(&shown));
			break;
		}
}

static void warn_empty_secrets(const struct warn *w, const struct path *spec)
{
	const struct path at = PATH(spec, "imagePullSecrets");
	JSON_EACH_INDEX(member(w->spec, "imagePullSecrets"), item, i)
		if (!member_text(item, "name").len)
			warn_at(w->c, &PATH(&PATH_INDEX(&at, i), "name"), "invalid empty name \"\"");
}

/* ---- containers */
static void warn_fraction(struct check *c, const struct path *at, const struct json *list)
{
	static const char *const names[] = { "memory", "ephemeral-storage" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct json *value = json_get(list, span_of(names[i]));
		struct span text = json_span(value);
		struct api_quantity q;
		if (check_quantity(value, &q) && api_quantity_milli(&q) % 1000)
			warn_at(c, &PATH_KEY(at, span_of(names[i])),
				"fractional byte value \"%.*s\" is invalid, must be an integer", SPAN_ARG(text));
	}
}

static void warn_env(struct check *c, const struct path *at, const struct json *env)
{
	JSON_EACH_INDEX(env, var, i) {
		struct span name = member_text(var, "name"), value = member_text(var, "value");
		bool before = false;
		for (uint32_t k = 0; k < i; k++)
			before |= span_eq(member_text(&env->items[k], "name"), name);
		if (!before)
			continue;
		struct span ref = arena_printf(c->arena, "$(%.*s)", SPAN_ARG(name));
		auto_buf struct buf shown = {};
		api_go_quote(&shown, name);
		if (member(var, "valueFrom") || span_eq(value, ref) || !span_has(value, ref))
			warn_at(c, &PATH_INDEX(at, i), "hides previous definition of %s, which may be dropped when using apply",
				buf_cstr(&shown));
	}
}

static bool warn_container(void *ctx, const struct path *at, const struct json *ctr)
{
	const struct warn *w = ctx;
	const struct json *annotations = member(w->meta, "annotations"), *sc = member(ctr, "securityContext");
	const struct path meta = PATH(w->at, "metadata"), annotations_at = PATH(&meta, "annotations"), res = PATH(at, "resources");
	struct span name = member_text(ctr, "name");
	struct span seccomp = arena_printf(w->c->arena, "container.seccomp.security.alpha.kubernetes.io/%.*s", SPAN_ARG(name));
	struct span apparmor = arena_printf(w->c->arena, "container.apparmor.security.beta.kubernetes.io/%.*s", SPAN_ARG(name));
	if (!member(sc, "seccompProfile") && json_get(annotations, seccomp))
		warn_at(w->c, &PATH_KEY(&annotations_at, seccomp),
			"non-functional in v1.27+; use the \"seccompProfile\" field instead");
	if (w->at && !member(sc, "appArmorProfile") && !json_path(w->spec, "securityContext", "appArmorProfile", NULL) &&
	    json_get(annotations, apparmor))
		warn_at(w->c, &PATH_KEY(&annotations_at, apparmor),
			"deprecated since v1.30; use the \"appArmorProfile\" field instead");
	warn_fraction(w->c, &PATH(&res, "limits"), member(member(ctr, "resources"), "limits"));
	warn_fraction(w->c, &PATH(&res, "requests"), member(member(ctr, "resources"), "requests"));
	warn_env(w->c, &PATH(at, "env"), member(ctr, "env"));
	return true;
}

/* Each port against those before it, of all containers. */
static void warn_port(struct check *c, const struct path *at, const struct json *port, const char *other_at,
		      const struct json *other)
{
	struct span ip = member_text(port, "hostIP"), other_ip = member_text(other, "hostIP");
	int64_t host = member_int(port, "hostPort"), other_host = member_int(other, "hostPort");
	if (member_int(port, "containerPort") != member_int(other, "containerPort") ||
	    !span_eq(member_text(port, "protocol"), member_text(other, "protocol")))
		return;
	if (span_eq(ip, other_ip) && host == other_host)
		warn_at(c, at, "duplicate port definition with %s", other_at);
	else if (!host || !other_host)
		warn_at(c, at, "overlapping port definition with %s", other_at);
	else if (host == other_host && !ip.len != !other_ip.len)
		warn_at(c, at, "dangerously ambiguous port definition with %s", other_at);
}

struct ports {
	struct check *c;
	struct port_seen { const struct json *port; struct span at; } *seen;
	uint32_t n;
};

static bool warn_ports(void *ctx, const struct path *at, const struct json *ctr)
{
	struct ports *p = ctx;
	const struct path list = PATH(at, "ports");
	JSON_EACH_INDEX(member(ctr, "ports"), port, i) {
		const struct path item = PATH_INDEX(&list, i);
		struct span name = member_text(port, "name"), ip = member_text(port, "hostIP"),
			    protocol = member_text(port, "protocol");
		auto_buf struct buf text = {};
		path_text(&item, &text);
		if (ip.len && !member_int(port, "hostPort"))
			warn_at(p->c, &item,
				"hostIP set without hostPort: {Name:%.*s HostPort:0 ContainerPort:%lld Protocol:%.*s "
				"HostIP:%.*s}",
				SPAN_ARG(name), (long long)member_int(port, "containerPort"), SPAN_ARG(protocol), SPAN_ARG(ip));
		for (uint32_t k = 0; k < p->n; k++)
			warn_port(p->c, &item, port, p->seen[k].at.ptr, p->seen[k].port);
		p->seen[p->n++] = (struct port_seen){ port, arena_span(p->c->arena, buf_span(&text)) };
	}
	return true;
}

static bool count_ports(void *ctx, const struct path *at, const struct json *ctr)
{
	*(uint32_t *)ctx += json_count(member(ctr, "ports"));
	return true;
}

static void warn_null_selectors(const struct warn *w, const struct path *spec)
{
	static const char *const kinds[] = { "podAffinity", "podAntiAffinity" };
	const struct path affinity = PATH(spec, "affinity");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct json *kind = json_get(member(w->spec, "affinity"), span_of(kinds[i]));
		const struct path at = PATH_SPAN(&affinity, span_of(kinds[i]));
		const struct path required = PATH(&at, "requiredDuringSchedulingIgnoredDuringExecution");
		const struct path preferred = PATH(&at, "preferredDuringSchedulingIgnoredDuringExecution");
		static const char why[] = "a null labelSelector results in matching no pod";
		JSON_EACH_INDEX(member(kind, "requiredDuringSchedulingIgnoredDuringExecution"), t, k)
			if (!member(t, "labelSelector"))
				warn_at(w->c, &PATH(&PATH_INDEX(&required, k), "labelSelector"), "%s", why);
		JSON_EACH_INDEX(member(kind, "preferredDuringSchedulingIgnoredDuringExecution"), t, k) {
			const struct path item = PATH_INDEX(&preferred, k), term = PATH(&item, "podAffinityTerm");
			if (!member(member(t, "podAffinityTerm"), "labelSelector"))
				warn_at(w->c, &PATH(&term, "labelSelector"), "%s", why);
		}
	}
}

void pod_warnings(struct check *c, const struct path *at, const struct json *spec, const struct json *meta)
{
	struct warn w = { c, at, spec, meta };
	const struct path spec_at = PATH(at, "spec"), meta_at = PATH(at, "metadata"),
			  annotations_at = PATH(&meta_at, "annotations");
	struct span seccomp = SPAN("seccomp.security.alpha.kubernetes.io/pod");
	uint32_t n = 0;
	warn_node_labels(&w, &spec_at);
	warn_annotations(&w);
	warn_volumes(&w, &spec_at);
	warn_repeats(&w, &spec_at, "hostAliases", "ip", "ip");
	warn_repeats(&w, &spec_at, "imagePullSecrets", "name", "name");
	warn_empty_secrets(&w, &spec_at);
	warn_fraction(c, &PATH(&spec_at, "overhead"), member(spec, "overhead"));
	if (!json_path(spec, "securityContext", "seccompProfile", NULL) && json_get(member(meta, "annotations"), seccomp))
		warn_at(c, &PATH_KEY(&annotations_at, seccomp),
			"non-functional in v1.27+; use the \"seccompProfile\" field instead");
	pod_containers_each(&spec_at, spec, warn_container, &w);
	pod_containers_each(&spec_at, spec, count_ports, &n);
	struct ports ports = { .c = c, .seen = arena_alloc_n(c->arena, n + 1, sizeof(struct port_seen)) };
	pod_containers_each(&spec_at, spec, warn_ports, &ports);
	if (member_int(spec, "terminationGracePeriodSeconds") < 0)
		warn_at(c, &PATH(&spec_at, "terminationGracePeriodSeconds"),
			"must be >= 0; negative values are invalid and will be treated as 1");
	warn_null_selectors(&w, &spec_at);
}
