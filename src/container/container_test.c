/* The parts that touch nothing: names, merging, checks, capabilities, filters, users, config.json. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/calls_test.h"
#include "container/private.h"
#include "runtime/runtime.h"
#include "sys/sys.h"

static struct json tree(struct arena *a, const char *text)
{
	struct json v;
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf b = {};
	for (const char *p = text; *p; p++) /* ' stands for " */
		buf_chr(&b, *p == '\'' ? '"' : *p);
	if (json_parse(a, arena_span(a, buf_span(&b)), 0, NULL, &v, &err) < 0)
		fail_msg("%s: %s", text, err_msg(&err));
	return v;
}

static void same(struct arena *a, const struct json *got, const char *want)
{
	auto_buf struct buf b = {};
	struct json w = tree(a, want);
	json_write(&b, got, JSON_SORTED);
	if (!json_equal(got, &w))
		fail_msg("wanted %s\ngot    %s", want, buf_cstr(&b));
}

static void names(void **state)
{
	static const char *const good[] = { "ab", "a1", "A.b-c_d", "0x" }, *const bad[] = { "", "a", "-ab", ".ab", "a/b", "a b",
		"\303\244b" };
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(container_name_ok(span_of(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(container_name_ok(span_of(bad[i])));
	struct rng r;
	rng_init(&r, 1);
	for (unsigned i = 0; i < 200; i++) {
		auto_buf struct buf b = {};
		container_name_make(&r, i % 20, &b);
		assert_true(container_name_ok(buf_span(&b)) && span_chr(buf_span(&b), '_') > 0);
	}
}

static void merging(void **state)
{
	static const struct {
		const char *image, *request, *want; /* NULL = "no command specified" */
	} rows[] = {
		{ "{'Cmd':['a']}", "{}", "{'Cmd':['a']}" },
		{ "{'Cmd':['a'],'Entrypoint':['e']}", "{'Cmd':['b']}", "{'Cmd':['b'],'Entrypoint':['e']}" },
		{ "{'Cmd':['a'],'Entrypoint':['e']}", "{'Entrypoint':['f']}", "{'Entrypoint':['f']}" },
		{ "{'Cmd':['a'],'Entrypoint':['e']}", "{'Entrypoint':[''],'Cmd':['b']}", "{'Entrypoint':null,'Cmd':['b']}" },
		{ "{'Cmd':['a'],'Entrypoint':['e']}", "{'Entrypoint':['']}", NULL },
		{ "{}", "{}", NULL },
		{ "{'Env':['A=1','B=2']}", "{'Cmd':['x'],'Env':['B=3','C']}", "{'Cmd':['x'],'Env':['B=3','C','A=1']}" },
		{ "{'Env':['A=1']}", "{'Cmd':['x'],'Env':['A']}", "{'Cmd':['x'],'Env':['A']}" },
		{ "{'Labels':{'a':'1','b':'2'}}", "{'Cmd':['x'],'Labels':{'a':'9'}}", "{'Cmd':['x'],'Labels':{'a':'9','b':'2'}}" },
		{ "{'ExposedPorts':{'80/tcp':{}}}", "{'Cmd':['x'],'ExposedPorts':{'53':{}}}",
		  "{'Cmd':['x'],'ExposedPorts':{'53/tcp':{},'80/tcp':{}}}" },
		{ "{'User':'u','WorkingDir':'/w','StopSignal':'INT','Volumes':{'/v':{}}}", "{'Cmd':['x'],'User':'v'}",
		  "{'Cmd':['x'],'User':'v','WorkingDir':'/w','StopSignal':'INT','Volumes':{'/v':{}}}" },
		{ "{'Healthcheck':{'Test':['CMD','a'],'Interval':5}}", "{'Cmd':['x'],'Healthcheck':{'Retries':2}}",
		  "{'Cmd':['x'],'Healthcheck':{'Retries':2,'Test':['CMD','a'],'Interval':5}}" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json image = tree(&a, rows[i].image), request = tree(&a, rows[i].request), got;
		if (!rows[i].want) {
			FAILS(ERR_INVALID_REQUEST, "no command specified", container_config_merge(&a, &image, &request, &got, &err));
			continue;
		}
		OK(container_config_merge(&a, &image, &request, &got, &err));
		same(&a, &got, rows[i].want);
	}
}

static void commands(void **state)
{
	auto_arena struct arena a = {};
	struct json c = tree(&a, "{'Entrypoint':['e','f'],'Cmd':['g']}"), args;
	struct span path;
	container_command(&a, &c, &path, &args);
	assert_true(span_is(path, "e"));
	same(&a, &args, "['f','g']");
}

static void refusals(void **state)
{
	static const struct {
		const char *host, *words; /* NULL = fine */
	} rows[] = {
		{ "{}", NULL },
		{ "{'Memory':6291456,'MemorySwap':-1,'CpuShares':512,'CpusetCpus':'0'}", NULL },
		{ "{'Memory':1}", "Minimum memory limit allowed is 6MB" },
		{ "{'Memory':8388608,'MemorySwap':7000000}", "Minimum memoryswap limit should be larger than memory limit" },
		{ "{'MemorySwap':7000000}", "You should always set the Memory limit when using Memoryswap limit" },
		{ "{'NanoCpus':1,'CpuQuota':5000}", "Nano CPUs and CPU Quota cannot both be set" },
		{ "{'NanoCpus':99999000000000}", "range of CPUs is from 0.01 to " },
		{ "{'CpuPeriod':5}", "CPU cfs period can not be less than 1ms" },
		{ "{'BlkioWeight':5}", "Range of blkio weight is from 10 to 1000" },
		{ "{'MemorySwappiness':101}", "valid memory swappiness range is 0-100" },
		{ "{'CpusetCpus':'a'}", "Invalid value a for cpuset cpus" },
		{ "{'CpusetCpus':'1-0'}", "Invalid value 1-0 for cpuset cpus" },
		{ "{'CpusetCpus':'0,8191'}", "Requested CPUs are not available - requested 0,8191, available: 0" },
		{ "{'CpusetMems':'8191'}", "Requested memory nodes are not available - requested 8191, available: 0" },
		{ "{'CpusetCpus':'0','CpusetMems':'0'}", NULL },
		{ "{'PidMode':'private'}", "invalid PID mode: private" },
		{ "{'IpcMode':'magic'}", "invalid IPC mode: magic" },
		{ "{'UTSMode':'container:x'}", "invalid UTS mode: container:x" },
		{ "{'UsernsMode':'remap'}", "invalid user namespace mode: remap" },
		{ "{'CgroupnsMode':'x'}", "invalid cgroup namespace mode: x" },
		{ "{'OomScoreAdj':5000}", "range for oom score adj is [-1000, 1000]" },
		{ "{'CgroupParent':'/a'}", "should be a valid slice named as" },
		{ "{'LogConfig':{'Type':'syslog'}}", "error looking up logging plugin syslog" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'colour':'red'}}}", "unknown log opt 'colour' for json-file log driver" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'max-file':'0'}}}", "max-file cannot be less than 1" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'max-file':'x'}}}", "strconv.Atoi: parsing \"x\": invalid syntax" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'max-size':'x'}}}", "failed to initialize logging driver: invalid size: 'x'" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'max-size':'-1'}}}", "invalid size: '-1'" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'max-size':'10mm'}}}", "invalid size: '10mm'" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'max-size':'99999999p'}}}", "invalid size: '99999999p'" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'max-size':'0'}}}", "max-size must be a positive number" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'max-size':'1.5 MiB','max-file':'1000','compress':'false'}}}", NULL },
		{ "{'LogConfig':{'Type':'json-file','Config':{'compress':'yes'}}}", "strconv.ParseBool: parsing \"yes\": invalid syntax" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'max-size':'1m','compress':'true'}}}",
			"failed to initialize logging driver: compress cannot be true when max-file is less than 2 or max-size is not set" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'max-file':'1','compress':'T'}}}", "compress cannot be true when" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'max-size':'1m','compress':'F'}}}", NULL },
		{ "{'LogConfig':{'Type':'json-file','Config':{'max-size':'1m','max-file':'2','compress':'1'}}}", NULL },
		{ "{'LogConfig':{'Type':'json-file','Config':{'compress':'true'}}}", NULL },
		{ "{'LogConfig':{'Type':'json-file','Config':{'mode':'loud'}}}", "logger: logging mode not supported: loud" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'max-buffer-size':'1m'}}}", "is only supported with 'mode=non-blocking'" },
		{ "{'LogConfig':{'Type':'json-file','Config':{'mode':'non-blocking','max-buffer-size':'1m'}}}", NULL },
		{ "{'LogConfig':{'Type':'none','Config':{'max-size':'x'}}}", NULL },
		{ "{'DeviceCgroupRules':['c 1:3']}", "invalid device cgroup rule format: 'c 1:3'" },
		{ "{'DeviceCgroupRules':['c 1:* rw']}", NULL },
		{ "{'DeviceRequests':[{}]}", "could not select device driver \"\" with capabilities: []" },
		{ "{'DeviceRequests':[{'Driver':'d','Capabilities':[['gpu'],['a','b']]}]}", "driver \"d\" with capabilities: [[gpu] [a b]]" },
		{ "{'StorageOpt':{'size':'1'}}", "--storage-opt is supported only for" },
		{ "{'Isolation':'hyperv'}", "invalid isolation 'hyperv' on linux" },
		{ "{'ExtraHosts':['nothing']}", "bad format for add-host" },
		{ "{'RestartPolicy':{'Name':'always','MaximumRetryCount':3}}", "maximum retry count can only be used with 'on-failure'" },
		{ "{'Memory':'much'}", "invalid Memory: the value is of the wrong type" },
		{ "{'CapAdd':'ALL'}", "invalid CapAdd: the value is of the wrong type" },
		{ "{'CapDrop':['ROOT']}", "invalid CapDrop: unknown capability: \"CAP_ROOT\"" },
		{ "{'CapAdd':['cap_q']}", "invalid CapAdd: unknown capability: \"CAP_Q\"" },
	};
	struct container_engine e = {};
	struct json config = json_object();
	OK(container_settings_read(NULL, &e.settings, &err));
	e.settings.systemd = true; /* whatever runs here */
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json host = tree(&a, rows[i].host), warnings = json_array();
		if (rows[i].words)
			FAILS(ERR_INVALID_REQUEST, rows[i].words, container_host_check(&e, &a, &host, &config, 0, &warnings, &err));
		else
			OK(container_host_check(&e, &a, &host, &config, 0, &warnings, &err));
	}
	arena_done(&e.settings.arena);
}

