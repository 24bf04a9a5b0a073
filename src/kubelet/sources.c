/* Pods of the API by an informer with field selector spec.nodeName; pods of the manifest folder by inotify, each with a mirror in
 * the API, which is made again when somebody deletes it and deleted when its manifest goes. */
#include "kubelet/sources.h"
#include "kubelet/node.h"
#include "kubelet/volume.h"
#include "kubelet/worker.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define MANIFEST_BYTES (1 << 20)
#define FILES_MAX 1000
#define MIRROR_RETRY_MS 1000
#define SETTLE_MS 20
#define FOLDER_RETRY_MS 1000
#define MISSING_MS 10000 /* a folder that is replaced is away for a moment; one that stays away has no pods */

struct manifest {
	struct list link;
	char *file;       /* owned; its name in the folder */
	struct bytes *text; /* owned; as it was read */
	struct kl_pod *pod; /* NULL: it is no pod, or the pod is gone */
	char *uid;        /* owned */
	struct client_call *call; /* making the mirror, or deleting one that is wrong */
	bool seen;
	bool waits;       /* a pod with its uid still ends, or is another file's: taken when that is gone */
};

struct kl_sources {
	struct kl *k;
	struct loop_watch watch;
	bool watching;
	bool linked;               /* a manifest has another name somewhere else, through which it may change */
	struct loop_timer settle;  /* a folder that changes is read when it rests; one that could not be read, after a while */
	int64_t missing_ms;        /* since when there is no folder (loop_now_ms); 0: there is one */
	struct loop_timer mirrors;
	struct list manifests;
	bool api_synced, files_read;
};

static const struct client_kind pods = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("pods"), true };

static void synced(struct kl_sources *s)
{
	struct kl *k = s->k;
	if (k->pods_synced || !s->files_read || (k->client && !s->api_synced))
		return;
	k->pods_synced = true;
	size_t pos = 0;
	for (struct kl_pod *p; (p = kl_pod_next(k, &pos));)
		kl_pod_wake(p);
	kl_orphans_sweep(k);
}

static struct kl_pod *pod_take(struct kl *k, struct kl_object *o)
{
	const struct api_meta_object_meta *m = &o->pod.metadata;
	struct kl_pod *p = map_get(&k->pods, m->uid);
	if (!p)
		p = kl_pod_new(k, m->uid, m->namespace, m->name);
	p->orphan = false;
	kl_pod_object_set(p, o);
	if (!p->worker)
		kl_worker_new(p);
	return p;
}

/* ---- the API */

static struct span note(const struct kl_object *o, const char *key)
{
	return api_pair_get(o->pod.metadata.annotations.ptr, o->pod.metadata.annotations.n, span_of(key));
}

static struct manifest *manifest_of(struct kl_sources *s, struct span ns, struct span name)
{
	LIST_EACH(&s->manifests, m, struct manifest, link)
		if (m->pod && span_eq(m->pod->ns, ns) && span_eq(m->pod->name, name))
			return m;
	return NULL;
}

static void mirror_set(struct kl_pod *p, struct span uid)
{
	if (span_eq(p->mirror_uid, uid))
		return;
	if (p->mirror_uid.len)
		(void)map_remove(&p->k->mirrors, p->mirror_uid);
	free((char *)p->mirror_uid.ptr);
	p->mirror_uid = uid.len ? span_make(mem_dup(uid.ptr, uid.len), uid.len) : SPAN_EMPTY;
	if (uid.len)
		(void)map_put(&p->k->mirrors, p->mirror_uid, p);
	if (p->worker) { /* what another mirror was told says nothing of this one */
		bytes_unref(p->worker->reported);
		p->worker->reported = NULL;
		p->worker->reported_rv = 0;
		kl_worker_wake(p->worker);
	}
}

static void on_mirror_deleted(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	if (why && why->class != ERR_NOT_FOUND && why->class != ERR_STALE)
		log_warn("a mirror pod could not be deleted", kv_err(why));
}

