/* What a new cluster holds besides what the API server makes by itself (namespaces, default roles, priority classes, the service
 * `kubernetes`): the rights by which nodes get certificates, the name of the DNS service, a default storage class. Made once:
 * cluster.json says how many of the rows were, and from then on they are the cluster's owner's, to change and to delete. A row that
 * a later version brings stands at the end. */
#include "cluster/server.h"

#define RBAC "/apis/rbac.authorization.k8s.io/v1/"
#define SIGN "system:certificates.k8s.io:certificatesigningrequests:"
#define DNS_USER "system:kube-dns"
#define RETRY_FIRST_MS 500
#define RETRY_MAX_MS 60000
/* Who (kind User or Group) gets a role: in the whole cluster, or that of a namespace there. */
#define BOUND(path, name, role_kind, role, kind, who)                                                           \
	{ path, name,                                                                                            \
	  "{\"metadata\":{\"name\":\"" name "\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\","         \
	  "\"kind\":\"" role_kind "\",\"name\":\"" role "\"},\"subjects\":[{"                                    \
	  "\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"" kind "\",\"name\":\"" who "\"}]}" }
#define BINDING(name, role, group) BOUND(RBAC "clusterrolebindings", name, "ClusterRole", role, "Group", group)

/* %s: the address of DNS. */
static const struct row {
	const char *path, *name, *text;
} rows[] = {
	BINDING("knarr:kubelet-bootstrap", "system:node-bootstrapper", "system:bootstrappers"),
	BINDING("knarr:node-approve-bootstrap", SIGN "nodeclient", "system:bootstrappers"),
	BINDING("knarr:node-approve-renewal", SIGN "selfnodeclient", "system:nodes"),
	/* Decision 0702: serving certificates of nodes are approved where it was granted. */
	{ RBAC "clusterroles", "knarr:node-serving",
		"{\"metadata\":{\"name\":\"knarr:node-serving\"},\"rules\":[{\"apiGroups\":[\"certificates.k8s.io\"],"
			       "\"resources\":[\"certificatesigningrequests/selfnodeserver\"],\"verbs\":[\"create\"]}]}" },
	BINDING("knarr:node-approve-serving", "knarr:node-serving", "system:nodes"),
	/* The name server: beside what system:kube-dns lets it read (services), slices, its own node, and writing slices where its
	 * service is. Names of what is not there yet cannot be granted, so it is all slices of that namespace. */
	BOUND(RBAC "clusterrolebindings", "knarr:kube-dns", "ClusterRole", "system:kube-dns", "User", DNS_USER),
	{ RBAC "clusterroles", "knarr:dns",
	  "{\"metadata\":{\"name\":\"knarr:dns\"},\"rules\":[{\"apiGroups\":[\"discovery.k8s.io\"],"
	  "\"resources\":[\"endpointslices\"],\"verbs\":[\"list\",\"watch\"]},{\"apiGroups\":[\"\"],\"resources\":[\"nodes\"],"
	  "\"verbs\":[\"get\",\"list\",\"watch\"]}]}" },
	BOUND(RBAC "clusterrolebindings", "knarr:dns", "ClusterRole", "knarr:dns", "User", DNS_USER),
	{ RBAC "namespaces/kube-system/roles", "knarr:dns",
	  "{\"metadata\":{\"name\":\"knarr:dns\"},\"rules\":[{\"apiGroups\":[\"discovery.k8s.io\"],"
	  "\"resources\":[\"endpointslices\"],\"verbs\":[\"create\",\"patch\"]}]}" },
	BOUND(RBAC "namespaces/kube-system/rolebindings", "knarr:dns", "Role", "knarr:dns", "User", DNS_USER),
	/* No selector: its endpoints are made by who answers there. */
	{ "/api/v1/namespaces/kube-system/services", "kube-dns",
	  "{\"metadata\":{\"name\":\"kube-dns\",\"labels\":{\"k8s-app\":\"kube-dns\",\"kubernetes.io/cluster-service\":\"true\","
	  "\"kubernetes.io/name\":\"CoreDNS\"}},\"spec\":{\"clusterIP\":\"%s\",\"clusterIPs\":[\"%s\"],\"ports\":["
	  "{\"name\":\"dns\",\"port\":53,\"protocol\":\"UDP\",\"targetPort\":53},"
	  "{\"name\":\"dns-tcp\",\"port\":53,\"protocol\":\"TCP\",\"targetPort\":53},"
	  "{\"name\":\"metrics\",\"port\":9153,\"protocol\":\"TCP\",\"targetPort\":9153}]}}" },
	/* The provisioner of that name makes folders on the node of the first pod. */
	{ "/apis/storage.k8s.io/v1/storageclasses", "standard",
	  "{\"metadata\":{\"name\":\"standard\",\"annotations\":{\"storageclass.kubernetes.io/is-default-class\":\"true\"}},"
	  "\"provisioner\":\"knarr.io/local\",\"reclaimPolicy\":\"Delete\",\"volumeBindingMode\":\"WaitForFirstConsumer\"}" },
};

