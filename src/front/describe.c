/* describe: objects for people to read, with what happened to them. */
#include "front/describe.h"

#include <ctype.h>
#include <time.h>

#define NOTE_MAX 140       /* longer annotations are cut (kubectl's maxAnnotationLen) */
#define CELLS_MAX 32       /* of a row */
#define CONTENT_DEPTH 64   /* of the generic form; an object of the server is no deeper than 512 */
#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

/* ---- columns */

struct cells {
	struct span text[CELLS_MAX];
	unsigned n; /* the last one ends the row and has no width */
};

static size_t characters(struct span s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++)
		n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
	return n;
}

static void put_rows(struct buf *out, const struct cells *rows, size_t from, size_t to, const size_t *widths, unsigned n_widths)
{
	for (size_t i = from; i < to; i++) {
		for (unsigned k = 0; k < rows[i].n; k++) {
			buf_span_add(out, rows[i].text[k]);
			for (size_t shown = characters(rows[i].text[k]); k < n_widths && shown < widths[k]; shown++)
				buf_chr(out, ' ');
		}
		buf_chr(out, '\n');
	}
}

/* tabwriter's format(): a column's block ends at the first row without a cell in it. One level deeper for each column. */
static void lay_out(struct buf *out, const struct cells *rows, size_t from, size_t to, size_t widths[static CELLS_MAX],
	unsigned column)
{
	size_t done = from;
	for (size_t i = from; i < to; i++) {
		if (column + 1 >= rows[i].n)
			continue;
		put_rows(out, rows, done, i, widths, column);
		done = i;
		widths[column] = 0;
		for (; i < to && column + 1 < rows[i].n; i++)
			widths[column] = MAX(widths[column], characters(rows[i].text[column]) + 2);
		lay_out(out, rows, done, i, widths, column + 1);
		done = i;
	}
	put_rows(out, rows, done, to, widths, column);
}

void describe_layout(struct buf *out, struct span text)
{
	size_t widths[CELLS_MAX], n = 0;
	struct span rest = text, row, cell;
	auto_free struct cells *rows = NULL;
	for (size_t i = 0; i < text.len; i++)
		n += text.ptr[i] == '\n';
	rows = mem_realloc_n(NULL, n + 1, sizeof(*rows));
	n = 0;
	while (rest.len && span_cut(&rest, '\n', &row)) {
		struct cells *c = &rows[n++];
		c->n = 0;
		while (c->n < CELLS_MAX - 1 && span_chr(row, '\t') >= 0) {
			(void)span_split(row, '\t', &cell, &row);
			c->text[c->n++] = cell;
		}
		c->text[c->n++] = row;
	}
	lay_out(out, rows, 0, n, widths, 0);
}

void describe_flush(struct describe *d)
{
	describe_layout(&d->f->out, buf_span(&d->text));
	buf_trunc(&d->text, 0);
}

void describe_put(struct describe *d, unsigned level, const char *fmt, ...)
{
	auto_buf struct buf b = {};
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	for (unsigned i = 0; i < level; i++)
		buf_str(&d->text, "  ");
	for (size_t i = 0; i < b.len; i++) {
		if (b.ptr[i] == '\033')
			buf_str(&d->text, "^[");
		else if (b.ptr[i] == '\r')
			buf_str(&d->text, "\\r");
		else
			buf_chr(&d->text, b.ptr[i]);
	}
}

/* ---- values as text */

const char *describe_text(struct describe *d, const struct json *o, ...)
{
	const char *name;
	va_list ap;
	va_start(ap, o);
	while ((name = va_arg(ap, const char *)))
		o = json_get(o, span_of(name));
	va_end(ap);
	return o && o->kind != JSON_NULL ? describe_value(d, o) : "";
}

const char *describe_value(struct describe *d, const struct json *v)
{
	auto_buf struct buf b = {};
	if (!v)
		return "<nil>";
	if (json_is(v, JSON_STRING))
		return arena_cstr(&d->f->arena, json_span(v));
	api_go_value(&b, v);
	return arena_cstr(&d->f->arena, buf_span(&b));
}

