/* A document as gnostic's protobuf messages (openapiv2.proto, openapiv3.proto of github.com/google/gnostic-models; the numbers
 * here are theirs).
 *
 * The messages mirror the JSON, so a message is a table of rows (member, field number, how) and one function walks tree and
 * table. What JSON writes as a map is a message of repeated {1 name, 2 value}; where JSON allows "this or a reference"
 * there is a message with one field for each. Written backwards (proto.h): last row first. Members without a row do not occur: the
 * tests compare a decoded document with its JSON.
 *
 * Values of any shape (extensions, enums, defaults of v2) are `Any {2 yaml}`: text that YAML readers read. Ours is JSON's
 * form with a line end; gnostic's own is the block form. Both mean the same.
 */
#include "openapi/private.h"
#include "proto/proto.h"

typedef void put_fn(struct proto_out *o, const struct json *v); /* the body of a message */

enum how {
	STR,    /* string */
	BOOL,   /* left out when false */
	INT,
	DOUBLE,
	STRS,   /* repeated string */
	ONE,    /* a message */
	EACH,   /* repeated message, from an array */
	NAMED,  /* a message with repeated 1 {1 name, 2 value}, from an object */
	NAMED2, /* the same with repeated 2 */
	ANY,
	ANYS,   /* repeated */
};
struct row {
	const char *key;
	uint16_t num;
	uint16_t how;
	put_fn *put;
};

static void put_any(struct proto_out *o, uint32_t num, const struct json *v)
{
	auto_buf struct buf text = {};
	json_write(&text, v, 0);
	buf_chr(&text, '\n');
	size_t since = proto_out_size(o);
	proto_put_bytes(o, 2, buf_span(&text));
	proto_put_head(o, num, since);
}

static void put_message(struct proto_out *o, uint32_t num, put_fn *put, const struct json *v)
{
	size_t since = proto_out_size(o);
	put(o, v);
	proto_put_head(o, num, since);
}

/* Repeated num {1 name, 2 value}, in the order of the object. */
static void put_named(struct proto_out *o, uint32_t num, put_fn *put, const struct json *v)
{
	for (uint32_t i = v->n; i > 0; i--) {
		const struct json_member *m = &v->members[i - 1];
		size_t since = proto_out_size(o);
		put_message(o, 2, put, &m->value);
		proto_put_bytes(o, 1, json_key(m));
		proto_put_head(o, num, since);
	}
}

static double number(const struct json *v)
{
	return v->kind == JSON_DOUBLE ? v->d : (double)json_i64(v, 0);
}

static void put_row(struct proto_out *o, const struct row *r, const struct json *v)
{
	size_t since = proto_out_size(o);
	switch ((enum how)r->how) {
	case STR:
		if (v->n)
			proto_put_bytes(o, r->num, json_span(v));
		break;
	case BOOL:
		if (json_truth(v, false))
			proto_put_varint(o, r->num, 1);
		break;
	case INT:
		if (json_i64(v, 0))
			proto_put_varint(o, r->num, (uint64_t)json_i64(v, 0));
		break;
	case DOUBLE:
		if (number(v) != 0)
			proto_put_fixed64(o, r->num, proto_double_bits(number(v)));
		break;
	case STRS:
		for (uint32_t i = v->n; i > 0; i--)
			proto_put_bytes(o, r->num, json_span(&v->items[i - 1]));
		break;
	case ONE:
		put_message(o, r->num, r->put, v);
		break;
	case EACH:
		for (uint32_t i = v->n; i > 0; i--)
			put_message(o, r->num, r->put, &v->items[i - 1]);
		break;
	case NAMED:
	case NAMED2:
		put_named(o, r->how == NAMED ? 1 : 2, r->put, v);
		proto_put_head(o, r->num, since);
		break;
	case ANY:
		put_any(o, r->num, v);
		break;
	case ANYS:
		for (uint32_t i = v->n; i > 0; i--)
			put_any(o, r->num, &v->items[i - 1]);
		break;
	}
}

