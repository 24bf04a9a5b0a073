/* Changes of a container that exists: stop, restart, kill, pause, unpause, rename, update. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "container/private.h"
#include "runtime/runtime.h"
#include "sys/sys.h"

#define NOT_RUNNING(err, c) err_set((err), ERR_IN_USE, "container %s is not running", (c)->id)

/* ---- names, numbers */

static int signal_read(struct span text, int otherwise, int *out, struct err *err)
{
	*out = otherwise;
	if (!text.len)
		return 0;
	int sig = sys_signal_by_name(text);
	uint64_t number;
	if (sig <= 0 && span_to_u64(text, &number) && number > 0)
		return err_set(err, ERR_INVALID_REQUEST, "The linux daemon does not support signal %.*s", SPAN_ARG(text));
	if (sig <= 0)
		return err_set(err, ERR_INVALID_REQUEST, "Invalid signal: %.*s", SPAN_ARG(text));
	*out = sig;
	return 0;
}

static int stop_signal(const struct container *c)
{
	int sig = sys_signal_by_name(container_str(c->config, "StopSignal"));
	return sig > 0 ? sig : SIGTERM;
}

static void signal_event(struct container *c, int sig)
{
	char number[16];
	snprintf(number, sizeof(number), "%d", sig);
	container_event_send(c, "kill", "signal", number, NULL);
}

/* ---- stop and restart
 *
 *     signal ──(timeout)──> SIGKILL ──> the end, cleared away ──> answer, or start again
 *
 * One that waits holds up what comes behind it. So whoever has less patience (a second stop, a forced removal) lends it: the
 * timeout of those before becomes as short as its own. */

struct stop {
	struct op op;
	int signal; /* 0 = the container's */
	int64_t timeout_s;
	bool restart, was_running;
	bool asked;               /* the signal is sent: the timer stands for the timeout */
	int64_t kill_ms;          /* on the loop's clock; INT64_MAX = never */
	struct loop_timer timer;
	struct ask ask, last; /* the signal, SIGKILL */
	struct end_listener end;
};

static void ask_done(struct ask *a, const struct err *err)
{
	/* OK, or it has ended meanwhile, which the control socket says. */
}

static void stop_over(struct stop *s)
{
	struct container *c = s->op.c;
	loop_timer_stop(&s->timer);
	if (s->was_running)
		container_event_send(c, "stop", NULL);
	if (!s->restart) {
		container_op_end(&s->op, NULL);
		return;
	}
	/* The start takes over the answer; "restart" is told after its "start". */
	struct container_call *call = take(&s->op.ticket.call);
	c->manually_stopped = false;
	container_restart_follow(c, call);
	container_op_end(&s->op, NULL);
}

static void stop_ended(struct end_listener *l)
{
	struct stop *s = container_of(l, struct stop, end);
	struct container *c = s->op.c;
	if (c->status == STATUS_RESTARTING) { /* cannot be: manually_stopped was set. A policy of "always" at boot only. */
		loop_timer_stop(&c->restart_timer);
		c->status = STATUS_EXITED;
	}
	stop_over(s);
}

/* The container runs on. */
static void stop_give_up(struct stop *s, const struct err *why)
{
	loop_timer_stop(&s->timer);
	list_remove(&s->end.link);
	list_remove(&s->ask.link);
	list_remove(&s->last.link);
	container_op_end(&s->op, why);
}

/* An engine that closes waits for no container's end: that may have been given hours. */
static bool stop_is_late(struct stop *s)
{
	auto_err struct err err = ERR_INIT;
	if (!s->op.c->e->closing)
		return false;
	err_set(&err, ERR_UNAVAILABLE, "the engine is closing");
	stop_give_up(s, &err);
	return true;
}

/* What SIGKILL does not end (it sleeps in the kernel, or neither it nor its monitor can be told from dead) is there still. */
static void stop_impatient(struct loop_timer *t)
{
	struct stop *s = container_of(t, struct stop, timer);
	auto_err struct err err = ERR_INIT;
	if (s->op.c->ending) /* it has ended, and is being cleared away */
		return;
	err_set(&err, ERR_INTERNAL, "cannot %s container: %s: " CONTAINER_NO_EXIT, s->restart ? "restart" : "stop", s->op.c->id);
	stop_give_up(s, &err);
}

