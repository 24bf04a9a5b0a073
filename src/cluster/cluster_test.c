#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cluster/private.h"
#include "cluster/server.h"
#include "snapshot/snapshot.h"
#include "tls/tls.h"
#include "yaml/yaml.h"

static char top[64];

static int setup(void **state)
{
	snprintf(top, sizeof(top), "/tmp/knarr-cluster-XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int teardown(void **state)
{
	return snapshot_tree_remove(AT_FDCWD, top, NULL);
}

static void layout(struct cluster_layout *l)
{
	auto_err struct err err = ERR_INIT;
	if (cluster_layout_init(l, span_of(top), &err) < 0)
		fail_msg("%s", err_msg(&err));
}

static void test_layout(void **state)
{
	static const struct {
		const char *given, *data, *run, *id;
	} rows[] = {
		{ "/var/lib/knarr", "/var/lib/knarr", "/run/knarr", "0" },
		{ "/var/lib//knarr/.", "/var/lib/knarr", "/run/knarr", "0" },
		{ "/srv/a/../b/", "/srv/b", "/srv/b/run", "40a77a3b" },
	};
	auto_err struct err err = ERR_INIT;
	struct cluster_layout l;
	unsetenv("KNARR_DATA_DIR");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(cluster_layout_init(&l, span_of(rows[i].given), &err), 0);
		assert_string_equal(l.data.ptr, rows[i].data);
		assert_string_equal(l.run.ptr, rows[i].run);
		if (l.is_default)
			assert_string_equal(l.id, rows[i].id);
		else
			assert_int_equal(strlen(l.id), 8);
		cluster_layout_done(&l);
	}
	/* A run folder that sockets would not fit into is elsewhere. */
	assert_int_equal(cluster_layout_init(&l, SPAN("/a-folder-with-a-rather-long-name/and-another-one-that-is-no-better"), &err), 0);
	assert_true(span_starts(l.run, SPAN("/run/knarr/")) && span_ends(l.run, span_of(l.id)));
	cluster_layout_done(&l);
	setenv("KNARR_DATA_DIR", "/srv/told", 1);
	assert_int_equal(cluster_layout_init(&l, SPAN_EMPTY, &err), 0);
	assert_string_equal(l.data.ptr, "/srv/told");
	assert_string_equal(l.config.ptr, "/srv/told/config.yaml");
	cluster_layout_done(&l);
	unsetenv("KNARR_DATA_DIR");
	assert_int_equal(cluster_layout_init(&l, SPAN("/.."), &err), -ERR_USAGE);
	cluster_layout_done(&l);
}

/* Folders that somebody else made beforehand are not taken. */
static void test_owner(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct cluster_layout l;
	if (geteuid() != 0)
		skip();
	layout(&l);
	unsetenv("SUDO_UID");
	assert_int_equal(cluster_layout_make(&l, &err), 0);
	const char *const places[] = { l.data.ptr, l.pki.ptr };
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		assert_int_equal(chown(places[i], 4711, 4711), 0);
		assert_int_equal(cluster_layout_make(&l, &err), -ERR_FORBIDDEN);
		if (!span_has(span_of(err_msg(&err)), SPAN("belongs to user 4711")))
			fail_msg("%s", err_msg(&err));
		err_done(&err);
		setenv("SUDO_UID", "4711", 1);
		assert_int_equal(cluster_layout_make(&l, &err), 0);
		setenv("SUDO_UID", "4712", 1);
		assert_int_equal(cluster_layout_make(&l, &err), -ERR_FORBIDDEN);
		err_done(&err);
		unsetenv("SUDO_UID");
		assert_int_equal(chown(places[i], 0, 0), 0);
	}
	cluster_layout_done(&l);
}

