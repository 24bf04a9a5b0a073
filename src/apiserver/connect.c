/* Sub-resources that lead to a kubelet: which pod, which container, where, with which request; relay.c does the rest.
 *
 *     pods/log          GET  https://KUBELET/containerLogs/NS/POD/CONTAINER?follow=true&...
 *     pods/exec         any  https://KUBELET/exec/NS/POD/CONTAINER?command=..&input=1&output=1&error=1&tty=1    (upgrade)
 *     pods/attach       any  https://KUBELET/attach/NS/POD/CONTAINER?input=1...                                  (upgrade)
 *     pods/portforward  any  https://KUBELET/portForward/NS/POD?port=80,443                                      (upgrade) */
#include "apiserver/sub.h"

#include "apiserver/kubelet.h"
#include "apiserver/relay.h"

/* ---- query parameters, as upstream's conversion reads them: the first value of each name counts */

static bool param_given(struct call *c, const char *name, struct span *out)
{
	auto_buf struct buf b = {};
	if (!query_get(c->query, name, &b))
		return false;
	*out = arena_span(&c->arena, buf_span(&b));
	return true;
}

/* Everything but "false" and "0" is true, a bare name too. */
static bool param_bool(struct call *c, const char *name)
{
	struct span v;
	return param_given(c, name, &v) && !span_is(v, "0") && !span_eq_nocase(v, SPAN("false"));
}

static int param_int(struct call *c, const char *name, bool *out_given, int64_t *out)
{
	struct span v;
	*out_given = param_given(c, name, &v);
	if (*out_given && !span_to_i64(v, out))
		return err_set(&c->err, ERR_INVALID_REQUEST, "strconv.ParseInt: parsing \"%.*s\": invalid syntax",
			       SPAN_ARG(v));
	return 0;
}

/* Goes over all values of a name. */
static bool param_next(struct call *c, struct span *rest, const char *name, struct span *out)
{
	struct span one, key, value;
	while (span_cut(rest, '&', &one)) {
		auto_buf struct buf k = {}, v = {};
		span_split(one, '=', &key, &value);
		if (percent_parse(&k, key, true) && span_is(buf_span(&k), name) && percent_parse(&v, value, true)) {
			*out = arena_span(&c->arena, buf_span(&v));
			return true;
		}
	}
	return false;
}

/* name=value behind what is there, as url.Values.Encode writes it: a blank is '+'. */
static void query_add(struct buf *out, const char *name, struct span value)
{
	buf_printf(out, "%s%s=", out->len ? "&" : "", name);
	struct span rest = value, part;
	bool more = false;
	while (span_cut(&rest, ' ', &part)) {
		if (more)
			buf_chr(out, '+');
		percent_add(out, part, NULL);
		more = true;
	}
	if (value.len && value.ptr[value.len - 1] == ' ')
		buf_chr(out, '+');
}

static void query_int(struct buf *out, const char *name, int64_t value)
{
	buf_printf(out, "%s%s=%lld", out->len ? "&" : "", name, (long long)value);
}

/* ---- pods and their containers */

const struct store_item *connect_pod(struct call *c, struct span name, struct json *out)
{
	const struct store_item *it = sub_object(c, SPAN(""), "pods", c->route.ns, name, out);
	if (!it && c->err.class == ERR_NONE)
		err_set(&c->err, ERR_NOT_FOUND, "pods \"%.*s\" not found", SPAN_ARG(name));
	return it;
}

/* The container that is meant: the named one, or the only one. */
static int container_of_pod(struct call *c, const struct json *pod, struct span wanted, struct span *out)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	const struct json *spec = json_getl(pod, "spec"), *main_list = json_getl(spec, "containers");
	auto_buf struct buf names = {};
	*out = wanted;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		JSON_EACH_ITEM(json_get(spec, span_of(lists[i])), item) {
			struct span name = json_span(json_getl(item, "name"));
			if (wanted.len && span_eq(name, wanted))
				return 0;
			buf_printf(&names, "%s%.*s", names.len ? " " : "", SPAN_ARG(name));
		}
	}
	if (wanted.len)
		return err_set(&c->err, ERR_INVALID_REQUEST, "container %.*s is not valid for pod %.*s",
			       SPAN_ARG(wanted), SPAN_ARG(c->route.name));
	if (main_list && main_list->n == 1) {
		*out = json_span(json_getl(&main_list->items[0], "name"));
		return 0;
	}
	return err_set(&c->err, ERR_INVALID_REQUEST, "a container name must be specified for pod %.*s, choose one of: [%s]",
		       SPAN_ARG(c->route.name), buf_cstr(&names));
}

