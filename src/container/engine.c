/* The engine: where everything is kept, how containers are found by name, and how they are found again after a restart.
 *
 * At open, in this order (a death in between only means that the next open does it):
 *     records       read; a folder without one was never a container, or is none any more: removed
 *     monitors      each is asked (monitor_find): alive = watched again, connected or not (watch.c); ended = the true exit is
 *                   taken over; lost = 137
 *     the rest      run folders, runtime folders and snapshots that no container accounts for are removed
 *     policies      what wants to run again does, from the loop */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "container/private.h"
#include "network/network.h"
#include "runtime/runtime.h"

#define CONFIG_BYTES (16u << 20) /* a config.json of our own making */
#define ID_LEN 64
#define GONE_WAIT_MS 5000
#define TURNED_AWAY_MAX 10

bool container_is_running(const struct container *c)
{
	return c->status == STATUS_RUNNING || c->status == STATUS_PAUSED;
}

bool container_is_volatile(const struct container *c)
{
	return container_truth(c->host, "AutoRemove");
}

bool container_is_fleeting(const struct container *c)
{
	return container_truth(container_extra_of(c), "Fleeting");
}

/* ---- containers in memory */

static void restart_nothing(struct loop_timer *t)
{
}

struct container *container_new(struct container_engine *e, const char *id)
{
	struct container *c = mem_new(struct container);
	c->e = e;
	memcpy(c->id, id, ID_LEN);
	c->run_left = RUN_LEFT_ALL; /* until somebody has looked */
	list_init(&c->link);
	list_init(&c->ops);
	list_init(&c->waits);
	list_init(&c->streams);
	list_init(&c->execs);
	container_watch_init(c);
	list_init(&c->end_listeners);
	list_init(&c->kills);
	loop_timer_init(&c->restart_timer, e->o.loop, "container restart", restart_nothing);
	c->restart_timer.background = true;
	loop_task_init(&c->net_task, container_net_due);
	loop_timer_init(&c->record_timer, e->o.loop, "container record", container_record_due);
	c->record_timer.background = true;
	return c;
}

void container_free(struct container *c)
{
	loop_timer_stop(&c->restart_timer);
	loop_timer_stop(&c->record_timer);
	loop_timer_stop(&c->reach_timer);
	loop_task_cancel(&c->net_task);
	container_health_done(c);
	container_pack_free(c);
	container_execs_drop(c);
	container_streams_part(&c->streams);
	list_remove(&c->link);
	free(c->name);
	free(c->error);
	arena_done(&c->arena);
	arena_done(&c->net_arena);
	free(c);
}

void container_index_add(struct container *c)
{
	list_push(&c->e->all, &c->link);
	map_put(&c->e->by_id, span_of(c->id), c);
	map_put(&c->e->by_name, span_of(c->name), c);
}

struct container *container_get(struct container_engine *e, struct span name, struct err *err)
{
	struct span bare = span_starts(name, SPAN("/")) ? span_from(name, 1) : name;
	struct container *c = map_get(&e->by_id, name), *found = NULL;
	c = c ? c : map_get(&e->by_name, bare);
	if (c)
		return c;
	if (!bare.len) {
		err_set(err, ERR_INVALID_REQUEST, "invalid name or ID supplied: \"%.*s\"", SPAN_ARG(name));
		return NULL;
	}
	LIST_EACH (&e->all, one, struct container, link) {
		if (bare.len > ID_LEN || memcmp(one->id, bare.ptr, bare.len) != 0)
			continue;
		if (found) {
			err_set(err, ERR_INVALID_REQUEST, "Multiple IDs found with provided prefix: %.*s", SPAN_ARG(bare));
			return NULL;
		}
		found = one;
	}
	if (!found)
		err_set(err, ERR_NOT_FOUND, "No such container: %.*s", SPAN_ARG(name));
	return found;
}

