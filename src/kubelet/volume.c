/* The volumes of a pod, one small machine each:
 *
 *     dirty ──▶ set up ──ok──▶ set ──(source changes, token is due, pod changes)──▶ dirty
 *                  │
 *                  ├─ waiting for an answer: stays dirty until kl_vol_wake
 *                  └─ failed: told once in these words, again after a back-off or when a source changes
 *
 * One task settles all of a pod, once a turn, whatever woke it. */
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "kubelet/volume_impl.h"

enum { PATIENCE_MS = 123000 };

struct kl_volumes *kl_volumes_new(const struct kl_volumes_params *p)
{
	struct kl_volumes *v = mem_new(struct kl_volumes);
	v->p = *p;
	list_init(&v->removals);
	list_init(&v->ownings);
	return v;
}

int64_t kl_vol_now_ns(const struct vol *v)
{
	return loop_wall_ns(v->pod->v->p.loop);
}

void kl_vol_wake(struct vol *v)
{
	v->dirty = true;
	v->retry_ms = 0;
	loop_defer(v->pod->v->p.loop, &v->pod->settle);
}

static char *cstr(struct span s)
{
	return mem_dup(s.ptr, s.len);
}

static void tell(struct vol *v, struct span message)
{
	if (span_eq(buf_span(&v->told), message))
		return; /* as the recorder would count it: once a back-off is enough, told by on_timer */
	buf_trunc(&v->told, 0);
	buf_span_add(&v->told, message);
	v->pod->v->p.event(v->pod->owner, "FailedMount", message);
}

/* ---- setting up */

/* ROOT/pods/UID/volumes/kubernetes.io~KIND/NAME, made. */
static int folder_make(struct vol *v, const char *kind, struct span name, struct buf *out, struct err *err)
{
	buf_printf(out, "%s/volumes/kubernetes.io~%s/%.*s", v->pod->dir, kind, SPAN_ARG(name));
	return io_mkdirs(AT_FDCWD, buf_cstr(out), 0750, err);
}

static void place(struct vol *v, const char *path)
{
	free(v->path);
	v->path = cstr(span_of(path));
}

static int64_t fs_group(const struct vol *v)
{
	const struct api_core_pod_security_context *ps = v->pod->object->pod.spec.security_context;
	return ps && ps->has_fs_group ? ps->fs_group : -1;
}

/* What the containers may use of memory together; 0 = one has no limit. */
static int64_t memory_limit(const struct api_core_pod *pod)
{
	int64_t sum = 0, most = 0;
	for (uint32_t i = 0; i < pod->spec.containers.n; i++) {
		const struct api_core_container *c = &pod->spec.containers.ptr[i];
		struct span text = api_pair_get(c->resources.limits.ptr, c->resources.limits.n, SPAN("memory"));
		struct api_quantity q;
		if (!text.len || api_quantity_parse(text, &q, NULL) < 0)
			return 0;
		int64_t one = api_quantity_value(&q);
		if (__builtin_add_overflow(sum, one, &sum))
			return 0;
	}
	for (uint32_t i = 0; i < pod->spec.init_containers.n; i++) {
		const struct api_core_container *c = &pod->spec.init_containers.ptr[i];
		struct span text = api_pair_get(c->resources.limits.ptr, c->resources.limits.n, SPAN("memory"));
		struct api_quantity q;
		if (text.len && api_quantity_parse(text, &q, NULL) == 0)
			most = MAX(most, api_quantity_value(&q));
	}
	return MAX(sum, most);
}

/* A quantity in bytes; 0 = none. */
static int64_t quantity_bytes(struct span text)
{
	struct api_quantity q;
	return text.len && api_quantity_parse(text, &q, NULL) == 0 ? api_quantity_value(&q) : 0;
}

