#include "controllers/csr_plan.h"

#define HOUR_S 3600

const char *const csr_signer_names[CSR_SIGNERS] = {
	[CSR_CLIENT] = "kubernetes.io/kube-apiserver-client",
	[CSR_KUBELET_CLIENT] = "kubernetes.io/kube-apiserver-client-kubelet",
	[CSR_KUBELET_SERVING] = "kubernetes.io/kubelet-serving",
	[CSR_LEGACY] = "kubernetes.io/legacy-unknown",
};

int csr_signer_of(struct span name)
{
	for (int i = 0; i < CSR_SIGNERS; i++)
		if (span_is(name, csr_signer_names[i]))
			return i;
	return -1;
}

static bool only(const struct json *usages, const char *wanted)
{
	bool has = false;
	JSON_EACH_ITEM(usages, u) {
		struct span s = json_span(u);
		if (span_is(s, wanted))
			has = true;
		else if (!span_is(s, "digital signature") && !span_is(s, "key encipherment"))
			return false;
	}
	return has && tree_has_text(usages, SPAN("digital signature"));
}

const char *csr_unfit(enum csr_signer signer, const struct json *csr, const struct tls_peer *asked)
{
	const struct json *spec = tree_get(csr, "spec"), *usages = tree_get(spec, "usages");
	bool kubelet = signer == CSR_KUBELET_CLIENT || signer == CSR_KUBELET_SERVING;
	if (signer == CSR_LEGACY)
		return NULL;
	if (kubelet && (asked->n_orgs != 1 || strcmp(asked->orgs[0], "system:nodes") != 0))
		return "subject organization is not system:nodes";
	if (kubelet && !span_starts(span_of(asked->cn), SPAN("system:node:")))
		return "subject common name does not begin with system:node:";
	if (signer == CSR_KUBELET_SERVING) {
		if (!asked->n_dns_names && !asked->n_ips)
			return "DNS or IP subjectAltName is required";
		if (asked->n_uris)
			return "URI subjectAltNames are not allowed";
		return only(usages, "server auth") ? NULL : "usages did not match [key encipherment digital signature server auth]";
	}
	if (kubelet && (asked->n_dns_names || asked->n_ips || asked->n_uris))
		return "DNS, IP and URI subjectAltNames are not allowed";
	return only(usages, "client auth") ? NULL : "usages did not match [key encipherment digital signature client auth]";
}

int csr_kind(const struct json *usages)
{
	bool server = false, client = false;
	JSON_EACH_ITEM(usages, u) {
		struct span s = json_span(u);
		if (span_is(s, "server auth"))
			server = true;
		else if (span_is(s, "client auth"))
			client = true;
		else if (!span_is(s, "digital signature") && !span_is(s, "key encipherment"))
			return -1;
	}
	return server && client ? TLS_CERT_BOTH : server ? TLS_CERT_SERVER : client ? TLS_CERT_CLIENT : -1;
}

int64_t csr_deletion_s(const struct json *csr, int64_t certificate_end_s)
{
	const struct json *status = tree_get(csr, "status");
	int64_t due = tree_time(tree_meta(csr, "creationTimestamp")) + 24 * HOUR_S; /* nobody decided */
	bool approved = false;
	JSON_EACH_ITEM(tree_get(status, "conditions"), c) {
		int64_t at = tree_time(tree_get(c, "lastUpdateTime"));
		if (span_is(tree_span(c, "type"), "Denied") || span_is(tree_span(c, "type"), "Failed"))
			return at + HOUR_S;
		if (span_is(tree_span(c, "type"), "Approved")) {
			approved = true;
			due = at + (tree_span(status, "certificate").len ? HOUR_S : 24 * HOUR_S);
		}
	}
	return approved && certificate_end_s && certificate_end_s < due ? certificate_end_s : due;
}
