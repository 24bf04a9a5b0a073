/* Pods: objects decoded, records of the runtime's sandboxes and containers, and how they are found. */
#include "kubelet/pod.h"

int64_t kl_now_s(const struct kl *k)
{
	return loop_wall_ns(k->loop) / NS_PER_S;
}

struct span kl_key(struct arena *a, struct span ns, struct span name)
{
	return arena_printf(a, "%.*s/%.*s", SPAN_ARG(ns), SPAN_ARG(name));
}

/* ---- objects */

struct kl_object *kl_object_new(struct bytes *json, struct err *err)
{
	struct kl_object *o = mem_new(struct kl_object);
	o->refs = 1;
	o->json = bytes_ref(json);
	if (api_core_pod_decode(&o->arena, API_FORM_JSON, bytes_span(json), &o->pod, err) < 0) {
		kl_object_unref(o);
		return NULL;
	}
	return o;
}

struct kl_object *kl_object_ref(struct kl_object *o)
{
	o->refs++;
	return o;
}

void kl_object_unref(struct kl_object *o)
{
	if (!o || --o->refs)
		return;
	arena_done(&o->arena);
	bytes_unref(o->json);
	free(o);
}

/* ---- containers of a spec */

#define SAME_PLACE(member) \
	static_assert(offsetof(struct api_core_container, member) == offsetof(struct api_core_ephemeral_container, member), "layout")
SAME_PLACE(env);
SAME_PLACE(lifecycle);
SAME_PLACE(security_context);
SAME_PLACE(tty);

unsigned kl_spec_n(const struct api_core_pod_spec *s)
{
	return s->init_containers.n + s->containers.n + s->ephemeral_containers.n;
}

const struct api_core_container *kl_spec_container(const struct api_core_pod_spec *s, unsigned i, enum kl_container_kind *out_kind)
{
	enum kl_container_kind kind = KL_INIT;
	const struct api_core_container *c;
	if (i < s->init_containers.n) {
		c = &s->init_containers.ptr[i];
	} else if (i - s->init_containers.n < s->containers.n) {
		c = &s->containers.ptr[i - s->init_containers.n];
		kind = KL_CONTAINER;
	} else {
		i -= s->init_containers.n + s->containers.n;
		assert(i < s->ephemeral_containers.n);
		c = (const struct api_core_container *)(const void *)&s->ephemeral_containers.ptr[i];
		kind = KL_EPHEMERAL;
	}
	if (out_kind)
		*out_kind = kind;
	return c;
}

int kl_spec_find(const struct api_core_pod_spec *s, struct span name)
{
	unsigned n = kl_spec_n(s);
	for (unsigned i = 0; i < n; i++)
		if (span_eq(kl_spec_container(s, i, NULL)->name, name))
			return (int)i;
	return -1;
}

bool kl_is_sidecar(const struct api_core_container *c, enum kl_container_kind kind)
{
	return kind == KL_INIT && span_is(c->restart_policy, "Always");
}

/* ---- records: a struct and its texts in one block */

static size_t texts_size(const struct span *const *all, size_t n)
{
	size_t size = 0;
	for (size_t i = 0; i < n; i++)
		size += all[i]->len + 1;
	return size;
}

static void texts_move(char *to, struct span *const *all, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (all[i]->len)
			memcpy(to, all[i]->ptr, all[i]->len);
		to[all[i]->len] = 0;
		all[i]->ptr = to;
		to += all[i]->len + 1;
	}
}

static struct span pair(const struct api_pair *ptr, uint32_t n, const char *key)
{
	return api_pair_get(ptr, n, span_of(key));
}

static bool same_container(const struct kl_container *a, const struct kl_container *b)
{
	return a->state == b->state && a->exit_code == b->exit_code && a->started_ns == b->started_ns &&
	       a->finished_ns == b->finished_ns && span_eq(a->reason, b->reason) && span_eq(a->message, b->message) &&
	       span_eq(a->image_ref, b->image_ref) && span_eq(a->image_id, b->image_id) && span_eq(a->image, b->image) &&
	       span_eq(a->log_path, b->log_path) && span_eq(a->sandbox, b->sandbox);
}

