/* exec: the process object comes from a file, or from the container's own with what the command line says over it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/cli.h"

struct wish {
	const char *process, *cwd, *user, *pid_file, *console, *apparmor, *label, *cgroup;
	struct cli_list env, gids, caps;
	int preserve;
	bool tty, nnp, detach, ignore_paused;
};

static int process_from_file(const char *path, struct config_process **out, struct err *err)
{
	auto_buf struct buf text = {};
	int r = io_read_file(AT_FDCWD, path, &text, 8 << 20, err);
	if (r < 0)
		return err_note(err, "process file");
	return runtime_config_process_parse(&runtime_cli.arena, arena_span(&runtime_cli.arena, buf_span(&text)), out,
					    err);
}

static int id_parse(struct span s, uint32_t *out, struct err *err)
{
	uint64_t n;
	if (!span_to_u64(s, &n) || n >= UINT32_MAX)
		return err_set(err, ERR_USAGE, "\"%.*s\" is no user or group id", SPAN_ARG(s));
	*out = (uint32_t)n;
	return 0;
}

static int user_take(struct config_process *p, const struct wish *w, struct err *err)
{
	int r = 0;
	if (w->user) {
		struct span uid, gid;
		bool has = span_split(span_of(w->user), ':', &uid, &gid);
		r = id_parse(uid, &p->uid, err);
		if (r == 0 && has)
			r = id_parse(gid, &p->gid, err);
	}
	if (w->gids.n) {
		uint32_t *gids = arena_alloc_n(&runtime_cli.arena, w->gids.n, sizeof(*gids));
		for (size_t i = 0; r == 0 && i < w->gids.n; i++)
			r = id_parse(span_of(w->gids.items[i]), &gids[i], err);
		p->gids = gids;
		p->n_gids = w->gids.n;
	}
	return r;
}

static int caps_take(struct config_process *p, const struct wish *w, struct err *err)
{
	for (size_t i = 0; i < w->caps.n; i++) {
		int cap = sys_caps_by_name(span_of(w->caps.items[i]));
		if (cap < 0)
			return err_set(err, ERR_USAGE, "unknown capability \"%s\"", w->caps.items[i]);
		uint64_t bit = UINT64_C(1) << cap;
		p->has_caps = true;
		p->caps.bounding |= bit;
		p->caps.effective |= bit;
		p->caps.permitted |= bit;
		/* Ambient needs inheritable; runc raises a capability there only when the container's has it. */
		if (p->caps.inheritable & bit)
			p->caps.ambient |= bit;
	}
	return 0;
}

static void env_take(struct config_process *p, const struct wish *w)
{
	char **env = arena_alloc_n(&runtime_cli.arena, p->n_env + w->env.n + 1, sizeof(*env));
	size_t n = 0;
	for (size_t i = 0; i < p->n_env; i++) {
		bool replaced = false;
		size_t len = strcspn(p->env[i], "=") + 1;
		for (size_t k = 0; k < w->env.n; k++)
			replaced |= !strncmp(p->env[i], w->env.items[k], len);
		if (!replaced)
			env[n++] = p->env[i];
	}
	for (size_t i = 0; i < w->env.n; i++)
		env[n++] = (char *)w->env.items[i];
	env[n] = NULL;
	p->env = env;
	p->n_env = n;
}

/* The container's process with the command line over it. */
static int process_from_words(const char *id, int argc, char **argv, const struct wish *w, struct config_process **out,
			      struct err *err)
{
	struct state s;
	struct config *c;
	auto_fd int dir = -1;
	if (argc < 1)
		return err_set(err, ERR_USAGE, "process args cannot be empty");
	int r = runtime_state_look(&runtime_cli.arena, runtime_cli.root, id, &s, &dir, err);
	r = r < 0 ? r : runtime_state_config_read(&runtime_cli.arena, dir, &c, err);
	if (r < 0)
		return r;
	if (!c->process)
		return err_set(err, ERR_INVALID, "the container's configuration has no process");
	struct config_process *p = c->process;
	p->args = argv;
	p->n_args = (size_t)argc;
	p->terminal = w->tty;
	if (w->cwd) {
		if (w->cwd[0] != '/')
			return err_set(err, ERR_INVALID, "process.cwd: Cwd must be an absolute path");
		p->cwd = w->cwd;
	}
	if (w->apparmor)
		p->apparmor = w->apparmor;
	if (w->label)
		p->selinux = w->label;
	if (w->nnp)
		p->no_new_privs = true;
	env_take(p, w);
	r = user_take(p, w, err);
	r = r < 0 ? r : caps_take(p, w, err);
	if (r == 0)
		*out = p;
	return r;
}

int runtime_cli_exec(int argc, char **argv, struct err *err)
{
	struct wish w = {};
	const struct cli_option options[] = {
		{ "process p", CLI_TEXT, &w.process, NULL },
		{ "cwd", CLI_TEXT, &w.cwd, NULL },
		{ "user u", CLI_TEXT, &w.user, NULL },
		{ "pid-file", CLI_TEXT, &w.pid_file, NULL },
		{ "console-socket", CLI_TEXT, &w.console, NULL },
		{ "env e", CLI_LIST, &w.env, NULL },
		{ "tty t", CLI_FLAG, &w.tty, NULL },
		{ "additional-gids g", CLI_LIST, &w.gids, NULL },
		{ "detach d", CLI_FLAG, &w.detach, NULL },
		{ "process-label", CLI_TEXT, &w.label, NULL },
		{ "apparmor", CLI_TEXT, &w.apparmor, NULL },
		{ "no-new-privs", CLI_FLAG, &w.nnp, NULL },
		{ "cap c", CLI_LIST, &w.caps, NULL },
		{ "preserve-fds", CLI_INT, &w.preserve, NULL },
		{ "cgroup", CLI_TEXT, &w.cgroup, NULL },
		{ "ignore-paused", CLI_FLAG, &w.ignore_paused, NULL },
		{ "no-subreaper", CLI_FLAG, NULL, NULL },
		{ "pidfd-socket", CLI_TEXT, NULL, NULL },
	};
	int r = runtime_cli_parse(options, ARRAY_LEN(options), &argc, &argv, err);
	r = r < 0 ? r : runtime_cli_count(argc, 1, -1, err);
	if (r < 0)
		return r;
	const char *id = argv[0];
	struct runtime_opts o;
	runtime_cli_opts_init(&o, id);
	o.console_socket = w.console;
	o.pid_file = w.pid_file;
	o.preserve_fds += w.preserve;
	struct config_process *p;
	argc--, argv++;
	if (argc && !strcmp(argv[0], "--"))
		argc--, argv++;
	r = w.process ? process_from_file(w.process, &p, err) : process_from_words(id, argc, argv, &w, &p, err);
	if (r < 0)
		return r;
	if (w.process && w.tty)
		p->terminal = true;
	if (p->terminal && w.detach && !w.console)
		return err_set(err, ERR_INVALID,
			       "cannot allocate tty if runc will detach without setting console socket");
	if (w.console && !(p->terminal && w.detach))
		return err_set(err, ERR_INVALID, "cannot use console socket if runc will not detach or allocate tty");
	struct exec_wish wish = {
		.opts = &o, .process = p, .cgroup = w.cgroup, .ignore_paused = w.ignore_paused
	};
	struct runtime_container c;
	if (!w.detach)
		runtime_cli_signals_hold();
	r = runtime_exec_process(&wish, &c, err);
	if (r < 0 || w.detach)
		return r;
	return runtime_cli_wait(&c);
}
