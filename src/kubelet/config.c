/* Sandboxes and containers as CRI is asked for them. After upstream's kuberuntime and dns packages. */
#include "kubelet/config.h"
#include "kubelet/env.h"

#include "sys/sys.h"

#define NEW(a, type) arena_new(a, struct api_cri_##type)

/* ---- names */

void kl_spec_hash(const struct api_core_container *c, char out[9])
{
	uint32_t h = 2166136261u; /* FNV-1a: the same on every start, unlike span_hash */
	const struct span parts[] = { c->name, SPAN("\n"), c->image };
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		for (size_t k = 0; k < parts[i].len; k++)
			h = (h ^ (uint8_t)parts[i].ptr[k]) * 16777619u;
	(void)snprintf(out, 9, "%08x", h);
}

void kl_pod_hostname(struct arena *a, const struct kl_pod *p, struct span *out_host, struct span *out_domain)
{
	const struct api_core_pod_spec *s = &p->object->pod.spec;
	struct span host = span_sub(s->hostname.len ? s->hostname : p->name, 0, 63);
	while (host.len && (host.ptr[host.len - 1] == '-' || host.ptr[host.len - 1] == '.'))
		host.len--;
	*out_domain = SPAN_EMPTY;
	if (s->subdomain.len)
		*out_domain = arena_printf(a, "%.*s.%.*s.svc.%.*s", SPAN_ARG(s->subdomain), SPAN_ARG(p->ns),
					   SPAN_ARG(p->k->o->cluster_domain));
	*out_host = host;
	if (s->set_hostname_as_fqdn && out_domain->len) {
		struct span whole = arena_printf(a, "%.*s.%.*s", SPAN_ARG(host), SPAN_ARG(*out_domain));
		if (whole.len <= 64) /* the kernel's bound */
			*out_host = whole;
	}
}

