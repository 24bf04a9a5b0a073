/* Tests of what needs no server: limits and their fairness, the audit policy and its log, gates, durations, flags. */
#include "apiserver/audit.h"
#include "apiserver/flow.h"
#include "apiserver/gates.h"
#include "apiserver/server.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- limits */

/* How many of `tries` requests of this user get in. */
static unsigned enter(struct flow *f, const char *user, unsigned tries, struct flow_ticket *tickets)
{
	unsigned in = 0;
	for (unsigned i = 0; i < tries; i++)
		in += flow_enter(f, FLOW_READING, span_of(user), false, &tickets[in]);
	return in;
}

static void flood_leaves_room(void **state)
{
	struct flow *f = mem_new(struct flow);
	struct flow_ticket a[1000], b[1000], c[1000];
	f->classes[FLOW_READING].limit = 400;
	unsigned in_a = enter(f, "a", 1000, a), in_b = enter(f, "b", 1000, b), in_c = enter(f, "c", 10, c);
	assert_int_equal(in_a, 320); /* four fifths */
	assert_int_equal(in_b, 64);  /* four fifths of what is left */
	assert_int_equal(in_c, 10);  /* who asks for little gets it */
	assert_int_equal(flow_now(f, FLOW_READING), 394);
	struct flow_ticket d;
	assert_true(flow_enter(f, FLOW_READING, SPAN("a"), true, &d)); /* exempt */
	assert_int_equal(flow_now(f, FLOW_READING), 395);
	flow_leave(f, &d);
	flow_leave(f, &d); /* harmless */
	assert_false(flow_enter(f, FLOW_READING, SPAN("a"), false, &d));
	assert_false(d.held);
	for (unsigned i = 0; i < in_a; i++)
		flow_leave(f, &a[i]);
	assert_int_equal(enter(f, "b", 1, a), 1); /* room again */
	flow_leave(f, &a[0]);
	for (unsigned i = 0; i < in_b; i++)
		flow_leave(f, &b[i]);
	for (unsigned i = 0; i < in_c; i++)
		flow_leave(f, &c[i]);
	assert_int_equal(flow_now(f, FLOW_READING), 0);
	assert_int_equal(flow_now(f, FLOW_WRITING), 0);
	free(f);
}

static void limits_of_few(void **state)
{
	struct flow *f = mem_new(struct flow);
	struct flow_ticket t[8];
	f->classes[FLOW_READING].limit = 1;
	assert_int_equal(enter(f, "a", 3, t), 1);
	assert_int_equal(enter(f, "b", 3, t + 1), 0);
	flow_leave(f, &t[0]);
	assert_int_equal(enter(f, "b", 3, t), 1);
	flow_leave(f, &t[0]);
	f->classes[FLOW_READING].limit = 0; /* none */
	assert_int_equal(enter(f, "a", 8, t), 8);
	free(f);
}

/* ---- audit policy */

#define HEAD "apiVersion: audit.k8s.io/v1\nkind: Policy\n"

