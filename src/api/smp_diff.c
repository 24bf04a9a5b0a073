/* Making strategic merge patches, from two states of an object or from three.
 *
 *     two      patch = diff(original, modified)
 *     three    patch = diff(original, modified), deletions alone
 *                      + diff(current, modified), additions and changes alone
 *
 * Three ways are what `kubectl apply` sends: what the last applied configuration had and the new one has not goes; what the new
 * one says differently from the live object is set; what others added to the live object stays. The sum of both patches is
 * itself a strategic merge (smp.c with `combine`), because both speak of the same lists.
 *
 * diff walks two objects and their type side by side. Per member of modified: new or of another kind, the value; both objects,
 * their diff; both lists, by strategy merge their items' diff (by key, or as a set), else the new list. Lists get
 * $setElementOrder when anything of them or their order changed, objects with strategy retainKeys get
 * $retainKeys. What is upstream's and looks odd is marked "as upstream".
 *
 * Recursion goes as deep as the trees, which the parser bounds. */
#include "api/gotext.h"
#include "api/smp_private.h"
#include "yaml/yaml.h"

struct mode {
	bool order;        /* $setElementOrder is wanted */
	bool no_changes;   /* deletions alone */
	bool no_deletions; /* additions and changes alone */
	bool retain_keys;  /* of the object at hand: its strategy holds retainKeys */
};

static int diff_maps(struct smp *s, const struct api_type *t, const struct json *original, const struct json *modified,
		     struct mode mode, struct json *out);

/* reflect.TypeOf: int64 and float64 are two types. */
static bool same_type(const struct json *a, const struct json *b)
{
	return strcmp(api_go_type(a), api_go_type(b)) == 0;
}

static bool deep_equal(const struct json *a, const struct json *b)
{
	return same_type(a, b) && json_equal(a, b);
}

/* ---- sorting by what Go's %v prints */
struct sortable {
	struct span text;
	struct json value;
	uint32_t at;
};

static int sortable_cmp(const void *left, const void *right)
{
	const struct sortable *a = left, *b = right;
	int c = span_cmp(a->text, b->text);
	return c ? c : (a->at < b->at ? 1 : -1);
}

/* A sorted copy. Items of one text are turned round, as upstream: its "less" is true for equals and Go sorts short lists by
 * insertion. */
static struct smp_items sorted(const struct smp *s, const struct smp_items *l, struct span key)
{
	struct sortable *order = arena_alloc_n(s->arena, l->n, sizeof(*order));
	struct smp_items out = smp_list_new(s, l->n);
	static const struct json null = JSON_NULL_VALUE;
	for (uint32_t i = 0; i < l->n; i++) {
		auto_buf struct buf text = {};
		const struct json *by = key.len ? json_get(&l->items[i], key) : &l->items[i];
		api_go_value(&text, by ? by : &null);
		order[i] = (struct sortable){ arena_span(s->arena, buf_span(&text)), l->items[i], i };
	}
	if (l->n)
		qsort(order, l->n, sizeof(*order), sortable_cmp);
	for (uint32_t i = 0; i < l->n; i++)
		smp_list_push(&out, order[i].value);
	return out;
}

static struct span shown(const struct smp *s, const struct json *v)
{
	auto_buf struct buf text = {};
	api_go_value(&text, v);
	return arena_span(s->arena, buf_span(&text));
}

/* ---- lists */
static int diff_scalars(const struct smp *s, struct smp_items *original, const struct smp_items *modified, struct mode mode,
			struct smp_items *out_add, struct smp_items *out_delete)
{
	struct smp_items was = sorted(s, original, SPAN_EMPTY), is = sorted(s, modified, SPAN_EMPTY);
	uint32_t i = 0, k = 0;
	*original = was; /* as upstream: sorted in place, which the comparison for $setElementOrder sees */
	*out_add = smp_list_new(s, is.n);
	*out_delete = smp_list_new(s, was.n);
	while (i < was.n || k < is.n) {
		int c = i == was.n ? 1 : k == is.n ? -1 : span_cmp(shown(s, &was.items[i]), shown(s, &is.items[k]));
		if (c == 0) {
			i++;
			k++;
		} else if (c > 0) {
			if (!mode.no_changes)
				smp_list_push(out_add, is.items[k]);
			k++;
		} else {
			if (!mode.no_deletions)
				smp_list_push(out_delete, was.items[i]);
			i++;
		}
	}
	api_smp_scalars_once(out_delete);
	return 0;
}

