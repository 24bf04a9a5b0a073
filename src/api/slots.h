/* A built-in object's members by field: slot i holds the value of field i, if its bit is set. Encoders go through fields in
 * table order, whatever order the tree has. Private to api. */
#pragma once

#include "api/rows.h"
#include "json/json.h"

struct api_slots {
	uint64_t present;
	const struct json *v[API_FIELDS_MAX]; /* only those present are set */
};

/* Members whose key is the table's own pointer need no comparison (rows.h, invariant 1); null members and members
 * without a field are left out; of several with one name the last counts. */
static inline void api_slots_fill(struct api_slots *s, const struct api_type *t, const struct json *object)
{
	const struct api_field *fields = api_row_fields(t);
	s->present = 0;
	if (!object || object->kind != JSON_OBJECT)
		return;
	for (uint32_t k = 0; k < object->n; k++) {
		const struct json_member *m = &object->members[k];
		uint32_t i = m->mark - 1;
		if (unlikely(i >= t->n_fields || api_ref_text(fields[i].name) != m->key || fields[i].name_len != m->key_len)) {
			int found = api_row_find(t, m->key, m->key_len);
			if (found < 0)
				continue;
			i = (uint32_t)found;
		}
		if (m->value.kind == JSON_NULL) {
			s->present &= ~(UINT64_C(1) << i);
			continue;
		}
		s->present |= UINT64_C(1) << i;
		s->v[i] = &m->value;
	}
}

/* Would Go's omitempty drop it? */
static inline bool api_is_empty(const struct api_type *t, const struct json *v)
{
	switch (v->kind) {
	case JSON_NULL: return true;
	case JSON_BOOL: return t->kind == API_BOOL && !v->b;
	case JSON_INT: return t->kind <= API_DOUBLE && v->i == 0;
	case JSON_DOUBLE: return t->kind == API_DOUBLE && v->d == 0;
	case JSON_STRING: return v->n == 0 && (t->kind == API_STRING || t->kind == API_BYTES || t->kind == API_BLOB);
	case JSON_ARRAY: return v->n == 0 && t->kind == API_LIST;
	case JSON_OBJECT: return v->n == 0 && t->kind == API_MAP;
	default: return false;
	}
}
