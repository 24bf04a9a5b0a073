/* A connection that leaves HTTP: exec, attach and port-forward. The handshake is the client's, what comes after it its owner's. */
#include "client/private.h"

#define ERROR_MAX (256 << 10)
#define TIMEOUT_MS 30000
#define FIELDS_MAX 24

struct client_upgrade {
	struct list link;
	struct client_upgrade_params p;
	struct http_call *http;
	struct loop_task failed;
	struct buf error_body;
	struct err err;
	bool switched;
};

static void upgrade_end(struct client_upgrade *u, const struct err *why)
{
	list_remove(&u->link);
	loop_task_cancel(&u->failed);
	u->p.done(why, u->p.arg);
	buf_done(&u->error_body);
	err_done(&u->err);
	free(u);
}

static void on_head(struct http_call *h, void *arg)
{
	struct client_upgrade *u = arg;
	if (http_call_status(h) != 101)
		return;
	u->switched = true;
	if (u->p.switched(h, u->p.arg, &u->err) < 0)
		http_call_cancel(h);
}

static void on_data(struct http_call *h, struct span data, void *arg)
{
	struct client_upgrade *u = arg;
	buf_span_add(&u->error_body, data); /* what is beyond the limit is not needed */
}

static void on_done(struct http_call *h, const struct err *why, void *arg)
{
	struct client_upgrade *u = arg;
	u->http = NULL;
	if (u->err.class != ERR_NONE) /* the owner's own */
		upgrade_end(u, &u->err);
	else if (why)
		upgrade_end(u, why);
	else if (u->switched)
		upgrade_end(u, NULL);
	else {
		int status = http_call_status(h);
		struct span text = span_trim(buf_span(&u->error_body));
		if (status >= 400 && text.len && text.ptr[0] != '{') /* a kubelet's plain words: in client-go's frame */
			err_set(&u->err, ERR_INTERNAL, CLIENT_UPGRADE_REFUSED "%.*s", SPAN_ARG(span_sub(text, 0, 1000)));
		else if (status >= 400)
			client_status_error(status, buf_span(&u->error_body), &u->err);
		else
			err_set(&u->err, ERR_UPSTREAM, "the server answered %d where 101 Switching Protocols was asked for", status);
		upgrade_end(u, &u->err);
	}
}

static void on_failed(struct loop_task *t)
{
	struct client_upgrade *u = container_of(t, struct client_upgrade, failed);
	upgrade_end(u, &u->err);
}

struct client_upgrade *client_upgrade_open(struct client *cl, const struct client_upgrade_params *p)
{
	static const struct http_call_ops ops = { .head = on_head, .data = on_data, .done = on_done };
	struct client_upgrade *u = mem_new(struct client_upgrade);
	auto_arena struct arena a = {};
	struct http_field fields[FIELDS_MAX];
	struct http_origin origin = cl->origin;
	*u = (struct client_upgrade){ .p = *p, .error_body = { .limit = ERROR_MAX }, .err = ERR_INIT };
	loop_task_init(&u->failed, on_failed);
	list_push(&cl->upgrades, &u->link);
	origin.http2 = false; /* HTTP/2 has no upgrades */
	unsigned n = client_headers(cl, &a, "*/*", NULL, fields);
	for (unsigned i = 0; i < p->n_fields && n < FIELDS_MAX; i++)
		fields[n++] = p->fields[i];
	const struct http_call_params hp = { .origin = &origin, .method = p->method, .target = client_full_path(cl, &a, p->path),
					     .headers = fields, .n_headers = n, .upgrade = p->protocol, .first_byte_ms = TIMEOUT_MS,
					     .ops = &ops, .arg = u };
	if (http_call_begin(cl->http, &hp, &u->http, &u->err) < 0) {
		u->http = NULL;
		loop_defer(cl->loop, &u->failed);
	}
	return u;
}
