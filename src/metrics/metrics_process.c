/* The process' own numbers, as Prometheus' client libraries name them, from /proc/self. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include "metrics/metrics.h"

enum { FILE_MAX_BYTES = 65536 };

/* Fields of /proc/self/stat behind the command's closing parenthesis (which may itself hold parentheses and
 * blanks), by their number in proc(5). */
struct stat_fields {
	uint64_t utime, stime, starttime, vsize, rss;
};

static bool stat_parse(struct span text, struct stat_fields *out)
{
	ptrdiff_t close = span_rchr(text, ')');
	if (close < 0)
		return false;
	struct span rest = span_trim(span_from(text, (size_t)close + 1)), part;
	*out = (struct stat_fields){};
	for (int field = 3; span_cut(&rest, ' ', &part); field++) {
		uint64_t *to = field == 14 ? &out->utime : field == 15 ? &out->stime : field == 22 ? &out->starttime :
			       field == 23 ? &out->vsize : field == 24 ? &out->rss : NULL;
		if (to && !span_to_u64(part, to))
			return false;
		if (field == 24)
			return true;
	}
	return false;
}

/* When the machine started, in Unix seconds; 0 = unknown. */
static uint64_t boot_time(void)
{
	auto_buf struct buf text = {};
	uint64_t at = 0;
	/* "cpu ..." lines come first; a machine with many processors has a long "intr" line behind btime only. */
	if (io_read_file(AT_FDCWD, "/proc/stat", &text, 1 << 20, NULL) < 0)
		return 0;
	struct span rest = buf_span(&text), line;
	while (span_cut(&rest, '\n', &line))
		if (span_starts(line, SPAN("btime ")))
			return span_to_u64(span_from(line, 6), &at) ? at : 0;
	return 0;
}

static int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;
	if (!dir)
		return -1;
	for (struct dirent *e; (e = readdir(dir));)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n - 1; /* without the one that reads */
}

static void one(struct metrics_writer *w, const char *name, const char *help, enum metrics_type type, double value)
{
	metrics_emit_family(w, name, help, type);
	metrics_emit(w, NULL, NULL, 0, value);
}

static void limit(struct metrics_writer *w, const char *name, const char *help, int which)
{
	struct rlimit r;
	if (getrlimit(which, &r) == 0)
		one(w, name, help, METRICS_GAUGE, r.rlim_cur == RLIM_INFINITY ? 18446744073709551615.0 : (double)r.rlim_cur);
}

static void process_collect(struct metrics_writer *w, void *arg)
{
	auto_buf struct buf text = {};
	struct stat_fields f;
	long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
	bool have = io_read_file(AT_FDCWD, "/proc/self/stat", &text, FILE_MAX_BYTES, NULL) == 0 &&
		    stat_parse(buf_span(&text), &f) && ticks > 0 && page > 0;
	int fds = open_fds();
	uint64_t boot = boot_time();
	if (have)
		one(w, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", METRICS_COUNTER,
		    (double)(f.utime + f.stime) / (double)ticks);
	limit(w, "process_max_fds", "Maximum number of open file descriptors.", RLIMIT_NOFILE);
	if (fds >= 0)
		one(w, "process_open_fds", "Number of open file descriptors.", METRICS_GAUGE, fds);
	if (have) {
		one(w, "process_resident_memory_bytes", "Resident memory size in bytes.", METRICS_GAUGE,
		    (double)f.rss * (double)page);
		if (boot)
			one(w, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
			    METRICS_GAUGE, (double)boot + (double)f.starttime / (double)ticks);
		one(w, "process_virtual_memory_bytes", "Virtual memory size in bytes.", METRICS_GAUGE, (double)f.vsize);
	}
	limit(w, "process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.", RLIMIT_AS);
}

void metrics_process_add(struct metrics *m)
{
	metrics_collector_add(m, process_collect, NULL);
}
