/* Flags, one row each: as kube-apiserver spells them. */
#include "apiserver/apiserver.h"

#include <unistd.h>

enum flag_kind { FLAG_TEXT, FLAG_INT, FLAG_BOOL, FLAG_MODES, FLAG_UNSIGNED };

#define AT(member) offsetof(struct apiserver_options, member)
static const struct flag {
	const char *name;
	enum flag_kind kind;
	size_t at;
	int64_t low, high;
	const char *help;
} flags[] = {
	{ "data-dir", FLAG_TEXT, AT(data_dir), 0, 0,
	  "folder of the store and the certificates (default /var/lib/knarr)" },
	{ "secure-port", FLAG_INT, AT(secure_port), 0, 65535, "port for HTTPS with authentication (default 6443)" },
	{ "bind-address", FLAG_TEXT, AT(bind_address), 0, 0, "address to listen on (default 0.0.0.0)" },
	{ "advertise-address", FLAG_TEXT, AT(advertise_address), 0, 0, "address that clients are told" },
	{ "unix-socket", FLAG_TEXT, AT(unix_socket), 0, 0, "also listen here, for root and our own user" },
	{ "cert-dir", FLAG_TEXT, AT(cert_dir), 0, 0,
	  "where missing certificates and keys are made (default DATA-DIR/pki)" },
	{ "tls-cert-file", FLAG_TEXT, AT(tls_cert_file), 0, 0, "serving certificate" },
	{ "tls-private-key-file", FLAG_TEXT, AT(tls_key_file), 0, 0, "its private key" },
	{ "client-ca-file", FLAG_TEXT, AT(client_ca_file), 0, 0,
	  "client certificates signed by these authorities are users" },
	{ "token-auth-file", FLAG_TEXT, AT(token_auth_file), 0, 0, "static tokens: token,user,uid,\"group1,group2\"" },
	{ "anonymous-auth", FLAG_BOOL, AT(anonymous_auth), 0, 0,
	  "requests without credentials are system:anonymous (default true)" },
	{ "authorization-mode", FLAG_MODES, 0, 0, 0,
	  "AlwaysAllow, AlwaysDeny, Node, RBAC; several with commas (default AlwaysAllow)" },
	{ "service-account-issuer", FLAG_TEXT, AT(issuer), 0, 0, "who issues service account tokens" },
	{ "service-account-key-file", FLAG_TEXT, AT(sa_key_file), 0, 0, "key that verifies service account tokens" },
	{ "service-account-signing-key-file", FLAG_TEXT, AT(sa_signing_key_file), 0, 0, "key that signs them" },
	{ "max-requests-inflight", FLAG_INT, AT(max_inflight), 0, 1000000,
	  "reading requests at once; 0 = no limit (default 400)" },
	{ "max-mutating-requests-inflight", FLAG_INT, AT(max_mutating), 0, 1000000,
	  "writing requests at once (default 200)" },
	{ "threads", FLAG_UNSIGNED, AT(threads), 1, 64, "loop threads (default: processors, at most 8)" },
};

void apiserver_options_default(struct apiserver_options *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	const char *data_dir = getenv("KNARR_DATA_DIR");
	*o = (struct apiserver_options){
		.data_dir = data_dir && *data_dir ? span_of(data_dir) : SPAN("/var/lib/knarr"),
		.bind_address = SPAN("0.0.0.0"),
		.secure_port = 6443,
		.anonymous_auth = true,
		.modes = { APISERVER_AUTHZ_ALWAYS_ALLOW },
		.n_modes = 1,
		.issuer = SPAN("https://kubernetes.default.svc"),
		.max_inflight = 400,
		.max_mutating = 200,
		.threads = cpus < 1   ? 1
			   : cpus > 8 ? 8
				      : (unsigned)cpus,
	};
}

void apiserver_options_done(struct apiserver_options *o)
{
	arena_done(&o->arena);
}

