/* create's generators: objects made of flags. Building them is pure but for the files that --from-file names. */
#include "front/private.h"

#include <fcntl.h>

#define DATA_MAX (1u << 20) /* of a file; the server takes no larger object */

static struct json meta_of(struct front *f, struct span ns, struct span name)
{
	struct json meta = json_object();
	json_setl(&f->arena, &meta, "creationTimestamp", JSON_NULL_VALUE);
	json_setl(&f->arena, &meta, "name", json_str(name));
	if (ns.len)
		json_setl(&f->arena, &meta, "namespace", json_str(ns));
	return meta;
}

static void head(struct front *f, struct json *o, const char *version, const char *kind, struct json meta)
{
	json_setl(&f->arena, o, "apiVersion", json_cstr(version));
	json_setl(&f->arena, o, "kind", json_cstr(kind));
	json_setl(&f->arena, o, "metadata", meta);
}

static struct json in_base64(struct front *f, struct span value)
{
	auto_buf struct buf b = {};
	base64_add(&b, BASE64_STD, value.ptr, value.len);
	return json_str(arena_span(&f->arena, buf_span(&b)));
}

/* A config map keeps text and other bytes apart, a secret has all in base64. */
static int add_datum(struct front *f, struct json *o, bool secret, struct span key, struct span value, struct err *err)
{
	bool text = !secret && utf8_valid(value);
	struct span list = secret || text ? SPAN("data") : SPAN("binaryData");
	if (json_get(json_getl(o, "data"), key) || json_get(json_getl(o, "binaryData"), key)) {
		struct span name = json_span(json_path(o, "metadata", "name", NULL));
		if (secret)
			return err_set(err, ERR_USAGE, "cannot add key %.*s, another key by that name already exists", SPAN_ARG(key));
		return err_set(err, ERR_USAGE, "cannot add key \"%.*s\", another key by that name already exists in Data for ConfigMap "
			       "\"%.*s\"", SPAN_ARG(key), SPAN_ARG(name));
	}
	struct json *data = json_get(o, list);
	if (!data)
		data = json_set(&f->arena, o, list, json_object());
	json_set(&f->arena, data, arena_span(&f->arena, key), text ? json_str(arena_span(&f->arena, value)) : in_base64(f, value));
	return 0;
}