static void defaults(void **state)
{
	auto_arena struct arena a = {};
	struct container_engine e = {};
	struct json settings = tree(&a, "{'log-opts':{'max-size':'1m'},'init':true,'default-shm-size':1048576}");
	OK(container_settings_read(&settings, &e.settings, &err));
	struct json h = tree(&a, "{'Memory':10000000,'NetworkMode':'default'}");
	container_host_defaults(&e, &a, &h);
	same(&a, json_getl(&h, "LogConfig"), "{'Type':'json-file','Config':{'max-size':'1m'}}");
	assert_int_equal(container_num(&h, "MemorySwap"), 20000000);
	assert_int_equal(container_num(&h, "ShmSize"), 1048576);
	assert_true(container_truth(&h, "Init") && span_is(container_str(&h, "NetworkMode"), "bridge"));
	h = tree(&a, "{'Privileged':true}");
	container_host_defaults(&e, &a, &h);
	same(&a, json_getl(&h, "MaskedPaths"), "[]");
	arena_done(&e.settings.arena);
	e.settings = (struct settings){};
	OK(container_settings_read(NULL, &e.settings, &err));
	h = tree(&a, "{}");
	container_host_defaults(&e, &a, &h);
	same(&a, json_getl(&h, "LogConfig"), "{'Type':'json-file','Config':{'max-size':'10m','max-file':'3'}}");
	arena_done(&e.settings.arena);
	struct json loud = tree(&a, "{'log-opts':{'max-size':'much'}}");
	e.settings = (struct settings){};
	FAILS(ERR_INVALID_REQUEST, "log-opts: failed to initialize logging driver: invalid size: 'much'",
		container_settings_read(&loud, &e.settings, &err));
	arena_done(&e.settings.arena);
	struct json bad = tree(&a, "{'log-driver':'magic'}");
	e.settings = (struct settings){};
	FAILS(ERR_INVALID, "log-driver", container_settings_read(&bad, &e.settings, &err));
	arena_done(&e.settings.arena);
}

