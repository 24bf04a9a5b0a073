/* Pulling.
 *
 *     calling thread, its loop:   manifest ─ config ─ layer downloads (3 at once) ── bytes into ingest/HEX, hashed
 *                                                                                        │ pread, as far as it is written
 *     one or two threads, each    layers in order:   inflate ────────────────────────────┘
 *     with one ahead (relay.c):                         └─ hash ─ unpack ─ wait for digest and parent ─ commit
 *
 * The file in ingest/ is the queue between the two: a slow disk never stops the network, a resumed download is
 * unpacked from its first byte, and a thread that fails leaves the other undisturbed. What was unpacked becomes a layer only when
 * the whole blob has its digest, the decompressed stream its own, and the layer below is there. */
#include "image/net.h"

enum layer_state { WAITING, RUNNING, PUBLISHED };

struct pull_layer {
	const struct image_descriptor *d;
	const struct image_digest *diff;
	char chain[65];
	/* the loop's thread */
	enum layer_state state;
	struct image_ingest *ingest;
	struct exchange x;
	struct span url;      /* where it was redirected to */
	unsigned failures, redirects;
	bool challenged;
	int64_t not_before_ms;
	uint64_t reported;
	const struct pull_layer *twin; /* an earlier layer of the same blob: it is downloaded there */
	struct pull *p;
	/* shared, with pull.mutex */
	int fd;               /* the file, for the unpacking thread; -1 = not yet */
	uint64_t there;       /* bytes written */
	uint64_t wanted;      /* the unpacking thread sleeps until so many are there; 0 = it does not */
	bool published;       /* blob complete and verified */
	bool unpacked;        /* committed, or there before */
};

struct pull {
	struct image_store *s;
	const struct image_pull_params *params;
	struct net *n;
	const struct endpoint *ep;
	struct span shown;
	struct arena arena;
	struct operation op;
	char scope[300];
	struct pull_layer *layers;
	size_t n_layers;
	pthread_mutex_t mutex, report_mutex;
	pthread_cond_t changed;
	size_t next_unpack;
	bool failed;
	struct err why;       /* the first failure */
};

static void report(struct pull *p, struct span id, uint64_t current, uint64_t total, const char *status)
{
	pthread_mutex_lock(&p->report_mutex);
	image_report(p->params->reporter, id, current, total, "%s", status);
	pthread_mutex_unlock(&p->report_mutex);
}

static void fail(struct pull *p, struct err *why)
{
	pthread_mutex_lock(&p->mutex);
	if (!p->failed)
		(void)err_move(&p->why, why);
	p->failed = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->mutex);
}

/* ---- unpacking threads ---- */

struct tail_source { /* the file as far as it has come */
	struct tar_source source;
	struct pull_layer *l;
	uint64_t at, reported;
	char *buf;
	bool stopped; /* with pull.mutex: nobody wants more */
};

static int tail_pull(struct tar_source *source, struct span *out_piece, struct err *err)
{
	struct tail_source *t = container_of(source, struct tail_source, source);
	struct pull_layer *l = t->l;
	struct pull *p = l->p;
	/* Half a piece at least, where so much is to come: waking for each packet costs more than the packet. */
	uint64_t wanted = MAX(t->at + 1, MIN(t->at + TAR_PIECE_BYTES / 2, l->d->size));
	pthread_mutex_lock(&p->mutex);
	while (!p->failed && !t->stopped && l->there < wanted && !l->published && t->at != l->d->size) {
		l->wanted = wanted;
		pthread_cond_wait(&p->changed, &p->mutex);
	}
	l->wanted = 0;
	bool failed = p->failed || t->stopped;
	uint64_t there = l->there;
	int fd = l->fd;
	pthread_mutex_unlock(&p->mutex);
	if (failed)
		return err_set(err, ERR_CANCELLED, "the pull failed");
	if (t->at >= there)
		return 0;
	if (!t->buf)
		t->buf = mem_alloc(TAR_PIECE_BYTES);
	ssize_t n;
	do
		n = pread(fd, t->buf, MIN((uint64_t)TAR_PIECE_BYTES, there - t->at), (off_t)t->at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, "read layer %s", l->d->digest.text);
	t->at += (uint64_t)n;
	if (t->at - t->reported >= 512 * 1024 || t->at == l->d->size) {
		t->reported = t->at;
		report(p, image_short_id(&l->d->digest), t->at, l->d->size, "Extracting");
	}
	*out_piece = span_make(t->buf, (size_t)n);
	return n > 0;
}

