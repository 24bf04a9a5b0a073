/* How types are stored. Private to api: others use the functions of schema.h; the codecs use these for speed.
 *
 * Built-in rows are arrays of the read-only data segment that tools/gen/api_tables.py makes. They hold no
 * pointers, because the program is position independent and each pointer would cost a relocation at start and a
 * private page: 1,000 types and 3,000 fields would make some 10,000 of them. A reference is 64 bits:
 *
 *     0            none
 *     odd          index of a built-in row (or offset in the string pool) * 2 + 1
 *     even         pointer to a row on the heap (types added at run time)
 *
 * so the test is one bit that is always predicted, and the two kinds mix freely: a custom resource's "metadata" is
 * the built-in ObjectMeta. Addresses of programs have 47 bits, so 48 hold either, and a length or flags stand beside them: the rows
 * are most of the program's constants (GOALS row 17), and of what a codec brings into the cache.
 *
 * Invariants
 * 1. Names are pooled: two built-in fields of the same name have the same name pointer. Decoders put that pointer
 *    into members, so codecs recognise a member by pointer and mark before they compare bytes.
 * 2. Fields of an inlined struct stand contiguously in the struct that inlines it, at the base index of its wire row.
 * 3. A built-in object has at most API_FIELDS_MAX fields: codecs keep one slot each on the stack.
 */
#pragma once

#include "api/schema.h"

#define API_FIELDS_MAX 64

struct api_field {
	uint64_t name_len : 16; /* the short ones below: either is one instruction away */
	uint64_t name : 48; /* reference: pool offset or const char * */
	uint64_t flags : 16;
	uint64_t type : 48; /* reference: struct api_type */
	uint32_t num;
	uint16_t cold; /* index into api_t_cold; 0 = nothing there */
	uint8_t always; /* JSON: written even when absent */
};

struct api_text { /* a pooled string */
	uint32_t at : 20;
	uint32_t len : 12;
};

/* What few fields have and few readers ask for. */
struct api_cold {
	struct api_text merge_key, default_json, go_name, oneof, markers;
	uint32_t enum_row; /* index + 1 */
};

struct api_type {
	uint8_t kind;
	uint8_t list_type : 4, union_form : 4;
	uint8_t hash_bits; /* the table has 1 << hash_bits slots */
	uint8_t n_wire;
	uint16_t flags;
	uint16_t n_fields;
	uint16_t n_keys;
	uint16_t wire;     /* index of its first row in api_t_wire */
	uint16_t hash_seed;
	union {
		uint64_t fields; /* of an object; reference: struct api_field */
		uint64_t elem;   /* of a list, map or union */
	};
	union {
		/* of an object; reference: slots, uint8_t (built in) or uint16_t: field index + 1, 0 = empty; linear probing */
		uint64_t hash;
		uint64_t keys;   /* of a list; reference: struct api_text (built in) or struct span */
	};
	uint64_t name_len : 16;
	uint64_t name : 48;      /* reference: pool or const char * */
	uint64_t go_len : 16;
	uint64_t go_name : 48;   /* the same; equal to the name when its length is 0 */
};
_Static_assert(sizeof(struct api_type) == 48 && sizeof(struct api_field) == 24, "as small as they go");

/* A type added at run time. */
struct api_custom {
	struct api_type type;
	struct span default_json;
	const void *rules;
};

/* A field on the wire, rows of a struct ordered by number. */
#define API_WIRE_INLINE (1 << 0)  /* a struct whose JSON fields stand in the parent, from index `field` on */
#define API_WIRE_POINTER (1 << 1) /* left out when absent */
#define API_WIRE_ONEOF (1 << 2)   /* proto3: written when present, even zero */
struct api_wire {
	uint32_t num : 8;
	uint32_t field : 7; /* index among the struct's fields; for INLINE the base index */
	uint32_t flags : 3;
	uint32_t type : 14; /* index of a built-in type */
};

struct api_enum {
	struct api_text name;
	uint32_t values; /* index of the first in api_t_values */
	uint16_t n_values;
	uint16_t closed;
};

struct api_constant_row { /* of api_t_constant_pool */
	struct api_text package, name, value;
};

/* Resources as the generator writes them; resource.c makes struct api_resource of them. Lists of names are pooled
 * strings with commas. */
