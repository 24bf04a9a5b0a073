/* One certificate:
 *
 *     begin ──▶ kept and good? ──yes──▶ told ──(70-90 % of its life)──┐
 *                    │no                                              ▼
 *                    └──▶ key, request ──▶ POST ──▶ watched until signed ──▶ kept ──▶ told
 *                              ▲                        │ denied, failed, too late
 *                              └───── back-off ◀────────┘ */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kubelet/certs.h"

enum { BACKOFF_MS = 2000, BACKOFF_MAX_MS = 300000, PATIENCE_MS = 15 * 60 * 1000, FILE_BYTES = 1 << 20 };

struct kl_cert {
	struct loop *loop;
	struct client *client;
	enum kl_cert_kind kind;
	char *dir, *node_name, *cn;          /* owned */
	char **ips, **dns_names;             /* owned, NULL-ended */
	void (*ready)(struct kl_cert *c, struct span cert_pem, struct span key_pem, void *arg);
	void *arg;
	struct loop_timer timer;             /* begin, renew, again, give up: what `waits` says */
	enum { AT_BEGIN, AT_RENEW, AT_AGAIN, AT_LATE } waits;
	unsigned failures;
	struct client_call *call;
	struct client_informer *watch;
	struct loop_task settle;             /* what the watch saw: acted upon outside of its callback */
	struct buf key_pem, seen;            /* of the request that is out; its object's text */
	char *name;                          /* of the request */
	struct rng rng;
	bool *freed;                         /* set by kl_cert_free inside `ready` */
};

static const char *const signers[] = { "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving" };
static const char *const files[] = { "kubelet-client", "kubelet-server" };

static void ask(struct kl_cert *c);

static char **texts_copy(const char *const *in)
{
	size_t n = 0;
	while (in && in[n])
		n++;
	char **out = mem_zalloc((n + 1) * sizeof(*out));
	for (size_t i = 0; i < n; i++)
		out[i] = mem_dup(in[i], strlen(in[i]));
	return out;
}

static void texts_free(char **t)
{
	for (size_t i = 0; t && t[i]; i++)
		free(t[i]);
	free(t);
}

static void wait_for(struct kl_cert *c, int what, int64_t ms)
{
	c->waits = what;
	loop_timer_start(&c->timer, MAX(ms, (int64_t)0));
}

/* ---- what is kept */

/* A pair whose key is the certificate's and that has not expired. */
static bool good(const struct kl_cert *c, struct span pem, int64_t *out_from_s, int64_t *out_to_s)
{
	struct tls_peer *cert = NULL;
	struct tls_key *key = NULL, *of_cert = NULL;
	ptrdiff_t at = span_find(pem, SPAN("-----BEGIN EC PRIVATE KEY-----"));
	if (at < 0)
		at = span_find(pem, SPAN("-----BEGIN PRIVATE KEY-----"));
	bool ok = at >= 0 && tls_cert_read(pem, c->dir, &cert, NULL) == 0 && tls_key_read(span_from(pem, (size_t)at), c->dir, &key,
		NULL) == 0 &&
		  tls_key_read(span_sub(pem, 0, (size_t)at), c->dir, &of_cert, NULL) == 0 && tls_key_same(key, of_cert) &&
		  strcmp(cert->cn, c->cn) == 0 && cert->not_after_s > loop_wall_ns(c->loop) / NS_PER_S;
	/* Addresses of the node change: then a new one is needed. */
	for (size_t i = 0; ok && c->kind == KL_CERT_SERVING && c->ips[i]; i++) {
		bool named = false;
		for (unsigned j = 0; j < cert->n_ips && !named; j++)
			named = strcmp(cert->ips[j], c->ips[i]) == 0;
		ok = named;
	}
	if (ok) {
		*out_from_s = cert->not_before_s;
		*out_to_s = cert->not_after_s;
	}
	tls_peer_unref(cert);
	tls_key_unref(key);
	tls_key_unref(of_cert);
	return ok;
}

