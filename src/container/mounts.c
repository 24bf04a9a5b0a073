/* Volumes and bind mounts of a container: what they are is decided by create and kept in its document, what they are bound from is
 * found out by each start.
 *
 *     Document.Mounts   as `docker inspect` shows them
 *     Document.Plan     for us: {"Kind", "Target", "Name", "Source", "Propagation", "Subpath", "ReadOnly", "NonRecursive",
 *                       "ForceRecursive", "FromMounts", "CreateSource", "Bytes", "Mode", "Options"} each
 *
 * Everything here blocks and is for workers, but container_mounts_inherit. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "container/private.h"
#include "sys/sys.h"
#include "volume/volume.h"

#define INHERITED_MAX 10000

static void put_s(struct arena *a, struct json *o, const char *key, struct span s)
{
	if (s.len)
		json_add(a, o, span_of(key), json_str(arena_span(a, s)));
}

static void put_b(struct arena *a, struct json *o, const char *key, bool v)
{
	if (v)
		json_add(a, o, span_of(key), json_bool(true));
}

static struct json plan_item(const struct volume_mount *m, struct span name, struct arena *a)
{
	struct json o = json_object();
	put_s(a, &o, "Kind", span_of(volume_kind_name(m->kind)));
	put_s(a, &o, "Target", m->target);
	put_s(a, &o, "Name", name);
	put_s(a, &o, "Source", m->source);
	put_s(a, &o, "Propagation", m->propagation);
	put_b(a, &o, "PropagationSaid", m->propagation_said);
	put_s(a, &o, "Subpath", m->subpath);
	put_b(a, &o, "ReadOnly", m->read_only);
	put_b(a, &o, "NonRecursive", m->non_recursive);
	put_b(a, &o, "ForceRecursive", m->read_only_force_recursive);
	put_b(a, &o, "FromMounts", m->from_mounts);
	put_b(a, &o, "CreateSource", m->create_source);
	put_b(a, &o, "NoCopy", m->no_copy);
	put_s(a, &o, "Options", m->tmpfs_options);
	if (m->tmpfs_bytes)
		json_setl(a, &o, "Bytes", json_int(m->tmpfs_bytes));
	if (m->tmpfs_mode)
		json_setl(a, &o, "Mode", json_int(m->tmpfs_mode));
	return o;
}

static struct volume_mount plan_mount(const struct json *o)
{
	struct volume_mount m = { .target = container_str(o, "Target"), .name = container_str(o, "Name"),
		.source = container_str(o, "Source"), .propagation = container_str(o, "Propagation"),
		.propagation_said = container_truth(o, "PropagationSaid"),
		.subpath = container_str(o, "Subpath"), .read_only = container_truth(o, "ReadOnly"),
		.non_recursive = container_truth(o, "NonRecursive"), .from_mounts = container_truth(o, "FromMounts"),
		.read_only_force_recursive = container_truth(o, "ForceRecursive"), .create_source = container_truth(o, "CreateSource"),
		.no_copy = container_truth(o, "NoCopy"), .tmpfs_options = container_str(o, "Options"),
		.tmpfs_bytes = container_num(o, "Bytes"), .tmpfs_mode = (uint32_t)container_num(o, "Mode") };
	for (int k = 0; k < VOLUME_KIND_COUNT; k++)
		if (span_is(container_str(o, "Kind"), volume_kind_name((enum volume_kind)k)))
			m.kind = (enum volume_kind)k;
	return m;
}

/* ---- create */