bool kl_container_put(struct kl_pod *p, const struct api_cri_container_status *s, struct span sandbox)
{
	struct kl_container want = {
		.id = s->id, .name = s->metadata ? s->metadata->name : SPAN_EMPTY, .sandbox = sandbox,
		.image = s->image ? s->image->image : SPAN_EMPTY, .image_ref = s->image_ref, .image_id = s->image_id,
		.reason = s->reason, .message = s->message, .log_path = s->log_path,
		.hash = pair(s->annotations.ptr, s->annotations.n, KL_NOTE_HASH),
		.message_path = pair(s->annotations.ptr, s->annotations.n, KL_NOTE_MESSAGE_PATH),
		.message_policy = pair(s->annotations.ptr, s->annotations.n, KL_NOTE_MESSAGE_POLICY),
		.attempt = s->metadata ? (uint32_t)s->metadata->attempt : 0, .state = (enum kl_state)s->state, .created_ns = s->created_at,
		.started_ns = s->started_at, .finished_ns = s->finished_at, .exit_code = s->exit_code,
	};
	if (s->image && s->image->user_specified_image.len)
		want.image = s->image->user_specified_image;
	if (s->user && s->user->linux_) {
		want.uid = s->user->linux_->uid;
		want.gid = s->user->linux_->gid;
	}
	struct kl_container *old = (struct kl_container *)kl_pod_container_id(p, s->id);
	if (old && !sandbox.len)
		want.sandbox = old->sandbox;
	if (old && same_container(old, &want))
		return false;
	if (old && old->state == KL_EXITED && want.state != KL_EXITED) /* an answer that was overtaken */
		return false;
	struct span *const texts[] = { &want.id, &want.name, &want.sandbox, &want.image, &want.image_ref, &want.image_id, &want.reason,
				       &want.message, &want.log_path, &want.hash, &want.message_path, &want.message_policy };
	struct kl_container *c = mem_alloc(sizeof(*c) + texts_size((const struct span *const *)texts, ARRAY_LEN(texts)));
	texts_move((char *)(c + 1), texts, ARRAY_LEN(texts));
	*c = want;
	struct list *at = &p->containers;
	LIST_EACH(&p->containers, o, struct kl_container, link) {
		if (o == old)
			continue;
		if (o->attempt > c->attempt || (o->attempt == c->attempt && o->created_ns > c->created_ns))
			at = &o->link;
		else
			break;
	}
	list_insert_after_(at, &c->link);
	if (old) {
		c->said = take(&old->said);
		c->tried = old->tried;
		kl_container_drop(old);
	}
	return true;
}

bool kl_sandbox_put(struct kl_pod *p, const struct api_cri_pod_sandbox_status *s)
{
	struct kl_sandbox want = { .id = s->id, .attempt = s->metadata ? (uint32_t)s->metadata->attempt : 0, .ready = s->state == 0,
				   .created_ns = s->created_at };
	if (s->network) {
		if (s->network->ip.len)
			want.ips[want.n_ips++] = s->network->ip;
		for (uint32_t i = 0; i < s->network->additional_ips.n && want.n_ips < ARRAY_LEN(want.ips); i++)
			want.ips[want.n_ips++] = s->network->additional_ips.ptr[i].ip;
	}
	struct kl_sandbox *old = NULL;
	LIST_EACH(&p->sandboxes, o, struct kl_sandbox, link)
		if (span_eq(o->id, s->id))
			old = o;
	/* A sandbox that was stopped has lost its addresses; a completed pod is still shown with them. */
	if (old && !want.n_ips && !want.ready) {
		memcpy(want.ips, old->ips, sizeof(want.ips));
		want.n_ips = old->n_ips;
	}
	if (old && old->ready == want.ready && old->n_ips == want.n_ips && (!want.n_ips || span_eq(old->ips[0], want.ips[0])))
		return false;
	if (old && !old->ready && want.ready)
		return false;
	struct span *const texts[] = { &want.id, &want.ips[0], &want.ips[1], &want.ips[2], &want.ips[3] };
	struct kl_sandbox *sb = mem_alloc(sizeof(*sb) + texts_size((const struct span *const *)texts, ARRAY_LEN(texts)));
	texts_move((char *)(sb + 1), texts, ARRAY_LEN(texts));
	*sb = want;
	struct list *at = &p->sandboxes;
	LIST_EACH(&p->sandboxes, o, struct kl_sandbox, link) {
		if (o == old)
			continue;
		if (o->attempt > sb->attempt || (o->attempt == sb->attempt && o->created_ns > sb->created_ns))
			at = &o->link;
		else
			break;
	}
	list_insert_after_(at, &sb->link);
	if (old)
		kl_sandbox_drop(old);
	return true;
}

