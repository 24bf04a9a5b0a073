/* JSON: values as a tree in an arena, a strict parser, a writer, and a writer without a tree.
 *
 * RFC 8259. The tree is also what YAML and protobuf are decoded into, so everything above (schemas, patches, selectors)
 * works on `struct json` alone.
 *
 * Numbers. An integer literal (no fraction, no exponent) that fits int64 is JSON_INT; one in (INT64_MAX, UINT64_MAX]
 * is JSON_UINT; every other number is JSON_DOUBLE (the nearest double; one beyond the double range is an
 * error, as in Go). Doubles print as Go's encoding/json prints float64: shortest form that reads back the same, exponent form
 * below 1e-6 and from 1e21 on. "-0" is JSON_DOUBLE -0.0 and prints as -0. A double from 2^53 on to 1e21 prints as an
 * integer whose last digits may be zeros that the double does not have; it reads back as what the digits say.
 *
 * Strings are UTF-8 (checked), unescaped; they may hold 0 bytes; "\ud800" alone becomes U+FFFD, as in Go.
 * They are written as Go 1.22 and later do: \" \\ \b \f \n \r \t, other control characters as \u00XX in lower case,
 * U+2028 and U+2029 always as \u2028 and \u2029 (Go does not ask its HTML switch for these two), DEL and all else as it
 * is. In a tree that was not parsed a byte that is not UTF-8 is written as \ufffd.
 *
 * Ownership: a tree lives in the arena given to the parser; strings point into the arena or, with
 * JSON_BORROW, into the input text, which must then outlive the tree. A tree is changed by one thread at a time.
 * Copying a `struct json` shares its children.
 */
#pragma once

#include "base/base.h"

enum json_kind {
	JSON_NULL,
	JSON_BOOL,
	JSON_INT,
	JSON_UINT, /* only above INT64_MAX */
	JSON_DOUBLE,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
	JSON_RAW,  /* text that is valid, compact JSON already; the writer copies it. Never made by the parser. */
	JSON_KIND_COUNT
};

struct json_member;

/* 16 bytes. n is the length of a string or raw text, or the number of items or members. */
struct json {
	uint8_t kind;  /* enum json_kind */
	uint8_t exact; /* array/object: the storage has room for exactly n (else for the next power of two, at least 4) */
	uint16_t mark; /* free for the user of the tree; 0 after parsing, kept by copies */
	uint32_t n;
	union {
		bool b;
		int64_t i;
		uint64_t u;
		double d;
		const char *str; /* not 0-ended */
		struct json *items;
		struct json_member *members; /* in the order of the text; keys are unique unless JSON_DUPLICATES_KEEP */
	};
};

struct json_member {
	const char *key;
	uint32_t key_len;
	uint32_t mark; /* free for the user of the tree; 0 after parsing */
	struct json value;
};

/* ---- making values; strings are borrowed */
#define JSON_NULL_VALUE ((struct json){ .kind = JSON_NULL })
static inline struct json json_bool(bool b)
{
	return (struct json){ .kind = JSON_BOOL, .b = b };
}
static inline struct json json_int(int64_t i)
{
	return (struct json){ .kind = JSON_INT, .i = i };
}
struct json json_uint(uint64_t u); /* JSON_INT when it fits */
static inline struct json json_double(double d)
{
	return (struct json){ .kind = JSON_DOUBLE, .d = d };
}
static inline struct json json_str(struct span s)
{
	return (struct json){ .kind = JSON_STRING, .n = (uint32_t)s.len, .str = s.ptr };
}
static inline struct json json_cstr(const char *s)
{
	return json_str(span_of(s));
}
static inline struct json json_array(void)
{
	return (struct json){ .kind = JSON_ARRAY };
}
static inline struct json json_object(void)
{
	return (struct json){ .kind = JSON_OBJECT };
}

