/* Tables, name resolution against the kernel's, limits as writes, device programs by executing them. */
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/addr.h"
#include "sys/link.h"
#include "sys/netlink.h"
#include "sys/program.h"
#include "sys/sys.h"

/* ---- options */

static void options_are_sorted_and_found(void **state)
{
	for (unsigned i = 0; sys_mount_option_name(i); i++) {
		const char *name = sys_mount_option_name(i), *next = sys_mount_option_name(i + 1);
		struct sys_mount_opts o = {};
		assert_true(!next || strcmp(name, next) < 0);
		assert_true(sys_mount_option(&o, span_of(name)));
	}
	struct sys_mount_opts o = {};
	assert_false(sys_mount_option(&o, SPAN("size=64k")));
	assert_false(sys_mount_option(&o, SPAN("")));
}

static void addresses_with_ports(void **state)
{
	static const struct {
		const char *text, *address; /* address NULL: refused */
		unsigned port;
	} rows[] = {
		{ "10.0.0.1:80", "10.0.0.1", 80 },	{ "10.0.0.1", "10.0.0.1", 7 },	    { "[::1]:65535", "::1", 65535 },
		{ "fe80::1:80", "fe80::1:80", 7 },	{ "0.0.0.0:0", "0.0.0.0", 0 },	    { "::", "::", 7 },
		{ "", NULL, 0 },			{ ":80", NULL, 0 },		    { "10.0.0.1:", NULL, 0 },
		{ "10.0.0.1:65536", NULL, 0 },		{ "10.0.0.1:x", NULL, 0 },	    { "[::1]", NULL, 0 },
		{ "[::12:80", NULL, 0 },		{ "::1]:80", NULL, 0 },		    { "[10.0.0.1]:80", NULL, 0 },
		{ "[]:80", NULL, 0 },			{ "1::2::3:80", NULL, 0 },	    { "localhost:80", NULL, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sys_addr a = { 0 };
		uint16_t port = 7;
		char text[SYS_ADDR_TEXT];
		bool fits = sys_addr_port_parse(span_of(rows[i].text), &a, &port);
		if (fits != (rows[i].address != NULL) || port != (fits ? rows[i].port : 7) ||
		    (fits && strcmp(sys_addr_text(&a, text), rows[i].address) != 0))
			fail_msg("\"%s\": %d %s %u", rows[i].text, fits, sys_addr_text(&a, text), port);
	}
}

static void options_have_meaning(void **state)
{
	struct sys_mount_opts o = {};
	static const char *const list[] = { "rbind", "ro", "nosuid", "rw", "noexec", "rslave", "rro", "tmpcopyup" };
	for (size_t i = 0; i < ARRAY_LEN(list); i++)
		assert_true(sys_mount_option(&o, span_of(list[i])));
	assert_int_equal(o.set, MS_BIND | MS_REC | MS_NOSUID | MS_NOEXEC);
	assert_int_equal(o.clear, MS_RDONLY); /* rw came last */
	assert_int_equal(o.propagation, MS_SLAVE | MS_REC);
	assert_int_equal(o.rec_set, MOUNT_ATTR_RDONLY);
	assert_true(o.copy_up);
	/* every recursive option has a plain one of the opposite or same sense */
	struct sys_mount_opts r = {};
	assert_true(sys_mount_option(&r, SPAN("rnoatime")));
	assert_true(sys_mount_option(&r, SPAN("rrelatime")));
	assert_int_equal(r.rec_set, 0);
	assert_int_equal(r.rec_clear, MOUNT_ATTR__ATIME);
	uint64_t clear;
	assert_int_equal(sys_mount_attr_of(MS_RDONLY | MS_NOATIME, &clear), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME);
	assert_int_equal(clear, MOUNT_ATTR__ATIME);
	assert_int_equal(sys_mount_propagation(SPAN("shared")), MS_SHARED);
	assert_int_equal(sys_mount_propagation(SPAN("ro")), 0);
}

/* ---- names */

/* The kernel's count, whatever the C library keeps for itself. */
static void signals_are_64(void **state)
{
	sigset_t all;
	sys_signals_all(&all);
	for (int i = 1; i <= 64; i++)
		assert_int_equal(sigismember(&all, i), 1);
	pid_t pid = fork();
	if (pid == 0) {
		unsigned long ignored[4] = { 1 /* SIG_IGN */ };
		for (int i = 1; i <= 64; i++)
			(void)syscall(SYS_rt_sigaction, i, ignored, NULL, sizeof(uint64_t));
		sys_signals_default();
		int left = 0;
		for (int i = 1; i <= 64; i++) {
			unsigned long is[4] = { 0 };
			left += syscall(SYS_rt_sigaction, i, NULL, is, sizeof(uint64_t)) < 0 || is[0] != 0;
		}
		_exit(left);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void names_round_trip(void **state)
{
	for (int i = 0; sys_caps_name(i); i++)
		assert_int_equal(sys_caps_by_name(span_of(sys_caps_name(i))), i);
	assert_int_equal(sys_caps_by_name(SPAN("kill")), 5);
	assert_int_equal(sys_caps_by_name(SPAN("CAP_NONE")), -1);
	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (sys_rlimit_name(i))
			assert_int_equal(sys_rlimit_by_name(span_of(sys_rlimit_name(i))), i);
	assert_int_equal(sys_rlimit_by_name(SPAN("NOFILE")), -1);
	assert_int_equal(sys_signal_by_name(SPAN("SIGTERM")), SIGTERM);
	assert_int_equal(sys_signal_by_name(SPAN("kill")), SIGKILL);
	assert_int_equal(sys_signal_by_name(SPAN("9")), 9);
	assert_int_equal(sys_signal_by_name(SPAN("RTMIN+3")), 37);
	assert_int_equal(sys_signal_by_name(SPAN("SIGRTMAX-1")), 63);
	assert_int_equal(sys_signal_by_name(SPAN("RTMIN+31")), -1);
	assert_int_equal(sys_signal_by_name(SPAN("65")), -1);
	assert_int_equal(sys_signal_by_name(SPAN("SIGNONE")), -1);
	for (int i = 0; i < SYS_NS_COUNT; i++)
		assert_int_equal(sys_ns_by_name(span_of(sys_ns_rows[i].name)), i);
	assert_int_equal(sys_ns_by_name(SPAN("mnt")), -1);
}

static void id_maps_map(void **state)
{
	const struct sys_id_map maps[] = { { 0, 1000, 1 }, { 1, 100000, 65535 } };
	uint32_t out;
	assert_true(sys_ns_map_id(maps, 2, 0, &out));
	assert_int_equal(out, 1000);
	assert_true(sys_ns_map_id(maps, 2, 65535, &out));
	assert_int_equal(out, 165534);
	assert_false(sys_ns_map_id(maps, 2, 65536, &out));
	assert_false(sys_ns_map_id(maps, 0, 0, &out));
}

/* ---- resolution: the walk and the kernel must agree */

static char *tree_make(void)
{
	static char dir[] = "/tmp/knarr-path-XXXXXX";
	memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
	assert_non_null(mkdtemp(dir));
	int d = open(dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(mkdirat(d, "a", 0755), 0);
	assert_int_equal(mkdirat(d, "a/b", 0755), 0);
	fd_close(&(int){ openat(d, "a/b/file", O_CREAT | O_WRONLY, 0644) });
	fd_close(&(int){ openat(d, "top", O_CREAT | O_WRONLY, 0644) });
	assert_int_equal(symlinkat("/a/b", d, "abs"), 0);
	assert_int_equal(symlinkat("../../../../../../etc", d, "out"), 0);
	assert_int_equal(symlinkat("/etc/passwd", d, "passwd"), 0);
	assert_int_equal(symlinkat("loop2", d, "loop1"), 0);
	assert_int_equal(symlinkat("loop1", d, "loop2"), 0);
	assert_int_equal(symlinkat("a/b/file", d, "rel"), 0);
	assert_int_equal(symlinkat("../top", d, "a/up"), 0);
	assert_int_equal(symlinkat("missing", d, "dangling"), 0);
	close(d);
	return dir;
}

static void tree_remove(const char *dir)
{
	static const char *const names[] = { "a/b/file", "a/up", "a/b",	     "a",	"top",	 "abs", "out",	      "passwd", "loop1",
					     "loop2",	 "rel",	 "dangling", "new/x/y", "new/x", "new", "etc/passwd", "etc" };
	int d = open(dir, O_RDONLY | O_DIRECTORY);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (unlinkat(d, names[i], 0) < 0)
			(void)unlinkat(d, names[i], AT_REMOVEDIR);
	close(d);
	assert_int_equal(rmdir(dir), 0);
}

static void walk_agrees_with_openat2(void **state)
{
	static const char *const paths[] = { "/",
					     "",
					     ".",
					     "..",
					     "../..",
					     "a",
					     "/a/b/file",
					     "a//b///file",
					     "a/b/../../top",
					     "a/b/file/",
					     "a/b/",
					     "abs/file",
					     "abs/../b/file",
					     "out",
					     "out/passwd",
					     "passwd",
					     "loop1",
					     "loop1/x",
					     "rel",
					     "a/up",
					     "a/up/x",
					     "dangling",
					     "nope",
					     "a/nope/x",
					     "../a/../../top",
					     "top/..",
					     "a/./b/.",
					     "abs/",
					     "rel/" };
	static const int flags[] = { O_PATH, O_PATH | O_NOFOLLOW, O_RDONLY, O_PATH | O_DIRECTORY };
	char *dir = tree_make();
	int root = open(dir, O_PATH | O_DIRECTORY), bad = 0;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		for (size_t k = 0; k < ARRAY_LEN(flags); k++) {
			if (!paths[i][0])
				continue;
			struct stat one = {}, two = {};
			int kernel = sys_path_open(root, paths[i], flags[k], 0), e1 = kernel < 0 ? errno : 0;
			int walk = sys_path_walk(root, paths[i], flags[k], 0), e2 = walk < 0 ? errno : 0;
			if (kernel >= 0)
				fstat(kernel, &one);
			if (walk >= 0)
				fstat(walk, &two);
			if (e1 != e2 || one.st_ino != two.st_ino || one.st_dev != two.st_dev) {
				printf("%s flags %x: kernel %d errno %d, walk %d errno %d\n", paths[i], flags[k], kernel, e1, walk, e2);
				bad++;
			}
			fd_close(&kernel);
			fd_close(&walk);
		}
	}
	close(root);
	tree_remove(dir);
	assert_int_equal(bad, 0);
}

static void walk_stays_inside(void **state)
{
	char *dir = tree_make();
	int root = open(dir, O_PATH | O_DIRECTORY);
	struct stat host, here;
	assert_int_equal(stat("/etc/passwd", &host), 0);
	int (*const open_fn[])(int, const char *, int, mode_t) = { sys_path_open, sys_path_walk };
	for (int i = 0; i < 2; i++) {
		assert_int_equal(open_fn[i](root, "out/passwd", O_PATH, 0), -1);
		assert_int_equal(open_fn[i](root, "passwd", O_PATH, 0), -1);
		int up = open_fn[i](root, "../../..", O_PATH, 0);
		assert_true(up >= 0 && fstat(up, &here) == 0);
		assert_int_equal(here.st_ino, ({
					 struct stat st;
					 fstat(root, &st);
					 st.st_ino;
				 }));
		close(up);
		/* a magic link is never followed */
		int proc = open("/proc", O_PATH | O_DIRECTORY);
		assert_int_equal(open_fn[i](proc, "self/fd/0", O_PATH, 0), -1);
		assert_int_equal(errno, ELOOP);
		close(proc);
	}
	close(root);
	tree_remove(dir);
}

static void targets_are_made_inside(void **state)
{
	char *dir = tree_make();
	int root = open(dir, O_PATH | O_DIRECTORY);
	struct stat st;
	int fd = sys_path_target(root, "/new/x/y", false, false);
	assert_true(fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
	close(fd);
	fd = sys_path_target(root, "new/x", true, false);
	assert_true(fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode));
	close(fd);
	assert_int_equal(sys_path_target(root, "new/z/../../w", true, false), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(sys_path_target(root, "abs", true, true), -1); /* a link that must not be one */
	assert_int_equal(errno, ELOOP);
	/* through a link that points outside, what is made is made inside */
	fd = sys_path_target(root, "out", true, false);
	assert_true(fd < 0 || (fstat(fd, &st) == 0));
	fd_close(&fd);
	const char *name;
	assert_int_equal(sys_path_parent(root, "/", &name), -1);
	assert_int_equal(sys_path_parent(root, "a/..", &name), -1);
	close(root);
	tree_remove(dir);
}

/* ---- limits */

static void expect_writes(const struct sys_cgroup_limits *l, uint32_t on_v2, const char *expected)
{
	auto_arena struct arena a = {};
	auto_buf struct buf got = {};
	struct sys_cgroup_write *list = NULL;
	size_t n = 0;
	auto_err struct err err = ERR_INIT;
	if (sys_cgroup_limits_plan(&a, l, on_v2, &list, &n, &err) < 0)
		buf_printf(&got, "error: %s", err_msg(&err));
	for (size_t i = 0; i < n; i++)
		buf_printf(&got, "%s%s=%s", i ? "; " : "", list[i].file, list[i].value);
	assert_string_equal(buf_cstr(&got), expected);
}

#define NUM(x)                                                                                                                                       \
	{                                                                                                                                            \
		true, (x)                                                                                                                            \
	}
static void limits_become_writes(void **state)
{
	const uint32_t v2 = ~0u;
	struct sys_cgroup_limits memory = { .memory = NUM(1 << 20), .swap = NUM(3 << 20), .reservation = NUM(4096) };
	expect_writes(&memory, 0, "memory.limit_in_bytes=1048576; memory.memsw.limit_in_bytes=3145728; memory.soft_limit_in_bytes=4096");
	expect_writes(&memory, v2, "memory.max=1048576; memory.swap.max=2097152; memory.low=4096");
	struct sys_cgroup_limits none = { .memory = NUM(-1), .swap = NUM(-1), .pids = NUM(0) };
	expect_writes(&none, 0, "memory.limit_in_bytes=-1; memory.memsw.limit_in_bytes=-1; pids.max=max");
	expect_writes(&none, v2, "memory.max=max; memory.swap.max=max; pids.max=max");
	struct sys_cgroup_limits cpu = { .shares = NUM(1024), .quota = NUM(50000), .period = NUM(100000), .cpus = "0-1", .idle = NUM(0) };
	expect_writes(&cpu, 0, "cpu.shares=1024; cpu.cfs_period_us=100000; cpu.cfs_quota_us=50000; cpu.idle=0; cpuset.cpus=0-1");
	expect_writes(&cpu, v2, "cpu.idle=0; cpu.weight=39; cpu.max=50000 100000; cpuset.cpus=0-1");
	struct sys_cgroup_limits low = { .shares = NUM(1), .quota = NUM(-1) };
	expect_writes(&low, v2, "cpu.weight=1; cpu.max=max 100000");
	struct sys_cgroup_limits bad = { .memory = NUM(100), .swap = NUM(50) };
	expect_writes(&bad, 0, "error: memory.swap: memory+swap limit 50 is below the memory limit 100");
	expect_writes(&bad, v2, "error: memory.swap: memory+swap limit 50 is below the memory limit 100");
	struct sys_cgroup_limits rt = { .rt_runtime = NUM(1) };
	expect_writes(&rt, v2, "error: cpu.realtimeRuntime, cpu.realtimePeriod: cgroup v2 has no such limit");
	struct sys_cgroup_dev_rate rate = { 8, 0, 1000 };
	struct sys_cgroup_limits io = { .blkio_weight = NUM(500), .rates = { &rate }, .n_rates = { 1 } };
	expect_writes(&io, 0, "blkio.weight=500; blkio.throttle.read_bps_device=8:0 1000");
	expect_writes(&io, v2, "io.bfq.weight=500; io.max=8:0 rbps=1000");
	struct sys_cgroup_key page = { .key = "2MB", .a = NUM(4096) };
	struct sys_cgroup_limits huge = { .hugetlb = &page, .n_hugetlb = 1 };
	expect_writes(&huge, 0, "hugetlb.2MB.limit_in_bytes=4096; hugetlb.2MB.rsvd.limit_in_bytes=4096");
	expect_writes(&huge, 1u << SYS_CG_HUGETLB, "hugetlb.2MB.max=4096; hugetlb.2MB.rsvd.max=4096");
	struct sys_cgroup_key hca[] = { { .key = "mlx5_0", .a = NUM(3), .b = NUM(10000) }, { .key = "ocrdma1", .b = NUM(0) } };
	struct sys_cgroup_limits rdma = { .rdma = hca, .n_rdma = 2 };
	expect_writes(&rdma, 0, "rdma.max=mlx5_0 hca_handle=3 hca_object=10000; rdma.max=ocrdma1 hca_object=0");
	expect_writes(&rdma, v2, "rdma.max=mlx5_0 hca_handle=3 hca_object=10000; rdma.max=ocrdma1 hca_object=0");
	struct sys_cgroup_key eth = { .key = "eth0", .a = NUM(500) };
	struct sys_cgroup_limits net = { .net_class = NUM(1048577), .net_prio = &eth, .n_net_prio = 1 };
	expect_writes(&net, 0, "net_cls.classid=1048577; net_prio.ifpriomap=eth0 500");
	struct sys_cgroup_key keys[] = { { .key = "memory.high", .text = "1G" }, { .key = "io.max", .text = "8:0 rbps=1\n8:16 wbps=2" } };
	struct sys_cgroup_limits unified = { .unified = keys, .n_unified = 2 };
	expect_writes(&unified, v2, "memory.high=1G; io.max=8:0 rbps=1; io.max=8:16 wbps=2");
	keys[0].key = "../escape.me";
	expect_writes(&unified, v2, "error: unified: \"../escape.me\" is no cgroup v2 file name (controller.key)");
	keys[0].key = "nothing.max";
	expect_writes(&unified, v2, "error: unified: \"nothing.max\": no such controller");
	struct sys_cgroup_limits swappy = { .swappiness = NUM(101) };
	expect_writes(&swappy, 0, "error: memory.swappiness: 101 is not between 0 and 100");
	assert_int_equal(sys_cgroup_limits_need(&cpu), 1u << SYS_CG_CPU | 1u << SYS_CG_CPUSET);
}

/* ---- the device program, executed */

static uint64_t bpf_run(const struct bpf_insn *code, size_t n, const uint32_t ctx[3])
{
	uint64_t r[11] = {};
	for (size_t pc = 0, steps = 0; pc < n && steps < 100000; pc++, steps++) {
		const struct bpf_insn *i = &code[pc];
		uint64_t src = BPF_SRC(i->code) == BPF_X ? r[i->src_reg] : (uint64_t)(int64_t)i->imm;
		switch (BPF_CLASS(i->code)) {
		case BPF_LDX: r[i->dst_reg] = ctx[i->off / 4]; break;
		case BPF_ALU:
			switch (BPF_OP(i->code)) {
			case BPF_MOV: r[i->dst_reg] = (uint32_t)src; break;
			case BPF_AND: r[i->dst_reg] = (uint32_t)(r[i->dst_reg] & src); break;
			case BPF_RSH: r[i->dst_reg] = (uint32_t)r[i->dst_reg] >> src; break;
			default: fail_msg("alu %x", i->code);
			}
			break;
		case BPF_ALU64: r[i->dst_reg] = src; break;
		case BPF_JMP:
			if (BPF_OP(i->code) == BPF_EXIT)
				return r[0];
			if (BPF_OP(i->code) == BPF_JNE ? r[i->dst_reg] != src : r[i->dst_reg] == src)
				pc += (size_t)i->off;
			break;
		default: fail_msg("class %x", i->code);
		}
	}
	fail_msg("ran off the end");
	return 0;
}

/* What the rules mean, said directly: the last rule that decides wins. */
static bool rules_allow(const struct sys_cgroup_device *d, size_t n, char type, int64_t major, int64_t minor, unsigned access)
{
	for (size_t i = n; i-- > 0;) {
		unsigned has = (d[i].mknod ? 1u : 0) | (d[i].read ? 2u : 0) | (d[i].write ? 4u : 0);
		if ((d[i].type != 'a' && d[i].type != type) || (d[i].major >= 0 && d[i].major != major) || (d[i].minor >= 0 && d[i].minor != minor))
			continue;
		if (d[i].allow ? (access & ~has) == 0 : (access & has) != 0)
			return d[i].allow;
	}
	return false;
}

static void device_programs_decide(void **state)
{
	struct rng rng;
	rng_init(&rng, 4);
	for (int round = 0; round < 2000; round++) {
		struct sys_cgroup_device d[6];
		size_t n = rng_below(&rng, 7);
		for (size_t i = 0; i < n; i++) {
			unsigned bits = (unsigned)rng_below(&rng, 7) + 1;
			d[i] = (struct sys_cgroup_device){ .allow = rng_below(&rng, 2),
							   .type = "abc"[rng_below(&rng, 3)],
							   .major = (int64_t)rng_below(&rng, 4) - 1,
							   .minor = (int64_t)rng_below(&rng, 4) - 1,
							   .mknod = bits & 1,
							   .read = bits & 2,
							   .write = bits & 4 };
		}
		auto_buf struct buf code = {};
		assert_int_equal(sys_cgroup_devices_compile(d, n, &code, NULL), 0);
		for (uint32_t t = 1; t <= 2; t++)
			for (uint32_t access = 1; access < 8; access++)
				for (uint32_t major = 0; major < 3; major++)
					for (uint32_t minor = 0; minor < 3; minor++) {
						uint32_t ctx[3] = { access << 16 | t, major, minor };
						bool want = rules_allow(d, n, t == BPF_DEVCG_DEV_BLOCK ? 'b' : 'c', major, minor, access);
						bool got = bpf_run((void *)code.ptr, code.len / 8, ctx) != 0;
						if (got != want)
							fail_msg("round %d: type %u access %u %u:%u: program %d, rules %d", round, t, access, major,
								 minor, got, want);
					}
	}
}

/* ---- where groups are */

static void systemd_paths(void **state)
{
	static const struct {
		const char *path, *inside;
	} rows[] = {
		{ "user-1000-x.slice:knarr:abc", "/user.slice/user-1000.slice/user-1000-x.slice/knarr-abc.scope" },
		{ ":knarr:abc", "/system.slice/knarr-abc.scope" },
		{ "-.slice:p:n", "/p-n.scope" },
		{ "a.slice::n", "/a.slice/n.scope" },
		{ "a.slice:p:b.slice", "/a.slice/b.slice" },
		{ "a.slice:p", NULL },
		{ "a--b.slice:p:n", NULL },
		{ "nope:p:n", NULL },
		{ "../x.slice:p:n", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct sys_cgroup cg = {};
		auto_err struct err err = ERR_INIT;
		int r = sys_cgroup_locate(&a, rows[i].path, true, "id", &cg, &err);
		assert_int_equal(r == 0, rows[i].inside != NULL);
		for (unsigned k = 0; r == 0 && k < cg.n; k++)
			assert_string_equal(cg.dirs[k].path + strlen(cg.dirs[k].mount), rows[i].inside);
	}
	auto_arena struct arena a = {};
	struct sys_cgroup cg = {};
	assert_true(sys_cgroup_locate(&a, "/a/../../b", false, "id", &cg, NULL) < 0);
	assert_true(sys_cgroup_locate(&a, "/", false, "id", &cg, NULL) < 0);
	assert_int_equal(sys_cgroup_locate(&a, "/x//y/./z/", false, "id", &cg, NULL), 0);
	for (unsigned k = 0; k < cg.n; k++)
		assert_string_equal(cg.dirs[k].path + strlen(cg.dirs[k].mount), "/x/y/z");
}

static void processes_are_known(void **state)
{
	struct sys_process p;
	assert_int_equal(sys_process_read(getpid(), &p, NULL), 0);
	assert_true(p.state == 'R' && p.start_ticks > 0);
	assert_true(sys_process_alive(getpid(), p.start_ticks));
	assert_false(sys_process_alive(getpid(), p.start_ticks + 1));
	int fd = sys_process_open(getpid(), p.start_ticks);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(sys_process_open(getpid(), p.start_ticks + 1), -1);
	assert_int_equal(errno, ESRCH);
	assert_int_equal(sys_process_read(0x3fffffff, &p, NULL), -ERR_NOT_FOUND);
}

static void numbers_are_lists(void **state)
{
	static const struct {
		const char *text;
		int bits; /* of the first two bytes; -1 = refused */
	} rows[] = { { "0-3,8", 0x10f }, { " 1 , 3-4 ", 0x1a }, { "", 0 }, { "15", 0x8000 }, { "16", -1 }, { "3-1", -1 }, { "1-", -1 }, { "-1", -1 },
		     { "a", -1 }, { "1,", 2 }, { "1,,2", -1 }, { "99999999999999999999", -1 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t bits[2];
		int got = sys_numbers_parse(span_of(rows[i].text), bits, sizeof(bits)) ? bits[0] | bits[1] << 8 : -1;
		if (got != rows[i].bits)
			fail_msg("\"%s\": %x, not %x", rows[i].text, got, rows[i].bits);
	}
}

static unsigned open_fds(void)
{
	unsigned n = 0;
	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void messages_carry_descriptors(void **state)
{
	auto_fd int a = -1, b = -1, p0 = -1, p1 = -1;
	int pair[2], fds[3], got[2] = { -1, -1 };
	unsigned n_fds = 9;
	char text[8];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	a = pair[0], b = pair[1];
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	p0 = pair[0], p1 = pair[1];
	struct iovec iov[2] = { { (char[]){ "ab" }, 2 }, { (char[]){ "cd" }, 2 } };
	unsigned before = open_fds();

	assert_int_equal(sys_message_send(a, iov, 2, NULL, 0, 0), 4);
	assert_int_equal(sys_message_recv(b, text, sizeof(text), got, 2, &n_fds, 0), 4);
	assert_memory_equal(text, "abcd", 4);
	assert_int_equal(n_fds, 0);

	fds[0] = p0, fds[1] = p1, fds[2] = p1;
	assert_int_equal(sys_message_send(a, iov, 1, fds, 2, 0), 2);
	assert_int_equal(sys_message_recv(b, text, sizeof(text), got, 2, &n_fds, 0), 2);
	assert_int_equal(n_fds, 2);
	assert_int_equal(fcntl(got[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(write(got[1], "x", 1), 1);
	assert_int_equal(read(p0, text, 1), 1); /* the same pipe */
	close(got[0]);
	close(got[1]);

	/* More than there is room for is refused, and nothing of it stays open. */
	assert_int_equal(sys_message_send(a, iov, 1, fds, 3, 0), 2);
	assert_int_equal(sys_message_recv(b, text, sizeof(text), got, 2, &n_fds, 0), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(n_fds, 0);
	assert_int_equal(sys_message_send(a, iov, 2, fds, 1, 0), 4);
	assert_int_equal(sys_message_recv(b, text, 3, got, 2, &n_fds, 0), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(open_fds(), before);

	fd_close(&a);
	assert_int_equal(sys_message_recv(b, text, sizeof(text), got, 2, &n_fds, 0), 0);
	assert_int_equal(sys_message_send(b, iov, 1, NULL, 0, 0), -1);
	assert_int_equal(errno, EPIPE);
}

/* ---- netlink: a kernel that answers what the test wants */

/* A socket of packets ignores whom sendto(2) names. The child answers each question with two pieces and an end; the first `torn`
 * times one of them says that the list has changed, and what it carries is wrong. A message of another question is always there. */
static pid_t fake_kernel(const int pair[2], unsigned torn, bool torn_at_end)
{
	pid_t pid = fork();
	if (pid)
		return pid;
	int sock = pair[1];
	struct nlmsghdr q[64];
	close(pair[0]);
	for (unsigned i = 0; recv(sock, q, sizeof(q), 0) > 0; i++) {
		bool bad = i < torn;
		for (unsigned k = 0; k < 4; k++) {
			struct {
				struct nlmsghdr h;
				uint32_t value;
			} m = { { .nlmsg_len = sizeof(m), .nlmsg_type = k == 3 ? NLMSG_DONE : 77, .nlmsg_flags = NLM_F_MULTI,
				  .nlmsg_seq = q[0].nlmsg_seq }, bad ? 666 : k };
			if (k == 2) { /* somebody else's */
				m.h.nlmsg_seq--;
				m.value = 999;
			}
			if (bad && k == (torn_at_end ? 3 : 1))
				m.h.nlmsg_flags |= NLM_F_DUMP_INTR;
			if (k == 3)
				m.value = 0;
			if (send(sock, &m, sizeof(m), 0) != sizeof(m))
				_exit(1);
		}
	}
	_exit(0);
}

static int on_piece(void *arg, const struct nlmsghdr *m)
{
	uint32_t value;
	memcpy(&value, NLMSG_DATA(m), 4);
	buf_printf(arg, "%u ", value);
	return 0;
}

static void torn_dumps_are_asked_for_again(void **state)
{
	static const struct {
		unsigned torn;
		bool at_end, torn_ok;
		int rc;
		const char *seen;
	} rows[] = {
		{ 0, false, false, 0, "0 1 " },	      { 1, false, false, 0, "0 1 " },
		{ 3, true, false, 0, "0 1 " },	      { 20, false, false, 0, "0 1 " },
		{ 21, false, false, -ERR_STALE, "" }, { 1, false, true, 0, "666 666 " },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_nl_batch struct sys_nl_batch b = { .torn_ok = rows[i].torn_ok };
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf seen = {};
		int pair[2];
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		pid_t pid = fake_kernel(pair, rows[i].torn, rows[i].at_end);
		assert_true(pid > 0);
		close(pair[1]);
		sys_nl_end(&b, sys_nl_begin(&b, 76, NLM_F_DUMP, "", 0));
		int rc = sys_nl_ask(pair[0], &b, on_piece, &seen, "asking", &err);
		close(pair[0]);
		int status = 0;
		(void)waitpid(pid, &status, 0);
		if (rc != rows[i].rc || strcmp(buf_cstr(&seen), rows[i].seen) != 0)
			fail_msg("row %zu: %d %s \"%s\"", i, rc, err_msg(&err), buf_cstr(&seen));
		assert_int_equal(b.out.len, 0);
	}
}

/* What a shell says that was started with SIGPIPE ignored and SIGUSR1 blocked here. */
static void programs_start_clean(void **state)
{
	extern char **environ;
	static const char script[] = "grep -E '^Sig(Blk|Ign)' /proc/$$/status | tr -d '\\n\\t'; [ $$ = $(cut -d' ' -f5 /proc/$$/stat) ] && echo leads";
	static const char *const argv[] = { "sh", "-c", script, NULL };
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf said = {};
	int pipe_fds[2], status;
	pid_t pid;
	sigset_t one, old;
	sigemptyset(&one);
	sigaddset(&one, SIGUSR1);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &one, &old);
	int rc = sys_program_start("/bin/sh", argv, environ, &pipe_fds[1], 1, 1, &pid, &err);
	sigprocmask(SIG_SETMASK, &old, NULL);
	(void)signal(SIGPIPE, before);
	assert_int_equal(rc, 0);
	close(pipe_fds[1]);
	assert_int_equal(io_read_all(pipe_fds[0], &said, 1000, &err), 0);
	close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* 32 and 33 are libc's own, which sets them to be ignored. */
	if (strcmp(buf_cstr(&said), "SigBlk:0000000000000000SigIgn:0000000180000000leads\n") != 0)
		assert_string_equal(buf_cstr(&said), "SigBlk:0000000000000000SigIgn:0000000000000000leads\n");
	assert_int_equal(sys_program_start("/nonexistent/program", argv, environ, NULL, 0, 0, &pid, &err), -ERR_NOT_FOUND);
	assert_string_equal(err_msg(&err), "starting /nonexistent/program: No such file or directory");
}

static void names_of_interfaces(void **state)
{
	static const char *const good[] = { "e", "eth0", "fifteen-letters", "...", "..0", "\xc3\xa9", "\x01" };
	static const char *const bad[] = { "", ".", "..", "sixteen-letters-", "a/b", "a:b", "a b", "a\tb", "a\nb", "a\vb", "a\fb", "a\rb", "\xc2\xa0",
					   "eth%d" };
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!sys_link_name_ok(span_of(good[i])))
			fail_msg("\"%s\" is refused", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (sys_link_name_ok(span_of(bad[i])))
			fail_msg("\"%s\" is taken", bad[i]);
	assert_false(sys_link_name_ok(SPAN("a\0b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_sorted_and_found),
		cmocka_unit_test(options_have_meaning),
		cmocka_unit_test(signals_are_64),
		cmocka_unit_test(addresses_with_ports),
		cmocka_unit_test(names_round_trip),
		cmocka_unit_test(id_maps_map),
		cmocka_unit_test(walk_agrees_with_openat2),
		cmocka_unit_test(walk_stays_inside),
		cmocka_unit_test(targets_are_made_inside),
		cmocka_unit_test(limits_become_writes),
		cmocka_unit_test(device_programs_decide),
		cmocka_unit_test(systemd_paths),
		cmocka_unit_test(processes_are_known), cmocka_unit_test(numbers_are_lists),
		cmocka_unit_test(messages_carry_descriptors),
		cmocka_unit_test(torn_dumps_are_asked_for_again),
		cmocka_unit_test(programs_start_clean), cmocka_unit_test(names_of_interfaces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
