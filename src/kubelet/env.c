/* makeEnvironmentVariables of upstream: envFrom first, then env, which sees what stands before it, then what services add. */
#include "kubelet/env.h"

struct vars {
	struct arena *a;
	struct api_pair *items;
	uint32_t n, cap;
	struct map by_name; /* index + 1 */
};

static void set(struct vars *v, struct span name, struct span value)
{
	uintptr_t at = (uintptr_t)map_get(&v->by_name, name);
	if (at) {
		v->items[at - 1].value = value;
		return;
	}
	MEM_GROW(v->items, v->n, v->cap);
	v->items[v->n++] = (struct api_pair){ name, value.ptr ? value : SPAN("") };
	(void)map_put(&v->by_name, name, (void *)(uintptr_t)v->n);
}

static const struct api_pair *get(const struct vars *v, struct span name)
{
	uintptr_t at = (uintptr_t)map_get(&v->by_name, name);
	return at ? &v->items[at - 1] : NULL;
}

static void vars_done(struct vars *v)
{
	map_done(&v->by_name);
	free(v->items);
}

/* ---- $(NAME) */

/* Calls find(name) for each; what it does not know stays. third_party/forked/golang/expansion. */
static struct span expand(struct arena *a, struct span in, const struct api_pair *(*find)(const void *, struct span),
	const void *arg,
			  struct span *out_missing)
{
	auto_buf struct buf out = {};
	if (span_chr(in, '$') < 0)
		return in;
	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] != '$' || i + 1 == in.len) {
			buf_chr(&out, in.ptr[i]);
			continue;
		}
		struct span rest = span_from(in, i + 2);
		ptrdiff_t end = in.ptr[i + 1] == '(' ? span_chr(rest, ')') : -1;
		if (end >= 0) {
			struct span name = span_sub(rest, 0, (size_t)end);
			const struct api_pair *v = find(arg, name);
			if (v)
				buf_span_add(&out, v->value);
			else
				buf_printf(&out, "$(%.*s)", SPAN_ARG(name));
			if (!v && out_missing && !out_missing->ptr)
				*out_missing = name;
			i += 2 + (size_t)end;
		} else if (in.ptr[i + 1] == '$') {
			buf_chr(&out, '$');
			i++;
		} else {
			/* "$(" without an end, or "$x": as it stands. */
			buf_chr(&out, '$');
			buf_chr(&out, in.ptr[++i]);
		}
	}
	return arena_span(a, buf_span(&out));
}

struct pairs {
	const struct api_pair *ptr;
	uint32_t n;
};

static const struct api_pair *find_pair(const void *arg, struct span name)
{
	const struct pairs *p = arg;
	for (uint32_t i = 0; i < p->n; i++)
		if (span_eq(p->ptr[i].key, name))
			return &p->ptr[i];
	return NULL;
}

struct span kl_expand(struct arena *a, struct span text, const struct api_pair *env, uint32_t n, struct span *out_missing)
{
	const struct pairs p = { env, n };
	if (out_missing)
		*out_missing = SPAN_EMPTY;
	return expand(a, text, find_pair, &p, out_missing);
}

/* ---- services: environment variables as of pkg/kubelet/envvars */

static struct span env_name(struct arena *a, struct span name)
{
	char *s = arena_cstr(a, name);
	for (size_t i = 0; i < name.len; i++)
		s[i] = s[i] == '-' ? '_' : s[i] >= 'a' && s[i] <= 'z' ? (char)(s[i] - 32) : s[i];
	return span_make(s, name.len);
}

