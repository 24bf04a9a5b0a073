/* What the files of this component share. The loop's thread owns every struct here; a worker touches its job alone. */
#pragma once

#include <pthread.h>

#include "container/container.h"
#include "monitor/monitor.h"

enum status {
	STATUS_CREATED,
	STATUS_RUNNING,
	STATUS_PAUSED,
	STATUS_RESTARTING, /* ended, and its policy will start it again */
	STATUS_REMOVING,
	STATUS_EXITED,
	STATUS_DEAD, /* could not be removed completely */
	STATUS_COUNT
};
extern const char *const container_status_names[STATUS_COUNT];

struct op;

/* An answer that somebody waits for, or nobody any more. */
struct ticket {
	struct container_call *call;
};

enum health_status { HEALTH_NONE, HEALTH_STARTING, HEALTH_HEALTHY, HEALTH_UNHEALTHY, HEALTH_COUNT };
extern const char *const container_health_names[HEALTH_COUNT];

#define HEALTH_LOG 5
#define HEALTH_OUTPUT_MAX 4096 /* of one probe's output, as Docker keeps */

struct health_result {
	int64_t start_ns, end_ns;
	int exit_code;
	char *output; /* owned */
};

struct health {
	enum health_status status;
	int streak;
	struct health_result log[HEALTH_LOG]; /* oldest first */
	unsigned n_log;
	struct loop_timer timer;
	struct probe *probe; /* under way */
	bool on;
};

/* ask.c: what a monitor is asked, oldest first */
struct asks {
	struct list list; /* struct ask */
	uint16_t tag;
	struct container_engine *e;
	const char *id;   /* of the container or exec; borrowed from who embeds this */
	bool exec;
	bool unheard;     /* its monitor lives and is not connected: what is asked waits for that */
	struct loop_timer answer, end;
};

/* What a run has left outside of the container's durable folder: only ever less than is said here. */
enum run_left {
	RUN_LEFT_NOTHING,
	RUN_LEFT_FILES, /* the folders in RUN/containers and RUN/runtime, control groups without processes */
	RUN_LEFT_ALL,   /* processes, groups and mounts too */
};

struct container {
	struct container_engine *e;
	struct list link;
	char id[65];
	char *name;          /* owned, without "/" */
	/* Changed only by the operation at the head of ops; inspect and workers of that operation read it. */
	struct arena arena;
	struct json doc;     /* Created, Image, Config, HostConfig, NetworkingConfig, Mounts, Path, Args, ... */
	struct json *config, *host; /* of doc */

	enum status status;
	pid_t pid;
	int exit_code;
	bool oom_killed, manually_stopped, ever_started;
	char *error;         /* owned; NULL = none */
	int64_t started_ns, finished_ns;
	int restart_count;
	int64_t back_off_ms;
	struct loop_timer restart_timer;
	struct loop_timer record_timer; /* a volatile or fleeting one's record, written a moment after its start or end */
	struct health health;

	struct list ops;     /* struct op; the first is under way */
	struct list waits;   /* struct wait */
	struct list streams; /* struct container_stream, attached or to be attached at start */
	struct list execs;   /* struct exec */
	bool op_busy;

	/* While it runs: watch.c's. Its monitor is connected (control_sock) or not (asks.unheard) */
	struct loop_fd control; /* the monitor's control socket */
	int control_sock;
	struct loop_fd process; /* the monitor's, while it is not connected */
	int process_fd;
	struct loop_timer reach_timer; /* then it is tried again */
	int64_t reach_ms;
	unsigned sources;       /* of the two, that the loop still holds */
	struct asks asks;
	struct list end_listeners; /* struct end_listener: operations that wait for the end */
	struct list kills;     /* those that wait for the end, too; control.c's */
	struct finish *ending; /* being cleared away after its end; starts wait */
	struct start *starting;
	unsigned views;      /* container_root of a stopped one */
	bool has_sandbox;    /* of the network component's */
	struct arena net_arena;
	struct json net;     /* NetworkSettings while it has one */
	struct loop_task net_task; /* container_net_stop_later */
	bool oom;            /* told by the monitor in this run */
	bool deaf;           /* its monitor did not answer when the engine opened: the sockets that it holds are not known yet */
	bool gone;           /* removed: freed when the loop has let go of its sources */
	struct pack *pack;   /* pack.c's; NULL = its log was never due to be compressed */
	enum run_left run_left;
};

