/* Where the groups are, and their life: locate, make, enter, remove. See cgroup.h.
 *
 * Finding hierarchies: one read of /proc/self/cgroup names them with our own position. A v1 hierarchy is then at
 * /sys/fs/cgroup/<name> by convention; only what is not there costs a reading of mountinfo (which has a line per mount on
 * the machine, a thousand on a full node). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "sys/cgroup.h"
#include "sys/process.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

static const struct {
	const char *v1, *v2;
} controllers[SYS_CG_COUNT] = {
	[SYS_CG_CPU] = { "cpu", "cpu" },
	[SYS_CG_CPUACCT] = { "cpuacct", NULL },
	[SYS_CG_CPUSET] = { "cpuset", "cpuset" },
	[SYS_CG_MEMORY] = { "memory", "memory" },
	[SYS_CG_PIDS] = { "pids", "pids" },
	[SYS_CG_BLKIO] = { "blkio", "io" },
	[SYS_CG_HUGETLB] = { "hugetlb", "hugetlb" },
	[SYS_CG_RDMA] = { "rdma", "rdma" },
	[SYS_CG_NET_CLS] = { "net_cls", NULL },
	[SYS_CG_NET_PRIO] = { "net_prio", NULL },
	[SYS_CG_DEVICES] = { "devices", NULL },
	[SYS_CG_FREEZER] = { "freezer", NULL },
	[SYS_CG_PERF_EVENT] = { "perf_event", NULL },
	[SYS_CG_MISC] = { "misc", "misc" },
	[SYS_CG_NAMED] = { NULL, NULL },
};

int sys_cgroup_by_name(struct span name)
{
	for (int i = 0; i < SYS_CG_COUNT; i++)
		if ((controllers[i].v1 && span_is(name, controllers[i].v1)) ||
		    (controllers[i].v2 && span_is(name, controllers[i].v2)))
			return i;
	return -1;
}

static uint32_t controllers_parse(struct span list, char sep)
{
	uint32_t bits = 0;
	struct span one;
	while (span_cut(&list, sep, &one)) {
		int c = sys_cgroup_by_name(span_trim(one));
		bits |= c >= 0 ? 1u << c : span_starts(one, SPAN("name=")) ? 1u << SYS_CG_NAMED : 0;
	}
	return bits;
}

static bool is_magic(const char *path, long magic)
{
	struct statfs fs;
	return statfs(path, &fs) == 0 && (long)fs.f_type == magic;
}

bool sys_cgroup_pure_v2(void)
{
	return is_magic(CGROUP_ROOT, CGROUP2_SUPER_MAGIC);
}

void sys_cgroup_done(struct sys_cgroup *cg)
{
	for (unsigned i = 0; i < cg->n; i++) {
		fd_close(&cg->dirs[i].fd);
		fd_close(&cg->dirs[i].tasks_fd);
	}
	cg->n = 0;
}

/* Looks a hierarchy up in mountinfo: where it is mounted and which part of it is visible there. */
static bool mountinfo_find(struct arena *a, struct span name, bool v2, const char **out_mount, struct span *out_root)
{
	auto_buf struct buf text = {};
	if (sys_file_read(AT_FDCWD, "/proc/self/mountinfo", &text, 16 << 20) < 0)
		return false;
	uint32_t want = controllers_parse(name, ',');
	struct span rest = buf_span(&text), line;
	while (span_cut(&rest, '\n', &line)) {
		ptrdiff_t dash = span_find(line, SPAN(" - "));
		if (dash < 0)
			continue;
		struct span tail = span_from(line, (size_t)dash + 3), type, source, field[5], head = line;
		if (!span_cut(&tail, ' ', &type) || !span_cut(&tail, ' ', &source) ||
		    !span_is(type, v2 ? "cgroup2" : "cgroup"))
			continue;
		int n = 0;
		while (n < 5 && span_cut(&head, ' ', &field[n]))
			n++;
		if (n < 5)
			continue;
		if (!v2) {
			bool same = span_starts(name, SPAN("name="))
					    ? span_find(tail, name) >= 0
					    : (controllers_parse(tail, ',') & want) == want && want;
			if (!same)
				continue;
		}
		*out_mount = arena_cstr(a, field[4]);
		*out_root = arena_span(a, field[3]);
		return true;
	}
	return false;
}

