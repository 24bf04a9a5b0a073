/* The client of CRI against a runtime made of our own gRPC server, in the same loop. */
#include "kubelet/cri.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct world {
	struct loop *loop;
	struct grpc_server *grpc;
	struct http_server *http;
	struct kubelet_cri *cri;
	char dir[32], path[64];
	struct buf said;              /* what callbacks were told, a line each */
	unsigned stop_at;             /* lines after which the loop stops */
	unsigned lines;
	/* of the runtime */
	bool header, events;          /* says its header at once; knows GetContainerEvents */
	struct grpc_req *stream;
	int container_state;          /* -1 = there is none */
	unsigned polls;
};

static void say(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct world *w, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&w->said, fmt, ap);
	va_end(ap);
	buf_chr(&w->said, '\n');
	if (++w->lines == w->stop_at)
		loop_stop(w->loop);
}

#define run_to(w, n, want)                                                                                               \
	do {                                                                                                             \
		(w)->stop_at = (n);                                                                                      \
		if ((w)->lines < (w)->stop_at)                                                                           \
			loop_run((w)->loop);                                                                             \
		assert_string_equal(buf_cstr(&(w)->said), want);                                                         \
		buf_trunc(&(w)->said, 0);                                                                                \
		(w)->lines = (w)->stop_at = 0;                                                                           \
	} while (0)

static void answer(struct grpc_req *r, enum api_typed type, const void *reply)
{
	auto_buf struct buf text = {};
	assert_int_equal(api_typed_encode(&text, type, API_FORM_MESSAGE, reply, NULL), 0);
	grpc_reply_send(r, buf_span(&text));
	grpc_reply_end(r, GRPC_OK, NULL);
}

static void rt_version(struct grpc_req *r, struct span message, void *arg)
{
	const struct api_cri_version_response v = { .version = SPAN("0.1.0"), .runtime_name = SPAN("fake"), .runtime_api_version = SPAN("v1") };
	(void)message;
	(void)arg;
	answer(r, API_TYPED_CRI_VERSION_RESPONSE, &v);
}

static void rt_container_status(struct grpc_req *r, struct span message, void *arg)
{
	auto_arena struct arena a = {};
	struct api_cri_container_status_request q;
	(void)arg;
	assert_int_equal(api_cri_container_status_request_decode(&a, API_FORM_MESSAGE, message, &q, NULL), 0);
	if (span_is(q.container_id, "gone"))
		return grpc_reply_end(r, GRPC_NOT_FOUND, "could not find container \"gone\"");
	struct api_cri_container_metadata m = { .name = SPAN("web"), .attempt = 3 };
	struct api_cri_container_status s = { .id = q.container_id, .metadata = &m, .state = 2, .exit_code = -1, .finished_at = INT64_C(1) << 60 };
	const struct api_cri_container_status_response v = { .status = &s };
	answer(r, API_TYPED_CRI_CONTAINER_STATUS_RESPONSE, &v);
}

static void rt_exec_sync(struct grpc_req *r, struct span message, void *arg)
{
	struct world *w = arg;
	(void)message;
	int64_t left = grpc_req_deadline_ms(r) - loop_now_ms(w->loop);
	say(w, "exec deadline in %d s", (int)((left + 500) / 1000));
	const struct api_cri_exec_sync_response v = { .stdout = SPAN("a\0b"), .exit_code = 7 };
	answer(r, API_TYPED_CRI_EXEC_SYNC_RESPONSE, &v);
}

static void rt_stop(struct grpc_req *r, struct span message, void *arg)
{
	(void)r; /* as long as it takes: for ever */
	(void)message;
	(void)arg;
}

static void rt_sandboxes(struct grpc_req *r, struct span message, void *arg)
{
	(void)message;
	(void)arg;
	struct api_cri_pod_sandbox_metadata m = { .name = SPAN("p"), .uid = SPAN("u1") };
	struct api_cri_pod_sandbox s = { .id = SPAN("s1"), .metadata = &m };
	const struct api_cri_list_pod_sandbox_response v = { .items = { &s, 1 } };
	answer(r, API_TYPED_CRI_LIST_POD_SANDBOX_RESPONSE, &v);
}

static void rt_containers(struct grpc_req *r, struct span message, void *arg)
{
	struct world *w = arg;
	(void)message;
	w->polls++;
	struct api_pair label = { SPAN("io.kubernetes.pod.uid"), SPAN("u1") };
	struct api_cri_container c = { .id = SPAN("c1"), .pod_sandbox_id = SPAN("s1"), .state = w->container_state, .labels = { &label, 1 } };
	const struct api_cri_list_containers_response v = { .containers = { &c, w->container_state >= 0 } };
	answer(r, API_TYPED_CRI_LIST_CONTAINERS_RESPONSE, &v);
}

