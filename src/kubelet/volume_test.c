/* Volumes and environments of a pod against an API server in the same loop, in a mount namespace of the test's own. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kubelet/fake_api_test.h"
#include "kubelet/files.h"
#include "kubelet/volume_impl.h"

struct world {
	struct loop *loop;
	struct fake_api api;
	struct kl_objects *objects;
	struct kl_volumes *volumes;
	struct kl_volumes_pod *pod;
	struct kl_object *object;
	char root[40];
	struct buf events;
	unsigned wakes;
	bool gone;
	unsigned tokens;
	int64_t token_life_s;
};

static void facts(void *owner, struct kl_facts *out)
{
	*out = (struct kl_facts){ .node_name = SPAN("n1"), .host_ips = { SPAN("10.0.0.1") }, .n_host_ips = 1, .pod_ips = { SPAN("10.1.0.2"), SPAN("fd00::2") },
				  .n_pod_ips = 2, .cpu = SPAN("4"), .memory = SPAN("8Gi"), .storage = SPAN("100Gi") };
}

static void wake(void *owner)
{
	((struct world *)owner)->wakes++;
}

static void event(void *owner, const char *reason, struct span message)
{
	struct world *w = owner;
	buf_printf(&w->events, "%s %.*s\n", reason, SPAN_ARG(message));
}

static int post(struct fake_api *f, struct span path, struct span body, struct buf *out)
{
	struct world *w = f->arg;
	char when[40];
	(void)time_format(when, loop_wall_ns(f->loop) / NS_PER_S + w->token_life_s, 0, 0);
	buf_printf(out, "{\"kind\":\"TokenRequest\",\"apiVersion\":\"authentication.k8s.io/v1\",\"metadata\":{},\"spec\":{\"audiences\":[]},"
			"\"status\":{\"token\":\"tok%u\",\"expirationTimestamp\":\"%s\"}}", ++w->tokens, when);
	return 201;
}

static void world_init(struct world *w)
{
	*w = (struct world){ .token_life_s = 3600 };
	memcpy(w->root, "/tmp/volume-test-XXXXXX", 24);
	assert_non_null(mkdtemp(w->root));
	assert_int_equal(loop_new(NULL, &w->loop, NULL), 0);
	fake_init(&w->api, w->loop);
	w->api.post = post;
	w->api.arg = w;
	w->objects = kl_objects_new(w->api.client);
	const struct kl_volumes_params p = { .loop = w->loop, .client = w->api.client, .objects = w->objects, .root_dir = span_of(w->root),
					     .facts = facts, .wake = wake, .event = event };
	w->volumes = kl_volumes_new(&p);
}

static void on_flag(void *arg)
{
	*(bool *)arg = true;
}

static void on_gone(void *arg)
{
	((struct world *)arg)->gone = true;
}

#define until(w, condition) until_in((w)->loop, buf_cstr(&(w)->events), condition)

static void world_done(struct world *w)
{
	if (w->pod) {
		kl_volumes_close(w->pod, on_gone, w);
		until(w, w->gone);
		w->gone = false;
		kl_volumes_purge(w->volumes, SPAN("u1"), on_gone, w);
		until(w, w->gone);
	}
	auto_buf struct buf dir = {};
	buf_printf(&dir, "%s/pods/u1", w->root);
	assert_int_equal(access(buf_cstr(&dir), F_OK), -1);
	kl_object_unref(w->object);
	kl_volumes_free(w->volumes);
	kl_objects_free(w->objects);
	fake_done(&w->api);
	while (loop_turn(w->loop, false))
		;
	loop_free(w->loop);
	assert_int_equal(kl_tree_remove(w->root, NULL), 0);
	buf_done(&w->events);
}

static struct kl_object *object_of(const char *text)
{
	auto_err struct err err = ERR_INIT;
	struct bytes *json = bytes_of(span_of(text));
	struct kl_object *o = kl_object_new(json, &err);
	bytes_unref(json);
	if (!o)
		fail_msg("%s", err_msg(&err));
	return o;
}

static void pod_open(struct world *w, const char *text)
{
	w->object = object_of(text);
	w->pod = kl_volumes_open(w->volumes, w->object, SPAN("u1"), w);
}

static const char *path_of(struct world *w, const char *rel)
{
	static char path[400];
	(void)snprintf(path, sizeof(path), "%s/pods/u1/%s", w->root, rel);
	return path;
}

static void holds(struct world *w, const char *rel, const char *want, int mode)
{
	auto_buf struct buf b = {};
	struct stat st;
	if (io_read_file(AT_FDCWD, path_of(w, rel), &b, 1 << 20, NULL) < 0)
		fail_msg("%s cannot be read: %s", rel, strerror(errno));
	assert_string_equal(buf_cstr(&b), want);
	assert_int_equal(stat(path_of(w, rel), &st), 0);
	if (mode >= 0 && (st.st_mode & 07777) != (mode_t)mode)
		fail_msg("%s has mode %o, not %o", rel, st.st_mode & 07777, mode);
}

#define POD(spec)                                                                                                        \
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"u1\",\"labels\":{\"app\":\"web\",\"b\":\"x\\\"y\"}," \
	"\"annotations\":{\"k/a\":\"v\"}},\"spec\":{\"nodeName\":\"n1\",\"serviceAccountName\":\"sa\"," spec "}}"

/* ---- */

