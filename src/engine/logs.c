/* GET /containers/x/logs: what is there, and with follow what comes until the container ends. */
#include "engine/private.h"
#include "logs/logs.h"

#define CLIENT_LAG (256u << 10)

struct follower {
	struct engine_call *c;
	struct list link; /* engine.followers */
	struct logs_follow log;
	char id[65];
	bool raw, stamps, details, paused;
	unsigned streams;
};

static void closed(struct logs_follow *f)
{
	struct follower *l = container_of(f, struct follower, log);
	engine_call_unref(l->c);
}

static void follower_close(struct follower *l)
{
	list_remove(&l->link);
	l->c->gone = NULL;
	l->c->ops.drain = NULL;
	logs_follow_close(&l->log, closed);
}

static void on_gone(struct engine_call *c)
{
	follower_close(c->state);
}

static void on_drain(struct http_req *r, void *arg)
{
	struct engine_call *c = arg;
	struct follower *l = c->state;
	if (l->paused) {
		l->paused = false;
		logs_follow_resume(&l->log);
	}
}

/* Go's url.QueryEscape. */
static void escape(struct buf *out, struct span s)
{
	static const char hex[] = "0123456789ABCDEF";
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if (c == ' ') {
			buf_chr(out, '+');
		} else if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("-_.~", c)) {
			buf_chr(out, (char)c);
		} else {
			buf_chr(out, '%');
			buf_chr(out, hex[c >> 4]);
			buf_chr(out, hex[c & 15]);
		}
	}
}

/* "a=1,b=2 ": attributes before a record's text, sorted; a blank alone without any. */
static void details(struct span attrs, struct buf *out)
{
	auto_arena struct arena a = {};
	struct json v;
	if (attrs.len && json_parse(&a, attrs, 0, NULL, &v, NULL) == 0)
		JSON_EACH_MEMBER (&v, m) {
			if (out->len)
				buf_chr(out, ',');
			escape(out, json_key(m));
			buf_chr(out, '=');
			escape(out, json_span(&m->value));
		}
	buf_chr(out, ' ');
}

static void record(struct logs_follow *f, const struct logs_record *r)
{
	struct follower *l = container_of(f, struct follower, log);
	struct http_req *req = l->c->req;
	char stamp[40], head[8];
	if (!req)
		return;
	auto_buf struct buf extra = {};
	size_t n = l->stamps ? logs_stamp(stamp, r->time_ns) : 0;
	if (l->details)
		details(r->attrs, &extra);
	if (!l->raw) {
		engine_frame(head, r->stream, n + extra.len + r->text.len);
		http_reply_add(req, http_copy(span_make(head, 8)));
	}
	if (n)
		http_reply_add(req, http_copy(span_make(stamp, n)));
	if (extra.len)
		http_reply_add(req, http_copy(buf_span(&extra)));
	http_reply_add(req, http_copy(r->text));
	if (http_reply_queued(req) > CLIENT_LAG && !l->paused) {
		l->paused = true;
		logs_follow_pause(f);
	}
}

static void done(struct logs_follow *f, const struct err *err)
{
	struct follower *l = container_of(f, struct follower, log);
	if (err)
		log_warn("reading a container's log", kv_str("container", l->id), kv_err(err));
	if (l->c->req)
		http_reply_end(l->c->req);
	follower_close(l);
}

void engine_followers_end(struct engine *e, struct span id)
{
	LIST_EACH(&e->followers, l, struct follower, link)
		if (!id.len || span_is(id, l->id))
			logs_follow_end(&l->log);
}

void engine_container_logs(struct engine_call *c)
{
	struct engine *e = c->e;
	struct container_log log;
	struct span tail = engine_param(c, "tail");
	struct follower *l = arena_new(&c->arena, struct follower);
	struct logs_params p = { .format = LOGS_DOCKER, .tail = -1 };
	if (engine_truth(c, "stdout", false))
		p.streams |= LOGS_STDOUT;
	if (engine_truth(c, "stderr", false))
		p.streams |= LOGS_STDERR;
	if (!p.streams) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "Bad parameters: you must choose at least one stream");
		return;
	}
	if (container_find(e->containers, c->name, l->id, &c->err) < 0 ||
	    logs_time_parse(engine_param(c, "since"), &p.since_ns, &c->err) < 0 ||
	    logs_time_parse(c->api >= 35 ? engine_param(c, "until") : SPAN_EMPTY, &p.until_ns, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	/* What is no number means all of it. */
	if (!span_to_i64(tail, &p.tail) || p.tail < 0)
		p.tail = -1;
	if (container_log_open(e->containers, span_of(l->id), &log, &c->err) < 0) {
		if (c->err.class == ERR_INVALID_REQUEST)
			engine_fail_status(c, 501, "%s", "configured logging driver does not support reading");
		else
			engine_fail(c);
		return;
	}
	p.dir = log.dir;
	p.name = log.name;
	l->c = c;
	l->raw = log.terminal;
	l->stamps = engine_truth(c, "timestamps", false);
	l->details = engine_truth(c, "details", false);
	int rc = logs_follow_open(&l->log, e->loop, &p, record, done, &c->err);
	fd_close(&log.dir);
	if (rc < 0) {
		engine_fail(c);
		return;
	}
	(void)engine_call_ref(c);
	list_push(&e->followers, &l->link);
	c->state = l;
	c->gone = on_gone;
	c->ops.drain = on_drain;
	http_req_ops_set(c->req, &c->ops, c);
	if (engine_answer_head(c, 200)) {
		http_reply_header(c->req, "Content-Type", engine_stream_type(c, log.terminal));
		http_reply_begin(c->req);
	}
	if (!engine_truth(c, "follow", false) || !log.running)
		logs_follow_end(&l->log);
}