static void log_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} rows[] = { { "10m", 10000000 }, { "1.5k", 1500 }, { "1.5 MiB", 1500000 }, { "7", 7 }, { "2B", 2 }, { "3gB", 3000000000 }, { "x", 0 },
		     { "1.", 0 }, { "", 0 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json opts = json_object();
		json_setl(&a, &opts, "max-size", json_cstr(rows[i].text));
		if (container_log_max_bytes(&opts) != rows[i].bytes)
			fail_msg("\"%s\": wanted %llu, got %llu", rows[i].text, (unsigned long long)rows[i].bytes,
				(unsigned long long)container_log_max_bytes(&opts));
	}
}

/* What the machine does not keep is told, and not asked of it. */
static void warnings(void **state)
{
	auto_arena struct arena a = {};
	struct container_engine e = {};
	struct json config = json_object(), told = json_array();
	struct json h = tree(&a, "{'OomKillDisable':true,'NetworkMode':'host','PortBindings':{'80/tcp':[{}]}}");
	OK(container_settings_read(NULL, &e.settings, &err));
	OK(container_host_check(&e, &a, &h, &config, 0, &told, &err));
	same(&a, &told, sys_cgroup_pure_v2() ? "['Your kernel does not support OomKillDisable. OomKillDisable discarded.',"
					       "'Published ports are discarded when using host network mode']"
					     : "['OOM killer is disabled for the container, but no memory limit is set, this can result in the "
					       "system running out of resources.','Published ports are discarded when using host network mode']");
	arena_done(&e.settings.arena);
}

