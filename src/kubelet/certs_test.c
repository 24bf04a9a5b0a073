/* Certificates by request, the bootstrap, and the rotation of logs. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kubelet/certs.h"
#include "kubelet/fake_api_test.h"
#include "kubelet/files.h"
#include "kubelet/rotate.h"

#define CSRS "/apis/certificates.k8s.io/v1/certificatesigningrequests"

struct world {
	struct loop *loop;
	struct fake_api api;
	struct tls_key *ca_key;
	struct buf ca, said;
	char dir[40];
	unsigned asked, ready, reopened;
	int64_t life_s;
	bool deny, over;
	struct buf to_sign; /* base64 of the request that is not signed yet */
	bool serving;
	bool reopen_fails;
};

#define until(w, condition) until_in((w)->loop, buf_cstr(&(w)->said), condition)

static int post(struct fake_api *f, struct span path, struct span body, struct buf *out)
{
	struct world *w = f->arg;
	auto_arena struct arena a = {};
	struct json t;
	assert_true(span_is(path, CSRS));
	assert_int_equal(json_parse(&a, body, 0, NULL, &t, NULL), 0);
	w->serving = span_is(json_span(json_path(&t, "spec", "signerName", NULL)), "kubernetes.io/kubelet-serving");
	buf_trunc(&w->to_sign, 0);
	buf_span_add(&w->to_sign, json_span(json_path(&t, "spec", "request", NULL)));
	buf_printf(&w->said, "asked %.*s\n", SPAN_ARG(json_span(&json_path(&t, "spec", "usages", NULL)->items[1])));
	buf_printf(out, "{\"metadata\":{\"name\":\"csr-%u\"}}", ++w->asked);
	char at[128], text[128];
	(void)snprintf(at, sizeof(at), CSRS "/csr-%u", w->asked);
	(void)snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"csr-%u\"},\"spec\":{},\"status\":{}}", w->asked);
	fake_put(f, at, text);
	return 201;
}

/* The signer's part. */
static void sign(struct world *w)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf pem = {}, cert = {}, text = {};
	struct tls_peer *asked;
	struct tls_key *key;
	char at[128];
	assert_true(base64_parse(&pem, BASE64_STD, buf_span(&w->to_sign)));
	if (tls_csr_read(buf_span(&pem), "csr", &asked, &key, &err) < 0)
		fail_msg("%s", err_msg(&err));
	buf_printf(&w->said, "signs %s", asked->cn);
	for (unsigned i = 0; i < asked->n_orgs; i++)
		buf_printf(&w->said, " O=%s", asked->orgs[i]);
	for (unsigned i = 0; i < asked->n_dns_names; i++)
		buf_printf(&w->said, " DNS=%s", asked->dns_names[i]);
	for (unsigned i = 0; i < asked->n_ips; i++)
		buf_printf(&w->said, " IP=%s", asked->ips[i]);
	buf_chr(&w->said, '\n');
	int64_t now = loop_wall_ns(w->loop) / NS_PER_S;
	const char *ips[] = { asked->n_ips ? asked->ips[0] : NULL, NULL };
	const struct tls_cert_params p = { .kind = w->serving ? TLS_CERT_SERVER : TLS_CERT_CLIENT, .cn = asked->cn, .ips = ips, .not_before_s = now,
					   .not_after_s = now + w->life_s };
	assert_int_equal(tls_cert_make(&p, key, buf_span(&w->ca), w->ca_key, &cert, &err), 0);
	(void)snprintf(at, sizeof(at), CSRS "/csr-%u", w->asked);
	buf_printf(&text, "{\"metadata\":{\"name\":\"csr-%u\"},\"spec\":{},\"status\":{", w->asked);
	if (w->deny) {
		buf_str(&text, "\"conditions\":[{\"type\":\"Denied\",\"status\":\"True\",\"message\":\"no\"}]}}");
	} else {
		buf_str(&text, "\"certificate\":\"");
		base64_add(&text, BASE64_STD, cert.ptr, cert.len);
		buf_str(&text, "\"}}");
	}
	fake_put(&w->api, at, buf_cstr(&text));
	tls_peer_unref(asked);
	tls_key_unref(key);
}