struct end_listener {
	struct list link;
	void (*fn)(struct end_listener *l);
};

struct settings {
	struct arena arena;
	struct span log_driver;
	const struct json *log_opts;
	struct span cgroup_parent;
	int64_t shm_bytes;
	const struct json *ulimits;
	bool cgroupns_host, ipc_shareable, init, no_new_privileges, systemd;
	struct span seccomp; /* a profile's JSON text, "unconfined", or empty = ours */
	int64_t shutdown_s;
};

struct image_user {
	struct image_digest image;
	char id[65];
	bool running;
};

struct container_engine {
	struct container_opts o;
	char *dir, *run_dir, *runner, *kind; /* owned */
	int containers_fd, lock_fd;
	struct settings settings;
	struct list all;              /* struct container, oldest first */
	struct map by_id, by_name, execs;
	struct list names_taken;      /* struct create: names promised to a create under way */
	struct list late;             /* struct late: answers of the next turn */
	struct rng rng;
	unsigned busy;                /* operations and jobs under way */
	bool closing, closed_done;
	void (*closed)(void *arg);
	void *closed_arg;
	struct loop_task close_task;

	struct list rests;            /* struct rest: of removed containers, the first is under way */
	unsigned n_rests;
	struct loop_work rest_work;
	struct loop_timer rest_timer; /* the pool was full */

	struct list packs;            /* struct pack: logs to be looked at, the first is under way */
	struct loop_work pack_work;
	struct loop_timer pack_timer; /* the pool was full */
	bool pack_working;            /* a worker has the first of them */
	atomic_bool pack_stop;        /* it gives up */

	pthread_mutex_t spawn_lock;   /* one question to the spawner at a time */
	int spawner;                  /* socket; -1 = has to be started */
	pid_t spawner_pid;
	pid_t spawners_left[4];       /* killed, and not ended: asleep in the kernel */

	pthread_mutex_t users_lock;   /* container_uses_image may be asked by any thread */
	struct image_user *users;
	size_t n_users, cap_users;

	struct image_unpacker unpacker;
};

/* ---- engine.c */
struct container *container_get(struct container_engine *e, struct span name, struct err *err);
/* Appends "DIR/containers/ID/name" and so on. */
const char *container_path(struct arena *a, const struct container *c, const char *name);     /* durable folder */
const char *container_run_path(struct arena *a, const struct container *c, const char *name); /* RUN/containers/ID/name */
void container_users_update(struct container *c, bool gone);
struct container *container_new(struct container_engine *e, const char *id);
void container_free(struct container *c);
void container_index_add(struct container *c);
void container_busy(struct container_engine *e, int by);
bool container_is_running(const struct container *c); /* running or paused */
/* AutoRemove: the next open removes it when it does not run then, so a power cut may do that: nothing of it is synced. */
bool container_is_volatile(const struct container *c);
/* Extra.Fleeting: its record is synced a moment after its start and after its end, its root never. */
bool container_is_fleeting(const struct container *c);

/* ---- record.c */
void container_record_write(const struct container *c, struct buf *out);
int container_record_read(struct container *c, struct span text, struct err *err);
/* Replaces the record: with sync it survives a power cut. On the loop, or a worker while nothing of c changes; elsewhere
 * container_op_save, or container_record_put with a text that the loop made. */
