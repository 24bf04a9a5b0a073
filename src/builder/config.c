/* An image's configuration under instructions: what dockerd's classic builder makes of them, in its words. */
#include "base/path.h"
#include "builder/config.h"

#include <ctype.h>
#include <inttypes.h>
#include <signal.h>

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PORTS_MAX 65535

/* ---- small things ---- */

void builder_quote(struct buf *out, struct span s)
{
	static const char named[] = "\a\b\t\n\v\f\r", letters[] = "abtnvfr";
	buf_chr(out, '"');
	while (s.len) {
		uint32_t code = 0;
		size_t n = utf8_next(s, &code);
		unsigned char c = (unsigned char)*s.ptr;
		const char *at = c && c < 0x20 ? strchr(named, c) : NULL;
		if (n > 1 && code >= 0xa0)
			buf_add(out, s.ptr, n);
		else if (n > 1)
			buf_printf(out, "\\u%04x", code);
		else if (c == '"' || c == '\\')
			buf_printf(out, "\\%c", c);
		else if (at)
			buf_printf(out, "\\%c", letters[at - named]);
		else if (c < 0x20 || c >= 0x7f)
			buf_printf(out, "\\x%02x", c);
		else
			buf_chr(out, (char)c);
		s = span_from(s, n ? n : 1);
	}
	buf_chr(out, '"');
}

int builder_duration(struct span text, int64_t *out_ns, struct err *err)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = { { "ns", 1 }, { "us", 1e3 }, { "\xc2\xb5s", 1e3 }, { "ms", 1e6 }, { "s", 1e9 }, { "m", 60e9 }, { "h", 3600e9 } };
	struct span s = text;
	double sum = 0;
	bool minus = span_starts(s, SPAN("-"));
	if (minus || span_starts(s, SPAN("+")))
		s = span_from(s, 1);
	if (span_is(s, "0")) {
		*out_ns = 0;
		return 0;
	}
	bool ok = s.len > 0;
	while (ok && s.len) {
		size_t n = 0, u;
		double v;
		while (n < s.len && (isdigit((unsigned char)s.ptr[n]) || s.ptr[n] == '.'))
			n++;
		ok = n && json_read_double(span_sub(s, 0, n), &v);
		s = span_from(s, n);
		n = 0;
		while (n < s.len && !isdigit((unsigned char)s.ptr[n]) && s.ptr[n] != '.')
			n++;
		for (u = 0; u < ARRAY_LEN(units) && !span_is(span_sub(s, 0, n), units[u].name); u++)
			;
		ok = ok && u < ARRAY_LEN(units);
		if (ok)
			sum += v * units[u].ns;
		s = span_from(s, n);
	}
	if (!ok || sum > 9.2e18) {
		auto_buf struct buf q = {};
		builder_quote(&q, text);
		return err_set(err, ERR_INVALID_REQUEST, "time: invalid duration %s", buf_cstr(&q));
	}
	*out_ns = (int64_t)(minus ? -sum : sum);
	return 0;
}

/* Go's Duration.String. */
static void duration_write(struct buf *out, int64_t ns)
{
	if (ns < NS_PER_S) {
		static const struct {
			int64_t unit;
			const char *name;
		} units[] = { { NS_PER_MS, "ms" }, { 1000, "\xc2\xb5s" }, { 1, "ns" } };
		for (size_t i = 0; i < ARRAY_LEN(units) && ns; i++)
			if (ns >= units[i].unit) {
				json_write_double(out, (double)ns / (double)units[i].unit);
				buf_str(out, units[i].name);
				return;
			}
		buf_str(out, "0s");
		return;
	}
	int64_t s = ns / NS_PER_S;
	if (s >= 3600)
		buf_printf(out, "%" PRId64 "h", s / 3600);
	if (s >= 60)
		buf_printf(out, "%" PRId64 "m", s / 60 % 60);
	json_write_double(out, (double)(s % 60) + (double)(ns % NS_PER_S) / 1e9);
	buf_chr(out, 's');
}

