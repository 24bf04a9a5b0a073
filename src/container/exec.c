/* One more process in a running container. It has a monitor of its own, so it survives us like the container does, and a folder
 * RUN/exec/ID while that monitor lives; the object lives as long as the container, the oldest that have ended go first. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "container/exec.h"

#define ENDED_KEPT 64
#define BUILD_WAIT_S 120
#define PATIENCE_MS 60000

/* ---- making, finding, freeing */

static void words_make(struct exec *x)
{
	struct buf b = {};
	JSON_EACH_ITEM (json_getl(&x->config, "Cmd"), item)
		buf_printf(&b, "%s%.*s", b.len ? " " : "", SPAN_ARG(json_span(item)));
	if (json_getl(&x->config, "Cmd") && json_getl(&x->config, "Cmd")->n == 1)
		buf_chr(&b, ' '); /* Docker joins the program and its arguments, also when there are none */
	x->words = buf_take(&b, NULL);
}

static void exec_event(struct exec *x, const char *action, const char *code)
{
	auto_buf struct buf b = {};
	buf_printf(&b, "%s: %s", action, x->words);
	if (code)
		container_event_send(x->c, action, "execID", x->id, "exitCode", code, NULL);
	else
		container_event_send(x->c, buf_cstr(&b), "execID", x->id, NULL);
}

static struct exec *exec_make(struct container *c, const struct json *config, const char *id)
{
	struct exec *x = mem_new(struct exec);
	memcpy(x->id, id, sizeof(x->id));
	x->c = c;
	x->e = c->e;
	memcpy(x->container_id, c->id, sizeof(x->container_id));
	x->config = json_copy(&x->arena, config);
	x->control_sock = x->control_got = x->stream_got = -1;
	list_init(&x->streams);
	container_asks_init(&x->asks, x->e, x->id, true);
	list_init(&x->waits);
	words_make(x);
	list_push(&c->execs, &x->link);
	map_put(&c->e->execs, span_of(x->id), x);
	return x;
}

struct exec *container_exec_new(struct container *c, const struct json *config)
{
	uint8_t raw[32];
	auto_buf struct buf b = {};
	rng_secret(raw, sizeof(raw));
	hex_add(&b, raw, sizeof(raw));
	struct exec *x = exec_make(c, config, buf_cstr(&b));
	exec_event(x, "exec_create", NULL);
	return x;
}

static void exec_free(struct exec *x)
{
	container_streams_part(&x->streams);
	arena_done(&x->arena);
	arena_done(&x->scratch);
	err_done(&x->err);
	free(x->words);
	free(x);
}

static struct exec *exec_get(struct container_engine *e, struct span id, struct err *err)
{
	struct exec *x = map_get(&e->execs, id);
	if (!x)
		err_set(err, ERR_NOT_FOUND, "No such exec instance: %.*s", SPAN_ARG(id));
	return x;
}

/* ---- who waits for the end */

struct exec_wait {
	struct list link;
	struct ticket ticket;
	struct container_engine *e;
	struct loop_task task;
	int code;
};

static void wait_answer(struct exec_wait *w, int code, const struct err *err)
{
	struct container_engine *e = w->e;
	struct container_call *call = w->ticket.call;
	if (!err && call && call->arena) {
		call->result = json_object();
		json_setl(call->arena, &call->result, "ExitCode", json_int(code));
	}
	container_ticket_answer(&w->ticket, err);
	free(w);
	container_busy(e, -1);
}

static void waits_fail(struct exec *x, const struct err *err)
{
	for (struct exec_wait *w; (w = LIST_POP(&x->waits, struct exec_wait, link));)
		wait_answer(w, 0, err);
}

static void wait_late(struct loop_task *t)
{
	struct exec_wait *w = container_of(t, struct exec_wait, task);
	wait_answer(w, w->code, NULL);
}

