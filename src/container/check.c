/* What Docker refuses in a Config and a HostConfig, in its words, and what it fills in. Nothing here looks at the disk.
 *
 * A member that we know and cannot honour is an error that names it; one that is unknown is not looked at. */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "container/private.h"
#include "sys/sys.h"

#define BAD(...) err_set(err, ERR_INVALID_REQUEST, __VA_ARGS__)

static int64_t num(const struct json *o, const char *key)
{
	return json_i64(json_get(o, span_of(key)), 0);
}

static struct span str(const struct json *o, const char *key)
{
	return json_span(json_get(o, span_of(key)));
}

static bool truth(const struct json *o, const char *key)
{
	return json_truth(json_get(o, span_of(key)), false);
}

static uint32_t count(const struct json *o, const char *key)
{
	const struct json *v = json_get(o, span_of(key));
	return v && (v->kind == JSON_ARRAY || v->kind == JSON_OBJECT) ? v->n : 0;
}

/* ---- kinds of members: a string where a number belongs must not read as 0 */

struct field {
	const char *name, *kind; /* s string, n number, b bool, a array of strings, o object, l list of objects */
};
static const struct field config_fields[] = {
	{ "Hostname", "s" },   { "Domainname", "s" },  { "User", "s" },	      { "AttachStdin", "b" }, { "AttachStdout", "b" },
	{ "AttachStderr", "b" }, { "ExposedPorts", "o" }, { "Tty", "b" },     { "OpenStdin", "b" },   { "StdinOnce", "b" },
	{ "Env", "a" },	       { "Cmd", "a" },	       { "Healthcheck", "o" }, { "Image", "s" },      { "Volumes", "o" },
	{ "WorkingDir", "s" }, { "Entrypoint", "a" },  { "NetworkDisabled", "b" }, { "Labels", "o" },  { "StopSignal", "s" },
	{ "StopTimeout", "n" }, { "Shell", "a" },
};
static const struct field host_fields[] = {
	{ "Binds", "a" },	{ "LogConfig", "o" },	   { "NetworkMode", "s" },   { "PortBindings", "o" },	{ "RestartPolicy", "o" },
	{ "AutoRemove", "b" },	{ "VolumeDriver", "s" },   { "VolumesFrom", "a" },   { "Mounts", "l" },		{ "Annotations", "o" },
	{ "CapAdd", "a" },	{ "CapDrop", "a" },	   { "CgroupnsMode", "s" },  { "Dns", "a" },		{ "DnsOptions", "a" },
	{ "DnsSearch", "a" },	{ "ExtraHosts", "a" },	   { "GroupAdd", "a" },	     { "IpcMode", "s" },	{ "Cgroup", "s" },
	{ "Links", "a" },	{ "OomScoreAdj", "n" },	   { "PidMode", "s" },	     { "Privileged", "b" },	{ "PublishAllPorts", "b" },
	{ "ReadonlyRootfs", "b" }, { "SecurityOpt", "a" }, { "StorageOpt", "o" },    { "Tmpfs", "o" },		{ "UTSMode", "s" },
	{ "UsernsMode", "s" },	{ "ShmSize", "n" },	   { "Sysctls", "o" },	     { "Runtime", "s" },	{ "Isolation", "s" },
	{ "MaskedPaths", "a" }, { "ReadonlyPaths", "a" },  { "CpuShares", "n" },     { "Memory", "n" },		{ "CgroupParent", "s" },
	{ "BlkioWeight", "n" }, { "BlkioWeightDevice", "l" }, { "BlkioDeviceReadBps", "l" }, { "BlkioDeviceWriteBps", "l" },
	{ "BlkioDeviceReadIOps", "l" }, { "BlkioDeviceWriteIOps", "l" }, { "CpuPeriod", "n" }, { "CpuQuota", "n" },
	{ "CpuRealtimePeriod", "n" }, { "CpuRealtimeRuntime", "n" }, { "CpusetCpus", "s" }, { "CpusetMems", "s" },
	{ "Devices", "l" },	{ "DeviceCgroupRules", "a" }, { "DeviceRequests", "l" }, { "MemoryReservation", "n" },
	{ "MemorySwap", "n" },	{ "MemorySwappiness", "n" }, { "NanoCpus", "n" },    { "OomKillDisable", "b" }, { "Init", "b" },
	{ "PidsLimit", "n" },	{ "Ulimits", "l" },	   { "KernelMemory", "n" },  { "KernelMemoryTCP", "n" },
};

