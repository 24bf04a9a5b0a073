/* Events. What is known early is kept in the call's arena as text, and the line is put together when its stage is reached, so
 * that a request which the policy leaves out costs the policy's rules and an id. */
#include "apiserver/audit.h"

#include "apiserver/server.h"
#include "metrics/metrics.h"

#include <arpa/inet.h>

#define AGENT_MAX 1024
#define SOURCES_MAX 16

struct audit {
	_Atomic(struct audit_policy *) policy;
	struct audit_log *log; /* NULL: a policy without a log; it is checked and nothing is written, as upstream */
	struct clock *clock;
	bool legacy;
	_Atomic uint64_t events, levels[AUDIT_LEVEL_COUNT];
};

/* Of one request that is audited. */
struct audit_call {
	struct audit_verdict verdict;
	int64_t received_ns;
	struct span request;              /* JSON, one line; empty for none */
	struct span name, uid, revision;  /* of the object that was sent */
	struct span target, agent;        /* copies: the last event may come after the connection has gone */
	struct span *sources;
	unsigned n_sources;
	const char *message;              /* of a refusal before there was a user */
	bool complete;
};

/* ---- life */

int audit_new(const struct apiserver_options *o, struct span policy, struct clock *clock, struct audit **out_audit,
	      struct err *err)
{
	*out_audit = NULL;
	if (!o->audit_policy_file.len)
		return 0;
	struct audit_policy *p;
	int rc = audit_policy_read(policy, o->audit_policy_file.ptr, &p, err);
	if (rc < 0)
		return rc;
	struct audit *a = mem_new(struct audit);
	atomic_store(&a->policy, p);
	a->clock = clock;
	a->legacy = o->audit_log_legacy;
	if (o->audit_log_path.len) {
		const struct audit_log_params lp = { .path = o->audit_log_path,
						     .max_bytes = o->audit_log_maxsize_mb << 20,
						     .max_backups = o->audit_log_maxbackup,
						     .max_age_s = o->audit_log_maxage_days * 86400,
						     .clock = clock };
		rc = audit_log_open(&lp, &a->log, err);
	}
	if (rc < 0) {
		audit_free(a);
		return rc;
	}
	*out_audit = a;
	return 0;
}

void audit_free(struct audit *a)
{
	if (!a)
		return;
	audit_log_close(a->log);
	audit_policy_free(atomic_load(&a->policy));
	free(a);
}

struct audit_policy *audit_policy_swap(struct audit *a, struct audit_policy *fresh)
{
	return atomic_exchange(&a->policy, fresh);
}

void audit_reopen(struct audit *a)
{
	if (a->log)
		audit_log_reopen(a->log);
}

void audit_metrics(struct audit *a, struct metrics_writer *w)
{
	static const char *const level_label[] = { "level" }, *const plugin_label[] = { "plugin" };
	if (!a)
		return;
	metrics_emit_family(w, "apiserver_audit_event_total", "Audit events made.", METRICS_COUNTER);
	metrics_emit(w, NULL, NULL, 0, (double)atomic_load(&a->events));
	metrics_emit_family(w, "apiserver_audit_level_total", "Requests by the level that the policy chose.", METRICS_COUNTER);
	for (unsigned i = 0; i < AUDIT_LEVEL_COUNT; i++)
		metrics_emit(w, level_label, &(struct span){ audit_level_names[i], strlen(audit_level_names[i]) }, 1,
			     (double)atomic_load(&a->levels[i]));
	struct audit_log_stats st = a->log ? audit_log_stats(a->log) : (struct audit_log_stats){};
	metrics_emit_family(w, "apiserver_audit_error_total", "Audit events that were lost.", METRICS_COUNTER);
	metrics_emit(w, plugin_label, &SPAN("log"), 1, (double)(st.lost + st.failed));
}

/* ---- pieces of an event */

static void write_strings(struct json_out *o, const char *key, const struct span *items, unsigned n)
{
	if (!n)
		return;
	json_out_key(o, span_of(key));
	json_out_begin_array(o);
	for (unsigned i = 0; i < n; i++)
		json_out_span(o, items[i]);
	json_out_end(o);
}

