/* `docker commit`: what a container changed becomes a layer, with its configuration an image.
 *
 * The layer is stored as plain tar: it is unpacked from it at once, and most commits are never pushed. */
#include <ctype.h>
#include <stdio.h>

#include "container/private.h"
#include "runtime/runtime.h"

struct commit {
	struct op op;
	struct span reference, shown, comment, author; /* shown: the reference as people write it */
	struct json config; /* as the image shall have it */
	bool pause;
	const char *runtime;
};

/* ---- changes: lines of a Dockerfile */

static struct span keyword_take(struct span *rest)
{
	struct span line = span_trim(*rest);
	size_t n = 0;
	while (n < line.len && !isspace((unsigned char)line.ptr[n]))
		n++;
	*rest = span_trim(span_from(line, n));
	return span_sub(line, 0, n);
}

/* One word; quotes group, a backslash takes the next character as it is. False at the end. */
static bool word_take(struct span *rest, struct arena *a, struct span *out)
{
	auto_buf struct buf b = {};
	char quote = 0;
	size_t i = 0;
	*rest = span_trim(*rest);
	if (!rest->len)
		return false;
	for (; i < rest->len; i++) {
		char c = rest->ptr[i];
		if (c == '\\' && quote != '\'' && i + 1 < rest->len)
			buf_chr(&b, rest->ptr[++i]);
		else if (quote ? c == quote : c == '"' || c == '\'')
			quote = quote ? 0 : c;
		else if (!quote && isspace((unsigned char)c))
			break;
		else
			buf_chr(&b, c);
	}
	*rest = span_from(*rest, i);
	*out = arena_span(a, buf_span(&b));
	return true;
}

/* ["a","b"], or a line for the shell. */
static struct json command_parse(struct span text, const struct json *shell, struct arena *a)
{
	struct json v, out = json_array();
	if (text.len && text.ptr[0] == '[' && json_parse(a, text, 0, NULL, &v, NULL) == 0 && v.kind == JSON_ARRAY)
		return v;
	if (json_is(shell, JSON_ARRAY) && shell->n) {
		JSON_EACH_ITEM (shell, item)
			json_push(a, &out, *item);
	} else {
		json_push(a, &out, json_cstr("/bin/sh"));
		json_push(a, &out, json_cstr("-c"));
	}
	json_push(a, &out, json_str(text));
	return out;
}

static struct json *member(struct arena *a, struct json *c, const char *key, struct json otherwise)
{
	struct json *v = json_get(c, span_of(key));
	return v && v->kind == otherwise.kind ? v : json_set(a, c, span_of(key), otherwise);
}

static void env_set(struct arena *a, struct json *env, struct span entry)
{
	struct span name, value, theirs;
	span_split(entry, '=', &name, &value);
	JSON_EACH_ITEM (env, item) {
		span_split(json_span(item), '=', &theirs, &value);
		if (span_eq(theirs, name)) {
			*item = json_str(entry);
			return;
		}
	}
	json_push(a, env, json_str(entry));
}

/* ENV and LABEL: a=b c=d, or the old form "a b". */
static int pairs_parse(struct arena *a, struct json *c, bool label, struct span rest, struct err *err)
{
	struct span word, name, value;
	bool first = true;
	while (word_take(&rest, a, &word)) {
		if (!span_split(word, '=', &name, &value)) {
			if (!first || !rest.len)
				return err_set(err, ERR_INVALID_REQUEST,
					"Syntax error - can't find = in \"%.*s\". Must be of the form: name=value",
					SPAN_ARG(word));
			value = span_trim(rest);
			rest = SPAN_EMPTY;
		}
		first = false;
		if (label)
			json_set(a, member(a, c, "Labels", json_object()), name, json_str(value));
		else
			env_set(a, member(a, c, "Env", json_array()), arena_printf(a, "%.*s=%.*s", SPAN_ARG(name), SPAN_ARG(value)));
	}
	return first ? err_set(err, ERR_INVALID_REQUEST, "%s must have two arguments", label ? "LABEL" : "ENV") : 0;
}

static void set_members(struct arena *a, struct json *c, const char *key, struct span rest, bool port)
{
	struct json *o = member(a, c, key, json_object()), v;
	struct span word;
	if (rest.len && rest.ptr[0] == '[' && json_parse(a, rest, 0, NULL, &v, NULL) == 0) {
		JSON_EACH_ITEM (&v, item)
			json_set(a, o, json_span(item), json_object());
		return;
	}
	while (word_take(&rest, a, &word))
		json_set(a, o, port && span_chr(word, '/') < 0 ? arena_printf(a, "%.*s/tcp", SPAN_ARG(word)) : word, json_object());
}

