/* RUN: a container of the image so far, driven by the loop's thread on behalf of the build's.
 *
 *     build's thread                          loop's thread
 *     ask(create) ── loop_post ──────────────> container_create ── done ──┐
 *        waits on stop.changed <──────────────────────────────────────────┘
 *     ask(begin) ────────────────────────────> attach, wait(next-exit), start
 *        says what came <── out (<= 256 KB, then the stream pauses) ── output
 *        stop was raised: ask(kill)            exit, end of the stream
 *
 * Invariant: everything shared lies under stop.mutex; a struct the engine may still call is not left before it said so. */
#include "builder/work.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define OUT_MAX (256u << 10)
#define BALLAST_BYTES (256u << 10)
#define LOW_BYTES (128u << 10)
#define LOOK_MS 1000  /* a disk that is full is looked for so often */
#define KILLED_MS 10000 /* what was killed and still has not ended is left to the next open */

struct ask {
	struct loop_msg msg;
	struct container_call call;
	struct run *r;
	struct arena arena;
	void (*begin)(struct ask *k);
	const struct span *besides; /* of layer */
	size_t n_besides;
	bool done;
	struct err err;
};

struct watch {
	struct run *r;
	struct container_stream stream;
	struct container_call exit;
	struct arena arena;
	struct loop_msg resume_msg;
	struct buf out;
	bool ended, closed, exited, paused, resuming, lost;
	struct err err; /* of the wait */
	int code;
	struct ask kill;
	bool killed;          /* kill was asked: its answer is not waited for, as a monitor that is stopped gives none */
	int64_t killed_ms;
	pid_t pid;            /* of its first process, once somebody looked */
	int64_t silent_ms;    /* since when its end is not told; 0 = it has none to tell */
};

/* ---- questions ---- */

static void signal_done(struct run *r, bool *flag)
{
	pthread_mutex_lock(&r->p->stop->mutex);
	*flag = true;
	pthread_cond_broadcast(&r->p->stop->changed);
	pthread_mutex_unlock(&r->p->stop->mutex);
}

static void ask_done(struct container_call *c, const struct err *err)
{
	struct ask *k = container_of(c, struct ask, call);
	if (err)
		(void)err_set(&k->err, err->class, "%s", err_msg(err));
	signal_done(k->r, &k->done);
}

static void ask_begin(struct loop_msg *m)
{
	struct ask *k = container_of(m, struct ask, msg);
	k->begin(k);
}

static void ask_init(struct ask *k, struct run *r, void (*begin)(struct ask *k))
{
	*k = (struct ask){ .msg = { .fn = ask_begin }, .call = { .done = ask_done }, .r = r, .begin = begin };
	k->call.arena = &k->arena;
}

static int ask_end(struct ask *k, struct err *err)
{
	int rc = 0;
	if (k->err.class) {
		rc = -(int)k->err.class;
		if (err)
			(void)err_move(err, &k->err);
	}
	err_done(&k->err);
	arena_done(&k->arena);
	return rc;
}

static void ask_wait(struct ask *k)
{
	struct builder_stop *s = k->r->p->stop;
	loop_post(k->r->b->o.loop, &k->msg);
	pthread_mutex_lock(&s->mutex);
	while (!k->done)
		pthread_cond_wait(&s->changed, &s->mutex);
	pthread_mutex_unlock(&s->mutex);
}

static struct span id_of(const struct ask *k)
{
	return span_of(k->r->id);
}

static struct json host_config(struct run *r)
{
	struct arena *a = r->a;
	struct json host = r->p->host ? json_copy(a, r->p->host) : json_object(), mounts = json_array();
	if (r->network.len)
		(void)json_setl(a, &host, "NetworkMode", json_str(r->network));
	for (size_t i = 0; i < r->n_mounts; i++) {
		const struct run_mount *m = &r->mounts[i];
		struct json v = json_object();
		(void)json_setl(a, &v, "Type", json_cstr(m->kind == BUILDER_MOUNT_TMPFS ? "tmpfs" : "bind"));
		(void)json_setl(a, &v, "Target", json_str(m->target));
		if (m->source)
			(void)json_setl(a, &v, "Source", json_cstr(m->source));
		if (m->read_only)
			(void)json_setl(a, &v, "ReadOnly", json_bool(true));
		if (m->kind == BUILDER_MOUNT_TMPFS && m->size) {
			struct json o = json_object();
			(void)json_setl(a, &o, "SizeBytes", json_int((int64_t)m->size));
			(void)json_setl(a, &v, "TmpfsOptions", o);
		}
		(void)json_push(a, &mounts, v);
	}
	if (mounts.n)
		(void)json_setl(a, &host, "Mounts", mounts);
	return host;
}

