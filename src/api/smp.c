/* Strategic merge patch.
 *
 * The walk goes down object and patch together with the type. Per member:
 *
 *     patch null              the member goes
 *     one side is absent, or the kinds differ: the patch's value, without nulls and directives
 *     both objects            strategy replace: the patch's; else merge them
 *     both lists              strategy merge: merge by key (objects) or as a set (scalars); else the patch's
 *
 * Before that, each $setElementOrder/<list> merges its list and puts it in the order given: items named there in that order,
 * the server's other items at the places they had among them. Order without a directive is the same with the patch as the order.
 *
 * Recursion goes as deep as the trees, which the parser bounds. */
#include "api/smp_private.h"

#include "api/gotext.h"

/* ---- errors */
int api_smp_bad(const struct smp *s, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int rc = err_vset(s->err, ERR_INVALID_REQUEST, fmt, ap);
	va_end(ap);
	return rc;
}

int api_smp_no_merge_key(const struct smp *s, const struct json *map, struct span key)
{
	auto_buf struct buf shown = {};
	api_go_value(&shown, map);
	return api_smp_bad(s, "map: %s does not contain declared merge key: %.*s", buf_cstr(&shown), SPAN_ARG(key));
}

static int bad_patch_type(const struct smp *s, const struct json *directive, const struct json *map)
{
	auto_buf struct buf shown = {}, name = {};
	api_go_value(&name, directive);
	api_go_value(&shown, map);
	return api_smp_bad(s, "unknown patch type: %s in map: %s", buf_cstr(&name), buf_cstr(&shown));
}

int api_smp_bad_arg_type(const struct smp *s, const char *expected, const struct json *got)
{
	return api_smp_bad(s, "expected a %s, but received a %s", expected,
		   got->kind == JSON_NULL ? "%!s(<nil>)" : api_go_type(got));
}

static const char bad_primitive_list[] = "invalid patch format of primitive list";
static const char bad_retain_keys[] = "invalid patch format of retainKeys";
static const char bad_element_order[] = "invalid patch format of setElementOrder list";

/* ---- the schema */
static const char *go_kind(const struct api_type *t)
{
	switch (api_type_kind(t)) {
	case API_OBJECT:
	case API_TIME:
	case API_MICROTIME:
	case API_DURATION:
	case API_QUANTITY:
	case API_INTORSTRING:
	case API_RAW:
	case API_UNION:
		return "struct";
	case API_MAP:
		return "map";
	case API_LIST:
	case API_BYTES:
		return "slice";
	case API_INT32:
		return "int32";
	case API_INT64:
		return "int64";
	case API_BOOL:
		return "bool";
	case API_DOUBLE:
		return "float64";
	case API_ANY:
		return "interface";
	default:
		return "string";
	}
}

int api_smp_lookup(const struct smp *s, const struct api_type *t, struct span key, struct smp_meta *out)
{
	*out = (struct smp_meta){};
	if (strcmp(go_kind(t), "struct") != 0)
		return api_smp_bad(s, "merging an object in json but data type is not struct, instead is: %s", go_kind(t));
	const struct api_field *f = api_type_kind(t) == API_OBJECT ? api_type_field(t, key) : NULL;
	if (!f) {
		struct span name = api_type_name(t);
		auto_buf struct buf quoted = {};
		api_go_quote(&quoted, key);
		name = span_from(name, (size_t)(span_rchr(name, '.') + 1));
		return api_smp_bad(s, "unable to find api field in struct %.*s for the json field %s", SPAN_ARG(name), buf_cstr(&quoted));
	}
	out->type = api_field_type(f);
	out->merge = api_field_has(f, API_FIELD_PATCH_MERGE);
	out->replace = api_field_has(f, API_FIELD_PATCH_REPLACE);
	out->retain_keys = api_field_has(f, API_FIELD_RETAIN_KEYS);
	out->merge_key = api_field_merge_key(f);
	return 0;
}

int api_smp_lookup_list(const struct smp *s, const struct api_type *t, struct span key, struct smp_meta *out)
{
	int rc = api_smp_lookup(s, t, key, out);
	if (rc < 0)
		return rc;
	if (api_type_kind(out->type) != API_LIST)
		return api_smp_bad(s, "expected slice or array type, but got: %s", go_kind(t));
	out->type = api_type_elem(out->type);
	if (api_type_kind(out->type) == API_LIST)
		return api_smp_bad(s, "unexpected slice of slice");
	return 0;
}

