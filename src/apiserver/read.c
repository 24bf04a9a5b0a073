/* get and list. A list reads one snapshot of the store and is written as it is sent, so that it costs the queue of its
 * connection and not its size:
 *
 *     JSON           item ─▶ blocks of 16 KB ─▶ queue                    nothing is parsed; the bytes of the store are copied once
 *     metadata only  items of a chunk ─▶ encoded, shared (chunk.h) ─▶ queue, by reference
 *     protobuf       the same, all chunks before the first byte: the envelope wants the length of what it holds
 *     gzip of these  chunks, compressed, shared; joined to one member with the head of the moment
 *     Table, YAML    encoded each time: ages and sorting belong to the moment, and people ask for them, not programs
 *
 * A limited list looks through its page first: what the continue token says stands before the items. An answer that fits in one
 * block has a Content-Length.
 *
 * Work that may be long (encoding of what nobody has asked for yet) is done a chunk at a time, others' requests in between. */
#include "apiserver/server.h"

#define BLOCK (16 * 1024)
#define AHEAD 8
#define PASS_OVER 500 /* objects that a filter passes over before others have their turn: 1 ms */
#define GZIP_MIN (128 * 1024) /* kube-apiserver's threshold */

int filter_read(struct call *c, struct filter *out)
{
	*out = (struct filter){};
	struct span labels = call_param(c, "labelSelector"), fields = call_param(c, "fieldSelector");
	int rc = 0;
	if (labels.len)
		rc = api_label_selector_parse(&c->arena, labels, &out->labels, &c->err);
	if (rc == 0 && fields.len)
		rc = api_field_selector_parse(&c->arena, fields, &out->fields, &c->err);
	if (rc == 0 && fields.len)
		rc = api_field_selector_check(&out->fields, c->res, &c->err);
	if (rc < 0)
		return rc;
	filter_set(out, c->server->store, c->res);
	return 0;
}

void filter_set(struct filter *f, struct store *s, const struct api_resource *res)
{
	f->any = f->labels.n || f->labels.nothing || f->fields.n;
	f->store = s;
	struct span node;
	if (!res->group.len && span_is(res->plural, "pods") &&
	    api_field_selector_exact(&f->fields, SPAN("spec.nodeName"), &node) && node.len) {
		f->node = node;
		f->node_alone = f->fields.n == 1 && !f->labels.n && !f->labels.nothing;
	}
}

bool filter_match_item(const struct filter *f, const struct api_resource *res, const struct store_item *it)
{
	if (!f->any)
		return true;
	if (f->node.len && !span_eq(podnode_of(f->store, it), f->node))
		return false;
	if (f->node_alone)
		return true;
	auto_arena struct arena a = {};
	return filter_match(f, res, &a, bytes_span(it->value));
}

bool filter_match(const struct filter *f, const struct api_resource *res, struct arena *a, struct span value)
{
	if (!f->any)
		return true;
	struct json tree;
	if (json_parse(a, value, JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &tree, NULL) < 0)
		return false; /* damaged: reading it by name says so */
	api_from_storage(a, res, &tree);
	const struct json *meta = json_getl(&tree, "metadata");
	return api_label_selector_match(&f->labels, json_getl(meta, "labels")) &&
	       (!f->fields.n || api_field_selector_match(&f->fields, res, &tree));
}

void read_get(struct call *c)
{
	auto_buf struct buf key = {};
	object_key(&key, c->res, c->route.ns, c->route.name);
	c->snap = store_snapshot(c->server->store);
	const struct store_item *it = store_get(c->snap, buf_span(&key));
	if (!it) {
		not_found(c);
		call_fail(c);
		return;
	}
	call_answer_object(c, 200, bytes_span(it->value), it->rev);
}

/* ---- list: state */