void kl_pod_hosts(struct buf *out, const struct kl_pod *p, struct span own_hosts)
{
	auto_arena struct arena a = {};
	const struct api_core_pod_spec *s = &p->object->pod.spec;
	struct span ips[4], host, domain;
	if (s->host_network) {
		buf_str(out, "# Kubernetes-managed hosts file (host network).\n");
		buf_span_add(out, own_hosts);
	} else {
		buf_str(out, "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
			     "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
		kl_pod_hostname(&a, p, &host, &domain);
		unsigned n = kl_pod_ips(p, ips);
		for (unsigned i = 0; i < n; i++) {
			buf_printf(out, "%.*s\t", SPAN_ARG(ips[i]));
			if (domain.len && !span_ends(host, domain))
				buf_printf(out, "%.*s.%.*s\t", SPAN_ARG(host), SPAN_ARG(domain));
			buf_printf(out, "%.*s\n", SPAN_ARG(host));
		}
	}
	if (s->host_aliases.n)
		buf_str(out, "\n# Entries added by HostAliases.\n");
	for (uint32_t i = 0; i < s->host_aliases.n; i++) {
		buf_span_add(out, s->host_aliases.ptr[i].ip);
		for (uint32_t k = 0; k < s->host_aliases.ptr[i].hostnames.n; k++)
			buf_printf(out, "\t%.*s", SPAN_ARG(s->host_aliases.ptr[i].hostnames.ptr[k]));
		buf_chr(out, '\n');
	}
}

/* ---- DNS */

struct words {
	struct span *ptr;
	uint32_t n;
};
#define WORDS_MAX 64

static void word_add(struct arena *a, struct words *w, struct span s)
{
	if (!w->ptr)
		w->ptr = arena_alloc_n(a, WORDS_MAX, sizeof(struct span));
	for (uint32_t i = 0; i < w->n; i++)
		if (span_eq(w->ptr[i], s))
			return;
	if (s.len && w->n < WORDS_MAX)
		w->ptr[w->n++] = s;
}

/* resolv.conf(5): of search and options the last line counts. */
static void read_resolv(struct arena *a, struct span text, struct words *servers, struct words *searches, struct words *options)
{
	struct span rest = text, line;
	while (span_cut(&rest, '\n', &line)) {
		line = span_trim(line);
		char *copy = arena_cstr(a, line);
		for (size_t i = 0; i < line.len; i++)
			copy[i] = copy[i] == '\t' ? ' ' : copy[i];
		struct span words = span_make(copy, line.len), word, key;
		if (!span_cut(&words, ' ', &key))
			continue;
		struct words *to = span_is(key, "nameserver") ? servers : span_is(key, "search") ? searches :
				   span_is(key, "options") ? options : NULL;
		if (!to)
			continue;
		if (to == searches)
			to->n = 0;
		while (span_cut(&words, ' ', &word)) {
			if (!word.len)
				continue;
			if (to == searches && word.len > 1 && span_ends(word, SPAN(".")))
				word.len--;
			word_add(a, to, word);
			if (to == servers)
				break;
		}
	}
}

static struct span option_name(struct span o)
{
	struct span name, value;
	(void)span_split(o, ':', &name, &value);
	return name;
}

void kl_pod_dns(struct arena *a, const struct kl_pod *p, struct span resolv_conf, struct api_cri_dns_config *out,
		bool *out_fallback)
{
	const struct api_core_pod_spec *s = &p->object->pod.spec;
	const struct kl_options *o = p->k->o;
	struct words servers = {}, searches = {}, options = {};
	struct span policy = s->dns_policy, rest, one;
	bool cluster = !policy.len || span_is(policy, "ClusterFirstWithHostNet") || (span_is(policy, "ClusterFirst") &&
										     !s->host_network);
	*out_fallback = cluster && !o->cluster_dns.len;
	if (*out_fallback)
		cluster = false;
	if (!span_is(policy, "None"))
		read_resolv(a, resolv_conf, &servers, &searches, &options);
	if (cluster) {
		struct words own = searches;
		servers = searches = options = (struct words){};
		rest = o->cluster_dns;
		while (span_cut(&rest, ',', &one))
			word_add(a, &servers, span_trim(one));
		if (o->cluster_domain.len) {
			word_add(a, &searches, arena_printf(a, "%.*s.svc.%.*s", SPAN_ARG(p->ns), SPAN_ARG(o->cluster_domain)));
			word_add(a, &searches, arena_printf(a, "svc.%.*s", SPAN_ARG(o->cluster_domain)));
			word_add(a, &searches, o->cluster_domain);
		}
		for (uint32_t i = 0; i < own.n; i++)
			word_add(a, &searches, own.ptr[i]);
		word_add(a, &options, SPAN("ndots:5"));
	}
	const struct api_core_pod_dns_config *more = s->dns_config;
	for (uint32_t i = 0; more && i < more->nameservers.n; i++)
		word_add(a, &servers, more->nameservers.ptr[i]);
	for (uint32_t i = 0; more && i < more->searches.n; i++)
		word_add(a, &searches, more->searches.ptr[i]);
	for (uint32_t i = 0; more && i < more->options.n; i++) {
		const struct api_core_pod_dns_config_option *q = &more->options.ptr[i];
		for (uint32_t k = 0; k < options.n; k++)
			if (span_eq(option_name(options.ptr[k]), q->name))
				options.ptr[k--] = options.ptr[--options.n];
		word_add(a, &options, q->value.len ? arena_printf(a, "%.*s:%.*s", SPAN_ARG(q->name), SPAN_ARG(q->value)) : q->name);
	}
	*out = (struct api_cri_dns_config){ .servers = { servers.ptr, servers.n }, .searches = { searches.ptr, searches.n },
					    .options = { options.ptr, options.n } };
}

/* ---- what both have */

static struct api_cri_int64_value *number(struct arena *a, int64_t v)
{
	struct api_cri_int64_value *n = NEW(a, int64_value);
	n->value = v;
	return n;
}

static struct api_cri_namespace_option *namespaces(struct arena *a, const struct api_core_pod_spec *s, struct span target)
{
	enum { POD, CONTAINER, NODE, TARGET };
	struct api_cri_namespace_option *n = NEW(a, namespace_option);
	n->network = s->host_network ? NODE : POD;
	n->ipc = s->host_ipc ? NODE : POD;
	n->pid = s->host_pid ? NODE : s->share_process_namespace ? POD : CONTAINER;
	if (target.len && !s->host_pid && !s->share_process_namespace) {
		n->pid = TARGET;
		n->target_id = target;
	}
	return n;
}

static struct api_cri_security_profile *seccomp(struct arena *a, const struct kl_options *o,
						const struct api_core_seccomp_profile *own,
						const struct api_core_seccomp_profile *pods, bool privileged)
{
	enum { RUNTIME_DEFAULT, UNCONFINED, LOCALHOST };
	const struct api_core_seccomp_profile *want = own ? own : pods;
	struct api_cri_security_profile *p = NEW(a, security_profile);
	if (privileged)
		p->profile_type = UNCONFINED;
	else if (!want)
		p->profile_type = o->seccomp_default ? RUNTIME_DEFAULT : UNCONFINED;
	else
		p->profile_type = span_is(want->type, "RuntimeDefault") ? RUNTIME_DEFAULT : span_is(want->type, "Localhost") ? LOCALHOST
														   : UNCONFINED;
	if (p->profile_type == LOCALHOST)
		p->localhost_ref = arena_printf(a, "%.*s/%.*s", SPAN_ARG(o->seccomp_root), SPAN_ARG(want->localhost_profile));
	return p;
}

static struct api_cri_security_profile *apparmor(struct arena *a, const struct api_core_app_armor_profile *own,
						 const struct api_core_app_armor_profile *pods)
{
	const struct api_core_app_armor_profile *want = own ? own : pods;
	if (!want)
		return NULL;
	struct api_cri_security_profile *p = NEW(a, security_profile);
	p->profile_type = span_is(want->type, "RuntimeDefault") ? 0 : span_is(want->type, "Localhost") ? 2 : 1;
	p->localhost_ref = want->localhost_profile;
	return p;
}

static struct api_cri_se_linux_option *selinux(struct arena *a, const struct api_core_se_linux_options *own,
					       const struct api_core_se_linux_options *pods)
{
	const struct api_core_se_linux_options *w = own ? own : pods;
	if (!w)
		return NULL;
	struct api_cri_se_linux_option *s = NEW(a, se_linux_option);
	*s = (struct api_cri_se_linux_option){ .user = w->user, .role = w->role, .type = w->type, .level = w->level };
	return s;
}

static uint32_t groups_of(struct arena *a, const struct api_core_pod_security_context *sc, int64_t **out)
{
	uint32_t n = 0;
	*out = arena_alloc_n(a, (sc ? sc->supplemental_groups.n : 0) + 1, sizeof(int64_t));
	for (uint32_t i = 0; sc && i < sc->supplemental_groups.n; i++)
		(*out)[n++] = sc->supplemental_groups.ptr[i];
	if (sc && sc->has_fs_group)
		(*out)[n++] = sc->fs_group;
	return n;
}

static void labels(struct arena *a, const struct kl_pod *p, struct span container, bool with_own, struct api_pair **out,
		   uint32_t *out_n)
{
	const struct api_meta_object_meta *m = &p->object->pod.metadata;
	uint32_t n = 0, own = with_own ? m->labels.n : 0;
	struct api_pair *l = arena_alloc_n(a, own + 4, sizeof(*l));
	if (own)
		memcpy(l, m->labels.ptr, own * sizeof(*l));
	n = own;
	l[n++] = (struct api_pair){ SPAN(KL_LABEL_POD_NAME), p->name };
	l[n++] = (struct api_pair){ SPAN(KL_LABEL_POD_NS), p->ns };
	l[n++] = (struct api_pair){ SPAN(KL_LABEL_POD_UID), p->uid };
	if (container.len)
		l[n++] = (struct api_pair){ SPAN(KL_LABEL_CONTAINER), container };
	*out = l;
	*out_n = n;
}

/* ---- sandboxes */

static void ports(struct arena *a, const struct api_core_pod_spec *s, struct api_cri_pod_sandbox_config *out)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < s->init_containers.n + s->containers.n; i++)
		n += kl_spec_container(s, i, NULL)->ports.n;
	out->port_mappings.ptr = arena_alloc_n(a, n + 1, sizeof(struct api_cri_port_mapping));
	for (unsigned i = 0; i < s->init_containers.n + s->containers.n && !s->host_network; i++) {
		enum kl_container_kind kind;
		const struct api_core_container *c = kl_spec_container(s, i, &kind);
		if (kind == KL_INIT && !kl_is_sidecar(c, kind))
			continue;
		for (uint32_t k = 0; k < c->ports.n; k++) {
			const struct api_core_container_port *q = &c->ports.ptr[k];
			out->port_mappings.ptr[out->port_mappings.n++] = (struct api_cri_port_mapping){
				.protocol = span_is(q->protocol, "UDP") ? 1 : span_is(q->protocol, "SCTP") ? 2 : 0,
				.container_port = q->container_port, .host_port = q->host_port, .host_ip = q->host_ip };
		}
	}
}

