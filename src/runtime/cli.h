/* The command line's own seams. Private. */
#pragma once

#include "runtime/plan.h"

enum cli_kind { CLI_FLAG, CLI_TEXT, CLI_INT, CLI_LIST };
struct cli_option {
	const char *names; /* "bundle b": without dashes, the first is the one in messages */
	enum cli_kind kind;
	void *out; /* bool, const char *, int, struct cli_list; NULL = accepted without effect */
	const char *help;
};
struct cli_list {
	const char *items[256];
	size_t n;
};
struct cli {
	const char *root, *log, *log_format, *data_dir;
	bool debug, systemd_cgroup;
	const char *cache_dir;
	const char *rootless; /* accepted: what can be done is found out */
	struct arena arena;
};
extern struct cli runtime_cli; /* the global options; the command line is one process with one command */

/* Options up to the first word that is none (or "--"); *argc and *argv then begin with that word. USAGE on an unknown one. */
int runtime_cli_parse(const struct cli_option *options, size_t n, int *argc, char ***argv, struct err *err);
int runtime_cli_count(int argc, int min, int max, struct err *err); /* of words that must be left */
void runtime_cli_warn(const char *text);
void runtime_cli_fail(const struct err *err);
void runtime_cli_opts_init(struct runtime_opts *o, const char *id);
/* Blocks all signals, so that none ends us between the clone and runtime_cli_wait: they wait to be handed on. */
void runtime_cli_signals_hold(void);
/* Waits for the process as `run` and `exec` do: signals are handed on, a terminal is relayed. Its exit status. */
int runtime_cli_wait(struct runtime_container *c);

/* Each returns the exit status, or a negative class with err set. argv[0] is the command's name. */
int runtime_cli_create(int argc, char **argv, struct err *err);
int runtime_cli_run(int argc, char **argv, struct err *err);
int runtime_cli_start(int argc, char **argv, struct err *err);
int runtime_cli_kill(int argc, char **argv, struct err *err);
int runtime_cli_delete(int argc, char **argv, struct err *err);
int runtime_cli_pause(int argc, char **argv, struct err *err);
int runtime_cli_resume(int argc, char **argv, struct err *err);
int runtime_cli_exec(int argc, char **argv, struct err *err);
int runtime_cli_state(int argc, char **argv, struct err *err);
int runtime_cli_list_containers(int argc, char **argv, struct err *err);
int runtime_cli_ps(int argc, char **argv, struct err *err);
int runtime_cli_events(int argc, char **argv, struct err *err);
int runtime_cli_features(int argc, char **argv, struct err *err);
int runtime_cli_update(int argc, char **argv, struct err *err);
int runtime_cli_spec(int argc, char **argv, struct err *err);
