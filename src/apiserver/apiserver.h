/* The API server: Kubernetes' API over the store. The seam of src/apiserver.
 *
 * `knarr apiserver` runs one in the foreground with kube-apiserver's flags; the supervisor and tests may also run it inside a
 * process of theirs:
 *
 *     struct apiserver_options o;
 *     apiserver_options_default(&o);
 *     if (apiserver_options_parse(&o, argc, argv, &err) < 0) ...     // USAGE: unknown flag: --x
 *     if (apiserver_start(&o, &server, &err) < 0) ...
 *     apiserver_port(server);                                       // where it listens
 *     apiserver_stop(server);                                       // graceful; blocks; frees
 *
 * Threads: `threads` loop threads serve requests, each with its own listener on the shared port; the store has one more. The
 * caller's thread is not used. A request lives on one loop thread from its first byte to its last.
 *
 * What it promises: an answered write is durable; a list is one consistent snapshot; a watch misses nothing or is told 410. */
#pragma once

#include "base/base.h"

struct apiserver;

enum apiserver_authz {
	APISERVER_AUTHZ_ALWAYS_ALLOW,
	APISERVER_AUTHZ_ALWAYS_DENY,
	APISERVER_AUTHZ_RBAC,
	APISERVER_AUTHZ_NODE
};

#define APISERVER_MODES_MAX 4
struct apiserver_options {
	struct span data_dir; /* [/var/lib/knarr] the store is in DIR/store */
	struct span cert_dir; /* [DIR/pki] missing certificates and keys are made here */
	struct span tls_cert_file, tls_key_file, client_ca_file, token_auth_file;
	struct span bind_address;      /* [0.0.0.0] */
	struct span advertise_address; /* [the bind address, or 127.0.0.1] */
	int secure_port;	       /* [6443]; 0: any free one */
	struct span unix_socket;       /* empty: none. Root and our own user are system:masters there. */
	bool anonymous_auth;	       /* [true] */
	enum apiserver_authz modes[APISERVER_MODES_MAX];
	unsigned n_modes;   /* [AlwaysAllow], kube-apiserver's own default */
	struct span issuer; /* --service-account-issuer [https://kubernetes.default.svc] */
	struct span sa_key_file, sa_signing_key_file;
	int64_t max_inflight, max_mutating; /* [400], [200]; 0: no limit */
	unsigned threads;		    /* [number of processors, at most 8] */
	struct clock *clock;		    /* NULL: the real one */
	struct arena arena;		    /* of texts made while parsing */
};
void apiserver_options_default(struct apiserver_options *o);
void apiserver_options_done(struct apiserver_options *o);
/* argv without the applet's name. out_help: --help was among them. Class USAGE. */
int apiserver_options_parse(struct apiserver_options *o, int argc, char **argv, bool *out_help, struct err *err);
void apiserver_options_help(void);

/* Opens the store, makes what is missing (certificates, keys, namespaces), listens. Texts of options must outlive it. */
int apiserver_start(const struct apiserver_options *o, struct apiserver **out_server, struct err *err);
unsigned apiserver_port(const struct apiserver *s);
void apiserver_stop(struct apiserver *s);
/* The applet: parses, starts, waits for SIGTERM or SIGINT, stops. Returns the exit status. */
int apiserver_main(int argc, char **argv);
