/* The process: stores, sockets, signals, and the order in which they come and go.
 *
 *     open: data folder ─ images, snapshots ─ workers ─ registries ─ networks, volumes, containers ─ sockets
 *     stop: no new requests ─ streams cancelled, listeners and clients cut off ─ requests finish ─ containers (which go on),
 * workers, stores */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "builder/builder.h"
#include "cri/cri.h"
#include "engine/private.h"

#define WORKERS 8
#define LISTEN_FIRST_FD 3
#define STOP_MS 5000 /* running requests get so long after SIGTERM */

/* ---- stores ---- */

static int storage_choose(struct span name, enum snapshot_backend *out, struct err *err)
{
	if (!name.len)
		*out = SNAPSHOT_AUTO;
	else if (span_is(name, "overlay2") || span_is(name, "overlayfs") || span_is(name, "overlay"))
		*out = SNAPSHOT_OVERLAY;
	else if (span_is(name, "vfs") || span_is(name, "copy"))
		*out = SNAPSHOT_COPY;
	else
		return err_set(err, ERR_USAGE, "--storage-driver %.*s: not supported (overlay2, vfs)", SPAN_ARG(name));
	return 0;
}

static int id_read(struct engine *e, int dir, struct err *err)
{
	auto_buf struct buf b = {};
	uint8_t random[16];
	if (io_read_file(dir, "engine-id", &b, 64, NULL) == 0 && span_trim(buf_span(&b)).len == 36) {
		(void)snprintf(e->id, sizeof(e->id), "%.*s", SPAN_ARG(span_trim(buf_span(&b))));
		return 0;
	}
	rng_secret(random, sizeof(random));
	text_uuid(random, e->id);
	return io_write_file(dir, "engine-id", span_of(e->id), 0600, err);
}

static int stores_open(struct engine *e, struct err *err)
{
	auto_buf struct buf root = {}, images = {}, snapshots = {}, run = {};
	buf_span_add(&root, e->o->data_dir);
	buf_span_add(&run, e->o->run_dir);
	buf_printf(&images, "%s/images", buf_cstr(&root));
	buf_printf(&snapshots, "%s/snapshots", buf_cstr(&root));
	struct snapshot_params sp = { .dir = buf_cstr(&snapshots) };
	int rc = storage_choose(e->o->storage_driver, &sp.backend, err);
	if (rc < 0 || (rc = io_mkdirs(AT_FDCWD, buf_cstr(&root), 0711, err)) < 0 ||
	    (rc = io_mkdirs(AT_FDCWD, buf_cstr(&run), 0711, err)) < 0)
		return rc;
	auto_fd int dir = open(buf_cstr(&root), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "%s", buf_cstr(&root));
	if ((rc = image_store_open(buf_cstr(&images), &e->images, err)) < 0 || (rc = snapshot_open(&sp, &e->snapshots, err)) < 0 ||
	    (rc = id_read(e, dir, err)) < 0)
		return rc;
	if (snapshot_healed(e->snapshots))
		log_warn("layers were torn and are gone; images that need them must be pulled again",
			kv_u64("layers", snapshot_healed(e->snapshots)));
	return 0;
}

/* What interfaces, tables and groups of this engine are called: 0 for the default folder, else the beginning of its hash. */
static void short_id(struct span data_dir, char out[9])
{
	if (span_is(data_dir, "/var/lib/knarr")) {
		memcpy(out, "0", 2);
		return;
	}
	struct image_digest d = image_digest_of(data_dir);
	memcpy(out, d.text + 7, 8);
	out[8] = 0;
}

