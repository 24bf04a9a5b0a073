/* /containerLogs: the CRI log of a container, and /logs/: files of the node.
 *
 * A log is always read by a follower, so that a reader of 50 MB never holds the loop up; without follow it is told to end at
 * once, and gives what is there. While somebody follows, the container is looked at once a second: when it runs no more, the
 * follower ends too. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kubelet/server_impl.h"
#include "logs/logs.h"
#include "sys/sys.h"

enum { QUEUE_BYTES = 256 << 10, LOOK_MS = 1000 };

struct log_stream {
	struct logs_follow follow;
	struct kl_request *q;    /* NULL once the request is over */
	struct loop_timer look;
	char *uid, *id;          /* owned: whose end ends the stream */
	struct kl_server *s;
	int64_t left;            /* bytes that may still be given; -1 = all */
	bool timestamps, line_begun[3], open;
};

static void on_closed(struct logs_follow *f)
{
	struct log_stream *l = container_of(f, struct log_stream, follow);
	free(l->uid);
	free(l->id);
	free(l);
}

static void stream_end(struct log_stream *l)
{
	loop_timer_stop(&l->look);
	if (l->open) {
		l->open = false;
		logs_follow_close(&l->follow, on_closed);
	}
}

static void on_gone(struct kl_request *q)
{
	struct log_stream *l = q->state;
	l->q = NULL;
	stream_end(l);
}

static void on_drain(struct kl_request *q)
{
	struct log_stream *l = q->state;
	logs_follow_resume(&l->follow);
}

static void add(struct log_stream *l, struct span s)
{
	if (l->left >= 0)
		s = span_sub(s, 0, (size_t)MIN(l->left, (int64_t)s.len));
	if (l->left >= 0)
		l->left -= (int64_t)s.len;
	if (s.len)
		http_reply_add(l->q->http, http_copy(s));
}

static void on_record(struct logs_follow *f, const struct logs_record *r)
{
	struct log_stream *l = container_of(f, struct log_stream, follow);
	bool *begun = &l->line_begun[r->stream & 1];
	if (!l->q || !l->q->http)
		return;
	if (l->timestamps && !*begun) {
		char when[40];
		add(l, span_make(when, logs_stamp(when, r->time_ns)));
	}
	*begun = r->partial;
	add(l, r->text);
	if (l->left == 0)
		return logs_follow_end(f);
	if (http_reply_queued(l->q->http) > QUEUE_BYTES)
		logs_follow_pause(f);
}

static void on_done(struct logs_follow *f, const struct err *why)
{
	struct log_stream *l = container_of(f, struct log_stream, follow);
	if (why)
		log_warn("a container's log ends in an error", kv_err(why));
	loop_timer_stop(&l->look);
	if (l->q && l->q->http) {
		if (why)
			http_reply_abort(l->q->http);
		else
			http_reply_end(l->q->http);
	}
}

static void on_look(struct loop_timer *t)
{
	struct log_stream *l = container_of(t, struct log_stream, look);
	struct kl_pod *p = kl_pod_by_uid(l->s->k, span_of(l->uid));
	const struct kl_container *c = p ? kl_pod_container_id(p, span_of(l->id)) : NULL;
	if (!c || c->state == KL_EXITED)
		return logs_follow_end(&l->follow);
	loop_timer_start(&l->look, LOOK_MS);
}

/* Which container's log: upstream's validateContainerLogStatus, in its words. NULL: answered. */
static const struct kl_container *choose(struct kl_request *q, const struct kl_pod *p, struct span name, bool previous)
{
	const struct kl_container *c = kl_pod_container(p, name, false);
	struct span pod = p->name;
	int at = kl_spec_find(&p->object->pod.spec, name);
	/* One that waits for its next start (CrashLoopBackOff) is shown as such, and the dead one as its last state. */
	bool waits = c && c->state == KL_EXITED && at >= 0 && (unsigned)at < p->n_items && p->items[at].waiting;
	if (previous && !waits)
		c = kl_pod_container(p, name, true);
	if (c && previous && c->state != KL_EXITED)
		c = NULL;
	if (!c && previous) {
		kl_request_text(q, 400, "previous terminated container \"%.*s\" in pod \"%.*s\" not found", SPAN_ARG(name), SPAN_ARG(pod));
		return NULL;
	}
	/* Made and not started: what there was before, if anything. */
	if (c && c->state == KL_CREATED) {
		const struct kl_container *before = kl_pod_container(p, name, true);
		c = before ? before : NULL;
	}
	if (c && c->log_path.len)
		return c;
	const char *reason = at >= 0 && (unsigned)at < p->n_items ? p->items[at].waiting : NULL;
	if (reason && strcmp(reason, "ErrImagePull") == 0)
		kl_request_text(q, 400, "container \"%.*s\" in pod \"%.*s\" is waiting to start: image can't be pulled", SPAN_ARG(name),
				SPAN_ARG(pod));
	else if (reason && strcmp(reason, "ImagePullBackOff") == 0)
		kl_request_text(q, 400, "container \"%.*s\" in pod \"%.*s\" is waiting to start: trying and failing to pull image",
				SPAN_ARG(name), SPAN_ARG(pod));
	else
		kl_request_text(q, 400, "container \"%.*s\" in pod \"%.*s\" is waiting to start: %s", SPAN_ARG(name), SPAN_ARG(pod),
				reason ? reason : p->object->pod.spec.init_containers.n ? "PodInitializing" : "ContainerCreating");
	return NULL;
}

