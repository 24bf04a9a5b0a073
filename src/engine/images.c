/* Images: lists, inspection, history, names, removal. What takes a registry or an archive is in transfer.c. */
#include "engine/private.h"

/* ---- which images a filter means ---- */

struct chosen {
	struct engine_filters filters;
	struct image_info *all;
	struct image_config *configs; /* of all, read when asked for */
	bool *read;
	size_t n;
	int64_t before_s, since_s; /* created; INT64_MAX, INT64_MIN = no bound */
	int64_t until_s;
	bool dangling_said, dangling;
};

static const struct json *labels_of(struct engine_call *c, struct chosen *k, size_t i)
{
	struct image_info info;
	struct image_manifest m;
	if (!k->read[i]) {
		k->read[i] = true;
		if (image_inspect(c->e->images, &k->all[i].id, &c->arena, &info, &k->configs[i], &m, NULL) < 0)
			k->configs[i].tree = JSON_NULL_VALUE;
	}
	return json_path(&k->configs[i].tree, "config", "Labels", NULL);
}

/* "before" and "since" name an image; the one that is named must be there. */
static int bound(struct engine_call *c, struct chosen *k, const char *key, int64_t *out, struct err *err)
{
	const struct engine_filter *f = engine_filter_get(&k->filters, key);
	struct image_digest id;
	for (size_t i = 0; f && i < f->n; i++) {
		int rc = image_find(c->e->images, f->values[i], &id, err);
		if (rc < 0)
			return rc;
		for (size_t j = 0; j < k->n; j++)
			if (image_digest_eq(&k->all[j].id, &id))
				*out = engine_unix_of(k->all[j].created);
	}
	return 0;
}

/* A pattern that is none is told where there is a name to compare it with, as by Go. */
static int patterns_check(const struct chosen *k, struct err *err)
{
	const struct engine_filter *f = engine_filter_get(&k->filters, "reference");
	bool bad = false;
	for (size_t i = 0; f && i < f->n; i++)
		for (size_t j = 0; j < k->n; j++)
			for (size_t t = 0; t < k->all[j].n_tags && !bad; t++)
				(void)engine_glob(f->values[i], k->all[j].tags[t], &bad);
	return bad ? err_set(err, ERR_INVALID_REQUEST, "syntax error in pattern") : 0;
}

/* known: filters that the request may name; NULL = it has none. */
static int chosen_init(struct engine_call *c, struct chosen *k, const char *known, struct err *err)
{
	*k = (struct chosen){ .before_s = INT64_MAX, .since_s = INT64_MIN, .until_s = INT64_MAX };
	int rc = known ? engine_filters_of(c, known, &k->filters, err) : 0;
	if (rc == 0)
		rc = image_list(c->e->images, &c->arena, &k->all, &k->n, err);
	if (rc < 0)
		return rc;
	k->configs = arena_alloc_n(&c->arena, k->n + 1, sizeof(*k->configs));
	k->read = arena_zalloc(&c->arena, k->n + 1);
	k->dangling_said = engine_filter_get(&k->filters, "dangling");
	const struct engine_filter *until = engine_filter_get(&k->filters, "until");
	int64_t until_ns;
	if ((rc = engine_filter_truth(&k->filters, "dangling", false, &k->dangling, err)) < 0 ||
	    (rc = bound(c, k, "before", &k->before_s, err)) < 0 || (rc = bound(c, k, "since", &k->since_s, err)) < 0)
		return rc;
	if (until && until->n > 1)
		return err_set(err, ERR_INVALID_REQUEST, "more than one until filter specified");
	if (until && (rc = engine_time_parse(until->values[0], clock_wall_ns(clock_real()), &until_ns, err)) < 0)
		return rc;
	if (until)
		k->until_s = until_ns / NS_PER_S;
	return patterns_check(k, err);
}

static bool name_match(const struct engine_filter *f, struct span name, struct arena *a)
{
	for (size_t k = 0; k < f->n; k++) {
		struct image_ref ref;
		bool bad;
		if (engine_glob(f->values[k], name, &bad))
			return true;
		/* A pattern without a tag means every tag. */
		if (image_ref_parse(name, a, &ref, NULL) == 0 && engine_glob(f->values[k], image_ref_familiar_name(&ref, a), &bad))
			return true;
	}
	return false;
}

