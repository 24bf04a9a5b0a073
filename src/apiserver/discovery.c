#include "apiserver/discovery.h"

static bool served(const struct api_resource *r)
{
	return r->served == API_SERVED;
}

static bool version_served(const struct api_registry *reg, const struct api_group_version *gv)
{
	for (unsigned i = 0; i < gv->n; i++)
		if (served(api_registry_at(reg, gv->first + i)))
			return true;
	return false;
}

static void write_list(struct json_out *o, const char *key, const struct span *list, unsigned n)
{
	if (!n)
		return;
	json_out_key(o, span_of(key));
	json_out_begin_array(o);
	for (unsigned i = 0; i < n; i++)
		json_out_span(o, list[i]);
	json_out_end(o);
}

/* Built-in kinds have their verbs sorted; the extensions server lists those of custom resources as it names them in its code. */
static void write_verbs(struct json_out *o, const struct api_resource *r, unsigned verbs)
{
	static const unsigned custom[] = { API_VERB_DELETE, API_VERB_DELETECOLLECTION, API_VERB_GET,	API_VERB_LIST,
					   API_VERB_PATCH,  API_VERB_CREATE,	       API_VERB_UPDATE, API_VERB_WATCH };
	bool is_custom = api_type_flags(r->type) & API_TYPE_CUSTOM;
	json_out_key(o, SPAN("verbs"));
	json_out_begin_array(o);
	for (unsigned i = 0; i < API_VERB_COUNT; i++) {
		unsigned bit = is_custom ? custom[i] : 1u << i;
		if (verbs & bit)
			json_out_span(o, span_of(api_verb_name((unsigned)__builtin_ctz(bit))));
	}
	json_out_end(o);
}

static void write_gv(struct json_out *o, struct span group, struct span version)
{
	auto_buf struct buf gv = {};
	if (group.len)
		buf_printf(&gv, "%.*s/", SPAN_ARG(group));
	buf_span_add(&gv, version);
	json_out_kspan(o, "groupVersion", buf_span(&gv));
	json_out_kspan(o, "version", version);
}

void discovery_core_versions(struct buf *out, struct span server_address)
{
	struct json_out o = { .buf = out, .style = JSON_HTML };
	json_out_begin(&o);
	json_out_kspan(&o, "kind", SPAN("APIVersions"));
	json_out_key(&o, SPAN("versions"));
	json_out_begin_array(&o);
	json_out_span(&o, SPAN("v1"));
	json_out_end(&o);
	json_out_key(&o, SPAN("serverAddressByClientCIDRs"));
	json_out_begin_array(&o);
	json_out_begin(&o);
	json_out_kspan(&o, "clientCIDR", SPAN("0.0.0.0/0"));
	json_out_kspan(&o, "serverAddress", server_address);
	json_out_end(&o);
	json_out_end(&o);
	json_out_end(&o);
	buf_chr(out, '\n');
}

/* One APIGroup; versions of a group stand together in the registry, the preferred one first. */
static void write_group(struct json_out *o, const struct api_registry *r, unsigned first, unsigned n, bool whole)
{
	struct span group = api_registry_version(r, first)->group;
	json_out_begin(o);
	if (whole) {
		json_out_kspan(o, "kind", SPAN("APIGroup"));
		json_out_kspan(o, "apiVersion", SPAN("v1"));
	}
	json_out_kspan(o, "name", group);
	json_out_key(o, SPAN("versions"));
	json_out_begin_array(o);
	const struct api_group_version *preferred = NULL;
	for (unsigned i = 0; i < n; i++) {
		const struct api_group_version *gv = api_registry_version(r, first + i);
		if (!version_served(r, gv))
			continue;
		preferred = preferred ? preferred : gv;
		json_out_begin(o);
		write_gv(o, gv->group, gv->version);
		json_out_end(o);
	}
	json_out_end(o);
	json_out_key(o, SPAN("preferredVersion"));
	json_out_begin(o);
	write_gv(o, preferred->group, preferred->version);
	json_out_end(o);
	json_out_end(o);
}

