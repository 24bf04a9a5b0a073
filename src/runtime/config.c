/* config.json as a whole. See config.h. */
#include <errno.h>
#include <linux/personality.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "runtime/config.h"

#define LIST_MAX 16384 /* mounts, devices, paths: a bound, far above what exists */

const char *const runtime_config_hook_names[HOOK_POINTS] = {
	[HOOK_PRESTART] = "prestart",
	[HOOK_CREATE_RUNTIME] = "createRuntime",
	[HOOK_CREATE_CONTAINER] = "createContainer",
	[HOOK_START_CONTAINER] = "startContainer",
	[HOOK_POSTSTART] = "poststart",
	[HOOK_POSTSTOP] = "poststop",
};

/* A list of objects; n = 0 after a mistake. */
static const struct json *objects_get(struct reader *r, const struct at *at, const struct json *object, size_t *out_n)
{
	const struct json *v = runtime_reader_get(r, at, object, JSON_ARRAY);
	*out_n = v ? v->n : 0;
	if (*out_n > LIST_MAX)
		runtime_reader_fail(r, at, "more than %d items", LIST_MAX);
	for (size_t i = 0; i < *out_n && !r->failed; i++)
		if (!json_is(&v->items[i], JSON_OBJECT))
			runtime_reader_fail(r, AT_INDEX(at, i), "expected an object");
	if (r->failed)
		*out_n = 0;
	return v;
}

static struct sys_id_map *maps_read(struct reader *r, const struct at *at, const struct json *object, size_t *out_n)
{
	size_t n;
	const struct json *list = objects_get(r, at, object, &n);
	struct sys_id_map *maps = arena_alloc_n(r->a, n + 1, sizeof(*maps));
	if (n > SYS_ID_MAPS_MAX)
		runtime_reader_fail(r, at, "%zu ranges, the kernel takes %d", n, SYS_ID_MAPS_MAX);
	for (size_t i = 0; i < n && !r->failed; i++) {
		const struct at *here = AT_INDEX(at, i);
		int64_t inside = 0, outside = 0, count = 0;
		runtime_reader_int(r, AT(here, "containerID"), &list->items[i], 0, UINT32_MAX, &inside);
		runtime_reader_int(r, AT(here, "hostID"), &list->items[i], 0, UINT32_MAX, &outside);
		runtime_reader_int(r, AT(here, "size"), &list->items[i], 1, UINT32_MAX, &count);
		if (!count)
			runtime_reader_fail(r, AT(here, "size"), "is missing");
		if (inside + count > UINT32_MAX || outside + count > UINT32_MAX)
			runtime_reader_fail(r, here, "the range ends beyond the last id");
		maps[i] = (struct sys_id_map){ (uint32_t)inside, (uint32_t)outside, (uint32_t)count };
	}
	*out_n = r->failed ? 0 : n;
	return maps;
}

static struct config_pair *pairs_read(struct reader *r, const struct at *at, const struct json *object, size_t *out_n)
{
	const struct json *map = runtime_reader_get(r, at, object, JSON_OBJECT);
	size_t n = map ? map->n : 0;
	if (n > LIST_MAX) {
		runtime_reader_fail(r, at, "more than %d members", LIST_MAX);
		n = 0;
	}
	struct config_pair *pairs = arena_alloc_n(r->a, n + 1, sizeof(*pairs));
	size_t got = 0;
	for (size_t i = 0; i < n && !r->failed; i++) {
		const char *key = arena_cstr(r->a, json_key(&map->members[i]));
		if (strlen(key) != map->members[i].key_len || !*key)
			runtime_reader_fail(r, at, "a name is empty or holds a 0 byte");
		pairs[got++] = (struct config_pair){ key, runtime_reader_text(r, AT(at, key), &map->members[i].value) };
	}
	*out_n = r->failed ? 0 : got;
	return pairs;
}

/* ---- mounts */

