/* A scripted server on the same loop: each request takes the next answer of the script, and is noted. */
#include "client/client.h"
#include "client/split.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_text(b, expected)                                                                                       \
	do {                                                                                                           \
		assert_string_equal(buf_cstr(b), expected);                                                            \
		buf_trunc(b, 0);                                                                                       \
	} while (0)

/* ---- splitting */

static struct buf seen;

static int see_member(struct span key, struct span value, void *arg)
{
	buf_printf(&seen, "%.*s=%.*s;", SPAN_ARG(key), SPAN_ARG(value));
	return 0;
}

static int see_item(struct span value, void *arg)
{
	buf_printf(&seen, "[%.*s]", SPAN_ARG(value));
	return 0;
}

static int see_end(void *arg)
{
	buf_str(&seen, "|");
	return 0;
}

static const struct client_split_ops see = { see_member, see_item, see_end };

static void split_everywhere(void **state)
{
	static const char *const rows[][2] = {
		{ "{}", "|" },
		{ " { \"a\" : 1 }\n", "a=1;|" },
		{ "{\"a\":{\"b\":[1,{\"items\":[2]}]},\"c\":\"x,}\\\"]\",\"d\":null}", "a={\"b\":[1,{\"items\":[2]}]};c=\"x,}\\\"]\";d=null;|" },
		{ "{\"kind\":\"L\",\"items\":[{\"a\":[1,2]}, {\"items\":[]},7 ,\"s\"],\"metadata\":{\"x\":\"items\"}}",
		  "kind=\"L\";[{\"a\":[1,2]}][{\"items\":[]}][7][\"s\"]metadata={\"x\":\"items\"};|" },
		{ "{\"items\":[]}", "|" },
		{ "{\"items\":null,\"a\":true}", "items=null;a=true;|" },
		{ "{\"type\":\"ADDED\",\"object\":{}}\n{\"type\":\"DELETED\",\"object\":{\"a\":1}}\n",
		  "type=\"ADDED\";object={};|type=\"DELETED\";object={\"a\":1};|" },
	};
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct span text = span_of(rows[r][0]);
		/* Cut at every place, and byte by byte: the pieces must not matter. */
		for (size_t cut = 0; cut <= text.len; cut++) {
			struct client_split s;
			client_split_init(&s, &see, NULL, 1000);
			assert_int_equal(client_split_feed(&s, span_sub(text, 0, cut)), 0);
			assert_int_equal(client_split_feed(&s, span_from(text, cut)), 0);
			assert_true(client_split_whole(&s));
			assert_text(&seen, rows[r][1]);
			client_split_done(&s);
		}
		struct client_split s;
		client_split_init(&s, &see, NULL, 1000);
		for (size_t i = 0; i < text.len; i++)
			assert_int_equal(client_split_feed(&s, span_sub(text, i, i + 1)), 0);
		assert_text(&seen, rows[r][1]);
		client_split_done(&s);
	}
}

static void split_refuses(void **state)
{
	static const struct {
		const char *text;
		int rc;
	} rows[] = { { "[1]", -ERR_UPSTREAM }, { "x", -ERR_UPSTREAM }, { "}", -ERR_UPSTREAM }, { "\"a\"", -ERR_UPSTREAM },
		     { "{\"a\":\"0123456789012345678901234567890\"}", -ERR_TOO_LARGE },
		     { "{\"a\":\"012345678901234567890123456789", -ERR_TOO_LARGE } };
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct client_split s;
		client_split_init(&s, &see, NULL, 20);
		assert_int_equal(client_split_feed(&s, span_of(rows[r].text)), rows[r].rc);
		client_split_done(&s);
		buf_trunc(&seen, 0);
	}
	struct client_split s;
	client_split_init(&s, &see, NULL, 20);
	assert_int_equal(client_split_feed(&s, SPAN("{\"a\":[1")), 0);
	assert_false(client_split_whole(&s));
	client_split_done(&s);
	buf_trunc(&seen, 0);
}

/* ---- kubeconfig */

#define KUBECONFIG                                                                                                     \
	"apiVersion: v1\nkind: Config\ncurrent-context: one\n"                                                         \
	"clusters:\n- name: c1\n  cluster:\n    server: https://10.0.0.1:6443/k8s\n    certificate-authority-data: Q0E=\n"   \
	"    tls-server-name: kubernetes\n"                                                                            \
	"- name: c2\n  cluster: {server: \"http://127.0.0.1:8080\", insecure-skip-tls-verify: true}\n"                 \
	"users:\n- name: u1\n  user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ, as: jane, as-groups: [a, b]}\n" \
	"- name: u2\n  user: {token: secret, tokenFile: tok/en}\n"                                                     \
	"- name: u3\n  user: {exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}}\n"                   \
	"- name: u4\n  user: {client-key-data: S0VZ}\n"                                                               \
	"- name: u5\n  user: {client-certificate-data: '?'}\n"                                                        \
	"contexts:\n- name: one\n  context: {cluster: c1, user: u1, namespace: shop}\n"                                \
	"- name: two\n  context: {cluster: c2, user: u2}\n- name: bad\n  context: {cluster: nope, user: u1}\n"