static void write_user(struct json_out *o, const char *key, const struct auth_user *u)
{
	json_out_key(o, span_of(key));
	json_out_begin(o);
	json_out_kspan(o, "username", u->name);
	json_out_kspan(o, "uid", u->uid);
	write_strings(o, "groups", u->groups, u->n_groups);
	if (u->n_extra) {
		json_out_key(o, SPAN("extra"));
		json_out_begin(o);
		for (unsigned i = 0; i < u->n_extra; i++) {
			auto_buf struct buf name = {};
			buf_span_add(&name, u->extra[i].key);
			write_strings(o, buf_cstr(&name), u->extra[i].values, u->extra[i].n_values);
		}
		json_out_end(o);
	}
	json_out_end(o);
}

static bool address_ok(struct span s, char out[INET6_ADDRSTRLEN])
{
	uint8_t bytes[16];
	s = span_trim(s);
	if (!s.len || s.len >= INET6_ADDRSTRLEN)
		return false;
	memcpy(out, s.ptr, s.len);
	out[s.len] = 0;
	return inet_pton(AF_INET, out, bytes) == 1 || inet_pton(AF_INET6, out, bytes) == 1;
}

/* What proxies say of the way (X-Forwarded-For, then X-Real-Ip) and the peer itself; anybody may write the first two. */
static unsigned sources(struct call *c, struct span out[SOURCES_MAX])
{
	struct span rest = http_req_header_all(c->http, "x-forwarded-for"), one;
	char text[INET6_ADDRSTRLEN];
	unsigned n = 0;
	while (n < SOURCES_MAX - 2 && span_cut(&rest, ',', &one))
		if (address_ok(one, text))
			out[n++] = arena_span(&c->arena, span_of(text));
	struct span real = http_req_header(c->http, "x-real-ip");
	if (address_ok(real, text) && (!n || !span_is(out[n - 1], text)))
		out[n++] = arena_span(&c->arena, span_of(text));
	struct span peer = http_peer_host(http_req_peer(c->http));
	if (peer.len && (!n || !span_eq(out[n - 1], peer)))
		out[n++] = arena_span(&c->arena, peer);
	return n;
}

static void write_object_ref(struct json_out *o, struct call *c)
{
	const struct route *r = &c->route;
	const struct audit_call *ac = c->audit;
	if (!r->is_resource)
		return;
	json_out_key(o, SPAN("objectRef"));
	json_out_begin(o);
	json_out_kspan(o, "resource", r->resource);
	json_out_kspan(o, "namespace", r->ns);
	json_out_kspan(o, "name", r->name.len ? r->name : ac->name);
	json_out_kspan(o, "uid", ac->uid);
	json_out_kspan(o, "apiGroup", r->group);
	json_out_kspan(o, "apiVersion", r->version);
	json_out_kspan(o, "resourceVersion", ac->revision);
	json_out_kspan(o, "subresource", r->subresource);
	json_out_end(o);
}

static void write_time(struct json_out *o, const char *key, int64_t ns)
{
	char text[40];
	size_t n = time_format(text, ns / NS_PER_S, (int32_t)(ns % NS_PER_S), 6);
	json_out_key(o, span_of(key));
	json_out_span(o, span_make(text, n));
}

static int note_cmp(const void *a, const void *b)
{
	return span_cmp(((const struct call_note *)a)->key, ((const struct call_note *)b)->key);
}

static void write_notes(struct json_out *o, struct call *c)
{
	if (!c->n_notes)
		return;
	qsort(c->notes, c->n_notes, sizeof(*c->notes), note_cmp);
	json_out_key(o, SPAN("annotations"));
	json_out_begin(o);
	for (unsigned i = 0; i < c->n_notes; i++) {
		json_out_key(o, c->notes[i].key);
		json_out_span(o, c->notes[i].value);
	}
	json_out_end(o);
}

