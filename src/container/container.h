/* Containers: what Docker's engine and a CRI runtime both are, without their protocols.
 *
 *     DIR/containers/ID/container.json   the record: Config, HostConfig, NetworkingConfig, State, ... (replaced atomically)
 *     DIR/containers/ID/hosts, hostname, resolv.conf    bind-mounted into the container
 *     DIR/containers/ID/ID-json.log      its log (logs.h)
 *     DIR/containers/ID/state/           its monitor's folder (monitor.h): who watches, how it ended
 *     RUN/containers/ID/                 bundle and mounted root while it runs
 *     RUN/exec/ID/                       processes of exec while they run, and until they were looked at
 *
 * Documents are Docker's own in the shape of the newest API (`struct json`): ContainerConfig, HostConfig, NetworkingConfig,
 * RestartPolicy, ... A face that speaks older versions translates before; members that are not known here are kept and
 * not looked at. A known one that cannot be honoured is an error that names it.
 *
 * Names. Where a call takes `name` it is what Docker takes: the full id, a name with or without "/", or the beginning of an id.
 * NOT_FOUND "No such container: x"; an ambiguous beginning: INVALID_REQUEST "Multiple IDs found with provided prefix: x".
 *
 * Promises
 * - What was answered is on disk. After SIGKILL at any instruction container_engine_open finds every container again: those that
 *   run go on and are watched, those that ended meanwhile have their true exit code and time, half-made ones are gone, and
 *   nothing is left behind: no mount, control group, folder or namespace.
 * - A container belongs to its monitor: container_engine_close and the engine's death leave it running.
 * - At most one change at a time per container (start, stop, remove, ...): later ones wait in order. kill, wait, inspect, attach
 *   and exec do not wait for them.
 * - Errors have Docker's words, and the class that gives Docker's code (err_docker_code).
 *
 * Threads: everything is for the thread of opts.loop unless it says otherwise. Work that blocks (mounts, copies, synced
 * writes, the spawner) runs on opts.pool. No callback runs inside the call that began the operation. */
#pragma once

#include "base/base.h"
#include "image/image.h"
#include "json/json.h"
#include "loop/loop.h"
#include "snapshot/snapshot.h"

struct container_engine;
struct network_engine;
struct volume_store;

/* ---- events: Docker's /events with Type "container", and with "volume" what its mounts do ---- */

struct container_event { /* borrowed for the call */
	struct span action;            /* "create", "start", "die", "exec_start: ls -l", "health_status: healthy", ... */
	struct span id;                /* Actor.ID */
	bool image_tag;                /* "tag" of the image that a commit made: id is the image's */
	bool volume;                   /* "create", "mount", "unmount", "destroy" of a volume: id is its name */
	struct span image;             /* `from` */
	const struct json *attributes; /* Actor.Attributes: image, name, labels, and what the action adds ("exitCode", "signal") */
	int64_t time_ns;
};

/* ---- the engine's part ---- */

struct container_opts {
	struct loop *loop;             /* borrowed, as all that follow; outlive the engine */
	struct loop_pool *pool;
	const char *dir;               /* absolute; made when missing (0700) */
	const char *run_dir;           /* absolute, at most 80 bytes; made when missing (0711) */
	const char *runner;            /* the program knarr-run: absolute */
	/* What the keys of its snapshots begin with: engines with folders of their own may share one snapshot store. NULL =
	 * "container". */
	const char *kind;
	/* Processes of exec that an engine before us left behind are ended at open: for a face whose clients never come back. */
	bool end_execs;
	struct image_store *images;
	struct snapshot_store *snapshots;
	struct network_engine *networks; /* NULL: only the modes host, none and container:X */
	struct volume_store *volumes;    /* NULL: no volumes (bind mounts and tmpfs stay) */
	/* dockerd's settings by their names in daemon.json; NULL = all defaults. Read: log-driver, log-opts, default-runtime,
	 * runtimes, cgroup-parent, default-shm-size, default-ulimits, default-cgroupns-mode, default-ipc-mode, init,
	 * seccomp-profile, no-new-privileges, shutdown-timeout. INVALID for a bad value. */
	const struct json *settings;
	void (*event)(void *arg, const struct container_event *ev); /* NULL = nobody listens */
	/* What went wrong where nobody waits for an answer: "a container left something behind". Any thread; for the log. NULL = not
	 * told. */
	void (*warn)(void *arg, const char *what, const char *id, const struct err *err);
	void *event_arg;
};

