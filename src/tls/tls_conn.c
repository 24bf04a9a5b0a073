/* A connection: OpenSSL over a BIO whose two ends are functions of the owner.
 *
 *     owner ── tls_read ──▶ SSL ──▶ BIO ── io.read ──▶ owner's transport
 *     owner ── tls_write ─▶ SSL ──▶ BIO ── io.write ─▶ owner's transport
 *
 * Client sessions: what the server hands out for resumption is kept by server name in the context, at most
 * SESSIONS_MAX names, and used once (RFC 8446 appendix C.4). */
#include "tls/tls_impl.h"

#include <arpa/inet.h>
#include <errno.h>

enum { SESSIONS_MAX = 256 };

struct tls_conn {
	SSL *ssl;
	struct tls_ctx *ctx;  /* a reference */
	struct tls_io io;
	struct tls_peer *peer; /* owned; made when first asked for */
	char *session_name;   /* owned; client: where its session is kept */
	int io_errnum;        /* of the last failed io call */
	bool established;
};

/* ---- the BIO ---- */

static int bio_read(BIO *bio, char *out, size_t cap, size_t *out_n)
{
	struct tls_conn *c = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	ptrdiff_t n = c->io.read(c->io.arg, out, cap);
	if (n > 0) {
		*out_n = (size_t)n;
		return 1;
	}
	if (n == -EAGAIN)
		BIO_set_retry_read(bio);
	else if (n < 0)
		c->io_errnum = (int)-n;
	else
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return 0;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *out_n)
{
	struct tls_conn *c = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	ptrdiff_t n = c->io.write(c->io.arg, data, len);
	if (n > 0) {
		*out_n = (size_t)n;
		return 1;
	}
	if (n == -EAGAIN)
		BIO_set_retry_write(bio);
	else
		c->io_errnum = n < 0 ? (int)-n : EPIPE;
	return 0;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	if (cmd == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return cmd == BIO_CTRL_FLUSH; /* our owner flushes */
}

static BIO_METHOD *method;

static void method_make(void)
{
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "owner's transport");
	if (!method)
		abort();
	BIO_meth_set_read_ex(method, bio_read);
	BIO_meth_set_write_ex(method, bio_write);
	BIO_meth_set_ctrl(method, bio_ctrl);
}

/* ---- client sessions ---- */

static void session_put(struct tls_ctx *ctx, const char *name, SSL_SESSION *session)
{
	size_t len = strlen(name);
	struct tls_session *s = mem_alloc(sizeof(*s) + len + 1);
	memcpy(s->name, name, len + 1);
	s->session = session;
	pthread_mutex_lock(&ctx->lock);
	struct tls_session *old = NULL;
	if (ctx->sessions.n >= SESSIONS_MAX && !map_get(&ctx->sessions, span_of(name))) {
		MAP_EACH(&ctx->sessions, e) { /* any: the next connection there does a full handshake */
			old = map_remove(&ctx->sessions, e->key);
			break;
		}
	}
	struct tls_session *same = map_put(&ctx->sessions, span_make(s->name, len), s);
	pthread_mutex_unlock(&ctx->lock);
	for (int i = 0; i < 2; i++) {
		struct tls_session *gone = i ? same : old;
		if (gone) {
			SSL_SESSION_free(gone->session);
			free(gone);
		}
	}
}

static SSL_SESSION *session_take(struct tls_ctx *ctx, const char *name)
{
	pthread_mutex_lock(&ctx->lock);
	struct tls_session *s = map_remove(&ctx->sessions, span_of(name));
	pthread_mutex_unlock(&ctx->lock);
	if (!s)
		return NULL;
	SSL_SESSION *session = s->session;
	free(s);
	return session;
}

int tls_session_came(SSL *ssl, SSL_SESSION *session)
{
	struct tls_conn *c = SSL_get_app_data(ssl);
	if (!c || !c->session_name)
		return 0;
	session_put(c->ctx, c->session_name, session);
	return 1; /* the reference is ours */
}

/* ---- life ---- */

static struct tls_conn *conn_new(struct tls_ctx *ctx, const struct tls_io *io)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, method_make);
	struct tls_conn *c = mem_new(struct tls_conn);
	c->io = *io;
	c->ctx = tls_ctx_ref(ctx);
	c->ssl = SSL_new(ctx->ssl[0]);
	BIO *bio = BIO_new(method);
	if (!c->ssl || !bio)
		abort();
	BIO_set_data(bio, c);
	BIO_set_init(bio, 1);
	SSL_set_bio(c->ssl, bio, bio);
	SSL_set_app_data(c->ssl, c);
	return c;
}

int tls_accept_new(struct tls_ctx *ctx, const struct tls_io *io, struct tls_conn **out_conn, struct err *err)
{
	assert(ctx->server);
	struct tls_conn *c = conn_new(ctx, io);
	SSL_set_accept_state(c->ssl);
	*out_conn = c;
	return 0;
}

