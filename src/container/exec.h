/* Processes of exec: what exec.c and health.c share. */
#pragma once

#include "container/private.h"

enum exec_state { EXEC_CREATED, EXEC_STARTING, EXEC_RUNNING, EXEC_ENDED };

struct exec {
	struct list link; /* of c->execs */
	struct container *c;   /* as long as it is not gone */
	struct container_engine *e;
	char container_id[65];
	char id[65];
	struct arena arena;
	struct json config;    /* ExecConfig */
	char *words;           /* "ls -l", as events have it */
	enum exec_state state;
	pid_t pid;
	int exit_code;
	struct list streams;   /* at most one, until it has started */
	struct container_stream *stream;
	struct ticket ticket;  /* of the start */
	struct loop_work work; /* start, then clearing away */
	struct arena scratch;  /* of the start */
	struct json container_config, host, extra; /* copies for the worker */
	unsigned takes;
	uint16_t rows, columns;
	pid_t container_pid;
	int control_got, stream_got;
	struct err err;
	struct loop_fd control;
	int control_sock;
	bool control_live, gone, working, hidden;
	struct asks asks;
	struct list waits;     /* struct exec_wait */
	bool kill;             /* as soon as it runs */
	/* health.c: called instead of a ticket's answer, and at the end */
	void (*started)(struct exec *x, const struct err *err);
	void (*ended)(struct exec *x);
	void *arg;
};

struct exec *container_exec_new(struct container *c, const struct json *config);
/* One that runs already, found again by an engine that returned; sock is taken over, also on failure. */
int container_exec_adopt(struct container *c, const char *id, const struct json *config, int sock, pid_t pid, struct err *err);
/* exec_again.c: what makes that possible. On the worker of the start. */
int container_exec_record(const struct exec *x, int dir, struct err *err);
void container_exec_run(struct exec *x, struct container_stream *s, unsigned rows, unsigned columns);
void container_exec_kill(struct exec *x);
/* x is freed when nothing needs it any more. */
void container_exec_drop(struct exec *x);
