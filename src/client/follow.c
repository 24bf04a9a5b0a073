/* A configuration whose files change under a client: see client_follow in client.h.
 *
 * Connections are kept by origin, and the TLS context is part of an origin: with a new context new calls find no connection and
 * make one, while what is out on the old ones goes on; those end when they are idle. client-go cuts them instead, so that its
 * watches begin anew; ours need not: a watch was authorized when it began, and the server ends it within minutes. */
#include "client/private.h"

static void watch(struct client *c, const struct client_config *f)
{
	auto_err struct err err = ERR_INIT;
	for (unsigned i = 0; i < f->n_files; i++)
		if (loop_files_add(c->followed, f->files[i], &err) < 0)
			log_warn("changes of a file will be seen late", kv_span("file", f->files[i]), kv_err(&err));
}

static bool same(const struct client_config *a, const struct client_config *b)
{
	return span_eq(a->ca_pem, b->ca_pem) && span_eq(a->cert_pem, b->cert_pem) && span_eq(a->key_pem, b->key_pem);
}

static void on_changed(void *arg)
{
	struct client *c = arg;
	auto_err struct err err = ERR_INIT;
	struct client_config fresh;
	struct tls_ctx *tls;
	if (client_config_load(c->source, &fresh, &err) < 0) {
		log_warn("kubeconfig: kept what there was", kv_err(&err));
		return;
	}
	watch(c, &fresh);
	/* A certificate beside the key of another is the moment between two writes: the second is told of too. */
	if (same(c->latest.files ? &c->latest : c->config, &fresh)) {
		client_config_done(&fresh);
		return;
	}
	if (client_tls(&fresh, &tls, &err) < 0) {
		log_warn("kubeconfig: kept what there was", kv_err(&err));
		client_config_done(&fresh);
		return;
	}
	client_config_done(&c->latest);
	c->latest = fresh;
	tls_ctx_unref(c->tls);
	c->tls = c->origin.tls_ctx = tls;
	log_info("kubeconfig: new certificates are used");
}

void client_follow(struct client *c, const struct client_source *src)
{
	if (!c->tls || c->followed)
		return;
	c->source = src;
	c->followed = loop_files_new(c->loop, "kubeconfig", on_changed, c);
	watch(c, c->config);
	/* What changed between the reading and the watch would be told by nobody. */
	on_changed(c);
}

void client_follow_end(struct client *c)
{
	loop_files_free(c->followed);
	client_config_done(&c->latest);
}
