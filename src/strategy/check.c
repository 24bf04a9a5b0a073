/* Paths, complaints and the checks that many kinds share. */
#include "strategy/check.h"

void path_text(const struct path *at, struct buf *out)
{
	if (!at) {
		buf_str(out, "<nil>");
		return;
	}
	if (at->up)
		path_text(at->up, out); /* as deep as the code that made the chain */
	if (at->index >= 0) {
		buf_printf(out, "[%d]", at->index);
	} else if (at->keyed || !at->name.len) { /* a step without a name is "[]" */
		buf_chr(out, '[');
		buf_span_add(out, at->name);
		buf_chr(out, ']');
	} else {
		if (at->up)
			buf_chr(out, '.');
		buf_span_add(out, at->name);
	}
}

/* ---- complaints */
static void add(struct check *c, const struct path *at, enum api_field_error type, struct span value, struct span detail)
{
	auto_buf struct buf field = {};
	path_text(at, &field);
	api_fe_add(&c->err, buf_span(&field), type, value, detail);
	c->n++;
}

static void add_v(struct check *c, const struct path *at, enum api_field_error type, struct span value, const char *fmt, va_list ap)
{
	auto_buf struct buf detail = {};
	buf_vprintf(&detail, fmt, ap);
	add(c, at, type, value, buf_span(&detail));
}

/* What ErrorBody prints for a bad value. */
static void show(struct buf *out, const struct json *value)
{
	if (!value || value->kind == JSON_NULL)
		buf_str(out, "null");
	else if (value->kind == JSON_STRING)
		api_go_quote(out, json_span(value));
	else if (value->kind == JSON_DOUBLE)
		api_go_float(out, value->d);
	else
		json_write(out, value, 0);
}

void bad_required(struct check *c, const struct path *at, const char *detail)
{
	add(c, at, API_FE_REQUIRED, SPAN_EMPTY, span_of(detail));
}

void bad_value(struct check *c, const struct path *at, const struct json *value, const char *fmt, ...)
{
	auto_buf struct buf text = {};
	show(&text, value);
	va_list ap;
	va_start(ap, fmt);
	add_v(c, at, API_FE_INVALID, buf_span(&text), fmt, ap);
	va_end(ap);
}

void bad_string(struct check *c, const struct path *at, struct span value, const char *fmt, ...)
{
	auto_buf struct buf text = {};
	api_go_quote(&text, value);
	va_list ap;
	va_start(ap, fmt);
	add_v(c, at, API_FE_INVALID, buf_span(&text), fmt, ap);
	va_end(ap);
}

void bad_int(struct check *c, const struct path *at, int64_t value, const char *fmt, ...)
{
	auto_buf struct buf text = {};
	buf_i64(&text, value);
	va_list ap;
	va_start(ap, fmt);
	add_v(c, at, API_FE_INVALID, buf_span(&text), fmt, ap);
	va_end(ap);
}

void bad_typed(struct check *c, const struct path *at, const char *go_type, const struct json *value, const char *fmt, ...)
{
	auto_buf struct buf text = {};
	strategy_go_syntax(&text, go_type, value);
	va_list ap;
	va_start(ap, fmt);
	add_v(c, at, API_FE_INVALID, buf_span(&text), fmt, ap);
	va_end(ap);
}

void bad_forbidden(struct check *c, const struct path *at, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	add_v(c, at, API_FE_FORBIDDEN, SPAN_EMPTY, fmt, ap);
	va_end(ap);
}

void bad_internal(struct check *c, const struct path *at, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	add_v(c, at, API_FE_INTERNAL, SPAN_EMPTY, fmt, ap);
	va_end(ap);
}

void bad_choice(struct check *c, const struct path *at, struct span value, const char *choices)
{
	auto_buf struct buf text = {}, detail = {};
	api_go_quote(&text, value);
	struct span rest = span_of(choices), one;
	while (span_cut(&rest, ' ', &one)) {
		buf_str(&detail, detail.len ? ", " : "supported values: ");
		api_go_quote(&detail, one);
	}
	add(c, at, API_FE_NOT_SUPPORTED, buf_span(&text), buf_span(&detail));
}

void bad_duplicate(struct check *c, const struct path *at, const struct json *value)
{
	auto_buf struct buf text = {};
	show(&text, value);
	add(c, at, API_FE_DUPLICATE, buf_span(&text), SPAN_EMPTY);
}

