/* A runtime for tests, on the test's loop: sandboxes and containers that only exist in its lists, over the real client of CRI.
 * A method can be made to fail (fails[]) or to be held until fake_cri_release; what was called is counted and, with what the test
 * may want to see of it, noted in `calls`. Containers run until they are stopped; images are all there unless no_images. It tells
 * of no events unless `tells`: then of each start, with the statuses as they are, before it answers. */
#pragma once

#include "kubelet/cri.h"
#include "kubelet/pod.h"

#include <unistd.h>

struct fake_thing { /* a sandbox, or (of: its sandbox) a container */
	struct list link;
	char id[16], of[16];
	int32_t state;
	int64_t at_ns;
	struct arena arena; /* of what follows */
	struct api_cri_pod_sandbox_config *sandbox;
	struct api_cri_container_config *container;
};
struct fake_held {
	struct list link;
	struct grpc_req *r;
	enum kubelet_cri_method method;
	struct bytes *message;
};
struct fake_cri {
	struct loop *loop;
	struct grpc_server *grpc;
	struct http_server *http;
	struct kubelet_cri *cri;
	struct list things, held;
	struct buf calls;                         /* "RunPodSandbox NAME handler\n", "StopContainer ID 30\n", "PullImage NAME USER\n" */
	enum grpc_status fails[KUBELET_CRI_COUNT];
	bool holds[KUBELET_CRI_COUNT];
	unsigned count[KUBELET_CRI_COUNT];
	const char *good_user;                    /* of pulls; NULL: anybody may */
	bool no_images, stopped, tells;
	struct grpc_req *listener;
	unsigned ids;
	char dir[32], path[64];
};

static struct fake_thing *fake_thing(struct fake_cri *f, struct span id)
{
	LIST_EACH(&f->things, t, struct fake_thing, link)
		if (span_is(id, t->id))
			return t;
	return NULL;
}

static void fake_thing_free(struct fake_thing *t)
{
	list_remove(&t->link);
	arena_done(&t->arena);
	free(t);
}

static void fake_answer(struct grpc_req *r, enum api_typed type, const void *reply)
{
	auto_buf struct buf text = {};
	assert_int_equal(api_typed_encode(&text, type, API_FORM_MESSAGE, reply, NULL), 0);
	grpc_reply_send(r, buf_span(&text));
	grpc_reply_end(r, GRPC_OK, NULL);
}

