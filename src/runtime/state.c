/* The folder per container: ROOT/ID/ with state.json, config.json, start.sock.
 *
 * config.json is a copy of the bundle's: what happens to the bundle later has no effect (runtime.md, create).
 * state.json is written once, when the first process exists, and never changed: what can change (created, running,
 * paused, stopped) is asked from the kernel. start.sock is there until the container is started. The folder
 * itself is locked (flock) by whoever changes something.
 *
 * A folder without state.json belongs to a container that is just being built, or whose builder was killed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/plan.h"

const char *const runtime_state_status_names[STATE_STATUS_COUNT] = { "creating", "created", "running", "paused",
								     "stopped" };

bool runtime_state_id_ok(struct span id)
{
	if (id.len == 0 || id.len > 1024 || span_is(id, ".") || span_is(id, ".."))
		return false;
	for (size_t i = 0; i < id.len; i++) {
		char c = id.ptr[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
		      c == '+' || c == '-' || c == '.'))
			return false;
	}
	return true;
}

static int id_path(const char *root, const char *id, char path[PATH_MAX], struct err *err)
{
	if (!runtime_state_id_ok(span_of(id)))
		return err_set(err, ERR_INVALID, "invalid container ID format: \"%.100s\"", id);
	if (strlen(id) > NAME_MAX || snprintf(path, PATH_MAX, "%s/%s", root, id) >= PATH_MAX)
		return err_set(err, ERR_INVALID, "container ID is too long for a file name");
	return 0;
}

int runtime_state_make(const char *root, const char *id, int *out_dir, struct err *err)
{
	char path[PATH_MAX];
	int r = id_path(root, id, path, err), errnum = 0;
	if (r < 0)
		return r;
	if (FAILPOINT_ERR("runtime.state.make", &errnum))
		return err_sys_num(err, errnum, "make %s", path);
	if (mkdir(path, 0711) < 0) {
		if (errno == ENOENT) {
			r = io_mkdirs(AT_FDCWD, root, 0711, err);
			if (r < 0)
				return err_note(err, "state folder %s", root);
			r = mkdir(path, 0711);
		} else {
			r = -1;
		}
		if (r < 0 && errno == EEXIST)
			return err_set(err, ERR_EXISTS, "container with given ID already exists: %s", id);
		if (r < 0)
			return err_sys(err, "make %s", path);
	}
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0) {
		r = err_sys(err, "open %s", path);
		rmdir(path);
		return r;
	}
	*out_dir = dir;
	return 0;
}

void runtime_state_remove(const char *root, const char *id)
{
	static const char *const files[] = { "state.json", "config.json", "start.sock" };
	char path[PATH_MAX];
	if (id_path(root, id, path, NULL) < 0)
		return;
	auto_fd int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	for (size_t i = 0; dir >= 0 && i < ARRAY_LEN(files); i++)
		unlinkat(dir, files[i], 0);
	if (rmdir(path) == 0 || errno != ENOTEMPTY)
		return;
	/* A builder that was killed in the middle left a temporary file. */
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;
	while (list && (e = readdir(list)))
		unlinkat(dir, e->d_name, 0); /* "." and ".." refuse */
	if (list)
		closedir(list);
	else
		fd_close(&copy);
	rmdir(path);
}

/* ---- writing */

static void pairs_write(struct json_out *o, const char *key, const struct config_pair *pairs, size_t n)
{
	json_out_key(o, span_of(key));
	json_out_begin(o);
	for (size_t i = 0; i < n; i++) {
		json_out_key(o, span_of(pairs[i].key));
		json_out_span(o, span_of(pairs[i].value));
	}
	json_out_end(o);
}

void runtime_state_of_plan(const struct runtime_plan *plan, pid_t pid, struct state *out)
{
	const struct config *c = plan->config;
	*out = (struct state){
		.id = plan->opts.id,
		.bundle = plan->opts.bundle,
		.rootfs = plan->rootfs,
		.oci_version = c->oci_version,
		.pid = pid,
		.owner = geteuid(),
		.annotations = c->annotations,
		.n_annotations = c->n_annotations,
		.cgroup = plan->cgroup,
		.has_pid_ns = c->ns[SYS_NS_PID].wanted && !c->ns[SYS_NS_PID].path,
		.config = plan->opts.config,
		.rootless = geteuid() != 0,
	};
	for (int i = 0; i < SYS_NS_COUNT; i++)
		if (c->ns[i].wanted)
			out->ns_flags |= sys_ns_rows[i].flag;
}

