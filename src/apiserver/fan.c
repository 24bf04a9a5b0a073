/* Events are encoded once for all watches of a loop thread that asked for the same thing in the same form: 1,000 watches of one
 * namespace send the same bytes.
 *
 *     store batch (serial) ─▶ fan: piece 0 [events 0..11] [12..30] ...   each an immutable byte string, made on demand
 *                               │ reference        │
 *                              w1 w2 w3 ...       w1 w3                  w2's queue is full: it stays behind
 *
 * Pieces live until the end of the loop's turn; then the queues' references alone hold them. */
#include "apiserver/watch.h"

#define PIECE_BYTES (32 * 1024)

/* ---- frames */

void fan_frame(const struct fan *f, struct buf *out, const char *type, struct span object)
{
	if (f->want.form == FORM_PROTO) {
		/* four bytes of length, big endian, before each event */
		auto_buf struct buf event = {};
		api_encode_watch_event(&event, span_of(type), object);
		const char head[4] = { (char)(event.len >> 24), (char)(event.len >> 16), (char)(event.len >> 8),
				       (char)event.len };
		buf_add(out, head, 4);
		buf_span_add(out, buf_span(&event));
		return;
	}
	buf_str(out, "{\"type\":\"");
	buf_str(out, type);
	buf_str(out, "\",\"object\":");
	buf_span_add(out, span_trim(object));
	buf_str(out, "}\n");
}

int fan_object(struct fan *f, const char *type, struct span value, int64_t rev, struct buf *out, struct err *err)
{
	if (f->want.form == FORM_JSON && f->want.shape == SHAPE_OBJECT && object_as_stored(f->res)) {
		/* The common case, without a copy in between. */
		size_t before = out->len;
		buf_str(out, "{\"type\":\"");
		buf_str(out, type);
		buf_str(out, "\",\"object\":");
		if (!object_write(out, value, rev, f->res->kind, f->gv)) {
			buf_trunc(out, before);
			return err_set(err, ERR_CORRUPT, "a stored object of %.*s is damaged", SPAN_ARG(f->res->plural));
		}
		buf_str(out, "}\n");
		return 0;
	}
	auto_arena struct arena a = {};
	auto_buf struct buf object = {};
	int64_t now_s = clock_wall_ns(f->w->server->clock) / NS_PER_S;
	int rc = object_answer(&a, f->res, f->gv, &f->want, value, rev, false, now_s, f->include, &object, err);
	if (rc == 0)
		fan_frame(f, out, type, buf_span(&object));
	return rc;
}

int fan_event(struct fan *f, const struct store_event *e, struct buf *out, struct err *err)
{
	bool now = e->item && filter_match_item(&f->filter, f->res, e->item);
	bool before = e->prev && filter_match_item(&f->filter, f->res, e->prev);
	if (now)
		return fan_object(f, before ? "MODIFIED" : "ADDED", bytes_span(e->item->value), e->rev, out, err);
	/* It is gone, or no longer what was asked for: the last state that matched, at the revision of its end. */
	return before ? fan_object(f, "DELETED", bytes_span(e->prev->value), e->rev, out, err) : 0;
}

/* ---- bookmarks and errors */

