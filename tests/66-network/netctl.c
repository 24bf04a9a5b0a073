/* A network engine to be told what to do: one SOCK_SEQPACKET message per call, JSON both ways, published sockets beside it as
 * descriptors. The test keeps those, as the monitor would.
 *
 * usage: netctl FD DIR RUN ID [SETTINGS-JSON]
 * {"op":"start","id":...,"name":...,"config":{},"hostConfig":{},"networks":{}} → {"ok":{...}} or {"class":"IN_USE","error":"..."}
 * The first message is its own: {"ok":"open"} or the error. It ends when the other end is closed. */
#include <unistd.h>

#include "network/network.h"
#include "sys/sys.h"

#define MESSAGE_MAX (1 << 18)

static struct network_engine *engine;
static struct loop *the_loop;
static struct loop_fd control;
static struct buf events;

static void on_event(void *arg, const struct network_event *ev)
{
	buf_printf(&events, "%s%s %.*s %.12s", events.len ? "," : "", ev->action, SPAN_ARG(ev->name),
		ev->container.len ? ev->container.ptr : "");
}

static void reply(const struct json *v, const struct err *err, const int *fds, unsigned n_fds)
{
	auto_buf struct buf out = { 0 };
	struct json_out o = { .buf = &out };
	json_out_begin(&o);
	if (err && err->class) {
		json_out_key(&o, SPAN("class"));
		json_out_span(&o, span_of(err_class_name((int)err->class)));
		json_out_key(&o, SPAN("error"));
		json_out_span(&o, span_of(err_msg(err)));
	} else {
		json_out_key(&o, SPAN("ok"));
		json_out_value(&o, v);
	}
	json_out_key(&o, SPAN("events"));
	json_out_span(&o, buf_span(&events));
	json_out_end(&o);
	buf_trunc(&events, 0);
	struct iovec iov = { out.ptr, out.len };
	if (sys_message_send(control.fd, &iov, 1, fds, n_fds, 0) < 0)
		loop_stop(the_loop);
}

static struct json got_json(struct arena *a, const struct network_got *g)
{
	struct json o = json_object();
	json_add(a, &o, SPAN("netns"), json_str(g->netns));
	json_add(a, &o, SPAN("sandbox"), json_str(g->sandbox_id));
	json_add(a, &o, SPAN("networks"), g->networks);
	json_add(a, &o, SPAN("ports"), g->ports);
	json_add(a, &o, SPAN("hosts"), json_str(g->hosts));
	json_add(a, &o, SPAN("resolv"), json_str(g->resolv_conf));
	json_add(a, &o, SPAN("hostname"), json_str(g->hostname));
	return o;
}

static struct json stats_json(struct arena *a, const char *id, struct err *err)
{
	struct network_stats s[16];
	unsigned n = 0;
	struct json o = json_object();
	if (network_stats(engine, id, s, ARRAY_LEN(s), &n, err) < 0)
		return o;
	for (unsigned i = 0; i < n; i++) {
		struct json one = json_object();
		json_add(a, &one, SPAN("rx_bytes"), json_uint(s[i].rx_bytes));
		json_add(a, &one, SPAN("tx_bytes"), json_uint(s[i].tx_bytes));
		json_add(a, &one, SPAN("rx_packets"), json_uint(s[i].rx_packets));
		json_add(a, &one, SPAN("tx_packets"), json_uint(s[i].tx_packets));
		json_add(a, &o, arena_span(a, span_of(s[i].interface)), one);
	}
	return o;
}

static bool labelled(void *arg, const struct json *network)
{
	return json_get(json_getl(network, "Labels"), *(const struct span *)arg) != NULL;
}