int container_state(struct container_engine *e, struct span name, struct container_state *out, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	struct container *c = container_get(e, name, &why);
	if (!c)
		return err_move(err, &why);
	*out = (struct container_state){ .running = container_is_running(c), .paused = c->status == STATUS_PAUSED,
		.ended = !container_is_running(c) && (c->status != STATUS_CREATED || c->error), .oom_killed = c->oom_killed, .pid = c->pid,
		.exit_code = c->exit_code, .started_ns = c->started_ns, .finished_ns = container_is_running(c) ? 0 : c->finished_ns,
		.error = c->error ? c->error : "" };
	return 0;
}

int container_identity(struct container_engine *e, struct span name, struct arena *a, struct container_identity *out,
	struct err *err)
{
	auto_err struct err why = ERR_INIT;
	auto_buf struct buf text = {};
	struct json tree;
	const struct container *c = container_get(e, name, &why);
	if (!c)
		return err_move(err, &why);
	if (!container_is_running(c))
		return err_set(err, ERR_NOT_FOUND, "container %s is not running", c->id);
	int rc = io_read_file(AT_FDCWD, container_run_path(a, c, "config.json"), &text, CONFIG_BYTES, err);
	rc = rc < 0 ? rc : json_parse(a, arena_span(a, buf_span(&text)), 0, NULL, &tree, err);
	if (rc < 0)
		return err_note(err, "what container %s was started with", c->id);
	const struct json *user = json_path(&tree, "process", "user", NULL), *groups = json_getl(user, "additionalGids");
	*out = (struct container_identity){ .uid = (uint32_t)json_i64(json_getl(user, "uid"), 0),
		.gid = (uint32_t)json_i64(json_getl(user, "gid"), 0) };
	if (json_is(groups, JSON_ARRAY)) {
		out->groups = arena_alloc_n(a, groups->n + 1, sizeof(*out->groups));
		JSON_EACH_ITEM (groups, g)
			out->groups[out->n_groups++] = json_i64(g, 0);
	}
	return 0;
}

int container_extra(struct container_engine *e, struct span name, const struct json **out, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	static const struct json none = JSON_NULL_VALUE;
	struct container *c = container_get(e, name, &why);
	if (!c)
		return err_move(err, &why);
	*out = json_getl(&c->doc, "Extra") ? json_getl(&c->doc, "Extra") : &none;
	return 0;
}

const char *container_runner(const struct container_engine *e)
{
	return e->runner;
}

bool container_systemd(const struct container_engine *e)
{
	return e->settings.systemd;
}

int container_find(struct container_engine *e, struct span name, char out_id[65], struct err *err)
{
	auto_err struct err why = ERR_INIT;
	struct container *c = container_get(e, name, &why);
	if (!c)
		return err_move(err, &why);
	memcpy(out_id, c->id, sizeof(c->id));
	return 0;
}

void container_ids(struct container_engine *e, struct arena *a, char (**out_ids)[65], size_t *out_n)
{
	size_t n = 0;
	char(*ids)[65] = arena_alloc_n(a, e->by_id.n + 1, sizeof(*ids));
	for (struct list *l = e->all.prev; l != &e->all; l = l->prev)
		memcpy(ids[n++], LIST_ENTRY(l, struct container, link)->id, sizeof(*ids));
	*out_ids = ids;
	*out_n = n;
}

struct container_counts container_counts(struct container_engine *e)
{
	struct container_counts n = {};
	LIST_EACH (&e->all, c, struct container, link) {
		n.running += c->status == STATUS_RUNNING || c->status == STATUS_RESTARTING;
		n.paused += c->status == STATUS_PAUSED;
		n.stopped += c->status != STATUS_RUNNING && c->status != STATUS_PAUSED && c->status != STATUS_RESTARTING;
	}
	return n;
}

/* ---- who uses an image: asked by image_remove on any thread */

