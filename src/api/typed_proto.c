/* Typed structs <-> protobuf without a tree in between, for the messages that are sent by the thousand (CRI, etcd). The rules are
 * those of decode_proto.c and encode_proto.c; a fuzz target holds the two ways against each other.
 *
 * Values of kinds with a form of their own (quantities, raw values, ...) take the way through a small tree. */
#include <assert.h>
#include "api/times.h"
#include "api/typed_impl.h"
#include "api/wire.h"

/* ================================================================ reading */

static int get_message(struct api_wire_dec *d, const struct api_type *t, struct span data, char *out);

static void put_number(const struct api_type *t, uint64_t v, void *out)
{
	switch (t->kind) {
	case API_INT32: *(int32_t *)out = (int32_t)v; break;
	case API_INT64: *(int64_t *)out = (int64_t)v; break;
	case API_UINT64: *(uint64_t *)out = t->flags & API_TYPE_32BIT ? (uint32_t)v : v; break;
	case API_BOOL: *(bool *)out = v != 0; break;
	default: *(double *)out = proto_double(v); break;
	}
}

static int get_number(struct api_wire_dec *d, struct proto_in *in, const struct api_type *t, void *out)
{
	uint64_t v = 0;
	if (t->kind == API_DOUBLE ? !proto_fixed64(in, &v) : !proto_varint(in, &v))
		return api_wire_damaged(d, t);
	put_number(t, v, out);
	return 0;
}

static int get_list(struct api_wire_dec *d, struct proto_in *in, unsigned wire, uint32_t num, const struct api_type *t,
		    struct api_any_list *list);

/* One value, its tag read, into zeroed or earlier contents. */
static int get_value(struct api_wire_dec *d, struct proto_in *in, unsigned wire, const struct api_type *t, void *out)
{
	struct json small;
	struct span s;
	int rc;
	if (wire != api_wire_of(t))
		return api_wire_damaged(d, t);
	if (api_is_number(t))
		return get_number(d, in, t, out);
	switch ((enum api_kind)t->kind) {
	case API_STRING:
	case API_BLOB:
	case API_BYTES:
	case API_OBJECT:
	case API_LIST:
		if (!proto_bytes(in, &s))
			return api_wire_damaged(d, t);
		if (t->kind == API_OBJECT)
			return get_message(d, t, s, out);
		if (t->kind == API_LIST) { /* wrapped: a message with repeated field 1 */
			struct proto_in inner = proto_in_of(s);
			struct api_any_list list = { arena_alloc(d->a, 1), 0 };
			uint32_t num;
			rc = 0;
			while (rc == 0 && proto_tag(&inner, &num, &wire))
				if (num == 1)
					rc = get_list(d, &inner, wire, num, t, &list);
				else
					(void)proto_skip(&inner, wire);
			*(struct api_any_list *)out = list;
			return rc < 0 ? rc : proto_end(&inner) ? 0 : api_wire_damaged(d, t);
		}
		if (t->kind == API_STRING) {
			struct json text = api_wire_text(d, s);
			s = json_span(&text);
		}
		*(struct span *)out = s.ptr ? s : SPAN("");
		return 0;
	default:
		rc = api_wire_get(d, in, wire, t, &small);
		return rc < 0 ? rc : api_typed_set(d->a, t, &small, out, d->err);
	}
}

/* Room for more elements behind those that are there; the old storage stays in the arena. */
static char *more(struct api_wire_dec *d, struct api_any_list *list, uint32_t n, size_t each)
{
	char *to = arena_zalloc(d->a, ((size_t)list->n + n) * each);
	if (list->n)
		memcpy(to, list->ptr, list->n * each);
	list->ptr = to;
	return to + list->n * each;
}

/* The items that follow directly, the first one's tag read, are given room at once; one that comes apart from the others
 * moves them, and what is moved counts towards the bound of values, so that a hostile order stays linear in that bound. */
