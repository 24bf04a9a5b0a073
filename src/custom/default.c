/* Defaults and what goes with them: upstream's defaulting and pruning of nulls, and pruning by nodes. */
#include "custom/private.h"

static bool is_bad_null(const struct json *v, const struct node *n)
{
	return v->kind == JSON_NULL && n && !n->nullable;
}

static const struct node *below(const struct node *n, struct span name)
{
	const struct node *p = n ? custom_node_property(n, name) : NULL;
	return p ? p : n ? n->additional : NULL;
}

/* Nulls that the schema does not allow are as if they were not there, unless a default takes their place. */
void custom_prune_nulls(const struct node *n, struct json *value)
{
	if (!n)
		return;
	if (value->kind == JSON_OBJECT) {
		for (uint32_t i = 0; i < value->n; i++) {
			const struct node *p = below(n, json_key(&value->members[i]));
			if (is_bad_null(&value->members[i].value, p) && !p->dflt)
				json_remove_at(value, i--);
			else
				custom_prune_nulls(p, &value->members[i].value);
		}
	} else if (value->kind == JSON_ARRAY) {
		JSON_EACH_ITEM(value, item)
			custom_prune_nulls(n->items, item);
	}
}

void custom_default_value(struct arena *a, const struct node *n, struct json *value)
{
	if (!n)
		return;
	if (value->kind == JSON_OBJECT) {
		for (unsigned i = 0; i < n->n_properties; i++) {
			const struct property *p = &n->properties[i];
			const struct json *is = p->node->dflt ? json_get(value, p->name) : NULL;
			if (p->node->dflt && (!is || is_bad_null(is, p->node)))
				(void)json_set(a, value, p->name, json_copy(a, p->node->dflt));
		}
		JSON_EACH_MEMBER(value, m)
			custom_default_value(a, below(n, json_key(m)), &m->value);
	} else if (value->kind == JSON_ARRAY) {
		JSON_EACH_ITEM(value, item) {
			if (is_bad_null(item, n->items) && n->items->dflt)
				*item = json_copy(a, n->items->dflt);
			custom_default_value(a, n->items, item);
		}
	}
}

/* ---- pruning */

static bool is_meta(struct span name)
{
	return span_is(name, "apiVersion") || span_is(name, "kind") || span_is(name, "metadata");
}

/* Where no schema says what there may be (additionalProperties: true) members of objects go, at any depth. */
static bool empty_objects(struct json *value)
{
	bool changed = false;
	if (value->kind == JSON_OBJECT) {
		changed = value->n > 0;
		value->n = 0;
	} else if (value->kind == JSON_ARRAY) {
		JSON_EACH_ITEM(value, item)
			changed |= empty_objects(item); /* as deep as decoding allows */
	}
	return changed;
}

/* preserving: the list around it says so. */
static bool prune(const struct node *n, struct json *value, bool preserving)
{
	bool changed = false, additional = n->additional || n->additional_true || n->additional_false;
	preserving |= n->preserve;
	if (value->kind == JSON_ARRAY) {
		JSON_EACH_ITEM(value, item) {
			if (n->items)
				changed |= prune(n->items, item, preserving);
			else if (!preserving)
				changed |= empty_objects(item);
		}
	}
	if (value->kind != JSON_OBJECT)
		return changed;
	for (uint32_t i = 0; i < value->n; i++) {
		struct json_member *m = &value->members[i];
		const struct node *p = custom_node_property(n, json_key(m));
		if (n->embedded && is_meta(json_key(m)))
			continue;
		if (p || n->additional) {
			changed |= prune(p ? p : n->additional, &m->value, false);
		} else if (additional) {
			changed |= empty_objects(&m->value);
		} else if (!preserving) {
			json_remove_at(value, i--);
			changed = true;
		}
	}
	return changed;
}

bool custom_prune_value(const struct node *n, struct json *value)
{
	return prune(n, value, false);
}

/* What decoding leaves: its types know no "additionalProperties: true". */
static void prune_rest(const struct node *n, struct json *value)
{
	if (value->kind == JSON_ARRAY) {
		JSON_EACH_ITEM(value, item)
			if (n->items)
				prune_rest(n->items, item);
	}
	JSON_EACH_MEMBER(value, m) {
		const struct node *p = custom_node_property(n, json_key(m));
		p = p ? p : n->additional;
		if (p)
			prune_rest(p, &m->value);
		else if ((n->additional_true || n->additional_false) && !(n->embedded && is_meta(json_key(m))))
			(void)empty_objects(&m->value);
	}
}

/* ---- the seam */

void custom_default(struct arena *a, const struct api_resource *row, struct json *object)
{
	const struct custom_row *r = row->owner;
	prune_rest(r->root, object);
	custom_prune_nulls(r->root, object);
	custom_default_value(a, r->root, object);
}
