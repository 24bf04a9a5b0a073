/* A log of any bytes: reading it whole, and its last lines, in both formats. The lines of a tail are the end of the whole. The same
 * when its older file is compressed; and a compressed file of any bytes, which has an end. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logs/logs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What ended it. */
static int read_all(const struct logs_params *p, struct buf *out)
{
	struct logs_reader *r = NULL;
	struct logs_record rec;
	int rc;
	assert(logs_open(p, &r, NULL) == 0);
	while ((rc = logs_next(r, &rec, NULL)) == 1) {
		assert(rec.stream == 1 || rec.stream == 2);
		assert(rec.partial == !span_ends(rec.text, SPAN("\n")));
		buf_printf(out, "%d %lld ", rec.stream, (long long)rec.time_ns);
		buf_span_add(out, rec.text);
		buf_chr(out, 0);
	}
	logs_close(r);
	return rc;
}

static void look(int at)
{
	struct buf plain[2] = {};
	atomic_bool stop = false;
	for (int packed = 0; packed < 2; packed++) {
		assert(!packed || (logs_compress(at, "l", &stop, NULL) == 1 && logs_compress(at, "l", &stop, NULL) == 0));
		for (int format = 0; format < 2; format++) {
			auto_buf struct buf whole = {}, all = {};
			struct logs_params p = { .dir = at, .name = "l", .format = (enum logs_format)format, .tail = -1 };
			assert(read_all(&p, &whole) == 0);
			buf_span_add(&all, buf_span(&whole));
			for (p.tail = 0; p.tail < 4; p.tail++) {
				auto_buf struct buf some = {};
				assert(read_all(&p, &some) == 0);
				assert(span_ends(buf_span(&whole), buf_span(&some)));
				assert(p.tail > 0 || some.len == 0);
				assert(p.tail == 0 || (some.len == 0) == (whole.len == 0));
				buf_span_add(&all, buf_span(&some));
			}
			if (packed)
				assert(span_eq(buf_span(&all), buf_span(&plain[format])));
			else
				buf_span_add(&plain[format], buf_span(&all));
		}
	}
	buf_done(&plain[0]);
	buf_done(&plain[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	/* The first byte cuts the rest into an older file and the current one. */
	char memory[] = "/dev/shm/knarr-fuzz-logs-XXXXXX", disk[] = "/tmp/knarr-fuzz-logs-XXXXXX";
	const char *here = mkdtemp(memory); /* compressing syncs */
	if (!here)
		here = mkdtemp(disk);
	assert(here);
	int at = open(here, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t cut = (size - 1) * data[0] / 255;
	int older = openat(at, "l.1", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int now = openat(at, "l", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert(older >= 0 && now >= 0);
	assert(io_write_all(older, data + 1, cut, NULL) == 0 && io_write_all(now, data + 1 + cut, size - 1 - cut, NULL) == 0);
	close(older);
	close(now);
	look(at);
	assert(unlinkat(at, "l.1.gz", 0) == 0);
	int any = openat(at, "l.1.gz", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert(any >= 0 && io_write_all(any, data + 1, size - 1, NULL) == 0);
	close(any);
	for (int64_t tail = -1; tail < 3; tail++) {
		auto_buf struct buf got = {};
		struct logs_params p = { .dir = at, .name = "l", .format = LOGS_DOCKER, .tail = tail };
		int rc = read_all(&p, &got);
		assert(rc <= 0);
	}
	assert(unlinkat(at, "l", 0) == 0 && unlinkat(at, "l.1.gz", 0) == 0 && rmdir(here) == 0);
	close(at);
	return 0;
}