static void impatient_in(struct stop *s, int64_t ms)
{
	s->timer.fn = stop_impatient;
	loop_timer_start(&s->timer, ms);
}

static void stop_kill(struct loop_timer *t)
{
	struct stop *s = container_of(t, struct stop, timer);
	auto_err struct err err = ERR_INIT;
	signal_event(s->op.c, SIGKILL);
	impatient_in(s, CONTAINER_END_MS);
	if (container_ask(s->op.c, &s->last, MONITOR_KILL, SIGKILL, 0, ask_done, &err) < 0)
		return; /* it is ending: the control socket says so */
}

/* At most so long from now. */
static void kill_within(struct stop *s, int64_t timeout_s)
{
	int64_t ms = MIN(timeout_s, INT64_C(315360000)) * 1000, at = loop_now_ms(s->op.c->e->o.loop) + ms;
	if (timeout_s < 0 || at >= s->kill_ms)
		return;
	s->kill_ms = at;
	loop_timer_start(&s->timer, ms);
}

static void stop_signal_send(struct stop *s)
{
	struct container *c = s->op.c;
	auto_err struct err err = ERR_INIT;
	if (stop_is_late(s))
		return;
	list_push(&c->end_listeners, &s->end.link);
	s->end.fn = stop_ended;
	if (c->ending)
		return;
	signal_event(c, s->signal);
	if (container_ask(c, &s->ask, MONITOR_KILL, s->signal, 0, ask_done, &err) < 0)
		return; /* it is ending */
	s->asked = true;
	s->kill_ms = INT64_MAX;
	if (s->signal == SIGKILL)
		impatient_in(s, CONTAINER_END_MS);
	else
		kill_within(s, s->timeout_s);
}

static void thaw_run(struct loop_work *w)
{
	struct op *op = container_of(w, struct op, work);
	runtime_freeze(arena_printf(&op->arena, "%s/runtime", op->c->e->run_dir).ptr, op->c->id, false, &op->err);
}

static void thawed(struct loop_work *w)
{
	struct stop *s = OP_OF_WORK(stop, w);
	struct container *c = s->op.c;
	if (c->status == STATUS_PAUSED) {
		c->status = STATUS_RUNNING;
		container_event_send(c, "unpause", NULL);
	}
	err_done(&s->op.err); /* a group that is gone is thawed */
	stop_signal_send(s);
}

static void stop_begin(struct op *op)
{
	struct stop *s = OP_OF(stop, op);
	struct container *c = op->c;
	if (stop_is_late(s))
		return;
	if (c->status == STATUS_RESTARTING) { /* it is between two runs */
		loop_timer_stop(&c->restart_timer);
		c->status = STATUS_EXITED;
		c->manually_stopped = true;
		(void)container_record_save(c, false, NULL);
		container_waits_ended(c);
		s->was_running = true;
		stop_over(s);
		return;
	}
	if (!container_is_running(c)) {
		op->unchanged = !s->restart;
		stop_over(s);
		return;
	}
	s->was_running = true;
	c->manually_stopped = true;
	if (!s->signal)
		s->signal = stop_signal(c);
	(void)container_record_save(c, false, NULL); /* so that its policy leaves it alone when we die now */
	if (c->status == STATUS_PAUSED)
		container_op_work(op, thaw_run, thawed);
	else
		stop_signal_send(s);
}

void container_stop_fail(struct container *c)
{
	struct op *op = LIST_FIRST(&c->ops, struct op, link);
	struct stop *s = op && op->begin == stop_begin ? OP_OF(stop, op) : NULL;
	if (s && !list_empty(&s->end.link) && !c->ending) /* it waits; those behind it give up when they begin */
		(void)stop_is_late(s);
}