static void test_settings(void **state)
{
	static const struct {
		const char *text, *said;
	} bad[] = {
		{ "podCidr: 10.0.0.0/16", "unknown setting \"podCidr\"; did you mean podCIDR?" },
		{ "colour: red", "unknown setting \"colour\"" },
		{ "podCIDR: 10.0.0.1/16", "podCIDR: 10.0.0.1/16 is no range of IPv4 addresses such as 10.244.0.0/16" },
		{ "podCIDR: 10.96.0.0/12", "podCIDR 10.96.0.0/12 and serviceCIDR 10.96.0.0/16 overlap" },
		{ "dnsAddress: 10.97.0.10",
			"dnsAddress 10.97.0.10 is no free address of serviceCIDR 10.96.0.0/16 (its first is the API server's)" },
		{ "apiPort: 70000", "apiPort: a number from 1 to 65535 is expected" },
		{ "apiPort: \"6443\"", "apiPort: a number from 1 to 65535 is expected" },
		{ "nodePorts: 40000-30000", "nodePorts: 40000-30000 is no range of ports such as 30000-32767" },
		{ "nodeName: Node_1", "nodeName: \"Node_1\" is no name: lower case letters, digits, dashes and dots are" },
		{ "hostNetwork: maybe", "hostNetwork: true or false is expected" },
		{ "arguments: {apiservr: []}", "arguments: there is no part \"apiservr\"; did you mean apiserver?" },
		{ "arguments: {engine: [1]}", "arguments.engine: item 1 is no text" },
		{ "nodeMaskSize: 12", "nodeMaskSize 12: a node's part would be larger than podCIDR 10.244.0.0/16" },
		{ "[]", "a mapping from names of settings to values is expected" },
	};
	auto_err struct err err = ERR_INIT;
	struct cluster_settings s;
	struct cluster_layout l;
	layout(&l);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		cluster_settings_default(&l, &s);
		assert_int_equal(cluster_settings_parse(span_of(bad[i].text), &s, &err), -ERR_INVALID);
		assert_string_equal(err_msg(&err), bad[i].said);
		err_done(&err);
		cluster_settings_done(&s);
	}
	cluster_settings_default(&l, &s);
	int rc = cluster_settings_parse(SPAN("serviceCIDR: 10.50.0.0/20\napiPort: 7443\ncertificateNames: [k.example, 192.0.2.1]\n"
					     "arguments:\n  apiserver: [\"--max-requests-inflight=10\"]\n"), &s, &err);
	if (rc < 0)
		fail_msg("%s", err_msg(&err));
	assert_string_equal(s.dns_address.ptr, "10.50.0.10"); /* goes with its range */
	assert_int_equal(s.api_port, 7443);
	assert_int_equal(s.n_sans, 2);
	assert_string_equal(s.args[CLUSTER_APISERVER].text[0].ptr, "--max-requests-inflight=10");
	cluster_settings_done(&s);
	cluster_layout_done(&l);
}

/* What the first start settled stays; a wish for something else is told. */
static void test_settled(void **state)
{
	auto_err struct err err = ERR_INIT;
	struct cluster_settings s;
	struct cluster_layout l;
	layout(&l);
	assert_int_equal(cluster_settings_read(&l, true, &s, &err), 0);
	assert_true(s.host_network);
	assert_int_equal(s.objects_made, 0);
	s.address = SPAN("198.19.0.2");
	s.objects_made = 7;
	assert_int_equal(cluster_settings_save(&l, &s, &err), 0);
	cluster_settings_done(&s);

	assert_int_equal(cluster_settings_read(&l, false, &s, &err), 0);
	assert_true(s.host_network); /* without the flag, as at the first start */
	assert_string_equal(s.address.ptr, "198.19.0.2");
	assert_int_equal(s.objects_made, 7);
	cluster_settings_done(&s);

	assert_int_equal(io_write_file(AT_FDCWD, l.config.ptr, SPAN("podCIDR: 10.100.0.0/16\n"), 0644, &err), 0);
	assert_int_equal(cluster_settings_read(&l, false, &s, &err), -ERR_IN_USE);
	assert_true(span_starts(span_of(err_msg(&err)), SPAN("podCIDR was settled when this cluster was first started")));
	cluster_settings_done(&s);
	cluster_layout_done(&l);
}

