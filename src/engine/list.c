/* Containers: GET /containers/json with its filters, inspection, prune, sizes. */
#include "engine/private.h"

struct want {
	struct engine_call *c;
	struct engine_filters filters;
	bool all;
	char before[65], since[65];
	bool before_passed, since_met;
	int64_t until_ns;
	struct image_digest *ancestors;
	size_t n_ancestors;
	bool ancestors_said;
};

static int one_of(const struct engine_filter *f, const char *allowed, struct err *err)
{
	for (size_t i = 0; f && i < f->n; i++) {
		struct span rest = span_of(allowed), one;
		bool found = false;
		while (!found && span_cut(&rest, ',', &one))
			found = span_eq(one, f->values[i]);
		if (!found)
			return err_set(err, ERR_INVALID_REQUEST, "invalid filter '%.*s=%.*s'", SPAN_ARG(f->key), SPAN_ARG(f->values[i]));
	}
	return 0;
}

static int numbers(const struct engine_filter *f, struct err *err)
{
	int64_t n;
	for (size_t i = 0; f && i < f->n; i++)
		if (!span_to_i64(f->values[i], &n))
			return err_set(err, ERR_INVALID_REQUEST, "strconv.Atoi: parsing \"%.*s\": invalid syntax", SPAN_ARG(f->values[i]));
	return 0;
}

/* "80", "80-90/udp" */
static int ports(const struct engine_filter *f, const char *key, struct err *err)
{
	uint64_t n;
	for (size_t i = 0; f && i < f->n; i++) {
		struct span range, proto, one;
		if (!span_split(f->values[i], '/', &range, &proto))
			range = f->values[i];
		while (span_cut(&range, '-', &one))
			if (!span_to_u64(one, &n) || n > 65535)
				return err_set(err, ERR_INVALID_REQUEST,
					"error while looking up for %s %.*s: strconv.ParseUint: parsing \"%.*s\": invalid syntax",
					key, SPAN_ARG(f->values[i]), SPAN_ARG(one));
	}
	return 0;
}

static int bound(struct engine *e, const struct engine_filter *f, char out[65], struct err *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && f && i < f->n; i++)
		rc = container_find(e->containers, f->values[i], out, err) < 0 ? -ERR_NOT_FOUND : 0;
	return rc;
}

static int want_init(struct want *w, struct engine_call *c, struct err *err)
{
	const struct engine_filters *f = &w->filters;
	*w = (struct want){ .c = c, .all = engine_truth(c, "all", false) };
	int rc = engine_filters_of(c,
		"ancestor,before,exited,expose,health,id,is-task,isolation,label,name,network,publish,since,status,volume",
		&w->filters, err);
	bool yes;
	if (rc < 0 || (rc = one_of(engine_filter_get(f, "status"), "created,restarting,running,removing,paused,exited,dead",
		err)) < 0 ||
	    (rc = one_of(engine_filter_get(f, "health"), "none,starting,healthy,unhealthy", err)) < 0 ||
	    (rc = numbers(engine_filter_get(f, "exited"), err)) < 0 || (rc = engine_filter_truth(f, "is-task", false, &yes,
		err)) < 0 ||
	    (rc = ports(engine_filter_get(f, "publish"), "publish", err)) < 0 ||
	    (rc = ports(engine_filter_get(f, "expose"), "expose", err)) < 0 ||
	    (rc = bound(c->e, engine_filter_get(f, "before"), w->before, err)) < 0 ||
	    (rc = bound(c->e, engine_filter_get(f, "since"), w->since, err)) < 0)
		return rc;
	if (engine_filter_get(f, "status"))
		w->all = true;
	const struct engine_filter *ancestor = engine_filter_get(f, "ancestor");
	w->ancestors_said = ancestor;
	w->ancestors = arena_alloc_n(&c->arena, ancestor ? ancestor->n : 1, sizeof(*w->ancestors));
	/* One that is not there means no container, and is no error. */
	for (size_t i = 0; ancestor && i < ancestor->n; i++)
		if (image_find(c->e->images, ancestor->values[i], &w->ancestors[w->n_ancestors], NULL) == 0)
			w->n_ancestors++;
	return 0;
}

