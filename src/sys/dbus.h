/* Messages of D-Bus (specification, "Message Protocol"), written and read in memory: who carries them is the caller's. Only what a
 * caller of methods needs: strings, numbers, arrays and the dictionaries that systemd takes.
 *
 * A conversation begins with "\0AUTH EXTERNAL <uid in hex digits of its decimal digits>\r\n", the answer "OK ...\r\n", "BEGIN\r\n";
 * with a bus the first call is Hello. No function here fails but by running out of memory, or says so. Any thread. */
#pragma once

#include "base/base.h"

#define SYS_DBUS_HEAD 16 /* bytes of a message that tell its size */
#define SYS_DBUS_AUTH SPAN("\0AUTH EXTERNAL 30\r\nBEGIN\r\n") /* as root, without waiting for the answer */

enum { SYS_DBUS_CALL = 1, SYS_DBUS_RETURN = 2, SYS_DBUS_ERROR = 3, SYS_DBUS_SIGNAL = 4 };

/* ---- writing a body; the buffer begins at a multiple of 8 of the message */
void sys_dbus_align(struct buf *b, size_t to);
void sys_dbus_u32(struct buf *b, uint32_t v);
void sys_dbus_text(struct buf *b, const char *s);
void sys_dbus_signature(struct buf *b, const char *s);
size_t sys_dbus_array_begin(struct buf *b, size_t element); /* alignment of an element; for sys_dbus_array_end */
void sys_dbus_array_end(struct buf *b, size_t at, size_t element);

struct sys_dbus_call {
	const char *path, *interface, *member, *destination, *signature; /* signature "" or NULL: no body */
};
/* Added to out, which is empty or ends with a whole message. */
void sys_dbus_call(struct buf *out, uint32_t serial, const struct sys_dbus_call *c, struct span body);

/* ---- reading; in this machine's byte order, as every local bus answers */
struct sys_dbus_message {
	uint8_t type;
	uint32_t reply_to; /* serial of the call; 0 = none */
	struct span member, error, body; /* borrowed from the data */
};
bool sys_dbus_size(struct span head, size_t *out); /* of the whole message, from its first SYS_DBUS_HEAD bytes; at most 33 KB */
bool sys_dbus_read(struct span message, struct sys_dbus_message *out);
/* A string at the next multiple of 4 of a body; empty when it is too short. */
struct span sys_dbus_text_at(struct span body, size_t *at);
