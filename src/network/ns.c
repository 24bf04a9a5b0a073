/* Network namespaces. unshare(2) and setns(2) with CLONE_NEWNET concern the calling thread alone, so the loop's thread steps
 * in, does what can only be done from inside (the pin, sysctls, sockets) and steps out again: a helper thread would cost two
 * wake-ups. */
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "network/private.h"

int network_ns_enter(int ns, struct err *err)
{
	return setns(ns, CLONE_NEWNET) < 0 ? err_sys(err, "entering the container's network namespace") : 0;
}

void network_ns_leave(const struct network_engine *e)
{
	int rc = setns(e->host_ns, CLONE_NEWNET);
	assert(rc == 0);
}

/* The pin's path through the folder's descriptor: mount(2) takes names alone. */
static void pin_path(const struct network_engine *e, const char *id, char out[128])
{
	snprintf(out, 128, "/proc/self/fd/%d/%s", e->pins, id);
}

int network_ns_make(struct network_engine *e, const char *id, struct err *err)
{
	char path[128];
	pin_path(e, id, path);
	auto_fd int file = openat(e->pins, id, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0444);
	if (file < 0)
		return err_sys(err, "making the pin of network namespace %.12s", id);
	if (unshare(CLONE_NEWNET) < 0) {
		err_sys(err, "making a network namespace");
		(void)unlinkat(e->pins, id, 0);
		return -(int)(err ? err->class : ERR_IO);
	}
	FAILPOINT("network.ns.made");
	if (mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL) < 0) {
		int rc = err_sys(err, "pinning network namespace %.12s", id);
		network_ns_leave(e);
		(void)unlinkat(e->pins, id, 0);
		return rc;
	}
	FAILPOINT("network.ns.pinned");
	return 0;
}

int network_ns_pin(struct network_engine *e, const char *id, int ns, struct err *err)
{
	char path[128], from[40];
	pin_path(e, id, path);
	snprintf(from, sizeof(from), "/proc/self/fd/%d", ns);
	auto_fd int file = openat(e->pins, id, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0444);
	if (file < 0)
		return err_sys(err, "making the pin of network namespace %.12s", id);
	FAILPOINT("network.ns.made");
	if (mount(from, path, NULL, MS_BIND, NULL) < 0) {
		int rc = err_sys(err, "pinning network namespace %.12s", id);
		(void)unlinkat(e->pins, id, 0);
		return rc;
	}
	FAILPOINT("network.ns.pinned");
	return 0;
}

int network_ns_open(struct network_engine *e, const char *id, struct err *err)
{
	auto_fd int fd = openat(e->pins, id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct statfs fs;
	if (fd < 0)
		return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "network namespace %.12s does not exist", id)
				       : err_sys(err, "opening network namespace %.12s", id);
	if (fstatfs(fd, &fs) < 0 || fs.f_type != NSFS_MAGIC) /* a file left over from before the machine's restart */
		return err_set(err, ERR_NOT_FOUND, "network namespace %.12s does not exist any more", id);
	return take_fd(&fd);
}

void network_ns_remove(struct network_engine *e, const char *id)
{
	char path[128];
	pin_path(e, id, path);
	/* Detached, for somebody may look at it this moment; the namespace goes with its last user. */
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	(void)unlinkat(e->pins, id, 0);
}

int network_sysctl(const char *name, const char *value, struct err *err)
{
	char path[160];
	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "opening sysctl %s", name);
	if (write(fd, value, strlen(value)) < 0)
		return err_sys(err, "setting sysctl %s to %s", name, value);
	return 0;
}
