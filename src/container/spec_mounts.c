/* "mounts" of config.json: Docker's own, then the container's files, then what the user wants, parents first. */
#include <stdio.h>

#include "container/private.h"

struct row {
	const char *target, *type, *source, *options; /* options: separated by blanks */
};
static const struct row defaults[] = {
	{ "/proc", "proc", "proc", "nosuid noexec nodev" },
	{ "/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k" },
	{ "/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5" },
	{ "/sys", "sysfs", "sysfs", "nosuid noexec nodev" },
	{ "/sys/fs/cgroup", "cgroup", "cgroup", "nosuid noexec nodev" },
	{ "/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev" },
	{ "/dev/shm", "tmpfs", "shm", "nosuid noexec nodev mode=1777" },
};

static bool by_user(const struct spec_params *p, struct span target)
{
	for (size_t i = 0; i < p->n_binds; i++)
		if (span_eq(p->binds[i].target, target))
			return true;
	JSON_EACH_ITEM (p->tmpfs, item)
		if (span_eq(container_str(item, "target"), target))
			return true;
	return false;
}

static void begin(struct json_out *o, struct span target, struct span type, struct span source)
{
	json_out_begin(o);
	container_out_s(o, "destination", target);
	container_out_s(o, "type", type);
	container_out_s(o, "source", source);
	json_out_key(o, SPAN("options"));
	json_out_begin_array(o);
}

static void words(struct json_out *o, struct span text, char sep)
{
	struct span w;
	while (span_cut(&text, sep, &w))
		if (w.len)
			json_out_span(o, w);
}

static void end(struct json_out *o)
{
	json_out_end(o);
	json_out_end(o);
}

static void bind_file(struct json_out *o, const struct spec_params *p, const char *target, struct span source)
{
	if (!source.len || by_user(p, span_of(target)))
		return;
	begin(o, span_of(target), SPAN("bind"), source);
	words(o, SPAN("rbind rprivate"), ' ');
	if (container_truth(p->host, "ReadonlyRootfs"))
		json_out_span(o, SPAN("ro"));
	end(o);
}

/* User mounts in one order: what is above comes before what is beneath. */
struct wish {
	struct span target;
	const struct mount_bind *bind;
	const struct json *tmpfs;
};

static size_t depth_of(struct span path)
{
	size_t n = 0;
	for (size_t i = 0; i < path.len; i++)
		n += path.ptr[i] == '/';
	return path.len == 1 ? 0 : n;
}

static int by_depth(const void *x, const void *y)
{
	const struct wish *a = x, *b = y;
	size_t da = depth_of(a->target), db = depth_of(b->target);
	return da != db ? (da < db ? -1 : 1) : span_cmp(a->target, b->target);
}

static void bind_write(struct json_out *o, const struct mount_bind *b, const char **propagation)
{
	struct span prop = b->propagation.len ? b->propagation : SPAN("rprivate");
	begin(o, b->target, SPAN("bind"), b->source);
	json_out_span(o, b->non_recursive ? SPAN("bind") : SPAN("rbind"));
	json_out_span(o, prop);
	if (b->read_only)
		json_out_span(o, b->recursive_read_only ? SPAN("rro") : SPAN("ro"));
	end(o);
	/* What a shared bind brings in can only arrive when the root itself takes part. */
	if (span_is(prop, "shared") || span_is(prop, "rshared"))
		*propagation = "shared";
	else if ((span_is(prop, "slave") || span_is(prop, "rslave")) && !*propagation)
		*propagation = "rslave";
}

void container_spec_mounts(struct json_out *o, const struct spec_params *p, struct arena *a, const char **out_propagation)
{
	bool privileged = container_truth(p->host, "Privileged"), writable_cgroups = privileged;
	int64_t shm = container_num(p->host, "ShmSize");
	JSON_EACH_ITEM (json_getl(p->host, "SecurityOpt"), item)
		writable_cgroups |= span_is(json_span(item), "writable-cgroups") || span_is(json_span(item), "writable-cgroups=true");
	*out_propagation = NULL;
	json_out_begin_array(o);
	for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
		const struct row *r = &defaults[i];
		bool is_shm = !strcmp(r->target, "/dev/shm");
		if (by_user(p, span_of(r->target)))
			continue;
		struct span ipc = container_str(p->host, "IpcMode");
		if (is_shm && span_is(ipc, "none"))
			continue;
		/* Queues belong to the ipc namespace itself: a mount of their own shows those of the host or of another container. */
		if (is_shm && (p->shm.len || span_is(ipc, "host"))) {
			begin(o, span_of(r->target), SPAN("bind"), p->shm.len ? p->shm : SPAN("/dev/shm"));
			words(o, SPAN("rbind rprivate nosuid noexec nodev"), ' ');
			end(o);
			continue;
		}
		begin(o, span_of(r->target), span_of(r->type), span_of(r->source));
		words(o, span_of(r->options), ' ');
		if (is_shm)
			json_out_span(o, arena_printf(a, "size=%lld", (long long)(shm > 0 ? shm : 64 << 20)));
		if ((!strcmp(r->target, "/sys") && !privileged) || (!strcmp(r->target, "/sys/fs/cgroup") && !writable_cgroups))
			json_out_span(o, SPAN("ro"));
		end(o);
	}
	bind_file(o, p, "/etc/resolv.conf", p->resolv_conf);
	bind_file(o, p, "/etc/hostname", p->hostname_file);
	bind_file(o, p, "/etc/hosts", p->hosts);
	if (container_init_wanted(p->host)) {
		begin(o, SPAN("/sbin/docker-init"), SPAN("bind"), span_of(p->e->runner));
		words(o, SPAN("bind ro"), ' ');
		end(o);
	}
	size_t n = 0, n_tmpfs = json_is(p->tmpfs, JSON_ARRAY) ? p->tmpfs->n : 0;
	struct wish *wishes = arena_alloc_n(a, p->n_binds + n_tmpfs + 1, sizeof(*wishes));
	for (size_t i = 0; i < p->n_binds; i++)
		wishes[n++] = (struct wish){ p->binds[i].target, &p->binds[i], NULL };
	for (size_t i = 0; i < n_tmpfs; i++)
		wishes[n++] = (struct wish){ container_str(&p->tmpfs->items[i], "target"), NULL, &p->tmpfs->items[i] };
	qsort(wishes, n, sizeof(*wishes), by_depth);
	for (size_t i = 0; i < n; i++) {
		if (wishes[i].bind) {
			bind_write(o, wishes[i].bind, out_propagation);
			continue;
		}
		begin(o, wishes[i].target, SPAN("tmpfs"), SPAN("tmpfs"));
		words(o, SPAN("noexec nosuid nodev"), ' ');
		words(o, container_str(wishes[i].tmpfs, "options"), ',');
		end(o);
	}
	json_out_end(o);
}