static int huge_pages(const char *path, struct span medium, int64_t size, mode_t mode, int64_t gid, struct err *err)
{
	struct api_quantity q;
	auto_buf struct buf data = {};
	buf_printf(&data, "mode=%o", (unsigned)mode);
	if (gid >= 0)
		buf_printf(&data, ",gid=%lld", (long long)gid);
	if (span_starts(medium, SPAN("HugePages-"))) {
		if (api_quantity_parse(span_from(medium, strlen("HugePages-")), &q, err) < 0)
			return -ERR_INVALID;
		buf_printf(&data, ",pagesize=%lld", (long long)api_quantity_value(&q));
	}
	if (size > 0)
		buf_printf(&data, ",size=%lld", (long long)size);
	return mount("nodev", path, "hugetlbfs", 0, buf_cstr(&data)) < 0 ? err_sys(err, "mount huge pages on %s", path) : 0;
}

/* A folder that is whole from its first moment: made under another name, which no volume has. One that is there was made so, and
 * has been the pod's since. */
static int folder_make_open(struct vol *v, mode_t mode, int64_t gid, struct buf *path, struct err *err)
{
	auto_buf struct buf made = {};
	buf_printf(path, "%s/volumes/kubernetes.io~empty-dir/%.*s", v->pod->dir, SPAN_ARG(v->spec->name));
	buf_printf(&made, "%s/volumes/kubernetes.io~empty-dir/.%.*s", v->pod->dir, SPAN_ARG(v->spec->name));
	if (access(buf_cstr(path), F_OK) == 0)
		return 0;
	int rc = io_mkdirs(AT_FDCWD, buf_cstr(&made), 0750, err);
	FAILPOINT("kubelet.volume.folder");
	if (rc == 0 && ((gid >= 0 && chown(buf_cstr(&made), (uid_t)-1, (gid_t)gid) < 0) || chmod(buf_cstr(&made), mode) < 0 ||
			rename(buf_cstr(&made), buf_cstr(path)) < 0))
		rc = err_sys(err, "make %s", buf_cstr(path));
	return rc;
}

static int empty_dir(struct vol *v, struct err *err)
{
	auto_buf struct buf path = {};
	const struct api_core_empty_dir_volume_source *e = v->spec->empty_dir;
	int64_t gid = fs_group(v);
	mode_t mode = gid >= 0 ? 02777 : 0777;
	int rc = folder_make_open(v, mode, gid, &path, err);
	int64_t size = quantity_bytes(e->size_limit);
	bool memory = span_is(e->medium, "Memory");
	if (rc == 0 && e->medium.len && !kl_is_mounted(buf_cstr(&path))) {
		int64_t limit = memory ? memory_limit(&v->pod->object->pod) : 0;
		if (limit && (!size || limit < size))
			size = limit;
		if (memory)
			rc = kl_mount_tmpfs(buf_cstr(&path), size, 01000 | mode, gid, err);
		else if (span_starts(e->medium, SPAN("HugePages")))
			rc = huge_pages(buf_cstr(&path), e->medium, size, mode, gid, err);
		else
			rc = err_set(err, ERR_INVALID, "unknown storage medium \"%.*s\"", SPAN_ARG(e->medium));
	}
	if (rc == 0)
		place(v, buf_cstr(&path));
	return rc;
}

/* Folders whose files are ours: where they are, and whether in memory only. */
static int files_setup(struct vol *v, struct err *err)
{
	auto_arena struct arena a = {};
	auto_buf struct buf path = {};
	const struct api_core_volume *s = v->spec;
	const char *kind = s->config_map ? "configmap" : s->secret ? "secret" : s->downward_api ? "downward-api" : "projected";
	struct kl_file *files;
	unsigned n;
	int rc = kl_vol_files(&a, v, &files, &n, err);
	if (rc == 0)
		rc = folder_make(v, kind, s->name, &path, err);
	/* All but config maps never touch a disk. */
	if (rc == 0 && !s->config_map && !kl_is_mounted(buf_cstr(&path)))
		rc = kl_mount_tmpfs(buf_cstr(&path), memory_limit(&v->pod->object->pod), 01777, -1, err);
	FAILPOINT("kubelet.volume.mounted");
	mode_t mode = s->config_map ? 0777 : 01777; /* as a tmpfs is born */
	if (rc == 0 && chmod(buf_cstr(&path), fs_group(v) >= 0 ? 02000 | mode : mode) < 0)
		rc = err_sys(err, "chmod %s", buf_cstr(&path));
	if (rc == 0)
		rc = kl_files_write(buf_cstr(&path), files, n, fs_group(v), err);
	if (rc < 0)
		return rc;
	v->readonly = true;
	place(v, buf_cstr(&path));
	return 0;
}