/* The versions of the group that begins at i: how many, and whether any of them is served. */
static unsigned group_at(const struct api_registry *r, unsigned i, bool *out_served)
{
	unsigned n = 0;
	*out_served = false;
	struct span group = api_registry_version(r, i)->group;
	while (i + n < api_registry_n_versions(r) && span_eq(api_registry_version(r, i + n)->group, group)) {
		*out_served = *out_served || version_served(r, api_registry_version(r, i + n));
		n++;
	}
	return n;
}

void discovery_groups(struct buf *out, const struct api_registry *r)
{
	struct json_out o = { .buf = out, .style = JSON_HTML };
	json_out_begin(&o);
	json_out_kspan(&o, "kind", SPAN("APIGroupList"));
	json_out_kspan(&o, "apiVersion", SPAN("v1"));
	json_out_key(&o, SPAN("groups"));
	json_out_begin_array(&o);
	bool any;
	for (unsigned i = 0, n; i < api_registry_n_versions(r); i += n) {
		n = group_at(r, i, &any);
		if (any && api_registry_version(r, i)->group.len)
			write_group(&o, r, i, n, false);
	}
	json_out_end(&o);
	json_out_end(&o);
	buf_chr(out, '\n');
}

bool discovery_group(struct buf *out, const struct api_registry *r, struct span group)
{
	bool any;
	for (unsigned i = 0, n; group.len && i < api_registry_n_versions(r); i += n) {
		n = group_at(r, i, &any);
		if (!any || !span_eq(api_registry_version(r, i)->group, group))
			continue;
		struct json_out o = { .buf = out, .style = JSON_HTML };
		write_group(&o, r, i, n, true);
		buf_chr(out, '\n');
		return true;
	}
	return false;
}

/* An entry of APIResourceList: the resource itself, or one of its sub-resources. */
static void write_resource(struct json_out *o, const struct api_resource *r, const struct api_subresource *sub)
{
	auto_buf struct buf name = {};
	buf_span_add(&name, r->plural);
	if (sub)
		buf_printf(&name, "/%.*s", SPAN_ARG(sub->name));
	json_out_begin(o);
	json_out_key(o, SPAN("name"));
	json_out_span(o, buf_span(&name));
	json_out_key(o, SPAN("singularName"));
	json_out_span(o, sub ? SPAN("") : r->singular);
	json_out_key(o, SPAN("namespaced"));
	json_out_bool(o, r->namespaced);
	if (sub) {
		struct span group = SPAN_EMPTY, version = sub->group_version;
		if (span_chr(sub->group_version, '/') >= 0)
			span_split(sub->group_version, '/', &group, &version);
		/* Where the sub-resource speaks another group version than the resource it says so. */
		if (!span_eq(group, r->group) || !span_eq(version, r->version)) {
			json_out_kspan(o, "group", group);
			json_out_kspan(o, "version", version);
		}
		json_out_kspan(o, "kind", sub->kind);
		write_verbs(o, r, sub->verbs);
	} else {
		json_out_kspan(o, "kind", r->kind);
		write_verbs(o, r, r->verbs);
		write_list(o, "shortNames", r->short_names, r->n_short_names);
		write_list(o, "categories", r->categories, r->n_categories);
		json_out_kspan(o, "storageVersionHash", r->storage_hash);
	}
	json_out_end(o);
}

bool discovery_resources(struct buf *out, const struct api_registry *r, struct span group, struct span version)
{
	const struct api_group_version *gv = api_registry_find_version(r, group, version);
	if (!gv || !version_served(r, gv))
		return false;
	struct json_out o = { .buf = out, .style = JSON_HTML };
	json_out_begin(&o);
	json_out_kspan(&o, "kind", SPAN("APIResourceList"));
	if (group.len)
		json_out_kspan(&o, "apiVersion", SPAN("v1"));
	auto_buf struct buf text = {};
	buf_printf(&text, "%.*s%s%.*s", SPAN_ARG(group), group.len ? "/" : "", SPAN_ARG(version));
	json_out_kspan(&o, "groupVersion", buf_span(&text));
	json_out_key(&o, SPAN("resources"));
	json_out_begin_array(&o);
	for (unsigned i = 0; i < gv->n; i++) {
		const struct api_resource *res = api_registry_at(r, gv->first + i);
		if (!served(res))
			continue;
		write_resource(&o, res, NULL);
		for (unsigned k = 0; k < res->n_subresources; k++)
			write_resource(&o, res, &res->subresources[k]);
	}
	json_out_end(&o);
	json_out_end(&o);
	buf_chr(out, '\n');
	return true;
}

