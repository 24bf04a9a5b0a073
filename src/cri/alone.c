/* One question about a sandbox at a time, also over the death of an engine (CNI specification 1.1.0, section 2: "the runtime must
 * not invoke parallel operations for the same container"). An engine ends the plugins that it started when it stops; one that is
 * killed cannot. What its ADD makes after the next engine's DEL nobody would ever give back. Decision 0859.
 *
 *     sandboxes/ID ── flock(2) ── our descriptor ── the plugin's descriptor 3, and its children's
 *
 * The lock belongs to the open file. A question that has come to its end lets go of it for everybody, so a plugin may leave a
 * process behind. An engine that was killed lets go of nothing: whoever has that file open then is in the middle of its question,
 * and is ended here. /proc/PID/fdinfo/3 and the name that /proc/PID/fd/3 leads to say who that is; nothing is looked at that might
 * hang with a file system. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "cri/cni.h"
#include "sys/sys.h"

enum { ALONE_MS = 10000, FDINFO_BYTES = 2048 };

/* "lock:\t1: FLOCK  ADVISORY  WRITE 4711 08:01:1234567 0 EOF": the inode is the number behind the last colon. The device is not
 * compared: with some file systems it is another one than stat(2) says. So a file elsewhere may have that number: see is_named. */
static bool is_lock(struct span line, uint64_t inode)
{
	struct span rest = line, word, number;
	uint64_t n;
	bool flock = false;
	if (!span_starts(line, SPAN("lock:")))
		return false;
	while (span_cut(&rest, ' ', &word)) {
		ptrdiff_t colon = span_rchr(word, ':');
		flock |= span_is(word, "FLOCK");
		number = colon < 0 ? SPAN_EMPTY : span_from(word, (size_t)colon + 1);
		if (flock && number.len && span_to_u64(number, &n) && n == inode)
			return true;
	}
	return false;
}

/* Does its descriptor lead to a file of that name? A sandbox' folder is called by 64 drawn digits. */
static bool is_named(int proc, const char *pid, struct span name)
{
	char path[64], to[PATH_MAX];
	(void)snprintf(path, sizeof(path), "%s/fd/%d", pid, CRI_PLUGIN_LOCK_FD);
	ssize_t n = readlinkat(proc, path, to, sizeof(to));
	struct span where = span_make(to, n > 0 ? (size_t)n : 0);
	return span_eq(span_from(where, (size_t)(span_rchr(where, '/') + 1)), name);
}

static bool holds(int proc, const char *pid, struct span name, uint64_t inode)
{
	char path[64], text[FDINFO_BYTES];
	(void)snprintf(path, sizeof(path), "%s/fdinfo/%d", pid, CRI_PLUGIN_LOCK_FD);
	auto_fd int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	struct span rest = span_make(text, n > 0 ? (size_t)n : 0), line;
	while (span_cut(&rest, '\n', &line))
		if (is_lock(line, inode))
			return is_named(proc, pid, name);
	return false;
}

static void holders_kill(const char *id, struct span name, uint64_t inode)
{
	DIR *all = opendir("/proc");
	struct dirent *d;
	while (all && (d = readdir(all))) {
		uint64_t pid;
		if (!span_to_u64(span_of(d->d_name), &pid) || (pid_t)pid == getpid() || !holds(dirfd(all), d->d_name, name, inode))
			continue;
		auto_fd int pidfd = sys_pidfd_open((pid_t)pid, 0);
		if (pidfd < 0 || !holds(dirfd(all), d->d_name, name, inode)) /* the number may be another's by now */
			continue;
		if (sys_pidfd_send_signal(pidfd, SIGKILL) == 0)
			log_warn("a network plugin of an engine before this one is ended", kv_str("sandbox", id), kv_i64("pid", (int64_t)pid));
	}
	if (all)
		closedir(all);
}

int cri_alone_begin(const char *folder, const char *id, int ending, struct err *err)
{
	struct stat st;
	struct span where = span_of(folder), name = span_from(where, (size_t)(span_rchr(where, '/') + 1));
	auto_fd int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "open %s", folder);
	const int64_t end = clock_mono_ms(clock_real()) + ALONE_MS;
	for (int wait_ms = 5; flock(fd, LOCK_EX | LOCK_NB) < 0; wait_ms = MIN(wait_ms * 2, 500)) {
		if (errno != EWOULDBLOCK)
			return err_sys(err, "lock %s", folder);
		holders_kill(id, name, st.st_ino);
		struct pollfd p = { ending, POLLIN, 0 };
		if (poll(&p, 1, wait_ms) == 1)
			return err_set(err, ERR_CANCELLED, "the engine is stopping");
		if (clock_mono_ms(clock_real()) >= end)
			return err_set(err, ERR_IN_USE, "a plugin that an engine before this one started does not end");
	}
	return take_fd(&fd);
}

void cri_alone_end(int *fd)
{
	if (*fd >= 0)
		(void)flock(*fd, LOCK_UN); /* for all who have it open; cannot fail */
	fd_close(fd);
}
