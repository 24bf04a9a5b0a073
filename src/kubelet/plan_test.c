/* Plans by tables. A row is: the pod | what is there | the plan; world_test.h says in which words. */
#include "kubelet/world_test.h"

static struct span name_of(const struct world *w, unsigned i)
{
	return kl_spec_container(&w->pod->object->pod.spec, i, NULL)->name;
}

static void print(const struct world *w, const struct kl_plan *p, struct buf *out)
{
	if (p->make_sandbox)
		buf_printf(out, " make%u", p->attempt);
	if (p->kill_pod)
		buf_str(out, " killpod");
	if (p->over)
		buf_str(out, " over");
	if (p->initialized)
		buf_str(out, " init");
	for (unsigned i = 0; i < p->n_start; i++)
		buf_printf(out, " +%.*s", SPAN_ARG(name_of(w, p->start[i])));
	for (unsigned i = 0; i < p->n_kill; i++)
		buf_printf(out, " -%.*s", SPAN_ARG(p->kill[i].container->name));
	for (unsigned i = 0; i < p->n_waiting; i++)
		buf_printf(out, " ~%.*s", SPAN_ARG(name_of(w, p->waiting[i])));
	if (p->wake_ns)
		buf_printf(out, " in%lld", (long long)((p->wake_ns - NOW_NS) / NS_PER_S));
}

