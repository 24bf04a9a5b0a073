/* Text forms of bytes: hex, base64, UTF-8, percent encoding. All of them bounded by their input. */
#pragma once

#include <stdbool.h>
#include "base/buf.h"
#include "base/span.h"

void hex_add(struct buf *out, const void *data, size_t len); /* lower case */
int hex_value(char c); /* its value, either case; -1 on anything else */
/* Exactly two digits a byte, either case; out_data must hold s.len / 2. False on anything else. */
bool hex_parse(struct span s, void *out_data);

/* A version 4 UUID (RFC 9562 section 5.4) of 16 random bytes, in lower case with dashes: 36 characters and a 0 byte. */
void text_uuid(const uint8_t random[16], char out[37]);

enum base64_kind {
	BASE64_STD,     /* RFC 4648 section 4, padded */
	BASE64_URL,     /* section 5, padded */
	BASE64_URL_RAW, /* section 5, without padding (JWT) */
	BASE64_STD_RAW,
};
int base64_digit(char c, bool url); /* its value in one of the two alphabets; -1 on anything else, padding too */
void base64_add(struct buf *out, enum base64_kind kind, const void *data, size_t len);
/* Strict: right alphabet and padding; CR and LF are skipped as Go's decoder does. Appends to out; false (out as it
 * was) on anything else. */
bool base64_parse(struct buf *out, enum base64_kind kind, struct span s);

/* Well-formed UTF-8 as RFC 3629: no overlong forms, no surrogates, at most U+10FFFF. */
bool utf8_valid(struct span s);
/* Decodes one code point at the start of s; returns its length in bytes, or 0 when it is not well formed. */
size_t utf8_next(struct span s, uint32_t *out_code);
void utf8_add(struct buf *out, uint32_t code); /* what is no code point becomes U+FFFD */

/* %XX decoding. plus_is_space for query strings. Appends; false (out as it was) on a broken escape. */
bool percent_parse(struct buf *out, struct span s, bool plus_is_space);
/* Encodes all but unreserved characters (RFC 3986) and those of keep (may be NULL). */
void percent_add(struct buf *out, struct span s, const char *keep);
/* Looks a parameter up in a query string, decoded into out (appended). False when absent or badly escaped. */
bool query_get(struct span query, const char *name, struct buf *out);