static void policy_matches(void **state)
{
	static const char text[] = HEAD
		"omitStages: [RequestReceived]\n"
		"rules:\n"
		"- {level: None, users: [\"system:kube-proxy\"], verbs: [watch], resources: [{resources: [endpoints, services]}]}\n"
		"- {level: None, userGroups: [\"system:nodes\"], verbs: [get], resources: [{resources: [\"nodes/*\"]}]}\n"
		"- {level: None, nonResourceURLs: [\"/healthz*\", /version]}\n"
		"- {level: Metadata, resources: [{resources: [secrets]}, {group: apps}], omitStages: [ResponseStarted]}\n"
		"- {level: Request, resources: [{resources: [\"*/status\"], resourceNames: [web]}]}\n"
		"- {level: Request, namespaces: [\"\"], resources: [{group: rbac.authorization.k8s.io}]}\n"
		"- {level: RequestResponse, namespaces: [kube-system], omitManagedFields: true}\n";
	static const struct {
		const char *user, *group_of, *verb, *group, *resource, *sub, *ns, *name, *path;
		enum audit_level level;
		unsigned omit;
	} rows[] = {
		{ "system:kube-proxy", "x", "watch", "", "services", "", "", "", NULL, AUDIT_NONE, 1 },
		{ "n", "system:nodes", "get", "", "nodes", "status", "", "n", NULL, AUDIT_NONE, 1 },
		{ "n", "system:nodes", "get", "", "nodes", "", "", "n", NULL, AUDIT_NONE, 1 },
		{ "u", "x", "get", "", "", "", "", "", "/healthz/etcd", AUDIT_NONE, 1 },
		{ "u", "x", "get", "", "", "", "", "", "/version", AUDIT_NONE, 1 },
		{ "u", "x", "get", "", "", "", "", "", "/versions", AUDIT_NONE, 0 }, /* no rule fits */
		{ "u", "x", "get", "", "secrets", "", "d", "s", NULL, AUDIT_METADATA, 3 },
		{ "u", "x", "get", "", "secrets", "status", "d", "s", NULL, AUDIT_NONE, 0 }, /* the sub-resource is not named */
		{ "u", "x", "get", "apps", "anything", "scale", "d", "s", NULL, AUDIT_METADATA, 3 },
		{ "u", "x", "update", "", "pods", "status", "d", "web", NULL, AUDIT_REQUEST, 1 },
		{ "u", "x", "update", "", "pods", "status", "d", "other", NULL, AUDIT_NONE, 0 },
		{ "u", "x", "get", "rbac.authorization.k8s.io", "clusterroles", "", "", "r", NULL, AUDIT_REQUEST, 1 },
		{ "u", "x", "get", "rbac.authorization.k8s.io", "roles", "", "d", "r", NULL, AUDIT_NONE, 0 },
		{ "u", "x", "list", "", "pods", "", "kube-system", "", NULL, AUDIT_RESPONSE, 1 },
		{ NULL, NULL, "list", "", "pods", "", "kube-system", "", NULL, AUDIT_RESPONSE, 1 },
		{ NULL, NULL, "watch", "", "services", "", "", "", NULL, AUDIT_NONE, 0 },
	};
	auto_err struct err err = ERR_INIT;
	struct audit_policy *p;
	if (audit_policy_read(span_of(text), "p", &p, &err) < 0)
		fail_msg("%s", err_msg(&err));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct span groups[] = { span_of(rows[i].group_of) };
		const struct auth_user user = { .name = span_of(rows[i].user), .groups = groups, .n_groups = 1 };
		const struct auth_ask ask = { .user = rows[i].user ? &user : NULL,
					      .verb = span_of(rows[i].verb),
					      .group = span_of(rows[i].group),
					      .resource = span_of(rows[i].resource),
					      .subresource = span_of(rows[i].sub),
					      .ns = span_of(rows[i].ns),
					      .name = span_of(rows[i].name),
					      .path = span_of(rows[i].path),
					      .is_resource = !rows[i].path };
		struct audit_verdict v = audit_policy_match(p, &ask);
		bool omitted = v.level == AUDIT_NONE || v.omit == rows[i].omit;
		if (v.level != rows[i].level || !omitted || v.omit_managed_fields != (v.level == AUDIT_RESPONSE))
			fail_msg("row %zu: got %s, omit %u, want %s, omit %u", i, audit_level_names[v.level], v.omit,
				 audit_level_names[rows[i].level], rows[i].omit);
	}
	audit_policy_free(p);
}

