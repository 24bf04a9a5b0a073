/* POST /build: parameters into what the builder takes, its words into the classic stream.
 *
 *     context ──> engine_in ──> builder_build (the stream's thread) ──> say ──> {"stream": ...} ──> engine_out
 *                                        │ containers of RUN run on the loop's thread
 *     the client goes away ──> stream_cancel ──> builder_stop_raise ──> the step is killed and cleared away */
#include "builder/builder.h"
#include "engine/private.h"
#include "tar/tar.h"

#define QUIET_MAX (1u << 20) /* of what -q keeps back for a failure */

struct building {
	struct engine_call *c;
	struct builder_stop stop;
	struct builder_params p;
	struct image_platform platform;
	struct json args, labels, host, auths;
	struct image_ref *tags;
	size_t n_tags;
	bool quiet, begun;
	struct buf kept; /* quiet */
};

/* ---- what goes out ---- */

static int line_out(struct building *w, const char *member, struct span text, struct err *err)
{
	auto_buf struct buf b = {};
	buf_printf(&b, "{\"%s\":", member);
	json_write_string(&b, text, 0);
	buf_str(&b, "}\r\n");
	struct tar_sink *out = engine_out(w->c);
	w->begun = true;
	return out->push(out, buf_span(&b), err);
}

static int say(void *arg, struct span text, struct err *err)
{
	struct building *w = arg;
	if (!w->quiet)
		return line_out(w, "stream", text, err);
	if (w->kept.len + text.len > QUIET_MAX)
		buf_shift(&w->kept, MIN(w->kept.len, text.len)); /* the end is what tells why */
	buf_span_add(&w->kept, span_sub(text, text.len > QUIET_MAX ? text.len - QUIET_MAX : 0, text.len));
	return engine_cancelled(w->c) ? err_set(err, ERR_CANCELLED, "the client is gone") : 0;
}

static int made(void *arg, const struct image_digest *id, struct err *err)
{
	struct building *w = arg;
	auto_buf struct buf b = {};
	if (w->quiet)
		return 0;
	buf_printf(&b, "{\"aux\":{\"ID\":\"%s\"}}\r\n", id->text);
	w->begun = true;
	struct tar_sink *out = engine_out(w->c);
	return out->push(out, buf_span(&b), err);
}