void container_users_update(struct container *c, bool gone)
{
	struct container_engine *e = c->e;
	pthread_mutex_lock(&e->users_lock);
	size_t i = 0;
	while (i < e->n_users && strcmp(e->users[i].id, c->id) != 0)
		i++;
	if (gone) {
		if (i < e->n_users)
			e->users[i] = e->users[--e->n_users];
	} else {
		if (i == e->n_users) {
			MEM_GROW(e->users, e->n_users, e->cap_users);
			struct image_user *u = &e->users[e->n_users++];
			struct span image = container_str(&c->doc, "Image");
			*u = (struct image_user){};
			memcpy(u->id, c->id, sizeof(u->id));
			if (image.len <= IMAGE_DIGEST_LEN)
				memcpy(u->image.text, image.ptr ? image.ptr : "", image.len);
		}
		e->users[i].running = container_is_running(c) || c->status == STATUS_RESTARTING;
	}
	pthread_mutex_unlock(&e->users_lock);
}

bool container_uses_image(void *engine, const struct image_digest *id, bool only_running, char out_container[65],
	bool *out_running)
{
	struct container_engine *e = engine;
	bool found = false;
	pthread_mutex_lock(&e->users_lock);
	for (size_t i = 0; i < e->n_users && !(found && *out_running); i++) {
		if (!image_digest_eq(&e->users[i].image, id) || (only_running && !e->users[i].running))
			continue;
		found = true;
		memcpy(out_container, e->users[i].id, 65);
		*out_running = e->users[i].running;
	}
	pthread_mutex_unlock(&e->users_lock);
	return found;
}

struct json container_users(struct container_engine *e, const struct image_digest *id, struct arena *a)
{
	struct json list = json_array();
	pthread_mutex_lock(&e->users_lock);
	for (size_t i = 0; i < e->n_users; i++)
		if (image_digest_eq(&e->users[i].image, id))
			json_push(a, &list, json_str(arena_span(a, span_of(e->users[i].id))));
	pthread_mutex_unlock(&e->users_lock);
	return list;
}

/* ---- layers: snapshot behind image_unpacker */

static bool layer_has(void *arg, const char *chain)
{
	return snapshot_layer_has(arg, chain);
}

static int layer_unpack(void *arg, const char *parent, struct tar_source *from, void **out_pending, struct err *err)
{
	struct snapshot_pending *p;
	int rc = snapshot_unpack(arg, parent, from, &p, NULL, err);
	if (rc == 0)
		*out_pending = p;
	return rc;
}

static int layer_commit(void *arg, void *pending, const char *chain, const char *parent, struct err *err)
{
	return snapshot_unpack_commit(pending, chain, parent, err);
}

static void layer_drop(void *arg, void *pending)
{
	snapshot_unpack_drop(pending);
}

const struct image_unpacker *container_unpacker(struct container_engine *e)
{
	return &e->unpacker;
}

/* ---- finding again */

static int ended_meanwhile(struct container *c, const struct monitor_exit *end, struct err *err)
{
	/* exit.json of the last run stays where it is: told already. */
	bool news = container_is_running(c) || end->finished_ns > c->finished_ns;
	if (!news)
		return 0;
	if (end->class && end->class != ERR_GONE && !end->pid) { /* never ran: a start that was cut off */
		c->status = c->status == STATUS_CREATED ? STATUS_CREATED : STATUS_EXITED;
		c->exit_code = end->exit_code;
		free(c->error);
		c->error = mem_dup(end->error, strlen(end->error));
	} else {
		container_exit_set(c, end);
		c->ever_started = true;
	}
	return container_record_save(c, false, err);
}

/* A power cut, or (lost) its monitor was killed. A fleeting one's record may say yet that it was never started. */
static int ended_untold(struct container *c, bool lost, int state_dir, struct err *err)
{
	struct monitor_state began = {};
	if (lost)
		(void)monitor_recorded(state_dir, &began, NULL); /* torn: the record alone says when it began */
	const int64_t started_ns = MAX(began.started_ns, c->started_ns);
	const struct monitor_exit end = { .exit_code = lost ? 137 : 255, .started_ns = started_ns,
		.finished_ns = clock_wall_ns(clock_real()), .class = lost ? ERR_GONE : ERR_NONE };
	return ended_meanwhile(c, &end, err);
}

