/* What -D_FORTIFY_SOURCE=3 is for glibc, for knarr-run's C library, which has nothing of the kind: a call that writes beyond an
 * object whose size the compiler knows (or can reckon at run time) traps. Included before everything by src/app/meson.build.
 *
 * The bodies replace the functions where they are inlined, which is everywhere; the builtins in them are the real ones. Formatted
 * output is not among them: each such call here gives the size of an array by name, which the compiler checks (-Wformat=2). */
#pragma once

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef __OPTIMIZE__
#define FORTIFY extern __inline__ __attribute__((__always_inline__, __gnu_inline__, __artificial__))
#define FORTIFY_FITS(to, n)                                        \
	do {                                                       \
		if ((n) > __builtin_dynamic_object_size((to), 0))  \
			__builtin_trap();                          \
	} while (0)

FORTIFY void *memcpy(void *to, const void *from, size_t n)
{
	FORTIFY_FITS(to, n);
	return __builtin_memcpy(to, from, n);
}

FORTIFY void *memmove(void *to, const void *from, size_t n)
{
	FORTIFY_FITS(to, n);
	return __builtin_memmove(to, from, n);
}

FORTIFY void *memset(void *to, int byte, size_t n)
{
	FORTIFY_FITS(to, n);
	return __builtin_memset(to, byte, n);
}

#define FORTIFY_CALL(name) __typeof__(name) fortify_##name __asm__(#name)

FORTIFY_CALL(read);
FORTIFY ssize_t read(int fd, void *to, size_t n)
{
	FORTIFY_FITS(to, n);
	return fortify_read(fd, to, n);
}

FORTIFY_CALL(pread);
FORTIFY ssize_t pread(int fd, void *to, size_t n, off_t at)
{
	FORTIFY_FITS(to, n);
	return fortify_pread(fd, to, n, at);
}

FORTIFY_CALL(recv);
FORTIFY ssize_t recv(int fd, void *to, size_t n, int flags)
{
	FORTIFY_FITS(to, n);
	return fortify_recv(fd, to, n, flags);
}

FORTIFY_CALL(readlink);
FORTIFY ssize_t readlink(const char *path, char *to, size_t n)
{
	FORTIFY_FITS(to, n);
	return fortify_readlink(path, to, n);
}

FORTIFY_CALL(readlinkat);
FORTIFY ssize_t readlinkat(int dir, const char *path, char *to, size_t n)
{
	FORTIFY_FITS(to, n);
	return fortify_readlinkat(dir, path, to, n);
}
#endif
