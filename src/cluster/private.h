/* What the files of src/cluster share. */
#pragma once

#include "cluster/cluster.h"
#include "json/json.h"

/* ---- layout.c: names of everything */

struct cluster_layout {
	struct arena arena;
	bool is_default;
	char id[9]; /* "0", or the first 8 hex digits of sha256(data) */
	/* All end in a 0 byte. */
	struct span data, run, pki, log;
	struct span config, admin, cluster, state, lock, pin;
	struct span docker_sock, api_sock, cri_sock;
	struct span program; /* this program */
};
/* dir empty: KNARR_DATA_DIR, else the default. Relative ones count from the working folder. */
int cluster_layout_init(struct cluster_layout *l, struct span dir, struct err *err);
void cluster_layout_done(struct cluster_layout *l);
/* Makes the folders, and the link D/run where the run folder is elsewhere. */
int cluster_layout_make(const struct cluster_layout *l, struct err *err);
/* Links the plugin of the pod network to where the engine looks for it. */
int cluster_layout_plugin(const struct cluster_layout *l, struct err *err);
const char *cluster_layout_path(const struct cluster_layout *l, struct arena *a, const char *name); /* DATA/name */
/* systemd runs here and has knarr.service: the default cluster is started and stopped by it. */
bool cluster_layout_systemd(const struct cluster_layout *l);

/* ---- options.c: command lines of the applets */

enum cluster_option_kind { CLUSTER_OPTION_TRUE, CLUSTER_OPTION_TEXT, CLUSTER_OPTION_NUMBER };
struct cluster_option {
	const char *name; /* "data-dir" */
	char letter;	  /* 0: none */
	enum cluster_option_kind kind;
	void *out; /* bool, struct span, int64_t */
	const char *help;
};
struct cluster_usage {
	const char *usage, *about;
	const struct cluster_option *options;
	unsigned n_options;
	unsigned n_words; /* how many words besides are allowed */
	struct span *words;
	unsigned got_words;
};
/* 0; 1: help was printed; -USAGE with a suggestion for what is misspelt. */
int cluster_options_parse(struct cluster_usage *u, int argc, char **argv, struct err *err);
/* The nearest of names to a misspelt word, or NULL when none is near. */
const char *cluster_nearest(struct span word, const char *const *names, size_t n);
/* "knarr up: what is wrong" on descriptor 2; the exit status for it. */
int cluster_fail(const char *applet, const struct err *err);

/* ---- settings.c: config.yaml and cluster.json */

#define CLUSTER_SANS_MAX 32
#define CLUSTER_ARGS_MAX 32
enum cluster_part {
	CLUSTER_ENGINE,
	CLUSTER_APISERVER,
	CLUSTER_CONTROLLERS,
	CLUSTER_SCHEDULER,
	CLUSTER_KUBELET,
	CLUSTER_PROXY,
	CLUSTER_DNS,
	CLUSTER_PARTS
};
extern const char *const cluster_part_names[CLUSTER_PARTS];

struct cluster_settings {
	struct arena arena;
	struct span pod_cidr, service_cidr, dns_address, domain, node_ports, node_name;
	struct span advertise_address; /* empty: found out */
	int64_t health_s, node_mask, api_port, max_pods;
	bool host_network;
	struct span sans[CLUSTER_SANS_MAX]; /* further names and addresses in the API server's certificate */
	unsigned n_sans;
	struct {
		struct span text[CLUSTER_ARGS_MAX];
		unsigned n;
	} args[CLUSTER_PARTS]; /* further arguments */
	struct span address;   /* cluster.json: the cluster's own, in its namespace; empty: the host's network */
	int64_t objects_made;  /* cluster.json: so many of the rows in objects.c are its owner's by now */
};
/* Defaults, then config.yaml (which need not be there), then what cluster.json fixed at the first start; a fixed setting that
 * differs now is IN_USE with the remedy. want_host_network: --host-network. */
int cluster_settings_read(const struct cluster_layout *l, bool want_host_network, struct cluster_settings *s, struct err *err);
/* config.yaml alone; INVALID with line or key and a suggestion. */
int cluster_settings_parse(struct span text, struct cluster_settings *s, struct err *err);
void cluster_settings_default(const struct cluster_layout *l, struct cluster_settings *s);
int cluster_settings_save(const struct cluster_layout *l, const struct cluster_settings *s, struct err *err);
void cluster_settings_done(struct cluster_settings *s);
/* The nth address of a range, as text in the arena; empty when there is none. */
struct span cluster_range_at(struct arena *a, struct span range, uint32_t nth);

/* ---- certs.c: authority, certificates, kubeconfigs */

/* Makes what is missing, runs out within 120 days, or lacks a name or address. *out_new: how many were made. */
int cluster_certs_make(const struct cluster_layout *l, const struct cluster_settings *s, int64_t now_s, unsigned *out_new,
	struct err *err);
