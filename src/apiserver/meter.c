#include "apiserver/meter.h"

#include "apiserver/gates.h"
#include "metrics/metrics.h"

#include <math.h>

#define CACHE_SLOTS 128 /* a power of two */

enum { FLOW_LEVELS = FLOW_KIND_COUNT + 1 }; /* the last: exempt */
enum { OPERATIONS = 4 };

enum {
	REQUESTS,
	DURATION,
	SLI_DURATION,
	SIZES,
	LONG_RUNNING,
	ABORTS,
	DROPPED,
	ATTEMPTS,
	AUTHENTICATION,
	USERS,
	TOKENS,
	TOKEN_TIME,
	TOKEN_FETCHES,
	STORE_DURATION,
	STORE_REQUESTS,
	TERMINATIONS,
	ADMISSION_STEPS,
	PLUGINS,
	AUTHORIZATIONS,
	AUTHORIZATION,
	WATCH_EVENTS,
	WATCH_SIZES,
	DISPATCHED,
	REJECTED,
	FAMILIES
};

static const double request_bounds[] = { 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1,  1.25, 1.5, 2,
					 3,	4,     5,    6,	  8,   10,  15,	 20,  30, 45,	60,  INFINITY };
static const double admission_bounds[] = { 0.005, 0.025, 0.1, 0.5, 1, 2.5, INFINITY };
static const double auth_bounds[] = { 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128,
				      0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384, INFINITY };
static const double event_bounds[] = { 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, INFINITY };
static const double size_bounds[] = { 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, INFINITY };

static const struct metrics_family families[FAMILIES] = {
	[REQUESTS] = { "apiserver_request_total",
		       "Requests by verb, dry run value, group, version, resource, scope, component and HTTP response code.",
		       METRICS_COUNTER,
		       .labels = { "code", "component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version" },
		       .max_series = 2000 },
	[DURATION] = { "apiserver_request_duration_seconds",
		       "Time from the header of a request to the end of its answer.", METRICS_HISTOGRAM,
		       .labels = { "component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version" },
		       .bounds = request_bounds },
	[SLI_DURATION] = { "apiserver_request_sli_duration_seconds", "The same without waiting for webhooks; there are none.",
			   METRICS_HISTOGRAM,
			   .labels = { "component", "group", "resource", "scope", "subresource", "verb", "version" },
			   .bounds = request_bounds },
	[SIZES] = { "apiserver_response_sizes", "Bytes of an answer's body before compression.", METRICS_HISTOGRAM,
		    .labels = { "component", "group", "resource", "scope", "subresource", "verb", "version" },
		    .bounds = size_bounds },
	[LONG_RUNNING] = { "apiserver_longrunning_requests", "Watches and streams that are open.", METRICS_GAUGE,
			   .labels = { "component", "group", "resource", "scope", "subresource", "verb", "version" } },
	[ABORTS] = { "apiserver_request_aborts_total", "Requests that ended without an answer.", METRICS_COUNTER,
		     .labels = { "group", "resource", "scope", "subresource", "verb", "version" } },
	[DROPPED] = { "apiserver_dropped_requests_total", "Requests refused with 429.", METRICS_COUNTER,
		      .labels = { "request_kind" } },
	[ATTEMPTS] = { "authentication_attempts", "Attempts to authenticate by result.", METRICS_COUNTER, .labels = { "result" } },
	[AUTHENTICATION] = { "authentication_duration_seconds", "Time of authenticating by result.", METRICS_HISTOGRAM,
			     .labels = { "result" }, .bounds = auth_bounds },
	[USERS] = { "authenticated_user_requests", "Requests that were authenticated, by well-known user names.", METRICS_COUNTER,
		    .labels = { "username" } },
	/* What is kept is that a signature held; who a token speaks for is looked up each time. */
	[TOKENS] = { "authentication_token_cache_request_total", "Tokens that were known (hit) or had to be verified (miss).",
		     METRICS_COUNTER, .labels = { "status" } },
	[TOKEN_TIME] = { "authentication_token_cache_request_duration_seconds", "Time of looking at a token.", METRICS_HISTOGRAM,
			 .labels = { "status" }, .bounds = metrics_bounds_seconds },
	[TOKEN_FETCHES] = { "authentication_token_cache_fetch_total", "Tokens that were verified, by whether they were good.",
			    METRICS_COUNTER, .labels = { "status" } },
	[STORE_DURATION] = { "etcd_request_duration_seconds", "Time of an operation of the store.", METRICS_HISTOGRAM,
			     .labels = { "operation", "type" }, .bounds = request_bounds },
	[STORE_REQUESTS] = { "etcd_requests_total", "Operations of the store.", METRICS_COUNTER,
			     .labels = { "operation", "type" } },
	[TERMINATIONS] = { "apiserver_request_terminations_total",
			   "Requests that the server ended in self-defence: too many at once, or not done in time.", METRICS_COUNTER,
			   .labels = { "code", "component", "group", "resource", "scope", "subresource", "verb", "version" } },
	[ADMISSION_STEPS] = { "apiserver_admission_step_admission_duration_seconds",
			      "Time of all plugins together, by operation, pass and verdict.", METRICS_HISTOGRAM,
			      .labels = { "operation", "rejected", "type" }, .bounds = admission_bounds },
	[PLUGINS] = { "apiserver_admission_controller_admission_duration_seconds",
		      "Time of a plugin, by operation, pass and verdict.", METRICS_HISTOGRAM,
		      .labels = { "name", "operation", "rejected", "type" }, .bounds = admission_bounds },
	[AUTHORIZATIONS] = { "authorization_attempts_total", "Questions to the authorizers by result.", METRICS_COUNTER,
			     .labels = { "result" } },
	[AUTHORIZATION] = { "authorization_duration_seconds", "Time of asking the authorizers by result.", METRICS_HISTOGRAM,
			    .labels = { "result" }, .bounds = auth_bounds },
	[WATCH_EVENTS] = { "apiserver_watch_events_total", "Events sent to watches, bookmarks too.", METRICS_COUNTER,
			   .labels = { "group", "kind", "version" } },
	[WATCH_SIZES] = { "apiserver_watch_events_sizes", "Bytes of an event that is sent to a watch.", METRICS_HISTOGRAM,
			  .labels = { "group", "kind", "version" }, .bounds = event_bounds },
	/* There are no flow schemas here: the two classes of the limiter, and who is exempt, are the priority levels. */
	[DISPATCHED] = { "apiserver_flowcontrol_dispatched_requests_total", "Requests that were let in.", METRICS_COUNTER,
			 .labels = { "priority_level" } },
	[REJECTED] = { "apiserver_flowcontrol_rejected_requests_total", "Requests refused with 429.", METRICS_COUNTER,
		       .labels = { "priority_level", "reason" } },
};

