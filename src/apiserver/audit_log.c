/* The file and its thread. Rotation as upstream's library does it: the full file is renamed to NAME-TIME.EXT beside it, then old
 * ones beyond the number or the age wanted are removed. */
#include "apiserver/audit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUEUE_BYTES (32 << 20)
#define BATCH_BYTES (256 << 10)
#define COMPLAIN_S 10

struct entry {
	struct list link;
	struct bytes *line; /* owned */
};

struct audit_log {
	struct audit_log_params p;
	char *path;        /* owned; NULL: standard output */
	int fd;
	int64_t size;      /* of the file; the thread's */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* under the lock */
	struct list queue; /* struct entry.link */
	int64_t waiting_bytes;
	bool stop, reopen;
	int64_t complained_s;
	_Atomic uint64_t lines, lost, failed;
};

/* ---- files */

static int file_open(struct audit_log *l, struct err *err)
{
	struct stat st;
	int fd = open(l->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int rc = err_sys(err, "audit log %s", l->path);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	if (l->fd >= 0)
		close(l->fd);
	l->fd = fd;
	l->size = st.st_size;
	return 0;
}

/* "/var/log/audit.log" into folder, "audit" and ".log". */
static void name_split(const char *path, struct span *dir, struct span *stem, struct span *ext)
{
	struct span whole = span_of(path);
	ptrdiff_t slash = span_rchr(whole, '/');
	struct span name = slash < 0 ? whole : span_from(whole, (size_t)slash + 1);
	ptrdiff_t dot = span_rchr(name, '.');
	*dir = slash < 0 ? SPAN(".") : span_sub(whole, 0, slash ? (size_t)slash : 1);
	*stem = dot < 0 ? name : span_sub(name, 0, (size_t)dot);
	*ext = dot < 0 ? SPAN("") : span_from(name, (size_t)dot);
}

/* The time in "audit-2026-11-21T05-00-00.123.log", in Unix seconds; false when the name is no backup's. */
static bool backup_time(const char *name, struct span stem, struct span ext, int64_t *out_s)
{
	struct span n = span_of(name);
	char text[32];
	int32_t ns;
	if (n.len != stem.len + 1 + 23 + ext.len || !span_starts(n, stem) || !span_ends(n, ext) || n.ptr[stem.len] != '-')
		return false;
	memcpy(text, n.ptr + stem.len + 1, 23);
	memcpy(text + 23, "Z", 2);
	text[13] = text[16] = ':';
	return time_parse(text, 24, out_s, &ns) == 0;
}

static int name_cmp(const void *a, const void *b)
{
	return -strcmp(*(char *const *)a, *(char *const *)b); /* newest first: the time sorts as text */
}

static void old_remove(struct audit_log *l)
{
	struct span dir, stem, ext;
	name_split(l->path, &dir, &stem, &ext);
	auto_free char *folder = mem_dup(dir.ptr, dir.len);
	if (!l->p.max_backups && !l->p.max_age_s)
		return;
	DIR *d = opendir(folder);
	char **names = NULL;
	size_t n = 0, cap = 0;
	struct dirent *e;
	int64_t at_s, now_s = clock_wall_ns(l->p.clock) / NS_PER_S;
	while (d && (e = readdir(d))) {
		if (!backup_time(e->d_name, stem, ext, &at_s))
			continue;
		MEM_GROW(names, n, cap);
		names[n++] = mem_dup(e->d_name, strlen(e->d_name));
	}
	if (n)
		qsort(names, n, sizeof(*names), name_cmp);
	for (size_t i = 0; i < n; i++) {
		bool many = l->p.max_backups && i >= (size_t)l->p.max_backups;
		bool old = l->p.max_age_s && backup_time(names[i], stem, ext, &at_s) && at_s < now_s - l->p.max_age_s;
		if ((many || old) && unlinkat(dirfd(d), names[i], 0) < 0)
			log_warn("old audit log stays", kv_str("file", names[i]), kv_i64("errno", errno));
		free(names[i]);
	}
	free(names);
	if (d)
		closedir(d);
}

static void rotate(struct audit_log *l)
{
	struct span dir, stem, ext;
	auto_buf struct buf to = {};
	auto_err struct err err = ERR_INIT;
	char text[40];
	int64_t now = clock_wall_ns(l->p.clock);
	name_split(l->path, &dir, &stem, &ext);
	size_t len = time_format(text, now / NS_PER_S, (int32_t)(now % NS_PER_S), 6);
	text[13] = text[16] = '-';
	buf_printf(&to, "%.*s/%.*s-%.*s%.*s", SPAN_ARG(dir), SPAN_ARG(stem), (int)MIN(len, (size_t)23), text, SPAN_ARG(ext));
	if (rename(l->path, buf_cstr(&to)) < 0)
		err_sys(&err, "renaming %s", l->path);
	else
		(void)file_open(l, &err);
	if (err.class != ERR_NONE)
		log_error("audit log is not rotated", kv_err(&err));
	else
		old_remove(l);
}

/* ---- the thread */

static void text_write(struct audit_log *l, struct span text, unsigned lines)
{
	auto_err struct err err = ERR_INIT;
	if (l->fd < 0 && file_open(l, &err) < 0) {
		atomic_fetch_add(&l->failed, lines);
		return;
	}
	if (io_write_all(l->fd, text.ptr, text.len, &err) < 0) {
		atomic_fetch_add(&l->failed, lines);
		log_error("audit events are lost", kv_u64("events", lines), kv_err(&err));
		return;
	}
	l->size += (int64_t)text.len;
	atomic_fetch_add(&l->lines, lines);
}

static void lines_write(struct audit_log *l, struct list *entries)
{
	auto_buf struct buf text = {};
	unsigned lines = 0;
	struct entry *e;
	while ((e = LIST_POP(entries, struct entry, link))) {
		struct span line = bytes_span(e->line);
		int64_t after = l->size + (int64_t)(text.len + line.len);
		if (l->path && l->p.max_bytes && after > l->p.max_bytes && l->size + (int64_t)text.len > 0) {
			text_write(l, buf_span(&text), lines);
			buf_trunc(&text, 0);
			lines = 0;
			rotate(l);
		}
		buf_span_add(&text, line);
		lines++;
		if (text.len >= BATCH_BYTES) {
			text_write(l, buf_span(&text), lines);
			buf_trunc(&text, 0);
			lines = 0;
		}
		bytes_unref(e->line);
		free(e);
	}
	if (lines)
		text_write(l, buf_span(&text), lines);
}

static void *writer(void *arg)
{
	struct audit_log *l = arg;
	pthread_mutex_lock(&l->lock);
	for (;;) {
		while (list_empty(&l->queue) && !l->stop)
			pthread_cond_wait(&l->cond, &l->lock);
		struct list batch;
		list_init(&batch);
		list_append(&batch, &l->queue);
		int64_t taken = l->waiting_bytes;
		bool reopen = l->reopen, stop = l->stop;
		l->reopen = false;
		pthread_mutex_unlock(&l->lock);
		auto_err struct err err = ERR_INIT;
		if (reopen && l->path && file_open(l, &err) < 0)
			log_error("audit log", kv_err(&err));
		bool last = stop && list_empty(&batch);
		lines_write(l, &batch);
		pthread_mutex_lock(&l->lock);
		/* Room only now: what is being written is memory too. */
		l->waiting_bytes -= taken;
		if (last && list_empty(&l->queue))
			break;
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* ---- */

int audit_log_open(const struct audit_log_params *p, struct audit_log **out_log, struct err *err)
{
	struct audit_log *l = mem_new(struct audit_log);
	bool file = !span_is(p->path, "-");
	l->p = *p;
	l->p.queue_bytes = p->queue_bytes ? p->queue_bytes : QUEUE_BYTES;
	l->p.clock = p->clock ? p->clock : clock_real();
	l->fd = -1;
	l->path = file ? mem_dup(p->path.ptr, p->path.len) : NULL;
	list_init(&l->queue);
	int failed = pthread_mutex_init(&l->lock, NULL) || pthread_cond_init(&l->cond, NULL);
	assert(!failed);
	int rc = 0;
	if (file)
		rc = file_open(l, err);
	else if ((l->fd = fcntl(1, F_DUPFD_CLOEXEC, 3)) < 0)
		rc = err_sys(err, "audit log: standard output");
	int e = rc == 0 ? pthread_create(&l->thread, NULL, writer, l) : 0;
	if (e)
		rc = err_sys_num(err, e, "audit log: starting a thread");
	if (rc < 0) {
		if (l->fd >= 0)
			close(l->fd);
		free(l->path);
		free(l);
		return rc;
	}
	*out_log = l;
	return 0;
}

bool audit_log_put(struct audit_log *l, struct bytes *line)
{
	struct entry *e = mem_alloc(sizeof(*e));
	int64_t len = (int64_t)bytes_span(line).len;
	e->line = line;
	list_init(&e->link);
	pthread_mutex_lock(&l->lock);
	/* One line is always taken, however long. */
	bool room = !l->waiting_bytes || l->waiting_bytes + len <= l->p.queue_bytes;
	int64_t now_s = clock_mono_ms(l->p.clock) / 1000;
	bool complain = !room && (!l->complained_s || now_s >= l->complained_s + COMPLAIN_S);
	if (complain)
		l->complained_s = MAX(now_s, (int64_t)1);
	if (room) {
		if (list_empty(&l->queue))
			pthread_cond_signal(&l->cond);
		list_push(&l->queue, &e->link);
		l->waiting_bytes += len;
	}
	pthread_mutex_unlock(&l->lock);
	if (room)
		return true;
	uint64_t lost = atomic_fetch_add(&l->lost, 1) + 1;
	if (complain)
		log_error("audit events are lost: the log takes them too slowly", kv_u64("lost", lost));
	bytes_unref(line);
	free(e);
	return false;
}

void audit_log_reopen(struct audit_log *l)
{
	pthread_mutex_lock(&l->lock);
	l->reopen = true; /* before the next line: an idle log needs no new file */
	pthread_mutex_unlock(&l->lock);
}

struct audit_log_stats audit_log_stats(struct audit_log *l)
{
	return (struct audit_log_stats){ .lines = atomic_load(&l->lines),
					 .lost = atomic_load(&l->lost),
					 .failed = atomic_load(&l->failed) };
}

void audit_log_close(struct audit_log *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->thread, NULL);
	if (l->fd >= 0)
		close(l->fd);
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->cond);
	free(l->path);
	free(l);
}