const char *describe_or_none(const char *text)
{
	return *text ? text : "<none>";
}

const char *describe_time(struct describe *d, const struct json *time)
{
	int64_t s;
	int32_t ns;
	struct tm tm;
	char out[64];
	if (api_time_parse(json_span(time), API_TIME_SECONDS, &s, &ns, NULL) < 0)
		s = API_TIME_ZERO_S;
	time_t t = (time_t)s;
	if (!localtime_r(&t, &tm) || !strftime(out, sizeof(out), "%a, %d %b %Y %H:%M:%S %z", &tm))
		return "<invalid>";
	if (s == API_TIME_ZERO_S)
		return "Mon, 01 Jan 0001 00:00:00 +0000";
	return arena_cstr(&d->f->arena, span_of(out));
}

const char *describe_since(struct describe *d, const struct json *time)
{
	auto_buf struct buf b = {};
	int64_t s;
	int32_t ns;
	if (api_time_parse(json_span(time), API_TIME_SECONDS, &s, &ns, NULL) < 0)
		return "<unknown>";
	api_age_print(&b, (d->now_s - s) * 1000000000);
	return arena_cstr(&d->f->arena, buf_span(&b));
}

static int member_cmp(const void *pa, const void *pb)
{
	const struct json_member *const *a = pa, *const *b = pb;
	return span_cmp(json_key(*a), json_key(*b));
}

const struct json_member **describe_sorted(struct describe *d, const struct json *object, uint32_t *out_n)
{
	uint32_t n = 0;
	const struct json_member **list = arena_alloc_n(&d->f->arena, (json_is(object, JSON_OBJECT) ? object->n : 0) + 1,
		sizeof(*list));
	JSON_EACH_MEMBER(object, m)
		list[n++] = m;
	qsort(list, n, sizeof(*list), member_cmp);
	*out_n = n;
	return list;
}

const char *describe_joined(struct describe *d, const struct json *list, const char *sep)
{
	auto_buf struct buf b = {};
	JSON_EACH_ITEM(list, item)
		buf_printf(&b, "%s%.*s", b.len ? sep : "", SPAN_ARG(json_span(item)));
	return arena_cstr(&d->f->arena, buf_span(&b));
}

const char *describe_selector(struct describe *d, const struct json *selector)
{
	auto_buf struct buf b = {};
	struct api_label_selector sel;
	if (api_label_selector_of(&d->f->arena, selector, &sel, NULL) < 0)
		return "<error>";
	api_label_selector_print(&sel, &b);
	return arena_cstr(&d->f->arena, buf_span(&b));
}

/* ---- parts of every object */

void describe_labels(struct describe *d, const char *indent, const char *title, const struct json *labels)
{
	uint32_t n;
	const struct json_member **list = describe_sorted(d, labels, &n);
	describe_put(d, 0, "%s%s:\t", indent, title);
	if (!n)
		describe_put(d, 0, "<none>\n");
	for (uint32_t i = 0; i < n; i++)
		describe_put(d, 0, "%s%.*s=%.*s\n", i ? "\t" : "", SPAN_ARG(json_key(list[i])),
			     SPAN_ARG(json_span(&list[i]->value)));
}