/* Names that the filter does not mean are not shown either. */
static void names_keep(const struct engine_filter *f, struct span *names, size_t *n, struct arena *a)
{
	size_t kept = 0;
	for (size_t i = 0; i < *n; i++)
		if (name_match(f, names[i], a))
			names[kept++] = names[i];
	*n = kept;
}

static bool reference_match(const struct engine_filter *f, struct image_info *i, struct arena *a)
{
	names_keep(f, i->tags, &i->n_tags, a);
	names_keep(f, i->digests, &i->n_digests, a);
	return i->n_tags || i->n_digests;
}

static bool has_children(const struct chosen *k, const struct image_info *i)
{
	for (size_t j = 0; j < k->n; j++)
		if (image_digest_eq(&k->all[j].parent, &i->id))
			return true;
	return false;
}

static bool chosen_has(struct engine_call *c, struct chosen *k, size_t n, bool all)
{
	struct image_info *i = &k->all[n];
	int64_t created = engine_unix_of(i->created);
	const struct engine_filter *reference = engine_filter_get(&k->filters, "reference");
	bool dangling = !i->n_tags, child = dangling && has_children(k, i);
	if (created >= k->before_s || created <= k->since_s || created > k->until_s)
		return false;
	if (k->dangling_said && (k->dangling != dangling || (k->dangling && child)))
		return false;
	if (!all && child)
		return false;
	if (reference && !reference_match(reference, i, &c->arena))
		return false;
	if (!engine_filter_get(&k->filters, "label") && !engine_filter_get(&k->filters, "label!"))
		return true;
	const struct json *labels = labels_of(c, k, n);
	return engine_filter_label(&k->filters, "label", labels) && engine_filter_not_label(&k->filters, labels);
}

/* ---- GET /images/json ---- */

/* Bytes of an image's layers that another image has too. */
static uint64_t shared_size(struct engine_call *c, const struct chosen *k, size_t n)
{
	struct arena *a = &c->arena;
	char chain[65];
	struct snapshot_layer layer;
	uint64_t total = 0;
	auto_map struct map others = {};
	for (size_t j = 0; j < k->n; j++) {
		if (j == n || image_top(c->e->images, &k->all[j].id, chain, NULL) < 0)
			continue;
		while (chain[0] && snapshot_layer_get(c->e->snapshots, chain, &layer, NULL) == 0) {
			(void)map_put(&others, arena_span(a, span_of(chain)), c);
			memcpy(chain, layer.parent, sizeof(chain));
		}
	}
	if (image_top(c->e->images, &k->all[n].id, chain, NULL) < 0)
		return 0;
	while (chain[0] && snapshot_layer_get(c->e->snapshots, chain, &layer, NULL) == 0) {
		if (map_get(&others, span_of(chain)))
			total += layer.bytes;
		memcpy(chain, layer.parent, sizeof(chain));
	}
	return total;
}

static struct json descriptor_of(struct arena *a, const struct image_info *i, struct span media_type, size_t size)
{
	struct json v = json_object();
	(void)json_setl(a, &v, "mediaType", engine_text(a, media_type));
	(void)json_setl(a, &v, "digest", engine_text(a, image_digest_span(&i->manifest)));
	(void)json_setl(a, &v, "size", json_int((int64_t)size));
	return v;
}

/* ImageManifestSummary: of each image its one manifest. An image whose manifest is damaged has none to tell of. */
static struct json manifests_of(struct engine_call *c, const struct image_info *i)
{
	struct arena *a = &c->arena;
	struct json list = json_array(), v = json_object(), size = json_object(), data = json_object(), platform = json_object(),
		unpacked = json_object();
	struct image_manifest m;
	auto_buf struct buf text = {};
	if (image_blob_read(c->e->images, &i->manifest, &text, 8 << 20, NULL) < 0 ||
	    image_manifest_parse(buf_span(&text), SPAN_EMPTY, a, &m, NULL) < 0)
		return list;
	uint64_t content = text.len + m.config.size + i->size, bytes = engine_image_size(c->e, i);
	(void)json_setl(a, &v, "ID", engine_text(a, image_digest_span(&i->manifest)));
	(void)json_setl(a, &v, "Descriptor", descriptor_of(a, i, m.media_type, text.len));
	(void)json_setl(a, &v, "Available", json_bool(true));
	(void)json_setl(a, &size, "Total", json_int((int64_t)(content + bytes)));
	(void)json_setl(a, &size, "Content", json_int((int64_t)content));
	(void)json_setl(a, &v, "Size", size);
	(void)json_setl(a, &v, "Kind", json_cstr("image"));
	(void)json_setl(a, &platform, "architecture", engine_text(a, span_of(i->platform.arch)));
	(void)json_setl(a, &platform, "os", engine_text(a, span_of(i->platform.os)));
	if (i->platform.variant[0])
		(void)json_setl(a, &platform, "variant", engine_text(a, span_of(i->platform.variant)));
	(void)json_setl(a, &data, "Platform", platform);
	(void)json_setl(a, &data, "Containers", container_users(c->e->containers, &i->id, a));
	(void)json_setl(a, &unpacked, "Unpacked", json_int((int64_t)bytes));
	(void)json_setl(a, &data, "Size", unpacked);
	(void)json_setl(a, &v, "ImageData", data);
	(void)json_push(a, &list, v);
	return list;
}

