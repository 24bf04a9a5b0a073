/* The kubelet's API against an API server and a runtime in the same loop, over TLS with client certificates and tokens. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kubelet/fake_api_test.h"
#include "kubelet/server_impl.h"
#include "kubelet/serving.h"

struct world {
	struct loop *loop;
	struct fake_api api;
	struct kl k;
	struct kl_server *server;
	struct kl_pod *pod;
	struct http_client *http;
	struct tls_ctx *with_cert, *without;
	struct buf ca, answer, log;
	unsigned reviews[2]; /* of tokens; of access */
	int status;
	bool over, freed;
	const char *token;
	char dir[40];
	/* the runtime */
	struct grpc_server *grpc;
	struct http_server *runtime, *streams;
	unsigned stream_port;
	unsigned stopped;
	struct buf streamed;
	struct http_duplex *echo, *mine;
};

#define until(w, condition) until_in((w)->loop, "", condition)

/* ---- the API server's reviews: token "good" is jane; she may see metrics, and so may the holder of the certificate; he may do all */

static int post(struct fake_api *f, struct span path, struct span body, struct buf *out)
{
	struct world *w = f->arg;
	if (span_ends(path, SPAN("tokenreviews"))) {
		w->reviews[0]++;
		bool good = span_has(body, SPAN("\"token\":\"good\""));
		buf_printf(out, "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\",\"metadata\":{},\"spec\":{},\"status\":{%s}}", good ?
			   "\"authenticated\":true,\"user\":{\"username\":\"jane\",\"groups\":[\"dev\"],\"extra\":{\"x\":[\"y\"]}}" : "\"error\":\"no\"");
		return 201;
	}
	w->reviews[1]++;
	bool jane = span_has(body, SPAN("\"user\":\"jane\""));
	bool allowed = jane ? span_has(body, SPAN("\"subresource\":\"metrics\"")) : span_has(body, SPAN("\"groups\":[\"system:masters\","
		"\"system:authenticated\"]"));
	assert_true(span_has(body, SPAN("\"resource\":\"nodes\"")) && span_has(body, SPAN("\"name\":\"n1\"")));
	buf_printf(out, "{\"apiVersion\":\"authorization.k8s.io/v1\",\"kind\":\"SubjectAccessReview\",\"metadata\":{},\"spec\":{},\"status\":{\"allowed\":%s}}",
		   allowed ? "true" : "false");
	return 201;
}

/* ---- the runtime: exec gives a URL, behind which everything is echoed */

static void reply(struct grpc_req *r, enum api_typed type, const void *v)
{
	auto_buf struct buf b = {};
	assert_int_equal(api_typed_encode(&b, type, API_FORM_MESSAGE, v, NULL), 0);
	grpc_reply_send(r, buf_span(&b));
	grpc_reply_end(r, GRPC_OK, NULL);
}

static void rt_exec(struct grpc_req *r, struct span message, void *arg)
{
	struct world *w = arg;
	auto_arena struct arena a = {};
	struct api_cri_exec_request q;
	char url[64];
	assert_int_equal(api_cri_exec_request_decode(&a, API_FORM_MESSAGE, message, &q, NULL), 0);
	buf_printf(&w->log, "exec %.*s %u %.*s %.*s %d%d%d%d\n", SPAN_ARG(q.container_id), q.cmd.n, SPAN_ARG(q.cmd.ptr[0]),
		   SPAN_ARG(q.cmd.ptr[q.cmd.n - 1]), q.stdin, q.stdout, q.stderr, q.tty);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/exec/tok", w->stream_port);
	const struct api_cri_exec_response v = { .url = span_of(url) };
	reply(r, API_TYPED_CRI_EXEC_RESPONSE, &v);
}

static void rt_exec_sync(struct grpc_req *r, struct span message, void *arg)
{
	const struct api_cri_exec_sync_response v = { .stdout = SPAN("out\n"), .exit_code = 3 };
	reply(r, API_TYPED_CRI_EXEC_SYNC_RESPONSE, &v);
}

