/* Registries: immutable snapshots of resource rows, with two sorted indexes.
 *
 * Built-in rows are made from the tables when a registry is wanted (a process that serves no API pays nothing), all of them
 * in one block; rows of custom resources stand alone, each with its arena. Everything above sees one kind of row. A snapshot
 * is an array of references in discovery order plus the same ordered by (group, version, plural) and by (group, version,
 * kind): a change copies some hundred pointers, a lookup is a binary search.
 *
 * The box: readers compare one atomic number with the one they remember, and take the lock only when it differs. The old
 * snapshot goes when its last reader has looked again. */
#include <assert.h>
#include <pthread.h>
#include "api/resource.h"
#include "api/rows.h"

struct api_registry {
	_Atomic uint32_t refs;
	uint64_t generation;
	unsigned n, n_versions;
	struct api_resource **rows;  /* owned; references; discovery order */
	struct api_resource **plural; /* the same, borrowed: by group, version, plural */
	struct api_resource **kind;   /* by group, version, kind */
	struct api_group_version *versions;
};

/* Lives until the last of its rows is given back. */
struct builtin_block {
	_Atomic uint32_t live; /* rows with references */
	struct arena arena;
	struct api_resource rows[]; /* by id */
};

static const char *const verb_names[API_VERB_COUNT] = {
	"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
};

const char *api_verb_name(unsigned i)
{
	assert(i < API_VERB_COUNT);
	return verb_names[i];
}

/* ---- rows */

struct api_resource *api_resource_new(void)
{
	struct api_resource *r = mem_new(struct api_resource);
	atomic_init(&r->refs, 1);
	r->id = API_RESOURCE_CUSTOM;
	return r;
}

