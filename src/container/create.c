/* Creation: everything is checked, then a snapshot is made, then the record, synced, which makes it a container. A death in
 * between leaves a snapshot or a folder without record, which container_engine_open removes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "container/private.h"
#include "sys/sys.h"

struct reserved {
	struct list link;
	char *name; /* owned */
};

struct create {
	struct ticket ticket;
	struct container_engine *e;
	struct container *c; /* not in the engine's lists yet */
	struct loop_work work;
	struct arena arena;
	struct json config, host, networking, extra, warnings, inherited;
	struct image_platform platform;
	struct err err;
};

/* ---- names */

static int taken(struct container_engine *e, struct span name, const char *id, struct err *err)
{
	return err_set(err, ERR_EXISTS,
		"Conflict. The container name \"/%.*s\" is already in use by container \"%s\". You have to remove (or "
		"rename) that container to be able to reuse that name.", SPAN_ARG(name), id);
}

int container_name_reserve(struct container_engine *e, struct span name, struct err *err)
{
	struct container *c = map_get(&e->by_name, name);
	if (c)
		return taken(e, name, c->id, err);
	LIST_EACH (&e->names_taken, r, struct reserved, link)
		if (span_is(name, r->name))
			return taken(e, name, "being created", err);
	struct reserved *r = mem_new(struct reserved);
	r->name = mem_dup(name.ptr, name.len);
	list_push(&e->names_taken, &r->link);
	return 0;
}

void container_name_release(struct container_engine *e, struct span name)
{
	LIST_EACH (&e->names_taken, r, struct reserved, link)
		if (span_is(name, r->name)) {
			list_remove(&r->link);
			free(r->name);
			free(r);
			return;
		}
}

static int name_choose(struct container_engine *e, struct span asked, struct container *c, struct err *err)
{
	struct span bare = span_starts(asked, SPAN("/")) ? span_from(asked, 1) : asked;
	if (bare.len) {
		if (!container_name_ok(bare))
			return err_set(err, ERR_INVALID_REQUEST, "Invalid container name (%.*s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
				SPAN_ARG(asked));
		int rc = container_name_reserve(e, bare, err);
		if (rc == 0)
			c->name = mem_dup(bare.ptr, bare.len);
		return rc;
	}
	for (unsigned attempt = 0; attempt < 100; attempt++) {
		auto_buf struct buf b = {};
		container_name_make(&e->rng, attempt, &b);
		if (container_name_reserve(e, buf_span(&b), NULL) == 0) {
			c->name = buf_take(&b, NULL);
			return 0;
		}
	}
	return err_set(err, ERR_INTERNAL, "no free name was found");
}

/* ---- what names other containers */

/* "container:NAME" becomes "container:ID", so that a rename does not lead astray. */
static int peer_resolve(struct create *k, const char *field, struct err *err)
{
	struct span head, who, mode = container_str(&k->host, field);
	if (!span_split(mode, ':', &head, &who) || !span_is(head, "container"))
		return 0;
	struct container *peer = container_get(k->e, who, err);
	if (!peer) { /* 404 would tell the client that the image is missing: it would pull */
		err->class = ERR_INVALID_REQUEST;
		return -ERR_INVALID_REQUEST;
	}
	if (peer == k->c)
		return err_set(err, ERR_INVALID_REQUEST, "a container cannot join itself");
	json_set(&k->arena, &k->host, span_of(field), json_str(arena_printf(&k->arena, "container:%s", peer->id)));
	return 0;
}

static uint32_t count(const struct json *o, const char *key)
{
	const struct json *v = json_get(o, span_of(key));
	return v && (v->kind == JSON_ARRAY || v->kind == JSON_OBJECT) ? v->n : 0;
}

static int network_conflicts(const struct create *k, struct err *err)
{
	struct span mode = container_str(&k->host, "NetworkMode");
	bool peer = span_starts(mode, SPAN("container:")), host = span_is(mode, "host");
	const char *what = NULL;
	if (peer && container_str(&k->config, "Hostname").len)
		what = "hostname and the network mode";
	else if ((peer || host) && count(&k->host, "Links"))
		what = host ? "host type networking can't be used with links. This would result in undefined behavior"
			    : "container type network can't be used with links. This would result in undefined behavior";
	else if (peer && count(&k->host, "Dns"))
		what = "dns and the network mode";
	else if (peer && count(&k->host, "ExtraHosts"))
		what = "custom host-to-IP mapping and the network mode";
	else if ((peer || host) && container_str(&k->config, "MacAddress").len)
		what = "mac-address and the network mode";
	else if (peer && (count(&k->host, "PortBindings") || container_truth(&k->host, "PublishAllPorts")))
		what = "port publishing and the container type network mode";
	else if (peer && count(&k->config, "ExposedPorts"))
		what = "port exposing and the container type network mode";
	return what ? err_set(err, ERR_INVALID_REQUEST, "conflicting options: %s", what) : 0;
}

