/* What must be done next for a pod. After upstream's kuberuntime (computePodActions, computeInitContainerActions), with the walk
 * over init containers forward: what stands behind a container that has a record of this sandbox has been reached. */
#include "kubelet/plan.h"
#include "kubelet/config.h"

static bool policy_is(const struct kl_pod *p, const char *policy)
{
	return span_is(p->object->pod.spec.restart_policy, policy);
}

static const struct api_core_container *spec_at(const struct kl_pod *p, unsigned i, enum kl_container_kind *kind)
{
	return kl_spec_container(&p->object->pod.spec, i, kind);
}

/* The newest record of a name, in that sandbox alone if one is given. */
static const struct kl_container *newest(const struct kl_pod *p, struct span name, const struct kl_sandbox *in)
{
	LIST_EACH(&p->containers, c, struct kl_container, link)
		if (span_eq(c->name, name) && (!in || span_eq(c->sandbox, in->id)))
			return c;
	return NULL;
}

int64_t kl_backoff_until(const struct kl_item *item, const struct kl_container *last, int64_t now_ns, int64_t max_ms)
{
	if (!item->backoff_ms || !last || last->state != KL_EXITED)
		return 0;
	/* What ran well for long begins anew. */
	if (last->finished_ns - item->backoff_at_ns > 2 * max_ms * NS_PER_MS)
		return 0;
	int64_t until = last->finished_ns + item->backoff_ms * NS_PER_MS;
	return until > now_ns ? until : 0;
}

void kl_backoff_next(struct kl_item *item, const struct kl_container *last, int64_t now_ns, int64_t max_ms)
{
	bool anew = !item->backoff_ms || (last && last->finished_ns - item->backoff_at_ns > 2 * max_ms * NS_PER_MS);
	item->backoff_ms = MIN(anew ? KL_BACKOFF_FIRST_MS : item->backoff_ms * 2, max_ms);
	item->backoff_at_ns = now_ns;
}

/* Of one that has ended so. */
static bool begins_again(const struct kl_pod *p, const struct api_core_container *spec, enum kl_container_kind kind,
			 int32_t exit_code)
{
	if (kind == KL_EPHEMERAL)
		return false;
	if (kl_is_sidecar(spec, kind))
		return true;
	if (policy_is(p, "Never"))
		return false;
	return kind == KL_CONTAINER && policy_is(p, "Always") ? true : exit_code != 0;
}

bool kl_should_restart(const struct kl_pod *p, unsigned index, const struct kl_container *c)
{
	enum kl_container_kind kind;
	const struct api_core_container *spec = spec_at(p, index, &kind);
	int32_t told;
	if (p->object->pod.metadata.deletion_timestamp.set)
		return false;
	if (!c && kl_pod_told_end(p, index, &told))
		return begins_again(p, spec, kind, told);
	if (!c || c->state == KL_CREATED || c->state == KL_UNKNOWN)
		return true;
	if (c->state == KL_RUNNING)
		return false;
	char hash[9];
	kl_spec_hash(spec, hash);
	if (kind == KL_CONTAINER && c->hash.len && !span_is(c->hash, hash))
		return true;
	return begins_again(p, spec, kind, c->exit_code);
}

/* With records of the containers of a sandbox that is gone upstream asks no further than the policy. Where they are gone, too, the
 * API's word stands for them: what of a pod with policy Never it was told of is not begun again, nor what has ended well. */
bool kl_plan_finished(const struct kl_pod *p)
{
	const struct api_core_pod_spec *s = &p->object->pod.spec;
	bool never = policy_is(p, "Never"), left = false;
	for (unsigned i = 0; i < s->init_containers.n + s->containers.n; i++) {
		enum kl_container_kind kind;
		const struct api_core_container *spec = spec_at(p, i, &kind);
		const struct kl_container *c = newest(p, spec->name, NULL);
		int32_t code = c ? c->exit_code : 0;
		bool told = !c && kl_pod_told_end(p, i, &code);
		if (never && told && !kl_is_sidecar(spec, kind) && (kind == KL_CONTAINER || code != 0))
			return true;
		if (kind == KL_CONTAINER)
			left |= !policy_is(p, "OnFailure") || code != 0 || !(told || (c && c->state == KL_EXITED));
	}
	return !left;
}

