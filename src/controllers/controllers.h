/* The controller manager: what makes the objects of a cluster do what they say. The seam of src/controllers.
 *
 * `knarr controller-manager` runs it in the foreground with kube-controller-manager's flags; the supervisor may run it inside a
 * process of its own through controllers_main. It meets the rest of Knarr only through the Kubernetes API: any API server will do.
 *
 * What it promises: it can be killed at any instruction, and whoever leads next comes to the same end; nothing is created twice
 * because a cache lagged behind; an object is changed only by patches that name what changes; without a change in the cluster it
 * asks nothing (leases, resynchronisation of certificates and timers of objects aside).
 *
 * Threads: everything on the caller's, in one loop. */
#pragma once

#include "base/base.h"

#define CONTROLLERS_NAMES_MAX 64

/* Times in milliseconds. Texts end in a 0 byte. */
struct controllers_options {
	struct span kubeconfig, master; /* [KUBECONFIG, ~/.kube/config, the pod's own account] */
	struct span controllers[CONTROLLERS_NAMES_MAX]; /* [*] NAME, -NAME, * */
	unsigned n_controllers;
	bool leader_elect;              /* [true] */
	int64_t lease_ms, renew_deadline_ms, retry_ms; /* [15 s, 10 s, 2 s] */
	struct span lease_ns, lease_name;              /* [kube-system, kube-controller-manager] */
	struct span bind_address;       /* [127.0.0.1]; health and metrics, HTTPS */
	int64_t secure_port;            /* [10257]; 0: none. --secure-port=0 */
	struct span tls_cert_file, tls_key_file;       /* [made at start, in memory] */
	struct span sa_key_file;        /* --service-account-private-key-file: signs tokens of Secrets; empty: none are made */
	struct span root_ca_file;       /* [the CA of the kubeconfig] goes into kube-root-ca.crt */
	struct span signing_cert_file, signing_key_file; /* --cluster-signing-*; empty: requests are not signed */
	int64_t signing_ms;             /* [8760 h] --cluster-signing-duration */
	struct span cluster_cidr;       /* pod addresses; one of each family */
	bool allocate_node_cidrs;
	int64_t node_mask4, node_mask6; /* [24, 64] */
	int64_t node_grace_ms;          /* [50 s] --node-monitor-grace-period */
	int64_t node_monitor_ms;        /* [5 s] --node-monitor-period */
	int64_t terminated_pods;        /* [12500] --terminated-pod-gc-threshold */
	int64_t max_endpoints;          /* [100] --max-endpoints-per-slice */
	int64_t log_verbosity;          /* -v; 4 and more: debug */
	struct arena arena;
};
void controllers_options_default(struct controllers_options *o);
void controllers_options_done(struct controllers_options *o);
/* argv without the applet's name. Class USAGE. */
int controllers_options_parse(struct controllers_options *o, int argc, char **argv, bool *out_help, struct err *err);
void controllers_options_help(void);
/* Is the controller of that name to run? `off`: it is not part of *. */
bool controllers_wanted(const struct controllers_options *o, const char *name, bool off);

/* The applet: ends at SIGTERM or SIGINT, giving its lease back, or when it leads no more. Returns the exit status. */
int controllers_main(int argc, char **argv);
