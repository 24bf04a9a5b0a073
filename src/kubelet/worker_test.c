/* The machine of pods, from manifests to a runtime that only exists in the test's loop: a kubelet without an API server. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kubelet/action.h"
#include "kubelet/fake_api_test.h"
#include "kubelet/fake_cri_test.h"
#include "kubelet/files.h"
#include "kubelet/image.h"
#include "kubelet/node.h"
#include "kubelet/relist.h"
#include "kubelet/sources.h"
#include "kubelet/until_test.h"
#include "kubelet/volume.h"
#include "kubelet/worker.h"

struct world {
	struct kl k;
	struct kl_options o;
	struct fake_cri rt;
	char dir[40], root[64], logs[64], manifests[64];
};

#define until(w, condition) until_in((w)->k.loop, buf_cstr(&(w)->rt.calls), condition)

static void on_wake(void *owner)
{
	kl_pod_wake(owner);
}

static void on_event(void *owner, const char *reason, struct span message)
{
}

/* As process.c's start. */
static void kubelet_begin(struct world *w)
{
	struct kl *k = &w->k;
	*k = (struct kl){ .loop = w->k.loop, .o = &w->o, .cri = w->rt.cri, .node_name = SPAN("n1"), .node_uid = SPAN("n1") };
	const struct http_client_params hp = { .loop = k->loop, .name = "probes", .idle_per_origin = 1 };
	assert_int_equal(http_client_new(&hp, &k->http, NULL), 0);
	k->objects = kl_objects_new(NULL);
	const struct kl_volumes_params vp = { .loop = k->loop, .objects = k->objects, .root_dir = w->o.root_dir, .facts = kl_node_facts,
					      .wake = on_wake, .event = on_event };
	k->volumes = kl_volumes_new(&vp);
	k->images = kl_images_new(k);
	k->relist = kl_relist_new(k);
	k->sources = kl_sources_new(k);
	(void)kl_node_new(k);
	kl_node_begin(k->node);
	kl_relist_begin(k->relist);
	assert_int_equal(kl_sources_begin(k->sources, NULL), 0);
}

static void kubelet_end(struct world *w)
{
	struct kl *k = &w->k;
	size_t pos = 0;
	k->stopping = true;
	for (struct kl_pod *p; (p = kl_pod_next(k, &pos));)
		if (p->worker)
			kl_worker_free(p->worker);
	kl_relist_free(k->relist);
	kl_sources_free(k->sources);
	kl_images_free(k->images);
	for (pos = 0;;) {
		struct kl_pod *p = kl_pod_next(k, &pos);
		if (!p)
			break;
		kl_pod_free(p);
		pos = 0;
	}
	kl_volumes_free(k->volumes);
	kl_objects_free(k->objects);
	kl_node_free(k->node);
	http_client_free(k->http);
	map_done(&k->pods);
	map_done(&k->pods_by_name);
	map_done(&k->mirrors);
	free((char *)k->runtime_name.ptr);
	free((char *)k->runtime_version.ptr);
}

static void world_init(struct world *w)
{
	*w = (struct world){};
	memcpy(w->dir, "/tmp/worker-test-XXXXXX", 24);
	assert_non_null(mkdtemp(w->dir));
	(void)snprintf(w->root, sizeof(w->root), "%s/root", w->dir);
	(void)snprintf(w->logs, sizeof(w->logs), "%s/logs", w->dir);
	(void)snprintf(w->manifests, sizeof(w->manifests), "%s/m", w->dir);
	assert_int_equal(mkdir(w->root, 0750), 0);
	assert_int_equal(loop_new(NULL, &w->k.loop, NULL), 0);
	kl_options_default(&w->o);
	w->o.root_dir = span_of(w->root);
	w->o.pod_log_dir = span_of(w->logs);
	w->o.manifest_dir = span_of(w->manifests);
	w->o.cgroups_per_qos = false;
	fake_cri_init(&w->rt, w->k.loop);
}

static void world_done(struct world *w)
{
	kubelet_end(w);
	fake_cri_done(&w->rt);
	while (loop_turn(w->k.loop, false))
		;
	loop_free(w->k.loop);
	kl_options_done(&w->o);
	(void)kl_tree_remove(w->dir, NULL);
}

