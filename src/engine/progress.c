/* Lines of progress as Docker's jsonmessage has them: one JSON object and CR LF each. */
#include "engine/private.h"
#include "tar/tar.h"

static void line_end(struct engine_progress *p, struct buf *b)
{
	buf_str(b, "}\r\n");
	struct tar_sink *out = p->to ? p->to : engine_out(p->c);
	auto_err struct err err = ERR_INIT;
	int rc = out->push(out, buf_span(b), &err);
	if (p->rc == 0)
		p->rc = rc;
}

static void member(struct buf *b, const char *key, struct span text)
{
	buf_printf(b, "%s\"%s\":", b->len > 1 ? "," : "", key);
	json_write_string(b, text, 0);
}

/* "[=====>     ]  1.2MB/3.4MB": 50 columns, as the daemon draws it for clients that do not draw themselves. */
static void bar(struct buf *b, uint64_t current, uint64_t total)
{
	auto_buf struct buf now = {};
	engine_human_size(&now, (double)current);
	if (!total) {
		buf_printf(b, "%8s", buf_cstr(&now));
		return;
	}
	int filled = current >= total ? 50 : (int)((double)current / (double)total * 100) / 2;
	buf_chr(b, '[');
	for (int i = 0; i < filled; i++)
		buf_chr(b, '=');
	buf_chr(b, '>');
	for (int i = filled; i < 50; i++)
		buf_chr(b, ' ');
	buf_printf(b, "] %8s", buf_cstr(&now));
	if (current <= total) {
		buf_chr(b, '/');
		engine_human_size(b, (double)total);
	}
}

static void progress(const struct image_progress *i, void *arg)
{
	struct engine_progress *p = arg;
	auto_buf struct buf b = {}, drawn = {};
	if (p->load) {
		auto_buf struct buf line = {};
		buf_printf(&line, "%.*s\n", SPAN_ARG(i->status));
		if (!i->total && !i->current)
			engine_progress_stream(p, buf_span(&line));
		return;
	}
	buf_chr(&b, '{');
	member(&b, "status", i->status);
	if (i->total || i->current) {
		buf_printf(&b, ",\"progressDetail\":{\"current\":%llu", (unsigned long long)i->current);
		if (i->total)
			buf_printf(&b, ",\"total\":%llu", (unsigned long long)i->total);
		buf_chr(&b, '}');
		bar(&drawn, i->current, i->total);
		member(&b, "progress", buf_span(&drawn));
	} else if (i->id.len && !span_starts(i->status, SPAN("Pulling from "))) {
		/* An action, which Docker tells from a message by this. */
		buf_str(&b, ",\"progressDetail\":{}");
	}
	if (i->id.len)
		member(&b, "id", i->id);
	line_end(p, &b);
}

static bool cancelled(void *arg)
{
	struct engine_progress *p = arg;
	return engine_cancelled(p->c);
}

void engine_progress_init(struct engine_progress *p, struct engine_call *c)
{
	*p = (struct engine_progress){ .c = c, .reporter = { .fn = progress, .arg = p, .cancelled = cancelled } };
}

void engine_progress_status(struct engine_progress *p, struct span status)
{
	auto_buf struct buf b = {};
	buf_chr(&b, '{');
	member(&b, "status", status);
	line_end(p, &b);
}

void engine_progress_stream(struct engine_progress *p, struct span text)
{
	auto_buf struct buf b = {};
	buf_chr(&b, '{');
	member(&b, "stream", text);
	line_end(p, &b);
}

void engine_progress_line(struct engine_progress *p, const struct json *line)
{
	auto_buf struct buf b = {};
	json_write(&b, line, 0);
	buf_trunc(&b, b.len - 1);
	line_end(p, &b);
}

void engine_progress_error(struct engine_call *c, const struct err *err, struct buf *out)
{
	buf_str(out, "{\"errorDetail\":{");
	/* jsonmessage.JSONError: code is said where the error has one of HTTP's. */
	buf_str(out, "\"message\":");
	json_write_string(out, span_of(err_msg(err)), 0);
	buf_str(out, "},\"error\":");
	json_write_string(out, span_of(err_msg(err)), 0);
	buf_str(out, "}\r\n");
}
