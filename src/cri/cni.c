/* A list of plugins over a sandbox (CNI specification 1.1.0, section 3): each gets the one before's result; DEL goes backwards. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "cri/cni.h"

#define RECORD_BYTES (8u << 20)

static struct span str(const struct json *o, const char *key)
{
	return json_span(json_get(o, span_of(key)));
}

/* ---- the record */

static const char *record_dir(const struct cri_paths *p, const char *id, struct arena *a)
{
	return arena_printf(a, "%s/%s", p->sandboxes, id).ptr;
}

static int record_write(const struct cri_paths *p, const char *id, const struct json *v, struct arena *a, struct err *err)
{
	auto_buf struct buf text = {};
	const char *path = record_dir(p, id, a);
	int rc = io_mkdirs(AT_FDCWD, path, 0700, err);
	if (rc < 0)
		return err_note(err, "the sandbox' folder");
	auto_fd int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "open %s", path);
	json_write(&text, v, 0);
	rc = io_write_file(dir, "network.json", buf_span(&text), 0600, err);
	/* The folder's own name, too, must survive a power cut: it says that DEL is owed. */
	auto_fd int above = rc < 0 ? -1 : open(p->sandboxes, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rc == 0 && (above < 0 || fsync(above) < 0))
		rc = err_sys(err, "sync %s", p->sandboxes);
	return rc;
}

static int result_write(const struct cri_paths *p, const char *id, const struct json *v, struct arena *a, struct err *err)
{
	auto_buf struct buf text = {};
	const struct json nothing = json_object(); /* a list without plugins has run, too */
	json_write(&text, v->kind == JSON_NULL ? &nothing : v, 0);
	return io_write_file_lazy(AT_FDCWD, arena_printf(a, "%s/result.json", record_dir(p, id, a)).ptr, buf_span(&text), 0600, err);
}

/* With its result as member Result, if there is one. */
static int record_read(const struct cri_paths *p, const char *id, struct arena *a, struct json *out, struct err *err)
{
	auto_buf struct buf text = {}, said = {};
	struct json result;
	auto_fd int dir = open(record_dir(p, id, a), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "open the sandbox' folder");
	int rc = io_read_file(dir, "network.json", &text, RECORD_BYTES, err);
	rc = rc < 0 ? rc : json_parse(a, arena_span(a, buf_span(&text)), 0, NULL, out, err);
	/* One that a power cut tore is none. */
	if (rc == 0 && io_read_file(dir, "result.json", &said, RECORD_BYTES, NULL) == 0 && said.len &&
	    json_parse(a, arena_span(a, buf_span(&said)), 0, NULL, &result, NULL) == 0)
		(void)json_setl(a, out, "Result", result);
	return rc;
}

static int record_remove(const struct cri_paths *p, const char *id, struct arena *a, struct err *err)
{
	const char *path = record_dir(p, id, a);
	if (unlink(arena_printf(a, "%s/network.json", path).ptr) < 0 && errno != ENOENT)
		return err_sys(err, "remove the sandbox' network record");
	/* A temporary file that a crash left is all else that can be in it. */
	DIR *list = opendir(path);
	struct dirent *d;
	while (list && (d = readdir(list)))
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			(void)unlinkat(dirfd(list), d->d_name, 0);
	if (list)
		closedir(list);
	return rmdir(path) < 0 && errno != ENOENT ? err_sys(err, "remove %s", path) : 0;
}

static const char *netns_path(const struct cri_paths *p, const char *id, struct arena *a)
{
	return arena_printf(a, "%s/%s", p->netns, id).ptr;
}

/* ---- configurations and results: pure */

struct json cri_net_plugin_config(struct arena *a, const struct json *list, const struct json *plugin,
	const struct json *capabilities, const struct json *result)
{
	struct json v = json_copy(a, plugin), runtime = json_object();
	(void)json_setl(a, &v, "name", json_str(str(list, "name")));
	(void)json_setl(a, &v, "cniVersion", json_str(str(list, "cniVersion")));
	/* What the plugin says that it can, and we have. */
	JSON_EACH_MEMBER (json_getl(plugin, "capabilities"), m) {
		const struct json *have = json_get(capabilities, json_key(m));
		if (json_truth(&m->value, false) && have)
			(void)json_add(a, &runtime, json_key(m), *have);
	}
	(void)json_remove(&v, SPAN("capabilities"));
	if (runtime.n)
		(void)json_setl(a, &v, "runtimeConfig", runtime);
	if (result && result->kind == JSON_OBJECT)
		(void)json_setl(a, &v, "prevResult", *result);
	return v;
}

struct json cri_ip_ranges(struct arena *a, struct span cidrs)
{
	struct json all = json_array();
	struct span rest = arena_span(a, cidrs), one;
	while (span_cut(&rest, ',', &one)) {
		struct json range = json_object(), set = json_array();
		(void)json_setl(a, &range, "subnet", json_str(span_trim(one)));
		(void)json_push(a, &set, range);
		(void)json_push(a, &all, set);
	}
	return all;
}

/* Whose address it is: those of interfaces outside of the sandbox do not count. */
static bool is_inside(const struct json *result, const struct json *ip)
{
	const struct json *interfaces = json_getl(result, "interfaces"), *index = json_getl(ip, "interface");
	int64_t i = json_i64(index, -1);
	if (!json_is_number(index) || !json_is(interfaces, JSON_ARRAY) || i < 0 || i >= interfaces->n)
		return true;
	return str(&interfaces->items[i], "sandbox").len > 0;
}