/* The default cluster has no other network, and says so; its files are this test's here. */
static void test_host_network(void **state)
{
	static const struct {
		bool is_default;
		const char *text;
		int rc;
		bool host_network;
	} rows[] = {
		{ true, "hostNetwork: false\n", -ERR_INVALID, false },	 { true, "hostNetwork: true\n", 0, true },
		{ true, "apiPort: 7443\n", 0, true },		 { false, "hostNetwork: false\n", 0, false },
		{ false, "hostNetwork: true\n", 0, true },
	};
	auto_err struct err err = ERR_INIT;
	struct cluster_settings s;
	struct cluster_layout l;
	layout(&l);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		l.is_default = rows[i].is_default;
		assert_int_equal(io_write_file(AT_FDCWD, l.config.ptr, span_of(rows[i].text), 0644, &err), 0);
		int rc = cluster_settings_read(&l, false, &s, &err);
		if (rc != rows[i].rc || (rc == 0 && s.host_network != rows[i].host_network))
			fail_msg("%s is %d, %s", rows[i].text, rc, err_msg(&err));
		if (rc < 0 && !span_has(span_of(err_msg(&err)), SPAN("--data-dir D")))
			fail_msg("\"%s\" names no remedy", err_msg(&err));
		err_done(&err);
		cluster_settings_done(&s);
	}
	cluster_layout_done(&l);
}

static void test_ranges(void **state)
{
	auto_arena struct arena a = {};
	assert_string_equal(cluster_range_at(&a, SPAN("10.96.0.0/16"), 10).ptr, "10.96.0.10");
	assert_string_equal(cluster_range_at(&a, SPAN("10.96.0.0/30"), 2).ptr, "10.96.0.2");
	assert_int_equal(cluster_range_at(&a, SPAN("10.96.0.0/30"), 3).len, 0); /* broadcast */
	assert_int_equal(cluster_range_at(&a, SPAN("10.96.0.0"), 1).len, 0);
}

static void read_cert(const char *name, struct tls_peer **out)
{
	auto_buf struct buf path = {}, pem = {};
	auto_err struct err err = ERR_INIT;
	buf_printf(&path, "%s/pki/%s", top, name);
	if (io_read_file(AT_FDCWD, buf_cstr(&path), &pem, 1 << 16, &err) < 0 || tls_cert_read(buf_span(&pem), NULL, out, &err) < 0)
		fail_msg("%s", err_msg(&err));
}

static bool listed(const char **list, unsigned n, const char *wanted)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(list[i], wanted) == 0)
			return true;
	return false;
}

