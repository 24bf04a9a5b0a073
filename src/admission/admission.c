/* The table of plugins, the flags that choose among them, the two passes, and what all plugins share.
 *
 * Invariant 1: rows stand in the recommended order of kube-apiserver 1.33 (pkg/kubeapiserver/options/plugins.go); a plugin
 * sees what
 * those before it have done.
 * Invariant 2: a plugin that does not handle an operation is not called for it (admission.Handler upstream). */
#include "admission/private.h"

const struct admission_config admission_config_default = {
	.enforce = { ADMISSION_PRIVILEGED, true, 0 },
	.audit = { ADMISSION_PRIVILEGED, true, 0 },
	.warn = { ADMISSION_PRIVILEGED, true, 0 },
	.not_ready_toleration_s = 300,
	.unreachable_toleration_s = 300,
};

#define C ADMISSION_CREATE
#define U ADMISSION_UPDATE
#define D ADMISSION_DELETE
static const struct admission_plugin plugins[] = {
	{ "NamespaceLifecycle", true, C | U | D, NULL, admission_lifecycle, NULL },
#include "admission/plugins.def"
};
#undef C
#undef U
#undef D
_Static_assert(ARRAY_LEN(plugins) <= 64, "a set is 64 bits");

unsigned admission_plugin_n(void)
{
	return ARRAY_LEN(plugins);
}

const struct admission_plugin *admission_plugin_at(unsigned i)
{
	assert(i < ARRAY_LEN(plugins));
	return &plugins[i];
}

static int index_of(struct span name)
{
	for (unsigned i = 0; i < ARRAY_LEN(plugins); i++)
		if (span_is(name, plugins[i].name))
			return (int)i;
	return -1;
}

bool admission_set_has(const struct admission_set *set, struct span name)
{
	int i = index_of(name);
	return i >= 0 && (set->on >> i & 1);
}

/* ---- flags */
struct complaints {
	struct buf text;
	unsigned n;
};

static uint64_t names_read(struct span list, const char *flag, struct complaints *bad)
{
	uint64_t set = 0;
	struct span name;
	while (span_cut(&list, ',', &name)) {
		int i = index_of(name);
		if (i >= 0) {
			set |= UINT64_C(1) << i;
			continue;
		}
		if (bad->n++)
			buf_str(&bad->text, ", ");
		buf_printf(&bad->text, "%s plugin ", flag);
		api_go_quote(&bad->text, name);
		buf_str(&bad->text, " is unknown");
	}
	return set;
}

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int admission_set_parse(struct span enable, struct span disable, struct admission_set *out, struct err *err)
{
	struct complaints bad = {};
	uint64_t on = names_read(enable, "enable-admission-plugins", &bad);
	uint64_t off = names_read(disable, "disable-admission-plugins", &bad);
	if (on & off) {
		const char *both[ARRAY_LEN(plugins)] = { NULL };
		unsigned n = 0;
		for (unsigned i = 0; i < ARRAY_LEN(plugins); i++)
			if ((on & off) >> i & 1)
				both[n++] = plugins[i].name;
		qsort(both, n, sizeof(both[0]), name_cmp);
		buf_str(&bad.text, bad.n++ ? ", [" : "[");
		for (unsigned i = 0; i < n; i++)
			buf_printf(&bad.text, "%s%s", i ? " " : "", both[i]);
		buf_str(&bad.text, "] in enable-admission-plugins and disable-admission-plugins overlapped");
	}
	if (bad.n) {
		int rc = err_set(err, ERR_USAGE, bad.n > 1 ? "[%s]" : "%s", buf_cstr(&bad.text));
		buf_done(&bad.text);
		return rc;
	}
	out->on = on;
	for (unsigned i = 0; i < ARRAY_LEN(plugins); i++)
		if (plugins[i].on && !(off >> i & 1))
			out->on |= UINT64_C(1) << i;
	return 0;
}