/* "a-b-c.slice" lives in a.slice/a-b.slice/a-b-c.slice (systemd.slice(5)). */
static int slice_expand(struct buf *out, struct span slice, struct err *err)
{
	if (span_is(slice, "-.slice"))
		return 0;
	if (!span_ends(slice, SPAN(".slice")) || span_chr(slice, '/') >= 0)
		return err_set(err, ERR_INVALID, "cgroupsPath: %.*s is no slice (NAME.slice)", SPAN_ARG(slice));
	struct span stem = span_sub(slice, 0, slice.len - 6);
	if (!stem.len || stem.ptr[0] == '-' || stem.ptr[stem.len - 1] == '-' || span_has(stem, SPAN("--")))
		return err_set(err, ERR_INVALID, "cgroupsPath: %.*s is no slice name", SPAN_ARG(slice));
	for (size_t i = 0; i <= stem.len; i++)
		if (i == stem.len || stem.ptr[i] == '-')
			buf_printf(out, "/%.*s.slice", (int)i, stem.ptr);
	return 0;
}

/* The path inside each hierarchy; *out_relative: to our own group. */
static int inner_path(struct arena *a, const char *path, bool systemd, const char *id, const char **out,
		      bool *out_relative, struct err *err)
{
	struct span p = span_of(path), rest = p, part;
	auto_buf struct buf b = {};
	if (systemd && p.len) {
		struct span slice, tail, prefix, name;
		if (!span_split(p, ':', &slice, &tail) || !span_split(tail, ':', &prefix, &name) ||
		    span_chr(name, ':') >= 0)
			return err_set(err, ERR_INVALID,
				       "linux.cgroupsPath: expected cgroupsPath to be of format \"slice:prefix:name\" "
				       "for systemd cgroups, got \"%.*s\" instead",
				       SPAN_ARG(p));
		if (slice.len) {
			int r = slice_expand(&b, slice, err);
			if (r < 0)
				return r;
		} else {
			buf_str(&b, "/system.slice");
		}
		if (span_ends(name, SPAN(".slice"))) {
			buf_printf(&b, "/%.*s", SPAN_ARG(name));
		} else {
			buf_chr(&b, '/');
			if (prefix.len)
				buf_printf(&b, "%.*s-", SPAN_ARG(prefix));
			buf_printf(&b, "%.*s.scope", SPAN_ARG(name.len ? name : span_of(id)));
		}
		*out_relative = false;
	} else if (systemd) {
		buf_printf(&b, "/system.slice/knarr-%s.scope", id);
		*out_relative = false;
	} else if (!p.len) {
		buf_printf(&b, "/%s", id);
		*out_relative = true;
	} else {
		*out_relative = p.ptr[0] != '/';
		while (span_cut(&rest, '/', &part))
			if (part.len && !span_is(part, "."))
				buf_printf(&b, "/%.*s", SPAN_ARG(part));
	}
	rest = buf_span(&b);
	while (span_cut(&rest, '/', &part))
		if (span_is(part, ".."))
			return err_set(err, ERR_INVALID, "linux.cgroupsPath: \"%.*s\" must not climb with \"..\"",
				       SPAN_ARG(p));
	if (b.len <= 1)
		return err_set(err, ERR_INVALID, "linux.cgroupsPath: \"%.*s\" is the root of the hierarchy",
			       SPAN_ARG(p));
	if (b.len > 2000)
		return err_set(err, ERR_INVALID, "linux.cgroupsPath: longer than 2000 bytes");
	*out = arena_cstr(a, buf_span(&b));
	return 0;
}

static int dir_add(struct arena *a, struct sys_cgroup *cg, struct span name, const char *mount, const char *path,
		   struct err *err)
{
	if (cg->n == SYS_CGROUP_DIRS)
		return err_set(err, ERR_UNSUPPORTED, "more than %d cgroup hierarchies", SYS_CGROUP_DIRS);
	struct sys_cgroup_dir *d = &cg->dirs[cg->n++];
	*d = (struct sys_cgroup_dir){
		.name = arena_cstr(a, name), .mount = mount, .path = path, .fd = -1, .tasks_fd = -1
	};
	d->v2 = name.len == 0;
	if (!d->v2) {
		d->controllers = controllers_parse(name, ',');
		return 0;
	}
	char file[PATH_MAX];
	char text[512];
	snprintf(file, sizeof(file), "%s/cgroup.controllers", mount);
	auto_fd int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text));
	if (n > 0)
		d->controllers = controllers_parse(span_make(text, (size_t)n), ' ');
	d->controllers &= ~(1u << SYS_CG_NAMED);
	return 0;
}