static void stream_done(struct grpc_req *r, void *arg)
{
	struct world *w = arg;
	if (w->stream == r)
		w->stream = NULL;
}

static void rt_events(struct grpc_req *r, struct span message, void *arg)
{
	static const struct grpc_req_ops ops = { .done = stream_done };
	struct world *w = arg;
	(void)message;
	if (!w->events)
		return grpc_reply_end(r, GRPC_UNIMPLEMENTED, "unknown method GetContainerEvents");
	w->stream = r;
	grpc_req_ops_set(r, &ops, w);
	if (w->header)
		grpc_reply_begin(r);
}

static const struct grpc_method rt_methods[] = {
	{ "/runtime.v1.RuntimeService/Version", .unary = rt_version },
	{ "/runtime.v1.RuntimeService/ContainerStatus", .unary = rt_container_status },
	{ "/runtime.v1.RuntimeService/ExecSync", .unary = rt_exec_sync },
	{ "/runtime.v1.RuntimeService/StopContainer", .unary = rt_stop },
	{ "/runtime.v1.RuntimeService/ListPodSandbox", .unary = rt_sandboxes },
	{ "/runtime.v1.RuntimeService/ListContainers", .unary = rt_containers },
	{ "/runtime.v1.RuntimeService/GetContainerEvents", .unary = rt_events },
};

static void serve(struct world *w)
{
	auto_err struct err err = ERR_INIT;
	struct grpc_server_params gp = { .loop = w->loop, .methods = rt_methods, .n = ARRAY_LEN(rt_methods), .arg = w };
	w->grpc = grpc_server_new(&gp);
	struct http_server_params hp = { .loop = w->loop, .name = "runtime", .handle = grpc_server_handle, .arg = w->grpc };
	grpc_limits(&hp.limits);
	assert_int_equal(http_server_new(&hp, &w->http, NULL), 0);
	if (http_server_listen(w->http, http_listen_unix(w->path, 0600, &err), 0, &err) < 0)
		fail_msg("%s", err_msg(&err));
}

static void stopped(struct http_server *s, void *arg)
{
	struct world *w = arg;
	(void)s;
	http_server_free(w->http);
	grpc_server_free(w->grpc);
	w->http = NULL;
	w->grpc = NULL;
}

static void unserve(struct world *w)
{
	http_server_stop(w->http, 0, stopped, w);
	while (w->http)
		(void)loop_turn(w->loop, true);
}

static void world_init(struct world *w)
{
	*w = (struct world){ .container_state = -1, .events = true };
	memcpy(w->dir, "/tmp/cri-test-XXXXXX", 21);
	assert_non_null(mkdtemp(w->dir));
	(void)snprintf(w->path, sizeof(w->path), "%s/s", w->dir);
	assert_int_equal(loop_new(NULL, &w->loop, NULL), 0);
	struct kubelet_cri_params p = { .loop = w->loop, .endpoint = span_of(w->path) };
	assert_int_equal(kubelet_cri_new(&p, &w->cri, NULL), 0);
}

static void world_done(struct world *w)
{
	kubelet_cri_free(w->cri);
	if (w->http)
		unserve(w);
	while (loop_turn(w->loop, false))
		;
	loop_free(w->loop);
	(void)unlink(w->path);
	assert_int_equal(rmdir(w->dir), 0);
	buf_done(&w->said);
}

/* ---- calls */

static void on_version(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_version_response *r = reply;
	if (why)
		say(arg, "version: %s %s", err_class_name(why->class), err_msg(why));
	else
		say(arg, "version: %.*s %.*s", SPAN_ARG(r->runtime_name), SPAN_ARG(r->runtime_api_version));
}

static void on_container_status(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_container_status_response *r = reply;
	if (why)
		say(arg, "status: %s %s", err_class_name(why->class), err_msg(why));
	else
		say(arg, "status: %.*s %.*s/%llu exit %d at %lld", SPAN_ARG(r->status->id), SPAN_ARG(r->status->metadata->name),
		    (unsigned long long)r->status->metadata->attempt, r->status->exit_code, (long long)r->status->finished_at);
}

static void on_exec(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_exec_sync_response *r = reply;
	assert_null(why);
	say(arg, "exec: %zu bytes, exit %d", r->stdout.len, r->exit_code);
}

