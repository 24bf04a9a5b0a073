/* Containers of sandboxes: create, start, stop, remove, and what changes while they run. */
#include "cri/private.h"

/* ---- create */

struct create {
	const struct api_cri_container_config *config;
	char pod[65];
	struct span name, seccomp_path, seccomp;
	struct span image_id, image_ref, image, stop_signal; /* found by the worker */
	struct cri_documents docs;
	char id[65];
	struct list link; /* of cri.making_containers */
};

static struct span container_name(struct arena *a, const char *pod, const struct api_cri_container_metadata *m)
{
	return arena_printf(a, "%s_%.*s_%llu", pod, SPAN_ARG(m->name), (unsigned long long)m->attempt);
}

static int name_reserve(struct cri_call *k, struct create *c, const struct cri_pod *pod, struct err *err)
{
	const char *who = NULL;
	c->name = container_name(&k->arena, pod->id, c->config->metadata);
	LIST_EACH (&pod->containers, one, struct cri_container, of_pod)
		if (span_eq(container_name(&k->arena, pod->id, one->config.metadata), c->name))
			who = one->id;
	for (struct list *l = k->cri->making_containers.next; l != &k->cri->making_containers; l = l->next)
		if (span_eq(LIST_ENTRY(l, struct create, link)->name, c->name))
			who = "a container that is being made";
	if (who)
		return err_set(err, ERR_EXISTS, "failed to reserve container name \"%.*s_%llu\": name is reserved for \"%s\"",
			SPAN_ARG(c->config->metadata->name), (unsigned long long)c->config->metadata->attempt, who);
	list_push(&k->cri->making_containers, &c->link);
	return 0;
}

static void create_failed(struct cri_call *k)
{
	struct create *c = k->state;
	list_remove(&c->link);
	cri_fail(k);
}

static void orphan_removed(struct cri_call *k)
{
	err_done(&k->err);
	(void)err_set(&k->err, ERR_NOT_FOUND, "sandbox was removed meanwhile");
	create_failed(k);
}

static void created(struct cri_call *k)
{
	struct create *c = k->state;
	struct cri_container *one;
	if (k->err.class) {
		(void)err_note(&k->err, "failed to create container");
		create_failed(k);
		return;
	}
	struct span id = json_span(json_getl(&k->container.result, "Id"));
	struct cri_pod *pod = map_get(&k->cri->pods_by_id, span_of(c->pod));
	memcpy(c->id, id.ptr, sizeof(c->id) - 1);
	if (!pod || pod->removing || cri_container_add(k->cri, c->id, &c->docs.extra, &one, &k->err) < 0) {
		container_remove(k->cri->containers, span_of(c->id), CONTAINER_RM_FORCE | CONTAINER_RM_VOLUMES,
			cri_container_call(k, orphan_removed));
		return;
	}
	list_remove(&c->link);
	cri_event(pod, one->id, CRI_EVENT_CREATED);
	const struct api_cri_create_container_response out = { .container_id = span_of(one->id) };
	cri_answer(k, &out);
}

static struct json container_record(struct cri_call *k, const struct create *c)
{
	struct arena *a = &k->arena;
	struct json v = json_object();
	(void)json_setl(a, &v, "Kind", json_cstr("container"));
	(void)json_setl(a, &v, "Config", api_typed_to_tree(a, API_TYPED_CRI_CONTAINER_CONFIG, c->config));
	(void)json_setl(a, &v, "ImageId", json_str(c->image_id));
	(void)json_setl(a, &v, "ImageRef", json_str(c->image_ref));
	(void)json_setl(a, &v, "Image", json_str(c->image));
	(void)json_setl(a, &v, "CreatedNs", json_int(loop_wall_ns(k->cri->p.loop)));
	int32_t sig = c->config->stop_signal ? c->config->stop_signal : cri_spec_signal(c->stop_signal);
	(void)json_setl(a, &v, "StopSignal", json_int(sig ? sig : cri_spec_signal(SPAN("SIGTERM"))));
	return v;
}

