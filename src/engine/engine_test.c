/* The tables and the pure parts: filters, globs, times, changes, flags, shapes by version, routes without orphans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/calls_test.h"
#include "engine/private.h"

static void is_json(const struct json *v, const char *wanted)
{
	auto_buf struct buf b = {};
	json_write(&b, v, JSON_SORTED);
	assert_string_equal(buf_cstr(&b), wanted);
}

static struct json read_json(struct arena *a, const char *text)
{
	struct json v;
	OK(json_parse(a, span_of(text), 0, NULL, &v, &err));
	return v;
}

static void test_filters(void **state)
{
	auto_arena struct arena a = {};
	struct engine_filters f;
	bool yes;
	OK(engine_filters_parse(SPAN("{\"label\":[\"a\",\"b=1\"],\"name\":{\"^w.b$\":true}}"), "label,name", &a, &f, &err));
	struct json labels = read_json(&a, "{\"a\":\"x\",\"b\":\"1\"}"), other = read_json(&a, "{\"a\":\"x\",\"b\":\"2\"}");
	assert_true(engine_filter_label(&f, "label", &labels));
	assert_false(engine_filter_label(&f, "label", &other));
	assert_false(engine_filter_label(&f, "label", NULL));
	assert_true(engine_filter_match(&f, "name", SPAN("web")));
	assert_false(engine_filter_match(&f, "name", SPAN("webs")));
	assert_true(engine_filter_exact(&f, "absent", SPAN("x")));
	struct json as = engine_filters_json(&f, &a);
	is_json(&as, "{\"label\":[\"a\",\"b=1\"],\"name\":[\"^w.b$\"]}");
	OK(engine_filters_parse(SPAN("{\"x\":[\"1\"],\"y\":[\"0\",\"1\"]}"), NULL, &a, &f, &err));
	OK(engine_filter_truth(&f, "x", false, &yes, &err));
	assert_true(yes);
	FAILS(ERR_INVALID_REQUEST, "invalid filter 'y=[0 1]'", engine_filter_truth(&f, "y", false, &yes, &err));
	FAILS(ERR_INVALID_REQUEST, "invalid filter 'x'", engine_filters_parse(SPAN("{\"x\":[]}"), "y", &a, &f, &err));
	static const char *const bad[] = { "{", "[]", "{\"a\":1}", "{\"a\":[1]}", "{\"a\":{\"b\":1}}" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		FAILS(ERR_INVALID_REQUEST, "invalid filter", engine_filters_parse(span_of(bad[i]), NULL, &a, &f, &err));
}

static void test_glob(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool match, bad;
	} rows[] = { { "a*", "abc", true, false }, { "a*", "a/b", false, false }, { "*/b", "a/b", true, false }, { "?", "/", false, false },
		{ "[a-c]x", "bx", true, false }, { "[^a-c]x", "bx", false, false }, { "a*b*c", "aXbYc", true, false }, { "a*b", "aXbY", false, false },
		{ "\\*", "*", true, false }, { "[", "a", false, true }, { "\\", "a", false, true }, { "", "", true, false }, { "*", "", true, false },
		{ "a", "", false, false }, { "*:2", "two:2", true, false } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool bad;
		bool match = engine_glob(span_of(rows[i].pattern), span_of(rows[i].text), &bad);
		if (match != rows[i].match || bad != rows[i].bad)
			fail_msg("%s on %s: %d %d", rows[i].pattern, rows[i].text, match, bad);
	}
}

