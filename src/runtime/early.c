/* The entry point of knarr-run: runs before the C library's own (_start) and does, for the usual case, what
 * runtime_self_protect does later: execute the program again from a read-only copy of its mount (see protect.c for why).
 *
 * Measured: the start of a static program with glibc costs 0.11 ms on a virtual machine, nearly all of it CPUID instructions,
 * each of which traps. Protecting in main pays that twice; here the first start has not happened yet.
 *
 * There is no C library here: no errno, no thread pointer, no stack protector, no function of a header. Whatever goes wrong, and
 * whatever machine has no lines below, falls through to _start: main asks again, has a way for old kernels, and is the
 * one that reports errors. So a word that is missed here costs time, and one too many costs an exec: nobody's safety. */
#include <fcntl.h>
#include <linux/mount.h>
#include <stddef.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#ifdef __x86_64__

#define SELF "/proc/self/exe"

static long call5(long number, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e;
	long result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
}

static int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* Does this look like an invocation whose process a container may see? The same ones as in main, found more roughly. */
static int builds(char **argv)
{
	for (; *argv; argv++)
		if (same(*argv, "run") || same(*argv, "create") || same(*argv, "exec") || same(*argv, "spawn"))
			return 1;
	return 0;
}

/* stack: what the kernel left there: argc, argv, NULL, environment, NULL. */
void runtime_early_protect(long *stack);
void runtime_early_protect(long *stack)
{
	char **argv = (char **)(stack + 1), **envp = argv + stack[0] + 1;
	struct statfs fs; /* on this machine the kernel's and the library's are one */
	struct mount_attr attr;
	if (!builds(argv) || call5(SYS_statfs, (long)SELF, (long)&fs, 0, 0, 0) < 0 || (fs.f_flags & ST_RDONLY))
		return;
	attr.attr_set = MOUNT_ATTR_RDONLY;
	attr.attr_clr = attr.propagation = attr.userns_fd = 0;
	long tree = call5(SYS_open_tree, AT_FDCWD, (long)SELF, OPEN_TREE_CLONE | O_CLOEXEC, 0, 0);
	if (tree < 0)
		return;
	if (call5(SYS_mount_setattr, tree, (long)"", AT_EMPTY_PATH, (long)&attr, sizeof(attr)) == 0)
		(void)call5(SYS_execveat, tree, (long)"", (long)argv, (long)envp, AT_EMPTY_PATH); /* main tries again */
	(void)call5(SYS_close, tree, 0, 0, 0, 0); /* it is there */
}

/* %rdx is for _start (a function to be called at exit); the stack is aligned as a call wants it. */
__asm__(".text\n"
	".globl runtime_early_start\n"
	".type runtime_early_start, @function\n"
	"runtime_early_start:\n"
	"	xor	%ebp, %ebp\n"
	"	push	%rdx\n"
	"	push	%rdx\n"
	"	lea	16(%rsp), %rdi\n"
	"	call	runtime_early_protect\n"
	"	pop	%rdx\n"
	"	pop	%rdx\n"
	"	jmp	_start\n"
	".size runtime_early_start, . - runtime_early_start\n");

#endif
