#include "apiserver/pki.h"

#include <arpa/inet.h>
#include <fcntl.h>

#define YEAR_S (365LL * 86400)
#define RENEW_S (30LL * 86400)
#define IPS_MAX 8

int pki_dir(const struct apiserver_options *o, struct buf *out, struct err *err)
{
	if (o->cert_dir.len)
		buf_span_add(out, o->cert_dir);
	else
		buf_printf(out, "%.*s/pki", SPAN_ARG(o->data_dir));
	return io_mkdirs(AT_FDCWD, buf_cstr(out), 0700, err);
}

/* Reads DIR/NAME, or makes it when it is not there. */
static int key_get(const char *dir, const char *name, struct tls_key **out, struct err *err)
{
	auto_buf struct buf path = {}, pem = {};
	buf_printf(&path, "%s/%s", dir, name);
	int rc = io_read_file(AT_FDCWD, buf_cstr(&path), &pem, FILES_MAX_BYTES, err);
	if (rc == 0)
		return tls_key_read(buf_span(&pem), buf_cstr(&path), out, err);
	if (rc != -ERR_NOT_FOUND)
		return rc;
	rc = tls_key_new(TLS_ES256, out, err);
	if (rc == 0 && (rc = tls_key_save(*out, AT_FDCWD, buf_cstr(&path), err)) < 0) {
		tls_key_unref(*out);
		*out = NULL;
	}
	return rc;
}

/* The first address of a range, which the service "kubernetes" has: 10.96.0.0/16 -> 10.96.0.1. */
static bool first_address(struct span range, char out[INET6_ADDRSTRLEN])
{
	struct span base, bits;
	char text[INET6_ADDRSTRLEN];
	uint8_t address[16];
	if (!span_split(span_trim(range), '/', &base, &bits) || base.len >= sizeof(text))
		return false;
	memcpy(text, base.ptr, base.len);
	text[base.len] = 0;
	int family = span_chr(base, ':') >= 0 ? AF_INET6 : AF_INET;
	if (inet_pton(family, text, address) != 1)
		return false;
	address[family == AF_INET ? 3 : 15] |= 1;
	return inet_ntop(family, address, out, INET6_ADDRSTRLEN) != NULL;
}

/* Does the certificate still have long to live and every address that it should have? */
static bool serving_good(struct span pem, const char *const *ips, int64_t now_s)
{
	auto_cleanup(auto_tls_peer_) struct tls_peer *cert = NULL;
	if (tls_cert_read(pem, NULL, &cert, NULL) < 0 || cert->not_after_s < now_s + RENEW_S)
		return false;
	for (; *ips; ips++) {
		unsigned i = 0;
		while (i < cert->n_ips && strcmp(cert->ips[i], *ips) != 0)
			i++;
		if (i == cert->n_ips)
			return false;
	}
	return true;
}

static int ca_get(const char *dir, const struct tls_key *key, int64_t now_s, struct buf *ca, struct err *err)
{
	auto_buf struct buf path = {};
	buf_printf(&path, "%s/ca.crt", dir);
	int rc = io_read_file(AT_FDCWD, buf_cstr(&path), ca, FILES_MAX_BYTES, err);
	if (rc != -ERR_NOT_FOUND)
		return rc;
	const struct tls_cert_params p = {
		.kind = TLS_CERT_CA, .cn = "kubernetes", .not_before_s = now_s - 300, .not_after_s = now_s + 10 * YEAR_S
	};
	rc = tls_cert_make(&p, key, SPAN_EMPTY, NULL, ca, err);
	return rc < 0 ? rc : io_write_file(AT_FDCWD, buf_cstr(&path), buf_span(ca), 0644, err);
}

/* A CA of our own and a serving certificate by it, kept in the folder: what kubeadm names ca.crt and apiserver.crt. */
static int serving_files(const struct apiserver_options *o, int64_t now_s, struct buf *cert, struct buf *key_pem,
			 struct buf *ca, struct err *err)
{
	static const char *const names[] = { "kubernetes",
					     "kubernetes.default",
					     "kubernetes.default.svc",
					     "kubernetes.default.svc.cluster.local",
					     "localhost",
					     NULL };
	auto_buf struct buf dir = {}, path = {};
	auto_cleanup(auto_tls_key_) struct tls_key *ca_key = NULL;
	auto_cleanup(auto_tls_key_) struct tls_key *key = NULL;
	int rc = pki_dir(o, &dir, err);
	if (rc == 0)
		rc = key_get(buf_cstr(&dir), "ca.key", &ca_key, err);
	if (rc == 0)
		rc = key_get(buf_cstr(&dir), "apiserver.key", &key, err);
	if (rc == 0)
		rc = ca_get(buf_cstr(&dir), ca_key, now_s, ca, err);
	if (rc < 0)
		return rc;
	auto_free char *advertised = o->advertise_address.len ? mem_dup(o->advertise_address.ptr, o->advertise_address.len)
							      : NULL;
	const char *ips[IPS_MAX] = { "127.0.0.1", "::1" };
	char service[2][INET6_ADDRSTRLEN];
	unsigned n = 2, n_services = 0;
	struct span rest = o->service_cluster_ip_range, range;
	while (n_services < 2 && span_cut(&rest, ',', &range))
		if (first_address(range, service[n_services]))
			ips[n++] = service[n_services++];
	if (advertised)
		ips[n++] = advertised;