static void config_reads(void **state)
{
	struct client_config c;
	auto_err struct err err = ERR_INIT;
	assert_int_equal(client_config_parse(SPAN(KUBECONFIG), "/etc/k", &(struct client_source){}, &c, &err), 0);
	assert_true(span_is(c.server, "https://10.0.0.1:6443/k8s"));
	assert_true(span_is(c.ca_pem, "CA") && span_is(c.cert_pem, "CERT") && span_is(c.key_pem, "KEY"));
	assert_true(span_is(c.tls_server_name, "kubernetes") && span_is(c.ns, "shop") && span_is(c.as_user, "jane"));
	assert_int_equal(c.n_as_groups, 2);
	assert_true(span_is(c.as_groups[1], "b") && span_is(c.context, "one"));
	client_config_done(&c);

	const struct client_source two = { .context = "two", .ns = "x", .server = "http://h:1" };
	assert_int_equal(client_config_parse(SPAN(KUBECONFIG), "/etc/k", &two, &c, &err), 0);
	assert_true(span_is(c.server, "http://h:1") && c.insecure && span_is(c.token, "secret") && span_is(c.ns, "x"));
	assert_true(span_is(c.token_file, "/etc/k/tok/en"));
	client_config_done(&c);

	static const struct {
		struct client_source src;
		const char *text, *says;
		int class;
	} rows[] = {
		{ { .context = "three" }, KUBECONFIG, "context \"three\" does not exist", ERR_NOT_FOUND },
		{ { .context = "bad" }, KUBECONFIG, "cluster \"nope\" does not exist", ERR_NOT_FOUND },
		{ { .user = "nobody" }, KUBECONFIG, "auth info \"nobody\" does not exist", ERR_NOT_FOUND },
		{ { .user = "u3" }, KUBECONFIG, "user \"u3\" authenticates by exec, which this client does not run", ERR_UNSUPPORTED },
		{ { .user = "u4" }, KUBECONFIG,
		  "client-cert-data and client-key-data must be specified together for user \"u4\"", ERR_INVALID },
		{ { .user = "u5" }, KUBECONFIG, "client-certificate-data of the kubeconfig is not base64", ERR_INVALID },
		{ {}, "current-context: gone\n", "invalid configuration: context was not found for specified context: gone",
		  ERR_NOT_FOUND },
		{ {}, "", "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable",
		  ERR_NOT_FOUND },
		{ {}, "kind: Pod\n", "this is no kubeconfig: kind is \"Pod\", expected Config", ERR_INVALID },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err why = ERR_INIT;
		assert_int_equal(client_config_parse(span_of(rows[i].text), "", &rows[i].src, &c, &why), -rows[i].class);
		assert_string_equal(err_msg(&why), rows[i].says);
	}
}

static void config_merges(void **state)
{
	char dir[] = "/tmp/knarr-client-XXXXXX";
	assert_non_null(mkdtemp(dir));
	auto_buf struct buf a = {}, b = {}, env = {}, ca = {};
	auto_err struct err err = ERR_INIT;
	buf_printf(&a, "%s/a", dir);
	buf_printf(&b, "%s/b", dir);
	buf_printf(&ca, "%s/ca.pem", dir);
	buf_printf(&env, "%s/absent:%s:%s", dir, buf_cstr(&a), buf_cstr(&b));
	assert_int_equal(io_write_file(AT_FDCWD, buf_cstr(&ca), SPAN("PEM"), 0600, &err), 0);
	assert_int_equal(io_write_file(AT_FDCWD, buf_cstr(&a),
				       SPAN("clusters:\n- name: c\n  cluster: {server: 'https://a', certificate-authority: ca.pem}\n"), 0600,
				       &err),
			 0);
	assert_int_equal(io_write_file(AT_FDCWD, buf_cstr(&b),
				       SPAN("current-context: x\nclusters:\n- name: c\n  cluster: {server: 'https://b'}\n"
					    "contexts:\n- {name: x, context: {cluster: c}}\n"),
				       0600, &err),
			 0);
	setenv("KUBECONFIG", buf_cstr(&env), 1);
	struct client_config c;
	assert_int_equal(client_config_load(&(struct client_source){}, &c, &err), 0);
	assert_true(span_is(c.server, "https://a"));
	assert_true(span_is(c.ca_pem, "PEM"));
	client_config_done(&c);
	const struct client_source must = { .kubeconfig = "/nonexistent/kubeconfig" };
	assert_int_equal(client_config_load(&must, &c, &err), -ERR_NOT_FOUND);
	unsetenv("KUBECONFIG");
	unlink(buf_cstr(&a));
	unlink(buf_cstr(&b));
	unlink(buf_cstr(&ca));
	rmdir(dir);
}

