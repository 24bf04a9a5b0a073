/* Images that come and go: pull, import, push, load, save, and what is asked of registries. Streams (stream.c): one thread
 * each. */
#include <poll.h>

#include "engine/private.h"
#include "tar/tar.h"

#define URL_BYTES (64ull << 30) /* of an import from a URL */

/* ---- POST /images/create ---- */

static int registry_of(struct engine_call *c, struct image_registry_params *p, struct err *err)
{
	engine_registry_params(c->e->registry, p);
	return engine_registry_auth(json_span(&c->body), &c->arena, p, err);
}

/* The header is kept where a stream's thread may read it: http's memory is the loop's. */
static void auth_keep(struct engine_call *c)
{
	c->body = json_str(arena_span(&c->arena, http_req_header(c->req, "X-Registry-Auth")));
}

/* That a registry refuses us is no refusal of ours: at a 401 the client asks its user for a login and waits for one even where
 * nobody is. dockerd answers 500. */
static int refused(int rc, struct err *err)
{
	auto_buf struct buf words = {};
	if (rc != -ERR_UNAUTHORIZED || !err)
		return rc;
	buf_str(&words, err_msg(err));
	return err_set(err, ERR_INTERNAL, "%s", buf_cstr(&words));
}

static int pull_one(struct engine_call *c, const struct image_ref *ref, const struct image_registry_params *registry,
	struct engine_progress *progress, struct err *err)
{
	struct arena *a = &c->arena;
	struct image_digest id;
	struct image_pull_params p = { .ref = *ref, .registry = registry, .unpacker = engine_unpacker(c->e),
		.reporter = &progress->reporter };
	struct span platform = engine_param(c, "platform");
	int rc = platform.len ? image_platform_parse(platform, &p.platform, err) : 0;
	if (rc == 0)
		rc = refused(image_pull(c->e->images, &p, &id, err), err);
	if (rc == 0)
		engine_event_image_read(c->e, "pull", image_ref_familiar(ref, a), image_ref_familiar_name(ref, a));
	return rc;
}

static int pull_run(struct engine_call *c, struct err *err)
{
	struct arena *a = &c->arena;
	struct image_registry_params registry;
	struct engine_progress progress;
	struct image_ref ref;
	struct span name = engine_param(c, "fromImage"), tag = engine_param(c, "tag");
	engine_progress_init(&progress, c);
	int rc = registry_of(c, &registry, err);
	if (rc == 0)
		rc = image_ref_parse(name, a, &ref, err);
	if (rc < 0)
		return rc;
	if (tag.len) {
		/* The parameter may be a digest too. */
		bool digest = span_chr(tag, ':') >= 0;
		struct span text = arena_printf(a, "%.*s%c%.*s", SPAN_ARG(image_ref_name(&ref, a)), digest ? '@' : ':', SPAN_ARG(tag));
		if (image_ref_parse(text, a, &ref, NULL) < 0)
			return err_set(err, ERR_INVALID_REQUEST, "invalid reference format");
	}
	if (ref.tag.len || ref.digest.len)
		return pull_one(c, &ref, &registry, &progress, err);
	/* No tag means every tag. */
	struct span *tags;
	size_t n;
	rc = refused(image_remote_tags(&registry, &ref, a, &tags, &n, err), err);
	if (rc == 0 && n == 0)
		rc = err_set(err, ERR_NOT_FOUND, "No tags found for %.*s", SPAN_ARG(image_ref_familiar_name(&ref, a)));
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct image_ref one = ref;
		one.tag = tags[i];
		rc = pull_one(c, &one, &registry, &progress, err);
	}
	return rc;
}

/* Bytes from a URL as a source: a private loop that is turned while somebody pulls. */
struct url_source {
	struct tar_source source;
	struct engine_call *c;
	struct loop *loop;
	struct loop_timer tick;
	struct http_client *http;
	struct http_call *call;
	struct buf in, taken;
	uint64_t bytes;
	bool over;
	struct err why;
};

static void url_data(struct http_call *call, struct span data, void *arg)
{
	struct url_source *u = arg;
	buf_span_add(&u->in, data);
	u->bytes += data.len;
	if (u->in.len > (1u << 20))
		http_call_pause(call);
}