static void create(struct ask *k)
{
	struct run *r = k->r;
	struct json host = host_config(r);
	const struct container_create_params p = { .name = span_of(r->name), .config = r->config, .host_config = &host };
	container_create(r->b->o.containers, &p, &k->call);
}

static void kill_it(struct ask *k)
{
	container_kill(k->r->b->o.containers, id_of(k), SPAN("KILL"), &k->call);
}

static void remove_it(struct ask *k)
{
	container_remove(k->r->b->o.containers, id_of(k), CONTAINER_RM_FORCE | CONTAINER_RM_VOLUMES, &k->call);
}

static void layer_of(struct ask *k)
{
	container_layer(k->r->b->o.containers, id_of(k), k->besides, k->n_besides, &k->call);
}

/* ---- one that runs ---- */

static void on_output(struct container_stream *s, int stream, struct span data)
{
	struct watch *w = container_of(s, struct watch, stream);
	struct builder_stop *stop = w->r->p->stop;
	bool colour = stream == 2 && !w->r->plain_errors, pause;
	pthread_mutex_lock(&stop->mutex);
	if (colour)
		buf_str(&w->out, "\033[91m");
	buf_span_add(&w->out, data);
	if (colour)
		buf_str(&w->out, "\033[0m");
	pause = w->out.len >= OUT_MAX && !w->paused;
	w->paused |= pause;
	pthread_cond_broadcast(&stop->changed);
	pthread_mutex_unlock(&stop->mutex);
	if (pause)
		container_stream_pause(s);
}

static void on_resume(struct loop_msg *m)
{
	struct watch *w = container_of(m, struct watch, resume_msg);
	struct builder_stop *stop = w->r->p->stop;
	pthread_mutex_lock(&stop->mutex);
	bool ended = w->ended;
	w->paused = false;
	w->resuming = false;
	pthread_cond_broadcast(&stop->changed);
	pthread_mutex_unlock(&stop->mutex);
	if (!ended)
		container_stream_resume(&w->stream);
}

static void on_closed(struct container_stream *s)
{
	struct watch *w = container_of(s, struct watch, stream);
	signal_done(w->r, &w->closed);
}

static void on_ended(struct container_stream *s, const struct err *err)
{
	struct watch *w = container_of(s, struct watch, stream);
	signal_done(w->r, &w->ended);
	container_stream_close(s, on_closed);
}

static void on_exit_code(struct container_call *c, const struct err *err)
{
	struct watch *w = container_of(c, struct watch, exit);
	if (err)
		(void)err_set(&w->err, err->class, "%s", err_msg(err));
	else
		w->code = (int)json_i64(json_getl(&c->result, "StatusCode"), 0);
	signal_done(w->r, &w->exited);
}

struct begin {
	struct ask ask;
	struct watch *w;
};

static void begin(struct ask *k)
{
	struct begin *g = container_of(k, struct begin, ask);
	struct watch *w = g->w;
	struct container_engine *e = k->r->b->o.containers;
	int rc = container_attach(e, id_of(k), &w->stream, &k->err);
	if (rc == 0) {
		rc = container_wait(e, id_of(k), CONTAINER_NEXT_EXIT, &w->exit, &k->err);
		if (rc < 0) {
			w->ended = true;
			container_stream_close(&w->stream, on_closed);
		}
	} else {
		w->closed = true;
	}
	if (rc < 0) {
		w->exited = true;
		signal_done(k->r, &k->done);
		return;
	}
	container_start(e, id_of(k), &k->call);
}

/* The start failed: there is no exit to wait for, and the stream may not have ended by itself. */
static void give_up(struct ask *k)
{
	struct begin *g = container_of(k, struct begin, ask);
	container_call_forget(&g->w->exit);
	pthread_mutex_lock(&k->r->p->stop->mutex);
	bool ended = g->w->ended;
	g->w->ended = g->w->exited = true;
	pthread_mutex_unlock(&k->r->p->stop->mutex);
	if (!ended)
		container_stream_close(&g->w->stream, on_closed);
	signal_done(k->r, &k->done);
}

/* The bytes at the end that begin a character which is not whole. */
static size_t torn(struct span s)
{
	for (size_t back = 1; back <= 3 && back <= s.len; back++) {
		unsigned char c = (unsigned char)s.ptr[s.len - back];
		if ((c & 0xc0) == 0x80)
			continue;
		size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
		return need > back ? back : 0;
	}
	return 0;
}

/* A step that fills the disk ends, but its monitor cannot write down how, and waits for room that nobody else would make. */
static void ballast_drop(int fd)
{
	struct statvfs v;
	if (fstatvfs(fd, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < LOW_BYTES && ftruncate(fd, 0) < 0)
		return; /* what it cannot give nobody gets */
}

/* False when nothing changed for a while. With the mutex. */
static bool changed_wait(struct builder_stop *s)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LOOK_MS / 1000;
	return pthread_cond_clockwait(&s->changed, &s->mutex, CLOCK_MONOTONIC, &until) == 0;
}