/* Rows in order of their numbers, then the x- members as extensions (number 0: the message has none). */
static void put_rows(struct proto_out *o, const struct json *v, const struct row *rows, size_t n, uint32_t extensions)
{
	for (uint32_t i = extensions ? v->n : 0; i > 0; i--) {
		const struct json_member *m = &v->members[i - 1];
		if (!span_starts(json_key(m), SPAN("x-")))
			continue;
		size_t since = proto_out_size(o);
		put_any(o, 2, &m->value);
		proto_put_bytes(o, 1, json_key(m));
		proto_put_head(o, extensions, since);
	}
	for (size_t i = n; i > 0; i--) {
		const struct json *value = json_get(v, span_of(rows[i - 1].key));
		if (value)
			put_row(o, &rows[i - 1], value);
	}
}

#define MESSAGE(name, extensions, ...)                                                                                 \
	static void name(struct proto_out *o, const struct json *v)                                                    \
	{                                                                                                              \
		static const struct row rows[] = { __VA_ARGS__ };                                                      \
		put_rows(o, v, rows, ARRAY_LEN(rows), extensions);                                                     \
	}

/* A message with one field, whatever v is. */
#define WRAPPED(name, num, inner)                                                                                      \
	static void name(struct proto_out *o, const struct json *v)                                                    \
	{                                                                                                              \
		put_message(o, num, inner, v);                                                                         \
	}

static bool is_ref(const struct json *v)
{
	return json_getl(v, "$ref") != NULL;
}

static void string_array(struct proto_out *o, const struct json *v) /* StringArray, TypeItem of several */
{
	put_row(o, &(struct row){ .num = 1, .how = STRS }, v);
}
static void type_item(struct proto_out *o, const struct json *v)
{
	proto_put_bytes(o, 1, json_span(v));
}
static void security(struct proto_out *o, const struct json *v)
{
	put_named(o, 1, string_array, v);
}

/* ---- v2 */

static void schema2(struct proto_out *o, const struct json *v);
WRAPPED(items2, 1, schema2)
static void additional2(struct proto_out *o, const struct json *v)
{
	if (json_is(v, JSON_BOOL))
		proto_put_varint(o, 2, v->b);
	else
		put_message(o, 1, schema2, v);
}
MESSAGE(schema2, 31,
	{ "$ref", 1, STR }, { "format", 2, STR }, { "title", 3, STR }, { "description", 4, STR }, { "default", 5, ANY },
	{ "multipleOf", 6, DOUBLE }, { "maximum", 7, DOUBLE }, { "exclusiveMaximum", 8, BOOL }, { "minimum", 9, DOUBLE },
	{ "exclusiveMinimum", 10, BOOL }, { "maxLength", 11, INT }, { "minLength", 12, INT }, { "pattern", 13, STR },
	{ "maxItems", 14, INT }, { "minItems", 15, INT }, { "uniqueItems", 16, BOOL }, { "maxProperties", 17, INT },
	{ "minProperties", 18, INT }, { "required", 19, STRS }, { "enum", 20, ANYS },
	{ "additionalProperties", 21, ONE, additional2 }, { "type", 22, ONE, type_item }, { "items", 23, ONE, items2 },
	{ "allOf", 24, EACH, schema2 }, { "properties", 25, NAMED, schema2 }, { "example", 30, ANY })

MESSAGE(body2, 6, { "description", 1, STR }, { "name", 2, STR }, { "in", 3, STR }, { "required", 4, BOOL },
	{ "schema", 5, ONE, schema2 })
MESSAGE(query2, 23, { "required", 1, BOOL }, { "in", 2, STR }, { "description", 3, STR }, { "name", 4, STR }, { "type", 6, STR },
	{ "format", 7, STR }, { "uniqueItems", 20, BOOL })