static int host_path(struct vol *v, struct span path, struct span type, struct err *err)
{
	auto_arena struct arena a = {};
	const char *p = arena_cstr(&a, path);
	int rc = kl_host_path_check(p, type, err);
	if (rc == 0)
		place(v, p);
	return rc;
}

/* ---- claims: the claim, then its volume; both by name, as the Node authorizer allows */

static void claim_forget(struct vol *v)
{
	if (v->call)
		client_cancel(v->call);
	v->call = NULL;
	free(v->pv_name);
	free(v->pv_path);
	v->pv_name = v->pv_path = NULL;
	buf_trunc(&v->why, 0);
}

static struct span claim_name(struct arena *a, const struct vol *v)
{
	if (v->spec->persistent_volume_claim)
		return v->spec->persistent_volume_claim->claim_name;
	return arena_printf(a, "%.*s-%.*s", SPAN_ARG(v->pod->object->pod.metadata.name), SPAN_ARG(v->spec->name));
}

static void pv_taken(struct client_call *call, const struct err *why, int status, struct span body, void *arg)
{
	struct vol *v = arg;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct api_core_persistent_volume pv;
	v->call = NULL;
	if (why)
		buf_printf(&v->why, "failed to fetch PV %s from API server: %s", v->pv_name, err_msg(why));
	else if (api_core_persistent_volume_decode(&a, API_FORM_JSON, body, &pv, &err) < 0)
		buf_printf(&v->why, "PV %s: %s", v->pv_name, err_msg(&err));
	else if (!pv.spec.host_path && !pv.spec.local)
		buf_printf(&v->why, "failed to get Plugin from volumeSpec for volume \"%s\" err=no volume plugin matched", v->pv_name);
	else if (span_is(pv.spec.volume_mode, "Block"))
		buf_printf(&v->why, "volume \"%s\" has volumeMode Block, but is mounted as a file system", v->pv_name);
	else {
		struct span path = pv.spec.local ? pv.spec.local->path : pv.spec.host_path->path;
		struct span type = pv.spec.local ? SPAN_EMPTY : pv.spec.host_path->type;
		auto_buf struct buf both = {};
		buf_span_add(&both, path);
		buf_chr(&both, 0);
		buf_span_add(&both, type);
		v->pv_path = mem_dup(both.ptr, both.len);
		v->pv_type = span_make(v->pv_path + path.len + 1, type.len);
		v->pv_local = pv.spec.local;
	}
	kl_vol_wake(v);
}

static void claim_taken(struct client_call *call, const struct err *why, int status, struct span body, void *arg)
{
	struct vol *v = arg;
	auto_arena struct arena a = {};
	auto_buf struct buf path = {};
	auto_err struct err err = ERR_INIT;
	struct api_core_persistent_volume_claim claim;
	const struct client_kind pvs = CLIENT_KIND("", "v1", "persistentvolumes", false);
	v->call = NULL;
	if (why)
		buf_printf(&v->why, "failed to fetch PVC from API server: %s", err_msg(why));
	else if (api_core_persistent_volume_claim_decode(&a, API_FORM_JSON, body, &claim, &err) < 0)
		buf_printf(&v->why, "%s", err_msg(&err));
	else if (v->spec->ephemeral && !(claim.metadata.owner_references.n &&
					 span_eq(claim.metadata.owner_references.ptr[0].uid, v->pod->object->pod.metadata.uid)))
		buf_printf(&v->why, "PVC %.*s/%.*s was not created for pod %.*s/%.*s (pod is not owner)",
			SPAN_ARG(claim.metadata.namespace),
			   SPAN_ARG(claim.metadata.name), SPAN_ARG(v->pod->object->pod.metadata.namespace),
			   SPAN_ARG(v->pod->object->pod.metadata.name));
	else if (claim.metadata.deletion_timestamp.set)
		buf_str(&v->why, "PVC is being deleted");
	else if (!span_is(claim.status.phase, "Bound") || !claim.spec.volume_name.len)
		buf_str(&v->why, "PVC is not bound");
	if (v->why.len)
		return kl_vol_wake(v);
	v->pv_name = cstr(claim.spec.volume_name);
	client_path(&path, &pvs, SPAN_EMPTY, claim.spec.volume_name, NULL);
	const struct client_request r = { .method = "GET", .path = buf_span(&path), .done = pv_taken, .arg = v };
	v->call = client_send(v->pod->v->p.client, &r);
}

