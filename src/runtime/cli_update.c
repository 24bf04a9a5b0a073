/* update: a resources object from a file, or single values. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/cli.h"

/* "512m", "1g", plain bytes, "-1" */
static int bytes_parse(const char *text, struct sys_cgroup_num *out, const char *flag, struct err *err)
{
	static const char units[] = "bkmgtp";
	struct span s = span_of(text);
	int64_t n, shift = 0;
	if (s.len > 1 && (s.ptr[s.len - 1] | 32) == 'b' && (s.ptr[s.len - 2] < '0' || s.ptr[s.len - 2] > '9'))
		s.len--; /* "mb" */
	if (s.len > 1) {
		const char *unit = strchr(units, s.ptr[s.len - 1] | 32);
		if (unit && s.ptr[s.len - 1] > '9') {
			shift = 10 * (unit - units);
			s.len--;
		}
	}
	if (!span_to_i64(s, &n) || n < -1 || (n > 0 && n > INT64_MAX >> shift))
		return err_set(err, ERR_USAGE, "invalid value for --%s: %s", flag, text);
	*out = (struct sys_cgroup_num){ true, n < 0 ? -1 : (int64_t)((uint64_t)n << shift) };
	return 0;
}

static int num_parse(const char *text, struct sys_cgroup_num *out, const char *flag, struct err *err)
{
	int64_t n;
	if (!span_to_i64(span_of(text), &n))
		return err_set(err, ERR_USAGE, "invalid value for --%s: %s", flag, text);
	*out = (struct sys_cgroup_num){ true, n };
	return 0;
}

int runtime_cli_update(int argc, char **argv, struct err *err)
{
	struct sys_cgroup_limits l = {};
	const char *file = NULL, *rdt[2] = {};
	struct {
		const char *flag, *text;
		struct sys_cgroup_num *out;
		bool bytes;
	} values[] = {
		{ "blkio-weight", NULL, &l.blkio_weight, false },
		{ "cpu-period", NULL, &l.period, false },
		{ "cpu-quota", NULL, &l.quota, false },
		{ "cpu-burst", NULL, &l.burst, false },
		{ "cpu-share", NULL, &l.shares, false },
		{ "cpu-rt-period", NULL, &l.rt_period, false },
		{ "cpu-rt-runtime", NULL, &l.rt_runtime, false },
		{ "cpu-idle", NULL, &l.idle, false },
		{ "pids-limit", NULL, &l.pids, false },
		{ "memory", NULL, &l.memory, true },
		{ "memory-reservation", NULL, &l.reservation, true },
		{ "memory-swap", NULL, &l.swap, true },
		{ "kernel-memory", NULL, &l.kernel, true },
		{ "kernel-memory-tcp", NULL, &l.kernel_tcp, true },
	};
	struct cli_option options[ARRAY_LEN(values) + 5];
	size_t n = 0;
	for (; n < ARRAY_LEN(values); n++)
		options[n] = (struct cli_option){ values[n].flag, CLI_TEXT, &values[n].text, NULL };
	options[n++] = (struct cli_option){ "resources r", CLI_TEXT, &file, NULL };
	options[n++] = (struct cli_option){ "cpuset-cpus", CLI_TEXT, &l.cpus, NULL };
	options[n++] = (struct cli_option){ "cpuset-mems", CLI_TEXT, &l.mems, NULL };
	options[n++] = (struct cli_option){ "l3-cache-schema", CLI_TEXT, &rdt[0], NULL };
	options[n++] = (struct cli_option){ "mem-bw-schema", CLI_TEXT, &rdt[1], NULL };
	int r = runtime_cli_parse(options, n, &argc, &argv, err);
	r = r < 0 ? r : runtime_cli_count(argc, 1, 1, err);
	if (r < 0)
		return r;
	if (rdt[0] || rdt[1])
		return err_set(err, ERR_UNSUPPORTED, "Intel RDT is not supported");
	for (size_t i = 0; i < ARRAY_LEN(values) && r == 0; i++)
		if (values[i].text && *values[i].text)
			r = values[i].bytes ? bytes_parse(values[i].text, values[i].out, values[i].flag, err)
					    : num_parse(values[i].text, values[i].out, values[i].flag, err);
	if (r < 0)
		return r;
	if (file) {
		auto_buf struct buf text = {};
		r = !strcmp(file, "-") ? io_read_all(0, &text, 1 << 20, err)
				       : io_read_file(AT_FDCWD, file, &text, 1 << 20, err);
		r = r < 0 ? r
			  : runtime_config_resources_parse(&runtime_cli.arena,
							   arena_span(&runtime_cli.arena, buf_span(&text)), &l, err);
		if (r < 0)
			return r;
	}
	return runtime_control_limits_set(runtime_cli.root, argv[0], &l, err);
}
