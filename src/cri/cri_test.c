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

/* And every method of the schema is answered. */
static void test_all_rpcs(void **state)
{
	for (unsigned i = 0; i < api_rpc_count(); i++) {
		struct api_rpc rpc = api_rpc_at(i);
		bool found = !span_starts(rpc.path, SPAN("/runtime.v1."));
		for (size_t j = 0; j < cri_n_methods && !found; j++)
			found = span_is(rpc.path, cri_methods[j].name);
		if (!found)
			fail_msg("nobody answers %.*s", SPAN_ARG(rpc.path));
	}
}

static struct json parsed(struct arena *a, const char *text)
{
	struct json v;
	OK(json_parse(a, span_of(text), 0, NULL, &v, &err));
	return v;
}

static void is_json(const struct json *v, const char *wanted)
{
	auto_buf struct buf b = {};
	json_write(&b, v, JSON_SORTED);
	assert_string_equal(buf_cstr(&b), wanted);
}

static void test_plugin_config(void **state)
{
	auto_arena struct arena a = {};
	struct json list = parsed(&a, "{\"name\":\"n\",\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"t\",\"capabilities\":"
		"{\"portMappings\":true,\"dns\":false,\"bandwidth\":true},\"x\":1}]}");
	struct json caps = parsed(&a, "{\"portMappings\":[1],\"dns\":{}}"), result = parsed(&a, "{\"ips\":[]}"), none = JSON_NULL_VALUE;
	const struct json *plugin = &json_getl(&list, "plugins")->items[0];
	struct json v = cri_net_plugin_config(&a, &list, plugin, &caps, &none);
	is_json(&v, "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"runtimeConfig\":{\"portMappings\":[1]},\"type\":\"t\",\"x\":1}");
	v = cri_net_plugin_config(&a, &list, plugin, &none, &result);
	is_json(&v, "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"prevResult\":{\"ips\":[]},\"type\":\"t\",\"x\":1}");
}