/* ---- queues */

static struct clock_fake fake;
static struct loop *l;
static struct client_job *held[8];
static unsigned n_held;

static void hold_job(struct client_job *job, void *arg)
{
	buf_printf(&seen, "%.*s/%u ", SPAN_ARG(job->key), job->failures);
	held[n_held++] = job;
}

static void turns(void)
{
	for (int i = 0; i < 6; i++)
		loop_turn(l, false);
}

static void pass_ms(int64_t ms)
{
	clock_fake_advance(&fake, ms * NS_PER_MS);
	turns();
}

static void queues(void **state)
{
	auto_err struct err err = ERR_INIT;
	clock_fake_init(&fake, NS_PER_S, NS_PER_S);
	assert_int_equal(loop_new(&fake.clock, &l, &err), 0);
	const struct client_queue_params p = { .loop = l, .name = "test", .workers = 2, .run = hold_job };
	struct client_queue *q = client_queue_new(&p);
	n_held = 0;
	client_queue_add(q, SPAN("a"));
	client_queue_add(q, SPAN("b"));
	client_queue_add(q, SPAN("a"));
	client_queue_add(q, SPAN("c"));
	turns();
	assert_text(&seen, "a/0 b/0 "); /* two workers, each key once */
	assert_int_equal(client_queue_waiting(q), 1);
	assert_int_equal(client_queue_running(q), 2);
	client_queue_add(q, SPAN("a")); /* while it runs: again afterwards, behind c */
	client_job_done(held[0], CLIENT_DONE);
	turns();
	assert_text(&seen, "c/0 ");
	client_job_done(held[1], CLIENT_RETRY); /* b: in 5 ms */
	turns();
	assert_text(&seen, "a/0 ");
	client_job_done(held[2], CLIENT_DONE);
	client_job_done(held[3], CLIENT_DONE);
	pass_ms(4);
	assert_text(&seen, "");
	pass_ms(1);
	assert_text(&seen, "b/1 ");
	client_job_done(held[4], CLIENT_RETRY); /* 10 ms now */
	pass_ms(9);
	assert_text(&seen, "");
	pass_ms(1);
	assert_text(&seen, "b/2 ");
	client_job_done(held[5], CLIENT_DONE);
	n_held = 0;
	client_queue_add_after(q, SPAN("d"), 50);
	client_queue_add_after(q, SPAN("d"), 20); /* the earlier holds */
	client_queue_add_after(q, SPAN("d"), 80);
	client_queue_add(q, SPAN("d"));
	turns();
	assert_text(&seen, "d/0 ");
	client_job_done(held[0], CLIENT_DONE);
	pass_ms(19);
	assert_text(&seen, "");
	pass_ms(1);
	assert_text(&seen, "d/0 ");
	client_job_done(held[1], CLIENT_DONE);
	pass_ms(100);
	assert_text(&seen, "");
	assert_int_equal(client_queue_running(q), 0);
	client_queue_add_after(q, SPAN("e"), 1000); /* freed with a wish open */
	client_queue_free(q);
	loop_free(l);
	l = NULL;
}

/* ---- the scripted server */

struct answer {
	const char *method, *path; /* what the request must begin with */
	int status;                /* 0: keep the request open (a watch) */
	const char *body;
	const char *retry_after;
};
static const struct answer *script;
static struct http_server *server;
static struct http_req *watch_req;
static struct client_config cfg;
static struct client *client;
static unsigned requests;

static void watch_done(struct http_req *r, bool complete, void *arg)
{
	if (watch_req == r)
		watch_req = NULL;
}
static const struct http_req_ops watch_req_ops = { .done = watch_done };

static void with_body(struct http_req *r, int rc, struct span body, void *arg)
{
	const struct answer *a = arg;
	buf_printf(&seen, "<%.*s>", SPAN_ARG(body));
	if (a->retry_after)
		http_reply_header(r, "retry-after", span_of(a->retry_after));
	http_reply_text(r, a->status, "application/json", span_of(a->body));
}

