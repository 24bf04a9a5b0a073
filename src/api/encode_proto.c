/* Trees to protobuf, driven by the wire rows (rows.h).
 *
 * Kubernetes' messages are proto2 written by gogo: fields in ascending number, non-pointer scalars and messages always
 * there, pointers when set, numbers unpacked, map entries sorted with both halves written. CRI's and etcd's are proto3: zero
 * values absent, numbers packed.
 *
 * Writing goes backwards (proto.h), so every loop here runs from last to first. An inlined struct is a message of its own
 * on the wire while its fields stand in the parent's JSON object: its slots are a window into the parent's, from the
 * wire row's base index on. */
#include "api/codec.h"
#include "api/slots.h"
#include "api/times.h"
#include "api/wire.h"

static void put_fields(struct api_wire_enc *e, const struct api_type *t, uint64_t present, const struct json *const *v);

void api_wire_refuse(struct api_wire_enc *e, const struct api_type *t, const char *what)
{
	struct span name = api_type_name(t);
	if (e->rc == 0)
		e->rc = err_set(e->err, ERR_INVALID, "%.*s has no protobuf form: %s", SPAN_ARG(name), what);
}

static void put_message(struct api_wire_enc *e, uint32_t num, const struct api_type *t, const struct json *v)
{
	size_t since = proto_out_size(&e->o);
	struct api_slots s __attribute__((uninitialized));
	if (e->depth >= API_WIRE_DEPTH_MAX) {
		api_wire_refuse(e, t, "nested too deeply");
		return;
	}
	e->depth++;
	api_slots_fill(&s, t, v);
	put_fields(e, t, s.present, s.v);
	e->depth--;
	proto_put_head(&e->o, num, since);
}

/* Time and MicroTime {1 seconds, 2 nanos}; the zero time is an empty message. */
static void put_time(struct api_wire_enc *e, uint32_t num, const struct api_type *t, const struct json *v)
{
	size_t since = proto_out_size(&e->o);
	int64_t s;
	int32_t ns;
	if (v && v->n) {
		if (v->kind != JSON_STRING || time_parse(v->str, v->n, &s, &ns) < 0) {
			api_wire_refuse(e, t, "not a time");
			return;
		}
		ns = t->kind == API_MICROTIME ? ns - ns % 1000 : 0;
		proto_put_varint(&e->o, 2, (uint64_t)ns);
		proto_put_varint(&e->o, 1, (uint64_t)s);
	}
	proto_put_head(&e->o, num, since);
}

/* A message with one bytes field 1 that holds JSON text (RawExtension, FieldsV1, JSON). */
static void put_raw(struct api_wire_enc *e, uint32_t num, const struct json *v)
{
	size_t since = proto_out_size(&e->o);
	if (v && v->kind != JSON_NULL) {
		buf_trunc(&e->scratch, 0);
		json_write(&e->scratch, v, 0);
		proto_put_bytes(&e->o, 1, buf_span(&e->scratch));
	}
	proto_put_head(&e->o, num, since);
}

static void put_union(struct api_wire_enc *e, uint32_t num, const struct api_type *t, const struct json *v)
{
	size_t since = proto_out_size(&e->o);
	const struct api_type *elem = api_ref_type(t->elem);
	switch ((enum api_union)t->union_form) {
	case API_UNION_OR_BOOL: /* {1 allows, 2 schema} */
		if (v->kind == JSON_OBJECT)
			put_message(e, 2, elem, v);
		proto_put_varint(&e->o, 1, v->kind == JSON_OBJECT || (v->kind == JSON_BOOL && v->b));
		break;
	case API_UNION_OR_ARRAY: /* {1 schema, 2 schemas} */
		if (v->kind == JSON_OBJECT)
			put_message(e, 1, elem, v);
		for (uint32_t i = v->kind == JSON_ARRAY ? v->n : 0; i-- > 0;)
			put_message(e, 2, elem, &v->items[i]);
		break;
	case API_UNION_OR_STRINGS: /* {1 schema, 2 strings} */
		if (v->kind == JSON_OBJECT)
			put_message(e, 1, elem, v);
		for (uint32_t i = v->kind == JSON_ARRAY ? v->n : 0; i-- > 0;)
			proto_put_bytes(&e->o, 2, json_span(&v->items[i]));
		break;
	}
	proto_put_head(&e->o, num, since);
}

static uint64_t number_bits(const struct json *v)
{
	switch (v->kind) {
	case JSON_INT: return (uint64_t)v->i;
	case JSON_UINT: return v->u;
	case JSON_BOOL: return v->b;
	case JSON_DOUBLE: return v->d >= -9223372036854775808.0 && v->d < 9223372036854775808.0 ? (uint64_t)(int64_t)v->d : 0;
	default: return 0;
	}
}

