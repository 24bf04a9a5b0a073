/* The CRI's configurations as the container engine's documents. Pure: nothing is asked of the disk or the machine.
 *
 *     PodSandboxConfig   a pause container: nothing but the program, read-only, without capabilities, holding the namespaces
 *     ContainerConfig    Config and HostConfig where Docker has the same thing; what it has not is Extra (container.h)
 *
 * What cannot be honoured is an error that names it; a kubelet shows it to whoever wrote the pod. */
#include "cri/private.h"
#include "sys/sys.h"

#define BAD(...) err_set(err, ERR_INVALID_REQUEST, __VA_ARGS__)
#define LACKING(...) err_set(err, ERR_UNSUPPORTED, __VA_ARGS__)

enum { MODE_POD, MODE_CONTAINER, MODE_NODE, MODE_TARGET };           /* NamespaceMode */
enum { PROFILE_DEFAULT, PROFILE_UNCONFINED, PROFILE_LOCALHOST };     /* SecurityProfile.ProfileType */
enum { PROPAGATION_PRIVATE, PROPAGATION_HOST, PROPAGATION_BOTH };    /* MountPropagation */
enum { GROUPS_MERGE, GROUPS_STRICT };                                /* SupplementalGroupsPolicy */
enum { PROTOCOL_SCTP = 2 };                                          /* Protocol: the last */

#define SIGNALS 65 /* the last of enum Signal */
#define PAUSE_OOM_SCORE (-998)
#define PAUSE_CPU_SHARES 2

static void put(struct arena *a, struct json *o, const char *key, struct json v)
{
	(void)json_add(a, o, span_of(key), v);
}

static void put_s(struct arena *a, struct json *o, const char *key, struct span s)
{
	if (s.len)
		put(a, o, key, json_str(s));
}

static void put_i(struct arena *a, struct json *o, const char *key, int64_t n)
{
	if (n)
		put(a, o, key, json_int(n));
}

static struct json strings(struct arena *a, const struct span *list, uint32_t n)
{
	struct json out = json_array();
	for (uint32_t i = 0; i < n; i++)
		(void)json_push(a, &out, json_str(list[i]));
	return out;
}

static struct json numbers_as_text(struct arena *a, const int64_t *list, uint32_t n)
{
	struct json out = json_array();
	for (uint32_t i = 0; i < n; i++)
		(void)json_push(a, &out, json_str(arena_printf(a, "%lld", (long long)list[i])));
	return out;
}

static struct json none_logged(struct arena *a)
{
	struct json log = json_object();
	put(a, &log, "Type", json_cstr("none"));
	return log;
}

/* An image's probe is Docker's; pods have their own. */
static struct json no_health(struct arena *a)
{
	struct json h = json_object(), test = json_array();
	(void)json_push(a, &test, json_cstr("NONE"));
	put(a, &h, "Test", test);
	return h;
}

static int userns_check(const struct api_cri_namespace_option *n, struct err *err)
{
	if (n && n->userns_options && n->userns_options->mode == MODE_POD)
		return LACKING("user namespaces are not supported by this runtime: set hostUsers to true or leave it out");
	return 0;
}

/* ---- security */

/* A kind of a later protocol must not run without any profile. */
static int profile_check(const char *what, const struct api_cri_security_profile *p, struct err *err)
{
	if (p && (p->profile_type < PROFILE_DEFAULT || p->profile_type > PROFILE_LOCALHOST))
		return BAD("unknown kind of %s profile: %d", what, p->profile_type);
	if (p && p->profile_type == PROFILE_LOCALHOST && !p->localhost_ref.len)
		return BAD("the %s profile has no name", what);
	return 0;
}

/* "seccomp=..." of SecurityOpt. text: of a localhost profile. No word at all means none, as with containerd. */
static int seccomp_put(struct arena *a, struct json *opts, const struct api_cri_security_profile *p, struct span old,
	bool privileged, struct span text, struct err *err)
{
	bool plain = !p && (span_is(old, "runtime/default") || span_is(old, "docker/default"));
	bool local = p ? p->profile_type == PROFILE_LOCALHOST : span_starts(old, SPAN("localhost/"));
	int rc = profile_check("seccomp", p, err);
	if (rc < 0)
		return rc;
	if (!privileged && ((p && p->profile_type == PROFILE_DEFAULT) || plain)) {
		(void)json_push(a, opts, json_cstr("seccomp=builtin"));
	} else if (!privileged && local) {
		if (!text.len)
			return BAD("the seccomp profile is empty");
		(void)json_push(a, opts, json_str(arena_printf(a, "seccomp=%.*s", SPAN_ARG(text))));
	} else {
		(void)json_push(a, opts, json_cstr("seccomp=unconfined"));
	}
	return 0;
}

