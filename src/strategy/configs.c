/* ConfigMap and Secret. */
#include "strategy/check.h"

#define SIZE_MAX_BYTES (1 << 20) /* MaxSecretSize: all values together */
#define FROZEN "field is immutable when `immutable` is set"

static size_t decoded_len(const struct json *base64)
{
	struct span s = json_span(base64);
	size_t pad = s.len >= 1 && s.ptr[s.len - 1] == '=' ? (s.len >= 2 && s.ptr[s.len - 2] == '=' ? 2 : 1) : 0;
	return s.len / 4 * 3 - MIN(pad, s.len / 4 * 3);
}

/* What a map of values may still be once `immutable` was set. */
static void check_frozen(struct check *c, const struct json *now, const struct json *was, const char *const *maps)
{
	if (!member_true(was, "immutable"))
		return;
	if (!member_true(now, "immutable"))
		bad_forbidden(c, &PATH(PATH_ROOT, "immutable"), FROZEN);
	for (; *maps; maps++)
		if (member_changed(now, was, *maps))
			bad_forbidden(c, &PATH_SPAN(PATH_ROOT, span_of(*maps)), FROZEN);
}

/* ---- ConfigMap */
static void check_config_map(struct check *c, const struct json *object, const struct json *old)
{
	static const char *const maps[] = { "data", "binaryData", NULL };
	if (old) {
		check_meta_update(c, object, old, META_CORE);
		check_frozen(c, object, old, maps);
	}
	check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
	const struct path data = PATH(PATH_ROOT, "data"), binary = PATH(PATH_ROOT, "binaryData");
	const struct json *bytes = member(object, "binaryData");
	size_t total = 0;
	JSON_EACH_MEMBER(member(object, "data"), m) {
		const struct path at = PATH_KEY(&data, json_key(m));
		check_name(c, &at, json_key(m), api_name_config_key);
		if (json_get(bytes, json_key(m)))
			bad_string(c, &at, json_key(m), "duplicate of key present in binaryData");
		total += json_span(&m->value).len;
	}
	JSON_EACH_MEMBER(bytes, m) {
		check_name(c, &PATH_KEY(&binary, json_key(m)), json_key(m), api_name_config_key);
		total += decoded_len(&m->value);
	}
	if (total > SIZE_MAX_BYTES)
		bad_too_long(c, &PATH(PATH_ROOT, ""), SIZE_MAX_BYTES);
}

const struct strategy_kind strategy_kind_config_map = {
	.group = "", .kind = "ConfigMap", .flags = STRATEGY_UNCONDITIONAL_UPDATE, .prepare = prepare_nothing,
	.check = check_config_map,
};

/* ---- Secret */
static void default_secret(struct arena *a, struct json *object)
{
	default_string(a, object, "type", "Opaque");
	struct json *texts = member(object, "stringData");
	if (!json_is(texts, JSON_OBJECT))
		return;
	if (texts->n) {
		struct json *data = default_object(a, object, "data");
		JSON_EACH_MEMBER(texts, m) {
			auto_buf struct buf b = {};
			base64_add(&b, BASE64_STD, json_span(&m->value).ptr, json_span(&m->value).len);
			json_set(a, data, json_key(m), json_str(arena_span(a, buf_span(&b))));
		}
	}
	json_remove(object, SPAN("stringData"));
}

static void prepare_secret(struct strategy *s)
{
	if (s->old && !member_text(s->object, "type").len)
		strategy_keep(s, "type");
}

bool strategy_json_is_object(struct span text, struct buf *out)
{
	if (json_go_complaint(out, text))
		return false;
	text = span_trim(text);
	char first = text.ptr[0];
	if (first == '{' || first == 'n')
		return true;
	buf_printf(out, "json: cannot unmarshal %s into Go value of type map[string]interface {}",
		   first == '[' ? "array" : first == '"' ? "string" : first == 't' || first == 'f' ? "bool" : "number");
	return false;
}

/* The value of a key must be a JSON object; what is wrong is told without showing it. */
static void check_json_key(struct check *c, const struct path *data, const struct json *values, struct span key)
{
	const struct json *value = json_get(values, key);
	if (!value) {
		bad_required(c, &PATH_KEY(data, key), "");
		return;
	}
	auto_buf struct buf text = {}, why = {};
	(void)base64_parse(&text, BASE64_STD, json_span(value)); /* decoding has checked it */
	if (!strategy_json_is_object(buf_span(&text), &why))
		bad_string(c, &PATH_KEY(data, key), SPAN("<secret contents redacted>"), "%s", buf_cstr(&why));
}

static void require_key(struct check *c, const struct path *data, const struct json *values, struct span key)
{
	if (!json_get(values, key))
		bad_required(c, &PATH_KEY(data, key), "");
}

