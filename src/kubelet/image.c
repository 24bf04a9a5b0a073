/* Images: ImageStatus, then by the container's policy a pull. Pulls of one image (with the same credentials) are one; at most
 * --registry pulls at once; a failed one is not tried again for a pod before its back-off has passed (10 s doubled up to 5 min).
 *
 *     STATUS ──present──> done
 *        │absent, or Always
 *        └──> (back-off) ──> SECRETS ──> PULL ──> STATUS ──> done */
#include "kubelet/image.h"
#include "kubelet/machine.h"
#include "kubelet/node.h"


#define BACKOFF_FIRST_MS 10000
#define BACKOFF_MAX_MS 300000
#define GC_PERIOD_MS 300000
#define SECRETS_MAX 16

struct cred { /* of a registry, or of a part of one */
	struct cred *next;
	struct span key;
	struct api_cri_auth_config auth;
};

struct kl_image_want {
	struct list link;           /* kl_images.wants */
	struct kl_images *im;
	struct kl_image_params p;
	struct kl_object *object;   /* owned reference */
	struct span image, name;    /* in the object: what is asked for, by which container */
	enum { LOOKING, QUEUED, FETCHING, PULLING, LOOKING_AGAIN } at;
	bool present;
	struct kubelet_cri_call *call;
	struct client_call *secret_call;
	uint32_t secret;            /* the next one to be read */
	struct arena arena;         /* credentials */
	struct cred *creds;         /* in the arena; the first is the one that is tried next */
	struct buf why;             /* what failed pulls said */
	bool several;               /* ... more than one thing */
	int64_t queued_ms, pull_ms;
	struct loop_task task;      /* a result that is known already */
	const char *reason;
	char *message;
	int64_t retry_ns;
};

struct backoff { /* of an image for a pod */
	int64_t at_ns, wait_ms;
	size_t uid_len; /* the key begins with the pod's uid */
	char *last; /* owned; the words of the failure */
	char key[];
};

struct kl_images {
	struct kl *k;
	struct list wants;
	struct map backoffs;
	unsigned pulling;
	struct loop_timer gc;
	struct kubelet_cri_call *gc_call;
	uint64_t total, avail;      /* of the disk that holds images, as the collection found it; total 0: not known */
	struct map used;            /* image id → struct used: when a container had it last */
	bool begun;
};

struct used {
	int64_t first_ms, last_ms; /* first_ms -1: its removal was asked for after the last list */
	bool listed;
	char id[];
};

static const struct api_core_container *container_of_want(const struct kl_image_want *w)
{
	return kl_spec_container(&w->object->pod.spec, (unsigned)kl_spec_find(&w->object->pod.spec, w->name), NULL);
}

static void want_free(struct kl_image_want *w)
{
	bool pulled = w->at == PULLING;
	loop_task_cancel(&w->task);
	if (w->call)
		kubelet_cri_cancel(w->call);
	if (w->secret_call)
		client_cancel(w->secret_call);
	list_remove(&w->link);
	w->im->pulling -= pulled;
	kl_object_unref(w->object);
	arena_done(&w->arena);
	buf_done(&w->why);
	free(w->message);
	free(w);
}

static void next_pulls(struct kl_images *im);

static void finish(struct kl_image_want *w, const struct api_cri_image *image)
{
	struct kl_images *im = w->im;
	w->p.done(image, w->reason, w->message ? span_of(w->message) : SPAN_EMPTY, w->retry_ns, w->p.arg);
	want_free(w);
	next_pulls(im);
}

