/* Paths and values in complaints. */
#include "custom/private.h"

void custom_place_text(const struct place *p, struct buf *out)
{
	if (!p)
		return;
	custom_place_text(p->up, out); /* as deep as the walk that made the chain */
	if (p->index >= 0) {
		buf_printf(out, "[%lld]", (long long)p->index);
	} else if (p->keyed) {
		buf_chr(out, '[');
		buf_span_add(out, p->name);
		buf_chr(out, ']');
	} else {
		if (out->len)
			buf_chr(out, '.');
		buf_span_add(out, p->name);
	}
}

static int by_key(const void *x, const void *y)
{
	return span_cmp(json_key(*(const struct json_member *const *)x), json_key(*(const struct json_member *const *)y));
}

/* Values are as deep as decoding allows (200). */
static void go_syntax(struct buf *out, const struct json *v)
{
	switch ((enum json_kind)v->kind) {
	case JSON_NULL: buf_str(out, "interface {}(nil)"); return;
	case JSON_BOOL: buf_str(out, v->b ? "true" : "false"); return;
	case JSON_STRING: api_go_quote(out, json_span(v)); return;
	case JSON_ARRAY:
		buf_str(out, "[]interface {}{");
		for (uint32_t i = 0; i < v->n; i++) {
			buf_str(out, i ? ", " : "");
			go_syntax(out, &v->items[i]);
		}
		buf_chr(out, '}');
		return;
	case JSON_OBJECT: {
		auto_free const struct json_member **sorted = mem_realloc_n(NULL, (size_t)v->n + 1, sizeof(*sorted));
		for (uint32_t i = 0; i < v->n; i++)
			sorted[i] = &v->members[i];
		qsort(sorted, v->n, sizeof(*sorted), by_key);
		buf_str(out, "map[string]interface {}{");
		for (uint32_t i = 0; i < v->n; i++) {
			buf_str(out, i ? ", " : "");
			api_go_quote(out, json_key(sorted[i]));
			buf_chr(out, ':');
			go_syntax(out, &sorted[i]->value);
		}
		buf_chr(out, '}');
		return;
	}
	default: api_go_value(out, v); return;
	}
}

void custom_value_show(struct buf *out, const struct json *v)
{
	if (!v || v->kind == JSON_NULL)
		buf_str(out, "\"null\"");
	else
		go_syntax(out, v);
}

void custom_complain(struct complaints *c, struct span at, enum api_field_error type, const struct json *value, struct span detail)
{
	auto_buf struct buf shown = {};
	if (c->n++ >= CUSTOM_CAUSES_MAX)
		return;
	/* A complaint need not repeat a value of a megabyte. */
	shown.limit = 64 * 1024;
	custom_value_show(&shown, value);
	api_fe_add(c->err, at, type, buf_span(&shown), detail);
}