/* What a type of Secret must hold. */
static void check_secret_type(struct check *c, const struct json *object)
{
	const struct path data = PATH(PATH_ROOT, "data");
	const struct json *values = member(object, "data");
	struct span type = member_text(object, "type");
	if (span_is(type, "kubernetes.io/service-account-token")) {
		struct span key = SPAN("kubernetes.io/service-account.name");
		if (!json_span(json_get(json_path(object, "metadata", "annotations", NULL), key)).len)
			bad_required(c, &PATH_KEY(&PATH(&PATH(PATH_ROOT, "metadata"), "annotations"), key), "");
	} else if (span_is(type, "kubernetes.io/dockercfg")) {
		check_json_key(c, &data, values, SPAN(".dockercfg"));
	} else if (span_is(type, "kubernetes.io/dockerconfigjson")) {
		check_json_key(c, &data, values, SPAN(".dockerconfigjson"));
	} else if (span_is(type, "kubernetes.io/basic-auth")) {
		if (!member(values, "username") && !member(values, "password")) {
			require_key(c, &data, values, SPAN("username"));
			require_key(c, &data, values, SPAN("password"));
		}
	} else if (span_is(type, "kubernetes.io/ssh-auth")) {
		if (!member_text(values, "ssh-privatekey").len)
			bad_required(c, &PATH_KEY(&data, SPAN("ssh-privatekey")), "");
	} else if (span_is(type, "kubernetes.io/tls")) {
		require_key(c, &data, values, SPAN("tls.crt"));
		require_key(c, &data, values, SPAN("tls.key"));
	}
}

static void check_secret(struct check *c, const struct json *object, const struct json *old)
{
	static const char *const maps[] = { "data", NULL };
	if (old) {
		check_meta_update(c, object, old, META_CORE);
		check_immutable(c, &PATH(PATH_ROOT, "type"), "", member(object, "type"), member(old, "type"));
		check_frozen(c, object, old, maps);
	}
	check_meta(c, object, META_CORE, api_name_dns1123_subdomain);
	const struct path data = PATH(PATH_ROOT, "data");
	size_t total = 0;
	JSON_EACH_MEMBER(member(object, "data"), m) {
		check_name(c, &PATH_KEY(&data, json_key(m)), json_key(m), api_name_config_key);
		total += decoded_len(&m->value);
	}
	if (total > SIZE_MAX_BYTES)
		bad_too_long(c, &data, SIZE_MAX_BYTES);
	check_secret_type(c, object);
}

/* Types of the PEM blocks in a text, up to eight; their number. */
static unsigned pem_types(struct span text, struct span out[8])
{
	unsigned n = 0;
	ptrdiff_t at;
	while (n < 8 && (at = span_find(text, SPAN("-----BEGIN "))) >= 0) {
		text = span_from(text, (size_t)at + 11);
		ptrdiff_t end = span_find(text, SPAN("-----"));
		if (end < 0 || span_find(text, SPAN("-----END ")) < 0)
			break;
		out[n++] = span_sub(text, 0, (size_t)end);
		text = span_from(text, (size_t)span_find(text, SPAN("-----END ")));
	}
	return n;
}

static void add_types(struct buf *out, const struct span *types, unsigned n)
{
	buf_chr(out, '[');
	for (unsigned i = 0; i < n; i++)
		buf_printf(out, "%s%.*s", i ? " " : "", SPAN_ARG(types[i]));
	buf_chr(out, ']');
}

/* Go's tls.X509KeyPair as far as the PEM blocks tell: a pair that cannot be read is stored, with a warning. */
static void warn_secret(struct check *c, const struct json *object, const struct json *old)
{
	if (!span_is(member_text(object, "type"), "kubernetes.io/tls"))
		return;
	const struct json *data = member(object, "data");
	auto_buf struct buf cert = {}, key = {}, list = {};
	(void)base64_parse(&cert, BASE64_STD, member_text(data, "tls.crt"));
	(void)base64_parse(&key, BASE64_STD, member_text(data, "tls.key"));
	struct span types[8];
	unsigned n = pem_types(buf_span(&cert), types);
	bool found = false;
	for (unsigned i = 0; i < n; i++)
		found |= span_is(types[i], "CERTIFICATE");
	if (!n) {
		strategy_warn(c->s, "tls: failed to find any PEM data in certificate input");
		return;
	}
	if (!found && n == 1 && span_ends(types[0], SPAN("PRIVATE KEY"))) {
		strategy_warn(c->s, "tls: failed to find certificate PEM data in certificate input, but did find a private key; "
				    "PEM inputs may have been switched");
		return;
	}
	if (!found) {
		add_types(&list, types, n);
		strategy_warn(c->s, "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks "
				    "of the following types: %s", buf_cstr(&list));
		return;
	}
	n = pem_types(buf_span(&key), types);
	found = false;
	for (unsigned i = 0; i < n; i++)
		found |= span_is(types[i], "PRIVATE KEY") || span_ends(types[i], SPAN(" PRIVATE KEY"));
	if (!n) {
		strategy_warn(c->s, "tls: failed to find any PEM data in key input");
	} else if (!found && n == 1 && span_is(types[0], "CERTIFICATE")) {
		strategy_warn(c->s, "tls: found a certificate rather than a key in the PEM for the private key");
	} else if (!found) {
		add_types(&list, types, n);
		strategy_warn(c->s, "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping "
				    "PEM blocks of the following types: %s", buf_cstr(&list));
	}
}

const struct strategy_kind strategy_kind_secret = {
	.group = "", .kind = "Secret", .flags = STRATEGY_UNCONDITIONAL_UPDATE, .defaults = default_secret,
	.prepare = prepare_secret, .check = check_secret, .warnings = warn_secret,
};