int sys_cgroup_add(struct arena *a, struct sys_cgroup *cg, const char *name, const char *mount, const char *path,
		   struct err *err)
{
	if (path[0] != '/' || !span_starts(span_of(path), span_of(mount)))
		return err_set(err, ERR_CORRUPT, "cgroup folder %s is not below %s", path, mount);
	return dir_add(a, cg, span_of(name), arena_cstr(a, span_of(mount)), arena_cstr(a, span_of(path)), err);
}

int sys_cgroup_locate(struct arena *a, const char *path, bool systemd, const char *id, struct sys_cgroup *out,
		      struct err *err)
{
	const char *inner = "";
	bool relative = false;
	int r = inner_path(a, path, systemd, id, &inner, &relative, err);
	if (r < 0)
		return r;
	auto_buf struct buf own = {};
	if (sys_file_read(AT_FDCWD, "/proc/self/cgroup", &own, 64 << 10) < 0)
		return err_sys(err, "read /proc/self/cgroup");
	bool pure = sys_cgroup_pure_v2();
	*out = (struct sys_cgroup){};
	struct span rest = buf_span(&own), line;
	while (span_cut(&rest, '\n', &line)) {
		struct span num, tail, name, here;
		if (!span_split(line, ':', &num, &tail) || !span_split(tail, ':', &name, &here))
			continue;
		bool v2 = name.len == 0;
		struct span root = SPAN("/");
		const char *mount = NULL;
		if (v2) {
			const char *guess = pure ? CGROUP_ROOT : CGROUP_ROOT "/unified";
			if (pure || is_magic(guess, CGROUP2_SUPER_MAGIC))
				mount = guess;
		} else {
			struct span dir = span_starts(name, SPAN("name=")) ? span_from(name, 5) : name;
			const char *guess = arena_printf(a, CGROUP_ROOT "/%.*s", SPAN_ARG(dir)).ptr;
			if (is_magic(guess, CGROUP_SUPER_MAGIC))
				mount = guess;
		}
		if (!mount && !mountinfo_find(a, name, v2, &mount, &root))
			continue; /* known to the kernel, mounted nowhere: nothing can be set there by anybody */
		const char *base = "";
		if (relative && here.len > 1) {
			char probe[PATH_MAX];
			snprintf(probe, sizeof(probe), "%s%.*s", mount, SPAN_ARG(here));
			if (access(probe, F_OK) <
			    0) { /* a bind mount shows only part of the hierarchy (no cgroup namespace) */
				const char *m;
				if (mountinfo_find(a, name, v2, &m, &root)) {
					mount = m;
					here = span_starts(here, root) && root.len > 1 ? span_from(here, root.len)
										       : here;
				}
			}
			/* On v2 a group that holds processes (us) cannot enable controllers for groups below it (cgroup-v2.rst, No
			 * Internal Process Constraint): the container's group stands beside ours, as with runc. */
			if (v2 && here.len > 1)
				here.len = (size_t)span_rchr(here, '/');
			base = here.len > 1 ? arena_cstr(a, here) : "";
		}
		r = dir_add(a, out, name, mount, arena_printf(a, "%s%s%s", mount, base, inner).ptr, err);
		if (r < 0)
			return r;
	}
	return 0;
}

const struct sys_cgroup_dir *sys_cgroup_find(const struct sys_cgroup *cg, enum sys_cgroup_controller c)
{
	const struct sys_cgroup_dir *v2 = NULL;
	for (unsigned i = 0; i < cg->n; i++) {
		if (cg->dirs[i].controllers & (1u << c))
			return &cg->dirs[i];
		if (cg->dirs[i].v2)
			v2 = &cg->dirs[i];
	}
	return c == SYS_CG_FREEZER || c == SYS_CG_DEVICES ? v2 : NULL;
}

int sys_cgroup_v2_fd(const struct sys_cgroup *cg)
{
	for (unsigned i = 0; i < cg->n; i++)
		if (cg->dirs[i].v2)
			return cg->dirs[i].fd;
	return -1;
}

/* ---- making */