static void test_times(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} rows[] = { { "", 0 }, { "1700000000", 1700000000 * NS_PER_S }, { "1700000000.5", 1700000000 * NS_PER_S + 500000000 },
		{ "1.000000001", NS_PER_S + 1 }, { "1970-01-01T00:00:01Z", NS_PER_S }, { "1970-01-02", 86400 * NS_PER_S },
		{ "1970-01-01T00:01:00", 60 * NS_PER_S }, { "10m", 1000 * NS_PER_S - 600 * NS_PER_S }, { "1h30m", 1000 * NS_PER_S - 5400 * NS_PER_S },
		{ "1.5s", 1000 * NS_PER_S - 1500000000 }, { "-1s", 1001 * NS_PER_S } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t ns = -1;
		OK(engine_time_parse(span_of(rows[i].text), 1000 * NS_PER_S, &ns, &err));
		if (ns != rows[i].ns)
			fail_msg("%s: %lld, not %lld", rows[i].text, (long long)ns, (long long)rows[i].ns);
	}
	int64_t ns;
	FAILS(ERR_INVALID_REQUEST, "failed to parse value as time or duration: \"soon\"", engine_time_parse(SPAN("soon"), 0, &ns, &err));
	FAILS(ERR_INVALID_REQUEST, "failed to parse", engine_time_parse(SPAN("99999999999999"), 0, &ns, &err));
	FAILS(ERR_INVALID_REQUEST, "failed to parse", engine_time_parse(SPAN("1.x"), 0, &ns, &err));
}

static void test_sizes(void **state)
{
	static const struct {
		double n;
		const char *text;
	} rows[] = { { 0, "0B" }, { 999, "999B" }, { 1000, "1kB" }, { 1234567, "1.235MB" }, { 2.5e9, "2.5GB" } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf b = {};
		engine_human_size(&b, rows[i].n);
		assert_string_equal(buf_cstr(&b), rows[i].text);
	}
}

static void test_changes(void **state)
{
	auto_arena struct arena a = {};
	struct json c = json_object();
	static const char *const lines[] = { "CMD [\"a\",\"b\"]", "entrypoint top -b", "ENV A=1 B=\"x y\" C=a\\ b", "ENV D e f", "EXPOSE 80 53/udp",
		"LABEL k=v", "VOLUME /a /b", "VOLUME [\"/c\"]", "WORKDIR /w", "USER u:g", "STOPSIGNAL SIGINT", "ONBUILD RUN x" };
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		OK(engine_config_change(&c, span_of(lines[i]), &a, &err));
	is_json(&c, "{\"Cmd\":[\"a\",\"b\"],\"Entrypoint\":[\"/bin/sh\",\"-c\",\"top -b\"],\"Env\":[\"A=1\",\"B=x y\",\"C=a b\",\"D=e f\"],"
		    "\"ExposedPorts\":{\"53/udp\":{},\"80/tcp\":{}},\"Labels\":{\"k\":\"v\"},\"OnBuild\":[\"RUN x\"],\"StopSignal\":\"SIGINT\",\"User\":\"u:g\","
		    "\"Volumes\":{\"/a\":{},\"/b\":{},\"/c\":{}},\"WorkingDir\":\"/w\"}");
	FAILS(ERR_INVALID_REQUEST, "FROM is not a valid change command", engine_config_change(&c, SPAN("FROM x"), &a, &err));
	FAILS(ERR_INVALID_REQUEST, "FROM isn't allowed as an ONBUILD trigger", engine_config_change(&c, SPAN("ONBUILD from x"), &a, &err));
	FAILS(ERR_INVALID_REQUEST, "invalid containerPort: 0", engine_config_change(&c, SPAN("EXPOSE 0"), &a, &err));
	FAILS(ERR_INVALID_REQUEST, "ENV must have two arguments", engine_config_change(&c, SPAN("ENV A"), &a, &err));
	FAILS(ERR_INVALID_REQUEST, "only strings", engine_config_change(&c, SPAN("CMD [1]"), &a, &err));
}

