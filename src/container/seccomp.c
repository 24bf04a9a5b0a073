/* linux.seccomp of config.json: Docker's default profile as a table, and profiles that users bring.
 *
 * Docker's own form has conditions: on capabilities that the container gets, on the machine, on the kernel. They are decided here;
 * the runtime gets plain rules. Equal containers thus get equal text, and the runtime's cache of compiled filters
 * knows it (runtime/seccomp.c).
 *
 * io_uring is not among the plain ones (Docker removed it in 25.0: too many kernel holes came through it), socket(AF_VSOCK)
 * neither. clone3 answers ENOSYS, since its flags are in memory that a filter cannot read: C libraries then take clone. */
#include <stdio.h>
#include <sys/utsname.h>

#include "container/private.h"
#include "sys/sys.h"

static const char plain[] =
	"accept accept4 access adjtimex alarm bind brk capget capset chdir chmod chown chown32 clock_adjtime clock_adjtime64 "
	"clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range "
	"connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 "
	"epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 "
	"fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr "
	"flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 "
	"futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid "
	"getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid "
	"getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid "
	"getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch "
	"inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 "
	"ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self "
	"lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek "
	"lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod "
	"mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive "
	"mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync "
	"munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open "
	"pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 "
	"prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv "
	"recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 "
	"restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
	"rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam "
	"sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 "
	"sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop "
	"semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 "
	"setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid "
	"setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid "
	"setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn "
	"socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs "
	"sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime "
	"timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate "
	"truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice "
	"wait4 waitid waitpid write writev";

/* CLONE_NEW* of clone(2), but CLONE_NEWTIME, which shares its bit with the exit signal */
#define CLONE_NAMESPACES UINT64_C(2114060288)

struct rule {
	const char *names;
	const char *cap;     /* only with this capability */
	const char *not_cap; /* only without it */
	const char *arches;  /* Go's names; NULL = all */
	int answer;          /* errno; 0 = allowed */
	const char *compare; /* of one argument; NULL = none */
	unsigned index;
	uint64_t value, value_two;
};
static const struct rule rules[] = {
	{ "process_vm_readv process_vm_writev ptrace" }, /* safe from Linux 4.8 on, which is older than what we run on */
	{ "socket", .compare = "SCMP_CMP_NE", .value = 40 }, /* AF_VSOCK is not confined by namespaces */
	{ "personality", .compare = "SCMP_CMP_EQ", .value = 0 },
	{ "personality", .compare = "SCMP_CMP_EQ", .value = 8 },
	{ "personality", .compare = "SCMP_CMP_EQ", .value = 131072 },
	{ "personality", .compare = "SCMP_CMP_EQ", .value = 131080 },
	{ "personality", .compare = "SCMP_CMP_EQ", .value = 4294967295 },
	{ "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls", .arches = "arm arm64" },
	{ "arch_prctl", .arches = "amd64 x32" },
	{ "modify_ldt", .arches = "amd64 x32 x86" },
	{ "riscv_flush_icache", .arches = "riscv64" },
	{ "open_by_handle_at", .cap = "CAP_DAC_READ_SEARCH" },
	{ "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules "
	  "lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname "
	  "setns syslog umount umount2 unshare",
	  .cap = "CAP_SYS_ADMIN" },
	{ "clone", .not_cap = "CAP_SYS_ADMIN", .compare = "SCMP_CMP_MASKED_EQ", .value = CLONE_NAMESPACES },
	{ "clone3", .not_cap = "CAP_SYS_ADMIN", .answer = 38 },
	{ "reboot", .cap = "CAP_SYS_BOOT" },
	{ "chroot", .cap = "CAP_SYS_CHROOT" },
	{ "delete_module init_module finit_module", .cap = "CAP_SYS_MODULE" },
	{ "acct", .cap = "CAP_SYS_PACCT" },
	{ "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace", .cap = "CAP_SYS_PTRACE" },
	{ "iopl ioperm", .cap = "CAP_SYS_RAWIO" },
	{ "settimeofday stime clock_settime clock_settime64", .cap = "CAP_SYS_TIME" },
	{ "vhangup", .cap = "CAP_SYS_TTY_CONFIG" },
	{ "get_mempolicy mbind set_mempolicy set_mempolicy_home_node", .cap = "CAP_SYS_NICE" },
	{ "syslog", .cap = "CAP_SYSLOG" },
	{ "bpf", .cap = "CAP_BPF" },
	{ "perf_event_open", .cap = "CAP_PERFMON" },
};