int container_record_save(const struct container *c, bool sync, struct err *err);
int container_record_put(const struct container_engine *e, const char *id, struct span text, bool sync, struct err *err);
#define CONTAINER_RECORD_MS 50 /* how long a record waits that nobody needs at once: record_timer */
void container_record_due(struct loop_timer *record_timer); /* saves it; a fleeting one's is synced by a worker */
struct json container_time(int64_t ns, struct arena *a); /* RFC 3339 as Docker prints; 0 = 0001-01-01T00:00:00Z */

/* ---- event.c */
void container_warn(const struct container_engine *e, const char *what, const char *id, const struct err *err);
void container_event_send(struct container *c, const char *action, ...) __attribute__((sentinel)); /* key, value, ..., NULL */
enum volume_event { VOLUME_CREATED, VOLUME_MOUNTED, VOLUME_UNMOUNTED, VOLUME_DESTROYED };
/* mount: of a plan; what is no volume has no event. */
void container_volume_event(struct container *c, enum volume_event what, const struct json *mount);
void container_volume_events(struct container *c, enum volume_event what); /* of each volume of its plan */

/* ---- op.c: changes, one at a time a container */
struct op {
	struct list link;
	struct container *c;
	struct ticket ticket;
	const char *name;
	void (*begin)(struct op *op);
	struct loop_task task;
	struct loop_work work;
	struct arena arena;
	struct err err;       /* of the work */
	struct json result;
	struct span record;   /* of container_op_save, as the next */
	void (*saved)(struct loop_work *w);
	bool unchanged;
	bool waiting_end;     /* begins when c->ending is over and nobody views it */
	bool parked;          /* waits for that */
};
void *container_op_new(size_t size, struct container *c, const char *name, void (*begin)(struct op *op),
	struct container_call *call);
void container_op_refuse(struct op *op, struct err *err); /* not submitted yet; answers from the next turn */
void container_op_submit(struct op *op);
void container_op_first(struct op *op); /* before those that wait: what an exit brings (restart, removal) */
void container_op_work(struct op *op, void (*run)(struct loop_work *w), void (*done)(struct loop_work *w));
/* The record as it is now, durably, by a worker; then saved, which finds a failure in op->err. What changes meanwhile (its end)
 * is in the record by then, too. */
void container_op_save(struct op *op, void (*saved)(struct loop_work *w));
void container_op_end(struct op *op, const struct err *err); /* err NULL = success; frees op */
void container_op_resume(struct container *c); /* c->ending or a view is over */
#define OP_OF(type, o) container_of((o), struct type, op)
#define OP_OF_WORK(type, w) container_of((w), struct type, op.work)

void container_ticket_take(struct ticket *t, struct container_call *call);
void container_ticket_answer(struct ticket *t, const struct err *err);
/* From the next turn of the loop; err is moved. */
void container_fail_later(struct container_engine *e, struct container_call *call, struct err *err);
/* The container that a call names; NULL when there is none, which the call is told. */
struct container *container_for_call(struct container_engine *e, struct span name, struct container_call *call);

/* ---- create.c */
/* A name that nobody has and nobody was promised. EXISTS in Docker's words. */
int container_name_reserve(struct container_engine *e, struct span name, struct err *err);
void container_name_release(struct container_engine *e, struct span name);

/* ---- names.c */
bool container_name_ok(struct span name);
void container_name_make(struct rng *r, unsigned attempt, struct buf *out);

/* ---- merge.c: image's and request's Config, and HostConfig's defaults; pure */
int container_config_merge(struct arena *a, const struct json *image_config, const struct json *request, struct json *out,
	struct err *err);
/* Path and Args of a Config. */
void container_command(struct arena *a, const struct json *config, struct span *out_path, struct json *out_args);
/* ---- check.c: what Docker refuses; pure but for settings. warnings: array */
int container_config_check(const struct json *config, struct err *err);
int container_host_check(const struct container_engine *e, struct arena *a, struct json *host, const struct json *config,
	unsigned flags, struct json *warnings, struct err *err);