static void tail_stop(struct tail_source *t)
{
	struct pull *p = t->l->p;
	pthread_mutex_lock(&p->mutex);
	t->stopped = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->mutex);
}

static int layer_unpack(struct pull *p, size_t index, struct err *err)
{
	struct pull_layer *l = &p->layers[index];
	const struct image_unpacker *u = p->params->unpacker;
	const char *parent = index ? p->layers[index - 1].chain : "";
	struct tail_source tail = { .source.pull = tail_pull, .l = l };
	struct hash_source plain;
	struct image_relay relay;
	void *pending = NULL;
	pthread_mutex_lock(&p->mutex);
	while (l->fd < 0 && !p->failed)
		pthread_cond_wait(&p->changed, &p->mutex);
	bool failed = p->failed;
	pthread_mutex_unlock(&p->mutex);
	if (failed)
		return err_set(err, ERR_CANCELLED, "the pull failed");
	int rc = image_relay_begin(&relay, &tail.source, err);
	if (rc < 0)
		return rc;
	image_hash_source_init(&plain, &relay.source);
	rc = u->unpack(u->arg, parent, &plain.source, &pending, err);
	struct image_digest is = image_hash_source_end(&plain);
	tail_stop(&tail);
	image_relay_end(&relay);
	free(tail.buf);
	pthread_mutex_lock(&p->mutex);
	if (rc == -ERR_CORRUPT) { /* if the blob is not what it should be, that is what to say: its digest is known at its end */
		while (!p->failed && !l->published)
			pthread_cond_wait(&p->changed, &p->mutex);
	}
	if (rc < 0) {
		pthread_mutex_unlock(&p->mutex);
		(void)err_note(err, "failed to register layer");
		return rc;
	}
	while (!p->failed && !(l->published && (!index || p->layers[index - 1].unpacked)))
		pthread_cond_wait(&p->changed, &p->mutex);
	failed = p->failed;
	pthread_mutex_unlock(&p->mutex);
	if (!failed && image_digest_eq(&is, l->diff))
		return u->commit(u->arg, pending, l->chain, parent, err);
	u->drop(u->arg, pending);
	return failed ? err_set(err, ERR_CANCELLED, "the pull failed")
		      : err_set(err, ERR_CORRUPT, "layer %s: decompressed it hashes to %s, its image says %s", l->d->digest.text, is.text,
				l->diff->text);
}

static void wake(void *arg)
{
}

static void *unpack_main(void *arg)
{
	struct pull *p = arg;
	for (;;) {
		pthread_mutex_lock(&p->mutex);
		while (p->next_unpack < p->n_layers && p->layers[p->next_unpack].unpacked)
			p->next_unpack++;
		size_t i = p->failed ? p->n_layers : p->next_unpack;
		if (i < p->n_layers)
			p->next_unpack++;
		pthread_mutex_unlock(&p->mutex);
		if (i == p->n_layers)
			return NULL;
		auto_err struct err why = ERR_INIT;
		int rc = layer_unpack(p, i, &why);
		if (rc < 0) {
			fail(p, &why);
		} else {
			report(p, image_short_id(&p->layers[i].d->digest), 0, 0, "Pull complete");
			pthread_mutex_lock(&p->mutex);
			p->layers[i].unpacked = true;
			pthread_cond_broadcast(&p->changed);
			pthread_mutex_unlock(&p->mutex);
		}
		loop_post_call(image_net_loop(p->n), wake, NULL);
	}
}

/* ---- downloads ---- */

