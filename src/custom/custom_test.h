/* What the tests share: CRDs and schemas from JSON, complaints as text. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "custom/private.h"

static inline struct json tree_of(struct arena *a, const char *text)
{
	struct json v;
	auto_err struct err err = ERR_INIT;
	if (json_parse(a, span_of(text), JSON_BORROW, NULL, &v, &err) < 0)
		fail_msg("%s: %s", err_msg(&err), text);
	return v;
}

static inline struct json schema_of(struct arena *a, const char *text)
{
	struct json v;
	auto_err struct err err = ERR_INIT;
	if (api_decode_json(a, api_type_find(SPAN("apiextensions/v1.JSONSchemaProps")), span_of(text), NULL, &v, &err) < 0)
		fail_msg("%s: %s", err_msg(&err), text);
	return v;
}

/* One complaint a line: "field: message". */
static inline const char *lines_of(struct arena *a, const struct err *err)
{
	auto_buf struct buf b = {};
	for (unsigned i = 0; i < err->n_causes; i++)
		buf_printf(&b, "%s%s: %s", i ? "\n" : "", err->causes[i].field, err->causes[i].message);
	return arena_cstr(a, buf_span(&b));
}

/* A CRD of one version v1 with that schema, established: its row. subs: JSON of subresources, NULL = none. */
static inline struct json crd_of(struct arena *a, const char *schema, const char *subs)
{
	auto_buf struct buf text = {};
	struct json crd;
	auto_err struct err err = ERR_INIT;
	buf_printf(&text,
		   "{\"metadata\":{\"name\":\"foos.x.io\"},\"spec\":{\"group\":\"x.io\",\"scope\":\"Namespaced\",\"names\":{"
		   "\"plural\":\"foos\",\"singular\":\"foo\",\"kind\":\"Foo\",\"listKind\":\"FooList\",\"shortNames\":[\"f\"]},"
		   "\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,\"subresources\":%s,"
		   "\"schema\":{\"openAPIV3Schema\":%s}}]}}",
		   subs ? subs : "{}", schema);
	const struct api_type *t = api_type_find(SPAN("apiextensions/v1.CustomResourceDefinition"));
	if (api_decode_json(a, t, arena_span(a, buf_span(&text)), NULL, &crd, &err) < 0)
		fail_msg("%s", err_msg(&err));
	return crd;
}

static inline struct api_resource *row_of_crd(struct arena *a, struct json *crd)
{
	struct api_resource *rows[8] = {};
	unsigned n = 0;
	auto_err struct err err = ERR_INIT;
	const struct json *self = crd;
	(void)custom_names_accept(a, crd, &self, 1, SPAN("2026-01-01T00:00:00Z"));
	(void)custom_establish(a, crd, SPAN("2026-01-01T00:00:00Z"));
	if (custom_rows(crd, rows, &n, &err) < 0 || !n)
		fail_msg("no row: %s", err_msg(&err));
	for (unsigned i = 1; i < n; i++)
		api_resource_unref(rows[i]);
	return rows[0];
}
