/* linux.seccomp → a filter, compiled once and kept.
 *
 * Compiling Docker's profile takes 12 ms, loading the result a fraction of one, and less when it was made smaller
 * (shrink.c). The cache holds, per file, the whole profile as canonical text with the compiler's version and the machine
 * before the program: equal text is what counts, the hash is only the file's name, so no collision can give somebody a
 * wrong filter. Files of others than us are not believed.
 *
 *     "KNSC" version, length of the text, length of the program (4 bytes each, this machine's order), text, program
 *
 * A filter whose default refuses is preceded by a few instructions that answer ENOSYS for system calls newer than
 * everything the profile names: C libraries fall back on ENOSYS and give up on EPERM (runc does the same). */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/plan.h"

#define CACHE_VERSION 2
#define PROFILE_MAX (1 << 20)

static const struct {
	const char *name;
	uint32_t action;
	bool with_errno;
} actions[] = {
	{ "SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD, false },
	{ "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD, false },
	{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS, false },
	{ "SCMP_ACT_TRAP", SCMP_ACT_TRAP, false },
	{ "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0), true },
	{ "SCMP_ACT_TRACE", SCMP_ACT_TRACE(0), true },
	{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW, false },
	{ "SCMP_ACT_LOG", SCMP_ACT_LOG, false },
	{ "SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY, false },
};

static const struct {
	const char *name;
	enum scmp_compare op;
} compares[] = {
	{ "SCMP_CMP_NE", SCMP_CMP_NE },
	{ "SCMP_CMP_LT", SCMP_CMP_LT },
	{ "SCMP_CMP_LE", SCMP_CMP_LE },
	{ "SCMP_CMP_EQ", SCMP_CMP_EQ },
	{ "SCMP_CMP_GE", SCMP_CMP_GE },
	{ "SCMP_CMP_GT", SCMP_CMP_GT },
	{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
};

static const struct {
	const char *name;
	unsigned flag;
} flags_known[] = {
	{ "SECCOMP_FILTER_FLAG_TSYNC", 0 }, /* one thread here: nothing to synchronise */
	{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV },
};

/* Architectures whose newest system call is looked up for the ENOSYS answer. */
static const struct {
	uint32_t scmp, audit;
} stub_arches[] = { { SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64 },
		    { SCMP_ARCH_X86, AUDIT_ARCH_I386 },
		    { SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64 },
		    { SCMP_ARCH_ARM, AUDIT_ARCH_ARM } };

struct compiler {
	struct reader r;
	scmp_filter_ctx ctx;
	uint32_t default_action;
	int newest[ARRAY_LEN(
		stub_arches)]; /* highest number that the profile names, -1 = architecture not in the filter */
	bool notify;
};

static uint32_t action_read(struct compiler *c, const struct at *up, const char *name, const char *errno_name,
			    const struct json *v)
{
	const char *text = runtime_reader_str(&c->r, AT(up, name), v);
	int64_t errno_ret = EPERM;
	bool has_errno = runtime_reader_int(&c->r, AT(up, errno_name), v, 0, 4095, &errno_ret);
	for (size_t i = 0; text && i < ARRAY_LEN(actions); i++) {
		if (strcmp(text, actions[i].name) != 0)
			continue;
		if (has_errno && !actions[i].with_errno)
			runtime_reader_fail(&c->r, AT(up, errno_name),
					    "errnoRet with an action other than SCMP_ACT_ERRNO or SCMP_ACT_TRACE");
		return actions[i].with_errno ? actions[i].action | (uint32_t)errno_ret : actions[i].action;
	}
	runtime_reader_fail(&c->r, AT(up, name), "\"%s\" is no seccomp action", text ? text : "");
	return SCMP_ACT_KILL_PROCESS;
}

static uint64_t value_read(struct reader *r, const struct at *at, const struct json *v)
{
	const struct json *n = runtime_reader_get(r, at, v, JSON_INT);
	return n && n->kind == JSON_UINT ? n->u : (uint64_t)json_i64(n, 0);
}

static unsigned args_read(struct compiler *c, const struct at *up, const struct json *rule, struct scmp_arg_cmp args[6])
{
	const struct at *at = AT(up, "args");
	const struct json *list = runtime_reader_get(&c->r, at, rule, JSON_ARRAY);
	unsigned n = 0;
	JSON_EACH_ITEM (list, item) {
		const struct at *here = AT_INDEX(at, n);
		int64_t index = 0;
		if (n == 6) {
			runtime_reader_fail(&c->r, at, "a system call has six arguments");
			return 0;
		}
		runtime_reader_int(&c->r, AT(here, "index"), item, 0, 5, &index);
		uint64_t value = value_read(&c->r, AT(here, "value"), item),
			 two = value_read(&c->r, AT(here, "valueTwo"), item);
		const char *op = runtime_reader_str(&c->r, AT(here, "op"), item);
		size_t k = 0;
		while (k < ARRAY_LEN(compares) && (!op || strcmp(op, compares[k].name) != 0))
			k++;
		if (k == ARRAY_LEN(compares)) {
			runtime_reader_fail(&c->r, AT(here, "op"), "\"%s\" is no comparison", op ? op : "");
			return 0;
		}
		args[n++] = (struct scmp_arg_cmp){ (unsigned)index, compares[k].op, value, two };
	}
	return n;
}

static void rule_add(struct compiler *c, const struct at *at, uint32_t action, const char *name,
		     const struct scmp_arg_cmp *args, unsigned n)
{
	int nr = seccomp_syscall_resolve_name(name);
	if (nr == __NR_SCMP_ERROR || action == c->default_action)
		return; /* unknown to this version: profiles name calls of many kernels */
	/* Two conditions on one argument cannot be one rule; each is then a rule of its own (either may match). */
	bool twice = false;
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < i; k++)
			twice |= args[i].arg == args[k].arg;
	int r = 0;
	if (!twice)
		r = seccomp_rule_add_array(c->ctx, action, nr, n, args);
	for (unsigned i = 0; twice && r == 0 && i < n; i++)
		r = seccomp_rule_add_array(c->ctx, action, nr, 1, &args[i]);
	if (r < 0)
		runtime_reader_fail(&c->r, at, "\"%s\": libseccomp: %s", name, err_why(-r));
}

static void rules_read(struct compiler *c, const struct json *profile)
{
	const struct at *at = AT(AT(AT(NULL, "linux"), "seccomp"), "syscalls");
	const struct json *list = runtime_reader_get(&c->r, at, profile, JSON_ARRAY);
	size_t i = 0;
	JSON_EACH_ITEM (list, rule) {
		const struct at *here = AT_INDEX(at, i++);
		struct scmp_arg_cmp args[6];
		size_t n_names;
		char **names = runtime_reader_strings(&c->r, AT(here, "names"), rule, &n_names);
		uint32_t action = action_read(c, here, "action", "errnoRet", rule);
		unsigned n_args = args_read(c, here, rule, args);
		if (!n_names)
			runtime_reader_fail(&c->r, AT(here, "names"), "is empty");
		c->notify |= action == SCMP_ACT_NOTIFY;
		for (size_t k = 0; k < n_names && !c->r.failed; k++) {
			if (action == SCMP_ACT_NOTIFY && !strcmp(names[k], "write"))
				runtime_reader_fail(&c->r, AT(here, "names"),
						    "SCMP_ACT_NOTIFY cannot be used for the write syscall");
			rule_add(c, here, action, names[k], args, n_args);
			for (size_t a = 0; a < ARRAY_LEN(stub_arches); a++) {
				int nr = c->newest[a] < 0
						 ? -1
						 : seccomp_syscall_resolve_name_arch(stub_arches[a].scmp, names[k]);
				if (nr > c->newest[a])
					c->newest[a] = nr;
			}
		}
		if (c->r.failed)
			return;
	}
}

static void arches_read(struct compiler *c, const struct json *profile)
{
	const struct at *at = AT(AT(AT(NULL, "linux"), "seccomp"), "architectures");
	size_t n;
	char **names = runtime_reader_strings(&c->r, at, profile, &n);
	for (size_t i = 0; i < n && !c->r.failed; i++) {
		char lower[32];
		size_t k = 0;
		const char *s = !strncmp(names[i], "SCMP_ARCH_", 10) ? names[i] + 10 : names[i];
		for (; k < sizeof(lower) - 1 && s[k]; k++)
			lower[k] = s[k] >= 'A' && s[k] <= 'Z' ? (char)(s[k] + 32) : s[k];
		lower[k] = 0;
		uint32_t token = seccomp_arch_resolve_name(lower);
		int r = token ? seccomp_arch_add(c->ctx, token) : -EINVAL;
		if (!token)
			runtime_reader_fail(&c->r, AT_INDEX(at, i), "\"%s\" is no architecture", names[i]);
		else if (r < 0 && r != -EEXIST)
			runtime_reader_fail(&c->r, AT_INDEX(at, i), "libseccomp: %s", err_why(-r));
	}
	for (size_t a = 0; a < ARRAY_LEN(stub_arches); a++)
		c->newest[a] = seccomp_arch_exist(c->ctx, stub_arches[a].scmp) == 0 ? 0 : -1;
}

/* In front of the program: "newer than all of these" is ENOSYS. */
static void stub_add(const struct compiler *c, struct buf *out)
{
	bool refuses = c->default_action != SCMP_ACT_ALLOW && c->default_action != SCMP_ACT_LOG &&
		       c->default_action != SCMP_ACT_ERRNO(ENOSYS);
	for (size_t a = 0; refuses && a < ARRAY_LEN(stub_arches); a++) {
		if (c->newest[a] <= 0)
			continue;
		struct sock_filter code[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, stub_arches[a].audit, 0, 4),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
			BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 2,
				 0), /* x32 and negative: the filter's business */
			BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (unsigned)c->newest[a], 0, 1),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		};
		buf_add(out, code, sizeof(code));
	}
}

static int program_export(struct compiler *c, struct buf *out, struct err *err)
{
	auto_fd int fd = memfd_create("filter", MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "memory file");
	int r = seccomp_export_bpf(c->ctx, fd);
	if (r < 0)
		return err_sys_num(err, -r, "linux.seccomp: compile");
	lseek(fd, 0, SEEK_SET);
	stub_add(c, out);
	return io_read_all(fd, out, SYS_FILTER_MAX, err);
}

static int profile_compile(struct arena *a, const struct json *profile, struct buf *out, struct err *err)
{
	struct compiler c = { .r = { .a = a, .err = err } };
	const struct at *at = AT(AT(NULL, "linux"), "seccomp");
	c.default_action = action_read(&c, at, "defaultAction", "defaultErrnoRet", profile);
	if (c.default_action == SCMP_ACT_NOTIFY)
		runtime_reader_fail(&c.r, AT(at, "defaultAction"), "SCMP_ACT_NOTIFY cannot be used as default action");
	if (c.r.failed)
		return c.r.failed;
	c.ctx = seccomp_init(c.default_action);
	if (!c.ctx)
		return err_set(err, ERR_INVALID, "linux.seccomp.defaultAction: the kernel does not know it");
	(void)seccomp_attr_set(c.ctx, SCMP_FLTATR_CTL_NNP, 0);
	(void)seccomp_attr_set(c.ctx, SCMP_FLTATR_CTL_OPTIMIZE,
			       2); /* a tree instead of a list; older libraries keep the list */
	arches_read(&c, profile);
	rules_read(&c, profile);
	int r = c.r.failed ? c.r.failed : program_export(&c, out, err);
	seccomp_release(c.ctx);
	return r;
}

/* ---- the cache */

static uint64_t fnv(struct span s)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < s.len; i++)
		h = (h ^ (unsigned char)s.ptr[i]) * UINT64_C(0x100000001b3);
	return h;
}

