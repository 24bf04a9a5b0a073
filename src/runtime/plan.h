/* The plan of one container, and the seams between runtime's own files. Private.
 *
 *     cli*.c      command line                       state.c    the folder per container
 *     plan.c      config.json → list of steps        hook.c     hooks
 *     create.c    the parent's side                  sync.c     messages between parent and first process
 *     child.c     the first process, step by step    seccomp.c  profile → filter, kept; listener.c hands one on
 *     rootfs.c    the steps about mounts and nodes   exec.c     one more process in a container
 *     birth.c     what create and exec share         control.c  signals, freezer, limits of a running one
 *     final.c     who the process becomes, exec      console.c  terminals
 *     protect.c   our program file, unwritable */
#pragma once

#include "runtime/config.h"
#include "runtime/runtime.h"

/* Steps of the first process, in the order in which they may occur. */
#define STEPS(X)                                                                                                       \
	X(SESSION, "start a session")                                                                                  \
	X(MAPS, "become root of the user namespace")                                                                   \
	X(NETWORK, "make a network namespace")                                                                         \
	X(CGROUP, "enter the cgroup")                                                                                  \
	X(JOIN, "join namespace")                                                                                      \
	X(TIME, "set time offsets")                                                                                    \
	X(LOOPBACK, "set up the loopback interface")                                                                   \
	X(KEYRING, "make a session keyring")                                                                           \
	X(HOSTNAME, "set the host name")                                                                               \
	X(DOMAINNAME, "set the domain name")                                                                           \
	X(SYSCTL, "write sysctl")                                                                                      \
	X(OOM_SCORE, "write oom_score_adj")                                                                            \
	X(LABELS, "open the security label")                                                                           \
	X(PROPAGATION, "detach mount propagation")                                                                     \
	X(SOURCES, "open the sources of bind mounts")                                                                  \
	X(ROOT_ATTACH, "attach the root file system")                                                                  \
	X(HOOKS_RUNTIME, "run createRuntime hooks")                                                                    \
	X(HOOKS_CONTAINER, "run createContainer hooks")                                                                \
	X(PIVOT, "change the root")                                                                                    \
	X(MOUNT, "mount")                                                                                              \
	X(DEVICES, "make devices")                                                                                     \
	X(CWD, "make the working directory")                                                                           \
	X(TERMINAL, "open a terminal")                                                                                 \
	X(MASK, "mask")                                                                                                \
	X(READONLY, "make read-only")                                                                                  \
	X(ROOT_READONLY, "make the root file system read-only")                                                        \
	X(DETACH, "let go of the host's root")                                                                         \
	X(ROOT_PROPAGATION, "set the root's propagation")

enum step_kind {
#define X(name, text) STEP_##name,
	STEPS(X)
#undef X
		STEP_COUNT
};

struct step {
	enum step_kind kind;
	size_t index; /* which mount, path, namespace, ... */
};

/* What linux.seccomp becomes. */
struct filter {
	struct span program; /* empty = no filter */
	unsigned flags;	     /* SECCOMP_FILTER_FLAG_* */
	bool notify;	     /* with a listener */
};

struct runtime_plan {
	struct runtime_opts opts;
	struct arena *arena; /* borrowed */
	struct config *config;
	struct span text;   /* config.json as read; the state keeps a copy */
	const char *rootfs; /* absolute; symbolic links resolved */
	struct step *steps;
	size_t n_steps;
	bool userns_new, mountns_new;
	bool own_dev; /* /dev is the container's own, not a bind mount of somebody's */
	/* Made by create.c before the clone and inherited: */
	struct sys_cgroup cgroup;
	uint32_t cgroups_wanted; /* controllers, on v2 */
	bool rootless;
	int ns_fd[SYS_NS_COUNT]; /* of joined namespaces; -1 */
	int root_tree;		 /* unattached copy of the root mount; -1 with the old mount interface */
	bool old_mounts;	 /* the kernel has no open_tree and move_mount for us */
	bool scope;		 /* the v2 group is a scope that systemd makes, around the first process */
	bool late_cgroups;	 /* the first process waits at CGROUP until the v1 groups are there */
	bool held;		 /* when built, the first process waits for start */
	int listen_fd;		 /* where `start` knocks; -1: not held */
	int console_fd;		 /* connected console socket; -1 */
	struct filter filter;
	struct sys_cgroup_device *rules; /* with the defaults */
	size_t n_rules;
};