static void test_files(void **state)
{
	struct world w;
	world_init(&w);
	fake_put(&w.api, "/api/v1/namespaces/d/configmaps/c", "{\"metadata\":{\"name\":\"c\",\"namespace\":\"d\"},\"data\":{\"a\":\"1\",\"b\":\"two\"},"
		"\"binaryData\":{\"z\":\"AAE=\"}}");
	fake_put(&w.api, "/api/v1/namespaces/d/secrets/s", "{\"metadata\":{\"name\":\"s\",\"namespace\":\"d\"},\"data\":{\"pw\":\"c2VjcmV0\"}}");
	pod_open(&w, POD("\"securityContext\":{\"fsGroup\":2000},\"containers\":[{\"name\":\"m\",\"resources\":{\"limits\":{\"cpu\":\"1500m\"}}}],\"volumes\":["
			 "{\"name\":\"cm\",\"configMap\":{\"name\":\"c\",\"defaultMode\":420}},"
			 "{\"name\":\"some\",\"configMap\":{\"name\":\"c\",\"items\":[{\"key\":\"a\",\"path\":\"x/y\",\"mode\":256}],\"defaultMode\":420}},"
			 "{\"name\":\"sec\",\"secret\":{\"secretName\":\"s\",\"defaultMode\":256}},"
			 "{\"name\":\"opt\",\"configMap\":{\"name\":\"none\",\"optional\":true}},"
			 "{\"name\":\"e\",\"emptyDir\":{}},{\"name\":\"mem\",\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"1Mi\"}},"
			 "{\"name\":\"down\",\"downwardAPI\":{\"items\":[{\"path\":\"labels\",\"fieldRef\":{\"fieldPath\":\"metadata.labels\"}},"
			 "{\"path\":\"cpu\",\"resourceFieldRef\":{\"containerName\":\"m\",\"resource\":\"limits.cpu\"}},"
			 "{\"path\":\"mem\",\"resourceFieldRef\":{\"containerName\":\"m\",\"resource\":\"limits.memory\",\"divisor\":\"1Mi\"}}]}},"
			 "{\"name\":\"host\",\"hostPath\":{\"path\":\"/tmp\",\"type\":\"Directory\"}}]"));
	assert_false(kl_volumes_ready(w.pod));
	until(&w, kl_volumes_ready(w.pod));
	assert_int_equal(w.wakes, 1);
	assert_string_equal(buf_cstr(&w.events), "");
	holds(&w, "volumes/kubernetes.io~configmap/cm/a", "1", 0644);
	holds(&w, "volumes/kubernetes.io~configmap/cm/b", "two", 0644);
	holds(&w, "volumes/kubernetes.io~configmap/some/x/y", "1", 0440); /* 0400, and the group may read */
	holds(&w, "volumes/kubernetes.io~secret/sec/pw", "secret", 0440);
	holds(&w, "volumes/kubernetes.io~downward-api/down/labels", "app=\"web\"\nb=\"x\\\"y\"", 0644);
	holds(&w, "volumes/kubernetes.io~downward-api/down/cpu", "2", 0644);
	holds(&w, "volumes/kubernetes.io~downward-api/down/mem", "8192", 0644);
	assert_true(kl_is_mounted(path_of(&w, "volumes/kubernetes.io~secret/sec")));
	assert_true(kl_is_mounted(path_of(&w, "volumes/kubernetes.io~empty-dir/mem")));
	assert_false(kl_is_mounted(path_of(&w, "volumes/kubernetes.io~empty-dir/e")));
	struct stat st;
	assert_int_equal(stat(path_of(&w, "volumes/kubernetes.io~empty-dir/e"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 02777);
	assert_int_equal(st.st_gid, 2000);
	assert_int_equal(stat(path_of(&w, "volumes/kubernetes.io~configmap/cm/a"), &st), 0);
	assert_int_equal(st.st_gid, 2000);
	char link[64] = "";
	assert_true(readlink(path_of(&w, "volumes/kubernetes.io~configmap/cm/a"), link, sizeof(link) - 1) > 0);
	assert_string_equal(link, "..data/a");

	/* The source changes: a key goes, one comes; what was open stays what it was. */
	int old = open(path_of(&w, "volumes/kubernetes.io~configmap/cm/b"), O_RDONLY | O_CLOEXEC);
	fake_put(&w.api, "/api/v1/namespaces/d/configmaps/c", "{\"metadata\":{\"name\":\"c\",\"namespace\":\"d\"},\"data\":{\"a\":\"1\",\"new\":\"3\"}}");
	until(&w, access(path_of(&w, "volumes/kubernetes.io~configmap/cm/new"), F_OK) == 0);
	holds(&w, "volumes/kubernetes.io~configmap/cm/new", "3", 0644);
	assert_int_equal(faccessat(AT_FDCWD, path_of(&w, "volumes/kubernetes.io~configmap/cm/b"), F_OK, AT_SYMLINK_NOFOLLOW), -1);
	auto_buf struct buf still = {};
	assert_int_equal(io_read_all(old, &still, 100, NULL), 0);
	assert_string_equal(buf_cstr(&still), "two");
	(void)close(old);
	/* The optional one appears. */
	fake_put(&w.api, "/api/v1/namespaces/d/configmaps/none", "{\"metadata\":{\"name\":\"none\",\"namespace\":\"d\"},\"data\":{\"k\":\"v\"}}");
	until(&w, access(path_of(&w, "volumes/kubernetes.io~configmap/opt/k"), F_OK) == 0);
	/* Nothing else was disturbed; labels change with the pod. */
	struct kl_object *newer = object_of(POD("\"containers\":[{\"name\":\"m\"}],\"volumes\":[{\"name\":\"cm\",\"configMap\":{\"name\":\"c\"}}]"));
	kl_volumes_update(w.pod, newer); /* another pod: refused by its volumes */
	kl_object_unref(newer);
	assert_string_equal(buf_cstr(&w.events), "");
	world_done(&w);
}

static void test_restart(void **state)
{
	struct world w;
	struct stat before, after;
	static const char pod[] = POD("\"containers\":[],\"volumes\":[{\"name\":\"cm\",\"configMap\":{\"name\":\"c\"}},{\"name\":\"mem\","
		"\"emptyDir\":{\"medium\":\"Memory\"}}]");
	world_init(&w);
	fake_put(&w.api, "/api/v1/namespaces/d/configmaps/c", "{\"metadata\":{\"name\":\"c\",\"namespace\":\"d\"},\"data\":{\"a\":\"1\"}}");
	pod_open(&w, pod);
	until(&w, kl_volumes_ready(w.pod));
	assert_int_equal(stat(path_of(&w, "volumes/kubernetes.io~configmap/cm/a"), &before), 0);
	assert_int_equal(io_write_file_lazy(AT_FDCWD, path_of(&w, "volumes/kubernetes.io~empty-dir/mem/f"), SPAN("kept"), 0600, NULL), 0);
	kl_volumes_leave(w.pod);
	kl_object_unref(w.object);
	pod_open(&w, pod);
	until(&w, kl_volumes_ready(w.pod));
	assert_int_equal(stat(path_of(&w, "volumes/kubernetes.io~configmap/cm/a"), &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	holds(&w, "volumes/kubernetes.io~empty-dir/mem/f", "kept", 0600);
	world_done(&w);
}

/* What an application did to the root of its folder stays when another kubelet comes. */
static void test_used_folder(void **state)
{
	static const char *const names[] = { "volumes/kubernetes.io~empty-dir/disk", "volumes/kubernetes.io~empty-dir/mem" };
	struct world w;
	struct stat st;
	static const char pod[] = POD("\"securityContext\":{\"fsGroup\":2000},\"containers\":[],\"volumes\":[{\"name\":\"disk\",\"emptyDir\":{}},"
				      "{\"name\":\"mem\",\"emptyDir\":{\"medium\":\"Memory\"}}]");
	world_init(&w);
	pod_open(&w, pod);
	until(&w, kl_volumes_ready(w.pod));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		auto_buf struct buf file = {};
		assert_int_equal(stat(path_of(&w, names[i]), &st), 0);
		assert_int_equal(st.st_mode & 07777, i ? 03777 : 02777); /* a tmpfs is born sticky */
		assert_int_equal(st.st_gid, 2000);
		assert_int_equal(chown(path_of(&w, names[i]), 999, 999), 0);
		assert_int_equal(chmod(path_of(&w, names[i]), 0700), 0);
		buf_printf(&file, "%s/key", names[i]);
		assert_int_equal(io_write_file_lazy(AT_FDCWD, path_of(&w, buf_cstr(&file)), SPAN("x"), 0600, NULL), 0);
	}
	kl_volumes_leave(w.pod);
	kl_object_unref(w.object);
	pod_open(&w, pod);
	until(&w, kl_volumes_ready(w.pod));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		auto_buf struct buf file = {};
		assert_int_equal(stat(path_of(&w, names[i]), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0700);
		assert_int_equal(st.st_gid, 999);
		buf_printf(&file, "%s/key", names[i]);
		holds(&w, buf_cstr(&file), "x", 0600);
	}
	world_done(&w);
}

/* ROOT through a link, and not ended as the kernel would: mounts are known for what they are, and go. */
static void test_linked_root(void **state)
{
	struct world w;
	auto_arena struct arena a = {};
	auto_buf struct buf link = {}, by_link = {}, pods = {};
	struct span real;
	world_init(&w);
	buf_printf(&link, "%s-link", w.root);
	assert_int_equal(symlink(w.root, buf_cstr(&link)), 0);
	buf_printf(&by_link, "%s/", buf_cstr(&link));
	/* As the kubelet begins: nobody but root enters, and the name is the kernel's. */
	assert_int_equal(chmod(w.root, 0755), 0);
	buf_printf(&pods, "%s/pods", w.root);
	assert_int_equal(mkdir(buf_cstr(&pods), 0755), 0);
	assert_int_equal(kl_root_make(buf_cstr(&by_link), &a, &real, NULL), 0);
	assert_string_equal(real.ptr, w.root);
	struct stat st;
	assert_int_equal(stat(buf_cstr(&pods), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	/* Even without that. */
	w.volumes->p.root_dir = buf_span(&by_link);
	pod_open(&w, POD("\"containers\":[],\"volumes\":[{\"name\":\"mem\",\"emptyDir\":{\"medium\":\"Memory\"}}]"));
	until(&w, kl_volumes_ready(w.pod));
	assert_true(kl_is_mounted(path_of(&w, "volumes/kubernetes.io~empty-dir/mem")));
	kl_volumes_leave(w.pod);
	kl_object_unref(w.object);
	pod_open(&w, POD("\"containers\":[],\"volumes\":[{\"name\":\"mem\",\"emptyDir\":{\"medium\":\"Memory\"}}]"));
	until(&w, kl_volumes_ready(w.pod));
	auto_buf struct buf mounts = {}, name = {};
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/mounts", &mounts, 1 << 20, NULL), 0);
	buf_printf(&name, "%s/", w.root);
	ptrdiff_t first = span_find(buf_span(&mounts), buf_span(&name));
	assert_true(first >= 0);
	assert_int_equal(span_find(span_from(buf_span(&mounts), (size_t)first + 1), buf_span(&name)), -1);
	world_done(&w);
	assert_int_equal(unlink(buf_cstr(&link)), 0);
}

/* Folders as deep as a container likes, on a file system that is not the one we stand in. */
static void test_deep_tree(void **state)
{
	char top[] = "/tmp/volume-test-XXXXXX";
	assert_non_null(mkdtemp(top));
	assert_int_equal(kl_mount_tmpfs(top, 0, 0755, -1, NULL), 0);
	for (int round = 0; round < 2; round++) {
		auto_buf struct buf path = {}, left = {};
		buf_printf(&path, "%s/d", top);
		for (int i = 0; i < 100; i++)
			buf_str(&path, "/x");
		assert_int_equal(io_mkdirs(AT_FDCWD, buf_cstr(&path), 0755, NULL), 0);
		buf_printf(&left, "%s/.deep-%d-%d", top, (int)getpid(), 5); /* of one that died */
		if (round)
			assert_int_equal(mkdir(buf_cstr(&left), 0755), 0);
		buf_trunc(&path, strlen(top) + 2);
		auto_err struct err err = ERR_INIT;
		if (kl_tree_remove(buf_cstr(&path), &err) < 0)
			fail_msg("%s", err_msg(&err));
		assert_int_equal(access(buf_cstr(&path), F_OK), -1);
		assert_int_equal(rmdir(buf_cstr(&left)), round ? 0 : -1);
	}
	assert_int_equal(umount2(top, 0), 0);
	assert_int_equal(rmdir(top), 0);
}

/* A clock that is an hour ahead: the token is used, and asked for once. */
static void test_token_of_another_time(void **state)
{
	struct world w;
	world_init(&w);
	w.token_life_s = -3600;
	pod_open(&w, POD("\"containers\":[{\"name\":\"m\"}],\"volumes\":[{\"name\":\"api\",\"projected\":{\"defaultMode\":420,\"sources\":["
			 "{\"serviceAccountToken\":{\"expirationSeconds\":3607,\"path\":\"token\"}}]}}]"));
	until(&w, kl_volumes_ready(w.pod));
	int64_t end_ms = loop_now_ms(w.loop) + 300;
	until(&w, loop_now_ms(w.loop) >= end_ms);
	assert_int_equal(w.tokens, 1);
	holds(&w, "volumes/kubernetes.io~projected/api/token", "tok1", -1);
	world_done(&w);
}

/* A pod that waits for what its environment names says so. */
static void test_patience(void **state)
{
	struct world w;
	world_init(&w);
	w.volumes->p.patience_ms = 300;
	fake_put(&w.api, "/api/v1/namespaces/d/configmaps/c", "{\"metadata\":{\"name\":\"c\",\"namespace\":\"d\"},\"data\":{}}");
	w.api.forbids = "/configmaps";
	pod_open(&w, POD("\"volumes\":[],\"containers\":[{\"name\":\"m\",\"envFrom\":[{\"configMapRef\":{\"name\":\"c\"}}]}]"));
	until(&w, strstr(buf_cstr(&w.events), "Failed Error: failed to sync configmap \"c\" cache: "));
	assert_non_null(strstr(buf_cstr(&w.events), "not for you"));
	assert_false(kl_volumes_ready(w.pod));
	world_done(&w);
}

/* Without an API server an object is not there: that is said, and not waited for. */
static void test_standalone_env(void **state)
{
	struct kl_facts f = {};
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct kl_objects *none = kl_objects_new(NULL);
	struct kl_object *o = object_of(POD("\"containers\":[{\"name\":\"m\",\"envFrom\":[{\"configMapRef\":{\"name\":\"c\"}}]}]"));
	struct api_pair *env;
	uint32_t n;
	const struct kl_env_params p = { .pod = &o->pod, .container = o->pod.spec.containers.ptr, .facts = &f, .objects = none };
	int rc = kl_env_make(&a, &p, &env, &n, &err);
	if (rc >= 0 || rc == -ERR_UNAVAILABLE)
		fail_msg("%d: %s", rc, err_msg(&err));
	assert_string_equal(err_msg(&err), "configmap \"c\" not found");
	kl_object_unref(o);
	kl_objects_free(none);
}

static void test_failures(void **state)
{
	struct world w;
	world_init(&w);
	pod_open(&w, POD("\"containers\":[],\"volumes\":[{\"name\":\"cm\",\"configMap\":{\"name\":\"c\"}},{\"name\":\"h\",\"hostPath\":{\"path\":\"/nope\","
		"\"type\":\"Directory\"}},"
			 "{\"name\":\"nfs\",\"nfs\":{\"server\":\"a\",\"path\":\"/b\"}},{\"name\":\"pvc\",\"persistentVolumeClaim\":{\"claimName\":\"cl\"}}]"));
	until(&w, strstr(buf_cstr(&w.events), "\"cl\"") && strstr(buf_cstr(&w.events), "\"c\""));
	static const char *const said[] = {
		"FailedMount MountVolume.SetUp failed for volume \"cm\" : configmap \"c\" not found\n",
		"FailedMount MountVolume.SetUp failed for volume \"h\" : hostPath type check failed: /nope is not a directory\n",
		"err=no volume plugin matched\n",
		("FailedMount Unable to attach or mount volumes: unmounted volumes=[pvc], unattached volumes=[], failed to process volumes=[pvc]: "
		"error processing PVC d/cl: failed to fetch PVC from API server: persistentvolumeclaims \"cl\" not found\n"),
	};
	for (unsigned i = 0; i < ARRAY_LEN(said); i++)
		if (!strstr(buf_cstr(&w.events), said[i]))
			fail_msg("no %s in %s", said[i], buf_cstr(&w.events));
	assert_false(kl_volumes_ready(w.pod));
	/* A key that is not there; told at once, because the object changed. */
	fake_put(&w.api, "/api/v1/namespaces/d/configmaps/c", "{\"metadata\":{\"name\":\"c\",\"namespace\":\"d\"},\"data\":{}}");
	until(&w, access(path_of(&w, "volumes/kubernetes.io~configmap/cm/..data"), F_OK) == 0);
	world_done(&w);
}

static void test_token(void **state)
{
	struct world w;
	world_init(&w);
	w.token_life_s = 2; /* renewed after 1.6 s */
	fake_put(&w.api, "/api/v1/namespaces/d/configmaps/kube-root-ca.crt", "{\"metadata\":{\"name\":\"kube-root-ca.crt\",\"namespace\":\"d\"},"
		"\"data\":{\"ca.crt\":\"PEM\"}}");
	pod_open(&w, POD("\"securityContext\":{\"runAsUser\":1000},\"containers\":[{\"name\":\"m\"}],\"volumes\":[{\"name\":\"api\","
		"\"projected\":{\"defaultMode\":420,\"sources\":["
			 "{\"serviceAccountToken\":{\"expirationSeconds\":3607,\"path\":\"token\"}},{\"configMap\":{\"name\":\"kube-root-ca.crt\","
				"\"items\":[{\"key\":\"ca.crt\",\"path\":\"ca.crt\"}]}},"
			 "{\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{\"apiVersion\":\"v1\",\"fieldPath\":\"metadata.namespace\"}}]}}]}}]"));
	until(&w, kl_volumes_ready(w.pod));
	holds(&w, "volumes/kubernetes.io~projected/api/token", "tok1", 0600);
	holds(&w, "volumes/kubernetes.io~projected/api/ca.crt", "PEM", 0644);
	holds(&w, "volumes/kubernetes.io~projected/api/namespace", "d", 0644);
	struct stat st;
	assert_int_equal(stat(path_of(&w, "volumes/kubernetes.io~projected/api/token"), &st), 0);
	assert_int_equal(st.st_uid, 1000);
	assert_string_equal(buf_cstr(&w.api.posts), "POST /api/v1/namespaces/d/serviceaccounts/sa/token {\"apiVersion\":\"authentication.k8s.io/v1\","
			    "\"kind\":\"TokenRequest\",\"spec\":{\"audiences\":[],\"expirationSeconds\":3607,\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\","
			    "\"name\":\"p\",\"uid\":\"u1\"}}}\n");
	until(&w, w.tokens == 2);
	auto_buf struct buf now = {};
	until(&w, (buf_trunc(&now, 0), io_read_file(AT_FDCWD, path_of(&w, "volumes/kubernetes.io~projected/api/token"), &now, 100, NULL) == 0 &&
		   strcmp(buf_cstr(&now), "tok2") == 0));
	world_done(&w);
}

static void test_mounts(void **state)
{
	struct world w;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct api_cri_mount *m;
	uint32_t n;
	world_init(&w);
	pod_open(&w, POD("\"volumes\":[{\"name\":\"e\",\"emptyDir\":{}},{\"name\":\"h\",\"hostPath\":{\"path\":\"/srv\"}}],\"containers\":["
			 "{\"name\":\"m\",\"volumeMounts\":[{\"name\":\"e\",\"mountPath\":\"data\"},{\"name\":\"h\",\"mountPath\":\"/h\",\"readOnly\":true,"
				"\"recursiveReadOnly\":\"Enabled\",\"mountPropagation\":\"HostToContainer\"},"
			 "{\"name\":\"e\",\"mountPath\":\"/s\",\"subPathExpr\":\"dir/$(NAME)\"}]},"
			 "{\"name\":\"x\",\"volumeMounts\":[{\"name\":\"e\",\"mountPath\":\"/x\",\"subPath\":\"out\"}]},"
			 "{\"name\":\"y\",\"volumeMounts\":[{\"name\":\"e\",\"mountPath\":\"/x\",\"subPathExpr\":\"$(NONE)\"}]},"
			 "{\"name\":\"z\",\"volumeMounts\":[{\"name\":\"e\",\"mountPath\":\"/l\",\"readOnly\":true,\"subPath\":\"logs\"}]}]"));
	until(&w, kl_volumes_ready(w.pod));
	const struct api_pair env = { SPAN("NAME"), SPAN("web") };
	const struct api_core_container *c = w.object->pod.spec.containers.ptr;
	if (kl_volumes_mounts(w.pod, &a, &c[0], &env, 1, &m, &n, &err) < 0)
		fail_msg("%s", err_msg(&err));
	assert_int_equal(n, 3);
	assert_true(span_is(m[0].container_path, "/data") && span_is(m[0].host_path, path_of(&w, "volumes/kubernetes.io~empty-dir/e")));
	assert_true(span_is(m[1].host_path, "/srv") && m[1].readonly && m[1].recursive_read_only && m[1].propagation == 1);
	assert_true(span_is(m[2].host_path, path_of(&w, "volume-subpaths/e/m/2")));
	/* What is written there is in the volume. */
	assert_int_equal(io_write_file_lazy(AT_FDCWD, path_of(&w, "volume-subpaths/e/m/2/f"), SPAN("x"), 0600, NULL), 0);
	holds(&w, "volumes/kubernetes.io~empty-dir/e/dir/web/f", "x", 0600);
	/* A restart of the container: the same again. */
	assert_int_equal(kl_volumes_mounts(w.pod, &a, &c[0], &env, 1, &m, &n, &err), 0);
	/* A mount that may not write names what another one will fill. */
	assert_int_equal(kl_volumes_mounts(w.pod, &a, &c[3], &env, 1, &m, &n, &err), 0);
	assert_true(m[0].readonly);
	assert_int_equal(access(path_of(&w, "volumes/kubernetes.io~empty-dir/e/logs"), F_OK), 0);
	/* A container made a link that leads out of the volume. */
	assert_int_equal(symlink("/etc", path_of(&w, "volumes/kubernetes.io~empty-dir/e/out")), 0);
	assert_int_equal(kl_volumes_mounts(w.pod, &a, &c[1], &env, 1, &m, &n, &err), -ERR_INVALID);
	assert_string_equal(err_msg(&err), "failed to prepare subPath for volumeMount \"e\" of container \"x\": subpath \"out\" not within volume path");
	assert_int_equal(kl_volumes_mounts(w.pod, &a, &c[2], &env, 1, &m, &n, &err), -ERR_INVALID);
	assert_string_equal(err_msg(&err), "missing value for NONE");
	world_done(&w);
}

static void test_claims(void **state)
{
	struct world w;
	char local[64], text[400];
	world_init(&w);
	(void)snprintf(local, sizeof(local), "%s/disk", w.root);
	assert_int_equal(mkdir(local, 0755), 0);
	(void)snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"pv1\"},\"spec\":{\"local\":{\"path\":\"%s\"},\"volumeMode\":\"Filesystem\"}}", local);
	fake_put(&w.api, "/api/v1/persistentvolumes/pv1", text);
	fake_put(&w.api, "/api/v1/namespaces/d/persistentvolumeclaims/cl", "{\"metadata\":{\"name\":\"cl\",\"namespace\":\"d\"},\"spec\":{},"
		"\"status\":{\"phase\":\"Pending\"}}");
	pod_open(&w, POD("\"securityContext\":{\"fsGroup\":3000,\"fsGroupChangePolicy\":\"OnRootMismatch\"},\"containers\":[],\"volumes\":[{\"name\":\"v\","
		"\"persistentVolumeClaim\":{\"claimName\":\"cl\"}}]"));
	until(&w, strstr(buf_cstr(&w.events), "error processing PVC d/cl: PVC is not bound"));
	fake_put(&w.api, "/api/v1/namespaces/d/persistentvolumeclaims/cl", "{\"metadata\":{\"name\":\"cl\",\"namespace\":\"d\"},"
		"\"spec\":{\"volumeName\":\"pv1\"},\"status\":{\"phase\":\"Bound\"}}");
	until(&w, kl_volumes_ready(w.pod));
	assert_true(kl_is_mounted(path_of(&w, "volumes/kubernetes.io~local-volume/pv1")));
	struct stat st;
	assert_int_equal(stat(local, &st), 0);
	assert_int_equal(st.st_gid, 3000);
	assert_int_equal(io_write_file_lazy(AT_FDCWD, path_of(&w, "volumes/kubernetes.io~local-volume/pv1/f"), SPAN("x"), 0600, NULL), 0);
	kl_volumes_close(w.pod, on_gone, &w);
	until(&w, w.gone);
	w.pod = NULL;
	(void)snprintf(text, sizeof(text), "%s/f", local);
	assert_int_equal(access(text, F_OK), 0); /* what belongs to the volume stays */
	w.gone = false;
	kl_volumes_purge(w.volumes, SPAN("u1"), on_gone, &w);
	until(&w, w.gone);
	world_done(&w);
}

static void never(void *arg)
{
	fail_msg("told after the end");
}

/* The kubelet ends while volumes are removed: before the worker had them, and while it has them. */
/* Opens of a folder are held until they are allowed: what a disk that does not answer looks like. */
struct gate {
	int fd;
};

static bool gate_open(struct gate *g, const char *path)
{
	g->fd = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_CLOEXEC);
	if (g->fd < 0)
		return false;
	if (fanotify_mark(g->fd, FAN_MARK_ADD, FAN_OPEN_PERM | FAN_ONDIR, AT_FDCWD, path) == 0)
		return true;
	(void)close(g->fd);
	return false;
}

static bool gate_held(const struct gate *g)
{
	struct pollfd p = { .fd = g->fd, .events = POLLIN };
	return poll(&p, 1, 0) == 1;
}

/* What waits goes on, and nothing is held any more. */
static void gate_end(struct gate *g)
{
	struct fanotify_event_metadata e[16];
	ssize_t n = read(g->fd, e, sizeof(e));
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(e[0]); i++) {
		const struct fanotify_response r = { .fd = e[i].fd, .response = FAN_ALLOW };
		assert_int_equal(write(g->fd, &r, sizeof(r)), sizeof(r));
		(void)close(e[i].fd);
	}
	(void)close(g->fd);
}

/* Lines of the log that hold both texts. */
static unsigned log_says(int log, const char *what, const char *of)
{
	static char text[1 << 16];
	ssize_t n = pread(log, text, sizeof(text), 0);
	struct span rest = span_make(text, (size_t)MAX(n, (ssize_t)0)), line;
	unsigned found = 0;
	while (span_cut(&rest, '\n', &line))
		found += span_has(line, span_of(what)) && span_has(line, span_of(of));
	return found;
}

/* One removal that hangs holds no other one up. */
static void test_removal_that_hangs(void **state)
{
	struct world w;
	struct gate g;
	char stuck[80], in[96];
	bool stuck_gone = false;
	world_init(&w);
	(void)snprintf(stuck, sizeof(stuck), "%s/pods/stuck", w.root);
	(void)snprintf(in, sizeof(in), "%s/x", stuck);
	assert_int_equal(io_mkdirs(AT_FDCWD, in, 0755, NULL), 0);
	(void)snprintf(in, sizeof(in), "%s/pods/free/x", w.root);
	assert_int_equal(io_mkdirs(AT_FDCWD, in, 0755, NULL), 0);
	bool gated = gate_open(&g, stuck);
	if (!gated)
		print_message("no fanotify here: nothing hangs\n");
	w.volumes->p.late_ms = 500; /* the other one is faster than that on a machine that has other work too */
	auto_fd int log = memfd_create("log", MFD_CLOEXEC);
	log_open(log, LOG_WARN, "test");
	kl_volumes_purge(w.volumes, SPAN("stuck"), on_flag, &stuck_gone);
	until(&w, !gated || gate_held(&g));
	kl_volumes_purge(w.volumes, SPAN("free"), on_gone, &w);
	until(&w, w.gone);
	if (gated) {
		/* Who waits for it is told why, again and again, and of this folder alone. */
		until(&w, log_says(log, "takes long to be removed", stuck) >= 2);
		assert_false(stuck_gone);
		gate_end(&g);
	}
	until(&w, stuck_gone);
	unsigned said = log_says(log, "takes long to be removed", stuck);
	int64_t end_ms = loop_now_ms(w.loop) + 750;
	until(&w, loop_now_ms(w.loop) >= end_ms);
	assert_int_equal(log_says(log, "takes long to be removed", stuck), said);
	assert_int_equal(log_says(log, "takes long to be removed", "/pods/free"), 0);
	log_open(2, LOG_INFO, "test");
	world_done(&w);
}

/* The group of a claim's files is changed beside the loop. */
static void test_claim_of_a_group(void **state)
{
	struct world w;
	struct gate g;
	struct stat st;
	char local[64], file[80], text[400];
	world_init(&w);
	(void)snprintf(local, sizeof(local), "%s/disk", w.root);
	(void)snprintf(file, sizeof(file), "%s/disk/f", w.root);
	assert_int_equal(mkdir(local, 0755), 0);
	assert_int_equal(io_write_file_lazy(AT_FDCWD, file, SPAN("x"), 0600, NULL), 0);
	(void)snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"pv1\"},\"spec\":{\"local\":{\"path\":\"%s\"}}}", local);
	fake_put(&w.api, "/api/v1/persistentvolumes/pv1", text);
	fake_put(&w.api, "/api/v1/namespaces/d/persistentvolumeclaims/cl", "{\"metadata\":{\"name\":\"cl\",\"namespace\":\"d\"},"
		"\"spec\":{\"volumeName\":\"pv1\"},\"status\":{\"phase\":\"Bound\"}}");
	bool gated = gate_open(&g, local);
	(void)alarm(30); /* on the loop it would wait for ever: for us */
	pod_open(&w, POD("\"securityContext\":{\"fsGroup\":3000},\"containers\":[],\"volumes\":[{\"name\":\"v\","
		"\"persistentVolumeClaim\":{\"claimName\":\"cl\"}}]"));
	if (gated) {
		until(&w, gate_held(&g));
		int64_t end_ms = loop_now_ms(w.loop) + 100;
		until(&w, loop_now_ms(w.loop) >= end_ms);
		assert_false(kl_volumes_ready(w.pod));
		gate_end(&g);
	}
	until(&w, kl_volumes_ready(w.pod));
	(void)alarm(0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_gid, 3000);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_string_equal(buf_cstr(&w.events), "");
	world_done(&w);
}

static void test_end_while_removing(void **state)
{
	for (int turns = 0; turns < 3; turns++) {
		struct world w;
		world_init(&w);
		pod_open(&w, POD("\"containers\":[],\"volumes\":[{\"name\":\"e\",\"emptyDir\":{}}]"));
		until(&w, kl_volumes_ready(w.pod));
		kl_volumes_close(w.pod, turns ? on_gone : never, &w); /* a fast worker may be through by then */
		kl_volumes_purge(w.volumes, SPAN("u1"), turns ? on_gone : never, &w);
		w.pod = NULL;
		for (int i = 0; i < turns; i++)
			(void)loop_turn(w.loop, false);
		kl_volumes_free(w.volumes);
		w.volumes = NULL;
		assert_int_equal(kl_tree_unmount(w.root, NULL), 0);
		char path[80];
		(void)snprintf(path, sizeof(path), "%s/pods", w.root);
		assert_int_equal(kl_tree_remove(path, NULL), 0);
		world_done(&w);
	}
}

/* ---- host paths, trees */

static void test_host_paths(void **state)
{
	char dir[] = "/tmp/volume-host-XXXXXX", path[64];
	assert_non_null(mkdtemp(dir));
	static const struct {
		const char *name, *type, *says;
	} rows[] = {
		{ "d", "Directory", "hostPath type check failed: %s is not a directory" }, { "d", "DirectoryOrCreate", NULL },
		{ "d", "Directory", NULL },  { "d", "File", "hostPath type check failed: %s is not a file" },
		{ "f", "FileOrCreate", NULL }, { "f", "File", NULL }, { "f", "Socket", "hostPath type check failed: %s is not a socket file" },
		{ "f", "CharDevice", "hostPath type check failed: %s is not a character device" },
		{ "f", "BlockDevice", "hostPath type check failed: %s is not a block device" },
		{ "f", "DirectoryOrCreate", "hostPath type check failed: %s is not a directory" },
		{ "f", "Folder", "Folder is an invalid volume type" }, { "nothing", "", NULL },
	};
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err err = ERR_INIT;
		char want[128];
		(void)snprintf(path, sizeof(path), "%s/%s", dir, rows[i].name);
		int rc = kl_host_path_check(path, span_of(rows[i].type), &err);
		if (!rows[i].says) {
			assert_int_equal(rc, 0);
			continue;
		}
		assert_int_equal(rc, -ERR_INVALID);
		(void)snprintf(want, sizeof(want), rows[i].says, path);
		assert_string_equal(err_msg(&err), want);
	}
	assert_int_equal(kl_host_path_check("/dev/null", SPAN("CharDevice"), NULL), 0);
	assert_int_equal(kl_tree_remove(dir, NULL), 0);
}