/* CERT and KEY in one file beneath a link that is changed by a rename. */
static int keep(struct kl_cert *c, struct span pem, struct err *err)
{
	char when[32], name[96], tmp[96], link[96];
	struct tm tm;
	time_t now = (time_t)(loop_wall_ns(c->loop) / NS_PER_S);
	(void)gmtime_r(&now, &tm);
	(void)strftime(when, sizeof(when), "%Y-%m-%d-%H-%M-%S", &tm);
	(void)snprintf(name, sizeof(name), "%s-%s.pem", files[c->kind], when);
	(void)snprintf(tmp, sizeof(tmp), "%s-updated.pem", files[c->kind]);
	(void)snprintf(link, sizeof(link), "%s-current.pem", files[c->kind]);
	int rc = io_mkdirs(AT_FDCWD, c->dir, 0755, err);
	if (rc < 0)
		return rc;
	auto_fd int dir = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "open %s", c->dir);
	char old[96] = "";
	ssize_t len = readlinkat(dir, link, old, sizeof(old) - 1);
	rc = io_write_file(dir, name, pem, 0600, err);
	if (rc < 0)
		return rc;
	(void)unlinkat(dir, tmp, 0);
	if (symlinkat(name, dir, tmp) < 0 || renameat(dir, tmp, dir, link) < 0)
		return err_sys(err, "link %s/%s", c->dir, link);
	if (len > 0 && !strchr(old, '/') && strcmp(old, name) != 0)
		(void)unlinkat(dir, old, 0); /* its key is of no use any more */
	return 0;
}

/* Tells, and waits for the time of renewal. */
static void use(struct kl_cert *c, struct span pem, int64_t from_s, int64_t to_s)
{
	bool freed = false;
	int64_t life = to_s - from_s, part = 70 + (int64_t)rng_below(&c->rng, 21);
	int64_t at = from_s + life / 100 * part + life % 100 * part / 100;
	c->failures = 0;
	wait_for(c, AT_RENEW, MIN((at - loop_wall_ns(c->loop) / NS_PER_S), INT64_C(1) << 40) * 1000);
	c->freed = &freed; // cppcheck-suppress autoVariables ; taken back below, unless c is gone
	c->ready(c, pem, pem, c->arg);
	if (!freed)
		c->freed = NULL;
}

static void begin(struct kl_cert *c)
{
	auto_buf struct buf path = {}, pem = {};
	int64_t from, to;
	buf_printf(&path, "%s/%s-current.pem", c->dir, files[c->kind]);
	if (io_read_file(AT_FDCWD, buf_cstr(&path), &pem, FILE_BYTES, NULL) == 0 && good(c, buf_span(&pem), &from, &to))
		use(c, buf_span(&pem), from, to);
	else
		ask(c);
}

/* ---- asking */

static void ask_end(struct kl_cert *c)
{
	if (c->call)
		client_cancel(c->call);
	c->call = NULL;
	client_informer_free(c->watch);
	c->watch = NULL;
	loop_task_cancel(&c->settle);
	if (c->key_pem.ptr)
		explicit_bzero(c->key_pem.ptr, c->key_pem.len);
	buf_trunc(&c->key_pem, 0);
	buf_trunc(&c->seen, 0);
	free(c->name);
	c->name = NULL;
}

static void again(struct kl_cert *c, const struct err *why)
{
	log_warn("certificate not signed", kv_str("signer", signers[c->kind]), kv_err(why));
	ask_end(c);
	int64_t wait = c->failures < 8 ? BACKOFF_MS << c->failures : BACKOFF_MAX_MS;
	c->failures++;
	wait_for(c, AT_AGAIN, MIN(wait, (int64_t)BACKOFF_MAX_MS));
}

/* The request as the API has it: signed, refused, or not yet. */
static void on_settle(struct loop_task *t)
{
	struct kl_cert *c = container_of(t, struct kl_cert, settle);
	auto_arena struct arena a = {};
	auto_buf struct buf pem = {};
	auto_err struct err err = ERR_INIT;
	struct api_certificates_certificate_signing_request csr;
	int64_t from, to;
	if (api_certificates_certificate_signing_request_decode(&a, API_FORM_JSON, buf_span(&c->seen), &csr, &err) < 0)
		return again(c, &err);
	for (uint32_t i = 0; i < csr.status.conditions.n; i++) {
		struct span type = csr.status.conditions.ptr[i].type;
		if (span_is(type, "Denied") || span_is(type, "Failed")) {
			(void)err_set(&err, ERR_FORBIDDEN, "certificate signing request is %s: %.*s", span_is(type,
				"Denied") ? "denied" : "failed",
				      SPAN_ARG(csr.status.conditions.ptr[i].message));
			return again(c, &err);
		}
	}
	if (!csr.status.certificate.len)
		return;
	buf_span_add(&pem, csr.status.certificate);
	if (pem.ptr[pem.len - 1] != '\n')
		buf_chr(&pem, '\n');
	buf_span_add(&pem, buf_span(&c->key_pem));
	if (!good(c, buf_span(&pem), &from, &to)) {
		(void)err_set(&err, ERR_UPSTREAM, "the certificate that was signed is not for our key, or not what was asked for");
		return again(c, &err);
	}
	ask_end(c);
	if (keep(c, buf_span(&pem), &err) < 0)
		return again(c, &err);
	/* Signers date it back by minutes, for clocks that differ: its life, as the time of renewal is drawn, begins now. With a short
	 * one that time would have passed already, and each new one would be asked for as soon as the last came. */
	from = MAX(from, loop_wall_ns(c->loop) / NS_PER_S);
	log_info("certificate signed", kv_str("signer", signers[c->kind]));
	use(c, buf_span(&pem), from, to);
}