static int get_list(struct api_wire_dec *d, struct proto_in *in, unsigned wire, uint32_t num, const struct api_type *t,
		    struct api_any_list *list)
{
	const struct api_type *elem = api_ref_type(t->elem);
	size_t each = api_typed_size_of(elem);
	uint32_t n = 1, again;
	int rc;
	if (api_is_number(elem) && wire == PROTO_BYTES) { /* packed */
		struct span s;
		if (!proto_bytes(in, &s))
			return api_wire_damaged(d, t);
		struct proto_in inner = proto_in_of(s), count = inner;
		uint64_t v;
		for (n = 0; count.pos < count.end; n++)
			if (elem->kind == API_DOUBLE ? !proto_fixed64(&count, &v) : !proto_varint(&count, &v))
				return api_wire_damaged(d, t);
		if ((rc = api_wire_count(d, n)) < 0)
			return rc;
		char *at = more(d, list, n, each);
		for (uint32_t i = 0; i < n; i++, at += each)
			if ((rc = get_number(d, &inner, elem, at)) < 0)
				return rc;
		list->n += n;
		return 0;
	}
	struct proto_in ahead = *in;
	if (!proto_skip(&ahead, wire))
		return api_wire_damaged(d, t);
	while (n < API_WIRE_NODES_MAX) {
		unsigned same_wire;
		if (!proto_tag(&ahead, &again, &same_wire) || again != num || same_wire != wire || !proto_skip(&ahead, wire))
			break;
		n++;
	}
	/* Every move copies what is there, so it counts like it. */
	if ((rc = api_wire_count(d, n + list->n)) < 0)
		return rc;
	char *at = more(d, list, n, each);
	for (uint32_t i = 0; i < n; i++, at += each) {
		if (i && !proto_tag(in, &again, &wire))
			return api_wire_damaged(d, t);
		if ((rc = get_value(d, in, wire, elem, at)) < 0)
			return rc;
	}
	list->n += n;
	return 0;
}

static int get_entries(struct api_wire_dec *d, struct proto_in *in, unsigned wire, uint32_t num, const struct api_type *t,
		       struct api_any_list *map)
{
	const struct api_type *elem = api_ref_type(t->elem);
	size_t each = api_typed_pair_size(elem);
	struct proto_in ahead = *in;
	struct span entry;
	int rc;
	if (wire != PROTO_BYTES || !proto_bytes(&ahead, &entry))
		return api_wire_damaged(d, t);
	uint32_t n = 1 + proto_count_bytes(&ahead, num, API_WIRE_NODES_MAX), again;
	if ((rc = api_wire_count(d, n + map->n)) < 0)
		return rc;
	char *at = more(d, map, n, each);
	for (uint32_t i = 0; i < n; i++, at += each) {
		struct span *key = (struct span *)at;
		if ((i && !proto_tag(in, &again, &wire)) || !proto_bytes(in, &entry))
			return api_wire_damaged(d, t);
		*key = SPAN("");
		struct json zero = api_wire_zero(elem);
		rc = zero.kind == JSON_NULL ? 0 : api_typed_set(d->a, elem, &zero, at + sizeof(*key), d->err);
		struct proto_in e = proto_in_of(entry);
		while (rc == 0 && proto_tag(&e, &again, &wire)) {
			if (again == 1 && wire == PROTO_BYTES) {
				struct span s;
				if (proto_bytes(&e, &s)) {
					struct json text = api_wire_text(d, s);
					*key = text.n ? json_span(&text) : SPAN("");
				}
			} else if (again == 2) {
				memset(at + sizeof(*key), 0, each - sizeof(*key));
				rc = get_value(d, &e, wire, elem, at + sizeof(*key));
			} else {
				(void)proto_skip(&e, wire);
			}
		}
		if (rc < 0)
			return rc;
		if (!proto_end(&e))
			return api_wire_damaged(d, t);
	}
	map->n += n;
	return 0;
}

/* In order of the keys; of several with one key the last counts. */
static void settle(struct arena *a, struct api_any_list *map, size_t each)
{
	char *base = map->ptr;
	bool sorted = true;
	for (uint32_t i = 1; i < map->n && sorted; i++)
		sorted = span_cmp(*(struct span *)(base + (i - 1) * each), *(struct span *)(base + i * each)) < 0;
	if (sorted)
		return;
	auto_map struct map seen = {};
	uint32_t n = 0;
	char *kept = arena_alloc(a, map->n * each);
	for (uint32_t i = 0; i < map->n; i++) {
		char *from = base + i * each;
		char *to = map_get(&seen, *(struct span *)from);
		if (!to) {
			to = kept + n++ * each;
			memcpy(to, from, sizeof(struct span));
			(void)map_put(&seen, *(struct span *)to, to);
		}
		memcpy(to + sizeof(struct span), from + sizeof(struct span), each - sizeof(struct span));
	}
	qsort(kept, n, each, api_typed_pair_cmp);
	map->ptr = kept;
	map->n = n;
}

