/* Variables that clean themselves at the end of their scope.
 *
 *     auto_free char *path = NULL;           freed when the scope ends
 *     auto_fd int fd = open(...);            closed when the scope ends; an empty descriptor is -1
 *     return take_fd(&fd);                   hands over: the variable becomes empty, nothing is closed
 *     return take(&path);
 *
 * Components add their own with AUTO_DEFINE. Release functions accept empty and leave empty. */
#pragma once

#include <stdlib.h>
#include <unistd.h>

/* unused: clang does not count the cleanup itself as a use. */
#define auto_cleanup(fn) __attribute__((cleanup(fn), unused))

static inline void auto_free_(void *p)
{
	void **pp = p;
	free(*pp);
	*pp = NULL;
}
#define auto_free auto_cleanup(auto_free_)

/* Closes *fd unless it is empty (-1), and empties it. errno is kept: this runs on error paths. */
void fd_close(int *fd);
#define auto_fd auto_cleanup(fd_close)

#define take(p) ({ __typeof__(*(p)) taken_ = *(p); *(p) = NULL; taken_; })
static inline int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

/* AUTO_DEFINE(store, store_unref) gives auto_cleanup function auto_store_ for `struct store *`:
 *     auto_cleanup(auto_store_) struct store *s = ...; */
#define AUTO_DEFINE(name, type, release)                                                                               \
	static inline void auto_##name##_(type *p)                                                                     \
	{                                                                                                              \
		if (*p)                                                                                                \
			release(*p);                                                                                   \
		*p = NULL;                                                                                             \
	}

/* The number of elements; a pointer instead of an array does not compile. */
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]) + 0 * sizeof(ARRAY_CHECK_(a)))
#define ARRAY_CHECK_(a) char[1 - 2 * __builtin_types_compatible_p(__typeof__(a), __typeof__(&(a)[0]))]
#define MIN(a, b) ({ __typeof__(a) min_a_ = (a); __typeof__(b) min_b_ = (b); min_a_ < min_b_ ? min_a_ : min_b_; })
#define MAX(a, b) ({ __typeof__(a) max_a_ = (a); __typeof__(b) max_b_ = (b); max_a_ > max_b_ ? max_a_ : max_b_; })
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
