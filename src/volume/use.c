/* Volumes mounted: devices of volumes with options, and parts of volumes.
 *
 * What is mounted, the kernel's mount table says (STATX_ATTR_MOUNT_ROOT); mounts/ID only says for whom. The marks need no sync:
 * they and the mounts end together when the machine does. */
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netdb.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/snapshot.h"
#include "sys/sys.h"
#include "volume/private.h"

/* ---- bind sources ---- */

int volume_bind_check(const struct volume_mount *m, struct err *err)
{
	struct stat st;
	if (m->kind != VOLUME_BIND || !m->from_mounts || m->create_source)
		return 0;
	auto_free char *path = mem_dup(m->source.ptr, m->source.len);
	if (stat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR))
		return 0; /* what else is wrong with it, the mount will say */
	return volume_config_error(SPAN("bind"), err, "bind source path does not exist: %s", path);
}

int volume_bind_make(const struct volume_mount *m, struct err *err)
{
	struct stat st;
	if (m->kind != VOLUME_BIND || (m->from_mounts && !m->create_source))
		return 0;
	auto_free char *path = mem_dup(m->source.ptr, m->source.len);
	if (stat(path, &st) == 0)
		return 0;
	int rc = io_mkdirs(AT_FDCWD, path, 0755, err);
	return rc < 0 ? err_note(err, "error while creating mount source path '%s'", path) : 0;
}

/* ---- what is mounted ---- */

/* Asks the kernel alone: a server that has gone away would not answer. */
static bool is_mount_point(int at, const char *name)
{
	struct statx x;
	return statx(at, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, 0, &x) == 0 &&
	       (x.stx_attributes_mask & x.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

bool volume_is_mounted(int folder)
{
	return is_mount_point(folder, "_data");
}

/* Counts the marks; remove: takes all away. */
static size_t marks(int folder, bool remove)
{
	size_t n = 0;
	int fd = openat(folder, "mounts", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return 0;
	}
	struct dirent *e;
	while ((e = readdir(d)))
		if (volume_id_ok(span_of(e->d_name)) && (!remove || unlinkat(fd, e->d_name, 0) < 0))
			n++;
	closedir(d);
	return n;
}

void volume_subs_clear(int folder, struct span id)
{
	int fd = openat(folder, "sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return;
	}
	struct dirent *e;
	while ((e = readdir(d))) {
		struct span owner = span_of(e->d_name);
		ptrdiff_t dot = span_rchr(owner, '.');
		owner = dot < 0 ? owner : span_sub(owner, 0, (size_t)dot);
		bool mounted = is_mount_point(fd, e->d_name);
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || (id.len ? !span_eq(owner, id) : mounted))
			continue;
		if (mounted) {
			char path[NAME_MAX + 40];
			snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", fd, e->d_name);
			if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
				continue;
		}
		if (unlinkat(fd, e->d_name, AT_REMOVEDIR) < 0)
			(void)unlinkat(fd, e->d_name, 0); /* an empty place that stays does no harm */
	}
	closedir(d);
}

int volume_marks_clear(int folder, const char *dir, struct err *err)
{
	volume_subs_clear(folder, SPAN_EMPTY);
	if (!volume_is_mounted(folder) && marks(folder, true) > 0)
		return err_set(err, ERR_IO, "%s: the marks of who has it mounted cannot be removed", dir);
	return 0;
}

/* ---- devices: options type, device and o ---- */

struct device {
	struct span type, device;
	unsigned long flags, propagation;
	struct buf data; /* what belongs to the file system */
};

/* NFS takes its server's address as a number; people write its name (as the local driver does: addr=NAME). */
static int address_add(struct buf *data, struct span host, struct err *err)
{
	unsigned char raw[16];
	auto_free char *name = mem_dup(host.ptr, host.len);
	if (inet_pton(AF_INET, name, raw) == 1 || inet_pton(AF_INET6, name, raw) == 1) {
		buf_printf(data, "addr=%s", name);
		return 0;
	}
	struct addrinfo *list = NULL, hint = { .ai_socktype = SOCK_STREAM };
	char text[64];
	int rc = getaddrinfo(name, NULL, &hint, &list);
	if (rc)
		return err_set(err, ERR_UPSTREAM, "error resolving passed in network volume address: lookup %s: %s", name,
			gai_strerror(rc));
	/* Go's resolver, and with it dockerd, takes an address of version 4 where there is one: "localhost" is 127.0.0.1. */
	const struct addrinfo *one = list;
	while (one && one->ai_family != AF_INET)
		one = one->ai_next;
	one = one ? one : list;
	rc = getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST);
	freeaddrinfo(list);
	if (rc)
		return err_set(err, ERR_UPSTREAM, "error resolving passed in network volume address: %s", gai_strerror(rc));
	buf_printf(data, "addr=%s", text);
	return 0;
}

