/* For tests of strategy: rows of objects and the message that must come out. Single quotes in literals stand for double
 * ones (`\'` cannot be written; no row needs it). */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "strategy/strategy.h"

/* One request. Objects get apiVersion-less metadata of their own: name "x", namespace "ns" where the kind has one, and on
 * update resourceVersion and uid, unless they say otherwise. */
struct row {
	const char *kind;   /* "v1 ConfigMap", "coordination.k8s.io/v1 Lease" */
	const char *object; /* what is sent */
	const char *want;   /* what stands behind "is invalid: "; NULL or "": valid */
	const char *old;    /* what is stored; NULL: create */
	const char *sub;    /* subresource */
	const char *stored; /* what is to be stored, as JSON; NULL: not compared. Only the members given, of "spec", "status" ... */
	const char *warnings; /* joined with " | "; NULL: not compared */
};

static struct api_registry *test_registry(void)
{
	static struct api_registry *r;
	if (!r)
		r = api_registry_builtin(true);
	return r;
}

static struct span unquote(struct arena *a, const char *text)
{
	char *copy = arena_cstr(a, span_of(text));
	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	return span_of(copy);
}

static const struct api_resource *resource_of(const char *text)
{
	struct span gv, kind, group = SPAN_EMPTY, version;
	bool two = span_split(span_of(text), ' ', &gv, &kind);
	if (!span_split(gv, '/', &group, &version)) {
		version = gv;
		group = SPAN_EMPTY;
	}
	const struct api_resource *r = two ? api_registry_find_kind(test_registry(), group, version, kind) : NULL;
	if (!r)
		fail_msg("%s: no such resource", text);
	return r;
}

static void set_missing(struct arena *a, struct json *object, const char *key, const char *value)
{
	if (!json_get(object, span_of(key)))
		json_set(a, object, span_of(key), json_cstr(value));
}

/* Decodes and defaults, as the server does with each object before its strategy sees it. */
static struct json object_of(struct arena *a, const struct api_resource *r, const char *text, bool stored)
{
	auto_err struct err err = ERR_INIT;
	struct json v;
	struct api_decode d = { .strict = true };
	if (api_decode_json(a, r->type, unquote(a, text), &d, &v, &err) < 0)
		fail_msg("%s: %s", text, err_msg(&err));
	struct json *meta = json_getl(&v, "metadata");
	if (!meta)
		meta = json_setl(a, &v, "metadata", json_object());
	set_missing(a, meta, "name", "x");
	if (r->namespaced)
		set_missing(a, meta, "namespace", "ns");
	if (stored)
		set_missing(a, meta, "resourceVersion", "1");
	strategy_default(a, r, &v);
	return v;
}

static unsigned failed_rows;

/* The members that want names must be there with these values; null means absent. */
static void expect_members(const char *what, const struct json *want, const struct json *have, struct span path)
{
	JSON_EACH_MEMBER(want, m) {
		const struct json *v = json_get(have, json_key(m));
		auto_buf struct buf at = {}, a = {}, b = {};
		buf_printf(&at, "%.*s.%.*s", SPAN_ARG(path), SPAN_ARG(json_key(m)));
		if (json_is(&m->value, JSON_OBJECT) && m->value.n && json_is(v, JSON_OBJECT)) {
			expect_members(what, &m->value, v, buf_span(&at));
			continue;
		}
		if (json_is(&m->value, JSON_NULL) ? !v : v && json_equal(&m->value, v))
			continue;
		json_write(&a, &m->value, 0);
		if (v)
			json_write(&b, v, 0);
		print_error("%s\n%s: want %s\nhave %s\n", what, buf_cstr(&at), buf_cstr(&a), v ? buf_cstr(&b) : "nothing");
		failed_rows++;
	}
}

static void run_row(const struct row *row)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	const struct api_resource *r = resource_of(row->kind);
	struct json object = object_of(&a, r, row->object, row->old), old = JSON_NULL_VALUE;
	static const struct span groups[] = { SPAN_INIT("dev"), SPAN_INIT("system:authenticated") };
	struct strategy s = {
		.arena = &a, .resource = r, .subresource = span_of(row->sub), .object = &object,
		.now = SPAN("2026-01-02T03:04:05Z"),
		.user_name = SPAN("jane"), .user_uid = SPAN("u-1"), .user_groups = groups, .n_user_groups = 2,
	};
	if (row->old) {
		old = object_of(&a, r, row->old, true);
		s.old = &old;
	}
	auto_buf struct buf before = {}, after = {};
	strategy_prepare(&s);
	json_write(&before, &object, 0);
	int rc = strategy_validate(&s, &err);
	json_write(&after, &object, 0);
	if (!span_eq(buf_span(&before), buf_span(&after)))
		fail_msg("%s: validation changed the tree\n%s\n%s", row->object, buf_cstr(&before), buf_cstr(&after));
	const char *have = rc < 0 ? strstr(err_msg(&err), "is invalid: ") : "is invalid: ";
	if (!have || strcmp(have + 12, row->want ? row->want : "") != 0) {
		print_error("%s %s\n%s%s\nwant %s\nhave %s\n", row->kind, row->object, row->old ? "was " : "", row->old ? row->old
			: "",
			    row->want ? row->want : "", rc < 0 ? err_msg(&err) : "");
		failed_rows++;
	}
	if (row->stored) {
		auto_err struct err bad = ERR_INIT;
		struct json want;
		if (json_parse(&a, unquote(&a, row->stored), JSON_BORROW, NULL, &want, &bad) < 0)
			fail_msg("%s: %s", row->stored, err_msg(&bad));
		expect_members(row->object, &want, &object, SPAN_EMPTY);
	}
	if (row->warnings) {
		auto_buf struct buf list = {};
		for (unsigned i = 0; i < s.n_warnings; i++)
			buf_printf(&list, "%s%.*s", i ? " | " : "", SPAN_ARG(s.warnings[i]));
		if (strcmp(buf_cstr(&list), row->warnings) != 0)
			fail_msg("%s\nwant warnings %s\nhave %s", row->object, row->warnings, buf_cstr(&list));
	}
}

#define RUN_ROWS(rows)                                                                                                 \
	do {                                                                                                           \
		failed_rows = 0;                                                                                       \
		for (size_t row_i_ = 0; row_i_ < ARRAY_LEN(rows); row_i_++)                                            \
			run_row(&(rows)[row_i_]);                                                                      \
		if (failed_rows)                                                                                       \
			fail_msg("%u of %zu rows failed", failed_rows, ARRAY_LEN(rows));                               \
	} while (0)