static struct json summary(struct engine_call *c, struct chosen *k, size_t n, bool shared)
{
	struct arena *a = &c->arena;
	const struct image_info *i = &k->all[n];
	const struct json *labels = labels_of(c, k, n);
	struct json v = json_object();
	(void)json_setl(a, &v, "Containers", json_int(-1));
	(void)json_setl(a, &v, "Created", json_int(engine_unix_of(i->created)));
	(void)json_setl(a, &v, "Id", json_cstr(i->id.text));
	(void)json_setl(a, &v, "Labels", json_is(labels, JSON_OBJECT) && labels->n ? *labels : JSON_NULL_VALUE);
	(void)json_setl(a, &v, "ParentId", json_cstr(i->parent.text));
	(void)json_setl(a, &v, "RepoDigests", engine_strings(a, i->digests, i->n_digests));
	(void)json_setl(a, &v, "RepoTags", engine_strings(a, i->tags, i->n_tags));
	(void)json_setl(a, &v, "SharedSize", json_int(shared ? (int64_t)shared_size(c, k, n) : -1));
	(void)json_setl(a, &v, "Size", json_int((int64_t)engine_image_size(c->e, i)));
	return v;
}

static int newest_first(const void *x, const void *y)
{
	const struct image_info *a = x, *b = y;
	int64_t t = engine_unix_of(a->created), u = engine_unix_of(b->created);
	return t == u ? strcmp(a->id.text, b->id.text) : t > u ? -1 : 1;
}

static int list_run(struct engine_call *c, struct err *err)
{
	struct chosen k;
	int rc = chosen_init(c, &k, "dangling,label,label!,before,since,reference,until", err);
	if (rc < 0)
		return rc;
	qsort(k.all, k.n, sizeof(*k.all), newest_first);
	bool all = engine_truth(c, "all", false), shared = c->api >= 42 && engine_truth(c, "shared-size", false);
	bool manifests = c->api >= 47 && engine_truth(c, "manifests", false);
	c->out = json_array();
	for (size_t i = 0; i < k.n; i++)
		if (chosen_has(c, &k, i, all)) {
			struct json v = summary(c, &k, i, shared);
			if (manifests)
				(void)json_setl(&c->arena, &v, "Manifests", manifests_of(c, &k.all[i]));
			engine_shape(ENGINE_DOC_IMAGE_SUMMARY, c->api, &c->arena, &v);
			(void)json_push(&c->arena, &c->out, v);
		}
	return 0;
}

void engine_images_list(struct engine_call *c)
{
	engine_work(c, list_run, NULL);
}

int engine_images_df(struct engine_call *c, struct json *out_images, uint64_t *out_layers, struct err *err)
{
	struct chosen k;
	int rc = chosen_init(c, &k, NULL, err);
	if (rc < 0)
		return rc;
	qsort(k.all, k.n, sizeof(*k.all), newest_first);
	*out_images = json_array();
	for (size_t i = 0; i < k.n; i++)
		if (chosen_has(c, &k, i, false))
			(void)json_push(&c->arena, out_images, summary(c, &k, i, true));
	*out_layers = engine_layers_bytes(c->e);
	return 0;
}

static void layer_add(const struct snapshot_layer *l, void *arg)
{
	uint64_t *total = arg;
	*total += l->bytes;
}

uint64_t engine_layers_bytes(struct engine *e)
{
	uint64_t total = 0;
	snapshot_layers_each(e->snapshots, layer_add, &total);
	return total;
}

/* ---- GET /images/x/json ---- */