void container_exec_wait(struct container_engine *e, struct span exec_id, struct container_call *call)
{
	auto_err struct err err = ERR_INIT;
	struct exec *x = exec_get(e, exec_id, &err);
	if (!x) {
		container_fail_later(e, call, &err);
		return;
	}
	struct exec_wait *w = mem_new(struct exec_wait);
	w->e = e;
	container_busy(e, 1);
	container_ticket_take(&w->ticket, call);
	list_push(&x->waits, &w->link);
	if (x->state != EXEC_ENDED)
		return;
	list_remove(&w->link);
	w->code = x->exit_code;
	loop_task_init(&w->task, wait_late);
	loop_defer(e->o.loop, &w->task);
}

void container_exec_drop(struct exec *x)
{
	if (!x->gone) {
		auto_err struct err err = ERR_INIT;
		err_set(&err, ERR_NOT_FOUND, "No such exec instance: %s", x->id);
		container_streams_fail(&x->streams, &err);
		waits_fail(x, &err);
		map_remove(&x->e->execs, span_of(x->id));
		list_remove(&x->link);
		x->gone = true;
	}
	if (x->control_sock < 0 && !x->control_live && !x->working)
		exec_free(x);
}

/* What ended long ago makes room. */
static void ended_trim(struct container *c)
{
	unsigned n = 0;
	for (struct list *l = c->execs.prev, *before; l != &c->execs; l = before) {
		struct exec *x = LIST_ENTRY(l, struct exec, link);
		before = l->prev;
		if (x->state == EXEC_ENDED && ++n > ENDED_KEPT)
			container_exec_drop(x);
	}
}

int container_exec_create(struct container_engine *e, struct span name, const struct json *config, char out_id[65],
	struct err *err)
{
	auto_err struct err why = ERR_INIT;
	struct container *c = container_get(e, name, &why);
	const struct json *cmd = json_getl(config, "Cmd"), *env = json_getl(config, "Env");
	if (!c)
		return err_move(err, &why);
	if (!json_is(cmd, JSON_ARRAY) || !cmd->n)
		return err_set(err, ERR_INVALID_REQUEST, "No exec command specified");
	JSON_EACH_ITEM (cmd, item)
		if (!json_is(item, JSON_STRING))
			return err_set(err, ERR_INVALID_REQUEST, "invalid Cmd: expected strings");
	JSON_EACH_ITEM (env, item)
		if (!json_is(item, JSON_STRING))
			return err_set(err, ERR_INVALID_REQUEST, "invalid Env: expected strings");
	struct span dir = container_str(config, "WorkingDir");
	if (dir.len && dir.ptr[0] != '/')
		return err_set(err, ERR_INVALID_REQUEST, "the working directory '%.*s' is invalid, it needs to be an absolute path",
			SPAN_ARG(dir));
	if (c->status == STATUS_RESTARTING)
		return err_set(err, ERR_IN_USE, "Container %s is restarting, wait until the container is running", c->id);
	if (c->status == STATUS_PAUSED)
		return err_set(err, ERR_IN_USE, "Container %s is paused, unpause the container before exec", c->id);
	if (c->status != STATUS_RUNNING || c->ending)
		return err_set(err, ERR_IN_USE, "container %s is not running", c->id);
	struct exec *x = container_exec_new(c, config);
	memcpy(out_id, x->id, sizeof(x->id));
	ended_trim(c);
	return 0;
}

/* ---- the end */

static void control_closed(struct loop_fd *f)
{
	struct exec *x = container_of(f, struct exec, control);
	struct container_engine *e = x->e;
	x->control_live = false;
	if (x->gone)
		container_exec_drop(x);
	container_busy(e, -1);
}

static const char *folder_of(struct arena *a, const struct container_engine *e, const char *id)
{
	return arena_printf(a, "%s/exec/%s", e->run_dir, id).ptr;
}

