/* AppArmor's docker-default: what dockerd confines a container to that names no profile. One that is loaded already, by a dockerd
 * on the same machine, is used as it is and never replaced. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/private.h"

extern char **environ;

#ifndef PROFILES /* apparmor_test.c has its own */
#define PROFILES "/sys/kernel/security/apparmor/profiles"
#define PARSERS "/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"
#endif

static const char *parser_path(void)
{
	static const char *const paths[] = { PARSERS };
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (access(paths[i], X_OK) == 0)
			return paths[i];
	return NULL;
}

bool container_apparmor_on(void)
{
	static atomic_int known; /* 0 not asked, 1 off, 2 on; neither changes before the next boot */
	int state = atomic_load(&known);
	if (!state) {
		auto_buf struct buf text = {};
		bool on = io_read_file(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", &text, 16, NULL) == 0 &&
			  span_starts(buf_span(&text), SPAN("Y")) && access(PROFILES, R_OK) == 0 && parser_path();
		state = on ? 2 : 1;
		atomic_store(&known, state);
	}
	return state == 2;
}

struct span container_apparmor_profile(const struct json *host, bool on)
{
	struct span named = SPAN_EMPTY, key, value;
	JSON_EACH_ITEM (json_getl(host, "SecurityOpt"), item)
		if ((span_split(json_span(item), '=', &key, &value) || span_split(json_span(item), ':', &key, &value)) &&
		    span_is(key, "apparmor"))
			named = value;
	if (named.len || !on)
		return named;
	return container_truth(host, "Privileged") ? SPAN("unconfined") : SPAN(CONTAINER_APPARMOR_DEFAULT);
}

/* dockerd's rules: everything but mounting, writing to /proc and /sys where it concerns the host, and reaching for others. */
void container_apparmor_text(struct buf *out, bool tunables, bool base)
{
	buf_str(out, tunables ? "#include <tunables/global>\n" : "@{PROC}=/proc/\n");
	buf_str(out, "profile " CONTAINER_APPARMOR_DEFAULT " flags=(attach_disconnected,mediate_deleted) {\n");
	if (base)
		buf_str(out, "  #include <abstractions/base>\n");
	buf_str(out, "  network,\n  capability,\n  file,\n  umount,\n"
		"  # signals: from the host's processes, and among its own\n"
		"  signal (receive) peer=unconfined,\n"
		"  signal (receive) peer=runc,\n"
		"  signal (receive) peer=crun,\n"
		"  signal (send,receive) peer=" CONTAINER_APPARMOR_DEFAULT ",\n"
		"  # /proc: only what belongs to a process, and shared memory's limits\n"
		"  deny @{PROC}/* w,\n"
		"  deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,\n"
		"  deny @{PROC}/sys/[^k]** w,\n"
		"  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,\n"
		"  deny @{PROC}/sysrq-trigger rwklx,\n"
		"  deny @{PROC}/kcore rwklx,\n"
		"  deny mount,\n"
		"  # /sys: only control groups\n"
		"  deny /sys/[^f]*/** wklx,\n"
		"  deny /sys/f[^s]*/** wklx,\n"
		"  deny /sys/fs/[^c]*/** wklx,\n"
		"  deny /sys/fs/c[^g]*/** wklx,\n"
		"  deny /sys/fs/cg[^r]*/** wklx,\n"
		"  deny /sys/firmware/** rwklx,\n"
		"  deny /sys/devices/virtual/powercap/** rwklx,\n"
		"  deny /sys/kernel/security/** rwklx,\n"
		"  # its processes may look at each other\n"
		"  ptrace (trace,read,tracedby,readby) peer=" CONTAINER_APPARMOR_DEFAULT ",\n"
		"}\n");
}

static bool loaded(void)
{
	auto_buf struct buf text = {};
	struct span rest, line;
	if (io_read_file(AT_FDCWD, PROFILES, &text, 1 << 20, NULL) < 0)
		return false;
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &line))
		if (span_starts(line, SPAN(CONTAINER_APPARMOR_DEFAULT " (")))
			return true;
	return false;
}

static int parser_run(const char *file, struct err *err)
{
	const char *path = parser_path();
	char *argv[] = { (char *)(uintptr_t)"apparmor_parser", (char *)(uintptr_t)"-Kr", (char *)(uintptr_t)file, NULL };
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid;
	int status = 0;
	if (!path)
		return err_set(err, ERR_UNSUPPORTED, "apparmor_parser is not there any more");
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	int errnum = posix_spawn(&pid, path, NULL, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	if (errnum)
		return err_sys_num(err, errnum, "start %s", path);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0 ? 0 : err_set(err, ERR_INTERNAL, "%s -Kr %s failed with status %d", path, file,
		WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static int profile_load(const struct container_engine *e, struct err *err)
{
	auto_arena struct arena a = {};
	auto_buf struct buf text = {};
	if (loaded())
		return 0;
	const char *file = arena_printf(&a, "%s/apparmor-" CONTAINER_APPARMOR_DEFAULT, e->run_dir).ptr;
	container_apparmor_text(&text, access("/etc/apparmor.d/tunables/global", R_OK) == 0,
		access("/etc/apparmor.d/abstractions/base", R_OK) == 0);
	int rc = io_write_file_lazy(AT_FDCWD, file, buf_span(&text), 0600, err);
	rc = rc < 0 ? rc : parser_run(file, err);
	(void)unlink(file); /* it is in the kernel, or of no use */
	if (rc < 0)
		return err_note(err, "AppArmor enabled on system but the " CONTAINER_APPARMOR_DEFAULT " profile could not be loaded");
	return 0;
}

int container_apparmor_load(const struct container_engine *e, struct err *err)
{
	static atomic_bool there; /* loaded profiles stay until somebody removes them, which a start would then tell */
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	if (atomic_load(&there))
		return 0;
	/* Those that come meanwhile wait: they would write and remove the same file. */
	pthread_mutex_lock(&lock);
	int rc = atomic_load(&there) ? 0 : profile_load(e, err);
	if (rc == 0)
		atomic_store(&there, true);
	pthread_mutex_unlock(&lock);
	return rc;
}
