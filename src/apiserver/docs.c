#include "apiserver/docs.h"

#include "apiserver/discovery.h"
#include "custom/custom.h"
#include "openapi/openapi.h"

#include <time.h>

#define JOBS_MAX 256

/* One document in one form. */
struct doc {
	struct bytes *gzip; /* shared; NULL: not made yet */
};

/* Everything of one generation. */
struct docset {
	_Atomic uint32_t refs;
	uint64_t generation;
	struct api_registry *registry; /* a reference */
	pthread_mutex_t building;      /* one thread at a time makes what is missing; never taken by a loop thread */
	pthread_mutex_t lock;          /* of what follows, for moments */
	struct bytes *discovery[2][2]; /* [core][v2]; shared */
	char discovery_etag[2][2][DOCS_DISCOVERY_ETAG];
	struct openapi *openapi;       /* the building thread's */
	bool counted;                  /* paths and etags are there */
	unsigned n;
	struct span *paths;            /* of the documents of v3, owned by the arena */
	struct arena arena;
	char (*etags)[OPENAPI_ETAG_LEN + 1]; /* of the documents of v3 */
	struct doc (*v3)[2], v2[2], index;   /* [form] */
	char v2_etag[OPENAPI_ETAG_LEN + 1], index_etag[OPENAPI_ETAG_LEN + 1];
};

struct docs {
	pthread_mutex_t lock;
	struct docset *now; /* a reference; NULL: none yet */
	struct loop_pool *pool;
};

/* ---- sets */

static struct docset *set_new(struct api_registry *registry)
{
	struct docset *s = mem_new(struct docset);
	atomic_store(&s->refs, 1);
	s->generation = api_registry_generation(registry);
	s->registry = api_registry_ref(registry);
	int failed = pthread_mutex_init(&s->building, NULL) || pthread_mutex_init(&s->lock, NULL);
	assert(!failed);
	return s;
}

static void set_unref(struct docset *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < 4; i++)
		bytes_unref(s->discovery[i / 2][i % 2]);
	for (unsigned i = 0; i < s->n * 2; i++)
		bytes_unref(s->v3[i / 2][i % 2].gzip);
	bytes_unref(s->v2[0].gzip);
	bytes_unref(s->v2[1].gzip);
	bytes_unref(s->index.gzip);
	openapi_free(s->openapi);
	api_registry_unref(s->registry);
	pthread_mutex_destroy(&s->building);
	pthread_mutex_destroy(&s->lock);
	arena_done(&s->arena);
	free(s->etags);
	free(s->v3);
	free(s);
}

/* The set of the call's registry, or of a newer one. A reference. */
static struct docset *set_get(struct call *c)
{
	struct docs *d = c->server->docs;
	struct docset *old = NULL;
	pthread_mutex_lock(&d->lock);
	if (!d->now || d->now->generation < api_registry_generation(c->registry)) {
		old = d->now;
		d->now = set_new(c->registry);
	}
	struct docset *s = d->now;
	atomic_fetch_add(&s->refs, 1);
	pthread_mutex_unlock(&d->lock);
	set_unref(old);
	return s;
}

/* ---- discovery */

struct bytes *docs_discovery(struct call *c, bool core, bool v2, char out_etag[DOCS_DISCOVERY_ETAG])
{
	struct docset *s = set_get(c);
	pthread_mutex_lock(&s->lock);
	if (!s->discovery[core][v2]) {
		auto_buf struct buf b = {}, tag = {};
		uint8_t sum[32];
		discovery_aggregated(&b, s->registry, core, v2 ? SPAN("v2") : SPAN("v2beta1"));
		tls_sha256(buf_span(&b), sum);
		buf_chr(&tag, '"');
		hex_add(&tag, sum, sizeof(sum));
		buf_chr(&tag, '"');
		memcpy(s->discovery_etag[core][v2], buf_cstr(&tag), tag.len + 1);
		s->discovery[core][v2] = bytes_of(buf_span(&b)); /* of the right size, unlike the buf's */
	}
	struct bytes *b = bytes_ref(s->discovery[core][v2]);
	memcpy(out_etag, s->discovery_etag[core][v2], DOCS_DISCOVERY_ETAG);
	pthread_mutex_unlock(&s->lock);
	set_unref(s);
	return b;
}