static int find(struct engine_call *c, struct span name, struct image_digest *out, struct err *err)
{
	return image_find(c->e->images, name, out, err);
}

/* overlay2's description: where the layers stand. */
static struct json graph_driver(struct engine_call *c, const struct image_digest *id)
{
	struct arena *a = &c->arena;
	struct json v = json_object(), data = json_object();
	char chain[65];
	bool overlay = snapshot_backend(c->e->snapshots) == SNAPSHOT_OVERLAY;
	(void)json_setl(a, &v, "Name", json_cstr(overlay ? "overlay2" : "vfs"));
	if (!overlay || image_top(c->e->images, id, chain, NULL) < 0 || !chain[0]) {
		(void)json_setl(a, &v, "Data", JSON_NULL_VALUE);
		return v;
	}
	struct snapshot_layer layer;
	auto_buf struct buf lower = {}, upper = {};
	buf_printf(&upper, "%.*s/snapshots/layers/%s/fs", SPAN_ARG(c->e->o->data_dir), chain);
	while (snapshot_layer_get(c->e->snapshots, chain, &layer, NULL) == 0 && layer.parent[0]) {
		buf_printf(&lower, "%s%.*s/snapshots/layers/%s/fs", lower.len ? ":" : "", SPAN_ARG(c->e->o->data_dir), layer.parent);
		memcpy(chain, layer.parent, sizeof(chain));
	}
	if (lower.len)
		(void)json_setl(a, &data, "LowerDir", engine_text(a, buf_span(&lower)));
	(void)json_setl(a, &data, "UpperDir", engine_text(a, buf_span(&upper)));
	(void)json_setl(a, &v, "Data", data);
	return v;
}

/* The configuration's "config" without members that say nothing, as DockerOCIImageConfig is written. */
static struct json config_of(struct engine_call *c, const struct image_config *config)
{
	struct json v = json_object();
	const struct json *is = json_getl(&config->tree, "config");
	static const char *const names[] = { "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels",
		"StopSignal", "ArgsEscaped", "Healthcheck", "OnBuild", "Shell", "Hostname", "Domainname", "Image" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct json *m = json_get(is, span_of(names[i]));
		bool empty = !m || m->kind == JSON_NULL || ((m->kind == JSON_STRING || m->kind == JSON_ARRAY || m->kind == JSON_OBJECT) &&
			!m->n) || (m->kind == JSON_BOOL && !m->b);
		if (!empty && (i < 13 || c->api < 50))
			(void)json_set(&c->arena, &v, span_of(names[i]), *m);
	}
	return v;
}

/* What the image was committed from, where its configuration tells; else what it gives to a container, Volumes among it: a program
 * that makes a container anew asks here which of the old one's volumes go along. */
static struct json container_config_of(struct engine_call *c, const struct image_config *config)
{
	const struct json *is = json_getl(&config->tree, "container_config");
	if (!json_is(is, JSON_OBJECT) || !is->n)
		is = json_getl(&config->tree, "config");
	return json_is(is, JSON_OBJECT) ? json_copy(&c->arena, is) : json_object();
}

