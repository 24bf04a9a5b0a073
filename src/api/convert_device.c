/* resource.k8s.io: v1beta1 is what is stored, v1beta2 and v1alpha3 are converted, as pkg/apis/resource of Kubernetes 1.33 does.
 *
 *     v1alpha3                     v1beta1 (stored)                       v1beta2
 *     capacity: {NAME: "1Gi"}      capacity: {NAME: {value: "1Gi"}}       the same
 *     requests: [{name, CLASS..}]  the same                               requests: [{name, exactly: {CLASS..}}]
 *     devices: [{name, basic: {}}] the same                               devices: [{name, attributes ..}]
 *
 * Classes have one shape in all of them. */
#include "api/convert_private.h"

static const char *const request_fields[] = { "deviceClassName", "selectors", "allocationMode", "count", "adminAccess",
					      "tolerations" };
static const char *const device_fields[] = { "attributes", "capacity", "consumesCounters", "nodeName", "nodeSelector", "allNodes",
					     "taints" };

static void move(struct arena *a, struct json *to, struct json *from, const char *name)
{
	const struct json *v = json_get(from, span_of(name));
	if (!v)
		return;
	struct json value = *v;
	(void)json_remove(from, span_of(name));
	(void)json_set(a, to, span_of(name), value);
}

/* ---- requests: of a claim's spec */

static void requests_nest(struct arena *a, struct json *spec)
{
	JSON_EACH_ITEM(json_path(spec, "devices", "requests", NULL), request) {
		struct json exactly = json_object();
		for (size_t i = 0; i < ARRAY_LEN(request_fields); i++)
			move(a, &exactly, request, request_fields[i]);
		if (exactly.n == 1 && json_is(json_getl(&exactly, "deviceClassName"), JSON_STRING) && !exactly.members[0].value.n)
			continue; /* the empty name alone: none of these fields is set */
		if (exactly.n)
			(void)json_setl(a, request, "exactly", exactly);
	}
}

static void requests_flatten(struct arena *a, struct json *spec)
{
	JSON_EACH_ITEM(json_path(spec, "devices", "requests", NULL), request) {
		struct json *exactly = json_getl(request, "exactly");
		if (!exactly)
			continue;
		struct json was = *exactly;
		(void)json_remove(request, SPAN("exactly"));
		for (size_t i = 0; i < ARRAY_LEN(request_fields); i++)
			move(a, request, &was, request_fields[i]);
	}
}

void api_convert_claim_to_v1beta2(struct arena *a, struct json *claim)
{
	requests_nest(a, json_getl(claim, "spec"));
}

void api_convert_claim_from_v1beta2(struct arena *a, struct json *claim)
{
	requests_flatten(a, json_getl(claim, "spec"));
}

void api_convert_template_to_v1beta2(struct arena *a, struct json *template)
{
	requests_nest(a, json_path(template, "spec", "spec", NULL));
}

void api_convert_template_from_v1beta2(struct arena *a, struct json *template)
{
	requests_flatten(a, json_path(template, "spec", "spec", NULL));
}

/* ---- slices */

void api_convert_slice_to_v1beta2(struct arena *a, struct json *slice)
{
	JSON_EACH_ITEM(json_path(slice, "spec", "devices", NULL), device) {
		struct json *basic = json_getl(device, "basic");
		if (!basic)
			continue;
		struct json was = *basic;
		(void)json_remove(device, SPAN("basic"));
		for (size_t i = 0; i < ARRAY_LEN(device_fields); i++)
			move(a, device, &was, device_fields[i]);
	}
}

/* What is a pointer in v1beta2 is none in v1beta1: an explicit "" or false is the same as nothing. */
static void drop_empty(struct json *object, const char *name)
{
	const struct json *v = json_get(object, span_of(name));
	if ((json_is(v, JSON_STRING) && !v->n) || (v && !json_truth(v, true)))
		(void)json_remove(object, span_of(name));
}

void api_convert_slice_from_v1beta2(struct arena *a, struct json *slice)
{
	struct json *spec = json_getl(slice, "spec");
	drop_empty(spec, "nodeName");
	drop_empty(spec, "allNodes");
	JSON_EACH_ITEM(json_getl(spec, "devices"), device) {
		struct json basic = json_object();
		for (size_t i = 0; i < ARRAY_LEN(device_fields); i++)
			move(a, &basic, device, device_fields[i]);
		(void)json_setl(a, device, "basic", basic);
	}
}

static void capacities(struct arena *a, struct json *slice, bool wrap)
{
	JSON_EACH_ITEM(json_path(slice, "spec", "devices", NULL), device)
		JSON_EACH_MEMBER(json_path(device, "basic", "capacity", NULL), m) {
			struct json value = m->value, *inner = json_getl(&m->value, "value");
			if (wrap) {
				m->value = json_object();
				(void)json_setl(a, &m->value, "value", value);
			} else {
				m->value = inner ? *inner : json_cstr("0");
			}
		}
}

void api_convert_slice_to_v1alpha3(struct arena *a, struct json *slice)
{
	capacities(a, slice, false);
}

void api_convert_slice_from_v1alpha3(struct arena *a, struct json *slice)
{
	capacities(a, slice, true);
}
