/* Paths inside pods, volume mounts and block devices. */
#include "strategy/pod.h"

bool pod_path_has_backstep(struct span path)
{
	struct span part;
	while (span_cut(&path, '/', &part))
		if (span_is(part, ".."))
			return true;
	return false;
}

bool check_pod_local_path(struct check *c, const struct path *at, struct span path)
{
	unsigned before = c->n;
	if (span_starts(path, SPAN("/")))
		bad_string(c, at, path, "must be a relative path");
	if (pod_path_has_backstep(path))
		bad_string(c, at, path, "must not contain '..'");
	return c->n == before;
}

bool check_pod_nonreserved_path(struct check *c, const struct path *at, struct span path)
{
	unsigned before = c->n;
	check_pod_local_path(c, at, path);
	if (span_starts(path, SPAN("..")) && !span_starts(path, SPAN("../")))
		bad_string(c, at, path, "must not start with '..'");
	return c->n == before;
}

/* Is there an entry whose member is this text? Of entries of one name the last one's paths count, as in Go's maps. */
static bool has_entry(const struct json *list, const char *name, struct span value)
{
	JSON_EACH_ITEM(list, item)
		if (span_eq(member_text(item, name), value))
			return true;
	return false;
}

static bool has_path(const struct json *list, const char *path, struct span value)
{
	uint32_t n = json_count(list);
	for (uint32_t i = 0; i < n; i++) {
		bool shadowed = false;
		for (uint32_t k = i + 1; k < n && !shadowed; k++)
			shadowed = span_eq(member_text(&list->items[k], "name"), member_text(&list->items[i], "name"));
		if (!shadowed && span_eq(member_text(&list->items[i], path), value))
			return true;
	}
	return false;
}

static void check_propagation(struct check *c, const struct path *at, const struct json *mode, const struct json *container)
{
	if (!mode)
		return;
	check_choice(c, at, mode, "Bidirectional HostToContainer None");
	if (span_is(json_span(mode), "Bidirectional") && !member_true(member(container, "securityContext"), "privileged"))
		bad_forbidden(c, at, "Bidirectional mount propagation is available only to privileged containers");
}

static void check_recursive(struct check *c, const struct path *at, const struct json *mount)
{
	const struct json *recursive = member(mount, "recursiveReadOnly"), *propagation = member(mount, "mountPropagation");
	if (!recursive || !check_choice(c, at, recursive, "Disabled Enabled IfPossible") ||
	    span_is(json_span(recursive), "Disabled"))
		return;
	if (!member_true(mount, "readOnly"))
		bad_forbidden(c, at, "may only be specified when readOnly is true");
	if (propagation && !span_is(json_span(propagation), "None"))
		bad_forbidden(c, at, "may only be specified when mountPropagation is None or not specified");
}

/* Complaints about sub-paths and modes stand at the list, not at the item: upstream's paths. */
static void check_mount(struct pod_view *v, const struct path *list_at, const struct path *at, const struct json *mount,
			const struct json *container)
{
	struct check *c = v->c;
	struct span name = member_text(mount, "name"), path = member_text(mount, "mountPath");
	struct span sub = member_text(mount, "subPath"), expr = member_text(mount, "subPathExpr");
	const struct json *volume = pod_volume(v, name), *devices = member(container, "volumeDevices");
	if (!name.len)
		bad_required(c, &PATH(at, "name"), "");
	if (!volume)
		bad_not_found(c, &PATH(at, "name"), name);
	if (!path.len)
		bad_required(c, &PATH(at, "mountPath"), "");
	const struct json *list = member(container, "volumeMounts");
	for (const struct json *before = list->items; before < mount; before++)
		if (span_eq(member_text(before, "mountPath"), path)) {
			bad_string(c, &PATH(at, "mountPath"), path, "must be unique");
			break;
		}
	if (has_entry(devices, "name", name))
		bad_string(c, &PATH(at, "name"), name, "must not already exist in volumeDevices");
	if (has_path(devices, "devicePath", path))
		bad_string(c, &PATH(at, "mountPath"), path, "must not already exist as a path in volumeDevices");
	if (member(volume, "image")) {
		if (sub.len)
			bad_string(c, &PATH(at, "subPath"), sub, "not allowed in image volume sources");
		if (expr.len)
			bad_string(c, &PATH(at, "subPathExpr"), expr, "not allowed in image volume sources");
	}
	if (sub.len)
		check_pod_local_path(c, &PATH(list_at, "subPath"), sub);
	if (expr.len) {
		if (sub.len)
			bad_string(c, &PATH(at, "subPathExpr"), expr, "subPathExpr and subPath are mutually exclusive");
		check_pod_local_path(c, &PATH(list_at, "subPathExpr"), expr);
	}
	check_propagation(c, &PATH(list_at, "mountPropagation"), member(mount, "mountPropagation"), container);
	check_recursive(c, &PATH(list_at, "recursiveReadOnly"), mount);
}

static void check_device(struct pod_view *v, const struct path *at, const struct json *list, uint32_t i, const struct json *mounts)
{
	struct check *c = v->c;
	const struct json *device = &list->items[i];
	struct span name = member_text(device, "name"), path = member_text(device, "devicePath");
	const struct json *volume = pod_volume(v, name);
	bool name_seen = false, path_seen = false;
	for (uint32_t k = 0; k < i; k++) {
		struct span other = member_text(&list->items[k], "devicePath");
		name_seen |= name.len && span_eq(member_text(&list->items[k], "name"), name);
		path_seen |= !pod_path_has_backstep(other) && span_eq(other, path);
	}
	if (!name.len)
		bad_required(c, &PATH(at, "name"), "");
	if (name_seen)
		bad_string(c, &PATH(at, "name"), name, "must be unique");
	if (volume && !member(volume, "persistentVolumeClaim") && !member(volume, "ephemeral"))
		bad_string(c, &PATH(at, "name"), name,
			   "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
	if (!volume)
		bad_not_found(c, &PATH(at, "name"), name);
	if (!path.len)
		bad_required(c, &PATH(at, "devicePath"), "");
	if (path_seen)
		bad_string(c, &PATH(at, "devicePath"), path, "must be unique");
	if (pod_path_has_backstep(path))
		bad_string(c, &PATH(at, "devicePath"), path, "can not contain backsteps ('..')");
	if (has_entry(mounts, "name", name))
		bad_string(c, &PATH(at, "name"), name, "must not already exist in volumeMounts");
	if (has_path(mounts, "mountPath", path))
		bad_string(c, &PATH(at, "devicePath"), path, "must not already exist as a path in volumeMounts");
}

void check_pod_mounts(struct pod_view *v, const struct path *at, const struct json *container)
{
	const struct path mounts_at = PATH(at, "volumeMounts"), devices_at = PATH(at, "volumeDevices");
	const struct json *mounts = member(container, "volumeMounts"), *devices = member(container, "volumeDevices");
	JSON_EACH_INDEX(mounts, mount, i)
		check_mount(v, &mounts_at, &PATH_INDEX(&mounts_at, i), mount, container);
	for (uint32_t i = 0; i < json_count(devices); i++)
		check_device(v, &PATH_INDEX(&devices_at, i), devices, i, mounts);
}
