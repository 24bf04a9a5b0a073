/* delete: objects by name, by label or by file; then, unless told otherwise, until they are gone. */
#include "front/private.h"

struct delete {
	struct front *f;
	struct front_words files;
	struct span selector, field_selector, cascade, output, dry_text;
	bool client, server; /* of --dry-run */
	bool all, all_namespaces, force, now, ignore_not_found, wait, recursive;
	int64_t grace_s, timeout_ns;
};

struct doomed {
	struct front_target target;
	struct span uid;
};

static void body_of(const struct delete *d, struct buf *out)
{
	struct json_out o = { .buf = out };
	json_out_begin(&o);
	json_out_kspan(&o, "kind", SPAN("DeleteOptions"));
	json_out_kspan(&o, "apiVersion", SPAN("v1"));
	if (d->grace_s >= 0) {
		json_out_key(&o, SPAN("gracePeriodSeconds"));
		json_out_i64(&o, d->grace_s);
	}
	json_out_kspan(&o, "propagationPolicy", span_is(d->cascade, "orphan") || span_is(d->cascade, "false") ? SPAN("Orphan")
		       : span_is(d->cascade, "foreground") ? SPAN("Foreground") : SPAN("Background"));
	json_out_end(&o);
}

static int delete_one(struct delete *d, const struct front_target *t, struct doomed *out, struct err *err)
{
	auto_buf struct buf path = {}, body = {}, word = {};
	struct json answer;
	front_target_path(&path, t, NULL);
	if (d->client || d->server)
		buf_str(&path, "?dryRun=All");
	body_of(d, &body);
	*out = (struct doomed){ .target = *t };
	int rc = d->client ? 0 : front_ask(d->f, &(struct front_request){ .method = "DELETE", .path = buf_span(&path),
		.body = buf_span(&body) }, &answer, err);
	if (rc < 0)
		return rc;
	front_resource_word(&word, t->resource);
	if (span_is(d->output, "name"))
		buf_printf(&d->f->out, "%s/%.*s\n", buf_cstr(&word), SPAN_ARG(t->name));
	else
		buf_printf(&d->f->out, "%s \"%.*s\" %sdeleted%s\n", buf_cstr(&word), SPAN_ARG(t->name),
			   d->force && d->grace_s == 0 ? "force " : "", d->client ? " (dry run)" : d->server ? " (server dry run)" : "");
	if (d->client || d->server)
		return front_flush(d->f, err);
	/* A Status when it is gone at once, else the object that is going. */
	struct span uid = json_span(json_path(&answer, "metadata", "uid", NULL));
	*out = (struct doomed){ .target = *t, .uid = uid.len ? uid : json_span(json_path(&answer, "details", "uid", NULL)) };
	return front_flush(d->f, err);
}

/* ---- until it is gone */

struct waiting {
	struct buf line;
	bool gone;
};

static bool on_event(struct front *f, struct span data, void *arg)
{
	struct waiting *w = arg;
	ptrdiff_t at;
	buf_span_add(&w->line, data);
	while (!w->gone && (at = span_chr(buf_span(&w->line), '\n')) >= 0) {
		/* Names and types are the first member of an event; the object need not be read. */
		w->gone = span_starts(buf_span(&w->line), SPAN("{\"type\":\"DELETED\""));
		if (!w->gone && span_starts(buf_span(&w->line), SPAN("{\"type\":\"ERROR\"")))
			return false; /* history is gone: look again */
		buf_shift(&w->line, (size_t)at + 1);
	}
	return !w->gone && !buf_overflowed(&w->line);
}