static int layer_begun(struct exchange *x, struct err *err)
{
	struct pull_layer *l = x->arg;
	struct pull *p = l->p;
	if (x->range_from && x->status == 200) { /* it does not do ranges: from the beginning */
		int rc = image_ingest_restart(l->ingest, err);
		if (rc < 0)
			return rc;
		pthread_mutex_lock(&p->mutex);
		l->there = 0;
		pthread_mutex_unlock(&p->mutex);
	} else if (x->range_from) {
		char wanted[40];
		snprintf(wanted, sizeof(wanted), "bytes %llu-", (unsigned long long)x->range_from);
		if (!span_starts(x->range, span_of(wanted)))
			return err_set(err, ERR_UPSTREAM, "the registry answered with another range: %.*s", (int)MIN(x->range.len, (size_t)60),
				x->range.ptr ? x->range.ptr : "");
	}
	return 0;
}

static int layer_data(struct exchange *x, struct span data, struct err *err)
{
	struct pull_layer *l = x->arg;
	struct pull *p = l->p;
	uint64_t size = image_ingest_size(l->ingest);
	if (data.len > l->d->size - MIN(size, l->d->size))
		return err_set(err, ERR_CORRUPT, "layer %s: more than the %llu bytes that its manifest says", l->d->digest.text,
			(unsigned long long)l->d->size);
	int rc = image_ingest_add(l->ingest, data, err);
	if (rc < 0)
		return rc;
	size += data.len;
	pthread_mutex_lock(&p->mutex);
	l->there = size;
	if (l->wanted && size >= l->wanted)
		pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->mutex);
	if (size - l->reported >= 512 * 1024 || size == l->d->size) {
		l->reported = size;
		report(p, image_short_id(&l->d->digest), size, l->d->size, "Downloading");
	}
	return 0;
}

static void layer_request(struct pull_layer *l)
{
	struct pull *p = l->p;
	image_exchange_init(&l->x, p->n, p->ep, "GET");
	l->x.target = arena_printf(&p->arena, "/v2/%.*s/blobs/%s", SPAN_ARG(p->params->ref.path), l->d->digest.text);
	l->x.url = l->url;
	l->x.scope = p->scope;
	l->x.begun = layer_begun;
	l->x.data = layer_data;
	l->x.arg = l;
	l->x.range_from = image_ingest_size(l->ingest);
	image_exchange_begin(&l->x);
}

static void layer_publish(struct pull *p, struct pull_layer *l)
{
	pthread_mutex_lock(&p->mutex);
	l->published = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->mutex);
	l->state = PUBLISHED;
}

/* All bytes are there. */
static int layer_finish(struct pull *p, struct pull_layer *l, struct err *err)
{
	struct image_digest is;
	report(p, image_short_id(&l->d->digest), 0, 0, "Verifying Checksum");
	int rc = image_ingest_commit(l->ingest, &is, err);
	l->ingest = NULL;
	if (rc == -ERR_CORRUPT)
		return err_set(err, ERR_CORRUPT, "filesystem layer verification failed for digest %s", l->d->digest.text);
	if (rc < 0)
		return rc;
	report(p, image_short_id(&l->d->digest), 0, 0, "Download complete");
	layer_publish(p, l);
	return 0;
}

static int fd_share(struct pull_layer *l, int fd, struct err *err)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return err_sys(err, "duplicate a descriptor");
	pthread_mutex_lock(&l->p->mutex);
	l->fd = copy;
	pthread_cond_broadcast(&l->p->changed);
	pthread_mutex_unlock(&l->p->mutex);
	return 0;
}

static int layer_start(struct pull *p, struct pull_layer *l, struct err *err)
{
	uint64_t have = 0;
	int rc = 0;
	if (!l->ingest) {
		if ((rc = image_ingest_begin(p->s, &l->d->digest, &l->ingest, &have, err)) < 0)
			return rc;
		if (have > l->d->size && (rc = image_ingest_restart(l->ingest, err)) < 0)
			return rc;
		have = image_ingest_size(l->ingest);
		if ((rc = fd_share(l, image_ingest_fd(l->ingest), err)) < 0)
			return rc;
		pthread_mutex_lock(&p->mutex);
		l->there = have;
		pthread_cond_broadcast(&p->changed);
		pthread_mutex_unlock(&p->mutex);
	}
	l->state = RUNNING;
	if (image_ingest_size(l->ingest) == l->d->size && l->d->size) /* an earlier try had it all */
		return layer_finish(p, l, err);
	layer_request(l);
	return 0;
}

