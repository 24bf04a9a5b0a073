/* Probes and lifecycle hooks. */
#include "strategy/pod.h"

static void check_http(struct check *c, const struct path *at, const struct json *http)
{
	struct span scheme = member_text(http, "scheme");
	if (!member_text(http, "path").len)
		bad_required(c, &PATH(at, "path"), "");
	check_port_number_or_name(c, &PATH(at, "port"), member(http, "port"));
	if (!check_one_of(scheme, "HTTP HTTPS"))
		bad_choice(c, &PATH(at, "scheme"), scheme, "HTTP HTTPS");
	JSON_EACH_ITEM(member(http, "httpHeaders"), header)
		check_name(c, &PATH(at, "httpHeaders"), member_text(header, "name"), api_name_http_header);
}

/* One way and no more; what stands behind the first is only counted. */
static void check_handler(struct pod_view *v, const struct path *at, const struct json *handler)
{
	static const char *const ways[] = { "exec", "httpGet", "tcpSocket", "grpc", "sleep" };
	struct check *c = v->c;
	bool found = false;
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		const struct json *way = json_get(handler, span_of(ways[i]));
		const struct path item = PATH_SPAN(at, span_of(ways[i]));
		if (!way)
			continue;
		if (found) {
			bad_forbidden(c, &item, "may not specify more than 1 handler type");
			continue;
		}
		found = true;
		switch (i) {
		case 0:
			if (!json_count(member(way, "command")))
				bad_required(c, &PATH(&item, "command"), "");
			break;
		case 1:
			check_http(c, &item, way);
			break;
		case 2:
			check_port_number_or_name(c, &PATH(&item, "port"), member(way, "port"));
			break;
		case 3:
			check_port(c, &PATH(&item, "port"), member_int(way, "port"));
			break;
		default:
			if (v->grace && (member_int(way, "seconds") < 0 || member_int(way, "seconds") > json_i64(v->grace, 0)))
				bad_int(c, &item, member_int(way, "seconds"), "must be non-negative and less than "
					"terminationGracePeriodSeconds (%lld)", (long long)json_i64(v->grace, 0));
		}
	}
	if (!found)
		bad_required(c, at, "must specify a handler type");
}

static void check_probe(struct pod_view *v, const struct path *at, const struct json *probe)
{
	static const char *const counts[] = {
		"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold",
	};
	struct check *c = v->c;
	const struct json *grace = member(probe, "terminationGracePeriodSeconds");
	check_handler(v, at, probe);
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		check_non_negative(c, &PATH_SPAN(at, span_of(counts[i])), json_get(probe, span_of(counts[i])));
	if (grace && json_i64(grace, 0) <= 0)
		bad_value(c, &PATH(at, "terminationGracePeriodSeconds"), grace, "must be greater than 0");
}

void check_pod_probes(struct pod_view *v, const struct path *at, const struct json *container)
{
	static const char *const hooks[] = { "postStart", "preStop" };
	static const char *const probes[] = { "livenessProbe", "readinessProbe", "startupProbe" };
	struct check *c = v->c;
	const struct json *lifecycle = member(container, "lifecycle");
	const struct path life = PATH(at, "lifecycle");
	for (size_t i = 0; i < ARRAY_LEN(hooks); i++)
		if (json_get(lifecycle, span_of(hooks[i])))
			check_handler(v, &PATH_SPAN(&life, span_of(hooks[i])), json_get(lifecycle, span_of(hooks[i])));
	for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
		const struct json *probe = json_get(container, span_of(probes[i]));
		const struct path item = PATH_SPAN(at, span_of(probes[i]));
		if (!probe)
			continue;
		check_probe(v, &item, probe);
		if (i == 1) {
			if (member(probe, "terminationGracePeriodSeconds"))
				bad_value(c, &PATH(&item, "terminationGracePeriodSeconds"),
					  member(probe, "terminationGracePeriodSeconds"), "must not be set for readinessProbes");
		} else if (member_int(probe, "successThreshold") != 1) {
			bad_int(c, &PATH(&item, "successThreshold"), member_int(probe, "successThreshold"), "must be 1");
		}
	}
}
