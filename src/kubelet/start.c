/* Starting one container.
 *
 *     IMAGE ──> WAIT ──> CREATE ──> START ──> LOOK ──> HOOK ──> over
 *       │         │         │         │                  │
 *       └─────────┴─────────┴─────────┴──────────────────┴──> over, with a reason and a time before which it is not tried again
 *
 * A container that is created and was never started (the kubelet died in between) is not made anew: WAIT leads to START. Whoever
 * died may have asked for its start, too, and that may be under way: with a new one beside it the program would run twice.
 *
 * IMAGE   the image is on the node, or is pulled; goes on beside the making of the sandbox and of volumes
 * WAIT    until there is a ready sandbox and every volume is there; then, in one go, environment and files are made
 * CREATE, START   the runtime's calls
 * LOOK    the record is made, unless an event has told what it says; probes begin
 * HOOK    postStart runs; when it fails the container is stopped. Until then it is told as waiting and no probe begins
 *
 * Containers of a pod start side by side, but none behind a postStart hook that runs: people put a proxy first, whose hook waits
 * until it is up.
 *
 * The reference to the object keeps what was begun consistent, whatever happens to the pod's object meanwhile. */
#include "kubelet/action.h"
#include "kubelet/config.h"
#include "kubelet/env.h"
#include "kubelet/image.h"
#include "kubelet/node.h"
#include "kubelet/volume.h"
#include "kubelet/worker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOLD_MS 300
#define LOOK_AGAIN_MS 1000
#define TAKEN_LOOKS 10         /* so often a start that somebody else asked for is looked after */
#define RETRY_NS (10 * NS_PER_S) /* upstream tries a pod that failed again after 10 to 15 s */

enum start_stage { START_IMAGE, START_WAIT, START_CREATE, START_START, START_LOOK, START_HOOK };

struct kl_start {
	struct list link;
	struct kl_worker *w;
	struct kl_object *object; /* owned reference */
	struct span name;         /* of the container; in the object */
	struct span seen_id;      /* of its newest record when the start was planned; in the arena; "" = there was none */
	enum kl_state seen;
	enum start_stage stage;
	struct kl_image_want *image_call;
	struct kubelet_cri_call *call;
	struct kl_action *hook;
	bool hook_failed;
	bool taken;               /* found created, its start asked for */
	struct span refused;      /* of one that was taken: what the runtime said; in the arena; "" = nothing */
	unsigned looks;           /* at it since then */
	struct arena arena;
	struct api_cri_image image; /* in the arena */
	struct span id;             /* of the container; in the arena */
	uint32_t attempt;
	int64_t since_ms;           /* when CREATE began */
	struct loop_timer again;    /* LOOK failed */
};

/* The item may have moved with a newer object; NULL: the container is in the spec no more. */
static struct kl_item *item_of(const struct kl_start *s)
{
	struct kl_pod *p = s->w->pod;
	int i = kl_spec_find(&p->object->pod.spec, s->name);
	return i < 0 ? NULL : &p->items[i];
}

static void end(struct kl_start *s)
{
	struct kl_worker *w = s->w;
	struct kl_item *it = item_of(s);
	if (it) {
		it->busy = false;
		it->hooked = it->hooked && s->hook_failed;
	}
	if (s->image_call)
		kl_image_cancel(s->image_call);
	if (s->call)
		kubelet_cri_cancel(s->call);
	if (s->hook)
		kl_action_cancel(s->hook);
	loop_timer_stop(&s->again);
	list_remove(&s->link);
	kl_object_unref(s->object);
	arena_done(&s->arena);
	free(s);
	kl_worker_wake(w);
}

static void fail(struct kl_start *s, const char *reason, struct span message, int64_t retry_ns)
{
	struct kl_item *it = item_of(s);
	if (it) {
		kl_item_waiting(it, reason, message);
		it->retry_ns = retry_ns;
	}
	end(s);
}

static void fail_with_event(struct kl_start *s, const char *reason, struct span message)
{
	kl_pod_event(s->w->pod, s->name, "Warning", "Failed", "Error: %.*s", SPAN_ARG(message));
	fail(s, reason, message, loop_wall_ns(s->w->pod->k->loop) + RETRY_NS);
}

