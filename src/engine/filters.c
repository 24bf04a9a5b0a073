/* Filters of lists, prunes and events: their two encodings, and what matches. The rules and words of docker/api/types/filters. */
#include <time.h>

#include "engine/private.h"
#include "regex/regex.h"

#define FILTERS_BYTES (64u << 10)

static bool known_name(const char *list, struct span name)
{
	struct span rest = span_of(list), one;
	while (span_cut(&rest, ',', &one))
		if (span_eq(one, name))
			return true;
	return false;
}

static int bad_filter(const struct engine_filter *f, struct err *err)
{
	auto_buf struct buf b = {};
	for (size_t i = 0; i < f->n; i++)
		buf_printf(&b, "%s%.*s", i ? " " : "", SPAN_ARG(f->values[i]));
	return err_set(err, ERR_INVALID_REQUEST, "invalid filter '%.*s=[%s]'", SPAN_ARG(f->key), buf_cstr(&b));
}

int engine_filters_parse(struct span text, const char *known, struct arena *a, struct engine_filters *out, struct err *err)
{
	const struct json_limits limits = { .bytes = FILTERS_BYTES, .depth = 4, .nodes = 10000 };
	struct json v;
	*out = (struct engine_filters){};
	if (!text.len)
		return 0;
	auto_err struct err why = ERR_INIT;
	if (json_parse(a, text, JSON_DUPLICATES_LAST | JSON_REPLACE_BAD_UTF8, &limits, &v, &why) < 0 ||
	    (v.kind != JSON_OBJECT && v.kind != JSON_NULL))
		return err_set(err, ERR_INVALID_REQUEST, "invalid filter");
	if (v.kind == JSON_NULL)
		return 0;
	out->items = arena_alloc_n(a, v.n + 1, sizeof(*out->items));
	JSON_EACH_MEMBER(&v, m) {
		struct engine_filter *f = &out->items[out->n++];
		*f = (struct engine_filter){ .key = json_key(m), .values = arena_alloc_n(a, m->value.n + 1, sizeof(*f->values)) };
		if (m->value.kind == JSON_ARRAY) {
			JSON_EACH_ITEM(&m->value, i) {
				if (i->kind != JSON_STRING)
					return err_set(err, ERR_INVALID_REQUEST, "invalid filter");
				f->values[f->n++] = json_span(i);
			}
		} else if (m->value.kind == JSON_OBJECT) {
			/* {"v":false} is as good as {"v":true}: Docker looks at the keys alone. */
			JSON_EACH_MEMBER(&m->value, i) {
				if (i->value.kind != JSON_BOOL)
					return err_set(err, ERR_INVALID_REQUEST, "invalid filter");
				f->values[f->n++] = json_key(i);
			}
		} else {
			return err_set(err, ERR_INVALID_REQUEST, "invalid filter");
		}
		if (known && !known_name(known, f->key))
			return err_set(err, ERR_INVALID_REQUEST, "invalid filter '%.*s'", SPAN_ARG(f->key));
	}
	return 0;
}

int engine_filters_of(struct engine_call *c, const char *known, struct engine_filters *out, struct err *err)
{
	return engine_filters_parse(engine_param(c, "filters"), known, &c->arena, out, err);
}

const struct engine_filter *engine_filter_get(const struct engine_filters *f, const char *key)
{
	for (size_t i = 0; i < f->n; i++)
		if (span_is(f->items[i].key, key) && f->items[i].n)
			return &f->items[i];
	return NULL;
}

int engine_filter_truth(const struct engine_filters *f, const char *key, bool absent, bool *out, struct err *err)
{
	const struct engine_filter *i = engine_filter_get(f, key);
	*out = absent;
	if (!i)
		return 0;
	bool yes = span_is(i->values[0], "1") || span_is(i->values[0], "true");
	bool no = span_is(i->values[0], "0") || span_is(i->values[0], "false");
	if (i->n != 1 || !(yes || no))
		return bad_filter(i, err);
	*out = yes;
	return 0;
}

