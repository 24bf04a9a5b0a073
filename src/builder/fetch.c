/* What a URL gives, into a file without a name: ADD, remote contexts. A private loop turns on the build's thread. */
#include "builder/work.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "http/http.h"
#include "tls/tls.h"

#define FETCH_BYTES (64ull << 30)
#define REDIRECTS_MAX 10
#define TICK_MS 200 /* a wish to end is looked for so often */
#define SAID_MAX 512 /* bytes of an error's body that are told */

struct fetch {
	const struct builder_params *p;
	struct loop *loop;
	struct loop_timer tick;
	struct http_client *http;
	struct http_call *call;
	struct arena *a;
	struct span url, location, said;
	struct fetched *out;
	uint64_t bytes;
	int status;
	bool over;
	struct err why;
};

static void on_head(struct http_call *call, void *arg)
{
	struct fetch *f = arg;
	struct span when = http_call_header(call, "Last-Modified");
	struct tm tm = {};
	f->status = http_call_status(call);
	f->location = arena_span(f->a, http_call_header(call, "Location"));
	f->out->type = arena_span(f->a, http_call_header(call, "Content-Type"));
	f->out->mtime = (struct timespec){};
	if (when.len && strptime(arena_cstr(f->a, when), "%a, %d %b %Y %H:%M:%S GMT", &tm))
		f->out->mtime.tv_sec = timegm(&tm);
}

static void on_data(struct http_call *call, struct span data, void *arg)
{
	struct fetch *f = arg;
	if (f->status != 200) {
		if (f->said.len < SAID_MAX)
			f->said = arena_printf(f->a, "%.*s%.*s", SPAN_ARG(f->said), SPAN_ARG(span_sub(data, 0, SAID_MAX - f->said.len)));
		return;
	}
	f->bytes += data.len;
	if (f->why.class == ERR_NONE && f->bytes > FETCH_BYTES)
		(void)err_set(&f->why, ERR_TOO_LARGE, "%.*s is longer than %llu bytes", SPAN_ARG(f->url), FETCH_BYTES);
	if (f->why.class == ERR_NONE && io_write_all(f->out->fd, data.ptr, data.len, &f->why) == 0)
		return;
	http_call_cancel(call);
}

static void on_done(struct http_call *call, const struct err *why, void *arg)
{
	struct fetch *f = arg;
	f->over = true;
	f->call = NULL;
	if (why && f->why.class == ERR_NONE)
		(void)err_set(&f->why, why->class, "Get \"%.*s\": %s", SPAN_ARG(f->url), err_msg(why));
}

static void on_tick(struct loop_timer *t)
{
	loop_timer_start(t, TICK_MS);
}

static int once(struct fetch *f, struct err *err)
{
	static const struct http_call_ops ops = { .head = on_head, .data = on_data, .done = on_done };
	struct http_origin origin;
	struct span target;
	struct tls_ctx *tls = NULL;
	int rc = http_url_parse(f->url, f->a, &origin, &target, err);
	if (rc == 0 && origin.tls) {
		const struct tls_client_params tp = { .alpn = TLS_ALPN_HTTP1 };
		rc = tls_client_new(&tp, &tls, err);
		origin.tls_ctx = tls;
	}
	if (rc < 0)
		return rc;
	struct span proxy = http_proxy_for(&origin, f->p->http_proxy, f->p->https_proxy, f->p->no_proxy);
	if (proxy.len)
		origin.proxy = arena_cstr(f->a, proxy);
	const struct http_call_params cp = { .origin = &origin, .method = "GET", .target = target, .idle_ms = 60000,
		.first_byte_ms = 60000, .ops = &ops, .arg = f };
	f->over = false;
	f->said = SPAN_EMPTY;
	rc = http_call_begin(f->http, &cp, &f->call, err);
	tls_ctx_unref(tls);
	while (rc == 0 && !f->over) {
		if (f->call && builder_stop_raised(f->p->stop) && f->why.class == ERR_NONE) {
			(void)err_set(&f->why, ERR_CANCELLED, "the build was cancelled");
			http_call_cancel(f->call);
		}
		(void)loop_turn(f->loop, true);
	}
	if (rc == 0 && f->why.class != ERR_NONE)
		rc = err ? err_move(err, &f->why) : -(int)f->why.class;
	return rc;
}

