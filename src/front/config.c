/* config: the kubeconfig looked at and changed; version and cluster-info, which tell of client and server.
 *
 * What is shown is the files merged (the first that has a name wins); what is changed is the file that has the entry, or
 * the first. A
 * file is replaced whole, by rename. */
#include "front/private.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (8u << 20)
#define FILES_MAX 32

struct config_file {
	const char *path;
	struct json tree; /* an object */
	bool exists;
};
struct config {
	struct front *f;
	struct config_file files[FILES_MAX];
	unsigned n;
	struct span output;
	bool raw, minify, current, no_headers;
	struct json whole;             /* merged */
};

static int read_one(struct config *c, const char *path, bool must, struct err *err)
{
	struct config_file *file = &c->files[c->n];
	auto_buf struct buf text = {};
	auto_err struct err why = ERR_INIT;
	if (c->n == FILES_MAX)
		return err_set(err, ERR_INVALID, "more than %d kubeconfig files", FILES_MAX);
	*file = (struct config_file){ .path = path, .tree = json_object() };
	int rc = io_read_file(AT_FDCWD, path, &text, FILE_MAX, &why);
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return err_move(err, &why);
	file->exists = rc == 0;
	if (rc == 0 && text.len) {
		rc = yaml_parse(&c->f->arena, arena_span(&c->f->arena, buf_span(&text)), 0, NULL, &file->tree, err);
		if (rc < 0)
			return err_note(err, "error loading config file \"%s\"", path);
	}
	if (!json_is(&file->tree, JSON_OBJECT))
		file->tree = json_object();
	c->n++;
	return 0;
}

/* Those of --kubeconfig, $KUBECONFIG or ~/.kube/config, merged. */
static int read_files(struct config *c, struct err *err)
{
	static const char *const lists[] = { "clusters", "contexts", "users" };
	struct arena *a = &c->f->arena;
	const char *env = getenv("KUBECONFIG"), *home = getenv("HOME");
	int rc = 0;
	if (c->f->globals.kubeconfig.len) {
		rc = read_one(c, arena_cstr(a, c->f->globals.kubeconfig), false, err);
	} else if (env && *env) {
		struct span rest = span_of(env), path;
		while (rc == 0 && span_cut(&rest, ':', &path))
			if (path.len)
				rc = read_one(c, arena_cstr(a, path), false, err);
	}
	if (rc == 0 && !c->n)
		rc = read_one(c, arena_printf(a, "%s/.kube/config", home ? home : "").ptr, false, err);
	if (rc < 0)
		return rc;
	struct span current = SPAN_EMPTY;
	c->whole = json_object();
	json_setl(a, &c->whole, "apiVersion", json_cstr("v1"));
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct json all = json_array();
		for (unsigned k = 0; k < c->n; k++)
			JSON_EACH_ITEM(json_get(&c->files[k].tree, span_of(lists[i])), e) {
				bool seen = false;
				JSON_EACH_ITEM(&all, other)
					seen = seen || span_eq(json_span(json_getl(other, "name")), json_span(json_getl(e, "name")));
				if (!seen)
					json_push(a, &all, json_copy(a, e));
			}
		json_set(a, &c->whole, span_of(lists[i]), all.n ? all : JSON_NULL_VALUE);
	}
	for (unsigned k = 0; k < c->n && !current.len; k++)
		current = json_span(json_getl(&c->files[k].tree, "current-context"));
	if (c->f->globals.context.len)
		current = c->f->globals.context;
	json_setl(a, &c->whole, "current-context", json_str(current));
	json_setl(a, &c->whole, "kind", json_cstr("Config"));
	const struct json *preferences = c->n ? json_getl(&c->files[0].tree, "preferences") : NULL;
	json_setl(a, &c->whole, "preferences", json_is(preferences, JSON_OBJECT) ? *preferences : json_object());
	return 0;
}

static struct json *entry(struct json *config, const char *list, struct span name)
{
	JSON_EACH_ITEM(json_get(config, span_of(list)), e)
		if (span_eq(json_span(json_getl(e, "name")), name))
			return e;
	return NULL;
}

static struct span current_of(struct config *c)
{
	return json_span(json_getl(&c->whole, "current-context"));
}