int container_mounts_inherit(struct container_engine *e, const struct json *host, struct arena *a, struct json *out,
	struct err *err)
{
	*out = json_array();
	JSON_EACH_ITEM (json_getl(host, "VolumesFrom"), item) {
		struct span who, mode;
		int rc = volume_from_parse(json_span(item), &who, &mode, err);
		struct container *from = rc < 0 ? NULL : container_get(e, who, err);
		if (!from && rc == 0) /* 404 would tell the client that the image is missing: it would pull */
			err->class = ERR_INVALID_REQUEST;
		if (!from)
			return -ERR_INVALID_REQUEST;
		JSON_EACH_ITEM (json_getl(&from->doc, "Plan"), m) {
			struct json copy = json_copy(a, m);
			if (span_is(container_str(m, "Kind"), "tmpfs")) /* of that container's own, as with Docker */
				continue;
			if (span_is(mode, "ro"))
				json_setl(a, &copy, "ReadOnly", json_bool(true));
			json_push(a, out, copy);
		}
	}
	return out->n > INHERITED_MAX ? err_set(err, ERR_INVALID_REQUEST, "VolumesFrom: too many mounts") : 0;
}

/* Is one the other, or below it? */
static bool touches(struct span a, struct span b)
{
	struct span top = a.len < b.len ? a : b, deep = a.len < b.len ? b : a;
	if (span_is(top, "/"))
		return true;
	return top.len && span_starts(deep, top) && (deep.len == top.len || deep.ptr[top.len] == '/');
}

/* A bind that has our own mounts in it (the host's root, /var/lib): private, it would keep every container's file system mounted
 * for as long as it lives, also those that are long removed. As with Docker it follows the host instead, and a word that forbids
 * it is refused. */
static bool has_ours(const struct container_engine *e, const struct volume_mount *m)
{
	return m->kind == VOLUME_BIND && (touches(m->source, span_of(e->dir)) || touches(m->source, span_of(e->run_dir)));
}

static int follow_host(const struct container_engine *e, struct volume_mount *m, struct err *err)
{
	if (!has_ours(e, m) || span_is(m->propagation, "rslave") || span_is(m->propagation, "rshared"))
		return 0;
	if (m->propagation_said && touches(m->source, span_of(e->dir)))
		return err_set(err, ERR_INVALID_REQUEST, "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" "
			"when mount source is within the daemon root, daemon root: \"%s\", bind mount source: \"%.*s\", propagation: \"%.*s\"",
			e->dir, SPAN_ARG(m->source), SPAN_ARG(m->propagation));
	if (!m->propagation_said)
		m->propagation = SPAN("rslave");
	return 0;
}

static int use(struct container_engine *e, const char *id, struct volume_mount *m, struct arena *a, struct json *shown,
	struct json *plan,
	struct err *err)
{
	struct span path = m->source;
	if (m->kind == VOLUME_IMAGE)
		return err_set(err, ERR_INVALID_REQUEST, "invalid mount config for type \"image\": image mounts are not supported");
	if (m->kind == VOLUME_BIND && m->from_mounts && !m->create_source) {
		loop_pool_wait_begin(e->o.pool); /* its file system may be a server's that does not answer */
		int rc = volume_bind_check(m, err);
		loop_pool_wait_end(e->o.pool);
		if (rc < 0)
			return rc;
	}
	if (m->kind == VOLUME_NAMED) {
		struct volume_info info;
		if (!e->o.volumes)
			return err_set(err, ERR_UNSUPPORTED, "volume %.*s: this engine has no volumes", SPAN_ARG(m->target));
		int rc = volume_use(e->o.volumes, m, span_of(id), a, &info, err);
		if (rc < 0)
			return rc;
		m->name = info.name;
		path = info.mountpoint;
	}
	json_push(a, plan, plan_item(m, m->name, a));
	if (m->kind != VOLUME_TMPFS || m->from_mounts)
		json_push(a, shown, volume_mount_point(m, m->name, path, a));
	return 0;
}

int container_mounts_create(struct container_engine *e, const char *id, const struct json *config, const struct json *host,
	const struct json *inherited, unsigned flags, struct arena *a, struct json *out_shown, struct json *out_plan, struct err *err)
{
	struct volume_mount *from = arena_alloc_n(a, inherited->n + 1, sizeof(*from)), *all;
	size_t n;
	for (uint32_t i = 0; i < inherited->n; i++)
		from[i] = plan_mount(&inherited->items[i]);
	const struct volume_plan p = { .inherited = from, .n_inherited = inherited->n, .host_config = host,
		.volumes = json_getl(config, "Volumes") };
	int rc = volume_mounts_plan(&p, a, &all, &n, err);
	*out_shown = json_array();
	*out_plan = json_array();
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = flags & CHECK_FREE ? 0 : follow_host(e, &all[i], err);
		rc = rc < 0 ? rc : use(e, id, &all[i], a, out_shown, out_plan, err);
	}
	return rc;
}