/* A commit freezes a container while it reads; a pause and its end are written behind the deed. What was done and nobody was told
 * of is taken back: the record decides. */
static void freezer_agree(struct container *c)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	int rc = runtime_freeze(arena_printf(&a, "%s/runtime", c->e->run_dir).ptr, c->id, c->status == STATUS_PAUSED, &err);
	if (rc < 0 && rc != -ERR_IN_USE && rc != -ERR_NOT_FOUND) /* it is so already, or has ended just now */
		container_warn(c->e, "a container may be frozen or not", c->id, &err);
}

/* Until a monitor that was told to kill has ended: it closes the connection. In vain after GONE_WAIT_MS. */
static void gone_wait(int sock)
{
	char packet[512]; /* what it says meanwhile, cut: nobody asked */
	const int64_t until = clock_mono_ms(clock_real()) + GONE_WAIT_MS;
	for (int64_t left; (left = until - clock_mono_ms(clock_real())) > 0;) {
		struct pollfd p = { .fd = sock, .events = POLLIN };
		int n = poll(&p, 1, (int)left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || recv(sock, packet, sizeof(packet), MSG_DONTWAIT) <= 0)
			return;
	}
}

/* What is left of a start that was cut off is cleared away by the caller, who would otherwise meet a container that is still
 * there. */
static void cut_off(struct container *c, int state_dir, int sock)
{
	if (sock < 0) {
		(void)monitor_signal(state_dir, true, SIGKILL, NULL); /* it has ended */
		(void)container_monitor_gone(state_dir, NULL);        /* in vain after some seconds, as below */
	} else {
		(void)monitor_call(sock, MONITOR_KILL, 9, 0, NULL, NULL);
		gone_wait(sock);
	}
	fd_close(&sock);
	(void)unlinkat(state_dir, "exit.json", 0); /* it tells of a run that never was */
	if (container_is_running(c))
		c->status = STATUS_EXITED;
}

/* Alive: watched again, unless its start was cut off before the program ran. sock -1: it takes no connection. */
static int alive(struct container *c, int state_dir, int sock, struct err *err)
{
	struct monitor_state state;
	auto_err struct err why = ERR_INIT;
	int rc;
	if (sock >= 0) {
		monitor_patience(sock, MONITOR_ANSWER_MS);
		rc = container_monitor_settled(sock, &state, &why);
	} else {
		rc = err_set(&why, ERR_UNAVAILABLE, "it takes no more connections");
	}
	if (rc == -ERR_UNAVAILABLE) { /* stopped, or it hangs: its container runs on, and its files know the rest */
		container_warn(c->e, "a container's monitor does not answer", c->id, &why);
		c->deaf = true;
		rc = monitor_recorded(state_dir, &state, err);
	} else if (rc < 0) {
		err_move(err, &why);
	}
	if (rc == 0 && (state.phase == MONITOR_BUILDING || state.phase == MONITOR_CREATED)) {
		cut_off(c, state_dir, sock);
		return 0;
	}
	if (rc < 0) {
		fd_close(&sock);
		return rc;
	}
	rc = container_adopt(c, sock, &state, err);
	if (rc == 0)
		freezer_agree(c);
	return rc;
}

