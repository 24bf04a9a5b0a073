/* kubeconfig files: clusters, users and contexts by name, merged as client-go's clientcmd merges them, and what a pod finds in its
 * service account folder.
 *
 * Merging: for each name the first file that has it wins whole; current-context is the first that is not empty; a path in a file
 * counts from that file's folder. */
#include "client/private.h"

#include <fcntl.h>
#include "yaml/yaml.h"

#define FILE_MAX (8 << 20)
#define FILES_MAX 32
#define POD_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

struct file {
	struct json tree;
	const char *dir; /* "" = the working directory */
};

struct files {
	struct file at[FILES_MAX];
	unsigned n;
};

/* The entry of that name in a list of {name, WHAT: {...}}: its inner object, and the file it stands in. */
static const struct json *entry(const struct files *f, const char *list, const char *what, struct span name,
				const struct file **out_file)
{
	for (unsigned i = 0; i < f->n; i++) {
		JSON_EACH_ITEM(json_get(&f->at[i].tree, span_of(list)), e) {
			static const struct json nothing = { .kind = JSON_OBJECT };
			const struct json *inner = json_get(e, span_of(what));
			if (!span_eq(json_span(json_getl(e, "name")), name))
				continue;
			*out_file = &f->at[i];
			return json_is(inner, JSON_OBJECT) ? inner : &nothing;
		}
	}
	return NULL;
}

static struct span absolute(struct arena *a, const struct file *f, struct span path)
{
	if (!path.len || path.ptr[0] == '/' || !f->dir[0])
		return arena_span(a, path);
	return arena_printf(a, "%s/%.*s", f->dir, SPAN_ARG(path));
}

/* Noted even if it is not there: it may come. */
static void noted(struct client_config *c, struct span path)
{
	struct span *list = arena_alloc_n(&c->arena, c->n_files + 1, sizeof(*list));
	if (c->n_files)
		memcpy(list, c->files, c->n_files * sizeof(*list));
	list[c->n_files++] = arena_span(&c->arena, path);
	c->files = list;
}

static int read_text(struct client_config *c, struct span path, struct span *out, struct err *err)
{
	struct arena *a = &c->arena;
	auto_buf struct buf b = {};
	noted(c, path);
	int rc = io_read_file(AT_FDCWD, arena_cstr(a, path), &b, FILE_MAX, err);
	if (rc == 0)
		*out = arena_span(a, buf_span(&b));
	return rc;
}

/* NAME-data (base64) or the file that NAME says. */
static int material(struct client_config *c, const struct file *f, const struct json *o, const char *name, struct span *out,
		    struct err *err)
{
	struct arena *a = &c->arena;
	struct span data = json_span(json_get(o, arena_printf(a, "%s-data", name)));
	struct span path = json_span(json_get(o, span_of(name)));
	if (data.len) {
		auto_buf struct buf b = {};
		if (!base64_parse(&b, BASE64_STD, data))
			return err_set(err, ERR_INVALID, "%s-data of the kubeconfig is not base64", name);
		*out = arena_span(a, buf_span(&b));
		return 0;
	}
	if (!path.len)
		return 0;
	path = absolute(a, f, path);
	int rc = read_text(c, path, out, err);
	return rc < 0 ? err_note(err, "unable to read %s %.*s", name, SPAN_ARG(path)) : 0;
}

static struct span text(struct client_config *c, const struct json *o, const char *name)
{
	return arena_span(&c->arena, json_span(json_get(o, span_of(name))));
}

static int read_cluster(const struct files *f, const struct client_source *src, struct client_config *c, struct err *err)
{
	const struct file *file;
	const struct json *o = entry(f, "clusters", "cluster", c->cluster, &file);
	if (!o) {
		if (src->cluster)
			return err_set(err, ERR_NOT_FOUND, "cluster \"%s\" does not exist", src->cluster);
		if (c->cluster.len && !src->server)
			return err_set(err, ERR_NOT_FOUND, "cluster \"%.*s\" does not exist", SPAN_ARG(c->cluster));
		return 0;
	}
	c->server = text(c, o, "server");
	c->tls_server_name = text(c, o, "tls-server-name");
	c->proxy_url = text(c, o, "proxy-url");
	c->insecure = json_truth(json_getl(o, "insecure-skip-tls-verify"), false);
	int rc = material(c, file, o, "certificate-authority", &c->ca_pem, err);
	if (rc == 0 && c->insecure && c->ca_pem.len)
		return err_set(err, ERR_INVALID,
			       "specifying a root certificates file with the insecure flag is not allowed");
	return rc;
}