/* A pod of one container c; spec: what else stands in its spec; of_c: in the container's. Moved into the folder as a whole. */
static void manifest(struct world *w, const char *file, const char *name, const char *spec, const char *of_c)
{
	auto_buf struct buf text = {}, from = {}, to = {};
	buf_printf(&text, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\"},\"spec\":{\"hostNetwork\":true,%s"
			  "\"containers\":[{\"name\":\"c\",\"image\":\"x:1\"%s}]}}", name, spec, of_c);
	buf_printf(&from, "%s/.%s", w->dir, file);
	buf_printf(&to, "%s/%s", w->manifests, file);
	assert_int_equal(io_mkdirs(AT_FDCWD, w->manifests, 0755, NULL), 0);
	assert_int_equal(io_write_file_lazy(AT_FDCWD, buf_cstr(&from), buf_span(&text), 0644, NULL), 0);
	assert_int_equal(rename(buf_cstr(&from), buf_cstr(&to)), 0);
}

static void move(struct world *w, const char *from, const char *to)
{
	auto_buf struct buf a = {}, b = {};
	buf_printf(&a, "%s/%s", w->dir, from);
	buf_printf(&b, "%s/%s", w->dir, to);
	assert_int_equal(rename(buf_cstr(&a), buf_cstr(&b)), 0);
}

static unsigned running(struct world *w)
{
	unsigned n = 0;
	LIST_EACH(&w->rt.things, t, struct fake_thing, link)
		n += t->container && t->state == KL_RUNNING;
	return n;
}

static void wait_ms(struct world *w, int64_t ms)
{
	int64_t end_ms = loop_now_ms(w->k.loop) + ms;
	until(w, loop_now_ms(w->k.loop) >= end_ms);
}

static struct kl_pod *pod(struct world *w, const char *name)
{
	return kl_pod_get(&w->k, SPAN("default"), span_of(name));
}

/* ---- */

static void a_manifest_that_comes_back_has_its_pod_again(void **state)
{
	struct world w;
	world_init(&w);
	manifest(&w, "a", "a", "", "");
	kubelet_begin(&w);
	until(&w, running(&w) == 1);
	w.rt.holds[KUBELET_CRI_STOP_CONTAINER] = true;
	move(&w, "m/a", "a");
	until(&w, w.rt.count[KUBELET_CRI_STOP_CONTAINER] == 1);
	move(&w, "a", "m/a"); /* the same text, the same uid, and the old one still ends */
	wait_ms(&w, 200);
	fake_cri_release(&w.rt, KUBELET_CRI_STOP_CONTAINER);
	until(&w, w.rt.count[KUBELET_CRI_CREATE_CONTAINER] == 2 && running(&w) == 1);
	assert_non_null(pod(&w, "a-n1"));
	world_done(&w);
}

static void two_files_of_one_text_are_one_pod(void **state)
{
	struct world w;
	world_init(&w);
	manifest(&w, "a", "a", "", "");
	manifest(&w, "b", "a", "", "");
	kubelet_begin(&w);
	until(&w, running(&w) == 1);
	wait_ms(&w, 200);
	assert_int_equal(w.rt.count[KUBELET_CRI_RUN_POD_SANDBOX], 1);
	/* Which of them has it nobody knows: either may go, and the other has it then. */
	move(&w, "m/a", "a");
	wait_ms(&w, 300);
	until(&w, running(&w) == 1);
	move(&w, "a", "m/a");
	wait_ms(&w, 100);
	move(&w, "m/b", "b");
	wait_ms(&w, 300);
	until(&w, running(&w) == 1);
	move(&w, "m/a", "a");
	until(&w, !pod(&w, "a-n1"));
	world_done(&w);
}

