/* Protobuf to trees, driven by the wire rows (rows.h).
 *
 * One pass. Packed and unpacked numbers are taken alike, unknown numbers skipped. Fields of an inlined struct go
 * into the parent's object. Members of an object gather on the stack, because their number is known at the end; a list's items
 * are counted ahead, so that they get exact room at once.
 *
 * Zero values that Kubernetes puts on the wire for absent fields do not come into the tree, because absent means zero
 * there: decoding what was encoded gives the tree without them. */
#include "api/codec.h"
#include "api/scalar.h"
#include "api/slots.h"
#include "api/times.h"
#include "api/wire.h"

/* The members of one object while it is read. They stand on the stack, because their number is known at the end. */
struct members {
	unsigned n;
	uint64_t unsorted; /* bit of each map field whose keys came out of order, so that one may be there twice */
	uint8_t at[API_FIELDS_MAX]; /* index + 1 of the member of each field */
	struct json_member m[API_FIELDS_MAX];
};

static int get_fields(struct api_wire_dec *d, const struct api_type *t, struct span data, const struct api_type *outer,
		      unsigned base, struct members *ms);

int api_wire_damaged(struct api_wire_dec *d, const struct api_type *t)
{
	struct span name = api_type_name(t);
	return err_set(d->err, ERR_INVALID_REQUEST, "damaged protobuf in %.*s", SPAN_ARG(name));
}

int api_wire_count(struct api_wire_dec *d, uint32_t n)
{
	if (n > API_WIRE_NODES_MAX - d->nodes)
		return err_set(d->err, ERR_TOO_LARGE, "protobuf message holds more than %d values", API_WIRE_NODES_MAX);
	d->nodes += n;
	return 0;
}

static inline bool is_ascii(struct span s)
{
	const char *p = s.ptr, *end = p + s.len;
	uint64_t bits = 0, word;
	for (; end - p >= 8; p += 8) {
		memcpy(&word, p, 8);
		bits |= word;
	}
	for (; p < end; p++)
		bits |= (uint8_t)*p;
	return !(bits & UINT64_C(0x8080808080808080));
}

/* Strings become JSON, so bad UTF-8 becomes what Go's JSON encoder would show: U+FFFD. */
struct json api_wire_text(struct api_wire_dec *d, struct span s)
{
	if (likely(is_ascii(s)) || utf8_valid(s))
		return json_str(s);
	auto_buf struct buf b = {};
	for (size_t i = 0; i < s.len;) {
		uint32_t code;
		size_t n = utf8_next(span_from(s, i), &code);
		if (n)
			buf_add(&b, s.ptr + i, n);
		else
			utf8_add(&b, 0xfffd);
		i += n ? n : 1;
	}
	return json_str(arena_span(d->a, buf_span(&b)));
}

/* Of entries with one key the last counts. */
static void merge_repeated(struct json *map)
{
	auto_map struct map seen = {};
	uint32_t n = 0;
	for (uint32_t i = 0; i < map->n; i++) {
		struct json_member m = map->members[i], *first = map_get(&seen, json_key(&m));
		if (first) {
			first->value = m.value;
			continue;
		}
		map->members[n] = m;
		(void)map_put(&seen, json_key(&map->members[n]), &map->members[n]);
		n++;
	}
	/* The storage keeps its size: json.h's `exact` says whether there is room behind n. */
	map->exact = map->exact || n != map->n;
	map->n = n;
}

