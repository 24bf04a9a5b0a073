/* PATCH: JSON patch, merge patch, strategic merge patch and server-side apply, on the object or on a view of it.
 *
 * A patch is computed on the object in the version of the path, so its strategy keys and its defaults are that version's. */
#include "apiserver/custom.h"
#include "apiserver/server.h"
#include "apiserver/write.h"

static struct span meta_span(const struct json *object, const char *key)
{
	return json_span(json_get(json_getl(object, "metadata"), span_of(key)));
}

enum patch_kind { PATCH_JSON, PATCH_MERGE, PATCH_STRATEGIC, PATCH_APPLY, PATCH_COUNT };
static const char *const patch_types[PATCH_COUNT] = {
	[PATCH_JSON] = "application/json-patch+json",
	[PATCH_MERGE] = "application/merge-patch+json",
	[PATCH_STRATEGIC] = "application/strategic-merge-patch+json",
	[PATCH_APPLY] = "application/apply-patch+yaml",
};

static int patch_kind_of(struct call *c, enum patch_kind *out)
{
	struct span type = media_type(http_req_header(c->http, "content-type"));
	bool custom = api_type_flags(c->res->type) & API_TYPE_CUSTOM;
	for (int k = 0; k < PATCH_COUNT; k++) {
		if (span_eq_nocase(type, span_of(patch_types[k])) && !(k == PATCH_STRATEGIC && custom)) {
			*out = (enum patch_kind)k;
			return 0;
		}
	}
	return err_set(&c->err, ERR_UNSUPPORTED_MEDIA,
		       "the body of the request was in an unknown format - accepted media types include: "
		       "application/json-patch+json, "
		       "application/merge-patch+json%s, application/apply-patch+yaml",
		       custom ? "" : ", application/strategic-merge-patch+json");
}

/* ---- the patch itself */

/* A patch as it was sent, and what strict validation has to say of it before it is applied. */
struct patch {
	enum patch_kind kind;
	enum write_fields how;
	struct json tree;
	struct span *found; /* repeated fields; of a JSON patch unknown ones too */
	unsigned n_found;
	struct span yaml_words; /* of a server-side apply: keys that are there twice; empty for none */
};

/* What upstream's jsonPatchOp does not know. */
static void operations_check(struct call *c, struct json *tree, struct api_decode *d)
{
	static const char *const known[] = { "op", "path", "from", "value" };
	JSON_EACH_ITEM(tree, op)
		JSON_EACH_MEMBER(op, m) {
			bool is_known = false;
			for (size_t i = 0; i < ARRAY_LEN(known); i++)
				is_known = is_known || span_is(json_key(m), known[i]);
			if (!is_known)
				api_decode_note(&c->arena, d,
						arena_printf(&c->arena, "unknown field \"[%u].%.*s\"", (unsigned)(op - tree->items),
							     SPAN_ARG(json_key(m))));
		}
}

static int json_read(struct call *c, struct patch *p)
{
	auto_buf struct buf words = {};
	struct api_decode d = {};
	int rc = api_decode_any(&c->arena, c->body, &d, &p->tree, &c->err);
	if (rc < 0 && json_go_complaint(&words, c->body))
		return err_set(&c->err, ERR_INVALID_REQUEST, "error decoding patch: %s", buf_cstr(&words));
	if (rc < 0)
		return err_note(&c->err, "error decoding patch");
	if (p->kind == PATCH_JSON)
		operations_check(c, &p->tree, &d);
	for (unsigned i = 0; i < d.n_found && p->kind == PATCH_JSON; i++)
		d.found[i] = arena_printf(&c->arena, "json patch %.*s", SPAN_ARG(d.found[i]));
	p->found = d.found;
	p->n_found = d.n_found;
	return 0;
}

static int yaml_read(struct call *c, struct patch *p)
{
	auto_err struct err strict_err = ERR_INIT;
	bool strict = p->how != FIELDS_IGNORE;
	if (strict && yaml_parse(&c->arena, c->body, YAML_STRICT, NULL, &p->tree, &strict_err) == 0)
		return 0;
	if (yaml_parse(&c->arena, c->body, 0, NULL, &p->tree, &c->err) < 0)
		return err_note(&c->err, "error decoding patch");
	if (strict)
		p->yaml_words = arena_span(&c->arena, span_of(err_msg(&strict_err)));
	return 0;
}