static void test_certificates(void **state)
{
	static const int64_t now_s = 1800000000, day_s = 86400;
	auto_err struct err err = ERR_INIT;
	struct cluster_settings s;
	struct cluster_layout l;
	struct stat st;
	unsigned made;
	layout(&l);
	assert_int_equal(cluster_layout_make(&l, &err), 0);
	assert_int_equal(cluster_settings_read(&l, false, &s, &err), 0);
	s.address = SPAN("198.19.7.2");
	if (cluster_certs_make(&l, &s, now_s, &made, &err) < 0)
		fail_msg("%s", err_msg(&err));
	assert_int_equal(made, 9); /* authority, server, seven clients */
	auto_cleanup(auto_tls_peer_) struct tls_peer *server = NULL;
	read_cert("apiserver/apiserver.crt", &server);
	static const char *const names[] = { "kubernetes.default.svc.cluster.local", "kubernetes", "localhost" };
	static const char *const ips[] = { "127.0.0.1", "::1", "10.96.0.1", "198.19.7.2" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!listed(server->dns_names, server->n_dns_names, names[i]))
			fail_msg("the server's certificate lacks %s", names[i]);
	for (size_t i = 0; i < ARRAY_LEN(ips); i++)
		if (!listed(server->ips, server->n_ips, ips[i]))
			fail_msg("the server's certificate lacks %s", ips[i]);
	assert_int_equal(stat(l.admin.ptr, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);

	/* Nothing is made twice; a new name and the end of the year are reasons. */
	assert_int_equal(cluster_certs_make(&l, &s, now_s + day_s, &made, &err), 0);
	assert_int_equal(made, 0);
	s.sans[s.n_sans++] = SPAN("api.example");
	assert_int_equal(cluster_certs_make(&l, &s, now_s + day_s, &made, &err), 0);
	assert_int_equal(made, 1);
	assert_int_equal(cluster_certs_make(&l, &s, now_s + 300 * day_s, &made, &err), 0);
	assert_int_equal(made, 8);

	/* The administrator's file is a kubeconfig whose certificate is this authority's and whose address is the cluster's. */
	auto_arena struct arena a = {};
	auto_buf struct buf text = {}, pem = {};
	struct json tree;
	auto_cleanup(auto_tls_peer_) struct tls_peer *admin = NULL;
	assert_int_equal(io_read_file(AT_FDCWD, l.admin.ptr, &text, 1 << 16, &err), 0);
	assert_int_equal(yaml_parse(&a, buf_span(&text), YAML_STRICT, NULL, &tree, &err), 0);
	const struct json *cluster = json_getl(&tree, "clusters")->items, *user = json_getl(&tree, "users")->items;
	assert_true(span_is(json_span(json_path(cluster, "cluster", "server", NULL)), "https://198.19.7.2:6443"));
	assert_true(base64_parse(&pem, BASE64_STD, json_span(json_path(user, "user", "client-certificate-data", NULL))));
	assert_int_equal(tls_cert_read(buf_span(&pem), NULL, &admin, &err), 0);
	assert_string_equal(admin->cn, "kubernetes-admin");
	assert_true(listed(admin->orgs, admin->n_orgs, "system:masters"));
	cluster_settings_done(&s);
	cluster_layout_done(&l);
}

/* The authority's key and certificate belong together, and are made together or not at all. */
static void test_authority(void **state)
{
	static const int64_t now_s = 1800000000;
	static const struct {
		const char *gone, *said; /* moved away or exchanged */
	} rows[] = { { "ca.key", "/pki/ca.key is missing, and " }, { NULL, "/pki/ca.crt is not the certificate of " } };
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf path = {}, other = {};
	auto_cleanup(auto_tls_key_) struct tls_key *key = NULL;
	struct cluster_settings s;
	struct cluster_layout l;
	unsigned made;
	layout(&l);
	assert_int_equal(cluster_layout_make(&l, &err), 0);
	assert_int_equal(cluster_settings_read(&l, false, &s, &err), 0);
	assert_int_equal(cluster_certs_make(&l, &s, now_s, &made, &err), 0);
	buf_printf(&path, "%s/pki/ca.key", top);
	assert_int_equal(unlink(buf_cstr(&path)), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!rows[i].gone) {
			assert_int_equal(tls_key_new(TLS_ES256, &key, &err), 0);
			assert_int_equal(tls_key_save(key, AT_FDCWD, buf_cstr(&path), &err), 0);
		}
		assert_int_equal(cluster_certs_make(&l, &s, now_s, &made, &err), -ERR_CORRUPT);
		if (!span_has(span_of(err_msg(&err)), span_of(rows[i].said)))
			fail_msg("\"%s\" lacks \"%s\"", err_msg(&err), rows[i].said);
		err_done(&err);
		assert_int_equal(access(buf_cstr(&path), F_OK), rows[i].gone ? -1 : 0);
	}
	/* Both away: a new authority, and everything of the old one is made anew. */
	buf_printf(&other, "%s/pki/ca.crt", top);
	assert_int_equal(unlink(buf_cstr(&path)), 0);
	assert_int_equal(unlink(buf_cstr(&other)), 0);
	assert_int_equal(cluster_certs_make(&l, &s, now_s + 1000, &made, &err), 0);
	assert_int_equal(made, 9);
	cluster_settings_done(&s);
	cluster_layout_done(&l);
}

