#include "apiserver/privileges.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTEN_FIRST_FD 3
#define LISTEN_MAX 16

/* ---- who */

struct who {
	uid_t uid;
	gid_t gid;
	char *name; /* owned; NULL: numbers were given, there are no further groups */
};

static int who_find(struct span user, struct who *out, struct err *err)
{
	struct span uid_text, gid_text;
	uint64_t uid, gid;
	bool has_gid = span_split(user, ':', &uid_text, &gid_text);
	if (span_to_u64(uid_text, &uid) && uid < UINT32_MAX) {
		gid = uid;
		if (has_gid && (!span_to_u64(gid_text, &gid) || gid >= UINT32_MAX))
			return err_set(err, ERR_USAGE, "--user %.*s: a group's number is expected behind the colon",
				       SPAN_ARG(user));
		*out = (struct who){ .uid = (uid_t)uid, .gid = (gid_t)gid };
		return 0;
	}
	auto_free char *name = mem_dup(user.ptr, user.len);
	auto_free char *space = mem_alloc(16384);
	struct passwd pw, *found = NULL;
	int e = getpwnam_r(name, &pw, space, 16384, &found);
	if (e)
		return err_sys_num(err, e, "--user %s", name);
	if (!found)
		return err_set(err, ERR_USAGE, "--user %s: there is no such user", name);
	*out = (struct who){ .uid = pw.pw_uid, .gid = pw.pw_gid, .name = take(&name) };
	return 0;
}

/* A folder of ours and the plain files in it; what has several names is left alone, so that a link planted there gives
 * nothing away. */
static int folder_give(const char *path, const struct who *w, struct err *err)
{
	auto_fd int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? 0 : err_sys(err, "%s", path);
	if (fchown(dir, w->uid, w->gid) < 0)
		return err_sys(err, "giving %s to user %u", path, w->uid);
	int copy = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d)
		return err_sys(err, "reading %s", path);
	int rc = 0;
	struct dirent *e;
	while (rc == 0 && (e = readdir(d))) {
		struct stat st;
		auto_fd int fd = openat(dir, e->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1)
			continue;
		if (fchownat(fd, "", w->uid, w->gid, AT_EMPTY_PATH) < 0)
			rc = err_sys(err, "giving %s/%s to user %u", path, e->d_name, w->uid);
	}
	closedir(d);
	return rc;
}

int privileges_drop(struct span user, const char *const *folders, struct err *err)
{
	struct who w = {};
	int rc = who_find(user, &w, err);
	if (rc < 0)
		return rc;
	auto_free char *name = w.name;
	if (geteuid() != 0 && (geteuid() != w.uid || getuid() != w.uid))
		return err_set(err, ERR_FORBIDDEN, "--user %.*s: only root can become another user", SPAN_ARG(user));
	/* A supervisor's death signal is lost with the change of user (PR_SET_PDEATHSIG(2const)): it is asked for again below. */
	int death = 0;
	pid_t parent = getppid();
	(void)prctl(PR_GET_PDEATHSIG, &death, 0, 0, 0);
	if (geteuid() == 0) {
		for (; folders && *folders; folders++) {
			rc = folder_give(*folders, &w, err);
			if (rc < 0)
				return rc;
		}
		if (name ? initgroups(name, w.gid) < 0 : setgroups(0, NULL) < 0)
			return err_sys(err, "--user %.*s: groups", SPAN_ARG(user));
		if (setresgid(w.gid, w.gid, w.gid) < 0 || setresuid(w.uid, w.uid, w.uid) < 0)
			return err_sys(err, "--user %.*s", SPAN_ARG(user));
		/* There must be no way back, or all this was for nothing. */
		if (w.uid != 0 && setresuid(0, 0, 0) == 0)
			return err_set(err, ERR_INTERNAL, "--user %.*s: root could be had again", SPAN_ARG(user));
	}
	if (death && (prctl(PR_SET_PDEATHSIG, death, 0, 0, 0) < 0 || getppid() != parent))
		return err_set(err, ERR_CANCELLED, "who started us has ended");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "no_new_privs");
	return 0;
}

/* ---- descriptors */

static int socket_take(int fd, struct apiserver_options *o, struct err *err)
{
	int listens = 0, domain = 0;
	socklen_t len = sizeof(listens);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || !listens)
		return err_set(err, ERR_USAGE, "LISTEN_FDS: descriptor %d is no listening socket", fd);
	len = sizeof(domain);
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return err_sys(err, "LISTEN_FDS: descriptor %d", fd);
	if (domain != AF_UNIX && domain != AF_INET && domain != AF_INET6)
		return err_set(err, ERR_USAGE, "LISTEN_FDS: descriptor %d is neither a TCP nor a unix socket", fd);
	int *place = domain == AF_UNIX ? &o->unix_fd : &o->https_fd;
	if (*place >= 0 && domain == AF_UNIX)
		return err_set(err, ERR_USAGE, "LISTEN_FDS: more than one unix socket");
	if (*place >= 0) {
		if (o->n_more_https == APISERVER_MORE_MAX)
			return err_set(err, ERR_USAGE, "LISTEN_FDS: more than %d TCP sockets", APISERVER_MORE_MAX + 1);
		place = &o->more_https[o->n_more_https++];
	}
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return err_sys(err, "LISTEN_FDS: descriptor %d", fd);
	*place = fd;
	return 0;
}

int privileges_sockets(struct apiserver_options *o, struct err *err)
{
	int64_t pid, n;
	const char *pid_text = getenv("LISTEN_PID"), *n_text = getenv("LISTEN_FDS");
	bool ours = pid_text && n_text && span_to_i64(span_of(pid_text), &pid) && pid == getpid();
	bool counted = n_text && span_to_i64(span_of(n_text), &n) && n >= 0 && n <= LISTEN_MAX;
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (!ours)
		return 0;
	if (!counted)
		return err_set(err, ERR_USAGE, "LISTEN_FDS: a number up to %d is expected", LISTEN_MAX);
	for (int i = 0; i < (int)n; i++) {
		int rc = socket_take(LISTEN_FIRST_FD + i, o, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}