static void delete_mirror(struct kl_sources *s, struct span ns, struct span name, struct span uid)
{
	auto_buf struct buf path = {}, text = {};
	client_path(&path, &pods, ns, name, NULL);
	buf_printf(&text,
		   "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"gracePeriodSeconds\":0,\"preconditions\":{\"uid\":\"%.*s\"}}",
		   SPAN_ARG(uid));
	(void)client_send(s->k->client, &(struct client_request){ .method = "DELETE", .path = buf_span(&path), .body = buf_span(&text),
			  .done = on_mirror_deleted });
}

static void mirror_seen(struct kl_sources *s, struct kl_object *o)
{
	const struct api_meta_object_meta *meta = &o->pod.metadata;
	struct manifest *m = manifest_of(s, meta->namespace, meta->name);
	if (!m) {
		if (s->files_read)
			delete_mirror(s, meta->namespace, meta->name, meta->uid);
	} else if (!span_is(note(o, "kubernetes.io/config.mirror"), m->uid) || meta->deletion_timestamp.set) {
		delete_mirror(s, meta->namespace, meta->name, meta->uid);
	} else {
		mirror_set(m->pod, meta->uid);
	}
}

static void seen(struct kl_sources *s, const struct client_item *it)
{
	struct kl *k = s->k;
	auto_err struct err err = ERR_INIT;
	struct kl_object *o = kl_object_new(it->json, &err);
	if (!o) {
		log_warn("a pod cannot be read", kv_span("pod", it->key), kv_err(&err));
		return;
	}
	if (note(o, "kubernetes.io/config.mirror").len) {
		mirror_seen(s, o);
		kl_object_unref(o);
		return;
	}
	struct kl_pod *p = pod_take(k, o);
	kl_report_seen(p->worker);
	if (p->volumes)
		kl_volumes_update(p->volumes, o);
	kl_worker_wake(p->worker);
}

static void on_added(struct client_informer *inf, struct client_item *it, const struct json *object, void *arg)
{
	seen(arg, it);
}

static void on_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *object, void *arg)
{
	struct kl_sources *s = arg;
	/* Deleted and made again between two looks. */
	auto_err struct err err = ERR_INIT;
	auto_arena struct arena a = {};
	struct json before;
	if (old && json_parse(&a, bytes_span(old), JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &before, &err) == 0) {
		struct span uid = json_span(json_path(&before, "metadata", "uid", NULL));
		struct kl_pod *p = span_eq(uid, it->uid) ? NULL : map_get(&s->k->pods, uid);
		if (p)
			kl_worker_gone(p->worker);
	}
	seen(s, it);
}

static void mirrors_soon(struct kl_sources *s, int64_t ms)
{
	if (s->k->client)
		loop_timer_start(&s->mirrors, ms);
}

static void on_removed(struct client_informer *inf, struct client_item *it, void *arg)
{
	struct kl_sources *s = arg;
	struct kl_pod *p = map_get(&s->k->pods, it->uid), *of_mirror = map_get(&s->k->mirrors, it->uid);
	if (p && !p->is_static)
		kl_worker_gone(p->worker);
	if (of_mirror) {
		mirror_set(of_mirror, SPAN_EMPTY);
		mirrors_soon(s, 0);
	}
}

static void on_synced(struct client_informer *inf, void *arg)
{
	struct kl_sources *s = arg;
	s->api_synced = true;
	synced(s);
	mirrors_soon(s, 0);
}

/* ---- mirrors */

static void on_mirror(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct manifest *m = arg;
	struct kl_sources *s = m->pod ? m->pod->k->sources : NULL;
	FAILPOINT("kubelet.mirror.made");
	m->call = NULL;
	if (why && why->class != ERR_EXISTS)
		log_warn("a mirror pod could not be made", kv_str("file", m->file), kv_err(why));
	if (why && s)
		mirrors_soon(s, MIRROR_RETRY_MS);
}