/* The exchange of a running layer is over. */
static int layer_ended(struct pull *p, struct pull_layer *l, struct err *err)
{
	struct exchange *x = &l->x;
	auto_err struct err why = ERR_INIT;
	int rc = 0, status = x->status;
	bool good = status == 200 || status == 206;
	uint64_t size = image_ingest_size(l->ingest);
	if (!x->why.class && good && size == l->d->size) {
		image_exchange_done(x);
		return layer_finish(p, l, err);
	}
	if (!x->why.class && status == 401 && x->challenge.len && !l->challenged) {
		l->challenged = true;
		l->url = SPAN_EMPTY;
		rc = image_net_authorize(p->n, p->scope, x->challenge, err);
		image_exchange_done(x);
		l->state = WAITING;
		return rc;
	}
	bool redirect = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
	if (!x->why.class && redirect && x->location.len && l->redirects++ < 5) {
		l->url = x->location.ptr[0] == '/' ? arena_printf(&p->arena, "%s%.*s", p->ep->shown, SPAN_ARG(x->location))
						   : arena_span(&p->arena, x->location);
		image_exchange_done(x);
		l->state = WAITING;
		return 0;
	}
	if (!x->why.class && status == 416) { /* what we have is not what it has */
		rc = image_ingest_restart(l->ingest, err);
		(void)err_set(&why, ERR_UPSTREAM, "the registry refused to resume");
	} else if (x->why.class) {
		(void)err_set(&why, x->why.class, "%s", err_msg(&x->why));
	} else if (good) {
		(void)err_set(&why, ERR_UPSTREAM, "layer %s: it ended after %llu of %llu bytes", l->d->digest.text,
			(unsigned long long)size,
			(unsigned long long)l->d->size);
	} else if (status == 404) {
		(void)err_set(&why, ERR_NOT_FOUND, "layer %s: unknown blob", l->d->digest.text);
	} else {
		(void)image_net_answer_error(x, p->shown, &why);
	}
	bool progress = size > x->range_from;
	image_exchange_done(x);
	if (rc < 0)
		return rc;
	/* What fails for good: our disk, wrong bytes, an answer that will stay the same. */
	if (!err_may_retry(why.class) || (!progress && ++l->failures > image_net_retries(p->n)) || (progress &&
		++l->failures > 4 * image_net_retries(p->n)))
		return err_move(err, &why);
	int64_t wait_ms = why.retry_ms ? MIN(why.retry_ms, 30000) : l->failures < 6 ? 100 << l->failures : 5000;
	l->not_before_ms = loop_now_ms(image_net_loop(p->n)) + (progress ? 50 : wait_ms);
	l->redirects = 0;
	l->challenged = false;
	l->url = SPAN_EMPTY; /* signed addresses grow old: ask the registry again */
	l->state = WAITING;
	char text[80];
	snprintf(text, sizeof(text), "Retrying in %lld second", (long long)(wait_ms + 999) / 1000);
	report(p, image_short_id(&l->d->digest), 0, 0, text);
	return 0;
}

static bool all_done(struct pull *p)
{
	bool done = true;
	pthread_mutex_lock(&p->mutex);
	for (size_t i = 0; i < p->n_layers; i++)
		done &= p->layers[i].published && p->layers[i].unpacked;
	done |= p->failed;
	pthread_mutex_unlock(&p->mutex);
	return done;
}