/* ---- values */
bool api_smp_same(const struct json *a, const struct json *b)
{
	static const struct json null = JSON_NULL_VALUE;
	a = a ? a : &null;
	b = b ? b : &null;
	return a->kind == b->kind && a->kind != JSON_OBJECT && a->kind != JSON_ARRAY && json_equal(a, b);
}

static bool is_directive(const struct json *v)
{
	return json_is(v, JSON_OBJECT) && json_member(v, SMP_DIRECTIVE);
}

static void drop_nulls(struct json *v)
{
	if (v->kind == JSON_ARRAY) {
		JSON_EACH_ITEM(v, item)
			drop_nulls(item);
		return;
	}
	for (uint32_t i = 0; v->kind == JSON_OBJECT && i < v->n;) {
		if (v->members[i].value.kind == JSON_NULL) {
			json_remove_at(v, i);
			continue;
		}
		drop_nulls(&v->members[i++].value);
	}
}

/* False: the value is nothing but a directive. */
static bool drop_directives(struct json *v)
{
	if (is_directive(v))
		return false;
	for (uint32_t i = 0; v->kind == JSON_OBJECT && i < v->n;) {
		if (drop_directives(&v->members[i].value))
			i++;
		else
			json_remove_at(v, i);
	}
	for (uint32_t i = 0; v->kind == JSON_ARRAY && i < v->n;) {
		if (drop_directives(&v->items[i]))
			i++;
		else
			json_remove_at(v, i);
	}
	return true;
}

int api_smp_element_kind(const struct smp *s, const struct smp_items *a, const struct smp_items *b, enum json_kind *out)
{
	const struct json *first = NULL;
	const struct smp_items *lists[] = { a, b };
	for (int l = 0; l < 2; l++)
		for (uint32_t i = 0; i < lists[l]->n; i++) {
			const struct json *v = &lists[l]->items[i];
			if (!first) {
				first = v;
				if (v->kind == JSON_ARRAY)
					return api_smp_bad(s, "lists of lists are not supported");
			} else if (strcmp(api_go_type(first), api_go_type(v)) != 0) {
				auto_buf struct buf shown = {};
				struct json both[2] = { smp_list_json(a), smp_list_json(b) };
				struct json all = { .kind = JSON_ARRAY, .n = 2, .items = both };
				api_go_value(&shown, &all);
				return api_smp_bad(s, "list element types are not identical: %s", buf_cstr(&shown));
			}
		}
	if (!first)
		return api_smp_bad(s, "no elements in any of the given slices");
	*out = first->kind;
	return 0;
}

/* ---- order */
static const struct json *identity(const struct json *item, struct span key, bool maps)
{
	if (!maps)
		return item;
	return json_get(item, key);
}

static int64_t position(const struct smp_items *order, const struct json *item, struct span key, bool maps)
{
	for (uint32_t i = 0; i < order->n; i++)
		if (api_smp_same(identity(item, key, maps), identity(&order->items[i], key, maps)))
			return i;
	return -1;
}

static int keys_check(const struct smp *s, const struct smp_items *l, struct span key)
{
	for (uint32_t i = 0; i < l->n; i++) {
		if (l->items[i].kind != JSON_OBJECT)
			return api_smp_bad_arg_type(s, "map[string]interface {}", &l->items[i]);
		if (!json_member(&l->items[i], key))
			return api_smp_no_merge_key(s, &l->items[i], key);
	}
	return 0;
}

/* Sorts by the positions in order, stable; items to delete go to the end. An insertion sort, as Go's stable sort is for short
 * lists: what is not in order compares as smaller, and that must give Go's result. */
