/* Start and stop: files, store, threads, listeners. */
#include "apiserver/server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>

#define STOP_MS 10000
#define FILE_MAX (1 << 20)

/* ---- certificates and keys */

static int read_whole(struct span path, struct buf *out, struct err *err)
{
	auto_free char *name = mem_dup(path.ptr, path.len);
	return io_read_file(AT_FDCWD, name, out, FILE_MAX, err);
}

static int pki_dir(const struct apiserver_options *o, struct buf *out, struct err *err)
{
	if (o->cert_dir.len)
		buf_span_add(out, o->cert_dir);
	else
		buf_printf(out, "%.*s/pki", SPAN_ARG(o->data_dir));
	return io_mkdirs(AT_FDCWD, buf_cstr(out), 0700, err);
}

/* Reads DIR/NAME, or makes it with make() when it is not there. */
static int key_get(const char *dir, const char *name, struct tls_key **out, struct err *err)
{
	auto_buf struct buf path = {}, pem = {};
	buf_printf(&path, "%s/%s", dir, name);
	int rc = io_read_file(AT_FDCWD, buf_cstr(&path), &pem, FILE_MAX, err);
	if (rc == 0)
		return tls_key_read(buf_span(&pem), buf_cstr(&path), out, err);
	if (rc != -ERR_NOT_FOUND)
		return rc;
	rc = tls_key_new(TLS_ES256, out, err);
	if (rc == 0 && (rc = tls_key_save(*out, AT_FDCWD, buf_cstr(&path), err)) < 0) {
		tls_key_unref(*out);
		*out = NULL;
	}
	return rc;
}

/* A CA of our own and a serving certificate by it, kept in the folder: what kubeadm names ca.crt and apiserver.crt. */
static int serving_files(struct apiserver *s, const char *dir, struct buf *cert, struct buf *key_pem, struct buf *ca,
			 struct err *err)
{
	auto_buf struct buf path = {};
	auto_cleanup(auto_tls_key_) struct tls_key *ca_key = NULL;
	auto_cleanup(auto_tls_key_) struct tls_key *key = NULL;
	int64_t now_s = clock_wall_ns(s->clock) / NS_PER_S;
	int rc = key_get(dir, "ca.key", &ca_key, err);
	if (rc == 0)
		rc = key_get(dir, "apiserver.key", &key, err);
	if (rc < 0)
		return rc;
	buf_printf(&path, "%s/ca.crt", dir);
	rc = io_read_file(AT_FDCWD, buf_cstr(&path), ca, FILE_MAX, err);
	if (rc == -ERR_NOT_FOUND) {
		const struct tls_cert_params p = { .kind = TLS_CERT_CA,
						   .cn = "kubernetes",
						   .not_before_s = now_s - 300,
						   .not_after_s = now_s + 3650LL * 86400 };
		rc = tls_cert_make(&p, ca_key, SPAN_EMPTY, NULL, ca, err);
		if (rc == 0)
			rc = io_write_file(AT_FDCWD, buf_cstr(&path), buf_span(ca), 0644, err);
	}
	if (rc < 0)
		return rc;
	buf_trunc(&path, 0);
	buf_printf(&path, "%s/apiserver.crt", dir);
	rc = io_read_file(AT_FDCWD, buf_cstr(&path), cert, FILE_MAX, err);
	if (rc == -ERR_NOT_FOUND) {
		static const char *const names[] = { "kubernetes",
						     "kubernetes.default",
						     "kubernetes.default.svc",
						     "kubernetes.default.svc.cluster.local",
						     "localhost",
						     NULL };
		struct span own = s->opt->advertise_address;
		auto_free char *advertised = own.len ? mem_dup(own.ptr, own.len) : NULL;
		const char *ips[] = { "127.0.0.1", "::1", "10.96.0.1", advertised, NULL };
		const struct tls_cert_params p = { .kind = TLS_CERT_SERVER,
						   .cn = "kube-apiserver",
						   .dns_names = names,
						   .ips = ips,
						   .not_before_s = now_s - 300,
						   .not_after_s = now_s + 365LL * 86400 };
		rc = tls_cert_make(&p, key, buf_span(ca), ca_key, cert, err);
		if (rc == 0)
			rc = io_write_file(AT_FDCWD, buf_cstr(&path), buf_span(cert), 0644, err);
	}
	return rc < 0 ? rc : tls_key_private_pem(key, key_pem, err);
}

