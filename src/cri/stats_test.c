/* Statistics while somebody sets the clock of the machine: rates and the age of a reading go by the loop's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/calls_test.h"
#include "cri/stats.c"

/* ---- what stats.c asks of others */

void container_stats(struct container_engine *e, struct span name, struct container_call *c)
{
	fail_msg("nothing is read here");
}

int container_state(struct container_engine *e, struct span name, struct container_state *out, struct err *err)
{
	*out = (struct container_state){ .running = true };
	return 0;
}

int cri_container_now(const struct cri_container *k, struct container_state *out)
{
	*out = (struct container_state){ .running = true };
	return CRI_RUNNING;
}

int snapshot_usage(struct snapshot_store *s, const char *key, uint64_t *entries, uint64_t *bytes, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "no snapshot here");
}

bool cri_labels_match(const struct api_pair *want, uint32_t n_want, const struct api_pair *have, uint32_t n_have)
{
	return true;
}

bool cri_spec_host_network(const struct api_cri_pod_sandbox_config *p)
{
	return true;
}

bool cri_pod_ready(const struct cri_pod *pod)
{
	return true;
}

struct cri_pod *cri_pod_find(struct cri *c, struct span id, struct err *err)
{
	return NULL;
}

struct cri_container *cri_container_find(struct cri *c, struct span id, struct err *err)
{
	return NULL;
}

void cri_work(struct cri_call *k, int (*run)(struct cri_call *k, struct err *err), void (*then)(struct cri_call *k))
{
}

void cri_answer(struct cri_call *k, const void *out)
{
}

void cri_fail(struct cri_call *k)
{
}

void cri_fail_with(struct cri_call *k, enum err_class class, const char *fmt, ...)
{
}

/* ---- */

static struct clock_fake clock_;
static struct cri cri;
static struct cri_pod pod = { .cri = &cri };
static struct cri_container one = { .id = "c", .pod = &pod };

static int setup(void **state)
{
	clock_fake_init(&clock_, 1000 * NS_PER_S, 2000000000 * NS_PER_S);
	OK(loop_new(&clock_.clock, &cri.p.loop, &err));
	list_init(&cri.pods);
	list_init(&cri.all);
	cri.p.data_dir = "/d";
	map_put(&cri.all_by_id, SPAN("c"), &one);
	return 0;
}

static int teardown(void **state)
{
	map_done(&cri.all_by_id);
	loop_free(cri.p.loop);
	return 0;
}

/* A second of the machine's life, while its clock is set by so many. */
static void pass(int64_t seconds, int64_t set_by)
{
	clock_.mono_now_ns += seconds * NS_PER_S;
	clock_.wall_now_ns += (seconds + set_by) * NS_PER_S;
	loop_turn(cri.p.loop, false);
}

static void read_cpu(struct arena *a, uint64_t total_ns, struct api_cri_container_stats *out)
{
	struct reading r = { .id = "c" };
	struct json cpu = json_object(), usage = json_object();
	r.doc = json_object();
	(void)json_setl(a, &usage, "total_usage", json_uint(total_ns));
	(void)json_setl(a, &cpu, "cpu_usage", usage);
	(void)json_setl(a, &r.doc, "cpu_stats", cpu);
	show_container(&one, &r, a, out);
}

static void test_rate(void **state)
{
	static const struct {
		int64_t seconds, set_by;
		uint64_t total_ns, nano_cores; /* 0: none is known */
	} rows[] = {
		{ 1, 0, 1000000000, 0 },
		{ 2, 0, 2000000000, 500000000 },
		{ 2, -3600, 3000000000, 500000000 }, /* set back by an hour */
		{ 4, 0, 4000000000, 250000000 },
		{ 2, 7200, 5000000000, 500000000 },  /* and forth */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct api_cri_container_stats got;
		pass(rows[i].seconds, rows[i].set_by);
		read_cpu(&a, rows[i].total_ns, &got);
		uint64_t rate = got.cpu->usage_nano_cores ? got.cpu->usage_nano_cores->value : 0;
		if (rate != rows[i].nano_cores)
			fail_msg("row %zu: wanted %llu nano cores, got %llu", i, (unsigned long long)rows[i].nano_cores, (unsigned long long)rate);
		assert_int_equal(got.cpu->timestamp, clock_.wall_now_ns); /* what is shown is the machine's time */
	}
}

static bool wanted(void)
{
	struct cri_call k = { .cri = &cri };
	static const char id[65] = "c"; /* as long as they are */
	struct stats *s = stats_new(&k, 1, 0, NULL);
	add(s, id);
	bool is = s->readings[0].layer_wanted;
	arena_done(&k.arena);
	return is;
}

/* A layer is counted again after a minute of the machine's life. */
static void test_layers(void **state)
{
	one.layer_ns = 0;
	assert_true(wanted());
	pass(1, 0);
	one.layer_ns = clock_.wall_now_ns;
	one.layer_at_ms = loop_now_ms(cri.p.loop);
	assert_false(wanted());
	pass(30, 7200);
	assert_false(wanted());
	pass(29, -10800);
	assert_false(wanted());
	pass(2, 0);
	assert_true(wanted());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_layers, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
