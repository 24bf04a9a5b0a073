/* The reader: libyaml's events become nodes, nodes become the tree.
 *
 * Two steps, because an alias stands for what its anchor held and merge keys look at the kind of a node before its value
 * is made:
 *
 *     compose   events -> nodes in a scratch arena; no recursion; anchors in a map; bounded by depth and nodes
 *     decode    nodes -> struct json in the caller's arena; recursion of at most DEPTH_MOST; aliases are expanded
 *               and counted as go-yaml counts them
 *
 * Texts of scalars are copied once, into the caller's arena, by compose.
 *
 * Keys. go-yaml tells 1 from "1" when it looks for keys that are there twice, and only then turns both into
 * strings. Here members are found by their string; member.mark holds the key's type while an object is being made, so that
 * YAML_STRICT reports what go-yaml reports. */
#include <math.h>
#include <yaml.h>

#include "yaml/private.h"

enum {
	DEPTH_MOST = 1000,
	DEPTH_DEFAULT = 512,
	BYTES_DEFAULT = 64 << 20,
	NODES_DEFAULT = 8 << 20,
	REPEATS_MOST = 100, /* messages about repeated keys */
	FIND_LINEAR = 16,   /* objects up to this size look for a key by comparing */
	SHOW_MOST = 400,    /* bytes of a value shown in a message */
};

enum node_kind { NODE_SCALAR, NODE_SEQUENCE, NODE_MAPPING, NODE_ALIAS };

struct node {
	enum node_kind kind;
	bool implicit;   /* scalar: plain and without a tag */
	bool expanding;  /* alias: decode is inside it */
	size_t line;     /* from 1 */
	const char *tag; /* long form, "" for none */
	struct span text; /* scalar, in the caller's arena; alias: the anchor's name */
	struct node *target; /* alias */
	struct node *first, *last, *next; /* children; a mapping's are key, value, key, value */
	uint32_t n_children;
};

struct reader {
	yaml_parser_t yaml;
	struct arena *arena;
	struct arena scratch;
	struct map anchors; /* name -> struct node */
	unsigned flags;
	unsigned depth, depth_most;
	size_t nodes, nodes_most;
	size_t decoded, from_aliases; /* go-yaml's decodeCount and aliasCount */
	unsigned alias_depth;
	struct buf repeats; /* "\n  line 4: key ..." */
	unsigned n_repeats;
	struct err *err;
	int failed;
};

static __attribute__((cold, format(printf, 3, 4))) bool fail(struct reader *r, enum err_class class, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	r->failed = err_vset(r->err, class, fmt, ap);
	va_end(ap);
	if (r->err)
		(void)err_note(r->err, "error converting YAML to JSON"); /* same class */
	return false;
}

/* ---- compose */
/* libyaml's complaint with the line that go-yaml prints: the mark's line counts from 0 and is printed as it is,
 * except for the scanner's; line 0 is left out. */
static bool fail_syntax(struct reader *r)
{
	yaml_parser_t *y = &r->yaml;
	size_t line = 0;
	if (y->error == YAML_MEMORY_ERROR)
		return fail(r, ERR_INTERNAL, "yaml: out of memory");
	if (y->problem_mark.line)
		line = y->problem_mark.line + (y->error == YAML_SCANNER_ERROR);
	else if (y->context_mark.line)
		line = y->context_mark.line;
	const char *problem = y->problem ? y->problem : "unknown problem parsing YAML content";
	if (line)
		return fail(r, ERR_INVALID_REQUEST, "yaml: line %zu: %s", line, problem);
	return fail(r, ERR_INVALID_REQUEST, "yaml: %s", problem);
}

static struct node *node_new(struct reader *r, enum node_kind kind, const yaml_event_t *e)
{
	if (r->nodes++ >= r->nodes_most) {
		fail(r, ERR_TOO_LARGE, "yaml: line %zu: more than %zu values", e->start_mark.line + 1, r->nodes_most);
		return NULL;
	}
	struct node *n = arena_new(&r->scratch, struct node);
	n->kind = kind;
	n->line = e->start_mark.line + 1;
	n->tag = "";
	return n;
}