struct span builder_path_clean(struct arena *a, struct span path)
{
	return arena_printf(a, "/%.*s", SPAN_ARG(path_clean(a, path)));
}

static struct json *member(struct config *c, const char *key, struct json otherwise)
{
	struct json *v = json_get(&c->doc, span_of(key));
	return v && v->kind == otherwise.kind ? v : json_set(c->a, &c->doc, span_of(key), otherwise);
}

static struct span env_name(struct span entry)
{
	struct span name, value;
	(void)span_split(entry, '=', &name, &value);
	return name;
}

/* ---- variables ---- */

static bool scope_get(void *arg, struct span name, struct span *out)
{
	struct config *c = arg;
	JSON_EACH_ITEM(json_getl(&c->doc, "Env"), item) {
		struct span entry = json_span(item);
		if (span_eq(env_name(entry), name)) {
			*out = span_from(entry, name.len + 1);
			return true;
		}
	}
	return builder_vars_stage_get(c->vars, name, out);
}

struct builder_scope builder_config_scope(struct config *c)
{
	return (struct builder_scope){ .escape = c->escape, .get = scope_get, .arg = c };
}

static int expand(struct config *c, struct span text, struct span *out, struct err *err)
{
	const struct builder_scope scope = builder_config_scope(c);
	return builder_expand(text, &scope, c->a, out, err);
}

/* ---- a stage's beginning ---- */

void builder_config_begin(struct config *c, const struct json *image, struct json *out_triggers)
{
	c->doc = json_is(image, JSON_OBJECT) ? json_copy(c->a, image) : json_object();
	c->author = SPAN_EMPTY;
	c->cmd_set = false;
	const struct json *triggers = json_getl(&c->doc, "OnBuild");
	*out_triggers = json_is(triggers, JSON_ARRAY) ? *triggers : json_array();
	(void)json_setl(c->a, &c->doc, "OnBuild", JSON_NULL_VALUE);
	(void)json_remove(&c->doc, SPAN("OpenStdin"));
	(void)json_remove(&c->doc, SPAN("StdinOnce"));
	struct json *env = member(c, "Env", json_array());
	bool path = false;
	JSON_EACH_ITEM(env, item)
		path |= span_is(env_name(json_span(item)), "PATH");
	if (!path)
		(void)json_push(c->a, env, json_cstr(DEFAULT_PATH));
}

/* ---- commands ---- */

struct json builder_config_shell(struct config *c)
{
	const struct json *shell = json_getl(&c->doc, "Shell");
	if (json_is(shell, JSON_ARRAY) && shell->n)
		return json_copy(c->a, shell);
	struct json v = json_array();
	(void)json_push(c->a, &v, json_cstr("/bin/sh"));
	(void)json_push(c->a, &v, json_cstr("-c"));
	return v;
}

struct json builder_config_command(struct config *c, const struct builder_instruction *in)
{
	struct json v = in->json || !in->n_args ? json_array() : builder_config_shell(c);
	for (size_t i = 0; i < in->n_args; i++)
		(void)json_push(c->a, &v, json_str(in->args[i]));
	return v;
}

static struct span said_quoted(struct config *c, const char *what, const struct json *list)
{
	auto_buf struct buf b = {};
	buf_printf(&b, "%s [", what);
	JSON_EACH_ITEM(list, item) {
		if (item != list->items)
			buf_chr(&b, ' ');
		builder_quote(&b, json_span(item));
	}
	buf_chr(&b, ']');
	return arena_span(c->a, buf_span(&b));
}

/* Go's %v of a list. */
static struct span said_plain(struct config *c, const char *what, const struct span *items, size_t n)
{
	auto_buf struct buf b = {};
	buf_printf(&b, "%s [", what);
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%.*s", i ? " " : "", SPAN_ARG(items[i]));
	buf_chr(&b, ']');
	return arena_span(c->a, buf_span(&b));
}

/* ---- instructions ---- */

