/* A cluster on this machine: what starts it, watches over its parts, shows how it is, and takes it away again. The seam of
 * src/cluster.
 *
 *     knarr up ──starts──▶ knarr server (the supervisor) ──starts──▶ apiserver, controller-manager, scheduler, engine, ...
 *        ▲                      │
 *        └──── RUN/state.json ◀─┘          down: a signal; status, logs, kubeconfig, doctor, reset: read what is there
 *
 * Everything of a cluster lies in its data folder D (KNARR_DATA_DIR, --data-dir, [/var/lib/knarr]) and its run folder (D/run;
 * /run/knarr for the default D, /run/knarr/ID where D/run would be too long for sockets):
 *
 *     D/config.yaml           settings, a person's; /etc/knarr/config.yaml for the default D
 *     D/cluster.json          what the first start settled: ranges, names, the cluster's address
 *     D/admin.kubeconfig      /etc/knarr/admin.kubeconfig for the default D
 *     D/pki/                  authority, certificates, keys, kubeconfigs of the parts
 *     D/log/PART.log          10 MB each and one older, PART.log.1
 *     RUN/{docker,api}.sock
 *     RUN/state.json          how it is; replaced when something changes, never at rest
 *     RUN/server.lock         held by the supervisor, with its number in it, or by reset; root's alone
 *
 * The supervisor opens every listening socket and passes it on, so that a client that comes while a part restarts waits
 * instead of being refused. A part that ends is started again: at once, then after 0.5 s, doubling to 30 s; a minute of life
 * starts that count anew. Parts die with the supervisor (SIGKILL by the kernel), containers do not; a new supervisor ends what it
 * finds left over and starts all anew.
 *
 * Signals of the supervisor: SIGTERM and SIGINT stop the parts in order and leave containers running; SIGUSR1 stops the
 * containers too; SIGUSR2 looks at the certificates, as it does twice a day: what runs out within 120 days, is missing or lacks an
 * address is made anew, and the parts take it as they run.
 *
 * A cluster whose D is not the default one has a network namespace of its own, joined to the host by one cable (decision
 * 0761), unless --host-network was given at its first start.
 *
 * Threads: every applet runs on the caller's, the supervisor in one loop. */
#pragma once

#include "base/base.h"

/* The applets; each returns the exit status. */
int cluster_server_main(int argc, char **argv);
int cluster_up_main(int argc, char **argv);
int cluster_down_main(int argc, char **argv);
int cluster_status_main(int argc, char **argv);
int cluster_reset_main(int argc, char **argv);
int cluster_kubeconfig_main(int argc, char **argv);
int cluster_doctor_main(int argc, char **argv);
int cluster_logs_main(int argc, char **argv);
