/* RUN/server.lock: whoever has it may change the cluster, a supervisor for its life and `reset` for its while. A supervisor's
 * number is in it; others leave it empty, so that nobody takes them for one and sends them a signal.
 *
 * It is root's alone to open: who can open a file can also lock it, and keep everybody else out. */
#include "cluster/private.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define STOP_MS 120000
#define TAKE_MS 500 /* `down` and `status` look at it for a moment, and a process that was killed holds it until it is gone */
#define TAKE_STEP_MS 10

/* The file that was locked may have been removed by the one who had it before (reset). */
static bool same_file(int fd, const char *path)
{
	struct stat ours, there;
	return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
}

int cluster_lock_take(const struct cluster_layout *l, int *out_fd, struct err *err)
{
	int64_t until = clock_mono_ms(clock_real()) + TAKE_MS;
	for (;;) {
		auto_fd int fd = open(l->lock.ptr, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		char pid[24];
		if (fd < 0 || fchmod(fd, 0600) < 0) /* it may be there from before it was closed to others */
			return err_sys(err, "%s", l->lock.ptr);
		bool have = flock(fd, LOCK_EX | LOCK_NB) == 0;
		if (have && same_file(fd, l->lock.ptr)) {
			if (ftruncate(fd, 0) < 0)
				return err_sys(err, "%s", l->lock.ptr);
			*out_fd = take_fd(&fd);
			return 0;
		}
		if (!have && clock_mono_ms(clock_real()) >= until) {
			ssize_t n = read(fd, pid, sizeof(pid) - 1);
			return n > 1 ? err_set(err, ERR_IN_USE, "this cluster runs already (process %.*s)", (int)n - 1, pid)
				     : err_set(err, ERR_IN_USE, "this cluster is being started or reset this moment");
		}
		if (!have)
			(void)poll(NULL, 0, TAKE_STEP_MS);
	}
}

/* The process that holds the lock, as a descriptor; -1: nobody does. */
static int supervisor_open(const struct cluster_layout *l, struct err *err)
{
	char text[24];
	int64_t pid;
	auto_fd int fd = open(l->lock.ptr, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == EACCES) {
		(void)err_set(err, ERR_FORBIDDEN, "%s: a cluster is root's: sudo knarr", l->lock.ptr);
		return -1;
	}
	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0) {
		(void)err_set(err, ERR_NOT_FOUND, "no cluster runs in %s", l->data.ptr);
		return -1;
	}
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	if (n == 0) {
		(void)err_set(err, ERR_IN_USE, "the cluster in %s is being started or reset this moment", l->data.ptr);
		return -1;
	}
	if (n <= 1 || !span_to_i64(span_make(text, (size_t)n - 1), &pid) || pid < 2) {
		(void)err_set(err, ERR_CORRUPT, "%s does not say which process it is", l->lock.ptr);
		return -1;
	}
	int process = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (process < 0)
		(void)err_sys(err, "process %lld", (long long)pid);
	/* The number is the holder's as long as the lock is held; it was before, and is still. */
	if (process >= 0 && flock(fd, LOCK_SH | LOCK_NB) == 0) {
		close(process);
		(void)err_set(err, ERR_NOT_FOUND, "no cluster runs in %s", l->data.ptr);
		return -1;
	}
	return process;
}

int cluster_stop(const struct cluster_layout *l, bool keep, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	auto_fd int process = supervisor_open(l, &why);
	if (process < 0)
		return err_move(err, &why);
	if (syscall(SYS_pidfd_send_signal, process, keep ? SIGTERM : SIGUSR1, NULL, 0) < 0 && errno != ESRCH)
		return err_sys(err, "stopping the supervisor");
	struct pollfd p = { .fd = process, .events = POLLIN };
	int n;
	do
		n = poll(&p, 1, STOP_MS);
	while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : err_set(err, ERR_TIMEOUT, "the supervisor does not stop ('knarr logs server' says what it does)");
}
