/* Server-side apply.
 *
 * A manager is who owns a set of fields: entry of metadata.managedFields. Identity: manager, operation, subresource, and for Update
 * the apiVersion. Invariant: the list holds each identity once, and no empty set.
 *
 *     apply    merged = live + patch; the fields that this manager applied before and does not now are removed unless somebody else
 *              owns them; whoever owns a field that changed by it is a conflict, or loses it (force)
 *     update   the writer owns what it changed or added; whoever else owned that loses it
 */
#include "api/ssa.h"

#include "api/codec.h"
#include "api/fielderr.h"
#include "api/gotext.h"
#include "api/ssa_walk.h"
#include "api/times.h"
#include "api/view.h"

#define UPDATERS_MAX 10
#define LAST_APPLIED SPAN("kubectl.kubernetes.io/last-applied-configuration")
#define ANNOTATIONS_MAX (256 * 1024)

struct manager {
	struct span name, api_version, subresource;
	bool applied;
	struct span time; /* empty = none */
	const struct api_fieldset *set;
};

struct managers {
	struct manager *items; /* heap */
	unsigned n, cap;
};

static void managers_done(struct managers *m)
{
	free(m->items);
	*m = (struct managers){};
}
#define auto_managers auto_cleanup(managers_done)

/* ---- entries */
static bool same_identity(const struct manager *x, const struct manager *y)
{
	return x->applied == y->applied && span_eq(x->name, y->name) && span_eq(x->subresource, y->subresource) &&
	       (x->applied || span_eq(x->api_version, y->api_version));
}

static struct manager *find(const struct managers *m, const struct manager *who)
{
	for (unsigned i = 0; i < m->n; i++)
		if (same_identity(&m->items[i], who))
			return &m->items[i];
	return NULL;
}

static struct manager *put(struct managers *m, struct manager entry) /* replaces */
{
	struct manager *old = find(m, &entry);
	if (!old) {
		MEM_GROW(m->items, m->n, m->cap);
		old = &m->items[m->n++];
	}
	*old = entry;
	return old;
}

static void drop(struct managers *m, unsigned i)
{
	memmove(m->items + i, m->items + i + 1, (m->n - i - 1) * sizeof(*m->items));
	m->n--;
}

static void drop_empty(struct managers *m)
{
	for (unsigned i = 0; i < m->n;)
		if (api_fieldset_is_empty(m->items[i].set))
			drop(m, i);
		else
			i++;
}

static int managers_read(struct arena *a, const struct json *list, struct managers *out, struct err *err)
{
	unsigned i = 0;
	JSON_EACH_ITEM(list, e) {
		struct manager m = {
			.name = json_span(json_getl(e, "manager")),
			.api_version = json_span(json_getl(e, "apiVersion")),
			.subresource = json_span(json_getl(e, "subresource")),
			.time = json_span(json_getl(e, "time")),
		};
		struct span operation = json_span(json_getl(e, "operation")), type = json_span(json_getl(e, "fieldsType"));
		m.applied = span_is(operation, "Apply");
		if (!m.applied && !span_is(operation, "Update"))
			return err_set(err, ERR_INTERNAL, "operation must be `Apply` or `Update`");
		if (!m.api_version.len)
			return err_set(err, ERR_INTERNAL, "apiVersion must not be empty");
		if (!type.len)
			return err_set(err, ERR_INTERNAL, "missing fieldsType in managed fields entry %u", i);
		if (!span_is(type, "FieldsV1")) {
			auto_buf struct buf quoted = {};
			api_go_quote(&quoted, type);
			return err_set(err, ERR_INTERNAL, "invalid fieldsType %s in managed fields entry %u", buf_cstr(&quoted), i);
		}
		const struct json *fields = json_getl(e, "fieldsV1");
		struct json parsed;
		if (json_is(fields, JSON_RAW)) {
			if (json_parse(a, json_span(fields), 0, NULL, &parsed, err) < 0)
				return -ERR_INTERNAL;
			fields = &parsed;
		}
		if (api_fieldset_parse(a, fields, &m.set, err) < 0) {
			(void)err_note(err, "error decoding set");
			if (err)
				err->class = ERR_INTERNAL;
			return -ERR_INTERNAL;
		}
		put(out, m);
		i++;
	}
	return 0;
}