static bool kind_fits(const struct json *v, char kind)
{
	switch (kind) {
	case 's': return v->kind == JSON_STRING && !memchr(v->str ? v->str : "", 0, v->n);
	case 'n': return json_i64(v, INT64_MIN) != INT64_MIN;
	case 'b': return v->kind == JSON_BOOL;
	case 'o': return v->kind == JSON_OBJECT;
	case 'a':
	case 'l':
		if (v->kind != JSON_ARRAY || v->n > 65536)
			return false;
		JSON_EACH_ITEM (v, item)
			if (!kind_fits(item, kind == 'a' ? 's' : 'o'))
				return false;
		return true;
	default: return false;
	}
}

static int kinds_check(const struct json *o, const struct field *fields, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		const struct json *v = json_get(o, span_of(fields[i].name));
		if (v && v->kind != JSON_NULL && !kind_fits(v, fields[i].kind[0]))
			return BAD("invalid %s: the value is of the wrong type", fields[i].name);
	}
	return 0;
}

/* ---- Config */

static int health_check(const struct json *config, struct err *err)
{
	static const struct {
		const char *field, *words;
	} times[] = { { "Interval", "interval" }, { "Timeout", "timeout" }, { "StartPeriod", "start period" },
		      { "StartInterval", "start interval" } };
	const struct json *h = json_getl(config, "Healthcheck");
	if (!json_is(h, JSON_OBJECT))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		int64_t ns = num(h, times[i].field);
		if (ns != 0 && ns < NS_PER_MS)
			return BAD("%s in Healthcheck cannot be less than 1ms", times[i].field);
	}
	if (num(h, "Retries") < 0)
		return BAD("Retries in Healthcheck cannot be negative");
	const struct json *test = json_getl(h, "Test");
	struct span kind = json_is(test, JSON_ARRAY) && test->n ? json_span(&test->items[0]) : SPAN_EMPTY;
	if (kind.len && !span_is(kind, "NONE") && !span_is(kind, "CMD") && !span_is(kind, "CMD-SHELL"))
		return BAD("Unknown healthcheck type '%.*s' (expected 'CMD')", SPAN_ARG(kind)); /* as the client words it */
	return 0;
}