static void url_head(struct http_call *call, void *arg)
{
	struct url_source *u = arg;
	int status = http_call_status(call);
	if (status != 200) {
		(void)err_set(&u->why, ERR_INVALID_REQUEST, "failed to get http status %d %s", status, http_status_text(status));
		http_call_cancel(call);
	}
}

static void url_done(struct http_call *call, const struct err *why, void *arg)
{
	struct url_source *u = arg;
	u->over = true;
	u->call = NULL;
	if (why && u->why.class == ERR_NONE)
		(void)err_set(&u->why, why->class, "%s", err_msg(why));
}

static void url_tick(struct loop_timer *t)
{
	loop_timer_start(t, 200);
}

static int url_pull(struct tar_source *source, struct span *out_piece, struct err *err)
{
	struct url_source *u = container_of(source, struct url_source, source);
	while (!u->in.len && !u->over) {
		if (engine_cancelled(u->c))
			return err_set(err, ERR_CANCELLED, "the client is gone");
		(void)loop_turn(u->loop, true);
	}
	if (u->why.class != ERR_NONE)
		return err_set(err, u->why.class, "%s", err_msg(&u->why));
	if (u->bytes > URL_BYTES)
		return err_set(err, ERR_TOO_LARGE, "the archive is longer than %llu bytes", (unsigned long long)URL_BYTES);
	if (!u->in.len)
		return 0;
	struct buf swap = u->taken;
	u->taken = u->in;
	u->in = swap;
	buf_trunc(&u->in, 0);
	if (u->call)
		http_call_resume(u->call);
	*out_piece = buf_span(&u->taken);
	return 1;
}

static int url_open(struct url_source *u, struct engine_call *c, struct span url, struct err *err)
{
	static const struct http_call_ops ops = { .head = url_head, .data = url_data, .done = url_done };
	struct http_origin origin;
	struct span target;
	struct tls_ctx *tls = NULL;
	*u = (struct url_source){ .source = { url_pull }, .c = c };
	int rc = http_url_parse(url, &c->arena, &origin, &target, err);
	if (rc == 0)
		rc = loop_new(NULL, &u->loop, err);
	if (rc < 0)
		return rc;
	loop_timer_init(&u->tick, u->loop, "import tick", url_tick);
	loop_timer_start(&u->tick, 200);
	const struct http_client_params hp = { .loop = u->loop, .name = "import" };
	rc = http_client_new(&hp, &u->http, err);
	if (rc == 0 && origin.tls) {
		const struct tls_client_params tp = { .alpn = TLS_ALPN_HTTP1 };
		rc = tls_client_new(&tp, &tls, err);
		origin.tls_ctx = tls;
	}
	struct image_registry_params p;
	engine_registry_params(c->e->registry, &p);
	struct span proxy = http_proxy_for(&origin, p.http_proxy, p.https_proxy, p.no_proxy);
	if (proxy.len)
		origin.proxy = arena_cstr(&c->arena, proxy);
	const struct http_call_params cp = { .origin = &origin, .method = "GET", .target = target, .idle_ms = 60000,
		.first_byte_ms = 60000, .ops = &ops, .arg = u };
	if (rc == 0)
		rc = http_call_begin(u->http, &cp, &u->call, err);
	if (rc < 0)
		u->over = true;
	tls_ctx_unref(tls);
	return rc;
}

static void url_close(struct url_source *u)
{
	if (!u->loop)
		return;
	loop_timer_stop(&u->tick);
	if (u->http)
		http_client_free(u->http);
	while (loop_turn(u->loop, false))
		(void)poll(NULL, 0, 1);
	loop_free(u->loop);
	buf_done(&u->in);
	buf_done(&u->taken);
	err_done(&u->why);
}