void kl_sandbox_config(struct arena *a, const struct kl_pod *p, uint32_t attempt, struct span cgroup_parent,
		       struct api_cri_pod_sandbox_config *out)
{
	const struct api_core_pod_spec *s = &p->object->pod.spec;
	const struct api_core_pod_security_context *sc = s->security_context;
	auto_buf struct buf log_dir = {};
	struct api_cri_linux_sandbox_security_context *sec = NEW(a, linux_sandbox_security_context);
	struct api_cri_linux_pod_sandbox_config *lin = NEW(a, linux_pod_sandbox_config);
	struct span domain;
	*out = (struct api_cri_pod_sandbox_config){ .metadata = NEW(a, pod_sandbox_metadata), .linux_ = lin };
	*out->metadata = (struct api_cri_pod_sandbox_metadata){ .name = p->name, .uid = p->uid, .namespace = p->ns,
								.attempt = attempt };
	kl_pod_log_dir(&log_dir, p);
	out->log_directory = arena_span(a, buf_span(&log_dir));
	if (!s->host_network)
		kl_pod_hostname(a, p, &out->hostname, &domain);
	labels(a, p, SPAN_EMPTY, true, &out->labels.ptr, &out->labels.n);
	out->annotations.ptr = p->object->pod.metadata.annotations.ptr;
	out->annotations.n = p->object->pod.metadata.annotations.n;
	ports(a, s, out);
	lin->cgroup_parent = cgroup_parent;
	lin->security_context = sec;
	for (unsigned i = 0; i < s->init_containers.n + s->containers.n; i++) {
		const struct api_core_security_context *c = kl_spec_container(s, i, NULL)->security_context;
		sec->privileged |= c && c->privileged;
	}
	sec->namespace_options = namespaces(a, s, SPAN_EMPTY);
	sec->seccomp = seccomp(a, p->k->o, NULL, sc ? sc->seccomp_profile : NULL, sec->privileged);
	if (!sc || !sc->seccomp_profile)
		sec->seccomp->profile_type = sec->privileged ? 1 : 0; /* nothing but pause runs there */
	sec->selinux_options = selinux(a, NULL, sc ? sc->se_linux_options : NULL);
	if (sc && sc->has_run_as_user)
		sec->run_as_user = number(a, sc->run_as_user);
	if (sc && sc->has_run_as_group && sc->has_run_as_user)
		sec->run_as_group = number(a, sc->run_as_group);
	sec->supplemental_groups.n = groups_of(a, sc, &sec->supplemental_groups.ptr);
	if (sc && sc->sysctls.n) {
		lin->sysctls.ptr = arena_alloc_n(a, sc->sysctls.n, sizeof(struct api_pair));
		for (uint32_t i = 0; i < sc->sysctls.n; i++)
			lin->sysctls.ptr[lin->sysctls.n++] = (struct api_pair){ sc->sysctls.ptr[i].name, sc->sysctls.ptr[i].value };
	}
}