static void a_folder_that_cannot_be_read_ends_nothing(void **state)
{
	struct world w;
	world_init(&w);
	manifest(&w, "a", "a", "", "");
	kubelet_begin(&w);
	until(&w, running(&w) == 1);
	move(&w, "m", "away");
	wait_ms(&w, 200);
	assert_int_equal(w.rt.count[KUBELET_CRI_STOP_CONTAINER], 0);
	/* Another folder comes in its place, with one more. */
	manifest(&w, "b", "b", "", "");
	move(&w, "away/a", "m/a");
	until(&w, running(&w) == 2);
	assert_int_equal(w.rt.count[KUBELET_CRI_STOP_CONTAINER], 0);
	/* It is watched. */
	wait_ms(&w, 1200);
	move(&w, "m/b", "b");
	until(&w, !pod(&w, "b-n1"));
	assert_int_equal(running(&w), 1);
	/* No file of it can be opened, because it is none: a file stands there. */
	move(&w, "m", "away2");
	int fd = open(w.manifests, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	(void)close(fd);
	wait_ms(&w, 1200);
	assert_int_equal(running(&w), 1);
	assert_int_equal(unlink(w.manifests), 0);
	move(&w, "away2", "m");
	wait_ms(&w, 1200);
	assert_int_equal(running(&w), 1);
	assert_int_equal(w.rt.count[KUBELET_CRI_STOP_CONTAINER], 1);
	world_done(&w);
}

static void a_manifest_may_be_a_link(void **state)
{
	struct world w;
	auto_buf struct buf from = {}, soft = {}, hard = {};
	world_init(&w);
	kubelet_begin(&w);
	wait_ms(&w, 100);
	manifest(&w, "a", "a", "", "");
	manifest(&w, "b", "b", "", "");
	until(&w, running(&w) == 2);
	move(&w, "m/a", "a");
	move(&w, "m/b", "b");
	until(&w, !pod(&w, "a-n1") && !pod(&w, "b-n1"));
	buf_printf(&from, "%s/a", w.dir);
	buf_printf(&soft, "%s/soft", w.manifests);
	assert_int_equal(symlink(buf_cstr(&from), buf_cstr(&soft)), 0);
	until(&w, running(&w) == 1);
	buf_trunc(&from, 0);
	buf_printf(&from, "%s/b", w.dir);
	buf_printf(&hard, "%s/hard", w.manifests);
	assert_int_equal(link(buf_cstr(&from), buf_cstr(&hard)), 0);
	until(&w, running(&w) == 2);
	world_done(&w);
}

/* Another kubelet finds a pod that runs; the runtime does not answer one of its questions. */
static void no_answer_is_no_absence(void **state)
{
	static const enum kubelet_cri_method methods[] = { KUBELET_CRI_LIST_POD_SANDBOX, KUBELET_CRI_LIST_CONTAINERS,
							   KUBELET_CRI_POD_SANDBOX_STATUS, KUBELET_CRI_CONTAINER_STATUS };
	struct world w;
	auto_buf struct buf dir = {};
	world_init(&w);
	manifest(&w, "a", "a", "", "");
	kubelet_begin(&w);
	until(&w, running(&w) == 1);
	wait_ms(&w, 50);
	kubelet_end(&w);
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		unsigned asked = w.rt.count[methods[i]];
		w.rt.fails[methods[i]] = GRPC_RESOURCE_EXHAUSTED;
		kubelet_begin(&w);
		until(&w, w.rt.count[methods[i]] > asked);
		wait_ms(&w, 150);
		assert_false(w.k.runtime_known);
		w.rt.fails[methods[i]] = GRPC_OK;
		until(&w, w.k.runtime_known);
		wait_ms(&w, 150);
		assert_int_equal(w.rt.count[KUBELET_CRI_RUN_POD_SANDBOX], 1);
		assert_int_equal(w.rt.count[KUBELET_CRI_CREATE_CONTAINER], 1);
		assert_int_equal(w.rt.count[KUBELET_CRI_STOP_CONTAINER], 0);
		struct kl_pod *p = pod(&w, "a-n1");
		assert_true(p && kl_pod_sandbox(p) && kl_pod_container(p, SPAN("c"), false));
		kubelet_end(&w);
	}
	kubelet_begin(&w);
	world_done(&w);
}

static void what_was_started_is_not_started_twice(void **state)
{
	struct world w;
	world_init(&w);
	w.rt.fails[KUBELET_CRI_CONTAINER_STATUS] = GRPC_INTERNAL;
	manifest(&w, "a", "a", "", "");
	kubelet_begin(&w);
	until(&w, running(&w) == 1);
	wait_ms(&w, 300);
	w.rt.fails[KUBELET_CRI_CONTAINER_STATUS] = GRPC_OK;
	until(&w, kl_pod_container(pod(&w, "a-n1"), SPAN("c"), false));
	wait_ms(&w, 50);
	assert_int_equal(w.rt.count[KUBELET_CRI_CREATE_CONTAINER], 1);
	world_done(&w);
}