/* ---- aggregated */

static void write_kind(struct json_out *o, struct span group, struct span version, struct span kind)
{
	json_out_key(o, SPAN("responseKind"));
	json_out_begin(o);
	json_out_key(o, SPAN("group"));
	json_out_span(o, group);
	json_out_key(o, SPAN("version"));
	json_out_span(o, version);
	json_out_key(o, SPAN("kind"));
	json_out_span(o, kind);
	json_out_end(o);
}

static void write_discovered(struct json_out *o, const struct api_resource *r)
{
	json_out_begin(o);
	json_out_kspan(o, "resource", r->plural);
	write_kind(o, r->group, r->version, r->kind);
	json_out_kspan(o, "scope", r->namespaced ? SPAN("Namespaced") : SPAN("Cluster"));
	json_out_kspan(o, "singularResource", r->singular);
	write_verbs(o, r, r->verbs);
	write_list(o, "shortNames", r->short_names, r->n_short_names);
	write_list(o, "categories", r->categories, r->n_categories);
	if (r->n_subresources) {
		json_out_key(o, SPAN("subresources"));
		json_out_begin_array(o);
		for (unsigned k = 0; k < r->n_subresources; k++) {
			const struct api_subresource *sub = &r->subresources[k];
			struct span group = SPAN_EMPTY, version = sub->group_version;
			if (span_chr(sub->group_version, '/') >= 0)
				span_split(sub->group_version, '/', &group, &version);
			json_out_begin(o);
			json_out_kspan(o, "subresource", sub->name);
			write_kind(o, group, version, sub->kind);
			write_verbs(o, r, sub->verbs);
			json_out_end(o);
		}
		json_out_end(o);
	}
	json_out_end(o);
}

static void write_metadata_name(struct json_out *o, struct span name)
{
	json_out_key(o, SPAN("metadata"));
	json_out_begin(o);
	json_out_kspan(o, "name", name);
	json_out_key(o, SPAN("creationTimestamp"));
	json_out_null(o);
	json_out_end(o);
}

static void write_group_discovery(struct json_out *o, const struct api_registry *r, unsigned first, unsigned n)
{
	json_out_begin(o);
	write_metadata_name(o, api_registry_version(r, first)->group);
	json_out_key(o, SPAN("versions"));
	json_out_begin_array(o);
	for (unsigned i = 0; i < n; i++) {
		const struct api_group_version *gv = api_registry_version(r, first + i);
		if (!version_served(r, gv))
			continue;
		json_out_begin(o);
		json_out_kspan(o, "version", gv->version);
		json_out_key(o, SPAN("resources"));
		json_out_begin_array(o);
		for (unsigned k = 0; k < gv->n; k++)
			if (served(api_registry_at(r, gv->first + k)))
				write_discovered(o, api_registry_at(r, gv->first + k));
		json_out_end(o);
		json_out_kspan(o, "freshness", SPAN("Current"));
		json_out_end(o);
	}
	json_out_end(o);
	json_out_end(o);
}

void discovery_aggregated(struct buf *out, const struct api_registry *r, bool core, struct span version)
{
	struct json_out o = { .buf = out, .style = JSON_HTML };
	json_out_begin(&o);
	json_out_kspan(&o, "kind", SPAN("APIGroupDiscoveryList"));
	auto_buf struct buf gv = {};
	buf_printf(&gv, "apidiscovery.k8s.io/%.*s", SPAN_ARG(version));
	json_out_kspan(&o, "apiVersion", buf_span(&gv));
	json_out_key(&o, SPAN("metadata"));
	json_out_begin(&o);
	json_out_end(&o);
	json_out_key(&o, SPAN("items"));
	json_out_begin_array(&o);
	bool any;
	for (unsigned i = 0, n; i < api_registry_n_versions(r); i += n) {
		n = group_at(r, i, &any);
		if (any && (api_registry_version(r, i)->group.len == 0) == core)
			write_group_discovery(&o, r, i, n);
	}
	json_out_end(&o);
	json_out_end(&o);
	buf_chr(out, '\n');
}
