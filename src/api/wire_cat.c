/* For wire_test.py: reads lines "TYPE HEX" (a message), writes a line "HEX JSON": the message encoded again from its tree, and
 * the tree with raw bytes shown as hex. "error: ..." where decoding fails. */
#include <stdio.h>
#include "api/api.h"

static void show_blobs(struct arena *a, const struct api_type *t, struct json *v)
{
	switch (api_type_kind(t)) {
	case API_BLOB: {
		auto_buf struct buf b = {};
		hex_add(&b, v->str, v->n);
		*v = json_str(arena_span(a, buf_span(&b)));
		break;
	}
	case API_OBJECT:
		JSON_EACH_MEMBER(v, m)
			show_blobs(a, api_field_type(api_type_field(t, json_key(m))), &m->value);
		break;
	case API_LIST:
		JSON_EACH_ITEM(v, item)
			show_blobs(a, api_type_elem(t), item);
		break;
	default:
		break;
	}
}

static void one(struct span line)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf out = {}, text = {};
	struct span name, hex;
	struct json v;
	if (!span_split(span_trim(line), ' ', &name, &hex))
		hex = SPAN_EMPTY;
	const struct api_type *t = api_type_find(name);
	char *data = arena_alloc(&a, hex.len / 2 + 1);
	if (!t || !hex_parse(hex, data)) {
		printf("error: no type %.*s, or no hex\n", SPAN_ARG(name));
		return;
	}
	if (api_decode_message(&a, t, span_make(data, hex.len / 2), &v, &err) < 0 || api_encode_message(&out, t, &v, &err) < 0) {
		printf("error: %s\n", err_msg(&err));
		return;
	}
	int id = api_typed_find(name);
	if (id >= 0) { /* and through the struct */
		auto_buf struct buf typed = {};
		void *at = arena_alloc(&a, api_typed_size(id));
		if (api_typed_decode(&a, id, API_FORM_MESSAGE, span_make(data, hex.len / 2), at, &err) < 0 ||
		    api_typed_encode(&typed, id, API_FORM_MESSAGE, at, &err) < 0 || !span_eq(buf_span(&out), buf_span(&typed))) {
			printf("error: typed: %s\n", err_msg(&err));
			return;
		}
	}
	hex_add(&text, out.ptr, out.len);
	show_blobs(&a, t, &v);
	buf_chr(&text, ' ');
	json_write(&text, &v, 0);
	printf("%s\n", buf_cstr(&text));
}

int main(void)
{
	char *line = NULL;
	size_t cap = 0;
	for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;)
		one(span_make(line, (size_t)n));
	free(line);
	return fflush(stdout) == 0 ? 0 : 1;
}