struct cache_head {
	char magic[4];
	uint32_t version, text_len, program_len;
};

/* Only a folder that nobody else can write to. */
static int cache_open(const char *path)
{
	auto_fd int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (dir < 0 && errno == ENOENT && io_mkdirs(AT_FDCWD, path, 0700, NULL) == 0)
		dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || fstat(dir, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022))
		return -1;
	return take_fd(&dir);
}

static bool cache_read(int dir, const char *name, struct span text, struct arena *a, struct span *out)
{
	auto_buf struct buf file = {};
	struct cache_head head;
	if (sys_file_read(dir, name, &file, PROFILE_MAX + SYS_FILTER_MAX + sizeof(head)) < 0 || file.len < sizeof(head))
		return false;
	memcpy(&head, file.ptr, sizeof(head));
	if (memcmp(head.magic, "KNSC", 4) != 0 || head.version != CACHE_VERSION || head.text_len != text.len ||
	    file.len != sizeof(head) + head.text_len + (size_t)head.program_len || head.program_len == 0 ||
	    head.program_len % 8 || memcmp(file.ptr + sizeof(head), text.ptr, text.len) != 0)
		return false;
	*out = arena_span(a, span_make(file.ptr + sizeof(head) + text.len, head.program_len));
	return true;
}

static void cache_write(int dir, const char *name, struct span text, struct span program)
{
	auto_buf struct buf file = {};
	struct cache_head head = { { 'K', 'N', 'S', 'C' }, CACHE_VERSION, (uint32_t)text.len, (uint32_t)program.len };
	buf_add(&file, &head, sizeof(head));
	buf_span_add(&file, text);
	buf_span_add(&file, program);
	(void)io_write_file_lazy(dir, name, buf_span(&file), 0600, NULL); /* a full disk costs time only */
}