static int patch_read(struct call *c, struct patch *out)
{
	*out = (struct patch){};
	int rc = patch_kind_of(c, &out->kind);
	if (rc == 0)
		rc = write_field_validation(c, &out->how);
	if (rc == 0)
		rc = out->kind == PATCH_APPLY ? yaml_read(c, out) : json_read(c, out);
	return rc;
}

/* ---- applying it */

/* Changes a copy of old; strategic needs the type. */
static int patch_copy(struct call *c, enum patch_kind kind, const struct api_type *type, const struct json *patch,
		      const struct json *old, struct json *out)
{
	int rc;
	*out = json_copy(&c->arena, old);
	if (kind == PATCH_JSON)
		rc = api_json_patch(&c->arena, out, patch, NULL, &c->err);
	else if (kind == PATCH_MERGE)
		rc = api_merge_patch(&c->arena, out, patch, &c->err);
	else
		rc = api_smp_apply(&c->arena, type, out, patch, &c->err);
	if (rc != -ERR_INVALID)
		return rc;
	auto_err struct err why = ERR_INIT;
	err_move(&why, &c->err);
	c->generic = true;
	return err_set(&c->err, ERR_INVALID, "the server rejected our request due to an error in our request");
}

/* ---- what strict validation says of the outcome */

/* The patch as Go's %+v prints the map that it is; how deep is bounded by the parser. */
static void go_value(struct buf *b, const struct json *v)
{
	if (v->kind == JSON_OBJECT) {
		buf_str(b, "map[");
		JSON_EACH_MEMBER(v, m) {
			if (m != v->members)
				buf_chr(b, ' ');
			buf_span_add(b, json_key(m));
			buf_chr(b, ':');
			go_value(b, &m->value);
		}
		buf_chr(b, ']');
	} else if (v->kind == JSON_ARRAY) {
		buf_chr(b, '[');
		JSON_EACH_ITEM(v, item) {
			if (item != v->items)
				buf_chr(b, ' ');
			go_value(b, item);
		}
		buf_chr(b, ']');
	} else if (v->kind == JSON_STRING) {
		buf_span_add(b, json_span(v));
	} else if (v->kind == JSON_NULL) {
		buf_str(b, "<nil>");
	} else {
		json_write(b, v, 0);
	}
}

/* Upstream names neither kind nor object, but shows the whole outcome (of a strategic patch: the patch). */
static int refuse_outcome(struct call *c, const struct patch *p, const struct api_type *type, const struct json *old,
			  struct span why)
{
	auto_buf struct buf shown = {}, quoted = {};
	struct json outcome;
	if (p->kind == PATCH_STRATEGIC) {
		struct json sorted = json_copy(&c->arena, &p->tree);
		json_sort(&sorted);
		go_value(&shown, &sorted);
	} else {
		/* Once more, as the check has changed the first; it went well then. */
		(void)patch_copy(c, p->kind, type, &p->tree, old, &outcome);
		json_write(&shown, &outcome, JSON_HTML);
	}
	api_go_quote(&quoted, buf_span(&shown));
	struct span text = arena_printf(&c->arena, "Invalid value: %s: %.*s", buf_cstr(&quoted), SPAN_ARG(why));
	err_done(&c->err);
	c->generic = true;
	err_cause_add(&c->err, SPAN("patch"), "FieldValueInvalid", text);
	return err_set(&c->err, ERR_INVALID, " \"\" is invalid: patch: %.*s", SPAN_ARG(text));
}

/* Types, unknown fields and what the patch itself had. */
static int outcome_check(struct call *c, const struct patch *p, const struct api_type *type, const struct json *old,
			 struct json *out)
{
	struct api_decode d = {};
	auto_buf struct buf all = {};
	if (api_decode_tree(&c->arena, type, out, &d, &c->err) < 0) {
		if (p->kind == PATCH_APPLY)
			return -(int)c->err.class;
		struct span why = arena_span(&c->arena, span_of(err_msg(&c->err)));
		return refuse_outcome(c, p, type, old, why);
	}
	struct api_decode both = { .found = p->found, .n_found = p->n_found };
	for (unsigned i = 0; i < d.n_found; i++)
		api_decode_note(&c->arena, &both, d.found[i]);
	if (p->how == FIELDS_WARN && p->yaml_words.len)
		call_warn(c, p->yaml_words);
	if (p->how == FIELDS_STRICT && p->yaml_words.len)
		return err_set(&c->err, ERR_INVALID_REQUEST, "error strict decoding YAML: %.*s", SPAN_ARG(p->yaml_words));
	if (p->kind == PATCH_APPLY || p->how != FIELDS_STRICT || !both.n_found)
		return write_found_fields(c, &both, p->how);
	for (unsigned i = 0; i < both.n_found; i++)
		buf_printf(&all, "%s%.*s", i ? ", " : "strict decoding error: ", SPAN_ARG(both.found[i]));
	return refuse_outcome(c, p, type, old, buf_span(&all));
}