static void on_stop(const struct err *why, const void *reply, void *arg)
{
	assert_null(reply);
	say(arg, "stop: %s %s", err_class_name(why->class), err_msg(why));
}

static void test_calls(void **state)
{
	struct world w;
	(void)state;
	world_init(&w);
	serve(&w);
	static const struct api_cri_version_request version;
	(void)kubelet_cri_version(w.cri, &version, on_version, &w);
	assert_string_equal(buf_cstr(&w.said), ""); /* never inside the call */
	run_to(&w, 1, "version: fake v1\n");
	struct api_cri_container_status_request q = { .container_id = SPAN("c1") };
	(void)kubelet_cri_container_status(w.cri, &q, on_container_status, &w);
	run_to(&w, 1, "status: c1 web/3 exit -1 at 1152921504606846976\n");
	q.container_id = SPAN("gone");
	(void)kubelet_cri_container_status(w.cri, &q, on_container_status, &w);
	run_to(&w, 1, "status: NOT_FOUND rpc error: code = NotFound desc = could not find container \"gone\"\n");
	const struct api_cri_remove_container_request none = { .container_id = SPAN("c1") };
	(void)kubelet_cri_remove_container(w.cri, &none, on_stop, &w);
	w.stop_at = 1;
	loop_run(w.loop);
	assert_non_null(strstr(buf_cstr(&w.said), "stop: UNSUPPORTED rpc error: code = Unimplemented desc = "));
	world_done(&w);
}

static void test_deadlines(void **state)
{
	struct world w;
	(void)state;
	world_init(&w);
	serve(&w);
	const struct api_cri_exec_sync_request e = { .container_id = SPAN("c1"), .timeout = 5 };
	(void)kubelet_cri_exec_sync(w.cri, &e, on_exec, &w);
	run_to(&w, 2, "exec deadline in 125 s\nexec: 3 bytes, exit 7\n");
	/* The runtime is slower than we wait. */
	const struct api_cri_stop_container_request s = { .container_id = SPAN("c1") };
	(void)kubelet_cri_send(w.cri, KUBELET_CRI_STOP_CONTAINER, &s, 30, on_stop, &w);
	run_to(&w, 1, "stop: TIMEOUT rpc error: code = DeadlineExceeded desc = context deadline exceeded\n");
	/* Cancelled, and forgotten by the end of the client: nothing is told. */
	kubelet_cri_cancel(kubelet_cri_stop_container(w.cri, &s, on_stop, &w));
	(void)kubelet_cri_stop_container(w.cri, &s, on_stop, &w);
	static const struct api_cri_version_request version;
	(void)kubelet_cri_version(w.cri, &version, on_version, &w);
	run_to(&w, 1, "version: fake v1\n");
	world_done(&w);
}

static void test_reconnect(void **state)
{
	struct world w;
	static const struct api_cri_version_request version;
	(void)state;
	world_init(&w);
	(void)kubelet_cri_version(w.cri, &version, on_version, &w);
	w.stop_at = 1;
	loop_run(w.loop);
	assert_non_null(strstr(buf_cstr(&w.said), "version: UNAVAILABLE rpc error: code = Unavailable desc = "));
	buf_trunc(&w.said, 0);
	w.lines = 0;
	for (int i = 0; i < 2; i++) {
		serve(&w);
		(void)kubelet_cri_version(w.cri, &version, on_version, &w);
		run_to(&w, 1, "version: fake v1\n");
		unserve(&w);
	}
	world_done(&w);
}

static void test_endpoints(void **state)
{
	struct kubelet_cri *c;
	auto_err struct err err = ERR_INIT;
	(void)state;
	struct kubelet_cri_params p = { .endpoint = SPAN("tcp://1.2.3.4:5") };
	assert_int_equal(kubelet_cri_new(&p, &c, &err), -ERR_USAGE);
	assert_string_equal(err_msg(&err), "container runtime endpoint \"tcp://1.2.3.4:5\": only unix:///path is understood");
	char longest[130];
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	p.endpoint = span_make(longest, sizeof(longest));
	assert_int_equal(kubelet_cri_new(&p, &c, NULL), -ERR_USAGE);
}

/* ---- events */

static void on_opened(void *arg)
{
	say(arg, "opened");
}

static void on_event(const struct kubelet_cri_event *e, void *arg)
{
	static const char *const types[] = { "created", "started", "stopped", "deleted" };
	say(arg, "%s %.*s of %.*s pod %.*s%s", types[e->type], SPAN_ARG(e->container_id), SPAN_ARG(e->sandbox_id), SPAN_ARG(e->pod_uid),
	    e->full ? " full" : "");
}