static int set_modes(struct apiserver_options *o, struct span value, struct err *err)
{
	static const struct {
		const char *name;
		enum apiserver_authz mode;
	} modes[] = {
		{ "AlwaysAllow", APISERVER_AUTHZ_ALWAYS_ALLOW },
		{ "AlwaysDeny", APISERVER_AUTHZ_ALWAYS_DENY },
		{ "RBAC", APISERVER_AUTHZ_RBAC },
		{ "Node", APISERVER_AUTHZ_NODE },
	};
	struct span rest = value, one;
	o->n_modes = 0;
	while (span_cut(&rest, ',', &one)) {
		size_t i = 0;
		while (i < ARRAY_LEN(modes) && !span_is(one, modes[i].name))
			i++;
		if (i == ARRAY_LEN(modes))
			return err_set(err, ERR_USAGE, "authorization-mode \"%.*s\" is not a valid mode",
				       SPAN_ARG(one));
		for (unsigned k = 0; k < o->n_modes; k++)
			if (o->modes[k] == modes[i].mode)
				return err_set(err, ERR_USAGE,
					       "authorization-mode \"%.*s\" has mode specified more than once",
					       SPAN_ARG(value));
		o->modes[o->n_modes++] = modes[i].mode;
	}
	if (!o->n_modes)
		return err_set(err, ERR_USAGE, "at least one authorization-mode must be passed");
	return 0;
}

static int set_flag(struct apiserver_options *o, const struct flag *f, struct span value, struct err *err)
{
	char *place = (char *)o + f->at;
	int64_t n;
	switch (f->kind) {
	case FLAG_TEXT:
		*(struct span *)place =
			arena_span(&o->arena, value); /* ends in a 0 byte: paths are used as C strings */
		return 0;
	case FLAG_MODES: return set_modes(o, value, err);
	case FLAG_BOOL:
		if (!span_is(value, "true") && !span_is(value, "false"))
			return err_set(err, ERR_USAGE,
				       "invalid argument \"%.*s\" for \"--%s\" flag: true or false expected",
				       SPAN_ARG(value), f->name);
		*(bool *)place = span_is(value, "true");
		return 0;
	case FLAG_INT:
	case FLAG_UNSIGNED:
		if (!span_to_i64(value, &n) || n < f->low || n > f->high)
			return err_set(
				err, ERR_USAGE,
				"invalid argument \"%.*s\" for \"--%s\" flag: a number from %lld to %lld expected",
				SPAN_ARG(value), f->name, (long long)f->low, (long long)f->high);
		if (f->kind == FLAG_UNSIGNED)
			*(unsigned *)place = (unsigned)n;
		else if (f->at == AT(secure_port))
			*(int *)place = (int)n;
		else
			*(int64_t *)place = n;
		return 0;
	}
	return 0;
}

int apiserver_options_parse(struct apiserver_options *o, int argc, char **argv, bool *out_help, struct err *err)
{
	*out_help = false;
	for (int i = 0; i < argc; i++) {
		struct span arg = span_of(argv[i]), name, value;
		if (span_is(arg, "--help") || span_is(arg, "-h")) {
			*out_help = true;
			return 0;
		}
		if (!span_starts(arg, SPAN("--")))
			return err_set(err, ERR_USAGE, "unexpected argument: %s", argv[i]);
		bool has_value = span_split(span_from(arg, 2), '=', &name, &value);
		const struct flag *f = NULL;
		for (size_t k = 0; k < ARRAY_LEN(flags); k++)
			if (span_is(name, flags[k].name))
				f = &flags[k];
		if (!f)
			return err_set(err, ERR_USAGE, "unknown flag: --%.*s", SPAN_ARG(name));
		if (!has_value && f->kind == FLAG_BOOL) {
			value = SPAN("true");
		} else if (!has_value) {
			if (++i == argc)
				return err_set(err, ERR_USAGE, "flag needs an argument: --%s", f->name);
			value = span_of(argv[i]);
		}
		int rc = set_flag(o, f, value, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

void apiserver_options_help(void)
{
	printf("Usage: knarr apiserver [flags]\n\nServes the Kubernetes API from an embedded store.\n\nFlags:\n");
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		printf("      --%-34s %s\n", flags[i].name, flags[i].help);
}