static void mount_read(struct reader *r, const struct at *at, const struct json *v, struct config_mount *m)
{
	m->tree = -1;
	m->destination = runtime_reader_str(r, AT(at, "destination"), v);
	m->type = runtime_reader_str(r, AT(at, "type"), v);
	m->source = runtime_reader_str(r, AT(at, "source"), v);
	if (!m->destination || !*m->destination)
		runtime_reader_fail(r, AT(at, "destination"), "is missing");
	size_t n;
	const struct at *options_at = AT(at, "options");
	char **options = runtime_reader_strings(r, options_at, v, &n);
	auto_buf struct buf data = {};
	for (size_t i = 0; i < n; i++) {
		if (sys_mount_option(&m->opts, span_of(options[i])))
			continue;
		if (!options[i][0])
			continue;
		if (data.len)
			buf_chr(&data, ',');
		buf_str(&data, options[i]);
	}
	if (data.len)
		m->data = arena_cstr(r->a, buf_span(&data));
	if (data.len >= 4096)
		runtime_reader_fail(r, options_at, "options for the file system are longer than a page");
	m->uids = maps_read(r, AT(at, "uidMappings"), v, &m->n_uids);
	m->gids = maps_read(r, AT(at, "gidMappings"), v, &m->n_gids);
	if (!m->n_uids != !m->n_gids)
		runtime_reader_fail(r, at, "uidMappings and gidMappings must be given together");
	if (r->failed)
		return;
	if (m->type && !strcmp(m->type, "bind"))
		m->opts.set |= m->opts.set & MS_REC ? 0 : MS_BIND;
	if (m->opts.set & MS_BIND) {
		m->kind = MOUNT_BIND;
		if (!m->source || !*m->source)
			runtime_reader_fail(r, AT(at, "source"), "a bind mount needs one");
	} else if (m->type && (!strcmp(m->type, "cgroup") || !strcmp(m->type, "cgroup2"))) {
		m->kind = MOUNT_CGROUP;
	} else {
		m->kind = MOUNT_FS;
		if (!m->type || !*m->type)
			runtime_reader_fail(r, AT(at, "type"), "is missing, and no bind option is given");
	}
	if ((m->opts.idmap || m->n_uids) && m->kind != MOUNT_BIND)
		runtime_reader_fail(r, at, "id maps are for bind mounts only");
	if (m->opts.copy_up && (!m->type || strcmp(m->type, "tmpfs") != 0))
		runtime_reader_fail(r, options_at, "tmpcopyup is for tmpfs only");
}

static void mounts_read(struct reader *r, struct config *c, const struct json *top)
{
	const struct at *at = AT(NULL, "mounts");
	const struct json *list = objects_get(r, at, top, &c->n_mounts);
	c->mounts = arena_alloc_n(r->a, c->n_mounts + 1, sizeof(*c->mounts));
	for (size_t i = 0; i < c->n_mounts; i++) {
		c->mounts[i] = (struct config_mount){ .index = (unsigned)i };
		mount_read(r, AT_INDEX(at, i), &list->items[i], &c->mounts[i]);
	}
}

/* ---- devices */

static void device_read(struct reader *r, const struct at *at, const struct json *v, struct config_device *d)
{
	*d = (struct config_device){ .tree = -1, .mode = 0666 };
	d->path = runtime_reader_str(r, AT(at, "path"), v);
	if (!d->path || d->path[0] != '/')
		runtime_reader_fail(r, AT(at, "path"), "must be an absolute path");
	const char *type = runtime_reader_str(r, AT(at, "type"), v);
	if (!type || strlen(type) != 1 || !strchr("cbup", type[0]))
		runtime_reader_fail(r, AT(at, "type"), "\"%s\" is none of c, b, u, p", type ? type : "");
	else
		d->type = type[0] == 'u' ? 'c' : type[0];
	int64_t n = -1;
	if (d->type != 'p') {
		if (runtime_reader_int(r, AT(at, "major"), v, 0, 4095, &n))
			d->major = (unsigned)n;
		else
			runtime_reader_fail(r, AT(at, "major"), "is missing");
		if (runtime_reader_int(r, AT(at, "minor"), v, 0, (1 << 20) - 1, &n))
			d->minor = (unsigned)n;
		else
			runtime_reader_fail(r, AT(at, "minor"), "is missing");
	}
	if (runtime_reader_int(r, AT(at, "fileMode"), v, 0, 0177777, &n))
		d->mode = (mode_t)n & 07777;
	if (runtime_reader_int(r, AT(at, "uid"), v, 0, UINT32_MAX - 1, &n))
		d->uid = (uint32_t)n;
	if (runtime_reader_int(r, AT(at, "gid"), v, 0, UINT32_MAX - 1, &n))
		d->gid = (uint32_t)n;
}

