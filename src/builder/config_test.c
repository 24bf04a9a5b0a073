/* A table: instructions on the left; on the right what history keeps of the last one and what the configuration is then. */
#include "builder/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#define P "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define ENV "\"Env\":[\"" P "\"]"

/* The members that are set, without OnBuild: null. */
static void apply(struct buf *out, const char *base, const char *lines)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct builder_file f;
	struct vars v;
	struct json given = json_object(), image, triggers;
	struct span said = SPAN_EMPTY, text = arena_printf(&a, "FROM x\n%s", lines);
	builder_vars_init(&v, &a, &given, SPAN("linux/amd64"), SPAN("linux/amd64"));
	struct config c = { .a = &a, .escape = '\\', .vars = &v };
	assert_int_equal(json_parse(&a, span_of(base), 0, NULL, &image, NULL), 0);
	builder_config_begin(&c, &image, &triggers);
	if (triggers.n)
		buf_printf(out, "%u triggers ", triggers.n);
	int rc = builder_file_parse(text, &a, &f, &err);
	for (size_t i = 0; rc == 0 && i < f.stages[0].n; i++)
		rc = builder_config_apply(&c, &f.stages[0].items[i], &said, &err);
	if (rc < 0) {
		buf_printf(out, "error: %s", err_msg(&err));
	} else {
		(void)json_remove(&c.doc, SPAN("OnBuild_"));
		const struct json *onbuild = json_getl(&c.doc, "OnBuild");
		if (onbuild->kind == JSON_NULL)
			(void)json_remove(&c.doc, SPAN("OnBuild"));
		buf_printf(out, "%.*s|", SPAN_ARG(said));
		json_write(out, &c.doc, 0);
		if (c.author.len)
			buf_printf(out, "|%.*s", SPAN_ARG(c.author));
	}
	builder_vars_done(&v);
}

/* As many as there can be: named one after the other, each compared with none. */
static void all_ports(void **state)
{
	auto_arena struct arena a = {};
	struct builder_file f;
	struct vars v;
	struct json given = json_object(), image = json_object(), triggers;
	struct span said;
	builder_vars_init(&v, &a, &given, SPAN("linux/amd64"), SPAN("linux/amd64"));
	struct config c = { .a = &a, .escape = '\\', .vars = &v };
	builder_config_begin(&c, &image, &triggers);
	assert_int_equal(builder_file_parse(SPAN("FROM x\nEXPOSE 1-65535 1-65535/udp 1-65535/sctp 80/TCP\nEXPOSE 1-65535/udp 80"), &a, &f, NULL), 0);
	clock_t began = clock(); /* of the processor: whatever else the machine does */
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(builder_config_apply(&c, &f.stages[0].items[i], &said, NULL), 0);
		assert_int_equal(json_getl(&c.doc, "ExposedPorts")->n, 3 * 65535);
	}
	clock_t took = (clock() - began) / (CLOCKS_PER_SEC / 1000);
	if (took > 5000)
		fail_msg("%lld ms", (long long)took);
	builder_vars_done(&v);
}

