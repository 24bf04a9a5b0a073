/* The smaller program answers like the one it was made from: for every number of every architecture that either of them knows, for numbers
 * around all of their constants, and for arguments around all of their constants and at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/seccomp.c"

static uint32_t run(const struct sock_filter *p, size_t n, const struct seccomp_data *d)
{
	uint32_t a = 0;
	for (size_t i = 0; i < n; i++) {
		const struct sock_filter *f = &p[i];
		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(f->k % 4 == 0 && f->k + 4 <= sizeof(*d)); /* the kernel refuses others */
			memcpy(&a, (const char *)d + f->k, 4);
			break;
		case BPF_ALU | BPF_AND | BPF_K: a &= f->k; break;
		case BPF_JMP | BPF_JA: i += f->k; break;
		case BPF_JMP | BPF_JEQ | BPF_K: i += a == f->k ? f->jt : f->jf; break;
		case BPF_JMP | BPF_JGT | BPF_K: i += a > f->k ? f->jt : f->jf; break;
		case BPF_JMP | BPF_JGE | BPF_K: i += a >= f->k ? f->jt : f->jf; break;
		case BPF_JMP | BPF_JSET | BPF_K: i += a & f->k ? f->jt : f->jf; break;
		case BPF_RET | BPF_K: return f->k;
		default: fail_msg("instruction %zu has code %#x", i, f->code);
		}
	}
	fail_msg("ran over the end");
	return 0;
}

static size_t compared;

static void compare(const struct sock_filter *a, size_t n_a, const struct sock_filter *b, size_t n_b,
		    const struct seccomp_data *d)
{
	uint32_t x = run(a, n_a, d), y = run(b, n_b, d);
	compared++;
	if (x != y)
		fail_msg("arch %#x nr %d args %#llx %#llx %#llx: %#x before, %#x now", d->arch, d->nr,
			 (unsigned long long)d->args[0], (unsigned long long)d->args[1], (unsigned long long)d->args[2], x,
			 y);
}

/* One set of numbers and architectures, with arguments from the constants. */
static void compare_all(const struct sock_filter *a, size_t n_a, const struct sock_filter *b, size_t n_b)
{
	static const uint32_t arches[] = { AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM, 0, UINT32_MAX };
	static const uint32_t bases[] = { 0, 0x40000000, 0x3fffff00, 0x7fffff00, 0x80000000, 0xffffff00 };
	struct rng rng;
	rng_init(&rng, 7);
	for (size_t k = 0; k < ARRAY_LEN(arches); k++)
		for (size_t base = 0; base < ARRAY_LEN(bases); base++)
			for (uint32_t i = 0; i < 1200; i++) {
				struct seccomp_data d = { .arch = arches[k], .nr = (int)(bases[base] + i) };
				compare(a, n_a, b, n_b, &d);
				for (int t = 0; t < 6; t++) {
					uint64_t c = a[rng_u64(&rng) % n_a].k, e = a[rng_u64(&rng) % n_a].k;
					for (int arg = 0; arg < 6; arg++)
						d.args[arg] = t < 2 ? c + rng_u64(&rng) % 3 - 1 : t < 4 ? c | e << 32 : rng_u64(&rng);
					compare(a, n_a, b, n_b, &d);
				}
			}
	/* Around every constant, as number and as architecture. */
	for (size_t i = 0; i < n_a; i++)
		for (uint32_t by = 0; by < 3; by++) {
			struct seccomp_data d = { .arch = AUDIT_ARCH_X86_64, .nr = (int)(a[i].k + by - 1) };
			compare(a, n_a, b, n_b, &d);
			d = (struct seccomp_data){ .arch = a[i].k + by - 1, .nr = 1 };
			compare(a, n_a, b, n_b, &d);
		}
}

static bool shrunk(struct arena *a, const char *text, size_t *out_before, size_t *out_after)
{
	auto_buf struct buf program = {}, smaller = {};
	auto_err struct err err = ERR_INIT;
	struct json v;
	if (json_parse(a, span_of(text), 0, NULL, &v, &err) < 0 || profile_compile(a, &v, &program, &err) < 0)
		fail_msg("%s", err_msg(&err));
	*out_before = *out_after = program.len / sizeof(struct sock_filter);
	if (!runtime_shrink_filter(a, buf_span(&program), &smaller))
		return false;
	*out_after = smaller.len / sizeof(struct sock_filter);
	compare_all((const struct sock_filter *)program.ptr, *out_before, (const struct sock_filter *)smaller.ptr, *out_after);
	return true;
}