/* "default" is what clients call the bridge; records and answers say "bridge". */
static void networks_name(struct create *k)
{
	struct arena *a = &k->arena;
	const struct json *ends = json_getl(&k->networking, "EndpointsConfig");
	if (!json_is(ends, JSON_OBJECT) || !json_getl(ends, "default"))
		return;
	struct json named = json_object();
	JSON_EACH_MEMBER (ends, m)
		json_set(a, &named, span_is(json_key(m), "default") ? SPAN("bridge") : json_key(m), m->value);
	json_setl(a, &k->networking, "EndpointsConfig", named);
}

static int parts_lacking(const struct create *k, struct err *err)
{
	struct span mode = container_str(&k->host, "NetworkMode");
	if (!k->e->o.networks && !span_is(mode, "none") && !span_is(mode, "host") && !span_starts(mode, SPAN("container:")))
		return err_set(err, ERR_UNSUPPORTED, "NetworkMode %.*s: this engine has no networks but none and host", SPAN_ARG(mode));
	return 0;
}

/* ---- the worker's part */

static void hostname_set(struct create *k)
{
	struct span mode = container_str(&k->host, "NetworkMode"), uts = container_str(&k->host, "UTSMode");
	struct utsname u;
	if (container_str(&k->config, "Hostname").len)
		return;
	bool host = (span_is(mode, "host") || span_is(uts, "host")) && uname(&u) == 0;
	struct span name = host ? arena_span(&k->arena, span_of(u.nodename)) : span_make(k->c->id, 12);
	json_setl(&k->arena, &k->config, "Hostname", json_str(name));
}

static int image_config(struct create *k, struct image_digest *out_id, struct json *out_config, struct err *err)
{
	struct span ref = container_str(&k->config, "Image");
	struct image_store *images = k->e->o.images;
	struct image_info info;
	struct image_config c;
	struct image_manifest manifest;
	*out_config = json_object();
	*out_id = (struct image_digest){};
	if (!ref.len)
		return 0;
	int rc = image_find(images, ref, out_id, err);
	rc = rc < 0 ? rc : image_inspect(images, out_id, &k->arena, &info, &c, &manifest, err);
	if (rc < 0)
		return rc;
	if (k->platform.os[0] && image_platform_score(&k->platform, &info.platform) == 0)
		return err_set(err, ERR_NOT_FOUND,
			"image with reference %.*s was found but does not provide the specified platform (%s/%s)",
			SPAN_ARG(ref), k->platform.os, k->platform.arch);
	const struct json *config = json_getl(&c.tree, "config");
	if (json_is(config, JSON_OBJECT))
		*out_config = *config;
	json_setl(&k->arena, &k->c->doc, "Platform", json_str(arena_span(&k->arena, span_of(info.platform.os))));
	return 0;
}

