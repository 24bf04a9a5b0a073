/* TLS 1.2 and 1.3 over OpenSSL 3, and what else the house needs of it: keys, certificates, signatures, hashes.
 *
 * A context (struct tls_ctx) is immutable and counted: made once from PEM texts, shared by any number of threads. New
 * certificates make a new context that is put in a slot; connections begun before keep the one they began with. A
 * connection belongs to one thread and does no I/O of its own: it reads and writes through two functions
 * of its owner, so it can be driven by a loop, by a test or by a fuzzer.
 *
 * Memory: an idle connection holds OpenSSL's own state only (no record buffers).
 * Errors name the file, the line of the PEM text and OpenSSL's reason; peers' mistakes are UPSTREAM (client side: with
 * the verification result) or INVALID_REQUEST (server side).
 *
 *     struct tls_pair pair = { cert_pem, key_pem, "apiserver.crt", "apiserver.key" };
 *     struct tls_server_params p = { .pairs = &pair, .n_pairs = 1, .alpn = TLS_ALPN_HTTP, .client_auth = TLS_CLIENT_ASK,
 *                                    .client_ca_pem = ca, .client_ca_where = "ca.crt" };
 *     if (tls_server_new(&p, &ctx, &err) < 0) ...
 *     tls_slot_put(&slot, ctx);                  // the slot takes the reference */
#pragma once

#include <pthread.h>
#include "base/base.h"

struct tls_ctx;
struct tls_conn;
struct tls_key;

/* ---- contexts ---- */

/* One certificate chain (leaf first) and its key. With a leaf alone, what leads from it to a CA of the context (the server's
 * client_ca_pem, the client's ca_pem) is sent too, as it was when the context was made (decision 0813). The where fields name the
 * sources in errors and may be NULL. */
struct tls_pair {
	struct span cert_pem, key_pem;
	const char *cert_where, *key_where;
};

enum tls_client_auth {
	TLS_CLIENT_NONE,     /* no certificate is asked for */
	TLS_CLIENT_ASK,      /* asked for; the handshake goes on whatever comes: see tls_peer.verified */
	TLS_CLIENT_OPTIONAL, /* none is fine, a bad one ends the handshake */
	TLS_CLIENT_REQUIRED, /* a good one or no connection */
};

extern const char *const TLS_ALPN_HTTP[];  /* h2, http/1.1 */
extern const char *const TLS_ALPN_HTTP1[]; /* http/1.1 */
extern const char *const TLS_ALPN_H2[];    /* h2 */

struct tls_server_params {
	const struct tls_pair *pairs; /* the first is the default; another is chosen when SNI fits one of its DNS names */
	size_t n_pairs;
	struct span client_ca_pem;    /* bundle; needed for every client_auth but NONE */
	const char *client_ca_where;
	enum tls_client_auth client_auth;
	const char *const *alpn;      /* NULL-ended, in order of preference; NULL = no ALPN. A client that offers
	                               * only others is refused (RFC 7301 section 3.2); one that offers none is served. */
	bool no_resumption;           /* tickets are on unless set */
};
int tls_server_new(const struct tls_server_params *p, struct tls_ctx **out_ctx, struct err *err);

struct tls_client_params {
	struct span ca_pem;           /* bundle; empty = the system's store */
	const char *ca_where;
	const struct tls_pair *pair;  /* own certificate; NULL = none */
	const char *const *alpn;
	bool insecure;                /* take any certificate (a person asked for it) */
};
int tls_client_new(const struct tls_client_params *p, struct tls_ctx **out_ctx, struct err *err);

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
void tls_ctx_unref(struct tls_ctx *ctx); /* accepts NULL */
AUTO_DEFINE(tls_ctx, struct tls_ctx *, tls_ctx_unref)

/* The place where the current context is found; any thread. */
struct tls_slot {
	pthread_mutex_t lock;
	struct tls_ctx *ctx; /* owned */
};
void tls_slot_init(struct tls_slot *slot);
void tls_slot_done(struct tls_slot *slot);
void tls_slot_put(struct tls_slot *slot, struct tls_ctx *ctx); /* takes the reference over */
struct tls_ctx *tls_slot_get(struct tls_slot *slot);           /* a reference, or NULL */

