/* What a certificate request may become. Pure functions; private to src/controllers. */
#pragma once

#include "controllers/frame.h"
#include "tls/tls.h"

enum csr_signer { CSR_CLIENT, CSR_KUBELET_CLIENT, CSR_KUBELET_SERVING, CSR_LEGACY, CSR_SIGNERS };
extern const char *const csr_signer_names[CSR_SIGNERS];
int csr_signer_of(struct span name); /* -1: not ours */
/* Does what is asked for fit the signer? NULL: yes; else why not, in upstream's words. csr: the object; asked: its names. */
const char *csr_unfit(enum csr_signer signer, const struct json *csr, const struct tls_peer *asked);
/* The kind of certificate that its usages mean; -1: usages that cannot be given. */
int csr_kind(const struct json *usages);
/* When a request is to be deleted, Unix time (its certificate's end: 0 = not known). */
int64_t csr_deletion_s(const struct json *csr, int64_t certificate_end_s);
