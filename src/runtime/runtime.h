/* The OCI runtime: a bundle becomes a container.
 *
 * Two callers: the command line of `knarr-run runtime` (runtime_main), and the monitor's child, which uses the same
 * steps as a library:
 *
 *     struct runtime_opts o = { .root = "/run/knarr/runtime", .id = id, .bundle = dir };
 *     auto_arena struct arena a = {};
 *     struct runtime_plan *plan;
 *     if (runtime_plan_load(&a, &o, &plan, err) < 0) ...         reads and checks config.json, touches nothing
 *     if (runtime_create(plan, &container, err) < 0) ...         builds; on failure nothing is left behind
 *     if (runtime_start(o.root, id, err) < 0) ...                lets the program run
 *
 * The parse step allocates in the arena; the build step clones once (twice when a user namespace is joined).
 * The container's first process is built by that clone itself, without executing anything in between: it
 * inherits descriptors 0, 1 and 2 of the caller (or gets a terminal) and reports errors through a socket pair as class, errno
 * and text, so that a failure deep inside arrives as a struct err. With opts.clone_parent the first process is
 * a child of the caller's parent: a short-lived child of the monitor may parse and build, and the monitor reaps.
 *
 * Single-threaded. Descriptors that the caller holds are closed in the container unless they are 0, 1, 2 or below
 * 3 + preserve_fds. */
#pragma once

#include "base/base.h"

struct runtime_plan;
struct sys_cgroup;

struct runtime_opts {
	const char *root;	    /* the folder with a folder per container; made when missing (0711) */
	const char *id;		    /* 1 to 1024 of [A-Za-z0-9_+-.], not "." or ".." */
	const char *bundle;	    /* the folder with config.json; absolute */
	const char *config;	    /* name of config.json when it is not in the bundle; NULL */
	const char *console_socket; /* unix socket that gets the terminal's master; NULL */
	const char *pid_file;	    /* NULL = none */
	const char *cache_dir;	    /* compiled seccomp filters; NULL = none are kept */
	uint16_t rows, cols;	    /* of a new terminal, over process.consoleSize; 0 = as that says */
	int preserve_fds;	    /* descriptors 3 .. 3+n-1 stay open in the container */
	bool systemd_cgroup;	    /* cgroupsPath is slice:prefix:name */
	bool no_pivot;		    /* move the root mount and chroot instead of pivot_root */
	bool no_new_keyring;
	bool start;  /* `run`: the program starts at once, no `start` comes */
	bool clone_parent;
	/* Called for everything that deserves a warning and not an error; NULL = not told. */
	void (*warn)(const char *text);
};

struct runtime_container {
	pid_t pid;
	int pidfd;    /* of the first process; the caller closes it */
	int terminal; /* master, when process.terminal and no console_socket; else -1 */
};

/* Reads, checks and completes the bundle's configuration. INVALID names the field; NOT_FOUND the file. */
int runtime_plan_load(struct arena *a, const struct runtime_opts *opts, struct runtime_plan **out, struct err *err);
/* The same from text, without touching the file system: tests and the fuzz target. */
int runtime_plan_parse(struct arena *a, const struct runtime_opts *opts, struct span config, struct runtime_plan **out,
		       struct err *err);
/* The steps that the first process will take, one a line ("mount proc to /proc"), for --debug and tests. */
void runtime_plan_print(const struct runtime_plan *plan, struct buf *out);

/* Builds. On failure: no process, mount, cgroup, folder or file of it remains. Errors read "unable to start container process: ..."
 * when it is the program that cannot be executed. */
int runtime_create(struct runtime_plan *plan, struct runtime_container *out, struct err *err);
/* Lets a created container's program run; returns when it runs or could not be executed (which is the error). A bundle without
 * a process is INVALID, and stays created. When a poststart hook fails the container is killed and deleted; with an old bundle
 * (decision 0790) that is a warning, and prestart hooks run here instead, whose failure ends the container in the same way. */
int runtime_start(const char *root, const char *id, const struct runtime_opts *opts, struct err *err);
/* Removes what a stopped container left, runs its poststop hooks (one that fails is a warning). A created one is killed first, but
 * of an old bundle only with force; a running one with force. Else IN_USE. */
int runtime_delete(const char *root, const char *id, bool force, const struct runtime_opts *opts, struct err *err);

/* ---- a container that runs, by name. None of these clones or reads the bundle; a program that uses only these, runtime_start and
 * runtime_delete does not have to be linked with libseccomp.
 *
 *     auto_arena struct arena a = {};
 *     auto_sys_cgroup struct sys_cgroup cg = {};
 *     if (runtime_cgroup_open(&a, root, id, &cg, err) == 0)
 *             sys_cgroup_stats_read(&cg, &stats, err);            as often as wanted; also sys_cgroup_pids, sys_cgroup_frozen */

/* The container's groups, open, for sys/cgroup.h. Paths live in the arena. NOT_FOUND when there is no such container; one that has
 * ended still has its groups until it is deleted. */
int runtime_cgroup_open(struct arena *a, const char *root, const char *id, struct sys_cgroup *out, struct err *err);
/* A signal to the first process, or with all to every process in the group. SIGKILL to a container without a pid namespace of
 * its own goes to all. NOT_FOUND when nothing runs. */
int runtime_kill(const char *root, const char *id, int sig, bool all, struct err *err);
/* Freezes or thaws all processes, and waits until the kernel says that it is so. IN_USE when it is so already or has ended. */
int runtime_freeze(const char *root, const char *id, bool on, struct err *err);
/* Changes limits: resources is JSON, an object like config.json's linux.resources; what it does not name stays. An error names
 * the field; what was written before it stays written. Device rules are not changed. */
int runtime_update(const char *root, const char *id, struct span resources, struct err *err);

/* One more process in a running container: process is JSON, an object like config.json's "process". Of the options root, id,
 * console_socket, pid_file, preserve_fds, cache_dir, clone_parent and warn count. Returns when the program runs, or with the
 * error; the process inherits descriptors 0, 1 and 2 as with runtime_create. */
int runtime_exec(const struct runtime_opts *opts, struct span process, struct runtime_container *out, struct err *err);

/* The whole command line of runc; returns the exit status. argv[0] is the word before the first option. */
int runtime_main(int argc, char **argv);

/* Makes sure that nothing in a container can ever write to the program that is running: when the file could be written to, the
 * process executes itself again from a read-only copy of its mount, or from a sealed memory file where the kernel
 * cannot do that. Call first in main, with its argv. Returns 0 in the safe process; on failure a negative class. */
int runtime_self_protect(char **argv, struct err *err);
