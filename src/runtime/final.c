/* Who the process becomes, and the exec. Shared by a container's first process and by `exec`.
 *
 * Order (A: a filter without no_new_privs; B: all others). A filter without no_new_privs needs CAP_SYS_ADMIN to be loaded, so
 * it comes before the rights go; the wait for `start` stands before the filter in both, so that no profile has to allow
 * what waiting needs:
 *
 *     A   close, chdir, look the program up, [wait], filter, identity, [startContainer hooks], exec
 *     B   close, chdir, identity, look the program up, [wait], [hooks], filter, exec
 *
 * Hooks of startContainer are programs of the image: they never run with more rights than the container. Everything that could lead
 * to the host is closed before the working directory is entered (CVE-2024-21626), and where we then are is checked. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "runtime/plan.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- limits */

int runtime_final_rlimits(pid_t pid, const struct config_process *p, void (*warn)(void *arg, const char *text),
			  void *arg, struct err *err)
{
	for (size_t i = 0; i < p->n_rlimits; i++) {
		const struct config_rlimit *l = &p->rlimits[i];
		int errnum = 0;
		if (FAILPOINT_ERR("runtime.rlimit", &errnum))
			return err_sys_num(err, errnum, "process.rlimits: set %s", sys_rlimit_name(l->resource));
		if (prlimit(pid, l->resource, &l->value, NULL) == 0)
			continue;
		struct rlimit now;
		if (errno != EPERM || prlimit(pid, l->resource, NULL, &now) < 0)
			return err_sys(err, "process.rlimits: set %s to %llu:%llu", sys_rlimit_name(l->resource),
				       (unsigned long long)l->value.rlim_cur, (unsigned long long)l->value.rlim_max);
		/* Not allowed to raise the hard limit (no CAP_SYS_RESOURCE here): as near as we may, and say so. */
		struct rlimit near = l->value;
		if (near.rlim_cur > now.rlim_max)
			near.rlim_cur = now.rlim_max;
		if (near.rlim_max > now.rlim_max)
			near.rlim_max = now.rlim_max;
		if (prlimit(pid, l->resource, &near, NULL) < 0)
			return err_sys(err, "process.rlimits: set %s", sys_rlimit_name(l->resource));
		char text[256];
		snprintf(text, sizeof(text),
			 "process.rlimits: %s stays at %llu:%llu: raising the hard limit to %llu needs "
			 "CAP_SYS_RESOURCE, which this machine does not give",
			 sys_rlimit_name(l->resource), (unsigned long long)near.rlim_cur,
			 (unsigned long long)near.rlim_max, (unsigned long long)l->value.rlim_max);
		warn(arg, text);
	}
	return 0;
}

int runtime_final_oom_score(int score, void (*warn)(void *arg, const char *text), void *arg, struct err *err)
{
	char text[16], now[16] = "";
	int n = snprintf(text, sizeof(text), "%d", score);
	if (sys_file_write(AT_FDCWD, "/proc/self/oom_score_adj", text, (size_t)n) == 0)
		return 0;
	if (errno != EACCES && errno != EPERM)
		return err_sys(err, "process.oomScoreAdj: write %d to oom_score_adj", score);
	auto_fd int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read(fd, now, sizeof(now) - 1);
	int64_t have = 0;
	if (got > 0 && span_to_i64(span_trim(span_make(now, (size_t)got)), &have) && have == score)
		return 0;
	char why[160];
	snprintf(why, sizeof(why),
		 "process.oomScoreAdj: stays at %lld: lowering it to %d needs CAP_SYS_RESOURCE, which this machine "
		 "does not give",
		 (long long)have, score);
	warn(arg, why);
	return 0;
}

/* ---- descriptors and folder */