/* The nodes that every container has (config-linux.md, Default Devices). One that the file lists itself, by path, is
 * the file's. */
static const struct config_device default_devices[] = {
	{ .path = "/dev/null", .type = 'c', .major = 1, .minor = 3 },
	{ .path = "/dev/zero", .type = 'c', .major = 1, .minor = 5 },
	{ .path = "/dev/full", .type = 'c', .major = 1, .minor = 7 },
	{ .path = "/dev/random", .type = 'c', .major = 1, .minor = 8 },
	{ .path = "/dev/urandom", .type = 'c', .major = 1, .minor = 9 },
	{ .path = "/dev/tty", .type = 'c', .major = 5, .minor = 0 },
};

static void devices_read(struct reader *r, struct config *c, const struct at *up, const struct json *linux_)
{
	const struct at *at = AT(up, "devices");
	size_t n;
	const struct json *list = objects_get(r, at, linux_, &n);
	c->devices = arena_alloc_n(r->a, n + ARRAY_LEN(default_devices), sizeof(*c->devices));
	for (size_t k = 0; k < ARRAY_LEN(default_devices); k++) {
		bool listed = false;
		for (size_t i = 0; i < n; i++)
			listed |= span_is(json_span(json_getl(&list->items[i], "path")), default_devices[k].path);
		if (listed)
			continue;
		struct config_device d = default_devices[k];
		d.mode = 0666;
		d.is_default = true;
		d.tree = -1;
		c->devices[c->n_devices++] = d;
	}
	for (size_t i = 0; i < n && !r->failed; i++)
		device_read(r, AT_INDEX(at, i), &list->items[i], &c->devices[c->n_devices++]);
}

/* ---- hooks */

static void hooks_read(struct reader *r, struct config *c, const struct json *top)
{
	const struct at *at = AT(NULL, "hooks");
	const struct json *hooks = runtime_reader_get(r, at, top, JSON_OBJECT);
	for (int point = 0; point < HOOK_POINTS; point++) {
		const struct at *list_at = AT(at, runtime_config_hook_names[point]);
		const struct json *list = objects_get(r, list_at, hooks, &c->n_hooks[point]);
		c->hooks[point] = arena_alloc_n(r->a, c->n_hooks[point] + 1, sizeof(*c->hooks[point]));
		for (size_t i = 0; i < c->n_hooks[point]; i++) {
			const struct at *here = AT_INDEX(list_at, i);
			struct config_hook *h = &c->hooks[point][i];
			*h = (struct config_hook){ .path = runtime_reader_str(r, AT(here, "path"), &list->items[i]) };
			if (!h->path || h->path[0] != '/')
				runtime_reader_fail(r, AT(here, "path"), "must be an absolute path");
			size_t n;
			h->args = runtime_reader_strings(r, AT(here, "args"), &list->items[i], &n);
			if (n == 0) {
				h->args = arena_alloc_n(r->a, 2, sizeof(*h->args));
				h->args[0] = (char *)h->path;
				h->args[1] = NULL;
			}
			h->env = runtime_reader_strings(r, AT(here, "env"), &list->items[i], &n);
			int64_t t = 0;
			if (runtime_reader_int(r, AT(here, "timeout"), &list->items[i], INT32_MIN, INT32_MAX, &t) &&
			    t <= 0)
				runtime_reader_fail(r, AT(here, "timeout"), "must be greater than zero");
			h->timeout_s = (int)t;
		}
	}
}

/* ---- linux */

static void namespaces_read(struct reader *r, struct config *c, const struct at *up, const struct json *linux_)
{
	const struct at *at = AT(up, "namespaces");
	size_t n;
	const struct json *list = objects_get(r, at, linux_, &n);
	for (size_t i = 0; i < n; i++) {
		const struct at *here = AT_INDEX(at, i);
		const char *type = runtime_reader_str(r, AT(here, "type"), &list->items[i]);
		int ns = type ? sys_ns_by_name(span_of(type)) : -1;
		if (ns < 0) {
			runtime_reader_fail(r, AT(here, "type"), "\"%s\" is no namespace", type ? type : "");
			return;
		}
		if (c->ns[ns].wanted)
			runtime_reader_fail(r, AT(here, "type"), "malformed spec file: duplicated ns \"%s\"", type);
		c->ns[ns].wanted = true;
		const char *path = runtime_reader_str(r, AT(here, "path"), &list->items[i]);
		if (path && *path) {
			if (path[0] != '/')
				runtime_reader_fail(r, AT(here, "path"), "must be absolute");
			c->ns[ns].path = path;
		}
	}
}