static double number_double(const struct json *v)
{
	return v->kind == JSON_DOUBLE ? v->d : v->kind == JSON_INT ? (double)v->i : v->kind == JSON_UINT ? (double)v->u : 0;
}

static void put_list(struct api_wire_enc *e, uint32_t num, const struct api_type *t, const struct json *v, bool proto3)
{
	const struct api_type *elem = api_ref_type(t->elem);
	bool wrapped = t->flags & API_TYPE_WRAPPED;
	uint32_t n = v && v->kind == JSON_ARRAY ? v->n : 0;
	size_t since = proto_out_size(&e->o);
	if (wrapped && !v)
		return; /* a nil list has no message */
	if (proto3 && elem->kind >= API_INT32 && elem->kind <= API_DOUBLE) {
		if (!n)
			return;
		for (uint32_t i = n; i-- > 0;) {
			if (elem->kind == API_DOUBLE) {
				uint64_t bits = proto_double_bits(number_double(&v->items[i]));
				proto_out_bytes(&e->o, &bits, sizeof(bits));
			} else {
				proto_out_varint(&e->o, number_bits(&v->items[i]));
			}
		}
		proto_put_head(&e->o, num, since);
		return;
	}
	for (uint32_t i = n; i-- > 0;)
		api_wire_put(e, wrapped ? 1 : num, elem, &v->items[i], false);
	if (wrapped)
		proto_put_head(&e->o, num, since);
}

static int member_cmp(const void *a, const void *b)
{
	const struct json_member *const *x = a, *const *y = b;
	return span_cmp(json_key(*x), json_key(*y));
}

static void put_map(struct api_wire_enc *e, uint32_t num, const struct api_type *t, const struct json *v)
{
	const struct json_member *room[32], **order = room;
	auto_free void *heap = NULL;
	uint32_t n = v && v->kind == JSON_OBJECT ? v->n : 0;
	bool sorted = true;
	if (n > ARRAY_LEN(room))
		order = heap = mem_realloc_n(NULL, n, sizeof(*order));
	for (uint32_t i = 0; i < n; i++) {
		order[i] = &v->members[i];
		sorted = sorted && (i == 0 || member_cmp(&order[i - 1], &order[i]) < 0);
	}
	if (!sorted)
		qsort(order, n, sizeof(*order), member_cmp);
	for (uint32_t i = n; i-- > 0;) {
		size_t since = proto_out_size(&e->o);
		api_wire_put(e, 2, api_ref_type(t->elem), order[i]->value.kind == JSON_NULL ? NULL : &order[i]->value, false);
		proto_put_bytes(&e->o, 1, json_key(order[i]));
		proto_put_head(&e->o, num, since);
	}
}

/* One field; v is NULL for the zero value. In proto3 the caller leaves zero values out. */
void api_wire_put(struct api_wire_enc *e, uint32_t num, const struct api_type *t, const struct json *v, bool proto3)
{
	size_t since;
	switch ((enum api_kind)t->kind) {
	case API_STRING:
		proto_put_bytes(&e->o, num, json_span(v));
		break;
	case API_BLOB:
		proto_put_bytes(&e->o, num, json_span(v));
		break;
	case API_INT32:
	case API_INT64:
	case API_UINT64:
	case API_BOOL:
		proto_put_varint(&e->o, num, v ? number_bits(v) : 0);
		break;
	case API_DOUBLE:
		proto_put_fixed64(&e->o, num, proto_double_bits(v ? number_double(v) : 0));
		break;
	case API_BYTES:
		if (!v)
			break; /* nil */
		buf_trunc(&e->scratch, 0);
		if (!base64_parse(&e->scratch, BASE64_STD, json_span(v)))
			api_wire_refuse(e, t, "not base64");
		proto_put_bytes(&e->o, num, buf_span(&e->scratch));
		break;
	case API_TIME:
	case API_MICROTIME:
		put_time(e, num, t, v);
		break;
	case API_DURATION: {
		int64_t ns = 0;
		since = proto_out_size(&e->o);
		if (v && api_duration_parse(json_span(v), &ns, NULL) < 0)
			api_wire_refuse(e, t, "not a duration");
		proto_put_varint(&e->o, 1, (uint64_t)ns);
		proto_put_head(&e->o, num, since);
		break;
	}
	case API_QUANTITY:
		since = proto_out_size(&e->o);
		proto_put_bytes(&e->o, 1, v ? json_span(v) : SPAN("0"));
		proto_put_head(&e->o, num, since);
		break;
	case API_INTORSTRING:
		since = proto_out_size(&e->o);
		proto_put_bytes(&e->o, 3, json_span(v));
		proto_put_varint(&e->o, 2, v ? number_bits(v) : 0);
		proto_put_varint(&e->o, 1, json_is(v, JSON_STRING));
		proto_put_head(&e->o, num, since);
		break;
	case API_RAW:
	case API_ANY:
		put_raw(e, num, v);
		break;
	case API_OBJECT:
		put_message(e, num, t, v);
		break;
	case API_LIST:
		put_list(e, num, t, v, proto3);
		break;
	case API_MAP:
		put_map(e, num, t, v);
		break;
	case API_UNION:
		if (v)
			put_union(e, num, t, v);
		break;
	case API_KIND_COUNT:
		break;
	}
}

