/* port-forward: ports of this machine led to a pod, over SPDY/3.1 (portforward.k8s.io): a connection is a pair of streams,
 * one for its
 * bytes and one for what went wrong. */
#include "front/private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE 32768
#define QUEUED_MAX (256u << 10)
#define CONNECTIONS_MAX 1000

struct forward;
/* One of the ports on one of the addresses. */
struct port {
	struct loop_fd listener;
	struct list link; /* forward.ports */
	struct forward *w;
	unsigned local, remote;
	int fd;
};
struct connection {
	struct loop_fd fd_source;
	struct list link; /* forward.connections */
	struct port *port;
	struct http_spdy_stream *data, *error; /* NULL: closed */
	struct buf out, complaint; /* towards the client; of the error stream */
	int fd;
	bool replied, in_over, out_over, shut; /* shut: the loop has let go of the descriptor */
};
struct forward {
	struct front *f;
	struct front_words addresses;
	struct http_link *link;
	struct list ports, connections;
	struct loop_signal interrupt;
	struct loop_task cleaning;
	unsigned turn, n_connections, n_ports;
	bool ready, over, ended;
	struct err *err;
	int rc;
};

/* ---- one connection */

static void want(struct connection *c)
{
	bool room = c->port->w->link && http_link_queued(c->port->w->link) <= QUEUED_MAX;
	loop_fd_want(&c->fd_source, (c->replied && !c->in_over && room ? LOOP_READ : 0) | (c->out.len ? LOOP_WRITE : 0));
}

static void on_shut(struct loop_fd *fd)
{
	struct connection *c = container_of(fd, struct connection, fd_source);
	c->shut = true;
	loop_defer(c->port->w->f->loop, &c->port->w->cleaning);
}

static void connection_end(struct connection *c)
{
	struct forward *w = c->port->w;
	if (c->fd < 0)
		return;
	if (loop_fd_is_open(&c->fd_source))
		loop_fd_close(&c->fd_source, on_shut);
	else
		c->shut = true;
	(void)close(c->fd);
	c->fd = -1;
	if (c->data)
		http_spdy_reset(c->data, HTTP_SPDY_CANCEL);
	if (c->error)
		http_spdy_reset(c->error, HTTP_SPDY_CANCEL);
	loop_defer(w->f->loop, &w->cleaning);
	if (w->link)
		http_link_flush(w->link);
}

/* Those whose descriptor and streams are gone. */
static void on_cleaning(struct loop_task *t)
{
	struct forward *w = container_of(t, struct forward, cleaning);
	LIST_EACH(&w->connections, c, struct connection, link) {
		if (!c->shut || c->data || c->error)
			continue;
		list_remove(&c->link);
		w->n_connections--;
		buf_done(&c->out);
		buf_done(&c->complaint);
		free(c);
	}
}

static void write_out(struct connection *c)
{
	while (c->out.len) {
		ssize_t n = send(c->fd, c->out.ptr, c->out.len, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			connection_end(c);
			return;
		}
		if (c->data)
			http_spdy_consumed(c->data, (size_t)n);
		buf_shift(&c->out, (size_t)n);
	}
	if (!c->out.len && c->out_over) {
		(void)shutdown(c->fd, SHUT_WR);
		if (c->in_over || !c->data) {
			connection_end(c);
			return;
		}
	}
	if (c->port->w->link && http_spdy_unconsumed(http_link_spdy(c->port->w->link)) <= QUEUED_MAX)
		http_link_resume(c->port->w->link);
	want(c);
}

static void on_socket(struct loop_fd *fd, unsigned events)
{
	struct connection *c = container_of(fd, struct connection, fd_source);
	struct forward *w = c->port->w;
	char piece[PIECE];
	if (events & LOOP_WRITE)
		write_out(c);
	if (c->fd < 0 || !(events & (LOOP_READ | LOOP_HUP)) || !c->replied || c->in_over || !c->data)
		return;
	ssize_t n = read(c->fd, piece, sizeof(piece));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		connection_end(c);
		return;
	}
	c->in_over = n == 0;
	http_spdy_write(c->data, span_make(piece, (size_t)n), n == 0);
	if (w->link)
		http_link_flush(w->link);
	want(c);
}