static int tls_setup(struct apiserver *s, struct err *err)
{
	const struct apiserver_options *o = s->opt;
	auto_buf struct buf dir = {}, cert = {}, key = {}, own_ca = {}, client_ca = {};
	int rc = pki_dir(o, &dir, err);
	if (rc == 0 && o->tls_cert_file.len) {
		rc = read_whole(o->tls_cert_file, &cert, err);
		if (rc == 0)
			rc = read_whole(o->tls_key_file, &key, err);
	} else if (rc == 0) {
		rc = serving_files(s, buf_cstr(&dir), &cert, &key, &own_ca, err);
	}
	if (rc == 0 && o->client_ca_file.len)
		rc = read_whole(o->client_ca_file, &client_ca, err);
	if (rc < 0)
		return rc;
	struct span bundle = client_ca.len ? buf_span(&client_ca) : buf_span(&own_ca);
	const struct tls_pair pair = { .cert_pem = buf_span(&cert), .key_pem = buf_span(&key) };
	const struct tls_server_params p = { .pairs = &pair,
					     .n_pairs = 1,
					     .client_ca_pem = bundle,
					     .client_auth = bundle.len ? TLS_CLIENT_ASK : TLS_CLIENT_NONE,
					     .alpn = TLS_ALPN_HTTP };
	struct tls_ctx *ctx;
	rc = tls_server_new(&p, &ctx, err);
	if (rc < 0)
		return err_note(err, "serving certificate");
	tls_slot_put(&s->tls, ctx);

	/* Service-account keys: given, or one of our own that does both. */
	auto_buf struct buf pem = {};
	if (o->sa_signing_key_file.len) {
		auto_free char *where = mem_dup(o->sa_signing_key_file.ptr, o->sa_signing_key_file.len);
		rc = read_whole(o->sa_signing_key_file, &pem, err);
		if (rc == 0)
			rc = tls_key_read(buf_span(&pem), where, &s->sa_keys[1], err);
	} else {
		rc = key_get(buf_cstr(&dir), "sa.key", &s->sa_keys[1], err);
	}
	if (rc == 0 && o->sa_key_file.len) {
		auto_free char *where = mem_dup(o->sa_key_file.ptr, o->sa_key_file.len);
		buf_trunc(&pem, 0);
		rc = read_whole(o->sa_key_file, &pem, err);
		if (rc == 0)
			rc = tls_key_read(buf_span(&pem), where, &s->sa_keys[0], err);
	} else if (rc == 0) {
		s->sa_keys[0] = tls_key_ref(s->sa_keys[1]);
	}
	s->issuer = (struct auth_issuer){
		.issuer = o->issuer, .verify = s->sa_keys, .n_verify = 1, .sign = s->sa_keys[1], .extend = true
	};
	return rc;
}

/* ---- what every cluster has */

struct waiting {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned left;
	struct err err;
};

static void on_seeded(struct store_call *sc, void *arg)
{
	struct waiting *w = arg;
	pthread_mutex_lock(&w->lock);
	if (sc->err.class != ERR_NONE && w->err.class == ERR_NONE)
		(void)err_move(&w->err, &sc->err);
	w->left--;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

/* The namespaces that kube-apiserver makes; those that are there stay as they are. */
static int seed_namespaces(struct apiserver *s, struct api_registry *reg, struct err *err)
{
	static const char *const names[] = { "default", "kube-system", "kube-public", "kube-node-lease" };
	const struct api_resource *res = api_registry_find(reg, SPAN(""), SPAN("v1"), SPAN("namespaces"));
	struct waiting w = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .err = ERR_INIT };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf text = {}, value = {}, key = {};
		char now[40];
		uint8_t id[16];
		char uid[37];
		rng_secret(id, sizeof(id));
		text_uuid(id, uid);
		time_format(now, clock_wall_ns(s->clock) / NS_PER_S, 0, 0);
		buf_printf(&text,
			   "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",\"creationTimestamp\":\"%s\",\"labels\":{"
			   "\"kubernetes.io/metadata.name\":\"%s\"}},\"spec\":{\"finalizers\":[\"kubernetes\"]},\"status\":{"
			   "\"phase\":\"Active\"}}",
			   names[i], uid, now, names[i]);
		struct json tree;
		int rc = api_decode_json(&a, res->type, buf_span(&text), NULL, &tree, err);
		if (rc < 0)
			return rc;
		object_encode(&value, res, &tree, &a);
		object_key(&key, res, SPAN_EMPTY, span_of(names[i]));
		struct store_txn *t = store_txn_new();
		auto_bytes struct bytes *bytes = buf_seal(&value);
		store_txn_if(t, buf_span(&key), STORE_CREATE_REV, STORE_EQUAL, 0);
		store_txn_put(t, STORE_THEN, buf_span(&key), bytes, 0);
		pthread_mutex_lock(&w.lock);
		w.left++;
		pthread_mutex_unlock(&w.lock);
		store_commit(s->store, t, NULL, on_seeded, &w);
	}
	pthread_mutex_lock(&w.lock);
	while (w.left)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	return w.err.class != ERR_NONE ? err_move(err, &w.err) : 0;
}