void fan_bookmark(struct fan *f, int64_t rev, bool initial_end, struct buf *out)
{
	auto_arena struct arena a = {};
	auto_buf struct buf text = {};
	bool plain = f->want.shape == SHAPE_OBJECT, table = f->want.shape == SHAPE_TABLE;
	const struct api_type *type = plain ? f->res->type
					    : api_type_find(SPAN("meta/v1.PartialObjectMetadata"));
	struct json object = json_object(), meta = json_object();
	(void)json_add(&a, &object, SPAN("kind"), plain ? json_str(f->res->kind) : json_cstr("PartialObjectMetadata"));
	(void)json_add(&a, &object, SPAN("apiVersion"), plain ? json_str(f->gv) : json_cstr("meta.k8s.io/v1"));
	(void)json_add(&a, &meta, SPAN("resourceVersion"), json_str(arena_printf(&a, "%lld", (long long)rev)));
	if (initial_end) {
		struct json notes = json_object();
		(void)json_add(&a, &notes, SPAN("k8s.io/initial-events-end"), json_cstr("true"));
		(void)json_add(&a, &meta, SPAN("annotations"), notes);
	}
	(void)json_add(&a, &object, SPAN("metadata"), meta);
	if (f->want.form == FORM_PROTO && api_encode_proto(&text, type, &object, NULL) < 0)
		return; /* metadata with two strings always has a wire form */
	if (table) {
		buf_printf(&text, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{\"resourceVersion\":"
				  "\"%lld\"},",
			   (long long)rev);
		table_columns(&text, f->res);
		buf_str(&text, ",\"rows\":[{\"cells\":[");
		for (unsigned i = 0; i < f->res->n_columns; i++)
			buf_str(&text, i ? ",null" : "null");
		buf_str(&text, "],\"object\":");
		api_encode_json(&text, type, &object, 0);
		buf_str(&text, "}]}");
	} else if (f->want.form != FORM_PROTO) {
		api_encode_json(&text, type, &object, 0);
	}
	fan_frame(f, out, "BOOKMARK", buf_span(&text));
}

void fan_error(struct fan *f, const struct err *err, struct buf *out)
{
	auto_buf struct buf status = {}, proto = {};
	status_write(&status, err, NULL);
	if (f->want.form == FORM_PROTO) {
		auto_arena struct arena a = {};
		const struct api_type *t = api_type_find(SPAN("meta/v1.Status"));
		struct json tree;
		if (api_decode_json(&a, t, buf_span(&status), NULL, &tree, NULL) < 0 ||
		    api_encode_proto(&proto, t, &tree, NULL) < 0)
			return; /* a Status that we wrote can be read */
	}
	fan_frame(f, out, "ERROR", buf_span(f->want.form == FORM_PROTO ? &proto : &status));
}

/* ---- pieces */

static void pieces_drop(struct fan *f)
{
	for (unsigned i = 0; i < f->n_pieces; i++) {
		const struct fan_piece *p = &f->pieces[i];
		for (unsigned k = 0; k < p->n_sizes; k++)
			meter_events(&f->meter, f->sizes[p->first_size + k], p->sent);
		bytes_unref(p->data);
	}
	free(f->pieces);
	free(f->sizes);
	f->pieces = NULL;
	f->sizes = NULL;
	f->n_sizes = f->cap_sizes = 0;
	f->n_pieces = f->cap_pieces = 0;
	f->first = NULL;
	f->events = NULL;
	f->n_events = f->done = 0;
}

static void on_drop(struct loop_task *t)
{
	pieces_drop(container_of(t, struct fan, drop));
}

void fan_batch(struct fan *f, const struct store_batch *b)
{
	/* A watch that began in the middle gets the later part of a batch under the same serial. */
	if (f->first && f->serial == b->serial && f->first == b->events[0] && f->n_events == b->n)
		return;
	pieces_drop(f);
	f->serial = b->serial;
	f->events = b->events;
	f->first = b->events[0];
	f->n_events = b->n;
	loop_defer(f->w->loop, &f->drop);
}

const struct fan_piece *fan_piece(struct fan *f, unsigned i, struct err *err)
{
	if (i < f->n_pieces) {
		f->pieces[i].sent++;
		return &f->pieces[i];
	}
	assert(i == f->n_pieces && f->done < f->n_events);
	auto_buf struct buf out = {};
	unsigned first_size = f->n_sizes;
	while (f->done < f->n_events && out.len < PIECE_BYTES) {
		size_t before = out.len;
		if (fan_event(f, f->events[f->done], &out, err) < 0) {
			f->n_sizes = first_size;
			return NULL;
		}
		f->done++;
		if (out.len == before)
			continue;
		MEM_GROW(f->sizes, f->n_sizes, f->cap_sizes);
		f->sizes[f->n_sizes++] = (uint32_t)(out.len - before);
	}
	MEM_GROW(f->pieces, f->n_pieces, f->cap_pieces);
	f->pieces[f->n_pieces] = (struct fan_piece){ .data = out.len ? bytes_of(buf_span(&out)) : NULL, .end = f->done,
						     .first_size = first_size, .n_sizes = f->n_sizes - first_size, .sent = 1 };
	return &f->pieces[f->n_pieces++];
}

/* ---- fans */

struct fan *fan_get(struct call *c, const struct filter *filter, const char *include)
{
	auto_buf struct buf key = {};
	const void *res = c->res;
	struct span labels = call_param(c, "labelSelector"), fields = call_param(c, "fieldSelector");
	/* What it depends on; NUL cannot stand in a decoded parameter that was parsed as a selector. */
	buf_add(&key, &res, sizeof(res));
	buf_printf(&key, "%d %d %s", c->want.form, c->want.shape, include ? include : "");
	for (unsigned i = 0; i < 4; i++) {
		const struct span part[] = { c->route.ns, c->route.name, labels, fields };
		buf_chr(&key, 0);
		buf_span_add(&key, part[i]);
	}
	struct fan *f = map_get(&c->w->fans, buf_span(&key));
	if (f) {
		f->n++;
		return f;
	}
	f = mem_new(struct fan);
	f->n = 1;
	f->w = c->w;
	f->key_len = key.len;
	f->key = mem_dup(key.ptr, key.len);
	f->registry = api_registry_ref(c->registry);
	f->res = c->res;
	f->want = c->want;
	f->want.pretty = false; /* an event is one line */
	meter_watch(c->w, c->res, &f->meter);
	f->gv = arena_span(&f->arena, call_group_version(c, c->res));
	f->ns = arena_span(&f->arena, c->route.ns);
	f->name = arena_span(&f->arena, c->route.name);
	f->include = include ? arena_cstr(&f->arena, span_of(include)) : NULL;
	/* The caller's filter borrows from its call: parsed again into our arena. It was good before, so it is now. */
	if (filter->any) {
		int rc = 0;
		if (labels.len)
			rc = api_label_selector_parse(&f->arena, arena_span(&f->arena, labels), &f->filter.labels, NULL);
		if (rc == 0 && fields.len)
			rc = api_field_selector_parse(&f->arena, arena_span(&f->arena, fields), &f->filter.fields, NULL);
		assert(rc == 0);
		filter_set(&f->filter, c->server->store, c->res);
	}
	loop_task_init(&f->drop, on_drop);
	map_put(&c->w->fans, span_make(f->key, f->key_len), f);
	return f;
}

void fan_release(struct fan *f)
{
	if (--f->n)
		return;
	pieces_drop(f);
	loop_task_cancel(&f->drop);
	map_remove(&f->w->fans, span_make(f->key, f->key_len));
	if (!f->w->fans.n)
		map_done(&f->w->fans);
	api_registry_unref(f->registry);
	arena_done(&f->arena);
	free(f->key);
	free(f);
}
