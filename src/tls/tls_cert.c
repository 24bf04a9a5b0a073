/* Certificates: reading what they say, making them, and requests for them (PKCS 10).
 *
 * Names are built as ASN.1 values, never as OpenSSL's configuration text: a comma or a line break in a name would be
 * a second name there. */
#include "tls/tls_impl.h"

#include <arpa/inet.h>
#include <openssl/rand.h>

/* ---- reading ---- */

struct names {
	const char **items;
	unsigned n, cap;
};

static void names_add(struct names *names, const char *s)
{
	MEM_GROW(names->items, names->n, names->cap);
	names->items[names->n++] = s;
}

static void names_move(struct arena *a, struct names *from, const char ***out, unsigned *out_n)
{
	*out = arena_alloc_n(a, from->n + 1, sizeof(char *));
	if (from->n)
		memcpy(*out, from->items, from->n * sizeof(char *));
	(*out)[from->n] = NULL;
	*out_n = from->n;
	free(from->items);
}

/* An ASN.1 string as UTF-8 text; what cannot be one, or holds a NUL that would cut it short, becomes "". */
static const char *text_of(struct arena *a, const ASN1_STRING *s)
{
	unsigned char *utf8 = NULL;
	int len = ASN1_STRING_to_UTF8(&utf8, s);
	const char *text = "";
	if (len >= 0 && !memchr(utf8, 0, (size_t)len))
		text = arena_copy(a, utf8, (size_t)len);
	OPENSSL_free(utf8);
	ERR_clear_error();
	return text;
}

static const char *name_print(struct arena *a, const X509_NAME *name)
{
	auto_bio BIO *out = BIO_new(BIO_s_mem());
	if (!out)
		abort();
	X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
	char *text;
	long len = BIO_get_mem_data(out, &text);
	return arena_copy(a, text, len > 0 ? (size_t)len : 0);
}

static void subject_read(struct tls_peer *p, const X509_NAME *name)
{
	struct arena *a = &p->arena;
	struct names orgs = {};
	p->cn = "";
	for (int i = 0; i < X509_NAME_entry_count(name); i++) {
		const X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
		int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
		if (nid == NID_commonName) /* the last one counts, as in Go */
			p->cn = text_of(a, X509_NAME_ENTRY_get_data(e));
		else if (nid == NID_organizationName)
			names_add(&orgs, text_of(a, X509_NAME_ENTRY_get_data(e)));
	}
	names_move(a, &orgs, &p->orgs, &p->n_orgs);
	p->subject = name_print(a, name);
}

static void alt_names_read(struct tls_peer *p, const GENERAL_NAMES *list)
{
	struct arena *a = &p->arena;
	struct names dns = {}, ips = {}, uris = {};
	for (int i = 0; list && i < sk_GENERAL_NAME_num(list); i++) {
		int type;
		const ASN1_STRING *v = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(list, i), &type);
		char text[INET6_ADDRSTRLEN];
		switch (type) {
		case GEN_DNS:
			names_add(&dns, text_of(a, v));
			break;
		case GEN_URI:
			names_add(&uris, text_of(a, v));
			break;
		case GEN_IPADD: {
			int len = ASN1_STRING_length(v);
			if ((len == 4 || len == 16) &&
			    inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(v), text, sizeof(text)))
				names_add(&ips, arena_copy(a, text, strlen(text)));
			break;
		}
		}
	}
	names_move(a, &dns, &p->dns_names, &p->n_dns_names);
	names_move(a, &ips, &p->ips, &p->n_ips);
	names_move(a, &uris, &p->uris, &p->n_uris);
}

static int64_t unix_of(const ASN1_TIME *t)
{
	struct tm tm;
	if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
		return 0;
	return timegm(&tm);
}

static struct tls_peer *peer_new(void)
{
	struct tls_peer *p = mem_new(struct tls_peer);
	p->refs = 1;
	p->issuer = p->serial = p->subject = p->cn = "";
	return p;
}

