/* A request becomes a call: version and path are taken apart, the route found, parameters decoded, the body read if the route
 * wants one, and the handler runs. And how calls are answered. */
#include <limits.h>
#include <strings.h>
#include <sys/utsname.h>

#include "engine/private.h"
#include "tar/tar.h"

#define PARAMS_MAX 200

static const struct engine_route routes[] = {
#define ROUTE(method, pattern, fn, flags, since, params) { method, pattern, engine_##fn, flags, since, params },
#include "engine/routes.def"
#undef ROUTE
};

const struct metrics_family engine_families[ENGINE_METRIC_COUNT] = {
	[ENGINE_REQUESTS] = { "engine_requests_total", "Requests by method, route and code.", METRICS_COUNTER,
		.labels = { "method", "route", "code" } },
	[ENGINE_SECONDS] = { "engine_request_duration_seconds", "Time to answer, streams left out.", METRICS_HISTOGRAM,
		.labels = { "route" }, .bounds = metrics_bounds_seconds },
	[ENGINE_UNKNOWN_PARAMS] = { "engine_unknown_parameters_total", "Query parameters that no version of the API has.",
		METRICS_COUNTER, .labels = { "route", "name" }, .max_series = 200 },
	[ENGINE_UNKNOWN_FIELDS] = { "engine_unknown_fields_total", "Members of requests that no version of the API has.",
		METRICS_COUNTER, .labels = { "document", "name" }, .max_series = 200 },
	[ENGINE_EVENTS_TOTAL] = { "engine_events_total", "Events by type.", METRICS_COUNTER, .labels = { "type" } },
};

/* ---- life ---- */

struct engine_call *engine_call_ref(struct engine_call *c)
{
	c->refs++;
	return c;
}

void engine_call_unref(struct engine_call *c)
{
	assert(c->refs > 0);
	if (--c->refs)
		return;
	list_remove(&c->link);
	err_done(&c->err);
	arena_done(&c->arena);
	free(c);
}

static void call_gone(struct engine_call *c)
{
	void (*gone)(struct engine_call *c) = c->gone;
	c->gone = NULL;
	if (gone)
		gone(c);
}

static void on_hangup(struct http_req *r, void *arg)
{
	struct engine_call *c = arg;
	/* docker's client half-closes nothing but hijacked streams: who hung up waits for no answer. */
	call_gone(c);
}

static void on_done(struct http_req *r, bool complete, void *arg)
{
	struct engine_call *c = arg;
	c->req = NULL;
	call_gone(c);
	engine_call_unref(c);
}

/* ---- answers ---- */

static void headers(struct engine_call *c)
{
	http_reply_header(c->req, "Api-Version", SPAN(ENGINE_API_TEXT));
	http_reply_header(c->req, "Docker-Experimental", SPAN("false"));
	http_reply_header(c->req, "Ostype", SPAN("linux"));
	http_reply_header(c->req, "Server", SPAN("Knarr/" KNARR_VERSION " (linux)"));
}

/* The first word of an answer: status, what every answer has, and the metric. False when there is nobody to answer. */
bool engine_answer_head(struct engine_call *c, int status)
{
	if (!c->req || c->answered)
		return false;
	c->answered = true;
	struct span pattern = c->route ? span_of(c->route->pattern) : SPAN("none");
	char code[12];
	int n = snprintf(code, sizeof(code), "%d", status);
	metrics_inc(METRICS_SERIES(c->e->counted, ENGINE_REQUESTS, http_req_method(c->req), pattern, span_make(code, (size_t)n)));
	if (!c->stream)
		metrics_observe(METRICS_SERIES(c->e->counted, ENGINE_SECONDS, pattern),
			(double)(clock_mono_ns(loop_clock(c->e->loop)) - c->began_ns) / 1e9);
	http_reply_status(c->req, status);
	headers(c);
	return true;
}

void engine_answer_text(struct engine_call *c, int status, const char *type, struct span text)
{
	if (!engine_answer_head(c, status))
		return;
	http_reply_header(c->req, "Content-Type", span_of(type));
	http_reply_add(c->req, http_copy(text));
	http_reply_end(c->req);
}

