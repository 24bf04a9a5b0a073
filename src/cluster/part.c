/* One part: a process that is started, asked whether it is well, and started again when it ends.
 *
 *              part_start                 probe answers 2xx
 *     ENDED ──────────────▶ STARTING ──────────────────────▶ READY
 *       ▲                      │ ends                          │ ends
 *       │ stopping             ▼                               │
 *       └────────────────── WAITING ◀─────────────────────────┘
 *                              │ back-off over
 *                              └────▶ STARTING
 *
 * Its sockets are the supervisor's and listen all the time: the first probe of a new process waits in the queue of its socket and
 * is
 * answered with the first breath. Parts without such a socket are asked again after 5 ms, doubling to 200 ms. */
#include "cluster/server.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "sys/sys.h"

#define LOG_MAX (10 << 20)
#define LIFE_MS 60000	  /* who lived that long begins anew with the back-off */
#define BACK_FIRST_MS 500
#define BACK_MAX_MS 30000
#define PROBE_FIRST_MS 5
#define PROBE_MAX_MS 200
#define START_MS 60000	  /* an answer of a part that starts may take that long */
#define LOOK_MS 5000
#define BAD_MAX 3

static const struct http_call_ops probe_ops;

static void probe(struct part *p);

/* Doubled n times, up to most. */
static int64_t back_off(int64_t first_ms, int64_t most_ms, unsigned n)
{
	int64_t ms = first_ms << MIN(n, 16U);
	return MIN(ms, most_ms);
}

/* ---- its log */

/* All of it; false and errno: not. Not every file system copies inside the kernel. */
static bool copy_all(int from, int to)
{
	char b[16384];
	off_t at = 0;
	ssize_t n;
	while ((n = copy_file_range(from, &at, to, NULL, 1 << 20, 0)) > 0)
		;
	if (n == 0 && at > 0)
		return true;
	while ((n = pread(from, b, sizeof(b), at)) > 0) {
		if (write(to, b, (size_t)n) != n)
			return false;
		at += n;
	}
	return n == 0;
}

/* The older one is replaced, the file itself is emptied and not exchanged: the part goes on writing at its end (O_APPEND). A line
 * written between the last copied byte and the cut is lost; nothing is waited for. What could not be copied is kept: a log that is
 * too long is better than none. */