static void test_paths_of_files(void **state)
{
	char dir[] = "/tmp/volume-files-XXXXXX";
	assert_non_null(mkdtemp(dir));
	static const char *const bad[] = { "", "/a", "../a", "a/../b", "..a" };
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		const struct kl_file f = { span_of(bad[i]), SPAN("x"), 0644, -1 };
		assert_int_equal(kl_files_write(dir, &f, 1, -1, NULL), -ERR_INVALID);
	}
	const struct kl_file f[] = { { SPAN("a/b/c"), SPAN("1"), 0600, -1 }, { SPAN("a/d"), SPAN("2"), 0640, 7 } };
	assert_int_equal(kl_files_write(dir, f, 2, 5, NULL), 1);
	assert_int_equal(kl_files_write(dir, f, 2, 5, NULL), 0);
	assert_int_equal(kl_files_write(dir, f, 1, 5, NULL), 1);
	assert_int_equal(kl_files_write(dir, f, 1, -1, NULL), 1); /* another mode */
	assert_int_equal(kl_files_write(dir, f, 0, -1, NULL), 1);
	assert_int_equal(kl_tree_remove(dir, NULL), 0);
}

/* ---- environments */

static struct buf skipped;

static void on_skipped(struct span message, void *arg)
{
	buf_span_add(&skipped, message);
}