static int inspect_run(struct engine_call *c, struct err *err)
{
	struct arena *a = &c->arena;
	struct image_digest id;
	struct image_info i;
	struct image_config config;
	struct image_manifest m;
	int rc = find(c, c->name, &id, err);
	if (rc == 0 && c->api >= 49 && engine_param(c, "platform").len && engine_truth(c, "manifests", false))
		rc = err_set(err, ERR_INVALID_REQUEST, "conflicting options: manifests and platform options cannot both be set");
	rc = rc < 0 ? rc : engine_platform_check(c, 49, c->name, err);
	if (rc == 0)
		rc = image_inspect(c->e->images, &id, a, &i, &config, &m, err);
	if (rc < 0)
		return rc;
	struct json v = json_object(), rootfs = json_object(), layers = json_array(), meta = json_object();
	const struct json *history = json_getl(&config.tree, "history");
	struct span comment = json_span(json_getl(&config.tree, "comment"));
	if (!comment.len && json_is(history, JSON_ARRAY) && history->n)
		comment = json_span(json_getl(&history->items[history->n - 1], "comment"));
	(void)json_setl(a, &v, "Id", json_cstr(arena_cstr(a, image_digest_span(&id))));
	(void)json_setl(a, &v, "RepoTags", engine_strings(a, i.tags, i.n_tags));
	(void)json_setl(a, &v, "RepoDigests", engine_strings(a, i.digests, i.n_digests));
	(void)json_setl(a, &v, "Parent", engine_text(a, image_digest_span(&i.parent)));
	(void)json_setl(a, &v, "Comment", json_str(comment));
	if (config.created.len || c->api < 44)
		(void)json_setl(a, &v, "Created", config.created.len ? json_str(config.created) : json_cstr("0001-01-01T00:00:00Z"));
	(void)json_setl(a, &v, "DockerVersion", json_str(json_span(json_getl(&config.tree, "docker_version"))));
	(void)json_setl(a, &v, "Author", json_str(config.author));
	(void)json_setl(a, &v, "ContainerConfig", container_config_of(c, &config));
	(void)json_setl(a, &v, "Config", config_of(c, &config));
	(void)json_setl(a, &v, "Architecture", engine_text(a, span_of(config.platform.arch)));
	if (config.platform.variant[0])
		(void)json_setl(a, &v, "Variant", engine_text(a, span_of(config.platform.variant)));
	(void)json_setl(a, &v, "Os", engine_text(a, span_of(config.platform.os)));
	(void)json_setl(a, &v, "Size", json_int((int64_t)engine_image_size(c->e, &i)));
	(void)json_setl(a, &v, "GraphDriver", graph_driver(c, &id));
	for (size_t k = 0; k < config.n_diffs; k++)
		(void)json_push(a, &layers, engine_text(a, image_digest_span(&config.diffs[k])));
	(void)json_setl(a, &rootfs, "Type", json_cstr("layers"));
	if (layers.n)
		(void)json_setl(a, &rootfs, "Layers", layers);
	(void)json_setl(a, &v, "RootFS", rootfs);
	(void)json_setl(a, &meta, "LastTagTime", i.tagged_ns ? engine_time(a, i.tagged_ns) : json_cstr("0001-01-01T00:00:00Z"));
	(void)json_setl(a, &v, "Metadata", meta);
	auto_buf struct buf text = {};
	if (image_blob_read(c->e->images, &i.manifest, &text, 8 << 20, NULL) == 0)
		(void)json_setl(a, &v, "Descriptor", descriptor_of(a, &i, m.media_type, text.len));
	if (c->api >= 48 && engine_truth(c, "manifests", false))
		(void)json_setl(a, &v, "Manifests", manifests_of(c, &i));
	engine_shape(ENGINE_DOC_IMAGE, c->api, a, &v);
	c->out = v;
	return 0;
}

void engine_image_inspect(struct engine_call *c)
{
	/* docker-compose 1.29 talks in the engine's newest version without knowing it, and stops half-way through making a container
	 * anew, the old one renamed by then, where ContainerConfig is not there (decision 0854). */
	if (span_starts(http_req_header(c->req, "User-Agent"), SPAN("docker-compose/1.")))
		c->api = MIN(c->api, 44U);
	engine_work(c, inspect_run, NULL);
}

static int history_run(struct engine_call *c, struct err *err)
{
	struct arena *a = &c->arena;
	struct image_digest id;
	struct image_history *h;
	size_t n;
	int rc = find(c, c->name, &id, err);
	rc = rc < 0 ? rc : engine_platform_check(c, 48, c->name, err);
	if (rc == 0)
		rc = image_history(c->e->images, &id, a, &h, &n, err);
	if (rc < 0)
		return rc;
	c->out = json_array();
	char chain[65];
	if (image_top(c->e->images, &id, chain, NULL) < 0)
		chain[0] = 0;
	for (size_t i = 0; i < n; i++) {
		struct json v = json_object();
		struct snapshot_layer layer;
		/* What the layer's files occupy, as in the image's size; overlay alone has layers by themselves. */
		if (!h[i].empty_layer && chain[0] && snapshot_backend(c->e->snapshots) == SNAPSHOT_OVERLAY &&
		    snapshot_layer_get(c->e->snapshots, chain, &layer, NULL) == 0) {
			h[i].size = layer.bytes;
			memcpy(chain, layer.parent, sizeof(chain));
		}
		(void)json_setl(a, &v, "Comment", json_str(h[i].comment));
		(void)json_setl(a, &v, "Created", json_int(engine_unix_of(h[i].created)));
		(void)json_setl(a, &v, "CreatedBy", json_str(h[i].created_by));
		(void)json_setl(a, &v, "Id", h[i].id.text[0] ? engine_text(a, image_digest_span(&h[i].id)) : json_cstr("<missing>"));
		(void)json_setl(a, &v, "Size", json_int((int64_t)h[i].size));
		(void)json_setl(a, &v, "Tags", h[i].n_tags ? engine_strings(a, h[i].tags, h[i].n_tags) : JSON_NULL_VALUE);
		(void)json_push(a, &c->out, v);
	}
	return 0;
}