/* What a request is counted as. */
struct kind {
	uint64_t generation;
	const struct api_resource *res;
	const struct api_subresource *sub;
	const char *verb, *scope, *path;
	int code;
	bool dry_run;
};
struct cached {
	struct kind kind;
	struct metrics_series *requests, *duration, *sli, *sizes;
};

enum { STORE_OPERATIONS = 3, STORE_SLOTS = 64 /* a power of two */ };
static const char *const store_operations[STORE_OPERATIONS] = { "create", "update", "delete" };
struct stored { /* what a commit is counted as, found in the same way */
	uint64_t generation;
	const struct api_resource *res;
	struct {
		struct metrics_series *requests, *duration; /* made when first needed */
	} of[STORE_OPERATIONS];
};

/* Names of users are no labels; a few that every cluster has are, and two for all others. */
static const char *const user_names[] = { "admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default",
					  "email_id", "other" };
enum { USER_EMAIL = ARRAY_LEN(user_names) - 2, USER_OTHER };

struct meter_worker {
	struct metrics *m;
	struct metrics_table *t;
	struct metrics_series *dropped[2], *dispatched[FLOW_LEVELS], *rejected[2];
	struct metrics_series *attempts[METER_AUTHN_COUNT], *authentication[METER_AUTHN_COUNT];
	struct metrics_series *decided[METER_AUTHZ_COUNT], *authorization[METER_AUTHZ_COUNT];
	struct metrics_series *tokens[2], *token_time[2], *token_fetches[2];
	struct metrics_series *admitted[OPERATIONS][2][2]; /* operation, pass, verdict; made when first needed */
	struct metrics_series *(*plugins)[OPERATIONS][2][2]; /* by plugin; the same */
	struct metrics_series *users[ARRAY_LEN(user_names)];
	struct stored stored[STORE_SLOTS];
	struct cached cache[CACHE_SLOTS];
};