static int64_t unix_of(struct span time)
{
	int64_t s;
	int32_t ns;
	return time.len && time_parse(time.ptr, time.len, &s, &ns) == 0 ? s : 0;
}

static int entry_order(const void *px, const void *py)
{
	const struct manager *x = px, *y = py;
	int c;
	if (x->applied != y->applied)
		return x->applied ? -1 : 1;
	int64_t sx = unix_of(x->time), sy = unix_of(y->time);
	if (sx != sy)
		return sx < sy ? -1 : 1;
	if ((c = span_cmp(x->name, y->name)) || (c = span_cmp(x->api_version, y->api_version)))
		return c;
	return span_cmp(x->subresource, y->subresource);
}

/* Sets object.metadata.managedFields; metadata is made the object's own first. */
static void managers_write(struct arena *a, struct managers *m, struct json *object)
{
	const struct json *old = json_getl(object, "metadata");
	struct json metadata = json_object(), list = json_array();
	JSON_EACH_MEMBER(old, member)
		if (!span_is(json_key(member), "managedFields"))
			json_add(a, &metadata, json_key(member), member->value);
	if (m->n > 1)
		qsort(m->items, m->n, sizeof(*m->items), entry_order);
	for (unsigned i = 0; i < m->n; i++) {
		const struct manager *e = &m->items[i];
		struct json entry = json_object();
		if (e->name.len)
			json_add(a, &entry, SPAN("manager"), json_str(e->name));
		json_add(a, &entry, SPAN("operation"), json_cstr(e->applied ? "Apply" : "Update"));
		json_add(a, &entry, SPAN("apiVersion"), json_str(e->api_version));
		if (e->time.len)
			json_add(a, &entry, SPAN("time"), json_str(e->time));
		json_add(a, &entry, SPAN("fieldsType"), json_cstr("FieldsV1"));
		json_add(a, &entry, SPAN("fieldsV1"), api_fieldset_json(a, e->set));
		if (e->subresource.len)
			json_add(a, &entry, SPAN("subresource"), json_str(e->subresource));
		json_push(a, &list, entry);
	}
	if (m->n)
		json_add(a, &metadata, SPAN("managedFields"), list);
	struct json fresh = json_object();
	JSON_EACH_MEMBER(object, member)
		if (!span_is(json_key(member), "metadata"))
			json_add(a, &fresh, json_key(member), member->value);
	json_add(a, &fresh, SPAN("metadata"), metadata);
	*object = fresh;
}

/* ---- fixed sets */
static void insert_path(struct arena *a, struct api_fieldset *s, struct span dotted, const struct api_path *up)
{
	struct span head, tail;
	bool more = span_split(dotted, '.', &head, &tail);
	struct api_path path = { up, { .kind = API_PE_FIELD, .field = head } };
	if (more)
		insert_path(a, s, tail, &path);
	else
		api_fieldset_insert(a, s, &path);
}

/* What nobody manages; sorted, as sets are. */
#define FIELD(name) { .pe = { .kind = API_PE_FIELD, .field = SPAN_INIT(name) }, .member = true }
static struct api_fieldset_entry strip_metadata_entries[] = {
	FIELD("clusterName"), FIELD("creationTimestamp"), FIELD("generation"), FIELD("managedFields"), FIELD("name"),
	FIELD("namespace"), FIELD("resourceVersion"), FIELD("selfLink"), FIELD("uid"),
};
static const struct api_fieldset strip_metadata = { .n = ARRAY_LEN(strip_metadata_entries), .entries = strip_metadata_entries };
static struct api_fieldset_entry strip_entries[] = {
	FIELD("apiVersion"), FIELD("kind"),
	{ .pe = { .kind = API_PE_FIELD, .field = SPAN_INIT("metadata") }, .member = true, .below = &strip_metadata },
};
static const struct api_fieldset strip_set = { .n = ARRAY_LEN(strip_entries), .entries = strip_entries };
#undef FIELD

static const struct api_fieldset *without_reset(struct arena *a, const struct api_ssa *s, const struct api_fieldset *set)
{
	if (!s->n_reset)
		return set;
	struct api_fieldset *reset = api_fieldset_new(a);
	for (unsigned i = 0; i < s->n_reset; i++)
		insert_path(a, reset, s->reset[i], NULL);
	return api_fieldset_difference(a, set, reset, true);
}

