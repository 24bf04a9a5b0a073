/* The tables that tools/gen/auth_policy.py makes of policy.txt, and their shape. Private to auth.
 *
 * A word is the offset of a 0-ended string in auth_policy_words; offset 0 is the empty one. A list is an offset into
 * auth_policy_lists, where its length stands before its items; offset 0 is the empty list. */
#pragma once

#include <stdint.h>

/* Five lists of words, as in a PolicyRule. */
struct policy_rule {
	uint16_t verbs, groups, resources, names, urls;
};

struct policy_role {
	uint16_t ns, name;
	uint16_t to, from; /* words: the part it is labelled for, the part it is made of; empty = none */
	uint16_t rules;    /* a list of indexes into auth_policy_rules */
};

struct policy_binding {
	uint16_t ns, name, role; /* the role has the binding's scope */
	uint16_t subjects;       /* a list of pairs: "u", "g" or "s" + name, then the namespace */
};

extern const char auth_policy_words[];
extern const uint16_t auth_policy_lists[];
extern const struct policy_rule auth_policy_rules[];
/* Cluster-wide ones have no ns and come first. */
extern const struct policy_role auth_policy_roles[];
extern const struct policy_binding auth_policy_bindings[];
extern const uint16_t auth_policy_n_roles, auth_policy_n_cluster_roles;
extern const uint16_t auth_policy_n_bindings, auth_policy_n_cluster_bindings;