/* Finds everything again; blocks meanwhile (no container is waited for). Restart policies go on from the loop afterwards. One
 * process has DIR open at a time (flock; IN_USE). */
int container_engine_open(const struct container_opts *opts, struct container_engine **out_engine, struct err *err);
/* Two steps, as everything on a loop: no new operation may begin; those under way end; `closed` (may be NULL) is called from the
 * loop when nothing of the engine is left in it. Containers go on. Accepts NULL (closed is not called then). */
void container_engine_close(struct container_engine *e, void (*closed)(void *arg), void *arg);

/* The unpacker for image_pull, image_load, ... over opts.snapshots; any thread, lives as long as the engine. */
const struct image_unpacker *container_unpacker(struct container_engine *e);
/* image_remove_params.used (arg is the engine): may be called from any thread. */
bool container_uses_image(void *engine, const struct image_digest *id, bool only_running, char out_container[65],
	bool *out_running);
/* All that were made of it, in no order: full ids. Any thread. */
struct json container_users(struct container_engine *e, const struct image_digest *id, struct arena *a);

/* ---- calls: operations that answer later ---- */

/* Embedded in the caller's struct; zero it, set done (and arena where the call has a result), then pass it. It is the engine's
 * until done begins. */
struct container_call {
	/* Once, on the loop. err is NULL on success and borrowed for the call. */
	void (*done)(struct container_call *c, const struct err *err);
	struct arena *arena;  /* the caller's; lives until done or forget; result and its texts are made here */
	struct json result;   /* set before done; see each call */
	bool unchanged;       /* it was so already (start of a running one: 304 in Docker's API) */
	struct list link_;    /* private */
	void *owner_;
};
/* The caller does not want to know any more (its client left): done will not be called, memory is free at once. The operation
 * itself goes on; a wait just ends. Harmless after done. */
void container_call_forget(struct container_call *c);

/* ---- create, remove ---- */

struct container_create_params { /* borrowed for the call; copied */
	struct span name;              /* empty = one is made up (adjective_surname) */
	const struct json *config;     /* ContainerConfig, Image in it; required */
	const struct json *host_config; /* NULL = {} */
	const struct json *networking; /* NetworkingConfig; NULL = {} */
	struct span platform;          /* "" = this machine's */
	/* For faces that are not Docker's: what its documents have no words for (container_extra has it again). An object; members
	 * that are not listed are the caller's own. NULL = {}.
	 *     Sandbox       id of the container whose host name and UTS namespace it shares (the others: modes container:ID)
	 *     NetworkPath   a network namespace to join, with NetworkMode none
	 *     ResolvConf    the text of its resolv.conf
	 *     LogPath       its log goes there, in the CRI's form, and whoever asked turns it over: with LogConfig none
	 *     Groups        "merge": those that list the user in the image, also when a group is named; "strict": GroupAdd's alone
	 *     Ambient       ["CAP_X", ...]: capabilities that a user who is not root keeps
	 *     Fleeting      true: a power cut may take it with what it wrote to its root, because nothing of it could run on then.
	 *                   Its record is synced behind the answer to its start (decision 0840)
	 *     Hugepages, Unified   [{"pageSize", "limit"}] and {"memory.high": "..."}: of control groups
	 * With it the limits that Docker sets to limits (6 MB of memory at least) are the kernel's alone, and nothing is added to
	 * LogConfig. */
	const struct json *extra;
	struct span id;                /* 64 hex digits that the caller drew; empty = drawn here. EXISTS when it is taken */
};
/* POST /containers/create. result: {"Id": ..., "Warnings": [...]}. NOT_FOUND "No such image: x:latest" (the face's client pulls
 * then), EXISTS 'Conflict. The container name "/x" is already in use by container "ID". You have to remove (or rename) that
 * container to be able to reuse that name.', INVALID_REQUEST for what Docker refuses. */
void container_create(struct container_engine *e, const struct container_create_params *p, struct container_call *c);

enum { CONTAINER_RM_FORCE = 1, CONTAINER_RM_VOLUMES = 2, CONTAINER_RM_LINK = 4 };
/* Answered when there is no such container any more: its name is free, its record gone, volumes and image are released. What is
 * left on disk is deleted behind the answer, and at the latest when the engine closes or opens. */