/* ---- ends that nobody hears of */

static void pid_of(struct ask *k)
{
	struct container_state state;
	if (container_state(k->r->b->o.containers, id_of(k), &state, &k->err) == 0)
		(void)json_setl(&k->arena, &k->call.result, "Pid", json_int(state.pid));
	signal_done(k->r, &k->done);
}

/* The state's letter and the parent, of /proc/PID/stat (proc(5)); 0 when there is none. */
static char process_state(pid_t pid, pid_t *out_parent)
{
	char path[40];
	auto_buf struct buf text = {};
	struct span rest, state, parent;
	uint64_t n;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (io_read_file(AT_FDCWD, path, &text, 4096, NULL) < 0)
		return 0;
	rest = span_from(buf_span(&text), (size_t)(span_rchr(buf_span(&text), ')') + 1)); /* the name may hold anything */
	rest = span_trim(rest);
	if (!span_cut(&rest, ' ', &state) || state.len != 1 || !span_cut(&rest, ' ', &parent) || !span_to_u64(parent, &n))
		return 0;
	*out_parent = (pid_t)n;
	return state.ptr[0];
}

/* Its first process has ended, and the monitor that would say so is stopped (SIGSTOP). Whoever waits for it waits for whoever did
 * that, so it is given as long as a step that was killed. */
static bool unheard(struct watch *w)
{
	pid_t monitor = 0, init;
	if (!w->pid) {
		struct ask k;
		ask_init(&k, w->r, pid_of);
		k.call.result = json_object();
		ask_wait(&k);
		w->pid = (pid_t)json_i64(json_getl(&k.call.result, "Pid"), 0);
		(void)ask_end(&k, NULL); /* what does not run has none */
	}
	int64_t now = clock_mono_ms(clock_real());
	if (!w->pid || process_state(w->pid, &monitor) != 'Z' || process_state(monitor, &init) != 'T')
		w->silent_ms = 0;
	else if (!w->silent_ms)
		w->silent_ms = now;
	return w->silent_ms && now - w->silent_ms > KILLED_MS;
}

static void let_go(struct ask *k)
{
	struct begin *g = container_of(k, struct begin, ask);
	container_call_forget(&g->w->kill.call);
	signal_done(k->r, &k->done);
}

static void ask_about(struct watch *w, void (*what)(struct ask *k))
{
	struct begin g = { .w = w };
	ask_init(&g.ask, w->r, what);
	ask_wait(&g.ask);
	(void)ask_end(&g.ask, NULL); /* it cannot fail */
}

static bool kill_was_vain(const struct watch *w)
{
	return w->killed && !w->exited && clock_mono_ms(clock_real()) - w->killed_ms > KILLED_MS;
}

/* Says what comes until it has ended. */
static int follow(struct watch *w, int ballast, struct err *err)
{
	struct run *r = w->r;
	struct builder_stop *s = r->p->stop;
	auto_buf struct buf now = {};
	bool all, silent = false, untold = false;
	int rc = 0;
	do {
		pthread_mutex_lock(&s->mutex);
		while (!w->out.len && !(w->exited && w->closed) && (w->killed || !(s->raised || rc < 0)) && !kill_was_vain(w) && !silent) {
			if (changed_wait(s))
				continue;
			ballast_drop(ballast);
			bool exited = w->exited;
			pthread_mutex_unlock(&s->mutex);
			silent = !exited && unheard(w);
			pthread_mutex_lock(&s->mutex);
		}
		silent = silent && !w->exited;
		bool stuck = silent || kill_was_vain(w);
		buf_span_add(&now, buf_span(&w->out));
		buf_trunc(&w->out, 0);
		bool resume = w->paused && !w->resuming && !w->ended, want_kill = (s->raised || rc < 0) && !w->killed && !w->exited;
		w->resuming |= resume;
		all = w->exited && w->closed;
		pthread_mutex_unlock(&s->mutex);
		if (resume)
			loop_post(r->b->o.loop, &w->resume_msg);
		if (want_kill) {
			ask_init(&w->kill, r, kill_it); /* it may have ended by itself */
			loop_post(r->b->o.loop, &w->kill.msg);
			w->killed = true;
			w->killed_ms = clock_mono_ms(clock_real());
		}
		if (stuck) {
			r->stuck = true;
			untold |= silent;
			silent = false;
			ask_about(w, give_up);
		}
		size_t keep = all ? 0 : torn(buf_span(&now));
		if (rc == 0 && now.len > keep)
			rc = r->p->say(r->p->arg, span_sub(buf_span(&now), 0, now.len - keep), err);
		buf_shift(&now, now.len - keep);
	} while (!all);
	if (w->killed) {
		ask_about(w, let_go);
		(void)ask_end(&w->kill, NULL);
	}
	pthread_mutex_lock(&s->mutex);
	while (w->resuming)
		pthread_cond_wait(&s->changed, &s->mutex);
	bool raised = s->raised;
	pthread_mutex_unlock(&s->mutex);
	if (rc == 0 && raised)
		rc = err_set(err, ERR_CANCELLED, "the build was cancelled");
	if (rc == 0 && untold)
		rc = err_set(err, ERR_INTERNAL, "the step has ended, but its monitor is stopped and does not tell how: "
			"look who sent SIGSTOP to the parent of process %d", (int)w->pid);
	return rc;
}