static int claim_ask(struct vol *v, struct err *err)
{
	auto_arena struct arena a = {};
	auto_buf struct buf path = {};
	const struct client_kind claims = CLIENT_KIND("", "v1", "persistentvolumeclaims", true);
	if (!v->pod->v->p.client)
		return err_set(err, ERR_UNSUPPORTED, "failed to fetch PVC from API server: there is none");
	client_path(&path, &claims, v->pod->object->pod.metadata.namespace, claim_name(&a, v), NULL);
	const struct client_request r = { .method = "GET", .path = buf_span(&path), .done = claim_taken, .arg = v };
	v->call = client_send(v->pod->v->p.client, &r);
	return err_set(err, ERR_UNAVAILABLE, "waiting for the claim");
}

/* A local volume is bound into the pod's folder, so that its unmounting can be seen. */
static int local_bind(struct vol *v, struct err *err)
{
	auto_buf struct buf path = {};
	int rc = folder_make(v, "local-volume", span_of(v->pv_name), &path, err);
	if (rc == 0 && !kl_is_mounted(buf_cstr(&path)))
		rc = kl_mount_bind(v->pv_path, buf_cstr(&path), err);
	const struct api_core_pod_security_context *ps = v->pod->object->pod.spec.security_context;
	bool mismatch = ps && span_is(ps->fs_group_change_policy, "OnRootMismatch");
	if (rc == 0 && fs_group(v) >= 0 && !v->readonly)
		rc = kl_vol_own(v, buf_cstr(&path), fs_group(v), mismatch, err);
	if (rc == 0)
		place(v, buf_cstr(&path));
	return rc;
}

static int claim(struct vol *v, struct err *err)
{
	if (v->call)
		return err_set(err, ERR_UNAVAILABLE, "waiting for the claim");
	if (v->why.len) {
		int rc = err_set(err, ERR_NOT_FOUND, "%s", buf_cstr(&v->why));
		claim_forget(v); /* asked for anew next time */
		return rc;
	}
	if (!v->pv_path)
		return claim_ask(v, err);
	v->readonly = v->spec->persistent_volume_claim && v->spec->persistent_volume_claim->read_only;
	return v->pv_local ? local_bind(v, err) : host_path(v, span_of(v->pv_path), v->pv_type, err);
}

/* ---- */

static bool is_claim(const struct vol *v)
{
	return v->spec->persistent_volume_claim || v->spec->ephemeral;
}

static int set_up(struct vol *v, struct err *err)
{
	const struct api_core_volume *s = v->spec;
	if (s->empty_dir)
		return empty_dir(v, err);
	if (s->host_path)
		return host_path(v, s->host_path->path, s->host_path->type, err);
	if (s->config_map || s->secret || s->downward_api || s->projected)
		return files_setup(v, err);
	if (is_claim(v))
		return claim(v, err);
	return err_set(err, ERR_UNSUPPORTED, "failed to get Plugin from volumeSpec for volume \"%.*s\" err=no volume plugin matched",
		       SPAN_ARG(s->name));
}

static void say_failure(struct vol *v, const struct err *err)
{
	auto_buf struct buf message = {};
	struct span name = v->spec->name, ns = v->pod->object->pod.metadata.namespace;
	if (is_claim(v) && !v->pv_path) {
		auto_arena struct arena a = {};
		buf_printf(&message, "Unable to attach or mount volumes: unmounted volumes=[%.*s], unattached volumes=[], "
				     "failed to process volumes=[%.*s]: error processing PVC %.*s/%.*s: %s", SPAN_ARG(name), SPAN_ARG(name),
			   SPAN_ARG(ns), SPAN_ARG(claim_name(&a, v)), err_msg(err));
	} else {
		struct span shown = v->pv_name ? span_of(v->pv_name) : name; /* of a claim: the volume's, as upstream */
		buf_printf(&message, "MountVolume.SetUp failed for volume \"%.*s\" : %s", SPAN_ARG(shown), err_msg(err));
	}
	tell(v, buf_span(&message));
}

