/* What a list or watch may ask for, and of which revision it is. The rules are those of ValidateListOptions
 * (k8s.io/apimachinery's internalversion/validation) and of the storage behind it:
 *
 *     resourceVersion  Match          limit, continue      the list is of
 *     none                                                 now, consistent
 *     0                none, NotOlder                      now (never older here: the state is in memory)
 *     N                none           no limit             now, if that is N or younger; else 504
 *     N                none           limit                N exactly (upstream's older rule)
 *     N                NotOlderThan                        now, as above
 *     N                Exact                               N exactly; 410 when history does not reach it
 *                                     continue             what the token says
 */
#include "apiserver/server.h"

static int refuse(struct call *c, const char *field, const char *reason, const char *what, struct span text)
{
	err_cause_add(&c->err, span_of(field), reason, arena_printf(&c->arena, "%s: %.*s", what, SPAN_ARG(text)));
	c->generic = true;
	return err_set(&c->err, ERR_INVALID, "ListOptions.meta.k8s.io \"\" is invalid: %s: %s: %.*s", field, what,
		       SPAN_ARG(text));
}

static int forbid(struct call *c, const char *field, const char *why)
{
	return refuse(c, field, "FieldValueForbidden", "Forbidden", span_of(why));
}

static int match_unknown(struct call *c, struct span match, const char *known)
{
	return refuse(c, "resourceVersionMatch", "FieldValueNotSupported", "Unsupported value",
		      arena_printf(&c->arena, "\"%.*s\": supported values: %s", SPAN_ARG(match), known));
}

static int check_list(struct call *c, struct span rv, struct span match, struct span token)
{
	if (call_param(c, "sendInitialEvents").len)
		return forbid(c, "sendInitialEvents", "sendInitialEvents is forbidden for list");
	if (!match.len)
		return 0;
	if (!rv.len)
		return forbid(c, "resourceVersionMatch",
			      "resourceVersionMatch is forbidden unless resourceVersion is provided");
	if (token.len)
		return forbid(c, "resourceVersionMatch",
			      "resourceVersionMatch is forbidden when continue is provided");
	if (!span_is(match, "Exact") && !span_is(match, "NotOlderThan"))
		return match_unknown(c, match, "\"Exact\", \"NotOlderThan\", \"\"");
	if (span_is(match, "Exact") && span_is(rv, "0"))
		return forbid(c, "resourceVersionMatch",
			      "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
	return 0;
}

static int check_watch(struct call *c, struct span match, struct span token)
{
	bool initial = call_param(c, "sendInitialEvents").len;
	if (initial && !span_is(match, "NotOlderThan"))
		return forbid(c, "resourceVersionMatch",
			      "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
	if (!match.len)
		return 0;
	if (!initial)
		return forbid(c, "resourceVersionMatch",
			      "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
	if (token.len)
		return forbid(c, "resourceVersionMatch",
			      "resourceVersionMatch is forbidden when continue is provided");
	return 0;
}

int list_options_read(struct call *c, struct list_options *out)
{
	struct span rv = call_param(c, "resourceVersion"), match = call_param(c, "resourceVersionMatch");
	struct span limit = call_param(c, "limit"), seconds = call_param(c, "timeoutSeconds");
	struct span include = call_param(c, "includeObject");
	bool watch = c->route.verb == ROUTE_WATCH;
	*out = (struct list_options){ .token = call_param(c, "continue"),
				      .exact = span_is(match, "Exact"),
				      .include = include.len ? arena_cstr(&c->arena, include) : NULL };
	if (limit.len && !span_to_i64(limit, &out->limit))
		return err_set(&c->err, ERR_INVALID_REQUEST, "strconv.ParseInt: parsing \"%.*s\": invalid syntax",
			       SPAN_ARG(limit));
	if (seconds.len && !span_to_i64(seconds, &out->timeout_s))
		return err_set(&c->err, ERR_INVALID_REQUEST, "strconv.ParseInt: parsing \"%.*s\": invalid syntax",
			       SPAN_ARG(seconds));
	out->limit = MAX(out->limit, (int64_t)0); /* as upstream: no limit */
	out->timeout_s = MAX(out->timeout_s, (int64_t)0);
	int rc = watch ? check_watch(c, match, out->token) : check_list(c, rv, match, out->token);
	if (rc < 0)
		return rc;
	if (rv.len && (!span_to_i64(rv, &out->rev) || out->rev < 0))
		return err_set(&c->err, ERR_INVALID_REQUEST, "invalid resource version \"%.*s\"", SPAN_ARG(rv));
	struct span initial = call_param(c, "sendInitialEvents");
	out->has_initial = initial.len;
	out->initial = call_param_true(c, "sendInitialEvents");
	if (!watch && out->token.len && out->rev)
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "specifying resource version is not allowed when using continue");
	if (out->rev && !match.len && out->limit)
		out->exact = true;
	return 0;
}

/* A revision that is not there yet: the client is ahead of us (another server, or a store put back from a backup). */
int list_revision_ahead(struct call *c, int64_t wanted, int64_t current)
{
	if (wanted <= current)
		return 0;
	int rc = err_set(&c->err, ERR_TIMEOUT, "Timeout: Too large resource version: %lld, current: %lld",
			 (long long)wanted, (long long)current);
	err_cause_add(&c->err, SPAN(""), "ResourceVersionTooLarge", SPAN("Too large resource version"));
	c->err.retry_ms = 1000;
	return rc;
}

/* ---- continue: {"v":"meta.k8s.io/v1","rv":REV,"start":"KEY"} in base64url, as upstream's; opaque to clients. start is
 * relative to the prefix of the list. rv -1: whatever is there then. */

void continue_write(struct buf *out, int64_t rev, struct span start)
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

int continue_read(struct call *c, struct span token, int64_t *out_rev, struct span *out_start)
{
	auto_buf struct buf text = {};
	struct json v;
	if (!base64_parse(&text, BASE64_URL_RAW, token) ||
	    json_parse(&c->arena, arena_span(&c->arena, buf_span(&text)), 0, NULL, &v, NULL) < 0 ||
	    !span_is(json_span(json_getl(&v, "v")), "meta.k8s.io/v1") || json_i64(json_getl(&v, "rv"), 0) == 0 ||
	    json_i64(json_getl(&v, "rv"), 0) < -1 || !json_span(json_getl(&v, "start")).len)
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "continue key is not valid: illegal base64 data or structure");
	*out_rev = json_i64(json_getl(&v, "rv"), 0);
	*out_start = json_span(json_getl(&v, "start"));
	return 0;
}