static void serve(struct arena *a, const struct json *q, const int *fds, unsigned n_fds)
{
	struct span op = json_span(json_getl(q, "op")), net = json_span(json_getl(q, "network"));
	const char *id = arena_cstr(a, json_span(json_getl(q, "id"))), *name = arena_cstr(a, json_span(json_getl(q, "name")));
	struct network_wish w = { .id = id, .name = name, .config = json_getl(q, "config"), .host_config = json_getl(q,
		"hostConfig"),
				  .networks = json_getl(q, "networks") };
	struct network_got got = { .n_sockets = 0 };
	struct json out = json_bool(true);
	auto_err struct err err = ERR_INIT;
	bool shown = false;
	if (span_is(op, "create")) {
		char made[65];
		if (network_create(engine, json_getl(q, "request"), made, a, NULL, &err) == 0)
			out = json_str(arena_span(a, span_of(made)));
	} else if (span_is(op, "remove")) {
		(void)network_remove(engine, net, &err);
	} else if (span_is(op, "inspect")) {
		(void)network_inspect(engine, net, a, &out, &err);
	} else if (span_is(op, "list")) {
		network_list(engine, a, &out);
	} else if (span_is(op, "prune")) {
		struct span label = json_span(json_getl(q, "label"));
		network_prune(engine, label.len ? labelled : NULL, &label, a, &out);
	} else if (span_is(op, "find")) {
		struct network_ref ref;
		if (network_find(engine, net, &ref, &err) == 0)
			out = json_str(arena_span(a, span_of(ref.id)));
	} else if (span_is(op, "check")) {
		(void)network_wish_check(engine, &w, json_truth(json_getl(q, "strict"), true), &err);
	} else if (span_is(op, "start")) {
		shown = network_sandbox_start(engine, &w, a, &got, &err) == 0;
	} else if (span_is(op, "stop")) {
		network_sandbox_stop(engine, id);
	} else if (span_is(op, "connect")) {
		shown = network_connect(engine, &w, net, json_getl(q, "settings"), a, &got, &err) == 0;
	} else if (span_is(op, "disconnect")) {
		shown = network_disconnect(engine, &w, net, a, &got, &err) == 0;
	} else if (span_is(op, "rename")) {
		(void)network_sandbox_rename(engine, id, name, &err);
	} else if (span_is(op, "show")) {
		shown = network_sandbox_show(engine, id, a, &got, &err) == 0;
	} else if (span_is(op, "adopt")) {
		shown = network_sandbox_adopt(engine, id, fds, n_fds, a, &got, &err) == 0;
	} else if (span_is(op, "settle")) {
		network_engine_settle(engine);
	} else if (span_is(op, "reset")) {
		(void)network_engine_reset(engine, true, &err);
	} else if (span_is(op, "stats")) {
		out = stats_json(a, id, &err);
	} else if (span_is(op, "notes")) {
		auto_buf struct buf notes = { 0 };
		network_engine_notes(engine, &notes);
		out = json_str(arena_span(a, buf_span(&notes)));
	} else {
		err_set(&err, ERR_USAGE, "no such op");
	}
	if (shown)
		out = got_json(a, &got);
	reply(&out, &err, got.sockets, got.n_sockets);
	network_got_done(&got);
}

static void on_message(struct loop_fd *f, unsigned ready)
{
	static char data[MESSAGE_MAX];
	int fds[NETWORK_SOCKETS_MAX];
	unsigned n_fds = 0;
	ssize_t n = sys_message_recv(f->fd, data, sizeof(data), fds, ARRAY_LEN(fds), &n_fds, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		loop_stop(the_loop);
		return;
	}
	auto_arena struct arena a = { 0 };
	struct json q;
	auto_err struct err err = ERR_INIT;
	if (json_parse(&a, span_make(data, (size_t)n), 0, NULL, &q, &err) < 0)
		reply(NULL, &err, NULL, 0);
	else
		serve(&a, &q, fds, n_fds);
}

static void on_control_closed(struct loop_fd *f)
{
}

int main(int argc, char **argv)
{
	auto_arena struct arena a = { 0 };
	auto_err struct err err = ERR_INIT;
	struct json settings = json_object(), hello = json_cstr("open");
	uint64_t fd;
	if (argc < 5 || !span_to_u64(span_of(argv[1]), &fd) || fail_init_from_env() < 0 ||
	    (argc > 5 && json_parse(&a, span_of(argv[5]), 0, NULL, &settings, &err) < 0)) {
		fprintf(stderr, "usage: netctl FD DIR RUN ID [SETTINGS]\n");
		return 2;
	}
	if (loop_new(NULL, &the_loop, &err) < 0 || loop_fd_open(&control, the_loop, "control", (int)fd, on_message, &err) < 0) {
		fprintf(stderr, "netctl: %s\n", err_msg(&err));
		return 1;
	}
	struct network_opts o = { .loop = the_loop, .dir = argv[2], .run_dir = argv[3], .id = argv[4], .settings = &settings,
		.event = on_event };
	bool ok = network_engine_open(&o, &engine, &err) == 0;
	reply(&hello, &err, NULL, 0);
	if (ok) {
		loop_fd_want(&control, LOOP_READ);
		loop_run(the_loop);
		network_engine_close(engine);
	}
	loop_fd_close(&control, on_control_closed);
	while (loop_turn(the_loop, false))
		;
	loop_turn(the_loop, false);
	loop_free(the_loop);
	buf_done(&events);
	return ok ? 0 : 1;
}