static int import_run(struct engine_call *c, struct err *err)
{
	struct arena *a = &c->arena;
	struct span from = engine_param(c, "fromSrc"), repo = engine_param(c, "repo"), tag = engine_param(c, "tag");
	struct engine_progress progress;
	struct image_ref ref = {};
	struct image_digest id;
	struct image_import_params p = { .message = engine_param(c, "message"), .unpacker = engine_unpacker(c->e) };
	struct json config = json_object();
	auto_buf struct buf text = {};
	engine_progress_init(&progress, c);
	int rc = 0;
	if (repo.len && (rc = engine_reference(repo, tag, a, &ref, err)) == 0)
		p.ref = image_ref_text(&ref, a);
	if (rc == 0 && engine_param(c, "platform").len)
		rc = image_platform_parse(engine_param(c, "platform"), &p.platform, err);
	if (rc == 0 && p.platform.os[0] && strcmp(p.platform.os, "linux") != 0)
		rc = err_set(err, ERR_INVALID_REQUEST, "operating system is not supported");
	for (size_t i = 0; rc == 0 && i < c->n_params; i++)
		if (span_is(c->params[i].key, "changes"))
			rc = engine_config_change(&config, c->params[i].value, a, err);
	if (rc < 0)
		return rc;
	if (config.n)
		json_write(&text, &config, 0);
	p.config = buf_span(&text);
	if (span_is(from, "-")) {
		if (!p.message.len)
			p.message = SPAN("Imported from -");
		rc = image_import(c->e->images, engine_in(c), &p, &id, err);
	} else {
		struct url_source url;
		struct span full = span_find(from, SPAN("://")) >= 0 ? from : arena_printf(a, "http://%.*s", SPAN_ARG(from));
		engine_progress_status(&progress, arena_printf(a, "Downloading from %.*s", SPAN_ARG(full)));
		if (!p.message.len)
			p.message = arena_printf(a, "Imported from %.*s", SPAN_ARG(full));
		rc = url_open(&url, c, full, err);
		if (rc == 0)
			rc = image_import(c->e->images, &url.source, &p, &id, err);
		url_close(&url);
	}
	if (rc == 0) {
		engine_progress_status(&progress, image_digest_span(&id));
		if (p.ref.len)
			engine_event_image_read(c->e, "tag", image_digest_span(&id), image_ref_familiar(&ref, a));
		engine_event_image_read(c->e, "import", image_digest_span(&id), image_digest_span(&id));
	}
	return rc;
}

void engine_images_create(struct engine_call *c)
{
	bool import = engine_param(c, "fromSrc").len != 0;
	if (!import && !engine_param(c, "fromImage").len) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "invalid reference format");
		return;
	}
	auth_keep(c);
	engine_stream_begin(c, import && span_is(engine_param(c, "fromSrc"), "-") ? ENGINE_IN : 0, "application/json",
		import ? import_run : pull_run);
}

/* ---- POST /images/x/push ---- */

static int push_one(struct engine_call *c, const struct image_ref *ref, const struct image_registry_params *registry,
	struct err *err)
{
	struct arena *a = &c->arena;
	struct engine_progress progress;
	struct image_digest manifest;
	engine_progress_init(&progress, c);
	int rc = engine_platform_check(c, 46, image_ref_familiar(ref, a), err);
	if (rc < 0)
		return rc;
	const struct image_push_params p = { .ref = *ref, .registry = registry, .reporter = &progress.reporter };
	rc = refused(image_push(c->e->images, &p, &manifest, err), err);
	if (rc < 0)
		return rc;
	struct json line = json_object(), aux = json_object();
	auto_buf struct buf text = {};
	(void)image_blob_read(c->e->images, &manifest, &text, 8 << 20, NULL);
	(void)json_setl(a, &aux, "Tag", json_str(ref->tag));
	(void)json_setl(a, &aux, "Digest", json_cstr(manifest.text));
	(void)json_setl(a, &aux, "Size", json_int((int64_t)text.len));
	(void)json_setl(a, &line, "progressDetail", json_object());
	(void)json_setl(a, &line, "aux", aux);
	engine_progress_line(&progress, &line);
	struct span shown = image_ref_familiar(ref, a);
	engine_event_image_read(c->e, "push", shown, image_ref_familiar_name(ref, a));
	return 0;
}

