/* Contexts: one SSL_CTX per certificate, made once and never changed; the slot through which a new one is found.
 *
 * Suites: TLS 1.3, and of 1.2 only forward-secret AEAD suites. AES-128 comes first: it is the fastest with AES
 * instructions and nobody is known to break it; a client that prefers ChaCha20 (no AES in hardware) gets it.
 * Server sessions are stateless tickets; the ticket key belongs to the context, so certificates that were swapped
 * in (a client CA reload, say) end the resumption of older sessions: they are verified afresh. */
#include "tls/tls_impl.h"

#include <arpa/inet.h>

const char *const TLS_ALPN_HTTP[] = { "h2", "http/1.1", NULL };
const char *const TLS_ALPN_HTTP1[] = { "http/1.1", NULL };
const char *const TLS_ALPN_H2[] = { "h2", NULL };

static const char SUITES_12[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
				"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
				"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char SUITES_13[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

const char *tls_reason(void)
{
	unsigned long code = ERR_get_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	ERR_clear_error();
	return reason ? reason : "unknown reason";
}

int tls_pem_err(struct err *err, struct span pem, const char *where, size_t from, const char *what)
{
	const char *reason = tls_reason();
	ptrdiff_t begin = span_find(span_from(pem, from), SPAN("-----BEGIN"));
	size_t at = begin < 0 ? pem.len : from + (size_t)begin;
	unsigned line = 1;
	for (size_t i = 0; i < at; i++)
		line += pem.ptr[i] == '\n';
	if (begin < 0)
		return err_set(err, ERR_INVALID, "%s: no %s found (PEM text of %zu bytes)", where ? where : "PEM", what,
			pem.len);
	return err_set(err, ERR_INVALID, "%s line %u: %s: %s", where ? where : "PEM", line, what, reason);
}

int tls_no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	return 0; /* an encrypted key is an error, not a question on the terminal */
}

BIO *tls_pem_bio(struct span pem)
{
	assert(pem.len <= INT_MAX);
	BIO *bio = BIO_new_mem_buf(pem.len ? pem.ptr : "", (int)pem.len);
	if (!bio)
		abort();
	return bio;
}

/* ---- what both sides share ---- */

static SSL_CTX *ssl_new(bool server)
{
	SSL_CTX *ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	if (!ssl)
		abort();
	int ok = SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) && SSL_CTX_set_cipher_list(ssl, SUITES_12) &&
		SSL_CTX_set_ciphersuites(ssl, SUITES_13) && SSL_CTX_set1_groups_list(ssl, "X25519:P-256:P-384");
	assert(ok);
	SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
		SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
		SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ssl, 1); /* one read per record instead of two */
	SSL_CTX_set_default_passwd_cb(ssl, tls_no_passphrase);
	return ssl;
}

static int pair_use(SSL_CTX *ssl, const struct tls_pair *pair, struct tls_peer **out_leaf, struct err *err)
{
	auto_bio BIO *bio = tls_pem_bio(pair->cert_pem);
	auto_x509 X509 *leaf = PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL);
	if (!leaf)
		return tls_pem_err(err, pair->cert_pem, pair->cert_where, 0, "certificate");
	if (SSL_CTX_use_certificate(ssl, leaf) != 1)
		return tls_pem_err(err, pair->cert_pem, pair->cert_where, 0, "certificate cannot be used");
	for (;;) {
		size_t from = pair->cert_pem.len - (size_t)BIO_pending(bio);
		X509 *link = PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL);
		if (!link) {
			if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
				return tls_pem_err(err, pair->cert_pem, pair->cert_where, from, "certificate of the chain");
			ERR_clear_error();
			break;
		}
		if (SSL_CTX_add0_chain_cert(ssl, link) != 1) {
			X509_free(link);
			return tls_pem_err(err, pair->cert_pem, pair->cert_where, from, "certificate of the chain");
		}
	}
	auto_bio BIO *key_bio = tls_pem_bio(pair->key_pem);
	auto_pkey EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, tls_no_passphrase, NULL);
	if (!key)
		return tls_pem_err(err, pair->key_pem, pair->key_where, 0, "private key");
	if (X509_check_private_key(leaf, key) != 1) {
		ERR_clear_error();
		return err_set(err, ERR_INVALID, "%s: is not the key of the certificate in %s",
			pair->key_where ? pair->key_where : "private key", pair->cert_where ? pair->cert_where : "PEM");
	}
	if (SSL_CTX_use_PrivateKey(ssl, key) != 1)
		return tls_pem_err(err, pair->key_pem, pair->key_where, 0, "private key cannot be used");
	if (out_leaf)
		*out_leaf = tls_peer_of(leaf);
	return 0;
}

