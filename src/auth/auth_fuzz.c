/* Arbitrary bytes as a token file, as a token, and as the JSON of RBAC objects: nothing crashes, no token is believed, a role
 * that is fed and removed leaves nothing behind. The first byte chooses. */
#include "auth/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool no_uid(void *arg, struct span kind, struct span ns, struct span name, struct arena *a, struct span *out_uid,
		   int64_t *out_deletion_s)
{
	return false;
}
static bool no_secret(void *arg, struct span ns, struct span name, struct arena *a, struct json *out)
{
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tls_key *key;
	if (!size)
		return 0;
	if (!key) {
		int rc = tls_key_new(TLS_ES256, &key, NULL);
		assert(rc == 0);
	}
	struct span text = span_make(data + 1, size - 1);
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct auth_user user;
	if (data[0] % 3 == 0) {
		struct auth_tokens *t;
		if (auth_tokens_parse(text, "fuzz", &t, &err) == 0) {
			(void)auth_tokens_find(t, text, &a, &user);
			auth_tokens_free(t);
		}
	} else if (data[0] % 3 == 1) {
		const struct auth_issuer i = { .issuer = SPAN("i"), .verify = &key, .n_verify = 1 };
		const struct auth_lookup look = { .uid_of = no_uid, .secret = no_secret };
		const struct span *audiences;
		unsigned n;
		struct auth_token_facts facts;
		assert(auth_token_check(&i, &look, text, 1000, NULL, 0, &a, &user, &audiences, &n, &facts, &err) < 0);
		assert(auth_bootstrap_check(&look, text, 1000, &a, &user, &err) < 0);
	} else {
		struct json tree;
		if (json_parse(&a, text, JSON_DUPLICATES_LAST, NULL, &tree, &err) < 0)
			return 0;
		const struct json *meta = json_getl(&tree, "metadata");
		struct span ns = json_span(json_getl(meta, "namespace")), name = json_span(json_getl(meta, "name"));
		struct auth_rbac *r = auth_rbac_new();
		struct auth_node *n = auth_node_new();
		for (int kind = 0; kind < AUTH_RBAC_KIND_COUNT; kind++)
			auth_rbac_put(r, (enum auth_rbac_kind)kind, &tree);
		for (int kind = 0; kind < AUTH_NODE_KIND_COUNT; kind++)
			auth_node_put(n, (enum auth_node_kind)kind, &tree);
		for (int kind = 0; kind < AUTH_RBAC_KIND_COUNT; kind++)
			auth_rbac_remove(r, (enum auth_rbac_kind)kind, ns, name);
		for (int kind = 0; kind < AUTH_NODE_KIND_COUNT; kind++)
			auth_node_remove(n, (enum auth_node_kind)kind, ns, name);
		auth_rbac_free(r); /* asserts that no subject is left */
		auth_node_free(n);
	}
	return 0;
}
