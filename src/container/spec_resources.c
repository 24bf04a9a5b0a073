/* linux.resources and linux.devices of config.json from HostConfig. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "container/private.h"
#include "sys/sys.h"

#define DEVICES_MAX 4096
#define DEV_DEPTH 8

/* What every container may touch: making nodes of any device, using these. */
static const struct {
	char type;
	int major, minor; /* -1 = all */
	const char *access;
} rules[] = {
	{ 'c', -1, -1, "m" }, { 'b', -1, -1, "m" },  { 'c', 1, 3, "rwm" }, { 'c', 1, 5, "rwm" },   { 'c', 1, 7, "rwm" },
	{ 'c', 1, 8, "rwm" }, { 'c', 1, 9, "rwm" },  { 'c', 5, 0, "rwm" }, { 'c', 5, 1, "rwm" },   { 'c', 5, 2, "rwm" },
	{ 'c', 136, -1, "rwm" },
};

struct device {
	char path[256]; /* in the container */
	char type;
	unsigned major, minor, mode, uid, gid;
	char access[4];
};
struct devices {
	struct device *items; /* in the arena */
	size_t n;
};

static int device_add(struct devices *d, const char *from, const char *to, struct span access, struct err *err)
{
	struct stat st;
	if (stat(from, &st) < 0)
		return errno == ENOENT ? err_set(err, ERR_INVALID_REQUEST,
			"error gathering device information while adding custom device \"%s\": no such file or directory", from)
				       : err_sys(err, "error gathering device information while adding custom device \"%s\"", from);
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, ERR_INVALID_REQUEST,
			"error gathering device information while adding custom device \"%s\": not a device node", from);
	if (d->n >= DEVICES_MAX || strlen(to) >= sizeof(d->items->path))
		return err_set(err, ERR_INVALID_REQUEST, "Devices: too many, or a path is too long: %s", to);
	struct device *v = &d->items[d->n];
	*v = (struct device){ .type = S_ISCHR(st.st_mode) ? 'c' : 'b', .major = major(st.st_rdev), .minor = minor(st.st_rdev),
		.mode = st.st_mode & 07777, .uid = st.st_uid, .gid = st.st_gid };
	snprintf(v->path, sizeof(v->path), "%s", to);
	snprintf(v->access, sizeof(v->access), "%.*s", SPAN_ARG(access.len ? access : SPAN("rwm")));
	for (size_t i = 0; i < d->n; i++)
		if (!strcmp(d->items[i].path, v->path))
			return 0; /* the first one of a path counts */
	d->n++;
	return 0;
}