/* Another member of the same oneof gives way. */
static void drop_oneof(const struct api_type *t, const struct api_typed_row *row, unsigned field, char *out)
{
	const struct api_field *fields = api_row_fields(t);
	uint32_t oneof = api_t_cold[fields[field].cold].oneof.at;
	for (unsigned i = 0; i < t->n_fields; i++) {
		if (!(fields[i].flags & API_FIELD_ONEOF) || api_t_cold[fields[i].cold].oneof.at != oneof)
			continue;
		const struct api_member *m = &api_t_members[row->first + i];
		const struct api_type *ft = api_ref_type(fields[i].type);
		size_t size = api_typed_size_of(ft);
		if (ft->kind == API_OBJECT)
			size = sizeof(void *); /* messages of a oneof are pointed at */
		memset(out + m->at, 0, size);
		if (m->has)
			*(bool *)(out + m->has) = false;
	}
}

static int get_fields(struct api_wire_dec *d, const struct api_type *t, struct span data, const struct api_type *outer,
		      unsigned base, char *out, uint64_t *maps)
{
	const struct api_typed_row *row = api_typed_row_of(outer);
	const struct api_field *fields = api_row_fields(outer);
	const struct api_wire *w = &api_t_wire[t->wire];
	struct proto_in in = proto_in_of(data);
	uint32_t num;
	unsigned wire;
	int rc = 0;
	while (rc == 0 && proto_tag(&in, &num, &wire)) {
		const struct api_wire *at_row = api_wire_row(t, w, num);
		if (!at_row) {
			(void)proto_skip(&in, wire);
			continue;
		}
		w = at_row;
		const struct api_type *ft = &api_t_types[w->type];
		if (w->flags & API_WIRE_INLINE) {
			struct span s;
			if (wire != PROTO_BYTES || !proto_bytes(&in, &s))
				return api_wire_damaged(d, t);
			rc = get_fields(d, ft, s, outer, base + w->field, out, maps);
			continue;
		}
		unsigned i = base + w->field;
		const struct api_member *m = &api_t_members[row->first + i];
		char *at = out + m->at;
		if (ft->kind == API_MAP) {
			*maps |= UINT64_C(1) << i;
			rc = get_entries(d, &in, wire, num, ft, (struct api_any_list *)at);
			continue;
		}
		if (ft->kind == API_LIST && !(ft->flags & API_TYPE_WRAPPED)) {
			rc = get_list(d, &in, wire, num, ft, (struct api_any_list *)at);
			if (rc == 0 && !((struct api_any_list *)at)->ptr)
				((struct api_any_list *)at)->ptr = arena_alloc(d->a, 1);
			continue;
		}
		bool kept = w->flags & (API_WIRE_POINTER | API_WIRE_ONEOF);
		if (w->flags & API_WIRE_ONEOF)
			drop_oneof(outer, row, i, out);
		if (ft->kind == API_STRING && !kept && wire == PROTO_BYTES && in.pos < in.end && !*in.pos) {
			in.pos++; /* "" where that is the same as absent */
			*(struct span *)at = SPAN_EMPTY;
			continue;
		}
		if (ft->kind == API_OBJECT) { /* read anew: a later one replaces, as in trees */
			size_t size = api_typed_size_of(ft);
			if (fields[i].flags & API_FIELD_POINTER) {
				char *inner = arena_zalloc(d->a, size);
				memcpy(at, &inner, sizeof(inner));
				at = inner;
			} else {
				memset(at, 0, size);
			}
		} else {
			memset(at, 0, api_typed_size_of(ft));
		}
		rc = api_wire_count(d, 1);
		if (rc == 0)
			rc = get_value(d, &in, wire, ft, at);
		if (m->has)
			*(bool *)(out + m->has) = true;
	}
	return rc < 0 ? rc : proto_end(&in) ? 0 : api_wire_damaged(d, t);
}