static void service_vars(struct vars *v, const struct json *svc)
{
	struct arena *a = v->a;
	struct span ip = json_span(json_path(svc, "spec", "clusterIP", NULL));
	struct span name = env_name(a, json_span(json_path(svc, "metadata", "name", NULL)));
	const struct json *ports = json_path(svc, "spec", "ports", NULL);
	if (!ip.len || span_is(ip, "None") || !json_is(ports, JSON_ARRAY) || !ports->n)
		return;
	bool v6 = span_chr(ip, ':') >= 0;
	struct span host = v6 ? arena_printf(a, "[%.*s]", SPAN_ARG(ip)) : ip;
	ip = arena_span(a, ip);
	long long first = json_i64(json_getl(&ports->items[0], "port"), 0);
	set(v, arena_printf(a, "%.*s_SERVICE_HOST", SPAN_ARG(name)), ip);
	set(v, arena_printf(a, "%.*s_SERVICE_PORT", SPAN_ARG(name)), arena_printf(a, "%lld", first));
	JSON_EACH_ITEM(ports, p) {
		struct span pn = json_span(json_getl(p, "name"));
		if (pn.len)
			set(v, arena_printf(a, "%.*s_SERVICE_PORT_%.*s", SPAN_ARG(name), SPAN_ARG(env_name(a, pn))),
			    arena_printf(a, "%lld", (long long)json_i64(json_getl(p, "port"), 0)));
	}
	/* Docker's links. */
	bool begun = false;
	JSON_EACH_ITEM(ports, p) {
		long long port = json_i64(json_getl(p, "port"), 0);
		struct span upper = json_span(json_getl(p, "protocol"));
		if (!upper.len)
			upper = SPAN("TCP");
		char *lower = arena_cstr(a, upper);
		for (char *s = lower; *s; s++)
			*s = *s >= 'A' && *s <= 'Z' ? (char)(*s + 32) : *s;
		struct span url = arena_printf(a, "%s://%.*s:%lld", lower, SPAN_ARG(host), port);
		if (!begun)
			set(v, arena_printf(a, "%.*s_PORT", SPAN_ARG(name)), url);
		begun = true;
		struct span prefix = arena_printf(a, "%.*s_PORT_%lld_%.*s", SPAN_ARG(name), port, SPAN_ARG(upper));
		set(v, prefix, url);
		set(v, arena_printf(a, "%.*s_PROTO", SPAN_ARG(prefix)), span_of(lower));
		set(v, arena_printf(a, "%.*s_PORT", SPAN_ARG(prefix)), arena_printf(a, "%lld", port));
		set(v, arena_printf(a, "%.*s_ADDR", SPAN_ARG(prefix)), ip);
	}
}

/* Those of the pod's namespace, and `kubernetes` of default for everybody; the namespace's own of that name goes before it. */
static void services(struct vars *v, const struct kl_env_params *p)
{
	bool links = !p->pod->spec.has_enable_service_links || p->pod->spec.enable_service_links;
	const struct client_item *master = p->services ? client_informer_get(p->services, SPAN("default/kubernetes")) : NULL;
	const struct client_item *it;
	struct json tree;
	size_t pos = 0;
	if (!p->services)
		return;
	if (master && client_item_tree(v->a, master, &tree, NULL) == 0)
		service_vars(v, &tree);
	while (links && (it = client_informer_next(p->services, &pos)))
		if (it != master && span_eq(it->ns, p->pod->metadata.namespace) && client_item_tree(v->a, it, &tree, NULL) == 0)
			service_vars(v, &tree);
}

/* ---- ConfigMaps and Secrets */

static const char *const kind_names[KL_OBJECT_KINDS] = { "configmap", "secret" };
static const char *const kind_go[KL_OBJECT_KINDS] = { "ConfigMap", "Secret" };

struct data {
	const struct api_pair *ptr;
	uint32_t n;
};

/* optional: an object that is not there has no data. */
static int object_data(struct arena *a, const struct kl_env_params *p, enum kl_object_kind kind, struct span name, bool optional,
		       struct data *out, struct err *err)
{
	struct bytes *json;
	*out = (struct data){};
	switch (kl_objects_look(p->objects, kind, p->pod->metadata.namespace, name, &json)) {
	case KL_SEEN_NOT:
		return err_set(err, ERR_UNAVAILABLE, "failed to sync %s cache: timed out waiting for the condition", kind_names[kind]);
	case KL_SEEN_ABSENT:
		return optional ? 0 : err_set(err, ERR_INVALID, "%s \"%.*s\" not found", kind_names[kind], SPAN_ARG(name));
	case KL_SEEN_THERE:
		break;
	}
	if (kind == KL_SECRET) {
		struct api_core_secret *s = arena_new(a, struct api_core_secret);
		int rc = api_core_secret_decode(a, API_FORM_JSON, bytes_span(json), s, err);
		if (rc < 0)
			return rc;
		*out = (struct data){ s->data.ptr, s->data.n };
		return 0;
	}
	struct api_core_config_map *m = arena_new(a, struct api_core_config_map);
	int rc = api_core_config_map_decode(a, API_FORM_JSON, bytes_span(json), m, err);
	if (rc < 0)
		return rc;
	*out = (struct data){ m->data.ptr, m->data.n };
	return 0;
}

static int from_object(struct vars *v, const struct kl_env_params *p, enum kl_object_kind kind, struct span name,
		       struct span prefix, bool optional, struct err *err)
{
	auto_buf struct buf skipped = {};
	struct data d;
	int rc = object_data(v->a, p, kind, name, optional, &d, err);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < d.n; i++) {
		struct span key = prefix.len ? arena_printf(v->a, "%.*s%.*s", SPAN_ARG(prefix), SPAN_ARG(d.ptr[i].key)) : d.ptr[i].key;
		if (api_name_env_var(key, NULL))
			buf_printf(&skipped, "%s%.*s", skipped.len ? ", " : "", SPAN_ARG(key));
		else
			set(v, arena_span(v->a, key), arena_span(v->a, d.ptr[i].value));
	}
	if (skipped.len && p->skipped) {
		struct span ns = p->pod->metadata.namespace;
		p->skipped(arena_printf(v->a, "Keys [%s] from the EnvFrom %s %.*s/%.*s were skipped since they are considered invalid "
					"environment variable names.", buf_cstr(&skipped), kind == KL_SECRET ? "secret" : "configMap",
					SPAN_ARG(ns), SPAN_ARG(name)), p->arg);
	}
	return 0;
}