static bool match_mount(const struct engine_filters *f, const struct json *summary)
{
	if (!engine_filter_get(f, "volume"))
		return true;
	JSON_EACH_ITEM(json_getl(summary, "Mounts"), m)
		if (engine_filter_exact(f, "volume", json_span(json_getl(m, "Name"))) ||
		    engine_filter_exact(f, "volume", json_span(json_getl(m, "Destination"))))
			return true;
	return false;
}

static bool match_network(const struct engine_filters *f, const struct json *summary)
{
	if (!engine_filter_get(f, "network"))
		return true;
	JSON_EACH_MEMBER(json_path(summary, "NetworkSettings", "Networks", NULL), m)
		if (engine_filter_exact(f, "network", json_key(m)) ||
		    engine_filter_exact(f, "network", json_span(json_getl(&m->value, "NetworkID"))))
			return true;
	return false;
}

/* "80", "80/udp", "8000-8010/tcp": is a port of the container among them? */
static bool port_in(struct span wanted, uint64_t port, struct span type)
{
	struct span range, proto, from_text, to_text;
	uint64_t from, to;
	if (!span_split(wanted, '/', &range, &proto))
		proto = SPAN("tcp");
	if (!span_split(range, '-', &from_text, &to_text))
		to_text = from_text;
	return span_to_u64(from_text, &from) && span_to_u64(to_text, &to) && port >= from && port <= to && span_eq(proto, type);
}

/* Published: the host's number, as Docker has it; exposed: the container's. */
static bool match_ports(const struct engine_filters *f, const char *key, bool published, const struct json *inspect)
{
	const struct engine_filter *i = engine_filter_get(f, key);
	if (!i)
		return true;
	const struct json *ports = published ? json_path(inspect, "NetworkSettings", "Ports", NULL)
					     : json_path(inspect, "Config", "ExposedPorts", NULL);
	JSON_EACH_MEMBER(ports, m) {
		struct span number, type;
		uint64_t port;
		if (!span_split(json_key(m), '/', &number, &type) || !span_to_u64(number, &port))
			continue;
		for (size_t k = 0; k < i->n; k++) {
			if (!published && port_in(i->values[k], port, type))
				return true;
			JSON_EACH_ITEM(published ? &m->value : NULL, binding) {
				uint64_t host;
				if (span_to_u64(json_span(json_getl(binding, "HostPort")), &host) && port_in(i->values[k], host, type))
					return true;
			}
		}
	}
	return false;
}

static bool match_number(const struct engine_filters *f, const char *key, int64_t is)
{
	const struct engine_filter *i = engine_filter_get(f, key);
	int64_t n;
	for (size_t k = 0; i && k < i->n; k++)
		if (span_to_i64(i->values[k], &n) && n == is)
			return true;
	return !i;
}

static bool match_names(const struct engine_filters *f, const struct json *summary)
{
	if (!engine_filter_get(f, "name"))
		return true;
	JSON_EACH_ITEM(json_getl(summary, "Names"), n) {
		struct span name = json_span(n);
		if (engine_filter_match(f, "name", name) || engine_filter_match(f, "name", span_from(name, 1)))
			return true;
	}
	return false;
}