int api_smp_order_sort(const struct smp *s, struct smp_items *l, const struct smp_items *order, struct span key, bool maps)
{
	struct smp_items deleted = smp_list_new(s, l->n);
	if (maps) {
		int rc = keys_check(s, l, key);
		if (rc < 0 || (rc = keys_check(s, order, key)) < 0)
			return rc;
		uint32_t kept = 0;
		for (uint32_t i = 0; i < l->n; i++) {
			if (span_is(json_span(json_get(&l->items[i], SMP_DIRECTIVE)), "delete"))
				smp_list_push(&deleted, l->items[i]);
			else
				l->items[kept++] = l->items[i];
		}
		l->n = kept;
	}
	int64_t *at = arena_alloc_n(s->arena, l->n, sizeof(*at));
	for (uint32_t i = 0; i < l->n; i++)
		at[i] = position(order, &l->items[i], key, maps);
	for (uint32_t i = 1; i < l->n; i++)
		for (uint32_t j = i; j > 0; j--) {
			bool less = at[j] < 0 || at[j - 1] < 0 || at[j] < at[j - 1];
			if (!less)
				break;
			struct json v = l->items[j];
			l->items[j] = l->items[j - 1];
			l->items[j - 1] = v;
			int64_t p = at[j];
			at[j] = at[j - 1];
			at[j - 1] = p;
		}
	for (uint32_t i = 0; i < deleted.n; i++)
		smp_list_push(l, deleted.items[i]);
	return 0;
}

/* The items of `patch` in the order of patch_order, the server's own items at the places that server_order gives them among
 * those. */
static int order_join(const struct smp *s, struct smp_items *patch, struct smp_items *server, const struct smp_items *patch_order,
		      const struct smp_items *server_order, struct span key, bool maps, struct smp_items *out)
{
	int rc = api_smp_order_sort(s, patch, patch_order, key, maps);
	if (rc < 0 || (rc = api_smp_order_sort(s, server, server_order, key, maps)) < 0)
		return rc;
	*out = smp_list_new(s, patch->n + server->n);
	for (uint32_t i = 0, j = 0; i < server->n || j < patch->n;) {
		bool server_first = j >= patch->n;
		if (!server_first && i < server->n) {
			int64_t l = position(server_order, &server->items[i], key, maps);
			int64_t r = position(server_order, &patch->items[j], key, maps);
			server_first = l >= 0 && r >= 0 && l < r;
		}
		smp_list_push(out, server_first ? server->items[i++] : patch->items[j++]);
	}
	return 0;
}

/* Those of l that are in by, and the others. */
static int partition(const struct smp *s, const struct smp_items *l, const struct smp_items *by, struct span key,
		     struct smp_items *in, struct smp_items *others)
{
	bool maps = key.len > 0;
	*in = smp_list_new(s, l->n);
	*others = smp_list_new(s, l->n);
	for (uint32_t i = 0; i < l->n; i++) {
		if (maps && l->items[i].kind != JSON_OBJECT)
			return api_smp_bad_arg_type(s, "map[string]interface {}", &l->items[i]);
		if (maps && !json_member(&l->items[i], key))
			return api_smp_no_merge_key(s, &l->items[i], key);
		for (uint32_t k = 0; maps && k < by->n; k++)
			if (by->items[k].kind != JSON_OBJECT)
				return api_smp_bad(s, "value for key %u is not a map", k);
		smp_list_push(position(by, &l->items[i], key, maps) >= 0 ? in : others, l->items[i]);
	}
	return 0;
}

/* ---- lists */
static int find_by_key(const struct smp *s, const struct smp_items *l, struct span key, const struct json *value, int64_t *out)
{
	*out = -1;
	for (uint32_t i = 0; i < l->n; i++) {
		if (l->items[i].kind != JSON_OBJECT)
			return api_smp_bad(s, "value for key %u is not a map", i);
		const struct json *v = json_get(&l->items[i], key);
		if (v && api_smp_same(v, value)) {
			*out = i;
			return 0;
		}
	}
	return 0;
}

/* Takes the items with directives out of patch and does what they say to original. */
static int special_items(const struct smp *s, struct smp_items *original, struct smp_items *patch, struct span key,
			 bool *out_replace)
{
	struct smp_items plain = smp_list_new(s, patch->n);
	bool replace = false;
	for (uint32_t i = 0; i < patch->n; i++) {
		const struct json *item = &patch->items[i], *directive = json_get(item, SMP_DIRECTIVE);
		if (!directive) {
			smp_list_push(&plain, *item);
		} else if (span_is(json_span(directive), "delete")) {
			const struct json *value = json_get(item, key);
			if (!value)
				return api_smp_no_merge_key(s, item, key);
			for (;;) {
				int64_t at;
				int rc = find_by_key(s, original, key, value, &at);
				if (rc < 0)
					return rc;
				if (at < 0)
					break;
				memmove(original->items + at, original->items + at + 1,
					(original->n - (size_t)at - 1) * sizeof(*original->items));
				original->n--;
			}
		} else if (span_is(json_span(directive), "replace")) {
			replace = true;
		} else if (span_is(json_span(directive), "merge")) {
			return api_smp_bad(s, "merging lists cannot yet be specified in the patch");
		} else {
			return bad_patch_type(s, directive, item);
		}
	}
	if (replace) {
		*original = plain;
		*patch = (struct smp_items){};
	} else {
		*patch = plain;
	}
	*out_replace = replace;
	return 0;
}