static int device_parse(const struct json *options, struct device *out, struct err *err)
{
	struct span o = json_span(json_getl(options, "o")), word;
	out->type = json_span(json_getl(options, "type"));
	out->device = json_span(json_getl(options, "device"));
	while (span_cut(&o, ',', &word)) {
		struct sys_mount_opts opts = {};
		if (!word.len)
			continue;
		if (sys_mount_option(&opts, word) && !opts.idmap && !opts.copy_up && !opts.rec_set && !opts.rec_clear) {
			out->flags = (out->flags & ~opts.clear) | opts.set;
			if (opts.propagation)
				out->propagation = opts.propagation;
			continue;
		}
		if (out->data.len)
			buf_chr(&out->data, ',');
		bool nfs = span_starts(out->type, SPAN("nfs")) && span_starts(word, SPAN("addr="));
		if (!nfs)
			buf_span_add(&out->data, word);
		else if (address_add(&out->data, span_from(word, 5), err) < 0)
			return -ERR_UPSTREAM;
	}
	return 0;
}

/* dockerd's words, Go's small letter of the cause included; whatever the cause, it is not the caller's request that is wrong. */
static int device_error(const struct device *d, const char *path, struct err *err)
{
	const char *why = err_why(errno);
	auto_buf struct buf words = {};
	buf_printf(&words, "error while mounting volume '%s': failed to mount local volume: mount %.*s:%s", path,
		SPAN_ARG(d->device), path);
	if (d->flags)
		buf_printf(&words, ", flags: 0x%lx", d->flags);
	if (d->data.len)
		buf_printf(&words, ", data: %s", buf_cstr(&d->data));
	return err_set(err, ERR_IO, "%s: %c%s", buf_cstr(&words), tolower((unsigned char)why[0]), why + 1);
}

