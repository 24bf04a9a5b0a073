/* src/container by hand and for tests: `containerctl DIR RUN KNARR_RUN`. Requests are JSON lines on standard input, answers JSON
 * lines on
 * standard output, in the order in which things happen:
 *
 *     {"id":1,"op":"create","name":"web","config":{...},"host":{...}}    {"id":1,"result":{...},"unchanged":false}
 *                                                                       {"id":1,"error":"No such image:
 * x:latest","class":"NOT_FOUND"}
 *     events                                                            {"event":"start","container":"...","attributes":{...}}
 *     attach and exec_start with a stream                               {"stream":7,"fd":1,"data":"..."} ...
 * {"stream":7,"end":true}
 *
 * It ends at the end of its input, leaving containers as they are. KNARR_FAIL arms failpoints. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "container/container.h"
#include "network/network.h"
#include "volume/volume.h"

static struct loop *loop;
static struct loop_pool *pool;
static struct container_engine *engine;
static struct image_store *images;
static struct snapshot_store *snapshots;
static struct volume_store *volumes;
static struct network_engine *networks;
static struct loop_fd input;
static struct buf lines;
static struct list streams;

struct stream {
	struct container_stream s;
	struct list link;
	int64_t id;
};

struct request {
	struct container_call call;
	struct arena arena;
	struct json doc;
	int64_t id;
	struct stream *stream; /* of exec_start */
	int fd;                /* of export */
};

static void out(const struct buf *b)
{
	(void)io_write_all(1, b->ptr, b->len, NULL); /* a test that does not read has ended */
}

static void answer(struct request *r, const struct json *result, bool unchanged, const struct err *err)
{
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	json_out_key(&o, SPAN("id"));
	json_out_i64(&o, r->id);
	if (err) {
		json_out_kspan(&o, "error", span_of(err_msg(err)));
		json_out_kspan(&o, "class", span_of(err_class_name(err->class)));
	} else {
		json_out_key(&o, SPAN("result"));
		json_out_value(&o, result);
		json_out_kbool(&o, "unchanged", unchanged);
	}
	json_out_end(&o);
	buf_chr(&b, '\n');
	out(&b);
	fd_close(&r->fd);
	arena_done(&r->arena);
	free(r);
}

static void done(struct container_call *c, const struct err *err)
{
	struct request *r = container_of(c, struct request, call);
	if (err && r->stream) { /* never begun */
		list_remove(&r->stream->link);
		free(r->stream);
	}
	answer(r, &c->result, c->unchanged, err);
}

static void on_event(void *arg, const struct container_event *ev)
{
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	json_out_kspan(&o, "event", ev->action);
	json_out_kspan(&o, "container", ev->id);
	json_out_key(&o, SPAN("attributes"));
	json_out_value(&o, ev->attributes);
	json_out_end(&o);
	buf_chr(&b, '\n');
	out(&b);
}

static void on_warn(void *arg, const char *what, const char *id, const struct err *e)
{
	fprintf(stderr, "%s: %s: %s\n", what, id, err_msg(e));
}

/* ---- streams */

static void stream_say(struct stream *s, int fd, struct span data, const struct err *err)
{
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	json_out_key(&o, SPAN("stream"));
	json_out_i64(&o, s->id);
	if (fd) {
		json_out_ki64(&o, "fd", fd);
		json_out_kspan(&o, "data", data);
	} else {
		json_out_kbool(&o, "end", true);
		if (err)
			json_out_kspan(&o, "error", span_of(err_msg(err)));
	}
	json_out_end(&o);
	buf_chr(&b, '\n');
	out(&b);
}

static void stream_output(struct container_stream *s, int fd, struct span data)
{
	stream_say(container_of(s, struct stream, s), fd, data, NULL);
}

static void stream_closed(struct container_stream *s)
{
	free(container_of(s, struct stream, s));
}

static void stream_ended(struct container_stream *s, const struct err *err)
{
	struct stream *mine = container_of(s, struct stream, s);
	stream_say(mine, 0, SPAN_EMPTY, err);
	list_remove(&mine->link);
	container_stream_close(s, stream_closed);
}

static struct stream *stream_new(const struct request *r)
{
	struct stream *s = mem_new(struct stream);
	s->id = r->id;
	s->s.stdin_ = json_truth(json_getl(&r->doc, "stdin"), false);
	s->s.stdout_ = json_truth(json_getl(&r->doc, "stdout"), true);
	s->s.stderr_ = json_truth(json_getl(&r->doc, "stderr"), true);
	s->s.output = stream_output;
	s->s.ended = stream_ended;
	list_push(&streams, &s->link);
	return s;
}