static void time_offsets_read(struct reader *r, struct config *c, const struct at *up, const struct json *linux_)
{
	static const char *const names[] = { "monotonic", "boottime" };
	const struct at *at = AT(up, "timeOffsets");
	const struct json *offsets = runtime_reader_get(r, at, linux_, JSON_OBJECT);
	for (int i = 0; i < 2; i++) {
		const struct at *here = AT(at, names[i]);
		const struct json *one = runtime_reader_get(r, here, offsets, JSON_OBJECT);
		int64_t s = 0, ns = 0;
		if (!one)
			continue;
		c->has_time_offset[i] = true;
		if (runtime_reader_int(r, AT(here, "secs"), one, INT64_MIN, INT64_MAX, &s))
			c->time_offset_s[i] = s;
		if (runtime_reader_int(r, AT(here, "nanosecs"), one, 0, 999999999, &ns))
			c->time_offset_ns[i] = (uint32_t)ns;
	}
}

static void personality_read(struct reader *r, struct config *c, const struct at *up, const struct json *linux_)
{
	const struct at *at = AT(up, "personality");
	const struct json *p = runtime_reader_get(r, at, linux_, JSON_OBJECT);
	if (!p)
		return;
	const char *domain = runtime_reader_str(r, AT(at, "domain"), p);
	if (domain && !strcmp(domain, "LINUX"))
		c->personality = PER_LINUX;
	else if (domain && !strcmp(domain, "LINUX32"))
		c->personality = PER_LINUX32;
	else
		runtime_reader_fail(r, AT(at, "domain"), "\"%s\" is neither LINUX nor LINUX32", domain ? domain : "");
	size_t n;
	runtime_reader_strings(r, AT(at, "flags"), p, &n);
	if (n)
		runtime_reader_fail(r, AT(at, "flags"), "no flags are defined yet");
	c->has_personality = true;
}

static void linux_read(struct reader *r, struct config *c, const struct json *top)
{
	const struct at *at = AT(NULL, "linux");
	const struct json *l = runtime_reader_get(r, at, top, JSON_OBJECT);
	namespaces_read(r, c, at, l);
	c->uids = maps_read(r, AT(at, "uidMappings"), l, &c->n_uids);
	c->gids = maps_read(r, AT(at, "gidMappings"), l, &c->n_gids);
	time_offsets_read(r, c, at, l);
	devices_read(r, c, at, l);
	c->cgroup_path = runtime_reader_str(r, AT(at, "cgroupsPath"), l);
	const struct json *resources = runtime_reader_get(r, AT(at, "resources"), l, JSON_OBJECT);
	runtime_config_resources_read(r, AT(at, "resources"), resources, &c->limits, &c->device_rules,
				      &c->n_device_rules);
	c->sysctl = pairs_read(r, AT(at, "sysctl"), l, &c->n_sysctl);
	c->seccomp = runtime_reader_get(r, AT(at, "seccomp"), l, JSON_OBJECT);
	c->masked = (const char **)runtime_reader_strings(r, AT(at, "maskedPaths"), l, &c->n_masked);
	c->readonly = (const char **)runtime_reader_strings(r, AT(at, "readonlyPaths"), l, &c->n_readonly);
	for (size_t i = 0; i < c->n_masked; i++)
		if (c->masked[i][0] != '/')
			runtime_reader_fail(r, AT_INDEX(AT(at, "maskedPaths"), i), "must be an absolute path");
	for (size_t i = 0; i < c->n_readonly; i++)
		if (c->readonly[i][0] != '/')
			runtime_reader_fail(r, AT_INDEX(AT(at, "readonlyPaths"), i), "must be an absolute path");
	const char *propagation = runtime_reader_str(r, AT(at, "rootfsPropagation"), l);
	if (propagation && *propagation) {
		c->root_propagation = sys_mount_propagation(span_of(propagation));
		if (!c->root_propagation)
			runtime_reader_fail(r, AT(at, "rootfsPropagation"), "rootfsPropagation=%s is not supported",
					    propagation);
	}
	c->mount_label = runtime_reader_str(r, AT(at, "mountLabel"), l);
	personality_read(r, c, at, l);
	if (runtime_reader_get(r, AT(at, "intelRdt"), l, JSON_OBJECT))
		runtime_reader_fail(r, AT(at, "intelRdt"), "Intel RDT is not supported");
}