static void timer_set(struct kl_volumes_pod *p)
{
	int64_t now = loop_now_ms(p->v->p.loop), due = INT64_MAX;
	for (unsigned i = 0; i < p->n_vols; i++) {
		struct vol *v = &p->vols[i];
		if (v->retry_ms)
			due = MIN(due, v->retry_ms);
		int64_t renew = kl_vol_tokens_due(v);
		if (v->set && renew != INT64_MAX)
			due = MIN(due, now + MAX((renew - kl_vol_now_ns(v)) / NS_PER_MS + 1, (int64_t)0));
	}
	if (due == INT64_MAX)
		loop_timer_stop(&p->timer);
	else
		loop_timer_start(&p->timer, MAX(due - now, (int64_t)0));
}

bool kl_volumes_ready(const struct kl_volumes_pod *p)
{
	struct bytes *json;
	for (unsigned i = 0; i < p->n_vols; i++)
		if (!p->vols[i].set)
			return false;
	for (unsigned i = 0; i < p->n_refs; i++)
		if (kl_ref_look(p->refs[i], &json) == KL_SEEN_NOT)
			return false;
	return true;
}

static void vol_settle(struct vol *v)
{
	auto_err struct err err = ERR_INIT;
	v->dirty = false;
	int rc = set_up(v, &err);
	if (rc == 0) {
		v->set = true;
		v->failures = 0;
		v->retry_ms = 0;
		buf_trunc(&v->told, 0);
	} else if (rc != -ERR_UNAVAILABLE) {
		v->retry_ms = loop_now_ms(v->pod->v->p.loop) + kl_vol_backoff_ms(v->failures++);
		say_failure(v, &err);
	}
}

static void on_settle(struct loop_task *t)
{
	struct kl_volumes_pod *p = container_of(t, struct kl_volumes_pod, settle);
	for (unsigned i = 0; i < p->n_vols; i++)
		if (p->vols[i].dirty)
			vol_settle(&p->vols[i]);
	timer_set(p);
	bool ready = kl_volumes_ready(p);
	if (ready)
		loop_timer_stop(&p->patience);
	if (ready && !p->was_ready) {
		p->was_ready = true;
		p->v->p.wake(p->owner);
	}
}

static void on_timer(struct loop_timer *t)
{
	struct kl_volumes_pod *p = container_of(t, struct kl_volumes_pod, timer);
	int64_t now = loop_now_ms(p->v->p.loop);
	for (unsigned i = 0; i < p->n_vols; i++) {
		struct vol *v = &p->vols[i];
		if (v->retry_ms && v->retry_ms <= now) {
			v->retry_ms = 0;
			v->dirty = true;
			buf_trunc(&v->told, 0); /* a new attempt: its failure is told again, and counted */
		}
		if (v->set && kl_vol_tokens_due(v) <= kl_vol_now_ns(v))
			v->dirty = true;
	}
	loop_defer(p->v->p.loop, &p->settle);
}

static int64_t patience_ms(const struct kl_volumes *v)
{
	return v->p.patience_ms ? v->p.patience_ms : PATIENCE_MS;
}

/* What kubelet says every two minutes of a pod that cannot start for want of its volumes, or of what its environments
 * name. */