/* ---- connections ---- */

/* How a connection reaches its peer. Both return the number of bytes (> 0), 0 for the peer's end (read only), or a
 * negative errno; -EAGAIN = call me again when there is more (room). */
struct tls_io {
	ptrdiff_t (*read)(void *arg, void *out, size_t cap);
	ptrdiff_t (*write)(void *arg, const void *data, size_t len);
	void *arg;
};

/* Results of the calls below beside a count or a negative class. */
enum { TLS_WANT_READ = -1001, TLS_WANT_WRITE = -1002 };

int tls_accept_new(struct tls_ctx *ctx, const struct tls_io *io, struct tls_conn **out_conn, struct err *err);
/* server_name is sent as SNI (unless it is an address) and checked against the certificate; NULL = neither. The
 * session of an earlier connection to the same name on this context is resumed when there is one. */
int tls_connect_new(struct tls_ctx *ctx, const struct tls_io *io, const char *server_name, struct tls_conn **out_conn,
	struct err *err);
/* Offers these protocols instead of the context's; client side, before the handshake. */
void tls_alpn_set(struct tls_conn *c, const char *const *alpn);
/* The connection moves to another owner, between two calls. */
void tls_io_set(struct tls_conn *c, const struct tls_io *io);
void tls_conn_free(struct tls_conn *c); /* accepts NULL; sends nothing */

/* 0 when done, TLS_WANT_x, or -class. Call first, and again when the wanted side is ready. */
int tls_handshake(struct tls_conn *c, struct err *err);
/* Bytes read (> 0), 0 after the peer's close_notify, TLS_WANT_x, or -class. An end without close_notify is UPSTREAM /
 * INVALID_REQUEST: a cut-off must not pass for an end. */
ptrdiff_t tls_read(struct tls_conn *c, void *out, size_t cap, struct err *err);
/* Bytes taken (> 0), TLS_WANT_x or -class. After TLS_WANT_x call again with the same bytes at least (they may have
 * moved). */
ptrdiff_t tls_write(struct tls_conn *c, const void *data, size_t len, struct err *err);
/* Ends our sending side (close_notify); reading goes on. 0, TLS_WANT_WRITE or -class. */
int tls_end(struct tls_conn *c, struct err *err);

struct span tls_conn_alpn(const struct tls_conn *c);       /* "h2", "http/1.1" or empty */
const char *tls_conn_version(const struct tls_conn *c);    /* "TLSv1.3" */
bool tls_conn_resumed(const struct tls_conn *c);
struct span tls_conn_sni(const struct tls_conn *c);        /* server side; empty when the client named none */

/* What a certificate says. Immutable and counted, like bytes; all texts are owned by it. */
struct tls_peer {
	_Atomic uint32_t refs;
	bool verified;          /* chain leads to the bundle and all else is in order */
	const char *why_not;    /* verification's words when not */
	const char *cn;         /* subject CN, "" for none */
	const char **orgs;      /* subject O, in order */
	const char **dns_names; /* subject alternative names */
	const char **ips;       /* printable */
	const char **uris;
	unsigned n_orgs, n_dns_names, n_ips, n_uris;
	const char *subject;    /* RFC 2253 */
	const char *issuer;
	const char *serial;     /* hex */
	int64_t not_before_s, not_after_s;
	bool is_ca;
	uint8_t sha256[32];     /* of the DER form */
	struct bytes *der;
	struct arena arena;     /* private */
};
/* The peer's certificate as a reference (kept by the connection as well), or NULL. */
struct tls_peer *tls_conn_peer(struct tls_conn *c);
void tls_peer_unref(struct tls_peer *p); /* accepts NULL */
struct tls_peer *tls_peer_ref(struct tls_peer *p);
AUTO_DEFINE(tls_peer, struct tls_peer *, tls_peer_unref)
/* The first certificate of a PEM text, unverified. */
int tls_cert_read(struct span pem, const char *where, struct tls_peer **out_peer, struct err *err);

/* ---- keys and certificates ---- */

enum tls_alg { TLS_ES256, TLS_RS256, TLS_ALG_COUNT };

