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
 * Threads: `threads` loop threads serve requests; the first one accepts and deals connections to all (decision 0301). The store
 * has one thread more, so have the audit log and the making of OpenAPI documents. The caller's thread is not used. A
 * request lives on one loop thread from its first byte to its last.
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
#define APISERVER_LIST_MAX 8
#define APISERVER_THREADS_MAX 64
struct apiserver_list { /* of a flag that may be repeated */
	struct span items[APISERVER_LIST_MAX];
	unsigned n;
};

#define APISERVER_MORE_MAX 4
/* Times are in milliseconds, whatever unit a flag takes. */
struct apiserver_options {
	struct span data_dir; /* [/var/lib/knarr] the store is in DIR/store */
	struct span cert_dir; /* [DIR/pki] missing certificates and keys are made here */
	struct span tls_cert_file, tls_key_file, client_ca_file, token_auth_file;
	struct span bind_address;      /* [0.0.0.0] */
	struct span advertise_address; /* [the bind address, or 127.0.0.1] */
	int secure_port;	       /* [6443]; 0: any free one */
	struct span unix_socket;       /* empty: none. Root and our own user are system:masters there. */
	/* Listening sockets that the caller opened; taken over. -1: none. They stand in for bind address and port, and for
	 * unix_socket. more_https: further ones, at other addresses or of other network namespaces. */
	int https_fd, unix_fd;
	int more_https[APISERVER_MORE_MAX];
	unsigned n_more_https;
	struct span user; /* --user: NAME or UID[:GID]; the process gives up root once sockets and given keys are open */
	bool anonymous_auth; /* [true] */
	enum apiserver_authz modes[APISERVER_MODES_MAX];
	unsigned n_modes;	       /* [AlwaysAllow], kube-apiserver's own default */
	struct apiserver_list issuers; /* [https://kubernetes.default.svc]; the first issues, all are believed */
	struct apiserver_list sa_key_files, audiences;
	struct span sa_signing_key_file;
	int64_t sa_max_expiration_ms; /* 0: none */
	bool sa_extend_expiration;    /* [true] */
	struct span service_cluster_ip_range;  /* [10.96.0.0/16]; one range, or one of each family with a comma */
	struct span service_node_port_range;   /* [30000-32767] */
	struct span enable_admission, disable_admission; /* comma lists; known names */
	struct apiserver_list runtime_on; /* --runtime-config: group versions that are off by default and wanted */
	int64_t max_inflight, max_mutating;	       /* [400], [200]; 0: no limit */
	int64_t request_timeout_ms;	       /* [60 s] of everything that is not long-running by nature */
	int64_t min_request_timeout_ms;	       /* [1800 s] a watch lives this to twice this, unless it says otherwise */
	int64_t event_ttl_ms;		       /* [1 h] Events go that long after their last change, up to three minutes late */
	int64_t shutdown_delay_ms;	       /* [0] serving on, with /readyz failing, before a stop */
	struct span audit_policy_file, audit_log_path; /* "-": standard output */
	int64_t audit_log_maxsize_mb, audit_log_maxbackup, audit_log_maxage_days; /* [100], [0: all], [0: for ever] */
	bool audit_log_legacy;	/* --audit-log-format=legacy */
	/* How kubelets are reached: our certificate for them, who signs theirs (empty: nobody is asked), which of a node's addresses
	 * is taken [Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP], the port of nodes that name none [10250]. */
	struct span kubelet_client_certificate, kubelet_client_key, kubelet_certificate_authority, kubelet_address_types;
	int64_t kubelet_port;
	unsigned threads;     /* [number of processors, at most 8] */
	struct clock *clock;  /* NULL: the real one */
	struct arena arena;   /* of texts made while parsing */
	uint64_t given_;      /* the parser's */
};
void apiserver_options_default(struct apiserver_options *o);
void apiserver_options_done(struct apiserver_options *o);
/* argv without the applet's name. out_help: --help was among them. Class USAGE. */
int apiserver_options_parse(struct apiserver_options *o, int argc, char **argv, bool *out_help, struct err *err);
void apiserver_options_help(void);

/* Listens, reads keys, drops privileges if told to (of the whole process: call it before there are other threads), opens the
 * store, makes what is missing (certificates, keys, namespaces). Texts of options must outlive it. */
int apiserver_start(const struct apiserver_options *o, struct apiserver **out_server, struct err *err);
unsigned apiserver_port(const struct apiserver *s);
/* Reads certificates, client authorities, static tokens and the audit policy again; what cannot be read stays as it was and is
 * logged. Their folders are watched too, so that nobody has to call this. Any thread; returns before it is done. */
void apiserver_reload(struct apiserver *s);
/* /readyz fails from now on; nothing else changes. Any thread. */
void apiserver_stop_announce(struct apiserver *s);
void apiserver_stop(struct apiserver *s);
/* The applet: parses, takes descriptors that the service manager passed (LISTEN_FDS, sd_listen_fds(3)), starts, reloads at SIGHUP,
 * stops at SIGTERM or SIGINT. Returns the exit status. */
int apiserver_main(int argc, char **argv);