struct lister {
	struct call *c;
	struct list_options opt;
	struct filter filter;
	struct store_iter it;
	const struct store_item *ahead[AHEAD]; /* borrowed from the snapshot */
	unsigned n_ahead, ahead_at;
	struct span prefix, gv, token; /* token: where the next page begins */
	struct span last;	       /* key of the last item of the page */
	struct span from;	       /* key at which it begins; empty: the first */
	unsigned passed_over;
	bool tired;  /* next_item stopped for others' sake */
	bool paging; /* looks for the end of its page, nothing is written yet */
	int64_t now_s, rev, left, remaining;
	bool first, ended, gzip;
	bool begun;     /* the answer is a stream; else all of it is in the block so far */
	bool head_done; /* protobuf: all chunks are there and the head is written */
	bool chunked;	       /* through chunks; else item by item */
	uint64_t seed;	       /* of chunk keys: form, shape, type, compression */
	struct bytes *block;   /* owned: being filled */
	size_t used;	       /* of the block */
	struct buf one;	       /* scratch: an item, or the text between chunks */
	struct buf copy;       /* of all that was sent, for the audit, when told is set */
	bool told;
	struct chunk_join join;
	struct chunk **chunks; /* protobuf: references, all of them before the first byte */
	size_t n_chunks, cap_chunks, at, raw_len;
};

static void lister_done(void *arg)
{
	struct lister *l = arg;
	for (size_t i = l->at; i < l->n_chunks; i++)
		chunk_unref(l->chunks[i]);
	free(l->chunks);
	bytes_unref(l->block);
	buf_done(&l->one);
	buf_done(&l->copy);
	store_iter_done(&l->it);
}

/* ---- list: out */

static void reply_begin(struct lister *l)
{
	struct call *c = l->c;
	l->begun = c->answered = true;
	c->code = 200;
	if (!c->http)
		return;
	call_headers(c, 200, accept_content_type(c->want.form, false));
	http_reply_header(c->http, "vary", SPAN("Accept-Encoding"));
	if (l->gzip)
		http_reply_header(c->http, "content-encoding", SPAN("gzip"));
	http_reply_begin(c->http);
}

static void block_send(struct lister *l)
{
	if (!l->block)
		return;
	struct bytes *b = l->block;
	l->block = NULL;
	if (!l->begun)
		reply_begin(l);
	l->c->answer_bytes += l->used;
	if (l->told)
		buf_add(&l->copy, b->data, l->used);
	if (l->c->http)
		http_reply_add(l->c->http, http_part(b, span_make(b->data, l->used)));
	else
		bytes_unref(b);
}

static void put(struct lister *l, struct span s)
{
	while (s.len) {
		if (!l->block) {
			l->block = bytes_alloc(BLOCK);
			l->used = 0;
		}
		size_t n = MIN(s.len, BLOCK - l->used);
		memcpy(l->block->data + l->used, s.ptr, n);
		l->used += n;
		s = span_from(s, n);
		if (l->used == BLOCK)
			block_send(l);
	}
}

/* Text of this list alone: as it is, or as a part of its gzip member. */
static void put_text(struct lister *l, struct span s)
{
	if (!l->gzip) {
		put(l, s);
		return;
	}
	auto_buf struct buf out = {};
	chunk_join_text(&l->join, &out, s);
	put(l, buf_span(&out));
}

static void put_chunk(struct lister *l, struct chunk *ch)
{
	if (l->gzip)
		chunk_join_chunk(&l->join, ch);
	if (ch->data->len < BLOCK / 4) {
		put(l, bytes_span(ch->data));
		return;
	}
	block_send(l);
	if (!l->begun)
		reply_begin(l);
	l->c->answer_bytes += ch->data->len;
	if (l->told)
		buf_span_add(&l->copy, bytes_span(ch->data));
	if (l->c->http)
		http_reply_add(l->c->http, http_bytes(bytes_ref(ch->data)));
}

/* Nothing was sent yet: a Status. Else the answer is cut, so that nobody takes it for whole. */
static void list_fail(struct lister *l)
{
	l->ended = true;
	if (!l->begun) {
		call_fail(l->c);
		return;
	}
	log_error("list cut", kv_err(&l->c->err));
	if (l->c->http)
		http_reply_abort(l->c->http);
}

