/* Flags, one row each: as kube-controller-manager spells them. A flag is obeyed or refused; none is taken and forgotten. */
#include "api/api.h"
#include "base/flags.h"
#include "controllers/controllers.h"
#include "controllers/frame.h"

enum flag_kind { FLAG_TEXT, FLAG_BOOL, FLAG_INT, FLAG_DURATION, FLAG_CONTROLLERS, FLAG_FALSE, FLAG_VERBOSITY, FLAG_CIDR_TYPE };

#define AT(member) offsetof(struct controllers_options, member)
static const struct flag {
	const char *name;
	enum flag_kind kind;
	size_t at;
	int64_t low, high;
	const char *help;
} flags[] = {
	{ "kubeconfig", FLAG_TEXT, AT(kubeconfig), 0, 0, "how the API server is reached" },
	{ "master", FLAG_TEXT, AT(master), 0, 0, "address of the API server, in place of the kubeconfig's" },
	{ "controllers", FLAG_CONTROLLERS, 0, 0, 0, "which to run: *, NAME, -NAME with commas (default *)" },
	{ "leader-elect", FLAG_BOOL, AT(leader_elect), 0, 0, "act only while holding the lease (default true)" },
	{ "leader-elect-lease-duration", FLAG_DURATION, AT(lease_ms), 1, 86400000, "(default 15s)" },
	{ "leader-elect-renew-deadline", FLAG_DURATION, AT(renew_deadline_ms), 1, 86400000, "(default 10s)" },
	{ "leader-elect-retry-period", FLAG_DURATION, AT(retry_ms), 1, 86400000, "(default 2s)" },
	{ "leader-elect-resource-namespace", FLAG_TEXT, AT(lease_ns), 0, 0, "(default kube-system)" },
	{ "leader-elect-resource-name", FLAG_TEXT, AT(lease_name), 0, 0, "(default kube-controller-manager)" },
	{ "bind-address", FLAG_TEXT, AT(bind_address), 0, 0, "address of health and metrics (default 127.0.0.1)" },
	{ "secure-port", FLAG_INT, AT(secure_port), 0, 65535, "port of health and metrics, HTTPS; 0 = none (default 10257)" },
	{ "tls-cert-file", FLAG_TEXT, AT(tls_cert_file), 0, 0, "certificate of that port (default: made at each start)" },
	{ "tls-private-key-file", FLAG_TEXT, AT(tls_key_file), 0, 0, "its private key" },
	{ "service-account-private-key-file", FLAG_TEXT, AT(sa_key_file), 0, 0, "signs the tokens of service account Secrets" },
	{ "root-ca-file", FLAG_TEXT, AT(root_ca_file), 0, 0, "certificates for kube-root-ca.crt (default: the kubeconfig's)" },
	{ "cluster-signing-cert-file", FLAG_TEXT, AT(signing_cert_file), 0, 0, "authority that signs certificate requests" },
	{ "cluster-signing-key-file", FLAG_TEXT, AT(signing_key_file), 0, 0, "its private key" },
	{ "cluster-signing-duration", FLAG_DURATION, AT(signing_ms), 1000, INT64_MAX,
	  "longest life of what it signs (default 8760h)" },
	{ "cluster-cidr", FLAG_TEXT, AT(cluster_cidr), 0, 0, "addresses of pods; one range of each family" },
	{ "allocate-node-cidrs", FLAG_BOOL, AT(allocate_node_cidrs), 0, 0, "give each node a part of --cluster-cidr" },
	{ "node-cidr-mask-size", FLAG_INT, AT(node_mask4), 1, 32, "size of a node's part (default 24)" },
	{ "node-cidr-mask-size-ipv4", FLAG_INT, AT(node_mask4), 1, 32, "the same, for IPv4" },
	{ "node-cidr-mask-size-ipv6", FLAG_INT, AT(node_mask6), 1, 128, "the same, for IPv6 (default 64)" },
	{ "cidr-allocator-type", FLAG_CIDR_TYPE, 0, 0, 0, "RangeAllocator; others belong to a cloud" },
	{ "node-monitor-grace-period", FLAG_DURATION, AT(node_grace_ms), 1000, INT64_MAX,
	  "silence after which a node is Unknown (default 50s)" },
	{ "node-monitor-period", FLAG_DURATION, AT(node_monitor_ms), 100, INT64_MAX,
	  "how often that is looked at, at most (default 5s)" },
	{ "terminated-pod-gc-threshold", FLAG_INT, AT(terminated_pods), 0, INT32_MAX,
	  "terminated pods that are kept; 0 = all (default 12500)" },
	{ "max-endpoints-per-slice", FLAG_INT, AT(max_endpoints), 1, 1000, "endpoints of an EndpointSlice (default 100)" },
	{ "use-service-account-credentials", FLAG_FALSE, 0, 0, 0,
	  "true is not to be had: all controllers act with the rights of the kubeconfig" },
	{ "profiling", FLAG_FALSE, 0, 0, 0, "true is not to be had: there is no Go runtime to profile" },
	{ "v", FLAG_VERBOSITY, AT(log_verbosity), 0, 10, "4 and more: debug" },
};

void controllers_options_default(struct controllers_options *o)
{
	*o = (struct controllers_options){
		.controllers = { SPAN_INIT("*") }, .n_controllers = 1,
		.leader_elect = true, .lease_ms = 15000, .renew_deadline_ms = 10000, .retry_ms = 2000,
		.lease_ns = SPAN("kube-system"), .lease_name = SPAN("kube-controller-manager"),
		.bind_address = SPAN("127.0.0.1"), .secure_port = 10257,
		.signing_ms = INT64_C(8760) * 3600 * 1000,
		.node_mask4 = 24, .node_mask6 = 64,
		.node_grace_ms = 50000, .node_monitor_ms = 5000,
		.terminated_pods = 12500, .max_endpoints = 100,
	};
}