/* A kubelet dies while it waits for the answer to StartContainer. */
static void killed_in_start(struct world *w, const char *spec)
{
	world_init(w);
	w->rt.holds[KUBELET_CRI_START_CONTAINER] = true;
	manifest(w, "a", "a", spec, "");
	kubelet_begin(w);
	until(w, w->rt.count[KUBELET_CRI_START_CONTAINER] == 1);
	kubelet_end(w);
	w->rt.holds[KUBELET_CRI_START_CONTAINER] = false;
}

/* The next one finds what is created, and makes no other. */
static void what_is_created_is_started(void **state)
{
	struct world w;
	killed_in_start(&w, "");
	kubelet_begin(&w);
	until(&w, running(&w) == 1);
	wait_ms(&w, 50);
	assert_int_equal(w.rt.count[KUBELET_CRI_CREATE_CONTAINER], 1);
	assert_int_equal(w.rt.count[KUBELET_CRI_START_CONTAINER], 2);
	assert_int_equal(kl_pod_container(pod(&w, "a-n1"), SPAN("c"), false)->state, KL_RUNNING);
	world_done(&w);
}

/* The same, and the runtime is still at the start that the first one asked for: it says no, and the container runs a moment later. */
static void what_is_being_started_is_waited_for(void **state)
{
	struct world w;
	killed_in_start(&w, "");
	w.rt.fails[KUBELET_CRI_START_CONTAINER] = GRPC_UNKNOWN;
	kubelet_begin(&w);
	until(&w, w.rt.count[KUBELET_CRI_START_CONTAINER] == 2);
	wait_ms(&w, 100);
	assert_int_equal(running(&w), 0);
	LIST_EACH(&w.rt.things, t, struct fake_thing, link)
		if (t->container)
			t->state = 1;
	until(&w, kl_pod_container(pod(&w, "a-n1"), SPAN("c"), false)->state == KL_RUNNING);
	wait_ms(&w, 50);
	assert_int_equal(w.rt.count[KUBELET_CRI_CREATE_CONTAINER], 1);
	assert_int_equal(w.rt.count[KUBELET_CRI_START_CONTAINER], 2);
	assert_int_equal(w.rt.count[KUBELET_CRI_STOP_CONTAINER], 0);
	world_done(&w);
}

/* The same, and it runs and ends while the next kubelet asks for its image: what it then knows of it counts, not what was planned. */
static void what_ended_meanwhile_is_not_started(void **state)
{
	struct world w;
	killed_in_start(&w, "\"restartPolicy\":\"Never\",");
	w.rt.holds[KUBELET_CRI_IMAGE_STATUS] = true;
	unsigned asked = w.rt.count[KUBELET_CRI_IMAGE_STATUS];
	kubelet_begin(&w);
	until(&w, w.rt.count[KUBELET_CRI_IMAGE_STATUS] > asked);
	struct kl_pod *p = pod(&w, "a-n1");
	LIST_EACH(&w.rt.things, t, struct fake_thing, link)
		if (t->container) {
			t->state = 2;
			kl_look(p, span_of(t->id));
		}
	until(&w, kl_pod_container(p, SPAN("c"), false)->state == KL_EXITED);
	fake_cri_release(&w.rt, KUBELET_CRI_IMAGE_STATUS);
	until(&w, p->worker->stage == KL_ENDED);
	assert_int_equal(w.rt.count[KUBELET_CRI_CREATE_CONTAINER], 1);
	assert_int_equal(w.rt.count[KUBELET_CRI_START_CONTAINER], 1);
	world_done(&w);
}

/* It could not be started at first; then it ran and ended before anybody had seen it run. It is not told as waiting any more. */
static void what_ran_in_a_moment_does_not_wait(void **state)
{
	struct world w;
	world_init(&w);
	w.rt.fails[KUBELET_CRI_IMAGE_STATUS] = GRPC_UNAVAILABLE;
	manifest(&w, "a", "a", "\"restartPolicy\":\"Never\",", "");
	kubelet_begin(&w);
	until(&w, pod(&w, "a-n1") && pod(&w, "a-n1")->items[0].waiting);
	struct kl_pod *p = pod(&w, "a-n1");
	w.rt.fails[KUBELET_CRI_IMAGE_STATUS] = GRPC_OK;
	w.rt.holds[KUBELET_CRI_CONTAINER_STATUS] = true;
	p->items[0].retry_ns = 0;
	kl_pod_wake(p);
	until(&w, w.rt.count[KUBELET_CRI_CONTAINER_STATUS] == 1);
	assert_non_null(p->items[0].waiting);
	LIST_EACH(&w.rt.things, t, struct fake_thing, link)
		if (t->container)
			t->state = 2;
	fake_cri_release(&w.rt, KUBELET_CRI_CONTAINER_STATUS);
	until(&w, kl_pod_container(p, SPAN("c"), false) && kl_pod_container(p, SPAN("c"), false)->state == KL_EXITED);
	assert_null(p->items[0].waiting);
	world_done(&w);
}