static void on_patience(struct loop_timer *t)
{
	struct kl_volumes_pod *p = container_of(t, struct kl_volumes_pod, patience);
	auto_buf struct buf names = {}, message = {};
	for (unsigned i = 0; i < p->n_vols; i++)
		if (!p->vols[i].set)
			buf_printf(&names, "%s%.*s", names.len ? " " : "", SPAN_ARG(p->vols[i].spec->name));
	loop_timer_start(&p->patience, patience_ms(p->v));
	for (unsigned i = 0; i < p->n_refs && !names.len; i++) {
		struct bytes *json;
		if (kl_ref_look(p->refs[i], &json) != KL_SEEN_NOT)
			continue;
		auto_buf struct buf words = {};
		struct span why = kl_ref_why(p->refs[i]);
		kl_ref_name(p->refs[i], &words);
		buf_printf(&message, "Error: failed to sync %s cache: %.*s", buf_cstr(&words),
			   SPAN_ARG(why.len ? why : SPAN("timed out waiting for the condition")));
		p->v->p.event(p->owner, "Failed", buf_span(&message));
		return;
	}
	if (!names.len)
		return;
	buf_printf(&message, "Unable to attach or mount volumes: unmounted volumes=[%s], unattached volumes=[], failed to process "
			     "volumes=[]: context deadline exceeded", buf_cstr(&names));
	p->v->p.event(p->owner, "FailedMount", buf_span(&message));
}

/* ---- what a pod names */

static void on_object(struct kl_ref *r, void *arg)
{
	struct kl_volumes_pod *p = arg;
	for (unsigned i = 0; i < p->n_vols; i++) {
		const struct api_core_volume *s = p->vols[i].spec;
		if (s->config_map || s->secret || s->projected)
			kl_vol_wake(&p->vols[i]);
	}
	loop_defer(p->v->p.loop, &p->settle);
	if (p->was_ready)
		p->v->p.wake(p->owner); /* an environment may be possible now */
}

static void follow(struct kl_volumes_pod *p, enum kl_object_kind kind, struct span name)
{
	if (!name.len || !p->v->p.client)
		return;
	for (unsigned i = 0; i < p->n_refs; i++)
		if (kl_ref_is(p->refs[i], kind, name))
			return;
	struct kl_ref *r = kl_ref_new(p->v->p.objects, kind, p->object->pod.metadata.namespace, name, on_object, p);
	MEM_GROW(p->refs, p->n_refs, p->cap_refs);
	p->refs[p->n_refs++] = r;
}

static void follow_volume(struct kl_volumes_pod *p, const struct api_core_volume *s)
{
	if (s->config_map)
		follow(p, KL_CONFIG_MAP, s->config_map->name);
	if (s->secret)
		follow(p, KL_SECRET, s->secret->secret_name);
	for (uint32_t i = 0; s->projected && i < s->projected->sources.n; i++) {
		const struct api_core_volume_projection *o = &s->projected->sources.ptr[i];
		if (o->config_map)
			follow(p, KL_CONFIG_MAP, o->config_map->name);
		if (o->secret)
			follow(p, KL_SECRET, o->secret->name);
	}
}

static void follow_container(struct kl_volumes_pod *p, const struct api_core_container *c)
{
	for (uint32_t i = 0; i < c->env_from.n; i++) {
		if (c->env_from.ptr[i].config_map_ref)
			follow(p, KL_CONFIG_MAP, c->env_from.ptr[i].config_map_ref->name);
		if (c->env_from.ptr[i].secret_ref)
			follow(p, KL_SECRET, c->env_from.ptr[i].secret_ref->name);
	}
	for (uint32_t i = 0; i < c->env.n; i++) {
		const struct api_core_env_var_source *s = c->env.ptr[i].value_from;
		if (s && s->config_map_key_ref)
			follow(p, KL_CONFIG_MAP, s->config_map_key_ref->name);
		if (s && s->secret_key_ref)
			follow(p, KL_SECRET, s->secret_key_ref->name);
	}
}

static void specs_set(struct kl_volumes_pod *p)
{
	const struct api_core_pod_spec *s = &p->object->pod.spec;
	for (unsigned i = 0; i < p->n_vols; i++) {
		p->vols[i].spec = &s->volumes.ptr[i];
		kl_vol_tokens_init(&p->vols[i]);
		follow_volume(p, p->vols[i].spec);
	}
	for (unsigned i = 0; i < kl_spec_n(s); i++) {
		enum kl_container_kind kind;
		follow_container(p, kl_spec_container(s, i, &kind));
	}
}