/* A new cpuset of v1 is empty and takes no process: it starts with what its parent has. */
static int cpuset_fill(int parent, int child, struct err *err)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		char text[1024];
		auto_fd int from = openat(parent, files[i], O_RDONLY | O_CLOEXEC);
		ssize_t n = from < 0 ? -1 : read(from, text, sizeof(text));
		if (n < 0)
			return err_sys(err, "read %s of the parent group", files[i]);
		if (n > 1 && sys_file_write(child, files[i], text, (size_t)n) < 0)
			return err_sys(err, "write %s", files[i]);
	}
	return 0;
}

/* On v2 a controller works in a group only when every group above enables it for its children. */
static int controllers_enable(int dir, uint32_t wanted, struct err *err)
{
	auto_buf struct buf have = {};
	if (!wanted)
		return 0;
	if (sys_file_read(dir, "cgroup.controllers", &have, 4096) < 0)
		return err_sys(err, "read cgroup.controllers");
	uint32_t can = controllers_parse(buf_span(&have), ' ');
	for (int c = 0; c < SYS_CG_COUNT; c++) {
		if (!(wanted & can & (1u << c)) || !controllers[c].v2)
			continue;
		char text[32];
		int n = snprintf(text, sizeof(text), "+%s", controllers[c].v2);
		/* A group with processes of its own cannot enable most (EBUSY); whether that matters is seen when the
		 * limit's file is missing. */
		if (sys_file_write(dir, "cgroup.subtree_control", text, (size_t)n) < 0 && errno != EBUSY &&
		    errno != EOPNOTSUPP && errno != EACCES && errno != EPERM && errno != ENOENT && errno != EROFS)
			return err_sys(err, "enable %s in cgroup.subtree_control", controllers[c].v2);
	}
	return 0;
}

/* Makes d->path below d->mount one level after another and leaves it open in d->fd (see by_name). */
static int dir_make(struct sys_cgroup_dir *d, uint32_t wanted, bool by_name, struct err *err)
{
	const uint32_t held = wanted | 1u << SYS_CG_DEVICES | 1u << SYS_CG_PIDS | 1u << SYS_CG_FREEZER;
	struct span rest = span_from(span_of(d->path), strlen(d->mount)), part;
	bool cpuset = !d->v2 && (d->controllers & (1u << SYS_CG_CPUSET));
	/* The usual case first: everything but the last level is there already. */
	if (!cpuset && !(d->v2 && (wanted & d->controllers)) && mkdir(d->path, 0755) == 0) {
		d->made = true;
		if (by_name && !d->v2 && !(d->controllers & held))
			return 0;
		d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		return d->fd < 0 ? err_sys(err, "open cgroup %s", d->path) : 0;
	}
	auto_fd int here = open(d->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (here < 0)
		return err_sys(err, "open %s", d->mount);
	while (span_cut(&rest, '/', &part)) {
		char name[NAME_MAX + 1];
		if (!part.len)
			continue;
		if (part.len > NAME_MAX)
			return err_set(err, ERR_INVALID, "linux.cgroupsPath: a name is longer than %d bytes", NAME_MAX);
		memcpy(name, part.ptr, part.len);
		name[part.len] = 0;
		if (d->v2) {
			int r = controllers_enable(here, wanted & d->controllers, err);
			if (r < 0)
				return err_note(err, "cgroup %s", d->path);
		}
		bool made = mkdirat(here, name, 0755) == 0;
		if (!made && errno != EEXIST)
			return err_sys(err, "make cgroup %s", d->path);
		auto_fd int next = openat(here, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return err_sys(err, "open cgroup %s", d->path);
		if (made && cpuset) {
			int r = cpuset_fill(here, next, err);
			if (r < 0) {
				(void)unlinkat(here, name, AT_REMOVEDIR); /* best effort; the cause is in err */
				return err_note(err, "cgroup %s", d->path);
			}
		}
		d->made = made;
		fd_close(&here);
		here = take_fd(&next);
	}
	d->fd = take_fd(&here);
	return 0;
}

static bool holds_process(int dir, const char *file)
{
	char c;
	auto_fd int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, &c, 1) == 1;
}

static int dir_prepare(struct sys_cgroup_dir *d, uint32_t wanted, bool share, bool by_name, struct err *err)
{
	int errnum = 0;
	if (FAILPOINT_ERR("sys.cgroup.make", &errnum))
		return err_sys_num(err, errnum, "make cgroup %s", d->path);
	int r = dir_make(d, wanted, by_name, err);
	if (r < 0)
		return r;
	if (!d->made && !share && holds_process(d->fd, "cgroup.procs"))
		return err_set(err, ERR_IN_USE, "container's cgroup is not empty: %s holds processes", d->path);
	if (!d->v2 && !by_name) {
		d->tasks_fd = openat(d->fd, "tasks", O_WRONLY | O_CLOEXEC);
		if (d->tasks_fd < 0)
			return err_sys(err, "open %s/tasks", d->path);
	}
	return 0;
}

/* What was there before us, or is not there at all, is not ours to remove. */
static void made_keep(struct sys_cgroup *cg)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < cg->n; i++) {
		struct sys_cgroup_dir *d = &cg->dirs[i];
		if (d->made) {
			cg->dirs[kept++] = *d;
			continue;
		}
		fd_close(&d->fd);
		fd_close(&d->tasks_fd);
	}
	cg->n = kept;
}