void controllers_options_done(struct controllers_options *o)
{
	arena_done(&o->arena);
}

static int set_controllers(struct controllers_options *o, struct span value, struct err *err)
{
	struct span rest = value, one;
	o->n_controllers = 0;
	while (span_cut(&rest, ',', &one)) {
		struct span name = span_starts(one, SPAN("-")) ? span_from(one, 1) : one;
		bool known = span_is(name, "*");
		for (unsigned i = 0; i < cm_n_controllers && !known; i++)
			known = span_is(name, cm_controllers[i]->name);
		if (!known)
			return err_set(err, ERR_USAGE, "\"%.*s\" is not in the list of known controllers", SPAN_ARG(name));
		if (o->n_controllers == CONTROLLERS_NAMES_MAX)
			return err_set(err, ERR_USAGE, "--controllers: more than %d names", CONTROLLERS_NAMES_MAX);
		o->controllers[o->n_controllers++] = arena_span(&o->arena, one);
	}
	return 0;
}

bool controllers_wanted(const struct controllers_options *o, const char *name, bool off)
{
	bool star = false;
	for (unsigned i = 0; i < o->n_controllers; i++) {
		struct span s = o->controllers[i];
		if (span_is(s, name))
			return true;
		if (s.len && s.ptr[0] == '-' && span_is(span_from(s, 1), name))
			return false;
		star |= span_is(s, "*");
	}
	return star && !off;
}

static int bad(struct err *err, const struct flag *f, struct span value, const char *expected)
{
	return err_set(err, ERR_USAGE, "invalid argument \"%.*s\" for \"--%s\" flag: %s expected", SPAN_ARG(value), f->name, expected);
}

static int set_flag(struct controllers_options *o, const struct flag *f, struct span value, struct err *err)
{
	char *place = (char *)o + f->at;
	int64_t n;
	switch (f->kind) {
	case FLAG_TEXT: *(struct span *)place = arena_span(&o->arena, value); return 0;
	case FLAG_CONTROLLERS: return set_controllers(o, value, err);
	case FLAG_FALSE:
		if (span_is(value, "true"))
			return err_set(err, ERR_USAGE, "--%s: %s", f->name, f->help);
		return span_is(value, "false") ? 0 : bad(err, f, value, "true or false");
	case FLAG_CIDR_TYPE:
		return span_is(value, "RangeAllocator") ? 0 : err_set(err, ERR_USAGE, "--%s: %s", f->name, f->help);
	case FLAG_BOOL:
		if (!span_is(value, "true") && !span_is(value, "false"))
			return bad(err, f, value, "true or false");
		*(bool *)place = span_is(value, "true");
		return 0;
	case FLAG_DURATION:
		if (api_duration_parse(value, &n, NULL) < 0 || n / NS_PER_MS < f->low || n / NS_PER_MS > f->high)
			return bad(err, f, value, "a duration such as 1m30s");
		*(int64_t *)place = n / NS_PER_MS;
		return 0;
	case FLAG_INT:
	case FLAG_VERBOSITY:
		if (!span_to_i64(value, &n) || n < f->low || n > f->high)
			return err_set(err, ERR_USAGE,
				       "invalid argument \"%.*s\" for \"--%s\" flag: a number from %lld to %lld expected",
				       SPAN_ARG(value), f->name, (long long)f->low, (long long)f->high);
		*(int64_t *)place = n;
		return 0;
	}
	return 0;
}

static int check(const struct controllers_options *o, struct err *err)
{
	if (!o->tls_cert_file.len != !o->tls_key_file.len)
		return err_set(err, ERR_USAGE, "--tls-cert-file and --tls-private-key-file go together");
	if (!o->signing_cert_file.len != !o->signing_key_file.len)
		return err_set(err, ERR_USAGE, "--cluster-signing-cert-file and --cluster-signing-key-file go together");
	if (o->lease_ms <= o->renew_deadline_ms)
		return err_set(err, ERR_USAGE, "leaseDuration must be greater than renewDeadline");
	if (o->renew_deadline_ms * 10 <= o->retry_ms * 12)
		return err_set(err, ERR_USAGE, "renewDeadline must be greater than retryPeriod*JitterFactor");
	if (o->allocate_node_cidrs && !o->cluster_cidr.len)
		return err_set(err, ERR_USAGE, "--allocate-node-cidrs needs --cluster-cidr");
	return 0;
}

int controllers_options_parse(struct controllers_options *o, int argc, char **argv, bool *out_help, struct err *err)
{
	struct flags w = FLAGS_OF(argc, argv, flags, "unexpected argument:");
	struct span value;
	int rc;
	*out_help = false;
	while ((rc = flags_next(&w, err)) > 0) {
		const struct flag *f = &flags[w.row];
		bool is_truth = f->kind == FLAG_BOOL || f->kind == FLAG_FALSE;
		if ((rc = flags_value(&w, is_truth, &value, err)) < 0 || (rc = set_flag(o, f, value, err)) < 0)
			return rc;
	}
	*out_help = w.help;
	return rc < 0 || w.help ? rc : check(o, err);
}

void controllers_options_help(void)
{
	printf("Usage: knarr controller-manager [flags]\n\nMakes the objects of a cluster do what they say.\n\nFlags:\n");
	FLAGS_PRINT(flags);
	printf("\nControllers:\n");
	for (unsigned i = 0; i < cm_n_controllers; i++)
		printf("      %s%s\n", cm_controllers[i]->name, cm_controllers[i]->off ? " (not part of *)" : "");
}