static void env_set(struct config *c, struct span name, struct span value)
{
	struct json *env = member(c, "Env", json_array());
	struct json entry = json_str(arena_printf(c->a, "%.*s=%.*s", SPAN_ARG(name), SPAN_ARG(value)));
	JSON_EACH_ITEM(env, item)
		if (span_eq(env_name(json_span(item)), name)) {
			*item = entry;
			return;
		}
	(void)json_push(c->a, env, entry);
}

/* ENV, LABEL, ARG: all values are expanded with what was before the instruction. */
static int pairs(struct config *c, const struct builder_instruction *in, struct span *out_said, struct err *err)
{
	auto_buf struct buf said = {};
	struct span *keys = arena_alloc_n(c->a, in->n_pairs + 1, sizeof(*keys)), *values = arena_alloc_n(c->a, in->n_pairs + 1,
		sizeof(*values));
	buf_str(&said, builder_op_name(in->op));
	for (size_t i = 0; i < in->n_pairs; i++) {
		const struct builder_pair *p = &in->pairs[i];
		int rc = expand(c, p->key, &keys[i], err);
		values[i] = SPAN_EMPTY;
		if (rc == 0 && p->has_value)
			rc = expand(c, p->value, &values[i], err);
		if (rc < 0)
			return rc;
		if (!keys[i].len)
			return err_set(err, ERR_INVALID_REQUEST, "%s names can not be blank", builder_op_name(in->op));
		buf_printf(&said, " %.*s", SPAN_ARG(keys[i]));
		if (p->has_value)
			buf_printf(&said, "=%.*s", SPAN_ARG(values[i]));
		if (in->op == BUILDER_ARG) /* the next of the line sees it */
			builder_vars_stage_add(c->vars, keys[i], values[i], p->has_value);
	}
	for (size_t i = 0; i < in->n_pairs; i++)
		if (in->op == BUILDER_ENV)
			env_set(c, keys[i], values[i]);
		else if (in->op == BUILDER_LABEL)
			(void)json_set(c->a, member(c, "Labels", json_object()), keys[i], json_str(values[i]));
	*out_said = arena_span(c->a, buf_span(&said));
	return 0;
}

void builder_config_label(struct config *c, const struct json_member *label, struct span *out_said)
{
	*out_said = arena_printf(c->a, "LABEL %.*s=%.*s", SPAN_ARG(json_key(label)), SPAN_ARG(json_span(&label->value)));
	(void)json_set(c->a, member(c, "Labels", json_object()), json_key(label), label->value);
}

