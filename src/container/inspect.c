/* What `docker inspect` and `docker ps` show. */
#include <fcntl.h>
#include <stdio.h>

#include "container/private.h"
#include "network/network.h"

static struct json copy_or(struct arena *a, const struct json *v, struct json otherwise)
{
	return v ? json_copy(a, v) : otherwise;
}

static void put(struct arena *a, struct json *o, const char *key, struct json v)
{
	json_add(a, o, span_of(key), v);
}

static struct json text(struct arena *a, const char *s)
{
	return json_str(arena_span(a, span_of(s)));
}

static struct json health(const struct container *c, struct arena *a)
{
	struct json h = json_object(), log = json_array();
	put(a, &h, "Status", json_cstr(container_health_names[c->health.status]));
	put(a, &h, "FailingStreak", json_int(c->health.streak));
	for (unsigned i = 0; i < c->health.n_log; i++) {
		const struct health_result *r = &c->health.log[i];
		struct json one = json_object();
		put(a, &one, "Start", container_time(r->start_ns, a));
		put(a, &one, "End", container_time(r->end_ns, a));
		put(a, &one, "ExitCode", json_int(r->exit_code));
		put(a, &one, "Output", text(a, r->output));
		json_push(a, &log, one);
	}
	put(a, &h, "Log", log);
	return h;
}

static struct json state(const struct container *c, struct arena *a)
{
	struct json s = json_object();
	bool restarting = c->status == STATUS_RESTARTING;
	put(a, &s, "Status", json_cstr(container_status_names[c->status]));
	put(a, &s, "Running", json_bool(container_is_running(c) || restarting));
	put(a, &s, "Paused", json_bool(c->status == STATUS_PAUSED));
	put(a, &s, "Restarting", json_bool(restarting));
	put(a, &s, "OOMKilled", json_bool(c->oom_killed));
	put(a, &s, "Dead", json_bool(c->status == STATUS_DEAD));
	put(a, &s, "Pid", json_int(c->pid));
	put(a, &s, "ExitCode", json_int(c->exit_code));
	put(a, &s, "Error", text(a, c->error ? c->error : ""));
	put(a, &s, "StartedAt", container_time(c->started_ns, a));
	put(a, &s, "FinishedAt", container_time(container_is_running(c) && c->finished_ns < c->started_ns &&
		!c->finished_ns ? 0 : c->finished_ns,
		a));
	if (c->health.status != HEALTH_NONE)
		put(a, &s, "Health", health(c, a));
	return s;
}

static struct json endpoint_at_rest(const struct container *c, struct span network, const struct json *wish, struct arena *a)
{
	static const char *const texts[] = { "NetworkID", "EndpointID", "Gateway", "IPAddress", "IPv6Gateway", "GlobalIPv6Address",
					     "MacAddress" };
	static const char *const others[] = { "IPAMConfig", "Links", "Aliases", "DriverOpts", "DNSNames" };
	struct json v = wish && json_is(wish, JSON_OBJECT) ? json_copy(a, wish) : json_object();
	struct network_ref ref;
	if (c->e->o.networks && network_find(c->e->o.networks, network, &ref, NULL) == 0)
		json_setl(a, &v, "NetworkID", json_str(arena_span(a, span_of(ref.id))));
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (!json_get(&v, span_of(texts[i])))
			put(a, &v, texts[i], json_cstr(""));
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (!json_get(&v, span_of(others[i])))
			put(a, &v, others[i], JSON_NULL_VALUE);
	if (!json_getl(&v, "IPPrefixLen"))
		put(a, &v, "IPPrefixLen", json_int(0));
	if (!json_getl(&v, "GlobalIPv6PrefixLen"))
		put(a, &v, "GlobalIPv6PrefixLen", json_int(0));
	return v;
}