int runtime_state_write(int dir, const struct runtime_plan *plan, pid_t pid, uint64_t start_ticks, struct err *err)
{
	struct state s;
	runtime_state_of_plan(plan, pid, &s);
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	int64_t now_ns = clock_wall_ns(clock_real());
	json_out_begin(&o);
	json_out_kspan(&o, "ociVersion", span_of(s.oci_version));
	json_out_kspan(&o, "id", span_of(s.id));
	json_out_ki64(&o, "pid", pid);
	json_out_ki64(&o, "startTicks", (int64_t)start_ticks);
	json_out_kspan(&o, "bundle", span_of(s.bundle));
	json_out_kspan(&o, "rootfs", span_of(s.rootfs));
	if (s.config)
		json_out_kspan(&o, "config", span_of(s.config));
	json_out_ki64(&o, "createdNs", now_ns);
	json_out_key(&o, SPAN("owner"));
	json_out_u64(&o, s.owner);
	json_out_key(&o, SPAN("ownPidNamespace"));
	json_out_bool(&o, s.has_pid_ns);
	json_out_key(&o, SPAN("systemdCgroup"));
	json_out_bool(&o, plan->opts.systemd_cgroup);
	json_out_key(&o, SPAN("namespaces"));
	json_out_u64(&o, s.ns_flags);
	json_out_key(&o, SPAN("cgroups"));
	json_out_begin_array(&o);
	for (unsigned i = 0; i < plan->cgroup.n; i++) {
		const struct sys_cgroup_dir *d = &plan->cgroup.dirs[i];
		json_out_begin(&o);
		json_out_key(&o, SPAN("name"));
		json_out_span(&o, span_of(d->name));
		json_out_kspan(&o, "mount", span_of(d->mount));
		json_out_kspan(&o, "path", span_of(d->path));
		json_out_end(&o);
	}
	json_out_end(&o);
	pairs_write(&o, "annotations", s.annotations, s.n_annotations);
	json_out_end(&o);
	int errnum = 0;
	if (FAILPOINT_ERR("runtime.state.write", &errnum))
		return err_sys_num(err, errnum, "write state.json");
	auto_fd int copy = openat(dir, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (copy < 0)
		return err_sys(err, "make config.json in the state folder");
	if (io_write_all(copy, plan->text.ptr, plan->text.len, err) < 0)
		return err_note(err, "copy config.json to the state folder");
	int r = io_write_file_lazy(dir, "state.json", buf_span(&b), 0600, err);
	return r < 0 ? err_note(err, "state of container %s", s.id) : 0;
}

/* ---- reading */

int runtime_state_config_read(struct arena *a, int dir, struct config **out, struct err *err)
{
	auto_buf struct buf text = {};
	if (sys_file_read(dir, "config.json", &text, 16 << 20) < 0)
		return err_sys(err, "read the container's config.json");
	int r = runtime_config_parse(a, arena_span(a, buf_span(&text)), out, err);
	return r < 0 ? err_note(err, "the container's config.json") : 0;
}

static const char *text_of(struct arena *a, const struct json *v)
{
	return json_is(v, JSON_STRING) ? arena_cstr(a, json_span(v)) : NULL;
}

static int state_read(struct arena *a, const char *root, const char *id, struct state *out, int *out_dir, bool lock,
		      struct err *err)
{
	char path[PATH_MAX];
	int r = id_path(root, id, path, err);
	if (r < 0)
		return r;
	auto_fd int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "container does not exist")
				       : err_sys(err, "open %s", path);
	if (lock && flock(dir, LOCK_EX) < 0)
		return err_sys(err, "lock %s", path);
	auto_buf struct buf text = {};
	if (sys_file_read(dir, "state.json", &text, 16 << 20) < 0) {
		if (errno == ENOENT)
			return err_set(err, ERR_NOT_FOUND, "container does not exist");
		return err_sys(err, "read %s/state.json", path);
	}
	struct json v;
	auto_err struct err why = ERR_INIT;
	if (json_parse(a, arena_span(a, buf_span(&text)), JSON_BORROW, NULL, &v, &why) < 0)
		return err_set(err, ERR_CORRUPT, "%s/state.json: %s", path, err_msg(&why));
	int64_t created_ns = json_i64(json_getl(&v, "createdNs"), 0);
	struct state s = {
		.id = arena_cstr(a, span_of(id)),
		.bundle = text_of(a, json_getl(&v, "bundle")),
		.rootfs = text_of(a, json_getl(&v, "rootfs")),
		.oci_version = text_of(a, json_getl(&v, "ociVersion")),
		.config = text_of(a, json_getl(&v, "config")),
		.pid = (pid_t)json_i64(json_getl(&v, "pid"), 0),
		.start_ticks = (uint64_t)json_i64(json_getl(&v, "startTicks"), 0),
		.created_s = created_ns / NS_PER_S,
		.created_ns = (int32_t)(created_ns % NS_PER_S),
		.owner = (uint32_t)json_i64(json_getl(&v, "owner"), 0),
		.has_pid_ns = json_truth(json_getl(&v, "ownPidNamespace"), false),
		.systemd_cgroup = json_truth(json_getl(&v, "systemdCgroup"), false),
		.ns_flags = (uint64_t)json_i64(json_getl(&v, "namespaces"), 0),
	};
	s.rootless = s.owner != 0;
	if (!s.bundle || !s.rootfs || !s.oci_version || s.pid <= 0)
		return err_set(err, ERR_CORRUPT, "%s/state.json: a field is missing", path);
	JSON_EACH_ITEM (json_getl(&v, "cgroups"), d) {
		const char *name = text_of(a, json_getl(d, "name")), *mount = text_of(a, json_getl(d, "mount")),
			   *where = text_of(a, json_getl(d, "path"));
		if (!name || !mount || !where)
			return err_set(err, ERR_CORRUPT, "%s/state.json: cgroups: a field is missing", path);
		r = sys_cgroup_add(a, &s.cgroup, name, mount, where, err);
		if (r < 0)
			return err_note(err, "%s/state.json", path);
	}
	const struct json *annotations = json_getl(&v, "annotations");
	s.annotations = arena_alloc_n(a, annotations ? annotations->n + 1 : 1, sizeof(*s.annotations));
	JSON_EACH_MEMBER (annotations, m) {
		s.annotations[s.n_annotations++] =
			(struct config_pair){ arena_cstr(a, json_key(m)), text_of(a, &m->value) };
	}
	*out = s;
	if (out_dir)
		*out_dir = take_fd(&dir);
	return 0;
}

