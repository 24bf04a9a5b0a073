/* container.json: everything about a container that must outlive us. Its document, and its state in the struct's fields. */
#include <fcntl.h>

#include "container/private.h"

const char *const container_status_names[STATUS_COUNT] = { "created", "running", "paused", "restarting", "removing", "exited",
	"dead" };
const char *const container_health_names[HEALTH_COUNT] = { "none", "starting", "healthy", "unhealthy" };

#define RECORD_MAX (8 << 20)

struct json container_time(int64_t ns, struct arena *a)
{
	char text[40];
	if (!ns)
		return json_cstr("0001-01-01T00:00:00Z");
	size_t n = time_format(text, ns / NS_PER_S, (int32_t)(ns % NS_PER_S), -1);
	return json_str(span_make(arena_copy(a, text, n), n));
}

static void health_write(const struct container *c, struct json_out *o)
{
	json_out_key(o, SPAN("Health"));
	json_out_begin(o);
	container_out_s(o, "Status", span_of(container_health_names[c->health.status]));
	container_out_i(o, "FailingStreak", c->health.streak);
	json_out_end(o);
}

void container_record_write(const struct container *c, struct buf *out)
{
	struct json_out o = { .buf = out };
	json_out_begin(&o);
	container_out_i(&o, "Version", 1);
	container_out_s(&o, "Id", span_of(c->id));
	container_out_s(&o, "Name", span_of(c->name));
	json_out_key(&o, SPAN("State"));
	json_out_begin(&o);
	container_out_s(&o, "Status", span_of(container_status_names[c->status]));
	container_out_i(&o, "ExitCode", c->exit_code);
	container_out_b(&o, "OOMKilled", c->oom_killed);
	container_out_b(&o, "ManuallyStopped", c->manually_stopped);
	container_out_b(&o, "EverStarted", c->ever_started);
	json_out_kspan(&o, "Error", span_of(c->error));
	container_out_i(&o, "StartedNs", c->started_ns);
	container_out_i(&o, "FinishedNs", c->finished_ns);
	container_out_i(&o, "RestartCount", c->restart_count);
	container_out_i(&o, "BackOffMs", c->back_off_ms);
	health_write(c, &o);
	json_out_end(&o);
	json_out_key(&o, SPAN("Document"));
	json_out_value(&o, &c->doc);
	json_out_end(&o);
}

int container_record_read(struct container *c, struct span text, struct err *err)
{
	struct json v;
	int rc = json_parse(&c->arena, text, 0, NULL, &v, err);
	const struct json *s = json_getl(&v, "State"), *doc = json_getl(&v, "Document");
	if (rc < 0)
		return rc;
	if (container_num(&v, "Version") != 1 || !span_is(container_str(&v, "Id"), c->id) || !json_is(doc, JSON_OBJECT) ||
	    !json_is(json_getl(doc, "Config"), JSON_OBJECT) || !json_is(json_getl(doc, "HostConfig"), JSON_OBJECT) ||
	    !container_name_ok(container_str(&v, "Name")))
		return err_set(err, ERR_CORRUPT, "the record lacks a field, or is of another version");
	c->doc = *doc;
	c->config = json_getl(&c->doc, "Config");
	c->host = json_getl(&c->doc, "HostConfig");
	struct span name = container_str(&v, "Name"), status = container_str(s, "Status"), error = container_str(s, "Error");
	free(c->name);
	c->name = mem_dup(name.ptr, name.len);
	for (int i = 0; i < STATUS_COUNT; i++)
		if (span_is(status, container_status_names[i]))
			c->status = (enum status)i;
	c->exit_code = (int)container_num(s, "ExitCode");
	c->oom_killed = container_truth(s, "OOMKilled");
	c->manually_stopped = container_truth(s, "ManuallyStopped");
	c->ever_started = container_truth(s, "EverStarted");
	c->error = error.len ? mem_dup(error.ptr, error.len) : NULL;
	c->started_ns = container_num(s, "StartedNs");
	c->finished_ns = container_num(s, "FinishedNs");
	c->restart_count = (int)container_num(s, "RestartCount");
	c->back_off_ms = container_num(s, "BackOffMs");
	const struct json *health = json_getl(s, "Health");
	for (int i = 0; i < HEALTH_COUNT; i++)
		if (span_is(container_str(health, "Status"), container_health_names[i]))
			c->health.status = (enum health_status)i;
	c->health.streak = (int)MIN(MAX(container_num(health, "FailingStreak"), INT64_C(0)), (int64_t)INT32_MAX);
	return 0;
}

int container_record_put(const struct container_engine *e, const char *id, struct span text, bool sync, struct err *err)
{
	auto_fd int dir = openat(e->containers_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "open the container's folder");
	int rc = sync ? io_write_file(dir, "container.json", text, 0600, err)
		      : io_write_file_lazy(dir, "container.json", text, 0600, err);
	return rc < 0 ? err_note(err, "container.json") : 0;
}

int container_record_save(const struct container *c, bool sync, struct err *err)
{
	auto_buf struct buf text = {};
	container_record_write(c, &text);
	return container_record_put(c->e, c->id, buf_span(&text), sync, err);
}

/* ---- behind the answers */

struct settle {
	struct loop_work work;
	struct container_engine *e;
	char id[65];
	struct err err;
};

/* Whatever the record says by then, or nothing when it was removed. */
static void settle_run(struct loop_work *w)
{
	struct settle *s = container_of(w, struct settle, work);
	auto_fd int dir = openat(s->e->containers_fd, s->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_fd int fd = dir < 0 ? -1 : openat(dir, "container.json", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && (fsync(fd) < 0 || fsync(dir) < 0 || fsync(s->e->containers_fd) < 0))
		(void)err_sys(&s->err, "sync the record of container %s", s->id);
	FAILPOINT("container.record.settled");
}

static void settle_done(struct loop_work *w)
{
	struct settle *s = container_of(w, struct settle, work);
	struct container_engine *e = s->e;
	if (s->err.class)
		container_warn(e, "a container's record may not survive a power cut", s->id, &s->err);
	err_done(&s->err);
	free(s);
	container_busy(e, -1);
}

void container_record_due(struct loop_timer *t)
{
	struct container *c = container_of(t, struct container, record_timer);
	struct container_engine *e = c->e;
	int errnum;
	if (FAILPOINT_ERR("container.record.due", &errnum)) /* the moment before this lasts, for tests of what a power cut takes */
		return;
	(void)container_record_save(c, false, NULL); /* the monitor's folder outranks it */
	if (!container_is_fleeting(c))
		return;
	struct settle *s = mem_new(struct settle);
	s->e = e;
	memcpy(s->id, c->id, sizeof(s->id));
	container_busy(e, 1);
	if (loop_work_submit(e->o.pool, e->o.loop, &s->work, "container record", settle_run, settle_done) == 0)
		return;
	free(s); /* the pool is full: a moment later, or at the engine's end never: the kernel writes it out by itself */
	container_busy(e, -1);
	if (!e->closing)
		loop_timer_start(&c->record_timer, CONTAINER_RECORD_MS);
}