struct tls_peer *tls_peer_of(X509 *x)
{
	struct tls_peer *p = peer_new();
	subject_read(p, X509_get_subject_name(x));
	GENERAL_NAMES *alt = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	alt_names_read(p, alt);
	GENERAL_NAMES_free(alt);
	p->issuer = name_print(&p->arena, X509_get_issuer_name(x));
	BIGNUM *serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	char *hex = serial ? BN_bn2hex(serial) : NULL;
	if (hex)
		p->serial = arena_copy(&p->arena, hex, strlen(hex));
	OPENSSL_free(hex);
	BN_free(serial);
	p->not_before_s = unix_of(X509_get0_notBefore(x));
	p->not_after_s = unix_of(X509_get0_notAfter(x));
	p->is_ca = X509_check_ca(x) == 1;
	unsigned char *der = NULL;
	int len = i2d_X509(x, &der);
	if (len < 0)
		abort();
	p->der = bytes_new(der, (size_t)len);
	tls_sha256(bytes_span(p->der), p->sha256);
	OPENSSL_free(der);
	ERR_clear_error();
	return p;
}

struct tls_peer *tls_peer_ref(struct tls_peer *p)
{
	if (p)
		atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

void tls_peer_unref(struct tls_peer *p)
{
	if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
		return;
	bytes_unref(p->der);
	arena_done(&p->arena);
	free(p);
}

int tls_cert_read(struct span pem, const char *where, struct tls_peer **out_peer, struct err *err)
{
	ERR_clear_error();
	auto_bio BIO *bio = tls_pem_bio(pem);
	auto_x509 X509 *x = PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL);
	if (!x)
		return tls_pem_err(err, pem, where, 0, "certificate");
	*out_peer = tls_peer_of(x);
	return 0;
}

/* ---- making ---- */

static int name_fill(X509_NAME *name, const struct tls_cert_params *p, struct err *err)
{
	/* O before CN, as Go writes a subject. */
	for (const char *const *o = p->orgs; o && *o; o++)
		if (X509_NAME_add_entry_by_NID(name, NID_organizationName, MBSTRING_UTF8, (const unsigned char *)*o, -1, -1,
			0) != 1)
			return err_set(err, ERR_INVALID, "organization \"%s\" does not fit a certificate: %s", *o, tls_reason());
	if (p->cn && *p->cn &&
	    X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (const unsigned char *)p->cn, -1, -1, 0) != 1)
		return err_set(err, ERR_INVALID, "common name \"%s\" does not fit a certificate: %s", p->cn, tls_reason());
	return 0;
}

static void alt_add(GENERAL_NAMES *list, int type, const void *data, size_t len)
{
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_STRING *s = type == GEN_IPADD ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
	if (!g || !s || ASN1_STRING_set(s, data, (int)len) != 1)
		abort();
	GENERAL_NAME_set0_value(g, type, s);
	if (!sk_GENERAL_NAME_push(list, g))
		abort();
}

static bool ia5(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 0x7f)
			return false;
	return true;
}

static int alt_fill(GENERAL_NAMES *list, const struct tls_cert_params *p, struct err *err)
{
	for (const char *const *d = p->dns_names; d && *d; d++) {
		if (!**d || !ia5(*d))
			return err_set(err, ERR_INVALID, "\"%s\" cannot be a certificate's DNS name", *d);
		alt_add(list, GEN_DNS, *d, strlen(*d));
	}
	for (const char *const *i = p->ips; i && *i; i++) {
		unsigned char addr[16];
		if (inet_pton(AF_INET, *i, addr) == 1)
			alt_add(list, GEN_IPADD, addr, 4);
		else if (inet_pton(AF_INET6, *i, addr) == 1)
			alt_add(list, GEN_IPADD, addr, 16);
		else
			return err_set(err, ERR_INVALID, "\"%s\" is not an IP address", *i);
	}
	for (const char *const *u = p->uris; u && *u; u++) {
		if (!**u || !ia5(*u))
			return err_set(err, ERR_INVALID, "\"%s\" cannot be a certificate's URI", *u);
		alt_add(list, GEN_URI, *u, strlen(*u));
	}
	return 0;
}

