/* What is watched and how bursts become one reading: loop_files. A server that made its own certificates looks at them each day,
 * too: they are made anew before they end. */
#include "apiserver/reload.h"

#include "apiserver/kubelet.h"
#include "apiserver/seed.h"

#define LOOK_MS (24 * 3600 * 1000)

struct reload {
	struct apiserver *s;
	struct loop_files *files;
	struct loop_timer look;
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

static void kubelets_free(void *arg)
{
	kubelet_close(arg);
}

static int kubelets_again(struct apiserver *s, const struct files *f, struct err *err)
{
	struct kubelets *fresh;
	int rc = kubelet_open(s->opt, &fresh, err);
	if (rc < 0)
		return rc;
	/* Connections are kept by context: an equal one would begin them all anew. */
	if (kubelet_same(atomic_load(&s->kubelets), fresh)) {
		kubelet_close(fresh);
		return 0;
	}
	reload_retire(s, kubelets_free, atomic_exchange(&s->kubelets, fresh));
	log_info("credentials for kubelets changed");
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
		{ "credentials for kubelets", kubelets_again },
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

static void on_files(void *arg)
{
	reload_run(((struct reload *)arg)->s);
}

static void on_look(struct loop_timer *t)
{
	struct reload *r = container_of(t, struct reload, look);
	reload_run(r->s);
	loop_timer_start(&r->look, LOOK_MS);
}

static void follow(struct reload *r, struct span path)
{
	auto_err struct err err = ERR_INIT;
	/* We may have given up the right to look. */
	if (loop_files_add(r->files, path, &err) < 0)
		log_warn("changes of a file are only seen at SIGHUP", kv_span("file", path), kv_err(&err));
}

int reload_start(struct worker *w, struct err *err)
{
	/* What we would have made ourselves. */
	static const char *const own[] = { "ca.crt", "apiserver.crt", "apiserver.key", "sa.key" };
	struct apiserver *s = w->server;
	const struct apiserver_options *o = s->opt;
	struct reload *r = mem_new(struct reload);
	s->reload = r;
	r->s = s;
	r->files = loop_files_new(w->loop, "rotated files", on_files, r);
	loop_timer_init(&r->look, w->loop, "own certificates", on_look);
	r->look.background = true;
	for (unsigned i = 0; i < FILE_COUNT; i++)
		follow(r, files_path(o, i));
	follow(r, o->kubelet_client_certificate);
	follow(r, o->kubelet_client_key);
	follow(r, o->kubelet_certificate_authority);
	if (o->tls_cert_file.len && o->sa_signing_key_file.len)
		return 0;
	auto_buf struct buf dir = {}, path = {};
	int rc = pki_dir(o, &dir, err);
	for (unsigned i = 0; i < ARRAY_LEN(own) && rc == 0; i++) {
		buf_trunc(&path, 0);
		buf_printf(&path, "%s/%s", buf_cstr(&dir), own[i]);
		follow(r, buf_span(&path));
	}
	loop_timer_start(&r->look, LOOK_MS);
	return rc;
}

void reload_stop(struct worker *w)
{
	struct reload *r = take(&w->server->reload);
	if (!r)
		return;
	loop_timer_stop(&r->look);
	loop_files_free(r->files);
	free(r);
}
