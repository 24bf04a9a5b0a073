/* What the parser takes, the writer writes so that it reads back as the same tree (but a double above 2^53 that prints
 * without point and exponent, which reads back as the integer it says); the checker takes exactly what the
 * parser takes; a stream of the text and a number gives the same values. The first byte chooses the flags. */
#include "json/json.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Doubles as they read back. The parser's limit bounds the recursion. */
static void settle(struct arena *a, struct json *v)
{
	JSON_EACH_ITEM(v, item)
		settle(a, item);
	JSON_EACH_MEMBER(v, m)
		settle(a, &m->value);
	if (v->kind != JSON_DOUBLE)
		return;
	auto_buf struct buf b = {};
	json_write_double(&b, v->d);
	int r = json_parse(a, buf_span(&b), 0, NULL, v, NULL);
	assert(r == 0);
}

static void write_and_read(const struct json *v, unsigned flags, unsigned style)
{
	auto_arena struct arena a = {};
	auto_buf struct buf b = {}, again = {};
	struct json back;
	json_write(&b, v, style);
	assert(json_parse(&a, buf_span(&b), flags & JSON_DUPLICATES_KEEP, NULL, &back, NULL) == 0);
	assert(json_equal(v, &back) && json_equal(&back, v));
	json_write(&again, &back, style);
	assert(span_eq(buf_span(&b), buf_span(&again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	unsigned flags = data[0] & 15;
	const struct json_limits limits = { .bytes = 1 << 20, .depth = data[0] & 16 ? 20 : 0, .nodes = 1 << 16 };
	struct span text = span_make(data + 1, size - 1);
	auto_arena struct arena a = {};
	struct json v;
	int parsed = json_parse(&a, text, flags, &limits, &v, NULL);
	if (!(flags & (JSON_DUPLICATES_LAST | JSON_DUPLICATES_KEEP | JSON_REPLACE_BAD_UTF8)))
		assert(json_check(text, &limits, NULL) == parsed);
	struct json copy = JSON_NULL_VALUE;
	if (parsed == 0) {
		settle(&a, &v);
		write_and_read(&v, flags, 0);
		write_and_read(&v, flags, JSON_HTML | JSON_PRETTY);
		write_and_read(&v, flags, JSON_PRETTY | JSON_TABS | JSON_SORTED);
		copy = json_copy(&a, &v);
		json_sort(&copy);
		assert(json_equal(&v, &copy));
	}
	/* As a stream: a whole text is its first value, with nothing but blanks behind it. */
	struct span rest = text;
	struct json next;
	int result = json_parse_next(&a, &rest, flags, &limits, &next, NULL);
	if (parsed == 0) {
		settle(&a, &next);
		assert(result == 0 && json_equal(&v, &next));
		assert(json_parse_next(&a, &rest, flags, &limits, &next, NULL) == -ERR_NOT_FOUND);
	}
	for (unsigned n = 0; result == 0 && n < 1000; n++) {
		size_t before = rest.len;
		result = json_parse_next(&a, &rest, flags, &limits, &next, NULL);
		assert(result != 0 || rest.len < before);
	}
	double d;
	if (json_read_double(text, &d)) {
		auto_buf struct buf b = {};
		double back;
		json_write_double(&b, d);
		assert(json_read_double(buf_span(&b), &back));
		assert(memcmp(&d, &back, sizeof(d)) == 0);
	}
	return 0;
}
