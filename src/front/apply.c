/* apply and create: objects of files made so.
 *
 * apply remembers what it applied last in an annotation, and sends what takes the live object from there to the file: fields
 * that were once in the file and are no more go away, fields that others set stay. With --server-side the server does it. */
#include "front/private.h"

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
#define MERGE_DEPTH 512
#define CONFLICT_ADVICE                                                                                                    \
	"Please review the fields above--they currently have other managers. Here\n"                                      \
	"are the ways you can resolve this warning:\n"                                                                     \
	"* If you intend to manage all of these fields, please re-run the apply\n"                                        \
	"  command with the `--force-conflicts` flag.\n"                                                                  \
	"* If you do not intend to manage all of the fields, please edit your\n"                                          \
	"  manifest to remove references to the fields that should keep their\n"                                          \
	"  current managers.\n"                                                                                            \
	"* You may co-own fields by updating your manifest to match the existing\n"                                       \
	"  value; in this case, you'll become the manager if the other manager(s)\n"                                      \
	"  stop managing the field (remove it from their configuration).\n"                                               \
	"See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts"

enum dry { DRY_NONE, DRY_CLIENT, DRY_SERVER };

struct apply {
	struct front *f;
	struct front_words files;
	struct span dry_text, manager, validate;
	struct span output; /* name, yaml, json */
	bool server_side, force_conflicts, recursive, save_config;
	struct front_generator generator; /* of create */
	enum dry dry;
	unsigned shown;   /* documents of -o yaml */
	const char *verb; /* "apply", "create" */
};

/* What was done to which; with -o the object itself. */
static void say(struct apply *p, const struct front_target *t, const struct json *object, struct span name, const char *what)
{
	struct buf *out = &p->f->out;
	if (span_is(p->output, "yaml") || span_is(p->output, "json")) {
		struct json shown = json_copy(&p->f->arena, object);
		struct json *meta = json_getl(&shown, "metadata");
		if (json_is(meta, JSON_OBJECT))
			(void)json_remove(meta, SPAN("managedFields"));
		if (span_is(p->output, "yaml")) {
			buf_str(out, p->shown++ ? "---\n" : "");
			yaml_write(out, &shown);
		} else {
			json_write(out, &shown, JSON_PRETTY4 | JSON_SORTED | JSON_HTML);
			buf_chr(out, '\n');
		}
		return;
	}
	if (span_is(p->output, "name")) {
		front_resource_word(out, t->resource);
		buf_printf(out, "/%.*s\n", SPAN_ARG(name));
		return;
	}
	static const char *const behind[] = { "", " (dry run)", " (server dry run)" };
	front_resource_word(&p->f->out, t->resource);
	buf_printf(&p->f->out, "/%.*s %s%s\n", SPAN_ARG(name), what, behind[p->dry]);
}

static void query(const struct apply *p, struct buf *path, const char *manager)
{
	buf_str(path, "?fieldManager=");
	percent_add(path, p->manager.len ? p->manager : span_of(manager), NULL);
	if (p->dry == DRY_SERVER)
		buf_str(path, "&dryRun=All");
	if (span_is(p->validate, "false") || span_is(p->validate, "ignore"))
		buf_str(path, "&fieldValidation=Ignore");
	else
		buf_str(path, span_is(p->validate, "warn") ? "&fieldValidation=Warn" : "&fieldValidation=Strict");
}

/* The object with its own text in the annotation; the text is the object without it, annotations an object in any case, which
 * is what kubectl writes. */
static struct json with_last_applied(struct arena *a, const struct json *object)
{
	auto_buf struct buf text = {};
	struct json copy = json_copy(a, object);
	struct json *meta = json_getl(&copy, "metadata");
	if (!json_is(meta, JSON_OBJECT))
		meta = json_setl(a, &copy, "metadata", json_object());
	struct json *notes = json_getl(meta, "annotations");
	if (!json_is(notes, JSON_OBJECT))
		notes = json_setl(a, meta, "annotations", json_object());
	(void)json_remove(notes, SPAN(LAST_APPLIED));
	json_write(&text, &copy, JSON_SORTED | JSON_HTML);
	buf_chr(&text, '\n');
	json_setl(a, notes, LAST_APPLIED, json_str(arena_span(a, buf_span(&text))));
	return copy;
}

static int post(struct apply *p, const struct front_target *t, const struct json *object, const char *manager, struct err *err)
{
	auto_buf struct buf path = {}, body = {};
	struct front_target whole = *t;
	struct json answer;
	if (p->dry == DRY_CLIENT) {
		say(p, t, object, t->name, "created");
		return 0;
	}
	whole.name = SPAN_EMPTY;
	front_target_path(&path, &whole, NULL);
	query(p, &path, manager);
	json_write(&body, object, 0);
	int rc = front_ask(p->f, &(struct front_request){ .method = "POST", .path = buf_span(&path), .body = buf_span(&body) }, &answer,
		err);
	if (rc == 0)
		say(p, t, &answer, json_span(json_path(&answer, "metadata", "name", NULL)), "created");
	return rc;
}

