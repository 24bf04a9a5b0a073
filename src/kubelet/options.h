/* What the kubelet was told: flags, and over their defaults a KubeletConfiguration. Private to src/kubelet. */
#pragma once

#include "base/base.h"

/* All spans lie in the arena; 0-ended, so that .ptr may be used as a path. Durations in ms. */
struct kl_options {
	struct arena arena;
	struct span data_dir, root_dir, kubeconfig, bootstrap_kubeconfig, config;
	struct span runtime_endpoint; /* "unix:///run/..." */
	struct span node_name, node_ip; /* node_ip: two at most, as inet_ntop writes them; "": found by the route to the API server */
	struct span manifest_dir;     /* static pods; "" = none */
	struct span cert_dir, client_ca_file, tls_cert_file, tls_key_file;
	struct span cluster_dns, cluster_domain; /* cluster_dns: addresses with commas */
	struct span node_labels, taints; /* as on the command line */
	struct span resolv_conf;
	struct span address;          /* of the HTTPS server */
	struct span cgroup_root;      /* "/" or "/knarr-0": kubepods lies beneath */
	struct span cgroup_driver;    /* "cgroupfs" or "systemd"; the runtime's word once it said one */
	struct span pod_log_dir;      /* /var/log/pods */
	struct span seccomp_root;
	struct span kube_reserved, system_reserved, eviction_hard; /* "cpu=100m,memory=200Mi"; "memory.available<100Mi,..." */
	struct span allowed_sysctls;
	int64_t port, max_pods, pods_per_core, pod_pids_limit;
	int64_t status_update_ms, status_report_ms, lease_s, file_check_ms;
	int64_t max_backoff_ms;
	int64_t image_gc_high, image_gc_low, image_min_age_ms;
	int64_t log_max_bytes, log_max_files;
	int64_t registry_parallel;    /* pulls at once */
	int64_t verbosity;
	bool register_node, fail_swap_on, rotate_certificates, server_tls_bootstrap;
	bool cgroups_per_qos, anonymous_auth, cpu_cfs_quota, seccomp_default;
};
void kl_options_default(struct kl_options *o);
void kl_options_done(struct kl_options *o);
/* argv without the applet's name. Class USAGE. *out_help: --help was asked for. */
int kl_options_parse(struct kl_options *o, int argc, char **argv, bool *out_help, struct err *err);
void kl_options_help(void);