/* Docker's shape: three architectures, hundreds of names, some of them with arguments. */
static void profile_write(struct buf *out, int step, bool arguments)
{
	buf_str(out, "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"],"
		     "\"syscalls\":[{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[");
	bool first = true;
	for (int nr = 0; nr < 440; nr += nr % 97 < 60 ? 1 : step) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);
		if (name && strcmp(name, "personality") != 0 && strcmp(name, "clone") != 0 && strcmp(name, "socket") != 0)
			buf_printf(out, "%s\"%s\"", first ? "" : ",", name), first = false;
		free(name);
	}
	buf_str(out, "]}");
	if (arguments)
		buf_str(out,
			",{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":8,\"op\":\"SCMP_CMP_EQ\"}]},"
			"{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":4294967295,\"op\":\"SCMP_CMP_EQ\"}]},"
			"{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":2114060288,\"valueTwo\":0,\"op\":\"SCMP_CMP_MASKED_EQ\"}]},"
			"{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":40,\"op\":\"SCMP_CMP_GT\"}]},"
			"{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_LOG\",\"args\":[{\"index\":0,\"value\":38,\"op\":\"SCMP_CMP_LT\"},"
			"{\"index\":1,\"value\":77309411328,\"op\":\"SCMP_CMP_GE\"}]}");
	buf_str(out, "]}");
}

static void a_large_profile_is_much_smaller(void **state)
{
	for (int arguments = 0; arguments < 2; arguments++) {
		auto_arena struct arena a = {};
		auto_buf struct buf text = {};
		size_t before, after;
		profile_write(&text, 2, arguments);
		assert_true(shrunk(&a, buf_cstr(&text), &before, &after));
		print_message("%zu instructions, %zu now; %zu comparisons\n", before, after, compared);
		if (after * 2 >= before)
			fail_msg("%zu instructions, %zu now: not half", before, after);
	}
}

/* Every second number: hundreds of ranges, jumps beyond the reach of a conditional one. */
static void many_ranges(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf text = {};
	size_t before, after;
	profile_write(&text, 2, true);
	auto_buf struct buf odd = {};
	buf_str(&odd, "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\"],\"syscalls\":[");
	for (int nr = 0; nr < 440; nr += 2) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);
		if (name)
			buf_printf(&odd, "%s{\"names\":[\"%s\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":%d}", nr ? "," : "", name,
				   nr % 5 + 1);
		free(name);
	}
	buf_str(&odd, "]}");
	if (shrunk(&a, buf_cstr(&odd), &before, &after))
		print_message("%zu instructions, %zu now\n", before, after);
}

static void small_profiles(void **state)
{
	static const char *const texts[] = {
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"getpriority\"],\"action\":\"SCMP_ACT_ERRNO\"}]}",
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"read\",\"write\"],\"action\":\"SCMP_ACT_ALLOW\"}]}",
		("{\"defaultAction\":\"SCMP_ACT_KILL_PROCESS\",\"architectures\":[\"SCMP_ARCH_AARCH64\",\"SCMP_ARCH_X86_64\"],"
		 "\"syscalls\":[{\"names\":[\"ioctl\"],\"action\":\"SCMP_ACT_TRACE\",\"errnoRet\":7,\"args\":[{\"index\":1,\"value\":21505,"
		 "\"op\":\"SCMP_CMP_NE\"}]}]}"),
	};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		auto_arena struct arena a = {};
		size_t before, after;
		(void)shrunk(&a, texts[i], &before, &after); /* may stay as it is; what it becomes was compared */
	}
}

/* What is not understood stays as it is. */
static void unknown_programs_are_left_alone(void **state)
{
	struct sock_filter scratch[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_STMT(BPF_ST, 0), BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_filter arithmetic[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 1),
					    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
					    BPF_STMT(BPF_RET | BPF_K, 1) };
	struct sock_filter again[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 3),
				       BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 5, 0, 1),
				       BPF_STMT(BPF_RET | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 1) };
	struct sock_filter open_end[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0) };
	struct sock_filter outside[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 200, 0),
					 BPF_STMT(BPF_RET | BPF_K, 0) };
	auto_arena struct arena a = {};
	auto_buf struct buf out = {};
	assert_false(runtime_shrink_filter(&a, span_make(scratch, sizeof(scratch)), &out));
	assert_false(runtime_shrink_filter(&a, span_make(arithmetic, sizeof(arithmetic)), &out));
	assert_false(runtime_shrink_filter(&a, span_make(again, sizeof(again)), &out));
	assert_false(runtime_shrink_filter(&a, span_make(open_end, sizeof(open_end)), &out));
	assert_false(runtime_shrink_filter(&a, span_make(outside, sizeof(outside)), &out));
	assert_false(runtime_shrink_filter(&a, SPAN_EMPTY, &out));
	assert_int_equal(out.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_large_profile_is_much_smaller), cmocka_unit_test(many_ranges),
		cmocka_unit_test(small_profiles), cmocka_unit_test(unknown_programs_are_left_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
