/* Keys, signatures in JOSE form, hashes. */
#include "tls/tls_impl.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>

/* ---- keys ---- */

const char *tls_alg_name(enum tls_alg alg)
{
	static const char *const names[TLS_ALG_COUNT] = { [TLS_ES256] = "ES256", [TLS_RS256] = "RS256" };
	return names[alg];
}

static struct tls_key *key_of(EVP_PKEY *pkey, enum tls_alg alg, bool private)
{
	struct tls_key *k = mem_new(struct tls_key);
	*k = (struct tls_key){ .refs = 1, .pkey = pkey, .alg = alg, .private = private };
	return k;
}

int tls_key_new(enum tls_alg alg, struct tls_key **out_key, struct err *err)
{
	ERR_clear_error();
	EVP_PKEY *pkey = alg == TLS_ES256 ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
	if (!pkey)
		return err_set(err, ERR_INTERNAL, "making a key: %s", tls_reason());
	*out_key = key_of(pkey, alg, true);
	return 0;
}

int tls_key_read(struct span pem, const char *where, struct tls_key **out_key, struct err *err)
{
	ERR_clear_error();
	bool private = span_has(pem, SPAN("PRIVATE KEY-----"));
	auto_bio BIO *bio = tls_pem_bio(pem);
	auto_pkey EVP_PKEY *pkey = NULL;
	if (private) {
		pkey = PEM_read_bio_PrivateKey(bio, NULL, tls_no_passphrase, NULL);
	} else if (span_has(pem, SPAN("-----BEGIN CERTIFICATE-----"))) {
		auto_x509 X509 *x = PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL);
		pkey = x ? X509_get_pubkey(x) : NULL;
	} else {
		pkey = PEM_read_bio_PUBKEY(bio, NULL, tls_no_passphrase, NULL);
	}
	if (!pkey)
		return tls_pem_err(err, pem, where, 0, private ? "private key" : "public key");
	enum tls_alg alg;
	char group[32] = "";
	if (EVP_PKEY_is_a(pkey, "RSA") && EVP_PKEY_get_bits(pkey) >= 2048) {
		alg = TLS_RS256;
	} else if (EVP_PKEY_is_a(pkey, "EC") && EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) == 1 &&
		!strcmp(group, "prime256v1")) {
		alg = TLS_ES256;
	} else {
		return err_set(err, ERR_INVALID, "%s: this kind of key is not supported (P-256 and RSA from 2048 bits are): %s %s",
			where ? where : "PEM", EVP_PKEY_get0_type_name(pkey), group);
	}
	*out_key = key_of(pkey, alg, private);
	pkey = NULL;
	return 0;
}

struct tls_key *tls_key_ref(struct tls_key *k)
{
	atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
	return k;
}

void tls_key_unref(struct tls_key *k)
{
	if (!k || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1)
		return;
	EVP_PKEY_free(k->pkey);
	free(k);
}

enum tls_alg tls_key_alg(const struct tls_key *k)
{
	return k->alg;
}

bool tls_key_is_private(const struct tls_key *k)
{
	return k->private;
}

bool tls_key_same(const struct tls_key *a, const struct tls_key *b)
{
	bool same = EVP_PKEY_eq(a->pkey, b->pkey) == 1;
	ERR_clear_error();
	return same;
}

int tls_key_private_pem(const struct tls_key *k, struct buf *out, struct err *err)
{
	if (!k->private)
		return err_set(err, ERR_INVALID, "this key has no private half");
	auto_bio BIO *mem = BIO_new(BIO_s_secmem());
	if (!mem || PEM_write_bio_PKCS8PrivateKey(mem, k->pkey, NULL, NULL, 0, NULL, NULL) != 1)
		return err_set(err, ERR_INTERNAL, "writing a private key: %s", tls_reason());
	tls_bio_take(mem, out);
	return 0;
}