int container_restart_check(const struct json *policy, bool auto_remove, struct err *err);
void container_host_defaults(const struct container_engine *e, struct arena *a, struct json *host);
int container_settings_read(const struct json *settings, struct settings *out, struct err *err);
/* What a check leaves to the kernel. */
enum { CHECK_UPDATE = 1 /* of a container that exists */, CHECK_FREE = 2 /* of a face that is not Docker's */ };
/* ---- resources.c */
#define CONTAINER_MEMORY_MIN (6 << 20) /* bytes; Docker's */
int container_resources_check(const struct json *host, unsigned flags, struct err *err);
/* What this machine does not keep is dropped from host and told, in Docker's words. */
void container_resources_adapt(struct arena *a, struct json *host, struct json *warnings);

/* ---- apparmor.c */
#define CONTAINER_APPARMOR_DEFAULT "docker-default"
/* The profile of a HostConfig, "unconfined", or empty: none was named, and this machine has no AppArmor (on false). */
struct span container_apparmor_profile(const struct json *host, bool on);
void container_apparmor_text(struct buf *out, bool tunables, bool base); /* what apparmor_parser is given */
int container_apparmor_load(const struct container_engine *e, struct err *err); /* docker-default, once; blocks */

/* ---- logopts.c: what each record of a json-file log carries */
/* LogConfig.Config; with the driver none only the kinds of its members. */
int container_log_opts_check(const struct json *opts, bool none, struct err *err);
/* Bytes of max-size, 0 = no bound. Sizes are read as Docker does: "10m" is 10,000,000, "1.5 kB" 1,500. */
uint64_t container_log_max_bytes(const struct json *opts);
bool container_log_compresses(const struct json *opts); /* compress=true */
/* A JSON object in the arena, or NULL: nothing was asked for. */
int container_log_attrs(const struct container *c, struct arena *a, const char **out_attrs, struct err *err);

/* ---- pack.c: rotated files of logs are compressed */
/* Of a container whose log has compress=true; of others nothing happens. Its rotated files are looked at soon, and as long as it
 * runs whenever there is another one. */
void container_pack_due(struct container *c);
/* No more for this one. True: a worker is at it; then is deferred when it has left, which is soon. */
bool container_pack_drop(struct container *c, struct loop_task *then);
void container_packs_close(struct container_engine *e);
void container_packs_init(struct container_engine *e);
void container_pack_free(struct container *c);

/* ---- user.c */
struct container_ids {
	uint32_t uid, gid;
	uint32_t *more;
	size_t n_more;
	const char *home; /* "" = not known */
};
/* user: "", "name", "uid", "name:group", "uid:gid"; groups: HostConfig.GroupAdd. /etc/passwd and /etc/group beneath root. */
/* policy: Extra.Groups. */
int container_user_find(int root, struct span user, const struct json *groups, struct span policy, struct arena *a,
	struct container_ids *out, struct err *err);

/* ---- caps.c, seccomp.c */
/* Docker's rules of Privileged, CapAdd and CapDrop. bits: 1 << capability. */
int container_caps(const struct json *host, uint64_t *out_bits, struct err *err);
/* Extra.Ambient, as far as bits has them. */
int container_caps_ambient(const struct json *extra, uint64_t bits, uint64_t *out_bits, struct err *err);
void container_caps_write(struct json_out *o, uint64_t bits);
/* linux.seccomp of config.json: Docker's default profile for these capabilities, on this machine. */
void container_seccomp_default(struct json_out *o, uint64_t caps);
/* A profile in Docker's form (names, includes, excludes, archMap) or the runtime's, resolved likewise. */
int container_seccomp_custom(struct json_out *o, struct span profile, uint64_t caps, struct arena *a, struct err *err);

