/* get and list. A list reads one snapshot of the store; without a limit it is written as it is sent, so that it costs the
 * queue of its connection and not its size. */
#include "apiserver/server.h"

#define QUEUE_BYTES (192 * 1024)

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
	out->any = out->labels.n || out->labels.nothing || out->fields.n;
	return rc;
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

/* ---- list */

struct lister {
	struct call *c;
	struct filter filter;
	struct store_iter it;
	struct span gv;
	const char *include;
	int64_t now_s, rev;
	bool first, streaming, ended;
};

/* {"v":"meta.k8s.io/v1","rv":REV,"start":"KEY"} in base64url, as upstream's: opaque to clients. start is relative to the
 * prefix of the list. */
static void continue_write(struct buf *out, int64_t rev, struct span start)
{
	auto_buf struct buf text = {};
	struct json_out o = { .buf = &text };
	json_out_begin(&o);
	json_out_kspan(&o, "v", SPAN("meta.k8s.io/v1"));
	json_out_key(&o, SPAN("rv"));
	json_out_i64(&o, rev);
	json_out_kspan(&o, "start", start);
	json_out_end(&o);
	base64_add(out, BASE64_URL_RAW, text.ptr, text.len);
}

static int continue_read(struct call *c, struct span token, int64_t *out_rev, struct span *out_start)
{
	auto_buf struct buf text = {};
	struct json v;
	if (!base64_parse(&text, BASE64_URL_RAW, token) ||
	    json_parse(&c->arena, arena_span(&c->arena, buf_span(&text)), 0, NULL, &v, NULL) < 0 ||
	    !span_is(json_span(json_getl(&v, "v")), "meta.k8s.io/v1") || json_i64(json_getl(&v, "rv"), 0) < 1 ||
	    !json_span(json_getl(&v, "start")).len)
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "continue key is not valid: illegal base64 data or structure");
	*out_rev = json_i64(json_getl(&v, "rv"), 0);
	*out_start = json_span(json_getl(&v, "start"));
	return 0;
}

/* Which revision the list is of: what resourceVersion, resourceVersionMatch and continue ask for. */
static int list_revision(struct call *c, int64_t current, int64_t *out_rev, struct span *out_start)
{
	struct span rv = call_param(c, "resourceVersion"), match = call_param(c, "resourceVersionMatch");
	struct span token = call_param(c, "continue");
	int64_t n = 0;
	*out_rev = current;
	*out_start = SPAN_EMPTY;
	if (rv.len && (!span_to_i64(rv, &n) || n < 0))
		return err_set(&c->err, ERR_INVALID_REQUEST, "invalid resource version \"%.*s\"", SPAN_ARG(rv));
	if (match.len && !span_is(match, "Exact") && !span_is(match, "NotOlderThan"))
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "resourceVersionMatch: Unsupported value: \"%.*s\": supported values: \"Exact\", "
			       "\"NotOlderThan\"",
			       SPAN_ARG(match));
	if (match.len && token.len)
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "resourceVersionMatch is forbidden when continue is provided");
	if (match.len && !rv.len)
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "resourceVersionMatch is forbidden unless resourceVersion is provided");
	if (span_is(match, "Exact") && n == 0)
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"");
	if (token.len) {
		if (n != 0)
			return err_set(&c->err, ERR_INVALID_REQUEST,
				       "specifying resource version is not allowed when using continue");
		return continue_read(c, token, out_rev, out_start);
	}
	if (n > current) {
		int rc = err_set(&c->err, ERR_TIMEOUT, "Timeout: Too large resource version: %lld, current: %lld",
				 (long long)n, (long long)current);
		c->err.retry_ms = 1000;
		return rc;
	}
	/* Without a match, a limit and a version mean Exact (upstream's legacy rule). */
	if (n && (span_is(match, "Exact") ||
		  (!match.len && call_param(c, "limit").len && !span_is(call_param(c, "limit"), "0"))))
		*out_rev = n;
	return 0;
}

static void list_head(struct buf *out, struct lister *l, struct span token, int64_t remaining)
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
	if (token.len) {
		buf_str(out, ",\"continue\":\"");
		buf_span_add(out, token);
		buf_chr(out, '"');
		if (remaining > 0)
			buf_printf(out, ",\"remainingItemCount\":%lld", (long long)remaining);
	}
	buf_str(out, "},");
	if (l->c->want.shape == SHAPE_TABLE) {
		table_columns(out, res);
		buf_str(out, ",\"rows\":[");
	} else {
		buf_str(out, "\"items\":[");
	}
}

