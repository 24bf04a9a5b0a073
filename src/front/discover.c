/* What the server serves: the aggregated discovery documents as rows, and rows by what people type.
 *
 * A word is looked for as kubectl's mappers do it: exact names (plural, singular, which is the kind in lower case) before
 * short names, so that a short name never hides a resource; groups in the server's order, the core group first. */
#include "front/private.h"

#include <strings.h>

static void words_of(struct arena *a, const struct json *list, struct front_words *out)
{
	JSON_EACH_ITEM(list, item)
		front_words_add(a, out, json_span(item));
}

static void add_row(struct front_discovery *d, struct arena *a, struct span group, struct span version, const struct json *r)
{
	const struct json *kind = json_getl(r, "responseKind");
	struct front_resource row = {
		.group = group, .version = version, .plural = json_span(json_getl(r, "resource")),
		.singular = json_span(json_getl(r, "singularResource")), .kind = json_span(json_getl(kind, "kind")),
		.namespaced = span_is(json_span(json_getl(r, "scope")), "Namespaced"), .preferred = true,
	};
	words_of(a, json_getl(r, "shortNames"), &row.short_names);
	words_of(a, json_getl(r, "categories"), &row.categories);
	words_of(a, json_getl(r, "verbs"), &row.verbs);
	/* The same resource in an earlier version of the group is what the server prefers. */
	for (unsigned i = d->n; i > 0 && row.preferred && span_eq(d->rows[i - 1].group, group); i--)
		row.preferred = !span_eq(d->rows[i - 1].plural, row.plural);
	MEM_GROW(d->rows, d->n, d->cap);
	d->rows[d->n++] = row;
}

int front_discovery_add(struct front_discovery *d, struct arena *a, const struct json *list, struct err *err)
{
	if (!span_is(json_span(json_getl(list, "kind")), "APIGroupDiscoveryList"))
		return err_set(err, ERR_UPSTREAM, "the server does not answer with an aggregated discovery document");
	JSON_EACH_ITEM(json_getl(list, "items"), group) {
		struct span name = json_span(json_path(group, "metadata", "name", NULL));
		JSON_EACH_ITEM(json_getl(group, "versions"), version)
			JSON_EACH_ITEM(json_getl(version, "resources"), r)
				add_row(d, a, name, json_span(json_getl(version, "version")), r);
	}
	return 0;
}

void front_discovery_done(struct front_discovery *d)
{
	free(d->rows);
	*d = (struct front_discovery){};
}

static bool named(const struct front_resource *r, struct span word)
{
	return span_eq_nocase(r->plural, word) || span_eq_nocase(r->singular, word) || span_eq_nocase(r->kind, word);
}

static bool shortly(const struct front_resource *r, struct span word)
{
	for (unsigned i = 0; i < r->short_names.n; i++)
		if (span_eq_nocase(r->short_names.items[i], word))
			return true;
	return false;
}

/* version empty: the preferred one; group_given false: any group. */
static const struct front_resource *look(const struct front_discovery *d, struct span word, struct span version, struct span group,
					 bool group_given)
{
	bool (*const ways[])(const struct front_resource *r, struct span word) = { named, shortly };
	for (size_t way = 0; way < ARRAY_LEN(ways); way++)
		for (unsigned i = 0; i < d->n; i++) {
			const struct front_resource *r = &d->rows[i];
			if (group_given && !span_eq_nocase(r->group, group))
				continue;
			if (version.len ? !span_eq_nocase(r->version, version) : !r->preferred)
				continue;
			if (ways[way](r, word))
				return r;
		}
	return NULL;
}

int front_discovery_find(const struct front_discovery *d, struct span word, const struct front_resource **out, struct err *err)
{
	struct span name, behind, version, group;
	const struct front_resource *r = NULL;
	if (!span_split(word, '.', &name, &behind)) {
		r = look(d, word, SPAN_EMPTY, SPAN_EMPTY, false);
	} else {
		/* "deployments.v1.apps" before "deployments.apps"; "pods.v1." is the core group. */
		if (span_split(behind, '.', &version, &group))
			r = look(d, name, version, group, true);
		if (!r)
			r = look(d, name, SPAN_EMPTY, behind, true);
	}
	if (!r)
		return err_set(err, ERR_NOT_FOUND, "the server doesn't have a resource type \"%.*s\"", SPAN_ARG(name));
	*out = r;
	return 0;
}

const struct front_resource *front_discovery_kind(const struct front_discovery *d, struct span api_version, struct span kind)
{
	struct span group, version;
	if (!span_split(api_version, '/', &group, &version)) {
		version = api_version;
		group = SPAN_EMPTY;
	}
	for (unsigned i = 0; i < d->n; i++)
		if (span_eq(d->rows[i].kind, kind) && span_eq(d->rows[i].group, group) && span_eq(d->rows[i].version, version))
			return &d->rows[i];
	return NULL;
}

bool front_resource_can(const struct front_resource *r, const char *verb)
{
	for (unsigned i = 0; i < r->verbs.n; i++)
		if (span_is(r->verbs.items[i], verb))
			return true;
	return false;
}

struct client_kind front_resource_client(const struct front_resource *r)
{
	return (struct client_kind){ r->group, r->version, r->plural, r->namespaced };
}

void front_resource_word(struct buf *out, const struct front_resource *r)
{
	for (size_t i = 0; i < r->kind.len; i++) {
		char c = r->kind.ptr[i];
		buf_chr(out, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
	}
	if (r->group.len)
		buf_printf(out, ".%.*s", SPAN_ARG(r->group));
}