void describe_annotations(struct describe *d, const char *indent, const char *title, const struct json *annotations)
{
	uint32_t n, shown = 0;
	const struct json_member **list = describe_sorted(d, annotations, &n);
	describe_put(d, 0, "%s%s:\t", indent, title);
	for (uint32_t i = 0; i < n; i++) {
		struct span key = json_key(list[i]), value = json_span(&list[i]->value), line;
		if (span_is(key, LAST_APPLIED))
			continue;
		if (shown++)
			describe_put(d, 0, "\t");
		if (span_ends(value, SPAN("\n")))
			value.len--;
		if (value.len + key.len + 2 <= NOTE_MAX && span_chr(value, '\n') < 0) {
			describe_put(d, 0, "%.*s: %.*s\n", SPAN_ARG(key), SPAN_ARG(value));
			continue;
		}
		describe_put(d, 0, "%.*s:\n", SPAN_ARG(key));
		while (span_cut(&value, '\n', &line)) {
			bool cut = line.len > NOTE_MAX - 2;
			line = cut ? span_sub(line, 0, NOTE_MAX - 2) : line;
			describe_put(d, 0, "\t  %.*s%s\n", SPAN_ARG(line), cut ? "..." : "");
		}
	}
	if (!shown)
		describe_put(d, 0, "<none>\n");
}

void describe_head(struct describe *d, const struct json *o, bool labels)
{
	const struct json *meta = json_getl(o, "metadata");
	describe_put(d, 0, "Name:\t%s\n", describe_text(d, meta, "name", NULL));
	if (d->resource->namespaced)
		describe_put(d, 0, "Namespace:\t%s\n", describe_text(d, meta, "namespace", NULL));
	if (!labels)
		return;
	describe_labels(d, "", "Labels", json_getl(meta, "labels"));
	describe_annotations(d, "", "Annotations", json_getl(meta, "annotations"));
}

/* ---- events */

struct dated {
	const struct json *event;
	struct span last;
	uint32_t place;
};

static int event_cmp(const void *pa, const void *pb)
{
	const struct dated *a = pa, *b = pb;
	int c = span_cmp(a->last, b->last); /* RFC 3339 of one zone and precision: order of bytes */
	return c ? c : (a->place > b->place) - (a->place < b->place);
}

void describe_events(struct describe *d)
{
	const struct json *list = &d->events;
	if (!json_is(list, JSON_ARRAY))
		return;
	if (!list->n) {
		describe_put(d, 0, "Events:\t<none>\n");
		return;
	}
	struct dated *rows = arena_alloc_n(&d->f->arena, list->n, sizeof(*rows));
	for (uint32_t i = 0; i < list->n; i++)
		rows[i] = (struct dated){ &list->items[i], json_span(json_getl(&list->items[i], "lastTimestamp")), i };
	qsort(rows, list->n, sizeof(*rows), event_cmp);
	describe_flush(d);
	describe_put(d, 0, "Events:\n  Type\tReason\tAge\tFrom\tMessage\n");
	describe_put(d, 1, "----\t------\t----\t----\t-------\n");
	for (uint32_t i = 0; i < list->n; i++) {
		const struct json *e = rows[i].event, *time = json_getl(e, "eventTime"), *series = json_getl(e, "series");
		const char *first = describe_since(d, json_span(time).len ? time : json_getl(e, "firstTimestamp"));
		const char *from = describe_text(d, e, "source", "component", NULL);
		struct span message = span_trim(json_span(json_getl(e, "message")));
		int64_t count = json_i64(json_getl(e, "count"), 0);
		describe_put(d, 1, "%s\t%s\t", describe_text(d, e, "type", NULL), describe_text(d, e, "reason", NULL));
		if (json_is(series, JSON_OBJECT))
			describe_put(d, 0, "%s (x%lld over %s)", describe_since(d, json_getl(series, "lastObservedTime")),
				     (long long)json_i64(json_getl(series, "count"), 0), first);
		else if (count > 1)
			describe_put(d, 0, "%s (x%lld over %s)", describe_since(d, json_getl(e, "lastTimestamp")), (long long)count, first);
		else
			describe_put(d, 0, "%s", first);
		describe_put(d, 0, "\t%s\t%.*s\n", *from ? from : describe_text(d, e, "reportingComponent", NULL), SPAN_ARG(message));
	}
}

int describe_ask(struct describe *d, struct span path, struct json *out, struct err *err)
{
	int rc = front_ask(d->f, &(struct front_request){ .path = path }, out, err);
	if (rc < 0 && d->f->said.answered) {
		*out = JSON_NULL_VALUE;
		err_done(err);
		d->f->said.answered = false;
		return 0;
	}
	return rc;
}

