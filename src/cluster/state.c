/* RUN/state.json as its readers see it: texts that the supervisor wrote, checked like anybody's. */
#include "cluster/private.h"

#include <fcntl.h>

#include "sys/sys.h"

#define STATE_MAX (256 << 10)

const char *const cluster_part_state_names[] = {
	[CLUSTER_PART_STARTING] = "starting",
	[CLUSTER_PART_READY] = "ready",
	[CLUSTER_PART_WAITING] = "waiting",
	[CLUSTER_PART_ENDED] = "ended",
};

/* Strings of a tree end in no 0 byte; what is printed later is copied. */
static struct span text(struct arena *a, const struct json *o, const char *key)
{
	return arena_span(a, json_span(json_get(o, span_of(key))));
}

static int64_t number(const struct json *o, const char *key)
{
	return json_i64(json_get(o, span_of(key)), 0);
}

int cluster_view_read(const struct cluster_layout *l, struct cluster_view *v, struct err *err)
{
	auto_buf struct buf b = {};
	struct json tree;
	struct arena *a = &v->arena;
	*v = (struct cluster_view){};
	int rc = io_read_file(AT_FDCWD, l->state.ptr, &b, STATE_MAX, err);
	if (rc == 0)
		rc = json_parse(a, buf_span(&b), 0, NULL, &tree, err);
	if (rc < 0) {
		arena_done(a);
		return rc;
	}
	v->pid = number(&tree, "pid");
	v->start_ticks = number(&tree, "startTicks");
	v->phase = text(a, &tree, "phase");
	v->address = text(a, &tree, "address");
	v->server = text(a, &tree, "server");
	v->alive = v->pid > 0 && sys_process_alive((pid_t)v->pid, (uint64_t)v->start_ticks);
	JSON_EACH_ITEM(json_getl(&tree, "steps"), step) {
		if (v->n_steps == CLUSTER_STEPS_MAX)
			break;
		v->steps[v->n_steps].name = text(a, step, "name");
		v->steps[v->n_steps].detail = text(a, step, "detail");
		v->steps[v->n_steps++].ms = number(step, "ms");
	}
	const struct json *f = json_getl(&tree, "failure");
	v->failure.step = text(a, f, "step");
	v->failure.reason = text(a, f, "reason");
	v->failure.remedy = text(a, f, "remedy");
	JSON_EACH_ITEM(json_getl(&tree, "parts"), p) {
		if (v->n_parts == CLUSTER_PARTS)
			break;
		v->parts[v->n_parts++] = (struct cluster_part_view){
			.name = text(a, p, "name"), .state = text(a, p, "state"), .health = text(a, p, "health"), .last_end = text(a, p,
				"lastEnd"),
			.pid = number(p, "pid"), .start_ticks = number(p, "startTicks"), .restarts = number(p, "restarts"),
			.started_s = number(p, "started"), .ready_ms = json_i64(json_getl(p, "readyMs"), -1),
		};
	}
	return 0;
}

void cluster_view_done(struct cluster_view *v)
{
	arena_done(&v->arena);
}
