/* The engine as a whole: /_ping, /version, /info, /system/df, /auth, /metrics. Figures are read from the kernel when asked for.
 * */
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "engine/private.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342 /* statfs(2) */
#endif

void engine_ping(struct engine_call *c)
{
	bool head = http_req_is(c->req, "HEAD");
	http_reply_header(c->req, "Builder-Version", SPAN("1"));
	http_reply_header(c->req, "Swarm", SPAN("inactive"));
	http_reply_header(c->req, "Cache-Control", SPAN("no-cache, no-store, must-revalidate"));
	http_reply_header(c->req, "Pragma", SPAN("no-cache"));
	if (!engine_answer_head(c, 200))
		return;
	http_reply_header(c->req, "Content-Type", SPAN("text/plain; charset=utf-8"));
	if (head)
		http_reply_header(c->req, "Content-Length", SPAN("0"));
	else
		http_reply_add(c->req, http_copy(SPAN("OK")));
	http_reply_end(c->req);
}

void engine_metrics(struct engine_call *c)
{
	auto_buf struct buf page = {};
	metrics_write(c->e->metrics, &page);
	engine_answer_text(c, 200, METRICS_CONTENT_TYPE, buf_span(&page));
}

/* Go's name of this machine's architecture. */
static const char *go_arch(void)
{
#if defined(__x86_64__)
	return "amd64";
#elif defined(__aarch64__)
	return "arm64";
#else
	return "unknown";
#endif
}

void engine_version(struct engine_call *c)
{
	struct arena *a = &c->arena;
	struct utsname u = {};
	struct json v = json_object(), platform = json_object(), parts = json_array(), part = json_object(), details = json_object();
	(void)uname(&u);
	(void)json_setl(a, &platform, "Name", json_cstr("Knarr"));
	(void)json_setl(a, &details, "ApiVersion", json_cstr(ENGINE_API_TEXT));
	(void)json_setl(a, &details, "Arch", json_cstr(go_arch()));
	(void)json_setl(a, &details, "BuildTime", json_cstr(""));
	(void)json_setl(a, &details, "Experimental", json_cstr("false"));
	(void)json_setl(a, &details, "GitCommit", json_cstr(""));
	(void)json_setl(a, &details, "GoVersion", json_cstr(""));
	(void)json_setl(a, &details, "KernelVersion", json_cstr(u.release));
	(void)json_setl(a, &details, "MinAPIVersion", json_cstr(ENGINE_API_MIN_TEXT));
	(void)json_setl(a, &details, "Os", json_cstr("linux"));
	(void)json_setl(a, &part, "Name", json_cstr("Engine"));
	(void)json_setl(a, &part, "Version", json_cstr(KNARR_VERSION));
	(void)json_setl(a, &part, "Details", details);
	(void)json_push(a, &parts, part);
	(void)json_setl(a, &v, "Platform", platform);
	(void)json_setl(a, &v, "Components", parts);
	(void)json_setl(a, &v, "Version", json_cstr(KNARR_VERSION));
	(void)json_setl(a, &v, "ApiVersion", json_cstr(ENGINE_API_TEXT));
	(void)json_setl(a, &v, "MinAPIVersion", json_cstr(ENGINE_API_MIN_TEXT));
	(void)json_setl(a, &v, "GitCommit", json_cstr(""));
	(void)json_setl(a, &v, "GoVersion", json_cstr(""));
	(void)json_setl(a, &v, "Os", json_cstr("linux"));
	(void)json_setl(a, &v, "Arch", json_cstr(go_arch()));
	(void)json_setl(a, &v, "KernelVersion", json_cstr(u.release));
	(void)json_setl(a, &v, "BuildTime", json_cstr(""));
	engine_answer_json(c, 200, &v);
}

/* ---- /info ---- */

static bool there(const char *path)
{
	return access(path, F_OK) == 0;
}

static struct span file_text(struct arena *a, const char *path)
{
	auto_buf struct buf b = {};
	if (io_read_file(AT_FDCWD, path, &b, 1 << 16, NULL) < 0)
		return SPAN_EMPTY;
	return arena_span(a, span_trim(buf_span(&b)));
}