void container_stops_hurry(struct container *c, int64_t timeout_s)
{
	for (struct list *l = c->ops.next; l != &c->ops && timeout_s >= 0; l = l->next) {
		struct op *op = LIST_ENTRY(l, struct op, link);
		struct stop *s = OP_OF(stop, op);
		if (op->begin != stop_begin)
			continue;
		if (s->timeout_s < 0 || s->timeout_s > timeout_s)
			s->timeout_s = timeout_s;
		if (s->asked && s->signal != SIGKILL && container_is_running(c) && !c->ending)
			kill_within(s, timeout_s);
	}
}

static int64_t stop_timeout(const struct container *c)
{
	const struct json *own = json_getl(c->config, "StopTimeout");
	return json_is_number(own) ? json_i64(own, 10) : 10;
}

static void stop_submit(struct container_engine *e, struct span name, struct span signal, int64_t timeout_s, bool restart,
	struct container_call *call)
{
	auto_err struct err err = ERR_INIT;
	int sig;
	struct container *c = container_get(e, name, &err);
	if (!c || signal_read(signal, 0, &sig, &err) < 0) {
		container_fail_later(e, call, &err);
		return;
	}
	struct stop *s = container_op_new(sizeof(*s), c, restart ? "container restart" : "container stop", stop_begin, call);
	s->signal = sig;
	s->timeout_s = timeout_s == CONTAINER_TIMEOUT_UNSET ? stop_timeout(c) : timeout_s;
	s->restart = restart;
	list_init(&s->ask.link);
	list_init(&s->last.link);
	list_init(&s->end.link);
	loop_timer_init(&s->timer, e->o.loop, "container stop timeout", stop_kill);
	container_stops_hurry(c, sig == SIGKILL ? 0 : s->timeout_s);
	container_op_submit(&s->op);
}

void container_stop(struct container_engine *e, struct span name, struct span signal, int64_t timeout_s,
	struct container_call *call)
{
	stop_submit(e, name, signal, timeout_s, false, call);
}

void container_restart(struct container_engine *e, struct span name, struct span signal, int64_t timeout_s,
	struct container_call *call)
{
	stop_submit(e, name, signal, timeout_s, true, call);
}

/* ---- kill: does not wait for changes under way, as it is what ends a stop that hangs. SIGKILL is answered when the container has
 * ended, as Docker's is: who asks next finds it dead. */

enum { KILL_MS = 10000 }; /* Docker's patience with what SIGKILL does not end */

struct kill {
	struct ticket ticket;
	struct container *c;
	struct end_listener end;
	struct loop_timer patience;
	struct list link; /* in the container's kills while it waits */
	int signal;
	struct ask ask;
	struct loop_work work;
	struct arena arena;
	char id[65];
	struct err err;
};

static void kill_end(struct kill *k, const struct err *err)
{
	struct container_engine *e = k->c->e;
	loop_timer_stop(&k->patience);
	list_remove(&k->end.link);
	list_remove(&k->link);
	container_ticket_answer(&k->ticket, err);
	arena_done(&k->arena);
	err_done(&k->err);
	free(k);
	container_busy(e, -1);
}

static void kill_ended(struct end_listener *l)
{
	kill_end(container_of(l, struct kill, end), NULL);
}

static void kill_impatient(struct loop_timer *t)
{
	struct kill *k = container_of(t, struct kill, patience);
	auto_err struct err err = ERR_INIT;
	if (k->c->ending) /* it has ended, and is being cleared away */
		return;
	err_set(&err, ERR_INTERNAL, CONTAINER_NO_EXIT);
	kill_end(k, &err);
}

void container_kills_fail(struct container *c, const struct err *why)
{
	LIST_EACH(&c->kills, k, struct kill, link)
		kill_end(k, why);
}