int tls_key_new(enum tls_alg alg, struct tls_key **out_key, struct err *err); /* P-256, or RSA of 2048 bits */
/* A private key (PKCS 8, SEC 1, PKCS 1), a public key or a certificate's key from PEM. P-256 and RSA from 2048 bits. */
int tls_key_read(struct span pem, const char *where, struct tls_key **out_key, struct err *err);
struct tls_key *tls_key_ref(struct tls_key *k);
void tls_key_unref(struct tls_key *k); /* accepts NULL */
AUTO_DEFINE(tls_key, struct tls_key *, tls_key_unref)
enum tls_alg tls_key_alg(const struct tls_key *k);
const char *tls_alg_name(enum tls_alg alg); /* "ES256" */
bool tls_key_is_private(const struct tls_key *k);
bool tls_key_same(const struct tls_key *a, const struct tls_key *b); /* the same public key */
int tls_key_private_pem(const struct tls_key *k, struct buf *out, struct err *err); /* PKCS 8 */
int tls_key_public_pem(const struct tls_key *k, struct buf *out, struct err *err);  /* SubjectPublicKeyInfo */
/* Writes the private key, mode 0600, atomically. */
int tls_key_save(const struct tls_key *k, int dirfd, const char *name, struct err *err);

enum tls_cert_kind { TLS_CERT_CA, TLS_CERT_SERVER, TLS_CERT_CLIENT, TLS_CERT_BOTH };

struct tls_cert_params {
	enum tls_cert_kind kind;
	const char *cn;
	const char *const *orgs;      /* NULL-ended or NULL */
	const char *const *dns_names; /* likewise */
	const char *const *ips;       /* textual addresses */
	const char *const *uris;
	int64_t not_before_s, not_after_s; /* Unix time; the serial number is 127 random bits */
};
/* Makes a certificate for the public half of key, signed by issuer_key in the name of issuer_pem's first certificate
 * (both NULL / empty: signed by itself). Appends PEM. */
int tls_cert_make(const struct tls_cert_params *p, const struct tls_key *key, struct span issuer_pem,
	const struct tls_key *issuer_key, struct buf *out_pem, struct err *err);

/* A certificate request (PKCS 10): make one, and read one whose signature is in order. What it asks for comes as a
 * tls_peer (names only), its key apart. */
int tls_csr_make(const struct tls_cert_params *p, const struct tls_key *key, struct buf *out_pem, struct err *err);
int tls_csr_read(struct span pem, const char *where, struct tls_peer **out_asked, struct tls_key **out_key,
	struct err *err);

/* The names that a certificate request asks for, whatever its key and signature are worth. */
int tls_csr_names(struct span pem, const char *where, struct tls_peer **out_asked, struct err *err);

/* ---- signatures, hashes ---- */

/* Signs in JOSE form: ES256 gives r and s, 32 bytes each (RFC 7518 section 3.4), RS256 PKCS 1 v1.5 (section 3.3).
 * Appends. */
int tls_sign(const struct tls_key *k, struct span data, struct buf *out_sig, struct err *err);
bool tls_verify(const struct tls_key *k, struct span data, struct span sig);
/* The public key's members as JSON text without braces: "kty":"EC","crv":"P-256","x":"..","y":"..", or kty, n and e. */
void tls_key_jwk(const struct tls_key *k, struct buf *out);
/* The key id that Kubernetes uses: unpadded base64url of the SHA-256 of the DER public key. Appends 43 characters. */
void tls_key_id(const struct tls_key *k, struct buf *out);

struct tls_hash {
	void *state; /* owned; NULL = not begun */
};
void tls_sha256_begin(struct tls_hash *h);
void tls_hmac256_begin(struct tls_hash *h, struct span key);
void tls_hash_add(struct tls_hash *h, const void *data, size_t len);
void tls_hash_end(struct tls_hash *h, uint8_t out[32]); /* gives back all it holds */
void tls_hash_done(struct tls_hash *h);                 /* the same for one that is given up; harmless after end */
#define auto_tls_hash auto_cleanup(tls_hash_done)
void tls_sha256(struct span data, uint8_t out[32]);
void tls_hmac256(struct span key, struct span data, uint8_t out[32]);
/* Compares in a time that depends on the lengths alone. */
bool tls_equal(struct span a, struct span b);