static void capabilities(void **state)
{
	auto_arena struct arena a = {};
	struct sys_caps own;
	uint64_t bits, all;
	OK(sys_caps_read(&own, &err));
	struct json h = tree(&a, "{'Privileged':true}");
	OK(container_caps(&h, &all, &err));
	h = tree(&a, "{}");
	OK(container_caps(&h, &bits, &err));
	assert_int_equal(bits, 0xa80425fb & all);
	h = tree(&a, "{'CapDrop':['all'],'CapAdd':['kill','CAP_CHOWN']}");
	OK(container_caps(&h, &bits, &err));
	assert_int_equal(bits, (1 << 5 | 1) & all);
	h = tree(&a, "{'CapAdd':['ALL'],'CapDrop':['KILL']}");
	OK(container_caps(&h, &bits, &err));
	assert_int_equal(bits, all & ~UINT64_C(32));
}

static void filters(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf plain = {}, admin = {}, custom = {};
	struct json_out o = { .buf = &plain };
	container_seccomp_default(&o, 0);
	struct json v, w;
	OK(json_parse(&a, buf_span(&plain), 0, NULL, &v, &err));
	assert_int_equal(json_getl(&v, "syscalls")->n, 12);
	assert_true(json_getl(&v, "syscalls")->items[0].n && json_getl(&json_getl(&v, "syscalls")->items[0], "names")->n > 350);
	o.buf = &admin;
	container_seccomp_default(&o, UINT64_C(1) << 21);
	OK(json_parse(&a, buf_span(&admin), 0, NULL, &w, &err));
	assert_int_equal(json_getl(&w, "syscalls")->n, 11); /* all clones at once instead of two rules */
	o.buf = &custom;
	OK(container_seccomp_custom(&o, SPAN("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"name\":\"a\",\"action\":\"x\"},"
		"{\"names\":[\"b\"],\"action\":\"x\",\"excludes\":{\"caps\":[\"CAP_KILL\"]}},"
		"{\"names\":[\"c\"],\"action\":\"x\",\"includes\":{\"minKernel\":\"999.0\"}}]}"), UINT64_C(1) << 5, &a, &err));
	OK(json_parse(&a, buf_span(&custom), 0, NULL, &w, &err));
	same(&a, json_getl(&w, "syscalls"), "[{'names':['a'],'action':'x'}]");
	buf_trunc(&custom, 0);
	FAILS(ERR_INVALID_REQUEST, "decoding seccomp profile failed", container_seccomp_custom(&o, SPAN("{"), 0, &a, &err));
}