/* Puts a bundle into the store for verification; out_names (may be NULL) gets the subjects. */
static int bundle_use(SSL_CTX *ssl, struct span pem, const char *where, STACK_OF(X509_NAME) *out_names, struct err *err)
{
	auto_bio BIO *bio = tls_pem_bio(pem);
	X509_STORE *store = SSL_CTX_get_cert_store(ssl);
	unsigned n = 0;
	for (;;) {
		size_t from = pem.len - (size_t)BIO_pending(bio);
		auto_x509 X509 *x = PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL);
		if (!x) {
			if (n && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) {
				ERR_clear_error();
				return 0;
			}
			return tls_pem_err(err, pem, where, from, "CA certificate");
		}
		n++;
		if (X509_STORE_add_cert(store, x) != 1)
			return tls_pem_err(err, pem, where, from, "CA certificate");
		if (out_names) {
			X509_NAME *name = X509_NAME_dup(X509_get_subject_name(x));
			if (!name || !sk_X509_NAME_push(out_names, name))
				abort();
		}
	}
}

/* What is sent with the certificate, found once: with a certificate alone, OpenSSL looks in the store for what leads to a CA at
 * every handshake, and verifies each signature on the way. The same store gives the same chain now, an empty one the leaf alone;
 * where it gives none (a CA too weak to send) nothing is kept, and each handshake looks by itself. A file that holds a chain is
 * sent as it is. */
static void chain_keep(SSL_CTX *ssl)
{
	STACK_OF(X509) *given = NULL;
	SSL_CTX_get0_chain_certs(ssl, &given);
	if (!given)
		(void)SSL_CTX_build_cert_chain(ssl, SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR | SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR);
	ERR_clear_error();
}

unsigned tls_alpn_wire(const char *const *alpn, uint8_t *out, unsigned cap)
{
	unsigned n = 0;
	for (; alpn && *alpn; alpn++) {
		size_t len = strlen(*alpn);
		assert(len > 0 && len < 256 && n + 1 + len <= cap);
		out[n++] = (uint8_t)len;
		memcpy(out + n, *alpn, len);
		n += (unsigned)len;
	}
	return n;
}

static struct tls_ctx *ctx_new(bool server, size_t n_ssl)
{
	struct tls_ctx *ctx = mem_new(struct tls_ctx);
	ctx->refs = 1;
	ctx->server = server;
	ctx->n_ssl = n_ssl;
	ctx->ssl = mem_zalloc(n_ssl * sizeof(SSL_CTX *));
	ctx->certs = mem_zalloc(n_ssl * sizeof(struct tls_peer *));
	pthread_mutex_init(&ctx->lock, NULL);
	for (size_t i = 0; i < n_ssl; i++)
		ctx->ssl[i] = ssl_new(server);
	return ctx;
}

/* ---- server ---- */

static int alpn_choose(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
	unsigned in_len, void *arg)
{
	struct tls_ctx *ctx = arg;
	for (unsigned i = 0; i < ctx->alpn_len; i += 1u + ctx->alpn[i])
		for (unsigned k = 0; k < in_len && k + 1u + in[k] <= in_len; k += 1u + in[k])
			if (in[k] == ctx->alpn[i] && !memcmp(in + k + 1, ctx->alpn + i + 1, in[k])) {
				*out = in + k + 1;
				*out_len = in[k];
				return SSL_TLSEXT_ERR_OK;
			}
	return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 section 3.2: no_application_protocol */
}

static bool name_fits(const char *pattern, const char *name)
{
	if (!strncmp(pattern, "*.", 2)) { /* one label (RFC 6125 section 6.4.3) */
		const char *dot = strchr(name, '.');
		return dot && dot != name && strcasecmp(pattern + 1, dot) == 0;
	}
	return strcasecmp(pattern, name) == 0;
}

static int sni_choose(SSL *ssl, int *alert, void *arg)
{
	struct tls_ctx *ctx = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	if (!name)
		return SSL_TLSEXT_ERR_OK;
	for (size_t i = 0; i < ctx->n_ssl; i++)
		for (unsigned k = 0; k < ctx->certs[i]->n_dns_names; k++)
			if (name_fits(ctx->certs[i]->dns_names[k], name)) {
				if (i)
					SSL_set_SSL_CTX(ssl, ctx->ssl[i]);
				return SSL_TLSEXT_ERR_OK;
			}
	return SSL_TLSEXT_ERR_OK; /* the default certificate: the client judges */
}

static int verify_later(int ok, X509_STORE_CTX *store)
{
	return 1; /* the error stays in the verification result (tls_peer.verified) */
}