static void policy_faults(void **state)
{
	static const char *const rows[][2] = {
		{ "apiVersion: v1\nkind: Policy\nrules: [{level: None}]\n", "p: a Policy of audit.k8s.io/v1 is expected" },
		{ HEAD, "p: loaded illegal policy with 0 rules" },
		{ HEAD "rules: [{}]\n", "p: rules[0].level: Required value" },
		{ HEAD "rules: [{level: All}]\n",
		  "p: rules[0].level: Unsupported value: \"All\": supported values: \"None\", \"Metadata\", \"Request\", "
		  "\"RequestResponse\"" },
		{ HEAD "rules: [{level: None, usrs: [a]}]\n", "p: rules[0]: unknown field \"usrs\"" },
		{ HEAD "rules: [{level: None, users: a}]\n", "p: rules[0].users: a list is expected" },
		{ HEAD "rules: [{level: None, nonResourceURLs: [x]}]\n",
		  "p: rules[0].nonResourceURLs[0]: Invalid value: \"x\": non-resource URL rules must begin with a '/' character" },
		{ HEAD "rules: [{level: None, nonResourceURLs: [\"/a*b\"]}]\n",
		  "p: rules[0].nonResourceURLs[0]: Invalid value: \"/a*b\": non-resource URL wildcards '*' must be the final "
		  "character of the rule" },
		{ HEAD "rules: [{level: None, nonResourceURLs: [/x], namespaces: [d]}]\n",
		  "p: rules[0].nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs" },
		{ HEAD "rules: [{level: None, resources: [{group: a/v1}]}]\n",
		  "p: rules[0].resources.group: Invalid value: \"a/v1\": not the name of a group" },
		{ HEAD "rules: [{level: None, resources: [{resourceNames: [a]}]}]\n",
		  "p: rules[0].resources.resourceNames: using resourceNames requires at least one resource" },
		{ HEAD "omitStages: [Late]\nrules: [{level: None}]\n",
		  "p: policy.omitStages[0]: Invalid value: \"Late\": allowed stages are "
		  "RequestReceived,ResponseStarted,ResponseComplete,Panic" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err err = ERR_INIT;
		struct audit_policy *p = NULL;
		int rc = audit_policy_read(span_of(rows[i][0]), "p", &p, &err);
		if (rc != -ERR_INVALID || strcmp(err_msg(&err), rows[i][1]) != 0)
			fail_msg("row %zu: got %d \"%s\", want \"%s\"", i, rc, err_msg(&err), rows[i][1]);
	}
	auto_err struct err err = ERR_INIT;
	struct audit_policy *p;
	assert_int_equal(audit_policy_read(SPAN("a: [\n"), "p", &p, &err), -ERR_INVALID_REQUEST);
}

/* ---- audit log */

static struct bytes *line_of(char c, size_t len)
{
	struct bytes *b = bytes_alloc(len);
	memset(b->data, c, len);
	b->data[len - 1] = '\n';
	return b;
}

static unsigned files_in(const char *dir, bool remove)
{
	unsigned n = 0;
	DIR *d = opendir(dir);
	struct dirent *e;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		if (remove)
			(void)unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
	return n;
}

static void log_rotates(void **state)
{
	char dir[] = "/tmp/audit-test-XXXXXX";
	auto_err struct err err = ERR_INIT;
	struct clock_fake clock;
	assert_non_null(mkdtemp(dir));
	auto_buf struct buf path = {};
	buf_printf(&path, "%s/a.log", dir);
	/* Each run writes three lines of which two fit in a file, so one file is moved aside; an hour lies between runs. */
	for (int run = 0; run < 5; run++) {
		clock_fake_init(&clock, 0, (1700000000 + run * 3600) * NS_PER_S);
		const struct audit_log_params p = {
			.path = buf_span(&path), .max_bytes = 250, .max_backups = 3, .max_age_s = 9000, .clock = &clock.clock
		};
		struct audit_log *l;
		if (audit_log_open(&p, &l, &err) < 0)
			fail_msg("%s", err_msg(&err));
		for (int i = 0; i < 3; i++)
			assert_true(audit_log_put(l, line_of((char)('0' + run), 100)));
		audit_log_close(l);
		struct stat st;
		assert_int_equal(stat(buf_cstr(&path), &st), 0);
		assert_true(st.st_size <= 250 && st.st_size % 100 == 0);
	}
	/* The one that is written to, and those of the last two and a half hours. */
	assert_int_equal(files_in(dir, true), 4);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(audit_log_open(&(struct audit_log_params){ .path = SPAN("/nowhere/a.log") }, &(struct audit_log *){ NULL },
					&err),
			 -ERR_NOT_FOUND);
}

static void log_never_waits(void **state)
{
	/* A pipe that nobody reads takes 64 KB; then the thread stands still, and the queue fills. */
	int ends[2], out = dup(1);
	auto_err struct err err = ERR_INIT;
	struct audit_log *l;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(dup2(ends[1], 1), 1);
	const struct audit_log_params p = { .path = SPAN("-"), .queue_bytes = 1 << 20 };
	int rc = audit_log_open(&p, &l, &err);
	assert_int_equal(dup2(out, 1), 1);
	assert_int_equal(rc, 0);
	unsigned taken = 0;
	while (audit_log_put(l, line_of('x', 100000)))
		taken++;
	assert_true(taken >= 9 && taken <= 12);
	assert_int_equal(audit_log_stats(l).lost, 1);
	char sink[65536];
	size_t got = 0;
	while (got < taken * 100000u) {
		ssize_t n = read(ends[0], sink, sizeof(sink));
		assert_true(n > 0);
		got += (size_t)n;
	}
	audit_log_close(l);
	close(ends[0]);
	close(ends[1]);
	close(out);
}

/* ---- flags */

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ms; /* -1: none */
	} rows[] = { { "0", 0 },	{ "1s", 1000 },	 { "1m30s", 90000 }, { "1.5h", 5400000 }, { "300ms", 300 },
		     { "1us", 0 },	{ "", -1 },	 { "5", -1 },	     { "s", -1 },	  { "1x", -1 },
		     { "-1s", -1 },	{ "1s 1s", -1 }, { "1..5s", -1 },    { "9999999999999h", -1 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t ms = -1;
		bool ok = apiserver_duration_ms(span_of(rows[i].text), &ms);
		if (ok != (rows[i].ms >= 0) || (ok && ms != rows[i].ms))
			fail_msg("\"%s\": got %d %lld, want %lld", rows[i].text, ok, (long long)ms, (long long)rows[i].ms);
	}
}