struct build {
	struct arena *a;
	const struct kl_plan_in *in;
	const struct kl_pod *p;
	const struct kl_sandbox *sandbox; /* usable; NULL: none */
	struct kl_plan *out;
};

static void wake_at(struct kl_plan *out, int64_t ns)
{
	if (ns && (!out->wake_ns || ns < out->wake_ns))
		out->wake_ns = ns;
}

/* Starts container i unless something goes on with it or its back-off runs. last: its newest record in any sandbox. */
static void start(struct build *b, unsigned i, const struct kl_container *last)
{
	const struct kl_item *item = &b->p->items[i];
	if (item->busy)
		return;
	if (item->retry_ns > b->in->now_ns) {
		wake_at(b->out, item->retry_ns);
		return;
	}
	int64_t until = kl_backoff_until(item, last, b->in->now_ns, b->in->max_backoff_ms);
	if (until) {
		b->out->waiting[b->out->n_waiting++] = i;
		wake_at(b->out, until);
		return;
	}
	b->out->start[b->out->n_start++] = i;
}

static void kill_one(struct build *b, const struct kl_container *c, unsigned i, struct span message, int64_t grace_s)
{
	if (!b->p->items[i].busy)
		b->out->kill[b->out->n_kill++] =
			(struct kl_kill){ .container = c, .index = (int)i, .message = message, .grace_s = grace_s };
}

/* A running container that must not go on running: true, and it is in the plan. */
static bool kill_if_bad(struct build *b, unsigned i, const struct api_core_container *spec, const struct kl_container *c,
			bool restarts)
{
	const struct kl_item *item = &b->p->items[i];
	const char *more = restarts ? ", will be restarted" : "";
	char hash[9];
	kl_spec_hash(spec, hash);
	if (c->hash.len && !span_is(c->hash, hash)) { /* whatever the restart policy is */
		kill_one(b, c, i, arena_printf(b->a, "Container %.*s definition changed, will be restarted", SPAN_ARG(spec->name)), -1);
		return true;
	}
	const struct api_core_probe *probe = item->startup_failed ? spec->startup_probe : spec->liveness_probe;
	int64_t grace_s = probe && probe->has_termination_grace_period_seconds ? probe->termination_grace_period_seconds : -1;
	if (item->startup_failed)
		kill_one(b, c, i, arena_printf(b->a, "Container %.*s failed startup probe%s", SPAN_ARG(spec->name), more), grace_s);
	else if (item->liveness_failed)
		kill_one(b, c, i, arena_printf(b->a, "Container %.*s failed liveness probe%s", SPAN_ARG(spec->name), more), grace_s);
	else
		return false;
	return true;
}

/* Has anything at or behind init container `from` been reached in this sandbox? */
static bool reached(const struct build *b, unsigned from)
{
	unsigned n = kl_spec_n(&b->p->object->pod.spec);
	for (unsigned i = from; i < n; i++) {
		enum kl_container_kind kind;
		const struct api_core_container *spec = spec_at(b->p, i, &kind);
		if (kind != KL_EPHEMERAL && b->sandbox && newest(b->p, spec->name, b->sandbox))
			return true;
	}
	return false;
}

