/* Files that others replace: see loop.h.
 *
 *     files ──▶ folder "/pki"     (one loop_watch) ──▶ names "ca.crt", "apiserver.crt"
 *           └─▶ folder "/etc/x"   (gone: tried again after LOST_MS, doubled)
 *           └─▶ quiet: runs QUIET_MS after the first event, then changed()
 *
 * A watch that is closed without a callback is used by nobody any more (loop_watch.c), so its folder is freed at once. */
#include "loop/loop_impl.h"

#include <sys/inotify.h>

/* A certificate and its key are two files, and the first event may come before the second write. Not moved by later events: a
 * folder in which something happens all the time is looked at all the same. */
#define QUIET_MS 300
#define LOST_MS 10000
#define LOST_MAX_MS 640000 /* LOST_MS doubled; who may not look wakes nobody for it */

struct name {
	struct list link;
	char *text; /* owned */
};

struct folder {
	struct loop_watch watch;
	struct loop_files *files;
	struct list link;
	struct list names; /* name.link */
	char *path;        /* owned */
	bool watched;
};

struct loop_files {
	struct loop *loop;
	const char *name;
	void (*changed)(void *arg);
	void *arg;
	struct loop_timer quiet, lost;
	int64_t lost_ms; /* what the next try waits */
	struct list folders; /* folder.link */
};

static void on_quiet(struct loop_timer *t)
{
	struct loop_files *f = container_of(t, struct loop_files, quiet);
	f->changed(f->arg);
}

static void soon(struct loop_files *f)
{
	if (!loop_timer_running(&f->quiet))
		loop_timer_start(&f->quiet, QUIET_MS);
}

/* A name that begins with two dots is the link by whose swap a mounted Secret changes, with all the files that lead through it. */
static bool concerns(const struct folder *d, uint32_t mask, struct span file)
{
	if (mask & IN_Q_OVERFLOW || span_starts(file, SPAN("..")))
		return true;
	LIST_EACH(&d->names, n, struct name, link)
		if (span_is(file, n->text))
			return true;
	return false;
}

static void folder_unwatch(struct folder *d)
{
	struct loop *l = d->files->loop;
	if (!d->watched)
		return;
	d->watched = false;
	loop_keep(l, false, 1);
	loop_keep(l, true, -1);
	loop_watch_close(&d->watch, NULL);
}

static void on_event(struct loop_watch *w, uint32_t mask, uint32_t cookie, const char *file)
{
	struct folder *d = container_of(w, struct folder, watch);
	if (mask & (IN_IGNORED | IN_UNMOUNT | IN_DELETE_SELF | IN_MOVE_SELF)) {
		folder_unwatch(d); /* another may come to stand in its place */
		d->files->lost_ms = LOST_MS;
		loop_timer_start(&d->files->lost, LOST_MS);
	} else if (concerns(d, mask, span_of(file))) {
		soon(d->files);
	}
}

static int folder_watch(struct folder *d, struct err *err)
{
	struct loop *l = d->files->loop;
	int rc = loop_watch_open(&d->watch, l, d->files->name, d->path,
				 IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR, on_event, err);
	d->watched = rc == 0;
	if (rc < 0)
		return rc;
	loop_keep(l, false, -1); /* nobody runs on only to see files change */
	loop_keep(l, true, 1);
	return 0;
}

static void on_lost(struct loop_timer *t)
{
	struct loop_files *f = container_of(t, struct loop_files, lost);
	f->lost_ms = MIN(f->lost_ms * 2, LOST_MAX_MS);
	LIST_EACH(&f->folders, d, struct folder, link) {
		if (d->watched)
			continue;
		if (folder_watch(d, NULL) == 0)
			soon(f); /* nobody told what happened meanwhile */
		else
			loop_timer_start(&f->lost, f->lost_ms);
	}
}

struct loop_files *loop_files_new(struct loop *l, const char *name, void (*changed)(void *arg), void *arg)
{
	struct loop_files *f = mem_new(struct loop_files);
	*f = (struct loop_files){ .loop = l, .name = name, .changed = changed, .arg = arg, .lost_ms = LOST_MS };
	list_init(&f->folders);
	loop_timer_init(&f->quiet, l, name, on_quiet);
	loop_timer_init(&f->lost, l, name, on_lost);
	f->quiet.background = f->lost.background = true;
	return f;
}

int loop_files_add(struct loop_files *f, struct span path, struct err *err)
{
	ptrdiff_t slash = span_rchr(path, '/');
	struct span dir = slash < 0 ? SPAN(".") : slash == 0 ? SPAN("/") : span_sub(path, 0, (size_t)slash);
	struct span file = span_from(path, (size_t)(slash + 1));
	struct folder *at = NULL;
	int rc = 0;
	if (!file.len)
		return 0;
	LIST_EACH(&f->folders, d, struct folder, link)
		if (span_is(dir, d->path))
			at = d;
	if (!at) {
		at = mem_new(struct folder);
		at->files = f;
		at->path = mem_dup(dir.ptr, dir.len);
		list_init(&at->names);
		list_push(&f->folders, &at->link);
		rc = folder_watch(at, err);
		if (rc < 0)
			loop_timer_start(&f->lost, LOST_MS);
	}
	LIST_EACH(&at->names, n, struct name, link)
		if (span_is(file, n->text))
			return rc;
	struct name *n = mem_new(struct name);
	n->text = mem_dup(file.ptr, file.len);
	list_push(&at->names, &n->link);
	return rc;
}

static void folder_free(struct folder *d)
{
	for (struct name *n; (n = LIST_POP(&d->names, struct name, link));) {
		free(n->text);
		free(n);
	}
	free(d->path);
	free(d);
}

void loop_files_free(struct loop_files *f)
{
	if (!f)
		return;
	loop_timer_stop(&f->quiet);
	loop_timer_stop(&f->lost);
	for (struct folder *d; (d = LIST_POP(&f->folders, struct folder, link));) {
		folder_unwatch(d);
		folder_free(d);
	}
	free(f);
}