/* ---- threads */

static void port_run(void *arg)
{
	struct worker *w = arg;
	atomic_store(&w->woken, false);
	if (w->port && store_port_run(w->port, 256) && !atomic_exchange(&w->woken, true))
		loop_post_call(w->loop, port_run, w);
}

static void port_wake(void *arg)
{
	struct worker *w = arg;
	if (!atomic_exchange(&w->woken, true))
		loop_post_call(w->loop, port_run, w);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	loop_run(w->loop);
	return NULL;
}

static void on_stopped(struct http_server *hs, void *arg)
{
	struct worker *w = arg;
	if (--w->serving)
		return;
	if (w->index == 0)
		feed_stop(w);
	/* What the port still owes comes with the next turns: the store is closed only after all threads have ended. */
	loop_release(w->loop);
}

static void worker_stop(void *arg)
{
	struct worker *w = arg;
	watch_end_all(w);
	http_server_stop(w->https, STOP_MS, on_stopped, w);
	if (w->local)
		http_server_stop(w->local, STOP_MS, on_stopped, w);
}

static int worker_init(struct apiserver *s, unsigned i, struct err *err)
{
	struct worker *w = &s->workers[i];
	w->server = s;
	w->index = i;
	list_init(&w->watches);
	int rc = loop_new(s->clock == clock_real() ? NULL : s->clock, &w->loop, err);
	if (rc < 0)
		return rc;
	loop_hold(w->loop);
	w->port = store_port_open(s->store, port_wake, w);
	const struct http_server_params p = {
		.loop = w->loop, .name = "apiserver", .handle = handle_request, .arg = w, .tls = &s->tls
	};
	rc = http_server_new(&p, &w->https, err);
	if (rc < 0)
		return rc;
	w->serving = 1;
	auto_free char *host = mem_dup(s->opt->bind_address.ptr, s->opt->bind_address.len);
	int fd = http_listen_tcp(host, i ? s->port : (unsigned)s->opt->secure_port, HTTP_REUSEPORT, err);
	if (fd < 0)
		return err_note(err, "listening on %s port %d", host, s->opt->secure_port);
	if (i == 0)
		s->port = http_fd_port(fd);
	rc = http_server_listen(w->https, fd, HTTP_TLS, err);
	if (rc == 0 && i == 0 && s->opt->unix_socket.len) {
		auto_free char *path = mem_dup(s->opt->unix_socket.ptr, s->opt->unix_socket.len);
		rc = http_server_new(&p, &w->local, err);
		if (rc == 0) {
			w->serving++;
			int sock = http_listen_unix(path, 0660, err);
			rc = sock < 0 ? sock : http_server_listen(w->local, sock, 0, err);
		}
	}
	if (rc == 0 && i == 0)
		rc = feed_start(w, err);
	return rc;
}

static void worker_done(struct worker *w)
{
	http_server_free(w->https);
	http_server_free(w->local);
	if (w->port)
		store_port_close(w->port);
	if (w->loop)
		loop_free(w->loop);
	api_registry_cache_done(&w->registry);
}

/* ---- */

