/* Tables as kubectl prints them: Go's text/tabwriter with minwidth 6, tabwidth 4, padding 3 and blanks, and remembered widths
 * (k8s.io/cli-runtime/pkg/printers). A cell that ends its row takes no part in its column's width, as tabwriter
 * only looks at cells that a tab ended. */
#include "front/private.h"

#define CELL '\x1f'
#define ROW '\x1e'
#define MIN_WIDTH 6
#define PADDING 3

void front_columns_done(struct front_columns *c)
{
	buf_done(&c->cells);
	*c = (struct front_columns){};
}

void front_columns_forget(struct front_columns *c)
{
	memset(c->width, 0, sizeof(c->width));
}

void front_columns_cell(struct front_columns *c, struct span text, bool last)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char ch = (unsigned char)text.ptr[i];
		if (ch == '\n' || ch == '\r' || ch == '\f') {
			buf_str(&c->cells, "...");
			break;
		}
		if (ch < 0x20 || ch == 0x7f) { /* an answer must not steer the terminal */
			buf_chr(&c->cells, '^');
			buf_chr(&c->cells, (char)(ch ^ 0x40));
		} else {
			buf_chr(&c->cells, (char)ch);
		}
	}
	buf_chr(&c->cells, last ? ROW : CELL);
}

static size_t characters(struct span s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++)
		n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
	return n;
}

void front_columns_flush(struct front_columns *c, struct buf *out)
{
	struct span rest = buf_span(&c->cells), row, cell;
	while (span_cut(&rest, ROW, &row))
		for (unsigned i = 0; i < FRONT_COLUMNS_MAX && span_split(row, CELL, &cell, &row); i++) {
			size_t width = MAX(characters(cell) + PADDING, (size_t)MIN_WIDTH);
			c->width[i] = MAX(c->width[i], width);
		}
	rest = buf_span(&c->cells);
	while (span_cut(&rest, ROW, &row)) {
		for (unsigned i = 0; span_split(row, CELL, &cell, &row); i++) {
			size_t shown = characters(cell), width = i < FRONT_COLUMNS_MAX ? c->width[i] : shown + PADDING;
			buf_span_add(out, cell);
			for (; shown < width; shown++)
				buf_chr(out, ' ');
		}
		buf_span_add(out, cell); /* without a separator span_split gives all of it as the head */
		buf_chr(out, '\n');
	}
	buf_trunc(&c->cells, 0);
}

/* ---- Tables of the API (meta.k8s.io/v1) */

static void upper(struct buf *out, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		buf_chr(out, s.ptr[i] >= 'a' && s.ptr[i] <= 'z' ? (char)(s.ptr[i] - 'a' + 'A') : s.ptr[i]);
}

static bool shown(const struct front_table *t, const struct json *column)
{
	return (t->flags & FRONT_TABLE_WIDE) || json_i64(json_getl(column, "priority"), 0) == 0;
}

static void labels_text(struct buf *out, const struct json *labels)
{
	JSON_EACH_MEMBER(labels, m) {
		struct span v = json_span(&m->value);
		buf_printf(out, "%s%.*s=%.*s", out->len ? "," : "", SPAN_ARG(json_key(m)), SPAN_ARG(v));
	}
	if (!out->len)
		buf_str(out, "<none>");
}

/* A row goes out cell by cell; the last one is only known at the end, so one cell is always held back. */
struct row {
	struct front_columns *out;
	struct buf held;
	bool any;
};

static void put(struct row *r, struct span text)
{
	if (r->any)
		front_columns_cell(r->out, buf_span(&r->held), false);
	buf_trunc(&r->held, 0);
	buf_span_add(&r->held, text);
	r->any = true;
}

static void put_end(struct row *r)
{
	front_columns_cell(r->out, buf_span(&r->held), true);
	buf_done(&r->held);
}

static void header(const struct front_table *t, const struct json *columns, struct front_columns *out)
{
	struct row r = { .out = out };
	auto_buf struct buf text = {};
	if (t->flags & FRONT_TABLE_NAMESPACE)
		put(&r, SPAN("NAMESPACE"));
	JSON_EACH_ITEM(columns, column) {
		if (!shown(t, column))
			continue;
		buf_trunc(&text, 0);
		upper(&text, json_span(json_getl(column, "name")));
		put(&r, buf_span(&text));
	}
	for (unsigned i = 0; i < t->label_columns.n; i++) {
		struct span label = t->label_columns.items[i];
		buf_trunc(&text, 0);
		upper(&text, span_from(label, (size_t)(span_rchr(label, '/') + 1)));
		put(&r, buf_span(&text));
	}
	if (t->flags & FRONT_TABLE_SHOW_LABELS)
		put(&r, SPAN("LABELS"));
	put_end(&r);
}

static void body_row(const struct front_table *t, const struct json *columns, const struct json *row, struct front_columns *out)
{
	struct row r = { .out = out };
	auto_buf struct buf text = {};
	const struct json *cells = json_getl(row, "cells"), *meta = json_path(row, "object", "metadata", NULL);
	const struct json *labels = json_getl(meta, "labels");
	uint32_t i = 0;
	if (t->flags & FRONT_TABLE_NAMESPACE)
		put(&r, json_span(json_getl(meta, "namespace")));
	JSON_EACH_ITEM(cells, cell) {
		if (i >= columns->n)
			break;
		const struct json *column = &columns->items[i++];
		if (!shown(t, column))
			continue;
		buf_trunc(&text, 0);
		if (span_is(json_span(json_getl(column, "name")), "Name"))
			buf_span_add(&text, t->name_prefix);
		if (!json_is(cell, JSON_NULL))
			api_jsonpath_print_value(&text, cell);
		put(&r, buf_span(&text));
	}
	for (unsigned k = 0; k < t->label_columns.n; k++)
		put(&r, json_span(json_get(labels, t->label_columns.items[k])));
	if (t->flags & FRONT_TABLE_SHOW_LABELS) {
		buf_trunc(&text, 0);
		labels_text(&text, labels);
		put(&r, buf_span(&text));
	}
	put_end(&r);
}

int front_table_print(const struct front_table *t, struct front_columns *out, struct err *err)
{
	const struct json *columns = t->columns ? t->columns : json_getl(t->table, "columnDefinitions");
	const struct json *rows = json_getl(t->table, "rows");
	if (!span_is(json_span(json_getl(t->table, "kind")), "Table") || !json_is(columns, JSON_ARRAY))
		return err_set(err, ERR_UPSTREAM, "attempt to decode non-Table object");
	if (!json_is(rows, JSON_ARRAY) || rows->n == 0)
		return 0; /* no header without a row */
	if (!(t->flags & FRONT_TABLE_NO_HEADERS))
		header(t, columns, out);
	JSON_EACH_ITEM(rows, row)
		body_row(t, columns, row, out);
	return 0;
}