static int key_of(const struct smp *s, const struct json *item, struct span key, struct json *out, struct span *out_text)
{
	const struct json *v = json_get(item, key);
	if (!v)
		return api_smp_no_merge_key(s, item, key);
	*out = *v;
	*out_text = shown(s, v);
	return 0;
}

static int diff_items(struct smp *s, const struct smp_meta *m, const struct smp_items *original,
		      const struct smp_items *modified, struct mode mode, struct smp_items *out, struct smp_items *out_delete)
{
	struct smp_items was = sorted(s, original, m->merge_key), is = sorted(s, modified, m->merge_key);
	uint32_t i = 0, k = 0;
	int rc;
	*out = smp_list_new(s, is.n + was.n);
	*out_delete = smp_list_new(s, was.n);
	while (i < was.n || k < is.n) {
		struct json was_key = JSON_NULL_VALUE, is_key = JSON_NULL_VALUE;
		struct span was_text = SPAN_EMPTY, is_text = SPAN_EMPTY;
		if (i < was.n && (rc = key_of(s, &was.items[i], m->merge_key, &was_key, &was_text)) < 0)
			return rc;
		if (k < is.n && (rc = key_of(s, &is.items[k], m->merge_key, &is_key, &is_text)) < 0)
			return rc;
		int c = i == was.n ? 1 : k == is.n ? -1 : span_cmp(was_text, is_text);
		if (c == 0) {
			struct json patch;
			if ((rc = diff_maps(s, m->type, &was.items[i], &is.items[k], mode, &patch)) < 0)
				return rc;
			if (patch.n) {
				json_set(s->arena, &patch, m->merge_key, is_key);
				smp_list_push(out, patch);
			}
			i++;
			k++;
		} else if (c > 0) {
			if (!mode.no_changes)
				smp_list_push(out, is.items[k]);
			k++;
		} else {
			if (!mode.no_deletions) {
				struct json gone = json_object();
				json_add(s->arena, &gone, m->merge_key, was_key);
				json_set(s->arena, &gone, SMP_DIRECTIVE, json_cstr("delete"));
				smp_list_push(out_delete, gone);
			}
			i++;
		}
	}
	return 0;
}

static bool order_same(const struct smp_items *a, const struct smp_items *b, struct span key)
{
	if (a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++)
		if (!api_smp_same(json_get(&a->items[i], key), json_get(&b->items[i], key)))
			return false;
	return true;
}

static void add_parallel(struct smp *s, struct json *patch, struct span prefix, struct span key, const struct smp_items *l)
{
	if (l->n)
		json_add(s->arena, patch, arena_printf(s->arena, "%.*s/%.*s", SPAN_ARG(prefix), SPAN_ARG(key)), smp_list_json(l));
}

