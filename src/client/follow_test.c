/* Certificates that are replaced under a client. */
#include "client/client.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "tls/tls.h"

struct signer {
	struct tls_key *key;
	struct buf pem;
};

static struct loop *l;
static struct http_server *server;
static struct tls_slot slot;
static struct client *client;
static struct buf said;
static char dir[] = "/tmp/follow-test-XXXXXX";
static unsigned port;

static void path_of(struct buf *out, const char *name)
{
	buf_printf(out, "%s/%s", dir, name);
}

static void put(const char *name, struct span text)
{
	auto_buf struct buf path = {};
	path_of(&path, name);
	assert_int_equal(io_write_file(AT_FDCWD, buf_cstr(&path), text, 0600, NULL), 0);
}

static void signer_make(struct signer *s, const char *name)
{
	int64_t now = clock_wall_ns(clock_real()) / NS_PER_S;
	const struct tls_cert_params p = { .kind = TLS_CERT_CA, .cn = name, .not_before_s = now - 60, .not_after_s = now + 3600 };
	*s = (struct signer){};
	assert_int_equal(tls_key_new(TLS_ES256, &s->key, NULL), 0);
	assert_int_equal(tls_cert_make(&p, s->key, SPAN_EMPTY, NULL, &s->pem, NULL), 0);
}

static void signer_done(struct signer *s)
{
	tls_key_unref(s->key);
	buf_done(&s->pem);
}

static void pair_make(const struct signer *s, const char *cn, bool serves, struct buf *cert, struct buf *key_pem)
{
	static const char *const ips[] = { "127.0.0.1", NULL };
	int64_t now = clock_wall_ns(clock_real()) / NS_PER_S;
	auto_cleanup(auto_tls_key_) struct tls_key *key = NULL;
	const struct tls_cert_params p = { .kind = serves ? TLS_CERT_SERVER : TLS_CERT_CLIENT, .cn = cn, .ips = serves ? ips : NULL,
					   .not_before_s = now - 60, .not_after_s = now + 3600 };
	assert_int_equal(tls_key_new(TLS_ES256, &key, NULL), 0);
	assert_int_equal(tls_cert_make(&p, key, buf_span(&s->pem), s->key, cert, NULL), 0);
	assert_int_equal(tls_key_private_pem(key, key_pem, NULL), 0);
}

/* What the server shows, by that signer; clients are believed by both. */
static void serve_by(const struct signer *s, const struct signer *a, const struct signer *b)
{
	auto_buf struct buf cert = {}, key = {}, both = {};
	struct tls_ctx *ctx;
	pair_make(s, "server", true, &cert, &key);
	buf_printf(&both, "%s%s", buf_cstr((struct buf *)&a->pem), buf_cstr((struct buf *)&b->pem));
	const struct tls_pair pair = { buf_span(&cert), buf_span(&key), "cert", "key" };
	const struct tls_server_params p = { .pairs = &pair, .n_pairs = 1, .alpn = TLS_ALPN_HTTP, .client_ca_pem = buf_span(&both),
					     .client_auth = TLS_CLIENT_ASK };
	assert_int_equal(tls_server_new(&p, &ctx, NULL), 0);
	tls_slot_put(&slot, ctx);
	if (server)
		http_server_renew(server);
}

static void kubeconfig(const char *cert, const char *key)
{
	auto_buf struct buf b = {};
	buf_printf(&b, "current-context: c\nclusters:\n- name: c\n  cluster:\n    server: https://127.0.0.1:%u\n    certificate-authority: ca.crt\n"
		       "users:\n- name: u\n  user:\n    client-certificate%s\n    client-key%s\n"
		       "contexts:\n- name: c\n  context: {cluster: c, user: u}\n", port, cert, key);
	put("kubeconfig", buf_span(&b));
}

static void handle(struct http_req *r, void *arg)
{
	const struct tls_peer *cert = http_req_peer(r)->cert;
	http_reply_text(r, 200, "text/plain", span_of(cert && cert->verified ? cert->cn : "nobody"));
}

static void on_answer(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	if (why)
		buf_printf(&said, "%s", err_class_name(why->class));
	else
		buf_span_add(&said, body);
}

