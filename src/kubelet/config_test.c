/* Resources, names, DNS and security of what CRI is asked for, by tables. */
#include "kubelet/cgroups.h"
#include "kubelet/config.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
	struct kl k;
	struct kl_options o;
	struct kl_pod *pod;
};

static void world_begin(struct world *w, const char *spec)
{
	auto_buf struct buf text = {};
	auto_err struct err err = ERR_INIT;
	*w = (struct world){ .k = { .o = &w->o } };
	kl_options_default(&w->o);
	w->o.cluster_dns = SPAN("10.96.0.10");
	w->o.cluster_domain = SPAN("cluster.local");
	w->o.pod_log_dir = SPAN("/logs");
	w->o.seccomp_root = SPAN("/seccomp");
	buf_printf(&text, "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\"},\"spec\":%s}", spec);
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '\'')
			text.ptr[i] = '"';
	struct bytes *b = bytes_of(buf_span(&text));
	struct kl_object *o = kl_object_new(b, &err);
	if (!o)
		fail_msg("%s: %s", buf_cstr(&text), err_msg(&err));
	bytes_unref(b);
	w->pod = kl_pod_new(&w->k, SPAN("u"), SPAN("n"), SPAN("p"));
	kl_pod_object_set(w->pod, o);
}

static void world_end(struct world *w)
{
	kl_pod_free(w->pod);
	kl_options_done(&w->o);
	map_done(&w->k.pods);
	map_done(&w->k.pods_by_name);
}

#define C(more) "{'containers':[{'name':'c','image':'i'," more "}]}"