/* True: the init containers are through (or no longer matter). */
static bool plan_init(struct build *b)
{
	const struct api_core_pod_spec *s = &b->p->object->pod.spec;
	bool restart_failed = !policy_is(b->p, "Never");
	for (unsigned i = 0; i < s->init_containers.n; i++) {
		const struct api_core_container *spec = &s->init_containers.ptr[i];
		const struct kl_container *c = b->sandbox ? newest(b->p, spec->name, b->sandbox) : NULL;
		const struct kl_container *last = newest(b->p, spec->name, NULL);
		bool sidecar = kl_is_sidecar(spec, KL_INIT), passed = reached(b, i + 1);
		if (sidecar) {
			if (!c || c->state != KL_RUNNING) {
				start(b, i, last);
				if (!passed)
					return false;
				continue;
			}
			(void)kill_if_bad(b, i, spec, c, true);
			if (!b->p->items[i].started && !passed) /* also while it is killed because its startup probe failed */
				return false;
			continue;
		}
		if (passed)
			continue;
		int32_t told;
		if (!last && !restart_failed && kl_pod_told_end(b->p, i, &told) && told != 0) {
			b->out->kill_pod = b->out->over = true;
			return false;
		}
		/* One that the API says has ended well is run again: what it did to the sandbox and the volumes may be gone, too. */
		if (!c || c->state == KL_CREATED) {
			start(b, i, last);
			return false;
		}
		if (c->state == KL_RUNNING)
			return false;
		if (c->state == KL_EXITED && c->exit_code == 0)
			continue;
		if (!restart_failed) {
			b->out->kill_pod = b->out->over = true;
			return false;
		}
		if (c->state == KL_UNKNOWN)
			kill_one(b, c, i, SPAN("Init container is in \"Unknown\" state, try killing it before restart"), -1);
		else
			start(b, i, last);
		return false;
	}
	return true;
}

static void plan_regular(struct build *b)
{
	const struct api_core_pod_spec *s = &b->p->object->pod.spec;
	bool restarts = !policy_is(b->p, "Never");
	unsigned keep = 0, to_start = 0;
	for (unsigned k = 0; k < s->containers.n; k++) {
		unsigned i = s->init_containers.n + k;
		const struct api_core_container *spec = &s->containers.ptr[k];
		const struct kl_container *c = newest(b->p, spec->name, NULL);
		if (!c || c->state != KL_RUNNING) {
			if (!kl_should_restart(b->p, i, c))
				continue;
			to_start++;
			if (c && c->state == KL_UNKNOWN)
				kill_one(b, c, i, SPAN("Container is in \"Unknown\" state, try killing it before restart"),
					 -1);
			else
				start(b, i, c);
			continue;
		}
		/* A container that was killed and must not come back does not hold the pod. */
		keep++;
		(void)kill_if_bad(b, i, spec, c, restarts);
	}
	for (unsigned i = 0; i < s->init_containers.n + s->containers.n; i++)
		keep += b->p->items[i].busy && i >= s->init_containers.n;
	if (!keep && !to_start)
		b->out->kill_pod = b->out->over = true;
}

static void plan_ephemeral(struct build *b)
{
	const struct api_core_pod_spec *s = &b->p->object->pod.spec;
	unsigned first = s->init_containers.n + s->containers.n;
	for (unsigned k = 0; k < s->ephemeral_containers.n; k++)
		if (!newest(b->p, s->ephemeral_containers.ptr[k].name, NULL) && kl_should_restart(b->p, first + k, NULL))
			start(b, first + k, NULL);
}

/* The sandbox that the pod can live in; otherwise why none, in the plan. False: nothing is to be made either. */
static bool plan_sandbox(struct build *b)
{
	const struct kl_pod *p = b->p;
	const struct kl_sandbox *s = LIST_FIRST(&p->sandboxes, struct kl_sandbox, link);
	unsigned ready = 0;
	LIST_EACH(&p->sandboxes, one, struct kl_sandbox, link)
		ready += one->ready;
	if (s && s->ready && ready == 1) {
		b->sandbox = s;
		return true;
	}
	b->out->make_sandbox = true;
	b->out->attempt = s ? s->attempt + 1 : 0;
	/* The old one went away: everything in it is dead or must die. */
	bool running = false;
	LIST_EACH(&p->containers, c, struct kl_container, link)
		running |= c->state == KL_RUNNING || c->state == KL_UNKNOWN;
	b->out->kill_pod = s && (running || ready);
	if (kl_plan_finished(p) || (s && policy_is(p, "Never") && !list_empty(&p->containers))) {
		b->out->make_sandbox = false;
		b->out->kill_pod = b->out->over = true;
		return false;
	}
	return true;
}

