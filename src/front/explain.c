/* explain: the fields of a kind, from the server's OpenAPI v3 document of its group version, in kubectl's layout "plaintext".
 *
 *     TYPE.field.field   ->  resource (discover.c), field names
 *     /openapi/v3        ->  address of the document  ->  paths: the resource's kind  ->  components/schemas: its schema
 *
 * A schema says what it is in one of these ways, and kubectl looks at them in this order: $ref (the schema that is meant stands
 * elsewhere), properties, items, additionalProperties, allOf. An empty schema ({}) counts as none.
 *
 * Schemas hold themselves (JSONSchemaProps) and come from a server that need not be ours. A reference that was followed on the way
 * here is not followed again; how deep the walk goes, how many schemas it looks at and how much it writes is bounded besides,
 * because references that branch multiply. */
#include "front/private.h"

#define DEEP_MAX 128
#define STEPS_MAX (1u << 18)
#define TEXT_MAX (64u << 20)
#define WIDTH 76 /* of descriptions, before they are indented */
#define ENUM_MAX 4 /* values shown in a list of fields */

/* References on the way to a schema, innermost first. */
struct seen {
	struct span ref;
	const struct seen *up;
};

struct resource {
	struct span group, version, plural; /* group empty: the core group */
};

struct explain {
	const struct json *doc;
	bool recursive;
	unsigned steps;
	struct err *err;
};

/* ---- text */

