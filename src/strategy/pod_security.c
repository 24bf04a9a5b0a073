/* Security contexts of pods and containers: users and groups, seccomp, AppArmor, sysctls, Windows, and what goes with which
 * system. */
#include "strategy/pod.h"

/* ---- profiles */
static void check_seccomp(struct check *c, const struct path *at, const struct json *profile)
{
	if (!profile)
		return;
	struct span type = member_text(profile, "type");
	const struct json *local = member(profile, "localhostProfile");
	if (!type.len)
		bad_required(c, &PATH(at, "type"), "type is required when seccompProfile is set");
	else if (!check_one_of(type, "Localhost RuntimeDefault Unconfined"))
		bad_choice(c, &PATH(at, "type"), type, "Localhost RuntimeDefault Unconfined");
	if (!span_is(type, "Localhost")) {
		if (local)
			bad_typed(c, &PATH(at, "localhostProfile"), "core/v1.SeccompProfile", profile,
				  "can only be set when seccomp type is Localhost");
	} else if (!local) {
		bad_required(c, &PATH(at, "localhostProfile"), "must be set when seccomp type is Localhost");
	} else {
		check_pod_local_path(c, &PATH(at, "localhostProfile"), json_span(local));
	}
}

static void check_apparmor(struct check *c, const struct path *at, const struct json *profile)
{
	if (!profile)
		return;
	struct span type = member_text(profile, "type");
	const struct json *local = member(profile, "localhostProfile");
	const struct path local_at = PATH(at, "localhostProfile");
	if (span_is(type, "Localhost")) {
		struct span name = json_span(local);
		if (!local) {
			bad_required(c, &local_at, "must be set when AppArmor type is Localhost");
			return;
		}
		if (span_trim(name).len != name.len)
			bad_value(c, &local_at, local, "must not be padded with whitespace");
		else if (!name.len)
			bad_required(c, &local_at, "must be set when AppArmor type is Localhost");
		if (name.len > 4095)
			bad_too_long(c, &local_at, 4095);
	} else if (check_one_of(type, "RuntimeDefault Unconfined")) {
		if (local)
			bad_value(c, &local_at, local, "can only be set when AppArmor type is Localhost");
	} else if (!type.len) {
		bad_required(c, &PATH(at, "type"), "type is required when appArmorProfile is set");
	} else {
		bad_choice(c, &PATH(at, "type"), type, "Localhost RuntimeDefault Unconfined");
	}
}

/* ---- Windows */
static bool has_any(struct span s, const char *chars)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] && strchr(chars, s.ptr[i]))
			return true;
	return false;
}

static bool has_control(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
			return true;
	return false;
}

static size_t runes(struct span s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++)
		n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
	return n;
}

static bool is_netbios(struct span s)
{
	return s.len && s.ptr[0] != '.' && !has_any(s, "\\/:*?\"<>|") && runes(s) <= 15;
}

static bool is_label_char(char ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9');
}

static bool is_dns_domain(struct span s)
{
	for (bool more = true; more;) {
		struct span label, rest;
		more = span_split(s, '.', &label, &rest);
		if (!label.len || label.len > 63 || !is_label_char(label.ptr[0]) || !is_label_char(label.ptr[label.len - 1]))
			return false;
		for (size_t i = 0; i < label.len; i++)
			if (!is_label_char(label.ptr[i]) && label.ptr[i] != '-')
				return false;
		s = rest;
	}
	return true;
}

static bool only_dots_and_blanks(struct span s)
{
	size_t i = 0;
	while (i < s.len && (s.ptr[i] == '.' || s.ptr[i] == ' '))
		i++;
	return s.len && i == s.len;
}