static const char *const authn_names[METER_AUTHN_COUNT] = {
	[METER_AUTHN_SUCCESS] = "success", [METER_AUTHN_FAILURE] = "failure", [METER_AUTHN_ERROR] = "error"
};
static const char *const authz_names[METER_AUTHZ_COUNT] = {
	[METER_AUTHZ_ALLOWED] = "allowed", [METER_AUTHZ_DENIED] = "denied", [METER_AUTHZ_NO_OPINION] = "no-opinion"
};
static const char *const level_names[FLOW_LEVELS] = { "readOnly", "mutating", "exempt" };

static const char *const deprecated[] = { "endpoints", "componentstatuses" }; /* of v1 */

struct meter {
	struct apiserver *s;
	struct metrics *all[METRICS_SUM_MAX];
	unsigned n;
	atomic_bool deprecated[ARRAY_LEN(deprecated)]; /* somebody has asked for it since the start */
};

/* ---- what a request is */

static const char *verb_of(const struct call *c)
{
	static const char *const names[ROUTE_VERB_COUNT] = {
		[ROUTE_GET] = "GET",	[ROUTE_LIST] = "LIST",	 [ROUTE_WATCH] = "WATCH",
		[ROUTE_CREATE] = "POST", [ROUTE_UPDATE] = "PUT", [ROUTE_PATCH] = "PATCH",
		[ROUTE_DELETE] = "DELETE", [ROUTE_DELETECOLLECTION] = "DELETECOLLECTION",
	};
	static const char *const methods[] = { "get", "post", "put", "patch", "delete", "head", "options" };
	static const char *const words[] = { "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS" };
	const struct route *r = &c->route;
	if (r->is_resource && c->long_running && r->verb != ROUTE_WATCH && !span_is(r->subresource, "log"))
		return "CONNECT";
	if (c->applied)
		return "APPLY";
	if (r->is_resource && r->verb < ROUTE_OTHER)
		return names[r->verb];
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (span_is(r->verb_name, methods[i]))
			return words[i];
	return "other";
}

/* Paths that upstream tells apart; any other is one. */
static const char *path_of(const struct route *r)
{
	static const char *const paths[] = { "/healthz", "/livez", "/readyz", "/metrics", "/version" };
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (span_is(r->path, paths[i]) ||
		    (i < 3 && span_starts(r->path, span_of(paths[i])) && r->path.len > strlen(paths[i]) &&
		     r->path.ptr[strlen(paths[i])] == '/'))
			return paths[i];
	return "";
}

static struct kind kind_of(const struct call *c)
{
	const struct route *r = &c->route;
	struct kind k = { .generation = api_registry_generation(c->registry),
			  .verb = verb_of(c),
			  .scope = "",
			  .path = "",
			  .code = c->code,
			  .dry_run = c->dry_run };
	if (!r->is_resource) {
		k.path = path_of(r);
		return k;
	}
	/* What clients ask for and is not there must not become a label. */
	k.res = c->res ? c->res : api_registry_find(c->registry, r->group, r->version, r->resource);
	if (k.res)
		k.sub = r->subresource.len ? api_resource_sub(k.res, r->subresource) : NULL;
	k.scope = (r->name.len && !r->name_from_selector) || r->verb == ROUTE_CREATE ? "resource" : r->ns.len ? "namespace" : "cluster";
	return k;
}

static bool kind_same(const struct kind *a, const struct kind *b)
{
	return a->generation == b->generation && a->res == b->res && a->sub == b->sub && a->verb == b->verb &&
	       a->scope == b->scope && a->path == b->path && a->code == b->code && a->dry_run == b->dry_run;
}

static unsigned kind_slot(const struct kind *k)
{
	uint64_t h = (uint64_t)(uintptr_t)k->res ^ (uint64_t)(uintptr_t)k->sub << 7 ^ (uint64_t)(uintptr_t)k->verb << 3 ^
		     (uint64_t)(uintptr_t)k->scope << 11 ^ (uint64_t)k->code << 17 ^ (uint64_t)(uintptr_t)k->path;
	return (unsigned)(h * 0x9e3779b97f4a7c15u >> 40) & (CACHE_SLOTS - 1);
}

struct labels {
	struct span group, resource, scope, sub, verb, version;
};

