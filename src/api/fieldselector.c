/* Field selectors: k8s.io/apimachinery/pkg/fields. Declared in selector.h. */
#include "api/selector.h"

static int term_order(const void *a, const void *b)
{
	return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

/* fields.UnescapeValue */
static int value_unescape(struct arena *a, struct span s, struct span *out, struct err *err)
{
	static const char escape[] = "invalid field selector: invalid escape sequence: \\%.*s";
	char *text = arena_alloc(a, s.len + 1);
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		if (c == '\\') {
			if (++i == s.len)
				return err_set(err, ERR_INVALID_REQUEST, escape, 0, "");
			c = s.ptr[i];
			if (c != '\\' && c != ',' && c != '=') {
				uint32_t code;
				size_t width = utf8_next(span_from(s, i), &code);
				return err_set(err, ERR_INVALID_REQUEST, escape, (int)(width ? width : 1), s.ptr + i);
			}
		} else if (c == ',' || c == '=') {
			/* upstream prints the number of the character */
			return err_set(err, ERR_INVALID_REQUEST, "invalid field selector: unescaped character in value: %d", c);
		}
		text[n++] = c;
	}
	text[n] = 0;
	*out = span_make(text, n);
	return 0;
}

static int term_read(struct arena *a, struct span whole, struct span part, struct api_field_term *out, struct err *err)
{
	for (size_t i = 0; i < part.len; i++) {
		struct span rest = span_from(part, i);
		size_t op = span_starts(rest, SPAN("!=")) || span_starts(rest, SPAN("==")) ? 2 : rest.ptr[0] == '=' ? 1 : 0;
		if (!op)
			continue;
		out->field = span_sub(part, 0, i);
		out->negative = rest.ptr[0] == '!';
		return value_unescape(a, span_from(rest, op), &out->value, err);
	}
	return err_set(err, ERR_INVALID_REQUEST, "invalid selector: '%.*s'; can't understand '%.*s'", SPAN_ARG(whole),
		       SPAN_ARG(part));
}

int api_field_selector_parse(struct arena *a, struct span text, struct api_field_selector *out, struct err *err)
{
	auto_free struct span *parts = NULL;
	unsigned n = 0, cap = 0, kept = 0;
	bool escaped = false;
	size_t from = 0;
	for (size_t i = 0; i <= text.len; i++) {
		if (i == text.len || (text.ptr[i] == ',' && !escaped)) {
			MEM_GROW(parts, n, cap);
			parts[n++] = span_sub(text, from, i);
			from = i + 1;
		}
		escaped = i < text.len && text.ptr[i] == '\\' && !escaped;
	}
	qsort(parts, n, sizeof(*parts), term_order);
	struct api_field_term *terms = arena_alloc_n(a, n, sizeof(*terms));
	for (unsigned i = 0; i < n; i++) {
		if (!parts[i].len)
			continue;
		int rc = term_read(a, text, parts[i], &terms[kept++], err);
		if (rc < 0)
			return rc;
	}
	*out = (struct api_field_selector){ kept, terms };
	return 0;
}

static bool is_selectable(const struct api_resource *resource, struct span label)
{
	for (unsigned i = 0; i < resource->n_selectors; i++)
		if (span_eq(resource->selectors[i].label, label))
			return true;
	return false;
}

int api_field_selector_check(const struct api_field_selector *sel, const struct api_resource *resource, struct err *err)
{
	char style = resource->n_selectors ? resource->selectors[0].style : 'B';
	for (unsigned i = 0; i < sel->n; i++) {
		struct span label = sel->terms[i].field;
		if (is_selectable(resource, label))
			continue;
		if (style == 'A')
			return err_set(err, ERR_INVALID_REQUEST, "field label not supported: %.*s", SPAN_ARG(label));
		return err_set(err, ERR_INVALID_REQUEST,
			       "\"%.*s\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
			       SPAN_ARG(label));
	}
	return 0;
}