static int name_cmp(const void *pa, const void *pb)
{
	return span_cmp(json_span(json_getl((const struct json *)pa, "name")), json_span(json_getl((const struct json *)pb, "name")));
}

/* As clientcmd writes a file: members and entries in the order of their names. The file keeps its mode and its owner (root may
 * change somebody else's), and a link to it stays one. */
static int write_file(struct config *c, struct config_file *file, struct err *err)
{
	static const char *const lists[] = { "clusters", "contexts", "users" };
	struct arena *a = &c->f->arena;
	auto_buf struct buf text = {};
	char real[PATH_MAX];
	const char *path = realpath(file->path, real) ? real : file->path;
	struct stat st = { .st_mode = 0600, .st_uid = geteuid(), .st_gid = getegid() };
	(void)stat(path, &st); /* not there: it will be ours alone */
	json_setl(a, &file->tree, "apiVersion", json_cstr("v1"));
	json_setl(a, &file->tree, "kind", json_cstr("Config"));
	if (!json_getl(&file->tree, "current-context"))
		json_setl(a, &file->tree, "current-context", json_cstr(""));
	if (!json_getl(&file->tree, "preferences"))
		json_setl(a, &file->tree, "preferences", json_object());
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct json *list = json_get(&file->tree, span_of(lists[i]));
		if (!json_is(list, JSON_ARRAY) || !list->n)
			json_set(a, &file->tree, span_of(lists[i]), JSON_NULL_VALUE);
		else
			qsort(list->items, list->n, sizeof(*list->items), name_cmp);
	}
	yaml_write(&text, &file->tree);
	const char *slash = strrchr(path, '/');
	if (slash && slash != path) {
		int rc = io_mkdirs(AT_FDCWD, arena_cstr(a, span_make(path, (size_t)(slash - path))), 0755, err);
		if (rc < 0)
			return rc;
	}
	int rc = io_write_file(AT_FDCWD, path, buf_span(&text), st.st_mode & 0777, err);
	if (rc < 0)
		return err_note(err, "%s", path);
	return geteuid() == 0 && lchown(path, st.st_uid, st.st_gid) < 0 ? err_sys(err, "%s", path) : 0;
}

/* The file that has an entry of the list, or the first. */
static struct config_file *file_of(struct config *c, const char *list, struct span name)
{
	for (unsigned i = 0; i < c->n; i++)
		if (entry(&c->files[i].tree, list, name))
			return &c->files[i];
	return &c->files[0];
}

/* ---- looking */