int tls_key_public_pem(const struct tls_key *k, struct buf *out, struct err *err)
{
	auto_bio BIO *mem = BIO_new(BIO_s_mem());
	if (!mem || PEM_write_bio_PUBKEY(mem, k->pkey) != 1)
		return err_set(err, ERR_INTERNAL, "writing a public key: %s", tls_reason());
	tls_bio_take(mem, out);
	return 0;
}

int tls_key_save(const struct tls_key *k, int dirfd, const char *name, struct err *err)
{
	auto_buf struct buf pem = {};
	int rc = tls_key_private_pem(k, &pem, err);
	if (rc == 0)
		rc = io_write_file(dirfd, name, buf_span(&pem), 0600, err);
	if (pem.ptr)
		OPENSSL_cleanse(pem.ptr, pem.cap);
	return rc;
}

/* ---- signatures ---- */

int tls_sign(const struct tls_key *k, struct span data, struct buf *out_sig, struct err *err)
{
	ERR_clear_error();
	unsigned char sig[512];
	size_t len = sizeof(sig);
	auto_md EVP_MD_CTX *md = EVP_MD_CTX_new();
	if (!k->private)
		return err_set(err, ERR_INVALID, "signing needs a private key");
	if (!md || EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, k->pkey) != 1 ||
	    EVP_PKEY_get_size(k->pkey) > (int)sizeof(sig) ||
	    EVP_DigestSign(md, sig, &len, (const unsigned char *)data.ptr, data.len) != 1)
		return err_set(err, ERR_INTERNAL, "signing: %s", tls_reason());
	if (k->alg == TLS_RS256) {
		buf_add(out_sig, sig, len);
		return 0;
	}
	const unsigned char *p = sig;
	ECDSA_SIG *ec = d2i_ECDSA_SIG(NULL, &p, (long)len);
	unsigned char raw[64];
	if (!ec || BN_bn2binpad(ECDSA_SIG_get0_r(ec), raw, 32) != 32 || BN_bn2binpad(ECDSA_SIG_get0_s(ec), raw + 32, 32) != 32)
		abort();
	ECDSA_SIG_free(ec);
	buf_add(out_sig, raw, sizeof(raw));
	return 0;
}

bool tls_verify(const struct tls_key *k, struct span data, struct span sig)
{
	ERR_clear_error();
	unsigned char *der = NULL;
	int der_len = 0;
	if (k->alg == TLS_ES256) {
		if (sig.len != 64)
			return false;
		const unsigned char *raw = (const unsigned char *)sig.ptr;
		ECDSA_SIG *ec = ECDSA_SIG_new();
		BIGNUM *r = BN_bin2bn(raw, 32, NULL), *s = BN_bin2bn(raw + 32, 32, NULL);
		if (!ec || !r || !s)
			abort();
		ECDSA_SIG_set0(ec, r, s);
		der_len = i2d_ECDSA_SIG(ec, &der);
		ECDSA_SIG_free(ec);
		if (der_len <= 0)
			return false;
		sig = span_make(der, (size_t)der_len);
	}
	auto_md EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool good = md && EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, k->pkey) == 1 &&
		EVP_DigestVerify(md, (const unsigned char *)sig.ptr, sig.len, (const unsigned char *)data.ptr, data.len) == 1;
	OPENSSL_free(der);
	ERR_clear_error();
	return good;
}

static void jwk_number(const struct tls_key *k, const char *param, int pad, struct buf *out)
{
	BIGNUM *n = NULL;
	if (EVP_PKEY_get_bn_param(k->pkey, param, &n) != 1)
		abort();
	int len = pad ? pad : BN_num_bytes(n);
	unsigned char *bytes = mem_alloc((size_t)len);
	if (BN_bn2binpad(n, bytes, len) != len)
		abort();
	base64_add(out, BASE64_URL_RAW, bytes, (size_t)len);
	free(bytes);
	BN_free(n);
}

