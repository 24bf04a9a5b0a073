/* The node of a pod, hung on its item. */
#include "apiserver/podnode.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct store_item *pod(const char *json)
{
	struct store_item *it = mem_zalloc(sizeof(*it) + 2);
	atomic_init(&it->refs, 1);
	it->key_len = 1;
	it->key[0] = 'k';
	it->value = bytes_of(span_of(json));
	return it;
}

static void drop(struct store_item *it)
{
	podnode_detach(store_item_attached(it));
	bytes_unref(it->value);
	free(it);
}

static void nodes(void **state)
{
	struct store_item *a = pod("{\"spec\":{\"nodeName\":\"n1\"}}"), *b = pod("{\"spec\":{\"nodeName\":\"n1\",\"x\":1}}");
	struct store_item *c = pod("{\"spec\":{}}"), *d = pod("{\"spec\":{\"nodeName\""), *e = pod("{\"nodeName\":\"n1\"}");
	assert_true(span_is(podnode_of(NULL, a), "n1"));
	assert_true(span_is(podnode_of(NULL, b), "n1"));
	assert_ptr_equal(store_item_attached(a), store_item_attached(b)); /* one name for all */
	assert_int_equal(podnode_of(NULL, c).len, 0);
	assert_int_equal(podnode_of(NULL, d).len, 0); /* damaged */
	assert_int_equal(podnode_of(NULL, e).len, 0); /* not its place */
	assert_int_equal(podnode_names(), 2);
	assert_true(span_is(podnode_of(NULL, a), "n1")); /* again: what is hung there */
	drop(a);
	assert_true(span_is(podnode_of(NULL, b), "n1"));
	drop(b);
	assert_int_equal(podnode_names(), 1);
	drop(c);
	drop(d);
	drop(e);
	assert_int_equal(podnode_names(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(nodes) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
