/* Child processes: started with exactly the descriptors that they are to have, watched through a pidfd. The seam of src/proc.
 *
 *     struct proc_wish w = { .argv = argv, .fds = sockets, .n_fds = 2, .listen = true, .in = -1, .out = log, .err = log,
 *                            .group = PROC_GROUP_OWN, .death_signal = SIGKILL };
 *     if (proc_start(&p, loop, "apiserver", &w, on_ended, &err) < 0) ...     // also when exec failed: the child's own words
 *     proc_signal(&p, SIGTERM);                                             // never another process of the same number
 *
 * What it promises: the child has descriptors 0, 1, 2, then those of the wish from 3 on, and no other, whatever the caller has
 * open; every signal is at its default and none is blocked. A start that failed has left no process. `ended` runs once, on the
 * loop, after the child is reaped.
 *
 * A process that must not outlive its starter asks for a death signal: the kernel sends it when the *thread* that called
 * proc_start ends, so call it from a thread that lives as long as the process (the loop's). It is lost when the child changes
 * its user or executes a set-user-id program; such a child asks for it again (prctl(2), PR_SET_PDEATHSIG).
 *
 * Threads: the loop's. proc_start blocks until the child has executed its program (about 1 ms). */
#pragma once

#include "base/base.h"
#include "loop/loop.h"

enum proc_group {
	PROC_GROUP_SAME,    /* the starter's: a terminal's Ctrl-C reaches it */
	PROC_GROUP_OWN,     /* one of its own, of which it is the leader */
	PROC_GROUP_SESSION, /* a session of its own, without terminal */
};

#define PROC_FDS_MAX 64
/* Everything is borrowed for the call. */
struct proc_wish {
	const char *path;              /* the program; NULL: argv[0]. No search in PATH. */
	const char *const *argv;       /* NULL-ended */
	const char *const *env;        /* NULL-ended; NULL: the starter's own */
	const int *fds;                /* 3, 4, ... of the child; the starter's stay open */
	unsigned n_fds;
	bool listen;                   /* tells the child of fds as sd_listen_fds(3) has it: LISTEN_FDS, LISTEN_PID */
	int in, out, err;              /* 0, 1, 2 of the child; -1: /dev/null */
	const char *dir;               /* working folder; NULL: the starter's */
	enum proc_group group;
	int death_signal;              /* when the starting thread ends; 0: none */
};

struct proc {
	struct loop_child child;
	void (*ended)(struct proc *p, int status, const struct rusage *used); /* status as waitpid(2) gives it */
	enum proc_group group;
	bool running; /* public to read */
	pid_t pid;    /* public to read */
};
/* 0; -class with the step that failed in err ("starting apiserver: executing /usr/bin/x: Permission denied"): NO_COMMAND and
 * NOT_EXECUTABLE for a program that cannot be executed. name is borrowed for ever. */
int proc_start(struct proc *p, struct loop *l, const char *name, const struct proc_wish *w,
	       void (*ended)(struct proc *p, int status, const struct rusage *used), struct err *err);
/* To the process alone; nothing happens when it has ended. */
void proc_signal(struct proc *p, int signum);
/* To its whole group (PROC_GROUP_OWN and SESSION; else to it alone). */
void proc_signal_group(struct proc *p, int signum);
/* Nothing is told any more; the process goes on. The memory is free from `closed` on (NULL where it outlives the loop). */
void proc_forget(struct proc *p, void (*closed)(struct loop_child *c));
/* "exit status 1", "killed by SIGKILL": appended. */
void proc_status_text(struct buf *out, int status);
