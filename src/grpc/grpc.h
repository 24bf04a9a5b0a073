/* gRPC over HTTP/2, both sides: unary and streaming calls, deadlines, metadata, status. Payloads are spans: what a
 * message means is the caller's business (api and cri encode them).
 *
 * Server. A table of methods and a handler for http_server_params:
 *
 *     static const struct grpc_method methods[] = {
 *             { "/runtime.v1.RuntimeService/Version", .unary = version },
 *             { "/runtime.v1.RuntimeService/GetContainerEvents", .unary = events },  // answers with many messages
 *             { "/etcdserverpb.Watch/Watch", .open = watch_open },                   // reads many, by ops
 *     };
 *     struct grpc_server_params gp = { .loop = l, .methods = methods, .n = ARRAY_LEN(methods), .arg = engine };
 *     grpc_server_new(&gp, &grpc);
 *     struct http_server_params hp = { .loop = l, .handle = grpc_server_handle, .arg = grpc, ... };
 *     grpc_limits(&hp.limits);
 *
 *     static void version(struct grpc_req *r, struct span message, void *arg)
 *     {
 *             ...
 *             grpc_reply_send(r, answer);
 *             grpc_reply_end(r, GRPC_OK, NULL);
 *     }
 *
 * Client. grpc_unary for one message each way, grpc_call_begin for everything else.
 *
 * Everything runs on the loop's thread, and a callback never runs inside the call that began the operation. Messages
 * given to callbacks live during the callback. Compression: identity only; a compressed message ends the call with
 * UNIMPLEMENTED. Keep-alive is HTTP/2's (http_limits.ping_ms).
 *
 * Memory of a call: one incoming message (recv_bytes at most), and what is queued to go out: watch grpc_reply_queued, and wait
 * for `drain` on either side. */
#pragma once

#include "http/http.h"

enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_ABORTED = 10,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
	GRPC_UNAUTHENTICATED = 16,
	GRPC_STATUS_COUNT
};
const char *grpc_status_name(enum grpc_status s); /* "NotFound", as Go prints them */
/* The status that says what an error class says, and back (an ERR_... class; OK is ERR_NONE). */
enum grpc_status grpc_status_of(int class);
int grpc_status_class(enum grpc_status s);

enum { GRPC_RECV_BYTES = 4 << 20 };

/* ---- server ---- */

struct grpc_server;
struct grpc_req;

struct grpc_method {
	const char *name; /* "/package.Service/Method" */
	/* The one message of the client is there. Answer with any number of messages, now or later, then grpc_reply_end. */
	void (*unary)(struct grpc_req *r, struct span message, void *arg);
	/* Instead: the call began; its messages come to the ops that this sets. */
	void (*open)(struct grpc_req *r, void *arg);
};

struct grpc_server_params {
	struct loop *loop;
	const struct grpc_method *methods; /* borrowed for ever */
	size_t n;
	void *arg;                /* of the methods */
	size_t recv_bytes;        /* of a message; 0 = GRPC_RECV_BYTES. More: RESOURCE_EXHAUSTED */
	/* What is not gRPC (by its content type): NULL = 415. */
	void (*other)(struct http_req *r, void *arg);
};
struct grpc_server *grpc_server_new(const struct grpc_server_params *p);
void grpc_server_free(struct grpc_server *s); /* after its HTTP servers were stopped; accepts NULL */
/* For http_server_params.handle; arg is the grpc_server. */
void grpc_server_handle(struct http_req *r, void *arg);
/* Sets what streams need: a client that sends nothing for hours is no slow one. */
void grpc_limits(struct http_limits *limits);