void engine_answer_json(struct engine_call *c, int status, struct json *v)
{
	auto_buf struct buf b = {};
	json_write(&b, v, 0);
	buf_chr(&b, '\n');
	if (!engine_answer_head(c, status))
		return;
	http_reply_header(c->req, "Content-Type", SPAN("application/json"));
	http_reply_add(c->req, http_bytes(buf_seal(&b)));
	http_reply_end(c->req);
}

void engine_answer_empty(struct engine_call *c, int status)
{
	if (!engine_answer_head(c, status))
		return;
	http_reply_end(c->req);
}

int engine_error_status(const struct err *err)
{
	int code = err_docker_code(err->class);
	/* Docker's daemon has no code for a full disk or a slow peer: 500, as for every fault of its own. */
	return code == 507 || code == 504 || code == 502 || code == 499 ? 500 : code;
}

void engine_error_body(const struct err *err, struct buf *out)
{
	buf_str(out, "{\"message\":");
	json_write_string(out, span_of(err_msg(err)), 0);
	buf_str(out, "}\n");
}

static void fail_code(struct engine_call *c, int status)
{
	auto_buf struct buf b = {};
	if (c->err.class == ERR_NONE)
		(void)err_set(&c->err, ERR_INTERNAL, "the engine gave no reason");
	if (c->plain_errors)
		buf_printf(&b, "%s\n", err_msg(&c->err));
	else
		engine_error_body(&c->err, &b);
	if (c->err.class == ERR_TOO_MANY && c->err.retry_ms && c->req && !c->answered) {
		char text[24];
		int n = snprintf(text, sizeof(text), "%d", (c->err.retry_ms + 999) / 1000);
		http_reply_header(c->req, "Retry-After", span_make(text, (size_t)n));
	}
	engine_answer_text(c, status, c->plain_errors ? "text/plain; charset=utf-8" : "application/json", buf_span(&b));
}

void engine_fail(struct engine_call *c)
{
	fail_code(c, engine_error_status(&c->err));
}

void engine_fail_with(struct engine_call *c, enum err_class class, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	(void)err_vset(&c->err, class, fmt, ap);
	va_end(ap);
	engine_fail(c);
}

void engine_fail_status(struct engine_call *c, int status, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	(void)err_vset(&c->err, ERR_INTERNAL, fmt, ap);
	va_end(ap);
	fail_code(c, status);
}

/* ---- parameters ---- */

static bool known(const char *list, struct span name)
{
	struct span rest = span_of(list), one;
	while (span_cut(&rest, ',', &one))
		if (span_eq(one, name))
			return true;
	return false;
}

/* What Go's form parser refuses, in its words. */
static int param_bad(struct span s, struct err *err)
{
	if (span_chr(s, ';') >= 0)
		return err_set(err, ERR_INVALID_REQUEST, "invalid semicolon separator in query");
	for (size_t i = 0; i < s.len; i++) {
		unsigned char byte;
		struct span escape = span_sub(s, i, MIN(i + 3, s.len));
		if (s.ptr[i] == '%' && (escape.len < 3 || !hex_parse(span_from(escape, 1), &byte))) {
			auto_buf struct buf quoted = {};
			json_write_string(&quoted, escape, 0);
			return err_set(err, ERR_INVALID_REQUEST, "invalid URL escape %s", buf_cstr(&quoted));
		}
	}
	return 0;
}

static int params_read(struct engine_call *c)
{
	struct span rest = http_req_query(c->req), one;
	size_t n = 0, cap = 1;
	for (size_t i = 0; i < rest.len; i++)
		cap += rest.ptr[i] == '&';
	if (cap > PARAMS_MAX)
		return err_set(&c->err, ERR_INVALID_REQUEST, "more than %d query parameters", PARAMS_MAX);
	c->params = arena_alloc_n(&c->arena, cap, sizeof(*c->params));
	while (span_cut(&rest, '&', &one)) {
		struct span key, value;
		auto_buf struct buf k = {}, v = {};
		(void)span_split(one, '=', &key, &value);
		if (!one.len)
			continue;
		int rc = param_bad(one, &c->err);
		if (rc < 0)
			return rc;
		(void)percent_parse(&k, key, true);
		(void)percent_parse(&v, value, true);
		struct engine_param *p = &c->params[n++];
		*p = (struct engine_param){ arena_span(&c->arena, buf_span(&k)), arena_span(&c->arena, buf_span(&v)), false };
		p->known = known(c->route->params, p->key);
		if (!p->known)
			metrics_inc(METRICS_SERIES(c->e->counted, ENGINE_UNKNOWN_PARAMS, span_of(c->route->pattern), p->key));
	}
	c->n_params = n;
	return 0;
}