static int get_object(struct api_wire_dec *d, const struct api_type *t, struct span data, struct json *out)
{
	struct members ms __attribute__((uninitialized));
	ms.n = 0;
	ms.unsorted = 0;
	memset(ms.at, 0, sizeof(ms.at));
	if (d->depth >= API_WIRE_DEPTH_MAX)
		return err_set(d->err, ERR_INVALID_REQUEST, "protobuf nested more than %d levels deep", API_WIRE_DEPTH_MAX);
	d->depth++;
	int rc = get_fields(d, t, data, t, 0, &ms);
	d->depth--;
	if (rc < 0)
		return rc;
	for (uint64_t left = ms.unsorted; left; left &= left - 1)
		merge_repeated(&ms.m[ms.at[__builtin_ctzll(left)] - 1].value);
	*out = json_object();
	if (ms.n) {
		out->members = arena_alloc_n(d->a, ms.n, sizeof(*ms.m));
		memcpy(out->members, ms.m, ms.n * sizeof(*ms.m));
		out->n = ms.n;
		out->exact = 1;
	}
	return 0;
}

static int get_time(struct api_wire_dec *d, const struct api_type *t, struct span data, struct json *out)
{
	struct proto_in in = proto_in_of(data);
	uint64_t s = 0, ns = 0, v;
	uint32_t num;
	unsigned wire;
	char room[40];
	*out = JSON_NULL_VALUE;
	if (!data.len)
		return 0; /* Go's zero time */
	while (proto_tag(&in, &num, &wire)) {
		if (wire == PROTO_VARINT && (num == 1 || num == 2)) {
			if (proto_varint(&in, &v))
				*(num == 1 ? &s : &ns) = v;
		} else {
			(void)proto_skip(&in, wire); /* a failure shows in proto_end */
		}
	}
	int32_t nanos = t->kind == API_MICROTIME ? (int32_t)ns : 0;
	if (!proto_end(&in) || nanos < 0 || nanos >= NS_PER_S)
		return api_wire_damaged(d, t);
	if ((int64_t)s == API_TIME_ZERO_S && nanos == 0)
		return 0;
	/* Beyond these RFC 3339 has no year; the bound also keeps the arithmetic from overflowing. */
	if ((int64_t)s < API_TIME_ZERO_S - INT64_C(366) * 86400 || (int64_t)s > INT64_C(253402300799))
		return api_wire_damaged(d, t);
	size_t len = time_format(room, (int64_t)s, nanos, t->kind == API_MICROTIME ? 6 : 0);
	if (!len)
		return api_wire_damaged(d, t);
	*out = json_str(arena_span(d->a, span_make(room, len)));
	return 0;
}

static int get_raw(struct api_wire_dec *d, const struct api_type *t, struct span data, struct json *out)
{
	static const struct json_limits limits = { .depth = 200, .nodes = API_WIRE_NODES_MAX };
	struct proto_in in = proto_in_of(data);
	struct span raw = SPAN_EMPTY;
	uint32_t num;
	unsigned wire;
	while (proto_tag(&in, &num, &wire))
		if (num != 1 || wire != PROTO_BYTES)
			(void)proto_skip(&in, wire);
		else
			(void)proto_bytes(&in, &raw);
	if (!proto_end(&in))
		return api_wire_damaged(d, t);
	*out = JSON_NULL_VALUE;
	if (!raw.len)
		return 0;
	int rc = json_parse(d->a, raw, JSON_BORROW | JSON_DUPLICATES_LAST | JSON_REPLACE_BAD_UTF8, &limits, out, d->err);
	return rc < 0 ? err_note(d->err, "raw value in protobuf") : 0;
}