static struct labels labels_of(const struct kind *k)
{
	return (struct labels){ .group = k->res ? k->res->group : SPAN(""),
				.resource = k->res ? k->res->plural : SPAN(""),
				.scope = span_of(k->scope),
				.sub = k->sub ? k->sub->name : span_of(k->path),
				.verb = span_of(k->verb),
				.version = k->res ? k->res->version : SPAN("") };
}

static struct cached *find(struct meter_worker *w, const struct kind *k)
{
	struct cached *c = &w->cache[kind_slot(k)];
	if (c->requests && kind_same(&c->kind, k))
		return c;
	struct labels l = labels_of(k);
	char code[16];
	(void)snprintf(code, sizeof(code), "%d", k->code);
	struct span component = SPAN("apiserver"), dry = k->dry_run ? SPAN("All") : SPAN("");
	c->kind = *k;
	c->requests = METRICS_SERIES(w->t, REQUESTS, span_of(code), component, dry, l.group, l.resource, l.scope, l.sub, l.verb,
				     l.version);
	c->duration =
		METRICS_SERIES(w->t, DURATION, component, dry, l.group, l.resource, l.scope, l.sub, l.verb, l.version);
	c->sli = METRICS_SERIES(w->t, SLI_DURATION, component, l.group, l.resource, l.scope, l.sub, l.verb, l.version);
	bool reads = strcmp(k->verb, "GET") == 0 || strcmp(k->verb, "LIST") == 0;
	c->sizes = reads ? METRICS_SERIES(w->t, SIZES, component, l.group, l.resource, l.scope, l.sub, l.verb, l.version) : NULL;
	return c;
}

/* ---- counting */

void meter_begin(struct call *c)
{
	if (c->route.verb == ROUTE_PATCH)
		c->applied = span_starts(media_type(http_req_header(c->http, "content-type")), SPAN("application/apply-patch"));
	if (!c->long_running)
		return;
	struct kind k = kind_of(c);
	struct labels l = labels_of(&k);
	c->gauge = METRICS_SERIES(c->w->meter->t, LONG_RUNNING, SPAN("apiserver"), l.group, l.resource, l.scope, l.sub, l.verb,
				  l.version);
	metrics_add(c->gauge, 1);
}

void meter_request(struct call *c)
{
	struct meter_worker *w = c->w->meter;
	if (c->gauge)
		metrics_add(c->gauge, -1);
	if (!c->code && c->route.verb == ROUTE_LIST)
		c->code = 200; /* it was streamed */
	struct kind k = kind_of(c);
	if (!c->code) {
		struct labels l = labels_of(&k);
		metrics_inc(METRICS_SERIES(w->t, ABORTS, l.group, l.resource, l.scope, l.sub, l.verb, l.version));
		return;
	}
	struct cached *f = find(w, &k);
	metrics_inc(f->requests);
	if (c->long_running)
		return; /* how long somebody watched says nothing */
	double took_s = (double)(clock_mono_ns(c->server->clock) - c->begun_ns) / 1e9;
	metrics_observe(f->duration, took_s);
	metrics_observe(f->sli, took_s);
	if (f->sizes && c->answer_bytes)
		metrics_observe(f->sizes, (double)c->answer_bytes);
}

static unsigned user_label(struct span name)
{
	for (unsigned i = 0; i < USER_EMAIL; i++)
		if (span_is(name, user_names[i]))
			return i;
	return span_chr(name, '@') >= 0 ? USER_EMAIL : USER_OTHER;
}

void meter_authenticated(struct worker *w, enum meter_authn result, struct span user, int64_t took_ns)
{
	metrics_inc(w->meter->attempts[result]);
	metrics_observe(w->meter->authentication[result], (double)took_ns / 1e9);
	if (result != METER_AUTHN_SUCCESS)
		return;
	unsigned label = user_label(user);
	struct metrics_series **s = &w->meter->users[label];
	if (!*s)
		*s = METRICS_SERIES(w->meter->t, USERS, span_of(user_names[label]));
	metrics_inc(*s);
}

void meter_authorized(struct worker *w, enum meter_authz result, int64_t took_ns)
{
	metrics_inc(w->meter->decided[result]);
	metrics_observe(w->meter->authorization[result], (double)took_ns / 1e9);
}

void meter_token(struct worker *w, bool known, bool good, int64_t took_ns)
{
	metrics_inc(w->meter->tokens[known]);
	metrics_observe(w->meter->token_time[known], (double)took_ns / 1e9);
	if (!known)
		metrics_inc(w->meter->token_fetches[good]);
}