/* ---- typed views */

/* An object as upstream's typed value sees it: the members that Go always writes are there. */
static struct json view_as(struct arena *a, const struct api_type *type, const struct json *object)
{
	return api_type_flags(type) & API_TYPE_CUSTOM ? *object : api_view(a, type, object);
}

static struct json typed_view(struct arena *a, const struct api_ssa *s, const struct json *object)
{
	struct json empty = json_object();
	if (!object) {
		json_add(a, &empty, SPAN("apiVersion"), json_str(s->api_version));
		json_add(a, &empty, SPAN("kind"), json_str(s->kind));
		object = &empty;
	}
	return view_as(a, s->type, object);
}

/* A view of s's version as a manager of another sees it; the type of that, or NULL when it is the same. */
static const struct api_type *other_view(struct arena *a, const struct api_ssa *s, struct span version, const struct json *view,
					 struct json *out)
{
	if (!s->convert || span_eq(version, s->api_version))
		return NULL;
	const struct api_type *type = s->convert(a, s->resource, s->api_version, version, view, out);
	if (type) {
		const struct json converted = *out;
		*out = view_as(a, type, &converted);
	}
	return type;
}

/* "apps/v1, Kind=Deployment"; the core group is empty: "/v1, Kind=Pod". */
static void gvk_print(struct buf *out, struct span api_version, struct span kind)
{
	if (span_chr(api_version, '/') < 0)
		buf_chr(out, '/');
	buf_printf(out, "%.*s, Kind=%.*s", SPAN_ARG(api_version), SPAN_ARG(kind));
}

static struct span now_text(struct arena *a, const struct api_ssa *s)
{
	auto_buf struct buf b = {};
	api_time_print(&b, API_TIME_SECONDS, s->now_unix_s, 0);
	return arena_span(a, buf_span(&b));
}

/* ---- conflicts */
struct conflicts {
	struct managers of; /* who, with the set that is contested */
	unsigned n;         /* paths in all */
};

static void manager_print(struct buf *out, const struct manager *m)
{
	api_go_quote(out, m->name);
	if (m->subresource.len) {
		buf_str(out, " with subresource ");
		api_go_quote(out, m->subresource);
	}
	if (!m->applied)
		buf_printf(out, " using %.*s", SPAN_ARG(m->api_version));
}

struct conflict_words {
	struct err *err;
	struct buf *message;
	struct buf with;
};

static void conflict_path(void *arg, struct span path)
{
	struct conflict_words *w = arg;
	if (w->err)
		err_cause_add(w->err, path, "FieldManagerConflict", buf_span(&w->with));
	buf_printf(w->message, "\n- %.*s", SPAN_ARG(path));
}

static void only_path(void *arg, struct span path)
{
	struct conflict_words *w = arg;
	if (w->err)
		err_cause_add(w->err, path, "FieldManagerConflict", buf_span(&w->with));
	buf_printf(w->message, ": %.*s", SPAN_ARG(path));
}

static int identity_order(const void *px, const void *py)
{
	const struct manager *x = px, *y = py;
	int c = span_cmp(x->name, y->name);
	if (c)
		return c;
	if (x->applied != y->applied)
		return x->applied ? -1 : 1;
	if ((c = span_cmp(x->api_version, y->api_version)))
		return c;
	return span_cmp(x->subresource, y->subresource);
}