static int downloads_run(struct pull *p, struct err *err)
{
	int rc = 0;
	while (rc == 0 && !all_done(p)) {
		unsigned running = 0;
		int64_t now = loop_now_ms(image_net_loop(p->n));
		for (size_t i = 0; rc == 0 && i < p->n_layers; i++) {
			struct pull_layer *l = &p->layers[i];
			if (l->state == RUNNING && !l->x.running)
				rc = layer_ended(p, l, err);
			if (rc == 0 && l->twin && l->state != PUBLISHED && l->twin->state == PUBLISHED) {
				uint64_t size;
				auto_fd int fd = -1;
				if ((rc = image_blob_open(p->s, &l->d->digest, &fd, &size, err)) == 0 && (rc = fd_share(l, fd, err)) == 0) {
					pthread_mutex_lock(&p->mutex);
					l->there = size;
					pthread_mutex_unlock(&p->mutex);
					layer_publish(p, l);
				}
			}
			running += l->state == RUNNING;
		}
		for (size_t i = 0; rc == 0 && i < p->n_layers && running < image_net_parallel(p->n, 3); i++) {
			struct pull_layer *l = &p->layers[i];
			if (l->state != WAITING || l->twin || l->not_before_ms > now)
				continue;
			rc = layer_start(p, l, err);
			running += l->state == RUNNING;
		}
		if (rc == 0 && !all_done(p))
			rc = image_net_turn(p->n, err);
	}
	return rc;
}

static int layers_get(struct pull *p, const struct image_manifest *m, const struct image_config *config, struct err *err)
{
	const struct image_unpacker *u = p->params->unpacker;
	p->layers = arena_alloc_n(&p->arena, m->n + 1, sizeof(*p->layers));
	p->n_layers = m->n;
	memset(p->layers, 0, (m->n + 1) * sizeof(*p->layers));
	bool known = image_known(p->s, &m->config.digest);
	int rc = 0;
	for (size_t i = 0; i < m->n; i++)
		p->layers[i].fd = -1;
	for (size_t i = 0; rc == 0 && i < m->n; i++) {
		struct pull_layer *l = &p->layers[i];
		l->d = &m->items[i];
		l->diff = &config->diffs[i];
		l->p = p;
		image_chain(i ? p->layers[i - 1].chain : "", l->diff, l->chain);
		image_operation_chain(p->s, &p->op, l->chain);
		l->unpacked = !u || u->has(u->arg, l->chain);
		bool blob = image_blob_touch(p->s, &l->d->digest);
		if (!known || !blob || !l->unpacked) /* of an image that is here, only what has to be mended is told */
			report(p, image_short_id(&l->d->digest), 0, 0, blob && l->unpacked ? "Already exists" : "Pulling fs layer");
		for (size_t k = 0; k < i && !blob; k++)
			if (image_digest_eq(&p->layers[k].d->digest, &l->d->digest)) {
				l->twin = &p->layers[k];
				break;
			}
		if (blob) {
			auto_fd int fd = -1;
			if (!l->unpacked && (rc = image_blob_open(p->s, &l->d->digest, &fd, &l->there, err)) == 0)
				rc = fd_share(l, fd, err);
			if (rc == -ERR_CORRUPT) { /* it was thrown away: fetch it again */
				rc = 0;
				if (err)
					err_done(err);
				continue;
			}
			l->published = true;
			l->state = PUBLISHED;
		}
	}
	pthread_t threads[2];
	size_t n_threads = 0;
	while (rc == 0 && u && n_threads < (u->sequential ? 1 : 2) && n_threads < m->n) {
		int num = pthread_create(&threads[n_threads], NULL, unpack_main, p);
		if (num)
			rc = err_sys_num(err, num, "start a thread");
		else
			n_threads++;
	}
	if (rc == 0)
		rc = downloads_run(p, err);
	if (rc < 0) {
		struct err stop = ERR_INIT; /* the caller's err holds the reason */
		(void)err_set(&stop, ERR_CANCELLED, "the pull failed");
		fail(p, &stop);
	}
	for (size_t i = 0; i < n_threads; i++)
		pthread_join(threads[i], NULL);
	if (rc == 0 && p->failed)
		rc = err ? err_move(err, &p->why) : -(int)p->why.class;
	for (size_t i = 0; i < p->n_layers; i++) {
		if (p->layers[i].state == RUNNING)
			image_exchange_done(&p->layers[i].x);
		image_ingest_drop(p->layers[i].ingest, rc != -ERR_CORRUPT);
		fd_close(&p->layers[i].fd);
	}
	return rc;
}

/* ---- manifests ---- */