static bool wants(struct want *w, const struct json *summary)
{
	struct engine_call *c = w->c;
	const struct engine_filters *f = &w->filters;
	struct span id = json_span(json_getl(summary, "Id")), state = json_span(json_getl(summary, "State"));
	bool runs = span_is(state, "running") || span_is(state, "paused") || span_is(state, "restarting");
	bool yes;
	if (w->before[0] && !w->before_passed) { /* newest first: what comes behind it is older */
		w->before_passed = span_is(id, w->before);
		return false;
	}
	w->since_met |= w->since[0] && span_is(id, w->since);
	if (w->since_met)
		return false;
	if ((!w->all && !runs) || !engine_filter_id(f, id) || !match_names(f, summary) ||
	    !engine_filter_label(f, "label", json_getl(summary, "Labels")) || !engine_filter_exact(f, "status", state) ||
	    !match_mount(f, summary) || !match_network(f, summary))
		return false;
	if (engine_filter_truth(f, "is-task", false, &yes, NULL) == 0 && yes)
		return false;
	if (w->ancestors_said) {
		bool found = false;
		struct span image = json_span(json_getl(summary, "ImageID"));
		for (size_t i = 0; i < w->n_ancestors; i++)
			found |= span_eq(image, image_digest_span(&w->ancestors[i]));
		if (!found)
			return false;
	}
	static const char *const deep[] = { "exited", "health", "publish", "expose", "isolation" };
	bool look = false;
	for (size_t i = 0; i < ARRAY_LEN(deep); i++)
		look |= engine_filter_get(f, deep[i]) != NULL;
	if (!look)
		return true;
	struct json v;
	if (container_inspect(c->e->containers, id, &c->arena, &v, NULL) < 0)
		return false;
	struct span health = json_span(json_path(&v, "State", "Health", "Status", NULL));
	return (!engine_filter_get(f, "exited") ||
		(!runs && match_number(f, "exited", json_i64(json_path(&v, "State", "ExitCode", NULL), 0)))) &&
	       engine_filter_exact(f, "health", health.len ? health : SPAN("none")) && match_ports(f, "publish", true, &v) &&
	       match_ports(f, "expose", false, &v) && engine_filter_exact(f, "isolation", SPAN("default"));
}

/* ---- sizes, one container after the other ---- */

struct sizes {
	struct container_call call;
	struct engine_call *c;
	struct json *documents; /* an array, or one document */
	const char *key;        /* of the id in each */
	uint32_t next;
	void (*then)(struct engine_call *c);
};

static void sizes_next(struct sizes *s);

static void sizes_done(struct container_call *call, const struct err *err)
{
	struct sizes *s = container_of(call, struct sizes, call);
	bool many = s->documents->kind == JSON_ARRAY;
	struct json *v = many ? &s->documents->items[s->next] : s->documents;
	/* One that is gone meanwhile has none. */
	JSON_EACH_MEMBER(err ? NULL : &call->result, m) {
		if (json_i64(&m->value, 0) != 0 || span_is(json_key(m), "SizeRootFs") || !many)
			(void)json_set(&s->c->arena, v, json_key(m), m->value);
	}
	s->next++;
	sizes_next(s);
}

static void sizes_gone(struct engine_call *c)
{
	struct sizes *s = c->state;
	container_call_forget(&s->call);
	engine_call_unref(c);
}

static void sizes_next(struct sizes *s)
{
	struct engine_call *c = s->c;
	bool many = s->documents->kind == JSON_ARRAY;
	if (s->next == (many ? s->documents->n : 1)) {
		c->gone = NULL;
		s->then(c);
		engine_call_unref(c);
		return;
	}
	const struct json *v = many ? &s->documents->items[s->next] : s->documents;
	s->call = (struct container_call){ .done = sizes_done, .arena = &c->arena };
	container_sizes(c->e->containers, json_span(json_get(v, span_of(s->key))), &s->call);
}

static void sizes_fill(struct engine_call *c, struct json *documents, const char *key, void (*then)(struct engine_call *c))
{
	struct sizes *s = arena_new(&c->arena, struct sizes);
	*s = (struct sizes){ .c = engine_call_ref(c), .documents = documents, .key = key, .then = then };
	c->state = s;
	c->gone = sizes_gone;
	sizes_next(s);
}

