/* A pod's spec as a whole, templates, annotations, and what an update may keep. */
#include "strategy/pod.h"

/* ---- annotations */
static bool is_cost(struct span s)
{
	int64_t n;
	if (!s.len || !(s.ptr[0] == '-' || span_is(s, "0") || (s.ptr[0] >= '1' && s.ptr[0] <= '9')))
		return false;
	return span_to_i64(s, &n) && n >= INT32_MIN && n <= INT32_MAX;
}

bool pod_deletion_cost_is_good(const struct json *annotations)
{
	const struct json *cost = json_getl(annotations, "controller.kubernetes.io/pod-deletion-cost");
	return !cost || is_cost(json_span(cost));
}

static void check_seccomp_annotation(struct check *c, const struct path *at, struct span profile)
{
	if (check_one_of(profile, "runtime/default docker/default unconfined"))
		return;
	if (span_starts(profile, SPAN("localhost/")))
		check_pod_local_path(c, at, span_from(profile, strlen("localhost/")));
	else
		bad_string(c, at, profile, "must be a valid seccomp profile");
}

static void check_apparmor_annotation(struct check *c, const struct path *at, struct span container, struct span profile,
				      const struct json *spec)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	bool found = false;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_get(spec, span_of(lists[i])), ctr)
			found |= span_eq(member_text(ctr, "name"), container);
	if (!found)
		bad_string(c, at, container, "container not found");
	if (profile.len && !check_one_of(profile, "runtime/default unconfined") && !span_starts(profile, SPAN("localhost/"))) {
		auto_buf struct buf quoted = {};
		api_go_quote(&quoted, profile);
		bad_string(c, at, profile, "invalid AppArmor profile name: %s", buf_cstr(&quoted));
	}
}

/* Tolerations in an annotation, as JSON: alpha of 2016, still checked. */
static void check_toleration_annotation(struct check *c, const struct path *at, struct span text)
{
	static const struct span name = SPAN_INIT("scheduler.alpha.kubernetes.io/tolerations");
	auto_err struct err err = ERR_INIT;
	const struct api_type *type = api_type_find(SPAN("core/v1.Toleration"));
	struct json list;
	if (!text.len)
		return;
	if (json_parse(c->arena, text, JSON_DUPLICATES_LAST, NULL, &list, &err) < 0) {
		bad_string(c, at, name, "%s", err_msg(&err));
		return;
	}
	if (!json_is(&list, JSON_ARRAY)) {
		if (list.kind != JSON_NULL)
			bad_string(c, at, name, "json: cannot unmarshal %s into Go value of type []core.Toleration",
				   list.kind == JSON_OBJECT ? "object" : list.kind == JSON_STRING ? "string" :
				   list.kind == JSON_BOOL ? "bool" : "number");
		return;
	}
	JSON_EACH_ITEM(&list, item)
		if (api_decode_tree(c->arena, type, item, NULL, &err) < 0) {
			bad_string(c, at, name, "%s", err_msg(&err));
			return;
		}
	check_pod_tolerations(c, &PATH_SPAN(at, name), &list);
}

void check_pod_annotations(struct check *c, const struct path *at, const struct json *annotations, const struct json *spec,
			   const struct pod_opts *opts)
{
	struct span mirror_key = SPAN("kubernetes.io/config.mirror"), cost_key = SPAN("controller.kubernetes.io/pod-deletion-cost");
	struct span pod_key = SPAN("seccomp.security.alpha.kubernetes.io/pod");
	struct span seccomp = SPAN("container.seccomp.security.alpha.kubernetes.io/");
	struct span apparmor = SPAN("container.apparmor.security.beta.kubernetes.io/");
	const struct json *mirror = json_get(annotations, mirror_key), *pod = json_get(annotations, pod_key);
	if (mirror && !member_text(spec, "nodeName").len)
		bad_value(c, &PATH_KEY(at, mirror_key), mirror, "must set spec.nodeName if mirror pod annotation is set");
	check_toleration_annotation(c, at, json_span(json_getl(annotations, "scheduler.alpha.kubernetes.io/tolerations")));
	if (!opts->lax_deletion_cost && !pod_deletion_cost_is_good(annotations))
		bad_value(c, &PATH_KEY(at, cost_key), json_get(annotations, cost_key), "must be a 32bit integer");
	if (pod)
		check_seccomp_annotation(c, &PATH_SPAN(at, pod_key), json_span(pod));
	JSON_EACH_MEMBER(annotations, m)
		if (span_starts(json_key(m), seccomp))
			check_seccomp_annotation(c, &PATH_SPAN(at, json_key(m)), json_span(&m->value));
	JSON_EACH_MEMBER(annotations, m)
		if (span_starts(json_key(m), apparmor))
			check_apparmor_annotation(c, &PATH_KEY(at, json_key(m)), span_from(json_key(m), apparmor.len),
						  json_span(&m->value), spec);
}