static void reply_end(struct lister *l)
{
	struct call *c = l->c;
	l->ended = true;
	if (!c->http)
		return;
	if (!l->begun) { /* all of it is in one block */
		call_answer_piece(c, 200, accept_content_type(c->want.form, false),
				  l->block ? http_part(bytes_ref(l->block), span_make(l->block->data, l->used))
					   : http_copy(SPAN_EMPTY));
		return;
	}
	block_send(l);
	if (l->told)
		audit_complete(c, 200, accept_content_type(c->want.form, false), buf_span(&l->copy));
	http_reply_end(c->http);
}

static bool roomy(struct lister *l)
{
	return l->c->http && !l->ended && http_reply_queued(l->c->http) <= CALL_QUEUE_BYTES;
}

/* ---- list: head and tail */

static void list_head(struct buf *out, struct lister *l)
{
	const struct api_resource *res = l->c->res;
	if (l->c->want.shape == SHAPE_TABLE)
		buf_str(out, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\"");
	else if (l->c->want.shape == SHAPE_PARTIAL)
		buf_str(out, "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\"");
	else
		buf_printf(out, "{\"kind\":\"%.*s\",\"apiVersion\":\"%.*s\"", SPAN_ARG(res->list_kind),
			   SPAN_ARG(l->gv));
	buf_printf(out, ",\"metadata\":{\"resourceVersion\":\"%lld\"", (long long)l->rev);
	if (l->token.len) {
		buf_str(out, ",\"continue\":\"");
		buf_span_add(out, l->token);
		buf_chr(out, '"');
		if (l->remaining)
			buf_printf(out, ",\"remainingItemCount\":%lld", (long long)l->remaining);
	}
	buf_str(out, "},");
	if (l->c->want.shape == SHAPE_TABLE) {
		table_columns(out, res);
		buf_str(out, ",\"rows\":[");
	} else {
		buf_str(out, "\"items\":[");
	}
}

/* The list message without items, in its envelope up to where the items belong: repeated fields may come in pieces. */
static int proto_head(struct buf *out, struct lister *l)
{
	struct call *c = l->c;
	bool partial = c->want.shape == SHAPE_PARTIAL;
	const struct api_type *type = partial ? api_type_find(SPAN("meta/v1.PartialObjectMetadataList")) : c->res->list_type;
	struct span kind = partial ? SPAN("PartialObjectMetadataList") : c->res->list_kind;
	struct span gv = partial ? SPAN("meta.k8s.io/v1") : l->gv;
	struct json meta = json_object(), list = json_object();
	auto_buf struct buf head = {};
	(void)json_add(&c->arena, &meta, SPAN("resourceVersion"),
		       json_str(arena_printf(&c->arena, "%lld", (long long)l->rev)));
	if (l->token.len)
		(void)json_add(&c->arena, &meta, SPAN("continue"), json_str(l->token));
	if (l->token.len && l->remaining)
		(void)json_add(&c->arena, &meta, SPAN("remainingItemCount"), json_int(l->remaining));
	(void)json_add(&c->arena, &list, SPAN("metadata"), meta);
	if (api_encode_message(&head, type, &list, &c->err) < 0)
		return -1;
	api_envelope_write(out, gv, kind, SPAN_EMPTY);
	assert(out->len > 6 && memcmp(out->ptr + out->len - 6, "\x12\0\x1a\0\x22\0", 6) == 0);
	buf_trunc(out, out->len - 5); /* behind the tag of `raw`, field 2; proto_tail has what follows it */
	size_t n = head.len + l->raw_len;
	for (; n >= 0x80; n >>= 7)
		buf_chr(out, (char)(n | 0x80));
	buf_chr(out, (char)n);
	buf_span_add(out, buf_span(&head));
	return 0;
}
#define PROTO_TAIL SPAN("\x1a\0\x22\0") /* contentEncoding and contentType, empty, as Go writes them */

/* ---- list: items */

/* The next object of the iterator. They are taken some ahead and their first lines asked for: objects lie all over memory,
 * and each would be waited for. */
