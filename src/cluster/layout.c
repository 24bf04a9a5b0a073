/* Where everything of a cluster lies. See cluster.h. */
#include "cluster/private.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "tls/tls.h"

#define DEFAULT_DIR "/var/lib/knarr"
#define RUN_MAX 60	 /* networks and containers put up to 48 bytes behind it, sockets hold 107 */
#define DATA_MAX 2048

/* Absolute, without "//", "/./", "/../" and a slash at the end. The text is the cluster's identity, so links stay as they are. */
static int clean(struct arena *a, struct span dir, struct span *out, struct err *err)
{
	auto_buf struct buf whole = {}, b = {};
	struct span rest, part;
	if (!dir.len || dir.ptr[0] != '/') {
		char cwd[4096];
		if (!getcwd(cwd, sizeof(cwd)))
			return err_sys(err, "working folder");
		buf_printf(&whole, "%s/", cwd);
	}
	buf_span_add(&whole, dir);
	rest = buf_span(&whole);
	while (span_cut(&rest, '/', &part)) {
		if (!part.len || span_is(part, "."))
			continue;
		if (span_is(part, "..")) {
			ptrdiff_t at = span_rchr(buf_span(&b), '/');
			if (at >= 0)
				buf_trunc(&b, (size_t)at);
			continue;
		}
		buf_printf(&b, "/%.*s", SPAN_ARG(part));
	}
	if (!b.len)
		return err_set(err, ERR_USAGE, "--data-dir: the root folder is no place for a cluster");
	if (b.len > DATA_MAX)
		return err_set(err, ERR_USAGE, "--data-dir: more than %d bytes", DATA_MAX);
	*out = arena_span(a, buf_span(&b));
	return 0;
}

static struct span program(struct arena *a)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	return n > 0 ? arena_span(a, span_make(self, (size_t)n)) : SPAN("/proc/self/exe");
}

int cluster_layout_init(struct cluster_layout *l, struct span dir, struct err *err)
{
	const char *told = getenv("KNARR_DATA_DIR");
	struct arena *a = &l->arena;
	uint8_t hash[32];
	*l = (struct cluster_layout){};
	if (!dir.len)
		dir = told && *told ? span_of(told) : SPAN(DEFAULT_DIR);
	int rc = clean(a, dir, &l->data, err);
	if (rc < 0)
		return rc;
	l->is_default = span_is(l->data, DEFAULT_DIR);
	auto_buf struct buf hex = {};
	tls_sha256(l->data, hash);
	hex_add(&hex, hash, 4);
	memcpy(l->id, l->is_default ? "0" : buf_cstr(&hex), l->is_default ? 2 : 9);
	l->run = l->is_default ? SPAN("/run/knarr") : arena_printf(a, "%s/run", l->data.ptr);
	if (l->run.len > RUN_MAX)
		l->run = arena_printf(a, "/run/knarr/%s", l->id);
	l->pki = arena_printf(a, "%s/pki", l->data.ptr);
	l->log = arena_printf(a, "%s/log", l->data.ptr);
	l->cluster = arena_printf(a, "%s/cluster.json", l->data.ptr);
	l->config = l->is_default ? SPAN("/etc/knarr/config.yaml") : arena_printf(a, "%s/config.yaml", l->data.ptr);
	l->admin = l->is_default ? SPAN("/etc/knarr/admin.kubeconfig") : arena_printf(a, "%s/admin.kubeconfig", l->data.ptr);
	l->state = arena_printf(a, "%s/state.json", l->run.ptr);
	l->lock = arena_printf(a, "%s/server.lock", l->run.ptr);
	l->pin = arena_printf(a, "%s/net", l->run.ptr);
	l->docker_sock = arena_printf(a, "%s/docker.sock", l->run.ptr);
	l->api_sock = arena_printf(a, "%s/api.sock", l->run.ptr);
	l->cri_sock = arena_printf(a, "%s/cri.sock", l->run.ptr);
	l->program = program(a);
	return 0;
}

void cluster_layout_done(struct cluster_layout *l)
{
	arena_done(&l->arena);
}

const char *cluster_layout_path(const struct cluster_layout *l, struct arena *a, const char *name)
{
	return arena_printf(a, "%s/%s", l->data.ptr, name).ptr;
}

