/* The volumes that there are.
 *
 *     made:     .new-X/{volume.json,_data,users/[ID]} ── sync ── rename to NAME ── sync of DIR
 *     removed:  NAME ── rename to .old-X ── sync of DIR ── tree removal
 *
 * Names begin with a letter or digit, so what begins with '.' is ours; what a crash left of it goes at the next open. A folder
 * NAME/_data without volume.json was put there by hand (as people do with dockerd's): a volume without options. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/snapshot.h"
#include "volume/private.h"

enum { FACTS_MAX = 4 << 20 };

bool volume_id_ok(struct span id)
{
	bool ok = id.len >= 1 && id.len <= 128 && id.ptr[0] != '.';
	for (size_t i = 0; ok && i < id.len; i++)
		ok = id.ptr[i] && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", id.ptr[i]);
	return ok;
}

/* ---- in memory ---- */

static void volume_free(struct volume *v)
{
	MAP_EACH(&v->users, e)
		free(e->value);
	map_done(&v->users);
	arena_done(&v->arena);
	pthread_mutex_destroy(&v->work);
	free(v);
}

static struct volume *volume_add(struct volume_store *s, struct span name)
{
	struct volume *v = mem_new(struct volume);
	memcpy(v->name, name.ptr, name.len);
	pthread_mutex_init(&v->work, NULL);
	map_put(&s->volumes, span_of(v->name), v);
	return v;
}

static void user_add(struct volume *v, struct span id)
{
	if (map_get(&v->users, id))
		return;
	char *text = mem_dup(id.ptr, id.len);
	map_put(&v->users, span_of(text), text);
}

static int missing(struct span name, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "get %.*s: no such volume", SPAN_ARG(name));
}

struct volume *volume_pin(struct volume_store *s, struct span name, struct err *err)
{
	pthread_mutex_lock(&s->mutex);
	struct volume *v = map_get(&s->volumes, name);
	if (v)
		v->pins++;
	pthread_mutex_unlock(&s->mutex);
	if (!v)
		(void)missing(name, err);
	return v;
}

void volume_unpin(struct volume_store *s, struct volume *v)
{
	pthread_mutex_lock(&s->mutex);
	v->pins--;
	pthread_mutex_unlock(&s->mutex);
}

