/* What a command is about: resource words and manifests, as kubectl's resource builder takes them. */
#include "front/private.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (64u << 20)
#define FOLDERS_DEEP 32

void front_targets_done(struct front_targets *t)
{
	free(t->items);
	*t = (struct front_targets){};
}

static void add(struct front_targets *t, const struct front_target *one)
{
	bool seen = false;
	for (unsigned i = 0; i < t->n && !seen; i++)
		seen = t->items[i].resource == one->resource;
	t->kinds += !seen;
	MEM_GROW(t->items, t->n, t->cap);
	t->items[t->n++] = *one;
}

void front_target_path(struct buf *out, const struct front_target *t, const char *sub)
{
	struct client_kind k = front_resource_client(t->resource);
	client_path(out, &k, t->ns, t->name, sub);
}

/* ---- words */

static int add_word(struct front *f, struct span type, struct span name, struct front_targets *out, struct err *err)
{
	const struct front_resource *r;
	int rc = front_discovery_find(&f->discovery, type, &r, err);
	if (rc < 0)
		return rc;
	add(out, &(struct front_target){ .resource = r, .ns = r->namespaced ? f->ns : SPAN_EMPTY, .name = name });
	return 0;
}

/* "all" and other categories mean the preferred resources that can be listed. False: no such category. */
static bool add_category(struct front *f, struct span word, struct front_targets *out)
{
	bool any = false;
	for (unsigned i = 0; i < f->discovery.n; i++) {
		const struct front_resource *r = &f->discovery.rows[i];
		for (unsigned k = 0; r->preferred && k < r->categories.n; k++)
			if (span_eq(r->categories.items[k], word) && front_resource_can(r, "list")) {
				add(out, &(struct front_target){ .resource = r, .ns = r->namespaced ? f->ns : SPAN_EMPTY });
				any = true;
			}
	}
	return any;
}

