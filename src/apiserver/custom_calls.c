/* What the verbs do differently for custom resources, and for the definitions of such. */
#include "apiserver/custom.h"

int apiserver_custom_allows(struct call *c)
{
	bool custom = custom_is(c->res) && !c->sub;
	/* Finalizers of instances must come off although the row says neither patch nor update while its CRD terminates. */
	if (custom && (c->route.verb == ROUTE_PATCH || c->route.verb == ROUTE_UPDATE))
		return 0;
	if (custom && c->route.verb == ROUTE_CREATE)
		return err_set(&c->err, ERR_METHOD_NOT_ALLOWED,
			       "create not allowed while custom resource definition is terminating");
	return err_set(&c->err, ERR_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource");
}

void apiserver_custom_warn(struct call *c)
{
	struct span text = custom_warning(c->res);
	if (text.len)
		call_warn(c, text);
}

void apiserver_custom_read(struct arena *a, const struct api_resource *res, struct json *object)
{
	if (!custom_is(res))
		return;
	(void)json_setl(a, object, "apiVersion",
			json_str(arena_printf(a, "%.*s/%.*s", SPAN_ARG(res->group), SPAN_ARG(res->version))));
	(void)json_setl(a, object, "kind", json_str(res->kind));
	custom_default(a, res, object);
}

/* ---- objects on their way in */

/* Metadata of a resource inside of the object, as strategies check it. */
static void check_embedded(struct arena *a, struct span at, const struct json *meta, struct err *err)
{
	strategy_meta_causes(a, at, meta, err);
}

static struct custom_change change_of(const struct strategy *s)
{
	return (struct custom_change){ .arena = s->arena,
				       .row = s->resource,
				       .status = span_is(s->subresource, "status"),
				       .object = s->object,
				       .old = s->old,
				       .meta = check_embedded };
}

void apiserver_custom_default(struct call *c, struct json *object)
{
	if (custom_is(c->res))
		custom_default(&c->arena, c->res, object);
}

static void prepare(struct strategy *s, void *arg)
{
	const struct custom_change ch = change_of(s);
	custom_prepare(&ch);
}

static bool has_text(const struct json *list, struct span text)
{
	JSON_EACH_ITEM(list, item)
		if (span_eq(json_span(item), text))
			return true;
	return false;
}

static int by_text(const void *x, const void *y)
{
	return span_cmp(*(const struct span *)x, *(const struct span *)y);
}

/* validateKubeFinalizerName, for the finalizers that are new. */
static void warn_finalizers(struct strategy *s)
{
	const struct json *now = json_path(s->object, "metadata", "finalizers", (char *)NULL);
	const struct json *was = json_path(s->old, "metadata", "finalizers", (char *)NULL);
	uint32_t n = 0;
	struct span *names = arena_alloc_n(s->arena, json_is(now, JSON_ARRAY) ? now->n + 1 : 1, sizeof(*names));
	JSON_EACH_ITEM(now, f)
		if (!has_text(was, json_span(f)))
			names[n++] = json_span(f);
	qsort(names, n, sizeof(*names), by_text);
	for (uint32_t i = 0; i < n; i++) {
		auto_buf struct buf text = {};
		if (span_chr(names[i], '/') >= 0 || span_is(names[i], "orphan") || span_is(names[i], "foregroundDeletion") ||
		    span_is(names[i], "kubernetes"))
			continue;
		api_go_quote(&text, names[i]);
		strategy_warn(s, "metadata.finalizers: %s: prefer a domain-qualified finalizer name %sto avoid accidental "
			      "conflicts with other finalizer writers", buf_cstr(&text),
			      span_chr(names[i], '.') >= 0 ? "including a path (/) " : "");
	}
}

/* The row's definition is still there. */
static int definition_lives(struct call *c, struct err *err)
{
	auto_buf struct buf key = {};
	apiserver_custom_key(&key, c->res->plural, c->res->group);
	if (store_get(c->snap, buf_span(&key)))
		return 0;
	return err_set(err, ERR_NOT_FOUND, "the server could not find the requested resource");
}

static int validate(struct strategy *s, void *arg, int rc, struct err *err)
{
	const struct custom_change ch = change_of(s);
	struct span name = json_span(json_path(s->object, "metadata", "name", (char *)NULL));
	int gone = s->old ? 0 : definition_lives(arg, err);
	if (gone < 0)
		return gone;
	if (custom_validate(&ch, err) > 0)
		rc = strategy_invalid(s->resource, name, err);
	if (rc == 0 && !ch.status)
		warn_finalizers(s);
	return rc;
}

const struct strategy_custom apiserver_custom_fns = { .prepare = prepare, .validate = validate };

/* ---- definitions */

const struct strategy_crd apiserver_custom_crd = {
	.schema = custom_schema_check,
	.selectable = custom_selectable_check,
	.no_webhook = "conversion by webhook is not supported by this server",
};

static bool is_definition(const struct api_resource *res)
{
	return !custom_is(res) && span_is(res->kind, "CustomResourceDefinition") && span_is(res->group, "apiextensions.k8s.io");
}

void apiserver_custom_deleting(struct call *c, struct json *object)
{
	struct json *meta = json_getl(object, "metadata"), *list = json_getl(meta, "finalizers");
	struct span now;
	char text[40];
	if (!is_definition(c->res) || json_getl(meta, "deletionTimestamp"))
		return;
	if (!has_text(list, SPAN(CUSTOM_FINALIZER))) {
		if (!json_is(list, JSON_ARRAY))
			list = json_setl(&c->arena, meta, "finalizers", json_array());
		(void)json_push(&c->arena, list, json_cstr(CUSTOM_FINALIZER));
	}
	now = span_make(text, time_format(text, clock_wall_ns(c->server->clock) / NS_PER_S, 0, 0));
	(void)custom_condition_set(&c->arena, object, "Terminating", "True", "InstanceDeletionPending",
				   SPAN("CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"), now);
}

/* ---- scale */

bool apiserver_custom_view(const struct call *c, const struct json *object, struct custom_view *out)
{
	struct custom_scale paths;
	if (!custom_scale_of(c->res, &paths))
		return false;
	const struct json *wanted = custom_path_get(object, paths.spec_replicas);
	*out = (struct custom_view){ .replicas = json_i64(wanted, 0),
				     .has_replicas = wanted != NULL,
				     .status_replicas = json_i64(custom_path_get(object, paths.status_replicas), 0) };
	if (paths.selector.len)
		out->selector = json_span(custom_path_get(object, paths.selector));
	return true;
}

bool apiserver_custom_replicas(struct call *c, struct json *object, int64_t replicas)
{
	struct custom_scale paths;
	if (!custom_scale_of(c->res, &paths))
		return false;
	if (!custom_path_set(&c->arena, object, paths.spec_replicas, json_int(replicas)))
		err_set(&c->err, ERR_INTERNAL, "the path %.*s leads through something that is no object",
			SPAN_ARG(paths.spec_replicas));
	return true;
}