static int open_streams(struct connection *c, struct err *err)
{
	struct forward *w = c->port->w;
	struct http_spdy *s = http_link_spdy(w->link);
	char port[16], id[16];
	(void)snprintf(port, sizeof(port), "%u", c->port->remote);
	(void)snprintf(id, sizeof(id), "%u", w->turn++);
	struct http_spdy_field fields[] = { { SPAN("streamtype"), SPAN("error") }, { SPAN("port"), span_of(port) },
					    { SPAN("requestid"), span_of(id) } };
	int rc = http_spdy_open(s, fields, ARRAY_LEN(fields), HTTP_SPDY_FIN, &c->error, err);
	if (rc < 0)
		return rc;
	http_spdy_stream_set(c->error, c);
	fields[0].value = SPAN("data");
	rc = http_spdy_open(s, fields, ARRAY_LEN(fields), 0, &c->data, err);
	if (rc == 0)
		http_spdy_stream_set(c->data, c);
	return rc;
}

static void on_accept(struct loop_fd *fd, unsigned events)
{
	struct port *p = container_of(fd, struct port, listener);
	struct forward *w = p->w;
	auto_err struct err err = ERR_INIT;
	int s = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (s < 0 || !w->link || w->n_connections >= CONNECTIONS_MAX) {
		if (s >= 0)
			(void)close(s);
		return;
	}
	struct connection *c = mem_new(struct connection);
	*c = (struct connection){ .port = p, .fd = s };
	list_push(&w->connections, &c->link);
	w->n_connections++;
	buf_printf(&w->f->out, "Handling connection for %u\n", p->local);
	if (front_flush(w->f, w->err) < 0 || loop_fd_open(&c->fd_source, w->f->loop, "forwarded connection", s, on_socket, &err) < 0 ||
	    open_streams(c, &err) < 0) {
		(void)fprintf(stderr, "error: %s\n", err_msg(&err));
		connection_end(c);
		return;
	}
	want(c);
	http_link_flush(w->link);
}

/* ---- streams */

static void on_reply(struct http_spdy_stream *st, const struct http_spdy_field *fields, unsigned n, void *arg)
{
	struct connection *c = http_spdy_stream_get(st);
	if (!c || st != c->data || c->fd < 0)
		return;
	c->replied = true; /* what comes before is dropped by the other side's library */
	want(c);
}

static void on_bytes(struct http_spdy_stream *st, struct span data, void *arg)
{
	struct forward *w = arg;
	struct connection *c = http_spdy_stream_get(st);
	if (c && st == c->data && c->fd >= 0) {
		buf_span_add(&c->out, data);
		write_out(c);
		if (w->link && http_spdy_unconsumed(http_link_spdy(w->link)) > QUEUED_MAX)
			http_link_pause(w->link); /* one slow reader holds all up, as with kubectl */
		return;
	}
	http_spdy_consumed(st, data.len);
	if (c && st == c->error && c->complaint.len < 4096)
		buf_span_add(&c->complaint, data);
}

static void on_stream_end(struct http_spdy_stream *st, void *arg)
{
	struct forward *w = arg;
	struct connection *c = http_spdy_stream_get(st);
	if (!c || c->fd < 0)
		return;
	if (st == c->data) {
		c->out_over = true;
		write_out(c);
	} else if (c->complaint.len) {
		(void)fprintf(stderr, "error: an error occurred forwarding %u -> %u: %s\n", c->port->local, c->port->remote,
			      buf_cstr(&c->complaint));
		connection_end(c);
		w->ended = true; /* kubectl gives up too: the pod's network may be another one by now */
	}
}

static void on_stream_closed(struct http_spdy_stream *st, unsigned status, void *arg)
{
	struct forward *w = arg;
	struct connection *c = http_spdy_stream_get(st);
	if (!c)
		return;
	if (st == c->data) {
		c->data = NULL;
		c->out_over = true;
		if (c->fd >= 0)
			write_out(c);
	} else {
		c->error = NULL;
	}
	loop_defer(w->f->loop, &w->cleaning);
}

