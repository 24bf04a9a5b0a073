#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include "tls/tls.h"

/* ---- a network in memory ---- */

struct pipe {
	struct buf data;
	size_t chunk;    /* at most so many bytes a call, 0 = any */
	bool ended;
};
struct end {
	struct pipe *in, *out;
	struct tls_conn *c;
	int errnum;      /* reported by the next read */
};
struct pair {
	struct pipe up, down;
	struct end client, server;
};

static ptrdiff_t end_read(void *arg, void *out, size_t cap)
{
	struct end *e = arg;
	if (e->errnum)
		return -e->errnum;
	size_t n = MIN(cap, e->in->data.len);
	if (e->in->chunk)
		n = MIN(n, e->in->chunk);
	if (!n)
		return e->in->ended ? 0 : -EAGAIN;
	memcpy(out, e->in->data.ptr, n);
	buf_shift(&e->in->data, n);
	return (ptrdiff_t)n;
}

static ptrdiff_t end_write(void *arg, const void *data, size_t len)
{
	struct end *e = arg;
	size_t n = e->out->chunk ? MIN(len, e->out->chunk) : len;
	buf_add(&e->out->data, data, n);
	return (ptrdiff_t)n;
}

static void pair_done(struct pair *p)
{
	tls_conn_free(p->client.c);
	tls_conn_free(p->server.c);
	buf_done(&p->up.data);
	buf_done(&p->down.data);
}

static void pair_open(struct pair *p, struct tls_ctx *server, struct tls_ctx *client, const char *name)
{
	*p = (struct pair){};
	auto_err struct err err = ERR_INIT;
	p->client = (struct end){ .in = &p->down, .out = &p->up };
	p->server = (struct end){ .in = &p->up, .out = &p->down };
	struct tls_io ci = { end_read, end_write, &p->client }, si = { end_read, end_write, &p->server };
	assert_int_equal(tls_connect_new(client, &ci, name, &p->client.c, &err), 0);
	assert_int_equal(tls_accept_new(server, &si, &p->server.c, &err), 0);
}

/* Both ends in turn until done or failed; err holds what failed first. 0 = both done. */
static int pair_shake(struct pair *p, struct err *client_err, struct err *server_err)
{
	int c = TLS_WANT_READ, s = TLS_WANT_READ;
	for (int i = 0; i < 20000; i++) {
		if (c == TLS_WANT_READ || c == TLS_WANT_WRITE)
			c = tls_handshake(p->client.c, client_err);
		if (s == TLS_WANT_READ || s == TLS_WANT_WRITE)
			s = tls_handshake(p->server.c, server_err);
		if ((c == 0 && s == 0) || (c < 0 && c > -1000 && s < 0 && s > -1000))
			break;
		if (c < 0 && c > -1000)
			p->up.ended = true;
		if (s < 0 && s > -1000)
			p->down.ended = true;
	}
	return c ? c : s;
}

/* ---- certificates for all tests ---- */

static struct {
	struct tls_key *ca_key, *key, *other_key;
	struct buf ca, server, server2, client, other_ca, expired, key_pem;
} pki;

static struct buf cert(enum tls_cert_kind kind, const char *cn, const char *const *orgs, const char *const *dns,
	const char *const *ips, int64_t from, int64_t to, const struct tls_key *key, struct span issuer,
	const struct tls_key *issuer_key)
{
	struct buf out = {};
	auto_err struct err err = ERR_INIT;
	struct tls_cert_params p = { kind, cn, orgs, dns, ips, NULL, from, to };
	if (tls_cert_make(&p, key, issuer, issuer_key, &out, &err) < 0)
		fail_msg("certificate %s: %s", cn, err_msg(&err));
	return out;
}

static int pki_make(void **state)
{
	auto_err struct err err = ERR_INIT;
	int64_t now = clock_wall_ns(clock_real()) / NS_PER_S, day = 86400;
	assert_int_equal(tls_key_new(TLS_ES256, &pki.ca_key, &err), 0);
	assert_int_equal(tls_key_new(TLS_ES256, &pki.key, &err), 0);
	assert_int_equal(tls_key_new(TLS_ES256, &pki.other_key, &err), 0);
	pki.ca = cert(TLS_CERT_CA, "knarr-ca", NULL, NULL, NULL, now - day, now + 3650 * day, pki.ca_key, SPAN_EMPTY, NULL);
	pki.other_ca = cert(TLS_CERT_CA, "other-ca", NULL, NULL, NULL, now - day, now + day, pki.other_key, SPAN_EMPTY, NULL);
	struct span ca = buf_span(&pki.ca);
	const char *dns[] = { "localhost", "*.example.org", NULL }, *ips[] = { "127.0.0.1", "::1", NULL };
	pki.server = cert(TLS_CERT_SERVER, "server", NULL, dns, ips, now - day, now + day, pki.key, ca, pki.ca_key);
	const char *dns2[] = { "second.test", NULL };
	pki.server2 = cert(TLS_CERT_SERVER, "second", NULL, dns2, NULL, now - day, now + day, pki.key, ca, pki.ca_key);
	const char *orgs[] = { "system:masters", "team, with = comma", NULL };
	pki.client = cert(TLS_CERT_CLIENT, "kubernetes-admin", orgs, NULL, NULL, now - day, now + day, pki.key, ca, pki.ca_key);
	pki.expired = cert(TLS_CERT_CLIENT, "late", NULL, NULL, NULL, now - 2 * day, now - day, pki.key, ca, pki.ca_key);
	assert_int_equal(tls_key_private_pem(pki.key, &pki.key_pem, &err), 0);
	return 0;
}