static void kill_answer(struct ask *a, const struct err *err)
{
	struct kill *k = container_of(a, struct kill, ask);
	struct container *c = k->c;
	auto_err struct err why = ERR_INIT;
	if (err)
		err_set(&why, err->class == ERR_IN_USE || err->class == ERR_NOT_FOUND ? ERR_IN_USE : ERR_INTERNAL,
			"%s", err_msg(err));
	else
		signal_event(c, k->signal);
	if (err || k->signal != SIGKILL || !container_is_running(c) || c->e->closing) {
		kill_end(k, err ? &why : NULL);
		return;
	}
	k->end.fn = kill_ended;
	list_push(&c->end_listeners, &k->end.link);
	list_push(&c->kills, &k->link);
	loop_timer_start(&k->patience, KILL_MS);
}

void container_kill(struct container_engine *e, struct span name, struct span signal, struct container_call *call)
{
	auto_err struct err err = ERR_INIT;
	int sig;
	struct container *c = container_get(e, name, &err);
	if (!c || signal_read(signal, SIGKILL, &sig, &err) < 0) {
		container_fail_later(e, call, &err);
		return;
	}
	if (c->status == STATUS_RESTARTING && (sig == SIGKILL || sig == stop_signal(c))) { /* it never comes back */
		container_stop(e, span_of(c->id), SPAN_EMPTY, 0, call);
		return;
	}
	if (!container_is_running(c) || c->ending) {
		err_set(&err, ERR_IN_USE, "container %s is not running", c->id);
		container_fail_later(e, call, &err);
		return;
	}
	/* What stops it is the user's wish: the policy rests. */
	if (sig == SIGKILL || sig == stop_signal(c))
		c->manually_stopped = true;
	if (c->status == STATUS_PAUSED && sig == SIGKILL) { /* a frozen v1 group takes it only when it is thawed */
		container_stop(e, span_of(c->id), SPAN("KILL"), 0, call);
		return;
	}
	struct kill *k = mem_new(struct kill);
	k->c = c;
	k->signal = sig;
	list_init(&k->end.link);
	list_init(&k->link);
	loop_timer_init(&k->patience, e->o.loop, "container kill", kill_impatient);
	container_busy(e, 1);
	container_ticket_take(&k->ticket, call);
	if (container_ask(c, &k->ask, MONITOR_KILL, sig, 0, kill_answer, &k->err) < 0) {
		container_ticket_take(&k->ticket, NULL);
		err_move(&err, &k->err);
		free(k);
		container_busy(e, -1);
		container_fail_later(e, call, &err);
	}
}

/* ---- reopening the log: beside other changes, too */

struct reopen {
	struct ticket ticket;
	struct container_engine *e;
	struct ask ask;
};

static void reopen_answer(struct ask *a, const struct err *err)
{
	struct reopen *r = container_of(a, struct reopen, ask);
	struct container_engine *e = r->e;
	container_ticket_answer(&r->ticket, err);
	free(r);
	container_busy(e, -1);
}

void container_log_reopen(struct container_engine *e, struct span name, struct container_call *call)
{
	auto_err struct err err = ERR_INIT;
	struct container *c = container_get(e, name, &err);
	struct reopen *r = mem_new(struct reopen);
	r->e = e;
	if (!c || container_ask(c, &r->ask, MONITOR_REOPEN, 0, 0, reopen_answer, &err) < 0) {
		free(r);
		container_fail_later(e, call, &err);
		return;
	}
	container_busy(e, 1);
	container_ticket_take(&r->ticket, call);
}

/* ---- pause, unpause */

struct freeze {
	struct op op;
	bool freeze;
};

static void freeze_run(struct loop_work *w)
{
	struct freeze *f = OP_OF_WORK(freeze, w);
	runtime_freeze(arena_printf(&f->op.arena, "%s/runtime", f->op.c->e->run_dir).ptr, f->op.c->id, f->freeze, &f->op.err);
}

static void freeze_done(struct loop_work *w)
{
	struct freeze *f = OP_OF_WORK(freeze, w);
	struct container *c = f->op.c;
	auto_err struct err err = ERR_INIT;
	if (f->op.err.class) {
		err_move(&err, &f->op.err);
		err_note(&err, "cannot %s container %s", f->freeze ? "pause" : "unpause", c->id);
		container_op_end(&f->op, &err);
		return;
	}
	if (container_is_running(c) && !c->ending) {
		c->status = f->freeze ? STATUS_PAUSED : STATUS_RUNNING;
		(void)container_record_save(c, false, NULL); /* the freezer itself remembers */
		container_event_send(c, f->freeze ? "pause" : "unpause", NULL);
		if (f->freeze)
			container_health_stopped(c);
		else
			container_health_started(c);
	}
	container_op_end(&f->op, NULL);
}