static void anchor_set(struct reader *r, struct node *n, const yaml_char_t *anchor)
{
	if (anchor)
		map_put(&r->anchors, arena_span(&r->scratch, span_of((const char *)anchor)), n);
}

static const char *tag_copy(struct reader *r, const yaml_char_t *tag)
{
	return tag ? arena_cstr(&r->scratch, span_of((const char *)tag)) : "";
}

/* The node that an event begins, or NULL with r->failed set. */
static struct node *node_of(struct reader *r, const yaml_event_t *e)
{
	struct node *n = NULL;
	switch (e->type) {
	case YAML_SCALAR_EVENT:
		n = node_new(r, NODE_SCALAR, e);
		if (!n)
			return NULL;
		n->text = arena_span(r->arena, span_make(e->data.scalar.value, e->data.scalar.length));
		n->tag = tag_copy(r, e->data.scalar.tag);
		n->implicit = e->data.scalar.plain_implicit;
		anchor_set(r, n, e->data.scalar.anchor);
		break;
	case YAML_SEQUENCE_START_EVENT:
		n = node_new(r, NODE_SEQUENCE, e);
		if (n)
			anchor_set(r, n, e->data.sequence_start.anchor);
		break;
	case YAML_MAPPING_START_EVENT:
		n = node_new(r, NODE_MAPPING, e);
		if (n)
			anchor_set(r, n, e->data.mapping_start.anchor);
		break;
	case YAML_ALIAS_EVENT:
		n = node_new(r, NODE_ALIAS, e);
		if (!n)
			return NULL;
		n->text = arena_span(&r->scratch, span_of((const char *)e->data.alias.anchor));
		n->target = map_get(&r->anchors, n->text);
		if (!n->target) {
			fail(r, ERR_INVALID_REQUEST, "yaml: unknown anchor '%.*s' referenced", SPAN_ARG(n->text));
			return NULL;
		}
		break;
	default:
		abort(); /* libyaml's grammar puts nothing else here */
	}
	return n;
}

static void child_add(struct node *parent, struct node *child)
{
	if (parent->last)
		parent->last->next = child;
	else
		parent->first = child;
	parent->last = child;
	parent->n_children++;
}

/* One event inside a document. *open is the innermost container of `depth`; the stack of those around it. */
static bool compose_event(struct reader *r, const yaml_event_t *e, struct node **stack, struct node **root)
{
	if (e->type == YAML_SEQUENCE_END_EVENT || e->type == YAML_MAPPING_END_EVENT) {
		r->depth--;
		return true;
	}
	struct node *n = node_of(r, e);
	if (!n)
		return false;
	if (r->depth)
		child_add(stack[r->depth - 1], n);
	else
		*root = n;
	if (n->kind == NODE_SEQUENCE || n->kind == NODE_MAPPING) {
		if (r->depth >= r->depth_most)
			return fail(r, ERR_TOO_LARGE, "yaml: exceeded max depth of %u", r->depth_most);
		stack[r->depth++] = n;
	}
	return true;
}

/* The first document's nodes in *root; NULL without a document. */
static bool compose(struct reader *r, struct node **root)
{
	struct node **stack = arena_alloc_n(&r->scratch, r->depth_most, sizeof(struct node *));
	*root = NULL;
	for (;;) {
		yaml_event_t e;
		if (!yaml_parser_parse(&r->yaml, &e))
			return fail_syntax(r);
		yaml_event_type_t type = e.type;
		bool ok = true;
		switch (type) {
		case YAML_NO_EVENT:
		case YAML_STREAM_START_EVENT:
		case YAML_DOCUMENT_START_EVENT:
		case YAML_DOCUMENT_END_EVENT:
		case YAML_STREAM_END_EVENT:
			break;
		default:
			ok = compose_event(r, &e, stack, root);
		}
		yaml_event_delete(&e);
		if (!ok)
			return false;
		if (type == YAML_DOCUMENT_END_EVENT || type == YAML_STREAM_END_EVENT || type == YAML_NO_EVENT)
			return true;
	}
}