void api_smp_scalars_once(struct smp_items *l)
{
	for (uint32_t i = 0; i + 1 < l->n; i++)
		for (uint32_t j = i + 1; j < l->n; j++)
			if (api_smp_same(&l->items[i], &l->items[j])) {
				l->items[j] = l->items[l->n - 1];
				l->n--;
				j--;
			}
}

/* Upstream works in the storage of the original list: deleting moves items down in it and new ones take the places that become
 * free. The order that $setElementOrder takes from the original sees that (its length stays), so it is done here too. */
static int merge_list(struct smp *s, const struct smp_meta *m, struct json *original_json, struct json *patch_json,
		      bool is_delete_list, struct json *out)
{
	struct smp_items original = smp_list_of(original_json), patch = smp_list_of(patch_json);
	struct span key = m->merge_key;
	enum json_kind kind;
	int rc;
	if (!original.n && !patch.n) {
		*out = *original_json;
		return 0;
	}
	if ((rc = api_smp_element_kind(s, &original, &patch, &kind)) < 0)
		return rc;
	struct smp_items merged = smp_list_new(s, original.n + patch.n);
	if (kind != JSON_OBJECT) {
		if (is_delete_list) {
			for (uint32_t i = 0; i < original.n; i++)
				if (position(&patch, &original.items[i], SPAN_EMPTY, false) < 0)
					smp_list_push(&merged, original.items[i]);
			*out = smp_list_json(&merged);
			return 0;
		}
		for (uint32_t i = 0; i < original.n; i++)
			smp_list_push(&merged, original.items[i]);
		for (uint32_t i = 0; i < patch.n; i++)
			smp_list_push(&merged, patch.items[i]);
		api_smp_scalars_once(&merged);
	} else {
		if (!key.len)
			return api_smp_bad(s, "cannot merge lists without merge key for %s", go_kind(m->type));
		bool replace = false;
		if ((rc = special_items(s, &original, &patch, key, &replace)) < 0)
			return rc;
		for (uint32_t i = 0; i < original.n; i++)
			smp_list_push(&merged, original.items[i]);
		for (uint32_t i = 0; i < patch.n; i++) {
			const struct json *value = json_get(&patch.items[i], key);
			int64_t at;
			if (!value)
				return api_smp_no_merge_key(s, &patch.items[i], key);
			if ((rc = find_by_key(s, &merged, key, value, &at)) < 0)
				return rc;
			if (at < 0) {
				at = merged.n;
				smp_list_push(&merged, patch.items[i]);
			} else if ((rc = api_smp_merge_map(s, m->type, &merged.items[at], &patch.items[i])) < 0) {
				return rc;
			}
			if (!replace && at < original_json->n)
				original_json->items[at] = merged.items[at];
		}
	}
	struct smp_items in, others, both;
	bool maps = kind == JSON_OBJECT;
	if ((rc = partition(s, &merged, &patch, key, &in, &others)) < 0 ||
	    (rc = order_join(s, &in, &others, &patch, &original, key, maps, &both)) < 0)
		return rc;
	*out = smp_list_json(&both);
	return 0;
}