static void check_windows_user(struct check *c, const struct path *at, const struct json *name)
{
	struct span whole = json_span(name), domain, user, more;
	if (!whole.len) {
		bad_value(c, at, name, "runAsUserName cannot be an empty string");
		return;
	}
	if (has_control(whole)) {
		bad_value(c, at, name, "runAsUserName cannot contain control characters");
		return;
	}
	bool has_domain = span_split(whole, '\\', &domain, &user);
	if (has_domain && span_split(user, '\\', &more, &more)) {
		bad_value(c, at, name, "runAsUserName cannot contain more than one backslash");
		return;
	}
	if (!has_domain) {
		user = whole;
		domain = SPAN_EMPTY;
	}
	if (domain.len >= 256)
		bad_value(c, at, name, "runAsUserName's Domain length must be under 256 characters");
	if (has_domain && !is_netbios(domain) && !is_dns_domain(domain))
		bad_value(c, at, name, "runAsUserName's Domain doesn't match the NetBios nor the DNS format");
	if (!user.len)
		bad_value(c, at, name, "runAsUserName's User cannot be empty");
	else if (user.len > 104)
		bad_value(c, at, name, "runAsUserName's User length must not be longer than 104 characters");
	if (only_dots_and_blanks(user))
		bad_value(c, at, name, "runAsUserName's User cannot contain only periods or spaces");
	if (has_any(user, "\"/\\:;|=,+*?<>@[]"))
		bad_value(c, at, name, "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
}

static void check_windows(struct check *c, const struct path *at, const struct json *options)
{
	const struct json *name = member(options, "gmsaCredentialSpecName"), *spec = member(options, "gmsaCredentialSpec");
	if (name)
		check_name(c, &PATH(at, "gmsaCredentialSpecName"), json_span(name), api_name_dns1123_subdomain);
	if (spec && !json_span(spec).len)
		bad_value(c, &PATH(at, "gmsaCredentialSpec"), spec, "gmsaCredentialSpec cannot be an empty string");
	else if (spec && json_span(spec).len > 64 << 10)
		bad_value(c, &PATH(at, "gmsaCredentialSpec"), spec, "gmsaCredentialSpec size must be under 64 KiB");
	if (member(options, "runAsUserName"))
		check_windows_user(c, &PATH(at, "runAsUserName"), member(options, "runAsUserName"));
}

/* ---- users */
static void check_id(struct check *c, const struct path *at, const struct json *id)
{
	struct api_complaints bad;
	if (id && api_user_id_check(json_i64(id, 0), &bad))
		for (unsigned i = 0; i < bad.n; i++)
			bad_value(c, at, id, "%s", bad.text[i]);
}

/* ---- sysctls */
static bool is_sysctl(struct span s)
{
	/* segments of [a-z0-9]([-_a-z0-9]*[a-z0-9])? with . or / between */
	if (!s.len || s.len > 253)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char ch = s.ptr[i];
		bool sep = ch == '.' || ch == '/', edge = sep || ch == '-' || ch == '_';
		if (!edge && !(ch >= 'a' && ch <= 'z') && !(ch >= '0' && ch <= '9'))
			return false;
		bool first = i == 0 || s.ptr[i - 1] == '.' || s.ptr[i - 1] == '/';
		bool last = i + 1 == s.len || s.ptr[i + 1] == '.' || s.ptr[i + 1] == '/';
		if (edge && !sep && (first || last))
			return false;
		if (sep && (first || i + 1 == s.len))
			return false;
	}
	return true;
}

/* The namespace that holds a sysctl: 'n' net, 'i' ipc, 0 none that matters. Slashes separate when one comes first. */
static char sysctl_namespace(struct arena *a, struct span name)
{
	char *s = arena_cstr(a, name);
	size_t first = strcspn(s, "./");
	if (s[first] == '/')
		for (size_t i = 0; i < name.len; i++)
			s[i] = s[i] == '/' ? '.' : s[i] == '.' ? '/' : s[i];
	struct span n = span_make(s, name.len);
	if (span_starts(n, SPAN("net.")))
		return 'n';
	if (span_is(n, "kernel.sem") || span_starts(n, SPAN("kernel.shm")) || span_starts(n, SPAN("kernel.msg")) ||
	    span_starts(n, SPAN("fs.mqueue.")))
		return 'i';
	return 0;
}

