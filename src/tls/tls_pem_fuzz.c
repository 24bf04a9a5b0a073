/* PEM texts from outside: certificates, keys, requests, bundles. */
#include "tls/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span pem = { (const char *)data, size };
	struct tls_peer *peer = NULL;
	struct tls_key *key = NULL;
	auto_err struct err err = ERR_INIT;
	if (tls_cert_read(pem, "input", &peer, &err) == 0)
		tls_peer_unref(peer);
	if (tls_key_read(pem, "input", &key, &err) == 0) {
		auto_buf struct buf out = {};
		tls_key_jwk(key, &out);
		tls_key_unref(key);
	}
	if (tls_csr_read(pem, "input", &peer, &key, &err) == 0) {
		tls_peer_unref(peer);
		tls_key_unref(key);
	}
	struct tls_client_params p = { .ca_pem = pem, .ca_where = "input" };
	struct tls_ctx *ctx = NULL;
	if (size && tls_client_new(&p, &ctx, &err) == 0)
		tls_ctx_unref(ctx);
	return 0;
}
