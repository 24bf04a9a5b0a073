/* config.json of the runtime from Config and HostConfig: Docker's defaults, and what the user changed of them. */
#include <ctype.h>
#include <stdio.h>

#include "container/private.h"
#include "sys/sys.h"

static struct span env_name(struct span s)
{
	struct span name, value;
	span_split(s, '=', &name, &value);
	return name;
}

static void env_put(struct arena *a, struct json *list, struct span entry, bool replace)
{
	struct span name = env_name(entry);
	JSON_EACH_ITEM (list, item)
		if (span_eq(env_name(json_span(item)), name)) {
			if (replace)
				*item = json_str(entry);
			return;
		}
	json_push(a, list, json_str(entry));
}

static void env_remove(struct json *list, struct span name)
{
	for (uint32_t i = list->n; i-- > 0;)
		if (span_eq(env_name(json_span(&list->items[i])), name))
			json_remove_at(list, i);
}

void container_spec_env(struct json_out *o, const struct json *env, const struct json *more, struct span hostname, bool tty,
	const char *home, struct arena *a)
{
	struct json list = json_array();
	const struct json *sources[] = { env, more };
	env_put(a, &list, SPAN("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), true);
	if (hostname.len)
		env_put(a, &list, arena_printf(a, "HOSTNAME=%.*s", SPAN_ARG(hostname)), true);
	if (tty)
		env_put(a, &list, SPAN("TERM=xterm"), true);
	for (size_t i = 0; i < 2; i++)
		JSON_EACH_ITEM (sources[i], item) {
			if (span_chr(json_span(item), '=') > 0)
				env_put(a, &list, json_span(item), true);
			else /* a name alone takes away */
				env_remove(&list, json_span(item));
		}
	if (home && *home)
		env_put(a, &list, arena_printf(a, "HOME=%s", home), false);
	json_out_key(o, SPAN("env"));
	json_out_value(o, &list);
}

static void user_write(struct json_out *o, const struct container_ids *ids)
{
	json_out_key(o, SPAN("user"));
	json_out_begin(o);
	container_out_i(o, "uid", ids->uid);
	container_out_i(o, "gid", ids->gid);
	json_out_key(o, SPAN("additionalGids"));
	json_out_begin_array(o);
	json_out_i64(o, ids->gid); /* so that a set-group-id file cannot shed it (CVE-2022-36109) */
	for (size_t i = 0; i < ids->n_more; i++)
		if (ids->more[i] != ids->gid)
			json_out_i64(o, ids->more[i]);
	json_out_end(o);
	json_out_end(o);
}

static int caps_write(struct json_out *o, uint64_t caps, const struct json *extra, struct err *err)
{
	uint64_t ambient;
	int rc = container_caps_ambient(extra, caps, &ambient, err);
	if (rc < 0)
		return rc;
	static const char *const sets[] = { "bounding", "effective", "permitted" };
	json_out_key(o, SPAN("capabilities"));
	json_out_begin(o);
	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		json_out_key(o, span_of(sets[i]));
		container_caps_write(o, caps);
	}
	/* What is ambient has to be inheritable, too. */
	for (size_t i = 0; ambient && i < 2; i++) {
		json_out_key(o, i ? SPAN("ambient") : SPAN("inheritable"));
		container_caps_write(o, ambient);
	}
	json_out_end(o);
	return 0;
}

static void size_write(struct json_out *o, const struct json *size)
{
	if (!json_is(size, JSON_ARRAY) || size->n != 2)
		return;
	int64_t height = json_i64(&size->items[0], 0), width = json_i64(&size->items[1], 0);
	if (height <= 0 || width <= 0 || height > 65535 || width > 65535)
		return;
	json_out_key(o, SPAN("consoleSize"));
	json_out_begin(o);
	container_out_i(o, "height", height);
	container_out_i(o, "width", width);
	json_out_end(o);
}

static void rlimits_write(struct json_out *o, const struct json *own, const struct json *defaults, struct arena *a)
{
	json_out_key(o, SPAN("rlimits"));
	json_out_begin_array(o);
	struct json seen = json_array();
	for (int pass = 0; pass < 2; pass++) {
		const struct json *list = pass ? defaults : own;
		/* default-ulimits of daemon.json is an object {"nofile": {"Name", "Hard", "Soft"}} */
		uint32_t n = list && (list->kind == JSON_ARRAY || list->kind == JSON_OBJECT) ? list->n : 0;
		for (uint32_t i = 0; i < n; i++) {
			const struct json *v = list->kind == JSON_ARRAY ? &list->items[i] : &list->members[i].value;
			struct span name = list->kind == JSON_OBJECT ? json_key(&list->members[i]) : container_str(v, "Name");
			char *upper = arena_cstr(a, arena_printf(a, "RLIMIT_%.*s", SPAN_ARG(name)));
			for (char *c = upper; *c; c++)
				*c = (char)toupper((unsigned char)*c);
			bool again = false;
			JSON_EACH_ITEM (&seen, item)
				again |= span_is(json_span(item), upper);
			if (again || sys_rlimit_by_name(span_of(upper)) < 0)
				continue;
			json_push(a, &seen, json_cstr(upper));
			json_out_begin(o);
			container_out_s(o, "type", span_of(upper));
			json_out_key(o, SPAN("soft"));
			json_out_u64(o, (uint64_t)container_num(v, "Soft")); /* -1 = unlimited, as the kernel spells it */
			json_out_key(o, SPAN("hard"));
			json_out_u64(o, (uint64_t)container_num(v, "Hard"));
			json_out_end(o);
		}
	}
	json_out_end(o);
}

struct security {
	bool no_new_privileges, unconfined;
	struct span seccomp, apparmor;
};

static struct security security_read(const struct container_engine *e, const struct json *host)
{
	struct security s = { .no_new_privileges = e->settings.no_new_privileges, .seccomp = e->settings.seccomp };
	JSON_EACH_ITEM (json_getl(host, "SecurityOpt"), item) {
		struct span text = json_span(item), key, value;
		if (span_is(text, "no-new-privileges")) {
			s.no_new_privileges = true;
			continue;
		}
		if (!span_split(text, '=', &key, &value))
			span_split(text, ':', &key, &value);
		if (span_is(key, "no-new-privileges"))
			s.no_new_privileges = span_is(value, "true");
		else if (span_is(key, "seccomp"))
			s.seccomp = value;
	}
	if (container_truth(host, "Privileged")) { /* unless something else is asked for by name */
		bool named = false;
		JSON_EACH_ITEM (json_getl(host, "SecurityOpt"), item)
			named |= span_starts(json_span(item), SPAN("seccomp"));
		if (!named)
			s.seccomp = SPAN("unconfined");
	}
	s.unconfined = span_is(s.seccomp, "unconfined");
	if (span_is(s.seccomp, "builtin"))
		s.seccomp = SPAN_EMPTY;
	s.apparmor = container_apparmor_profile(host, container_apparmor_on());
	if (span_is(s.apparmor, "unconfined"))
		s.apparmor = SPAN_EMPTY;
	return s;
}

/* As with Docker: among processes that are not the container's alone there is nothing for it to do. */
bool container_init_wanted(const struct json *host)
{
	struct span pid = container_str(host, "PidMode");
	return container_truth(host, "Init") && !span_is(pid, "host") && !span_starts(pid, SPAN("container:"));
}

static int process_tail(struct json_out *o, uint64_t caps, const struct json *extra, const struct security *s, struct err *err)
{
	int rc = caps_write(o, caps, extra, err);
	container_out_b(o, "noNewPrivileges", s->no_new_privileges);
	json_out_kspan(o, "apparmorProfile", s->apparmor);
	return rc;
}

static int process_write(struct json_out *o, const struct spec_params *p, uint64_t caps, const struct security *s,
	struct arena *a, struct err *err)
{
	struct span dir = container_str(p->config, "WorkingDir");
	bool tty = container_truth(p->config, "Tty");
	json_out_begin(o);
	container_out_b(o, "terminal", tty);
	size_write(o, json_getl(p->host, "ConsoleSize"));
	user_write(o, p->ids);
	json_out_key(o, SPAN("args"));
	json_out_begin_array(o);
	if (container_init_wanted(p->host)) {
		json_out_span(o, SPAN("/sbin/docker-init"));
		json_out_span(o, SPAN("--"));
	}
	json_out_span(o, p->path);
	JSON_EACH_ITEM (p->args, item)
		json_out_span(o, json_span(item));
	json_out_end(o);
	container_spec_env(o, json_getl(p->config, "Env"), NULL, p->hostname, tty, p->ids->home, a);
	container_out_s(o, "cwd", dir.len ? dir : SPAN("/"));
	int rc = process_tail(o, caps, p->extra, s, err);
	rlimits_write(o, json_getl(p->host, "Ulimits"), p->e->settings.ulimits, a);
	container_out_i(o, "oomScoreAdj", container_num(p->host, "OomScoreAdj"));
	json_out_end(o);
	return rc;
}

static void ns_write(struct json_out *o, const char *type, struct span path)
{
	json_out_begin(o);
	container_out_s(o, "type", span_of(type));
	json_out_kspan(o, "path", path);
	json_out_end(o);
}

static void namespaces_write(struct json_out *o, const struct spec_params *p)
{
	const struct json *h = p->host;
	json_out_key(o, SPAN("namespaces"));
	json_out_begin_array(o);
	ns_write(o, "mount", SPAN_EMPTY);
	if (!span_is(container_str(h, "NetworkMode"), "host"))
		ns_write(o, "network", p->netns);
	if (!span_is(container_str(h, "UTSMode"), "host"))
		ns_write(o, "uts", p->uts_ns);
	if (!span_is(container_str(h, "PidMode"), "host"))
		ns_write(o, "pid", p->pid_ns);
	if (!span_is(container_str(h, "IpcMode"), "host"))
		ns_write(o, "ipc", p->ipc_ns);
	if (span_is(container_str(h, "CgroupnsMode"), "private"))
		ns_write(o, "cgroup", SPAN_EMPTY);
	json_out_end(o);
}

static void sysctls_write(struct json_out *o, const struct spec_params *p)
{
	static const char *const ours[][2] = { { "net.ipv4.ip_unprivileged_port_start", "0" },
					       { "net.ipv4.ping_group_range", "0 2147483647" } };
	const struct json *own = json_getl(p->host, "Sysctls");
	struct span net = container_str(p->host, "NetworkMode");
	bool new_net = !span_is(net, "host") && !span_starts(net, SPAN("container:"));
	json_out_key(o, SPAN("sysctl"));
	json_out_begin(o);
	for (size_t i = 0; new_net && i < ARRAY_LEN(ours); i++)
		if (!json_get(own, span_of(ours[i][0])))
			container_out_s(o, ours[i][0], span_of(ours[i][1]));
	JSON_EACH_MEMBER (own, m) {
		json_out_key(o, json_key(m));
		json_out_span(o, json_span(&m->value));
	}
	json_out_end(o);
}

static void paths_write(struct json_out *o, const char *key, const struct json *list)
{
	json_out_key(o, span_of(key));
	json_out_begin_array(o);
	JSON_EACH_ITEM (list, item)
		json_out_span(o, json_span(item));
	json_out_end(o);
}

const char *container_cgroup_path(const struct container_engine *e, const char *id, const struct json *host, struct arena *a)
{
	struct span parent = container_str(host, "CgroupParent");
	if (!parent.len)
		parent = e->settings.cgroup_parent;
	if (e->settings.systemd)
		return arena_printf(a, "%.*s:knarr:%s", SPAN_ARG(parent.len ? parent : SPAN("knarr-containers.slice")), id).ptr;
	if (!parent.len)
		parent = SPAN("knarr-containers");
	return arena_printf(a, "%s%.*s/%s", parent.ptr[0] == '/' ? "" : "/", SPAN_ARG(parent), id).ptr;
}

static int linux_write(struct json_out *o, const struct spec_params *p, uint64_t caps, const struct security *s,
	const char *propagation,
	struct arena *a, struct err *err)
{
	json_out_key(o, SPAN("linux"));
	json_out_begin(o);
	namespaces_write(o, p);
	sysctls_write(o, p);
	container_out_s(o, "cgroupsPath", span_of(container_cgroup_path(p->e, p->id, p->host, a)));
	json_out_key(o, SPAN("devices"));
	int rc = container_spec_devices(o, p->host, a, err);
	if (rc < 0)
		return rc;
	json_out_key(o, SPAN("resources"));
	rc = container_spec_resources(o, p->host, p->extra, true, a, err);
	if (rc < 0)
		return rc;
	if (!s->unconfined) {
		json_out_key(o, SPAN("seccomp"));
		if (s->seccomp.len)
			rc = container_seccomp_custom(o, s->seccomp, caps, a, err);
		else
			container_seccomp_default(o, caps);
		if (rc < 0)
			return rc;
	}
	paths_write(o, "maskedPaths", json_getl(p->host, "MaskedPaths"));
	paths_write(o, "readonlyPaths", json_getl(p->host, "ReadonlyPaths"));
	json_out_kspan(o, "rootfsPropagation", span_of(propagation));
	json_out_end(o);
	return 0;
}

int container_spec_write(const struct spec_params *p, struct arena *a, struct buf *out, struct err *err)
{
	struct json_out o = { .buf = out };
	struct security s = security_read(p->e, p->host);
	const char *propagation;
	uint64_t caps;
	int rc = container_caps(p->host, &caps, err);
	if (rc < 0)
		return rc;
	json_out_begin(&o);
	container_out_s(&o, "ociVersion", SPAN("1.2.0"));
	json_out_key(&o, SPAN("process"));
	rc = process_write(&o, p, caps, &s, a, err);
	if (rc < 0)
		return rc;
	json_out_key(&o, SPAN("root"));
	json_out_begin(&o);
	container_out_s(&o, "path", span_of(p->root));
	container_out_b(&o, "readonly", container_truth(p->host, "ReadonlyRootfs"));
	json_out_end(&o);
	if (!span_is(container_str(p->host, "UTSMode"), "host") && !p->uts_ns.len) {
		json_out_kspan(&o, "hostname", p->hostname);
		json_out_kspan(&o, "domainname", container_str(p->config, "Domainname"));
	}
	json_out_key(&o, SPAN("mounts"));
	container_spec_mounts(&o, p, a, &propagation);
	const struct json *annotations = json_getl(p->host, "Annotations");
	if (json_is(annotations, JSON_OBJECT) && annotations->n) {
		json_out_key(&o, SPAN("annotations"));
		json_out_value(&o, annotations);
	}
	rc = linux_write(&o, p, caps, &s, propagation, a, err);
	if (rc == 0)
		json_out_end(&o);
	return rc;
}

int container_spec_exec(const struct container_engine *e, const struct json *config, const struct json *host,
	const struct json *extra, const struct json *exec, const struct container_ids *ids, struct arena *a, struct buf *out,
	struct err *err)
{
	struct json_out o = { .buf = out };
	struct security s = security_read(e, host);
	struct span dir = container_str(exec, "WorkingDir");
	bool tty = container_truth(exec, "Tty");
	uint64_t caps;
	int rc = container_caps(container_truth(exec, "Privileged") ? exec : host, &caps, err);
	if (rc < 0)
		return rc;
	if (!dir.len)
		dir = container_str(config, "WorkingDir");
	json_out_begin(&o);
	container_out_b(&o, "terminal", tty);
	size_write(&o, json_getl(exec, "ConsoleSize"));
	user_write(&o, ids);
	json_out_key(&o, SPAN("args"));
	json_out_begin_array(&o);
	JSON_EACH_ITEM (json_getl(exec, "Cmd"), item)
		json_out_span(&o, json_span(item));
	json_out_end(&o);
	container_spec_env(&o, json_getl(config, "Env"), json_getl(exec, "Env"), container_str(config, "Hostname"), tty, ids->home, a);
	container_out_s(&o, "cwd", dir.len ? dir : SPAN("/"));
	rc = process_tail(&o, caps, extra, &s, err);
	rlimits_write(&o, json_getl(host, "Ulimits"), e->settings.ulimits, a);
	container_out_i(&o, "oomScoreAdj", container_num(host, "OomScoreAdj"));
	json_out_end(&o);
	return rc;
}
