/* Changes of a container, one at a time, and the answers to those who asked for them.
 *
 * An operation is begun from the loop, never inside the call that asked for it. Its work on a worker reads the container's
 * document, which only the operation at the head may change; everything else it needs is in the operation. */
#include "container/private.h"

struct late {
	struct loop_task task;
	struct container_engine *e;
	struct ticket ticket;
	struct err err;
};

void container_busy(struct container_engine *e, int by)
{
	e->busy += (unsigned)by;
	if (e->closing && !e->busy)
		loop_defer(e->o.loop, &e->close_task);
}

/* ---- tickets */

void container_ticket_take(struct ticket *t, struct container_call *call)
{
	t->call = call;
	if (call) {
		call->owner_ = t;
		call->result = JSON_NULL_VALUE;
		call->unchanged = false;
	}
}

void container_ticket_answer(struct ticket *t, const struct err *err)
{
	struct container_call *call = take(&t->call);
	if (!call)
		return;
	call->owner_ = NULL;
	call->done(call, err);
}

void container_call_forget(struct container_call *c)
{
	struct ticket *t = c->owner_;
	if (t)
		t->call = NULL;
	c->owner_ = NULL;
}

static void late_answer(struct loop_task *task)
{
	struct late *l = container_of(task, struct late, task);
	struct container_engine *e = l->e;
	container_ticket_answer(&l->ticket, l->err.class ? &l->err : NULL);
	err_done(&l->err);
	free(l);
	container_busy(e, -1);
}

void container_fail_later(struct container_engine *e, struct container_call *call, struct err *err)
{
	struct late *l = mem_new(struct late);
	l->e = e;
	container_ticket_take(&l->ticket, call);
	err_move(&l->err, err);
	loop_task_init(&l->task, late_answer);
	container_busy(e, 1);
	loop_defer(e->o.loop, &l->task);
}

struct container *container_for_call(struct container_engine *e, struct span name, struct container_call *call)
{
	auto_err struct err err = ERR_INIT;
	struct container *c = container_get(e, name, &err);
	if (!c)
		container_fail_later(e, call, &err);
	return c;
}

/* ---- operations */

static void begin(struct loop_task *t)
{
	struct op *op = container_of(t, struct op, task);
	struct container *c = op->c;
	/* What ended must be cleared away first; who looks at the files of a stopped one keeps it from starting. Where the end is told
	 * before that, everything waits for it. */
	op->parked = (op->waiting_end && (c->ending || c->views)) || (c->ending && !container_is_running(c));
	if (op->parked)
		return;
	op->begin(op);
}

static void next(struct container *c)
{
	struct op *op = LIST_FIRST(&c->ops, struct op, link);
	if (op && !c->op_busy) {
		c->op_busy = true;
		loop_defer(c->e->o.loop, &op->task);
	}
}

void container_op_resume(struct container *c)
{
	struct op *op = LIST_FIRST(&c->ops, struct op, link);
	if (op && op->parked && !c->ending && !(op->waiting_end && c->views))
		loop_defer(c->e->o.loop, &op->task);
}

void *container_op_new(size_t size, struct container *c, const char *name, void (*begin_fn)(struct op *op),
	struct container_call *call)
{
	struct op *op = mem_zalloc(size);
	op->c = c;
	op->name = name;
	op->begin = begin_fn;
	container_ticket_take(&op->ticket, call);
	loop_task_init(&op->task, begin);
	list_init(&op->link);
	container_busy(c->e, 1);
	return op;
}

void container_op_submit(struct op *op)
{
	list_push(&op->c->ops, &op->link);
	next(op->c);
}

void container_op_first(struct op *op)
{
	struct container *c = op->c;
	if (c->op_busy)
		list_insert_after_(c->ops.next, &op->link);
	else
		list_push_front(&c->ops, &op->link);
	next(c);
}

void container_op_work(struct op *op, void (*run)(struct loop_work *w), void (*done)(struct loop_work *w))
{
	/* A queue that is full means thousands of containers at once: the caller's turn to be refused. */
	if (loop_work_submit(op->c->e->o.pool, op->c->e->o.loop, &op->work, op->name, run, done) < 0) {
		err_set(&op->err, ERR_TOO_MANY, "too many operations are under way");
		loop_post_call(op->c->e->o.loop, (void (*)(void *))done, &op->work);
	}
}

static void save_run(struct loop_work *w)
{
	struct op *op = container_of(w, struct op, work);
	(void)container_record_put(op->c->e, op->c->id, op->record, true, &op->err); /* op->err tells */
}

static void save_done(struct loop_work *w)
{
	struct op *op = container_of(w, struct op, work);
	auto_buf struct buf now = {};
	container_record_write(op->c, &now);
	if (!op->err.class && !span_eq(buf_span(&now), op->record)) /* it was written as it is now, and then as it was */
		(void)container_record_save(op->c, false, NULL); /* the monitor's folder outranks it */
	op->saved(w);
}

void container_op_save(struct op *op, void (*saved)(struct loop_work *w))
{
	auto_buf struct buf text = {};
	container_record_write(op->c, &text);
	op->record = arena_span(&op->arena, buf_span(&text));
	op->saved = saved;
	container_op_work(op, save_run, save_done);
}

void container_op_refuse(struct op *op, struct err *err)
{
	struct container_engine *e = op->c->e;
	struct container_call *call = take(&op->ticket.call);
	container_fail_later(e, call, err);
	err_done(&op->err);
	arena_done(&op->arena);
	free(op);
	container_busy(e, -1);
}

void container_op_end(struct op *op, const struct err *err)
{
	struct container *c = op->c;
	struct container_engine *e = c->e;
	list_remove(&op->link);
	loop_task_cancel(&op->task);
	c->op_busy = false;
	if (op->ticket.call && !err) {
		struct container_call *call = op->ticket.call;
		call->unchanged = op->unchanged;
		if (op->result.kind != JSON_NULL && call->arena)
			call->result = json_copy(call->arena, &op->result);
	}
	container_ticket_answer(&op->ticket, err);
	err_done(&op->err);
	arena_done(&op->arena);
	free(op);
	next(c);
	if (e->closing && list_empty(&c->ops)) /* the close left it to us: a start may have opened it since */
		container_control_close(c);
	container_busy(e, -1);
}
