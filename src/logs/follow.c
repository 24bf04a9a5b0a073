/* Following on a loop.
 *
 *     inotify on the folder ──┐
 *     resume, end ────────────┴─> task ── reads up to BYTES_A_TURN ──> record()
 *
 * The watch is set before the first read, so that nothing falls between the two. Reading waits for the disk at most, and by far
 * the most of a log that is followed is in the page cache. */
#include <sys/inotify.h>

#include "logs/private.h"

enum { BYTES_A_TURN = 512 * 1024, RECORDS_A_TURN = 1024 };

static void finish(struct logs_follow *f, const struct err *err)
{
	f->finished = true;
	if (f->done)
		f->done(f, err);
}

static void wake(struct logs_follow *f)
{
	if (!f->paused && !f->finished && !f->closing)
		loop_defer(f->loop, &f->task);
}

static void on_task(struct loop_task *t)
{
	struct logs_follow *f = container_of(t, struct logs_follow, task);
	size_t budget = BYTES_A_TURN;
	for (int i = 0; i < RECORDS_A_TURN && !f->paused && !f->finished && !f->closing; i++) {
		struct logs_record rec;
		auto_err struct err err = ERR_INIT;
		int rc = logs_next_within(f->reader, &budget, &rec, &err);
		if (rc == 1) {
			f->record(f, &rec);
			continue;
		}
		if (rc < 0)
			finish(f, &err);
		else if (rc == 0 && (f->ending || logs_is_past(f->reader)))
			finish(f, NULL);
		if (rc != 2)
			return;
		break;
	}
	wake(f); /* there may be more: in a later turn, so that others get theirs */
}

static void on_watch(struct loop_watch *w, uint32_t mask, uint32_t cookie, const char *file)
{
	struct logs_follow *f = container_of(w, struct logs_follow, watch);
	if (mask & (IN_DELETE_SELF | IN_IGNORED | IN_UNMOUNT))
		f->ending = true; /* the folder goes: nobody writes here any more */
	wake(f);
}

int logs_follow_open(struct logs_follow *f, struct loop *l, const struct logs_params *p,
	void (*record)(struct logs_follow *f, const struct logs_record *r),
	void (*done)(struct logs_follow *f, const struct err *err), struct err *err)
{
	char path[40];
	*f = (struct logs_follow){ .loop = l, .record = record, .done = done };
	loop_task_init(&f->task, on_task);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", p->dir);
	int rc = logs_open(p, &f->reader, err);
	if (rc == 0)
		rc = loop_watch_open(&f->watch, l, "log", path,
			IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE_SELF, on_watch, err);
	if (rc < 0) {
		logs_close(take(&f->reader));
		return rc;
	}
	wake(f);
	return 0;
}

void logs_follow_pause(struct logs_follow *f)
{
	f->paused = true;
}

void logs_follow_resume(struct logs_follow *f)
{
	f->paused = false;
	wake(f);
}

void logs_follow_end(struct logs_follow *f)
{
	f->ending = true;
	wake(f);
}

static void on_closed(struct loop_watch *w)
{
	struct logs_follow *f = container_of(w, struct logs_follow, watch);
	if (f->closed)
		f->closed(f);
}

void logs_follow_close(struct logs_follow *f, void (*closed)(struct logs_follow *f))
{
	f->closing = true;
	f->closed = closed;
	loop_task_cancel(&f->task);
	logs_close(take(&f->reader));
	loop_watch_close(&f->watch, on_closed);
}