static const struct store_item *ahead_next(struct lister *l)
{
	if (l->ahead_at == l->n_ahead) {
		l->ahead_at = l->n_ahead = 0;
		while (l->n_ahead < AHEAD && (l->ahead[l->n_ahead] = store_iter_next(&l->it)))
			l->n_ahead++;
		for (unsigned i = 0; i < l->n_ahead; i++)
			for (size_t at = 0; at < 256; at += 64)
				__builtin_prefetch((const char *)l->ahead[i]->value + at);
	}
	return l->ahead_at < l->n_ahead ? l->ahead[l->ahead_at++] : NULL;
}

/* The next object that matches. NULL: no more, or `tired` is set and the caller goes on after list_rest. */
static const struct store_item *next_item(struct lister *l)
{
	const struct store_item *it;
	while (l->left && (it = ahead_next(l))) {
		if (l->filter.any && !filter_match_item(&l->filter, l->c->res, it)) {
			if (++l->passed_over < PASS_OVER)
				continue;
			l->tired = true;
			return NULL;
		}
		if (l->left > 0)
			l->left--;
		return it;
	}
	return NULL;
}

/* Appends one item in the list's form, without what stands between items. */
static int item_encode(struct lister *l, const struct store_item *it, struct buf *out)
{
	struct call *c = l->c;
	auto_arena struct arena a = {};
	auto_buf struct buf message = {};
	bool proto = c->want.form == FORM_PROTO;
	int rc = object_answer(&a, c->res, l->gv, &c->want, bytes_span(it->value), it->rev, true, l->now_s,
			       l->opt.include, proto ? &message : out, &c->err);
	if (rc < 0 || !proto)
		return rc;
	buf_chr(out, 2 << 3 | 2); /* field 2 of every list message */
	size_t n = message.len;
	for (; n >= 0x80; n >>= 7)
		buf_chr(out, (char)(n | 0x80));
	buf_chr(out, (char)n);
	buf_span_add(out, buf_span(&message));
	return 0;
}

/* One item straight into the block: the common list of JSON objects, and tables. */
static int item_put(struct lister *l, const struct store_item *it)
{
	struct call *c = l->c;
	struct span rest = SPAN_EMPTY;
	buf_trunc(&l->one, 0);
	if (!l->first)
		buf_chr(&l->one, ',');
	l->first = false;
	if (c->want.shape == SHAPE_OBJECT && !c->want.pretty && object_as_stored(c->res)) {
		if (!object_write_head(&l->one, bytes_span(it->value), it->rev, SPAN_EMPTY, l->gv, &rest))
			return err_set(&c->err, ERR_CORRUPT, "a stored object of %.*s is damaged",
				       SPAN_ARG(c->res->plural));
	} else if (item_encode(l, it, &l->one) < 0) {
		return -1;
	}
	put(l, buf_span(&l->one));
	put(l, rest);
	return 0;
}

/* The next chunk: from the cache, or made now. NULL at the end, when tired, or with c->err set. */
static struct chunk *next_chunk(struct lister *l, bool *out_made)
{
	const struct store_item *items[CHUNK_ITEMS_MAX], *it;
	/* Lists that not everybody gets are shared with nobody, and neither are custom resources, whose schema may change. */
	bool shared = !l->filter.any && !(api_type_flags(l->c->res->type) & API_TYPE_CUSTOM);
	struct chunk_key key;
	unsigned n = 0;
	size_t bytes = 0;
	chunk_key_begin(&key, l->seed);
	while ((it = next_item(l))) {
		chunk_key_add(&key, it);
		items[n++] = it;
		bytes += it->value->len;
		if (chunk_ends(it, n, bytes))
			break;
	}
	*out_made = false;
	if (!n)
		return NULL;
	struct chunk *ch = shared ? chunk_find(l->c->server->chunks, &key) : NULL;
	if (ch)
		return ch;
	*out_made = true;
	auto_buf struct buf raw = {};
	for (unsigned i = 0; i < n; i++) {
		if (i && l->c->want.form == FORM_JSON)
			buf_chr(&raw, ',');
		if (item_encode(l, items[i], &raw) < 0)
			return NULL;
	}
	return chunk_add(shared ? l->c->server->chunks : NULL, &key, buf_span(&raw), l->gzip);
}