static int close_others(const struct final *f, struct err *err)
{
	bool sync_first = f->sync < f->listen_fd;
	int keep[2] = { sync_first ? f->sync : f->listen_fd, sync_first ? f->listen_fd : f->sync };
	unsigned from = 3 + (unsigned)f->keep_fds;
	for (int i = 0; i < 2; i++) {
		if (keep[i] < (int)from)
			continue;
		if ((unsigned)keep[i] > from && syscall(SYS_close_range, from, (unsigned)keep[i] - 1, 0) < 0)
			goto fallback;
		from = (unsigned)keep[i] + 1;
	}
	if (syscall(SYS_close_range, from, ~0u, 0) == 0)
		return 0;
fallback:
	if (errno != ENOSYS && errno != EPERM)
		return err_sys(err, "close descriptors");
	struct rlimit limit;
	if (prlimit(0, RLIMIT_NOFILE, NULL, &limit) < 0)
		return err_sys(err, "close descriptors");
	/* Before Linux 5.9. A limit that was lowered meanwhile hides higher ones, hence the floor. */
	int end = limit.rlim_max > 65536 ? 1048576 : 65536;
	for (int fd = 3 + f->keep_fds; fd < end; fd++)
		if (fd != f->sync && fd != f->listen_fd)
			close(fd);
	return 0;
}

static int cwd_enter(const struct final *f, bool again, bool *out_later, struct err *err)
{
	const char *cwd = f->process->cwd;
	*out_later = false;
	if (chdir(cwd) < 0) {
		if (!again && (errno == EACCES || errno == EPERM)) {
			*out_later = true; /* the user may have rights that root has not (a network file system) */
			return 0;
		}
		return err_sys(err, "process.cwd: chdir to %s", cwd);
	}
	/* The kernel answers "(unreachable)..." for a folder outside our root. */
	char here[PATH_MAX];
	if (syscall(SYS_getcwd, here, sizeof(here)) < 0 || here[0] != '/')
		return err_set(
			err, ERR_FORBIDDEN,
			"process.cwd: %s is outside of the container's root: possible container breakout detected",
			cwd);
	return 0;
}

/* ---- identity */

static int label_write(struct final *f, struct err *err)
{
	const struct config_process *p = f->process;
	auto_buf struct buf text = {};
	if (f->label_fd < 0)
		return 0;
	if (p->apparmor && *p->apparmor)
		buf_printf(&text, "exec %s", p->apparmor);
	else
		buf_str(&text, p->selinux);
	if (write(f->label_fd, text.ptr, text.len) != (ssize_t)text.len)
		return p->apparmor && *p->apparmor ? err_sys(err, "unable to apply apparmor profile \"%s\"", p->apparmor)
						   : err_sys(err, "unable to set SELinux exec label \"%s\"", p->selinux);
	fd_close(&f->label_fd);
	return 0;
}

/* To whoever listens now: the builder, or after the knock `start`. */
static void final_warn(void *arg, const char *text)
{
	const struct final *f = arg;
	(void)runtime_sync_send(f->sync, SYNC_WARN, 0, 0, text, -1); /* a warning that nobody hears */
}

/* What cannot be granted (a machine that withholds some) is left out with a warning: config.md, Linux Process. */
static int caps_set(struct final *f, const struct sys_caps *wanted, struct err *err)
{
	struct sys_caps have, caps = *wanted;
	int r = sys_caps_apply(wanted, err);
	if (r != -ERR_FORBIDDEN)
		return r;
	if (err)
		err_done(err);
	r = sys_caps_read(&have, err);
	if (r < 0)
		return r;
	auto_buf struct buf text = {};
	buf_str(&text, "process.capabilities: not granted, because this machine does not give them:");
	for (int i = 0; sys_caps_name(i); i++)
		if ((caps.permitted | caps.effective | caps.inheritable) & ~have.permitted & (UINT64_C(1) << i))
			buf_printf(&text, " %s", sys_caps_name(i));
	final_warn(f, buf_cstr(&text));
	caps.permitted &= have.permitted;
	caps.effective &= have.permitted;
	caps.inheritable &= have.permitted;
	return sys_caps_apply(&caps, err);
}

static int identity_set(struct final *f, struct err *err)
{
	const struct config_process *p = f->process;
	static const struct sys_caps none;
	const struct sys_caps *caps = p->has_caps ? &p->caps : &none;
	int r = sys_caps_bound(caps->bounding, err);
	if (r < 0)
		return r;
	if (p->uid != 0) {
		r = sys_caps_keep(true, err);
		if (r < 0)
			return r;
	}
	if (syscall(SYS_setgroups, p->n_gids, p->gids) < 0 && !(errno == EPERM && p->n_gids == 0))
		return err_sys(err, "process.user.additionalGids: set %zu groups%s", p->n_gids,
			       errno == EPERM ? " (denied in this user namespace)" : "");
	if (setresgid(p->gid, p->gid, p->gid) < 0)
		return err_sys(err, "process.user.gid: become group %u", p->gid);
	if (setresuid(p->uid, p->uid, p->uid) < 0)
		return err_sys(err, "process.user.uid: become user %u", p->uid);
	return caps_set(f, caps, err);
}

