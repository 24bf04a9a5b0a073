/* What the reader takes, the writer writes so that it reads back as the same tree; a stream of the text ends. The first
 * byte chooses the flags. Texts that begin with 0xff are JSON, so that the writer sees trees YAML seldom gives. */
#include "yaml/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_and_read(const struct json *v)
{
	auto_arena struct arena a = {};
	auto_buf struct buf b = {}, again = {};
	struct json back;
	auto_err struct err err = ERR_INIT;
	yaml_write(&b, v);
	int r = yaml_parse(&a, buf_span(&b), YAML_STRICT, &(struct json_limits){ .depth = 1000 }, &back, &err);
	if (r < 0 || !json_equal(v, &back)) {
		fprintf(stderr, "%s\n%s\n", buf_cstr(&b), r < 0 ? err_msg(&err) : "reads back as another tree");
		abort();
	}
	yaml_write(&again, &back);
	assert(span_eq(buf_span(&b), buf_span(&again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > 1 << 16)
		return 0;
	const struct json_limits limits = { .bytes = 1 << 16, .depth = 100, .nodes = 1 << 14 };
	struct span text = span_make(data + 1, size - 1);
	auto_arena struct arena a = {};
	struct json v;
	int r;
	if (data[0] == 0xff) {
		/* Through text once more: doubles above 2^53 that print as integers then are. */
		auto_buf struct buf b = {};
		r = json_parse(&a, text, JSON_DUPLICATES_LAST, &limits, &v, NULL);
		if (r == 0) {
			json_write(&b, &v, 0);
			r = json_parse(&a, buf_span(&b), 0, NULL, &v, NULL);
			assert(r == 0);
		}
	} else {
		r = yaml_parse(&a, text, data[0] & 1, &limits, &v, NULL);
	}
	if (r == 0)
		write_and_read(&v);
	struct yaml_stream s = yaml_stream(text);
	do {
		size_t before = s.rest.len;
		r = yaml_next(&s, &a, data[0] & 1, &limits, &v, NULL);
		assert(r == -ERR_NOT_FOUND || s.rest.len < before);
	} while (r != -ERR_NOT_FOUND);
	return 0;
}
