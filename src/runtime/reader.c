/* Reading one field of config.json with an error that names it. See config.h. */
#include <stdio.h>

#include "runtime/config.h"

#define STRING_MAX (1 << 20)
#define STRINGS_MAX 65536

static void path_add(struct buf *b, const struct at *at)
{
	if (at->up)
		path_add(b, at->up); /* as deep as the specification nests: below 10 */
	if (at->name)
		buf_printf(b, "%s%s", b->len ? "." : "", at->name);
	else
		buf_printf(b, "[%zu]", at->index);
}

void runtime_reader_fail(struct reader *r, const struct at *at, const char *fmt, ...)
{
	if (r->failed)
		return;
	auto_buf struct buf path = {}, text = {};
	if (at)
		path_add(&path, at);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	r->failed = err_set(r->err, ERR_INVALID, "%s%s%s", buf_cstr(&path), path.len ? ": " : "", buf_cstr(&text));
}

static const char *kind_name(int kind)
{
	static const char *const names[JSON_KIND_COUNT] = {
		[JSON_NULL] = "null",	    [JSON_BOOL] = "a boolean",	  [JSON_INT] = "an integer",
		[JSON_UINT] = "an integer", [JSON_DOUBLE] = "a fraction", [JSON_STRING] = "a string",
		[JSON_ARRAY] = "a list",    [JSON_OBJECT] = "an object",  [JSON_RAW] = "text",
	};
	return kind >= 0 && kind < JSON_KIND_COUNT ? names[kind] : "nothing";
}

const struct json *runtime_reader_get(struct reader *r, const struct at *at, const struct json *object,
				      enum json_kind kind)
{
	const struct json *v = json_get(object, span_of(at->name));
	if (r->failed || !v || v->kind == JSON_NULL)
		return NULL;
	if (v->kind == kind || (kind == JSON_INT && v->kind == JSON_UINT))
		return v;
	/* 1e3 and 1.0 are integers to Go too, when they are whole */
	if (kind == JSON_INT && v->kind == JSON_DOUBLE && json_i64(v, INT64_MIN) != INT64_MIN)
		return v;
	runtime_reader_fail(r, at, "expected %s, found %s", kind_name(kind), kind_name(v->kind));
	return NULL;
}

const char *runtime_reader_text(struct reader *r, const struct at *at, const struct json *v)
{
	struct span s = json_span(v);
	if (r->failed)
		return NULL;
	if (!json_is(v, JSON_STRING)) {
		runtime_reader_fail(r, at, "expected a string, found %s", kind_name(v->kind));
		return NULL;
	}
	if (span_chr(s, 0) >= 0) {
		runtime_reader_fail(r, at, "must not hold a 0 byte");
		return NULL;
	}
	if (s.len > STRING_MAX) {
		runtime_reader_fail(r, at, "longer than %d bytes", STRING_MAX);
		return NULL;
	}
	return arena_cstr(r->a, s);
}

const char *runtime_reader_str(struct reader *r, const struct at *at, const struct json *object)
{
	const struct json *v = runtime_reader_get(r, at, object, JSON_STRING);
	return v ? runtime_reader_text(r, at, v) : NULL;
}

bool runtime_reader_bool(struct reader *r, const struct at *at, const struct json *object)
{
	const struct json *v = runtime_reader_get(r, at, object, JSON_BOOL);
	return v && v->b;
}

bool runtime_reader_int(struct reader *r, const struct at *at, const struct json *object, int64_t min, int64_t max,
			int64_t *out)
{
	const struct json *v = runtime_reader_get(r, at, object, JSON_INT);
	if (!v)
		return false;
	/* Unsigned values above INT64_MAX occur: "no limit" as 2^64-1 in rlimits, 2^63 page counts in memory limits. */
	int64_t n = v->kind == JSON_UINT ? INT64_MAX : json_i64(v, 0);
	if (v->kind == JSON_UINT && max != INT64_MAX)
		runtime_reader_fail(r, at, "%llu is not between %lld and %lld", (unsigned long long)v->u,
				    (long long)min, (long long)max);
	else if (n < min || n > max)
		runtime_reader_fail(r, at, "%lld is not between %lld and %lld", (long long)n, (long long)min,
				    (long long)max);
	if (r->failed)
		return false;
	*out = n;
	return true;
}

struct sys_cgroup_num runtime_reader_num(struct reader *r, const struct at *at, const struct json *object, int64_t min,
					 int64_t max)
{
	struct sys_cgroup_num n = {};
	n.set = runtime_reader_int(r, at, object, min, max, &n.v);
	return n;
}

char **runtime_reader_strings(struct reader *r, const struct at *at, const struct json *object, size_t *out_n)
{
	const struct json *list = runtime_reader_get(r, at, object, JSON_ARRAY);
	size_t n = list ? list->n : 0;
	if (n > STRINGS_MAX) {
		runtime_reader_fail(r, at, "more than %d items", STRINGS_MAX);
		n = 0;
	}
	char **strings = arena_alloc_n(r->a, n + 1, sizeof(*strings));
	size_t got = 0;
	for (size_t i = 0; i < n; i++) {
		const char *s = runtime_reader_text(r, AT_INDEX(at, i), &list->items[i]);
		if (!s)
			break;
		strings[got++] = (char *)s;
	}
	strings[got] = NULL;
	*out_n = got;
	return strings;
}
