/* Fuzz target: a byte of choices (role, windows, portions), then what a peer sends. Header blocks cannot be guessed by
 * mutation, so a SYN_STREAM, SYN_REPLY or HEADERS whose body begins with "=" gets the rest compressed for it. Whole and in
 * portions must tell the same. */
#include <zlib.h>
#include "http/http_spdy_block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	struct buf log;
	int open;
	unsigned choices;
};

static void fields_log(struct seen *s, char what, struct http_spdy_stream *st, const struct http_spdy_field *f, unsigned n)
{
	buf_printf(&s->log, "%c%u", what, http_spdy_stream_id(st));
	for (unsigned i = 0; i < n; i++)
		buf_printf(&s->log, "%.*s=%.*s;", SPAN_ARG(f[i].name), SPAN_ARG(f[i].value));
}

static void on_open(struct http_spdy_stream *st, const struct http_spdy_field *f, unsigned n, void *arg)
{
	struct seen *s = arg;
	fields_log(s, 'o', st, f, n);
	s->open++;
	if (http_spdy_stream_id(st) % 7 == 3) {
		http_spdy_reset(st, HTTP_SPDY_REFUSED);
		return;
	}
	http_spdy_reply(st, f, n, http_spdy_stream_id(st) % 5 == 3);
	http_spdy_write(st, SPAN("hello"), http_spdy_stream_id(st) % 3 == 0);
}

static void on_reply(struct http_spdy_stream *st, const struct http_spdy_field *f, unsigned n, void *arg)
{
	fields_log(arg, 'r', st, f, n);
}

static void on_headers(struct http_spdy_stream *st, const struct http_spdy_field *f, unsigned n, void *arg)
{
	fields_log(arg, 'h', st, f, n);
}

static void on_data(struct http_spdy_stream *st, struct span data, void *arg)
{
	struct seen *s = arg;
	for (size_t i = 0; i < data.len; i++) /* bytewise: portions must not show */
		buf_printf(&s->log, "d%u:%02x", http_spdy_stream_id(st), (uint8_t)data.ptr[i]);
	if (s->choices & 4)
		http_spdy_write(st, data, false);
	http_spdy_consumed(st, data.len);
}

static void on_end(struct http_spdy_stream *st, void *arg)
{
	buf_printf(&((struct seen *)arg)->log, "e%u", http_spdy_stream_id(st));
	http_spdy_write(st, SPAN_EMPTY, true);
}

static void on_closed(struct http_spdy_stream *st, unsigned status, void *arg)
{
	struct seen *s = arg;
	buf_printf(&s->log, "c%u:%u", http_spdy_stream_id(st), status);
	s->open--;
}

static const struct http_spdy_ops ops = { .open = on_open, .reply = on_reply, .headers = on_headers, .data = on_data,
					  .end = on_end, .closed = on_closed };

static int run(const struct buf *in, size_t portion, struct seen *s)
{
	struct http_spdy_params p = { .client = s->choices & 1, .flow_control = s->choices & 2, .max_streams = 5,
				      .header_bytes = 2000, .ops = &ops, .arg = s };
	struct http_spdy *session = http_spdy_new(&p);
	struct http_spdy_stream *mine;
	int rc = 0;
	for (int i = 0; i < 2; i++)
		if (http_spdy_open(session, NULL, 0, 0, &mine, NULL) == 0)
			s->open++;
	for (size_t i = 0; rc == 0 && i < in->len; i += portion)
		rc = http_spdy_feed(session, span_make(in->ptr + i, MIN(portion, in->len - i)), NULL);
	http_spdy_end(session);
	if (s->open != 0 || http_spdy_n_streams(session) != 0 || http_spdy_unconsumed(session) != 0)
		abort();
	bytes_unref(http_spdy_take(session));
	http_spdy_free(session);
	return rc;
}

/* Frames of the input, with "=" bodies compressed. */
static void frames_make(struct span data, struct buf *out)
{
	struct http_spdy_block b = {};
	while (data.len >= 8) {
		const uint8_t *p = (const uint8_t *)data.ptr;
		size_t len = (size_t)p[5] << 16 | (size_t)p[6] << 8 | p[7];
		unsigned type = p[3];
		size_t fixed = type == 1 ? 10 : 4;
		struct span body = span_sub(data, 8, 8 + len);
		if (p[0] == 0x80 && (type == 1 || type == 2 || type == 8) && body.len > fixed && body.ptr[fixed] == '=') {
			/* "name=value&name=value" as fields; else the bytes as a block of their own making */
			struct http_spdy_field f[8];
			struct span rest = span_from(body, fixed + 1), one;
			unsigned n = 0;
			while (n < 8 && span_cut(&rest, '&', &one))
				(void)span_split(one, '=', &f[n].name, &f[n].value), n++;
			size_t at = out->len;
			buf_add(out, p, 8);
			buf_add(out, body.ptr, fixed);
			http_spdy_block_write(&b, f, n, out);
			size_t made = out->len - at - 8;
			out->ptr[at + 5] = (char)(made >> 16);
			out->ptr[at + 6] = (char)(made >> 8);
			out->ptr[at + 7] = (char)made;
		} else {
			buf_add(out, p, 8);
			buf_span_add(out, body);
		}
		data = span_from(data, 8 + len);
	}
	buf_span_add(out, data);
	http_spdy_block_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 20000)
		return 0;
	struct buf in = {};
	frames_make(span_make(data + 1, size - 1), &in);
	struct seen a = { .choices = data[0] }, b = { .choices = data[0] };
	int rc = run(&in, SIZE_MAX / 2, &a);
	if (run(&in, 1 + (data[0] >> 3), &b) != rc || !span_eq(buf_span(&a.log), buf_span(&b.log)))
		abort();
	buf_done(&a.log);
	buf_done(&b.log);
	buf_done(&in);
	return 0;
}