struct api_resource_row {
	struct api_text group, version, kind, plural, singular, short_names, categories, storage_gvk, storage_hash;
	uint32_t type, list_type; /* index + 1 */
	uint32_t first_sub, first_column, first_selector;
	uint16_t n_subs, n_columns, n_selectors;
	uint8_t namespaced, served;
	uint32_t verbs;
};
struct api_sub_row {
	struct api_text name, kind, group_version;
	uint32_t verbs, type;
};
struct api_column_row {
	struct api_text name, type, format, cell_json;
	int32_t priority;
};
struct api_column_kind {
	struct api_text kind; /* "core/v1.Pod" */
	uint32_t first, n;
};
struct api_rpc_row {
	struct api_text path;
	uint32_t request, response; /* types */
	uint8_t request_stream, response_stream;
};
struct api_selector_row {
	struct api_text label, compares;
	uint32_t style;
};
struct api_group_row {
	struct api_text group, version;
	int32_t group_priority, version_priority;
};

extern const char api_t_pool[], api_t_constant_pool[];
extern const struct api_type api_t_types[];
extern const struct api_field api_t_fields[];
extern const struct api_cold api_t_cold[];
extern const struct api_wire api_t_wire[];
extern const uint8_t api_t_hash[];
extern const struct api_text api_t_keys[];
extern const struct api_enum api_t_enums[]; /* ordered by name */
extern const struct api_text api_t_values[];
extern const uint16_t api_t_by_name[]; /* struct types ordered by name */
extern const struct api_constant_row api_t_constants[]; /* ordered by package, name */
extern const struct api_resource_row api_t_resources[];
extern const struct api_sub_row api_t_subs[];
extern const struct api_column_row api_t_columns[];
extern const struct api_selector_row api_t_selectors[];
extern const struct api_group_row api_t_groups[];
extern const struct api_column_kind api_t_column_kinds[]; /* ordered by kind */
extern const struct api_rpc_row api_t_rpcs[];             /* ordered by path */
extern const uint32_t api_t_n_types, api_t_n_named, api_t_n_enums, api_t_n_constants, api_t_n_resources, api_t_n_groups;
extern const uint32_t api_t_n_column_kinds, api_t_n_rpcs;

static inline const struct api_type *api_ref_type(uint64_t ref)
{
	return ref & 1 ? &api_t_types[ref >> 1] : (const struct api_type *)(uintptr_t)ref;
}
static inline const char *api_ref_text(uint64_t ref)
{
	return ref & 1 ? api_t_pool + (ref >> 1) : (const char *)(uintptr_t)ref;
}
static inline struct span api_text_span(struct api_text t)
{
	return span_make(api_t_pool + t.at, t.len);
}
static inline const struct api_field *api_row_fields(const struct api_type *t)
{
	return t->fields & 1 ? &api_t_fields[t->fields >> 1] : (const struct api_field *)(uintptr_t)t->fields;
}
static inline unsigned api_row_slot(const struct api_type *t, uint32_t slot)
{
	return t->hash & 1 ? api_t_hash[(t->hash >> 1) + slot] : ((const uint16_t *)(uintptr_t)t->hash)[slot];
}

/* Hash of a field name: its first and last eight bytes and its length. tools/gen/api_tables.py has the same in
 * Python. Names that differ in the middle alone collide; probing sorts that out. */
static inline uint64_t api_name_hash(const char *p, size_t len)
{
	uint64_t a = 0, b = 0;
	if (len >= 8) {
		memcpy(&a, p, 8);
		memcpy(&b, p + len - 8, 8);
	} else if (len >= 4) {
		uint32_t lo, hi;
		memcpy(&lo, p, 4);
		memcpy(&hi, p + len - 4, 4);
		a = lo | (uint64_t)hi << 32;
	} else if (len) {
		a = (uint8_t)p[0] | (uint64_t)(uint8_t)p[len / 2] << 8 | (uint64_t)(uint8_t)p[len - 1] << 16;
	}
	return a ^ (b * UINT64_C(0x9e3779b97f4a7c15)) ^ (len * UINT64_C(0xc2b2ae3d27d4eb4f));
}
static inline uint32_t api_name_slot(uint64_t hash, uint32_t seed, unsigned bits)
{
	return (uint32_t)(((hash ^ (hash >> 29) ^ ((uint64_t)seed << 17)) * UINT64_C(0xff51afd7ed558ccd)) >> (64 - bits));
}
/* Index of the field of that name, or -1. */
static inline int api_row_find(const struct api_type *t, const char *p, size_t len)
{
	const struct api_field *fields = api_row_fields(t);
	if (!t->n_fields)
		return -1;
	uint32_t mask = (1u << t->hash_bits) - 1;
	for (uint32_t s = api_name_slot(api_name_hash(p, len), t->hash_seed, t->hash_bits);; s++) {
		unsigned i = api_row_slot(t, s & mask);
		if (!i)
			return -1;
		const struct api_field *f = &fields[i - 1];
		if (f->name_len == len && memcmp(api_ref_text(f->name), p, len) == 0)
			return (int)i - 1;
	}
}