static void gates(void **state)
{
	static const char *const rows[][2] = {
		{ "", NULL },
		{ "NodeSwap=true, MemoryQoS=F,,SidecarContainers=1", NULL },
		{ "AllAlpha=false", NULL },
		{ "AllBeta=false", "feature gate AllBeta=false: this server cannot switch a whole stage" },
		{ "NodeSwap", "missing bool value for NodeSwap" },
		{ "NodeSwap=yes",
		  "invalid value of NodeSwap=yes, err: strconv.ParseBool: parsing \"yes\": invalid syntax" },
		{ "Nope=true", "unrecognized feature gate: Nope" },
		{ "MemoryQoS=true", "feature gate MemoryQoS=true: this server has no such switch, it is always off" },
		{ "SidecarContainers=false", "cannot set feature gate SidecarContainers to false, feature is locked to true" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err err = ERR_INIT;
		int rc = gates_parse(span_of(rows[i][0]), &err);
		if (rc != (rows[i][1] ? -ERR_USAGE : 0) || (rows[i][1] && strcmp(err_msg(&err), rows[i][1]) != 0))
			fail_msg("\"%s\": got %d \"%s\"", rows[i][0], rc, err_msg(&err));
	}
	const char *last = "", *stage;
	bool on;
	for (unsigned i = 0; i < gates_n(); i++) { /* sorted, so none is there twice */
		const char *name = gates_at(i, &stage, &on);
		assert_true(strcmp(last, name) < 0);
		last = name;
	}
}

static void lists_of_flags(void **state)
{
	const char *argv[] = { "--service-account-issuer=https://a", "--service-account-issuer", "https://b", "--api-audiences=x,y",
			 "--api-audiences=z", "--request-timeout=5s", "--anonymous-auth" };
	auto_err struct err err = ERR_INIT;
	struct apiserver_options o;
	bool help;
	apiserver_options_default(&o);
	if (apiserver_options_parse(&o, ARRAY_LEN(argv), (char **)argv, &help, &err) < 0)
		fail_msg("%s", err_msg(&err));
	assert_int_equal(o.issuers.n, 2); /* the default is gone */
	assert_true(span_is(o.issuers.items[0], "https://a") && span_is(o.issuers.items[1], "https://b"));
	assert_int_equal(o.audiences.n, 3);
	assert_true(span_is(o.audiences.items[2], "z"));
	assert_int_equal(o.request_timeout_ms, 5000);
	apiserver_options_done(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flood_leaves_room), cmocka_unit_test(limits_of_few),	cmocka_unit_test(policy_matches),
		cmocka_unit_test(policy_faults),     cmocka_unit_test(log_rotates),	cmocka_unit_test(log_never_waits),
		cmocka_unit_test(durations),	     cmocka_unit_test(gates),		cmocka_unit_test(lists_of_flags),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