/* Into an empty file, into one with others, and again over itself. */
static void test_merge(void **state)
{
	static const char ours[] = "clusters: [{name: knarr, cluster: {server: b}}]\nusers: [{name: knarr-me, user: {}}]\n"
				   "contexts: [{name: knarr, context: {cluster: knarr, user: knarr-me}}]\ncurrent-context: knarr\n";
	static const struct {
		const char *into, *want;
	} rows[] = {
		{ "", "knarr 1 1 1 b" },
		{ "clusters: null\ncurrent-context: \"\"\n", "knarr 1 1 1 b" },
		{ "clusters: [{name: work, cluster: {server: w}}]\nusers: []\ncurrent-context: work\n", "work 2 1 1 w" },
		{ "clusters: [{name: knarr, cluster: {server: a}}, {name: x}]\nusers: [{name: knarr-me}]\n", "knarr 2 1 1 b" },
	};
	auto_err struct err err = ERR_INIT;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf got = {};
		struct json from, into;
		assert_int_equal(yaml_parse(&a, span_of(ours), 0, NULL, &from, &err), 0);
		assert_int_equal(yaml_parse(&a, span_of(rows[i].into), 0, NULL, &into, &err), 0);
		assert_int_equal(cluster_kubeconfig_merge(&a, &from, &into, &err), 0);
		const struct json *clusters = json_getl(&into, "clusters");
		struct span current = json_span(json_getl(&into, "current-context"));
		struct span server = json_span(json_path(clusters->items, "cluster", "server", NULL));
		buf_printf(&got, "%.*s %u %u %u %.*s", SPAN_ARG(current), clusters->n, json_getl(&into, "users")->n,
			   json_getl(&into, "contexts")->n, SPAN_ARG(server));
		assert_string_equal(buf_cstr(&got), rows[i].want);
	}
	auto_arena struct arena a = {};
	struct json from = json_object(), list = json_array(), odd = json_object();
	assert_int_equal(cluster_kubeconfig_merge(&a, &from, &list, &err), -ERR_INVALID);
	json_setl(&a, &odd, "users", json_int(1));
	assert_int_equal(cluster_kubeconfig_merge(&a, &from, &odd, &err), -ERR_INVALID);
}

static void test_mount_points(void **state)
{
	auto_buf struct buf out = {};
	assert_true(cluster_mount_point(SPAN("36 35 98:0 /mnt1 /a\\040b\\134c rw,noatime - ext3 /dev/root rw"), &out));
	assert_string_equal(buf_cstr(&out), "/a b\\c");
	assert_false(cluster_mount_point(SPAN("36 35"), &out));
}

/* Each child forks the next one and ends: whoever is looked at is gone, and has left one more. Ends by itself after 4 s. */
static void chain(const char *procs)
{
	int64_t until = clock_mono_ms(clock_real()) + 4000;
	auto_fd int fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		_exit(1);
	while (clock_mono_ms(clock_real()) < until)
		if (fork() > 0)
			_exit(0);
	_exit(0);
}