static int conflict_error(struct conflicts *c, struct err *err)
{
	auto_buf struct buf message = {};
	struct conflict_words w = { .err = err, .message = &message };
	if (c->of.n > 1)
		qsort(c->of.items, c->of.n, sizeof(*c->of.items), identity_order);
	buf_printf(&message, "Apply failed with %u conflict%s: ", c->n, c->n == 1 ? "" : "s");
	for (unsigned i = 0; i < c->of.n; i++) {
		buf_trunc(&w.with, 0);
		buf_str(&w.with, "conflict with ");
		manager_print(&w.with, &c->of.items[i]);
		if (i)
			buf_chr(&message, '\n');
		buf_str(&message, c->n == 1 ? "conflict with " : "conflicts with ");
		manager_print(&message, &c->of.items[i]);
		if (c->n > 1)
			buf_chr(&message, ':');
		api_fieldset_each(c->of.items[i].set, c->n == 1 ? only_path : conflict_path, &w);
	}
	buf_done(&w.with);
	struct err_cause *causes = err ? err->causes : NULL;
	unsigned n_causes = err ? err->n_causes : 0;
	if (err) { /* err_set starts anew: the causes are put back */
		err->causes = NULL;
		err->n_causes = 0;
	}
	int rc = err_set(err, ERR_STALE, "%s", buf_cstr(&message));
	if (err) {
		err->causes = causes;
		err->n_causes = n_causes;
	}
	return rc;
}

/* ---- the change of ownership that a write brings */
/* The same write in another version's fields: written, and written or removed. False: that version has ours. */
static bool written_elsewhere(struct arena *a, const struct api_ssa *s, struct span version, const struct json *from,
			      const struct json *to, const struct api_fieldset **out_written, const struct api_fieldset **out_gone)
{
	struct json from_there, to_there;
	struct ssa_difference diff;
	const struct api_type *type = other_view(a, s, version, from, &from_there);
	if (!type || !other_view(a, s, version, to, &to_there))
		return false;
	api_ssa_compare(a, ssa_typed(type), &from_there, &to_there, &diff);
	*out_written = api_fieldset_union(a, without_reset(a, s, diff.modified), without_reset(a, s, diff.added));
	*out_gone = api_fieldset_union(a, *out_written, without_reset(a, s, diff.removed));
	return true;
}

/* Takes from all managers but self what the write changed. !force: fills *out_conflicts instead and returns false. */
static bool ownership_move(struct arena *a, const struct api_ssa *s, const struct json *from, const struct json *to,
			   struct managers *m, const struct manager *self, bool force, struct ssa_difference *out_diff,
			   struct conflicts *out_conflicts)
{
	api_ssa_compare(a, ssa_typed(s->type), from, to, out_diff);
	out_diff->removed = without_reset(a, s, out_diff->removed);
	out_diff->modified = without_reset(a, s, out_diff->modified);
	out_diff->added = without_reset(a, s, out_diff->added);
	const struct api_fieldset *written = api_fieldset_union(a, out_diff->modified, out_diff->added);
	const struct api_fieldset **theirs = arena_alloc_n(a, m->n, sizeof(*theirs)), *gone_there;
	for (unsigned i = 0; !force && i < m->n; i++) {
		struct manager contested = m->items[i];
		if (self && same_identity(&m->items[i], self))
			continue;
		if (!written_elsewhere(a, s, m->items[i].api_version, from, to, &theirs[i], &gone_there))
			theirs[i] = written;
		contested.set = api_fieldset_intersection(a, m->items[i].set, theirs[i]);
		if (api_fieldset_is_empty(contested.set))
			continue;
		put(&out_conflicts->of, contested);
		out_conflicts->n += api_fieldset_size(contested.set);
	}
	if (!force && out_conflicts->n)
		return false;
	const struct api_fieldset *gone = api_fieldset_union(a, written, out_diff->removed);
	for (unsigned i = 0; i < m->n; i++) {
		if (self && same_identity(&m->items[i], self))
			continue;
		if (!written_elsewhere(a, s, m->items[i].api_version, from, to, &theirs[i], &gone_there))
			gone_there = gone;
		m->items[i].set = api_fieldset_difference(a, m->items[i].set, gone_there, false);
	}
	drop_empty(m);
	return true;
}

static void reconcile(struct arena *a, const struct api_ssa *s, struct managers *m)
{
	for (unsigned i = 0; i < m->n; i++) {
		struct json nothing = json_object(), out;
		const struct api_type *theirs = other_view(a, s, m->items[i].api_version, &nothing, &out);
		m->items[i].set = api_ssa_reconcile(a, ssa_typed(theirs ? theirs : s->type), m->items[i].set);
	}
}

