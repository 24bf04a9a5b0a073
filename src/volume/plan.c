/* All mounts of one container. Pure.
 *
 * dockerd's order of precedence (daemon/volumes.go registerMountPoints): what is inherited yields to Binds and Mounts, among
 * which a target stands once; the image's volumes yield to everything, --tmpfs too. */
#include "volume/private.h"

enum { MOUNTS_MAX = 10000 };

struct gather {
	struct volume_mount *items; /* in the arena's memory only at the end; owned until then */
	size_t n, cap;
	struct map targets;         /* target → rank + 1; keys in the arena */
};

enum rank { INHERITED = 1, ASKED };

static struct volume_mount *find(struct gather *g, struct span target)
{
	for (size_t i = 0; i < g->n; i++)
		if (span_eq(g->items[i].target, target))
			return &g->items[i];
	return NULL;
}

static int duplicate(struct span target, struct err *err)
{
	return err_set(err, ERR_INVALID_REQUEST, "Duplicate mount point: %.*s", SPAN_ARG(target));
}

static int add(struct gather *g, const struct volume_mount *m, enum rank rank, struct span said, struct err *err)
{
	uintptr_t before = (uintptr_t)map_get(&g->targets, m->target);
	if (before >= (uintptr_t)rank && rank == ASKED)
		return duplicate(said, err);
	map_put(&g->targets, m->target, (void *)(uintptr_t)rank);
	if (before) {
		*find(g, m->target) = *m;
		return 0;
	}
	if (g->n == MOUNTS_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "more than %d mounts", MOUNTS_MAX);
	MEM_GROW(g->items, g->n, g->cap);
	g->items[g->n++] = *m;
	return 0;
}

static int asked(struct gather *g, const struct json *host, struct arena *a, struct err *err)
{
	struct span driver = json_span(json_getl(host, "VolumeDriver"));
	struct volume_mount m;
	int rc = 0;
	JSON_EACH_MEMBER(json_getl(host, "Tmpfs"), t)
		if (rc == 0 && (rc = volume_tmpfs_parse(json_key(t), json_span(&t->value), a, &m, err)) == 0)
			rc = add(g, &m, ASKED, m.target, err);
	JSON_EACH_ITEM(json_getl(host, "Binds"), b)
		if (rc == 0 && (rc = volume_mount_parse(json_span(b), driver, a, &m, err)) == 0)
			rc = add(g, &m, ASKED, m.target, err);
	JSON_EACH_ITEM(json_getl(host, "Mounts"), d)
		if (rc == 0 && (rc = volume_mount_read(d, a, &m, err)) == 0)
			rc = add(g, &m, ASKED, json_span(json_getl(d, "Target")), err);
	return rc;
}

static size_t depth(struct span path)
{
	size_t n = 0;
	for (size_t i = 0; i < path.len; i++)
		n += path.ptr[i] == '/';
	return n;
}

static int by_depth(const void *a, const void *b)
{
	const struct volume_mount *x = a, *y = b;
	size_t dx = depth(x->target), dy = depth(y->target);
	return dx != dy ? (dx < dy ? -1 : 1) : span_cmp(x->target, y->target);
}

int volume_mounts_plan(const struct volume_plan *p, struct arena *a, struct volume_mount **out, size_t *out_n, struct err *err)
{
	struct gather g = {};
	int rc = 0;
	for (size_t i = 0; i < p->n_inherited && rc == 0; i++)
		rc = add(&g, &p->inherited[i], INHERITED, SPAN_EMPTY, err);
	if (rc == 0)
		rc = asked(&g, p->host_config, a, err);
	JSON_EACH_MEMBER(p->volumes, v) {
		struct volume_mount m;
		/* dockerd takes any key here and fails at the start; saying so at once is the better time. */
		if (rc == 0 && (rc = volume_anonymous_parse(json_key(v), a, &m, err)) == 0 && !map_get(&g.targets, m.target)) {
			m.driver = json_span(json_getl(p->host_config, "VolumeDriver"));
			rc = add(&g, &m, ASKED, m.target, err);
		}
	}
	if (rc == 0) {
		if (g.n)
			qsort(g.items, g.n, sizeof(*g.items), by_depth);
		*out = arena_alloc_n(a, g.n + 1, sizeof(**out));
		if (g.n)
			memcpy(*out, g.items, g.n * sizeof(**out));
		*out_n = g.n;
	}
	free(g.items);
	map_done(&g.targets);
	return rc;
}

static void text(struct arena *a, struct json *o, const char *key, struct span v, bool omit_empty)
{
	if (v.len || !omit_empty)
		json_add(a, o, span_of(key), json_str(v));
}

struct json volume_mount_point(const struct volume_mount *m, struct span name, struct span path, struct arena *a)
{
	struct json o = json_object();
	bool named = m->kind == VOLUME_NAMED;
	text(a, &o, "Type", span_of(volume_kind_name(m->kind)), false);
	text(a, &o, "Name", named ? name : SPAN_EMPTY, true);
	text(a, &o, "Source", path, false);
	text(a, &o, "Destination", m->target, false);
	text(a, &o, "Driver", named ? (m->driver.len ? m->driver : SPAN("local")) : SPAN_EMPTY, true);
	text(a, &o, "Mode", m->mode, false);
	json_add(a, &o, SPAN("RW"), json_bool(!m->read_only));
	text(a, &o, "Propagation", m->propagation, false);
	return o;
}
