/* Fuzz target: bytes from a peer, fed whole and in pieces of a size that the first byte says; both must tell the
 * same, and what is sent in answer must be readable by the other role. */
#include "http/http_ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	struct buf log;
	unsigned closed;
};

static void on_message(struct http_ws *ws, enum http_ws_kind kind, struct span data, void *arg)
{
	struct seen *s = arg;
	buf_printf(&s->log, "%d %zu ", kind, data.len);
	buf_span_add(&s->log, data);
	if (kind == HTTP_WS_TEXT && !utf8_valid(data))
		abort();
	http_ws_send(ws, kind, data, true);
}

static void on_closed(struct http_ws *ws, unsigned code, struct span reason, void *arg)
{
	struct seen *s = arg;
	buf_printf(&s->log, "closed %u %.*s", code, SPAN_ARG(reason));
	s->closed++;
}

static uint32_t no_mask(void *arg)
{
	return 0x01020304;
}

static const struct http_ws_ops ops = { .message = on_message, .closed = on_closed };

static int run(bool client, const uint8_t *data, size_t size, size_t portion, struct seen *s, struct bytes **out)
{
	struct http_ws_params p = { .client = client, .message_limit = 10000, .ops = &ops, .arg = s, .mask = no_mask };
	struct http_ws *ws = http_ws_new(&p);
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < size; i += portion)
		rc = http_ws_feed(ws, span_make(data + i, MIN(portion, size - i)), NULL);
	http_ws_end(ws);
	if (s->closed != 1 || !http_ws_over(ws))
		abort();
	*out = http_ws_take(ws);
	http_ws_free(ws);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	bool client = data[0] & 1;
	struct seen a = {}, b = {}, c = {};
	struct bytes *out_a, *out_b, *out_c;
	int rc = run(client, data + 1, size - 1, SIZE_MAX / 2, &a, &out_a);
	if (run(client, data + 1, size - 1, 1 + (data[0] >> 1), &b, &out_b) != rc)
		abort();
	if (!span_eq(buf_span(&a.log), buf_span(&b.log)))
		abort();
	/* Our answers, read by the other role: never a violation. */
	if (out_a && run(!client, (const uint8_t *)out_a->data, out_a->len, SIZE_MAX / 2, &c, &out_c) < 0)
		abort();
	if (out_a)
		bytes_unref(out_c);
	bytes_unref(out_a);
	bytes_unref(out_b);
	buf_done(&a.log);
	buf_done(&b.log);
	buf_done(&c.log);
	return 0;
}