static void looked_up(struct cri_call *k)
{
	struct create *c = k->state;
	struct cri_pod *pod = map_get(&k->cri->pods_by_id, span_of(c->pod));
	if (!k->err.class && (!pod || pod->removing))
		(void)err_set(&k->err, ERR_NOT_FOUND, "failed to find sandbox id \"%s\": not found", c->pod);
	bool systemd = container_systemd(k->cri->containers);
	if (k->err.class ||
	    cri_spec_container(pod, c->config, c->image_id, c->seccomp, systemd, &k->arena, &c->docs, &k->err) < 0) {
		create_failed(k);
		return;
	}
	(void)json_setl(&k->arena, &c->docs.extra, "Cri", container_record(k, c));
	const struct container_create_params p = { .config = &c->docs.config, .host_config = &c->docs.host, .extra = &c->docs.extra };
	container_create(k->cri->containers, &p, cri_container_call(k, created));
}

static int look_up(struct cri_call *k, struct err *err)
{
	struct create *c = k->state;
	struct api_cri_image shown;
	int rc = cri_profile_read(c->seccomp_path, &k->arena, &c->seccomp, err);
	rc = rc < 0 ? rc : cri_image_show(k, c->config->image->image, &shown, &c->stop_signal, err);
	if (rc < 0)
		return rc;
	c->image_id = shown.id;
	c->image_ref = shown.repo_digests.n ? shown.repo_digests.ptr[0] : shown.id;
	c->image = shown.repo_tags.n ? shown.repo_tags.ptr[0] : SPAN_EMPTY;
	return 0;
}

void cri_create_container(struct cri_call *k, const void *in)
{
	const struct api_cri_create_container_request *q = in;
	struct create *c = arena_new(&k->arena, struct create);
	struct cri_pod *pod = cri_pod_find(k->cri, q->pod_sandbox_id, &k->err);
	list_init(&c->link);
	k->state = c;
	c->config = q->config;
	if (!pod) {
		(void)err_note(&k->err, "failed to find sandbox id \"%.*s\"", SPAN_ARG(q->pod_sandbox_id));
		cri_fail(k);
		return;
	}
	memcpy(c->pod, pod->id, sizeof(c->pod));
	if (!q->config || !q->config->metadata || !q->config->metadata->name.len) {
		cri_fail_with(k, ERR_INVALID_REQUEST, "container config must include metadata");
		return;
	}
	if (!q->config->image || !q->config->image->image.len) {
		cri_fail_with(k, ERR_INVALID_REQUEST, "container config must include an image");
		return;
	}
	if (!cri_pod_ready(pod) || pod->removing) {
		cri_fail_with(k, ERR_IN_USE, "sandbox container \"%s\" is not running", pod->id);
		return;
	}
	const struct api_cri_linux_container_security_context *s = q->config->linux_ ? q->config->linux_->security_context : NULL;
	if (s && cri_spec_selinux(s->selinux_options, cri_selinux_there(), &k->err) < 0) {
		cri_fail(k);
		return;
	}
	if (s && !s->privileged)
		c->seccomp_path = cri_spec_seccomp_path(s->seccomp, s->seccomp_profile_path);
	if (name_reserve(k, c, pod, &k->err) < 0)
		cri_fail(k);
	else
		cri_work(k, look_up, looked_up);
}

/* ---- the others */

static void answer_or_fail(struct cri_call *k)
{
	if (k->err.class)
		cri_fail(k);
	else
		cri_answer_empty(k);
}

/* For what is done already when there is no such thing. */
static void answer_gone(struct cri_call *k)
{
	if (k->err.class && k->err.class != ERR_NOT_FOUND)
		cri_fail(k);
	else
		cri_answer_empty(k);
}

static void started(struct cri_call *k)
{
	struct cri_container *one = map_get(&k->cri->all_by_id, span_of(k->state));
	if (one)
		one->starting = false;
	if (k->err.class)
		(void)err_note(&k->err, "failed to start container"); /* no id: events of the same words are counted as one */
	answer_or_fail(k);
}