static int push_run(struct engine_call *c, struct err *err)
{
	struct arena *a = &c->arena;
	struct image_registry_params registry;
	struct image_ref ref;
	struct image_info *images;
	size_t n, pushed = 0;
	struct span tag = engine_param(c, "tag");
	int rc = registry_of(c, &registry, err);
	if (rc == 0)
		rc = image_ref_parse(c->name, a, &ref, err);
	if (rc < 0)
		return rc;
	if (ref.digest.len)
		return err_set(err, ERR_INVALID_REQUEST, "cannot push a digest reference");
	if (tag.len || ref.tag.len) {
		rc = engine_reference(c->name, tag, a, &ref, err);
		return rc < 0 ? rc : push_one(c, &ref, &registry, err);
	}
	/* Every tag that the name has here. */
	rc = image_list(c->e->images, a, &images, &n, err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		for (size_t t = 0; rc == 0 && t < images[i].n_tags; t++) {
			struct image_ref one;
			if (image_ref_parse(images[i].tags[t], a, &one, NULL) < 0 || !span_eq(one.domain, ref.domain) ||
			    !span_eq(one.path, ref.path))
				continue;
			rc = push_one(c, &one, &registry, err);
			pushed++;
		}
	if (rc == 0 && !pushed)
		rc = err_set(err, ERR_NOT_FOUND, "An image does not exist locally with the tag: %.*s",
			SPAN_ARG(image_ref_familiar_name(&ref, a)));
	return rc;
}

void engine_image_push(struct engine_call *c)
{
	auth_keep(c);
	engine_stream_begin(c, 0, "application/json", push_run);
}

/* ---- archives ---- */

struct load {
	struct engine_progress progress;
	struct engine_call *c;
};

/* "Loaded image: nginx:latest" and "Loaded image ID: sha256:..." are lines for people, and events. */
static void load_report(const struct image_progress *i, void *arg)
{
	struct load *l = arg;
	struct span what = SPAN_EMPTY;
	struct image_digest id;
	l->progress.reporter.fn(i, &l->progress);
	if (span_starts(i->status, SPAN("Loaded image: ")))
		what = span_from(i->status, 14);
	else if (span_starts(i->status, SPAN("Loaded image ID: ")))
		what = span_from(i->status, 17);
	if (what.len && image_find(l->c->e->images, what, &id, NULL) == 0)
		engine_event_image_read(l->c->e, "load", image_digest_span(&id), image_digest_span(&id));
}

static bool load_cancelled(void *arg)
{
	struct load *l = arg;
	return engine_cancelled(l->c);
}

static int load_run(struct engine_call *c, struct err *err)
{
	struct load l = { .c = c };
	const struct image_reporter reporter = { .fn = load_report, .arg = &l, .cancelled = load_cancelled };
	struct image_platform want;
	bool said;
	int rc = engine_platform(c, 48, &want, &said, err);
	if (rc < 0)
		return rc;
	engine_progress_init(&l.progress, c);
	l.progress.load = true;
	return image_load(c->e->images, engine_in(c), said ? &want : NULL, engine_unpacker(c->e), &reporter, err);
}

void engine_images_load(struct engine_call *c)
{
	engine_stream_begin(c, ENGINE_IN, "application/json", load_run);
}

static int save_names(struct engine_call *c, const struct span *names, size_t n, struct err *err)
{
	struct image_digest ids;
	int rc = 0;
	/* Looked up before the first byte, so that a missing one is an answer and not a broken archive. */
	for (size_t i = 0; rc == 0 && i < n; i++)
		if ((rc = image_find(c->e->images, names[i], &ids, err)) == 0)
			rc = engine_platform_check(c, 48, names[i], err);
	if (rc == 0)
		rc = image_save(c->e->images, names, n, engine_out(c), err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct image_digest id;
		if (image_find(c->e->images, names[i], &id, NULL) == 0)
			engine_event_image_read(c->e, "save", image_digest_span(&id), image_digest_span(&id));
	}
	return rc;
}

static int save_one(struct engine_call *c, struct err *err)
{
	return save_names(c, &c->name, 1, err);
}

static int save_many(struct engine_call *c, struct err *err)
{
	struct span *names = arena_alloc_n(&c->arena, c->n_params + 1, sizeof(*names));
	size_t n = 0;
	for (size_t i = 0; i < c->n_params; i++)
		if (span_is(c->params[i].key, "names"))
			names[n++] = c->params[i].value;
	return save_names(c, names, n, err);
}

void engine_image_save(struct engine_call *c)
{
	engine_stream_begin(c, 0, "application/x-tar", save_one);
}

void engine_images_save(struct engine_call *c)
{
	engine_stream_begin(c, 0, "application/x-tar", save_many);
}

/* ---- questions to registries ---- */

static int search_run(struct engine_call *c, struct err *err)
{
	struct arena *a = &c->arena;
	struct image_registry_params p;
	struct engine_filters f;
	struct json answer;
	int64_t limit, stars = 0;
	bool official_said, official, automated;
	int rc = engine_number(c, "limit", 25, &limit, err);
	if (rc == 0)
		rc = engine_filters_of(c, "is-automated,is-official,stars", &f, err);
	if (rc < 0)
		return rc;
	if (limit < 1 || limit > 100)
		return err_set(err, ERR_INVALID_REQUEST, "limit %lld is outside the range of [1, 100]", (long long)limit);
	const struct engine_filter *by_stars = engine_filter_get(&f, "stars");
	for (size_t i = 0; by_stars && i < by_stars->n; i++) {
		int64_t one;
		if (!span_to_i64(by_stars->values[i], &one))
			return err_set(err, ERR_INVALID_REQUEST, "invalid filter 'stars=%.*s'", SPAN_ARG(by_stars->values[i]));
		stars = MAX(stars, one);
	}
	official_said = engine_filter_get(&f, "is-official");
	if ((rc = engine_filter_truth(&f, "is-official", false, &official, err)) < 0 ||
	    (rc = engine_filter_truth(&f, "is-automated", false, &automated, err)) < 0 || (rc = registry_of(c, &p, err)) < 0 ||
	    (rc = image_search(&p, engine_param(c, "term"), (unsigned)limit, a, &answer, err)) < 0)
		return rc;
	c->out = json_array();
	JSON_EACH_ITEM(json_getl(&answer, "results"), r) {
		if (official_said && json_truth(json_getl(r, "is_official"), false) != official)
			continue;
		/* Nothing is automated any more: Docker Hub gave that up. */
		if (automated || json_i64(json_getl(r, "star_count"), 0) < stars)
			continue;
		struct json v = json_object();
		(void)json_setl(a, &v, "star_count", json_int(json_i64(json_getl(r, "star_count"), 0)));
		(void)json_setl(a, &v, "is_official", json_bool(json_truth(json_getl(r, "is_official"), false)));
		(void)json_setl(a, &v, "name", json_str(json_span(json_getl(r, "name"))));
		(void)json_setl(a, &v, "is_automated", json_bool(false));
		(void)json_setl(a, &v, "description", json_str(json_span(json_getl(r, "description"))));
		(void)json_push(a, &c->out, v);
	}
	return 0;
}

void engine_images_search(struct engine_call *c)
{
	auth_keep(c);
	engine_work(c, search_run, NULL);
}

static struct json platform_of(struct arena *a, const struct image_platform *p)
{
	struct json v = json_object();
	(void)json_setl(a, &v, "architecture", engine_text(a, span_of(p->arch)));
	(void)json_setl(a, &v, "os", engine_text(a, span_of(p->os)));
	if (p->variant[0])
		(void)json_setl(a, &v, "variant", engine_text(a, span_of(p->variant)));
	return v;
}

static int distribution_run(struct engine_call *c, struct err *err)
{
	struct arena *a = &c->arena;
	struct image_registry_params p;
	struct image_ref ref;
	struct image_resolved is = {};
	int rc = registry_of(c, &p, err);
	if (rc == 0)
		rc = image_ref_parse(c->name, a, &ref, err);
	if (rc < 0)
		return rc;
	image_ref_default(&ref);
	if ((rc = image_resolve(&p, &ref, a, &is, err)) < 0)
		return rc;
	struct json descriptor = json_object(), platforms = json_array();
	(void)json_setl(a, &descriptor, "mediaType", json_str(is.manifest.media_type));
	(void)json_setl(a, &descriptor, "digest", engine_text(a, image_digest_span(&is.digest)));
	(void)json_setl(a, &descriptor, "size", json_int((int64_t)is.text.len));
	if (is.manifest.kind == IMAGE_MANIFEST)
		(void)json_push(a, &platforms, platform_of(a, &is.platform));
	for (size_t i = 0; is.manifest.kind == IMAGE_INDEX && i < is.manifest.n; i++)
		if (is.manifest.items[i].platform.os[0])
			(void)json_push(a, &platforms, platform_of(a, &is.manifest.items[i].platform));
	c->out = json_object();
	(void)json_setl(a, &c->out, "Descriptor", descriptor);
	(void)json_setl(a, &c->out, "Platforms", platforms);
	return 0;
}

void engine_distribution(struct engine_call *c)
{
	auth_keep(c);
	engine_work(c, distribution_run, NULL);
}