struct span cri_spec_seccomp_path(const struct api_cri_security_profile *p, struct span old)
{
	if (p)
		return p->profile_type == PROFILE_LOCALHOST ? p->localhost_ref : SPAN_EMPTY;
	return span_starts(old, SPAN("localhost/")) ? span_from(old, 10) : SPAN_EMPTY;
}

/* RuntimeDefault is the engine's own profile: that is what no word means to it. No word from the kubelet means none. */
static int apparmor_put(struct arena *a, struct json *opts, const struct api_cri_security_profile *p, struct span old,
	bool privileged, struct err *err)
{
	struct span name = SPAN("unconfined");
	int rc = profile_check("AppArmor", p, err);
	if (rc < 0)
		return rc;
	if (p ? p->profile_type == PROFILE_DEFAULT : span_is(old, "runtime/default"))
		name = SPAN_EMPTY;
	else if (p && p->profile_type == PROFILE_LOCALHOST)
		name = p->localhost_ref;
	else if (!p && span_starts(old, SPAN("localhost/")))
		name = span_from(old, 10);
	if (privileged)
		name = SPAN("unconfined");
	if (name.len)
		(void)json_push(a, opts, json_str(arena_printf(a, "apparmor=%.*s", SPAN_ARG(name))));
	return 0;
}

/* ---- sandboxes */

static void resolv_conf(struct arena *a, const struct api_cri_dns_config *d, struct json *extra)
{
	auto_buf struct buf b = {};
	if (!d)
		return;
	for (uint32_t i = 0; i < d->searches.n; i++)
		buf_printf(&b, "%s%.*s", i ? " " : "search ", SPAN_ARG(d->searches.ptr[i]));
	if (d->searches.n)
		buf_chr(&b, '\n');
	for (uint32_t i = 0; i < d->servers.n; i++)
		buf_printf(&b, "nameserver %.*s\n", SPAN_ARG(d->servers.ptr[i]));
	for (uint32_t i = 0; i < d->options.n; i++)
		buf_printf(&b, "%s%.*s", i ? " " : "options ", SPAN_ARG(d->options.ptr[i]));
	if (d->options.n)
		buf_chr(&b, '\n');
	if (b.len) /* else the host's */
		put(a, extra, "ResolvConf", json_str(arena_span(a, buf_span(&b))));
}

static struct json pause_mount(struct arena *a, const char *runner)
{
	struct json list = json_array(), m = json_object();
	put(a, &m, "Type", json_cstr("bind"));
	put(a, &m, "Source", json_cstr(runner));
	put(a, &m, "Target", json_cstr("/pause"));
	put(a, &m, "ReadOnly", json_bool(true));
	(void)json_push(a, &list, m);
	return list;
}

const struct api_cri_namespace_option *cri_spec_pod_spaces(const struct api_cri_pod_sandbox_config *p)
{
	const struct api_cri_linux_sandbox_security_context *s = p->linux_ ? p->linux_->security_context : NULL;
	return s ? s->namespace_options : NULL;
}

bool cri_spec_host_network(const struct api_cri_pod_sandbox_config *p)
{
	const struct api_cri_namespace_option *n = cri_spec_pod_spaces(p);
	return n && n->network == MODE_NODE;
}

/* Under systemd a slice has one name, which the kubelet gives with the path that systemd makes of it. */
static struct span cgroup_parent(const struct api_cri_pod_sandbox_config *p, bool systemd)
{
	struct span parent = p->linux_ ? p->linux_->cgroup_parent : SPAN_EMPTY;
	return systemd ? span_from(parent, (size_t)(span_rchr(parent, '/') + 1)) : parent;
}

