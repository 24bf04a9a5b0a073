/* Descriptions: unpacked when a struct openapi is made, gone with it.
 *
 * The build joins the sentences of describe/ with those that rules make (tools/gen/openapi_words.py), orders them and
 * compresses the lot: some 3,000 sentences are 60 KB of the program, and nobody pays for them before a document is asked for.
 *
 *     core/v1.Pod \001 sentence \n
 *     \t apiVersion \001 sentence \n       fields in byte order, those of inlined structs among them
 *     \t kind ...
 */
#include <zlib.h>
#include "openapi/private.h"

void openapi_words_init(struct openapi_words *w)
{
	char *text = arena_alloc(&w->arena, openapi_words_len + 1);
	uLongf len = openapi_words_len;
	int code = uncompress((Bytef *)text, &len, openapi_words_packed, openapi_words_packed_len);
	assert(code == Z_OK && len == openapi_words_len); /* our own table */
	struct openapi_entry *entries = arena_alloc_n(&w->arena, openapi_words_types, sizeof(*entries)), *e = NULL;
	struct span rest = span_make(text, len), line;
	unsigned n = 0;
	while (span_cut(&rest, '\n', &line)) {
		if (line.ptr[0] == '\t') {
			e->fields.len = (size_t)(line.ptr + line.len + 1 - e->fields.ptr);
			continue;
		}
		assert(n < openapi_words_types);
		e = &entries[n++];
		(void)span_split(line, '\001', &e->name, &e->sentence);
		e->fields = span_make(line.ptr + line.len + 1, 0);
		map_put(&w->types, e->name, e);
	}
}

void openapi_words_done(struct openapi_words *w)
{
	map_done(&w->types);
	arena_done(&w->arena);
}

const struct openapi_entry *openapi_words_type(const struct openapi_words *w, struct span name)
{
	return map_get(&w->types, name);
}

struct span openapi_words_next(struct span *rest, struct span field)
{
	struct span at = *rest, line, name, sentence;
	while (span_cut(&at, '\n', &line)) {
		(void)span_split(span_from(line, 1), '\001', &name, &sentence);
		int c = span_cmp(name, field);
		if (c > 0)
			break;
		*rest = at;
		if (c == 0)
			return sentence;
	}
	return SPAN_EMPTY;
}

struct span openapi_describe(const struct openapi *o, struct span type, struct span field)
{
	const struct openapi_entry *e = openapi_words_type(&o->words, type);
	if (!e)
		return SPAN_EMPTY;
	struct span rest = e->fields;
	return field.len ? openapi_words_next(&rest, field) : e->sentence;
}