/* At most UPDATERS_MAX entries of operation Update: the oldest of a version are joined under one name. */
static void updaters_cap(struct arena *a, struct managers *m)
{
	for (;;) {
		unsigned updaters = 0;
		int oldest = -1, second = -1;
		for (unsigned i = 0; i < m->n; i++)
			updaters += !m->items[i].applied;
		if (updaters <= UPDATERS_MAX)
			return;
		/* The entries are sorted by age; two of one version, the older ones first, become one. */
		qsort(m->items, m->n, sizeof(*m->items), entry_order);
		for (unsigned i = 0; second < 0 && i < m->n; i++) {
			if (m->items[i].applied)
				continue;
			for (unsigned k = 0; k < i; k++)
				if (!m->items[k].applied && span_eq(m->items[k].api_version, m->items[i].api_version)) {
					oldest = (int)k;
					second = (int)i;
					break;
				}
		}
		if (second < 0)
			return; /* ten versions and more: nothing can be joined */
		struct manager bucket = { .name = SPAN("ancient-changes"), .api_version = m->items[second].api_version,
					  .time = m->items[second].time };
		bucket.set = api_fieldset_union(a, m->items[oldest].set, m->items[second].set);
		drop(m, (unsigned)second);
		drop(m, (unsigned)oldest);
		const struct manager *there = find(m, &bucket);
		if (there)
			bucket.set = api_fieldset_union(a, bucket.set, there->set);
		put(m, bucket);
	}
}

/* Bookkeeping of one write that is no apply. from and to are typed views. */
static void update_managers(struct arena *a, const struct api_ssa *s, const struct json *from, const struct json *to,
			    struct managers *m, struct span name, bool cap)
{
	struct ssa_difference diff;
	struct conflicts none = {};
	struct manager self = { .name = name.len ? name : SPAN("unknown"), .api_version = s->api_version,
				.subresource = s->subresource };
	reconcile(a, s, m);
	(void)ownership_move(a, s, from, to, m, NULL, true, &diff, &none);
	const struct api_fieldset *set = api_fieldset_union(a, diff.modified, diff.added);
	set = api_fieldset_difference(a, set, &strip_set, false);
	if (!api_fieldset_is_empty(set)) {
		const struct manager *before = find(m, &self);
		self.set = before ? api_fieldset_union(a, before->set, set) : set;
		self.time = now_text(a, s);
		put(m, self);
	}
	if (cap)
		updaters_cap(a, m);
}

static bool exists(const struct json *live)
{
	return json_span(json_getl(json_getl(live, "metadata"), "uid")).len > 0;
}

/* An empty list, or one empty entry: forget all managers. */
static bool is_reset(const struct json *list)
{
	return json_is(list, JSON_ARRAY) && (!list->n || (list->n == 1 && list->items[0].kind == JSON_OBJECT && !list->items[0].n));
}

static struct json without_managed_fields(struct arena *a, const struct json *object)
{
	struct managers none = {};
	struct json copy = *object;
	managers_write(a, &none, &copy);
	return copy;
}

void api_ssa_update(struct arena *a, const struct api_ssa *s, const struct json *live, struct json *object, struct span manager)
{
	auto_managers struct managers m = {};
	const struct json *given = json_getl(json_getl(object, "metadata"), "managedFields");
	const struct json *kept = json_getl(json_getl(live, "metadata"), "managedFields");
	if (s->subresource.len || !is_reset(given)) {
		if (s->subresource.len || managers_read(a, given, &m, NULL) < 0 || !m.n) {
			m.n = 0;
			if (managers_read(a, kept, &m, NULL) < 0)
				m.n = 0;
		}
	}
	struct json plain = without_managed_fields(a, object);
	/* What exists and has no managers yet is not tracked before its first apply. */
	if (m.n || !exists(live)) {
		struct json live_plain = live ? without_managed_fields(a, live) : JSON_NULL_VALUE;
		struct json from = typed_view(a, s, live ? &live_plain : NULL), to = typed_view(a, s, &plain);
		update_managers(a, s, &from, &to, &m, manager, true);
	}
	managers_write(a, &m, &plain);
	*object = plain;
}