/* A message of one or two scalar fields: duration, quantity, int-or-string. */
static int get_small(struct api_wire_dec *d, const struct api_type *t, struct span data, struct json *out)
{
	struct proto_in in = proto_in_of(data);
	uint64_t n1 = 0, n2 = 0;
	struct span s1 = SPAN_EMPTY, s3 = SPAN_EMPTY;
	uint32_t num;
	unsigned wire;
	while (proto_tag(&in, &num, &wire)) {
		if (num == 1 && wire == PROTO_VARINT)
			(void)proto_varint(&in, &n1);
		else if (num == 2 && wire == PROTO_VARINT)
			(void)proto_varint(&in, &n2);
		else if (num == 1 && wire == PROTO_BYTES)
			(void)proto_bytes(&in, &s1);
		else if (num == 3 && wire == PROTO_BYTES)
			(void)proto_bytes(&in, &s3);
		else
			(void)proto_skip(&in, wire);
	}
	if (!proto_end(&in))
		return api_wire_damaged(d, t);
	if (t->kind == API_DURATION) {
		auto_buf struct buf b = {};
		api_duration_print(&b, (int64_t)n1);
		*out = json_str(arena_span(d->a, buf_span(&b)));
	} else if (t->kind == API_QUANTITY) {
		auto_buf struct buf why = {};
		struct span canon;
		if (api_quantity_text(d->a, s1.len ? s1 : SPAN("0"), &canon, &why) < 0)
			return err_set(d->err, ERR_INVALID_REQUEST, "%s", buf_cstr(&why));
		*out = api_wire_text(d, canon);
	} else if (n1 == 0) {
		*out = json_int((int32_t)n2);
	} else if (n1 == 1) {
		*out = api_wire_text(d, s3);
	} else {
		return err_set(d->err, ERR_INVALID_REQUEST, "impossible IntOrString.Type");
	}
	return 0;
}

static int get_union(struct api_wire_dec *d, const struct api_type *t, struct span data, struct json *out)
{
	const struct api_type *elem = api_ref_type(t->elem);
	struct proto_in in = proto_in_of(data);
	struct json object = JSON_NULL_VALUE, list = JSON_NULL_VALUE, item;
	uint64_t allows = 0;
	uint32_t num;
	unsigned wire;
	struct span s;
	int rc = 0;
	while (rc == 0 && proto_tag(&in, &num, &wire)) {
		if (t->union_form == API_UNION_OR_BOOL && num == 1 && wire == PROTO_VARINT) {
			(void)proto_varint(&in, &allows);
		} else if (num > 2 || wire != PROTO_BYTES || (t->union_form == API_UNION_OR_BOOL && num == 1)) {
			(void)proto_skip(&in, wire);
		} else if (proto_bytes(&in, &s)) {
			if ((num == 1) != (t->union_form == API_UNION_OR_BOOL)) { /* the one schema */
				rc = get_object(d, elem, s, &object);
				continue;
			}
			if (list.kind == JSON_NULL)
				list = json_array();
			if (t->union_form == API_UNION_OR_STRINGS)
				item = api_wire_text(d, s);
			else
				rc = get_object(d, elem, s, &item);
			if (rc == 0)
				rc = api_wire_count(d, 1);
			if (rc == 0)
				(void)json_push(d->a, &list, item);
		}
	}
	if (rc < 0)
		return rc;
	if (!proto_end(&in))
		return api_wire_damaged(d, t);
	/* Which form Go's MarshalJSON shows when several are set. */
	if (t->union_form == API_UNION_OR_BOOL)
		*out = object.kind == JSON_OBJECT ? object : json_bool(allows != 0);
	else
		*out = list.kind == JSON_ARRAY ? list : object;
	return 0;
}

/* One value of a kind that is a scalar on the wire. False when the wire type does not fit. */
static int get_number(struct api_wire_dec *d, struct proto_in *in, const struct api_type *t, struct json *out)
{
	uint64_t v = 0;
	if (t->kind == API_DOUBLE ? !proto_fixed64(in, &v) : !proto_varint(in, &v))
		return api_wire_damaged(d, t);
	switch (t->kind) {
	case API_BOOL: *out = json_bool(v != 0); break;
	case API_INT32: *out = json_int((int32_t)v); break;
	case API_INT64: *out = json_int((int64_t)v); break;
	case API_UINT64: *out = json_uint(t->flags & API_TYPE_32BIT ? (uint32_t)v : v); break;
	default: *out = json_double(proto_double(v)); break;
	}
	return 0;
}

