/* Network namespaces of sandboxes. unshare(2) and setns(2) with CLONE_NEWNET concern the calling thread alone: a worker steps out
 * and back in. One that cannot come back must not go on, as its next work would be done in a stranger's network. */
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include "cri/cni.h"

static void come_back(int home)
{
	int rc = setns(home, CLONE_NEWNET);
	assert(rc == 0);
}

static int home_open(struct err *err)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "our network namespace") : fd;
}

static int loopback_up(struct err *err)
{
	struct ifreq r = { .ifr_name = "lo" };
	auto_fd int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0 || ioctl(s, SIOCGIFFLAGS, &r) < 0)
		return err_sys(err, "the loopback interface");
	r.ifr_flags |= IFF_UP | IFF_RUNNING;
	return ioctl(s, SIOCSIFFLAGS, &r) < 0 ? err_sys(err, "starting the loopback interface") : 0;
}

int cri_netns_make(const char *path, struct err *err)
{
	auto_fd int home = home_open(err);
	if (home < 0)
		return home;
	auto_fd int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0444);
	if (file < 0)
		return err_sys(err, "making %s", path);
	if (unshare(CLONE_NEWNET) < 0) {
		int rc = err_sys(err, "making a network namespace");
		(void)unlink(path);
		return rc;
	}
	int rc = mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL) < 0 ? err_sys(err, "pinning a network namespace")
									      : loopback_up(err);
	come_back(home);
	if (rc < 0)
		(void)cri_netns_remove(path, NULL); /* rc says why */
	return rc;
}

bool cri_netns_there(const char *path)
{
	struct statfs fs;
	return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

int cri_netns_remove(const char *path, struct err *err)
{
	if (umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
		return err_sys(err, "unmount %s", path);
	return unlink(path) < 0 && errno != ENOENT ? err_sys(err, "remove %s", path) : 0;
}

int cri_netns_socket(const char *path, int family, struct err *err)
{
	auto_fd int home = -1, there = -1;
	if (path) {
		home = home_open(err);
		there = home < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
		if (home < 0)
			return home;
		if (there < 0 || setns(there, CLONE_NEWNET) < 0)
			return err_sys(err, "the sandbox' network namespace");
	}
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), errnum = errno;
	if (path)
		come_back(home);
	return fd < 0 ? err_sys_num(err, errnum, "socket") : fd;
}
