/* get: objects as tables (the server makes the cells), as YAML or JSON, by names, through JSONPath; once or as they change. */
#include "front/private.h"

#define TABLE "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
#define CHUNK 500

enum format { FORMAT_TABLE, FORMAT_WIDE, FORMAT_YAML, FORMAT_JSON, FORMAT_NAME, FORMAT_JSONPATH, FORMAT_JSONPATH_AS_JSON,
	      FORMAT_COLUMNS };

struct get {
	struct front *f;
	struct span output, selector, field_selector, sort_by, raw, sub;
	struct front_words files, label_columns;
	bool watch, watch_only, all, no_headers, show_labels, show_kind, ignore_not_found, recursive, managed_fields;
	enum format format;
	struct api_jsonpath *path, *sort_path; /* in the command's arena */
	struct column {                        /* of -o custom-columns; in the command's arena */
		struct span head;
		struct api_jsonpath *path;
	} *custom;
	unsigned n_custom;
	struct front_columns columns;
	const struct front_resource *last;     /* whose table was begun */
	bool header_out;                       /* of that table */
	bool wrote;
};

/* ---- what was asked for */

/* "NAME:.metadata.name,IMAGES:.spec.containers[*].image" */
static int read_columns(struct get *g, struct span text, struct err *err)
{
	struct span one, head, path;
	if (!text.len)
		return err_set(err, ERR_USAGE, "custom-columns format specified but no custom columns given");
	g->custom = arena_alloc_n(&g->f->arena, text.len, sizeof(*g->custom));
	while (text.len) {
		/* A comma within brackets or braces is the path's. */
		size_t end = 0, deep = 0;
		for (; end < text.len && (text.ptr[end] != ',' || deep); end++) {
			deep += text.ptr[end] == '[' || text.ptr[end] == '{' || text.ptr[end] == '(';
			deep -= deep && (text.ptr[end] == ']' || text.ptr[end] == '}' || text.ptr[end] == ')');
		}
		one = span_sub(text, 0, end);
		text = end < text.len ? span_from(text, end + 1) : SPAN_EMPTY;
		auto_buf struct buf whole = {};
		if (!span_split(one, ':', &head, &path))
			return err_set(err, ERR_USAGE, "unexpected custom-columns spec: %.*s, expected <header>:<json-path-expr>",
				SPAN_ARG(one));
		int rc = api_jsonpath_relaxed(path, &whole, err);
		g->custom[g->n_custom].head = head;
		if (rc == 0)
			rc = api_jsonpath_parse(&g->f->arena, arena_span(&g->f->arena, buf_span(&whole)), &g->custom[g->n_custom++].path, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_format(struct get *g, struct err *err)
{
	struct span columns = SPAN("custom-columns=");
	if (span_starts(g->output, columns)) {
		g->format = FORMAT_COLUMNS;
		return read_columns(g, span_from(g->output, columns.len), err);
	}
	static const struct { const char *name; enum format format; } rows[] = {
		{ "", FORMAT_TABLE }, { "wide", FORMAT_WIDE }, { "yaml", FORMAT_YAML }, { "json", FORMAT_JSON }, { "name", FORMAT_NAME },
	};
	static const struct { struct span prefix; enum format format; } templates[] = {
		{ SPAN_INIT("jsonpath="), FORMAT_JSONPATH }, { SPAN_INIT("jsonpath-as-json="), FORMAT_JSONPATH_AS_JSON },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (span_is(g->output, rows[i].name)) {
			g->format = rows[i].format;
			return 0;
		}
	for (size_t i = 0; i < ARRAY_LEN(templates); i++)
		if (span_starts(g->output, templates[i].prefix)) {
			struct span text = span_from(g->output, templates[i].prefix.len);
			g->format = templates[i].format;
			int rc = api_jsonpath_parse(&g->f->arena, text, &g->path, err);
			if (rc == 0)
				return 0;
			const char *why = arena_cstr(&g->f->arena, span_of(err_msg(err)));
			return err_set(err, ERR_USAGE, "error parsing jsonpath %.*s, %s", SPAN_ARG(text), why);
		}
	return err_set(err, ERR_USAGE, "unable to match a printer suitable for the output format \"%.*s\", allowed formats are: "
		       "custom-columns,json,jsonpath,jsonpath-as-json,name,wide,yaml", SPAN_ARG(g->output));
}

static int read_sort(struct get *g, struct err *err)
{
	auto_buf struct buf text = {};
	if (!g->sort_by.len)
		return 0;
	int rc = api_jsonpath_relaxed(g->sort_by, &text, err);
	return rc < 0 ? rc : api_jsonpath_parse(&g->f->arena, arena_span(&g->f->arena, buf_span(&text)), &g->sort_path, err);
}

static bool as_table(const struct get *g)
{
	return g->format == FORMAT_TABLE || g->format == FORMAT_WIDE;
}

static void add_query(struct buf *path, const char *key, struct span value)
{
	if (!value.len)
		return;
	buf_printf(path, "%c%s=", span_chr(buf_span(path), '?') < 0 ? '?' : '&', key);
	percent_add(path, value, NULL);
}

/* ---- sorting: numbers by value, words by their natural order, what has no such field first, as kubectl's sorter */

/* github.com/fvbommel/sortorder: runs of digits count as numbers, else byte by byte. */
static int natural_cmp(struct span a, struct span b)
{
	size_t i = 0, k = 0;
	while (i < a.len && k < b.len) {
		bool da = a.ptr[i] >= '0' && a.ptr[i] <= '9', db = b.ptr[k] >= '0' && b.ptr[k] <= '9';
		if (!da || !db) {
			if (a.ptr[i] != b.ptr[k])
				return (unsigned char)a.ptr[i] < (unsigned char)b.ptr[k] ? -1 : 1;
			i++, k++;
			continue;
		}
		size_t zi = i, zk = k;
		while (i < a.len && a.ptr[i] == '0')
			i++;
		while (k < b.len && b.ptr[k] == '0')
			k++;
		size_t ni = i, nk = k;
		while (i < a.len && a.ptr[i] >= '0' && a.ptr[i] <= '9')
			i++;
		while (k < b.len && b.ptr[k] >= '0' && b.ptr[k] <= '9')
			k++;
		if (i - ni != k - nk)
			return i - ni < k - nk ? -1 : 1;
		int c = memcmp(a.ptr + ni, b.ptr + nk, i - ni);
		if (c)
			return c;
		if (ni - zi != nk - zk)
			return ni - zi < nk - zk ? -1 : 1;
	}
	return a.len - i < b.len - k ? -1 : a.len - i > b.len - k;
}

struct sort_row {
	struct json row;
	const struct json *key; /* NULL: no such field */
	uint32_t place;         /* equal ones stay in their order */
};

static double number(const struct json *v)
{
	return v->kind == JSON_INT ? (double)v->i : v->kind == JSON_UINT ? (double)v->u : v->d;
}

static int key_cmp(const struct sort_row *a, const struct sort_row *b)
{
	int c = 0;
	if (!a->key || !b->key)
		c = (a->key != NULL) - (b->key != NULL);
	else if (json_is_number(a->key) && json_is_number(b->key))
		c = (number(a->key) > number(b->key)) - (number(a->key) < number(b->key));
	else if (json_is(a->key, JSON_BOOL) && json_is(b->key, JSON_BOOL))
		c = a->key->b - b->key->b;
	else
		c = natural_cmp(json_span(a->key), json_span(b->key));
	return c;
}

static int row_cmp(const void *pa, const void *pb)
{
	const struct sort_row *a = pa, *b = pb;
	int c = key_cmp(a, b);
	return c ? c : (a->place > b->place) - (a->place < b->place);
}

/* kubectl's Less calls a row without the field less than any row, its like too; Go sorts up to 12 rows by insertion, so that those
 * rows come out backwards. For more rows Go's order is nobody's: ours is stable. */
#define BY_INSERTION 12
static void sort_list(struct sort_row *list, uint32_t n)
{
	if (n > BY_INSERTION) {
		qsort(list, n, sizeof(*list), row_cmp);
		return;
	}
	for (uint32_t i = 1; i < n; i++)
		for (uint32_t k = i; k > 0 && (!list[k].key || key_cmp(&list[k], &list[k - 1]) < 0); k--) {
			struct sort_row row = list[k];
			list[k] = list[k - 1];
			list[k - 1] = row;
		}
}

/* rows: of a Table (their objects are looked at) or objects. */
static int sort_rows(struct get *g, struct json *rows, bool table, struct err *err)
{
	if (!g->sort_path || !json_is(rows, JSON_ARRAY) || rows->n < 2)
		return 0;
	struct sort_row *list = arena_alloc_n(&g->f->arena, rows->n, sizeof(*list));
	for (uint32_t i = 0; i < rows->n; i++) {
		const struct json *object = table ? json_getl(&rows->items[i], "object") : &rows->items[i];
		struct api_jsonpath_result r = {};
		int rc = object ? api_jsonpath_find(g->sort_path, &g->f->arena, object, API_JSONPATH_MISSING, &r, err) : 0;
		if (rc < 0)
			return rc;
		list[i] = (struct sort_row){ .row = rows->items[i], .place = i,
					     .key = r.n && r.parts[0].n ? &r.parts[0].values[0] : NULL };
	}
	sort_list(list, rows->n);
	for (uint32_t i = 0; i < rows->n; i++)
		rows->items[i] = list[i].row;
	return 0;
}

/* ---- tables */

static unsigned table_flags(const struct get *g, const struct front_resource *r)
{
	return (g->format == FORMAT_WIDE ? FRONT_TABLE_WIDE : 0) | (g->no_headers || g->header_out ? FRONT_TABLE_NO_HEADERS : 0) |
	       (g->all && r->namespaced ? FRONT_TABLE_NAMESPACE : 0) | (g->show_labels ? FRONT_TABLE_SHOW_LABELS : 0);
}

static int put_table(struct get *g, const struct front_target *t, const struct json *table, const struct json *columns,
	bool with_kind,
		     struct err *err)
{
	auto_buf struct buf prefix = {};
	const struct json *rows = json_getl(table, "rows");
	bool any = json_is(rows, JSON_ARRAY) && rows->n;
	if (t->resource != g->last) {
		front_columns_flush(&g->columns, &g->f->out);
		front_columns_forget(&g->columns);
		/* An empty line between tables, but not before the first that says something. */
		if (any && g->wrote && !g->no_headers)
			buf_chr(&g->f->out, '\n');
		if (any)
			g->last = t->resource;
		g->header_out = false;
	}
	if (with_kind) {
		front_resource_word(&prefix, t->resource);
		buf_chr(&prefix, '/');
	}
	const struct front_table p = { .table = table, .columns = columns, .flags = table_flags(g, t->resource),
				       .name_prefix = buf_span(&prefix), .label_columns = g->label_columns };
	int rc = front_table_print(&p, &g->columns, err);
	if (rc == 0 && any)
		g->wrote = g->header_out = true;
	return rc;
}

static void list_path(const struct get *g, const struct front_target *t, bool by_name_field, struct buf *path)
{
	struct front_target whole = *t;
	auto_buf struct buf field = {};
	if (by_name_field && t->name.len) {
		buf_printf(&field, "metadata.name=%.*s", SPAN_ARG(t->name));
		whole.name = SPAN_EMPTY;
	}
	front_target_path(path, &whole, g->sub.len ? arena_cstr(&g->f->arena, g->sub) : NULL);
	add_query(path, "labelSelector", g->selector);
	add_query(path, "fieldSelector", field.len ? buf_span(&field) : g->field_selector);
	if (as_table(g) && g->sort_path)
		add_query(path, "includeObject", SPAN("Object"));
}

/* A list that the server refuses for its selector is named as kubectl's resource builder names it. */
static int note_list(const struct get *g, const struct front_target *t, int rc, struct err *err)
{
	const struct front_resource *r = t->resource;
	if (t->name.len || (rc != -ERR_INVALID_REQUEST && rc != -ERR_NOT_FOUND) || !g->f->said.answered)
		return rc;
	const char *why = arena_cstr(&g->f->arena, span_of(err_msg(err)));
	if (!g->selector.len && !g->field_selector.len)
		return err_set(err, (enum err_class)-rc, "Unable to list \"%.*s%s%.*s, Resource=%.*s\": %s", SPAN_ARG(r->group), "/",
			       SPAN_ARG(r->version), SPAN_ARG(r->plural), why);
	return err_set(err, (enum err_class)-rc,
		"Unable to find \"%.*s/%.*s, Resource=%.*s\" that match label selector \"%.*s\", field "
		       "selector \"%.*s\": %s", SPAN_ARG(r->group), SPAN_ARG(r->version), SPAN_ARG(r->plural), SPAN_ARG(g->selector),
		       SPAN_ARG(g->field_selector), why);
}

/* All chunks of one list; the rows or items of later ones are joined to the first. */
static int ask_list(struct get *g, const struct front_target *t, bool by_name_field, struct json *out, struct err *err)
{
	const char *rows = as_table(g) ? "rows" : "items";
	struct span go_on = SPAN_EMPTY;
	bool first = true;
	do {
		auto_buf struct buf path = {};
		struct json piece;
		list_path(g, t, by_name_field, &path);
		if (!t->name.len || by_name_field) {
			buf_printf(&path, "%climit=%d", span_chr(buf_span(&path), '?') < 0 ? '?' : '&', CHUNK);
			add_query(&path, "continue", go_on);
		}
		int rc = front_ask(g->f, &(struct front_request){ .path = buf_span(&path), .accept = as_table(g) ? TABLE : NULL }, &piece,
			err);
		if (rc < 0)
			return note_list(g, t, rc, err);
		go_on = json_span(json_path(&piece, "metadata", "continue", NULL));
		if (first) {
			*out = piece;
		} else {
			struct json *all = json_get(out, span_of(rows));
			JSON_EACH_ITEM(json_get(&piece, span_of(rows)), item)
				if (json_is(all, JSON_ARRAY))
					json_push(&g->f->arena, all, *item);
		}
		first = false;
	} while (go_on.len);
	return 0;
}

static int get_tables(struct get *g, const struct front_targets *targets, struct err *err)
{
	bool with_kind = g->show_kind || targets->kinds > 1, namespaced = !g->all;
	for (unsigned i = 0; i < targets->n; i++) {
		const struct front_target *t = &targets->items[i];
		struct json table;
		int rc = ask_list(g, t, false, &table, err);
		namespaced = namespaced && t->resource->namespaced;
		if (rc == -ERR_NOT_FOUND && t->name.len && g->ignore_not_found) {
			err_done(err);
			g->f->said.answered = false;
			continue;
		}
		if (rc == 0)
			rc = sort_rows(g, json_getl(&table, "rows"), true, err);
		if (rc == 0)
			rc = put_table(g, t, &table, NULL, with_kind, err);
		if (rc < 0) { /* the others are shown all the same */
			front_columns_flush(&g->columns, &g->f->out);
			(void)front_complain(g->f, err, NULL);
		}
	}
	front_columns_flush(&g->columns, &g->f->out);
	if (!g->wrote && !g->ignore_not_found && !g->f->complaints) {
		if (namespaced)
			(void)fprintf(stderr, "No resources found in %.*s namespace.\n", SPAN_ARG(g->f->ns));
		else
			(void)fprintf(stderr, "No resources found\n");
	}
	return 0;
}

/* ---- objects */

/* Lists leave kind and apiVersion of their items out. */
static void name_items(struct get *g, const struct front_resource *r, struct json *object)
{
	struct span version = r->group.len ? arena_printf(&g->f->arena, "%.*s/%.*s", SPAN_ARG(r->group),
		SPAN_ARG(r->version)) : r->version;
	json_setl(&g->f->arena, object, "apiVersion", json_str(version));
	json_setl(&g->f->arena, object, "kind", json_str(r->kind));
}

static void without_managed_fields(const struct get *g, struct json *object)
{
	struct json *meta = json_getl(object, "metadata");
	if (!g->managed_fields && json_is(meta, JSON_OBJECT))
		(void)json_remove(meta, SPAN("managedFields"));
}

/* What is not there, or no path for this object: <none>. */
static void print_cell(struct get *g, const struct api_jsonpath *path, const struct json *object, bool last)
{
	auto_buf struct buf cell = {};
	struct api_jsonpath_result r = {};
	if (api_jsonpath_find(path, &g->f->arena, object, API_JSONPATH_MISSING, &r, NULL) == 0 && r.n)
		for (unsigned k = 0; k < r.parts[0].n; k++) {
			const struct json *v = &r.parts[0].values[k];
			buf_str(&cell, k ? "," : "");
			if (json_is(v, JSON_NULL))
				buf_str(&cell, "<none>");
			else
				api_go_value(&cell, v);
		}
	front_columns_cell(&g->columns, cell.len ? buf_span(&cell) : SPAN("<none>"), last);
}

static void print_columns(struct get *g, const struct json *list)
{
	for (unsigned i = 0; i < g->n_custom && !g->no_headers && !g->header_out; i++)
		front_columns_cell(&g->columns, g->custom[i].head, i + 1 == g->n_custom);
	g->header_out = true;
	JSON_EACH_ITEM(list, object)
		for (unsigned i = 0; i < g->n_custom; i++)
			print_cell(g, g->custom[i].path, object, i + 1 == g->n_custom);
	front_columns_flush(&g->columns, &g->f->out);
}

static int print_objects(struct get *g, struct json *v, struct err *err)
{
	struct buf *out = &g->f->out;
	int rc = 0;
	switch (g->format) {
	case FORMAT_JSON:
		json_write(out, v, JSON_PRETTY4 | JSON_SORTED | JSON_HTML);
		buf_chr(out, '\n');
		break;
	case FORMAT_YAML:
		yaml_write(out, v);
		break;
	case FORMAT_COLUMNS:
		print_columns(g, json_is(json_getl(v, "items"), JSON_ARRAY) ? json_getl(v, "items")
				 : &(struct json){ .kind = JSON_ARRAY, .n = 1, .items = v });
		break;
	case FORMAT_JSONPATH:
	case FORMAT_JSONPATH_AS_JSON:
		rc = api_jsonpath_print(g->path, v, g->format == FORMAT_JSONPATH ? API_JSONPATH_MISSING : API_JSONPATH_MISSING |
					API_JSONPATH_AS_JSON, out, err);
		if (rc < 0)
			err_note(err, "error executing jsonpath");
		break;
	default:
		rc = err_set(err, ERR_INTERNAL, "a table is no object");
	}
	return rc;
}

static int get_objects(struct get *g, const struct front_targets *targets, struct err *err)
{
	struct json items = json_array(), whole;
	bool single = targets->n == 1 && targets->items[0].name.len;
	for (unsigned i = 0; i < targets->n; i++) {
		const struct front_target *t = &targets->items[i];
		struct json answer;
		int rc = ask_list(g, t, false, &answer, err);
		if (rc == -ERR_NOT_FOUND && t->name.len && g->ignore_not_found) {
			err_done(err);
			g->f->said.answered = false;
			continue;
		}
		if (rc < 0) {
			(void)front_complain(g->f, err, NULL);
			continue;
		}
		struct json *list = t->name.len ? NULL : json_getl(&answer, "items");
		if (t->name.len)
			json_push(&g->f->arena, &items, answer);
		JSON_EACH_ITEM(list, item) {
			name_items(g, t->resource, item);
			json_push(&g->f->arena, &items, *item);
		}
		if (g->format != FORMAT_NAME)
			continue;
		rc = sort_rows(g, &items, false, err);
		if (rc < 0)
			return rc;
		for (uint32_t k = 0; k < items.n; k++) {
			struct span name = json_span(json_path(&items.items[k], "metadata", "name", NULL));
			front_resource_word(&g->f->out, t->resource);
			buf_printf(&g->f->out, "/%.*s\n", SPAN_ARG(name));
		}
		items = json_array();
	}
	if (g->format == FORMAT_NAME || (single && items.n == 0))
		return 0;
	JSON_EACH_ITEM(&items, item)
		without_managed_fields(g, item);
	int rc = sort_rows(g, &items, false, err);
	if (rc < 0)
		return rc;
	if (single)
		return print_objects(g, &items.items[0], err);
	struct json meta = json_object();
	whole = json_object();
	json_setl(&g->f->arena, &meta, "resourceVersion", json_cstr(""));
	json_setl(&g->f->arena, &whole, "apiVersion", json_cstr("v1"));
	json_setl(&g->f->arena, &whole, "items", items);
	json_setl(&g->f->arena, &whole, "kind", json_cstr("List"));
	json_setl(&g->f->arena, &whole, "metadata", meta);
	return print_objects(g, &whole, err);
}

/* ---- as they change */

struct watching {
	struct get *g;
	const struct front_target *target;
	struct json columns; /* of the list: the Tables of events have none, or the same */
	struct buf line;
	struct err *err;
	int rc;
};

static int watch_event(struct watching *w, struct span line)
{
	auto_arena struct arena a = {};
	struct get *g = w->g;
	struct json event;
	int rc = json_parse(&a, line, JSON_DUPLICATES_LAST, NULL, &event, w->err);
	struct span type = json_span(rc < 0 ? NULL : json_getl(&event, "type"));
	struct json *object = rc < 0 ? NULL : json_getl(&event, "object");
	if (rc < 0 || span_is(type, "BOOKMARK"))
		return rc;
	if (span_is(type, "ERROR")) {
		g->f->said.answered = true;
		g->f->said.reason = arena_span(&g->f->arena, json_span(json_getl(object, "reason")));
		return err_set(w->err, ERR_EXPIRED, "%.*s", SPAN_ARG(json_span(json_getl(object, "message"))));
	}
	if (as_table(g)) {
		const struct json *own = json_getl(object, "columnDefinitions");
		bool has = json_is(own, JSON_ARRAY) && own->n;
		rc = put_table(g, w->target, object, has ? own : &w->columns, g->show_kind, w->err);
		front_columns_flush(&g->columns, &g->f->out);
	} else if (g->format == FORMAT_NAME) {
		front_resource_word(&g->f->out, w->target->resource);
		buf_printf(&g->f->out, "/%.*s\n", SPAN_ARG(json_span(json_path(object, "metadata", "name", NULL))));
	} else if (object) {
		without_managed_fields(g, object);
		if (g->format == FORMAT_YAML)
			buf_str(&g->f->out, "---\n");
		rc = print_objects(g, object, w->err);
	}
	return rc < 0 ? rc : front_flush(g->f, w->err);
}

static bool on_watch(struct front *f, struct span data, void *arg)
{
	struct watching *w = arg;
	buf_span_add(&w->line, data);
	ptrdiff_t at;
	while (w->rc == 0 && (at = span_chr(buf_span(&w->line), '\n')) >= 0) {
		w->rc = watch_event(w, span_sub(buf_span(&w->line), 0, (size_t)at));
		buf_shift(&w->line, (size_t)at + 1);
	}
	if (w->rc == 0 && buf_overflowed(&w->line))
		w->rc = err_set(w->err, ERR_TOO_LARGE, "an event of the watch is larger than 64 MB");
	return w->rc == 0;
}

static int get_watch(struct get *g, const struct front_targets *targets, struct err *err)
{
	const struct front_target *t = &targets->items[0];
	struct watching w = { .g = g, .target = t, .line = { .limit = 64u << 20 }, .err = err };
	auto_buf struct buf path = {};
	struct json list;
	if (targets->n != 1)
		return err_set(err, ERR_USAGE, "you may only specify a single resource type");
	int rc = ask_list(g, t, true, &list, err);
	if (rc < 0)
		return rc;
	const struct json *columns = json_getl(&list, "columnDefinitions");
	w.columns = columns ? *columns : json_array();
	if (!g->watch_only && as_table(g)) {
		rc = sort_rows(g, json_getl(&list, "rows"), true, err);
		if (rc == 0)
			rc = put_table(g, t, &list, NULL, g->show_kind, err);
		front_columns_flush(&g->columns, &g->f->out);
	} else if (!g->watch_only && g->format != FORMAT_NAME) {
		JSON_EACH_ITEM(json_getl(&list, "items"), item) {
			name_items(g, t->resource, item);
			without_managed_fields(g, item);
			if (rc == 0)
				rc = print_objects(g, item, err);
		}
	}
	if (rc == 0)
		rc = front_flush(g->f, err);
	if (rc < 0)
		return rc;
	list_path(g, t, true, &path);
	add_query(&path, "resourceVersion", json_span(json_path(&list, "metadata", "resourceVersion", NULL)));
	add_query(&path, "watch", SPAN("true"));
	rc = front_stream(g->f, buf_span(&path), as_table(g) ? TABLE : NULL, on_watch, &w, 0, err);
	buf_done(&w.line);
	return w.rc < 0 ? w.rc : rc;
}

/* ---- the verb */

static int get_raw(struct get *g, struct err *err)
{
	int rc = front_connect(g->f, err);
	return rc < 0 ? rc : front_ask_text(g->f, &(struct front_request){ .path = g->raw, .accept = "application/json, */*" },
		&g->f->out, err);
}

static int get_run(struct get *g, const struct front_args *args, struct front_targets *targets, struct err *err)
{
	struct front *f = g->f;
	int rc = read_format(g, err);
	if (rc == 0)
		rc = read_sort(g, err);
	if (rc == 0 && g->raw.len)
		return get_raw(g, err);
	if (rc == 0)
		rc = front_discover(f, err);
	if (rc == 0)
		rc = front_targets_files(f, &g->files, g->recursive, g->all, targets, err);
	if (rc == 0)
		rc = front_targets_words(f, &args->words, targets, err);
	if (rc < 0)
		return rc;
	if (!targets->n && !g->files.n) {
		(void)fprintf(stderr, "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of "
			      "supported resources.\n\n");
		return err_set(err, ERR_USAGE, "Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed "
			       "description of that resource (e.g. kubectl explain pods).\nSee 'kubectl get -h' for help and examples");
	}
	for (unsigned i = 0; i < targets->n; i++) {
		struct front_target *t = &targets->items[i];
		if (t->name.len && (g->selector.len || g->field_selector.len) && !g->files.n)
			return err_set(err, ERR_USAGE, "name cannot be provided when a selector is specified");
		if (t->name.len && g->all && !g->files.n)
			return err_set(err, ERR_USAGE, "a resource cannot be retrieved by name across all namespaces");
		if (g->all && !t->name.len)
			t->ns = SPAN_EMPTY;
	}
	if (g->watch || g->watch_only)
		return get_watch(g, targets, err);
	return as_table(g) ? get_tables(g, targets, err) : get_objects(g, targets, err);
}

int front_get_main(struct front *f, int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct get g = { .f = f };
	struct front_targets targets = {};
	struct front_args args;
	const struct front_flag flags[] = {
		{ "output", 'o', FRONT_FLAG_TEXT, &g.output, NULL, "how to print: json, yaml, name, wide, jsonpath=..., custom-columns=..."
			},
		{ "watch", 'w', FRONT_FLAG_BOOL, &g.watch, NULL, "after the list, show what changes" },
		{ "watch-only", 0, FRONT_FLAG_BOOL, &g.watch_only, NULL, "show what changes, without the list" },
		{ "all-namespaces", 'A', FRONT_FLAG_BOOL, &g.all, NULL, "in every namespace" },
		{ "selector", 'l', FRONT_FLAG_TEXT, &g.selector, NULL, "objects with these labels: a=b,c!=d,e in (f,g)" },
		{ "field-selector", 0, FRONT_FLAG_TEXT, &g.field_selector, NULL, "objects with these fields: status.phase=Running" },
		{ "sort-by", 0, FRONT_FLAG_TEXT, &g.sort_by, NULL, "in the order of this field: .metadata.creationTimestamp" },
		{ "no-headers", 0, FRONT_FLAG_BOOL, &g.no_headers, NULL, "no line of column names" },
		{ "show-labels", 0, FRONT_FLAG_BOOL, &g.show_labels, NULL, "all labels as the last column" },
		{ "label-columns", 'L', FRONT_FLAG_LIST, &g.label_columns, NULL, "a column for each of these labels" },
		{ "show-kind", 0, FRONT_FLAG_BOOL, &g.show_kind, NULL, "names with their kind" },
		{ "show-managed-fields", 0, FRONT_FLAG_BOOL, &g.managed_fields, NULL, "keep metadata.managedFields in JSON and YAML" },
		{ "ignore-not-found", 0, FRONT_FLAG_BOOL, &g.ignore_not_found, NULL, "what is not there is no failure" },
		{ "filename", 'f', FRONT_FLAG_LIST, &g.files, NULL, "the objects of this file" },
		{ "recursive", 'R', FRONT_FLAG_BOOL, &g.recursive, NULL, "folders of -f with the folders in them" },
		{ "subresource", 0, FRONT_FLAG_TEXT, &g.sub, NULL, "this part of the object: status, scale, resize" },
		{ "raw", 0, FRONT_FLAG_TEXT, &g.raw, NULL, "ask for this path and print the answer" },
		{},
	};
	int rc = front_verb_args(f, "get", "(TYPE[.VERSION][.GROUP] [NAME | -l label] | TYPE[.VERSION][.GROUP]/NAME ...) [flags]",
				 "Shows one or many objects.", flags, argc, argv, &args);
	if (rc)
		return rc < 0;
	rc = get_run(&g, &args, &targets, &err);
	if (rc < 0)
		(void)front_complain(f, &err, NULL);
	front_columns_done(&g.columns);
	front_targets_done(&targets);
	return f->complaints > 0;
}
