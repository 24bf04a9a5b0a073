/* Query texts: filters in both encodings, globs, points in time, lines of --change. Whatever comes, the answer is an error or a
 * value that the other functions can be asked with. The first byte chooses. */
#include "engine/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void filters(struct span text, struct arena *a)
{
	struct engine_filters f;
	bool yes;
	if (engine_filters_parse(text, "label,name,id,until,dangling", a, &f, NULL) == 0)
		for (size_t i = 0; i < f.n; i++)
			assert(span_is(f.items[i].key, "label") || span_is(f.items[i].key, "name") || span_is(f.items[i].key, "id") ||
			       span_is(f.items[i].key, "until") || span_is(f.items[i].key, "dangling"));
	if (engine_filters_parse(text, NULL, a, &f, NULL) < 0)
		return;
	struct json labels = json_object(), back = engine_filters_json(&f, a);
	json_setl(a, &labels, "k", json_cstr("v"));
	assert(back.kind == JSON_OBJECT);
	(void)engine_filter_match(&f, "name", SPAN("web_1"));
	(void)engine_filter_exact(&f, "id", SPAN("abc"));
	(void)engine_filter_label(&f, "label", &labels);
	(void)engine_filter_not_label(&f, &labels);
	(void)engine_filter_truth(&f, "dangling", false, &yes, NULL); /* a bad word is an error, which nobody reads here */
	/* What we hand on is read as the same. */
	auto_buf struct buf b = {};
	struct engine_filters again;
	json_write(&b, &back, 0);
	assert(engine_filters_parse(buf_span(&b), NULL, a, &again, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	struct span text = span_make(data, size), pattern, name;
	if (!size)
		return 0;
	text = span_from(text, 1);
	bool bad = false;
	int64_t ns;
	struct json config = json_object();
	switch (data[0] % 4) {
	case 0: filters(text, &a); break;
	case 1:
		if (!span_split(text, '\n', &pattern, &name))
			name = pattern;
		(void)engine_glob(pattern, name, &bad);
		break;
	case 2:
		if (engine_time_parse(text, INT64_C(1700000000) * NS_PER_S, &ns, NULL) == 0)
			assert(ns != INT64_MIN);
		break;
	case 3:
		if (engine_config_change(&config, text, &a, NULL) == 0)
			assert(config.kind == JSON_OBJECT);
		break;
	}
	return 0;
}