static const char accept_all[] = "application/vnd.docker.distribution.manifest.v2+json, "
	"application/vnd.oci.image.manifest.v1+json, "
	"application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";

/* By tag or digest: verified, stored, parsed. */
static int manifest_get(struct pull *p, struct span what, struct image_manifest *out, struct image_digest *out_digest,
	struct err *err)
{
	struct exchange x;
	struct image_digest wanted = {};
	image_exchange_init(&x, p->n, p->ep, "GET");
	x.target = arena_printf(&p->arena, "/v2/%.*s/manifests/%.*s", SPAN_ARG(p->params->ref.path), SPAN_ARG(what));
	x.accept = accept_all;
	x.scope = p->scope;
	x.limit = MANIFEST_BYTES;
	int rc = image_exchange_run(&x, err);
	if (rc == 0 && x.status != 200)
		rc = image_net_answer_error(&x, p->shown, err);
	struct image_digest is = image_digest_of(buf_span(&x.answer));
	bool by_digest = span_chr(what, ':') >= 0;
	struct span said = by_digest ? what : x.digest;
	if (rc == 0 && said.len && span_starts(said, SPAN("sha256:")) && (rc = image_digest_parse(said, &wanted, err)) == 0 &&
	    !image_digest_eq(&wanted, &is))
		rc = err_set(err, ERR_CORRUPT, "manifest verification failed for digest %s", wanted.text);
	struct span type = x.type, ignored;
	(void)span_split(type, ';', &type, &ignored);
	if (rc == 0)
		rc = image_manifest_parse(buf_span(&x.answer), type, &p->arena, out, err);
	if (rc == 0)
		rc = image_blob_put(p->s, buf_span(&x.answer), out_digest, err);
	image_exchange_done(&x);
	return rc;
}

static int config_get(struct pull *p, const struct image_descriptor *d, struct image_config *out, struct err *err)
{
	auto_buf struct buf text = {};
	int rc = -ERR_NOT_FOUND;
	if (d->size > CONFIG_BYTES)
		return err_set(err, ERR_TOO_LARGE, "image configuration of %llu bytes", (unsigned long long)d->size);
	if (image_blob_touch(p->s, &d->digest))
		rc = image_blob_read(p->s, &d->digest, &text, CONFIG_BYTES, NULL);
	if (rc < 0) {
		struct exchange x;
		struct image_digest is;
		buf_trunc(&text, 0);
		image_exchange_init(&x, p->n, p->ep, "GET");
		x.target = arena_printf(&p->arena, "/v2/%.*s/blobs/%s", SPAN_ARG(p->params->ref.path), d->digest.text);
		x.scope = p->scope;
		x.limit = CONFIG_BYTES;
		rc = image_exchange_run(&x, err);
		if (rc == 0 && x.status != 200)
			rc = image_net_answer_error(&x, p->shown, err);
		is = image_digest_of(buf_span(&x.answer));
		if (rc == 0 && !image_digest_eq(&is, &d->digest))
			rc = err_set(err, ERR_CORRUPT, "image config verification failed for digest %s", d->digest.text);
		if (rc == 0)
			rc = image_blob_put(p->s, buf_span(&x.answer), &is, err);
		if (rc == 0)
			buf_span_add(&text, buf_span(&x.answer));
		image_exchange_done(&x);
	}
	return rc < 0 ? rc : image_config_parse(arena_span(&p->arena, buf_span(&text)), &p->arena, out, err);
}

/* The image and what it is called: by its digest, and by the tag where that was asked for. */
static int image_put(struct pull *p, const struct image_digest *id, const struct image_digest *manifest,
	const struct image_digest *target, const struct image_config *config, struct err *err)
{
	struct image_ref by_digest = p->params->ref, by_tag = p->params->ref;
	by_digest.tag = SPAN_EMPTY;
	by_digest.digest = image_digest_span(target);
	by_tag.digest = SPAN_EMPTY;
	struct image_naming names = { .texts[0] = image_ref_text(&by_digest, &p->arena), .target = target };
	if (by_tag.tag.len && !p->params->ref.digest.len)
		names.texts[1] = image_ref_text(&by_tag, &p->arena);
	return image_record_put(p->s, id, manifest, NULL, config, &names, err);
}

