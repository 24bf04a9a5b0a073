/* Questions to a monitor on its control socket, and what becomes of them when it does not answer (it is stopped, hangs on a disk,
 * or is broken). Decision 0819.
 *
 *     asked ──ANSWER_MS──> not KILL: "does not answer"
 *                          KILL:     we signal the process ourselves, and that is the answer
 *                          SIGKILL:  likewise ──END_MS without word of the end──> the monitor is killed
 *
 * Its socket closes then, which is the end of a container whose monitor was killed: 137, State.Error says why, and what is left
 * is cleared away. The container goes before its monitor: one that was only slow still tells how it really ended.
 *
 * While a monitor is not connected (watch.c) the same times run: it is asked as soon as it is again. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "container/private.h"

enum { ANSWER_MS = 5000, END_MS = 5000 };

static int signal_ourselves(const struct asks *q, bool monitor, int sig, struct err *err)
{
	auto_arena struct arena a = {};
	const char *path = q->exec ? arena_printf(&a, "%s/exec/%s", q->e->run_dir, q->id).ptr
				   : arena_printf(&a, "%s/containers/%s/state", q->e->dir, q->id).ptr;
	auto_fd int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? err_sys(err, "open %s", path) : monitor_signal(dir, monitor, sig, err);
}

static void on_end(struct loop_timer *t)
{
	struct asks *q = container_of(t, struct asks, end);
	auto_err struct err err = ERR_INIT;
	if (signal_ourselves(q, true, SIGKILL, &err) == 0)
		err_set(&err, ERR_UNAVAILABLE, "its process was killed and it did not tell the end");
	container_warn(q->e, "a monitor that does not answer is killed", q->id, &err);
}

static void on_answer(struct loop_timer *t)
{
	struct asks *q = container_of(t, struct asks, answer);
	int64_t now = loop_now_ms(q->e->o.loop);
	for (struct ask *a; (a = LIST_FIRST(&q->list, struct ask, link)) && a->due_ms <= now;) {
		auto_err struct err err = ERR_INIT;
		list_remove(&a->link);
		if (!a->signal)
			err_set(&err, ERR_UNAVAILABLE, "the monitor of %s %s does not answer", q->exec ? "exec" : "container", q->id);
		else if (signal_ourselves(q, false, a->signal, &err) == -ERR_NOT_FOUND)
			err_set(&err, ERR_IN_USE, "%s %s is not running", q->exec ? "exec" : "container", q->id);
		if (a->signal == SIGKILL && err.class == ERR_IN_USE)
			err_done(&err); /* dead already: what is missing is word of it */
		if (a->signal == SIGKILL && !q->end.pos)
			loop_timer_start(&q->end, END_MS);
		a->answer(a, err.class ? &err : NULL);
	}
	struct ask *next = LIST_FIRST(&q->list, struct ask, link);
	if (next)
		loop_timer_start(&q->answer, MAX(next->due_ms - now, (int64_t)0));
}

void container_asks_init(struct asks *q, struct container_engine *e, const char *id, bool exec)
{
	q->e = e;
	q->id = id;
	q->exec = exec;
	list_init(&q->list);
	loop_timer_init(&q->answer, e->o.loop, "a monitor's answer", on_answer);
	loop_timer_init(&q->end, e->o.loop, "a monitor's last word", on_end);
	q->answer.background = q->end.background = true;
}

int container_asks_send(struct asks *q, int sock, struct ask *a, enum monitor_op what, int x, int y,
	void (*answer)(struct ask *a, const struct err *err), struct err *err)
{
	if (sock < 0 && !q->unheard)
		return err_set(err, ERR_IN_USE, "%s %s is not running", q->exec ? "exec" : "container", q->id);
	a->what = what;
	a->x = x;
	a->y = y;
	a->tag = q->tag = (uint16_t)(q->tag % CONTAINER_TAGS + 1);
	a->signal = what == MONITOR_KILL ? x : 0;
	a->answer = answer;
	a->due_ms = loop_now_ms(q->e->o.loop) + ANSWER_MS;
	auto_err struct err why = ERR_INIT;
	/* Full of what it did not read, gone just now (its end is looked at next) or not connected: the time runs for this one, too. */
	a->sent = sock >= 0 && monitor_send(sock, what, a->tag, x, y, SPAN_EMPTY, &why) == 0;
	if (why.class && why.errnum != EAGAIN && why.class != ERR_GONE)
		return err_move(err, &why);
	if (list_empty(&q->list))
		loop_timer_start(&q->answer, ANSWER_MS);
	list_push(&q->list, &a->link);
	return 0;
}

void container_asks_resend(struct asks *q, int sock)
{
	LIST_EACH (&q->list, a, struct ask, link)
		if (!a->sent)
			a->sent = monitor_send(sock, a->what, a->tag, a->x, a->y, SPAN_EMPTY, NULL) == 0; /* else the time runs on */
}

void container_asks_answer(struct asks *q, const struct monitor_head *h, const char *payload)
{
	auto_err struct err err = ERR_INIT;
	LIST_EACH (&q->list, a, struct ask, link) {
		if (a->tag != h->tag)
			continue;
		list_remove(&a->link);
		if (h->op == MONITOR_ERROR)
			err_set(&err, h->a > 0 && h->a < ERR_COUNT ? (enum err_class)h->a : ERR_INTERNAL, "%.*s", (int)h->len, payload);
		a->answer(a, err.class ? &err : NULL);
		return;
	}
}

void container_asks_fail(struct asks *q)
{
	auto_err struct err err = ERR_INIT;
	loop_timer_stop(&q->answer);
	loop_timer_stop(&q->end);
	err_set(&err, ERR_IN_USE, "%s %s is not running", q->exec ? "exec" : "container", q->id);
	for (struct ask *a; (a = LIST_POP(&q->list, struct ask, link));)
		a->answer(a, &err);
}