/* What no screen should show. */
static void redact(struct config *c)
{
	static const struct { const char *list, *inner, *field, *shown; } rows[] = {
		{ "clusters", "cluster", "certificate-authority-data", "DATA+OMITTED" },
		{ "users", "user", "client-certificate-data", "DATA+OMITTED" }, { "users", "user", "client-key-data", "DATA+OMITTED" },
		{ "users", "user", "token", "REDACTED" }, { "users", "user", "password", "REDACTED" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		JSON_EACH_ITEM(json_get(&c->whole, span_of(rows[i].list)), e) {
			struct json *v = json_get(json_get(e, span_of(rows[i].inner)), span_of(rows[i].field));
			if (json_span(v).len)
				*v = json_cstr(rows[i].shown);
		}
}

/* The current context with what it names, and nothing else. */
static int minify(struct config *c, struct err *err)
{
	static const struct { const char *list, *field; } rows[] = { { "clusters", "cluster" }, { "users", "user" } };
	struct arena *a = &c->f->arena;
	struct json *context = entry(&c->whole, "contexts", current_of(c));
	if (!current_of(c).len)
		return err_set(err, ERR_NOT_FOUND, "current-context must exist in order to minify");
	if (!context)
		return err_set(err, ERR_NOT_FOUND, "cannot locate context %.*s", SPAN_ARG(current_of(c)));
	struct json one = *context;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *e = entry(&c->whole, rows[i].list, json_span(json_path(&one, "context", rows[i].field, NULL)));
		struct json list = json_array();
		if (e)
			json_push(a, &list, *e);
		json_set(a, &c->whole, span_of(rows[i].list), e ? list : JSON_NULL_VALUE);
	}
	struct json list = json_array();
	json_push(a, &list, one);
	json_setl(a, &c->whole, "contexts", list);
	return 0;
}

/* As Go prints the structs: their fields' order, not that of names. */
static struct json in_order(struct arena *a, const struct json *v)
{
	static const char *const order[] = {
		"kind", "apiVersion", "name", "preferences", "clusters", "users", "contexts", "current-context",
		"server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority", "certificate-authority-data", "proxy-url",
		"disable-compression", "client-certificate", "client-certificate-data", "client-key", "client-key-data", "token",
		"tokenFile",
		"as", "as-uid", "as-groups", "as-user-extra", "username", "password", "auth-provider", "exec",
		"cluster", "user", "namespace", "extensions",
	};
	struct json out = *v;
	if (json_is(v, JSON_OBJECT)) {
		out = json_object();
		for (size_t i = 0; i < ARRAY_LEN(order); i++) {
			const struct json *m = json_get(v, span_of(order[i]));
			if (m)
				json_set(a, &out, span_of(order[i]), *m);
		}
		JSON_EACH_MEMBER(v, m)
			if (!json_get(&out, json_key(m)))
				json_set(a, &out, json_key(m), m->value);
	}
	return out;
}

/* The kubeconfig, its entries and what is in them: three levels that have fields. */
static struct json as_structs(struct arena *a, const struct json *config)
{
	struct json out = in_order(a, config);
	JSON_EACH_MEMBER(&out, list)
		JSON_EACH_ITEM(&list->value, e) {
			*e = in_order(a, e);
			JSON_EACH_MEMBER(e, inner)
				inner->value = in_order(a, &inner->value);
		}
	return out;
}

static int view(struct config *c, const struct front_words *words, struct err *err)
{
	struct buf *out = &c->f->out;
	struct span path = SPAN("jsonpath=");
	if (words->n)
		return err_set(err, ERR_USAGE, "unexpected arguments: [%.*s]", SPAN_ARG(words->items[0]));
	int rc = c->minify ? minify(c, err) : 0;
	if (rc < 0)
		return rc;
	if (!c->raw)
		redact(c);
	if (span_is(c->output, "json")) {
		const struct json shown = as_structs(&c->f->arena, &c->whole);
		json_write(out, &shown, JSON_PRETTY4 | JSON_HTML);
		buf_chr(out, '\n');
	} else if (span_starts(c->output, path)) {
		struct api_jsonpath *p;
		rc = api_jsonpath_parse(&c->f->arena, span_from(c->output, path.len), &p, err);
		return rc < 0 ? rc : api_jsonpath_print(p, &c->whole, API_JSONPATH_MISSING, out, err);
	} else if (!c->output.len || span_is(c->output, "yaml")) {
		yaml_write(out, &c->whole);
	} else {
		return err_set(err, ERR_USAGE, "unable to match a printer suitable for the output format \"%.*s\", allowed formats are: "
			       "json,jsonpath,yaml", SPAN_ARG(c->output));
	}
	return 0;
}

static int current_context(struct config *c, const struct front_words *words, struct err *err)
{
	if (!current_of(c).len)
		return err_set(err, ERR_NOT_FOUND, "current-context is not set");
	buf_printf(&c->f->out, "%.*s\n", SPAN_ARG(current_of(c)));
	return 0;
}

static struct json sorted(struct config *c, const char *list)
{
	struct json all = json_copy(&c->f->arena, json_get(&c->whole, span_of(list)) ?: &JSON_NULL_VALUE);
	if (json_is(&all, JSON_ARRAY))
		qsort(all.items, all.n, sizeof(*all.items), name_cmp);
	return all;
}

static int get_contexts(struct config *c, const struct front_words *words, struct err *err)
{
	static const char *const heads[] = { "CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE" };
	struct json all = sorted(c, "contexts");
	struct front_columns columns = {};
	bool names = span_is(c->output, "name");
	if (c->output.len && !names)
		return err_set(err, ERR_USAGE, "output must be one of '' or 'name': %.*s", SPAN_ARG(c->output));
	for (size_t i = 0; !names && !c->no_headers && i < ARRAY_LEN(heads); i++)
		front_columns_cell(&columns, span_of(heads[i]), i + 1 == ARRAY_LEN(heads));
	JSON_EACH_ITEM(&all, e) {
		const struct json *inner = json_getl(e, "context");
		struct span name = json_span(json_getl(e, "name"));
		bool wanted = !words->n;
		for (unsigned i = 0; i < words->n; i++)
			wanted = wanted || span_eq(words->items[i], name);
		if (!wanted)
			continue;
		if (names) {
			buf_printf(&c->f->out, "%.*s\n", SPAN_ARG(name));
			continue;
		}
		front_columns_cell(&columns, span_eq(name, current_of(c)) ? SPAN("*") : SPAN_EMPTY, false);
		front_columns_cell(&columns, name, false);
		front_columns_cell(&columns, json_span(json_getl(inner, "cluster")), false);
		front_columns_cell(&columns, json_span(json_getl(inner, "user")), false);
		front_columns_cell(&columns, json_span(json_getl(inner, "namespace")), true);
	}
	front_columns_flush(&columns, &c->f->out);
	front_columns_done(&columns);
	for (unsigned i = 0; i < words->n; i++)
		if (!entry(&c->whole, "contexts", words->items[i])) {
			err_set(err, ERR_NOT_FOUND, "context %.*s not found", SPAN_ARG(words->items[i]));
			(void)front_complain(c->f, err, NULL);
		}
	return 0;
}

static int get_names(struct config *c, const char *list)
{
	struct json all = sorted(c, list);
	buf_str(&c->f->out, "NAME\n");
	JSON_EACH_ITEM(&all, e)
		buf_printf(&c->f->out, "%.*s\n", SPAN_ARG(json_span(json_getl(e, "name"))));
	return 0;
}

static int get_clusters(struct config *c, const struct front_words *words, struct err *err)
{
	return get_names(c, "clusters");
}

static int get_users(struct config *c, const struct front_words *words, struct err *err)
{
	return get_names(c, "users");
}

/* ---- changing */

static int use_context(struct config *c, const struct front_words *words, struct err *err)
{
	if (words->n != 1)
		return err_set(err, ERR_USAGE, "Unexpected args: a context's name is needed");
	struct span name = words->items[0];
	if (!entry(&c->whole, "contexts", name))
		return err_set(err, ERR_NOT_FOUND, "no context exists with the name: \"%.*s\"", SPAN_ARG(name));
	/* The file that says which is current goes on saying it. */
	struct config_file *file = &c->files[0];
	for (unsigned i = c->n; i-- > 0;)
		if (json_span(json_getl(&c->files[i].tree, "current-context")).len)
			file = &c->files[i];
	json_setl(&c->f->arena, &file->tree, "current-context", json_str(name));
	int rc = write_file(c, file, err);
	if (rc == 0)
		buf_printf(&c->f->out, "Switched to context \"%.*s\".\n", SPAN_ARG(name));
	return rc;
}

static int set_context(struct config *c, const struct front_words *words, struct err *err)
{
	struct arena *a = &c->f->arena;
	if (c->current && words->n)
		return err_set(err, ERR_USAGE, "you cannot specify both a context name and --current");
	if (!c->current && words->n != 1)
		return err_set(err, ERR_USAGE, "you must specify a non-empty context name or --current");
	struct span name = c->current ? current_of(c) : words->items[0];
	if (!name.len)
		return err_set(err, ERR_USAGE, c->current ? "no current context is set"
			: "you must specify a non-empty context name or --current");
	struct config_file *file = file_of(c, "contexts", name);
	struct json *e = entry(&file->tree, "contexts", name), *list = json_getl(&file->tree, "contexts");
	bool made = !e;
	if (!json_is(list, JSON_ARRAY))
		list = json_setl(a, &file->tree, "contexts", json_array());
	if (!e) {
		e = json_push(a, list, json_object());
		json_setl(a, e, "context", json_object());
		json_setl(a, e, "name", json_str(name));
	}
	struct json *inner = json_getl(e, "context");
	if (!json_is(inner, JSON_OBJECT))
		inner = json_setl(a, e, "context", json_object());
	const struct { const char *field; struct span value; } rows[] = { { "cluster", c->f->globals.cluster }, { "user",
		c->f->globals.user },
									   { "namespace", c->f->globals.ns } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].value.ptr && rows[i].value.len)
			json_set(a, inner, span_of(rows[i].field), json_str(rows[i].value));
		else if (rows[i].value.ptr)
			(void)json_remove(inner, span_of(rows[i].field));
	int rc = write_file(c, file, err);
	if (rc == 0)
		buf_printf(&c->f->out, "Context \"%.*s\" %s.\n", SPAN_ARG(name), made ? "created" : "modified");
	return rc;
}