static void fail(struct kl_image_want *w, const char *reason, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void fail(struct kl_image_want *w, const char *reason, const char *fmt, ...)
{
	auto_buf struct buf text = {};
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	w->reason = reason;
	w->message = buf_take(&text, NULL);
	finish(w, NULL);
}

/* ---- back-off */

static struct backoff *backoff_of(struct kl_image_want *w, bool make)
{
	struct kl_images *im = w->im;
	auto_buf struct buf key = {};
	buf_printf(&key, "%.*s %.*s", SPAN_ARG(w->p.pod->uid), SPAN_ARG(w->image));
	struct backoff *b = map_get(&im->backoffs, buf_span(&key));
	if (b || !make)
		return b;
	b = mem_zalloc(sizeof(*b) + key.len + 1);
	memcpy(b->key, key.ptr, key.len);
	b->uid_len = w->p.pod->uid.len;
	(void)map_put(&im->backoffs, span_of(b->key), b);
	return b;
}

static void backoff_drop(struct kl_images *im, struct backoff *b)
{
	(void)map_remove(&im->backoffs, span_of(b->key));
	free(b->last);
	free(b);
}

void kl_images_forget(struct kl_images *im, struct span uid)
{
	MAP_EACH(&im->backoffs, e) {
		struct backoff *b = e->value;
		if (span_eq(span_sub(e->key, 0, b->uid_len), uid))
			backoff_drop(im, b);
	}
}

/* ---- pulls */

static void look(struct kl_image_want *w);
static void pull_send(struct kl_image_want *w);

/* As upstream's aggregate of errors: "a", "[a, b]"; nothing twice. */
static void pull_failed(struct kl_image_want *w, const struct err *why)
{
	if (span_has(buf_span(&w->why), span_of(err_msg(why))))
		return;
	if (!w->why.len) {
		buf_str(&w->why, err_msg(why));
		return;
	}
	auto_buf struct buf before = w->why;
	w->why = (struct buf){};
	struct span all = buf_span(&before);
	if (w->several)
		all = span_sub(all, 1, all.len - 1);
	buf_printf(&w->why, "[%.*s, %s]", SPAN_ARG(all), err_msg(why));
	w->several = true;
}

static void on_pulled(const struct err *why, const void *reply, void *arg)
{
	struct kl_image_want *w = arg;
	struct kl *k = w->im->k;
	w->call = NULL;
	if (why && w->creds && w->creds->next) { /* the next credential may be the right one */
		pull_failed(w, why);
		w->creds = w->creds->next;
		pull_send(w);
		return;
	}
	if (why) {
		struct backoff *b = backoff_of(w, true);
		pull_failed(w, why);
		int64_t now_ns = loop_wall_ns(k->loop);
		bool anew = !b->wait_ms || now_ns - b->at_ns > 2 * BACKOFF_MAX_MS * NS_PER_MS;
		b->wait_ms = anew ? BACKOFF_FIRST_MS : MIN(b->wait_ms * 2, BACKOFF_MAX_MS);
		b->at_ns = now_ns;
		free(b->last);
		b->last = mem_dup(w->why.ptr, w->why.len);
		kl_pod_event(w->p.pod, w->name, "Warning", "Failed", "Failed to pull image \"%.*s\": %s", SPAN_ARG(w->image), b->last);
		w->retry_ns = now_ns + 1 * NS_PER_S; /* the next try says ImagePullBackOff */
		fail(w, "ErrImagePull", "%s", b->last);
		return;
	}
	w->im->pulling--;
	w->at = LOOKING_AGAIN;
	look(w);
}

static void pull_send(struct kl_image_want *w)
{
	struct api_cri_image_spec spec = { .image = w->image };
	struct api_cri_pull_image_request q = { .image = &spec, .auth = w->creds ? &w->creds->auth : NULL };
	w->call = kubelet_cri_pull_image(w->im->k->cri, &q, on_pulled, w);
}

static void pull(struct kl_image_want *w)
{
	w->at = PULLING;
	w->im->pulling++;
	w->pull_ms = loop_now_ms(w->im->k->loop);
	kl_pod_event(w->p.pod, w->name, "Normal", "Pulling", "Pulling image \"%.*s\"", SPAN_ARG(w->image));
	pull_send(w);
}

/* ---- credentials: .dockerconfigjson of the pod's imagePullSecrets */

/* ---- credentials: .dockerconfigjson of the pod's imagePullSecrets
 *
 * Those that fit are kept in the order of upstream's keyring: the longest of several keys with one beginning first (keys
 * backwards), those of one key as the secrets came. A pull that fails is tried with the next one. */

static void take_auth(struct kl_image_want *w, const struct json *auths)
{
	struct span repository = kl_image_repository(&w->arena, w->image);
	JSON_EACH_MEMBER(auths, m) {
		struct span key = kl_image_key(&w->arena, json_key(m));
		if (!kl_image_key_fits(&w->arena, key, repository))
			continue;
		auto_buf struct buf both = {};
		struct span user = json_span(json_getl(&m->value, "username")), password = json_span(json_getl(&m->value, "password"));
		if (!user.len && base64_parse(&both, BASE64_STD, json_span(json_getl(&m->value, "auth"))))
			(void)span_split(buf_span(&both), ':', &user, &password);
		struct cred *c = arena_new(&w->arena, struct cred), **at = &w->creds;
		c->key = key;
		c->auth = (struct api_cri_auth_config){
			.username = arena_span(&w->arena, user), .password = arena_span(&w->arena, password),
			.identity_token = arena_span(&w->arena, json_span(json_getl(&m->value, "identitytoken"))),
			.registry_token = arena_span(&w->arena, json_span(json_getl(&m->value, "registrytoken"))) };
		while (*at && span_cmp((*at)->key, key) >= 0)
			at = &(*at)->next;
		c->next = *at;
		*at = c;
	}
}

static void fetch_secret(struct kl_image_want *w);

static void on_secret(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct kl_image_want *w = arg;
	auto_arena struct arena a = {};
	auto_buf struct buf text = {};
	struct json secret, config;
	w->secret_call = NULL;
	if (why) {
		kl_pod_event(w->p.pod, SPAN_EMPTY, "Warning", "FailedToRetrieveImagePullSecret",
			     "Unable to retrieve some image pull secrets (%.*s); attempting to pull the image may not succeed.",
			     SPAN_ARG(w->object->pod.spec.image_pull_secrets.ptr[w->secret].name));
	} else if (json_parse(&a, body, JSON_DUPLICATES_LAST, NULL, &secret, NULL) == 0) {
		const struct json *data = json_getl(&secret, "data"), *one = json_getl(data, ".dockerconfigjson");
		bool old = !one;
		if (old)
			one = json_getl(data, ".dockercfg");
		if (base64_parse(&text, BASE64_STD, json_span(one)) &&
		    json_parse(&a, buf_span(&text), JSON_DUPLICATES_LAST, NULL, &config, NULL) == 0)
			take_auth(w, old ? &config : json_getl(&config, "auths"));
	}
	w->secret++;
	fetch_secret(w);
}

static void fetch_secret(struct kl_image_want *w)
{
	static const struct client_kind secrets = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("secrets"), true };
	const struct api_core_pod_spec *s = &w->object->pod.spec;
	auto_buf struct buf path = {};
	w->at = FETCHING;
	if (w->secret >= MIN(s->image_pull_secrets.n, (uint32_t)SECRETS_MAX) || !w->im->k->client) {
		if (w->im->pulling < (unsigned)w->im->k->o->registry_parallel)
			pull(w);
		else
			w->at = QUEUED;
		return;
	}
	client_path(&path, &secrets, w->p.pod->ns, s->image_pull_secrets.ptr[w->secret].name, NULL);
	w->secret_call = client_send(w->im->k->client, &(struct client_request){ .method = "GET", .path = buf_span(&path),
				     .done = on_secret, .arg = w });
}