static int flags_read(struct arena *a, const struct json *profile, unsigned *out, struct err *err)
{
	struct reader r = { .a = a, .err = err };
	const struct at *at = AT(AT(AT(NULL, "linux"), "seccomp"), "flags");
	size_t n;
	char **names = runtime_reader_strings(&r, at, profile, &n);
	unsigned flags = json_getl(profile, "flags") ? 0 : SECCOMP_FILTER_FLAG_SPEC_ALLOW;
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;
		while (k < ARRAY_LEN(flags_known) && strcmp(names[i], flags_known[k].name) != 0)
			k++;
		if (k == ARRAY_LEN(flags_known))
			runtime_reader_fail(&r, AT_INDEX(at, i), "\"%s\" is no seccomp flag", names[i]);
		else
			flags |= flags_known[k].flag;
	}
	if (!r.failed)
		*out = flags;
	return r.failed;
}

static bool notifies(const struct json *profile)
{
	JSON_EACH_ITEM (json_getl(profile, "syscalls"), rule)
		if (span_is(json_span(json_getl(rule, "action")), "SCMP_ACT_NOTIFY"))
			return true;
	return false;
}

int runtime_seccomp_compile(struct arena *a, const struct json *profile, const char *cache_dir,
			    struct filter *out, struct err *err)
{
	int r = flags_read(a, profile, &out->flags, err);
	if (r < 0)
		return r;
	out->notify = notifies(profile);
	bool listener = json_span(json_getl(profile, "listenerPath")).len;
	if (out->notify != listener)
		return err_set(err, ERR_INVALID, "linux.seccomp.listenerPath: %s",
			       listener ? "is given, but no rule has action SCMP_ACT_NOTIFY"
					: "is missing, and a rule has action SCMP_ACT_NOTIFY");
	if (span_is(json_span(json_getl(profile, "defaultAction")), "SCMP_ACT_ALLOW") &&
	    !json_getl(profile, "syscalls")) {
		out->program = SPAN_EMPTY; /* allows everything: no filter */
		return 0;
	}
	auto_buf struct buf text = {}, program = {}, smaller = {};
	const struct scmp_version *v = seccomp_version();
	buf_printf(&text, "%u.%u.%u %x ", v->major, v->minor, v->micro, seccomp_arch_native());
	json_write(&text, profile, JSON_SORTED);
	char name[32];
	snprintf(name, sizeof(name), "%016llx.bpf", (unsigned long long)fnv(buf_span(&text)));
	auto_fd int dir = cache_dir && text.len < PROFILE_MAX ? cache_open(cache_dir) : -1;
	if (dir >= 0 && cache_read(dir, name, buf_span(&text), a, &out->program))
		return 0;
	r = profile_compile(a, profile, &program, err);
	if (r < 0)
		return r;
	struct span best = runtime_shrink_filter(a, buf_span(&program), &smaller) ? buf_span(&smaller)
										   : buf_span(&program);
	if (dir >= 0)
		cache_write(dir, name, buf_span(&text), best);
	out->program = arena_span(a, best);
	return 0;
}