int runtime_state_read(struct arena *a, const char *root, const char *id, struct state *out, int *out_dir,
		       struct err *err)
{
	return state_read(a, root, id, out, out_dir, out_dir != NULL, err);
}

int runtime_state_look(struct arena *a, const char *root, const char *id, struct state *out, int *out_dir,
		       struct err *err)
{
	return state_read(a, root, id, out, out_dir, false, err);
}

enum runtime_state_status runtime_state_status(int dir, const struct state *s)
{
	bool frozen = false;
	if (!sys_process_alive(s->pid, s->start_ticks))
		return STATE_STOPPED;
	const struct sys_cgroup_dir *freezer = sys_cgroup_find(&s->cgroup, SYS_CG_FREEZER);
	if (freezer) { /* one folder is enough for the question */
		struct sys_cgroup one = { .n = 1, .dirs = { *freezer } };
		one.dirs[0].fd = open(freezer->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (one.dirs[0].fd >= 0)
			(void)sys_cgroup_frozen(&one, &frozen, NULL); /* stays false */
		fd_close(&one.dirs[0].fd);
	}
	if (frozen)
		return STATE_PAUSED;
	return faccessat(dir, "start.sock", F_OK, 0) == 0 ? STATE_CREATED : STATE_RUNNING;
}

void runtime_state_json(struct buf *out, const struct state *s, enum runtime_state_status status, bool for_people)
{
	auto_arena struct arena a = {};
	struct json v = json_object();
	json_setl(&a, &v, "ociVersion", json_cstr(s->oci_version));
	json_setl(&a, &v, "id", json_cstr(s->id));
	/* What runtime.md 1.0.1 says of pid is that it is the ID of the container process, so an old bundle's state keeps it; runc's
	 * 0 is what later readers know. */
	bool known = status != STATE_STOPPED || runtime_config_version_old(s->oci_version);
	json_setl(&a, &v, "pid", json_int(known ? s->pid : 0));
	json_setl(&a, &v, "status", json_cstr(runtime_state_status_names[status]));
	json_setl(&a, &v, "bundle", json_cstr(s->bundle));
	if (for_people) {
		json_setl(&a, &v, "rootfs", json_cstr(s->rootfs));
		char *created = arena_alloc(&a, 40);
		time_format(created, s->created_s, s->created_ns, -1);
		json_setl(&a, &v, "created", json_cstr(created));
	}
	if (s->n_annotations) {
		struct json map = json_object();
		for (size_t i = 0; i < s->n_annotations; i++)
			json_set(&a, &map, span_of(s->annotations[i].key), json_cstr(s->annotations[i].value));
		json_setl(&a, &v, "annotations", map);
	}
	if (for_people)
		json_setl(&a, &v, "owner", json_cstr(s->owner == 0 ? "root" : arena_printf(&a, "%u", s->owner).ptr));
	json_write(out, &v, for_people ? JSON_PRETTY : 0);
}
