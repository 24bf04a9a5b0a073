/* Files of many objects, divided as kubectl divides them: by text, before anything is parsed. */
#include "yaml/private.h"

struct yaml_stream yaml_stream(struct span text)
{
	return (struct yaml_stream){ .rest = text, .line = 1, .doc_line = 1 };
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

bool yaml_is_json(struct span text)
{
	size_t i = 0;
	while (i < text.len && is_blank(text.ptr[i]))
		i++;
	return i < text.len && text.ptr[i] == '{';
}

/* Moves the start of the rest by n bytes and counts the lines left behind. */
static void advance(struct yaml_stream *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s->line += s->rest.ptr[i] == '\n';
	s->rest = span_from(s->rest, n);
}

/* --- and nothing but blanks or a comment behind it */
static bool is_separator(struct span line)
{
	if (!span_starts(line, SPAN("---")))
		return false;
	struct span behind = span_trim(span_from(line, 3));
	return behind.len == 0 || behind.ptr[0] == '#';
}

/* The next chunk: up to the separator, which is dropped, unless it is the first line of all. */
static struct span take_chunk(struct yaml_stream *s)
{
	struct span text = s->rest;
	size_t end = 0;
	s->doc_line = s->line;
	while (end < text.len) {
		const char *feed = memchr(text.ptr + end, '\n', text.len - end);
		size_t next = feed ? (size_t)(feed - text.ptr) + 1 : text.len;
		if (end && is_separator(span_sub(text, end, next))) {
			struct span chunk = span_sub(text, 0, end);
			advance(s, next);
			return chunk;
		}
		end = next;
	}
	advance(s, text.len);
	return text;
}

int yaml_next(struct yaml_stream *s, struct arena *a, unsigned flags, const struct json_limits *limits,
	      struct json *out, struct err *err)
{
	while (s->rest.len) {
		if (yaml_is_json(s->rest)) {
			size_t blanks = 0;
			while (is_blank(s->rest.ptr[blanks]))
				blanks++;
			advance(s, blanks);
			struct span rest = s->rest;
			s->doc_line = s->line;
			unsigned json_flags = (flags & YAML_STRICT ? 0 : JSON_DUPLICATES_LAST) | JSON_REPLACE_BAD_UTF8;
			auto_err struct err json_err = ERR_INIT;
			if (json_parse_next(a, &rest, json_flags, limits, out, &json_err) == 0) {
				advance(s, s->rest.len - rest.len);
				return 0;
			}
			/* {a: 1} is YAML all the same; where that fails too, the text was meant as JSON. */
			struct span chunk = take_chunk(s);
			if (yaml_parse(a, chunk, flags, limits, out, NULL) == 0)
				return 0;
			return err ? err_move(err, &json_err) : -(int)json_err.class;
		}
		struct span chunk = take_chunk(s);
		struct json v;
		int failed = yaml_parse(a, chunk, flags, limits, &v, err);
		if (failed < 0)
			return failed;
		if (v.kind != JSON_NULL) {
			*out = v;
			return 0;
		}
	}
	return err_set(err, ERR_NOT_FOUND, "no more documents");
}