/* ---- OpenAPI: making */

enum which { DOC_V2, DOC_INDEX, DOC_V3 };

struct job {
	struct loop_work work;
	struct call *c;
	struct docset *set;
	enum which which;
	enum openapi_form form;
	struct span path; /* of v3 */
	bool plain;       /* the client takes no gzip */
	/* out */
	bool found;
	struct bytes *body; /* a reference */
	const char *etag;   /* the set's */
};

static struct bytes *gzip_of(const struct buf *b)
{
	const struct http_piece piece = http_copy(buf_span(b));
	return http_gzip(&piece, 1, 6);
}

/* Every document of v3 as JSON, once: their hashes are in the index and in their ETags. */
static void count(struct docset *s)
{
	struct openapi *o = s->openapi;
	unsigned n = openapi_v3_count(o);
	char(*etags)[OPENAPI_ETAG_LEN + 1] = mem_realloc_n(NULL, n + 1, sizeof(*etags));
	struct doc(*v3)[2] = mem_zalloc((n + 1) * sizeof(*v3));
	auto_free struct span *tags = mem_realloc_n(NULL, n + 1, sizeof(*tags));
	auto_buf struct buf b = {}, index = {};
	struct span *paths = arena_alloc_n(&s->arena, n, sizeof(*paths));
	for (unsigned i = 0; i < n; i++) {
		paths[i] = arena_span(&s->arena, openapi_v3_path(o, i));
		buf_trunc(&b, 0);
		bool there = openapi_v3(o, openapi_v3_path(o, i), OPENAPI_JSON, &b);
		assert(there);
		openapi_etag(buf_span(&b), etags[i]);
		tags[i] = span_make(etags[i], OPENAPI_ETAG_LEN);
		v3[i][OPENAPI_JSON].gzip = gzip_of(&b);
	}
	openapi_v3_index_of(o, tags, &index);
	struct bytes *gz = gzip_of(&index);
	pthread_mutex_lock(&s->lock);
	s->n = n;
	s->paths = paths;
	s->etags = etags;
	s->v3 = v3;
	openapi_etag(buf_span(&index), s->index_etag);
	s->index.gzip = gz;
	s->counted = true;
	pthread_mutex_unlock(&s->lock);
}

static void doc_put(struct docset *s, struct doc *d, const struct buf *text)
{
	struct bytes *gz = gzip_of(text);
	pthread_mutex_lock(&s->lock);
	bytes_unref(d->gzip);
	d->gzip = gz;
	pthread_mutex_unlock(&s->lock);
}

static unsigned v3_place(const struct docset *s, struct span path)
{
	unsigned i = 0;
	while (i < s->n && !span_eq(s->paths[i], path))
		i++;
	return i;
}

/* What is there already; under the set's lock. False: must be made. found: the path is a document. */
static bool ready(struct docset *s, struct job *j)
{
	struct doc *d = NULL;
	if (j->which == DOC_V2) {
		d = &s->v2[j->form];
		j->etag = s->v2_etag;
	} else if (!s->counted) {
		return false;
	} else if (j->which == DOC_INDEX) {
		d = &s->index;
		j->etag = s->index_etag;
	} else {
		unsigned i = v3_place(s, j->path);
		if (i == s->n) {
			j->found = false;
			return true;
		}
		d = &s->v3[i][j->form];
		j->etag = s->etags[i];
	}
	j->found = true;
	if (!d->gzip)
		return false;
	j->body = bytes_ref(d->gzip);
	return true;
}

