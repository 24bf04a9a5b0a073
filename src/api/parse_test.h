/* For tests: a JSON literal as a tree. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "json/json.h"

static struct json parse(struct arena *a, const char *text)
{
	struct json v;
	auto_err struct err err = ERR_INIT;
	if (json_parse(a, span_of(text), 0, NULL, &v, &err) < 0)
		fail_msg("%s: %s", text, err_msg(&err));
	return v;
}
