/* Chunks: names, cuts, the joined gzip member, the budget. */
#include "apiserver/chunk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <zlib.h>

#include <cmocka.h>

static struct store_item *item(const char *key, int64_t rev)
{
	struct store_item *it = mem_zalloc(sizeof(*it) + strlen(key) + 1);
	it->key_len = (uint16_t)strlen(key);
	memcpy(it->key, key, it->key_len);
	it->rev = rev;
	it->create_rev = 2;
	return it;
}

static struct chunk_key key_of(uint64_t seed, struct store_item *const *items, size_t n)
{
	struct chunk_key k;
	chunk_key_begin(&k, seed);
	for (size_t i = 0; i < n; i++)
		chunk_key_add(&k, items[i]);
	return k;
}

static bool same(struct chunk_key a, struct chunk_key b)
{
	return a.h[0] == b.h[0] && a.h[1] == b.h[1];
}

static void names(void **state)
{
	struct store_item *items[3] = { item("/registry/core/pods/d/a", 5), item("/registry/core/pods/d/b", 5),
					item("/registry/core/pods/d/b", 6) };
	struct store_item *swapped[2] = { items[1], items[0] }, *newer[2] = { items[0], items[2] };
	struct chunk_key k = key_of(1, items, 2);
	assert_true(same(k, key_of(1, items, 2)));
	assert_false(same(k, key_of(2, items, 2)));	/* another form */
	assert_false(same(k, key_of(1, items, 1)));	/* fewer */
	assert_false(same(k, key_of(1, swapped, 2))); /* another order */
	assert_false(same(k, key_of(1, newer, 2)));	/* one has changed */
	for (int i = 0; i < 3; i++)
		free(items[i]);
}

/* Taking an item away moves no cut but those next to it. */
static void cuts(void **state)
{
	enum { N = 4000 };
	static struct store_item *items[N];
	static bool cut[2][N];
	for (int i = 0; i < N; i++) {
		char key[64];
		snprintf(key, sizeof(key), "/registry/core/pods/d/pod-%05d", i * 7919);
		items[i] = item(key, i + 2);
	}
	unsigned total[2] = {}, longest = 0, differ = 0;
	for (int round = 0; round < 2; round++) {
		unsigned n = 0;
		for (int i = 0; i < N; i++) {
			if (round && i == 1000)
				continue;
			n++;
			if (chunk_ends(items[i], n, n * (size_t)100)) {
				cut[round][i] = true;
				total[round]++;
				longest = MAX(longest, n);
				n = 0;
			}
		}
	}
	for (int i = 0; i < N; i++)
		differ += cut[0][i] != cut[1][i];
	assert_in_range(total[0], N / 100, N / 20);
	assert_in_range(longest, 17, CHUNK_ITEMS_MAX);
	assert_in_range(differ, 0, 12);
	assert_true(chunk_ends(items[0], 1, 1 << 20)); /* large ones are cut by size */
	for (int i = 0; i < N; i++)
		free(items[i]);
}

static void inflate_is(struct span gz, struct span want)
{
	auto_free char *out = mem_alloc(want.len + 1);
	z_stream z = { .next_in = (Bytef *)(uintptr_t)gz.ptr, .avail_in = (uInt)gz.len, .next_out = (Bytef *)out,
		       .avail_out = (uInt)want.len + 1 };
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END); /* checks CRC and length */
	assert_int_equal(z.avail_in, 0);
	assert_int_equal(z.total_out, want.len);
	assert_memory_equal(out, want.ptr, want.len);
	inflateEnd(&z);
}

static void joined(void **state)
{
	auto_buf struct buf gz = {}, want = {}, a = {}, big = {};
	for (int i = 0; i < 3000; i++)
		buf_printf(&a, "{\"metadata\":{\"name\":\"pod-%d\"}}", i);
	for (int i = 0; i < 70000; i++)
		buf_chr(&big, (char)('a' + i % 26));
	struct chunk_key k = key_of(7, NULL, 0);
	struct chunk *c = chunk_add(NULL, &k, buf_span(&a), true), *empty = chunk_add(NULL, &k, SPAN_EMPTY, true);
	struct chunk_join j = {};
	assert_in_range(c->data->len, 100, a.len / 4);
	/* head, chunk, comma, the same chunk again, a text longer than a stored block, an empty chunk, tail */
	chunk_join_text(&j, &gz, SPAN("{\"items\":["));
	buf_str(&want, "{\"items\":[");
	for (int i = 0; i < 2; i++) {
		chunk_join_chunk(&j, c);
		buf_span_add(&gz, bytes_span(c->data));
		buf_span_add(&want, buf_span(&a));
		struct span text = i ? buf_span(&big) : SPAN(",");
		chunk_join_text(&j, &gz, text);
		buf_span_add(&want, text);
	}
	chunk_join_chunk(&j, empty);
	buf_span_add(&gz, bytes_span(empty->data));
	chunk_join_text(&j, &gz, SPAN("]}\n"));
	buf_str(&want, "]}\n");
	chunk_join_end(&j, &gz);
	inflate_is(buf_span(&gz), buf_span(&want));
	chunk_unref(c);
	chunk_unref(empty);
	/* nothing at all is a member too */
	struct chunk_join none = {};
	buf_trunc(&gz, 0);
	chunk_join_end(&none, &gz);
	inflate_is(buf_span(&gz), SPAN_EMPTY);
}

static void budget(void **state)
{
	struct chunk_cache *cc = chunk_cache_new(64 * 1024);
	auto_buf struct buf raw = {};
	struct chunk_key keys[40];
	for (int i = 0; i < 4000; i++)
		buf_chr(&raw, (char)(i * 31));
	for (uint64_t i = 0; i < 40; i++) {
		keys[i] = key_of(i, NULL, 0);
		chunk_unref(chunk_add(cc, &keys[i], buf_span(&raw), false));
		struct chunk *first = chunk_find(cc, &keys[0]); /* in use: it stays */
		assert_non_null(first);
		assert_int_equal(first->data->len, 4000);
		chunk_unref(first);
	}
	struct chunk_stats st = chunk_cache_stats(cc);
	assert_in_range(st.bytes, 40000, 64 * 1024);
	assert_in_range(st.n, 10, 16);
	assert_null(chunk_find(cc, &keys[1]));
	/* Who adds what is there gets what is there; what is larger than a quarter of the budget is not kept. */
	struct chunk *a = chunk_find(cc, &keys[39]), *b = chunk_add(cc, &keys[39], buf_span(&raw), false);
	assert_ptr_equal(a, b);
	chunk_unref(a);
	chunk_unref(b);
	while (raw.len < 20000)
		buf_chr(&raw, 'x');
	struct chunk_key large = key_of(99, NULL, 0);
	chunk_unref(chunk_add(cc, &large, buf_span(&raw), false));
	assert_null(chunk_find(cc, &large));
	chunk_cache_free(cc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(cuts),
		cmocka_unit_test(joined),
		cmocka_unit_test(budget),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