/* A folder of devices; names that vanish meanwhile are passed over. */
static int folder_add(struct devices *d, const char *from, const char *to, struct span access, int depth, struct err *err)
{
	static const char *const skip[] = { ".", "..", "pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console" };
	DIR *dir = depth < DEV_DEPTH ? opendir(from) : NULL;
	struct dirent *entry;
	int rc = 0;
	while (dir && rc == 0 && (entry = readdir(dir))) {
		char source[256], target[256];
		struct stat st;
		bool skipped = false;
		for (size_t i = 0; i < ARRAY_LEN(skip); i++)
			skipped |= !strcmp(entry->d_name, skip[i]);
		if (skipped || snprintf(source, sizeof(source), "%s/%s", from, entry->d_name) >= (int)sizeof(source) ||
		    snprintf(target, sizeof(target), "%s/%s", to, entry->d_name) >= (int)sizeof(target) || lstat(source, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			rc = folder_add(d, source, target, access, depth + 1, err);
		else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
			rc = device_add(d, source, target, access, err);
	}
	if (dir)
		closedir(dir);
	return rc;
}

static int devices_collect(const struct json *host, struct arena *a, struct devices *d, struct err *err)
{
	d->items = arena_alloc_n(a, DEVICES_MAX, sizeof(*d->items));
	if (container_truth(host, "Privileged")) {
		int rc = folder_add(d, "/dev", "/dev", SPAN("rwm"), 0, err);
		if (rc < 0)
			return rc;
	}
	JSON_EACH_ITEM (json_getl(host, "Devices"), item) {
		const char *from = arena_cstr(a, container_str(item, "PathOnHost")), *to = arena_cstr(a, container_str(item,
			"PathInContainer"));
		struct span access = container_str(item, "CgroupPermissions");
		struct stat st;
		to = *to ? to : from;
		for (size_t i = 0; i < access.len; i++)
			if (!strchr("rwm", access.ptr[i]) || access.len > 3)
				return err_set(err, ERR_INVALID_REQUEST, "invalid device mode: %.*s", SPAN_ARG(access));
		if (from[0] != '/' || to[0] != '/')
			return err_set(err, ERR_INVALID_REQUEST, "'%s' is not an absolute path", from[0] != '/' ? from : to);
		bool folder = stat(from, &st) == 0 && S_ISDIR(st.st_mode);
		size_t before = d->n;
		int rc = folder ? folder_add(d, from, to, access, 0, err) : device_add(d, from, to, access, err);
		if (rc == 0 && folder && d->n == before)
			rc = err_set(err, ERR_INVALID_REQUEST,
				"error gathering device information while adding custom device \"%s\": not a device node", from);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int container_spec_devices(struct json_out *o, const struct json *host, struct arena *a, struct err *err)
{
	struct devices d = {};
	int rc = devices_collect(host, a, &d, err);
	if (rc < 0)
		return rc;
	json_out_begin_array(o);
	for (size_t i = 0; i < d.n; i++) {
		const struct device *v = &d.items[i];
		json_out_begin(o);
		container_out_s(o, "path", span_of(v->path));
		container_out_s(o, "type", span_make(&v->type, 1));
		container_out_i(o, "major", v->major);
		container_out_i(o, "minor", v->minor);
		container_out_i(o, "fileMode", v->mode);
		container_out_i(o, "uid", v->uid);
		container_out_i(o, "gid", v->gid);
		json_out_end(o);
	}
	json_out_end(o);
	return 0;
}

static void rule(struct json_out *o, bool allow, char type, int64_t major, int64_t minor, struct span access)
{
	json_out_begin(o);
	container_out_b(o, "allow", allow);
	container_out_s(o, "type", span_make(&type, 1));
	if (major >= 0)
		container_out_i(o, "major", major);
	if (minor >= 0)
		container_out_i(o, "minor", minor);
	container_out_s(o, "access", access);
	json_out_end(o);
}

static int device_rules(struct json_out *o, const struct json *host, struct arena *a, struct err *err)
{
	json_out_key(o, SPAN("devices"));
	json_out_begin_array(o);
	if (container_truth(host, "Privileged")) {
		rule(o, true, 'a', -1, -1, SPAN("rwm"));
		json_out_end(o);
		return 0;
	}
	rule(o, false, 'a', -1, -1, SPAN("rwm"));
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		rule(o, true, rules[i].type, rules[i].major, rules[i].minor, span_of(rules[i].access));
	struct devices d = {};
	int rc = devices_collect(host, a, &d, err);
	for (size_t i = 0; rc == 0 && i < d.n; i++)
		rule(o, true, d.items[i].type, d.items[i].major, d.items[i].minor, span_of(d.items[i].access));
	JSON_EACH_ITEM (json_getl(host, "DeviceCgroupRules"), item) { /* "c 1:3 rwm": its form was checked by create */
		struct span type, rest, numbers, access, major_s, minor_s;
		uint64_t major_n = 0, minor_n = 0;
		span_split(json_span(item), ' ', &type, &rest);
		span_split(rest, ' ', &numbers, &access);
		span_split(numbers, ':', &major_s, &minor_s);
		bool all_major = !span_to_u64(major_s, &major_n), all_minor = !span_to_u64(minor_s, &minor_n);
		rule(o, true, type.len ? type.ptr[0] : 'a', all_major ? -1 : (int64_t)major_n, all_minor ? -1 : (int64_t)minor_n, access);
	}
	json_out_end(o);
	return rc;
}

static void number(struct json_out *o, const char *key, const struct json *host, const char *field)
{
	int64_t n = container_num(host, field);
	if (n)
		container_out_i(o, key, n);
}

/* [{"Path", from}, ...] of the request as [{"major", "minor", to}, ...]. */
static int devices(struct json_out *o, const struct json *items, const char *from, const char *to, struct arena *a, struct err *err)
{
	json_out_begin_array(o);
	JSON_EACH_ITEM (items, item) {
		struct span path = container_str(item, "Path");
		struct stat st;
		if (stat(arena_cstr(a, path), &st) < 0)
			return err_sys(err, "device %.*s", SPAN_ARG(path));
		json_out_begin(o);
		container_out_i(o, "major", major(st.st_rdev));
		container_out_i(o, "minor", minor(st.st_rdev));
		container_out_i(o, to, container_num(item, from));
		json_out_end(o);
	}
	json_out_end(o);
	return 0;
}

static int blkio(struct json_out *o, const struct json *host, struct arena *a, struct err *err)
{
	static const char *const rates[][2] = { { "BlkioDeviceReadBps", "throttleReadBpsDevice" },
						{ "BlkioDeviceWriteBps", "throttleWriteBpsDevice" },
						{ "BlkioDeviceReadIOps", "throttleReadIOPSDevice" },
						{ "BlkioDeviceWriteIOps", "throttleWriteIOPSDevice" } };
	json_out_key(o, SPAN("blockIO"));
	json_out_begin(o);
	number(o, "weight", host, "BlkioWeight");
	json_out_key(o, SPAN("weightDevice"));
	int rc = devices(o, json_getl(host, "BlkioWeightDevice"), "Weight", "weight", a, err);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(rates); i++) {
		json_out_key(o, span_of(rates[i][1]));
		rc = devices(o, json_get(host, span_of(rates[i][0])), "Rate", "rate", a, err);
	}
	if (rc == 0)
		json_out_end(o);
	return rc;
}

/* Of Extra: what only a kubelet says. */
static void extra_write(struct json_out *o, const struct json *extra)
{
	const struct json *pages = json_getl(extra, "Hugepages"), *unified = json_getl(extra, "Unified");
	if (json_is(pages, JSON_ARRAY) && pages->n) {
		json_out_key(o, SPAN("hugepageLimits"));
		json_out_value(o, pages);
	}
	if (json_is(unified, JSON_OBJECT) && unified->n) {
		json_out_key(o, SPAN("unified"));
		json_out_value(o, unified);
	}
}

int container_spec_resources(struct json_out *o, const struct json *host, const struct json *extra, bool devices, struct arena *a,
	struct err *err)
{
	const struct json *swappiness = json_getl(host, "MemorySwappiness");
	int64_t nano = container_num(host, "NanoCpus"), pids = container_num(host, "PidsLimit");
	json_out_begin(o);
	json_out_key(o, SPAN("memory"));
	json_out_begin(o);
	number(o, "limit", host, "Memory");
	number(o, "reservation", host, "MemoryReservation");
	number(o, "swap", host, "MemorySwap");
	if (json_is_number(swappiness) && json_i64(swappiness, -1) >= 0)
		container_out_i(o, "swappiness", json_i64(swappiness, 0));
	if (container_truth(host, "OomKillDisable"))
		container_out_b(o, "disableOOMKiller", true);
	json_out_end(o);
	json_out_key(o, SPAN("cpu"));
	json_out_begin(o);
	number(o, "shares", host, "CpuShares");
	if (nano > 0) { /* thousand-millionths of a processor, in periods of 100 ms */
		container_out_i(o, "period", 100000);
		container_out_i(o, "quota", nano / 10000);
	} else {
		number(o, "period", host, "CpuPeriod");
		number(o, "quota", host, "CpuQuota");
	}
	number(o, "realtimePeriod", host, "CpuRealtimePeriod");
	number(o, "realtimeRuntime", host, "CpuRealtimeRuntime");
	json_out_kspan(o, "cpus", container_str(host, "CpusetCpus"));
	json_out_kspan(o, "mems", container_str(host, "CpusetMems"));
	json_out_end(o);
	if (pids > 0 || (pids < 0 && !devices)) { /* -1 undoes a limit; a new group has none */
		json_out_key(o, SPAN("pids"));
		json_out_begin(o);
		container_out_i(o, "limit", pids);
		json_out_end(o);
	}
	extra_write(o, extra);
	int rc = blkio(o, host, a, err);
	if (rc == 0 && devices)
		rc = device_rules(o, host, a, err);
	if (rc == 0)
		json_out_end(o);
	return rc;
}