/* ---- list: its course */

static void list_go(struct lister *l);

static void on_turn(void *arg)
{
	struct lister *l = arg;
	l->c->pending--;
	if (l->c->http)
		list_go(l);
	else
		call_release(l->c);
}

/* Goes on when others have had their turn. */
static void list_yield(struct lister *l)
{
	l->c->pending++;
	loop_post_call(l->c->w->loop, on_turn, l);
}

static bool list_rest(struct lister *l)
{
	if (!l->tired)
		return false;
	l->tired = false;
	l->passed_over = 0;
	list_yield(l);
	return true;
}

static void on_drain(struct http_req *r, void *arg)
{
	struct lister *l = arg;
	if (!l->c->pending)
		list_go(l);
}

static void on_done(struct http_req *r, bool complete, void *arg)
{
	struct lister *l = arg;
	l->c->http = NULL;
	call_release(l->c);
}

static const struct http_req_ops list_ops = { .drain = on_drain, .done = on_done };

/* Protobuf: every chunk, then the head. */
static void proto_go(struct lister *l)
{
	struct chunk *ch;
	bool made;
	while (!l->head_done && (ch = next_chunk(l, &made))) {
		MEM_GROW(l->chunks, l->n_chunks, l->cap_chunks);
		l->chunks[l->n_chunks++] = ch;
		l->raw_len += ch->raw_len;
		if (made) {
			list_yield(l);
			return;
		}
	}
	if (list_rest(l))
		return;
	auto_buf struct buf head = {};
	if (l->c->err.class != ERR_NONE || (!l->head_done && proto_head(&head, l) < 0)) {
		list_fail(l);
		return;
	}
	if (!l->head_done) {
		l->head_done = true;
		if (l->gzip)
			reply_begin(l);
		put_text(l, buf_span(&head));
	}
	while (roomy(l) && l->at < l->n_chunks) {
		put_chunk(l, l->chunks[l->at]);
		chunk_unref(l->chunks[l->at++]);
	}
	if (l->at < l->n_chunks || l->ended)
		return;
	put_text(l, PROTO_TAIL);
	if (l->gzip) {
		buf_trunc(&l->one, 0);
		chunk_join_end(&l->join, &l->one);
		put(l, buf_span(&l->one));
	}
	reply_end(l);
}

static void chunks_go(struct lister *l)
{
	struct chunk *ch;
	bool made;
	while (roomy(l)) {
		ch = next_chunk(l, &made);
		if (l->c->err.class != ERR_NONE) {
			list_fail(l);
			return;
		}
		if (!ch && list_rest(l))
			return;
		if (!ch) {
			put_text(l, SPAN("]}\n"));
			if (l->gzip) {
				buf_trunc(&l->one, 0);
				chunk_join_end(&l->join, &l->one);
				put(l, buf_span(&l->one));
			}
			reply_end(l);
			return;
		}
		if (!l->first)
			put_text(l, SPAN(","));
		l->first = false;
		put_chunk(l, ch);
		chunk_unref(ch);
		if (made && roomy(l)) {
			list_yield(l);
			return;
		}
	}
	if (!l->ended && l->c->http)
		block_send(l);
}

static void items_go(struct lister *l)
{
	const struct store_item *it;
	while (roomy(l)) {
		it = next_item(l);
		if (!it && list_rest(l))
			return;
		if (it && item_put(l, it) < 0) {
			list_fail(l);
			return;
		}
		if (!it) {
			put(l, SPAN("]}\n"));
			reply_end(l);
			return;
		}
		/* What fits in one block is sent whole, with its length. */
		if (!l->begun && l->used + it->value->len > BLOCK / 2)
			reply_begin(l);
	}
	/* The queue is full, with whole blocks; the open one goes on when it has drained. */
}