static void env_is(struct world *w, const struct api_core_container *c, const char *want)
{
	auto_arena struct arena a = {};
	auto_buf struct buf got = {};
	auto_err struct err err = ERR_INIT;
	struct kl_facts f;
	struct api_pair *env;
	uint32_t n;
	facts(w, &f);
	const struct kl_env_params p = { .pod = &w->object->pod, .container = c, .facts = &f, .objects = w->objects, .skipped = on_skipped };
	if (kl_env_make(&a, &p, &env, &n, &err) < 0)
		buf_str(&got, err_msg(&err));
	else
		for (uint32_t i = 0; i < n; i++)
			buf_printf(&got, "%s%.*s=%.*s", i ? ";" : "", SPAN_ARG(env[i].key), SPAN_ARG(env[i].value));
	assert_string_equal(buf_cstr(&got), want);
}

static void test_env(void **state)
{
	struct world w;
	world_init(&w);
	fake_put(&w.api, "/api/v1/namespaces/d/configmaps/c", "{\"metadata\":{\"name\":\"c\",\"namespace\":\"d\"},\"data\":{\"1bad\":\"x\",\"A\":\"from\","
		"\"B\":\"b\"}}");
	fake_put(&w.api, "/api/v1/namespaces/d/secrets/s", "{\"metadata\":{\"name\":\"s\",\"namespace\":\"d\"},\"data\":{\"pw\":\"c2VjcmV0\"}}");
#define REF(name, ref) "{\"name\":\"" name "\",\"valueFrom\":{" ref "}}"
#define ENV(env) "{\"name\":\"x\",\"env\":[" env "]}"
	pod_open(&w, POD("\"volumes\":[],\"containers\":["
		"{\"name\":\"m\",\"resources\":{\"limits\":{\"cpu\":\"250m\",\"memory\":\"64Mi\"}},\"envFrom\":[{\"configMapRef\":{\"name\":\"c\"}},"
			"{\"prefix\":\"P_\",\"secretRef\":{\"name\":\"s\"}},"
		"{\"secretRef\":{\"name\":\"none\",\"optional\":true}}],\"env\":[{\"name\":\"A\",\"value\":\"own $(B) $(P_pw) $$(B) $(NO) $(A\"},"
		REF("IP", "\"fieldRef\":{\"fieldPath\":\"status.podIPs\"}") "," REF("L", "\"fieldRef\":{\"fieldPath\":\"metadata.labels['app']\"}") ","
		REF("N", "\"fieldRef\":{\"fieldPath\":\"spec.nodeName\"}") "," REF("CPU", "\"resourceFieldRef\":{\"resource\":\"limits.cpu\",\"divisor\":\"1m\"}") ","
		REF("MEM", "\"resourceFieldRef\":{\"resource\":\"limits.memory\",\"divisor\":\"1Mi\"}") "," REF("REQ",
			"\"resourceFieldRef\":{\"resource\":\"requests.cpu\"}") ","
		REF("PW", "\"secretKeyRef\":{\"name\":\"s\",\"key\":\"pw\"}") "," REF("O", "\"configMapKeyRef\":{\"name\":\"c\",\"key\":\"zz\","
			"\"optional\":true}") ",{\"name\":\"E\"}]},"
		ENV(REF("X", "\"configMapKeyRef\":{\"name\":\"c\",\"key\":\"zz\"}")) "," ENV(REF("X", "\"secretKeyRef\":{\"name\":\"none\",\"key\":\"zz\"}")) ","
		ENV(REF("X", "\"secretKeyRef\":{\"name\":\"s\",\"key\":\"zz\"}")) "," ENV(REF("X", "\"fieldRef\":{\"fieldPath\":\"status.phase\"}")) "]"));
	const struct api_core_container *c = w.object->pod.spec.containers.ptr;
	env_is(&w, &c[1], "failed to sync configmap cache: timed out waiting for the condition");
	until(&w, kl_volumes_ready(w.pod));
	env_is(&w, &c[0], "A=own b secret $(B) $(NO) $(A;B=b;P_pw=secret;IP=10.1.0.2,fd00::2;L=web;N=n1;CPU=250;MEM=64;REQ=0;PW=secret;E=");
	assert_string_equal(buf_cstr(&skipped), "Keys [1bad] from the EnvFrom configMap d/c were skipped since they are considered invalid environment "
		"variable names.");
	buf_done(&skipped);
	env_is(&w, &c[1], "couldn't find key zz in ConfigMap d/c");
	env_is(&w, &c[2], "secret \"none\" not found");
	env_is(&w, &c[3], "couldn't find key zz in Secret d/s");
	env_is(&w, &c[4], "unsupported fieldPath: status.phase");
	/* The missing one comes: the pod is woken. */
	unsigned wakes = w.wakes;
	fake_put(&w.api, "/api/v1/namespaces/d/secrets/none", "{\"metadata\":{\"name\":\"none\",\"namespace\":\"d\"},\"data\":{\"zz\":\"eg==\"}}");
	until(&w, w.wakes > wakes);
	env_is(&w, &c[2], "X=z");
	world_done(&w);
}