static int printf_out(struct building *w, struct err *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int printf_out(struct building *w, struct err *err, const char *fmt, ...)
{
	auto_buf struct buf b = {};
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	return line_out(w, "stream", buf_span(&b), err);
}

/* Once something was said the status is sent: the failure is a line, with the exit code of the command where it has one. */
static int failed(struct building *w, int code, int rc, struct err *err)
{
	auto_buf struct buf b = {};
	if (!w->begun && !w->kept.len && !code)
		return rc;
	if (rc == -ERR_CANCELLED)
		return rc;
	if (w->kept.len)
		(void)line_out(w, "stream", buf_span(&w->kept), NULL); /* the line that follows tells whether it arrives */
	buf_str(&b, "{\"errorDetail\":{");
	if (code)
		buf_printf(&b, "\"code\":%d,", code);
	buf_str(&b, "\"message\":");
	json_write_string(&b, span_of(err_msg(err)), 0);
	buf_str(&b, "},\"error\":");
	json_write_string(&b, span_of(err_msg(err)), 0);
	buf_str(&b, "}\r\n");
	struct tar_sink *out = engine_out(w->c);
	return out->push(out, buf_span(&b), NULL) < 0 ? rc : 0;
}

/* A line that a pull wrote for later. */
static int line(void *arg, struct span text, struct err *err)
{
	struct building *w = arg;
	struct tar_sink *out = engine_out(w->c);
	w->begun = true;
	return out->push(out, text, err);
}

/* ---- images that are not here ---- */

struct pulling {
	struct building *w;
	struct engine_progress progress; /* its lines unless quiet; ended by either way to cancel */
	struct image_reporter reporter;
	bool straight;
};

static void pull_said(const struct image_progress *p, void *arg)
{
	struct pulling *g = arg;
	if (g->w->quiet)
		return;
	if (g->straight)
		g->w->begun = true;
	g->progress.reporter.fn(p, g->progress.reporter.arg);
}

static bool pull_cancelled(void *arg)
{
	struct pulling *g = arg;
	return builder_stop_raised(&g->w->stop) || engine_cancelled(g->w->c);
}

static int fetch(void *arg, struct span name, const struct image_platform *platform, struct tar_sink *lines, struct err *err)
{
	struct building *w = arg;
	struct engine_call *c = w->c;
	auto_arena struct arena a = {}; /* not the call's: stages pull beside each other */
	struct image_registry_params registry;
	struct image_ref ref;
	struct image_digest id;
	struct pulling g = { .w = w, .straight = !lines };
	engine_progress_init(&g.progress, c);
	g.progress.to = lines;
	g.reporter = (struct image_reporter){ .fn = pull_said, .arg = &g, .cancelled = pull_cancelled };
	engine_registry_params(c->e->registry, &registry);
	int rc = image_ref_parse(name, &a, &ref, err);
	if (rc < 0)
		return rc;
	image_ref_default(&ref);
	/* Docker Hub's entry is called by its old address. */
	struct span domain = span_is(ref.domain, "docker.io") ? SPAN("https://index.docker.io/v1/") : ref.domain;
	const struct json *auth = json_get(&w->auths, domain);
	registry.username = json_span(json_getl(auth, "username"));
	registry.password = json_span(json_getl(auth, "password"));
	registry.identity_token = json_span(json_getl(auth, "identitytoken"));
	registry.registry_token = json_span(json_getl(auth, "registrytoken"));
	struct image_pull_params p = { .ref = ref, .platform = *platform, .registry = &registry, .unpacker = engine_unpacker(c->e),
		.reporter = &g.reporter };
	rc = image_pull(c->e->images, &p, &id, err);
	if (rc == 0)
		engine_event_image_read(c->e, "pull", image_ref_familiar(&ref, &a), image_ref_familiar_name(&ref, &a));
	return rc;
}

/* ---- the build ---- */

static int tag_all(struct building *w, const struct image_digest *id, struct err *err)
{
	struct engine_call *c = w->c;
	int rc = 0;
	for (size_t i = 0; i < w->n_tags && rc == 0; i++) {
		struct span shown = image_ref_familiar(&w->tags[i], &c->arena);
		rc = image_tag(c->e->images, id, image_ref_text(&w->tags[i], &c->arena), err);
		if (rc == 0)
			engine_event_image_read(c->e, "tag", image_digest_span(id), shown);
		if (rc == 0 && !w->quiet)
			rc = printf_out(w, err, "Successfully tagged %.*s\n", SPAN_ARG(shown));
	}
	return rc;
}

static int build_run(struct engine_call *c, struct err *err)
{
	struct building *w = c->state;
	struct image_digest id;
	int code = 0;
	auto_buf struct buf advice = {};
	w->p.context = engine_in(c);
	w->p.stop = &w->stop;
	int rc = builder_build(c->e->builder, &w->p, &id, &code, w->quiet ? NULL : &advice, err);
	if (rc == 0)
		rc = w->quiet ? printf_out(w, err, "%s\n", id.text) : printf_out(w, err, "Successfully built %.12s\n", id.text + 7);
	rc = rc < 0 ? rc : tag_all(w, &id, err);
	if (rc == 0 && advice.len)
		rc = line_out(w, "stream", buf_span(&advice), err);
	return rc < 0 ? failed(w, code, rc, err) : 0;
}

static void build_over(struct engine_call *c)
{
	struct building *w = c->state;
	builder_stop_done(&w->stop);
	buf_done(&w->kept);
}

static void build_cancel(struct engine_call *c)
{
	struct building *w = c->state;
	builder_stop_raise(&w->stop);
}

/* ---- parameters ---- */

static int json_param(struct engine_call *c, const char *name, enum json_kind kind, const char *what, struct json *out,
	struct err *err)
{
	struct span text = engine_param(c, name);
	*out = (struct json){ .kind = (uint8_t)kind };
	if (!span_trim(text).len || span_is(span_trim(text), "null"))
		return 0;
	auto_buf struct buf words = {};
	if (json_parse(&c->arena, text, JSON_DUPLICATES_LAST, NULL, out, NULL) < 0) {
		(void)json_go_complaint(&words, text);
		return err_set(err, ERR_INVALID_REQUEST, "error reading %s: %s", what, buf_cstr(&words));
	}
	return out->kind == kind ? 0 : err_set(err, ERR_INVALID_REQUEST, "error reading %s: %s is expected", what,
		kind == JSON_ARRAY ? "a list" : "an object");
}

/* Go's map of strings: null is the empty one, or with may_be_null the missing one. */
static int strings_check(struct json *v, bool may_be_null, const char *what, struct err *err)
{
	static const char *const kinds[] = { [JSON_BOOL] = "bool", [JSON_INT] = "number", [JSON_UINT] = "number",
		[JSON_DOUBLE] = "number", [JSON_ARRAY] = "array", [JSON_OBJECT] = "object" };
	JSON_EACH_MEMBER(v, m) {
		if (m->value.kind == JSON_STRING || (may_be_null && m->value.kind == JSON_NULL))
			continue;
		if (m->value.kind != JSON_NULL)
			return err_set(err, ERR_INVALID_REQUEST, "error reading %s: json: cannot unmarshal %s into Go value of type string",
				what, kinds[m->value.kind]);
		m->value = json_str(SPAN(""));
	}
	return 0;
}

static int host_read(struct engine_call *c, struct json *host, struct err *err)
{
	static const struct {
		const char *param, *member;
	} numbers[] = { { "memory", "Memory" }, { "memswap", "MemorySwap" }, { "cpushares", "CpuShares" }, { "cpuperiod",
		"CpuPeriod" },
		{ "cpuquota", "CpuQuota" }, { "shmsize", "ShmSize" } }, texts[] = { { "cpusetcpus", "CpusetCpus" },
		{ "cpusetmems", "CpusetMems" }, { "cgroupparent", "CgroupParent" }, { "networkmode", "NetworkMode" } };
	struct arena *a = &c->arena;
	struct json v, hosts = json_array();
	int rc = 0;
	*host = json_object();
	for (size_t i = 0; i < ARRAY_LEN(numbers) && rc == 0; i++) {
		int64_t n;
		rc = engine_number(c, numbers[i].param, 0, &n, err);
		if (rc == 0 && n)
			(void)json_set(a, host, span_of(numbers[i].member), json_int(n));
	}
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (engine_param(c, texts[i].param).len)
			(void)json_set(a, host, span_of(texts[i].member), json_str(engine_param(c, texts[i].param)));
	for (size_t i = 0; i < c->n_params; i++)
		if (span_is(c->params[i].key, "extrahosts") && c->params[i].value.len)
			(void)json_push(a, &hosts, json_str(c->params[i].value));
	if (hosts.n)
		(void)json_setl(a, host, "ExtraHosts", hosts);
	rc = rc < 0 ? rc : json_param(c, "ulimits", JSON_ARRAY, "ulimit settings", &v, err);
	if (rc == 0 && v.n)
		(void)json_setl(a, host, "Ulimits", v);
	/* Docker's client sends its options one by one, others a list. */
	struct span options = engine_param(c, "securityopt");
	if (rc == 0 && options.len) {
		rc = json_param(c, "securityopt", JSON_ARRAY, "security options", &v, err);
		if (rc == 0 && v.n)
			(void)json_setl(a, host, "SecurityOpt", v);
	}
	return rc;
}

static int tags_read(struct engine_call *c, struct building *w, struct err *err)
{
	struct arena *a = &c->arena;
	w->tags = arena_alloc_n(a, c->n_params + 1, sizeof(*w->tags));
	for (size_t i = 0; i < c->n_params; i++) {
		struct image_ref ref;
		bool twice = false;
		if (!span_is(c->params[i].key, "t") || !c->params[i].value.len)
			continue;
		int rc = image_ref_parse(c->params[i].value, a, &ref, err);
		if (rc < 0)
			return rc;
		if (ref.digest.len)
			return err_set(err, ERR_INVALID_REQUEST, "build tag cannot contain a digest");
		image_ref_default(&ref);
		for (size_t k = 0; k < w->n_tags; k++)
			twice |= span_eq(image_ref_text(&w->tags[k], a), image_ref_text(&ref, a));
		if (!twice)
			w->tags[w->n_tags++] = ref;
	}
	return 0;
}

/* X-Registry-Config: base64url of {"registry": {"username": ..., "password": ...}}. What cannot be read is passed over, as Docker's
 * daemon does for clients of old. */
static void auths_read(struct engine_call *c, struct building *w)
{
	auto_buf struct buf text = {};
	struct span header = http_req_header(c->req, "X-Registry-Config");
	w->auths = json_object();
	if (!base64_parse(&text, BASE64_URL, header) && !base64_parse(&text, BASE64_URL_RAW, header))
		return;
	if (json_parse(&c->arena, arena_span(&c->arena, buf_span(&text)), JSON_DUPLICATES_LAST, NULL, &w->auths, NULL) < 0)
		w->auths = json_object();
}

static int cache_from_read(struct engine_call *c, struct building *w, struct err *err)
{
	struct json list;
	int rc = json_param(c, "cachefrom", JSON_ARRAY, "cache-from", &list, err);
	if (rc < 0)
		return rc;
	struct span *names = arena_alloc_n(&c->arena, list.n + 1, sizeof(*names));
	JSON_EACH_ITEM(&list, item)
		names[w->p.n_cache_from++] = json_span(item);
	w->p.cache_from = names;
	return 0;
}

static int params_read(struct engine_call *c, struct building *w, struct err *err)
{
	struct builder_params *p = &w->p;
	struct span platform = engine_param(c, "platform");
	if (span_is(engine_param(c, "version"), "2"))
		return err_set(err, ERR_UNSUPPORTED, "this engine builds without BuildKit yet: run DOCKER_BUILDKIT=0 docker build ...");
	if (engine_truth(c, "squash", false))
		return err_set(err, ERR_INVALID_REQUEST, "squash is not supported: build with stages and COPY --from instead");
	if (engine_param(c, "outputs").len && !span_is(engine_param(c, "outputs"), "null") && !span_is(engine_param(c, "outputs"),
		"[]"))
		return err_set(err, ERR_UNSUPPORTED, "outputs need BuildKit: this engine keeps what it builds as images");
	struct span isolation = engine_param(c, "isolation");
	if (isolation.len && !span_eq_nocase(isolation, SPAN("default")))
		return err_set(err, ERR_INVALID_REQUEST, "unsupported isolation: \"%.*s\"", SPAN_ARG(isolation));
	p->dockerfile = engine_param(c, "dockerfile");
	p->remote = engine_param(c, "remote");
	if (span_is(p->remote, "client-session"))
		return err_set(err, ERR_UNSUPPORTED, "this engine builds without BuildKit yet: run DOCKER_BUILDKIT=0 docker build ...");
	p->target = engine_param(c, "target");
	p->no_cache = engine_truth(c, "nocache", false);
	p->pull = engine_truth(c, "pull", false);
	p->force_rm = engine_truth(c, "forcerm", false);
	p->keep = !p->force_rm && !engine_truth(c, "rm", true) && engine_param(c, "rm").len;
	w->quiet = engine_truth(c, "q", false);
	int rc = tags_read(c, w, err);
	rc = rc < 0 ? rc : host_read(c, &w->host, err);
	rc = rc < 0 ? rc : json_param(c, "buildargs", JSON_OBJECT, "build args", &w->args, err);
	rc = rc < 0 ? rc : strings_check(&w->args, true, "build args", err);
	rc = rc < 0 ? rc : json_param(c, "labels", JSON_OBJECT, "labels", &w->labels, err);
	rc = rc < 0 ? rc : strings_check(&w->labels, false, "labels", err);
	rc = rc < 0 ? rc : cache_from_read(c, w, err);
	if (rc == 0 && platform.len) {
		rc = image_platform_parse(platform, &w->platform, err);
		p->platform = &w->platform;
	}
	return rc;
}

void engine_build(struct engine_call *c)
{
	struct building *w = arena_new(&c->arena, struct building);
	struct image_registry_params registry;
	w->c = c;
	c->state = w;
	if (params_read(c, w, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	auths_read(c, w);
	engine_registry_params(c->e->registry, &registry);
	w->p.args = &w->args;
	w->p.labels = &w->labels;
	w->p.host = &w->host;
	w->p.http_proxy = registry.http_proxy;
	w->p.https_proxy = registry.https_proxy;
	w->p.no_proxy = registry.no_proxy;
	w->p.fetch = fetch;
	w->p.line = line;
	w->p.say = say;
	w->p.made = made;
	w->p.arg = w;
	builder_stop_init(&w->stop);
	c->stream_over = build_over;
	c->stream_cancel = build_cancel;
	engine_stream_begin(c, w->p.remote.len ? 0 : ENGINE_IN, "application/json", build_run);
	if (!c->stream) /* it could not begin, and was answered */
		build_over(c);
}

/* Builds that were begun with that id (of which the client made it up). */
void engine_build_cancel(struct engine_call *c)
{
	struct span id = engine_param(c, "id");
	if (!id.len) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "build ID not provided");
		return;
	}
	LIST_EACH(&c->e->calls, x, struct engine_call, link)
		if (x->stream && x->route && x->route->handle == engine_build && span_eq(engine_param(x, "buildid"), id))
			build_cancel(x);
	engine_answer_empty(c, 204);
}

/* ---- POST /build/prune ---- */

static int oldest_first(const void *a, const void *b)
{
	const struct builder_cache *x = a, *y = b;
	return x->used_ns < y->used_ns ? -1 : x->used_ns > y->used_ns;
}

#define CACHE_TYPE "exec.cachemount"
#define CACHE_TOLD "RUN --mount=type=cache"

/* Cache mounts. Images are somebody's work, with a name or without: they go with `docker image prune`, as Docker has it. */
static int prune_run(struct engine_call *c, struct err *err)
{
	struct arena *a = &c->arena;
	struct engine_filters f;
	struct builder_cache *list;
	struct json deleted = json_array();
	size_t n;
	uint64_t total = 0, freed = 0;
	int64_t keep = 0, until_ns = INT64_MAX, now = clock_wall_ns(clock_real());
	int rc = engine_filters_of(c, "id,until,unused-for,type,description,inuse,shared,private,parent", &f, err);
	if (rc < 0)
		return err_note(err, "failed to prune build cache");
	/* What engine_build_cache_df says of each: what is in use is never taken, and nothing is shared or has a parent. */
	bool others = engine_filter_get(&f, "inuse") || engine_filter_get(&f, "shared") || engine_filter_get(&f, "parent") ||
		!engine_filter_exact(&f, "type", SPAN(CACHE_TYPE)) || !engine_filter_exact(&f, "description", SPAN(CACHE_TOLD));
	rc = engine_number(c, engine_has_param(c, "reserved-space") ? "reserved-space" : "keep-storage", 0, &keep, err);
	const struct engine_filter *until = rc < 0 ? NULL : engine_filter_get(&f, "until"),
		*ids = rc < 0 ? NULL : engine_filter_get(&f, "id");
	if (!until && rc == 0)
		until = engine_filter_get(&f, "unused-for");
	if (until && until->n)
		rc = engine_time_parse(until->values[0], now, &until_ns, err);
	rc = rc < 0 ? rc : builder_cache_list(c->e->builder, a, &list, &n, err);
	if (rc < 0)
		return rc;
	qsort(list, n, sizeof(*list), oldest_first);
	for (size_t i = 0; i < n; i++)
		total += list[i].bytes;
	for (size_t i = 0; i < n; i++) {
		if (others || list[i].in_use || list[i].used_ns > until_ns || (ids && !engine_filter_exact(&f, "id", list[i].id)))
			continue;
		if (keep > 0 && total - freed <= (uint64_t)keep)
			break;
		if (builder_cache_remove(c->e->builder, list[i].id, NULL) < 0)
			continue; /* a build took it meanwhile */
		freed += list[i].bytes;
		(void)json_push(a, &deleted, json_str(list[i].id));
	}
	c->out = json_object();
	(void)json_setl(a, &c->out, "CachesDeleted", deleted.n ? deleted : JSON_NULL_VALUE);
	(void)json_setl(a, &c->out, "SpaceReclaimed", json_int((int64_t)freed));
	return rc;
}

void engine_build_prune(struct engine_call *c)
{
	engine_work(c, prune_run, NULL);
}

int engine_build_cache_df(struct engine_call *c, struct json *out, struct err *err)
{
	struct arena *a = &c->arena;
	struct builder_cache *list;
	size_t n;
	int rc = builder_cache_list(c->e->builder, a, &list, &n, err);
	*out = json_array();
	for (size_t i = 0; i < n && rc == 0; i++) {
		struct json v = json_object();
		(void)json_setl(a, &v, "ID", json_str(list[i].id));
		(void)json_setl(a, &v, "Type", json_cstr(CACHE_TYPE));
		(void)json_setl(a, &v, "Description", json_cstr(CACHE_TOLD));
		(void)json_setl(a, &v, "InUse", json_bool(list[i].in_use));
		(void)json_setl(a, &v, "Shared", json_bool(false));
		(void)json_setl(a, &v, "Size", json_int((int64_t)list[i].bytes));
		(void)json_setl(a, &v, "CreatedAt", engine_time(a, list[i].used_ns));
		(void)json_setl(a, &v, "LastUsedAt", engine_time(a, list[i].used_ns));
		(void)json_setl(a, &v, "UsageCount", json_int(1));
		(void)json_push(a, out, v);
	}
	return rc;
}