void container_remove(struct container_engine *e, struct span name, unsigned flags, struct container_call *c);
/* Removes every container that does not run and that want (NULL = all) agrees to; want gets container_summary's document. result:
 * {"ContainersDeleted": [ids] or null, "SpaceReclaimed": bytes}. */
void container_prune(struct container_engine *e, bool (*want)(void *arg, const struct json *summary), void *arg,
	struct container_call *c);

/* ---- what there is; synchronous ---- */

int container_find(struct container_engine *e, struct span name, char out_id[65], struct err *err);
/* What State says, without a document. error lives until the loop's next turn. */
struct container_state {
	bool running, paused; /* running also while it is paused */
	bool ended;           /* it ran, or could not be started (started_ns is 0 then); else it was only created */
	bool oom_killed;
	pid_t pid;            /* 0 = it does not run */
	int exit_code;
	int64_t started_ns, finished_ns; /* since 1970; 0 = not yet */
	const char *error;    /* "" = none */
};
int container_state(struct container_engine *e, struct span name, struct container_state *out, struct err *err);
/* Who its program began as: of the last start, as long as the container runs; NOT_FOUND when it does not. Reads a file of the run
 * folder. groups: with gid; in the arena. */
struct container_identity {
	uint32_t uid, gid;
	int64_t *groups;
	uint32_t n_groups;
};
int container_identity(struct container_engine *e, struct span name, struct arena *a, struct container_identity *out,
	struct err *err);
const char *container_runner(const struct container_engine *e); /* opts.runner; as long as the engine */
/* The kernel has AppArmor, and there is a parser to load profiles with: containers get docker-default. Any thread. */
bool container_apparmor_on(void);
/* Are control groups asked of systemd (cgroup-parent is a slice then)? */
bool container_systemd(const struct container_engine *e);
/* container_create_params.extra; null when there was none. Borrowed until the loop's next turn. */
int container_extra(struct container_engine *e, struct span name, const struct json **out, struct err *err);
/* Full ids, newest first. */
void container_ids(struct container_engine *e, struct arena *a, char (**out_ids)[65], size_t *out_n);
/* ContainerInspectResponse as `docker inspect` shows it, without SizeRw and SizeRootFs. The tree lives in the arena. */
int container_inspect(struct container_engine *e, struct span name, struct arena *a, struct json *out, struct err *err);
/* An item of /containers/json, without sizes; Status as of now ("Up 5 minutes (healthy)"). Besides Docker's members it has
 * for filters: "State", and "Created" in seconds. */
int container_summary(struct container_engine *e, struct span name, struct arena *a, struct json *out, struct err *err);
/* SizeRw and SizeRootFs: result {"SizeRw": n, "SizeRootFs": n}. */
void container_sizes(struct container_engine *e, struct span name, struct container_call *c);
struct container_counts {
	unsigned running, paused, stopped; /* paused ones are not counted as running; created and dead are stopped */
};
struct container_counts container_counts(struct container_engine *e);

/* What logs_open wants. dir is owned by the caller. */
struct container_log {
	int dir;
	char name[96];
	bool terminal; /* no frames: one raw stream */
	bool running;  /* else what is there is all: logs_follow_end at once */
	char driver[16]; /* "json-file" */
};
/* INVALID_REQUEST "configured logging driver does not support reading" with driver none. */
int container_log_open(struct container_engine *e, struct span name, struct container_log *out, struct err *err);
/* Where files.h works. A descriptor of the running container's root, or of a view of the stopped one's, made on a worker: result
 * {"fd": n, "read_only": bool, "uid": n, "gid": n}; the caller owns fd. While the view of a stopped one lives a start waits for
 * container_root_release, which every success must be followed by. */
void container_root(struct container_engine *e, struct span name, struct container_call *c);
void container_root_release(struct container_engine *e, struct span name);

/* ---- lifecycle ---- */

/* unchanged when it runs already. Errors as Docker's: INVALID_REQUEST with the runtime's words for a program that is missing
 * (State.ExitCode 127) or cannot be executed (126), INTERNAL otherwise (State.ExitCode 128). */
