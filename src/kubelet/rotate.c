/* One `watched` a running container:
 *
 *     watch (one write) ──▶ timer ──▶ too large? ──yes──▶ rename, ReopenContainerLog ──▶ watch again
 *                                        └──no──▶ watch again */
#include <fcntl.h>
#include <limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kubelet/rotate.h"

enum { MAX_FILES = 100, LOOK_MS = 10000 };

struct kl_rotation {
	struct kl_rotation_params p;
	struct list all;
};

struct watched {
	struct list link;
	struct kl_rotation *r;
	char *uid, *id, *path; /* owned */
	struct loop_watch watch;
	struct loop_timer timer;
	struct kubelet_cri_call *call;
	bool watching, closing, gone, again; /* again: watch when it is closed */
};

static void watch(struct watched *w);

static void on_closed(struct loop_watch *lw)
{
	struct watched *w = container_of(lw, struct watched, watch);
	w->watching = w->closing = false;
	if (w->gone) {
		free(w->uid);
		free(w->id);
		free(w->path);
		free(w);
	} else if (w->again) {
		w->again = false;
		watch(w);
	}
}

static void drop(struct watched *w)
{
	list_remove(&w->link);
	loop_timer_stop(&w->timer);
	if (w->call)
		kubelet_cri_cancel(w->call);
	w->call = NULL;
	w->gone = true;
	if (!w->watching)
		return on_closed(&w->watch);
	if (!w->closing)
		loop_watch_close(&w->watch, on_closed);
}

/* One is enough: until the timer nothing more of it wakes us. */
static void on_write(struct loop_watch *lw, uint32_t mask, uint32_t cookie, const char *file)
{
	struct watched *w = container_of(lw, struct watched, watch);
	w->closing = true;
	loop_watch_close(&w->watch, on_closed);
	loop_timer_start(&w->timer, w->r->p.look_ms);
}

static void watch(struct watched *w)
{
	struct stat st;
	w->watching = loop_watch_open(&w->watch, w->r->p.loop, "container log", w->path, IN_MODIFY, on_write, NULL) == 0;
	/* Not there yet, or no watches left: looked at by the clock, so that a disk is not filled. The same when it grew too large
	 * before the watch was there. */
	if (!w->watching || (stat(w->path, &st) == 0 && st.st_size > w->r->p.max_bytes))
		loop_timer_start(&w->timer, w->r->p.look_ms);
}

/* Anew, because the name may stand for another file now. */
static void rewatch(struct watched *w)
{
	if (!w->watching)
		return watch(w);
	w->again = true;
	if (!w->closing) {
		w->closing = true;
		loop_watch_close(&w->watch, on_closed);
	}
}

static void name_of(char out[static PATH_MAX], const char *path, int64_t n)
{
	if (n)
		(void)snprintf(out, PATH_MAX, "%s.%lld", path, (long long)n);
	else
		(void)snprintf(out, PATH_MAX, "%s", path);
}

static void on_reopened(const struct err *why, const void *reply, void *arg)
{
	struct watched *w = arg;
	char first[PATH_MAX];
	w->call = NULL;
	if (why) {
		/* The runtime still writes to the old file: it gets its name back, unless a new one is there. */
		log_warn("container log not reopened", kv_str("log", w->path), kv_err(why));
		name_of(first, w->path, 1);
		if (renameat2(AT_FDCWD, first, AT_FDCWD, w->path, RENAME_NOREPLACE) < 0 && errno != EEXIST)
			log_warn("container log lost its name", kv_str("log", first));
	}
	rewatch(w);
}

static void reopen(struct watched *w)
{
	const struct api_cri_reopen_container_log_request r = { .container_id = span_of(w->id) };
	w->call = kubelet_cri_reopen_container_log(w->r->p.cri, &r, on_reopened, w);
}