static void rt_stats(struct grpc_req *r, struct span message, void *arg)
{
	struct api_cri_u_int64_value cpu = { 2500000000 }, ws = { 4096 };
	struct api_cri_cpu_usage c = { .timestamp = INT64_C(1700000000000000000), .usage_core_nano_seconds = &cpu };
	struct api_cri_memory_usage m = { .timestamp = INT64_C(1700000000000000000), .working_set_bytes = &ws };
	struct api_cri_container_attributes at = { .id = SPAN("c1") };
	struct api_cri_container_stats s = { .attributes = &at, .cpu = &c, .memory = &m };
	const struct api_cri_list_container_stats_response v = { .stats = { &s, 1 } };
	reply(r, API_TYPED_CRI_LIST_CONTAINER_STATS_RESPONSE, &v);
}

static const struct grpc_method rt_methods[] = {
	{ "/runtime.v1.RuntimeService/Exec", .unary = rt_exec },
	{ "/runtime.v1.RuntimeService/ExecSync", .unary = rt_exec_sync },
	{ "/runtime.v1.RuntimeService/ListContainerStats", .unary = rt_stats },
};

static void echo_data(struct http_duplex *d, struct span data, void *arg)
{
	http_duplex_write(d, http_copy(data));
}

static void echo_end(struct http_duplex *d, void *arg)
{
	http_duplex_end(d);
}

static void echo_closed(struct http_duplex *d, const struct err *why, void *arg)
{
	((struct world *)arg)->echo = NULL;
}

static const struct http_duplex_ops echo_ops = { .data = echo_data, .end = echo_end, .closed = echo_closed };

static void rt_stream(struct http_req *r, void *arg)
{
	struct world *w = arg;
	buf_printf(&w->log, "stream %.*s %.*s %.*s\n", SPAN_ARG(http_req_method(r)), SPAN_ARG(http_req_target(r)),
		   SPAN_ARG(http_req_header(r, "x-stream-protocol-version")));
	if (!http_req_wants_upgrade(r, "SPDY/3.1"))
		return http_reply_text(r, 400, "text/plain", SPAN("you must upgrade\n"));
	http_reply_header(r, "upgrade", SPAN("SPDY/3.1"));
	http_reply_header(r, "x-stream-protocol-version", SPAN("v4.channel.k8s.io"));
	assert_int_equal(http_req_hijack(r, 101, &w->echo, NULL), 0);
	http_duplex_ops_set(w->echo, &echo_ops, w);
}

/* ---- */

static void certs(struct world *w, struct buf *cert, struct buf *key_pem, struct buf *client, struct buf *client_key)
{
	auto_err struct err err = ERR_INIT;
	struct tls_key *ca, *k, *ck;
	static const char *const ips[] = { "127.0.0.1", NULL }, *const orgs[] = { "system:masters", NULL };
	int64_t now = loop_wall_ns(w->loop) / NS_PER_S;
	assert_int_equal(tls_key_new(TLS_ES256, &ca, &err), 0);
	assert_int_equal(tls_key_new(TLS_ES256, &k, &err), 0);
	assert_int_equal(tls_key_new(TLS_ES256, &ck, &err), 0);
	struct tls_cert_params p = { .kind = TLS_CERT_CA, .cn = "ca", .not_before_s = now - 60, .not_after_s = now + 3600 };
	assert_int_equal(tls_cert_make(&p, ca, SPAN_EMPTY, NULL, &w->ca, &err), 0);
	p.kind = TLS_CERT_SERVER;
	p.cn = "system:node:n1";
	p.ips = ips;
	assert_int_equal(tls_cert_make(&p, k, buf_span(&w->ca), ca, cert, &err), 0);
	p.kind = TLS_CERT_CLIENT;
	p.cn = "admin";
	p.orgs = orgs;
	assert_int_equal(tls_cert_make(&p, ck, buf_span(&w->ca), ca, client, &err), 0);
	assert_int_equal(tls_key_private_pem(k, key_pem, &err), 0);
	assert_int_equal(tls_key_private_pem(ck, client_key, &err), 0);
	tls_key_unref(ca);
	tls_key_unref(k);
	tls_key_unref(ck);
}

