/* /status: what a kubelet may report about a pod. */
#include "strategy/pod.h"

static bool may_leave_terminated(const struct json *status, struct span restart)
{
	const struct json *done = member(member(status, "state"), "terminated");
	return !done || (member_int(done, "exitCode") && span_is(restart, "OnFailure"));
}

static bool is_sidecar_status(const struct json *status, const struct json *init)
{
	JSON_EACH_ITEM(init, ctr)
		if (span_eq(member_text(ctr, "name"), member_text(status, "name")))
			return pod_is_sidecar(ctr);
	return false;
}

static void check_transitions(struct check *c, const struct path *at, const struct json *now, const struct json *was,
			      struct span restart, const struct json *init)
{
	if (span_is(restart, "Always"))
		return;
	JSON_EACH_INDEX(was, old, i) {
		if (may_leave_terminated(old, restart) || is_sidecar_status(old, init))
			continue;
		JSON_EACH_ITEM(now, s)
			if (span_eq(member_text(s, "name"), member_text(old, "name")) && !member(member(s, "state"), "terminated"))
				bad_forbidden(c, &PATH(&PATH_INDEX(at, i), "state"),
					      "may not be transitioned to non-terminated state");
	}
}

static void check_claim_statuses(struct check *c, const struct path *at, const struct json *statuses, const struct json *claims)
{
	JSON_EACH_INDEX(statuses, status, i) {
		const struct path name_at = PATH(&PATH_INDEX(at, i), "name");
		struct span name = member_text(status, "name");
		bool known = false, twice = false;
		JSON_EACH_ITEM(claims, claim)
			known |= span_eq(member_text(claim, "name"), name);
		for (uint32_t k = 0; k < i; k++)
			twice |= span_eq(member_text(&statuses->items[k], "name"), name);
		if (!known)
			bad_string(c, &name_at, name, "must match the name of an entry in `spec.resourceClaims`");
		if (twice)
			bad_duplicate_string(c, &name_at, name);
		if (member(status, "resourceClaimName"))
			check_name(c, &name_at, member_text(status, "resourceClaimName"), api_name_dns1123_subdomain);
	}
}

/* More than one address: one of each family. bad[] says what Go's list check would have failed on. */
static void check_families(struct check *c, const struct path *at, const char *go_type, const struct json *ips)
{
	bool v4 = false, v6 = false;
	JSON_EACH_ITEM(ips, item) {
		struct span ip = member_text(item, "ip");
		if (!check_is_ip(ip)) {
			bad_internal(c, at, "failed to check for dual stack with error:invalid IP: %.*s", SPAN_ARG(ip));
			v4 = v6 = false;
			break;
		}
		if (check_is_ipv6(ip))
			v6 = true;
		else
			v4 = true;
	}
	if (!(v4 && v6) || ips->n > 2)
		bad_typed(c, at, go_type, ips, "may specify no more than one IP for each IP family");
}

static void check_repeats(struct check *c, const struct path *at, const char *go_type, const struct json *ips)
{
	JSON_EACH_INDEX(ips, item, i)
		for (uint32_t k = 0; k < i; k++)
			if (span_eq(member_text(&ips->items[k], "ip"), member_text(item, "ip"))) {
				bad_duplicate_typed(c, &PATH_INDEX(at, i), go_type, item, "");
				break;
			}
}

static void check_addresses(struct check *c, const struct json *status)
{
	const struct path at = PATH(PATH_ROOT, "status"), pods_at = PATH(&at, "podIPs"), hosts_at = PATH(&at, "hostIPs");
	const struct json *pods = member(status, "podIPs"), *hosts = member(status, "hostIPs");
	JSON_EACH_INDEX(pods, item, i)
		check_ip(c, &PATH_INDEX(&pods_at, i), member_text(item, "ip"), API_IP_LEGACY);
	if (json_count(pods) > 1) {
		check_families(c, &pods_at, "[]core/v1.PodIP", pods);
		check_repeats(c, &pods_at, "core/v1.PodIP", pods);
	}
	if (!json_count(hosts))
		return;
	struct span first = member_text(&hosts->items[0], "ip");
	if (!span_eq(member_text(status, "hostIP"), first))
		bad_string(c, &PATH(&PATH_INDEX(&hosts_at, 0), "ip"), first, "must be equal to `hostIP`");
	JSON_EACH_INDEX(hosts, item, i)
		check_ip(c, &PATH_INDEX(&hosts_at, i), member_text(item, "ip"), API_IP_LEGACY);
	if (hosts->n > 1) {
		check_repeats(c, &hosts_at, "core/v1.HostIP", hosts);
		check_families(c, &hosts_at, "[]core/v1.HostIP", hosts);
	}
}