unsigned cri_net_ips(const struct json *result, struct span *out, unsigned most)
{
	unsigned n = 0;
	for (int v6 = 0; v6 < 2; v6++) {
		JSON_EACH_ITEM (json_getl(result, "ips"), ip) {
			struct span address, prefix;
			(void)span_split(str(ip, "address"), '/', &address, &prefix);
			if (n < most && address.len && (span_chr(address, ':') >= 0) == (v6 == 1) && is_inside(result, ip))
				out[n++] = address;
		}
	}
	return n;
}

/* "1.0.0" is newer than "0.4.0". */
static bool can_check(const struct json *list)
{
	struct span v = str(list, "cniVersion");
	return !span_starts(v, SPAN("0.1.")) && !span_starts(v, SPAN("0.2.")) && !span_starts(v, SPAN("0.3.")) && v.len &&
	       !json_truth(json_getl(list, "disableCheck"), false);
}

/* DEL and CHECK get the cached result since 0.4.0. */
static bool wants_result(const struct json *list)
{
	struct span v = str(list, "cniVersion");
	return v.len && !span_starts(v, SPAN("0.1.")) && !span_starts(v, SPAN("0.2.")) && !span_starts(v, SPAN("0.3."));
}

/* ---- runs */

static int each(const struct cri_paths *p, const char *id, const char *command, const struct json *record, bool backwards,
	bool force, struct arena *a, struct json *result, struct err *err)
{
	const struct json *list = json_getl(record, "Config"), *plugins = json_getl(list, "plugins");
	const char *netns = netns_path(p, id, a);
	bool add = !strcmp(command, "ADD");
	uint32_t n = json_is(plugins, JSON_ARRAY) ? plugins->n : 0;
	int first = 0, lock = cri_alone_begin(record_dir(p, id, a), id, p->ending, err);
	if (lock < 0)
		return lock;
	for (uint32_t i = 0; i < n; i++) {
		const struct json *plugin = &plugins->items[backwards ? n - 1 - i : i];
		struct json got;
		struct json config = cri_net_plugin_config(a, list, plugin, json_getl(record, "Capabilities"),
			add || wants_result(list) ? result : NULL);
		const struct cri_plugin run = { .command = command, .id = id, .netns = cri_netns_there(netns) ? netns : "",
			.args = str(record, "Args"), .folders = span_of(p->bin), .ending = p->ending, .lock = lock, .config = &config };
		auto_err struct err why = ERR_INIT;
		int rc = cri_plugin_run(&run, a, &got, &why);
		if (rc == 0 && add)
			*result = got;
		FAILPOINT("cri.net.plugin");
		if (rc < 0 && force) { /* the others may still give back what they hold */
			log_warn("a network plugin failed; what it holds may stay", kv_str("sandbox", id), kv_err(&why));
			if (!first && rc != -ERR_NOT_FOUND)
				first = err_move(err, &why);
		} else if (rc < 0) {
			first = err_move(err, &why);
			break;
		}
	}
	cri_alone_end(&lock);
	return first;
}

int cri_net_add(const struct cri_paths *p, const struct cri_net_wish *w, struct arena *a, struct json *out_result, struct err *err)
{
	struct json record = json_object(), result = JSON_NULL_VALUE;
	(void)json_setl(a, &record, "Config", w->config);
	(void)json_setl(a, &record, "Args", json_str(w->args));
	(void)json_setl(a, &record, "Capabilities", w->capabilities);
	int rc = record_write(p, w->id, &record, a, err);
	FAILPOINT("cri.net.intent");
	rc = rc < 0 ? rc : each(p, w->id, "ADD", &record, false, false, a, &result, err);
	FAILPOINT("cri.net.added");
	rc = rc < 0 ? rc : result_write(p, w->id, &result, a, err);
	if (rc < 0) {
		auto_err struct err why = ERR_INIT;
		if (cri_net_del(p, w->id, true, &why) < 0)
			log_warn("a sandbox' network is not taken back completely", kv_str("sandbox", w->id), kv_err(&why));
		return rc;
	}
	*out_result = result;
	return 0;
}

int cri_net_del(const struct cri_paths *p, const char *id, bool force, struct err *err)
{
	auto_arena struct arena a = {};
	auto_err struct err why = ERR_INIT;
	struct json record = JSON_NULL_VALUE, result = JSON_NULL_VALUE;
	int rc = record_read(p, id, &a, &record, &why);
	/* One that cannot be read says nothing that a plugin could be told. */
	if (rc < 0 && rc != -ERR_NOT_FOUND && !force)
		return err_move(err, &why);
	if (rc == 0) {
		const struct json *had = json_getl(&record, "Result");
		if (had)
			result = *had;
		rc = each(p, id, "DEL", &record, true, force, &a, &result, err);
		if (rc < 0)
			return rc;
	}
	FAILPOINT("cri.net.deleted");
	rc = cri_netns_remove(netns_path(p, id, &a), err);
	FAILPOINT("cri.net.unpinned");
	return rc < 0 ? rc : record_remove(p, id, &a, err);
}

int cri_net_check(const struct cri_paths *p, const char *id, struct err *err)
{
	auto_arena struct arena a = {};
	struct json record, result;
	int rc = record_read(p, id, &a, &record, err);
	const struct json *had = rc < 0 ? NULL : json_getl(&record, "Result");
	if (rc < 0 || !had || !can_check(json_getl(&record, "Config")))
		return rc;
	result = *had;
	return each(p, id, "CHECK", &record, false, false, &a, &result, err);
}

int cri_net_result(const struct cri_paths *p, const char *id, struct arena *a, struct json *out, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	struct json record;
	int rc = record_read(p, id, a, &record, &why);
	*out = JSON_NULL_VALUE;
	if (rc == -ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return err_move(err, &why);
	const struct json *had = json_getl(&record, "Result");
	if (had)
		*out = *had;
	return 0;
}