static void make(struct job *j)
{
	struct docset *s = j->set;
	auto_buf struct buf b = {};
	if (!s->openapi)
		s->openapi = openapi_new(s->registry, &(const struct openapi_opts){ .custom = custom_openapi });
	if (j->which != DOC_V2 && !s->counted)
		count(s);
	if (j->which == DOC_V2) {
		if (!s->v2_etag[0]) {
			openapi_v2(s->openapi, OPENAPI_JSON, &b);
			pthread_mutex_lock(&s->lock);
			openapi_etag(buf_span(&b), s->v2_etag);
			pthread_mutex_unlock(&s->lock);
		}
		if (j->form == OPENAPI_PROTO || !b.len) {
			buf_trunc(&b, 0);
			openapi_v2(s->openapi, j->form, &b);
		}
		if (!s->v2[j->form].gzip)
			doc_put(s, &s->v2[j->form], &b);
	} else if (j->which == DOC_V3) {
		unsigned i = v3_place(s, j->path);
		if (i < s->n && (j->plain || !s->v3[i][j->form].gzip))
			(void)openapi_v3(s->openapi, j->path, j->form, &b);
		if (b.len && !s->v3[i][j->form].gzip)
			doc_put(s, &s->v3[i][j->form], &b);
	} else if (j->plain) {
		auto_free struct span *tags = mem_realloc_n(NULL, s->n + 1, sizeof(*tags));
		for (unsigned i = 0; i < s->n; i++)
			tags[i] = span_make(s->etags[i], OPENAPI_ETAG_LEN);
		openapi_v3_index_of(s->openapi, tags, &b);
	}
	pthread_mutex_lock(&s->lock);
	bool there = ready(s, j);
	pthread_mutex_unlock(&s->lock);
	assert(there);
	if (j->plain && j->found) {
		bytes_unref(j->body);
		j->body = bytes_of(buf_span(&b));
	}
}

static void job_run(struct loop_work *w)
{
	struct job *j = container_of(w, struct job, work);
	pthread_mutex_lock(&j->set->building);
	/* Whoever waited in front may have made it. */
	pthread_mutex_lock(&j->set->lock);
	bool there = !j->plain && ready(j->set, j);
	pthread_mutex_unlock(&j->set->lock);
	if (!there)
		make(j);
	pthread_mutex_unlock(&j->set->building);
}

/* ---- OpenAPI: answering */

static const char *const types[3][2] = {
	[DOC_V2] = { "application/json", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf" },
	[DOC_INDEX] = { "application/json", "application/json" },
	[DOC_V3] = { "application/json", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf" },
};

static void year_ahead(struct call *c)
{
	char text[64];
	struct tm tm;
	time_t then = (time_t)(clock_wall_ns(c->server->clock) / NS_PER_S) + 365 * 86400;
	size_t n = strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&then, &tm));
	http_reply_header(c->http, "expires", span_make(text, n));
}

/* True when the client holds a link to an older (or made-up) document: it is sent to the one there is. */
static bool moved(struct call *c, const struct job *j)
{
	struct span hash = call_param(c, "hash");
	if (j->which != DOC_V3 || !hash.len)
		return false;
	if (span_is(hash, j->etag)) {
		c->cache_control = "public, immutable";
		year_ahead(c);
		return false;
	}
	auto_buf struct buf to = {}, body = {};
	buf_printf(&to, "/openapi/v3/%.*s?hash=%s", SPAN_ARG(j->path), j->etag);
	http_reply_header(c->http, "location", buf_span(&to));
	buf_printf(&body, "<a href=\"%s\">Moved Permanently</a>.\n\n", buf_cstr(&to));
	call_answer(c, 301, "text/html; charset=utf-8", &body);
	return true;
}

static void answer(struct job *j)
{
	struct call *c = j->c;
	auto_buf struct buf tag = {}, none = {};
	if (!j->found) {
		call_answer(c, 404, "text/plain; charset=utf-8", &none);
		return;
	}
	if (moved(c, j))
		return;
	buf_printf(&tag, "\"%s\"", j->etag);
	http_reply_header(c->http, "vary", j->plain ? SPAN("Accept") : SPAN("Accept, Accept-Encoding"));
	if (http_reply_not_modified(c->http, buf_span(&tag))) {
		call_answered(c, 304);
		return;
	}
	if (!j->plain)
		http_reply_header(c->http, "content-encoding", SPAN("gzip"));
	struct bytes *body = j->body;
	j->body = NULL;
	call_answer_piece(c, 200, types[j->which][j->form], http_bytes(body));
}

