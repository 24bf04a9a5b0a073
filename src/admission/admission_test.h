/* For tests of admission: a request, the cluster around it, and what must come out. Single quotes in literals stand for
 * double ones. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "admission/admission.h"

struct row {
	const char *kind;     /* "v1 Pod", "apps/v1 Deployment" */
	const char *object;   /* JSON; NULL: none */
	const char *want;     /* the whole message; NULL: admitted */
	const char *old;
	const char *sub;
	const char *stored;   /* what the object must be afterwards, member order aside; NULL: not compared */
	const char *warnings; /* joined with " | "; NULL: none */
	const char *audit;    /* key=value joined with " | "; NULL: not compared */
	const char *user, *groups; /* groups blank-separated */
	enum admission_op op; /* 0: CREATE, or UPDATE when there is an old one */
	const char *name;     /* of the request; NULL: "x"; "" none */
	const char *ns;       /* NULL: "ns" where the kind has one */
};

/* The cluster: a JSON object "resource.group/ns/name" (or "resource/ns/name") to object, in the order that lists have. */
static const char *test_cluster = "{}";
static const char *test_denied = ""; /* "verb resource/sub name" answers with no; others with yes */
static const struct admission_config *test_config;

static struct span unquote(struct arena *a, const char *text)
{
	char *copy = arena_cstr(a, span_of(text));
	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	return span_of(copy);
}

static struct json *tree_of(struct arena *a, const char *text)
{
	auto_err struct err err = ERR_INIT;
	struct json *v = arena_new(a, struct json);
	if (json_parse(a, unquote(a, text), 0, NULL, v, &err) < 0)
		fail_msg("%s: %s", text, err_msg(&err));
	return v;
}

static struct span key_prefix(struct arena *a, struct span group, struct span resource, struct span ns)
{
	return arena_printf(a, "%.*s%s%.*s/%.*s/", SPAN_ARG(resource), group.len ? "." : "", SPAN_ARG(group), SPAN_ARG(ns));
}

static const struct json *test_get(void *arg, struct arena *a, struct span group, struct span resource, struct span ns,
				   struct span name)
{
	struct span key = key_prefix(a, group, resource, ns);
	return json_get(arg, arena_printf(a, "%.*s%.*s", SPAN_ARG(key), SPAN_ARG(name)));
}

static const struct json *test_list(void *arg, struct arena *a, struct span group, struct span resource, struct span ns)
{
	struct span key = key_prefix(a, group, resource, ns);
	struct json *list = arena_new(a, struct json);
	*list = json_array();
	JSON_EACH_MEMBER((struct json *)arg, m)
		if (span_starts(json_key(m), key))
			json_push(a, list, m->value);
	return list;
}

static bool test_allows(void *arg, struct arena *a, const struct admission_ask *ask, struct span *out_reason)
{
	struct span q = arena_printf(a, "%.*s %.*s.%.*s/%.*s %.*s", SPAN_ARG(ask->verb), SPAN_ARG(ask->resource),
				     SPAN_ARG(ask->group), SPAN_ARG(ask->subresource), SPAN_ARG(ask->name));
	return !span_has(span_of(test_denied), q);
}

static const struct api_resource *test_kind(void *arg, struct span group, struct span version, struct span kind)
{
	static struct api_registry *r;
	if (!r)
		r = api_registry_builtin(true);
	return api_registry_find_kind(r, group, version, kind);
}

static void test_suffix(void *arg, char *out, size_t len)
{
	memset(out, 'z', len);
}

static struct span *words_of(struct arena *a, const char *text, unsigned *out_n)
{
	struct span rest = span_of(text), word;
	struct span *list = arena_alloc_n(a, rest.len + 1, sizeof(*list));
	*out_n = 0;
	while (span_cut(&rest, ' ', &word))
		list[(*out_n)++] = word;
	return list;
}

static const struct api_resource *resource_of(const char *text)
{
	static struct api_registry *r;
	if (!r)
		r = api_registry_builtin(true);
	struct span gv, kind, group = SPAN_EMPTY, version;
	span_split(span_of(text), ' ', &gv, &kind);
	if (!span_split(gv, '/', &group, &version)) {
		version = gv;
		group = SPAN_EMPTY;
	}
	const struct api_resource *found = api_registry_find_kind(r, group, version, kind);
	if (!found)
		fail_msg("%s: no such resource", text);
	return found;
}

static void expect(const char *what, const char *about, const char *want, const char *have)
{
	if (strcmp(want, have) != 0)
		fail_msg("%s\n%s: want %s\nhave %s", about, what, want, have);
}

/* Runs only the plugin named, both passes. */
static void run_row(const char *plugin, const struct row *row)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	const struct api_resource *r = resource_of(row->kind);
	struct admission_lookup lookup = { tree_of(&a, test_cluster), test_get, test_list, test_allows, test_kind, test_suffix };
	struct admission req = {
		.arena = &a, .lookup = &lookup, .config = test_config, .resource = r,
		.op = row->op ? row->op : row->old ? ADMISSION_UPDATE : ADMISSION_CREATE,
		.subresource = span_of(row->sub), .ns = span_of(row->ns ? row->ns : r->namespaced ? "ns" : ""),
		.name = span_of(row->name ? row->name : "x"),
		.object = row->object ? tree_of(&a, row->object) : NULL, .old = row->old ? tree_of(&a, row->old) : NULL,
		.user_name = span_of(row->user ? row->user : "jane"),
	};
	req.groups = words_of(&a, row->groups ? row->groups : "system:authenticated", &req.n_groups);
	struct admission_set set = { 0 };
	for (unsigned i = 0; i < admission_plugin_n(); i++)
		if (strcmp(admission_plugin_at(i)->name, plugin) == 0)
			set.on = UINT64_C(1) << i;
	assert_int_not_equal(set.on, 0);
	int rc = admission_mutate(&set, &req, &err);
	if (rc == 0)
		rc = admission_validate(&set, &req, &err);
	const char *about = row->object ? row->object : row->name;
	expect("message", about, row->want ? row->want : "", rc < 0 ? err_msg(&err) : "");
	if (row->stored) {
		const struct json *want = tree_of(&a, row->stored);
		if (!json_equal(want, req.object)) {
			auto_buf struct buf have = {}, wanted = {};
			json_write(&have, req.object, JSON_SORTED);
			json_write(&wanted, want, JSON_SORTED);
			fail_msg("%s\nwant %s\nhave %s", about, buf_cstr(&wanted), buf_cstr(&have));
		}
	}
	auto_buf struct buf list = {}, audit = {};
	for (unsigned i = 0; i < req.n_warnings; i++)
		buf_printf(&list, "%s%.*s", i ? " | " : "", SPAN_ARG(req.warnings[i]));
	expect("warnings", about, row->warnings ? row->warnings : "", buf_cstr(&list));
	for (unsigned i = 0; i < req.n_audit; i++)
		buf_printf(&audit, "%s%.*s=%.*s", i ? " | " : "", SPAN_ARG(req.audit[i].key), SPAN_ARG(req.audit[i].value));
	if (row->audit)
		expect("audit", about, row->audit, buf_cstr(&audit));
}

#define RUN_ROWS(plugin, rows)                                                                                         \
	do {                                                                                                           \
		for (size_t row_i_ = 0; row_i_ < ARRAY_LEN(rows); row_i_++)                                            \
			run_row((plugin), &(rows)[row_i_]);                                                            \
	} while (0)