static void freeze_begin(struct op *op)
{
	struct freeze *f = OP_OF(freeze, op);
	struct container *c = op->c;
	auto_err struct err err = ERR_INIT;
	bool runs = container_is_running(c) && !c->ending;
	if (!runs && f->freeze)
		err_set(&err, ERR_IN_USE, "Container %s is not running", c->id);
	else if (f->freeze && c->status == STATUS_PAUSED)
		err_set(&err, ERR_IN_USE, "Container %s is already paused", c->id);
	else if (!f->freeze && (!runs || c->status != STATUS_PAUSED))
		err_set(&err, ERR_IN_USE, "Container %s is not paused", c->id);
	if (err.class)
		container_op_end(op, &err);
	else
		container_op_work(op, freeze_run, freeze_done);
}

static void freeze_submit(struct container_engine *e, struct span name, bool on, struct container_call *call)
{
	struct container *c = container_for_call(e, name, call);
	if (!c)
		return;
	struct freeze *f = container_op_new(sizeof(*f), c, on ? "container pause" : "container unpause", freeze_begin, call);
	f->freeze = on;
	container_op_submit(&f->op);
}

void container_pause(struct container_engine *e, struct span name, struct container_call *call)
{
	freeze_submit(e, name, true, call);
}

void container_unpause(struct container_engine *e, struct span name, struct container_call *call)
{
	freeze_submit(e, name, false, call);
}

/* ---- rename */

struct rename {
	struct op op;
	struct span name;
	char *old;
};

static void renamed(struct loop_work *w)
{
	struct rename *r = OP_OF_WORK(rename, w);
	struct container *c = r->op.c;
	auto_err struct err err = ERR_INIT;
	if (r->op.err.class) { /* the disk has the old name: so have we */
		err_move(&err, &r->op.err);
		map_remove(&c->e->by_name, span_of(c->name));
		free(c->name);
		c->name = r->old;
		map_put(&c->e->by_name, span_of(c->name), c);
		container_op_end(&r->op, &err);
		return;
	}
	char *was = arena_cstr(&r->op.arena, arena_printf(&r->op.arena, "/%s", r->old));
	container_net_rename(c);
	container_event_send(c, "rename", "oldName", was, NULL);
	free(r->old);
	container_op_end(&r->op, NULL);
}

static void rename_begin(struct op *op)
{
	struct rename *r = OP_OF(rename, op);
	struct container *c = op->c;
	auto_err struct err err = ERR_INIT;
	if (span_is(r->name, c->name))
		err_set(&err, ERR_INVALID_REQUEST, "Renaming a container with the same name as its current name");
	else if (container_name_reserve(c->e, r->name, &err) == 0)
		container_name_release(c->e, r->name); /* nobody else can come in between: one thread */
	if (err.class) {
		container_op_end(op, &err);
		return;
	}
	r->old = c->name;
	map_remove(&c->e->by_name, span_of(c->name));
	c->name = mem_dup(r->name.ptr, r->name.len);
	map_put(&c->e->by_name, span_of(c->name), c);
	container_op_save(op, renamed);
}

void container_rename(struct container_engine *e, struct span name, struct span new_name, struct container_call *call)
{
	auto_err struct err err = ERR_INIT;
	struct container *c = container_get(e, name, &err);
	struct span bare = span_starts(new_name, SPAN("/")) ? span_from(new_name, 1) : new_name;
	if (c && !bare.len)
		err_set(&err, ERR_INVALID_REQUEST, "Neither old nor new names may be empty");
	else if (c && !container_name_ok(bare))
		err_set(&err, ERR_INVALID_REQUEST,
			"Error when allocating new name: Invalid container name (/%.*s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are "
			"allowed", SPAN_ARG(bare));
	if (err.class) {
		container_fail_later(e, call, &err);
		return;
	}
	struct rename *r = container_op_new(sizeof(*r), c, "container rename", rename_begin, call);
	r->name = arena_span(&r->op.arena, bare);
	container_op_submit(&r->op);
}