static void test_expand(void **state)
{
	static const char *const rows[][2] = {
		{ "plain", "plain" }, { "$(A)", "1" }, { "x$(A)$(B)y", "x1two$(A)y" }, { "$$(A)", "$(A)" }, { "$$$(A)", "$1" }, { "$(C)", "$(C)" },
		{ "$", "$" }, { "$A", "$A" }, { "$(A", "$(A" }, { "$()", "$()" }, { "", "" }, { "a$$", "a$" },
	};
	const struct api_pair env[] = { { SPAN("A"), SPAN("1") }, { SPAN("B"), SPAN("two$(A)") } };
	auto_arena struct arena a = {};
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		struct span got = kl_expand(&a, span_of(rows[i][0]), env, 2, NULL);
		assert_string_equal(arena_cstr(&a, got), rows[i][1]);
	}
}

static void wait_service(struct client_informer *inf, struct client_item *it, const struct json *object, void *arg)
{
	++*(unsigned *)arg;
}

static void none_changed(struct client_informer *inf, struct client_item *it, struct bytes *old, const struct json *object, void *arg)
{
}

static void none_removed(struct client_informer *inf, struct client_item *it, void *arg)
{
}

static void test_services(void **state)
{
	struct world w;
	unsigned seen = 0;
	world_init(&w);
	fake_put(&w.api, "/api/v1/services/db", "{\"metadata\":{\"name\":\"my-db\",\"namespace\":\"d\"},\"spec\":{\"clusterIP\":\"10.96.0.7\","
		"\"ports\":[{\"name\":\"sql-x\",\"port\":5432,\"protocol\":\"TCP\"},{\"port\":53,\"protocol\":\"UDP\"}]}}");
	w.object = object_of(POD("\"containers\":[{\"name\":\"m\",\"env\":[{\"name\":\"U\",\"value\":\"$(MY_DB_SERVICE_HOST)\"},{\"name\":\"MY_DB_PORT\","
		"\"value\":\"mine\"}]}]"));
	const struct client_informer_params ip = { .client = w.api.client, .kind = CLIENT_KIND("", "v1", "services", false),
		.field_selector = SPAN("metadata.name=db"),
						   .added = wait_service, .changed = none_changed, .removed = none_removed, .arg = &seen };
	struct client_informer *inf = client_informer_new(&ip);
	until(&w, seen);
	auto_arena struct arena a = {};
	auto_buf struct buf got = {};
	struct kl_facts f;
	struct api_pair *env;
	uint32_t n;
	facts(&w, &f);
	const struct kl_env_params p = { .pod = &w.object->pod, .container = w.object->pod.spec.containers.ptr, .facts = &f, .objects = w.objects,
		.services = inf };
	assert_int_equal(kl_env_make(&a, &p, &env, &n, NULL), 0);
	for (uint32_t i = 0; i < n; i++)
		buf_printf(&got, "%.*s=%.*s\n", SPAN_ARG(env[i].key), SPAN_ARG(env[i].value));
	assert_string_equal(buf_cstr(&got), "U=10.96.0.7\nMY_DB_PORT=mine\nMY_DB_SERVICE_HOST=10.96.0.7\nMY_DB_SERVICE_PORT=5432\nMY_DB_SERVICE_PORT_SQL_X=5432\n"
			    "MY_DB_PORT_5432_TCP=tcp://10.96.0.7:5432\nMY_DB_PORT_5432_TCP_PROTO=tcp\nMY_DB_PORT_5432_TCP_PORT=5432\nMY_DB_PORT_5432_TCP_ADDR=10.96.0.7\n"
			    "MY_DB_PORT_53_UDP=udp://10.96.0.7:53\nMY_DB_PORT_53_UDP_PROTO=udp\nMY_DB_PORT_53_UDP_PORT=53\nMY_DB_PORT_53_UDP_ADDR=10.96.0.7\n");
	client_informer_free(inf);
	world_done(&w);
}

int main(int argc, char **argv)
{
	umask(022); /* as the kubelet's */
	if (argc > 1) /* one of them alone */
		cmocka_set_test_filter(argv[1]);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_paths),
		cmocka_unit_test(test_paths_of_files),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_used_folder),
		cmocka_unit_test(test_linked_root),
		cmocka_unit_test(test_deep_tree),
		cmocka_unit_test(test_token_of_another_time),
		cmocka_unit_test(test_patience),
		cmocka_unit_test(test_standalone_env),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_removal_that_hangs),
		cmocka_unit_test(test_claim_of_a_group),
		cmocka_unit_test(test_end_while_removing),
		cmocka_unit_test(test_env),
		cmocka_unit_test(test_expand),
		cmocka_unit_test(test_services),
	};
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		(void)printf("volumes need root and a mount namespace of their own\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