void tls_key_jwk(const struct tls_key *k, struct buf *out)
{
	if (k->alg == TLS_ES256) {
		buf_str(out, "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"");
		jwk_number(k, OSSL_PKEY_PARAM_EC_PUB_X, 32, out);
		buf_str(out, "\",\"y\":\"");
		jwk_number(k, OSSL_PKEY_PARAM_EC_PUB_Y, 32, out);
	} else {
		buf_str(out, "\"kty\":\"RSA\",\"n\":\"");
		jwk_number(k, OSSL_PKEY_PARAM_RSA_N, 0, out);
		buf_str(out, "\",\"e\":\"");
		jwk_number(k, OSSL_PKEY_PARAM_RSA_E, 0, out);
	}
	buf_chr(out, '"');
}

void tls_key_id(const struct tls_key *k, struct buf *out)
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(k->pkey, &der);
	if (len <= 0)
		abort();
	uint8_t sum[32];
	tls_sha256(span_make(der, (size_t)len), sum);
	OPENSSL_free(der);
	base64_add(out, BASE64_URL_RAW, sum, sizeof(sum));
}

/* ---- hashes ---- */

struct hashing {
	EVP_MD_CTX *md;   /* one of the two */
	EVP_MAC_CTX *mac;
};

static EVP_MD *sha256;  /* fetched once: EVP_sha256() would look it up by name at each use */
static EVP_MAC *hmac;

static void fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (!sha256 || !hmac)
		abort();
}

static struct hashing *hashing_new(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, fetch);
	return mem_new(struct hashing);
}

void tls_sha256_begin(struct tls_hash *h)
{
	struct hashing *s = hashing_new();
	s->md = EVP_MD_CTX_new();
	if (!s->md || EVP_DigestInit_ex2(s->md, sha256, NULL) != 1)
		abort();
	h->state = s;
}

void tls_hmac256_begin(struct tls_hash *h, struct span key)
{
	struct hashing *s = hashing_new();
	char digest[] = "SHA256";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end() };
	s->mac = EVP_MAC_CTX_new(hmac);
	const unsigned char *bytes = key.len ? (const unsigned char *)key.ptr : (const unsigned char *)"";
	if (!s->mac || EVP_MAC_init(s->mac, bytes, key.len, params) != 1)
		abort();
	h->state = s;
}

void tls_hash_add(struct tls_hash *h, const void *data, size_t len)
{
	struct hashing *s = h->state;
	int ok = s->md ? EVP_DigestUpdate(s->md, data, len) : EVP_MAC_update(s->mac, data, len);
	assert(ok == 1);
}

void tls_hash_end(struct tls_hash *h, uint8_t out[32])
{
	struct hashing *s = h->state;
	size_t len = 32;
	int ok = s->md ? EVP_DigestFinal_ex(s->md, out, NULL) : EVP_MAC_final(s->mac, out, &len, 32);
	assert(ok == 1);
	tls_hash_done(h);
}

void tls_hash_done(struct tls_hash *h)
{
	struct hashing *s = h->state;
	if (!s)
		return;
	EVP_MD_CTX_free(s->md);
	EVP_MAC_CTX_free(s->mac);
	free(s);
	h->state = NULL;
}

void tls_sha256(struct span data, uint8_t out[32])
{
	struct tls_hash h;
	tls_sha256_begin(&h);
	tls_hash_add(&h, data.ptr, data.len);
	tls_hash_end(&h, out);
}

void tls_hmac256(struct span key, struct span data, uint8_t out[32])
{
	struct tls_hash h;
	tls_hmac256_begin(&h, key);
	tls_hash_add(&h, data.ptr, data.len);
	tls_hash_end(&h, out);
}

bool tls_equal(struct span a, struct span b)
{
	return a.len == b.len && CRYPTO_memcmp(a.ptr ? a.ptr : "", b.ptr ? b.ptr : "", a.len) == 0;
}
