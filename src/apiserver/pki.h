/* Certificates and keys: those that flags name, and those of our own for what no flag names. Private to apiserver. */
#pragma once

#include "apiserver/files.h"
#include "auth/auth.h"
#include "tls/tls.h"

struct service_keys {
	struct tls_key *sign;                           /* owned */
	struct tls_key *verify[APISERVER_LIST_MAX + 1]; /* owned */
	unsigned n_verify;
};

/* The folder of what we make: --cert-dir or DATA-DIR/pki; appended, and made if it is missing. */
int pki_dir(const struct apiserver_options *o, struct buf *out, struct err *err);
/* What listeners present and whom they believe, the latter as PEM too (a reference; may be empty). Without --tls-cert-file a CA
 * and a serving certificate of our own are made in the folder, the latter anew when it ends within 30 days or lacks an address
 * that it should have. */
int pki_tls(const struct apiserver_options *o, const struct files *f, struct clock *clock, struct tls_ctx **out_ctx,
	    struct bytes **out_authorities, struct err *err);
/* The keys of service account tokens: given, or one of our own that signs and verifies. */
int pki_service_keys(const struct apiserver_options *o, const struct files *f, struct service_keys *out, struct err *err);
void pki_service_keys_done(struct service_keys *k);
/* Who issues tokens, and with which keys: one block that threads share and that is replaced as a whole when keys change. */
struct issuing {
	struct auth_issuer issuer; /* its keys are those below */
	struct service_keys keys;
};
int pki_issuing_new(const struct apiserver_options *o, const struct files *f, struct issuing **out, struct err *err);
void pki_issuing_free(struct issuing *i); /* accepts NULL */
/* Do both have the same public keys in the same order? */
bool pki_issuing_same(const struct issuing *a, const struct issuing *b);