/* ---- reading values. All accept NULL and the wrong kind and then give the empty answer. */
static inline struct span json_span(const struct json *v) /* of a string or raw text */
{
	return v && (v->kind == JSON_STRING || v->kind == JSON_RAW) ? span_make(v->str, v->n) : SPAN_EMPTY;
}
static inline struct span json_key(const struct json_member *m)
{
	return span_make(m->key, m->key_len);
}
static inline bool json_is(const struct json *v, enum json_kind kind)
{
	return v && v->kind == kind;
}
static inline bool json_is_number(const struct json *v)
{
	return v && v->kind >= JSON_INT && v->kind <= JSON_DOUBLE;
}
struct json *json_get(const struct json *object, struct span key); /* NULL when absent (a null member is not absent) */
struct json_member *json_member(const struct json *object, struct span key);
#define json_getl(object, literal) json_get((object), SPAN(literal))
/* A path of member names: json_path(pod, "spec", "nodeName", NULL). */
struct json *json_path(const struct json *object, ...) __attribute__((sentinel));
int64_t json_i64(const struct json *v, int64_t otherwise); /* JSON_INT, or a JSON_DOUBLE that is a whole number in range */
bool json_truth(const struct json *v, bool otherwise);
#define JSON_EACH_ITEM(array, item)                                                                                    \
	for (struct json *item = json_is((array), JSON_ARRAY) ? (array)->items : NULL,                                 \
			 *item##_end_ = item ? item + (array)->n : NULL;                                               \
	     item < item##_end_; item++)
#define JSON_EACH_MEMBER(object, m)                                                                                    \
	for (struct json_member *m = json_is((object), JSON_OBJECT) ? (object)->members : NULL,                        \
				*m##_end_ = m ? m + (object)->n : NULL;                                                \
	     m < m##_end_; m++)

/* ---- changing trees. New storage comes from the arena; old storage is left in it. */
/* Appends and returns the new item (null until set). Pointers to items die with the next push. */
struct json *json_push(struct arena *a, struct json *array, struct json value);
/* Sets a member, replacing one of that name in place or appending; returns the value's place. The key is borrowed. */
struct json *json_set(struct arena *a, struct json *object, struct span key, struct json value);
#define json_setl(a, object, literal, value) json_set((a), (object), SPAN(literal), (value))
/* Appends without looking for the name: for building objects whose names are known to differ. */
struct json *json_add(struct arena *a, struct json *object, struct span key, struct json value);
bool json_remove(struct json *object, struct span key); /* keeps the order of the others; true if it was there */
void json_remove_at(struct json *array_or_object, uint32_t index);
struct json *json_insert(struct arena *a, struct json *array, uint32_t index, struct json value);
/* A deep copy that shares nothing with v; strings too. */
struct json json_copy(struct arena *a, const struct json *v);
/* Same value: member order does not matter, item order does; 1 and 1.0 are equal, so are 0 and -0. Raw text equals only
 * raw text of the same bytes. Members of one name (JSON_DUPLICATES_KEEP) are compared in their order. */
bool json_equal(const struct json *a, const struct json *b);
/* Orders members by key, byte-wise, at every level (Go's map order). Stable. */
void json_sort(struct json *v);

/* ---- parsing */
enum json_flags {
	JSON_BORROW = 1 << 0,          /* strings may point into the text */
	JSON_DUPLICATES_LAST = 1 << 1, /* the last value of a repeated name stays, in the first's place (Go's meaning);
					  default: an error that names it */
	JSON_DUPLICATES_KEEP = 1 << 2, /* all members stay (strict field validation reports them itself) */
	JSON_REPLACE_BAD_UTF8 = 1 << 3, /* each bad byte becomes U+FFFD, as Go does; default: an error */
};
struct json_limits {
	size_t bytes;   /* longest text; 0 = 64 MB */
	unsigned depth; /* deepest nesting; 0 = 512, at most 10000 (parser, writer and copy do not recurse deeper than this) */
	size_t nodes;   /* most values in all; 0 = 8 million */
};
/* Exactly one value, blanks around it allowed. Class INVALID_REQUEST (TOO_LARGE past a limit) with line, column and what
 * was wrong: "line 3, column 14: expected ',' or '}' after a member, found ';'". Columns count bytes from 1. limits may be
 * NULL. On failure the arena may keep pieces; *out is untouched. */
int json_parse(struct arena *a, struct span text, unsigned flags, const struct json_limits *limits,
	       struct json *out, struct err *err);
/* One value at the start of *rest, which then begins behind it: for streams of values. At the end of the text (only
 * blanks left) class NOT_FOUND. Lines and limits count from the start of *rest, which stays as it is on failure;
 * limits->bytes bounds all of *rest, so the caller can take in that much at most before it parses. */
int json_parse_next(struct arena *a, struct span *rest, unsigned flags, const struct json_limits *limits,
		    struct json *out, struct err *err);
/* What Go's encoding/json says of a text that is no JSON value, which users of Kubernetes know: "invalid character 'a' looking
 * for beginning of value". Appended to out; false, and nothing, when the text is one value. The grammar alone is looked at. */
bool json_go_complaint(struct buf *out, struct span text);
/* Checks only; no tree, memory only for the names of the objects that are open. A repeated name is an error. */
int json_check(struct span text, const struct json_limits *limits, struct err *err);

/* ---- writing */
enum json_style {
	JSON_HTML = 1 << 0,   /* escape <, > and & as \u003c, \u003e, \u0026: Go's default, what API servers send */
	JSON_PRETTY = 1 << 1, /* two blanks a level; {} and [] when empty */
	JSON_SORTED = 1 << 2, /* members in byte order of their keys, without changing the tree */
	JSON_TABS = 1 << 3,   /* with JSON_PRETTY: a tab a level */
	JSON_PRETTY4 = 1 << 4, /* four blanks a level, as docker inspect; needs no JSON_PRETTY beside it */
};
/* The tree may be at most 10000 levels deep (an assert). Raw text is copied as it is in every style. */
void json_write(struct buf *out, const struct json *v, unsigned style);
void json_write_string(struct buf *out, struct span s, unsigned style); /* with the quotes */
void json_write_double(struct buf *out, double d); /* as Go; NaN and infinities become null */
/* A whole decimal: sign (+ too), digits with at most one point anywhere, exponent; the nearest double, of any length of
 * text. False (*out untouched) on another form and beyond the range; too small becomes 0. */
bool json_read_double(struct span text, double *out);

/* ---- writing without a tree. Commas and colons are put by themselves; ends are checked by assert.
 *
 *     struct json_out o = { .buf = &b, .style = JSON_HTML };
 *     json_out_begin(&o);                      {
 *     json_out_key(&o, SPAN("Id"));
 *     json_out_span(&o, id);                   "Id":"..."
 *     json_out_end(&o);                        }
 */
struct json_out {
	struct buf *buf;
	unsigned style; /* JSON_HTML only */
	unsigned depth; /* at most 64 */
	uint64_t arrays, filled; /* a bit a level */
	bool after_key;
};
void json_out_begin(struct json_out *o);       /* { */
void json_out_begin_array(struct json_out *o); /* [ */
void json_out_end(struct json_out *o);         /* the matching } or ] */
void json_out_key(struct json_out *o, struct span key);
void json_out_span(struct json_out *o, struct span s);
void json_out_i64(struct json_out *o, int64_t v);
void json_out_u64(struct json_out *o, uint64_t v);
void json_out_double(struct json_out *o, double v);
void json_out_bool(struct json_out *o, bool v);
void json_out_null(struct json_out *o);
void json_out_raw(struct json_out *o, struct span valid_json);
void json_out_value(struct json_out *o, const struct json *v);
/* key and value in one call, the value left out when it is empty, for omitempty fields */
void json_out_kspan(struct json_out *o, const char *key, struct span s);
void json_out_ki64(struct json_out *o, const char *key, int64_t v);
void json_out_kbool(struct json_out *o, const char *key, bool v);