/* [ip:[host]:]port[-port][/proto] */
static int port_add(struct config *c, struct span text, struct map *there, struct err *err)
{
	struct span port, proto, first, last;
	uint64_t from, to;
	if (!span_split(text, '/', &port, &proto) || !proto.len)
		proto = SPAN("tcp");
	port = span_from(port, (size_t)(span_rchr(port, ':') + 1));
	if (!port.len)
		return err_set(err, ERR_INVALID_REQUEST, "No port specified: %.*s<empty>", SPAN_ARG(text));
	if (!span_split(port, '-', &first, &last))
		last = first;
	if (!span_to_u64(first, &from) || !span_to_u64(last, &to) || from > PORTS_MAX || to > PORTS_MAX || to < from)
		return err_set(err, ERR_INVALID_REQUEST, "Invalid containerPort: %.*s", SPAN_ARG(port));
	char *lower = arena_cstr(c->a, proto);
	for (char *p = lower; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (strcmp(lower, "tcp") != 0 && strcmp(lower, "udp") != 0 && strcmp(lower, "sctp") != 0)
		return err_set(err, ERR_INVALID_REQUEST, "Invalid proto: %.*s", SPAN_ARG(proto));
	struct json *ports = member(c, "ExposedPorts", json_object());
	for (uint64_t p = from; p <= to; p++) {
		struct span key = arena_printf(c->a, "%" PRIu64 "/%s", p, lower);
		if (!map_put(there, key, c)) /* json_set would compare each with all before it */
			(void)json_add(c->a, ports, key, json_object());
	}
	return 0;
}

static int expose(struct config *c, const struct builder_instruction *in, struct span *out_said, struct err *err)
{
	auto_buf struct buf said = {};
	auto_map struct map there = {};
	const struct builder_scope scope = builder_config_scope(c);
	buf_str(&said, "EXPOSE");
	JSON_EACH_MEMBER(json_getl(&c->doc, "ExposedPorts"), m)
		(void)map_put(&there, json_key(m), c);
	for (size_t i = 0; i < in->n_args; i++) {
		struct span *words;
		size_t n;
		int rc = builder_expand_words(in->args[i], &scope, c->a, &words, &n, err);
		for (size_t k = 0; k < n && rc == 0; k++) {
			rc = port_add(c, words[k], &there, err);
			buf_printf(&said, " %.*s", SPAN_ARG(words[k]));
		}
		if (rc < 0)
			return rc;
	}
	*out_said = arena_span(c->a, buf_span(&said));
	return 0;
}

static bool signal_ok(struct span s)
{
	uint64_t n;
	if (span_to_u64(s, &n))
		return n >= 1 && n <= 64;
	if (s.len > 3 && span_eq_nocase(span_sub(s, 0, 3), SPAN("SIG")))
		s = span_from(s, 3);
	for (int i = 1; i < 32; i++)
		if (sigabbrev_np(i) && span_eq_nocase(s, span_of(sigabbrev_np(i))))
			return true;
	static const struct span ends[] = { SPAN_INIT("RTMIN"), SPAN_INIT("RTMAX") };
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (s.len >= 5 && span_eq_nocase(span_sub(s, 0, 5), ends[i])) {
			struct span rest = span_from(s, 5);
			return !rest.len || (*rest.ptr == (i ? '-' : '+') && span_to_u64(span_from(rest, 1), &n) && n >= 1 &&
				n <= (i ? 14 : 15));
		}
	return span_eq_nocase(s, SPAN("IOT")) || span_eq_nocase(s, SPAN("CLD")) || span_eq_nocase(s, SPAN("UNUSED"));
}

static int health_time(const struct builder_instruction *in, const char *flag, int64_t *out_ns, struct err *err)
{
	bool set;
	struct span text = builder_flag_get(in, flag, &set);
	*out_ns = 0;
	if (!set || !text.len)
		return 0;
	int rc = builder_duration(text, out_ns, err);
	if (rc == 0 && *out_ns && *out_ns < NS_PER_MS)
		return err_set(err, ERR_INVALID_REQUEST, "Interval \"%s\" cannot be less than 1ms", flag);
	return rc;
}

static int health(struct config *c, const struct builder_instruction *in, struct span *out_said, struct err *err)
{
	static const char *const flags[] = { "interval", "timeout", "start-period", "start-interval" };
	static const char *const names[] = { "Interval", "Timeout", "StartPeriod", "StartInterval" };
	struct json h = json_object(), test = json_array();
	auto_buf struct buf said = {};
	int64_t times[ARRAY_LEN(flags)], retries = 0;
	struct span text = builder_flag_get(in, "retries", NULL);
	(void)json_push(c->a, &test, json_cstr(in->health_none ? "NONE" : in->json ? "CMD" : "CMD-SHELL"));
	for (size_t i = 0; i < in->n_args; i++)
		(void)json_push(c->a, &test, json_str(in->args[i]));
	(void)json_setl(c->a, &h, "Test", test);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		int rc = health_time(in, flags[i], &times[i], err);
		if (rc < 0)
			return rc;
		if (times[i])
			(void)json_set(c->a, &h, span_of(names[i]), json_int(times[i]));
	}
	if (text.len && (!span_to_i64(text, &retries) || retries > INT32_MAX))
		return err_set(err, ERR_INVALID_REQUEST, "strconv.ParseInt: parsing \"%.*s\": invalid syntax", SPAN_ARG(text));
	if (retries < 0)
		return err_set(err, ERR_INVALID_REQUEST, "--retries cannot be negative (%" PRId64 ")", retries);
	if (retries)
		(void)json_setl(c->a, &h, "Retries", json_int(retries));
	(void)json_setl(c->a, &c->doc, "Healthcheck", h);
	/* Go's %q of the struct: durations are strings, the count a character. */
	struct span list = said_quoted(c, "HEALTHCHECK &{", &test);
	buf_printf(&said, "HEALTHCHECK &{%.*s", SPAN_ARG(span_from(list, sizeof("HEALTHCHECK &{"))));
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		if (i == 3 && !times[i])
			continue;
		buf_str(&said, " \"");
		duration_write(&said, times[i]);
		buf_chr(&said, '"');
	}
	static const char named[] = "\a\b\t\n\v\f\r", letters[] = "abtnvfr";
	const char *at = retries > 0 && retries < 0x20 ? strchr(named, (int)retries) : NULL;
	if (at)
		buf_printf(&said, " '\\%c'}", letters[at - named]);
	else if (retries < 0x20 || retries == 0x7f)
		buf_printf(&said, " '\\x%02x'}", (unsigned)retries);
	else if (retries == '\'' || retries == '\\')
		buf_printf(&said, " '\\%c'}", (char)retries);
	else {
		buf_str(&said, " '");
		utf8_add(&said, (uint32_t)retries);
		buf_str(&said, "'}");
	}
	*out_said = arena_span(c->a, buf_span(&said));
	return 0;
}