#define FAKE_ANSWER(r, TYPE, ...) fake_answer(r, API_TYPED_CRI_##TYPE##_RESPONSE, &(__VA_ARGS__))
#define FAKE_DECODE(type, q, message)                                                                                    \
	struct api_cri_##type##_request q;                                                                               \
	auto_arena struct arena q##_arena = {};                                                                          \
	assert_int_equal(api_cri_##type##_request_decode(&q##_arena, API_FORM_MESSAGE, message, &q, NULL), 0)

static struct fake_thing *fake_make(struct fake_cri *f, const char *prefix)
{
	struct fake_thing *t = mem_new(struct fake_thing);
	*t = (struct fake_thing){ .at_ns = loop_wall_ns(f->loop) };
	(void)snprintf(t->id, sizeof(t->id), "%s%u", prefix, ++f->ids);
	list_push(&f->things, &t->link);
	return t;
}

static void fake_sandboxes(struct fake_cri *f, struct grpc_req *r)
{
	struct api_cri_pod_sandbox items[64];
	struct api_cri_list_pod_sandbox_response v = { .items = { items, 0 } };
	LIST_EACH(&f->things, t, struct fake_thing, link)
		if (t->sandbox && v.items.n < ARRAY_LEN(items))
			items[v.items.n++] = (struct api_cri_pod_sandbox){
				.id = span_of(t->id), .metadata = t->sandbox->metadata, .state = t->state, .created_at = t->at_ns,
				.labels = { t->sandbox->labels.ptr, t->sandbox->labels.n } };
	fake_answer(r, API_TYPED_CRI_LIST_POD_SANDBOX_RESPONSE, &v);
}

static void fake_containers(struct fake_cri *f, struct grpc_req *r)
{
	struct api_cri_container items[64];
	struct api_cri_list_containers_response v = { .containers = { items, 0 } };
	LIST_EACH(&f->things, t, struct fake_thing, link)
		if (t->container && v.containers.n < ARRAY_LEN(items))
			items[v.containers.n++] = (struct api_cri_container){
				.id = span_of(t->id), .pod_sandbox_id = span_of(t->of), .metadata = t->container->metadata, .state = t->state,
				.created_at = t->at_ns, .labels = { t->container->labels.ptr, t->container->labels.n } };
	fake_answer(r, API_TYPED_CRI_LIST_CONTAINERS_RESPONSE, &v);
}

static void fake_tell(struct fake_cri *f, const char *id, const struct fake_thing *sandbox,
		      const struct api_cri_container_status *container)
{
	auto_buf struct buf text = {};
	struct api_cri_pod_sandbox_status s = { .id = span_of(sandbox->id), .metadata = sandbox->sandbox->metadata,
						.created_at = sandbox->at_ns,
						.labels = { sandbox->sandbox->labels.ptr, sandbox->sandbox->labels.n } };
	struct api_cri_container_status one = container ? *container : (struct api_cri_container_status){};
	struct api_cri_container_event_response v = { .container_id = span_of(id), .container_event_type = KUBELET_CRI_STARTED,
		.created_at = loop_wall_ns(f->loop), .pod_sandbox_status = &s, .containers_statuses = { &one, container != NULL } };
	if (!f->tells)
		return;
	assert_int_equal(api_typed_encode(&text, API_TYPED_CRI_CONTAINER_EVENT_RESPONSE, API_FORM_MESSAGE, &v, NULL), 0);
	grpc_reply_send(f->listener, buf_span(&text));
}

static void fake_pull(struct fake_cri *f, struct grpc_req *r, struct span message)
{
	FAKE_DECODE(pull_image, q, message);
	struct span user = q.auth ? q.auth->username : SPAN_EMPTY;
	buf_printf(&f->calls, "PullImage %.*s %.*s\n", SPAN_ARG(q.image->image), SPAN_ARG(user));
	if (f->good_user && !span_is(user, f->good_user)) {
		auto_buf struct buf words = {};
		buf_printf(&words, "%.*s may not", SPAN_ARG(user.len ? user : SPAN("nobody")));
		grpc_reply_end(r, GRPC_UNKNOWN, buf_cstr(&words));
		return;
	}
	f->no_images = false;
	FAKE_ANSWER(r, PULL_IMAGE, (struct api_cri_pull_image_response){ .image_ref = SPAN("sha256:1") });
}

static void fake_sandbox_call(struct fake_cri *f, struct grpc_req *r, enum kubelet_cri_method m, struct span message)
{
	if (m == KUBELET_CRI_RUN_POD_SANDBOX) {
		struct fake_thing *t = fake_make(f, "s");
		struct api_cri_run_pod_sandbox_request *q = arena_new(&t->arena, struct api_cri_run_pod_sandbox_request);
		struct span copy = arena_span(&t->arena, message);
		assert_int_equal(api_cri_run_pod_sandbox_request_decode(&t->arena, API_FORM_MESSAGE, copy, q, NULL), 0);
		t->sandbox = q->config;
		buf_printf(&f->calls, "RunPodSandbox %.*s %.*s\n", SPAN_ARG(t->sandbox->metadata->name), SPAN_ARG(q->runtime_handler));
		fake_tell(f, t->id, t, NULL);
		FAKE_ANSWER(r, RUN_POD_SANDBOX, (struct api_cri_run_pod_sandbox_response){ .pod_sandbox_id = span_of(t->id) });
		return;
	}
	FAKE_DECODE(stop_pod_sandbox, q, message); /* the id is field 1 of all of them */
	struct fake_thing *t = fake_thing(f, q.pod_sandbox_id);
	if (!t)
		return grpc_reply_end(r, GRPC_NOT_FOUND, "no such sandbox");
	struct api_cri_pod_sandbox_status s = { .id = span_of(t->id), .metadata = t->sandbox->metadata, .created_at = t->at_ns,
						.labels = { t->sandbox->labels.ptr, t->sandbox->labels.n } };
	switch ((int)m) {
	case KUBELET_CRI_STOP_POD_SANDBOX:
		t->state = 1;
		FAKE_ANSWER(r, STOP_POD_SANDBOX, (struct api_cri_stop_pod_sandbox_response){});
		break;
	case KUBELET_CRI_REMOVE_POD_SANDBOX:
		fake_thing_free(t);
		FAKE_ANSWER(r, REMOVE_POD_SANDBOX, (struct api_cri_remove_pod_sandbox_response){});
		break;
	default:
		s.state = t->state;
		FAKE_ANSWER(r, POD_SANDBOX_STATUS, (struct api_cri_pod_sandbox_status_response){ .status = &s });
	}
}

static void fake_container_call(struct fake_cri *f, struct grpc_req *r, enum kubelet_cri_method m, struct span message)
{
	enum { CREATED, RUNNING, EXITED };
	if (m == KUBELET_CRI_CREATE_CONTAINER) {
		struct fake_thing *t = fake_make(f, "c");
		struct api_cri_create_container_request *q = arena_new(&t->arena, struct api_cri_create_container_request);
		struct span copy = arena_span(&t->arena, message);
		assert_int_equal(api_cri_create_container_request_decode(&t->arena, API_FORM_MESSAGE, copy, q, NULL), 0);
		t->container = q->config;
		(void)snprintf(t->of, sizeof(t->of), "%.*s", SPAN_ARG(q->pod_sandbox_id));
		buf_printf(&f->calls, "CreateContainer %.*s\n", SPAN_ARG(t->container->metadata->name));
		FAKE_ANSWER(r, CREATE_CONTAINER, (struct api_cri_create_container_response){ .container_id = span_of(t->id) });
		return;
	}
	FAKE_DECODE(stop_container, q, message); /* the id is field 1 of all of them */
	struct fake_thing *t = fake_thing(f, q.container_id);
	if (!t)
		return grpc_reply_end(r, GRPC_NOT_FOUND, "no such container");
	struct api_cri_container_status s = { .id = span_of(t->id), .metadata = t->container->metadata, .created_at = t->at_ns,
					      .started_at = t->at_ns, .image = t->container->image,
					      .labels = { t->container->labels.ptr, t->container->labels.n },
					      .annotations = { t->container->annotations.ptr, t->container->annotations.n } };
	switch ((int)m) {
	case KUBELET_CRI_START_CONTAINER:
		s.state = t->state = RUNNING;
		fake_tell(f, t->id, fake_thing(f, span_of(t->of)), &s);
		FAKE_ANSWER(r, START_CONTAINER, (struct api_cri_start_container_response){});
		break;
	case KUBELET_CRI_STOP_CONTAINER:
		t->state = EXITED;
		buf_printf(&f->calls, "StopContainer %.*s %lld\n", SPAN_ARG(t->container->metadata->name), (long long)q.timeout);
		FAKE_ANSWER(r, STOP_CONTAINER, (struct api_cri_stop_container_response){});
		break;
	case KUBELET_CRI_REMOVE_CONTAINER:
		fake_thing_free(t);
		FAKE_ANSWER(r, REMOVE_CONTAINER, (struct api_cri_remove_container_response){});
		break;
	default:
		s.state = t->state;
		s.finished_at = t->state == EXITED ? loop_wall_ns(f->loop) : 0;
		FAKE_ANSWER(r, CONTAINER_STATUS, (struct api_cri_container_status_response){ .status = &s });
	}
}

static void fake_run(struct fake_cri *f, struct grpc_req *r, enum kubelet_cri_method m, struct span message)
{
	struct api_cri_runtime_condition ready[] = { { .type = SPAN("RuntimeReady"), .status = true },
						     { .type = SPAN("NetworkReady"), .status = true } };
	struct api_cri_runtime_status status = { .conditions = { ready, ARRAY_LEN(ready) } };
	struct api_cri_runtime_handler handlers[] = { { .name = SPAN("") }, { .name = SPAN("sealed") } };
	struct api_cri_image image = { .id = SPAN("sha256:1"), .size = 1 };
	if (f->fails[m] != GRPC_OK)
		return grpc_reply_end(r, f->fails[m], "as the test wishes");
	switch ((int)m) {
	case KUBELET_CRI_VERSION:
		FAKE_ANSWER(r, VERSION, (struct api_cri_version_response){ .version = SPAN("0.1.0"), .runtime_name = SPAN("fake"),
									 .runtime_version = SPAN("1"), .runtime_api_version = SPAN("v1") });
		break;
	case KUBELET_CRI_STATUS:
		FAKE_ANSWER(r, STATUS, (struct api_cri_status_response){ .status = &status,
									.runtime_handlers = { handlers, ARRAY_LEN(handlers) } });
		break;
	case KUBELET_CRI_LIST_POD_SANDBOX: fake_sandboxes(f, r); break;
	case KUBELET_CRI_LIST_CONTAINERS: fake_containers(f, r); break;
	case KUBELET_CRI_IMAGE_STATUS:
		FAKE_ANSWER(r, IMAGE_STATUS, (struct api_cri_image_status_response){ .image = f->no_images ? NULL : &image });
		break;
	case KUBELET_CRI_LIST_IMAGES:
		FAKE_ANSWER(r, LIST_IMAGES, (struct api_cri_list_images_response){ .images = { &image, !f->no_images } });
		break;
	case KUBELET_CRI_REMOVE_IMAGE:
		f->no_images = true;
		FAKE_ANSWER(r, REMOVE_IMAGE, (struct api_cri_remove_image_response){});
		break;
	case KUBELET_CRI_PULL_IMAGE: fake_pull(f, r, message); break;
	case KUBELET_CRI_RUN_POD_SANDBOX:
	case KUBELET_CRI_STOP_POD_SANDBOX:
	case KUBELET_CRI_REMOVE_POD_SANDBOX:
	case KUBELET_CRI_POD_SANDBOX_STATUS: fake_sandbox_call(f, r, m, message); break;
	case KUBELET_CRI_CREATE_CONTAINER:
	case KUBELET_CRI_START_CONTAINER:
	case KUBELET_CRI_STOP_CONTAINER:
	case KUBELET_CRI_REMOVE_CONTAINER:
	case KUBELET_CRI_CONTAINER_STATUS: fake_container_call(f, r, m, message); break;
	default: grpc_reply_end(r, GRPC_UNIMPLEMENTED, "not in this runtime");
	}
}

static void fake_held_done(struct grpc_req *r, void *arg)
{
	struct fake_held *h = arg;
	list_remove(&h->link);
	bytes_unref(h->message);
	free(h);
}

static void fake_called(struct fake_cri *f, struct grpc_req *r, enum kubelet_cri_method m, struct span message)
{
	static const struct grpc_req_ops ops = { .done = fake_held_done };
	f->count[m]++;
	if (!f->holds[m])
		return fake_run(f, r, m, message);
	struct fake_held *h = mem_new(struct fake_held);
	*h = (struct fake_held){ .r = r, .method = m, .message = bytes_of(message) };
	list_push(&f->held, &h->link);
	grpc_req_ops_set(r, &ops, h);
}

/* What was held goes on, and is held no more. */
static void fake_cri_release(struct fake_cri *f, enum kubelet_cri_method m)
{
	f->holds[m] = false;
	LIST_EACH(&f->held, h, struct fake_held, link)
		if (h->method == m && !grpc_reply_ended(h->r))
			fake_run(f, h->r, m, bytes_span(h->message));
}

#define CRI(NAME, name, service, method, timeout_s)                                                                      \
	static void fake_cri_##name(struct grpc_req *r, struct span message, void *arg)                                  \
	{                                                                                                                \
		fake_called(arg, r, KUBELET_CRI_##NAME, message);                                                        \
	}
#include "kubelet/cri.def"
#undef CRI

static void fake_cri_events(struct grpc_req *r, struct span message, void *arg)
{
	((struct fake_cri *)arg)->listener = r; /* for as long as the test */
	grpc_reply_begin(r);
}

static const struct grpc_method fake_cri_methods[] = {
#define CRI(NAME, name, service, method, timeout_s) { "/runtime.v1." service "/" method, .unary = fake_cri_##name },
#include "kubelet/cri.def"
#undef CRI
	{ "/runtime.v1.RuntimeService/GetContainerEvents", .unary = fake_cri_events },
};

static void fake_cri_init(struct fake_cri *f, struct loop *l)
{
	auto_err struct err err = ERR_INIT;
	*f = (struct fake_cri){ .loop = l };
	list_init(&f->things);
	list_init(&f->held);
	memcpy(f->dir, "/tmp/fake-cri-XXXXXX", 21);
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	const struct grpc_server_params gp = { .loop = l, .methods = fake_cri_methods, .n = ARRAY_LEN(fake_cri_methods), .arg = f };
	f->grpc = grpc_server_new(&gp);
	struct http_server_params hp = { .loop = l, .name = "fake runtime", .handle = grpc_server_handle, .arg = f->grpc };
	grpc_limits(&hp.limits);
	assert_int_equal(http_server_new(&hp, &f->http, NULL), 0);
	if (http_server_listen(f->http, http_listen_unix(f->path, 0600, &err), 0, &err) < 0)
		fail_msg("%s", err_msg(&err));
	const struct kubelet_cri_params p = { .loop = l, .endpoint = span_of(f->path) };
	assert_int_equal(kubelet_cri_new(&p, &f->cri, NULL), 0);
}

static void fake_cri_stopped(struct http_server *s, void *arg)
{
	((struct fake_cri *)arg)->stopped = true;
}

/* The client's calls are over, or forgotten. */
static void fake_cri_done(struct fake_cri *f)
{
	kubelet_cri_free(f->cri);
	http_server_stop(f->http, 0, fake_cri_stopped, f);
	while (!f->stopped)
		(void)loop_turn(f->loop, true);
	http_server_free(f->http);
	grpc_server_free(f->grpc);
	LIST_EACH(&f->things, t, struct fake_thing, link)
		fake_thing_free(t);
	buf_done(&f->calls);
	(void)unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0);
}
