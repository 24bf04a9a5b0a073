/* How fast objects are decoded and encoded.
 *
 *     bench-codec [SECONDS]     (default 0.3 s a line)
 *
 * Bodies: a 1 KB pod as kubectl sends it, and all fixtures of tests/fixtures/roundtrip one after another. For each
 * direction: MB/s of the text, and p50/p99 of one call in microseconds. The last line compares the schema decoder with the
 * plain JSON parser on the same bytes. Run from the repository's root. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include "api/api.h"
#include "took.h"

static const char pod_text[] =
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-5d8f7c6b9-x2x4k\",\"namespa"
	"ce\":\"default\",\"labels\":{\"app\":\"web\",\"pod-template-hash\":\"5d8f7c6b9\"},\"annotations\""
	":{\"prometheus.io/scrape\":\"true\",\"prometheus.io/port\":\"8080\"},\"ownerReferences\":[{\"api"
	"Version\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":\"web-5d8f7c6b9\",\"uid\":\"2f3c8a10-97c5"
	"-4a7d-8f36-6b8f0b8a9c11\",\"controller\":true,\"blockOwnerDeletion\":true}]},\"spec\":{\"contain"
	"ers\":[{\"name\":\"web\",\"image\":\"registry.example.com/shop/web:1.27.3\",\"ports\":[{\"name\""
	":\"http\",\"containerPort\":8080,\"protocol\":\"TCP\"}],\"env\":[{\"name\":\"MODE\",\"value\":\""
	"production\"},{\"name\":\"NODE\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"spec.nodeName\"}}}"
	"],\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"256Mi\"},\"requests\":{\"cpu\":\"100m"
	"\",\"memory\":\"128Mi\"}},\"readinessProbe\":{\"httpGet\":{\"path\":\"/healthz\",\"port\":8080},"
	"\"periodSeconds\":10},\"imagePullPolicy\":\"IfNotPresent\"}],\"restartPolicy\":\"Always\",\"term"
	"inationGracePeriodSeconds\":30,\"serviceAccountName\":\"web\"}}";

struct body {
	const struct api_type *type;
	struct buf json, pb;
	struct arena arena; /* holds tree */
	struct json tree;
	void *typed; /* in the arena; NULL when the type has no struct */
	enum api_typed id;
};

struct work {
	struct body *bodies;
	size_t n;
	struct arena arena;
	struct buf out;
};

enum what { PARSE, DECODE_JSON, ENCODE_JSON, DECODE_PB, ENCODE_PB, DECODE_ENCODE, TYPED_JSON, TYPED_PB, TYPED_ENCODE_PB };

static void fail(const char *where, const struct err *err)
{
	(void)fprintf(stderr, "bench-codec: %s: %s\n", where, err_msg(err));
	exit(1);
}

static size_t once(struct work *w, struct body *b, enum what what)
{
	auto_err struct err err = ERR_INIT;
	struct json v;
	int rc = 0;
	size_t size = b->json.len;
	switch (what) {
	case PARSE:
		rc = json_parse(&w->arena, buf_span(&b->json), JSON_BORROW | JSON_DUPLICATES_KEEP, NULL, &v, &err);
		break;
	case DECODE_JSON:
	case DECODE_ENCODE:
		rc = api_decode_json(&w->arena, b->type, buf_span(&b->json), NULL, &v, &err);
		if (what == DECODE_ENCODE)
			api_encode_json(&w->out, b->type, &v, 0);
		break;
	case ENCODE_JSON:
		api_encode_json(&w->out, b->type, &b->tree, 0);
		break;
	case DECODE_PB:
		rc = api_decode_proto(&w->arena, b->type, buf_span(&b->pb), &v, &err);
		size = b->pb.len;
		break;
	case TYPED_JSON:
	case TYPED_PB: {
		bool json = what == TYPED_JSON;
		void *at = arena_alloc(&w->arena, api_typed_size(b->id));
		rc = api_typed_decode(&w->arena, b->id, json ? API_FORM_JSON : API_FORM_PROTO,
				      buf_span(json ? &b->json : &b->pb), at, &err);
		size = json ? size : b->pb.len;
		break;
	}
	case TYPED_ENCODE_PB:
		rc = api_typed_encode(&w->out, b->id, API_FORM_PROTO, b->typed, &err);
		size = b->pb.len;
		break;
	case ENCODE_PB:
		rc = api_encode_proto(&w->out, b->type, &b->tree, &err);
		size = b->pb.len;
		break;
	}
	if (rc < 0)
		fail("one object", &err);
	buf_trunc(&w->out, 0);
	arena_reset(&w->arena);
	return size;
}