	buf_printf(&path, "%s/apiserver.crt", buf_cstr(&dir));
	rc = io_read_file(AT_FDCWD, buf_cstr(&path), cert, FILES_MAX_BYTES, err);
	if (rc == -ERR_NOT_FOUND || (rc == 0 && !serving_good(buf_span(cert), ips, now_s))) {
		const struct tls_cert_params p = { .kind = TLS_CERT_SERVER,
						   .cn = "kube-apiserver",
						   .dns_names = names,
						   .ips = ips,
						   .not_before_s = now_s - 300,
						   .not_after_s = now_s + YEAR_S };
		buf_trunc(cert, 0);
		rc = tls_cert_make(&p, key, buf_span(ca), ca_key, cert, err);
		if (rc == 0)
			rc = io_write_file(AT_FDCWD, buf_cstr(&path), buf_span(cert), 0644, err);
	}
	return rc < 0 ? rc : tls_key_private_pem(key, key_pem, err);
}

int pki_tls(const struct apiserver_options *o, const struct files *f, struct clock *clock, struct tls_ctx **out_ctx,
	    struct bytes **out_authorities, struct err *err)
{
	auto_buf struct buf cert = {}, key = {}, own_ca = {};
	bool given = o->tls_cert_file.len;
	int rc = given ? 0 : serving_files(o, clock_wall_ns(clock) / NS_PER_S, &cert, &key, &own_ca, err);
	if (rc < 0)
		return err_note(err, "serving certificate");
	struct span bundle = o->client_ca_file.len ? buf_span(&f->text[FILE_CLIENT_CA]) : buf_span(&own_ca);
	const struct tls_pair pair = { .cert_pem = given ? buf_span(&f->text[FILE_TLS_CERT]) : buf_span(&cert),
				       .key_pem = given ? buf_span(&f->text[FILE_TLS_KEY]) : buf_span(&key),
				       .cert_where = given ? o->tls_cert_file.ptr : NULL,
				       .key_where = given ? o->tls_key_file.ptr : NULL };
	const struct tls_server_params p = { .pairs = &pair,
					     .n_pairs = 1,
					     .client_ca_pem = bundle,
					     .client_ca_where = o->client_ca_file.len ? o->client_ca_file.ptr : "ca.crt",
					     .client_auth = bundle.len ? TLS_CLIENT_ASK : TLS_CLIENT_NONE,
					     .alpn = TLS_ALPN_HTTP };
	rc = tls_server_new(&p, out_ctx, err);
	if (rc < 0)
		return err_note(err, "serving certificate");
	*out_authorities = bytes_of(bundle);
	return 0;
}

int pki_service_keys(const struct apiserver_options *o, const struct files *f, struct service_keys *out, struct err *err)
{
	struct service_keys k = {};
	int rc = 0;
	if (o->sa_signing_key_file.len) {
		rc = tls_key_read(buf_span(&f->text[FILE_SA_SIGN]), o->sa_signing_key_file.ptr, &k.sign, err);
	} else {
		auto_buf struct buf dir = {};
		rc = pki_dir(o, &dir, err);
		if (rc == 0)
			rc = key_get(buf_cstr(&dir), "sa.key", &k.sign, err);
	}
	for (unsigned i = 0; i < o->sa_key_files.n && rc == 0; i++) {
		rc = tls_key_read(buf_span(&f->text[FILE_SA_KEY + i]), o->sa_key_files.items[i].ptr, &k.verify[k.n_verify],
				  err);
		if (rc == 0)
			k.n_verify++;
	}
	if (rc == 0 && !k.n_verify)
		k.verify[k.n_verify++] = tls_key_ref(k.sign);
	if (rc < 0) {
		pki_service_keys_done(&k);
		return rc;
	}
	*out = k;
	return 0;
}

void pki_service_keys_done(struct service_keys *k)
{
	tls_key_unref(k->sign);
	for (unsigned i = 0; i < k->n_verify; i++)
		tls_key_unref(k->verify[i]);
	*k = (struct service_keys){};
}

int pki_issuing_new(const struct apiserver_options *o, const struct files *f, struct issuing **out, struct err *err)
{
	struct issuing *i = mem_new(struct issuing);
	int rc = pki_service_keys(o, f, &i->keys, err);
	if (rc < 0) {
		free(i);
		return rc;
	}
	i->issuer = (struct auth_issuer){ .issuer = o->issuers.items[0],
					  .accepted = o->issuers.items + 1,
					  .n_accepted = o->issuers.n - 1,
					  .audiences = o->audiences.items,
					  .n_audiences = o->audiences.n,
					  .verify = i->keys.verify,
					  .n_verify = i->keys.n_verify,
					  .sign = i->keys.sign,
					  .max_expiration_s = o->sa_max_expiration_ms / 1000,
					  .extend = o->sa_extend_expiration,
					  .memory = auth_memory_new() };
	*out = i;
	return 0;
}

void pki_issuing_free(struct issuing *i)
{
	if (!i)
		return;
	pki_service_keys_done(&i->keys);
	auth_memory_free(i->issuer.memory);
	free(i);
}

bool pki_issuing_same(const struct issuing *a, const struct issuing *b)
{
	if (a->keys.n_verify != b->keys.n_verify || !tls_key_same(a->keys.sign, b->keys.sign))
		return false;
	for (unsigned i = 0; i < a->keys.n_verify; i++)
		if (!tls_key_same(a->keys.verify[i], b->keys.verify[i]))
			return false;
	return true;
}