static void page_go(struct lister *l);

static void list_go(struct lister *l)
{
	if (l->c->answered && !l->begun)
		l->ended = true; /* its time was up before anything was sent */
	else if (l->paging)
		page_go(l);
	else if (l->c->want.form == FORM_PROTO)
		proto_go(l);
	else if (l->chunked)
		chunks_go(l);
	else
		items_go(l);
}

/* YAML is made from the whole tree: for people, with few objects. */
static void list_yaml(struct lister *l)
{
	struct call *c = l->c;
	auto_buf struct buf text = {}, body = {};
	const struct store_item *it;
	struct json tree;
	list_head(&text, l);
	for (bool first = true; (it = next_item(l)) || l->tired; first = first && !it) {
		if (!it) {
			l->tired = false;
			l->passed_over = 0;
			continue;
		}
		struct accepted json = { .form = FORM_JSON, .shape = c->want.shape };
		auto_arena struct arena a = {};
		if (!first)
			buf_chr(&text, ',');
		if (object_answer(&a, c->res, l->gv, &json, bytes_span(it->value), it->rev, true, l->now_s, l->opt.include,
				  &text, &c->err) < 0) {
			call_fail(c);
			return;
		}
	}
	buf_str(&text, "]}");
	if (json_parse(&c->arena, buf_span(&text), JSON_BORROW, NULL, &tree, &c->err) < 0) {
		call_fail(c);
		return;
	}
	api_encode_yaml(&body, c->res->list_type, &tree);
	call_answer(c, 200, accept_content_type(FORM_YAML, false), &body);
}

/* ---- list: where it begins */

static void list_start(struct lister *l);

/* A page: looks for its end, so that the head can say where the next one begins. The pass over the items costs their filter
 * and nothing else. */
static void page_go(struct lister *l)
{
	struct call *c = l->c;
	const struct store_item *it;
	struct span last = l->last;
	while (l->left && (it = next_item(l)))
		last = store_item_key(it);
	l->last = last; /* borrowed from the snapshot */
	if (list_rest(l))
		return;
	int64_t found = l->opt.limit - l->left;
	uint64_t behind = store_iter_left(&l->it) + (l->n_ahead - l->ahead_at);
	if (found == l->opt.limit && behind) {
		auto_buf struct buf start = {}, token = {};
		buf_span_add(&start, span_from(last, l->prefix.len));
		buf_str(&start, "\x01"); /* the first key that can follow: names hold no such byte */
		continue_write(&token, l->rev, buf_span(&start));
		l->token = arena_span(&c->arena, buf_span(&token));
		l->remaining = l->filter.any ? 0 : (int64_t)behind;
	}
	l->left = found;
	l->n_ahead = l->ahead_at = 0;
	l->paging = false;
	store_iter_done(&l->it);
	if (store_iter_init(&l->it, c->snap, l->prefix, l->from, l->rev == store_snapshot_rev(c->snap) ? 0 : l->rev,
			    &c->err) < 0)
		call_fail(c); /* it could be opened before: not reached */
	else
		list_start(l);
}

/* Does what is to come reach gzip's threshold? Filters may leave less of it. */
static bool is_big(struct lister *l)
{
	struct store_iter it;
	const struct store_item *item;
	size_t bytes = 0;
	if (store_iter_left(&l->it) > GZIP_MIN / 64 && l->left < 0)
		return true; /* no object is smaller */
	if (store_iter_init(&it, l->c->snap, l->prefix, l->from, l->rev == store_snapshot_rev(l->c->snap) ? 0 : l->rev,
			    NULL) < 0)
		return false;
	for (int64_t n = l->left; n && bytes < GZIP_MIN && (item = store_iter_next(&it)); n--)
		bytes += item->value->len;
	store_iter_done(&it);
	return bytes >= GZIP_MIN;
}