/* A value that is not a repeated field of its own. The tag is read. */
int api_wire_get(struct api_wire_dec *d, struct proto_in *in, unsigned wire, const struct api_type *t, struct json *out)
{
	struct span s;
	if (wire != api_wire_of(t))
		return api_wire_damaged(d, t);
	if (api_is_number(t))
		return get_number(d, in, t, out);
	if (!proto_bytes(in, &s))
		return api_wire_damaged(d, t);
	switch ((enum api_kind)t->kind) {
	case API_STRING:
		*out = api_wire_text(d, s);
		return 0;
	case API_BLOB:
		*out = json_str(s);
		return 0;
	case API_BYTES: {
		auto_buf struct buf b = {};
		base64_add(&b, BASE64_STD, s.ptr, s.len);
		*out = json_str(arena_span(d->a, buf_span(&b)));
		return 0;
	}
	case API_TIME:
	case API_MICROTIME:
		return get_time(d, t, s, out);
	case API_DURATION:
	case API_QUANTITY:
	case API_INTORSTRING:
		return get_small(d, t, s, out);
	case API_RAW:
	case API_ANY:
		return get_raw(d, t, s, out);
	case API_OBJECT:
		return get_object(d, t, s, out);
	case API_UNION:
		return get_union(d, t, s, out);
	case API_LIST: { /* wrapped: a message with repeated field 1 */
		struct proto_in inner = proto_in_of(s);
		uint32_t num;
		int rc = 0;
		*out = json_array();
		while (rc == 0 && proto_tag(&inner, &num, &wire)) {
			struct json item;
			if (num != 1) {
				(void)proto_skip(&inner, wire);
				continue;
			}
			rc = api_wire_get(d, &inner, wire, api_ref_type(t->elem), &item);
			if (rc == 0)
				rc = api_wire_count(d, 1);
			if (rc == 0)
				(void)json_push(d->a, out, item);
		}
		return rc < 0 ? rc : proto_end(&inner) ? 0 : api_wire_damaged(d, t);
	}
	default:
		return api_wire_damaged(d, t);
	}
}

/* The next items of a list: those that follow directly get exact room at once. */
static int get_items(struct api_wire_dec *d, struct proto_in *in, unsigned wire, uint32_t num, const struct api_type *t,
		     struct json *list)
{
	const struct api_type *elem = api_ref_type(t->elem);
	struct json item;
	int rc;
	if (api_is_number(elem) && wire == PROTO_BYTES) { /* packed */
		struct span s;
		if (!proto_bytes(in, &s))
			return api_wire_damaged(d, t);
		struct proto_in inner = proto_in_of(s);
		while (inner.pos < inner.end) {
			if ((rc = get_number(d, &inner, elem, &item)) < 0 || (rc = api_wire_count(d, 1)) < 0)
				return rc;
			(void)json_push(d->a, list, item);
		}
		return 0;
	}
	if (wire == PROTO_BYTES && list->n == 0) {
		struct proto_in ahead = *in;
		struct span first;
		if (!proto_bytes(&ahead, &first))
			return api_wire_damaged(d, t);
		uint32_t n = 1 + proto_count_bytes(&ahead, num, API_WIRE_NODES_MAX);
		if ((rc = api_wire_count(d, n)) < 0)
			return rc;
		list->items = arena_alloc_n(d->a, n, sizeof(*list->items));
		for (uint32_t i = 0; i < n; i++) {
			if (i) {
				uint32_t again;
				if (!proto_tag(in, &again, &wire))
					return api_wire_damaged(d, t);
			}
			if ((rc = api_wire_get(d, in, wire, elem, &list->items[i])) < 0)
				return rc;
		}
		list->n = n;
		list->exact = 1;
		return 0;
	}
	if ((rc = api_wire_get(d, in, wire, elem, &item)) < 0 || (rc = api_wire_count(d, 1)) < 0)
		return rc;
	(void)json_push(d->a, list, item);
	return 0;
}

