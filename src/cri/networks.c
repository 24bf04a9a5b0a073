/* Which network pods get: the first configuration in the folder, as libcni and containerd choose it. One that is broken is not
 * passed over, as the next may be another network.
 *
 * Files NAME.conflist, NAME.conf and NAME.json in the order of their names; a single plugin's .conf is a list of one. The folder is
 * watched; it is read again when somebody asks after it changed. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "cri/private.h"

#define CONF_BYTES (1u << 20)
#define CONF_FILES 256

struct cri_cni {
	struct cri *cri;
	struct loop_watch watch;
	enum { UNWATCHED, WATCHED, CLOSING } state;
	bool stale;
	struct arena arena;       /* of what follows */
	struct json config;       /* JSON_NULL: none */
	const char *why;          /* there is none */
};

static void watch_closed(struct loop_watch *w)
{
	struct cri_cni *n = container_of(w, struct cri_cni, watch);
	n->state = UNWATCHED;
	cri_busy(n->cri, -1);
}

void cri_cni_close(struct cri_cni *n)
{
	if (!n || n->state != WATCHED)
		return;
	n->state = CLOSING;
	loop_watch_close(&n->watch, watch_closed);
}

static void on_change(struct loop_watch *w, uint32_t mask, uint32_t cookie, const char *file)
{
	struct cri_cni *n = container_of(w, struct cri_cni, watch);
	n->stale = true;
	if (mask & (IN_IGNORED | IN_MOVE_SELF)) /* whatever has its name now is another folder */
		cri_cni_close(n);
}

/* The folder may come later, and come and go: it is watched as soon as it is there. Until then it is looked at each time. */
static void watch(struct cri_cni *n)
{
	auto_err struct err err = ERR_INIT;
	const uint32_t mask = IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF |
			      IN_ATTRIB;
	if (n->state != UNWATCHED)
		return;
	n->stale = true;
	if (loop_watch_open(&n->watch, n->cri->p.loop, "cni configuration", n->cri->p.cni_conf_dir, mask, on_change, &err) == 0) {
		n->state = WATCHED;
		cri_busy(n->cri, 1);
	}
}

static int by_name(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static bool is_config(const char *name)
{
	struct span s = span_of(name);
	return span_ends(s, SPAN(".conflist")) || span_ends(s, SPAN(".conf")) || span_ends(s, SPAN(".json"));
}

static bool has_type(const struct json *plugin)
{
	struct span type = json_span(json_getl(plugin, "type"));
	return type.len && span_chr(type, '/') < 0;
}

/* A file's text as a list of plugins; what is no network configuration is an error that says so. */
static int config_read(struct arena *a, int dir, const char *name, struct json *out, struct err *err)
{
	auto_buf struct buf text = {};
	struct json v, list = json_object(), plugins = json_array();
	int rc = io_read_file(dir, name, &text, CONF_BYTES, err);
	rc = rc < 0 ? rc : json_parse(a, arena_span(a, buf_span(&text)), JSON_DUPLICATES_LAST, NULL, &v, err);
	if (rc < 0)
		return err_note(err, "%s", name);
	if (json_is(json_getl(&v, "plugins"), JSON_ARRAY)) {
		list = v;
	} else if (json_is(&v, JSON_OBJECT)) {
		json_push(a, &plugins, v);
		json_setl(a, &list, "cniVersion", json_str(json_span(json_getl(&v, "cniVersion"))));
		json_setl(a, &list, "name", json_str(json_span(json_getl(&v, "name"))));
		json_setl(a, &list, "plugins", plugins);
	}
	const struct json *all = json_getl(&list, "plugins");
	if (!json_is(all, JSON_ARRAY) || !all->n || all->n > 32)
		return err_set(err, ERR_INVALID, "%s: no plugins in it", name);
	if (!json_span(json_getl(&list, "name")).len)
		return err_set(err, ERR_INVALID, "%s: it has no name", name);
	JSON_EACH_ITEM (all, p)
		if (!has_type(p))
			return err_set(err, ERR_INVALID, "%s: a plugin has no type", name);
	*out = list;
	return 0;
}

static void load(struct cri_cni *n)
{
	const char *names[CONF_FILES];
	size_t count = 0;
	arena_reset(&n->arena);
	n->config = JSON_NULL_VALUE;
	n->stale = false;
	auto_fd int dir = open(n->cri->p.cni_conf_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = dir < 0 ? NULL : fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 0));
	struct dirent *d;
	while (list && (d = readdir(list)) && count < CONF_FILES)
		if (is_config(d->d_name))
			names[count++] = arena_cstr(&n->arena, span_of(d->d_name));
	if (list)
		closedir(list);
	qsort(names, count, sizeof(names[0]), by_name);
	n->why = "cni plugin not initialized";
	if (count) {
		auto_err struct err err = ERR_INIT;
		if (config_read(&n->arena, dir, names[0], &n->config, &err) == 0)
			return;
		n->why = arena_printf(&n->arena, "cni config load failed: %s", err_msg(&err)).ptr;
	}
}

const struct json *cri_cni_config(struct cri_cni *n, const char **out_why)
{
	watch(n);
	if (n->stale || n->state != WATCHED)
		load(n);
	if (n->config.kind == JSON_OBJECT)
		return &n->config;
	*out_why = n->why;
	return NULL;
}

void cri_cni_new(struct cri *c)
{
	c->cni = mem_new(struct cri_cni);
	c->cni->cri = c;
	c->cni->stale = true;
}

void cri_cni_free(struct cri_cni *n)
{
	if (!n)
		return;
	arena_done(&n->arena);
	free(n);
}
