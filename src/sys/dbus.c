/* See dbus.h.
 *
 * A message: 'l', type, flags, 1, u32 length of the body, u32 serial, array of header fields, padding to 8, body. Each value is
 * aligned to its own size from the message's start, structs to 8. */
#include "sys/dbus.h"

#define PART_MAX 16384 /* of header fields, of a body, in what is read */

enum { FIELD_PATH = 1, FIELD_INTERFACE = 2, FIELD_MEMBER = 3, FIELD_ERROR = 4, FIELD_REPLY = 5, FIELD_DESTINATION = 6,
	FIELD_SIGNATURE = 8 };

/* ---- writing; the buffer begins at a multiple of 8 of the message */

void sys_dbus_align(struct buf *b, size_t to)
{
	while (b->len % to)
		buf_chr(b, 0);
}

void sys_dbus_u32(struct buf *b, uint32_t v)
{
	sys_dbus_align(b, 4);
	buf_add(b, &v, sizeof(v)); /* 'l' or 'B' in the head says whose order */
}

void sys_dbus_text(struct buf *b, const char *s)
{
	sys_dbus_u32(b, (uint32_t)strlen(s));
	buf_add(b, s, strlen(s) + 1);
}

void sys_dbus_signature(struct buf *b, const char *s)
{
	buf_chr(b, (char)strlen(s));
	buf_add(b, s, strlen(s) + 1);
}

size_t sys_dbus_array_begin(struct buf *b, size_t element)
{
	sys_dbus_u32(b, 0);
	size_t at = b->len;
	sys_dbus_align(b, element);
	return at;
}

/* The length counts from the first element, without the padding before it. */
void sys_dbus_array_end(struct buf *b, size_t at, size_t element)
{
	size_t first = (at + element - 1) / element * element;
	uint32_t len = (uint32_t)(b->len - first);
	memcpy(b->ptr + at - sizeof(len), &len, sizeof(len));
}

static void field(struct buf *b, uint8_t code, const char *type, const char *value)
{
	sys_dbus_align(b, 8);
	buf_chr(b, (char)code);
	sys_dbus_signature(b, type);
	if (*type == 'g')
		sys_dbus_signature(b, value);
	else
		sys_dbus_text(b, value);
}

void sys_dbus_call(struct buf *out, uint32_t serial, const struct sys_dbus_call *c, struct span body)
{
	auto_buf struct buf b = {};
	const uint16_t one = 1;
	char first;
	memcpy(&first, &one, 1);
	buf_chr(&b, first ? 'l' : 'B');
	buf_chr(&b, SYS_DBUS_CALL);
	buf_chr(&b, 0);
	buf_chr(&b, 1);
	sys_dbus_u32(&b, (uint32_t)body.len);
	sys_dbus_u32(&b, serial);
	size_t at = sys_dbus_array_begin(&b, 8);
	field(&b, FIELD_PATH, "o", c->path);
	field(&b, FIELD_INTERFACE, "s", c->interface);
	field(&b, FIELD_MEMBER, "s", c->member);
	field(&b, FIELD_DESTINATION, "s", c->destination);
	if (c->signature && *c->signature)
		field(&b, FIELD_SIGNATURE, "g", c->signature);
	sys_dbus_array_end(&b, at, 8);
	sys_dbus_align(&b, 8);
	buf_span_add(&b, body);
	buf_span_add(out, buf_span(&b));
}

/* ---- reading */

static uint32_t u32_at(struct span s, size_t at)
{
	uint32_t v = 0;
	if (at + sizeof(v) <= s.len)
		memcpy(&v, s.ptr + at, sizeof(v));
	return v;
}

struct span sys_dbus_text_at(struct span s, size_t *at)
{
	size_t from = (*at + 3) / 4 * 4, len = u32_at(s, from);
	if (from + 4 > s.len || len >= s.len - from - 4)
		return SPAN_EMPTY;
	*at = from + 4 + len + 1;
	return span_sub(s, from + 4, from + 4 + len);
}

/* Fields of type s, o, g and u; others are not in the messages of those whom we call. */
static bool fields_read(struct span fields, struct sys_dbus_message *out)
{
	for (size_t at = 0; at + 4 < fields.len;) {
		at = (at + 7) / 8 * 8;
		if (at + 4 >= fields.len)
			break;
		uint8_t code = (uint8_t)fields.ptr[at];
		char type = fields.ptr[at + 2];
		if (fields.ptr[at + 1] != 1)
			return false;
		at += 4;
		if (type == 'g') {
			at += (size_t)(uint8_t)fields.ptr[at] + 2;
		} else if (type == 'u') {
			at = (at + 3) / 4 * 4;
			if (code == FIELD_REPLY)
				out->reply_to = u32_at(fields, at);
			at += 4;
		} else if (type == 's' || type == 'o') {
			struct span text = sys_dbus_text_at(fields, &at);
			if (!text.ptr)
				return false;
			if (code == FIELD_MEMBER)
				out->member = text;
			if (code == FIELD_ERROR)
				out->error = text;
		} else {
			return false;
		}
	}
	return true;
}

static size_t fields_padded(struct span message)
{
	return ((size_t)u32_at(message, 12) + 7) / 8 * 8;
}

bool sys_dbus_size(struct span head, size_t *out)
{
	size_t body = u32_at(head, 4), fields = u32_at(head, 12);
	if (head.len < SYS_DBUS_HEAD || body > PART_MAX || fields > PART_MAX || head.ptr[3] != 1)
		return false;
	*out = SYS_DBUS_HEAD + fields_padded(head) + body;
	return true;
}

bool sys_dbus_read(struct span message, struct sys_dbus_message *out)
{
	size_t size;
	if (!sys_dbus_size(message, &size) || message.len < size)
		return false;
	size_t fields = u32_at(message, 12), body = SYS_DBUS_HEAD + fields_padded(message);
	*out = (struct sys_dbus_message){ .type = (uint8_t)message.ptr[1], .body = span_sub(message, body, size) };
	return fields_read(span_sub(message, SYS_DBUS_HEAD, SYS_DBUS_HEAD + fields), out);
}
