/* Flags of `knarr engine`, dockerd's where it has them, and the file of settings (daemon.json). Flags win; what both say is an
 * error, as
 * dockerd has it. */
#include <fcntl.h>

#include "engine/private.h"

#define SETTINGS_BYTES (1u << 20)

enum kind { TEXT, TRUTH, LIST, NUMBER, OWN_TEXT, OWN_TRUTH };

struct flag {
	const char *name;
	char letter;      /* 0 = none */
	enum kind kind;   /* OWN_*: a member of struct engine_options; others: a setting */
	const char *key;  /* of the setting, as daemon.json calls it */
	size_t offset;
	const char *help;
};
#define OWN(member) offsetof(struct engine_options, member)

static const struct flag flags[] = {
	{ "add-runtime", 0, LIST, "runtimes", 0, "Register an additional OCI compatible runtime" },
	{ "bip", 0, TEXT, "bip", 0, "IPv4 address for the default bridge" },
	{ "bip6", 0, TEXT, "bip6", 0, "IPv6 address for the default bridge" },
	{ "bridge", 'b', TEXT, "bridge", 0, "Attach containers to a network bridge" },
	{ "cgroup-parent", 0, TEXT, "cgroup-parent", 0, "Set parent cgroup for all containers" },
	{ "cni-bin-dir", 0, OWN_TEXT, NULL, OWN(cni_bin_dir), "CNI plugins of the CRI's pods (default /opt/cni/bin)" },
	{ "cni-conf-dir", 0, OWN_TEXT, NULL, OWN(cni_conf_dir), "CNI configuration of the CRI's pods (default /etc/cni/net.d)" },
	{ "config-file", 0, OWN_TEXT, NULL, 0, "Settings file (default /etc/docker/daemon.json when it is ours alone)" },
	{ "cri-host", 0, OWN_TEXT, NULL, OWN(cri_host), "Serve the CRI for a kubelet, too: unix://PATH" },
	{ "data-dir", 0, OWN_TEXT, NULL, OWN(data_dir), "Root directory of persistent state" },
	{ "data-root", 0, OWN_TEXT, NULL, OWN(data_dir), "The same" },
	{ "debug", 'D', OWN_TRUTH, NULL, OWN(debug), "Enable debug mode" },
	{ "default-address-pool", 0, LIST, "default-address-pools", 0, "Default address pools (base=CIDR,size=N)" },
	{ "default-cgroupns-mode", 0, TEXT, "default-cgroupns-mode", 0, "Default mode for containers cgroup namespace" },
	{ "default-ipc-mode", 0, TEXT, "default-ipc-mode", 0, "Default mode for containers ipc" },
	{ "default-runtime", 0, TEXT, "default-runtime", 0, "Default OCI runtime for containers" },
	{ "default-shm-size", 0, TEXT, "default-shm-size", 0, "Default shm size for containers" },
	{ "dns", 0, LIST, "dns", 0, "DNS server to use" },
	{ "dns-opt", 0, LIST, "dns-opts", 0, "DNS options to use" },
	{ "dns-search", 0, LIST, "dns-search", 0, "DNS search domains to use" },
	{ "exec-opt", 0, LIST, "exec-opts", 0, "Runtime execution options (native.cgroupdriver=systemd or cgroupfs)" },
	{ "exec-root", 0, OWN_TEXT, NULL, OWN(run_dir), "Root directory for execution state files" },
	{ "fixed-cidr", 0, TEXT, "fixed-cidr", 0, "IPv4 subnet for the default bridge" },
	{ "fixed-cidr-v6", 0, TEXT, "fixed-cidr-v6", 0, "IPv6 subnet for the default bridge" },
	{ "group", 'G', OWN_TEXT, NULL, OWN(group), "Group for the unix socket (default docker)" },
	{ "host", 'H', OWN_TEXT, NULL, 0, "Daemon socket(s) to connect to" },
	{ "icc", 0, TRUTH, "icc", 0, "Enable inter-container communication for the default bridge" },
	{ "init", 0, TRUTH, "init", 0, "Run an init in the container to forward signals and reap processes" },
	{ "insecure-registry", 0, LIST, "insecure-registries", 0, "Enable insecure registry communication" },
	{ "ip", 0, TEXT, "ip", 0, "Host IP for port publishing from the default bridge" },
	{ "ip-forward", 0, TRUTH, "ip-forward", 0, "Enable IP forwarding in system configuration" },
	{ "ip-masq", 0, TRUTH, "ip-masq", 0, "Enable IP masquerading for the default bridge's subnet" },
	{ "ipv6", 0, TRUTH, "ipv6", 0, "Enable IPv6 networking for the default bridge" },
	{ "label", 0, LIST, "labels", 0, "Set key=value labels to the daemon" },
	{ "live-restore", 0, TRUTH, "live-restore", 0, "Containers always outlive this daemon" },
	{ "log-driver", 0, TEXT, "log-driver", 0, "Default driver for container logs" },
	{ "log-level", 'l', OWN_TEXT, NULL, OWN(log_level), "Set the logging level (debug, info, warn, error)" },
	{ "max-concurrent-downloads", 0, NUMBER, "max-concurrent-downloads", 0, "Set the max concurrent downloads" },
	{ "max-download-attempts", 0, NUMBER, "max-download-attempts", 0, "Set the max download attempts for each pull" },
	{ "mtu", 0, NUMBER, "mtu", 0, "Set the MTU for the default bridge network" },
	{ "no-new-privileges", 0, TRUTH, "no-new-privileges", 0, "Set no-new-privileges by default for new containers" },
	{ "pidfile", 'p', OWN_TEXT, NULL, OWN(pidfile), "Path to use for daemon PID file" },
	{ "registry-mirror", 0, LIST, "registry-mirrors", 0, "Preferred registry mirror" },
	{ "run-dir", 0, OWN_TEXT, NULL, OWN(run_dir), "Sockets and state that need not outlive the machine" },
	{ "seccomp-profile", 0, TEXT, "seccomp-profile", 0, "Path to seccomp profile" },
	{ "selinux-enabled", 0, TRUTH, "selinux-enabled", 0, "Not supported: refused when true" },
	{ "storage-driver", 's', OWN_TEXT, NULL, OWN(storage_driver), "Storage driver to use (overlay2, vfs)" },
	{ "storage-opt", 0, LIST, "storage-opts", 0, "Not supported: refused" },
	{ "tls", 0, OWN_TRUTH, NULL, OWN(tls), "Use TLS; implied by --tlsverify" },
	{ "tlscacert", 0, OWN_TEXT, NULL, OWN(tls_ca), "Trust certs signed only by this CA" },
	{ "tlscert", 0, OWN_TEXT, NULL, OWN(tls_cert), "Path to TLS certificate file" },
	{ "tlskey", 0, OWN_TEXT, NULL, OWN(tls_key), "Path to TLS key file" },
	{ "tlsverify", 0, OWN_TRUTH, NULL, OWN(tls_verify), "Use TLS and verify the remote" },
	{ "userland-proxy", 0, TRUTH, "userland-proxy", 0, "Relay loopback traffic of published ports" },
	{ "userns-remap", 0, TEXT, "userns-remap", 0, "Not supported: refused unless empty" },
};