void kl_container_drop(struct kl_container *c)
{
	list_remove(&c->link);
	free(c->said);
	free(c);
}

void kl_sandbox_drop(struct kl_sandbox *s)
{
	list_remove(&s->link);
	free(s);
}

/* ---- pods */

struct kl_pod *kl_pod_new(struct kl *k, struct span uid, struct span ns, struct span name)
{
	struct kl_pod *p = mem_new(struct kl_pod);
	p->k = k;
	p->uid = span_make(mem_dup(uid.ptr, uid.len), uid.len);
	/* "ns/name" in one piece, the key of the table by names */
	char *both = mem_alloc(ns.len + name.len + 2);
	(void)snprintf(both, ns.len + name.len + 2, "%.*s/%.*s", SPAN_ARG(ns), SPAN_ARG(name));
	p->ns = span_make(both, ns.len);
	p->name = span_make(both + ns.len + 1, name.len);
	list_init(&p->containers);
	list_init(&p->sandboxes);
	(void)map_put(&k->pods, p->uid, p);
	(void)map_put(&k->pods_by_name, span_make(both, ns.len + 1 + name.len), p);
	return p;
}

static void items_free(struct kl_pod *p)
{
	for (unsigned i = 0; i < p->n_items; i++)
		free(p->items[i].message);
	free(p->items);
	p->items = NULL;
	p->n_items = 0;
}

void kl_pod_free(struct kl_pod *p)
{
	struct kl *k = p->k;
	struct span key = span_make(p->ns.ptr, p->ns.len + 1 + p->name.len);
	(void)map_remove(&k->pods, p->uid);
	if (map_get(&k->pods_by_name, key) == p) {
		/* The other pod of that name, if there is one, has its key still in this one's memory no more. */
		(void)map_remove(&k->pods_by_name, key);
		MAP_EACH(&k->pods, e) {
			struct kl_pod *o = e->value;
			if (span_eq(o->name, p->name) && span_eq(o->ns, p->ns)) {
				(void)map_put(&k->pods_by_name, span_make(o->ns.ptr, key.len), o);
				break;
			}
		}
	}
	if (p->mirror_uid.len)
		(void)map_remove(&k->mirrors, p->mirror_uid);
	LIST_EACH(&p->containers, c, struct kl_container, link)
		kl_container_drop(c);
	LIST_EACH(&p->sandboxes, s, struct kl_sandbox, link)
		kl_sandbox_drop(s);
	items_free(p);
	kl_object_unref(p->object);
	free((char *)p->uid.ptr);
	free((char *)p->ns.ptr);
	free((char *)p->mirror_uid.ptr);
	free(p);
}

void kl_pod_object_set(struct kl_pod *p, struct kl_object *o)
{
	unsigned n = kl_spec_n(&o->pod.spec);
	struct kl_item *items = mem_zalloc((n + 1) * sizeof(*items));
	for (unsigned i = 0; p->object && i < p->n_items; i++) {
		int at = kl_spec_find(&o->pod.spec, kl_spec_container(&p->object->pod.spec, i, NULL)->name);
		if (at < 0)
			continue;
		items[at] = p->items[i];
		p->items[i].message = NULL;
	}
	items_free(p);
	p->items = items;
	p->n_items = n;
	kl_object_unref(p->object);
	p->object = o;
}

void kl_item_waiting(struct kl_item *it, const char *reason, struct span message)
{
	it->waiting = reason;
	char *copy = message.len ? mem_dup(message.ptr, message.len) : NULL;
	free(it->message);
	it->message = copy;
}

struct kl_pod *kl_pod_get(const struct kl *k, struct span ns, struct span name)
{
	auto_arena struct arena a = {};
	return map_get(&k->pods_by_name, kl_key(&a, ns, name));
}

struct kl_pod *kl_pod_by_uid(const struct kl *k, struct span uid)
{
	struct kl_pod *p = map_get(&k->pods, uid);
	return p ? p : map_get(&k->mirrors, uid);
}

struct kl_pod *kl_pod_next(const struct kl *k, size_t *pos)
{
	while (*pos < k->pods.cap) {
		void *v = k->pods.slots[(*pos)++].value;
		if (v && v != (void *)-1)
			return v;
	}
	return NULL;
}

