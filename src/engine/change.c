/* `docker import --change`: single Dockerfile instructions that change a configuration without a build. */
#include <ctype.h>

#include "engine/private.h"

#define WORDS_MAX 500

/* The next word of an instruction: blanks end it, quotes and backslashes hold it together. False at the end. */
static bool word(struct span *rest, struct arena *a, struct span *out)
{
	auto_buf struct buf b = {};
	char quote = 0;
	*rest = span_trim(*rest);
	if (!rest->len)
		return false;
	size_t i = 0;
	for (; i < rest->len; i++) {
		char c = rest->ptr[i];
		if (!quote && (c == ' ' || c == '\t'))
			break;
		if (quote ? c == quote : c == '"' || c == '\'') {
			quote = quote ? 0 : c;
			continue;
		}
		if (c == '\\' && quote != '\'' && i + 1 < rest->len)
			c = rest->ptr[++i];
		buf_chr(&b, c);
	}
	*rest = span_from(*rest, i);
	*out = arena_span(a, buf_span(&b));
	return true;
}

/* The exec form, or a shell's command line. */
static int command(struct json *config, const char *key, struct span args, struct arena *a, struct err *err)
{
	struct json v;
	if (args.len && args.ptr[0] == '[' && json_parse(a, args, 0, NULL, &v, NULL) == 0 && v.kind == JSON_ARRAY) {
		JSON_EACH_ITEM(&v, i)
			if (i->kind != JSON_STRING)
				return err_set(err, ERR_INVALID_REQUEST, "%s: only strings are allowed in the exec form", key);
	} else {
		v = json_array();
		(void)json_push(a, &v, json_cstr("/bin/sh"));
		(void)json_push(a, &v, json_cstr("-c"));
		(void)json_push(a, &v, engine_text(a, args));
	}
	(void)json_set(a, config, span_of(key), v);
	return 0;
}

static struct json *member(struct json *config, const char *key, struct json empty, struct arena *a)
{
	struct json *v = json_get(config, span_of(key));
	return v ? v : json_set(a, config, span_of(key), empty);
}

/* "k=v k2=v2", or the old "k v". */
static int pairs(struct json *config, struct span name, bool env, struct span args, struct arena *a, struct err *err)
{
	struct span rest = args, one, key, value;
	unsigned n = 0;
	while (word(&rest, a, &one)) {
		if (n++ == WORDS_MAX)
			return err_set(err, ERR_INVALID_REQUEST, "%.*s: too many words", SPAN_ARG(name));
		if (!span_split(one, '=', &key, &value)) {
			if (n > 1 || !span_trim(rest).len)
				return err_set(err, ERR_INVALID_REQUEST, "%.*s must have two arguments", SPAN_ARG(name));
			value = arena_span(a, span_trim(rest));
			rest = SPAN_EMPTY;
		}
		if (!key.len)
			return err_set(err, ERR_INVALID_REQUEST, "%.*s names can not be blank", SPAN_ARG(name));
		if (env)
			(void)json_push(a, member(config, "Env", json_array(), a),
				json_str(arena_printf(a, "%.*s=%.*s", SPAN_ARG(key), SPAN_ARG(value))));
		else
			(void)json_set(a, member(config, "Labels", json_object(), a), key, json_str(value));
	}
	return n ? 0 : err_set(err, ERR_INVALID_REQUEST, "%.*s requires at least one argument", SPAN_ARG(name));
}

static int set_of(struct json *config, const char *key, bool ports, struct span args, struct arena *a, struct err *err)
{
	struct json list;
	struct span rest = args, one;
	struct json *set = member(config, key, json_object(), a);
	if (!ports && args.len && args.ptr[0] == '[' && json_parse(a, args, 0, NULL, &list, NULL) == 0) {
		JSON_EACH_ITEM(&list, i)
			(void)json_set(a, set, json_span(i), json_object());
		return 0;
	}
	while (word(&rest, a, &one)) {
		struct span port, proto;
		uint64_t n;
		if (ports) {
			bool has = span_split(one, '/', &port, &proto);
			if (!span_to_u64(port, &n) || n < 1 || n > 65535 ||
			    (has && !span_is(proto, "tcp") && !span_is(proto, "udp") && !span_is(proto, "sctp")))
				return err_set(err, ERR_INVALID_REQUEST, "invalid containerPort: %.*s", SPAN_ARG(one));
			if (!has)
				one = arena_printf(a, "%.*s/tcp", SPAN_ARG(port));
		}
		(void)json_set(a, set, one, json_object());
	}
	return 0;
}

int engine_config_change(struct json *config, struct span line, struct arena *a, struct err *err)
{
	struct span name, args;
	line = span_trim(line);
	size_t i = 0;
	while (i < line.len && line.ptr[i] != ' ' && line.ptr[i] != '\t')
		i++;
	name = span_sub(line, 0, i);
	args = span_trim(span_from(line, i));
	if (span_eq_nocase(name, SPAN("CMD")))
		return command(config, "Cmd", args, a, err);
	if (span_eq_nocase(name, SPAN("ENTRYPOINT")))
		return command(config, "Entrypoint", args, a, err);
	if (span_eq_nocase(name, SPAN("ENV")))
		return pairs(config, SPAN("ENV"), true, args, a, err);
	if (span_eq_nocase(name, SPAN("LABEL")))
		return pairs(config, SPAN("LABEL"), false, args, a, err);
	if (span_eq_nocase(name, SPAN("EXPOSE")))
		return set_of(config, "ExposedPorts", true, args, a, err);
	if (span_eq_nocase(name, SPAN("VOLUME")))
		return set_of(config, "Volumes", false, args, a, err);
	static const char *const texts[][2] = { { "USER", "User" }, { "WORKDIR", "WorkingDir" }, { "STOPSIGNAL", "StopSignal" } };
	for (size_t k = 0; k < ARRAY_LEN(texts); k++)
		if (span_eq_nocase(name, span_of(texts[k][0]))) {
			if (!args.len)
				return err_set(err, ERR_INVALID_REQUEST, "%s requires exactly one argument", texts[k][0]);
			(void)json_set(a, config, span_of(texts[k][1]), engine_text(a, args));
			return 0;
		}
	if (span_eq_nocase(name, SPAN("ONBUILD"))) {
		int rc = image_trigger_check(args, err);
		if (rc < 0)
			return rc;
		(void)json_push(a, member(config, "OnBuild", json_array(), a), engine_text(a, args));
		return 0;
	}
	if (span_eq_nocase(name, SPAN("SHELL")) || span_eq_nocase(name, SPAN("HEALTHCHECK")))
		return err_set(err, ERR_UNSUPPORTED, "%.*s cannot be changed here: build an image instead", SPAN_ARG(name));
	return err_set(err, ERR_INVALID_REQUEST, "%.*s is not a valid change command", SPAN_ARG(name));
}