/* Code and, of a Status that was answered, what it says. */
static void write_response_status(struct json_out *o, struct call *c, int code, const struct json *answer)
{
	static const char *const members[] = { "status", "message", "reason", "details" };
	bool status = answer && span_is(json_span(json_getl(answer, "kind")), "Status");
	json_out_key(o, SPAN("responseStatus"));
	json_out_begin(o);
	json_out_key(o, SPAN("metadata"));
	json_out_begin(o);
	json_out_end(o);
	if (!status && c->audit->message)
		json_out_kspan(o, "message", span_of(c->audit->message));
	for (size_t i = 0; status && i < ARRAY_LEN(members); i++) {
		const struct json *v = json_get(answer, span_of(members[i]));
		if (v && i == 1 && c->audit->message)
			json_out_kspan(o, "message", span_of(c->audit->message));
		else if (v && !(v->kind == JSON_STRING && !v->n)) {
			json_out_key(o, span_of(members[i]));
			json_out_value(o, v);
		}
	}
	json_out_key(o, SPAN("code"));
	json_out_i64(o, code);
	json_out_end(o);
}

/* Go's %q of what is usual here: JSON's quoting differs in control characters alone. */
static void quoted(struct buf *b, const char *key, struct span s, const char *otherwise)
{
	buf_printf(b, " %s=", key);
	json_write_string(b, s.len ? s : span_of(otherwise), 0);
}

static void legacy_write(struct buf *b, struct call *c, enum audit_stage stage, int code)
{
	char text[40];
	const struct audit_call *ac = c->audit;
	const struct auth_user *u = c->acting ? &c->actor : &c->user, *as = c->acting ? &c->user : NULL;
	auto_buf struct buf groups = {}, as_groups = {};
	for (unsigned i = 0; i < u->n_groups; i++) {
		if (i)
			buf_chr(&groups, ',');
		json_write_string(&groups, u->groups[i], 0);
	}
	for (unsigned i = 0; as && i < as->n_groups; i++) {
		if (i)
			buf_chr(&as_groups, ',');
		json_write_string(&as_groups, as->groups[i], 0);
	}
	size_t len = time_format(text, ac->received_ns / NS_PER_S, (int32_t)(ac->received_ns % NS_PER_S), -1);
	buf_add(b, text, len);
	buf_str(b, " AUDIT:");
	quoted(b, "id", c->audit_id, "");
	quoted(b, "stage", span_of(audit_stage_names[stage]), "");
	quoted(b, "ip", ac->n_sources ? ac->sources[0] : SPAN_EMPTY, "<unknown>");
	quoted(b, "method", c->route.verb_name, "");
	quoted(b, "user", u->name, "<none>");
	quoted(b, "groups", buf_span(&groups), "<none>");
	quoted(b, "as", as ? as->name : SPAN_EMPTY, "<self>");
	quoted(b, "asgroups", buf_span(&as_groups), "<lookup>");
	quoted(b, "user-agent", ac->agent, "");
	quoted(b, "namespace", c->route.ns, "<none>");
	quoted(b, "uri", ac->target, "");
	if (code)
		buf_printf(b, " response=\"%d\"\n", code);
	else
		buf_str(b, " response=\"<deferred>\"\n");
}

/* ---- events */