static int read_user(const struct files *f, const struct client_source *src, struct client_config *c, struct err *err)
{
	const struct file *file;
	const struct json *o = entry(f, "users", "user", c->user, &file);
	if (!o) {
		if (src->user || c->user.len)
			return err_set(err, ERR_NOT_FOUND, "auth info \"%.*s\" does not exist", SPAN_ARG(c->user));
		return 0;
	}
	static const char *const plugins[] = { "exec", "auth-provider" };
	for (size_t i = 0; i < ARRAY_LEN(plugins); i++)
		if (json_is(json_get(o, span_of(plugins[i])), JSON_OBJECT))
			return err_set(err, ERR_UNSUPPORTED, "user \"%.*s\" authenticates by %s, which this client does not run",
				       SPAN_ARG(c->user), plugins[i]);
	int rc = material(c, file, o, "client-certificate", &c->cert_pem, err);
	if (rc == 0)
		rc = material(c, file, o, "client-key", &c->key_pem, err);
	if (rc < 0)
		return rc;
	if (!c->cert_pem.len != !c->key_pem.len)
		return err_set(err, ERR_INVALID, "client-cert-data and client-key-data must be specified together for user \"%.*s\"",
			       SPAN_ARG(c->user));
	c->token = text(c, o, "token");
	c->token_file = absolute(&c->arena, file, json_span(json_getl(o, "tokenFile")));
	c->user_name = text(c, o, "username");
	c->password = text(c, o, "password");
	c->as_user = text(c, o, "as");
	c->as_uid = text(c, o, "as-uid");
	const struct json *groups = json_getl(o, "as-groups");
	if (json_is(groups, JSON_ARRAY) && groups->n) {
		struct span *list = arena_alloc_n(&c->arena, groups->n, sizeof(*list));
		for (uint32_t i = 0; i < groups->n; i++)
			list[i] = arena_span(&c->arena, json_span(&groups->items[i]));
		c->as_groups = list;
		c->n_as_groups = groups->n;
	}
	return 0;
}

static int resolve(const struct files *f, const struct client_source *src, struct client_config *c, struct err *err)
{
	struct span current = span_of(src->context);
	const struct file *file;
	for (unsigned i = 0; i < f->n && !current.len; i++)
		current = json_span(json_getl(&f->at[i].tree, "current-context"));
	c->context = arena_span(&c->arena, current);
	if (current.len) {
		const struct json *o = entry(f, "contexts", "context", current, &file);
		if (!o && src->context)
			return err_set(err, ERR_NOT_FOUND, "context \"%.*s\" does not exist", SPAN_ARG(current));
		if (!o)
			return err_set(err, ERR_NOT_FOUND,
				       "invalid configuration: context was not found for specified context: %.*s",
				       SPAN_ARG(current));
		c->cluster = text(c, o, "cluster");
		c->user = text(c, o, "user");
		c->ns = text(c, o, "namespace");
	}
	if (src->cluster)
		c->cluster = arena_span(&c->arena, span_of(src->cluster));
	if (src->user)
		c->user = arena_span(&c->arena, span_of(src->user));
	int rc = read_cluster(f, src, c, err);
	if (rc == 0)
		rc = read_user(f, src, c, err);
	if (rc < 0)
		return rc;
	if (src->server)
		c->server = arena_span(&c->arena, span_of(src->server));
	if (src->ns)
		c->ns = arena_span(&c->arena, span_of(src->ns));
	if (!c->server.len)
		return err_set(err, ERR_NOT_FOUND,
			       "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment "
			       "variable");
	return 0;
}