void engine_image_history(struct engine_call *c)
{
	engine_work(c, history_run, NULL);
}

/* ---- names ---- */

/* "repo" and "tag" parameters as one reference with a tag. */
int engine_reference(struct span repo, struct span tag, struct arena *a, struct image_ref *out, struct err *err)
{
	int rc = image_ref_parse(repo, a, out, err);
	if (rc < 0)
		return rc;
	if (out->digest.len && !tag.len)
		return err_set(err, ERR_INVALID_REQUEST, "refusing to create a tag with a digest reference");
	if (tag.len) {
		struct span text = arena_printf(a, "%.*s:%.*s", SPAN_ARG(image_ref_name(out, a)), SPAN_ARG(tag));
		rc = image_ref_parse(text, a, out, NULL);
		if (rc < 0)
			return err_set(err, ERR_INVALID_REQUEST, "invalid tag format");
	}
	image_ref_default(out);
	return 0;
}

static int tag_run(struct engine_call *c, struct err *err)
{
	struct arena *a = &c->arena;
	struct image_ref ref;
	struct image_digest id;
	int rc = engine_reference(engine_param(c, "repo"), engine_param(c, "tag"), a, &ref, err);
	if (rc == 0)
		rc = find(c, c->name, &id, err);
	if (rc == 0)
		rc = image_tag(c->e->images, &id, image_ref_text(&ref, a), err);
	if (rc == 0)
		engine_event_image_read(c->e, "tag", image_digest_span(&id), image_ref_familiar(&ref, a));
	return rc;
}

static void tag_done(struct engine_call *c, int rc)
{
	if (rc < 0)
		engine_fail(c);
	else
		engine_answer_empty(c, 201);
}

void engine_image_tag(struct engine_call *c)
{
	engine_work(c, tag_run, tag_done);
}

/* ---- removal ---- */

/* Layers and blobs that nobody needs any more. A download that broke off is kept a day for the next try. */
int engine_collect(struct engine *e, uint64_t *out_bytes, struct err *err)
{
	uint64_t blobs = 0, layers = 0;
	int rc = snapshot_layers_prune(e->snapshots, image_chain_used, e->images, NULL, &layers, err);
	if (rc == 0)
		rc = image_gc(e->images, 24 * 3600, NULL, &blobs, err);
	if (out_bytes)
		*out_bytes = layers;
	return rc;
}

static void removed_add(struct engine_call *c, struct json *list, const struct image_removed *r, size_t n)
{
	struct arena *a = &c->arena;
	for (size_t i = 0; i < n; i++) {
		struct json v = json_object();
		(void)json_set(a, &v, r[i].deleted ? SPAN("Deleted") : SPAN("Untagged"), engine_text(a, r[i].what));
		(void)json_push(a, list, v);
	}
}

/* Layers are told as deleted to the client, but they are no images and have no events. */
static void removed_tell(struct engine_call *c, const struct image_digest *id, const struct json *labels,
	const struct image_info *all, size_t n_all, const struct image_removed *r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool is_image = !r[i].deleted;
		for (size_t k = 0; k < n_all && !is_image; k++)
			is_image = span_eq(image_digest_span(&all[k].id), r[i].what);
		struct span what = r[i].deleted ? r[i].what : image_digest_span(id);
		/* dockerd asks for the labels when it tells, so what is deleted has none any more. */
		if (is_image)
			engine_event_image_post(c->e, r[i].deleted ? "delete" : "untag", what, what, r[i].deleted ? NULL : labels);
	}
}