static int document_make(struct create *k, struct err *err)
{
	struct container *c = k->c;
	struct arena *a = &k->arena;
	struct image_digest image;
	struct json from, args;
	struct span path;
	c->doc = json_object();
	int rc = image_config(k, &image, &from, err);
	rc = rc < 0 ? rc : container_config_merge(a, &from, &k->config, &k->config, err);
	rc = rc < 0 ? rc : container_config_check(&k->config, err);
	unsigned free_of = k->extra.kind == JSON_OBJECT ? CHECK_FREE : 0U;
	rc = rc < 0 ? rc : container_host_check(k->e, a, &k->host, &k->config, free_of, &k->warnings, err);
	rc = rc < 0 ? rc : parts_lacking(k, err);
	if (rc < 0)
		return rc;
	container_host_defaults(k->e, a, &k->host);
	hostname_set(k);
	container_command(a, &k->config, &path, &args);
	json_setl(a, &c->doc, "Created", container_time(clock_wall_ns(clock_real()), a));
	json_setl(a, &c->doc, "Image", json_cstr(image.text));
	json_setl(a, &c->doc, "Path", json_str(path));
	json_setl(a, &c->doc, "Args", args);
	json_setl(a, &c->doc, "Config", k->config);
	json_setl(a, &c->doc, "HostConfig", k->host);
	json_setl(a, &c->doc, "NetworkingConfig", k->networking);
	if (k->extra.kind == JSON_OBJECT)
		json_setl(a, &c->doc, "Extra", k->extra);
	struct json shown, plan;
	rc = container_mounts_create(k->e, c->id, &k->config, &k->host, &k->inherited, free_of, a, &shown, &plan, err);
	json_setl(a, &c->doc, "Mounts", shown);
	json_setl(a, &c->doc, "Plan", plan); /* also of a failure: what was used so far is given back */
	c->doc = json_copy(&c->arena, &c->doc);
	c->config = json_getl(&c->doc, "Config");
	c->host = json_getl(&c->doc, "HostConfig");
	char chain[65] = "";
	if (rc == 0 && image.text[0])
		rc = image_top(k->e->o.images, &image, chain, err);
	FAILPOINT("container.create.checked");
	bool synced = !container_is_volatile(c) && !container_is_fleeting(c);
	return rc < 0 ? rc : (synced ? snapshot_prepare : snapshot_prepare_volatile)(k->e->o.snapshots,
		container_snapshot_key(a, c->e, c->id), chain, err);
}

/* What the image has where a volume comes is its first content, while it is empty. */
static int volumes_fill(struct create *k, struct err *err)
{
	struct container *c = k->c;
	struct arena *a = &k->arena;
	const struct json *plan = json_getl(&c->doc, "Plan");
	if (!container_mounts_want_copy(plan))
		return 0;
	const char *root = container_run_path(a, c, "rootfs");
	auto_err struct err why = ERR_INIT;
	int rc = io_mkdirs(AT_FDCWD, container_run_path(a, c, NULL), 0700, err);
	rc = rc < 0 ? rc : snapshot_mount(k->e->o.snapshots, container_snapshot_key(a, c->e, c->id), root, true, err);
	if (rc == 0) {
		auto_fd int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
		rc = fd < 0 ? err_sys(err, "open the root file system") : container_mounts_copy_up(k->e, plan, fd, a, err);
	}
	if (container_clear(k->e, c->id, &why) < 0 && rc == 0)
		rc = err_move(err, &why);
	return rc;
}

static int create(struct create *k, struct err *err)
{
	struct container *c = k->c;
	struct container_engine *e = k->e;
	int rc = document_make(k, err);
	if (rc < 0)
		return rc;
	FAILPOINT("container.create.snapshot");
	rc = volumes_fill(k, err);
	if (rc < 0)
		return rc;
	FAILPOINT("container.create.volumes");
	if (mkdirat(e->containers_fd, c->id, 0700) < 0)
		return err_sys(err, "make the container's folder");
	FAILPOINT("container.create.folder");
	bool durable = !container_is_volatile(c) && !container_is_fleeting(c);
	rc = container_record_save(c, durable, err);
	if (rc == 0 && durable && fsync(e->containers_fd) < 0)
		rc = err_sys(err, "sync the folder of containers");
	FAILPOINT("container.create.recorded");
	return rc;
}

static void create_run(struct loop_work *w)
{
	struct create *k = container_of(w, struct create, work);
	if (create(k, &k->err) == 0)
		return;
	container_mounts_release(k->e, k->c->id, json_getl(&k->c->doc, "Plan"), true, NULL, NULL);
	(void)snapshot_remove(k->e->o.snapshots, container_snapshot_key(&k->arena, k->e, k->c->id), NULL); /* mostly it was not made */
	(void)container_folder_remove(k->e->containers_fd, k->c->id, NULL);
}

static void create_free(struct create *k)
{
	struct container_engine *e = k->e;
	err_done(&k->err);
	arena_done(&k->arena);
	free(k);
	container_busy(e, -1);
}

static bool is_inherited(const struct create *k, const struct json *mount)
{
	JSON_EACH_ITEM (&k->inherited, m)
		if (span_eq(container_str(m, "Name"), container_str(mount, "Name")))
			return true;
	return false;
}