static void test_groups_end(void **state)
{
	auto_buf struct buf group = {}, procs = {}, left = {};
	auto_err struct err err = ERR_INIT;
	struct cluster_layout l;
	layout(&l);
	bool v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
	buf_printf(&group, "/sys/fs/cgroup/%sknarr-%s", v2 ? "" : "pids/", l.id);
	if (mkdir(buf_cstr(&group), 0755) < 0) {
		cluster_layout_done(&l);
		skip(); /* not root, or none of ours */
	}
	buf_printf(&procs, "%s/cgroup.procs", buf_cstr(&group));
	for (int i = 0; i < 3; i++) {
		int status;
		pid_t pid = fork();
		if (pid == 0)
			chain(buf_cstr(&procs));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	int64_t began_ms = clock_mono_ms(clock_real());
	assert_int_equal(cluster_groups_end(&l, 0), 0);
	int64_t took_ms = clock_mono_ms(clock_real()) - began_ms;
	assert_int_equal(io_read_file(AT_FDCWD, buf_cstr(&procs), &left, 1 << 16, &err), 0);
	assert_string_equal(buf_cstr(&left), "");
	if (v2 && took_ms >= 3000)
		fail_msg("took %lld ms", (long long)took_ms);
	assert_int_equal(rmdir(buf_cstr(&group)), 0);
	cluster_layout_done(&l);
}

/* A machine without these tables does not even have the files: a root of the test's own has them. */
static void test_legacy_tables(void **state)
{
	static const struct {
		const char *v4, *v6, *said;
	} rows[] = {
		{ NULL, NULL, "" },
		{ "", "", "" },
		{ "nat\nfilter\n", NULL, "nat, filter (IPv4)" },
		{ NULL, "filter\n", "filter (IPv6)" },
		{ "filter\n", "mangle\nfilter\n", "filter (IPv4); mangle, filter (IPv6)" },
	};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf net = {};
	buf_printf(&net, "%s/proc/net", top);
	if (io_mkdirs(AT_FDCWD, buf_cstr(&net), 0755, &err) < 0)
		fail_msg("%s", err_msg(&err));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *const files[] = { "ip_tables_names", "ip6_tables_names" }, *const texts[] = { rows[i].v4, rows[i].v6 };
		auto_buf struct buf out = {};
		for (size_t j = 0; j < ARRAY_LEN(files); j++) {
			auto_buf struct buf path = {};
			buf_printf(&path, "%s/%s", buf_cstr(&net), files[j]);
			(void)unlink(buf_cstr(&path));
			if (texts[j] && io_write_file(AT_FDCWD, buf_cstr(&path), span_of(texts[j]), 0644, &err) < 0)
				fail_msg("%s", err_msg(&err));
		}
		assert_int_equal(cluster_firewall_legacy(top, &out), rows[i].said[0] != 0);
		assert_string_equal(buf_cstr(&out), rows[i].said);
	}
}

/* Debian's kernel right after its installation: nobody has mounted an overlay yet. */
static void test_modules_at_hand(void **state)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf path = {};
	buf_printf(&path, "%s/lib/modules/6.1.0-9", top);
	assert_false(cluster_module_at_hand(top, "6.1.0-9", "overlay"));
	if (io_mkdirs(AT_FDCWD, buf_cstr(&path), 0755, &err) < 0)
		fail_msg("%s", err_msg(&err));
	buf_str(&path, "/modules.dep");
	if (io_write_file(AT_FDCWD, buf_cstr(&path), SPAN("kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko\nkernel/fs/overlayfs/overlay.ko.xz:\n"),
		0644, &err) < 0)
		fail_msg("%s", err_msg(&err));
	assert_true(cluster_module_at_hand(top, "6.1.0-9", "overlay"));
	assert_false(cluster_module_at_hand(top, "6.1.0-9", "lay"));
	assert_false(cluster_module_at_hand(top, "6.1.0-10", "overlay"));
}

