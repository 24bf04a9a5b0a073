/* exec: a command in a container, over a WebSocket with a channel in the first byte of each message (v5.channel.k8s.io, v4):
 * 0 stdin, 1 stdout, 2 stderr, 3 how it ended (a Status), 4 the terminal's size; v5: 255 and a channel, which ends. */
#include "front/private.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define PIECE 32768
#define QUEUED_MAX (256u << 10) /* more waits for the server: nothing is read from standard input */

enum channel { CHANNEL_STDIN, CHANNEL_STDOUT, CHANNEL_STDERR, CHANNEL_STATUS, CHANNEL_SIZE, CHANNEL_END = 255 };

struct exec {
	struct front *f;
	struct span container;
	bool in, tty, quiet;
	char key[25];
	struct http_link *link;   /* NULL before and after */
	struct loop_fd input;     /* of in_fd, when that can be waited for */
	struct loop_task more;    /* else the next piece: files and /dev/null */
	int in_fd;                /* owned unless it is 0; -1 = none */
	bool v5, in_over, over, lost;
	struct loop_signal resized;
	struct termios before;    /* of the terminal, while it is raw */
	bool raw;
	struct buf status;
	struct err *err;
	int rc;
};

static void send_on(struct exec *x, enum channel channel, struct span data)
{
	uint8_t first = (uint8_t)channel;
	auto_buf struct buf b = {};
	if (!x->link)
		return;
	buf_add(&b, &first, 1);
	buf_span_add(&b, data);
	http_ws_send(http_link_ws(x->link), HTTP_WS_BINARY, buf_span(&b), true);
	http_link_flush(x->link);
}

/* ---- standard input */

static void input_end(struct exec *x)
{
	static const char stdin_channel = CHANNEL_STDIN;
	if (x->in_over)
		return;
	x->in_over = true;
	if (loop_fd_is_open(&x->input))
		loop_fd_close(&x->input, NULL);
	loop_task_cancel(&x->more);
	if (x->v5) /* v4 has no word for it */
		send_on(x, CHANNEL_END, span_make(&stdin_channel, 1));
}

/* False: nothing more for now. */
static bool input_read(struct exec *x)
{
	char piece[PIECE];
	if (!x->link || x->in_over || http_link_queued(x->link) > QUEUED_MAX)
		return false;
	ssize_t n = read(x->in_fd, piece, sizeof(piece));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0)
		input_end(x);
	else
		send_on(x, CHANNEL_STDIN, span_make(piece, (size_t)n));
	return n > 0;
}

static void on_input(struct loop_fd *fd, unsigned events)
{
	struct exec *x = container_of(fd, struct exec, input);
	(void)input_read(x);
	if (loop_fd_is_open(fd) && x->link)
		loop_fd_want(fd, http_link_queued(x->link) > QUEUED_MAX ? 0 : LOOP_READ);
}

static void on_more(struct loop_task *t)
{
	struct exec *x = container_of(t, struct exec, more);
	if (input_read(x))
		loop_defer(x->f->loop, t);
}

static void on_drain(struct http_link *k, void *arg)
{
	struct exec *x = arg;
	if (loop_fd_is_open(&x->input))
		loop_fd_want(&x->input, LOOP_READ);
	else if (x->in && !x->in_over)
		loop_defer(x->f->loop, &x->more);
}

/* Non-blocking is a property of what is open, which the shell and standard output share: it is opened a second time for us. What
 * cannot be waited for (files) is read piece by piece as it is. */
static void input_begin(struct exec *x)
{
	struct stat st;
	if (!x->in)
		return;
	if (fstat(STDIN_FILENO, &st) == 0 && !S_ISREG(st.st_mode)) {
		x->in_fd = open("/proc/self/fd/0", O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		if (x->in_fd < 0) /* a socket */
			x->in_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	}
	if (x->in_fd > 0 && loop_fd_open(&x->input, x->f->loop, "standard input", x->in_fd, on_input, NULL) == 0) {
		loop_fd_want(&x->input, LOOP_READ);
		return;
	}
	if (x->in_fd > 0)
		(void)close(x->in_fd);
	x->in_fd = STDIN_FILENO;
	loop_defer(x->f->loop, &x->more);
}

/* ---- the terminal */

static void tell_size(struct exec *x)
{
	struct winsize w;
	auto_buf struct buf b = {};
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) < 0 || !w.ws_col)
		return;
	buf_printf(&b, "{\"Width\":%u,\"Height\":%u}\n", w.ws_col, w.ws_row);
	send_on(x, CHANNEL_SIZE, buf_span(&b));
}

static void on_resized(struct loop_signal *s)
{
	tell_size(container_of(s, struct exec, resized));
}