/* A client certificate of its own for a person, with a new key; both appended, as is the authority's. */
int cluster_certs_issue(const struct cluster_layout *l, const char *name, const char *group, int64_t now_s, struct buf *ca_pem,
			struct buf *cert_pem, struct buf *key_pem, struct err *err);
/* A kubeconfig: appended. name: of cluster, user and context. */
void cluster_kubeconfig_write(struct buf *out, const char *name, const char *user, struct span server, struct span ca_pem,
			      struct span cert_pem, struct span key_pem);

/* ---- address.c */

/* The addresses of this network namespace that others may know us by, as texts in the arena, the node's first. */
unsigned cluster_addresses(struct arena *a, const char **out, unsigned cap);
/* The node's, unless config.yaml names one: the one that the way to other machines begins with; without such a way the first of an
 * interface that is up (*out_of, may be NULL: its name); empty when there is none. */
struct span cluster_outward_address(struct arena *a, const char **out_of);

/* ---- kubeconfig.c */

/* Puts cluster, user and context of one kubeconfig into another, each in place of what has its name there; the context becomes the
 * current one if there was none. into may be null (an empty file). INVALID for what is no kubeconfig. */
int cluster_kubeconfig_merge(struct arena *a, const struct json *from, struct json *into, struct err *err);

/* ---- state.c: RUN/state.json, by its reader */

enum cluster_part_state { CLUSTER_PART_STARTING, CLUSTER_PART_READY, CLUSTER_PART_WAITING, CLUSTER_PART_ENDED };
extern const char *const cluster_part_state_names[];

struct cluster_part_view {
	struct span name, state, health, last_end;
	int64_t pid, start_ticks, restarts, started_s, ready_ms;
};
#define CLUSTER_STEPS_MAX 16
struct cluster_view {
	struct arena arena;
	int64_t pid, start_ticks;
	struct span phase; /* "starting", "running", "stopping", "failed" */
	struct span address, server;
	struct {
		struct span name, detail;
		int64_t ms; /* since the supervisor began */
	} steps[CLUSTER_STEPS_MAX];
	unsigned n_steps;
	struct {
		struct span step, reason, remedy;
	} failure;
	struct cluster_part_view parts[CLUSTER_PARTS];
	unsigned n_parts;
	bool alive; /* that supervisor lives */
};
/* NOT_FOUND: there is none. */
int cluster_view_read(const struct cluster_layout *l, struct cluster_view *v, struct err *err);
void cluster_view_done(struct cluster_view *v);

/* RUN/notify.sock, in the supervisor: this line and a socket beside it are answered by a byte on that socket. */
#define NOTICE_ASK "X_KNARR_ASK=1"

/* ---- doctor.c */

/* Looks at everything; prints a line each to `out`. Returns how many things stand in the way. The first of them goes into err
 * (with its remedy). all: what is well too; else the notes alone that a person should do something about. */
unsigned cluster_doctor(const struct cluster_layout *l, const struct cluster_settings *s, bool running, bool all, FILE *out,
			struct err *err);

/* The tables that somebody has made by iptables-legacy or ip6tables-legacy, as /proc below root ("" = the machine's) names them:
 * "filter, nat (IPv4)". False, nothing is added: there are none. They are no part of nftables, where rules of ours could go. */
bool cluster_firewall_legacy(const char *root, struct buf *out);
/* Whether the kernel of that release has this module (`overlay`) to load when it is asked for. root as above. */
bool cluster_module_at_hand(const char *root, const char *release, const char *name);

/* ---- groups.c */

/* What is in the cluster's control groups: *out_containers counts the first ones of PID namespaces but for sandboxes' pauses, so
 * none of a pod with the host's PIDs. */
void cluster_groups_count(const struct cluster_layout *l, unsigned *out_containers, unsigned *out_processes);

/* Ends every process in the cluster's control groups: SIGTERM to the first of each container, SIGKILL to all after grace_ms (0: at
 * once). Blocks. How many do not end. */
unsigned cluster_groups_end(const struct cluster_layout *l, int64_t grace_ms);
int cluster_groups_remove(const struct cluster_layout *l, struct err *err);
/* Field 5 of a line of mountinfo, with its octal escapes undone (proc(5)). */
bool cluster_mount_point(struct span line, struct buf *out);

/* ---- others */

/* The last lines of a part's log, each indented by two blanks. */
void cluster_log_tail(const struct cluster_layout *l, const char *part, unsigned lines, struct buf *out);

/* ---- lock.c */

/* The right to change the cluster, as a descriptor of RUN/server.lock: until it is closed nobody else has it. RUN must be there.
 * Waits half a second for others. IN_USE: a supervisor runs. */
int cluster_lock_take(const struct cluster_layout *l, int *out_fd, struct err *err);
/* Ends the supervisor; waits until it is gone. 0; NOT_FOUND: none runs. */
int cluster_stop(const struct cluster_layout *l, bool keep, struct err *err);
