#include "apiserver/accept.h"

static const struct {
	const char *type;
	enum form form;
} types[] = {
	{ "application/json", FORM_JSON },
	{ "application/yaml", FORM_YAML },
	{ "application/vnd.kubernetes.protobuf", FORM_PROTO },
};

struct span media_type(struct span content_type)
{
	struct span head, tail;
	span_split(content_type, ';', &head, &tail);
	return span_trim(head);
}

bool media_param(struct span content_type, const char *name, struct span *out)
{
	struct span head, rest, part, key, value;
	span_split(content_type, ';', &head, &rest);
	while (span_cut(&rest, ';', &part)) {
		if (!span_split(part, '=', &key, &value) || !span_eq_nocase(span_trim(key), span_of(name)))
			continue;
		value = span_trim(value);
		if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
			value = span_sub(value, 1, value.len - 1);
		*out = value;
		return true;
	}
	return false;
}

/* q in thousandths; a broken one counts as 0, as nobody could tell what it meant. */
int accept_quality(struct span clause)
{
	struct span q;
	if (!media_param(clause, "q", &q))
		return 1000;
	if (!q.len || q.len > 5 || (q.ptr[0] != '0' && q.ptr[0] != '1') || (q.len > 1 && q.ptr[1] != '.'))
		return 0;
	int v = (q.ptr[0] - '0') * 1000, unit = 100;
	for (size_t i = 2; i < q.len; i++, unit /= 10) {
		if (q.ptr[i] < '0' || q.ptr[i] > '9')
			return 0;
		v += (q.ptr[i] - '0') * unit;
	}
	return MIN(v, 1000);
}

/* What as, v and g ask for. False when it is nothing that this handler gives. */
static bool shape_of(struct span clause, unsigned can_do, enum shape *out)
{
	static const struct {
		const char *as, *group, *version;
		unsigned needs;
		enum shape shape;
	} rows[] = {
		{ "Table", "meta.k8s.io", "v1", ACCEPT_SHAPES, SHAPE_TABLE },
		{ "Table", "meta.k8s.io", "v1beta1", ACCEPT_SHAPES, SHAPE_TABLE },
		{ "PartialObjectMetadata", "meta.k8s.io", "v1", ACCEPT_SHAPES, SHAPE_PARTIAL },
		{ "PartialObjectMetadata", "meta.k8s.io", "v1beta1", ACCEPT_SHAPES, SHAPE_PARTIAL },
		{ "PartialObjectMetadataList", "meta.k8s.io", "v1", ACCEPT_SHAPES, SHAPE_PARTIAL },
		{ "PartialObjectMetadataList", "meta.k8s.io", "v1beta1", ACCEPT_SHAPES, SHAPE_PARTIAL },
		{ "APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2", ACCEPT_DISCOVERY, SHAPE_DISCOVERY_V2 },
		{ "APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1", ACCEPT_DISCOVERY,
		  SHAPE_DISCOVERY_V2BETA1 },
	};
	struct span as, group = SPAN_EMPTY, version = SPAN_EMPTY;
	*out = SHAPE_OBJECT;
	if (!media_param(clause, "as", &as))
		return true;
	(void)media_param(clause, "g", &group);
	(void)media_param(clause, "v", &version);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (span_is(as, rows[i].as) && span_is(group, rows[i].group) && span_is(version, rows[i].version) &&
		    (can_do & rows[i].needs)) {
			*out = rows[i].shape;
			return true;
		}
	}
	return false;
}

static bool form_of(struct span type, unsigned can_do, enum form *out)
{
	if (span_is(type, "*/*") || span_is(type, "application/*")) {
		*out = FORM_JSON;
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (!span_eq_nocase(type, span_of(types[i].type)))
			continue;
		if ((types[i].form == FORM_PROTO && !(can_do & ACCEPT_PROTO)) ||
		    (types[i].form == FORM_YAML && !(can_do & ACCEPT_YAML)))
			return false;
		*out = types[i].form;
		return true;
	}
	return false;
}

int accept_read(struct span header, unsigned can_do, struct accepted *out, struct err *err)
{
	struct accepted best = { .form = FORM_JSON };
	int best_q = 0;
	if (!span_trim(header).len)
		best_q = 1000;
	struct span rest = header, clause;
	while (span_cut(&rest, ',', &clause)) {
		struct accepted one = {};
		int q = accept_quality(clause);
		if (q <= best_q || !form_of(media_type(clause), can_do, &one.form) ||
		    !shape_of(clause, can_do, &one.shape) ||
		    (one.shape == SHAPE_TABLE && one.form == FORM_PROTO)) /* tables have no protobuf form */
			continue;
		struct span pretty;
		one.pretty =
			media_param(clause, "pretty", &pretty) && (span_is(pretty, "1") || span_is(pretty, "true"));
		best = one;
		best_q = q;
	}
	if (!best_q)
		return err_set(err, ERR_NOT_ACCEPTABLE,
			       "only the following media types are accepted: application/json%s%s",
			       can_do & ACCEPT_YAML ? ", application/yaml" : "",
			       can_do & ACCEPT_PROTO ? ", application/vnd.kubernetes.protobuf" : "");
	*out = best;
	return 0;
}

const char *accept_content_type(enum form form, bool watch)
{
	static const char *const plain[FORM_COUNT] = { "application/json", "application/yaml",
						       "application/vnd.kubernetes.protobuf" };
	if (watch && form == FORM_PROTO)
		return "application/vnd.kubernetes.protobuf;stream=watch";
	return plain[form];
}

int content_form(struct span content_type, bool proto, enum form *out, struct err *err)
{
	struct span type = media_type(content_type);
	if (!type.len) {
		*out = FORM_JSON;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (span_eq_nocase(type, span_of(types[i].type)) && (proto || types[i].form != FORM_PROTO)) {
			*out = types[i].form;
			return 0;
		}
	}
	return err_set(
		err, ERR_UNSUPPORTED_MEDIA,
		"the body of the request was in an unknown format - accepted media types include: application/json, "
		"application/yaml%s",
		proto ? ", application/vnd.kubernetes.protobuf" : "");
}
