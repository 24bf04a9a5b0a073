/* The command line of runc: global options, log, the table of commands.
 *
 * What other programs depend on is as runc has it: --log with --log-format json gets one JSON object a line with level, msg and
 * time (containerd reads the last error from there), errors also go to standard error, exit status 1, for `exec` 255, for
 * `run` and `exec` otherwise the program's own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/cli.h"

#define SPEC_VERSION "1.2.0"

struct cli runtime_cli;

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv, struct err *err);
	int error_status; /* exit status of a failure */
	bool builds;	  /* lets foreign programs see this process: needs the protected program file */
	const char *help;
} commands[] = {
	{ "create", runtime_cli_create, 1, true, "build a container from a bundle, up to the program" },
	{ "delete", runtime_cli_delete, 1, false, "remove what a stopped container left" },
	{ "events", runtime_cli_events, 1, false, "print statistics and out-of-memory events" },
	{ "exec", runtime_cli_exec, 255, true, "run one more process in a container" },
	{ "features", runtime_cli_features, 1, false, "print what this runtime can do, as JSON" },
	{ "kill", runtime_cli_kill, 1, false, "send a signal to the container" },
	{ "list", runtime_cli_list_containers, 1, false, "list the containers of this root" },
	{ "pause", runtime_cli_pause, 1, false, "freeze all processes" },
	{ "ps", runtime_cli_ps, 1, false, "list the processes of a container" },
	{ "resume", runtime_cli_resume, 1, false, "thaw all processes" },
	{ "run", runtime_cli_run, 1, true, "create and start, wait and delete" },
	{ "spec", runtime_cli_spec, 1, false, "write a config.json to start from" },
	{ "start", runtime_cli_start, 1, false, "let a created container's program run" },
	{ "state", runtime_cli_state, 1, false, "print the state of a container" },
	{ "update", runtime_cli_update, 1, false, "change resource limits" },
};

/* ---- log */

static void log_line(const char *level, const char *text)
{
	char time[40];
	int64_t now_ns = clock_wall_ns(clock_real());
	auto_buf struct buf b = {};
	time_format(time, now_ns / NS_PER_S, 0, 0);
	if (runtime_cli.log_format && !strcmp(runtime_cli.log_format, "json")) {
		struct json_out o = { .buf = &b };
		json_out_begin(&o);
		json_out_kspan(&o, "level", span_of(level));
		json_out_kspan(&o, "msg", span_of(text));
		json_out_kspan(&o, "time", span_of(time));
		json_out_end(&o);
	} else {
		buf_printf(&b, "time=\"%s\" level=%s msg=", time, level);
		json_write_string(&b, span_of(text), 0);
	}
	buf_chr(&b, '\n');
	auto_fd int fd = runtime_cli.log ? open(runtime_cli.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)
					 : fcntl(2, F_DUPFD_CLOEXEC, 3);
	if (fd >= 0)
		(void)io_write_all(fd, b.ptr, b.len, NULL); /* there is no other place to complain */
}

void runtime_cli_warn(const char *text)
{
	log_line("warning", text);
}

void runtime_cli_fail(const struct err *err)
{
	log_line("error", err_msg(err));
	if (runtime_cli.log) {
		(void)!write(2, err_msg(err), strlen(err_msg(err)));
		(void)!write(2, "\n", 1);
	}
}

/* ---- options */

static const struct cli_option *option_find(const struct cli_option *options, size_t n, struct span name)
{
	for (size_t i = 0; i < n; i++) {
		struct span rest = span_of(options[i].names), one;
		while (span_cut(&rest, ' ', &one))
			if (span_eq(one, name))
				return &options[i];
	}
	return NULL;
}

