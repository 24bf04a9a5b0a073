/* Private to src/grpc: the bytes of gRPC on HTTP/2, both directions ("gRPC over HTTP2", the protocol's document). */
#pragma once

#include "grpc/grpc.h"

/* Messages out of a stream of bytes: flag:8 length:32 message. */
struct grpc_frames {
	struct buf buf;       /* the incomplete message behind its head */
	uint8_t head[5];
	uint8_t n_head;
	bool in_message;
	uint32_t length;
	size_t limit;
};
void grpc_frames_done(struct grpc_frames *f);
/* Takes from *in up to the end of the next message. 1: *out_message (valid until the next call; may point into the
 * input); 0: *in is used up; negative: -(status), *out_why says it. */
int grpc_frames_next(struct grpc_frames *f, struct span *in, struct span *out_message, struct buf *out_why);
bool grpc_frames_between(const struct grpc_frames *f); /* no message is cut off here */
void grpc_frame_head(uint8_t out[5], size_t len);

/* grpc-timeout: up to 8 digits and a unit (H M S m u n). Milliseconds, rounded up; false when it is not one. */
bool grpc_timeout_parse(struct span text, int64_t *out_ms);
void grpc_timeout_format(int64_t ms, char out[16]);

/* grpc-message: bytes outside 0x20..0x7e and '%' as %XX, and a blank at either end: no value of a field may begin or end with
 * one (RFC 9113 section 8.2.1), and a strict reader resets the stream. Decoding keeps what is no escape. */
void grpc_message_encode(struct buf *out, struct span message);
void grpc_message_decode(struct buf *out, struct span text);

bool grpc_status_parse(struct span text, enum grpc_status *out); /* unknown numbers become UNKNOWN */
enum grpc_status grpc_status_of_http(int code);
/* What a stream that was reset with this HTTP/2 error code means, and the code's name. */
enum grpc_status grpc_status_of_reset(uint64_t code, const char **out_name);

bool grpc_key_is_bin(struct span key);
/* A metadata value as it is sent; as it came. Decoding accepts padded and unpadded base64, the first of several values
 * joined by commas. False: not base64. */
void grpc_bin_encode(struct buf *out, struct span value);
bool grpc_bin_decode(struct buf *out, struct span text);
/* The value of key among the fields: decoded into the arena for "-bin"; empty when absent. */
struct span grpc_metadata_get(const struct http_fields *fields, const char *key, struct arena *a);
bool grpc_content_type(struct span value); /* application/grpc, with +subtype or parameters */