/* ---- containers */

static const struct span masked[] = {
	SPAN_INIT("/proc/asound"), SPAN_INIT("/proc/acpi"), SPAN_INIT("/proc/interrupts"), SPAN_INIT("/proc/kcore"),
	SPAN_INIT("/proc/keys"), SPAN_INIT("/proc/latency_stats"), SPAN_INIT("/proc/timer_list"), SPAN_INIT("/proc/timer_stats"),
	SPAN_INIT("/proc/sched_debug"), SPAN_INIT("/proc/scsi"), SPAN_INIT("/sys/firmware"),
	SPAN_INIT("/sys/devices/virtual/powercap"),
};
static const struct span read_only[] = {
	SPAN_INIT("/proc/bus"), SPAN_INIT("/proc/fs"), SPAN_INIT("/proc/irq"), SPAN_INIT("/proc/sys"), SPAN_INIT("/proc/sysrq-trigger"),
};

/* hugepages-2Mi: 4Mi is {"2MB", 4194304}: CRI has the kernel's names of the sizes (hugetlb.2MB.max). */
static void huge_pages(struct arena *a, const struct api_core_container *c, struct api_cri_linux_container_resources *out)
{
	static const char *const units[] = { "B", "KB", "MB", "GB", "TB", "PB" };
	const uint32_t n = c->resources.limits.n;
	out->hugepage_limits.ptr = arena_alloc_n(a, n + 1, sizeof(*out->hugepage_limits.ptr));
	for (uint32_t i = 0; i < n; i++) {
		const struct api_pair *one = &c->resources.limits.ptr[i];
		struct api_quantity q;
		unsigned unit = 0;
		if (!span_starts(one->key, SPAN("hugepages-")) ||
		    api_quantity_parse(span_from(one->key, strlen("hugepages-")), &q, NULL) < 0)
			continue;
		int64_t size = api_quantity_value(&q), limit;
		if (size <= 0 || api_quantity_parse(one->value, &q, NULL) < 0 || (limit = api_quantity_value(&q)) < 0)
			continue;
		while (size % 1024 == 0 && unit < ARRAY_LEN(units) - 1) {
			size /= 1024;
			unit++;
		}
		out->hugepage_limits.ptr[out->hugepage_limits.n++] = (struct api_cri_hugepage_limit){
			.page_size = arena_printf(a, "%lld%s", (long long)size, units[unit]), .limit = (uint64_t)limit };
	}
}

