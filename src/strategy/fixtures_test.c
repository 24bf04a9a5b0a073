/* Every fixture of tests/fixtures/roundtrip that has a strategy: defaulting twice is defaulting once, validation leaves the tree
 * alone on create, update and every subresource, and each row of kinds.def names a kind that is served. */
#include "strategy/strategy_test.h"

#include "strategy/check.h"

#define FIXTURES "tests/fixtures/roundtrip"

static const struct api_resource *resource_of_file(struct span file)
{
	struct span stem = span_sub(file, 0, (size_t)span_rchr(file, '.'));
	struct span kind = span_from(stem, (size_t)span_rchr(stem, '.') + 1);
	stem = span_sub(stem, 0, (size_t)span_rchr(stem, '.'));
	struct span version = span_from(stem, (size_t)span_rchr(stem, '.') + 1);
	struct span group = span_sub(stem, 0, (size_t)span_rchr(stem, '.'));
	if (span_is(group, "core"))
		group = SPAN_EMPTY;
	return api_registry_find_kind(test_registry(), group, version, kind);
}

static void write_of(struct buf *out, const struct json *v)
{
	buf_trunc(out, 0);
	json_write(out, v, 0);
}

static void one_validation(const char *file, const struct api_resource *r, struct span sub, const struct json *object,
			   const struct json *old)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf before = {}, after = {}, old_before = {}, old_after = {};
	struct json mine = json_copy(&a, object), was = old ? json_copy(&a, old) : JSON_NULL_VALUE;
	struct strategy s = { .arena = &a, .resource = r, .subresource = sub, .object = &mine, .old = old ? &was : NULL,
			      .now = SPAN("2026-01-02T03:04:05Z") };
	if (old)
		write_of(&old_before, &was);
	strategy_prepare(&s);
	write_of(&before, &mine);
	(void)strategy_validate(&s, &err);
	write_of(&after, &mine);
	if (!span_eq(buf_span(&before), buf_span(&after)))
		fail_msg("%s %.*s: validation changed the tree\n%s\n%s", file, SPAN_ARG(sub), buf_cstr(&before), buf_cstr(&after));
	if (old) {
		write_of(&old_after, &was);
		if (!span_eq(buf_span(&old_before), buf_span(&old_after)))
			fail_msg("%s %.*s: the old object changed", file, SPAN_ARG(sub));
	}
}

static void one_fixture(const char *file, const struct api_resource *r)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf path = {}, text = {}, once = {}, twice = {};
	struct json v;
	buf_printf(&path, FIXTURES "/%s", file);
	if (io_read_file(AT_FDCWD, buf_cstr(&path), &text, 1 << 20, &err) < 0 ||
	    api_decode_json(&a, r->type, buf_span(&text), NULL, &v, &err) < 0)
		fail_msg("%s: %s", file, err_msg(&err));
	strategy_default(&a, r, &v);
	write_of(&once, &v);
	strategy_default(&a, r, &v);
	write_of(&twice, &v);
	if (!span_eq(buf_span(&once), buf_span(&twice)))
		fail_msg("%s: defaulting twice differs\n%s\n%s", file, buf_cstr(&once), buf_cstr(&twice));
	struct json bare = json_object();
	strategy_default(&a, r, &bare);
	one_validation(file, r, SPAN_EMPTY, &v, NULL);
	one_validation(file, r, SPAN_EMPTY, &bare, NULL);
	one_validation(file, r, SPAN_EMPTY, &v, &v);
	one_validation(file, r, SPAN_EMPTY, &bare, &v);
	one_validation(file, r, SPAN_EMPTY, &v, &bare);
	for (unsigned i = 0; i < r->n_subresources; i++) {
		one_validation(file, r, r->subresources[i].name, &v, &v);
		one_validation(file, r, r->subresources[i].name, &bare, &v);
		one_validation(file, r, r->subresources[i].name, &v, &bare);
	}
}

static void test_fixtures(void **state)
{
	DIR *dir = opendir(FIXTURES);
	unsigned n = 0;
	assert_non_null(dir);
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		struct span name = span_of(e->d_name);
		if (!span_ends(name, SPAN(".json")))
			continue;
		const struct api_resource *r = resource_of_file(name);
		if (!r || !strategy_kind_find(r->group, r->version, r->kind))
			continue;
		one_fixture(e->d_name, r);
		n++;
	}
	closedir(dir);
	assert_true(n >= 40);
}

static void test_rows(void **state)
{
#define KIND(row)                                                                                                      \
	do {                                                                                                           \
		extern const struct strategy_kind strategy_kind_##row;                                                \
		const struct strategy_kind *k = &strategy_kind_##row;                                                 \
		bool found = false;                                                                                    \
		for (unsigned i = 0; i < api_registry_n(test_registry()); i++) {                                       \
			const struct api_resource *r = api_registry_at(test_registry(), i);                            \
			found |= span_is(r->group, k->group) && span_is(r->kind, k->kind) &&                           \
				 (!k->version || span_is(r->version, k->version));                                     \
		}                                                                                                      \
		if (!found)                                                                                            \
			fail_msg("%s %s is no served kind", k->group, k->kind);                                        \
		assert_non_null(k->check);                                                                             \
	} while (0);
#define TYPE(row)                                                                                                      \
	do {                                                                                                           \
		extern const struct strategy_type strategy_type_##row;                                                \
		if (!api_type_find(span_of(strategy_type_##row.name)))                                                \
			fail_msg("%s is no type", strategy_type_##row.name);                                          \
	} while (0);
#include "strategy/kinds.def"
#undef KIND
#undef TYPE
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_fixtures), cmocka_unit_test(test_rows) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