static int delete_context(struct config *c, const struct front_words *words, struct err *err)
{
	if (words->n != 1)
		return err_set(err, ERR_USAGE, "Unexpected args: a context's name is needed");
	struct span name = words->items[0];
	struct config_file *file = file_of(c, "contexts", name);
	struct json *e = entry(&file->tree, "contexts", name), *list = json_getl(&file->tree, "contexts");
	if (!e)
		return err_set(err, ERR_NOT_FOUND, "cannot delete context %.*s, not in %s", SPAN_ARG(name), file->path);
	if (span_eq(name, current_of(c)))
		(void)fprintf(stderr,
			"warning: this removed your active context, use \"kubectl config use-context\" to select a different one\n");
	json_remove_at(list, (uint32_t)(e - list->items));
	int rc = write_file(c, file, err);
	if (rc == 0)
		buf_printf(&c->f->out, "deleted context %.*s from %s\n", SPAN_ARG(name), file->path);
	return rc;
}

/* ---- the verbs */

int front_config_main(struct front *f, int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(struct config *c, const struct front_words *words, struct err *err);
	} actions[] = {
		{ "current-context", current_context }, { "delete-context", delete_context }, { "get-clusters", get_clusters },
		{ "get-contexts", get_contexts }, { "get-users", get_users }, { "set-context", set_context }, { "use", use_context },
		{ "use-context", use_context }, { "view", view },
	};
	auto_err struct err err = ERR_INIT;
	struct config c = { .f = f };
	struct front_args args;
	const struct front_flag flags[] = {
		{ "output", 'o', FRONT_FLAG_TEXT, &c.output, NULL, "view: yaml, json, jsonpath=...; get-contexts: name" },
		{ "raw", 0, FRONT_FLAG_BOOL, &c.raw, NULL, "view: with certificates, keys and tokens" },
		{ "minify", 0, FRONT_FLAG_BOOL, &c.minify, NULL, "view: only what the current context needs" },
		{ "current", 0, FRONT_FLAG_BOOL, &c.current, NULL, "set-context: the current one" },
		{ "no-headers", 0, FRONT_FLAG_BOOL, &c.no_headers, NULL, "get-contexts: no line of column names" },
		{},
	};
	int rc = front_verb_args(f, "config",
		"(current-context | delete-context | get-clusters | get-contexts | get-users | set-context | "
				 "use-context | view) [NAME] [flags]", "Looks at and changes the kubeconfig.", flags, argc, argv, &args);
	if (rc)
		return rc < 0;
	rc = err_set(&err, ERR_USAGE, "unknown command for \"kubectl config\"; see 'kubectl config -h'");
	for (size_t i = 0; args.words.n && i < ARRAY_LEN(actions); i++)
		if (span_is(args.words.items[0], actions[i].name)) {
			const struct front_words rest = { args.words.items + 1, args.words.n - 1 };
			err_done(&err);
			rc = read_files(&c, &err);
			if (rc == 0)
				rc = actions[i].run(&c, &rest, &err);
		}
	if (rc < 0)
		(void)front_complain(f, &err, NULL);
	return f->complaints > 0;
}