static int get_message(struct api_wire_dec *d, const struct api_type *t, struct span data, char *out)
{
	uint64_t maps = 0;
	if (d->depth >= API_WIRE_DEPTH_MAX)
		return err_set(d->err, ERR_INVALID_REQUEST, "protobuf nested more than %d levels deep", API_WIRE_DEPTH_MAX);
	d->depth++;
	int rc = get_fields(d, t, data, t, 0, out, &maps);
	d->depth--;
	for (uint64_t left = rc == 0 ? maps : 0; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);
		const struct api_type *ft = api_ref_type(api_row_fields(t)[i].type);
		settle(d->a, (struct api_any_list *)(out + api_t_members[api_typed_row_of(t)->first + i].at),
		       api_typed_pair_size(api_ref_type(ft->elem)));
	}
	return rc;
}

int api_typed_of_message(struct arena *a, const struct api_type *t, struct span data, void *zeroed, struct err *err)
{
	struct api_wire_dec d = { .a = a, .err = err };
	if (data.len > API_WIRE_BYTES_MAX)
		return err_set(err, ERR_TOO_LARGE, "protobuf message of more than %d bytes", API_WIRE_BYTES_MAX);
	return get_message(&d, t, data, zeroed);
}

/* ================================================================ writing */

static void put_fields(struct api_wire_enc *e, const struct api_type *t, const struct api_typed_row *row, unsigned base,
		       const char *in);

static uint64_t number_of(const struct api_type *t, const void *in)
{
	switch (t->kind) {
	case API_INT32: return (uint64_t)(int64_t) * (const int32_t *)in;
	case API_BOOL: return *(const bool *)in;
	case API_DOUBLE: return proto_double_bits(*(const double *)in);
	default: return *(const uint64_t *)in;
	}
}

static void put_value(struct api_wire_enc *e, uint32_t num, const struct api_type *t, const void *in)
{
	size_t since = proto_out_size(&e->o);
	switch ((enum api_kind)t->kind) {
	case API_STRING:
	case API_BLOB:
	case API_BYTES:
		proto_put_bytes(&e->o, num, *(const struct span *)in);
		break;
	case API_INT32:
	case API_INT64:
	case API_UINT64:
	case API_BOOL:
		proto_put_varint(&e->o, num, number_of(t, in));
		break;
	case API_DOUBLE:
		proto_put_fixed64(&e->o, num, number_of(t, in));
		break;
	case API_OBJECT:
		assert(e->depth < API_WIRE_DEPTH_MAX); /* structs are as deep as their types */
		e->depth++;
		put_fields(e, t, api_typed_row_of(t), 0, in);
		e->depth--;
		proto_put_head(&e->o, num, since);
		break;
	case API_LIST: { /* wrapped */
		const struct api_any_list *list = in;
		const struct api_type *elem = api_ref_type(t->elem);
		size_t each = api_typed_size_of(elem);
		if (!list->ptr)
			break;
		for (uint32_t i = list->n; i-- > 0;)
			put_value(e, 1, elem, (const char *)list->ptr + i * each);
		proto_put_head(&e->o, num, since);
		break;
	}
	default: {
		auto_arena struct arena a = {};
		struct json small = api_typed_get(&a, t, in);
		api_wire_put(e, num, t, small.kind == JSON_NULL ? NULL : &small, false);
	}
	}
}

static void put_list(struct api_wire_enc *e, uint32_t num, const struct api_type *t, const struct api_any_list *list,
		     bool proto3)
{
	const struct api_type *elem = api_ref_type(t->elem);
	const char *items = list->ptr;
	size_t each = api_typed_size_of(elem), since = proto_out_size(&e->o);
	if (!list->n)
		return;
	if (!proto3 || !api_is_number(elem)) {
		for (uint32_t i = list->n; i-- > 0;)
			put_value(e, num, elem, items + i * each);
		return;
	}
	for (uint32_t i = list->n; i-- > 0;) {
		uint64_t v = number_of(elem, items + i * each);
		if (elem->kind == API_DOUBLE)
			proto_out_bytes(&e->o, &v, sizeof(v));
		else
			proto_out_varint(&e->o, v);
	}
	proto_put_head(&e->o, num, since);
}

