/* Who is let in, by a table: the Node, a pod that is here, and one that comes. A node of 2 processors and 1 GiB is made of node.c's own
 * struct, so that file is included. */
#include "kubelet/config.h"
#include "kubelet/node.c" // NOLINT(bugprone-suspicious-include)
#include "kubelet/worker.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define C(more) "'containers':[{'name':'c'" more "}]"
#define PORT(more) C(",'ports':[{'containerPort':1" more "}]")
#define SIDECAR(more) "'initContainers':[{'name':'s','restartPolicy':'Always','ports':[{'containerPort':1" more "}]}]," C("")
#define CPU(n) C(",'resources':{'requests':{'cpu':'" n "'}}")
#define TAINT(effect) "{'spec':{'taints':[{'key':'k','value':'v','effect':'" effect "'}]}}"
#define LABELS "{'metadata':{'name':'n1','labels':{'disk':'ssd','cores':'8'}}}"
#define NEEDS(term) C("") ",'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[" term "]}}}"
#define WHERE(key, op, values) NEEDS("{'matchExpressions':[{'key':'" key "','operator':'" op "','values':[" values "]}]}")
#define SYSCTL(name) C("") ",'securityContext':{'sysctls':[{'name':'" name "','value':'1'}]}"

static const struct {
	const char *node, *here, *comes; /* here NULL: nobody */
	const char *want;                /* reason and message; "" is let in */
} rows[] = {
	{ "{}", NULL, C(""), "" },
	/* the node it asks for */
	{ LABELS, NULL, C("") ",'nodeSelector':{'disk':'ssd'}", "" },
	{ LABELS, NULL, C("") ",'nodeSelector':{'disk':'hdd'}",
	  "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector" },
	{ LABELS, NULL, C("") ",'nodeSelector':{'rack':''}",
	  "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector" },
	{ LABELS, NULL, WHERE("disk", "In", "'hdd','ssd'"), "" },
	{ LABELS, NULL, WHERE("disk", "NotIn", "'ssd'"), "NodeAffinity" },
	{ LABELS, NULL, WHERE("rack", "NotIn", "'a'"), "" },
	{ LABELS, NULL, WHERE("rack", "Exists", ""), "NodeAffinity" },
	{ LABELS, NULL, WHERE("rack", "DoesNotExist", ""), "" },
	{ LABELS, NULL, WHERE("cores", "Gt", "'7'"), "" },
	{ LABELS, NULL, WHERE("cores", "Gt", "'8'"), "NodeAffinity" },
	{ LABELS, NULL, WHERE("cores", "Lt", "'8'"), "NodeAffinity" },
	{ LABELS, NULL, WHERE("disk", "Lt", "'8'"), "NodeAffinity" },
	{ LABELS, NULL, NEEDS("{'matchFields':[{'key':'metadata.name','operator':'In','values':['n1']}]}"), "" },
	{ LABELS, NULL, NEEDS("{'matchFields':[{'key':'metadata.name','operator':'In','values':['n2']}]}"), "NodeAffinity" },
	{ LABELS, NULL, NEEDS("{}"), "NodeAffinity" },
	{ LABELS, NULL, NEEDS("{},{'matchExpressions':[{'key':'disk','operator':'Exists'}]}"), "" },
	{ "{}", NULL, C("") ",'os':{'name':'linux'}", "" },
	{ "{}", NULL, C("") ",'os':{'name':'windows'}",
	  "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS" },
	/* taints: those alone that evict */
	{ TAINT("NoSchedule"), NULL, C(""), "" },
	{ TAINT("NoExecute"), NULL, C(""),
	  "TaintToleration: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate" },
	{ TAINT("NoExecute"), NULL, C("") ",'tolerations':[{'key':'k','operator':'Exists'}]", "" },
	{ TAINT("NoExecute"), NULL, C("") ",'tolerations':[{'operator':'Exists'}]", "" },
	{ TAINT("NoExecute"), NULL, C("") ",'tolerations':[{'key':'k','value':'v','effect':'NoExecute'}]", "" },
	{ TAINT("NoExecute"), NULL, C("") ",'tolerations':[{'key':'k','value':'w'}]", "TaintToleration" },
	{ TAINT("NoExecute"), NULL, C("") ",'tolerations':[{'key':'k','operator':'Exists','effect':'NoSchedule'}]", "TaintToleration" },
	/* sysctls; kernel.msg* is allowed by a flag here */
	{ "{}", NULL, SYSCTL("net.ipv4.tcp_rmem"), "" },
	{ "{}", NULL, SYSCTL("kernel.msgmax"), "" },
	{ "{}", NULL, SYSCTL("kernel.shmmax"), "SysctlForbidden: forbidden sysctl: \"kernel.shmmax\" not allowlisted" },
	/* room */
	{ "{}", NULL, CPU("2"), "" },
	{ "{}", NULL, CPU("2001m"),
	  "OutOfcpu: Node didn't have enough resource: cpu, requested: 2001, used: 0, capacity: 2000" },
	{ "{}", CPU("500m"), CPU("1500m"), "" },
	{ "{}", CPU("501m"), CPU("1500m"),
	  "OutOfcpu: Node didn't have enough resource: cpu, requested: 1500, used: 501, capacity: 2000" },
	{ "{}", CPU("3"), C(""), "" }, /* who wants nothing has room even where there is none */
	{ "{}", NULL, C(",'resources':{'requests':{'memory':'2Gi'}}"), "OutOfmemory" },
	{ "{}", NULL, C(",'resources':{'requests':{'ephemeral-storage':'2Ti'}}"), "OutOfephemeral-storage" },
	/* ports of the host */
	{ "{}", PORT(",'hostPort':80"), PORT(",'hostPort':81"), "" },
	{ "{}", PORT(",'hostPort':80"), PORT(",'hostPort':80"),
	  "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports" },
	{ "{}", PORT(",'hostPort':80,'protocol':'TCP'"), PORT(",'hostPort':80,'protocol':'UDP'"), "" },
	{ "{}", PORT(",'hostPort':80,'hostIP':'10.0.0.1'"), PORT(",'hostPort':80,'hostIP':'10.0.0.2'"), "" },
	{ "{}", PORT(",'hostPort':80,'hostIP':'10.0.0.1'"), PORT(",'hostPort':80,'hostIP':'0.0.0.0'"), "NodePorts" },
	{ "{}", PORT(",'hostPort':80,'hostIP':'10.0.0.1'"), PORT(",'hostPort':80"), "NodePorts" },
	{ "{}", PORT(""), PORT(""), "" }, /* of the pods alone */
	{ "{}", SIDECAR(",'hostPort':80"), PORT(",'hostPort':80"), "NodePorts" },
	{ "{}", PORT(",'hostPort':80"), SIDECAR(",'hostPort':80"), "NodePorts" },
};