static int change_apply(struct arena *a, struct json *c, struct span line, struct err *err)
{
	struct span rest = line, word = keyword_take(&rest);
	const struct json *shell = json_getl(c, "Shell");
	if (!word.len)
		return 0;
	if (span_eq_nocase(word, SPAN("CMD"))) {
		json_setl(a, c, "Cmd", command_parse(rest, shell, a));
	} else if (span_eq_nocase(word, SPAN("ENTRYPOINT"))) {
		json_setl(a, c, "Entrypoint", command_parse(rest, shell, a));
	} else if (span_eq_nocase(word, SPAN("ENV"))) {
		return pairs_parse(a, c, false, rest, err);
	} else if (span_eq_nocase(word, SPAN("LABEL"))) {
		return pairs_parse(a, c, true, rest, err);
	} else if (span_eq_nocase(word, SPAN("EXPOSE"))) {
		set_members(a, c, "ExposedPorts", rest, true);
	} else if (span_eq_nocase(word, SPAN("VOLUME"))) {
		set_members(a, c, "Volumes", rest, false);
	} else if (span_eq_nocase(word, SPAN("USER"))) {
		json_setl(a, c, "User", json_str(rest));
	} else if (span_eq_nocase(word, SPAN("WORKDIR"))) {
		struct span was = container_str(c, "WorkingDir");
		bool absolute = rest.len && rest.ptr[0] == '/';
		json_setl(a, c, "WorkingDir", json_str(absolute ? rest : arena_printf(a, "%.*s%s%.*s", SPAN_ARG(was),
			span_ends(was, SPAN("/")) ? "" : "/", SPAN_ARG(rest))));
	} else if (span_eq_nocase(word, SPAN("STOPSIGNAL"))) {
		json_setl(a, c, "StopSignal", json_str(rest));
	} else if (span_eq_nocase(word, SPAN("ONBUILD"))) {
		int rc = image_trigger_check(rest, err);
		if (rc < 0)
			return rc;
		json_push(a, member(a, c, "OnBuild", json_array()), json_str(rest));
	} else {
		return err_set(err, ERR_INVALID_REQUEST, "%.*s is not a valid change command", SPAN_ARG(word));
	}
	return 0;
}

/* ---- the image */

/* An archive without an entry: two blocks of zeros. */
#define EMPTY_TAR_BYTES 1024

/* *out_size 0: the container changed nothing, and there is no layer, as with Docker. */
static int layer_make(struct commit *k, struct image_digest *out, uint64_t *out_size, struct err *err)
{
	struct container_engine *e = k->op.c->e;
	struct image_ingest *in;
	int rc = image_ingest_begin(e->o.images, NULL, &in, NULL, err);
	if (rc < 0)
		return rc;
	rc = snapshot_diff(e->o.snapshots, container_snapshot_key(&k->op.arena, e, k->op.c->id), &container_mount_points,
		image_ingest_sink(in), err);
	*out_size = image_ingest_size(in);
	if (rc < 0 || *out_size <= EMPTY_TAR_BYTES) {
		*out_size = 0;
		image_ingest_drop(in, false);
		return rc;
	}
	return image_ingest_commit(in, out, err);
}

static void strings_out(struct json_out *o, const char *key, struct span value)
{
	container_out_s(o, key, value);
}

