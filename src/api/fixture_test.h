/* For tests: the fixtures of tests/fixtures/roundtrip and their types. */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "api/api.h"

#define FIXTURES "tests/fixtures/roundtrip"

static const struct {
	const char *group, *package;
} packages[] = {
	{ "rbac.authorization.k8s.io", "rbac" }, { "networking.k8s.io", "networking" }, { "storage.k8s.io", "storage" },
	{ "scheduling.k8s.io", "scheduling" }, { "coordination.k8s.io", "coordination" },
	{ "discovery.k8s.io", "discovery" }, { "events.k8s.io", "events" }, { "node.k8s.io", "node" },
	{ "certificates.k8s.io", "certificates" }, { "authentication.k8s.io", "authentication" },
	{ "authorization.k8s.io", "authorization" }, { "admissionregistration.k8s.io", "admissionregistration" },
	{ "admission.k8s.io", "admission" }, { "flowcontrol.apiserver.k8s.io", "flowcontrol" },
	{ "resource.k8s.io", "resource" }, { "apidiscovery.k8s.io", "apidiscovery" },
};

/* "apps.v1.Deployment.json": the type apps/v1.Deployment. Upstream files meta's own kinds under core. */
static const struct api_type *type_of_file(struct span file)
{
	struct span stem = span_sub(file, 0, (size_t)span_rchr(file, '.'));
	struct span kind = span_from(stem, (size_t)span_rchr(stem, '.') + 1);
	stem = span_sub(stem, 0, (size_t)span_rchr(stem, '.'));
	struct span version = span_from(stem, (size_t)span_rchr(stem, '.') + 1);
	struct span group = span_sub(stem, 0, (size_t)span_rchr(stem, '.'));
	auto_buf struct buf name = {};
	for (size_t i = 0; i < ARRAY_LEN(packages); i++)
		if (span_is(group, packages[i].group))
			group = span_of(packages[i].package);
	buf_printf(&name, "%.*s/%.*s.%.*s", SPAN_ARG(group), SPAN_ARG(version), SPAN_ARG(kind));
	const struct api_type *t = api_type_find(buf_span(&name));
	if (t)
		return t;
	buf_trunc(&name, 0);
	buf_printf(&name, "meta/v1.%.*s", SPAN_ARG(kind));
	return api_type_find(buf_span(&name));
}

static void show_difference(const char *file, const char *what, struct span want, struct span have)
{
	size_t i = 0;
	while (i < want.len && i < have.len && want.ptr[i] == have.ptr[i])
		i++;
	size_t from = i < 60 ? 0 : i - 60;
	fail_msg("%s: %s differs at byte %zu of %zu (ours %zu)\nwant ...%.*s\nhave ...%.*s", file, what, i, want.len, have.len,
		 (int)MIN(want.len - from, (size_t)160), want.ptr + from, (int)MIN(have.len - from, (size_t)160), have.ptr + from);
}

static void same(const char *file, const char *what, struct span want, struct span have)
{
	if (!span_eq(want, have))
		show_difference(file, what, want, have);
}

static void read_fixture(const char *stem, const char *suffix, struct buf *out)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf path = {};
	buf_printf(&path, FIXTURES "/%s%s", stem, suffix);
	if (io_read_file(AT_FDCWD, buf_cstr(&path), out, 1 << 20, &err) < 0)
		fail_msg("%s", err_msg(&err));
}
