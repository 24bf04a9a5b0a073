/* The supervisor. It starts in steps that follow from each other (settings, lock, leftovers, network, certificates, sockets), then
 * starts every part at once: sockets listen before anybody serves them, so nobody has to wait for anybody.
 *
 * Invariants
 * 1. One supervisor a cluster: the lock is taken before anything is looked at or changed.
 * 2. A part that is not known is not running: what a killed supervisor left is ended before sockets are opened.
 * 3. state.json says what is, as of the end of the turn in which it changed. At rest it is not written.
 * 4. Stopping goes stage by stage; containers are nobody's child here and run on unless asked for. */
#include "cluster/server.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "network/network.h"
#include "sys/sys.h"
#include "tls/tls.h"

#define STAGE_MS 10000
#define LOGS_MS 60000 /* however seldom parts are asked how they are */
#define LEFTOVER_MS 5000
#define TAKEN_MS 1000
#define CERTS_MS (12 * 3600 * 1000)
#define GRACE_MS 30000 /* of a pod, unless it says otherwise (terminationGracePeriodSeconds) */

/* ---- state.json */

static void kv_text(struct json_out *o, const char *key, const char *text)
{
	json_out_key(o, span_of(key));
	json_out_span(o, span_of(text));
}

static void part_write(struct json_out *o, const struct part *p)
{
	json_out_begin(o);
	kv_text(o, "name", p->name);
	kv_text(o, "state", cluster_part_state_names[p->state]);
	if (p->proc.running) {
		json_out_ki64(o, "pid", p->proc.pid);
		json_out_ki64(o, "startTicks", (int64_t)p->start_ticks);
		json_out_ki64(o, "started", p->began_s);
	}
	if (p->ready_ms >= 0)
		json_out_ki64(o, "readyMs", p->ready_ms);
	json_out_ki64(o, "restarts", (int64_t)p->restarts);
	json_out_kspan(o, "health", p->state == CLUSTER_PART_STARTING ? SPAN_EMPTY : buf_span(&p->health));
	json_out_kspan(o, "lastEnd", span_of(p->last_end));
	json_out_end(o);
}

static void state_write(struct server *s)
{
	auto_buf struct buf b = {}, url = {};
	auto_err struct err err = ERR_INIT;
	struct json_out o = { .buf = &b };
	struct sys_process self = {};
	(void)sys_process_read(getpid(), &self, NULL);
	json_out_begin(&o);
	json_out_ki64(&o, "pid", getpid());
	json_out_ki64(&o, "startTicks", (int64_t)self.start_ticks);
	kv_text(&o, "phase", s->phase);
	json_out_kspan(&o, "address", s->s.address);
	buf_printf(&url, "https://%s:%lld", s->s.address.len ? s->s.address.ptr : "127.0.0.1", (long long)s->s.api_port);
	json_out_kspan(&o, "server", buf_span(&url));
	json_out_key(&o, SPAN("steps"));
	json_out_begin_array(&o);
	for (unsigned i = 0; i < s->n_steps; i++) {
		json_out_begin(&o);
		kv_text(&o, "name", s->steps[i].name);
		json_out_kspan(&o, "detail", s->steps[i].detail);
		json_out_ki64(&o, "ms", s->steps[i].ms);
		json_out_end(&o);
	}
	json_out_end(&o);
	if (s->failed_step && strcmp(s->phase, "failed") == 0) {
		json_out_key(&o, SPAN("failure"));
		json_out_begin(&o);
		kv_text(&o, "step", s->failed_step);
		kv_text(&o, "reason", err_msg(&s->failure));
		kv_text(&o, "remedy", s->remedy);
		json_out_end(&o);
	}
	json_out_key(&o, SPAN("parts"));
	json_out_begin_array(&o);
	for (unsigned i = 0; i < CLUSTER_PARTS && s->loop; i++)
		part_write(&o, &s->parts[i]);
	json_out_end(&o);
	json_out_end(&o);
	buf_chr(&b, '\n');
	if (io_write_file_lazy(AT_FDCWD, s->l.state.ptr, buf_span(&b), 0644, &err) < 0)
		log_warn("state.json", kv_err(&err));
}

static void on_changed(struct loop_task *t)
{
	state_write(container_of(t, struct server, changed));
}

void server_changed(struct server *s)
{
	if (s->loop)
		loop_at_commit(s->loop, &s->changed);
	else
		state_write(s);
}

