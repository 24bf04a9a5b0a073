/* The root of a container as one descriptor. See files.h.
 *
 * Stopped: a thread of its own gets a private mount namespace, builds there what a start would build (the snapshot, the mounts
 * beneath), and takes a copy of that tree which hangs nowhere (open_tree with OPEN_TREE_CLONE). The namespace ends with the
 * thread, the copy with its descriptor: no mount is ever seen by anybody else, and a crash leaves none. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container/files_private.h"
#include "sys/sys.h"

int container_files_running(pid_t pid, int pidfd, struct err *err)
{
	char path[40];
	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	auto_fd int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int num = errno;
	/* While the pidfd says that the process lives, the number is its own: what was opened before is its root. */
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	if (poll(&p, 1, 0) != 0)
		return err_set(err, ERR_GONE, "the container's process %d has ended", (int)pid);
	return fd < 0 ? err_sys_num(err, num, "open the root of process %d", (int)pid) : take_fd(&fd);
}

struct view {
	struct snapshot_store *store;
	const char *key, *scratch, *cwd;
	const struct container_files_mount *mounts;
	size_t n;
	int fd; /* the answer, or -class */
	struct err *err;
};

static int mount_beneath(int root, const struct container_files_mount *m, struct err *err)
{
	struct stat st;
	auto_fd int tree = sys_mount_tree_open(AT_FDCWD, m->source, true, false);
	if (tree < 0 || fstat(tree, &st) < 0)
		return err_sys(err, "error while mounting volume '%s'", m->source);
	auto_fd int place = sys_path_target(root, m->target, S_ISDIR(st.st_mode), false);
	if (place < 0)
		return err_sys(err, "make the mount point %s", m->target);
	if (m->read_only && sys_mount_attr_set(tree, true, MOUNT_ATTR_RDONLY, 0, 0, -1) < 0)
		return err_sys(err, "make %s read-only", m->target);
	if (sys_mount_attach(tree, place) < 0)
		return err_sys(err, "mount %s on %s", m->source, m->target);
	return 0;
}

static int view_build(const struct view *v)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(v->err, "make a mount namespace");
	int rc = snapshot_mount(v->store, v->key, v->scratch, false, v->err);
	if (rc < 0)
		return rc;
	auto_fd int root = open(v->scratch, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(v->err, "open %s", v->scratch);
	if (v->cwd) {
		auto_fd int made = sys_path_mkdirs(root, v->cwd, 0755);
		(void)made; /* where it cannot be, the start says so */
	}
	for (size_t i = 0; i < v->n; i++)
		if ((rc = mount_beneath(root, &v->mounts[i], v->err)) < 0)
			return rc;
	int tree = sys_mount_tree_open(AT_FDCWD, v->scratch, true, true);
	return tree < 0 ? err_sys(v->err, "take the container's mount tree") : tree;
}

static void *view_thread(void *arg)
{
	struct view *v = arg;
	v->fd = view_build(v);
	return NULL;
}

int container_files_stopped(struct snapshot_store *s, const char *key, const char *scratch, const char *cwd,
	const struct container_files_mount *mounts, size_t n, struct err *err)
{
	struct view v = { .store = s, .key = key, .scratch = scratch, .cwd = cwd, .mounts = mounts, .n = n, .err = err };
	pthread_t thread;
	int num = pthread_create(&thread, NULL, view_thread, &v);
	if (num)
		return err_sys_num(err, num, "start a thread");
	pthread_join(thread, NULL);
	return v.fd;
}
