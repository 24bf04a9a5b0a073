/* Event, through both of its groups: one object with two spellings of some fields (core: involvedObject, message, source ...;
 * events.k8s.io: regarding, note, deprecatedSource ...). Complaints name the fields as core does, as upstream's do. */
#include "strategy/check.h"

/* The member of the object's own spelling. */
static const struct json *field(const struct check *c, const struct json *event, const char *core, const char *modern)
{
	return json_get(event, span_of(c->s->resource->group.len ? modern : core));
}

static void check_series(struct check *c, const struct json *event)
{
	const struct json *series = member(event, "series");
	if (!series)
		return;
	if (member_int(series, "count") < 2)
		bad_string(c, &PATH(PATH_ROOT, "series.count"), SPAN_EMPTY, "should be at least 2");
	if (!member_text(series, "lastObservedTime").len)
		bad_required(c, &PATH(PATH_ROOT, "series.lastObservedTime"), "");
}

static void check_length(struct check *c, const char *name, struct span value, bool required, size_t most)
{
	const struct path at = PATH_SPAN(PATH_ROOT, span_of(name));
	if (required && !value.len)
		bad_required(c, &at, "");
	if (value.len > most)
		bad_string(c, &at, SPAN_EMPTY, "can have at most %zu characters", most);
}

/* What every event keeps. */
static void check_legacy(struct check *c, const struct json *event)
{
	const struct path ns_at = PATH(&PATH(PATH_ROOT, "involvedObject"), "namespace");
	struct span ns = json_span(json_path(event, "metadata", "namespace", NULL));
	struct span about = member_text(field(c, event, "involvedObject", "regarding"), "namespace");
	static const char why[] = "does not match event.namespace";
	if (!member_text(event, "eventTime").len) {
		if (about.len ? !span_eq(about, ns) : ns.len && !span_is(ns, "default"))
			bad_string(c, &ns_at, about, why);
	} else {
		struct span controller = json_span(field(c, event, "reportingComponent", "reportingController"));
		const struct path controller_at = PATH(PATH_ROOT, "reportingController");
		if (!about.len && !check_one_of(ns, "default kube-system"))
			bad_string(c, &ns_at, about, why);
		if (!controller.len)
			bad_required(c, &controller_at, "");
		check_name(c, &controller_at, controller, api_name_qualified);
		check_length(c, "reportingInstance", member_text(event, "reportingInstance"), true, 128);
		check_length(c, "action", member_text(event, "action"), true, 128);
		check_length(c, "reason", member_text(event, "reason"), true, 128);
		check_length(c, "message", json_span(field(c, event, "message", "note")), false, 1024);
	}
	check_name(c, &PATH(PATH_ROOT, "namespace"), ns, api_name_dns1123_subdomain);
}

static void check_unset(struct check *c, const char *name, bool set)
{
	if (set)
		bad_string(c, &PATH_SPAN(PATH_ROOT, span_of(name)), SPAN_EMPTY, "needs to be unset");
}

static void check_modern_create(struct check *c, const struct json *event)
{
	struct span type = member_text(event, "type");
	const struct json *source = member(event, "deprecatedSource");
	check_meta(c, event, META_CORE, api_name_dns1123_subdomain);
	check_series(c, event);
	if (!member_text(event, "eventTime").len)
		bad_required(c, &PATH(PATH_ROOT, "eventTime"), "");
	if (!check_one_of(type, "Normal Warning"))
		bad_string(c, &PATH(PATH_ROOT, "type"), SPAN_EMPTY, "has invalid value: %.*s", SPAN_ARG(type));
	check_unset(c, "firstTimestamp", member_text(event, "deprecatedFirstTimestamp").len);
	check_unset(c, "lastTimestamp", member_text(event, "deprecatedLastTimestamp").len);
	check_unset(c, "count", member_int(event, "deprecatedCount"));
	check_unset(c, "source", member_text(source, "component").len || member_text(source, "host").len);
}

static void check_modern_update(struct check *c, const struct json *event, const struct json *old)
{
	static const struct { const char *core, *modern, *type; } frozen[] = {
		{ "involvedObject", "regarding", "core/v1.ObjectReference" }, { "reason", "reason", "" }, { "message", "note", "" },
		{ "source", "deprecatedSource", "core/v1.EventSource" }, { "firstTimestamp", "deprecatedFirstTimestamp", "" },
		{ "lastTimestamp", "deprecatedLastTimestamp", "" }, { "count", "deprecatedCount", "" }, { "reason", "reason", "" },
		{ "type", "type", "" }, { "eventTime", "eventTime", "" }, { "action", "action", "" },
		{ "related", "related", "*core/v1.ObjectReference" }, { "reportingController", "reportingController", "" },
		{ "reportingInstance", "reportingInstance", "" },
	};
	check_meta_update(c, event, old, META_CORE);
	if (member_changed(event, old, "series"))
		check_series(c, event);
	for (size_t i = 0; i < ARRAY_LEN(frozen); i++)
		check_immutable(c, &PATH_SPAN(PATH_ROOT, span_of(frozen[i].core)), frozen[i].type,
				json_get(event, span_of(frozen[i].modern)), json_get(old, span_of(frozen[i].modern)));
}

static void check_event(struct check *c, const struct json *event, const struct json *old)
{
	check_legacy(c, event);
	if (!c->s->resource->group.len)
		return;
	if (old)
		check_modern_update(c, event, old);
	else
		check_modern_create(c, event);
}

const struct strategy_kind strategy_kind_event = {
	.group = "", .kind = "Event", .flags = STRATEGY_CREATE_ON_UPDATE | STRATEGY_UNCONDITIONAL_UPDATE,
		.prepare = prepare_nothing,
	.check = check_event,
};
const struct strategy_kind strategy_kind_modern_event = {
	.group = "events.k8s.io", .kind = "Event", .flags = STRATEGY_CREATE_ON_UPDATE | STRATEGY_UNCONDITIONAL_UPDATE,
	.prepare = prepare_nothing, .check = check_event,
};
