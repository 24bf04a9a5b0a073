/* What travels from hop to hop. */
#include "apiserver/hop.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void headers_stay(void **state)
{
	static const char *const stay[] = { "Connection", "authorization", "Transfer-Encoding", "TE", "X-Forwarded-For", "Impersonate-User",
					    "impersonate-extra-scopes", "X-Remote-User", "x-remote-group", "Content-Length", "Upgrade" };
	static const char *const go[] = { "Accept", "Content-Type", "X-Stream-Protocol-Version", "Sec-WebSocket-Key", "X-Remot", "Impersonat",
					  "Cookie" };
	for (size_t i = 0; i < ARRAY_LEN(stay); i++)
		if (!hop_stays(span_of(stay[i])))
			fail_msg("%s goes on", stay[i]);
	for (size_t i = 0; i < ARRAY_LEN(go); i++)
		if (hop_stays(span_of(go[i])))
			fail_msg("%s stays", go[i]);
}

static void named_headers(void **state)
{
	struct http_field items[] = { { SPAN("Connection"), SPAN("close, X-One") }, { SPAN("connection"), SPAN(" x-two ") },
				      { SPAN("X-Three"), SPAN("1") } };
	const struct http_fields all = { .items = items, .n = ARRAY_LEN(items) };
	assert_true(hop_named(&all, SPAN("x-one")));
	assert_true(hop_named(&all, SPAN("X-Two")));
	assert_false(hop_named(&all, SPAN("X-Three")));
	assert_false(hop_named(&all, SPAN("x-on")));
}

static void protocols(void **state)
{
	static const char *const rows[][2] = {
		{ "v4.channel.k8s.io", "v4.channel.k8s.io" },
		{ "base64url.bearer.authorization.k8s.io.c2VjcmV0, v4.channel.k8s.io", "v4.channel.k8s.io" },
		{ "a,base64url.bearer.authorization.k8s.io.c2VjcmV0,b", "a, b" },
		{ "base64url.bearer.authorization.k8s.io.c2VjcmV0", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct span is = hop_protocols(&a, span_of(rows[i][0]));
		if (!span_is(is, rows[i][1]))
			fail_msg("%s: %.*s", rows[i][0], SPAN_ARG(is));
	}
}

static void locations(void **state)
{
	static const char prefix[] = "/api/v1/namespaces/d/services/web/proxy";
	static const char *const rows[][2] = {
		{ "/login", "/api/v1/namespaces/d/services/web/proxy/login" },
		{ "/api/v1/namespaces/d/services/web/proxy/login", "/api/v1/namespaces/d/services/web/proxy/login" },
		{ "https://api:6443/login?x=1", "/api/v1/namespaces/d/services/web/proxy/login?x=1" },
		{ "http://api:6443", "/api/v1/namespaces/d/services/web/proxy/" },
		{ "https://elsewhere/login", "https://elsewhere/login" },
		{ "https://api:6443.evil/login", "https://api:6443.evil/login" },
		{ "login", "login" },
		{ "", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct span is = hop_location(&a, span_of(rows[i][0]), SPAN("api:6443"), span_of(prefix));
		if (!span_is(is, rows[i][1]))
			fail_msg("%s: %.*s", rows[i][0], SPAN_ARG(is));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_stay),
		cmocka_unit_test(named_headers),
		cmocka_unit_test(protocols),
		cmocka_unit_test(locations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