/* 1 = the value is there, 0 = it is not and need not be. */
static int key_of(struct vars *v, const struct kl_env_params *p, enum kl_object_kind kind, struct span name, struct span key,
		  bool optional, struct span *out, struct err *err)
{
	struct data d;
	int rc = object_data(v->a, p, kind, name, optional, &d, err);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < d.n; i++)
		if (span_eq(d.ptr[i].key, key)) {
			*out = arena_span(v->a, d.ptr[i].value);
			return 1;
		}
	if (optional)
		return 0;
	struct span ns = p->pod->metadata.namespace;
	return err_set(err, ERR_INVALID, "couldn't find key %.*s in %s %.*s/%.*s", SPAN_ARG(key), kind_go[kind], SPAN_ARG(ns),
		SPAN_ARG(name));
}

/* ---- together */

struct lookup {
	const struct vars *own, *services;
};

static const struct api_pair *find_var(const void *arg, struct span name)
{
	const struct lookup *l = arg;
	const struct api_pair *p = get(l->own, name);
	return p ? p : get(l->services, name);
}

static int value_of(struct vars *v, const struct kl_env_params *p, const struct api_core_env_var *e, const struct lookup *l,
	struct span *out,
		    struct err *err)
{
	const struct api_core_env_var_source *s = e->value_from;
	int rc;
	if (e->value.len || !s) {
		*out = expand(v->a, e->value, find_var, l, NULL);
		return 1;
	}
	if (s->field_ref) {
		rc = kl_field_value(v->a, p->pod, p->facts, s->field_ref->field_path, out, err);
		return rc < 0 ? rc : 1;
	}
	if (s->resource_field_ref) {
		rc = kl_resource_value(v->a, p->pod, p->container, p->facts, s->resource_field_ref, out, err);
		return rc < 0 ? rc : 1;
	}
	if (s->config_map_key_ref)
		return key_of(v, p, KL_CONFIG_MAP, s->config_map_key_ref->name, s->config_map_key_ref->key,
			      s->config_map_key_ref->optional, out, err);
	if (s->secret_key_ref)
		return key_of(v, p, KL_SECRET, s->secret_key_ref->name, s->secret_key_ref->key, s->secret_key_ref->optional, out, err);
	*out = SPAN("");
	return 1;
}

static int fill(struct vars *v, const struct vars *svc, const struct kl_env_params *p, struct err *err)
{
	const struct lookup l = { v, svc };
	for (uint32_t i = 0; i < p->container->env_from.n; i++) {
		const struct api_core_env_from_source *f = &p->container->env_from.ptr[i];
		int rc = 0;
		if (f->config_map_ref)
			rc = from_object(v, p, KL_CONFIG_MAP, f->config_map_ref->name, f->prefix, f->config_map_ref->optional, err);
		else if (f->secret_ref)
			rc = from_object(v, p, KL_SECRET, f->secret_ref->name, f->prefix, f->secret_ref->optional, err);
		if (rc < 0)
			return rc;
	}
	for (uint32_t i = 0; i < p->container->env.n; i++) {
		const struct api_core_env_var *e = &p->container->env.ptr[i];
		struct span value;
		int rc = value_of(v, p, e, &l, &value, err);
		if (rc < 0)
			return rc;
		if (rc > 0)
			set(v, e->name, value);
	}
	return 0;
}

int kl_env_make(struct arena *a, const struct kl_env_params *p, struct api_pair **out, uint32_t *out_n, struct err *err)
{
	struct vars own = { .a = a }, svc = { .a = a };
	services(&svc, p);
	int rc = fill(&own, &svc, p, err);
	if (rc == 0) {
		struct api_pair *all = arena_alloc_n(a, own.n + svc.n + 1, sizeof(*all));
		uint32_t n = own.n;
		if (n)
			memcpy(all, own.items, n * sizeof(*all));
		for (uint32_t i = 0; i < svc.n; i++)
			if (!get(&own, svc.items[i].key))
				all[n++] = svc.items[i];
		*out = all;
		*out_n = n;
	}
	vars_done(&own);
	vars_done(&svc);
	return rc;
}