/* ---- writing JSON: members that are there even when empty */
static inline void container_out_s(struct json_out *o, const char *key, struct span s)
{
	json_out_key(o, span_of(key));
	json_out_span(o, s);
}
static inline void container_out_i(struct json_out *o, const char *key, int64_t v)
{
	json_out_key(o, span_of(key));
	json_out_i64(o, v);
}
static inline void container_out_b(struct json_out *o, const char *key, bool v)
{
	json_out_key(o, span_of(key));
	json_out_bool(o, v);
}
static inline const struct json *container_extra_of(const struct container *c)
{
	return json_getl(&c->doc, "Extra");
}
static inline struct span container_str(const struct json *o, const char *key)
{
	return json_span(json_get(o, span_of(key)));
}
static inline int64_t container_num(const struct json *o, const char *key)
{
	return json_i64(json_get(o, span_of(key)), 0);
}
bool container_init_wanted(const struct json *host); /* spec.c: ours is its first process */
static inline bool container_truth(const struct json *o, const char *key)
{
	return json_truth(json_get(o, span_of(key)), false);
}

/* ---- spec.c, spec_mounts.c, spec_resources.c */
struct mount_bind { /* one of a volume or bind: what start found out */
	struct span source, target, propagation;
	bool read_only, recursive_read_only, non_recursive;
};
struct spec_params {
	const struct container_engine *e;
	const char *id;
	const struct json *config, *host, *extra; /* extra NULL = none */
	struct span path;
	const struct json *args;
	const char *root;     /* mounted root file system */
	const struct container_ids *ids;
	struct span netns;    /* path, or "" = host's */
	struct span hostname;
	struct span hosts, resolv_conf, hostname_file; /* files to bind; empty = none */
	struct span pid_ns, ipc_ns, uts_ns;            /* paths of other containers' */
	struct span shm;      /* folder to bind on /dev/shm; empty = a tmpfs of its own */
	const struct mount_bind *binds;
	size_t n_binds;
	const struct json *tmpfs; /* array of {target, options} */
	bool v2;
};
int container_spec_write(const struct spec_params *p, struct arena *a, struct buf *out, struct err *err);
/* "process" alone, for exec: config is an ExecConfig. */
int container_spec_exec(const struct container_engine *e, const struct json *container_config, const struct json *host,
	const struct json *extra, const struct json *exec, const struct container_ids *ids, struct arena *a, struct buf *out,
	struct err *err);
/* linux.resources of HostConfig (also for update). */
int container_spec_resources(struct json_out *o, const struct json *host, const struct json *extra, bool devices, struct arena *a,
	struct err *err);
void container_spec_mounts(struct json_out *o, const struct spec_params *p, struct arena *a, const char **out_propagation);
/* linux.devices: HostConfig.Devices and, for a privileged one, all of the host's. */
int container_spec_devices(struct json_out *o, const struct json *host, struct arena *a, struct err *err);
/* process.env: PATH, HOSTNAME, TERM, the container's, HOME; later ones win. */
void container_spec_env(struct json_out *o, const struct json *env, const struct json *more, struct span hostname, bool tty,
	const char *home, struct arena *a);
const char *container_cgroup_path(const struct container_engine *e, const char *id, const struct json *host, struct arena *a);

/* ---- spawn.c */
int container_spawner_start(struct container_engine *e, struct err *err);
void container_spawner_stop(struct container_engine *e);
int container_spawn(struct container_engine *e, const struct monitor_spawn *s, struct monitor_spawned *out, struct err *err);

/* ---- ask.c */
/* After SIGKILL: what its monitor, or in its stead ask.c, needs at most. Then whoever waits is told Docker's words. */
enum { CONTAINER_END_MS = 20000 };
#define CONTAINER_NO_EXIT "tried to kill container, but did not receive an exit event"
struct ask {
	struct list link;
	enum monitor_op what;
	int x, y;
	bool sent;
	uint16_t tag; /* at most CONTAINER_TAGS */
	int signal;     /* of KILL; else 0 */
	int64_t due_ms; /* on the loop's clock */
	void (*answer)(struct ask *a, const struct err *err);
};
void container_asks_init(struct asks *q, struct container_engine *e, const char *id, bool exec);
#define CONTAINER_TAGS 60000 /* those above are watch.c's */
/* sock -1: IN_USE "... is not running", or when the monitor is only not connected, sent when it is. The answer comes later or not
 * at all after a failure. */
