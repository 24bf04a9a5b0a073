/* Flags, one row each: as kube-apiserver spells them. A flag is obeyed or refused; none is taken and forgotten. */
#include "admission/admission.h"
#include "apiserver/apiserver.h"
#include "apiserver/gates.h"
#include "apiserver/server.h"
#include "base/flags.h"

#include <unistd.h>

enum flag_kind {
	FLAG_TEXT,
	FLAG_LIST, /* may be repeated; each value may be a comma list when high is 1 */
	FLAG_INT,
	FLAG_BOOL,
	FLAG_MODES,
	FLAG_UNSIGNED,
	FLAG_SECONDS,  /* a number of seconds, kept in ms */
	FLAG_DURATION, /* Go's: "1m30s", kept in ms */
	FLAG_CHOICE,   /* text against `words`, kept as a bool: the second of two */
	FLAG_GATES,
	FLAG_RUNTIME, /* --runtime-config */
	FLAG_REFUSED, /* known, and not to be had here: help says why */
};

#define AT(member) offsetof(struct apiserver_options, member)
static const struct flag {
	const char *name;
	enum flag_kind kind;
	size_t at;
	int64_t low, high;
	const char *help;
	const char *words[2];
} flags[] = {
	{ "data-dir", FLAG_TEXT, AT(data_dir), 0, 0,
	  "folder of the store and the certificates (default /var/lib/knarr)" },
	{ "secure-port", FLAG_INT, AT(secure_port), 0, 65535, "port for HTTPS with authentication (default 6443)" },
	{ "bind-address", FLAG_TEXT, AT(bind_address), 0, 0, "address to listen on (default 0.0.0.0)" },
	{ "advertise-address", FLAG_TEXT, AT(advertise_address), 0, 0, "address that clients are told" },
	{ "unix-socket", FLAG_TEXT, AT(unix_socket), 0, 0, "also listen here, for root and our own user" },
	{ "user", FLAG_TEXT, AT(user), 0, 0, "NAME or UID[:GID] to become once sockets and given keys are open" },
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
	{ "service-account-issuer", FLAG_LIST, AT(issuers), 0, 0,
	  "who issues service account tokens; repeated: the first issues, all are believed" },
	{ "service-account-key-file", FLAG_LIST, AT(sa_key_files), 0, 0,
	  "key that verifies service account tokens; may be repeated" },
	{ "service-account-signing-key-file", FLAG_TEXT, AT(sa_signing_key_file), 0, 0, "key that signs them" },
	{ "service-account-max-token-expiration", FLAG_DURATION, AT(sa_max_expiration_ms), 0, INT64_MAX,
	  "longest life that a token is given; 0 = no bound" },
	{ "service-account-extend-token-expiration", FLAG_BOOL, AT(sa_extend_expiration), 0, 0,
	  "projected tokens are believed for a year (default true)" },
	{ "api-audiences", FLAG_LIST, AT(audiences), 0, 1, "audiences of tokens for this server (default: the issuer)" },
	{ "service-cluster-ip-range", FLAG_TEXT, AT(service_cluster_ip_range), 0, 0,
	  "addresses of services (default 10.96.0.0/16)" },
	{ "service-node-port-range", FLAG_TEXT, AT(service_node_port_range), 0, 0,
	  "ports of services on nodes (default 30000-32767)" },
	{ "enable-admission-plugins", FLAG_TEXT, AT(enable_admission), 0, 0, "plugins beside the default ones" },
	{ "disable-admission-plugins", FLAG_TEXT, AT(disable_admission), 0, 0, "default plugins that are not wanted" },
	{ "feature-gates", FLAG_GATES, 0, 0, 0, "NAME=true|false,... of Kubernetes 1.33" },
	{ "runtime-config", FLAG_RUNTIME, 0, 0, 0, "GROUP/VERSION=true,...: serve what is off by default (resource.k8s.io/v1beta2)" },
	{ "max-requests-inflight", FLAG_INT, AT(max_inflight), 0, 1000000,
	  "reading requests at once; 0 = no limit (default 400)" },
	{ "max-mutating-requests-inflight", FLAG_INT, AT(max_mutating), 0, 1000000,
	  "writing requests at once (default 200)" },
	{ "request-timeout", FLAG_DURATION, AT(request_timeout_ms), 1, 86400000,
	  "how long a request may take, watches and streams aside (default 1m0s)" },
	{ "min-request-timeout", FLAG_SECONDS, AT(min_request_timeout_ms), 0, 86400,
	  "seconds after which a watch may be ended (default 1800)" },
	{ "event-ttl", FLAG_DURATION, AT(event_ttl_ms), 1000, INT64_MAX,
	  "how long Events are kept after their last change (default 1h0m0s)" },
	{ "shutdown-delay-duration", FLAG_DURATION, AT(shutdown_delay_ms), 0, 86400000,
	  "how long to serve on with /readyz failing before a stop (default 0s)" },
	{ "audit-policy-file", FLAG_TEXT, AT(audit_policy_file), 0, 0, "what is audited: a Policy of audit.k8s.io/v1" },
	{ "audit-log-path", FLAG_TEXT, AT(audit_log_path), 0, 0, "where events are written; - is standard output" },
	{ "audit-log-maxsize", FLAG_INT, AT(audit_log_maxsize_mb), 0, 1 << 20,
	  "megabytes of a log before a new one is begun (default 100)" },
	{ "audit-log-maxbackup", FLAG_INT, AT(audit_log_maxbackup), 0, 1 << 20, "old logs to keep; 0 = all" },
	{ "audit-log-maxage", FLAG_INT, AT(audit_log_maxage_days), 0, 1 << 20, "days to keep old logs; 0 = for ever" },
	{ "audit-log-format", FLAG_CHOICE, AT(audit_log_legacy), 0, 0, "json or legacy (default json)",
	  { "json", "legacy" } },
	{ "kubelet-client-certificate", FLAG_TEXT, AT(kubelet_client_certificate), 0, 0,
	  "certificate that we show to kubelets" },
	{ "kubelet-client-key", FLAG_TEXT, AT(kubelet_client_key), 0, 0, "its private key" },
	{ "kubelet-certificate-authority", FLAG_TEXT, AT(kubelet_certificate_authority), 0, 0,
	  "authorities of the kubelets' own certificates (default: they are not checked)" },
	{ "kubelet-preferred-address-types", FLAG_TEXT, AT(kubelet_address_types), 0, 0,
	  "which address of a node to use (default Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP)" },
	{ "kubelet-port", FLAG_INT, AT(kubelet_port), 1, 65535, "port of kubelets whose node names none (default 10250)" },
	{ "threads", FLAG_UNSIGNED, AT(threads), 1, APISERVER_THREADS_MAX, "loop threads (default: processors, at most 8)" },
	{ "etcd-servers", FLAG_REFUSED, 0, 0, 0,
	  "not to be had: this server keeps its data in its own store (--data-dir), a backend for etcd does not exist yet" },
	{ "etcd-cafile", FLAG_REFUSED, 0, 0, 0, "not to be had: see --etcd-servers" },
	{ "etcd-certfile", FLAG_REFUSED, 0, 0, 0, "not to be had: see --etcd-servers" },
	{ "etcd-keyfile", FLAG_REFUSED, 0, 0, 0, "not to be had: see --etcd-servers" },
	{ "encryption-provider-config", FLAG_REFUSED, 0, 0, 0,
	  "not to be had: encryption of stored objects does not exist yet; they would be stored in the clear" },
};