/* ---- values as Go's %#v shows them, for two messages about keys */
static void show_string(struct buf *b, struct span s)
{
	buf_chr(b, '"');
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		const char *brief = strchr("\aa\bb\ff\nn\rr\tt\vv\"\"\\\\", c);
		if (c && brief && (c < 0x20 || c == '"' || c == '\\')) {
			buf_chr(b, '\\');
			buf_chr(b, brief[1]);
		} else if (c < 0x20 || c == 0x7f) {
			buf_printf(b, "\\x%02x", c);
		} else {
			buf_chr(b, (char)c);
		}
	}
	buf_chr(b, '"');
}

static void show(struct buf *b, const struct json *v)
{
	if (b->len > SHOW_MOST)
		return;
	switch (v->kind) {
	case JSON_NULL:
		buf_str(b, "interface {}(nil)");
		break;
	case JSON_BOOL:
		buf_str(b, v->b ? "true" : "false");
		break;
	case JSON_INT:
		buf_i64(b, v->i);
		break;
	case JSON_UINT:
		buf_printf(b, "0x%llx", (unsigned long long)v->u);
		break;
	case JSON_DOUBLE:
		yaml_float_text(b, v->d, 64);
		break;
	case JSON_ARRAY:
		buf_str(b, "[]interface {}{");
		JSON_EACH_ITEM(v, item) {
			if (item != v->items)
				buf_str(b, ", ");
			show(b, item);
		}
		buf_chr(b, '}');
		break;
	case JSON_OBJECT:
		buf_str(b, "map[interface {}]interface {}{");
		JSON_EACH_MEMBER(v, m) {
			if (m != v->members)
				buf_str(b, ", ");
			show_string(b, json_key(m));
			buf_chr(b, ':');
			show(b, &m->value);
		}
		buf_chr(b, '}');
		break;
	default:
		show_string(b, json_span(v));
	}
}

/* ---- scalars */
static const char *type_tag(enum yaml_type type)
{
	static const char *const tags[] = { "!!null", "!!bool", "!!int", "!!float", "!!str", "!!timestamp" };
	return tags[type];
}

static bool type_of_tag(const char *tag, enum yaml_type *out)
{
	static const struct {
		const char *tag;
		enum yaml_type type;
	} tags[] = {
		{ YAML_NULL_TAG, YAML_TYPE_NULL },   { YAML_BOOL_TAG, YAML_TYPE_BOOL },
		{ YAML_INT_TAG, YAML_TYPE_INT },     { YAML_FLOAT_TAG, YAML_TYPE_FLOAT },
		{ YAML_STR_TAG, YAML_TYPE_STRING },  { YAML_TIMESTAMP_TAG, YAML_TYPE_TIMESTAMP },
	};
	for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
		if (strcmp(tag, tags[i].tag) == 0) {
			*out = tags[i].type;
			return true;
		}
	}
	return false;
}

static bool decode_binary(struct reader *r, const struct node *n, struct json *out)
{
	auto_buf struct buf b = {};
	if (!base64_parse(&b, BASE64_STD, n->text))
		return fail(r, ERR_INVALID_REQUEST, "yaml: !!binary value contains invalid base64 data");
	/* Go's JSON writer makes each byte that is not UTF-8 U+FFFD. */
	auto_buf struct buf text = {};
	for (size_t i = 0; i < b.len;) {
		uint32_t code;
		size_t len = utf8_next(span_from(buf_span(&b), i), &code);
		if (len)
			buf_add(&text, b.ptr + i, len);
		else
			utf8_add(&text, 0xfffd);
		i += len ? len : 1;
	}
	*out = json_str(arena_span(r->arena, buf_span(&text)));
	return true;
}