static int span_order(const void *a, const void *b)
{
	return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

static void info(const struct volume_store *s, const struct volume *v, struct arena *a, struct volume_info *out)
{
	struct json *facts = arena_alloc_n(a, 2, sizeof(*facts));
	facts[0] = json_copy(a, &v->labels);
	facts[1] = json_copy(a, &v->options);
	*out = (struct volume_info){
		.name = arena_span(a, span_of(v->name)),
		.driver = SPAN("local"),
		.mountpoint = arena_printf(a, "%s/%s/_data", s->dir, v->name),
		.created = arena_span(a, v->created),
		.labels = &facts[0],
		.options = &facts[1],
		.anonymous = v->anonymous,
		.users = arena_alloc_n(a, v->users.n + 1, sizeof(struct span)),
	};
	MAP_EACH(&v->users, e)
		out->users[out->n_users++] = arena_span(a, e->key);
	if (out->n_users)
		qsort(out->users, out->n_users, sizeof(*out->users), span_order);
}

struct json volume_document(const struct volume_info *v, int64_t usage_bytes, struct arena *a)
{
	struct json o = json_object();
	json_add(a, &o, SPAN("CreatedAt"), json_str(v->created));
	json_add(a, &o, SPAN("Driver"), json_str(v->driver));
	json_add(a, &o, SPAN("Labels"), *v->labels);
	json_add(a, &o, SPAN("Mountpoint"), json_str(v->mountpoint));
	json_add(a, &o, SPAN("Name"), json_str(v->name));
	json_add(a, &o, SPAN("Options"), *v->options);
	json_add(a, &o, SPAN("Scope"), json_cstr("local"));
	if (usage_bytes >= 0) {
		struct json u = json_object();
		json_add(a, &u, SPAN("RefCount"), json_int((int64_t)v->n_users));
		json_add(a, &u, SPAN("Size"), json_int(usage_bytes));
		json_add(a, &o, SPAN("UsageData"), u);
	}
	return o;
}

/* ---- opening ---- */

static int facts_read(struct volume *v, int folder, struct err *err)
{
	auto_buf struct buf text = {};
	struct json doc;
	auto_err struct err why = ERR_INIT;
	int rc = io_read_file(folder, "volume.json", &text, FACTS_MAX, &why);
	if (rc == -ERR_NOT_FOUND) {
		struct stat st;
		char stamp[40];
		if (fstatat(folder, "_data", &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(err, "stat _data");
		v->created = arena_span(&v->arena, span_make(stamp, time_format(stamp, st.st_mtim.tv_sec, 0, 0)));
		return 0;
	}
	if (rc < 0)
		return err_move(err, &why);
	if (json_parse(&v->arena, buf_span(&text), 0, NULL, &doc, NULL) < 0 || json_i64(json_getl(&doc, "version"), 0) != 1) {
		v->broken = true;
		return 0;
	}
	const struct json *labels = json_getl(&doc, "labels"), *options = json_getl(&doc, "options");
	v->created = json_span(json_getl(&doc, "createdAt"));
	v->labels = json_is(labels, JSON_OBJECT) ? *labels : JSON_NULL_VALUE;
	v->options = json_is(options, JSON_OBJECT) ? *options : JSON_NULL_VALUE;
	v->anonymous = json_truth(json_getl(&doc, "anonymous"), false);
	return 0;
}

static int each_name(int dirfd, const char *folder, int (*fn)(void *arg, const char *name, struct err *err), void *arg,
	struct err *err)
{
	int fd = openat(dirfd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int missing_folder = errno == ENOENT;
		fd_close(&fd);
		return missing_folder ? 0 : err_sys(err, "read folder %s", folder);
	}
	int rc = 0;
	struct dirent *e;
	while (rc == 0 && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = fn(arg, e->d_name, err);
	closedir(d);
	return rc;
}

static int user_found(void *arg, const char *name, struct err *err)
{
	if (volume_id_ok(span_of(name)))
		user_add(arg, span_of(name));
	return 0;
}

static int volume_found(void *arg, const char *name, struct err *err)
{
	struct volume_store *s = arg;
	if (name[0] == '.')
		return snapshot_tree_remove(s->dirfd, name, err);
	struct statx st;
	char data[NAME_MAX + 8];
	snprintf(data, sizeof(data), "%s/_data", name);
	/* It may be mounted, from a server that has gone away: what the kernel knows of it is enough (decision 0861). */
	const int how = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
	if (volume_name_check(span_of(name), NULL) < 0 || statx(s->dirfd, data, how, STATX_TYPE, &st) < 0 || !S_ISDIR(st.stx_mode))
		return 0; /* not ours */
	auto_fd int folder = openat(s->dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (folder < 0)
		return err_sys(err, "open volume %s", name);
	struct volume *v = volume_add(s, span_of(name));
	int rc = facts_read(v, folder, err);
	if (rc == 0)
		rc = each_name(folder, "users", user_found, v, err);
	if (rc == 0)
		rc = volume_copy_finish(folder, err);
	if (rc == 0)
		rc = volume_marks_clear(folder, s->dir, err);
	return rc < 0 ? err_note(err, "volume %s", name) : 0;
}

static int store_open(struct volume_store *s, const char *dir, struct err *err)
{
	int rc = io_mkdirs(AT_FDCWD, dir, 0711, err);
	if (rc < 0)
		return rc;
	char *real = realpath(dir, NULL);
	if (!real)
		return err_sys(err, "find %s", dir);
	s->dir = real;
	s->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dirfd < 0)
		return err_sys(err, "open %s", dir);
	s->lock = openat(s->dirfd, ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock < 0)
		return err_sys(err, "open %s/.lock", dir);
	if (flock(s->lock, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? err_set(err, ERR_IN_USE, "%s: another process has these volumes open", dir)
					    : err_sys(err, "lock %s", dir);
	struct stat st, now;
	if (fstat(s->lock, &st) < 0 || fstatat(s->dirfd, ".lock", &now, 0) < 0 || st.st_ino != now.st_ino)
		return err_set(err, ERR_IN_USE, "%s: another process opens these volumes", dir);
	return 0;
}

static int not_lock(void *arg, const char *name, struct err *err)
{
	return strcmp(name, ".lock") != 0 ? volume_found(arg, name, err) : 0;
}

int volume_store_open(const char *dir, struct volume_store **out_store, struct err *err)
{
	struct volume_store *s = mem_new(struct volume_store);
	s->dirfd = s->lock = -1;
	pthread_mutex_init(&s->mutex, NULL);
	int rc = store_open(s, dir, err);
	if (rc == 0)
		rc = each_name(s->dirfd, ".", not_lock, s, err);
	if (rc < 0) {
		volume_store_close(s);
		return rc;
	}
	*out_store = s;
	return 0;
}

void volume_store_close(struct volume_store *s)
{
	if (!s)
		return;
	MAP_EACH(&s->volumes, e)
		volume_free(e->value);
	map_done(&s->volumes);
	fd_close(&s->lock);
	fd_close(&s->dirfd);
	free(s->dir);
	pthread_mutex_destroy(&s->mutex);
	free(s);
}

/* ---- creating ---- */

/* The options of Docker's local driver: type, device, o; all three or none but "o". */
static int options_check(const struct json *options, struct err *err)
{
	bool type = false, device = false;
	if (!json_is(options, JSON_OBJECT) || !options->n)
		return 0;
	JSON_EACH_MEMBER(options, m) {
		struct span v = json_span(&m->value);
		if (!json_is(&m->value, JSON_STRING) || memchr(v.ptr ? v.ptr : "", 0, v.len) || v.len > VOLUME_PATH_MAX)
			return err_set(err, ERR_INVALID_REQUEST, "invalid option: \"%.*s\"", SPAN_ARG(json_key(m)));
		if (span_is(json_key(m), "size"))
			return err_set(err, ERR_INVALID_REQUEST, "quota size requested but no quota support");
		type = type || (span_is(json_key(m), "type") && v.len);
		device = device || (span_is(json_key(m), "device") && v.len);
		if (!span_is(json_key(m), "type") && !span_is(json_key(m), "device") && !span_is(json_key(m), "o"))
			return err_set(err, ERR_INVALID_REQUEST, "invalid option: \"%.*s\"", SPAN_ARG(json_key(m)));
	}
	if (!device || !type)
		return err_set(err, ERR_INVALID_REQUEST, "missing required option: \"%s\"", device ? "type" : "device");
	return 0;
}

static int params_check(const struct volume_params *p, struct err *err)
{
	if (p->driver.len && !span_is(p->driver, "local"))
		return err_set(err, ERR_NOT_FOUND, "error looking up volume plugin %.*s: plugin \"%.*s\" not found", SPAN_ARG(p->driver),
			SPAN_ARG(p->driver));
	int rc = p->name.len ? volume_name_check(p->name, err) : 0;
	if (rc == 0)
		rc = options_check(p->options, err);
	JSON_EACH_MEMBER(p->labels, l)
		if (rc == 0 && !json_is(&l->value, JSON_STRING))
			rc = err_set(err, ERR_INVALID_REQUEST, "label \"%.*s\" is no string", SPAN_ARG(json_key(l)));
	return rc;
}

static void secret_hex(char *out, size_t n_bytes)
{
	uint8_t raw[32];
	auto_buf struct buf text = {};
	rng_secret(raw, n_bytes);
	hex_add(&text, raw, n_bytes);
	memcpy(out, text.ptr, text.len + 1);
}

static int folder_make(int at, const char *name, mode_t mode, struct err *err)
{
	if (mkdirat(at, name, 0700) < 0 || fchmodat(at, name, mode, 0) < 0)
		return err_sys(err, "make folder %s", name);
	return 0;
}

static int mark_make(int folder, const char *which, struct span id, bool durable, struct err *err)
{
	char path[160];
	if (mkdirat(folder, which, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make folder %s", which);
	snprintf(path, sizeof(path), "%s/%.*s", which, SPAN_ARG(id));
	auto_fd int fd = openat(folder, path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, "create %s", path);
	auto_fd int marks = openat(folder, which, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (durable && (marks < 0 || fsync(marks) < 0 || fsync(folder) < 0))
		return err_sys(err, "sync %s", which);
	return 0;
}

static int volume_fill(int folder, const struct volume *v, struct span id, struct err *err)
{
	auto_arena struct arena a = {};
	auto_buf struct buf text = {};
	struct json doc = json_object();
	json_add(&a, &doc, SPAN("version"), json_int(1));
	json_add(&a, &doc, SPAN("driver"), json_cstr("local"));
	json_add(&a, &doc, SPAN("createdAt"), json_str(v->created));
	json_add(&a, &doc, SPAN("anonymous"), json_bool(v->anonymous));
	json_add(&a, &doc, SPAN("labels"), v->labels);
	json_add(&a, &doc, SPAN("options"), v->options);
	json_write(&text, &doc, 0);
	int rc = folder_make(folder, "_data", 0755, err);
	if (rc == 0)
		rc = folder_make(folder, "users", 0700, err);
	if (rc == 0 && id.len)
		rc = mark_make(folder, "users", id, true, err);
	FAILPOINT("volume.create.filled");
	return rc < 0 ? rc : io_write_file(folder, "volume.json", buf_span(&text), 0600, err);
}

/* The store is locked. A volume that nobody sees becomes visible at once with its first user (id empty = none). */
static int volume_make(struct volume_store *s, const struct volume_params *p, struct span id, struct volume **out, struct err *err)
{
	char name[VOLUME_NAME_MAX + 1], tmp[24] = ".new-", stamp[40];
	if (p->name.len)
		snprintf(name, sizeof(name), "%.*s", SPAN_ARG(p->name));
	else
		secret_hex(name, 32);
	secret_hex(tmp + 5, 8);
	struct volume *v = volume_add(s, span_of(name));
	v->anonymous = !p->name.len;
	v->labels = json_is(p->labels, JSON_OBJECT) ? json_copy(&v->arena, p->labels) : JSON_NULL_VALUE;
	v->options = json_is(p->options, JSON_OBJECT) && p->options->n ? json_copy(&v->arena, p->options) : JSON_NULL_VALUE;
	v->created = arena_span(&v->arena, span_make(stamp, time_format(stamp, clock_wall_ns(clock_real()) / NS_PER_S, 0, 0)));
	if (v->anonymous) {
		if (v->labels.kind != JSON_OBJECT)
			v->labels = json_object();
		json_set(&v->arena, &v->labels, SPAN(VOLUME_ANONYMOUS_LABEL), json_cstr(""));
	}
	int rc = folder_make(s->dirfd, tmp, 0711, err);
	auto_fd int folder = rc < 0 ? -1 : openat(s->dirfd, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rc == 0 && folder < 0)
		rc = err_sys(err, "open %s", tmp);
	if (rc == 0)
		rc = volume_fill(folder, v, id, err);
	/* Not onto a folder that somebody put there meanwhile: RENAME_NOREPLACE. */
	if (rc == 0 && renameat2(s->dirfd, tmp, s->dirfd, v->name, RENAME_NOREPLACE) < 0)
		rc = err_sys(err, "rename to %s", v->name);
	FAILPOINT("volume.create.renamed");
	if (rc == 0 && fsync(s->dirfd) < 0)
		rc = err_sys(err, "sync %s", s->dir);
	if (rc < 0) {
		(void)snapshot_tree_remove(s->dirfd, tmp, NULL); /* else at the next open; the first error counts */
		map_remove(&s->volumes, span_of(v->name));
		volume_free(v);
		return rc;
	}
	if (id.len)
		user_add(v, id);
	*out = v;
	return 0;
}

/* The store is locked. */
static int find_or_make(struct volume_store *s, const struct volume_params *p, struct span id, struct volume **out, bool *out_made,
	struct err *err)
{
	int rc = params_check(p, err);
	struct volume *v = rc == 0 && p->name.len ? map_get(&s->volumes, p->name) : NULL;
	if (rc == 0 && !v) {
		rc = volume_make(s, p, id, &v, err);
		*out_made = rc == 0;
	} else if (rc == 0 && v->broken) {
		rc = err_set(err, ERR_CORRUPT, "its volume.json is damaged; remove the volume or put the file right");
	}
	if (rc < 0)
		return p->name.len ? err_note(err, "create %.*s", SPAN_ARG(p->name)) : err_note(err, "create");
	*out = v;
	return 0;
}

int volume_create(struct volume_store *s, const struct volume_params *p, struct arena *a, struct volume_info *out, bool *out_made,
	struct err *err)
{
	struct volume *v = NULL;
	bool made = false;
	pthread_mutex_lock(&s->mutex);
	int rc = find_or_make(s, p, SPAN_EMPTY, &v, &made, err);
	if (rc == 0)
		info(s, v, a, out);
	pthread_mutex_unlock(&s->mutex);
	if (rc == 0 && out_made)
		*out_made = made;
	return rc;
}

int volume_get(struct volume_store *s, struct span name, struct arena *a, struct volume_info *out, struct err *err)
{
	pthread_mutex_lock(&s->mutex);
	struct volume *v = map_get(&s->volumes, name);
	int rc = v ? 0 : missing(name, err);
	if (v)
		info(s, v, a, out);
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

static int info_order(const void *a, const void *b)
{
	return span_cmp(((const struct volume_info *)a)->name, ((const struct volume_info *)b)->name);
}

void volume_all(struct volume_store *s, struct arena *a, struct volume_info **out, size_t *out_n)
{
	pthread_mutex_lock(&s->mutex);
	struct volume_info *list = arena_alloc_n(a, s->volumes.n + 1, sizeof(*list));
	size_t n = 0;
	MAP_EACH(&s->volumes, e)
		info(s, e->value, a, &list[n++]);
	pthread_mutex_unlock(&s->mutex);
	if (n)
		qsort(list, n, sizeof(*list), info_order);
	*out = list;
	*out_n = n;
}

/* ---- references ---- */

int volume_use(struct volume_store *s, const struct volume_mount *m, struct span id, struct arena *a, struct volume_info *out,
	struct err *err)
{
	const struct volume_params p = { .name = m->name, .driver = m->driver, .options = m->driver_options, .labels = m->labels };
	if (!volume_id_ok(id))
		return err_set(err, ERR_INVALID, "\"%.*s\" is no container id", SPAN_ARG(id));
	struct volume *v = NULL;
	bool made = false;
	pthread_mutex_lock(&s->mutex);
	int rc = find_or_make(s, &p, id, &v, &made, err);
	if (rc == 0 && !made && !map_get(&v->users, id)) {
		auto_fd int folder = openat(s->dirfd, v->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		rc = folder < 0 ? err_sys(err, "open volume %s", v->name) : mark_make(folder, "users", id, true, err);
		if (rc == 0)
			user_add(v, id);
	}
	if (rc == 0)
		info(s, v, a, out);
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

/* The store is locked; nobody refers to v. */
static int take_away(struct volume_store *s, struct volume *v, char old[24], struct err *err)
{
	char data[VOLUME_NAME_MAX + 8];
	auto_fd int folder = openat(s->dirfd, v->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (folder >= 0)
		volume_subs_clear(folder, SPAN_EMPTY);
	snprintf(data, sizeof(data), "/proc/self/fd/%d/_data", folder);
	if (folder >= 0 && volume_is_mounted(folder) && umount2(data, 0) < 0)
		return err_sys(err, "unmount volume %s", v->name);
	snprintf(old, 24, ".old-");
	secret_hex(old + 5, 8);
	if (renameat(s->dirfd, v->name, s->dirfd, old) < 0 && errno != ENOENT)
		return err_sys(err, "remove volume %s", v->name);
	FAILPOINT("volume.remove.renamed");
	if (fsync(s->dirfd) < 0)
		return err_sys(err, "sync %s", s->dir);
	map_remove(&s->volumes, span_of(v->name));
	volume_free(v);
	return 0;
}

static int in_use(const struct volume *v, struct err *err)
{
	auto_buf struct buf ids = {};
	MAP_EACH(&v->users, e) {
		if (ids.len)
			buf_str(&ids, ", ");
		buf_span_add(&ids, e->key);
	}
	return err_set(err, ERR_IN_USE, "remove %s: volume is in use%s%s%s", v->name, ids.len ? " - [" : "", buf_cstr(&ids),
		ids.len ? "]" : "");
}

int volume_remove(struct volume_store *s, struct span name, bool force, struct err *err)
{
	char old[24];
	pthread_mutex_lock(&s->mutex);
	struct volume *v = map_get(&s->volumes, name);
	int rc;
	if (!v)
		rc = force ? 1 : missing(name, err);
	else
		rc = v->users.n || v->pins ? in_use(v, err) : take_away(s, v, old, err);
	pthread_mutex_unlock(&s->mutex);
	/* It is gone already; what cannot be removed now is removed at the next open. */
	return rc == 0 ? snapshot_tree_remove(s->dirfd, old, err) : MIN(rc, 0);
}

int volume_release(struct volume_store *s, struct span name, struct span id, bool remove_anonymous, bool *out_gone, struct err *err)
{
	if (out_gone)
		*out_gone = false;
	int rc = volume_unmount(s, name, id, err);
	if (rc == -ERR_NOT_FOUND || !volume_id_ok(id))
		return 0;
	char path[VOLUME_NAME_MAX + 160], old[24];
	bool goes = false;
	pthread_mutex_lock(&s->mutex);
	struct volume *v = rc == 0 ? map_get(&s->volumes, name) : NULL;
	if (v) {
		snprintf(path, sizeof(path), "%s/users/%.*s", v->name, SPAN_ARG(id));
		if (unlinkat(s->dirfd, path, 0) < 0 && errno != ENOENT)
			rc = err_sys(err, "remove %s", path);
		/* Not synced: a mark that a power cut brings back is one that volume_release_dead forgets. */
		if (rc == 0)
			free(map_remove(&v->users, id));
		goes = rc == 0 && remove_anonymous && v->anonymous && !v->users.n && !v->pins;
		if (goes)
			rc = take_away(s, v, old, err);
	}
	pthread_mutex_unlock(&s->mutex);
	if (out_gone)
		*out_gone = goes && rc == 0; /* its name is free, whatever becomes of its files */
	return goes && rc == 0 ? snapshot_tree_remove(s->dirfd, old, err) : rc;
}

int volume_release_dead(struct volume_store *s, bool (*alive)(void *arg, struct span id), void *arg, struct err *err)
{
	auto_arena struct arena a = {};
	struct volume_info *list;
	size_t n;
	int rc = 0;
	volume_all(s, &a, &list, &n);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < list[i].n_users && rc == 0; k++)
			if (!alive(arg, list[i].users[k]))
				rc = volume_release(s, list[i].name, list[i].users[k], false, NULL, err);
	return rc;
}
