/* One CNI plugin, run to its end (CNI specification 1.1.0, section 2): parameters in the environment, configuration on standard
 * input, a result or an error on standard output. Blocks: for workers. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "cri/cni.h"
#include "sys/program.h"
#include "sys/sys.h"

#define OUTPUT_MAX (1u << 20)
#define PLUGIN_MS 120000

extern char **environ;

/* The first of the folders that has it. */
static const char *find(struct span folders, struct span type, struct arena *a, struct err *err)
{
	struct span rest = folders, dir;
	while (span_cut(&rest, ':', &dir)) {
		const char *path = arena_printf(a, "%.*s/%.*s", SPAN_ARG(dir), SPAN_ARG(type)).ptr;
		if (dir.len && access(path, X_OK) == 0)
			return path;
	}
	(void)err_set(err, ERR_NOT_FOUND, "failed to find plugin \"%.*s\" in path [%.*s]", SPAN_ARG(type), SPAN_ARG(folders));
	return NULL;
}

/* Ours over what we were given; plugins look for iptables and ip in PATH. */
static char **environment(struct arena *a, const struct cri_plugin *p)
{
	size_t n = 0, have = 0;
	bool path = false;
	while (environ[have])
		have++;
	char **env = arena_alloc_n(a, have + 8, sizeof(*env));
	for (size_t i = 0; i < have; i++) {
		if (span_starts(span_of(environ[i]), SPAN("CNI_")))
			continue;
		path |= span_starts(span_of(environ[i]), SPAN("PATH="));
		env[n++] = environ[i];
	}
	if (!path)
		env[n++] = (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	env[n++] = (char *)arena_printf(a, "CNI_COMMAND=%s", p->command).ptr;
	env[n++] = (char *)arena_printf(a, "CNI_CONTAINERID=%s", p->id).ptr;
	env[n++] = (char *)arena_printf(a, "CNI_NETNS=%s", p->netns).ptr;
	env[n++] = (char *)arena_printf(a, "CNI_IFNAME=%s", CRI_IFNAME).ptr;
	env[n++] = (char *)arena_printf(a, "CNI_ARGS=%.*s", SPAN_ARG(p->args)).ptr;
	env[n++] = (char *)arena_printf(a, "CNI_PATH=%.*s", SPAN_ARG(p->folders)).ptr;
	env[n] = NULL;
	return env;
}

struct pipes {
	int in[2], out[2], error[2];
};

static void pipes_close(struct pipes *p)
{
	int *all[] = { &p->in[0], &p->in[1], &p->out[0], &p->out[1], &p->error[0], &p->error[1] };
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		fd_close(all[i]);
}

/* What is there now. What is beyond the limit is read and dropped, in pieces, as somebody may write for ever. */
static void take_in(int *fd, struct buf *to)
{
	char piece[4096];
	for (unsigned i = 0; *fd >= 0 && i < OUTPUT_MAX / sizeof(piece); i++) {
		ssize_t n = read(*fd, piece, sizeof(piece));
		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0 && to->len < OUTPUT_MAX)
			buf_add(to, piece, (size_t)n);
		else if (n == 0 || (n < 0 && errno != EINTR))
			fd_close(fd);
	}
}

/* Feeds and reads until the process has ended or its time is over. Outputs say nothing about that: it may close them and go on,
 * and what it started may keep them open. */
static int converse(struct pipes *p, int pidfd, int ending, struct span input, struct buf *out, struct buf *error, struct err *err)
{
	int64_t end = clock_mono_ms(clock_real()) + PLUGIN_MS;
	for (bool over = false; !over;) {
		struct pollfd fds[] = { { p->in[1], POLLOUT, 0 }, { p->out[0], POLLIN, 0 }, { p->error[0], POLLIN, 0 },
			{ pidfd, POLLIN, 0 }, { ending, POLLIN, 0 } };
		int64_t left = end - clock_mono_ms(clock_real());
		if (left <= 0)
			return err_set(err, ERR_TIMEOUT, "it did not end within %d s", PLUGIN_MS / 1000);
		int n_ready = poll(fds, ARRAY_LEN(fds), (int)left);
		if (n_ready < 0 && errno != EINTR)
			return err_sys(err, "poll");
		if (n_ready <= 0)
			continue;
		if (fds[4].revents)
			return err_set(err, ERR_CANCELLED, "the engine is stopping");
		over = fds[3].revents != 0;
		if (fds[0].revents) {
			ssize_t n = write(p->in[1], input.ptr, input.len);
			if (n > 0)
				input = span_from(input, (size_t)n);
			if (!input.len || (n < 0 && errno != EAGAIN && errno != EINTR))
				fd_close(&p->in[1]); /* one that does not want to hear more says so itself */
		}
		take_in(&p->out[0], out);
		take_in(&p->error[0], error);
	}
	return 0;
}