static void world_init(struct world *w)
{
	auto_err struct err err = ERR_INIT;
	*w = (struct world){ .life_s = 3600 };
	memcpy(w->dir, "/tmp/certs-test-XXXXXX", 23);
	assert_non_null(mkdtemp(w->dir));
	assert_int_equal(loop_new(NULL, &w->loop, NULL), 0);
	fake_init(&w->api, w->loop);
	w->api.post = post;
	w->api.arg = w;
	int64_t now = loop_wall_ns(w->loop) / NS_PER_S;
	assert_int_equal(tls_key_new(TLS_ES256, &w->ca_key, &err), 0);
	const struct tls_cert_params p = { .kind = TLS_CERT_CA, .cn = "ca", .not_before_s = now - 60, .not_after_s = now + 36000 };
	assert_int_equal(tls_cert_make(&p, w->ca_key, SPAN_EMPTY, NULL, &w->ca, &err), 0);
}

static void world_done(struct world *w)
{
	fake_done(&w->api);
	while (loop_turn(w->loop, false))
		;
	loop_free(w->loop);
	tls_key_unref(w->ca_key);
	buf_done(&w->ca);
	buf_done(&w->said);
	buf_done(&w->to_sign);
	assert_int_equal(kl_tree_remove(w->dir, NULL), 0);
}

static void on_ready(struct kl_cert *c, struct span cert_pem, struct span key_pem, void *arg)
{
	struct world *w = arg;
	const struct tls_pair pair = { cert_pem, key_pem, "cert", "key" };
	const struct tls_server_params p = { .pairs = &pair, .n_pairs = 1 };
	struct tls_ctx *ctx;
	auto_err struct err err = ERR_INIT;
	/* What is told can be served with as it is. */
	if (tls_server_new(&p, &ctx, &err) < 0)
		fail_msg("%s", err_msg(&err));
	tls_ctx_unref(ctx);
	w->ready++;
}