/* k8s.io/apimachinery/pkg/util/jsonmergepatch: what modified adds or changes, and null for what only original had. False:
 * nothing. */
static bool merge_three(struct arena *a, const struct json *original, const struct json *modified, const struct json *current,
			struct json *out, unsigned depth)
{
	*out = json_object();
	JSON_EACH_MEMBER(modified, m) {
		const struct json *now = json_get(current, json_key(m)), *was = json_get(original, json_key(m));
		struct json inner;
		if (json_is(&m->value, JSON_OBJECT) && json_is(now, JSON_OBJECT) && depth < MERGE_DEPTH) {
			if (merge_three(a, was, &m->value, now, &inner, depth + 1))
				json_set(a, out, json_key(m), inner);
		} else if (!now || !json_equal(now, &m->value)) {
			json_set(a, out, json_key(m), m->value);
		}
	}
	JSON_EACH_MEMBER(original, m)
		if (!json_get(modified, json_key(m)) && json_get(current, json_key(m)))
			json_set(a, out, json_key(m), JSON_NULL_VALUE);
	return out->n > 0;
}

/* What takes current to the file, and how it is sent: strategic for built-in kinds, merge for custom ones. */
static int make_patch(struct apply *p, const struct front_target *t, const struct json *modified, const struct json *current,
		      struct json *patch, const char **out_type, struct err *err)
{
	struct arena *a = &p->f->arena;
	const struct front_resource *r = t->resource;
	struct span text = json_span(json_get(json_path(current, "metadata", "annotations", NULL), SPAN(LAST_APPLIED)));
	struct json original = json_object();
	if (text.len) {
		int rc = json_parse(a, text, JSON_DUPLICATES_LAST, NULL, &original, err);
		if (rc < 0)
			return err_note(err, "the annotation " LAST_APPLIED);
	} else {
		auto_buf struct buf word = {};
		front_resource_word(&word, r);
		(void)fprintf(stderr, "Warning: resource %.*s/%.*s is missing the " LAST_APPLIED " annotation which is required by kubectl "
			      "apply. kubectl apply should only be used on resources created declaratively by either kubectl create "
			      "--save-config or kubectl apply. The missing annotation will be patched automatically.\n",
			      SPAN_ARG(r->plural), SPAN_ARG(t->name));
	}
	struct api_registry *registry = api_registry_builtin(true);
	const struct api_resource *row = api_registry_find_kind(registry, r->group, r->version, r->kind);
	int rc = 0;
	if (row) {
		*out_type = CLIENT_STRATEGIC_PATCH;
		rc = api_smp_diff_three(a, row->type, &original, modified, current, true, patch, err);
	} else {
		*out_type = CLIENT_MERGE_PATCH;
		(void)merge_three(a, &original, modified, current, patch, 0); /* an empty patch says the same */
	}
	api_registry_unref(registry);
	return rc;
}

static void describe_target(struct buf *out, const struct front_target *t)
{
	const struct front_resource *r = t->resource;
	buf_printf(out, "Resource: \"%.*s/%.*s, Resource=%.*s\", GroupVersionKind: \"%.*s/%.*s, Kind=%.*s\"\n"
		   "Name: \"%.*s\", Namespace: \"%.*s\"\n", SPAN_ARG(r->group), SPAN_ARG(r->version), SPAN_ARG(r->plural),
		   SPAN_ARG(r->group), SPAN_ARG(r->version), SPAN_ARG(r->kind), SPAN_ARG(t->name), SPAN_ARG(t->ns));
}

/* note: what goes before the server's message when it fails. */
static int apply_one(struct apply *p, const struct front_target *t, struct buf *note, struct err *err)
{
	auto_buf struct buf path = {}, body = {};
	struct json modified = with_last_applied(&p->f->arena, &t->object), current, patch;
	const char *type;
	front_target_path(&path, t, NULL);
	buf_str(note, "error when retrieving current configuration of:\n");
	describe_target(note, t);
	buf_printf(note, "from server for: \"%.*s\"", SPAN_ARG(t->source));
	int rc = front_ask(p->f, &(struct front_request){ .path = buf_span(&path) }, &current, err);
	if (rc == -ERR_NOT_FOUND && p->f->said.answered) {
		err_done(err);
		p->f->said.answered = false;
		buf_trunc(note, 0);
		buf_printf(note, "error when creating \"%.*s\"", SPAN_ARG(t->source));
		return post(p, t, &modified, "kubectl-client-side-apply", err);
	}
	if (rc < 0)
		return rc;
	buf_trunc(note, 0);
	buf_printf(note, "error when creating patch for \"%.*s\"", SPAN_ARG(t->source));
	rc = make_patch(p, t, &modified, &current, &patch, &type, err);
	if (rc < 0)
		return rc;
	if (patch.n == 0 || p->dry == DRY_CLIENT) {
		say(p, t, patch.n ? &modified : &current, t->name, patch.n ? "configured" : "unchanged");
		return 0;
	}
	json_write(&body, &patch, JSON_SORTED);
	buf_trunc(note, 0);
	buf_printf(note, "error when applying patch:\n%s\nto:\n", buf_cstr(&body));
	describe_target(note, t);
	buf_printf(note, "for: \"%.*s\"", SPAN_ARG(t->source));
	query(p, &path, "kubectl-client-side-apply");
	rc = front_ask(p->f, &(struct front_request){ .method = "PATCH", .path = buf_span(&path), .body = buf_span(&body),
			.content_type = type }, &current, err);
	if (rc == 0)
		say(p, t, &current, t->name, "configured");
	return rc;
}