#if defined(__x86_64__)
static const char here[] = "amd64";
static const char *const architectures[] = { "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32" };
#elif defined(__aarch64__)
static const char here[] = "arm64";
static const char *const architectures[] = { "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM" };
#elif defined(__riscv)
static const char here[] = "riscv64";
static const char *const architectures[] = { "SCMP_ARCH_RISCV64" };
#else
#error "which system call tables has this machine?"
#endif

static bool word_in(struct span words, struct span word)
{
	struct span w;
	while (span_cut(&words, ' ', &w))
		if (span_eq(w, word))
			return true;
	return false;
}

static bool cap_has(uint64_t caps, struct span name)
{
	int cap = sys_caps_by_name(name);
	return cap >= 0 && (caps >> cap & 1);
}

static void kspan(struct json_out *o, const char *key, struct span s)
{
	json_out_key(o, span_of(key));
	json_out_span(o, s);
}

static void words_write(struct json_out *o, struct span words)
{
	struct span w;
	json_out_key(o, SPAN("names"));
	json_out_begin_array(o);
	while (span_cut(&words, ' ', &w))
		json_out_span(o, w);
	json_out_end(o);
}

static void head_write(struct json_out *o)
{
	json_out_begin(o);
	kspan(o, "defaultAction", SPAN("SCMP_ACT_ERRNO"));
	json_out_ki64(o, "defaultErrnoRet", 1);
	json_out_key(o, SPAN("architectures"));
	json_out_begin_array(o);
	for (size_t i = 0; i < ARRAY_LEN(architectures); i++)
		json_out_span(o, span_of(architectures[i]));
	json_out_end(o);
}

void container_seccomp_default(struct json_out *o, uint64_t caps)
{
	head_write(o);
	json_out_key(o, SPAN("syscalls"));
	json_out_begin_array(o);
	json_out_begin(o);
	words_write(o, span_of(plain));
	kspan(o, "action", SPAN("SCMP_ACT_ALLOW"));
	json_out_end(o);
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		const struct rule *r = &rules[i];
		if ((r->cap && !cap_has(caps, span_of(r->cap))) || (r->not_cap && cap_has(caps, span_of(r->not_cap))) ||
		    (r->arches && !word_in(span_of(r->arches), span_of(here))))
			continue;
		json_out_begin(o);
		words_write(o, span_of(r->names));
		kspan(o, "action", r->answer ? SPAN("SCMP_ACT_ERRNO") : SPAN("SCMP_ACT_ALLOW"));
		json_out_ki64(o, "errnoRet", r->answer);
		if (r->compare) {
			json_out_key(o, SPAN("args"));
			json_out_begin_array(o);
			json_out_begin(o);
			json_out_key(o, SPAN("index"));
			json_out_u64(o, r->index);
			json_out_key(o, SPAN("value"));
			json_out_u64(o, r->value);
			json_out_key(o, SPAN("valueTwo"));
			json_out_u64(o, r->value_two);
			kspan(o, "op", span_of(r->compare));
			json_out_end(o);
			json_out_end(o);
		}
		json_out_end(o);
	}
	json_out_end(o);
	json_out_end(o);
}

/* ---- profiles of users */

static bool any_arch(const struct json *list)
{
	JSON_EACH_ITEM (list, item)
		if (span_eq(json_span(item), span_of(here)))
			return true;
	return false;
}

/* The first two numbers of "6.1.0-25-amd64" as one that can be compared; false when it does not begin so. */
static bool version_read(struct span text, uint64_t *out)
{
	struct span rest = text, major, minor;
	uint64_t a, b;
	if (!span_cut(&rest, '.', &major) || !span_cut(&rest, '.', &minor))
		return false;
	size_t digits = 0;
	while (digits < minor.len && minor.ptr[digits] >= '0' && minor.ptr[digits] <= '9')
		digits++;
	if (!span_to_u64(major, &a) || !span_to_u64(span_sub(minor, 0, digits), &b) || a > 1000000 || b > 1000000)
		return false;
	*out = a << 32 | b;
	return true;
}