static void a_plan_says_what_is_next(void **state)
{
	static const char *const rows[][3] = {
		/* the beginning */
		{ "Always;;x y", "", "make0 init +x +y" },
		{ "Always;;x", "S0r", "init +x" },
		{ "Always;;x", "S0r x.busy", "init" },
		{ "Always;;x y", "S0r x:R", "init +y" },
		{ "Always;;x", "S0r x:R", "init" },
		{ "Always;;x;e", "S0r x:R", "init +e" },
		{ "Always;;x;e", "S0r x:R e:x0", "init" },
		{ "Always;;x", "S0r x:C", "init +x" },
		/* ends and restarts */
		{ "Always;;x", "S0r x:x0", "init +x" },
		{ "Always;;x", "S0r x:x1 x.back", "init ~x in7" },
		{ "OnFailure;;x", "S0r x:x1", "init +x" },
		{ "OnFailure;;x", "S0r x:x0", "killpod over init" },
		{ "OnFailure;;x y", "S0r x:x0 y:R", "init" },
		{ "Never;;x", "S0r x:x1", "killpod over init" },
		{ "Never;;x y", "S0r x:x1 y:R", "init" },
		{ "Always-;;x", "S0r x:x1", "killpod over init" },
		{ "Always;;x", "S0r x:U", "init -x" },
		/* probes */
		{ "Always;;x", "S0r x:R x.live", "init -x" },
		{ "Never;;x", "S0r x:R x.startup", "init -x" },
		{ "Always;;x", "S0r x:R x.live x.busy", "init" },
		/* sandboxes */
		{ "Always;;x", "S0n x:x0", "make1 init +x" },
		{ "Always;;x", "S0n x:R", "make1 killpod" },
		{ "Never;;x", "S0n x:x0", "killpod over" },
		{ "Never;;x", "S0n", "make1 init +x" },
		{ "OnFailure;;x y", "S0n x:x0 y:x1", "make1 init +y" },
		{ "OnFailure;;x", "S0n x:x0", "killpod over" },
		{ "Always;i;x", "S0n i:x0 x:x0", "make1 +i" },
		{ "Always;i;x", "S0n S1r i:x0/0 x:x0/0", "+i" },
		/* init containers in their order */
		{ "Always;i j;x", "", "make0 +i" },
		{ "Always;i j;x", "S0r", "+i" },
		{ "Always;i j;x", "S0r i:R", "" },
		{ "Always;i j;x", "S0r i:x0", "+j" },
		{ "Always;i j;x", "S0r i:x0 j:x0", "init +x" },
		{ "Always;i j;x", "S0r j:x0", "init +x" },
		{ "Always;i j;x", "S0r x:R", "init" },
		{ "Always;i;x", "S0r i:x2", "+i" },
		{ "Always;i;x", "S0r i:x2 i.back", "~i in7" },
		{ "OnFailure;i;x", "S0r i:x2", "+i" },
		{ "Never;i;x", "S0r i:x2", "killpod over" },
		{ "Always;i;x", "S0r i:U", "-i" },
		/* sidecars */
		{ "Always;s* i;x", "S0r", "+s" },
		{ "Always;s* i;x", "S0r s:R", "" },
		{ "Always;s* i;x", "S0r s:R s.started", "+i" },
		{ "Always;s* i;x", "S0r s:R s.startup", "-s" },
		{ "Always;s*;x", "S0r s:R s.startup", "-s" },
		{ "Always;s*;x", "S0r s:R s.startup x:R", "init -s" },
		{ "Always;s* i;x", "S0r s:R s.started i:x0", "init +x" },
		{ "Always;s*;x", "S0r s:x1 x:R", "init +s" },
		{ "Always;s* i;x", "S0r s:x1 i:R", "+s" },
		{ "Always;s*;x", "S0r s:R s.live x:R", "init -s" },
		{ "Never;s*;x", "S0r s:R s.started x:x0", "killpod over init" },
		{ "Never;s*;x", "S0r s:x1 x:R", "init +s" },
		/* the runtime has forgotten, the API was told */
		{ "Never;;x", "x=x0", "killpod over" },
		{ "Never;;x", "x=x3", "killpod over" },
		{ "Never;;x", "x=R", "killpod over" },
		{ "Never;;x", "S0n x=x3", "killpod over" },
		{ "Never;;x y", "x=x0", "killpod over" },
		{ "Never;;x y", "S0r x=x3 y:R", "init" },
		{ "Never;;x y", "S0r x=x3 y:x0", "killpod over init" },
		{ "Never;;x y", "S0r x=x3", "init +y" },
		{ "OnFailure;;x", "x=x0", "killpod over" },
		{ "OnFailure;;x", "x=x1", "make0 init +x" },
		{ "OnFailure;;x", "x=R", "make0 init +x" },
		{ "OnFailure;;x y", "x=x0 y=R", "make0 init +y" },
		{ "OnFailure;;x y", "S0n x:x0 y=x0", "killpod over" },
		{ "OnFailure;i;x", "i=x0 x=x0", "killpod over" },
		{ "Always;;x", "x=x0", "make0 init +x" },
		{ "Always;;x", "x=R", "make0 init +x" },
		{ "Always;;x", "S0r x:R x=x0", "init" },
		{ "Never;;x", "S0r x:R x=x0", "init" },
		/* Init containers run again in a new sandbox, but not behind one that failed for good. */
		{ "Always;i;x", "i=x0", "make0 +i" },
		{ "Never;i;x", "i=x0", "make0 +i" },
		{ "Never;i;x", "S0n i=x0", "make1 +i" },
		{ "Never;i;x", "i=x1", "killpod over" },
		{ "Never;i;x", "i=R", "killpod over" },
		{ "Never;i;x", "S0r i=x1", "killpod over" },
		{ "Never;i;x", "i=x0 x=R", "killpod over" },
		{ "OnFailure;i;x", "i=x1", "make0 +i" },
		{ "OnFailure;i;x y", "i=x0 x=x0 y=x1", "make0 +i" },
		{ "OnFailure;i;x y", "S0r i:x0 x=x0 y=x1", "init +y" },
		{ "Never;s*;x", "s=R", "make0 +s" },
		{ "Never;s*;x", "s=R x=x0", "killpod over" },
		{ "Always;;x;e", "S0r x:R e=x0", "init" },
		{ "Always;;x;e", "S0r x:R e=R", "init" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf got = {};
		struct world w;
		struct kl_plan plan;
		world_begin(&w, rows[i][0], rows[i][1]);
		kl_plan_make(&a, &(struct kl_plan_in){ .pod = w.pod, .now_ns = NOW_NS, .max_backoff_ms = 300000 }, &plan);
		print(&w, &plan, &got);
		if (!span_is(span_trim(buf_span(&got)), rows[i][2]))
			fail_msg("%s | %s\n got: %s\nwant: %s", rows[i][0], rows[i][1], buf_cstr(&got), rows[i][2]);
		world_end(&w);
	}
}

/* The file says what is to be; the mirror's status is no word about it. */
static void a_static_pod_is_not_told_of(void **state)
{
	auto_arena struct arena a = {};
	auto_buf struct buf got = {};
	struct world w;
	struct kl_plan plan;
	world_begin(&w, "Never;;x", "x=x0");
	w.pod->is_static = true;
	kl_plan_make(&a, &(struct kl_plan_in){ .pod = w.pod, .now_ns = NOW_NS, .max_backoff_ms = 300000 }, &plan);
	print(&w, &plan, &got);
	assert_string_equal(buf_cstr(&got), " make0 init +x");
	world_end(&w);
}

static void a_pod_ends_in_order(void **state)
{
	static const char *const rows[][3] = {
		{ "Always;;x y", "", "done" },
		{ "Always;;x y", "S0r x:R y:R", "-x -y" },
		{ "Always;;x y", "S0r x:R y:x0", "-x" },
		{ "Always;;x y", "S0r x:x0 y:x0", "stop" },
		{ "Always;;x y", "S0n x:x0 y:x0", "done" },
		{ "Always;s* t*;x", "S0r s:R t:R x:R", "-x" },
		{ "Always;s* t*;x", "S0r s:R t:R x:x0", "-t" },
		{ "Always;s* t*;x", "S0r s:R t:x0 x:x0", "-s" },
		{ "Always;s*;x", "S0r s:R i:R", "-i" },
		{ "Always;;x", "S0n S1r x:x0", "stop" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_buf struct buf got = {};
		struct world w;
		struct kl_end end;
		world_begin(&w, rows[i][0], rows[i][1]);
		kl_plan_end(&a, w.pod, &end);
		for (unsigned n = 0; n < end.n_kill; n++)
			buf_printf(&got, " -%.*s", SPAN_ARG(end.kill[n].container->name));
		buf_str(&got, end.done ? " done" : end.sandbox ? " stop" : "");
		if (!span_is(span_trim(buf_span(&got)), rows[i][2]))
			fail_msg("%s | %s\n got: %s\nwant: %s", rows[i][0], rows[i][1], buf_cstr(&got), rows[i][2]);
		world_end(&w);
	}
}

static void back_off_doubles_and_is_forgotten(void **state)
{
	struct kl_item it = {};
	struct kl_container c = { .state = KL_EXITED };
	static const int64_t want_s[] = { 10, 20, 40, 80, 160, 300, 300 };
	int64_t now = NOW_NS;
	c.finished_ns = now;
	assert_int_equal(kl_backoff_until(&it, &c, now, 300000), 0);
	for (size_t i = 0; i < ARRAY_LEN(want_s); i++) {
		kl_backoff_next(&it, &c, now, 300000);
		c.finished_ns = now += NS_PER_S;
		assert_int_equal(kl_backoff_until(&it, &c, now, 300000), now + want_s[i] * NS_PER_S);
		now += want_s[i] * NS_PER_S;
		assert_int_equal(kl_backoff_until(&it, &c, now, 300000), 0);
	}
	kl_backoff_next(&it, &c, now, 300000);
	c.finished_ns = now + 601 * NS_PER_S;
	assert_int_equal(kl_backoff_until(&it, &c, c.finished_ns, 300000), 0);
	kl_backoff_next(&it, &c, c.finished_ns, 300000);
	assert_int_equal(it.backoff_ms, KL_BACKOFF_FIRST_MS);
}

static void dead_containers_are_kept_once(void **state)
{
	static const char *const rows[][3] = {
		{ "Always;;x", "S0r x:R", "" },
		{ "Always;;x", "S0r x:x0", "" },
		{ "Always;;x", "S0r x:R x:x1", "" },
		{ "Always;;x", "S0r x:R x:x1 x:x2", "x" },
		{ "Always;;x", "S0r x:x0 x:x1", "x" },
		{ "Always;;x", "S0r y:x0", "y" },
		{ "Always;;x", "S0r y:R", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_buf struct buf got = {};
		const struct kl_container *dead[8];
		struct world w;
		world_begin(&w, rows[i][0], rows[i][1]);
		unsigned n = kl_plan_garbage(w.pod, false, dead, ARRAY_LEN(dead));
		for (unsigned k = 0; k < n; k++)
			buf_printf(&got, " %.*s", SPAN_ARG(dead[k]->name));
		if (!span_is(span_trim(buf_span(&got)), rows[i][2]))
			fail_msg("%s | %s\n got: %s\nwant: %s", rows[i][0], rows[i][1], buf_cstr(&got), rows[i][2]);
		world_end(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plan_says_what_is_next),
		cmocka_unit_test(a_static_pod_is_not_told_of),
		cmocka_unit_test(a_pod_ends_in_order),
		cmocka_unit_test(back_off_doubles_and_is_forgotten),
		cmocka_unit_test(dead_containers_are_kept_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