static bool blank(uint32_t c) /* Go's unicode.IsSpace, the line end and the no-break space aside */
{
	return c == ' ' || (c >= '\t' && c <= '\r' && c != '\n') || c == 0x85 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
	       c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* A character of a description; it must not steer the terminal. */
static void put_character(struct buf *out, struct span one)
{
	unsigned char c = (unsigned char)one.ptr[0];
	if ((c < 0x20 && c != '\t') || c == 0x7f) {
		buf_chr(out, '^');
		buf_chr(out, (char)(c ^ 0x40));
	} else {
		buf_span_add(out, one);
	}
}

static void put_indent(struct buf *out, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		buf_chr(out, ' ');
}

/* Lines of at most `width` characters where blanks allow it (github.com/mitchellh/go-wordwrap), each behind `indent` blanks; a text
 * that ends with a line end gets a line of blanks. Blanks at a break go away, others stay as they are. */
static void wrap(struct buf *out, struct span text, unsigned width, unsigned indent)
{
	size_t line = 0; /* characters */
	put_indent(out, indent);
	while (text.len) {
		size_t i = 0, gap = 0, gap_end, word = 0;
		uint32_t c = 0;
		for (; i < text.len; gap++) {
			size_t used = utf8_next(span_from(text, i), &c);
			if (!used || !blank(c))
				break;
			i += used;
		}
		gap_end = i;
		for (; i < text.len; word++) {
			size_t used = utf8_next(span_from(text, i), &c);
			if (used && (blank(c) || c == '\n'))
				break;
			i += used ? used : 1;
		}
		if (word && line + gap + word > width && line + gap > 1) {
			buf_chr(out, '\n');
			put_indent(out, indent);
			line = gap = 0;
		} else if (!word && line + gap > width) {
			gap = 0;
		}
		for (size_t k = gap ? 0 : gap_end, used; k < i; k += used) {
			used = utf8_next(span_from(text, k), &c);
			used = used ? used : 1;
			put_character(out, span_sub(text, k, k + used));
		}
		line += gap + word;
		if (i < text.len && text.ptr[i] == '\n') {
			buf_chr(out, '\n');
			put_indent(out, indent);
			line = 0;
			i++;
		}
		text = span_from(text, i);
	}
}

/* ---- schemas */

static bool filled(const struct json *v)
{
	return (json_is(v, JSON_OBJECT) || json_is(v, JSON_ARRAY)) && v->n > 0;
}

static struct span ref_of(const struct json *schema)
{
	return json_span(json_getl(schema, "$ref"));
}

/* What "#/components/schemas/NAME" stands for; NULL when there is no such thing, or nothing in it. */
static const struct json *referred(const struct explain *e, struct span ref)
{
	const struct json *at = e->doc;
	struct span part;
	if (!span_starts(ref, SPAN("#")))
		return NULL;
	ref = span_from(ref, 1);
	while (span_cut(&ref, '/', &part))
		if (part.len)
			at = json_get(at, part);
	return at != e->doc && json_is(at, JSON_OBJECT) && at->n ? at : NULL;
}

static const struct json *resolved(const struct explain *e, const struct json *schema)
{
	const struct json *to = referred(e, ref_of(schema));
	return to ? to : schema;
}

/* items or additionalProperties: the schema of what it holds many of. */
static const struct json *element(const struct json *schema, const char *key)
{
	const struct json *v = json_get(schema, span_of(key));
	return json_is(v, JSON_OBJECT) && v->n ? v : NULL;
}

static bool was_seen(const struct seen *seen, struct span ref)
{
	for (; seen && ref.len; seen = seen->up)
		if (span_eq(seen->ref, ref))
			return true;
	return false;
}

static int step(struct explain *e, const struct buf *out, unsigned deep)
{
	if (deep > DEEP_MAX)
		return err_set(e->err, ERR_TOO_LARGE, "the schema is nested deeper than %d levels", DEEP_MAX);
	if (++e->steps > STEPS_MAX || out->len > TEXT_MAX)
		return err_set(e->err, ERR_TOO_LARGE, "the schema has too many parts");
	return 0;
}

/* "string", "Object", "PodSpec", "[]Container", "map[string]string". */
static int put_type(struct explain *e, struct buf *out, const struct json *schema, unsigned deep)
{
	const struct json *sub, *all = json_getl(schema, "allOf");
	int rc = step(e, out, deep);
	if (rc < 0)
		return rc;
	if ((sub = element(schema, "items"))) {
		buf_str(out, "[]");
		return put_type(e, out, sub, deep + 1);
	}
	if ((sub = element(schema, "additionalProperties"))) {
		buf_str(out, "map[string]");
		return put_type(e, out, sub, deep + 1);
	}
	if (json_is(all, JSON_ARRAY) && all->n == 1 && !filled(json_getl(schema, "properties")))
		return put_type(e, out, &all->items[0], deep + 1);
	struct span ref = ref_of(schema), type = json_span(json_getl(ref.len ? referred(e, ref) : schema, "type"));
	if (ref.len && (!type.len || span_is(type, "object"))) {
		ref = span_from(ref, (size_t)(span_rchr(ref, '/') + 1));
		type = span_from(ref, (size_t)(span_rchr(ref, '.') + 1));
	} else if (span_is(type, "object")) {
		type = SPAN_EMPTY;
	}
	wrap(out, type.len ? type : SPAN("Object"), UINT32_MAX, 0);
	return 0;
}

/* Appended: each description on the way to what the schema is, a line each. */
static int add_description(struct explain *e, struct buf *text, const struct json *schema, unsigned deep)
{
	static const char *const elements[] = { "items", "additionalProperties" };
	int rc = step(e, text, deep);
	schema = resolved(e, schema);
	struct span own = json_span(json_getl(schema, "description"));
	if (own.len)
		buf_printf(text, "%.*s\n", SPAN_ARG(own));
	JSON_EACH_ITEM(json_getl(schema, "allOf"), one)
		if (rc == 0)
			rc = add_description(e, text, one, deep + 1);
	for (size_t i = 0; i < ARRAY_LEN(elements) && rc == 0; i++) {
		const struct json *sub = element(schema, elements[i]);
		if (sub)
			rc = add_description(e, text, sub, deep + 1);
	}
	return rc;
}

static void put_enum_value(struct buf *out, const struct json *v)
{
	auto_buf struct buf text = {};
	if (json_is(v, JSON_STRING) && !v->n)
		buf_str(&text, "\"\"");
	else if (json_is(v, JSON_NULL))
		buf_str(&text, "<no value>");
	else if (json_is_number(v)) /* what Go reads JSON into without a type */
		api_go_float(&text, v->kind == JSON_INT ? (double)v->i : v->kind == JSON_UINT ? (double)v->u : v->d);
	else
		api_go_value(&text, v);
	wrap(out, buf_span(&text), UINT32_MAX, 0);
}

/* All of them, a line each. */
static void put_enum(struct buf *out, const struct json *values)
{
	if (!filled(values))
		return;
	buf_str(out, "ENUM:");
	JSON_EACH_ITEM(values, v) {
		buf_str(out, "\n    ");
		put_enum_value(out, v);
	}
}

/* The first ones, on a line. */
static void put_enum_line(struct buf *out, const struct json *values, unsigned indent)
{
	unsigned n = 0;
	if (!filled(values))
		return;
	buf_chr(out, '\n');
	put_indent(out, indent);
	buf_str(out, "enum: ");
	JSON_EACH_ITEM(values, v) {
		if (n == ENUM_MAX) {
			buf_str(out, ", ....");
			return;
		}
		buf_str(out, n++ ? ", " : "");
		put_enum_value(out, v);
	}
}

/* ---- lists of fields */

static int put_field(struct explain *e, struct buf *out, const struct json *parent, const struct json_member *m, unsigned level,
		     unsigned deep)
{
	struct span about = json_span(json_getl(&m->value, "description"));
	unsigned indent = 2 * level;
	wrap(out, json_key(m), UINT32_MAX, indent);
	buf_str(out, "\t<");
	int rc = put_type(e, out, &m->value, deep);
	buf_chr(out, '>');
	JSON_EACH_ITEM(json_getl(parent, "required"), name)
		if (span_eq(json_span(name), json_key(m))) {
			buf_str(out, " -required-");
			break;
		}
	put_enum_line(out, json_getl(&m->value, "enum"), indent);
	buf_chr(out, '\n');
	if (e->recursive)
		return rc;
	/* The level is 1 here: nothing but --recursive goes down. */
	wrap(out, about.len ? about : SPAN("<no description>"), WIDTH, indent + 2);
	buf_chr(out, '\n');
	buf_chr(out, '\n');
	return rc;
}

static int put_fields(struct explain *e, struct buf *out, const struct json *schema, unsigned level, const struct seen *seen,
		      unsigned deep)
{
	static const char *const elements[] = { "items", "additionalProperties" };
	const struct seen here = { ref_of(schema), seen };
	int rc = step(e, out, deep);
	if (was_seen(seen, here.ref))
		return rc;
	schema = resolved(e, schema);
	JSON_EACH_MEMBER(json_getl(schema, "properties"), m) {
		if (rc == 0)
			rc = put_field(e, out, schema, m, level, deep + 1);
		if (rc == 0 && e->recursive)
			rc = put_fields(e, out, &m->value, level + 1, &here, deep + 1);
	}
	JSON_EACH_ITEM(json_getl(schema, "allOf"), one)
		if (rc == 0)
			rc = put_fields(e, out, one, level, &here, deep + 1);
	for (size_t i = 0; i < ARRAY_LEN(elements) && rc == 0; i++) {
		const struct json *sub = element(schema, elements[i]);
		if (sub)
			rc = put_fields(e, out, sub, level, &here, deep + 1);
	}
	return rc;
}

static int put_schema(struct explain *e, struct buf *out, const struct json *schema)
{
	auto_buf struct buf about = {}, fields = {};
	int rc = add_description(e, &about, schema, 0);
	if (rc == 0)
		rc = put_fields(e, &fields, schema, 1, NULL, 0);
	if (rc < 0)
		return rc;
	buf_str(out, "DESCRIPTION:\n");
	wrap(out, about.len ? buf_span(&about) : SPAN("<empty>"), WIDTH, 4);
	buf_chr(out, '\n');
	if (fields.len)
		buf_printf(out, "FIELDS:\n%.*s", SPAN_ARG(buf_span(&fields)));
	return 1;
}

/* Walks down the names of path. 1: found and written; 0: no such field. */
static int walk(struct explain *e, struct buf *out, const struct json *schema, const struct front_words *path, unsigned at,
		const struct seen *seen, unsigned deep)
{
	const struct seen here = { ref_of(schema), seen };
	const struct json *sub;
	int rc = step(e, out, deep);
	if (rc < 0)
		return rc;
	schema = resolved(e, schema);
	if (at == path->n)
		return put_schema(e, out, schema);
	if (was_seen(seen, here.ref))
		return 0;
	sub = json_get(json_getl(schema, "properties"), path->items[at]);
	if (filled(sub)) {
		if (at + 1 == path->n) {
			buf_printf(out, "FIELD: %.*s <", SPAN_ARG(path->items[at]));
			rc = put_type(e, out, sub, deep);
			buf_str(out, ">\n");
			put_enum(out, json_getl(sub, "enum"));
			buf_str(out, "\n\n");
		}
		return rc < 0 ? rc : walk(e, out, sub, path, at + 1, NULL, deep + 1);
	}
	if ((sub = element(schema, "items")) || (sub = element(schema, "additionalProperties")))
		return walk(e, out, sub, path, at, &here, deep + 1);
	JSON_EACH_ITEM(json_getl(schema, "allOf"), one) {
		rc = walk(e, out, one, path, at, &here, deep + 1);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- a resource's kind and schema */

/* The kind that the operations of the resource's paths are about; NULL when there is no such path. */
static const struct json *kind_of(const struct json *doc, const struct resource *r)
{
	static const char *const methods[] = { "get", "post", "put", "patch", "delete" };
	const struct json *paths = json_getl(doc, "paths"), *kind = NULL;
	auto_buf struct buf base = {};
	if (r->group.len)
		buf_printf(&base, "/apis/%.*s/%.*s", SPAN_ARG(r->group), SPAN_ARG(r->version));
	else
		buf_printf(&base, "/api/%.*s", SPAN_ARG(r->version));
	for (unsigned form = 0; form < 4 && !kind; form++) {
		auto_buf struct buf path = {};
		buf_printf(&path, "%s%s/%.*s%s", buf_cstr(&base), form & 2 ? "/namespaces/{namespace}" : "", SPAN_ARG(r->plural),
			   form & 1 ? "/{name}" : "");
		const struct json *item = json_get(paths, buf_span(&path));
		for (size_t k = 0; k < ARRAY_LEN(methods) && !kind; k++) {
			kind = json_getl(json_get(item, span_of(methods[k])), "x-kubernetes-group-version-kind");
			kind = filled(kind) ? kind : NULL;
		}
	}
	return kind;
}

static const struct json *schema_of(const struct json *doc, const struct json *kind)
{
	JSON_EACH_MEMBER(json_path(doc, "components", "schemas", NULL), m)
		JSON_EACH_ITEM(json_getl(&m->value, "x-kubernetes-group-version-kind"), one)
			if (json_equal(one, kind))
				return &m->value;
	return NULL;
}

static void resource_text(struct buf *out, const struct resource *r)
{
	buf_printf(out, "%.*s%s%.*s, Resource=%.*s", SPAN_ARG(r->group), r->group.len ? "/" : "", SPAN_ARG(r->version),
		   SPAN_ARG(r->plural));
}

/* Appended: GROUP, KIND, VERSION, then the resource's schema or, behind the names of path, a field's. doc is brought into the order
 * of its keys. NOT_FOUND in kubectl's words (what was written before stays in out); TOO_LARGE past the bounds above. */
static int print_kind(struct json *doc, const struct resource *r, const struct front_words *path, bool recursive,
		      struct buf *out, struct err *err)
{
	struct explain e = { .doc = doc, .recursive = recursive, .err = err };
	json_sort(doc); /* kubectl goes through maps in the order of their keys */
	const struct json *kind = kind_of(doc, r), *schema = kind ? schema_of(doc, kind) : NULL;
	struct span group = json_span(json_getl(kind, "group")), version = json_span(json_getl(kind, "version")),
		    name = json_span(json_getl(kind, "kind"));
	auto_buf struct buf text = {};
	if (!kind) {
		resource_text(&text, r);
		return err_set(err, ERR_NOT_FOUND, "GVR (%s) not found in OpenAPI schema", buf_cstr(&text));
	}
	if (group.len)
		buf_printf(&text, "GROUP:      %.*s\n", SPAN_ARG(group));
	buf_printf(&text, "KIND:       %.*s\nVERSION:    %.*s\n", SPAN_ARG(name), SPAN_ARG(version));
	wrap(out, buf_span(&text), UINT32_MAX, 0);
	buf_chr(out, '\n');
	if (!schema)
		return err_set(err, ERR_NOT_FOUND, "GVK map[group:%.*s kind:%.*s version:%.*s] not found in OpenAPI schema",
			       SPAN_ARG(group), SPAN_ARG(name), SPAN_ARG(version));
	int rc = walk(&e, out, schema, path, 0, NULL, 0);
	if (rc == 0)
		return err_set(err, ERR_NOT_FOUND, "field \"%.*s\" does not exist", SPAN_ARG(path->items[path->n - 1]));
	if (rc > 0)
		buf_chr(out, '\n');
	return rc < 0 ? rc : 0;
}

/* ---- the verb */

/* "pods.spec.containers" as its names; kubectl reads it as a JSONPath, whose complaints it has. */
static int split_path(struct front *f, struct span text, struct front_words *out, struct err *err)
{
	struct api_jsonpath *path;
	struct span part;
	if (span_ends(text, SPAN(".")))
		text.len--;
	int rc = api_jsonpath_parse(&f->arena, arena_printf(&f->arena, "{.%.*s}", SPAN_ARG(text)), &path, err);
	if (rc < 0)
		return rc;
	while (span_cut(&text, '.', &part)) {
		bool plain = part.len > 0;
		for (size_t i = 0; i < part.len && plain; i++)
			plain = !strchr("[]*{}()@$'\"?, ", part.ptr[i]);
		if (!plain)
			return err_set(err, ERR_USAGE, "invalid jsonpath syntax, first node must be field node");
		front_words_add(&f->arena, out, part);
	}
	return out->n ? 0 : err_set(err, ERR_USAGE, "a resource must be present, got: /, Resource=");
}

/* Which resource the first word means, and how many words name it: "deployments.apps.spec" begins with a resource and its group. */
static int find_resource(struct front *f, struct span text, const struct front_words *words, const struct front_resource **out,
			 unsigned *out_words, struct err *err)
{
	const struct front_resource *first;
	int rc = front_discovery_find(&f->discovery, words->items[0], &first, err);
	if (rc < 0)
		return rc;
	*out = first;
	*out_words = 1;
	for (unsigned i = 0; i < f->discovery.n; i++) {
		const struct front_resource *r = &f->discovery.rows[i];
		auto_buf struct buf whole = {};
		if (!r->preferred || !span_eq(r->plural, first->plural))
			continue;
		buf_span_add(&whole, r->plural);
		if (r->group.len)
			buf_printf(&whole, ".%.*s", SPAN_ARG(r->group));
		if (!span_starts(text, buf_span(&whole)))
			continue;
		*out = r;
		for (size_t k = 0; k < whole.len; k++)
			*out_words += whole.ptr[k] == '.';
		return 0;
	}
	return 0;
}

/* The document of a group version, found through the index as clients do it. */
static int fetch(struct front *f, const struct resource *r, struct json *out, struct err *err)
{
	struct span path = r->group.len ? arena_printf(&f->arena, "apis/%.*s/%.*s", SPAN_ARG(r->group), SPAN_ARG(r->version)) :
					  arena_printf(&f->arena, "api/%.*s", SPAN_ARG(r->version));
	auto_buf struct buf text = {};
	struct json index;
	int rc = front_ask(f, &(struct front_request){ .path = SPAN("/openapi/v3") }, &index, err);
	if (rc < 0)
		return err_note(err, "failed to fetch list of groupVersions");
	struct span at = json_span(json_getl(json_get(json_getl(&index, "paths"), path), "serverRelativeURL"));
	if (!span_starts(at, SPAN("/"))) {
		resource_text(&text, r);
		return err_set(err, ERR_NOT_FOUND, "couldn't find resource for \"%s\"", buf_cstr(&text));
	}
	rc = front_ask(f, &(struct front_request){ .path = at, .accept = "application/json" }, out, err);
	return rc < 0 ? err_note(err, "failed to fetch openapi schema for %.*s", SPAN_ARG(path)) : 0;
}

static int explain(struct front *f, struct span word, struct span api_version, bool recursive, struct err *err)
{
	const struct front_resource *found = NULL;
	struct front_words words = {};
	struct json doc;
	unsigned used = 1;
	int rc = split_path(f, word, &words, err);
	if (rc == 0)
		rc = front_discover(f, err);
	if (rc == 0 && api_version.len)
		rc = front_discovery_find(&f->discovery, words.items[0], &found, err);
	else if (rc == 0)
		rc = find_resource(f, word, &words, &found, &used, err);
	if (rc < 0) {
		f->said.bare = !f->said.answered && f->discovered && !found; /* kubectl says this one without "error: " */
		return rc;
	}
	struct resource r = { found->group, found->version, found->plural };
	if (api_version.len && !span_split(api_version, '/', &r.group, &r.version)) {
		r.group = SPAN_EMPTY;
		r.version = api_version;
	}
	if (span_chr(r.version, '/') >= 0)
		return err_set(err, ERR_USAGE, "unexpected GroupVersion string: %.*s", SPAN_ARG(api_version));
	rc = fetch(f, &r, &doc, err);
	const struct front_words path = { words.items + used, words.n - used };
	return rc < 0 ? rc : print_kind(&doc, &r, &path, recursive, &f->out, err);
}

int front_explain_main(struct front *f, int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct front_args args;
	struct span api_version = SPAN_EMPTY, output = SPAN("plaintext");
	bool recursive = false;
	const struct front_flag flags[] = {
		{ "api-version", 0, FRONT_FLAG_TEXT, &api_version, NULL, "this group and version of the resource" },
		{ "output", 0, FRONT_FLAG_TEXT, &output, NULL, "how to show it: plaintext" },
		{ "recursive", 0, FRONT_FLAG_BOOL, &recursive, NULL, "the fields of fields too, without their descriptions" },
		{},
	};
	int rc = front_verb_args(f, "explain", "TYPE[.FIELD...] [flags]", "Describes the fields of a kind of objects.", flags, argc,
				 argv, &args);
	if (rc)
		return rc < 0;
	if (!args.words.n)
		rc = err_set(&err, ERR_USAGE, "You must specify the type of resource to explain. Use \"kubectl api-resources\" "
			     "for a complete list of supported resources.");
	else if (args.words.n > 1)
		rc = err_set(&err, ERR_USAGE, "We accept only this format: explain RESOURCE");
	else if (!span_is(output, "plaintext"))
		rc = err_set(&err, ERR_USAGE, "unrecognized format: %.*s", SPAN_ARG(output));
	else
		rc = explain(f, args.words.items[0], api_version, recursive, &err);
	if (rc < 0)
		(void)front_complain(f, &err, NULL);
	return rc < 0;
}