void meter_watch(struct worker *w, const struct api_resource *res, struct meter_events *out)
{
	out->sent = METRICS_SERIES(w->meter->t, WATCH_EVENTS, res->group, res->kind, res->version);
	out->sizes = METRICS_SERIES(w->meter->t, WATCH_SIZES, res->group, res->kind, res->version);
}

void meter_events(const struct meter_events *e, size_t bytes, unsigned watches)
{
	metrics_add(e->sent, watches);
	metrics_observe_n(e->sizes, (double)bytes, watches);
}

void meter_dispatched(struct worker *w, bool writing, bool exempt)
{
	metrics_inc(w->meter->dispatched[exempt ? FLOW_LEVELS - 1 : writing]);
}

void meter_dropped(struct worker *w, bool writing)
{
	metrics_inc(w->meter->dropped[writing]);
	metrics_inc(w->meter->rejected[writing]);
}

void meter_terminated(struct call *c, int code)
{
	struct kind k = kind_of(c);
	struct labels l = labels_of(&k);
	char text[16];
	(void)snprintf(text, sizeof(text), "%d", code);
	metrics_inc(METRICS_SERIES(c->w->meter->t, TERMINATIONS, span_of(text), SPAN("apiserver"), l.group, l.resource, l.scope, l.sub,
				   l.verb, l.version));
}

void meter_deprecated(struct call *c)
{
	for (size_t i = 0; i < ARRAY_LEN(deprecated); i++)
		if (c->res && span_is(c->res->plural, deprecated[i]))
			atomic_store_explicit(&c->server->meter->deprecated[i], true, memory_order_relaxed);
}

static const char *const operations[OPERATIONS] = { "CREATE", "UPDATE", "DELETE", "CONNECT" };

static unsigned operation_of(enum admission_op op)
{
	return op == ADMISSION_CREATE ? 0 : op == ADMISSION_UPDATE ? 1 : op == ADMISSION_DELETE ? 2 : 3;
}

static const char *pass_of(bool validating)
{
	return validating ? "validate" : "admit";
}

void meter_admitted(struct call *c, enum admission_op op, bool validating, bool refused, int64_t began_ns)
{
	struct meter_worker *w = c->w->meter;
	unsigned at = operation_of(op);
	struct metrics_series **s = &w->admitted[at][validating][refused];
	if (!*s)
		*s = METRICS_SERIES(w->t, ADMISSION_STEPS, span_of(operations[at]), refused ? SPAN("true") : SPAN("false"),
				    span_of(pass_of(validating)));
	metrics_observe(*s, (double)(clock_mono_ns(c->server->clock) - began_ns) / 1e9);
}

void meter_plugin(struct worker *worker, unsigned plugin, enum admission_op op, bool validating, bool refused, int64_t took_ns)
{
	struct meter_worker *w = worker->meter;
	bool quota = plugin == METER_QUOTA;
	unsigned at = operation_of(op), n = quota ? admission_plugin_n() : plugin;
	struct metrics_series **s = &w->plugins[n][at][validating][refused];
	if (!*s)
		*s = METRICS_SERIES(w->t, PLUGINS, span_of(quota ? "ResourceQuota" : admission_plugin_at(plugin)->name),
				    span_of(operations[at]), refused ? SPAN("true") : SPAN("false"), span_of(pass_of(validating)));
	metrics_observe(*s, (double)took_ns / 1e9);
}

void meter_committed(struct call *c)
{
	struct meter_worker *w = c->w->meter;
	enum route_verb v = c->route.verb;
	unsigned op = v == ROUTE_DELETE || v == ROUTE_DELETECOLLECTION ? 2 : v == ROUTE_CREATE ? 0 : 1;
	uint64_t generation = api_registry_generation(c->registry);
	struct stored *s = &w->stored[((uint64_t)(uintptr_t)c->res * 0x9e3779b97f4a7c15u >> 40) & (STORE_SLOTS - 1)];
	if (s->generation != generation || s->res != c->res)
		*s = (struct stored){ .generation = generation, .res = c->res };
	if (!s->of[op].requests) {
		auto_buf struct buf type = {};
		struct span name = span_of(store_operations[op]);
		if (c->res)
			buf_printf(&type, "%.*s%s%.*s", SPAN_ARG(c->res->plural), c->res->group.len ? "." : "", SPAN_ARG(c->res->group));
		s->of[op].requests = METRICS_SERIES(w->t, STORE_REQUESTS, name, buf_span(&type));
		s->of[op].duration = METRICS_SERIES(w->t, STORE_DURATION, name, buf_span(&type));
	}
	metrics_inc(s->of[op].requests);
	metrics_observe(s->of[op].duration, (double)(clock_mono_ns(c->server->clock) - c->commit_ns) / 1e9);
}