int64_t kl_starts_hold_ms(const struct kl_worker *w)
{
	int64_t now_ms = loop_now_ms(w->pod->k->loop), left_ms = 0;
	LIST_EACH(&w->starts, s, struct kl_start, link)
		if (s->stage >= START_CREATE && s->stage <= START_LOOK)
			left_ms = MAX(left_ms, s->since_ms + HOLD_MS - now_ms);
	return left_ms;
}

void kl_starts_cancel(struct kl_worker *w, bool all)
{
	LIST_EACH(&w->starts, s, struct kl_start, link)
		if (all || s->stage <= START_WAIT || s->stage == START_HOOK)
			end(s);
}

/* ---- HOOK */

static const struct api_core_lifecycle_handler *hook_of(const struct kl_start *s)
{
	const struct api_core_pod_spec *pod = &s->object->pod.spec;
	const struct api_core_container *spec = kl_spec_container(pod, (unsigned)kl_spec_find(pod, s->name), NULL);
	return spec->lifecycle ? spec->lifecycle->post_start : NULL;
}

static bool behind_a_hook(const struct kl_start *s)
{
	int index = kl_spec_find(&s->object->pod.spec, s->name);
	LIST_EACH(&s->w->starts, before, struct kl_start, link)
		if (kl_spec_find(&s->object->pod.spec, before->name) < index && hook_of(before))
			return true;
	return false;
}

/* It is up: probes decide from here on. */
static void up(struct kl_item *it, const struct api_core_container *spec)
{
	kl_item_waiting(it, NULL, SPAN_EMPTY);
	it->started = !spec->startup_probe;
	it->ready = it->started && !spec->readiness_probe;
	it->liveness_failed = it->startup_failed = false;
}

/* "Exec lifecycle hook ([sh -c false]) for Container "web" in Pod "web_shop(UID)" failed - error: ..." */
static struct span hook_words(struct kl_start *s, struct span why)
{
	const struct api_core_lifecycle_handler *h = hook_of(s);
	const struct kl_pod *p = s->w->pod;
	auto_buf struct buf what = {};
	for (uint32_t i = 0; h->exec && i < h->exec->command.n; i++)
		buf_printf(&what, "%s%.*s", i ? " " : "[", SPAN_ARG(h->exec->command.ptr[i]));
	if (h->exec)
		buf_chr(&what, ']');
	else if (h->http_get)
		buf_span_add(&what, h->http_get->path);
	else if (h->sleep)
		buf_printf(&what, "%lld", (long long)h->sleep->seconds);
	return arena_printf(&s->arena, "%s lifecycle hook (%s) for Container \"%.*s\" in Pod \"%.*s_%.*s(%.*s)\" failed - error: %.*s",
			    h->exec ? "Exec" : h->http_get ? "HTTP" : h->sleep ? "Sleep" : "TCP", buf_cstr(&what), SPAN_ARG(s->name),
			    SPAN_ARG(p->name), SPAN_ARG(p->ns), SPAN_ARG(p->uid), SPAN_ARG(why));
}

static void on_hook(enum kl_result result, struct span message, void *arg)
{
	struct kl_start *s = arg;
	struct kl_pod *p = s->w->pod;
	FAILPOINT("kubelet.hook.over");
	s->hook = NULL;
	if (result != KL_SUCCESS) {
		const struct kl_container *c = kl_pod_container_id(p, s->id);
		kl_pod_event(p, s->name, "Warning", "FailedPostStartHook", "PostStartHook failed");
		struct kl_item *it = item_of(s);
		struct kl_worker *w = s->w;
		struct kl_kill kill = { .container = c, .index = kl_spec_find(&p->object->pod.spec, s->name), .grace_s = -1,
					.message = SPAN("FailedPostStartHook") };
		if (it)
			kl_item_waiting(it, "PostStartHookError", hook_words(s, message));
		s->hook_failed = true;
		end(s);
		if (c)
			kl_stop_begin(w, &kill, kl_worker_grace(w));
		return;
	}
	const struct kl_container *c = kl_pod_container_id(p, s->id);
	struct kl_item *it = item_of(s);
	if (it && c && c->state == KL_RUNNING)
		up(it, kl_spec_container(&s->object->pod.spec, (unsigned)kl_spec_find(&s->object->pod.spec, s->name), NULL));
	else if (it)
		kl_item_waiting(it, NULL, SPAN_EMPTY);
	end(s);
}

