/* A container and its networks: what it wishes is in its document, what it has while it runs is the network component's. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "container/private.h"
#include "network/network.h"

bool container_net_nowhere(const struct container *c)
{
	return json_truth(json_path(&c->doc, "NetworkingConfig", "Nowhere", NULL), false);
}

static struct network_wish wish_of(const struct container *c, const struct json *host)
{
	return (struct network_wish){ .id = c->id, .name = c->name, .config = c->config, .host_config = host ? host : c->host,
		.networks = json_path(&c->doc, "NetworkingConfig", "EndpointsConfig", NULL), .nowhere = container_net_nowhere(c) };
}

/* "name:alias" of HostConfig.Links becomes "ID:alias". */
static int links_resolve(struct container_engine *e, struct json *host, struct arena *a, struct err *err)
{
	const struct json *links = json_getl(host, "Links");
	struct json out = json_array();
	if (!json_is(links, JSON_ARRAY) || !links->n)
		return 0;
	JSON_EACH_ITEM (links, item) {
		struct span who, alias;
		auto_err struct err why = ERR_INIT;
		if (!span_split(json_span(item), ':', &who, &alias) || !alias.len)
			alias = who;
		struct container *peer = container_get(e, who, &why);
		if (!peer) {
			err_set(err, ERR_INVALID_REQUEST, "could not get container for %.*s: %s", SPAN_ARG(who), err_msg(&why));
			return -ERR_INVALID_REQUEST;
		}
		json_push(a, &out, json_str(arena_printf(a, "%s:%.*s", peer->id, SPAN_ARG(alias))));
	}
	json_setl(a, host, "Links", out);
	return 0;
}

int container_net_check(struct container_engine *e, const struct json *config, const struct json *host,
	const struct json *networks,
	const char *id, const char *name, struct arena *a, struct err *err)
{
	if (!e->o.networks)
		return 0;
	struct json h = *host;
	struct arena *scratch = a;
	h = json_copy(scratch, host);
	int rc = links_resolve(e, &h, scratch, err);
	const struct network_wish w = { .id = id, .name = name, .config = config, .host_config = &h, .networks = networks };
	return rc < 0 ? rc : network_wish_check(e->o.networks, &w, false, err);
}

static void take_got(struct container *c, const struct network_got *got)
{
	arena_done(&c->net_arena);
	c->net_arena = (struct arena){};
	c->net = json_object();
	struct arena *a = &c->net_arena;
	json_setl(a, &c->net, "SandboxID", json_str(arena_span(a, got->sandbox_id)));
	json_setl(a, &c->net, "SandboxKey", json_str(arena_span(a, got->netns)));
	json_setl(a, &c->net, "Ports", got->ports.kind == JSON_OBJECT ? json_copy(a, &got->ports) : json_object());
	json_setl(a, &c->net, "Networks", got->networks.kind == JSON_OBJECT ? json_copy(a, &got->networks) : json_object());
}

int container_net_start(struct container *c, struct arena *a, void (*known)(void *arg, const struct network_got *got), void *arg,
	struct network_got *out, struct err *err)
{
	struct json host = json_copy(a, c->host);
	loop_task_cancel(&c->net_task); /* the start stops what is there */
	int rc = links_resolve(c->e, &host, a, err);
	struct network_wish w = wish_of(c, &host);
	w.known = known;
	w.known_arg = arg;
	rc = rc < 0 ? rc : network_sandbox_start(c->e->o.networks, &w, a, out, err);
	if (rc == 0) {
		c->has_sandbox = true;
		take_got(c, out);
	}
	return rc;
}

static void forget_got(struct container *c)
{
	arena_done(&c->net_arena);
	c->net_arena = (struct arena){};
	c->net = JSON_NULL_VALUE;
}

void container_net_stop(struct container *c)
{
	loop_task_cancel(&c->net_task);
	if (c->has_sandbox)
		network_sandbox_stop(c->e->o.networks, c->id);
	c->has_sandbox = false;
	forget_got(c);
}

void container_net_due(struct loop_task *t)
{
	container_net_stop(container_of(t, struct container, net_task));
}

void container_net_stop_later(struct container *c)
{
	forget_got(c);
	loop_defer(c->e->o.loop, &c->net_task);
}

void container_net_rename(struct container *c)
{
	if (c->has_sandbox) /* the name server has the old name until the next start then */
		(void)network_sandbox_rename(c->e->o.networks, c->id, c->name, NULL);
}

/* ---- after a restart of the engine */

static void adopt(struct container *c, const int *sockets, unsigned n, struct err *err)
{
	struct container_engine *e = c->e;
	auto_arena struct arena a = {};
	struct network_got got;
	int rc = network_sandbox_adopt(e->o.networks, c->id, sockets, n, &a, &got, err);
	if (rc == 0) {
		c->has_sandbox = true;
		take_got(c, &got);
		network_got_done(&got);
	} else if (!span_is(container_str(c->host, "NetworkMode"), "host")) {
		container_warn(e, "a running container has lost its network", c->id, err);
	}
}

