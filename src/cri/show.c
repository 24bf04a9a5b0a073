/* Lists and statuses. */
#include "cri/private.h"

bool cri_labels_match(const struct api_pair *want, uint32_t n_want, const struct api_pair *have, uint32_t n_have)
{
	for (uint32_t i = 0; i < n_want; i++) {
		bool found = false;
		for (uint32_t j = 0; j < n_have && !found; j++)
			found = span_eq(want[i].key, have[j].key) && span_eq(want[i].value, have[j].value);
		if (!found)
			return false;
	}
	return true;
}

/* ---- sandboxes */

bool cri_pod_ready(const struct cri_pod *pod)
{
	struct container_state s;
	return !pod->stopped && container_state(pod->cri->containers, span_of(pod->id), &s, NULL) == 0 && s.running;
}

void cri_list_pod_sandbox(struct cri_call *k, const void *in)
{
	const struct api_cri_list_pod_sandbox_request *q = in;
	const struct api_cri_pod_sandbox_filter *f = q->filter;
	struct cri *c = k->cri;
	struct api_cri_list_pod_sandbox_response out = {};
	out.items.ptr = arena_alloc_n(&k->arena, c->pods_by_id.n + 1, sizeof(*out.items.ptr));
	LIST_EACH (&c->pods, pod, struct cri_pod, link) {
		struct api_cri_pod_sandbox *o = &out.items.ptr[out.items.n];
		*o = (struct api_cri_pod_sandbox){ .id = span_of(pod->id), .metadata = pod->config.metadata,
			.state = cri_pod_ready(pod) ? CRI_READY : CRI_NOT_READY, .created_at = pod->created_ns,
			.runtime_handler = pod->handler };
		CRI_LIST(o->labels, pod->config.labels);
		CRI_LIST(o->annotations, pod->config.annotations);
		if (f && ((f->id.len && !span_starts(o->id, f->id)) || (f->state && f->state->state != o->state) ||
				 !CRI_LABELS(f->label_selector, o->labels)))
			continue;
		out.items.n++;
	}
	cri_answer(k, &out);
}

void cri_show_pod(struct cri_pod *pod, struct arena *a, struct api_cri_pod_sandbox_status *out)
{
	struct api_cri_namespace *spaces = arena_new(a, struct api_cri_namespace);
	*out = (struct api_cri_pod_sandbox_status){ .id = span_of(pod->id), .metadata = pod->config.metadata,
		.state = cri_pod_ready(pod) ? CRI_READY : CRI_NOT_READY, .created_at = pod->created_ns,
		.runtime_handler = pod->handler, .network = arena_new(a, struct api_cri_pod_sandbox_network_status),
		.linux_ = arena_new(a, struct api_cri_linux_pod_sandbox_status) };
	CRI_LIST(out->labels, pod->config.labels);
	CRI_LIST(out->annotations, pod->config.annotations);
	spaces->options = arena_new(a, struct api_cri_namespace_option);
	const struct api_cri_linux_sandbox_security_context *s = pod->config.linux_ ? pod->config.linux_->security_context : NULL;
	if (s && s->namespace_options)
		*spaces->options = *s->namespace_options;
	out->linux_->namespaces = spaces;
	if (out->state != CRI_READY || !pod->n_ips)
		return;
	struct api_cri_pod_ip *more = arena_alloc_n(a, pod->n_ips, sizeof(*more));
	out->network->ip = pod->ips[0];
	for (unsigned i = 1; i < pod->n_ips; i++)
		more[i - 1] = (struct api_cri_pod_ip){ pod->ips[i] };
	out->network->additional_ips.ptr = more;
	out->network->additional_ips.n = pod->n_ips - 1;
}

static struct span tree_text(struct arena *a, enum api_typed type, const void *v)
{
	auto_buf struct buf b = {};
	struct json tree = api_typed_to_tree(a, type, v);
	json_write(&b, &tree, 0);
	return arena_span(a, buf_span(&b));
}