/* HOME is not a matter of the specification, but programs and people expect it as runc sets it: from the image's passwd. */
static void home_find(const struct config_process *p, char *out, size_t size)
{
	auto_buf struct buf text = {};
	snprintf(out, size, "HOME=/");
	if (sys_file_read(AT_FDCWD, "/etc/passwd", &text, 1 << 20) < 0)
		return;
	struct span rest = buf_span(&text), line, field;
	while (span_cut(&rest, '\n', &line)) {
		uint64_t uid = UINT64_MAX;
		for (int i = 0; i < 6 && span_cut(&line, ':', &field); i++) {
			if (i == 2 && (!span_to_u64(field, &uid) || uid != p->uid))
				break;
			if (i == 5 && field.len && field.len < size - 6) {
				snprintf(out, size, "HOME=%.*s", SPAN_ARG(field));
				return;
			}
		}
	}
}

static char **env_make(const struct config_process *p, char *home, size_t home_size)
{
	for (size_t i = 0; i < p->n_env; i++)
		if (!strncmp(p->env[i], "HOME=", 5) && p->env[i][5])
			return p->env;
	char **env = mem_alloc((p->n_env + 2) * sizeof(*env));
	size_t n = 0;
	for (size_t i = 0; i < p->n_env; i++)
		if (strncmp(p->env[i], "HOME=", 5) != 0)
			env[n++] = p->env[i];
	home_find(p, home, home_size);
	env[n++] = home;
	env[n] = NULL;
	return env;
}

/* Programs reopen /dev/stdout by name: what we were given must belong to the user that they run as. */
static void stdio_own(const struct config_process *p)
{
	for (int fd = 0; p->uid != 0 && fd < 3; fd++) {
		struct stat st, null;
		if (fstat(fd, &st) < 0 || st.st_uid == p->uid)
			continue;
		if (S_ISCHR(st.st_mode) && stat("/dev/null", &null) == 0 && null.st_rdev == st.st_rdev)
			continue;
		(void)!fchown(fd, p->uid, (gid_t)-1); /* a read-only file system, or not ours: the program finds out */
	}
}

/* ---- the program */