/* ---- LOOK */

static void look(struct kl_start *s);

/* What its record says is known. */
static void looked(struct kl_start *s)
{
	struct kl_pod *p = s->w->pod;
	const struct kl_container *c = kl_pod_container_id(p, s->id);
	const struct api_core_container *spec =
		kl_spec_container(&s->object->pod.spec, (unsigned)kl_spec_find(&s->object->pod.spec, s->name), NULL);
	const struct api_core_lifecycle_handler *hook = hook_of(s);
	struct kl_item *it = item_of(s);
	if (!hook && it && c && c->state == KL_RUNNING)
		up(it, spec);
	else if (it && c && c->state == KL_EXITED) /* already: why it could not be started before is no news any more */
		kl_item_waiting(it, NULL, SPAN_EMPTY);
	if (!hook || !c || c->state != KL_RUNNING) {
		end(s);
		return;
	}
	s->stage = START_HOOK;
	kl_worker_wake(s->w);
	struct kl_action_params ap = { .pod = p, .container = spec, .id = s->id, .exec = hook->exec, .http_get = hook->http_get,
				       .tcp_socket = hook->tcp_socket, .sleep = hook->sleep, .done = on_hook, .arg = s };
	FAILPOINT("kubelet.hook.begin");
	s->hook = kl_action_begin(&ap);
}

static void on_status(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_container_status_response *r = reply;
	struct kl_start *s = arg;
	struct kl_pod *p = s->w->pod;
	const struct kl_sandbox *sb = kl_pod_sandbox(p);
	s->call = NULL;
	if (why && why->class != ERR_NOT_FOUND) { /* it runs or not; without a record it would be started once more */
		log_warn("the state of a container that was started is not known", kv_span("id", s->id), kv_err(why));
		loop_timer_start(&s->again, LOOK_AGAIN_MS);
		return;
	}
	if (!why && r->status)
		(void)kl_container_put(p, r->status, sb ? sb->id : SPAN_EMPTY);
	const struct kl_container *c = kl_pod_container_id(p, s->id);
	if (s->refused.len && c && c->state == KL_CREATED && s->looks++ < TAKEN_LOOKS) {
		loop_timer_start(&s->again, LOOK_AGAIN_MS);
		return;
	}
	if (s->refused.len && (!c || c->state == KL_CREATED)) {
		kl_pod_event(p, s->name, "Warning", "Failed", "Error: %.*s", SPAN_ARG(s->refused));
		fail(s, "RunContainerError", s->refused, loop_wall_ns(p->k->loop) + 1 * NS_PER_S);
		return;
	}
	if (s->refused.len) {
		log_debug("was started already", kv_span("pod", p->name), kv_span("container", s->name));
		kl_pod_event(p, s->name, "Normal", "Started", "Started container %.*s", SPAN_ARG(s->name));
	}
	looked(s);
}

static void on_again(struct loop_timer *t)
{
	look(container_of(t, struct kl_start, again));
}

static void look(struct kl_start *s)
{
	struct api_cri_container_status_request q = { .container_id = s->id };
	s->stage = START_LOOK;
	s->call = kubelet_cri_container_status(s->w->pod->k->cri, &q, on_status, s);
}

/* ---- CREATE and START */

static void on_started(const struct err *why, const void *reply, void *arg)
{
	struct kl_start *s = arg;
	struct kl_pod *p = s->w->pod;
	s->call = NULL;
	if (why && s->taken) { /* as it should, where a start is under way or done */
		s->refused = arena_span(&s->arena, span_of(kubelet_cri_words(why)));
		look(s);
		return;
	}
	if (why) {
		struct kl_worker *w = s->w;
		struct span id = arena_span(&s->arena, s->id);
		kl_pod_event(p, s->name, "Warning", "Failed", "Error: %s", kubelet_cri_words(why));
		/* It is dead: the next one waits as one that crashed does. */
		kl_look(p, id);
		fail(s, "RunContainerError", span_of(kubelet_cri_words(why)), loop_wall_ns(w->pod->k->loop) + 1 * NS_PER_S);
		return;
	}
	FAILPOINT("kubelet.container.started");
	log_debug("started", kv_span("pod", p->name), kv_span("container", s->name));
	kl_pod_event(p, s->name, "Normal", "Started", "Started container %.*s", SPAN_ARG(s->name));
	/* A runtime whose events carry statuses has told already, and perhaps how it ended, too; others are asked. */
	const struct kl_container *c = kl_pod_container_id(p, s->id);
	if (c && (c->state == KL_RUNNING || c->state == KL_EXITED))
		looked(s);
	else
		look(s);
}