static int volume(struct config *c, const struct builder_instruction *in, struct span *out_said, struct err *err)
{
	struct span *items = arena_alloc_n(c->a, in->n_args + 1, sizeof(*items));
	for (size_t i = 0; i < in->n_args; i++) {
		int rc = expand(c, in->args[i], &items[i], err);
		if (rc < 0)
			return rc;
		items[i] = span_trim(items[i]);
		if (!items[i].len)
			return err_set(err, ERR_INVALID_REQUEST, "VOLUME specified can not be an empty string");
		(void)json_set(c->a, member(c, "Volumes", json_object()), items[i], json_object());
	}
	*out_said = said_plain(c, "VOLUME", items, in->n_args);
	return 0;
}

static int workdir(struct config *c, const struct builder_instruction *in, struct span *out_said, struct err *err)
{
	struct span to, was = json_span(json_getl(&c->doc, "WorkingDir"));
	int rc = expand(c, in->args[0], &to, err);
	if (rc < 0)
		return rc;
	if (!to.len)
		return err_set(err, ERR_INVALID_REQUEST, "cannot normalize nothing");
	if (*to.ptr != '/')
		to = builder_path_clean(c->a, arena_printf(c->a, "/%.*s/%.*s", SPAN_ARG(was), SPAN_ARG(to)));
	(void)json_setl(c->a, &c->doc, "WorkingDir", json_str(to));
	*out_said = arena_printf(c->a, "WORKDIR %.*s", SPAN_ARG(to));
	return 0;
}