static void next_pulls(struct kl_images *im)
{
	LIST_EACH(&im->wants, w, struct kl_image_want, link)
		if (w->at == QUEUED && im->pulling < (unsigned)im->k->o->registry_parallel)
			pull(w);
}

/* ---- what is there */

static void say_pulled(struct kl_image_want *w, const struct api_cri_image *image)
{
	auto_buf struct buf took = {}, whole = {};
	int64_t now_ms = loop_now_ms(w->im->k->loop);
	api_duration_print(&took, (now_ms - w->pull_ms) * NS_PER_MS);
	api_duration_print(&whole, (now_ms - w->queued_ms) * NS_PER_MS);
	kl_pod_event(w->p.pod, w->name, "Normal", "Pulled",
		     "Successfully pulled image \"%.*s\" in %s (%s including waiting). Image size: %llu bytes.", SPAN_ARG(w->image),
		     buf_cstr(&took), buf_cstr(&whole), (unsigned long long)image->size);
}

static void on_status(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_image_status_response *r = reply;
	struct kl_image_want *w = arg;
	struct kl *k = w->im->k;
	struct span policy = container_of_want(w)->image_pull_policy;
	w->call = NULL;
	if (why) {
		w->retry_ns = loop_wall_ns(k->loop) + 1 * NS_PER_S;
		kl_pod_event(w->p.pod, w->name, "Warning", "InspectFailed", "Failed to inspect image \"%.*s\": %s", SPAN_ARG(w->image),
			     err_msg(why));
		fail(w, "ImageInspectError", "Failed to inspect image \"%.*s\": %s", SPAN_ARG(w->image), err_msg(why));
		return;
	}
	bool present = r->image && r->image->id.len;
	if (w->at == LOOKING_AGAIN && present) {
		struct backoff *b = backoff_of(w, false);
		if (b)
			backoff_drop(w->im, b);
		say_pulled(w, r->image);
		finish(w, r->image);
		return;
	}
	if (w->at == LOOKING_AGAIN) {
		w->retry_ns = loop_wall_ns(k->loop) + BACKOFF_FIRST_MS * NS_PER_MS;
		fail(w, "ErrImagePull", "image \"%.*s\" is not there although it was pulled", SPAN_ARG(w->image));
		return;
	}
	if (present && !span_is(policy, "Always")) {
		kl_pod_event(w->p.pod, w->name, "Normal", "Pulled", "Container image \"%.*s\" already present on machine",
			     SPAN_ARG(w->image));
		finish(w, r->image);
		return;
	}
	if (span_is(policy, "Never")) {
		kl_pod_event(w->p.pod, w->name, "Warning", "ErrImageNeverPull",
			     "Container image \"%.*s\" is not present with pull policy of Never", SPAN_ARG(w->image));
		w->retry_ns = loop_wall_ns(k->loop) + BACKOFF_FIRST_MS * NS_PER_MS;
		fail(w, "ErrImageNeverPull", "Container image \"%.*s\" is not present with pull policy of Never", SPAN_ARG(w->image));
		return;
	}
	struct backoff *b = backoff_of(w, false);
	if (b && b->at_ns + b->wait_ms * NS_PER_MS > loop_wall_ns(k->loop)) {
		w->retry_ns = b->at_ns + b->wait_ms * NS_PER_MS;
		kl_pod_event(w->p.pod, w->name, "Normal", "BackOff", "Back-off pulling image \"%.*s\"", SPAN_ARG(w->image));
		fail(w, "ImagePullBackOff", "Back-off pulling image \"%.*s\": ErrImagePull: %s", SPAN_ARG(w->image), b->last);
		return;
	}
	w->queued_ms = loop_now_ms(k->loop);
	fetch_secret(w);
}

