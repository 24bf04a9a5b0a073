/* Giving up root, and descriptors that a service manager passed. Private to apiserver. */
#pragma once

#include "apiserver/apiserver.h"

/* Makes the process `user` (NAME, or UID[:GID]; NAME brings its groups) for good: groups, then ids, then no_new_privs. What we
 * keep in the folders (may be NULL) is given to that user first. FORBIDDEN when we are somebody else and not root. */
int privileges_drop(struct span user, const char *const *folders, struct err *err);

/* The listening sockets of LISTEN_FDS and LISTEN_PID (sd_listen_fds(3)): TCP ones become https_fd and more_https, a unix one
 * unix_fd. The variables are removed, so that no child takes them for its own. More than one unix socket, too many, or a descriptor
 * that does not listen is USAGE: what the caller meant cannot be known. */
int privileges_sockets(struct apiserver_options *o, struct err *err);