void engine_options_default(struct engine_options *o)
{
	*o = (struct engine_options){ .group = SPAN("docker"), .log_level = SPAN("info"), .settings = json_object() };
}

void engine_options_done(struct engine_options *o)
{
	arena_done(&o->arena);
	*o = (struct engine_options){};
}

void engine_options_help(void)
{
	printf("Usage: knarr engine [OPTIONS]\n\nServe the Docker Engine API.\n\nOptions:\n");
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		const struct flag *f = &flags[i];
		char left[64];
		bool truth = f->kind == TRUTH || f->kind == OWN_TRUTH;
		(void)snprintf(left, sizeof(left), "%c%c%s --%s%s", f->letter ? '-' : ' ', f->letter ? f->letter : ' ',
			f->letter ? "," : " ", f->name, truth ? "" : f->kind == LIST ? " list" : f->kind == NUMBER ? " int" : " string");
		printf("  %-36s %s\n", left, f->help);
	}
}

static const struct flag *flag_find(struct span name, char letter)
{
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (letter ? flags[i].letter == letter : span_is(name, flags[i].name))
			return &flags[i];
	return NULL;
}

static int truth_read(const struct flag *f, struct span text, bool *out, struct err *err)
{
	if (!text.ptr || span_is(text, "true") || span_is(text, "1") || span_is(text, "t"))
		*out = true;
	else if (span_is(text, "false") || span_is(text, "0") || span_is(text, "f"))
		*out = false;
	else
		return err_set(err, ERR_USAGE,
			"invalid argument \"%.*s\" for \"--%s\" flag: strconv.ParseBool: parsing \"%.*s\": invalid syntax",
			SPAN_ARG(text), f->name, SPAN_ARG(text));
	return 0;
}

