/* Files that others replace: see loop.h.
 *
 *     files ──▶ paths "/etc/x/tls.crt"
 *           └─▶ folder "/etc"       (one loop_watch) ──▶ names "x", a link to /srv/a
 *           └─▶ folder "/srv/a"     ──▶ names "tls.crt", "tls.key"
 *           └─▶ folder "/pki"       (gone: tried again after LOST_MS, doubled)
 *           └─▶ quiet: runs QUIET_MS after the first event: the paths are walked again, then changed()
 *
 * Each path is walked link by link: every link on its way is a name in its folder: who points it elsewhere replaces the file.
 *
 * A watch that is closed without a callback is used by nobody any more (loop_watch.c), so its folder is freed at once. */
#include "loop/loop_impl.h"

#include <limits.h>
#include <sys/inotify.h>
#include <unistd.h>

/* A certificate and its key are two files, and the first event may come before the second write. Not moved by later events: a
 * folder in which something happens all the time is looked at all the same. */
#define QUIET_MS 300
#define LOST_MS 10000
#define LINKS_MAX 40 /* the kernel's bound */
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
	char *path;        /* owned; no link in it */
	bool watched, wanted;
	bool missed; /* it could not be watched, and that was said */
};

struct loop_files {
	struct loop *loop;
	const char *name;
	void (*changed)(void *arg);
	void *arg;
	struct loop_timer quiet, lost;
	int64_t lost_ms; /* what the next try waits */
	struct list paths;   /* name.link: what was added */
	struct list folders; /* folder.link: where they lead now */
};

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

/* ---- where the paths lead */

static void names_free(struct list *names)
{
	for (struct name *n; (n = LIST_POP(names, struct name, link));) {
		free(n->text);
		free(n);
	}
}

static void name_add(struct list *names, struct span text)
{
	LIST_EACH(names, n, struct name, link)
		if (span_is(text, n->text))
			return;
	struct name *n = mem_new(struct name);
	n->text = mem_dup(text.ptr, text.len);
	list_push(names, &n->link);
}

static void folder_free(struct folder *d)
{
	names_free(&d->names);
	free(d->path);
	free(d);
}

static void want(struct loop_files *f, struct span dir, struct span name)
{
	struct folder *at = NULL;
	LIST_EACH(&f->folders, d, struct folder, link)
		if (span_is(dir, d->path))
			at = d;
	if (!at) {
		at = mem_new(struct folder);
		at->files = f;
		at->path = mem_dup(dir.ptr, dir.len);
		list_init(&at->names);
		list_push(&f->folders, &at->link);
	}
	at->wanted = true;
	name_add(&at->names, name);
}

/* What cannot be read is no link: whether its folder is there is found when that is to be watched. */
static void walk(struct loop_files *f, struct span path)
{
	char target[PATH_MAX];
	auto_buf struct buf at = {}, rest = {};
	unsigned links = 0;
	buf_str(&at, span_starts(path, SPAN("/")) ? "/" : ".");
	buf_span_add(&rest, path);
	for (;;) {
		struct span name, more = buf_span(&rest);
		(void)span_cut(&more, '/', &name); /* there is always a name, if an empty one */
		bool last = !more.len;
		size_t was = at.len;
		if (!name.len || span_is(name, ".")) {
			if (last)
				return;
			buf_shift(&rest, rest.len - more.len);
			continue;
		}
		if (!span_ends(buf_span(&at), SPAN("/")))
			buf_str(&at, "/");
		buf_span_add(&at, name);
		ssize_t n = readlink(buf_cstr(&at), target, sizeof(target));
		if (n > 0 || last)
			want(f, span_make(at.ptr, was), name);
		if (n <= 0 && last)
			return;
		if (n > 0 && ++links > LINKS_MAX)
			return; /* in a circle: it leads nowhere until one of these changes */
		auto_buf struct buf next = {};
		if (n > 0) {
			buf_trunc(&at, was);
			if (target[0] == '/') {
				buf_trunc(&at, 0);
				buf_str(&at, "/");
			}
			buf_add(&next, target, (size_t)n);
			if (!last)
				buf_str(&next, "/");
		}
		buf_span_add(&next, more);
		struct buf walked = rest;
		rest = next;
		next = walked;
	}
}

/* Folders and names as the paths lead now. True: one is watched that was not, and nobody told what happened there before. err: of
 * the first that cannot be watched and was not said to be so, all of which are tried again. */
static bool lead(struct loop_files *f, struct err *err)
{
	bool news = false, lost = false;
	LIST_EACH(&f->folders, d, struct folder, link) {
		names_free(&d->names);
		d->wanted = false;
	}
	LIST_EACH(&f->paths, p, struct name, link)
		walk(f, span_of(p->text));
	LIST_EACH(&f->folders, d, struct folder, link) {
		auto_err struct err why = ERR_INIT;
		if (!d->wanted) {
			folder_unwatch(d);
			list_remove(&d->link);
			folder_free(d);
		} else if (!d->watched && folder_watch(d, &why) == 0) {
			d->missed = false;
			news = true;
		} else if (!d->watched) {
			if (!d->missed && err && !err->class)
				err_move(err, &why);
			d->missed = lost = true;
		}
	}
	if (!lost) {
		loop_timer_stop(&f->lost);
		f->lost_ms = LOST_MS;
	} else if (!loop_timer_running(&f->lost)) {
		loop_timer_start(&f->lost, f->lost_ms);
	}
	return news;
}

static void on_quiet(struct loop_timer *t)
{
	struct loop_files *f = container_of(t, struct loop_files, quiet);
	(void)lead(f, NULL); /* before it is read: what changes from now on is told again */
	f->changed(f->arg);
}

static void on_lost(struct loop_timer *t)
{
	struct loop_files *f = container_of(t, struct loop_files, lost);
	f->lost_ms = MIN(f->lost_ms * 2, LOST_MAX_MS);
	if (lead(f, NULL))
		soon(f);
}

struct loop_files *loop_files_new(struct loop *l, const char *name, void (*changed)(void *arg), void *arg)
{
	struct loop_files *f = mem_new(struct loop_files);
	*f = (struct loop_files){ .loop = l, .name = name, .changed = changed, .arg = arg, .lost_ms = LOST_MS };
	list_init(&f->paths);
	list_init(&f->folders);
	loop_timer_init(&f->quiet, l, name, on_quiet);
	loop_timer_init(&f->lost, l, name, on_lost);
	f->quiet.background = f->lost.background = true;
	return f;
}

int loop_files_add(struct loop_files *f, struct span path, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	if (!path.len || span_ends(path, SPAN("/")))
		return 0;
	name_add(&f->paths, path);
	(void)lead(f, &why); /* whoever adds reads it yet */
	return why.class ? err_move(err, &why) : 0;
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
	names_free(&f->paths);
	free(f);
}