static void terminal_begin(struct exec *x)
{
	if (!x->tty)
		return;
	if (tcgetattr(STDIN_FILENO, &x->before) == 0) {
		struct termios raw = x->before;
		cfmakeraw(&raw);
		x->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
	}
	tell_size(x);
	/* Without it a new size is not told; the command runs all the same. */
	(void)loop_signal_open(&x->resized, x->f->loop, "terminal size", SIGWINCH, on_resized, NULL);
}

/* ---- the connection */

static void on_message(struct http_ws *ws, enum http_ws_kind kind, struct span data, void *arg)
{
	struct exec *x = arg;
	int channel = data.len ? (uint8_t)data.ptr[0] : -1, rc = 0;
	struct span rest = data.len ? span_from(data, 1) : data;
	if (channel == CHANNEL_STDOUT)
		rc = io_write_all(STDOUT_FILENO, rest.ptr, rest.len, x->err);
	else if (channel == CHANNEL_STDERR)
		rc = io_write_all(STDERR_FILENO, rest.ptr, rest.len, x->err);
	else if (channel == CHANNEL_STATUS)
		buf_span_add(&x->status, rest);
	if (rc < 0 && x->rc == 0) { /* nobody reads us any more */
		x->rc = rc;
		http_ws_close(ws, HTTP_WS_GOING_AWAY, SPAN_EMPTY);
	}
}

static void on_gone(struct http_link *k, const struct err *why, void *arg)
{
	struct exec *x = arg;
	x->link = NULL;
	x->over = true;
	x->lost = !x->status.len;
	if (x->lost && x->rc == 0)
		x->rc = err_set(x->err, ERR_UPSTREAM, "the connection to the container was lost%s%s", why ? ": " : "", why
			? err_msg(why) : "");
}

static int on_switched(struct http_call *c, void *arg, struct err *err)
{
	static const struct http_ws_ops ops = { .message = on_message };
	static const struct http_link_ops link_ops = { .drain = on_drain, .gone = on_gone };
	struct exec *x = arg;
	struct span protocol = http_call_header(c, "sec-websocket-protocol");
	x->v5 = span_is(protocol, "v5.channel.k8s.io");
	if (!x->v5 && !span_is(protocol, "v4.channel.k8s.io"))
		return err_set(err, ERR_UPSTREAM, "the server speaks neither v5.channel.k8s.io nor v4.channel.k8s.io");
	int rc = http_ws_join(c, x->key, &(struct http_ws_params){ .ops = &ops, .arg = x }, &link_ops, x, &x->link, err);
	if (rc < 0)
		return rc;
	terminal_begin(x);
	input_begin(x);
	return 0;
}

static void on_done(const struct err *why, void *arg)
{
	struct exec *x = arg;
	if (!why)
		return;
	x->over = true;
	x->rc = err_set(x->err, why->class, "%s", err_msg(why));
	x->f->said.answered = why->class != ERR_UNAVAILABLE && why->class != ERR_TIMEOUT && why->class != ERR_UPSTREAM &&
			      !span_starts(span_of(err_msg(why)), SPAN(CLIENT_UPGRADE_REFUSED));
	x->f->said.reason = span_of(err_kube_reason((int)why->class));
}

static void path_of(const struct exec *x, const struct json *pod, const struct front_words *command, struct buf *out)
{
	static const struct client_kind pods = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("pods"), true };
	client_path(out, &pods, json_span(json_path(pod, "metadata", "namespace", NULL)), json_span(json_path(pod, "metadata", "name",
		NULL)),
		    "exec");
	for (unsigned i = 0; i < command->n; i++) {
		buf_str(out, i ? "&command=" : "?command=");
		percent_add(out, command->items[i], NULL);
	}
	buf_str(out, "&container=");
	percent_add(out, x->container, NULL);
	buf_printf(out, "%s&stdout=true%s%s", x->in ? "&stdin=true" : "", x->tty ? "" : "&stderr=true", x->tty ? "&tty=true" : "");
}

/* How it ended: 0, the command's own code, or a failure. */
static int outcome(struct exec *x, struct err *err)
{
	auto_arena struct arena a = {};
	struct json status;
	int64_t code;
	int rc = json_parse(&a, buf_span(&x->status), JSON_DUPLICATES_LAST, NULL, &status, err);
	if (rc < 0)
		return err_note(err, "the end of the command");
	if (span_is(json_span(json_getl(&status, "status")), "Success"))
		return 0;
	if (span_is(json_span(json_getl(&status, "reason")), "NonZeroExitCode"))
		JSON_EACH_ITEM(json_path(&status, "details", "causes", NULL), c)
			if (span_is(json_span(json_getl(c, "reason")), "ExitCode") && span_to_i64(json_span(json_getl(c, "message")), &code) &&
			    code > 0 && code < 256) {
				(void)fprintf(stderr, "command terminated with exit code %d\n", (int)code);
				return (int)code;
			}
	return err_set(err, ERR_UPSTREAM, "%.*s", SPAN_ARG(json_span(json_getl(&status, "message"))));
}