/* What an earlier kubelet has mounted for a pod goes before the pod does, though this one never opened its volumes. */
static void volumes_of_a_pod_that_ends_go(void **state)
{
	struct world w;
	auto_buf struct buf dir = {};
	world_init(&w);
	manifest(&w, "a", "a", "\"restartPolicy\":\"Never\",\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}],", "");
	kubelet_begin(&w);
	until(&w, running(&w) == 1);
	struct kl_pod *p = pod(&w, "a-n1");
	buf_printf(&dir, "%s/pods/%.*s/volumes", w.root, SPAN_ARG(p->uid));
	assert_int_equal(access(buf_cstr(&dir), F_OK), 0);
	kubelet_end(&w);
	kubelet_begin(&w);
	p = pod(&w, "a-n1");
	p->object->pod.metadata.deletion_timestamp.set = true; /* before its first step */
	until(&w, p->worker->stage == KL_ENDED);
	assert_int_equal(running(&w), 0);
	assert_int_equal(access(buf_cstr(&dir), F_OK), -1);
	world_done(&w);
}

static void a_stop_without_an_answer_is_not_a_loop(void **state)
{
	struct world w;
	world_init(&w);
	manifest(&w, "a", "a", "", "");
	kubelet_begin(&w);
	until(&w, running(&w) == 1);
	until(&w, kl_pod_container(pod(&w, "a-n1"), SPAN("c"), false));
	w.rt.fails[KUBELET_CRI_CONTAINER_STATUS] = GRPC_INTERNAL;
	move(&w, "m/a", "a");
	until(&w, w.rt.count[KUBELET_CRI_STOP_CONTAINER] == 1);
	wait_ms(&w, 1500);
	assert_in_range(w.rt.count[KUBELET_CRI_STOP_CONTAINER], 2, 3);
	w.rt.fails[KUBELET_CRI_CONTAINER_STATUS] = GRPC_OK;
	until(&w, !pod(&w, "a-n1"));
	world_done(&w);
}

#define LONG "9223372036854775807"

static void a_pod_may_wish_for_ever(void **state)
{
	struct world w;
	world_init(&w);
	manifest(&w, "grace", "grace", "\"terminationGracePeriodSeconds\":" LONG ",\"activeDeadlineSeconds\":1,",
		 ",\"lifecycle\":{\"preStop\":{\"sleep\":{\"seconds\":1}}}");
	manifest(&w, "nohook", "nohook", "\"terminationGracePeriodSeconds\":" LONG ",\"activeDeadlineSeconds\":1,", "");
	manifest(&w, "start", "start", "", ",\"lifecycle\":{\"postStart\":{\"sleep\":{\"seconds\":" LONG "}}}");
	manifest(&w, "deadline", "deadline", "\"activeDeadlineSeconds\":" LONG ",", "");
	manifest(&w, "probe", "probe", "", ",\"livenessProbe\":{\"tcpSocket\":{\"port\":1,\"host\":\"127.0.0.1\"},\"timeoutSeconds\":2147483647,"
		 "\"failureThreshold\":1,\"terminationGracePeriodSeconds\":" LONG "}");
	kubelet_begin(&w);
	until(&w, w.rt.count[KUBELET_CRI_CREATE_CONTAINER] >= 5);
	/* Ended by their deadlines, the one after its hook, and by its probe. */
	until(&w, w.rt.count[KUBELET_CRI_STOP_CONTAINER] >= 3);
	unsigned whole = 0;
	struct span rest = buf_span(&w.rt.calls), line;
	while (span_cut(&rest, '\n', &line)) {
		int64_t s;
		if (!span_starts(line, SPAN("StopContainer c ")))
			continue;
		assert_true(span_to_i64(span_from(line, 16), &s));
		whole += s > INT32_MAX - 10;
	}
	assert_in_range(whole, 3, 10);
	assert_true(pod(&w, "deadline-n1")->worker->stage == KL_LIVE);
	assert_true(pod(&w, "start-n1")->worker->stage == KL_LIVE);
	world_done(&w);
}