void api_field_selector_print(const struct api_field_selector *sel, struct buf *out)
{
	for (unsigned i = 0; i < sel->n; i++) {
		const struct api_field_term *t = &sel->terms[i];
		if (i)
			buf_chr(out, ',');
		buf_span_add(out, t->field);
		buf_str(out, t->negative ? "!=" : "=");
		for (size_t k = 0; k < t->value.len; k++) {
			if (strchr("\\,=", t->value.ptr[k]) && t->value.ptr[k])
				buf_chr(out, '\\');
			buf_chr(out, t->value.ptr[k]);
		}
	}
}

bool api_field_selector_exact(const struct api_field_selector *sel, struct span field, struct span *out_value)
{
	for (unsigned i = 0; i < sel->n; i++)
		if (!sel->terms[i].negative && span_eq(sel->terms[i].field, field)) {
			*out_value = sel->terms[i].value;
			return true;
		}
	return false;
}

/* ---- values */
static struct span text_of(const struct json *v, char scratch[32])
{
	switch (v ? (enum json_kind)v->kind : JSON_NULL) {
	case JSON_STRING:
		return json_span(v);
	case JSON_BOOL:
		return span_of(v->b ? "true" : "false");
	case JSON_INT:
		return span_make(scratch, (size_t)snprintf(scratch, 32, "%lld", (long long)v->i));
	default:
		return SPAN_EMPTY;
	}
}

static const struct json *follow(const struct json *object, struct span path)
{
	struct span part;
	while (object && span_cut(&path, '.', &part))
		object = json_get(object, part);
	return object;
}

/* The labels that are no path of the object, as field_selectors.tsv has them. A number or a flag that is absent compares as
 * Go's zero. */
static const struct {
	const char *group, *kind, *label, *path, *otherwise; /* otherwise: this text, or with a '.' first this path */
} exceptions[] = {
	{ "", "Pod", "spec.host", "spec.nodeName", "" },
	{ "", "Pod", "spec.hostNetwork", "spec.hostNetwork", "false" },
	{ "", "Pod", "status.podIPs", "", "" },
	{ "", "Node", "spec.unschedulable", "spec.unschedulable", "false" },
	{ "", "ReplicationController", "status.replicas", "status.replicas", "0" },
	{ "", "Event", "source", "source.component", ".reportingComponent" },
	{ "batch", "Job", "status.successful", "status.succeeded", "0" },
};

struct span api_field_value(const struct api_resource *resource, struct span field, const struct json *object,
			    char scratch[32])
{
	/* Pods: the list of addresses comes first, the single one is what old writers set. */
	if (span_is(field, "status.podIP") && span_is(resource->kind, "Pod") && !resource->group.len) {
		const struct json *ips = json_getl(json_getl(object, "status"), "podIPs");
		if (json_is(ips, JSON_ARRAY) && ips->n)
			return text_of(json_getl(&ips->items[0], "ip"), scratch);
		return text_of(json_getl(json_getl(object, "status"), "podIP"), scratch);
	}
	for (size_t i = 0; i < ARRAY_LEN(exceptions); i++) {
		if (!span_is(field, exceptions[i].label) || !span_is(resource->kind, exceptions[i].kind) ||
		    !span_is(resource->group, exceptions[i].group))
			continue;
		if (!exceptions[i].path[0])
			return SPAN_EMPTY;
		struct span got = text_of(follow(object, span_of(exceptions[i].path)), scratch);
		if (got.len)
			return got;
		if (exceptions[i].otherwise[0] == '.')
			return text_of(follow(object, span_of(exceptions[i].otherwise + 1)), scratch);
		return span_of(exceptions[i].otherwise);
	}
	return text_of(follow(object, field), scratch);
}

bool api_field_selector_match(const struct api_field_selector *sel, const struct api_resource *resource,
			      const struct json *object)
{
	char scratch[32];
	for (unsigned i = 0; i < sel->n; i++) {
		const struct api_field_term *t = &sel->terms[i];
		if (span_eq(api_field_value(resource, t->field, object, scratch), t->value) == t->negative)
			return false;
	}
	return true;
}
