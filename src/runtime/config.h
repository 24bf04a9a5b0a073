/* config.json as C values (OCI runtime specification 1.2). Private to runtime.
 *
 * Everything lives in the arena it was parsed into. Strings hold no 0 byte inside. What the file does not say has the
 * value that the specification gives it, so the code behind never asks "was it there" unless that matters. */
#pragma once

#include <sys/resource.h>
#include "json/json.h"
#include "sys/sys.h"

struct config_rlimit {
	int resource;
	struct rlimit value;
};

struct config_process {
	bool terminal;
	unsigned width, height; /* 0 = not given */
	uint32_t uid, gid;
	bool has_umask;
	unsigned umask;
	uint32_t *gids;
	size_t n_gids;
	const char *cwd;
	char **args; /* ends with NULL */
	size_t n_args;
	char **env; /* ends with NULL */
	size_t n_env;
	bool has_caps;
	const char *unknown_caps; /* names that Linux does not know, joined by blanks; NULL = none */
	struct sys_caps caps;
	struct config_rlimit *rlimits;
	size_t n_rlimits;
	bool no_new_privs;
	const char *apparmor, *selinux;
	bool has_oom_score;
	int oom_score;
	bool has_scheduler;
	struct sys_sched_attr scheduler;
	bool has_ioprio;
	int ioprio;
	const char *cpus_initial, *cpus_final; /* execCPUAffinity */
};

struct config_namespace {
	bool wanted;
	const char *path; /* NULL = a new one */
};

struct config_mount {
	const char *destination, *type, *source;
	const char *data; /* options of the file system, joined by commas; NULL = none */
	struct sys_mount_opts opts;
	enum { MOUNT_BIND, MOUNT_FS, MOUNT_CGROUP } kind;
	struct sys_id_map *uids, *gids;
	size_t n_uids, n_gids;
	unsigned index;	  /* in config.json, for messages */
	int tree;	  /* bind: the unattached mount, opened before the clone; -1 */
	bool tree_folder; /* it is a folder */
};

struct config_device {
	const char *path;
	char type; /* 'c', 'b', 'p' */
	unsigned major, minor;
	mode_t mode;
	uint32_t uid, gid;
	bool is_default; /* one of those that every container has */
	int tree;	 /* in a user namespace: the host's node, to be bound; -1 */
};

enum config_hook_point {
	HOOK_PRESTART,
	HOOK_CREATE_RUNTIME,
	HOOK_CREATE_CONTAINER,
	HOOK_START_CONTAINER,
	HOOK_POSTSTART,
	HOOK_POSTSTOP,
	HOOK_POINTS
};
extern const char *const runtime_config_hook_names[HOOK_POINTS];

struct config_hook {
	const char *path;
	char **args, **env; /* end with NULL; args[0] is the path when the file gives none */
	int timeout_s;	    /* 0 = none */
};

struct config_pair {
	const char *key, *value;
};

struct config {
	struct arena *arena; /* borrowed: everything here lives in it */
	const char *oci_version;
	struct config_process *process; /* NULL: none, the container cannot be started */
	const char *root_path;		/* as written; NULL when the file has no root */
	bool root_readonly;
	const char *hostname, *domainname;
	struct config_namespace ns[SYS_NS_COUNT];
	struct sys_id_map *uids, *gids;
	size_t n_uids, n_gids;
	bool has_time_offset[2]; /* monotonic, boottime */
	int64_t time_offset_s[2];
	uint32_t time_offset_ns[2];
	struct config_mount *mounts;
	size_t n_mounts;
	struct config_device *devices;
	size_t n_devices;
	const char **masked, **readonly;
	size_t n_masked, n_readonly;
	struct config_pair *sysctl;
	size_t n_sysctl;
	struct config_pair *annotations;
	size_t n_annotations;
	const struct json *seccomp; /* borrowed from the tree; NULL = none */
	const char *cgroup_path;
	struct sys_cgroup_limits limits;
	struct sys_cgroup_device *device_rules; /* of the file alone */
	size_t n_device_rules;
	unsigned long root_propagation; /* MS_*; 0 = default */
	const char *mount_label;
	bool has_personality;
	unsigned long personality;
	struct config_hook *hooks[HOOK_POINTS];
	size_t n_hooks[HOOK_POINTS];
	bool prestart_at_start; /* there are prestart hooks, and the version has them in `start` and not in `create` */
};

/* The text becomes a config, checked field by field: INVALID with the field's name ("process.user.uid: ..."). The text must
 * outlive the arena's use. A missing process is no error here: who needs one (plan.c, start, exec) says so. */
int runtime_config_parse(struct arena *a, struct span text, struct config **out, struct err *err);
/* True for 1.0.0 and 1.0.1 (with their "-rc", "-dev"): bundles that get the meaning of that text where it was changed later, or
 * where engines taught runtimes another one (docs/decisions/0790). What calls itself 1.0.2-dev came after 1.0.2. */
bool runtime_config_version_old(const char *oci_version);
/* Only a process object (exec --process). */
int runtime_config_process_parse(struct arena *a, struct span text, struct config_process **out, struct err *err);
/* Only a resources object (update -r). */
int runtime_config_resources_parse(struct arena *a, struct span text, struct sys_cgroup_limits *out, struct err *err);

/* ---- the reader: shared by config*.c alone.
 * The first mistake is kept in err with the path to it; everything read afterwards is empty, so callers read on
 * and look at failed once. */
struct reader {
	struct arena *a;
	struct err *err;
	int failed; /* negative class, 0 = none */
};
struct at { /* where in the file */
	const struct at *up;
	const char *name; /* NULL: an index */
	size_t index;
};
void runtime_reader_fail(struct reader *r, const struct at *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A member of the right kind, or NULL when absent, null or wrong (which is an error). */
const struct json *runtime_reader_get(struct reader *r, const struct at *at, const struct json *object,
				      enum json_kind kind);
const char *runtime_reader_text(struct reader *r, const struct at *at,
				const struct json *v); /* of a JSON_STRING; checked */
const char *runtime_reader_str(struct reader *r, const struct at *at, const struct json *object); /* NULL when absent */
bool runtime_reader_bool(struct reader *r, const struct at *at, const struct json *object);
bool runtime_reader_int(struct reader *r, const struct at *at, const struct json *object, int64_t min, int64_t max,
			int64_t *out);
struct sys_cgroup_num runtime_reader_num(struct reader *r, const struct at *at, const struct json *object, int64_t min,
					 int64_t max);
char **runtime_reader_strings(struct reader *r, const struct at *at, const struct json *object, size_t *out_n);
#define AT(up_, name_) (&(struct at){ .up = (up_), .name = (name_) })
#define AT_INDEX(up_, i_) (&(struct at){ .up = (up_), .index = (i_) })

void runtime_config_resources_read(struct reader *r, const struct at *at, const struct json *v,
				   struct sys_cgroup_limits *out, struct sys_cgroup_device **out_rules,
				   size_t *out_n_rules);
struct config_process *runtime_config_process_read(struct reader *r, const struct at *at, const struct json *process);
/* "0-3,8"; false when it is no such list. */
bool runtime_config_cpus_parse(const char *text, cpu_set_t *out);
