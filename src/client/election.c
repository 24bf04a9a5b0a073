/* Leader election on a Lease, by the rules of client-go's leaderelection: who sees the lease unchanged for its duration, by its own
 * clock, may take it. */
#include "client/private.h"

#include <unistd.h>

#define LEASE_MS 15000
#define DEADLINE_MS 10000
#define RETRY_MS 2000

static const struct client_kind leases = { SPAN_INIT("coordination.k8s.io"), SPAN_INIT("v1"), SPAN_INIT("leases"), true };

struct client_election {
	struct client_election_params p;
	struct client *client;
	struct arena arena;     /* of the parameters */
	struct arena seen;      /* of the lease as read last */
	struct json lease;      /* null: none seen */
	struct buf holder, state; /* whom we saw; all of its spec, to see a change */
	int64_t changed_ms;     /* when state changed last, by our clock */
	struct client_call *call;
	struct loop_timer timer, deadline;
	bool leads, ending;
	void (*ended)(void *arg);
	void *ended_arg;
};

static void look(struct loop_timer *t);

static void election_free(struct client_election *e)
{
	loop_timer_stop(&e->timer);
	loop_timer_stop(&e->deadline);
	buf_done(&e->holder);
	buf_done(&e->state);
	arena_done(&e->seen);
	arena_done(&e->arena);
	free(e);
}

static void finish(struct client_election *e)
{
	void (*ended)(void *arg) = e->ended;
	void *arg = e->ended_arg;
	election_free(e);
	ended(arg);
}

static void again(struct client_election *e)
{
	/* client-go's JitterFactor 1.2: rivals do not march in step */
	unsigned jitter = e->leads ? 0 : (unsigned)rng_below(&e->client->rng, e->p.retry_ms * 12 / 10 + 1);
	loop_timer_start(&e->timer, e->p.retry_ms + jitter);
}

static void lose(struct client_election *e, const struct err *why)
{
	if (!e->leads)
		return;
	e->leads = false;
	loop_timer_stop(&e->deadline);
	if (e->p.stopped)
		e->p.stopped(e, why, e->p.arg);
}

static void on_deadline(struct loop_timer *t)
{
	struct client_election *e = container_of(t, struct client_election, deadline);
	auto_err struct err why = ERR_INIT;
	err_set(&why, ERR_TIMEOUT, "lease %.*s/%.*s could not be renewed for %u ms", SPAN_ARG(e->p.ns), SPAN_ARG(e->p.name),
		e->p.renew_deadline_ms);
	lose(e, &why);
}

/* Takes in what the server has. */
static int observe(struct client_election *e, struct span body, struct err *err)
{
	arena_reset(&e->seen);
	e->lease = JSON_NULL_VALUE;
	int rc = json_parse(&e->seen, arena_span(&e->seen, body), JSON_BORROW, NULL, &e->lease, err);
	if (rc < 0)
		return rc;
	auto_buf struct buf state = {};
	const struct json *spec = json_getl(&e->lease, "spec");
	if (spec)
		json_write(&state, spec, 0);
	struct span holder = json_span(json_getl(spec, "holderIdentity"));
	buf_trunc(&e->holder, 0);
	buf_span_add(&e->holder, holder);
	if (!span_eq(buf_span(&state), buf_span(&e->state))) {
		buf_trunc(&e->state, 0);
		buf_span_add(&e->state, buf_span(&state));
		e->changed_ms = loop_now_ms(e->client->loop);
	}
	return 0;
}

/* The lease as it is to be, ours or given back, built on what was seen. */
static void compose(struct client_election *e, bool release, struct buf *out)
{
	auto_arena struct arena a = {};
	struct json lease = e->lease.kind == JSON_OBJECT ? json_copy(&a, &e->lease) : json_object();
	struct json *meta = json_getl(&lease, "metadata");
	char now[40];
	int64_t ns = loop_wall_ns(e->client->loop);
	const struct json *old = json_getl(&lease, "spec");
	bool same = span_eq(json_span(json_getl(old, "holderIdentity")), e->p.identity);
	int64_t transitions = json_i64(json_getl(old, "leaseTransitions"), 0);
	struct json acquired = json_getl(old, "acquireTime") ? *json_getl(old, "acquireTime") : JSON_NULL_VALUE;
	time_format(now, ns / NS_PER_S, (int32_t)(ns % NS_PER_S), 6);
	if (!meta) {
		(void)json_setl(&a, &lease, "apiVersion", json_cstr("coordination.k8s.io/v1"));
		(void)json_setl(&a, &lease, "kind", json_cstr("Lease"));
		meta = json_setl(&a, &lease, "metadata", json_object());
		(void)json_setl(&a, meta, "name", json_str(e->p.name));
		(void)json_setl(&a, meta, "namespace", json_str(e->p.ns));
	}
	struct json spec = json_object();
	if (!same || acquired.kind != JSON_STRING || release)
		acquired = json_cstr(now);
	if (!same && old)
		transitions++;
	(void)json_setl(&a, &spec, "holderIdentity", release ? json_cstr("") : json_str(e->p.identity));
	(void)json_setl(&a, &spec, "leaseDurationSeconds", json_int(release ? 1 : e->p.lease_ms / 1000));
	(void)json_setl(&a, &spec, "acquireTime", acquired);
	(void)json_setl(&a, &spec, "renewTime", json_cstr(now));
	(void)json_setl(&a, &spec, "leaseTransitions", json_int(transitions));
	(void)json_setl(&a, &lease, "spec", spec);
	json_write(out, &lease, 0);
}

