/* Sandboxes and containers in memory. What they are stands in the records of the container engine, so that one write makes a thing
 * what it is; this is an index of them. */
#include <dirent.h>

#include "cri/private.h"

static struct span member(const struct json *o, const char *key)
{
	return json_span(json_get(o, span_of(key)));
}

/* Extra.Cri of the wanted kind; its config into *out. */
static const struct json *record(struct arena *a, const struct json *extra, const char *kind, enum api_typed type, void *out,
	struct err *err)
{
	struct json *copy = arena_new(a, struct json);
	const struct json *own = json_getl(extra, "Cri"), *config;
	*copy = own ? json_copy(a, own) : json_object();
	config = json_getl(copy, "Config");
	if (!span_is(member(copy, "Kind"), kind) || !config) {
		(void)err_set(err, ERR_CORRUPT, "the record is no %s's", kind);
		return NULL;
	}
	return api_typed_of_tree(a, type, config, out, err) < 0 ? NULL : copy;
}

int cri_pod_add(struct cri *c, const char *id, const struct json *extra, struct cri_pod **out_pod, struct err *err)
{
	struct cri_pod *pod = mem_new(struct cri_pod);
	pod->cri = c;
	memcpy(pod->id, id, sizeof(pod->id) - 1);
	list_init(&pod->link);
	list_init(&pod->containers);
	list_init(&pod->ops);
	const struct json *v = record(&pod->arena, extra, "sandbox", API_TYPED_CRI_POD_SANDBOX_CONFIG, &pod->config, err);
	if (!v || !pod->config.metadata) {
		int rc = v ? err_set(err, ERR_CORRUPT, "the record has no metadata") : -ERR_CORRUPT;
		arena_done(&pod->arena);
		free(pod);
		return rc;
	}
	pod->handler = member(v, "Handler");
	pod->created_ns = json_i64(json_getl(v, "CreatedNs"), 0);
	list_push(&c->pods, &pod->link);
	map_put(&c->pods_by_id, span_of(pod->id), pod);
	*out_pod = pod;
	return 0;
}

int cri_container_add(struct cri *c, const char *id, const struct json *extra, struct cri_container **out_container,
	struct err *err)
{
	struct cri_pod *pod = map_get(&c->pods_by_id, member(extra, "Sandbox"));
	if (!pod)
		return err_set(err, ERR_CORRUPT, "its sandbox is not there");
	struct cri_container *k = mem_new(struct cri_container);
	k->pod = pod;
	list_init(&k->updates);
	memcpy(k->id, id, sizeof(k->id) - 1);
	const struct json *v = record(&k->arena, extra, "container", API_TYPED_CRI_CONTAINER_CONFIG, &k->config, err);
	if (!v || !k->config.metadata) {
		int rc = v ? err_set(err, ERR_CORRUPT, "the record has no metadata") : -ERR_CORRUPT;
		arena_done(&k->arena);
		free(k);
		return rc;
	}
	k->image_id = member(v, "ImageId");
	k->image_ref = member(v, "ImageRef");
	k->image = member(v, "Image");
	k->created_ns = json_i64(json_getl(v, "CreatedNs"), 0);
	k->stop_signal = (int32_t)json_i64(json_getl(v, "StopSignal"), k->config.stop_signal);
	list_push(&c->all, &k->link);
	list_push(&pod->containers, &k->of_pod);
	map_put(&c->all_by_id, span_of(k->id), k);
	*out_container = k;
	return 0;
}

void cri_container_free(struct cri_container *k)
{
	cri_updates_fail(k);
	list_remove(&k->link);
	list_remove(&k->of_pod);
	map_remove(&k->pod->cri->all_by_id, span_of(k->id));
	arena_done(&k->arena);
	free(k);
}

void cri_pod_free(struct cri_pod *pod)
{
	LIST_EACH (&pod->containers, k, struct cri_container, of_pod)
		cri_container_free(k);
	list_remove(&pod->link);
	map_remove(&pod->cri->pods_by_id, span_of(pod->id));
	arena_done(&pod->arena);
	arena_done(&pod->net_arena);
	free(pod);
}

/* ---- finding */