int container_asks_send(struct asks *q, int sock, struct ask *a, enum monitor_op what, int x, int y,
	void (*answer)(struct ask *a, const struct err *err), struct err *err);
void container_asks_answer(struct asks *q, const struct monitor_head *h, const char *payload);
void container_asks_resend(struct asks *q, int sock); /* it is connected again: what it was not sent yet */
void container_asks_fail(struct asks *q); /* the monitor is gone */

/* ---- run.c: a container's start */
void container_start_op(struct container *c, struct container_call *call, bool by_policy);
/* A start behind the operation that calls: "restart" is told after "start". */
void container_restart_follow(struct container *c, struct container_call *call);
/* control.c: something came behind that waits no longer than timeout_s (-1: as long as it takes) for the stops before it. */
void container_stops_hurry(struct container *c, int64_t timeout_s);
/* Kills that wait for the end are answered with why: the engine closes. */
void container_kills_fail(struct container *c, const struct err *why);
/* The same of a stop that waits, whatever its timeout. */
void container_stop_fail(struct container *c);
void container_start_forget(struct container *c, const struct container_stream *s);
int container_monitor_gone(int state_dir, struct err *err);
const char *container_snapshot_key(struct arena *a, const struct container_engine *e, const char *id);

/* ---- watch.c: the talk with its monitor */
void container_watch_init(struct container *c);
/* A monitor that runs already; sock is taken over, also on failure. -1: it takes no connection now, and is reached later; GONE
 * when it has ended. */
int container_adopt(struct container *c, int sock, const struct monitor_state *state, struct err *err);
bool container_is_watched(const struct container *c); /* its end will be told: its monitor lives, connected or not */
/* A request on the control socket. answer comes once; at the latest when the monitor is gone or has been silent for some seconds.
 * A signal is delivered all the same then. */
int container_ask(struct container *c, struct ask *a, enum monitor_op what, int x, int y,
	void (*answer)(struct ask *a, const struct err *err), struct err *err);
int container_control_open(struct container *c, int sock, struct err *err); /* sock is taken over, also on failure */
/* No request is answered any more; c stays until the loop has let go of the sources. */
void container_control_close(struct container *c);
void container_sockets_later(struct container *c); /* what it holds could not be asked: container_net_sockets is told */
int container_monitor_state(int sock, struct monitor_state *out, struct err *err);
/* The same when a build that is under way is over; TIMEOUT when it takes seconds. */
int container_monitor_settled(int sock, struct monitor_state *out, struct err *err);

/* ---- finish.c: its end */
/* The monitor says how it ended, or (class GONE) is gone itself. */
void container_ended(struct container *c, const struct monitor_exit *end);
/* Takes back everything of a run: processes, control groups, mounts, the folder in RUN. Blocks; repeatable. */
int container_clear(struct container_engine *e, const char *id, struct err *err);
int container_unmount(struct container_engine *e, const char *id, struct err *err); /* mounts alone: RUN_LEFT_FILES stay */
void container_exit_set(struct container *c, const struct monitor_exit *end);
bool container_restart_wanted(const struct container *c, bool at_boot);

/* ---- remove.c */
/* A folder with one level of folders below it. */
int container_folder_remove(int at, const char *name, struct err *err);
void container_remove_op(struct container *c, unsigned flags, struct container_call *call);

/* ---- rest.c: the files of removed containers, deleted behind the answer */
/* snapshot: what snapshot_retire named, "" = nothing; run_files: RUN_LEFT_FILES. Loop's thread; keeps the engine busy until it
 * is done. */
void container_rest_add(struct container_engine *e, const char *id, const char *snapshot, bool run_files);
bool container_rest_full(const struct container_engine *e);
/* The same at once; blocks. Any thread. */
void container_rest_remove(struct container_engine *e, const char *id, const char *snapshot, bool run_files);
void container_rest_init(struct container_engine *e);

