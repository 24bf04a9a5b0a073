/* Messages with descriptors over unix sockets (unix(7), SCM_RIGHTS). */
#pragma once

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#define SYS_MESSAGE_FDS 253 /* as many as the kernel passes at once (SCM_MAX_FD) */

/* sendmsg with n_fds descriptors (at most SYS_MESSAGE_FDS; 0 = none, fds may be NULL) beside the bytes. They stay the
 * caller's. Goes on after EINTR; never SIGPIPE; flags are further MSG_ flags. As sendmsg: the bytes sent, or -1 and
 * errno. On a stream socket fewer bytes may go than asked for; the descriptors went with the first. */
ssize_t sys_message_send(int sock, const struct iovec *iov, unsigned n_iov, const int *fds, unsigned n_fds, int flags);

/* recvmsg of one message of at most cap bytes and cap_fds descriptors, which are close-on-exec and the caller's.
 * Returns the bytes, 0 at the end, -1 and errno. A message with more bytes or more descriptors than there is room for
 * is thrown away whole, its descriptors closed: EMSGSIZE. A reset by a peer that ended with messages of ours unread is passed
 * over: what it had sent comes, then the end. */
ssize_t sys_message_recv(int sock, void *data, size_t cap, int *fds, unsigned cap_fds, unsigned *out_n_fds, int flags);