/* The scalar's value before JSON has a say: floats are not yet integers, and may be infinite. */
static bool decode_scalar(struct reader *r, const struct node *n, struct json *out, enum yaml_type *out_type)
{
	enum yaml_type type, wanted = YAML_TYPE_STRING;
	*out = json_str(n->text);
	*out_type = YAML_TYPE_STRING;
	bool tagged = n->tag[0];
	if (!tagged && !n->implicit)
		return true;
	if (strcmp(n->tag, "tag:yaml.org,2002:binary") == 0)
		return decode_binary(r, n, out);
	if (tagged && (!type_of_tag(n->tag, &wanted) || wanted == YAML_TYPE_STRING))
		return true;
	type = yaml_resolve(n->text, out);
	/* A time is only looked for without a tag or with its own. */
	if (type == YAML_TYPE_TIMESTAMP && tagged && wanted != YAML_TYPE_TIMESTAMP)
		type = YAML_TYPE_STRING;
	if (tagged && wanted == YAML_TYPE_FLOAT && type == YAML_TYPE_INT && out->kind == JSON_INT) {
		*out = json_double((double)out->i);
		type = YAML_TYPE_FLOAT;
	}
	if (tagged && type != wanted)
		return fail(r, ERR_INVALID_REQUEST, "yaml: cannot decode %s `%.*s` as a %s", type_tag(type),
			    (int)MIN(n->text.len, (size_t)100), n->text.ptr, type_tag(wanted));
	*out_type = type;
	return true;
}

/* A float as it comes out of Go's JSON text: "8", which is read again as an integer, or "0.5". */
static bool float_to_json(struct reader *r, struct json *v)
{
	if (!isfinite(v->d))
		return fail(r, ERR_INVALID_REQUEST, "json: unsupported value: %s",
			    isnan(v->d) ? "NaN" : v->d < 0 ? "-Inf" : "+Inf");
	if (v->d != trunc(v->d) || fabs(v->d) >= 1e21)
		return true;
	auto_buf struct buf text = {};
	json_write_double(&text, v->d);
	return json_parse(r->arena, buf_span(&text), 0, NULL, v, NULL) == 0 || fail(r, ERR_INTERNAL, "yaml: number");
}

/* ---- containers */
static bool decode(struct reader *r, struct node *n, struct json *out, enum yaml_type *out_type);

/* An object that is being made, and where its keys are once there are many. */
struct object {
	struct json *json;
	struct map places; /* key -> 1 + index of the member */
};

static struct json_member *object_find(struct object *o, struct span key)
{
	if (o->json->n <= FIND_LINEAR)
		return json_member(o->json, key);
	if (o->places.n == 0) {
		for (uint32_t i = 0; i < o->json->n; i++)
			map_put(&o->places, json_key(o->json->members + i), (void *)(uintptr_t)(i + 1));
	}
	uintptr_t place = (uintptr_t)map_get(&o->places, key);
	return place ? o->json->members + (place - 1) : NULL;
}

static void object_add(struct reader *r, struct object *o, struct span key, uint32_t mark, struct json value)
{
	json_add(r->arena, o->json, key, value);
	o->json->members[o->json->n - 1].mark = mark;
	if (o->places.n)
		map_put(&o->places, key, (void *)(uintptr_t)o->json->n);
}

/* The key's text in JSON, as sigs.k8s.io/yaml makes it; value is for the message about keys that have none. */
static bool key_text(struct reader *r, const struct json *key, enum yaml_type type, const struct json *value,
		     struct span *out)
{
	auto_buf struct buf b = {};
	switch (type) {
	case YAML_TYPE_STRING:
	case YAML_TYPE_TIMESTAMP:
		*out = json_span(key);
		return true;
	case YAML_TYPE_BOOL:
		*out = key->b ? SPAN("true") : SPAN("false");
		return true;
	case YAML_TYPE_FLOAT:
		if (isnan(key->d))
			buf_str(&b, ".nan");
		else if (isinf((float)key->d))
			buf_str(&b, key->d < 0 ? "-.inf" : ".inf");
		else
			yaml_float_text(&b, key->d, 32);
		break;
	case YAML_TYPE_INT:
		if (key->kind == JSON_INT) {
			buf_i64(&b, key->i);
			break;
		}
		show(&b, value);
		return fail(r, ERR_INVALID_REQUEST, "unsupported map key of type: uint64, key: 0x%llx, value: %s",
			    (unsigned long long)key->u, buf_cstr(&b));
	case YAML_TYPE_NULL:
		show(&b, value);
		return fail(r, ERR_INVALID_REQUEST,
			    "unsupported map key of type: %%!s(<nil>), key: <nil>, value: %s", buf_cstr(&b));
	}
	*out = arena_span(r->arena, buf_span(&b));
	return true;
}

