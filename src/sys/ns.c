/* See ns.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "sys/call.h"
#include "sys/ns.h"

const struct sys_ns_row sys_ns_rows[SYS_NS_COUNT] = {
	[SYS_NS_USER] = { "user", "user", CLONE_NEWUSER },
	[SYS_NS_MOUNT] = { "mount", "mnt", CLONE_NEWNS },
	[SYS_NS_PID] = { "pid", "pid", CLONE_NEWPID },
	[SYS_NS_NETWORK] = { "network", "net", CLONE_NEWNET },
	[SYS_NS_IPC] = { "ipc", "ipc", CLONE_NEWIPC },
	[SYS_NS_UTS] = { "uts", "uts", CLONE_NEWUTS },
	[SYS_NS_CGROUP] = { "cgroup", "cgroup", CLONE_NEWCGROUP },
	[SYS_NS_TIME] = { "time", "time", SYS_CLONE_NEWTIME },
};

int sys_ns_by_name(struct span name)
{
	for (int i = 0; i < SYS_NS_COUNT; i++)
		if (span_is(name, sys_ns_rows[i].name))
			return i;
	return -1;
}

bool sys_ns_map_id(const struct sys_id_map *maps, size_t n, uint32_t inside, uint32_t *out_outside)
{
	for (size_t i = 0; i < n; i++) {
		if (inside >= maps[i].inside && inside - maps[i].inside < maps[i].count) {
			*out_outside = maps[i].outside + (inside - maps[i].inside);
			return true;
		}
	}
	return false;
}

/* The kernel takes a map in one write. */
static int map_file_write(pid_t pid, const char *file, const char *text, size_t len)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	return write(fd, text, len) == (ssize_t)len ? 0 : -1;
}

static int map_helper_run(const char *program, pid_t pid, const struct sys_id_map *maps, size_t n, struct err *err)
{
	auto_arena struct arena a = {};
	const char **argv = arena_alloc_n(&a, 3 + 3 * n, sizeof(*argv));
	size_t argc = 0;
	argv[argc++] = program;
	argv[argc++] = arena_printf(&a, "%d", pid).ptr;
	for (size_t i = 0; i < n; i++) {
		argv[argc++] = arena_printf(&a, "%u", maps[i].inside).ptr;
		argv[argc++] = arena_printf(&a, "%u", maps[i].outside).ptr;
		argv[argc++] = arena_printf(&a, "%u", maps[i].count).ptr;
	}
	argv[argc] = NULL;
	pid_t child = fork();
	if (child < 0)
		return err_sys(err, "fork for %s", program);
	if (child == 0) {
		execvp(program, (char *const *)argv);
		_exit(errno == ENOENT ? 127 : 126);
	}
	int status;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return err_set(err, ERR_NOT_FOUND,
			       "writing an id map of more than one's own id needs the program %s (package uidmap)",
			       program);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return err_set(err, ERR_FORBIDDEN,
			       "%s refused the id map; /etc/subuid and /etc/subgid say what this user may map",
			       program);
	return 0;
}

static int map_write(pid_t pid, bool users, const struct sys_id_map *maps, size_t n, struct err *err)
{
	const char *file = users ? "uid_map" : "gid_map";
	if (n > SYS_ID_MAPS_MAX)
		return err_set(err, ERR_INVALID, "%s: %zu ranges, the kernel takes %d", file, n, SYS_ID_MAPS_MAX);
	auto_buf struct buf text = {};
	for (size_t i = 0; i < n; i++)
		buf_printf(&text, "%u %u %u\n", maps[i].inside, maps[i].outside, maps[i].count);
	if (map_file_write(pid, file, buf_cstr(&text), text.len) == 0)
		return 0;
	if (errno != EPERM)
		return err_sys(err, "write /proc/%d/%s", pid, file);
	if (geteuid() == 0)
		return err_sys_num(err, EPERM, "write /proc/%d/%s (are the outer ids mapped in this namespace?)", pid,
				   file);
	uint32_t own = users ? geteuid() : getegid();
	if (n == 1 && maps[0].count == 1 && maps[0].outside == own) {
		if (!users && map_file_write(pid, "setgroups", "deny", 4) < 0 && errno != ENOENT)
			return err_sys(err, "write /proc/%d/setgroups", pid);
		if (map_file_write(pid, file, buf_cstr(&text), text.len) == 0)
			return 0;
		return err_sys(err, "write /proc/%d/%s", pid, file);
	}
	return map_helper_run(users ? "newuidmap" : "newgidmap", pid, maps, n, err);
}

int sys_ns_maps_write(pid_t pid, const struct sys_id_map *uids, size_t n_uids, const struct sys_id_map *gids,
		      size_t n_gids, struct err *err)
{
	/* Groups first: while the user map is empty the process has no id inside that could do anything. */
	int r = n_gids ? map_write(pid, false, gids, n_gids, err) : 0;
	return r < 0 ? r : n_uids ? map_write(pid, true, uids, n_uids, err) : 0;
}

int sys_ns_maps_make(const struct sys_id_map *uids, size_t n_uids, const struct sys_id_map *gids, size_t n_gids,
		     int *out_fd, struct err *err)
{
	struct sys_clone_args args = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	int hold[2];
	if (pipe2(hold, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	pid_t pid = sys_clone3(&args);
	if (pid == 0) {
		char c;
		close(hold[1]);
		(void)!read(hold[0], &c, 1); /* until the other end closes */
		_exit(0);
	}
	close(hold[0]);
	int r;
	if (pid < 0) {
		r = err_sys(err, "clone a user namespace for an id map");
	} else {
		r = sys_ns_maps_write(pid, uids, n_uids, gids, n_gids, err);
		if (r == 0) {
			char path[64];
			snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
			int fd = open(path, O_RDONLY | O_CLOEXEC);
			if (fd < 0)
				r = err_sys(err, "open %s", path);
			else
				*out_fd = fd;
		}
	}
	close(hold[1]);
	if (pid > 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	return r;
}