/* KEY="value" of os-release(5). */
static struct span os_release(struct arena *a, const char *key)
{
	struct span rest = file_text(a, "/etc/os-release"), line, k, v;
	if (!rest.len)
		rest = file_text(a, "/usr/lib/os-release");
	while (span_cut(&rest, '\n', &line))
		if (span_split(line, '=', &k, &v) && span_is(k, key)) {
			if (v.len >= 2 && (v.ptr[0] == '"' || v.ptr[0] == '\''))
				v = span_sub(v, 1, v.len - 1);
			return v;
		}
	return SPAN_EMPTY;
}

static unsigned open_fds(void)
{
	char path[64];
	unsigned n = 0;
	struct stat st;
	for (int fd = 0; fd < 4096; fd++) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n += lstat(path, &st) == 0;
	}
	return n;
}

static void cgroup_facts(struct arena *a, bool systemd, struct json *v, struct json *warnings)
{
	bool two = there("/sys/fs/cgroup/cgroup.controllers");
	struct span all = two ? file_text(a, "/sys/fs/cgroup/cgroup.controllers") : file_text(a, "/proc/cgroups");
	/* v1: "memory 5 100 1" a line, the last number says whether it is on. */
	struct {
		const char *name, *member, *missing;
	} const rows[] = {
		{ "memory", "MemoryLimit", "WARNING: No memory limit support" },
		{ "cpu", "CpuCfsPeriod", "WARNING: No cpu cfs period support" },
		{ "cpu", "CpuCfsQuota", "WARNING: No cpu cfs quota support" },
		{ "cpu", "CPUShares", "WARNING: No cpu shares support" },
		{ "cpuset", "CPUSet", "WARNING: No cpuset support" },
		{ "pids", "PidsLimit", "WARNING: No pids limit support" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span rest = all, word, line;
		bool on = false;
		while (two ? span_cut(&rest, ' ', &word) : span_cut(&rest, '\n', &line)) {
			if (!two) {
				ptrdiff_t tab = span_chr(line, '\t');
				word = span_sub(line, 0, tab < 0 ? 0 : (size_t)tab);
				on |= span_is(word, rows[i].name) && span_ends(line, SPAN("1"));
			} else {
				on |= span_is(word, rows[i].name);
			}
		}
		(void)json_set(a, v, span_of(rows[i].member), json_bool(on));
		if (!on)
			(void)json_push(a, warnings, json_cstr(rows[i].missing));
	}
	bool swap = two ? there("/sys/fs/cgroup/memory.swap.max") || json_truth(json_getl(v, "MemoryLimit"), false)
			: there("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes");
	(void)json_setl(a, v, "SwapLimit", json_bool(swap));
	(void)json_setl(a, v, "OomKillDisable", json_bool(!two && there("/sys/fs/cgroup/memory/memory.oom_control")));
	(void)json_setl(a, v, "CgroupDriver", json_cstr(systemd ? "systemd" : "cgroupfs"));
	(void)json_setl(a, v, "CgroupVersion", json_cstr(two ? "2" : "1"));
	if (!swap)
		(void)json_push(a, warnings, json_cstr("WARNING: No swap limit support"));
}

static struct json names(struct arena *a, const char *list)
{
	struct json v = json_array();
	struct span rest = span_of(list), one;
	while (span_cut(&rest, ',', &one))
		(void)json_push(a, &v, json_str(one));
	return v;
}

static struct json commit(struct arena *a, const char *id)
{
	struct json v = json_object();
	(void)json_setl(a, &v, "ID", json_cstr(id));
	(void)json_setl(a, &v, "Expected", json_cstr(id));
	return v;
}

static void host_facts(struct engine_call *c, struct json *v)
{
	struct arena *a = &c->arena;
	struct utsname u = {};
	struct sysinfo si = {};
	(void)uname(&u);
	(void)sysinfo(&si);
	struct span os = os_release(a, "PRETTY_NAME");
	(void)json_setl(a, v, "KernelVersion", engine_text(a, span_of(u.release)));
	(void)json_setl(a, v, "OperatingSystem", os.len ? json_str(os) : json_cstr("<unknown>"));
	(void)json_setl(a, v, "OSVersion", json_str(os_release(a, "VERSION_ID")));
	(void)json_setl(a, v, "OSType", json_cstr("linux"));
	(void)json_setl(a, v, "Architecture", engine_text(a, span_of(u.machine)));
	(void)json_setl(a, v, "Name", engine_text(a, span_of(u.nodename)));
	(void)json_setl(a, v, "NCPU", json_int(sysconf(_SC_NPROCESSORS_ONLN)));
	(void)json_setl(a, v, "MemTotal", json_int((int64_t)si.totalram * si.mem_unit));
	(void)json_setl(a, v, "IPv4Forwarding", json_bool(span_is(file_text(a, "/proc/sys/net/ipv4/ip_forward"), "1")));
	(void)json_setl(a, v, "BridgeNfIptables", json_bool(span_is(file_text(a, "/proc/sys/net/bridge/bridge-nf-call-iptables"),
		"1")));
	(void)json_setl(a, v, "BridgeNfIp6tables", json_bool(span_is(file_text(a, "/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
		"1")));
}

static void status_row(struct arena *a, struct json *status, const char *name, const char *value)
{
	struct json row = json_array();
	(void)json_push(a, &row, json_cstr(name));
	(void)json_push(a, &row, json_cstr(value));
	(void)json_push(a, status, row);
}

static void storage_facts(struct engine_call *c, struct json *v)
{
	static const struct {
		long magic;
		const char *name; /* as Docker's storage drivers call it */
	} kinds[] = { { EXT4_SUPER_MAGIC, "extfs" }, { XFS_SUPER_MAGIC, "xfs" }, { BTRFS_SUPER_MAGIC, "btrfs" }, { TMPFS_MAGIC,
		"tmpfs" },
		{ OVERLAYFS_SUPER_MAGIC, "overlayfs" }, { NFS_SUPER_MAGIC, "nfs" } };
	struct arena *a = &c->arena;
	bool overlay = snapshot_backend(c->e->snapshots) == SNAPSHOT_OVERLAY;
	struct json status = json_array();
	struct statfs fs;
	auto_buf struct buf dir = {};
	buf_span_add(&dir, c->e->o->data_dir);
	const char *name = "<unknown>";
	if (statfs(buf_cstr(&dir), &fs) == 0)
		for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
			if ((long)fs.f_type == kinds[i].magic)
				name = kinds[i].name;
	if (overlay) {
		status_row(a, &status, "Backing Filesystem", name);
		/* Snapshots are overlays by trusted.* attributes only where one could be mounted (snapshot.h), which takes d_type;
		   what a layer has is what lies in the upper folder. */
		status_row(a, &status, "Supports d_type", "true");
		status_row(a, &status, "Native Overlay Diff", "true");
		status_row(a, &status, "userxattr", "false");
	}
	(void)json_setl(a, v, "Driver", json_cstr(overlay ? "overlay2" : "vfs"));
	(void)json_setl(a, v, "DriverStatus", status);
	(void)json_setl(a, v, "DockerRootDir", json_str(c->e->o->data_dir));
}

static int info_run(struct engine_call *c, struct err *err)
{
	struct engine *e = c->e;
	struct arena *a = &c->arena;
	struct json v = json_object(), warnings = json_array(), plugins = json_object(), security = json_array();
	struct json swarm = json_object();
	struct image_info *images;
	size_t n;
	int rc = image_list(e->images, a, &images, &n, err);
	if (rc < 0)
		return rc;
	(void)json_setl(a, &v, "ID", json_cstr(e->id));
	(void)json_setl(a, &v, "Images", json_int((int64_t)n));
	storage_facts(c, &v);
	(void)json_setl(a, &plugins, "Volume", names(a, "local"));
	(void)json_setl(a, &plugins, "Network", names(a, "bridge,host,null"));
	(void)json_setl(a, &plugins, "Authorization", JSON_NULL_VALUE);
	(void)json_setl(a, &plugins, "Log", names(a, "json-file,none"));
	(void)json_setl(a, &v, "Plugins", plugins);
	cgroup_facts(a, container_systemd(e->containers), &v, &warnings);
	host_facts(c, &v);
	(void)json_setl(a, &v, "KernelMemory", json_bool(false));
	(void)json_setl(a, &v, "KernelMemoryTCP", json_bool(false));
	(void)json_setl(a, &v, "Debug", json_bool(e->o->debug));
	(void)json_setl(a, &v, "NFd", json_int(open_fds()));
	(void)json_setl(a, &v, "NGoroutines", json_int(1 + e->pool_threads + (int)e->n_streams));
	(void)json_setl(a, &v, "SystemTime", engine_time(a, clock_wall_ns(clock_real())));
	(void)json_setl(a, &v, "IndexServerAddress", json_cstr("https://index.docker.io/v1/"));
	(void)json_setl(a, &v, "RegistryConfig", engine_registry_info(e->registry, a));
	(void)json_setl(a, &v, "GenericResources", JSON_NULL_VALUE);
	struct image_registry_params p;
	engine_registry_params(e->registry, &p);
	(void)json_setl(a, &v, "HttpProxy", json_str(p.http_proxy));
	(void)json_setl(a, &v, "HttpsProxy", json_str(p.https_proxy));
	(void)json_setl(a, &v, "NoProxy", json_str(p.no_proxy));
	const struct json *labels = json_getl(&e->o->settings, "labels");
	(void)json_setl(a, &v, "Labels", json_is(labels, JSON_ARRAY) ? json_copy(a, labels) : json_array());
	(void)json_setl(a, &v, "ExperimentalBuild", json_bool(false));
	(void)json_setl(a, &v, "ServerVersion", json_cstr(KNARR_VERSION));
	(void)json_setl(a, &swarm, "NodeID", json_cstr(""));
	(void)json_setl(a, &swarm, "NodeAddr", json_cstr(""));
	(void)json_setl(a, &swarm, "LocalNodeState", json_cstr("inactive"));
	(void)json_setl(a, &swarm, "ControlAvailable", json_bool(false));
	(void)json_setl(a, &swarm, "Error", json_cstr(""));
	(void)json_setl(a, &swarm, "RemoteManagers", JSON_NULL_VALUE);
	(void)json_setl(a, &v, "Swarm", swarm);
	/* Containers have monitors of their own: the engine may come and go. */
	(void)json_setl(a, &v, "LiveRestoreEnabled", json_bool(true));
	(void)json_setl(a, &v, "Isolation", json_cstr(""));
	(void)json_setl(a, &v, "InitBinary", json_cstr("docker-init"));
	(void)json_setl(a, &v, "ContainerdCommit", commit(a, ""));
	(void)json_setl(a, &v, "RuncCommit", commit(a, KNARR_VERSION));
	(void)json_setl(a, &v, "InitCommit", commit(a, KNARR_VERSION));
	if (container_apparmor_on())
		(void)json_push(a, &security, json_cstr("name=apparmor"));
	if (there("/proc/sys/kernel/seccomp/actions_avail"))
		(void)json_push(a, &security, json_cstr("name=seccomp,profile=builtin"));
	if (there("/sys/fs/cgroup/cgroup.controllers"))
		(void)json_push(a, &security, json_cstr("name=cgroupns"));
	(void)json_setl(a, &v, "SecurityOptions", security);
	(void)json_setl(a, &v, "CDISpecDirs", json_array());
	(void)json_setl(a, &v, "Warnings", warnings.n ? warnings : JSON_NULL_VALUE);
	c->out = v;
	return 0;
}

static void info_done(struct engine_call *c, int rc)
{
	if (rc == 0) {
		(void)json_setl(&c->arena, &c->out, "NEventsListener", json_int(engine_events_listeners(c->e->events)));
		engine_info_containers(c, &c->out);
		engine_info_networks(c, &c->out);
		engine_shape(ENGINE_DOC_INFO, c->api, &c->arena, &c->out);
	}
	engine_work_end(c, rc);
}

void engine_info(struct engine_call *c)
{
	engine_work(c, info_run, info_done);
}

/* ---- /auth ---- */

static int auth_run(struct engine_call *c, struct err *err)
{
	struct arena *a = &c->arena;
	struct image_registry_params p;
	struct span server = json_span(json_getl(&c->body, "serveraddress")), rest;
	engine_registry_params(c->e->registry, &p);
	p.username = json_span(json_getl(&c->body, "username"));
	p.password = json_span(json_getl(&c->body, "password"));
	p.identity_token = json_span(json_getl(&c->body, "identitytoken"));
	if (span_starts(server, SPAN("https://")))
		server = span_from(server, 8);
	else if (span_starts(server, SPAN("http://")))
		server = span_from(server, 7);
	(void)span_split(server, '/', &server, &rest);
	if (!server.len || span_is(server, "index.docker.io") || span_is(server, "registry-1.docker.io"))
		server = SPAN("docker.io");
	int rc = image_login(&p, server, err);
	if (rc < 0)
		return rc;
	c->out = json_object();
	(void)json_setl(a, &c->out, "IdentityToken", json_cstr(""));
	(void)json_setl(a, &c->out, "Status", json_cstr("Login Succeeded"));
	return 0;
}

void engine_auth(struct engine_call *c)
{
	engine_work(c, auth_run, NULL);
}