static void on_mirrors(struct loop_timer *t)
{
	struct kl_sources *s = container_of(t, struct kl_sources, mirrors);
	struct kl *k = s->k;
	if (!s->api_synced || !kl_node_object(k)) {
		if (!list_empty(&s->manifests))
			mirrors_soon(s, MIRROR_RETRY_MS);
		return;
	}
	LIST_EACH(&s->manifests, m, struct manifest, link) {
		auto_arena struct arena a = {};
		auto_buf struct buf path = {}, text = {};
		struct json pod;
		if (!m->pod || m->pod->mirror_uid.len || m->call || m->pod->worker->gone)
			continue;
		if (json_parse(&a, bytes_span(m->pod->object->json), JSON_BORROW, NULL, &pod, NULL) < 0)
			continue;
		struct json mirror = kl_static_mirror(&a, k, &pod);
		json_write(&text, &mirror, 0);
		client_path(&path, &pods, m->pod->ns, SPAN_EMPTY, NULL);
		m->call = client_send(k->client, &(struct client_request){ .method = "POST", .path = buf_span(&path),
				      .body = buf_span(&text), .done = on_mirror, .arg = m });
	}
}

/* ---- the folder */

static void manifest_end(struct kl_sources *s, struct manifest *m)
{
	struct kl_pod *p = m->pod;
	if (p) {
		if (p->mirror_uid.len && s->k->client && !s->k->stopping)
			delete_mirror(s, p->ns, p->name, p->mirror_uid);
		if (!s->k->stopping)
			kl_worker_gone(p->worker);
	}
	m->pod = NULL;
}

static void manifest_free(struct kl_sources *s, struct manifest *m)
{
	manifest_end(s, m);
	if (m->call)
		client_cancel(m->call);
	list_remove(&m->link);
	bytes_unref(m->text);
	free(m->file);
	free(m->uid);
	free(m);
}

static void take_file(struct kl_sources *s, struct manifest *m)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf text = {};
	struct json pod;
	m->waits = false;
	if (kl_static_read(&a, s->k, bytes_span(m->text), &pod, &err) < 0) {
		log_warn("a manifest cannot be used", kv_str("file", m->file), kv_err(&err));
		return;
	}
	json_write(&text, &pod, 0);
	struct bytes *b = bytes_of(buf_span(&text));
	struct kl_object *o = kl_object_new(b, &err);
	bytes_unref(b);
	if (!o) {
		log_warn("a manifest cannot be used", kv_str("file", m->file), kv_err(&err));
		return;
	}
	struct span uid = o->pod.metadata.uid;
	free(m->uid);
	m->uid = mem_dup(uid.ptr, uid.len);
	/* The uid is made of the text: it was here before and still ends, or another file says the same. */
	struct kl_pod *same = map_get(&s->k->pods, uid);
	bool taken = false;
	LIST_EACH(&s->manifests, other, struct manifest, link)
		if (same && other->pod == same) {
			log_warn("a manifest is that of another file, too", kv_str("file", m->file), kv_str("other", other->file));
			taken = true;
		}
	m->waits = taken || (same && same->worker && same->worker->gone);
	if (m->waits) {
		kl_object_unref(o);
		return;
	}
	m->pod = pod_take(s->k, o);
	m->pod->is_static = true;
	/* Its mirror may have been seen before the file was. */
	auto_buf struct buf key = {};
	buf_printf(&key, "%.*s/%.*s", SPAN_ARG(m->pod->ns), SPAN_ARG(m->pod->name));
	struct client_item *it = s->k->pod_informer ? client_informer_get(s->k->pod_informer, buf_span(&key)) : NULL;
	if (it)
		seen(s, it);
}

void kl_sources_forget(struct kl_sources *s, const struct kl_pod *p)
{
	LIST_EACH(&s->manifests, m, struct manifest, link) {
		if (m->pod == p)
			m->pod = NULL;
		if (m->waits)
			loop_timer_start(&s->settle, 0);
	}
}

