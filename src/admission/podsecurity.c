/* PodSecurity: the pod security standards of k8s.io/pod-security-admission as of Kubernetes 1.33.
 *
 * A namespace's labels give a level and a version for each of three modes. A check belongs to a level and has versions; a policy
 * at 1.N runs of each check the version with the largest minimum up to N, baseline checks first, each level's in the order of
 * their ids. A restricted check may stand in for a baseline one. "latest" is 1.33; so is what lies beyond. */
#include "admission/private.h"
#include "strategy/strategy.h"

#define PREFIX "pod-security.kubernetes.io/"
#define LATEST 33
#define MAX_PODS 3000 /* existing pods that a change of labels looks at */

static const char *const level_names[ADMISSION_LEVEL_COUNT] = { "privileged", "baseline", "restricted" };

/* ---- sets of names */
struct names {
	struct arena *a;
	struct span *v;
	unsigned n, cap;
};

static void names_add_at(struct names *l, unsigned at, struct span s)
{
	if (l->n == l->cap) {
		unsigned cap = l->cap ? l->cap * 2 : 8;
		struct span *v = arena_alloc_n(l->a, cap, sizeof(*v));
		if (l->n)
			memcpy(v, l->v, l->n * sizeof(*v));
		l->v = v;
		l->cap = cap;
	}
	memmove(l->v + at + 1, l->v + at, (l->n - at) * sizeof(*l->v));
	l->v[at] = s;
	l->n++;
}

static void names_add(struct names *l, struct span s)
{
	names_add_at(l, l->n, s);
}

static void names_insert(struct names *l, struct span s) /* sorted, each once */
{
	unsigned at = 0;
	while (at < l->n && span_cmp(l->v[at], s) < 0)
		at++;
	if (at == l->n || !span_eq(l->v[at], s))
		names_add_at(l, at, s);
}

static void names_join(struct buf *out, const struct names *l)
{
	for (unsigned i = 0; i < l->n; i++)
		buf_printf(out, "%s%.*s", i ? ", " : "", SPAN_ARG(l->v[i]));
}

static void names_quote(struct buf *out, const struct names *l) /* joinQuote: what is inside is not escaped */
{
	for (unsigned i = 0; i < l->n; i++)
		buf_printf(out, "%s\"%.*s\"", i ? ", " : "", SPAN_ARG(l->v[i]));
}

static void counted(struct buf *out, const char *one, const struct names *l) /* containers "a", "b" */
{
	buf_printf(out, "%s%s ", one, l->n == 1 ? "" : "s");
	names_quote(out, l);
}

static void setters(struct buf *out, bool pod, const struct names *containers) /* pod and container "a" */
{
	if (pod)
		buf_str(out, "pod");
	if (pod && containers->n)
		buf_str(out, " and ");
	if (containers->n)
		counted(out, "container", containers);
}

/* ---- the pod under check */
struct subject {
	struct arena *a;
	const struct json *meta, *spec;
	const struct json **containers; /* init, then regular, then ephemeral ones */
	unsigned n;
};

static struct subject subject_of(struct arena *a, const struct json *meta, const struct json *spec)
{
	const struct json *lists[] = { json_getl(spec, "initContainers"), json_getl(spec, "containers"),
				       json_getl(spec, "ephemeralContainers") };
	struct subject s = { .a = a, .meta = meta, .spec = spec };
	unsigned n = count_of(lists[0]) + count_of(lists[1]) + count_of(lists[2]);
	s.containers = arena_alloc_n(a, n ? n : 1, sizeof(*s.containers));
	for (unsigned i = 0; i < 3; i++)
		JSON_EACH_ITEM(lists[i], c)
			s.containers[s.n++] = c;
	return s;
}