static struct stream *stream_find(int64_t id)
{
	LIST_EACH (&streams, s, struct stream, link)
		if (s->id == id)
			return s;
	return NULL;
}

/* ---- requests */

static int import(struct request *r, struct err *err)
{
	const char *path = arena_cstr(&r->arena, json_span(json_getl(&r->doc, "path")));
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	auto_buf struct buf config = {};
	struct image_digest id;
	if (fd < 0)
		return err_sys(err, "open %s", path);
	if (json_getl(&r->doc, "config"))
		json_write(&config, json_getl(&r->doc, "config"), 0);
	struct tar_fd_source file;
	tar_fd_source_init(&file, fd);
	const struct image_import_params p = { .ref = json_span(json_getl(&r->doc, "ref")), .config = buf_span(&config),
		.unpacker = container_unpacker(engine) };
	int rc = image_import(images, &file.source, &p, &id, err);
	tar_fd_source_done(&file);
	if (rc == 0)
		r->call.result = json_str(arena_span(&r->arena, image_digest_span(&id)));
	return rc;
}

static int list(struct request *r, struct err *err)
{
	char(*ids)[65];
	size_t n;
	struct json all = json_array();
	container_ids(engine, &r->arena, &ids, &n);
	for (size_t i = 0; i < n; i++) {
		struct json one;
		int rc = container_summary(engine, span_of(ids[i]), &r->arena, &one, err);
		if (rc < 0)
			return rc;
		json_push(&r->arena, &all, one);
	}
	r->call.result = all;
	return 0;
}

static int image_used(struct request *r, struct err *err)
{
	struct image_digest id;
	char user[65] = "";
	bool running = false;
	int rc = image_find(images, json_span(json_getl(&r->doc, "ref")), &id, err);
	if (rc < 0)
		return rc;
	struct json v = json_object();
	json_setl(&r->arena, &v, "used", json_bool(container_uses_image(engine, &id, false, user, &running)));
	json_setl(&r->arena, &v, "running", json_bool(running));
	r->call.result = v;
	return 0;
}

