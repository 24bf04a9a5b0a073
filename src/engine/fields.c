/* Documents in the shape of the client's version: fields.def applied. Inside, everything has the shape of the newest version. */
#include <unistd.h>

#include "engine/private.h"

struct field {
	enum engine_doc doc;
	const char *path;
	unsigned since, until;
};
static const struct field fields[] = {
#define FIELD(doc, path, since, until) { ENGINE_DOC_##doc, path, since, until },
#define SHAPE(doc, function, since, until)
#define KNOWN(doc, path, names)
#include "engine/fields.def"
#undef FIELD
#undef SHAPE
#undef KNOWN
};

#define FIELD(doc, path, since, until)
#define SHAPE(doc, function, since, until) static void shape_##function(struct arena *a, struct json *v);
#define KNOWN(doc, path, names)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wredundant-decls"
#include "engine/fields.def"
#pragma GCC diagnostic pop
#undef FIELD
#undef SHAPE

struct shape {
	enum engine_doc doc;
	void (*fn)(struct arena *a, struct json *v);
	unsigned since, until;
};
static const struct shape shapes[] = {
#define FIELD(doc, path, since, until)
#define SHAPE(doc, function, since, until) { ENGINE_DOC_##doc, shape_##function, since, until },
#include "engine/fields.def"
#undef FIELD
#undef SHAPE
#undef KNOWN
};

struct known {
	enum engine_doc doc;
	const char *path, *names;
};
static const struct known knowns[] = {
#define FIELD(doc, path, since, until)
#define SHAPE(doc, function, since, until)
#define KNOWN(doc, path, names) { ENGINE_DOC_##doc, path, names },
#include "engine/fields.def"
};

static bool exists(unsigned api, unsigned since, unsigned until)
{
	return api >= since && (!until || api < until);
}

/* Paths of the table are at most some steps deep, and so is this. */
static void field_remove(struct json *v, struct span path)
{
	struct span step, rest;
	bool more = span_split(path, '.', &step, &rest);
	if (span_is(step, "[]")) {
		JSON_EACH_ITEM(v, i)
			field_remove(i, rest);
	} else if (span_is(step, "{}")) {
		JSON_EACH_MEMBER(v, m)
			field_remove(&m->value, rest);
	} else if (more) {
		struct json *inner = json_get(v, step);
		if (inner)
			field_remove(inner, rest);
	} else if (v->kind == JSON_OBJECT) {
		(void)json_remove(v, step);
	}
}

void engine_shape(enum engine_doc doc, unsigned api, struct arena *a, struct json *v)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (fields[i].doc == doc && !exists(api, fields[i].since, fields[i].until))
			field_remove(v, span_of(fields[i].path));
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
		if (shapes[i].doc == doc && exists(api, shapes[i].since, shapes[i].until))
			shapes[i].fn(a, v);
}

void engine_fields_count(struct engine_call *c, enum engine_doc doc, const struct json *v)
{
	static const char *const names[] = {
#define DOC(name) #name,
#include "engine/docs.def"
#undef DOC
	};
	for (size_t i = 0; i < ARRAY_LEN(knowns); i++) {
		if (knowns[i].doc != doc)
			continue;
		const struct json *at = knowns[i].path[0] ? json_get(v, span_of(knowns[i].path)) : v;
		JSON_EACH_MEMBER(at, m) {
			bool found = false;
			struct span rest = span_of(knowns[i].names), one;
			/* Go's decoder takes names in any case. */
			while (!found && span_cut(&rest, ',', &one))
				found = span_eq_nocase(one, json_key(m));
			if (!found)
				metrics_inc(METRICS_SERIES(c->e->counted, ENGINE_UNKNOWN_FIELDS, span_of(names[doc]), json_key(m)));
		}
	}
}

void engine_fields_name(enum engine_doc doc, struct json *v)
{
	for (size_t i = 0; i < ARRAY_LEN(knowns); i++) {
		if (knowns[i].doc != doc)
			continue;
		struct json *at = knowns[i].path[0] ? json_get(v, span_of(knowns[i].path)) : v;
		JSON_EACH_MEMBER(at, m) {
			struct span rest = span_of(knowns[i].names), one;
			while (span_cut(&rest, ',', &one))
				if (span_eq_nocase(one, json_key(m))) {
					m->key = one.ptr;
					break;
				}
		}
	}
}

/* ---- shapes ---- */

static void set_missing(struct arena *a, struct json *v, const char *key, struct json value)
{
	const struct json *is = json_get(v, span_of(key));
	if (!is)
		(void)json_set(a, v, span_of(key), value);
}

static void none_list(struct arena *a, struct json *v, const char *key, const char *none)
{
	struct json *list = json_get(v, span_of(key));
	if (!json_is(list, JSON_ARRAY) || !list->n) {
		struct json one = json_array();
		(void)json_push(a, &one, json_cstr(none));
		(void)json_set(a, v, span_of(key), one);
	}
}

static void shape_none_tags(struct arena *a, struct json *v)
{
	const struct json *tags = json_getl(v, "RepoTags"), *digests = json_getl(v, "RepoDigests");
	if (tags && tags->n)
		return;
	bool had_digest = digests && digests->n;
	none_list(a, v, "RepoTags", "<none>:<none>");
	if (!had_digest)
		none_list(a, v, "RepoDigests", "<none>@<none>");
}

static void shape_virtual_size(struct arena *a, struct json *v)
{
	(void)json_setl(a, v, "VirtualSize", json_int(json_i64(json_getl(v, "Size"), 0)));
}

static void shape_df_virtual_size(struct arena *a, struct json *v)
{
	JSON_EACH_ITEM(json_getl(v, "Images"), i)
		shape_virtual_size(a, i);
}