/* Appends the next object that matches. False at the end; c->err is set when something is wrong. */
static bool list_next(struct lister *l, struct buf *out, const struct store_item **out_item)
{
	const struct store_item *it;
	while ((it = store_iter_next(&l->it))) {
		auto_arena struct arena a = {};
		if (!filter_match(&l->filter, l->c->res, &a, bytes_span(it->value)))
			continue;
		if (!l->first && l->c->want.form != FORM_PROTO)
			buf_chr(out, ',');
		l->first = false;
		*out_item = it;
		auto_buf struct buf message = {};
		bool proto = l->c->want.form == FORM_PROTO;
		if (object_answer(&a, l->c->res, l->gv, &l->c->want, bytes_span(it->value), it->rev, true, l->now_s,
				  l->include, proto ? &message : out, &l->c->err) < 0)
			return false;
		if (proto) { /* field 2 of every list message */
			buf_chr(out, 2 << 3 | 2);
			size_t n = message.len;
			while (n >= 0x80) {
				buf_chr(out, (char)(n | 0x80));
				n >>= 7;
			}
			buf_chr(out, (char)n);
			buf_span_add(out, buf_span(&message));
		}
		return true;
	}
	return false;
}

/* A page (limit), or a form that cannot be written piece by piece: collected, then answered. */
static void list_page(struct lister *l, int64_t limit)
{
	struct call *c = l->c;
	auto_buf struct buf items = {}, body = {}, token = {};
	const struct store_item *it = NULL;
	int64_t n = 0, remaining = 0;
	while ((!limit || n < limit) && list_next(l, &items, &it))
		n++;
	if (c->err.class != ERR_NONE) {
		call_fail(c);
		return;
	}
	if (limit && n == limit) {
		remaining = (int64_t)store_iter_left(&l->it);
		if (remaining) {
			auto_buf struct buf prefix = {}, start = {};
			object_key(&prefix, c->res, c->route.ns, SPAN_EMPTY);
			buf_span_add(&start, span_from(store_item_key(it), prefix.len));
			buf_str(&start, "\x01"); /* the first key that can follow: names hold no such byte */
			continue_write(&token, l->rev, buf_span(&start));
		}
	}
	if (c->want.form == FORM_PROTO) {
		struct json meta = json_object();
		(void)json_add(&c->arena, &meta, SPAN("resourceVersion"),
			       json_str(arena_printf(&c->arena, "%lld", (long long)l->rev)));
		if (token.len)
			(void)json_add(&c->arena, &meta, SPAN("continue"), json_str(buf_span(&token)));
		if (token.len && !l->filter.any)
			(void)json_add(&c->arena, &meta, SPAN("remainingItemCount"), json_int(remaining));
		auto_buf struct buf head = {};
		struct json list = json_object();
		(void)json_add(&c->arena, &list, SPAN("kind"), json_str(c->res->list_kind));
		(void)json_add(&c->arena, &list, SPAN("apiVersion"), json_str(l->gv));
		(void)json_add(&c->arena, &list, SPAN("metadata"), meta);
		/* The list message without items, then the items: repeated fields may follow in pieces. */
		if (api_encode_message(&head, c->res->list_type, &list, &c->err) < 0) {
			call_fail(c);
			return;
		}
		auto_buf struct buf raw = {};
		buf_span_add(&raw, buf_span(&head));
		buf_span_add(&raw, buf_span(&items));
		api_envelope_write(&body, l->gv, c->res->list_kind, buf_span(&raw));
	} else if (c->want.form == FORM_YAML) {
		auto_buf struct buf text = {};
		list_head(&text, l, buf_span(&token), l->filter.any ? 0 : remaining);
		buf_span_add(&text, buf_span(&items));
		buf_str(&text, "]}");
		struct json tree;
		if (json_parse(&c->arena, buf_span(&text), JSON_BORROW, NULL, &tree, &c->err) < 0) {
			call_fail(c);
			return;
		}
		api_encode_yaml(&body, c->res->list_type, &tree);
	} else {
		list_head(&body, l, buf_span(&token), l->filter.any ? 0 : remaining);
		buf_span_add(&body, buf_span(&items));
		buf_str(&body, "]}\n");
	}
	call_answer(c, 200, accept_content_type(c->want.form, false), &body);
}