static void on_drain(struct http_link *k, void *arg)
{
	struct forward *w = arg;
	LIST_EACH(&w->connections, c, struct connection, link)
		if (c->fd >= 0)
			want(c);
}

static void on_gone(struct http_link *k, const struct err *why, void *arg)
{
	struct forward *w = arg;
	w->link = NULL;
	if (!w->over)
		w->rc = err_set(w->err, ERR_UPSTREAM, "lost connection to pod");
	w->over = true;
}

/* ---- the beginning */

static int listen_on(struct forward *w, const char *address, unsigned local, unsigned remote, struct err *err)
{
	int fd = http_listen_tcp(address, local, 0, err);
	if (fd < 0)
		return fd;
	struct port *p = mem_new(struct port);
	*p = (struct port){ .w = w, .fd = fd, .local = http_fd_port(fd), .remote = remote };
	int rc = loop_fd_open(&p->listener, w->f->loop, "forwarded port", fd, on_accept, err);
	if (rc < 0) {
		(void)close(fd);
		free(p);
		return rc;
	}
	loop_fd_want(&p->listener, LOOP_READ);
	list_push(&w->ports, &p->link);
	w->n_ports++;
	bool six = strchr(address, ':');
	buf_printf(&w->f->out, "Forwarding from %s%s%s:%u -> %u\n", six ? "[" : "", address, six ? "]" : "", p->local, remote);
	return 0;
}

/* "localhost" is both loopback addresses, one of which will do. */
static int listen_all(struct forward *w, const struct front_words *pairs, struct err *err)
{
	for (unsigned i = 0; i < pairs->n; i++) {
		struct span local, remote;
		int64_t l, r;
		(void)span_split(pairs->items[i], ':', &local, &remote);
		if (!span_to_i64(local, &l) || !span_to_i64(remote, &r))
			return err_set(err, ERR_INTERNAL, "ports were not resolved");
		for (unsigned k = 0; k < w->addresses.n; k++) {
			const char *address = arena_cstr(&w->f->arena, w->addresses.items[k]);
			auto_err struct err second = ERR_INIT;
			if (strcmp(address, "localhost") != 0) {
				int rc = listen_on(w, address, (unsigned)l, (unsigned)r, err);
				if (rc < 0)
					return err_set(err, ERR_IN_USE, "unable to listen on any of the requested ports: [{%lld %lld}]",
						       (long long)l, (long long)r);
				continue;
			}
			int one = listen_on(w, "127.0.0.1", (unsigned)l, (unsigned)r, &second);
			unsigned port = one == 0 ? LIST_LAST(&w->ports, struct port, link)->local : (unsigned)l;
			int two = listen_on(w, "::1", port, (unsigned)r, NULL);
			if (one < 0 && two < 0) {
				(void)fprintf(stderr, "Unable to listen on port %lld: %s\n", (long long)l, err_msg(&second));
				return err_set(err, ERR_IN_USE, "unable to listen on any of the requested ports: [{%lld %lld}]", (long long)l,
					       (long long)r);
			}
		}
	}
	return front_flush(w->f, err);
}

static int on_switched(struct http_call *call, void *arg, struct err *err)
{
	static const struct http_spdy_ops ops = { .reply = on_reply, .data = on_bytes, .end = on_stream_end,
		.closed = on_stream_closed };
	static const struct http_link_ops link_ops = { .drain = on_drain, .gone = on_gone };
	struct forward *w = arg;
	int rc = http_spdy_join(call, &(struct http_spdy_params){ .client = true, .ops = &ops, .arg = w }, &link_ops, w, &w->link, err);
	w->ready = rc == 0;
	return rc;
}

static void on_done(const struct err *why, void *arg)
{
	struct forward *w = arg;
	if (!why)
		return;
	w->over = true;
	bool plain = span_starts(span_of(err_msg(why)), SPAN(CLIENT_UPGRADE_REFUSED));
	w->rc = err_set(w->err, why->class, "%s%s", plain ? "error upgrading connection: " : "", err_msg(why));
	w->f->said.answered = why->class != ERR_UNAVAILABLE && why->class != ERR_TIMEOUT && why->class != ERR_UPSTREAM && !plain;
	w->f->said.reason = span_of(err_kube_reason((int)why->class));
}