/* A Config as container.Config writes it: members that are not omitted when they are empty. */
static void config_fill(struct arena *a, struct json *v, bool of_container)
{
	static const char *const texts[] = { "Hostname", "Domainname", "Image" };
	static const char *const truths[] = { "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce" };
	static const char *const nulls[] = { "Env", "Cmd", "Volumes", "Entrypoint", "OnBuild", "Labels" };
	set_missing(a, v, "User", json_cstr(""));
	set_missing(a, v, "WorkingDir", json_cstr(""));
	for (size_t i = 0; of_container && i < ARRAY_LEN(texts); i++)
		set_missing(a, v, texts[i], json_cstr(""));
	for (size_t i = 0; of_container && i < ARRAY_LEN(truths); i++)
		set_missing(a, v, truths[i], json_bool(false));
	for (size_t i = 0; i < ARRAY_LEN(nulls); i++)
		set_missing(a, v, nulls[i], JSON_NULL_VALUE);
}

static void shape_image_container(struct arena *a, struct json *v)
{
	struct json *config = json_getl(v, "ContainerConfig");
	if (!config)
		config = json_setl(a, v, "ContainerConfig", json_object());
	if (json_is(config, JSON_OBJECT))
		config_fill(a, config, true);
	set_missing(a, v, "Container", json_cstr(""));
}

static void shape_image_config_full(struct arena *a, struct json *v)
{
	struct json *config = json_getl(v, "Config");
	if (json_is(config, JSON_OBJECT))
		config_fill(a, config, true);
}

static void shape_image_config_50(struct arena *a, struct json *v)
{
	struct json *config = json_getl(v, "Config");
	if (json_is(config, JSON_OBJECT))
		config_fill(a, config, false);
}

static void shape_created_number(struct arena *a, struct json *v)
{
	const struct json *created = json_getl(v, "Created");
	if (json_is(created, JSON_STRING))
		(void)json_setl(a, v, "Created", json_int(engine_unix_of(json_span(created))));
}

static void shape_network_settings(struct arena *a, struct json *v)
{
	static const char *const texts[] = { "EndpointID", "Gateway", "GlobalIPv6Address", "IPAddress", "IPv6Gateway", "MacAddress" };
	static const char *const numbers[] = { "GlobalIPv6PrefixLen", "IPPrefixLen" };
	struct json *ns = json_getl(v, "NetworkSettings");
	if (!json_is(ns, JSON_OBJECT))
		return;
	const struct json *bridge = json_path(ns, "Networks", "bridge", NULL);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		set_missing(a, ns, texts[i], json_str(json_span(json_get(bridge, span_of(texts[i])))));
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		set_missing(a, ns, numbers[i], json_int(json_i64(json_get(bridge, span_of(numbers[i])), 0)));
	set_missing(a, ns, "Bridge", json_cstr(""));
	set_missing(a, ns, "HairpinMode", json_bool(false));
	set_missing(a, ns, "LinkLocalIPv6Address", json_cstr(""));
	set_missing(a, ns, "LinkLocalIPv6PrefixLen", json_int(0));
	set_missing(a, ns, "SecondaryIPAddresses", JSON_NULL_VALUE);
	set_missing(a, ns, "SecondaryIPv6Addresses", JSON_NULL_VALUE);
}

static void alias_add(struct arena *a, struct json *list, struct span name)
{
	if (!name.len)
		return;
	JSON_EACH_ITEM(list, i)
		if (span_eq(json_span(i), name))
			return;
	(void)json_push(a, list, json_str(name));
}

static void shape_short_aliases(struct arena *a, struct json *v)
{
	struct span id = span_sub(json_span(json_getl(v, "Id")), 0, 12);
	struct span hostname = json_span(json_path(v, "Config", "Hostname", NULL));
	JSON_EACH_MEMBER(json_path(v, "NetworkSettings", "Networks", NULL), m) {
		struct span name = json_key(m);
		if (span_is(name, "bridge") || span_is(name, "host") || span_is(name, "none") || m->value.kind != JSON_OBJECT)
			continue;
		struct json *list = json_getl(&m->value, "Aliases"), fresh = json_array();
		if (!json_is(list, JSON_ARRAY))
			list = json_setl(a, &m->value, "Aliases", fresh);
		alias_add(a, list, id);
		alias_add(a, list, hostname);
	}
}

/* "name=seccomp,profile=builtin" was "seccomp" once. */
static void shape_security_names(struct arena *a, struct json *v)
{
	JSON_EACH_ITEM(json_getl(v, "SecurityOptions"), i) {
		struct span rest = json_span(i), one, key, value;
		if (span_cut(&rest, ',', &one) && span_split(one, '=', &key, &value) && span_is(key, "name"))
			*i = json_str(value);
	}
}

static struct json *host_config(struct arena *a, struct json *v)
{
	struct json *host = json_getl(v, "HostConfig");
	return json_is(host, JSON_OBJECT) ? host : json_setl(a, v, "HostConfig", json_object());
}

static void shape_ipc_shareable(struct arena *a, struct json *v)
{
	struct json *host = host_config(a, v);
	if (!json_span(json_getl(host, "IpcMode")).len)
		(void)json_setl(a, host, "IpcMode", json_cstr("shareable"));
}

/* What clients before 1.41 expect; there was no other mode then, and on cgroup v2 Docker gives them the new one too. */
static void shape_cgroupns_host(struct arena *a, struct json *v)
{
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0)
		return;
	(void)json_setl(a, host_config(a, v), "CgroupnsMode", json_cstr("host"));
}