static int apply_by_server(struct apply *p, const struct front_target *t, struct err *err)
{
	auto_buf struct buf path = {}, body = {};
	struct json answer;
	front_target_path(&path, t, NULL);
	query(p, &path, "kubectl");
	buf_printf(&path, "&force=%s", p->force_conflicts ? "true" : "false");
	json_write(&body, &t->object, 0);
	int rc = front_ask(p->f, &(struct front_request){ .method = "PATCH", .path = buf_span(&path), .body = buf_span(&body),
			.content_type = CLIENT_APPLY_PATCH }, &answer, err);
	if (rc == -ERR_STALE && p->f->said.answered) {
		p->f->said.answered = false; /* the words are kubectl's own */
		auto_free char *said = mem_dup(err_msg(err), strlen(err_msg(err)));
		return err_set(err, ERR_STALE, "%s\n" CONFLICT_ADVICE, said);
	}
	if (rc == 0)
		say(p, t, &answer, t->name, "serverside-applied");
	return rc;
}

static int one(struct apply *p, const struct front_target *t, struct buf *note, struct err *err)
{
	bool apply = strcmp(p->verb, "apply") == 0;
	if (apply && !t->name.len) {
		buf_str(note, "error when retrieving current configuration of:\n");
		describe_target(note, t);
		buf_printf(note, "from server for: \"%.*s\"", SPAN_ARG(t->source));
		return err_set(err, ERR_INVALID_REQUEST, "resource name may not be empty");
	}
	if (apply && !p->server_side)
		return apply_one(p, t, note, err);
	if (apply)
		return apply_by_server(p, t, err);
	struct json saved = p->save_config ? with_last_applied(&p->f->arena, &t->object) : t->object;
	buf_printf(note, "error when creating \"%.*s\"", SPAN_ARG(t->source));
	return post(p, t, &saved, "kubectl-create", err);
}

static int generated(struct apply *p, const struct front_args *args, struct err *err)
{
	struct front_target t = {};
	struct front_generator *g = &p->generator;
	struct front *f = p->f;
	if (args->dash >= 0)
		g->command = (struct front_words){ args->words.items + args->dash, args->words.n - (unsigned)args->dash };
	int rc = front_generate(f, g, &args->words, &t.object, err);
	if (rc == 0)
		rc = front_discover(f, err);
	if (rc < 0)
		return rc;
	struct span kind = json_span(json_getl(&t.object, "kind"));
	t.resource = front_discovery_kind(&f->discovery, json_span(json_getl(&t.object, "apiVersion")), kind);
	if (!t.resource)
		return err_set(err, ERR_NOT_FOUND, "the server has no kind %.*s", SPAN_ARG(kind));
	t.ns = t.resource->namespaced ? f->ns : SPAN_EMPTY;
	t.name = json_span(json_path(&t.object, "metadata", "name", NULL));
	struct json saved = p->save_config ? with_last_applied(&f->arena, &t.object) : t.object;
	rc = post(p, &t, &saved, "kubectl-create", err);
	if (rc < 0 && f->said.answered && t.resource->namespaced) { /* in the generators' own words */
		const char *why = arena_cstr(&f->arena, span_of(err_msg(err)));
		f->said.answered = false;
		return err_set(err, (enum err_class)-rc, "failed to create %s %s", span_is(kind, "ConfigMap") ? "configmap:" :
			       span_is(kind, "Secret") ? "secret" : "deployment:", why);
	}
	return rc;
}