/* ---- update */

struct update {
	struct op op;
	struct json doc;  /* in op.arena, as the next */
	struct json host; /* HostConfig as it will be */
	struct json extra; /* likewise */
	struct json warnings;
	bool runs;
};

/* Members of HostConfig that can change. What is 0, "" or null in the request stays as it is. */
static const char *const updatable[] = { "BlkioWeight",	    "CpuPeriod",  "CpuQuota", "CpuRealtimePeriod", "CpuRealtimeRuntime",
	"CpuShares",
					 "CpusetCpus",	    "CpusetMems", "Memory",   "MemorySwap",	   "MemoryReservation",	 "NanoCpus",
					 "PidsLimit" };

static bool says_nothing(const struct json *v)
{
	return !v || v->kind == JSON_NULL || (v->kind == JSON_STRING && !v->n) || (json_is_number(v) && json_i64(v, 1) == 0);
}

static int update_apply(struct update *u, struct err *err)
{
	struct container *c = u->op.c;
	struct arena *a = &u->op.arena;
	struct json h = json_copy(a, c->host);
	const struct json *pids = json_getl(&u->doc, "PidsLimit");
	bool unlimited = json_is_number(pids) && json_i64(pids, 1) <= 0;
	u->warnings = json_array();
	container_resources_adapt(a, &u->doc, &u->warnings);
	if (unlimited)
		json_setl(a, &h, "PidsLimit", json_int(-1)); /* until `updated` */
	for (size_t i = 0; i < ARRAY_LEN(updatable); i++) {
		const struct json *v = json_get(&u->doc, span_of(updatable[i]));
		if (!says_nothing(v))
			json_set(a, &h, span_of(updatable[i]), *v);
	}
	int64_t memory = container_num(&u->doc, "Memory"), swap = container_num(&u->doc, "MemorySwap");
	/* As dockerd compares: without a bound on swap (0) or with none wanted (-1) a bound on memory needs one beside it. */
	int64_t swap_now = container_num(c->host, "MemorySwap");
	if (memory >= CONTAINER_MEMORY_MIN && swap == 0 && swap_now < memory && (!container_extra_of(c) || swap_now > 0))
		return err_set(err, ERR_INVALID_REQUEST, "Cannot update container %s: Memory limit should be smaller than already set "
			"memoryswap limit, update the memoryswap at the same time", c->id);
	if (container_num(&u->doc, "NanoCpus") > 0 && (container_num(c->host, "CpuPeriod") || container_num(c->host, "CpuQuota")))
		return err_set(err, ERR_INVALID_REQUEST, "Cannot update container %s: Conflicting options: Nano CPUs cannot be updated as "
			"CPU %s has already been set", c->id,
			container_num(c->host, "CpuPeriod") ? "Period" : "Quota");
	if ((container_num(&u->doc, "CpuPeriod") || container_num(&u->doc, "CpuQuota")) && container_num(c->host, "NanoCpus"))
		return err_set(err, ERR_INVALID_REQUEST, "Cannot update container %s: Conflicting options: CPU %s cannot be updated as "
			"NanoCPUs has already been set", c->id,
			container_num(&u->doc, "CpuPeriod") ? "Period" : "Quota");
	int rc = container_resources_check(&h, CHECK_UPDATE | (container_extra_of(c) ? CHECK_FREE : 0U), err);
	const struct json *policy = json_getl(&u->doc, "RestartPolicy");
	if (rc == 0 && container_str(policy, "Name").len) {
		if (container_truth(c->host, "AutoRemove") && !span_is(container_str(policy, "Name"), "no"))
			return err_set(err, ERR_INVALID_REQUEST,
				"Restart policy cannot be updated because AutoRemove is enabled for the container");
		rc = container_restart_check(policy, false, err);
		struct json p = json_object();
		json_setl(a, &p, "Name", json_str(container_str(policy, "Name")));
		json_setl(a, &p, "MaximumRetryCount", json_int(container_num(policy, "MaximumRetryCount")));
		json_setl(a, &h, "RestartPolicy", p);
	}
	if (rc == 0)
		u->host = h;
	const struct json *extra = container_extra_of(c);
	u->extra = extra ? json_copy(a, extra) : JSON_NULL_VALUE;
	JSON_EACH_MEMBER (extra ? json_getl(&u->doc, "Extra") : NULL, m)
		json_set(a, &u->extra, json_key(m), m->value);
	return rc;
}

