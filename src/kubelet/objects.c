/* One `watched` an object, by "KIND/ns/name"; a list of uses at each. */
#include "kubelet/objects.h"

enum { LINGER_MS = 60000 };

static const struct client_kind kinds[KL_OBJECT_KINDS] = {
	[KL_CONFIG_MAP] = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("configmaps"), true },
	[KL_SECRET] = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("secrets"), true },
};

struct kl_objects {
	struct client *client;
	struct map watched;
};

struct watched {
	struct kl_objects *all;
	char *key; /* owned: "0/ns/name" */
	struct span ns, name; /* parts of key */
	enum kl_object_kind kind;
	struct client_informer *informer;
	struct bytes *json; /* owned; NULL = not there */
	struct buf why;
	struct list uses;
	struct loop_timer linger;
	struct loop_task tell;
};

struct kl_ref {
	struct list link;
	struct watched *of;
	void (*changed)(struct kl_ref *r, void *arg);
	void *arg;
};

struct kl_objects *kl_objects_new(struct client *c)
{
	struct kl_objects *o = mem_new(struct kl_objects);
	o->client = c;
	return o;
}

static void watched_free(struct watched *w)
{
	assert(list_empty(&w->uses));
	loop_timer_stop(&w->linger);
	loop_task_cancel(&w->tell);
	client_informer_free(w->informer);
	bytes_unref(w->json);
	buf_done(&w->why);
	free(w->key);
	free(w);
}

void kl_objects_free(struct kl_objects *o)
{
	if (!o)
		return;
	MAP_EACH(&o->watched, e)
		watched_free(e->value);
	map_done(&o->watched);
	free(o);
}

/* Users drop themselves and others meanwhile: each is moved behind before it is told. */
static void on_tell(struct loop_task *t)
{
	struct watched *w = container_of(t, struct watched, tell);
	struct list todo;
	list_init(&todo);
	list_append(&todo, &w->uses);
	for (;;) {
		struct kl_ref *r = LIST_POP(&todo, struct kl_ref, link);
		if (!r)
			break;
		list_push(&w->uses, &r->link);
		r->changed(r, r->arg);
	}
}

static void state_set(struct watched *w, struct bytes *json)
{
	bytes_unref(w->json);
	w->json = bytes_ref(json);
	buf_trunc(&w->why, 0);
	loop_defer(client_loop(w->all->client), &w->tell);
}

static void on_added(struct client_informer *inf, struct client_item *it, const struct json *object, void *arg)
{
	state_set(arg, it->json);
}

static void on_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *object, void *arg)
{
	state_set(arg, it->json);
}

static void on_removed(struct client_informer *inf, struct client_item *it, void *arg)
{
	state_set(arg, NULL);
}

static void on_synced(struct client_informer *inf, void *arg)
{
	struct watched *w = arg;
	loop_defer(client_loop(w->all->client), &w->tell);
}

static void on_broken(struct client_informer *inf, const struct err *why, void *arg)
{
	struct watched *w = arg;
	if (client_informer_synced(inf))
		return; /* what is known stays */
	buf_trunc(&w->why, 0);
	buf_str(&w->why, err_msg(why));
	loop_defer(client_loop(w->all->client), &w->tell);
}

static void on_linger(struct loop_timer *t)
{
	struct watched *w = container_of(t, struct watched, linger);
	(void)map_remove(&w->all->watched, span_of(w->key));
	watched_free(w);
}

static struct watched *watched_new(struct kl_objects *o, enum kl_object_kind kind, struct span ns, struct span name)
{
	auto_buf struct buf key = {}, selector = {};
	struct watched *w = mem_new(struct watched);
	buf_printf(&key, "%d/%.*s/%.*s", (int)kind, SPAN_ARG(ns), SPAN_ARG(name));
	size_t len;
	w->key = buf_take(&key, &len);
	w->ns = span_make(w->key + 2, ns.len);
	w->name = span_make(w->key + 2 + ns.len + 1, name.len);
	w->all = o;
	w->kind = kind;
	list_init(&w->uses);
	loop_timer_init(&w->linger, client_loop(o->client), "unused object", on_linger);
	w->linger.background = true;
	loop_task_init(&w->tell, on_tell);
	buf_printf(&selector, "metadata.name=%.*s", SPAN_ARG(name));
	const struct client_informer_params p = { .client = o->client, .kind = kinds[kind], .ns = w->ns,
		.field_selector = buf_span(&selector),
						  .added = on_added, .changed = on_changed, .removed = on_removed, .synced = on_synced,
						  .broken = on_broken, .arg = w };
	w->informer = client_informer_new(&p);
	(void)map_put(&o->watched, span_of(w->key), w);
	return w;
}

static struct watched *find(const struct kl_objects *o, enum kl_object_kind kind, struct span ns, struct span name)
{
	auto_buf struct buf key = {};
	buf_printf(&key, "%d/%.*s/%.*s", (int)kind, SPAN_ARG(ns), SPAN_ARG(name));
	return map_get(&o->watched, buf_span(&key));
}

struct kl_ref *kl_ref_new(struct kl_objects *o, enum kl_object_kind kind, struct span ns, struct span name,
			  void (*changed)(struct kl_ref *r, void *arg), void *arg)
{
	struct kl_ref *r = mem_new(struct kl_ref);
	struct watched *w = find(o, kind, ns, name);
	if (!w)
		w = watched_new(o, kind, ns, name);
	loop_timer_stop(&w->linger);
	*r = (struct kl_ref){ .of = w, .changed = changed, .arg = arg };
	list_push(&w->uses, &r->link);
	return r;
}

void kl_ref_drop(struct kl_ref *r)
{
	if (!r)
		return;
	struct watched *w = r->of;
	list_remove(&r->link);
	free(r);
	if (list_empty(&w->uses))
		loop_timer_start(&w->linger, LINGER_MS);
}

static enum kl_seen look(const struct watched *w, struct bytes **out_json)
{
	*out_json = w->json;
	return w->json ? KL_SEEN_THERE : client_informer_synced(w->informer) ? KL_SEEN_ABSENT : KL_SEEN_NOT;
}

enum kl_seen kl_ref_look(const struct kl_ref *r, struct bytes **out_json)
{
	return look(r->of, out_json);
}

bool kl_ref_is(const struct kl_ref *r, enum kl_object_kind kind, struct span name)
{
	return r->of->kind == kind && span_eq(r->of->name, name);
}

void kl_ref_name(const struct kl_ref *r, struct buf *out)
{
	buf_printf(out, "%s \"%.*s\"", r->of->kind == KL_SECRET ? "secret" : "configmap", SPAN_ARG(r->of->name));
}

struct span kl_ref_why(const struct kl_ref *r)
{
	return buf_span(&r->of->why);
}

enum kl_seen kl_objects_look(const struct kl_objects *o, enum kl_object_kind kind, struct span ns, struct span name,
			     struct bytes **out_json)
{
	const struct watched *w = find(o, kind, ns, name);
	*out_json = NULL;
	return w ? look(w, out_json) : o->client ? KL_SEEN_NOT : KL_SEEN_ABSENT;
}