static int option_take(const struct cli_option *o, const char *value, struct err *err)
{
	int64_t n;
	struct cli_list *list;
	switch (o->kind) {
	case CLI_FLAG:
		if (o->out)
			*(bool *)o->out = !value || !strcmp(value, "true") || !strcmp(value, "1");
		return 0;
	case CLI_TEXT:
		if (o->out)
			*(const char **)o->out = value;
		return 0;
	case CLI_INT:
		if (!span_to_i64(span_of(value), &n) || n < INT32_MIN || n > INT32_MAX)
			return err_set(err, ERR_USAGE, "invalid value \"%s\" for flag -%s: not a number", value,
				       o->names);
		if (o->out)
			*(int *)o->out = (int)n;
		return 0;
	case CLI_LIST:
		list = o->out;
		if (list->n == ARRAY_LEN(list->items))
			return err_set(err, ERR_USAGE, "flag -%s is given more than %zu times", o->names,
				       ARRAY_LEN(list->items));
		list->items[list->n++] = value;
		return 0;
	}
	return 0;
}

int runtime_cli_parse(const struct cli_option *options, size_t n, int *argc, char ***argv, struct err *err)
{
	int i = 1;
	for (; i < *argc; i++) {
		const char *word = (*argv)[i];
		if (word[0] != '-' || !word[1])
			break;
		if (!strcmp(word, "--")) {
			i++;
			break;
		}
		struct span name = span_of(word + 1 + (word[1] == '-')), value;
		bool has = span_split(name, '=', &name, &value);
		const struct cli_option *o = option_find(options, n, name);
		if (!o)
			return err_set(err, ERR_USAGE, "flag provided but not defined: %s", word);
		const char *text = has ? value.ptr : NULL;
		if (!text && o->kind != CLI_FLAG) {
			if (++i >= *argc)
				return err_set(err, ERR_USAGE, "flag needs an argument: %s", word);
			text = (*argv)[i];
		}
		int r = option_take(o, text, err);
		if (r < 0)
			return r;
	}
	*argc -= i;
	*argv += i;
	return 0;
}

int runtime_cli_count(int argc, int min, int max, struct err *err)
{
	if (argc < min)
		return err_set(err, ERR_USAGE,
			       min == 1 ? "container id cannot be empty" : "requires at least %d arguments", min);
	if (max >= 0 && argc > max)
		return err_set(err, ERR_USAGE, "requires at most %d argument(s), found %d", max, argc);
	return 0;
}

void runtime_cli_opts_init(struct runtime_opts *o, const char *id)
{
	*o = (struct runtime_opts){ .root = runtime_cli.root,
				    .id = id,
				    .systemd_cgroup = runtime_cli.systemd_cgroup,
				    .cache_dir = runtime_cli.cache_dir,
				    .warn = runtime_cli_warn };
	/* Sockets handed to us by socket activation are the container's (sd_listen_fds(3)). */
	const char *n = getenv("LISTEN_FDS");
	int64_t fds;
	if (n && span_to_i64(span_of(n), &fds) && fds > 0 && fds < 1024)
		o->preserve_fds = (int)fds;
}

