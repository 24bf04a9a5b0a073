/* Pushing: each layer and the configuration unless the registry has it, then the manifest as it is (distribution-spec, "Push"). */
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

static int exists(struct push *p, const struct image_digest *d, bool *out_there, struct err *err)
{
	struct exchange x;
	request(p, &x, "HEAD", "/v2/%.*s/blobs/%s", SPAN_ARG(p->params->ref.path), d->text);
	int rc = image_exchange_run(&x, err);
	if (rc == 0 && x.status != 200 && x.status != 404)
		rc = answer_error(&x, "asking for a blob", err);
	if (rc == 0)
		*out_there = x.status == 200;
	image_exchange_done(&x);
	return rc;
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

static int upload(struct push *p, const struct image_digest *d, struct span id, bool layer, struct err *err)
{
	struct exchange x;
	auto_fd int fd = -1;
	uint64_t size, sent = 0, reported = 0;
	bool there = false;
	int rc = exists(p, d, &there, err);
	if (rc < 0)
		return rc;
	if (there) {
		if (layer)
			image_report(p->params->reporter, id, 0, 0, "Layer already exists");
		return 0;
	}
	if ((rc = image_blob_open(p->s, d, &fd, &size, err)) < 0)
		return rc;
	struct span from = layer ? mount_source(p, d) : SPAN_EMPTY;
	if (from.len)
		request(p, &x, "POST", "/v2/%.*s/blobs/uploads/?mount=%s&from=%.*s", SPAN_ARG(p->params->ref.path), d->text,
			SPAN_ARG(from));
	else
		request(p, &x, "POST", "/v2/%.*s/blobs/uploads/", SPAN_ARG(p->params->ref.path));
	rc = image_exchange_run(&x, err);
	if (rc == 0 && from.len && x.status != 201 && x.status != 202) { /* no right to read there: an upload of our own */
		image_exchange_done(&x);
		request(p, &x, "POST", "/v2/%.*s/blobs/uploads/", SPAN_ARG(p->params->ref.path));
		rc = image_exchange_run(&x, err);
	}
	if (rc == 0 && x.status == 201) {
		image_report(p->params->reporter, id, 0, 0, "Mounted from %.*s", SPAN_ARG(from));
		image_exchange_done(&x);
		return 0;
	}
	if (rc == 0 && (x.status != 202 || !x.location.len))
		rc = answer_error(&x, "beginning an upload", err);
	struct span where = rc == 0 ? arena_printf(&p->arena, "%s%.*s%cdigest=%s", x.location.ptr[0] == '/' ? p->ep->shown : "",
					SPAN_ARG(x.location), span_chr(x.location, '?') < 0 ? '?' : '&', d->text)
				    : SPAN_EMPTY;
	image_exchange_done(&x);
	if (rc < 0)
		return rc;
	request(p, &x, "PUT", "/");
	x.url = where;
	x.content_type = "application/octet-stream";
	x.body_fd = fd;
	x.body_size = size;
	x.sent = &sent;
	image_exchange_begin(&x);
	while (x.running && rc == 0) {
		rc = image_net_turn(p->n, err);
		if (layer && sent - reported >= 512 * 1024) {
			reported = sent;
			image_report(p->params->reporter, id, sent, size, "Pushing");
		}
	}
	if (rc == 0 && x.why.class)
		rc = err_set(err, x.why.class, "uploading %s: %s", d->text, err_msg(&x.why));
	else if (rc == 0 && x.status != 201 && x.status != 204)
		rc = answer_error(&x, "uploading", err);
	image_exchange_done(&x);
	if (rc == 0 && layer)
		image_report(p->params->reporter, id, 0, 0, "Pushed");
	return rc;
}

static int push_all(struct push *p, struct span text, const struct image_manifest *m,
	const struct image_digest *manifest, struct err *err)
{
	const struct image_ref *ref = &p->params->ref;
	int rc = 0;
	for (size_t i = 0; i < m->n; i++)
		image_report(p->params->reporter, image_short_id(&m->items[i].digest), 0, 0, "Preparing");
	for (size_t i = 0; rc == 0 && i < m->n; i++)
		rc = upload(p, &m->items[i].digest, image_short_id(&m->items[i].digest), true, err);
	if (rc == 0)
		rc = upload(p, &m->config.digest, SPAN_EMPTY, false, err);
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
		struct span name = image_ref_name(ref, &p.arena);
		rc = err_set(err, ERR_NOT_FOUND, "An image does not exist locally with the tag: %.*s", SPAN_ARG(name));
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
