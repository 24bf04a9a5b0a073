/* Variables of a build: what ARG declares, what --build-arg gives, what is there without either. */
#include "builder/plan.h"

#include <stdlib.h>

/* Given to every RUN and expanded everywhere without an ARG; no part of a key unless an ARG names them. */
static const char *const proxies[] = { "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy",
	"NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy" };

static bool is_proxy(struct span name)
{
	for (size_t i = 0; i < ARRAY_LEN(proxies); i++)
		if (span_is(name, proxies[i]))
			return true;
	return false;
}

static const struct vars_arg *find(const struct vars_arg *list, struct span name)
{
	while (list && !span_eq(list->name, name))
		list = list->next;
	return list;
}

static void add(struct vars *v, struct vars_arg **list, struct span name, struct span value, bool has_value)
{
	struct vars_arg *x = (struct vars_arg *)(uintptr_t)find(*list, name);
	if (!x) {
		x = arena_new(v->a, struct vars_arg);
		x->next = *list;
		*list = x;
	}
	x->name = arena_span(v->a, name);
	x->value = arena_span(v->a, value);
	x->has_value = has_value;
	const struct json_member *m = json_member(v->given, name);
	if (m)
		map_put(&v->used, json_key(m), v);
}

static void platform_add(struct vars *v, const char *kind, struct span text)
{
	static const char *const parts[] = { "OS", "ARCH", "VARIANT" };
	struct span rest = text, part;
	add(v, &v->platform, arena_printf(v->a, "%sPLATFORM", kind), text, true);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (!span_cut(&rest, '/', &part))
			part = SPAN_EMPTY;
		add(v, &v->platform, arena_printf(v->a, "%s%s", kind, parts[i]), part, true);
	}
}

void builder_vars_init(struct vars *v, struct arena *a, const struct json *given, struct span target, struct span here)
{
	*v = (struct vars){ .a = a, .given = given };
	platform_add(v, "BUILD", here);
	platform_add(v, "TARGET", target);
}

void builder_vars_done(struct vars *v)
{
	map_done(&v->used);
}

void builder_vars_split(struct vars *v, struct arena *a, const struct vars *from)
{
	*v = (struct vars){ .a = a, .given = from->given, .platform = from->platform, .global = from->global };
}

void builder_vars_join(struct vars *v, const struct vars *from)
{
	MAP_EACH(&from->used, e)
		map_put(&v->used, e->key, v);
}

void builder_vars_global_add(struct vars *v, struct span name, struct span value, bool has_value)
{
	add(v, &v->global, name, value, has_value);
}

void builder_vars_stage_add(struct vars *v, struct span name, struct span value, bool has_value)
{
	add(v, &v->stage, name, value, has_value);
}

void builder_vars_stage_begin(struct vars *v)
{
	v->stage = NULL;
}

/* Did the client give a value? `--build-arg X` where its environment has no X names one without (null), and the default stays. */
static bool given(const struct vars *v, struct span name, struct span *out)
{
	const struct json_member *m = json_member(v->given, name);
	if (!m || m->value.kind != JSON_STRING)
		return false;
	*out = json_span(&m->value);
	return true;
}

static bool value_of(const struct vars *v, const struct vars_arg *x, bool in_stage, struct span *out)
{
	if (given(v, x->name, out))
		return true;
	if (x->has_value) {
		*out = x->value;
		return true;
	}
	/* ARG without a value takes the one from before the first FROM, or the platform's. */
	const struct vars_arg *above = in_stage ? find(v->global, x->name) : NULL;
	if (above && above->has_value) {
		*out = above->value;
		return true;
	}
	above = find(v->platform, x->name);
	if (above)
		*out = above->value;
	return above;
}

bool builder_vars_global_get(const struct vars *v, struct span name, struct span *out)
{
	const struct vars_arg *x = find(v->global, name);
	if (x)
		return value_of(v, x, false, out);
	x = find(v->platform, name);
	if (x) {
		if (!given(v, name, out))
			*out = x->value;
		return true;
	}
	return is_proxy(name) && given(v, name, out);
}

bool builder_vars_stage_get(const struct vars *v, struct span name, struct span *out)
{
	const struct vars_arg *x = find(v->stage, name);
	return x ? value_of(v, x, true, out) : is_proxy(name) && given(v, name, out);
}

static bool env_has(const struct json *env, struct span name)
{
	JSON_EACH_ITEM(env, item) {
		struct span key, value;
		(void)span_split(json_span(item), '=', &key, &value);
		if (span_eq(key, name))
			return true;
	}
	return false;
}

static int by_text(const void *a, const void *b)
{
	return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

void builder_vars_run(const struct vars *v, const struct json *env, struct span **out_env, size_t *out_n_env,
	struct span **out_key,
	size_t *out_n_key)
{
	size_t room = ARRAY_LEN(proxies) + 1, n = 0, n_key = 0;
	for (const struct vars_arg *x = v->stage; x; x = x->next)
		room++;
	struct span *all = arena_alloc_n(v->a, room, sizeof(*all)), *key = arena_alloc_n(v->a, room, sizeof(*key)), value;
	for (const struct vars_arg *x = v->stage; x; x = x->next)
		if (!env_has(env, x->name) && value_of(v, x, true, &value))
			key[n_key++] = all[n++] = arena_printf(v->a, "%.*s=%.*s", SPAN_ARG(x->name), SPAN_ARG(value));
	for (size_t i = 0; i < ARRAY_LEN(proxies); i++) {
		struct span name = span_of(proxies[i]);
		if (!find(v->stage, name) && !env_has(env, name) && given(v, name, &value))
			all[n++] = arena_printf(v->a, "%.*s=%.*s", SPAN_ARG(name), SPAN_ARG(value));
	}
	qsort(key, n_key, sizeof(*key), by_text);
	qsort(all, n, sizeof(*all), by_text);
	*out_env = all;
	*out_n_env = n;
	*out_key = key;
	*out_n_key = n_key;
}

void builder_vars_unused(const struct vars *v, struct buf *out)
{
	const struct json *all = v->given;
	if (!json_is(all, JSON_OBJECT) || !all->n)
		return;
	struct span *left = arena_alloc_n(v->a, all->n, sizeof(*left));
	size_t n = 0;
	JSON_EACH_MEMBER(all, m) {
		struct span name = json_key(m);
		/* What the builder itself reads is no mistake. */
		if (!map_get(&v->used, name) && !is_proxy(name) && !span_is(name, "SOURCE_DATE_EPOCH") &&
		    !span_starts(name, SPAN("BUILDKIT_")))
			left[n++] = name;
	}
	if (!n)
		return;
	qsort(left, n, sizeof(*left), by_text);
	buf_str(out, "[Warning] One or more build-args [");
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%s%.*s", i ? " " : "", SPAN_ARG(left[i]));
	buf_str(out, "] were not consumed\n");
}
