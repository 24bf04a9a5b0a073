/* Containers of the three kinds: names, images, ports, and what each kind may not have. */
#include "strategy/pod.h"

static const char once[] = "may not be set for init containers without restartPolicy=Always";

void check_pod_pull_policy(struct check *c, const struct path *at, struct span policy)
{
	if (!policy.len)
		bad_required(c, at, "");
	else if (!check_one_of(policy, "Always IfNotPresent Never"))
		bad_choice(c, at, policy, "Always IfNotPresent Never");
}

static bool name_in(const struct json *list, uint32_t before, struct span name)
{
	for (uint32_t i = 0; i < before && i < json_count(list); i++)
		if (span_eq(member_text(&list->items[i], "name"), name))
			return true;
	return false;
}

static void check_ports(struct check *c, const struct path *at, const struct json *ports)
{
	JSON_EACH_INDEX(ports, port, i) {
		const struct path item = PATH_INDEX(at, i);
		struct span name = member_text(port, "name"), protocol = member_text(port, "protocol");
		int64_t number = member_int(port, "containerPort"), host = member_int(port, "hostPort");
		if (name.len && check_name(c, &PATH(&item, "name"), name, api_name_port) && name_in(ports, i, name))
			bad_duplicate_string(c, &PATH(&item, "name"), name);
		if (!number)
			bad_required(c, &PATH(&item, "containerPort"), "");
		else
			check_port(c, &PATH(&item, "containerPort"), number);
		if (host)
			check_port(c, &PATH(&item, "hostPort"), host);
		if (!protocol.len)
			bad_required(c, &PATH(&item, "protocol"), "");
		else if (!check_one_of(protocol, "SCTP TCP UDP"))
			bad_choice(c, &PATH(&item, "protocol"), protocol, "SCTP TCP UDP");
	}
}

static void check_resize_policy(struct pod_view *v, const struct path *at, const struct json *policies)
{
	struct check *c = v->c;
	JSON_EACH_INDEX(policies, p, i) {
		struct span name = member_text(p, "resourceName"), policy = member_text(p, "restartPolicy");
		for (uint32_t k = 0; k < i; k++)
			if (span_eq(member_text(&policies->items[k], "resourceName"), name)) {
				bad_duplicate_string(c, &PATH_INDEX(at, i), name);
				break;
			}
		if (!name.len)
			bad_required(c, at, "");
		else if (!check_one_of(name, "cpu memory"))
			bad_choice(c, at, name, "cpu memory");
		if (!policy.len)
			bad_required(c, at, "");
		else if (!check_one_of(policy, "NotRequired RestartContainer"))
			bad_choice(c, at, policy, "NotRequired RestartContainer");
		if (span_is(member_text(v->spec, "restartPolicy"), "Never") && !span_is(policy, "NotRequired"))
			bad_string(c, at, policy, "must be 'NotRequired' when `restartPolicy` is 'Never'");
	}
}

/* validateContainerCommon */
static void check_common(struct pod_view *v, const struct path *at, const struct json *ctr)
{
	struct check *c = v->c;
	struct span name = member_text(ctr, "name"), policy = member_text(ctr, "terminationMessagePolicy");
	if (!name.len)
		bad_required(c, &PATH(at, "name"), "");
	else
		check_name(c, &PATH(at, "name"), name, api_name_dns1123_label);
	if (!member_text(ctr, "image").len)
		bad_required(c, &PATH(at, "image"), "");
	if (!policy.len)
		bad_required(c, &PATH(at, "terminationMessagePolicy"), "");
	else if (!check_one_of(policy, "File FallbackToLogsOnError"))
		bad_choice(c, &PATH(at, "terminationMessagePolicy"), policy, "File FallbackToLogsOnError");
	check_ports(c, &PATH(at, "ports"), member(ctr, "ports"));
	check_pod_env(v, at, ctr);
	check_pod_mounts(v, at, ctr);
	check_pod_pull_policy(c, &PATH(at, "imagePullPolicy"), member_text(ctr, "imagePullPolicy"));
	check_pod_resources(v, &PATH(at, "resources"), member(ctr, "resources"));
	check_resize_policy(v, &PATH(at, "resizePolicy"), member(ctr, "resizePolicy"));
	check_pod_container_security(v, &PATH(at, "securityContext"), member(ctr, "securityContext"));
}

/* Host ports, as "TCP/10.0.0.1/80". Those of init containers are looked at one container at a time. */
static void check_host_ports(struct check *c, const struct path *list_at, const struct json *list, uint32_t n)
{
	auto_map struct map seen = {};
	for (uint32_t i = 0; i < n; i++) {
		const struct path ports = PATH(&PATH_INDEX(list_at, i), "ports");
		JSON_EACH_INDEX(member(&list[i], "ports"), port, k) {
			int64_t host = member_int(port, "hostPort");
			if (!host)
				continue;
			struct span protocol = member_text(port, "protocol"), ip = member_text(port, "hostIP");
			struct span key = arena_printf(c->arena, "%.*s/%.*s/%lld", SPAN_ARG(protocol), SPAN_ARG(ip),
						       (long long)host);
			if (map_get(&seen, key))
				bad_duplicate_string(c, &PATH(&PATH_INDEX(&ports, k), "hostPort"), key);
			else
				map_put(&seen, key, &seen);
		}
	}
}