/* 410 for a page of a list that history has forgotten: with a token that goes on with what is there now. */
static void fail_expired(struct call *c, struct span start)
{
	auto_buf struct buf body = {}, all = {}, token = {};
	err_set(&c->err, ERR_EXPIRED,
		"The provided continue parameter is too old to display a consistent list result. You can start a new list "
		"without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
		"results. Continuing with the provided token results in an inconsistent list - objects that were created, "
		"modified, or deleted between the time the first chunk was returned and now may show up in the list.");
	continue_write(&token, -1, start);
	status_write(&body, &c->err, NULL);
	struct span text = buf_span(&body), before = SPAN("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{");
	assert(span_starts(text, before));
	buf_span_add(&all, before);
	buf_printf(&all, "\"continue\":\"%.*s\"", SPAN_ARG(buf_span(&token)));
	buf_span_add(&all, span_from(text, before.len));
	call_answer(c, 410, "application/json", &all);
}

static int list_open(struct lister *l)
{
	struct call *c = l->c;
	struct span start = SPAN_EMPTY;
	int64_t current = store_snapshot_rev(c->snap);
	if (filter_read(c, &l->filter) < 0 || list_options_read(c, &l->opt) < 0 ||
	    list_revision_ahead(c, l->opt.rev, current) < 0)
		return -1;
	l->rev = l->opt.exact ? l->opt.rev : current;
	if (l->opt.token.len && continue_read(c, l->opt.token, &l->rev, &start) < 0)
		return -1;
	if (l->rev < 0)
		l->rev = current;
	if (list_revision_ahead(c, l->rev, current) < 0)
		return -1;
	auto_buf struct buf prefix = {};
	object_key(&prefix, c->res, c->route.ns, SPAN_EMPTY);
	l->prefix = arena_span(&c->arena, buf_span(&prefix));
	if (start.len) {
		buf_span_add(&prefix, start);
		l->from = arena_span(&c->arena, buf_span(&prefix));
	}
	if (store_iter_init(&l->it, c->snap, l->prefix, l->from, l->rev == current ? 0 : l->rev, &c->err) < 0) {
		if (c->err.class == ERR_EXPIRED && start.len) {
			fail_expired(c, start);
			return -1;
		}
		if (c->err.class == ERR_EXPIRED)
			err_set(&c->err, ERR_EXPIRED, "The resourceVersion for the provided list is too old.");
		return -1;
	}
	arena_defer(&c->arena, lister_done, l);
	l->paging = l->opt.limit;
	l->left = l->paging ? l->opt.limit : -1;
	return 0;
}

static void list_start(struct lister *l)
{
	struct call *c = l->c;
	if (c->want.form == FORM_YAML) {
		list_yaml(l);
		return;
	}
	l->told = audit_wants_answer(c); /* in clear text, and as a whole */
	l->gzip = !l->told && !c->want.pretty && c->want.shape != SHAPE_TABLE && http_req_accepts_gzip(c->http) && is_big(l);
	l->chunked = l->gzip || c->want.form == FORM_PROTO || (c->want.shape == SHAPE_PARTIAL && !c->want.pretty);
	if (l->chunked) {
		auto_buf struct buf seed = {};
		buf_printf(&seed, "%d %d %d %.*s %.*s", c->want.form, c->want.shape, l->gzip, SPAN_ARG(l->gv),
			   SPAN_ARG(c->res->kind));
		l->seed = span_hash(buf_span(&seed));
	}
	if (c->want.form != FORM_PROTO) {
		auto_buf struct buf head = {};
		list_head(&head, l);
		if (l->gzip)
			reply_begin(l);
		put_text(l, buf_span(&head));
	}
	list_go(l);
}

void read_list(struct call *c)
{
	struct lister *l = arena_new(&c->arena, struct lister);
	l->c = c;
	l->first = true;
	l->now_s = clock_wall_ns(c->server->clock) / NS_PER_S;
	l->gv = call_group_version(c, c->res);
	c->snap = store_snapshot(c->server->store);
	if (list_open(l) < 0) {
		if (!c->answered)
			call_fail(c);
		return;
	}
	http_req_ops_set(c->http, &list_ops, l);
	if (l->paging)
		page_go(l);
	else
		list_start(l);
}