/* ---- apply */
/* pruned with what a manager of another version owns of merged, found in that version's fields. */
static struct json keep_elsewhere(struct arena *a, const struct api_ssa *s, const struct json *merged, struct json pruned,
				  const struct manager *m)
{
	struct json merged_there, pruned_there, back;
	const struct api_type *type = other_view(a, s, m->api_version, merged, &merged_there);
	if (!type || !other_view(a, s, m->api_version, &pruned, &pruned_there))
		return pruned;
	struct ssa_type t = ssa_typed(type);
	const struct api_fieldset *all = api_ssa_name_fields(a, t, api_ssa_fields(a, t, &merged_there));
	const struct api_fieldset *keep =
		api_fieldset_union(a, api_ssa_name_fields(a, t, api_ssa_fields(a, t, &pruned_there)),
				   api_ssa_name_fields(a, t, m->set));
	struct json kept = api_ssa_remove(a, t, &merged_there, api_fieldset_difference(a, all, keep, false));
	if (!s->convert(a, s->resource, m->api_version, s->api_version, &kept, &back))
		return pruned;
	return view_as(a, s->type, &back);
}

/* The merged object without what this manager applied before and nobody owns now. */
static struct json prune(struct arena *a, const struct api_ssa *s, struct json merged, const struct managers *m,
			 const struct api_fieldset *last)
{
	struct ssa_type t = ssa_typed(s->type);
	if (api_fieldset_is_empty(last))
		return merged;
	last = api_ssa_name_fields(a, t, last);
	struct json pruned = api_ssa_remove(a, t, &merged, last);
	/* What somebody owns comes back. */
	const struct api_fieldset *owned = &api_fieldset_empty;
	for (unsigned i = 0; i < m->n; i++) {
		struct json there;
		if (!other_view(a, s, m->items[i].api_version, &merged, &there))
			owned = api_fieldset_union(a, owned, m->items[i].set);
	}
	const struct api_fieldset *all = api_ssa_name_fields(a, t, api_ssa_fields(a, t, &merged));
	const struct api_fieldset *left = api_ssa_name_fields(a, t, api_ssa_fields(a, t, &pruned));
	const struct api_fieldset *keep = api_fieldset_union(a, left, api_ssa_name_fields(a, t, owned));
	pruned = api_ssa_remove(a, t, &merged, api_fieldset_difference(a, all, keep, false));
	for (unsigned i = 0; i < m->n; i++)
		pruned = keep_elsewhere(a, s, &merged, pruned, &m->items[i]);
	/* So does what nobody ever applied and only hung below an item that was removed. */
	left = api_ssa_name_fields(a, t, api_ssa_fields(a, t, &pruned));
	const struct api_fieldset *gone = api_fieldset_difference(a, all, left, false);
	return api_ssa_remove(a, t, &merged, api_fieldset_intersection(a, gone, last));
}

/* What kubectl's annotation says and live still has: conflicts over it are no conflicts. NULL: there is none. */
static const struct api_fieldset *last_applied_fields(struct arena *a, const struct api_ssa *s, const struct json *live,
						      const struct json *live_view)
{
	struct span text = json_span(json_get(json_getl(json_getl(live, "metadata"), "annotations"), LAST_APPLIED));
	struct json last;
	struct ssa_type t = ssa_typed(s->type);
	struct ssa_difference diff;
	if (!text.len || json_parse(a, text, JSON_DUPLICATES_LAST, NULL, &last, NULL) < 0 ||
	    !span_eq(json_span(json_getl(&last, "apiVersion")), s->api_version) || api_ssa_check(a, t, &last, false, NULL) < 0)
		return NULL;
	api_ssa_compare(a, t, &last, live_view, &diff);
	const struct api_fieldset *set = api_fieldset_difference(a, api_ssa_fields(a, t, &last), diff.modified, false);
	set = api_fieldset_difference(a, set, diff.added, false);
	return api_fieldset_difference(a, set, diff.removed, false);
}

