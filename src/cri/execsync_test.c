/* ExecSync where two things come in one turn: the container engine is played here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/calls_test.h"
#include "cri/execsync.c"

static struct played {
	struct clock_fake clock;
	struct cri cri;
	struct cri_container container;
	struct container_stream *closing;
	void (*closed)(struct container_stream *s);
	void (*started)(struct cri_call *k);
	unsigned stops, answers;
	bool waited;
	char said[256];
} p;

/* ---- the container engine */

int container_exec_create(struct container_engine *e, struct span name, const struct json *config, char out_id[65], struct err *err)
{
	memset(out_id, 'e', 64);
	out_id[64] = 0;
	return 0;
}

void container_exec_start(struct container_engine *e, struct span exec_id, struct container_stream *s, unsigned rows, unsigned columns,
	struct container_call *c)
{
}

void container_exec_wait(struct container_engine *e, struct span exec_id, struct container_call *c)
{
	p.waited = true;
}

void container_exec_stop(struct container_engine *e, struct span exec_id)
{
	p.stops++;
}

void container_stream_close(struct container_stream *s, void (*closed)(struct container_stream *s))
{
	assert_null(p.closing);
	p.closing = s;
	p.closed = closed;
}

/* ---- the other files of the face */

struct cri_container *cri_container_find(struct cri *c, struct span id, struct err *err)
{
	return &p.container;
}

int cri_container_now(const struct cri_container *k, struct container_state *out)
{
	return CRI_RUNNING;
}

struct container_call *cri_container_call(struct cri_call *k, void (*then)(struct cri_call *k))
{
	p.started = then;
	return &k->container;
}

/* As for a client that has left: the call is freed with its answer. */
static void answered(struct cri_call *k, const char *said)
{
	snprintf(p.said, sizeof(p.said), "%s", said);
	p.answers++;
	err_done(&k->err);
	arena_done(&k->arena);
}

void cri_answer(struct cri_call *k, const void *out)
{
	const struct api_cri_exec_sync_response *r = out;
	char text[32];
	snprintf(text, sizeof(text), "exit code %d", r->exit_code);
	answered(k, text);
}

void cri_fail(struct cri_call *k)
{
	answered(k, err_msg(&k->err));
}

/* ---- */

static int setup(void **state)
{
	memset(&p, 0, sizeof(p));
	clock_fake_init(&p.clock, NS_PER_S, NS_PER_S);
	list_init(&p.cri.calls);
	OK(loop_new(&p.clock.clock, &p.cri.p.loop, &err));
	return 0;
}

static int teardown(void **state)
{
	loop_free(p.cri.p.loop);
	return 0;
}

static void begin(struct cri_call *k, int64_t timeout_s)
{
	struct span cmd = SPAN("true");
	struct api_cri_exec_sync_request q = { .container_id = SPAN("c"), .timeout = timeout_s };
	q.cmd.ptr = &cmd;
	q.cmd.n = 1;
	*k = (struct cri_call){ .cri = &p.cri };
	cri_exec_sync(k, &q);
	assert_non_null(p.started);
}

static void time_out(void)
{
	clock_fake_advance(&p.clock, 2 * NS_PER_S);
	loop_turn(p.cri.p.loop, false);
}

static void start_fails(struct cri_call *k)
{
	(void)err_set(&k->err, ERR_NOT_FOUND, "no such program");
	p.started(k);
}

/* The time is over and the start has failed in one turn of the loop: the stream is being closed, and the call must outlive that. */
static void test_timeout_and_failure(void **state)
{
	struct cri_call k;
	begin(&k, 1);
	time_out();
	assert_int_equal(p.stops, 1);
	assert_non_null(p.closing);
	start_fails(&k);
	assert_int_equal(p.answers, 0);
	p.closed(p.closing);
	assert_int_equal(p.answers, 1);
	assert_non_null(strstr(p.said, "timeout 1s exceeded: context deadline exceeded"));
}

/* The client leaves and the start fails: the same. */
static void test_left_and_failure(void **state)
{
	struct cri_call k;
	begin(&k, 0);
	k.client_left(&k);
	start_fails(&k);
	assert_int_equal(p.answers, 0);
	p.closed(p.closing);
	assert_int_equal(p.answers, 1);
	assert_non_null(strstr(p.said, "no such program"));
}

/* The same with turns between: the stream was closed before, and nobody says so again. */
static void test_closed_before_the_failure(void **state)
{
	for (int left = 0; left < 2; left++) {
		struct cri_call k;
		begin(&k, 1);
		if (left)
			k.client_left(&k);
		else
			time_out();
		p.closed(p.closing);
		assert_int_equal(p.answers, 0);
		start_fails(&k);
		assert_int_equal(p.answers, 1);
		loop_free(p.cri.p.loop);
		setup(state);
	}
}

/* Without anything else a failed start is answered at once, and its timer is none any more. */
static void test_failure(void **state)
{
	struct cri_call k;
	begin(&k, 1);
	start_fails(&k);
	assert_int_equal(p.answers, 1);
	assert_non_null(strstr(p.said, "no such program"));
	time_out();
	assert_int_equal(p.stops, 0);
	assert_null(p.closing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_timeout_and_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_left_and_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_before_the_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failure, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