/* A list of strategy merge: the list, its parallel lists. */
static int diff_list(struct smp *s, const struct smp_meta *m, struct span key, const struct json *original_json,
		     const struct json *modified_json, struct mode mode, struct json *patch)
{
	struct smp_items original = smp_list_of(original_json), modified = smp_list_of(modified_json);
	struct smp_items list = {}, gone = {}, order = {};
	enum json_kind kind;
	int rc;
	if (!original.n) { /* no order is needed where there was nothing */
		if (modified.n && !mode.no_changes)
			json_add(s->arena, patch, key, *modified_json);
		return 0;
	}
	if ((rc = api_smp_element_kind(s, &original, &modified, &kind)) < 0)
		return rc;
	if (kind == JSON_OBJECT) {
		if ((rc = diff_items(s, m, &original, &modified, mode, &list, &gone)) < 0 ||
		    (rc = api_smp_order_sort(s, &list, &modified, m->merge_key, true)) < 0)
			return rc;
		for (uint32_t i = 0; i < gone.n; i++)
			smp_list_push(&list, gone.items[i]);
		gone.n = 0;
		if (mode.order && ((!mode.no_changes && (list.n || !order_same(&original, &modified, m->merge_key))) ||
				   (!mode.no_deletions && list.n))) {
			order = smp_list_new(s, modified.n);
			for (uint32_t i = 0; i < modified.n; i++) {
				struct json named = json_object();
				json_add(s->arena, &named, m->merge_key, *json_get(&modified.items[i], m->merge_key));
				smp_list_push(&order, named);
			}
		}
	} else {
		if ((rc = diff_scalars(s, &original, &modified, mode, &list, &gone)) < 0 ||
		    (rc = api_smp_order_sort(s, &list, &modified, SPAN_EMPTY, false)) < 0)
			return rc;
		struct json was = smp_list_json(&original);
		if (mode.order && ((!mode.no_deletions && gone.n) || (!mode.no_changes && !deep_equal(&was, modified_json))))
			order = modified;
	}
	if (list.n)
		json_add(s->arena, patch, key, smp_list_json(&list));
	add_parallel(s, patch, SMP_DELETE_PREFIX, key, &gone);
	add_parallel(s, patch, SMP_ORDER_PREFIX, key, &order);
	return 0;
}

/* ---- objects */
static int diff_list_member(struct smp *s, const struct api_type *t, struct span key, const struct json *original,
			    const struct json *modified, struct mode mode, struct json *patch)
{
	struct smp_meta m;
	int rc = api_smp_lookup_list(s, t, key, &m);
	if (rc < 0)
		return rc;
	if (m.merge) {
		mode.retain_keys = m.retain_keys;
		return diff_list(s, &m, key, original, modified, mode, patch);
	}
	if (!mode.no_changes && !deep_equal(original, modified))
		json_add(s->arena, patch, key, *modified);
	return 0;
}

static int diff_map_member(struct smp *s, const struct api_type *t, struct span key, const struct json *original,
			   const struct json *modified, struct mode mode, struct json *patch)
{
	struct smp_meta m;
	struct json sub;
	int rc = api_smp_lookup(s, t, key, &m);
	if (rc < 0)
		return rc;
	if (m.replace) { /* whether it differs or not, as upstream */
		if (!mode.no_changes)
			json_add(s->arena, patch, key, *modified);
		return 0;
	}
	mode.retain_keys = m.retain_keys;
	if ((rc = diff_maps(s, m.type, original, modified, mode, &sub)) == 0 && sub.n)
		json_add(s->arena, patch, key, sub);
	return rc;
}

static int diff_member(struct smp *s, const struct api_type *t, const struct json_member *m, const struct json *original,
		       struct mode mode, struct json *patch)
{
	struct span key = json_key(m);
	const struct json *was = json_get(original, key), *is = &m->value;
	if (was && span_eq(key, SMP_DIRECTIVE)) {
		if (was->kind != JSON_STRING || is->kind != JSON_STRING)
			return api_smp_bad(s, "invalid value for special key: $patch");
		if (!json_equal(was, is))
			json_add(s->arena, patch, key, *is);
		return 0;
	}
	if (!was || !same_type(was, is)) {
		if (!mode.no_changes)
			json_add(s->arena, patch, key, *is);
		return 0;
	}
	if (is->kind != JSON_OBJECT && is->kind != JSON_ARRAY) {
		if (!mode.no_changes && !json_equal(was, is))
			json_add(s->arena, patch, key, *is);
		return 0;
	}
	/* Of a field that the schema does not know nothing has to be known while it stays the same. */
	struct smp quiet = { .arena = s->arena };
	struct smp_meta meta;
	bool known = (is->kind == JSON_OBJECT ? api_smp_lookup(&quiet, t, key, &meta) :
						api_smp_lookup_list(&quiet, t, key, &meta)) == 0;
	if (!known && json_equal(was, is))
		return 0;
	return is->kind == JSON_OBJECT ? diff_map_member(s, t, key, was, is, mode, patch) :
					 diff_list_member(s, t, key, was, is, mode, patch);
}

