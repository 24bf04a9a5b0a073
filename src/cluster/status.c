/* `knarr status`: each part as the supervisor sees it, what it costs as the kernel sees it, and a line about what is in the cluster
 * as its API says. */
#include "cluster/ask.h"
#include "cluster/private.h"

#include <time.h>

#include "sys/sys.h"

#define LIST_MAX (64 << 20)
#define ASK_MS 5000
#define NOT_RUNNING 3 /* as systemctl status has it */

/* What would come back if the process ended, in bytes; -1: not to be read. */
static int64_t memory_of(int64_t pid)
{
	char path[48];
	auto_buf struct buf text = {};
	struct span rest, one;
	int64_t kb, sum = 0;
	bool any = false;
	snprintf(path, sizeof(path), "/proc/%lld/smaps_rollup", (long long)pid);
	if (pid <= 0 || sys_file_read(AT_FDCWD, path, &text, 1 << 16) < 0)
		return -1;
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &one)) {
		if (!span_starts(one, SPAN("Private_Clean:")) && !span_starts(one, SPAN("Private_Dirty:")))
			continue;
		struct span value = span_trim(span_from(one, 14));
		if (span_ends(value, SPAN(" kB")) && span_to_i64(span_trim(span_sub(value, 0, value.len - 3)), &kb)) {
			sum += kb * 1024;
			any = true;
		}
	}
	return any ? sum : -1;
}

static void age_add(struct buf *out, int64_t s)
{
	if (s < 120)
		buf_printf(out, "%llds", (long long)s);
	else if (s < 7200)
		buf_printf(out, "%lldm", (long long)s / 60);
	else if (s < 172800)
		buf_printf(out, "%lldh", (long long)s / 3600);
	else
		buf_printf(out, "%lldd", (long long)s / 86400);
}

/* ---- what is in it */

struct counts {
	unsigned nodes, nodes_ready;
	unsigned pods, running, pending, failed, succeeded;
	bool known;
};

static bool list_get(const struct cluster_layout *l, struct arena *a, const char *target, struct json *out)
{
	auto_buf struct buf body = { .limit = LIST_MAX };
	int status;
	if (cluster_ask(l->api_sock.ptr, "GET", target, ASK_MS, &body, &status, NULL) < 0 || status != 200 || buf_overflowed(&body))
		return false;
	return json_parse(a, arena_span(a, buf_span(&body)), JSON_BORROW, NULL, out, NULL) == 0;
}

static void counts_get(const struct cluster_layout *l, struct counts *c)
{
	auto_arena struct arena a = {};
	struct json nodes, pods;
	*c = (struct counts){};
	if (!list_get(l, &a, "/api/v1/nodes", &nodes) || !list_get(l, &a, "/api/v1/pods", &pods))
		return;
	c->known = true;
	JSON_EACH_ITEM(json_getl(&nodes, "items"), node) {
		c->nodes++;
		JSON_EACH_ITEM(json_path(node, "status", "conditions", NULL), condition)
			if (span_is(json_span(json_getl(condition, "type")), "Ready"))
				c->nodes_ready += span_is(json_span(json_getl(condition, "status")), "True");
	}
	JSON_EACH_ITEM(json_getl(&pods, "items"), pod) {
		struct span phase = json_span(json_path(pod, "status", "phase", NULL));
		c->pods++;
		c->running += span_is(phase, "Running");
		c->pending += span_is(phase, "Pending");
		c->failed += span_is(phase, "Failed");
		c->succeeded += span_is(phase, "Succeeded");
	}
}

/* ---- printing */

static void print_part(const struct cluster_part_view *p, int64_t now_s)
{
	auto_buf struct buf age = {}, memory = {}, note = {};
	int64_t bytes = memory_of(p->pid);
	if (p->pid)
		age_add(&age, MAX(now_s - p->started_s, (int64_t)0));
	if (bytes >= 0)
		buf_printf(&memory, "%.1f MB", (double)bytes / (1 << 20));
	if (p->health.len)
		buf_printf(&note, "%s", p->health.ptr);
	else if (p->restarts)
		buf_printf(&note, "last end: %s", p->last_end.ptr);
	char pid[24] = "-";
	if (p->pid)
		snprintf(pid, sizeof(pid), "%lld", (long long)p->pid);
	auto_buf struct buf out = {};
	buf_printf(&out, "%-20s %-9s %-8s %-9s %-9lld %-6s %s", p->name.ptr, p->health.len && span_is(p->state, "ready") ? "unwell"
		: p->state.ptr, pid,
		   memory.len ? buf_cstr(&memory) : "-", (long long)p->restarts, age.len ? buf_cstr(&age) : "-", buf_cstr(&note));
	struct span line = span_trim(buf_span(&out));
	printf("%.*s\n", SPAN_ARG(line));
}

static void print_text(const struct cluster_layout *l, const struct cluster_view *v, const struct counts *c)
{
	int64_t now_s = clock_wall_ns(clock_real()) / NS_PER_S, bytes = memory_of(v->pid);
	printf("Cluster in %s (%s), %s\n", l->data.ptr, l->id, v->phase.ptr);
	printf("API: %s   Docker: unix://%s\n\n", v->server.ptr, l->docker_sock.ptr);
	printf("%-20s %-9s %-8s %-9s %-9s %-6s\n", "PART", "STATE", "PID", "MEMORY", "RESTARTS", "SINCE");
	for (unsigned i = 0; i < v->n_parts; i++)
		print_part(&v->parts[i], now_s);
	printf("%-20s %-9s %-8lld %.1f MB\n\n", "server", v->phase.ptr, (long long)v->pid, bytes < 0 ? 0 : (double)bytes / (1 << 20));
	if (!c->known) {
		printf("Nodes and pods: the API does not answer.\n");
		return;
	}
	printf("Nodes: %u, %u ready.  Pods: %u", c->nodes, c->nodes_ready, c->pods);
	const struct {
		unsigned n;
		const char *what;
	} kinds[] = { { c->running, "running" }, { c->pending, "pending" }, { c->failed, "failed" }, { c->succeeded, "succeeded" } };
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].n)
			printf(", %u %s", kinds[i].n, kinds[i].what);
	printf(".\n");
}