int builder_config_apply(struct config *c, const struct builder_instruction *in, struct span *out_said, struct err *err)
{
	struct arena *a = c->a;
	struct span word;
	struct json list;
	int rc;
	switch (in->op) {
	case BUILDER_ARG:
	case BUILDER_ENV:
	case BUILDER_LABEL:
		return pairs(c, in, out_said, err);
	case BUILDER_CMD:
		list = builder_config_command(c, in);
		c->cmd_set |= list.n > 0;
		*out_said = said_quoted(c, "CMD", &list);
		(void)json_setl(a, &c->doc, "Cmd", list);
		return 0;
	case BUILDER_ENTRYPOINT:
		list = builder_config_command(c, in);
		*out_said = said_quoted(c, "ENTRYPOINT", &list);
		(void)json_setl(a, &c->doc, "Entrypoint", list);
		if (!c->cmd_set) /* the base's command was meant for the base's entrypoint */
			(void)json_setl(a, &c->doc, "Cmd", JSON_NULL_VALUE);
		return 0;
	case BUILDER_EXPOSE:
		return expose(c, in, out_said, err);
	case BUILDER_HEALTHCHECK:
		return health(c, in, out_said, err);
	case BUILDER_MAINTAINER:
		c->author = in->args[0];
		*out_said = arena_printf(a, "MAINTAINER %.*s", SPAN_ARG(in->args[0]));
		return 0;
	case BUILDER_ONBUILD:
		(void)json_push(a, member(c, "OnBuild", json_array()), json_str(in->trigger));
		*out_said = arena_printf(a, "ONBUILD %.*s", SPAN_ARG(in->trigger));
		return 0;
	case BUILDER_SHELL:
		list = json_array();
		for (size_t i = 0; i < in->n_args; i++)
			(void)json_push(a, &list, json_str(in->args[i]));
		(void)json_setl(a, &c->doc, "Shell", list);
		*out_said = said_plain(c, "SHELL", in->args, in->n_args);
		return 0;
	case BUILDER_STOPSIGNAL:
	case BUILDER_USER:
		rc = expand(c, in->args[0], &word, err);
		if (rc < 0)
			return rc;
		if (in->op == BUILDER_STOPSIGNAL && !signal_ok(word))
			return err_set(err, ERR_INVALID_REQUEST, "Invalid signal: %.*s", SPAN_ARG(word));
		(void)json_set(a, &c->doc, in->op == BUILDER_USER ? SPAN("User") : SPAN("StopSignal"), json_str(word));
		*out_said = arena_printf(a, "%s %.*s", builder_op_name(in->op), SPAN_ARG(word));
		return 0;
	case BUILDER_VOLUME:
		return volume(c, in, out_said, err);
	case BUILDER_WORKDIR:
		return workdir(c, in, out_said, err);
	default:
		assert(!"an instruction that makes a layer is no change of the configuration");
		return -ERR_INTERNAL;
	}
}

/* ---- writing ---- */

enum always { IF_SET, STRING, FALSE, NUL };
static const struct {
	const char *name;
	enum always always; /* what stands there when it is not set */
} members[] = {
	{ "Hostname", STRING }, { "Domainname", STRING }, { "User", STRING }, { "AttachStdin", FALSE }, { "AttachStdout", FALSE },
	{ "AttachStderr", FALSE }, { "ExposedPorts", IF_SET }, { "Tty", FALSE }, { "OpenStdin", FALSE }, { "StdinOnce", FALSE },
	{ "Env", NUL }, { "Cmd", NUL }, { "Healthcheck", IF_SET }, { "ArgsEscaped", IF_SET }, { "Image", STRING }, { "Volumes", NUL },
	{ "WorkingDir", STRING }, { "Entrypoint", NUL }, { "NetworkDisabled", IF_SET }, { "MacAddress", IF_SET }, { "OnBuild", NUL },
	{ "Labels", NUL }, { "StopSignal", IF_SET }, { "StopTimeout", IF_SET }, { "Shell", IF_SET },
};

void builder_config_write(struct json_out *o, const struct json *doc, const struct json *cmd, struct span image)
{
	json_out_begin(o);
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		struct span name = span_of(members[i].name);
		const struct json *v = json_get(doc, name);
		if (cmd && span_is(name, "Cmd"))
			v = cmd;
		bool is_image = span_is(name, "Image");
		if ((!v || v->kind == JSON_NULL) && !is_image && members[i].always == IF_SET)
			continue;
		json_out_key(o, name);
		if (is_image) {
			json_out_span(o, image);
		} else if (!v || v->kind == JSON_NULL) {
			if (members[i].always == STRING)
				json_out_span(o, SPAN(""));
			else if (members[i].always == FALSE)
				json_out_bool(o, false);
			else
				json_out_null(o);
		} else if (v->kind == JSON_OBJECT) {
			/* Go's maps come in order. */
			auto_buf struct buf b = {};
			json_write(&b, v, JSON_SORTED);
			json_out_raw(o, buf_span(&b));
		} else {
			json_out_value(o, v);
		}
	}
	json_out_end(o);
}
