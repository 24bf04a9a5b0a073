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

static int patch_parse(struct call *c, enum patch_kind kind, struct json *out)
{
	int rc;
	if (kind == PATCH_APPLY)
		rc = yaml_parse(&c->arena, c->body, 0, NULL, out, &c->err);
	else
		rc = json_parse(&c->arena, c->body, JSON_BORROW | JSON_DUPLICATES_LAST, NULL, out, &c->err);
	auto_buf struct buf words = {};
	if (rc < 0 && kind != PATCH_APPLY && json_go_complaint(&words, c->body))
		return err_set(&c->err, ERR_INVALID_REQUEST, "error decoding patch: %s", buf_cstr(&words));
	if (rc < 0)
		return err_note(&c->err, "error decoding patch");
	return 0;
}

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

int patch_tree(struct call *c, const struct api_type *type, const struct json *old, struct json *out)
{
	enum patch_kind kind;
	enum write_fields how;
	struct json patch;
	int rc = patch_kind_of(c, &kind);
	if (rc == 0)
		rc = write_field_validation(c, &how);
	if (rc == 0)
		rc = patch_parse(c, kind, &patch);
	if (rc < 0)
		return rc;
	struct api_decode d = { .strict = how == FIELDS_STRICT };
	rc = patch_copy(c, kind, type, &patch, old, out);
	if (rc == 0)
		rc = api_decode_tree(&c->arena, type, out, &d, &c->err);
	return rc < 0 ? rc : write_found_fields(c, &d, how);
}

int patch_apply_read(struct call *c, struct json *out_patch, struct span *out_manager)
{
	*out_manager = call_param(c, "fieldManager");
	if (!out_manager->len)
		return err_set(&c->err, ERR_INVALID,
			       "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply "
			       "patch");
	return patch_parse(c, PATCH_APPLY, out_patch);
}

bool patch_is_apply(struct call *c)
{
	struct span type = media_type(http_req_header(c->http, "content-type"));
	return c->route.verb == ROUTE_PATCH && span_eq_nocase(type, span_of(patch_types[PATCH_APPLY]));
}

static int patch_apply(struct call *c, enum patch_kind kind, const struct json *patch, const struct json *old,
		       struct json *out)
{
	int rc;
	if (kind == PATCH_APPLY) {
		struct span manager = call_param(c, "fieldManager");
		if (!manager.len)
			return err_set(
				&c->err, ERR_INVALID,
				"PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required "
				"for apply patch");
		struct api_ssa ssa = write_ssa(c);
		rc = api_ssa_apply(&c->arena, &ssa, old, patch, manager, call_param_true(c, "force"), out, &c->err);
	} else {
		rc = patch_copy(c, kind, c->res->type, patch, old, out);
	}
	if (rc < 0)
		return rc;
	enum write_fields how;
	rc = write_field_validation(c, &how);
	struct api_decode d = { .strict = how == FIELDS_STRICT };
	if (rc == 0)
		rc = api_decode_tree(&c->arena, c->res->type, out, &d, &c->err);
	if (rc < 0)
		return rc;
	apiserver_custom_default(c, out);
	return write_found_fields(c, &d, how);
}

static void patch_try(struct call *c)
{
	auto_buf struct buf key = {};
	struct json old, patch, object;
	enum patch_kind kind;
	if (patch_kind_of(c, &kind) < 0 || patch_parse(c, kind, &patch) < 0) {
		call_fail(c);
		return;
	}
	const struct store_item *it = write_current(c, &key, &old);
	if (!it && kind == PATCH_APPLY && !c->sub && c->err.class == ERR_NONE) {
		/* Apply makes what is not there. */
		c->success_code = 201;
		if (patch_apply(c, kind, &patch, NULL, &object) < 0 || write_kind_agree(c, &object) < 0 ||
		    write_namespace_agree(c, &object) < 0) {
			call_fail(c);
			return;
		}
		(void)json_set(&c->arena, write_meta(c, &object), SPAN("name"), json_str(c->route.name));
		c->object = object;
		if (write_finish(c, &object, NULL, true) < 0)
			call_fail(c);
		else if (c->dry_run)
			write_answer(c, store_snapshot_rev(c->snap));
		else
			write_put(c, buf_span(&key), 0);
		return;
	}
	if (!it) {
		if (c->err.class == ERR_NONE)
			not_found(c);
		call_fail(c);
		return;
	}
	c->success_code = 200;
	if (patch_apply(c, kind, &patch, &old, &object) < 0 || write_kind_agree(c, &object) < 0 ||
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
	if (c->err.class != ERR_NONE || write_finish(c, &object, &old, kind == PATCH_APPLY) < 0)
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