MESSAGE(path2, 22, { "required", 1, BOOL }, { "in", 2, STR }, { "description", 3, STR }, { "name", 4, STR }, { "type", 5, STR },
	{ "format", 6, STR }, { "uniqueItems", 19, BOOL })
MESSAGE(json_reference, 0, { "$ref", 1, STR }, { "description", 2, STR })
static void non_body2(struct proto_out *o, const struct json *v)
{
	bool query = span_is(json_span(json_getl(v, "in")), "query");
	put_message(o, query ? 3 : 4, query ? query2 : path2, v);
}
static void parameter2(struct proto_out *o, const struct json *v)
{
	bool body = span_is(json_span(json_getl(v, "in")), "body");
	put_message(o, body ? 1 : 2, body ? body2 : non_body2, v);
}
static void parameters_item2(struct proto_out *o, const struct json *v)
{
	put_message(o, is_ref(v) ? 2 : 1, is_ref(v) ? json_reference : parameter2, v);
}
WRAPPED(schema_item2, 1, schema2)
MESSAGE(response2, 5, { "description", 1, STR }, { "schema", 2, ONE, schema_item2 })
WRAPPED(response_value2, 1, response2)
MESSAGE(operation2, 13, { "tags", 1, STRS }, { "summary", 2, STR }, { "description", 3, STR }, { "operationId", 5, STR },
	{ "produces", 6, STRS }, { "consumes", 7, STRS }, { "parameters", 8, EACH, parameters_item2 },
	{ "responses", 9, NAMED, response_value2 }, { "schemes", 10, STRS })
MESSAGE(path_item2, 10, { "get", 2, ONE, operation2 }, { "put", 3, ONE, operation2 }, { "post", 4, ONE, operation2 },
	{ "delete", 5, ONE, operation2 }, { "options", 6, ONE, operation2 }, { "head", 7, ONE, operation2 },
	{ "patch", 8, ONE, operation2 }, { "parameters", 9, EACH, parameters_item2 })
MESSAGE(api_key2, 5, { "type", 1, STR }, { "name", 2, STR }, { "in", 3, STR }, { "description", 4, STR })
WRAPPED(security_item2, 2, api_key2)
MESSAGE(info2, 7, { "title", 1, STR }, { "version", 2, STR })
MESSAGE(document2, 16, { "swagger", 1, STR }, { "info", 2, ONE, info2 }, { "paths", 8, NAMED2, path_item2 },
	{ "definitions", 9, NAMED, schema2 }, { "parameters", 10, NAMED, parameter2 }, { "security", 12, EACH, security },
	{ "securityDefinitions", 13, NAMED, security_item2 })

/* ---- v3 */