static void check_user_id(struct check *c, const struct path *at, int64_t id)
{
	struct api_complaints bad;
	if (api_user_id_check(id, &bad))
		for (unsigned i = 0; i < bad.n; i++)
			bad_int(c, at, id, "%s", bad.text[i]);
}

static void check_users(struct check *c, const struct path *at, const struct json *statuses, struct span os)
{
	JSON_EACH_INDEX(statuses, status, i) {
		const struct json *user = member(member(status, "user"), "linux");
		const struct path linux_at = PATH(&PATH_INDEX(at, i), "linux"), groups_at = PATH(&linux_at, "supplementalGroups");
		if (!user)
			continue;
		if (span_is(os, "windows")) {
			bad_forbidden(c, &linux_at, "cannot be set for a windows pod");
			continue;
		}
		if (os.len && !span_is(os, "linux"))
			continue;
		check_user_id(c, &PATH(&linux_at, "uid"), member_int(user, "uid"));
		check_user_id(c, &PATH(&linux_at, "gid"), member_int(user, "gid"));
		JSON_EACH_INDEX(member(user, "supplementalGroups"), gid, k)
			check_user_id(c, &PATH_INDEX(&groups_at, k), json_i64(gid, 0));
	}
}

static void check_condition_names(struct check *c, const struct json *conditions)
{
	const struct path at = PATH(&PATH(PATH_ROOT, "metadata"), "conditions"); /* upstream's path */
	JSON_EACH_INDEX(conditions, condition, i) {
		struct span type = member_text(condition, "type");
		if (!check_one_of(type, "PodScheduled Ready Initialized"))
			check_name(c, &PATH(&PATH_INDEX(&at, i), "Type"), type, api_name_qualified);
	}
}

void check_pod_status(struct check *c, const struct json *pod, const struct json *old)
{
	struct pod_opts opts = pod_opts_of(c->arena, member(old, "spec"), member(old, "metadata"));
	opts.is_pod = true;
	const struct json *status = member(pod, "status"), *was = member(old, "status");
	const struct json *spec = member(pod, "spec"), *old_spec = member(old, "spec");
	const struct path at = PATH(PATH_ROOT, "status"), run_at = PATH(&at, "containerStatuses");
	const struct path init_at = PATH(&at, "initContainerStatuses"), eph_at = PATH(&at, "ephemeralContainerStatuses");
	struct span restart = member_text(old_spec, "restartPolicy"), nominated = member_text(status, "nominatedNodeName");
	struct span os = member_text(member(spec, "os"), "name"), class = member_text(status, "qosClass");
	check_meta_update(c, pod, old, META_CORE);
	check_pod_annotation_update(c, pod, old, &opts);
	check_condition_names(c, member(status, "conditions"));
	if (!span_eq(member_text(spec, "nodeName"), member_text(old_spec, "nodeName")))
		bad_forbidden(c, &PATH(&at, "nodeName"), "may not be changed directly");
	if (nominated.len && !span_eq(nominated, member_text(was, "nominatedNodeName")))
		check_name(c, &PATH(&at, "nominatedNodeName"), nominated, api_name_dns1123_subdomain);
	if (!span_eq(class, member_text(was, "qosClass")))
		bad_string(c, &PATH(&at, "qosClass"), class, "field is immutable");
	check_transitions(c, &run_at, member(status, "containerStatuses"), member(was, "containerStatuses"), restart, NULL);
	check_transitions(c, &init_at, member(status, "initContainerStatuses"), member(was, "initContainerStatuses"), restart,
			  member(old_spec, "initContainers"));
	check_transitions(c, &eph_at, member(status, "ephemeralContainerStatuses"), member(was, "ephemeralContainerStatuses"),
			  SPAN("Never"), NULL);
	check_claim_statuses(c, &PATH(&at, "resourceClaimStatuses"), member(status, "resourceClaimStatuses"),
			     member(spec, "resourceClaims"));
	check_addresses(c, status);
	check_users(c, &run_at, member(status, "containerStatuses"), os);
	check_users(c, &init_at, member(status, "initContainerStatuses"), os);
	check_users(c, &eph_at, member(status, "ephemeralContainerStatuses"), os);
}