/* Errors that upstream leaves without a reason are those that we call internal here: nothing else of this file is. */
void connect_fail(struct call *c)
{
	if (c->err.class == ERR_INTERNAL)
		sub_fail_unknown(c);
	else
		call_fail(c);
}

static void to_kubelet(struct call *c, enum relay_kind kind, struct span node, enum kubelet_trust trust, struct span path,
		       const struct buf *query)
{
	struct kubelet_place at;
	if (kubelet_find(c, node, &at) < 0) {
		connect_fail(c);
		return;
	}
	const struct relay_target t = {
		.kind = kind,
		.tls = true,
		.host = at.host,
		.port = at.port,
		.tls_ctx = kubelet_tls(atomic_load(&c->server->kubelets), trust),
		.path = query->len ? arena_printf(&c->arena, "%.*s?%.*s", SPAN_ARG(path), SPAN_ARG(buf_span(query))) : path,
	};
	relay_begin(c, &t);
}

/* ---- log */

static void bad_option(struct call *c, const char *field, const char *reason, struct span message)
{
	err_cause_add(&c->err, span_of(field), reason, message);
}

/* PodLogOptions: the query for the kubelet, or c->err. */
static int log_options(struct call *c, struct buf *query)
{
	bool has_since, has_tail, has_limit;
	int64_t since, tail, limit, unix_s;
	int32_t fraction;
	struct span since_time = call_param(c, "sinceTime");
	if (param_int(c, "sinceSeconds", &has_since, &since) < 0 || param_int(c, "tailLines", &has_tail, &tail) < 0 ||
	    param_int(c, "limitBytes", &has_limit, &limit) < 0)
		return -c->err.class;
	if (since_time.len && time_parse(since_time.ptr, since_time.len, &unix_s, &fraction) < 0)
		return err_set(&c->err, ERR_INVALID_REQUEST,
			       "parsing time \"%.*s\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"%.*s\" as \"2006\"",
			       SPAN_ARG(since_time), SPAN_ARG(since_time));
	if (has_tail && tail < 0)
		bad_option(c, "tailLines", "FieldValueInvalid",
			   arena_printf(&c->arena, "Invalid value: %lld: must be greater than or equal to 0",
					(long long)tail));
	if (has_limit && limit < 1)
		bad_option(c, "limitBytes", "FieldValueInvalid",
			   arena_printf(&c->arena, "Invalid value: %lld: must be greater than 0", (long long)limit));
	if (has_since && since_time.len)
		bad_option(c, "", "FieldValueForbidden",
			   SPAN("Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"));
	else if (has_since && since < 1)
		bad_option(c, "sinceSeconds", "FieldValueInvalid",
			   arena_printf(&c->arena, "Invalid value: %lld: must be greater than 0", (long long)since));
	if (c->err.n_causes) {
		const struct api_resource options = { .kind = SPAN("PodLogOptions") };
		return strategy_invalid(&options, c->route.name, &c->err);
	}
	/* in the order of their names */
	struct span yes = SPAN("true");
	if (param_bool(c, "follow"))
		query_add(query, "follow", yes);
	if (has_limit)
		query_int(query, "limitBytes", limit);
	if (param_bool(c, "previous"))
		query_add(query, "previous", yes);
	if (has_since)
		query_int(query, "sinceSeconds", since);
	if (since_time.len)
		query_add(query, "sinceTime", since_time);
	if (has_tail)
		query_int(query, "tailLines", tail);
	if (param_bool(c, "timestamps"))
		query_add(query, "timestamps", yes);
	return 0;
}