static int add_text(struct files *f, struct client_config *c, struct span yaml, const char *dir, struct err *err)
{
	struct file *file = &f->at[f->n];
	if (f->n == FILES_MAX)
		return err_set(err, ERR_INVALID, "more than %d kubeconfig files", FILES_MAX);
	int rc = yaml_parse(&c->arena, yaml, 0, NULL, &file->tree, err);
	if (rc < 0)
		return rc;
	if (file->tree.kind == JSON_NULL)
		file->tree = json_object(); /* an empty file is a configuration of nothing */
	struct span kind = json_span(json_getl(&file->tree, "kind"));
	if (file->tree.kind != JSON_OBJECT || (kind.len && !span_is(kind, "Config")))
		return err_set(err, ERR_INVALID, "this is no kubeconfig: kind is \"%.*s\", expected Config", SPAN_ARG(kind));
	file->dir = arena_cstr(&c->arena, span_of(dir));
	f->n++;
	return 0;
}

static int add_file(struct files *f, struct client_config *c, struct span path, bool must, struct err *err)
{
	auto_buf struct buf b = {};
	auto_err struct err why = ERR_INIT;
	const char *name = arena_cstr(&c->arena, path);
	noted(c, path);
	int rc = io_read_file(AT_FDCWD, name, &b, FILE_MAX, &why);
	if (rc == -ERR_NOT_FOUND && !must)
		return 0;
	if (rc < 0)
		return err_move(err, &why);
	ptrdiff_t slash = span_rchr(path, '/');
	struct span dir = slash > 0 ? span_sub(path, 0, (size_t)slash) : slash == 0 ? SPAN("/.") : SPAN("");
	rc = add_text(f, c, buf_span(&b), arena_cstr(&c->arena, dir), err);
	return rc < 0 ? err_note(err, "error loading config file \"%s\"", name) : 0;
}

/* A pod's own rights (client-go's rest.InClusterConfig). */
static int in_cluster(struct client_config *c, struct err *err)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
	if (!host || !*host || !port || !*port)
		return err_set(err, ERR_NOT_FOUND,
			       "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment "
			       "variable");
	bool six = strchr(host, ':');
	c->server = arena_printf(&c->arena, "https://%s%s%s:%s", six ? "[" : "", host, six ? "]" : "", port);
	c->token_file = SPAN(POD_DIR "/token");
	int rc = read_text(c, SPAN(POD_DIR "/ca.crt"), &c->ca_pem, err);
	if (rc == 0 && read_text(c, SPAN(POD_DIR "/namespace"), &c->ns, NULL) == 0)
		c->ns = span_trim(c->ns);
	return rc;
}

int client_config_parse(struct span yaml, const char *dir, const struct client_source *src, struct client_config *out,
			struct err *err)
{
	struct files f = {};
	*out = (struct client_config){};
	int rc = add_text(&f, out, yaml, dir ? dir : "", err);
	if (rc == 0)
		rc = resolve(&f, src, out, err);
	if (rc < 0)
		client_config_done(out);
	return rc;
}

int client_config_load(const struct client_source *src, struct client_config *out, struct err *err)
{
	struct files f = {};
	const char *env = getenv("KUBECONFIG"), *home = getenv("HOME");
	int rc = 0;
	*out = (struct client_config){};
	if (src->kubeconfig) {
		rc = add_file(&f, out, span_of(src->kubeconfig), true, err);
	} else if (env && *env) {
		struct span rest = span_of(env), path;
		while (rc == 0 && span_cut(&rest, ':', &path))
			if (path.len)
				rc = add_file(&f, out, path, false, err);
	} else if (home && *home) {
		rc = add_file(&f, out, arena_printf(&out->arena, "%s/.kube/config", home), false, err);
	}
	if (rc == 0 && !f.n && !src->server && !src->no_in_cluster)
		rc = in_cluster(out, err);
	else if (rc == 0)
		rc = resolve(&f, src, out, err);
	if (rc < 0)
		client_config_done(out);
	return rc;
}

void client_config_done(struct client_config *c)
{
	arena_done(&c->arena);
	*c = (struct client_config){};
}
