/* The initial ram disk's only program: loads the modules in /modules in the order of their names, mounts the disk
 * and becomes Debian's init. It exists because virtio and its disk driver are modules in Debian's kernel while ext4
 * is built in; Debian's own initial ram disk does the same in several seconds of shell under emulation.
 *
 * Disks are found by name: run gives the root disk first (/dev/vda) and the work tree, if any, second (/dev/vdb). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DISK_WAIT_MS 20000

static void die(const char *what)
{
	/* The kernel panics when init ends, and run reports the console's last lines. */
	fprintf(stderr, "vm init: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void module_load(const char *name)
{
	char path[300];
	snprintf(path, sizeof(path), "/modules/%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	/* ENODEV: a faster variant of something, for a processor that this is not. */
	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST && errno != ENODEV))
		die(path);
	close(fd);
}

static void disk_mount(const char *disk, const char *where, const char *type, unsigned long flags)
{
	/* The driver probes in the background. */
	for (int waited_ms = 0; access(disk, F_OK) < 0; waited_ms += 5) {
		if (waited_ms > DISK_WAIT_MS)
			die(disk);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	if (mount(disk, where, type, flags, NULL) < 0)
		die(disk);
}

static int not_hidden(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	if (mount("dev", "/dev", "devtmpfs", MS_NOSUID, "mode=755") < 0)
		die("mounting /dev");
	struct dirent **names;
	int n = scandir("/modules", &names, not_hidden, alphasort);
	if (n < 0)
		die("/modules");
	for (int i = 0; i < n; i++)
		module_load(names[i]->d_name);

	/* `tree` on the kernel's command line says that there is a second disk to wait for. */
	disk_mount("/dev/vda", "/root", "ext4", 0);
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "tree"))
			disk_mount("/dev/vdb", "/root/knarr", "erofs", MS_RDONLY);
	if (mount("/dev", "/root/dev", NULL, MS_MOVE, NULL) < 0 || chdir("/root") < 0 ||
	    mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		die("entering the root file system");
	execl("/sbin/init", "/sbin/init", (char *)NULL);
	die("/sbin/init");
}