static struct span node_of(const struct json *pod)
{
	return json_span(json_path(pod, "spec", "nodeName", (char *)NULL));
}

static void connect_log(struct call *c)
{
	struct json pod;
	struct span container;
	auto_buf struct buf query = {}, nothing = {};
	if (log_options(c, &query) < 0 || !connect_pod(c, c->route.name, &pod) ||
	    container_of_pod(c, &pod, call_param(c, "container"), &container) < 0) {
		call_fail(c);
		return;
	}
	if (!node_of(&pod).len) { /* there is nothing yet, and nobody to ask */
		call_answer(c, 204, "text/plain", &nothing);
		return;
	}
	struct span path = arena_printf(&c->arena, "/containerLogs/%.*s/%.*s/%.*s", SPAN_ARG(c->route.ns),
					SPAN_ARG(c->route.name), SPAN_ARG(container));
	to_kubelet(c, RELAY_LOG, node_of(&pod),
		   param_bool(c, "insecureSkipTLSVerifyBackend") ? KUBELET_ANY : KUBELET_VERIFIED, path, &query);
}

/* ---- exec, attach, portforward */

static void connect_stream(struct call *c)
{
	static const char *const flags[][2] = { /* by the kubelet's names */
						{ "error", "stderr" },
						{ "input", "stdin" },
						{ "output", "stdout" },
						{ "tty", "tty" }
	};
	struct json pod;
	struct span container, rest = c->query, command;
	auto_buf struct buf query = {};
	bool is_exec = span_is(c->sub->name, "exec");
	if (!connect_pod(c, c->route.name, &pod) || container_of_pod(c, &pod, call_param(c, "container"), &container) < 0) {
		call_fail(c);
		return;
	}
	while (is_exec && param_next(c, &rest, "command", &command))
		query_add(&query, "command", command);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (param_bool(c, flags[i][1]))
			query_add(&query, flags[i][0], SPAN("1"));
	if (!node_of(&pod).len) {
		err_set(&c->err, ERR_INVALID_REQUEST, "pod %.*s does not have a host assigned", SPAN_ARG(c->route.name));
		call_fail(c);
		return;
	}
	struct span path = arena_printf(&c->arena, "/%s/%.*s/%.*s/%.*s", is_exec ? "exec" : "attach", SPAN_ARG(c->route.ns),
					SPAN_ARG(c->route.name), SPAN_ARG(container));
	to_kubelet(c, RELAY_STREAM, node_of(&pod), KUBELET_VERIFIED, path, &query);
}

static void connect_forward(struct call *c)
{
	struct json pod;
	struct span rest = c->query, port;
	auto_buf struct buf ports = {}, query = {};
	int64_t n;
	if (!connect_pod(c, c->route.name, &pod)) {
		call_fail(c);
		return;
	}
	while (c->err.class == ERR_NONE && param_next(c, &rest, "ports", &port)) {
		if (!span_to_i64(port, &n))
			err_set(&c->err, ERR_INVALID_REQUEST, "strconv.ParseInt: parsing \"%.*s\": invalid syntax",
				SPAN_ARG(port));
		buf_printf(&ports, "%s%.*s", ports.len ? "," : "", SPAN_ARG(port));
	}
	if (c->err.class == ERR_NONE && !node_of(&pod).len)
		err_set(&c->err, ERR_INVALID_REQUEST, "pod %.*s does not have a host assigned", SPAN_ARG(c->route.name));
	if (c->err.class != ERR_NONE) {
		call_fail(c);
		return;
	}
	if (ports.len)
		query_add(&query, "port", buf_span(&ports));
	struct span path =
		arena_printf(&c->arena, "/portForward/%.*s/%.*s", SPAN_ARG(c->route.ns), SPAN_ARG(c->route.name));
	to_kubelet(c, RELAY_STREAM, node_of(&pod), KUBELET_VERIFIED, path, &query);
}

/* ---- */

void connect_begin(struct call *c)
{
	c->snap = store_snapshot(c->server->store);
	if (span_is(c->sub->name, "log"))
		connect_log(c);
	else if (span_is(c->sub->name, "portforward"))
		connect_forward(c);
	else
		connect_stream(c);
}