static void on_written(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct client_election *e = arg;
	auto_err struct err err = ERR_INIT;
	e->call = NULL;
	if (e->ending) {
		finish(e);
		return;
	}
	if (why || observe(e, body, &err) < 0) {
		/* A lost race, or no server: look anew. A leader stays one until its deadline. */
		log_debug("lease not taken", kv_span("lease", e->p.name), kv_err(why ? why : &err));
		e->lease = JSON_NULL_VALUE;
		again(e);
		return;
	}
	loop_timer_start(&e->deadline, e->p.renew_deadline_ms);
	if (!e->leads) {
		e->leads = true;
		if (e->p.started)
			e->p.started(e, e->p.arg);
		if (e->ending)
			return; /* ended in the callback */
	}
	again(e);
}

static void write_lease(struct client_election *e, bool release)
{
	auto_buf struct buf path = {}, body = {};
	bool fresh = e->lease.kind != JSON_OBJECT;
	compose(e, release, &body);
	client_path(&path, &leases, e->p.ns, fresh ? SPAN_EMPTY : e->p.name, NULL);
	const struct client_request r = { .method = fresh ? "POST" : "PUT",
					  .path = buf_span(&path),
					  .body = buf_span(&body),
					  .timeout_ms = e->p.renew_deadline_ms,
					  .done = on_written,
					  .arg = e };
	e->call = client_send(e->client, &r);
}

static void on_read(struct client_call *c, const struct err *why, int status, struct span body, void *arg)
{
	struct client_election *e = arg;
	auto_err struct err err = ERR_INIT;
	e->call = NULL;
	if (why && why->class == ERR_NOT_FOUND) {
		e->lease = JSON_NULL_VALUE;
		write_lease(e, false);
		return;
	}
	if (why || observe(e, body, &err) < 0) {
		again(e);
		return;
	}
	int64_t duration = json_i64(json_path(&e->lease, "spec", "leaseDurationSeconds", (char *)NULL), 0) * 1000;
	bool ours = span_eq(buf_span(&e->holder), e->p.identity);
	if (ours || !e->holder.len || loop_now_ms(e->client->loop) - e->changed_ms >= duration) {
		write_lease(e, false);
		return;
	}
	if (e->leads) {
		err_set(&err, ERR_STALE, "lease %.*s/%.*s was taken by %.*s", SPAN_ARG(e->p.ns), SPAN_ARG(e->p.name),
			SPAN_ARG(buf_span(&e->holder)));
		lose(e, &err);
	}
	again(e);
}

static void look(struct loop_timer *t)
{
	struct client_election *e = container_of(t, struct client_election, timer);
	if (e->leads && e->lease.kind == JSON_OBJECT) {
		write_lease(e, false); /* what we wrote last is what there is: one request a renewal */
		return;
	}
	auto_buf struct buf path = {};
	client_path(&path, &leases, e->p.ns, e->p.name, NULL);
	const struct client_request r = {
		.method = "GET", .path = buf_span(&path), .timeout_ms = e->p.renew_deadline_ms, .done = on_read, .arg = e
	};
	e->call = client_send(e->client, &r);
}

struct client_election *client_election_new(const struct client_election_params *p)
{
	struct client_election *e = mem_new(struct client_election);
	*e = (struct client_election){ .p = *p, .client = p->client, .lease = JSON_NULL_VALUE };
	e->p.ns = arena_span(&e->arena, p->ns);
	e->p.name = arena_span(&e->arena, p->name);
	if (p->identity.len) {
		e->p.identity = arena_span(&e->arena, p->identity);
	} else {
		char host[256] = "", uuid[37];
		uint8_t random[16];
		(void)gethostname(host, sizeof(host) - 1);
		rng_secret(random, sizeof(random));
		text_uuid(random, uuid);
		e->p.identity = arena_printf(&e->arena, "%s_%s", host, uuid);
	}
	e->p.lease_ms = p->lease_ms ? p->lease_ms : LEASE_MS;
	e->p.renew_deadline_ms = p->renew_deadline_ms ? p->renew_deadline_ms : DEADLINE_MS;
	e->p.retry_ms = p->retry_ms ? p->retry_ms : RETRY_MS;
	loop_timer_init(&e->timer, p->client->loop, "leader election", look);
	loop_timer_init(&e->deadline, p->client->loop, "lease deadline", on_deadline);
	loop_timer_start(&e->timer, 0);
	return e;
}

static void on_end(struct loop_timer *t)
{
	struct client_election *e = container_of(t, struct client_election, deadline);
	finish(e);
}

void client_election_end(struct client_election *e, void (*done)(void *arg), void *arg)
{
	bool held = e->leads && e->lease.kind == JSON_OBJECT;
	e->ending = true;
	e->ended = done;
	e->ended_arg = arg;
	e->leads = false;
	loop_timer_stop(&e->timer);
	loop_timer_stop(&e->deadline);
	if (e->call)
		client_cancel(e->call); /* a renewal on its way meets our release as a conflict, or is overwritten by it */
	e->call = NULL;
	if (held) {
		write_lease(e, true);
		return;
	}
	loop_timer_init(&e->deadline, e->client->loop, "election end", on_end);
	loop_timer_start(&e->deadline, 0);
}

bool client_election_leads(const struct client_election *e)
{
	return e->leads;
}

struct span client_election_holder(const struct client_election *e)
{
	return buf_span(&e->holder);
}
