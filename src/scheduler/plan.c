#include "scheduler/plan.h"

/* Requests that a pod does not name count as this much when nodes are compared (kube-scheduler's DefaultMilliCPURequest and
 * DefaultMemoryRequest). */
#define DEFAULT_MILLI_CPU 100
#define DEFAULT_MEMORY (INT64_C(200) << 20)

static const struct json *get(const struct json *o, const char *key)
{
	return json_get(o, span_of(key));
}

static struct span text(const struct json *o, const char *key)
{
	return json_span(get(o, key));
}

/* ---- amounts */

static int64_t *place_of(struct sched_request *r, struct span name)
{
	if (span_is(name, "cpu"))
		return &r->basics[SCHED_CPU];
	if (span_is(name, "memory"))
		return &r->basics[SCHED_MEMORY];
	if (span_is(name, "ephemeral-storage"))
		return &r->basics[SCHED_EPHEMERAL];
	for (unsigned i = 0; i < r->n_more; i++)
		if (span_eq(r->more[i].name, name))
			return &r->more[i].n;
	if (r->n_more == SCHED_EXTENDED_MAX)
		return NULL;
	r->more[r->n_more] = (struct sched_amount){ .name = name };
	return &r->more[r->n_more++].n;
}

static int64_t sum(int64_t a, int64_t b)
{
	int64_t s;
	return __builtin_add_overflow(a, b, &s) ? INT64_MAX : s;
}

static bool amounts_read(const struct json *list, struct sched_request *out, bool skip_pods)
{
	JSON_EACH_MEMBER(list, m) {
		struct api_quantity q;
		if (skip_pods && span_is(json_key(m), "pods"))
			continue;
		int64_t *place = place_of(out, json_key(m));
		if (!place || api_quantity_parse(json_span(&m->value), &q, NULL) < 0)
			return false;
		*place = sum(*place, span_is(json_key(m), "cpu") ? api_quantity_milli(&q) : api_quantity_value(&q));
	}
	return true;
}

void sched_request_add(struct sched_request *to, const struct sched_request *by, int sign)
{
	for (unsigned i = 0; i < SCHED_BASICS; i++)
		to->basics[i] += sign * by->basics[i];
	for (unsigned i = 0; i < by->n_more; i++) {
		int64_t *place = place_of(to, by->more[i].name);
		if (place)
			*place += sign * by->more[i].n;
	}
}

static bool request_max(struct sched_request *to, const struct sched_request *other)
{
	for (unsigned i = 0; i < SCHED_BASICS; i++)
		to->basics[i] = MAX(to->basics[i], other->basics[i]);
	for (unsigned i = 0; i < other->n_more; i++) {
		int64_t *place = place_of(to, other->more[i].name);
		if (!place)
			return false;
		*place = MAX(*place, other->more[i].n);
	}
	return true;
}

/* What all containers want together, or what one init container wants beside the sidecars that started before it, whichever is
 * more; and the overhead of the runtime class. */
static bool request_read(const struct json *spec, struct sched_request *out)
{
	struct sched_request sidecars = {}, peak = {};
	bool good = true;
	*out = (struct sched_request){};
	JSON_EACH_ITEM(get(spec, "containers"), c)
		good &= amounts_read(get(get(c, "resources"), "requests"), out, false);
	JSON_EACH_ITEM(get(spec, "initContainers"), c) {
		struct sched_request one = {};
		good &= amounts_read(get(get(c, "resources"), "requests"), &one, false);
		if (span_is(text(c, "restartPolicy"), "Always")) {
			sched_request_add(&sidecars, &one, 1);
			one = sidecars;
		} else {
			sched_request_add(&one, &sidecars, 1);
		}
		good &= request_max(&peak, &one);
	}
	sched_request_add(out, &sidecars, 1);
	return good && request_max(out, &peak) && amounts_read(get(spec, "overhead"), out, false);
}

/* ---- reading */