/* ---- the page */

static void emit(struct metrics_writer *w, const char *label, struct span value, double number)
{
	metrics_emit(w, &label, &value, 1, number);
}

static void collect_store(struct metrics_writer *w, struct apiserver *s)
{
	struct store_status st;
	store_status(s->store, &st);
	metrics_emit_family(w, "apiserver_storage_size_bytes", "Size of the store on disk.", METRICS_GAUGE);
	emit(w, "storage_cluster_id", SPAN("knarr"), (double)st.disk_bytes);
	metrics_emit_family(w, "apiserver_storage_objects", "Stored objects by resource.", METRICS_GAUGE);
	struct api_registry_cache held = {};
	struct api_registry *r = api_registry_get(s->registry, &held);
	struct store_snapshot *snap = store_snapshot(s->store);
	for (unsigned i = 0; i < api_registry_n(r); i++) {
		const struct api_resource *res = api_registry_at(r, i);
		auto_buf struct buf prefix = {}, name = {};
		/* Versions of one resource share their objects: told once, under the version that is stored. */
		if (!res->storage_kind.len || res->served != API_SERVED || !span_eq(res->storage_version, res->version) ||
		    !span_eq(res->storage_group, res->group))
			continue;
		object_key(&prefix, res, SPAN_EMPTY, SPAN_EMPTY);
		buf_printf(&name, "%.*s%s%.*s", SPAN_ARG(res->plural), res->group.len ? "." : "", SPAN_ARG(res->group));
		emit(w, "resource", buf_span(&name), (double)store_count(snap, buf_span(&prefix)));
	}
	store_snapshot_unref(snap);
	api_registry_cache_done(&held);
}

static void collect_flow(struct metrics_writer *w, struct apiserver *s)
{
	metrics_emit_family(w, "apiserver_flowcontrol_nominal_limit_seats", "How many requests of a class may run at once.",
			    METRICS_GAUGE);
	for (int i = 0; i < FLOW_KIND_COUNT; i++)
		emit(w, "priority_level", span_of(level_names[i]), (double)s->flow.classes[i].limit);
	metrics_emit_family(w, "apiserver_flowcontrol_current_executing_requests", "Requests that run, long-running ones aside.",
			    METRICS_GAUGE);
	int64_t exempt = 0;
	for (int i = 0; i < FLOW_KIND_COUNT; i++) {
		int64_t free_of_limit = flow_exempt(&s->flow, (enum flow_kind)i);
		exempt += free_of_limit;
		emit(w, "priority_level", span_of(level_names[i]), (double)(flow_now(&s->flow, (enum flow_kind)i) - free_of_limit));
	}
	emit(w, "priority_level", SPAN("exempt"), (double)exempt);
}

static void collect_deprecated(struct metrics_writer *w, struct apiserver *s)
{
	static const char *const labels[] = { "group", "removed_release", "resource", "subresource", "version" };
	metrics_emit_family(w, "apiserver_requested_deprecated_apis", "Deprecated versions that were asked for since the start.",
			    METRICS_GAUGE);
	for (size_t i = 0; i < ARRAY_LEN(deprecated); i++) {
		const struct span values[] = { SPAN(""), SPAN(""), span_of(deprecated[i]), SPAN(""), SPAN("v1") };
		if (atomic_load_explicit(&s->meter->deprecated[i], memory_order_relaxed))
			metrics_emit(w, labels, values, ARRAY_LEN(labels), 1);
	}
}