struct kl_volumes_pod *kl_volumes_open(struct kl_volumes *v, struct kl_object *o, struct span uid, void *owner)
{
	struct kl_volumes_pod *p = mem_new(struct kl_volumes_pod);
	auto_buf struct buf dir = {};
	buf_printf(&dir, "%.*s/pods/%.*s", SPAN_ARG(v->p.root_dir), SPAN_ARG(uid));
	*p = (struct kl_volumes_pod){ .v = v, .object = kl_object_ref(o), .uid = cstr(uid), .dir = cstr(buf_span(&dir)), .owner = owner,
				      .n_vols = o->pod.spec.volumes.n };
	loop_task_init(&p->settle, on_settle);
	loop_timer_init(&p->timer, v->p.loop, "volumes", on_timer);
	loop_timer_init(&p->patience, v->p.loop, "volumes that are late", on_patience);
	p->vols = mem_zalloc((p->n_vols + 1) * sizeof(*p->vols));
	for (unsigned i = 0; i < p->n_vols; i++) {
		p->vols[i].pod = p;
		p->vols[i].dirty = true;
	}
	specs_set(p);
	loop_timer_start(&p->patience, patience_ms(v));
	loop_defer(v->p.loop, &p->settle);
	return p;
}

void kl_volumes_update(struct kl_volumes_pod *p, struct kl_object *o)
{
	if (o == p->object || o->pod.spec.volumes.n != p->n_vols)
		return;
	struct kl_object *old = p->object;
	p->object = kl_object_ref(o);
	specs_set(p);
	kl_object_unref(old);
	for (unsigned i = 0; i < p->n_vols; i++)
		if (p->vols[i].spec->downward_api || p->vols[i].spec->projected)
			kl_vol_wake(&p->vols[i]);
}

/* ---- mounts of a container */

static struct vol *vol_find(struct kl_volumes_pod *p, struct span name)
{
	for (unsigned i = 0; i < p->n_vols; i++)
		if (span_eq(p->vols[i].spec->name, name))
			return &p->vols[i];
	return NULL;
}

static int sub_path(struct vol *v, struct arena *a, const struct api_core_container *c, uint32_t index, struct span sub,
	bool readonly,
		    struct span *out, struct err *err)
{
	struct span name = v->spec->name, rest = sub, part;
	if (sub.ptr[0] == '/')
		return err_set(err, ERR_INVALID, "error SubPath `%.*s` must not be an absolute path", SPAN_ARG(sub));
	while (span_cut(&rest, '/', &part))
		if (span_is(part, ".."))
			return err_set(err, ERR_INVALID, "unable to provision SubPath `%.*s`: must not contain '..'", SPAN_ARG(sub));
	*out = arena_printf(a, "%s/volume-subpaths/%.*s/%.*s/%u", v->pod->dir, SPAN_ARG(name), SPAN_ARG(c->name), index);
	int rc = kl_sub_path_bind(v->path, arena_cstr(a, sub), out->ptr, readonly, err);
	return rc < 0 ? err_note(err, "failed to prepare subPath for volumeMount \"%.*s\" of container \"%.*s\"", SPAN_ARG(name),
				 SPAN_ARG(c->name)) : 0;
}

static int mount_one(struct kl_volumes_pod *p, struct arena *a, const struct api_core_container *c, uint32_t i,
	const struct api_pair *env,
		     uint32_t n_env, struct api_cri_mount *out, struct err *err)
{
	const struct api_core_volume_mount *m = &c->volume_mounts.ptr[i];
	struct vol *v = vol_find(p, m->name);
	if (!v || !v->path)
		return err_set(err, ERR_INVALID, "cannot find volume \"%.*s\" to mount into container \"%.*s\"", SPAN_ARG(m->name),
			       SPAN_ARG(c->name));
	bool readonly = m->read_only || v->readonly;
	struct span host = arena_span(a, span_of(v->path)), sub = m->sub_path, missing;
	if (m->sub_path_expr.len) {
		sub = kl_expand(a, m->sub_path_expr, env, n_env, &missing);
		if (missing.ptr)
			return err_set(err, ERR_INVALID, "missing value for %.*s", SPAN_ARG(missing));
	}
	if (sub.len) {
		/* Made even if this mount may not write: another one of the volume may. */
		int rc = sub_path(v, a, c, i, sub, v->readonly, &host, err);
		if (rc < 0)
			return rc;
	}
	bool absolute = m->mount_path.len && m->mount_path.ptr[0] == '/';
	*out = (struct api_cri_mount){
		.container_path = absolute ? m->mount_path : arena_printf(a, "/%.*s", SPAN_ARG(m->mount_path)),
		.host_path = host, .readonly = readonly, .recursive_read_only = readonly && span_is(m->recursive_read_only, "Enabled"),
		.propagation = span_is(m->mount_propagation, "Bidirectional") ? 2 : span_is(m->mount_propagation,
			"HostToContainer") ? 1 : 0,
	};
	return 0;
}