static int run_in(struct exec *x, const struct json *pod, const struct front_words *command, struct err *err)
{
	auto_buf struct buf path = {};
	http_ws_key(x->key);
	const struct http_field fields[] = {
		{ SPAN("sec-websocket-key"), span_of(x->key) }, { SPAN("sec-websocket-version"), SPAN("13") },
		{ SPAN("sec-websocket-protocol"), SPAN("v5.channel.k8s.io, v4.channel.k8s.io") },
	};
	path_of(x, pod, command, &path);
	x->err = err;
	(void)client_upgrade_open(x->f->client, &(struct client_upgrade_params){ .method = "GET", .protocol = "websocket",
			.path = buf_span(&path), .fields = fields, .n_fields = ARRAY_LEN(fields), .switched = on_switched, .done = on_done,
			.arg = x });
	while (!x->over)
		(void)loop_turn(x->f->loop, true);
	x->in_over = true;
	if (loop_fd_is_open(&x->input))
		loop_fd_close(&x->input, NULL);
	loop_task_cancel(&x->more);
	if (x->resized.handle)
		loop_signal_close(&x->resized, NULL);
	if (x->raw)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &x->before);
	if (x->in_fd > 0)
		(void)close(x->in_fd);
	(void)loop_turn(x->f->loop, false); /* closings: what was open is in this frame */
	return x->rc < 0 ? x->rc : outcome(x, err);
}

static int run(struct exec *x, struct front_args *args, struct front_targets *targets, struct err *err)
{
	struct front *f = x->f;
	struct front_words *w = &args->words;
	struct json object, pod;
	unsigned n;
	if (args->dash < 0 && w->n > 1)
		return err_set(err, ERR_USAGE,
			"exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\nSee 'kubectl exec "
			       "-h' for help and examples");
	if (!w->n || args->dash == 0)
		return err_set(err, ERR_USAGE, "pod, type/name or --filename must be specified");
	if (w->n == 1)
		return err_set(err, ERR_USAGE, "you must specify at least one command for the container");
	if (args->dash != 1)
		return err_set(err, ERR_USAGE,
			"exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\nSee 'kubectl exec "
			       "-h' for help and examples");
	const struct front_words command = { w->items + 1, w->n - 1 };
	int rc = front_discover(f, err);
	struct span one = span_chr(w->items[0], '/') >= 0 ? w->items[0] : arena_printf(&f->arena, "pods/%.*s", SPAN_ARG(w->items[0]));
	const struct front_words words = { &one, 1 };
	if (rc == 0)
		rc = front_targets_words(f, &words, targets, err);
	if (rc == 0)
		rc = front_pod_of(f, &targets->items[0], &object, &pod, &n, err);
	if (rc < 0)
		return rc;
	struct span phase = json_span(json_path(&pod, "status", "phase", NULL));
	if (span_is(phase, "Succeeded") || span_is(phase, "Failed"))
		return err_set(err, ERR_USAGE, "cannot exec into a container in a completed pod; current phase is %.*s", SPAN_ARG(phase));
	if (!x->container.len)
		rc = front_pod_container(&pod, x->quiet, &x->container, err);
	if (rc < 0)
		return rc;
	if (x->tty && (!x->in || !isatty(STDIN_FILENO))) {
		if (x->in)
			(void)fprintf(stderr, "Unable to use a TTY - input is not a terminal or the right kind of file\n");
		x->tty = false;
	}
	return run_in(x, &pod, &command, err);
}

int front_exec_main(struct front *f, int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct exec x = { .f = f, .in_fd = -1, .status = { .limit = 1 << 20 } };
	struct front_targets targets = {};
	struct front_args args;
	const struct front_flag flags[] = {
		{ "container", 'c', FRONT_FLAG_TEXT, &x.container, NULL, "which container" },
		{ "stdin", 'i', FRONT_FLAG_BOOL, &x.in, NULL, "hand standard input over" },
		{ "tty", 't', FRONT_FLAG_BOOL, &x.tty, NULL, "standard input is a terminal" },
		{ "quiet", 'q', FRONT_FLAG_BOOL, &x.quiet, NULL, "only what the command prints" },
		{},
	};
	int rc = front_verb_args(f, "exec", "(POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]",
				 "Runs a command in a container.", flags, argc, argv, &args);
	if (rc)
		return rc < 0;
	loop_task_init(&x.more, on_more);
	rc = run(&x, &args, &targets, &err);
	if (rc < 0)
		(void)front_complain(f, &err, NULL);
	buf_done(&x.status);
	front_targets_done(&targets);
	return rc < 0 ? 1 : rc;
}