static void resources(struct arena *a, const struct kl_make *m, const struct api_core_container *c,
		      struct api_cri_linux_container_resources *out)
{
	const struct kl_options *o = m->pod->k->o;
	int64_t cpu = kl_amount(c->resources.requests.ptr, c->resources.requests.n, "cpu");
	int64_t cpu_limit = kl_amount(c->resources.limits.ptr, c->resources.limits.n, "cpu");
	int64_t memory = kl_amount(c->resources.limits.ptr, c->resources.limits.n, "memory");
	out->cpu_shares = kl_cpu_shares(cpu < 0 ? cpu_limit : cpu);
	out->cpu_period = 100000;
	if (o->cpu_cfs_quota)
		out->cpu_quota = kl_cpu_quota(cpu_limit, out->cpu_period);
	out->memory_limit_in_bytes = MAX(memory, 0);
	huge_pages(a, c, out);
	out->oom_score_adj = kl_oom_score_adj(&m->pod->object->pod.spec, c, m->memory_capacity);
	if (sys_cgroup_pure_v2()) {
		/* One process of a container that is out of memory takes the others with it, as there is no half container. */
		out->unified.ptr = arena_alloc(a, sizeof(struct api_pair));
		out->unified.ptr[0] = (struct api_pair){ SPAN("memory.oom.group"), SPAN("1") };
		out->unified.n = 1;
	}
}