static int pipe_make(int fds[2], struct err *err)
{
	return pipe2(fds, O_CLOEXEC) < 0 ? err_sys(err, "pipe") : 0;
}

static int run(const struct cri_plugin *plugin, const char *path, char **env, struct span input, struct buf *out, struct buf *error,
	int *out_status, struct err *err)
{
	struct pipes p = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	pid_t pid = -1;
	int rc = pipe_make(p.in, err);
	rc = rc < 0 ? rc : pipe_make(p.out, err);
	rc = rc < 0 ? rc : pipe_make(p.error, err);
	const int theirs[] = { p.in[0], p.out[1], p.error[1], [CRI_PLUGIN_LOCK_FD] = plugin->lock };
	const char *const argv[] = { path, NULL };
	/* In a group of its own: a helper that hangs is ended with it. */
	rc = rc < 0 ? rc : sys_program_start(path, argv, env, theirs, 0, ARRAY_LEN(theirs), &pid, err);
	if (rc == 0) {
		fd_close(&p.in[0]);
		fd_close(&p.out[1]);
		fd_close(&p.error[1]);
		auto_fd int pidfd = sys_pidfd_open(pid, 0);
		rc = pidfd < 0 ? err_sys(err, "watching %s", path) : 0;
		int *ours[] = { &p.in[1], &p.out[0], &p.error[0] };
		for (size_t i = 0; i < ARRAY_LEN(ours) && rc == 0; i++)
			rc = fcntl(*ours[i], F_SETFL, O_NONBLOCK) < 0 ? err_sys(err, "pipe") : 0;
		rc = rc < 0 ? rc : converse(&p, pidfd, plugin->ending, input, out, error, err);
	}
	pipes_close(&p);
	if (pid > 0) {
		if (rc < 0)
			(void)kill(-pid, SIGKILL);
		while (waitpid(pid, out_status, 0) < 0 && errno == EINTR)
			;
	}
	return rc;
}

/* {"code": 11, "msg": "...", "details": "..."} of section 5, or what it wrote elsewhere. */
static int failure(struct arena *a, struct span out, struct span error, int status, struct err *err)
{
	struct json v;
	if (json_parse(a, out, JSON_DUPLICATES_LAST, NULL, &v, NULL) == 0 && v.kind == JSON_OBJECT &&
	    json_span(json_getl(&v, "msg")).len) {
		struct span msg = json_span(json_getl(&v, "msg")), details = json_span(json_getl(&v, "details"));
		return err_set(err, ERR_INTERNAL, "%.*s%s%.*s", SPAN_ARG(msg), details.len ? "; " : "", SPAN_ARG(details));
	}
	struct span text = span_trim(error.len ? error : out);
	return err_set(err, ERR_INTERNAL, "netplugin failed with no error message: exit status %d: %.*s",
		WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), SPAN_ARG(span_sub(text, 0, 1024)));
}

int cri_plugin_run(const struct cri_plugin *p, struct arena *a, struct json *out_result, struct err *err)
{
	auto_buf struct buf input = {}, out = {}, error = {};
	struct span type = json_span(json_getl(p->config, "type"));
	int status = 0;
	const char *path = find(p->folders, type, a, err);
	if (!path)
		return -ERR_NOT_FOUND;
	json_write(&input, p->config, 0);
	int rc = run(p, path, environment(a, p), buf_span(&input), &out, &error, &status, err);
	if (rc == 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
		rc = failure(a, buf_span(&out), buf_span(&error), status, err);
	*out_result = JSON_NULL_VALUE;
	if (rc == 0 && out_result && !strcmp(p->command, "ADD") &&
	    (json_parse(a, arena_span(a, buf_span(&out)), JSON_DUPLICATES_LAST, NULL, out_result, err) < 0 ||
		    out_result->kind != JSON_OBJECT))
		rc = err_set(err, ERR_UPSTREAM, "its result is no JSON object");
	if (rc == 0)
		return 0;
	/* As libcni words it. */
	auto_free char *verb = mem_dup(p->command, strlen(p->command));
	for (char *s = verb; *s; s++)
		*s = (char)(*s | 32);
	return err_note(err, "plugin type=\"%.*s\" failed (%s)", SPAN_ARG(type), verb);
}