int tls_connect_new(struct tls_ctx *ctx, const struct tls_io *io, const char *server_name, struct tls_conn **out_conn,
	struct err *err)
{
	assert(!ctx->server);
	struct tls_conn *c = conn_new(ctx, io);
	SSL_set_connect_state(c->ssl);
	if (server_name) {
		X509_VERIFY_PARAM *v = SSL_get0_param(c->ssl);
		unsigned char addr[16];
		bool ok;
		if (inet_pton(AF_INET, server_name, addr) == 1 || inet_pton(AF_INET6, server_name, addr) == 1) {
			ok = X509_VERIFY_PARAM_set1_ip_asc(v, server_name) == 1;
		} else {
			X509_VERIFY_PARAM_set_hostflags(v, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
				X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
			ok = SSL_set1_host(c->ssl, server_name) == 1 && SSL_set_tlsext_host_name(c->ssl, server_name) == 1;
		}
		if (!ok) {
			tls_conn_free(c);
			return err_set(err, ERR_INVALID_REQUEST, "TLS: \"%s\" cannot be a server's name: %s", server_name,
				tls_reason());
		}
		c->session_name = mem_dup(server_name, strlen(server_name));
		SSL_SESSION *session = session_take(ctx, server_name);
		if (session) {
			SSL_set_session(c->ssl, session);
			SSL_SESSION_free(session);
		}
	}
	*out_conn = c;
	return 0;
}

void tls_alpn_set(struct tls_conn *c, const char *const *alpn)
{
	uint8_t wire[64];
	unsigned n = tls_alpn_wire(alpn, wire, sizeof(wire));
	if (SSL_set_alpn_protos(c->ssl, wire, n) != 0)
		abort();
}

void tls_io_set(struct tls_conn *c, const struct tls_io *io)
{
	c->io = *io;
}

void tls_conn_free(struct tls_conn *c)
{
	if (!c)
		return;
	/* Without this OpenSSL takes the session of a connection that was not shut down for a bad one. */
	SSL_set_quiet_shutdown(c->ssl, 1);
	if (c->established)
		SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(c->ssl);
	tls_peer_unref(c->peer);
	tls_ctx_unref(c->ctx);
	free(c->session_name);
	free(c);
}

/* ---- work ---- */

/* What a failed OpenSSL call means. doing: "handshake", "reading", "writing". */
static int outcome(struct tls_conn *c, int rc, const char *doing, struct err *err)
{
	enum err_class class = c->ctx->server ? ERR_INVALID_REQUEST : ERR_UPSTREAM;
	switch (SSL_get_error(c->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		return TLS_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		if (c->io_errnum) {
			int errnum = c->io_errnum;
			err_set(err, class, "TLS %s: %s", doing, strerrordesc_np(errnum));
			if (err)
				err->errnum = errnum;
			ERR_clear_error();
			return -(int)class;
		}
		break;
	}
	if (!c->established) {
		long verified = SSL_get_verify_result(c->ssl);
		unsigned long code = ERR_peek_error();
		if (verified != X509_V_OK && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
			ERR_clear_error();
			return err_set(err, class, "TLS %s: the peer's certificate: %s", doing,
				X509_verify_cert_error_string(verified));
		}
	}
	if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		ERR_clear_error();
		return err_set(err, class, "TLS %s: the peer ended the connection without saying so", doing);
	}
	return err_set(err, class, "TLS %s: %s", doing, tls_reason());
}

int tls_handshake(struct tls_conn *c, struct err *err)
{
	if (c->established)
		return 0;
	ERR_clear_error();
	c->io_errnum = 0;
	int rc = SSL_do_handshake(c->ssl);
	if (rc == 1) {
		c->established = true;
		return 0;
	}
	rc = outcome(c, rc, "handshake", err);
	if (rc == 0) /* close_notify in the middle */
		return err_set(err, c->ctx->server ? ERR_INVALID_REQUEST : ERR_UPSTREAM,
			"TLS handshake: the peer ended it");
	return rc;
}

ptrdiff_t tls_read(struct tls_conn *c, void *out, size_t cap, struct err *err)
{
	size_t n = 0;
	ERR_clear_error();
	c->io_errnum = 0;
	int rc = SSL_read_ex(c->ssl, out, cap, &n);
	if (rc == 1)
		return (ptrdiff_t)n;
	return outcome(c, rc, "reading", err);
}

ptrdiff_t tls_write(struct tls_conn *c, const void *data, size_t len, struct err *err)
{
	size_t n = 0;
	if (!len)
		return 0;
	ERR_clear_error();
	c->io_errnum = 0;
	int rc = SSL_write_ex(c->ssl, data, len, &n);
	if (rc == 1)
		return (ptrdiff_t)n;
	rc = outcome(c, rc, "writing", err);
	return rc ? rc : err_set(err, ERR_IO, "TLS writing after the end");
}

int tls_end(struct tls_conn *c, struct err *err)
{
	if (!c->established)
		return 0;
	ERR_clear_error();
	c->io_errnum = 0;
	int rc = SSL_shutdown(c->ssl);
	if (rc >= 0)
		return 0;
	rc = outcome(c, rc, "closing", err);
	return rc == TLS_WANT_READ ? 0 : rc;
}

/* ---- facts ---- */

struct span tls_conn_alpn(const struct tls_conn *c)
{
	const unsigned char *name;
	unsigned len;
	SSL_get0_alpn_selected(c->ssl, &name, &len);
	return span_make(name, len);
}

const char *tls_conn_version(const struct tls_conn *c)
{
	return SSL_get_version(c->ssl);
}

bool tls_conn_resumed(const struct tls_conn *c)
{
	return SSL_session_reused(c->ssl) == 1;
}

struct span tls_conn_sni(const struct tls_conn *c)
{
	return span_of(SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name));
}

struct tls_peer *tls_conn_peer(struct tls_conn *c)
{
	if (!c->peer) {
		X509 *x = SSL_get0_peer_certificate(c->ssl);
		if (!x)
			return NULL;
		c->peer = tls_peer_of(x);
		long verified = SSL_get_verify_result(c->ssl);
		c->peer->verified = verified == X509_V_OK;
		c->peer->why_not = c->peer->verified ? NULL : X509_verify_cert_error_string(verified);
	}
	return tls_peer_ref(c->peer);
}
