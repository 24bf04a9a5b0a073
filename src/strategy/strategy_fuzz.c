/* Arbitrary JSON as an object of a kind that the first byte chooses (the second: create, update, or a subresource): defaults,
 * prepare and validation never crash, and defaulting twice is defaulting once. The text behind a 0 byte is the old object. */
#include "strategy/strategy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct api_registry *registry;

static bool decode(struct arena *a, const struct api_resource *r, struct span text, struct json *out)
{
	if (api_decode_json(a, r->type, text, NULL, out, NULL) < 0)
		return false;
	auto_buf struct buf once = {}, twice = {};
	strategy_default(a, r, out);
	json_write(&once, out, 0);
	strategy_default(a, r, out);
	json_write(&twice, out, 0);
	assert(span_eq(buf_span(&once), buf_span(&twice)));
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (!registry)
		registry = api_registry_builtin(true);
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	const struct api_resource *r = api_registry_at(registry, data[0] % api_registry_n(registry));
	struct span text = span_make(data + 2, size - 2), object_text, old_text;
	struct json object, old;
	bool two = span_split(text, '\0', &object_text, &old_text);
	if (!r->type || !decode(&a, r, object_text, &object) || (two && !decode(&a, r, old_text, &old)))
		return 0;
	struct strategy s = { .arena = &a, .resource = r, .object = &object, .old = two ? &old : NULL,
			      .now = SPAN("2026-01-02T03:04:05Z"), .user_name = SPAN("jane") };
	unsigned sub = data[1] % (r->n_subresources + 1);
	if (two && sub)
		s.subresource = r->subresources[sub - 1].name;
	strategy_prepare(&s);
	(void)strategy_validate(&s, &err);
	return 0;
}
