/* One watch for each folder, not for each file: who rotates certificates writes a new file and renames it, and mounted
 * Secrets change by the swap of one link in the folder. Events come in bursts (certificate, then key), so the reading waits
 * for a moment of quiet. */
#include "apiserver/reload.h"

#include "apiserver/seed.h"

#include <sys/inotify.h>

#define QUIET_MS 300
#define FOLDERS_MAX (FILE_COUNT + 1)

struct folder {
	struct loop_watch watch;
	struct reload *r;
	char *path; /* owned */
};

struct reload {
	struct apiserver *s;
	struct loop_timer quiet;
	struct folder folders[FOLDERS_MAX];
	unsigned n;
};

/* ---- retiring */

struct retired {
	_Atomic unsigned left;
	void (*fn)(void *arg);
	void *arg;
};

static void passed(void *arg)
{
	struct retired *r = arg;
	if (atomic_fetch_sub(&r->left, 1) != 1)
		return;
	r->fn(r->arg);
	free(r);
}

void reload_retire(struct apiserver *s, void (*fn)(void *arg), void *arg)
{
	struct retired *r = mem_new(struct retired);
	r->fn = fn;
	r->arg = arg;
	atomic_store(&r->left, s->n_workers);
	for (unsigned i = 0; i < s->n_workers; i++)
		loop_post_call(s->workers[i].loop, passed, r);
}

/* ---- reading again */

static void tokens_free(void *arg)
{
	auth_tokens_free(arg);
}

static int tokens_again(struct apiserver *s, const struct files *f, struct err *err)
{
	if (!s->opt->token_auth_file.len)
		return 0;
	struct auth_tokens *fresh;
	int rc = auth_tokens_parse(buf_span(&f->text[FILE_TOKENS]), s->opt->token_auth_file.ptr, &fresh, err);
	if (rc == 0)
		reload_retire(s, tokens_free, atomic_exchange(&s->tokens, fresh));
	return rc;
}

static void issuing_free(void *arg)
{
	pki_issuing_free(arg);
}

static int service_keys_again(struct apiserver *s, const struct files *f, struct err *err)
{
	struct issuing *fresh;
	int rc = pki_issuing_new(s->opt, f, &fresh, err);
	if (rc < 0)
		return rc;
	if (pki_issuing_same(atomic_load(&s->issuing), fresh)) {
		pki_issuing_free(fresh);
		return 0;
	}
	reload_retire(s, issuing_free, atomic_exchange(&s->issuing, fresh));
	log_info("service account keys changed", kv_u64("verify", fresh->keys.n_verify));
	return 0;
}

static void policy_free(void *arg)
{
	audit_policy_free(arg);
}

static int policy_again(struct apiserver *s, const struct files *f, struct err *err)
{
	struct audit_policy *fresh;
	if (!s->audit)
		return 0;
	int rc = audit_policy_read(buf_span(&f->text[FILE_AUDIT_POLICY]), s->opt->audit_policy_file.ptr, &fresh, err);
	if (rc < 0)
		return rc;
	reload_retire(s, policy_free, audit_policy_swap(s->audit, fresh));
	audit_reopen(s->audit);
	return 0;
}

static void renew(void *arg)
{
	struct worker *w = arg;
	http_server_renew(w->https);
}

static int tls_again(struct apiserver *s, const struct files *f, struct err *err)
{
	struct tls_ctx *ctx;
	auto_bytes struct bytes *authorities = NULL;
	int rc = pki_tls(s->opt, f, s->clock, &ctx, &authorities, err);
	if (rc < 0)
		return rc;
	tls_slot_put(&s->tls, ctx);
	/* A connection was checked once, against the authorities of its time: with others it must come again. */
	if (span_eq(bytes_span(authorities), bytes_span(s->authorities)))
		return 0;
	bytes_unref(s->authorities);
	s->authorities = take(&authorities);
	for (unsigned i = 0; i < s->n_workers; i++)
		loop_post_call(s->workers[i].loop, renew, &s->workers[i]);
	seed_again(&s->workers[0], SEED_AUTHENTICATION); /* extension servers and kubelets hear of them by a ConfigMap */
	return 0;
}