/* "base=10.0.0.0/8,size=24" and "name=/path/to/it": lists that daemon.json writes as objects. */
static int list_add(struct engine_options *o, const struct flag *f, struct span text, struct json *flagged, struct err *err)
{
	struct arena *a = &o->arena;
	struct span rest = text, one, key, value;
	bool runtimes = span_is(span_of(f->key), "runtimes");
	struct json *list = json_get(flagged, span_of(f->key));
	if (!list)
		list = json_set(a, flagged, span_of(f->key), runtimes ? json_object() : json_array());
	struct json item = json_object();
	if (runtimes) {
		if (!span_split(text, '=', &key, &value) || !key.len || !value.len)
			return err_set(err, ERR_USAGE, "invalid argument \"%.*s\" for \"--add-runtime\" flag: invalid runtime",
				SPAN_ARG(text));
		(void)json_setl(a, &item, "path", engine_text(a, value));
		(void)json_set(a, list, arena_span(a, key), item);
	} else if (span_is(span_of(f->key), "default-address-pools")) {
		while (span_cut(&rest, ',', &one)) {
			int64_t size;
			if (span_split(one, '=', &key, &value) && span_is(key, "base"))
				(void)json_setl(a, &item, "base", engine_text(a, value));
			else if (span_is(key, "size") && span_to_i64(value, &size))
				(void)json_setl(a, &item, "size", json_int(size));
			else
				return err_set(err, ERR_USAGE, "invalid argument \"%.*s\" for \"--%s\" flag: %.*s", SPAN_ARG(text), f->name,
					SPAN_ARG(one));
		}
		(void)json_push(a, list, item);
	} else {
		(void)json_push(a, list, engine_text(a, text));
	}
	return 0;
}

static int flag_set(struct engine_options *o, const struct flag *f, struct span text, struct json *flagged, struct span *file,
	struct err *err)
{
	struct arena *a = &o->arena;
	int64_t n;
	bool yes;
	int rc = 0;
	switch (f->kind) {
	case OWN_TEXT:
		if (span_is(span_of(f->name), "host")) {
			if (o->n_hosts == ENGINE_HOSTS_MAX)
				return err_set(err, ERR_USAGE, "--host: at most %d", ENGINE_HOSTS_MAX);
			o->hosts[o->n_hosts++] = arena_span(a, text);
		} else if (span_is(span_of(f->name), "config-file")) {
			*file = arena_span(a, text);
		} else {
			*(struct span *)((char *)o + f->offset) = arena_span(a, text);
		}
		break;
	case OWN_TRUTH:
		if ((rc = truth_read(f, text, &yes, err)) == 0)
			*(bool *)((char *)o + f->offset) = yes;
		break;
	case TRUTH:
		if ((rc = truth_read(f, text, &yes, err)) == 0)
			(void)json_set(a, flagged, span_of(f->key), json_bool(yes));
		break;
	case TEXT:
		(void)json_set(a, flagged, span_of(f->key), engine_text(a, text));
		break;
	case NUMBER:
		if (!span_to_i64(text, &n))
			return err_set(err, ERR_USAGE,
				"invalid argument \"%.*s\" for \"--%s\" flag: strconv.ParseInt: parsing \"%.*s\": invalid syntax",
				SPAN_ARG(text), f->name, SPAN_ARG(text));
		(void)json_set(a, flagged, span_of(f->key), json_int(n));
		break;
	case LIST:
		rc = list_add(o, f, text, flagged, err);
		break;
	}
	return rc;
}