int kl_volumes_mounts(struct kl_volumes_pod *p, struct arena *a, const struct api_core_container *c, const struct api_pair *env,
		      uint32_t n_env, struct api_cri_mount **out, uint32_t *out_n, struct err *err)
{
	struct api_cri_mount *all = arena_alloc_n(a, c->volume_mounts.n + 1, sizeof(*all));
	if (c->volume_devices.n)
		return err_set(err, ERR_UNSUPPORTED, "volumeDevices: no volume plugin matched");
	for (uint32_t i = 0; i < c->volume_mounts.n; i++) {
		int rc = mount_one(p, a, c, i, env, n_env, &all[i], err);
		if (rc < 0)
			return rc;
	}
	*out = all;
	*out_n = c->volume_mounts.n;
	return 0;
}

const char *kl_volumes_path(const struct kl_volumes_pod *p, unsigned i, struct span *out_name)
{
	if (i >= p->n_vols || !p->vols[i].set)
		return NULL;
	*out_name = p->vols[i].spec->name;
	return p->vols[i].path;
}

unsigned kl_volumes_n(const struct kl_volumes_pod *p)
{
	return p->n_vols;
}

/* ---- the end */

void kl_volumes_leave(struct kl_volumes_pod *p)
{
	loop_task_cancel(&p->settle);
	loop_timer_stop(&p->timer);
	loop_timer_stop(&p->patience);
	for (unsigned i = 0; i < p->n_vols; i++) {
		struct vol *v = &p->vols[i];
		claim_forget(v);
		kl_vol_own_leave(v);
		kl_vol_tokens_done(v);
		free(v->path);
		buf_done(&v->told);
		buf_done(&v->why);
	}
	for (unsigned i = 0; i < p->n_refs; i++)
		kl_ref_drop(p->refs[i]);
	free(p->refs);
	free(p->vols);
	free(p->uid);
	free(p->dir);
	kl_object_unref(p->object);
	free(p);
}

void kl_volumes_close_of(struct kl_volumes *v, struct span uid, void (*gone)(void *arg), void *arg)
{
	auto_buf struct buf subs = {}, volumes = {};
	buf_printf(&subs, "%.*s/pods/%.*s/volume-subpaths", SPAN_ARG(v->p.root_dir), SPAN_ARG(uid));
	buf_printf(&volumes, "%.*s/pods/%.*s/volumes", SPAN_ARG(v->p.root_dir), SPAN_ARG(uid));
	kl_vol_remove(v, cstr(buf_span(&subs)), cstr(buf_span(&volumes)), gone, arg);
}

void kl_volumes_close(struct kl_volumes_pod *p, void (*gone)(void *arg), void *arg)
{
	struct kl_volumes *v = p->v;
	auto_free char *uid = cstr(span_of(p->uid));
	kl_volumes_leave(p);
	kl_volumes_close_of(v, span_of(uid), gone, arg);
}

void kl_volumes_purge(struct kl_volumes *v, struct span uid, void (*gone)(void *arg), void *arg)
{
	auto_buf struct buf dir = {};
	buf_printf(&dir, "%.*s/pods/%.*s", SPAN_ARG(v->p.root_dir), SPAN_ARG(uid));
	kl_vol_remove(v, cstr(buf_span(&dir)), NULL, gone, arg);
}

void kl_volumes_free(struct kl_volumes *v)
{
	if (!v)
		return;
	kl_vol_works_done(v);
	free(v);
}