static bool version_ok(const char *v)
{
	/* Semantic version of major 1 */
	struct span s = span_of(v), major, minor, rest;
	uint64_t n;
	return span_split(s, '.', &major, &rest) && span_to_u64(major, &n) && n == 1 &&
	       span_split(rest, '.', &minor, &rest) && span_to_u64(minor, &n) && rest.len && rest.ptr[0] >= '0' &&
	       rest.ptr[0] <= '9';
}

bool runtime_config_version_old(const char *v)
{
	return (!strncmp(v, "1.0.0", 5) || !strncmp(v, "1.0.1", 5)) && !(v[5] >= '0' && v[5] <= '9');
}

/* ---- rules between fields */

static bool has(const struct config *c, enum sys_ns ns)
{
	return c->ns[ns].wanted;
}

/* A sysctl may be written only when it belongs to a namespace that the container does not share with the host. */
static int sysctl_check(const struct config *c, struct err *err)
{
	static const char *const ipc[] = {
		"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
		"kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"
	};
	for (size_t i = 0; i < c->n_sysctl; i++) {
		const char *key = c->sysctl[i].key;
		auto_buf struct buf dotted = {};
		/* "net/ipv4/conf/eth0.1/x" is the other spelling: slashes separate, dots belong to names. */
		bool slashes = strchr(key, '/') && (!strchr(key, '.') || strchr(key, '/') < strchr(key, '.'));
		for (const char *p = key; *p; p++)
			buf_chr(&dotted, slashes && *p == '/' ? '.' : *p);
		const char *k = buf_cstr(&dotted);
		bool is_ipc = span_starts(span_of(k), SPAN("fs.mqueue."));
		for (size_t j = 0; j < ARRAY_LEN(ipc); j++)
			is_ipc |= !strcmp(k, ipc[j]);
		bool ok = false;
		if (strstr(key, "..") || key[0] == '/')
			return err_set(err, ERR_INVALID, "linux.sysctl: \"%s\" is no name of a kernel parameter", key);
		if (is_ipc)
			ok = has(c, SYS_NS_IPC);
		else if (span_starts(span_of(k), SPAN("net.")))
			ok = has(c, SYS_NS_NETWORK);
		else if (!strcmp(k, "kernel.domainname") || !strcmp(k, "kernel.hostname"))
			ok = has(c, SYS_NS_UTS);
		else if (span_starts(span_of(k), SPAN("user.")))
			ok = has(c, SYS_NS_USER);
		if (!strcmp(k, "kernel.hostname") && ok && c->hostname && *c->hostname)
			return err_set(err, ERR_INVALID, "linux.sysctl: \"kernel.hostname\" conflicts with hostname");
		if (!ok)
			return err_set(err, ERR_INVALID,
				       "linux.sysctl: sysctl \"%s\" is not in a separate kernel namespace", key);
	}
	return 0;
}