void cri_start_container(struct cri_call *k, const void *in)
{
	const struct api_cri_start_container_request *q = in;
	static const char *const states[] = { "CONTAINER_CREATED", "CONTAINER_RUNNING", "CONTAINER_EXITED", "CONTAINER_UNKNOWN" };
	struct cri_container *one = cri_container_find(k->cri, q->container_id, &k->err);
	struct container_state now;
	if (!one) {
		cri_fail(k);
		return;
	}
	int state = cri_container_now(one, &now);
	if (state != CRI_CREATED || one->starting) {
		cri_fail_with(k, ERR_IN_USE, "failed to set starting state for container \"%s\": %s", one->id,
			one->starting ? "container is already in starting state"
				      : arena_printf(&k->arena, "container is in %s state", states[state]).ptr);
		return;
	}
	if (!cri_pod_ready(one->pod)) {
		cri_fail_with(k, ERR_IN_USE, "sandbox container \"%s\" is not running", one->pod->id);
		return;
	}
	one->starting = true;
	k->state = arena_cstr(&k->arena, span_of(one->id));
	container_start(k->cri->containers, span_of(one->id), cri_container_call(k, started));
}

void cri_stop_container(struct cri_call *k, const void *in)
{
	const struct api_cri_stop_container_request *q = in;
	struct cri_container *one = cri_container_find(k->cri, q->container_id, &k->err);
	if (!one) {
		answer_gone(k);
		return;
	}
	/* No time at all: the signal that asks would be of no use. */
	bool at_once = q->timeout <= 0;
	container_stop(k->cri->containers, span_of(one->id), at_once ? SPAN("KILL") : SPAN_EMPTY, at_once ? 0 : q->timeout,
		cri_container_call(k, answer_gone));
}

void cri_container_gone(struct cri_container *one)
{
	cri_event(one->pod, one->id, CRI_EVENT_DELETED);
	cri_container_free(one);
}

static void removed(struct cri_call *k)
{
	struct cri_container *one = map_get(&k->cri->all_by_id, span_of(k->state));
	if (one && (!k->err.class || k->err.class == ERR_NOT_FOUND))
		cri_container_gone(one);
	answer_gone(k);
}

void cri_remove_container(struct cri_call *k, const void *in)
{
	const struct api_cri_remove_container_request *q = in;
	struct cri_container *one = cri_container_find(k->cri, q->container_id, &k->err);
	if (!one) {
		answer_gone(k);
		return;
	}
	k->state = arena_cstr(&k->arena, span_of(one->id));
	container_remove(k->cri->containers, span_of(one->id), CONTAINER_RM_FORCE | CONTAINER_RM_VOLUMES,
		cri_container_call(k, removed));
}

void cri_reopen_container_log(struct cri_call *k, const void *in)
{
	const struct api_cri_reopen_container_log_request *q = in;
	struct cri_container *one = cri_container_find(k->cri, q->container_id, &k->err);
	struct container_state now;
	if (!one) {
		cri_fail(k);
	} else if (cri_container_now(one, &now) != CRI_RUNNING) {
		cri_fail_with(k, ERR_IN_USE, "container is not running");
	} else {
		container_log_reopen(k->cri->containers, span_of(one->id), cri_container_call(k, answer_or_fail));
	}
}

/* ---- new limits */

#define TAKE(field)                                                                                                                \
	if (want->field)                                                                                                           \
	now->field = want->field
#define TAKE_TEXT(field)                                                                                                           \
	if (want->field.len)                                                                                                       \
	now->field = arena_span(&one->arena, want->field)

/* What is not said stays, and what an update does not change: processes keep their oom_score_adj. The object's arena grows by a few
 * bytes with each update of a text, until the container is removed. */
static void resources_merge(struct cri_container *one, const struct api_cri_linux_container_resources *want)
{
	struct arena *a = &one->arena;
	if (!one->config.linux_)
		one->config.linux_ = arena_new(a, struct api_cri_linux_container_config);
	if (!one->config.linux_->resources)
		one->config.linux_->resources = arena_new(a, struct api_cri_linux_container_resources);
	struct api_cri_linux_container_resources *now = one->config.linux_->resources;
	TAKE(cpu_period);
	TAKE(cpu_quota);
	TAKE(cpu_shares);
	TAKE(memory_limit_in_bytes);
	TAKE(memory_swap_limit_in_bytes);
	TAKE_TEXT(cpuset_cpus);
	TAKE_TEXT(cpuset_mems);
	if (want->unified.n || want->hugepage_limits.n) {
		struct json tree = api_typed_to_tree(a, API_TYPED_CRI_LINUX_CONTAINER_RESOURCES, want);
		struct json *kept = arena_new(a, struct json);
		struct api_cri_linux_container_resources again;
		*kept = json_copy(a, &tree);
		if (api_typed_of_tree(a, API_TYPED_CRI_LINUX_CONTAINER_RESOURCES, kept, &again, NULL) == 0) {
			if (want->unified.n)
				CRI_LIST(now->unified, again.unified);
			if (want->hugepage_limits.n)
				CRI_LIST(now->hugepage_limits, again.hugepage_limits);
		}
	}
}