static int check_non_root(const struct kl_make *m, const struct api_core_container *c,
			  const struct api_cri_linux_container_security_context *sec,
			  struct err *err)
{
	const struct kl_pod *p = m->pod;
	const struct api_core_pod_security_context *psc = p->object->pod.spec.security_context;
	const struct api_core_security_context *sc = c->security_context;
	bool wanted = sc && sc->has_run_as_non_root ? sc->run_as_non_root : psc && psc->has_run_as_non_root && psc->run_as_non_root;
	if (!wanted)
		return 0;
	if (sec->run_as_user && sec->run_as_user->value != 0)
		return 0;
	if (sec->run_as_user)
		return err_set(err, ERR_INVALID, "container's runAsUser breaks non-root policy (pod: \"%.*s_%.*s(%.*s)\", container: %.*s)",
			       SPAN_ARG(p->name), SPAN_ARG(p->ns), SPAN_ARG(p->uid), SPAN_ARG(c->name));
	if (m->image->uid && m->image->uid->value != 0)
		return 0;
	if (!m->image->uid && m->image->username.len)
		return err_set(err, ERR_INVALID,
			       "container has runAsNonRoot and image has non-numeric user (%.*s), cannot verify user is non-root "
			       "(pod: \"%.*s_%.*s(%.*s)\", container: %.*s)",
			       SPAN_ARG(m->image->username), SPAN_ARG(p->name), SPAN_ARG(p->ns), SPAN_ARG(p->uid), SPAN_ARG(c->name));
	return err_set(err, ERR_INVALID,
		       "container has runAsNonRoot and image will run as root (pod: \"%.*s_%.*s(%.*s)\", container: %.*s)",
		       SPAN_ARG(p->name), SPAN_ARG(p->ns), SPAN_ARG(p->uid), SPAN_ARG(c->name));
}

static int security(struct arena *a, const struct kl_make *m, const struct api_core_container *c,
		    struct api_cri_linux_container_security_context *sec, struct err *err)
{
	const struct api_core_pod_spec *s = &m->pod->object->pod.spec;
	const struct api_core_pod_security_context *psc = s->security_context;
	const struct api_core_security_context *sc = c->security_context;
	sec->privileged = sc && sc->privileged;
	sec->namespace_options = namespaces(a, s, m->target_id);
	sec->seccomp = seccomp(a, m->pod->k->o, sc ? sc->seccomp_profile : NULL, psc ? psc->seccomp_profile : NULL, sec->privileged);
	sec->apparmor = sec->privileged ? NULL : apparmor(a, sc ? sc->app_armor_profile : NULL, psc ? psc->app_armor_profile : NULL);
	sec->selinux_options = selinux(a, sc ? sc->se_linux_options : NULL, psc ? psc->se_linux_options : NULL);
	if (sc && sc->capabilities) {
		sec->capabilities = NEW(a, capability);
		sec->capabilities->add_capabilities.ptr = sc->capabilities->add.ptr;
		sec->capabilities->add_capabilities.n = sc->capabilities->add.n;
		sec->capabilities->drop_capabilities.ptr = sc->capabilities->drop.ptr;
		sec->capabilities->drop_capabilities.n = sc->capabilities->drop.n;
	}
	if (sc && sc->has_run_as_user)
		sec->run_as_user = number(a, sc->run_as_user);
	else if (psc && psc->has_run_as_user)
		sec->run_as_user = number(a, psc->run_as_user);
	else if (!m->image->uid)
		sec->run_as_username = m->image->username;
	if (sc && sc->has_run_as_group)
		sec->run_as_group = number(a, sc->run_as_group);
	else if (psc && psc->has_run_as_group)
		sec->run_as_group = number(a, psc->run_as_group);
	/* A group alone means nothing to CRI: the user is the image's. */
	if (sec->run_as_group && !sec->run_as_user && !sec->run_as_username.len)
		sec->run_as_user = number(a, m->image->uid ? m->image->uid->value : 0);
	sec->readonly_rootfs = sc && sc->read_only_root_filesystem;
	sec->no_new_privs = sc && sc->has_allow_privilege_escalation && !sc->allow_privilege_escalation;
	sec->supplemental_groups.n = groups_of(a, psc, &sec->supplemental_groups.ptr);
	sec->supplemental_groups_policy = psc && span_is(psc->supplemental_groups_policy, "Strict");
	if (!sec->privileged && !(sc && span_is(sc->proc_mount, "Unmasked"))) {
		sec->masked_paths.ptr = (struct span *)(uintptr_t)masked;
		sec->masked_paths.n = ARRAY_LEN(masked);
		sec->readonly_paths.ptr = (struct span *)(uintptr_t)read_only;
		sec->readonly_paths.n = ARRAY_LEN(read_only);
	}
	return check_non_root(m, c, sec, err);
}