struct json api_wire_zero(const struct api_type *elem)
{
	switch (elem->kind) {
	case API_STRING:
	case API_BLOB: return json_str(SPAN(""));
	case API_BOOL: return json_bool(false);
	case API_QUANTITY: return json_str(SPAN("0"));
	case API_DURATION: return json_str(SPAN("0s"));
	case API_OBJECT: return json_object();
	case API_TIME:
	case API_MICROTIME:
	case API_RAW:
	case API_ANY:
	case API_BYTES:
	case API_MAP:
	case API_LIST:
	case API_UNION: return JSON_NULL_VALUE;
	default: return json_int(0);
	}
}

static int get_entry(struct api_wire_dec *d, struct proto_in *in, unsigned wire, const struct api_type *t, struct json *map,
		     bool *out_of_order)
{
	const struct api_type *elem = api_ref_type(t->elem);
	struct span entry, key = SPAN("");
	struct json value = api_wire_zero(elem);
	uint32_t num;
	int rc = 0;
	if (wire != PROTO_BYTES || !proto_bytes(in, &entry))
		return api_wire_damaged(d, t);
	struct proto_in e = proto_in_of(entry);
	while (rc == 0 && proto_tag(&e, &num, &wire)) {
		if (num == 1 && wire == PROTO_BYTES) {
			struct span s;
			if (proto_bytes(&e, &s)) {
				struct json k = api_wire_text(d, s);
				key = json_span(&k);
			}
		} else if (num == 2) {
			rc = api_wire_get(d, &e, wire, elem, &value);
		} else {
			(void)proto_skip(&e, wire);
		}
	}
	if (rc == 0 && !proto_end(&e))
		rc = api_wire_damaged(d, t);
	if (rc == 0)
		rc = api_wire_count(d, 1);
	if (rc < 0)
		return rc;
	/* Writers sort, so a key behind the last one is new as long as that held. */
	if (map->n && span_cmp(key, json_key(&map->members[map->n - 1])) <= 0)
		*out_of_order = true;
	(void)json_add(d->a, map, key, value);
	return 0;
}

/* Another member of the same oneof gives way. */
static void drop_oneof(const struct api_type *t, struct members *ms, unsigned field)
{
	const struct api_field *fields = api_row_fields(t);
	uint32_t oneof = api_t_cold[fields[field].cold].oneof.at;
	for (unsigned i = 0; i < t->n_fields; i++) {
		if (i == field || !ms->at[i] || !(fields[i].flags & API_FIELD_ONEOF) ||
		    api_t_cold[fields[i].cold].oneof.at != oneof)
			continue;
		unsigned gone = ms->at[i] - 1u, last = --ms->n;
		ms->at[i] = 0;
		if (gone != last) {
			ms->m[gone] = ms->m[last];
			ms->at[ms->m[gone].mark - 1] = (uint8_t)(gone + 1);
		}
	}
}

