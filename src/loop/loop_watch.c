/* Children by pidfd, and file watches that share one inotify descriptor per loop (the kernel allows a user 128
 * instances, so one per watch would run out).
 *
 * The kernel gives one watch descriptor per inode and instance: several of ours on one path share it. Masks are or-ed
 * (IN_MASK_ADD), and each watch gets what its own mask asks for. While events are handed out, a watch may close itself
 * or any other: the list of those still to be told is kept in the loop (inotify_moved), so a closed one is simply
 * gone from it. */
#include "loop/loop_impl.h"

#include <errno.h>
#include <limits.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- children ---- */

static void child_ended(struct loop_fd *f, unsigned events)
{
	(void)events;
	struct loop_child *c = container_of(f, struct loop_child, fd);
	siginfo_t info = {};
	struct rusage used = {};
	int status = -1;
	/* The raw call, because it alone gives the resource usage. */
	long rc;
	do {
		rc = syscall(SYS_waitid, P_PIDFD, c->pidfd, &info, WEXITED | WNOHANG, &used);
	} while (rc < 0 && errno == EINTR);
	if (rc == 0 && info.si_pid == 0)
		return; /* not over yet */
	if (rc == 0)
		status = info.si_code == CLD_EXITED ? info.si_status << 8 :
			info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
	loop_fd_close(&c->fd, NULL);
	fd_close(&c->pidfd);
	c->fn(c, status, &used);
}

int loop_child_open(struct loop_child *c, struct loop *l, const char *name, pid_t pid, int pidfd,
	void (*fn)(struct loop_child *c, int status, const struct rusage *used), struct err *err)
{
	*c = (struct loop_child){ .fn = fn, .pidfd = pidfd, .pid = pid };
	if (c->pidfd < 0)
		c->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (c->pidfd < 0)
		return err_sys(err, "waiting for process %d (%s)", (int)pid, name);
	int rc = loop_fd_open(&c->fd, l, name, c->pidfd, child_ended, err);
	if (rc < 0) {
		fd_close(&c->pidfd);
		return rc;
	}
	loop_fd_want(&c->fd, LOOP_READ);
	return 0;
}

static void child_closed(struct loop_fd *f)
{
	struct loop_child *c = container_of(f, struct loop_child, fd);
	if (c->closed)
		c->closed(c);
}

void loop_child_close(struct loop_child *c, void (*closed)(struct loop_child *c))
{
	c->closed = closed;
	loop_fd_close(&c->fd, child_closed);
	fd_close(&c->pidfd);
}

/* ---- file watches ---- */

static void watch_tell(struct loop *l, const struct inotify_event *e)
{
	const char *file = e->len ? e->name : "";
	list_append(&l->inotify_moved, &l->watches);
	struct loop_watch *w;
	while ((w = LIST_POP(&l->inotify_moved, struct loop_watch, link))) {
		list_push(&l->watches, &w->link);
		bool all = e->mask & IN_Q_OVERFLOW;
		if (!all && w->wd != e->wd)
			continue;
		uint32_t about = e->mask & (w->mask | IN_IGNORED | IN_UNMOUNT | IN_Q_OVERFLOW);
		if (!about)
			continue;
		if (e->mask & IN_IGNORED)
			w->wd = -1; /* the kernel removed it, and may give the number to another */
		loop_touch(l);
		w->fn(w, about | (e->mask & IN_ISDIR), e->cookie, file);
	}
}

static void watch_ready(struct loop_fd *f, unsigned events)
{
	(void)events;
	struct loop *l = f->loop;
	union {
		struct inotify_event event; /* for its alignment */
		char bytes[8192];
	} in;
	_Static_assert(sizeof(in) > sizeof(struct inotify_event) + NAME_MAX + 1, "room for one event");
	ssize_t n = read(l->inotify_fd, in.bytes, sizeof(in.bytes));
	for (ssize_t at = 0; n > 0 && at < n && l->inotify_fd >= 0;) {
		const struct inotify_event *e = (const void *)(in.bytes + at);
		at += (ssize_t)(sizeof(*e) + e->len);
		watch_tell(l, e);
	}
}

static int inotify_begin(struct loop *l, struct err *err)
{
	auto_fd int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "inotify");
	int rc = loop_fd_open(&l->inotify, l, "file watches", fd, watch_ready, err);
	if (rc < 0)
		return rc;
	loop_fd_background(&l->inotify, true);
	loop_fd_want(&l->inotify, LOOP_READ);
	l->inotify_fd = take_fd(&fd);
	return 0;
}

int loop_watch_open(struct loop_watch *w, struct loop *l, const char *name, const char *path, uint32_t mask,
	void (*fn)(struct loop_watch *w, uint32_t mask, uint32_t cookie, const char *file), struct err *err)
{
	*w = (struct loop_watch){ .loop = l, .name = name, .fn = fn, .mask = mask, .wd = -1 };
	list_init(&w->link);
	if (l->inotify_fd < 0) {
		int rc = inotify_begin(l, err);
		if (rc < 0)
			return rc;
	}
	w->wd = inotify_add_watch(l->inotify_fd, path, mask | IN_MASK_ADD);
	if (w->wd < 0)
		return err_sys(err, "watching %s (%s)", path, name);
	w->mask &= IN_ALL_EVENTS;
	list_push(&l->watches, &w->link);
	loop_keep(l, false, 1);
	return 0;
}

static void watch_closed(struct loop_task *t)
{
	struct loop_watch *w = container_of(t, struct loop_watch, close_task);
	if (w->closed)
		w->closed(w);
}

static bool wd_used(const struct list *head, int wd)
{
	for (const struct list *e = head->next; e != head; e = e->next)
		if (LIST_ENTRY(e, struct loop_watch, link)->wd == wd)
			return true;
	return false;
}

void loop_watch_close(struct loop_watch *w, void (*closed)(struct loop_watch *w))
{
	struct loop *l = w->loop;
	w->closed = closed;
	list_remove(&w->link);
	loop_keep(l, false, -1);
	if (w->wd >= 0 && !wd_used(&l->watches, w->wd) && !wd_used(&l->inotify_moved, w->wd))
		(void)inotify_rm_watch(l->inotify_fd, w->wd); /* fails only when the file went first */
	w->wd = -1;
	if (closed) {
		loop_task_init(&w->close_task, watch_closed);
		loop_at_close(l, &w->close_task);
	}
}

void loop_watches_done(struct loop *l)
{
	if (l->inotify_fd < 0 || !list_empty(&l->watches))
		return;
	loop_fd_close(&l->inotify, NULL);
	fd_close(&l->inotify_fd);
}

void loop_watches_dump(const struct loop *l, struct buf *out)
{
	for (const struct list *e = l->watches.next; e != &l->watches; e = e->next) {
		const struct loop_watch *w = LIST_ENTRY(e, struct loop_watch, link);
		buf_printf(out, "watch %d %s\n", w->wd, w->name);
	}
}