void engine_containers_df(struct engine_call *c, struct json *out, bool sizes, void (*then)(struct engine_call *c))
{
	char(*ids)[65];
	size_t n;
	container_ids(c->e->containers, &c->arena, &ids, &n);
	*out = json_array();
	for (size_t i = 0; i < n; i++) {
		struct json v;
		if (container_summary(c->e->containers, span_of(ids[i]), &c->arena, &v, NULL) < 0)
			continue;
		engine_shape(ENGINE_DOC_CONTAINER_SUMMARY, c->api, &c->arena, &v);
		(void)json_push(&c->arena, out, v);
	}
	if (sizes)
		sizes_fill(c, out, "Id", then);
	else
		then(c);
}

/* ---- GET /containers/json ---- */

static void answer_list(struct engine_call *c)
{
	engine_answer_json(c, 200, &c->out);
}

void engine_containers_list(struct engine_call *c)
{
	struct want w;
	char(*ids)[65];
	size_t n;
	int64_t limit;
	if (engine_number(c, "limit", 0, &limit, &c->err) < 0 || want_init(&w, c, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	if (limit > 0)
		w.all = true;
	container_ids(c->e->containers, &c->arena, &ids, &n);
	c->out = json_array();
	for (size_t i = 0; i < n && (limit <= 0 || c->out.n < (uint64_t)limit); i++) {
		struct json v;
		if (container_summary(c->e->containers, span_of(ids[i]), &c->arena, &v, NULL) < 0 || !wants(&w, &v))
			continue;
		engine_shape(ENGINE_DOC_CONTAINER_SUMMARY, c->api, &c->arena, &v);
		(void)json_push(&c->arena, &c->out, v);
	}
	if (engine_truth(c, "size", false))
		sizes_fill(c, &c->out, "Id", answer_list);
	else
		answer_list(c);
}

/* ---- GET /containers/x/json ---- */

void engine_container_inspect(struct engine_call *c)
{
	if (container_inspect(c->e->containers, c->name, &c->arena, &c->out, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	engine_container_whole(&c->arena, &c->out);
	engine_shape(ENGINE_DOC_CONTAINER, c->api, &c->arena, &c->out);
	if (engine_truth(c, "size", false))
		sizes_fill(c, &c->out, "Id", answer_list);
	else
		answer_list(c);
}

/* ---- prune ---- */

static bool want_pruned(void *arg, const struct json *summary)
{
	struct want *w = arg;
	const struct json *labels = json_getl(summary, "Labels");
	return engine_filter_label(&w->filters, "label", labels) && engine_filter_not_label(&w->filters, labels) &&
	       (!w->until_ns || json_i64(json_getl(summary, "Created"), 0) < w->until_ns / NS_PER_S);
}

static void pruned(struct engine_call *c, struct container_call *done)
{
	struct json attributes = json_object();
	auto_buf struct buf n = {};
	buf_i64(&n, json_i64(json_getl(&done->result, "SpaceReclaimed"), 0));
	(void)json_setl(&c->arena, &attributes, "reclaimed", json_str(buf_span(&n)));
	engine_event(c->e, "container", SPAN("prune"), SPAN_EMPTY, &attributes);
	engine_answer_json(c, 200, &done->result);
}

void engine_containers_prune(struct engine_call *c)
{
	struct want *w = arena_new(&c->arena, struct want);
	int rc = engine_filters_of(c, "label,label!,until", &w->filters, &c->err);
	const struct engine_filter *until = engine_filter_get(&w->filters, "until");
	if (rc == 0 && until && until->n > 1)
		rc = err_set(&c->err, ERR_INVALID_REQUEST, "more than one until filter specified");
	if (rc == 0 && until)
		rc = engine_time_parse(until->values[0], loop_wall_ns(c->e->loop), &w->until_ns, &c->err);
	if (rc < 0)
		engine_fail(c);
	else
		container_prune(c->e->containers, want_pruned, w, engine_container_call(c, pruned));
	/* w lives in the call: a client that leaves does not end the prune, so the call stays until it is done. */
	c->gone = NULL;
}