static struct json network_settings(const struct container *c, struct arena *a)
{
	struct json n = json_object(), networks = json_object();
	const struct json *ends = json_path(&c->doc, "NetworkingConfig", "EndpointsConfig", NULL);
	struct span mode = container_str(c->host, "NetworkMode");
	if (c->net.kind == JSON_OBJECT)
		return json_copy(a, &c->net);
	JSON_EACH_MEMBER (ends, m)
		json_add(a, &networks, arena_span(a, json_key(m)), endpoint_at_rest(c, json_key(m), &m->value, a));
	if (!networks.n && !container_net_nowhere(c) && !span_starts(mode, SPAN("container:")))
		json_add(a, &networks, arena_span(a, mode), endpoint_at_rest(c, mode, NULL, a));
	put(a, &n, "SandboxID", json_cstr(""));
	put(a, &n, "SandboxKey", json_cstr(""));
	put(a, &n, "Ports", json_object());
	put(a, &n, "Networks", networks);
	return n;
}

/* NetworkSettings.Ports as the list of /containers/json: {"80/tcp": [{"HostIp", "HostPort"}]} or {"80/tcp": null}. */
static struct json ports_list(const struct json *ports, struct arena *a)
{
	struct json out = json_array();
	JSON_EACH_MEMBER (ports, m) {
		struct span port, proto;
		int64_t private_port = 0, public_port = 0;
		span_split(json_key(m), '/', &port, &proto);
		(void)span_to_i64(port, &private_port); /* the network component wrote it */
		uint32_t n = json_is(&m->value, JSON_ARRAY) ? m->value.n : 0;
		for (uint32_t i = 0; i < MAX(n, 1U); i++) {
			struct json one = json_object();
			const struct json *b = n ? &m->value.items[i] : NULL;
			if (b)
				put(a, &one, "IP", json_str(arena_span(a, container_str(b, "HostIp"))));
			put(a, &one, "PrivatePort", json_int(private_port));
			if (b && span_to_i64(container_str(b, "HostPort"), &public_port))
				put(a, &one, "PublicPort", json_int(public_port));
			put(a, &one, "Type", json_str(arena_span(a, proto)));
			json_push(a, &out, one);
		}
	}
	return out;
}

static struct json driver(const struct container *c, struct arena *a)
{
	struct json d = json_object(), data = json_object();
	struct snapshot_where w;
	bool known = snapshot_find_folders(c->e->o.snapshots, container_snapshot_key(a, c->e, c->id), a, &w, NULL) == 0;
	put(a, &d, "Name", json_cstr(snapshot_backend(c->e->o.snapshots) == SNAPSHOT_OVERLAY ? "overlay2" : "vfs"));
	if (known) {
		put(a, &data, "ID", text(a, c->id));
		put(a, &data, "LowerDir", json_str(w.lower));
		put(a, &data, "MergedDir", json_cstr(container_run_path(a, c, "rootfs")));
		put(a, &data, "UpperDir", json_str(w.upper));
		put(a, &data, "WorkDir", json_str(w.work));
	}
	put(a, &d, "Data", known ? data : JSON_NULL_VALUE);
	return d;
}