static void last_applied_write(struct arena *a, const struct json *patch, struct json *object)
{
	const struct json *metadata = json_getl(object, "metadata"), *annotations = json_getl(metadata, "annotations");
	if (!json_span(json_get(annotations, LAST_APPLIED)).len)
		return;
	struct json config = json_copy(a, patch), own = json_object(), fresh = json_object();
	struct json *config_annotations = json_getl(json_getl(&config, "metadata"), "annotations");
	if (config_annotations)
		json_remove(config_annotations, LAST_APPLIED);
	auto_buf struct buf text = {};
	json_write(&text, &config, JSON_HTML | JSON_SORTED);
	buf_chr(&text, '\n');
	size_t total = LAST_APPLIED.len + text.len;
	JSON_EACH_MEMBER(annotations, m) {
		if (span_eq(json_key(m), LAST_APPLIED))
			continue;
		total += m->key_len + json_span(&m->value).len;
		json_add(a, &own, json_key(m), m->value);
	}
	if (total <= ANNOTATIONS_MAX)
		json_add(a, &own, LAST_APPLIED, json_str(arena_span(a, buf_span(&text))));
	JSON_EACH_MEMBER(metadata, m)
		json_add(a, &fresh, json_key(m), span_is(json_key(m), "annotations") ? own : m->value);
	json_setl(a, object, "metadata", fresh);
}

static int patch_check(struct arena *a, const struct api_ssa *s, const struct json *patch, struct err *err)
{
	struct span version = json_span(json_getl(patch, "apiVersion")), kind = json_span(json_getl(patch, "kind"));
	auto_buf struct buf b = {};
	if (patch->kind != JSON_OBJECT || !span_eq(kind, s->kind) || !span_eq(version, s->api_version)) {
		gvk_print(&b, version, kind);
		return err_set(err, ERR_INVALID_REQUEST, "invalid object type: %s", buf_cstr(&b));
	}
	if (json_getl(json_getl(patch, "metadata"), "managedFields"))
		return err_set(err, ERR_INVALID_REQUEST, "metadata.managedFields must be nil");
	int rc = api_ssa_check(a, ssa_typed(s->type), patch, false, err);
	if (rc < 0) {
		const struct json *metadata = json_getl(patch, "metadata");
		buf_printf(&b, "%.*s/%.*s; ", SPAN_ARG(json_span(json_getl(metadata, "namespace"))),
			   SPAN_ARG(json_span(json_getl(metadata, "name"))));
		gvk_print(&b, s->api_version, s->kind);
		return err_note(err, "failed to create typed patch object (%s)", buf_cstr(&b));
	}
	return 0;
}

int api_ssa_apply(struct arena *a, const struct api_ssa *s, const struct json *live, const struct json *patch,
		  struct span manager, bool force, struct json *out, struct err *err)
{
	struct ssa_type t = ssa_typed(s->type);
	auto_managers struct managers m = {};
	int rc = patch_check(a, s, patch, err);
	if (rc < 0)
		return rc;
	if (managers_read(a, json_getl(json_getl(live, "metadata"), "managedFields"), &m, err) < 0)
		return err_note(err, "failed to decode managed fields");
	struct json live_plain = live ? without_managed_fields(a, live) : JSON_NULL_VALUE;
	struct json view = typed_view(a, s, live ? &live_plain : NULL);
	if (!m.n && exists(live)) { /* its fields belong to whoever wrote them before anybody applied */
		struct json empty = typed_view(a, s, NULL);
		update_managers(a, s, &empty, &view, &m, SPAN("before-first-apply"), false);
	}
	reconcile(a, s, &m);
	struct json merged = api_ssa_merge(a, t, &view, patch);
	struct manager self = { .name = manager.len ? manager : SPAN("unknown"), .api_version = s->api_version,
				.subresource = s->subresource, .applied = true };
	const struct manager *before = find(&m, &self);
	const struct api_fieldset *last = before ? before->set : NULL;
	if (before)
		self.time = before->time;
	self.set = without_reset(a, s, api_ssa_fields(a, t, patch));
	put(&m, self);
	struct json result = prune(a, s, merged, &m, last);

