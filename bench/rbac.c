/* RBAC: what a decision costs with many bindings. One user of many is asked for what a binding of theirs allows, and for what
 * none does; the same with a hundredth of the bindings, so that the growth shows.
 *
 * usage: bench-rbac [BINDINGS]      default 10,000 role bindings in 100 namespaces, and a tenth of that for the cluster */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "auth/auth.h"
#include "took.h"

#define ROUNDS 20000

static void add(struct auth_rbac *r, enum auth_rbac_kind kind, const char *text)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json tree;
	if (json_parse(&a, span_of(text), 0, NULL, &tree, &err) < 0) {
		fprintf(stderr, "bench-rbac: %s\n", err_msg(&err));
		exit(1);
	}
	auth_rbac_put(r, kind, &tree);
}

static struct auth_rbac *fill(unsigned n)
{
	struct auth_rbac *r = auth_rbac_new();
	auto_buf struct buf text = {};
	add(r, AUTH_CLUSTER_ROLE,
	    "{\"metadata\":{\"name\":\"reader\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"services\"],"
	    "\"verbs\":[\"get\",\"list\",\"watch\"]}]}");
	for (unsigned i = 0; i < n; i++) {
		buf_trunc(&text, 0);
		buf_printf(&text, "{\"metadata\":{\"name\":\"b%u\",\"namespace\":\"ns%u\"},\"roleRef\":{\"kind\":\"ClusterRole\","
				  "\"name\":\"reader\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"user%u\"},{\"kind\":"
				  "\"ServiceAccount\",\"name\":\"sa%u\",\"namespace\":\"ns%u\"}]}", i, i % 100, i, i, i % 100);
		add(r, AUTH_ROLE_BINDING, buf_cstr(&text));
	}
	for (unsigned i = 0; i < n / 10; i++) {
		buf_trunc(&text, 0);
		buf_printf(&text, "{\"metadata\":{\"name\":\"c%u\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"reader\"},"
				  "\"subjects\":[{\"kind\":\"Group\",\"name\":\"group%u\"}]}", i, i);
		add(r, AUTH_CLUSTER_ROLE_BINDING, buf_cstr(&text));
	}
	return r;
}

/* p50 and p99 of one decision, in ns. */
static void ask(struct auth_rbac *r, unsigned n, const char *what, const char *verb, enum auth_decision want)
{
	static int64_t took[ROUNDS];
	int64_t begun = now_ns();
	for (unsigned k = 0; k < ROUNDS; k++) {
		auto_arena struct arena a = {};
		unsigned i = k * 7919u % n;
		struct span groups[] = { arena_printf(&a, "group%u", i % (n / 10)), SPAN("system:authenticated") };
		struct auth_user u = { .name = arena_printf(&a, "user%u", i), .groups = groups, .n_groups = 2 };
		struct auth_ask q = { .user = &u, .verb = span_of(verb), .group = SPAN(""), .version = SPAN("v1"),
				      .resource = SPAN("pods"), .ns = arena_printf(&a, "ns%u", i % 100), .name = SPAN("x"),
				      .is_resource = true };
		struct span reason;
		int64_t from = now_ns();
		enum auth_decision d = auth_rbac_allows(r, &q, &a, &reason);
		took[k] = now_ns() - from;
		if (d != want) {
			fprintf(stderr, "bench-rbac: a wrong decision\n");
			exit(1);
		}
	}
	double all_us = (double)(now_ns() - begun) / 1e3 / ROUNDS;
	qsort(took, ROUNDS, sizeof(took[0]), took_by_ns);
	printf("%6u bindings, %-8s p50 %5.2f us, p99 %5.2f us (with making the question %.2f)\n", n, what,
	       (double)took[ROUNDS / 2] / 1e3, (double)took[ROUNDS / 100 * 99] / 1e3, all_us);
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10000;
	if (n < 1000) {
		fprintf(stderr, "usage: bench-rbac [BINDINGS, 1000 or more]\n");
		return 2;
	}
	for (unsigned size = n / 100; size <= n; size *= 100) {
		struct auth_rbac *r = fill(size);
		ask(r, size, "allowed", "get", AUTH_ALLOW);
		ask(r, size, "refused", "delete", AUTH_NO_OPINION);
		auth_rbac_free(r);
	}
	return 0;
}