/* "4.8": is this kernel at least so new? */
static bool kernel_has(struct span min)
{
	struct utsname u;
	uint64_t want, have;
	return uname(&u) == 0 && version_read(min, &want) && version_read(span_of(u.release), &have) && have >= want;
}

static bool rule_holds(const struct json *rule, uint64_t caps)
{
	const struct json *in = json_getl(rule, "includes"), *out = json_getl(rule, "excludes");
	const struct json *arches = json_getl(in, "arches"), *min = json_getl(in, "minKernel");
	if (json_is(arches, JSON_ARRAY) && arches->n && !any_arch(arches))
		return false;
	JSON_EACH_ITEM (json_getl(in, "caps"), item)
		if (!cap_has(caps, json_span(item)))
			return false;
	if (json_span(min).len && !kernel_has(json_span(min)))
		return false;
	if (any_arch(json_getl(out, "arches")))
		return false;
	JSON_EACH_ITEM (json_getl(out, "caps"), item)
		if (cap_has(caps, json_span(item)))
			return false;
	return !json_span(json_getl(out, "minKernel")).len || !kernel_has(json_span(json_getl(out, "minKernel")));
}

int container_seccomp_custom(struct json_out *o, struct span profile, uint64_t caps, struct arena *a, struct err *err)
{
	struct json v;
	const struct json_limits limits = { .bytes = 1 << 20, .depth = 16 };
	int rc = json_parse(a, profile, JSON_DUPLICATES_LAST, &limits, &v, err);
	if (rc < 0)
		return err_note(err, "decoding seccomp profile failed");
	if (v.kind != JSON_OBJECT)
		return err_set(err, ERR_INVALID_REQUEST, "decoding seccomp profile failed: expected an object");
	const struct json *map = json_getl(&v, "archMap"), *arches = json_getl(&v, "architectures"), *calls = json_getl(&v,
		"syscalls");
	if (json_is(map, JSON_ARRAY) && map->n && json_is(arches, JSON_ARRAY) && arches->n)
		return err_set(err, ERR_INVALID_REQUEST, "both 'architectures' and 'archMap' are specified in the seccomp profile, use "
			"either 'architectures' or 'archMap'");
	json_out_begin(o);
	JSON_EACH_MEMBER (&v, m) {
		struct span key = json_key(m);
		if (span_is(key, "archMap") || span_is(key, "syscalls") || span_is(key, "architectures") || m->value.kind == JSON_NULL)
			continue;
		json_out_key(o, key);
		json_out_value(o, &m->value);
	}
	json_out_key(o, SPAN("architectures"));
	json_out_begin_array(o);
	if (json_is(arches, JSON_ARRAY))
		JSON_EACH_ITEM (arches, item)
			json_out_value(o, item);
	JSON_EACH_ITEM (map, item) {
		if (!span_is(json_span(json_getl(item, "architecture")), architectures[0]))
			continue;
		json_out_span(o, span_of(architectures[0]));
		JSON_EACH_ITEM (json_getl(item, "subArchitectures"), sub)
			json_out_value(o, sub);
	}
	json_out_end(o);
	json_out_key(o, SPAN("syscalls"));
	json_out_begin_array(o);
	JSON_EACH_ITEM (calls, call) {
		const struct json *name = json_getl(call, "name"), *names = json_getl(call, "names");
		if (json_span(name).len && json_is(names, JSON_ARRAY) && names->n)
			return err_set(err, ERR_INVALID_REQUEST,
				"both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'");
		if (!rule_holds(call, caps))
			continue;
		json_out_begin(o);
		if (json_span(name).len) { /* the first form of Docker's profiles */
			json_out_key(o, SPAN("names"));
			json_out_begin_array(o);
			json_out_value(o, name);
			json_out_end(o);
		}
		JSON_EACH_MEMBER (call, m) {
			struct span key = json_key(m);
			if (span_is(key, "includes") || span_is(key, "excludes") || span_is(key, "comment") || span_is(key, "name") ||
			    m->value.kind == JSON_NULL)
				continue;
			json_out_key(o, key);
			json_out_value(o, &m->value);
		}
		json_out_end(o);
	}
	json_out_end(o);
	json_out_end(o);
	return 0;
}