static void pod_write(struct buf *out, const struct kl_pod *p)
{
	buf_printf(out, "{\"metadata\":{\"name\":\"%.*s\"}}", SPAN_ARG(p->name));
}

static void container_put(struct world *w, const char *id, unsigned attempt, int state, const char *log)
{
	char path[128];
	struct api_cri_container_metadata m = { .name = SPAN("web"), .attempt = attempt };
	struct api_pair labels[] = { { SPAN(KL_LABEL_CONTAINER), SPAN("web") } };
	(void)snprintf(path, sizeof(path), "%s/%s", w->dir, log);
	const struct api_cri_container_status s = { .id = span_of(id), .metadata = &m, .state = state, .log_path = span_of(path), .labels = { labels, 1 },
						    .created_at = 1000 + attempt, .started_at = INT64_C(1600000000000000000) };
	(void)kl_container_put(w->pod, &s, SPAN("s1"));
}

static void text_write(struct world *w, const char *name, const char *text)
{
	char path[128];
	(void)snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_int_equal(io_write_all(fd, text, strlen(text), NULL), 0);
}

#define LINE(n, text) "2026-11-21T09:30:0" #n ".000000000Z stdout F " text "\n"

static void world_init(struct world *w)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf cert = {}, key = {}, client = {}, client_key = {};
	char path[64];
	*w = (struct world){ .token = NULL };
	memcpy(w->dir, "/tmp/server-test-XXXXXX", 24);
	assert_non_null(mkdtemp(w->dir));
	(void)signal(SIGPIPE, SIG_IGN);
	assert_int_equal(loop_new(NULL, &w->loop, NULL), 0);
	fake_init(&w->api, w->loop);
	w->api.post = post;
	w->api.arg = w;
	certs(w, &cert, &key, &client, &client_key);
	/* the runtime */
	(void)snprintf(path, sizeof(path), "%s/cri.sock", w->dir);
	const struct grpc_server_params gp = { .loop = w->loop, .methods = rt_methods, .n = ARRAY_LEN(rt_methods), .arg = w };
	w->grpc = grpc_server_new(&gp);
	const struct http_server_params rp = { .loop = w->loop, .name = "runtime", .handle = grpc_server_handle, .arg = w->grpc };
	const struct http_server_params sp = { .loop = w->loop, .name = "streams", .handle = rt_stream, .arg = w };
	assert_int_equal(http_server_new(&rp, &w->runtime, &err), 0);
	assert_int_equal(http_server_listen(w->runtime, http_listen_unix(path, 0600, &err), 0, &err), 0);
	assert_int_equal(http_server_new(&sp, &w->streams, &err), 0);
	int fd = http_listen_tcp("127.0.0.1", 0, 0, &err);
	w->stream_port = http_fd_port(fd);
	assert_int_equal(http_server_listen(w->streams, fd, 0, &err), 0);
	/* the kubelet */
	w->k = (struct kl){ .loop = w->loop, .client = w->api.client, .node_name = SPAN("n1"), .metrics = metrics_new() };
	const struct kubelet_cri_params cp = { .loop = w->loop, .endpoint = span_of(path) };
	assert_int_equal(kubelet_cri_new(&cp, &w->k.cri, &err), 0);
	w->pod = kl_pod_new(&w->k, SPAN("u1"), SPAN("d"), SPAN("p"));
	struct bytes *json = bytes_of(SPAN("{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"u1\"},\"spec\":{\"containers\":[{\"name\":\"web\"},"
		"{\"name\":\"late\"}]}}"));
	kl_pod_object_set(w->pod, kl_object_new(json, &err));
	bytes_unref(json);
	const struct kl_server_params p = { .k = &w->k, .address = SPAN("127.0.0.1"), .fd = -1, .cert_pem = buf_span(&cert), .key_pem = buf_span(&key),
					    .client_ca_pem = buf_span(&w->ca), .root_dir = SPAN("/"), .log_dir = span_of(w->dir), .pod_write = pod_write };
	if (kl_server_new(&p, &w->server, &err) < 0)
		fail_msg("%s", err_msg(&err));
	/* who asks */
	const struct tls_pair pair = { buf_span(&client), buf_span(&client_key), "client", "client key" };
	struct tls_client_params tp = { .ca_pem = buf_span(&w->ca), .ca_where = "ca", .alpn = TLS_ALPN_HTTP };
	assert_int_equal(tls_client_new(&tp, &w->without, &err), 0);
	tp.pair = &pair;
	tp.alpn = TLS_ALPN_HTTP1;
	assert_int_equal(tls_client_new(&tp, &w->with_cert, &err), 0);
	const struct http_client_params hp = { .loop = w->loop, .name = "test client" };
	assert_int_equal(http_client_new(&hp, &w->http, &err), 0);
}