static void check_sysctls(struct pod_view *v, const struct path *at, const struct json *sysctls)
{
	struct check *c = v->c;
	JSON_EACH_INDEX(sysctls, sysctl, i) {
		const struct path item = PATH(&PATH_INDEX(at, i), "name");
		struct span name = member_text(sysctl, "name");
		bool twice = false;
		for (uint32_t k = 0; k < i; k++)
			twice |= span_eq(member_text(&sysctls->items[k], "name"), name);
		if (!name.len)
			bad_required(c, &item, "");
		else if (!is_sysctl(name))
			bad_string(c, &item, name, "must have at most 253 characters and match regex "
				   "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
		else if (twice)
			bad_duplicate_string(c, &item, name);
		if (v->opts->lax_host_sysctls)
			continue;
		char ns = sysctl_namespace(c->arena, name);
		if (ns == 'n' && member_true(v->spec, "hostNetwork"))
			bad_string(c, &item, name, "may not be specified when 'hostNetwork' is true");
		else if (ns == 'i' && member_true(v->spec, "hostIPC"))
			bad_string(c, &item, name, "may not be specified when 'hostIPC' is true");
	}
}

/* ---- contexts */
void check_pod_security(struct pod_view *v, const struct path *spec_at)
{
	struct check *c = v->c;
	const struct json *sc = member(v->spec, "securityContext");
	const struct path at = PATH(spec_at, "securityContext"), groups = PATH(&at, "supplementalGroups");
	check_id(c, &PATH(&at, "fsGroup"), member(sc, "fsGroup"));
	check_id(c, &PATH(&at, "runAsUser"), member(sc, "runAsUser"));
	check_id(c, &PATH(&at, "runAsGroup"), member(sc, "runAsGroup"));
	JSON_EACH_INDEX(member(sc, "supplementalGroups"), gid, i)
		check_id(c, &PATH_INDEX(&groups, i), gid);
	if (member_true(v->spec, "shareProcessNamespace") && member_true(v->spec, "hostPID"))
		bad_value(c, &PATH(&at, "shareProcessNamespace"), member(v->spec, "shareProcessNamespace"),
			  "ShareProcessNamespace and HostPID cannot both be enabled");
	check_sysctls(v, &PATH(&at, "sysctls"), member(sc, "sysctls"));
	check_choice(c, &PATH(&at, "fsGroupChangePolicy"), member(sc, "fsGroupChangePolicy"), "Always OnRootMismatch");
	check_seccomp(c, &PATH(&at, "seccompProfile"), member(sc, "seccompProfile"));
	check_windows(c, &PATH(&at, "windowsOptions"), member(sc, "windowsOptions"));
	check_apparmor(c, &PATH(&at, "appArmorProfile"), member(sc, "appArmorProfile"));
	check_choice(c, &PATH(&at, "supplementalGroupsPolicy"), member(sc, "supplementalGroupsPolicy"), "Merge Strict");
	/* MountOption waits for the feature SELinuxMount, off in 1.33. */
	check_choice(c, &PATH(&at, "seLinuxChangePolicy"), member(sc, "seLinuxChangePolicy"),
		     v->opts->any_selinux_policy ? "MountOption Recursive" : "Recursive");
}

void check_pod_container_security(struct pod_view *v, const struct path *at, const struct json *sc)
{
	struct check *c = v->c;
	if (!sc)
		return;
	const struct json *escalation = member(sc, "allowPrivilegeEscalation"), *mount = member(sc, "procMount");
	check_id(c, &PATH(at, "runAsUser"), member(sc, "runAsUser"));
	check_id(c, &PATH(at, "runAsGroup"), member(sc, "runAsGroup"));
	check_choice(c, &PATH(at, "procMount"), mount, "Default Unmasked");
	if (v->host_users && span_is(json_span(mount), "Unmasked"))
		bad_value(c, &PATH(at, "procMount"), mount, "`hostUsers` must be false to use `Unmasked`");
	check_seccomp(c, &PATH(at, "seccompProfile"), member(sc, "seccompProfile"));
	if (escalation && !json_truth(escalation, true)) {
		if (member_true(sc, "privileged"))
			bad_typed(c, at, "core/v1.SecurityContext", sc,
				  "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
		JSON_EACH_ITEM(member(member(sc, "capabilities"), "add"), cap)
			if (span_is(json_span(cap), "CAP_SYS_ADMIN"))
				bad_typed(c, at, "core/v1.SecurityContext", sc,
					  "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
	}
	check_windows(c, &PATH(at, "windowsOptions"), member(sc, "windowsOptions"));
	check_apparmor(c, &PATH(at, "appArmorProfile"), member(sc, "appArmorProfile"));
}

/* ---- containers of the Windows host */
struct host_process {
	struct pod_view *v;
	const struct json *pod; /* the pod's hostProcess */
	unsigned containers, host;
};

static bool host_process_one(void *ctx, const struct path *at, const struct json *container)
{
	struct host_process *h = ctx;
	const struct json *own = json_path(container, "securityContext", "windowsOptions", "hostProcess", NULL);
	const struct path sc = PATH(at, "securityContext"), options = PATH(&sc, "windowsOptions");
	bool pod = json_truth(h->pod, false);
	h->containers++;
	if (h->pod && own && pod != json_truth(own, false))
		bad_value(h->v->c, &PATH(&options, "hostProcess"), own,
			  "pod hostProcess value must be identical if both are specified, was %s", pod ? "true" : "false");
	h->host += own ? json_truth(own, false) : pod;
	return true;
}

void check_pod_windows_host_process(struct pod_view *v, const struct path *spec_at)
{
	struct host_process h = { .v = v, .pod = json_path(v->spec, "securityContext", "windowsOptions", "hostProcess", NULL) };
	pod_containers_each(spec_at, v->spec, host_process_one, &h);
	if (!h.host)
		return;
	if (h.host != h.containers)
		bad_string(v->c, spec_at, SPAN_EMPTY,
			   "If pod contains any hostProcess containers then all containers must be HostProcess containers");
	if (!member_true(v->spec, "hostNetwork")) {
		const struct json no = json_bool(false);
		bad_value(v->c, &PATH(spec_at, "hostNetwork"), &no,
			  "hostNetwork must be true if pod contains any hostProcess containers");
	}
}

/* ---- spec.os */
struct os_visit {
	struct check *c;
	const char *const *refused; /* members of a container's context, NULL at the end */
	const char *why;
};

static bool os_one(void *ctx, const struct path *at, const struct json *container)
{
	struct os_visit *o = ctx;
	const struct json *sc = member(container, "securityContext");
	const struct path sc_at = PATH(at, "securityContext");
	for (const char *const *name = o->refused; *name; name++)
		if (json_get(sc, span_of(*name)))
			bad_forbidden(o->c, &PATH_SPAN(&sc_at, span_of(*name)), "%s", o->why);
	return true;
}

static void check_not_for_windows(struct pod_view *v, const struct path *spec_at)
{
	static const struct { const char *name; bool in_context, flag; } refused[] = {
		{ "appArmorProfile", true }, { "seLinuxOptions", true }, { "hostUsers" }, { "hostPID", false, true },
		{ "hostIPC", false, true }, { "seccompProfile", true }, { "fsGroup", true }, { "fsGroupChangePolicy", true },
		{ "sysctls", true }, { "shareProcessNamespace" }, { "runAsUser", true }, { "runAsGroup", true },
		{ "supplementalGroups", true }, { "supplementalGroupsPolicy", true }, { "seLinuxChangePolicy", true },
	};
	static const char *const of_container[] = {
		"appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
		"allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup", NULL,
	};
	static const char why[] = "cannot be set for a windows pod";
	const struct path sc_at = PATH(spec_at, "securityContext");
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct span name = span_of(refused[i].name);
		const struct json *m = json_get(refused[i].in_context ? member(v->spec, "securityContext") : v->spec, name);
		if (!m || (refused[i].flag && !json_truth(m, false)) || (m->kind == JSON_ARRAY && !m->n))
			continue;
		bad_forbidden(v->c, &PATH_SPAN(refused[i].in_context ? &sc_at : spec_at, name), "%s", why);
	}
	struct os_visit o = { v->c, of_container, why };
	pod_containers_each(spec_at, v->spec, os_one, &o);
}

static void check_not_for_linux(struct pod_view *v, const struct path *spec_at)
{
	static const char *const refused[] = { "windowsOptions", NULL };
	static const char why[] = "windows options cannot be set for a linux pod";
	const struct path sc_at = PATH(spec_at, "securityContext");
	if (json_path(v->spec, "securityContext", "windowsOptions", NULL))
		bad_forbidden(v->c, &PATH(&sc_at, "windowsOptions"), "%s", why);
	struct os_visit o = { v->c, refused, why };
	pod_containers_each(spec_at, v->spec, os_one, &o);
}

void check_pod_os(struct pod_view *v, const struct path *spec_at)
{
	const struct json *os = member(v->spec, "os");
	const struct path at = PATH(spec_at, "os");
	struct span name = member_text(os, "name");
	if (!os)
		return;
	if (!name.len)
		bad_required(v->c, &PATH(&at, "name"), "cannot be empty");
	else if (!check_one_of(name, "linux windows"))
		bad_choice(v->c, &at, name, "linux windows");
	else if (span_is(name, "linux"))
		check_not_for_linux(v, spec_at);
	else
		check_not_for_windows(v, spec_at);
}

/* ---- annotations of old, which may say it beside the fields */
struct profiles {
	struct check *c;
	const struct json *annotations, *pod_apparmor;
};

static void bad_mismatch(struct check *c, const struct path *at, const char *what, bool type)
{
	if (type)
		bad_forbidden(c, &PATH(at, "type"), "%s type in annotation and field must match", what);
	else
		bad_forbidden(c, &PATH(at, "localhostProfile"), "%s profile in annotation and field must match", what);
}

static void check_match(struct check *c, const struct path *at, const char *what, struct span said, const struct json *field)
{
	struct span type = member_text(field, "type");
	bool seccomp = span_is(span_of(what), "seccomp");
	if (span_is(type, "Unconfined")) {
		if (!span_is(said, "unconfined"))
			bad_mismatch(c, at, what, true);
	} else if (span_is(type, "RuntimeDefault")) {
		if (!span_is(said, "runtime/default") && !(seccomp && span_is(said, "docker/default")))
			bad_mismatch(c, at, what, true);
	} else if (span_is(type, "Localhost")) {
		if (!span_starts(said, SPAN("localhost/")))
			bad_mismatch(c, at, what, true);
		else if (!member(field, "localhostProfile") ||
			 !span_eq(span_from(said, strlen("localhost/")), member_text(field, "localhostProfile")))
			bad_mismatch(c, at, what, false);
	}
}

static const struct json *annotation(const struct profiles *p, const char *prefix, const struct json *container)
{
	struct span name = member_text(container, "name");
	return json_get(p->annotations, arena_printf(p->c->arena, "%s%.*s", prefix, SPAN_ARG(name)));
}

static bool seccomp_one(void *ctx, const struct path *at, const struct json *container)
{
	const struct profiles *p = ctx;
	const struct json *field = json_path(container, "securityContext", "seccompProfile", NULL);
	const struct json *said = field ? annotation(p, "container.seccomp.security.alpha.kubernetes.io/", container) : NULL;
	if (said)
		check_match(p->c, &PATH(&PATH(at, "securityContext"), "seccompProfile"), "seccomp", json_span(said), field);
	return true;
}

static bool apparmor_one(void *ctx, const struct path *at, const struct json *container)
{
	const struct profiles *p = ctx;
	const struct json *field = json_path(container, "securityContext", "appArmorProfile", NULL);
	const struct json *said = annotation(p, "container.apparmor.security.beta.kubernetes.io/", container);
	if (!field)
		field = p->pod_apparmor;
	if (said && field)
		check_match(p->c, &PATH(&PATH(at, "securityContext"), "appArmorProfile"), "apparmor", json_span(said), field);
	return true;
}

void check_pod_profiles(struct check *c, const struct path *spec_at, const struct json *meta, const struct json *spec)
{
	struct profiles p = {
		.c = c,
		.annotations = member(meta, "annotations"),
		.pod_apparmor = json_path(spec, "securityContext", "appArmorProfile", NULL),
	};
	const struct json *field = json_path(spec, "securityContext", "seccompProfile", NULL);
	const struct json *said = json_getl(p.annotations, "seccomp.security.alpha.kubernetes.io/pod");
	if (!json_count(p.annotations))
		return;
	if (field && said)
		check_match(c, &PATH(&PATH(spec_at, "securityContext"), "seccompProfile"), "seccomp", json_span(said), field);
	pod_containers_each(spec_at, spec, seccomp_one, &p);
	if (!span_is(member_text(member(spec, "os"), "name"), "windows"))
		pod_containers_each(spec_at, spec, apparmor_one, &p);
}