/* Those about the object; a kubelet gives a node's name for its uid. */
static int ask_events(struct describe *d, const struct json *o, struct span uid, struct err *err)
{
	auto_buf struct buf path = {}, fields = {};
	struct span ns = json_span(json_path(o, "metadata", "namespace", NULL));
	static const struct client_kind events = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("events"), true };
	struct json answer;
	client_path(&path, &events, ns, SPAN_EMPTY, NULL);
	buf_printf(&fields, "involvedObject.kind=%.*s,involvedObject.name=%s,involvedObject.uid=%.*s", SPAN_ARG(d->resource->kind),
		   describe_text(d, o, "metadata", "name", NULL), SPAN_ARG(uid));
	if (ns.len)
		buf_printf(&fields, ",involvedObject.namespace=%.*s", SPAN_ARG(ns));
	buf_str(&path, "?limit=500&fieldSelector=");
	percent_add(&path, buf_span(&fields), NULL);
	int rc = describe_ask(d, buf_span(&path), &answer, err);
	JSON_EACH_ITEM(rc < 0 ? NULL : json_getl(&answer, "items"), e)
		json_push(&d->f->arena, &d->events, *e);
	return rc;
}

/* ---- the form of kinds without one of their own: every field, in words */

/* github.com/fatih/camelcase: "apiVersion" is api Version, "podCIDR" pod CIDR, "HTTPGet" HTTP Get. */
static void field_words(struct buf *out, struct span field)
{
	static const char *const acronyms[] = { "API", "URL", "UID", "OSB", "GUID" };
	for (size_t i = 0; i < field.len; i++)
		if (!isalpha((unsigned char)field.ptr[i]) && field.ptr[i] != '-') {
			buf_span_add(out, field);
			return;
		}
	for (size_t i = 0, end; i < field.len; i = end) {
		bool upper = isupper((unsigned char)field.ptr[i]), letter = isalpha((unsigned char)field.ptr[i]);
		for (end = i + 1; end < field.len; end++)
			if (isalpha((unsigned char)field.ptr[end]) != (letter ? isalpha((unsigned char)field.ptr[end]) : 0) ||
			    (letter && !!isupper((unsigned char)field.ptr[end]) != upper))
				break;
		if (upper && end < field.len && islower((unsigned char)field.ptr[end])) {
			if (end - i > 1)
				end--; /* the last capital belongs to the next word */
			else
				while (end < field.len && islower((unsigned char)field.ptr[end]))
					end++;
		}
		struct span part = span_sub(field, i, end);
		bool known = false;
		for (size_t k = 0; k < ARRAY_LEN(acronyms) && !known; k++)
			known = span_eq_nocase(part, span_of(acronyms[k]));
		buf_str(out, i ? " " : "");
		for (size_t k = 0; k < part.len; k++)
			buf_chr(out, known || k == 0 ? (char)toupper((unsigned char)part.ptr[k]) : part.ptr[k]);
	}
}

static bool is_head(const struct json_member *m, bool in_meta)
{
	static const char *const names[] = { "managedFields", "name", "namespace", "labels", "annotations" };
	for (size_t i = 0; in_meta && i < ARRAY_LEN(names); i++)
		if (span_is(json_key(m), names[i]))
			return true;
	return false;
}