/* A RuntimeClass is the runtime's handler; what cannot be kept is not run without it. */
static void a_pod_is_kept_apart_as_it_says(void **state)
{
	struct world w;
	struct fake_api api;
	world_init(&w);
	fake_init(&api, w.k.loop);
	fake_put(&api, "/apis/node.k8s.io/v1/runtimeclasses/tight", "{\"metadata\":{\"name\":\"tight\"},\"handler\":\"sealed\"}");
	manifest(&w, "alone", "alone", "\"runtimeClassName\":\"tight\",", "");
	kubelet_begin(&w);
	wait_ms(&w, 200);
	assert_string_equal(buf_cstr(&w.rt.calls), ""); /* nobody can say what it means */
	w.k.client = api.client; /* what is refused below is told to nobody: there is no recorder */
	manifest(&w, "users", "users", "\"hostUsers\":false,", "");
	manifest(&w, "claims", "claims", "\"resourceClaims\":[{\"name\":\"gpu\"}],", "");
	manifest(&w, "none", "none", "\"runtimeClassName\":\"none\",", "");
	manifest(&w, "tight", "tight", "\"runtimeClassName\":\"tight\",", "");
	until(&w, strstr(buf_cstr(&w.rt.calls), "CreateContainer c"));
	wait_ms(&w, 200);
	assert_string_equal(buf_cstr(&w.rt.calls), "RunPodSandbox tight-n1 sealed\nCreateContainer c\n");
	w.k.client = NULL;
	kubelet_end(&w);
	fake_done(&api);
	kubelet_begin(&w);
	world_done(&w);
}

static int refuse_patches(struct fake_api *f, struct span path, struct span body, struct buf *out)
{
	unsigned *left = f->arg;
	if (*left == 0) {
		buf_str(out, "{\"metadata\":{\"resourceVersion\":\"99\"},\"status\":{}}");
		return 200;
	}
	--*left;
	buf_str(out, "{\"kind\":\"Status\",\"status\":\"Failure\",\"code\":422,\"message\":\"no\",\"reason\":\"Invalid\"}");
	return 422;
}

/* A status that was refused is sent again when its time has come, though nothing of the pod changes any more. */
static void a_refused_status_is_sent_again(void **state)
{
	struct world w;
	struct fake_api api;
	unsigned left = 4;
	world_init(&w);
	fake_init(&api, w.k.loop);
	api.post = refuse_patches;
	api.arg = &left;
	manifest(&w, "a", "a", "", "");
	kubelet_begin(&w);
	until(&w, running(&w) == 1 && pod(&w, "a-n1")->items[0].ready);
	wait_ms(&w, 100); /* it is at rest */
	struct kl_pod *p = pod(&w, "a-n1");
	p->mirror_uid = span_make(mem_dup("m", 1), 1);
	w.k.client = api.client;
	kl_report(p->worker);
	until(&w, left == 0 && p->worker->reported_rv == 99);
	assert_int_equal(p->worker->report_failures, 0);
	w.k.client = NULL;
	kubelet_end(&w);
	fake_done(&api);
	kubelet_begin(&w);
	world_done(&w);
}

/* ---- what probes and hooks do, against servers in the loop */

struct served {
	struct world w;
	struct http_server *http;
	struct grpc_server *grpc;
	struct buf log, said; /* targets; "RESULT message" */
	unsigned port;
	bool over, stopped;
};