static const struct engine_param *param_get(struct engine_call *c, const char *name)
{
	/* A handler that asks for what its row does not list would never see it counted: our mistake. */
	assert(known(c->route->params, span_of(name)));
	for (size_t i = 0; i < c->n_params; i++)
		if (span_is(c->params[i].key, name))
			return &c->params[i];
	return NULL;
}

struct span engine_param(struct engine_call *c, const char *name)
{
	const struct engine_param *p = param_get(c, name);
	return p ? p->value : SPAN_EMPTY;
}

bool engine_has_param(struct engine_call *c, const char *name)
{
	return param_get(c, name) != NULL;
}

bool engine_truth(struct engine_call *c, const char *name, bool absent)
{
	const struct engine_param *p = param_get(c, name);
	if (!p)
		return absent;
	struct span v = span_trim(p->value);
	return !(!v.len || span_is(v, "0") || span_eq_nocase(v, SPAN("no")) || span_eq_nocase(v, SPAN("false")) ||
		 span_eq_nocase(v, SPAN("none")));
}

int engine_number(struct engine_call *c, const char *name, int64_t absent, int64_t *out, struct err *err)
{
	struct span v = engine_param(c, name);
	int64_t n = absent;
	if (v.len && !span_to_i64(v, &n)) {
		bool digits = true;
		for (size_t i = 0; i < v.len; i++)
			digits &= (v.ptr[i] >= '0' && v.ptr[i] <= '9') || (i == 0 && v.len > 1 && (v.ptr[i] == '-' || v.ptr[i] == '+'));
		return err_set(err, ERR_INVALID_REQUEST, "strconv.Atoi: parsing \"%.*s\": %s", SPAN_ARG(v),
			digits ? "value out of range" : "invalid syntax");
	}
	*out = n;
	return 0;
}

/* ---- bodies ---- */

static void handler_run(struct engine_call *c)
{
	c->route->handle(c);
}

static bool json_type(struct span type)
{
	struct span first, rest;
	(void)span_split(type, ';', &first, &rest);
	return span_eq_nocase(span_trim(first), SPAN("application/json"));
}

static void on_body(struct http_req *r, int rc, struct span body, void *arg)
{
	struct engine_call *c = arg;
	bool maybe = c->route->flags & ENGINE_BODY_MAYBE;
	struct span type = http_req_header(r, "Content-Type"), rest = body;
	if (rc < 0) {
		engine_fail_with(c, ERR_TOO_LARGE, "http: request body too large");
		return;
	}
	if (c->route->flags & ENGINE_BODY_SKIP) {
		handler_run(c);
		return;
	}
	if (body.len && !json_type(type)) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "unsupported Content-Type header (%.*s): must be 'application/json'",
			SPAN_ARG(type));
		return;
	}
	if (maybe && !span_trim(body).len) {
		c->body = json_object();
		handler_run(c);
		return;
	}
	auto_err struct err err = ERR_INIT;
	rc = json_parse_next(&c->arena, &rest, JSON_DUPLICATES_LAST | JSON_REPLACE_BAD_UTF8, NULL, &c->body, &err);
	if (rc == -ERR_NOT_FOUND) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "invalid JSON: got EOF while reading request body");
	} else if (rc < 0) {
		auto_buf struct buf words = {};
		if (json_go_complaint(&words, body))
			engine_fail_with(c, ERR_INVALID_REQUEST, "invalid JSON: %s", buf_cstr(&words));
		else
			engine_fail_with(c, ERR_INVALID_REQUEST, "invalid JSON: %s", err_msg(&err));
	} else if (span_trim(rest).len) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "unexpected content after JSON");
	} else if (c->body.kind == JSON_NULL && maybe) {
		c->body = json_object();
		handler_run(c);
	} else if (c->body.kind != JSON_OBJECT) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "invalid JSON: json: cannot unmarshal %s into a Go value of type object",
			c->body.kind == JSON_STRING ? "string" : c->body.kind == JSON_ARRAY ? "array" :
			c->body.kind == JSON_BOOL ? "bool" : c->body.kind == JSON_NULL ? "null" : "number");
	} else {
		handler_run(c);
	}
}