static int slashed(struct front *f, const struct front_words *words, struct front_targets *out, struct err *err)
{
	for (unsigned i = 0; i < words->n; i++) {
		struct span type, name;
		if (!span_split(words->items[i], '/', &type, &name))
			return err_set(err, ERR_USAGE, "there is no need to specify a resource type as a separate argument when passing "
				       "arguments in resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl "
				       "get resource resource/<resource_name>'");
		if (!type.len || !name.len || span_chr(name, '/') >= 0)
			return err_set(err, ERR_USAGE, "arguments in resource/name form must have a single resource and name");
		int rc = add_word(f, type, name, out, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int front_targets_words(struct front *f, const struct front_words *words, struct front_targets *out, struct err *err)
{
	struct span types, type;
	for (unsigned i = 0; i < words->n; i++)
		if (span_chr(words->items[i], '/') >= 0)
			return slashed(f, words, out, err);
	if (!words->n)
		return 0;
	types = words->items[0];
	while (span_cut(&types, ',', &type)) {
		if (words->n == 1 && add_category(f, type, out))
			continue;
		unsigned i = words->n == 1 ? 0 : 1;
		do {
			int rc = add_word(f, type, words->n == 1 ? SPAN_EMPTY : words->items[i], out, err);
			if (rc < 0)
				return rc;
		} while (++i < words->n);
	}
	return 0;
}

int front_targets_expand(struct front *f, struct front_targets *t, struct span selector, struct span field_selector,
	struct err *err)
{
	struct front_targets named = {};
	int rc = 0;
	for (unsigned i = 0; i < t->n && rc == 0; i++) {
		auto_buf struct buf path = {};
		struct json list;
		if (t->items[i].name.len) {
			add(&named, &t->items[i]);
			continue;
		}
		front_target_path(&path, &t->items[i], NULL);
		if (selector.len) {
			buf_str(&path, "?labelSelector=");
			percent_add(&path, selector, NULL);
		}
		if (field_selector.len) {
			buf_printf(&path, "%cfieldSelector=", selector.len ? '&' : '?');
			percent_add(&path, field_selector, NULL);
		}
		rc = front_ask(f, &(struct front_request){ .path = buf_span(&path) }, &list, err);
		JSON_EACH_ITEM(rc < 0 ? NULL : json_getl(&list, "items"), item) {
			struct front_target one = t->items[i];
			one.name = json_span(json_path(item, "metadata", "name", NULL));
			one.ns = json_span(json_path(item, "metadata", "namespace", NULL));
			add(&named, &one);
		}
	}
	front_targets_done(t);
	*t = named;
	return rc;
}

/* ---- files */

static int add_object(struct front *f, struct json *object, struct span source, bool all, struct front_targets *out,
	struct err *err)
{
	struct span kind = json_span(json_getl(object, "kind")), version = json_span(json_getl(object, "apiVersion"));
	struct json *meta = json_getl(object, "metadata");
	struct span name = json_span(json_getl(meta, "name")), ns = json_span(json_getl(meta, "namespace"));
	if (!json_is(object, JSON_OBJECT) || !kind.len || !version.len)
		return err_set(err, ERR_INVALID_REQUEST,
			"error validating \"%.*s\": error validating data: %s; if you choose to ignore these "
			       "errors, turn validation off with --validate=false", SPAN_ARG(source), kind.len ? "apiVersion not set" :
			       version.len ? "kind not set" : "[apiVersion not set, kind not set]");
	const struct json *items = json_getl(object, "items");
	if (span_is(kind, "List") && json_is(items, JSON_ARRAY)) {
		JSON_EACH_ITEM(items, item) {
			if (json_is(json_getl(item, "items"), JSON_ARRAY)) /* lists of lists are nobody's */
				return err_set(err, ERR_INVALID_REQUEST, "%.*s: a List within a List", SPAN_ARG(source));
			int rc = add_object(f, item, source, all, out, err);
			if (rc < 0)
				return rc;
		}
		return 0;
	}
	const struct front_resource *r = front_discovery_kind(&f->discovery, version, kind);
	if (!r)
		return err_set(err, ERR_NOT_FOUND, "resource mapping not found for name: \"%.*s\" namespace: \"%.*s\" from \"%.*s\": no "
			       "matches for kind \"%.*s\" in version \"%.*s\"\nensure CRDs are installed first", SPAN_ARG(name), SPAN_ARG(ns),
			       SPAN_ARG(source), SPAN_ARG(kind), SPAN_ARG(version));
	if (f->globals.ns.len && r->namespaced && ns.len && !span_eq(ns, f->ns) && !all)
		return err_set(err, ERR_USAGE, "the namespace from the provided object \"%.*s\" does not match the namespace \"%.*s\". You "
			       "must pass '--namespace=%.*s' to perform this operation.", SPAN_ARG(ns), SPAN_ARG(f->ns), SPAN_ARG(ns));
	if (r->namespaced && !ns.len) {
		ns = f->ns;
		if (!json_is(meta, JSON_OBJECT))
			meta = json_setl(&f->arena, object, "metadata", json_object());
		json_setl(&f->arena, meta, "namespace", json_str(ns));
	}
	add(out, &(struct front_target){ .resource = r, .ns = r->namespaced ? ns : SPAN_EMPTY, .name = name, .object = *object,
		.source = source });
	return 0;
}

static int add_text(struct front *f, struct span text, struct span source, bool all, struct front_targets *out, struct err *err)
{
	struct yaml_stream s = yaml_stream(arena_span(&f->arena, text));
	auto_err struct err why = ERR_INIT;
	struct json object;
	int rc;
	while ((rc = yaml_next(&s, &f->arena, 0, NULL, &object, &why)) == 0) {
		rc = add_object(f, &object, source, all, out, err);
		if (rc < 0)
			return rc;
	}
	if (rc == -ERR_NOT_FOUND) /* the end */
		return 0;
	err_note(&why, "error parsing %.*s", SPAN_ARG(source));
	return err_move(err, &why);
}

static int add_file(struct front *f, int at, const char *name, struct span source, bool all, struct front_targets *out,
	struct err *err)
{
	auto_buf struct buf text = {};
	int rc = io_read_file(at, name, &text, FILE_MAX, err);
	return rc < 0 ? rc : add_text(f, buf_span(&text), source, all, out, err);
}

static bool manifest_name(const char *name)
{
	struct span s = span_of(name);
	return span_ends(s, SPAN(".yaml")) || span_ends(s, SPAN(".yml")) || span_ends(s, SPAN(".json"));
}

static int folder(struct front *f, const char *path, bool recursive, unsigned depth, bool all, struct front_targets *out,
		  struct err *err)
{
	struct dirent **list = NULL;
	struct stat st;
	int rc = 0, n = scandir(path, &list, NULL, alphasort); /* filepath.Walk goes in the order of names */
	if (n < 0)
		return err_sys(err, "%s", path);
	for (int i = 0; i < n; i++) {
		auto_buf struct buf one = {};
		buf_printf(&one, "%s/%s", path, list[i]->d_name);
		const char *name = buf_cstr(&one);
		bool dots = strcmp(list[i]->d_name, ".") == 0 || strcmp(list[i]->d_name, "..") == 0;
		if (rc == 0 && !dots && stat(name, &st) < 0)
			rc = err_sys(err, "%s", name);
		else if (rc == 0 && !dots && S_ISDIR(st.st_mode) && recursive && depth < FOLDERS_DEEP)
			rc = folder(f, name, true, depth + 1, all, out, err);
		else if (rc == 0 && !dots && S_ISREG(st.st_mode) && manifest_name(name))
			rc = add_file(f, AT_FDCWD, name, arena_span(&f->arena, buf_span(&one)), all, out, err);
		free(list[i]);
	}
	free(list);
	return rc;
}

int front_targets_files(struct front *f, const struct front_words *files, bool recursive, bool all_namespaces_given,
			struct front_targets *out, struct err *err)
{
	for (unsigned i = 0; i < files->n; i++) {
		const char *path = arena_cstr(&f->arena, files->items[i]);
		auto_buf struct buf text = {};
		struct stat st;
		int rc;
		if (strcmp(path, "-") == 0) {
			rc = io_read_all(STDIN_FILENO, &text, FILE_MAX, err);
			if (rc == 0)
				rc = add_text(f, buf_span(&text), SPAN("STDIN"), all_namespaces_given, out, err);
		} else if (stat(path, &st) < 0) {
			rc = errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "the path \"%s\" does not exist", path) : err_sys(err, "%s", path);
		} else if (S_ISDIR(st.st_mode)) {
			rc = folder(f, path, recursive, 0, all_namespaces_given, out, err);
		} else {
			rc = add_file(f, AT_FDCWD, path, files->items[i], all_namespaces_given, out, err);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}