static void start_send(struct kl_start *s)
{
	struct api_cri_start_container_request q = { .container_id = s->id };
	log_debug("starting", kv_span("pod", s->w->pod->name), kv_span("container", s->name), kv_span("id", s->id));
	s->stage = START_START;
	s->call = kubelet_cri_start_container(s->w->pod->k->cri, &q, on_started, s);
}

static void on_created(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_create_container_response *r = reply;
	struct kl_start *s = arg;
	s->call = NULL;
	if (why) {
		fail_with_event(s, "CreateContainerError", span_of(kubelet_cri_words(why)));
		return;
	}
	FAILPOINT("kubelet.container.created");
	s->id = arena_span(&s->arena, r->container_id);
	kl_pod_event(s->w->pod, s->name, "Normal", "Created", "Created container: %.*s", SPAN_ARG(s->name));
	start_send(s);
}

static bool mounted_at(const struct api_core_container *c, const char *path)
{
	for (uint32_t i = 0; i < c->volume_mounts.n; i++)
		if (span_is(c->volume_mounts.ptr[i].mount_path, path))
			return true;
	return false;
}

/* The pod's /etc/hosts, written anew for each container: addresses may have come meanwhile. */
static int hosts_file(struct arena *a, const struct kl_pod *p, struct span *out, struct err *err)
{
	auto_buf struct buf path = {}, text = {}, own = {};
	kl_pod_dir(&path, p);
	int rc = io_mkdirs(AT_FDCWD, buf_cstr(&path), 0750, err);
	buf_str(&path, "/etc-hosts");
	if (p->object->pod.spec.host_network)
		(void)io_read_file(AT_FDCWD, "/etc/hosts", &own, 1 << 20, NULL);
	kl_pod_hosts(&text, p, buf_span(&own));
	/* In place: a file that is mounted already stays the same file. */
	auto_fd int fd = rc == 0 ? open(buf_cstr(&path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
	if (rc == 0 && fd < 0)
		rc = err_sys(err, "%s", buf_cstr(&path));
	if (rc == 0)
		rc = io_write_all(fd, text.ptr, text.len, err);
	*out = arena_span(a, buf_span(&path));
	return rc;
}

static int message_file(struct arena *a, const struct kl_pod *p, struct span name, uint32_t attempt, struct span *out,
			struct err *err)
{
	auto_buf struct buf path = {};
	kl_container_dir(&path, p, name);
	int rc = io_mkdirs(AT_FDCWD, buf_cstr(&path), 0750, err);
	buf_trunc(&path, 0);
	kl_message_path(&path, p, name, attempt);
	auto_fd int fd = rc == 0 ? open(buf_cstr(&path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
	if (rc == 0 && (fd < 0 || fchmod(fd, 0666) < 0)) /* whatever the umask is: any user inside may write it */
		rc = err_sys(err, "%s", buf_cstr(&path));
	*out = arena_span(a, buf_span(&path));
	return rc;
}

static void on_skipped(struct span message, void *arg)
{
	kl_pod_event(arg, SPAN_EMPTY, "Warning", "InvalidEnvironmentVariableNames", "%.*s", SPAN_ARG(message));
}

/* Everything that CreateContainer needs. UNAVAILABLE: something is on its way and will wake the pod. */
static int make(struct kl_start *s, const struct kl_sandbox *sb, struct api_cri_create_container_request *q, struct err *err)
{
	struct arena *a = &s->arena;
	struct kl_pod *p = s->w->pod;
	struct kl *k = p->k;
	const struct api_core_pod *pod = &s->object->pod;
	int index = kl_spec_find(&pod->spec, s->name);
	enum kl_container_kind kind;
	const struct api_core_container *c = kl_spec_container(&pod->spec, (unsigned)index, &kind);
	struct kl_facts facts;
	struct kl_make m = { .pod = p, .index = (unsigned)index, .attempt = s->attempt, .image = &s->image,
			     .memory_capacity = kl_node_memory(k) };
	kl_node_facts(p, &facts);
	const struct kl_env_params ep = { .pod = pod, .container = c, .facts = &facts, .objects = k->objects, .services = k->services,
					  .skipped = on_skipped, .arg = p };
	if (!pod->spec.has_enable_service_links || pod->spec.enable_service_links)
		if (!k->services_synced && k->services)
			return err_set(err, ERR_UNAVAILABLE, "services have not yet been read at least once, cannot construct envvars");
	int rc = kl_env_make(a, &ep, &m.envs, &m.n_envs, err);
	if (rc < 0)
		return rc;
	struct api_cri_mount *of_volumes, *mounts;
	rc = kl_volumes_mounts(p->volumes, a, c, m.envs, m.n_envs, &of_volumes, &m.n_mounts, err);
	if (rc < 0)
		return rc;
	m.mounts = mounts = arena_alloc_n(a, m.n_mounts + 2, sizeof(*mounts));
	if (m.n_mounts)
		memcpy(mounts, of_volumes, m.n_mounts * sizeof(*mounts));
	if (!mounted_at(c, "/etc/hosts")) {
		struct api_cri_mount *h = &mounts[m.n_mounts++];
		*h = (struct api_cri_mount){ .container_path = SPAN("/etc/hosts"), .selinux_relabel = true };
		rc = hosts_file(a, p, &h->host_path, err);
	}
	if (rc == 0 && c->termination_message_path.len) {
		struct api_cri_mount *t = &mounts[m.n_mounts++];
		*t = (struct api_cri_mount){ .container_path = c->termination_message_path, .selinux_relabel = true };
		rc = message_file(a, p, c->name, s->attempt, &t->host_path, err);
	}
	if (rc < 0)
		return rc;
	if (kind == KL_EPHEMERAL) {
		const struct api_core_ephemeral_container *e = (const struct api_core_ephemeral_container *)(const void *)c;
		const struct kl_container *target = e->target_container_name.len ? kl_pod_container(p, e->target_container_name, false)
			: NULL;
		if (e->target_container_name.len && (!target || target->state != KL_RUNNING))
			return err_set(err, ERR_INVALID, "unable to find target container %.*s", SPAN_ARG(e->target_container_name));
		m.target_id = target ? target->id : SPAN_EMPTY;
	}
	auto_buf struct buf log_dir = {};
	kl_pod_log_dir(&log_dir, p);
	buf_printf(&log_dir, "/%.*s", SPAN_ARG(c->name));
	rc = io_mkdirs(AT_FDCWD, buf_cstr(&log_dir), 0755, err);
	if (rc < 0)
		return rc;
	q->pod_sandbox_id = sb->id;
	q->config = arena_new(a, struct api_cri_container_config);
	q->sandbox_config = arena_new(a, struct api_cri_pod_sandbox_config);
	kl_sandbox_config(a, p, sb->attempt, s->w->cgroup, q->sandbox_config);
	q->sandbox_config->dns_config = NULL;
	return kl_container_config(a, &m, q->config, err);
}

static uint32_t next_attempt(const struct kl_start *s)
{
	const struct kl_pod *p = s->w->pod;
	const struct kl_container *last = kl_pod_container(p, s->name, false);
	if (last)
		return last->attempt + 1;
	/* Its records are gone: what the API was told of it counts on. */
	const struct api_core_pod_status *st = &s->object->pod.status;
	const struct api_core_container_status *lists[] = { st->container_statuses.ptr, st->init_container_statuses.ptr };
	const uint32_t n[] = { st->container_statuses.n, st->init_container_statuses.n };
	for (size_t l = 0; l < ARRAY_LEN(lists); l++)
		for (uint32_t i = 0; i < n[l]; i++)
			if (span_eq(lists[l][i].name, s->name) && lists[l][i].container_id.len)
				return (uint32_t)lists[l][i].restart_count + 1;
	return 0;
}

/* The newest one, if it is as it would be made now, in this sandbox, and only has to be started; NULL: there is none. */
static struct kl_container *created_before(const struct kl_start *s, const struct kl_sandbox *sb)
{
	const struct api_core_pod_spec *spec = &s->object->pod.spec;
	struct kl_container *c = (struct kl_container *)kl_pod_container(s->w->pod, s->name, false);
	char hash[9];
	if (!c || c->state != KL_CREATED || c->tried || !span_eq(c->sandbox, sb->id))
		return NULL;
	kl_spec_hash(kl_spec_container(spec, (unsigned)kl_spec_find(spec, s->name), NULL), hash);
	return span_is(c->hash, hash) ? c : NULL;
}

static void go(struct kl_start *s)
{
	auto_err struct err err = ERR_INIT;
	struct kl_pod *p = s->w->pod;
	const struct kl_sandbox *sb = kl_pod_sandbox(p);
	struct api_cri_create_container_request q = {};
	/* The pod's own object and not the older one: the spec of a container never changes but for its image, which restarts it. */
	if (kl_sandbox_busy(s->w) || !sb || (!sb->n_ips && !p->object->pod.spec.host_network) || !p->volumes ||
	    !kl_volumes_ready(p->volumes) || behind_a_hook(s))
		return;
	/* The plan was made of records that may be older than the image's answer: what was created runs now, or has ended, and
	 * whether it is begun again is not ours to say. */
	const struct kl_container *newest = kl_pod_container(p, s->name, false);
	if (newest ? !span_eq(newest->id, s->seen_id) || newest->state != s->seen : s->seen_id.len > 0) {
		end(s);
		return;
	}
	struct kl_container *found = created_before(s, sb);
	if (found) {
		found->tried = true;
		s->taken = true;
		s->id = arena_span(&s->arena, found->id);
		s->attempt = found->attempt;
		s->since_ms = loop_now_ms(p->k->loop);
		struct kl_item *item = item_of(s);
		if (item)
			item->hooked = hook_of(s) != NULL;
		start_send(s);
		return;
	}
	s->attempt = next_attempt(s);
	int rc = make(s, sb, &q, &err);
	if (rc == -ERR_UNAVAILABLE)
		return;
	if (rc < 0) {
		fail_with_event(s, "CreateContainerConfigError", span_of(err_msg(&err)));
		return;
	}
	struct kl_item *it = item_of(s);
	const struct kl_container *last = kl_pod_container(p, s->name, false);
	if (it && last && last->state == KL_EXITED)
		kl_backoff_next(it, last, loop_wall_ns(p->k->loop), p->k->o->max_backoff_ms);
	if (it)
		it->hooked = hook_of(s) != NULL;
	FAILPOINT("kubelet.container.files");
	s->stage = START_CREATE;
	s->since_ms = loop_now_ms(p->k->loop);
	log_debug("creating", kv_span("pod", p->name), kv_span("container", s->name));
	s->call = kubelet_cri_create_container(p->k->cri, &q, on_created, s);
}

void kl_starts_go(struct kl_worker *w)
{
	LIST_EACH(&w->starts, s, struct kl_start, link)
		if (s->stage == START_WAIT)
			go(s);
}

/* ---- IMAGE */

static void on_image(const struct api_cri_image *image, const char *reason, struct span message, int64_t retry_ns, void *arg)
{
	struct kl_start *s = arg;
	s->image_call = NULL;
	if (!image) {
		kl_pod_event(s->w->pod, s->name, "Warning", "Failed", "Error: %s", reason);
		fail(s, reason, message, retry_ns);
		return;
	}
	s->image = (struct api_cri_image){ .id = arena_span(&s->arena, image->id), .username = arena_span(&s->arena, image->username) };
	if (image->uid) {
		s->image.uid = arena_new(&s->arena, struct api_cri_int64_value);
		*s->image.uid = *image->uid;
	}
	s->stage = START_WAIT;
	go(s);
}

void kl_start_begin(struct kl_worker *w, unsigned index)
{
	struct kl_pod *p = w->pod;
	struct kl_start *s = mem_new(struct kl_start);
	s->w = w;
	s->object = kl_object_ref(p->object);
	s->name = kl_spec_container(&p->object->pod.spec, index, NULL)->name;
	loop_timer_init(&s->again, p->k->loop, "look at a container again", on_again);
	const struct kl_container *newest = kl_pod_container(p, s->name, false);
	if (newest) {
		s->seen_id = arena_span(&s->arena, newest->id);
		s->seen = newest->state;
	}
	p->items[index].busy = true;
	list_push(&w->starts, &s->link);
	s->image_call = kl_image_get(p->k, &(struct kl_image_params){ .pod = p, .index = index, .done = on_image, .arg = s });
}