void runtime_cli_signals_hold(void)
{
	sigset_t set;
	sys_signals_all(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int runtime_cli_wait(struct runtime_container *c)
{
	int status = 0;
	if (c->terminal >= 0) {
		status = runtime_console_relay(c->terminal, c->pidfd, c->pid);
	} else {
		sigset_t set;
		sys_signals_all(&set);
		while (waitpid(c->pid, &status, WNOHANG) == 0) {
			siginfo_t info;
			int sig = sigwaitinfo(&set, &info);
			if (sig > 0 && sig != SIGCHLD && sig != SIGURG)
				(void)sys_pidfd_send_signal(c->pidfd, sig); /* it may be gone: the loop sees that */
		}
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- main */

static void version_print(const char *program)
{
	const struct scmp_version *v = seccomp_version();
	printf("%s version %s\nspec: %s\nlibseccomp: %u.%u.%u\n", program, KNARR_VERSION, SPEC_VERSION, v->major,
	       v->minor, v->micro);
}

static void help_print(const char *program)
{
	printf("%s: runs containers from OCI bundles\n\nusage: %s [global options] command [options] "
	       "[arguments]\n\ncommands:\n",
	       program, program);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		printf("   %-9s %s\n", commands[i].name, commands[i].help);
	printf("\nglobal options:\n"
	       "   --root DIR          state of the containers (default /run/knarr/runtime)\n"
	       "   --log FILE          errors and warnings go there too\n"
	       "   --log-format F      text (default) or json\n"
	       "   --debug             accepted\n"
	       "   --systemd-cgroup    cgroupsPath is slice:prefix:name; on cgroup v2 systemd makes the scope\n"
	       "   --data-dir DIR      compiled seccomp filters are kept in DIR/seccomp\n"
	       "   --version, --help\n");
}

static const char *default_root(void)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	if (geteuid() != 0 && run && *run)
		return arena_printf(&runtime_cli.arena, "%s/knarr/runtime", run).ptr;
	return "/run/knarr/runtime";
}

static int command_run(int argc, char **argv, char **all, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(argv[0], commands[i].name) != 0)
			continue;
		int r = commands[i].builds ? runtime_self_protect(all, err) : 0;
		if (r == 0)
			r = commands[i].run(argc, argv, err);
		if (r >= 0)
			return r;
		if (r != -ERR_USAGE && (commands[i].builds || !strcmp(argv[0], "start")))
			err_note(err, "%s failed", argv[0]);
		runtime_cli_fail(err);
		return commands[i].error_status;
	}
	err_set(err, ERR_USAGE, "no command %s (see --help)", argv[0]);
	runtime_cli_fail(err);
	return 3;
}

int runtime_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	bool version = false, help = false;
	const char *program = argv[0];
	char **all = argv;
	const struct cli_option options[] = {
		{ "root", CLI_TEXT, &runtime_cli.root, NULL },
		{ "log", CLI_TEXT, &runtime_cli.log, NULL },
		{ "log-format", CLI_TEXT, &runtime_cli.log_format, NULL },
		{ "debug", CLI_FLAG, &runtime_cli.debug, NULL },
		{ "systemd-cgroup", CLI_FLAG, &runtime_cli.systemd_cgroup, NULL },
		{ "rootless", CLI_TEXT, &runtime_cli.rootless, NULL },
		{ "criu", CLI_TEXT, NULL, NULL },
		{ "data-dir", CLI_TEXT, &runtime_cli.data_dir, NULL },
		{ "version v", CLI_FLAG, &version, NULL },
		{ "help h", CLI_FLAG, &help, NULL },
	};
	if (runtime_cli_parse(options, ARRAY_LEN(options), &argc, &argv, &err) < 0) {
		runtime_cli_fail(&err);
		return 1;
	}
	if (version || (argc && !strcmp(argv[0], "version"))) {
		version_print("knarr-runc");
		return 0;
	}
	if (help || !argc || !strcmp(argv[0], "help")) {
		help_print(strrchr(program, '/') ? strrchr(program, '/') + 1 : program);
		return argc || help ? 0 : 1;
	}
	if (runtime_cli.log_format && strcmp(runtime_cli.log_format, "json") != 0 &&
	    strcmp(runtime_cli.log_format, "text") != 0) {
		err_set(&err, ERR_USAGE, "invalid log-format: %s", runtime_cli.log_format);
		runtime_cli_fail(&err);
		return 1;
	}
	if (!runtime_cli.root)
		runtime_cli.root = default_root();
	if (!runtime_cli.data_dir)
		runtime_cli.data_dir = getenv("KNARR_DATA_DIR");
	runtime_cli.cache_dir = arena_printf(&runtime_cli.arena, "%s/seccomp",
					     runtime_cli.data_dir ? runtime_cli.data_dir : runtime_cli.root)
					.ptr;
	int status = command_run(argc, argv, all, &err);
	arena_done(&runtime_cli.arena);
	return status;
}