/* False: it could not be seen, and what is known of it stays. */
static bool read_one(struct kl_sources *s, int dir, const char *name, unsigned *n)
{
	auto_buf struct buf text = {};
	auto_err struct err err = ERR_INIT;
	struct stat st, own;
	struct manifest *m = NULL;
	if (name[0] == '.')
		return true;
	LIST_EACH(&s->manifests, o, struct manifest, link)
		if (strcmp(o->file, name) == 0)
			m = o;
	if (fstatat(dir, name, &own, AT_SYMLINK_NOFOLLOW) == 0 && (S_ISLNK(own.st_mode) || (S_ISREG(own.st_mode) && own.st_nlink > 1)))
		s->linked = true;
	if (fstatat(dir, name, &st, 0) < 0) {
		if (errno == ENOENT || errno == ELOOP) /* it went meanwhile, or is a link to nothing */
			return true;
		log_warn("a manifest cannot be seen", kv_str("file", name), kv_str("why", err_why(errno)));
		return false;
	}
	if (!S_ISREG(st.st_mode))
		return true;
	if (++*n > FILES_MAX && !m) {
		if (*n == FILES_MAX + 1)
			log_warn("there are too many manifests", kv_str("file", name), kv_u64("most", FILES_MAX));
		return true;
	}
	if (io_read_file(dir, name, &text, MANIFEST_BYTES, &err) < 0) {
		log_warn("a manifest cannot be read", kv_str("file", name), kv_err(&err));
		if (m)
			m->seen = true; /* as it was */
		return true;
	}
	if (m && span_eq(bytes_span(m->text), buf_span(&text))) {
		m->seen = true;
		if (m->waits)
			take_file(s, m);
		return true;
	}
	if (m)
		manifest_free(s, m); /* another pod, with another uid */
	m = mem_new(struct manifest);
	m->file = mem_dup(name, strlen(name));
	m->text = bytes_of(buf_span(&text));
	m->seen = true;
	list_push(&s->manifests, &m->link);
	take_file(s, m);
	return true;
}

/* There is no folder, or it cannot be opened. True: it has been away for so long that it means to have no pods. */
static bool unopened(struct kl_sources *s, int code)
{
	int64_t now_ms = loop_now_ms(s->k->loop);
	if (!s->missing_ms)
		log_warn("the folder of manifests cannot be read", kv_span("dir", s->k->o->manifest_dir), kv_str("why", err_why(code)));
	if (!s->missing_ms || code != ENOENT)
		s->missing_ms = MAX(now_ms, 1);
	return code == ENOENT && now_ms - s->missing_ms >= MISSING_MS;
}

/* False: not all of it could be seen. What was not seen stays as it is known. */
static bool read_files(struct kl_sources *s)
{
	unsigned n = 0;
	bool whole = true;
	DIR *d = opendir(s->k->o->manifest_dir.ptr);
	if (!d)
		return unopened(s, errno);
	s->missing_ms = 0;
	for (;;) {
		errno = 0;
		const struct dirent *e = readdir(d);
		if (!e && errno) {
			log_warn("the folder of manifests cannot be listed", kv_str("why", err_why(errno)));
			whole = false;
		}
		if (!e)
			break;
		whole &= read_one(s, dirfd(d), e->d_name, &n);
	}
	(void)closedir(d);
	return whole;
}

static int watch(struct kl_sources *s, struct err *err);

static void read_folder(struct kl_sources *s)
{
	auto_err struct err err = ERR_INIT;
	LIST_EACH(&s->manifests, m, struct manifest, link)
		m->seen = false;
	/* Watched first: what changes meanwhile is read again. */
	bool watched = s->watching || watch(s, &err) == 0;
	s->linked = false;
	bool whole = read_files(s);
	if (!whole || !watched)
		loop_timer_start(&s->settle, FOLDER_RETRY_MS);
	else if (s->linked) /* what a link leads to, at the end of whatever chain, tells nobody here that it changes */
		loop_timer_start(&s->settle, s->k->o->file_check_ms);
	if (!whole)
		return;
	LIST_EACH(&s->manifests, m, struct manifest, link)
		if (!m->seen)
			manifest_free(s, m);
	s->files_read = true;
	synced(s);
	mirrors_soon(s, 0);
}

static void on_settled(struct loop_timer *t)
{
	read_folder(container_of(t, struct kl_sources, settle));
}

