/* config.json: what is read, what is refused and in which words, and the steps that follow. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/plan.h"

#define BASE                                                                                                                                         \
	"\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"rootfs\"},"                                                                                   \
	"\"process\":{\"args\":[\"/bin/true\"],\"cwd\":\"/\"}"

static int plan_of(struct arena *a, const char *text, struct runtime_plan **out, struct err *err)
{
	struct runtime_opts o = { .root = "/nowhere", .id = "test", .bundle = "/bundle", .start = true };
	return runtime_plan_parse(a, &o, arena_span(a, span_of(text)), out, err);
}

/* A member put over the minimal configuration: a repeated name overwrites. */
static void every_bad_field_is_named(void **state)
{
	static const struct {
		const char *member, *error;
	} rows[] = {
		{ "\"ociVersion\":\"2.0.0\"", "ociVersion: \"2.0.0\" is not a version that this runtime knows (1.x.y)" },
		{ "\"ociVersion\":1", "ociVersion: expected a string, found an integer" },
		{ "\"root\":{}", "root.path: is missing" },
		{ "\"root\":{\"path\":7}", "root.path: expected a string, found an integer" },
		{ "\"root\":{\"path\":\"x\",\"readonly\":\"no\"}", "root.readonly: expected a boolean, found a string" },
		{ "\"root\":{\"path\":\"a\\u0000b\"}", "root.path: must not hold a 0 byte" },
		{ "\"process\":null", "process: is missing, there is nothing to run" },
		{ "\"process\":{\"args\":[],\"cwd\":\"/\"}", "process.args: args must not be empty" },
		{ "\"process\":{\"args\":[\"\"],\"cwd\":\"/\"}", "process.args[0]: the program's name is empty" },
		{ "\"process\":{\"args\":[1],\"cwd\":\"/\"}", "process.args[0]: expected a string, found an integer" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"y\"}", "process.cwd: Cwd must be an absolute path, found \"y\"" },
		{ "\"process\":{\"args\":[\"x\"]}", "process.cwd: Cwd property must not be empty" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"/\",\"env\":[\"A\"]}", "process.env[0]: \"A\" is not NAME=value" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"/\",\"user\":{\"uid\":-1}}", "process.user.uid: -1 is not between 0 and 4294967294" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"/\",\"user\":{\"additionalGids\":[\"a\"]}}",
		  "process.user.additionalGids[0]: expected a group id" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"/\",\"user\":{\"umask\":512}}", "process.user.umask: 512 is not between 0 and 511" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"/"
		  "\",\"rlimits\":[{\"type\":\"NOFILE\",\"soft\":1,\"hard\":1}]}",
		  "process.rlimits[0].type: \"NOFILE\" is no resource limit" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"/"
		  "\",\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":2,\"hard\":1}]}",
		  "process.rlimits[0]: soft limit 2 is above hard limit 1" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"/"
		  "\",\"rlimits\":[{\"type\":\"RLIMIT_CPU\",\"soft\":1,\"hard\":1},{\"type\":\"RLIMIT_CPU\",\"soft\":1,"
		  "\"hard\":1}]}",
		  "process.rlimits[1].type: RLIMIT_CPU is given twice" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"/\",\"capabilities\":{\"bounding\":\"CAP_KILL\"}}",
		  "process.capabilities.bounding: expected a list, found a string" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"/\",\"oomScoreAdj\":1001}", "process.oomScoreAdj: 1001 is not between -1000 and 1000" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"/\",\"scheduler\":{\"policy\":\"FIFO\"}}",
		  "process.scheduler.policy: \"FIFO\" is no scheduling policy" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"/"
		  "\",\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"priority\":1}}",
		  "process.scheduler.priority: only for SCHED_FIFO and SCHED_RR" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"/\",\"ioPriority\":{\"class\":\"X\"}}",
		  "process.ioPriority.class: \"X\" is no I/O priority class" },
		{ "\"process\":{\"args\":[\"x\"],\"cwd\":\"/\",\"execCPUAffinity\":{\"initial\":\"3-1\"}}",
		  "process.execCPUAffinity.initial: \"3-1\" is no list of CPUs" },
		{ "\"hostname\":\"h\"", "hostname: unable to set hostname without a private UTS namespace" },
		{ "\"domainname\":\"h\"", "domainname: unable to set domainname without a private UTS namespace" },
		{ "\"mounts\":{}", "mounts: expected a list, found an object" },
		{ "\"mounts\":[1]", "mounts[0]: expected an object" },
		{ "\"mounts\":[{\"destination\":\"/a\"}]", "mounts[0].type: is missing, and no bind option is given" },
		{ "\"mounts\":[{\"type\":\"proc\"}]", "mounts[0].destination: is missing" },
		{ "\"mounts\":[{\"destination\":\"/a\",\"type\":\"bind\"}]", "mounts[0].source: a bind mount needs one" },
		{ "\"mounts\":[{\"destination\":\"/a\",\"type\":\"ext4\",\"source\":\"/dev/"
		  "x\",\"options\":[\"tmpcopyup\"]}]",
		  "mounts[0].options: tmpcopyup is for tmpfs only" },
		{ "\"mounts\":[{\"destination\":\"/a\",\"type\":\"bind\",\"source\":\"/"
		  "b\",\"uidMappings\":[{\"containerID\":0,\"hostID\":1,\"size\":1}]}]",
		  "mounts[0]: uidMappings and gidMappings must be given together" },
		{ "\"hooks\":{\"prestart\":[{\"path\":\"x\"}]}", "hooks.prestart[0].path: must be an absolute path" },
		{ "\"hooks\":{\"poststop\":[{\"path\":\"/x\",\"timeout\":0}]}", "hooks.poststop[0].timeout: must be greater than zero" },
		{ "\"annotations\":{\"a\":1}", "annotations.a: expected a string, found an integer" },
		{ "\"annotations\":{\"\":\"\"}", "annotations: a name is empty or holds a 0 byte" },
		{ "\"linux\":{\"namespaces\":[{\"type\":\"mnt\"}]}", "linux.namespaces[0].type: \"mnt\" is no namespace" },
		{ "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]}",
		  "linux.namespaces[1].type: malformed spec file: duplicated ns \"pid\"" },
		{ "\"linux\":{\"namespaces\":[{\"type\":\"pid\",\"path\":\"x\"}]}", "linux.namespaces[0].path: must be absolute" },
		{ "\"linux\":{\"namespaces\":[{\"type\":\"user\"}]}", "linux.uidMappings: user namespaces enabled, but no mapping found" },
		{ "\"linux\":{\"uidMappings\":[{\"containerID\":0,\"hostID\":1,\"size\":1}]}",
		  "linux.uidMappings, linux.gidMappings: user namespace mappings specified, but user namespace isn't "
		  "enabled in the config" },
		{ "\"linux\":{\"uidMappings\":[{\"containerID\":0,\"hostID\":1,\"size\":0}]}",
		  "linux.uidMappings[0].size: 0 is not between 1 and 4294967295" },
		{ "\"linux\":{\"timeOffsets\":{\"monotonic\":{\"secs\":1}}}",
		  "linux.timeOffsets: time namespace offsets specified, but time namespace isn't enabled in the "
		  "config" },
		{ "\"linux\":{\"timeOffsets\":{\"monotonic\":{\"nanosecs\":1000000000}}}",
		  "linux.timeOffsets.monotonic.nanosecs: 1000000000 is not between 0 and 999999999" },
		{ "\"linux\":{\"devices\":[{\"path\":\"x\",\"type\":\"c\"}]}", "linux.devices[0].path: must be an absolute path" },
		{ "\"linux\":{\"devices\":[{\"path\":\"/x\",\"type\":\"d\"}]}", "linux.devices[0].type: \"d\" is none of c, b, u, p" },
		{ "\"linux\":{\"devices\":[{\"path\":\"/x\",\"type\":\"c\"}]}", "linux.devices[0].major: is missing" },
		{ "\"linux\":{\"resources\":{\"devices\":[{\"allow\":true,\"access\":\"x\"}]}}",
		  "linux.resources.devices[0].access: \"x\" holds more than r, w, m" },
		{ "\"linux\":{\"resources\":{\"memory\":{\"limit\":\"1g\"}}}", "linux.resources.memory.limit: expected an integer, found a string" },
		{ "\"linux\":{\"resources\":{\"cpu\":{\"cpus\":\"all\"}}}", "linux.resources.cpu.cpus: \"all\" is no list of numbers and ranges" },
		{ "\"linux\":{\"resources\":{\"hugepageLimits\":[{\"pageSize\":\"../x\",\"limit\":1}]}}",
		  "linux.resources.hugepageLimits[0].pageSize: must name a size such as 2MB" },
		{ "\"linux\":{\"resources\":{\"unified\":{\"memory.max\":1}}}",
		  "linux.resources.unified.memory.max: expected a string, found an integer" },
		{ "\"linux\":{\"sysctl\":{\"kernel.core_pattern\":\"|/x\"}}",
		  "linux.sysctl: sysctl \"kernel.core_pattern\" is not in a separate kernel namespace" },
		{ "\"linux\":{\"namespaces\":[{\"type\":\"network\"}],\"sysctl\":{\"net/../kernel/"
		  "core_pattern\":\"x\"}}",
		  "linux.sysctl: \"net/../kernel/core_pattern\" is no name of a kernel parameter" },
		{ "\"linux\":{\"maskedPaths\":[\"proc\"]}", "linux.maskedPaths[0]: must be an absolute path" },
		{ "\"linux\":{\"maskedPaths\":[\"/proc\"]}",
		  "linux.maskedPaths, linux.readonlyPaths: unable to restrict paths without a private MNT namespace" },
		{ "\"linux\":{\"rootfsPropagation\":\"ro\"}", "linux.rootfsPropagation: rootfsPropagation=ro is not supported" },
		{ "\"linux\":{\"personality\":{\"domain\":\"BSD\"}}", "linux.personality.domain: \"BSD\" is neither LINUX nor LINUX32" },
		{ "\"linux\":{\"intelRdt\":{}}", "linux.intelRdt: Intel RDT is not supported" },
		{ "\"linux\":[]", "linux: expected an object, found a list" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct runtime_plan *plan;
		char text[2048], want[512];
		snprintf(text, sizeof(text), "{%s,%s}", BASE, rows[i].member);
		snprintf(want, sizeof(want), "config.json: %s", rows[i].error);
		assert_true(plan_of(&a, text, &plan, &err) < 0);
		assert_string_equal(err_msg(&err), want);
	}
}

static void old_versions_are_told_apart(void **state)
{
	static const struct {
		const char *version;
		bool old;
	} rows[] = {
		{ "1.0.0", true },	{ "1.0.1", true },	{ "1.0.0-rc5", true },	{ "1.0.1-dev", true },
		{ "1.0.0+x", true },	{ "1.0.2", false },	{ "1.0.2-dev", false }, { "1.0.10", false },
		{ "1.0.12-dev", false }, { "1.0", false },	{ "1.1.0", false },	{ "1.2.0", false },
		{ "1.10.0", false },	{ "1.0.01", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (runtime_config_version_old(rows[i].version) != rows[i].old)
			fail_msg("%s: expected %d", rows[i].version, rows[i].old);
}

/* Prestart hooks belong to `start` in an old bundle: `run` is held for them, and no step of the first process waits. */
static void prestart_hooks_follow_the_version(void **state)
{
	for (int i = 0; i < 4; i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		struct runtime_plan *plan = NULL;
		char text[512];
		bool old = i & 1, hooks = i & 2;
		snprintf(text, sizeof(text), "{%s,\"ociVersion\":\"%s\",\"hooks\":{\"%s\":[{\"path\":\"/x\"}]}}", BASE,
			 old ? "1.0.1" : "1.0.2", hooks ? "prestart" : "poststart");
		assert_int_equal(plan_of(&a, text, &plan, &err), 0);
		runtime_plan_print(plan, &out);
		assert_int_equal(plan->held, old && hooks);
		assert_int_equal(span_has(buf_span(&out), SPAN("run createRuntime hooks")), !old && hooks);
	}
}

static void syntax_is_checked(void **state)
{
	static const char *const texts[] = { "", "{", "[]", "{\"a\":}", "nonsense", "{\"ociVersion\":\"1.0.0\"} x" };
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct runtime_plan *plan;
		assert_true(plan_of(&a, texts[i], &plan, &err) < 0);
		assert_true(span_starts(span_of(err_msg(&err)), SPAN("config.json: ")));
	}
}

static void steps_follow_the_configuration(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf out = {};
	struct runtime_plan *plan = NULL;
	int r = plan_of(&a,
			"{" BASE ",\"hostname\":\"h\",\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\"},"
			"{\"destination\":\"/data\",\"source\":\"data\",\"options\":[\"rbind\",\"ro\"]}],"
			"\"hooks\":{\"createRuntime\":[{\"path\":\"/x\"}]},"
			"\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"uts\"},{\"type\":\"ipc\",\"path\":"
			"\"/i\"},{\"type\":\"network\"}],"
			"\"maskedPaths\":[\"/proc/kcore\"],\"readonlyPaths\":[\"/proc/"
			"sys\"],\"sysctl\":{\"net.core.somaxconn\":\"5\"}}}",
			&plan, &err);
	if (r < 0)
		fail_msg("%s", err_msg(&err));
	runtime_plan_print(plan, &out);
	assert_string_equal(
		buf_cstr(&out),
		"start a session\njoin ipc namespace\nmake a network namespace\nset up the loopback interface\n"
		"make a session keyring\n"
		"set the host name\nwrite sysctl net.core.somaxconn\ndetach mount propagation\nopen the sources of bind mounts\n"
		"attach the root file system\nmount proc to /proc in container\nmount /bundle/data to /data in container\n"
		"enter the cgroup\nmake devices\nrun createRuntime hooks\nmake the working directory\nmake /proc/sys read-only\n"
		"mask /proc/kcore\nchange the root\nlet go of the host's root\n");
	assert_int_equal(plan->config->mounts[1].kind, MOUNT_BIND);
	assert_int_equal(plan->config->mounts[1].opts.set, MS_BIND | MS_REC | MS_RDONLY);
	assert_int_equal(plan->config->n_devices, 6);
	assert_int_equal(plan->n_rules, 10);
}

static void process_values_are_read(void **state)
{
	auto_arena struct arena a = {};
	struct config_process *p;
	auto_err struct err err = ERR_INIT;
	int r = runtime_config_process_parse(&a,
					     SPAN("{\"args\":[\"a\",\"b\"],\"env\":[\"A=1\"],\"cwd\":\"/x\",\"terminal\":true,"
						  "\"user\":{\"uid\":7,\"gid\":8,\"umask\":63,\"additionalGids\":[1,2]},"
						  "\"capabilities\":{\"bounding\":[\"CAP_KILL\",\"CAP_FUTURE\"],\"ambient\":[\"CAP_CHOWN\"]},"
						  "\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":1,\"hard\":18446744073709551615}],"
						  "\"noNewPrivileges\":true,\"oomScoreAdj\":-5}"),
					     &p, &err);
	if (r < 0)
		fail_msg("%s", err_msg(&err));
	assert_int_equal(p->uid, 7);
	assert_int_equal(p->n_gids, 2);
	assert_int_equal(p->umask, 63);
	assert_int_equal(p->caps.bounding, 1 << 5); /* unknown names grant nothing */
	assert_int_equal(p->caps.ambient, 1);
	assert_true(p->rlimits[0].value.rlim_max == UINT64_MAX);
	assert_true(p->terminal && p->no_new_privs && p->has_oom_score);
	assert_int_equal(p->oom_score, -5);
	assert_string_equal(p->args[1], "b");
	assert_null(p->args[2]);
}

static void ids_are_names(void **state)
{
	static const char *const good[] = { "a", "A-b_c.d+1", "0" }, *const bad[] = { "", ".", "..", "a/b", "a b", "a\n", "ä" };
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(runtime_state_id_ok(span_of(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(runtime_state_id_ok(span_of(bad[i])));
}

static const char profile[] = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":1,\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_"
			      "ARCH_X86\"],"
			      "\"syscalls\":[{\"names\":[\"read\",\"write\",\"exit_group\",\"unknown_call\"],\"action\":\"SCMP_ACT_ALLOW\"},"
			      "{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":2114060288,\"valueTwo\":"
			      "0,\"op\":\"SCMP_CMP_MASKED_EQ\"}]}]}";

static void filters_are_kept(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	char dir[] = "/tmp/knarr-seccomp-XXXXXX";
	assert_non_null(mkdtemp(dir));
	struct json v;
	assert_int_equal(json_parse(&a, span_of(profile), 0, NULL, &v, &err), 0);
	struct filter one = {}, two = {};
	if (runtime_seccomp_compile(&a, &v, dir, &one, &err) < 0)
		fail_msg("%s", err_msg(&err));
	assert_true(one.program.len > 0 && one.program.len % 8 == 0);
	assert_false(one.notify);
	/* from the file, and the same */
	assert_int_equal(runtime_seccomp_compile(&a, &v, dir, &two, &err), 0);
	assert_true(span_eq(one.program, two.program));
	int d = open(dir, O_RDONLY | O_DIRECTORY), files = 0;
	DIR *list = fdopendir(d);
	struct dirent *e;
	while ((e = readdir(list))) {
		if (e->d_name[0] == '.')
			continue;
		files++;
		static const char poison[8];
		int fd = openat(d, e->d_name, O_WRONLY);
		assert_int_equal(pwrite(fd, poison, 8, lseek(fd, 0, SEEK_END) - 8), 8);
		close(fd);
	}
	/* it was the file that answered, and it is believed: the folder is ours alone */
	assert_int_equal(runtime_seccomp_compile(&a, &v, dir, &two, &err), 0);
	assert_false(span_eq(one.program, two.program));
	/* a folder that others may write to is not believed: the poisoned file has no effect */
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(runtime_seccomp_compile(&a, &v, dir, &two, &err), 0);
	assert_true(span_eq(one.program, two.program));
	rewinddir(list);
	while ((e = readdir(list)))
		if (e->d_name[0] != '.')
			assert_int_equal(unlinkat(d, e->d_name, 0), 0);
	closedir(list);
	assert_int_equal(files, 1);
	assert_int_equal(rmdir(dir), 0);
}

static void bad_profiles_are_named(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "{\"defaultAction\":\"NO\"}", "linux.seccomp.defaultAction: \"NO\" is no seccomp action" },
		{ "{\"defaultAction\":\"SCMP_ACT_NOTIFY\",\"listenerPath\":\"/x\"}",
		  "linux.seccomp.listenerPath: is given, but no rule has action SCMP_ACT_NOTIFY" },
		{ "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"X\"]}", "linux.seccomp.flags[0]: \"X\" is no seccomp flag" },
		{ "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"VAX\"],\"syscalls\":[]}",
		  "linux.seccomp.architectures[0]: \"VAX\" is no architecture" },
		{ "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_"
		  "KILL\",\"errnoRet\":3}]}",
		  "linux.seccomp.syscalls[0].errnoRet: errnoRet with an action other than SCMP_ACT_ERRNO or "
		  "SCMP_ACT_TRACE" },
		{ "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"write\"],\"action\":\"SCMP_ACT_"
		  "NOTIFY\"}],\"listenerPath\":\"/x\"}",
		  "linux.seccomp.syscalls[0].names: SCMP_ACT_NOTIFY cannot be used for the write syscall" },
		{ "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_"
		  "KILL\",\"args\":[{\"index\":6,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]}]}",
		  "linux.seccomp.syscalls[0].args[0].index: 6 is not between 0 and 5" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct json v;
		struct filter filter = {};
		assert_int_equal(json_parse(&a, span_of(rows[i].text), 0, NULL, &v, &err), 0);
		assert_true(runtime_seccomp_compile(&a, &v, NULL, &filter, &err) < 0);
		assert_string_equal(err_msg(&err), rows[i].error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bad_field_is_named), cmocka_unit_test(syntax_is_checked),
		cmocka_unit_test(old_versions_are_told_apart),
		cmocka_unit_test(prestart_hooks_follow_the_version), cmocka_unit_test(steps_follow_the_configuration),
		cmocka_unit_test(process_values_are_read),  cmocka_unit_test(ids_are_names),	 cmocka_unit_test(filters_are_kept),
		cmocka_unit_test(bad_profiles_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