static void saw(struct kl_cert *c, const struct client_item *it)
{
	buf_trunc(&c->seen, 0);
	buf_span_add(&c->seen, bytes_span(it->json));
	loop_defer(c->loop, &c->settle);
}

static void on_added(struct client_informer *inf, struct client_item *it, const struct json *object, void *arg)
{
	saw(arg, it);
}

static void on_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *object, void *arg)
{
	saw(arg, it);
}

static void on_removed(struct client_informer *inf, struct client_item *it, void *arg)
{
	struct kl_cert *c = arg;
	wait_for(c, AT_LATE, 0);
}

static void on_posted(struct client_call *call, const struct err *why, int status, struct span body, void *arg)
{
	struct kl_cert *c = arg;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct json tree;
	c->call = NULL;
	if (why)
		return again(c, why);
	if (json_parse(&a, body, 0, NULL, &tree, &err) < 0)
		return again(c, &err);
	struct span name = json_span(json_path(&tree, "metadata", "name", NULL));
	if (!name.len) {
		(void)err_set(&err, ERR_UPSTREAM, "the certificate signing request has no name");
		return again(c, &err);
	}
	auto_buf struct buf selector = {};
	buf_printf(&selector, "metadata.name=%.*s", SPAN_ARG(name));
	const struct client_informer_params p = { .client = c->client, .field_selector = buf_span(&selector), .added = on_added,
						  .kind = CLIENT_KIND("certificates.k8s.io", "v1", "certificatesigningrequests", false),
						  .changed = on_changed, .removed = on_removed, .arg = c };
	c->name = mem_dup(name.ptr, name.len);
	c->watch = client_informer_new(&p);
	wait_for(c, AT_LATE, PATIENCE_MS);
}

static int request_make(struct kl_cert *c, struct buf *out, struct err *err)
{
	static const char *const orgs[] = { "system:nodes", NULL };
	const char *own_name[] = { c->node_name, NULL };
	auto_buf struct buf csr = {}, text = {};
	auto_cleanup(auto_tls_key_) struct tls_key *key = NULL;
	bool serving = c->kind == KL_CERT_SERVING;
	struct tls_cert_params p = { .kind = serving ? TLS_CERT_SERVER : TLS_CERT_CLIENT, .cn = c->cn, .orgs = orgs };
	if (serving) {
		p.ips = (const char *const *)c->ips;
		p.dns_names = c->dns_names[0] ? (const char *const *)c->dns_names : own_name;
	}
	int rc = tls_key_new(TLS_ES256, &key, err);
	if (rc == 0)
		rc = tls_key_private_pem(key, &c->key_pem, err);
	if (rc == 0)
		rc = tls_csr_make(&p, key, &csr, err);
	if (rc < 0)
		return rc;
	base64_add(&text, BASE64_STD, csr.ptr, csr.len);
	buf_printf(out, "{\"apiVersion\":\"certificates.k8s.io/v1\",\"kind\":\"CertificateSigningRequest\","
		"\"metadata\":{\"generateName\":"
			"\"csr-\"},\"spec\":{\"request\":\"%s\",\"signerName\":\"%s\",\"usages\":[\"digital signature\",\"%s auth\"]}}",
		   buf_cstr(&text), signers[c->kind], serving ? "server" : "client");
	return 0;
}