void server_step(struct server *s, const char *name, const char *fmt, ...)
{
	va_list ap;
	int64_t ms = clock_mono_ms(clock_real()) - s->began_ms;
	va_start(ap, fmt);
	struct span detail = arena_vprintf(&s->texts, fmt, ap);
	va_end(ap);
	assert(s->n_steps < CLUSTER_STEPS_MAX);
	s->steps[s->n_steps++] = (struct step){ .name = name, .detail = detail, .ms = ms };
	log_info(name, kv_span("what", detail), kv_i64("ms", ms));
	server_changed(s);
}

/* ---- start */

static int lock_take(struct server *s, struct err *err)
{
	int rc = cluster_lock_take(&s->l, &s->lock, err);
	char pid[24];
	int len = snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (rc == 0 && pwrite(s->lock, pid, (size_t)len, 0) != len)
		return err_sys(err, "%s", s->l.lock.ptr);
	return rc;
}

/* Parts of a supervisor that was killed: the kernel kills them with it, this makes sure, and waits until they hold nothing. */
static int leftovers_end(struct server *s, struct err *err)
{
	struct cluster_view v;
	struct pollfd fds[CLUSTER_PARTS];
	unsigned n = 0;
	if (cluster_view_read(&s->l, &v, NULL) < 0) /* none, or torn: then there is nothing to go by */
		return 0;
	for (unsigned i = 0; i < v.n_parts; i++) {
		int fd = v.parts[i].pid ? sys_process_open((pid_t)v.parts[i].pid, (uint64_t)v.parts[i].start_ticks) : -1;
		if (fd < 0)
			continue;
		(void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
		fds[n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
	cluster_view_done(&v);
	int64_t until = clock_mono_ms(clock_real()) + LEFTOVER_MS;
	unsigned left = n;
	for (unsigned i = 0; i < n; i++) {
		int64_t wait = until - clock_mono_ms(clock_real());
		left -= poll(&fds[i], 1, (int)MAX(wait, 0)) == 1;
		close(fds[i].fd);
	}
	if (n)
		log_info("leftovers of a former supervisor ended", kv_u64("processes", n));
	return left ? err_set(err, ERR_IN_USE, "%u processes of a former start do not end", left) : 0;
}

static int socket_unix(const char *path, const char *group, struct err *err)
{
	struct group *g = group ? getgrnam(group) : NULL;
	auto_fd int fd = http_listen_unix(path, 0660, err);
	if (fd < 0)
		return fd;
	if (g && chown(path, 0, g->gr_gid) < 0)
		return err_sys(err, "giving %s to group %s", path, group);
	return take_fd(&fd);
}

/* The host's side, as long as we are there. That its port is taken is no failure: the cluster answers at its own address. */
static void sockets_host(struct server *s)
{
	if (!s->s.host_network)
		s->sockets[SOCKET_API_HOST] = http_listen_tcp("127.0.0.1", (unsigned)s->s.api_port, 0, NULL);
}

static int socket_open(struct server *s, unsigned which, struct err *err)
{
	s->sockets[which] = which == SOCKET_API	     ? http_listen_tcp(NULL, (unsigned)s->s.api_port, 0, err) :
			    which == SOCKET_API_UNIX ? socket_unix(s->l.api_sock.ptr, NULL, err) :
						       socket_unix(s->l.docker_sock.ptr, "docker", err);
	return MIN(s->sockets[which], 0);
}

/* A child of a killed supervisor that was not in its file yet (it had just been forked) has our sockets until the kernel has ended
 * it, too. So who listens already is given a moment. */
static int sockets_open(struct server *s, struct err *err)
{
	static const unsigned all[] = { SOCKET_API, SOCKET_API_UNIX, SOCKET_DOCKER };
	int64_t until = clock_mono_ms(clock_real()) + TAKEN_MS;
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		auto_err struct err why = ERR_INIT;
		while (socket_open(s, all[i], &why) < 0) {
			if (why.class != ERR_IN_USE || clock_mono_ms(clock_real()) >= until)
				return err_move(err, &why);
			err_done(&why);
			struct pollfd pause = { .fd = -1 };
			(void)poll(&pause, 0, 10);
		}
	}
	return 0;
}

/* Each step with what to do when it fails. */
static int steps(struct server *s, bool host_network, struct err *err)
{
	unsigned made = 0;
	s->failed_step = "settings";
	s->remedy = "correct the file, then 'knarr up'";
	int rc = cluster_settings_read(&s->l, host_network, &s->s, err);
	if (rc < 0)
		return rc;
	s->failed_step = "leftovers";
	s->remedy = "look at them with ps, end them, then 'knarr up'";
	if ((rc = leftovers_end(s, err)) < 0)
		return rc;
	server_step(s, "settings", "%s", access(s->l.config.ptr, F_OK) == 0 ? s->l.config.ptr : "defaults");

	s->failed_step = "network";
	s->remedy = "'knarr doctor' says what the kernel lacks; --host-network does without a network of its own";
	sockets_host(s);
	if (!s->s.host_network) {
		if ((rc = cluster_network_enter(&s->l, &s->s, &s->passage, err)) < 0)
			return rc;
		server_step(s, "network", "of its own, at %s", s->s.address.ptr);
	} else {
		struct span at = s->s.advertise_address.len ? s->s.advertise_address : cluster_outward_address(&s->texts, NULL);
		server_step(s, "network", at.len ? "the host's, at %s" : "the host's, without an address", at.ptr);
		if (!at.len)
			log_warn("the node's address is 127.0.0.1: no interface that is up has one of IPv4", kv_str("remedy",
				 "give it one, or set advertiseAddress in config.yaml; then 'knarr down --keep' and 'knarr up'"));
	}
	if ((rc = cluster_settings_save(&s->l, &s->s, err)) < 0)
		return rc;

	s->failed_step = "certificates";
	s->remedy = "make room on the disk, or move a damaged file away: a missing one is made anew (ca.key and ca.crt together)";
	if ((rc = cluster_certs_make(&s->l, &s->s, clock_wall_ns(clock_real()) / NS_PER_S, &made, err)) < 0)
		return rc;
	server_step(s, "certificates", made ? "%u made" : "there already", made);

	s->failed_step = "sockets";
	s->remedy = "end what listens there (ss -ltnp), or set apiPort in config.yaml";
	if ((rc = sockets_open(s, err)) < 0)
		return rc;
	s->failed_step = NULL;
	return 0;
}

/* ---- running */

/* systemd waits with `systemctl start` until this (Type=notify). Our parts have another socket in their environment. */
static void systemd_tell(const struct server *s)
{
	const char *ours = getenv("NOTIFY_SOCKET");
	auto_free char *kept = ours ? mem_dup(ours, strlen(ours)) : NULL;
	if (!s->systemd)
		return;
	(void)setenv("NOTIFY_SOCKET", s->systemd, 1);
	notify_ready();
	(void)setenv("NOTIFY_SOCKET", kept ? kept : "", 1);
}

static void look_running(struct server *s);

void server_part_ready(struct server *s, struct part *p)
{
	if (p->row == &part_rows[CLUSTER_APISERVER]) {
		objects_start(&s->objects);
		if (!s->node && !s->node_ready)
			node_watch(s);
	}
	look_running(s);
}

void server_node_ready(struct server *s)
{
	s->node_ready = true;
	server_step(s, "node", "%s is Ready", s->s.node_name.ptr);
	look_running(s);
}

static void look_running(struct server *s)
{
	bool all = s->node_ready;
	for (unsigned i = 0; i < CLUSTER_PARTS; i++)
		all &= s->parts[i].state == CLUSTER_PART_READY;
	if (all && strcmp(s->phase, "starting") == 0) {
		s->phase = "running";
		systemd_tell(s);
		log_info("running", kv_i64("ms", loop_now_ms(s->loop) - s->began_ms));
	}
}

void server_notice(struct server *s, pid_t pid)
{
	for (unsigned i = 0; i < CLUSTER_PARTS; i++)
		if (s->parts[i].proc.running && s->parts[i].proc.pid == pid)
			part_notice(&s->parts[i]);
}

static void on_minute(struct loop_timer *t)
{
	struct server *s = container_of(t, struct server, minute);
	for (unsigned i = 0; i < CLUSTER_PARTS; i++)
		part_look(&s->parts[i]);
	loop_timer_start(&s->minute, s->s.health_s * 1000);
}

static void on_logs(struct loop_timer *t)
{
	struct server *s = container_of(t, struct server, logs);
	for (unsigned i = 0; i < CLUSTER_PARTS; i++)
		part_log_look(s, s->parts[i].name);
	part_log_look(s, "server");
	loop_timer_start(&s->logs, LOGS_MS);
}

/* A cluster may run for longer than a certificate lives. Parts see their files change (client_follow, loop_files); whose kubeconfig
 * was handed to a person before has what it had. */
static void certs_look(struct server *s)
{
	auto_err struct err err = ERR_INIT;
	unsigned made;
	if (cluster_certs_make(&s->l, &s->s, clock_wall_ns(clock_real()) / NS_PER_S, &made, &err) < 0)
		log_error("certificates are not renewed", kv_err(&err));
	else if (made)
		log_info("certificates renewed", kv_u64("made", made));
}

static void on_certs(struct loop_timer *t)
{
	struct server *s = container_of(t, struct server, certs);
	certs_look(s);
	loop_timer_start(&s->certs, CERTS_MS);
}

static void on_asked_certs(struct loop_signal *sig)
{
	certs_look(container_of(sig, struct server, asked_certs));
}

/* ---- stop */

static void stage_begin(struct server *s);

static bool stage_over(const struct server *s)
{
	for (unsigned i = 0; i < CLUSTER_PARTS; i++)
		if (s->parts[i].row->stage == s->stage && s->parts[i].proc.running)
			return false;
	return true;
}

/* Calls that are still out are cancelled by the end of their client, and say so; what then finds everything ended comes here
 * again. */
static void finish(struct server *s)
{
	if (s->finishing)
		return;
	s->finishing = true;
	loop_timer_stop(&s->minute);
	loop_timer_stop(&s->logs);
	loop_timer_stop(&s->certs);
	loop_timer_stop(&s->deadline);
	loop_ending_close(&s->asked);
	loop_signal_close(&s->asked_all, NULL);
	loop_signal_close(&s->asked_certs, NULL);
	objects_done(&s->objects);
	node_free(s->node);
	s->node = NULL;
	notices_close(&s->notices);
	network_passage_free(s->passage);
	s->passage = NULL;
	for (unsigned i = 0; i < CLUSTER_PARTS; i++)
		part_done(&s->parts[i]);
	http_client_free(s->http);
	s->http = NULL;
	loop_release(s->loop);
}

/* Waits here: nobody needs us meanwhile. */
static void groups_end(struct server *s)
{
	unsigned left = cluster_groups_end(&s->l, GRACE_MS);
	if (left)
		log_warn("processes of containers do not end", kv_u64("processes", left));
	s->stop_containers = false;
}

/* Those of the engine have ended; pods' are in groups of the cluster. */
static void on_containers_ended(struct server *s)
{
	groups_end(s);
	stage_begin(s);
}

static void stage_begin(struct server *s)
{
	for (; s->stage < STAGES; s->stage++) {
		unsigned n = 0;
		if (s->stop_containers && s->stage == STAGES - 1 && s->parts[CLUSTER_ENGINE].state == CLUSTER_PART_READY) {
			ending_start(&s->ending, s, on_containers_ended);
			return;
		}
		for (unsigned i = 0; i < CLUSTER_PARTS; i++)
			n += s->parts[i].row->stage == s->stage && part_stop(&s->parts[i], SIGTERM);
		if (n) {
			loop_timer_start(&s->deadline, STAGE_MS);
			return;
		}
	}
	/* The engine could not be asked: it was starting, or in its pause. It is gone now, so nobody starts again what ends here. */
	if (s->stop_containers)
		groups_end(s);
	finish(s);
}

void server_part_ended(struct server *s, struct part *p)
{
	if (!s->stopping || p->row->stage != s->stage || !stage_over(s))
		return;
	loop_timer_stop(&s->deadline);
	s->stage++;
	stage_begin(s);
}

static void on_deadline(struct loop_timer *t)
{
	struct server *s = container_of(t, struct server, deadline);
	for (unsigned i = 0; i < CLUSTER_PARTS; i++)
		if (s->parts[i].row->stage == s->stage && part_stop(&s->parts[i], SIGKILL))
			log_warn("killed, as it did not stop", kv_str("part", s->parts[i].name));
}

static void stop(struct server *s, bool containers)
{
	if (s->stopping)
		return;
	log_info("stopping", kv_str("containers", containers ? "stop" : "go on"));
	s->stopping = true;
	s->stop_containers = containers;
	s->phase = "stopping";
	server_changed(s);
	stage_begin(s);
}

static void on_asked(struct loop_ending *e, int signum)
{
	stop(container_of(e, struct server, asked), false);
}

static void on_asked_all(struct loop_signal *sig)
{
	stop(container_of(sig, struct server, asked_all), true);
}

/* ---- */

static int run(struct server *s, struct err *err)
{
	const struct tls_client_params tp = { .insecure = true, .alpn = TLS_ALPN_HTTP1 };
	struct loop *l;
	int rc = loop_new(NULL, &l, err);
	if (rc < 0)
		return rc;
	s->loop = l;
	loop_hold(l);
	loop_task_init(&s->changed, on_changed);
	loop_timer_init(&s->minute, l, "look at the parts", on_minute);
	loop_timer_init(&s->logs, l, "look at the logs", on_logs);
	loop_timer_init(&s->certs, l, "look at the certificates", on_certs);
	loop_timer_init(&s->deadline, l, "stopping", on_deadline);
	const struct http_client_params hp = { .loop = l, .name = "supervisor", .idle_ms = 1000 };
	if ((rc = tls_client_new(&tp, &s->any_tls, err)) < 0 || (rc = http_client_new(&hp, &s->http, err)) < 0 ||
	    (rc = loop_ending_open(&s->asked, l, on_asked, err)) < 0 ||
	    (rc = loop_signal_open(&s->asked_all, l, "SIGUSR1", SIGUSR1, on_asked_all, err)) < 0 ||
	    (rc = loop_signal_open(&s->asked_certs, l, "SIGUSR2", SIGUSR2, on_asked_certs, err)) < 0 ||
	    (rc = notices_open(&s->notices, s, err)) < 0 ||
	    (s->passage && (rc = network_passage_watch(s->passage, s->s.address.ptr, l, err)) < 0))
		return rc; /* the process ends with it */
	objects_init(&s->objects, s);
	for (unsigned i = 0; i < CLUSTER_PARTS; i++)
		part_init(&s->parts[i], s, i);
	for (unsigned i = 0; i < CLUSTER_PARTS; i++)
		part_start(&s->parts[i]);
	loop_timer_start(&s->minute, s->s.health_s * 1000);
	loop_timer_start(&s->logs, LOGS_MS);
	loop_timer_start(&s->certs, CERTS_MS);
	loop_trim_at_rest(l);
	loop_run(l);
	loop_free(l);
	s->loop = NULL;
	return 0;
}

static void server_done(struct server *s)
{
	for (unsigned i = 0; i < SOCKETS; i++)
		fd_close(&s->sockets[i]);
	tls_ctx_unref(s->any_tls);
	err_done(&s->failure);
	cluster_settings_done(&s->s);
	arena_done(&s->texts);
	cluster_layout_done(&s->l);
}

static int serve(struct server *s, bool host_network, struct err *err)
{
	int rc = cluster_layout_make(&s->l, err);
	if (rc == 0)
		rc = lock_take(s, err);
	if (rc == 0)
		rc = cluster_layout_plugin(&s->l, err);
	if (rc < 0)
		return rc;
	s->phase = "starting";
	rc = steps(s, host_network, &s->failure);
	if (rc < 0) {
		s->phase = "failed";
		state_write(s);
		return err_move(err, &s->failure);
	}
	rc = run(s, err);
	/* What follows is read by nobody but a person who looks. */
	(void)unlink(s->l.docker_sock.ptr);
	(void)unlink(s->l.api_sock.ptr);
	(void)unlink(s->l.cri_sock.ptr);
	(void)unlink(s->l.state.ptr);
	log_info("stopped");
	fd_close(&s->lock);
	return rc;
}

int cluster_server_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct span dir = SPAN_EMPTY;
	bool host_network = false;
	const struct cluster_option options[] = {
		{ "data-dir", 0, CLUSTER_OPTION_TEXT, &dir, "folder of everything (default $KNARR_DATA_DIR or /var/lib/knarr)" },
		{ "host-network", 0, CLUSTER_OPTION_TRUE, &host_network, "at the first start: no network namespace of its own" },
	};
	struct cluster_usage u = { .usage = "server [flags]", .about =
		"Runs a cluster in the foreground. 'knarr up' does it in the background.",
				   .options = options, .n_options = ARRAY_LEN(options) };
	struct server s = { .lock = -1, .sockets = { -1, -1, -1, -1 }, .phase = "starting", .began_ms = clock_mono_ms(clock_real()),
			    .began_s = clock_wall_ns(clock_real()) / NS_PER_S };
	log_open(2, LOG_INFO, "server");
	const char *told = getenv("NOTIFY_SOCKET");
	s.systemd = told ? arena_copy(&s.texts, told, strlen(told)) : NULL;
	int rc = cluster_options_parse(&u, argc - 1, argv + 1, &err);
	if (rc > 0)
		return 0;
	if (rc == 0)
		rc = cluster_layout_init(&s.l, dir, &err);
	if (rc == 0 && geteuid() != 0)
		rc = err_set(&err, ERR_FORBIDDEN, "a cluster needs root: sudo knarr server");
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(022);
	if (rc == 0)
		rc = serve(&s, host_network, &err);
	server_done(&s);
	return rc < 0 ? cluster_fail("server", &err) : 0;
}