static void classes_of_service(void **state)
{
	static const struct {
		const char *spec, *want;
		int64_t score, shares; /* of the first container, on a machine of 1000 bytes */
	} rows[] = {
		{ C("'resources':{}"), "BestEffort", 1000, 2 },
		{ C("'resources':{'requests':{'cpu':'1'}}"), "Burstable", 999, 1024 },
		{ C("'resources':{'requests':{'memory':'500'}}"), "Burstable", 500, 2 },
		{ C("'resources':{'requests':{'memory':'1'}}"), "Burstable", 999, 2 },
		{ C("'resources':{'requests':{'memory':'1000'}}"), "Burstable", 3, 2 },
		{ C("'resources':{'limits':{'cpu':'500m','memory':'10'}}"), "Guaranteed", -997, 512 },
		{ C("'resources':{'limits':{'cpu':'1','memory':'10'},'requests':{'cpu':'1','memory':'10'}}"), "Guaranteed", -997, 1024 },
		{ C("'resources':{'limits':{'cpu':'1','memory':'10'},'requests':{'cpu':'500m','memory':'10'}}"), "Burstable", 990, 512 },
		{ C("'resources':{'limits':{'cpu':'1'}}"), "Burstable", 999, 1024 },
		{ "{'priority':2000000000,'containers':[{'name':'c','image':'i'}]}", "BestEffort", -997, 2 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct world w;
		world_begin(&w, rows[i].spec);
		const struct api_core_pod_spec *s = &w.pod->object->pod.spec;
		const struct api_core_resource_requirements *r = &s->containers.ptr[0].resources;
		const char *got = kl_qos_name(kl_qos(s));
		int64_t score = kl_oom_score_adj(s, &s->containers.ptr[0], 1000), cpu = kl_amount(r->requests.ptr, r->requests.n, "cpu");
		if (cpu < 0)
			cpu = kl_amount(r->limits.ptr, r->limits.n, "cpu");
		if (strcmp(got, rows[i].want) != 0 || score != rows[i].score || kl_cpu_shares(cpu) != rows[i].shares)
			fail_msg("%s\n got: %s %lld %lld\nwant: %s %lld %lld", rows[i].spec, got, (long long)score,
				 (long long)kl_cpu_shares(cpu), rows[i].want, (long long)rows[i].score, (long long)rows[i].shares);
		world_end(&w);
	}
	assert_int_equal(kl_cpu_quota(500, 100000), 50000);
	assert_int_equal(kl_cpu_quota(1, 100000), 1000);
	assert_int_equal(kl_cpu_quota(0, 100000), 0);
}

static void sums_count_init_containers_and_sidecars(void **state)
{
	struct world w;
	struct kl_sums s;
	world_begin(&w, "{'initContainers':[{'name':'a','image':'i','resources':{'requests':{'cpu':'3'}}},"
			"{'name':'s','image':'i','restartPolicy':'Always','resources':{'requests':{'cpu':'1'}}},"
			"{'name':'b','image':'i','resources':{'requests':{'cpu':'4'}}}],"
			"'containers':[{'name':'c','image':'i','resources':{'requests':{'cpu':'2'}}}],'overhead':{'cpu':'100m'}}");
	kl_sums(&w.pod->object->pod.spec, &s);
	assert_int_equal(s.cpu_request, 5100); /* b beside the sidecar, and the overhead */
	world_end(&w);
}

static void sums_do_not_wrap(void **state)
{
	struct world w;
	struct kl_sums s;
	world_begin(&w, "{'containers':[{'name':'a','image':'i','resources':{'requests':{'memory':'7Ei','cpu':'9000000000000000'}}},"
			"{'name':'b','image':'i','resources':{'requests':{'memory':'7Ei','cpu':'9000000000000000'}}}],'overhead':{'memory':'1Gi'}}");
	kl_sums(&w.pod->object->pod.spec, &s);
	assert_true(s.memory_request == INT64_MAX);
	assert_true(s.cpu_request == INT64_MAX);
	world_end(&w);
}

/* ---- flags and the configuration file */

static void options_are_obeyed_or_refused(void **state)
{
	static const struct {
		const char *config, *flag, *problem, *node_ip; /* problem: part of the words; NULL: it is taken */
	} rows[] = {
		{ "{}", "--node-ip=2001:DB8:0::1", NULL, "2001:db8::1" },
		{ "{}", "--node-ip=192.0.2.1, fd00:0:0::A", NULL, "192.0.2.1,fd00::a" },
		{ "{}", "--node-ip=192.0.2.1,192.0.2.2,192.0.2.3", "one address, or one of each family", NULL },
		{ "{}", "--node-ip=192.0.2", "is no address", NULL },
		{ "authorization: {mode: Webhook, webhook: {cacheAuthorizedTTL: 5m}}", "--v=0", NULL, "" },
		{ "authorization: {mode: AlwaysAllow}", "--v=0", "field authorization.mode: only \"Webhook\" is supported", NULL },
		{ "authentication: {webhook: {enabled: true}}", "--v=0", NULL, "" },
		{ "authentication: {webhook: {enabled: false}}", "--v=0", "field authentication.webhook.enabled: only \"true\" is supported", NULL },
		{ "logging: {format: text, flushFrequency: 5s, verbosity: 0, options: {json: {infoBufferSize: \"0\"}}}", "--v=0", NULL, "" },
		{ "logging: {format: json}", "--v=0", "field logging.format: only \"text\" is supported", NULL },
		{ "featureGates: {}", "--v=0", NULL, "" },
		{ "featureGates: {UserNamespacesSupport: true}", "--v=0", "field featureGates.UserNamespacesSupport is not supported", NULL },
		{ "rotateCertificates: true", "--v=0", NULL, "" },
		{ "nothingOfTheKind: 1", "--v=0", "field nothingOfTheKind is not supported", NULL },
	};
	char path[] = "/tmp/config-test-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	(void)close(fd);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf text = {}, config = {};
		auto_err struct err err = ERR_INIT;
		struct kl_options o;
		bool help;
		buf_printf(&text, "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n");
		if (rows[i].config[0] != '{')
			buf_printf(&text, "%s\n", rows[i].config);
		assert_int_equal(io_write_file_lazy(AT_FDCWD, path, buf_span(&text), 0600, NULL), 0);
		buf_printf(&config, "--config=%s", path);
		char *argv[] = { buf_take(&config, NULL), mem_dup(rows[i].flag, strlen(rows[i].flag)), mem_dup("--pod-manifest-path=/m", 22) };
		kl_options_default(&o);
		int rc = kl_options_parse(&o, ARRAY_LEN(argv), argv, &help, &err);
		if ((rc == 0) != !rows[i].problem || (rc < 0 && !strstr(err_msg(&err), rows[i].problem)))
			fail_msg("%s %s: %s", rows[i].config, rows[i].flag, rc < 0 ? err_msg(&err) : "taken");
		if (rc == 0 && !span_is(o.node_ip, rows[i].node_ip))
			fail_msg("%s: %.*s, want %s", rows[i].flag, SPAN_ARG(o.node_ip), rows[i].node_ip);
		kl_options_done(&o);
		for (size_t k = 0; k < ARRAY_LEN(argv); k++)
			free(argv[k]);
	}
	assert_int_equal(unlink(path), 0);
}

