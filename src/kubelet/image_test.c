/* Names of images and whose credentials are for them, by tables. */
#include "kubelet/image.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "kubelet/fake_api_test.h"
#include "kubelet/fake_cri_test.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define BAD "invalid reference format"
#define CAPITALS(name) "invalid reference format: repository name (" name ") must be lowercase"

static void names(void **state)
{
	static const struct {
		const char *name, *problem, *repository;
	} rows[] = {
		{ "nginx", NULL, "docker.io/library/nginx" },
		{ "nginx:1.25", NULL, "docker.io/library/nginx" },
		{ "nginx@sha256:" HEX, NULL, "docker.io/library/nginx" },
		{ "nginx:1.25@sha256:" HEX, NULL, "docker.io/library/nginx" },
		{ "me/app", NULL, "docker.io/me/app" },
		{ "docker.io/me/app:x", NULL, "docker.io/me/app" },
		{ "index.docker.io/nginx", NULL, "docker.io/library/nginx" },
		{ "localhost:1/none:1", NULL, "localhost:1/none" },
		{ "localhost/none", NULL, "localhost/none" },
		{ "[::1]:5000/x@sha256:" HEX, NULL, "[::1]:5000/x" },
		{ "[fd00::A]/x", NULL, "[fd00::A]/x" },
		{ "Registry.Example:5000/a/b__c/d--e.f:V1_2-3.x", NULL, "Registry.Example:5000/a/b__c/d--e.f" },
		{ "", BAD, NULL },
		{ "nginx:", BAD, NULL },
		{ "nginx@sha256:0123", BAD, NULL },
		{ "nginx@" HEX, BAD, NULL },
		{ "nginx:-x", BAD, NULL },
		{ "a b", BAD, NULL },
		{ "nginx ", BAD, NULL },
		{ "a//b", BAD, NULL },
		{ "a/", BAD, NULL },
		{ "/a", BAD, NULL },
		{ "-a", BAD, NULL },
		{ "a..b", BAD, NULL },
		{ "a___b", BAD, NULL },
		{ "example.com:x/a", BAD, NULL },
		{ "example..com/a", BAD, NULL },
		{ "[::1/a", BAD, NULL },
		{ "ngin\303\266", BAD, NULL },
		{ "Nginx", CAPITALS("library/Nginx"), NULL },
		{ "example.com/me/App:1", CAPITALS("me/App"), NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		const char *got = kl_image_name_problem(&a, span_of(rows[i].name));
		if ((got == NULL) != (rows[i].problem == NULL) || (got && strcmp(got, rows[i].problem) != 0))
			fail_msg("%s: %s, want %s", rows[i].name, got ? got : "nothing", rows[i].problem ? rows[i].problem : "nothing");
		if (got)
			continue;
		struct span repository = kl_image_repository(&a, span_of(rows[i].name));
		if (!span_is(repository, rows[i].repository))
			fail_msg("%s: %s, want %s", rows[i].name, repository.ptr, rows[i].repository);
	}
}

static void credentials(void **state)
{
	static const struct {
		const char *key, *image;
		bool fits;
	} rows[] = {
		{ "https://index.docker.io/v1/", "nginx", true },
		{ "docker.io", "me/app", true },
		{ "docker.io/me", "me/app", true },
		{ "docker.io/me", "nginx", false },
		{ "registry.example.com", "registry.example.com/g/p/x:1", true },
		{ "https://registry.example.com/v2/", "registry.example.com/g/p/x:1", true },
		{ "registry.example.com/g/p", "registry.example.com/g/p/x:1", true },
		{ "registry.example.com/other", "registry.example.com/g/p/x:1", false },
		{ "registry.example.com:5000", "registry.example.com/x", false },
		{ "registry.example.com:5000", "registry.example.com:5000/x", true },
		{ "*.azurecr.io", "mine.azurecr.io/x", true },
		{ "*.azurecr.io", "azurecr.io/x", false },
		{ "*.azurecr.io", "a.b.azurecr.io/x", false },
		{ "*.*.azurecr.io", "a.b.azurecr.io/x", true },
		{ "m*e.azurecr.io", "mine.azurecr.io/x", true },
		{ "[::1]:5000", "[::1]:5000/x", true },
		{ "[::1]", "[::1]:5000/x", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		struct span key = kl_image_key(&a, span_of(rows[i].key)), repository = kl_image_repository(&a, span_of(rows[i].image));
		if (kl_image_key_fits(&a, key, repository) != rows[i].fits)
			fail_msg("%s (%s) for %s (%s): want %d", rows[i].key, key.ptr, rows[i].image, repository.ptr, rows[i].fits);
	}
}

/* ---- pulls against a runtime and an API server */

struct world {
	struct kl k;
	struct kl_options o;
	struct fake_api api;
	struct fake_cri rt;
	struct kl_pod *pod;
	struct buf said; /* of `done`: "image ID\n" or "reason: message\n" */
	unsigned n;
};

static void on_image(const struct api_cri_image *image, const char *reason, struct span message, int64_t retry_ns, void *arg)
{
	struct world *w = arg;
	w->n++;
	if (image)
		buf_printf(&w->said, "image %.*s\n", SPAN_ARG(image->id));
	else
		buf_printf(&w->said, "%s: %.*s\n", reason, SPAN_ARG(message));
}

static void world_init(struct world *w, const char *spec)
{
	auto_buf struct buf text = {};
	*w = (struct world){};
	kl_options_default(&w->o);
	assert_int_equal(loop_new(NULL, &w->k.loop, NULL), 0);
	fake_init(&w->api, w->k.loop);
	fake_cri_init(&w->rt, w->k.loop);
	w->k.o = &w->o;
	w->k.client = w->api.client;
	w->k.cri = w->rt.cri;
	w->k.images = kl_images_new(&w->k);
	buf_printf(&text, "{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"u\"},\"spec\":%s}", spec);
	struct bytes *b = bytes_of(buf_span(&text));
	struct kl_object *o = kl_object_new(b, NULL);
	assert_non_null(o);
	bytes_unref(b);
	w->pod = kl_pod_new(&w->k, SPAN("u"), SPAN("d"), SPAN("p"));
	kl_pod_object_set(w->pod, o);
}

static void world_done(struct world *w)
{
	kl_images_free(w->k.images);
	kl_pod_free(w->pod);
	fake_cri_done(&w->rt);
	fake_done(&w->api);
	while (loop_turn(w->k.loop, false))
		;
	loop_free(w->k.loop);
	kl_options_done(&w->o);
	map_done(&w->k.pods);
	map_done(&w->k.pods_by_name);
	buf_done(&w->said);
}

static void want(struct world *w, const char *result)
{
	unsigned n = w->n;
	buf_trunc(&w->said, 0);
	(void)kl_image_get(&w->k, &(struct kl_image_params){ .pod = w->pod, .done = on_image, .arg = w });
	until_in(w->k.loop, buf_cstr(&w->rt.calls), w->n > n);
	assert_string_equal(buf_cstr(&w->said), result);
}

/* {"auths":{KEY:{"username":USER,"password":"x"}}} as a Secret */
static void secret(struct world *w, const char *name, const char *key, const char *user)
{
	auto_buf struct buf config = {}, text = {}, path = {};
	buf_printf(&config, "{\"auths\":{\"%s\":{\"username\":\"%s\",\"password\":\"x\"}}}", key, user);
	buf_printf(&text, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"d\"},\"data\":{\".dockerconfigjson\":\"", name);
	base64_add(&text, BASE64_STD, config.ptr, config.len);
	buf_str(&text, "\"}}");
	buf_printf(&path, "/api/v1/namespaces/d/secrets/%s", name);
	fake_put(&w->api, buf_cstr(&path), buf_cstr(&text));
}

static void every_credential_is_tried(void **state)
{
	struct world w;
	world_init(&w, "{\"imagePullSecrets\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"},{\"name\":\"d\"}],"
		       "\"containers\":[{\"name\":\"c\",\"image\":\"r.example.com/g/p/x:1\"}]}");
	secret(&w, "a", "r.example.com", "whole");
	secret(&w, "b", "r.example.com/other", "nobody");
	secret(&w, "c", "https://r.example.com/g/p", "part");
	secret(&w, "d", "*.example.com", "pattern");
	w.rt.no_images = true;
	w.rt.good_user = "pattern";
	want(&w, "image sha256:1\n");
	assert_string_equal(buf_cstr(&w.rt.calls), "PullImage r.example.com/g/p/x:1 part\nPullImage r.example.com/g/p/x:1 whole\n"
						   "PullImage r.example.com/g/p/x:1 pattern\n");
	w.rt.no_images = true;
	w.rt.good_user = "else";
	want(&w, "ErrImagePull: [rpc error: code = Unknown desc = part may not, rpc error: code = Unknown desc = whole may not, "
		 "rpc error: code = Unknown desc = pattern may not]\n");
	world_done(&w);
}

/* What is kept of a pod's failed pulls goes with the pod. */
static void a_back_off_goes_with_its_pod(void **state)
{
	struct world w;
	world_init(&w, "{\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}");
	w.rt.no_images = true;
	w.rt.good_user = "else";
	want(&w, "ErrImagePull: rpc error: code = Unknown desc = nobody may not\n");
	want(&w, "ImagePullBackOff: Back-off pulling image \"x\": ErrImagePull: rpc error: code = Unknown desc = nobody may not\n");
	kl_images_forget(w.k.images, SPAN("another"));
	want(&w, "ImagePullBackOff: Back-off pulling image \"x\": ErrImagePull: rpc error: code = Unknown desc = nobody may not\n");
	kl_images_forget(w.k.images, SPAN("u"));
	want(&w, "ErrImagePull: rpc error: code = Unknown desc = nobody may not\n");
	world_done(&w);
}

/* An image that could not be removed, or that came again, is collected another time. */
static void collection_tries_again(void **state)
{
	struct world w;
	world_init(&w, "{\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}");
	unsigned *removed = &w.rt.count[KUBELET_CRI_REMOVE_IMAGE];
	w.o.root_dir = SPAN("/");
	w.o.image_gc_high = w.o.image_gc_low = 0; /* any disk is too full */
	w.o.image_min_age_ms = 0;
	w.rt.fails[KUBELET_CRI_REMOVE_IMAGE] = GRPC_INTERNAL;
	for (unsigned i = 1; i <= 2; i++) {
		kl_images_collect(w.k.images);
		until_in(w.k.loop, "", *removed == i);
	}
	w.rt.fails[KUBELET_CRI_REMOVE_IMAGE] = GRPC_OK;
	for (unsigned i = 3; i <= 4; i++) {
		w.rt.no_images = false;
		kl_images_collect(w.k.images);
		until_in(w.k.loop, "", *removed == i && w.rt.no_images);
	}
	world_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(credentials),
		cmocka_unit_test(every_credential_is_tried),
		cmocka_unit_test(a_back_off_goes_with_its_pod),
		cmocka_unit_test(collection_tries_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