void bad_duplicate_typed(struct check *c, const struct path *at, const char *go_type, const struct json *value, const char *detail)
{
	auto_buf struct buf text = {};
	strategy_go_syntax(&text, go_type, value);
	add(c, at, API_FE_DUPLICATE, buf_span(&text), span_of(detail));
}

void bad_duplicate_string(struct check *c, const struct path *at, struct span value)
{
	struct json text = json_str(value);
	bad_duplicate(c, at, &text);
}

void bad_not_found(struct check *c, const struct path *at, struct span value)
{
	auto_buf struct buf text = {};
	api_go_quote(&text, value);
	add(c, at, API_FE_NOT_FOUND, buf_span(&text), SPAN_EMPTY);
}

void bad_too_long(struct check *c, const struct path *at, int64_t most)
{
	char detail[64];
	snprintf(detail, sizeof(detail), "may not be more than %lld bytes", (long long)most);
	add(c, at, API_FE_TOO_LONG, SPAN_EMPTY, span_of(detail));
}

void bad_too_many(struct check *c, const struct path *at, int64_t have, int64_t most)
{
	char detail[64], shown[32];
	snprintf(detail, sizeof(detail), "must have at most %lld items", (long long)most);
	snprintf(shown, sizeof(shown), "%lld", (long long)have);
	add(c, at, API_FE_TOO_MANY, span_of(shown), span_of(detail));
}

void bad_complaints(struct check *c, const struct path *at, struct span value, const struct api_complaints *list)
{
	for (unsigned i = 0; i < list->n; i++)
		bad_string(c, at, value, "%s", list->text[i]);
}

/* ---- comparing */
bool check_one_of(struct span value, const char *choices)
{
	struct span rest = span_of(choices), one;
	while (span_cut(&rest, ' ', &one))
		if (span_eq(one, value))
			return true;
	return false;
}

bool check_list_has(const struct json *strings, struct span value)
{
	JSON_EACH_ITEM(strings, item)
		if (span_eq(json_span(item), value))
			return true;
	return false;
}

static bool empty(const struct json *v)
{
	return !v || v->kind == JSON_NULL || ((v->kind == JSON_ARRAY || v->kind == JSON_OBJECT) && v->n == 0);
}

bool strategy_same(const struct json *a, const struct json *b)
{
	if (empty(a) || empty(b))
		return empty(a) && empty(b);
	if (a->kind != b->kind)
		return json_equal(a, b);
	if (a->kind == JSON_ARRAY) {
		if (a->n != b->n)
			return false;
		for (uint32_t i = 0; i < a->n; i++)
			if (!strategy_same(&a->items[i], &b->items[i]))
				return false;
		return true;
	}
	if (a->kind != JSON_OBJECT)
		return json_equal(a, b);
	JSON_EACH_MEMBER(a, m)
		if (!strategy_same(&m->value, json_get(b, json_key(m))))
			return false;
	JSON_EACH_MEMBER(b, m)
		if (!empty(&m->value) && !json_get(a, json_key(m)))
			return false;
	return true;
}

/* ---- common checks */
bool check_choice(struct check *c, const struct path *at, const struct json *value, const char *choices)
{
	if (!value || check_one_of(json_span(value), choices))
		return true;
	bad_choice(c, at, json_span(value), choices);
	return false;
}

bool check_name(struct check *c, const struct path *at, struct span value, api_name_fn *rule)
{
	struct api_complaints bad;
	if (!rule(value, &bad))
		return true;
	bad_complaints(c, at, value, &bad);
	return false;
}

void check_warn_name(struct check *c, const struct json *object, const char *used_in)
{
	struct api_complaints bad;
	auto_buf struct buf list = {};
	if (!api_name_dns1123_label(member_text(member(object, "metadata"), "name"), &bad))
		return;
	for (unsigned i = 0; i < bad.n; i++)
		buf_printf(&list, "%s%s", i ? " " : "", bad.text[i]);
	strategy_warn(c->s,
		      "metadata.name: this is used in %s, which can result in surprising behavior; a DNS label is recommended: [%s]",
		      used_in, buf_cstr(&list));
}