static int watch_run(struct run *r, struct err *err)
{
	auto_fd int ballast = open(r->b->work, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (ballast < 0)
		return err_sys(err, "make a file in %s", r->b->work);
	int num = posix_fallocate(ballast, 0, BALLAST_BYTES);
	if (num)
		return err_sys_num(err, num, "room for a step in %s", r->b->work);
	struct watch w = { .r = r, .resume_msg = { .fn = on_resume }, .exit = { .done = on_exit_code } };
	struct begin g = { .w = &w };
	w.stream = (struct container_stream){ .stdout_ = true, .stderr_ = true, .output = on_output, .ended = on_ended };
	w.exit.arena = &w.arena;
	ask_init(&g.ask, r, begin);
	ask_wait(&g.ask);
	auto_err struct err why = ERR_INIT;
	int rc = ask_end(&g.ask, &why);
	if (rc < 0 && !w.exited)
		ask_about(&w, give_up);
	auto_err struct err said = ERR_INIT;
	int followed = follow(&w, ballast, &said);
	if (rc < 0)
		rc = err ? err_move(err, &why) : rc;
	else if (followed < 0)
		rc = err ? err_move(err, &said) : followed;
	else if (w.err.class)
		rc = err ? err_move(err, &w.err) : -(int)w.err.class;
	r->code = w.code;
	err_done(&w.err);
	buf_done(&w.out);
	arena_done(&w.arena);
	return rc;
}

int builder_run_start(struct run *r, struct err *err)
{
	struct ask k;
	r->id[0] = 0;
	r->code = 0;
	if (builder_stop_raised(r->p->stop))
		return err_set(err, ERR_CANCELLED, "the build was cancelled");
	int rc = builder_run_note(r->b, r, err);
	if (rc < 0)
		return rc;
	ask_init(&k, r, create);
	ask_wait(&k);
	if (!k.err.class) {
		snprintf(r->id, sizeof(r->id), "%.*s", SPAN_ARG(json_span(json_getl(&k.call.result, "Id"))));
		FAILPOINT("builder.run.created");
	}
	rc = ask_end(&k, err);
	if (rc == 0)
		rc = r->p->say(r->p->arg, arena_printf(r->a, " ---> Running in %.12s\n", r->id), err);
	rc = rc < 0 ? rc : watch_run(r, err);
	FAILPOINT("builder.run.ended");
	return rc;
}

int builder_run_layer(struct run *r, struct image_digest *out, uint64_t *out_bytes, struct err *err)
{
	struct ask k;
	size_t n = 0, room = 1;
	for (size_t i = 0; i < r->n_mounts; i++)
		for (size_t c = 0; c < r->mounts[i].target.len; c++)
			room += r->mounts[i].target.ptr[c] == '/';
	struct span *besides = arena_alloc_n(r->a, room + r->n_mounts, sizeof(*besides));
	for (size_t i = 0; i < r->n_mounts; i++)
		/* With the folders on the way, which were made for it. */
		for (struct span at = r->mounts[i].target; at.len > 1; at = span_sub(at, 0, (size_t)span_rchr(at, '/')))
			besides[n++] = at;
	ask_init(&k, r, layer_of);
	k.besides = besides;
	k.n_besides = n;
	ask_wait(&k);
	*out_bytes = 0;
	if (!k.err.class && (*out_bytes = (uint64_t)json_i64(json_getl(&k.call.result, "Size"), 0)) > 0 &&
	    image_digest_parse(json_span(json_getl(&k.call.result, "Digest")), out, &k.err) < 0)
		*out_bytes = 0;
	return ask_end(&k, err);
}

int builder_run_remove(struct run *r, struct err *err)
{
	struct ask k;
	if (r->stuck) /* its note stays, so the next open tries again */
		return 0;
	if (!r->id[0]) { /* it was not even created */
		if (r->name)
			builder_run_forget(r->b, r);
		return 0;
	}
	ask_init(&k, r, remove_it);
	ask_wait(&k);
	r->id[0] = 0;
	int rc = ask_end(&k, err);
	if (rc == 0)
		builder_run_forget(r->b, r);
	return rc;
}
