/* The image service. The store is the Docker face's, too: what one pulls, builds, tags or removes the other sees at once. Names are
 * shown in full, as containerd does (docker.io/library/nginx:latest). */
#include <sys/stat.h>

#include "cri/private.h"

#define KEEP_PARTIAL_S (24 * 3600) /* of downloads that were cut off */

/* "nginx:latest" in full; a name that cannot be read stays as it is. */
static struct span full_name(struct span familiar, struct arena *a)
{
	struct image_ref r;
	return image_ref_parse(familiar, a, &r, NULL) < 0 ? familiar : image_ref_text(&r, a);
}

/* The configuration's User: a number is a uid, all else a name. */
static void user_show(struct arena *a, struct span user, struct api_cri_image *out)
{
	struct span who, group;
	int64_t uid;
	(void)span_split(user, ':', &who, &group);
	if (!who.len) {
		return;
	} else if (span_to_i64(who, &uid)) {
		out->uid = arena_new(a, struct api_cri_int64_value);
		out->uid->value = uid;
	} else {
		out->username = who;
	}
}

static void image_show(struct cri_call *k, const struct image_info *i, struct api_cri_image *out)
{
	struct arena *a = &k->arena;
	char user[65];
	bool running = false;
	*out = (struct api_cri_image){ .id = arena_span(a, image_digest_span(&i->id)), .size = i->size,
		.spec = arena_new(a, struct api_cri_image_spec) };
	out->spec->image = out->id;
	out->repo_tags.ptr = arena_alloc_n(a, i->n_tags + 1, sizeof(struct span));
	for (size_t t = 0; t < i->n_tags; t++)
		out->repo_tags.ptr[out->repo_tags.n++] = full_name(i->tags[t], a);
	out->repo_digests.ptr = arena_alloc_n(a, i->n_digests + 1, sizeof(struct span));
	for (size_t t = 0; t < i->n_digests; t++)
		out->repo_digests.ptr[out->repo_digests.n++] = full_name(i->digests[t], a);
	/* The kubelet's collection of garbage must not take what the Docker face's containers and builds stand on, nor what was built
	 * or loaded here: no registry has that. */
	out->pinned = !i->n_digests || (k->cri->p.image_used && k->cri->p.image_used(k->cri->p.arg, &i->id, false, user, &running));
}

static int image_get(struct cri_call *k, struct span name, struct image_info *out, struct image_config *out_config, struct err *err)
{
	struct image_digest id;
	struct image_manifest manifest;
	int rc = image_find(k->cri->p.images, name, &id, err);
	return rc < 0 ? rc : image_inspect(k->cri->p.images, &id, &k->arena, out, out_config, &manifest, err);
}

int cri_image_show(struct cri_call *k, struct span name, struct api_cri_image *out, struct span *out_stop_signal, struct err *err)
{
	struct image_info i;
	struct image_config config;
	int rc = image_get(k, name, &i, &config, err);
	if (rc == 0) {
		image_show(k, &i, out);
		*out_stop_signal = json_span(json_path(&config.tree, "config", "StopSignal", NULL));
	}
	return rc < 0 ? err_note(err, "failed to resolve image \"%.*s\"", SPAN_ARG(name)) : 0;
}

static struct span name_of(const struct api_cri_image_spec *spec)
{
	return spec ? spec->image : SPAN_EMPTY;
}

/* ---- ImageStatus */

struct status {
	struct span name;
	bool verbose;
	struct api_cri_image image;
	struct api_cri_image_status_response out;
	struct api_pair info;
};