static void users(void **state)
{
	auto_arena struct arena a = {};
	char dir[] = "/tmp/knarr-user-XXXXXX";
	struct container_ids ids;
	assert_non_null(mkdtemp(dir));
	auto_fd int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FAILS(ERR_INVALID_REQUEST, "unable to find user ann", container_user_find(root, SPAN("ann"), NULL, SPAN_EMPTY, &a, &ids, &err));
	OK(container_user_find(root, SPAN(""), NULL, SPAN_EMPTY, &a, &ids, &err));
	assert_true(ids.uid == 0 && ids.gid == 0 && !strcmp(ids.home, "/root"));
	assert_int_equal(mkdirat(root, "etc", 0755), 0);
	OK(io_write_file_lazy(root, "etc/passwd", SPAN("junk\nann:x:5:6::/home/ann:\nbob:x:-1:0:::\n"), 0644, &err));
	OK(io_write_file_lazy(root, "etc/group", SPAN("g:x:7:ann, bob\n::\nh:x:8:bob\n"), 0644, &err));
	OK(container_user_find(root, SPAN("ann"), NULL, SPAN_EMPTY, &a, &ids, &err));
	assert_true(ids.uid == 5 && ids.gid == 6 && ids.n_more == 1 && ids.more[0] == 7 && !strcmp(ids.home, "/home/ann"));
	OK(container_user_find(root, SPAN("5:h"), NULL, SPAN_EMPTY, &a, &ids, &err));
	assert_true(ids.uid == 5 && ids.gid == 8 && ids.n_more == 0);
	OK(container_user_find(root, SPAN("5:h"), NULL, SPAN("merge"), &a, &ids, &err));
	assert_true(ids.uid == 5 && ids.gid == 8 && ids.n_more == 1 && ids.more[0] == 7);
	OK(container_user_find(root, SPAN("ann"), NULL, SPAN("strict"), &a, &ids, &err));
	assert_true(ids.uid == 5 && ids.gid == 6 && ids.n_more == 0);
	FAILS(ERR_INVALID_REQUEST, "unable to find user bob", container_user_find(root, SPAN("bob"), NULL, SPAN_EMPTY, &a, &ids, &err));
	FAILS(ERR_INVALID_REQUEST, "must be in range", container_user_find(root, SPAN("-5"), NULL, SPAN_EMPTY, &a, &ids, &err));
	unlinkat(root, "etc/passwd", 0);
	unlinkat(root, "etc/group", 0);
	unlinkat(root, "etc", AT_REMOVEDIR);
	rmdir(dir);
}