bool strategy_go_time(struct buf *out, struct span text)
{
	auto_buf struct buf iso = {};
	int64_t second;
	int32_t ns;
	if (api_time_parse(text, API_TIME_SECONDS, &second, &ns, NULL) < 0)
		return false;
	api_time_print(&iso, API_TIME_SECONDS, second, 0); /* 2020-01-02T03:04:05Z */
	buf_printf(out, "%.10s %.8s +0000 UTC", iso.ptr, iso.ptr + 11);
	return true;
}

void check_non_negative(struct check *c, const struct path *at, const struct json *number)
{
	if (number && json_i64(number, 0) < 0)
		bad_value(c, at, number, "must be greater than or equal to 0");
}

void check_positive(struct check *c, const struct path *at, const struct json *number)
{
	if (number && json_i64(number, 0) <= 0)
		bad_value(c, at, number, "must be greater than zero");
}

void check_port(struct check *c, const struct path *at, int64_t port)
{
	struct api_complaints bad;
	if (api_port_check(port, &bad))
		bad_int(c, at, port, "%s", bad.text[0]);
}

void check_labels(struct check *c, const struct path *at, const struct json *labels)
{
	JSON_EACH_MEMBER(labels, m) {
		check_name(c, at, json_key(m), api_name_qualified);
		check_name(c, at, json_span(&m->value), api_name_label_value);
	}
}

void check_annotations(struct check *c, const struct path *at, const struct json *annotations)
{
	size_t total = 0;
	JSON_EACH_MEMBER(annotations, m) {
		struct api_complaints bad;
		char *lower = arena_cstr(c->arena, json_key(m));
		for (uint32_t i = 0; i < m->key_len; i++)
			if (lower[i] >= 'A' && lower[i] <= 'Z')
				lower[i] = (char)(lower[i] + 'a' - 'A');
		if (api_name_qualified(span_make(lower, m->key_len), &bad))
			bad_complaints(c, at, json_key(m), &bad);
		total += m->key_len + json_span(&m->value).len;
	}
	if (total > 256 << 10)
		bad_too_long(c, at, 256 << 10);
}