static void on_interrupt(struct loop_signal *s)
{
	container_of(s, struct forward, interrupt)->ended = true;
}

static int forward(struct forward *w, const struct json *pod, const struct front_words *pairs, struct err *err)
{
	static const struct client_kind pods = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("pods"), true };
	const struct http_field field = { SPAN("x-stream-protocol-version"), SPAN("portforward.k8s.io") };
	auto_buf struct buf path = {};
	struct loop *l = w->f->loop;
	client_path(&path, &pods, json_span(json_path(pod, "metadata", "namespace", NULL)), json_span(json_path(pod, "metadata", "name",
		NULL)),
		    "portforward");
	w->err = err;
	(void)client_upgrade_open(w->f->client, &(struct client_upgrade_params){ .method = "POST", .protocol = "SPDY/3.1",
			.path = buf_span(&path), .fields = &field, .n_fields = 1, .switched = on_switched, .done = on_done, .arg = w });
	while (!w->over && !w->ready)
		(void)loop_turn(l, true);
	if (w->ready && !w->over) {
		int rc = listen_all(w, pairs, err);
		if (rc < 0) {
			w->rc = rc;
			w->ended = true;
		} else {
			rc = loop_signal_open(&w->interrupt, l, "interrupt", SIGINT, on_interrupt, err);
			w->rc = rc < 0 ? rc : w->rc;
			w->ended = w->ended || rc < 0;
		}
	}
	while (!w->over && !w->ended)
		(void)loop_turn(l, true);
	/* The end: no more connections, then the session. */
	w->over = true;
	if (w->interrupt.handle)
		loop_signal_close(&w->interrupt, NULL);
	LIST_EACH(&w->ports, p, struct port, link) {
		loop_fd_close(&p->listener, NULL);
		(void)close(p->fd);
		p->fd = -1;
	}
	LIST_EACH(&w->connections, c, struct connection, link)
		connection_end(c);
	if (w->link)
		http_link_abort(w->link);
	while (w->link)
		(void)loop_turn(l, true);
	(void)loop_turn(l, false); /* closings */
	loop_task_cancel(&w->cleaning);
	LIST_EACH(&w->connections, c, struct connection, link) {
		list_remove(&c->link);
		buf_done(&c->out);
		buf_done(&c->complaint);
		free(c);
	}
	LIST_EACH(&w->ports, p, struct port, link) {
		list_remove(&p->link);
		free(p);
	}
	return w->rc;
}

/* ---- what the ports mean */

/* A container's port by its name. */
static int64_t named_port(const struct json *pod, struct span name)
{
	JSON_EACH_ITEM(json_path(pod, "spec", "containers", NULL), c)
		JSON_EACH_ITEM(json_getl(c, "ports"), p)
			if (span_eq(json_span(json_getl(p, "name")), name))
				return json_i64(json_getl(p, "containerPort"), 0);
	return 0;
}

/* The service's port, by number or name, as the pod's. */
static int service_port(const struct json *service, const struct json *pod, struct span word, int64_t *out_local, int64_t *out,
			struct err *err)
{
	struct span name = json_span(json_path(service, "metadata", "name", NULL));
	bool headless = span_is(json_span(json_path(service, "spec", "clusterIP", NULL)), "None");
	int64_t wanted;
	bool number = span_to_i64(word, &wanted);
	JSON_EACH_ITEM(json_path(service, "spec", "ports", NULL), p) {
		int64_t port = json_i64(json_getl(p, "port"), 0);
		const struct json *target = json_getl(p, "targetPort");
		if (number ? port != wanted : !span_eq(json_span(json_getl(p, "name")), word))
			continue;
		*out_local = port;
		*out = headless ? port : json_is(target, JSON_STRING) ? named_port(pod, json_span(target)) : json_i64(target, port);
		if (*out == 0)
			*out = port;
		return 0;
	}
	if (number)
		return err_set(err, ERR_USAGE, "Service %.*s does not have a service port %lld", SPAN_ARG(name), (long long)wanted);
	return err_set(err, ERR_USAGE, "Service '%.*s' does not have a named port '%.*s'", SPAN_ARG(name), SPAN_ARG(word));
}

