/* Reading and changing trees, copies, equality, order.
 *
 * Storage of an array or object: `exact` says that it ends behind the last item; otherwise it goes on to the next power of
 * two of n, at least 4. So no capacity is stored, and a value stays 16 bytes. When n shrinks, the capacity that follows from it
 * only shrinks too: what was there is enough.
 *
 *     n            0   1..4   5..8   9..16
 *     room for     0      4      8      16      (exact = 0)
 *
 * Nothing here recurses: walks keep their frames in struct walk, 64 levels on the C stack, then the heap. */
#include "json/json.h"
#include "json/private.h"

/* ---- reading */
struct json json_uint(uint64_t u)
{
	if (u <= INT64_MAX)
		return json_int((int64_t)u);
	return (struct json){ .kind = JSON_UINT, .u = u };
}

struct json_member *json_member(const struct json *object, struct span key)
{
	if (!json_is(object, JSON_OBJECT))
		return NULL;
	struct json_member *m = object->members, *end = m + object->n;
	for (; m < end; m++) {
		if (m->key_len == key.len && (key.len == 0 || memcmp(m->key, key.ptr, key.len) == 0))
			return m;
	}
	return NULL;
}

struct json *json_get(const struct json *object, struct span key)
{
	struct json_member *m = json_member(object, key);
	return m ? &m->value : NULL;
}

struct json *json_path(const struct json *object, ...)
{
	va_list ap;
	va_start(ap, object);
	struct json *v = (struct json *)object;
	const char *name;
	while (v && (name = va_arg(ap, const char *)))
		v = json_get(v, span_of(name));
	va_end(ap);
	return v;
}

/* d as an integer, when it is one in range. -2^63 and 2^63 are exact doubles. */
static bool double_to_i64(double d, int64_t *out)
{
	if (!(d >= -0x1p63 && d < 0x1p63) || d != (double)(int64_t)d)
		return false;
	*out = (int64_t)d;
	return true;
}

int64_t json_i64(const struct json *v, int64_t otherwise)
{
	if (json_is(v, JSON_INT))
		return v->i;
	int64_t i;
	return json_is(v, JSON_DOUBLE) && double_to_i64(v->d, &i) ? i : otherwise;
}

bool json_truth(const struct json *v, bool otherwise)
{
	return json_is(v, JSON_BOOL) ? v->b : otherwise;
}

/* ---- changing */
/* How many elements the storage has room for. */
static uint32_t room_of(const struct json *v)
{
	if (v->exact || v->n == 0)
		return v->n;
	if (v->n <= 4)
		return 4;
	uint32_t highest = 1u << (31 - __builtin_clz(v->n));
	return highest == v->n ? highest : highest * 2;
}

/* Makes room for one more element of so many bytes. */
static void grow(struct arena *a, struct json *v, size_t size)
{
	if (v->n < room_of(v))
		return;
	assert(v->n < 1u << 31);
	uint32_t n = 4;
	while (n <= v->n)
		n *= 2;
	void *bigger = arena_alloc_n(a, n, size);
	if (v->n)
		memcpy(bigger, v->items, v->n * size);
	v->items = bigger; /* same place as members */
	v->exact = 0;
}

struct json *json_push(struct arena *a, struct json *array, struct json value)
{
	assert(array->kind == JSON_ARRAY);
	grow(a, array, sizeof(*array->items));
	struct json *place = array->items + array->n++;
	*place = value;
	return place;
}

struct json *json_add(struct arena *a, struct json *object, struct span key, struct json value)
{
	assert(object->kind == JSON_OBJECT);
	assert(key.len < UINT32_MAX);
	grow(a, object, sizeof(*object->members));
	struct json_member *m = object->members + object->n++;
	*m = (struct json_member){ .key = key.ptr, .key_len = (uint32_t)key.len, .value = value };
	return &m->value;
}

struct json *json_set(struct arena *a, struct json *object, struct span key, struct json value)
{
	struct json *place = json_get(object, key);
	if (!place)
		return json_add(a, object, key, value);
	*place = value;
	return place;
}

void json_remove_at(struct json *v, uint32_t index)
{
	assert(v->kind == JSON_ARRAY || v->kind == JSON_OBJECT);
	assert(index < v->n);
	uint32_t behind = --v->n - index;
	if (v->kind == JSON_ARRAY)
		memmove(v->items + index, v->items + index + 1, behind * sizeof(*v->items));
	else
		memmove(v->members + index, v->members + index + 1, behind * sizeof(*v->members));
}