int container_inspect(struct container_engine *e, struct span name, struct arena *a, struct json *out, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	struct container *c = container_get(e, name, &why);
	if (!c)
		return err_move(err, &why);
	struct json v = json_object(), execs;
	bool logged = span_is(container_str(json_getl(c->host, "LogConfig"), "Type"), "json-file");
	const struct json *doc = &c->doc;
	put(a, &v, "Id", text(a, c->id));
	put(a, &v, "Created", copy_or(a, json_getl(doc, "Created"), json_cstr("")));
	put(a, &v, "Path", copy_or(a, json_getl(doc, "Path"), json_cstr("")));
	put(a, &v, "Args", copy_or(a, json_getl(doc, "Args"), json_array()));
	put(a, &v, "State", state(c, a));
	put(a, &v, "Image", copy_or(a, json_getl(doc, "Image"), json_cstr("")));
	put(a, &v, "ResolvConfPath", json_cstr(c->ever_started ? container_path(a, c, "resolv.conf") : ""));
	put(a, &v, "HostnamePath", json_cstr(c->ever_started ? container_path(a, c, "hostname") : ""));
	put(a, &v, "HostsPath", json_cstr(c->ever_started ? container_path(a, c, "hosts") : ""));
	put(a, &v, "LogPath", logged && c->ever_started ? json_str(arena_printf(a, "%s/%s-json.log", container_path(a, c, NULL),
		c->id))
							: json_cstr(""));
	put(a, &v, "Name", json_str(arena_printf(a, "/%s", c->name)));
	put(a, &v, "RestartCount", json_int(c->restart_count));
	put(a, &v, "Driver", json_cstr(snapshot_backend(e->o.snapshots) == SNAPSHOT_OVERLAY ? "overlay2" : "vfs"));
	put(a, &v, "Platform", json_cstr("linux"));
	put(a, &v, "MountLabel", json_cstr(""));
	put(a, &v, "ProcessLabel", json_cstr(""));
	put(a, &v, "AppArmorProfile", json_str(container_apparmor_profile(c->host, container_apparmor_on())));
	container_execs_list(c, a, &execs);
	put(a, &v, "ExecIDs", execs.n ? execs : JSON_NULL_VALUE);
	put(a, &v, "HostConfig", json_copy(a, c->host));
	put(a, &v, "GraphDriver", driver(c, a));
	put(a, &v, "Mounts", copy_or(a, json_getl(doc, "Mounts"), json_array()));
	put(a, &v, "Config", json_copy(a, c->config));
	put(a, &v, "NetworkSettings", network_settings(c, a));
	*out = v;
	return 0;
}

/* ---- ps */

/* Docker's units.HumanDuration. */
static void duration_text(int64_t seconds, struct buf *out)
{
	int64_t minutes = seconds / 60, hours = (minutes + 30) / 60;
	if (seconds < 1)
		buf_str(out, "Less than a second");
	else if (seconds == 1)
		buf_str(out, "1 second");
	else if (seconds < 60)
		buf_printf(out, "%lld seconds", (long long)seconds);
	else if (minutes == 1)
		buf_str(out, "About a minute");
	else if (minutes < 60)
		buf_printf(out, "%lld minutes", (long long)minutes);
	else if (hours == 1)
		buf_str(out, "About an hour");
	else if (hours < 48)
		buf_printf(out, "%lld hours", (long long)hours);
	else if (hours < 24 * 7 * 2)
		buf_printf(out, "%lld days", (long long)(hours / 24));
	else if (hours < 24 * 30 * 2)
		buf_printf(out, "%lld weeks", (long long)(hours / 24 / 7));
	else if (hours < 24 * 365 * 2)
		buf_printf(out, "%lld months", (long long)(hours / 24 / 30));
	else
		buf_printf(out, "%lld years", (long long)(hours / 24 / 365));
}

static struct json status_text(const struct container *c, struct arena *a)
{
	auto_buf struct buf b = {}, since = {};
	int64_t now = loop_wall_ns(c->e->o.loop);
	duration_text((now - (container_is_running(c) ? c->started_ns : c->finished_ns)) / NS_PER_S, &since);
	switch (c->status) {
	case STATUS_RUNNING:
		buf_printf(&b, "Up %s", buf_cstr(&since));
		if (c->health.status == HEALTH_STARTING)
			buf_str(&b, " (health: starting)");
		else if (c->health.status != HEALTH_NONE)
			buf_printf(&b, " (%s)", container_health_names[c->health.status]);
		break;
	case STATUS_PAUSED: buf_printf(&b, "Up %s (Paused)", buf_cstr(&since)); break;
	case STATUS_RESTARTING: buf_printf(&b, "Restarting (%d) %s ago", c->exit_code, buf_cstr(&since)); break;
	case STATUS_REMOVING: buf_str(&b, "Removal In Progress"); break;
	case STATUS_DEAD: buf_str(&b, "Dead"); break;
	case STATUS_CREATED: buf_str(&b, "Created"); break;
	case STATUS_EXITED: buf_printf(&b, "Exited (%d) %s ago", c->exit_code, buf_cstr(&since)); break;
	case STATUS_COUNT: break;
	}
	return json_str(arena_span(a, buf_span(&b)));
}

