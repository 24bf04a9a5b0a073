/* Row 2 of the goals, the engine's part of `docker run`: create + start + wait + remove of a container whose program ends at once.
 *
 * usage: bench-container [ROUNDS]      as root, from the source tree
 *
 *     none       network none
 *     bridge     on a bridge of its own, with the default settings
 *     parts      create; start (answered when the program runs); the end, told when everything is cleared away; remove
 *     attached   bridge, with a client that attached before the start, as docker run has it
 * KNARR_BENCH_DIR: where the engine keeps its data (/var/tmp); on a tmpfs the disk is not in it.
 * The client, HTTP and the image's pull are not in it. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "container/container.h"
#include "network/network.h"
#include "took.h"
#include "volume/volume.h"

static struct loop *loop;
static struct container_engine *engine;
static struct image_store *images;
static struct snapshot_store *snapshots;
static struct network_engine *networks;
static struct err err = ERR_INIT;
static bool answered, ended;

static double now_ms(void)
{
	return (double)clock_mono_ns(clock_real()) / 1e6;
}

static void fail(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, err_msg(&err));
	exit(1);
}

static void done(struct container_call *c, const struct err *e)
{
	if (e) {
		fprintf(stderr, "bench: %s\n", err_msg(e));
		exit(1);
	}
	answered = true;
}

static void until(const bool *flag)
{
	while (!*flag)
		loop_turn(loop, true);
}

static void image_make(const char *dir)
{
	auto_buf struct buf tar = {}, program = {};
	struct tar_buf_sink sink;
	struct tar_writer w;
	struct image_digest id;
	if (io_read_file(AT_FDCWD, "build/tests-helpers/ct", &program, 64 << 20, &err) < 0)
		fail("tests/helpers/make build");
	tar_buf_sink_init(&sink, &tar);
	tar_writer_init(&w, &sink.sink);
	const struct tar_entry e = { .kind = TAR_FILE, .path = SPAN("ct"), .mode = 0755, .size = program.len };
	if (tar_write(&w, &e, &err) < 0 || tar_write_data(&w, buf_span(&program), &err) < 0 || tar_write_end(&w, &err) < 0)
		fail("archive");
	tar_writer_done(&w);
	auto_buf struct buf name = {};
	buf_printf(&name, "%s/image.tar", dir);
	if (io_write_file_lazy(AT_FDCWD, buf_cstr(&name), buf_span(&tar), 0644, &err) < 0)
		fail("archive");
	auto_fd int fd = open(buf_cstr(&name), O_RDONLY | O_CLOEXEC);
	struct tar_fd_source file;
	tar_fd_source_init(&file, fd);
	const struct image_import_params p = { .ref = SPAN("ct"), .unpacker = container_unpacker(engine) };
	if (image_import(images, &file.source, &p, &id, &err) < 0)
		fail("import");
	tar_fd_source_done(&file);
}

static void stream_output(struct container_stream *s, int stream, struct span data)
{
}

static void stream_closed(struct container_stream *s)
{
	ended = true;
}

static void stream_ended(struct container_stream *s, const struct err *e)
{
	container_stream_close(s, stream_closed);
}

static void measure(const char *title, const char *network, bool attached, int rounds)
{
	double *all = mem_alloc(sizeof(double) * (size_t)rounds), *part[4];
	static const char *const names[] = { "create", "start", "end", "remove" };
	for (int i = 0; i < 4; i++)
		part[i] = mem_alloc(sizeof(double) * (size_t)rounds);
	for (int i = 0; i < rounds; i++) {
		auto_arena struct arena a = {};
		struct json config = json_object(), host = json_object(), cmd = json_array();
		struct container_call call = { .done = done, .arena = &a }, waiting;
		struct container_stream s = { .stdout_ = true, .stderr_ = true, .output = stream_output, .ended = stream_ended };
		json_push(&a, &cmd, json_cstr("/ct"));
		json_push(&a, &cmd, json_cstr("exit"));
		json_push(&a, &cmd, json_cstr("0"));
		json_setl(&a, &config, "Image", json_cstr("ct"));
		json_setl(&a, &config, "Cmd", cmd);
		json_setl(&a, &host, "NetworkMode", json_cstr(network));
		double t[5];
		t[0] = now_ms();
		answered = false;
		container_create(engine, &(struct container_create_params){ .config = &config, .host_config = &host }, &call);
		until(&answered);
		char id[65];
		memcpy(id, json_getl(&call.result, "Id")->str, 64);
		id[64] = 0;
		t[1] = now_ms();
		ended = !attached;
		if (attached && container_attach(engine, span_of(id), &s, &err) < 0)
			fail("attach");
		answered = false;
		container_start(engine, span_of(id), &call);
		until(&answered);
		t[2] = now_ms();
		answered = false;
		waiting = (struct container_call){ .done = done, .arena = &a };
		if (container_wait(engine, span_of(id), CONTAINER_NOT_RUNNING, &waiting, &err) < 0)
			fail("wait");
		until(&answered);
		until(&ended);
		t[3] = now_ms();
		answered = false;
		container_remove(engine, span_of(id), 0, &call);
		until(&answered);
		t[4] = now_ms();
		all[i] = t[4] - t[0];
		for (int k = 0; k < 4; k++)
			part[k][i] = t[k + 1] - t[k];
	}
	took_row(title, all, rounds);
	for (int k = 0; k < 4; k++) {
		char name[32];
		snprintf(name, sizeof(name), "    %s", names[k]);
		took_row(name, part[k], rounds);
		free(part[k]);
	}
	printf("ratio: goal 8 ms / p50 = %.2f\n", 8 / all[rounds / 2]);
	free(all);
}

static void closed(void *arg)
{
	ended = true;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 200;
	char dir[128], id[16];
	const char *where = getenv("KNARR_BENCH_DIR");
	snprintf(dir, sizeof(dir), "%.100s/knarr-bench-XXXXXX", where ? where : "/var/tmp");
	auto_arena struct arena a = {};
	struct volume_store *volumes = NULL;
	struct loop_pool *pool = NULL;
	if (geteuid() != 0 || rounds < 1 || !mkdtemp(dir)) {
		fprintf(stderr, "usage: bench-container [ROUNDS], as root\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	char *runner = realpath("build/src/app/knarr-run", NULL);
	snprintf(id, sizeof(id), "%x", (unsigned)getpid() & 0xffffff);
	struct container_opts o = { .dir = dir, .run_dir = arena_printf(&a, "%s/run", dir).ptr, .runner = runner };
	if (loop_new(NULL, &loop, &err) < 0 || loop_pool_new(4, 1024, &pool, &err) < 0 ||
	    snapshot_open(&(struct snapshot_params){ .dir = arena_printf(&a, "%s/snapshots", dir).ptr }, &snapshots, &err) < 0 ||
	    image_store_open(arena_printf(&a, "%s/images", dir).ptr, &images, &err) < 0 ||
	    volume_store_open(arena_printf(&a, "%s/volumes", dir).ptr, &volumes, &err) < 0)
		fail("stores");
	struct json settings = json_object();
	json_setl(&a, &settings, "bip", json_cstr("10.231.79.1/24"));
	if (network_engine_open(&(struct network_opts){ .loop = loop, .dir = arena_printf(&a, "%s/network", dir).ptr,
		.run_dir = arena_printf(&a, "%s/net", dir).ptr, .id = id, .settings = &settings }, &networks, &err) < 0)
		fail("networks");
	o.loop = loop;
	o.pool = pool;
	o.images = images;
	o.snapshots = snapshots;
	o.networks = networks;
	o.volumes = volumes;
	if (container_engine_open(&o, &engine, &err) < 0)
		fail("engine");
	loop_hold(loop);
	image_make(dir);
	measure("none", "none", false, rounds);
	measure("bridge", "bridge", false, rounds);
	measure("bridge, attached", "bridge", true, rounds);
	ended = false;
	container_engine_close(engine, closed, NULL);
	until(&ended);
	if (network_engine_reset(networks, true, &err) < 0)
		fail("reset");
	network_engine_close(networks);
	loop_release(loop);
	loop_pool_free(pool);
	while (loop_turn(loop, false))
		;
	volume_store_close(volumes);
	image_store_close(images);
	snapshot_close(snapshots);
	loop_free(loop);
	free(runner);
	auto_buf struct buf rm = {};
	buf_printf(&rm, "%s", dir);
	fflush(stdout);
	execlp("rm", "rm", "-rf", buf_cstr(&rm), (char *)NULL);
	return 1;
}