static int wait_gone(struct delete *d, const struct doomed *it, int64_t until_ms, struct err *err)
{
	struct loop *l = d->f->loop;
	for (;;) {
		auto_buf struct buf path = {}, watch = {};
		struct waiting w = { .line = { .limit = 64u << 20 } };
		struct front_target whole = it->target;
		struct json now;
		front_target_path(&path, &it->target, NULL);
		int rc = front_ask(d->f, &(struct front_request){ .path = buf_span(&path) }, &now, err);
		if (rc == -ERR_NOT_FOUND && d->f->said.answered) {
			err_done(err);
			d->f->said.answered = false;
			return 0;
		}
		if (rc < 0)
			return rc;
		if (it->uid.len && !span_eq(it->uid, json_span(json_path(&now, "metadata", "uid", NULL))))
			return 0; /* another one of that name */
		int64_t left = until_ms ? until_ms - loop_now_ms(l) : 0;
		if (until_ms && left <= 0)
			return err_set(err, ERR_TIMEOUT, "timed out waiting for the condition on %.*s/%.*s",
				SPAN_ARG(it->target.resource->plural),
				       SPAN_ARG(it->target.name));
		whole.name = SPAN_EMPTY;
		front_target_path(&watch, &whole, NULL);
		buf_str(&watch, "?watch=true&fieldSelector=metadata.name%3D");
		percent_add(&watch, it->target.name, NULL);
		buf_str(&watch, "&resourceVersion=");
		percent_add(&watch, json_span(json_path(&now, "metadata", "resourceVersion", NULL)), NULL);
		rc = front_stream(d->f, buf_span(&watch), NULL, on_event, &w, left, err);
		buf_done(&w.line);
		if (w.gone)
			return 0;
		if (rc == -ERR_TIMEOUT && until_ms) {
			err_done(err); /* the turn above says it, with the name */
			continue;
		}
		if (rc < 0)
			return rc;
	}
}

/* ---- the verb */

static int collect(struct delete *d, const struct front_args *args, struct front_targets *out, struct err *err)
{
	int rc = front_targets_files(d->f, &d->files, d->recursive, false, out, err);
	if (rc == 0)
		rc = front_targets_words(d->f, &args->words, out, err);
	for (unsigned i = 0; rc == 0 && i < out->n; i++) {
		struct front_target *t = &out->items[i];
		if (t->name.len && (d->selector.len || d->all) && !d->files.n)
			rc = err_set(err, ERR_USAGE, "name cannot be provided when a selector is specified");
		else if (!t->name.len && !d->all && !d->selector.len && !d->field_selector.len)
			rc = err_set(err, ERR_USAGE, "resource(s) were provided, but no name was specified");
		else if (!t->name.len && d->all_namespaces)
			t->ns = SPAN_EMPTY;
	}
	if (rc == 0 && !out->n)
		rc = err_set(err, ERR_USAGE, "You must provide one or more resources by argument or filename.\nExample resource "
			     "specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'");
	return rc < 0 ? rc : front_targets_expand(d->f, out, d->selector, d->field_selector, err);
}