static void rotate(struct watched *w)
{
	char from[PATH_MAX], to[PATH_MAX];
	int64_t n = w->r->p.max_files - 1;
	name_of(to, w->path, n);
	(void)unlink(to);
	for (; n > 0; n--) {
		name_of(from, w->path, n - 1);
		name_of(to, w->path, n);
		if (rename(from, to) < 0 && errno != ENOENT) {
			log_warn("container log not rotated", kv_str("log", from), kv_i64("errno", errno));
			return rewatch(w);
		}
	}
	FAILPOINT("kubelet.log.renamed");
	reopen(w);
}

/* A kubelet died between the renaming and the reopening: the runtime writes to a file that nobody reads, and that nobody would ever
 * rotate. */
static bool half_rotated(const struct watched *w)
{
	char first[PATH_MAX];
	name_of(first, w->path, 1);
	return access(w->path, F_OK) < 0 && errno == ENOENT && access(first, F_OK) == 0;
}

static void on_timer(struct loop_timer *t)
{
	struct watched *w = container_of(t, struct watched, timer);
	struct stat st;
	if (w->call)
		return;
	if (stat(w->path, &st) == 0 && st.st_size > w->r->p.max_bytes)
		rotate(w);
	else if (half_rotated(w))
		reopen(w);
	else
		rewatch(w);
}

struct kl_rotation *kl_rotation_new(const struct kl_rotation_params *p)
{
	struct kl_rotation *r = mem_new(struct kl_rotation);
	r->p = *p;
	if (r->p.max_bytes <= 0)
		r->p.max_bytes = 10 << 20;
	r->p.max_files = r->p.max_files <= 0 ? 5 : MIN(MAX(r->p.max_files, INT64_C(2)), (int64_t)MAX_FILES);
	if (r->p.look_ms <= 0)
		r->p.look_ms = LOOK_MS;
	list_init(&r->all);
	return r;
}

void kl_rotation_free(struct kl_rotation *r)
{
	if (!r)
		return;
	LIST_EACH(&r->all, w, struct watched, link)
		drop(w);
	free(r);
}

static const struct kl_container *running(const struct kl_pod *p, const char *id)
{
	const struct kl_container *c = kl_pod_container_id(p, span_of(id));
	return c && c->state == KL_RUNNING ? c : NULL;
}

void kl_rotation_look(struct kl_rotation *r, const struct kl_pod *p)
{
	LIST_EACH(&p->containers, c, const struct kl_container, link) {
		bool known = false;
		if (c->state != KL_RUNNING || !c->log_path.len || c->log_path.len > PATH_MAX - 32)
			continue;
		LIST_EACH(&r->all, w, struct watched, link)
			known |= span_is(c->id, w->id);
		if (known)
			continue;
		struct watched *w = mem_new(struct watched);
		*w = (struct watched){ .r = r, .uid = mem_dup(p->uid.ptr, p->uid.len), .id = mem_dup(c->id.ptr, c->id.len),
				       .path = mem_dup(c->log_path.ptr, c->log_path.len) };
		loop_timer_init(&w->timer, r->p.loop, "container log", on_timer);
		w->timer.background = true;
		list_push(&r->all, &w->link);
		/* It may be too large already: a kubelet that was away. */
		struct stat st;
		if (stat(w->path, &st) == 0 && st.st_size > r->p.max_bytes)
			loop_timer_start(&w->timer, 0);
		else if (half_rotated(w))
			reopen(w);
		else
			watch(w);
	}
	LIST_EACH(&r->all, w, struct watched, link)
		if (span_is(p->uid, w->uid) && !running(p, w->id))
			drop(w);
}

void kl_rotation_forget(struct kl_rotation *r, const struct kl_pod *p)
{
	LIST_EACH(&r->all, w, struct watched, link)
		if (span_is(p->uid, w->uid))
			drop(w);
}

void kl_log_remove(struct span log_path)
{
	char name[PATH_MAX];
	auto_arena struct arena a = {};
	const char *path = arena_cstr(&a, log_path);
	if (!log_path.len || log_path.len > PATH_MAX - 32)
		return;
	for (int64_t n = 0; n < MAX_FILES; n++) {
		name_of(name, path, n);
		(void)unlink(name); /* a failed reopening leaves a gap in the numbers */
	}
}