	struct ssa_difference diff;
	struct conflicts conflicts = {};
	bool moved = ownership_move(a, s, &view, &result, &m, &self, force, &diff, &conflicts);
	if (!moved && span_is(self.name, "kubectl")) {
		const struct api_fieldset *allowed = last_applied_fields(a, s, live, &view);
		for (unsigned i = 0; allowed && i < conflicts.of.n; i++)
			conflicts.of.items[i].set = api_fieldset_difference(a, conflicts.of.items[i].set, allowed, false);
		drop_empty(&conflicts.of);
		conflicts.n = 0;
		for (unsigned i = 0; i < conflicts.of.n; i++)
			conflicts.n += api_fieldset_size(conflicts.of.items[i].set);
		if (!conflicts.n)
			moved = ownership_move(a, s, &view, &result, &m, &self, true, &diff, &conflicts);
	}
	if (!moved) {
		rc = conflict_error(&conflicts, err);
		managers_done(&conflicts.of);
		return rc;
	}
	managers_done(&conflicts.of);
	struct manager *mine = find(&m, &self);
	if (mine) {
		mine->set = api_fieldset_difference(a, mine->set, &strip_set, false);
		if (!json_equal(&view, &result))
			mine->time = now_text(a, s);
		drop_empty(&m);
	}
	*out = result;
	if (span_is(self.name, "kubectl"))
		last_applied_write(a, patch, out);
	managers_write(a, &m, out);
	return 0;
}

/* ---- from client-side to server-side apply */
bool api_ssa_upgrade(struct arena *a, const struct api_ssa *s, struct json *object, struct span csa_manager,
		     struct span ssa_manager)
{
	auto_managers struct managers m = {};
	int to = -1, first = -1;
	if (managers_read(a, json_getl(json_getl(object, "metadata"), "managedFields"), &m, NULL) < 0)
		return false;
	for (unsigned i = 0; i < m.n; i++) {
		const struct manager *e = &m.items[i];
		if (!span_eq(e->subresource, s->subresource))
			continue;
		if (to < 0 && e->applied && span_eq(e->name, ssa_manager))
			to = (int)i;
		if (first < 0 && !e->applied && span_eq(e->name, csa_manager))
			first = (int)i;
	}
	if (first < 0)
		return false;
	if (to < 0) { /* the first entry of the client-side manager becomes the new one */
		to = first;
		m.items[to].applied = true;
		m.items[to].name = ssa_manager;
	}
	for (unsigned i = 0; i < m.n;) {
		const struct manager e = m.items[i];
		if (e.applied || !span_eq(e.name, csa_manager) || !span_eq(e.subresource, s->subresource)) {
			i++;
			continue;
		}
		/* Other versions' fields may have other names: they are dropped, as upstream. */
		if (span_eq(e.api_version, m.items[to].api_version))
			m.items[to].set = api_fieldset_union(a, m.items[to].set, e.set);
		drop(&m, i);
		to -= (int)i < to;
	}
	managers_write(a, &m, object);
	return true;
}

/* ---- validation */
unsigned api_ssa_validate(const struct json *managed_fields, struct err *err)
{
	unsigned n = 0, i = 0;
	JSON_EACH_ITEM(managed_fields, e) {
		struct span operation = json_span(json_getl(e, "operation")), type = json_span(json_getl(e, "fieldsType"));
		struct span manager = json_span(json_getl(e, "manager")), subresource = json_span(json_getl(e, "subresource"));
		auto_buf struct buf field = {}, quoted = {};
		buf_printf(&field, "metadata.managedFields[%u].", i++);
		size_t stem = field.len;
		if (!span_is(operation, "Apply") && !span_is(operation, "Update")) {
			buf_str(&field, "operation");
			api_go_quote(&quoted, operation);
			api_fe_add(err, buf_span(&field), API_FE_INVALID, buf_span(&quoted), SPAN("must be `Apply` or `Update`"));
			n++;
		}
		if (type.len && !span_is(type, "FieldsV1")) {
			buf_trunc(&field, stem);
			buf_trunc(&quoted, 0);
			buf_str(&field, "fieldsType");
			api_go_quote(&quoted, type);
			api_fe_add(err, buf_span(&field), API_FE_INVALID, buf_span(&quoted), SPAN("must be `FieldsV1`"));
			n++;
		}
		if (manager.len > 128) {
			buf_trunc(&field, stem);
			buf_str(&field, "manager");
			api_fe_add(err, buf_span(&field), API_FE_TOO_LONG, SPAN_EMPTY, SPAN("may not be more than 128 bytes"));
			n++;
		}
		if (subresource.len > 256) {
			buf_trunc(&field, stem);
			buf_str(&field, "subresource");
			api_fe_add(err, buf_span(&field), API_FE_TOO_LONG, SPAN_EMPTY, SPAN("may not be more than 256 bytes"));
			n++;
		}
	}
	return n;
}