static void event_put(struct call *c, enum audit_stage stage, int code, const struct json *answer, struct span response)
{
	struct audit *a = c->server->audit;
	struct audit_call *ac = c->audit;
	if (ac->verdict.omit & 1u << stage)
		return;
	atomic_fetch_add_explicit(&a->events, 1, memory_order_relaxed);
	if (!a->log)
		return;
	auto_buf struct buf b = {};
	if (a->legacy) {
		legacy_write(&b, c, stage, code);
		(void)audit_log_put(a->log, buf_seal(&b));
		return;
	}
	struct json_out o = { .buf = &b, .style = JSON_HTML };
	json_out_begin(&o);
	json_out_kspan(&o, "kind", SPAN("Event"));
	json_out_kspan(&o, "apiVersion", SPAN("audit.k8s.io/v1"));
	json_out_kspan(&o, "level", span_of(audit_level_names[ac->verdict.level]));
	json_out_kspan(&o, "auditID", c->audit_id);
	json_out_kspan(&o, "stage", span_of(audit_stage_names[stage]));
	json_out_kspan(&o, "requestURI", ac->target);
	json_out_kspan(&o, "verb", c->route.verb_name);
	write_user(&o, "user", c->acting ? &c->actor : &c->user);
	if (c->acting)
		write_user(&o, "impersonatedUser", &c->user);
	write_strings(&o, "sourceIPs", ac->sources, ac->n_sources);
	json_out_kspan(&o, "userAgent", ac->agent);
	write_object_ref(&o, c);
	if (stage != AUDIT_RECEIVED)
		write_response_status(&o, c, code, answer);
	if (stage != AUDIT_RECEIVED && ac->verdict.level >= AUDIT_REQUEST && ac->request.len) {
		json_out_key(&o, SPAN("requestObject"));
		json_out_raw(&o, ac->request);
	}
	if (stage == AUDIT_COMPLETE && ac->verdict.level >= AUDIT_RESPONSE && response.len) {
		json_out_key(&o, SPAN("responseObject"));
		json_out_raw(&o, response);
	}
	write_time(&o, "requestReceivedTimestamp", ac->received_ns);
	write_time(&o, "stageTimestamp", stage == AUDIT_RECEIVED ? ac->received_ns : clock_wall_ns(a->clock));
	write_notes(&o, c);
	json_out_end(&o);
	buf_chr(&b, '\n');
	(void)audit_log_put(a->log, buf_seal(&b));
}

/* The objects whose managedFields go: the one, a list's items, a Table's rows. */
static void managed_fields_remove(struct json *v)
{
	struct json *meta = json_getl(v, "metadata");
	if (json_is(meta, JSON_OBJECT))
		(void)json_remove(meta, SPAN("managedFields"));
	JSON_EACH_ITEM(json_getl(v, "items"), item) {
		struct json *of = json_getl(item, "metadata");
		if (json_is(of, JSON_OBJECT))
			(void)json_remove(of, SPAN("managedFields"));
	}
	JSON_EACH_ITEM(json_getl(v, "rows"), row) {
		struct json *of = json_path(row, "object", "metadata", NULL);
		if (json_is(of, JSON_OBJECT))
			(void)json_remove(of, SPAN("managedFields"));
	}
}

/* Any of the forms that are spoken here, as a tree. */
static bool tree_read(struct call *c, struct span content_type, struct span text, bool answer, struct json *out)
{
	struct span type = media_type(content_type);
	if (span_is(type, "application/vnd.kubernetes.protobuf")) {
		bool list = answer && c->route.verb == ROUTE_LIST;
		const struct api_type *t = !c->res ? NULL : list ? c->res->list_type : c->res->type;
		if (answer && c->err.class != ERR_NONE)
			t = api_type_find(SPAN("meta/v1.Status"));
		return t && api_decode_proto(&c->arena, t, text, out, NULL) == 0;
	}
	if (span_ends(type, SPAN("yaml")))
		return yaml_parse(&c->arena, text, 0, NULL, out, NULL) == 0;
	return json_parse(&c->arena, text, JSON_BORROW | JSON_DUPLICATES_LAST, NULL, out, NULL) == 0;
}

static struct span tree_text(struct call *c, struct json *v)
{
	auto_buf struct buf b = {};
	if (c->audit->verdict.omit_managed_fields)
		managed_fields_remove(v);
	json_write(&b, v, JSON_HTML);
	return arena_span(&c->arena, buf_span(&b));
}

/* ---- */

void audit_id(struct call *c)
{
	struct span given = http_req_header(c->http, "audit-id");
	if (given.len && http_value_ok(given)) { /* it is echoed */
		c->audit_id = arena_span(&c->arena, given);
		return;
	}
	uint8_t random[16];
	char text[37];
	rng_secret(random, sizeof(random));
	text_uuid(random, text);
	c->audit_id = arena_span(&c->arena, span_of(text));
}

