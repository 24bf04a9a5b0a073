/* The streaming server: tokens that are good once and for a minute, and who takes the connection that brings one. */
#include "cri/stream.h"

#define TOKEN_MS 60000
#define TICKETS_MAX 1000

void cri_ticket_free(struct cri_ticket *t)
{
	list_remove(&t->link);
	arena_done(&t->arena);
	free(t);
}

/* No timer: who is late finds out by asking, and who makes a new one clears away. */
static void expired_drop(struct cri *c)
{
	struct cri_ticket *t;
	while ((t = LIST_POP(&c->tickets, struct cri_ticket, link)) && t->until_ms <= loop_now_ms(c->p.loop)) {
		c->n_tickets--;
		cri_ticket_free(t);
	}
	if (t)
		list_push_front(&c->tickets, &t->link);
}

static struct cri_ticket *ticket_new(struct cri_call *k, enum cri_stream_kind kind, struct span id)
{
	struct cri *c = k->cri;
	uint8_t raw[16];
	auto_buf struct buf b = {};
	expired_drop(c);
	if (c->n_tickets >= TICKETS_MAX) {
		cri_fail_with(k, ERR_TOO_MANY, "maximum number of in-flight requests exceeded");
		return NULL;
	}
	struct cri_ticket *t = mem_new(struct cri_ticket);
	rng_secret(raw, sizeof(raw));
	hex_add(&b, raw, sizeof(raw));
	memcpy(t->token, buf_cstr(&b), sizeof(t->token));
	t->kind = kind;
	t->id = arena_span(&t->arena, id);
	t->until_ms = loop_now_ms(c->p.loop) + TOKEN_MS;
	list_push(&c->tickets, &t->link);
	c->n_tickets++;
	return t;
}

static struct cri_ticket *ticket_take(struct cri *c, struct span token)
{
	expired_drop(c);
	LIST_EACH (&c->tickets, t, struct cri_ticket, link)
		if (span_is(token, t->token)) {
			list_remove(&t->link);
			c->n_tickets--;
			return t;
		}
	return NULL;
}

static struct span url(struct cri_call *k, const char *what, const struct cri_ticket *t)
{
	return arena_printf(&k->arena, "http://127.0.0.1:%u/%s/%s", k->cri->stream_port, what, t->token);
}

static int streams_check(bool in, bool out, bool error, bool tty, struct err *err)
{
	if (tty && error)
		return err_set(err, ERR_INVALID_REQUEST, "tty and stderr cannot both be true");
	if (!in && !out && !error)
		return err_set(err, ERR_INVALID_REQUEST, "one of stdin, stdout, or stderr must be set");
	return 0;
}

static struct cri_container *running(struct cri_call *k, struct span id)
{
	struct container_state now;
	struct cri_container *one = cri_container_find(k->cri, id, &k->err);
	if (one && cri_container_now(one, &now) != CRI_RUNNING) {
		(void)err_set(&k->err, ERR_IN_USE, "container %s is not running", one->id);
		return NULL;
	}
	return one;
}

void cri_exec(struct cri_call *k, const void *in)
{
	const struct api_cri_exec_request *q = in;
	struct cri_container *one = running(k, q->container_id);
	if (one && !q->cmd.n)
		(void)err_set(&k->err, ERR_INVALID_REQUEST, "exec cmd must not be empty");
	if (!one || k->err.class || streams_check(q->stdin, q->stdout, q->stderr, q->tty, &k->err) < 0) {
		cri_fail(k);
		return;
	}
	struct cri_ticket *t = ticket_new(k, CRI_STREAM_EXEC, span_of(one->id));
	if (!t)
		return;
	struct span *cmd = arena_alloc_n(&t->arena, q->cmd.n, sizeof(*cmd));
	for (uint32_t i = 0; i < q->cmd.n; i++)
		cmd[i] = arena_span(&t->arena, q->cmd.ptr[i]);
	t->cmd = cmd;
	t->n_cmd = q->cmd.n;
	t->tty = q->tty;
	t->in = q->stdin;
	t->out = q->stdout;
	t->error = q->stderr;
	const struct api_cri_exec_response out = { .url = url(k, "exec", t) };
	cri_answer(k, &out);
}