static void instructions(void **state)
{
	static const struct {
		const char *base, *lines, *want;
	} rows[] = {
		{ "{}", "", "|{" ENV "}" },
		{ "{\"Env\":[\"PATH=/x\",\"A=1\"]}", "", "|{\"Env\":[\"PATH=/x\",\"A=1\"]}" },
		{ "{\"OnBuild\":[\"RUN a\",\"RUN b\"],\"OpenStdin\":true}", "", "2 triggers |{" ENV "}" },
		{ "{}", "CMD echo x", "CMD [\"/bin/sh\" \"-c\" \"echo x\"]|{" ENV ",\"Cmd\":[\"/bin/sh\",\"-c\",\"echo x\"]}" },
		{ "{}", "CMD [\"a\",\"b c\"]", "CMD [\"a\" \"b c\"]|{" ENV ",\"Cmd\":[\"a\",\"b c\"]}" },
		{ "{}", "CMD", "CMD []|{" ENV ",\"Cmd\":[]}" },
		{ "{}", "CMD [\"a\\\"b\\n\\t\\u00e9\"]", "CMD [\"a\\\"b\\n\\t\xc3\xa9\"]|{" ENV ",\"Cmd\":[\"a\\\"b\\n\\t\xc3\xa9\"]}" },
		{ "{\"Cmd\":[\"base\"]}", "ENTRYPOINT [\"e\"]", "ENTRYPOINT [\"e\"]|{\"Cmd\":null," ENV ",\"Entrypoint\":[\"e\"]}" },
		{ "{\"Cmd\":[\"base\"]}", "CMD [\"own\"]\nENTRYPOINT [\"e\"]",
			"ENTRYPOINT [\"e\"]|{\"Cmd\":[\"own\"]," ENV ",\"Entrypoint\":[\"e\"]}" },
		{ "{}", "SHELL [\"/bin/ash\", \"-ec\"]\nCMD x",
			"CMD [\"/bin/ash\" \"-ec\" \"x\"]|{" ENV ",\"Shell\":[\"/bin/ash\",\"-ec\"],\"Cmd\":[\"/bin/ash\",\"-ec\",\"x\"]}" },
		{ "{}", "SHELL [\"a\", \"b\"]", "SHELL [a b]|{" ENV ",\"Shell\":[\"a\",\"b\"]}" },
		{ "{}", "ENV A=1 B=\"two words\" C=$A-x", "ENV A=1 B=two words C=-x|{\"Env\":[\"" P "\",\"A=1\",\"B=two words\",\"C=-x\"]}" },
		{ "{}", "ENV A=1\nENV A=$A$A B=${A:-n}", "ENV A=11 B=1|{\"Env\":[\"" P "\",\"A=11\",\"B=1\"]}" },
		{ "{}", "ENV old form value", "ENV old=form value|{\"Env\":[\"" P "\",\"old=form value\"]}" },
		{ "{}", "ENV PATH=/x:$PATH", "ENV PATH=/x:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|{\"Env\":[\"PATH=/x:"
			"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"]}" },
		{ "{\"Env\":[\"PATH=/x\"]}", "ARG V=2\nENV A=$V", "ENV A=2|{\"Env\":[\"PATH=/x\",\"A=2\"]}" },
		{ "{\"Env\":[\"PATH=/x\",\"V=env\"]}", "ARG V=2\nENV A=$V", "ENV A=env|{\"Env\":[\"PATH=/x\",\"V=env\",\"A=env\"]}" },
		{ "{}", "ARG A\nARG B=1 C=$B", "ARG B=1 C=1|{" ENV "}" },
		{ "{}", "LABEL a=1 \"b c\"=\"d e\"", "LABEL a=1 b c=d e|{" ENV ",\"Labels\":{\"a\":\"1\",\"b c\":\"d e\"}}" },
		{ "{\"Labels\":{\"a\":\"0\"}}", "LABEL a=1", "LABEL a=1|{\"Labels\":{\"a\":\"1\"}," ENV "}" },
		{ "{}", "EXPOSE 80 90/udp 100-102", "EXPOSE 100-102 80 90/udp|{" ENV ",\"ExposedPorts\":{\"100/tcp\":{},\"101/tcp\":{},"
			"\"102/tcp\":{},\"80/tcp\":{},\"90/udp\":{}}}" },
		{ "{}", "ENV P=\"80 443/TCP\"\nEXPOSE $P", "EXPOSE 80 443/TCP|{\"Env\":[\"" P "\",\"P=80 443/TCP\"],\"ExposedPorts\":{\"80/tcp\":{},"
			"\"443/tcp\":{}}}" },
		{ "{}", "EXPOSE a", "error: Invalid containerPort: a" },
		{ "{}", "EXPOSE 80/x", "error: Invalid proto: x" },
		{ "{}", "EXPOSE 70000", "error: Invalid containerPort: 70000" },
		{ "{}", "EXPOSE 90-80", "error: Invalid containerPort: 90-80" },
		{ "{}", "VOLUME /a /b", "VOLUME [/a /b]|{" ENV ",\"Volumes\":{\"/a\":{},\"/b\":{}}}" },
		{ "{}", "VOLUME [\"/a b\"]", "VOLUME [/a b]|{" ENV ",\"Volumes\":{\"/a b\":{}}}" },
		{ "{}", "ENV V=\nVOLUME $V", "error: VOLUME specified can not be an empty string" },
		{ "{}", "ENV U=me\nUSER $U:g", "USER me:g|{\"Env\":[\"" P "\",\"U=me\"],\"User\":\"me:g\"}" },
		{ "{}", "WORKDIR /a/../b", "WORKDIR /a/../b|{" ENV ",\"WorkingDir\":\"/a/../b\"}" },
		{ "{}", "WORKDIR a", "WORKDIR /a|{" ENV ",\"WorkingDir\":\"/a\"}" },
		{ "{\"WorkingDir\":\"/w\"}", "WORKDIR a/./b\nWORKDIR ../c", "WORKDIR /w/a/c|{\"WorkingDir\":\"/w/a/c\"," ENV "}" },
		{ "{}", "WORKDIR $NONE", "error: cannot normalize nothing" },
		{ "{}", "STOPSIGNAL SIGTERM", "STOPSIGNAL SIGTERM|{" ENV ",\"StopSignal\":\"SIGTERM\"}" },
		{ "{}", "STOPSIGNAL 9", "STOPSIGNAL 9|{" ENV ",\"StopSignal\":\"9\"}" },
		{ "{}", "STOPSIGNAL RTMIN+3", "STOPSIGNAL RTMIN+3|{" ENV ",\"StopSignal\":\"RTMIN+3\"}" },
		{ "{}", "STOPSIGNAL xx", "error: Invalid signal: xx" },
		{ "{}", "STOPSIGNAL 65", "error: Invalid signal: 65" },
		{ "{}", "HEALTHCHECK NONE", "HEALTHCHECK &{[\"NONE\"] \"0s\" \"0s\" \"0s\" '\\x00'}|{" ENV ",\"Healthcheck\":{\"Test\":[\"NONE\"]}}" },
		{ "{}", "HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=100ms --retries=10 CMD [\"a\"]",
			"HEALTHCHECK &{[\"CMD\" \"a\"] \"1m30s\" \"1.5s\" \"100ms\" '\\n'}|{" ENV ",\"Healthcheck\":{\"Test\":[\"CMD\",\"a\"],"
			"\"Interval\":90000000000,\"Timeout\":1500000000,\"StartPeriod\":100000000,\"Retries\":10}}" },
		{ "{}", "HEALTHCHECK --interval=2h CMD x", "HEALTHCHECK &{[\"CMD-SHELL\" \"x\"] \"2h0m0s\" \"0s\" \"0s\" '\\x00'}|{" ENV
			",\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"x\"],\"Interval\":7200000000000}}" },
		{ "{}", "HEALTHCHECK --interval=x CMD a", "error: time: invalid duration \"x\"" },
		{ "{}", "HEALTHCHECK --interval=1us CMD a", "error: Interval \"interval\" cannot be less than 1ms" },
		{ "{}", "HEALTHCHECK --retries=-1 CMD a", "error: --retries cannot be negative (-1)" },
		{ "{}", "ONBUILD RUN x", "ONBUILD RUN x|{\"OnBuild\":[\"RUN x\"]," ENV "}" },
		{ "{}", "MAINTAINER me <a@b>", "MAINTAINER me <a@b>|{" ENV "}|me <a@b>" },
		{ "{}", "USER ${X", "error: failed to process \"${X\": syntax error: missing '}'" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf out = {};
		apply(&out, rows[i].base, rows[i].lines);
		if (strcmp(buf_cstr(&out), rows[i].want) != 0)
			fail_msg("row %zu:\n%s\n got: %s\nwant: %s", i, rows[i].lines, buf_cstr(&out), rows[i].want);
	}
}

