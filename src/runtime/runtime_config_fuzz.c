/* config.json → plan: any bytes give a plan or an error, and the plan's values stay within their bounds. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "runtime/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf text = {};
	struct runtime_opts o = { .root = "/nowhere", .id = "fuzz", .bundle = "/bundle", .start = true };
	struct runtime_plan *plan;
	struct config_process *process;
	struct sys_cgroup_limits limits;
	struct span s = span_make(data, size);
	if (runtime_plan_parse(&a, &o, s, &plan, &err) == 0) {
		runtime_plan_print(plan, &text);
		if (!plan->n_steps || !plan->config->process->n_args || plan->config->process->cwd[0] != '/')
			abort();
		struct sys_cgroup_write *list;
		size_t n;
		(void)sys_cgroup_limits_plan(&a, &plan->config->limits, 0, &list, &n, NULL); /* an error is fine */
		(void)sys_cgroup_limits_plan(&a, &plan->config->limits, ~0u, &list, &n, NULL);
		auto_buf struct buf code = {};
		(void)sys_cgroup_devices_compile(plan->rules, plan->n_rules, &code, NULL);
	} else if (err.class == ERR_NONE || !err_msg(&err)[0]) {
		abort(); /* a failure without words */
	}
	(void)runtime_config_process_parse(&a, s, &process,
					   NULL); /* the same bytes as `exec --process` and `update -r` take them */
	(void)runtime_config_resources_parse(&a, s, &limits, NULL);
	return 0;
}
