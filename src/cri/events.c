/* GetContainerEvents: what happens to containers and sandboxes, to everybody who listens, with the statuses as they are then. */
#include "cri/private.h"

/* A listener that takes nothing for so long that this much waits for it is ended; it lists and listens anew. */
#define LAG_MAX (4u << 20)

struct cri_listener {
	struct list link;
	struct cri *cri;
	struct grpc_req *req;
};

static void on_done(struct grpc_req *r, void *arg)
{
	struct cri_listener *l = arg;
	list_remove(&l->link);
	cri_busy(l->cri, -1);
	free(l);
}

void cri_listen_events(struct grpc_req *r, struct span message, void *arg)
{
	static const struct grpc_req_ops ops = { .done = on_done };
	struct cri_listener *l = mem_new(struct cri_listener);
	l->cri = arg;
	l->req = r;
	grpc_req_ops_set(r, &ops, l);
	list_push(&l->cri->listeners, &l->link);
	cri_busy(l->cri, 1);
	grpc_reply_begin(r); /* a kubelet knows by the header that it is heard */
	http_req_shed(grpc_req_http(r));
}

void cri_events_end(struct cri *c)
{
	LIST_EACH (&c->listeners, l, struct cri_listener, link)
		grpc_reply_end(l->req, GRPC_UNAVAILABLE, "the engine is stopping");
}

static struct bytes *encode(struct cri_pod *pod, const char *id, enum cri_event event)
{
	auto_arena struct arena a = {};
	auto_buf struct buf b = {};
	struct api_cri_pod_sandbox_status status;
	struct api_cri_container_event_response out = { .container_id = span_of(id), .container_event_type = (int32_t)event,
		.created_at = loop_wall_ns(pod->cri->p.loop), .pod_sandbox_status = &status };
	bool deleted = event == CRI_EVENT_DELETED && !strcmp(id, pod->id);
	size_t n = 0;
	if (deleted) /* there is nothing to tell of any more */
		out.pod_sandbox_status = NULL;
	else
		cri_show_pod(pod, &a, &status);
	LIST_EACH (&pod->containers, one, struct cri_container, of_pod)
		n++;
	out.containers_statuses.ptr = arena_alloc_n(&a, n + 1, sizeof(*out.containers_statuses.ptr));
	LIST_EACH (&pod->containers, one, struct cri_container, of_pod)
		if (event != CRI_EVENT_DELETED || strcmp(one->id, id) != 0)
			cri_show_container(one, &a, &out.containers_statuses.ptr[out.containers_statuses.n++]);
	if (api_typed_encode(&b, API_TYPED_CRI_CONTAINER_EVENT_RESPONSE, API_FORM_MESSAGE, &out, NULL) < 0)
		return NULL;
	return buf_seal(&b);
}

void cri_event(struct cri_pod *pod, const char *id, enum cri_event event)
{
	struct cri *c = pod->cri;
	if (list_empty(&c->listeners))
		return;
	auto_bytes struct bytes *b = encode(pod, id, event);
	LIST_EACH (&c->listeners, l, struct cri_listener, link) {
		if (grpc_reply_ended(l->req))
			continue;
		if (!b || grpc_reply_queued(l->req) > LAG_MAX)
			grpc_reply_end(l->req, GRPC_RESOURCE_EXHAUSTED, "too many events wait to be taken");
		else
			grpc_reply_send_bytes(l->req, bytes_ref(b));
	}
}

/* What the container engine says. Creation and removal are told where the index of this face changes. */
void cri_on_container_event(void *arg, const struct container_event *ev)
{
	struct cri *c = arg;
	bool start = span_is(ev->action, "start"), die = span_is(ev->action, "die");
	if (!start && !die)
		return;
	struct cri_container *one = map_get(&c->all_by_id, ev->id);
	struct cri_pod *pod = one ? one->pod : map_get(&c->pods_by_id, ev->id);
	if (pod)
		cri_event(pod, one ? one->id : pod->id, start ? CRI_EVENT_STARTED : CRI_EVENT_STOPPED);
}