void reload_run(struct apiserver *s)
{
	static const struct {
		const char *what;
		int (*again)(struct apiserver *s, const struct files *f, struct err *err);
	} parts[] = {
		{ "certificates", tls_again },
		{ "static tokens", tokens_again },
		{ "service account keys", service_keys_again },
		{ "audit policy", policy_again },
	};
	struct files f;
	auto_err struct err err = ERR_INIT;
	if (files_read(s->opt, &f, &err) < 0) {
		log_error("reload: nothing changed", kv_err(&err));
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (parts[i].again(s, &f, &err) < 0)
			log_error("reload: kept what there was", kv_str("part", parts[i].what), kv_err(&err));
	}
	files_done(&f);
	log_info("reloaded");
}

/* ---- watching */

static void on_quiet(struct loop_timer *t)
{
	reload_run(container_of(t, struct reload, quiet)->s);
}

/* Others may write in these folders too. Names that begin with two dots are how a mounted Secret is swapped; the last four are
 * what we would have made ourselves. */
static bool ours(const struct apiserver_options *o, struct span file, uint32_t mask)
{
	static const char *const own[] = { "ca.crt", "apiserver.crt", "apiserver.key", "sa.key" };
	if (mask & IN_Q_OVERFLOW || span_starts(file, SPAN("..")))
		return true;
	for (unsigned i = 0; i < FILE_COUNT; i++) {
		struct span path = files_path(o, i);
		if (path.len && span_eq(span_from(path, (size_t)(span_rchr(path, '/') + 1)), file))
			return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (span_is(file, own[i]))
			return true;
	return false;
}

static void on_change(struct loop_watch *w, uint32_t mask, uint32_t cookie, const char *file)
{
	struct reload *r = container_of(w, struct folder, watch)->r;
	/* Not moved by later events: a folder in which something changes all the time is read all the same. */
	if (ours(r->s->opt, span_of(file), mask) && !loop_timer_running(&r->quiet))
		loop_timer_start(&r->quiet, QUIET_MS);
}

static void folder_watch(struct reload *r, struct loop *l, struct span path)
{
	for (unsigned i = 0; i < r->n; i++)
		if (span_is(path, r->folders[i].path))
			return;
	auto_err struct err err = ERR_INIT;
	struct folder *f = &r->folders[r->n];
	f->r = r;
	f->path = mem_dup(path.ptr, path.len);
	if (loop_watch_open(&f->watch, l, "rotated files", f->path,
			    IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR, on_change, &err) < 0) {
		/* We may have given up the right to look. */
		log_warn("changes of files are only seen at SIGHUP", kv_span("folder", path), kv_err(&err));
		free(f->path);
		f->path = NULL;
		return;
	}
	r->n++;
}

int reload_start(struct worker *w, struct err *err)
{
	struct apiserver *s = w->server;
	struct reload *r = mem_new(struct reload);
	s->reload = r;
	r->s = s;
	loop_timer_init(&r->quiet, w->loop, "reload", on_quiet);
	r->quiet.background = true;
	for (unsigned i = 0; i < FILE_COUNT; i++) {
		struct span path = files_path(s->opt, i);
		ptrdiff_t slash = span_rchr(path, '/');
		if (path.len)
			folder_watch(r, w->loop,
				     slash < 0	  ? SPAN(".")
				     : slash == 0 ? SPAN("/")
						  : span_sub(path, 0, (size_t)slash));
	}
	auto_buf struct buf own = {};
	if (s->opt->tls_cert_file.len && s->opt->sa_signing_key_file.len)
		return 0;
	int rc = pki_dir(s->opt, &own, err);
	if (rc == 0)
		folder_watch(r, w->loop, buf_span(&own));
	return rc;
}

static void folder_closed(struct loop_watch *w)
{
	struct folder *f = container_of(w, struct folder, watch);
	free(f->path);
	if (!--f->r->n)
		free(f->r);
}

void reload_stop(struct worker *w)
{
	struct reload *r = w->server->reload;
	w->server->reload = NULL;
	if (!r)
		return;
	loop_timer_stop(&r->quiet);
	unsigned n = r->n;
	if (!n)
		free(r);
	for (unsigned i = 0; i < n; i++)
		loop_watch_close(&r->folders[i].watch, folder_closed);
}