/* True when nothing before CGROUP in the plan's order changes the rights or names by which the first process enters its
 * groups: then it can be born before they are made. */
bool runtime_plan_may_wait_for_cgroups(const struct runtime_plan *plan);

/* ---- sync.c: one datagram a message; a message may carry one descriptor */
enum sync_kind {
	SYNC_GO,       /* parent → child: go on */
	SYNC_WARN,     /* child → parent: text */
	SYNC_ERROR,    /* child → parent: a class, b errno, text; the child ends */
	SYNC_PID,      /* intermediate → parent: a = pid of the first process */
	SYNC_HOOKS,    /* child → parent: namespaces are there, run the hooks; then GO */
	SYNC_TERMINAL, /* child → parent: the master as descriptor */
	SYNC_FILTER,   /* child → parent: a = descriptor number of the seccomp listener; then GO */
	SYNC_READY,    /* child → parent: built; what follows is the exec (end of stream) or an error */
};
struct sync_msg {
	uint32_t kind;
	int32_t a, b;
	char text[1200];
};
int runtime_sync_send(int sock, enum sync_kind kind, int a, int b, const char *text, int fd);
/* 1 = a message, 0 = the other side is gone, -1 = errno. *out_fd: -1 without a descriptor; NULL = none expected. */
int runtime_sync_recv(int sock, struct sync_msg *out, int *out_fd);
int runtime_sync_send_err(int sock, const struct err *err);
int runtime_sync_err(const struct sync_msg *m, struct err *err); /* returns the negative class */

/* ---- hook.c */
/* Runs one after another; the first failure ends. state is JSON for stdin. */
int runtime_hook_run_all(const struct config *c, enum config_hook_point point, struct span state, struct err *err);
/* The same where a hook that fails is a warning, and the remaining ones run. */
void runtime_hook_run_rest(const struct config *c, enum config_hook_point point, struct span state,
			   const struct runtime_opts *opts);

/* ---- state.c */
struct state {
	const char *id, *bundle, *rootfs, *oci_version, *config;
	pid_t pid;
	uint64_t start_ticks;
	int64_t created_s;
	int32_t created_ns;
	uint32_t owner;
	bool has_pid_ns; /* its own: killing the first process kills all */
	bool systemd_cgroup, rootless;
	struct sys_cgroup cgroup;
	struct config_pair *annotations;
	size_t n_annotations;
	uint64_t ns_flags; /* of the namespaces that the container has; `exec` joins those of pid */
};
enum runtime_state_status {
	STATE_CREATING,
	STATE_CREATED,
	STATE_RUNNING,
	STATE_PAUSED,
	STATE_STOPPED,
	STATE_STATUS_COUNT
};
extern const char *const runtime_state_status_names[STATE_STATUS_COUNT];

bool runtime_state_id_ok(struct span id);
/* The container's folder, which must not exist yet; EXISTS when it does. Returns a descriptor in *out_dir. */
int runtime_state_make(const char *root, const char *id, int *out_dir, struct err *err);
void runtime_state_remove(const char *root, const char *id);
int runtime_state_write(int dir, const struct runtime_plan *plan, pid_t pid, uint64_t start_ticks, struct err *err);
/* "container does not exist" NOT_FOUND. Strings live in the arena. *out_dir (may be NULL): the folder, locked for this
 * process until closed. */
int runtime_state_read(struct arena *a, const char *root, const char *id, struct state *out, int *out_dir,
		       struct err *err);
/* The same without the lock, for who only asks: a hook may, while whoever runs it holds the lock. */
int runtime_state_look(struct arena *a, const char *root, const char *id, struct state *out, int *out_dir,
		       struct err *err);
enum runtime_state_status runtime_state_status(int dir, const struct state *s);
/* The configuration that the container was made from, whatever became of the bundle. */
int runtime_state_config_read(struct arena *a, int dir, struct config **out, struct err *err);
/* What `runc state` prints, and what hooks read; indent for people. */
void runtime_state_json(struct buf *out, const struct state *s, enum runtime_state_status status, bool for_people);
void runtime_state_of_plan(const struct runtime_plan *plan, pid_t pid, struct state *out);