static void clear_run(struct loop_work *w)
{
	struct exec *x = container_of(w, struct exec, work);
	auto_arena struct arena a = {};
	auto_fd int dir = open(arena_printf(&a, "%s/exec", x->e->run_dir).ptr, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		(void)container_folder_remove(dir, x->id, NULL); /* the next open removes it then */
}

static void clear_done(struct loop_work *w)
{
	struct exec *x = container_of(w, struct exec, work);
	struct container_engine *e = x->e;
	x->working = false;
	if (x->gone)
		container_exec_drop(x);
	container_busy(e, -1);
}

static void work_begin(struct exec *x, const char *name, void (*run)(struct loop_work *w), void (*done)(struct loop_work *w))
{
	struct container_engine *e = x->e;
	x->working = true;
	container_busy(e, 1);
	if (loop_work_submit(e->o.pool, e->o.loop, &x->work, name, run, done) < 0) {
		err_set(&x->err, ERR_TOO_MANY, "too many operations are under way");
		loop_post_call(e->o.loop, (void (*)(void *))done, &x->work);
	}
}

static void exec_ended(struct exec *x, int code)
{
	char text[16];
	snprintf(text, sizeof(text), "%d", code);
	bool ran = x->state == EXEC_RUNNING;
	x->state = EXEC_ENDED;
	x->exit_code = code;
	x->pid = 0;
	if (x->control_sock >= 0) {
		loop_fd_close(&x->control, control_closed);
		fd_close(&x->control_sock);
	}
	container_asks_fail(&x->asks);
	if (!x->gone && ran)
		exec_event(x, "exec_die", text);
	work_begin(x, "exec end", clear_run, clear_done);
	for (struct exec_wait *w; (w = LIST_POP(&x->waits, struct exec_wait, link));)
		wait_answer(w, code, NULL);
	if (x->ended)
		x->ended(x);
}

static void on_control(struct loop_fd *f, unsigned events)
{
	struct exec *x = container_of(f, struct exec, control);
	for (int i = 0; i < 64 && x->control_sock >= 0; i++) {
		auto_err struct err err = ERR_INIT;
		char payload[MONITOR_LINE];
		struct monitor_head h;
		struct monitor_state s;
		int rc = monitor_recv(x->control_sock, &h, payload, sizeof(payload), NULL, 0, NULL, &err);
		if (rc < 0 && err.errnum == EAGAIN)
			return;
		if (rc < 0) { /* its monitor was killed */
			exec_ended(x, 137);
			return;
		}
		if (h.op == MONITOR_STATE && h.tag == 0 && h.len == sizeof(s)) {
			memcpy(&s, payload, sizeof(s));
			if (s.phase == MONITOR_ENDED) {
				exec_ended(x, s.exit_code);
				return;
			}
		}
		if (h.op == MONITOR_OK || h.op == MONITOR_ERROR)
			container_asks_answer(&x->asks, &h, payload);
	}
}

static int control_open(struct exec *x, int sock, struct err *err)
{
	int rc = loop_fd_open(&x->control, x->e->o.loop, "exec control", sock, on_control, err);
	if (rc < 0)
		return rc;
	x->control_sock = sock;
	x->control_live = true;
	container_busy(x->e, 1);
	loop_fd_background(&x->control, true);
	loop_fd_want(&x->control, LOOP_READ);
	return 0;
}

int container_exec_adopt(struct container *c, const char *id, const struct json *config, int sock, pid_t pid, struct err *err)
{
	auto_fd int control = sock;
	int rc = monitor_send(control, MONITOR_WAIT, 0, 0, 0, SPAN_EMPTY, err);
	if (rc < 0)
		return rc;
	struct exec *x = exec_make(c, config, id);
	rc = control_open(x, control, err);
	if (rc < 0) {
		container_exec_drop(x);
		return rc;
	}
	(void)take_fd(&control);
	x->state = EXEC_RUNNING;
	x->pid = pid;
	return 0;
}

/* ---- start */

static int process_write(struct exec *x, int dir, struct err *err)
{
	char path[64];
	struct container_ids ids;
	auto_buf struct buf text = {};
	snprintf(path, sizeof(path), "/proc/%d/root", x->container_pid);
	auto_fd int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(err, "the container's root");
	if (!json_span(&json_getl(&x->config, "Cmd")->items[0]).len)
		return err_set(err, ERR_NO_COMMAND, "unable to start container process: exec: \"\": executable file not found in $PATH");
	struct span user = container_str(&x->config, "User");
	if (!user.len)
		user = container_str(&x->container_config, "User");
	int rc = container_user_find(root, user, json_getl(&x->host, "GroupAdd"), container_str(&x->extra, "Groups"),
		&x->scratch, &ids, err);
	rc = rc < 0 ? rc : container_spec_exec(x->e, &x->container_config, &x->host, &x->extra, &x->config, &ids, &x->scratch, &text,
		err);
	return rc < 0 ? rc : io_write_file_lazy(dir, "process.json", buf_span(&text), 0600, err);
}

static int started_wait(struct exec *x, int control, struct err *err)
{
	struct timeval limit = { .tv_sec = BUILD_WAIT_S };
	(void)setsockopt(control, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)); /* as in run.c */
	for (;;) {
		char text[MONITOR_LINE];
		struct monitor_head h;
		int rc = monitor_recv(control, &h, text, sizeof(text), NULL, 0, NULL, err);
		if (rc < 0)
			return err_note(err, "starting the process");
		if (h.op == MONITOR_STARTED) {
			x->pid = h.a;
			return 0;
		}
		if (h.op == MONITOR_ERROR && h.tag == 0)
			return err_set(err, h.a > 0 && h.a < ERR_COUNT ? (enum err_class)h.a : ERR_INTERNAL, "%.*s", (int)h.len, text);
	}
}

