/* `knarr-run monitor FOLDER [REQUEST]`: asks a monitor by hand; `attach` copies its output. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "monitor/monitor.h"

static const char *const phases[MONITOR_PHASE_COUNT] = { "building", "created", "running", "ended" };

static const struct {
	const char *name;
	enum monitor_op op;
	int numbers;
	const char *help;
} requests[] = {
	{ "status", MONITOR_STATUS, 0, "what it knows (the default)" },
	{ "wait", MONITOR_WAIT, 0, "the same when the container has ended" },
	{ "start", MONITOR_START, 0, "lets a held container run" },
	{ "kill", MONITOR_KILL, 1, "SIGNAL (a number)" },
	{ "resize", MONITOR_RESIZE, 2, "ROWS COLUMNS" },
	{ "attach", MONITOR_ATTACH, 0, "copies the container's output until it ends" },
	{ "close-stdin", MONITOR_CLOSE_STDIN, 0, "ends the container's input" },
	{ "rotate", MONITOR_ROTATE, 0, "begins a new log file" },
	{ "reopen", MONITOR_REOPEN, 0, "opens the log again by its name" },
	{ "quit", MONITOR_QUIT, 0, "ends a monitor whose container has ended" },
};

static int usage(int status)
{
	FILE *out = status ? stderr : stdout;
	fputs("usage: knarr-run monitor FOLDER [REQUEST]\n\nrequests to the monitor of a state folder:\n", out);
	for (size_t i = 0; i < ARRAY_LEN(requests); i++)
		fprintf(out, "   %-12s %s\n", requests[i].name, requests[i].help);
	return status;
}

static void exit_print(const struct monitor_exit *e)
{
	printf("phase=ended pid=%d exit=%d signal=%d oom_kills=%" PRIu64 " error=\"%s\"\n", e->pid, e->exit_code,
	       e->signal, e->oom_kills, e->error);
}

static int output_copy(int sock, struct err *err)
{
	static char data[MONITOR_LINE];
	int r = monitor_send(sock, MONITOR_ATTACH, 1, MONITOR_TAKE_STDOUT | MONITOR_TAKE_STDERR,
			     MONITOR_PATIENCE_MAX_MS, SPAN_EMPTY, err);
	while (r == 0) {
		struct monitor_head h;
		r = monitor_recv(sock, &h, data, sizeof(data), NULL, 0, NULL, err);
		if (r == 0 && h.op == MONITOR_OUTPUT)
			r = io_write_all(h.a, data, h.len, err);
		if (r == 0 && h.op == MONITOR_ERROR)
			return err_set(err, ERR_UPSTREAM, "%.*s", (int)h.len, data);
	}
	return r == -ERR_GONE ? 0 : r;
}

static int ask(int sock, size_t which, const int64_t *n, struct err *err)
{
	struct monitor_state s = { .phase = MONITOR_PHASE_COUNT };
	if (requests[which].op == MONITOR_ATTACH)
		return output_copy(sock, err);
	int r = monitor_call(sock, requests[which].op, (int32_t)n[0], (int32_t)n[1], &s, err);
	if (r == 0 && s.phase < MONITOR_PHASE_COUNT)
		printf("phase=%s pid=%d exit=%d signal=%d oom_kills=%" PRIu64 " log_bytes=%" PRIu64 " lost=%" PRIu64
		       " clients=%u error=\"%s\"\n",
		       phases[s.phase], s.pid, s.exit_code, s.signal, s.oom_kills, s.log_bytes, s.lost_records,
		       s.clients, s.error);
	return r;
}

int monitor_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	size_t which = 0;
	int64_t n[2] = { 0, 0 };
	if (argc == 2 && !strcmp(argv[1], "--help"))
		return usage(0);
	if (argc < 2)
		return usage(125);
	if (argc > 2)
		while (which < ARRAY_LEN(requests) && strcmp(argv[2], requests[which].name) != 0)
			which++;
	if (which == ARRAY_LEN(requests) || (argc > 3 ? argc - 3 : 0) != requests[which].numbers)
		return usage(125);
	for (int i = 0; i < requests[which].numbers; i++)
		if (!span_to_i64(span_of(argv[3 + i]), &n[i]) || n[i] < 0 || n[i] > 65535)
			return usage(125);
	auto_fd int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC), sock = -1;
	enum monitor_found found;
	struct monitor_exit end;
	int r = dir < 0 ? err_sys(&err, "%s", argv[1]) : monitor_find(dir, &found, &sock, &end, &err);
	if (r == 0 && found == MONITOR_FOUND_ALIVE && sock < 0)
		r = err_set(&err, ERR_UNAVAILABLE, "the monitor takes no more connections: it does not answer");
	else if (r == 0 && found == MONITOR_FOUND_ALIVE)
		r = ask(sock, which, n, &err);
	else if (r == 0 && found == MONITOR_FOUND_EXIT && which < 2)
		exit_print(&end);
	else if (r == 0)
		r = err_set(&err, found == MONITOR_FOUND_LOST ? ERR_UNAVAILABLE : ERR_NOT_FOUND, "%s: %s", argv[1],
			    found == MONITOR_FOUND_LOST	    ? "its monitor was killed"
			    : found == MONITOR_FOUND_EXIT ? "the container has ended"
							    : "no monitor was here");
	if (r == 0)
		return 0;
	fprintf(stderr, "knarr-run monitor: %s\n", err_msg(&err));
	return err_exit_code(-r);
}