static void describe_content(struct describe *d, unsigned level, const struct json *object, bool in_meta)
{
	uint32_t n;
	const struct json_member **list = describe_sorted(d, object, &n);
	for (uint32_t i = 0; i < n && level < CONTENT_DEPTH; i++) {
		const struct json *v = &list[i]->value;
		auto_buf struct buf label = {};
		if (is_head(list[i], in_meta))
			continue;
		field_words(&label, json_key(list[i]));
		if (!json_is(v, JSON_OBJECT) && !json_is(v, JSON_ARRAY)) {
			describe_put(d, level, "%s:\t%s\n", buf_cstr(&label), describe_value(d, v));
			continue;
		}
		describe_put(d, level, "%s:\n", buf_cstr(&label));
		if (json_is(v, JSON_OBJECT))
			describe_content(d, level + 1, v, level == 0 && span_is(json_key(list[i]), "metadata"));
		JSON_EACH_ITEM(v, item) {
			if (json_is(item, JSON_OBJECT))
				describe_content(d, level + 1, item, false);
			else
				describe_put(d, level + 1, "%s\n", describe_value(d, item));
		}
	}
}

static int describe_any(struct describe *d, const struct json *o, struct err *err)
{
	const struct json *meta = json_getl(o, "metadata");
	describe_put(d, 0, "Name:\t%s\nNamespace:\t%s\n", describe_text(d, meta, "name", NULL), describe_text(d, meta, "namespace",
		NULL));
	describe_labels(d, "", "Labels", json_getl(meta, "labels"));
	describe_annotations(d, "", "Annotations", json_getl(meta, "annotations"));
	describe_content(d, 0, o, false);
	describe_events(d);
	return 0;
}

/* ---- the verb */

static const struct {
	const char *group, *plural;
	int (*describe)(struct describe *d, const struct json *o, struct err *err);
	bool no_events;
} forms[] = {
	{ "", "configmaps", describe_config_map, false },
	{ "", "namespaces", describe_namespace, true },
	{ "", "nodes", describe_node, false },
	{ "", "pods", describe_pod, false },
	{ "", "secrets", describe_secret, true },
	{ "", "services", describe_service, false },
	{ "apps", "deployments", describe_deployment, false },
	{ "apps", "replicasets", describe_replica_set, false },
};

static int describe_one(struct describe *d, const struct front_resource *r, const struct json *o, bool with_events, struct err *err)
{
	int (*form)(struct describe *d, const struct json *o, struct err *err) = describe_any;
	struct span uid = json_span(json_path(o, "metadata", "uid", NULL));
	int rc = 0;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++)
		if (span_is(r->group, forms[i].group) && span_is(r->plural, forms[i].plural)) {
			form = forms[i].describe;
			with_events = with_events && !forms[i].no_events;
		}
	d->resource = r;
	d->now_s = (int64_t)time(NULL);
	d->events = with_events ? json_array() : JSON_NULL_VALUE;
	if (with_events)
		rc = ask_events(d, o, uid, err);
	if (rc == 0 && with_events && form == describe_node)
		rc = ask_events(d, o, json_span(json_path(o, "metadata", "name", NULL)), err);
	if (rc == 0)
		rc = form(d, o, err);
	describe_flush(d);
	return rc;
}

struct asked {
	struct span selector;
	struct front_words files;
	bool all, events, recursive;
	unsigned written;
};

