/* Execs that outlived the engine. RUN/exec/ID/exec.json says whose each is; who still runs is listed and watched again.
 *
 *     {"ContainerID":"...","Hidden":false,"Config":{...}}      written before the process begins, never synced: after a power
 *                                                              cut there is no process it could speak of */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "container/exec.h"

#define RECORD_MAX (4 << 20)

int container_exec_record(const struct exec *x, int dir, struct err *err)
{
	auto_buf struct buf text = {};
	struct json_out o = { .buf = &text };
	json_out_begin(&o);
	container_out_s(&o, "ContainerID", span_of(x->container_id));
	container_out_b(&o, "Hidden", x->hidden);
	json_out_key(&o, SPAN("Config"));
	json_out_value(&o, &x->config);
	json_out_end(&o);
	return io_write_file_lazy(dir, "exec.json", buf_span(&text), 0600, err);
}

/* Its monitor lives. Nobody waits any more for a probe, nor for what was held for a client that never came: they are ended. */
static int alive(struct container_engine *e, const char *id, int dir, struct err *err)
{
	auto_arena struct arena a = {};
	auto_buf struct buf text = {};
	enum monitor_found found;
	struct monitor_exit end;
	struct monitor_state state;
	struct json v;
	int sock = -1;
	int rc = io_read_file(dir, "exec.json", &text, RECORD_MAX, err);
	rc = rc < 0 ? rc : json_parse(&a, buf_span(&text), 0, NULL, &v, err);
	rc = rc < 0 ? rc : monitor_find(dir, &found, &sock, &end, err);
	if (rc < 0 || found != MONITOR_FOUND_ALIVE)
		return rc;
	auto_fd int control = sock;
	if (control < 0)
		return err_set(err, ERR_UNAVAILABLE, "its monitor takes no more connections");
	monitor_patience(control, MONITOR_ANSWER_MS);
	rc = container_monitor_settled(control, &state, err);
	if (rc < 0)
		return rc;
	const struct json *config = json_getl(&v, "Config"), *cmd = json_getl(config, "Cmd");
	struct container *c = map_get(&e->by_id, container_str(&v, "ContainerID"));
	bool sound = c && container_is_running(c) && json_is(cmd, JSON_ARRAY) && cmd->n && !map_get(&e->execs, span_of(id));
	if (!sound || container_truth(&v, "Hidden") || state.phase == MONITOR_CREATED)
		return monitor_call(control, MONITOR_KILL, 9, 0, NULL, err);
	if (state.phase != MONITOR_RUNNING)
		return 0; /* over; the folder goes with the next open */
	rc = container_exec_adopt(c, id, config, take_fd(&control), state.pid, err);
	if (rc == 0 && e->o.end_execs)
		container_exec_stop(e, span_of(id));
	return rc;
}

static bool is_exec_id(const char *name)
{
	uint8_t raw[32];
	return strlen(name) == 64 && hex_parse(span_of(name), raw);
}

void container_execs_resume(struct container_engine *e)
{
	auto_arena struct arena a = {};
	auto_fd int dir = open(arena_printf(&a, "%s/exec", e->run_dir).ptr, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = dir < 0 ? NULL : fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 0));
	struct dirent *d;
	while (list && (d = readdir(list))) {
		auto_err struct err err = ERR_INIT;
		auto_fd int one = !is_exec_id(d->d_name) ? -1 : openat(dir, d->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (one < 0)
			continue;
		/* A monitor holds the lock as long as it lives, and a spawner that is about to make one. */
		bool over = flock(one, LOCK_EX | LOCK_NB) == 0;
		if (!over && alive(e, d->d_name, one, &err) < 0)
			container_warn(e, "a process of exec goes on unseen", d->d_name, &err);
		else if (over || flock(one, LOCK_EX | LOCK_NB) == 0)
			(void)container_folder_remove(dir, d->d_name, NULL); /* the next open tries again */
	}
	if (list)
		closedir(list);
}