int patch_tree(struct call *c, const struct api_type *type, const struct json *old, struct json *out)
{
	struct patch p;
	int rc = patch_read(c, &p);
	if (rc == 0)
		rc = patch_copy(c, p.kind, type, &p.tree, old, out);
	return rc < 0 ? rc : outcome_check(c, &p, type, old, out);
}

int patch_apply_read(struct call *c, struct json *out_patch, struct span *out_manager)
{
	*out_manager = call_param(c, "fieldManager");
	if (!out_manager->len)
		return err_set(&c->err, ERR_INVALID,
			       "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply "
			       "patch");
	struct patch p;
	int rc = patch_read(c, &p);
	if (rc == 0)
		*out_patch = p.tree;
	return rc;
}

bool patch_is_apply(struct call *c)
{
	struct span type = media_type(http_req_header(c->http, "content-type"));
	return c->route.verb == ROUTE_PATCH && span_eq_nocase(type, span_of(patch_types[PATCH_APPLY]));
}

static int patch_apply(struct call *c, const struct patch *p, const struct json *old, struct json *out)
{
	int rc;
	if (p->kind == PATCH_APPLY) {
		struct span manager = call_param(c, "fieldManager");
		if (!manager.len)
			return err_set(
				&c->err, ERR_INVALID,
				"PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required "
				"for apply patch");
		struct api_ssa ssa = write_ssa(c);
		rc = api_ssa_apply(&c->arena, &ssa, old, &p->tree, manager, call_param_true(c, "force"), out, &c->err);
		c->bare = rc < 0;
	} else {
		rc = patch_copy(c, p->kind, c->res->type, &p->tree, old, out);
	}
	if (rc == 0)
		rc = outcome_check(c, p, c->res->type, old, out);
	if (rc == 0)
		apiserver_custom_default(c, out);
	return rc;
}

static void patch_try(struct call *c)
{
	auto_buf struct buf key = {};
	struct json old, object;
	struct patch p;
	if (patch_read(c, &p) < 0) {
		call_fail(c);
		return;
	}
	const struct store_item *it = write_current(c, &key, &old);
	if (!it && p.kind == PATCH_APPLY && !c->sub && c->err.class == ERR_NONE) {
		/* Apply makes what is not there. */
		c->success_code = 201;
		if (patch_apply(c, &p, NULL, &object) < 0 || write_kind_agree(c, &object) < 0 ||
		    write_namespace_agree(c, &object) < 0) {
			call_fail(c);
			return;
		}
		(void)json_set(&c->arena, write_meta(c, &object), SPAN("name"), json_str(c->route.name));
		c->object = object;
		write_fresh(c, buf_span(&key), &object, true);
		return;
	}
	if (!it) {
		if (c->err.class == ERR_NONE)
			not_found(c);
		call_fail(c);
		return;
	}
	c->success_code = 200;
	if (patch_apply(c, &p, &old, &object) < 0 || write_kind_agree(c, &object) < 0 ||
	    write_namespace_agree(c, &object) < 0) {
		call_fail(c);
		return;
	}
	int64_t wanted;
	struct span rv = meta_span(&object, "resourceVersion"), uid = meta_span(&object, "uid"),
		    name = meta_span(&object, "name");
	if (!span_eq(name, c->route.name))
		err_set(&c->err, ERR_INVALID_REQUEST,
			"the name of the object (%.*s) does not match the name on the URL (%.*s)", SPAN_ARG(name),
			SPAN_ARG(c->route.name));
	else if ((rv.len && (!span_to_i64(rv, &wanted) || wanted != it->rev)) ||
		 (uid.len && !span_eq(uid, meta_span(&old, "uid"))))
		write_conflict(c);
	if (c->err.class != ERR_NONE || write_finish(c, &object, &old, p.kind == PATCH_APPLY) < 0)
		call_fail(c);
	else
		write_change(c, buf_span(&key), it, &object);
}

static void patch_again(struct call *c)
{
	write_again(c, patch_try);
}

void patch_begin(struct call *c)
{
	c->written = write_answer;
	c->again = patch_again;
	patch_try(c);
}