static void schema3(struct proto_out *o, const struct json *v);
MESSAGE(reference3, 0, { "$ref", 1, STR })
static void schema_or_ref3(struct proto_out *o, const struct json *v)
{
	put_message(o, is_ref(v) ? 2 : 1, is_ref(v) ? reference3 : schema3, v);
}
WRAPPED(items3, 1, schema_or_ref3)
static void additional3(struct proto_out *o, const struct json *v)
{
	if (json_is(v, JSON_BOOL))
		proto_put_varint(o, 2, v->b);
	else
		put_message(o, 1, schema_or_ref3, v);
}
/* Knows scalars alone: an empty message stands for {} and [], as gnostic has it. */
static void default3(struct proto_out *o, const struct json *v)
{
	if (json_is_number(v))
		proto_put_fixed64(o, 1, proto_double_bits(number(v)));
	else if (json_is(v, JSON_BOOL))
		proto_put_varint(o, 2, v->b);
	else if (json_is(v, JSON_STRING))
		proto_put_bytes(o, 3, json_span(v));
}
MESSAGE(schema3, 36,
	{ "nullable", 1, BOOL }, { "readOnly", 3, BOOL }, { "writeOnly", 4, BOOL }, { "example", 7, ANY }, { "deprecated", 8, BOOL },
	{ "title", 9, STR }, { "multipleOf", 10, DOUBLE }, { "maximum", 11, DOUBLE }, { "exclusiveMaximum", 12, BOOL },
	{ "minimum", 13, DOUBLE }, { "exclusiveMinimum", 14, BOOL }, { "maxLength", 15, INT }, { "minLength", 16, INT },
	{ "pattern", 17, STR }, { "maxItems", 18, INT }, { "minItems", 19, INT }, { "uniqueItems", 20, BOOL },
	{ "maxProperties", 21, INT }, { "minProperties", 22, INT }, { "required", 23, STRS }, { "enum", 24, ANYS },
	{ "type", 25, STR }, { "allOf", 26, EACH, schema_or_ref3 }, { "oneOf", 27, EACH, schema_or_ref3 },
	{ "anyOf", 28, EACH, schema_or_ref3 }, { "not", 29, ONE, schema3 }, { "items", 30, ONE, items3 },
	{ "properties", 31, NAMED, schema_or_ref3 }, { "additionalProperties", 32, ONE, additional3 },
	{ "default", 33, ONE, default3 }, { "description", 34, STR }, { "format", 35, STR })

MESSAGE(parameter3, 14, { "name", 1, STR }, { "in", 2, STR }, { "description", 3, STR }, { "required", 4, BOOL },
	{ "schema", 10, ONE, schema_or_ref3 })
WRAPPED(parameter_or_ref3, 1, parameter3)
MESSAGE(media3, 5, { "schema", 1, ONE, schema_or_ref3 })
MESSAGE(body3, 4, { "description", 1, STR }, { "content", 2, NAMED, media3 }, { "required", 3, BOOL })
WRAPPED(body_or_ref3, 1, body3)
MESSAGE(response3, 5, { "description", 1, STR }, { "content", 3, NAMED, media3 })
WRAPPED(response_or_ref3, 1, response3)
MESSAGE(operation3, 13, { "tags", 1, STRS }, { "summary", 2, STR }, { "description", 3, STR }, { "operationId", 5, STR },
	{ "parameters", 6, EACH, parameter_or_ref3 }, { "requestBody", 7, ONE, body_or_ref3 },
	{ "responses", 8, NAMED2, response_or_ref3 })
MESSAGE(path_item3, 14, { "get", 4, ONE, operation3 }, { "put", 5, ONE, operation3 }, { "post", 6, ONE, operation3 },
	{ "delete", 7, ONE, operation3 }, { "options", 8, ONE, operation3 }, { "head", 9, ONE, operation3 },
	{ "patch", 10, ONE, operation3 }, { "parameters", 13, EACH, parameter_or_ref3 })
MESSAGE(security_scheme3, 9, { "type", 1, STR }, { "description", 2, STR }, { "name", 3, STR }, { "in", 4, STR })
WRAPPED(security_or_ref3, 1, security_scheme3)
MESSAGE(components3, 10, { "schemas", 1, NAMED, schema_or_ref3 }, { "securitySchemes", 7, NAMED, security_or_ref3 })
MESSAGE(info3, 7, { "title", 1, STR }, { "version", 6, STR })
MESSAGE(document3, 9, { "openapi", 1, STR }, { "info", 2, ONE, info3 }, { "paths", 4, NAMED, path_item3 },
	{ "components", 5, ONE, components3 }, { "security", 6, EACH, security })

static void document(const struct json *v, put_fn *put, struct buf *out)
{
	struct proto_out o;
	proto_out_begin(&o, out, 1 << 16);
	put(&o, v);
	proto_out_end(&o);
}

void openapi_gnostic_v2(const struct json *v, struct buf *out)
{
	document(v, document2, out);
}

void openapi_gnostic_v3(const struct json *v, struct buf *out)
{
	document(v, document3, out);
}