/* ---- name service */
static void check_dns(struct check *c, const struct path *at, const struct json *spec)
{
	const struct json *config = member(spec, "dnsConfig"), *servers = member(config, "nameservers");
	const struct json *searches = member(config, "searches");
	const struct path servers_at = PATH(at, "nameservers"), searches_at = PATH(at, "searches"),
			  options_at = PATH(at, "options");
	if (span_is(member_text(spec, "dnsPolicy"), "None")) {
		if (!config) {
			bad_required(c, at, "must provide `dnsConfig` when `dnsPolicy` is None");
			return;
		}
		if (!json_count(servers)) {
			bad_required(c, &servers_at, "must provide at least one DNS nameserver when `dnsPolicy` is None");
			return;
		}
	}
	if (json_count(servers) > 3)
		bad_typed(c, &servers_at, "[]string", servers, "must not have more than 3 nameservers");
	JSON_EACH_INDEX(servers, ip, i)
		check_ip(c, &PATH_INDEX(&servers_at, i), json_span(ip), API_IP_LEGACY);
	size_t chars = json_count(searches) ? json_count(searches) - 1 : 0;
	JSON_EACH_ITEM(searches, search)
		chars += json_span(search).len;
	if (json_count(searches) > 32)
		bad_typed(c, &searches_at, "[]string", searches, "must not have more than 32 search paths");
	if (chars > 2048)
		bad_typed(c, &searches_at, "[]string", searches,
			  "must not have more than 2048 characters (including spaces) in the search list");
	JSON_EACH_INDEX(searches, search, i) {
		struct span s = json_span(search);
		if (span_is(s, "."))
			continue;
		if (span_ends(s, SPAN(".")))
			s.len--;
		check_name(c, &PATH_INDEX(&searches_at, i), s, api_name_dns1123_subdomain_underscore);
	}
	JSON_EACH_INDEX(member(config, "options"), option, i)
		if (!member_text(option, "name").len)
			bad_required(c, &PATH_INDEX(&options_at, i), "must not be empty");
}

/* ---- small parts */
static void check_needed_choice(struct check *c, const struct path *at, struct span value, const char *choices)
{
	if (!value.len)
		bad_required(c, at, "");
	else if (!check_one_of(value, choices))
		bad_choice(c, at, value, choices);
}

static void check_host_network_ports(struct pod_view *v, const struct path *spec_at)
{
	if (!member_true(v->spec, "hostNetwork"))
		return;
	const struct path list = PATH(spec_at, "containers");
	JSON_EACH_INDEX(member(v->spec, "containers"), ctr, i) {
		const struct path ports = PATH(&PATH_INDEX(&list, i), "ports");
		JSON_EACH_INDEX(member(ctr, "ports"), port, k) {
			int64_t host = member_int(port, "hostPort");
			if ((v->opts->is_pod || host) && host != member_int(port, "containerPort"))
				bad_int(v->c, &PATH(&PATH_INDEX(&ports, k), "hostPort"), host,
					"must match `containerPort` when `hostNetwork` is true");
		}
	}
}

static void check_gates(struct pod_view *v, const struct path *spec_at)
{
	const struct path ready_at = PATH(spec_at, "readinessGates"), gates_at = PATH(spec_at, "schedulingGates");
	const struct json *gates = member(v->spec, "schedulingGates");
	JSON_EACH_INDEX(member(v->spec, "readinessGates"), gate, i)
		check_name(v->c, &PATH(&PATH_INDEX(&ready_at, i), "conditionType"), member_text(gate, "conditionType"),
			   api_name_qualified);
	JSON_EACH_INDEX(gates, gate, i) {
		struct span name = member_text(gate, "name");
		bool twice = false;
		for (uint32_t k = 0; k < i; k++)
			twice |= span_eq(member_text(&gates->items[k], "name"), name);
		check_name(v->c, &PATH_INDEX(&gates_at, i), name, api_name_qualified);
		if (twice)
			bad_duplicate_string(v->c, &PATH_INDEX(&gates_at, i), name);
	}
}