/* Settings that are options of the process itself, unless a flag said them. */
static int file_own(struct engine_options *o, struct err *err)
{
	static const struct {
		const char *key;
		size_t offset;
		bool truth;
	} rows[] = { { "data-root", OWN(data_dir), false }, { "exec-root", OWN(run_dir), false }, { "group", OWN(group), false },
		{ "pidfile", OWN(pidfile), false }, { "storage-driver", OWN(storage_driver), false }, { "log-level", OWN(log_level),
			false },
		{ "tlscacert", OWN(tls_ca), false }, { "tlscert", OWN(tls_cert), false }, { "tlskey", OWN(tls_key), false },
		{ "tls", OWN(tls), true }, { "tlsverify", OWN(tls_verify), true }, { "debug", OWN(debug), true } };
	struct engine_options plain;
	engine_options_default(&plain);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct json *v = json_get(&o->settings, span_of(rows[i].key));
		struct span *text = (struct span *)((char *)o + rows[i].offset);
		bool *yes = (bool *)((char *)o + rows[i].offset);
		if (!v)
			continue;
		if (v->kind != (rows[i].truth ? JSON_BOOL : JSON_STRING))
			return err_set(err, ERR_USAGE, "the settings file: %s: a %s is expected", rows[i].key, rows[i].truth ? "boolean"
				: "string");
		if (rows[i].truth)
			*yes |= v->b;
		else if (span_eq(*text, *(struct span *)((char *)&plain + rows[i].offset)))
			*text = json_span(v);
	}
	const struct json *hosts = json_getl(&o->settings, "hosts");
	if (hosts && o->n_hosts)
		return err_set(err, ERR_USAGE,
			"the following directives are specified both as a flag and in the configuration file: hosts");
	JSON_EACH_ITEM(hosts, h) {
		if (o->n_hosts == ENGINE_HOSTS_MAX || h->kind != JSON_STRING)
			return err_set(err, ERR_USAGE, "the settings file: hosts: at most %d strings", ENGINE_HOSTS_MAX);
		o->hosts[o->n_hosts++] = json_span(h);
	}
	return 0;
}

static int file_read(struct engine_options *o, struct span path, struct err *err)
{
	auto_buf struct buf text = {};
	auto_free char *name = mem_dup(path.ptr, path.len);
	if (io_read_file(AT_FDCWD, name, &text, SETTINGS_BYTES, err) < 0)
		return err_note(err, "unable to configure the engine with file %s", name);
	if (!span_trim(buf_span(&text)).len)
		return 0;
	if (json_parse(&o->arena, arena_span(&o->arena, buf_span(&text)), 0, NULL, &o->settings, err) < 0)
		return err_note(err, "unable to configure the engine with file %s", name);
	if (o->settings.kind != JSON_OBJECT)
		return err_set(err, ERR_INVALID, "unable to configure the engine with file %s: it is no object", name);
	return 0;
}

/* dockerd's settings that change what a container may do or where data go, and that are not honoured: running on without them would
 * be worse than not to start. Empty and false values ask for nothing. */
