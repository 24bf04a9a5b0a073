/* Pushing: the layers and the configuration side by side unless the registry has them, then the manifest as it is
 * (distribution-spec, "Push"). */
#include <stdarg.h>

#include "image/net.h"

struct push {
	struct image_store *s;
	const struct image_push_params *params;
	struct net *n;
	const struct endpoint *ep;
	struct arena arena;
	char scope[300];
};

static int answer_error(const struct exchange *x, const char *what, struct err *err)
{
	if (x->status == 401 || x->status == 403)
		return err_set(err, ERR_FORBIDDEN, "denied: requested access to the resource is denied");
	int rc = image_net_answer_error(x, SPAN("the upload"), err);
	return err_note(err, "%s", what), rc;
}

static void request(struct push *p, struct exchange *x, const char *method, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void request(struct push *p, struct exchange *x, const char *method, const char *fmt, ...)
{
	image_exchange_init(x, p->n, p->ep, method);
	va_list ap;
	va_start(ap, fmt);
	x->target = arena_vprintf(&p->arena, fmt, ap);
	va_end(ap);
	x->scope = p->scope;
}

/* Another repository of this registry that an image of ours with this layer came from: the registry may take it from there. */
static struct span mount_source(struct push *p, const struct image_digest *d)
{
	struct record *records;
	struct named *names;
	size_t n = image_records_copy(p->s, &p->arena, &records), n_names = image_names_copy(p->s, &p->arena, &names);
	for (size_t i = 0; i < n_names; i++) {
		struct image_ref ref;
		if (image_ref_parse(span_of(names[i].text), &p->arena, &ref, NULL) < 0 || !ref.digest.len ||
		    !span_eq(ref.domain, p->params->ref.domain) || span_eq(ref.path, p->params->ref.path))
			continue;
		for (size_t k = 0; k < n; k++) {
			struct image_manifest m;
			auto_buf struct buf text = {};
			if (!image_digest_eq(&records[k].id, &names[i].id) ||
			    image_blob_read(p->s, &records[k].manifest, &text, MANIFEST_BYTES, NULL) < 0 ||
			    image_manifest_parse(buf_span(&text), SPAN_EMPTY, &p->arena, &m, NULL) < 0)
				continue;
			for (size_t l = 0; l < m.n; l++)
				if (image_digest_eq(&m.items[l].digest, d))
					return ref.path;
		}
	}
	return SPAN_EMPTY;
}

/* ---- one blob ----
 *
 *     ASK ─ HEAD ─ there ───────────────────────────────────────────────> DONE
 *      └ not there ─> BEGIN ─ POST ─ 201 mounted ───────────────────────> DONE
 *                       └ 202 ─> SEND ─ PATCH ─ 202 ─> CLOSE ─ PUT ─ 201 ─> DONE
 *                                 ^        └ cut off, 5xx: wait ─> STAND ─ GET ─┐
 *                                 └──────────── 204, Range: 0-N ────────────────┘ 404: BEGIN again
 *
 * A step's request is begun by step_begin and its answer taken by step_end; in between the loop turns for all of them. */

enum step { ASK, BEGIN, SEND, STAND, CLOSE, DONE };

struct upload {
	const struct image_digest *d;
	const struct upload *twin; /* an earlier layer of the same blob */
	struct span id;            /* for progress; empty for the configuration */
	struct span from;          /* a repository to mount from */
	struct span location;      /* absolute; in p->arena */
	enum step step;
	struct exchange x;
	bool running, challenged;
	int fd;
	uint64_t size, from_byte, sent, reported;
	unsigned failures;
	int64_t not_before_ms;
};

static void upload_report(struct push *p, const struct upload *u, const char *status)
{
	if (u->id.len)
		image_report(p->params->reporter, u->id, 0, 0, "%s", status);
}

static struct span absolute(struct push *p, struct span location)
{
	return arena_printf(&p->arena, "%s%.*s", location.ptr[0] == '/' ? p->ep->shown : "", SPAN_ARG(location));
}

static int step_begin(struct push *p, struct upload *u, struct err *err)
{
	struct exchange *x = &u->x;
	const struct image_ref *ref = &p->params->ref;
	int rc = 0;
	switch (u->step) {
	case ASK:
		request(p, x, "HEAD", "/v2/%.*s/blobs/%s", SPAN_ARG(ref->path), u->d->text);
		break;
	case BEGIN:
		if (u->from.len)
			request(p, x, "POST", "/v2/%.*s/blobs/uploads/?mount=%s&from=%.*s", SPAN_ARG(ref->path), u->d->text,
				SPAN_ARG(u->from));
		else
			request(p, x, "POST", "/v2/%.*s/blobs/uploads/", SPAN_ARG(ref->path));
		break;
	case STAND:
		request(p, x, "GET", "/");
		x->url = u->location;
		break;
	case SEND:
		if (u->fd < 0 && (rc = image_blob_open(p->s, u->d, &u->fd, &u->size, err)) < 0)
			return rc;
		request(p, x, "PATCH", "/");
		x->url = u->location;
		x->content_type = "application/octet-stream";
		x->body_fd = u->fd;
		x->body_size = u->size;
		x->body_from = u->from_byte;
		x->sent = &u->sent;
		break;
	case CLOSE:
		request(p, x, "PUT", "/");
		x->url = arena_printf(&p->arena, "%.*s%cdigest=%s", SPAN_ARG(u->location), span_chr(u->location, '?') < 0 ? '?' : '&',
			u->d->text);
		break;
	case DONE:
		return 0;
	}
	u->running = true;
	image_exchange_begin(x);
	return 0;
}

/* "0-N": N + 1 bytes are there. */
static bool stand_parse(struct span range, uint64_t size, uint64_t *out)
{
	struct span from, to;
	uint64_t n;
	if (span_starts(range, SPAN("bytes=")))
		range = span_from(range, 6);
	if (!span_split(range, '-', &from, &to) || !span_is(from, "0") || !span_to_u64(to, &n) || n >= size)
		return false;
	*out = n ? n + 1 : 0; /* registries say "0-0" for nothing as well: that one byte is sent again */
	return true;
}

/* What fails now and may go well later: waits, and asks where it stands. Else *why becomes the result. */
static int step_failed(struct push *p, struct upload *u, struct err *why, struct err *err)
{
	bool progress = u->sent > u->from_byte + 65536;
	if (!err_may_retry(why->class) || ++u->failures > (progress ? 4 : 1) * image_net_retries(p->n))
		return err_move(err, why);
	int64_t wait_ms = why->retry_ms ? MIN(why->retry_ms, 30000) : u->failures < 6 ? 100 << u->failures : 5000;
	u->not_before_ms = loop_now_ms(image_net_loop(p->n)) + wait_ms;
	u->challenged = false;
	if (u->step == SEND || u->step == CLOSE)
		u->step = STAND;
	char text[80];
	snprintf(text, sizeof(text), "Retrying in %lld second", (long long)(wait_ms + 999) / 1000);
	upload_report(p, u, text);
	return 0;
}

/* The answer of a step. 1: taken; 0: it is none of those that the step knows. */
static int step_answer(struct push *p, struct upload *u, const struct exchange *x)
{
	switch (u->step) {
	case ASK:
		if (x->status != 200 && x->status != 404)
			return 0;
		if (x->status == 200)
			upload_report(p, u, "Layer already exists");
		else if (u->id.len)
			u->from = mount_source(p, u->d);
		u->step = x->status == 200 ? DONE : BEGIN;
		return 1;
	case BEGIN:
		if (x->status == 201 && u->from.len) {
			image_report(p->params->reporter, u->id, 0, 0, "Mounted from %.*s", SPAN_ARG(u->from));
			u->step = DONE;
			return 1;
		}
		if (x->status == 202 && x->location.len) {
			u->location = absolute(p, x->location);
			u->from_byte = u->sent = 0;
			u->step = SEND;
			return 1;
		}
		if (!u->from.len || x->status == 429 || x->status >= 500)
			return 0;
		u->from = SPAN_EMPTY; /* no right to read there: an upload of our own */
		return 1;
	case STAND:
		if (x->status == 404 || x->status == 400) { /* it is forgotten */
			u->step = BEGIN;
			u->from = SPAN_EMPTY;
			return 1;
		}
		if (x->status != 204 && x->status != 202 && x->status != 200)
			return 0;
		if (x->location.len)
			u->location = absolute(p, x->location);
		if (!stand_parse(x->range, u->size, &u->from_byte)) {
			u->step = BEGIN; /* it does not say: from the beginning */
			return 1;
		}
		u->sent = u->from_byte;
		u->step = u->from_byte == u->size && u->size ? CLOSE : SEND;
		return 1;
	case SEND:
		if (x->status == 416 || x->status == 404) { /* it stands elsewhere than it said */
			u->step = BEGIN;
			u->failures++;
			return u->failures <= image_net_retries(p->n);
		}
		if (x->status != 202 && x->status != 204)
			return 0;
		if (x->location.len)
			u->location = absolute(p, x->location);
		u->step = CLOSE;
		return 1;
	case CLOSE:
		if (x->status != 201 && x->status != 204)
			return 0;
		upload_report(p, u, "Pushed");
		u->step = DONE;
		return 1;
	case DONE:
		break;
	}
	return 0;
}

static int step_end(struct push *p, struct upload *u, struct err *err)
{
	static const char *const doing[] = { "asking for a blob", "beginning an upload", "uploading", "resuming an upload",
		"completing an upload", "" };
	struct exchange *x = &u->x;
	auto_err struct err why = ERR_INIT;
	int rc = 0;
	u->running = false;
	if (!x->why.class && x->status == 401 && x->challenge.len && !u->challenged) {
		u->challenged = true;
		rc = image_net_authorize(p->n, p->scope, x->challenge, err);
		if (u->step == SEND)
			u->step = STAND; /* how much it took of what we sent meanwhile, it knows */
	} else if (!x->why.class && step_answer(p, u, x)) {
		u->challenged = false;
	} else {
		if (x->why.class)
			(void)err_set(&why, x->why.class, "%s %s: %s", doing[u->step], u->d->text, err_msg(&x->why));
		else
			(void)answer_error(x, doing[u->step], &why);
		rc = step_failed(p, u, &why, err);
	}
	image_exchange_done(x);
	return rc;
}

static int uploads_run(struct push *p, struct upload *list, size_t n, struct err *err)
{
	int rc = 0;
	for (size_t done = 0; rc == 0 && done < n;) {
		unsigned running = 0;
		int64_t now = loop_now_ms(image_net_loop(p->n));
		done = 0;
		for (size_t i = 0; rc == 0 && i < n; i++) {
			struct upload *u = &list[i];
			if (u->running && !u->x.running)
				rc = step_end(p, u, err);
			if (u->twin && u->step != DONE && u->twin->step == DONE) {
				upload_report(p, u, "Layer already exists");
				u->step = DONE;
			}
			if (u->running && u->id.len && u->step == SEND && u->sent - MIN(u->sent, u->reported) >= 512 * 1024) {
				u->reported = u->sent;
				image_report(p->params->reporter, u->id, u->sent, u->size, "Pushing");
			}
			running += u->running;
			done += u->step == DONE;
		}
		for (size_t i = 0; rc == 0 && i < n && running < image_net_parallel(p->n, 5); i++) {
			struct upload *u = &list[i];
			if (u->running || u->step == DONE || u->twin || u->not_before_ms > now)
				continue;
			rc = step_begin(p, u, err);
			running++;
		}
		if (rc == 0 && done < n)
			rc = image_net_turn(p->n, err);
	}
	for (size_t i = 0; i < n; i++) {
		if (list[i].running)
			image_exchange_done(&list[i].x);
		fd_close(&list[i].fd);
	}
	return rc;
}

static int push_all(struct push *p, struct span text, const struct image_manifest *m,
	const struct image_digest *manifest, struct err *err)
{
	const struct image_ref *ref = &p->params->ref;
	struct upload *list = arena_alloc_n(&p->arena, m->n + 1, sizeof(*list));
	for (size_t i = 0; i <= m->n; i++) { /* the configuration goes with the layers, and is not shown */
		list[i] = (struct upload){ .d = i < m->n ? &m->items[i].digest : &m->config.digest, .fd = -1 };
		if (i < m->n)
			list[i].id = arena_span(&p->arena, image_short_id(list[i].d));
		for (size_t k = 0; k < i && !list[i].twin; k++)
			list[i].twin = image_digest_eq(list[k].d, list[i].d) ? &list[k] : NULL;
		upload_report(p, &list[i], "Preparing");
	}
	int rc = uploads_run(p, list, m->n + 1, err);
	if (rc < 0)
		return rc;
	struct exchange x;
	request(p, &x, "PUT", "/v2/%.*s/manifests/%.*s", SPAN_ARG(ref->path), SPAN_ARG(ref->tag));
	x.body = text;
	x.content_type = arena_cstr(&p->arena, m->media_type.len ? m->media_type : span_of(IMAGE_TYPE_OCI_MANIFEST));
	rc = image_exchange_run(&x, err);
	if (rc == 0 && x.status != 201)
		rc = answer_error(&x, "pushing the manifest", err);
	if (rc == 0 && x.digest.len && !span_is(x.digest, manifest->text))
		rc = err_set(err, ERR_UPSTREAM, "the registry stored %.*s, not %s", SPAN_ARG(x.digest), manifest->text);
	image_exchange_done(&x);
	if (rc == 0)
		image_report(p->params->reporter, SPAN_EMPTY, 0, 0, "%.*s: digest: %s size: %zu", SPAN_ARG(ref->tag),
			manifest->text, text.len);
	return rc;
}

/* Does the repository have a name here, with whatever tag? */
static bool name_known(struct push *p)
{
	struct named *all;
	size_t n = image_names_copy(p->s, &p->arena, &all);
	for (size_t i = 0; i < n; i++) {
		struct image_ref one;
		if (image_ref_parse(span_of(all[i].text), &p->arena, &one, NULL) == 0 && span_eq(one.domain, p->params->ref.domain) &&
		    span_eq(one.path, p->params->ref.path))
			return true;
	}
	return false;
}

int image_push(struct image_store *s, const struct image_push_params *params, struct image_digest *out_manifest, struct err *err)
{
	struct push p = { .s = s, .params = params };
	const struct image_ref *ref = &params->ref;
	struct operation op;
	struct image_digest id, target, manifest;
	struct image_manifest m;
	struct image_info info;
	struct image_config config;
	auto_buf struct buf text = {};
	assert(ref->tag.len);
	image_operation_begin(s, &op);
	int rc = 0;
	if (!image_name_get(s, image_ref_text(ref, &p.arena), &id, &target)) {
		struct span name = image_ref_familiar_name(ref, &p.arena);
		rc = name_known(&p) ? err_set(err, ERR_NOT_FOUND, "tag does not exist: %.*s", SPAN_ARG(image_ref_familiar(ref, &p.arena)))
				    : err_set(err, ERR_NOT_FOUND, "An image does not exist locally with the tag: %.*s", SPAN_ARG(name));
	}
	if (rc == 0)
		rc = image_inspect(s, &id, &p.arena, &info, &config, &m, err);
	if (rc == 0) {
		manifest = info.manifest;
		rc = image_blob_read(s, &manifest, &text, MANIFEST_BYTES, err);
	}
	snprintf(p.scope, sizeof(p.scope), "repository:%.*s:pull,push", SPAN_ARG(ref->path));
	if (rc == 0)
		rc = image_net_open(params->registry, params->reporter, ref, &p.n, err);
	struct endpoint *endpoints;
	if (rc == 0) {
		struct span name = image_ref_name(ref, &p.arena);
		image_report(params->reporter, SPAN_EMPTY, 0, 0, "The push refers to repository [%.*s]", SPAN_ARG(name));
		p.ep = NULL;
		size_t n = image_net_endpoints(p.n, &endpoints);
		p.ep = &endpoints[n - 1]; /* mirrors are for pulling */
		rc = image_net_ping(p.n, &endpoints[n - 1], err);
	}
	if (rc == 0)
		rc = push_all(&p, buf_span(&text), &m, &manifest, err);
	if (rc == 0) {
		struct image_ref by_digest = *ref;
		by_digest.tag = SPAN_EMPTY;
		by_digest.digest = image_digest_span(&manifest);
		rc = image_name_put(s, image_ref_text(&by_digest, &p.arena), &id, &manifest, err);
	}
	if (rc == 0 && out_manifest)
		*out_manifest = manifest;
	image_net_close(p.n);
	image_operation_end(s, &op);
	arena_done(&p.arena);
	return rc;
}