void cri_pod_sandbox_status(struct cri_call *k, const void *in)
{
	const struct api_cri_pod_sandbox_status_request *q = in;
	struct api_cri_pod_sandbox_status status;
	struct api_cri_pod_sandbox_status_response out = { .status = &status, .timestamp = loop_wall_ns(k->cri->p.loop) };
	struct cri_pod *pod = cri_pod_find(k->cri, q->pod_sandbox_id, &k->err);
	struct api_pair info;
	if (!pod) {
		cri_fail(k);
		return;
	}
	cri_show_pod(pod, &k->arena, &status);
	size_t n = 0;
	LIST_EACH (&pod->containers, one, struct cri_container, of_pod)
		n++;
	out.containers_statuses.ptr = arena_alloc_n(&k->arena, n + 1, sizeof(*out.containers_statuses.ptr));
	LIST_EACH (&pod->containers, one, struct cri_container, of_pod)
		cri_show_container(one, &k->arena, &out.containers_statuses.ptr[out.containers_statuses.n++]);
	if (q->verbose) {
		struct container_state s = {};
		(void)container_state(k->cri->containers, span_of(pod->id), &s, NULL); /* its zeros say the same */
		struct span config = tree_text(&k->arena, API_TYPED_CRI_POD_SANDBOX_CONFIG, &pod->config);
		info = (struct api_pair){ SPAN("info"),
			arena_printf(&k->arena, "{\"pid\":%d,\"processStatus\":\"%s\",\"image\":\"" CRI_PAUSE_IMAGE
				"\",\"runtimeHandler\":\"%.*s\",\"config\":%.*s}", s.pid, s.running ? "running" : "stopped",
				SPAN_ARG(pod->handler), SPAN_ARG(config)) };
		out.info.ptr = &info;
		out.info.n = 1;
	}
	cri_answer(k, &out);
}

/* ---- containers */

int cri_container_now(const struct cri_container *k, struct container_state *out)
{
	*out = (struct container_state){ .error = "" };
	if (container_state(k->pod->cri->containers, span_of(k->id), out, NULL) < 0)
		return CRI_UNKNOWN;
	return out->running ? CRI_RUNNING : out->ended ? CRI_EXITED : CRI_CREATED;
}

void cri_list_containers(struct cri_call *k, const void *in)
{
	const struct api_cri_list_containers_request *q = in;
	const struct api_cri_container_filter *f = q->filter;
	struct cri *c = k->cri;
	struct api_cri_list_containers_response out = {};
	out.containers.ptr = arena_alloc_n(&k->arena, c->all_by_id.n + 1, sizeof(*out.containers.ptr));
	LIST_EACH (&c->all, one, struct cri_container, link) {
		struct api_cri_container *o = &out.containers.ptr[out.containers.n];
		struct container_state now;
		*o = (struct api_cri_container){ .id = span_of(one->id), .pod_sandbox_id = span_of(one->pod->id),
			.metadata = one->config.metadata, .image = one->config.image, .image_ref = one->image_id, .image_id = one->image_id,
			.state = cri_container_now(one, &now), .created_at = one->created_ns };
		CRI_LIST(o->labels, one->config.labels);
		CRI_LIST(o->annotations, one->config.annotations);
		if (f && ((f->id.len && !span_starts(o->id, f->id)) || (f->state && f->state->state != o->state) ||
				 (f->pod_sandbox_id.len && !span_starts(o->pod_sandbox_id, f->pod_sandbox_id)) ||
				 !CRI_LABELS(f->label_selector, o->labels)))
			continue;
		out.containers.n++;
	}
	cri_answer(k, &out);
}

#define START_FAILED 128 /* as containerd has it; Docker's face tells 126 and 127 apart */

static struct span reason_of(const struct container_state *s, bool never_ran)
{
	if (never_ran)
		return SPAN("StartError");
	if (s->oom_killed)
		return SPAN("OOMKilled");
	return s->exit_code == 0 ? SPAN("Completed") : SPAN("Error");
}