static void add_retain_keys(struct smp *s, const struct json *original, const struct json *modified, struct json *patch)
{
	struct smp_items keys = smp_list_new(s, modified->n);
	bool wanted = patch->n > 0;
	JSON_EACH_MEMBER(modified, m)
		if (m->value.kind != JSON_NULL)
			smp_list_push(&keys, json_str(json_key(m)));
	JSON_EACH_MEMBER(original, m)
		wanted = wanted || (m->value.kind != JSON_NULL && !json_member(modified, json_key(m)));
	if (!keys.n || !wanted)
		return;
	keys = sorted(s, &keys, SPAN_EMPTY);
	json_set(s->arena, patch, SMP_RETAIN_KEYS, smp_list_json(&keys));
}

static int diff_maps(struct smp *s, const struct api_type *t, const struct json *original, const struct json *modified,
		     struct mode mode, struct json *out)
{
	struct json patch = json_object();
	JSON_EACH_MEMBER(modified, m) {
		int rc = diff_member(s, t, m, original, mode, &patch);
		if (rc < 0)
			return rc;
	}
	if (!mode.no_deletions)
		JSON_EACH_MEMBER(original, m)
			if (!json_member(modified, json_key(m)))
				json_set(s->arena, &patch, json_key(m), JSON_NULL_VALUE);
	if (mode.retain_keys)
		add_retain_keys(s, original, modified, &patch);
	*out = patch;
	return 0;
}

/* ---- conflicts: two patches that set one thing differently. 1 = there is one. */
static int values_conflict(const struct smp *s, const struct api_type *t, const struct smp_meta *m, const struct json *left,
			   const struct json *right);

static int maps_conflict(const struct smp *s, const struct api_type *t, const struct json *left, const struct json *right)
{
	JSON_EACH_MEMBER(left, l) {
		struct span key = json_key(l);
		const struct json *r = json_get(right, key);
		struct smp_meta meta = {};
		int rc = 0;
		if (!r || span_eq(key, SMP_DIRECTIVE) || span_eq(key, SMP_RETAIN_KEYS))
			continue;
		if (l->value.kind == JSON_ARRAY)
			rc = api_smp_lookup_list(s, t, key, &meta);
		else if (l->value.kind == JSON_OBJECT)
			rc = api_smp_lookup(s, t, key, &meta);
		if (rc < 0 || (rc = values_conflict(s, meta.type, &meta, &l->value, r)) != 0)
			return rc;
	}
	return 0;
}

static int items_conflict(const struct smp *s, const struct api_type *t, const struct smp_items *left,
			  const struct smp_items *right, struct span key)
{
	const struct smp_items *lists[] = { left, right };
	static const struct smp_meta none = {};
	for (int i = 0; i < 2; i++)
		for (uint32_t k = 0; k < lists[i]->n; k++)
			if (!json_member(&lists[i]->items[k], key))
				return api_smp_bad(s, "cannot find merge key `%.*s` in merging list element:%.*s", SPAN_ARG(key),
						   SPAN_ARG(shown(s, &lists[i]->items[k])));
	for (uint32_t i = 0; i < left->n; i++)
		for (uint32_t k = 0; k < right->n; k++) {
			int rc;
			if (span_eq(shown(s, json_get(&left->items[i], key)), shown(s, json_get(&right->items[k], key))) &&
			    (rc = values_conflict(s, t, &none, &left->items[i], &right->items[k])) != 0)
				return rc;
		}
	return 0;
}

