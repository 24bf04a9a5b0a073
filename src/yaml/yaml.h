/* YAML as Kubernetes means it: what sigs.k8s.io/yaml (go-yaml v2, then JSON) makes of a text, and the text that it prints.
 *
 * Reading. libyaml parses (go-yaml is a port of it: its problems have the same words); plain scalars resolve by YAML
 * 1.1 with go-yaml's changes:
 *   null    "" ~ null Null NULL
 *   bool    y yes true on, n no false off, with a capital or in capitals
 *   int     decimal, 0x, 0b, 0o and a leading 0 for octal, a sign, underscores anywhere; to -2^63 and 2^64 - 1
 *   float   decimal with point or exponent. .inf and .nan resolve too and are then refused, as JSON has none
 * base 60 and timestamps are strings. Tags !!str !!int !!float !!bool !!null !!timestamp !!binary are obeyed, others are
 * ignored. Keys that are no strings become strings ("1", "true", floats in float32 precision). `<<` merges where it
 * stands: keys before it are overwritten, keys behind it overwrite. A whole float ("1.0", "1e3") becomes an integer, as on
 * Go's way through JSON text.
 *
 * Bounds. Aliases are expanded, so they are counted with go-yaml's rule: beyond 100 values out of aliases and 1000
 * in all, aliases may make up 99% of the values up to 400,000 values, falling to 10% at 4 million. An alias inside its own
 * anchor is refused. The limits are those of JSON; depth is at most 1000 (the reader recurses that deep).
 *
 * Where the parsers differ: libyaml 0.2.5 takes %YAML 1.2 and a ? inside the plain words of flow collections ([a?b]),
 * which go-yaml v2 refuses; it refuses a plain word there that ends in a colon ([a:]), which go-yaml takes for "a:".
 *
 * Threads: no state is shared. Trees are owned as json.h says; strings are copied into the arena. */
#pragma once

#include "json/json.h"

enum yaml_flags {
	YAML_STRICT = 1 << 0, /* a key that is there twice is an error, else the last wins */
};

/* The first document of the text. No document, or an empty one, gives null. Class INVALID_REQUEST (TOO_LARGE past a
 * limit); the message is what the real clients show, with the line of the text as go-yaml counts it:
 *     error converting YAML to JSON: yaml: line 3: mapping values are not allowed in this context
 *     error converting YAML to JSON: yaml: unmarshal errors:
 *       line 4: key "a" already set in map                      (YAML_STRICT; all of them, at most 100)
 * limits may be NULL. *out is untouched on failure. */
int yaml_parse(struct arena *a, struct span text, unsigned flags, const struct json_limits *limits, struct json *out,
	       struct err *err);

/* A file of many objects, as `kubectl apply -f` reads it: documents divided by lines that begin with --- and hold at
 * most a comment besides, JSON when the first character is {, several JSON values in a row too. Documents
 * that are empty or null are skipped.
 *
 *     struct yaml_stream s = yaml_stream(text);
 *     while ((r = yaml_next(&s, &arena, 0, NULL, &object, &err)) == 0)
 *             use(&object, s.doc_line);
 *     if (r != -ERR_NOT_FOUND)  -> err, in the document that begins at s.doc_line
 *
 * The line in a message counts from the beginning of its document, as kubectl's does. The text must outlive the
 * stream, not the trees. After an error the stream goes on behind the bad document. */
struct yaml_stream {
	struct span rest;
	size_t line;     /* of rest, from 1 */
	size_t doc_line; /* of the document read last */
};
struct yaml_stream yaml_stream(struct span text);
/* At the end: class NOT_FOUND. */
int yaml_next(struct yaml_stream *s, struct arena *a, unsigned flags, const struct json_limits *limits,
	      struct json *out, struct err *err);
/* Whether kubectl takes the text for JSON: its first character that is no blank is {. */
bool yaml_is_json(struct span text);

/* Appends v as sigs.k8s.io/yaml's Marshal prints it, with a line feed at the end: keys in go-yaml's order (numbers in them
 * by value), two blanks a level, lists not indented under their key, words that would resolve to something else in double
 * quotes, several lines as a literal block, plain and quoted text folded behind column 80. Raw text is parsed
 * first (it must be valid JSON: an assert). Depth at most 10000, as json_write. */
void yaml_write(struct buf *out, const struct json *v);