static int refused_check(const struct json *settings, struct err *err)
{
	static const struct {
		const char *key, *why;
	} rows[] = {
		{ "userns-remap", "containers run in the host's user namespace; give them a user of their own (docker run --user)" },
		{ "storage-opts", "the storage drivers overlay2 and vfs take none here" },
		{ "selinux-enabled", "containers get no SELinux labels" },
		{ "authorization-plugins", "plugins are not run: requests would pass unchecked" },
		{ "runtimes", "containers are run by the engine's own runtime, also under the names runc and knarr" },
		{ "cdi-spec-dirs", "devices by CDI are not supported" },
		{ "metrics-addr", "metrics are served at /metrics of the engine's own sockets" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct json *v = json_get(settings, span_of(rows[i].key));
		bool asks = v && v->kind != JSON_NULL && (v->kind == JSON_BOOL ? v->b : v->n > 0);
		if (asks)
			return err_set(err, ERR_USAGE, "%s: not supported: %s", rows[i].key, rows[i].why);
	}
	return 0;
}

int engine_options_parse(struct engine_options *o, int argc, char **argv, bool *out_help, struct err *err)
{
	struct json flagged = json_object();
	struct span file = SPAN_EMPTY;
	int rc;
	*out_help = false;
	for (int i = 0; i < argc; i++) {
		struct span word = span_of(argv[i]), name, value = SPAN_EMPTY;
		const struct flag *f;
		if (span_is(word, "--help") || span_is(word, "-h")) {
			*out_help = true;
			return 0;
		}
		if (span_starts(word, SPAN("--")) && word.len > 2) {
			bool has = span_split(span_from(word, 2), '=', &name, &value);
			f = flag_find(name, 0);
			if (!f)
				return err_set(err, ERR_USAGE, "unknown flag: --%.*s", SPAN_ARG(name));
			if (has && !value.ptr)
				value = SPAN("");
			else if (!has)
				value = SPAN_EMPTY;
		} else if (word.len >= 2 && word.ptr[0] == '-') {
			f = flag_find(SPAN_EMPTY, word.ptr[1]);
			if (!f)
				return err_set(err, ERR_USAGE, "unknown shorthand flag: '%c' in %.*s", word.ptr[1], SPAN_ARG(word));
			if (word.len > 2)
				value = span_from(word, word.ptr[2] == '=' ? 3 : 2);
		} else {
			return err_set(err, ERR_USAGE, "\"engine\" accepts no arguments: %.*s", SPAN_ARG(word));
		}
		bool truth = f->kind == TRUTH || f->kind == OWN_TRUTH;
		if (!value.ptr && !truth) {
			if (i + 1 == argc)
				return err_set(err, ERR_USAGE, "flag needs an argument: --%s", f->name);
			value = span_of(argv[++i]);
		}
		if ((rc = flag_set(o, f, value, &flagged, &file, err)) < 0)
			return rc;
	}
	if (file.len && (rc = file_read(o, file, err)) < 0)
		return rc;
	JSON_EACH_MEMBER(&flagged, m) {
		if (json_member(&o->settings, json_key(m)) && m->value.kind != JSON_ARRAY)
			return err_set(err, ERR_USAGE,
				"the following directives are specified both as a flag and in the configuration file: %.*s",
				SPAN_ARG(json_key(m)));
		struct json *is = json_get(&o->settings, json_key(m));
		if (json_is(is, JSON_ARRAY)) {
			JSON_EACH_ITEM(&m->value, i)
				(void)json_push(&o->arena, is, *i);
		} else {
			(void)json_set(&o->arena, &o->settings, json_key(m), m->value);
		}
	}
	if ((rc = file_own(o, err)) < 0 || (rc = refused_check(&o->settings, err)) < 0)
		return rc;
	enum log_level level;
	if (!span_is(o->log_level, "fatal") && !log_level_parse(o->log_level, &level))
		return err_set(err, ERR_USAGE, "unable to parse logging level: %.*s", SPAN_ARG(o->log_level));
	if (!o->data_dir.len)
		o->data_dir = getenv("KNARR_DATA_DIR") ? arena_span(&o->arena, span_of(getenv("KNARR_DATA_DIR")))
			: SPAN("/var/lib/knarr");
	if (o->data_dir.ptr[0] != '/')
		return err_set(err, ERR_USAGE, "--data-dir %.*s: an absolute path is needed", SPAN_ARG(o->data_dir));
	if (!o->run_dir.len)
		o->run_dir = span_is(o->data_dir, "/var/lib/knarr") ? SPAN("/run/knarr")
			: arena_printf(&o->arena, "%.*s/run", SPAN_ARG(o->data_dir));
	if (o->run_dir.ptr[0] != '/')
		return err_set(err, ERR_USAGE, "--exec-root %.*s: an absolute path is needed", SPAN_ARG(o->run_dir));
	return 0;
}
