/* Start and stop: files, store, threads, listeners. */
#include "apiserver/seed.h"
#include "apiserver/server.h"
#include "apiserver/custom.h"
#include "apiserver/service.h"

#include "apiserver/docs.h"
#include "apiserver/kubelet.h"
#include "apiserver/look.h"
#include "apiserver/meter.h"
#include "apiserver/privileges.h"
#include "apiserver/relay.h"
#include "apiserver/reload.h"
#include "apiserver/repair.h"

#include <fcntl.h>
#include <unistd.h>

#define STOP_MS 10000
#define HEADER_MS 32000 /* for the handshake, and for a header, as upstream: decision 0890 */

/* ---- threads */

struct sockets {
	int https, local; /* owned; local may be -1 */
};

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
	if (w->index == 0)
		loop_trim_at_rest(w->loop);
	loop_run(w->loop);
	return NULL;
}

static void on_stopped(struct http_server *hs, void *arg)
{
	struct worker *w = arg;
	if (--w->serving)
		return;
	if (w->index == 0) {
		feed_stop(w);
		repair_stop(w);
		reload_stop(w);
	}
	relay_free(w);
	/* What the port still owes comes with the next turns: the store is closed only after all threads have ended. */
	loop_release(w->loop);
}

static void worker_stop(void *arg)
{
	struct worker *w = arg;
	struct apiserver *s = w->server;
	watch_end_all(w);
	relay_end_all(w);
	http_server_stop(w->https, STOP_MS, on_stopped, w);
	if (w->local)
		http_server_stop(w->local, STOP_MS, on_stopped, w);
	/* The thread that deals connections stops before those that it deals them to. */
	for (unsigned i = 1; w->index == 0 && i < s->n_workers; i++)
		loop_post_call(s->workers[i].loop, worker_stop, &s->workers[i]);
}

static int worker_init(struct apiserver *s, unsigned i, struct err *err)
{
	struct worker *w = &s->workers[i];
	w->server = s;
	w->index = i;
	list_init(&w->watches);
	meter_worker_init(w);
	int rc = loop_new(s->clock == clock_real() ? NULL : s->clock, &w->loop, err);
	if (rc < 0)
		return rc;
	loop_hold(w->loop);
	handle_init(w);
	w->port = store_port_open(s->store, port_wake, w);
	const struct http_server_params p = {
		.loop = w->loop, .name = "apiserver", .handle = handle_request, .arg = w, .tls = &s->tls,
		.limits = { .queue_bytes = CALL_QUEUE_BYTES, .handshake_ms = HEADER_MS, .header_ms = HEADER_MS }
	};
	w->serving = 1;
	return http_server_new(&p, &w->https, err);
}

/* Worker 0 has the listeners, and what there is one of. */
static int first_init(struct apiserver *s, struct sockets *from, struct err *err)
{
	struct worker *w = &s->workers[0];
	struct http_server *others[APISERVER_THREADS_MAX];
	for (unsigned i = 1; i < s->n_workers; i++)
		others[i - 1] = s->workers[i].https;
	http_server_share(w->https, others, s->n_workers - 1);
	int rc = http_server_listen(w->https, take_fd(&from->https), HTTP_TLS, err);
	for (unsigned i = 0; i < s->opt->n_more_https && rc == 0; i++)
		rc = http_server_listen(w->https, s->opt->more_https[i], HTTP_TLS, err);
	if (rc == 0 && from->local >= 0) {
		const struct http_server_params p = {
			.loop = w->loop, .name = "apiserver", .handle = handle_request, .arg = w,
			.limits = { .queue_bytes = CALL_QUEUE_BYTES, .header_ms = HEADER_MS }
		};
		rc = http_server_new(&p, &w->local, err);
		if (rc == 0) {
			w->serving++;
			http_server_share(w->local, others, s->n_workers - 1);
			rc = http_server_listen(w->local, take_fd(&from->local), 0, err);
		}
	}
	if (rc == 0)
		rc = feed_start(w, err);
	if (rc == 0)
		rc = repair_start(w, err);
	return rc < 0 ? rc : reload_start(w, err);
}

static void worker_done(struct worker *w)
{
	http_server_free(w->https);
	http_server_free(w->local);
	if (w->port)
		store_port_close(w->port);
	look_free(w);
	if (w->loop)
		loop_free(w->loop);
	api_registry_cache_done(&w->registry);
	meter_worker_done(w);
}

/* ---- */

static int sockets_open(const struct apiserver_options *o, struct sockets *out, struct err *err)
{
	*out = (struct sockets){ .https = o->https_fd, .local = o->unix_fd };
	if (out->https < 0) {
		auto_free char *host = mem_dup(o->bind_address.ptr, o->bind_address.len);
		out->https = http_listen_tcp(host, (unsigned)o->secure_port, 0, err);
		if (out->https < 0)
			return out->https;
	}
	if (out->local < 0 && o->unix_socket.len) {
		auto_free char *path = mem_dup(o->unix_socket.ptr, o->unix_socket.len);
		out->local = http_listen_unix(path, 0660, err);
		if (out->local < 0)
			return out->local;
	}
	return 0;
}

/* The folders that we write to, made while we may; then what was asked for is given up. */
static int drop(const struct apiserver_options *o, const char *store_dir, struct err *err)
{
	auto_buf struct buf pki = {};
	int rc = pki_dir(o, &pki, err);
	const char *const folders[] = { store_dir, buf_cstr(&pki), NULL };
	return rc < 0 ? rc : privileges_drop(o->user, folders, err);
}