static void test_serving(void **state)
{
	struct world w;
	static const char *const ips[] = { "10.0.0.7", NULL }, *const others[] = { "10.0.0.8", NULL };
	world_init(&w);
	struct kl_cert_params p = { .loop = w.loop, .client = w.api.client, .dir = span_of(w.dir), .node_name = SPAN("n1"), .kind = KL_CERT_SERVING,
				    .ips = ips, .ready = on_ready, .arg = &w };
	struct kl_cert *c = kl_cert_new(&p);
	until(&w, w.asked == 1);
	sign(&w);
	until(&w, w.ready == 1);
	assert_string_equal(buf_cstr(&w.said), "asked server auth\nsigns system:node:n1 O=system:nodes DNS=n1 IP=10.0.0.7\n");
	kl_cert_free(c);
	/* Started again: the kept one. */
	c = kl_cert_new(&p);
	until(&w, w.ready == 2);
	assert_int_equal(w.asked, 1);
	kl_cert_free(c);
	struct stat st;
	char path[96];
	(void)snprintf(path, sizeof(path), "%s/kubelet-server-current.pem", w.dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* Another address: another certificate. */
	p.ips = others;
	c = kl_cert_new(&p);
	until(&w, w.asked == 2);
	kl_cert_free(c);
	world_done(&w);
}

static void test_renewal(void **state)
{
	struct world w;
	world_init(&w);
	w.life_s = 3; /* renewed after 2.1 to 2.7 s */
	const struct kl_cert_params p = { .loop = w.loop, .client = w.api.client, .dir = span_of(w.dir), .node_name = SPAN("n1"), .kind = KL_CERT_CLIENT,
					  .ready = on_ready, .arg = &w };
	struct kl_cert *c = kl_cert_new(&p);
	until(&w, w.asked == 1);
	sign(&w);
	until(&w, w.ready == 1);
	int64_t at = loop_now_ms(w.loop);
	until(&w, w.asked == 2);
	int64_t took = loop_now_ms(w.loop) - at;
	if (took < 900 || took > 2900)
		fail_msg("renewed after %lld ms", (long long)took);
	w.life_s = 3600;
	sign(&w);
	until(&w, w.ready == 2);
	/* Denied: asked again after the back-off. */
	kl_cert_free(c);
	assert_int_equal(kl_tree_remove(w.dir, NULL), 0);
	assert_int_equal(mkdir(w.dir, 0700), 0);
	w.deny = true;
	c = kl_cert_new(&p);
	until(&w, w.asked == 3);
	sign(&w);
	until(&w, w.asked == 4);
	w.deny = false;
	sign(&w);
	until(&w, w.ready == 3);
	kl_cert_free(c);
	world_done(&w);
}

static void on_bootstrapped(int rc, const struct err *why, void *arg)
{
	struct world *w = arg;
	buf_printf(&w->said, "bootstrap %d %s\n", rc, why ? err_msg(why) : "");
	w->over = true;
}

static void test_bootstrap(void **state)
{
	struct world w;
	char boot[96], conf[96], text[400];
	world_init(&w);
	(void)snprintf(boot, sizeof(boot), "%s/boot", w.dir);
	(void)snprintf(conf, sizeof(conf), "%s/kubeconfig", w.dir);
	const struct kl_bootstrap_params p = { .loop = w.loop, .kubeconfig = span_of(conf), .bootstrap = span_of(boot), .cert_dir = span_of(w.dir),
					       .node_name = SPAN("n1"), .done = on_bootstrapped, .arg = &w };
	(void)kl_bootstrap_begin(&p);
	until(&w, w.over);
	assert_non_null(strstr(buf_cstr(&w.said), "--bootstrap-kubeconfig: "));
	buf_trunc(&w.said, 0);
	(void)snprintf(text, sizeof(text), "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: \"%s\"}}]\n"
		       "users: [{name: u, user: {token: boot}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n", w.api.url);
	assert_int_equal(io_write_file_lazy(AT_FDCWD, boot, span_of(text), 0600, NULL), 0);
	w.over = false;
	(void)kl_bootstrap_begin(&p);
	until(&w, w.asked == 1);
	sign(&w);
	until(&w, w.over);
	assert_string_equal(buf_cstr(&w.said), "asked client auth\nsigns system:node:n1 O=system:nodes\nbootstrap 0 \n");
	struct client_config c = {};
	auto_err struct err err = ERR_INIT;
	if (client_config_load(&(struct client_source){ .kubeconfig = conf, .no_in_cluster = true }, &c, &err) < 0)
		fail_msg("%s", err_msg(&err));
	assert_true(span_is(c.server, w.api.url) && span_has(c.cert_pem, SPAN("BEGIN CERTIFICATE")) && span_has(c.key_pem, SPAN("PRIVATE KEY")));
	client_config_done(&c);
	/* Again: it is there. */
	w.over = false;
	(void)kl_bootstrap_begin(&p);
	until(&w, w.over);
	assert_int_equal(w.asked, 1);
	/* Given up in the middle. */
	assert_int_equal(unlink(conf), 0);
	kl_bootstrap_cancel(kl_bootstrap_begin(&p));
	world_done(&w);
}

static void test_self_signed(void **state)
{
	auto_buf struct buf cert = {}, key = {};
	static const char *const ips[] = { "127.0.0.1", NULL };
	struct world w = {};
	assert_int_equal(kl_cert_self_signed(SPAN("n1"), ips, 1700000000, &cert, &key, NULL), 0);
	on_ready(NULL, buf_span(&cert), buf_span(&key), &w);
	assert_int_equal(w.ready, 1);
}

/* ---- logs */

static void rt_reopen(struct grpc_req *r, struct span message, void *arg)
{
	struct world *w = arg;
	char path[96];
	w->reopened++;
	if (w->reopen_fails)
		return grpc_reply_end(r, GRPC_UNKNOWN, "no");
	(void)snprintf(path, sizeof(path), "%s/0.log", w->dir);
	assert_int_equal(io_write_file_lazy(AT_FDCWD, path, SPAN("new"), 0600, NULL), 0);
	grpc_reply_send(r, SPAN_EMPTY);
	grpc_reply_end(r, GRPC_OK, NULL);
}

static const struct grpc_method rt_methods[] = { { "/runtime.v1.RuntimeService/ReopenContainerLog", .unary = rt_reopen } };

static void on_stopped(struct http_server *s, void *arg)
{
	((struct world *)arg)->over = true;
}

static void append(struct world *w, const char *text)
{
	char path[96];
	(void)snprintf(path, sizeof(path), "%s/0.log", w->dir);
	auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_int_equal(io_write_all(fd, text, strlen(text), NULL), 0);
}

static const char *log_text(struct world *w, const char *name)
{
	static struct buf b;
	char path[96];
	(void)snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	buf_trunc(&b, 0);
	return io_read_file(AT_FDCWD, path, &b, 1000, NULL) < 0 ? "none" : buf_cstr(&b);
}

static void test_rotation(void **state)
{
	struct world w;
	auto_err struct err err = ERR_INIT;
	char path[96];
	world_init(&w);
	struct kl k = { .loop = w.loop };
	struct http_server *http;
	(void)snprintf(path, sizeof(path), "%s/cri.sock", w.dir);
	const struct grpc_server_params gp = { .loop = w.loop, .methods = rt_methods, .n = 1, .arg = &w };
	struct grpc_server *grpc = grpc_server_new(&gp);
	const struct http_server_params rp = { .loop = w.loop, .name = "runtime", .handle = grpc_server_handle, .arg = grpc };
	assert_int_equal(http_server_new(&rp, &http, &err), 0);
	assert_int_equal(http_server_listen(http, http_listen_unix(path, 0600, &err), 0, &err), 0);
	const struct kubelet_cri_params cp = { .loop = w.loop, .endpoint = span_of(path) };
	assert_int_equal(kubelet_cri_new(&cp, &k.cri, &err), 0);
	struct kl_pod *pod = kl_pod_new(&k, SPAN("u1"), SPAN("d"), SPAN("p"));
	(void)snprintf(path, sizeof(path), "%s/0.log", w.dir);
	struct api_cri_container_metadata m = { .name = SPAN("web") };
	struct api_pair label = { SPAN(KL_LABEL_CONTAINER), SPAN("web") };
	struct api_cri_container_status s = { .id = SPAN("c1"), .metadata = &m, .state = KL_RUNNING, .log_path = span_of(path), .labels = { &label, 1 } };
	(void)kl_container_put(pod, &s, SPAN("s1"));
	const struct kl_rotation_params p = { .loop = w.loop, .cri = k.cri, .max_bytes = 10, .max_files = 3, .look_ms = 20 };
	struct kl_rotation *r = kl_rotation_new(&p);
	append(&w, "1");
	kl_rotation_look(r, pod);
	kl_rotation_look(r, pod);
	append(&w, "22222222222");
	until(&w, w.reopened == 1 && strcmp(log_text(&w, "0.log"), "new") == 0);
	assert_string_equal(log_text(&w, "0.log.1"), "122222222222");
	append(&w, "3333333333");
	until(&w, w.reopened == 2 && strcmp(log_text(&w, "0.log"), "new") == 0);
	append(&w, "4444444444");
	until(&w, w.reopened == 3 && strcmp(log_text(&w, "0.log"), "new") == 0);
	assert_string_equal(log_text(&w, "0.log.1"), "new4444444444");
	assert_string_equal(log_text(&w, "0.log.2"), "new3333333333");
	assert_string_equal(log_text(&w, "0.log.3"), "none"); /* three files, the current one among them */
	/* A kubelet that died between the renaming and the reopening: the runtime writes to what has the other name. */
	char first[100];
	(void)snprintf(first, sizeof(first), "%s.1", path);
	kl_rotation_free(r);
	assert_int_equal(rename(path, first), 0);
	r = kl_rotation_new(&p);
	kl_rotation_look(r, pod);
	until(&w, w.reopened == 4 && strcmp(log_text(&w, "0.log"), "new") == 0);
	assert_string_equal(log_text(&w, "0.log.1"), "new");
	/* A runtime that cannot: the file that it writes to has its name again. */
	w.reopen_fails = true;
	append(&w, "5555555555");
	until(&w, w.reopened >= 5 && strcmp(log_text(&w, "0.log"), "new5555555555") == 0);
	/* It ends: nobody looks any more. */
	s.state = KL_EXITED;
	(void)kl_container_put(pod, &s, SPAN("s1"));
	kl_rotation_look(r, pod);
	unsigned before = w.reopened;
	append(&w, "6666666666");
	int64_t stop = loop_now_ms(w.loop) + 100;
	until(&w, loop_now_ms(w.loop) > stop);
	assert_int_equal(w.reopened, before);
	kl_log_remove(span_of(path));
	assert_string_equal(log_text(&w, "0.log"), "none");
	assert_string_equal(log_text(&w, "0.log.2"), "none");
	kl_rotation_forget(r, pod);
	kl_rotation_free(r);
	kl_pod_free(pod);
	kubelet_cri_free(k.cri);
	map_done(&k.pods);
	map_done(&k.pods_by_name);
	map_done(&k.mirrors);
	http_server_stop(http, 0, on_stopped, &w);
	until(&w, w.over);
	http_server_free(http);
	grpc_server_free(grpc);
	world_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_serving),
		cmocka_unit_test(test_renewal),
		cmocka_unit_test(test_bootstrap),
		cmocka_unit_test(test_self_signed),
		cmocka_unit_test(test_rotation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