static void ext_add(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX v3;
	X509V3_set_ctx(&v3, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &v3, nid, value); /* constant texts only */
	if (!e || X509_add_ext(x, e, -1) != 1)
		abort();
	X509_EXTENSION_free(e);
}

static void exts_add(X509 *x, X509 *issuer, enum tls_cert_kind kind)
{
	bool ca = kind == TLS_CERT_CA;
	ext_add(x, issuer, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	ext_add(x, issuer, NID_key_usage,
		ca ? "critical,digitalSignature,keyCertSign,cRLSign" : "critical,digitalSignature,keyEncipherment");
	ext_add(x, issuer, NID_subject_key_identifier, "hash");
	if (issuer != x)
		ext_add(x, issuer, NID_authority_key_identifier, "keyid:always");
	if (kind == TLS_CERT_SERVER)
		ext_add(x, issuer, NID_ext_key_usage, "serverAuth");
	else if (kind == TLS_CERT_CLIENT)
		ext_add(x, issuer, NID_ext_key_usage, "clientAuth");
	else if (kind == TLS_CERT_BOTH)
		ext_add(x, issuer, NID_ext_key_usage, "serverAuth,clientAuth");
}

void tls_bio_take(BIO *mem, struct buf *out)
{
	char *text;
	long len = BIO_get_mem_data(mem, &text);
	buf_add(out, text, (size_t)len);
}

int tls_cert_make(const struct tls_cert_params *p, const struct tls_key *key, struct span issuer_pem,
	const struct tls_key *issuer_key, struct buf *out_pem, struct err *err)
{
	ERR_clear_error();
	auto_x509 X509 *issuer = NULL;
	if (issuer_pem.len) {
		auto_bio BIO *bio = tls_pem_bio(issuer_pem);
		issuer = PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL);
		if (!issuer)
			return tls_pem_err(err, issuer_pem, "issuer's certificate", 0, "certificate");
		if (!issuer_key || X509_check_private_key(issuer, issuer_key->pkey) != 1) {
			ERR_clear_error();
			return err_set(err, ERR_INVALID, "the issuer's key does not belong to the issuer's certificate");
		}
	}
	const struct tls_key *signer = issuer ? issuer_key : key;
	if (!signer->private)
		return err_set(err, ERR_INVALID, "signing a certificate needs a private key");
	auto_x509 X509 *x = X509_new();
	if (!x)
		abort();
	X509_set_version(x, X509_VERSION_3);
	uint8_t serial[16];
	rng_secret(serial, sizeof(serial));
	serial[0] &= 0x7f; /* positive */
	serial[0] |= 0x40; /* and of one length */
	BIGNUM *bn = BN_bin2bn(serial, sizeof(serial), NULL);
	BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x));
	BN_free(bn);
	int rc = name_fill(X509_get_subject_name(x), p, err);
	if (rc < 0)
		return rc;
	X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x));
	if (!ASN1_TIME_set(X509_getm_notBefore(x), (time_t)p->not_before_s) ||
	    !ASN1_TIME_set(X509_getm_notAfter(x), (time_t)p->not_after_s) || p->not_after_s < p->not_before_s)
		return err_set(err, ERR_INVALID, "a certificate's times make no sense: from %lld to %lld",
			(long long)p->not_before_s, (long long)p->not_after_s);
	X509_set_pubkey(x, key->pkey);
	exts_add(x, issuer ? issuer : x, p->kind);
	GENERAL_NAMES *alt = sk_GENERAL_NAME_new_null();
	rc = alt_fill(alt, p, err);
	if (rc == 0 && sk_GENERAL_NAME_num(alt) && X509_add1_ext_i2d(x, NID_subject_alt_name, alt, 0, 0) != 1)
		abort();
	GENERAL_NAMES_free(alt);
	if (rc < 0)
		return rc;
	if (!X509_sign(x, signer->pkey, EVP_sha256()))
		return err_set(err, ERR_INTERNAL, "signing a certificate: %s", tls_reason());
	auto_bio BIO *mem = BIO_new(BIO_s_mem());
	if (!mem || PEM_write_bio_X509(mem, x) != 1)
		abort();
	tls_bio_take(mem, out_pem);
	return 0;
}

