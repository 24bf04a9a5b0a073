/* An API server for tests, on the test's loop: lists and watches of single objects, GETs, and answers to POSTs that the test
 * gives. Objects are texts by path; a list with fieldSelector metadata.name=X of a collection is the object at collection/X. */
#pragma once

#include "client/client.h"
#include "kubelet/until_test.h"

struct fake_object {
	struct list link;
	char *path; /* "/api/v1/namespaces/d/configmaps/c" */
	char *text;
	unsigned rv;
};
struct fake_watch {
	struct list link;
	struct http_req *r;
	char *path;
};
struct fake_api {
	struct loop *loop;
	struct http_server *http;
	struct client *client;
	struct client_config config;
	struct list objects, watches;
	unsigned rv, stopped;
	struct buf posts; /* "POST path body\n" of each */
	/* Answers a POST: status, and text into out. */
	int (*post)(struct fake_api *f, struct span path, struct span body, struct buf *out);
	void *arg;
	const char *forbids; /* part of paths that nobody may read; NULL: none */
	char url[64];
};

static void fake_watch_done(struct http_req *r, bool complete, void *arg)
{
	struct fake_watch *w = arg;
	list_remove(&w->link);
	free(w->path);
	free(w);
}

static void fake_watch_hangup(struct http_req *r, void *arg)
{
	http_reply_abort(r);
}

static struct fake_object *fake_find(struct fake_api *f, struct span path)
{
	LIST_EACH(&f->objects, o, struct fake_object, link)
		if (span_is(path, o->path))
			return o;
	return NULL;
}

static void fake_event(struct fake_watch *w, const char *type, const char *text)
{
	auto_buf struct buf b = {};
	buf_printf(&b, "{\"type\":\"%s\",\"object\":%s}\n", type, text);
	http_reply_add(w->r, http_copy(buf_span(&b)));
}

/* text with a resourceVersion: it must begin with {"metadata":{ */
static void fake_put(struct fake_api *f, const char *path, const char *text)
{
	struct fake_object *o = fake_find(f, span_of(path));
	auto_buf struct buf b = {};
	const char *type = o ? "MODIFIED" : "ADDED";
	if (o) {
		list_remove(&o->link);
	} else {
		o = mem_new(struct fake_object);
		o->path = mem_dup(path, strlen(path));
	}
	if (text) {
		assert(strncmp(text, "{\"metadata\":{", 13) == 0);
		buf_printf(&b, "{\"metadata\":{\"resourceVersion\":\"%u\",%s", ++f->rv, text + 13);
	} else {
		type = "DELETED";
		buf_str(&b, o->text);
		f->rv++;
	}
	free(o->text);
	o->text = mem_dup(b.ptr, b.len);
	o->rv = f->rv;
	list_push(&f->objects, &o->link);
	LIST_EACH(&f->watches, w, struct fake_watch, link)
		if (strcmp(w->path, path) == 0)
			fake_event(w, type, o->text);
	if (!text) {
		list_remove(&o->link);
		free(o->path);
		free(o->text);
		free(o);
	}
}

static void fake_post_body(struct http_req *r, int rc, struct span body, void *arg)
{
	struct fake_api *f = arg;
	auto_buf struct buf out = {};
	int status = 201;
	buf_printf(&f->posts, "%.*s %.*s %.*s\n", SPAN_ARG(http_req_method(r)), SPAN_ARG(http_req_path(r)), SPAN_ARG(body));
	if (f->post)
		status = f->post(f, http_req_path(r), body, &out);
	http_reply_text(r, status, "application/json", buf_span(&out));
}