/* One object: looked for first, for a Service of an address that is taken is refused before anybody sees that it is the same. */
struct creation {
	struct objects *objects;
	const struct row *row;
	struct buf body;
	bool sent; /* the POST */
};

static void ask(struct creation *cr);

static void finished(struct objects *o)
{
	struct server *s = o->server;
	auto_err struct err err = ERR_INIT;
	if (o->out || s->stopping)
		return;
	if (o->failed) {
		int64_t wait_ms = (int64_t)RETRY_FIRST_MS << MIN(o->rounds, 16U);
		o->rounds++;
		loop_timer_start(&o->again, MIN(wait_ms, (int64_t)RETRY_MAX_MS));
		return;
	}
	if (o->refused) {
		server_step(s, "objects", "%u refused; 'knarr logs server' says why", o->refused);
		return; /* unmarked: the next start tries again, when somebody has put it right */
	}
	s->s.objects_made = (int64_t)ARRAY_LEN(rows);
	if (cluster_settings_save(&s->l, &s->s, &err) < 0)
		log_warn("that the cluster's objects are made could not be noted", kv_err(&err));
	server_step(s, "objects", "%zu of every cluster", ARRAY_LEN(rows));
}

static void end(struct creation *cr)
{
	struct objects *o = cr->objects;
	buf_done(&cr->body);
	free(cr);
	o->out--;
	finished(o);
}

static void on_data(struct http_call *c, struct span data, void *arg)
{
	struct creation *cr = arg;
	buf_span_add(&cr->body, data);
}

static void on_done(struct http_call *c, const struct err *why, void *arg)
{
	struct creation *cr = arg;
	int status = why ? 0 : http_call_status(c);
	if (status == 404 && !cr->sent) {
		cr->sent = true;
		buf_trunc(&cr->body, 0);
		ask(cr);
		return;
	}
	/* 409: it has come meanwhile. Rights and load may be others in a moment, and so may a 404: a namespace is still to come. */
	if (cr->sent && status / 100 == 4 && status != 401 && status != 403 && status != 404 && status != 408 && status != 409 &&
	    status != 429) {
		cr->objects->refused++;
		log_error("an object of every cluster is refused", kv_str("path", cr->row->path), kv_str("name", cr->row->name),
			  kv_i64("status", status), kv_span("answer", span_sub(buf_span(&cr->body), 0, 300)));
	} else if (why ? why->class != ERR_CANCELLED : status / 100 != 2 && status != 409) {
		auto_err struct err none = ERR_INIT;
		cr->objects->failed = true;
		log_warn("an object of every cluster was not made", kv_str("path", cr->row->path), kv_i64("status", status),
			 kv_err(why ? why : &none), kv_span("answer", span_sub(buf_span(&cr->body), 0, 300)));
	}
	end(cr);
}

static void ask(struct creation *cr)
{
	static const struct http_call_ops ops = { .data = on_data, .done = on_done };
	static const struct http_field type = { SPAN_INIT("content-type"), SPAN_INIT("application/json") };
	struct server *s = cr->objects->server;
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf text = {}, target = {};
	struct http_call *call;
	const struct http_origin origin = { .host = "localhost", .unix_path = s->l.api_sock.ptr };
	buf_str(&target, cr->row->path);
	if (!cr->sent) {
		buf_chr(&target, '/');
		percent_add(&target, span_of(cr->row->name), ":");
	}
	buf_printf(&text, cr->row->text, s->s.dns_address.ptr, s->s.dns_address.ptr);
	const struct http_piece body = cr->sent ? http_copy(buf_span(&text)) : (struct http_piece){};
	const struct http_call_params p = { .origin = &origin, .method = cr->sent ? "POST" : "GET", .target = buf_span(&target),
					    .headers = &type, .n_headers = cr->sent, .body = &body, .n_body = cr->sent, .total_ms = 30000,
					    .ops = &ops, .arg = cr };
	if (http_call_begin(s->http, &p, &call, &err) < 0) {
		cr->objects->failed = true;
		log_warn("an object of every cluster was not made", kv_str("path", cr->row->path), kv_err(&err));
		end(cr);
	}
}

static void round_start(struct objects *o)
{
	o->failed = false;
	o->refused = 0;
	o->out++; /* so that no answer finds itself the last */
	for (size_t i = (size_t)MAX(o->server->s.objects_made, 0); i < ARRAY_LEN(rows); i++) {
		struct creation *cr = mem_new(struct creation);
		*cr = (struct creation){ .objects = o, .row = &rows[i], .body = { .limit = 4096 } };
		o->out++;
		ask(cr);
	}
	o->out--;
	finished(o);
}

static void on_again(struct loop_timer *t)
{
	round_start(container_of(t, struct objects, again));
}

void objects_init(struct objects *o, struct server *s)
{
	*o = (struct objects){ .server = s };
	loop_timer_init(&o->again, s->loop, "objects", on_again);
}

void objects_start(struct objects *o)
{
	if (o->begun)
		return;
	o->begun = true;
	round_start(o);
}

void objects_done(struct objects *o)
{
	loop_timer_stop(&o->again);
}