static void on_freed(void *arg)
{
	((struct world *)arg)->freed = true;
}

static void on_stopped(struct http_server *s, void *arg)
{
	((struct world *)arg)->stopped++;
}

static void world_done(struct world *w)
{
	http_client_free(w->http);
	kl_server_free(w->server, on_freed, w);
	until(w, w->freed);
	kubelet_cri_free(w->k.cri);
	http_server_stop(w->runtime, 0, on_stopped, w);
	http_server_stop(w->streams, 0, on_stopped, w);
	until(w, w->stopped == 2);
	http_server_free(w->runtime);
	http_server_free(w->streams);
	grpc_server_free(w->grpc);
	kl_pod_free(w->pod);
	map_done(&w->k.pods);
	map_done(&w->k.pods_by_name);
	map_done(&w->k.mirrors);
	metrics_free(w->k.metrics);
	fake_done(&w->api);
	tls_ctx_unref(w->with_cert);
	tls_ctx_unref(w->without);
	while (loop_turn(w->loop, false))
		;
	loop_free(w->loop);
	buf_done(&w->ca);
	buf_done(&w->answer);
	buf_done(&w->log);
	buf_done(&w->streamed);
	auto_buf struct buf cmd = {};
	static const char *const names[] = { "cri.sock", "0.log", "0.log.1", "1.log" };
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		char path[64];
		(void)snprintf(path, sizeof(path), "%s/%s", w->dir, names[i]);
		(void)unlink(path);
	}
	assert_int_equal(rmdir(w->dir), 0);
}

static void ask_data(struct http_call *c, struct span data, void *arg)
{
	buf_span_add(&((struct world *)arg)->answer, data);
}

static void ask_done(struct http_call *c, const struct err *why, void *arg)
{
	struct world *w = arg;
	w->status = why ? -1 : http_call_status(c);
	w->over = true;
}

static struct http_call *ask_begin(struct world *w, bool cert, const char *method, const char *target)
{
	static const struct http_call_ops ops = { .data = ask_data, .done = ask_done };
	char bearer[64];
	(void)snprintf(bearer, sizeof(bearer), "Bearer %s", w->token ? w->token : "");
	const struct http_field auth = { SPAN("authorization"), span_of(bearer) };
	const struct http_origin o = { .tls = true, .host = "127.0.0.1", .port = kl_server_port(w->server), .tls_ctx = cert ? w->with_cert : w->without };
	const struct http_call_params p = { .origin = &o, .method = method, .target = span_of(target), .headers = &auth, .n_headers = w->token != NULL,
					    .ops = &ops, .arg = w };
	struct http_call *c;
	buf_trunc(&w->answer, 0);
	w->over = false;
	assert_int_equal(http_call_begin(w->http, &p, &c, NULL), 0);
	return c;
}

