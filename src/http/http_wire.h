/* HTTP/1 on the wire: header blocks, chunked bodies, field lists. Pure functions over bytes. Private. */
#pragma once

#include "http/http.h"

/* ---- header blocks ---- */

/* Watches bytes until a header block is complete, and refuses what different parsers read differently (RFC 9112 section 2.2,
 * 5.1, 5.2, 11.2): bare CR or LF, NUL and other control characters, folded lines, blanks before a colon. Incremental, so
 * a block that comes byte by byte is looked at once. */
struct http_guard {
	uint8_t state;
	uint8_t blank_lines;  /* before the start line */
	uint32_t seen;        /* bytes so far */
	uint32_t start_line;  /* its length once it is complete, with what stood before it */
	uint32_t lines;       /* field lines begun */
	bool bare_lf;         /* set by the owner: a line may end with LF alone (http_server_params.unix_bare_lf) */
};
enum { HTTP_GUARD_MORE, HTTP_GUARD_DONE, HTTP_GUARD_BAD };
/* A block of fields alone (trailers) begins here instead of at the start line. */
void http_guard_fields_begin(struct http_guard *g);
/* Looks at data; *out_used = how much of it belongs to the block. On BAD *out_why says what is wrong. */
int http_guard_feed(struct http_guard *g, struct span data, size_t *out_used, const char **out_why);

/* A parsed set of fields with the text they point into. */
struct http_head {
	char *text;               /* owned */
	uint32_t len, cap;
	struct http_field *items; /* owned; while it grows, pointers are offsets into text: see http_head_fix */
	unsigned n, cap_items;
};
void http_head_done(struct http_head *h);
/* Grows (HTTP/2, outgoing fields). Offsets until http_head_fix. */
void http_head_add(struct http_head *h, struct span name, struct span value, bool lower);
void http_head_fix(struct http_head *h);
static inline struct http_fields http_head_fields(const struct http_head *h)
{
	return (struct http_fields){ h->items, h->n };
}

struct http_start {
	struct span method, target;  /* request */
	int status;                  /* response */
	int version;                 /* 10, 11 */
	bool chunked, has_length, keep_alive;
	bool other_coding;           /* a transfer coding that is not chunked alone */
	uint64_t length;
};
/* A guarded block whose lines may end with LF alone, each ended with CR LF. */
void http_lines_end(struct span block, struct buf *out);
/* Parses a complete, guarded block (copied into out_head). 0, or -1 with *out_why. limit on the number of fields: more
 * gives -2. */
int http_block_parse(bool request, struct span block, unsigned max_fields, struct http_head *out_head,
	struct http_start *out_start, const char **out_why);
/* Fields alone. */
int http_trailers_parse(struct span block, unsigned max_fields, struct http_head *out_head);

bool http_is_token(struct span s);
bool http_method_known(struct span method); /* one that llhttp parses and this layer passes on */

/* ---- chunked bodies ---- */

struct http_chunked {
	uint8_t state;
	uint8_t digits;
	uint32_t extension;     /* bytes of it in this chunk */
	uint32_t overhead;      /* framing bytes since the last data */
	uint64_t left;          /* of this chunk */
	struct http_guard guard; /* of the trailers */
	struct buf trailers;    /* owned; the block */
};
void http_chunked_done(struct http_chunked *c);
enum { HTTP_CHUNK_MORE, HTTP_CHUNK_DATA, HTTP_CHUNK_END, HTTP_CHUNK_BAD };
/* Takes from *in; DATA gives a part of the body in *out_data (call again), MORE: all of *in was taken, END: the body
 * and its trailers are complete and *in begins behind them. */
int http_chunked_next(struct http_chunked *c, struct span *in, struct span *out_data, const char **out_why);