/* ---- $setElementOrder */
/* The patch's items must be in the list of the order, in that order. */
static int order_check(const struct smp *s, const struct smp_items *patch, const struct json *order_json, struct span key)
{
	struct smp_items order = smp_list_of(order_json);
	uint32_t i = 0, k = 0;
	if (!patch->n || !order.n)
		return 0;
	for (uint32_t j = 0; key.len && j < patch->n; j++)
		if (patch->items[j].kind != JSON_OBJECT)
			return api_smp_bad_arg_type(s, "map[string]interface {}", &patch->items[j]);
	while (i < patch->n && k < order.n) {
		const struct json *item = &patch->items[i];
		if (is_directive(item)) {
			i++;
			continue;
		}
		if (key.len) {
			if (order.items[k].kind != JSON_OBJECT)
				return api_smp_bad_arg_type(s, "map[string]interface {}", &order.items[k]);
			if (!json_member(item, key))
				return api_smp_no_merge_key(s, item, key);
			if (!json_member(&order.items[k], key))
				return api_smp_no_merge_key(s, &order.items[k], key);
		}
		if (api_smp_same(identity(item, key, key.len > 0), identity(&order.items[k], key, key.len > 0)))
			i++;
		k++;
	}
	while (i < patch->n && key.len && span_is(json_span(json_get(&patch->items[i], SMP_DIRECTIVE)), "delete"))
		i++;
	if (i < patch->n && k >= order.n) {
		auto_buf struct buf shown = {}, wanted = {};
		struct json list = smp_list_json(patch);
		api_go_value(&shown, &list);
		api_go_value(&wanted, order_json);
		return api_smp_bad(s, "The order in patch list:\n%s\n doesn't match $setElementOrder list:\n%s\n", buf_cstr(&shown),
			   buf_cstr(&wanted));
	}
	return 0;
}

static int ordered_list(struct smp *s, const struct api_type *t, struct json *original, struct json *patch, struct span name,
			struct json *order_json)
{
	struct smp_meta m;
	int rc;
	if (order_json->kind != JSON_ARRAY)
		return api_smp_bad_arg_type(s, "[]interface {}", order_json);
	struct json *old = json_get(original, name), *new = json_get(patch, name);
	if (old && old->kind != JSON_ARRAY)
		return api_smp_bad_arg_type(s, "[]interface {}", old);
	if (new && new->kind != JSON_ARRAY)
		return api_smp_bad_arg_type(s, "[]interface {}", new);
	struct smp_items old_list = smp_list_of(old), new_list = smp_list_of(new), order = smp_list_of(order_json);
	if ((rc = api_smp_lookup_list(s, t, name, &m)) < 0 || (rc = order_check(s, &new_list, order_json, m.merge_key)) < 0)
		return rc;
	if (!old && !new)
		return 0;
	enum json_kind kind;
	if ((rc = api_smp_element_kind(s, &old_list, &new_list, &kind)) < 0)
		return rc;
	struct json merged;
	if (old && !new) {
		merged = *old;
	} else if (!old) {
		(void)drop_directives(new);
		merged = *new;
	} else if (m.merge) {
		if ((rc = merge_list(s, &m, old, new, false, &merged)) < 0)
			return rc;
	} else {
		merged = *new;
	}
	struct smp_items merged_list = smp_list_of(&merged), in, others, both;
	if ((rc = partition(s, &merged_list, &order, m.merge_key, &in, &others)) < 0 ||
	    (rc = order_join(s, &in, &others, &order, &old_list, m.merge_key, kind == JSON_OBJECT, &both)) < 0)
		return rc;
	json_set(s->arena, original, name, smp_list_json(&both));
	json_remove(patch, name);
	return 0;
}

/* ---- objects */
static bool name_behind(struct span member, struct span prefix, struct span *out)
{
	struct span head;
	return span_split(member, '/', &head, out) && span_eq(head, prefix);
}

static int retain_keys(struct smp *s, struct json *original, struct json *patch)
{
	const struct json *found = json_get(patch, SMP_RETAIN_KEYS);
	if (!found)
		return 0;
	struct json keys = *found;
	json_remove(patch, SMP_RETAIN_KEYS);
	if (s->combine) {
		const struct json *theirs = json_get(original, SMP_RETAIN_KEYS);
		auto_buf struct buf a = {}, b = {};
		if (!theirs) {
			json_add(s->arena, original, SMP_RETAIN_KEYS, keys);
			return 0;
		}
		if (json_equal(theirs, &keys))
			return 0;
		api_go_value(&a, theirs);
		api_go_value(&b, &keys);
		return api_smp_bad(s, "%s and %s are not deep equal: this may happen when calculating the 3-way diff patch",
				   buf_cstr(&a), buf_cstr(&b));
	}
	if (keys.kind != JSON_ARRAY)
		return api_smp_bad(s, "%s", bad_retain_keys);
	JSON_EACH_MEMBER(patch, m) {
		struct span key = json_key(m);
		struct json name = json_str(key);
		struct smp_items l = smp_list_of(&keys);
		if (m->value.kind == JSON_NULL || span_starts(key, SMP_DELETE_PREFIX) || span_starts(key, SMP_ORDER_PREFIX))
			continue;
		if (position(&l, &name, SPAN_EMPTY, false) < 0)
			return api_smp_bad(s, "%s", bad_retain_keys);
	}
	for (uint32_t i = 0; i < original->n;) {
		struct json name = json_str(json_key(&original->members[i]));
		struct smp_items l = smp_list_of(&keys);
		if (position(&l, &name, SPAN_EMPTY, false) < 0)
			json_remove_at(original, i);
		else
			i++;
	}
	return 0;
}