static int pair_ptr_cmp(const void *x, const void *y)
{
	return span_cmp(**(struct span *const *)x, **(struct span *const *)y);
}

static void put_map(struct api_wire_enc *e, uint32_t num, const struct api_type *t, const struct api_any_list *map)
{
	const struct api_type *elem = api_ref_type(t->elem);
	const char *pairs = map->ptr;
	size_t each = api_typed_pair_size(elem);
	auto_free const char **order = NULL;
	for (uint32_t i = 1; i < map->n && !order; i++) {
		if (span_cmp(*(const struct span *)(pairs + (i - 1) * each), *(const struct span *)(pairs + i * each)) <= 0)
			continue;
		order = mem_realloc_n(NULL, map->n, sizeof(*order));
		for (uint32_t k = 0; k < map->n; k++)
			order[k] = pairs + k * each;
		qsort(order, map->n, sizeof(*order), pair_ptr_cmp);
	}
	for (uint32_t i = map->n; i-- > 0;) {
		const char *pair = order ? order[i] : pairs + i * each;
		const void *value = pair + sizeof(struct span);
		size_t since = proto_out_size(&e->o);
		if (elem->kind != API_BYTES || ((const struct span *)value)->ptr)
			put_value(e, 2, elem, value);
		proto_put_bytes(&e->o, 1, *(const struct span *)pair);
		proto_put_head(&e->o, num, since);
	}
}

static void put_fields(struct api_wire_enc *e, const struct api_type *t, const struct api_typed_row *row, unsigned base,
		       const char *in)
{
	const bool proto3 = t->flags & API_TYPE_PROTO3;
	for (const struct api_wire *rows = &api_t_wire[t->wire], *w = rows + t->n_wire; w-- > rows;) {
		const struct api_type *ft = &api_t_types[w->type];
		if (w->flags & API_WIRE_INLINE) {
			size_t since = proto_out_size(&e->o);
			put_fields(e, ft, row, base + w->field, in);
			proto_put_head(&e->o, w->num, since);
			continue;
		}
		const struct api_member *m = &api_t_members[row->first + base + w->field];
		const void *at = in + m->at;
		if (ft->kind == API_MAP) {
			put_map(e, w->num, ft, at);
			continue;
		}
		if (ft->kind == API_LIST && !(ft->flags & API_TYPE_WRAPPED)) {
			put_list(e, w->num, ft, at, proto3);
			continue;
		}
		if (m->has && !*(const bool *)(in + m->has))
			continue;
		if (ft->kind == API_OBJECT && w->flags & API_WIRE_POINTER) {
			at = *(void *const *)at;
			if (!at)
				continue;
		} else if (!m->has && api_typed_is_absent(ft, at) &&
			   (proto3 || w->flags & API_WIRE_POINTER || ft->kind == API_BYTES)) {
			continue;
		}
		bool text = ft->kind == API_STRING || ft->kind == API_BLOB;
		if (proto3 && text && !(w->flags & (API_WIRE_ONEOF | API_WIRE_POINTER)) && !((const struct span *)at)->len)
			continue;
		put_value(e, w->num, ft, at);
	}
}

int api_typed_to_message(struct buf *out, const struct api_type *t, const void *in, const struct span *api_version,
			 const struct span *kind, struct err *err)
{
	struct api_wire_enc e = { .err = err };
	size_t before = out->len;
	proto_out_begin(&e.o, out, 1024);
	if (kind) {
		proto_put_bytes(&e.o, 4, SPAN(""));
		proto_put_bytes(&e.o, 3, SPAN(""));
	}
	size_t since = proto_out_size(&e.o);
	put_fields(&e, t, api_typed_row_of(t), 0, in);
	if (kind) {
		proto_put_head(&e.o, 2, since);
		since = proto_out_size(&e.o);
		proto_put_bytes(&e.o, 2, *kind);
		proto_put_bytes(&e.o, 1, *api_version);
		proto_put_head(&e.o, 1, since);
		proto_out_bytes(&e.o, "k8s", 4);
	}
	proto_out_end(&e.o);
	buf_done(&e.scratch);
	if (e.rc < 0)
		buf_trunc(out, before);
	return e.rc;
}