static void documents(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf out = {};
	struct json_out o = { .buf = &out };
	struct json doc = json_object(), labels = json_object();
	(void)json_setl(&a, &labels, "b", json_cstr("2"));
	(void)json_setl(&a, &labels, "a", json_cstr("1"));
	(void)json_setl(&a, &doc, "Labels", labels);
	builder_config_write(&o, &doc, NULL, SPAN("sha256:x"));
	assert_string_equal(buf_cstr(&out), "{\"Hostname\":\"\",\"Domainname\":\"\",\"User\":\"\",\"AttachStdin\":false,\"AttachStdout\":false,"
		"\"AttachStderr\":false,\"Tty\":false,\"OpenStdin\":false,\"StdinOnce\":false,\"Env\":null,\"Cmd\":null,\"Image\":\"sha256:x\","
		"\"Volumes\":null,\"WorkingDir\":\"\",\"Entrypoint\":null,\"OnBuild\":null,\"Labels\":{\"a\":\"1\",\"b\":\"2\"}}");
	static const char *const paths[][2] = { { "", "/" }, { "/", "/" }, { "//a/./b//", "/a/b" }, { "/a/../../b", "/b" }, { "a", "/a" } };
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct span got = builder_path_clean(&a, span_of(paths[i][0]));
		if (!span_is(got, paths[i][1]))
			fail_msg("%s: %.*s, wanted %s", paths[i][0], SPAN_ARG(got), paths[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(instructions), cmocka_unit_test(all_ports), cmocka_unit_test(documents) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
