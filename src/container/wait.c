/* Who waits for a container's end or removal. */
#include "container/private.h"

struct wait {
	struct list link;
	struct ticket ticket;
	struct container *c;
	enum container_condition condition;
	struct loop_task task;
	const char *error; /* of the removal; borrowed for the answer */
};

int container_condition_parse(struct span text, enum container_condition *out, struct err *err)
{
	static const char *const names[CONTAINER_CONDITION_COUNT] = { "not-running", "next-exit", "removed" };
	for (int i = 0; i < CONTAINER_CONDITION_COUNT; i++)
		if (span_is(text, names[i])) {
			*out = (enum container_condition)i;
			return 0;
		}
	if (text.len)
		return err_set(err, ERR_INVALID_REQUEST, "invalid condition: \"%.*s\"", SPAN_ARG(text));
	*out = CONTAINER_NOT_RUNNING;
	return 0;
}

static void answer(struct wait *w)
{
	struct container_call *call = w->ticket.call;
	const char *error = w->error ? w->error : w->c->error;
	list_remove(&w->link);
	loop_task_cancel(&w->task);
	if (call && call->arena) {
		call->result = json_object();
		json_setl(call->arena, &call->result, "StatusCode", json_int(w->c->exit_code));
		if (error) {
			struct json e = json_object();
			json_setl(call->arena, &e, "Message", json_str(arena_span(call->arena, span_of(error))));
			json_setl(call->arena, &call->result, "Error", e);
		}
	}
	container_ticket_answer(&w->ticket, NULL);
	free(w);
}

static void due(struct loop_task *t)
{
	answer(container_of(t, struct wait, task));
}

int container_wait(struct container_engine *e, struct span name, enum container_condition condition, struct container_call *call,
	struct err *err)
{
	struct container *c = container_get(e, name, err);
	if (!c)
		return -(int)(err && err->class ? err->class : ERR_NOT_FOUND);
	struct wait *w = mem_new(struct wait);
	w->c = c;
	w->condition = condition;
	loop_task_init(&w->task, due);
	container_ticket_take(&w->ticket, call);
	list_push(&c->waits, &w->link);
	/* A container that will be started again counts as running. */
	if (condition == CONTAINER_NOT_RUNNING && !container_is_running(c) && c->status != STATUS_RESTARTING && !c->starting)
		loop_defer(e->o.loop, &w->task);
	return 0;
}

void container_waits_ended(struct container *c)
{
	LIST_EACH (&c->waits, w, struct wait, link)
		if (w->condition != CONTAINER_REMOVED)
			answer(w);
}

void container_waits_failed(struct container *c)
{
	LIST_EACH (&c->waits, w, struct wait, link)
		if (w->condition == CONTAINER_NOT_RUNNING)
			answer(w);
}

void container_waits_removed(struct container *c, const char *error)
{
	if (!error) {
		/* Docker's answer: a removal that went well clears State.Error, also that of a start that failed. */
		free(c->error);
		c->error = NULL;
	}
	LIST_EACH (&c->waits, w, struct wait, link) {
		w->error = error;
		answer(w);
	}
}