/* ---- lifecycle.c */
/* Signal to the first process, or with all to every process in the container's cgroup. */
int runtime_lifecycle_kill(const struct state *s, int sig, bool all, struct err *err);
/* Without a mount namespace the container's mounts are on the host, below its root: they go with it. */
void runtime_lifecycle_unmount(const struct config *c, const char *rootfs);
/* `run` deletes what it has just made and waited for: nothing has to be read again. */
int runtime_lifecycle_plan_delete(struct runtime_plan *plan, pid_t pid, struct err *err);
int runtime_lifecycle_pid_file_write(const char *path, pid_t pid, struct err *err);
/* What `start` does with a container whose first process waits, in this order. The prestart hooks of an old bundle: */
int runtime_lifecycle_prestart(const struct config *c, const struct state *s, struct err *err);
/* Knocks at start.sock in dir and serves the first process until its program runs. */
int runtime_lifecycle_let_go(int dir, const struct config *c, const struct state *s, int pidfd, const struct runtime_opts *opts,
			     struct err *err);
int runtime_lifecycle_poststart(const struct config *c, const struct state *s, const struct runtime_opts *opts, struct err *err);

/* ---- control.c; see runtime.h */
int runtime_control_limits_set(const char *root, const char *id, const struct sys_cgroup_limits *l, struct err *err);

/* ---- seccomp.c */
/* linux.seccomp becomes a filter in the arena, taken from cache_dir when it was compiled before. */
int runtime_seccomp_compile(struct arena *a, const struct json *profile, const char *cache_dir, struct filter *out,
			    struct err *err);
/* shrink.c: a program of the same meaning and fewer instructions into out; false when it finds none. */
bool runtime_shrink_filter(struct arena *a, struct span program, struct buf *out);

/* ---- listener.c */
/* Fetches a seccomp listener by its number in the process of pidfd, and sends it to linux.seccomp.listenerPath with the state
 * around it. */
int runtime_listener_serve(const struct json *profile, const struct state *s, enum runtime_state_status status, int pidfd,
			   int number, struct err *err);

/* ---- console.c */
int runtime_console_socket_connect(const char *path, int *out_fd, struct err *err);
int runtime_console_fd_send(int sock, int master, struct err *err);
/* Copies between this process's terminal and the master until the process of pidfd ends; returns its wait status. */
int runtime_console_relay(int master, int pidfd, pid_t pid);

/* ---- exec.c */
struct exec_wish {
	const struct runtime_opts *opts; /* root, id, console_socket, pid_file, preserve_fds, cache_dir, warn */
	const struct config_process *process;
	const char *cgroup; /* below the container's; NULL */
	bool ignore_paused;
};
int runtime_exec_process(const struct exec_wish *w, struct runtime_container *out, struct err *err);

/* ---- birth.c: what the first process of a container and `exec` have in common */
/* Clones as asked. With join_user >= 0 an intermediate process joins that and the pid namespace first and the result is a
 * child of the caller all the same (CLONE_PARENT). child() runs in the new process and does not return. */
struct clone_wish {
	uint64_t flags; /* CLONE_NEW* */
	int cgroup_fd;	/* v2 folder to be born in; -1 */
	int join_user;	/* descriptor; -1 */
	int join_pid;	/* descriptor; -1 */
	bool clone_parent;
	void (*child)(void *arg); /* does not return */
	void *arg;
};
int runtime_birth_clone(const struct clone_wish *w, int sync_parent, pid_t *out_pid, int *out_pidfd, struct err *err);

/* The parent's part until the process runs. All borrowed. */
struct birth_parent {
	const struct runtime_opts *opts;  /* warn */
	const struct config *config;	  /* the container's */
	const struct state *state;	  /* what a seccomp listener is told */
	enum runtime_state_status status; /* the same */
	int console_fd;			  /* gets the terminal's master; -1: it goes to the container's `terminal` */
	bool until_ready;		  /* do not wait for the exec, `start` will */
	int (*hooks)(void *arg, struct err *err); /* answers HOOKS; NULL = none can come */
	void *hooks_arg;
};
/* Answers what comes over sync. 0 with *out_ready: it is built (until_ready) or runs; 0 without: the process is gone, and said
 * nothing about why (runtime_birth_death knows more). */