static int status_run(struct cri_call *k, struct err *err)
{
	struct status *s = k->state;
	struct image_info i;
	struct image_config config;
	auto_err struct err why = ERR_INIT;
	int rc = image_get(k, s->name, &i, &config, &why);
	if (rc == -ERR_NOT_FOUND) /* no error: an answer without an image */
		return 0;
	if (rc < 0)
		return err_move(err, &why);
	image_show(k, &i, &s->image);
	user_show(&k->arena, json_span(json_path(&config.tree, "config", "User", NULL)), &s->image);
	s->out.image = &s->image;
	if (s->verbose) {
		auto_buf struct buf b = {};
		buf_str(&b, "{\"imageSpec\":");
		json_write(&b, &config.tree, 0);
		buf_chr(&b, '}');
		s->info = (struct api_pair){ SPAN("info"), arena_span(&k->arena, buf_span(&b)) };
		s->out.info.ptr = &s->info;
		s->out.info.n = 1;
	}
	return 0;
}

static void status_then(struct cri_call *k)
{
	const struct status *s = k->state;
	if (k->err.class)
		cri_fail(k);
	else
		cri_answer(k, &s->out);
}

void cri_image_status(struct cri_call *k, const void *in)
{
	const struct api_cri_image_status_request *q = in;
	struct status *s = arena_new(&k->arena, struct status);
	s->name = name_of(q->image);
	s->verbose = q->verbose;
	k->state = s;
	cri_work(k, status_run, status_then);
}

/* ---- ListImages */

struct list_state {
	struct span only;
	struct api_cri_list_images_response out;
};

static int list_run(struct cri_call *k, struct err *err)
{
	struct list_state *s = k->state;
	struct image_info *all;
	size_t n;
	struct image_digest only = {};
	if (s->only.len && image_find(k->cri->p.images, s->only, &only, NULL) < 0)
		return 0; /* none is of that name */
	int rc = image_list(k->cri->p.images, &k->arena, &all, &n, err);
	if (rc < 0)
		return rc;
	s->out.images.ptr = arena_alloc_n(&k->arena, n + 1, sizeof(*s->out.images.ptr));
	for (size_t i = 0; i < n; i++)
		if (!s->only.len || image_digest_eq(&all[i].id, &only))
			image_show(k, &all[i], &s->out.images.ptr[s->out.images.n++]);
	return 0;
}

static void list_then(struct cri_call *k)
{
	const struct list_state *s = k->state;
	if (k->err.class)
		cri_fail(k);
	else
		cri_answer(k, &s->out);
}

void cri_list_images(struct cri_call *k, const void *in)
{
	const struct api_cri_list_images_request *q = in;
	struct list_state *s = arena_new(&k->arena, struct list_state);
	s->only = q->filter ? name_of(q->filter->image) : SPAN_EMPTY;
	k->state = s;
	cri_work(k, list_run, list_then);
}

/* ---- ImageFsInfo: what layers and snapshots occupy */

struct fs {
	struct api_cri_image_fs_info_response out;
	struct api_cri_filesystem_usage images, containers;
	struct api_cri_filesystem_identifier images_at, containers_at;
	struct api_cri_u_int64_value image_bytes, image_inodes, container_bytes, container_inodes;
	struct json keys;
	struct arena *arena;
};

static void layer_count(const struct snapshot_layer *l, void *arg)
{
	struct fs *f = arg;
	f->image_bytes.value += l->bytes;
	f->image_inodes.value += l->entries;
}

static void key_note(const char *key, const char *parent, void *arg)
{
	struct fs *f = arg;
	if (span_starts(span_of(key), SPAN("cri-")))
		json_push(f->arena, &f->keys, json_str(arena_span(f->arena, span_of(key))));
}

static int fs_run(struct cri_call *k, struct err *err)
{
	struct fs *f = k->state;
	struct snapshot_store *s = k->cri->p.snapshots;
	uint64_t entries, bytes;
	snapshot_layers_each(s, layer_count, f);
	snapshot_each(s, key_note, f);
	JSON_EACH_ITEM (&f->keys, key)
		if (snapshot_usage(s, arena_cstr(&k->arena, json_span(key)), &entries, &bytes, NULL) == 0) { /* else it is gone */
			f->container_bytes.value += bytes;
			f->container_inodes.value += entries;
		}
	return 0;
}

