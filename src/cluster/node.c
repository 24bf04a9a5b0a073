/* Waiting for this machine's node to be Ready: a watch of one object through the API server's own socket, which ends with the
 * word. */
#include "cluster/server.h"

#include "client/client.h"

struct node {
	struct server *server;
	struct client_config config;
	struct client *client;
	struct client_informer *informer;
	struct loop_task leave; /* the client may not go inside one of its callbacks */
	bool seen;		/* a word about Ready */
	int64_t first_s;	/* when that was said: lastHeartbeatTime */
};

/* What a kubelet of the last time said is stored too, and nobody takes it back in the first minute. Another word than the first
 * one that was seen is this kubelet's, whatever the clocks say, which may have been set meanwhile; the first one is, if it was
 * said since we began and not in the future. */
bool cluster_word_is_new(int64_t said_s, int64_t first_s, int64_t began_s, int64_t now_s)
{
	return said_s != first_s || (said_s >= began_s && said_s <= now_s);
}

static bool ready(struct node *n, const struct json *object)
{
	JSON_EACH_ITEM(json_path(object, "status", "conditions", NULL), c) {
		struct span at = json_span(json_getl(c, "lastHeartbeatTime"));
		int64_t said_s;
		int32_t ns;
		if (!span_is(json_span(json_getl(c, "type")), "Ready") || time_parse(at.ptr, at.len, &said_s, &ns) < 0)
			continue;
		if (!n->seen)
			n->first_s = said_s;
		n->seen = true;
		return span_is(json_span(json_getl(c, "status")), "True") &&
		       cluster_word_is_new(said_s, n->first_s, n->server->began_s, loop_wall_ns(n->server->loop) / NS_PER_S);
	}
	return false;
}

static void on_added(struct client_informer *inf, struct client_item *it, const struct json *object, void *arg)
{
	struct node *n = arg;
	if (ready(n, object))
		loop_defer(n->server->loop, &n->leave);
}

static void on_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *object, void *arg)
{
	on_added(inf, it, object, arg);
}

static void on_removed(struct client_informer *inf, struct client_item *it, void *arg)
{
}

void node_free(struct node *n)
{
	if (!n)
		return;
	loop_task_cancel(&n->leave);
	if (n->informer)
		client_informer_free(n->informer);
	if (n->client)
		client_free(n->client);
	client_config_done(&n->config);
	free(n);
}

static void on_leave(struct loop_task *t)
{
	struct node *n = container_of(t, struct node, leave);
	struct server *s = n->server;
	s->node = NULL;
	node_free(n);
	server_node_ready(s);
}

void node_watch(struct server *s)
{
	auto_err struct err err = ERR_INIT;
	struct node *n = mem_new(struct node);
	n->server = s;
	loop_task_init(&n->leave, on_leave);
	/* The socket of the machine: root is an administrator there. */
	n->config.server = SPAN("http://localhost");
	n->config.unix_path = s->l.api_sock;
	const struct client_params cp = { .loop = s->loop, .config = &n->config, .user_agent = "knarr-supervisor" };
	if (client_new(&cp, &n->client, &err) < 0) {
		log_error("watching the node", kv_err(&err));
		node_free(n);
		return;
	}
	auto_buf struct buf selector = {};
	buf_printf(&selector, "metadata.name=%s", s->s.node_name.ptr);
	const struct client_informer_params p = { .client = n->client, .kind = CLIENT_KIND("", "v1", "nodes", false),
						  .field_selector = buf_span(&selector), .added = on_added, .changed = on_changed,
						  .removed = on_removed, .no_bytes = true, .arg = n };
	n->informer = client_informer_new(&p);
	s->node = n;
}
