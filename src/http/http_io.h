/* One connected socket under the loop, with or without TLS: a queue out, bytes in, ends seen. Private.
 *
 * Embedded in a connection of either side and in a duplex, and handed from one to the other by http_io_move. The
 * callbacks never run inside a call of this interface. */
#pragma once

#include "http/http.h"
#include "http/http_out.h"

struct http_io;

struct http_io_ops {
	/* The TLS handshake is done; at once (still later than the open call) without TLS. */
	void (*opened)(struct http_io *io);
	/* Bytes came. The receiver takes all of them; after http_io_read_stop nothing more comes. */
	void (*data)(struct http_io *io, struct span data);
	void (*eof)(struct http_io *io);  /* the peer ended its sending side */
	/* Output was taken by the kernel; out.len says what is left. */
	void (*sent)(struct http_io *io);
	/* The transport is broken or the handshake failed. The owner closes. */
	void (*failed)(struct http_io *io, const struct err *why);
};

struct http_io {
	struct loop *loop;
	const struct http_io_ops *ops;
	const char *name;
	struct loop_fd fd;
	int sock;                  /* owned; -1 = memory transport: output stays in `out` */
	struct tls_conn *tls;      /* owned */
	struct http_out out;
	char *cipher;              /* owned: encrypted, not yet taken by the kernel */
	size_t cipher_len, cipher_sent;
	struct loop_task flush;    /* at commit */
	struct loop_task again;    /* deferred: read what TLS holds, report what happened */
	int64_t progress_ms;       /* when the kernel last took something, or the queue became non-empty */
	struct err why;            /* failure waiting to be reported */
	unsigned handshaking : 1;
	unsigned opening : 1;      /* opened was not yet reported */
	unsigned reading : 1;
	unsigned dry : 1;          /* the last read took all there was */
	unsigned blocked : 1;      /* the kernel takes nothing now */
	unsigned eof_seen : 1;
	unsigned hup_seen : 1;
	unsigned ending : 1;       /* send the end when the queue is out */
	unsigned ended : 1;        /* sent */
	unsigned broken : 1;       /* failed: reported or about to be */
	unsigned closed : 1;
	unsigned moved : 1;        /* to another place: only `closed` is left to be called */
	unsigned discarding : 1;   /* closing gently: what comes is thrown away */
	void (*on_closed)(struct http_io *io);
	struct loop_timer linger;
};

/* Takes the socket over, on failure too. tls may be NULL; it is taken over as well and must have been made with
 * http_io_tls(io). */
int http_io_open(struct http_io *io, struct loop *l, const char *name, int sock, const struct http_io_ops *ops,
	struct err *err);
/* Before anything was sent: this side of TLS. */
int http_io_tls_server(struct http_io *io, struct tls_ctx *ctx, struct err *err);
int http_io_tls_client(struct http_io *io, struct tls_ctx *ctx, const char *server_name, struct err *err);
/* A transport without a socket, for fuzzing: http_io_feed brings bytes in; output collects in out. */
void http_io_memory(struct http_io *io, struct loop *l, const struct http_io_ops *ops);
void http_io_feed(struct http_io *io, struct span data);

void http_io_read_start(struct http_io *io);
void http_io_read_stop(struct http_io *io);
void http_io_background(struct http_io *io, bool background); /* keeps no loop going */
/* Sends what is queued at the end of this turn. */
void http_io_flush(struct http_io *io);
/* Ends the sending side behind what is queued. */
void http_io_end(struct http_io *io);
/* Ends everything; closed runs in the closings phase, then the memory is free. */
void http_io_close(struct http_io *io, void (*closed)(struct http_io *io));
/* The same behind the queue: sends, ends, then throws away what still comes for at most ms. A socket that is closed with
 * unread bytes resets, and the peer may never see the answer. */
void http_io_close_gently(struct http_io *io, unsigned ms, void (*closed)(struct http_io *io));
/* Moves the connection to another place and owner. The old place is empty afterwards; its closed is not called. */
int http_io_move(struct http_io *to, struct http_io *from, const char *name, const struct http_io_ops *ops,
	struct err *err);
static inline size_t http_io_queued(const struct http_io *io)
{
	return io->out.len + io->cipher_len - io->cipher_sent;
}
