/* Limits of a container: what Docker refuses in its words, and what this machine has not. A limit that it cannot keep is told
 * as a warning where Docker drops it, and else an error at create: not first when the container starts. */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "container/private.h"
#include "sys/sys.h"

#define BAD(...) err_set(err, ERR_INVALID_REQUEST, __VA_ARGS__)

struct numbers {
	uint8_t bits[8192 / 8]; /* as many as the kernel is ever built for */
};

static bool numbers_parse(struct span list, struct numbers *out)
{
	return sys_numbers_parse(list, out->bits, sizeof(out->bits));
}

/* Are there such processors (or nodes of memory)? The kernel would say so too, but first when the container starts. */
static int cpuset_check(const struct json *h, const char *field, const char *short_word, const char *words, const char *file,
	struct err *err)
{
	struct span asked = container_str(h, field), there = SPAN("0"); /* a kernel without NUMA has no file of nodes */
	struct numbers want, have;
	auto_buf struct buf text = {};
	if (!asked.len)
		return 0;
	if (!numbers_parse(asked, &want))
		return BAD("Invalid value %.*s for cpuset %s", SPAN_ARG(asked), short_word);
	if (io_read_file(AT_FDCWD, file, &text, 65536, NULL) == 0 && text.len)
		there = span_trim(buf_span(&text));
	if (!numbers_parse(there, &have))
		return err_set(err, ERR_INTERNAL, "%s: %.*s is no list of numbers", file, SPAN_ARG(there));
	for (size_t i = 0; i < sizeof(want.bits); i++)
		if (want.bits[i] & ~have.bits[i])
			return BAD("Requested %s are not available - requested %.*s, available: %.*s", words, SPAN_ARG(asked),
				SPAN_ARG(there));
	return 0;
}

/* In Docker's words, which show the sets of capabilities as Go prints them: [[gpu] [compute utility]]. */
static int devices_refuse(const struct json *request, struct err *err)
{
	auto_buf struct buf sets = {};
	struct span driver = container_str(request, "Driver");
	JSON_EACH_ITEM (json_getl(request, "Capabilities"), set) {
		const char *before = "[";
		buf_str(&sets, sets.len ? " " : "");
		JSON_EACH_ITEM (set, item) {
			buf_str(&sets, before);
			buf_span_add(&sets, span_sub(json_span(item), 0, 64));
			before = " ";
		}
		buf_str(&sets, "]");
	}
	return BAD("could not select device driver \"%.*s\" with capabilities: [%.*s]", SPAN_ARG(span_sub(driver, 0, 64)),
		(int)MIN(sets.len, (size_t)100), buf_cstr(&sets));
}

static int64_t num(const struct json *h, const char *key)
{
	return container_num(h, key);
}