static bool begin(struct call *c, const struct auth_user *user)
{
	struct audit *a = c->server->audit;
	if (!a)
		return false;
	struct auth_ask ask = call_ask(c);
	ask.user = user;
	struct audit_verdict v = audit_policy_match(atomic_load(&a->policy), &ask);
	atomic_fetch_add_explicit(&a->levels[v.level], 1, memory_order_relaxed);
	if (v.level == AUDIT_NONE)
		return false;
	c->audit = arena_new(&c->arena, struct audit_call);
	c->audit->verdict = v;
	c->audit->received_ns = clock_wall_ns(a->clock);
	c->audit->target = arena_span(&c->arena, http_req_target(c->http));
	c->audit->sources = arena_alloc_n(&c->arena, SOURCES_MAX, sizeof(*c->audit->sources));
	c->audit->n_sources = sources(c, c->audit->sources);
	struct span agent = http_req_header(c->http, "user-agent");
	c->audit->agent = agent.len > AGENT_MAX ? arena_printf(&c->arena, "%.*s...TRUNCATED", AGENT_MAX, agent.ptr)
						: arena_span(&c->arena, agent);
	return true;
}

void audit_begin(struct call *c)
{
	if (begin(c, &c->user))
		event_put(c, AUDIT_RECEIVED, 0, NULL, SPAN_EMPTY);
}

void audit_unauthenticated(struct call *c)
{
	struct span h = span_trim(http_req_header(c->http, "authorization")), scheme, rest;
	auto_buf struct buf methods = {};
	(void)span_split(h, ' ', &scheme, &rest);
	if (span_eq_nocase(scheme, SPAN("basic")))
		buf_str(&methods, "basic");
	if (span_eq_nocase(scheme, SPAN("bearer")))
		buf_str(&methods, "bearer");
	if (http_req_peer(c->http)->cert)
		buf_printf(&methods, "%sx509", methods.len ? ", " : "");
	if (!begin(c, NULL))
		return;
	c->audit->message = methods.len ? arena_printf(&c->arena, "Authentication failed, attempted: %s", buf_cstr(&methods)).ptr
					: "Authentication failed, no credentials provided";
	event_put(c, AUDIT_STARTED, 401, NULL, SPAN_EMPTY);
	c->audit->complete = true;
}

void audit_request(struct call *c, struct span body)
{
	struct json v;
	bool write = c->route.verb == ROUTE_CREATE || c->route.verb == ROUTE_UPDATE;
	if (!c->audit || !body.len || !(write || c->audit->verdict.level >= AUDIT_REQUEST) ||
	    !tree_read(c, http_req_header(c->http, "content-type"), body, false, &v))
		return;
	const struct json *meta = json_getl(&v, "metadata");
	if (write) {
		c->audit->name = arena_span(&c->arena, json_span(json_getl(meta, "name")));
		c->audit->uid = arena_span(&c->arena, json_span(json_getl(meta, "uid")));
		c->audit->revision = arena_span(&c->arena, json_span(json_getl(meta, "resourceVersion")));
	}
	if (c->audit->verdict.level >= AUDIT_REQUEST)
		c->audit->request = tree_text(c, &v);
}

void audit_started(struct call *c, int code)
{
	if (c->audit && !c->audit->complete)
		event_put(c, AUDIT_STARTED, code, NULL, SPAN_EMPTY);
}

bool audit_wants_answer(const struct call *c)
{
	return c->audit && !c->audit->complete && c->audit->verdict.level >= AUDIT_RESPONSE && c->server->audit->log &&
	       !(c->audit->verdict.omit & 1u << AUDIT_COMPLETE);
}

void audit_complete(struct call *c, int code, const char *content_type, struct span body)
{
	struct json v;
	if (!c->audit || c->audit->complete)
		return;
	c->audit->complete = true;
	bool wanted = body.len && (c->audit->verdict.level >= AUDIT_RESPONSE || c->err.class != ERR_NONE ||
				   c->route.verb == ROUTE_DELETE || c->route.verb == ROUTE_DELETECOLLECTION);
	bool read = wanted && c->route.is_resource && tree_read(c, span_of(content_type), body, true, &v);
	struct span response = read && c->audit->verdict.level >= AUDIT_RESPONSE ? tree_text(c, &v) : SPAN_EMPTY;
	event_put(c, AUDIT_COMPLETE, code, read ? &v : NULL, response);
}