static void test_ips(void **state)
{
	static const struct {
		const char *result, *ips;
	} rows[] = {
		{ "{}", "" }, { "{\"ips\":[{\"address\":\"10.0.0.2/24\"}]}", "10.0.0.2 " },
		{ "{\"ips\":[{\"address\":\"fd00::2/64\"},{\"version\":\"4\",\"address\":\"10.0.0.2/24\"}]}", "10.0.0.2 fd00::2 " },
		/* 0: the host's end; 1: the sandbox' */
		{ "{\"interfaces\":[{\"name\":\"br\"},{\"name\":\"eth0\",\"sandbox\":\"/x\"}],\"ips\":[{\"interface\":0,\"address\":"
		  "\"10.0.0.1/24\"},{\"interface\":1,\"address\":\"10.0.0.2/24\"},{\"interface\":7,\"address\":\"10.0.0.3/24\"}]}",
		  "10.0.0.2 10.0.0.3 " },
		{ "{\"ips\":[{\"address\":1},{},3]}", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf b = {};
		struct span got[CRI_IPS_MAX];
		struct json v = parsed(&a, rows[i].result);
		unsigned n = cri_net_ips(&v, got, ARRAY_LEN(got));
		for (unsigned j = 0; j < n; j++)
			buf_printf(&b, "%.*s ", SPAN_ARG(got[j]));
		assert_string_equal(buf_cstr(&b), rows[i].ips);
	}
}

static void test_ip_ranges(void **state)
{
	auto_arena struct arena a = {};
	char cidrs[] = "10.1.0.0/24,fd00::/64";
	struct json two = cri_ip_ranges(&a, span_of(cidrs));
	memset(cidrs, 'x', sizeof(cidrs) - 1); /* UpdateRuntimeConfig with others, while plugins run */
	is_json(&two, "[[{\"subnet\":\"10.1.0.0/24\"}],[{\"subnet\":\"fd00::/64\"}]]");
	struct json one = cri_ip_ranges(&a, SPAN("10.1.0.0/24"));
	is_json(&one, "[[{\"subnet\":\"10.1.0.0/24\"}]]");
}

static void test_interfaces(void **state)
{
	auto_arena struct arena a = {};
	struct api_cri_network_interface_usage *got;
	uint32_t n = cri_interfaces_parse(SPAN("Inter-|   Receive  |  Transmit\n face |bytes packets errs\n"
		"    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n"
		"  eth0: 1234567   10    3    0    0     0          0         0      7654321       1    4    0    0     0       0          0\n"
		"  broken: 1 2\n"), &a, &got);
	assert_int_equal(n, 1);
	assert_true(span_is(got[0].name, "eth0") && got[0].rx_bytes->value == 1234567 && got[0].rx_errors->value == 3);
	assert_true(got[0].tx_bytes->value == 7654321 && got[0].tx_errors->value == 4);
}

static void test_spec(void **state)
{
	auto_arena struct arena a = {};
	struct cri_pod pod = { .id = "pod" };
	struct cri_documents d;
	struct api_cri_linux_container_security_context s = {};
	struct api_cri_linux_container_resources r = { .memory_limit_in_bytes = 100, .cpu_quota = -1 };
	struct api_cri_linux_container_config l = { &r, &s };
	struct api_cri_container_config c = { .linux_ = &l, .stop_signal = 50, .log_path = SPAN("c/0.log") };
	struct api_cri_mount mount = { .container_path = SPAN("x"), .host_path = SPAN("/y"), .propagation = 2 };
	struct api_cri_security_profile local = { .profile_type = 2, .localhost_ref = SPAN("/p") }, plain = {};
	list_init(&pod.containers);
	pod.config.log_directory = SPAN("/logs/");
	c.mounts.ptr = &mount;
	c.mounts.n = 1;
	OK(cri_spec_container(&pod, &c, SPAN("sha256:1"), SPAN_EMPTY, false, &a, &d, &err));
	is_json(json_getl(&d.config, "StopSignal"), "\"SIGRTMIN+15\"");
	is_json(json_getl(&d.host, "MemorySwap"), "100");
	is_json(json_getl(&d.host, "CpuQuota"), "-1");
	is_json(json_getl(&d.host, "PidMode"), "\"container:pod\"");
	is_json(json_getl(&d.host, "SecurityOpt"), "[\"seccomp=unconfined\",\"apparmor=unconfined\",\"no-new-privileges=false\"]");
	is_json(json_getl(&d.host, "Mounts"), "[{\"BindOptions\":{\"CreateMountpoint\":true,\"Propagation\":\"rshared\"},\"ReadOnly\":false,"
		"\"Source\":\"/y\",\"Target\":\"/x\",\"Type\":\"bind\"}]");
	is_json(json_getl(&d.extra, "LogPath"), "\"/logs/c/0.log\"");
	static const struct {
		int n;
		const char *name;
	} signals[] = { { 1, "\"SIGABRT\"" }, { 13, "\"SIGKILL\"" }, { 23, "\"SIGTERM\"" }, { 30, "\"SIGUSR2\"" }, { 34, "\"SIGXFSZ\"" },
		{ 35, "\"SIGRTMIN+0\"" }, { 51, "\"SIGRTMAX-14\"" }, { 65, "\"SIGRTMAX-0\"" } };
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		c.stop_signal = signals[i].n;
		OK(cri_spec_container(&pod, &c, SPAN("sha256:1"), SPAN_EMPTY, false, &a, &d, &err));
		is_json(json_getl(&d.config, "StopSignal"), signals[i].name);
	}
	struct api_cri_linux_pod_sandbox_config lp = { .cgroup_parent = SPAN("/kubepods.slice/kubepods-podx.slice") };
	pod.config.linux_ = &lp;
	OK(cri_spec_container(&pod, &c, SPAN("sha256:1"), SPAN_EMPTY, true, &a, &d, &err));
	is_json(json_getl(&d.host, "CgroupParent"), "\"kubepods-podx.slice\"");
	OK(cri_spec_container(&pod, &c, SPAN("sha256:1"), SPAN_EMPTY, false, &a, &d, &err));
	is_json(json_getl(&d.host, "CgroupParent"), "\"/kubepods.slice/kubepods-podx.slice\"");
	s.seccomp = &local;
	assert_true(span_is(cri_spec_seccomp_path(&local, SPAN_EMPTY), "/p"));
	assert_true(span_is(cri_spec_seccomp_path(NULL, SPAN("localhost/q")), "q"));
	FAILS(ERR_INVALID_REQUEST, "seccomp profile is empty", cri_spec_container(&pod, &c, SPAN("i"), SPAN_EMPTY, false, &a, &d, &err));
	s.seccomp = &plain;
	OK(cri_spec_container(&pod, &c, SPAN("i"), SPAN_EMPTY, false, &a, &d, &err));
	is_json(json_getl(&d.host, "SecurityOpt"), "[\"seccomp=builtin\",\"apparmor=unconfined\",\"no-new-privileges=false\"]");
	s.privileged = true;
	OK(cri_spec_container(&pod, &c, SPAN("i"), SPAN_EMPTY, false, &a, &d, &err));
	is_json(json_getl(&d.host, "SecurityOpt"), "[\"seccomp=unconfined\",\"apparmor=unconfined\",\"no-new-privileges=false\"]");
	s.privileged = false;
	s.apparmor = &plain;
	OK(cri_spec_container(&pod, &c, SPAN("i"), SPAN_EMPTY, false, &a, &d, &err));
	is_json(json_getl(&d.host, "SecurityOpt"), "[\"seccomp=builtin\",\"no-new-privileges=false\"]");
	mount.propagation = 3;
	FAILS(ERR_INVALID_REQUEST, "unknown propagation 3", cri_spec_container(&pod, &c, SPAN("i"), SPAN_EMPTY, false, &a, &d, &err));
	mount.propagation = 0;
	struct api_cri_namespace_option n = { .pid = 3, .target_id = SPAN("none") };
	s.namespace_options = &n;
	FAILS(ERR_INVALID_REQUEST, "invalid target container", cri_spec_container(&pod, &c, SPAN("i"), SPAN_EMPTY, false, &a, &d, &err));
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
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rpcs), cmocka_unit_test(test_all_rpcs), cmocka_unit_test(test_labels),
		cmocka_unit_test(test_plugin_config), cmocka_unit_test(test_ips), cmocka_unit_test(test_ip_ranges),
		cmocka_unit_test(test_interfaces), cmocka_unit_test(test_spec) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