struct api_resource *api_resource_ref(struct api_resource *r)
{
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

void api_resource_unref(struct api_resource *r)
{
	if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (r->id == API_RESOURCE_CUSTOM) {
		api_types_unref(r->types);
		arena_done(&r->arena);
		free(r);
		return;
	}
	struct builtin_block *b = container_of(r - r->id, struct builtin_block, rows);
	if (atomic_fetch_sub_explicit(&b->live, 1, memory_order_acq_rel) == 1) {
		arena_done(&b->arena);
		free(b);
	}
}

const struct api_subresource *api_resource_sub(const struct api_resource *r, struct span name)
{
	for (unsigned i = 0; i < r->n_subresources; i++)
		if (span_eq(r->subresources[i].name, name))
			return &r->subresources[i];
	return NULL;
}

const struct api_selector *api_resource_selector(const struct api_resource *r, struct span label)
{
	for (unsigned i = 0; i < r->n_selectors; i++)
		if (span_eq(r->selectors[i].label, label))
			return &r->selectors[i];
	return NULL;
}

void api_resource_gv(const struct api_resource *r, struct buf *out)
{
	if (r->group.len) {
		buf_span_add(out, r->group);
		buf_chr(out, '/');
	}
	buf_span_add(out, r->version);
}

static const struct api_type *type_at(uint32_t index)
{
	return index ? &api_t_types[index - 1] : NULL;
}

static const struct span *names(struct arena *a, struct api_text text, unsigned *out_n)
{
	struct span rest = api_text_span(text), part, *list;
	unsigned n = 0;
	while (span_cut(&rest, ',', &part))
		n++;
	*out_n = n;
	if (!n)
		return NULL;
	list = arena_alloc_n(a, n, sizeof(*list));
	rest = api_text_span(text);
	for (n = 0; span_cut(&rest, ',', &part); n++)
		list[n] = part;
	return list;
}

static struct api_column column_of(const struct api_column_row *c)
{
	return (struct api_column){ .name = api_text_span(c->name), .type = api_text_span(c->type),
				    .format = api_text_span(c->format), .priority = c->priority,
				    .cell_json = api_text_span(c->cell_json) };
}

bool api_kind_column(struct span kind, unsigned i, struct api_column *out)
{
	for (uint32_t k = 0; k < api_t_n_column_kinds; k++) {
		const struct api_column_kind *row = &api_t_column_kinds[k];
		if (!span_eq(kind, api_text_span(row->kind)) || i >= row->n)
			continue;
		*out = column_of(&api_t_columns[row->first + i]);
		return true;
	}
	return false;
}

static void fill_builtin(struct api_resource *r, uint32_t id, struct arena *a)
{
	const struct api_resource_row *row = &api_t_resources[id];
	atomic_init(&r->refs, 1);
	r->id = id;
	r->group = api_text_span(row->group);
	r->version = api_text_span(row->version);
	r->kind = api_text_span(row->kind);
	r->list_kind = arena_printf(a, "%.*sList", SPAN_ARG(r->kind));
	r->plural = api_text_span(row->plural);
	r->singular = api_text_span(row->singular);
	r->short_names = names(a, row->short_names, &r->n_short_names);
	r->categories = names(a, row->categories, &r->n_categories);
	r->namespaced = row->namespaced;
	r->served = row->served;
	r->verbs = row->verbs;
	r->storage_hash = api_text_span(row->storage_hash);
	r->type = type_at(row->type);
	r->list_type = type_at(row->list_type);
	struct span rest = api_text_span(row->storage_gvk);
	if (rest.len) { /* "apps/v1/Deployment", "/v1/Pod" */
		(void)span_split(rest, '/', &r->storage_group, &rest);
		(void)span_split(rest, '/', &r->storage_version, &r->storage_kind);
	}
	struct api_subresource *subs = row->n_subs ? arena_alloc_n(a, row->n_subs, sizeof(*subs)) : NULL;
	for (unsigned i = 0; i < row->n_subs; i++) {
		const struct api_sub_row *s = &api_t_subs[row->first_sub + i];
		subs[i] = (struct api_subresource){ .name = api_text_span(s->name), .kind = api_text_span(s->kind),
						    .group_version = api_text_span(s->group_version),
						    .verbs = s->verbs, .type = type_at(s->type) };
	}
	struct api_column *columns = row->n_columns ? arena_alloc_n(a, row->n_columns, sizeof(*columns)) : NULL;
	for (unsigned i = 0; i < row->n_columns; i++)
		columns[i] = column_of(&api_t_columns[row->first_column + i]);
	struct api_selector *selectors = row->n_selectors ? arena_alloc_n(a, row->n_selectors, sizeof(*selectors)) : NULL;
	for (unsigned i = 0; i < row->n_selectors; i++) {
		const struct api_selector_row *s = &api_t_selectors[row->first_selector + i];
		selectors[i] = (struct api_selector){ .label = api_text_span(s->label),
						      .compares = api_text_span(s->compares), .style = (char)s->style };
	}
	r->subresources = subs;
	r->n_subresources = row->n_subs;
	r->columns = columns;
	r->n_columns = row->n_columns;
	r->selectors = selectors;
	r->n_selectors = row->n_selectors;
}

/* ---- order: what is looked for, by what tells rows apart soonest */

static int cmp3(struct span a1, struct span a2, struct span a3, struct span b1, struct span b2, struct span b3)
{
	int c = span_cmp(a1, b1);
	if (c == 0)
		c = span_cmp(a2, b2);
	return c ? c : span_cmp(a3, b3);
}

static int by_plural(const void *x, const void *y)
{
	const struct api_resource *a = *(struct api_resource *const *)x, *b = *(struct api_resource *const *)y;
	return cmp3(a->plural, a->group, a->version, b->plural, b->group, b->version);
}

static int by_kind(const void *x, const void *y)
{
	const struct api_resource *a = *(struct api_resource *const *)x, *b = *(struct api_resource *const *)y;
	return cmp3(a->kind, a->group, a->version, b->kind, b->group, b->version);
}

static unsigned group_rank(const struct api_resource *r)
{
	for (uint32_t i = 0; i < api_t_n_groups; i++)
		if (span_eq(r->group, api_text_span(api_t_groups[i].group)))
			return i;
	return api_t_n_groups;
}

/* "v2" 2,2,0; "v1beta1" 1,1,1; "v1alpha2" 1,0,2: Kubernetes' order of versions is stability first, then numbers, all
 * descending; other names come last, ascending. */
static bool version_parts(struct span v, uint64_t out[3])
{
	size_t i = 1, n = 1;
	if (v.len < 2 || v.ptr[0] != 'v')
		return false;
	while (i < v.len && v.ptr[i] >= '0' && v.ptr[i] <= '9')
		i++;
	if (!span_to_u64(span_sub(v, 1, i), &out[1]) || v.ptr[1] == '0')
		return false;
	struct span rest = span_from(v, i);
	out[0] = 2;
	out[2] = 0;
	if (!rest.len)
		return true;
	if (span_starts(rest, SPAN("beta")))
		out[0] = 1, n = 4;
	else if (span_starts(rest, SPAN("alpha")))
		out[0] = 0, n = 5;
	else
		return false;
	rest = span_from(rest, n);
	return rest.len && rest.ptr[0] != '0' && span_to_u64(rest, &out[2]);
}

int api_version_compare(struct span a, struct span b)
{
	uint64_t x[3], y[3];
	bool kube_a = version_parts(a, x), kube_b = version_parts(b, y);
	if (kube_a != kube_b)
		return kube_a ? -1 : 1;
	if (!kube_a)
		return span_cmp(a, b);
	for (int i = 0; i < 3; i++)
		if (x[i] != y[i])
			return x[i] > y[i] ? -1 : 1;
	return 0;
}

struct ranked {
	struct api_resource *row;
	unsigned rank;
};

static int by_discovery(const void *x, const void *y)
{
	const struct ranked *a = x, *b = y;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	int c = span_cmp(a->row->group, b->row->group);
	if (c == 0)
		c = api_version_compare(a->row->version, b->row->version);
	return c ? c : span_cmp(a->row->plural, b->row->plural);
}

static void order_for_discovery(struct api_resource **rows, unsigned n)
{
	auto_free struct ranked *ranked = mem_realloc_n(NULL, n, sizeof(*ranked));
	for (unsigned i = 0; i < n; i++)
		ranked[i] = (struct ranked){ rows[i], group_rank(rows[i]) };
	qsort(ranked, n, sizeof(*ranked), by_discovery);
	for (unsigned i = 0; i < n; i++)
		rows[i] = ranked[i].row;
}

/* ---- snapshots */

/* Takes the references in rows and the array. */
static struct api_registry *registry_of(struct api_resource **rows, unsigned n)
{
	static _Atomic uint64_t generations;
	struct api_registry *r = mem_new(struct api_registry);
	atomic_init(&r->refs, 1);
	r->generation = atomic_fetch_add(&generations, 1) + 1;
	r->rows = rows;
	r->n = n;
	r->plural = mem_realloc_n(NULL, n ? n : 1, sizeof(*rows));
	r->kind = mem_realloc_n(NULL, n ? n : 1, sizeof(*rows));
	r->versions = mem_realloc_n(NULL, n ? n : 1, sizeof(*r->versions));
	if (!n)
		return r;
	memcpy(r->plural, rows, n * sizeof(*rows));
	memcpy(r->kind, rows, n * sizeof(*rows));
	order_for_discovery(rows, n);
	qsort(r->plural, n, sizeof(*rows), by_plural);
	qsort(r->kind, n, sizeof(*rows), by_kind);
	struct api_group_version *gv = NULL;
	for (unsigned i = 0; i < n; i++) {
		if (!gv || !span_eq(gv->group, rows[i]->group) || !span_eq(gv->version, rows[i]->version)) {
			gv = &r->versions[r->n_versions++];
			*gv = (struct api_group_version){ .group = rows[i]->group, .version = rows[i]->version, .first = i };
			for (uint32_t g = 0; g < api_t_n_groups; g++) {
				const struct api_group_row *row = &api_t_groups[g];
				if (span_eq(gv->group, api_text_span(row->group)) &&
				    span_eq(gv->version, api_text_span(row->version))) {
					gv->group_priority = row->group_priority;
					gv->version_priority = row->version_priority;
				}
			}
		}
		gv->n++;
	}
	return r;
}

struct api_registry *api_registry_builtin(bool off_too)
{
	struct api_resource **rows = mem_realloc_n(NULL, api_t_n_resources, sizeof(*rows));
	struct builtin_block *b = mem_zalloc(sizeof(*b) + api_t_n_resources * sizeof(b->rows[0]));
	unsigned n = 0;
	for (uint32_t i = 0; i < api_t_n_resources; i++) {
		if (!off_too && api_t_resources[i].served == API_SERVED_OFF)
			continue;
		fill_builtin(&b->rows[i], i, &b->arena);
		rows[n++] = &b->rows[i];
	}
	atomic_init(&b->live, n);
	return registry_of(rows, n);
}

struct api_registry *api_registry_serving(const struct span *on, unsigned n_on)
{
	struct api_resource **rows = mem_realloc_n(NULL, api_t_n_resources, sizeof(*rows));
	struct builtin_block *b = mem_zalloc(sizeof(*b) + api_t_n_resources * sizeof(b->rows[0]));
	unsigned n = 0;
	for (uint32_t i = 0; i < api_t_n_resources; i++) {
		auto_buf struct buf gv = {};
		struct api_resource *row = &b->rows[i]; /* a row finds its block by its id */
		fill_builtin(row, i, &b->arena);
		api_resource_gv(row, &gv);
		bool wanted = row->served != API_SERVED_OFF;
		for (unsigned k = 0; k < n_on && !wanted; k++)
			wanted = span_eq(on[k], buf_span(&gv));
		if (!wanted)
			continue;
		if (row->served == API_SERVED_OFF)
			row->served = API_SERVED;
		rows[n++] = row;
	}
	atomic_init(&b->live, n);
	return registry_of(rows, n);
}

struct api_registry *api_registry_with(const struct api_registry *old, struct api_resource *const *add, unsigned n_add,
				       const struct api_resource *const *remove, unsigned n_remove)
{
	struct api_resource **rows = mem_realloc_n(NULL, (size_t)old->n + n_add + 1, sizeof(*rows));
	unsigned n = 0;
	for (unsigned i = 0; i < old->n; i++) {
		bool gone = false;
		for (unsigned k = 0; k < n_add && !gone; k++)
			gone = by_plural(&old->rows[i], &add[k]) == 0;
		for (unsigned k = 0; k < n_remove && !gone; k++)
			gone = by_plural(&old->rows[i], &remove[k]) == 0;
		if (!gone)
			rows[n++] = api_resource_ref(old->rows[i]);
	}
	for (unsigned k = 0; k < n_add; k++)
		rows[n++] = api_resource_ref(add[k]);
	return registry_of(rows, n);
}

struct api_registry *api_registry_ref(struct api_registry *r)
{
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

void api_registry_unref(struct api_registry *r)
{
	if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < r->n; i++)
		api_resource_unref(r->rows[i]);
	free(r->rows);
	free(r->plural);
	free(r->kind);
	free(r->versions);
	free(r);
}

uint64_t api_registry_generation(const struct api_registry *r)
{
	return r->generation;
}

static const struct api_resource *search(struct api_resource *const *rows, unsigned n, const struct api_resource *want,
					 int (*cmp)(const void *, const void *))
{
	struct api_resource *const *found = n ? bsearch(&want, rows, n, sizeof(*rows), cmp) : NULL;
	return found ? *found : NULL;
}

const struct api_resource *api_registry_find(const struct api_registry *r, struct span group, struct span version,
					     struct span plural)
{
	const struct api_resource want = { .group = group, .version = version, .plural = plural };
	return search(r->plural, r->n, &want, by_plural);
}

const struct api_resource *api_registry_find_kind(const struct api_registry *r, struct span group, struct span version,
						  struct span kind)
{
	const struct api_resource want = { .group = group, .version = version, .kind = kind };
	return search(r->kind, r->n, &want, by_kind);
}

unsigned api_registry_n(const struct api_registry *r)
{
	return r->n;
}

const struct api_resource *api_registry_at(const struct api_registry *r, unsigned i)
{
	assert(i < r->n);
	return r->rows[i];
}

unsigned api_registry_n_versions(const struct api_registry *r)
{
	return r->n_versions;
}

const struct api_group_version *api_registry_version(const struct api_registry *r, unsigned i)
{
	assert(i < r->n_versions);
	return &r->versions[i];
}

const struct api_group_version *api_registry_find_version(const struct api_registry *r, struct span group, struct span version)
{
	for (unsigned i = 0; i < r->n_versions; i++)
		if (span_eq(r->versions[i].group, group) && span_eq(r->versions[i].version, version))
			return &r->versions[i];
	return NULL;
}

/* ---- the box */

struct api_registry_box {
	_Atomic uint64_t generation; /* of current */
	pthread_mutex_t lock;
	struct api_registry *current; /* owned; under lock */
};

struct api_registry_box *api_registry_box_new(struct api_registry *first)
{
	struct api_registry_box *box = mem_new(struct api_registry_box);
	assert(pthread_mutex_init(&box->lock, NULL) == 0);
	box->current = first;
	atomic_init(&box->generation, first->generation);
	return box;
}

void api_registry_box_free(struct api_registry_box *box)
{
	if (!box)
		return;
	api_registry_unref(box->current);
	pthread_mutex_destroy(&box->lock);
	free(box);
}

void api_registry_put(struct api_registry_box *box, struct api_registry *next)
{
	pthread_mutex_lock(&box->lock);
	struct api_registry *old = box->current;
	box->current = next;
	atomic_store_explicit(&box->generation, next->generation, memory_order_release);
	pthread_mutex_unlock(&box->lock);
	api_registry_unref(old);
}

struct api_registry *api_registry_get(struct api_registry_box *box, struct api_registry_cache *cache)
{
	uint64_t now = atomic_load_explicit(&box->generation, memory_order_acquire);
	if (likely(cache->held && cache->generation == now))
		return cache->held;
	pthread_mutex_lock(&box->lock);
	struct api_registry *fresh = api_registry_ref(box->current);
	pthread_mutex_unlock(&box->lock);
	api_registry_unref(cache->held);
	cache->held = fresh;
	cache->generation = fresh->generation;
	return fresh;
}

void api_registry_cache_done(struct api_registry_cache *cache)
{
	api_registry_unref(cache->held);
	*cache = (struct api_registry_cache){};
}