static void test_state(void **state)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf text = {};
	struct cluster_layout l;
	struct cluster_view v;
	layout(&l);
	assert_int_equal(cluster_view_read(&l, &v, &err), -ERR_NOT_FOUND);
	err_done(&err);
	assert_int_equal(cluster_layout_make(&l, &err), 0);
	buf_str(&text, "{\"pid\":999999999,\"phase\":\"running\",\"steps\":[{\"name\":\"settings\",\"ms\":1}],\"parts\":[");
	for (int i = 0; i < 20; i++) /* more than there are: somebody else wrote this */
		buf_printf(&text, "%s{\"name\":\"p%d\",\"state\":\"ready\",\"pid\":\"x\"}", i ? "," : "", i);
	buf_str(&text, "]}");
	assert_int_equal(io_write_file_lazy(AT_FDCWD, l.state.ptr, buf_span(&text), 0644, &err), 0);
	assert_int_equal(cluster_view_read(&l, &v, &err), 0);
	assert_false(v.alive);
	assert_int_equal(v.n_parts, CLUSTER_PARTS);
	assert_int_equal(v.parts[0].pid, 0);
	assert_string_equal(v.steps[0].name.ptr, "settings");
	cluster_view_done(&v);
	assert_int_equal(io_write_file_lazy(AT_FDCWD, l.state.ptr, SPAN("{\"pid\":"), 0644, &err), 0);
	assert_true(cluster_view_read(&l, &v, &err) < 0);
	cluster_layout_done(&l);
}

static void test_options(void **state)
{
	static const char *const names[] = { "apiserver", "engine", "scheduler" };
	auto_err struct err err = ERR_INIT;
	bool flag = false;
	int64_t number = 0;
	struct span text = SPAN_EMPTY, word = SPAN_EMPTY;
	const struct cluster_option options[] = {
		{ "keep", 0, CLUSTER_OPTION_TRUE, &flag, "" },
		{ "tail", 'n', CLUSTER_OPTION_NUMBER, &number, "" },
		{ "data-dir", 0, CLUSTER_OPTION_TEXT, &text, "" },
	};
	struct cluster_usage u = { .usage = "x", .about = "y", .options = options, .n_options = 3, .n_words = 1, .words = &word };
	const char *good[] = { "--keep", "-n", "5", "--data-dir=/x", "engine" };
	assert_int_equal(cluster_options_parse(&u, 5, (char **)good, &err), 0);
	assert_true(flag && number == 5 && span_is(text, "/x") && span_is(word, "engine"));
	const char *misspelt[] = { "--data-dri", "/x" };
	assert_int_equal(cluster_options_parse(&u, 2, (char **)misspelt, &err), -ERR_USAGE);
	assert_string_equal(err_msg(&err), "unknown flag: --data-dri; did you mean --data-dir?");
	const char *lacking[] = { "--tail" }, *negative[] = { "--tail=-1" };
	assert_int_equal(cluster_options_parse(&u, 1, (char **)lacking, &err), -ERR_USAGE);
	assert_int_equal(cluster_options_parse(&u, 1, (char **)negative, &err), -ERR_USAGE);
	assert_string_equal(cluster_nearest(SPAN("apisrever"), names, 3), "apiserver");
	assert_null(cluster_nearest(SPAN("x"), names, 3));
}

/* A node is ready by the word of this start's kubelet, however its clock and ours were set. */
static void test_words(void **state)
{
	static const struct {
		const char *what;
		int64_t said_s, first_s, began_s, now_s;
		bool is_new;
	} rows[] = {
		{ "of this start, seen first", 1005, 1005, 1000, 1006, true },
		{ "in the second in which we began", 1000, 1000, 1000, 1000, true },
		{ "of the last kubelet", 990, 990, 1000, 1006, false },
		{ "after the last kubelet's", 1005, 990, 1000, 1006, true },
		{ "after it, the clock set back meanwhile", 400, 990, 1000, 401, true },
		{ "of the last kubelet, whose clock was ahead", 5000, 5000, 1000, 1006, false },
		{ "after that one", 1005, 5000, 1000, 1006, true },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (cluster_word_is_new(rows[i].said_s, rows[i].first_s, rows[i].began_s, rows[i].now_s) != rows[i].is_new)
			fail_msg("%s: %d, want %d", rows[i].what, !rows[i].is_new, rows[i].is_new);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),
		cmocka_unit_test_setup_teardown(test_settings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_settled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host_network, setup, teardown),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test_setup_teardown(test_certificates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_authority, setup, teardown),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_mount_points),
		cmocka_unit_test_setup_teardown(test_groups_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_legacy_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(test_modules_at_hand, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state, setup, teardown),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