static int pull_from(struct pull *p, struct image_digest *out_id, struct err *err)
{
	const struct image_ref *ref = &p->params->ref;
	struct span what = ref->digest.len ? ref->digest : ref->tag;
	struct image_manifest top, m;
	struct image_digest target, manifest;
	int rc = manifest_get(p, what, &top, &target, err);
	if (rc < 0)
		return rc;
	auto_buf struct buf line = {};
	buf_printf(&line, "Pulling from %.*s", SPAN_ARG(ref->path));
	report(p, what, 0, 0, buf_cstr(&line));
	m = top;
	manifest = target;
	if (top.kind == IMAGE_INDEX) {
		struct image_platform here = p->params->platform.os[0] ? p->params->platform : image_platform_here();
		const struct image_descriptor *d;
		if ((rc = image_index_choose(&top, &here, &d, err)) < 0 ||
		    (rc = manifest_get(p, image_digest_span(&d->digest), &m, &manifest, err)) < 0)
			return rc;
		if (m.kind != IMAGE_MANIFEST)
			return err_set(err, ERR_UNSUPPORTED, "an index within an index");
	}
	struct image_config config;
	if ((rc = config_get(p, &m.config, &config, err)) < 0)
		return rc;
	if (config.n_diffs != m.n)
		return err_set(err, ERR_CORRUPT, "the manifest has %zu layers, the configuration %zu: not a container image",
			m.n, config.n_diffs);
	if ((rc = layers_get(p, &m, &config, err)) < 0)
		return rc;
	struct image_digest had = {}, had_target;
	bool same = image_name_get(p->s, image_ref_text(ref, &p->arena), &had, &had_target) && image_digest_eq(&had, &m.config.digest);
	if ((rc = image_put(p, &m.config.digest, &manifest, &target, &config, err)) < 0)
		return rc;
	image_report(p->params->reporter, SPAN_EMPTY, 0, 0, "Digest: %s", target.text);
	image_report(p->params->reporter, SPAN_EMPTY, 0, 0, "Status: %s for %.*s", same ? "Image is up to date"
		: "Downloaded newer image",
		SPAN_ARG(p->shown));
	*out_id = m.config.digest;
	return 0;
}

int image_pull(struct image_store *s, const struct image_pull_params *params, struct image_digest *out_id, struct err *err)
{
	struct pull p = { .s = s, .params = params };
	assert(params->ref.tag.len || params->ref.digest.len);
	pthread_mutex_init(&p.mutex, NULL);
	pthread_mutex_init(&p.report_mutex, NULL);
	pthread_cond_init(&p.changed, NULL);
	image_operation_begin(s, &p.op);
	p.shown = image_ref_familiar(&params->ref, &p.arena);
	snprintf(p.scope, sizeof(p.scope), "repository:%.*s:pull", SPAN_ARG(params->ref.path));
	int rc = image_net_open(params->registry, params->reporter, &params->ref, &p.n, err);
	struct endpoint *endpoints = NULL;
	size_t n = rc == 0 ? image_net_endpoints(p.n, &endpoints) : 0;
	for (size_t i = 0; i < n; i++) {
		if (i && err)
			err_done(err); /* the mirror's trouble: the next is asked */
		p.ep = &endpoints[i];
		p.failed = false;
		p.next_unpack = 0;
		rc = image_net_ping(p.n, &endpoints[i], err);
		if (rc == 0)
			rc = pull_from(&p, out_id, err);
		/* A mirror that fails is passed over; our own disk and a person's wish are not. */
		if (rc == 0 || !endpoints[i].mirror || rc == -ERR_CANCELLED || rc == -ERR_NO_SPACE || rc == -ERR_IO)
			break;
	}
	image_net_close(p.n);
	image_operation_end(s, &p.op);
	err_done(&p.why);
	arena_done(&p.arena);
	pthread_cond_destroy(&p.changed);
	pthread_mutex_destroy(&p.report_mutex);
	pthread_mutex_destroy(&p.mutex);
	return rc;
}
