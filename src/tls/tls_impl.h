/* What the files of tls share. Private. */
#pragma once

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include "tls/tls.h"

struct tls_ctx {
	_Atomic uint32_t refs;
	bool server;
	SSL_CTX **ssl;          /* owned; one per pair, [0] the default */
	struct tls_peer **certs; /* owned; the leaf of each pair, for SNI */
	size_t n_ssl;
	uint8_t alpn[64];       /* wire form, in order of preference */
	unsigned alpn_len;
	pthread_mutex_t lock;   /* of sessions: a client context is shared by threads */
	struct map sessions;    /* client: server name → struct tls_session */
};

/* What a server gave a client for resumption. */
struct tls_session {
	SSL_SESSION *session; /* owned */
	char name[];          /* key of the map */
};

struct tls_key {
	_Atomic uint32_t refs;
	EVP_PKEY *pkey;
	enum tls_alg alg;
	bool private;
};

#define TLS_CLEAN(name, type, release)                                                                                 \
	static inline void clean_##name(type **p)                                                                      \
	{                                                                                                              \
		release(*p);                                                                                           \
	}
TLS_CLEAN(bio, BIO, BIO_free_all)
TLS_CLEAN(x509, X509, X509_free)
TLS_CLEAN(req, X509_REQ, X509_REQ_free)
TLS_CLEAN(pkey, EVP_PKEY, EVP_PKEY_free)
TLS_CLEAN(md, EVP_MD_CTX, EVP_MD_CTX_free)
#define auto_bio auto_cleanup(clean_bio)
#define auto_x509 auto_cleanup(clean_x509)
#define auto_req auto_cleanup(clean_req)
#define auto_pkey auto_cleanup(clean_pkey)
#define auto_md auto_cleanup(clean_md)

int tls_session_came(SSL *ssl, SSL_SESSION *session); /* callback of client contexts */

/* Protocol names in the form of RFC 7301 section 3.1; returns its length. */
unsigned tls_alpn_wire(const char *const *alpn, uint8_t *out, unsigned cap);
/* The words of OpenSSL's oldest queued error (the cause; later ones are wrappers); empties the queue. */
const char *tls_reason(void);
/* "file.pem line 12: what: reason" for the PEM block that begins at or after offset `from`. */
int tls_pem_err(struct err *err, struct span pem, const char *where, size_t from, const char *what);
/* A reader of PEM text; asks for no pass phrase. */
BIO *tls_pem_bio(struct span pem);
int tls_no_passphrase(char *buf, int size, int rwflag, void *arg);
/* A peer description from a certificate; the other fields of the result (verified) are the caller's. */
struct tls_peer *tls_peer_of(X509 *x);
void tls_bio_take(BIO *mem, struct buf *out);
