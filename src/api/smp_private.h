/* What making and applying strategic merge patches share. Private to smp.c and smp_diff.c. */
#pragma once

#include "api/smp.h"

#define SMP_DIRECTIVE SPAN("$patch")
#define SMP_RETAIN_KEYS SPAN("$retainKeys")
#define SMP_DELETE_PREFIX SPAN("$deleteFromPrimitiveList")
#define SMP_ORDER_PREFIX SPAN("$setElementOrder")

struct smp {
	struct arena *arena;
	struct err *err;
	/* Both sides are patches, and the result is one: nulls, parallel lists and directives about a map are kept. */
	bool combine;
};

/* What the schema says of a member: Go's struct tags. */
struct smp_meta {
	const struct api_type *type; /* of the value; of the items for a list */
	bool merge, replace, retain_keys;
	struct span merge_key;
};

struct smp_items { /* a list while it is worked on */
	struct json *items;
	uint32_t n, cap;
};

/* Errors in upstream's words; all return the negative class. */
int api_smp_bad(const struct smp *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int api_smp_no_merge_key(const struct smp *s, const struct json *map, struct span key);
int api_smp_bad_arg_type(const struct smp *s, const char *expected, const struct json *got);

int api_smp_lookup(const struct smp *s, const struct api_type *t, struct span key, struct smp_meta *out);
int api_smp_lookup_list(const struct smp *s, const struct api_type *t, struct span key, struct smp_meta *out);
/* Go's == on decoded values: kinds differ, values differ. */
bool api_smp_same(const struct json *a, const struct json *b);
/* The kind of the items of both lists, which must be one. */
int api_smp_element_kind(const struct smp *s, const struct smp_items *a, const struct smp_items *b, enum json_kind *out);
/* Sorts by the positions in order, stable; items to delete go to the end. */
int api_smp_order_sort(const struct smp *s, struct smp_items *l, const struct smp_items *order, struct span key, bool maps);
/* Upstream's deduplicateScalars: a repeated item is overwritten by the last one. */
void api_smp_scalars_once(struct smp_items *l);
/* Changes both. */
int api_smp_merge_map(struct smp *s, const struct api_type *t, struct json *original, struct json *patch);

static inline struct smp_items smp_list_of(const struct json *v)
{
	return v ? (struct smp_items){ v->items, v->n, v->n } : (struct smp_items){};
}

static inline struct smp_items smp_list_new(const struct smp *s, uint32_t cap)
{
	return (struct smp_items){ arena_alloc_n(s->arena, cap, sizeof(struct json)), 0, cap };
}

static inline struct json smp_list_json(const struct smp_items *l)
{
	return (struct json){ .kind = JSON_ARRAY, .exact = 1, .n = l->n, .items = l->items };
}

static inline void smp_list_push(struct smp_items *l, struct json v) /* room was made before */
{
	l->items[l->n++] = v;
}
