/* Several loop threads behind one listener, counted bytes shared by all, certificates swapped meanwhile; meant to be run
 * under ThreadSanitizer too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "http/http.h"

enum { THREADS = 3, CALLS = 400, AT_ONCE = 20 };

struct worker {
	struct loop *l;
	struct http_server *server;
	pthread_t thread;
	uint64_t requests, accepted;
};

static struct worker workers[THREADS];
static struct bytes *shared;
static struct tls_slot slot;

static void handle(struct http_req *r, void *arg)
{
	struct worker *w = arg;
	assert_true(loop_here(w->l));
	for (int i = 0; i < 10; i++)
		http_reply_add(r, http_bytes(bytes_ref(shared)));
	http_reply_end(r);
}

static void stopped(struct http_server *s, void *arg)
{
	struct worker *w = arg;
	w->requests = http_server_stats(s).requests;
	w->accepted = http_server_stats(s).accepted;
	http_server_free(s);
	w->server = NULL;
	loop_release(w->l);
}

static void stop(void *arg)
{
	struct worker *w = arg;
	http_server_stop(w->server, 1000, stopped, w);
}

static void *run(void *arg)
{
	loop_run(((struct worker *)arg)->l);
	return NULL;
}

static struct tls_ctx *certificate(struct buf *out_cert)
{
	auto_err struct err err = ERR_INIT;
	auto_cleanup(auto_tls_key_) struct tls_key *key = NULL;
	auto_buf struct buf pem = {};
	const char *dns[] = { "localhost", NULL };
	int64_t now = clock_wall_ns(clock_real()) / NS_PER_S;
	struct tls_cert_params p = { TLS_CERT_SERVER, "x", NULL, dns, NULL, NULL, now - 60, now + 3600 };
	assert_int_equal(tls_key_new(TLS_ES256, &key, &err), 0);
	assert_int_equal(tls_cert_make(&p, key, SPAN_EMPTY, NULL, out_cert, &err), 0);
	assert_int_equal(tls_key_private_pem(key, &pem, &err), 0);
	struct tls_pair pair = { buf_span(out_cert), buf_span(&pem), NULL, NULL };
	struct tls_server_params sp = { .pairs = &pair, .n_pairs = 1, .alpn = TLS_ALPN_HTTP };
	struct tls_ctx *ctx;
	assert_int_equal(tls_server_new(&sp, &ctx, &err), 0);
	return ctx;
}

struct load {
	struct http_client *client;
	struct http_origin origin;
	struct loop *l;
	int begun, ended;
	size_t bytes;
};

static void next(struct load *load);

static void on_data(struct http_call *c, struct span data, void *arg)
{
	((struct load *)arg)->bytes += data.len;
}

static void on_done(struct http_call *c, const struct err *why, void *arg)
{
	struct load *load = arg;
	if (why)
		fail_msg("call %d: %s", load->ended, err_msg(why));
	load->ended++;
	if (load->ended % 50 == 0) { /* new connections, dealt to other threads; new certificates */
		http_client_close_idle(load->client);
		auto_buf struct buf cert = {};
		tls_slot_put(&slot, certificate(&cert));
	}
	next(load);
}

static const struct http_call_ops ops = { .data = on_data, .done = on_done };

static void next(struct load *load)
{
	auto_err struct err err = ERR_INIT;
	struct http_call *call;
	if (load->begun == CALLS)
		return;
	load->begun++;
	struct http_call_params p = { .origin = &load->origin, .method = "GET", .target = SPAN("/"), .ops = &ops, .arg = load };
	if (http_call_begin(load->client, &p, &call, &err) < 0)
		fail_msg("%s", err_msg(&err));
}

static void test_threads(void **state)
{
	auto_err struct err err = ERR_INIT;
	shared = bytes_alloc(3000);
	memset(shared->data, 'x', shared->len);
	tls_slot_init(&slot);
	auto_buf struct buf cert = {};
	tls_slot_put(&slot, certificate(&cert));
	for (int i = 0; i < THREADS; i++) {
		struct worker *w = &workers[i];
		assert_int_equal(loop_new(NULL, &w->l, &err), 0);
		struct http_server_params p = { .loop = w->l, .name = "shared", .handle = handle, .arg = w, .tls = &slot };
		assert_int_equal(http_server_new(&p, &w->server, &err), 0);
		loop_hold(w->l);
	}
	struct http_server *others[] = { workers[1].server, workers[2].server };
	http_server_share(workers[0].server, others, 2);
	int plain = http_listen_tcp("127.0.0.1", 0, 0, &err), tls = http_listen_tcp("127.0.0.1", 0, 0, &err);
	unsigned ports[] = { http_fd_port(plain), http_fd_port(tls) };
	assert_int_equal(http_server_listen(workers[0].server, plain, 0, &err), 0);
	assert_int_equal(http_server_listen(workers[0].server, tls, HTTP_TLS, &err), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&workers[i].thread, NULL, run, &workers[i]);

	struct loop *l;
	assert_int_equal(loop_new(NULL, &l, &err), 0);
	struct tls_client_params cp = { .insecure = true, .alpn = TLS_ALPN_HTTP1 };
	struct tls_ctx *trusting;
	assert_int_equal(tls_client_new(&cp, &trusting, &err), 0);
	for (int k = 0; k < 2; k++) {
		struct load load = { .origin = { .host = k ? "localhost" : "127.0.0.1", .port = ports[k], .tls = k, .tls_ctx = trusting } };
		load.l = l;
		struct http_client_params p = { .loop = l, .name = "load", .connections_per_origin = AT_ONCE, .idle_per_origin = AT_ONCE };
		assert_int_equal(http_client_new(&p, &load.client, &err), 0);
		for (int i = 0; i < AT_ONCE; i++)
			next(&load);
		loop_run(l);
		assert_int_equal(load.ended, CALLS);
		assert_int_equal(load.bytes, (size_t)CALLS * 10 * shared->len);
		http_client_free(load.client);
		loop_turn(l, false);
	}
	tls_ctx_unref(trusting);
	loop_free(l);

	uint64_t requests = 0;
	for (int i = 0; i < THREADS; i++) {
		loop_post_call(workers[i].l, stop, &workers[i]);
		pthread_join(workers[i].thread, NULL);
		/* Connections are dealt in turn; how much comes over each is the clients' and the scheduler's matter. */
		assert_in_range(workers[i].accepted, workers[0].accepted - 1, workers[0].accepted + 1);
		assert_true(workers[i].requests > 0);
		requests += workers[i].requests;
		loop_free(workers[i].l);
	}
	assert_int_equal(requests, 2 * CALLS);
	assert_true(workers[0].accepted >= 2 * AT_ONCE / THREADS);
	assert_int_equal(atomic_load(&shared->refs), 1);
	bytes_unref(shared);
	tls_slot_done(&slot);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_threads) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