/* A name that is new in the folder: of a file that is being written the end is told; a link is whole at once. */
static bool is_link(const struct kl_sources *s, const char *file)
{
	auto_buf struct buf path = {};
	struct stat st;
	buf_printf(&path, "%.*s/%s", SPAN_ARG(s->k->o->manifest_dir), file);
	return lstat(buf_cstr(&path), &st) == 0 && (S_ISLNK(st.st_mode) || st.st_nlink > 1);
}

static void on_folder(struct loop_watch *w, uint32_t mask, uint32_t cookie, const char *file)
{
	struct kl_sources *s = container_of(w, struct kl_sources, watch);
	if (mask & (IN_IGNORED | IN_UNMOUNT | IN_DELETE_SELF | IN_MOVE_SELF)) {
		loop_watch_close(&s->watch, NULL); /* another one may come to stand in its place */
		s->watching = false;
	} else if ((mask & IN_CREATE) && !is_link(s, file)) {
		return;
	}
	loop_timer_start(&s->settle, SETTLE_MS);
}

static int watch(struct kl_sources *s, struct err *err)
{
	int rc = loop_watch_open(&s->watch, s->k->loop, "manifests", s->k->o->manifest_dir.ptr,
				 IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF |
				 IN_ONLYDIR, on_folder, err);
	s->watching = rc == 0;
	return rc;
}

/* ---- the seam */

static void services_synced(struct client_informer *inf, void *arg)
{
	struct kl *k = arg;
	k->services_synced = true;
	size_t pos = 0;
	for (struct kl_pod *p; (p = kl_pod_next(k, &pos));)
		kl_pod_wake(p);
}

static void nothing(struct client_informer *inf, struct client_item *it, const struct json *object, void *arg)
{
}

static void nothing_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *object,
			    void *arg)
{
}

static void nothing_removed(struct client_informer *inf, struct client_item *it, void *arg)
{
}

struct kl_sources *kl_sources_new(struct kl *k)
{
	struct kl_sources *s = mem_new(struct kl_sources);
	s->k = k;
	list_init(&s->manifests);
	loop_timer_init(&s->settle, k->loop, "manifests", on_settled);
	loop_timer_init(&s->mirrors, k->loop, "mirror pods", on_mirrors);
	return s;
}

int kl_sources_begin(struct kl_sources *s, struct err *err)
{
	static const struct client_kind services = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("services"), true };
	struct kl *k = s->k;
	int rc = 0;
	if (k->o->manifest_dir.len) {
		rc = io_mkdirs(AT_FDCWD, k->o->manifest_dir.ptr, 0755, err);
		if (rc == 0)
			rc = watch(s, err);
		if (rc < 0)
			return err_note(err, "static pods");
		read_folder(s);
	} else {
		s->files_read = true;
	}
	if (k->client) {
		auto_buf struct buf selector = {};
		buf_printf(&selector, "spec.nodeName=%.*s", SPAN_ARG(k->node_name));
		const struct client_informer_params p = { .client = k->client, .kind = pods, .field_selector = buf_span(&selector),
							  .added = on_added, .changed = on_changed, .removed = on_removed,
							  .synced = on_synced, .arg = s };
		const struct client_informer_params sp = { .client = k->client, .kind = services, .added = nothing,
							   .changed = nothing_changed, .removed = nothing_removed,
							   .synced = services_synced, .arg = k };
		k->pod_informer = client_informer_new(&p);
		k->services = client_informer_new(&sp);
	}
	synced(s);
	return 0;
}

static void on_unwatched(struct loop_watch *w)
{
	free(container_of(w, struct kl_sources, watch));
}

void kl_sources_free(struct kl_sources *s)
{
	if (!s)
		return;
	if (s->k->pod_informer)
		client_informer_free(s->k->pod_informer);
	if (s->k->services)
		client_informer_free(s->k->services);
	s->k->pod_informer = s->k->services = NULL;
	LIST_EACH(&s->manifests, m, struct manifest, link)
		manifest_free(s, m);
	loop_timer_stop(&s->settle);
	loop_timer_stop(&s->mirrors);
	if (s->watching)
		loop_watch_close(&s->watch, on_unwatched);
	else
		free(s);
}