void container_start(struct container_engine *e, struct span name, struct container_call *c);
#define CONTAINER_TIMEOUT_UNSET INT64_MIN
/* signal: number or name; empty = the container's. timeout_s: seconds until SIGKILL; -1 = never; CONTAINER_TIMEOUT_UNSET = the
 * container's StopTimeout, else 10. unchanged when it does not run. A stop that waits is overtaken: another with less time, and a
 * forced removal, shorten its timeout to theirs. */
void container_stop(struct container_engine *e, struct span name, struct span signal, int64_t timeout_s, struct container_call *c);
void container_restart(struct container_engine *e, struct span name, struct span signal, int64_t timeout_s,
	struct container_call *c);
/* IN_USE "Container ID is not running"; INVALID_REQUEST "Invalid signal: x". Empty = KILL. SIGKILL is answered when the
 * container has ended; INTERNAL when it has not after ten seconds. Other signals are answered when they are sent. */
void container_kill(struct container_engine *e, struct span name, struct span signal, struct container_call *c);
void container_pause(struct container_engine *e, struct span name, struct container_call *c);
void container_unpause(struct container_engine *e, struct span name, struct container_call *c);
/* Whoever renamed its log says so: it goes on in a new file. IN_USE when it does not run. */
void container_log_reopen(struct container_engine *e, struct span name, struct container_call *c);
void container_rename(struct container_engine *e, struct span name, struct span new_name, struct container_call *c);
/* doc: Resources and RestartPolicy of HostConfig; Extra: members that replace those of container_create_params.extra. result:
 * {"Warnings": [...] or null}. */
void container_update(struct container_engine *e, struct span name, const struct json *doc, struct container_call *c);

enum container_condition { CONTAINER_NOT_RUNNING, CONTAINER_NEXT_EXIT, CONTAINER_REMOVED, CONTAINER_CONDITION_COUNT };
/* "" and "not-running", "next-exit", "removed"; INVALID_REQUEST 'invalid condition: "x"'. */
int container_condition_parse(struct span text, enum container_condition *out, struct err *err);
/* result: {"StatusCode": n}, and "Error": {"Message": ...} where State.Error or the removal says something. A start that failed
 * answers not-running, but is no exit: next-exit goes on waiting, and removed (of AutoRemove) has no Error. Whether the container
 * exists is told at once (return value), as the face must send its headers before the end comes. */
int container_wait(struct container_engine *e, struct span name, enum container_condition condition, struct container_call *c,
	struct err *err);

/* ---- streams: attach, and exec that somebody watches ---- */

/* Embedded in the caller's struct. One attached client. */
struct container_stream {
	/* set by the caller */
	bool stdin_, stdout_, stderr_; /* what is wanted */
	/* Output as it comes: stream 1 or 2 (a terminal: always 1). Borrowed for the call. */
	void (*output)(struct container_stream *s, int stream, struct span data);
	/* Standard input takes data again, after container_stream_write answered less than all. May be NULL. */
	void (*writable)(struct container_stream *s);
	/* Once: nothing more comes, because the container or process ended or cut us off (then err). Call container_stream_close. */
	void (*ended)(struct container_stream *s, const struct err *err);
	void (*closed)(struct container_stream *s);
	/* private */
	struct loop_fd fd_;
	struct loop_task task_;
	struct list link_;
	struct container_engine *engine_;
	void *of_;
	int sock_;
	bool paused_, finished_, started_, input_end_, closing_, stays_;
	struct buf input_; /* bounded */
};
/* To a container that runs, or that will be started: an attach before start misses nothing. IN_USE "You cannot attach to a paused
 * container, unpause first", "You cannot attach to a restarting container, wait until it is running". */
int container_attach(struct container_engine *e, struct span name, struct container_stream *s, struct err *err);
/* Takes up to 64 KB into its buffer; answers how many bytes of data were taken (then wait for writable). */
size_t container_stream_write(struct container_stream *s, struct span data);
/* Closes standard input after what is buffered; without StdinOnce, as Docker does it, ends this stream alone (ended is called): the
 * next client that attaches may write on. */
void container_stream_write_end(struct container_stream *s);
/* No output between these two; the container's pipe fills and holds it up after 64 KB in the kernel, for at most a minute: a
 * reader that sleeps longer is cut off (ended comes), the container goes on. */