bool engine_filter_exact(const struct engine_filters *f, const char *key, struct span text)
{
	const struct engine_filter *i = engine_filter_get(f, key);
	for (size_t k = 0; i && k < i->n; k++)
		if (span_eq(i->values[k], text))
			return true;
	return !i;
}

static bool label_met(struct span wanted, const struct json *labels)
{
	struct span key, value;
	bool has_value = span_split(wanted, '=', &key, &value);
	const struct json *is = json_get(labels, key);
	return is && (!has_value || span_eq(json_span(is), value));
}

bool engine_filter_label(const struct engine_filters *f, const char *key, const struct json *labels)
{
	const struct engine_filter *i = engine_filter_get(f, key);
	for (size_t k = 0; i && k < i->n; k++)
		if (!label_met(i->values[k], labels))
			return false;
	return true;
}

bool engine_filter_not_label(const struct engine_filters *f, const struct json *labels)
{
	const struct engine_filter *i = engine_filter_get(f, "label!");
	for (size_t k = 0; i && k < i->n; k++)
		if (!label_met(i->values[k], labels))
			return true;
	return !i;
}

bool engine_filter_match(const struct engine_filters *f, const char *key, struct span text)
{
	const struct engine_filter *i = engine_filter_get(f, key);
	for (size_t k = 0; i && k < i->n; k++) {
		struct regex_scratch scratch = {};
		if (span_eq(i->values[k], text))
			return true;
		auto_regex struct regex *re = regex_new(i->values[k], 0, NULL);
		if (!re)
			continue; /* as Docker: what is no expression is only compared */
		bool found = regex_matches(re, &scratch, text);
		regex_scratch_done(&scratch);
		if (found)
			return true;
	}
	return !i;
}

bool engine_filter_id(const struct engine_filters *f, struct span id)
{
	const struct engine_filter *i = engine_filter_get(f, "id");
	for (size_t k = 0; i && k < i->n; k++)
		if (i->values[k].len && span_starts(id, i->values[k]))
			return true; /* "" is the beginning of every id, and what an empty variable of a script leaves: nothing */
	return !i;
}

struct json engine_filters_json(const struct engine_filters *f, struct arena *a)
{
	struct json v = json_object();
	for (size_t i = 0; i < f->n; i++)
		(void)json_set(a, &v, f->items[i].key, engine_strings(a, f->items[i].values, f->items[i].n));
	return v;
}

/* ---- path.Match ---- */

/* One bracket expression behind its '['; *p ends behind ']'. */
static bool class_match(struct span pattern, size_t *p, unsigned char c, bool *bad)
{
	bool negated = *p < pattern.len && pattern.ptr[*p] == '^', found = false, any = false;
	*p += negated;
	while (*p < pattern.len && (pattern.ptr[*p] != ']' || !any)) {
		unsigned char lo = (unsigned char)pattern.ptr[*p], hi;
		if (lo == '\\' && ++*p < pattern.len)
			lo = (unsigned char)pattern.ptr[*p];
		hi = lo;
		++*p;
		if (*p + 1 < pattern.len && pattern.ptr[*p] == '-') {
			hi = (unsigned char)pattern.ptr[*p + 1];
			*p += 2;
		}
		found |= lo <= c && c <= hi;
		any = true;
	}
	if (*p >= pattern.len || !any)
		*bad = true;
	++*p;
	return found != negated;
}