int front_version_main(struct front *f, int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct front_args args;
	struct span output = SPAN_EMPTY;
	struct json server = JSON_NULL_VALUE, client = json_object(), all = json_object();
	bool only = false;
	const struct front_flag flags[] = {
		{ "output", 'o', FRONT_FLAG_TEXT, &output, NULL, "yaml or json" },
		{ "client", 0, FRONT_FLAG_BOOL, &only, NULL, "ask no server" },
		{},
	};
	int rc = front_verb_args(f, "version", "[flags]", "Shows the versions of client and server.", flags, argc, argv, &args);
	if (rc)
		return rc < 0;
	if (output.len && !span_is(output, "yaml") && !span_is(output, "json")) {
		err_set(&err, ERR_USAGE, "--output must be 'yaml' or 'json'");
		return front_complain(f, &err, NULL) < 0;
	}
	if (!only) {
		rc = front_connect(f, &err);
		if (rc == 0)
			rc = front_ask(f, &(struct front_request){ .path = SPAN("/version") }, &server, &err);
	}
	json_setl(&f->arena, &client, "major", json_cstr("1"));
	json_setl(&f->arena, &client, "minor", json_cstr("33"));
	json_setl(&f->arena, &client, "gitVersion", json_cstr("v1.33.0+knarr." KNARR_VERSION));
	json_setl(&f->arena, &client, "gitCommit", json_cstr(""));
	json_setl(&f->arena, &client, "gitTreeState", json_cstr("clean"));
	json_setl(&f->arena, &client, "buildDate", json_cstr("1970-01-01T00:00:00Z"));
	json_setl(&f->arena, &client, "goVersion", json_cstr(""));
	json_setl(&f->arena, &client, "compiler", json_cstr("gcc"));
	json_setl(&f->arena, &client, "platform", json_cstr("linux/amd64"));
	json_setl(&f->arena, &all, "clientVersion", client);
	if (rc == 0 && !only)
		json_setl(&f->arena, &all, "serverVersion", server);
	if (span_is(output, "json")) {
		json_write(&f->out, &all, JSON_PRETTY | JSON_HTML);
		buf_chr(&f->out, '\n');
	} else if (output.len) {
		yaml_write(&f->out, &all);
	} else {
		buf_str(&f->out, "Client Version: v1.33.0+knarr." KNARR_VERSION "\n");
		if (rc == 0 && !only)
			buf_printf(&f->out, "Server Version: %.*s\n", SPAN_ARG(json_span(json_getl(&server, "gitVersion"))));
	}
	if (rc < 0)
		(void)front_complain(f, &err, NULL);
	return f->complaints > 0;
}