bool cluster_layout_systemd(const struct cluster_layout *l)
{
	static const char *const places[] = { "/etc/systemd/system/knarr.service", "/usr/local/lib/systemd/system/knarr.service",
					      "/usr/lib/systemd/system/knarr.service" };
	if (!l->is_default || access("/run/systemd/system", F_OK) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (access(places[i], F_OK) == 0)
			return true;
	return false;
}

static const char *const further[] = { "manifests", "cni/net.d", "cni/bin" };

/* Parts that gave up root pass through D and RUN, and see nothing of what is in them. */
static int folder(const char *path, mode_t mode, struct err *err)
{
	int rc = io_mkdirs(AT_FDCWD, path, mode, err);
	return rc < 0 || chmod(path, mode) == 0 ? rc : err_sys(err, "%s", path);
}

/* The plugin of the pod network is knarr-run by another name; it stands beside us, or in libexec when installed. */
int cluster_layout_plugin(const struct cluster_layout *l, struct err *err)
{
	static const char *const places[] = { "knarr-run", "../libexec/knarr/knarr-run" };
	auto_buf struct buf link = {};
	struct span dir = span_sub(l->program, 0, (size_t)MAX(span_rchr(l->program, '/'), (ptrdiff_t)0));
	buf_printf(&link, "%s/cni/bin/knarr-cni", l->data.ptr);
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		auto_buf struct buf path = {};
		char there[4096];
		buf_printf(&path, "%.*s/%s", SPAN_ARG(dir), places[i]);
		if (access(buf_cstr(&path), X_OK) < 0)
			continue;
		ssize_t n = readlink(buf_cstr(&link), there, sizeof(there));
		if (n > 0 && span_eq(span_make(there, (size_t)n), buf_span(&path)))
			return 0;
		(void)unlink(buf_cstr(&link));
		return symlink(buf_cstr(&path), buf_cstr(&link)) < 0 ? err_sys(err, "%s", buf_cstr(&link)) : 0;
	}
	return err_set(err, ERR_NOT_FOUND, "knarr-run is neither beside %s nor in ../libexec/knarr", l->program.ptr);
}

/* A folder that somebody else made beforehand may hold an authority whose key he has. Root's own is fine, and that of the person
 * who called sudo; D may be a link. */
static int owned(const char *path, struct err *err)
{
	const char *told = getenv("SUDO_UID");
	int64_t caller = -1;
	struct stat st;
	if (stat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "%s", path);
	if (told && !span_to_i64(span_of(told), &caller))
		caller = -1;
	if (st.st_uid == geteuid() || st.st_uid == 0 || (geteuid() == 0 && (int64_t)st.st_uid == caller))
		return 0;
	return err_set(err, ERR_FORBIDDEN, "%s belongs to user %u: what lies in it may be somebody else's. If it is yours, give it to "
		       "root (chown root %s), else name another folder with --data-dir", path, st.st_uid, path);
}

int cluster_layout_make(const struct cluster_layout *l, struct err *err)
{
	auto_buf struct buf link = {};
	char there[4096];
	int rc = owned(l->data.ptr, err);
	if (rc == 0)
		rc = owned(l->pki.ptr, err);
	if (rc == 0)
		rc = folder(l->data.ptr, 0711, err);
	if (rc == 0)
		rc = folder(l->run.ptr, 0711, err);
	if (rc == 0)
		rc = folder(l->pki.ptr, 0755, err); /* the API server watches it; keys are closed by themselves */
	if (rc == 0)
		rc = folder(l->log.ptr, 0700, err);
	for (size_t i = 0; i < ARRAY_LEN(further) && rc == 0; i++) {
		auto_buf struct buf path = {};
		buf_printf(&path, "%s/%s", l->data.ptr, further[i]);
		rc = io_mkdirs(AT_FDCWD, buf_cstr(&path), 0755, err);
	}
	if (rc == 0 && l->is_default)
		rc = io_mkdirs(AT_FDCWD, "/etc/knarr", 0755, err);
	buf_printf(&link, "%s/run", l->data.ptr);
	if (rc < 0 || l->is_default || span_eq(l->run, buf_span(&link)))
		return rc;
	ssize_t n = readlink(buf_cstr(&link), there, sizeof(there));
	if (n > 0 && span_eq(span_make(there, (size_t)n), l->run))
		return 0;
	return symlink(l->run.ptr, buf_cstr(&link)) < 0 ? err_sys(err, "linking %s to %s", buf_cstr(&link), l->run.ptr) : 0;
}