/* Each object of a list, or the one of that name; when there is none of that name, those that begin with it. */
static int describe_target(struct describe *d, struct asked *p, const struct front_target *t, struct err *err)
{
	auto_buf struct buf path = {};
	struct front *f = d->f;
	struct front_target whole = *t;
	struct json answer;
	bool prefix = false;
	if (p->all)
		whole.ns = SPAN_EMPTY;
	front_target_path(&path, &whole, NULL);
	if (p->selector.len) {
		buf_str(&path, "?labelSelector=");
		percent_add(&path, p->selector, NULL);
	}
	int rc = front_ask(f, &(struct front_request){ .path = buf_span(&path) }, &answer, err);
	if (rc == -ERR_NOT_FOUND && t->name.len && f->said.answered && !p->files.n) {
		auto_err struct err first = ERR_INIT;
		(void)err_move(&first, err);
		whole.name = SPAN_EMPTY;
		buf_trunc(&path, 0);
		front_target_path(&path, &whole, NULL);
		rc = front_ask(f, &(struct front_request){ .path = buf_span(&path) }, &answer, NULL);
		bool any = false;
		JSON_EACH_ITEM(rc < 0 ? NULL : json_getl(&answer, "items"), o)
			any = any || span_starts(json_span(json_path(o, "metadata", "name", NULL)), t->name);
		if (!any) {
			f->said.answered = true;
			f->said.reason = SPAN("NotFound");
			return err_move(err, &first);
		}
		prefix = true;
	}
	if (rc < 0)
		return rc;
	const struct json *items = t->name.len && !prefix ? NULL : json_getl(&answer, "items");
	if (!items) {
		buf_str(&f->out, p->written++ ? "\n\n" : "");
		return describe_one(d, t->resource, &answer, p->events, err);
	}
	JSON_EACH_ITEM(items, o) {
		if (rc < 0 || (prefix && !span_starts(json_span(json_path(o, "metadata", "name", NULL)), t->name)))
			continue;
		const struct front_resource *r = t->resource;
		/* Lists leave these out. */
		json_setl(&f->arena, o, "apiVersion", json_str(r->group.len ? arena_printf(&f->arena, "%.*s/%.*s", SPAN_ARG(r->group),
			  SPAN_ARG(r->version)) : r->version));
		json_setl(&f->arena, o, "kind", json_str(r->kind));
		buf_str(&f->out, p->written++ ? "\n\n" : "");
		rc = describe_one(d, r, o, p->events, err);
	}
	return rc;
}

static int run(struct describe *d, struct asked *p, const struct front_args *args, struct front_targets *targets, struct err *err)
{
	struct front *f = d->f;
	if (!args->words.n && !p->files.n)
		return err_set(err, ERR_USAGE,
			"You must specify the type of resource to describe. Use \"kubectl api-resources\" for a complete "
			       "list of supported resources.");
	int rc = front_discover(f, err);
	if (rc == 0)
		rc = front_targets_files(f, &p->files, p->recursive, p->all, targets, err);
	if (rc == 0)
		rc = front_targets_words(f, &args->words, targets, err);
	for (unsigned i = 0; rc == 0 && i < targets->n; i++) {
		struct front_target *t = &targets->items[i];
		if (t->name.len && p->selector.len && !p->files.n)
			return err_set(err, ERR_USAGE, "name cannot be provided when a selector is specified");
		if (describe_target(d, p, t, err) < 0)
			(void)front_complain(f, err, NULL);
	}
	if (rc == 0 && !p->written && !f->complaints) {
		bool ns = targets->n && targets->items[0].resource->namespaced && !p->all;
		(void)fprintf(stderr, ns ? "No resources found in %.*s namespace.\n" : "No resources found\n", SPAN_ARG(f->ns));
	}
	return rc;
}

int front_describe_main(struct front *f, int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct describe d = { .f = f };
	struct asked p = { .events = true };
	struct front_targets targets = {};
	struct front_args args;
	const struct front_flag flags[] = {
		{ "all-namespaces", 'A', FRONT_FLAG_BOOL, &p.all, NULL, "in every namespace" },
		{ "filename", 'f', FRONT_FLAG_LIST, &p.files, NULL, "the objects of this file" },
		{ "recursive", 'R', FRONT_FLAG_BOOL, &p.recursive, NULL, "folders of -f with the folders in them" },
		{ "selector", 'l', FRONT_FLAG_TEXT, &p.selector, NULL, "objects with these labels" },
		{ "show-events", 0, FRONT_FLAG_BOOL, &p.events, NULL, "with what happened to them (default true)" },
		{},
	};
	int rc = front_verb_args(f, "describe", "(-f FILENAME | TYPE [NAME_PREFIX | -l label] | TYPE/NAME) [flags]",
				 "Shows objects for people to read, with their events.", flags, argc, argv, &args);
	if (rc)
		return rc < 0;
	if (run(&d, &p, &args, &targets, &err) < 0)
		(void)front_complain(f, &err, NULL);
	buf_done(&d.text);
	front_targets_done(&targets);
	return f->complaints > 0;
}