int sys_cgroup_make(struct sys_cgroup *cg, uint32_t wanted, bool may_lack, bool share, struct err *err)
{
	unsigned kept = 0;
	int r = 0;
	for (unsigned i = 0; i < cg->n; i++) {
		struct sys_cgroup_dir *d = &cg->dirs[i];
		auto_err struct err why = ERR_INIT;
		r = d->v2 && d->fd >= 0 ? 0 : dir_prepare(d, wanted, share, cg->by_name, &why);
		if (r < 0 && may_lack &&
		    (why.errnum == EACCES || why.errnum == EPERM || why.errnum == EROFS || why.errnum == ENOENT)) {
			if (d->made)
				rmdir(d->path);
			fd_close(&d->fd);
			fd_close(&d->tasks_fd);
			r = 0;
			continue;
		}
		if (r < 0) {
			err_move(err, &why);
			made_keep(cg);
			return r;
		}
		if (kept != i) {
			cg->dirs[kept] = *d;
			*d = (struct sys_cgroup_dir){ .fd = -1, .tasks_fd = -1 };
		}
		kept++;
	}
	cg->n = kept;
	return 0;
}

int sys_cgroup_make_v2(struct sys_cgroup *cg, uint32_t wanted, bool share, struct err *err)
{
	for (unsigned i = 0; i < cg->n; i++) {
		int r = cg->dirs[i].v2 ? dir_prepare(&cg->dirs[i], wanted, share, cg->by_name, err) : 0;
		if (r < 0) {
			made_keep(cg);
			return r;
		}
	}
	return 0;
}

int sys_cgroup_open(struct sys_cgroup *cg, struct err *err)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < cg->n; i++) {
		struct sys_cgroup_dir d = cg->dirs[i];
		d.fd = open(d.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (d.fd < 0 && (errno == ENOENT || errno == ENODEV))
			continue;
		if (d.fd >= 0 && !d.v2)
			d.tasks_fd = openat(d.fd, "tasks", O_WRONLY | O_CLOEXEC);
		cg->dirs[kept] = d;
		if (d.fd < 0) {
			int r = err_sys(err, "open cgroup %s", d.path);
			cg->n = kept;
			return r;
		}
		kept++;
	}
	cg->n = kept;
	return 0;
}

int sys_cgroup_enter(const struct sys_cgroup *cg, bool v2_too, struct err *err)
{
	for (unsigned i = 0; i < cg->n; i++) {
		const struct sys_cgroup_dir *d = &cg->dirs[i];
		if (d->v2 && !v2_too)
			continue;
		int r;
		if (d->v2 ? d->fd < 0 : d->tasks_fd < 0) {
			char file[PATH_MAX];
			snprintf(file, sizeof(file), "%s/%s", d->path, d->v2 ? "cgroup.procs" : "tasks");
			r = sys_file_write(AT_FDCWD, file, "0", 1);
		} else {
			r = d->v2 ? sys_file_write(d->fd, "cgroup.procs", "0", 1)
				  : (int)write(d->tasks_fd, "0", 1) - 1;
		}
		if (r < 0)
			return err_sys(err, "enter cgroup %s", d->path);
	}
	return 0;
}

/* ---- the processes in it */

#define DEPTH_MAX 32

/* The kernel tells nobody when a v1 group is frozen or empty: we look again after 50 us, and then ever later. False when
 * limit_ms are over. */