/* What is of no known meaning is not passed over. CONTAINER is what POD is where a sandbox alone is meant, as with containerd. */
static int pod_check(const struct api_cri_pod_sandbox_config *p, const struct api_cri_namespace_option *n, struct err *err)
{
	const int32_t modes[] = { n ? n->network : MODE_POD, n ? n->pid : MODE_POD, n ? n->ipc : MODE_POD };
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (modes[i] < MODE_POD || modes[i] > MODE_NODE)
			return BAD("namespace mode %d is none of a sandbox", modes[i]);
	for (uint32_t i = 0; i < p->port_mappings.n; i++) {
		const struct api_cri_port_mapping *m = &p->port_mappings.ptr[i];
		if (m->protocol < 0 || m->protocol > PROTOCOL_SCTP)
			return BAD("port %d: unknown protocol %d", m->container_port, m->protocol);
		/* No host port: it is only told. */
		if (m->host_port < 0 || m->host_port > 65535 || (m->host_port && (m->container_port < 1 || m->container_port > 65535)))
			return BAD("port %d to %d: no ports", m->host_port, m->container_port);
	}
	return 0;
}

int cri_spec_pod(const struct api_cri_pod_sandbox_config *p, const char *runner, struct span netns, struct span seccomp,
	bool systemd, struct arena *a, struct cri_documents *out, struct err *err)
{
	const struct api_cri_linux_sandbox_security_context *s = p->linux_ ? p->linux_->security_context : NULL;
	const struct api_cri_namespace_option *n = s ? s->namespace_options : NULL;
	struct json config = json_object(), host = json_object(), extra = json_object(), opts = json_array(), drop = json_array();
	struct json entry = json_array(), sysctls = json_object();
	bool host_net = cri_spec_host_network(p);
	int rc = userns_check(n, err);
	rc = rc < 0 ? rc : pod_check(p, n, err);
	rc = rc < 0 ? rc : seccomp_put(a, &opts, s ? s->seccomp : NULL, s ? s->seccomp_profile_path : SPAN_EMPTY,
		s && s->privileged, seccomp, err);
	rc = rc < 0 ? rc : apparmor_put(a, &opts, s ? s->apparmor : NULL, SPAN_EMPTY, s && s->privileged, err);
	if (rc < 0)
		return rc;
	(void)json_push(a, &entry, json_cstr("/pause"));
	put(a, &config, "Entrypoint", entry);
	put(a, &config, "Healthcheck", no_health(a));
	if (!host_net)
		put_s(a, &config, "Hostname", p->hostname);
	if (s && s->run_as_user) {
		struct span gid = s->run_as_group ? arena_printf(a, ":%lld", (long long)s->run_as_group->value) : SPAN_EMPTY;
		put(a, &config, "User", json_str(arena_printf(a, "%lld%.*s", (long long)s->run_as_user->value, SPAN_ARG(gid))));
	} else if (s && s->run_as_group) {
		return BAD("the sandbox' user is not set, but its group is");
	}
	put(a, &host, "NetworkMode", json_cstr(host_net ? "host" : "none"));
	put(a, &host, "UTSMode", json_cstr(host_net ? "host" : ""));
	put(a, &host, "IpcMode", json_cstr(n && n->ipc == MODE_NODE ? "host" : "shareable"));
	put(a, &host, "PidMode", json_cstr(n && n->pid == MODE_NODE ? "host" : ""));
	put(a, &host, "Mounts", pause_mount(a, runner));
	put(a, &host, "ReadonlyRootfs", json_bool(true));
	(void)json_push(a, &drop, json_cstr("ALL"));
	put(a, &host, "CapDrop", drop);
	(void)json_push(a, &opts, json_cstr("no-new-privileges=true"));
	put(a, &host, "SecurityOpt", opts);
	put(a, &host, "OomScoreAdj", json_int(PAUSE_OOM_SCORE));
	put(a, &host, "CpuShares", json_int(PAUSE_CPU_SHARES));
	put(a, &host, "LogConfig", none_logged(a));
	if (p->linux_) {
		put_s(a, &host, "CgroupParent", cgroup_parent(p, systemd));
		for (uint32_t i = 0; i < p->linux_->sysctls.n; i++)
			(void)json_set(a, &sysctls, p->linux_->sysctls.ptr[i].key, json_str(p->linux_->sysctls.ptr[i].value));
		put(a, &host, "Sysctls", sysctls);
	}
	if (s && s->supplemental_groups.n)
		put(a, &host, "GroupAdd", numbers_as_text(a, s->supplemental_groups.ptr, s->supplemental_groups.n));
	put_s(a, &extra, "NetworkPath", netns);
	put(a, &extra, "Fleeting", json_bool(true));
	resolv_conf(a, p->dns_config, &extra);
	*out = (struct cri_documents){ config, host, extra };
	return 0;
}

/* ---- containers */