static int held_start(struct exec *x, int dir, int control, struct err *err)
{
	auto_fd int sock = monitor_connect(dir, err);
	struct monitor_state s = {};
	if (sock < 0)
		return sock;
	monitor_patience(sock, MONITOR_ANSWER_MS);
	int rc = monitor_call(sock, MONITOR_ATTACH, (int)x->takes, PATIENCE_MS, NULL, err);
	rc = rc < 0 ? rc : monitor_call(control, MONITOR_START, 0, 0, NULL, err);
	if (rc < 0)
		return rc;
	/* Asked on a connection of its own: on the others something that must not be passed over may come. */
	auto_fd int ask = monitor_connect(dir, NULL);
	if (ask >= 0)
		monitor_patience(ask, MONITOR_ANSWER_MS);
	if (ask >= 0 && monitor_call(ask, MONITOR_STATUS, 0, 0, &s, NULL) == 0 && s.phase == MONITOR_RUNNING)
		x->pid = s.pid;
	x->stream_got = take_fd(&sock);
	return 0;
}

static int start(struct exec *x, struct err *err)
{
	struct container_engine *e = x->e;
	struct arena *a = &x->scratch;
	const char *path = folder_of(a, e, x->id);
	int rc = io_mkdirs(AT_FDCWD, path, 0700, err);
	auto_fd int dir = rc < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return rc < 0 ? rc : err_sys(err, "open %s", path);
	rc = process_write(x, dir, err);
	rc = rc < 0 ? rc : container_exec_record(x, dir, err);
	if (rc < 0)
		return rc;
	bool input = container_truth(&x->config, "AttachStdin");
	struct monitor_spawn p = { .id = x->container_id, .root = arena_printf(a, "%s/runtime", e->run_dir).ptr, .state_dir = dir,
		.bundle = dir,
		.cache = arena_printf(a, "%s/seccomp", e->run_dir).ptr, .log_dir = -1, .stdio = { -1, -1, -1 }, .rows = x->rows,
		.cols = x->columns };
	p.flags = MONITOR_EXEC | (x->takes ? MONITOR_HOLD : 0U) | (input ? MONITOR_OPEN_STDIN | MONITOR_STDIN_ONCE : 0U) |
		  (container_truth(&x->config, "Tty") ? MONITOR_TERMINAL : 0U);
	struct monitor_spawned got;
	rc = container_spawn(e, &p, &got, err);
	if (rc < 0)
		return rc;
	close(got.pidfd);
	auto_fd int control = got.control;
	rc = started_wait(x, control, err);
	rc = rc < 0 || !x->takes ? rc : held_start(x, dir, control, err);
	if (rc < 0)
		return rc;
	struct timeval none = {};
	(void)setsockopt(control, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
	x->control_got = take_fd(&control);
	return 0;
}

static void start_run(struct loop_work *w)
{
	struct exec *x = container_of(w, struct exec, work);
	FAILPOINT("container.exec.start");
	start(x, &x->err);
}

/* runc's words, and its exit codes */
static int failure_word(struct exec *x, struct err *err)
{
	const char *text = err_msg(err);
	bool missing = err->class == ERR_NO_COMMAND || strstr(text, "executable file not found") || strstr(text, "no such file");
	int code = missing ? 127 : 126;
	bool oci = err->class == ERR_NO_COMMAND || err->class == ERR_NOT_EXECUTABLE || strstr(text,
		"unable to start container process");
	static const char dir[] = "process.cwd: chdir to ";
	const char *why = strrchr(text, ':');
	if (oci)
		err_set(err, ERR_INVALID_REQUEST, "OCI runtime exec failed: exec failed: %s: unknown",
			arena_cstr(&x->scratch, span_of(text)));
	else if (!strncmp(text, dir, sizeof(dir) - 1) && why[1] == ' ' && why[2])
		err_set(err, ERR_INVALID_REQUEST, "%s", arena_printf(&x->scratch, "OCI runtime exec failed: exec failed: unable to start "
			"container process: chdir to cwd (\"%.*s\") set in config.json failed: %c%s: unknown",
			(int)(why - text) - (int)sizeof(dir) + 1, text + sizeof(dir) - 1, tolower((unsigned char)why[2]), why + 3).ptr);
	return code;
}

static void answer(struct exec *x, const struct err *err)
{
	if (x->started)
		x->started(x, err);
	else
		container_ticket_answer(&x->ticket, err);
}

static void start_done(struct loop_work *w)
{
	struct exec *x = container_of(w, struct exec, work);
	struct container_engine *e = x->e;
	auto_err struct err err = ERR_INIT;
	x->working = false;
	err_move(&err, &x->err);
	if (!err.class && control_open(x, x->control_got, &err) == 0)
		x->control_got = -1;
	fd_close(&x->control_got);
	int code = err.class ? failure_word(x, &err) : 0;
	arena_reset(&x->scratch);
	if (!x->gone) /* of one that cannot run too: it was asked for */
		exec_event(x, "exec_start", NULL);
	if (err.class) {
		fd_close(&x->stream_got);
		container_streams_abandon(&x->streams);
		answer(x, &err);
		exec_ended(x, code);
		container_busy(e, -1);
		return;
	}
	x->state = EXEC_RUNNING;
	if (x->kill)
		container_exec_kill(x);
	struct container_stream *s = LIST_FIRST(&x->streams, struct container_stream, link_);
	if (s)
		(void)container_stream_attach(s, take_fd(&x->stream_got), &err); /* a failure ends the stream */
	fd_close(&x->stream_got); /* its client left meanwhile */
	answer(x, NULL);
	container_busy(e, -1);
}

void container_exec_run(struct exec *x, struct container_stream *s, unsigned rows, unsigned columns)
{
	x->state = EXEC_STARTING;
	x->container_pid = x->c->pid;
	x->container_config = json_copy(&x->scratch, x->c->config);
	x->host = json_copy(&x->scratch, x->c->host);
	const struct json *extra = container_extra_of(x->c);
	x->extra = extra ? json_copy(&x->scratch, extra) : JSON_NULL_VALUE;
	x->rows = (uint16_t)MIN(rows, 65535U);
	x->columns = (uint16_t)MIN(columns, 65535U);
	if (s) {
		container_stream_init(s, x->e, NULL, &x->streams);
		x->takes = container_stream_takes(s);
	}
	work_begin(x, "exec start", start_run, start_done);
}

void container_exec_start(struct container_engine *e, struct span exec_id, struct container_stream *s, unsigned rows,
	unsigned columns,
	struct container_call *call)
{
	auto_err struct err err = ERR_INIT;
	struct exec *x = exec_get(e, exec_id, &err);
	struct container *c = x ? x->c : NULL;
	if (x && x->state == EXEC_ENDED)
		err_set(&err, ERR_IN_USE, "exec command %s has already run", x->id);
	else if (x && x->state != EXEC_CREATED)
		err_set(&err, ERR_IN_USE, "exec command %s is already running", x->id);
	else if (x && c->status == STATUS_PAUSED)
		err_set(&err, ERR_IN_USE, "Container %s is paused, unpause the container before exec", c->id);
	else if (x && (c->status != STATUS_RUNNING || c->ending))
		err_set(&err, ERR_IN_USE, "container %s is not running", c->id);
	if (err.class) {
		if (s) /* its client may leave before it hears that */
			container_stream_init(s, e, NULL, NULL);
		container_fail_later(e, call, &err);
		return;
	}
	container_ticket_take(&x->ticket, call);
	container_exec_run(x, s, rows, columns);
}

/* ---- kill (of probes), resize, inspect */

static void kill_done(struct ask *a, const struct err *err)
{
	free(a); /* the end comes on the control socket */
}

void container_exec_kill(struct exec *x)
{
	struct ask *a = mem_new(struct ask);
	if (container_asks_send(&x->asks, x->control_sock, a, MONITOR_KILL, 9, 0, kill_done, NULL) < 0)
		free(a); /* it has ended */
}

void container_exec_stop(struct container_engine *e, struct span exec_id)
{
	struct exec *x = exec_get(e, exec_id, NULL);
	if (x && x->state == EXEC_STARTING)
		x->kill = true;
	else if (x && x->state == EXEC_RUNNING)
		container_exec_kill(x);
}

struct resize {
	struct ask ask;
	struct ticket ticket;
	struct container_engine *e;
};

static void resize_done(struct ask *a, const struct err *err)
{
	struct resize *r = container_of(a, struct resize, ask);
	struct container_engine *e = r->e;
	container_ticket_answer(&r->ticket, err);
	free(r);
	container_busy(e, -1);
}

static struct resize *resize_new(struct container_engine *e)
{
	struct resize *r = mem_new(struct resize);
	r->e = e;
	return r;
}

static void resize_sent(struct resize *r, int rc, struct container_call *call, struct err *err)
{
	struct container_engine *e = r->e;
	if (rc < 0) {
		free(r);
		container_fail_later(e, call, err);
		return;
	}
	container_busy(e, 1);
	container_ticket_take(&r->ticket, call);
}

static int size_check(unsigned rows, unsigned columns, struct err *err)
{
	return rows > 65535 || columns > 65535 ? err_set(err, ERR_INVALID_REQUEST, "invalid terminal size") : 0;
}

void container_resize(struct container_engine *e, struct span name, unsigned rows, unsigned columns, struct container_call *call)
{
	auto_err struct err err = ERR_INIT;
	char height[16], width[16];
	struct container *c = container_get(e, name, &err);
	struct resize *r = resize_new(e);
	int rc = c ? size_check(rows, columns, &err) : -ERR_NOT_FOUND;
	if (rc == 0)
		rc = container_ask(c, &r->ask, MONITOR_RESIZE, (int)rows, (int)columns, resize_done, &err);
	if (rc == 0) {
		snprintf(height, sizeof(height), "%u", rows);
		snprintf(width, sizeof(width), "%u", columns);
		container_event_send(c, "resize", "height", height, "width", width, NULL);
	}
	resize_sent(r, rc, call, &err);
}

void container_exec_resize(struct container_engine *e, struct span exec_id, unsigned rows, unsigned columns,
	struct container_call *call)
{
	auto_err struct err err = ERR_INIT;
	struct exec *x = exec_get(e, exec_id, &err);
	struct resize *r = resize_new(e);
	int rc = x ? size_check(rows, columns, &err) : -ERR_NOT_FOUND;
	if (rc == 0)
		rc = container_asks_send(&x->asks, x->control_sock, &r->ask, MONITOR_RESIZE, (int)rows, (int)columns, resize_done, &err);
	resize_sent(r, rc, call, &err);
}

int container_exec_inspect(struct container_engine *e, struct span exec_id, struct arena *a, struct json *out, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	struct exec *x = exec_get(e, exec_id, &why);
	if (!x)
		return err_move(err, &why);
	struct json v = json_object(), process = json_object(), args = json_array();
	const struct json *cmd = json_getl(&x->config, "Cmd");
	for (uint32_t i = 1; i < cmd->n; i++)
		json_push(a, &args, json_copy(a, &cmd->items[i]));
	json_setl(a, &process, "entrypoint", json_copy(a, &cmd->items[0]));
	json_setl(a, &process, "arguments", args);
	json_setl(a, &process, "tty", json_bool(container_truth(&x->config, "Tty")));
	json_setl(a, &process, "privileged", json_bool(container_truth(&x->config, "Privileged")));
	if (container_str(&x->config, "User").len)
		json_setl(a, &process, "user", json_str(arena_span(a, container_str(&x->config, "User"))));
	json_setl(a, &v, "ID", json_str(arena_span(a, span_of(x->id))));
	json_setl(a, &v, "Running", json_bool(x->state == EXEC_RUNNING || x->state == EXEC_STARTING));
	json_setl(a, &v, "ExitCode", x->state == EXEC_ENDED ? json_int(x->exit_code) : JSON_NULL_VALUE);
	json_setl(a, &v, "ProcessConfig", process);
	json_setl(a, &v, "OpenStdin", json_bool(container_truth(&x->config, "AttachStdin")));
	json_setl(a, &v, "OpenStdout", json_bool(container_truth(&x->config, "AttachStdout")));
	json_setl(a, &v, "OpenStderr", json_bool(container_truth(&x->config, "AttachStderr")));
	json_setl(a, &v, "CanRemove", json_bool(false));
	json_setl(a, &v, "ContainerID", json_str(arena_span(a, span_of(x->c->id))));
	json_setl(a, &v, "DetachKeys", json_cstr(""));
	json_setl(a, &v, "Pid", json_int(x->pid));
	*out = v;
	return 0;
}

/* ---- with the engine */

void container_execs_list(const struct container *c, struct arena *a, struct json *out)
{
	*out = json_array();
	LIST_EACH (&c->execs, x, struct exec, link)
		if (x->state == EXEC_RUNNING || x->state == EXEC_STARTING)
			json_push(a, out, json_str(arena_span(a, span_of(x->id))));
}

void container_execs_drop(struct container *c)
{
	LIST_EACH (&c->execs, x, struct exec, link)
		container_exec_drop(x);
}

void container_execs_close(struct container *c)
{
	auto_err struct err err = ERR_INIT;
	err_set(&err, ERR_UNAVAILABLE, "the engine is closing");
	LIST_EACH (&c->execs, x, struct exec, link) {
		waits_fail(x, &err);
		if (x->control_sock < 0)
			continue;
		loop_fd_close(&x->control, control_closed);
		fd_close(&x->control_sock);
		container_asks_fail(&x->asks);
	}
}