static void test_shapes(void **state)
{
	static const struct {
		enum engine_doc doc;
		const char *in;
		unsigned api;
		const char *out;
	} rows[] = {
		{ ENGINE_DOC_IMAGE_SUMMARY, "{\"RepoTags\":[],\"Size\":5,\"Manifests\":[]}", 24,
			"{\"RepoDigests\":[\"<none>@<none>\"],\"RepoTags\":[\"<none>:<none>\"],\"Size\":5,\"VirtualSize\":5}" },
		{ ENGINE_DOC_IMAGE_SUMMARY, "{\"RepoTags\":[\"a:1\"],\"Size\":5}", 40, "{\"RepoTags\":[\"a:1\"],\"Size\":5,\"VirtualSize\":5}" },
		{ ENGINE_DOC_IMAGE_SUMMARY, "{\"RepoTags\":[],\"Size\":5,\"Manifests\":[]}", 44, "{\"RepoTags\":[],\"Size\":5}" },
		{ ENGINE_DOC_IMAGE_SUMMARY, "{\"RepoTags\":[],\"Size\":5,\"Manifests\":[]}", 50, "{\"Manifests\":[],\"RepoTags\":[],\"Size\":5}" },
		{ ENGINE_DOC_INFO, "{\"SecurityOptions\":[\"name=seccomp,profile=builtin\"],\"KernelMemory\":false}", 24,
			"{\"KernelMemory\":false,\"SecurityOptions\":[\"seccomp\"]}" },
		{ ENGINE_DOC_INFO, "{\"SecurityOptions\":[\"name=seccomp\"],\"KernelMemory\":false,\"Runtimes\":{\"r\":{\"path\":\"x\",\"status\":{}}}}", 42,
			"{\"Runtimes\":{\"r\":{\"path\":\"x\"}},\"SecurityOptions\":[\"name=seccomp\"]}" },
		{ ENGINE_DOC_CREATE, "{\"StopTimeout\":3,\"HostConfig\":{\"AutoRemove\":true,\"CgroupnsMode\":\"private\",\"IpcMode\":\"host\"}}", 24,
			"{\"HostConfig\":{\"IpcMode\":\"host\"}}" },
		{ ENGINE_DOC_CREATE, "{\"HostConfig\":{\"Annotations\":{\"a\":\"b\"},\"Mounts\":[{\"BindOptions\":{\"CreateMountpoint\":true}}]}}", 40,
			"{\"HostConfig\":{\"Mounts\":[{\"BindOptions\":{}}]}}" },
		{ ENGINE_DOC_CREATE, "{\"Healthcheck\":{\"StartInterval\":1},\"HostConfig\":{\"Annotations\":{}}}", 44,
			"{\"Healthcheck\":{\"StartInterval\":1},\"HostConfig\":{\"Annotations\":{}}}" },
		{ ENGINE_DOC_CONTAINER, "{\"NetworkSettings\":{\"Networks\":{\"bridge\":{\"IPAddress\":\"1.2.3.4\",\"GwPriority\":0}}}}", 50,
			"{\"NetworkSettings\":{\"Bridge\":\"\",\"EndpointID\":\"\",\"Gateway\":\"\",\"GlobalIPv6Address\":\"\",\"GlobalIPv6PrefixLen\":0,"
			"\"HairpinMode\":false,\"IPAddress\":\"1.2.3.4\",\"IPPrefixLen\":0,\"IPv6Gateway\":\"\",\"LinkLocalIPv6Address\":\"\","
			"\"LinkLocalIPv6PrefixLen\":0,\"MacAddress\":\"\",\"Networks\":{\"bridge\":{\"GwPriority\":0,\"IPAddress\":\"1.2.3.4\"}},"
			"\"SecondaryIPAddresses\":null,\"SecondaryIPv6Addresses\":null}}" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf b = {};
		struct json v = read_json(&a, rows[i].in);
		engine_shape(rows[i].doc, rows[i].api, &a, &v);
		/* What the cgroup version of this machine decides is not this test's matter. */
		struct json *host = json_getl(&v, "HostConfig");
		if (host && rows[i].api < 41)
			(void)json_remove(host, SPAN("CgroupnsMode"));
		json_write(&b, &v, JSON_SORTED);
		if (!span_is(buf_span(&b), rows[i].out))
			fail_msg("row %zu at 1.%u: %s\nwanted %s", i, rows[i].api, buf_cstr(&b), rows[i].out);
	}
}

/* A document that has nothing but what a path of fields.def leads to: "A.[].{}.B". */
static void path_make(struct buf *out, struct span path, struct buf *ends)
{
	struct span name;
	while (span_cut(&path, '.', &name)) {
		auto_buf struct buf rest = {};
		bool list = span_is(name, "[]");
		if (list)
			buf_str(out, "[");
		else
			buf_printf(out, "{\"%.*s\":", SPAN_ARG(span_is(name, "{}") ? SPAN("any") : name));
		buf_printf(&rest, "%s%.*s", list ? "]" : "}", (int)ends->len, ends->len ? ends->ptr : "");
		buf_trunc(ends, 0);
		buf_span_add(ends, buf_span(&rest));
	}
	buf_printf(out, "\"x\"%s", buf_cstr(ends));
}

static bool path_there(const struct json *v, struct span path)
{
	struct span name;
	while (v && span_cut(&path, '.', &name)) {
		if (span_is(name, "[]"))
			v = json_is(v, JSON_ARRAY) && v->n ? &v->items[0] : NULL;
		else
			v = json_get(v, span_is(name, "{}") ? SPAN("any") : name);
	}
	return span_is(json_span(v), "x"); /* and not what stands for it in that version */
}

/* Every row, in both directions' documents, at the versions whose clients are still met. */
static void test_every_field(void **state)
{
	static const struct {
		enum engine_doc doc;
		const char *path;
		unsigned since, until;
	} rows[] = {
#define FIELD(doc, path, since, until) { ENGINE_DOC_##doc, path, since, until },
#define SHAPE(doc, function, since, until)
#define KNOWN(doc, path, names)
#include "engine/fields.def"
#undef FIELD
#undef SHAPE
#undef KNOWN
	};
	static const unsigned versions[] = { 24, 40, 44, 50 };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t k = 0; k < ARRAY_LEN(versions); k++) {
			auto_arena struct arena a = {};
			auto_buf struct buf text = {}, ends = {};
			unsigned api = versions[k];
			path_make(&text, span_of(rows[i].path), &ends);
			struct json v = read_json(&a, buf_cstr(&text));
			bool has = api >= rows[i].since && (!rows[i].until || api < rows[i].until);
			engine_shape(rows[i].doc, api, &a, &v);
			if (path_there(&v, span_of(rows[i].path)) != has)
				fail_msg("%s at 1.%u: wanted %s", rows[i].path, api, has ? "there" : "gone");
		}
	assert_true(ARRAY_LEN(rows) > 50);
}