int front_cluster_info_main(struct front *f, int argc, char **argv)
{
	static const struct front_flag flags[] = { {} };
	auto_err struct err err = ERR_INIT;
	struct front_args args;
	struct json list;
	bool coloured = isatty(STDOUT_FILENO);
	const char *on[] = { coloured ? "\033[0;32m" : "", coloured ? "\033[0;33m" : "", coloured ? "\033[0m" : "" };
	int rc = front_verb_args(f, "cluster-info", "", "Shows where the control plane and the services of the cluster are.", flags,
		argc, argv,
				 &args);
	if (rc)
		return rc < 0;
	rc = front_connect(f, &err);
	if (rc == 0)
		rc = front_ask(f, &(struct front_request){ .path = SPAN("/api/v1/namespaces/kube-system/services"
				"?labelSelector=kubernetes.io%2Fcluster-service%3Dtrue") }, &list, &err);
	if (rc < 0)
		return front_complain(f, &err, NULL) < 0;
	buf_printf(&f->out, "%sKubernetes control plane%s is running at %s%.*s%s\n", on[0], on[2], on[1], SPAN_ARG(f->config.server),
		on[2]);
	JSON_EACH_ITEM(json_getl(&list, "items"), s) {
		struct span name = json_span(json_path(s, "metadata", "name", NULL)), shown = json_span(json_path(s, "metadata", "labels",
			"kubernetes.io/name", NULL));
		const struct json *ports = json_path(s, "spec", "ports", NULL);
		struct span port = json_is(ports, JSON_ARRAY) && ports->n ? json_span(json_getl(&ports->items[0], "name")) : SPAN_EMPTY;
		buf_printf(&f->out, "%s%.*s%s is running at %s%.*s/api/v1/namespaces/kube-system/services/%.*s%s%.*s/proxy%s\n", on[0],
			   SPAN_ARG(shown.len ? shown : name), on[2], on[1], SPAN_ARG(f->config.server), SPAN_ARG(name), port.len ? ":" : "",
			   SPAN_ARG(port), on[2]);
	}
	buf_str(&f->out, "\nTo further debug and diagnose cluster problems, use 'kubectl cluster-info dump'.\n");
	return 0;
}