/* The enum in the order of its names: 1 is SIGABRT. Real-time ones are arithmetic. */
static struct span signal_name(int32_t n, struct arena *a)
{
	static const char names[] = "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP "
				    "SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ";
	struct span rest = span_of(names), word = SPAN_EMPTY;
	if (n >= 35 && n <= 65)
		return n <= 50 ? arena_printf(a, "SIGRTMIN+%d", n - 35) : arena_printf(a, "SIGRTMAX-%d", 65 - n);
	for (int32_t i = 1; i <= n && span_cut(&rest, ' ', &word); i++)
		if (i == n)
			return arena_printf(a, "SIG%.*s", SPAN_ARG(word));
	return SPAN_EMPTY;
}

int32_t cri_spec_signal(struct span name)
{
	auto_arena struct arena a = {};
	int want = name.len ? sys_signal_by_name(name) : 0;
	for (int32_t i = 1; want > 0 && i <= SIGNALS; i++)
		if (sys_signal_by_name(signal_name(i, &a)) == want)
			return i;
	return 0;
}

int cri_spec_selinux(const struct api_cri_se_linux_option *o, bool machine_has, struct err *err)
{
	if (!machine_has || !o || !(o->user.len || o->role.len || o->type.len || o->level.len))
		return 0;
	return LACKING("SELinux labels are not supported by this runtime: leave seLinuxOptions out");
}

static int user_put(struct arena *a, const struct api_cri_linux_container_security_context *s, struct json *config, struct err *err)
{
	struct span user = s->run_as_username;
	if (s->run_as_user)
		user = arena_printf(a, "%lld", (long long)s->run_as_user->value);
	if (s->run_as_group && !user.len)
		return BAD("user group %lld is specified without user", (long long)s->run_as_group->value);
	if (s->run_as_group)
		user = arena_printf(a, "%.*s:%lld", SPAN_ARG(user), (long long)s->run_as_group->value);
	put_s(a, config, "User", user);
	return 0;
}

static int config_make(struct arena *a, const struct api_cri_container_config *c, struct span image, struct json *out,
	struct err *err)
{
	struct json v = json_object(), env = json_array();
	put(a, &v, "Image", json_str(image));
	if (c->command.n)
		put(a, &v, "Entrypoint", strings(a, c->command.ptr, c->command.n));
	if (c->args.n)
		put(a, &v, "Cmd", strings(a, c->args.ptr, c->args.n));
	put_s(a, &v, "WorkingDir", c->working_dir);
	for (uint32_t i = 0; i < c->envs.n; i++)
		(void)json_push(a, &env,
			json_str(arena_printf(a, "%.*s=%.*s", SPAN_ARG(c->envs.ptr[i].key), SPAN_ARG(c->envs.ptr[i].value))));
	put(a, &v, "Env", env);
	put(a, &v, "Tty", json_bool(c->tty));
	put(a, &v, "OpenStdin", json_bool(c->stdin));
	put(a, &v, "StdinOnce", json_bool(c->stdin_once));
	put(a, &v, "Healthcheck", no_health(a));
	put_s(a, &v, "StopSignal", signal_name(c->stop_signal, a));
	int rc = c->linux_ && c->linux_->security_context ? user_put(a, c->linux_->security_context, &v, err) : 0;
	*out = v;
	return rc;
}

static int mounts_make(struct arena *a, const struct api_cri_container_config *c, struct json *out, struct err *err)
{
	static const char *const propagations[] = { "rprivate", "rslave", "rshared" };
	*out = json_array();
	for (uint32_t i = 0; i < c->mounts.n; i++) {
		const struct api_cri_mount *m = &c->mounts.ptr[i];
		struct json v = json_object(), bind = json_object();
		if (m->image && m->image->image.len)
			return LACKING("mount %.*s: image volumes are not supported", SPAN_ARG(m->container_path));
		if (m->uid_mappings.n || m->gid_mappings.n)
			return LACKING("mount %.*s: id mapped mounts are not supported", SPAN_ARG(m->container_path));
		if (m->propagation < 0 || m->propagation > PROPAGATION_BOTH)
			return BAD("mount %.*s: unknown propagation %d", SPAN_ARG(m->container_path), m->propagation);
		if (m->recursive_read_only && (!m->readonly || m->propagation != PROPAGATION_PRIVATE))
			return BAD("mount %.*s: recursive_read_only needs readonly and private propagation", SPAN_ARG(m->container_path));
		put(a, &v, "Type", json_cstr("bind"));
		put(a, &v, "Source", json_str(m->host_path));
		/* A relative path is meant from the root, as containerd has it. */
		bool absolute = m->container_path.len && m->container_path.ptr[0] == '/';
		put(a, &v, "Target", json_str(absolute ? m->container_path : arena_printf(a, "/%.*s", SPAN_ARG(m->container_path))));
		put(a, &v, "ReadOnly", json_bool(m->readonly));
		put(a, &bind, "Propagation", json_cstr(propagations[m->propagation]));
		put(a, &bind, "CreateMountpoint", json_bool(true));
		if (m->recursive_read_only)
			put(a, &bind, "ReadOnlyForceRecursive", json_bool(true));
		put(a, &v, "BindOptions", bind);
		(void)json_push(a, out, v);
	}
	return 0;
}