static void put_fields(struct api_wire_enc *e, const struct api_type *t, uint64_t present, const struct json *const *v)
{
	const bool proto3 = t->flags & API_TYPE_PROTO3;
	for (const struct api_wire *rows = &api_t_wire[t->wire], *w = rows + t->n_wire; w-- > rows;) {
		const struct api_type *ft = &api_t_types[w->type];
		if (w->flags & API_WIRE_INLINE) {
			size_t since = proto_out_size(&e->o);
			put_fields(e, ft, present >> w->field, v + w->field);
			proto_put_head(&e->o, w->num, since);
			continue;
		}
		const struct json *value = present >> w->field & 1 ? v[w->field] : NULL;
		if (!value && (proto3 || w->flags & API_WIRE_POINTER))
			continue;
		if (proto3 && !(w->flags & (API_WIRE_ONEOF | API_WIRE_POINTER)) && api_is_empty(ft, value))
			continue;
		api_wire_put(e, w->num, ft, value, proto3);
	}
}

static int encode(struct buf *out, const struct api_type *t, const struct json *v, bool envelope, struct err *err)
{
	struct api_wire_enc e = { .err = err };
	struct api_slots s __attribute__((uninitialized));
	if (t->kind != API_OBJECT || t->flags & (API_TYPE_CUSTOM | API_TYPE_NO_WIRE)) {
		struct span name = api_type_name(t);
		return err_set(err, ERR_NOT_ACCEPTABLE, "%.*s has no protobuf form", SPAN_ARG(name));
	}
	size_t before = out->len;
	proto_out_begin(&e.o, out, 1024);
	api_slots_fill(&s, t, v);
	if (envelope) {
		proto_put_bytes(&e.o, 4, SPAN(""));
		proto_put_bytes(&e.o, 3, SPAN(""));
	}
	size_t since = proto_out_size(&e.o);
	put_fields(&e, t, s.present, s.v);
	if (envelope) {
		proto_put_head(&e.o, 2, since);
		since = proto_out_size(&e.o);
		bool top = t->flags & API_TYPE_TOP;
		proto_put_bytes(&e.o, 2, top ? json_span(json_getl(v, "kind")) : SPAN(""));
		proto_put_bytes(&e.o, 1, top ? json_span(json_getl(v, "apiVersion")) : SPAN(""));
		proto_put_head(&e.o, 1, since);
		proto_out_bytes(&e.o, "k8s", 4);
	}
	proto_out_end(&e.o);
	buf_done(&e.scratch);
	if (e.rc < 0)
		buf_trunc(out, before);
	return e.rc;
}

void api_envelope_write(struct buf *out, struct span api_version, struct span kind, struct span raw)
{
	struct proto_out o;
	proto_out_begin(&o, out, raw.len + 64);
	proto_put_bytes(&o, 4, SPAN(""));
	proto_put_bytes(&o, 3, SPAN(""));
	proto_put_bytes(&o, 2, raw);
	size_t since = proto_out_size(&o);
	proto_put_bytes(&o, 2, kind);
	proto_put_bytes(&o, 1, api_version);
	proto_put_head(&o, 1, since);
	proto_out_bytes(&o, "k8s", 4);
	proto_out_end(&o);
}

int api_encode_message(struct buf *out, const struct api_type *t, const struct json *v, struct err *err)
{
	return encode(out, t, v, false, err);
}

int api_encode_proto(struct buf *out, const struct api_type *t, const struct json *v, struct err *err)
{
	return encode(out, t, v, true, err);
}

void api_encode_watch_event(struct buf *out, struct span type, struct span object)
{
	struct proto_out o;
	proto_out_begin(&o, out, type.len + object.len + 32);
	proto_put_bytes(&o, 1, object); /* RawExtension.raw */
	proto_put_head(&o, 2, 0);
	proto_put_bytes(&o, 1, type);
	proto_out_end(&o);
}