/* ---- routing ---- */

/* A pattern has one variable at most, {name}, which takes any text that is not empty: names of images hold slashes. */
static bool match(const char *pattern, struct span path, struct span *out_name)
{
	struct span p = span_of(pattern);
	ptrdiff_t open = span_chr(p, '{');
	if (open < 0)
		return span_eq(p, path);
	struct span head = span_sub(p, 0, (size_t)open), tail = span_from(p, (size_t)span_chr(p, '}') + 1);
	if (path.len <= head.len + tail.len || !span_starts(path, head) || !span_ends(path, tail))
		return false;
	*out_name = span_sub(path, head.len, path.len - tail.len);
	/* Without a tail the variable is one segment, but for what may be asked for by a path: images, whose names are paths, and
	 * what nothing is called like ("No such container: a/b"). */
	static const char *const paths[] = { "/images/", "/volumes/", "/containers/", "/networks/" };
	bool takes = tail.len || span_chr(*out_name, '/') < 0;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		takes |= span_is(head, paths[i]);
	return takes;
}

const struct engine_route *engine_route_at(size_t i)
{
	if (i < ARRAY_LEN(routes))
		return &routes[i];
	const struct engine_route *r = &engine_container_routes[i - ARRAY_LEN(routes)];
	return r->method ? r : NULL;
}

static const struct engine_route *route_find(struct span method, struct span path, struct span *out_name)
{
	const struct engine_route *r;
	for (size_t i = 0; (r = engine_route_at(i)); i++)
		if (span_is(method, r->method) && match(r->pattern, path, out_name))
			return r;
	return NULL;
}

/* "v1.41/x" behind the first slash: the version's text and what follows. False when there is none. */
static bool version_cut(struct span path, struct span *out_version, struct span *out_rest)
{
	size_t i = 2;
	if (path.len < 3 || path.ptr[1] != 'v')
		return false;
	while (i < path.len && ((path.ptr[i] >= '0' && path.ptr[i] <= '9') || path.ptr[i] == '.'))
		i++;
	if (i == 2 || i == path.len || path.ptr[i] != '/')
		return false;
	*out_version = span_sub(path, 2, i);
	*out_rest = span_from(path, i);
	return true;
}

/* Compares dotted numbers as Docker does: part by part, missing parts are 0. */
static int version_cmp(struct span a, struct span b)
{
	while (a.len || b.len) {
		struct span x = SPAN_EMPTY, y = SPAN_EMPTY;
		uint64_t n = 0, m = 0;
		(void)span_cut(&a, '.', &x);
		(void)span_cut(&b, '.', &y);
		(void)span_to_u64(x, &n);
		(void)span_to_u64(y, &m);
		if (n != m)
			return n < m ? -1 : 1;
	}
	return 0;
}

static int version_check(struct engine_call *c, struct span version)
{
	if (version_cmp(version, SPAN(ENGINE_API_TEXT)) > 0)
		return err_set(&c->err, ERR_INVALID_REQUEST,
			"client version %.*s is too new. Maximum supported API version is " ENGINE_API_TEXT, SPAN_ARG(version));
	if (version_cmp(version, SPAN(ENGINE_API_TAKEN_TEXT)) < 0)
		return err_set(&c->err, ERR_INVALID_REQUEST,
			"client version %.*s is too old. Minimum supported API version is " ENGINE_API_MIN_TEXT
			", please upgrade your client to a newer version", SPAN_ARG(version));
	struct span major, minor, end;
	uint64_t n = ENGINE_API_MAX;
	(void)span_split(version, '.', &major, &minor);
	(void)span_split(minor, '.', &minor, &end);
	(void)span_to_u64(minor, &n);
	c->plain_errors = n < ENGINE_API_MIN;
	c->api = (unsigned)MAX(n, (uint64_t)ENGINE_API_MIN);
	return 0;
}