static struct span *expand_all(struct arena *a, const struct span *ptr, uint32_t n, const struct kl_make *m)
{
	struct span *out = arena_alloc_n(a, n + 1, sizeof(*out));
	for (uint32_t i = 0; i < n; i++)
		out[i] = kl_expand(a, ptr[i], m->envs, m->n_envs, NULL);
	return out;
}

int kl_container_config(struct arena *a, const struct kl_make *m, struct api_cri_container_config *out, struct err *err)
{
	const struct kl_pod *p = m->pod;
	const struct api_core_pod_spec *s = &p->object->pod.spec;
	const struct api_core_container *c = kl_spec_container(s, m->index, NULL);
	char hash[9];
	*out = (struct api_cri_container_config){
		.metadata = NEW(a, container_metadata), .image = NEW(a, image_spec), .linux_ = NEW(a, linux_container_config),
		.working_dir = c->working_dir, .stdin = c->stdin, .stdin_once = c->stdin_once, .tty = c->tty,
		.mounts = { (struct api_cri_mount *)(uintptr_t)m->mounts, m->n_mounts },
	};
	*out->metadata = (struct api_cri_container_metadata){ .name = c->name, .attempt = m->attempt };
	*out->image = (struct api_cri_image_spec){ .image = m->image->id, .user_specified_image = c->image };
	out->envs.ptr = arena_alloc_n(a, m->n_envs + 1, sizeof(struct api_cri_key_value));
	for (uint32_t i = 0; i < m->n_envs; i++)
		out->envs.ptr[out->envs.n++] = (struct api_cri_key_value){ m->envs[i].key, m->envs[i].value };
	out->command.ptr = expand_all(a, c->command.ptr, c->command.n, m);
	out->command.n = c->command.n;
	out->args.ptr = expand_all(a, c->args.ptr, c->args.n, m);
	out->args.n = c->args.n;
	out->log_path = arena_printf(a, "%.*s/%u.log", SPAN_ARG(c->name), m->attempt);
	labels(a, p, c->name, false, &out->labels.ptr, &out->labels.n);
	kl_spec_hash(c, hash);
	const struct api_pair notes[] = {
		{ SPAN(KL_NOTE_HASH), arena_span(a, span_of(hash)) },
		{ SPAN(KL_NOTE_RESTARTS), arena_printf(a, "%u", m->attempt) },
		{ SPAN(KL_NOTE_MESSAGE_PATH), c->termination_message_path },
		{ SPAN(KL_NOTE_MESSAGE_POLICY), c->termination_message_policy },
		{ SPAN(KL_NOTE_GRACE), arena_printf(a, "%lld", (long long)s->termination_grace_period_seconds) },
	};
	out->annotations.ptr = (void *)arena_copy(a, notes, sizeof(notes));
	out->annotations.n = ARRAY_LEN(notes);
	out->linux_->resources = NEW(a, linux_container_resources);
	resources(a, m, c, out->linux_->resources);
	out->linux_->security_context = NEW(a, linux_container_security_context);
	return security(a, m, c, out->linux_->security_context, err);
}