static void check_host_users(struct pod_view *v, const struct path *spec_at)
{
	static const char why[] = "when `pod.Spec.HostUsers` is false";
	if (v->host_users)
		return;
	if (member_true(v->spec, "hostNetwork"))
		bad_forbidden(v->c, &PATH(spec_at, "hostNetwork"), "%s", why);
	if (member_true(v->spec, "hostPID"))
		bad_forbidden(v->c, &PATH(spec_at, "HostPID"), "%s", why);
	if (member_true(v->spec, "hostIPC"))
		bad_forbidden(v->c, &PATH(spec_at, "HostIPC"), "%s", why);
}

static void check_given_name(struct pod_view *v, const struct path *spec_at, const char *name, api_name_fn *rule)
{
	struct span value = member_text(v->spec, name);
	if (value.len)
		check_name(v->c, &PATH_SPAN(spec_at, span_of(name)), value, rule);
}

static void check_host_aliases(struct check *c, const struct path *at, const struct json *aliases)
{
	JSON_EACH_INDEX(aliases, alias, i) {
		const struct path item = PATH_INDEX(at, i), names = PATH(&item, "hostnames");
		check_ip(c, &PATH(&item, "ip"), member_text(alias, "ip"), API_IP_LEGACY);
		JSON_EACH_INDEX(member(alias, "hostnames"), name, k)
			check_name(c, &PATH_INDEX(&names, k), json_span(name), api_name_dns1123_subdomain);
	}
}

/* ---- ValidatePodSpec, in its order */
void check_pod_spec(struct check *c, const struct path *at, const struct json *spec, const struct json *meta,
		    const struct pod_opts *opts)
{
	struct pod_view v = {
		.c = c, .opts = opts, .spec = spec, .meta = meta,
		.grace = member(spec, "terminationGracePeriodSeconds"),
		.host_users = json_truth(member(spec, "hostUsers"), true),
	};
	const struct json *deadline = member(spec, "activeDeadlineSeconds"), *class = member(spec, "runtimeClassName");
	const struct json *preemption = member(spec, "preemptionPolicy");
	if (!v.grace)
		bad_required(c, &PATH(at, "terminationGracePeriodSeconds"), "");
	check_pod_volumes(&v, &PATH(at, "volumes"));
	check_pod_claims(&v, &PATH(at, "resourceClaims"));
	check_pod_containers(&v, at);
	check_host_network_ports(&v, at);
	check_needed_choice(c, &PATH(at, "restartPolicy"), member_text(spec, "restartPolicy"), "Always OnFailure Never");
	check_needed_choice(c, &PATH(at, "dnsPolicy"), member_text(spec, "dnsPolicy"),
			    "ClusterFirstWithHostNet ClusterFirst Default None");
	check_labels(c, &PATH(at, "nodeSelector"), member(spec, "nodeSelector"));
	check_pod_security(&v, at);
	check_pod_affinity(&v, &PATH(at, "affinity"), member(spec, "affinity"));
	check_dns(c, &PATH(at, "dnsConfig"), spec);
	check_gates(&v, at);
	check_pod_spread(&v, &PATH(at, "topologySpreadConstraints"), member(spec, "topologySpreadConstraints"));
	check_pod_windows_host_process(&v, at);
	check_host_users(&v, at);
	check_given_name(&v, at, "serviceAccountName", api_name_dns1123_subdomain);
	check_given_name(&v, at, "nodeName", api_name_dns1123_subdomain);
	if (deadline && (json_i64(deadline, 0) < 1 || json_i64(deadline, 0) > INT32_MAX))
		bad_value(c, &PATH(at, "activeDeadlineSeconds"), deadline, "must be between 1 and 2147483647, inclusive");
	check_given_name(&v, at, "hostname", api_name_dns1123_label);
	check_given_name(&v, at, "subdomain", api_name_dns1123_label);
	check_pod_tolerations(c, &PATH(at, "tolerations"), member(spec, "tolerations"));
	check_host_aliases(c, &PATH(at, "hostAliases"), member(spec, "hostAliases"));
	check_given_name(&v, at, "priorityClassName", api_name_dns1123_subdomain);
	if (class)
		check_name(c, &PATH(at, "runtimeClassName"), json_span(class), api_name_dns1123_subdomain);
	if (preemption)
		check_needed_choice(c, &PATH(at, "preemptionPolicy"), json_span(preemption), "PreemptLowerPriority Never");
	check_pod_overhead(c, &PATH(at, "overhead"), member(spec, "overhead"), opts);
	check_pod_os(&v, at);
}