bool engine_glob(struct span pattern, struct span text, bool *out_bad)
{
	size_t p = 0, t = 0, star_p = SIZE_MAX, star_t = 0;
	*out_bad = false;
	while (t < text.len || p < pattern.len) {
		bool ok = false;
		if (p < pattern.len && pattern.ptr[p] == '*') {
			star_p = ++p;
			star_t = t;
			continue;
		}
		if (p < pattern.len && t < text.len) {
			char c = pattern.ptr[p];
			if (c == '[') {
				size_t q = p + 1;
				ok = class_match(pattern, &q, (unsigned char)text.ptr[t], out_bad) && text.ptr[t] != '/';
				if (*out_bad)
					return false;
				if (ok)
					p = q;
			} else if (c == '?') {
				ok = text.ptr[t] != '/';
				p += ok;
			} else {
				if (c == '\\') {
					if (++p == pattern.len) {
						*out_bad = true;
						return false;
					}
					c = pattern.ptr[p];
				}
				ok = c == text.ptr[t];
				p += ok;
			}
			t += ok;
		}
		if (ok)
			continue;
		/* Back to the last star, which takes one more; a star does not take a slash. */
		if (star_p == SIZE_MAX || star_t >= text.len || text.ptr[star_t] == '/')
			return false;
		p = star_p;
		t = ++star_t;
	}
	return true;
}

/* ---- points in time ---- */

/* Go's time.ParseDuration for what people write: 10m, 1h30m, 1.5h, 300ms. */
static bool duration_parse(struct span s, int64_t *out_ns)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = { { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 }, { "m", 60e9 }, { "h", 3600e9 } };
	double total = 0, sign = 1;
	if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
		sign = s.ptr[0] == '-' ? -1 : 1;
		s = span_from(s, 1);
	}
	if (!s.len)
		return false;
	while (s.len) {
		size_t n = 0, u = 0;
		double v;
		while (n < s.len && ((s.ptr[n] >= '0' && s.ptr[n] <= '9') || s.ptr[n] == '.'))
			n++;
		if (!n || !json_read_double(span_sub(s, 0, n), &v))
			return false;
		s = span_from(s, n);
		while (u < s.len && s.ptr[u] >= 'a' && s.ptr[u] <= 'z')
			u++;
		bool found = false;
		for (size_t i = 0; i < ARRAY_LEN(units); i++)
			if (span_is(span_sub(s, 0, u), units[i].unit)) {
				total += v * units[i].ns;
				found = true;
			}
		if (!found || total > 9e18)
			return false;
		s = span_from(s, u);
	}
	*out_ns = (int64_t)(sign * total);
	return true;
}

int engine_time_parse(struct span text, int64_t now_ns, int64_t *out_ns, struct err *err)
{
	struct span whole, part;
	int64_t s, ns = 0;
	int32_t frac;
	if (!text.len) {
		*out_ns = 0;
		return 0;
	}
	(void)span_split(text, '.', &whole, &part);
	if (span_to_i64(whole, &s) && part.len <= 9 && s > -9000000000 && s < 9000000000) {
		char nine[10] = "000000000";
		memcpy(nine, part.ptr ? part.ptr : "", part.len);
		if (!part.len || span_to_i64(span_make(nine, 9), &ns)) {
			*out_ns = s * NS_PER_S + ns;
			return 0;
		}
	}
	if (time_parse(text.ptr, text.len, &s, &frac) == 0 && s > -9000000000 && s < 9000000000) {
		*out_ns = s * NS_PER_S + frac;
		return 0;
	}
	/* A date, or a time without zone: UTC here, as for a daemon in a container. */
	static const char *const tails[] = { "Z", ":00Z", ":00:00Z", "T00:00:00Z" };
	for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
		auto_buf struct buf b = {};
		buf_span_add(&b, text);
		buf_str(&b, tails[i]);
		if (text.len < 32 && time_parse(b.ptr, b.len, &s, &frac) == 0 && s > -9000000000 && s < 9000000000) {
			*out_ns = s * NS_PER_S + frac;
			return 0;
		}
	}
	if (duration_parse(text, &ns)) {
		*out_ns = now_ns - ns;
		return 0;
	}
	return err_set(err, ERR_INVALID_REQUEST, "failed to parse value as time or duration: \"%.*s\"", SPAN_ARG(text));
}