static void asks(struct world *w, bool cert, const char *target, int status, const char *want)
{
	(void)ask_begin(w, cert, "GET", target);
	until(w, w->over);
	if (w->status != status || (want && strcmp(buf_cstr(&w->answer), want) != 0))
		fail_msg("%s: %d %s, not %d %s", target, w->status, buf_cstr(&w->answer), status, want ? want : "");
}

/* ---- */

/* A file that a flag names and that holds nothing is no reason to show a certificate of our own making. */
static void test_empty_files(void **state)
{
	struct world w;
	struct kl_options o;
	struct kl_serving *s = NULL;
	auto_err struct err err = ERR_INIT;
	char cert[64], key[64];
	world_init(&w);
	text_write(&w, "0.log", "");
	text_write(&w, "1.log", "");
	(void)snprintf(cert, sizeof(cert), "%s/0.log", w.dir);
	(void)snprintf(key, sizeof(key), "%s/1.log", w.dir);
	kl_options_default(&o);
	o.tls_cert_file = span_of(cert);
	o.tls_key_file = span_of(key);
	int fd = http_listen_tcp("127.0.0.1", 0, 0, NULL);
	o.address = SPAN("127.0.0.1");
	o.port = http_fd_port(fd);
	close(fd);
	w.k.o = &o;
	assert_int_equal(kl_serving_begin(&w.k, &(struct kl_serving_params){ .pod_write = pod_write }, &s, &err), -ERR_INVALID);
	if (!span_has(span_of(err_msg(&err)), SPAN("serving certificate: no certificate")))
		fail_msg("%s", err_msg(&err));
	w.k.o = NULL;
	kl_options_done(&o);
	world_done(&w);
}

