/* Before the engine goes: its containers, all at once, each with its own stop signal and time. */
#include "cluster/server.h"

#define LIST_MAX (4 << 20)
#define STOP_MS 60000

struct stopping {
	struct ending *ending;
	char id[65];
};

static void finished(struct ending *e)
{
	if (e->out)
		return;
	if (e->stopped)
		log_info("containers stopped", kv_u64("containers", e->stopped));
	buf_done(&e->body);
	e->done(e->server);
}

static void on_nothing(struct http_call *c, struct span data, void *arg)
{
}

static void on_stopped(struct http_call *c, const struct err *why, void *arg)
{
	struct stopping *st = arg;
	struct ending *e = st->ending;
	int status = why ? 0 : http_call_status(c);
	if (status / 100 == 2 || status == 304 || status == 404)
		e->stopped++;
	else
		log_warn("a container was not stopped", kv_str("container", st->id), kv_i64("status", status));
	free(st);
	e->out--;
	finished(e);
}

static const struct http_call_ops stop_ops = { .data = on_nothing, .done = on_stopped };

static void stop_one(struct ending *e, struct span id)
{
	struct http_call *call;
	auto_buf struct buf target = {};
	const struct http_origin origin = { .host = "localhost", .unix_path = e->server->l.docker_sock.ptr };
	struct stopping *st = mem_new(struct stopping);
	st->ending = e;
	snprintf(st->id, sizeof(st->id), "%.*s", SPAN_ARG(id));
	buf_printf(&target, "/containers/%s/stop", st->id);
	const struct http_call_params p = { .origin = &origin, .method = "POST", .target = buf_span(&target), .total_ms = STOP_MS,
		.ops = &stop_ops,
					    .arg = st };
	if (http_call_begin(e->server->http, &p, &call, NULL) < 0)
		free(st);
	else
		e->out++;
}

static void on_data(struct http_call *c, struct span data, void *arg)
{
	struct ending *e = arg;
	buf_span_add(&e->body, data);
}

static void on_list(struct http_call *c, const struct err *why, void *arg)
{
	struct ending *e = arg;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json tree;
	if (why || http_call_status(c) != 200) {
		log_warn("containers are left running: the engine does not list them", kv_err(why ? why : &err));
	} else if (buf_overflowed(&e->body) || json_parse(&a, buf_span(&e->body), 0, NULL, &tree, &err) < 0) {
		log_warn("containers are left running: the engine's list is not to be read", kv_err(&err));
	} else {
		JSON_EACH_ITEM(&tree, item)
			stop_one(e, json_span(json_getl(item, "Id")));
	}
	e->out--;
	finished(e);
}

static const struct http_call_ops list_ops = { .data = on_data, .done = on_list };

void ending_start(struct ending *e, struct server *s, void (*done)(struct server *s))
{
	struct http_call *call;
	const struct http_origin origin = { .host = "localhost", .unix_path = s->l.docker_sock.ptr };
	*e = (struct ending){ .server = s, .done = done, .body = { .limit = LIST_MAX } };
	const struct http_call_params p = { .origin = &origin, .method = "GET", .target = SPAN("/containers/json"), .total_ms = STOP_MS,
					    .ops = &list_ops, .arg = e };
	if (http_call_begin(s->http, &p, &call, NULL) == 0)
		e->out++;
	else
		done(s);
}