const struct kl_container *kl_pod_container(const struct kl_pod *p, struct span name, bool previous)
{
	LIST_EACH(&p->containers, c, struct kl_container, link) {
		if (!span_eq(c->name, name))
			continue;
		if (!previous)
			return c;
		previous = false;
	}
	return NULL;
}

const struct kl_container *kl_pod_container_id(const struct kl_pod *p, struct span id)
{
	LIST_EACH(&p->containers, c, struct kl_container, link)
		if (span_eq(c->id, id))
			return c;
	return NULL;
}

bool kl_pod_told_end(const struct kl_pod *p, unsigned i, int32_t *out_exit_code)
{
	const struct api_core_pod_status *s = &p->object->pod.status;
	enum kl_container_kind kind;
	struct span name = kl_spec_container(&p->object->pod.spec, i, &kind)->name;
	const struct api_core_container_status *lists[] = { s->container_statuses.ptr, s->init_container_statuses.ptr,
							    s->ephemeral_container_statuses.ptr };
	const uint32_t n[] = { s->container_statuses.n, s->init_container_statuses.n, s->ephemeral_container_statuses.n };
	for (uint32_t k = 0; k < n[kind] && !p->is_static; k++) {
		const struct api_core_container_state *state = &lists[kind][k].state;
		if (!span_eq(lists[kind][k].name, name) || (!state->terminated && !state->running))
			continue;
		*out_exit_code = state->terminated ? state->terminated->exit_code : 137;
		return true;
	}
	return false;
}

const struct kl_sandbox *kl_pod_sandbox(const struct kl_pod *p)
{
	const struct kl_sandbox *s = LIST_FIRST(&p->sandboxes, struct kl_sandbox, link);
	return s && s->ready ? s : NULL;
}

bool kl_pod_host_network(const struct kl_pod *p)
{
	return p->object && p->object->pod.spec.host_network;
}

unsigned kl_pod_ips(const struct kl_pod *p, struct span out[static 4])
{
	unsigned n = 0;
	if (kl_pod_host_network(p)) {
		for (; n < p->k->n_node_ips; n++)
			out[n] = p->k->node_ips[n];
		return n;
	}
	const struct kl_sandbox *s = LIST_FIRST(&p->sandboxes, struct kl_sandbox, link);
	for (; s && n < s->n_ips; n++)
		out[n] = s->ips[n];
	return n;
}

void kl_pod_dir(struct buf *out, const struct kl_pod *p)
{
	buf_printf(out, "%.*s/pods/%.*s", SPAN_ARG(p->k->o->root_dir), SPAN_ARG(p->uid));
}

void kl_container_dir(struct buf *out, const struct kl_pod *p, struct span container)
{
	kl_pod_dir(out, p);
	buf_printf(out, "/containers/%.*s", SPAN_ARG(container));
}

void kl_pod_log_dir(struct buf *out, const struct kl_pod *p)
{
	buf_printf(out, "%.*s/%.*s_%.*s_%.*s", SPAN_ARG(p->k->o->pod_log_dir), SPAN_ARG(p->ns), SPAN_ARG(p->name), SPAN_ARG(p->uid));
}

void kl_pod_event(const struct kl_pod *p, struct span container, const char *type, const char *reason, const char *fmt, ...)
{
	auto_arena struct arena a = {};
	va_list ap;
	struct client_object_ref ref = { .api_version = SPAN("v1"), .kind = SPAN("Pod"), .ns = p->ns, .name = p->name,
					 .uid = p->is_static && p->mirror_uid.len ? p->mirror_uid : p->uid };
	va_start(ap, fmt);
	struct span message = arena_vprintf(&a, fmt, ap);
	va_end(ap);
	if (p->object && !p->is_static)
		ref.resource_version = p->object->pod.metadata.resource_version;
	if (container.len) {
		enum kl_container_kind kind = KL_CONTAINER;
		int i = p->object ? kl_spec_find(&p->object->pod.spec, container) : -1;
		if (i >= 0)
			(void)kl_spec_container(&p->object->pod.spec, (unsigned)i, &kind);
		ref.field_path = arena_printf(&a, "spec.%s{%.*s}", kind == KL_INIT ? "initContainers" :
					      kind == KL_EPHEMERAL ? "ephemeralContainers" : "containers", SPAN_ARG(container));
	}
	if (p->k->events)
		client_event(p->k->events, &ref, type, reason, message);
}