static void ask(struct kl_cert *c)
{
	auto_buf struct buf body = {};
	auto_err struct err err = ERR_INIT;
	if (request_make(c, &body, &err) < 0)
		return again(c, &err);
	const struct client_request r = { .method = "POST", .path = SPAN("/apis/certificates.k8s.io/v1/certificatesigningrequests"),
					  .body = buf_span(&body), .done = on_posted, .arg = c };
	c->call = client_send(c->client, &r);
}

static void on_timer(struct loop_timer *t)
{
	struct kl_cert *c = container_of(t, struct kl_cert, timer);
	auto_err struct err err = ERR_INIT;
	switch (c->waits) {
	case AT_BEGIN: begin(c); return;
	case AT_RENEW:
	case AT_AGAIN: ask(c); return;
	case AT_LATE:
		(void)err_set(&err, ERR_TIMEOUT, "certificate signing request %s is gone, or was not signed in time",
			c->name ? c->name : "");
		again(c, &err);
	}
}

struct kl_cert *kl_cert_new(const struct kl_cert_params *p)
{
	struct kl_cert *c = mem_new(struct kl_cert);
	auto_buf struct buf cn = {};
	uint64_t seed;
	buf_printf(&cn, "system:node:%.*s", SPAN_ARG(p->node_name));
	*c = (struct kl_cert){ .loop = p->loop, .client = p->client, .kind = p->kind, .dir = mem_dup(p->dir.ptr, p->dir.len),
			       .node_name = mem_dup(p->node_name.ptr, p->node_name.len), .cn = mem_dup(cn.ptr, cn.len),
			       .ips = texts_copy(p->ips), .dns_names = texts_copy(p->dns_names), .ready = p->ready, .arg = p->arg };
	rng_secret(&seed, sizeof(seed));
	rng_init(&c->rng, seed);
	loop_task_init(&c->settle, on_settle);
	loop_timer_init(&c->timer, p->loop, "certificate", on_timer);
	wait_for(c, AT_BEGIN, 0);
	return c;
}

void kl_cert_free(struct kl_cert *c)
{
	if (!c)
		return;
	if (c->freed)
		*c->freed = true;
	ask_end(c);
	loop_timer_stop(&c->timer);
	texts_free(c->ips);
	texts_free(c->dns_names);
	buf_done(&c->key_pem);
	buf_done(&c->seen);
	free(c->dir);
	free(c->node_name);
	free(c->cn);
	free(c);
}

int kl_cert_self_signed(struct span node_name, const char *const *ips, int64_t now_s, struct buf *out_cert, struct buf *out_key,
			struct err *err)
{
	auto_arena struct arena a = {};
	const char *name = arena_cstr(&a, node_name), *names[] = { name, NULL };
	auto_cleanup(auto_tls_key_) struct tls_key *key = NULL;
	const struct tls_cert_params p = { .kind = TLS_CERT_SERVER, .cn = name, .dns_names = names, .ips = ips,
					   .not_before_s = now_s - 3600, .not_after_s = now_s + INT64_C(365) * 86400 };
	int rc = tls_key_new(TLS_ES256, &key, err);
	if (rc == 0)
		rc = tls_cert_make(&p, key, SPAN_EMPTY, NULL, out_cert, err);
	return rc < 0 ? rc : tls_key_private_pem(key, out_key, err);
}

/* ---- bootstrap */

struct kl_bootstrap {
	struct kl_bootstrap_params p;
	struct client_config config;
	struct client *client;
	struct kl_cert *cert;
	struct loop_timer timer; /* outside of the caller's call, and of the certificate's */
	int rc;
	struct err why;
	bool over;
};

void kl_bootstrap_cancel(struct kl_bootstrap *b)
{
	if (!b)
		return;
	loop_timer_stop(&b->timer);
	kl_cert_free(b->cert);
	if (b->client)
		client_free(b->client);
	client_config_done(&b->config);
	err_done(&b->why);
	free(b);
}

static void over(struct kl_bootstrap *b, int rc)
{
	b->rc = rc;
	b->over = true;
	loop_timer_start(&b->timer, 0);
}

/* A kubeconfig that can be read and whose certificate, if it has one, is still good. */
static bool usable(const struct kl_bootstrap *b)
{
	struct client_config c = {};
	struct tls_peer *cert = NULL;
	const struct client_source src = { .kubeconfig = b->p.kubeconfig.ptr, .no_in_cluster = true };
	if (access(b->p.kubeconfig.ptr, F_OK) < 0 || client_config_load(&src, &c, NULL) < 0)
		return false;
	bool ok = !c.cert_pem.len || (tls_cert_read(c.cert_pem, "kubeconfig", &cert, NULL) == 0 &&
				      cert->not_after_s > loop_wall_ns(b->p.loop) / NS_PER_S);
	tls_peer_unref(cert);
	client_config_done(&c);
	return ok;
}