/* Also when it is 0. */
static void number(struct json_out *o, const char *key, int64_t v)
{
	json_out_key(o, span_of(key));
	json_out_i64(o, v);
}

static void print_json(const struct cluster_layout *l, const struct cluster_view *v, const struct counts *c)
{
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	json_out_kspan(&o, "dataDir", l->data);
	json_out_kspan(&o, "id", span_of(l->id));
	json_out_kspan(&o, "phase", v->phase);
	json_out_kspan(&o, "server", v->server);
	json_out_kspan(&o, "dockerSocket", l->docker_sock);
	number(&o, "pid", v->pid);
	number(&o, "memoryBytes", memory_of(v->pid));
	json_out_key(&o, SPAN("parts"));
	json_out_begin_array(&o);
	for (unsigned i = 0; i < v->n_parts; i++) {
		const struct cluster_part_view *p = &v->parts[i];
		json_out_begin(&o);
		json_out_kspan(&o, "name", p->name);
		json_out_kspan(&o, "state", p->state);
		number(&o, "pid", p->pid);
		number(&o, "restarts", p->restarts);
		number(&o, "readyMs", p->ready_ms);
		number(&o, "started", p->started_s);
		number(&o, "memoryBytes", memory_of(p->pid));
		json_out_kspan(&o, "health", p->health);
		json_out_kspan(&o, "lastEnd", p->last_end);
		json_out_end(&o);
	}
	json_out_end(&o);
	if (c->known) {
		number(&o, "nodes", c->nodes);
		number(&o, "nodesReady", c->nodes_ready);
		number(&o, "pods", c->pods);
		number(&o, "podsRunning", c->running);
	}
	json_out_end(&o);
	printf("%s\n", buf_cstr(&b));
}

/* As much as is known of one that does not run. */
static void print_stopped(const struct cluster_layout *l, const struct cluster_view *v)
{
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	json_out_kspan(&o, "dataDir", l->data);
	json_out_kspan(&o, "id", span_of(l->id));
	json_out_kspan(&o, "phase", v && v->failure.step.len ? SPAN("failed") : SPAN("stopped"));
	if (v && v->failure.step.len) {
		json_out_key(&o, SPAN("failure"));
		json_out_begin(&o);
		json_out_kspan(&o, "step", v->failure.step);
		json_out_kspan(&o, "reason", v->failure.reason);
		json_out_kspan(&o, "remedy", v->failure.remedy);
		json_out_end(&o);
	}
	json_out_end(&o);
	printf("%s\n", buf_cstr(&b));
}

static int show(const struct cluster_layout *l, bool as_json)
{
	struct cluster_view v;
	struct counts c = {};
	bool well = false;
	if (cluster_view_read(l, &v, NULL) < 0) {
		if (as_json)
			print_stopped(l, NULL);
		else
			printf("No cluster runs in %s.\n", l->data.ptr);
		return NOT_RUNNING;
	}
	if (!v.alive && as_json) {
		print_stopped(l, &v);
	} else if (!v.alive) {
		printf("No cluster runs in %s.%s%s%s%s\n", l->data.ptr, v.failure.step.len ? " Its last start failed at "
			: " It was not stopped, it ended.",
		       v.failure.step.len ? v.failure.step.ptr : "", v.failure.step.len ? ": " : "", v.failure.step.len ?
			v.failure.reason.ptr : "");
	} else {
		well = v.n_parts > 0;
		for (unsigned i = 0; i < v.n_parts; i++)
			well &= span_is(v.parts[i].state, "ready") && !v.parts[i].health.len;
		counts_get(l, &c);
		if (as_json)
			print_json(l, &v, &c);
		else
			print_text(l, &v, &c);
	}
	int status = well ? 0 : v.alive ? 1 : NOT_RUNNING;
	cluster_view_done(&v);
	return status;
}

int cluster_status_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct cluster_layout l = {};
	struct span dir = SPAN_EMPTY, form = SPAN_EMPTY;
	const struct cluster_option options[] = {
		{ "data-dir", 0, CLUSTER_OPTION_TEXT, &dir, "folder of everything (default $KNARR_DATA_DIR or /var/lib/knarr)" },
		{ "output", 'o', CLUSTER_OPTION_TEXT, &form, "json, or text (default)" },
	};
	struct cluster_usage u = { .usage = "status [flags]", .options = options, .n_options = ARRAY_LEN(options),
				   .about = "Shows how a cluster is. Exits 0 when all is well, 1 when something is not, 3 when it does not run." };
	int rc = cluster_options_parse(&u, argc - 1, argv + 1, &err);
	if (rc > 0)
		return 0;
	if (rc == 0 && form.len && !span_is(form, "json") && !span_is(form, "text"))
		rc = err_set(&err, ERR_USAGE, "--output %.*s: json or text is expected", SPAN_ARG(form));
	if (rc == 0)
		rc = cluster_layout_init(&l, dir, &err);
	int status = rc < 0 ? cluster_fail("status", &err) : show(&l, span_is(form, "json"));
	cluster_layout_done(&l);
	return status;
}
