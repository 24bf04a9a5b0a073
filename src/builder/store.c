/* What the builder keeps on disk: folders of cache mounts, and a folder for what lives as long as a step.
 *
 *     DIR/cache/HEX/id      the mount's id; its time is the last use
 *     DIR/cache/HEX/data/   what is mounted; moved here from work/ when it has its owner, mode and first contents
 *     DIR/work/             mounts, scripts; run-NAME: a container that a step made and will remove */
#include "builder/work.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls/tls.h"

#define KEY_LEN 32
#define WAIT_MS 200 /* a wish to end is looked for so often while a cache mount is locked */

struct cache_hold {
	struct list link;
	char key[KEY_LEN + 8];
	bool alone;
	bool kept;             /* for ever: a step that was killed has not ended */
	bool making;           /* its folder is not there yet: nobody else gets it before it is */
	char *data, *fresh;    /* owned: where it is, and where one that is being made is filled */
};

static void hold_free(struct cache_hold *h)
{
	free(h->data);
	free(h->fresh);
	free(h);
}

/* ---- stop ---- */

void builder_stop_init(struct builder_stop *s)
{
	*s = (struct builder_stop){};
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->changed, NULL);
}

void builder_stop_done(struct builder_stop *s)
{
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->mutex);
}

void builder_stop_raise(struct builder_stop *s)
{
	pthread_mutex_lock(&s->mutex);
	bool first = !s->raised;
	s->raised = true;
	pthread_cond_broadcast(&s->changed);
	if (first && s->heard)
		s->heard(s->heard_arg);
	pthread_mutex_unlock(&s->mutex);
}

void builder_stop_listen(struct builder_stop *s, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&s->mutex);
	s->heard = fn;
	s->heard_arg = arg;
	if (s->raised && fn)
		fn(arg);
	pthread_mutex_unlock(&s->mutex);
}

bool builder_stop_raised(struct builder_stop *s)
{
	pthread_mutex_lock(&s->mutex);
	bool raised = s->raised;
	pthread_mutex_unlock(&s->mutex);
	return raised;
}

int builder_stop_check(struct builder_stop *s, struct err *err)
{
	return s && builder_stop_raised(s) ? err_set(err, ERR_CANCELLED, "the build was cancelled") : 0;
}

static int stop_pull(struct tar_source *source, struct span *out_piece, struct err *err)
{
	struct stop_source *s = container_of(source, struct stop_source, source);
	int rc = builder_stop_check(s->stop, err);
	return rc < 0 ? rc : s->from->pull(s->from, out_piece, err);
}

void builder_stop_source(struct stop_source *s, struct tar_source *from, struct builder_stop *stop)
{
	*s = (struct stop_source){ { stop_pull }, from, stop };
}

/* ---- work/ ---- */

const char *builder_work_name(struct builder *b, struct arena *a, const char *prefix)
{
	pthread_mutex_lock(&b->mutex);
	uint64_t n = ++b->next;
	pthread_mutex_unlock(&b->mutex);
	return arena_printf(a, "%s-%llx-%llu", prefix, (unsigned long long)b->stamp, (unsigned long long)n).ptr;
}

struct leftover {
	struct container_call call;
	char path[4200];
};

static void leftover_gone(struct container_call *c, const struct err *err)
{
	struct leftover *l = container_of(c, struct leftover, call);
	if (!err || err->class == ERR_NOT_FOUND)
		(void)unlink(l->path); /* else the next open tries again */
	free(l);
}

struct leftover_name {
	struct leftover_name *next;
	const char *name;
};
struct snapshot_names {
	struct arena *a;
	struct leftover_name *list;
};

static void name_note(struct arena *a, struct leftover_name **list, const char *name)
{
	struct leftover_name *n = arena_new(a, struct leftover_name);
	*n = (struct leftover_name){ *list, arena_cstr(a, span_of(name)) };
	*list = n;
}