static void repeat_add(struct reader *r, size_t line, const struct json *key)
{
	if (r->n_repeats++ >= REPEATS_MOST)
		return;
	buf_printf(&r->repeats, "\n  line %zu: key ", line);
	auto_buf struct buf shown = {};
	show(&shown, key);
	buf_span_add(&r->repeats, buf_span(&shown));
	buf_str(&r->repeats, " already set in map");
}

static bool decode_pair(struct reader *r, struct node *key_node, struct node *value_node, struct object *o)
{
	struct json key, value;
	enum yaml_type key_type, value_type;
	if (!decode(r, key_node, &key, &key_type))
		return false;
	if (key.kind == JSON_ARRAY || key.kind == JSON_OBJECT) {
		auto_buf struct buf b = {};
		show(&b, &key);
		return fail(r, ERR_INVALID_REQUEST, "yaml: invalid map key: %s", buf_cstr(&b));
	}
	if (!decode(r, value_node, &value, &value_type))
		return false;
	if (value_type == YAML_TYPE_FLOAT && !float_to_json(r, &value))
		return false;
	struct span name;
	if (!key_text(r, &key, key_type, &value, &name))
		return false;
	uint32_t mark = key_type == YAML_TYPE_TIMESTAMP ? YAML_TYPE_STRING : key_type;
	struct json_member *there = object_find(o, name);
	if (!there) {
		object_add(r, o, name, mark, value);
	} else if ((r->flags & YAML_STRICT) && there->mark == mark) {
		repeat_add(r, value_node->line, &key);
	} else {
		there->value = value;
		there->mark = mark;
	}
	return true;
}

static bool is_merge(const struct node *n)
{
	return n->kind == NODE_SCALAR && span_is(n->text, "<<") &&
	       (n->implicit || strcmp(n->tag, "tag:yaml.org,2002:merge") == 0);
}

static bool count(struct reader *r)
{
	r->decoded++;
	r->from_aliases += r->alias_depth > 0;
	if (r->decoded > r->nodes_most)
		return fail(r, ERR_TOO_LARGE, "yaml: more than %zu values", r->nodes_most);
	if (r->from_aliases <= 100 || r->decoded <= 1000)
		return true;
	double low = 400000, high = 4000000, most = 0.99;
	if (r->decoded >= high)
		most = 0.10;
	else if (r->decoded > low)
		most = 0.99 - 0.89 * (((double)r->decoded - low) / (high - low));
	if ((double)r->from_aliases / (double)r->decoded > most)
		return fail(r, ERR_TOO_LARGE, "yaml: document contains excessive aliasing");
	return true;
}

static bool descend(struct reader *r)
{
	if (r->depth >= r->depth_most)
		return fail(r, ERR_TOO_LARGE, "yaml: exceeded max depth of %u", r->depth_most);
	r->depth++;
	return true;
}

static bool alias_enter(struct reader *r, struct node *n)
{
	if (n->expanding)
		return fail(r, ERR_INVALID_REQUEST, "yaml: anchor '%.*s' value contains itself", SPAN_ARG(n->text));
	if (!descend(r))
		return false;
	n->expanding = true;
	r->alias_depth++;
	return true;
}

static void alias_leave(struct reader *r, struct node *n)
{
	n->expanding = false;
	r->alias_depth--;
	r->depth--;
}

static bool decode_members(struct reader *r, struct node *n, struct object *o);

/* A mapping, or an alias of one, into the object. */
static bool merge_one(struct reader *r, struct node *n, struct object *o)
{
	bool alias = n->kind == NODE_ALIAS;
	struct node *mapping = alias ? n->target : n;
	if (mapping->kind != NODE_MAPPING)
		return fail(r, ERR_INVALID_REQUEST, "yaml: map merge requires map or sequence of maps as the value");
	if (!count(r))
		return false;
	if (alias && (!alias_enter(r, n) || !count(r)))
		return false;
	bool ok = decode_members(r, mapping, o);
	if (alias)
		alias_leave(r, n);
	return ok;
}

static bool merge(struct reader *r, struct node *n, struct object *o)
{
	if (n->kind != NODE_SEQUENCE)
		return merge_one(r, n, o);
	/* From the last to the first: earlier ones take precedence. */
	struct node **nodes = arena_alloc_n(&r->scratch, n->n_children + 1, sizeof(struct node *));
	uint32_t i = 0;
	for (struct node *child = n->first; child; child = child->next)
		nodes[i++] = child;
	while (i) {
		if (!merge_one(r, nodes[--i], o))
			return false;
	}
	return true;
}