static void fs_then(struct cri_call *k)
{
	struct fs *f = k->state;
	f->images.timestamp = f->containers.timestamp = loop_wall_ns(k->cri->p.loop);
	if (k->err.class)
		cri_fail(k);
	else
		cri_answer(k, &f->out);
}

void cri_image_fs_info(struct cri_call *k, const void *in)
{
	struct fs *f = arena_new(&k->arena, struct fs);
	f->arena = &k->arena;
	f->keys = json_array();
	f->images_at.mountpoint = arena_printf(&k->arena, "%s/snapshots", k->cri->p.data_dir);
	f->containers_at.mountpoint = f->images_at.mountpoint;
	f->images = (struct api_cri_filesystem_usage){ .fs_id = &f->images_at, .used_bytes = &f->image_bytes,
		.inodes_used = &f->image_inodes };
	f->containers = (struct api_cri_filesystem_usage){ .fs_id = &f->containers_at, .used_bytes = &f->container_bytes,
		.inodes_used = &f->container_inodes };
	f->out.image_filesystems.ptr = &f->images;
	f->out.container_filesystems.ptr = &f->containers;
	f->out.image_filesystems.n = f->out.container_filesystems.n = 1;
	k->state = f;
	cri_work(k, fs_run, fs_then);
}

/* ---- PullImage */

struct pull {
	struct image_ref ref;
	struct image_registry_params registry;
	struct image_digest id;
};

static bool pull_cancelled(void *arg)
{
	struct cri_call *k = arg;
	return atomic_load(&k->left);
}

static void pull_silent(const struct image_progress *p, void *arg)
{
}

/* "https://index.docker.io/v1/" as well as "example.com:5000". */
static bool same_registry(struct span server, struct span domain)
{
	size_t scheme = span_starts(server, SPAN("https://")) ? 8 : span_starts(server, SPAN("http://")) ? 7 : 0;
	struct span rest = span_from(server, scheme), host = SPAN_EMPTY;
	(void)span_cut(&rest, '/', &host);
	if (span_is(host, "index.docker.io") || span_is(host, "registry-1.docker.io"))
		host = SPAN("docker.io");
	return host.len == domain.len && !strncasecmp(host.ptr, domain.ptr, host.len);
}

/* "auth" is base64 of user:password, as config.json of docker has it; so the kubelet may hand it on. */
static int auth_take(struct arena *a, const struct api_cri_auth_config *auth, struct span domain, struct image_registry_params *r,
	struct err *err)
{
	auto_buf struct buf both = {};
	struct span user, password;
	if (!auth)
		return 0;
	if (auth->server_address.len && !same_registry(auth->server_address, domain))
		return 0; /* another's, as with containerd: they are not for this one's eyes */
	r->username = auth->username;
	r->password = auth->password;
	r->identity_token = auth->identity_token;
	r->registry_token = auth->registry_token;
	if (auth->username.len || !auth->auth.len)
		return 0;
	if ((!base64_parse(&both, BASE64_STD, auth->auth) && !base64_parse(&both, BASE64_STD_RAW, auth->auth)) ||
	    !span_split(arena_span(a, buf_span(&both)), ':', &user, &password))
		return err_set(err, ERR_INVALID_REQUEST, "invalid \"auth\": it is not the base64 of user:password");
	r->username = user;
	r->password = password; /* some tools pad it with 0 bytes */
	while (r->password.len && !r->password.ptr[r->password.len - 1])
		r->password.len--;
	return 0;
}

static int pull_run(struct cri_call *k, struct err *err)
{
	struct pull *p = k->state;
	const struct image_reporter reporter = { .fn = pull_silent, .cancelled = pull_cancelled, .arg = k };
	struct image_pull_params params = { .registry = &p->registry, .unpacker = container_unpacker(k->cri->containers),
		.reporter = &reporter, .ref = p->ref };
	int rc = image_pull(k->cri->p.images, &params, &p->id, err);
	if (rc < 0)
		return err_note(err, "failed to pull and unpack image \"%.*s\"", SPAN_ARG(image_ref_text(&params.ref, &k->arena)));
	return 0;
}