static const char *unknown_of(const struct json *spec)
{
	const struct json *affinity = get(spec, "affinity");
	static const char *const kinds[] = { "podAffinity", "podAntiAffinity" };
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct json *required = get(get(affinity, kinds[i]), "requiredDuringSchedulingIgnoredDuringExecution");
		if (json_is(required, JSON_ARRAY) && required->n)
			return i ? "required pod anti-affinity" : "required pod affinity";
	}
	JSON_EACH_ITEM(get(spec, "topologySpreadConstraints"), c)
		if (!span_is(text(c, "whenUnsatisfiable"), "ScheduleAnyway"))
			return "a topology spread constraint with DoNotSchedule";
	JSON_EACH_ITEM(get(spec, "volumes"), v)
		if (get(v, "persistentVolumeClaim") || get(v, "ephemeral"))
			return "a volume by a claim";
	const struct json *claims = get(spec, "resourceClaims");
	return json_is(claims, JSON_ARRAY) && claims->n ? "a claim for devices" : NULL;
}

bool sched_pod_read(struct arena *a, const struct json *pod, struct sched_pod *out)
{
	const struct json *spec = get(pod, "spec");
	static const char *const lists[] = { "containers", "initContainers" };
	*out = (struct sched_pod){ .node_name = text(spec, "nodeName"), .tolerations = get(spec, "tolerations"),
				   .node_selector = get(spec, "nodeSelector"), .priority = json_i64(get(spec, "priority"), 0) };
	out->terms = get(get(get(get(spec, "affinity"), "nodeAffinity"), "requiredDuringSchedulingIgnoredDuringExecution"),
			 "nodeSelectorTerms");
	out->unknown = unknown_of(spec);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		JSON_EACH_ITEM(get(spec, lists[i]), c) {
			if (i && !span_is(text(c, "restartPolicy"), "Always"))
				continue;
			JSON_EACH_ITEM(get(c, "ports"), port) {
				int64_t n = json_i64(get(port, "hostPort"), 0);
				if (!n)
					continue;
				if (out->n_ports == SCHED_PORTS_MAX)
					return false;
				out->ports[out->n_ports++] =
					(struct sched_port){ text(port, "hostIP"), text(port, "protocol"), n };
			}
		}
	}
	return request_read(spec, &out->request);
}

bool sched_node_read(struct arena *a, const struct json *node, struct sched_node *out)
{
	const struct json *spec = get(node, "spec"), *room = get(get(node, "status"), "allocatable");
	struct api_quantity q;
	*out = (struct sched_node){ .name = text(get(node, "metadata"), "name"), .labels = get(get(node, "metadata"), "labels"),
				    .taints = get(spec, "taints"), .unschedulable = json_truth(get(spec, "unschedulable"), false) };
	if (api_quantity_parse(text(room, "pods"), &q, NULL) == 0)
		out->max_pods = api_quantity_value(&q);
	return amounts_read(room, &out->room, true);
}

/* ---- filters */

static bool tolerates(const struct json *t, const struct json *taint)
{
	struct span key = text(t, "key"), effect = text(t, "effect");
	if ((effect.len && !span_eq(effect, text(taint, "effect"))) || (key.len && !span_eq(key, text(taint, "key"))))
		return false;
	return span_is(text(t, "operator"), "Exists") || (key.len && span_eq(text(t, "value"), text(taint, "value")));
}

static bool tolerated(const struct json *tolerations, const struct json *taint)
{
	JSON_EACH_ITEM(tolerations, t)
		if (tolerates(t, taint))
			return true;
	return false;
}

static bool holds(struct span operator, const struct json *values, const struct json *has)
{
	bool in = false;
	int64_t x, y;
	JSON_EACH_ITEM(values, v)
		in |= has && span_eq(json_span(v), json_span(has));
	if (span_is(operator, "In"))
		return in;
	if (span_is(operator, "NotIn"))
		return !in;
	if (span_is(operator, "Exists"))
		return has;
	if (span_is(operator, "DoesNotExist"))
		return !has;
	if (!has || !json_is(values, JSON_ARRAY) || values->n != 1 || !span_to_i64(json_span(has), &x) ||
	    !span_to_i64(json_span(values->items), &y))
		return false;
	return span_is(operator, "Gt") ? x > y : span_is(operator, "Lt") ? x < y : false;
}

