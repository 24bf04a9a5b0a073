/* A container's Config: what the image says, overruled by what the request says (Docker's rules), and its command. Pure. */
#include "container/private.h"

static bool is_empty(const struct json *v)
{
	if (!v || v->kind == JSON_NULL)
		return true;
	return (v->kind == JSON_STRING || v->kind == JSON_ARRAY || v->kind == JSON_OBJECT) && v->n == 0;
}

static void take_if_empty(struct arena *a, struct json *out, const struct json *image, struct span key)
{
	const struct json *theirs = json_get(image, key);
	if (is_empty(json_get(out, key)) && !is_empty(theirs))
		json_set(a, out, key, json_copy(a, theirs));
}

/* Objects: the image's members that the request has not. */
static void add_members(struct arena *a, struct json *out, const struct json *image, struct span key)
{
	const struct json *theirs = json_get(image, key);
	if (is_empty(theirs) || theirs->kind != JSON_OBJECT)
		return;
	struct json *mine = json_get(out, key);
	if (!json_is(mine, JSON_OBJECT))
		mine = json_set(a, out, key, json_object());
	JSON_EACH_MEMBER (theirs, m)
		if (!json_get(mine, json_key(m)))
			json_add(a, mine, arena_span(a, json_key(m)), json_copy(a, &m->value));
}

static struct span env_name(struct span s)
{
	struct span name, value;
	span_split(s, '=', &name, &value);
	return name;
}

/* The request's come first, then those of the image that it does not name. */
static void env_merge(struct arena *a, struct json *out, const struct json *image)
{
	const struct json *theirs = json_getl(image, "Env");
	struct json *mine = json_getl(out, "Env");
	if (is_empty(theirs))
		return;
	if (!json_is(mine, JSON_ARRAY))
		mine = json_setl(a, out, "Env", json_array());
	uint32_t own = mine->n;
	JSON_EACH_ITEM (theirs, item) {
		bool named = false;
		for (uint32_t i = 0; i < own; i++)
			named |= span_eq(env_name(json_span(&mine->items[i])), env_name(json_span(item)));
		if (!named)
			json_push(a, mine, json_copy(a, item));
	}
}

static void health_merge(struct arena *a, struct json *out, const struct json *image)
{
	static const char *const fields[] = { "Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries" };
	const struct json *theirs = json_getl(image, "Healthcheck");
	struct json *mine = json_getl(out, "Healthcheck");
	if (is_empty(theirs))
		return;
	if (is_empty(mine)) {
		json_setl(a, out, "Healthcheck", json_copy(a, theirs));
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct json *v = json_get(mine, span_of(fields[i])), *from = json_get(theirs, span_of(fields[i]));
		if (from && (is_empty(v) || (json_is(v, JSON_INT) && v->i == 0)))
			json_set(a, mine, span_of(fields[i]), json_copy(a, from));
	}
}

/* "80" means "80/tcp". */
static void ports_name(struct arena *a, struct json *config)
{
	struct json *ports = json_getl(config, "ExposedPorts");
	JSON_EACH_MEMBER (ports, m) {
		if (span_chr(json_key(m), '/') >= 0)
			continue;
		struct span full = arena_printf(a, "%.*s/tcp", SPAN_ARG(json_key(m)));
		m->key = full.ptr;
		m->key_len = (uint32_t)full.len;
	}
}

int container_config_merge(struct arena *a, const struct json *image, const struct json *request, struct json *out,
	struct err *err)
{
	struct json c = json_copy(a, request);
	take_if_empty(a, &c, image, SPAN("User"));
	ports_name(a, &c);
	add_members(a, &c, image, SPAN("ExposedPorts"));
	env_merge(a, &c, image);
	add_members(a, &c, image, SPAN("Labels"));
	/* A request with an entrypoint of its own gets no command of the image. [""] says: none at all. */
	const struct json *entry = json_getl(&c, "Entrypoint");
	bool reset = json_is(entry, JSON_ARRAY) && entry->n == 1 && json_span(&entry->items[0]).len == 0;
	if (is_empty(entry)) {
		if (is_empty(json_getl(&c, "Cmd"))) {
			take_if_empty(a, &c, image, SPAN("Cmd"));
			if (json_truth(json_getl(image, "ArgsEscaped"), false))
				json_setl(a, &c, "ArgsEscaped", json_bool(true));
		}
		if (!json_is(entry, JSON_ARRAY) || entry->n == 0)
			take_if_empty(a, &c, image, SPAN("Entrypoint"));
	} else if (reset) {
		json_setl(a, &c, "Entrypoint", JSON_NULL_VALUE);
	}
	health_merge(a, &c, image);
	take_if_empty(a, &c, image, SPAN("WorkingDir"));
	add_members(a, &c, image, SPAN("Volumes"));
	take_if_empty(a, &c, image, SPAN("StopSignal"));
	take_if_empty(a, &c, image, SPAN("Shell"));
	entry = json_getl(&c, "Entrypoint");
	const struct json *cmd = json_getl(&c, "Cmd");
	if (is_empty(entry) && (is_empty(cmd) || (cmd->n == 1 && json_span(&cmd->items[0]).len == 0)))
		return err_set(err, ERR_INVALID_REQUEST, "no command specified");
	*out = c;
	return 0;
}

void container_command(struct arena *a, const struct json *config, struct span *out_path, struct json *out_args)
{
	const struct json *lists[] = { json_getl(config, "Entrypoint"), json_getl(config, "Cmd") };
	struct json args = json_array();
	bool first = true;
	*out_path = SPAN_EMPTY;
	for (size_t i = 0; i < 2; i++)
		JSON_EACH_ITEM (lists[i], item) {
			if (first)
				*out_path = json_span(item);
			else
				json_push(a, &args, *item);
			first = false;
		}
	*out_args = args;
}