void container_net_sockets(struct container *c, const int *sockets, unsigned n)
{
	auto_err struct err err = ERR_INIT;
	if (c->deaf && c->has_sandbox)
		adopt(c, sockets, n, &err);
	else
		for (unsigned i = 0; i < n; i++)
			close(sockets[i]);
	c->deaf = false;
}

void container_net_adopt(struct container *c)
{
	struct container_engine *e = c->e;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct monitor_head h;
	int sockets[NETWORK_SOCKETS_MAX];
	unsigned n = 0;
	char payload[MONITOR_LINE];
	struct span mode = container_str(c->host, "NetworkMode");
	if (!e->o.networks || span_starts(mode, SPAN("container:")))
		return;
	auto_fd int dir = open(container_path(&a, c, "state"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_fd int sock = dir < 0 || c->deaf ? -1 : monitor_connect(dir, &err);
	if (sock >= 0)
		monitor_patience(sock, MONITOR_ANSWER_MS);
	if (!c->deaf && (sock < 0 || monitor_send(sock, MONITOR_SOCKETS, 1, 0, 0, SPAN_EMPTY, &err) < 0 ||
			 monitor_recv(sock, &h, payload, sizeof(payload), sockets, ARRAY_LEN(sockets), &n, &err) < 0))
		container_sockets_later(c);
	adopt(c, sockets, n, &err);
}

/* ---- connect, disconnect */

struct connect {
	struct op op;
	struct span network;
	struct json endpoint;
	bool connect, force;
};

/* The file is bind-mounted: the same inode is written again. */
static int text_rewrite(const struct container *c, const char *name, struct span text, struct err *err)
{
	auto_arena struct arena a = {};
	auto_fd int fd = open(container_path(&a, c, name), O_WRONLY | O_TRUNC | O_CLOEXEC);
	int rc = fd < 0 ? err_sys(err, "open") : io_write_all(fd, text.ptr, text.len, err);
	return rc < 0 ? err_note(err, "writing %s", name) : 0;
}

/* The first network of the user's brings the name server at 127.0.0.11. A file that is not as we gave it belongs to whoever
 * changed it. */
static int resolv_rewrite(const struct container *c, struct span text, struct err *err)
{
	auto_arena struct arena a = {};
	auto_buf struct buf given = {}, now = {};
	auto_fd int dir = openat(c->e->containers_fd, c->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = dir < 0 ? err_sys(err, "open the container's folder") : io_read_file(dir, "resolv.conf", &now, 1 << 20, err);
	if (rc < 0)
		return rc;
	/* Made by an engine that kept no copy: nobody can tell whose it is. */
	if (io_read_file(dir, CONTAINER_RESOLV_GIVEN, &given, 1 << 20, NULL) < 0 || !span_eq(buf_span(&given), buf_span(&now)) ||
	    span_eq(buf_span(&now), text))
		return 0;
	/* The copy follows: a crash in between leaves the file as if it had been changed, with the name server in it. */
	rc = text_rewrite(c, "resolv.conf", text, err);
	return rc < 0 ? rc : io_write_file_lazy(dir, CONTAINER_RESOLV_GIVEN, text, 0644, err);
}

/* Names stay as they were resolved when the disk is full: the network itself is joined or left, and that is answered. */
static void texts_rewrite(const struct container *c, const struct network_got *got)
{
	auto_err struct err err = ERR_INIT;
	if (text_rewrite(c, "hosts", got->hosts, &err) < 0 || resolv_rewrite(c, got->resolv_conf, &err) < 0)
		container_warn(c->e, "a container's names are not up to date", c->id, &err);
}

static void document_change(struct connect *k, const struct network_ref *ref)
{
	struct container *c = k->op.c;
	struct arena fresh = {};
	struct json doc = json_copy(&fresh, &c->doc);
	struct json *config = json_getl(&doc, "NetworkingConfig");
	if (!json_is(config, JSON_OBJECT))
		config = json_setl(&fresh, &doc, "NetworkingConfig", json_object());
	struct json *ends = json_getl(config, "EndpointsConfig");
	if (!json_is(ends, JSON_OBJECT))
		ends = json_setl(&fresh, config, "EndpointsConfig", json_object());
	if (k->connect) {
		struct span name = arena_span(&fresh, span_of(ref->name));
		/* Until now the mode alone said where it is, and must not be lost: the list is complete once it has a member. */
		if (!ends->n && !container_net_nowhere(c))
			json_set(&fresh, ends, container_str(json_getl(&doc, "HostConfig"), "NetworkMode"), json_object());
		json_set(&fresh, ends, name, k->endpoint.kind == JSON_OBJECT ? json_copy(&fresh, &k->endpoint) : json_object());
	} else {
		json_remove(ends, span_of(ref->name));
		json_remove(ends, span_of(ref->id));
	}
	/* HostConfig.NetworkMode stays what was asked for, as with Docker. The next start must not join it again for want of others. */
	if (ends->n)
		json_remove(config, SPAN("Nowhere"));
	else
		json_setl(&fresh, config, "Nowhere", json_bool(true));
	arena_done(&c->arena);
	c->arena = fresh;
	c->doc = doc;
	c->config = json_getl(&c->doc, "Config");
	c->host = json_getl(&c->doc, "HostConfig");
}

static void saved(struct loop_work *w)
{
	struct op *op = container_of(w, struct op, work);
	auto_err struct err err = ERR_INIT;
	err_move(&err, &op->err);
	container_op_end(op, err.class ? &err : NULL);
}

static int change(struct connect *k, struct network_ref *ref, struct err *err)
{
	struct container *c = k->op.c;
	struct network_engine *n = c->e->o.networks;
	struct network_got got = {};
	struct span mode = container_str(c->host, "NetworkMode");
	bool runs = container_is_running(c) && !c->ending;
	int rc = network_find(n, k->network, ref, err);
	if (rc < 0 && (k->connect || (runs && !k->force) || k->network.len >= sizeof(ref->name)))
		return rc;
	if (rc < 0) {
		/* As Docker: a network that is gone is left by the name that the container's document knows. */
		err_done(err);
		*ref = (struct network_ref){};
		memcpy(ref->name, k->network.ptr, k->network.len);
		runs = false;
	}
	if (span_is(mode, "host") || span_starts(mode, SPAN("container:")))
		return err_set(err, ERR_INVALID_REQUEST, "container sharing network namespace with another container or host cannot be "
			"connected to any other network");
	if (!runs) {
		const struct json *ends = json_path(&c->doc, "NetworkingConfig", "EndpointsConfig", NULL);
		bool by_mode = (!ends || !ends->n) && !container_net_nowhere(c) && (span_is(mode, ref->name) || span_is(mode, ref->id));
		bool there = json_get(ends, span_of(ref->name)) || json_get(ends, span_of(ref->id)) || by_mode;
		bool none = json_getl(ends, "none") || ((!ends || !ends->n) && !container_net_nowhere(c) && span_is(mode, "none"));
		if (k->connect && there)
			return err_set(err, ERR_FORBIDDEN, "endpoint with name %s already exists in network %s", c->name, ref->name);
		if (k->connect && (none || (!strcmp(ref->name, "none") && !container_net_nowhere(c))))
			return err_set(err, ERR_INVALID_REQUEST, "container cannot be connected to multiple networks with one of the networks "
				"in private (none) mode");
		if (!k->connect && !there)
			return err_set(err, ERR_FORBIDDEN, "container %s is not connected to the network %s", c->id, ref->name);
		if (!k->connect)
			network_left(n, span_of(ref->name), c->id);
		return 0;
	}
	struct network_wish w = wish_of(c, NULL);
	const struct json *endpoint = k->endpoint.kind == JSON_OBJECT ? &k->endpoint : NULL;
	rc = k->connect ? network_connect(n, &w, k->network, endpoint, &k->op.arena, &got, err)
			: network_disconnect(n, &w, k->network, &k->op.arena, &got, err);
	if (rc < 0)
		return rc;
	take_got(c, &got);
	texts_rewrite(c, &got);
	network_got_done(&got);
	return 0;
}

static void connect_begin(struct op *op)
{
	struct connect *k = OP_OF(connect, op);
	auto_err struct err err = ERR_INIT;
	struct network_ref ref;
	if (change(k, &ref, &err) < 0) {
		container_op_end(op, &err);
		return;
	}
	document_change(k, &ref);
	container_op_save(op, saved);
}

static void submit(struct container_engine *e, struct span name, struct span network, const struct json *endpoint, bool on,
	bool force,
	struct container_call *call)
{
	auto_err struct err err = ERR_INIT;
	struct network_ref ref;
	struct container *c = container_get(e, name, &err);
	if (!c && force && !on && e->o.networks && err.class == ERR_NOT_FOUND) {
		/* Docker looks for an endpoint without its container then; here there is none: a sandbox goes with its container. */
		err_done(&err);
		if (network_find(e->o.networks, network, &ref, &err) == 0)
			err_set(&err, ERR_NOT_FOUND, "endpoint %.*s not found", SPAN_ARG(span_sub(name, 0, 256)));
	}
	if (c && !e->o.networks)
		err_set(&err, ERR_UNSUPPORTED, "this engine has no networks");
	if (err.class) {
		container_fail_later(e, call, &err);
		return;
	}
	struct connect *k = container_op_new(sizeof(*k), c, on ? "network connect" : "network disconnect", connect_begin, call);
	k->network = arena_span(&k->op.arena, network);
	k->endpoint = endpoint ? json_copy(&k->op.arena, endpoint) : JSON_NULL_VALUE;
	k->connect = on;
	k->force = force;
	container_op_submit(&k->op);
}

void container_network_connect(struct container_engine *e, struct span name, struct span network, const struct json *endpoint,
	struct container_call *call)
{
	submit(e, name, network, endpoint, true, false, call);
}

void container_network_disconnect(struct container_engine *e, struct span name, struct span network, bool force,
	struct container_call *call)
{
	submit(e, name, network, NULL, false, force, call);
}