/* 1: done calls; 0: r->call.result is the answer; negative: err is. */
static int serve(struct request *r, struct err *err)
{
	struct span op = json_span(json_getl(&r->doc, "op")), name = json_span(json_getl(&r->doc, "name"));
	struct span sig = json_span(json_getl(&r->doc, "signal"));
	int64_t timeout = json_i64(json_getl(&r->doc, "timeout"), CONTAINER_TIMEOUT_UNSET);
	struct container_call *c = &r->call;
	if (span_is(op, "create"))
		container_create(engine, &(struct container_create_params){ .name = name, .config = json_getl(&r->doc, "config"),
			.host_config = json_getl(&r->doc, "host"), .networking = json_getl(&r->doc, "networking") }, c);
	else if (span_is(op, "start"))
		container_start(engine, name, c);
	else if (span_is(op, "stop"))
		container_stop(engine, name, sig, timeout, c);
	else if (span_is(op, "restart"))
		container_restart(engine, name, sig, timeout, c);
	else if (span_is(op, "kill"))
		container_kill(engine, name, sig, c);
	else if (span_is(op, "pause"))
		container_pause(engine, name, c);
	else if (span_is(op, "unpause"))
		container_unpause(engine, name, c);
	else if (span_is(op, "rename"))
		container_rename(engine, name, json_span(json_getl(&r->doc, "to")), c);
	else if (span_is(op, "update"))
		container_update(engine, name, json_getl(&r->doc, "doc"), c);
	else if (span_is(op, "remove"))
		container_remove(engine, name, (json_truth(json_getl(&r->doc, "force"), false) ? CONTAINER_RM_FORCE : 0U) |
			(json_truth(json_getl(&r->doc, "volumes"), false) ? CONTAINER_RM_VOLUMES : 0U), c);
	else if (span_is(op, "top"))
		container_top(engine, name, json_span(json_getl(&r->doc, "args")), c);
	else if (span_is(op, "stats"))
		container_stats(engine, name, c);
	else if (span_is(op, "changes"))
		container_changes(engine, name, c);
	else if (span_is(op, "sizes"))
		container_sizes(engine, name, c);
	else if (span_is(op, "root"))
		container_root(engine, name, c);
	else if (span_is(op, "root_left")) { /* who asked leaves before the answer */
		container_root(engine, name, c);
		container_call_forget(c);
		return 0;
	} else if (span_is(op, "root_release"))
		return container_root_release(engine, name), 0;
	else if (span_is(op, "export")) {
		r->fd = open(arena_cstr(&r->arena, json_span(json_getl(&r->doc, "path"))), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		container_export(engine, name, r->fd, c);
	} else if (span_is(op, "commit")) {
		const struct json *list = json_getl(&r->doc, "changes");
		size_t n = json_is(list, JSON_ARRAY) ? list->n : 0;
		struct span *changes = arena_alloc_n(&r->arena, n + 1, sizeof(*changes));
		for (size_t i = 0; i < n; i++)
			changes[i] = json_span(&list->items[i]);
		container_commit(engine, name, &(struct container_commit_params){ .reference = json_span(json_getl(&r->doc, "ref")),
			.comment = json_span(json_getl(&r->doc, "comment")), .config = json_getl(&r->doc, "config"), .changes = changes,
			.n_changes = n }, c);
	} else if (span_is(op, "network_connect"))
		container_network_connect(engine, name, json_span(json_getl(&r->doc, "network")), json_getl(&r->doc, "endpoint"), c);
	else if (span_is(op, "network_disconnect"))
		container_network_disconnect(engine, name, json_span(json_getl(&r->doc, "network")),
			json_truth(json_getl(&r->doc, "force"), false), c);
	else if (span_is(op, "network_create")) {
		char id[65];
		struct span warning;
		int rc = network_create(networks, json_getl(&r->doc, "doc"), id, &r->arena, &warning, err);
		if (rc == 0)
			c->result = json_str(arena_span(&r->arena, span_of(id)));
		return rc;
	} else if (span_is(op, "network_remove")) {
		return network_remove(networks, name, err);
	} else if (span_is(op, "volumes")) {
		struct volume_info *all;
		size_t n;
		int rc = volume_list(volumes, NULL, &r->arena, &all, &n, err);
		c->result = json_array();
		for (size_t i = 0; rc == 0 && i < n; i++)
			json_push(&r->arena, &c->result, volume_document(&all[i], -1, &r->arena));
		return rc;
	} else if (span_is(op, "prune"))
		container_prune(engine, NULL, NULL, c);
	else if (span_is(op, "wait")) {
		enum container_condition condition;
		int rc = container_condition_parse(json_span(json_getl(&r->doc, "condition")), &condition, err);
		return rc < 0 ? rc : (rc = container_wait(engine, name, condition, c, err)) < 0 ? rc : 1;
	} else if (span_is(op, "inspect"))
		return container_inspect(engine, name, &r->arena, &c->result, err);
	else if (span_is(op, "list"))
		return list(r, err);
	else if (span_is(op, "import"))
		return import(r, err);
	else if (span_is(op, "image_used"))
		return image_used(r, err);
	else if (span_is(op, "attach")) {
		struct stream *s = stream_new(r);
		int rc = container_attach(engine, name, &s->s, err);
		if (rc < 0) {
			list_remove(&s->link);
			free(s);
		}
		return rc;
	} else if (span_is(op, "exec_create")) {
		char id[65];
		int rc = container_exec_create(engine, name, json_getl(&r->doc, "config"), id, err);
		if (rc == 0)
			c->result = json_str(arena_span(&r->arena, span_of(id)));
		return rc;
	} else if (span_is(op, "exec_start")) {
		bool watched = json_truth(json_getl(&r->doc, "watched"), true);
		r->stream = watched ? stream_new(r) : NULL;
		container_exec_start(engine, name, watched ? &r->stream->s : NULL, (unsigned)json_i64(json_getl(&r->doc, "rows"), 0),
			(unsigned)json_i64(json_getl(&r->doc, "columns"), 0), c);
	} else if (span_is(op, "exec_inspect")) {
		return container_exec_inspect(engine, name, &r->arena, &c->result, err);
	} else if (span_is(op, "exec_resize")) {
		container_exec_resize(engine, name, (unsigned)json_i64(json_getl(&r->doc, "rows"), 0),
			(unsigned)json_i64(json_getl(&r->doc, "columns"), 0), c);
	} else if (span_is(op, "resize")) {
		container_resize(engine, name, (unsigned)json_i64(json_getl(&r->doc, "rows"), 0), (unsigned)json_i64(json_getl(&r->doc,
			"columns"), 0), c);
	} else if (span_is(op, "input") || span_is(op, "input_end") || span_is(op, "detach")) {
		struct stream *s = stream_find(json_i64(json_getl(&r->doc, "stream"), -1));
		if (!s)
			return err_set(err, ERR_NOT_FOUND, "no such stream");
		if (span_is(op, "input"))
			c->result = json_int((int64_t)container_stream_write(&s->s, json_span(json_getl(&r->doc, "data"))));
		else if (span_is(op, "input_end"))
			container_stream_write_end(&s->s);
		else {
			list_remove(&s->link);
			container_stream_close(&s->s, stream_closed);
		}
		return 0;
	} else
		return err_set(err, ERR_USAGE, "no operation %.*s", SPAN_ARG(op));
	return 1;
}

static void line(struct span text)
{
	auto_err struct err err = ERR_INIT;
	struct request *r = mem_new(struct request);
	r->fd = -1;
	r->call = (struct container_call){ .done = done, .arena = &r->arena };
	int rc = json_parse(&r->arena, text, 0, NULL, &r->doc, &err);
	r->id = rc < 0 ? -1 : json_i64(json_getl(&r->doc, "id"), -1);
	rc = rc < 0 ? rc : serve(r, &err);
	if (rc <= 0)
		answer(r, &r->call.result, false, rc < 0 ? &err : NULL);
}

static void closed(void *arg)
{
	if (getenv("KNARR_NETWORK_RESET"))
		(void)network_engine_reset(networks, true, NULL); /* what stays is found by the test */
	network_engine_close(networks);
	loop_stop(loop);
}

static void on_input(struct loop_fd *f, unsigned events)
{
	char piece[65536];
	ssize_t n = read(0, piece, sizeof(piece));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_fd_close(&input, NULL);
		LIST_EACH (&streams, s, struct stream, link) {
			list_remove(&s->link);
			container_stream_close(&s->s, stream_closed);
		}
		container_engine_close(engine, closed, NULL);
		return;
	}
	buf_add(&lines, piece, (size_t)n);
	for (;;) {
		struct span head, rest;
		if (!span_split(buf_span(&lines), '\n', &head, &rest))
			return;
		line(head);
		buf_shift(&lines, head.len + 1);
	}
}