/* "80", "8080:80", ":80", "http", "8080:http" as LOCAL:REMOTE in numbers. */
static int resolve(struct forward *w, const struct json *object, const struct json *pod, bool service, struct span word,
	struct span *out,
		   struct err *err)
{
	struct span local = word, remote = word;
	int64_t l = 0, r, of_service = 0;
	bool pair = span_split(word, ':', &local, &remote);
	if (!pair)
		remote = word;
	if (service) {
		int rc = service_port(object, pod, remote, &of_service, &r, err);
		if (rc < 0)
			return rc;
	} else if (!span_to_i64(remote, &r)) {
		r = named_port(pod, remote);
		if (!r)
			return err_set(err, ERR_USAGE, "Pod '%.*s' does not have a named port '%.*s'",
				       SPAN_ARG(json_span(json_path(pod, "metadata", "name", NULL))), SPAN_ARG(remote));
	}
	if (pair && local.len && !span_to_i64(local, &l))
		return err_set(err, ERR_USAGE, "error parsing local port '%.*s': strconv.ParseUint: parsing \"%.*s\": invalid syntax",
			       SPAN_ARG(local), SPAN_ARG(local));
	if (!pair)
		l = service ? of_service : r;
	if (r < 1 || r > 65535 || l < 0 || l > 65535)
		return err_set(err, ERR_USAGE, "remote port must be > 0 and ports at most 65535: %.*s", SPAN_ARG(word));
	*out = arena_printf(&w->f->arena, "%lld:%lld", (long long)l, (long long)r);
	return 0;
}

static int run(struct forward *w, struct front_args *args, struct front_targets *targets, struct err *err)
{
	struct front *f = w->f;
	struct json object, pod;
	unsigned n;
	if (args->words.n < 2)
		return err_set(err, ERR_USAGE,
			"TYPE/NAME and list of ports are required for port-forward\nSee 'kubectl port-forward -h' for help "
			       "and examples");
	struct span first = args->words.items[0];
	int rc = front_discover(f, err);
	struct span one = span_chr(first, '/') >= 0 ? first : arena_printf(&f->arena, "pods/%.*s", SPAN_ARG(first));
	const struct front_words words = { &one, 1 };
	struct front_words pairs = {};
	if (rc == 0)
		rc = front_targets_words(f, &words, targets, err);
	if (rc == 0)
		rc = front_pod_of(f, &targets->items[0], &object, &pod, &n, err);
	bool service = rc == 0 && span_is(targets->items[0].resource->plural, "services");
	for (unsigned i = 1; rc == 0 && i < args->words.n; i++) {
		struct span pair;
		rc = resolve(w, &object, &pod, service, args->words.items[i], &pair, err);
		if (rc == 0)
			front_words_add(&f->arena, &pairs, pair);
	}
	if (rc < 0)
		return rc;
	struct span phase = json_span(json_path(&pod, "status", "phase", NULL));
	if (!span_is(phase, "Running"))
		return err_set(err, ERR_USAGE, "unable to forward port because pod is not running. Current status=%.*s", SPAN_ARG(phase));
	if (!w->addresses.n)
		front_words_add(&f->arena, &w->addresses, SPAN("localhost"));
	return forward(w, &pod, &pairs, err);
}

int front_port_forward_main(struct front *f, int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct forward w = { .f = f };
	struct front_targets targets = {};
	struct front_args args;
	const struct front_flag flags[] = {
		{ "address", 0, FRONT_FLAG_LIST, &w.addresses, NULL, "where to listen: localhost or addresses (default localhost)" },
		{},
	};
	int rc = front_verb_args(f, "port-forward", "TYPE/NAME [LOCAL_PORT:]REMOTE_PORT [...] [flags]",
				 "Leads ports of this machine to a pod.", flags, argc, argv, &args);
	if (rc)
		return rc < 0;
	list_init(&w.ports);
	list_init(&w.connections);
	loop_task_init(&w.cleaning, on_cleaning);
	if (run(&w, &args, &targets, &err) < 0)
		(void)front_complain(f, &err, NULL);
	front_targets_done(&targets);
	return f->complaints > 0;
}