static void test_access(void **state)
{
	struct world w;
	world_init(&w);
	asks(&w, false, "/healthz", 401, "Unauthorized");
	asks(&w, true, "/healthz", 200, "ok");
	asks(&w, true, "/pods", 200, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[{\"metadata\":{\"name\":\"p\"}}]}\n");
	unsigned asked = w.reviews[1];
	asks(&w, true, "/pods", 200, NULL);
	assert_int_equal(w.reviews[1], asked); /* kept */
	asks(&w, true, "/nothing/here", 404, "404 page not found\n");
	asks(&w, true, "/configz", 200, "{\"kubeletconfig\":{}}");
	w.token = "bad";
	asks(&w, false, "/metrics", 401, "Unauthorized");
	asks(&w, false, "/metrics", 401, "Unauthorized");
	assert_int_equal(w.reviews[0], 1);
	w.token = "good";
	asks(&w, false, "/metrics", 200, "");
	asks(&w, false, "/pods", 403, "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[pods proxy])\n");
	asks(&w, false, "/containerLogs/d/p/web", 403, "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[proxy])\n");
	assert_int_equal(w.reviews[0], 2);
	if (!strstr(buf_cstr(&w.api.posts), "\"user\":\"jane\",\"groups\":[\"dev\"],\"extra\":{\"x\":[\"y\"]}"))
		fail_msg("%s", buf_cstr(&w.api.posts));
	world_done(&w);
}

static void test_logs(void **state)
{
	struct world w;
	world_init(&w);
	asks(&w, true, "/containerLogs/d/none/web", 404, "pod does not exist");
	asks(&w, true, "/containerLogs/d/p/none", 404, "container \"none\" not found in pod \"p\"");
	asks(&w, true, "/containerLogs/d/p/web", 400, "container \"web\" in pod \"p\" is waiting to start: ContainerCreating");
	kl_item_waiting(&w.pod->items[1], "ImagePullBackOff", SPAN("x"));
	asks(&w, true, "/containerLogs/d/p/late", 400, "container \"late\" in pod \"p\" is waiting to start: trying and failing to pull image");
	text_write(&w, "0.log", LINE(1, "one") LINE(2, "two") "2026-11-21T09:30:03.000000000Z stderr P thr" "\n2026-11-21T09:30:03.100000000Z stderr F ee\n");
	container_put(&w, "c1", 0, KL_RUNNING, "0.log");
	asks(&w, true, "/containerLogs/d/p/web", 200, "one\ntwo\nthree\n");
	asks(&w, true, "/containerLogs/d/p/web?tailLines=2", 200, "two\nthree\n");
	asks(&w, true, "/containerLogs/d/p/web?tailLines=0", 200, "");
	asks(&w, true, "/containerLogs/d/p/web?limitBytes=5", 200, "one\nt");
	asks(&w, true, "/containerLogs/d/p/web?stream=Stderr", 200, "three\n");
	asks(&w, true, "/containerLogs/d/p/web?sinceTime=2026-11-21T09:30:02Z&stream=Stdout", 200, "two\n");
	asks(&w, true, "/containerLogs/d/p/web?timestamps=true&sinceTime=2026-11-21T09:30:02Z", 200,
	     "2026-11-21T09:30:02.000000000Z two\n2026-11-21T09:30:03.000000000Z three\n");
	asks(&w, true, "/containerLogs/d/p/web?tailLines=x", 422, NULL);
	asks(&w, true, "/containerLogs/d/p/web?previous=true", 400, "previous terminated container \"web\" in pod \"p\" not found");
	/* Followed across a rotation, until the container ends. */
	(void)ask_begin(&w, true, "GET", "/containerLogs/d/p/web?follow=true&tailLines=1");
	until(&w, strcmp(buf_cstr(&w.answer), "three\n") == 0);
	char from[64], to[64];
	(void)snprintf(from, sizeof(from), "%s/0.log", w.dir);
	(void)snprintf(to, sizeof(to), "%s/0.log.1", w.dir);
	text_write(&w, "0.log", LINE(4, "four"));
	assert_int_equal(rename(from, to), 0);
	text_write(&w, "0.log", LINE(5, "five"));
	until(&w, strcmp(buf_cstr(&w.answer), "three\nfour\nfive\n") == 0);
	assert_false(w.over);
	container_put(&w, "c1", 0, KL_EXITED, "0.log");
	text_write(&w, "0.log", LINE(6, "last"));
	until(&w, w.over);
	assert_string_equal(buf_cstr(&w.answer), "three\nfour\nfive\nlast\n");
	/* A client that goes away while it follows. */
	container_put(&w, "c2", 1, KL_RUNNING, "1.log");
	struct http_call *c = ask_begin(&w, true, "GET", "/containerLogs/d/p/web?follow=true");
	text_write(&w, "1.log", LINE(7, "new"));
	until(&w, strcmp(buf_cstr(&w.answer), "new\n") == 0);
	http_call_cancel(c);
	until(&w, w.over);
	asks(&w, true, "/containerLogs/d/p/web?previous=true&tailLines=1", 200, "last\n");
	/* It dies and waits: what ran last is both. */
	container_put(&w, "c2", 1, KL_EXITED, "1.log");
	kl_item_waiting(&w.pod->items[0], "CrashLoopBackOff", SPAN("back-off"));
	asks(&w, true, "/containerLogs/d/p/web?previous=true", 200, "new\n");
	asks(&w, true, "/containerLogs/d/p/web", 200, "new\n");
	asks(&w, true, "/logs/1.log", 200, LINE(7, "new"));
	asks(&w, true, "/logs/../etc/passwd", 400, NULL);
	/* A large file comes as a whole, in pieces as they are read. */
	text_write(&w, "big", "begin");
	char big[64];
	(void)snprintf(big, sizeof(big), "%s/big", w.dir);
	assert_int_equal(truncate(big, 65 << 20), 0);
	text_write(&w, "big", "end");
	asks(&w, true, "/logs/big", 200, NULL);
	assert_int_equal(w.answer.len, (65 << 20) + 3);
	assert_true(span_starts(buf_span(&w.answer), SPAN("begin")) && span_ends(buf_span(&w.answer), SPAN("end")));
	/* Who leaves in the middle harms nobody. */
	c = ask_begin(&w, true, "GET", "/logs/big");
	until(&w, w.answer.len > 1 << 20);
	http_call_cancel(c);
	until(&w, w.over);
	assert_int_equal(unlink(big), 0);
	asks(&w, true, "/logs/", 200, "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n<a href=\"0.log\">0.log</a>\n"
	     "<a href=\"0.log.1\">0.log.1</a>\n<a href=\"1.log\">1.log</a>\n<a href=\"cri.sock\">cri.sock</a>\n</pre>\n");
	world_done(&w);
}

/* ---- streams */

static void mine_data(struct http_duplex *d, struct span data, void *arg)
{
	buf_span_add(&((struct world *)arg)->streamed, data);
}

static void mine_closed(struct http_duplex *d, const struct err *why, void *arg)
{
	((struct world *)arg)->mine = NULL;
}

static const struct http_duplex_ops mine_ops = { .data = mine_data, .closed = mine_closed };

static void up_head(struct http_call *c, void *arg)
{
	struct world *w = arg;
	buf_printf(&w->log, "answer %d %.*s\n", http_call_status(c), SPAN_ARG(http_call_header(c, "x-stream-protocol-version")));
	if (http_call_status(c) == 101) {
		assert_int_equal(http_call_hijack(c, &w->mine, NULL), 0);
		http_duplex_ops_set(w->mine, &mine_ops, w);
	}
}

static void upgrade(struct world *w, const char *target)
{
	static const struct http_call_ops ops = { .head = up_head, .data = ask_data, .done = ask_done };
	const struct http_field f = { SPAN("X-Stream-Protocol-Version"), SPAN("v4.channel.k8s.io") };
	const struct http_origin o = { .tls = true, .host = "127.0.0.1", .port = kl_server_port(w->server), .tls_ctx = w->with_cert };
	const struct http_call_params p = { .origin = &o, .method = "POST", .target = span_of(target), .headers = &f, .n_headers = 1, .upgrade = "SPDY/3.1",
					    .ops = &ops, .arg = w };
	struct http_call *c;
	w->over = false;
	buf_trunc(&w->answer, 0);
	assert_int_equal(http_call_begin(w->http, &p, &c, NULL), 0);
	until(w, w->over);
}

static void test_streams(void **state)
{
	struct world w;
	world_init(&w);
	upgrade(&w, "/exec/d/p/web?command=sh&output=1");
	assert_string_equal(buf_cstr(&w.answer), "container not found (\"web\")");
	upgrade(&w, "/attach/d/p/web?output=1");
	assert_string_equal(buf_cstr(&w.answer), "container web not found in pod p_d");
	buf_trunc(&w.log, 0);
	container_put(&w, "c1", 0, KL_RUNNING, "0.log");
	upgrade(&w, "/exec/d/p/u1/web?command=sh&command=-c&command=echo+a%26b&input=1&output=1&tty=1&error=1");
	until(&w, w.mine);
	assert_string_equal(buf_cstr(&w.log), "exec c1 3 sh echo a&b 1101\nstream POST /exec/tok v4.channel.k8s.io\nanswer 101 v4.channel.k8s.io\n");
	/* A megabyte there and back, then the end of one side reaches the other. */
	auto_buf struct buf big = {};
	for (unsigned i = 0; i < 1 << 18; i++)
		buf_add(&big, &i, sizeof(i));
	http_duplex_write(w.mine, http_copy(buf_span(&big)));
	until(&w, w.streamed.len == big.len);
	assert_memory_equal(w.streamed.ptr, big.ptr, big.len);
	http_duplex_end(w.mine);
	until(&w, !w.mine && !w.echo);
	/* Without an upgrade the runtime's refusal comes back. */
	asks(&w, true, "/exec/d/p/web?command=sh&output=1", 400, "you must upgrade\n");
	asks(&w, true, "/exec/d/p/web?command=sh", 400, "you must specify at least 1 of stdin, stdout, stderr");
	asks(&w, true, "/exec/d/p/wrong-uid/web?command=sh&output=1", 404, "pod does not exist");
	asks(&w, true, "/run/d/p/web?cmd=ls+-l", 500, "out\ncommand terminated with exit code 3");
	asks(&w, true, "/portForward/d/p", 500, "unable to do port forwarding: sandbox of pod \"p\" is not running");
	/* One that is open when the kubelet goes. */
	upgrade(&w, "/exec/d/p/web?command=sh&output=1");
	until(&w, w.mine);
	http_duplex_abort(w.mine);
	until(&w, !w.mine && !w.echo);
	world_done(&w);
}

static void test_stats(void **state)
{
	struct world w;
	world_init(&w);
	container_put(&w, "c1", 0, KL_RUNNING, "0.log");
	asks(&w, true, "/stats/summary", 200, NULL);
	auto_arena struct arena a = {};
	struct json t;
	assert_int_equal(json_parse(&a, buf_span(&w.answer), 0, NULL, &t, NULL), 0);
	assert_true(span_is(json_span(json_path(&t, "node", "nodeName", NULL)), "n1"));
	assert_true(json_i64(json_path(&t, "node", "memory", "workingSetBytes", NULL), 0) > 0);
	assert_true(json_i64(json_path(&t, "node", "fs", "capacityBytes", NULL), 0) > 0);
	const struct json *pod = &json_getl(&t, "pods")->items[0];
	assert_true(span_is(json_span(json_path(pod, "podRef", "uid", NULL)), "u1"));
	assert_int_equal(json_i64(json_path(&json_getl(pod, "containers")->items[0], "cpu", "usageCoreNanoSeconds", NULL), 0), 2500000000);
	assert_int_equal(json_i64(json_path(pod, "memory", "workingSetBytes", NULL), 0), 4096);
	asks(&w, true, "/metrics/resource", 200, NULL);
	static const char *const lines[] = {
		"\ncontainer_cpu_usage_seconds_total{container=\"web\",namespace=\"d\",pod=\"p\"} 2.5 1700000000000\n",
		"\ncontainer_memory_working_set_bytes{container=\"web\",namespace=\"d\",pod=\"p\"} 4096 1700000000000\n",
		"\ncontainer_start_time_seconds{container=\"web\",namespace=\"d\",pod=\"p\"} 1600000000\n",
		"\npod_cpu_usage_seconds_total{namespace=\"d\",pod=\"p\"} 2.5 1700000000000\n", "\nresource_scrape_error 0\n", "\nnode_cpu_usage_seconds_total ",
	};
	for (unsigned i = 0; i < ARRAY_LEN(lines); i++)
		if (!strstr(buf_cstr(&w.answer), lines[i]))
			fail_msg("no %s in %s", lines[i], buf_cstr(&w.answer));
	asks(&w, true, "/metrics/cadvisor", 200, NULL);
	assert_non_null(strstr(buf_cstr(&w.answer), "container_cpu_usage_seconds_total{container=\"web\",cpu=\"total\",id=\"/kubepods/podu1/c1\",image=\"\","
			       "name=\"c1\",namespace=\"d\",pod=\"p\"} 2.5 1700000000000\n"));
	world_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_access),
		cmocka_unit_test(test_empty_files),
		cmocka_unit_test(test_logs),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_stats),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