static void log_rotate(const struct server *s, const char *name, int fd)
{
	auto_buf struct buf old = {};
	struct stat st;
	if (fstat(fd, &st) < 0 || st.st_size < LOG_MAX)
		return;
	buf_printf(&old, "%s/%s.log.1", s->l.log.ptr, name);
	auto_fd int to = open(buf_cstr(&old), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (to < 0)
		return;
	if (!copy_all(fd, to) || ftruncate(fd, 0) < 0)
		log_warn("rotating a log", kv_str("part", name), kv_i64("errno", errno));
}

static int log_open_part(const struct server *s, const char *name, struct err *err)
{
	auto_buf struct buf path = {};
	buf_printf(&path, "%s/%s.log", s->l.log.ptr, name);
	auto_fd int fd = open(buf_cstr(&path), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, "%s", buf_cstr(&path));
	log_rotate(s, name, fd);
	return take_fd(&fd);
}

void part_log_look(const struct server *s, const char *name)
{
	auto_buf struct buf path = {};
	buf_printf(&path, "%s/%s.log", s->l.log.ptr, name);
	auto_fd int fd = open(buf_cstr(&path), O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		log_rotate(s, name, fd);
}

/* ---- its life */

static void forget_call(struct part *p)
{
	struct http_call *call = p->call;
	p->call = NULL; /* its done finds itself unknown */
	if (call)
		http_call_cancel(call);
}

static void set_state(struct part *p, enum cluster_part_state state)
{
	p->state = state;
	server_changed(p->server);
}

static void become_ready(struct part *p)
{
	p->ready_ms = loop_now_ms(p->server->loop) - p->began_ms;
	p->bad = 0;
	buf_trunc(&p->health, 0);
	set_state(p, CLUSTER_PART_READY);
	log_info("ready", kv_str("part", p->name), kv_i64("pid", p->proc.pid), kv_i64("ms", p->ready_ms));
	server_part_ready(p->server, p);
}

static void on_ended(struct proc *proc, int status, const struct rusage *used)
{
	struct part *p = container_of(proc, struct part, proc);
	struct server *s = p->server;
	auto_buf struct buf how = {};
	int64_t lived_ms = loop_now_ms(s->loop) - p->began_ms;
	forget_call(p);
	loop_timer_stop(&p->timer);
	proc_status_text(&how, status);
	snprintf(p->last_end, sizeof(p->last_end), "%s", buf_cstr(&how));
	if (s->stopping) {
		set_state(p, CLUSTER_PART_ENDED);
		server_part_ended(s, p);
		return;
	}
	if (lived_ms >= LIFE_MS)
		p->ends = 0;
	int64_t wait_ms = p->ends == 0 ? 0 : back_off(BACK_FIRST_MS, BACK_MAX_MS, p->ends - 1);
	p->ends++;
	p->restarts++;
	log_warn("ended", kv_str("part", p->name), kv_span("how", buf_span(&how)), kv_i64("lived_ms", lived_ms), kv_i64("again_ms",
		wait_ms));
	set_state(p, CLUSTER_PART_WAITING);
	loop_timer_start(&p->timer, wait_ms);
}

void part_start(struct part *p)
{
	struct server *s = p->server;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct part_args args = { .arena = &a };
	unsigned id = (unsigned)(p->row - part_rows);
	int fds[SOCKETS], rc = 0;
	unsigned n_fds = 0;
	part_arg(&args, "knarr");
	part_arg(&args, "%s", p->row->applet);
	p->row->arguments(s, &args);
	for (unsigned i = 0; i < s->s.args[id].n; i++)
		part_arg(&args, "%s", s->s.args[id].text[i].ptr);
	args.v[args.n] = NULL;
	for (unsigned i = 0; i < SOCKETS; i++)
		if (p->row->sockets & SOCKET_BIT(i) && s->sockets[i] >= 0)
			fds[n_fds++] = s->sockets[i];
	p->began_ms = loop_now_ms(s->loop);
	p->began_s = loop_wall_ns(s->loop) / NS_PER_S;
	p->ready_ms = -1;
	p->probes = 0;
	auto_fd int log = log_open_part(s, p->name, &err);
	const struct proc_wish wish = { .path = s->l.program.ptr, .argv = args.v, .fds = fds, .n_fds = n_fds, .listen = n_fds > 0,
		.in = -1,
					.out = log, .err = log, .dir = "/", .group = PROC_GROUP_OWN, .death_signal = SIGKILL };
	rc = log < 0 ? -(int)err.class : proc_start(&p->proc, s->loop, p->name, &wish, on_ended, &err);
	if (rc < 0) {
		p->ends++;
		p->restarts++;
		log_error("cannot be started", kv_str("part", p->name), kv_err(&err));
		snprintf(p->last_end, sizeof(p->last_end), "not started");
		buf_trunc(&p->health, 0);
		buf_str(&p->health, err_msg(&err));
		set_state(p, CLUSTER_PART_WAITING);
		loop_timer_start(&p->timer, back_off(BACK_FIRST_MS, BACK_MAX_MS, p->ends - 1));
		return;
	}
	struct sys_process at = {};
	(void)sys_process_read(p->proc.pid, &at, NULL); /* ended already: its number is asked for by nobody */
	p->start_ticks = at.start_ticks;
	set_state(p, CLUSTER_PART_STARTING);
	probe(p);
}

static void on_timer(struct loop_timer *t)
{
	struct part *p = container_of(t, struct part, timer);
	if (p->state == CLUSTER_PART_WAITING)
		part_start(p);
	else
		probe(p);
}

/* ---- is it well? */

static void probe_failed(struct part *p, const char *why)
{
	buf_trunc(&p->health, 0);
	buf_str(&p->health, why);
	if (p->state == CLUSTER_PART_STARTING) {
		loop_timer_start(&p->timer, back_off(PROBE_FIRST_MS, PROBE_MAX_MS, p->probes++));
		return;
	}
	server_changed(p->server);
	log_warn("not well", kv_str("part", p->name), kv_str("why", why), kv_u64("times", p->bad + 1));
	if (++p->bad < BAD_MAX)
		loop_timer_start(&p->timer, LOOK_MS);
	else
		proc_signal(&p->proc, SIGKILL); /* it hangs; what it holds is on disk or made anew from lists */
}

static void on_probe_done(struct http_call *c, const struct err *why, void *arg)
{
	struct part *p = arg;
	int status = why ? 0 : http_call_status(c);
	char text[32];
	if (p->call != c)
		return;
	p->call = NULL;
	if (why) {
		probe_failed(p, err_msg(why));
	} else if (status / 100 != 2 && !p->any_status) {
		snprintf(text, sizeof(text), "answers %d", status);
		probe_failed(p, text);
	} else if (p->state == CLUSTER_PART_STARTING) {
		become_ready(p);
	} else if (p->bad) {
		p->bad = 0;
		buf_trunc(&p->health, 0);
		server_changed(p->server);
	}
}

static void on_probe_data(struct http_call *c, struct span data, void *arg)
{
}

static const struct http_call_ops probe_ops = { .data = on_probe_data, .done = on_probe_done };

static void probe(struct part *p)
{
	struct part_probe how;
	auto_err struct err err = ERR_INIT;
	struct server *s = p->server;
	p->row->probe(s, &how);
	if (!how.target)
		return;
	p->any_status = how.any;
	struct http_origin origin = { .host = "localhost" };
	if (how.unix_path) {
		origin.unix_path = how.unix_path->ptr;
	} else {
		origin.tls = !how.plain;
		origin.host = "127.0.0.1";
		origin.port = how.port;
		origin.tls_ctx = how.plain ? NULL : s->any_tls;
	}
	const struct http_call_params call = { .origin = &origin, .method = "GET", .target = span_of(how.target),
					       .total_ms = p->state == CLUSTER_PART_STARTING ? START_MS : LOOK_MS, .ops = &probe_ops, .arg = p };
	if (http_call_begin(s->http, &call, &p->call, &err) < 0) {
		p->call = NULL;
		probe_failed(p, err_msg(&err));
	}
}

void part_notice(struct part *p)
{
	if (p->state == CLUSTER_PART_STARTING && !p->call)
		become_ready(p);
}

void part_look(struct part *p)
{
	if (p->state != CLUSTER_PART_READY || p->call || loop_timer_running(&p->timer))
		return;
	probe(p);
}

/* ---- */

bool part_stop(struct part *p, int signum)
{
	loop_timer_stop(&p->timer);
	forget_call(p);
	if (!p->proc.running) {
		if (p->state != CLUSTER_PART_ENDED)
			set_state(p, CLUSTER_PART_ENDED);
		return false;
	}
	proc_signal(&p->proc, signum);
	return true;
}

void part_init(struct part *p, struct server *s, unsigned id)
{
	*p = (struct part){ .server = s, .row = &part_rows[id], .name = cluster_part_names[id],
			    .state = CLUSTER_PART_ENDED, .ready_ms = -1 };
	loop_timer_init(&p->timer, s->loop, p->name, on_timer);
}

void part_done(struct part *p)
{
	loop_timer_stop(&p->timer);
	forget_call(p);
	buf_done(&p->health);
}