static bool decode_members(struct reader *r, struct node *n, struct object *o)
{
	if (!descend(r))
		return false;
	for (struct node *key = n->first; key; key = key->next->next) {
		if (!(is_merge(key) ? merge(r, key->next, o) : decode_pair(r, key, key->next, o)))
			return false;
	}
	r->depth--;
	return true;
}

static bool decode_mapping(struct reader *r, struct node *n, struct json *out)
{
	*out = json_object();
	struct object o = { .json = out };
	bool ok = decode_members(r, n, &o);
	map_done(&o.places);
	JSON_EACH_MEMBER(out, m)
		m->mark = 0;
	return ok;
}

static bool decode_sequence(struct reader *r, struct node *n, struct json *out)
{
	if (!descend(r))
		return false;
	struct json *items = n->n_children ? arena_alloc_n(r->arena, n->n_children, sizeof(*items)) : NULL;
	uint32_t i = 0;
	for (struct node *child = n->first; child; child = child->next, i++) {
		enum yaml_type type;
		if (!decode(r, child, items + i, &type) || (type == YAML_TYPE_FLOAT && !float_to_json(r, items + i)))
			return false;
	}
	*out = (struct json){ .kind = JSON_ARRAY, .exact = 1, .n = i, .items = items };
	r->depth--;
	return true;
}

/* The value of a node. *out_type tells a float from what JSON makes of it; containers count as strings there. */
static bool decode(struct reader *r, struct node *n, struct json *out, enum yaml_type *out_type)
{
	*out_type = YAML_TYPE_STRING;
	if (!count(r))
		return false;
	switch (n->kind) {
	case NODE_SCALAR:
		return decode_scalar(r, n, out, out_type);
	case NODE_SEQUENCE:
		return decode_sequence(r, n, out);
	case NODE_MAPPING:
		return decode_mapping(r, n, out);
	case NODE_ALIAS:
		break;
	}
	if (!alias_enter(r, n))
		return false;
	bool ok = decode(r, n->target, out, out_type);
	alias_leave(r, n);
	return ok;
}

/* ---- the seam */
static bool read_document(struct reader *r, struct json *out)
{
	struct node *root;
	enum yaml_type type;
	if (!compose(r, &root))
		return false;
	*out = JSON_NULL_VALUE;
	if (!root)
		return true;
	r->depth = 0;
	r->decoded = 1; /* go-yaml counts the document too */
	if (!decode(r, root, out, &type) || (type == YAML_TYPE_FLOAT && !float_to_json(r, out)))
		return false;
	if (r->n_repeats)
		return fail(r, ERR_INVALID_REQUEST, "yaml: unmarshal errors:%s", buf_cstr(&r->repeats));
	return true;
}

int yaml_parse(struct arena *a, struct span text, unsigned flags, const struct json_limits *limits, struct json *out,
	       struct err *err)
{
	size_t bytes = limits && limits->bytes ? limits->bytes : BYTES_DEFAULT;
	if (text.len > bytes)
		return err_set(err, ERR_TOO_LARGE, "the text has %zu bytes, more than the limit of %zu", text.len, bytes);
	struct reader r = { .arena = a, .flags = flags, .err = err };
	r.depth_most = limits && limits->depth ? MIN(limits->depth, (unsigned)DEPTH_MOST) : DEPTH_DEFAULT;
	r.nodes_most = limits && limits->nodes ? limits->nodes : NODES_DEFAULT;
	if (!yaml_parser_initialize(&r.yaml))
		return err_set(err, ERR_INTERNAL, "error converting YAML to JSON: yaml: out of memory");
	yaml_parser_set_input_string(&r.yaml, (const unsigned char *)(text.len ? text.ptr : "\n"), text.len ? text.len : 1);
	struct json v;
	if (read_document(&r, &v))
		*out = v;
	yaml_parser_delete(&r.yaml);
	arena_done(&r.scratch);
	map_done(&r.anchors);
	buf_done(&r.repeats);
	return r.failed;
}
