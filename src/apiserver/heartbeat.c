/* Both states are decoded again, their times taken out, and the rest compared: what is not known here is a difference, so a field
 * of a later version makes a write durable and never the other way round. */
#include "apiserver/heartbeat.h"

static void remove_from_items(struct json *array, struct span name)
{
	JSON_EACH_ITEM(array, item)
		(void)json_remove(item, name);
}

static void lease_times_remove(struct json *lease)
{
	(void)json_remove(json_getl(lease, "spec"), SPAN("renewTime"));
}

static void node_times_remove(struct json *node)
{
	remove_from_items(json_path(node, "status", "conditions", NULL), SPAN("lastHeartbeatTime"));
}

static bool same_but_times(struct call *c, struct span was, struct span is, void (*times_remove)(struct json *object))
{
	struct json a, b;
	auto_err struct err err = ERR_INIT;
	/* Without revisions: both get the same one. What was encoded a moment ago, or stands in the store, can be read. */
	if (object_read(&c->arena, c->res, was, 1, &a, &err) < 0 || object_read(&c->arena, c->res, is, 1, &b, &err) < 0)
		return false;
	struct json *both[] = { &a, &b };
	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		remove_from_items(json_path(both[i], "metadata", "managedFields", NULL), SPAN("time"));
		times_remove(both[i]);
	}
	return json_equal(&a, &b);
}

static enum heartbeat renewal_if(bool is)
{
	return is ? HEARTBEAT_RENEWAL : HEARTBEAT_NONE;
}

enum heartbeat heartbeat_of(struct call *c, const struct store_item *old)
{
	struct span sub = c->sub ? c->sub->name : SPAN_EMPTY;
	if (span_is(c->res->plural, "events"))
		return !sub.len && (!c->res->group.len || span_is(c->res->group, "events.k8s.io")) ? HEARTBEAT_EVENT : HEARTBEAT_NONE;
	if (!old)
		return HEARTBEAT_NONE;
	if (span_is(c->res->plural, "leases") && span_is(c->res->group, "coordination.k8s.io"))
		return renewal_if(!sub.len && same_but_times(c, bytes_span(old->value), bytes_span(c->value), lease_times_remove));
	if (span_is(c->res->plural, "nodes") && !c->res->group.len)
		return renewal_if(span_is(sub, "status") &&
				  same_but_times(c, bytes_span(old->value), bytes_span(c->value), node_times_remove));
	return HEARTBEAT_NONE;
}