static void fake_handle(struct http_req *r, void *arg)
{
	struct fake_api *f = arg;
	auto_buf struct buf selector = {}, path = {}, out = {};
	if (!http_req_is(r, "GET"))
		return http_req_body_whole(r, 1 << 20, fake_post_body, f);
	buf_span_add(&path, http_req_path(r));
	if (f->forbids && strstr(buf_cstr(&path), f->forbids))
		return http_reply_text(r, 403, "application/json", SPAN("{\"kind\":\"Status\",\"status\":\"Failure\",\"code\":403,"
			"\"message\":\"not for you\",\"reason\":\"Forbidden\"}"));
	bool single = query_get(http_req_query(r), "fieldSelector", &selector) && span_starts(buf_span(&selector),
		SPAN("metadata.name="));
	if (single)
		buf_printf(&path, "/%s", buf_cstr(&selector) + strlen("metadata.name="));
	auto_buf struct buf watch = {};
	struct fake_object *o = fake_find(f, buf_span(&path));
	if (query_get(http_req_query(r), "watch", &watch)) {
		static const struct http_req_ops ops = { .hangup = fake_watch_hangup, .done = fake_watch_done };
		struct fake_watch *w = mem_new(struct fake_watch);
		w->r = r;
		w->path = mem_dup(path.ptr, path.len);
		list_push(&f->watches, &w->link);
		http_req_ops_set(r, &ops, w);
		http_reply_header(r, "content-type", SPAN("application/json"));
		http_reply_begin(r);
		/* What happened since the list. */
		auto_buf struct buf since = {};
		uint64_t rv = 0;
		if (o && query_get(http_req_query(r), "resourceVersion", &since) && span_to_u64(buf_span(&since), &rv) && o->rv > rv)
			fake_event(w, "MODIFIED", o->text);
		return;
	}
	if (single)
		buf_printf(&out, "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"%u\"},\"items\":[%s]}", f->rv, o ? o->text : "");
	else if (o)
		buf_str(&out, o->text);
	else {
		/* As the real one: plural and name from the path's end. */
		struct span p = buf_span(&path);
		struct span name = span_from(p, (size_t)span_rchr(p, '/') + 1), front = span_sub(p, 0, (size_t)span_rchr(p, '/'));
		struct span plural = span_from(front, (size_t)span_rchr(front, '/') + 1);
		buf_printf(&out, "{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"%.*s \\\"%.*s\\\" not found\","
			"\"reason\":\"NotFound\","
				 "\"code\":404}", SPAN_ARG(plural), SPAN_ARG(name));
	}
	http_reply_text(r, single || o ? 200 : 404, "application/json", buf_span(&out));
}

static void fake_init(struct fake_api *f, struct loop *l)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf text = {};
	*f = (struct fake_api){ .loop = l, .rv = 10 };
	list_init(&f->objects);
	list_init(&f->watches);
	const struct http_server_params p = { .loop = l, .name = "fake api", .handle = fake_handle, .arg = f };
	assert_int_equal(http_server_new(&p, &f->http, NULL), 0);
	int fd = http_listen_tcp("127.0.0.1", 0, 0, &err);
	if (fd < 0)
		fail_msg("%s", err_msg(&err));
	(void)snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%u", http_fd_port(fd));
	assert_int_equal(http_server_listen(f->http, fd, 0, NULL), 0);
	buf_printf(&text, "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: \"%s\"}}]\n"
			  "users: [{name: u, user: {token: t}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n", f->url);
	if (client_config_parse(buf_span(&text), "/", &(struct client_source){}, &f->config, &err) < 0)
		fail_msg("%s", err_msg(&err));
	const struct client_params cp = { .loop = l, .config = &f->config, .user_agent = "test" };
	if (client_new(&cp, &f->client, &err) < 0)
		fail_msg("%s", err_msg(&err));
}

static void fake_stopped(struct http_server *s, void *arg)
{
	((struct fake_api *)arg)->stopped = 1;
}

static void fake_done(struct fake_api *f)
{
	client_free(f->client);
	http_server_stop(f->http, 0, fake_stopped, f);
	while (!f->stopped)
		(void)loop_turn(f->loop, true);
	http_server_free(f->http);
	LIST_EACH(&f->objects, o, struct fake_object, link) {
		free(o->path);
		free(o->text);
		free(o);
	}
	client_config_done(&f->config);
	buf_done(&f->posts);
}