static int run(struct apply *p, const struct front_args *args, struct front_targets *targets, struct err *err)
{
	bool generate = strcmp(p->verb, "create") == 0 && args->words.n && !p->files.n;
	if (args->words.n && !generate)
		return err_set(err, ERR_USAGE, "Unexpected args: [%.*s]\nSee 'kubectl %s -h' for help and examples",
			       SPAN_ARG(args->words.items[0]), p->verb);
	if (!p->files.n && !generate)
		return err_set(err, ERR_USAGE, "must specify one of -f and -k");
	if (span_is(p->dry_text, "client"))
		p->dry = DRY_CLIENT;
	else if (span_is(p->dry_text, "server"))
		p->dry = DRY_SERVER;
	else if (p->dry_text.len && !span_is(p->dry_text, "none"))
		return err_set(err, ERR_USAGE, "Invalid dry-run value (%.*s). Must be \"none\", \"server\", or \"client\".",
			       SPAN_ARG(p->dry_text));
	if (p->server_side && p->dry == DRY_CLIENT)
		return err_set(err, ERR_USAGE, "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)");
	if (p->force_conflicts && !p->server_side)
		return err_set(err, ERR_USAGE, "--force-conflicts only works with --server-side");
	if (generate)
		return generated(p, args, err);
	int rc = front_discover(p->f, err);
	if (rc == 0)
		rc = front_targets_files(p->f, &p->files, p->recursive, false, targets, err);
	if (rc == 0 && !targets->n)
		rc = err_set(err, ERR_USAGE, "no objects passed to %s", p->verb);
	for (unsigned i = 0; rc == 0 && i < targets->n; i++) {
		auto_buf struct buf note = {};
		/* One that fails does not keep the others from being done. */
		if (one(p, &targets->items[i], &note, err) < 0)
			(void)front_complain(p->f, err, note.len ? buf_cstr(&note) : NULL);
		rc = front_flush(p->f, err);
	}
	return rc;
}

static int main_of(struct apply *p, const struct front_flag *flags, const char *about, int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct front_targets targets = {};
	struct front_args args;
	int rc = front_verb_args(p->f, p->verb, "-f FILENAME [flags]", about, flags, argc, argv, &args);
	if (rc)
		return rc < 0;
	if (run(p, &args, &targets, &err) < 0)
		(void)front_complain(p->f, &err, NULL);
	front_targets_done(&targets);
	return p->f->complaints > 0;
}

#define COMMON_FLAGS(p)                                                                                                   \
	{ "filename", 'f', FRONT_FLAG_LIST, &(p)->files, NULL, "file, folder or - with the objects" },                    \
	{ "recursive", 'R', FRONT_FLAG_BOOL, &(p)->recursive, NULL, "folders with the folders in them" },                 \
	{ "dry-run", 0, FRONT_FLAG_TEXT, &(p)->dry_text, "unchanged", "none, client (send nothing) or server (keep nothing)" }, \
	{ "output", 'o', FRONT_FLAG_TEXT, &(p)->output, NULL, "print the object: name, yaml, json" },                     \
	{ "field-manager", 0, FRONT_FLAG_TEXT, &(p)->manager, NULL, "the name that owns the fields" },                    \
	{ "validate", 0, FRONT_FLAG_TEXT, &(p)->validate, "strict", "what is done about unknown fields: strict, warn, ignore" }

int front_apply_main(struct front *f, int argc, char **argv)
{
	struct apply p = { .f = f, .verb = "apply" };
	const struct front_flag flags[] = {
		COMMON_FLAGS(&p),
		{ "server-side", 0, FRONT_FLAG_BOOL, &p.server_side, NULL, "let the server merge" },
		{ "force-conflicts", 0, FRONT_FLAG_BOOL, &p.force_conflicts, NULL, "take fields from other managers" },
		{},
	};
	return main_of(&p, flags, "Makes objects be as files say; creates what is not there.", argc, argv);
}

int front_create_main(struct front *f, int argc, char **argv)
{
	struct apply p = { .f = f, .verb = "create", .generator = { .replicas = 1, .port = -1 } };
	const struct front_flag flags[] = {
		COMMON_FLAGS(&p),
		{ "from-literal", 0, FRONT_FLAG_EACH, &p.generator.literals, NULL, "configmap, secret: a key and its value, KEY=VALUE" },
		{ "from-file", 0, FRONT_FLAG_EACH, &p.generator.files, NULL, "configmap, secret: a key and its file, [KEY=]FILE" },
		{ "image", 0, FRONT_FLAG_LIST, &p.generator.images, NULL, "deployment: what its containers run" },
		{ "replicas", 'r', FRONT_FLAG_NUMBER, &p.generator.replicas, NULL, "deployment: how many pods" },
		{ "port", 0, FRONT_FLAG_NUMBER, &p.generator.port, NULL, "deployment: the port of its container" },
		{ "save-config", 0, FRONT_FLAG_BOOL, &p.save_config, NULL, "remember the file for a later apply" },
		{},
	};
	return main_of(&p, flags,
		"Creates the objects of files, or one of a configmap, deployment, namespace, secret generic by flags.", argc, argv);
}
