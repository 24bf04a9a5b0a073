/* The files that flags name: read at start before privileges are dropped, and again when they change. Private to apiserver. */
#pragma once

#include "apiserver/apiserver.h"

enum file_what {
	FILE_TLS_CERT,
	FILE_TLS_KEY,
	FILE_CLIENT_CA,
	FILE_TOKENS,
	FILE_AUDIT_POLICY,
	FILE_SA_SIGN,
	FILE_SA_KEY, /* the first of APISERVER_LIST_MAX */
	FILE_COUNT = FILE_SA_KEY + APISERVER_LIST_MAX
};

/* Contents; empty for what no flag names. */
struct files {
	struct buf text[FILE_COUNT];
};
#define FILES_MAX_BYTES (1 << 20)

/* The path that a flag gave (with a 0 byte behind), empty for none. */
struct span files_path(const struct apiserver_options *o, unsigned what);
/* Reads all; out holds nothing on failure. */
int files_read(const struct apiserver_options *o, struct files *out, struct err *err);
void files_done(struct files *f); /* overwrites what it frees: keys are among it */