static void test_whole(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf b = {};
	struct json v = read_json(&a, "{\"Config\":{\"Image\":\"i\",\"Cmd\":[\"x\"],\"NetworkDisabled\":false,\"Novel\":1},"
		"\"HostConfig\":{\"Init\":null,\"Links\":[],\"Memory\":5,\"Privileged\":null,\"Tmpfs\":{},\"Dns\":[],\"Novel\":2}}");
	engine_container_whole(&a, &v);
	json_write(&b, json_getl(&v, "Config"), 0);
	assert_string_equal(buf_cstr(&b), "{\"Hostname\":\"\",\"Domainname\":\"\",\"User\":\"\",\"AttachStdin\":false,\"AttachStdout\":false,"
		"\"AttachStderr\":false,\"Tty\":false,\"OpenStdin\":false,\"StdinOnce\":false,\"Env\":null,\"Cmd\":[\"x\"],\"Image\":\"i\","
		"\"Volumes\":null,\"WorkingDir\":\"\",\"Entrypoint\":null,\"OnBuild\":null,\"Labels\":{},\"Novel\":1}");
	const struct json *h = json_getl(&v, "HostConfig");
	assert_true(json_is(json_getl(h, "Privileged"), JSON_BOOL) && json_is(json_getl(h, "Links"), JSON_NULL));
	assert_true(json_i64(json_getl(h, "Memory"), 0) == 5 && json_is(json_getl(h, "Dns"), JSON_ARRAY));
	assert_true(!json_getl(h, "Init") && !json_getl(h, "Tmpfs") && json_i64(json_getl(h, "Novel"), 0) == 2);
	assert_int_equal(h->n, 64);
	v = read_json(&a, "{\"HostConfig\":{\"Init\":false}}");
	engine_container_whole(&a, &v);
	assert_true(json_is(json_path(&v, "HostConfig", "Init", NULL), JSON_BOOL) && v.n == 1);
}

/* Rows are in order: no literal path is hidden behind a variable, no row stands twice. */
static void test_routes(void **state)
{
	const struct engine_route *r, *q;
	size_t n = 0;
	for (size_t i = 0; (r = engine_route_at(i)); i++, n++) {
		assert_true(r->pattern[0] == '/' && r->handle && r->since <= ENGINE_API_MAX);
		for (size_t k = 0; k < i; k++) {
			q = engine_route_at(k);
			if (!strcmp(q->method, r->method) && !strcmp(q->pattern, r->pattern))
				fail_msg("%s %s stands twice", r->method, r->pattern);
		}
	}
	assert_true(n > 50);
}