static bool wait_more(int64_t *waited_us, int limit_ms)
{
	int64_t us = MIN(MAX(*waited_us / 4, INT64_C(50)), INT64_C(20000));
	if (*waited_us >= (int64_t)limit_ms * 1000)
		return false;
	struct timespec t = { .tv_nsec = (long)us * 1000 };
	(void)nanosleep(&t, NULL); /* a signal: we look earlier */
	*waited_us += us;
	return true;
}

/* Calls fn for the folder and every one below it, the deepest first. */
static int tree_walk(int dir, unsigned depth, int (*fn)(int dir, void *arg), void *arg)
{
	if (depth >= DEPTH_MAX) {
		errno = ELOOP;
		return -1;
	}
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);
	if (!list) {
		fd_close(&copy);
		return errno == ENOENT || errno == ENODEV ? 0 : -1;
	}
	int r = 0;
	struct dirent *e;
	while (r == 0 && (e = readdir(list))) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		auto_fd int sub = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			r = tree_walk(sub, depth + 1, fn, arg);
	}
	closedir(list);
	return r == 0 ? fn(dir, arg) : r;
}

struct pids {
	pid_t *ids; /* owned */
	size_t n, cap;
};

static int pids_collect(int dir, void *arg)
{
	struct pids *p = arg;
	auto_buf struct buf text = {};
	if (sys_file_read(dir, "cgroup.procs", &text, 16 << 20) < 0) {
		if (errno == EOPNOTSUPP) { /* a threaded v2 group */
			buf_trunc(&text, 0);
			if (sys_file_read(dir, "cgroup.threads", &text, 16 << 20) < 0)
				return 0;
		} else if (errno != ENOENT && errno != ENODEV) {
			return -1;
		}
	}
	struct span rest = buf_span(&text), line;
	while (span_cut(&rest, '\n', &line)) {
		uint64_t id;
		if (!span_to_u64(line, &id) || id == 0 || id > INT32_MAX)
			continue;
		MEM_GROW(p->ids, p->n, p->cap);
		p->ids[p->n++] = (pid_t)id;
	}
	return 0;
}

/* A hierarchy in which the container certainly is: the v2 one, else pids, else the first. */
static const struct sys_cgroup_dir *main_dir(const struct sys_cgroup *cg)
{
	const struct sys_cgroup_dir *d = sys_cgroup_find(cg, SYS_CG_PIDS);
	if (!d)
		d = sys_cgroup_find(cg, SYS_CG_FREEZER);
	return d ? d : cg->n ? &cg->dirs[0] : NULL;
}

int sys_cgroup_pids(struct arena *a, const struct sys_cgroup *cg, pid_t **out, size_t *out_n, struct err *err)
{
	struct pids p = {};
	const struct sys_cgroup_dir *d = main_dir(cg);
	if (d && tree_walk(d->fd, 0, pids_collect, &p) < 0) {
		int r = err_sys(err, "read the processes of %s", d->path);
		free(p.ids);
		return r;
	}
	*out = p.n ? (pid_t *)arena_copy(a, p.ids, p.n * sizeof(*p.ids)) : NULL;
	*out_n = p.n;
	free(p.ids);
	return 0;
}

int sys_cgroup_signal(const struct sys_cgroup *cg, int sig, struct err *err)
{
	const struct sys_cgroup_dir *d = main_dir(cg);
	if (!d)
		return err_set(err, ERR_UNSUPPORTED, "the container has no cgroup: its processes cannot be listed");
	if (sig == SIGKILL && d->v2 && sys_file_write(d->fd, "cgroup.kill", "1", 1) == 0)
		return 0;
	/* Frozen while the list is read, so that none forks past us. One that dies meanwhile is what we want. */
	bool was;
	bool frozen = sys_cgroup_frozen(cg, &was, NULL) == 0 && !was && sys_cgroup_freeze(cg, true, NULL) == 0;
	auto_arena struct arena a = {};
	pid_t *ids;
	size_t n;
	int r = sys_cgroup_pids(&a, cg, &ids, &n, err);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (kill(ids[i], sig) < 0 && errno != ESRCH)
			r = err_sys(err, "send signal %d to %d", sig, ids[i]);
	/* A frozen v1 process takes SIGKILL only after it is thawed. */
	if (frozen || sig == SIGKILL)
		(void)sys_cgroup_freeze(cg, false, NULL);
	return r;
}