/* A host name as Docker lets it pass: labels of letters, digits and inner dashes, 63 bytes in all. */
static bool hostname_ok(struct span name)
{
	if (name.len > 63)
		return false;
	struct span label;
	while (span_cut(&name, '.', &label)) {
		if (!label.len || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
			return false;
		for (size_t i = 0; i < label.len; i++)
			if (!isalnum((unsigned char)label.ptr[i]) && label.ptr[i] != '-' && label.ptr[i] != '_')
				return false;
	}
	return true;
}

int container_config_check(const struct json *config, struct err *err)
{
	int rc = kinds_check(config, config_fields, ARRAY_LEN(config_fields), err);
	if (rc < 0)
		return rc;
	struct span hostname = str(config, "Hostname"), dir = str(config, "WorkingDir"), sig = str(config, "StopSignal");
	if (!hostname_ok(hostname))
		return BAD("invalid hostname format: %.*s", SPAN_ARG(hostname));
	if (dir.len && dir.ptr[0] != '/')
		return BAD("the working directory '%.*s' is invalid, it needs to be an absolute path", SPAN_ARG(dir));
	if (sig.len && sys_signal_by_name(sig) <= 0)
		return BAD("Invalid signal: %.*s", SPAN_ARG(sig));
	JSON_EACH_ITEM (json_getl(config, "Env"), item)
		if (!json_span(item).len || json_span(item).ptr[0] == '=')
			return BAD("invalid environment variable: %.*s", SPAN_ARG(json_span(item)));
	return health_check(config, err);
}

/* ---- HostConfig */

int container_restart_check(const struct json *policy, bool auto_remove, struct err *err)
{
	struct span name = str(policy, "Name");
	int64_t retries = num(policy, "MaximumRetryCount");
	bool known = !name.len || span_is(name, "no") || span_is(name, "always") || span_is(name, "unless-stopped") ||
		     span_is(name, "on-failure");
	if (!known)
		return BAD("invalid restart policy: unknown policy '%.*s'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
			SPAN_ARG(name));
	if (retries < 0)
		return BAD("invalid restart policy: maximum retry count cannot be negative");
	if (retries > 0 && !span_is(name, "on-failure"))
		return BAD("invalid restart policy: maximum retry count can only be used with 'on-failure'");
	if (auto_remove && name.len && !span_is(name, "no"))
		return BAD("can't create 'AutoRemove' container with restart policy");
	return 0;
}

static int device_rule_check(struct span rule, struct err *err)
{
	/* "c 1:3 rwm" */
	struct span type, rest, numbers, access, major, minor;
	uint64_t n;
	bool ok = span_split(rule, ' ', &type, &rest) && span_split(rest, ' ', &numbers, &access) && type.len == 1 &&
		  strchr("acb", type.ptr[0]) && span_split(numbers, ':', &major, &minor) && access.len >= 1 && access.len <= 3;
	ok = ok && (span_is(major, "*") || span_to_u64(major, &n)) && (span_is(minor, "*") || span_to_u64(minor, &n));
	for (size_t i = 0; ok && i < access.len; i++)
		ok = strchr("rwm", access.ptr[i]) != NULL;
	return ok ? 0 : BAD("invalid device cgroup rule format: '%.*s'", SPAN_ARG(rule));
}

static int mode_check(const struct json *h, const char *key, const char *words, bool container_ok, struct err *err)
{
	struct span mode = str(h, key), head, who;
	if (!mode.len || span_is(mode, "host") || (span_is(mode, "private") && (strcmp(key, "PidMode") != 0 && strcmp(key,
		"UTSMode") != 0)))
		return 0;
	if (container_ok && span_split(mode, ':', &head, &who) && span_is(head, "container") && who.len)
		return 0;
	if (!strcmp(key, "IpcMode") && (span_is(mode, "none") || span_is(mode, "shareable")))
		return 0;
	return BAD("invalid %s mode: %.*s", words, SPAN_ARG(mode));
}

static int security_check(const struct json *h, struct err *err)
{
	JSON_EACH_ITEM (json_getl(h, "SecurityOpt"), item) {
		struct span s = json_span(item), key, value;
		if (span_is(s, "no-new-privileges") || span_is(s, "disable") || span_is(s, "writable-cgroups"))
			continue;
		if (!span_split(s, '=', &key, &value) && !span_split(s, ':', &key, &value))
			return BAD("invalid --security-opt 1: \"%.*s\"", SPAN_ARG(s));
		if (span_is(key, "no-new-privileges") && (span_is(value, "true") || span_is(value, "false")))
			continue;
		if (span_is(key, "systempaths") && span_is(value, "unconfined"))
			continue;
		if (!span_is(key, "label") && !span_is(key, "apparmor") && !span_is(key, "seccomp"))
			return BAD("invalid --security-opt 2: \"%.*s\"", SPAN_ARG(s));
	}
	return 0;
}

static int log_check(const struct json *h, struct err *err)
{
	const struct json *log = json_getl(h, "LogConfig");
	struct span type = str(log, "Type");
	if (type.len && !span_is(type, "json-file") && !span_is(type, "none"))
		return BAD("error looking up logging plugin %.*s: plugin \"%.*s\" not found", SPAN_ARG(type), SPAN_ARG(type));
	return container_log_opts_check(json_getl(log, "Config"), span_is(type, "none"), err);
}

static int ulimits_check(const struct json *h, struct err *err)
{
	JSON_EACH_ITEM (json_getl(h, "Ulimits"), item) {
		struct span name = str(item, "Name");
		char text[64];
		snprintf(text, sizeof(text), "RLIMIT_%.*s", SPAN_ARG(span_sub(name, 0, 40)));
		for (char *p = text; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		if (sys_rlimit_by_name(span_of(text)) < 0)
			return BAD("invalid ulimit type: %.*s", SPAN_ARG(name));
		int64_t soft = num(item, "Soft"), hard = num(item, "Hard");
		if (hard >= 0 && (soft > hard || soft < 0))
			return BAD("ulimit soft limit must be less than or equal to hard limit: %lld > %lld", (long long)soft,
				(long long)hard);
	}
	return 0;
}

static int runtime_check(const struct json *h, struct err *err)
{
	static const char *const ours[] = { "", "knarr", "runc", "io.containerd.runc.v2" };
	struct span name = str(h, "Runtime");
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (span_is(name, ours[i]))
			return 0;
	return BAD("unknown or invalid runtime name: %.*s", SPAN_ARG(name));
}

static bool slice_ok(struct span name)
{
	return name.len > 6 && span_ends(name, SPAN(".slice"));
}

int container_host_check(const struct container_engine *e, struct arena *a, struct json *h, const struct json *config,
	unsigned flags, struct json *warnings, struct err *err)
{
	int rc = kinds_check(h, host_fields, ARRAY_LEN(host_fields), err);
	bool privileged = truth(h, "Privileged");
	struct span userns = str(h, "UsernsMode"), isolation = str(h, "Isolation"), cgroupns = str(h, "CgroupnsMode");
	struct span net = str(h, "NetworkMode"), uts = str(h, "UTSMode");
	rc = rc < 0 ? rc : container_restart_check(json_getl(h, "RestartPolicy"), truth(h, "AutoRemove"), err);
	rc = rc < 0 ? rc : container_resources_check(h, flags, err);
	if (rc == 0)
		container_resources_adapt(a, h, warnings);
	rc = rc < 0 ? rc : mode_check(h, "PidMode", "PID", true, err);
	rc = rc < 0 ? rc : mode_check(h, "IpcMode", "IPC", true, err);
	rc = rc < 0 ? rc : mode_check(h, "UTSMode", "UTS", false, err);
	rc = rc < 0 ? rc : security_check(h, err);
	rc = rc < 0 ? rc : log_check(h, err);
	rc = rc < 0 ? rc : ulimits_check(h, err);
	rc = rc < 0 ? rc : runtime_check(h, err);
	if (rc < 0)
		return rc;
	uint64_t caps;
	rc = container_caps(h, &caps, err);
	if (rc < 0)
		return rc;
	if (userns.len && !span_is(userns, "host"))
		return BAD("invalid user namespace mode: %.*s", SPAN_ARG(userns));
	if (isolation.len && !span_is(isolation, "default"))
		return BAD("invalid isolation '%.*s' on linux", SPAN_ARG(isolation));
	if (cgroupns.len && !span_is(cgroupns, "private") && !span_is(cgroupns, "host"))
		return BAD("invalid cgroup namespace mode: %.*s", SPAN_ARG(cgroupns));
	if (privileged && span_is(cgroupns, "private") && !sys_cgroup_pure_v2())
		return BAD("can't use private cgroup namespace with privileged containers on cgroup v1");
	if (str(h, "Cgroup").len)
		return BAD("HostConfig.Cgroup is not supported");
	if (str(h, "CgroupParent").len && e->settings.systemd && !slice_ok(str(h, "CgroupParent")))
		return BAD("cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"");
	if (count(h, "StorageOpt"))
		return BAD("--storage-opt is supported only for overlay over xfs with 'pquota' mount option");
	if (num(h, "ShmSize") < 0)
		return BAD("SHM size can not be less than 0");
	if (num(h, "OomScoreAdj") < -1000 || num(h, "OomScoreAdj") > 1000)
		return BAD("Invalid value %lld, range for oom score adj is [-1000, 1000]", (long long)num(h, "OomScoreAdj"));
	if (str(config, "Hostname").len && span_is(uts, "host"))
		return BAD("conflicting options: hostname and the UTS mode");
	if (span_is(net, "host") && span_is(uts, "host") && str(config, "Hostname").len)
		return BAD("conflicting options: hostname and the network mode");
	JSON_EACH_ITEM (json_getl(h, "DeviceCgroupRules"), item) {
		rc = device_rule_check(json_span(item), err);
		if (rc < 0)
			return rc;
	}
	JSON_EACH_ITEM (json_getl(h, "ExtraHosts"), item) {
		struct span name, addr;
		if (!span_split(json_span(item), ':', &name, &addr) || !name.len)
			return BAD("bad format for add-host: \"%.*s\"", SPAN_ARG(json_span(item)));
	}
	if (span_is(net, "host") && (count(h, "PortBindings") || truth(h, "PublishAllPorts")))
		json_push(a, warnings, json_cstr("Published ports are discarded when using host network mode"));
	return 0;
}

/* ---- what is filled in */

static void fill(struct arena *a, struct json *h, const char *key, struct json value)
{
	const struct json *v = json_get(h, span_of(key));
	if (!v || v->kind == JSON_NULL || (v->kind == JSON_STRING && !v->n))
		json_set(a, h, span_of(key), value);
}

static struct json strings(struct arena *a, const char *const *list, size_t n)
{
	struct json out = json_array();
	for (size_t i = 0; i < n; i++)
		json_push(a, &out, json_cstr(list[i]));
	return out;
}

void container_host_defaults(const struct container_engine *e, struct arena *a, struct json *h)
{
	static const char *const masked[] = { "/proc/asound", "/proc/acpi",	    "/proc/interrupts", "/proc/kcore",
					      "/proc/keys",   "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
					      "/proc/sched_debug", "/proc/scsi",    "/sys/firmware",	"/sys/devices/virtual/powercap" };
	static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
	const struct settings *s = &e->settings;
	bool privileged = truth(h, "Privileged"), open = privileged;
	JSON_EACH_ITEM (json_getl(h, "SecurityOpt"), item)
		open |= span_is(json_span(item), "systempaths=unconfined");
	fill(a, h, "NetworkMode", json_cstr("bridge"));
	if (span_is(str(h, "NetworkMode"), "default"))
		json_setl(a, h, "NetworkMode", json_cstr("bridge"));
	fill(a, h, "IpcMode", json_cstr(s->ipc_shareable ? "shareable" : "private"));
	fill(a, h, "CgroupnsMode", json_cstr(s->cgroupns_host || privileged || !sys_cgroup_pure_v2() ? "host" : "private"));
	fill(a, h, "Runtime", json_cstr("runc"));
	if (num(h, "ShmSize") == 0)
		json_setl(a, h, "ShmSize", json_int(s->shm_bytes));
	/* With a limit and no word on swap Docker allows as much swap again. */
	if (num(h, "Memory") > 0 && num(h, "MemorySwap") == 0)
		json_setl(a, h, "MemorySwap", json_int(num(h, "Memory") > INT64_MAX / 2 ? -1 : num(h, "Memory") * 2));
	fill(a, h, "MaskedPaths", open ? json_array() : strings(a, masked, ARRAY_LEN(masked)));
	fill(a, h, "ReadonlyPaths", open ? json_array() : strings(a, readonly, ARRAY_LEN(readonly)));
	struct json *policy = json_getl(h, "RestartPolicy");
	if (!json_is(policy, JSON_OBJECT))
		policy = json_setl(a, h, "RestartPolicy", json_object());
	fill(a, policy, "Name", json_cstr("no"));
	fill(a, policy, "MaximumRetryCount", json_int(0));
	struct json *log = json_getl(h, "LogConfig");
	if (!json_is(log, JSON_OBJECT))
		log = json_setl(a, h, "LogConfig", json_object());
	bool ours = !str(log, "Type").len;
	fill(a, log, "Type", json_str(s->log_driver));
	struct json *opts = json_getl(log, "Config");
	if (!json_is(opts, JSON_OBJECT))
		opts = json_setl(a, log, "Config", json_object());
	if (span_is(str(log, "Type"), "json-file")) {
		JSON_EACH_MEMBER (ours ? s->log_opts : NULL, m)
			if (!json_get(opts, json_key(m)))
				json_add(a, opts, json_key(m), json_copy(a, &m->value));
		/* A log that fills the disk is nobody's wish; inspect shows these two (the one deliberate difference). */
		if (!json_getl(opts, "max-size")) {
			json_setl(a, opts, "max-size", json_cstr("10m"));
			fill(a, opts, "max-file", json_cstr("3"));
		}
	}
	fill(a, h, "Init", s->init ? json_bool(true) : JSON_NULL_VALUE);
}

/* ---- daemon.json */

int container_settings_read(const struct json *v, struct settings *out, struct err *err)
{
	struct arena *a = &out->arena;
	out->log_driver = SPAN("json-file");
	out->shm_bytes = 64 << 20;
	out->shutdown_s = 15;
	out->systemd = sys_slice_possible();
	if (!v)
		return 0;
	struct json copy = json_copy(a, v), *c = arena_new(a, struct json);
	*c = copy;
	struct span s = str(c, "log-driver");
	if (s.len && !span_is(s, "json-file") && !span_is(s, "none"))
		return err_set(err, ERR_INVALID, "log-driver: no log driver named '%.*s' is registered", SPAN_ARG(s));
	if (s.len)
		out->log_driver = s;
	out->log_opts = json_getl(c, "log-opts");
	if (container_log_opts_check(out->log_opts, span_is(out->log_driver, "none"), err) < 0)
		return err_note(err, "log-opts");
	out->cgroup_parent = str(c, "cgroup-parent");
	out->ulimits = json_getl(c, "default-ulimits");
	out->init = truth(c, "init");
	out->no_new_privileges = truth(c, "no-new-privileges");
	out->shutdown_s = json_i64(json_getl(c, "shutdown-timeout"), out->shutdown_s);
	const struct json *shm = json_getl(c, "default-shm-size");
	if (shm)
		out->shm_bytes = json_i64(shm, -1);
	if (out->shm_bytes <= 0)
		return err_set(err, ERR_INVALID, "default-shm-size: expected a number of bytes");
	s = str(c, "default-cgroupns-mode");
	if (s.len && !span_is(s, "host") && !span_is(s, "private"))
		return err_set(err, ERR_INVALID, "default-cgroupns-mode: \"%.*s\" is neither host nor private", SPAN_ARG(s));
	out->cgroupns_host = span_is(s, "host");
	s = str(c, "default-ipc-mode");
	if (s.len && !span_is(s, "shareable") && !span_is(s, "private"))
		return err_set(err, ERR_INVALID, "default-ipc-mode: \"%.*s\" is neither shareable nor private", SPAN_ARG(s));
	out->ipc_shareable = span_is(s, "shareable");
	s = str(c, "default-runtime");
	if (s.len && !span_is(s, "runc") && !span_is(s, "knarr"))
		return err_set(err, ERR_INVALID, "default-runtime: there is no runtime %.*s", SPAN_ARG(s));
	JSON_EACH_ITEM (json_getl(c, "exec-opts"), item) {
		if (span_is(json_span(item), "native.cgroupdriver=systemd"))
			out->systemd = true;
		else if (span_is(json_span(item), "native.cgroupdriver=cgroupfs"))
			out->systemd = false;
		else
			return err_set(err, ERR_INVALID, "exec-opts: unknown option %.*s", SPAN_ARG(json_span(item)));
	}
	if (out->cgroup_parent.len && out->systemd && !slice_ok(out->cgroup_parent))
		return err_set(err, ERR_INVALID, "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"");
	s = str(c, "seccomp-profile");
	if (span_is(s, "unconfined")) {
		out->seccomp = s;
	} else if (s.len && !span_is(s, "builtin") && !span_is(s, "default")) {
		auto_buf struct buf text = {};
		int rc = io_read_file(AT_FDCWD, arena_cstr(a, s), &text, 1 << 20, err);
		if (rc < 0)
			return err_note(err, "opening seccomp profile (%.*s) failed", SPAN_ARG(s));
		out->seccomp = arena_span(a, buf_span(&text));
	}
	return 0;
}