bool container_mounts_want_copy(const struct json *plan)
{
	JSON_EACH_ITEM (plan, m)
		if (span_is(container_str(m, "Kind"), "volume") && !container_truth(m, "NoCopy"))
			return true;
	return false;
}

int container_mounts_copy_up(struct container_engine *e, const struct json *plan, int root, struct arena *a, struct err *err)
{
	JSON_EACH_ITEM (plan, item) {
		struct volume_mount m = plan_mount(item);
		if (m.kind != VOLUME_NAMED || m.no_copy)
			continue;
		auto_fd int from = sys_path_open(root, arena_cstr(a, m.target), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
		if (from < 0)
			continue; /* the image has no such folder: there is nothing to copy */
		int rc = volume_copy_up(e->o.volumes, m.name, &m, from, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

void container_mounts_release(struct container_engine *e, const char *id, const struct json *plan, bool anonymous_too,
	struct arena *a, struct json *out_gone)
{
	JSON_EACH_ITEM (plan, m) {
		auto_err struct err err = ERR_INIT;
		bool gone = false;
		if (span_is(container_str(m, "Kind"), "volume") && e->o.volumes &&
		    volume_release(e->o.volumes, container_str(m, "Name"), span_of(id), anonymous_too, &gone, &err) < 0)
			container_warn(e, "a volume is still held", id, &err);
		if (gone && out_gone)
			json_push(a, out_gone, json_copy(a, m));
	}
}

/* ---- start, end */

static struct span tmpfs_text(const struct volume_mount *m, struct arena *a)
{
	auto_buf struct buf b = {};
	buf_span_add(&b, m->tmpfs_options);
	if (m->tmpfs_bytes)
		buf_printf(&b, "%ssize=%lld", b.len ? "," : "", (long long)m->tmpfs_bytes);
	if (m->tmpfs_mode)
		buf_printf(&b, "%smode=%o", b.len ? "," : "", (unsigned)m->tmpfs_mode);
	if (m->read_only)
		buf_printf(&b, "%sro", b.len ? "," : "");
	return arena_span(a, buf_span(&b));
}

#define MOUNTINFO_MAX (64 << 20)

/* What is mounted later on the host (or, shared, in the container) crosses only a mount that is shared on the host's side: proc(5),
 * /proc/PID/mountinfo, "shared:" and "master:" among the optional fields. The kernel would bind it all the same, and pass on
 * nothing. */
static int propagation_check(const struct volume_mount *m, struct arena *a, struct err *err)
{
	bool shared = span_is(m->propagation, "shared") || span_is(m->propagation, "rshared");
	bool slave = span_is(m->propagation, "slave") || span_is(m->propagation, "rslave");
	struct statx st;
	auto_buf struct buf text = {};
	char id[24];
	if (!shared && !slave)
		return 0;
	if (statx(AT_FDCWD, arena_cstr(a, m->source), 0, STATX_MNT_ID, &st) < 0)
		return err_sys(err, "stat %.*s", SPAN_ARG(m->source));
	if (!(st.stx_mask & STATX_MNT_ID))
		return err_set(err, ERR_UNSUPPORTED, "propagation %.*s: this kernel does not tell what %.*s is mounted on",
			SPAN_ARG(m->propagation), SPAN_ARG(m->source));
	int rc = io_read_file(AT_FDCWD, "/proc/self/mountinfo", &text, MOUNTINFO_MAX, err);
	struct span rest = buf_span(&text), line;
	snprintf(id, sizeof(id), "%llu ", (unsigned long long)st.stx_mnt_id);
	while (rc == 0 && span_cut(&rest, '\n', &line)) {
		struct span word, on = SPAN_EMPTY;
		bool crosses = false;
		if (!span_starts(line, span_of(id)))
			continue;
		for (int i = 0; span_cut(&line, ' ', &word) && !span_is(word, "-"); i++) {
			if (i == 4)
				on = word;
			crosses |= i >= 6 && (span_starts(word, SPAN("shared:")) || (slave && span_starts(word, SPAN("master:"))));
		}
		if (crosses)
			return 0;
		return err_set(err, ERR_INVALID_REQUEST, "path %.*s is mounted on %.*s but it is not a shared%s mount",
			SPAN_ARG(m->source), SPAN_ARG(on), slave ? " or slave" : "");
	}
	return rc < 0 ? rc : err_set(err, ERR_INTERNAL, "%.*s: its mount is not listed", SPAN_ARG(m->source));
}

static int bind_source(struct container_engine *e, const char *id, const struct volume_mount *m, struct arena *a, struct span *out,
	struct err *err)
{
	int rc;
	bool named = m->kind == VOLUME_NAMED;
	*out = m->source;
	/* A server of files that does not answer holds up those who asked for it (the kernel gives up after minutes), and nobody
	 * else. */
	loop_pool_wait_begin(e->o.pool);
	rc = named ? volume_mount(e->o.volumes, m->name, m, span_of(id), a, out, err)
	     : m->from_mounts && !m->create_source ? volume_bind_check(m, err)
						   : volume_bind_make(m, err);
	loop_pool_wait_end(e->o.pool);
	return rc;
}

int container_mounts_start(struct container_engine *e, const char *id, const struct json *plan, struct arena *a,
	struct mount_bind **out_binds, size_t *out_n, struct json *out_tmpfs, struct err *err)
{
	uint32_t n = json_is(plan, JSON_ARRAY) ? plan->n : 0;
	struct mount_bind *binds = arena_alloc_n(a, n + 1, sizeof(*binds));
	*out_tmpfs = json_array();
	*out_n = 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct volume_mount m = plan_mount(&plan->items[i]);
		if (m.kind == VOLUME_TMPFS) {
			struct json one = json_object();
			json_setl(a, &one, "target", json_str(m.target));
			json_setl(a, &one, "options", json_str(tmpfs_text(&m, a)));
			json_push(a, out_tmpfs, one);
			continue;
		}
		struct mount_bind *b = &binds[(*out_n)++];
		*b = (struct mount_bind){ .target = m.target, .propagation = m.propagation, .read_only = m.read_only,
			.non_recursive = m.non_recursive, .recursive_read_only = m.read_only_force_recursive };
		int rc = bind_source(e, id, &m, a, &b->source, err);
		auto_err struct err why = ERR_INIT;
		if (rc < 0)
			return rc;
		if (m.kind != VOLUME_BIND || propagation_check(&m, a, &why) == 0)
			continue;
		/* A host that shares no mounts: then it is private after all (follow_host), as with Docker, unless rslave was asked for. */
		if (m.propagation_said || !span_is(m.propagation, "rslave") || !has_ours(e, &m))
			return err_move(err, &why);
		b->propagation = SPAN("rprivate");
	}
	*out_binds = binds;
	return 0;
}

void container_mounts_end(struct container_engine *e, const char *id, const struct json *plan)
{
	JSON_EACH_ITEM (plan, m) {
		auto_err struct err err = ERR_INIT;
		if (!span_is(container_str(m, "Kind"), "volume") || !e->o.volumes)
			continue;
		loop_pool_wait_begin(e->o.pool); /* the last one to leave tells the server, if there is one */
		if (volume_unmount(e->o.volumes, container_str(m, "Name"), span_of(id), &err) < 0)
			container_warn(e, "a volume stays mounted", id, &err);
		loop_pool_wait_end(e->o.pool);
	}
}

static bool is_alive(void *arg, struct span id)
{
	struct container_engine *e = arg;
	return map_get(&e->by_id, id) != NULL;
}

int container_mounts_sweep(struct container_engine *e, struct err *err)
{
	return e->o.volumes ? volume_release_dead(e->o.volumes, is_alive, e, err) : 0;
}
