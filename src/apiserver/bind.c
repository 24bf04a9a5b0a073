/* Binding: a pod is given to a node, once. The scheduler's word goes past the strategy and the field managers, as upstream: it
 * sets spec.nodeName, annotations and the condition PodScheduled, and nothing else. */
#include "apiserver/sub.h"

#include "apiserver/admit.h"
#include "apiserver/write.h"

static void bind_try(struct call *c);

static int refuse(struct call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(struct call *c, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct span why = arena_vprintf(&c->arena, fmt, ap);
	va_end(ap);
	return err_set(&c->err, ERR_STALE, "Operation cannot be fulfilled on pods/binding \"%.*s\": %.*s",
		       SPAN_ARG(c->route.name), SPAN_ARG(why));
}

/* May this pod be bound as it is? */
static int check_pod(struct call *c, const struct json *pod)
{
	const struct json *meta = json_getl(pod, "metadata"), *spec = json_getl(pod, "spec");
	const struct json *asked = json_getl(&c->object, "metadata"), *gates = json_getl(spec, "schedulingGates");
	struct span uid = json_span(json_getl(asked, "uid")), rv = json_span(json_getl(asked, "resourceVersion"));
	struct span is_uid = json_span(json_getl(meta, "uid")), is_rv = json_span(json_getl(meta, "resourceVersion"));
	struct span node = json_span(json_getl(spec, "nodeName"));
	if (uid.len && !span_eq(uid, is_uid))
		return refuse(c, "Precondition failed: UID in precondition: %.*s, UID in object meta: %.*s",
			      SPAN_ARG(uid), SPAN_ARG(is_uid));
	if (rv.len && !span_eq(rv, is_rv))
		return refuse(c,
			      "Precondition failed: ResourceVersion in precondition: %.*s, ResourceVersion in object meta: "
			      "%.*s",
			      SPAN_ARG(rv), SPAN_ARG(is_rv));
	if (json_getl(meta, "deletionTimestamp"))
		return refuse(c, "pod %.*s is being deleted, cannot be assigned to a host", SPAN_ARG(c->route.name));
	if (node.len)
		return refuse(c, "pod %.*s is already assigned to node \"%.*s\"", SPAN_ARG(c->route.name),
			      SPAN_ARG(node));
	if (gates && gates->n)
		return refuse(c, "pod %.*s has non-empty .spec.schedulingGates", SPAN_ARG(c->route.name));
	return 0;
}

static void bind_apply(struct call *c, struct json *pod)
{
	struct json *spec = json_getl(pod, "spec");
	const struct json *notes = json_path(&c->object, "metadata", "annotations", (char *)NULL);
	struct span node = json_span(json_path(&c->object, "target", "name", (char *)NULL));
	if (!spec)
		spec = json_set(&c->arena, pod, SPAN("spec"), json_object());
	(void)json_setl(&c->arena, spec, "nodeName", json_str(node));
	if (notes && notes->n) {
		struct json *meta = json_getl(pod, "metadata"), *own = json_getl(meta, "annotations");
		if (!own)
			own = json_set(&c->arena, meta, SPAN("annotations"), json_object());
		JSON_EACH_MEMBER(notes, m)
			(void)json_set(&c->arena, own, json_key(m), m->value);
	}
	(void)sub_condition_set(c, pod, "PodScheduled", NULL, NULL);
}

static void bind_written(struct call *c, int64_t rev)
{
	sub_succeed(c);
}

static void bind_again(struct call *c)
{
	/* Who was faster may have bound it: the next look at the pod says so. */
	bind_try(c);
}

static void bind_try(struct call *c)
{
	struct json pod;
	auto_buf struct buf key = {}, value = {};
	if (!c->snap) /* the first try has admission's */
		c->snap = store_snapshot(c->server->store);
	const struct store_item *it = sub_object(c, SPAN(""), "pods", c->route.ns, c->route.name, &pod);
	if (c->err.class == ERR_NONE && !it)
		err_set(&c->err, ERR_NOT_FOUND, "pods \"%.*s\" not found", SPAN_ARG(c->route.name));
	if (c->err.class != ERR_NONE || check_pod(c, &pod) < 0) {
		call_fail(c);
		return;
	}
	const struct api_resource *pods = api_registry_find(c->registry, SPAN(""), SPAN("v1"), SPAN("pods"));
	bind_apply(c, &pod);
	if (c->dry_run) {
		sub_succeed(c);
		return;
	}
	object_key(&key, pods, c->route.ns, c->route.name);
	object_encode(&value, pods, &pod, &c->arena);
	bytes_unref(c->value);
	c->value = buf_seal(&value);
	write_put(c, buf_span(&key), it->rev);
}

/* target.name: Required value. Upstream answers with the bare list of errors: they come without a reason. */
static int validate(struct call *c)
{
	struct strategy s = { .arena = &c->arena,
			      .resource = api_registry_find(c->registry, SPAN(""), SPAN("v1"), SPAN("pods")),
			      .subresource = SPAN("binding"),
			      .object = &c->object };
	auto_err struct err why = ERR_INIT;
	if (strategy_validate(&s, &why) == 0)
		return 0;
	auto_buf struct buf text = {};
	for (unsigned i = 0; i < why.n_causes; i++)
		buf_printf(&text, "%s%s: %s", i ? ", " : "", why.causes[i].field, why.causes[i].message);
	return err_set(&c->err, ERR_INTERNAL, why.n_causes > 1 ? "[%s]" : "%s", buf_cstr(&text));
}

void bind_create(struct call *c)
{
	struct span kind = c->sub ? c->sub->kind : c->res->kind;
	if (write_decode(c, c->sub ? c->sub->type : c->res->type, kind, &c->object) < 0 ||
	    sub_agree(c, &c->object, SPAN("v1")) < 0) {
		call_fail(c);
		return;
	}
	if (!c->sub)
		c->route.name = json_span(json_path(&c->object, "metadata", "name", (char *)NULL));
	struct json *meta = json_getl(&c->object, "metadata");
	if (!meta)
		meta = json_set(&c->arena, &c->object, SPAN("metadata"), json_object());
	(void)json_setl(&c->arena, meta, "namespace", json_str(c->route.ns));
	struct admission *req = admit_begin(c, ADMISSION_CREATE, &c->object, NULL);
	if (admit_mutate(c, req) < 0) {
		call_fail(c);
		return;
	}
	if (validate(c) < 0) {
		sub_fail_unknown(c);
		return;
	}
	if (admit_check(c, req) < 0) {
		call_fail(c);
		return;
	}
	c->written = bind_written;
	c->again = bind_again;
	bind_try(c);
}