static void serve_http(struct http_req *r, void *arg)
{
	static const struct {
		const char *target;
		int status;
		const char *location;
	} rows[] = {
		{ "/a?x=1", 302, "/bad" },           { "/bad", 500, NULL },        { "/d/rel", 301, "good" },
		{ "/d/good", 200, NULL },            { "/away", 307, "http://example.invalid/bad" }, { "/loop", 302, "/loop" },
		{ "/nowhere", 302, NULL },
	};
	struct served *s = arg;
	if (span_has(http_req_header(r, "content-type"), SPAN("grpc")))
		return grpc_server_handle(r, s->grpc);
	buf_printf(&s->log, "%.*s ", SPAN_ARG(http_req_target(r)));
	if (span_is(http_req_target(r), "/full")) {
		auto_buf struct buf to = {};
		buf_printf(&to, "http://127.0.0.1:%u/bad#part", s->port);
		http_reply_header(r, "location", buf_span(&to));
		return http_reply_text(r, 308, "text/plain", SPAN(""));
	}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (span_is(http_req_target(r), rows[i].target)) {
			if (rows[i].location)
				http_reply_header(r, "location", span_of(rows[i].location));
			return http_reply_text(r, rows[i].status, "text/plain", SPAN("words"));
		}
	http_reply_text(r, 404, "text/plain", SPAN(""));
}

static void health(struct grpc_req *r, struct span message, void *arg)
{
	struct served *s = arg;
	buf_span_add(&s->log, message);
	grpc_reply_send(r, SPAN("\x08\x01")); /* SERVING */
	grpc_reply_end(r, GRPC_OK, NULL);
}

static void on_result(enum kl_result result, struct span message, void *arg)
{
	struct served *s = arg;
	static const char *const names[] = { "success", "failure", "unknown" };
	buf_printf(&s->said, "%s %.*s", names[result], SPAN_ARG(message));
	s->over = true;
}

static void act(struct served *s, struct kl_action_params *p)
{
	struct kl_pod *pod_ = pod(&s->w, "a-n1");
	buf_trunc(&s->log, 0);
	buf_trunc(&s->said, 0);
	s->over = false;
	p->pod = pod_;
	p->container = pod_->object->pod.spec.containers.ptr;
	p->timeout_ms = 5000;
	p->done = on_result;
	p->arg = s;
	(void)kl_action_begin(p);
	until(&s->w, s->over);
}

static void served_stopped(struct http_server *h, void *arg)
{
	((struct served *)arg)->stopped = true;
}

static void probes_ask_as_they_should(void **state)
{
	static const struct {
		const char *path;
		bool hook;
		const char *log, *said;
	} rows[] = {
		{ "/d/good", false, "/d/good ", "success words" },
		{ "/bad", false, "/bad ", "failure HTTP probe failed with statuscode: 500" },
		{ "/bad", true, "/bad ", "success words" },
		{ "/a?x=1", false, "/a?x=1 /bad ", "failure HTTP probe failed with statuscode: 500" },
		{ "/d/rel", false, "/d/rel /d/good ", "success words" },
		{ "/full", false, "/full /bad ", "failure HTTP probe failed with statuscode: 500" },
		{ "/away", false, "/away ", "success words" },
		{ "/nowhere", false, "/nowhere ", "success words" },
		{ "/loop", false, "/loop /loop /loop /loop /loop /loop /loop /loop /loop /loop ", "stopped after 10 redirects" },
	};
	static const struct grpc_method methods[] = { { "/grpc.health.v1.Health/Check", .unary = health } };
	struct served s = {};
	auto_err struct err err = ERR_INIT;
	world_init(&s.w);
	manifest(&s.w, "a", "a", "", "");
	kubelet_begin(&s.w);
	until(&s.w, running(&s.w) == 1);
	s.w.k.node_ips[0] = SPAN("127.0.0.1");
	s.w.k.n_node_ips = 1;
	const struct grpc_server_params gp = { .loop = s.w.k.loop, .methods = methods, .n = ARRAY_LEN(methods), .arg = &s };
	s.grpc = grpc_server_new(&gp);
	const struct http_server_params hp = { .loop = s.w.k.loop, .name = "probed", .handle = serve_http, .arg = &s };
	assert_int_equal(http_server_new(&hp, &s.http, NULL), 0);
	int fd = http_listen_tcp("127.0.0.1", 0, 0, &err);
	s.port = http_fd_port(fd);
	assert_int_equal(http_server_listen(s.http, fd, 0, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct api_core_http_get_action get = { .path = span_of(rows[i].path), .port = { .i = (int32_t)s.port } };
		act(&s, &(struct kl_action_params){ .http_get = &get, .probe = !rows[i].hook });
		if (strcmp(buf_cstr(&s.log), rows[i].log) != 0 || !strstr(buf_cstr(&s.said), rows[i].said))
			fail_msg("%s: asked %s, said %s\n want: %s, %s", rows[i].path, buf_cstr(&s.log), buf_cstr(&s.said), rows[i].log, rows[i].said);
	}
	/* Nobody listens: the words are Go's. */
	auto_buf struct buf want_words = {};
	int gone = http_listen_tcp("127.0.0.1", 0, 0, &err);
	unsigned gone_port = http_fd_port(gone);
	close(gone);
	const struct api_core_http_get_action nobody = { .path = SPAN("/x"), .port = { .i = (int32_t)gone_port } };
	act(&s, &(struct kl_action_params){ .http_get = &nobody, .probe = true });
	buf_printf(&want_words, "failure Get \"http://127.0.0.1:%u/x\": dial tcp 127.0.0.1:%u: connect: connection refused", gone_port, gone_port);
	assert_string_equal(buf_cstr(&s.said), buf_cstr(&want_words));
	static const size_t lengths[] = { 0, 1, 127, 128, 200, 300, 20000 };
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		auto_buf struct buf name = {}, want = {};
		for (size_t k = 0; k < lengths[i]; k++)
			buf_chr(&name, 's');
		const struct api_core_grpc_action grpc = { .port = (int32_t)s.port, .service = buf_span(&name) };
		act(&s, &(struct kl_action_params){ .grpc = &grpc, .probe = true });
		assert_string_equal(buf_cstr(&s.said), "success service healthy");
		/* protobuf: key of field 1, length as a varint, text; an empty text is not sent */
		if (lengths[i])
			buf_chr(&want, 0x0a);
		for (size_t left = lengths[i]; left; left >>= 7)
			buf_chr(&want, (char)((left & 0x7f) | (left > 0x7f ? 0x80 : 0)));
		buf_span_add(&want, buf_span(&name));
		assert_true(span_eq(buf_span(&s.log), buf_span(&want)));
	}
	http_server_stop(s.http, 0, served_stopped, &s);
	until(&s.w, s.stopped);
	http_server_free(s.http);
	grpc_server_free(s.grpc);
	buf_done(&s.log);
	buf_done(&s.said);
	world_done(&s.w);
}