static int pki_done(void **state)
{
	tls_key_unref(pki.ca_key);
	tls_key_unref(pki.key);
	tls_key_unref(pki.other_key);
	struct buf *bufs[] = { &pki.ca, &pki.server, &pki.server2, &pki.client, &pki.other_ca, &pki.expired, &pki.key_pem };
	for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
		buf_done(bufs[i]);
	return 0;
}

static struct tls_ctx *server_ctx(enum tls_client_auth auth, const char *const *alpn)
{
	auto_err struct err err = ERR_INIT;
	struct tls_pair pairs[] = { { buf_span(&pki.server), buf_span(&pki.key_pem), "server.crt", "server.key" },
				    { buf_span(&pki.server2), buf_span(&pki.key_pem), "second.crt", "second.key" } };
	struct tls_server_params p = { .pairs = pairs, .n_pairs = 2, .client_ca_pem = buf_span(&pki.ca),
		.client_ca_where = "ca.crt", .client_auth = auth, .alpn = alpn };
	struct tls_ctx *ctx = NULL;
	if (tls_server_new(&p, &ctx, &err) < 0)
		fail_msg("server context: %s", err_msg(&err));
	return ctx;
}

static struct tls_ctx *client_ctx(struct buf *ca, struct buf *cert_pem, const char *const *alpn)
{
	auto_err struct err err = ERR_INIT;
	struct tls_pair pair = { cert_pem ? buf_span(cert_pem) : SPAN_EMPTY, buf_span(&pki.key_pem), "client.crt", "client.key" };
	struct tls_client_params p = { .ca_pem = buf_span(ca), .ca_where = "ca.crt", .pair = cert_pem ? &pair : NULL,
		.alpn = alpn };
	struct tls_ctx *ctx = NULL;
	if (tls_client_new(&p, &ctx, &err) < 0)
		fail_msg("client context: %s", err_msg(&err));
	return ctx;
}

/* ---- handshakes ---- */

static void test_bytes_both_ways(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct tls_ctx *s = server_ctx(TLS_CLIENT_NONE, TLS_ALPN_HTTP), *c = client_ctx(&pki.ca, NULL, TLS_ALPN_HTTP);
	for (size_t chunk = 0; chunk < 3; chunk++) { /* any, 1, 2 bytes at a time */
		struct pair p;
		pair_open(&p, s, c, "localhost");
		p.up.chunk = p.down.chunk = chunk;
		if (pair_shake(&p, &err, &err) < 0)
			fail_msg("handshake: %s", err_msg(&err));
		assert_true(span_is(tls_conn_alpn(p.server.c), "h2"));
		assert_true(span_is(tls_conn_alpn(p.client.c), "h2"));
		assert_string_equal(tls_conn_version(p.server.c), "TLSv1.3");
		assert_true(span_is(tls_conn_sni(p.server.c), "localhost"));
		char in[100];
		assert_int_equal(tls_read(p.server.c, in, sizeof(in), &err), TLS_WANT_READ);
		assert_int_equal(tls_write(p.client.c, "hello", 5, &err), 5);
		assert_int_equal(tls_read(p.server.c, in, sizeof(in), &err), 5);
		assert_memory_equal(in, "hello", 5);
		/* Half close: the server hears the end and still answers. */
		assert_int_equal(tls_end(p.client.c, &err), 0);
		assert_int_equal(tls_read(p.server.c, in, sizeof(in), &err), 0);
		assert_int_equal(tls_write(p.server.c, "bye", 3, &err), 3);
		assert_int_equal(tls_end(p.server.c, &err), 0);
		assert_int_equal(tls_read(p.client.c, in, sizeof(in), &err), 3);
		assert_int_equal(tls_read(p.client.c, in, sizeof(in), &err), 0);
		pair_done(&p);
	}
	tls_ctx_unref(s);
	tls_ctx_unref(c);
}