struct options {
	struct logs_params p;
	bool follow, previous, timestamps;
	int64_t limit;
};

/* 0; -1: a parameter makes no sense, and was answered. */
static int options_read(struct kl_request *q, struct options *o)
{
	struct span v;
	int64_t n;
	int32_t ns;
	*o = (struct options){ .p = { .format = LOGS_CRI, .tail = -1 }, .limit = -1 };
	o->follow = kl_request_flag(q, "follow");
	o->previous = kl_request_flag(q, "previous");
	o->timestamps = kl_request_flag(q, "timestamps");
	if (kl_request_query(q, "tailLines", &v)) {
		if (!span_to_i64(v, &n) || n < 0)
			goto bad;
		o->p.tail = n;
	}
	if (kl_request_query(q, "limitBytes", &v)) {
		if (!span_to_i64(v, &n) || n < 1)
			goto bad;
		o->limit = n;
	}
	if (kl_request_query(q, "sinceSeconds", &v)) {
		if (!span_to_i64(v, &n) || n < 1)
			goto bad;
		o->p.since_ns = loop_wall_ns(q->s->k->loop) - MIN(n, INT64_C(1) << 32) * NS_PER_S;
	}
	if (kl_request_query(q, "sinceTime", &v)) {
		if (api_time_parse(v, API_TIME_SECONDS, &n, &ns, NULL) < 0 || n < -(INT64_C(1) << 32) || n > INT64_C(1) << 33)
			goto bad;
		o->p.since_ns = MAX(n * NS_PER_S, INT64_C(1));
	}
	if (kl_request_query(q, "stream", &v) && v.len && !span_is(v, "All")) {
		if (!span_is(v, "Stdout") && !span_is(v, "Stderr"))
			goto bad;
		o->p.streams = span_is(v, "Stdout") ? LOGS_STDOUT : LOGS_STDERR;
	}
	return 0;
bad:
	kl_request_text(q, 422, "{\"message\": \"Invalid request: %.*s\"}", SPAN_ARG(v));
	return -1;
}

void kl_serve_logs(struct kl_request *q)
{
	struct span name;
	struct options o;
	auto_err struct err err = ERR_INIT;
	struct kl_pod *p = kl_request_pod(q, true, &name);
	if (!p || options_read(q, &o) < 0)
		return;
	if (kl_spec_find(&p->object->pod.spec, name) < 0)
		return kl_request_text(q, 404, "container \"%.*s\" not found in pod \"%.*s\"", SPAN_ARG(name), SPAN_ARG(p->name));
	const struct kl_container *c = choose(q, p, name, o.previous);
	if (!c)
		return;
	char *path = arena_cstr(q->a, c->log_path), *slash = strrchr(path, '/');
	if (!slash)
		return kl_request_text(q, 400, "the log path \"%s\" of the runtime is no path", path);
	*slash = 0;
	auto_fd int dir = open(*path ? path : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return kl_request_text(q, 400, "failed to open log file \"%s/%s\": %s", path, slash + 1, err_why(errno));
	o.p.dir = dir;
	o.p.name = slash + 1;
	struct log_stream *l = mem_new(struct log_stream);
	*l = (struct log_stream){ .q = q, .s = q->s, .left = o.limit, .timestamps = o.timestamps,
				  .uid = mem_dup(p->uid.ptr, p->uid.len), .id = mem_dup(c->id.ptr, c->id.len) };
	loop_timer_init(&l->look, q->s->k->loop, "followed container", on_look);
	if (logs_follow_open(&l->follow, q->s->k->loop, &o.p, on_record, on_done, &err) < 0) {
		on_closed(&l->follow);
		return kl_request_text(q, 400, "failed to open log file \"%s/%s\": %s", path, slash + 1, err_msg(&err));
	}
	l->open = true;
	q->state = l;
	q->gone = on_gone;
	q->drain = on_drain;
	http_reply_header(q->http, "content-type", SPAN("text/plain"));
	http_reply_begin(q->http);
	if (o.follow && c->state == KL_RUNNING)
		loop_timer_start(&l->look, LOOK_MS);
	else
		logs_follow_end(&l->follow);
}

/* ---- /logs/: what is beneath the folder of logs, as Go's file server shows it */

enum { CHUNK_BYTES = 64 << 10, ENTRIES_MAX = 10000 };

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void escape(struct buf *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '&')
			buf_str(out, "&amp;");
		else if (*s == '<')
			buf_str(out, "&lt;");
		else if (*s == '>')
			buf_str(out, "&gt;");
		else if (*s == '"')
			buf_str(out, "&#34;");
		else
			buf_chr(out, *s);
	}
}