static void document_swap(struct container *c, const struct json *host, const struct json *extra)
{
	/* A fresh arena each time: updates for ever must not grow for ever. */
	struct arena fresh = {};
	struct json doc = json_copy(&fresh, &c->doc);
	json_setl(&fresh, &doc, "HostConfig", json_copy(&fresh, host));
	if (extra->kind == JSON_OBJECT)
		json_setl(&fresh, &doc, "Extra", json_copy(&fresh, extra));
	arena_done(&c->arena);
	c->arena = fresh;
	c->doc = doc;
	c->config = json_getl(&c->doc, "Config");
	c->host = json_getl(&c->doc, "HostConfig");
}

static void update_run(struct loop_work *w)
{
	struct update *u = OP_OF_WORK(update, w);
	struct op *op = &u->op;
	const struct container *c = op->c;
	if (!u->runs)
		return;
	auto_buf struct buf text = {};
	struct json_out o = { .buf = &text };
	const char *root = arena_printf(&op->arena, "%s/runtime", c->e->run_dir).ptr;
	int rc = container_spec_resources(&o, &u->host, &u->extra, false, &op->arena, &op->err);
	rc = rc < 0 ? rc : runtime_update(root, c->id, buf_span(&text), &op->err);
	if (rc < 0)
		err_note(&op->err, "Cannot update container %s", c->id);
}

static void update_saved(struct loop_work *w)
{
	struct update *u = OP_OF_WORK(update, w);
	struct container *c = u->op.c;
	auto_err struct err err = ERR_INIT;
	err_move(&err, &u->op.err);
	if (!err.class) {
		u->op.result = json_object();
		json_setl(&u->op.arena, &u->op.result, "Warnings", u->warnings.n ? u->warnings : JSON_NULL_VALUE);
		container_event_send(c, "update", NULL);
	}
	container_op_end(&u->op, err.class ? &err : NULL);
}

static void updated(struct loop_work *w)
{
	struct update *u = OP_OF_WORK(update, w);
	auto_err struct err err = ERR_INIT;
	if (u->op.err.class) {
		err_move(&err, &u->op.err);
		container_op_end(&u->op, &err);
		return;
	}
	if (container_num(&u->host, "PidsLimit") < 0) /* the group has none any more, and a new one has none anyway */
		json_setl(&u->op.arena, &u->host, "PidsLimit", json_int(0));
	document_swap(u->op.c, &u->host, &u->extra);
	container_op_save(&u->op, update_saved);
}

static void update_begin(struct op *op)
{
	struct update *u = OP_OF(update, op);
	auto_err struct err err = ERR_INIT;
	if (op->c->status == STATUS_REMOVING || op->c->status == STATUS_DEAD)
		err_set(&err, ERR_IN_USE, "Cannot update container %s: container is marked for removal and cannot be \"update\"",
			op->c->id);
	u->runs = container_is_running(op->c) && !op->c->ending;
	if (err.class || update_apply(u, &err) < 0)
		container_op_end(op, &err);
	else
		container_op_work(op, update_run, updated);
}

void container_update(struct container_engine *e, struct span name, const struct json *doc, struct container_call *call)
{
	struct container *c = container_for_call(e, name, call);
	if (!c)
		return;
	struct update *u = container_op_new(sizeof(*u), c, "container update", update_begin, call);
	u->doc = json_copy(&u->op.arena, doc);
	container_op_submit(&u->op);
}