static void on_ready(struct kl_cert *cert, struct span cert_pem, struct span key_pem, void *arg)
{
	struct kl_bootstrap *b = arg;
	auto_buf struct buf text = {}, ca = {}, pem = {};
	base64_add(&ca, BASE64_STD, b->config.ca_pem.ptr, b->config.ca_pem.len);
	buf_printf(&pem, "%.*s/kubelet-client-current.pem", SPAN_ARG(b->p.cert_dir));
	struct json_out o = { .buf = &text };
	/* JSON is YAML; the texts may hold anything. */
	json_out_begin(&o);
	json_out_kspan(&o, "apiVersion", SPAN("v1"));
	json_out_kspan(&o, "kind", SPAN("Config"));
	json_out_kspan(&o, "current-context", SPAN("default-context"));
	json_out_key(&o, SPAN("clusters"));
	json_out_begin_array(&o);
	json_out_begin(&o);
	json_out_kspan(&o, "name", SPAN("default-cluster"));
	json_out_key(&o, SPAN("cluster"));
	json_out_begin(&o);
	json_out_kspan(&o, "server", b->config.server);
	json_out_kspan(&o, "certificate-authority-data", buf_span(&ca));
	json_out_kspan(&o, "tls-server-name", b->config.tls_server_name);
	json_out_end(&o);
	json_out_end(&o);
	json_out_end(&o);
	json_out_key(&o, SPAN("users"));
	json_out_begin_array(&o);
	json_out_begin(&o);
	json_out_kspan(&o, "name", SPAN("default-auth"));
	json_out_key(&o, SPAN("user"));
	json_out_begin(&o);
	json_out_kspan(&o, "client-certificate", buf_span(&pem));
	json_out_kspan(&o, "client-key", buf_span(&pem));
	json_out_end(&o);
	json_out_end(&o);
	json_out_end(&o);
	json_out_key(&o, SPAN("contexts"));
	json_out_raw(&o, SPAN("[{\"name\":\"default-context\",\"context\":{\"cluster\":\"default-cluster\","
		"\"user\":\"default-auth\"}}]"));
	json_out_end(&o);
	buf_chr(&text, '\n');
	over(b, io_write_file(AT_FDCWD, b->p.kubeconfig.ptr, buf_span(&text), 0600, &b->why));
}

static void on_bootstrap(struct loop_timer *t)
{
	struct kl_bootstrap *b = container_of(t, struct kl_bootstrap, timer);
	if (!b->over && usable(b))
		b->over = true;
	if (b->over) {
		struct err why = b->why;
		int rc = b->rc;
		void (*done)(int, const struct err *, void *) = b->p.done;
		void *arg = b->p.arg;
		b->why = (struct err)ERR_INIT;
		kl_bootstrap_cancel(b);
		done(rc, rc < 0 ? &why : NULL, arg);
		return err_done(&why);
	}
	const struct client_source src = { .kubeconfig = b->p.bootstrap.ptr, .no_in_cluster = true };
	int rc = client_config_load(&src, &b->config, &b->why);
	if (rc == 0)
		rc = client_new(&(struct client_params){ .loop = b->p.loop, .config = &b->config, .user_agent = "knarr-kubelet" },
			&b->client,
				&b->why);
	if (rc < 0) {
		(void)err_note(&b->why, "--bootstrap-kubeconfig");
		return over(b, rc);
	}
	const struct kl_cert_params cp = { .loop = b->p.loop, .client = b->client, .dir = b->p.cert_dir, .node_name = b->p.node_name,
					   .kind = KL_CERT_CLIENT, .ready = on_ready, .arg = b };
	b->cert = kl_cert_new(&cp);
}

struct kl_bootstrap *kl_bootstrap_begin(const struct kl_bootstrap_params *p)
{
	struct kl_bootstrap *b = mem_new(struct kl_bootstrap);
	b->p = *p;
	loop_timer_init(&b->timer, p->loop, "bootstrap", on_bootstrap);
	loop_timer_start(&b->timer, 0);
	return b;
}