/* Writes until the queue is full; `drain` goes on. */
static void list_stream(struct lister *l)
{
	struct call *c = l->c;
	auto_buf struct buf out = {};
	const struct store_item *it;
	while (c->http && !l->ended && http_reply_queued(c->http) + out.len < QUEUE_BYTES) {
		if (list_next(l, &out, &it)) {
			if (out.len < 32 * 1024)
				continue;
		} else if (c->err.class != ERR_NONE) {
			/* Too late for a status: the answer is cut so that nobody takes it for whole. */
			log_error("list cut", kv_err(&c->err));
			l->ended = true;
			http_reply_abort(c->http);
			return;
		} else {
			buf_str(&out, "]}\n");
			l->ended = true;
		}
		http_reply_add(c->http, http_copy(buf_span(&out)));
		buf_trunc(&out, 0);
		if (l->ended)
			http_reply_end(c->http);
	}
	if (out.len && c->http && !l->ended)
		http_reply_add(c->http, http_copy(buf_span(&out)));
}

static void list_drain(struct http_req *r, void *arg)
{
	list_stream(arg);
}

static void list_done(struct http_req *r, bool complete, void *arg)
{
	struct lister *l = arg;
	l->c->http = NULL;
	call_release(l->c);
}

static void iter_end(void *arg)
{
	store_iter_done(arg);
}

void read_list(struct call *c)
{
	static const struct http_req_ops stream_ops = { .drain = list_drain, .done = list_done };
	struct lister *l = arena_new(&c->arena, struct lister);
	l->c = c;
	l->first = true;
	l->now_s = clock_wall_ns(c->server->clock) / NS_PER_S;
	l->gv = call_group_version(c, c->res);
	struct span include = call_param(c, "includeObject"), limit_text = call_param(c, "limit"), start;
	l->include = include.len ? arena_cstr(&c->arena, include) : NULL;
	int64_t limit = 0;
	if (limit_text.len && (!span_to_i64(limit_text, &limit) || limit < 0)) {
		err_set(&c->err, ERR_INVALID_REQUEST, "strconv.ParseInt: parsing \"%.*s\": invalid syntax",
			SPAN_ARG(limit_text));
		call_fail(c);
		return;
	}
	c->snap = store_snapshot(c->server->store);
	int64_t current = store_snapshot_rev(c->snap);
	if (filter_read(c, &l->filter) < 0 || list_revision(c, current, &l->rev, &start) < 0) {
		call_fail(c);
		return;
	}
	auto_buf struct buf prefix = {}, from = {};
	object_key(&prefix, c->res, c->route.ns, SPAN_EMPTY);
	if (start.len) {
		buf_span_add(&from, buf_span(&prefix));
		buf_span_add(&from, start);
	}
	if (store_iter_init(&l->it, c->snap, buf_span(&prefix), buf_span(&from), l->rev == current ? 0 : l->rev,
			    &c->err) < 0) {
		if (c->err.class == ERR_EXPIRED)
			err_set(&c->err, ERR_EXPIRED,
				start.len ? "The provided continue parameter is too old to display a consistent list "
					    "result. You can start a new list "
					    "without the continue parameter."
					  : "The resourceVersion for the provided list is too old.");
		call_fail(c);
		return;
	}
	arena_defer(&c->arena, iter_end, &l->it);
	if (limit || c->want.form != FORM_JSON || c->want.pretty || store_iter_left(&l->it) <= 64) {
		list_page(l, limit);
		return;
	}
	http_req_ops_set(c->http, &stream_ops, l);
	http_reply_status(c->http, 200);
	http_reply_header(c->http, "cache-control", SPAN("no-cache, private"));
	http_reply_header(c->http, "content-type", SPAN("application/json"));
	http_reply_begin(c->http);
	auto_buf struct buf head = {};
	list_head(&head, l, SPAN_EMPTY, 0);
	http_reply_add(c->http, http_copy(buf_span(&head)));
	list_stream(l);
}