/* Containers that ran in a sandbox that is gone count as dead. Handled here: they are asked about again by the worker. */
void kl_plan_make(struct arena *a, const struct kl_plan_in *in, struct kl_plan *out)
{
	const struct kl_pod *p = in->pod;
	unsigned n = kl_spec_n(&p->object->pod.spec);
	*out = (struct kl_plan){ .start = arena_alloc_n(a, n + 1, sizeof(unsigned)),
				 .waiting = arena_alloc_n(a, n + 1, sizeof(unsigned)),
				 .kill = arena_alloc_n(a, n + 1, sizeof(struct kl_kill)) };
	struct build b = { .a = a, .in = in, .p = p, .out = out };
	if (!plan_sandbox(&b) || (out->make_sandbox && out->kill_pod))
		return;
	out->initialized = plan_init(&b);
	if (out->kill_pod)
		return;
	if (out->initialized)
		plan_regular(&b);
	if (!out->kill_pod && !out->make_sandbox)
		plan_ephemeral(&b);
	if (out->kill_pod) {
		out->n_start = out->n_waiting = out->n_kill = 0;
		out->make_sandbox = false;
	}
}

void kl_plan_end(struct arena *a, const struct kl_pod *p, struct kl_end *out)
{
	const struct api_core_pod_spec *s = p->object ? &p->object->pod.spec : NULL;
	unsigned n = 0;
	bool others = false;
	int last_sidecar = -1;
	LIST_EACH(&p->containers, c, struct kl_container, link)
		n++;
	*out = (struct kl_end){ .kill = arena_alloc_n(a, n + 1, sizeof(struct kl_kill)) };
	LIST_EACH(&p->containers, c, struct kl_container, link) {
		if (c->state != KL_RUNNING && c->state != KL_UNKNOWN)
			continue;
		out->running = true;
		int i = s ? kl_spec_find(s, c->name) : -1;
		enum kl_container_kind kind = KL_CONTAINER;
		const struct api_core_container *spec = i < 0 ? NULL : kl_spec_container(s, (unsigned)i, &kind);
		if (spec && kl_is_sidecar(spec, kind))
			last_sidecar = MAX(last_sidecar, i);
		else
			others = true;
	}
	LIST_EACH(&p->containers, c, struct kl_container, link) {
		if (c->state != KL_RUNNING && c->state != KL_UNKNOWN)
			continue;
		int i = s ? kl_spec_find(s, c->name) : -1;
		enum kl_container_kind kind = KL_CONTAINER;
		const struct api_core_container *spec = i < 0 ? NULL : kl_spec_container(s, (unsigned)i, &kind);
		if (spec && kl_is_sidecar(spec, kind) && (others || i != last_sidecar))
			continue;
		out->kill[out->n_kill++] = (struct kl_kill){ .container = c, .index = i, .grace_s = -1 };
	}
	if (out->running)
		return;
	LIST_EACH(&p->sandboxes, one, struct kl_sandbox, link)
		if (one->ready && !out->sandbox)
			out->sandbox = one;
	out->done = !out->sandbox;
}

unsigned kl_plan_garbage(const struct kl_pod *p, bool pod_over, const struct kl_container **out, unsigned max)
{
	unsigned n = 0;
	LIST_EACH(&p->containers, c, struct kl_container, link) {
		unsigned newer = 0;
		bool newest_lives = false;
		if (c->state == KL_RUNNING || c->state == KL_UNKNOWN)
			continue;
		LIST_EACH(&p->containers, o, struct kl_container, link) {
			if (o == c)
				break;
			if (!span_eq(o->name, c->name))
				continue;
			newest_lives |= newer == 0 && (o->state == KL_RUNNING || o->state == KL_CREATED);
			newer++;
		}
		bool known = p->object && kl_spec_find(&p->object->pod.spec, c->name) >= 0;
		if (known && (newer == 0 || (newer == 1 && newest_lives && !pod_over)))
			continue;
		if (c->state == KL_CREATED && newer == 0)
			continue; /* about to be started */
		if (n < max)
			out[n++] = c;
	}
	return n;
}