static int run(struct delete *d, const struct front_args *args, struct front_targets *targets, struct err *err)
{
	int rc = 0;
	d->client = span_is(d->dry_text, "client") || span_is(d->dry_text, "unchanged");
	d->server = span_is(d->dry_text, "server");
	if (d->dry_text.len && !d->client && !d->server && !span_is(d->dry_text, "none"))
		rc = err_set(err, ERR_USAGE, "Invalid dry-run value (%.*s). Must be \"none\", \"server\", or \"client\".",
			SPAN_ARG(d->dry_text));
	if (rc == 0)
		rc = front_discover(d->f, err);
	if (d->now)
		d->grace_s = 1;
	if (d->force && d->grace_s < 0)
		d->grace_s = 0;
	if (rc == 0 && d->grace_s == 0 && !d->force)
		d->grace_s = 1; /* kubectl: without --force zero means as soon as possible, but in order */
	if (rc == 0 && d->force && d->grace_s == 0)
		(void)fprintf(stderr, "Warning: Immediate deletion does not wait for confirmation that the running resource has been "
			      "terminated. The resource may continue to run on the cluster indefinitely.\n");
	if (rc == 0)
		rc = collect(d, args, targets, err);
	if (rc < 0)
		return rc;
	struct doomed *doomed = arena_alloc_n(&d->f->arena, targets->n + 1, sizeof(*doomed));
	unsigned n = 0;
	for (unsigned i = 0; i < targets->n; i++) {
		rc = delete_one(d, &targets->items[i], &doomed[n], err);
		if (rc == 0) {
			n++;
		} else if (rc == -ERR_NOT_FOUND && d->f->said.answered && d->ignore_not_found) {
			err_done(err);
			d->f->said.answered = false;
		} else {
			(void)front_complain(d->f, err, targets->items[i].source.len ? arena_printf(&d->f->arena,
				"error when deleting \"%.*s\"",
				SPAN_ARG(targets->items[i].source)).ptr : NULL);
		}
	}
	if (!targets->n)
		buf_str(&d->f->out, "No resources found\n");
	int64_t until = d->timeout_ns > 0 ? loop_now_ms(d->f->loop) + d->timeout_ns / 1000000 : 0;
	bool wait = d->wait && !d->client && !d->server && !(d->force && d->grace_s == 0);
	for (unsigned i = 0; wait && i < n; i++)
		if (wait_gone(d, &doomed[i], until, err) < 0)
			(void)front_complain(d->f, err, NULL);
	return 0;
}

int front_delete_main(struct front *f, int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct delete d = { .f = f, .grace_s = -1, .wait = true };
	struct front_targets targets = {};
	struct front_args args;
	const struct front_flag flags[] = {
		{ "filename", 'f', FRONT_FLAG_LIST, &d.files, NULL, "the objects of this file" },
		{ "recursive", 'R', FRONT_FLAG_BOOL, &d.recursive, NULL, "folders with the folders in them" },
		{ "selector", 'l', FRONT_FLAG_TEXT, &d.selector, NULL, "objects with these labels" },
		{ "field-selector", 0, FRONT_FLAG_TEXT, &d.field_selector, NULL, "objects with these fields" },
		{ "all", 0, FRONT_FLAG_BOOL, &d.all, NULL, "every object of the types" },
		{ "all-namespaces", 'A', FRONT_FLAG_BOOL, &d.all_namespaces, NULL, "in every namespace" },
		{ "grace-period", 0, FRONT_FLAG_NUMBER, &d.grace_s, NULL, "seconds to end in; negative: the object's own" },
		{ "force", 0, FRONT_FLAG_BOOL, &d.force, NULL, "with a grace period of 0: forget the object at once" },
		{ "now", 0, FRONT_FLAG_BOOL, &d.now, NULL, "a grace period of 1" },
		{ "wait", 0, FRONT_FLAG_BOOL, &d.wait, NULL, "return when the objects are gone (default true)" },
		{ "timeout", 0, FRONT_FLAG_DURATION, &d.timeout_ns, NULL, "longest wait; 0: by the objects' grace" },
		{ "cascade", 0, FRONT_FLAG_TEXT, &d.cascade, "background", "what becomes of dependents: background, foreground, orphan" },
		{ "ignore-not-found", 0, FRONT_FLAG_BOOL, &d.ignore_not_found, NULL, "what is not there is no failure" },
		{ "dry-run", 0, FRONT_FLAG_TEXT, &d.dry_text, "unchanged", "none, client (send nothing) or server (keep nothing)" },
		{ "output", 'o', FRONT_FLAG_TEXT, &d.output, NULL, "name: print TYPE/NAME alone" },
		{},
	};
	int rc = front_verb_args(f, "delete", "([-f FILENAME] | TYPE [(NAME | -l label | --all)]) [flags]", "Deletes objects.", flags,
		argc,
				 argv, &args);
	if (rc)
		return rc < 0;
	if (run(&d, &args, &targets, &err) < 0)
		(void)front_complain(f, &err, NULL);
	front_targets_done(&targets);
	return f->complaints > 0;
}