static void collect(struct metrics_writer *w, void *arg)
{
	struct apiserver *s = ((struct meter *)arg)->s;
	static const char *const info[] = { "git_version", "major", "minor", "platform" };
	const struct span values[] = { SPAN("v1.33.0+knarr." KNARR_VERSION), SPAN("1"), SPAN("33"), SPAN("linux/amd64") };
	metrics_emit_family(w, "apiserver_current_inflight_requests", "Requests in flight, long-running ones aside.",
			    METRICS_GAUGE);
	emit(w, "request_kind", SPAN("mutating"), (double)flow_now(&s->flow, FLOW_WRITING));
	emit(w, "request_kind", SPAN("readOnly"), (double)flow_now(&s->flow, FLOW_READING));
	metrics_emit_family(w, "kubernetes_build_info", "Version of the API that is served.", METRICS_GAUGE);
	metrics_emit(w, info, values, ARRAY_LEN(info), 1);
	metrics_emit_family(w, "kubernetes_feature_enabled", "Feature gates.", METRICS_GAUGE);
	for (unsigned i = 0; i < gates_n(); i++) {
		static const char *const labels[] = { "name", "stage" };
		const char *stage;
		bool on;
		const char *name = gates_at(i, &stage, &on);
		const struct span gate[] = { span_of(name), span_of(stage) };
		metrics_emit(w, labels, gate, 2, on);
	}
	/* A token is verified within one turn of a loop: nobody ever waits for another's look-up. */
	metrics_emit_family(w, "authentication_token_cache_active_fetch_count", "Tokens that are being verified.", METRICS_GAUGE);
	emit(w, "status", SPAN("blocked"), 0);
	emit(w, "status", SPAN("in_flight"), 0);
	collect_flow(w, s);
	collect_deprecated(w, s);
	collect_store(w, s);
	audit_metrics(s->audit, w);
}

void meter_page(struct apiserver *s, struct buf *out)
{
	metrics_write_sum(s->meter->all, s->meter->n, out);
}

/* ---- life */

struct meter *meter_new(struct apiserver *s)
{
	struct meter *m = mem_new(struct meter);
	m->s = s;
	return m;
}

void meter_free(struct meter *m)
{
	free(m);
}

void meter_worker_init(struct worker *w)
{
	struct meter *m = w->server->meter;
	struct meter_worker *mw = mem_new(struct meter_worker);
	w->meter = mw;
	mw->m = metrics_new();
	mw->t = metrics_register(mw->m, families, FAMILIES);
	mw->dropped[0] = METRICS_SERIES(mw->t, DROPPED, SPAN("readOnly"));
	mw->dropped[1] = METRICS_SERIES(mw->t, DROPPED, SPAN("mutating"));
	for (int i = 0; i < METER_AUTHN_COUNT; i++) {
		mw->attempts[i] = METRICS_SERIES(mw->t, ATTEMPTS, span_of(authn_names[i]));
		mw->authentication[i] = METRICS_SERIES(mw->t, AUTHENTICATION, span_of(authn_names[i]));
	}
	for (int i = 0; i < METER_AUTHZ_COUNT; i++) {
		mw->decided[i] = METRICS_SERIES(mw->t, AUTHORIZATIONS, span_of(authz_names[i]));
		mw->authorization[i] = METRICS_SERIES(mw->t, AUTHORIZATION, span_of(authz_names[i]));
	}
	for (int i = 0; i < 2; i++) {
		mw->tokens[i] = METRICS_SERIES(mw->t, TOKENS, i ? SPAN("hit") : SPAN("miss"));
		mw->token_time[i] = METRICS_SERIES(mw->t, TOKEN_TIME, i ? SPAN("hit") : SPAN("miss"));
		mw->token_fetches[i] = METRICS_SERIES(mw->t, TOKEN_FETCHES, i ? SPAN("ok") : SPAN("error"));
	}
	mw->plugins = mem_zalloc((admission_plugin_n() + 1) * sizeof(*mw->plugins));
	for (int i = 0; i < FLOW_LEVELS; i++)
		mw->dispatched[i] = METRICS_SERIES(mw->t, DISPATCHED, span_of(level_names[i]));
	for (int i = 0; i < FLOW_KIND_COUNT; i++)
		mw->rejected[i] = METRICS_SERIES(mw->t, REJECTED, span_of(level_names[i]), SPAN("concurrency-limit"));
	if (!m->n) {
		metrics_collector_add(mw->m, collect, m);
		metrics_process_add(mw->m);
	}
	m->all[m->n++] = mw->m;
}

void meter_worker_done(struct worker *w)
{
	if (!w->meter)
		return;
	metrics_free(w->meter->m);
	free(w->meter->plugins);
	free(w->meter);
	w->meter = NULL;
}