/* Networks, volumes and containers, in this order: each needs those before it. */
static int parts_open(struct engine *e, struct err *err)
{
	struct arena *a = &e->texts;
	char id[9];
	short_id(e->o->data_dir, id);
	const struct network_opts no = { .loop = e->loop, .dir = arena_printf(a, "%.*s/network", SPAN_ARG(e->o->data_dir)).ptr,
		.run_dir = arena_printf(a, "%.*s/network", SPAN_ARG(e->o->run_dir)).ptr, .id = arena_cstr(a, span_of(id)),
		.settings = &e->o->settings, .pods = e->o->cri_host.len > 0, .event = engine_network_event, .event_arg = e };
	int rc = network_engine_open(&no, &e->networks, err);
	if (rc < 0)
		return err_note(err, "networks");
	rc = volume_store_open(arena_printf(a, "%.*s/volumes", SPAN_ARG(e->o->data_dir)).ptr, &e->volumes, err);
	rc = rc < 0 ? rc : engine_containers_open(e, err);
	if (rc < 0)
		return rc;
	const struct builder_opts bo = { .loop = e->loop, .dir = arena_printf(a, "%.*s/builder", SPAN_ARG(e->o->data_dir)).ptr,
		.images = e->images, .snapshots = e->snapshots, .containers = e->containers };
	rc = builder_open(&bo, &e->builder, err);
	return rc < 0 ? err_note(err, "builder") : 0;
}

/* ---- sockets ---- */

static int file_get(struct span path, const char *flag, struct buf *out, struct err *err)
{
	auto_free char *name = mem_dup(path.ptr, path.len);
	if (!path.len)
		return err_set(err, ERR_USAGE, "TLS needs --%s", flag);
	int rc = io_read_file(AT_FDCWD, name, out, 1 << 20, err);
	return rc < 0 ? err_note(err, "--%s", flag) : 0;
}

static int tls_make(struct engine *e, struct err *err)
{
	const struct engine_options *o = e->o;
	auto_buf struct buf ca = {}, cert = {}, key = {};
	struct tls_ctx *ctx;
	int rc = file_get(o->tls_cert, "tlscert", &cert, err);
	if (rc == 0)
		rc = file_get(o->tls_key, "tlskey", &key, err);
	if (rc == 0 && o->tls_verify)
		rc = file_get(o->tls_ca, "tlscacert", &ca, err);
	if (rc < 0)
		return rc;
	const struct tls_pair pair = { buf_span(&cert), buf_span(&key), "--tlscert", "--tlskey" };
	/* HTTP/1.1 alone: attach and exec take the connection over, which HTTP/2 cannot give. */
	const struct tls_server_params p = { .pairs = &pair, .n_pairs = 1, .client_ca_pem = buf_span(&ca),
		.client_ca_where = "--tlscacert",
		.client_auth = o->tls_verify ? TLS_CLIENT_REQUIRED : TLS_CLIENT_NONE, .alpn = TLS_ALPN_HTTP1 };
	rc = tls_server_new(&p, &ctx, err);
	if (rc == 0)
		tls_slot_put(&e->tls, ctx);
	return rc;
}

static int folder_of(struct span path, struct err *err)
{
	ptrdiff_t slash = span_rchr(path, '/');
	if (slash <= 0)
		return 0;
	auto_free char *folder = mem_dup(path.ptr, (size_t)slash);
	return io_mkdirs(AT_FDCWD, folder, 0755, err);
}

/* No address holds a path of more than 107 bytes: such a socket stands in /run/knarr/ID, where clients reach it, and its path is
 * a link to there. What is in the way and is no link of ours is left alone. */
static int link_make(struct engine *e, struct span path, struct buf *name, struct err *err)
{
	char id[9];
	struct stat st;
	short_id(e->o->data_dir, id);
	auto_free char *from = mem_dup(path.ptr, path.len);
	buf_trunc(name, 0);
	buf_printf(name, "/run/knarr/%s/%.*s", id, SPAN_ARG(span_from(path, (size_t)span_rchr(path, '/') + 1)));
	if (lstat(from, &st) == 0 && !S_ISLNK(st.st_mode))
		return err_set(err, ERR_EXISTS, "%s is in the way of a link to the socket", from);
	int rc = folder_of(buf_span(name), err);
	if (rc == 0 && ((unlink(from) < 0 && errno != ENOENT) || symlink(buf_cstr(name), from) < 0))
		rc = err_sys(err, "link %s", from);
	return rc;
}

