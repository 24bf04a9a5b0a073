/* Paths: what can be asked, derived from the rows of the registry.
 *
 * For a resource: its collection, its items and its subresources, in a namespace where it has one; all namespaces for list and
 * watch; the old /watch/ paths. A verb of the row is an operation on one of these. Paths are gathered in a list and sorted.
 *
 *     /apis/apps/v1/namespaces/{namespace}/deployments          list create deletecollection
 *     .../deployments/{name}                                    get update patch delete
 *     .../deployments/{name}/scale                              the verbs of the subresource
 *     /apis/apps/v1/deployments                                 list
 *     /apis/apps/v1/watch/...                                   watch
 *
 * Identifiers of operations follow the names that client generators know: verb, group and version, Namespaced, kind,
 * subresource, ForAllNamespaces: listAppsV1NamespacedDeployment.
 */
#include <ctype.h>
#include "openapi/params.h"
#include "openapi/private.h"

enum media { MEDIA_PLAIN, MEDIA_WATCH, MEDIA_LOG, MEDIA_ANY, MEDIA_JSON, MEDIA_JWKS, MEDIA_COUNT };
static const char *const media_types[MEDIA_COUNT][8] = {
	[MEDIA_PLAIN] = { "application/json", "application/yaml", "application/vnd.kubernetes.protobuf" },
	[MEDIA_WATCH] = { "application/json", "application/yaml", "application/vnd.kubernetes.protobuf",
			  "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch" },
	[MEDIA_LOG] = { "text/plain", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf" },
	[MEDIA_ANY] = { "*/*" },
	[MEDIA_JSON] = { "application/json" },
	[MEDIA_JWKS] = { "application/jwk-set+json" },
};
/* Custom resources have no protobuf form, and no strategic merge patch. */
static const char *const custom_media[] = { "application/json", "application/yaml", NULL };
static const char *const custom_watch_media[] = { "application/json", "application/yaml", "application/json;stream=watch", NULL };
static const char *const any_media[] = { "*/*", NULL };
static const char *const patch_media[] = { "application/json-patch+json", "application/merge-patch+json",
					   "application/apply-patch+yaml", "application/strategic-merge-patch+json", NULL };
static const char *const custom_patch_media[] = { "application/json-patch+json", "application/merge-patch+json",
						  "application/apply-patch+yaml", NULL };

#define CODE_200 1u
#define CODE_201 2u
#define CODE_202 4u

struct path_row {
	struct span path;
	struct json item;
};
/* What the operations of one group version have in common. */
struct walk {
	struct openapi_doc *d;
	struct path_row *rows;
	unsigned n, room;
	struct json shared[P_COUNT]; /* parameters, made when first used */
	struct json unauthorized;
	struct span prefix; /* "/apis/apps/v1" */
	struct span id;     /* "AppsV1" */
	struct span tag;    /* "apps_v1" */
};
/* One operation. */
struct op {
	const char *method; /* "get" ... "patch" */
	const char *action; /* NULL: no kind either */
	struct span id, says;
	struct span group, version, kind;
	uint32_t params;                /* bits of enum param, without those of the path */
	const struct api_type *options; /* its fields are parameters too */
	const struct openapi_def *body; /* NULL = none */
	bool body_optional;
	const char *const *consumes;
	const struct openapi_def *answer; /* NULL = text */
	unsigned codes;
	const char *const *produces;
};
#define OPS_MAX 9
struct place {
	struct span path;
	uint32_t params; /* NAME, NAMESPACE, PATH */
	struct span kind; /* of the object that {name} names */
	struct op ops[OPS_MAX];
	unsigned n;
};

static struct json text(struct walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static struct json text(struct walk *w, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct span s = arena_vprintf(w->d->a, fmt, ap);
	va_end(ap);
	return json_str(s);
}

static void set(struct walk *w, struct json *object, const char *key, struct json value)
{
	json_add(w->d->a, object, span_of(key), value);
}

/* ---- parameters */

/* Type and format stand in the parameter itself in 2.0, in a schema of it in 3.0. */
static struct json param_make(struct walk *w, struct span name, bool in_path, struct json says, struct json schema)
{
	struct json p = json_object();
	if (says.n)
		set(w, &p, "description", says);
	set(w, &p, "in", json_cstr(in_path ? "path" : "query"));
	set(w, &p, "name", json_str(name));
	if (in_path)
		set(w, &p, "required", json_bool(true));
	set(w, &schema, "uniqueItems", json_bool(true));
	if (w->d->v3)
		set(w, &p, "schema", schema);
	else
		JSON_EACH_MEMBER(&schema, m)
			json_add(w->d->a, &p, json_key(m), m->value);
	return p;
}

static struct json param_row(struct walk *w, enum param i, struct json says)
{
	struct json schema = json_object();
	set(w, &schema, "type", json_cstr(params[i].type));
	return param_make(w, span_of(params[i].name), params[i].in_path, says, schema);
}

/* As it stands in an operation: whole, or in 2.0 a reference to the shared ones. */
static struct json param_use(struct walk *w, enum param i, struct span kind)
{
	if (i == P_NAME)
		return param_row(w, i, text(w, "Name of the %.*s.", SPAN_ARG(kind)));
	if (!w->shared[i].n)
		w->shared[i] = param_row(w, i, json_cstr(params[i].says));
	if (w->d->v3 || BIT(i) & P_INLINE)
		return w->shared[i];
	struct json ref = json_object();
	set(w, &ref, "$ref", text(w, "#/parameters/%s", params[i].ref));
	return ref;
}

static void params_put(struct walk *w, struct json *list, uint32_t mask, struct span kind)
{
	for (unsigned i = 0; i < P_COUNT; i++)
		if (mask & BIT(i))
			json_push(w->d->a, list, param_use(w, i, kind));
}

/* The fields of an options object: PodExecOptions, PodLogOptions. */
static void params_options(struct walk *w, struct json *list, const struct api_type *t)
{
	for (unsigned i = 0; t && i < api_type_n_fields(t); i++) {
		const struct api_field *f = api_type_field_at(t, i);
		struct span name = api_field_name(f);
		if (span_is(name, "kind") || span_is(name, "apiVersion"))
			continue;
		struct json schema = json_object();
		openapi_scalar(w->d, api_field_type(f), &schema);
		(void)json_remove(&schema, SPAN("format")); /* a query is text */
		json_push(w->d->a, list, param_make(w, name, false, json_str(openapi_describe(w->d->o, api_type_name(t), name)), schema));
	}
}

/* ---- operations */

static struct json strings(struct walk *w, const char *const *list)
{
	struct json all = json_array();
	for (; *list; list++)
		json_push(w->d->a, &all, json_cstr(*list));
	return all;
}

/* {"application/json":{"schema":...}, ...} */
static struct json content(struct walk *w, const char *const *types, struct json schema)
{
	struct json all = json_object(), one = json_object();
	set(w, &one, "schema", schema);
	for (; *types; types++)
		set(w, &all, *types, one);
	return all;
}

static void responses_put(struct walk *w, const struct op *op, struct json *o)
{
	static const char *const codes[] = { "200", "201", "202" }, *const says[] = { "OK", "Created", "Accepted" };
	struct json all = json_object(), schema = json_object(), body = JSON_NULL_VALUE;
	if (op->answer)
		schema = op->answer->ref;
	else
		set(w, &schema, "type", json_cstr("string"));
	if (w->d->v3)
		body = content(w, op->produces, schema);
	for (unsigned i = 0; i < ARRAY_LEN(codes); i++) {
		if (!(op->codes & (1u << i)))
			continue;
		struct json r = json_object();
		if (w->d->v3)
			set(w, &r, "content", body);
		set(w, &r, "description", json_cstr(says[i]));
		if (!w->d->v3)
			set(w, &r, "schema", schema);
		set(w, &all, codes[i], r);
	}
	if (!w->unauthorized.n)
		set(w, &w->unauthorized, "description", json_cstr("Unauthorized"));
	set(w, &all, "401", w->unauthorized);
	set(w, o, "responses", all);
}

static struct json op_make(struct walk *w, const struct place *pl, const struct op *op, uint32_t common, bool options_common)
{
	struct json o = json_object(), list = json_array(), one = json_array();
	if (!w->d->v3)
		set(w, &o, "consumes", strings(w, op->consumes ? op->consumes : any_media));
	set(w, &o, "description", json_str(op->says));
	set(w, &o, "operationId", json_str(op->id));
	if (op->body && !w->d->v3) {
		struct json b = json_object();
		set(w, &b, "in", json_cstr("body"));
		set(w, &b, "name", json_cstr("body"));
		if (!op->body_optional)
			set(w, &b, "required", json_bool(true));
		set(w, &b, "schema", op->body->ref);
		json_push(w->d->a, &list, b);
	}
	params_put(w, &list, op->params & ~common, pl->kind);
	if (!options_common)
		params_options(w, &list, op->options);
	if (list.n)
		set(w, &o, "parameters", list);
	if (!w->d->v3)
		set(w, &o, "produces", strings(w, op->produces));
	if (op->body && w->d->v3) {
		struct json b = json_object();
		set(w, &b, "content", content(w, op->consumes ? op->consumes : any_media, op->body->ref));
		if (!op->body_optional)
			set(w, &b, "required", json_bool(true));
		set(w, &o, "requestBody", b);
	}
	responses_put(w, op, &o);
	if (!w->d->v3) {
		struct json https = json_array();
		json_push(w->d->a, &https, json_cstr("https"));
		set(w, &o, "schemes", https);
	}
	json_push(w->d->a, &one, json_str(w->tag));
	set(w, &o, "tags", one);
	if (op->action) {
		set(w, &o, "x-kubernetes-action", json_cstr(op->action));
		set(w, &o, "x-kubernetes-group-version-kind", openapi_kind_json(w->d->a, op->group, op->version, op->kind));
	}
	return o;
}

/* Takes the operations of a place in as one path. What all of them have in common moves to the path. */
static void place_add(struct walk *w, const struct place *pl)
{
	if (!pl->n)
		return;
	uint32_t common = ~0u;
	const struct api_type *options = pl->ops[0].options;
	for (unsigned i = 0; i < pl->n; i++) {
		common &= pl->ops[i].params;
		if (pl->ops[i].options != options)
			options = NULL;
	}
	common &= ~P_IN_OPERATION;
	struct json item = json_object(), list = json_array();
	for (unsigned i = 0; i < pl->n; i++)
		set(w, &item, pl->ops[i].method, op_make(w, pl, &pl->ops[i], common, options != NULL));
	params_put(w, &list, common | pl->params, pl->kind);
	params_options(w, &list, options);
	if (list.n)
		set(w, &item, "parameters", list);
	if (w->n == w->room) {
		unsigned room = w->room ? 2 * w->room : 64;
		struct path_row *rows = arena_alloc_n(w->d->a, room, sizeof(*rows));
		for (unsigned i = 0; i < w->n; i++)
			rows[i] = w->rows[i];
		w->rows = rows;
		w->room = room;
	}
	w->rows[w->n++] = (struct path_row){ .path = pl->path, .item = item };
}

static struct op *op_add(struct place *pl, struct op op)
{
	assert(pl->n < OPS_MAX);
	pl->ops[pl->n] = op;
	return &pl->ops[pl->n++];
}

/* "Core", "V1": the first letter in capitals. */
static struct span titled(struct arena *a, struct span s)
{
	char *copy = arena_cstr(a, s);
	if (s.len)
		copy[0] = (char)toupper((unsigned char)copy[0]);
	return span_make(copy, s.len);
}

/* rbac.authorization.k8s.io as RbacAuthorization (first small: rbacAuthorization). */
static struct span group_word(struct arena *a, struct span group, bool first_small)
{
	if (!group.len)
		return first_small ? SPAN("core") : SPAN("Core");
	struct span rest = span_ends(group, SPAN(".k8s.io")) ? span_sub(group, 0, group.len - 7) : group, part, out = SPAN_EMPTY;
	while (span_cut(&rest, '.', &part)) {
		if (out.len || !first_small)
			part = titled(a, part);
		out = arena_printf(a, "%.*s%.*s", SPAN_ARG(out), SPAN_ARG(part));
	}
	return out;
}

/* ---- resources */

struct target { /* a resource, or a subresource of it */
	struct walk *w;
	const struct api_resource *r;
	const struct api_subresource *sub;
	const struct openapi_def *object;
	struct span base; /* path of the collection, without namespace: "/api/v1" */
	bool custom;
};

static struct op op_of(const struct target *t, const char *method, const char *action, const char *verb, const char *suffix,
		       bool namespaced)
{
	struct walk *w = t->w;
	const struct api_resource *r = t->r;
	struct span sub = t->sub ? titled(w->d->a, t->sub->name) : SPAN_EMPTY;
	struct op op = { .method = method, .action = action, .codes = CODE_200, .answer = t->object,
			 .params = BIT(P_PRETTY), .group = r->group, .version = r->version, .kind = r->kind };
	op.produces = t->custom ? custom_media : media_types[MEDIA_PLAIN];
	op.id = arena_printf(w->d->a, "%s%.*s%s%.*s%.*s%s", verb, SPAN_ARG(w->id), namespaced ? "Namespaced" : "",
			     SPAN_ARG(r->kind), SPAN_ARG(sub), suffix);
	if (t->sub) {
		struct span group, version;
		if (!span_split(t->sub->group_version, '/', &group, &version)) {
			version = group;
			group = SPAN_EMPTY;
		}
		op.group = group;
		op.version = version;
		op.kind = t->sub->kind;
	}
	return op;
}

static struct span said(const struct target *t, const char *what)
{
	if (t->sub)
		return arena_printf(t->w->d->a, "%s %.*s of a %.*s.", what, SPAN_ARG(t->sub->name), SPAN_ARG(t->r->kind));
	return arena_printf(t->w->d->a, "%s a %.*s.", what, SPAN_ARG(t->r->kind));
}

static void op_list(struct place *pl, const struct target *t, bool namespaced, bool all)
{
	struct op op = op_of(t, "get", "list", "list", all ? "ForAllNamespaces" : "", namespaced);
	op.says = arena_printf(t->w->d->a, "%s %.*s objects%s.", t->r->verbs & API_VERB_WATCH ? "List or watch" : "List",
			       SPAN_ARG(t->r->kind), all ? " of all namespaces" : "");
	op.answer = openapi_def_list(t->w->d, t->r);
	op.params |= P_WATCH_OPTIONS;
	if (t->r->verbs & API_VERB_WATCH)
		op.produces = t->custom ? custom_watch_media : media_types[MEDIA_WATCH];
	op_add(pl, op);
}

static void op_write(struct place *pl, const struct target *t, unsigned verb, bool namespaced)
{
	struct openapi_doc *d = t->w->d;
	struct op op;
	if (verb == API_VERB_CREATE) {
		op = op_of(t, "post", "post", "create", "", namespaced);
		op.says = said(t, "Create");
		op.codes |= CODE_201 | CODE_202;
	} else if (verb == API_VERB_UPDATE) {
		op = op_of(t, "put", "put", "replace", "", namespaced);
		op.says = said(t, "Replace");
		op.codes |= CODE_201;
	} else {
		op = op_of(t, "patch", "patch", "patch", "", namespaced);
		op.says = said(t, "Change parts of");
		op.codes |= CODE_201;
		op.consumes = t->custom ? custom_patch_media : patch_media;
	}
	op.params |= verb == API_VERB_PATCH ? P_PATCH_OPTIONS : P_WRITE_OPTIONS;
	op.body = verb == API_VERB_PATCH ? openapi_def_named(d, "meta/v1.Patch") : t->object;
	if (t->custom && verb != API_VERB_PATCH)
		op.consumes = custom_media;
	op_add(pl, op);
}

static void op_get(struct place *pl, const struct target *t, bool namespaced)
{
	struct op op = op_of(t, "get", "get", "read", "", namespaced);
	op.says = said(t, "Read");
	if (t->sub && span_is(t->sub->name, "log")) {
		op.answer = NULL;
		op.options = api_type_find(SPAN("core/v1.PodLogOptions"));
		op.produces = media_types[MEDIA_LOG];
	}
	op_add(pl, op);
}

/* Kinds whose delete answers with the object that went; all others answer with a Status. */
static bool delete_gives_object(const struct api_resource *r)
{
	static const char *const core[] = { "persistentvolumeclaims", "persistentvolumes", "pods", "podtemplates", "resourcequotas",
					    "serviceaccounts", "services" };
	static const char *const storage[] = { "csidrivers", "csinodes", "storageclasses", "volumeattachments" };
	for (unsigned i = 0; !r->group.len && i < ARRAY_LEN(core); i++)
		if (span_is(r->plural, core[i]))
			return true;
	for (unsigned i = 0; span_is(r->group, "storage.k8s.io") && i < ARRAY_LEN(storage); i++)
		if (span_is(r->plural, storage[i]))
			return true;
	return span_is(r->group, "resource.k8s.io");
}

static void op_delete(struct place *pl, const struct target *t, bool collection, bool namespaced)
{
	struct openapi_doc *d = t->w->d;
	struct op op = op_of(t, "delete", collection ? "deletecollection" : "delete", "delete", "", namespaced);
	if (collection) /* the word Collection stands behind group and version, as generated clients have it */
		op.id = arena_printf(d->a, "delete%.*sCollection%s%.*s", SPAN_ARG(t->w->id), namespaced ? "Namespaced" : "",
				     SPAN_ARG(t->r->kind));
	op.says = collection ? arena_printf(d->a, "Delete all %.*s objects that match.", SPAN_ARG(t->r->kind)) : said(t, "Delete");
	op.params |= P_DELETE_OPTIONS;
	if (collection)
		op.params |= P_LIST_OPTIONS;
	else
		op.codes |= CODE_202;
	op.body = openapi_def_named(d, "meta/v1.DeleteOptions");
	op.body_optional = true;
	if (collection || !delete_gives_object(t->r))
		op.answer = openapi_def_named(d, "meta/v1.Status");
	op_add(pl, op);
}

/* The old way to watch, a path of its own. */
static void watch_place(const struct target *t, struct span path, bool item, bool namespaced, bool all)
{
	struct walk *w = t->w;
	struct place pl = { .path = path, .kind = t->r->kind };
	pl.params = P_WATCH_OPTIONS | BIT(P_PRETTY) | (item ? BIT(P_NAME) : 0) | (namespaced ? BIT(P_NAMESPACE) : 0);
	const char *ending = all ? "ListForAllNamespaces" : item ? "" : "List";
	struct op op = op_of(t, "get", item ? "watch" : "watchlist", "watch", ending, namespaced);
	op.says = arena_printf(w->d->a, "Watch %s%.*s%s. Deprecated: list with watch=true instead.", item ? "a " : "all ",
			       SPAN_ARG(t->r->kind), item ? "" : " objects");
	op.answer = openapi_def_named(w->d, "meta/v1.WatchEvent");
	op.produces = t->custom ? custom_watch_media : media_types[MEDIA_WATCH];
	op.params = 0;
	op_add(&pl, op);
	place_add(w, &pl);
}

/* exec, attach, portforward, proxy: streams to somewhere else. */
static void connect_places(const struct target *t, struct span path, bool namespaced)
{
	static const struct {
		const char *method, *word;
	} all[] = { { "delete", "Delete" }, { "get", "Get" }, { "head", "Head" }, { "options", "Options" }, { "patch", "Patch" },
		    { "post", "Post" }, { "put", "Put" } };
	struct walk *w = t->w;
	bool proxy = span_is(t->sub->name, "proxy");
	for (unsigned with_path = 0; with_path < (proxy ? 2 : 1); with_path++) {
		struct place pl = { .kind = t->r->kind };
		pl.path = with_path ? arena_printf(w->d->a, "%.*s/{path}", SPAN_ARG(path)) : path;
		pl.params = BIT(P_NAME) | (namespaced ? BIT(P_NAMESPACE) : 0) | (with_path ? BIT(P_PATH) : 0);
		for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
			if (!proxy && strcmp(all[i].method, "get") != 0 && strcmp(all[i].method, "post") != 0)
				continue;
			struct op op = op_of(t, all[i].method, "connect", "connect", "", namespaced);
			struct span sub = titled(w->d->a, t->sub->name);
			op.id = arena_printf(w->d->a, "connect%.*s%s%s%.*s%.*s%s", SPAN_ARG(w->id), all[i].word,
					     namespaced ? "Namespaced" : "", SPAN_ARG(t->r->kind), SPAN_ARG(sub),
					     with_path ? "WithPath" : "");
			op.says = arena_printf(w->d->a, "Connect %s requests to %.*s of a %.*s.", all[i].word,
					       SPAN_ARG(t->sub->name), SPAN_ARG(t->r->kind));
			op.params = 0;
			op.options = t->sub->type;
			op.answer = NULL;
			op.produces = media_types[MEDIA_ANY];
			op_add(&pl, op);
		}
		place_add(w, &pl);
	}
}

static void sub_places(const struct target *parent, const struct api_subresource *sub, struct span item_path)
{
	struct target t = *parent;
	struct walk *w = t.w;
	bool namespaced = t.r->namespaced;
	t.sub = sub;
	struct span path = arena_printf(w->d->a, "%.*s/%.*s", SPAN_ARG(item_path), SPAN_ARG(sub->name));
	if (span_ends(sub->kind, SPAN("Options"))) {
		connect_places(&t, path, namespaced);
		return;
	}
	t.object = sub->type == t.r->type ? openapi_def_root(w->d, t.r) : openapi_def_type(w->d, sub->type);
	struct place pl = { .path = path, .kind = t.r->kind };
	pl.params = BIT(P_NAME) | (namespaced ? BIT(P_NAMESPACE) : 0);
	if (sub->verbs & API_VERB_GET)
		op_get(&pl, &t, namespaced);
	if (sub->verbs & API_VERB_PATCH)
		op_write(&pl, &t, API_VERB_PATCH, namespaced);
	if (sub->verbs & API_VERB_CREATE)
		op_write(&pl, &t, API_VERB_CREATE, namespaced);
	if (sub->verbs & API_VERB_UPDATE)
		op_write(&pl, &t, API_VERB_UPDATE, namespaced);
	place_add(w, &pl);
}

static void resource_places(struct walk *w, const struct api_resource *r)
{
	struct arena *a = w->d->a;
	struct target t = { .w = w, .r = r, .custom = r->types != NULL };
	bool ns = r->namespaced;
	const char *in = ns ? "/namespaces/{namespace}" : "";
	struct span path = arena_printf(a, "%.*s%s/%.*s", SPAN_ARG(w->prefix), in, SPAN_ARG(r->plural));
	struct span item_path = arena_printf(a, "%.*s/{name}", SPAN_ARG(path));
	t.object = openapi_def_root(w->d, r);

	struct place pl = { .path = path, .kind = r->kind, .params = ns ? BIT(P_NAMESPACE) : 0 };
	if (r->verbs & API_VERB_DELETECOLLECTION)
		op_delete(&pl, &t, true, ns);
	if (r->verbs & API_VERB_LIST)
		op_list(&pl, &t, ns, false);
	if (r->verbs & API_VERB_CREATE)
		op_write(&pl, &t, API_VERB_CREATE, ns);
	place_add(w, &pl);

	pl = (struct place){ .path = item_path, .kind = r->kind, .params = BIT(P_NAME) | (ns ? BIT(P_NAMESPACE) : 0) };
	if (r->verbs & API_VERB_DELETE)
		op_delete(&pl, &t, false, ns);
	if (r->verbs & API_VERB_GET)
		op_get(&pl, &t, ns);
	if (r->verbs & API_VERB_PATCH)
		op_write(&pl, &t, API_VERB_PATCH, ns);
	if (r->verbs & API_VERB_UPDATE)
		op_write(&pl, &t, API_VERB_UPDATE, ns);
	place_add(w, &pl);

	for (unsigned i = 0; i < r->n_subresources; i++)
		sub_places(&t, &r->subresources[i], item_path);

	if (ns && r->verbs & API_VERB_LIST) {
		pl = (struct place){ .path = arena_printf(a, "%.*s/%.*s", SPAN_ARG(w->prefix), SPAN_ARG(r->plural)), .kind = r->kind };
		op_list(&pl, &t, false, true);
		place_add(w, &pl);
	}
	if (!(r->verbs & API_VERB_WATCH) || t.custom) /* custom resources never had the old paths */
		return;
	watch_place(&t, arena_printf(a, "%.*s/watch%s/%.*s", SPAN_ARG(w->prefix), in, SPAN_ARG(r->plural)), false, ns, false);
	watch_place(&t, arena_printf(a, "%.*s/watch%s/%.*s/{name}", SPAN_ARG(w->prefix), in, SPAN_ARG(r->plural)), true, ns, false);
	if (ns)
		watch_place(&t, arena_printf(a, "%.*s/watch/%.*s", SPAN_ARG(w->prefix), SPAN_ARG(r->plural)), false, false, true);
}

/* A path with one get that has no kind: lists of groups, versions and resources. */
static void plain_place(struct walk *w, struct span path, const char *id, const char *says, const char *answer, enum media media)
{
	struct place pl = { .path = path };
	struct op op = { .method = "get", .id = span_of(id), .says = span_of(says), .codes = CODE_200, .produces = media_types[media] };
	op.answer = answer ? openapi_def_named(w->d, answer) : NULL;
	op_add(&pl, op);
	place_add(w, &pl);
}

static void version_places(struct walk *w, const struct api_group_version *v)
{
	struct arena *a = w->d->a;
	w->prefix = v->group.len ? arena_printf(a, "/apis/%.*s/%.*s", SPAN_ARG(v->group), SPAN_ARG(v->version))
				 : arena_printf(a, "/api/%.*s", SPAN_ARG(v->version));
	struct span group = group_word(a, v->group, false), version = titled(a, v->version), small = group_word(a, v->group, true);
	w->id = arena_printf(a, "%.*s%.*s", SPAN_ARG(group), SPAN_ARG(version));
	w->tag = arena_printf(a, "%.*s_%.*s", SPAN_ARG(small), SPAN_ARG(v->version));
	struct span id = arena_printf(a, "get%.*sAPIResources", SPAN_ARG(w->id));
	plain_place(w, arena_printf(a, "%.*s/", SPAN_ARG(w->prefix)), id.ptr, "The resources of this group version.",
		    "meta/v1.APIResourceList", MEDIA_PLAIN);
	for (unsigned i = 0; i < v->n; i++) {
		const struct api_resource *r = api_registry_at(w->d->o->registry, v->first + i);
		if (openapi_row_shown(w->d->o, r))
			resource_places(w, r);
	}
}

static void group_place(struct walk *w, struct span group)
{
	struct arena *a = w->d->a;
	struct span word = group_word(a, group, false), id = arena_printf(a, "get%.*sAPIGroup", SPAN_ARG(word));
	w->tag = group_word(a, group, true);
	plain_place(w, arena_printf(a, "/apis/%.*s/", SPAN_ARG(group)), id.ptr, "The versions of this group.", "meta/v1.APIGroup",
		    MEDIA_PLAIN);
}

static void root_place(struct walk *w, struct span path)
{
	static const struct {
		const char *path, *address, *id, *says, *answer, *tag;
		enum media media;
	} roots[] = {
		{ ".well-known/openid-configuration", "/.well-known/openid-configuration/", "getServiceAccountIssuerOpenIDConfiguration",
		  "The OpenID configuration of the issuer of service account tokens.", NULL, "WellKnown", MEDIA_JSON },
		{ "api", "/api/", "getCoreAPIVersions", "The versions of the core group.", "meta/v1.APIVersions", "core", MEDIA_PLAIN },
		{ "apis", "/apis/", "getAPIVersions", "The API groups and their versions.", "meta/v1.APIGroupList", "apis", MEDIA_PLAIN },
		{ "openid/v1/jwks", "/openid/v1/jwks/", "getServiceAccountIssuerOpenIDKeyset",
		  "The public keys that verify service account tokens.", NULL, "openid", MEDIA_JWKS },
		{ "version", "/version/", "getCodeVersion", "The version of the server.", "version.Info", "version", MEDIA_JSON },
	};
	for (unsigned i = 0; i < ARRAY_LEN(roots); i++) {
		if (!span_is(path, roots[i].path))
			continue;
		w->tag = span_of(roots[i].tag);
		plain_place(w, span_of(roots[i].address), roots[i].id, roots[i].says, roots[i].answer, roots[i].media);
	}
}

/* What one document of v3 holds, by its name. */
static void part_places(struct walk *w, struct span path)
{
	struct span head, rest, group, version;
	if (!span_split(path, '/', &head, &rest) || (!span_is(head, "api") && !span_is(head, "apis"))) {
		root_place(w, path);
		return;
	}
	group = rest;
	version = SPAN_EMPTY;
	if (span_is(head, "api")) {
		version = rest;
		group = SPAN_EMPTY;
	} else {
		(void)span_split(rest, '/', &group, &version);
	}
	if (!version.len)
		group_place(w, group);
	else
		version_places(w, api_registry_find_version(w->d->o->registry, group, version));
}

static int by_path(const void *x, const void *y)
{
	return span_cmp(((const struct path_row *)x)->path, ((const struct path_row *)y)->path);
}

static struct json paths_done(struct walk *w)
{
	qsort(w->rows, w->n, sizeof(*w->rows), by_path);
	struct json paths = json_object();
	for (unsigned i = 0; i < w->n; i++)
		json_add(w->d->a, &paths, w->rows[i].path, w->rows[i].item);
	return paths;
}

struct json openapi_paths_of(struct openapi_doc *d, struct span v3_path)
{
	struct walk w = { .d = d, .unauthorized = json_object() };
	part_places(&w, v3_path);
	return paths_done(&w);
}

struct json openapi_paths_all(struct openapi_doc *d, struct json *out_parameters)
{
	struct walk w = { .d = d, .unauthorized = json_object() };
	for (unsigned i = 0; i < openapi_v3_count(d->o); i++)
		part_places(&w, openapi_v3_path(d->o, i));
	*out_parameters = json_object();
	for (unsigned i = 0; i < P_COUNT; i++)
		if (w.shared[i].n && !(BIT(i) & P_INLINE))
			set(&w, out_parameters, params[i].ref, w.shared[i]);
	return paths_done(&w);
}
