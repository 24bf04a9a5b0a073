/* The pure parts: the list of methods, labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/calls_test.h"
#include "cri/private.h"

/* Every row is a method of the schema and has its messages. */
static void test_rpcs(void **state)
{
	const struct cri_rpc *r;
	for (size_t i = 0; (r = cri_rpc_at(i)); i++) {
		struct api_rpc rpc;
		if (!api_rpc_find(span_from(span_of(r->name), 1), &rpc) && !api_rpc_find(span_of(r->name), &rpc))
			fail_msg("%s is no method of the schema", r->name);
		assert_ptr_equal(api_typed_type(r->request), rpc.request);
		assert_ptr_equal(api_typed_type(r->response), rpc.response);
	}
}

static void test_labels(void **state)
{
	const struct api_pair have[] = { { SPAN("a"), SPAN("1") }, { SPAN("b"), SPAN("") } };
	const struct api_pair one[] = { { SPAN("b"), SPAN("") } }, other[] = { { SPAN("a"), SPAN("2") } };
	assert_true(cri_labels_match(NULL, 0, have, 2));
	assert_true(cri_labels_match(one, 1, have, 2));
	assert_true(cri_labels_match(have, 2, have, 2));
	assert_false(cri_labels_match(other, 1, have, 2));
	assert_false(cri_labels_match(have, 2, one, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rpcs), cmocka_unit_test(test_labels) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