static int delete_run(struct engine_call *c, struct err *err)
{
	struct image_removed *r;
	struct image_info *all;
	struct image_digest id;
	size_t n, n_all;
	struct image_remove_params p = { .force = engine_truth(c, "force", false), .no_prune = engine_truth(c, "noprune", false) };
	engine_image_users(c->e, &p);
	int rc = find(c, c->name, &id, err);
	rc = rc < 0 ? rc : engine_platforms_check(c, 50, c->name, err);
	if (rc == 0)
		rc = image_list(c->e->images, &c->arena, &all, &n_all, err);
	const struct json labels = rc == 0 ? engine_image_labels(c->e, image_digest_span(&id), &c->arena) : JSON_NULL_VALUE;
	if (rc == 0)
		rc = image_remove(c->e->images, c->name, &p, &c->arena, &r, &n, err);
	if (rc < 0)
		return rc;
	c->out = json_array();
	removed_add(c, &c->out, r, n);
	removed_tell(c, &id, &labels, all, n_all, r, n);
	/* The image is gone, whatever becomes of its bytes: what could not be removed is tried again with the next one. */
	auto_err struct err why = ERR_INIT;
	if (engine_collect(c->e, NULL, &why) < 0)
		log_warn("removing layers that nobody needs", kv_err(&why));
	return 0;
}

void engine_image_delete(struct engine_call *c)
{
	if (!c->name.len)
		engine_fail_with(c, ERR_INVALID_REQUEST, "image name cannot be blank");
	else
		engine_work(c, delete_run, NULL);
}

static int prune_run(struct engine_call *c, struct err *err)
{
	struct chosen k;
	uint64_t bytes = 0;
	bool only_dangling;
	struct image_remove_params p = {};
	engine_image_users(c->e, &p);
	int rc = chosen_init(c, &k, "dangling,label,label!,until", err);
	if (rc == 0)
		rc = engine_filter_truth(&k.filters, "dangling", true, &only_dangling, err);
	if (rc < 0)
		return rc;
	k.dangling_said = false;
	/* Each name goes, then the image with the last. What somebody began to use meanwhile stays. */
	size_t n = 0, room = k.n;
	for (size_t i = 0; i < k.n; i++)
		room += k.all[i].n_tags;
	struct span *names = arena_alloc_n(&c->arena, room + 1, sizeof(*names));
	const struct image_info **whose = arena_alloc_n(&c->arena, room + 1, sizeof(*whose));
	struct json *labels = arena_alloc_n(&c->arena, room + 1, sizeof(*labels));
	size_t *ends = arena_alloc_n(&c->arena, room + 1, sizeof(*ends));
	for (size_t i = 0; i < k.n; i++) {
		const struct image_info *info = &k.all[i];
		char who[65];
		bool running;
		if ((only_dangling && info->n_tags) || !chosen_has(c, &k, i, true) || (info->n_tags == 0 && has_children(&k, info)) ||
		    (p.used && p.used(p.arg, &info->id, false, who, &running)))
			continue;
		const struct json its = engine_image_labels(c->e, image_digest_span(&info->id), &c->arena);
		for (size_t t = 0; t < MAX(info->n_tags, (size_t)1); t++, n++) {
			names[n] = info->n_tags ? info->tags[t] : image_digest_span(&info->id);
			whose[n] = info;
			labels[n] = its; /* asked for while it is there */
		}
	}
	struct image_removed *r;
	rc = image_remove_all(c->e->images, names, n, &p, &c->arena, &r, ends, err);
	if (rc < 0)
		return rc;
	struct json deleted = json_array();
	removed_add(c, &deleted, r, n ? ends[n - 1] : 0);
	for (size_t i = 0, from = 0; i < n; from = ends[i++])
		removed_tell(c, &whose[i]->id, &labels[i], k.all, k.n, r + from, ends[i] - from);
	rc = engine_collect(c->e, &bytes, err);
	if (rc < 0)
		return rc;
	c->out = json_object();
	(void)json_setl(&c->arena, &c->out, "ImagesDeleted", deleted.n ? deleted : JSON_NULL_VALUE);
	(void)json_setl(&c->arena, &c->out, "SpaceReclaimed", json_int((int64_t)bytes));
	return 0;
}

static void prune_done(struct engine_call *c, int rc)
{
	if (rc == 0) {
		struct json attributes = json_object();
		auto_buf struct buf n = {};
		buf_i64(&n, json_i64(json_getl(&c->out, "SpaceReclaimed"), 0));
		(void)json_setl(&c->arena, &attributes, "reclaimed", json_str(buf_span(&n)));
		engine_event(c->e, "image", SPAN("prune"), SPAN_EMPTY, &attributes);
	}
	engine_work_end(c, rc);
}

void engine_images_prune(struct engine_call *c)
{
	engine_work(c, prune_run, prune_done);
}