static struct span quoted(struct arena *a, const char *text)
{
	struct span s = arena_span(a, span_of(text));
	for (char *c = (char *)s.ptr; *c; c++)
		if (*c == '\'')
			*c = '"';
	return s;
}

static struct kl_pod *pod(struct arena *a, struct kl *k, const char *name, const char *spec)
{
	auto_err struct err err = ERR_INIT;
	struct span text = quoted(a, arena_printf(a, "{'metadata':{'name':'%s','namespace':'n','uid':'%s'},'spec':{%s}}", name, name, spec).ptr);
	struct bytes *b = bytes_of(text);
	struct kl_object *o = kl_object_new(b, &err);
	bytes_unref(b);
	if (!o)
		fail_msg("%s: %s", text.ptr, err_msg(&err));
	struct kl_pod *p = kl_pod_new(k, span_of(name), SPAN("n"), span_of(name));
	kl_pod_object_set(p, o);
	return p;
}

static void who_is_let_in(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct kl_options o;
		kl_options_default(&o);
		o.allowed_sysctls = SPAN("net.core.somaxconn,kernel.msg*");
		struct kl_object_node object = {};
		struct kl_node node = { .object = &object, .m = { .cpus = 2, .memory = 1 << 30, .storage = INT64_C(1) << 40 } };
		struct kl k = { .o = &o, .node = &node };
		struct kl_worker w = { .stage = KL_LIVE };
		if (api_core_node_decode(&a, API_FORM_JSON, quoted(&a, rows[i].node), &object.node, &err) < 0)
			fail_msg("%s: %s", rows[i].node, err_msg(&err));
		struct kl_pod *here = rows[i].here ? pod(&a, &k, "here", rows[i].here) : NULL, *comes = pod(&a, &k, "comes", rows[i].comes);
		if (here)
			here->worker = &w;
		const char *reason = "";
		struct span message = SPAN_EMPTY;
		bool in = kl_admit(&a, comes, &reason, &message);
		struct span got = in ? SPAN_EMPTY : arena_printf(&a, "%s: %.*s", reason, SPAN_ARG(message));
		/* A row may name the reason alone. */
		if (!span_is(got, rows[i].want) && !(rows[i].want[0] && !strchr(rows[i].want, ':') && strcmp(reason, rows[i].want) == 0))
			fail_msg("row %zu, %s:\n got \"%.*s\"\nwant \"%s\"", i, rows[i].comes, SPAN_ARG(got), rows[i].want);
		/* Who has ended, or was never let in, holds nothing. */
		w.stage = KL_ENDED;
		if (here && !kl_admit(&a, comes, &reason, &message))
			fail_msg("row %zu: an ended pod is in the way: %.*s", i, SPAN_ARG(message));
		if (here) {
			here->worker = NULL;
			kl_pod_free(here);
		}
		kl_pod_free(comes);
		map_done(&k.pods);
		map_done(&k.pods_by_name);
		kl_options_done(&o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(who_is_let_in) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