/* Rules between fields: what needs which namespace, and so on. */
static int fields_check(const struct config *c, struct err *err)
{
	if (c->hostname && *c->hostname && !has(c, SYS_NS_UTS))
		return err_set(err, ERR_INVALID, "hostname: unable to set hostname without a private UTS namespace");
	if (c->domainname && *c->domainname && !has(c, SYS_NS_UTS))
		return err_set(err, ERR_INVALID,
			       "domainname: unable to set domainname without a private UTS namespace");
	if (c->hostname && strlen(c->hostname) > 64)
		return err_set(err, ERR_INVALID, "hostname: longer than 64 bytes");
	if (c->domainname && strlen(c->domainname) > 64)
		return err_set(err, ERR_INVALID, "domainname: longer than 64 bytes");
	if ((c->n_masked || c->n_readonly) && !has(c, SYS_NS_MOUNT))
		return err_set(err, ERR_INVALID,
			       "linux.maskedPaths, linux.readonlyPaths: unable to restrict paths without a private MNT "
			       "namespace");
	if (!has(c, SYS_NS_USER) && (c->n_uids || c->n_gids))
		return err_set(err, ERR_INVALID,
			       "linux.uidMappings, linux.gidMappings: user namespace mappings specified, but user "
			       "namespace isn't enabled in the config");
	if (has(c, SYS_NS_USER) && !c->ns[SYS_NS_USER].path && (!c->n_uids || !c->n_gids))
		return err_set(err, ERR_INVALID, "linux.%s: user namespaces enabled, but no mapping found",
			       c->n_uids ? "gidMappings" : "uidMappings");
	if ((c->has_time_offset[0] || c->has_time_offset[1]) && !has(c, SYS_NS_TIME))
		return err_set(err, ERR_INVALID,
			       "linux.timeOffsets: time namespace offsets specified, but time namespace isn't enabled "
			       "in the config");
	if ((c->has_time_offset[0] || c->has_time_offset[1]) && c->ns[SYS_NS_TIME].path)
		return err_set(err, ERR_INVALID,
			       "linux.timeOffsets: the offsets of a joined time namespace cannot be set");
	for (size_t i = 0; i < c->n_mounts; i++)
		if ((c->mounts[i].opts.idmap) && !c->mounts[i].n_uids && !c->n_uids)
			return err_set(
				err, ERR_INVALID,
				"mounts[%zu]: an id-mapped mount needs uidMappings and gidMappings here or in linux",
				i);
	const struct config_process *p = c->process;
	if (p && has(c, SYS_NS_USER) && !c->ns[SYS_NS_USER].path) {
		uint32_t out;
		if (!sys_ns_map_id(c->uids, c->n_uids, p->uid, &out))
			return err_set(err, ERR_INVALID, "process.user.uid: %u is not mapped by linux.uidMappings",
				       p->uid);
		if (!sys_ns_map_id(c->gids, c->n_gids, p->gid, &out))
			return err_set(err, ERR_INVALID, "process.user.gid: %u is not mapped by linux.gidMappings",
				       p->gid);
	}
	return sysctl_check(c, err);
}

int runtime_config_parse(struct arena *a, struct span text, struct config **out, struct err *err)
{
	struct json *top = arena_new(a, struct json);
	const struct json_limits limits = { .bytes = 16 << 20, .depth = 64, .nodes = 1 << 20 };
	int e = json_parse(a, text, JSON_BORROW | JSON_DUPLICATES_LAST, &limits, top, err);
	if (e < 0)
		return e;
	if (top->kind != JSON_OBJECT)
		return err_set(err, ERR_INVALID, "expected an object");
	struct reader r = { .a = a, .err = err };
	struct config *c = arena_new(a, struct config);
	c->arena = a;
	c->oci_version = runtime_reader_str(&r, AT(NULL, "ociVersion"), top);
	if (!c->oci_version || !version_ok(c->oci_version))
		runtime_reader_fail(&r, AT(NULL, "ociVersion"),
				    "\"%s\" is not a version that this runtime knows (1.x.y)",
				    c->oci_version ? c->oci_version : "");
	const struct at *root_at = AT(NULL, "root");
	const struct json *root = runtime_reader_get(&r, root_at, top, JSON_OBJECT);
	c->root_path = runtime_reader_str(&r, AT(root_at, "path"), root);
	c->root_readonly = runtime_reader_bool(&r, AT(root_at, "readonly"), root);
	if (!c->root_path || !*c->root_path)
		runtime_reader_fail(&r, AT(root_at, "path"), "is missing");
	const struct json *process = runtime_reader_get(&r, AT(NULL, "process"), top, JSON_OBJECT);
	if (process)
		c->process = runtime_config_process_read(&r, AT(NULL, "process"), process);
	c->hostname = runtime_reader_str(&r, AT(NULL, "hostname"), top);
	c->domainname = runtime_reader_str(&r, AT(NULL, "domainname"), top);
	mounts_read(&r, c, top);
	hooks_read(&r, c, top);
	c->annotations = pairs_read(&r, AT(NULL, "annotations"), top, &c->n_annotations);
	linux_read(&r, c, top);
	if (r.failed)
		return r.failed;
	c->prestart_at_start = c->n_hooks[HOOK_PRESTART] && runtime_config_version_old(c->oci_version);
	e = fields_check(c, err);
	if (e == 0)
		*out = c;
	return e;
}