int sys_cgroup_frozen(const struct sys_cgroup *cg, bool *out_frozen, struct err *err)
{
	const struct sys_cgroup_dir *d = sys_cgroup_find(cg, SYS_CG_FREEZER);
	auto_buf struct buf text = {};
	if (!d) {
		*out_frozen = false;
		return 0;
	}
	const char *file = d->v2 ? "cgroup.freeze" : "freezer.state";
	if (sys_file_read(d->fd, file, &text, 256) < 0)
		return err_sys(err, "read %s/%s", d->path, file);
	struct span s = span_trim(buf_span(&text));
	*out_frozen = d->v2 ? span_is(s, "1") : !span_is(s, "THAWED");
	return 0;
}

static bool froze(const struct sys_cgroup_dir *d, bool freeze)
{
	auto_buf struct buf text = {};
	if (sys_file_read(d->fd, d->v2 ? "cgroup.events" : "freezer.state", &text, 4096) < 0)
		return false;
	struct span s = span_trim(buf_span(&text));
	return d->v2 ? span_has(s, freeze ? SPAN("frozen 1") : SPAN("frozen 0"))
		     : span_is(s, freeze ? "FROZEN" : "THAWED");
}

int sys_cgroup_freeze(const struct sys_cgroup *cg, bool freeze, struct err *err)
{
	const struct sys_cgroup_dir *d = sys_cgroup_find(cg, SYS_CG_FREEZER);
	if (!d)
		return err_set(err, ERR_UNSUPPORTED, "the container has no freezer cgroup");
	const char *file = d->v2 ? "cgroup.freeze" : "freezer.state";
	const char *text = d->v2 ? (freeze ? "1" : "0") : freeze ? "FROZEN" : "THAWED";
	int errnum = 0;
	if (FAILPOINT_ERR("sys.cgroup.freeze", &errnum))
		return err_sys_num(err, errnum, "write %s/%s", d->path, file);
	/* v1 says FREEZING until all sleep and wants to be asked again; v2 tells through cgroup.events, which poll(2)
	 * watches, but a task in an uninterruptible wait can take a while in both. */
	int64_t waited_us = 0;
	do {
		if ((waited_us == 0 || !d->v2) && sys_file_write(d->fd, file, text, strlen(text)) < 0)
			return err_sys(err, "write %s/%s", d->path, file);
		if (froze(d, freeze))
			return 0;
	} while (wait_more(&waited_us, 2000));
	if (freeze)
		(void)sys_file_write(d->fd, file, d->v2 ? "0" : "THAWED", d->v2 ? 1 : 6);
	return err_set(err, ERR_TIMEOUT, "%s did not become %s within 2 s", d->path, freeze ? "frozen" : "thawed");
}

/* ---- removing */

static int below_remove(int dir, unsigned depth)
{
	int copy = depth >= DEPTH_MAX ? -1 : openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);
	if (!list) {
		fd_close(&copy);
		return -1;
	}
	struct dirent *e;
	int r = 0;
	while ((e = readdir(list))) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		if (unlinkat(dir, e->d_name, AT_REMOVEDIR) == 0)
			continue;
		auto_fd int sub = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0 || below_remove(sub, depth + 1) < 0 || unlinkat(dir, e->d_name, AT_REMOVEDIR) < 0)
			r = -1;
	}
	int saved = errno;
	closedir(list);
	errno = saved;
	return r;
}

int sys_cgroup_remove(struct sys_cgroup *cg, int wait_ms, struct err *err)
{
	int r = 0;
	for (unsigned i = 0; i < cg->n; i++) {
		struct sys_cgroup_dir *d = &cg->dirs[i];
		fd_close(&d->fd);
		fd_close(&d->tasks_fd);
		for (int64_t waited_us = 0;;) {
			if (rmdir(d->path) == 0 || errno == ENOENT || errno == ENODEV)
				break;
			/* EBUSY: a process that is just dying, or groups below. */
			int errnum = errno;
			auto_fd int fd = errnum == EBUSY ? open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
			if (fd >= 0 && below_remove(fd, 0) == 0 && rmdir(d->path) == 0)
				break;
			if (errnum != EBUSY || !wait_more(&waited_us, wait_ms)) {
				if (r == 0)
					r = err_sys_num(err, errnum, "remove cgroup %s", d->path);
				break;
			}
		}
	}
	return r;
}