int main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	auto_arena struct arena a = {};
	if (argc != 4 || fail_init_from_env() < 0) {
		fprintf(stderr, "usage: containerctl DIR RUN KNARR_RUN\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	list_init(&streams);
	struct container_opts o = { .dir = argv[1], .run_dir = argv[2], .runner = argv[3], .event = on_event,
		.warn = on_warn };
	struct json settings;
	const char *text = getenv("KNARR_SETTINGS");
	int rc = text ? json_parse(&a, span_of(text), 0, NULL, &settings, &err) : 0;
	o.settings = text ? &settings : NULL;
	rc = rc < 0 ? rc : io_mkdirs(AT_FDCWD, argv[1], 0700, &err);
	rc = rc < 0 ? rc : snapshot_open(&(struct snapshot_params){ .dir = arena_printf(&a, "%s/snapshots", argv[1]).ptr }, &snapshots,
		&err);
	rc = rc < 0 ? rc : image_store_open(arena_printf(&a, "%s/images", argv[1]).ptr, &images, &err);
	rc = rc < 0 ? rc : loop_new(NULL, &loop, &err);
	rc = rc < 0 ? rc : loop_pool_new(4, 4096, &pool, &err);
	o.loop = loop;
	o.pool = pool;
	o.images = images;
	o.snapshots = snapshots;
	rc = rc < 0 ? rc : volume_store_open(arena_printf(&a, "%s/volumes", argv[1]).ptr, &volumes, &err);
	/* KNARR_NETWORK: the id of a network engine; without it there are only none and host. */
	if (rc == 0 && getenv("KNARR_NETWORK"))
		rc = network_engine_open(&(struct network_opts){ .loop = loop, .dir = arena_printf(&a, "%s/network", argv[1]).ptr,
			.run_dir = arena_printf(&a, "%s/network", argv[2]).ptr, .id = getenv("KNARR_NETWORK"), .settings = o.settings },
			&networks, &err);
	o.volumes = volumes;
	o.networks = networks;
	rc = rc < 0 ? rc : container_engine_open(&o, &engine, &err);
	rc = rc < 0 ? rc : loop_fd_open(&input, loop, "requests", 0, on_input, &err);
	if (rc < 0) {
		fprintf(stderr, "containerctl: %s: %s\n", err_class_name(rc), err_msg(&err));
		return 1;
	}
	loop_fd_want(&input, LOOP_READ);
	loop_hold(loop);
	if (write(1, "{\"ready\":true}\n", 15) != 15)
		return 1;
	loop_run(loop);
	loop_release(loop);
	loop_pool_free(pool);
	while (loop_turn(loop, false))
		;
	volume_store_close(volumes);
	image_store_close(images);
	snapshot_close(snapshots);
	buf_done(&lines);
	loop_free(loop);
	return 0;
}
