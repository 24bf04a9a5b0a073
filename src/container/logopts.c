/* log-opts of the json-file driver: whether they are right, how large a file becomes, and what they ask to have in every record:
 * labels, environment and a tag, as dockerd's loggerutils makes them: {"KEY":"value",...,"tag":"..."}. */
#include <ctype.h>

#include "container/private.h"
#include "regex/regex.h"

#define ATTRS_MAX (MONITOR_TEXT_MAX - 1)

static struct span opt(const struct json *opts, const char *key)
{
	return container_str(opts, key);
}

static int pattern_new(const struct json *opts, const char *key, struct regex **out, struct err *err)
{
	struct span text = opt(opts, key);
	*out = NULL;
	if (!text.len)
		return 0;
	*out = regex_new(text, 0, err);
	return *out ? 0 : err_note(err, "invalid log opt %s", key);
}

static bool listed(struct span list, struct span name)
{
	struct span one;
	while (span_cut(&list, ',', &one))
		if (span_eq(span_trim(one), name))
			return true;
	return false;
}

/* Of a tag's template, without braces and blanks: ".Name". False when it is none that we know. */
static bool field(struct span name, const struct container *c, struct arena *a, struct span *out)
{
	struct span image = container_str(&c->doc, "Image"), hex = span_starts(image, SPAN("sha256:")) ? span_from(image, 7) : image;
	if (span_is(name, ".ID"))
		*out = span_sub(span_of(c->id), 0, 12);
	else if (span_is(name, ".FullID"))
		*out = span_of(c->id);
	else if (span_is(name, ".Name"))
		*out = span_of(c->name);
	else if (span_is(name, ".ImageID"))
		*out = span_sub(hex, 0, 12);
	else if (span_is(name, ".ImageFullID"))
		*out = image;
	else if (span_is(name, ".ImageName"))
		*out = container_str(c->config, "Image");
	else if (span_is(name, ".DaemonName"))
		*out = SPAN("docker");
	else
		return false;
	return true;
}

/* c NULL: only whether it can be made. */
static int tag_make(struct span text, const struct container *c, struct arena *a, struct buf *out, struct err *err)
{
	while (text.len) {
		ptrdiff_t open = span_find(text, SPAN("{{"));
		if (open < 0) {
			buf_span_add(out, text);
			return 0;
		}
		buf_span_add(out, span_sub(text, 0, (size_t)open));
		struct span rest = span_from(text, (size_t)open + 2), value = SPAN_EMPTY;
		ptrdiff_t close = span_find(rest, SPAN("}}"));
		static const struct container nobody = { .name = (char *)"" };
		if (close < 0 || !field(span_trim(span_sub(rest, 0, (size_t)close)), c ? c : &nobody, a, &value))
			return err_set(err, ERR_INVALID_REQUEST, "template: log-tag: \"%.*s\": known are {{.ID}}, {{.FullID}}, {{.Name}}, "
				"{{.ImageID}}, {{.ImageFullID}}, {{.ImageName}} and {{.DaemonName}}", SPAN_ARG(text));
		buf_span_add(out, value);
		text = span_from(rest, (size_t)close + 2);
	}
	return 0;
}

/* As go-units' FromHumanSize: decimal units, "1.5kB" and "2 MiB" alike. False: it is no size. */
static bool size_parse(struct span s, uint64_t *out)
{
	static const char units[] = "kmgtp";
	uint64_t whole, part = 0, scale = 1, unit = 1;
	size_t n = 0;
	while (n < s.len && (isdigit((unsigned char)s.ptr[n]) || s.ptr[n] == '.'))
		n++;
	struct span number = span_sub(s, 0, n), before = number, behind = SPAN_EMPTY, rest = span_from(s, n);
	if (span_split(number, '.', &before, &behind)) {
		behind = span_sub(behind, 0, MIN(behind.len, 9U));
		for (size_t i = 0; i < behind.len; i++)
			scale *= 10;
		if (!span_to_u64(behind, &part))
			return false;
	}
	if (!span_to_u64(before, &whole))
		return false;
	if (rest.len && rest.ptr[0] == ' ')
		rest = span_from(rest, 1);
	const char *u = rest.len ? strchr(units, rest.ptr[0] | 32) : NULL;
	if (u && *u) {
		for (const char *at = units; at <= u; at++)
			unit *= 1000;
		rest = span_from(rest, 1);
	}
	if (rest.len && (rest.ptr[0] | 32) == 'i')
		rest = span_from(rest, 1);
	if (rest.len && (rest.ptr[0] | 32) == 'b')
		rest = span_from(rest, 1);
	uint64_t big;
	if (rest.len || __builtin_mul_overflow(whole, unit, &big) || big > INT64_MAX / 2)
		return false;
	*out = big + (uint64_t)((double)part / (double)scale * (double)unit);
	return true;
}

uint64_t container_log_max_bytes(const struct json *opts)
{
	uint64_t n = 0;
	return size_parse(opt(opts, "max-size"), &n) ? n : 0;
}

bool container_log_compresses(const struct json *opts)
{
	bool yes = false;
	return span_to_bool(opt(opts, "compress"), &yes) && yes;
}

#define NO_DRIVER(...) err_set(err, ERR_INVALID_REQUEST, "failed to initialize logging driver: " __VA_ARGS__)