struct grpc_req_ops {
	void (*message)(struct grpc_req *r, struct span message, void *arg);
	void (*end)(struct grpc_req *r, void *arg);    /* the client has sent everything */
	void (*drain)(struct grpc_req *r, void *arg);
	/* The client gave up or the deadline passed: answering is of no use any more, but grpc_reply_end is harmless. */
	void (*cancelled)(struct grpc_req *r, void *arg);
	/* The last callback, exactly once: the call is gone afterwards. */
	void (*done)(struct grpc_req *r, void *arg);
};
void grpc_req_ops_set(struct grpc_req *r, const struct grpc_req_ops *ops, void *arg); /* ops are borrowed */
struct span grpc_req_method(const struct grpc_req *r);
struct http_req *grpc_req_http(const struct grpc_req *r); /* peer, headers, arena */
struct arena *grpc_req_arena(struct grpc_req *r);
/* Metadata: the first value of a key; empty (ptr NULL) when absent. A "-bin" value comes decoded, in the arena. */
struct span grpc_req_metadata(struct grpc_req *r, const char *key);
/* When the client gives up, on loop_now_ms' scale; 0 = never. The call then ends with DEADLINE_EXCEEDED by itself. */
int64_t grpc_req_deadline_ms(const struct grpc_req *r);
void grpc_req_pause(struct grpc_req *r);  /* no `message` until */
void grpc_req_resume(struct grpc_req *r);

/* Before the first message. "-bin" values are encoded. A value that cannot be sent (control characters) is our mistake. */
void grpc_reply_header(struct grpc_req *r, const char *key, struct span value);
/* The header goes out now and not with the first message: the client knows that it is being served. */
void grpc_reply_begin(struct grpc_req *r);
void grpc_reply_send(struct grpc_req *r, struct span message); /* copied; dropped after the end */
void grpc_reply_send_bytes(struct grpc_req *r, struct bytes *message); /* by reference, which is taken */
void grpc_reply_trailer(struct grpc_req *r, const char *key, struct span value);
/* Once. message may be NULL. Later calls are ignored (the deadline may have been faster). */
void grpc_reply_end(struct grpc_req *r, enum grpc_status status, const char *message);
void grpc_reply_error(struct grpc_req *r, const struct err *err); /* status by grpc_status_of, message as it is */
size_t grpc_reply_queued(const struct grpc_req *r);
bool grpc_reply_ended(const struct grpc_req *r);

/* ---- client ---- */

struct grpc_call;

struct grpc_call_ops {
	void (*header)(struct grpc_call *c, void *arg); /* initial metadata is there */
	void (*message)(struct grpc_call *c, struct span message, void *arg);
	void (*drain)(struct grpc_call *c, void *arg);
	/* The last callback, exactly once; message is the server's, or what went wrong underneath. */
	void (*done)(struct grpc_call *c, enum grpc_status status, struct span message, void *arg);
};

struct grpc_call_params {
	struct loop *loop;                   /* the client's */
	struct http_client *client;
	const struct http_origin *origin;    /* must end in HTTP/2: tls with ALPN h2, or http2 = true */
	const char *method;                  /* "/package.Service/Method" */
	const struct http_field *metadata;   /* copied; "-bin" values are encoded */
	size_t n_metadata;
	unsigned timeout_ms;                 /* 0 = none */
	size_t recv_bytes;                   /* 0 = GRPC_RECV_BYTES */
	const struct grpc_call_ops *ops;     /* borrowed; unset members are ignored */
	void *arg;
};
int grpc_call_begin(const struct grpc_call_params *p, struct grpc_call **out_call, struct err *err);
void grpc_call_send(struct grpc_call *c, struct span message); /* copied */
void grpc_call_end(struct grpc_call *c);    /* everything is sent */
void grpc_call_cancel(struct grpc_call *c); /* `done` follows with CANCELLED */
void grpc_call_pause(struct grpc_call *c);
void grpc_call_resume(struct grpc_call *c);
/* From `header` on the initial metadata, in `done` the trailers too. */
struct span grpc_call_metadata(struct grpc_call *c, const char *key);
struct span grpc_call_trailer(struct grpc_call *c, const char *key);
struct arena *grpc_call_arena(struct grpc_call *c);

/* One message each way; p->ops is not used. fn is called once: reply is empty unless status is OK. */
int grpc_unary(const struct grpc_call_params *p, struct span message,
	void (*fn)(enum grpc_status status, struct span message, struct span reply, void *arg), void *arg, struct err *err);