/* ---- the passes */
static int run(const struct admission_set *set, struct admission *req, bool mutate, struct err *err)
{
	for (unsigned i = 0; i < ARRAY_LEN(plugins); i++) {
		const struct admission_plugin *p = &plugins[i];
		admission_fn *fn = mutate ? p->mutate : p->validate;
		if (!fn || !(set->on >> i & 1) || !(p->ops & req->op))
			continue;
		int rc = fn(req, err);
		if (req->ran)
			req->ran(req->ran_arg, i, !mutate, rc < 0);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int admission_mutate(const struct admission_set *set, struct admission *req, struct err *err)
{
	return run(set, req, true, err);
}

int admission_validate(const struct admission_set *set, struct admission *req, struct err *err)
{
	return run(set, req, false, err);
}

/* ---- answers */
int admission_forbid_name(const struct admission *req, struct span name, struct err *err, struct span why)
{
	const struct api_resource *r = req->resource;
	auto_buf struct buf quoted = {};
	if (name.len) {
		buf_chr(&quoted, ' ');
		api_go_quote(&quoted, name);
	}
	return err_set(err, ERR_FORBIDDEN, "%.*s%s%.*s%s is forbidden: %.*s", SPAN_ARG(r->plural), r->group.len ? "." : "",
		       SPAN_ARG(r->group), buf_cstr(&quoted), SPAN_ARG(why));
}

int admission_forbid(const struct admission *req, struct err *err, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct span why = arena_vprintf(req->arena, fmt, ap);
	va_end(ap);
	struct span name = req->name;
	if (!name.len)
		name = name_of(req->object);
	if (!name.len)
		name = text_of(meta_of(req->object), "generateName");
	return admission_forbid_name(req, name.len ? name : SPAN("Unknown"), err, why);
}

int admission_missing(struct admission *req, struct span resource, struct span name, struct err *err)
{
	req->missing_resource = resource;
	req->missing_name = name;
	return err_set(err, ERR_NOT_FOUND, "%.*s \"%.*s\" not found", SPAN_ARG(resource), SPAN_ARG(name));
}

void admission_warn(struct admission *req, struct span text)
{
	if (req->n_warnings == req->cap_warnings) {
		unsigned cap = req->cap_warnings ? req->cap_warnings * 2 : 4;
		struct span *list = arena_alloc_n(req->arena, cap, sizeof(*list));
		if (req->n_warnings)
			memcpy(list, req->warnings, req->n_warnings * sizeof(*list));
		req->warnings = list;
		req->cap_warnings = cap;
	}
	req->warnings[req->n_warnings++] = arena_span(req->arena, text);
}

void admission_audit(struct admission *req, const char *key, struct span value)
{
	if (req->n_audit == req->cap_audit) {
		unsigned cap = req->cap_audit ? req->cap_audit * 2 : 4;
		struct admission_annotation *list = arena_alloc_n(req->arena, cap, sizeof(*list));
		if (req->n_audit)
			memcpy(list, req->audit, req->n_audit * sizeof(*list));
		req->audit = list;
		req->cap_audit = cap;
	}
	req->audit[req->n_audit++] = (struct admission_annotation){ span_of(key), arena_span(req->arena, value) };
}

/* ---- questions */
bool admission_is(const struct admission *req, const char *group, const char *plural)
{
	return span_is(req->resource->group, group) && span_is(req->resource->plural, plural);
}

const struct json *admission_get(const struct admission *req, const char *group, const char *resource, struct span ns,
				 struct span name)
{
	return req->lookup->get(req->lookup->arg, req->arena, span_of(group), span_of(resource), ns, name);
}

const struct json *admission_list(const struct admission *req, const char *group, const char *resource, struct span ns)
{
	return req->lookup->list(req->lookup->arg, req->arena, span_of(group), span_of(resource), ns);
}

bool admission_allows(const struct admission *req, const struct admission_ask *ask)
{
	struct span reason = SPAN_EMPTY;
	return !req->lookup->allows || req->lookup->allows(req->lookup->arg, req->arena, ask, &reason);
}

const struct admission_config *admission_settings(const struct admission *req)
{
	return req->config ? req->config : &admission_config_default;
}

/* ---- trees */
static struct json *member_made(struct arena *a, struct json *object, const char *key, enum json_kind kind)
{
	struct json *v = json_get(object, span_of(key));
	if (json_is(v, kind))
		return v;
	return json_set(a, object, span_of(key), kind == JSON_ARRAY ? json_array() : json_object());
}

struct json *admission_object(struct arena *a, struct json *object, const char *key)
{
	return member_made(a, object, key, JSON_OBJECT);
}

struct json *admission_array(struct arena *a, struct json *object, const char *key)
{
	return member_made(a, object, key, JSON_ARRAY);
}

/* ---- NamespaceLifecycle: nothing is made in a namespace that is absent or on its way out, and three never go. */
static bool is_immortal(struct span ns)
{
	return span_is(ns, "default") || span_is(ns, "kube-system") || span_is(ns, "kube-public");
}

int admission_lifecycle(struct admission *req, struct err *err)
{
	bool is_namespace = admission_is(req, "", "namespaces");
	if (req->op == ADMISSION_DELETE && is_namespace && is_immortal(req->name))
		return admission_forbid_name(req, req->name, err, SPAN("this namespace may not be deleted"));
	/* Answers about the namespace would tell an access review's sender what they may not see. */
	if (is_namespace || !req->ns.len || req->op != ADMISSION_CREATE ||
	    admission_is(req, "authorization.k8s.io", "localsubjectaccessreviews"))
		return 0;
	const struct json *ns = admission_get(req, "", "namespaces", SPAN_EMPTY, req->ns);
	if (!ns)
		return admission_missing(req, SPAN("namespaces"), req->ns, err);
	if (!span_is(text_of(json_getl(ns, "status"), "phase"), "Terminating"))
		return 0;
	int rc = admission_forbid(req, err, "unable to create new content in namespace %.*s because it is being terminated",
				  SPAN_ARG(req->ns));
	if (err) {
		auto_buf struct buf why = {};
		buf_printf(&why, "namespace %.*s is being terminated", SPAN_ARG(req->ns));
		err_cause_add(err, SPAN("metadata.namespace"), "NamespaceTerminating", buf_span(&why));
	}
	return rc;
}
