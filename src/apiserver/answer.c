/* One stored object in the shape and form that the client wants. */
#include "apiserver/server.h"
#include "apiserver/custom.h"

void table_columns(struct buf *out, const struct api_resource *res)
{
	struct json_out o = { .buf = out, .style = JSON_HTML };
	buf_str(out, "\"columnDefinitions\":");
	json_out_begin_array(&o);
	for (unsigned i = 0; i < res->n_columns; i++) {
		const struct api_column *col = &res->columns[i];
		json_out_begin(&o);
		json_out_key(&o, SPAN("name"));
		json_out_span(&o, col->name);
		json_out_key(&o, SPAN("type"));
		json_out_span(&o, col->type);
		json_out_key(&o, SPAN("format"));
		json_out_span(&o, col->format);
		json_out_key(&o, SPAN("description"));
		json_out_span(&o, col->description);
		json_out_key(&o, SPAN("priority"));
		json_out_i64(&o, col->priority);
		json_out_end(&o);
	}
	json_out_end(&o);
}

/* The object's metadata alone, as PartialObjectMetadata. */
static void write_partial(struct buf *out, const struct json *object, bool with_head)
{
	const struct api_type *meta_type = api_type_find(SPAN("meta/v1.ObjectMeta"));
	const struct json *meta = json_getl(object, "metadata");
	buf_str(out, with_head ? "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":"
			       : "{\"metadata\":");
	api_encode_json(out, meta_type, meta, 0);
	buf_chr(out, '}');
}

/* A row of a Table: cells, and what includeObject asks for (None, Metadata, Object). */
static void write_row(struct arena *a, struct buf *out, const struct api_resource *res, const struct json *object,
		      int64_t now_s, const char *include)
{
	struct json *cells = arena_alloc_n(a, res->n_columns + API_TABLE_MORE, sizeof(*cells));
	unsigned n = api_table_cells(a, res, object, now_s, cells);
	buf_str(out, "{\"cells\":[");
	for (unsigned i = 0; i < n; i++) {
		if (i)
			buf_chr(out, ',');
		json_write(out, &cells[i], JSON_HTML);
	}
	buf_chr(out, ']');
	struct span reason;
	if (api_table_completed(res, object, &reason)) {
		buf_str(out, ",\"conditions\":[{\"type\":\"Completed\",\"status\":\"True\",\"reason\":");
		json_write_string(out, reason, JSON_HTML);
		buf_str(out, ",\"message\":\"The pod has completed successfully.\"}]");
	}
	buf_str(out, ",\"object\":");
	if (include && strcmp(include, "None") == 0)
		buf_str(out, "null");
	else if (include && strcmp(include, "Object") == 0)
		api_encode_json(out, res->type, object, 0);
	else
		write_partial(out, object, true);
	buf_chr(out, '}');
}

/* Custom resources are read by the schema of today, whatever it was when they were stored. */
static int custom_answer(struct arena *a, const struct api_resource *res, const struct accepted *want, struct span value,
			 int64_t rev, bool item, struct buf *out, struct err *err)
{
	struct json tree;
	int rc = object_read(a, res, value, rev, &tree, err);
	if (rc < 0)
		return rc;
	api_encode_json(out, res->type, &tree, want->pretty ? JSON_PRETTY : 0);
	if (!item)
		buf_chr(out, '\n');
	return 0;
}

int object_answer(struct arena *a, const struct api_resource *res, struct span gv, const struct accepted *want,
		  struct span value, int64_t rev, bool item, int64_t now_s, const char *include_object, struct buf *out,
		  struct err *err)
{
	if (custom_is(res) && want->form == FORM_JSON && want->shape == SHAPE_OBJECT)
		return custom_answer(a, res, want, value, rev, item, out, err);
	bool custom = api_type_flags(res->type) & API_TYPE_CUSTOM;
	if (want->form == FORM_JSON && want->shape == SHAPE_OBJECT && !want->pretty && object_as_stored(res)) {
		/* The common case: the stored bytes with the revision in its place. */
		if (!object_write(out, value, rev, item ? SPAN_EMPTY : res->kind, gv))
			return err_set(err, ERR_CORRUPT, "a stored object of %.*s is damaged", SPAN_ARG(res->plural));
		if (!item)
			buf_chr(out, '\n');
		return 0;
	}
	struct json tree;
	int rc = object_read(a, res, value, rev, &tree, err);
	if (rc < 0)
		return rc;
	if (item && !custom && want->shape == SHAPE_OBJECT) {
		(void)json_remove(&tree, SPAN("kind"));
		(void)json_remove(&tree, SPAN("apiVersion"));
	}
	if (want->shape == SHAPE_TABLE && !item) {
		buf_str(out,
			"{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{\"resourceVersion\":\"");
		buf_i64(out, rev);
		buf_str(out, "\"},");
		table_columns(out, res);
		buf_str(out, ",\"rows\":[");
		write_row(a, out, res, &tree, now_s, include_object);
		buf_str(out, "]}\n");
	} else if (want->shape == SHAPE_TABLE) {
		write_row(a, out, res, &tree, now_s, include_object);
	} else if (want->shape == SHAPE_PARTIAL && want->form == FORM_PROTO) {
		struct json partial = json_object();
		const struct json *meta = json_getl(&tree, "metadata");
		const struct api_type *type = api_type_find(SPAN("meta/v1.PartialObjectMetadata"));
		(void)json_add(a, &partial, SPAN("kind"), json_cstr("PartialObjectMetadata"));
		(void)json_add(a, &partial, SPAN("apiVersion"), json_cstr("meta.k8s.io/v1"));
		(void)json_add(a, &partial, SPAN("metadata"), *meta); /* object_read has seen to it that there is one */
		rc = item ? api_encode_message(out, type, &partial, err) : api_encode_proto(out, type, &partial, err);
	} else if (want->shape == SHAPE_PARTIAL) {
		write_partial(out, &tree, true);
		if (!item)
			buf_chr(out, '\n');
	} else if (want->form == FORM_YAML && !item) { /* items are JSON first: the list is made YAML as a whole */
		api_encode_yaml(out, res->type, &tree);
	} else if (want->form == FORM_PROTO) {
		rc = item ? api_encode_message(out, res->type, &tree, err)
			  : api_encode_proto(out, res->type, &tree, err);
	} else {
		api_encode_json(out, res->type, &tree, want->pretty ? JSON_PRETTY : 0);
		if (!item)
			buf_chr(out, '\n');
	}
	return rc;
}