static void create_done(struct loop_work *w)
{
	struct create *k = container_of(w, struct create, work);
	struct container *c = k->c;
	struct container_call *call = k->ticket.call;
	container_name_release(k->e, span_of(c->name));
	if (k->err.class) {
		container_ticket_answer(&k->ticket, &k->err);
		container_free(c);
		create_free(k);
		return;
	}
	container_index_add(c);
	container_users_update(c, false);
	JSON_EACH_ITEM (json_getl(&c->doc, "Plan"), m)
		if (!is_inherited(k, m))
			container_volume_event(c, VOLUME_CREATED, m);
	container_event_send(c, "create", NULL);
	if (call && call->arena) {
		call->result = json_object();
		json_setl(call->arena, &call->result, "Id", json_str(arena_span(call->arena, span_of(c->id))));
		json_setl(call->arena, &call->result, "Warnings", json_copy(call->arena, &k->warnings));
	}
	container_ticket_answer(&k->ticket, NULL);
	create_free(k);
}

static void id_make(struct container_engine *e, char out[65])
{
	uint8_t raw[32];
	auto_buf struct buf b = {};
	uint64_t n;
	do { /* not all digits: it would read as a number (Docker does the same) */
		rng_secret(raw, sizeof(raw));
		buf_trunc(&b, 0);
		hex_add(&b, raw, sizeof(raw));
	} while (span_to_u64(span_sub(buf_span(&b), 0, 12), &n) || map_get(&e->by_id, buf_span(&b)));
	memcpy(out, buf_cstr(&b), 65);
}

void container_create(struct container_engine *e, const struct container_create_params *p, struct container_call *call)
{
	auto_err struct err err = ERR_INIT;
	struct create *k = mem_new(struct create);
	char id[65];
	k->e = e;
	bool own_id = p->id.len == sizeof(id) - 1;
	if (own_id)
		memcpy(id, p->id.ptr, sizeof(id) - 1), id[sizeof(id) - 1] = 0;
	else
		id_make(e, id);
	k->c = container_new(e, id);
	k->c->run_left = RUN_LEFT_NOTHING;
	k->config = json_copy(&k->arena, p->config);
	k->host = p->host_config ? json_copy(&k->arena, p->host_config) : json_object();
	k->networking = p->networking ? json_copy(&k->arena, p->networking) : json_object();
	k->extra = p->extra ? json_copy(&k->arena, p->extra) : JSON_NULL_VALUE;
	k->warnings = json_array();
	int rc = e->closing ? err_set(&err, ERR_UNAVAILABLE, "the engine is closing") : 0;
	if (rc == 0 && own_id && map_get(&e->by_id, p->id))
		rc = err_set(&err, ERR_EXISTS, "container %s is there already", id);
	if (rc == 0 && (k->config.kind != JSON_OBJECT || k->host.kind != JSON_OBJECT))
		rc = err_set(&err, ERR_INVALID_REQUEST, "config cannot be empty in order to create a container");
	rc = rc < 0 || !p->platform.len ? rc : image_platform_parse(p->platform, &k->platform, &err);
	rc = rc < 0 ? rc : container_config_check(&k->config, &err);
	networks_name(k);
	rc = rc < 0 ? rc : network_conflicts(k, &err);
	rc = rc < 0 ? rc : peer_resolve(k, "NetworkMode", &err);
	rc = rc < 0 ? rc : peer_resolve(k, "PidMode", &err);
	rc = rc < 0 ? rc : peer_resolve(k, "IpcMode", &err);
	rc = rc < 0 ? rc : container_mounts_inherit(e, &k->host, &k->arena, &k->inherited, &err);
	rc = rc < 0 ? rc : name_choose(e, p->name, k->c, &err);
	if (rc == 0) {
		rc = container_net_check(e, &k->config, &k->host, json_getl(&k->networking, "EndpointsConfig"), id, k->c->name, &k->arena,
			&err);
		if (rc < 0)
			container_name_release(e, span_of(k->c->name));
	}
	if (rc == 0) {
		container_ticket_take(&k->ticket, call);
		container_busy(e, 1);
		if (loop_work_submit(e->o.pool, e->o.loop, &k->work, "container create", create_run, create_done) == 0)
			return;
		container_ticket_take(&k->ticket, NULL);
		container_name_release(e, span_of(k->c->name));
		err_set(&err, ERR_TOO_MANY, "too many operations are under way");
		container_fail_later(e, call, &err);
		container_free(k->c);
		create_free(k);
		return;
	}
	container_fail_later(e, call, &err);
	container_free(k->c);
	arena_done(&k->arena);
	free(k);
}