struct cri_pod *cri_pod_find(struct cri *c, struct span id, struct err *err)
{
	struct cri_pod *pod = map_get(&c->pods_by_id, id), *found = NULL;
	if (pod)
		return pod;
	LIST_EACH (&c->pods, one, struct cri_pod, link) {
		if (!id.len || !span_starts(span_of(one->id), id))
			continue;
		if (found) {
			(void)err_set(err, ERR_INVALID_REQUEST, "more than one sandbox begins with %.*s", SPAN_ARG(id));
			return NULL;
		}
		found = one;
	}
	if (!found)
		(void)err_set(err, ERR_NOT_FOUND, "an error occurred when try to find sandbox: not found: %.*s", SPAN_ARG(id));
	return found;
}

struct cri_container *cri_container_find(struct cri *c, struct span id, struct err *err)
{
	struct cri_container *k = map_get(&c->all_by_id, id), *found = NULL;
	if (k)
		return k;
	LIST_EACH (&c->all, one, struct cri_container, link) {
		if (!id.len || !span_starts(span_of(one->id), id))
			continue;
		if (found) {
			(void)err_set(err, ERR_INVALID_REQUEST, "more than one container begins with %.*s", SPAN_ARG(id));
			return NULL;
		}
		found = one;
	}
	if (!found)
		(void)err_set(err, ERR_NOT_FOUND, "an error occurred when try to find container \"%.*s\": not found", SPAN_ARG(id));
	return found;
}

/* ---- taking up what there is */

static int take_kind(struct cri *c, const char *id, const char *kind)
{
	auto_err struct err err = ERR_INIT;
	const struct json *extra;
	struct cri_pod *pod;
	struct cri_container *k;
	int rc = container_extra(c->containers, span_of(id), &extra, &err);
	if (rc < 0 || !span_is(member(json_getl(extra, "Cri"), "Kind"), kind))
		return 0;
	rc = !strcmp(kind, "sandbox") ? cri_pod_add(c, id, extra, &pod, &err) : cri_container_add(c, id, extra, &k, &err);
	if (rc < 0)
		log_warn("a record cannot be taken up", kv_str(kind, id), kv_err(&err));
	return rc;
}

/* A sandbox whose pause never ran was half made: nobody was told of it. Nor of one whose pause runs while its plugins have not all
 * run: the pause ends before the result goes. (One whose pause ended is not ready, whatever it has; and a power cut may have taken
 * its result.) */
static bool half_made(const struct cri_pod *pod, const struct json *result)
{
	struct container_state s;
	if (container_state(pod->cri->containers, span_of(pod->id), &s, NULL) < 0 || (!s.running && !s.started_ns))
		return true;
	return s.running && !cri_spec_host_network(&pod->config) && result->kind == JSON_NULL;
}

static void each_name(const char *path, struct cri *c, void (*fn)(struct cri *c, const char *name))
{
	DIR *list = opendir(path);
	struct dirent *d;
	uint8_t raw[32];
	while (list && (d = readdir(list)))
		if (strlen(d->d_name) == 64 && hex_parse(span_of(d->d_name), raw) && !map_get(&c->pods_by_id, span_of(d->d_name)))
			fn(c, d->d_name);
	if (list)
		closedir(list);
}

int cri_take_up(struct cri *c, struct err *err)
{
	auto_arena struct arena a = {};
	char(*ids)[65];
	size_t n;
	container_ids(c->containers, &a, &ids, &n);
	for (size_t i = n; i-- > 0;) /* newest first */
		(void)take_kind(c, ids[i], "sandbox");
	LIST_EACH (&c->pods, pod, struct cri_pod, link) {
		auto_err struct err why = ERR_INIT;
		struct json result;
		if (cri_net_result(&c->paths, pod->id, &a, &result, &why) < 0) {
			log_warn("what network a sandbox has cannot be read", kv_str("sandbox", pod->id), kv_err(&why));
		} else if (half_made(pod, &result)) {
			container_remove(c->containers, span_of(pod->id), CONTAINER_RM_FORCE | CONTAINER_RM_VOLUMES, NULL);
			cri_pod_free(pod); /* its network has no sandbox now */
		} else {
			cri_pod_take_up(pod, &result);
		}
	}
	/* Only listed here: a plugin may take minutes, and nobody is served before this is over. */
	each_name(c->paths.sandboxes, c, cri_debt_add);
	each_name(c->paths.netns, c, cri_debt_add);
	cri_debts_settle(c);
	for (size_t i = n; i-- > 0;)
		if (take_kind(c, ids[i], "container") < 0)
			container_remove(c->containers, span_of(ids[i]), CONTAINER_RM_FORCE | CONTAINER_RM_VOLUMES, NULL);
	return 0;
}
