/* Streams of the CRI: Exec, Attach and PortForward answer an address of a server on the loopback, where whoever has the token
 * connects. Private to cri. */
#pragma once

#include "cri/private.h"

enum cri_stream_kind { CRI_STREAM_EXEC, CRI_STREAM_ATTACH, CRI_STREAM_FORWARD };

/* What a token stands for. */
struct cri_ticket {
	struct list link;
	struct arena arena;
	char token[33];
	int64_t until_ms;
	enum cri_stream_kind kind;
	struct span id;            /* of the container, or of the sandbox */
	const struct span *cmd;
	uint32_t n_cmd;
	bool tty, in, out, error;
};
void cri_ticket_free(struct cri_ticket *t);

/* A connection that was taken over: in a session or tunnel, in cri.conns while it lasts. */
struct cri_conn {
	struct list link;
	struct http_link *k; /* NULL when it is gone */
};

/* Both take the ticket over, answer the request and own the connection. On the loop. */
void cri_session_begin(struct cri *c, struct http_req *r, struct cri_ticket *t); /* session.c: exec, attach */
void cri_forward_begin(struct cri *c, struct http_req *r, struct cri_ticket *t); /* forward.c */

/* The first of the client's protocols that is ours (NULL-ended); NULL = none. Several header lines, or commas. */
const char *cri_stream_protocol(struct http_req *r, const char *const *ours);
/* 403 that lists ours, as Go's servers answer. */
void cri_stream_refuse(struct http_req *r, const char *const *ours);