/* ---- wait.c */
void container_waits_ended(struct container *c);   /* of not-running and next-exit */
void container_waits_failed(struct container *c);  /* a start: of not-running; there was no exit that next-exit could mean */
void container_waits_removed(struct container *c, const char *error); /* all; error NULL = it went well */

/* ---- mounts.c */
struct mount_bind;
int container_mounts_inherit(struct container_engine *e, const struct json *host, struct arena *a, struct json *out,
	struct err *err);
/* flags: CHECK_FREE */
int container_mounts_create(struct container_engine *e, const char *id, const struct json *config, const struct json *host,
	const struct json *inherited, unsigned flags, struct arena *a, struct json *out_shown, struct json *out_plan, struct err *err);
bool container_mounts_want_copy(const struct json *plan);
int container_mounts_copy_up(struct container_engine *e, const struct json *plan, int root, struct arena *a, struct err *err);
/* out_gone: those of the plan that went with it are appended; NULL = nobody asks. */
void container_mounts_release(struct container_engine *e, const char *id, const struct json *plan, bool anonymous_too,
	struct arena *a, struct json *out_gone);
int container_mounts_start(struct container_engine *e, const char *id, const struct json *plan, struct arena *a,
	struct mount_bind **out_binds, size_t *out_n, struct json *out_tmpfs, struct err *err);
void container_mounts_end(struct container_engine *e, const char *id, const struct json *plan);
int container_mounts_sweep(struct container_engine *e, struct err *err);

/* ---- look.c */
/* Names beneath every root that are there to be mounted on, and no change of the container's. */
extern const struct snapshot_places container_mount_points;

/* ---- net.c */
#define CONTAINER_RESOLV_GIVEN "resolv.conf.given" /* as we wrote it last: tells whether somebody changed it since */
struct network_got;
int container_net_check(struct container_engine *e, const struct json *config, const struct json *host,
	const struct json *networks,
	const char *id, const char *name, struct arena *a, struct err *err);
/* known, arg: network_wish's. */
int container_net_start(struct container *c, struct arena *a, void (*known)(void *arg, const struct network_got *got), void *arg,
	struct network_got *out, struct err *err);
void container_net_stop(struct container *c);
/* In this turn, behind what was deferred before; nothing is shown of it from now on. */
void container_net_stop_later(struct container *c);
void container_net_due(struct loop_task *t);
void container_net_rename(struct container *c);
bool container_net_nowhere(const struct container *c); /* it was disconnected from all */
void container_net_adopt(struct container *c);
/* The sockets of its published ports, when they were not known to adopt; taken over. */
void container_net_sockets(struct container *c, const int *sockets, unsigned n);

/* ---- stream.c */
/* among NULL: it will never begin, and may be closed all the same. */
void container_stream_init(struct container_stream *s, struct container_engine *e, void *of, struct list *among);
unsigned container_stream_takes(const struct container_stream *s);
int container_stream_attach(struct container_stream *s, int sock, struct err *err); /* the socket has asked ATTACH already */
/* Before the list's owner is freed: those that began end by themselves, each on its own connection, which may be later. */
void container_streams_part(struct list *streams);
/* They were never begun: no callback comes. */
void container_streams_abandon(struct list *streams);
void container_streams_fail(struct list *streams, const struct err *err);

/* ---- exec.c */
void container_execs_list(const struct container *c, struct arena *a, struct json *out); /* ids of those that run */
void container_execs_drop(struct container *c);  /* the container goes away */
void container_execs_close(struct container *c); /* the engine goes away */
void container_execs_resume(struct container_engine *e); /* exec_again.c: those that outlived us; what others left */

/* ---- health.c */
void container_health_started(struct container *c);
void container_health_resumed(struct container *c); /* after open: goes on from the record */
void container_health_stopped(struct container *c);
void container_health_done(struct container *c);