/* Asks until that is the answer (30 s at most). */
static void until(const char *answer)
{
	int64_t end = clock_mono_ms(clock_real()) + 30000;
	do {
		buf_trunc(&said, 0);
		const struct client_request r = { .method = "GET", .path = SPAN("/"), .done = on_answer, .timeout_ms = 1000 };
		(void)client_send(client, &r);
		while (!said.len) {
			loop_turn(l, false);
			(void)poll(NULL, 0, 1);
		}
	} while (!span_is(buf_span(&said), answer) && clock_mono_ms(clock_real()) < end);
	assert_string_equal(buf_cstr(&said), answer);
}

static void stopped(struct http_server *s, void *arg)
{
	*(bool *)arg = true;
}

static void follows(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct signer a, b;
	auto_buf struct buf cert = {}, key = {}, path = {}, text = {}, text_key = {};
	assert_non_null(mkdtemp(dir));
	signer_make(&a, "a");
	signer_make(&b, "b");
	assert_int_equal(loop_new(NULL, &l, NULL), 0);
	tls_slot_init(&slot);
	serve_by(&a, &a, &b);
	const struct http_server_params sp = { .loop = l, .name = "test", .handle = handle, .tls = &slot };
	assert_int_equal(http_server_new(&sp, &server, NULL), 0);
	int fd = http_listen_tcp("127.0.0.1", 0, 0, NULL);
	port = http_fd_port(fd);
	assert_int_equal(http_server_listen(server, fd, HTTP_TLS, NULL), 0);

	pair_make(&a, "one", false, &cert, &key);
	put("client.crt", buf_span(&cert));
	put("client.key", buf_span(&key));
	put("ca.crt", buf_span(&a.pem));
	kubeconfig(": client.crt", ": client.key");
	path_of(&path, "kubeconfig");
	const struct client_source src = { .kubeconfig = buf_cstr(&path), .no_in_cluster = true };
	struct client_config config;
	if (client_config_load(&src, &config, &err) < 0)
		fail_msg("%s", err_msg(&err));
	assert_int_equal(config.n_files, 4);
	const struct client_params cp = { .loop = l, .config = &config, .user_agent = "test" };
	assert_int_equal(client_new(&cp, &client, NULL), 0);
	client_follow(client, &src);
	until("one");

	/* A certificate beside the key of another is not taken; with its key it is. */
	buf_trunc(&cert, 0);
	buf_trunc(&key, 0);
	pair_make(&a, "two", false, &cert, &key);
	put("client.crt", buf_span(&cert));
	for (int64_t end = clock_mono_ms(clock_real()) + 600; clock_mono_ms(clock_real()) < end;)
		until("one");
	put("client.key", buf_span(&key));
	until("two");
	/* Within the kubeconfig. */
	buf_trunc(&cert, 0);
	buf_trunc(&key, 0);
	pair_make(&b, "three", false, &cert, &key);
	buf_str(&text, "-data: ");
	base64_add(&text, BASE64_STD, cert.ptr, cert.len);
	buf_str(&text_key, "-data: ");
	base64_add(&text_key, BASE64_STD, key.ptr, key.len);
	kubeconfig(buf_cstr(&text), buf_cstr(&text_key));
	until("three");
	/* What cannot be read changes nothing. */
	put("kubeconfig", SPAN("{"));
	for (int64_t end = clock_mono_ms(clock_real()) + 600; clock_mono_ms(clock_real()) < end;)
		until("three");
	kubeconfig(buf_cstr(&text), buf_cstr(&text_key));
	/* Another authority signs the server's certificate: nobody believes it until it is told. */
	serve_by(&b, &a, &b);
	until("UPSTREAM");
	put("ca.crt", buf_span(&b.pem));
	until("three");

	client_free(client);
	bool over = false;
	http_server_stop(server, 0, stopped, &over);
	for (int i = 0; i < 3000 && !over; i++) {
		loop_turn(l, false);
		(void)poll(NULL, 0, i > 20);
	}
	assert_true(over);
	http_server_free(server);
	while (loop_turn(l, false))
		;
	loop_free(l);
	tls_slot_done(&slot);
	client_config_done(&config);
	signer_done(&a);
	signer_done(&b);
	static const char *const left[] = { "client.crt", "client.key", "ca.crt", "kubeconfig" };
	for (unsigned i = 0; i < ARRAY_LEN(left); i++) {
		buf_trunc(&path, 0);
		path_of(&path, left[i]);
		assert_int_equal(unlink(buf_cstr(&path)), 0);
	}
	assert_int_equal(rmdir(dir), 0);
	buf_done(&said);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(follows) };
	log_open(-1, LOG_ERROR, "test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