int container_resources_check(const struct json *h, unsigned flags, struct err *err)
{
	bool update = flags & CHECK_UPDATE, docker = !(flags & CHECK_FREE);
	int64_t memory = num(h, "Memory"), swap = num(h, "MemorySwap"), reservation = num(h, "MemoryReservation");
	int64_t period = num(h, "CpuPeriod"), quota = num(h, "CpuQuota"), nano = num(h, "NanoCpus"), weight = num(h, "BlkioWeight");
	const struct json *swappiness = json_getl(h, "MemorySwappiness");
	if (docker && memory != 0 && memory < CONTAINER_MEMORY_MIN)
		return BAD("Minimum memory limit allowed is 6MB");
	if (memory > 0 && swap > 0 && swap < memory)
		return BAD("Minimum memoryswap limit should be larger than memory limit, see usage");
	if (docker && memory == 0 && swap > 0 && !update)
		return BAD("You should always set the Memory limit when using Memoryswap limit, see usage");
	if (json_is_number(swappiness) && (json_i64(swappiness, 0) < -1 || json_i64(swappiness, 0) > 100))
		return BAD("Invalid value: %lld, valid memory swappiness range is 0-100", (long long)json_i64(swappiness, 0));
	if (docker && num(h, "KernelMemory") > 0 && num(h, "KernelMemory") < CONTAINER_MEMORY_MIN)
		return BAD("Minimum kernel memory limit allowed is 6MB");
	if (docker && reservation > 0 && reservation < CONTAINER_MEMORY_MIN)
		return BAD("Minimum memory reservation allowed is 6MB");
	if (memory > 0 && reservation > 0 && memory < reservation)
		return BAD("Minimum memory limit can not be less than memory reservation limit, see usage");
	if (nano > 0 && period > 0)
		return BAD("Conflicting options: Nano CPUs and CPU Period cannot both be set");
	if (nano > 0 && quota > 0)
		return BAD("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (nano < 0 || nano > cpus * NS_PER_S)
		return BAD("range of CPUs is from 0.01 to %ld.00, as there are only %ld CPUs available", cpus, cpus);
	if (num(h, "CpuShares") < 0)
		return BAD("invalid CPU shares (%lld): value must be a positive integer", (long long)num(h, "CpuShares"));
	if (period != 0 && (period < 1000 || period > 1000000))
		return BAD("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
	if (quota > 0 && quota < 1000)
		return BAD("CPU cfs quota can not be less than 1ms (i.e. 1000)");
	if (weight != 0 && (weight < 10 || weight > 1000))
		return BAD("Range of blkio weight is from 10 to 1000");
	const struct json *requests = json_getl(h, "DeviceRequests");
	if (json_is(requests, JSON_ARRAY) && requests->n)
		return devices_refuse(&requests->items[0], err);
	if (num(h, "CpuCount") || num(h, "CpuPercent") || num(h, "IOMaximumIOps") || num(h, "IOMaximumBandwidth"))
		return BAD("invalid option: CpuCount, CpuPercent, IOMaximumIOps and IOMaximumBandwidth are for Windows only");
	int rc = cpuset_check(h, "CpusetCpus", "cpus", "CPUs", "/sys/devices/system/cpu/online", err);
	return rc < 0 ? rc : cpuset_check(h, "CpusetMems", "mems", "memory nodes", "/sys/devices/system/node/online", err);
}

static void warn(struct arena *a, struct json *warnings, const char *text)
{
	json_push(a, warnings, json_cstr(text));
}

/* Docker's file of the machine's first hierarchy for it: whether weights of block devices are kept at all. */
static bool blkio_weights(void)
{
	static const char *const files[] = { "/sys/fs/cgroup/blkio/blkio.weight", "/sys/fs/cgroup/blkio/blkio.bfq.weight" };
	if (sys_cgroup_pure_v2())
		return true; /* io.weight is the controller's own */
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (access(files[i], F_OK) == 0)
			return true;
	return false;
}

void container_resources_adapt(struct arena *a, struct json *h, struct json *warnings)
{
	bool v2 = sys_cgroup_pure_v2(), kill_off = container_truth(h, "OomKillDisable");
	const struct json *devices = json_getl(h, "BlkioWeightDevice");
	if (kill_off && v2) {
		warn(a, warnings, "Your kernel does not support OomKillDisable. OomKillDisable discarded.");
		json_setl(a, h, "OomKillDisable", json_bool(false));
	} else if (kill_off && num(h, "Memory") == 0) {
		warn(a, warnings, "OOM killer is disabled for the container, but no memory limit is set, this can result in the system "
			"running out of resources.");
	}
	if (v2 && json_is_number(json_getl(h, "MemorySwappiness")) && num(h, "MemorySwappiness") != -1) {
		warn(a, warnings, "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory "
			"swappiness discarded.");
		json_setl(a, h, "MemorySwappiness", JSON_NULL_VALUE);
	}
	/* What means "no limit" is shown as nothing said. */
	if (json_is_number(json_getl(h, "MemorySwappiness")) && num(h, "MemorySwappiness") == -1)
		json_setl(a, h, "MemorySwappiness", JSON_NULL_VALUE);
	if (json_is_number(json_getl(h, "PidsLimit")) && num(h, "PidsLimit") <= 0)
		json_setl(a, h, "PidsLimit", JSON_NULL_VALUE);
	if (num(h, "BlkioWeight") > 0 && !blkio_weights()) {
		warn(a, warnings, "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.");
		json_setl(a, h, "BlkioWeight", json_int(0));
	}
	if (json_is(devices, JSON_ARRAY) && devices->n && !blkio_weights()) {
		warn(a, warnings, "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device "
			"discarded.");
		json_setl(a, h, "BlkioWeightDevice", json_array());
	}
	if (num(h, "KernelMemory"))
		warn(a, warnings, "Specifying a kernel memory limit is deprecated and will be removed in a future release.");
}