static bool program_usable(const char *path, int *out_errnum)
{
	struct stat st;
	if (stat(path, &st) < 0 || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		*out_errnum = errno;
	else if (S_ISDIR(st.st_mode))
		*out_errnum = EISDIR;
	else
		return true;
	return false;
}

/* Where args[0] is. The words are those of runc: dockerd and podman look for them. */
static int program_find(const struct config_process *p, char out[PATH_MAX], struct err *err)
{
	const char *name = p->args[0], *path = DEFAULT_PATH;
	int errnum = ENOENT;
	if (strchr(name, '/')) {
		if (snprintf(out, PATH_MAX, "%s", name) >= PATH_MAX)
			return err_sys_num(err, ENAMETOOLONG, "unable to start container process: exec: \"%.100s...\"",
					   name);
		if (program_usable(out, &errnum))
			return 0;
		if (errnum == ENOENT || errnum == ENOTDIR) {
			err_set(err, ERR_NO_COMMAND, "unable to start container process: exec: \"%s\": stat %s: %s",
				name, name, errnum == ENOENT ? "no such file or directory" : "not a directory");
			return -ERR_NO_COMMAND;
		}
		return err_set(err, ERR_NOT_EXECUTABLE, "unable to start container process: exec: \"%s\": %s", name,
			       errnum == EISDIR	  ? "is a directory: permission denied" /* dockerd makes 126 of the latter */
			       : errnum == EACCES ? "permission denied"
						  : err_why(errnum));
	}
	for (size_t i = 0; i < p->n_env; i++)
		if (!strncmp(p->env[i], "PATH=", 5))
			path = p->env[i] + 5;
	struct span rest = span_of(path), part;
	bool denied = false;
	while (span_cut(&rest, ':', &part)) {
		if (snprintf(out, PATH_MAX, "%.*s/%s", SPAN_ARG(part.len ? part : SPAN(".")), name) >= PATH_MAX)
			continue;
		if (program_usable(out, &errnum))
			return 0;
		denied |= errnum == EACCES;
	}
	if (denied)
		return err_set(err, ERR_NOT_EXECUTABLE,
			       "unable to start container process: exec: \"%s\": permission denied", name);
	return err_set(err, ERR_NO_COMMAND,
		       "unable to start container process: exec: \"%s\": executable file not found in $PATH", name);
}

static const struct {
	uint16_t machine;
	const char *name;
} machines[] = {
	{ EM_X86_64, "x86_64" }, { EM_386, "i386" },   { EM_AARCH64, "aarch64" }, { EM_ARM, "arm" },
	{ EM_PPC64, "ppc64" },	 { EM_S390, "s390x" }, { EM_RISCV, "riscv64" },	  { EM_MIPS, "mips" },
};

static const char *machine_name(unsigned machine)
{
	for (size_t i = 0; i < ARRAY_LEN(machines); i++)
		if (machines[i].machine == machine)
			return machines[i].name;
	return "another architecture";
}

static void elf_explain(int fd, const char *head, ssize_t n, int errnum, struct buf *out)
{
	if (n < (ssize_t)sizeof(Elf32_Ehdr)) {
		buf_str(out, "the ELF file is cut off");
		return;
	}
	uint16_t machine;
	memcpy(&machine, head + offsetof(Elf64_Ehdr, e_machine), sizeof(machine));
	if (head[EI_DATA] == ELFDATA2MSB)
		machine = (uint16_t)(machine << 8 | machine >> 8);
	struct utsname uts;
	uname(&uts);
	if (errnum == ENOEXEC) {
		buf_printf(out, "it is built for %s, this machine is %s", machine_name(machine), uts.machine);
		return;
	}
	Elf64_Ehdr e;
	if (errnum != ENOENT || head[EI_CLASS] != ELFCLASS64 || n < (ssize_t)sizeof(e))
		goto interpreter_unknown;
	memcpy(&e, head, sizeof(e));
	for (int i = 0; i < e.e_phnum && i < 64; i++) {
		Elf64_Phdr ph;
		char name[256] = "";
		if (pread(fd, &ph, sizeof(ph), (off_t)(e.e_phoff + (uint64_t)i * e.e_phentsize)) != (ssize_t)sizeof(ph))
			break;
		if (ph.p_type != PT_INTERP)
			continue;
		ssize_t got = pread(fd, name, sizeof(name) - 1, (off_t)ph.p_offset);
		name[got > 0 ? MIN((size_t)got, (size_t)ph.p_filesz) : 0] = 0;
		buf_printf(out, "its interpreter \"%s\" is not in the container", name);
		return;
	}
interpreter_unknown:
	buf_printf(out, "its interpreter (dynamic loader) is not in the container; it is built for %s",
		   machine_name(machine));
}

/* execve says only "no such file" or "format error": look at the file and say which thing is missing. */
static int exec_explain(const char *path, int errnum, struct err *err)
{
	auto_buf struct buf why = {};
	char head[512];
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof(head) - 1);
	if ((errnum == ENOENT || errnum == ENOEXEC || errnum == EACCES || errnum == ELIBBAD) && n >= 0) {
		head[n] = 0;
		if (n >= 2 && head[0] == '#' && head[1] == '!') {
			struct span line = span_make(head + 2, strcspn(head + 2, "\n")), program;
			bool crlf = span_ends(line, SPAN("\r"));
			line = span_trim(span_sub(line, 0, line.len - crlf));
			struct span rest = line;
			(void)span_cut(&rest, ' ', &program);
			if (crlf)
				buf_printf(&why,
					   "the script's first line ends in CRLF, so its interpreter would be "
					   "\"%.*s\\r\"; save it with LF line ends",
					   SPAN_ARG(program));
			else
				buf_printf(&why, "the script's interpreter \"%.*s\" %s", SPAN_ARG(program),
					   errnum == ENOENT ? "is not in the container" : "cannot be executed");
		} else if (n >= 4 && !memcmp(head, ELFMAG, SELFMAG)) {
			elf_explain(fd, head, n, errnum, &why);
		} else if (errnum == ENOEXEC) {
			buf_str(&why,
				n == 0 ? "the file is empty" : "neither an ELF program nor a script with a #! line");
		}
	}
	enum err_class class = errnum == ENOENT ? ERR_NO_COMMAND : ERR_NOT_EXECUTABLE;
	const char *text = errnum == ENOENT    ? "no such file or directory"
			   : errnum == EACCES  ? "permission denied"
			   : errnum == ENOEXEC ? "exec format error"
					       : err_why(errnum);
	err_set(err, class, "unable to start container process: exec: \"%s\": %s%s%s", path, text, why.len ? ": " : "",
		buf_cstr(&why));
	if (err)
		err->errnum = errnum;
	return -(int)class;
}