static bool affinity_fits(const struct sched_pod *p, const struct sched_node *n)
{
	JSON_EACH_MEMBER(p->node_selector, m) {
		const struct json *has = json_get(n->labels, json_key(m));
		if (!has || !span_eq(json_span(has), json_span(&m->value)))
			return false;
	}
	if (!json_is(p->terms, JSON_ARRAY))
		return true;
	JSON_EACH_ITEM(p->terms, term) {
		const struct json *expressions = get(term, "matchExpressions"), *fields = get(term, "matchFields");
		struct json name = json_str(n->name);
		bool good = (json_is(expressions, JSON_ARRAY) && expressions->n) || (json_is(fields, JSON_ARRAY) && fields->n);
		JSON_EACH_ITEM(expressions, e)
			good = good && holds(text(e, "operator"), get(e, "values"), json_get(n->labels, text(e, "key")));
		JSON_EACH_ITEM(fields, e)
			good = good && span_is(text(e, "key"), "metadata.name") && holds(text(e, "operator"), get(e, "values"), &name);
		if (good)
			return true;
	}
	return false;
}

static bool any_ip(struct span ip)
{
	return !ip.len || span_is(ip, "0.0.0.0") || span_is(ip, "::");
}

static bool port_taken(const struct sched_node *n, const struct sched_port *want)
{
	struct span protocol = want->protocol.len ? want->protocol : SPAN("TCP");
	for (unsigned i = 0; i < n->n_ports; i++) {
		const struct sched_port *has = &n->ports[i];
		if (has->port == want->port && span_eq(has->protocol.len ? has->protocol : SPAN("TCP"), protocol) &&
		    (any_ip(has->ip) || any_ip(want->ip) || span_eq(has->ip, want->ip)))
			return true;
	}
	return false;
}

static bool lacks(int64_t want, int64_t used, int64_t room)
{
	return want > 0 && want > room - used;
}

static int64_t amount(const struct sched_request *r, struct span name)
{
	for (unsigned i = 0; i < r->n_more; i++)
		if (span_eq(r->more[i].name, name))
			return r->more[i].n;
	return 0;
}

enum sched_verdict sched_filter(struct arena *a, const struct sched_pod *p, const struct sched_node *n,
				struct span reasons[static SCHED_REASONS_MAX], unsigned *out_n)
{
	static const char *const names[SCHED_BASICS] = { "cpu", "memory", "ephemeral-storage" };
	static const struct json unschedulable_taint = { .kind = JSON_OBJECT };
	struct arena scratch = {};
	*out_n = 0;
	if (n->unschedulable) {
		struct json taint = unschedulable_taint;
		(void)json_setl(&scratch, &taint, "key", json_cstr("node.kubernetes.io/unschedulable"));
		(void)json_setl(&scratch, &taint, "effect", json_cstr("NoSchedule"));
		bool good = tolerated(p->tolerations, &taint);
		arena_done(&scratch);
		if (!good) {
			reasons[(*out_n)++] = SPAN("node(s) were unschedulable");
			return SCHED_NEVER;
		}
	}
	if (p->node_name.len && !span_eq(p->node_name, n->name)) {
		reasons[(*out_n)++] = SPAN("node(s) didn't match the requested node name");
		return SCHED_NEVER;
	}
	JSON_EACH_ITEM(n->taints, taint) {
		if (span_is(text(taint, "effect"), "PreferNoSchedule") || tolerated(p->tolerations, taint))
			continue;
		reasons[(*out_n)++] = arena_printf(a, "node(s) had untolerated taint {%.*s: %.*s}", SPAN_ARG(text(taint, "key")),
						   SPAN_ARG(text(taint, "value")));
		return SCHED_NEVER;
	}
	if (!affinity_fits(p, n)) {
		reasons[(*out_n)++] = SPAN("node(s) didn't match Pod's node affinity/selector");
		return SCHED_NEVER;
	}
	for (unsigned i = 0; i < p->n_ports; i++) {
		if (port_taken(n, &p->ports[i])) {
			reasons[(*out_n)++] = SPAN("node(s) didn't have free ports for the requested pod ports");
			return SCHED_NO_ROOM;
		}
	}
	bool never = false; /* more than the node has at all */
	if (n->n_pods + 1 > n->max_pods)
		reasons[(*out_n)++] = SPAN("Too many pods");
	for (unsigned i = 0; i < SCHED_BASICS; i++) {
		if (!lacks(p->request.basics[i], n->used.basics[i], n->room.basics[i]))
			continue;
		reasons[(*out_n)++] = arena_printf(a, "Insufficient %s", names[i]);
		never |= p->request.basics[i] > n->room.basics[i];
	}
	for (unsigned i = 0; i < p->request.n_more && *out_n < SCHED_REASONS_MAX; i++) {
		const struct sched_amount *want = &p->request.more[i];
		if (!lacks(want->n, amount(&n->used, want->name), amount(&n->room, want->name)))
			continue;
		reasons[(*out_n)++] = arena_printf(a, "Insufficient %.*s", SPAN_ARG(want->name));
		never |= want->n > amount(&n->room, want->name);
	}
	return never ? SCHED_NEVER : *out_n ? SCHED_NO_ROOM : SCHED_FITS;
}