const struct api_wire *api_wire_row(const struct api_type *t, const struct api_wire *guess, uint32_t num)
{
	const struct api_wire *rows = &api_t_wire[t->wire], *end = rows + t->n_wire;
	if (guess < end && guess->num == num)
		return guess;
	if (guess + 1 < end && guess[1].num == num)
		return guess + 1;
	unsigned lo = 0, hi = t->n_wire;
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		if (rows[mid].num == num)
			return &rows[mid];
		if (rows[mid].num < num)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static bool is_zero(const struct api_type *t, const struct json *v)
{
	if (v->kind == JSON_NULL)
		return true;
	if (t->kind == API_OBJECT)
		return v->kind == JSON_OBJECT && v->n == 0;
	if (t->kind == API_INTORSTRING)
		return v->kind == JSON_INT && v->i == 0;
	if (t->kind == API_BYTES || t->kind == API_LIST)
		return false; /* empty is not nil */
	if (t->kind == API_DURATION)
		return v->n == 2 && v->str[0] == '0';
	return api_is_empty(t, v);
}

/* Reads a message into the members of an object of type `outer`, whose fields from `base` on are t's. */
static int get_fields(struct api_wire_dec *d, const struct api_type *t, struct span data, const struct api_type *outer,
		      unsigned base, struct members *ms)
{
	struct proto_in in = proto_in_of(data);
	const struct api_field *fields = api_row_fields(outer);
	const struct api_wire *w = &api_t_wire[t->wire];
	uint32_t num;
	unsigned wire;
	int rc;
	while (proto_tag(&in, &num, &wire)) {
		const struct api_wire *row = api_wire_row(t, w, num);
		if (!row) {
			(void)proto_skip(&in, wire);
			continue;
		}
		w = row;
		const struct api_type *ft = &api_t_types[row->type];
		if (row->flags & API_WIRE_INLINE) {
			struct span s;
			if (wire != PROTO_BYTES || !proto_bytes(&in, &s))
				return api_wire_damaged(d, t);
			/* Inlined structs nest at most as the types do. */
			if ((rc = get_fields(d, ft, s, outer, base + row->field, ms)) < 0)
				return rc;
			continue;
		}
		unsigned i = base + row->field;
		if (ft->kind == API_STRING && wire == PROTO_BYTES && in.pos < in.end && !*in.pos &&
		    !(row->flags & (API_WIRE_POINTER | API_WIRE_ONEOF)) && !ms->at[i]) {
			in.pos++; /* "", the commonest value of all */
			continue;
		}
		struct json value, *there = ms->at[i] ? &ms->m[ms->at[i] - 1].value : NULL;
		if ((ft->kind == API_LIST && !(ft->flags & API_TYPE_WRAPPED)) || ft->kind == API_MAP) {
			if (!there)
				value = ft->kind == API_LIST ? json_array() : json_object();
			struct json *into = there ? there : &value;
			bool out_of_order = false;
			rc = ft->kind == API_LIST ? get_items(d, &in, wire, num, ft, into) :
						    get_entry(d, &in, wire, ft, into, &out_of_order);
			if (out_of_order)
				ms->unsorted |= UINT64_C(1) << i;
			if (rc < 0)
				return rc;
			if (there)
				continue;
		} else {
			if ((rc = api_wire_get(d, &in, wire, ft, &value)) < 0)
				return rc;
			if (row->flags & API_WIRE_ONEOF) {
				drop_oneof(outer, ms, i);
				there = ms->at[i] ? &ms->m[ms->at[i] - 1].value : NULL;
			} else if (!there && is_zero(ft, &value) && (!(row->flags & API_WIRE_POINTER) || value.kind == JSON_NULL)) {
				continue;
			}
			if (there) {
				*there = value;
				continue;
			}
		}
		if ((rc = api_wire_count(d, 1)) < 0)
			return rc;
		ms->m[ms->n++] = (struct json_member){ .key = api_ref_text(fields[i].name), .key_len = fields[i].name_len,
						       .mark = i + 1, .value = value };
		ms->at[i] = (uint8_t)ms->n;
	}
	return proto_end(&in) ? 0 : api_wire_damaged(d, t);
}

int api_decode_message(struct arena *a, const struct api_type *t, struct span data, struct json *out, struct err *err)
{
	struct api_wire_dec d = { .a = a, .err = err };
	if (t->kind != API_OBJECT || t->flags & (API_TYPE_CUSTOM | API_TYPE_NO_WIRE))
		return err_set(err, ERR_UNSUPPORTED_MEDIA, "this type has no protobuf form");
	if (data.len > API_WIRE_BYTES_MAX)
		return err_set(err, ERR_TOO_LARGE, "protobuf message of more than %d bytes", API_WIRE_BYTES_MAX);
	return get_object(&d, t, data, out);
}

int api_envelope_read(struct span data, struct api_envelope *out, struct err *err)
{
	struct api_envelope e = {};
	uint32_t num;
	unsigned wire;
	if (!span_starts(data, API_PROTO_MAGIC))
		return err_set(err, ERR_INVALID_REQUEST,
			       "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
	struct proto_in in = proto_in_of(span_from(data, API_PROTO_MAGIC.len));
	while (proto_tag(&in, &num, &wire)) {
		struct span s;
		if (wire != PROTO_BYTES || num > 4) {
			(void)proto_skip(&in, wire);
			continue;
		}
		if (!proto_bytes(&in, &s))
			break;
		if (num == 2)
			e.raw = s;
		else if (num == 3)
			e.content_encoding = s;
		else if (num == 4)
			e.content_type = s;
		else {
			struct proto_in meta = proto_in_of(s);
			while (proto_tag(&meta, &num, &wire)) {
				if (wire == PROTO_BYTES && num <= 2)
					(void)proto_bytes(&meta, num == 1 ? &e.api_version : &e.kind);
				else
					(void)proto_skip(&meta, wire);
			}
			if (!proto_end(&meta))
				in.bad = true;
		}
	}
	if (!proto_end(&in))
		return err_set(err, ERR_INVALID_REQUEST, "damaged protobuf in runtime.Unknown");
	*out = e;
	return 0;
}

int api_decode_proto(struct arena *a, const struct api_type *t, struct span data, struct json *out, struct err *err)
{
	struct api_envelope e;
	struct json tree;
	int rc = api_envelope_read(data, &e, err);
	if (rc == 0)
		rc = api_decode_message(a, t, e.raw, &tree, err);
	if (rc < 0)
		return rc;
	if (t->flags & API_TYPE_TOP) {
		/* Front of the object, where Go has TypeMeta. */
		struct json_member *m = arena_alloc_n(a, tree.n + 2, sizeof(*m));
		uint32_t n = 0;
		struct api_wire_dec d = { .a = a };
		const struct {
			struct span name, value;
		} meta[] = { { SPAN("kind"), e.kind }, { SPAN("apiVersion"), e.api_version } };
		for (size_t k = 0; k < ARRAY_LEN(meta); k++) {
			int i = api_row_find(t, meta[k].name.ptr, meta[k].name.len);
			if (i < 0 || !meta[k].value.len)
				continue;
			m[n++] = (struct json_member){ .key = api_ref_text(api_row_fields(t)[i].name),
						       .key_len = (uint32_t)meta[k].name.len, .mark = (uint32_t)i + 1,
						       .value = api_wire_text(&d, meta[k].value) };
		}
		if (tree.n)
			memcpy(m + n, tree.members, tree.n * sizeof(*m));
		tree.members = m;
		tree.n += n;
		tree.exact = 1;
	}
	*out = tree;
	return 0;
}

int api_decode_watch_event(struct span data, struct span *out_type, struct span *out_object, struct err *err)
{
	struct proto_in in = proto_in_of(data);
	struct span type = SPAN_EMPTY, extension = SPAN_EMPTY, object = SPAN_EMPTY;
	uint32_t num;
	unsigned wire;
	while (proto_tag(&in, &num, &wire)) {
		if (wire == PROTO_BYTES && num <= 2)
			(void)proto_bytes(&in, num == 1 ? &type : &extension);
		else
			(void)proto_skip(&in, wire);
	}
	struct proto_in raw = proto_in_of(extension);
	while (proto_tag(&raw, &num, &wire)) {
		if (wire == PROTO_BYTES && num == 1)
			(void)proto_bytes(&raw, &object);
		else
			(void)proto_skip(&raw, wire);
	}
	if (!proto_end(&in) || !proto_end(&raw))
		return err_set(err, ERR_INVALID_REQUEST, "damaged protobuf in WatchEvent");
	*out_type = type;
	*out_object = object;
	return 0;
}