static void pull_then(struct cri_call *k)
{
	const struct pull *p = k->state;
	const struct api_cri_pull_image_response out = { .image_ref = image_digest_span(&p->id) };
	if (k->err.class)
		cri_fail(k);
	else
		cri_answer(k, &out);
}

void cri_pull_image(struct cri_call *k, const void *in)
{
	const struct api_cri_pull_image_request *q = in;
	struct pull *p = arena_new(&k->arena, struct pull);
	struct span name = name_of(q->image);
	k->state = p;
	if (k->cri->p.registry)
		k->cri->p.registry(k->cri->p.arg, &p->registry);
	if (!name.len) {
		cri_fail_with(k, ERR_INVALID_REQUEST, "image spec is empty");
		return;
	}
	if (image_ref_parse(name, &k->arena, &p->ref, &k->err) < 0) {
		(void)err_note(&k->err, "failed to parse image reference \"%.*s\"", SPAN_ARG(name));
		cri_fail(k);
		return;
	}
	image_ref_default(&p->ref);
	if (auth_take(&k->arena, q->auth, p->ref.domain, &p->registry, &k->err) < 0)
		cri_fail(k);
	else
		cri_thread(k, pull_run, pull_then);
}

/* ---- RemoveImage */

/* image_remove_params.used, asked under the store's lock: whoever uses it, stopped or not, keeps it, in spite of force. */
static bool in_use(void *cri, const struct image_digest *id, bool only_running, char out_container[65], bool *out_running)
{
	const struct cri *c = cri;
	bool used = c->p.image_used(c->p.arg, id, false, out_container, out_running);
	*out_running |= used;
	return used;
}

static int remove_run(struct cri_call *k, struct err *err)
{
	const struct cri *c = k->cri;
	const struct image_remove_params params = { .force = true, .used = c->p.image_used ? in_use : NULL, .arg = k->cri };
	struct image_removed *removed;
	struct image_digest id;
	char user[65];
	bool running = false;
	size_t n;
	auto_err struct err why = ERR_INIT;
	int rc = image_find(c->p.images, *(struct span *)k->state, &id, &why);
	if (rc == -ERR_NOT_FOUND) /* idempotent */
		return 0;
	if (rc < 0)
		return err_move(err, &why);
	if (c->p.image_used && c->p.image_used(c->p.arg, &id, false, user, &running))
		return err_set(err, ERR_IN_USE, "unable to remove image %s: it is used by docker's container %.12s", id.text, user);
	/* All its names go, as with containerd; containers of pods keep their layers, and the kubelet knows which it needs. */
	rc = image_remove(c->p.images, image_digest_span(&id), &params, &k->arena, &removed, &n, err);
	if (rc == 0 && (snapshot_layers_prune(c->p.snapshots, image_chain_used, c->p.images, NULL, NULL, &why) < 0 ||
			       image_gc(c->p.images, KEEP_PARTIAL_S, NULL, NULL, &why) < 0))
		log_warn("removing layers that nobody needs", kv_err(&why)); /* tried again with the next one */
	return rc;
}

static void remove_then(struct cri_call *k)
{
	if (k->err.class)
		cri_fail(k);
	else
		cri_answer_empty(k);
}

void cri_remove_image(struct cri_call *k, const void *in)
{
	const struct api_cri_remove_image_request *q = in;
	struct span *name = arena_new(&k->arena, struct span);
	*name = name_of(q->image);
	k->state = name;
	if (name->len)
		cri_work(k, remove_run, remove_then);
	else
		cri_fail_with(k, ERR_INVALID_REQUEST, "image spec is empty");
}