void cri_attach(struct cri_call *k, const void *in)
{
	const struct api_cri_attach_request *q = in;
	struct cri_container *one = running(k, q->container_id);
	if (!one || streams_check(q->stdin, q->stdout, q->stderr, q->tty, &k->err) < 0) {
		cri_fail(k);
		return;
	}
	struct cri_ticket *t = ticket_new(k, CRI_STREAM_ATTACH, span_of(one->id));
	if (!t)
		return;
	t->tty = q->tty;
	t->in = q->stdin;
	t->out = q->stdout;
	t->error = q->stderr;
	const struct api_cri_attach_response out = { .url = url(k, "attach", t) };
	cri_answer(k, &out);
}

void cri_port_forward(struct cri_call *k, const void *in)
{
	const struct api_cri_port_forward_request *q = in;
	struct cri_pod *pod = cri_pod_find(k->cri, q->pod_sandbox_id, &k->err);
	if (pod && !cri_pod_ready(pod))
		(void)err_set(&k->err, ERR_IN_USE, "sandbox container %s is not running", pod->id);
	if (!pod || k->err.class) {
		cri_fail(k);
		return;
	}
	struct cri_ticket *t = ticket_new(k, CRI_STREAM_FORWARD, span_of(pod->id));
	if (!t)
		return;
	const struct api_cri_port_forward_response out = { .url = url(k, "portforward", t) };
	cri_answer(k, &out);
}

/* ---- connections */

const char *cri_stream_protocol(struct http_req *r, const char *const *ours)
{
	struct span rest = http_req_header_all(r, "X-Stream-Protocol-Version"), one;
	while (span_cut(&rest, ',', &one))
		for (size_t i = 0; ours[i]; i++)
			if (span_is(span_trim(one), ours[i]))
				return ours[i];
	return NULL;
}

void cri_stream_refuse(struct http_req *r, const char *const *ours)
{
	http_reply_status(r, 403);
	for (size_t i = 0; ours[i]; i++)
		http_reply_header(r, "X-Accepted-Stream-Protocol-Versions", span_of(ours[i]));
	http_reply_add(r, http_copy(SPAN("unable to upgrade: unable to negotiate protocol\n")));
	http_reply_end(r);
}

static void handle(struct http_req *r, void *arg)
{
	static const char *const kinds[] = { "/exec/", "/attach/", "/portforward/" };
	struct cri *c = arg;
	struct span path = http_req_path(r);
	struct cri_ticket *t = NULL;
	ptrdiff_t slash = span_rchr(path, '/');
	bool upgrade = http_req_wants_upgrade(r, "websocket") || http_req_wants_upgrade(r, "SPDY/3.1");
	if (!upgrade) { /* the token stays good: it is the request that makes no sense */
		http_reply_text(r, 400, "text/plain; charset=utf-8", SPAN("unable to upgrade: missing upgrade headers\n"));
		return;
	}
	if (slash > 0)
		t = ticket_take(c, span_from(path, (size_t)slash + 1));
	if (!t || !span_eq(span_sub(path, 0, (size_t)slash + 1), span_of(kinds[t->kind]))) {
		if (t)
			cri_ticket_free(t);
		http_reply_text(r, 404, "text/plain; charset=utf-8", SPAN("404 page not found\n"));
		return;
	}
	if (t->kind == CRI_STREAM_FORWARD)
		cri_forward_begin(c, r, t);
	else
		cri_session_begin(c, r, t);
}

int cri_streams_open(struct cri *c, struct err *err)
{
	const struct http_server_params p = { .loop = c->p.loop, .name = "cri streams", .handle = handle, .arg = c, .no_http2 = true };
	int rc = http_server_new(&p, &c->streams, err);
	int fd = rc < 0 ? -1 : http_listen_tcp("127.0.0.1", 0, 0, err);
	if (fd < 0)
		return rc < 0 ? rc : fd;
	c->stream_port = http_fd_port(fd);
	return http_server_listen(c->streams, fd, 0, err);
}

void cri_streams_cut(struct cri *c)
{
	LIST_EACH (&c->conns, conn, struct cri_conn, link)
		http_link_abort(conn->k);
}

void cri_streams_free(struct cri *c)
{
	struct cri_ticket *t;
	while ((t = LIST_POP(&c->tickets, struct cri_ticket, link)))
		cri_ticket_free(t);
	http_server_free(c->streams);
}