void container_stream_pause(struct container_stream *s);
void container_stream_resume(struct container_stream *s);
/* Detaches. No callback but closed from here on; memory is free from closed on (closed may be NULL, see loop.h). */
void container_stream_close(struct container_stream *s, void (*closed)(struct container_stream *s));
/* IN_USE when it does not run. */
void container_resize(struct container_engine *e, struct span name, unsigned rows, unsigned columns, struct container_call *c);

/* ---- exec ---- */

/* config: ExecConfig (AttachStdin, AttachStdout, AttachStderr, DetachKeys, Tty, Env, Cmd, Privileged, User, WorkingDir,
 * ConsoleSize). IN_USE "container ID is not running", "Container ID is paused, unpause the container before exec";
 * INVALID_REQUEST "No exec command specified". */
int container_exec_create(struct container_engine *e, struct span name, const struct json *config, char out_id[65],
	struct err *err);
/* Detached (s NULL), or with a stream that was filled like for attach and that gets everything. done: the program runs, or the
 * error (INVALID_REQUEST with the runtime's words for a program that is missing or not executable; inspect then says 127 or 126).
 * With an error the stream was never begun: none of its callbacks comes, its memory is free. NOT_FOUND "No such exec instance:
 * x", IN_USE "exec command x is already running" and "... has already run". rows, columns: 0 = as
 * ConsoleSize says. */
void container_exec_start(struct container_engine *e, struct span exec_id, struct container_stream *s, unsigned rows,
	unsigned columns,
	struct container_call *c);
/* Its end: result {"ExitCode": n}. At once when it has ended. */
void container_exec_wait(struct container_engine *e, struct span exec_id, struct container_call *c);
/* SIGKILL; harmless when it does not run. One that is just being started is killed as soon as it runs. */
void container_exec_stop(struct container_engine *e, struct span exec_id);
/* ExecInspect: ID, Running, ExitCode, ProcessConfig, OpenStdin, OpenStdout, OpenStderr, CanRemove, ContainerID, DetachKeys, Pid.
 * */
int container_exec_inspect(struct container_engine *e, struct span exec_id, struct arena *a, struct json *out, struct err *err);
void container_exec_resize(struct container_engine *e, struct span exec_id, unsigned rows, unsigned columns,
	struct container_call *c);

/* ---- looking inside ---- */

/* args: of ps, empty = "-ef". result: {"Titles": [...], "Processes": [[...], ...]}. */
void container_top(struct container_engine *e, struct span name, struct span args, struct container_call *c);
/* One reading; result: ContainerStats with "read", "preread" and "precpu_stats" empty (the face that reads again fills them in
 * from the reading before). A container that does not run has zeros. */
void container_stats(struct container_engine *e, struct span name, struct container_call *c);
/* result: [{"Path": ..., "Kind": 0|1|2}, ...] or null. */
void container_changes(struct container_engine *e, struct span name, struct container_call *c);
/* `docker export`: a tar archive into fd (borrowed until done). */
void container_export(struct container_engine *e, struct span name, int fd, struct container_call *c);
/* What a container that does not run changed, as a blob of the image store (plain tar, not yet any image's: hold it with
 * image_hold_begin). besides: further absolute paths where something was mounted; such a folder or empty file is no change.
 * result: {"Digest": "sha256:...", "Size": n}; Size 0 without a Digest when nothing changed. */
void container_layer(struct container_engine *e, struct span name, const struct span *besides, size_t n_besides,
	struct container_call *c);
struct container_commit_params { /* borrowed for the call; copied */
	struct span reference;       /* repo[:tag]; empty = without a name */
	struct span comment, author;
	bool no_pause;               /* the container runs on while it is read */
	const struct json *config;   /* ContainerConfig that replaces parts of the container's; NULL */
	const struct span *changes;  /* Dockerfile lines: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, USER, VOLUME, WORKDIR, ... */
	size_t n_changes;
};
/* result: {"Id": "sha256:...", "Labels": {...}}, the image's. */
void container_commit(struct container_engine *e, struct span name, const struct container_commit_params *p,
	struct container_call *c);

/* ---- networks of a container ---- */

/* Of one that runs at once, of another with its next start. endpoint: EndpointSettings or NULL. */
void container_network_connect(struct container_engine *e, struct span name, struct span network, const struct json *endpoint,
	struct container_call *c);
void container_network_disconnect(struct container_engine *e, struct span name, struct span network, bool force,
	struct container_call *c);