/* What Go's router does with "//", "/./" and "/../" in a path: it sends the client to the clean one. Names keep what they have, so
 * this is asked where no route was found. */
static bool moved(struct engine_call *c, struct span path)
{
	auto_buf struct buf clean = {}, where = {};
	struct span rest = path, part;
	bool ends = span_ends(path, SPAN("/"));
	while (span_cut(&rest, '/', &part)) {
		if (span_is(part, "..")) {
			ptrdiff_t slash = span_rchr(buf_span(&clean), '/');
			buf_trunc(&clean, slash < 0 ? 0 : (size_t)slash);
		} else if (part.len && !span_is(part, ".")) {
			buf_chr(&clean, '/');
			buf_span_add(&clean, part);
		}
	}
	if (!clean.len || ends)
		buf_chr(&clean, '/');
	if (span_eq(buf_span(&clean), path))
		return false;
	percent_add(&where, buf_span(&clean), "/:@+=,$&");
	if (http_req_query(c->req).len)
		buf_printf(&where, "?%.*s", SPAN_ARG(http_req_query(c->req)));
	http_reply_header(c->req, "Location", buf_span(&where));
	engine_answer_empty(c, 301);
	return true;
}

static const struct http_req_ops call_ops = { .hangup = on_hangup, .done = on_done };

static void not_found(struct engine_call *c)
{
	engine_fail_with(c, ERR_NOT_FOUND, "page not found");
}

void engine_handle(struct http_req *r, void *arg)
{
	struct engine *e = arg;
	struct engine_call *c = mem_new(struct engine_call);
	*c = (struct engine_call){ .e = e, .req = r, .refs = 1, .api = ENGINE_API_MAX, .ops = call_ops,
		.began_ns = clock_mono_ns(loop_clock(e->loop)) };
	list_push(&e->calls, &c->link);
	http_req_ops_set(r, &c->ops, c);
	auto_buf struct buf decoded = {};
	struct span path, whole, version = SPAN_EMPTY, rest;
	if (!percent_parse(&decoded, http_req_path(r), false) || memchr(decoded.ptr ? decoded.ptr : "", 0, decoded.len)) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "the path is badly escaped");
		return;
	}
	whole = path = arena_span(&c->arena, buf_span(&decoded));
	if (version_cut(path, &version, &rest))
		path = rest;
	c->route = route_find(http_req_method(r), path, &c->name);
	/* gorilla's router in dockerd answers a wrong method like a wrong path. */
	if (!c->route) {
		if (http_req_is(r, "OPTIONS"))
			engine_answer_empty(c, 200);
		else if (!moved(c, whole))
			not_found(c);
		return;
	}
	if ((version.len && version_check(c, version) < 0) || params_read(c) < 0) {
		engine_fail(c);
		return;
	}
	if (c->route->since > c->api) {
		not_found(c);
		return;
	}
	bool skip = c->route->flags & ENGINE_BODY_SKIP && http_req_length(r) != 0;
	if (skip || c->route->flags & (ENGINE_BODY_JSON | ENGINE_BODY_MAYBE))
		http_req_body_whole(r, ENGINE_BODY_MAX, on_body, c);
	else
		handler_run(c);
}

/* ---- workers ---- */

void engine_work_end(struct engine_call *c, int rc)
{
	if (rc < 0)
		engine_fail(c);
	else
		engine_answer_json(c, 200, &c->out);
}

static void work_run(struct loop_work *w)
{
	struct engine_call *c = container_of(w, struct engine_call, work);
	c->work_rc = c->work_run(c, &c->err);
}

static void work_done(struct loop_work *w)
{
	struct engine_call *c = container_of(w, struct engine_call, work);
	(c->work_done ? c->work_done : engine_work_end)(c, c->work_rc);
	engine_call_unref(c);
}

void engine_work(struct engine_call *c, int (*run)(struct engine_call *c, struct err *err),
	void (*done)(struct engine_call *c, int rc))
{
	c->work_run = run;
	c->work_done = done;
	(void)engine_call_ref(c);
	if (loop_work_submit(c->e->pool, c->e->loop, &c->work, "engine call", work_run, work_done) < 0) {
		engine_fail_with(c, ERR_UNAVAILABLE, "too many requests are waiting");
		engine_call_unref(c);
	}
}
