/* Names and amounts of resources: "cpu", "requests.storage", "example.com/gpu". */
#include "strategy/check.h"

bool check_quantity(const struct json *value, struct api_quantity *out)
{
	return json_is(value, JSON_STRING) && api_quantity_parse(json_span(value), out, NULL) == 0;
}

void check_non_negative_quantity(struct check *c, const struct path *at, const struct json *value)
{
	struct api_quantity q;
	if (check_quantity(value, &q) && api_quantity_sign(&q) < 0)
		bad_value(c, at, value, "must be greater than or equal to 0");
}

/* Resources that are counted in whole numbers (IsIntegerResourceName): objects, and what has a domain. */
bool check_is_integer_resource(struct span resource)
{
	if (check_one_of(resource, "pods services replicationcontrollers resourcequotas secrets configmaps persistentvolumeclaims "
				   "services.nodeports services.loadbalancers"))
		return true;
	if (span_chr(resource, '/') < 0 || span_has(resource, SPAN("kubernetes.io/")))
		return false;
	return !span_starts(resource, SPAN("requests.")); /* an extended resource */
}

void check_resource_value(struct check *c, const struct path *at, struct span resource, const struct json *value)
{
	check_non_negative_quantity(c, at, value);
	struct api_quantity q;
	if (check_is_integer_resource(resource) && check_quantity(value, &q) && api_quantity_milli(&q) % 1000 != 0)
		bad_typed(c, at, "resource.Quantity", value, "must be an integer");
}

void check_resource_name(struct check *c, const struct path *at, struct span name)
{
	if (!check_name(c, at, name, api_name_qualified))
		return;
	if (span_chr(name, '/') < 0 &&
	    !check_one_of(name, "cpu memory ephemeral-storage requests.cpu requests.memory requests.ephemeral-storage limits.cpu "
				"limits.memory limits.ephemeral-storage pods resourcequotas services replicationcontrollers "
				"secrets configmaps persistentvolumeclaims storage requests.storage services.nodeports "
				"services.loadbalancers") &&
	    !span_starts(name, SPAN("hugepages-")) && !span_starts(name, SPAN("requests.hugepages-")))
		bad_string(c, at, name, "must be a standard resource type or fully qualified");
}