static void look(struct kl_image_want *w)
{
	struct api_cri_image_spec spec = { .image = w->image };
	struct api_cri_image_status_request q = { .image = &spec };
	w->call = kubelet_cri_image_status(w->im->k->cri, &q, on_status, w);
}

static void on_task(struct loop_task *t)
{
	finish(container_of(t, struct kl_image_want, task), NULL);
}

struct kl_image_want *kl_image_get(struct kl *k, const struct kl_image_params *p)
{
	struct kl_image_want *w = mem_new(struct kl_image_want);
	const struct api_core_container *c = kl_spec_container(&p->pod->object->pod.spec, p->index, NULL);
	auto_buf struct buf text = {};
	w->im = k->images;
	w->p = *p;
	w->object = kl_object_ref(p->pod->object);
	w->image = c->image;
	w->name = c->name;
	loop_task_init(&w->task, on_task);
	list_push(&k->images->wants, &w->link);
	auto_arena struct arena a = {};
	const char *problem = kl_image_name_problem(&a, c->image);
	if (!problem) {
		look(w);
		return w;
	}
	buf_printf(&text, "Failed to apply default image tag \"%.*s\": couldn't parse image name \"%.*s\": %s", SPAN_ARG(c->image),
		   SPAN_ARG(c->image), problem);
	kl_pod_event(p->pod, c->name, "Warning", "InspectFailed", "%s", buf_cstr(&text));
	w->reason = "InvalidImageName";
	w->message = buf_take(&text, NULL);
	w->retry_ns = loop_wall_ns(k->loop) + BACKOFF_FIRST_MS * NS_PER_MS;
	loop_defer(k->loop, &w->task);
	return w;
}