/* diff: NULL without a layer. */
static int config_make(struct commit *k, const struct image_config *from, const struct image_digest *diff, struct buf *out,
	struct err *err)
{
	struct arena *a = &k->op.arena;
	const struct container *c = k->op.c;
	struct json v = from->tree.kind == JSON_OBJECT ? json_copy(a, &from->tree) : json_object();
	struct image_platform here = image_platform_here();
	struct json now = container_time(clock_wall_ns(clock_real()), a), entry = json_object();
	if (!json_getl(&v, "os")) {
		json_setl(a, &v, "os", json_cstr(arena_cstr(a, span_of(here.os))));
		json_setl(a, &v, "architecture", json_cstr(arena_cstr(a, span_of(here.arch))));
	}
	json_setl(a, &v, "created", now);
	if (k->author.len)
		json_setl(a, &v, "author", json_str(k->author));
	json_setl(a, &v, "config", k->config);
	json_setl(a, &v, "container", json_cstr(c->id));
	struct json *rootfs = member(a, &v, "rootfs", json_object());
	json_setl(a, rootfs, "type", json_cstr("layers"));
	struct json *diff_ids = member(a, rootfs, "diff_ids", json_array());
	if (diff)
		json_push(a, diff_ids, json_str(image_digest_span(diff)));
	json_setl(a, &entry, "created", now);
	auto_buf struct buf by = {};
	JSON_EACH_ITEM (json_getl(c->config, "Cmd"), item)
		buf_printf(&by, "%s%.*s", by.len ? " " : "", SPAN_ARG(json_span(item)));
	json_setl(a, &entry, "created_by", json_str(arena_span(a, buf_span(&by))));
	if (k->author.len)
		json_setl(a, &entry, "author", json_str(k->author));
	if (k->comment.len)
		json_setl(a, &entry, "comment", json_str(k->comment));
	if (!diff)
		json_setl(a, &entry, "empty_layer", json_bool(true));
	json_push(a, member(a, &v, "history", json_array()), entry);
	json_write(out, &v, 0);
	return 0;
}

static void descriptor_out(struct json_out *o, struct span type, const struct image_digest *d, uint64_t size)
{
	json_out_begin(o);
	strings_out(o, "mediaType", type);
	strings_out(o, "digest", image_digest_span(d));
	container_out_i(o, "size", (int64_t)size);
	json_out_end(o);
}

static int image_make(struct commit *k, const struct image_digest *layer, uint64_t layer_size, struct err *err)
{
	struct container *c = k->op.c;
	struct container_engine *e = c->e;
	struct arena *a = &k->op.arena;
	struct image_info info;
	struct image_config from = {};
	struct image_manifest manifest = {};
	struct image_digest parent = {}, config, made, id;
	auto_buf struct buf text = {}, list = {};
	struct span base = container_str(&c->doc, "Image");
	int rc = 0;
	if (base.len) {
		rc = image_digest_parse(base, &parent, err);
		rc = rc < 0 ? rc : image_inspect(e->o.images, &parent, a, &info, &from, &manifest, err);
	}
	rc = rc < 0 ? rc : config_make(k, &from, layer_size ? layer : NULL, &text, err);
	rc = rc < 0 ? rc : image_blob_put(e->o.images, buf_span(&text), &config, err);
	if (rc < 0)
		return rc;
	struct json_out o = { .buf = &list };
	json_out_begin(&o);
	container_out_i(&o, "schemaVersion", 2);
	strings_out(&o, "mediaType", span_of(IMAGE_TYPE_OCI_MANIFEST));
	json_out_key(&o, SPAN("config"));
	descriptor_out(&o, span_of(IMAGE_TYPE_OCI_CONFIG), &config, text.len);
	json_out_key(&o, SPAN("layers"));
	json_out_begin_array(&o);
	for (size_t i = 0; i < manifest.n; i++)
		descriptor_out(&o, manifest.items[i].media_type, &manifest.items[i].digest, manifest.items[i].size);
	if (layer_size)
		descriptor_out(&o, span_of(IMAGE_TYPE_OCI_LAYER), layer, layer_size);
	json_out_end(&o);
	json_out_end(&o);
	rc = image_blob_put(e->o.images, buf_span(&list), &made, err);
	rc = rc < 0 ? rc : image_register(e->o.images, &made, base.len ? &parent : NULL, &e->unpacker, NULL, &id, err);
	if (rc == 0 && k->reference.len)
		rc = image_tag(e->o.images, &id, k->reference, err);
	if (rc < 0)
		return rc;
	k->op.result = json_object();
	json_setl(a, &k->op.result, "Id", json_str(arena_span(a, image_digest_span(&id))));
	const struct json *labels = json_getl(&k->config, "Labels");
	json_setl(a, &k->op.result, "Labels", json_is(labels, JSON_OBJECT) ? *labels : json_object());
	return 0;
}

static void commit_run(struct loop_work *w)
{
	struct commit *k = OP_OF_WORK(commit, w);
	struct image_digest layer;
	uint64_t size = 0;
	bool frozen = k->pause && runtime_freeze(k->runtime, k->op.c->id, true, NULL) == 0; /* else it ended: nothing changes */
	int rc = layer_make(k, &layer, &size, &k->op.err);
	if (frozen)
		(void)runtime_freeze(k->runtime, k->op.c->id, false, NULL); /* it ended */
	if (rc == 0)
		image_make(k, &layer, size, &k->op.err);
}