static void folder(struct kl_request *q, int fd)
{
	auto_buf struct buf b = {};
	char **names = NULL;
	size_t n = 0, cap = 0;
	DIR *d = fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return kl_request_text(q, 500, "%s\n", err_why(errno));
	}
	const struct dirent *e;
	while (n < ENTRIES_MAX && (e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		MEM_GROW(names, n, cap);
		names[n++] = arena_cstr(q->a, arena_printf(q->a, "%s%s", e->d_name, e->d_type == DT_DIR ? "/" : ""));
	}
	(void)closedir(d);
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	buf_str(&b, "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n");
	for (size_t i = 0; i < n; i++) {
		buf_str(&b, "<a href=\"");
		percent_add(&b, span_of(names[i]), "/");
		buf_str(&b, "\">");
		escape(&b, names[i]);
		buf_str(&b, "</a>\n");
	}
	buf_str(&b, "</pre>\n");
	free(names);
	http_reply_text(q->http, 200, "text/html; charset=utf-8", buf_span(&b));
}

/* A file on its way: a piece at a time, as the reader takes them. */
struct file_stream {
	struct kl_request *q;
	struct loop_task more;
	int fd;
	int64_t left;            /* of what there was when it was asked for */
};

static void on_file_gone(struct kl_request *q)
{
	struct file_stream *f = q->state;
	loop_task_cancel(&f->more);
	fd_close(&f->fd);
	free(f);
}

static void on_file_drain(struct kl_request *q)
{
	loop_defer(q->s->k->loop, &((struct file_stream *)q->state)->more);
}

static void on_file_more(struct loop_task *t)
{
	struct file_stream *f = container_of(t, struct file_stream, more);
	struct http_req *r = f->q->http;
	char *chunk = mem_alloc(CHUNK_BYTES);
	while (f->left && http_reply_queued(r) <= QUEUE_BYTES) {
		ssize_t n = read(f->fd, chunk, (size_t)MIN(f->left, (int64_t)CHUNK_BYTES));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			http_reply_abort(r);
			free(chunk);
			return;
		}
		if (n == 0) /* it was cut meanwhile */
			f->left = 0;
		f->left -= n;
		http_reply_add(r, http_copy(span_make(chunk, (size_t)n)));
	}
	free(chunk);
	if (!f->left)
		http_reply_end(r);
}

static void file(struct kl_request *q, int fd, int64_t size)
{
	struct file_stream *f = mem_new(struct file_stream);
	*f = (struct file_stream){ .q = q, .fd = fd, .left = size };
	loop_task_init(&f->more, on_file_more);
	q->state = f;
	q->gone = on_file_gone;
	q->drain = on_file_drain;
	http_reply_header(q->http, "content-type", SPAN("text/plain; charset=utf-8"));
	http_reply_begin(q->http);
	loop_defer(q->s->k->loop, &f->more);
}

void kl_serve_log_files(struct kl_request *q)
{
	auto_buf struct buf rel = {};
	auto_arena struct arena a = {};
	struct stat st;
	if (!q->s->p.log_dir.len)
		return kl_request_text(q, 405, "logs endpoint is disabled.");
	for (size_t i = 1; i < q->n_segments; i++) {
		buf_chr(&rel, '/');
		buf_span_add(&rel, q->segments[i]);
	}
	auto_fd int root = open(arena_cstr(&a, q->s->p.log_dir), O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_fd int fd = root < 0 ? -1 : sys_path_open(root, rel.len ? buf_cstr(&rel) : "/", O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0 || fstat(fd, &st) < 0)
		return kl_request_text(q, errno == ENOENT ? 404 : 403, errno == ENOENT ? "404 page not found\n" : "403 Forbidden\n");
	if (S_ISDIR(st.st_mode))
		return folder(q, take_fd(&fd));
	if (!S_ISREG(st.st_mode))
		return kl_request_text(q, 403, "403 Forbidden\n");
	file(q, take_fd(&fd), st.st_size);
}