void kl_image_cancel(struct kl_image_want *w)
{
	struct kl_images *im = w->im;
	want_free(w);
	next_pulls(im);
}

/* ---- collection: above the high threshold images that no container uses go, the least recently used first */

static void gc_again(struct kl_images *im, int64_t ms)
{
	loop_timer_start(&im->gc, ms);
}

static struct used *used_of(struct kl_images *im, struct span id)
{
	struct used *u = map_get(&im->used, id);
	if (!u) {
		u = mem_zalloc(sizeof(*u) + id.len + 1);
		memcpy(u->id, id.ptr, id.len);
		u->first_ms = loop_now_ms(im->k->loop);
		(void)map_put(&im->used, span_of(u->id), u);
	}
	return u;
}

static bool in_use(struct kl_images *im, const struct api_cri_image *image)
{
	size_t pos = 0;
	for (struct kl_pod *p; (p = kl_pod_next(im->k, &pos));)
		LIST_EACH(&p->containers, c, struct kl_container, link) {
			if (span_eq(c->image_ref, image->id) || span_eq(c->image_id, image->id) || span_eq(c->image, image->id))
				return true;
			for (uint32_t i = 0; i < image->repo_digests.n; i++)
				if (span_eq(c->image_ref, image->repo_digests.ptr[i]))
					return true;
		}
	return false;
}

static void on_image_removed(const struct err *why, const void *reply, void *arg)
{
	if (why)
		log_warn("an image could not be removed", kv_err(why));
}

/* What of the list is new, in use, or gone. */
static void used_update(struct kl_images *im, const struct api_cri_list_images_response *r)
{
	int64_t now_ms = loop_now_ms(im->k->loop);
	MAP_EACH(&im->used, e)
		((struct used *)e->value)->listed = false;
	for (uint32_t i = 0; i < r->images.n; i++) {
		struct used *u = used_of(im, r->images.ptr[i].id);
		u->listed = true;
		if (u->first_ms < 0) /* it could not be removed, or was pulled again */
			u->first_ms = now_ms;
		if (in_use(im, &r->images.ptr[i]))
			u->last_ms = now_ms;
	}
	MAP_EACH(&im->used, e) {
		struct used *u = e->value;
		if (u->listed)
			continue;
		(void)map_remove(&im->used, e->key);
		free(u);
	}
}

