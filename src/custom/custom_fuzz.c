/* A schema and an object, a 0 byte between them. Whatever passes the check must compile, publish nothing broken, and treat the
 * object so that doing it again changes nothing. */
#include "custom/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int crd_of(struct arena *a, struct span schema, struct json *out)
{
	static const char head[] =
		"{\"metadata\":{\"name\":\"foos.x.io\"},\"spec\":{\"group\":\"x.io\",\"scope\":\"Namespaced\",\"names\":{\"plural\":"
		"\"foos\",\"singular\":\"foo\",\"kind\":\"Foo\",\"listKind\":\"FooList\"},\"versions\":[{\"name\":\"v1\",\"served\":"
		"true,\"storage\":true,\"subresources\":{\"scale\":{\"specReplicasPath\":\".spec.n\",\"statusReplicasPath\":"
		"\".status.n\",\"labelSelectorPath\":\".status.s\"}},\"schema\":{\"openAPIV3Schema\":";
	static const char tail[] = "}}]}}";
	auto_buf struct buf text = {};
	buf_str(&text, head);
	buf_span_add(&text, schema);
	buf_str(&text, tail);
	const struct api_type *t = api_type_find(SPAN("apiextensions/v1.CustomResourceDefinition"));
	return api_decode_json(a, t, arena_span(a, buf_span(&text)), NULL, out, NULL);
}

static void treat(struct arena *a, struct api_resource *row, struct span text)
{
	struct json object, again, old;
	auto_err struct err err = ERR_INIT, err2 = ERR_INIT;
	auto_buf struct buf one = {}, two = {}, cells = {};
	if (api_decode_json(a, row->type, text, NULL, &object, NULL) < 0 || object.kind != JSON_OBJECT)
		return;
	if (!json_is(json_getl(&object, "metadata"), JSON_OBJECT))
		(void)json_setl(a, &object, "metadata", json_object());
	custom_default(a, row, &object);
	again = json_copy(a, &object);
	custom_default(a, row, &again);
	json_write(&one, &object, JSON_SORTED);
	json_write(&two, &again, JSON_SORTED);
	if (!span_eq(buf_span(&one), buf_span(&two)))
		abort();
	struct custom_change c = { .arena = a, .row = row, .object = &object };
	custom_prepare(&c);
	unsigned n = custom_validate(&c, &err);
	if ((n > 0) != (err.n_causes > 0))
		abort();
	/* Nothing changed: only what cannot be told apart may still be wrong. */
	old = json_copy(a, &object);
	c.old = &old;
	custom_prepare(&c);
	if (custom_validate(&c, &err2) > n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_make(data, size), schema, object;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct api_resource *rows[1];
	unsigned n;
	struct json crd;
	(void)span_split(in, 0, &schema, &object);
	if (size > 16384 || crd_of(&a, schema, &crd) < 0)
		return 0;
	const struct json *versions = json_path(&crd, "spec", "versions", (char *)NULL);
	if (!json_is(versions, JSON_ARRAY) || versions->n != 1)
		return 0;
	const struct json *s = json_path(&versions->items[0], "schema", "openAPIV3Schema", (char *)NULL);
	if (!s || custom_schema_check(&a, SPAN("s"), s, false, &err) > 0)
		return 0;
	const struct json *self = &crd;
	(void)custom_names_accept(&a, &crd, &self, 1, SPAN("2026-01-01T00:00:00Z"));
	(void)custom_establish(&a, &crd, SPAN("2026-01-01T00:00:00Z"));
	if (custom_rows(&crd, rows, &n, &err) < 0 || n != 1)
		abort();
	treat(&a, rows[0], object);
	api_resource_unref(rows[0]);
	return 0;
}