static struct json command_text(const struct container *c, struct arena *a)
{
	auto_buf struct buf b = {};
	buf_span_add(&b, container_str(&c->doc, "Path"));
	JSON_EACH_ITEM (json_getl(&c->doc, "Args"), item) {
		bool blank = span_chr(json_span(item), ' ') >= 0; /* Docker's words are quoted only where blanks are */
		buf_printf(&b, blank ? " '%.*s'" : " %.*s", SPAN_ARG(json_span(item)));
	}
	return json_str(arena_span(a, buf_span(&b)));
}

/* What it was made from, by that name while it still means the image, else by the image: 12 digits in the client's table. */
static struct span image_shown(const struct container *c)
{
	struct span said = container_str(c->config, "Image"), id = container_str(&c->doc, "Image");
	struct image_digest now;
	bool moved = id.len && (image_find(c->e->o.images, said, &now, NULL) < 0 || !span_eq(image_digest_span(&now), id));
	return moved ? id : said;
}

int container_summary(struct container_engine *e, struct span name, struct arena *a, struct json *out, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	struct container *c = container_get(e, name, &why);
	if (!c)
		return err_move(err, &why);
	struct json v = json_object(), names = json_array(), host = json_object(), net = json_object(), h = json_object();
	struct span created = container_str(&c->doc, "Created");
	int64_t seconds = 0;
	int32_t ns;
	(void)time_parse(created.ptr, created.len, &seconds, &ns); /* we wrote it */
	json_push(a, &names, json_str(arena_printf(a, "/%s", c->name)));
	put(a, &v, "Id", text(a, c->id));
	put(a, &v, "Names", names);
	put(a, &v, "Image", json_str(arena_span(a, image_shown(c))));
	put(a, &v, "ImageID", copy_or(a, json_getl(&c->doc, "Image"), json_cstr("")));
	put(a, &v, "Command", command_text(c, a));
	put(a, &v, "Created", json_int(seconds));
	put(a, &v, "Ports", ports_list(json_getl(&c->net, "Ports"), a));
	put(a, &v, "Labels", copy_or(a, json_getl(c->config, "Labels"), json_object()));
	put(a, &v, "State", json_cstr(container_status_names[c->status]));
	put(a, &v, "Status", status_text(c, a));
	put(a, &host, "NetworkMode", copy_or(a, json_getl(c->host, "NetworkMode"), json_cstr("")));
	if (json_is(json_getl(c->host, "Annotations"), JSON_OBJECT))
		put(a, &host, "Annotations", json_copy(a, json_getl(c->host, "Annotations")));
	put(a, &v, "HostConfig", host);
	struct json settings = network_settings(c, a);
	put(a, &net, "Networks", *json_getl(&settings, "Networks"));
	put(a, &v, "NetworkSettings", net);
	put(a, &v, "Mounts", copy_or(a, json_getl(&c->doc, "Mounts"), json_array()));
	put(a, &h, "Status", json_cstr(container_health_names[c->health.status]));
	put(a, &h, "FailingStreak", json_int(c->health.streak));
	put(a, &v, "Health", h);
	*out = v;
	return 0;
}

/* ---- logs */

int container_log_open(struct container_engine *e, struct span name, struct container_log *out, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	auto_arena struct arena a = {};
	struct container *c = container_get(e, name, &why);
	if (!c)
		return err_move(err, &why);
	struct span type = container_str(json_getl(c->host, "LogConfig"), "Type");
	if (!span_is(type, "json-file"))
		return err_set(err, ERR_INVALID_REQUEST, "configured logging driver does not support reading");
	*out = (struct container_log){ .terminal = container_truth(c->config, "Tty"), .running = container_is_running(c),
		.driver = "json-file" };
	snprintf(out->name, sizeof(out->name), "%s-json.log", c->id);
	out->dir = open(container_path(&a, c, NULL), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return out->dir < 0 ? err_sys(err, "open the folder of the log") : 0;
}