int apiserver_start(const struct apiserver_options *o, struct apiserver **out_server, struct err *err)
{
	struct apiserver *s = mem_new(struct apiserver);
	s->opt = o;
	s->clock = o->clock ? o->clock : clock_real();
	s->rbac = auth_rbac_new();
	s->nodes = auth_node_new();
	s->lookup = (struct auth_lookup){ .arg = s, .uid_of = lookup_uid, .secret = lookup_secret };
	tls_slot_init(&s->tls);
	struct api_registry *reg = api_registry_builtin(false);
	s->registry = api_registry_box_new(reg);
	auto_buf struct buf dir = {}, tokens = {};
	buf_printf(&dir, "%.*s/store", SPAN_ARG(o->data_dir));
	int rc = io_mkdirs(AT_FDCWD, buf_cstr(&dir), 0700, err);
	if (rc == 0)
		rc = tls_setup(s, err);
	if (rc == 0 && o->token_auth_file.len) {
		auto_free char *where = mem_dup(o->token_auth_file.ptr, o->token_auth_file.len);
		rc = read_whole(o->token_auth_file, &tokens, err);
		if (rc == 0)
			rc = auth_tokens_parse(buf_span(&tokens), where, &s->tokens, err);
	}
	if (rc == 0) {
		const struct store_options so = { .dir = buf_cstr(&dir), .clock = s->clock };
		rc = store_open(&so, &s->store, err);
	}
	if (rc == 0)
		rc = seed_namespaces(s, reg, err);
	s->n_workers = o->threads ? o->threads : 1;
	s->workers = mem_zalloc(sizeof(*s->workers) * s->n_workers);
	for (unsigned i = 0; i < s->n_workers && rc == 0; i++)
		rc = worker_init(s, i, err);
	for (unsigned i = 0; i < s->n_workers && rc == 0; i++) {
		struct worker *w = &s->workers[i];
		int e = pthread_create(&w->thread, NULL, worker_main, w);
		if (e)
			rc = err_sys_num(err, e, "starting a thread");
		else
			w->started = true;
	}
	if (rc < 0) {
		/* A start that fails ends the process: what is half open goes with it, and nothing acknowledged is lost. */
		return rc;
	}
	*out_server = s;
	return 0;
}

unsigned apiserver_port(const struct apiserver *s)
{
	return s->port;
}

void apiserver_stop(struct apiserver *s)
{
	for (unsigned i = 0; i < s->n_workers; i++)
		loop_post_call(s->workers[i].loop, worker_stop, &s->workers[i]);
	for (unsigned i = 0; i < s->n_workers; i++)
		pthread_join(s->workers[i].thread, NULL);
	for (unsigned i = 0; i < s->n_workers; i++)
		worker_done(&s->workers[i]);
	auto_err struct err err = ERR_INIT;
	if (store_close(s->store, &err) < 0)
		log_error("closing the store", kv_err(&err));
	tls_slot_done(&s->tls);
	tls_key_unref(s->sa_keys[0]);
	tls_key_unref(s->sa_keys[1]);
	auth_tokens_free(s->tokens);
	auth_rbac_free(s->rbac);
	auth_node_free(s->nodes);
	api_registry_box_free(s->registry);
	free(s->workers);
	free(s);
}

int apiserver_main(int argc, char **argv)
{
	struct apiserver_options o;
	auto_err struct err err = ERR_INIT;
	struct apiserver *s;
	bool help;
	log_open(2, LOG_INFO, "apiserver");
	apiserver_options_default(&o);
	if (apiserver_options_parse(&o, argc - 1, argv + 1, &help, &err) < 0) {
		(void)fprintf(stderr, "Error: %s\n", err_msg(&err));
		apiserver_options_done(&o);
		return 1;
	}
	if (help) {
		apiserver_options_help();
		apiserver_options_done(&o);
		return 0;
	}
	/* Blocked before any thread exists, so that only the wait below sees them. */
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	if (apiserver_start(&o, &s, &err) < 0) {
		(void)fprintf(stderr, "Error: %s\n", err_msg(&err));
		return err_exit_code(err.class);
	}
	log_info("serving", kv_u64("port", apiserver_port(s)));
	int sig;
	(void)sigwait(&set, &sig);
	log_info("stopping", kv_i64("signal", sig));
	apiserver_stop(s);
	apiserver_options_done(&o);
	return 0;
}