static int fill(struct front *f, const struct front_generator *g, struct json *o, bool secret, struct err *err)
{
	for (unsigned i = 0; i < g->files.n; i++) {
		struct span word = g->files.items[i], key, path;
		auto_buf struct buf text = {};
		if (!span_split(word, '=', &key, &path)) {
			path = word;
			key = span_from(word, (size_t)(span_rchr(word, '/') + 1));
		}
		if (!key.len || !path.len)
			return err_set(err, ERR_USAGE, "key name or file path for file source %.*s missing", SPAN_ARG(word));
		int rc = io_read_file(AT_FDCWD, arena_cstr(&f->arena, path), &text, DATA_MAX, err);
		if (rc < 0)
			return err_note(err, "error reading %.*s", SPAN_ARG(path));
		rc = add_datum(f, o, secret, key, buf_span(&text), err);
		if (rc < 0)
			return rc;
	}
	for (unsigned i = 0; i < g->literals.n; i++) {
		struct span key, value;
		if (!span_split(g->literals.items[i], '=', &key, &value) || !key.len)
			return err_set(err, ERR_USAGE, "invalid literal source %.*s, expected key=value", SPAN_ARG(g->literals.items[i]));
		int rc = add_datum(f, o, secret, key, value, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* "registry/team/nginx:1" is run by a container nginx. */
static struct span container_name(struct front *f, struct span image)
{
	struct span name = span_from(image, (size_t)(span_rchr(image, '/') + 1)), rest;
	(void)span_split(name, '@', &name, &rest);
	(void)span_split(name, ':', &name, &rest);
	char *out = arena_cstr(&f->arena, name);
	for (char *c = out; *c; c++)
		if (*c == '_' || *c == '.')
			*c = '-';
	return span_of(out);
}

static void deployment(struct front *f, const struct front_generator *g, struct span name, struct json *o)
{
	struct arena *a = &f->arena;
	struct json labels = json_object(), selector = json_object(), containers = json_array(), pod = json_object();
	struct json template = json_object(), meta = json_object(), spec = json_object();
	json_setl(a, &labels, "app", json_str(name));
	json_setl(a, &selector, "matchLabels", labels);
	for (unsigned i = 0; i < g->images.n; i++) {
		struct json *c = json_push(a, &containers, json_object());
		json_setl(a, c, "image", json_str(g->images.items[i]));
		json_setl(a, c, "name", json_str(container_name(f, g->images.items[i])));
		json_setl(a, c, "resources", json_object());
		if (g->port >= 0 && i == 0) {
			struct json ports = json_array();
			json_setl(a, json_push(a, &ports, json_object()), "containerPort", json_int(g->port));
			json_setl(a, c, "ports", ports);
		}
		if (g->command.n) {
			struct json command = json_array();
			for (unsigned k = 0; k < g->command.n; k++)
				json_push(a, &command, json_str(g->command.items[k]));
			json_setl(a, c, "command", command);
		}
	}
	json_setl(a, &pod, "containers", containers);
	json_setl(a, &meta, "creationTimestamp", JSON_NULL_VALUE);
	json_setl(a, &meta, "labels", labels);
	json_setl(a, &template, "metadata", meta);
	json_setl(a, &template, "spec", pod);
	json_setl(a, &spec, "replicas", json_int(g->replicas));
	json_setl(a, &spec, "selector", selector);
	json_setl(a, &spec, "strategy", json_object());
	json_setl(a, &spec, "template", template);
	json_setl(a, o, "spec", spec);
	json_setl(a, o, "status", json_object());
	json_setl(a, json_getl(o, "metadata"), "labels", labels);
}

int front_generate(struct front *f, const struct front_generator *g, const struct front_words *words, struct json *out,
	struct err *err)
{
	static const struct { const char *word, *other, *kind, *version, *long_name; } rows[] = {
		{ "configmap", "cm", "ConfigMap", "v1", "configmap" }, { "deployment", "deploy", "Deployment", "apps/v1", "deployment" },
		{ "namespace", "ns", "Namespace", "v1", "namespace" }, { "secret", "secret", "Secret", "v1", "secret generic" },
	};
	unsigned at = 1;
	size_t i = 0;
	while (i < ARRAY_LEN(rows) && !span_is(words->items[0], rows[i].word) && !span_is(words->items[0], rows[i].other))
		i++;
	bool secret = i < ARRAY_LEN(rows) && strcmp(rows[i].kind, "Secret") == 0;
	bool workload = i < ARRAY_LEN(rows) && strcmp(rows[i].kind, "Deployment") == 0;
	if (i == ARRAY_LEN(rows))
		return err_set(err, ERR_USAGE, "Unexpected args: [%.*s]\nSee 'kubectl create -h' for help and examples",
			       SPAN_ARG(words->items[0]));
	if (secret && (words->n < 2 || !span_is(words->items[1], "generic")))
		return err_set(err, ERR_UNSUPPORTED, "of secrets only `kubectl create secret generic` is made; others: -f FILENAME");
	at += secret;
	if (workload && !g->images.n)
		return err_set(err, ERR_USAGE, "required flag(s) \"image\" not set");
	unsigned n = words->n - at - g->command.n;
	if (n != 1)
		return err_set(err, ERR_USAGE, "exactly one NAME is required, got %u\nSee 'kubectl create %s -h' for help and examples", n,
			       rows[i].long_name);
	struct span name = words->items[at];
	bool namespaced = strcmp(rows[i].kind, "Namespace") != 0;
	*out = json_object();
	head(f, out, rows[i].version, rows[i].kind, meta_of(f, namespaced ? f->globals.ns : SPAN_EMPTY, name));
	if (workload)
		deployment(f, g, name, out);
	if (!namespaced) {
		json_setl(&f->arena, out, "spec", json_object());
		json_setl(&f->arena, out, "status", json_object());
	}
	return secret || strcmp(rows[i].kind, "ConfigMap") == 0 ? fill(f, g, out, secret, err) : 0;
}