static int find_again(struct container *c, struct err *err)
{
	auto_fd int dir = openat(c->e->containers_fd, c->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_fd int state = dir < 0 ? -1 : openat(dir, "state", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum monitor_found found = MONITOR_FOUND_NOTHING;
	struct monitor_exit end = {};
	int sock = -1, rc = 0;
	if (state >= 0)
		rc = monitor_find(state, &found, &sock, &end, err);
	for (int again = 0; rc == 0 && found == MONITOR_FOUND_ALIVE; again++) {
		auto_err struct err why = ERR_INIT;
		if (again == TURNED_AWAY_MAX) /* it lives, and has no room for us */
			fd_close(&sock);
		rc = alive(c, state, sock, &why);
		if (rc == 0)
			break;
		if (rc != -ERR_GONE || again == 2 * TURNED_AWAY_MAX)
			return err_move(err, &why);
		/* It ended between our connection and its answer: now it tells by its files. Or it closed it. */
		rc = monitor_find(state, &found, &sock, &end, err);
	}
	if (rc < 0)
		return rc;
	if (found == MONITOR_FOUND_EXIT)
		rc = ended_meanwhile(c, &end, err);
	else if (found != MONITOR_FOUND_ALIVE && (container_is_running(c) || (found == MONITOR_FOUND_LOST && container_is_fleeting(c))))
		rc = ended_untold(c, found == MONITOR_FOUND_LOST, state, err);
	if (rc == 0 && !container_is_watched(c)) {
		c->run_left = RUN_LEFT_ALL;
		rc = container_clear(c->e, c->id, err);
		if (rc == 0) {
			c->run_left = RUN_LEFT_NOTHING;
			container_mounts_end(c->e, c->id, json_getl(&c->doc, "Plan"));
		}
	}
	if (c->status == STATUS_RESTARTING || c->status == STATUS_REMOVING)
		c->status = STATUS_EXITED; /* its policy is asked below; a removal that did not happen may be asked for again */
	return rc;
}

static int container_load(struct container_engine *e, const char *id, struct err *err)
{
	auto_buf struct buf text = {};
	auto_fd int dir = openat(e->containers_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = dir < 0 ? err_sys(err, "open") : io_read_file(dir, "container.json", &text, 8 << 20, err);
	if (rc == -ERR_NOT_FOUND || (rc == 0 && !text.len)) { /* never was one, is none any more, or a power cut met a volatile one */
		rc = container_clear(e, id, err);
		return rc < 0 ? rc : container_folder_remove(e->containers_fd, id, err);
	}
	if (rc < 0)
		return rc;
	struct container *c = container_new(e, id);
	rc = container_record_read(c, buf_span(&text), err);
	if (rc == 0 && map_get(&e->by_name, span_of(c->name)))
		rc = err_set(err, ERR_CORRUPT, "its name %s is another's too", c->name);
	if (rc < 0) {
		container_free(c);
		return rc;
	}
	container_index_add(c);
	rc = find_again(c, err);
	/* What it is doing is not known, and nobody will tell us of its end: whoever starts, stops or removes it must not wait for
	 * that. Start and removal clear away what is left first (run_left), and end what runs. */
	if (rc < 0 && !container_is_watched(c) && container_is_running(c)) {
		c->status = STATUS_EXITED;
		c->exit_code = 137;
	}
	return rc;
}

static bool is_id(const char *name)
{
	uint8_t raw[32];
	return strlen(name) == ID_LEN && hex_parse(span_of(name), raw);
}

static int by_created(const void *x, const void *y)
{
	struct container *const *a = x, *const *b = y;
	int diff = span_cmp(container_str(&(*a)->doc, "Created"), container_str(&(*b)->doc, "Created"));
	return diff ? diff : strcmp((*a)->id, (*b)->id);
}

static void sort_by_age(struct container_engine *e)
{
	size_t n = 0;
	struct container **all = mem_alloc((e->by_id.n + 1) * sizeof(struct container *));
	for (struct container *c; (c = LIST_POP(&e->all, struct container, link));)
		all[n++] = c;
	qsort(all, n, sizeof(*all), by_created);
	for (size_t i = 0; i < n; i++)
		list_push(&e->all, &all[i]->link);
	free(all);
}

static int load_all(struct container_engine *e, struct err *err)
{
	DIR *list = fdopendir(openat(e->containers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *d;
	if (!list)
		return err_sys(err, "list containers");
	while ((d = readdir(list))) {
		auto_err struct err why = ERR_INIT;
		if (!is_id(d->d_name))
			continue;
		/* One that cannot be read must not keep the others from us; it stays on disk for a person to look at. */
		if (container_load(e, d->d_name, &why) < 0)
			container_warn(e, "a container cannot be taken up", d->d_name, &why);
	}
	closedir(list);
	sort_by_age(e);
	LIST_EACH (&e->all, c, struct container, link) {
		container_users_update(c, false);
		if (container_is_watched(c))
			container_net_adopt(c);
	}
	if (e->o.networks)
		network_engine_settle(e->o.networks);
	return container_mounts_sweep(e, err);
}

/* ---- what nobody accounts for */

struct orphans {
	struct container_engine *e;
	struct arena arena;
	struct json keys;
};

static void orphan_key(const char *key, const char *parent, void *arg)
{
	struct orphans *o = arg;
	struct span s = span_of(key);
	size_t n = strlen(o->e->kind);
	if (span_starts(s, span_of(o->e->kind)) && s.len > n && s.ptr[n] == '-' && !map_get(&o->e->by_id, span_from(s, n + 1)))
		json_push(&o->arena, &o->keys, json_str(arena_span(&o->arena, s)));
}

static void orphans_remove(struct container_engine *e)
{
	static const char *const folders[] = { "containers", "runtime" };
	struct orphans o = { .e = e, .keys = json_array() };
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		DIR *list = opendir(arena_printf(&o.arena, "%s/%s", e->run_dir, folders[i]).ptr);
		struct dirent *d;
		while (list && (d = readdir(list))) {
			auto_err struct err err = ERR_INIT;
			if (is_id(d->d_name) && !map_get(&e->by_id, span_of(d->d_name)) && container_clear(e, d->d_name, &err) < 0)
				container_warn(e, "left-overs of a container stay", d->d_name, &err);
		}
		if (list)
			closedir(list);
	}
	snapshot_each(e->o.snapshots, orphan_key, &o);
	JSON_EACH_ITEM (&o.keys, key) {
		auto_err struct err err = ERR_INIT;
		if (snapshot_remove(e->o.snapshots, arena_cstr(&o.arena, json_span(key)), &err) < 0)
			container_warn(e, "the snapshot of a removed container stays", arena_cstr(&o.arena, json_span(key)), &err);
	}
	arena_done(&o.arena);
}

static void policies_resume(struct container_engine *e)
{
	LIST_EACH (&e->all, c, struct container, link) {
		container_pack_due(c);
		if (container_is_running(c)) {
			container_health_resumed(c);
			continue;
		}
		if (container_is_volatile(c)) { /* also one that was never started, as dockerd does */
			container_remove_op(c, CONTAINER_RM_FORCE | CONTAINER_RM_VOLUMES, NULL);
		} else if (c->ever_started && container_restart_wanted(c, true)) {
			c->manually_stopped = false;
			c->status = STATUS_RESTARTING;
			container_start_op(c, NULL, true);
		}
	}
}

/* ---- open, close */

static int folder(int at, const char *path, mode_t mode, struct err *err)
{
	int rc = io_mkdirs(at, path, mode, err);
	return rc < 0 ? err_note(err, "folder %s", path) : 0;
}

static int folders_open(struct container_engine *e, struct err *err)
{
	auto_arena struct arena a = {};
	int rc = folder(AT_FDCWD, e->dir, 0700, err);
	rc = rc < 0 ? rc : folder(AT_FDCWD, arena_printf(&a, "%s/containers", e->dir).ptr, 0700, err);
	rc = rc < 0 ? rc : folder(AT_FDCWD, e->run_dir, 0711, err);
	rc = rc < 0 ? rc : folder(AT_FDCWD, arena_printf(&a, "%s/containers", e->run_dir).ptr, 0700, err);
	rc = rc < 0 ? rc : folder(AT_FDCWD, arena_printf(&a, "%s/seccomp", e->run_dir).ptr, 0700, err);
	rc = rc < 0 ? rc : folder(AT_FDCWD, arena_printf(&a, "%s/exec", e->run_dir).ptr, 0700, err);
	if (rc < 0)
		return rc;
	e->containers_fd = open(arena_printf(&a, "%s/containers", e->dir).ptr, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* A description of its own: the lock lasts as long as we do. */
	e->lock_fd = open(arena_printf(&a, "%s/containers", e->dir).ptr, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (e->containers_fd < 0 || e->lock_fd < 0)
		return err_sys(err, "open %s/containers", e->dir);
	if (flock(e->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? err_set(err, ERR_IN_USE, "another process has %s open", e->dir) : err_sys(err, "lock %s",
			e->dir);
	return 0;
}

static void engine_free(struct container_engine *e)
{
	for (struct container *c; (c = LIST_POP(&e->all, struct container, link));)
		container_free(c);
	container_spawner_stop(e);
	map_done(&e->by_id);
	map_done(&e->by_name);
	map_done(&e->execs);
	fd_close(&e->containers_fd);
	fd_close(&e->lock_fd);
	arena_done(&e->settings.arena);
	pthread_mutex_destroy(&e->users_lock);
	pthread_mutex_destroy(&e->spawn_lock);
	free(e->users);
	free(e->dir);
	free(e->run_dir);
	free(e->runner);
	free(e->kind);
	free(e);
}

static void close_step(struct loop_task *t)
{
	struct container_engine *e = container_of(t, struct container_engine, close_task);
	if (e->busy || e->closed_done)
		return;
	e->closed_done = true;
	void (*closed)(void *arg) = e->closed;
	void *arg = e->closed_arg;
	engine_free(e);
	if (closed)
		closed(arg);
}

void container_engine_close(struct container_engine *e, void (*closed)(void *arg), void *arg)
{
	if (!e)
		return;
	auto_err struct err err = ERR_INIT;
	e->closing = true;
	e->closed = closed;
	e->closed_arg = arg;
	err_set(&err, ERR_UNAVAILABLE, "the engine is closing");
	container_packs_close(e);
	LIST_EACH (&e->all, c, struct container, link) {
		loop_timer_stop(&c->restart_timer);
		if (loop_timer_running(&c->record_timer)) {
			loop_timer_stop(&c->record_timer);
			container_record_due(&c->record_timer);
		}
		container_health_stopped(c);
		container_waits_removed(c, "the engine is closing");
		container_kills_fail(c, &err);
		container_stop_fail(c);
		container_streams_fail(&c->streams, &err);
		container_execs_close(c);
		if (list_empty(&c->ops)) /* else the operation under way still needs it */
			container_control_close(c);
	}
	loop_defer(e->o.loop, &e->close_task);
}

int container_engine_open(const struct container_opts *opts, struct container_engine **out_engine, struct err *err)
{
	struct container_engine *e = mem_new(struct container_engine);
	uint64_t seed;
	e->o = *opts;
	e->dir = mem_dup(opts->dir, strlen(opts->dir));
	e->run_dir = mem_dup(opts->run_dir, strlen(opts->run_dir));
	e->runner = mem_dup(opts->runner, strlen(opts->runner));
	e->kind = opts->kind ? mem_dup(opts->kind, strlen(opts->kind)) : mem_dup("container", 9);
	e->containers_fd = e->lock_fd = e->spawner = -1;
	list_init(&e->all);
	list_init(&e->names_taken);
	list_init(&e->late);
	container_rest_init(e);
	container_packs_init(e);
	pthread_mutex_init(&e->spawn_lock, NULL);
	pthread_mutex_init(&e->users_lock, NULL);
	loop_task_init(&e->close_task, close_step);
	rng_secret(&seed, sizeof(seed));
	rng_init(&e->rng, seed);
	e->unpacker = (struct image_unpacker){ .arg = opts->snapshots, .sequential = snapshot_needs_parent(opts->snapshots),
		.has = layer_has,
		.unpack = layer_unpack, .commit = layer_commit, .drop = layer_drop };
	int rc = container_settings_read(opts->settings, &e->settings, err);
	rc = rc < 0 ? rc : folders_open(e, err);
	rc = rc < 0 ? rc : container_spawner_start(e, err);
	rc = rc < 0 ? rc : load_all(e, err);
	if (rc < 0) {
		engine_free(e);
		return rc;
	}
	orphans_remove(e);
	container_execs_resume(e);
	policies_resume(e);
	*out_engine = e;
	return 0;
}