void check_label_selector(struct check *c, const struct path *at, const struct json *selector, bool values_lax)
{
	if (!selector)
		return;
	check_labels(c, &PATH(at, "matchLabels"), member(selector, "matchLabels"));
	const struct path list = PATH(at, "matchExpressions");
	JSON_EACH_INDEX(member(selector, "matchExpressions"), e, i) {
		const struct path item = PATH_INDEX(&list, i);
		const struct json *values = member(e, "values");
		struct span op = member_text(e, "operator");
		if (check_one_of(op, "In NotIn")) {
			if (!json_count(values))
				bad_required(c, &PATH(&item, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
		} else if (check_one_of(op, "Exists DoesNotExist")) {
			if (json_count(values))
				bad_forbidden(c, &PATH(&item, "values"),
					      "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
		} else {
			bad_string(c, &PATH(&item, "operator"), op, "not a valid selector operator");
		}
		check_name(c, &PATH(&item, "key"), member_text(e, "key"), api_name_qualified);
		if (values_lax)
			continue;
		JSON_EACH_INDEX(values, v, at_value)
			check_name(c, &PATH_INDEX(&PATH(&item, "values"), at_value), json_span(v), api_name_label_value);
	}
}

bool check_selector_has_bad_value(const struct json *selector)
{
	JSON_EACH_ITEM(member(selector, "matchExpressions"), e)
		JSON_EACH_ITEM(member(e, "values"), v)
			if (api_name_label_value(json_span(v), NULL))
				return true;
	return false;
}

void check_immutable(struct check *c, const struct path *at, const char *go_type, const struct json *now, const struct json *was)
{
	static const char why[] = "field is immutable";
	if (strategy_same(now, was))
		return;
	if (go_type[0])
		bad_typed(c, at, go_type, now, "%s", why);
	else
		bad_value(c, at, now, "%s", why);
}

void check_ip(struct check *c, const struct path *at, struct span ip, enum api_ip_mode mode)
{
	struct api_complaints bad;
	if (api_ip_check(c->arena, ip, mode, &bad))
		bad_complaints(c, at, ip, &bad);
}

void check_cidr(struct check *c, const struct path *at, struct span cidr, enum api_ip_mode mode)
{
	struct api_complaints bad;
	if (api_cidr_check(c->arena, cidr, mode, &bad))
		bad_complaints(c, at, cidr, &bad);
}

void check_conditions(struct check *c, const struct path *at, const struct json *conditions)
{
	JSON_EACH_INDEX(conditions, cond, i) {
		const struct path item = PATH_INDEX(at, i);
		struct span type = member_text(cond, "type"), status = member_text(cond, "status");
		struct span reason = member_text(cond, "reason");
		for (uint32_t k = 0; k < i; k++)
			if (span_eq(member_text(&conditions->items[k], "type"), type)) {
				bad_duplicate_string(c, &PATH(&item, "type"), type);
				break;
			}
		check_name(c, &PATH(&item, "type"), type, api_name_qualified);
		if (!check_one_of(status, "True False Unknown"))
			bad_choice(c, &PATH(&item, "status"), status, "False True Unknown");
		if (member_int(cond, "observedGeneration") < 0)
			bad_value(c, &PATH(&item, "observedGeneration"), member(cond, "observedGeneration"),
				  "must be greater than or equal to zero");
		if (!member_text(cond, "lastTransitionTime").len)
			bad_required(c, &PATH(&item, "lastTransitionTime"), "must be set");
		if (!reason.len)
			bad_required(c, &PATH(&item, "reason"), "must be set");
		else
			check_name(c, &PATH(&item, "reason"), reason, api_name_condition_reason);
		if (reason.len > 1024)
			bad_too_long(c, &PATH(&item, "reason"), 1024);
		if (member_text(cond, "message").len > 32 << 10)
			bad_too_long(c, &PATH(&item, "message"), 32 << 10);
	}
}

bool check_present(struct check *c, const struct path *at, const struct json *object, const char *name)
{
	if (member_text(object, name).len)
		return true;
	bad_required(c, &PATH_SPAN(at, span_of(name)), "");
	return false;
}

/* ---- node selectors */
static void check_node_requirement(struct check *c, const struct path *at, const struct json *rq, bool values_lax)
{
	struct span op = member_text(rq, "operator");
	const struct json *values = member(rq, "values");
	if (check_one_of(op, "In NotIn")) {
		if (!json_count(values))
			bad_required(c, &PATH(at, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
	} else if (check_one_of(op, "Exists DoesNotExist")) {
		if (json_count(values))
			bad_forbidden(c, &PATH(at, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
	} else if (check_one_of(op, "Gt Lt")) {
		if (json_count(values) != 1)
			bad_required(c, &PATH(at, "values"), "must be specified single value when `operator` is 'Lt' or 'Gt'");
	} else {
		bad_string(c, &PATH(at, "operator"), op, "not a valid selector operator");
	}
	check_name(c, &PATH(at, "key"), member_text(rq, "key"), api_name_qualified);
	if (values_lax)
		return;
	JSON_EACH_INDEX(values, v, i)
		check_name(c, &PATH_INDEX(&PATH(at, "values"), i), json_span(v), api_name_label_value);
}

static void check_node_field(struct check *c, const struct path *at, const struct json *rq)
{
	struct span op = member_text(rq, "operator"), key = member_text(rq, "key");
	const struct json *values = member(rq, "values");
	if (!check_one_of(op, "In NotIn"))
		bad_string(c, &PATH(at, "operator"), op, "not a valid selector operator");
	else if (json_count(values) != 1)
		bad_required(c, &PATH(at, "values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field "
			"selector");
	if (!span_is(key, "metadata.name")) {
		bad_string(c, &PATH(at, "key"), key, "not a valid field selector key");
		return;
	}
	JSON_EACH_INDEX(values, v, i)
		check_name(c, &PATH_INDEX(&PATH(at, "values"), i), json_span(v), api_name_dns1123_subdomain);
}

void check_node_term(struct check *c, const struct path *at, const struct json *term, bool values_lax)
{
	const struct path expressions = PATH(at, "matchExpressions"), fields = PATH(at, "matchFields");
	JSON_EACH_INDEX(member(term, "matchExpressions"), rq, i)
		check_node_requirement(c, &PATH_INDEX(&expressions, i), rq, values_lax);
	JSON_EACH_INDEX(member(term, "matchFields"), rq, i)
		check_node_field(c, &PATH_INDEX(&fields, i), rq);
}

void check_node_selector(struct check *c, const struct path *at, const struct json *selector, bool values_lax)
{
	const struct path terms_at = PATH(at, "nodeSelectorTerms");
	const struct json *terms = member(selector, "nodeSelectorTerms");
	if (!json_count(terms)) {
		bad_required(c, &terms_at, "must have at least one node selector term");
		return;
	}
	JSON_EACH_INDEX(terms, term, i)
		check_node_term(c, &PATH_INDEX(&terms_at, i), term, values_lax);
}

bool check_node_selector_has_bad_value(const struct json *selector)
{
	JSON_EACH_ITEM(member(selector, "nodeSelectorTerms"), term)
		if (check_selector_has_bad_value(term)) /* the same members */
			return true;
	return false;
}

void check_port_number_or_name(struct check *c, const struct path *at, const struct json *port)
{
	if (json_is(port, JSON_STRING))
		check_name(c, at, json_span(port), api_name_port);
	else
		check_port(c, at, json_i64(port, 0));
}

/* ---- addresses */
bool check_is_ip(struct span s)
{
	struct api_ip ip;
	return api_ip_parse(s, &ip);
}

bool check_is_ipv6(struct span s)
{
	struct api_ip ip;
	return api_ip_parse(s, &ip) && ip.len == 16;
}

void check_non_special_ip(struct check *c, const struct path *at, struct span text)
{
	static const uint8_t zero[16], one[16] = { [15] = 1 };
	struct api_ip ip;
	if (!api_ip_parse(text, &ip)) {
		bad_string(c, at, text, "must be a valid IP address");
		return;
	}
	const uint8_t *b = ip.bytes;
	bool four = ip.len == 4;
	if (memcmp(b, zero, ip.len) == 0)
		bad_string(c, at, text, "may not be unspecified (%.*s)", SPAN_ARG(text));
	if (four ? b[0] == 127 : memcmp(b, one, 16) == 0)
		bad_string(c, at, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
	if (four ? b[0] == 169 && b[1] == 254 : b[0] == 0xfe && (b[1] & 0xc0) == 0x80)
		bad_string(c, at, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
	if (four ? b[0] == 224 && b[1] == 0 && b[2] == 0 : b[0] == 0xff && (b[1] & 0x0f) == 0x02)
		bad_string(c, at, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

void strategy_warn_ip(struct strategy *s, const struct path *at, struct span text)
{
	struct api_ip ip;
	if (!api_ip_parse(text, &ip))
		return;
	auto_buf struct buf field = {}, quoted = {};
	char canon[46];
	size_t n = api_ip_print(&ip, canon);
	path_text(at, &field);
	api_go_quote(&quoted, text);
	if (ip.mapped || ip.sloppy)
		strategy_warn(s, "%s: non-standard IP address %s will be considered invalid in a future Kubernetes release: use "
			"\"%.*s\"",
			      buf_cstr(&field), buf_cstr(&quoted), (int)n, canon);
	else if (ip.len == 16 && !span_eq(text, span_make(canon, n)))
		strategy_warn(s, "%s: IPv6 address %s should be in RFC 5952 canonical format (\"%.*s\")", buf_cstr(&field),
			      buf_cstr(&quoted), (int)n, canon);
}

void strategy_warn_cidr(struct strategy *s, const struct path *at, struct span text)
{
	struct api_ip ip, net;
	unsigned bits;
	if (!api_cidr_parse(text, &ip, &bits))
		return;
	net = ip;
	bool host_bits = api_ip_mask(&net, bits);
	auto_buf struct buf field = {}, quoted = {};
	char ip_text[46], net_text[46], canon[64];
	size_t n = api_ip_print(&ip, ip_text), m = api_ip_print(&net, net_text);
	snprintf(canon, sizeof(canon), "%.*s/%u", (int)m, net_text, bits);
	path_text(at, &field);
	api_go_quote(&quoted, text);
	if (host_bits)
		strategy_warn(s, "%s: CIDR value %s is ambiguous in this context (should be \"%s\" or \"%.*s/%d\"?)",
			buf_cstr(&field),
			      buf_cstr(&quoted), canon, (int)n, ip_text, ip.len * 8);
	struct span head, tail;
	span_split(text, '/', &head, &tail);
	bool zero_ahead = tail.len > 1 && tail.ptr[0] == '0';
	if (ip.mapped || ip.sloppy || zero_ahead)
		strategy_warn(s, "%s: non-standard CIDR value %s will be considered invalid in a future Kubernetes release: use "
			"\"%s\"",
			      buf_cstr(&field), buf_cstr(&quoted), canon);
	else if (!host_bits && ip.len == 16 && !span_is(text, canon))
		strategy_warn(s, "%s: IPv6 CIDR value %s should be in RFC 5952 canonical format (\"%s\")", buf_cstr(&field),
			      buf_cstr(&quoted), canon);
}

/* ---- differences */
static void diff_line(struct buf *out, char sign, struct span path, const struct json *v)
{
	buf_printf(out, "%c %.*s: ", sign, SPAN_ARG(path));
	json_write(out, v, 0);
	buf_chr(out, '\n');
}

/* As deep as the trees are (at most 200). */
static void diff_at(struct buf *out, struct buf *path, const struct json *old, const struct json *now)
{
	size_t stem = path->len;
	if (strategy_same(old, now))
		return;
	if (json_is(old, JSON_OBJECT) && json_is(now, JSON_OBJECT)) {
		for (int pass = 0; pass < 2; pass++)
			JSON_EACH_MEMBER(pass ? now : old, m) {
				const struct json *other = json_get(pass ? old : now, json_key(m));
				if (pass && other)
					continue;
				buf_printf(path, "%s%.*s", stem ? "." : "", SPAN_ARG(json_key(m)));
				diff_at(out, path, pass ? NULL : &m->value, pass ? &m->value : other);
				buf_trunc(path, stem);
			}
		return;
	}
	if (json_is(old, JSON_ARRAY) && json_is(now, JSON_ARRAY) && old->n == now->n) {
		for (uint32_t i = 0; i < old->n; i++) {
			buf_printf(path, "[%u]", i);
			diff_at(out, path, &old->items[i], &now->items[i]);
			buf_trunc(path, stem);
		}
		return;
	}
	if (old)
		diff_line(out, '-', buf_span(path), old);
	if (now)
		diff_line(out, '+', buf_span(path), now);
}

void strategy_diff(struct buf *out, const struct json *old, const struct json *now)
{
	auto_buf struct buf path = {};
	diff_at(out, &path, old, now);
}

/* ---- defaults */
static bool missing(const struct json *object, const char *key, bool zero_too)
{
	const struct json *v = json_get(object, span_of(key));
	if (!v || v->kind == JSON_NULL)
		return true;
	return zero_too && ((v->kind == JSON_STRING && !v->n) || (v->kind == JSON_INT && !v->i));
}

static void fill(struct arena *a, struct json *object, const char *key, struct json value, bool zero_too)
{
	if (json_is(object, JSON_OBJECT) && missing(object, key, zero_too))
		json_set(a, object, span_of(key), value);
}

void default_string(struct arena *a, struct json *object, const char *key, const char *value)
{
	fill(a, object, key, json_cstr(value), true);
}

void default_unset(struct arena *a, struct json *object, const char *key, const char *value)
{
	fill(a, object, key, json_cstr(value), false);
}

void default_int(struct arena *a, struct json *object, const char *key, int64_t value)
{
	fill(a, object, key, json_int(value), false);
}

void default_int_nonzero(struct arena *a, struct json *object, const char *key, int64_t value)
{
	fill(a, object, key, json_int(value), true);
}

void default_bool(struct arena *a, struct json *object, const char *key, bool value)
{
	fill(a, object, key, json_bool(value), false);
}

struct json *default_object(struct arena *a, struct json *object, const char *key)
{
	if (!json_is(object, JSON_OBJECT))
		return NULL;
	struct json *v = json_get(object, span_of(key));
	return v && v->kind != JSON_NULL ? v : json_set(a, object, span_of(key), json_object());
}

void default_resource_list(struct arena *a, struct json *list)
{
	JSON_EACH_MEMBER(list, m) {
		struct api_quantity q;
		if (!check_quantity(&m->value, &q) || api_quantity_round_up(&q, -3))
			continue;
		auto_buf struct buf text = {};
		api_quantity_print(&q, &text);
		m->value = json_str(arena_span(a, buf_span(&text)));
	}
}

void default_resources(struct arena *a, struct json *requirements)
{
	default_resource_list(a, member(requirements, "limits"));
	default_resource_list(a, member(requirements, "requests"));
}
