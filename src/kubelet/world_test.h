/* A pod and what is there of it, in words: what the tables of plan_test.c and status_test.c are made of. A pod is "restart policy;
 * init containers (a name with * is a sidecar); containers; ephemeral containers"; a policy that ends in - is being deleted. What
 * is there: S0r, S0n a sandbox (attempt, ready or not); a:R running, a:C created, a:U unknown, a:x3 exited with 3 (a second word
 * of the same name is an older attempt), a:x1/0 exited in sandbox 0; flags a.busy a.started a.ready a.hook a.live a.startup a.back
 * a.loop (waiting in CrashLoopBackOff); a=R, a=x3: the API was told that it runs, that it has ended. Containers are of the newest
 * sandbox where nothing else is said. */
#pragma once

#include "kubelet/plan.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NOW_NS (INT64_C(1000000) * NS_PER_S)
#define ENDED_NS (NOW_NS - 3 * NS_PER_S)


struct world {
	struct kl k;
	struct kl_pod *pod;
};

static void names(struct buf *out, struct span list, bool init)
{
	struct span rest = list, one;
	bool first = true;
	buf_chr(out, '[');
	while (span_cut(&rest, ' ', &one)) {
		if (!one.len)
			continue;
		bool sidecar = init && span_ends(one, SPAN("*"));
		buf_printf(out, "%s{\"name\":\"%.*s\"%s}", first ? "" : ",", (int)(one.len - sidecar), one.ptr,
			   sidecar ? ",\"restartPolicy\":\"Always\"" : "");
		first = false;
	}
	buf_chr(out, ']');
}

/* In each of the three lists: names are of one kind only. */
static void told(struct buf *out, const char *there)
{
	static const char *const lists[] = { "initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses" };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct span rest = span_of(there), one, name, state;
		bool first = true;
		buf_printf(out, "%s\"%s\":[", i ? "," : "", lists[i]);
		while (span_cut(&rest, ' ', &one)) {
			if (!span_split(one, '=', &name, &state))
				continue;
			buf_printf(out, "%s{\"name\":\"%.*s\",\"state\":{", first ? "" : ",", SPAN_ARG(name));
			if (state.ptr[0] == 'R')
				buf_str(out, "\"running\":{}}}");
			else
				buf_printf(out, "\"terminated\":{\"exitCode\":%.*s}}}", SPAN_ARG(span_from(state, 1)));
			first = false;
		}
		buf_chr(out, ']');
	}
}

static void world_begin(struct world *w, const char *spec, const char *there)
{
	auto_buf struct buf text = {};
	struct span part[4] = {}, rest = span_of(spec), one;
	*w = (struct world){};
	for (size_t i = 0; i < 4 && span_cut(&rest, ';', &part[i]); i++)
		part[i] = span_trim(part[i]);
	bool deleted = span_ends(part[0], SPAN("-"));
	buf_printf(&text, "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\"%s},\"spec\":{\"restartPolicy\":\"%.*s\",",
		   deleted ? ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"" : "", (int)(part[0].len - deleted), part[0].ptr);
	buf_str(&text, "\"initContainers\":");
	names(&text, part[1], true);
	buf_str(&text, ",\"containers\":");
	names(&text, part[2], false);
	buf_str(&text, ",\"ephemeralContainers\":");
	names(&text, part[3], false);
	buf_str(&text, "},\"status\":{");
	told(&text, there);
	buf_str(&text, "}}");
	struct bytes *b = bytes_of(buf_span(&text));
	auto_err struct err err = ERR_INIT;
	struct kl_object *o = kl_object_new(b, &err);
	if (!o)
		fail_msg("%s: %s", buf_cstr(&text), err_msg(&err));
	bytes_unref(b);
	w->pod = kl_pod_new(&w->k, SPAN("u"), SPAN("n"), SPAN("p"));
	kl_pod_object_set(w->pod, o);

	char newest[8] = "s0";
	unsigned attempt = 100;
	rest = span_of(there);
	while (span_cut(&rest, ' ', &one)) {
		struct span head, tail;
		if (!one.len || span_chr(one, '=') >= 0)
			continue;
		if (one.ptr[0] == 'S') {
			struct api_cri_pod_sandbox_metadata m = { .attempt = (uint32_t)(one.ptr[1] - '0') };
			(void)snprintf(newest, sizeof(newest), "s%c", one.ptr[1]);
			struct api_cri_pod_sandbox_status s = { .id = span_of(newest), .metadata = &m, .state = one.ptr[2] == 'r' ? 0 : 1 };
			assert_true(kl_sandbox_put(w->pod, &s));
		} else if (span_split(one, '.', &head, &tail)) {
			int i = kl_spec_find(&w->pod->object->pod.spec, head);
			assert_true(i >= 0);
			struct kl_item *it = &w->pod->items[i];
			it->busy |= span_is(tail, "busy");
			it->started |= span_is(tail, "started");
			it->ready |= span_is(tail, "ready");
			it->hooked |= span_is(tail, "hook");
			if (span_is(tail, "loop"))
				kl_item_waiting(it, "CrashLoopBackOff", SPAN("back-off"));
			it->liveness_failed |= span_is(tail, "live");
			it->startup_failed |= span_is(tail, "startup");
			if (span_is(tail, "back")) {
				it->backoff_ms = KL_BACKOFF_FIRST_MS;
				it->backoff_at_ns = ENDED_NS - NS_PER_S;
			}
		} else {
			char id[16];
			struct span state, in;
			assert_true(span_split(one, ':', &head, &tail));
			(void)span_split(tail, '/', &state, &in);
			struct api_cri_container_metadata m = { .name = head, .attempt = --attempt };
			struct api_cri_container_status s = { .metadata = &m };
			int64_t code = 0;
			(void)snprintf(id, sizeof(id), "c%u", attempt);
			s.id = span_of(id);
			s.state = state.ptr[0] == 'R' ? KL_RUNNING : state.ptr[0] == 'C' ? KL_CREATED : state.ptr[0] == 'U' ? KL_UNKNOWN
												      : KL_EXITED;
			if (s.state == KL_EXITED) {
				assert_true(span_to_i64(span_from(state, 1), &code));
				s.finished_at = ENDED_NS;
			}
			s.exit_code = (int32_t)code;
			char old[8];
			(void)snprintf(old, sizeof(old), "s%.*s", SPAN_ARG(in));
			assert_true(kl_container_put(w->pod, &s, span_of(in.len ? old : newest)));
		}
	}
}

static void world_end(struct world *w)
{
	kl_pod_free(w->pod);
	map_done(&w->k.pods);
	map_done(&w->k.pods_by_name);
}
