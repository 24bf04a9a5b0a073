#include "api/convert_private.h"

#define DEVICES "resource.k8s.io"

static const struct convert_row {
	const char *group, *version, *kind;
	const char *storage_type; /* NULL: its own */
	void (*to)(struct arena *a, struct json *object);
	void (*from)(struct arena *a, struct json *object); /* NULL: nothing to do */
} rows[] = {
	{ "events.k8s.io", "v1", "Event", "core/v1.Event", api_convert_event_to_core, api_convert_event_from_core },
	{ "autoscaling", "v1", "HorizontalPodAutoscaler", "autoscaling/v2.HorizontalPodAutoscaler", api_convert_hpa_from_v1,
	  api_convert_hpa_to_v1 },
	{ "autoscaling", "v2", "HorizontalPodAutoscaler", NULL, api_convert_hpa_clean, NULL },
	{ DEVICES, "v1beta2", "ResourceClaim", "resource/v1beta1.ResourceClaim", api_convert_claim_from_v1beta2,
	  api_convert_claim_to_v1beta2 },
	{ DEVICES, "v1beta2", "ResourceClaimTemplate", "resource/v1beta1.ResourceClaimTemplate", api_convert_template_from_v1beta2,
	  api_convert_template_to_v1beta2 },
	{ DEVICES, "v1beta2", "ResourceSlice", "resource/v1beta1.ResourceSlice", api_convert_slice_from_v1beta2,
	  api_convert_slice_to_v1beta2 },
	{ DEVICES, "v1alpha3", "ResourceSlice", "resource/v1beta1.ResourceSlice", api_convert_slice_from_v1alpha3,
	  api_convert_slice_to_v1alpha3 },
};

static const struct convert_row *row_of(const struct api_resource *res)
{
	if (res->id == API_RESOURCE_CUSTOM)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (span_is(res->kind, rows[i].kind) && span_is(res->group, rows[i].group) &&
		    span_is(res->version, rows[i].version))
			return &rows[i];
	return NULL;
}

bool api_converts(const struct api_resource *res)
{
	const struct convert_row *row = row_of(res);
	return row && row->from;
}

const struct api_type *api_storage_type(const struct api_resource *res)
{
	const struct convert_row *row = row_of(res);
	return row && row->storage_type ? api_type_find(span_of(row->storage_type)) : res->type;
}

bool api_to_storage(struct arena *a, const struct api_resource *res, const struct json *object, struct json *out)
{
	const struct convert_row *row = row_of(res);
	if (!row)
		return false;
	*out = json_copy(a, object);
	row->to(a, out);
	return true;
}

void api_from_storage(struct arena *a, const struct api_resource *res, struct json *object)
{
	const struct convert_row *row = row_of(res);
	if (row && row->from)
		row->from(a, object);
}

/* The row of another version of this resource, "autoscaling/v1". */
static const struct convert_row *row_in(const struct api_resource *res, struct span version)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf gv = {};
		buf_printf(&gv, "%s/%s", rows[i].group, rows[i].version);
		if (rows[i].from && span_is(res->kind, rows[i].kind) && span_eq(buf_span(&gv), version))
			return &rows[i];
	}
	return NULL;
}

/* "autoscaling/v2": apiVersion of the storage of these rows. */
static bool is_storage(const struct api_resource *res, struct span version)
{
	auto_buf struct buf gv = {};
	buf_printf(&gv, "%.*s%s%.*s", SPAN_ARG(res->storage_group), res->storage_group.len ? "/" : "",
		   SPAN_ARG(res->storage_version));
	return span_eq(buf_span(&gv), version);
}

const struct api_type *api_convert_versions(struct arena *a, const struct api_resource *res, struct span from, struct span to,
					    const struct json *object, struct json *out)
{
	if (res->id == API_RESOURCE_CUSTOM)
		return NULL;
	/* By way of what is stored. */
	const struct convert_row *up = row_in(res, from), *down = row_in(res, to);
	auto_buf struct buf name = {};
	if (up == down || (!up && !is_storage(res, from)) || (!down && !is_storage(res, to)))
		return NULL;
	*out = json_copy(a, object);
	if (up)
		up->to(a, out);
	if (!down)
		return api_type_find(span_of(up->storage_type));
	down->from(a, out);
	/* The package is the group's first label: events.k8s.io is events. */
	struct span package, rest;
	span_split(span_of(down->group), '.', &package, &rest);
	buf_printf(&name, "%.*s/%s.%s", SPAN_ARG(package), down->version, down->kind);
	return api_type_find(buf_span(&name));
}

/* ---- events: the same object, with other names for some of its fields */

static const struct {
	const char *core, *modern;
} event_names[] = {
	{ "involvedObject", "regarding" },
	{ "message", "note" },
	{ "source", "deprecatedSource" },
	{ "firstTimestamp", "deprecatedFirstTimestamp" },
	{ "lastTimestamp", "deprecatedLastTimestamp" },
	{ "count", "deprecatedCount" },
	{ "reportingComponent", "reportingController" },
};

static void event_rename(struct json *event, bool to_core)
{
	JSON_EACH_MEMBER(event, m) {
		for (size_t i = 0; i < ARRAY_LEN(event_names); i++) {
			const char *from = to_core ? event_names[i].modern : event_names[i].core;
			const char *to = to_core ? event_names[i].core : event_names[i].modern;
			if (!span_is(json_key(m), from))
				continue;
			m->key = to;
			m->key_len = (uint32_t)strlen(to);
			m->mark = 0; /* codecs know members by their pooled key: this is another */
			break;
		}
	}
}

void api_convert_event_from_core(struct arena *a, struct json *event)
{
	event_rename(event, false);
}

void api_convert_event_to_core(struct arena *a, struct json *event)
{
	event_rename(event, true);
}