static void check_regular(struct pod_view *v, const struct path *at, const struct json *list)
{
	struct check *c = v->c;
	if (!json_count(list)) {
		bad_required(c, at, "");
		return;
	}
	JSON_EACH_INDEX(list, ctr, i) {
		const struct path item = PATH_INDEX(at, i);
		check_common(v, &item, ctr);
		if (name_in(list, i, member_text(ctr, "name")))
			bad_duplicate_string(c, &PATH(&item, "name"), member_text(ctr, "name"));
		check_pod_probes(v, &item, ctr);
		if (member(ctr, "restartPolicy"))
			bad_forbidden(c, &PATH(&item, "restartPolicy"), "may not be set for non-init containers");
	}
	check_host_ports(c, at, list->items, list->n);
}

static void check_init(struct pod_view *v, const struct path *at, const struct json *list)
{
	static const char *const not_once[] = { "lifecycle", "livenessProbe", "readinessProbe", "startupProbe" };
	struct check *c = v->c;
	const struct json *regular = member(v->spec, "containers");
	JSON_EACH_INDEX(list, ctr, i) {
		const struct path item = PATH_INDEX(at, i);
		const struct json *policy = member(ctr, "restartPolicy");
		struct span name = member_text(ctr, "name");
		check_common(v, &item, ctr);
		check_choice(c, &PATH(&item, "restartPolicy"), policy, "Always");
		/* An empty name is one of the regular containers' when one of those is empty too. */
		if (name_in(regular, json_count(regular), name) || (name.len && name_in(list, i, name)))
			bad_duplicate_string(c, &PATH(&item, "name"), name);
		check_host_ports(c, at, ctr, 1);
		if (pod_is_sidecar(ctr)) {
			check_pod_probes(v, &item, ctr);
			continue;
		}
		for (size_t k = 0; k < ARRAY_LEN(not_once); k++)
			if (json_get(ctr, span_of(not_once[k])))
				bad_forbidden(c, &PATH_SPAN(&item, span_of(not_once[k])), "%s", once);
	}
}

/* ---- ephemeral containers: a list of what they may have, so that new fields are thought about */
static void check_allowed(struct check *c, const struct path *at, const struct json *ctr)
{
	static const char *const refused[] = {
		"ports",	 "resources",	   "resizePolicy", "restartPolicy",
		"livenessProbe", "readinessProbe", "startupProbe", "lifecycle",
	};
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		const struct json *m = json_get(ctr, span_of(refused[i]));
		bool set = m && (m->kind != JSON_ARRAY || m->n);
		if (span_is(span_of(refused[i]), "resources"))
			set = json_count(member(m, "limits")) || json_count(member(m, "requests")) ||
			      json_count(member(m, "claims"));
		if (set)
			bad_forbidden(c, &PATH_SPAN(at, span_of(refused[i])), "cannot be set for an Ephemeral Container");
	}
}

static void check_image_blanks(struct check *c, const struct path *at, const struct json *ctr)
{
	struct span image = member_text(ctr, "image");
	if (span_trim(image).len != image.len)
		bad_string(c, &PATH(at, "image"), image, "must not have leading or trailing whitespace");
}

static void check_ephemeral(struct pod_view *v, const struct path *at, const struct json *list)
{
	struct check *c = v->c;
	const struct json *regular = member(v->spec, "containers"), *init = member(v->spec, "initContainers");
	JSON_EACH_INDEX(list, ctr, i) {
		const struct path item = PATH_INDEX(at, i);
		struct span name = member_text(ctr, "name"), target = member_text(ctr, "targetContainerName");
		check_common(v, &item, ctr);
		check_image_blanks(c, &item, ctr);
		if (name_in(regular, json_count(regular), name) || name_in(init, json_count(init), name) || name_in(list, i, name))
			bad_duplicate_string(c, &PATH(&item, "name"), name);
		if (target.len && !name_in(regular, json_count(regular), target) && !name_in(init, json_count(init), target))
			bad_not_found(c, &PATH(&item, "targetContainerName"), target);
		check_allowed(c, &item, ctr);
		const struct path mounts = PATH(&item, "volumeMounts");
		JSON_EACH_INDEX(member(ctr, "volumeMounts"), mount, k) {
			static const char *const subs[] = { "subPath", "subPathExpr" };
			for (size_t s = 0; s < ARRAY_LEN(subs); s++)
				if (member_text(mount, subs[s]).len)
					bad_forbidden(c, &PATH_SPAN(&PATH_INDEX(&mounts, k), span_of(subs[s])),
						      "cannot be set for an Ephemeral Container");
		}
	}
}

void check_pod_containers(struct pod_view *v, const struct path *spec_at)
{
	check_regular(v, &PATH(spec_at, "containers"), member(v->spec, "containers"));
	check_init(v, &PATH(spec_at, "initContainers"), member(v->spec, "initContainers"));
	check_ephemeral(v, &PATH(spec_at, "ephemeralContainers"), member(v->spec, "ephemeralContainers"));
}
