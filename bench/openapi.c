/* bench-openapi: how long the documents take, and how big they are.
 *
 *     v2 json p50/p99 ms, bytes; the same as protobuf; every document of v3; the index; memory at most
 * The ratio line compares with the encoder alone: bytes a second of v2 as JSON. */
#include <sys/resource.h>
#include <time.h>
#include "openapi/openapi.h"
#include "took.h"

#define ROUNDS 50

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void v2_json(struct openapi *o, struct buf *b)
{
	openapi_v2(o, OPENAPI_JSON, b);
}
static void v2_proto(struct openapi *o, struct buf *b)
{
	openapi_v2(o, OPENAPI_PROTO, b);
}
static void v3_all(struct openapi *o, struct buf *b)
{
	for (unsigned i = 0; i < openapi_v3_count(o); i++)
		(void)openapi_v3(o, openapi_v3_path(o, i), OPENAPI_JSON, b);
}
static void v3_core(struct openapi *o, struct buf *b)
{
	(void)openapi_v3(o, SPAN("api/v1"), OPENAPI_JSON, b);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(struct openapi *o, struct buf *b);
	} rows[] = { { "v2 json", v2_json }, { "v2 protobuf", v2_proto }, { "v3 api/v1 json", v3_core },
		     { "v3 all json", v3_all }, { "v3 index", openapi_v3_index } };
	struct api_registry *r = api_registry_builtin(false);
	double rate = 0;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		double ms[ROUNDS];
		size_t bytes = 0;
		for (unsigned k = 0; k < ROUNDS; k++) {
			auto_buf struct buf b = {};
			double t = now_ms();
			struct openapi *o = openapi_new(r, NULL); /* descriptions are unpacked each time */
			rows[i].run(o, &b);
			openapi_free(o);
			ms[k] = now_ms() - t;
			bytes = b.len;
		}
		qsort(ms, ROUNDS, sizeof(*ms), took_by_value);
		printf("%-16s p50 %7.2f ms  p99 %7.2f ms  %8zu bytes\n", rows[i].name, ms[ROUNDS / 2], ms[ROUNDS - 1], bytes);
		if (i == 0)
			rate = (double)bytes / ms[ROUNDS / 2] / 1e3;
	}
	struct rusage use;
	getrusage(RUSAGE_SELF, &use);
	printf("ratio: v2 json is made at %.0f MB/s; memory at most %ld KB\n", rate, use.ru_maxrss);
	api_registry_unref(r);
	return 0;
}
