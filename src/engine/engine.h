/* The engine: the Docker Engine API, versions 1.24 to 1.50, over unix and TCP sockets. The seam of src/engine.
 *
 * `knarr engine` runs one in the foreground with dockerd's flags; the supervisor and tests may also run it inside a process of
 * theirs:
 *
 *     struct engine_options o;
 *     engine_options_default(&o);
 *     if (engine_options_parse(&o, argc, argv, &help, &err) < 0) ...    // USAGE: unknown flag: --x
 *     if (engine_run(&o, &err) < 0) ...                                 // serves until SIGTERM or SIGINT
 *     engine_options_done(&o);
 *
 * What a client sees is Docker's: paths with and without version, JSON, streams, codes and words. What differs on purpose stands
 * in docs/decisions/0640 to 0659. The facts of the API stand in tables: routes.def (who answers what, which parameters are
 * known), fields.def (since and until which version a field exists).
 *
 * Threads: one loop thread owns every request and all state of the engine. Whatever blocks (images, snapshots, registries) runs
 * on
 * workers; what streams for long (pull, push, load, save, import) has a thread of its own. A worker touches only what its
 * request owns and calls that are documented for any thread.
 *
 * What it promises: what was answered is on disk; stopping the engine stops no container. */
#pragma once

#include "base/base.h"
#include "json/json.h"

#define ENGINE_HOSTS_MAX 8

struct engine_options {
	struct span data_dir;  /* [/var/lib/knarr] */
	struct span run_dir;   /* [DIR/run, or /run/knarr for the default data_dir] */
	struct span hosts[ENGINE_HOSTS_MAX]; /* unix://PATH, tcp://HOST:PORT, fd:// ; none: the default socket */
	unsigned n_hosts;
	struct span cri_host;  /* unix://PATH of the CRI's socket (src/cri); empty: no CRI */
	struct span cni_conf_dir, cni_bin_dir; /* [/etc/cni/net.d, /opt/cni/bin] of its networks */
	bool tls, tls_verify;
	struct span tls_ca, tls_cert, tls_key;
	struct span group;     /* [docker] of the unix socket; "" or one that is missing: root's */
	struct span pidfile;   /* empty: none */
	struct span storage_driver; /* empty: what works; overlay2, vfs */
	struct span log_level; /* [info] */
	bool debug;
	/* Settings by dockerd's names in daemon.json: the file's, flags over it. Read by the parts that they concern. */
	struct json settings;
	struct arena arena;    /* of texts made while parsing */
};
void engine_options_default(struct engine_options *o);
void engine_options_done(struct engine_options *o);
/* argv without the applet's name. out_help: --help was among them. Class USAGE. */
int engine_options_parse(struct engine_options *o, int argc, char **argv, bool *out_help, struct err *err);
void engine_options_help(void);

/* Opens the stores, listens, serves on the calling thread until SIGTERM or SIGINT, and closes. SIGHUP reads the
 * certificates again. Sockets of LISTEN_FDS (sd_listen_fds(3)) are served beside hosts, and stand in for the default one. */
int engine_run(const struct engine_options *o, struct err *err);
/* The applet. Returns the exit status. */
int engine_main(int argc, char **argv);