static int start(struct apiserver *s, const struct files *files, const char *store_dir, struct err *err)
{
	const struct apiserver_options *o = s->opt;
	struct tls_ctx *ctx;
	int rc = pki_tls(o, files, s->clock, &ctx, &s->authorities, err);
	if (rc < 0)
		return rc;
	tls_slot_put(&s->tls, ctx);
	struct issuing *issuing;
	rc = pki_issuing_new(o, files, &issuing, err);
	if (rc < 0)
		return rc;
	atomic_store(&s->issuing, issuing);
	if (o->token_auth_file.len) {
		struct auth_tokens *tokens;
		rc = auth_tokens_parse(buf_span(&files->text[FILE_TOKENS]), o->token_auth_file.ptr, &tokens, err);
		if (rc < 0)
			return rc;
		atomic_store(&s->tokens, tokens);
	}
	rc = audit_new(o, buf_span(&files->text[FILE_AUDIT_POLICY]), s->clock, &s->audit, err);
	if (rc == 0)
		rc = docs_new(&s->docs, err);
	if (rc < 0)
		return rc;
	s->meter = meter_new(s);
	s->flow.classes[FLOW_READING].limit = o->max_inflight;
	s->flow.classes[FLOW_WRITING].limit = o->max_mutating;
	const struct store_options so = { .dir = store_dir, .clock = s->clock, .fleeting_ms = o->event_ttl_ms,
					  .detach = podnode_detach };
	return store_open(&so, &s->store, err);
}

int apiserver_start(const struct apiserver_options *o, struct apiserver **out_server, struct err *err)
{
	struct apiserver *s = mem_new(struct apiserver);
	struct sockets sockets = { .https = -1, .local = -1 };
	struct files files = {};
	s->opt = o;
	s->clock = o->clock ? o->clock : clock_real();
	s->rbac = auth_rbac_new();
	s->nodes = auth_node_new();
	s->lookup = (struct auth_lookup){ .arg = s, .uid_of = lookup_uid, .secret = lookup_secret };
	tls_slot_init(&s->tls);
	struct api_registry *reg = api_registry_serving(o->runtime_on.items, o->runtime_on.n);
	s->registry = api_registry_box_new(reg);
	s->chunks = chunk_cache_new(CHUNK_CACHE_BYTES);
	auto_buf struct buf dir = {};
	buf_printf(&dir, "%.*s/store", SPAN_ARG(o->data_dir));
	int rc = admission_set_parse(o->enable_admission, o->disable_admission, &s->admission, err);
	if (rc == 0)
		rc = sockets_open(o, &sockets, err);
	if (rc == 0)
		rc = files_read(o, &files, err);
	struct kubelets *kubelets = NULL;
	if (rc == 0 && (rc = kubelet_open(o, &kubelets, err)) == 0) /* keys, while we may read them */
		atomic_store(&s->kubelets, kubelets);
	if (rc == 0)
		rc = service_options(o, err);
	if (rc == 0)
		rc = io_mkdirs(AT_FDCWD, buf_cstr(&dir), 0700, err);
	if (rc == 0 && o->user.len)
		rc = drop(o, buf_cstr(&dir), err);
	if (rc == 0)
		rc = start(s, &files, buf_cstr(&dir), err);
	if (rc == 0)
		rc = seed_start(s, err);
	s->n_workers = o->threads ? MIN(o->threads, (unsigned)APISERVER_THREADS_MAX) : 1;
	s->workers = mem_zalloc(sizeof(*s->workers) * s->n_workers);
	if (rc == 0)
		s->port = http_fd_port(sockets.https);
	for (unsigned i = 0; i < s->n_workers && rc == 0; i++)
		rc = worker_init(s, i, err);
	if (rc == 0)
		rc = first_init(s, &sockets, err);
	if (rc == 0)
		rc = seed_kubernetes(s, err);
	files_done(&files);
	for (unsigned i = 0; i < s->n_workers && rc == 0; i++) {
		struct worker *w = &s->workers[i];
		int e = pthread_create(&w->thread, NULL, worker_main, w);
		if (e) {
			rc = err_sys_num(err, e, "starting a thread");
			continue;
		}
		char name[16];
		(void)snprintf(name, sizeof(name), "loop %u", i);
		(void)pthread_setname_np(w->thread, name); /* for people who look */
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

static void reload(void *arg)
{
	reload_run(arg);
}

void apiserver_reload(struct apiserver *s)
{
	loop_post_call(s->workers[0].loop, reload, s);
}

void apiserver_stop_announce(struct apiserver *s)
{
	atomic_store(&s->leaving, true);
}

void apiserver_stop(struct apiserver *s)
{
	atomic_store(&s->leaving, true);
	loop_post_call(s->workers[0].loop, worker_stop, &s->workers[0]);
	for (unsigned i = 0; i < s->n_workers; i++)
		pthread_join(s->workers[i].thread, NULL);
	docs_stop(s->docs);
	for (unsigned i = 0; i < s->n_workers; i++)
		worker_done(&s->workers[i]);
	docs_free(s->docs);
	audit_free(s->audit);
	meter_free(s->meter);
	auto_err struct err err = ERR_INIT;
	if (store_close(s->store, &err) < 0)
		log_error("closing the store", kv_err(&err));
	tls_slot_done(&s->tls);
	bytes_unref(s->authorities);
	pki_issuing_free(atomic_load(&s->issuing));
	kubelet_close(atomic_load(&s->kubelets));
	auth_tokens_free(atomic_load(&s->tokens));
	auth_rbac_free(s->rbac);
	auth_node_free(s->nodes);
	apiserver_custom_free(s);
	api_registry_box_free(s->registry);
	chunk_cache_free(s->chunks);
	free(s->workers);
	free(s);
}