int tls_server_new(const struct tls_server_params *p, struct tls_ctx **out_ctx, struct err *err)
{
	assert(p->n_pairs > 0);
	ERR_clear_error();
	auto_cleanup(auto_tls_ctx_) struct tls_ctx *ctx = ctx_new(true, p->n_pairs);
	ctx->alpn_len = tls_alpn_wire(p->alpn, ctx->alpn, sizeof(ctx->alpn));
	for (size_t i = 0; i < p->n_pairs; i++) {
		SSL_CTX *ssl = ctx->ssl[i];
		int rc = pair_use(ssl, &p->pairs[i], &ctx->certs[i], err);
		if (rc < 0)
			return rc;
		SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
		SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"knarr", 5);
		if (p->no_resumption) {
			SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
			SSL_CTX_set_num_tickets(ssl, 0);
		} else {
			SSL_CTX_set_num_tickets(ssl, 1);
		}
		if (ctx->alpn_len)
			SSL_CTX_set_alpn_select_cb(ssl, alpn_choose, ctx);
		if (p->n_pairs > 1) {
			SSL_CTX_set_tlsext_servername_callback(ssl, sni_choose);
			SSL_CTX_set_tlsext_servername_arg(ssl, ctx);
		}
		if (p->client_auth == TLS_CLIENT_NONE) {
			chain_keep(ssl);
			continue;
		}
		STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
		SSL_CTX_set_client_CA_list(ssl, names); /* takes it */
		rc = bundle_use(ssl, p->client_ca_pem, p->client_ca_where, names, err);
		if (rc < 0)
			return rc;
		chain_keep(ssl);
		int mode = SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE;
		if (p->client_auth == TLS_CLIENT_REQUIRED)
			mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
		SSL_CTX_set_verify(ssl, mode, p->client_auth == TLS_CLIENT_ASK ? verify_later : NULL);
		SSL_CTX_set_verify_depth(ssl, 8);
	}
	*out_ctx = take(&ctx);
	return 0;
}

/* ---- client ---- */

int tls_client_new(const struct tls_client_params *p, struct tls_ctx **out_ctx, struct err *err)
{
	ERR_clear_error();
	auto_cleanup(auto_tls_ctx_) struct tls_ctx *ctx = ctx_new(false, 1);
	SSL_CTX *ssl = ctx->ssl[0];
	ctx->alpn_len = tls_alpn_wire(p->alpn, ctx->alpn, sizeof(ctx->alpn));
	if (ctx->alpn_len && SSL_CTX_set_alpn_protos(ssl, ctx->alpn, ctx->alpn_len) != 0)
		abort();
	if (p->ca_pem.len) {
		int rc = bundle_use(ssl, p->ca_pem, p->ca_where, NULL, err);
		if (rc < 0)
			return rc;
	} else if (!p->insecure && SSL_CTX_set_default_verify_paths(ssl) != 1) {
		return err_set(err, ERR_IO, "the system's certificate store: %s", tls_reason());
	}
	if (p->pair) {
		int rc = pair_use(ssl, p->pair, NULL, err);
		if (rc < 0)
			return rc;
		chain_keep(ssl);
	}
	SSL_CTX_set_verify(ssl, p->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ssl, tls_session_came);
	*out_ctx = take(&ctx);
	return 0;
}

/* ---- life ---- */

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx)
{
	atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
	return ctx;
}

void tls_ctx_unref(struct tls_ctx *ctx)
{
	if (!ctx || atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) != 1)
		return;
	MAP_EACH(&ctx->sessions, e) {
		struct tls_session *s = e->value;
		SSL_SESSION_free(s->session);
		free(s);
	}
	map_done(&ctx->sessions);
	for (size_t i = 0; i < ctx->n_ssl; i++) {
		SSL_CTX_free(ctx->ssl[i]);
		tls_peer_unref(ctx->certs[i]);
	}
	free(ctx->ssl);
	free(ctx->certs);
	pthread_mutex_destroy(&ctx->lock);
	free(ctx);
}

void tls_slot_init(struct tls_slot *slot)
{
	pthread_mutex_init(&slot->lock, NULL);
	slot->ctx = NULL;
}

void tls_slot_done(struct tls_slot *slot)
{
	tls_slot_put(slot, NULL);
	pthread_mutex_destroy(&slot->lock);
}

void tls_slot_put(struct tls_slot *slot, struct tls_ctx *ctx)
{
	pthread_mutex_lock(&slot->lock);
	struct tls_ctx *old = slot->ctx;
	slot->ctx = ctx;
	pthread_mutex_unlock(&slot->lock);
	tls_ctx_unref(old);
}

struct tls_ctx *tls_slot_get(struct tls_slot *slot)
{
	pthread_mutex_lock(&slot->lock);
	struct tls_ctx *ctx = slot->ctx ? tls_ctx_ref(slot->ctx) : NULL;
	pthread_mutex_unlock(&slot->lock);
	return ctx;
}