static void handle(struct http_req *r, void *arg)
{
	const struct answer *a = script;
	auto_buf struct buf line = {};
	buf_printf(&line, "%.*s", SPAN_ARG(http_req_target(r)));
	requests++;
	if (!a || !a->method || !http_req_is(r, a->method) || !span_starts(buf_span(&line), span_of(a->path))) {
		print_error("unexpected %.*s %s, the script has %s %s\n", SPAN_ARG(http_req_method(r)), buf_cstr(&line),
			    a && a->method ? a->method : "no more", a && a->path ? a->path : "");
		fail();
	}
	script++;
	if (a->status == 0) {
		watch_req = r;
		http_req_ops_set(r, &watch_req_ops, NULL);
		http_reply_header(r, "content-type", SPAN("application/json"));
		http_reply_begin(r);
	} else if (http_req_is(r, "GET")) {
		if (a->retry_after)
			http_reply_header(r, "retry-after", span_of(a->retry_after));
		http_reply_text(r, a->status, "application/json", span_of(a->body));
	} else {
		http_req_body_whole(r, 1 << 20, with_body, (void *)a);
	}
}

static int server_setup(void **state)
{
	auto_err struct err err = ERR_INIT;
	assert_int_equal(loop_new(NULL, &l, &err), 0);
	const struct http_server_params p = { .loop = l, .name = "test", .handle = handle };
	assert_int_equal(http_server_new(&p, &server, &err), 0);
	int fd = http_listen_tcp("127.0.0.1", 0, 0, &err);
	assert_true(fd >= 0);
	cfg = (struct client_config){};
	cfg.server = arena_printf(&cfg.arena, "http://127.0.0.1:%u/pre/", http_fd_port(fd));
	cfg.token = SPAN("tok");
	assert_int_equal(http_server_listen(server, fd, 0, &err), 0);
	const struct client_params cp = { .loop = l, .config = &cfg, .user_agent = "test" };
	if (client_new(&cp, &client, &err) < 0)
		fail_msg("client_new: %s", err_msg(&err));
	requests = 0;
	return 0;
}

static void stopped(struct http_server *s, void *arg)
{
	*(bool *)arg = true;
}

static int server_teardown(void **state)
{
	bool over = false;
	client_free(client);
	http_server_stop(server, 0, stopped, &over);
	for (int i = 0; i < 3000 && !over; i++) {
		loop_turn(l, false);
		poll(NULL, 0, i > 20);
	}
	assert_true(over);
	http_server_free(server);
	turns();
	loop_free(l);
	client_config_done(&cfg);
	buf_done(&seen);
	seen = (struct buf){};
	return 0;
}

