/* Any service with any slices, [service, slice, slice ...]: a plan whose elements are sorted and unique, and which planned again
 * from itself changes nothing. */
#include "proxy/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void change(void *arg, const struct proxy_element *e)
{
	assert(!"the same again is a change");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { SLICES = 8 };
	auto_arena struct arena a = { 0 };
	const struct json_limits limits = { .bytes = 1 << 16, .depth = 16 };
	const struct proxy_view view = { 0 };
	struct proxy_slice *slices[SLICES];
	const struct proxy_slice *list[SLICES];
	struct proxy_plan p = { 0 }, again = { 0 };
	size_t n = 0;
	struct json o;
	if (json_parse(&a, span_make(data, size), 0, &limits, &o, NULL) < 0 || o.kind != JSON_ARRAY || !o.n)
		return 0;
	for (uint32_t i = 1; i < o.n && n < SLICES; i++)
		if ((slices[n] = proxy_slice_read(&o.items[i], SPAN("n1"), SPAN("a")))) {
			list[n] = slices[n];
			n++;
		}
	struct proxy_service *s = proxy_service_read(&o.items[0]);
	if (s) {
		proxy_plan_make(s, list, n, &view, NULL, &p);
		for (size_t i = 1; i < p.elements.n; i++) {
			struct proxy_element x = proxy_elements_at(&p.elements, i - 1), y = proxy_elements_at(&p.elements, i);
			assert(proxy_element_order(&x, &y) < 0);
		}
		proxy_plan_make(s, list, n, &view, &p, &again);
		if (s->n_ports < 2) /* two ports of one number are two lists of one name: the API refuses them */
			proxy_elements_diff(&p.elements, &again.elements, change, change, NULL);
	}
	proxy_plan_done(&p);
	proxy_plan_done(&again);
	free(s);
	for (size_t i = 0; i < n; i++)
		free(slices[i]);
	return 0;
}