static void job_end(void *arg)
{
	struct job *j = arg;
	bytes_unref(j->body);
	set_unref(j->set);
}

static void job_done(struct loop_work *w)
{
	struct job *j = container_of(w, struct job, work);
	struct call *c = j->c;
	c->pending--;
	if (c->http && !c->answered)
		answer(j);
	else
		call_release(c);
}

static bool form_of(struct call *c, enum which which, enum openapi_form *out)
{
	static const char *const proto[3][2] = {
		[DOC_V2] = { "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
			     "application/com.github.proto-openapi.spec.v2.v1.0+protobuf" },
		[DOC_V3] = { "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
			     "application/com.github.proto-openapi.spec.v3.v1.0+protobuf" },
	};
	struct span rest = http_req_header_all(c->http, "accept"), clause;
	int best = 0;
	*out = OPENAPI_JSON;
	if (which == DOC_INDEX || !span_trim(rest).len)
		return true;
	while (span_cut(&rest, ',', &clause)) {
		struct span type = media_type(clause);
		int q = accept_quality(clause);
		bool json = span_eq_nocase(type, SPAN("application/json")) || span_is(type, "*/*") ||
			    span_is(type, "application/*");
		bool binary = span_eq_nocase(type, span_of(proto[which][0])) || span_eq_nocase(type, span_of(proto[which][1]));
		if (q > best && (json || binary)) {
			best = q;
			*out = json ? OPENAPI_JSON : OPENAPI_PROTO;
		}
	}
	return best > 0;
}

void docs_openapi(struct call *c, const struct span *seg, size_t n)
{
	enum which which = n == 2 && span_is(seg[1], "v2") ? DOC_V2 : n == 2 ? DOC_INDEX : DOC_V3;
	auto_buf struct buf none = {}, path = {};
	struct job *j = arena_new(&c->arena, struct job);
	if (n < 2 || !(span_is(seg[1], "v3") || which == DOC_V2)) {
		buf_str(&none, "404 page not found\n");
		call_answer(c, 404, "text/plain; charset=utf-8", &none);
		return;
	}
	if (!form_of(c, which, &j->form)) {
		call_answer(c, 406, "text/plain; charset=utf-8", &none);
		return;
	}
	for (size_t i = 2; i < n; i++)
		buf_printf(&path, "%s%.*s", i > 2 ? "/" : "", SPAN_ARG(seg[i]));
	j->c = c;
	j->which = which;
	j->path = arena_span(&c->arena, buf_span(&path));
	j->plain = !http_req_accepts_gzip(c->http);
	j->set = set_get(c);
	arena_defer(&c->arena, job_end, j);
	pthread_mutex_lock(&j->set->lock);
	bool there = ready(j->set, j) && (!j->plain || !j->found);
	pthread_mutex_unlock(&j->set->lock);
	if (there) {
		answer(j);
		return;
	}
	bytes_unref(j->body); /* compressed, and plain is wanted */
	j->body = NULL;
	c->pending++;
	if (loop_work_submit(c->server->docs->pool, c->w->loop, &j->work, "openapi", job_run, job_done) < 0) {
		c->pending--;
		err_set(&c->err, ERR_TOO_MANY, "Too many requests, please try again later.");
		c->err.retry_ms = 1000;
		call_fail(c);
	}
}

/* ---- life */

int docs_new(struct docs **out_docs, struct err *err)
{
	struct docs *d = mem_new(struct docs);
	int failed = pthread_mutex_init(&d->lock, NULL);
	assert(!failed);
	int rc = loop_pool_new(1, JOBS_MAX, &d->pool, err);
	if (rc < 0) {
		pthread_mutex_destroy(&d->lock);
		free(d);
		return rc;
	}
	*out_docs = d;
	return 0;
}

void docs_stop(struct docs *d)
{
	if (!d)
		return;
	loop_pool_free(d->pool);
	d->pool = NULL;
}

void docs_free(struct docs *d)
{
	if (!d)
		return;
	docs_stop(d);
	set_unref(d->now);
	pthread_mutex_destroy(&d->lock);
	free(d);
}