/* Turns until the notes end in that (5 s at most). */
static void until(const char *end)
{
	for (int i = 0; i < 5000; i++) {
		loop_turn(l, false);
		if (span_ends(buf_span(&seen), span_of(end)))
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("waited for \"%s\", there is \"%s\"", end, buf_cstr(&seen));
}

static void note_answer(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	if (why)
		buf_printf(&seen, "%d %s: %s", status, err_class_name(why->class), err_msg(why));
	else
		buf_printf(&seen, "%d %.*s", status, SPAN_ARG(body));
	buf_str(&seen, ".");
}

static void ask(const char *method, const char *path, const char *body)
{
	const struct client_request r = { .method = method, .path = span_of(path), .body = span_of(body), .done = note_answer };
	client_send(client, &r);
}

static void requests_and_errors(void **state)
{
	static const struct answer answers[] = {
		{ "GET", "/pre/api/v1/pods/a", 200, "{}" },
		{ "POST", "/pre/x", 201, "made" },
		{ "GET", "/pre/gone", 404,
		  "{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"pods \\\"a\\\" not found\",\"reason\":\"NotFound\",\"code\":404}" },
		{ "PUT", "/pre/c", 409,
		  "{\"kind\":\"Status\",\"message\":\"changed\",\"reason\":\"Conflict\",\"code\":409}" },
		{ "GET", "/pre/text", 500, "oh no" },
		{ "GET", "/pre/busy", 429, "{}", "0" },
		{ "GET", "/pre/busy", 503, "{}", "0" },
		{ "GET", "/pre/busy", 200, "at last" },
		{ "GET", "/pre/busy", 503, "{\"kind\":\"Status\",\"message\":\"later\",\"reason\":\"ServiceUnavailable\",\"code\":503}", "3000" },
		{},
	};
	script = answers;
	ask("GET", "/api/v1/pods/a", "");
	until(".");
	assert_text(&seen, "200 {}.");
	ask("POST", "/x", "body");
	until(".");
	assert_text(&seen, "<body>201 made.");
	ask("GET", "/gone", "");
	until(".");
	assert_text(&seen, "404 NOT_FOUND: pods \"a\" not found.");
	ask("PUT", "/c", "b");
	until(".");
	assert_text(&seen, "<b>409 STALE: changed.");
	ask("GET", "/text", "");
	until(".");
	assert_text(&seen, "500 INTERNAL: the server answered 500 Internal Server Error: oh no.");
	ask("GET", "/busy", "");
	until(".");
	assert_text(&seen, "200 at last.");
	ask("GET", "/busy", ""); /* to wait longer than the call may take: the answer stands */
	until(".");
	assert_text(&seen, "503 UNAVAILABLE: later.");
	assert_ptr_equal(script, answers + 9);
}

static void paths(void **state)
{
	static const struct {
		struct client_kind kind;
		const char *ns, *name, *sub, *path;
	} rows[] = {
		{ { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("pods"), true }, "d", "web", "log", "/api/v1/namespaces/d/pods/web/log" },
		{ { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("pods"), true }, "", "", NULL, "/api/v1/pods" },
		{ { SPAN_INIT("apps"), SPAN_INIT("v1"), SPAN_INIT("deployments"), true }, "d", "", NULL,
		  "/apis/apps/v1/namespaces/d/deployments" },
		{ { SPAN_INIT("rbac.authorization.k8s.io"), SPAN_INIT("v1"), SPAN_INIT("clusterroles"), false }, "d", "system:node", NULL,
		  "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node" },
		{ { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("nodes"), false }, "", "a/b?c", NULL, "/api/v1/nodes/a%2Fb%3Fc" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf b = {};
		client_path(&b, &rows[i].kind, span_of(rows[i].ns), span_of(rows[i].name), rows[i].sub);
		assert_string_equal(buf_cstr(&b), rows[i].path);
	}
}

/* ---- informers */

static struct client_informer *inf;
static bool free_in_added;

static void on_added(struct client_informer *i, struct client_item *it, const struct json *o, void *arg)
{
	assert_true(span_eq(json_span(json_path(o, "metadata", "name", (char *)NULL)), it->name));
	buf_printf(&seen, "+%.*s@%.*s ", SPAN_ARG(it->key), SPAN_ARG(it->rv));
	if (free_in_added) {
		client_informer_free(i);
		inf = NULL;
	}
}

static void on_changed(struct client_informer *i, struct client_item *it, struct bytes *old, const struct json *o, void *arg)
{
	assert_non_null(old);
	buf_printf(&seen, "~%.*s@%.*s ", SPAN_ARG(it->key), SPAN_ARG(it->rv));
}

static void on_removed(struct client_informer *i, struct client_item *it, void *arg)
{
	assert_null(client_informer_get(i, it->key));
	buf_printf(&seen, "-%.*s@%.*s ", SPAN_ARG(it->key), SPAN_ARG(it->rv));
}

static void on_synced(struct client_informer *i, void *arg)
{
	buf_printf(&seen, "synced:%zu ", client_informer_n(i));
}

static void on_broken(struct client_informer *i, const struct err *why, void *arg)
{
	buf_printf(&seen, "broken:%s ", err_class_name(why->class));
}

#define OBJ(ns, name, uid, rv)                                                                                         \
	"{\"metadata\":{\"namespace\":\"" ns "\",\"name\":\"" name "\",\"uid\":\"" uid "\",\"resourceVersion\":\"" rv "\"}}"
#define LIST(rv, more, items)                                                                                          \
	"{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"" rv "\",\"continue\":\"" more "\"},\"items\":[" items "]}"
#define PODS "/pre/api/v1/pods?"

static void informer_make(void)
{
	const struct client_informer_params p = { .client = client,
						  .kind = CLIENT_KIND("", "v1", "pods", true),
						  .added = on_added,
						  .changed = on_changed,
						  .removed = on_removed,
						  .synced = on_synced,
						  .broken = on_broken };
	inf = client_informer_new(&p);
}

static void tell(const char *text)
{
	for (int i = 0; i < 2000 && !watch_req; i++) {
		loop_turn(l, false);
		poll(NULL, 0, 1);
	}
	assert_non_null(watch_req);
	http_reply_add(watch_req, http_copy(span_of(text)));
}

static void informer_follows(void **state)
{
	static const struct answer answers[] = {
		{ "GET", PODS "limit=500&resourceVersion=0", 200, LIST("10", "m1", OBJ("d", "a", "ua", "3")) },
		{ "GET", PODS "limit=500&continue=m1", 200, LIST("10", "", OBJ("d", "b", "ub", "4") "," OBJ("e", "a", "uc", "5")) },
		{ "GET", PODS "watch=true&allowWatchBookmarks=true&resourceVersion=10&", 0 },
		/* after the connection broke: on from the bookmark */
		{ "GET", PODS "watch=true&allowWatchBookmarks=true&resourceVersion=20&", 0 },
		/* history is gone: everything anew, the newest */
		{ "GET", PODS "limit=500", 200, LIST("40", "", OBJ("d", "a", "ua", "11") "," OBJ("d", "n", "un", "33") "," OBJ("e", "a", "other", "34")) },
		{ "GET", PODS "watch=true&allowWatchBookmarks=true&resourceVersion=40&", 0 },
		{},
	};
	script = answers;
	informer_make();
	until("synced:3 ");
	assert_text(&seen, "+d/a@3 +d/b@4 +e/a@5 synced:3 ");
	tell("{\"type\":\"MODIFIED\",\"object\":" OBJ("d", "a", "ua", "11") "}\n{\"type\":\"ADDED\",\"obj");
	until("~d/a@11 ");
	tell("ect\":" OBJ("d", "c", "ud", "12") "}\n{\"type\":\"DELETED\",\"object\":" OBJ("d", "c", "ud", "13") "}\n");
	until("-d/c@12 ");
	assert_text(&seen, "~d/a@11 +d/c@12 -d/c@12 ");
	tell("{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"20\"}}}\n");
	turns();
	poll(NULL, 0, 20);
	turns();
	http_reply_abort(watch_req);
	watch_req = NULL;
	until("broken:UPSTREAM ");
	buf_trunc(&seen, 0);
	tell("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"message\":\"too old\",\"reason\":\"Expired\",\"code\":410}}\n");
	watch_req = NULL;
	until("-d/b@4 ");
	assert_text(&seen, "+d/n@33 -e/a@5 +e/a@34 -d/b@4 ");
	tell("{\"type\":\"MODIFIED\",\"object\":" OBJ("d", "n", "un", "41") "}\n");
	until("~d/n@41 ");
	assert_int_equal(client_informer_n(inf), 3);
	struct client_item *it = client_informer_get(inf, SPAN("e/a"));
	assert_true(it && span_is(it->ns, "e") && span_is(it->name, "a") && span_is(it->uid, "other"));
	size_t pos = 0, n = 0;
	while (client_informer_next(inf, &pos))
		n++;
	assert_int_equal(n, 3);
	client_informer_free(inf);
	assert_ptr_equal(script, answers + 6);
}

static void informer_comes_back(void **state)
{
	static const struct answer answers[] = {
		{ "GET", PODS, 500, "down" },
		{ "GET", PODS, 200, "{\"items\":[" OBJ("d", "a", "ua", "3") "," }, /* cut off */
		{ "GET", PODS, 200, LIST("10", "", OBJ("d", "a", "ua", "3")) },
		{ "GET", PODS "watch", 403,
		  "{\"kind\":\"Status\",\"message\":\"no\",\"reason\":\"Forbidden\",\"code\":403}" },
		{ "GET", PODS "watch", 0 },
		{},
	};
	script = answers;
	informer_make();
	until("synced:1 ");
	assert_text(&seen, "broken:INTERNAL +d/a@3 broken:UPSTREAM synced:1 ");
	until("broken:FORBIDDEN ");
	tell("nonsense\n");
	watch_req = NULL;
	until("broken:UPSTREAM ");
	client_informer_free(inf);
}

static void informer_ends_inside(void **state)
{
	static const struct answer answers[] = {
		{ "GET", PODS, 200, LIST("10", "", OBJ("d", "a", "ua", "3") "," OBJ("d", "b", "ub", "4")) },
		{},
	};
	script = answers;
	free_in_added = true;
	informer_make();
	until("+d/a@3 ");
	turns();
	free_in_added = false;
	assert_null(inf);
	assert_text(&seen, "+d/a@3 ");
}

/* ---- leadership */

static void on_started(struct client_election *e, void *arg)
{
	buf_str(&seen, "started ");
}

static void on_stopped(struct client_election *e, const struct err *why, void *arg)
{
	buf_printf(&seen, "stopped:%s ", err_class_name(why->class));
}

static void on_ended(void *arg)
{
	buf_str(&seen, "ended ");
}

#define LEASE(holder, seconds) "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"holderIdentity\":\"" holder "\",\"leaseDurationSeconds\":" seconds "}}"
#define LEASES "/pre/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"

static struct client_election *candidate(unsigned deadline_ms, unsigned retry_ms)
{
	const struct client_election_params p = { .client = client,
						  .ns = SPAN("kube-system"),
						  .name = SPAN("s"),
						  .identity = SPAN("me"),
						  .renew_deadline_ms = deadline_ms,
						  .retry_ms = retry_ms,
						  .started = on_started,
						  .stopped = on_stopped };
	return client_election_new(&p);
}

static void leads_and_loses(void **state)
{
	static const struct answer answers[] = {
		{ "GET", LEASES "/s", 404, "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"code\":404}" },
		{ "POST", LEASES, 201, LEASE("me", "15") },
		{ "PUT", LEASES "/s", 409, "{\"kind\":\"Status\",\"reason\":\"Conflict\",\"code\":409}" },
		{ "GET", LEASES "/s", 200, LEASE("other", "1") },
		/* until the other's second is over */
		{ "GET", LEASES "/s", 200, LEASE("", "1") },
		{ "PUT", LEASES "/s", 200, LEASE("me", "15") },
		{ "PUT", LEASES "/s", 200, LEASE("", "1") }, /* given back */
		{},
	};
	script = answers;
	/* Long enough that a busy machine renews no more often than the script says. */
	struct client_election *e = candidate(6000, 400);
	until("started ");
	assert_true(span_has(buf_span(&seen), SPAN("\"holderIdentity\":\"me\",\"leaseDurationSeconds\":15,")));
	assert_true(client_election_leads(e));
	until("stopped:STALE ");
	assert_true(span_is(client_election_holder(e), "other"));
	until("started ");
	buf_trunc(&seen, 0);
	client_election_end(e, on_ended, NULL);
	until("ended ");
	assert_true(span_has(buf_span(&seen), SPAN("\"holderIdentity\":\"\",\"leaseDurationSeconds\":1,")));
	assert_ptr_equal(script, answers + 7);
}

static void deadline_ends_leadership(void **state)
{
	static const struct answer answers[] = {
		{ "GET", LEASES "/s", 200, LEASE("me", "15") },
		{ "PUT", LEASES "/s", 200, LEASE("me", "15") },
		{ "PUT", LEASES "/s", 0 }, /* never answered */
		{ "GET", LEASES "/s", 0 }, { "GET", LEASES "/s", 0 }, {},
	};
	script = answers;
	struct client_election *e = candidate(120, 30);
	until("started ");
	until("stopped:TIMEOUT ");
	assert_false(client_election_leads(e));
	client_election_end(e, on_ended, NULL);
	until("ended ");
	watch_req = NULL;
}

/* ---- events */

static void events_merge(void **state)
{
	static const struct answer answers[] = {
		{ "POST", "/pre/api/v1/namespaces/d/events", 201, "{}" },
		{ "PATCH", "/pre/api/v1/namespaces/d/events/web.", 200, "{}" },
		{ "PATCH", "/pre/api/v1/namespaces/d/events/web.", 404, "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"code\":404}" },
		{ "POST", "/pre/api/v1/namespaces/d/events", 201, "{}" },
		{},
	};
	script = answers;
	struct client_recorder *r = client_recorder_new(client, SPAN("kubelet"), SPAN("n1"));
	const struct client_object_ref ref = {
		.api_version = SPAN("v1"), .kind = SPAN("Pod"), .ns = SPAN("d"), .name = SPAN("web"), .uid = SPAN("u")
	};
	client_event(r, &ref, "Normal", "Pulled", SPAN("it is there"));
	until(">");
	assert_true(span_has(buf_span(&seen), SPAN("\"involvedObject\":{\"kind\":\"Pod\",\"namespace\":\"d\",\"name\":\"web\",\"uid\":\"u\","
						   "\"apiVersion\":\"v1\"},\"reason\":\"Pulled\",\"message\":\"it is there\",\"source\":{"
						   "\"component\":\"kubelet\",\"host\":\"n1\"}")));
	buf_trunc(&seen, 0);
	client_event(r, &ref, "Normal", "Pulled", SPAN("it is there"));
	until(">");
	assert_true(span_starts(buf_span(&seen), SPAN("<{\"count\":2,\"lastTimestamp\":\"")));
	buf_trunc(&seen, 0);
	client_event(r, &ref, "Normal", "Pulled", SPAN("it is there"));
	until(">"); /* it has expired on the server */
	for (int i = 0; i < 200; i++) {
		loop_turn(l, false);
		poll(NULL, 0, 1);
	}
	buf_trunc(&seen, 0);
	client_event(r, &ref, "Normal", "Pulled", SPAN("it is there"));
	until(">");
	assert_true(span_has(buf_span(&seen), SPAN("\"count\":1,")));
	assert_ptr_equal(script, answers + 4);
	client_recorder_free(r);
}

static void events_are_cut(void **state)
{
	static struct answer answers[32];
	for (int i = 0; i < 25; i++)
		answers[i] = (struct answer){ i < 10 ? "POST" : "PATCH", "/pre/api/v1/namespaces/default/events", 200, "{}" };
	script = answers;
	struct client_recorder *r = client_recorder_new(client, SPAN("scheduler"), SPAN(""));
	const struct client_object_ref ref = { .kind = SPAN("Node"), .name = SPAN("n") };
	for (int i = 0; i < 60; i++) {
		char text[32];
		(void)snprintf(text, sizeof(text), "message %d", i);
		client_event(r, &ref, "Warning", "Broken", span_of(text));
	}
	for (int i = 0; i < 3000 && requests < 25; i++) {
		loop_turn(l, false);
		poll(NULL, 0, 1);
	}
	until(">");
	turns();
	/* nine alone, the tenth begins the sum, and after 25 the flood is cut */
	assert_int_equal(requests, 25);
	assert_true(span_has(buf_span(&seen), SPAN("(combined from similar events): message 9")));
	assert_true(span_has(buf_span(&seen), SPAN("(combined from similar events): message 24")));
	assert_false(span_has(buf_span(&seen), SPAN("message 25")));
	client_recorder_free(r);
}

#define WITH_SERVER(f) cmocka_unit_test_setup_teardown(f, server_setup, server_teardown)

/* ---- the frame of a process */

struct framed {
	struct client_process frame;
	struct loop_timer ends;
	int how; /* what ends it: a signal's number, 0: its own word; -1: start fails */
	struct buf told;
};

static struct framed *framed(struct client_process *p)
{
	return container_of(p, struct framed, frame);
}

static void frame_ends(struct loop_timer *t)
{
	struct framed *f = container_of(t, struct framed, ends);
	if (f->how)
		raise(f->how);
	else
		client_process_stop(&f->frame, 7);
	client_process_stop(&f->frame, f->how ? 0 : 8); /* too late, or the same */
}

static int frame_start(struct client_process *p, struct err *err)
{
	struct framed *f = framed(p);
	buf_str(&f->told, "start ");
	if (f->how < 0)
		return err_set(err, ERR_IO, "no room");
	loop_timer_init(&f->ends, p->loop, "end of the test", frame_ends);
	loop_timer_start(&f->ends, 20);
	return 0;
}

static void frame_act(struct client_process *p)
{
	buf_str(&framed(p)->told, "act ");
}

static void frame_rest(struct client_process *p)
{
	assert_true(p->client && p->stopping);
	buf_str(&framed(p)->told, "rest ");
}

static void frame_leave(struct client_process *p)
{
	buf_str(&framed(p)->told, "leave ");
}

static void frame_done(struct client_process *p)
{
	assert_null(p->client);
	buf_str(&framed(p)->told, "done");
}

static void process_ends_once(void **state)
{
	static const struct client_process_ops ops = { frame_start, frame_act, frame_rest, frame_leave, frame_done };
	static const struct client_process_ops plain = { .start = frame_start, .leave = frame_leave, .done = frame_done };
	static const struct {
		const struct client_process_ops *ops;
		int how, status;
		const char *kubeconfig, *lease, *told;
	} rows[] = {
		{ &ops, SIGTERM, 0, "/dev/null", "", "start act rest leave done" },
		{ &ops, SIGINT, 0, "/dev/null", "", "start act rest leave done" },
		{ &ops, 0, 7, "/dev/null", "", "start act rest leave done" },
		{ &plain, SIGTERM, 0, "/dev/null", "", "start leave done" },
		{ &ops, -1, 1, "/dev/null", "", "start leave done" },
		{ &ops, 0, 1, "/nonexistent", "", "leave done" },
		/* Nobody answers: it never leads, and waits for nobody when it goes. */
		{ &ops, SIGTERM, 0, "/dev/null", "s", "start rest leave done" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct framed f = { .how = rows[i].how,
			.frame = { .ops = rows[i].ops, .user_agent = "test", .lease = { .ns = SPAN("n"), .name = span_of(rows[i].lease) },
				   .source = { .kubeconfig = rows[i].kubeconfig, .server = "http://127.0.0.1:1" } } };
		int status = client_process_run(&f.frame);
		if (status != rows[i].status || strcmp(buf_cstr(&f.told), rows[i].told))
			fail_msg("row %zu: status %d \"%s\", want %d \"%s\"", i, status, buf_cstr(&f.told), rows[i].status, rows[i].told);
		buf_done(&f.told);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_everywhere),	 cmocka_unit_test(split_refuses),
		cmocka_unit_test(config_reads),		 cmocka_unit_test(config_merges),
		cmocka_unit_test(queues),		 cmocka_unit_test(paths),
		WITH_SERVER(requests_and_errors),	 WITH_SERVER(informer_follows),
		WITH_SERVER(informer_comes_back),	 WITH_SERVER(informer_ends_inside),
		WITH_SERVER(leads_and_loses),		 WITH_SERVER(deadline_ends_leadership),
		WITH_SERVER(events_merge),		 WITH_SERVER(events_are_cut),
		cmocka_unit_test(process_ends_once),
	};
	log_open(-1, LOG_ERROR, "test");
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	buf_done(&seen);
	return rc;
}
