/* Config and HostConfig of a container with every member, in the order of Docker's types. A client need not say what it does not
 * mean, and dockerd writes the type that it read: programs take members for granted (HostConfig.Privileged, Config.User). */
#include "engine/private.h"

struct member {
	const char *name;
	char kind; /* of what is written when it was not said: s "", n 0, b false, z null, o {}, c the console's size, - nothing */
};
static const struct member config_members[] = {
	{ "Hostname", 's' }, { "Domainname", 's' }, { "User", 's' }, { "AttachStdin", 'b' }, { "AttachStdout", 'b' },
	{ "AttachStderr", 'b' }, { "ExposedPorts", '-' }, { "Tty", 'b' }, { "OpenStdin", 'b' }, { "StdinOnce", 'b' }, { "Env", 'z' },
	{ "Cmd", 'z' }, { "Healthcheck", '-' }, { "ArgsEscaped", '-' }, { "Image", 's' }, { "Volumes", 'z' }, { "WorkingDir", 's' },
	{ "Entrypoint", 'z' }, { "NetworkDisabled", '-' }, { "MacAddress", '-' }, { "OnBuild", 'z' }, { "Labels", 'o' },
	{ "StopSignal", '-' }, { "StopTimeout", '-' }, { "Shell", '-' },
};
static const struct member host_members[] = {
	{ "Binds", 'z' },	{ "ContainerIDFile", 's' }, { "LogConfig", 'o' },   { "NetworkMode", 's' }, { "PortBindings", 'o' },
	{ "RestartPolicy", 'o' }, { "AutoRemove", 'b' },    { "VolumeDriver", 's' }, { "VolumesFrom", 'z' }, { "ConsoleSize", 'c' },
	{ "Annotations", '-' }, { "CapAdd", 'z' },	    { "CapDrop", 'z' },	    { "CgroupnsMode", 's' }, { "Dns", 'z' },
	{ "DnsOptions", 'z' },	{ "DnsSearch", 'z' },	    { "ExtraHosts", 'z' },  { "GroupAdd", 'z' },    { "IpcMode", 's' },
	{ "Cgroup", 's' },	{ "Links", 'z' },	    { "OomScoreAdj", 'n' }, { "PidMode", 's' },	    { "Privileged", 'b' },
	{ "PublishAllPorts", 'b' }, { "ReadonlyRootfs", 'b' }, { "SecurityOpt", 'z' }, { "StorageOpt", '-' }, { "Tmpfs", '-' },
	{ "UTSMode", 's' },	{ "UsernsMode", 's' },	    { "ShmSize", 'n' },	    { "Sysctls", '-' },	    { "Runtime", 's' },
	{ "Isolation", 's' },	{ "CpuShares", 'n' },	    { "Memory", 'n' },	    { "NanoCpus", 'n' },    { "CgroupParent", 's' },
	{ "BlkioWeight", 'n' }, { "BlkioWeightDevice", 'z' }, { "BlkioDeviceReadBps", 'z' }, { "BlkioDeviceWriteBps", 'z' },
	{ "BlkioDeviceReadIOps", 'z' }, { "BlkioDeviceWriteIOps", 'z' }, { "CpuPeriod", 'n' }, { "CpuQuota", 'n' },
	{ "CpuRealtimePeriod", 'n' }, { "CpuRealtimeRuntime", 'n' }, { "CpusetCpus", 's' }, { "CpusetMems", 's' }, { "Devices", 'z' },
	{ "DeviceCgroupRules", 'z' }, { "DeviceRequests", 'z' }, { "MemoryReservation", 'n' }, { "MemorySwap", 'n' },
	{ "MemorySwappiness", 'z' }, { "OomKillDisable", 'z' }, { "PidsLimit", 'z' }, { "Ulimits", 'z' }, { "CpuCount", 'n' },
	{ "CpuPercent", 'n' }, { "IOMaximumIOps", 'n' }, { "IOMaximumBandwidth", 'n' }, { "Mounts", '-' }, { "MaskedPaths", 'z' },
	{ "ReadonlyPaths", 'z' }, { "Init", '-' },
};

static struct json unsaid(struct arena *a, char kind)
{
	struct json size = json_array();
	switch (kind) {
	case 's': return json_cstr("");
	case 'n': return json_int(0);
	case 'b': return json_bool(false);
	case 'o': return json_object();
	case 'c':
		(void)json_push(a, &size, json_int(0));
		(void)json_push(a, &size, json_int(0));
		return size;
	default: return JSON_NULL_VALUE;
	}
}

static bool says_nothing(const struct json *v)
{
	bool empty = (v->kind == JSON_STRING || v->kind == JSON_ARRAY || v->kind == JSON_OBJECT) && !v->n;
	return v->kind == JSON_NULL || empty || (v->kind == JSON_BOOL && !v->b);
}

/* Members that Docker's type has not (of other versions) come last. */
static void whole(struct arena *a, struct json *v, const struct member *members, size_t n)
{
	struct json out = json_object();
	if (!json_is(v, JSON_OBJECT))
		return;
	for (size_t i = 0; i < n; i++) {
		const struct json *is = json_get(v, span_of(members[i].name));
		bool init = members[i].kind == '-' && is && is->kind == JSON_BOOL && span_is(span_of(members[i].name), "Init");
		if (members[i].kind == '-' && (!is || (says_nothing(is) && !init)))
			continue; /* omitempty; Init is a pointer: false was said */
		bool said = is && (is->kind != JSON_NULL || members[i].kind == 'z');
		(void)json_add(a, &out, span_of(members[i].name), said ? *is : unsaid(a, members[i].kind));
	}
	JSON_EACH_MEMBER (v, m) {
		bool known = false;
		for (size_t i = 0; i < n && !known; i++)
			known = span_is(json_key(m), members[i].name);
		if (!known)
			(void)json_add(a, &out, json_key(m), m->value);
	}
	*v = out;
}

void engine_container_whole(struct arena *a, struct json *v)
{
	struct json *host = json_getl(v, "HostConfig");
	whole(a, json_getl(v, "Config"), config_members, ARRAY_LEN(config_members));
	whole(a, host, host_members, ARRAY_LEN(host_members));
	const struct json *links = json_getl(host, "Links");
	if (links && says_nothing(links)) /* dockerd writes those that it found, and a list that nothing was put into is null */
		(void)json_setl(a, host, "Links", JSON_NULL_VALUE);
}