static struct json devices_make(struct arena *a, const struct api_cri_container_config *c)
{
	struct json list = json_array();
	for (uint32_t i = 0; i < c->devices.n; i++) {
		struct json v = json_object();
		put(a, &v, "PathOnHost", json_str(c->devices.ptr[i].host_path));
		put(a, &v, "PathInContainer", json_str(c->devices.ptr[i].container_path));
		put(a, &v, "CgroupPermissions", json_str(c->devices.ptr[i].permissions));
		(void)json_push(a, &list, v);
	}
	return list;
}

void cri_spec_resources(const struct api_cri_linux_container_resources *r, struct arena *a, struct json *host, struct json *extra)
{
	struct json pages = json_array(), unified = json_object();
	put_i(a, host, "CpuPeriod", r->cpu_period);
	put_i(a, host, "CpuQuota", r->cpu_quota);
	put_i(a, host, "CpuShares", r->cpu_shares);
	put_i(a, host, "Memory", r->memory_limit_in_bytes);
	/* Without a word on swap there is none beyond the limit: a pod must not go slow where it should be told. */
	put_i(a, host, "MemorySwap", r->memory_swap_limit_in_bytes ? r->memory_swap_limit_in_bytes : r->memory_limit_in_bytes);
	put_s(a, host, "CpusetCpus", r->cpuset_cpus);
	put_s(a, host, "CpusetMems", r->cpuset_mems);
	for (uint32_t i = 0; i < r->hugepage_limits.n; i++) {
		struct json v = json_object();
		put(a, &v, "pageSize", json_str(r->hugepage_limits.ptr[i].page_size));
		put(a, &v, "limit", json_uint(r->hugepage_limits.ptr[i].limit));
		(void)json_push(a, &pages, v);
	}
	for (uint32_t i = 0; i < r->unified.n; i++)
		(void)json_set(a, &unified, r->unified.ptr[i].key, json_str(r->unified.ptr[i].value));
	if (pages.n)
		put(a, extra, "Hugepages", pages);
	if (unified.n)
		put(a, extra, "Unified", unified);
}

static int spaces_make(struct arena *a, const struct cri_pod *pod, const struct api_cri_namespace_option *n, struct json *host,
	struct err *err)
{
	struct span of_pod = arena_printf(a, "container:%s", pod->id);
	const struct api_cri_namespace_option *sandbox = cri_spec_pod_spaces(&pod->config);
	int pid = n ? n->pid : sandbox ? sandbox->pid : MODE_POD, ipc = n ? n->ipc : sandbox ? sandbox->ipc : MODE_POD;
	int rc = userns_check(n, err);
	if (rc < 0)
		return rc;
	put(a, host, "NetworkMode", json_str(of_pod));
	put(a, host, "IpcMode", ipc == MODE_NODE ? json_cstr("host") : json_str(of_pod));
	put(a, host, "UTSMode", json_cstr(cri_spec_host_network(&pod->config) ? "host" : ""));
	switch (pid) {
	case MODE_POD: put(a, host, "PidMode", json_str(of_pod)); break;
	case MODE_CONTAINER: break;
	case MODE_NODE: put(a, host, "PidMode", json_cstr("host")); break;
	case MODE_TARGET: {
		LIST_EACH (&pod->containers, one, struct cri_container, of_pod)
			if (span_is(n->target_id, one->id)) {
				put(a, host, "PidMode", json_str(arena_printf(a, "container:%s", one->id)));
				return 0;
			}
		return BAD("invalid target container: %.*s is no container of sandbox %s", SPAN_ARG(n->target_id), pod->id);
	}
	default: return BAD("unknown namespace mode %d", pid);
	}
	return 0;
}