/* What dockerd says first when the container starts is an error of create here. */
static int turning_check(const struct json *opts, struct err *err)
{
	struct span size = opt(opts, "max-size"), files = opt(opts, "max-file"), compress = opt(opts, "compress");
	uint64_t n = 0;
	int64_t count = json_getl(opts, "max-size") ? 1 : 3; /* where neither is said it will be 10m and 3 */
	bool packed = false;
	if (json_getl(opts, "max-size") && !size_parse(size, &n))
		return NO_DRIVER("invalid size: '%.*s'", SPAN_ARG(size));
	if (json_getl(opts, "max-size") && n == 0)
		return NO_DRIVER("max-size must be a positive number");
	if (json_getl(opts, "max-file") && !span_to_i64(files, &count))
		return NO_DRIVER("strconv.Atoi: parsing \"%.*s\": invalid syntax", SPAN_ARG(files));
	if (count < 1)
		return NO_DRIVER("max-file cannot be less than 1");
	if (count > MONITOR_FILES_MAX)
		return NO_DRIVER("max-file: at most %d", MONITOR_FILES_MAX);
	if (json_getl(opts, "compress") && !span_to_bool(compress, &packed))
		return NO_DRIVER("strconv.ParseBool: parsing \"%.*s\": invalid syntax", SPAN_ARG(compress));
	return packed && count < 2 ? NO_DRIVER("compress cannot be true when max-file is less than 2 or max-size is not set") : 0;
}

static int delivery_check(const struct json *opts, struct err *err)
{
	struct span mode = opt(opts, "mode"), size = opt(opts, "max-buffer-size");
	uint64_t n;
	if (mode.len && !span_is(mode, "blocking") && !span_is(mode, "non-blocking"))
		return err_set(err, ERR_INVALID_REQUEST, "logger: logging mode not supported: %.*s", SPAN_ARG(mode));
	if (!json_getl(opts, "max-buffer-size"))
		return 0;
	if (!span_is(mode, "non-blocking"))
		return err_set(err, ERR_INVALID_REQUEST,
			"logger: max-buffer-size option is only supported with 'mode=non-blocking'");
	if (size_parse(size, &n))
		return 0;
	return err_set(err, ERR_INVALID_REQUEST, "error parsing option max-buffer-size: invalid size: '%.*s'", SPAN_ARG(size));
}

int container_log_opts_check(const struct json *opts, bool none, struct err *err)
{
	static const char *const known[] = { "max-file", "max-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag",
		"mode", "max-buffer-size" };
	static const char *const patterns[] = { "labels-regex", "env-regex" };
	auto_arena struct arena a = {};
	auto_buf struct buf b = {};
	int rc = 0;
	JSON_EACH_MEMBER (opts, m) {
		bool found = none;
		for (size_t i = 0; i < ARRAY_LEN(known); i++)
			found = found || span_is(json_key(m), known[i]);
		if (m->value.kind != JSON_STRING)
			return err_set(err, ERR_INVALID_REQUEST, "invalid LogConfig.Config: %.*s: expected a string", SPAN_ARG(json_key(m)));
		if (!found)
			return err_set(err, ERR_INVALID_REQUEST, "unknown log opt '%.*s' for json-file log driver", SPAN_ARG(json_key(m)));
	}
	if (none)
		return 0;
	rc = turning_check(opts, err);
	rc = rc < 0 ? rc : delivery_check(opts, err);
	for (size_t i = 0; i < ARRAY_LEN(patterns) && rc == 0; i++) {
		struct regex *re;
		rc = pattern_new(opts, patterns[i], &re, err);
		regex_free(re);
		if (rc < 0)
			err->class = ERR_INVALID_REQUEST;
	}
	return rc < 0 ? -ERR_INVALID_REQUEST : tag_make(opt(opts, "tag"), NULL, &a, &b, err);
}

static bool wanted(struct span list, const struct regex *re, struct regex_scratch *scratch, struct span name)
{
	return listed(list, name) || (re && regex_matches(re, scratch, name));
}

static void members_make(const struct container *c, const struct json *opts, const struct regex *labels, const struct regex *env,
	struct arena *a, struct json *out)
{
	struct regex_scratch scratch = {};
	JSON_EACH_MEMBER (json_getl(c->config, "Labels"), m)
		if (wanted(opt(opts, "labels"), labels, &scratch, json_key(m)))
			json_set(a, out, json_key(m), json_copy(a, &m->value));
	JSON_EACH_ITEM (json_getl(c->config, "Env"), item) {
		struct span name, value;
		if (span_split(json_span(item), '=', &name, &value) && wanted(opt(opts, "env"), env, &scratch, name))
			json_set(a, out, name, json_str(value));
	}
	regex_scratch_done(&scratch);
}

int container_log_attrs(const struct container *c, struct arena *a, const char **out_attrs, struct err *err)
{
	const struct json *opts = json_path(c->host, "LogConfig", "Config", NULL);
	struct json v = json_object();
	struct regex *labels = NULL, *env = NULL;
	auto_buf struct buf tag = {}, text = {};
	*out_attrs = NULL;
	int rc = pattern_new(opts, "labels-regex", &labels, err);
	rc = rc < 0 ? rc : pattern_new(opts, "env-regex", &env, err);
	rc = rc < 0 ? rc : tag_make(opt(opts, "tag"), c, a, &tag, err);
	if (rc == 0)
		members_make(c, opts, labels, env, a, &v);
	regex_free(labels);
	regex_free(env);
	if (rc < 0)
		return rc;
	if (tag.len)
		json_setl(a, &v, "tag", json_str(arena_span(a, buf_span(&tag))));
	if (!v.n)
		return 0;
	json_write(&text, &v, JSON_SORTED);
	if (text.len > ATTRS_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "log-opts labels, env and tag: %zu bytes in every record, at most %d", text.len,
			ATTRS_MAX);
	*out_attrs = arena_cstr(a, buf_span(&text));
	return 0;
}