/* A runtime whose events carry statuses is asked for none; another for one of each. */
static void what_an_event_told_is_not_asked(void **state)
{
	for (unsigned tells = 0; tells < 2; tells++) {
		struct world w;
		world_init(&w);
		w.rt.tells = tells;
		manifest(&w, "a", "a", "", "");
		kubelet_begin(&w);
		until(&w, running(&w) == 1 && pod(&w, "a-n1")->items[0].ready);
		wait_ms(&w, 100);
		assert_int_equal(w.rt.count[KUBELET_CRI_POD_SANDBOX_STATUS], 1 - tells);
		assert_int_equal(w.rt.count[KUBELET_CRI_CONTAINER_STATUS], 1 - tells);
		assert_int_equal(w.rt.count[KUBELET_CRI_CREATE_CONTAINER], 1);
		world_done(&w);
	}
}

int main(int argc, char **argv)
{
	if (argc > 1) /* one of them alone */
		cmocka_set_test_filter(argv[1]);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_manifest_that_comes_back_has_its_pod_again),
		cmocka_unit_test(two_files_of_one_text_are_one_pod),
		cmocka_unit_test(a_folder_that_cannot_be_read_ends_nothing),
		cmocka_unit_test(a_manifest_may_be_a_link),
		cmocka_unit_test(no_answer_is_no_absence),
		cmocka_unit_test(what_was_started_is_not_started_twice),
		cmocka_unit_test(what_is_created_is_started),
		cmocka_unit_test(what_is_being_started_is_waited_for),
		cmocka_unit_test(what_ended_meanwhile_is_not_started),
		cmocka_unit_test(what_ran_in_a_moment_does_not_wait),
		cmocka_unit_test(volumes_of_a_pod_that_ends_go),
		cmocka_unit_test(a_stop_without_an_answer_is_not_a_loop),
		cmocka_unit_test(a_pod_may_wish_for_ever),
		cmocka_unit_test(a_pod_is_kept_apart_as_it_says),
		cmocka_unit_test(a_refused_status_is_sent_again),
		cmocka_unit_test(probes_ask_as_they_should),
		cmocka_unit_test(what_an_event_told_is_not_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