static_assert(ARRAY_LEN(flags) <= 64, "given_ has a bit a flag");

void apiserver_options_default(struct apiserver_options *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	const char *data_dir = getenv("KNARR_DATA_DIR");
	*o = (struct apiserver_options){
		.data_dir = data_dir && *data_dir ? span_of(data_dir) : SPAN("/var/lib/knarr"),
		.bind_address = SPAN("0.0.0.0"),
		.secure_port = 6443,
		.https_fd = -1,
		.unix_fd = -1,
		.anonymous_auth = true,
		.modes = { APISERVER_AUTHZ_ALWAYS_ALLOW },
		.n_modes = 1,
		.issuers = { .items = { SPAN_INIT("https://kubernetes.default.svc") }, .n = 1 },
		.sa_extend_expiration = true,
		.service_cluster_ip_range = SPAN("10.96.0.0/16"),
		.service_node_port_range = SPAN("30000-32767"),
		.kubelet_address_types = SPAN("Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP"),
		.kubelet_port = 10250,
		.max_inflight = 400,
		.max_mutating = 200,
		.request_timeout_ms = 60000,
		.min_request_timeout_ms = 1800000,
		.event_ttl_ms = 3600000,
		.audit_log_maxsize_mb = 100,
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

bool apiserver_duration_ms(struct span text, int64_t *out_ms)
{
	static const struct {
		const char *name;
		double ms;
	} units[] = { { "ns", 1e-6 }, { "us", 1e-3 }, { "ms", 1 }, { "s", 1e3 }, { "m", 6e4 }, { "h", 3.6e6 } };
	double ms = 0;
	if (span_is(text, "0")) {
		*out_ms = 0;
		return true;
	}
	if (!text.len || text.len > 64)
		return false;
	while (text.len) {
		size_t digits = 0, letters = 0;
		double n, unit = 0;
		while (digits < text.len && ((text.ptr[digits] >= '0' && text.ptr[digits] <= '9') || text.ptr[digits] == '.'))
			digits++;
		while (digits + letters < text.len && text.ptr[digits + letters] >= 'a' && text.ptr[digits + letters] <= 'z')
			letters++;
		for (size_t i = 0; i < ARRAY_LEN(units); i++)
			if (span_is(span_sub(text, digits, digits + letters), units[i].name))
				unit = units[i].ms;
		if (unit == 0 || !json_read_double(span_sub(text, 0, digits), &n))
			return false;
		ms += n * unit;
		text = span_from(text, digits + letters);
	}
	if (ms > 9e15)
		return false;
	*out_ms = (int64_t)ms;
	return true;
}

static int list_add(struct apiserver_options *o, struct apiserver_list *list, const struct flag *f, struct span value,
		    struct err *err)
{
	/* The first value given replaces the default, as pflag's slices do. */
	if (!(o->given_ & UINT64_C(1) << (f - flags)))
		list->n = 0;
	o->given_ |= UINT64_C(1) << (f - flags);
	struct span rest = value, one = value;
	while (f->high ? span_cut(&rest, ',', &one) : rest.len > 0) {
		if (!f->high)
			rest = SPAN_EMPTY;
		if (list->n == APISERVER_LIST_MAX)
			return err_set(err, ERR_USAGE, "--%s: more than %d values", f->name, APISERVER_LIST_MAX);
		list->items[list->n++] = arena_span(&o->arena, one);
	}
	return 0;
}

/* One group version of --runtime-config. What is on or off anyway may be named; what cannot be changed is refused. */
static int runtime_one(struct apiserver_options *o, struct span name, bool on, struct err *err)
{
	struct span group, version, rest;
	if (!span_split(name, '/', &group, &rest)) {
		group = SPAN("");
		rest = name;
	}
	(void)span_split(rest, '/', &version, &rest);
	struct api_registry *all = api_registry_builtin(true);
	const struct api_group_version *gv = api_registry_find_version(all, group, version);
	bool served = gv && api_registry_at(all, gv->first)->served == API_SERVED;
	bool known = gv;
	api_registry_unref(all);
	if (span_is(group, "api"))
		return err_set(err, ERR_USAGE, "--runtime-config %.*s: this server cannot switch a whole stage; name group versions",
			       SPAN_ARG(name));
	if (!known)
		return err_set(err, ERR_USAGE, "--runtime-config: unknown api groups %.*s", SPAN_ARG(name));
	if (on == served)
		return 0;
	if (!on)
		return err_set(err, ERR_USAGE, "--runtime-config %.*s=false: this server cannot switch it off", SPAN_ARG(name));
	if (o->runtime_on.n < APISERVER_LIST_MAX)
		o->runtime_on.items[o->runtime_on.n++] = arena_span(&o->arena, name);
	return 0;
}

static int runtime_parse(struct apiserver_options *o, struct span text, struct err *err)
{
	struct span rest = text, one, name, value;
	while (span_cut(&rest, ',', &one)) {
		one = span_trim(one);
		if (!one.len)
			continue;
		bool has_value = span_split(one, '=', &name, &value) && value.len;
		if (has_value && !span_is(value, "true") && !span_is(value, "false"))
			return err_set(err, ERR_USAGE, "invalid value of --runtime-config: %.*s", SPAN_ARG(one));
		int rc = runtime_one(o, span_trim(name), !has_value || span_is(value, "true"), err);
		if (rc < 0)
			return rc;
	}
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
	case FLAG_LIST: return list_add(o, (struct apiserver_list *)place, f, value, err);
	case FLAG_MODES: return set_modes(o, value, err);
	case FLAG_GATES: return gates_parse(value, err);
	case FLAG_RUNTIME: return runtime_parse(o, value, err);
	case FLAG_REFUSED: return err_set(err, ERR_USAGE, "--%s: %s", f->name, f->help);
	case FLAG_CHOICE:
		if (!span_is(value, f->words[0]) && !span_is(value, f->words[1]))
			return err_set(err, ERR_USAGE, "invalid argument \"%.*s\" for \"--%s\" flag: %s or %s expected",
				       SPAN_ARG(value), f->name, f->words[0], f->words[1]);
		*(bool *)place = span_is(value, f->words[1]);
		return 0;
	case FLAG_BOOL:
		if (!span_is(value, "true") && !span_is(value, "false"))
			return err_set(err, ERR_USAGE,
				       "invalid argument \"%.*s\" for \"--%s\" flag: true or false expected",
				       SPAN_ARG(value), f->name);
		*(bool *)place = span_is(value, "true");
		return 0;
	case FLAG_DURATION:
		if (!apiserver_duration_ms(value, &n) || n < f->low || n > f->high)
			return err_set(err, ERR_USAGE,
				       "invalid argument \"%.*s\" for \"--%s\" flag: a duration such as 1m30s expected",
				       SPAN_ARG(value), f->name);
		*(int64_t *)place = n;
		return 0;
	case FLAG_INT:
	case FLAG_UNSIGNED:
	case FLAG_SECONDS:
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
			*(int64_t *)place = f->kind == FLAG_SECONDS ? n * 1000 : n;
		return 0;
	}
	return 0;
}

/* What only makes sense together, and values that are used long after start. */
static int check(const struct apiserver_options *o, struct err *err)
{
	if (!o->tls_cert_file.len != !o->tls_key_file.len)
		return err_set(err, ERR_USAGE, "--tls-cert-file and --tls-private-key-file go together");
	if (o->audit_log_path.len && !o->audit_policy_file.len)
		return err_set(err, ERR_USAGE,
			       "--audit-log-path without --audit-policy-file: there is nothing to be written");
	for (unsigned i = 0; i < o->issuers.n; i++)
		if (!o->issuers.items[i].len)
			return err_set(err, ERR_USAGE, "service-account-issuer must not be an empty string");
	struct admission_set set;
	int rc = admission_set_parse(o->enable_admission, o->disable_admission, &set, err);
	if (rc < 0)
		return rc;
	struct span low, high;
	int64_t from, to;
	if (!span_split(o->service_node_port_range, '-', &low, &high) || !span_to_i64(low, &from) ||
	    !span_to_i64(high, &to) || from < 1 || to > 65535 || from > to)
		return err_set(err, ERR_USAGE,
			       "invalid argument \"%.*s\" for \"--service-node-port-range\" flag: LOW-HIGH expected",
			       SPAN_ARG(o->service_node_port_range));
	return 0;
}

int apiserver_options_parse(struct apiserver_options *o, int argc, char **argv, bool *out_help, struct err *err)
{
	struct flags w = FLAGS_OF(argc, argv, flags, "unexpected argument:");
	struct span value;
	int rc;
	*out_help = false;
	while ((rc = flags_next(&w, err)) > 0) {
		const struct flag *f = &flags[w.row];
		if ((rc = flags_value(&w, f->kind == FLAG_BOOL, &value, err)) < 0 || (rc = set_flag(o, f, value, err)) < 0)
			return rc;
	}
	*out_help = w.help;
	return rc < 0 || w.help ? rc : check(o, err);
}

void apiserver_options_help(void)
{
	printf("Usage: knarr apiserver [flags]\n\nServes the Kubernetes API from an embedded store.\n\nFlags:\n");
	FLAGS_PRINT(flags);
}