static int64_t free_share(int64_t want, int64_t used, int64_t room)
{
	int64_t left = room - used - want;
	return room > 0 && left > 0 ? (int64_t)((double)left * 100 / (double)room) : 0;
}

static void weigh(const struct sched_pod *p, int64_t out[static 2])
{
	out[0] = p->request.basics[SCHED_CPU] ? p->request.basics[SCHED_CPU] : DEFAULT_MILLI_CPU;
	out[1] = p->request.basics[SCHED_MEMORY] ? p->request.basics[SCHED_MEMORY] : DEFAULT_MEMORY;
}

void sched_node_count(struct sched_node *n, const struct sched_pod *p)
{
	int64_t w[2];
	weigh(p, w);
	sched_request_add(&n->used, &p->request, 1);
	n->weight[0] = sum(n->weight[0], w[0]);
	n->weight[1] = sum(n->weight[1], w[1]);
	n->n_pods++;
}

int64_t sched_score(const struct sched_pod *p, const struct sched_node *n)
{
	int64_t w[2];
	weigh(p, w);
	return (free_share(w[0], n->weight[0], n->room.basics[SCHED_CPU]) +
		free_share(w[1], n->weight[1], n->room.basics[SCHED_MEMORY])) / 2;
}

/* ---- words */

void sched_tally_add(struct sched_tally *t, enum sched_verdict v, const struct span *reasons, unsigned n)
{
	t->no_room += v == SCHED_NO_ROOM;
	t->never += v == SCHED_NEVER;
	for (unsigned i = 0; i < n; i++) {
		unsigned k = 0;
		while (k < t->n_rows && !span_eq(t->rows[k].reason, reasons[i]))
			k++;
		if (k == ARRAY_LEN(t->rows))
			continue;
		if (k == t->n_rows) {
			t->rows[k].reason = reasons[i];
			t->rows[k].n = 0;
			t->n_rows++;
		}
		t->rows[k].n++;
	}
}

static int by_text(const void *x, const void *y)
{
	return span_cmp(*(const struct span *)x, *(const struct span *)y);
}

struct span sched_tally_words(struct arena *a, struct sched_tally *t, unsigned n_nodes)
{
	auto_buf struct buf out = {};
	struct span rows[ARRAY_LEN(t->rows)];
	if (!n_nodes)
		return SPAN("no nodes available to schedule pods");
	for (unsigned i = 0; i < t->n_rows; i++)
		rows[i] = arena_printf(a, "%u %.*s", t->rows[i].n, SPAN_ARG(t->rows[i].reason));
	qsort(rows, t->n_rows, sizeof(rows[0]), by_text);
	buf_printf(&out, "0/%u nodes are available: ", n_nodes);
	for (unsigned i = 0; i < t->n_rows; i++)
		buf_printf(&out, "%s%.*s", i ? ", " : "", SPAN_ARG(rows[i]));
	buf_printf(&out, ". preemption: 0/%u nodes are available: ", n_nodes);
	if (t->no_room)
		buf_printf(&out, "%u No preemption victims found for incoming pod", t->no_room);
	if (t->never)
		buf_printf(&out, "%s%u Preemption is not helpful for scheduling", t->no_room ? ", " : "", t->never);
	buf_chr(&out, '.');
	return arena_span(a, buf_span(&out));
}