static void apparmor(void **state)
{
	static const struct {
		const char *host;
		bool on;
		const char *want;
	} rows[] = {
		{ "{}", false, "" }, { "{}", true, "docker-default" }, { "{'Privileged':true}", true, "unconfined" },
		{ "{'Privileged':true}", false, "" }, { "{'SecurityOpt':['apparmor=unconfined']}", true, "unconfined" },
		{ "{'SecurityOpt':['seccomp=x','apparmor:mine']}", true, "mine" }, { "{'SecurityOpt':['apparmor=mine']}", false, "mine" },
		{ "{'Privileged':true,'SecurityOpt':['apparmor=mine']}", true, "mine" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct json host = tree(&a, rows[i].host);
		struct span got = container_apparmor_profile(&host, rows[i].on);
		if (!span_is(got, rows[i].want))
			fail_msg("%s on=%d: wanted %s, got %.*s", rows[i].host, rows[i].on, rows[i].want, SPAN_ARG(got));
	}
	auto_buf struct buf text = {};
	container_apparmor_text(&text, false, true);
	assert_true(span_starts(buf_span(&text), SPAN("@{PROC}=/proc/\nprofile docker-default flags=")));
	assert_true(span_has(buf_span(&text), SPAN("#include <abstractions/base>")) && span_has(buf_span(&text), SPAN("  deny mount,\n")));
}

/* What we write the runtime must be able to read, in every combination of options. */
static void specs(void **state)
{
	static const char *const hosts[] = {
		"{}",
		"{'Privileged':true}",
		"{'Memory':10000000,'NanoCpus':1500000000,'PidsLimit':5,'CpusetCpus':'0','BlkioWeight':100,'MemorySwappiness':10}",
		"{'NetworkMode':'host','PidMode':'host','IpcMode':'host','UTSMode':'host','CgroupnsMode':'host'}",
		"{'ReadonlyRootfs':true,'Init':true,'Tmpfs':{'/t':'size=1m,mode=700'},'Sysctls':{'kernel.msgmax':'1'}}",
		"{'SecurityOpt':['no-new-privileges','seccomp=unconfined','apparmor=unconfined','label=disable'],'CapAdd':['ALL']}",
		"{'Ulimits':[{'Name':'nofile','Soft':1,'Hard':2}],'OomScoreAdj':5,'Annotations':{'a':'b'},'DeviceCgroupRules':['b *:* r']}",
		"{'Devices':[{'PathOnHost':'/dev/null','PathInContainer':'/dev/n','CgroupPermissions':'r'}],'ConsoleSize':[24,80]}",
	};
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf text = {}, plan_text = {};
		struct container_engine e = { .runner = (char *)"/bin/true" };
		struct json host = tree(&a, hosts[i]), tmpfs = json_array(), args = json_array();
		struct json config = tree(&a, "{'Env':['A=b'],'Tty':true,'Hostname':'h','Domainname':'d'}");
		struct container_ids ids = { .uid = 1, .gid = 2, .home = "/" };
		struct mount_bind bind = { .source = SPAN("/tmp"), .target = SPAN("/mnt"), .propagation = SPAN("rshared"),
			.read_only = true };
		struct runtime_opts opts = { .root = "/run/x", .id = "c", .bundle = "/tmp" };
		struct runtime_plan *plan;
		OK(container_settings_read(NULL, &e.settings, &err));
		e.settings.systemd = false;
		container_host_defaults(&e, &a, &host);
		struct spec_params p = { .e = &e, .id = "c", .config = &config, .host = &host, .path = SPAN("/bin/x"), .args = &args,
			.root = "/tmp", .ids = &ids, .hostname = SPAN("h"), .hosts = SPAN("/etc/hosts"), .binds = &bind, .n_binds = 1,
			.tmpfs = &tmpfs };
		OK(container_spec_write(&p, &a, &text, &err));
		OK(runtime_plan_parse(&a, &opts, buf_span(&text), &plan, &err));
		runtime_plan_print(plan, &plan_text);
		assert_true(span_has(buf_span(&plan_text), SPAN("/mnt")));
		arena_done(&e.settings.arena);
	}
}

/* A client that reads slowly is there longer than the process that it hears. */
static void streams_outlive_their_owner(void **state)
{
	struct list *owner = mem_new(struct list);
	struct container_stream one = {}, two = {};
	list_init(owner);
	container_stream_init(&one, NULL, NULL, owner);
	container_stream_init(&two, NULL, owner, owner);
	one.started_ = two.started_ = true;
	container_streams_part(owner);
	assert_true(list_empty(owner) && list_empty(&one.link_) && list_empty(&two.link_) && !two.of_);
	free(owner);
	list_remove(&one.link_); /* as it does when it ends */
	list_remove(&two.link_);
}

static bool stream_is_closed;

static void on_stream_closed(struct container_stream *s)
{
	stream_is_closed = true;
}

static void on_refused(struct container_call *call, const struct err *why)
{
	*(enum err_class *)call->arena = why->class;
}

/* The refusal of an exec comes later in the turn; its client may have left by then, and its stream never began. */
static void a_stream_that_never_began_is_closed(void **state)
{
	struct container_engine e = {};
	struct container_stream s = {};
	enum err_class got = 0;
	struct container_call call = { .done = on_refused, .arena = (void *)&got };
	OK(loop_new(NULL, &e.o.loop, &err));
	container_exec_start(&e, SPAN("nope"), &s, 0, 0, &call);
	container_stream_close(&s, on_stream_closed);
	(void)loop_turn(e.o.loop, false);
	assert_int_equal(got, ERR_NOT_FOUND);
	assert_true(stream_is_closed);
	assert_int_equal(e.busy, 0);
	loop_free(e.o.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),    cmocka_unit_test(merging),	    cmocka_unit_test(commands), cmocka_unit_test(refusals),
		cmocka_unit_test(log_sizes), cmocka_unit_test(warnings),
		cmocka_unit_test(defaults), cmocka_unit_test(capabilities), cmocka_unit_test(filters),	cmocka_unit_test(users),
		cmocka_unit_test(apparmor), cmocka_unit_test(specs), cmocka_unit_test(streams_outlive_their_owner),
		cmocka_unit_test(a_stream_that_never_began_is_closed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