static void on_closed(const struct err *why, void *arg)
{
	say(arg, "closed: %s", err_class_name(why->class));
}

static struct kubelet_cri_events *events_of(struct world *w)
{
	const struct kubelet_cri_events_params p = { .cri = w->cri, .poll_ms = 10, .opened = on_opened, .event = on_event,
						     .closed = on_closed, .arg = w };
	return kubelet_cri_events_open(&p);
}

static void event_send(struct world *w, int type)
{
	auto_buf struct buf text = {};
	struct api_cri_pod_sandbox_metadata m = { .name = SPAN("p"), .uid = SPAN("u1") };
	struct api_cri_pod_sandbox_status s = { .id = SPAN("s1"), .metadata = &m };
	const struct api_cri_container_event_response v = { .container_id = SPAN("c1"), .container_event_type = type, .pod_sandbox_status = &s };
	assert_int_equal(api_cri_container_event_response_encode(&text, API_FORM_MESSAGE, &v, NULL), 0);
	grpc_reply_send(w->stream, buf_span(&text));
}

static void test_events(void **state)
{
	struct world w;
	(void)state;
	world_init(&w);
	serve(&w);
	w.header = true;
	struct kubelet_cri_events *e = events_of(&w);
	run_to(&w, 1, "opened\n");
	event_send(&w, 1);
	event_send(&w, 2);
	run_to(&w, 2, "started c1 of s1 pod u1 full\nstopped c1 of s1 pod u1 full\n");
	/* The runtime ends the stream in order, then dies: each time it is opened again and everything must be listed. */
	grpc_reply_end(w.stream, GRPC_OK, NULL);
	run_to(&w, 2, "closed: UNAVAILABLE\nopened\n");
	unserve(&w);
	run_to(&w, 1, "closed: UNAVAILABLE\n");
	serve(&w);
	while (w.lines == 0 || !strstr(buf_cstr(&w.said), "opened"))
		(void)loop_turn(w.loop, true);
	assert_false(kubelet_cri_events_polls(e));
	kubelet_cri_events_close(e);
	buf_trunc(&w.said, 0);
	world_done(&w);
}

/* A runtime whose header comes with its first event (Go's gRPC): heard by a call that is answered, and told twice. */
static void test_events_late_header(void **state)
{
	struct world w;
	(void)state;
	world_init(&w);
	serve(&w);
	struct kubelet_cri_events *e = events_of(&w);
	run_to(&w, 1, "opened\n");
	run_to(&w, 1, "opened\n");
	event_send(&w, 0);
	run_to(&w, 1, "created c1 of s1 pod u1 full\n");
	kubelet_cri_events_close(e);
	world_done(&w);
}

static void test_events_polled(void **state)
{
	struct world w;
	(void)state;
	world_init(&w);
	w.events = false;
	w.container_state = 0;
	serve(&w);
	struct kubelet_cri_events *e = events_of(&w);
	run_to(&w, 1, "opened\n");
	assert_true(kubelet_cri_events_polls(e));
	w.container_state = 1;
	run_to(&w, 1, "started c1 of s1 pod u1\n");
	w.container_state = 2;
	run_to(&w, 1, "stopped c1 of s1 pod u1\n");
	w.container_state = -1;
	run_to(&w, 1, "deleted c1 of s1 pod u1\n");
	w.container_state = 0;
	run_to(&w, 1, "created c1 of s1 pod u1\n");
	kubelet_cri_events_close(e);
	world_done(&w);
}

struct closer {
	struct world *w;
	struct kubelet_cri_events *e;
};

static void close_at_once(void *arg)
{
	struct closer *c = arg;
	kubelet_cri_events_close(c->e);
	say(c->w, "opened and closed");
}

static void event_none(const struct kubelet_cri_event *e, void *arg)
{
	(void)e;
	(void)arg;
	fail_msg("an event after the end");
}

static void test_events_closed_inside(void **state)
{
	(void)state;
	for (int events = 0; events < 2; events++) {
		struct world w;
		world_init(&w);
		w.events = events;
		w.container_state = 1;
		serve(&w);
		struct closer c = { .w = &w };
		const struct kubelet_cri_events_params p = { .cri = w.cri, .opened = close_at_once, .event = event_none, .arg = &c };
		c.e = kubelet_cri_events_open(&p);
		run_to(&w, 1, "opened and closed\n");
		world_done(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_reconnect),
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_events_late_header),
		cmocka_unit_test(test_events_polled),
		cmocka_unit_test(test_events_closed_inside),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