static int merge_member(struct smp *s, const struct api_type *t, struct json *original, struct json_member *m)
{
	struct span key = json_key(m);
	struct json *value = &m->value;
	bool is_delete_list = span_starts(key, SMP_DELETE_PREFIX);
	struct smp_meta meta;
	int rc;
	if (is_delete_list && s->combine) {
		json_set(s->arena, original, key, *value);
		return 0;
	}
	if (is_delete_list && !name_behind(key, SMP_DELETE_PREFIX, &key))
		return api_smp_bad(s, "%s", bad_primitive_list);
	if (value->kind == JSON_NULL) {
		if (s->combine)
			json_set(s->arena, original, key, JSON_NULL_VALUE);
		else
			json_remove(original, key);
		return 0;
	}
	struct json *old = json_get(original, key);
	if (old && old->kind == JSON_OBJECT && value->kind == JSON_OBJECT) {
		if ((rc = api_smp_lookup(s, t, key, &meta)) < 0)
			return rc;
		if (!meta.replace)
			return api_smp_merge_map(s, meta.type, old, value);
		*old = *value;
		return 0;
	}
	if (old && old->kind == JSON_ARRAY && value->kind == JSON_ARRAY) {
		if ((rc = api_smp_lookup_list(s, t, key, &meta)) < 0)
			return rc;
		if (meta.merge || is_delete_list)
			return merge_list(s, &meta, old, value, is_delete_list, old);
		*old = *value;
		return 0;
	}
	if (is_delete_list)
		return 0;
	if (!s->combine)
		drop_nulls(value);
	if (!drop_directives(value))
		json_remove(original, key);
	else
		json_set(s->arena, original, key, *value);
	return 0;
}

int api_smp_merge_map(struct smp *s, const struct api_type *t, struct json *original, struct json *patch)
{
	const struct json *directive = json_get(patch, SMP_DIRECTIVE);
	int rc;
	if (directive) {
		if (span_is(json_span(directive), "replace")) {
			json_remove(patch, SMP_DIRECTIVE);
			*original = *patch;
		} else if (span_is(json_span(directive), "delete")) {
			*original = json_object();
		} else {
			return bad_patch_type(s, directive, patch);
		}
		return 0;
	}
	if ((rc = retain_keys(s, original, patch)) < 0)
		return rc;
	for (uint32_t i = 0; i < patch->n;) {
		struct json_member m = patch->members[i];
		struct span name;
		if (!span_starts(json_key(&m), SMP_ORDER_PREFIX)) {
			i++;
			continue;
		}
		json_remove_at(patch, i);
		if (s->combine) {
			const struct json *theirs = json_get(original, json_key(&m));
			if (!theirs)
				json_add(s->arena, original, json_key(&m), m.value);
			else if (!json_equal(theirs, &m.value))
				return api_smp_bad(s, "%s", bad_element_order);
		}
		if (!name_behind(json_key(&m), SMP_ORDER_PREFIX, &name))
			return api_smp_bad(s, "%s", bad_element_order);
		if ((rc = ordered_list(s, t, original, patch, name, &m.value)) < 0)
			return rc;
		i = 0; /* the patch lost a member, perhaps one before this */
	}
	JSON_EACH_MEMBER(patch, m)
		if ((rc = merge_member(s, t, original, m)) < 0)
			return rc;
	return 0;
}

int api_smp_apply(struct arena *a, const struct api_type *t, struct json *object, const struct json *patch, struct err *err)
{
	struct smp s = { .arena = a, .err = err };
	if (patch->kind != JSON_OBJECT)
		return err_set(err, ERR_INVALID_REQUEST, "invalid JSON document");
	struct json own = json_copy(a, patch);
	return api_smp_merge_map(&s, t, object, &own);
}