static int options(struct engine_options *o, const char *words, struct err *err)
{
	static char space[512];
	char *argv[20];
	int argc = 0;
	bool help;
	engine_options_default(o);
	(void)snprintf(space, sizeof(space), "%s", words);
	for (char *w = space; w && argc < 20;) {
		char *blank = strchr(w, ' ');
		argv[argc++] = w;
		if (blank)
			*blank++ = 0;
		w = blank;
	}
	return engine_options_parse(o, argc, argv, &help, err);
}

static void test_options(void **state)
{
	struct engine_options o;
	OK(options(&o, "--data-dir /d -H unix:///a.sock -H=tcp://1.2.3.4:5 --tlsverify --tlscacert=/ca --icc=false --mtu 1400 --dns 1.1.1.1 --dns 2.2.2.2 "
		       "--default-address-pool base=10.0.0.0/8,size=24 -D", &err));
	assert_true(o.n_hosts == 2 && span_is(o.hosts[1], "tcp://1.2.3.4:5") && o.tls_verify && o.debug && span_is(o.run_dir, "/d/run"));
	is_json(&o.settings, "{\"default-address-pools\":[{\"base\":\"10.0.0.0/8\",\"size\":24}],\"dns\":[\"1.1.1.1\",\"2.2.2.2\"],\"icc\":false,\"mtu\":1400}");
	engine_options_done(&o);
	FAILS(ERR_USAGE, "userns-remap: not supported", options(&o, "--data-dir /d --userns-remap default", &err));
	engine_options_done(&o);
	FAILS(ERR_USAGE, "storage-opts: not supported", options(&o, "--data-dir /d --storage-opt dm.x=1", &err));
	engine_options_done(&o);
	FAILS(ERR_USAGE, "runtimes: not supported", options(&o, "--data-dir /d --add-runtime crun=/usr/bin/crun", &err));
	engine_options_done(&o);
	OK(options(&o, "--data-dir /d --selinux-enabled=false", &err));
	engine_options_done(&o);
	FAILS(ERR_USAGE, "unknown flag: --no", options(&o, "--no", &err));
	engine_options_done(&o);
	FAILS(ERR_USAGE, "invalid argument \"maybe\" for \"--icc\" flag", options(&o, "--icc=maybe", &err));
	engine_options_done(&o);
	OK(options(&o, "--host fd://", &err));
	assert_true(span_is(o.run_dir, "/run/knarr") || getenv("KNARR_DATA_DIR"));
	engine_options_done(&o);
}

static void test_registry_auth(void **state)
{
	static const char *const rows[] = { "eyJ1c2VybmFtZSI6ImEiLCJwYXNzd29yZCI6ImIifQ==", "eyJ1c2VybmFtZSI6ImEiLCJwYXNzd29yZCI6ImIifQ",
		"eyJhdXRoIjoiWVRwaSJ9" };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct image_registry_params p = {};
		OK(engine_registry_auth(span_of(rows[i]), &a, &p, &err));
		assert_true(span_is(p.username, "a") && span_is(p.password, "b"));
	}
	auto_arena struct arena a = {};
	struct image_registry_params p = {};
	FAILS(ERR_INVALID_REQUEST, "invalid X-Registry-Auth header", engine_registry_auth(SPAN("!"), &a, &p, &err));
	FAILS(ERR_INVALID_REQUEST, "invalid X-Registry-Auth header: invalid JSON", engine_registry_auth(SPAN("e30x"), &a, &p, &err));
	OK(engine_registry_auth(SPAN(""), &a, &p, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filters), cmocka_unit_test(test_glob), cmocka_unit_test(test_times), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_changes), cmocka_unit_test(test_shapes), cmocka_unit_test(test_every_field), cmocka_unit_test(test_whole),
		cmocka_unit_test(test_routes), cmocka_unit_test(test_options),
		cmocka_unit_test(test_registry_auth),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
