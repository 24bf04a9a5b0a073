#include "apiserver/files.h"

#include <fcntl.h>

struct span files_path(const struct apiserver_options *o, unsigned what)
{
	switch (what) {
	case FILE_TLS_CERT: return o->tls_cert_file;
	case FILE_TLS_KEY: return o->tls_key_file;
	case FILE_CLIENT_CA: return o->client_ca_file;
	case FILE_TOKENS: return o->token_auth_file;
	case FILE_AUDIT_POLICY: return o->audit_policy_file;
	case FILE_SA_SIGN: return o->sa_signing_key_file;
	default: return what - FILE_SA_KEY < o->sa_key_files.n ? o->sa_key_files.items[what - FILE_SA_KEY] : SPAN_EMPTY;
	}
}

int files_read(const struct apiserver_options *o, struct files *out, struct err *err)
{
	struct files f = {};
	for (unsigned i = 0; i < FILE_COUNT; i++) {
		struct span path = files_path(o, i);
		if (!path.len)
			continue;
		auto_free char *name = mem_dup(path.ptr, path.len);
		int rc = io_read_file(AT_FDCWD, name, &f.text[i], FILES_MAX_BYTES, err);
		if (rc < 0) {
			files_done(&f);
			return rc;
		}
	}
	*out = f;
	return 0;
}

void files_done(struct files *f)
{
	for (unsigned i = 0; i < FILE_COUNT; i++) {
		if (f->text[i].cap)
			explicit_bzero(f->text[i].ptr, f->text[i].cap);
		buf_done(&f->text[i]);
	}
}