int runtime_birth_serve(const struct birth_parent *b, int sync, struct runtime_container *c, bool *out_ready, struct err *err);
/* Why a process that was to say something said nothing. */
int runtime_birth_death(pid_t pid, struct err *err);
/* Kills and reaps what was born, with what is in `all` (NULL = nobody else), and closes c's descriptors. */
void runtime_birth_undo(struct runtime_container *c, const struct sys_cgroup *all);
int runtime_birth_preserved_check(const struct runtime_opts *opts, struct err *err);
/* Capabilities that this kernel does not know: an error or a warning, as the bundle's version says. */
int runtime_birth_caps_check(const struct runtime_opts *opts, const char *oci_version, const struct config_process *p,
			     struct err *err);
/* opts->warn with the argument that other callbacks have. */
void runtime_birth_warn(void *opts, const char *text);
/* In the new process. hide: somebody in a pid namespace that we share must not look into us before the exec. */
int runtime_birth_session(bool hide, struct err *err);
int runtime_birth_keyring(const char *id, struct err *err);
/* The file that the label is written to right before the exec (final.c); *out_fd stays -1 where none is wanted. */
int runtime_birth_label_open(const struct config_process *p, int *out_fd, struct err *err);
int runtime_birth_scheduling(const struct config_process *p, struct err *err);

/* ---- child.c, rootfs.c */
struct child {
	struct runtime_plan *plan;
	int sync;
	int root;	/* the container's root */
	int old_root;	/* the host's; -1 after DETACH */
	int proc_fds;	/* the host's /proc/self/fd, for the old mount interface; -1 */
	int null;	/* the host's /dev/null; -1 until needed */
	int dev;	/* the container's /dev; -1 until needed */
	int label_fd;	/* open attr/exec of the security module; -1 */
	pid_t host_pid; /* our number outside; 0 until needed */
};
void runtime_plan_step_print(const struct runtime_plan *plan, const struct step *s, struct buf *out);
void runtime_child_main(struct runtime_plan *plan, int sync) __attribute__((noreturn));
int runtime_rootfs_sources_open(struct runtime_plan *plan, bool in_child, struct err *err);
int runtime_rootfs_attach(struct child *c, struct err *err);
int runtime_rootfs_pivot(struct child *c, struct err *err);
int runtime_rootfs_mount(struct child *c, struct config_mount *m, struct err *err);
int runtime_rootfs_devices(struct child *c, struct err *err);
int runtime_rootfs_cwd(struct child *c, struct err *err);
int runtime_rootfs_terminal(struct child *c, struct err *err);
int runtime_rootfs_mask(struct child *c, const char *path, struct err *err);
int runtime_rootfs_readonly(struct child *c, const char *path, struct err *err);
int runtime_rootfs_root_readonly(struct child *c, struct err *err);
int runtime_rootfs_detach(struct child *c, struct err *err);
/* A terminal for the process: the slave becomes 0, 1 and 2 and the controlling terminal, the master goes to the parent. */
int runtime_terminal_open(struct child *c, const struct config_process *p, const struct runtime_opts *opts,
			  bool bind_console, struct err *err);

/* ---- final.c: shared by the first process and by exec */
struct final {
	const struct config_process *process;
	struct filter filter;
	bool in_userns; /* limits were set from outside */
	int keep_fds;	/* descriptors below 3 + keep_fds stay */
	int sync;
	int listen_fd; /* wait here for `start`; -1 */
	int label_fd;  /* security label to be written; -1 */
	/* Between the knock of `start` and the rest: startContainer hooks. NULL = none. */
	int (*before)(void *arg, struct err *err);
	void *before_arg;
};
/* Does not return on success. f->sync is afterwards the connection that an error has to go to (after `start` knocked: to it). */
int runtime_final_exec(struct final *f, struct err *err);
/* Limits of the process; a refusal to raise a hard limit without CAP_SYS_RESOURCE is a warning. */
int runtime_final_rlimits(pid_t pid, const struct config_process *p, void (*warn)(void *arg, const char *text),
			  void *arg, struct err *err);
int runtime_final_oom_score(int score, void (*warn)(void *arg, const char *text), void *arg, struct err *err);