/* One after the other: each begins with the words that the one before has left in the record. */
struct update {
	struct list link;
	struct cri_call *k;
	char id[65];
	const struct api_cri_linux_container_resources *want;
};

static void updates_next(struct cri_container *one);

static void updated(struct cri_call *k)
{
	struct update *u = k->state;
	struct cri_container *one = map_get(&k->cri->all_by_id, span_of(u->id));
	if (!k->err.class && one)
		resources_merge(one, u->want);
	list_remove(&u->link);
	answer_or_fail(k);
	if (one)
		updates_next(one);
}

static int update_begin(struct cri_container *one, const struct update *u)
{
	struct cri_call *k = u->k;
	struct arena *a = &k->arena;
	struct json doc = json_object(), extra = json_object();
	const struct json *kept;
	struct container_state now;
	if (cri_container_now(one, &now) == CRI_EXITED)
		return err_set(&k->err, ERR_IN_USE, "failed to update resources: container is in CONTAINER_EXITED state");
	cri_spec_resources(u->want, a, &doc, &extra);
	if (container_extra(k->cri->containers, span_of(one->id), &kept, &k->err) < 0)
		return -1; /* k->err tells */
	/* The record's own words say the same as the limits. */
	struct json own = json_copy(a, json_getl(kept, "Cri"));
	struct json *config = json_getl(&own, "Config");
	struct json *linux_ = json_getl(config, "linux");
	linux_ = linux_ ? linux_ : json_setl(a, config, "linux", json_object());
	struct json *resources = json_getl(linux_, "resources");
	resources = resources ? resources : json_setl(a, linux_, "resources", json_object());
	struct json want = api_typed_to_tree(a, API_TYPED_CRI_LINUX_CONTAINER_RESOURCES, u->want);
	(void)json_remove(&want, SPAN("oom_score_adj"));
	JSON_EACH_MEMBER (&want, m)
		(void)json_set(a, resources, json_key(m), m->value);
	(void)json_setl(a, &extra, "Cri", own);
	(void)json_setl(a, &doc, "Extra", extra);
	container_update(k->cri->containers, span_of(one->id), &doc, cri_container_call(k, updated));
	return 0;
}

static void updates_next(struct cri_container *one)
{
	struct update *u;
	while ((u = LIST_FIRST(&one->updates, struct update, link)) && update_begin(one, u) < 0) {
		list_remove(&u->link);
		cri_fail(u->k);
	}
}

void cri_updates_fail(struct cri_container *one)
{
	struct update *first = LIST_POP(&one->updates, struct update, link), *u; /* the container engine answers this one */
	if (first)
		list_init(&first->link);
	while ((u = LIST_POP(&one->updates, struct update, link)))
		cri_fail_with(u->k, ERR_NOT_FOUND, "container %s was removed", one->id);
}

void cri_update_container_resources(struct cri_call *k, const void *in)
{
	const struct api_cri_update_container_resources_request *q = in;
	struct cri_container *one = cri_container_find(k->cri, q->container_id, &k->err);
	if (!one) {
		cri_fail(k);
		return;
	}
	if (!q->linux_) {
		cri_answer_empty(k);
		return;
	}
	struct update *u = arena_new(&k->arena, struct update);
	bool alone = list_empty(&one->updates);
	u->k = k;
	memcpy(u->id, one->id, sizeof(u->id));
	u->want = q->linux_;
	k->state = u;
	list_push(&one->updates, &u->link);
	if (alone)
		updates_next(one);
}

void cri_checkpoint_container(struct cri_call *k, const void *in)
{
	cri_fail_with(k, ERR_UNSUPPORTED, "checkpoint/restore is not supported by this runtime");
}