static int lists_conflict(const struct smp *s, const struct api_type *t, const struct smp_meta *m, const struct json *left,
			  const struct json *right)
{
	struct smp_items a = smp_list_of(left), b = smp_list_of(right);
	static const struct smp_meta none = {};
	enum json_kind kind;
	int rc = api_smp_element_kind(s, &a, &b, &kind);
	if (rc < 0)
		return rc;
	if (m->merge)
		return kind == JSON_OBJECT ? items_conflict(s, t, &a, &b, m->merge_key) : 0;
	if (a.n != b.n)
		return 1;
	if (kind != JSON_OBJECT) {
		struct json own[2] = { json_copy(s->arena, left), json_copy(s->arena, right) };
		a = smp_list_of(&own[0]);
		b = smp_list_of(&own[1]);
		api_smp_scalars_once(&a);
		api_smp_scalars_once(&b);
		a = sorted(s, &a, SPAN_EMPTY);
		b = sorted(s, &b, SPAN_EMPTY);
	}
	for (uint32_t i = 0; i < a.n; i++)
		if (i >= b.n || (rc = values_conflict(s, t, &none, &a.items[i], &b.items[i])) != 0)
			return i >= b.n ? 1 : rc;
	return 0;
}

static int values_conflict(const struct smp *s, const struct api_type *t, const struct smp_meta *m, const struct json *left,
			   const struct json *right)
{
	if (left->kind != JSON_OBJECT && left->kind != JSON_ARRAY)
		return !deep_equal(left, right);
	if (left->kind != right->kind)
		return 1;
	if (left->kind == JSON_ARRAY)
		return lists_conflict(s, t, m, left, right);
	const struct json *l = json_get(left, SMP_DIRECTIVE), *r = json_get(right, SMP_DIRECTIVE);
	if (!l != !r || (l && !json_equal(l, r)))
		return 1;
	return m->replace ? 0 : maps_conflict(s, t, left, right);
}

/* ---- the seam */
static struct json object_of(struct arena *a, const struct json *v)
{
	return v ? json_copy(a, v) : json_object();
}

static int objects_check(const struct json *a, const struct json *b, const struct json *c, struct err *err)
{
	if ((a && a->kind != JSON_OBJECT) || b->kind != JSON_OBJECT || c->kind != JSON_OBJECT)
		return err_set(err, ERR_INVALID_REQUEST, "invalid JSON document");
	return 0;
}

int api_smp_diff(struct arena *a, const struct api_type *t, const struct json *original, const struct json *modified,
		 struct json *out_patch, struct err *err)
{
	struct smp s = { .arena = a, .err = err };
	struct json patch;
	int rc = objects_check(original, modified, modified, err);
	if (rc < 0)
		return rc;
	struct json was = object_of(a, original), is = object_of(a, modified);
	if ((rc = diff_maps(&s, t, &was, &is, (struct mode){ .order = true }, &patch)) < 0)
		return rc;
	json_sort(&patch);
	*out_patch = patch;
	return 0;
}

int api_smp_diff_three(struct arena *a, const struct api_type *t, const struct json *original, const struct json *modified,
		       const struct json *current, bool overwrite, struct json *out_patch, struct err *err)
{
	struct smp s = { .arena = a, .err = err, .combine = true };
	struct json delta, patch, changed;
	int rc = objects_check(original, modified, current, err);
	if (rc < 0)
		return rc;
	/* Copies: the patches share values with them, and joining the patches changes those. */
	struct json was = object_of(a, original), wanted = object_of(a, modified), now = object_of(a, current);
	if ((rc = diff_maps(&s, t, &now, &wanted, (struct mode){ .order = true, .no_deletions = true }, &delta)) < 0 ||
	    (rc = diff_maps(&s, t, &was, &wanted, (struct mode){ .order = true, .no_changes = true }, &patch)) < 0 ||
	    (rc = api_smp_merge_map(&s, t, &patch, &delta)) < 0)
		return rc;
	json_sort(&patch);
	if (!overwrite) {
		static const struct smp_meta none = {};
		if ((rc = diff_maps(&s, t, &was, &now, (struct mode){}, &changed)) < 0 ||
		    (rc = values_conflict(&s, t, &none, &patch, &changed)) < 0)
			return rc;
		if (rc) {
			auto_buf struct buf ours = {}, theirs = {};
			yaml_write(&ours, &patch);
			yaml_write(&theirs, &changed);
			return err_set(err, ERR_STALE, "patch:\n%s\nconflicts with changes made from original to current:\n%s\n",
				       buf_cstr(&ours), buf_cstr(&theirs));
		}
	}
	*out_patch = patch;
	return 0;
}
