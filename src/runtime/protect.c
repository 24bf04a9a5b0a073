/* Nothing inside a container may ever write to our program file (CVE-2019-5736).
 *
 * The attack: make the runtime execute itself inside the container ("#!/proc/self/exe"), hold its /proc/PID/exe open, wait
 * until it is no longer executed, then write. So the file that runs must be one that cannot be opened for writing by anybody:
 * a file on a read-only mount. The mount is a copy of the one our file is on, made for this process alone, attached nowhere,
 * so nobody can remount it; the flag stays with the open file as long as it lives.
 *
 * Skipped when the file is on a read-only mount already (this has been here before, or an installation bound it so), or is a
 * sealed memory file; the engine's spawner pays it once, because its children are clones. Without open_tree and mount_setattr
 * (before 5.12, or not root) a memory file with all seals does the same for more time. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/plan.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

extern char **environ;

static bool is_read_only(void)
{
	struct statvfs fs;
	return statvfs("/proc/self/exe", &fs) == 0 && (fs.f_flag & ST_RDONLY);
}

static bool is_sealed(int self)
{
	int seals = fcntl(self, F_GET_SEALS);
	return seals >= 0 && (seals & SEALS) == SEALS;
}

static int mount_copy(void)
{
	auto_fd int tree = sys_mount_tree_open(AT_FDCWD, "/proc/self/exe", false, false);
	struct statvfs fs;
	if (tree < 0 || sys_mount_attr_set(tree, false, MOUNT_ATTR_RDONLY, 0, 0, -1) < 0)
		return -1;
	/* What the copy will find is asked before it runs: it would make a copy of itself for ever. */
	if (fstatvfs(tree, &fs) < 0 || !(fs.f_flag & ST_RDONLY))
		return -1;
	return take_fd(&tree);
}

static int memory_copy(int self, struct err *err)
{
	struct stat st;
	auto_fd int copy = memfd_create("knarr-run", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copy < 0 || fstat(self, &st) < 0)
		return err_sys(err, "copy the program to memory");
	for (off_t at = 0; at < st.st_size;) {
		ssize_t n = sendfile(copy, self, &at, (size_t)(st.st_size - at));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(err, "copy the program to memory");
	}
	if (fchmod(copy, 0500) < 0 || fcntl(copy, F_ADD_SEALS, SEALS) < 0)
		return err_sys(err, "seal the copy of the program");
	if (!is_sealed(copy))
		return err_set(err, ERR_INTERNAL, "the copy of the program is not sealed");
	return take_fd(&copy);
}

int runtime_self_protect(char **argv, struct err *err)
{
	if (is_read_only())
		return 0;
	auto_fd int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (self < 0)
		return err_sys(err, "open /proc/self/exe");
	if (is_sealed(self))
		return 0;
	auto_fd int copy = mount_copy();
	if (copy < 0)
		copy = memory_copy(self, err);
	if (copy < 0)
		return copy;
	syscall(SYS_execveat, copy, "", argv, environ, AT_EMPTY_PATH);
	return err_sys(err, "execute the protected copy of the program");
}