static int device_mount(const struct volume *v, int folder, const char *dir, struct err *err)
{
	struct device d = {};
	char target[40];
	auto_buf struct buf path = {};
	buf_printf(&path, "%s/%s/_data", dir, v->name);
	int rc = device_parse(&v->options, &d, err);
	auto_free char *type = mem_dup(d.type.ptr, d.type.len), *device = mem_dup(d.device.ptr, d.device.len);
	auto_fd int data = openat(folder, "_data", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	snprintf(target, sizeof(target), "/proc/self/fd/%d", data);
	unsigned long later = d.flags & MS_BIND ? d.flags & ~(unsigned long)(MS_BIND | MS_REC) : 0;
	if (rc == 0 && data < 0)
		rc = err_sys(err, "open %s", buf_cstr(&path));
	if (rc == 0 && mount(device, target, type, d.flags & ~later, d.data.len ? buf_cstr(&d.data) : NULL) < 0)
		rc = device_error(&d, buf_cstr(&path), err);
	/* A bind takes its flags in a second step, and propagation in a third (mount(2)). The descriptor shows what lies
	 * beneath; the name shows the mount. */
	if (rc == 0 && ((later && mount(NULL, buf_cstr(&path), NULL, MS_BIND | MS_REMOUNT | later, NULL) < 0) ||
			       (d.propagation && mount(NULL, buf_cstr(&path), NULL, d.propagation, NULL) < 0))) {
		rc = device_error(&d, buf_cstr(&path), err);
		(void)umount2(buf_cstr(&path), MNT_DETACH | UMOUNT_NOFOLLOW); /* the first error counts */
	}
	buf_done(&d.data);
	return rc;
}

static int mark(int folder, struct span id, struct err *err)
{
	char path[160];
	if (mkdirat(folder, "mounts", 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make folder mounts");
	snprintf(path, sizeof(path), "mounts/%.*s", SPAN_ARG(id));
	auto_fd int fd = openat(folder, path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? err_sys(err, "create %s", path) : 0;
}

/* ---- parts ---- */

/* The part, resolved beneath the volume's contents, on a place of its own that nobody but us can change. */
static int sub_mount(int folder, struct span id, struct span subpath, char name[160], struct err *err)
{
	auto_free char *rel = mem_dup(subpath.ptr, subpath.len);
	auto_fd int data = openat(folder, "_data", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	auto_fd int part = data < 0 ? -1 : sys_openat2(data, rel, O_PATH | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	struct stat st;
	if (part < 0 || fstat(part, &st) < 0)
		return errno == EXDEV ? err_set(err, ERR_INVALID_REQUEST, "path %s escapes the volume", rel)
				      : err_sys(err, "cannot access path %s", rel);
	if (mkdirat(folder, "sub", 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make folder sub");
	for (unsigned i = 0;; i++) {
		snprintf(name, 160, "sub/%.*s.%u", SPAN_ARG(id), i);
		int rc = S_ISDIR(st.st_mode) ? mkdirat(folder, name, 0700) : mknodat(folder, name, S_IFREG | 0600, 0);
		if (rc == 0)
			break;
		if (errno != EEXIST)
			return err_sys(err, "make %s", name);
	}
	auto_fd int tree = sys_mount_tree_open(part, "", true, false), place = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (tree < 0 || place < 0 || sys_mount_attach(tree, place) < 0)
		return err_sys(err, "mount %s", rel);
	return 0;
}

int volume_mount(struct volume_store *s, struct span name, const struct volume_mount *m, struct span id, struct arena *a,
	struct span *out_path, struct err *err)
{
	if (!volume_id_ok(id))
		return err_set(err, ERR_INVALID, "\"%.*s\" is no container id", SPAN_ARG(id));
	struct volume *v = volume_pin(s, name, err);
	if (!v)
		return -ERR_NOT_FOUND;
	int rc = 0;
	char part[160] = "_data";
	pthread_mutex_lock(&v->work);
	auto_fd int folder = openat(s->dirfd, v->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (folder < 0)
		rc = err_sys(err, "open volume %s", v->name);
	else if (v->broken)
		rc = err_set(err, ERR_CORRUPT, "volume %s: its volume.json is damaged", v->name);
	if (rc == 0 && volume_has_device(v) && !volume_is_mounted(folder))
		rc = device_mount(v, folder, s->dir, err);
	if (rc == 0 && volume_has_device(v))
		rc = mark(folder, id, err);
	if (rc == 0 && m->subpath.len)
		rc = sub_mount(folder, id, m->subpath, part, err);
	pthread_mutex_unlock(&v->work);
	if (rc == 0)
		*out_path = arena_printf(a, "%s/%s/%s", s->dir, v->name, part);
	volume_unpin(s, v);
	if (rc < 0)
		(void)volume_unmount(s, name, id, NULL); /* the first error counts */
	return rc;
}

int volume_unmount(struct volume_store *s, struct span name, struct span id, struct err *err)
{
	struct volume *v = volume_pin(s, name, err);
	if (!v)
		return -ERR_NOT_FOUND;
	int rc = 0;
	pthread_mutex_lock(&v->work);
	auto_fd int folder = openat(s->dirfd, v->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (folder >= 0 && volume_id_ok(id)) {
		char path[160];
		volume_subs_clear(folder, id);
		snprintf(path, sizeof(path), "mounts/%.*s", SPAN_ARG(id));
		bool had = unlinkat(folder, path, 0) == 0;
		if (had && volume_is_mounted(folder) && marks(folder, false) == 0) {
			auto_buf struct buf data = {};
			buf_printf(&data, "%s/%s/_data", s->dir, v->name);
			/* A process outside of any container may stand in it: the mount then ends when that one leaves. */
			if (umount2(buf_cstr(&data), MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
				rc = err_sys(err, "unmount volume %s", v->name);
		}
	}
	pthread_mutex_unlock(&v->work);
	volume_unpin(s, v);
	return rc;
}

int volume_usage(struct volume_store *s, struct span name, uint64_t *out_bytes, struct err *err)
{
	struct volume *v = volume_pin(s, name, err);
	if (!v)
		return -ERR_NOT_FOUND;
	uint64_t entries, bytes = 0;
	char path[VOLUME_NAME_MAX + 8];
	snprintf(path, sizeof(path), "%s/_data", v->name);
	int rc = 0;
	if (!volume_has_device(v)) {
		auto_fd int data = openat(s->dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		rc = data < 0 ? err_sys(err, "open volume %s", v->name) : snapshot_tree_count(data, &entries, &bytes, err);
	}
	volume_unpin(s, v);
	if (rc == 0)
		*out_bytes = bytes;
	return rc;
}