static void on_images(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_list_images_response *r = reply;
	struct kl_images *im = arg;
	struct kl *k = im->k;
	int64_t now_ms = loop_now_ms(k->loop);
	uint64_t total = im->total, avail = im->avail;
	im->gc_call = NULL;
	gc_again(im, GC_PERIOD_MS);
	if (why)
		return;
	used_update(im, r);
	if (!total)
		return;
	int64_t percent = 100 - (int64_t)(avail * 100 / total);
	if (percent < k->o->image_gc_high)
		return;
	uint64_t want = total * (100 - (uint64_t)k->o->image_gc_low) / 100, freed = avail;
	while (freed < want) {
		const struct api_cri_image *oldest = NULL;
		struct used *oldest_used = NULL;
		for (uint32_t i = 0; i < r->images.n; i++) {
			const struct api_cri_image *image = &r->images.ptr[i];
			struct used *u = used_of(im, image->id);
			if (image->pinned || u->first_ms < 0 || in_use(im, image) || now_ms - u->first_ms < k->o->image_min_age_ms)
				continue;
			if (!oldest || u->last_ms < oldest_used->last_ms)
				oldest = image, oldest_used = u;
		}
		if (!oldest) {
			kl_node_event(k, "Warning", "FreeDiskSpaceFailed",
				      "Failed to garbage collect required amount of images. Attempted to free %llu "
				      "bytes, but only found 0 bytes eligible to free.", (unsigned long long)(want - freed));
			return;
		}
		struct api_cri_image_spec spec = { .image = oldest->id };
		struct api_cri_remove_image_request q = { .image = &spec };
		freed += oldest->size;
		oldest_used->first_ms = -1; /* on its way out */
		log_info("removing an image, the disk is filling", kv_span("image", oldest->id), kv_i64("percent", percent));
		(void)kubelet_cri_remove_image(k->cri, &q, on_image_removed, im);
	}
}

/* The disk that counts is the one that holds images; where the runtime does not tell which, that of the pods. */
static void on_image_fs(const struct err *why, const void *reply, void *arg)
{
	const struct api_cri_image_fs_info_response *r = reply;
	struct kl_images *im = arg;
	auto_arena struct arena a = {};
	struct api_cri_list_images_request q = {};
	uint64_t inodes, inodes_free;
	const struct api_cri_filesystem_identifier *id = r && r->image_filesystems.n ? r->image_filesystems.ptr[0].fs_id : NULL;
	if (!id || !id->mountpoint.len ||
	    !kl_machine_disk(arena_cstr(&a, id->mountpoint), &im->total, &im->avail, &inodes, &inodes_free))
		if (!kl_node_disk(im->k, &im->total, &im->avail))
			im->total = 0;
	im->gc_call = kubelet_cri_list_images(im->k->cri, &q, on_images, im);
}

static void on_gc(struct loop_timer *t)
{
	kl_images_collect(container_of(t, struct kl_images, gc));
}

void kl_images_collect(struct kl_images *im)
{
	struct api_cri_image_fs_info_request q = {};
	if (!im->gc_call)
		im->gc_call = kubelet_cri_image_fs_info(im->k->cri, &q, on_image_fs, im);
}

void kl_images_pressure(struct kl_images *im)
{
	if (im->begun)
		kl_images_collect(im);
}

struct kl_images *kl_images_new(struct kl *k)
{
	struct kl_images *im = mem_new(struct kl_images);
	im->k = k;
	list_init(&im->wants);
	loop_timer_init(&im->gc, k->loop, "image collection", on_gc);
	return im;
}

void kl_images_begin(struct kl_images *im)
{
	if (!im->begun)
		gc_again(im, GC_PERIOD_MS);
	im->begun = true;
}

void kl_images_free(struct kl_images *im)
{
	if (!im)
		return;
	LIST_EACH(&im->wants, w, struct kl_image_want, link)
		want_free(w);
	if (im->gc_call)
		kubelet_cri_cancel(im->gc_call);
	loop_timer_stop(&im->gc);
	MAP_EACH(&im->backoffs, e) {
		free(((struct backoff *)e->value)->last);
		free(e->value);
	}
	MAP_EACH(&im->used, e)
		free(e->value);
	map_done(&im->backoffs);
	map_done(&im->used);
	free(im);
}