static void tag_event(struct commit *k)
{
	struct container_engine *e = k->op.c->e;
	struct json attributes = json_copy(&k->op.arena, json_getl(&k->op.result, "Labels"));
	if (!k->shown.len || !e->o.event)
		return;
	json_setl(&k->op.arena, &attributes, "name", json_str(k->shown));
	json_sort(&attributes);
	e->o.event(e->o.event_arg, &(struct container_event){ .action = SPAN("tag"), .image_tag = true,
		.id = container_str(&k->op.result, "Id"), .attributes = &attributes, .time_ns = loop_wall_ns(e->o.loop) });
}

static void commit_done(struct loop_work *w)
{
	struct commit *k = OP_OF_WORK(commit, w);
	auto_err struct err err = ERR_INIT;
	err_move(&err, &k->op.err);
	if (!err.class) {
		const char *id = arena_cstr(&k->op.arena, container_str(&k->op.result, "Id"));
		tag_event(k);
		container_event_send(k->op.c, "commit", "comment", arena_cstr(&k->op.arena, k->comment), "imageID", id, "imageRef",
			arena_cstr(&k->op.arena, k->shown), NULL);
	}
	if (k->pause)
		container_event_send(k->op.c, "unpause", NULL);
	container_op_end(&k->op, err.class ? &err : NULL);
}

static void commit_begin(struct op *op)
{
	struct commit *k = OP_OF(commit, op);
	auto_err struct err err = ERR_INIT;
	if (op->c->status == STATUS_REMOVING || op->c->status == STATUS_DEAD) {
		err_set(&err, ERR_IN_USE, "You cannot commit container %s which is %s", op->c->id,
			op->c->status == STATUS_DEAD ? "Dead" : "being removed");
		container_op_end(op, &err);
		return;
	}
	k->pause = k->pause && op->c->status == STATUS_RUNNING && !op->c->ending;
	if (k->pause)
		container_event_send(op->c, "pause", NULL);
	container_op_work(op, commit_run, commit_done);
}

/* The given configuration wins; what it does not say is the container's. */
static int config_choose(struct commit *k, const struct container_commit_params *p, struct err *err)
{
	struct arena *a = &k->op.arena;
	struct image_ref ref;
	int rc = p->reference.len ? image_ref_parse(p->reference, a, &ref, err) : 0;
	if (rc < 0)
		return rc;
	k->shown = p->reference.len ? image_ref_familiar(&ref, a) : SPAN_EMPTY;
	k->config = json_copy(a, k->op.c->config);
	JSON_EACH_MEMBER (p->config, m) {
		bool empty = m->value.kind == JSON_NULL || ((m->value.kind == JSON_STRING || m->value.kind == JSON_ARRAY ||
			m->value.kind == JSON_OBJECT) && !m->value.n);
		if (!empty)
			json_set(a, &k->config, arena_span(a, json_key(m)), json_copy(a, &m->value));
	}
	/* A host name that was made up is the container's alone. */
	if (span_is(container_str(&k->config, "Hostname"), arena_cstr(a, span_make(k->op.c->id, 12))))
		json_setl(a, &k->config, "Hostname", json_cstr(""));
	for (size_t i = 0; rc == 0 && i < p->n_changes; i++)
		rc = change_apply(a, &k->config, arena_span(a, p->changes[i]), err);
	return rc;
}

void container_commit(struct container_engine *e, struct span name, const struct container_commit_params *p,
	struct container_call *call)
{
	auto_err struct err err = ERR_INIT;
	struct container *c = container_for_call(e, name, call);
	if (!c)
		return;
	struct commit *k = container_op_new(sizeof(*k), c, "container commit", commit_begin, call);
	struct arena *a = &k->op.arena;
	k->reference = arena_span(a, p->reference);
	k->comment = arena_span(a, p->comment);
	k->author = arena_span(a, p->author);
	k->pause = !p->no_pause;
	k->runtime = arena_printf(a, "%s/runtime", e->run_dir).ptr;
	k->op.waiting_end = true;
	if (config_choose(k, p, &err) < 0) {
		container_op_refuse(&k->op, &err);
		return;
	}
	container_op_submit(&k->op);
}