/* ---- requests ---- */

int tls_csr_make(const struct tls_cert_params *p, const struct tls_key *key, struct buf *out_pem, struct err *err)
{
	ERR_clear_error();
	auto_req X509_REQ *req = X509_REQ_new();
	if (!req)
		abort();
	int rc = name_fill(X509_REQ_get_subject_name(req), p, err);
	if (rc < 0)
		return rc;
	X509_REQ_set_pubkey(req, key->pkey);
	GENERAL_NAMES *alt = sk_GENERAL_NAME_new_null();
	rc = alt_fill(alt, p, err);
	if (rc == 0 && sk_GENERAL_NAME_num(alt)) {
		STACK_OF(X509_EXTENSION) *exts = NULL;
		if (X509V3_add1_i2d(&exts, NID_subject_alt_name, alt, 0, 0) != 1 || X509_REQ_add_extensions(req, exts) != 1)
			abort();
		sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	}
	GENERAL_NAMES_free(alt);
	if (rc < 0)
		return rc;
	if (!key->private || !X509_REQ_sign(req, key->pkey, EVP_sha256()))
		return err_set(err, ERR_INTERNAL, "signing a certificate request: %s", tls_reason());
	auto_bio BIO *mem = BIO_new(BIO_s_mem());
	if (!mem || PEM_write_bio_X509_REQ(mem, req) != 1)
		abort();
	tls_bio_take(mem, out_pem);
	return 0;
}

static struct tls_peer *asked_names(X509_REQ *req)
{
	struct tls_peer *asked = peer_new();
	subject_read(asked, X509_REQ_get_subject_name(req));
	STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(req);
	GENERAL_NAMES *alt = exts ? X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL) : NULL;
	alt_names_read(asked, alt);
	GENERAL_NAMES_free(alt);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	ERR_clear_error();
	return asked;
}

int tls_csr_names(struct span pem, const char *where, struct tls_peer **out_asked, struct err *err)
{
	ERR_clear_error();
	auto_bio BIO *bio = tls_pem_bio(pem);
	auto_req X509_REQ *req = PEM_read_bio_X509_REQ(bio, NULL, tls_no_passphrase, NULL);
	if (!req)
		return tls_pem_err(err, pem, where, 0, "certificate request");
	*out_asked = asked_names(req);
	return 0;
}

int tls_csr_read(struct span pem, const char *where, struct tls_peer **out_asked, struct tls_key **out_key,
	struct err *err)
{
	ERR_clear_error();
	auto_bio BIO *bio = tls_pem_bio(pem);
	auto_req X509_REQ *req = PEM_read_bio_X509_REQ(bio, NULL, tls_no_passphrase, NULL);
	if (!req)
		return tls_pem_err(err, pem, where, 0, "certificate request");
	EVP_PKEY *pkey = X509_REQ_get0_pubkey(req);
	if (!pkey || X509_REQ_verify(req, pkey) != 1) {
		ERR_clear_error();
		return err_set(err, ERR_INVALID, "%s: the certificate request's signature does not verify",
			where ? where : "PEM");
	}
	auto_bio BIO *mem = BIO_new(BIO_s_mem());
	if (!mem || PEM_write_bio_PUBKEY(mem, pkey) != 1)
		abort();
	auto_buf struct buf key_pem = {};
	tls_bio_take(mem, &key_pem);
	struct tls_key *key;
	int rc = tls_key_read(buf_span(&key_pem), where, &key, err);
	if (rc < 0)
		return rc;
	*out_asked = asked_names(req);
	*out_key = key;
	return 0;
}