static void test_cut_off_is_no_end(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct tls_ctx *s = server_ctx(TLS_CLIENT_NONE, NULL), *c = client_ctx(&pki.ca, NULL, NULL);
	struct pair p;
	pair_open(&p, s, c, "localhost");
	assert_int_equal(pair_shake(&p, &err, &err), 0);
	assert_int_equal(tls_conn_alpn(p.server.c).len, 0);
	char in[10];
	assert_int_equal(tls_read(p.client.c, in, sizeof(in), &err), TLS_WANT_READ); /* takes the ticket */
	p.down.ended = true;
	assert_int_equal(tls_read(p.client.c, in, sizeof(in), &err), -ERR_UPSTREAM);
	assert_non_null(strstr(err_msg(&err), "without saying so"));
	p.server.errnum = ECONNRESET;
	assert_int_equal(tls_read(p.server.c, in, sizeof(in), &err), -ERR_INVALID_REQUEST);
	assert_int_equal(err.errnum, ECONNRESET);
	pair_done(&p);
	tls_ctx_unref(s);
	tls_ctx_unref(c);
}

static void test_server_name_is_checked(void **state)
{
	struct tls_ctx *s = server_ctx(TLS_CLIENT_NONE, NULL), *c = client_ctx(&pki.ca, NULL, NULL),
		       *stranger = client_ctx(&pki.other_ca, NULL, NULL);
	const struct { const char *name; bool good; const char *sees; } rows[] = {
		{ "localhost", true, "server" }, { "127.0.0.1", true, "server" }, { "::1", true, "server" },
		{ "a.example.org", true, "server" }, { "second.test", true, "second" }, { "SECOND.test", true, "second" },
		{ "a.b.example.org", false, NULL }, { "server", false, NULL }, { "127.0.0.2", false, NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err ce = ERR_INIT, se = ERR_INIT;
		struct pair p;
		pair_open(&p, s, c, rows[i].name);
		int rc = pair_shake(&p, &ce, &se);
		if (rows[i].good) {
			if (rc < 0)
				fail_msg("%s: %s", rows[i].name, err_msg(&ce));
			struct tls_peer *peer = tls_conn_peer(p.client.c);
			assert_string_equal(peer->cn, rows[i].sees);
			assert_true(peer->verified);
			tls_peer_unref(peer);
		} else {
			assert_int_equal(ce.class, ERR_UPSTREAM);
			assert_non_null(strstr(err_msg(&ce), "certificate"));
			assert_int_equal(se.class, ERR_INVALID_REQUEST);
		}
		pair_done(&p);
	}
	auto_err struct err ce = ERR_INIT, se = ERR_INIT;
	struct pair p;
	pair_open(&p, s, stranger, "localhost");
	assert_int_equal(pair_shake(&p, &ce, &se), -ERR_UPSTREAM);
	assert_non_null(strstr(err_msg(&ce), "issuer certificate"));
	pair_done(&p);
	tls_ctx_unref(s);
	tls_ctx_unref(c);
	tls_ctx_unref(stranger);
}

static void test_client_certificates(void **state)
{
	struct buf self = cert(TLS_CERT_CLIENT, "mallory", NULL, NULL, NULL, 0, 4000000000, pki.key, SPAN_EMPTY, NULL);
	const struct { enum tls_client_auth auth; struct buf *cert; bool good, verified; } rows[] = {
		{ TLS_CLIENT_NONE, &pki.client, true, false },
		{ TLS_CLIENT_ASK, NULL, true, false },
		{ TLS_CLIENT_ASK, &pki.client, true, true },
		{ TLS_CLIENT_ASK, &self, true, false },
		{ TLS_CLIENT_ASK, &pki.expired, true, false },
		{ TLS_CLIENT_OPTIONAL, NULL, true, false },
		{ TLS_CLIENT_OPTIONAL, &pki.client, true, true },
		{ TLS_CLIENT_OPTIONAL, &self, false, false },
		{ TLS_CLIENT_REQUIRED, NULL, false, false },
		{ TLS_CLIENT_REQUIRED, &pki.client, true, true },
		{ TLS_CLIENT_REQUIRED, &pki.expired, false, false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err ce = ERR_INIT, se = ERR_INIT;
		struct tls_ctx *s = server_ctx(rows[i].auth, NULL), *c = client_ctx(&pki.ca, rows[i].cert, NULL);
		struct pair p;
		pair_open(&p, s, c, "localhost");
		int rc = pair_shake(&p, &ce, &se);
		if (!rows[i].good) {
			assert_int_equal(se.class, ERR_INVALID_REQUEST);
		} else {
			if (rc < 0)
				fail_msg("row %zu: %s / %s", i, err_msg(&ce), err_msg(&se));
			struct tls_peer *peer = tls_conn_peer(p.server.c);
			bool asked = rows[i].auth != TLS_CLIENT_NONE && rows[i].cert;
			assert_int_equal(peer != NULL, asked);
			if (peer) {
				assert_int_equal(peer->verified, rows[i].verified);
				assert_int_equal(peer->why_not == NULL, rows[i].verified);
			}
			if (peer && rows[i].cert == &pki.client) {
				assert_string_equal(peer->cn, "kubernetes-admin");
				assert_int_equal(peer->n_orgs, 2);
				assert_string_equal(peer->orgs[0], "system:masters");
				assert_string_equal(peer->orgs[1], "team, with = comma");
				assert_string_equal(peer->issuer, "CN=knarr-ca");
			}
			tls_peer_unref(peer);
		}
		pair_done(&p);
		tls_ctx_unref(s);
		tls_ctx_unref(c);
	}
	buf_done(&self);
}

static void test_alpn_without_overlap_is_refused(void **state)
{
	auto_err struct err ce = ERR_INIT, se = ERR_INIT;
	struct tls_ctx *s = server_ctx(TLS_CLIENT_NONE, TLS_ALPN_H2), *c = client_ctx(&pki.ca, NULL, TLS_ALPN_HTTP1);
	struct pair p;
	pair_open(&p, s, c, "localhost");
	assert_true(pair_shake(&p, &ce, &se) < 0);
	assert_non_null(strstr(err_msg(&ce), "application protocol"));
	pair_done(&p);
	tls_ctx_unref(s);
	tls_ctx_unref(c);
}

static void test_sessions_are_resumed(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct tls_ctx *s = server_ctx(TLS_CLIENT_OPTIONAL, NULL), *c = client_ctx(&pki.ca, &pki.client, NULL);
	struct tls_ctx *swapped = server_ctx(TLS_CLIENT_OPTIONAL, NULL);
	char in[10];
	for (int i = 0; i < 4; i++) {
		struct pair p;
		pair_open(&p, i == 3 ? swapped : s, c, "localhost");
		assert_int_equal(pair_shake(&p, &err, &err), 0);
		/* Other certificates, other ticket keys: verified afresh. */
		assert_int_equal(tls_conn_resumed(p.server.c), i == 1 || i == 2);
		struct tls_peer *peer = tls_conn_peer(p.server.c);
		assert_string_equal(peer->cn, "kubernetes-admin");
		assert_true(peer->verified);
		tls_peer_unref(peer);
		assert_int_equal(tls_read(p.client.c, in, sizeof(in), &err), TLS_WANT_READ);
		pair_done(&p);
	}
	tls_ctx_unref(s);
	tls_ctx_unref(swapped);
	tls_ctx_unref(c);
}

static struct tls_slot slot;

static void *swapper(void *arg)
{
	for (int i = 0; i < 200; i++)
		tls_slot_put(&slot, tls_ctx_ref(((struct tls_ctx **)arg)[i & 1]));
	return NULL;
}

static void test_slot_swaps_while_others_take(void **state)
{
	struct tls_ctx *two[] = { server_ctx(TLS_CLIENT_NONE, NULL), server_ctx(TLS_CLIENT_ASK, NULL) };
	tls_slot_init(&slot);
	assert_null(tls_slot_get(&slot));
	tls_slot_put(&slot, tls_ctx_ref(two[0]));
	pthread_t t;
	pthread_create(&t, NULL, swapper, two);
	for (int i = 0; i < 2000; i++) {
		struct tls_ctx *got = tls_slot_get(&slot);
		assert_true(got == two[0] || got == two[1]);
		tls_ctx_unref(got);
	}
	pthread_join(t, NULL);
	tls_slot_done(&slot);
	tls_ctx_unref(two[0]);
	tls_ctx_unref(two[1]);
}

static void test_idle_memory(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	print_message("skipped: a sanitizer's allocator counts otherwise\n");
	skip();
#else
	enum { N = 200 };
	auto_err struct err err = ERR_INIT;
	struct tls_ctx *s = server_ctx(TLS_CLIENT_NONE, TLS_ALPN_HTTP), *c = client_ctx(&pki.ca, NULL, TLS_ALPN_HTTP);
	struct pair *pairs = mem_zalloc(N * sizeof(*pairs));
	struct pair warm;
	pair_open(&warm, s, c, "localhost");
	assert_int_equal(pair_shake(&warm, &err, &err), 0);
	pair_done(&warm);
	for (int i = 0; i < N; i++) {
		pair_open(&pairs[i], s, c, "localhost");
		assert_int_equal(pair_shake(&pairs[i], &err, &err), 0);
		char in[10];
		assert_int_equal(tls_write(pairs[i].client.c, "x", 1, &err), 1);
		assert_int_equal(tls_read(pairs[i].server.c, in, sizeof(in), &err), 1);
		assert_int_equal(tls_read(pairs[i].server.c, in, sizeof(in), &err), TLS_WANT_READ);
		assert_int_equal(tls_write(pairs[i].server.c, "y", 1, &err), 1);
		assert_int_equal(tls_read(pairs[i].client.c, in, sizeof(in), &err), 1);
		assert_int_equal(tls_read(pairs[i].client.c, in, sizeof(in), &err), TLS_WANT_READ);
	}
	size_t before = mallinfo2().uordblks;
	for (int i = 0; i < N; i++) {
		tls_conn_free(pairs[i].server.c);
		pairs[i].server.c = NULL;
	}
	size_t each = (before - mallinfo2().uordblks) / N;
	print_message("idle server connection: %zu bytes of heap\n", each);
	assert_in_range(each, 2000, 20 * 1024);
	for (int i = 0; i < N; i++)
		pair_done(&pairs[i]);
	free(pairs);
	tls_ctx_unref(s);
	tls_ctx_unref(c);
#endif
}

/* ---- errors of PEM texts ---- */

static void test_pem_errors_say_where(void **state)
{
	auto_buf struct buf broken = {};
	buf_str(&broken, "# a comment\n# another\n");
	size_t at = broken.len;
	buf_span_add(&broken, buf_span(&pki.server));
	memset(broken.ptr + at + 100, '!', 20);
	struct tls_pair pair = { buf_span(&broken), buf_span(&pki.key_pem), "server.crt", "server.key" };
	struct tls_server_params p = { .pairs = &pair, .n_pairs = 1 };
	struct tls_ctx *ctx = NULL;
	auto_err struct err err = ERR_INIT;
	assert_int_equal(tls_server_new(&p, &ctx, &err), -ERR_INVALID);
	assert_non_null(strstr(err_msg(&err), "server.crt line 3: certificate: "));

	pair.cert_pem = SPAN("nothing here");
	assert_int_equal(tls_server_new(&p, &ctx, &err), -ERR_INVALID);
	assert_string_equal(err_msg(&err), "server.crt: no certificate found (PEM text of 12 bytes)");

	auto_buf struct buf other = {};
	assert_int_equal(tls_key_private_pem(pki.other_key, &other, &err), 0);
	pair.cert_pem = buf_span(&pki.server);
	pair.key_pem = buf_span(&other);
	assert_int_equal(tls_server_new(&p, &ctx, &err), -ERR_INVALID);
	assert_string_equal(err_msg(&err), "server.key: is not the key of the certificate in server.crt");

	/* A bundle whose second block is cut. */
	auto_buf struct buf bundle = {};
	buf_span_add(&bundle, buf_span(&pki.ca));
	unsigned line = 1;
	for (size_t i = 0; i < bundle.len; i++)
		line += bundle.ptr[i] == '\n';
	buf_span_add(&bundle, span_sub(buf_span(&pki.other_ca), 0, 200));
	pair.key_pem = buf_span(&pki.key_pem);
	p.client_auth = TLS_CLIENT_ASK;
	p.client_ca_pem = buf_span(&bundle);
	p.client_ca_where = "bundle.pem";
	assert_int_equal(tls_server_new(&p, &ctx, &err), -ERR_INVALID);
	char expected[64];
	snprintf(expected, sizeof(expected), "bundle.pem line %u: CA certificate: ", line);
	assert_non_null(strstr(err_msg(&err), expected));

	/* An encrypted key is an error and no question. */
	struct span encrypted = SPAN("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
				     "DEK-Info: AES-128-CBC,000102030405060708090A0B0C0D0E0F\n\nAAAA\n-----END RSA PRIVATE KEY-----\n");
	struct tls_key *k = NULL;
	assert_int_equal(tls_key_read(encrypted, "k.pem", &k, &err), -ERR_INVALID);
	assert_non_null(strstr(err_msg(&err), "k.pem line 1: private key: "));
}

/* ---- keys ---- */

static void test_sign_and_verify(void **state)
{
	for (enum tls_alg alg = 0; alg < TLS_ALG_COUNT; alg++) {
		auto_err struct err err = ERR_INIT;
		auto_cleanup(auto_tls_key_) struct tls_key *k = NULL, *pub = NULL;
		assert_int_equal(tls_key_new(alg, &k, &err), 0);
		auto_buf struct buf sig = {}, pem = {}, id = {}, id2 = {}, jwk = {};
		assert_int_equal(tls_sign(k, SPAN("header.payload"), &sig, &err), 0);
		assert_int_equal(sig.len, alg == TLS_ES256 ? 64 : 256);
		assert_int_equal(tls_key_public_pem(k, &pem, &err), 0);
		assert_int_equal(tls_key_read(buf_span(&pem), "pub", &pub, &err), 0);
		assert_int_equal(tls_key_alg(pub), alg);
		assert_false(tls_key_is_private(pub));
		assert_true(tls_key_same(k, pub));
		assert_false(tls_key_same(pki.key, pub));
		assert_true(tls_verify(pub, SPAN("header.payload"), buf_span(&sig)));
		assert_false(tls_verify(pub, SPAN("header.payloae"), buf_span(&sig)));
		sig.ptr[5] ^= 1;
		assert_false(tls_verify(pub, SPAN("header.payload"), buf_span(&sig)));
		assert_false(tls_verify(pub, SPAN("header.payload"), SPAN_EMPTY));
		assert_true(tls_sign(pub, SPAN("x"), &sig, &err) < 0);
		tls_key_id(k, &id);
		tls_key_id(pub, &id2);
		assert_int_equal(id.len, 43);
		assert_string_equal(buf_cstr(&id), buf_cstr(&id2));
		tls_key_jwk(pub, &jwk);
		assert_true(span_starts(buf_span(&jwk), alg == TLS_ES256 ? SPAN("\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"") :
									  SPAN("\"kty\":\"RSA\",\"n\":\"")));
		assert_int_equal(jwk.len, alg == TLS_ES256 ? 124 : jwk.len);
	}
}

static void test_known_jwk(void **state)
{
	/* RFC 7517 appendix A.1's EC key, as a DER public key. */
	struct span pem = SPAN("-----BEGIN PUBLIC KEY-----\n"
			       "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMKBCTNIcKUSDii11ySs3526iDZ8A\n"
			       "iTo7Tu6KPAqv7D7gS2XpJFbZiItSs3m9+9Ue6GnvHw/GW2ZZaVtszggXIw==\n"
			       "-----END PUBLIC KEY-----\n");
	auto_err struct err err = ERR_INIT;
	auto_cleanup(auto_tls_key_) struct tls_key *k = NULL;
	assert_int_equal(tls_key_read(pem, "rfc", &k, &err), 0);
	auto_buf struct buf jwk = {};
	tls_key_jwk(k, &jwk);
	assert_string_equal(buf_cstr(&jwk), "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
					    "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"");
}

static void test_hashes(void **state)
{
	uint8_t sum[32];
	auto_buf struct buf hex = {};
	tls_sha256(SPAN("abc"), sum); /* FIPS 180-4 */
	hex_add(&hex, sum, 32);
	assert_string_equal(buf_cstr(&hex), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	buf_trunc(&hex, 0);
	tls_hmac256(SPAN("Jefe"), SPAN("what do ya want for nothing?"), sum); /* RFC 4231 case 2 */
	hex_add(&hex, sum, 32);
	assert_string_equal(buf_cstr(&hex), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	buf_trunc(&hex, 0);
	struct tls_hash h;
	tls_sha256_begin(&h);
	for (int i = 0; i < 3; i++)
		tls_hash_add(&h, &"abc"[i], 1);
	tls_hash_end(&h, sum);
	hex_add(&hex, sum, 32);
	assert_string_equal(buf_cstr(&hex), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	tls_hmac256_begin(&h, SPAN_EMPTY);
	tls_hash_done(&h);
	tls_hash_done(&h);
	assert_true(tls_equal(SPAN("same"), SPAN("same")));
	assert_false(tls_equal(SPAN("same"), SPAN("samE")));
	assert_false(tls_equal(SPAN("same"), SPAN("sam")));
	assert_true(tls_equal(SPAN_EMPTY, SPAN("")));
}

static void test_certificate_fields(void **state)
{
	auto_err struct err err = ERR_INIT;
	auto_cleanup(auto_tls_peer_) struct tls_peer *p = NULL;
	assert_int_equal(tls_cert_read(buf_span(&pki.server), "server.crt", &p, &err), 0);
	assert_string_equal(p->cn, "server");
	assert_int_equal(p->n_dns_names, 2);
	assert_string_equal(p->dns_names[1], "*.example.org");
	assert_int_equal(p->n_ips, 2);
	assert_string_equal(p->ips[1], "::1");
	assert_null(p->ips[2]);
	assert_false(p->is_ca);
	assert_false(p->verified);
	assert_int_equal(strlen(p->serial), 32);
	assert_int_equal(p->not_after_s - p->not_before_s, 2 * 86400);
	struct tls_cert_params bad = { TLS_CERT_SERVER, "x", NULL, (const char *[]){ "a b", NULL }, NULL, NULL, 0, 1 };
	auto_buf struct buf out = {};
	assert_int_equal(tls_cert_make(&bad, pki.key, SPAN_EMPTY, NULL, &out, &err), -ERR_INVALID);
	bad = (struct tls_cert_params){ TLS_CERT_SERVER, "x", NULL, NULL, (const char *[]){ "300.1.1.1", NULL }, NULL, 0, 1 };
	assert_int_equal(tls_cert_make(&bad, pki.key, SPAN_EMPTY, NULL, &out, &err), -ERR_INVALID);
	bad = (struct tls_cert_params){ TLS_CERT_SERVER, "x", NULL, NULL, NULL, NULL, 0, 1 };
	assert_int_equal(tls_cert_make(&bad, pki.key, buf_span(&pki.ca), pki.key, &out, &err), -ERR_INVALID);
	assert_non_null(strstr(err_msg(&err), "issuer's key"));
}

static void test_requests(void **state)
{
	auto_err struct err err = ERR_INIT;
	const char *orgs[] = { "system:nodes", NULL }, *dns[] = { "node-1", NULL }, *ips[] = { "10.0.0.1", NULL };
	struct tls_cert_params p = { TLS_CERT_SERVER, "system:node:node-1", orgs, dns, ips, NULL, 0, 0 };
	auto_buf struct buf pem = {};
	assert_int_equal(tls_csr_make(&p, pki.key, &pem, &err), 0);
	auto_cleanup(auto_tls_peer_) struct tls_peer *asked = NULL;
	auto_cleanup(auto_tls_key_) struct tls_key *key = NULL;
	assert_int_equal(tls_csr_read(buf_span(&pem), "csr", &asked, &key, &err), 0);
	auto_cleanup(auto_tls_peer_) struct tls_peer *names = NULL;
	assert_int_equal(tls_csr_names(buf_span(&pem), "csr", &names, &err), 0);
	assert_string_equal(names->subject, asked->subject);
	assert_int_equal(names->n_orgs, asked->n_orgs);
	assert_string_equal(asked->cn, "system:node:node-1");
	assert_string_equal(asked->orgs[0], "system:nodes");
	assert_string_equal(asked->dns_names[0], "node-1");
	assert_string_equal(asked->ips[0], "10.0.0.1");
	assert_true(tls_key_same(key, pki.key));
	/* A changed byte inside: the signature no longer fits. */
	auto_buf struct buf bad = {};
	buf_span_add(&bad, buf_span(&pem));
	ptrdiff_t at = span_find(buf_span(&bad), SPAN("\n")) + 80;
	bad.ptr[at] = bad.ptr[at] == 'A' ? 'B' : 'A';
	struct tls_peer *none = NULL;
	struct tls_key *none_key = NULL;
	assert_true(tls_csr_read(buf_span(&bad), "csr", &none, &none_key, &err) < 0);
	assert_null(none);
}

static void test_key_file_is_private(void **state)
{
	auto_err struct err err = ERR_INIT;
	char dir[] = "/tmp/tls-test-XXXXXX";
	assert_non_null(mkdtemp(dir));
	auto_fd int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	umask(0);
	assert_int_equal(tls_key_save(pki.key, d, "ca.key", &err), 0);
	struct stat st;
	assert_int_equal(fstatat(d, "ca.key", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	auto_buf struct buf pem = {};
	assert_int_equal(io_read_file(d, "ca.key", &pem, 10000, &err), 0);
	auto_cleanup(auto_tls_key_) struct tls_key *k = NULL;
	assert_int_equal(tls_key_read(buf_span(&pem), "ca.key", &k, &err), 0);
	assert_true(tls_key_same(k, pki.key));
	unlinkat(d, "ca.key", 0);
	rmdir(dir);
}

/* ---- what is sent with a certificate, seen by plain OpenSSL on the other side */

static int take_any(int ok, X509_STORE_CTX *store)
{
	return 1;
}

/* The names of the certificates that came, leaf first: "server knarr-ca ". */
static void chain_names(SSL *ssl, struct buf *out)
{
	X509 *leaf = SSL_get0_peer_certificate(ssl);
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
	bool leaf_is_apart = SSL_is_server(ssl);
	for (int i = leaf_is_apart ? -1 : 0; i < sk_X509_num(chain) || i < 0; i++) {
		char name[100] = "?";
		X509_NAME_get_text_by_NID(X509_get_subject_name(i < 0 ? leaf : sk_X509_value(chain, i)), NID_commonName, name, sizeof(name));
		buf_printf(out, "%s ", name);
	}
}

static void chain_sent(struct tls_ctx *ctx, bool from_server, struct buf *out)
{
	auto_err struct err err = ERR_INIT;
	SSL_CTX *plain = SSL_CTX_new(from_server ? TLS_client_method() : TLS_server_method());
	SSL_CTX_set_verify(plain, SSL_VERIFY_PEER, take_any);
	if (!from_server) { /* it needs one of its own */
		BIO *certs = BIO_new_mem_buf(pki.server.ptr, (int)pki.server.len), *keys = BIO_new_mem_buf(pki.key_pem.ptr, (int)pki.key_pem.len);
		X509 *x = PEM_read_bio_X509(certs, NULL, NULL, NULL);
		EVP_PKEY *k = PEM_read_bio_PrivateKey(keys, NULL, NULL, NULL);
		assert_true(SSL_CTX_use_certificate(plain, x) == 1 && SSL_CTX_use_PrivateKey(plain, k) == 1);
		X509_free(x);
		EVP_PKEY_free(k);
		BIO_free(certs);
		BIO_free(keys);
	}
	SSL *ssl = SSL_new(plain);
	BIO *in = BIO_new(BIO_s_mem()), *sent = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(in, -1);
	SSL_set_bio(ssl, in, sent);
	(from_server ? SSL_set_connect_state : SSL_set_accept_state)(ssl);
	struct pipe up = {}, down = {};
	struct end end = { .in = &up, .out = &down };
	struct tls_io io = { end_read, end_write, &end };
	assert_int_equal(from_server ? tls_accept_new(ctx, &io, &end.c, &err) : tls_connect_new(ctx, &io, "localhost", &end.c, &err), 0);
	int ours = TLS_WANT_READ;
	for (int i = 0; i < 20 && !(ours == 0 && SSL_is_init_finished(ssl)); i++) {
		char bytes[20000];
		(void)SSL_do_handshake(ssl);
		for (int n; (n = BIO_read(sent, bytes, sizeof(bytes))) > 0;)
			buf_add(&up.data, bytes, (size_t)n);
		ours = tls_handshake(end.c, &err);
		assert_int_equal(BIO_write(in, down.data.ptr, (int)down.data.len), (int)down.data.len);
		buf_trunc(&down.data, 0);
	}
	if (ours != 0)
		fail_msg("handshake: %s", err_msg(&err));
	chain_names(ssl, out);
	tls_conn_free(end.c);
	SSL_free(ssl);
	SSL_CTX_free(plain);
	buf_done(&up.data);
	buf_done(&down.data);
	tls_ctx_unref(ctx);
}

static struct tls_ctx *server_of(struct buf *a, struct buf *b, struct buf *client_ca)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf chain = {};
	struct tls_ctx *ctx = NULL;
	buf_span_add(&chain, buf_span(a));
	if (b)
		buf_span_add(&chain, buf_span(b));
	struct tls_pair pair = { buf_span(&chain), buf_span(&pki.key_pem), NULL, NULL };
	struct tls_server_params p = { .pairs = &pair, .n_pairs = 1, .client_ca_pem = client_ca ? buf_span(client_ca) : SPAN_EMPTY,
				       .client_auth = client_ca ? TLS_CLIENT_ASK : TLS_CLIENT_NONE };
	if (tls_server_new(&p, &ctx, &err) < 0)
		fail_msg("server context: %s", err_msg(&err));
	return ctx;
}

/* A file that holds more than the leaf is sent as it is; else what leads to a CA that the context knows; else the leaf alone. */
static void test_chain_sent(void **state)
{
	struct buf *const of_ca = &pki.server;
	const struct {
		struct tls_ctx *ctx;
		bool from_server;
		const char *want;
	} rows[] = {
		{ server_of(of_ca, NULL, NULL), true, "server " },
		{ server_of(of_ca, NULL, &pki.ca), true, "server knarr-ca " },
		{ server_of(of_ca, NULL, &pki.other_ca), true, "server " },
		{ server_of(of_ca, &pki.ca, NULL), true, "server knarr-ca " },
		{ server_of(of_ca, &pki.other_ca, &pki.ca), true, "server other-ca " },
		{ client_ctx(&pki.ca, &pki.client, NULL), false, "kubernetes-admin knarr-ca " },
		{ client_ctx(&pki.ca, &pki.expired, NULL), false, "late knarr-ca " },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf got = {};
		chain_sent(rows[i].ctx, rows[i].from_server, &got);
		if (strcmp(buf_cstr(&got), rows[i].want))
			fail_msg("row %zu: sent \"%s\", want \"%s\"", i, buf_cstr(&got), rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_both_ways),
		cmocka_unit_test(test_cut_off_is_no_end),
		cmocka_unit_test(test_server_name_is_checked),
		cmocka_unit_test(test_client_certificates),
		cmocka_unit_test(test_chain_sent),
		cmocka_unit_test(test_alpn_without_overlap_is_refused),
		cmocka_unit_test(test_sessions_are_resumed),
		cmocka_unit_test(test_slot_swaps_while_others_take),
		cmocka_unit_test(test_idle_memory),
		cmocka_unit_test(test_pem_errors_say_where),
		cmocka_unit_test(test_sign_and_verify),
		cmocka_unit_test(test_known_jwk),
		cmocka_unit_test(test_hashes),
		cmocka_unit_test(test_certificate_fields),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_key_file_is_private),
	};
	return cmocka_run_group_tests(tests, pki_make, pki_done);
}