/* Returns MB/s. */
static double measure(struct work *w, const char *name, enum what what, double seconds)
{
	enum { SAMPLES = 20000 };
	static int64_t took[SAMPLES];
	struct clock *c = clock_real();
	size_t bytes = 0, calls = 0;
	for (size_t i = 0; i < w->n; i++) /* warm */
		(void)once(w, &w->bodies[i], what);
	int64_t start = clock_mono_ns(c), now = start;
	while (now - start < (int64_t)(seconds * 1e9)) {
		for (size_t i = 0; i < w->n; i++)
			bytes += once(w, &w->bodies[i], what), calls++;
		now = clock_mono_ns(c);
	}
	double rate = (double)bytes / ((double)(now - start) / 1e9) / 1e6;
	size_t n = 0;
	for (; n < SAMPLES; n++) {
		int64_t t0 = clock_mono_ns(c);
		(void)once(w, &w->bodies[n % w->n], what);
		took[n] = clock_mono_ns(c) - t0;
	}
	qsort(took, n, sizeof(*took), took_by_ns);
	printf("%-28s %8.0f MB/s  mean %7.2f us  p50 %7.2f us  p99 %7.2f us\n", name, rate,
	       (double)(now - start) / 1e3 / (double)calls, (double)took[n / 2] / 1e3, (double)took[n * 99 / 100] / 1e3);
	return rate;
}

static double measure_all(struct work *w, const char *title, double seconds)
{
	printf("%s\n", title);
	double parse = measure(w, "  plain JSON parse", PARSE, seconds);
	double decode = measure(w, "  JSON decode", DECODE_JSON, seconds);
	(void)measure(w, "  JSON encode", ENCODE_JSON, seconds);
	(void)measure(w, "  JSON decode + encode", DECODE_ENCODE, seconds);
	(void)measure(w, "  protobuf decode", DECODE_PB, seconds);
	(void)measure(w, "  protobuf encode", ENCODE_PB, seconds);
	if (w->n == 1) { /* not every fixture has a struct */
		(void)measure(w, "  JSON to C struct", TYPED_JSON, seconds);
		(void)measure(w, "  protobuf to C struct", TYPED_PB, seconds);
		(void)measure(w, "  C struct to protobuf", TYPED_ENCODE_PB, seconds);
	}
	return decode / parse;
}

static void add_body(struct work *w, const struct api_type *t, struct span json)
{
	auto_err struct err err = ERR_INIT;
	w->bodies = mem_realloc_n(w->bodies, w->n + 1, sizeof(*w->bodies));
	struct body *b = &w->bodies[w->n++];
	*b = (struct body){ .type = t };
	struct json v;
	if (json_parse(&b->arena, json, 0, NULL, &v, &err) < 0)
		fail("fixture", &err);
	json_write(&b->json, &v, JSON_HTML); /* compact */
	if (api_decode_json(&b->arena, t, buf_span(&b->json), NULL, &b->tree, &err) < 0 ||
	    api_encode_proto(&b->pb, t, &b->tree, &err) < 0)
		fail("fixture", &err);
	int id = api_typed_find(api_type_name(t));
	if (id < 0)
		return;
	b->id = (enum api_typed)id;
	b->typed = arena_alloc(&b->arena, api_typed_size(b->id));
	if (api_typed_of_tree(&b->arena, b->id, &b->tree, b->typed, &err) < 0)
		fail("fixture", &err);
}

/* The object's own apiVersion and kind tell its type. */
static const struct api_type *type_of(struct api_registry *r, struct span json)
{
	auto_arena struct arena a = {};
	struct span gv, kind, group, version;
	if (api_peek_gvk(&a, json, &gv, &kind, NULL) < 0)
		return NULL;
	if (!span_split(gv, '/', &group, &version)) {
		version = group;
		group = SPAN("");
	}
	const struct api_resource *res = api_registry_find_kind(r, group, version, kind);
	return res ? res->type : NULL;
}

static void add_fixtures(struct work *w, const char *folder)
{
	struct api_registry *r = api_registry_builtin(true);
	DIR *dir = opendir(folder);
	struct dirent *de;
	if (!dir) {
		perror(folder);
		exit(1);
	}
	while ((de = readdir(dir))) {
		auto_buf struct buf path = {}, json = {};
		auto_err struct err err = ERR_INIT;
		if (!span_ends(span_of(de->d_name), SPAN(".json")))
			continue;
		buf_printf(&path, "%s/%s", folder, de->d_name);
		if (io_read_file(AT_FDCWD, buf_cstr(&path), &json, 1 << 20, &err) < 0)
			fail("fixture", &err);
		const struct api_type *t = type_of(r, buf_span(&json));
		if (t)
			add_body(w, t, buf_span(&json));
	}
	closedir(dir);
	api_registry_unref(r);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 0.3;
	struct work pod = {}, fixtures = {};
	char title[80];
	add_body(&pod, api_type_find(SPAN("core/v1.Pod")), span_of(pod_text));
	(void)snprintf(title, sizeof(title), "one pod, %zu bytes of JSON, %zu of protobuf", pod.bodies[0].json.len,
		       pod.bodies[0].pb.len);
	(void)measure_all(&pod, title, seconds);
	add_fixtures(&fixtures, "tests/fixtures/roundtrip");
	(void)snprintf(title, sizeof(title), "%zu fixtures", fixtures.n);
	double ratio = measure_all(&fixtures, title, seconds);
	printf("ratio: checked decode runs at %.2f of the plain JSON parse\n", ratio);
	return 0;
}