static void snapshot_collect(const char *key, const char *parent, void *arg)
{
	struct snapshot_names *s = arg;
	if (span_starts(span_of(key), SPAN("build-")))
		name_note(s->a, &s->list, key);
}

/* What a process that died left: mounts, files, containers of steps under way. */
static int work_sweep(struct builder *b, struct err *err)
{
	int fd = open(b->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return err_sys(err, "read folder %s", b->work);
	}
	struct dirent *e;
	int rc = 0;
	auto_arena struct arena names = {};
	struct leftover_name *list = NULL;
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			name_note(&names, &list, e->d_name);
	for (struct leftover_name *i = list; i && rc == 0; i = i->next) {
		auto_buf struct buf path = {};
		buf_printf(&path, "%s/%s", b->work, i->name);
		if (span_starts(span_of(i->name), SPAN("run-"))) {
			struct leftover *l = mem_new(struct leftover);
			l->call.done = leftover_gone;
			snprintf(l->path, sizeof(l->path), "%s", buf_cstr(&path));
			container_remove(b->o.containers, span_of(i->name + 4), CONTAINER_RM_FORCE | CONTAINER_RM_VOLUMES, &l->call);
			continue;
		}
		while (umount2(buf_cstr(&path), MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
			;
		rc = snapshot_tree_remove(dirfd(d), i->name, err);
	}
	closedir(d);
	struct snapshot_names s = { .a = &names };
	snapshot_each(b->o.snapshots, snapshot_collect, &s);
	for (struct leftover_name *i = s.list; i; i = i->next)
		(void)snapshot_remove(b->o.snapshots, i->name, NULL); /* the next open tries again */
	return rc;
}

int builder_open(const struct builder_opts *o, struct builder **out, struct err *err)
{
	struct builder *b = mem_new(struct builder);
	auto_buf struct buf path = {};
	b->o = *o;
	b->dir = mem_dup(o->dir, strlen(o->dir));
	buf_printf(&path, "%s/work", o->dir);
	b->work = buf_take(&path, NULL);
	rng_secret(&b->stamp, sizeof(b->stamp));
	b->stamp &= 0xffffffffffff;
	pthread_mutex_init(&b->mutex, NULL);
	pthread_cond_init(&b->changed, NULL);
	list_init(&b->mounts);
	list_init(&b->builds);
	buf_printf(&path, "%s/cache", o->dir);
	int rc = io_mkdirs(AT_FDCWD, b->work, 0700, err);
	rc = rc < 0 ? rc : io_mkdirs(AT_FDCWD, buf_cstr(&path), 0700, err);
	rc = rc < 0 ? rc : work_sweep(b, err);
	if (rc < 0) {
		builder_close(b);
		return rc;
	}
	*out = b;
	return 0;
}

void builder_close(struct builder *b)
{
	if (!b)
		return;
	assert(list_empty(&b->builds));
	LIST_EACH(&b->mounts, h, struct cache_hold, link) {
		assert(h->kept);
		list_remove(&h->link);
		hold_free(h);
	}
	map_done(&b->keys);
	arena_done(&b->keys_arena);
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->mutex);
	free(b->dir);
	free(b->work);
	free(b);
}

/* ---- containers of steps ---- */

int builder_run_note(struct builder *b, struct run *r, struct err *err)
{
	r->name = builder_work_name(b, r->a, "build");
	const char *path = arena_printf(r->a, "%s/run-%s", b->work, r->name).ptr;
	return io_write_file_lazy(AT_FDCWD, path, SPAN_EMPTY, 0600, err);
}

void builder_run_settle(struct builder *b, struct run *r, bool will_be_removed)
{
	/* One that stays is nobody's to remove any more; the note of one that goes is taken away behind it. */
	if (r->name && !will_be_removed)
		builder_run_forget(b, r);
}

void builder_run_forget(struct builder *b, struct run *r)
{
	auto_buf struct buf path = {};
	buf_printf(&path, "%s/run-%s", b->work, r->name);
	(void)unlink(buf_cstr(&path));
}

/* ---- cache mounts ---- */

static void key_of(struct span id, char out[KEY_LEN + 8])
{
	uint8_t sha[32];
	auto_buf struct buf hex = {};
	tls_sha256(id, sha);
	hex_add(&hex, sha, KEY_LEN / 2);
	snprintf(out, KEY_LEN + 8, "%s", buf_cstr(&hex));
}

/* One that keeps others out, if there is one. */
static const struct cache_hold *held(struct builder *b, const char *key)
{
	const struct cache_hold *any = NULL;
	LIST_EACH(&b->mounts, h, struct cache_hold, link)
		if (strcmp(h->key, key) == 0 && (!any || h->alone || h->making))
			any = h;
	return any;
}

static int hold_take(struct builder *b, struct cache_hold *h, enum builder_sharing sharing, struct builder_stop *stop,
	struct err *err)
{
	char first[KEY_LEN + 8];
	int rc = 0;
	memcpy(first, h->key, sizeof(first));
	h->alone = sharing != BUILDER_SHARED;
	pthread_mutex_lock(&b->mutex);
	for (unsigned n = 1;;) {
		const struct cache_hold *other = held(b, h->key);
		if (!other || !(other->alone || other->making || h->alone))
			break;
		if (sharing == BUILDER_PRIVATE) { /* another of its own */
			snprintf(h->key, sizeof(h->key), "%.32s-%u", first, n % 100000);
			n++;
			continue;
		}
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += WAIT_MS * 1000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		(void)pthread_cond_clockwait(&b->changed, &b->mutex, CLOCK_MONOTONIC, &until);
		if (builder_stop_raised(stop)) {
			rc = err_set(err, ERR_CANCELLED, "the build was cancelled");
			break;
		}
	}
	if (rc == 0)
		list_push(&b->mounts, &h->link);
	pthread_mutex_unlock(&b->mutex);
	return rc;
}

/* Is its folder there? Else one is begun in work/. */
static int hold_folder(struct builder *b, struct cache_hold *h, struct span id, struct err *err)
{
	auto_buf struct buf path = {};
	struct stat st;
	buf_printf(&path, "%s/cache/%s", b->dir, h->key);
	if (mkdir(buf_cstr(&path), 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make folder %s", buf_cstr(&path));
	size_t dir = path.len;
	buf_str(&path, "/id");
	int rc = io_write_file_lazy(AT_FDCWD, buf_cstr(&path), id, 0600, err);
	if (rc < 0)
		return rc;
	buf_trunc(&path, dir);
	buf_str(&path, "/data");
	h->data = buf_take(&path, NULL);
	if (lstat(h->data, &st) == 0)
		return 0;
	if (errno != ENOENT)
		return err_sys(err, "look at %s", h->data);
	auto_arena struct arena a = {};
	buf_printf(&path, "%s/%s", b->work, builder_work_name(b, &a, "cache"));
	h->fresh = buf_take(&path, NULL);
	return mkdir(h->fresh, 0755) < 0 ? err_sys(err, "make folder %s", h->fresh) : 0;
}

static void made(struct builder *b, struct cache_hold *h)
{
	pthread_mutex_lock(&b->mutex);
	h->making = false;
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->mutex);
}

int builder_cache_take(struct builder *b, struct span id, enum builder_sharing sharing, struct builder_stop *stop,
	struct cache_hold **out, const char **out_path, const char **out_fresh, struct err *err)
{
	struct cache_hold *h = mem_new(struct cache_hold);
	list_init(&h->link);
	key_of(id, h->key);
	h->making = true;
	int rc = hold_take(b, h, sharing, stop, err);
	if (rc < 0) {
		hold_free(h);
		return rc;
	}
	rc = hold_folder(b, h, id, err);
	if (rc < 0) {
		builder_cache_release(b, h);
		return rc;
	}
	if (!h->fresh)
		made(b, h);
	*out = h;
	*out_path = h->data;
	*out_fresh = h->fresh;
	return 0;
}

int builder_cache_made(struct builder *b, struct cache_hold *h, struct err *err)
{
	if (rename(h->fresh, h->data) < 0)
		return err_sys(err, "put folder %s in its place", h->data);
	free(h->fresh);
	h->fresh = NULL;
	made(b, h);
	return 0;
}

void builder_cache_release(struct builder *b, struct cache_hold *h)
{
	if (h->fresh) { /* it was not made whole: the next one begins anew */
		auto_fd int work = open(b->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (work >= 0)
			(void)snapshot_tree_remove(work, strrchr(h->fresh, '/') + 1, NULL); /* else it goes with the next open */
	}
	pthread_mutex_lock(&b->mutex);
	list_remove(&h->link);
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->mutex);
	hold_free(h);
}

void builder_cache_keep(struct builder *b, struct cache_hold *h)
{
	pthread_mutex_lock(&b->mutex);
	h->kept = true;
	pthread_mutex_unlock(&b->mutex);
}

int builder_cache_list(struct builder *b, struct arena *a, struct builder_cache **out, size_t *out_n, struct err *err)
{
	auto_buf struct buf path = {};
	size_t n = 0, cap = 16;
	struct builder_cache *list = arena_alloc_n(a, cap, sizeof(*list));
	buf_printf(&path, "%s/cache", b->dir);
	int fd = open(buf_cstr(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return err_sys(err, "read folder %s", buf_cstr(&path));
	}
	struct dirent *e;
	while ((e = readdir(d))) {
		struct stat st;
		if (*e->d_name == '.')
			continue;
		auto_fd int dir = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		auto_fd int data = dir < 0 ? -1 : openat(dir, "data", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		struct builder_cache c = { .id = arena_span(a, span_of(e->d_name)) };
		if (data < 0 || snapshot_tree_count(data, &c.entries, &c.bytes, NULL) < 0)
			continue; /* it vanished meanwhile */
		if (fstatat(dir, "id", &st, 0) == 0)
			c.used_ns = st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
		pthread_mutex_lock(&b->mutex);
		c.in_use = held(b, e->d_name);
		pthread_mutex_unlock(&b->mutex);
		if (n == cap) {
			struct builder_cache *more = arena_alloc_n(a, cap * 2, sizeof(*more));
			memcpy(more, list, n * sizeof(*more));
			list = more;
			cap *= 2;
		}
		list[n++] = c;
	}
	closedir(d);
	*out = list;
	*out_n = n;
	return 0;
}

int builder_cache_remove(struct builder *b, struct span id, struct err *err)
{
	auto_buf struct buf path = {};
	auto_free char *name = mem_dup(id.ptr, id.len);
	if (!id.len || span_chr(id, '/') >= 0 || *id.ptr == '.')
		return err_set(err, ERR_NOT_FOUND, "no such build cache: %.*s", SPAN_ARG(id));
	pthread_mutex_lock(&b->mutex);
	bool used = held(b, name);
	int rc = used ? err_set(err, ERR_IN_USE, "build cache %s is in use", name) : 0;
	/* Moved aside while nobody can take it; removed without the lock. */
	buf_printf(&path, "%s/cache", b->dir);
	auto_fd int dir = open(buf_cstr(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC), work = open(b->work,
		O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_buf struct buf aside = {};
	buf_printf(&aside, "gone-%s-%llu", name, (unsigned long long)++b->next);
	if (rc == 0 && renameat(dir, name, work, buf_cstr(&aside)) < 0 && errno != ENOENT)
		rc = err_sys(err, "remove build cache %s", name);
	pthread_mutex_unlock(&b->mutex);
	return rc < 0 ? rc : snapshot_tree_remove(work, buf_cstr(&aside), err);
}