void check_pod_template(struct check *c, const struct path *at, const struct json *template, const struct pod_opts *opts)
{
	const struct json *meta = member(template, "metadata"), *spec = member(template, "spec");
	const struct path spec_at = PATH(at, "spec"), annotations_at = PATH(at, "annotations");
	check_labels(c, &PATH(at, "labels"), member(meta, "labels"));
	check_annotations(c, &annotations_at, member(meta, "annotations"));
	check_pod_annotations(c, &annotations_at, member(meta, "annotations"), spec, opts);
	check_pod_spec(c, &spec_at, spec, NULL, opts);
	check_pod_profiles(c, &spec_at, meta, spec);
	if (json_count(member(spec, "ephemeralContainers")))
		bad_forbidden(c, &PATH(&spec_at, "ephemeralContainers"), "ephemeral containers not allowed in pod template");
}

/* ---- GetValidationOptionsFromPodSpecAndMeta: what the stored object has already stays allowed */
static bool has_odd_huge_page(const struct json *list)
{
	JSON_EACH_MEMBER(list, m)
		if (pod_is_huge_page(json_key(m)) && !pod_huge_page_fits(json_key(m), &m->value))
			return true;
	return false;
}

static bool odd_huge_pages(const struct json *spec)
{
	static const char *const lists[] = { "initContainers", "containers" };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_get(spec, span_of(lists[i])), ctr) {
			const struct json *r = member(ctr, "resources");
			if (has_odd_huge_page(member(r, "limits")) || has_odd_huge_page(member(r, "requests")))
				return true;
		}
	return has_odd_huge_page(member(spec, "overhead"));
}

static bool bad_selector_in(const struct json *terms, const char *within)
{
	JSON_EACH_ITEM(terms, t) {
		const struct json *term = within ? json_get(t, span_of(within)) : t;
		if (check_selector_has_bad_value(member(term, "labelSelector")) ||
		    check_selector_has_bad_value(member(term, "namespaceSelector")))
			return true;
	}
	return false;
}

static bool bad_affinity_selector(const struct json *affinity)
{
	static const char *const kinds[] = { "podAffinity", "podAntiAffinity" };
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct json *a = json_get(affinity, span_of(kinds[i]));
		if (bad_selector_in(member(a, "requiredDuringSchedulingIgnoredDuringExecution"), NULL) ||
		    bad_selector_in(member(a, "preferredDuringSchedulingIgnoredDuringExecution"), "podAffinityTerm"))
			return true;
	}
	return false;
}

/* Runs a check for its answer alone. */
static bool complains(struct arena *a, void (*fn)(struct check *c, const struct json *value), const struct json *value)
{
	struct check c = { .arena = a, .err = ERR_INIT };
	fn(&c, value);
	bool any = c.n > 0;
	err_done(&c.err);
	return any;
}

static void try_spread(struct check *c, const struct json *constraint)
{
	check_label_selector(c, PATH_ROOT, member(constraint, "labelSelector"), false);
}

static void try_token_path(struct check *c, const struct json *source)
{
	check_pod_nonreserved_path(c, PATH_ROOT, member_text(member(source, "serviceAccountToken"), "path"));
}

struct pod_opts pod_opts_of(struct arena *a, const struct json *old_spec, const struct json *old_meta)
{
	struct pod_opts o = {};
	if (old_meta)
		o.lax_deletion_cost = !pod_deletion_cost_is_good(member(old_meta, "annotations"));
	if (!old_spec)
		return o;
	const struct json *sc = member(old_spec, "securityContext"), *affinity = member(old_spec, "affinity");
	o.lax_huge_pages = odd_huge_pages(old_spec);
	o.lax_selector_values = bad_affinity_selector(affinity);
	o.lax_node_affinity_values = check_node_selector_has_bad_value(
		json_path(affinity, "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", NULL));
	o.lax_host_sysctls = json_count(member(sc, "sysctls")) &&
			     (member_true(old_spec, "hostNetwork") || member_true(old_spec, "hostIPC"));
	o.any_selinux_policy = member(sc, "seLinuxChangePolicy");
	JSON_EACH_ITEM(member(old_spec, "topologySpreadConstraints"), one)
		o.lax_spread_selector |= complains(a, try_spread, one);
	JSON_EACH_ITEM(member(old_spec, "volumes"), volume)
		JSON_EACH_ITEM(member(member(volume, "projected"), "sources"), source)
			if (member(source, "serviceAccountToken"))
				o.lax_token_path |= complains(a, try_token_path, source);
	return o;
}

struct pod_opts pod_opts_of_template(struct arena *a, const struct json *old_template)
{
	return pod_opts_of(a, member(old_template, "spec"), member(old_template, "metadata"));
}
