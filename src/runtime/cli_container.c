/* create, run, start, kill, delete, pause, resume. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/cli.h"

static int bundle_path(const char *given, const char **out, struct err *err)
{
	char real[PATH_MAX];
	if (!realpath(given ? given : ".", real))
		return err_sys(err, "bundle %s", given ? given : ".");
	*out = arena_cstr(&runtime_cli.arena, span_of(real));
	return 0;
}

/* What only the command line has to know of its options. */
struct ways {
	bool detach; /* do not wait: always so with create */
	bool keep;   /* do not delete at the end */
};

static int plan_make(int *argc, char ***argv, bool run, struct runtime_opts *o, struct ways *out_ways,
		     struct runtime_plan **out, struct err *err)
{
	struct ways w = {};
	const char *bundle = NULL, *console = NULL, *pid_file = NULL, *config = NULL;
	int preserve = 0;
	bool no_pivot = false, no_keyring = false;
	const struct cli_option options[] = {
		{ "bundle b", CLI_TEXT, &bundle, NULL },	{ "console-socket", CLI_TEXT, &console, NULL },
		{ "pid-file", CLI_TEXT, &pid_file, NULL },	{ "config f", CLI_TEXT, &config, NULL },
		{ "no-pivot", CLI_FLAG, &no_pivot, NULL },	{ "no-new-keyring", CLI_FLAG, &no_keyring, NULL },
		{ "preserve-fds", CLI_INT, &preserve, NULL },	{ "pidfd-socket", CLI_TEXT, NULL, NULL },
		{ "no-subreaper", CLI_FLAG, NULL, NULL },	{ "detach d", CLI_FLAG, run ? &w.detach : NULL, NULL },
		{ "keep", CLI_FLAG, run ? &w.keep : NULL, NULL },
	};
	int r = runtime_cli_parse(options, ARRAY_LEN(options), argc, argv, err);
	r = r < 0 ? r : runtime_cli_count(*argc, 1, 1, err);
	if (r < 0)
		return r;
	runtime_cli_opts_init(o, (*argv)[0]);
	o->console_socket = console;
	o->pid_file = pid_file;
	o->config = config;
	o->preserve_fds += preserve;
	o->no_pivot = no_pivot;
	o->no_new_keyring = no_keyring;
	o->start = run;
	w.detach |= !run;
	if (preserve < 0 || o->preserve_fds > 1 << 16)
		return err_set(err, ERR_USAGE, "invalid value for --preserve-fds");
	if (!runtime_state_id_ok(span_of(o->id)))
		return err_set(err, ERR_INVALID, "invalid container ID format: \"%.100s\"", o->id);
	r = bundle_path(bundle, &o->bundle, err);
	r = r < 0 ? r : runtime_plan_load(&runtime_cli.arena, o, out, err);
	if (r < 0)
		return r;
	if ((*out)->config->process->terminal && w.detach && !console)
		return err_set(err, ERR_INVALID,
			       "cannot allocate tty if runc will detach without setting console socket");
	if (!((*out)->config->process->terminal && w.detach) && console)
		return err_set(err, ERR_INVALID, "cannot use console socket if runc will not detach or allocate tty");
	*out_ways = w;
	return 0;
}

int runtime_cli_create(int argc, char **argv, struct err *err)
{
	struct runtime_opts o;
	struct runtime_plan *plan;
	struct runtime_container c;
	struct ways w;
	int r = plan_make(&argc, &argv, false, &o, &w, &plan, err);
	r = r < 0 ? r : runtime_create(plan, &c, err);
	return r;
}

int runtime_cli_run(int argc, char **argv, struct err *err)
{
	struct runtime_opts o;
	struct runtime_plan *plan;
	struct runtime_container c;
	struct ways w;
	int r = plan_make(&argc, &argv, true, &o, &w, &plan, err);
	if (r == 0 && !w.detach)
		runtime_cli_signals_hold();
	r = r < 0 ? r : runtime_create(plan, &c, err);
	if (r < 0 || w.detach)
		return r;
	int status = runtime_cli_wait(&c);
	if (!w.keep) {
		r = runtime_lifecycle_plan_delete(plan, c.pid, err);
		if (r < 0)
			return r;
	}
	return status;
}

int runtime_cli_start(int argc, char **argv, struct err *err)
{
	struct runtime_opts o;
	int r = runtime_cli_parse(NULL, 0, &argc, &argv, err);
	r = r < 0 ? r : runtime_cli_count(argc, 1, 1, err);
	if (r < 0)
		return r;
	runtime_cli_opts_init(&o, argv[0]);
	return runtime_start(runtime_cli.root, argv[0], &o, err);
}

int runtime_cli_kill(int argc, char **argv, struct err *err)
{
	bool all = false;
	const struct cli_option options[] = { { "all a", CLI_FLAG, &all, NULL } };
	int r = runtime_cli_parse(options, ARRAY_LEN(options), &argc, &argv, err);
	r = r < 0 ? r : runtime_cli_count(argc, 1, -1, err);
	if (r < 0)
		return r;
	const char *id = argv[0];
	/* podman and people write options behind the words too: kill ID SIGNAL --all */
	const char *name = "SIGTERM";
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--all") || !strcmp(argv[i], "-a"))
			all = true;
		else
			name = argv[i];
	}
	int sig = sys_signal_by_name(span_of(name));
	if (sig < 0)
		return err_set(err, ERR_USAGE, "unknown signal \"%s\"", name);
	return runtime_kill(runtime_cli.root, id, sig, all, err);
}

int runtime_cli_delete(int argc, char **argv, struct err *err)
{
	bool force = false;
	const struct cli_option options[] = { { "force f", CLI_FLAG, &force, NULL } };
	struct runtime_opts o;
	int r = runtime_cli_parse(options, ARRAY_LEN(options), &argc, &argv, err);
	r = r < 0 ? r : runtime_cli_count(argc, 1, 2, err);
	if (r < 0)
		return r;
	if (argc == 2 && (!strcmp(argv[1], "--force") || !strcmp(argv[1], "-f")))
		force = true;
	runtime_cli_opts_init(&o, argv[0]);
	return runtime_delete(runtime_cli.root, argv[0], force, &o, err);
}

static int freeze(int argc, char **argv, bool on, struct err *err)
{
	int r = runtime_cli_parse(NULL, 0, &argc, &argv, err);
	r = r < 0 ? r : runtime_cli_count(argc, 1, 1, err);
	return r < 0 ? r : runtime_freeze(runtime_cli.root, argv[0], on, err);
}

int runtime_cli_pause(int argc, char **argv, struct err *err)
{
	return freeze(argc, argv, true, err);
}

int runtime_cli_resume(int argc, char **argv, struct err *err)
{
	return freeze(argc, argv, false, err);
}
