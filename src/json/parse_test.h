/* For tests: a JSON literal as a tree that lives as long as the arena. Single quotes stand for double ones. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "json/json.h"

static struct json parse(struct arena *a, const char *text)
{
	char *copy = arena_cstr(a, span_of(text));
	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	struct json v;
	auto_err struct err err = ERR_INIT;
	if (json_parse(a, span_of(copy), JSON_BORROW, NULL, &v, &err) < 0)
		fail_msg("%s: %s", copy, err_msg(&err));
	return v;
}