static void join(struct buf *out, const struct span *list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		buf_printf(out, "%s%.*s", i ? "," : "", SPAN_ARG(list[i]));
	buf_chr(out, '|');
}

static void dns_policies(void **state)
{
	static const char resolv[] = "# host\nnameserver 192.0.2.1\nsearch a.example\nsearch example. \tb.example\noptions timeout:1\n";
	static const char *const rows[][2] = {
		{ "{}", "10.96.0.10|n.svc.cluster.local,svc.cluster.local,cluster.local,example,b.example|ndots:5|" },
		{ "{'dnsPolicy':'ClusterFirst','hostNetwork':true}", "192.0.2.1|example,b.example|timeout:1|" },
		{ "{'dnsPolicy':'ClusterFirstWithHostNet','hostNetwork':true}",
		  "10.96.0.10|n.svc.cluster.local,svc.cluster.local,cluster.local,example,b.example|ndots:5|" },
		{ "{'dnsPolicy':'Default'}", "192.0.2.1|example,b.example|timeout:1|" },
		{ "{'dnsPolicy':'None','dnsConfig':{'nameservers':['192.0.2.9'],'searches':['x'],'options':[{'name':'edns0'}]}}",
		  "192.0.2.9|x|edns0|" },
		{ "{'dnsPolicy':'Default','dnsConfig':{'nameservers':['192.0.2.1','192.0.2.2'],'options':[{'name':'timeout','value':'7'}]}}",
		  "192.0.2.1,192.0.2.2|example,b.example|timeout:7|" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf got = {};
		struct world w;
		struct api_cri_dns_config d;
		bool fallback;
		world_begin(&w, rows[i][0]);
		kl_pod_dns(&a, w.pod, span_of(resolv), &d, &fallback);
		join(&got, d.servers.ptr, d.servers.n);
		join(&got, d.searches.ptr, d.searches.n);
		join(&got, d.options.ptr, d.options.n);
		if (!span_is(buf_span(&got), rows[i][1]) || fallback)
			fail_msg("%s\n got: %s\nwant: %s", rows[i][0], buf_cstr(&got), rows[i][1]);
		w.o.cluster_dns = SPAN_EMPTY;
		kl_pod_dns(&a, w.pod, span_of(resolv), &d, &fallback);
		assert_int_equal(fallback, span_starts(buf_span(&got), SPAN("10.96")));
		world_end(&w);
	}
}

static void users_that_may_not_be_root(void **state)
{
	static const struct {
		const char *spec;
		int64_t uid;       /* of the image; -1: a name */
		const char *name, *want;
	} rows[] = {
		{ "{'securityContext':{'runAsNonRoot':true}," "'containers':[{'name':'c','image':'i'}]}", 0, "",
		  "container has runAsNonRoot and image will run as root (pod: \"p_n(u)\", container: c)" },
		{ "{'securityContext':{'runAsNonRoot':true}," "'containers':[{'name':'c','image':'i'}]}", 7, "", "" },
		{ "{'securityContext':{'runAsNonRoot':true}," "'containers':[{'name':'c','image':'i'}]}", -1, "web",
		  "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root (pod: \"p_n(u)\", container: c)" },
		{ "{'securityContext':{'runAsNonRoot':true,'runAsUser':0}," "'containers':[{'name':'c','image':'i'}]}", 7, "",
		  "container's runAsUser breaks non-root policy (pod: \"p_n(u)\", container: c)" },
		{ "{'securityContext':{'runAsNonRoot':true,'runAsUser':0}," "'containers':[{'name':'c','image':'i',"
		  "'securityContext':{'runAsUser':5}}]}", 0, "", "" },
		{ C("'securityContext':{'runAsNonRoot':false}"), 0, "", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct world w;
		struct api_cri_int64_value uid = { rows[i].uid };
		struct api_cri_image image = { .id = SPAN("sha256:1"), .uid = rows[i].uid >= 0 ? &uid : NULL,
					       .username = span_of(rows[i].name) };
		struct api_cri_container_config c;
		world_begin(&w, rows[i].spec);
		int rc = kl_container_config(&a, &(struct kl_make){ .pod = w.pod, .image = &image }, &c, &err);
		if (strcmp(rc < 0 ? err_msg(&err) : "", rows[i].want) != 0)
			fail_msg("%s\n got: %s\nwant: %s", rows[i].spec, rc < 0 ? err_msg(&err) : "", rows[i].want);
		world_end(&w);
	}
}

static void a_container_is_asked_for(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct world w;
	struct api_cri_image image = { .id = SPAN("sha256:1") };
	struct api_cri_container_config c;
	struct api_pair env[] = { { SPAN("WHO"), SPAN("you") } };
	world_begin(&w, "{'shareProcessNamespace':true,'hostNetwork':true,'securityContext':{'fsGroup':9,'supplementalGroups':[8],"
			"'seccompProfile':{'type':'Localhost','localhostProfile':'x.json'}},'containers':[{'name':'c','image':'i',"
			"'resources':{'limits':{'hugepages-2Mi':'6Mi','cpu':'1','hugepages-1Gi':'1Gi','hugepages-x':'1','hugepages-0':'1'}},"
			"'command':['$(WHO)','$(NO)','$$(WHO)'],'securityContext':{'allowPrivilegeEscalation':false,"
			"'readOnlyRootFilesystem':true,'capabilities':{'add':['NET_ADMIN'],'drop':['ALL']}}}]}");
	assert_int_equal(kl_container_config(&a, &(struct kl_make){ .pod = w.pod, .attempt = 3, .image = &image, .envs = env, .n_envs = 1 },
					     &c, &err), 0);
	assert_true(span_is(c.command.ptr[0], "you"));
	assert_true(span_is(c.command.ptr[1], "$(NO)"));
	assert_true(span_is(c.command.ptr[2], "$(WHO)"));
	assert_true(span_is(c.log_path, "c/3.log"));
	const struct api_cri_linux_container_resources *r = c.linux_->resources;
	assert_int_equal(r->hugepage_limits.n, 2);
	for (uint32_t i = 0; i < 2; i++) {
		bool small = span_is(r->hugepage_limits.ptr[i].page_size, "2MB");
		assert_true(small || span_is(r->hugepage_limits.ptr[i].page_size, "1GB"));
		assert_int_equal(r->hugepage_limits.ptr[i].limit, small ? 6 << 20 : 1 << 30);
	}
	assert_false(span_eq(r->hugepage_limits.ptr[0].page_size, r->hugepage_limits.ptr[1].page_size));
	const struct api_cri_linux_container_security_context *s = c.linux_->security_context;
	assert_true(s->no_new_privs && s->readonly_rootfs && !s->privileged);
	assert_int_equal(s->namespace_options->network, 2);
	assert_int_equal(s->namespace_options->pid, 0);
	assert_int_equal(s->supplemental_groups.n, 2);
	assert_int_equal(s->seccomp->profile_type, 2);
	assert_true(span_is(s->seccomp->localhost_ref, "/seccomp/x.json"));
	assert_true(span_is(s->capabilities->add_capabilities.ptr[0], "NET_ADMIN"));
	assert_true(s->masked_paths.n > 5 && s->readonly_paths.n == 5);
	world_end(&w);
}

static void hosts_files(void **state)
{
	auto_buf struct buf got = {};
	struct world w;
	world_begin(&w, "{'hostname':'h','subdomain':'s','hostAliases':[{'ip':'192.0.2.7','hostnames':['a','b']}]}");
	struct api_cri_pod_sandbox_network_status net = { .ip = SPAN("10.0.0.5") };
	struct api_cri_pod_sandbox_status sb = { .id = SPAN("s"), .network = &net };
	assert_true(kl_sandbox_put(w.pod, &sb));
	kl_pod_hosts(&got, w.pod, SPAN_EMPTY);
	const char *want = "fe00::2\tip6-allrouters\n10.0.0.5\th.s.n.svc.cluster.local\th\n\n# Entries added by HostAliases.\n192.0.2.7\ta\tb\n";
	if (!span_ends(buf_span(&got), span_of(want)))
		fail_msg("got: %s\nwant at its end: %s", buf_cstr(&got), want);
	world_end(&w);
}

/* The names that the published kubelet gives: ToCgroupfs and ToSystemd of its CgroupName. */
static void names_of_cgroups(void **state)
{
	static const struct {
		const char *root, *class, *uid, *cgroupfs, *systemd;
	} rows[] = {
		{ "/", "", "", "/kubepods", "/kubepods.slice" },
		{ "", "burstable", "", "/kubepods/burstable", "/kubepods.slice/kubepods-burstable.slice" },
		{ "/", "besteffort", "1a-2b", "/kubepods/besteffort/pod1a-2b",
		  "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1a_2b.slice" },
		{ "/knarr-0/", "", "9", "/knarr-0/kubepods/pod9", "/knarr_0.slice/knarr_0-kubepods.slice/knarr_0-kubepods-pod9.slice" },
		{ "/a/b", "", "", "/a/b/kubepods", "/a.slice/a-b.slice/a-b-kubepods.slice" },
	};
	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		auto_buf struct buf got = {};
		bool systemd = i % 2;
		const char *want = systemd ? rows[i / 2].systemd : rows[i / 2].cgroupfs;
		kl_cgroup_path(&got, systemd, span_of(rows[i / 2].root), rows[i / 2].class, span_of(rows[i / 2].uid));
		if (!span_is(buf_span(&got), want))
			fail_msg("row %zu: %s expected, %s came", i / 2, want, buf_cstr(&got));
	}
}

static void the_driver_is_one_of_two(void **state)
{
	static const char *const given[] = { "cgroupfs", "systemd", "other" };
	for (size_t i = 0; i < ARRAY_LEN(given); i++) {
		struct kl_options o;
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf flag = {};
		bool help;
		buf_printf(&flag, "--cgroup-driver=%s", given[i]);
		char manifests[] = "--pod-manifest-path=/m", *argv[] = { manifests, flag.ptr };
		buf_cstr(&flag);
		argv[1] = flag.ptr;
		kl_options_default(&o);
		int rc = kl_options_parse(&o, 2, argv, &help, &err);
		if (rc != (i == 2 ? -ERR_USAGE : 0) || (rc == 0 && !span_is(o.cgroup_driver, given[i])))
			fail_msg("%s: %d %s", given[i], rc, rc < 0 ? err_msg(&err) : o.cgroup_driver.ptr);
		kl_options_done(&o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classes_of_service),
		cmocka_unit_test(sums_count_init_containers_and_sidecars),
		cmocka_unit_test(sums_do_not_wrap),
		cmocka_unit_test(options_are_obeyed_or_refused),
		cmocka_unit_test(dns_policies),
		cmocka_unit_test(users_that_may_not_be_root),
		cmocka_unit_test(a_container_is_asked_for),
		cmocka_unit_test(hosts_files),
		cmocka_unit_test(names_of_cgroups),
		cmocka_unit_test(the_driver_is_one_of_two),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
