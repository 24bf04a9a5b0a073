/* Reading the rows (rows.h says how they are stored), and building rows at run time.
 *
 * Run-time rows live in one arena per custom resource, in the same structs as built-in ones, so every reader is the same
 * code; only references differ (pointers instead of indexes). */
#include <assert.h>
#include <stdatomic.h>
#include "api/resource.h"
#include "api/rows.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the generator hashes names in little endian");

static const char *const kind_names[API_KIND_COUNT] = {
	[API_STRING] = "string", [API_INT32] = "int32", [API_INT64] = "int64", [API_UINT64] = "uint64",
	[API_BOOL] = "bool", [API_DOUBLE] = "double", [API_BYTES] = "bytes", [API_BLOB] = "blob",
	[API_TIME] = "time", [API_MICROTIME] = "microtime", [API_DURATION] = "duration", [API_QUANTITY] = "quantity",
	[API_INTORSTRING] = "intorstring", [API_RAW] = "raw", [API_ANY] = "any", [API_OBJECT] = "object",
	[API_LIST] = "list", [API_MAP] = "map", [API_UNION] = "union",
};

const struct api_type *api_type_find(struct span name)
{
	size_t lo = 0, hi = api_t_n_named;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct api_type *t = &api_t_types[api_t_by_name[mid]];
		int c = span_cmp(name, api_type_name(t));
		if (c == 0)
			return t;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

enum api_kind api_type_kind(const struct api_type *t)
{
	return t->kind;
}

unsigned api_type_flags(const struct api_type *t)
{
	return t->flags;
}

struct span api_type_name(const struct api_type *t)
{
	return span_make(api_ref_text(t->name), t->name_len);
}

void api_type_go_name(const struct api_type *t, struct buf *out)
{
	buf_span_add(out, t->go_len ? span_make(api_ref_text(t->go_name), t->go_len) : api_type_name(t));
}

const struct api_type *api_type_elem(const struct api_type *t)
{
	bool has = t->kind == API_LIST || t->kind == API_MAP || t->kind == API_UNION; /* others have something else in its place */
	return has && t->elem ? api_ref_type(t->elem) : NULL;
}

enum api_list_type api_type_list(const struct api_type *t)
{
	return t->list_type;
}

unsigned api_type_n_keys(const struct api_type *t)
{
	return t->n_keys;
}

struct span api_type_key(const struct api_type *t, unsigned i)
{
	assert(i < t->n_keys);
	if (t->keys & 1)
		return api_text_span(api_t_keys[(t->keys >> 1) + i]);
	return ((const struct span *)(uintptr_t)t->keys)[i];
}

enum api_union api_type_union(const struct api_type *t)
{
	assert(t->kind == API_UNION);
	return t->union_form;
}

static const struct api_custom *custom_of(const struct api_type *t)
{
	return t->flags & API_TYPE_CUSTOM ? container_of(t, struct api_custom, type) : NULL;
}

const void *api_type_rules(const struct api_type *t)
{
	const struct api_custom *c = custom_of(t);
	return c ? c->rules : NULL;
}

struct span api_type_default(const struct api_type *t)
{
	const struct api_custom *c = custom_of(t);
	return c ? c->default_json : SPAN_EMPTY;
}

unsigned api_type_n_fields(const struct api_type *t)
{
	return t->n_fields;
}

const struct api_field *api_type_field_at(const struct api_type *t, unsigned i)
{
	assert(i < t->n_fields);
	return api_row_fields(t) + i;
}

const struct api_field *api_type_field(const struct api_type *t, struct span name)
{
	int i = api_row_find(t, name.ptr, name.len);
	return i < 0 ? NULL : api_row_fields(t) + i;
}

unsigned api_field_index(const struct api_type *t, const struct api_field *f)
{
	size_t i = (size_t)(f - api_row_fields(t));
	assert(i < t->n_fields);
	return (unsigned)i;
}

struct span api_field_name(const struct api_field *f)
{
	return span_make(api_ref_text(f->name), f->name_len);
}

const struct api_type *api_field_type(const struct api_field *f)
{
	return api_ref_type(f->type);
}

unsigned api_field_flags(const struct api_field *f)
{
	return f->flags;
}

uint32_t api_field_num(const struct api_field *f)
{
	return f->num;
}

/* Row 0 of the cold rows is empty, and so are all of a custom resource's. */
struct span api_field_merge_key(const struct api_field *f)
{
	return api_text_span(api_t_cold[f->cold].merge_key);
}

struct span api_field_default(const struct api_field *f)
{
	return api_text_span(api_t_cold[f->cold].default_json);
}

struct span api_field_go_name(const struct api_field *f)
{
	return api_text_span(api_t_cold[f->cold].go_name);
}

struct span api_field_markers(const struct api_field *f)
{
	return api_text_span(api_t_cold[f->cold].markers);
}

const struct api_enum *api_field_enum(const struct api_field *f)
{
	uint32_t row = api_t_cold[f->cold].enum_row;
	return row ? &api_t_enums[row - 1] : NULL;
}

/* ---- named string types */

const struct api_enum *api_enum_find(struct span name)
{
	size_t lo = 0, hi = api_t_n_enums;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = span_cmp(name, api_text_span(api_t_enums[mid].name));
		if (c == 0)
			return &api_t_enums[mid];
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

struct span api_enum_name(const struct api_enum *e)
{
	return api_text_span(e->name);
}

bool api_enum_closed(const struct api_enum *e)
{
	return e->closed;
}

unsigned api_enum_n_values(const struct api_enum *e)
{
	return e->n_values;
}

struct span api_enum_value(const struct api_enum *e, unsigned i)
{
	assert(i < e->n_values);
	return api_text_span(api_t_values[e->values + i]);
}

static struct span constant_text(struct api_text t)
{
	return span_make(api_t_constant_pool + t.at, t.len);
}

struct span api_constant(struct span package, struct span name)
{
	size_t lo = 0, hi = api_t_n_constants;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct api_constant_row *row = &api_t_constants[mid];
		int c = span_cmp(package, constant_text(row->package));
		if (c == 0)
			c = span_cmp(name, constant_text(row->name));
		if (c == 0)
			return constant_text(row->value);
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return SPAN_EMPTY;
}

/* ---- methods */

unsigned api_rpc_count(void)
{
	return api_t_n_rpcs;
}

struct api_rpc api_rpc_at(unsigned i)
{
	assert(i < api_t_n_rpcs);
	const struct api_rpc_row *row = &api_t_rpcs[i];
	return (struct api_rpc){ .path = api_text_span(row->path), .request = &api_t_types[row->request],
				 .response = &api_t_types[row->response], .request_stream = row->request_stream,
				 .response_stream = row->response_stream };
}

bool api_rpc_find(struct span path, struct api_rpc *out)
{
	unsigned lo = 0, hi = api_t_n_rpcs;
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		int c = span_cmp(path, api_text_span(api_t_rpcs[mid].path));
		if (c == 0) {
			*out = api_rpc_at(mid);
			return true;
		}
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return false;
}

/* ---- types at run time */

struct api_types {
	_Atomic uint32_t refs;
	struct arena arena;
};

struct api_types *api_types_new(void)
{
	struct api_types *set = mem_new(struct api_types);
	atomic_init(&set->refs, 1);
	return set;
}

void api_types_unref(struct api_types *set)
{
	if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
		return;
	arena_done(&set->arena);
	free(set);
}

struct arena *api_types_arena(struct api_types *set)
{
	return &set->arena;
}

static uint64_t ref_of(const void *p)
{
	assert(((uintptr_t)p & 1) == 0 && (uint64_t)(uintptr_t)p >> 48 == 0);
	return (uintptr_t)p;
}

/* Strings on the heap may begin at odd addresses; copies from the arena are aligned. */
static uint64_t text_of(struct api_types *set, struct span s)
{
	return ref_of(arena_span(&set->arena, s).ptr);
}

/* Built-in rows may be named by pointer too: their address is even. */
static struct api_type *node_new(struct api_types *set, enum api_kind kind, const struct api_node_opts *opts)
{
	struct api_custom *c = arena_new(&set->arena, struct api_custom);
	c->type.kind = (uint8_t)kind;
	c->type.flags = (uint16_t)(API_TYPE_CUSTOM | (opts ? opts->flags : 0));
	if (opts && opts->default_json.len)
		c->default_json = arena_span(&set->arena, opts->default_json);
	c->rules = opts ? opts->rules : NULL;
	struct span name = span_of(kind_names[kind]);
	c->type.name = text_of(set, name);
	c->type.name_len = (uint16_t)name.len;
	return &c->type;
}

const struct api_type *api_types_scalar(struct api_types *set, enum api_kind kind, const struct api_node_opts *opts)
{
	assert(kind == API_STRING || kind == API_INT32 || kind == API_INT64 || kind == API_BOOL || kind == API_DOUBLE ||
	       kind == API_BYTES || kind == API_INTORSTRING || kind == API_ANY);
	return node_new(set, kind, opts);
}

const struct api_type *api_types_list(struct api_types *set, const struct api_type *elem, enum api_list_type list_type,
				      const struct span *keys, unsigned n_keys, const struct api_node_opts *opts)
{
	assert(n_keys <= UINT16_MAX);
	struct api_type *t = node_new(set, API_LIST, opts);
	t->elem = ref_of(elem);
	t->list_type = (unsigned)list_type & 15;
	if (list_type == API_LIST_ATOMIC)
		t->flags |= API_TYPE_ATOMIC;
	struct span *copy = n_keys ? arena_alloc_n(&set->arena, n_keys, sizeof(*copy)) : NULL;
	for (unsigned i = 0; i < n_keys; i++)
		copy[i] = arena_span(&set->arena, keys[i]);
	t->keys = ref_of(copy);
	t->n_keys = (uint16_t)n_keys;
	return t;
}

const struct api_type *api_types_map(struct api_types *set, const struct api_type *elem, const struct api_node_opts *opts)
{
	struct api_type *t = node_new(set, API_MAP, opts);
	t->elem = ref_of(elem);
	return t;
}

/* The fields and those of apiVersion, kind and metadata that are not among them: these are never pruned. metadata is the
 * built-in one whatever the schema says of it. */
static const struct api_field_spec *with_meta(struct api_types *set, const struct api_field_spec *fields, unsigned *n)
{
	const struct api_type *meta = api_type_find(SPAN("meta/v1.ObjectMeta"));
	static const struct span names[] = { SPAN_INIT("apiVersion"), SPAN_INIT("kind"), SPAN_INIT("metadata") };
	struct api_field_spec *all = arena_alloc_n(&set->arena, (size_t)*n + ARRAY_LEN(names), sizeof(*all));
	unsigned count = *n;
	if (count)
		memcpy(all, fields, count * sizeof(*all));
	for (size_t k = 0; k < ARRAY_LEN(names); k++) {
		unsigned i = 0;
		while (i < *n && !span_eq(all[i].name, names[k]))
			i++;
		if (i == *n) {
			i = count++;
			all[i] = (struct api_field_spec){ .name = names[k], .type = meta };
			if (k < 2)
				all[i].type = api_types_scalar(set, API_STRING, NULL);
		}
		if (k == 2)
			all[i].type = meta;
	}
	*n = count;
	return all;
}

const struct api_type *api_types_object(struct api_types *set, struct span name, const struct api_field_spec *fields,
					unsigned n_fields, const struct api_node_opts *opts)
{
	assert(n_fields <= 65000);
	struct api_type *t = node_new(set, API_OBJECT, opts);
	if (t->flags & API_TYPE_EMBEDDED)
		fields = with_meta(set, fields, &n_fields);
	if (name.len) {
		t->name = text_of(set, name);
		assert(name.len <= UINT16_MAX);
		t->name_len = (uint16_t)name.len;
	}
	t->n_fields = (uint16_t)n_fields;
	t->hash_bits = 1;
	while (1u << t->hash_bits < 2 * n_fields)
		t->hash_bits++;
	struct api_field *rows = n_fields ? arena_alloc_n(&set->arena, n_fields, sizeof(*rows)) : NULL;
	uint16_t *slots = arena_zalloc(&set->arena, sizeof(*slots) << t->hash_bits);
	uint32_t mask = (1u << t->hash_bits) - 1;
	for (unsigned i = 0; i < n_fields; i++) {
		assert(fields[i].name.len <= UINT16_MAX);
		rows[i] = (struct api_field){ .name = text_of(set, fields[i].name), .name_len = (uint16_t)fields[i].name.len,
					      .type = ref_of(fields[i].type), .flags = (uint16_t)fields[i].flags };
		uint32_t s = api_name_slot(api_name_hash(fields[i].name.ptr, fields[i].name.len), 0, t->hash_bits);
		while (slots[s & mask]) {
			assert(!span_eq(api_field_name(&rows[slots[s & mask] - 1]), fields[i].name));
			s++;
		}
		slots[s & mask] = (uint16_t)(i + 1);
	}
	t->fields = ref_of(rows);
	t->hash = ref_of(slots);
	return t;
}