/* ---- filter and start */

static int filter_load(struct final *f, struct err *err)
{
	if (!f->filter.program.len)
		return 0;
	int listener = -1;
	unsigned flags = f->filter.flags | (f->filter.notify ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0);
	int errnum = 0;
	if (FAILPOINT_ERR("runtime.filter", &errnum))
		return err_sys_num(err, errnum, "load seccomp filter");
	int r = sys_filter_install(f->filter.program, flags, &listener, err);
	if (r < 0 || !f->filter.notify)
		return r;
	/* The other side fetches the listener from us by number (pidfd_getfd) and then lets us go on. */
	struct sync_msg m = {};
	if (runtime_sync_send(f->sync, SYNC_FILTER, listener, 0, NULL, -1) < 0 ||
	    runtime_sync_recv(f->sync, &m, NULL) != 1 || m.kind != SYNC_GO)
		return err_set(err, ERR_UPSTREAM,
			       "linux.seccomp.listenerPath: the notification descriptor could not be handed over");
	fd_close(&listener);
	return 0;
}

static int start_wait(struct final *f, struct err *err)
{
	if (f->listen_fd < 0)
		return 0;
	if (runtime_sync_send(f->sync, SYNC_READY, 0, 0, NULL, -1) < 0)
		return err_sys(err, "report that the container is created");
	fd_close(&f->sync);
	/* Who can reach the socket is root of this container's folder; a visitor who leaves without a word is no start. */
	for (;;) {
		auto_fd int peer = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		struct sync_msg m = {};
		if (peer < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			return err_sys(err, "wait for start");
		}
		if (runtime_sync_recv(peer, &m, NULL) == 1 && m.kind == SYNC_GO) {
			f->sync = take_fd(&peer);
			break;
		}
	}
	fd_close(&f->listen_fd);
	return 0;
}

int runtime_final_exec(struct final *f, struct err *err)
{
	const struct config_process *p = f->process;
	bool filter_first = f->filter.program.len && !p->no_new_privs;
	bool chdir_later;
	char path[PATH_MAX], home[512];
	int r = 0;
	if (!f->in_userns && p->n_rlimits)
		r = runtime_final_rlimits(0, p, final_warn, f, err);
	if (r == 0)
		r = label_write(f, err);
	if (r == 0)
		r = close_others(f, err);
	if (r == 0)
		r = cwd_enter(f, false, &chdir_later, err);
	if (r < 0)
		return r;
	stdio_own(p);
	char **env = env_make(p, home, sizeof(home));
	umask(p->has_umask ? p->umask : 0022);
	if (p->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "process.noNewPrivileges");
	if (!filter_first)
		r = identity_set(f, err);
	if (r == 0 && !filter_first && chdir_later)
		r = cwd_enter(f, true, &chdir_later, err);
	if (r == 0 && p->n_args)
		r = program_find(p, path, err);
	if (r == 0)
		r = start_wait(f, err);
	if (r == 0 && !p->n_args)
		r = err_set(err, ERR_INVALID, "process: is missing, there is nothing to run"); /* start has said so and not knocked */
	if (r == 0 && filter_first)
		r = filter_load(f, err);
	if (r == 0 && filter_first)
		r = identity_set(f, err);
	if (r == 0 && filter_first && chdir_later)
		r = cwd_enter(f, true, &chdir_later, err);
	if (r == 0 && f->before)
		r = f->before(f->before_arg, err);
	if (r == 0 && !filter_first)
		r = filter_load(f, err);
	if (r < 0)
		return r;
	(void)runtime_sync_send(f->sync, SYNC_READY, 0, 0, NULL,
				-1); /* a starter that left is no reason not to start */
	int errnum = 0;
	if (FAILPOINT_ERR("runtime.exec", &errnum))
		return exec_explain(path, errnum, err);
	execve(path, p->args, env);
	return exec_explain(path, errno, err);
}