static int redirected(struct fetch *f, struct err *err)
{
	struct span to = f->location;
	if (!to.len)
		return err_set(err, ERR_UPSTREAM, "Get \"%.*s\": %d response missing Location header", SPAN_ARG(f->url), f->status);
	if (span_starts(to, SPAN("//"))) {
		to = arena_printf(f->a, "%.*s%.*s", SPAN_ARG(span_sub(f->url, 0, (size_t)span_chr(f->url, ':') + 1)), SPAN_ARG(to));
	} else if (!span_starts(to, SPAN("http://")) && !span_starts(to, SPAN("https://"))) {
		size_t host = (size_t)span_find(f->url, SPAN("://")) + 3;
		ptrdiff_t slash = span_chr(span_from(f->url, host), '/');
		struct span root = slash < 0 ? f->url : span_sub(f->url, 0, host + (size_t)slash), dir = f->url;
		dir = slash < 0 ? root : span_sub(f->url, 0, (size_t)span_rchr(f->url, '/'));
		to = arena_printf(f->a, "%.*s%s%.*s", SPAN_ARG(span_starts(to, SPAN("/")) ? root : dir), span_starts(to,
			SPAN("/")) ? "" : "/",
			SPAN_ARG(to));
	}
	f->url = to;
	return 0;
}

static struct span name_of(struct span url)
{
	struct span path, rest;
	(void)span_split(url, '#', &path, &rest);
	(void)span_split(path, '?', &path, &rest);
	path = span_from(path, (size_t)span_find(path, SPAN("://")) + 3);
	ptrdiff_t slash = span_chr(path, '/');
	path = slash < 0 ? SPAN_EMPTY : span_from(path, (size_t)span_rchr(path, '/') + 1);
	return span_is(path, ".") || span_is(path, "..") ? SPAN_EMPTY : path;
}

static int fetch(struct fetch *f, struct err *err)
{
	int rc = 0;
	for (unsigned n = 0; rc == 0; n++) {
		if (n > REDIRECTS_MAX)
			return err_set(err, ERR_UPSTREAM, "Get \"%.*s\": stopped after %d redirects", SPAN_ARG(f->url), REDIRECTS_MAX);
		rc = once(f, err);
		if (rc < 0 || f->status == 200)
			return rc;
		if (f->status < 301 || f->status > 308 || f->status == 304)
			return err_set(err, ERR_INVALID_REQUEST, "failed to GET %.*s with status %d %s: %.*s", SPAN_ARG(f->url), f->status,
				http_status_text(f->status), SPAN_ARG(span_trim(f->said)));
		rc = redirected(f, err);
	}
	return rc;
}

int builder_fetch(struct builder *b, const struct builder_params *p, struct span url, struct arena *a, struct fetched *out,
	struct err *err)
{
	struct fetch f = { .p = p, .a = a, .url = url, .out = out };
	*out = (struct fetched){ .fd = open(b->work, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), .name = name_of(url) };
	if (out->fd < 0)
		return err_sys(err, "make a file in %s", b->work);
	int rc = loop_new(NULL, &f.loop, err);
	if (rc == 0) {
		const struct http_client_params hp = { .loop = f.loop, .name = "fetch" };
		loop_timer_init(&f.tick, f.loop, "fetch tick", on_tick);
		loop_timer_start(&f.tick, TICK_MS);
		rc = http_client_new(&hp, &f.http, err);
		rc = rc < 0 ? rc : fetch(&f, err);
		loop_timer_stop(&f.tick);
		if (f.http)
			http_client_free(f.http);
		while (loop_turn(f.loop, false))
			(void)poll(NULL, 0, 1);
		loop_free(f.loop);
	}
	err_done(&f.why);
	if (rc < 0)
		fd_close(&out->fd);
	return rc;
}