bool json_remove(struct json *object, struct span key)
{
	struct json_member *m = json_member(object, key);
	if (!m)
		return false;
	json_remove_at(object, (uint32_t)(m - object->members));
	return true;
}

struct json *json_insert(struct arena *a, struct json *array, uint32_t index, struct json value)
{
	assert(index <= array->n);
	json_push(a, array, value);
	struct json *place = array->items + index;
	memmove(place + 1, place, (array->n - 1 - index) * sizeof(*place));
	*place = value;
	return place;
}

/* ---- walks over one tree or two */
struct frame {
	struct json *v;             /* the container whose elements are being visited */
	const struct json *other;   /* equality: what it is compared with */
	struct json_member **pairs; /* equality of objects in different order: owned, v's members, then other's */
	uint32_t next;
};

struct walk {
	struct frame *frames;
	unsigned depth, cap;
	struct frame room[64];
};

#define WALK_INIT(w) ((w)->frames = (w)->room, (w)->depth = 0, (w)->cap = ARRAY_LEN((w)->room))

static void walk_push(struct walk *w, struct frame frame)
{
	assert(w->depth < JSON_DEPTH_MOST);
	if (w->depth == w->cap) {
		struct frame *bigger = mem_realloc_n(w->frames == w->room ? NULL : w->frames, w->cap * 2, sizeof(*bigger));
		if (w->frames == w->room)
			memcpy(bigger, w->room, sizeof(w->room));
		w->frames = bigger;
		w->cap *= 2;
	}
	w->frames[w->depth++] = frame;
}

static void walk_done(struct walk *w)
{
	while (w->depth)
		free(w->frames[--w->depth].pairs);
	if (w->frames != w->room)
		free(w->frames);
}

static bool is_container(const struct json *v)
{
	return v->kind == JSON_ARRAY || v->kind == JSON_OBJECT;
}

static struct json *element(const struct json *v, uint32_t i)
{
	return v->kind == JSON_ARRAY ? v->items + i : &v->members[i].value;
}

/* *v is a copy of the outer bytes of a value: gives it storage of its own. */
static void own(struct arena *a, struct json *v)
{
	if (v->kind == JSON_STRING || v->kind == JSON_RAW) {
		v->str = json_arena_text(a, span_make(v->str, v->n));
	} else if (v->kind == JSON_ARRAY && v->n) {
		struct json *items = arena_alloc_n(a, v->n, sizeof(*items));
		memcpy(items, v->items, v->n * sizeof(*items));
		v->items = items;
	} else if (v->kind == JSON_OBJECT && v->n) {
		struct json_member *members = arena_alloc_n(a, v->n, sizeof(*members));
		for (uint32_t i = 0; i < v->n; i++) {
			members[i] = v->members[i];
			members[i].key = json_arena_text(a, json_key(v->members + i));
		}
		v->members = members;
	}
	if (is_container(v))
		v->exact = 1;
}

/* Every value under root, and root itself, each before its children: fn may replace them. Inlined: fn is no pointer then. */
static inline __attribute__((always_inline)) void each_value(struct json *root, void (*fn)(struct arena *a, struct json *v),
							     struct arena *a)
{
	struct walk w __attribute__((uninitialized));
	WALK_INIT(&w);
	fn(a, root);
	if (is_container(root))
		walk_push(&w, (struct frame){ .v = root });
	while (w.depth) {
		struct frame *f = w.frames + w.depth - 1;
		if (f->next == f->v->n) {
			w.depth--;
			continue;
		}
		struct json *child = element(f->v, f->next++);
		fn(a, child);
		if (is_container(child))
			walk_push(&w, (struct frame){ .v = child });
	}
	walk_done(&w);
}

struct json json_copy(struct arena *a, const struct json *from)
{
	struct json root = *from;
	each_value(&root, own, a);
	return root;
}

/* ---- order */
static int name_cmp(const struct json_member *a, const struct json_member *b)
{
	return span_cmp(json_key(a), json_key(b));
}

static int order_cmp(const void *left, const void *right)
{
	const struct json_member *a = *(struct json_member *const *)left, *b = *(struct json_member *const *)right;
	int c = name_cmp(a, b);
	return c ? c : (a > b) - (a < b); /* same array: the earlier has the lower address */
}

bool json_in_order(const struct json *object)
{
	for (uint32_t i = 1; i < object->n; i++) {
		if (name_cmp(object->members + i - 1, object->members + i) > 0)
			return false;
	}
	return true;
}