#define EACH_CONTAINER(s, c) \
	for (unsigned i_##c = 0; i_##c < (s)->n; i_##c++) \
		for (const struct json *c = (s)->containers[i_##c]; c; c = NULL)

static const struct json *security(const struct json *pod_or_container)
{
	return json_getl(pod_or_container, "securityContext");
}

static bool is_windows(const struct subject *s)
{
	return span_is(text_of(json_getl(s->spec, "os"), "name"), "windows");
}

/* A check returns NULL when all is well, else the reason; the detail goes into out. */
typedef const char *check_fn(const struct subject *s, struct buf *out);
#define NAMES(s) { .a = (s)->a }

/* ---- baseline */
static bool apparmor_type_ok(const struct json *profile)
{
	struct span t = text_of(profile, "type");
	return span_is(t, "RuntimeDefault") || span_is(t, "Localhost");
}

static const char *apparmor(const struct subject *s, struct buf *out)
{
	struct names bad = NAMES(s), values = NAMES(s), notes = NAMES(s);
	const struct json *p = json_getl(security(s->spec), "appArmorProfile");
	bool pod = p && !apparmor_type_ok(p);
	if (pod)
		names_insert(&values, text_of(p, "type"));
	EACH_CONTAINER(s, c) {
		const struct json *profile = json_getl(security(c), "appArmorProfile");
		if (!profile || apparmor_type_ok(profile))
			continue;
		names_add(&bad, text_of(c, "name"));
		names_insert(&values, text_of(profile, "type"));
	}
	JSON_EACH_MEMBER(json_getl(s->meta, "annotations"), m) {
		struct span v = json_span(&m->value);
		if (!span_starts(json_key(m), SPAN("container.apparmor.security.beta.kubernetes.io/")) || !v.len ||
		    span_is(v, "runtime/default") || span_starts(v, SPAN("localhost/")))
			continue;
		auto_buf struct buf text = {};
		buf_span_add(&text, json_key(m));
		buf_chr(&text, '=');
		api_go_quote(&text, v);
		names_insert(&notes, arena_span(s->a, buf_span(&text)));
	}
	if (!pod && !bad.n && !notes.n)
		return NULL;
	setters(out, pod, &bad);
	if (notes.n)
		buf_printf(out, "%sannotation%s", pod || bad.n ? " and " : "", notes.n == 1 ? "" : "s");
	for (unsigned i = 0; i < notes.n; i++)
		names_add(&values, notes.v[i]);
	buf_str(out, " must not set AppArmor profile type to ");
	names_quote(out, &values);
	return values.n == 1 ? "forbidden AppArmor profile" : "forbidden AppArmor profiles";
}

static bool one_of(struct span s, const char *const *list)
{
	for (; *list; list++)
		if (span_is(s, *list))
			return true;
	return false;
}

static const char *capabilities_baseline(const struct subject *s, struct buf *out)
{
	static const char *const good[] = { "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
					    "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", NULL };
	struct names bad = NAMES(s), caps = NAMES(s);
	EACH_CONTAINER(s, c) {
		bool ok = true;
		JSON_EACH_ITEM(json_getl(json_getl(security(c), "capabilities"), "add"), cap) {
			if (one_of(json_span(cap), good))
				continue;
			ok = false;
			names_insert(&caps, json_span(cap));
		}
		if (!ok)
			names_add(&bad, text_of(c, "name"));
	}
	if (!bad.n)
		return NULL;
	counted(out, "container", &bad);
	buf_str(out, " must not include ");
	names_quote(out, &caps);
	buf_str(out, " in securityContext.capabilities.add");
	return "non-default capabilities";
}

static const char *host_namespaces(const struct subject *s, struct buf *out)
{
	static const char *const fields[] = { "hostNetwork", "hostPID", "hostIPC" };
	for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
		if (json_truth(json_get(s->spec, span_of(fields[i])), false))
			buf_printf(out, "%s%s=true", out->len ? ", " : "", fields[i]);
	return out->len ? "host namespaces" : NULL;
}

static const char *host_paths(const struct subject *s, struct buf *out)
{
	struct names bad = NAMES(s);
	JSON_EACH_ITEM(json_getl(s->spec, "volumes"), v)
		if (json_getl(v, "hostPath"))
			names_add(&bad, text_of(v, "name"));
	if (!bad.n)
		return NULL;
	counted(out, "volume", &bad);
	return "hostPath volumes";
}

static const char *host_ports(const struct subject *s, struct buf *out)
{
	struct names bad = NAMES(s), ports = NAMES(s);
	EACH_CONTAINER(s, c) {
		bool ok = true;
		JSON_EACH_ITEM(json_getl(c, "ports"), p) {
			int64_t port = json_i64(json_getl(p, "hostPort"), 0);
			if (!port)
				continue;
			ok = false;
			names_insert(&ports, arena_printf(s->a, "%lld", (long long)port));
		}
		if (!ok)
			names_add(&bad, text_of(c, "name"));
	}
	if (!bad.n)
		return NULL;
	counted(out, "container", &bad);
	buf_printf(out, " %s hostPort%s ", bad.n == 1 ? "uses" : "use", ports.n == 1 ? "" : "s");
	names_join(out, &ports);
	return "hostPort";
}

static const char *privileged(const struct subject *s, struct buf *out)
{
	struct names bad = NAMES(s);
	EACH_CONTAINER(s, c)
		if (json_truth(json_getl(security(c), "privileged"), false))
			names_add(&bad, text_of(c, "name"));
	if (!bad.n)
		return NULL;
	counted(out, "container", &bad);
	buf_str(out, " must not set securityContext.privileged=true");
	return "privileged";
}

static const char *proc_mount(const struct subject *s, struct buf *out)
{
	struct names bad = NAMES(s), types = NAMES(s);
	EACH_CONTAINER(s, c) {
		const struct json *type = json_getl(security(c), "procMount");
		if (!type || span_is(json_span(type), "Default"))
			continue;
		names_add(&bad, text_of(c, "name"));
		names_insert(&types, json_span(type));
	}
	if (!bad.n)
		return NULL;
	counted(out, "container", &bad);
	buf_str(out, " must not set securityContext.procMount to ");
	names_quote(out, &types);
	return "procMount";
}

struct selinux {
	bool engine; /* container_engine_t is let through */
	struct names types;
	bool user, role;
};

static bool selinux_ok(struct selinux *found, const struct json *options)
{
	static const char *const good[] = { "", "container_t", "container_init_t", "container_kvm_t", NULL };
	if (!options)
		return true;
	struct span type = text_of(options, "type");
	bool bad_type = !one_of(type, good) && !(found->engine && span_is(type, "container_engine_t"));
	bool user = text_of(options, "user").len, role = text_of(options, "role").len;
	if (bad_type)
		names_insert(&found->types, type);
	found->user |= user;
	found->role |= role;
	return !bad_type && !user && !role;
}

static const char *selinux(const struct subject *s, struct buf *out, bool engine)
{
	struct selinux found = { .engine = engine, .types = NAMES(s) };
	struct names bad = NAMES(s);
	bool pod = !selinux_ok(&found, json_getl(security(s->spec), "seLinuxOptions"));
	EACH_CONTAINER(s, c)
		if (!selinux_ok(&found, json_getl(security(c), "seLinuxOptions")))
			names_add(&bad, text_of(c, "name"));
	if (!pod && !bad.n)
		return NULL;
	setters(out, pod, &bad);
	buf_str(out, " set forbidden securityContext.seLinuxOptions: ");
	const char *sep = "";
	if (found.types.n) {
		counted(out, "type", &found.types);
		sep = "; ";
	}
	if (found.user) {
		buf_printf(out, "%suser may not be set", sep);
		sep = "; ";
	}
	if (found.role)
		buf_printf(out, "%srole may not be set", sep);
	return "seLinuxOptions";
}

static const char *selinux_0(const struct subject *s, struct buf *out)
{
	return selinux(s, out, false);
}

static const char *selinux_31(const struct subject *s, struct buf *out)
{
	return selinux(s, out, true);
}

static void seccomp_note(const struct subject *s, struct span key, struct names *bad)
{
	const struct json *value = json_get(json_getl(s->meta, "annotations"), key);
	struct span v = json_span(value);
	if (!value || span_is(v, "runtime/default") || span_is(v, "docker/default") || span_starts(v, SPAN("localhost/")))
		return;
	auto_buf struct buf text = {};
	buf_span_add(&text, key);
	buf_chr(&text, '=');
	api_go_quote(&text, v);
	names_insert(bad, arena_span(s->a, buf_span(&text)));
}

static const char *seccomp_baseline_0(const struct subject *s, struct buf *out)
{
	struct names bad = NAMES(s);
	seccomp_note(s, SPAN("seccomp.security.alpha.kubernetes.io/pod"), &bad);
	EACH_CONTAINER(s, c)
		seccomp_note(s, arena_printf(s->a, "container.seccomp.security.alpha.kubernetes.io/%.*s",
					     SPAN_ARG(text_of(c, "name"))), &bad);
	if (!bad.n)
		return NULL;
	buf_printf(out, "forbidden annotation%s ", bad.n == 1 ? "" : "s");
	names_join(out, &bad);
	return "seccompProfile";
}

/* Both seccomp checks: who sets a bad type, and who sets none although the pod does not either. */
static const char *seccomp(const struct subject *s, struct buf *out, bool required)
{
	struct names bad = NAMES(s), missing = NAMES(s), types = NAMES(s);
	const struct json *p = json_getl(security(s->spec), "seccompProfile");
	bool pod = p && !apparmor_type_ok(p), pod_set = p && !pod; /* the same two types are good */
	if (pod)
		names_insert(&types, text_of(p, "type"));
	EACH_CONTAINER(s, c) {
		const struct json *profile = json_getl(security(c), "seccompProfile");
		if (!profile && !pod_set)
			names_add(&missing, text_of(c, "name"));
		if (!profile || apparmor_type_ok(profile))
			continue;
		names_add(&bad, text_of(c, "name"));
		names_insert(&types, text_of(profile, "type"));
	}
	if (pod || bad.n) {
		setters(out, pod, &bad);
		buf_str(out, " must not set securityContext.seccompProfile.type to ");
		names_quote(out, &types);
		return "seccompProfile";
	}
	if (!required || !missing.n)
		return NULL;
	buf_str(out, "pod or ");
	counted(out, "container", &missing);
	buf_str(out, " must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"");
	return "seccompProfile";
}

static const char *seccomp_baseline_19(const struct subject *s, struct buf *out)
{
	return seccomp(s, out, false);
}

static const char *sysctls(const struct subject *s, struct buf *out, unsigned minor)
{
	static const struct {
		const char *name;
		unsigned since;
	} good[] = {
		{ "kernel.shm_rmid_forced", 0 },
		{ "net.ipv4.ip_local_port_range", 0 },
		{ "net.ipv4.tcp_syncookies", 0 },
		{ "net.ipv4.ping_group_range", 0 },
		{ "net.ipv4.ip_unprivileged_port_start", 0 },
		{ "net.ipv4.ip_local_reserved_ports", 27 },
		{ "net.ipv4.tcp_keepalive_time", 29 },
		{ "net.ipv4.tcp_fin_timeout", 29 },
		{ "net.ipv4.tcp_keepalive_intvl", 29 },
		{ "net.ipv4.tcp_keepalive_probes", 29 },
		{ "net.ipv4.tcp_rmem", 32 },
		{ "net.ipv4.tcp_wmem", 32 },
	};
	JSON_EACH_ITEM(json_getl(security(s->spec), "sysctls"), sysctl) {
		struct span name = text_of(sysctl, "name");
		bool ok = false;
		for (unsigned i = 0; i < ARRAY_LEN(good); i++)
			ok |= minor >= good[i].since && span_is(name, good[i].name);
		if (!ok)
			buf_printf(out, "%s%.*s", out->len ? ", " : "", SPAN_ARG(name));
	}
	return out->len ? "forbidden sysctls" : NULL;
}

static const char *sysctls_0(const struct subject *s, struct buf *out)
{
	return sysctls(s, out, 0);
}
static const char *sysctls_27(const struct subject *s, struct buf *out)
{
	return sysctls(s, out, 27);
}
static const char *sysctls_29(const struct subject *s, struct buf *out)
{
	return sysctls(s, out, 29);
}
static const char *sysctls_32(const struct subject *s, struct buf *out)
{
	return sysctls(s, out, 32);
}

static bool is_host_process(const struct json *pod_or_container)
{
	return json_truth(json_getl(json_getl(security(pod_or_container), "windowsOptions"), "hostProcess"), false);
}

static const char *host_process(const struct subject *s, struct buf *out)
{
	struct names bad = NAMES(s);
	bool pod = is_host_process(s->spec);
	EACH_CONTAINER(s, c)
		if (is_host_process(c))
			names_add(&bad, text_of(c, "name"));
	if (!pod && !bad.n)
		return NULL;
	setters(out, pod, &bad);
	buf_str(out, " must not set securityContext.windowsOptions.hostProcess=true");
	return "hostProcess";
}

/* ---- restricted. From 1.25 on three checks let Windows pods be: validation has refused the fields there. */
static const char *escalation_8(const struct subject *s, struct buf *out)
{
	struct names bad = NAMES(s);
	EACH_CONTAINER(s, c)
		if (json_truth(json_getl(security(c), "allowPrivilegeEscalation"), true))
			names_add(&bad, text_of(c, "name"));
	if (!bad.n)
		return NULL;
	counted(out, "container", &bad);
	buf_str(out, " must set securityContext.allowPrivilegeEscalation=false");
	return "allowPrivilegeEscalation != false";
}

static const char *escalation_25(const struct subject *s, struct buf *out)
{
	return is_windows(s) ? NULL : escalation_8(s, out);
}

static const char *capabilities_22(const struct subject *s, struct buf *out)
{
	struct names missing = NAMES(s), adding = NAMES(s), caps = NAMES(s);
	EACH_CONTAINER(s, c) {
		const struct json *k = json_getl(security(c), "capabilities");
		bool dropped = false, ok = true;
		JSON_EACH_ITEM(json_getl(k, "drop"), cap)
			dropped |= span_is(json_span(cap), "ALL");
		if (!dropped)
			names_add(&missing, text_of(c, "name"));
		JSON_EACH_ITEM(json_getl(k, "add"), cap) {
			if (span_is(json_span(cap), "NET_BIND_SERVICE"))
				continue;
			ok = false;
			names_insert(&caps, json_span(cap));
		}
		if (!ok)
			names_add(&adding, text_of(c, "name"));
	}
	if (missing.n) {
		counted(out, "container", &missing);
		buf_str(out, " must set securityContext.capabilities.drop=[\"ALL\"]");
	}
	if (adding.n) {
		buf_str(out, missing.n ? "; " : "");
		counted(out, "container", &adding);
		buf_str(out, " must not include ");
		names_quote(out, &caps);
		buf_str(out, " in securityContext.capabilities.add");
	}
	return missing.n || adding.n ? "unrestricted capabilities" : NULL;
}

static const char *capabilities_25(const struct subject *s, struct buf *out)
{
	return is_windows(s) ? NULL : capabilities_22(s, out);
}

static const char *volume_types(const struct subject *s, struct buf *out)
{
	static const char *const good[] = { "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image",
					    "persistentVolumeClaim", "projected", "secret" };
	/* In the order in which upstream looks: a volume with two sources has the first's name. */
	static const char *const known[] = {
		"hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd",
		"flexVolume", "cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk",
		"photonPersistentDisk", "portworxVolume", "scaleIO", "storageos",
	};
	struct names bad = NAMES(s), types = NAMES(s);
	JSON_EACH_ITEM(json_getl(s->spec, "volumes"), v) {
		bool ok = false;
		for (unsigned i = 0; i < ARRAY_LEN(good); i++)
			ok |= json_get(v, span_of(good[i])) != NULL;
		if (ok)
			continue;
		const char *type = "unknown";
		for (unsigned i = ARRAY_LEN(known); i-- > 0;)
			if (json_get(v, span_of(known[i])))
				type = known[i];
		names_add(&bad, text_of(v, "name"));
		names_insert(&types, span_of(type));
	}
	if (!bad.n)
		return NULL;
	counted(out, "volume", &bad);
	buf_str(out, bad.n == 1 ? " uses " : " use ");
	counted(out, "restricted volume type", &types);
	return "restricted volume types";
}

static const char *non_root(const struct subject *s, struct buf *out)
{
	struct names bad = NAMES(s), missing = NAMES(s);
	const struct json *set = json_getl(security(s->spec), "runAsNonRoot");
	bool pod_good = json_truth(set, false), pod_bad = set && !pod_good;
	EACH_CONTAINER(s, c) {
		const struct json *own = json_getl(security(c), "runAsNonRoot");
		if (own && !json_truth(own, false))
			names_add(&bad, text_of(c, "name"));
		if (!own && !pod_good)
			names_add(&missing, text_of(c, "name"));
	}
	if (pod_bad || bad.n) {
		setters(out, pod_bad, &bad);
		buf_str(out, " must not set securityContext.runAsNonRoot=false");
		return "runAsNonRoot != true";
	}
	if (!missing.n)
		return NULL;
	buf_str(out, "pod or ");
	counted(out, "container", &missing);
	buf_str(out, " must set securityContext.runAsNonRoot=true");
	return "runAsNonRoot != true";
}

static const char *non_zero_user(const struct subject *s, struct buf *out)
{
	struct names bad = NAMES(s);
	bool pod = json_i64(json_getl(security(s->spec), "runAsUser"), 1) == 0;
	EACH_CONTAINER(s, c)
		if (json_i64(json_getl(security(c), "runAsUser"), 1) == 0)
			names_add(&bad, text_of(c, "name"));
	if (!pod && !bad.n)
		return NULL;
	setters(out, pod, &bad);
	buf_str(out, " must not set runAsUser=0");
	return "runAsUser=0";
}

static const char *seccomp_restricted_19(const struct subject *s, struct buf *out)
{
	return seccomp(s, out, true);
}

static const char *seccomp_restricted_25(const struct subject *s, struct buf *out)
{
	return is_windows(s) ? NULL : seccomp(s, out, true);
}

/* ---- the table */
static const struct check_row {
	const char *id;
	enum admission_level level;
	const char *overrides; /* the baseline check that it stands in for, from its first version on */
	struct {
		unsigned since;
		check_fn *fn;
	} versions[4];
} checks[] = {
	{ "appArmorProfile", ADMISSION_BASELINE, NULL, { { 0, apparmor } } },
	{ "capabilities_baseline", ADMISSION_BASELINE, NULL, { { 0, capabilities_baseline } } },
	{ "hostNamespaces", ADMISSION_BASELINE, NULL, { { 0, host_namespaces } } },
	{ "hostPathVolumes", ADMISSION_BASELINE, NULL, { { 0, host_paths } } },
	{ "hostPorts", ADMISSION_BASELINE, NULL, { { 0, host_ports } } },
	{ "privileged", ADMISSION_BASELINE, NULL, { { 0, privileged } } },
	{ "procMount", ADMISSION_BASELINE, NULL, { { 0, proc_mount } } },
	{ "seLinuxOptions", ADMISSION_BASELINE, NULL, { { 0, selinux_0 }, { 31, selinux_31 } } },
	{ "seccompProfile_baseline", ADMISSION_BASELINE, NULL, { { 0, seccomp_baseline_0 }, { 19, seccomp_baseline_19 } } },
	{ "sysctls", ADMISSION_BASELINE, NULL,
	  { { 0, sysctls_0 }, { 27, sysctls_27 }, { 29, sysctls_29 }, { 32, sysctls_32 } } },
	{ "windowsHostProcess", ADMISSION_BASELINE, NULL, { { 0, host_process } } },
	{ "allowPrivilegeEscalation", ADMISSION_RESTRICTED, NULL, { { 8, escalation_8 }, { 25, escalation_25 } } },
	{ "capabilities_restricted", ADMISSION_RESTRICTED, "capabilities_baseline",
	  { { 22, capabilities_22 }, { 25, capabilities_25 } } },
	{ "restrictedVolumes", ADMISSION_RESTRICTED, "hostPathVolumes", { { 0, volume_types } } },
	{ "runAsNonRoot", ADMISSION_RESTRICTED, NULL, { { 0, non_root } } },
	{ "runAsUser", ADMISSION_RESTRICTED, NULL, { { 23, non_zero_user } } },
	{ "seccompProfile_restricted", ADMISSION_RESTRICTED, "seccompProfile_baseline",
	  { { 19, seccomp_restricted_19 }, { 25, seccomp_restricted_25 } } },
};

static check_fn *check_at(const struct check_row *row, unsigned minor)
{
	check_fn *fn = NULL;
	for (unsigned i = 0; i < ARRAY_LEN(row->versions) && row->versions[i].fn; i++)
		if (row->versions[i].since <= minor)
			fn = row->versions[i].fn;
	return fn;
}

static bool overridden(const struct check_row *row, const struct admission_policy *p, unsigned minor)
{
	for (unsigned i = 0; p->level == ADMISSION_RESTRICTED && i < ARRAY_LEN(checks); i++)
		if (checks[i].overrides && strcmp(checks[i].overrides, row->id) == 0 && check_at(&checks[i], minor))
			return true;
	return false;
}

/* Both texts are empty when the policy lets the pod be: reasons alone, and with details. */
static void evaluate(const struct subject *s, const struct admission_policy *p, struct buf *reasons, struct buf *details)
{
	unsigned minor = p->latest || p->minor > LATEST ? LATEST : p->minor;
	for (unsigned i = 0; i < ARRAY_LEN(checks); i++) {
		const struct check_row *row = &checks[i];
		check_fn *fn = row->level <= p->level ? check_at(row, minor) : NULL;
		if (!fn || overridden(row, p, minor))
			continue;
		auto_buf struct buf detail = {};
		const char *reason = fn(s, &detail);
		if (!reason)
			continue;
		buf_printf(reasons, "%s%s", reasons->len ? ", " : "", reason);
		buf_printf(details, "%s%s", details->len ? ", " : "", reason);
		if (detail.len)
			buf_printf(details, " (%s)", buf_cstr(&detail));
	}
}

/* ---- policies */
struct policy {
	struct admission_policy enforce, audit, warn;
};

static bool policy_same(const struct admission_policy *a, const struct admission_policy *b)
{
	return a->level == b->level && a->latest == b->latest && (a->latest || a->minor == b->minor);
}

static bool policy_equivalent(const struct admission_policy *a, const struct admission_policy *b)
{
	return (a->level == ADMISSION_PRIVILEGED && b->level == ADMISSION_PRIVILEGED) || policy_same(a, b);
}

static struct span policy_text(struct arena *a, const struct admission_policy *p)
{
	return p->latest ? arena_printf(a, "%s:latest", level_names[p->level]) :
			   arena_printf(a, "%s:v1.%u", level_names[p->level], p->minor);
}

static void label_bad(struct err *bad, const char *label, struct span value, const char *detail)
{
	auto_buf struct buf field = {}, quoted = {};
	buf_printf(&field, "metadata.labels[%s]", label);
	api_go_quote(&quoted, value);
	api_fe_add(bad, buf_span(&field), API_FE_INVALID, buf_span(&quoted), span_of(detail));
}

/* True when the label is there and good. */
static bool level_read(const struct json *labels, const char *label, enum admission_level otherwise, enum admission_level *out,
		       struct err *bad)
{
	const struct json *v = json_get(labels, span_of(label));
	if (!v)
		return false;
	for (unsigned i = 0; i < ADMISSION_LEVEL_COUNT; i++) {
		if (span_is(json_span(v), level_names[i])) {
			*out = i;
			return true;
		}
	}
	*out = otherwise;
	label_bad(bad, label, json_span(v), "must be one of privileged, baseline, restricted");
	return false;
}

static bool version_read(const struct json *labels, const char *label, struct admission_policy *out, struct err *bad)
{
	const struct json *v = json_get(labels, span_of(label));
	if (!v)
		return false;
	struct span text = json_span(v), digits = span_from(text, 3);
	uint64_t minor;
	out->latest = true;
	out->minor = 0;
	if (span_is(text, "latest"))
		return true;
	if (span_starts(text, SPAN("v1.")) && digits.len && (digits.len == 1 || digits.ptr[0] != '0') &&
	    span_to_u64(digits, &minor) && digits.ptr[0] >= '0' && digits.ptr[0] <= '9' && minor <= UINT32_MAX) {
		out->latest = false;
		out->minor = (uint32_t)minor;
	} else {
		label_bad(bad, label, text, "must be \"latest\" or \"v1.x\"");
	}
	return true;
}

/* What a namespace's labels ask for; causes of bad are the labels that make no sense (then: restricted for enforce, nothing
 * for audit and warn, latest). */
static struct policy policy_of(const struct admission_config *config, const struct json *labels, struct err *bad)
{
	struct policy p = { config->enforce, config->audit, config->warn };
	bool enforce = level_read(labels, PREFIX "enforce", ADMISSION_RESTRICTED, &p.enforce.level, bad);
	version_read(labels, PREFIX "enforce-version", &p.enforce, bad);
	level_read(labels, PREFIX "audit", ADMISSION_PRIVILEGED, &p.audit.level, bad);
	version_read(labels, PREFIX "audit-version", &p.audit, bad);
	level_read(labels, PREFIX "warn", ADMISSION_PRIVILEGED, &p.warn.level, bad);
	bool warn_version = version_read(labels, PREFIX "warn-version", &p.warn, bad);
	if (!json_getl(labels, PREFIX "warn") && enforce && p.enforce.level > p.warn.level) {
		p.warn.level = p.enforce.level;
		if (!warn_version) {
			p.warn.latest = p.enforce.latest;
			p.warn.minor = p.enforce.minor;
		}
	}
	return p;
}

static bool listed(struct span name, const struct span *list, unsigned n)
{
	for (unsigned i = 0; name.len && i < n; i++)
		if (span_eq(list[i], name))
			return true;
	return false;
}

static bool runtime_class_exempt(const struct admission_config *config, const struct json *spec)
{
	return listed(text_of(spec, "runtimeClassName"), config->exempt_runtime_classes, config->n_exempt_runtime_classes);
}

/* ---- pods and what makes them */
static int pod_check(struct admission *req, const struct policy *p, const struct err *bad, const struct json *meta,
		     const struct json *spec, bool enforce, struct err *err)
{
	if (runtime_class_exempt(admission_settings(req), spec)) {
		admission_audit(req, PREFIX "exempt", SPAN("runtimeClass"));
		return 0;
	}
	if (bad->n_causes) {
		auto_buf struct buf text = {};
		buf_str(&text, bad->n_causes > 1 ? "Failed to parse policy: [" : "Failed to parse policy: ");
		for (unsigned i = 0; i < bad->n_causes; i++)
			buf_printf(&text, "%s%s: %s", i ? ", " : "", bad->causes[i].field, bad->causes[i].message);
		buf_str(&text, bad->n_causes > 1 ? "]" : "");
		admission_audit(req, PREFIX "error", buf_span(&text));
	}
	struct subject s = subject_of(req->arena, meta, spec);
	int rc = 0;
	if (enforce) {
		auto_buf struct buf reasons = {}, details = {};
		struct span level = policy_text(req->arena, &p->enforce);
		admission_audit(req, PREFIX "enforce-policy", level);
		evaluate(&s, &p->enforce, &reasons, &details);
		if (details.len)
			rc = admission_forbid_name(req, req->name, err, arena_printf(req->arena, "violates PodSecurity \"%.*s\": %s",
										     SPAN_ARG(level), buf_cstr(&details)));
	}
	auto_buf struct buf reasons = {}, audit = {}, warn = {};
	evaluate(&s, &p->audit, &reasons, &audit);
	if (audit.len)
		admission_audit(req, PREFIX "audit-violations",
				arena_printf(req->arena, "would violate PodSecurity \"%.*s\": %s",
					     SPAN_ARG(policy_text(req->arena, &p->audit)), buf_cstr(&audit)));
	if (rc < 0) /* no warnings about what is refused anyway */
		return rc;
	evaluate(&s, &p->warn, &reasons, &warn);
	if (warn.len)
		admission_warn(req, arena_printf(req->arena, "would violate PodSecurity \"%.*s\": %s",
						 SPAN_ARG(policy_text(req->arena, &p->warn)), buf_cstr(&warn)));
	return 0;
}

static bool images_differ(const struct json *a, const struct json *b)
{
	if (count_of(a) != count_of(b))
		return true;
	for (uint32_t i = 0; i < count_of(a); i++)
		if (!span_eq(text_of(&a->items[i], "image"), text_of(&b->items[i], "image")))
			return true;
	return false;
}

static bool is_significant(const struct json *now, const struct json *was)
{
	now = json_getl(now, "spec");
	was = json_getl(was, "spec");
	if (images_differ(json_getl(now, "containers"), json_getl(was, "containers")) ||
	    images_differ(json_getl(now, "initContainers"), json_getl(was, "initContainers")))
		return true;
	JSON_EACH_ITEM(json_getl(now, "ephemeralContainers"), c) {
		const struct json *before = NULL;
		JSON_EACH_ITEM(json_getl(was, "ephemeralContainers"), o)
			if (!before && span_eq(text_of(o, "name"), text_of(c, "name")))
				before = o;
		if (!before || !span_eq(text_of(before, "image"), text_of(c, "image")))
			return true;
	}
	return false;
}

static bool is_exempt(struct admission *req)
{
	const struct admission_config *config = admission_settings(req);
	if (listed(req->ns, config->exempt_namespaces, config->n_exempt_namespaces)) {
		admission_audit(req, PREFIX "exempt", SPAN("namespace"));
		return true;
	}
	if (listed(req->user_name, config->exempt_users, config->n_exempt_users)) {
		admission_audit(req, PREFIX "exempt", SPAN("user"));
		return true;
	}
	return false;
}

static int pod_request(struct admission *req, struct err *err)
{
	static const char *const ignored[] = { "exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status",
					       NULL };
	if (one_of(req->subresource, ignored) || is_exempt(req))
		return 0;
	const struct json *ns = admission_get(req, "", "namespaces", SPAN_EMPTY, req->ns);
	if (!ns)
		return err_set(err, ERR_INTERNAL, "Internal error occurred: failed to lookup namespace \"%.*s\"", SPAN_ARG(req->ns));
	auto_err struct err bad = ERR_INIT;
	struct policy p = policy_of(admission_settings(req), json_getl(meta_of(ns), "labels"), &bad);
	if (!bad.n_causes && p.enforce.level == ADMISSION_PRIVILEGED && p.audit.level == ADMISSION_PRIVILEGED &&
	    p.warn.level == ADMISSION_PRIVILEGED) {
		admission_audit(req, PREFIX "enforce-policy", SPAN("privileged:latest"));
		return 0;
	}
	if (req->op == ADMISSION_UPDATE && !is_significant(req->object, req->old))
		return 0;
	return pod_check(req, &p, &bad, meta_of(req->object), json_getl(req->object, "spec"), true, err);
}

static const struct json *template_of(const struct admission *req)
{
	if (admission_is(req, "", "podtemplates"))
		return json_getl(req->object, "template");
	if (admission_is(req, "batch", "cronjobs"))
		return json_path(req->object, "spec", "jobTemplate", "spec", "template", NULL);
	return json_path(req->object, "spec", "template", NULL);
}

static bool makes_pods(const struct admission *req)
{
	static const struct {
		const char *group, *plural;
	} rows[] = {
		{ "", "replicationcontrollers" }, { "", "podtemplates" }, { "apps", "replicasets" }, { "apps", "deployments" },
		{ "apps", "statefulsets" }, { "apps", "daemonsets" }, { "batch", "jobs" }, { "batch", "cronjobs" },
	};
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		if (admission_is(req, rows[i].group, rows[i].plural))
			return true;
	return false;
}

static int template_request(struct admission *req, struct err *err)
{
	if (req->subresource.len || is_exempt(req))
		return 0;
	const struct json *ns = admission_get(req, "", "namespaces", SPAN_EMPTY, req->ns);
	if (!ns) {
		admission_audit(req, PREFIX "error", arena_printf(req->arena, "failed to lookup namespace \"%.*s\": namespace \"%.*s\" "
								  "not found", SPAN_ARG(req->ns), SPAN_ARG(req->ns)));
		return 0;
	}
	auto_err struct err bad = ERR_INIT;
	struct policy p = policy_of(admission_settings(req), json_getl(meta_of(ns), "labels"), &bad);
	if (!bad.n_causes && p.warn.level == ADMISSION_PRIVILEGED && p.audit.level == ADMISSION_PRIVILEGED)
		return 0;
	const struct json *template = template_of(req);
	if (!template)
		return 0;
	return pod_check(req, &p, &bad, meta_of(template), json_getl(template, "spec"), false, err);
}

/* ---- namespaces */
static struct span controller_uid(const struct json *pod)
{
	JSON_EACH_ITEM(json_getl(meta_of(pod), "ownerReferences"), ref)
		if (json_truth(json_getl(ref, "controller"), false))
			return text_of(ref, "uid");
	return SPAN_EMPTY;
}

struct finding {
	struct span reasons, pod; /* pod: the first by name */
	unsigned n;
};

static int finding_cmp(const void *a, const void *b)
{
	return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

/* Warns about pods that the new policy would have refused: one of each controller first, then the others, as far as the bound. */
static void existing_pods(struct admission *req, struct span ns, const struct admission_policy *p)
{
	const struct json *list = admission_list(req, "", "pods", ns);
	unsigned total = 0, n_later = 0, n_found = 0, cap = count_of(list) ? count_of(list) : 1;
	const struct json **pods = arena_alloc_n(req->arena, cap, sizeof(*pods));
	const struct json **later = arena_alloc_n(req->arena, cap, sizeof(*later));
	auto_map struct map seen = {}, by_reason = {};
	JSON_EACH_ITEM(list, pod) {
		if (runtime_class_exempt(admission_settings(req), json_getl(pod, "spec")))
			continue;
		struct span uid = controller_uid(pod);
		if (uid.len && map_put(&seen, uid, pod))
			later[n_later++] = pod;
		else
			pods[total++] = pod;
	}
	if (n_later)
		memcpy(pods + total, later, n_later * sizeof(*pods));
	total += n_later;
	unsigned checked = MIN(total, (unsigned)MAX_PODS);
	struct finding *found = arena_alloc_n(req->arena, checked ? checked : 1, sizeof(*found));
	for (unsigned i = 0; i < checked; i++) {
		auto_buf struct buf reasons = {}, details = {};
		struct subject s = subject_of(req->arena, meta_of(pods[i]), json_getl(pods[i], "spec"));
		evaluate(&s, p, &reasons, &details);
		if (!reasons.len)
			continue;
		struct finding *f = map_get(&by_reason, buf_span(&reasons));
		if (!f) {
			f = &found[n_found++];
			*f = (struct finding){ arena_span(req->arena, buf_span(&reasons)), name_of(pods[i]), 0 };
			map_put(&by_reason, f->reasons, f);
		}
		if (span_cmp(name_of(pods[i]), f->pod) < 0)
			f->pod = name_of(pods[i]);
		f->n++;
	}
	if (checked < total)
		admission_warn(req, arena_printf(req->arena, "new PodSecurity enforce level only checked against the first %u of %u "
						 "existing pods", checked, total));
	if (n_found)
		admission_warn(req, arena_printf(req->arena, "existing pods in namespace \"%.*s\" violate the new PodSecurity enforce "
						 "level \"%.*s\"", SPAN_ARG(ns), SPAN_ARG(policy_text(req->arena, p))));
	struct span *lines = arena_alloc_n(req->arena, n_found ? n_found : 1, sizeof(*lines));
	for (unsigned i = 0; i < n_found; i++) {
		const struct finding *f = &found[i];
		auto_buf struct buf more = {};
		if (f->n > 1)
			buf_printf(&more, " (and %u other pod%s)", f->n - 1, f->n == 2 ? "" : "s");
		lines[i] = arena_printf(req->arena, "%.*s%s: %.*s", SPAN_ARG(f->pod), buf_cstr(&more), SPAN_ARG(f->reasons));
	}
	qsort(lines, n_found, sizeof(*lines), finding_cmp);
	for (unsigned i = 0; i < n_found; i++)
		admission_warn(req, lines[i]);
}

static void exempt_part(struct admission *req, struct buf *out, const char *mode, const struct admission_policy *p,
			const struct json *labels, const char *level, const char *version)
{
	if (p->level == ADMISSION_PRIVILEGED || !(json_get(labels, span_of(level)) || json_get(labels, span_of(version))))
		return;
	buf_printf(out, "%s%s=%.*s", out->len ? ", " : "", mode, SPAN_ARG(policy_text(req->arena, p)));
}

static void exempt_warning(struct admission *req, const struct policy *p, const struct json *labels)
{
	const struct admission_config *config = admission_settings(req);
	if ((p->enforce.level == ADMISSION_PRIVILEGED && p->audit.level == ADMISSION_PRIVILEGED &&
	     p->warn.level == ADMISSION_PRIVILEGED) ||
	    (policy_equivalent(&p->enforce, &config->enforce) && policy_equivalent(&p->audit, &config->audit) &&
	     policy_equivalent(&p->warn, &config->warn)))
		return;
	auto_buf struct buf text = {};
	exempt_part(req, &text, "enforce", &p->enforce, labels, PREFIX "enforce", PREFIX "enforce-version");
	exempt_part(req, &text, "audit", &p->audit, labels, PREFIX "audit", PREFIX "audit-version");
	exempt_part(req, &text, "warn", &p->warn, labels, PREFIX "warn", PREFIX "warn-version");
	admission_warn(req, arena_printf(req->arena,
		"namespace \"%.*s\" is exempt from Pod Security, and the policy (%s) will be ignored",
					 SPAN_ARG(name_of(req->object)), buf_cstr(&text)));
}

static bool same_causes(const struct err *a, const struct err *b)
{
	if (a->n_causes != b->n_causes)
		return false;
	for (unsigned i = 0; i < a->n_causes; i++)
		if (strcmp(a->causes[i].field, b->causes[i].field) != 0 ||
		    strcmp(a->causes[i].message, b->causes[i].message) != 0)
			return false;
	return true;
}

static int namespace_request(struct admission *req, struct err *err)
{
	const struct admission_config *config = admission_settings(req);
	const struct json *labels = json_getl(meta_of(req->object), "labels");
	auto_err struct err bad = ERR_INIT, old_bad = ERR_INIT;
	if (req->subresource.len)
		return 0;
	struct policy p = policy_of(config, labels, &bad);
	struct policy was = p;
	if (req->op == ADMISSION_UPDATE)
		was = policy_of(config, json_getl(meta_of(req->old), "labels"), &old_bad);
	if (bad.n_causes && (req->op == ADMISSION_CREATE || !same_causes(&bad, &old_bad))) {
		strategy_invalid(req->resource, req->name, &bad);
		return err_move(err, &bad);
	}
	/* A request to a namespace is in that namespace; one that makes it is not yet. */
	bool exempt = listed(req->op == ADMISSION_UPDATE ? req->name : req->ns, config->exempt_namespaces,
			     config->n_exempt_namespaces);
	if (req->op == ADMISSION_UPDATE &&
	    (policy_same(&p.enforce, &was.enforce) || p.enforce.level == ADMISSION_PRIVILEGED ||
	     (p.enforce.latest == was.enforce.latest && p.enforce.minor == was.enforce.minor &&
	      p.enforce.level <= was.enforce.level)))
		return 0;
	if (exempt)
		exempt_warning(req, &p, labels);
	else if (req->op == ADMISSION_UPDATE)
		existing_pods(req, name_of(req->object), &p.enforce);
	return 0;
}

int admission_pod_security(struct admission *req, struct err *err)
{
	if (admission_is(req, "", "namespaces"))
		return namespace_request(req, err);
	if (admission_is(req, "", "pods"))
		return pod_request(req, err);
	return makes_pods(req) ? template_request(req, err) : 0;
}
