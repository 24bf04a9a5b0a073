/* A custom resource for the tests: stable.example.com/v1 Widget, with one node of each sort. */
#pragma once

#include "openapi/openapi.h"

static inline struct api_resource *sample_widget(void)
{
	struct api_resource *r = api_resource_new();
	struct api_types *set = r->types = api_types_new();
	struct api_node_opts dflt = { .default_json = SPAN("\"red\"") }, nullable = { .flags = API_TYPE_NULLABLE },
			     preserve = { .flags = API_TYPE_PRESERVE }, embedded = { .flags = API_TYPE_EMBEDDED | API_TYPE_PRESERVE },
			     root = { .flags = API_TYPE_EMBEDDED };
	const struct api_type *text = api_types_scalar(set, API_STRING, NULL);
	struct api_field_spec part[] = {
		{ SPAN("name"), text, API_FIELD_REQUIRED },
		{ SPAN("count"), api_types_scalar(set, API_INT32, NULL), 0 },
	};
	const struct api_type *part_type = api_types_object(set, SPAN("part"), part, ARRAY_LEN(part), NULL);
	struct span key = SPAN("name");
	struct api_field_spec spec[] = {
		{ SPAN("size"), api_types_scalar(set, API_INT64, NULL), API_FIELD_REQUIRED },
		{ SPAN("color"), api_types_scalar(set, API_STRING, &dflt), 0 },
		{ SPAN("maybe"), api_types_scalar(set, API_STRING, &nullable), 0 },
		{ SPAN("port"), api_types_scalar(set, API_INTORSTRING, NULL), 0 },
		{ SPAN("parts"), api_types_list(set, part_type, API_LIST_MAP, &key, 1, NULL), 0 },
		{ SPAN("labels"), api_types_map(set, text, NULL), 0 },
		{ SPAN("anything"), api_types_object(set, SPAN("anything"), NULL, 0, &preserve), 0 },
		{ SPAN("inside"), api_types_object(set, SPAN("inside"), NULL, 0, &embedded), 0 },
	};
	struct api_field_spec top[] = {
		{ SPAN("spec"), api_types_object(set, SPAN("spec"), spec, ARRAY_LEN(spec), NULL), API_FIELD_REQUIRED },
		{ SPAN("status"), api_types_object(set, SPAN("status"), NULL, 0, NULL), 0 },
	};
	r->group = SPAN("stable.example.com");
	r->version = SPAN("v1");
	r->kind = SPAN("Widget");
	r->list_kind = SPAN("WidgetList");
	r->plural = SPAN("widgets");
	r->singular = SPAN("widget");
	r->namespaced = true;
	r->verbs = (1u << API_VERB_COUNT) - 1;
	r->type = api_types_object(set, SPAN("Widget"), top, ARRAY_LEN(top), &root);
	struct api_subresource *subs = arena_alloc_n(&r->arena, 2, sizeof(*subs));
	subs[0] = (struct api_subresource){ .name = SPAN("scale"), .kind = SPAN("Scale"), .group_version = SPAN("autoscaling/v1"),
					    .verbs = API_VERB_GET | API_VERB_PATCH | API_VERB_UPDATE,
					    .type = api_type_find(SPAN("autoscaling/v1.Scale")) };
	subs[1] = (struct api_subresource){ .name = SPAN("status"), .kind = SPAN("Widget"),
					    .group_version = SPAN("stable.example.com/v1"),
					    .verbs = API_VERB_GET | API_VERB_PATCH | API_VERB_UPDATE, .type = r->type };
	r->subresources = subs;
	r->n_subresources = 2;
	return r;
}

/* What the owner of a custom resource adds: here a sentence for each node and a bound. */
static inline void sample_custom(void *arg, const struct api_resource *r, const struct api_type *node, bool v3,
				 struct arena *a, struct json *schema)
{
	if (node == r->type)
		json_set(a, schema, SPAN("description"), json_cstr("A widget, as the sample has it."));
	if (api_type_kind(node) == API_INT64)
		json_set(a, schema, SPAN("minimum"), json_int(1));
	if (arg)
		++*(unsigned *)arg;
}

static inline struct api_registry *sample_registry(void)
{
	struct api_registry *old = api_registry_builtin(false);
	struct api_resource *widget = sample_widget();
	struct api_registry *r = api_registry_with(old, &widget, 1, NULL, 0);
	api_resource_unref(widget);
	api_registry_unref(old);
	return r;
}