static int security_make(struct arena *a, const struct api_cri_linux_container_security_context *s, struct span seccomp,
	struct json *host, struct json *extra, struct err *err)
{
	struct json opts = json_array();
	const struct api_cri_capability *caps = s->capabilities;
	put(a, host, "Privileged", json_bool(s->privileged));
	put(a, host, "ReadonlyRootfs", json_bool(s->readonly_rootfs));
	if (caps && !s->privileged) {
		put(a, host, "CapAdd", strings(a, caps->add_capabilities.ptr, caps->add_capabilities.n));
		put(a, host, "CapDrop", strings(a, caps->drop_capabilities.ptr, caps->drop_capabilities.n));
		if (caps->add_ambient_capabilities.n)
			put(a, extra, "Ambient", strings(a, caps->add_ambient_capabilities.ptr, caps->add_ambient_capabilities.n));
	}
	/* The kubelet says which; with none there are none. */
	put(a, host, "MaskedPaths", s->privileged ? json_array() : strings(a, s->masked_paths.ptr, s->masked_paths.n));
	put(a, host, "ReadonlyPaths", s->privileged ? json_array() : strings(a, s->readonly_paths.ptr, s->readonly_paths.n));
	int rc = seccomp_put(a, &opts, s->seccomp, s->seccomp_profile_path, s->privileged, seccomp, err);
	rc = rc < 0 ? rc : apparmor_put(a, &opts, s->apparmor, s->apparmor_profile, s->privileged, err);
	(void)json_push(a, &opts, json_cstr(s->no_new_privs ? "no-new-privileges=true" : "no-new-privileges=false"));
	put(a, host, "SecurityOpt", opts);
	if (s->supplemental_groups.n)
		put(a, host, "GroupAdd", numbers_as_text(a, s->supplemental_groups.ptr, s->supplemental_groups.n));
	if (rc == 0 && s->supplemental_groups_policy != GROUPS_MERGE && s->supplemental_groups_policy != GROUPS_STRICT)
		rc = BAD("unknown policy of supplemental groups: %d", s->supplemental_groups_policy);
	put(a, extra, "Groups", json_cstr(s->supplemental_groups_policy == GROUPS_STRICT ? "strict" : "merge"));
	return rc;
}

int cri_spec_container(const struct cri_pod *pod, const struct api_cri_container_config *c, struct span image,
	struct span seccomp, bool systemd, struct arena *a, struct cri_documents *out, struct err *err)
{
	static const struct api_cri_linux_container_security_context plain = {};
	const struct api_cri_linux_container_security_context *s =
		c->linux_ && c->linux_->security_context ? c->linux_->security_context : &plain;
	const struct api_cri_linux_container_resources *r = c->linux_ ? c->linux_->resources : NULL;
	struct json config, host = json_object(), extra = json_object(), mounts;
	const struct api_cri_linux_sandbox_security_context *sandbox =
		pod->config.linux_ ? pod->config.linux_->security_context : NULL;
	if (s->privileged && !(sandbox && sandbox->privileged)) /* as containerd: the sandbox says what may come into it */
		return BAD("no privileged container allowed in sandbox");
	if (c->cdi_devices.n)
		return LACKING("CDI devices are not supported: %.*s", SPAN_ARG(c->cdi_devices.ptr[0].name));
	int rc = config_make(a, c, image, &config, err);
	rc = rc < 0 ? rc : mounts_make(a, c, &mounts, err);
	rc = rc < 0 ? rc : spaces_make(a, pod, s->namespace_options, &host, err);
	rc = rc < 0 ? rc : security_make(a, s, seccomp, &host, &extra, err);
	if (rc < 0)
		return rc;
	put(a, &host, "Mounts", mounts);
	put(a, &host, "Devices", devices_make(a, c));
	put(a, &host, "LogConfig", none_logged(a));
	put_s(a, &host, "CgroupParent", cgroup_parent(&pod->config, systemd));
	if (r) {
		cri_spec_resources(r, a, &host, &extra);
		put_i(a, &host, "OomScoreAdj", r->oom_score_adj);
	}
	put(a, &extra, "Sandbox", json_cstr(pod->id));
	put(a, &extra, "Fleeting", json_bool(true));
	put_s(a, &extra, "LogPath", cri_log_path(pod, c, a));
	*out = (struct cri_documents){ config, host, extra };
	return 0;
}