static int unix_listen(struct engine *e, struct span path, struct err *err)
{
	auto_buf struct buf name = {};
	buf_span_add(&name, path);
	int rc = folder_of(path, err);
	if (rc == 0 && path.len >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		rc = link_make(e, path, &name, err);
	if (rc < 0)
		return rc;
	int fd = http_listen_unix(buf_cstr(&name), 0660, err);
	if (fd < 0)
		return fd;
	/* Who may speak to the socket is root on this machine: the group is a person's decision. */
	auto_free char *group = mem_dup(e->o->group.ptr, e->o->group.len);
	struct group *g = *group && geteuid() == 0 ? getgrnam(group) : NULL;
	if (g && chown(buf_cstr(&name), 0, g->gr_gid) < 0)
		log_warn("the socket's group", kv_str("socket", buf_cstr(&name)), kv_i64("errno", errno));
	rc = http_server_listen(e->server, fd, 0, err);
	if (rc == 0)
		log_info("listening", kv_str("socket", buf_cstr(&name)));
	return rc;
}

static int tcp_listen(struct engine *e, struct span where, struct err *err)
{
	struct span host = where, port_text = SPAN_EMPTY;
	bool tls = e->o->tls || e->o->tls_verify;
	uint64_t port = tls ? 2376 : 2375;
	ptrdiff_t colon = span_rchr(where, ':');
	if (colon >= 0 && span_chr(span_from(where, (size_t)colon), ']') < 0) {
		host = span_sub(where, 0, (size_t)colon);
		port_text = span_from(where, (size_t)colon + 1);
		if (port_text.len && (!span_to_u64(port_text, &port) || port > 65535))
			return err_set(err, ERR_USAGE, "invalid bind address (tcp://%.*s): invalid port", SPAN_ARG(where));
	}
	if (host.len > 1 && host.ptr[0] == '[')
		host = span_sub(host, 1, host.len - 1);
	auto_free char *name = host.len ? mem_dup(host.ptr, host.len) : mem_dup("127.0.0.1", 9);
	int fd = http_listen_tcp(name, (unsigned)port, 0, err);
	if (fd < 0)
		return fd;
	if (!tls)
		log_warn("who reaches this address is root here: use --tlsverify", kv_span("address", where));
	log_info("listening", kv_str("address", name), kv_u64("port", http_fd_port(fd)));
	return http_server_listen(e->server, fd, tls ? HTTP_TLS : 0, err);
}

/* sd_listen_fds(3): sockets that a supervisor or systemd opened. */
static int passed_listen(struct engine *e, unsigned *out_n, struct err *err)
{
	const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	uint64_t n = 0, who = 0;
	*out_n = 0;
	if (!count || !pid || !span_to_u64(span_of(count), &n) || !span_to_u64(span_of(pid), &who) || who != (uint64_t)getpid())
		return 0;
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDNAMES");
	for (uint64_t i = 0; i < n && i < ENGINE_HOSTS_MAX; i++) {
		int fd = LISTEN_FIRST_FD + (int)i, domain = 0;
		socklen_t len = sizeof(domain);
		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
			return err_sys(err, "descriptor %d of LISTEN_FDS", fd);
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		bool tls = domain != AF_UNIX && (e->o->tls || e->o->tls_verify);
		int rc = http_server_listen(e->server, fd, tls ? HTTP_TLS : 0, err);
		if (rc < 0)
			return rc;
		++*out_n;
	}
	log_info("listening on sockets that were passed", kv_u64("sockets", *out_n));
	return 0;
}

static int sockets_open(struct engine *e, struct err *err)
{
	const struct engine_options *o = e->o;
	/* Streams are as patient as people: `docker logs -f | less` may stand for hours. */
	const struct http_server_params p = { .loop = e->loop, .name = "engine", .handle = engine_handle, .arg = e, .tls = &e->tls,
		.no_http2 = true, .unix_bare_lf = true,
		.limits = { .body_stall_ms = 3600000, .write_stall_ms = 24 * 3600000, .body_bytes_per_s = 1 } };
	unsigned passed = 0;
	int rc = 0;
	tls_slot_init(&e->tls);
	if (o->tls || o->tls_verify)
		rc = tls_make(e, err);
	if (rc == 0)
		rc = http_server_new(&p, &e->server, err);
	if (rc == 0)
		rc = passed_listen(e, &passed, err);
	if (rc < 0)
		return rc;
	for (unsigned i = 0; rc == 0 && i < o->n_hosts; i++) {
		struct span h = o->hosts[i];
		if (span_starts(h, SPAN("unix://")))
			rc = unix_listen(e, span_from(h, 7), err);
		else if (span_starts(h, SPAN("tcp://")))
			rc = tcp_listen(e, span_from(h, 6), err);
		else if (span_starts(h, SPAN("fd://")))
			rc = passed ? 0 : err_set(err, ERR_USAGE,
				"no sockets found via socket activation: make sure the service was started by systemd");
		else if (h.len && h.ptr[0] == '/')
			rc = unix_listen(e, h, err);
		else
			rc = err_set(err, ERR_USAGE, "invalid bind address format: %.*s", SPAN_ARG(h));
	}
	if (rc == 0 && !o->n_hosts && !passed) {
		auto_buf struct buf path = {};
		buf_printf(&path, "%.*s/docker.sock", SPAN_ARG(o->run_dir));
		rc = unix_listen(e, buf_span(&path), err);
	}
	return rc;
}

/* ---- signals ---- */

static void on_stopped(struct http_server *s, void *arg)
{
	struct engine *e = arg;
	http_server_free(s);
	e->server = NULL;
	loop_stop(e->loop);
}

static void stop(struct engine *e)
{
	if (e->stopping)
		return;
	e->stopping = true;
	log_info("stopping; containers go on");
	engine_events_end(e);
	engine_streams_cancel(e);
	engine_followers_end(e, SPAN_EMPTY);
	engine_sessions_end(e);
	/* Who waits for something that may never come waits no longer. */
	LIST_EACH(&e->calls, c, struct engine_call, link)
		if (c->req && c->route && c->route->flags & ENGINE_ENDLESS)
			http_reply_abort(c->req);
	cri_stop(e->cri, STOP_MS);
	http_server_stop(e->server, STOP_MS, on_stopped, e);
}

static void on_ending(struct loop_ending *ending, int signum)
{
	stop(container_of(ending, struct engine, ending));
}

/* New certificates; what else the settings say needs a restart, which disturbs no container. */
static void on_hup(struct loop_signal *s)
{
	struct engine *e = container_of(s, struct engine, hup);
	auto_err struct err err = ERR_INIT;
	if ((e->o->tls || e->o->tls_verify) && tls_make(e, &err) < 0)
		log_error("certificates stay as they were", kv_err(&err));
	else
		log_info("certificates were read again");
	engine_event(e, "daemon", SPAN("reload"), span_of(e->id), NULL);
}

static int signals_open(struct engine *e, struct err *err)
{
	int rc = loop_ending_open(&e->ending, e->loop, on_ending, err);
	if (rc == 0)
		rc = loop_signal_open(&e->hup, e->loop, "SIGHUP", SIGHUP, on_hup, err);
	return rc;
}

static void signals_close(struct engine *e)
{
	loop_ending_close(&e->ending);
	if (e->hup.handle)
		loop_signal_close(&e->hup, NULL);
}

/* ---- the whole ---- */

static int engine_open(struct engine *e, struct err *err)
{
	int rc = loop_new(NULL, &e->loop, err);
	if (rc < 0)
		return rc;
	e->metrics = metrics_new();
	e->counted = metrics_register(e->metrics, engine_families, ENGINE_METRIC_COUNT);
	metrics_process_add(e->metrics);
	e->pool_threads = WORKERS;
	if ((rc = stores_open(e, err)) < 0 || (rc = loop_pool_new(WORKERS, 1000, &e->pool, err)) < 0 ||
	    (rc = engine_registry_new(e->o, &e->registry, err)) < 0 || (rc = engine_events_new(e, &e->events)) < 0 ||
	    (rc = parts_open(e, err)) < 0)
		return rc;
	if ((rc = signals_open(e, err)) < 0 || (rc = engine_cri_open(e, err)) < 0)
		return rc;
	return sockets_open(e, err);
}

static void engine_close(struct engine *e)
{
	if (e->server) {
		/* Only after a failed start: nobody was served yet. */
		http_server_stop(e->server, 0, on_stopped, e);
		while (e->server && loop_turn(e->loop, true))
			;
	}
	if (e->loop)
		signals_close(e);
	engine_cri_close(e);
	/* A build's thread drives containers to its very end. */
	while (e->loop && !list_empty(&e->streams))
		(void)loop_turn(e->loop, true);
	builder_close(e->builder);
	engine_containers_close(e);
	while (e->loop && (!list_empty(&e->calls) || !list_empty(&e->streams) || !list_empty(&e->sessions)))
		(void)loop_turn(e->loop, true);
	network_engine_close(e->networks);
	volume_store_close(e->volumes);
	loop_pool_free(e->pool);
	while (e->loop && loop_turn(e->loop, false))
		;
	engine_events_free(e->events);
	engine_registry_free(e->registry);
	snapshot_close(e->snapshots);
	image_store_close(e->images);
	if (e->loop) {
		(void)loop_turn(e->loop, false);
		loop_free(e->loop);
	}
	metrics_free(e->metrics);
	arena_done(&e->texts);
	tls_slot_done(&e->tls);
}

int engine_run(const struct engine_options *o, struct err *err)
{
	struct engine e = { .o = o, .cri_lock = PTHREAD_MUTEX_INITIALIZER };
	list_init(&e.calls);
	list_init(&e.streams);
	list_init(&e.sessions);
	list_init(&e.followers);
	tls_slot_init(&e.tls);
	int rc = engine_open(&e, err);
	if (rc == 0) {
		auto_free char *pidfile = o->pidfile.len ? mem_dup(o->pidfile.ptr, o->pidfile.len) : NULL;
		char pid[24];
		int n = snprintf(pid, sizeof(pid), "%d", getpid());
		if (pidfile && io_write_file_lazy(AT_FDCWD, pidfile, span_make(pid, (size_t)n), 0644, err) < 0)
			log_warn("the pid file", kv_str("path", pidfile));
		log_info("serving", kv_str("api", ENGINE_API_TEXT), kv_str("storage",
			snapshot_backend_name(snapshot_backend(e.snapshots))));
		loop_trim_at_rest(e.loop);
		loop_run(e.loop);
		if (pidfile)
			(void)unlink(pidfile);
	}
	engine_close(&e);
	return rc;
}

int engine_main(int argc, char **argv)
{
	struct engine_options o;
	auto_err struct err err = ERR_INIT;
	bool help;
	engine_options_default(&o);
	if (engine_options_parse(&o, argc - 1, argv + 1, &help, &err) < 0) {
		(void)fprintf(stderr, "%s\nSee 'knarr engine --help'\n", err_msg(&err));
		engine_options_done(&o);
		return 125;
	}
	if (help) {
		engine_options_help();
		engine_options_done(&o);
		return 0;
	}
	enum log_level level = LOG_INFO;
	(void)log_level_parse(o.log_level, &level);
	log_open(2, o.debug ? LOG_DEBUG : level, "engine");
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(022); /* not the caller's: others walk the folders that we make in volumes and containers */
	io_descriptors_raise();
	/* Its threads hash, inflate and wait; with an arena each, nine kept what their busiest moment needed: 4 MB after 100 pods. */
	(void)mallopt(M_ARENA_MAX, 1);
	int rc = engine_run(&o, &err);
	if (rc < 0)
		(void)fprintf(stderr, "failed to start the engine: %s\n", err_msg(&err));
	engine_options_done(&o);
	return rc < 0 ? err_exit_code(rc) : 0;
}