struct json_member **json_order(const struct json *object, struct json_member **room, uint32_t room_n)
{
	uint32_t n = object->n;
	struct json_member **order = n <= room_n ? room : mem_realloc_n(NULL, n, sizeof(struct json_member *));
	for (uint32_t i = 0; i < n; i++)
		order[i] = object->members + i;
	if (n > 16) {
		qsort(order, n, sizeof(struct json_member *), order_cmp);
		return order;
	}
	for (uint32_t i = 1; i < n; i++) {
		struct json_member *m = order[i];
		uint32_t at = i;
		for (; at && name_cmp(order[at - 1], m) > 0; at--)
			order[at] = order[at - 1];
		order[at] = m;
	}
	return order;
}

static void sort_members(struct arena *a, struct json *object)
{
	if (object->kind != JSON_OBJECT || json_in_order(object))
		return;
	struct json_member *room[32];
	struct json_member **order = json_order(object, room, ARRAY_LEN(room));
	struct json_member *sorted = mem_realloc_n(NULL, object->n, sizeof(*sorted));
	for (uint32_t i = 0; i < object->n; i++)
		sorted[i] = *order[i];
	memcpy(object->members, sorted, object->n * sizeof(*sorted));
	free(sorted);
	if (order != room)
		free(order);
}

void json_sort(struct json *v)
{
	each_value(v, sort_members, NULL);
}

/* ---- equality */
static bool number_equal(const struct json *a, const struct json *b)
{
	if (a->kind > b->kind) {
		const struct json *t = a;
		a = b;
		b = t;
	}
	switch (a->kind) {
	case JSON_INT: {
		int64_t i;
		if (b->kind == JSON_INT)
			return a->i == b->i;
		if (b->kind == JSON_UINT)
			return a->i >= 0 && (uint64_t)a->i == b->u;
		return double_to_i64(b->d, &i) && i == a->i;
	}
	case JSON_UINT:
		if (b->kind == JSON_UINT)
			return a->u == b->u;
		return b->d >= 0 && b->d < 0x1p64 && b->d == (double)(uint64_t)b->d && (uint64_t)b->d == a->u;
	default:
		return a->d == b->d;
	}
}

/* Without a look at the children of containers. */
static bool outer_equal(const struct json *a, const struct json *b)
{
	if (json_is_number(a) && json_is_number(b))
		return number_equal(a, b);
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case JSON_NULL:
		return true;
	case JSON_BOOL:
		return a->b == b->b;
	case JSON_STRING:
	case JSON_RAW:
		return span_eq(json_span(a), json_span(b));
	default:
		return a->n == b->n;
	}
}

/* Pairs the members of two objects of the same size by name: NULL in *out_pairs when they stand in the same order.
 * False when the names differ. */
static bool pair_members(const struct json *a, const struct json *b, struct json_member ***out_pairs)
{
	uint32_t i = 0, n = a->n;
	while (i < n && span_eq(json_key(a->members + i), json_key(b->members + i)))
		i++;
	*out_pairs = NULL;
	if (i == n)
		return true;
	struct json_member **pairs = mem_realloc_n(NULL, (size_t)n * 2, sizeof(struct json_member *));
	json_order(a, pairs, n);
	json_order(b, pairs + n, n);
	for (i = 0; i < n && name_cmp(pairs[i], pairs[n + i]) == 0;)
		i++;
	if (i < n) {
		free(pairs);
		return false;
	}
	*out_pairs = pairs;
	return true;
}

/* Compares two values and puts containers on the walk. */
static bool equal_step(struct walk *w, const struct json *a, const struct json *b)
{
	if (!outer_equal(a, b))
		return false;
	if (!is_container(a) || a->n == 0)
		return true;
	struct json_member **pairs = NULL;
	if (a->kind == JSON_OBJECT && !pair_members(a, b, &pairs))
		return false;
	walk_push(w, (struct frame){ .v = (struct json *)a, .other = b, .pairs = pairs });
	return true;
}

bool json_equal(const struct json *a, const struct json *b)
{
	struct walk w __attribute__((uninitialized));
	WALK_INIT(&w);
	bool same = equal_step(&w, a, b);
	while (same && w.depth) {
		struct frame *f = w.frames + w.depth - 1;
		uint32_t i = f->next++, n = f->v->n;
		if (i == n) {
			free(f->pairs);
			w.depth--;
		} else if (f->pairs) {
			same = equal_step(&w, &f->pairs[i]->value, &f->pairs[n + i]->value);
		} else {
			same = equal_step(&w, element(f->v, i), element(f->other, i));
		}
	}
	walk_done(&w);
	return same;
}