struct span cri_log_path(const struct cri_pod *pod, const struct api_cri_container_config *c, struct arena *a)
{
	struct span dir = pod->config.log_directory, name = c->log_path;
	if (!dir.len || !name.len)
		return SPAN_EMPTY;
	return arena_printf(a, "%.*s%s%.*s", SPAN_ARG(dir), span_ends(dir, SPAN("/")) ? "" : "/", SPAN_ARG(name));
}

/* Looked at once for each start, while the container runs; what is asked about it later it keeps. */
static struct api_cri_container_user *show_user(struct cri_container *k, const struct container_state *s, struct arena *a)
{
	struct container_identity who;
	if (s->running && k->user_ns != s->started_ns &&
	    container_identity(k->pod->cri->containers, span_of(k->id), a, &who, NULL) == 0) {
		struct api_cri_linux_container_user *user = arena_new(&k->arena, struct api_cri_linux_container_user);
		user->uid = who.uid;
		user->gid = who.gid;
		user->supplemental_groups.ptr = arena_alloc_n(&k->arena, who.n_groups + 1, sizeof(*who.groups));
		for (uint32_t i = 0; i < who.n_groups; i++)
			user->supplemental_groups.ptr[user->supplemental_groups.n++] = who.groups[i];
		k->user = user;
		k->user_ns = s->started_ns;
	}
	if (!k->user || k->user_ns != s->started_ns)
		return NULL;
	struct api_cri_container_user *out = arena_new(a, struct api_cri_container_user);
	out->linux_ = k->user;
	return out;
}

void cri_show_container(struct cri_container *k, struct arena *a, struct api_cri_container_status *out)
{
	struct container_state s;
	int state = cri_container_now(k, &s);
	*out = (struct api_cri_container_status){ .id = span_of(k->id), .metadata = k->config.metadata, .state = state,
		.created_at = k->created_ns, .image_id = k->image_id, .image_ref = k->image_ref,
		.log_path = cri_log_path(k->pod, &k->config, a), .image = arena_new(a, struct api_cri_image_spec),
		.stop_signal = k->stop_signal };
	if (k->config.image)
		*out->image = *k->config.image;
	if (k->image.len)
		out->image->image = k->image;
	CRI_LIST(out->labels, k->config.labels);
	CRI_LIST(out->annotations, k->config.annotations);
	CRI_LIST(out->mounts, k->config.mounts);
	if (k->config.linux_ && k->config.linux_->resources) {
		out->resources = arena_new(a, struct api_cri_container_resources);
		out->resources->linux_ = k->config.linux_->resources;
	}
	if (state == CRI_CREATED)
		return;
	out->user = show_user(k, &s, a);
	bool never_ran = state == CRI_EXITED && !s.started_ns;
	out->started_at = s.started_ns;
	if (state != CRI_EXITED)
		return;
	out->finished_at = s.finished_ns ? s.finished_ns : k->created_ns; /* a start that failed has no end of its own */
	out->exit_code = never_ran ? START_FAILED : s.exit_code;
	out->reason = reason_of(&s, never_ran);
	out->message = arena_span(a, span_of(s.error));
}

void cri_container_status(struct cri_call *k, const void *in)
{
	const struct api_cri_container_status_request *q = in;
	struct api_cri_container_status status;
	struct api_cri_container_status_response out = { .status = &status };
	struct cri_container *one = cri_container_find(k->cri, q->container_id, &k->err);
	struct api_pair info;
	if (!one) {
		cri_fail(k);
		return;
	}
	cri_show_container(one, &k->arena, &status);
	if (q->verbose) {
		struct container_state s;
		(void)cri_container_now(one, &s);
		struct span config = tree_text(&k->arena, API_TYPED_CRI_CONTAINER_CONFIG, &one->config);
		info = (struct api_pair){ SPAN("info"), arena_printf(&k->arena, "{\"sandboxID\":\"%s\",\"pid\":%d,\"config\":%.*s}",
			one->pod->id, s.pid, SPAN_ARG(config)) };
		out.info.ptr = &info;
		out.info.n = 1;
	}
	cri_answer(k, &out);
}
