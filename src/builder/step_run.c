/* RUN: its command line, its mounts, and the layer that its container leaves. */
#include "builder/work.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container/files.h"
#include "sys/sys.h"
#include "tls/tls.h"

struct place { /* something that is mounted or lies in work/ while the step runs */
	struct place *next;
	const char *path;
	const char *snapshot; /* its key; NULL = none */
	bool mounted;
	struct cache_hold *hold;
};
struct step {
	const struct builder_instruction *in;
	struct json cmd;        /* what runs */
	struct builder_mount *mounts;
	size_t n;
	struct span *said;      /* of each, for the key */
	struct span network;
	struct span script_text, script_name; /* a here-document that is a program of its own, and its name in work/ */
	struct place *places;
	struct run run;
};

/* ---- the command line ---- */

static int command(struct build *w, struct step *s, struct err *err)
{
	const struct builder_instruction *in = s->in;
	struct builder_instruction run = *in;
	if (in->n_docs && !in->json && in->n_args == 1) {
		const struct builder_heredoc *d = &in->docs[0];
		struct span *word = arena_alloc(w->a, sizeof(*word)), text = builder_heredoc_text(d, w->a), rest = in->args[0];
		/* `RUN <<EOF` alone is a script; with a command before it the shell reads it as it does. */
		bool alone = in->n_docs == 1 && span_starts(rest, SPAN("<<")) && span_chr(rest, ' ') < 0 && span_chr(rest, '\t') < 0 &&
			     span_chr(rest, ';') < 0 && span_chr(rest, '|') < 0 && span_chr(rest, '>') < 0;
		if (alone && span_starts(text, SPAN("#!"))) {
			s->script_name = d->name;
			s->script_text = text;
			s->cmd = json_array();
			(void)json_push(w->a, &s->cmd, json_str(arena_printf(w->a, "/dev/pipes/%.*s", SPAN_ARG(d->name))));
			return 0;
		}
		auto_buf struct buf full = {};
		if (alone) {
			buf_span_add(&full, text);
		} else {
			buf_span_add(&full, rest);
			for (size_t i = 0; i < in->n_docs; i++)
				buf_printf(&full, "\n%.*s%.*s", SPAN_ARG(in->docs[i].content), SPAN_ARG(in->docs[i].name));
		}
		*word = arena_span(w->a, buf_span(&full));
		run.args = word;
	}
	s->cmd = builder_config_command(&w->c, &run);
	return s->cmd.n ? 0 : err_set(err, ERR_INVALID_REQUEST, "RUN requires at least one argument");
}

static int options(struct build *w, struct step *s, struct err *err)
{
	bool set;
	struct span net = builder_flag_get(s->in, "network", &set), security = builder_flag_get(s->in, "security", NULL);
	if (set && span_is(net, "host")) {
		if (!span_is(json_span(json_getl(w->p->host, "NetworkMode")), "host"))
			return err_set(err, ERR_FORBIDDEN, "network.host is not allowed: build with --network host to allow it");
	} else if (set && span_is(net, "none")) {
		s->network = SPAN("none");
	} else if (set && !span_is(net, "default")) {
		return err_set(err, ERR_INVALID_REQUEST, "unsupported network mode \"%.*s\"", SPAN_ARG(net));
	}
	if (span_is(security, "insecure"))
		return err_set(err, ERR_FORBIDDEN, "security.insecure is not allowed");
	if (security.len && !span_is(security, "sandbox"))
		return err_set(err, ERR_INVALID_REQUEST, "security mode \"%.*s\" is not supported", SPAN_ARG(security));
	return 0;
}

/* ---- mounts: what is asked for ---- */

static int mount_read(struct build *w, struct step *s, struct span flag, struct err *err)
{
	const struct builder_scope scope = builder_config_scope(&w->c);
	struct builder_mount *m = &s->mounts[s->n];
	struct span text;
	int rc = builder_expand(flag, &scope, w->a, &text, err);
	rc = rc < 0 ? rc : builder_mount_parse(text, w->a, m, err);
	if (rc < 0)
		return rc;
	if (m->kind == BUILDER_MOUNT_SECRET || m->kind == BUILDER_MOUNT_SSH) {
		/* They come through a BuildKit session. What is not required is not there, as BuildKit has it then. */
		const char *what = m->kind == BUILDER_MOUNT_SECRET ? "secret" : "ssh";
		if (m->required)
			return err_set(err, ERR_UNSUPPORTED,
				"RUN --mount=type=%s,required: this engine builds without BuildKit sessions yet, so it has "
				"no secrets and no ssh agent", what);
		return builder_say(w, "[Warning] --mount=type=%s is passed over: this engine builds without BuildKit sessions yet\n",
			what) < 0 ?
			       -ERR_CANCELLED : 0;
	}
	if (!m->target.len)
		return err_set(err, ERR_INVALID_REQUEST, "invalid mount target \"%.*s\"", SPAN_ARG(m->target));
	if (!span_starts(m->target, SPAN("/")))
		m->target = arena_printf(w->a, "%.*s/%.*s", SPAN_ARG(json_span(json_getl(&w->c.doc, "WorkingDir"))), SPAN_ARG(m->target));
	m->target = builder_path_clean(w->a, arena_printf(w->a, "/%.*s", SPAN_ARG(m->target)));
	if (span_is(m->target, "/"))
		return err_set(err, ERR_INVALID_REQUEST, "invalid mount target \"/\"");
	auto_buf struct buf key = {};
	buf_printf(&key, "--mount=%.*s", SPAN_ARG(text));
	if (m->kind == BUILDER_MOUNT_BIND) {
		struct image_digest id;
		if (m->from.len) {
			rc = builder_from_need(w, m->from, &id, err);
			buf_printf(&key, "@%s", rc < 0 ? "" : id.text);
		} else {
			struct tree_node *n;
			uint8_t sha[32];
			struct span path = m->source.len ? m->source : SPAN("/");
			builder_context_enter(w);
			rc = builder_tree_find(w->context, path, true, &n, err);
			if (rc < 0)
				err_note(err, "failed to compute cache key: \"%.*s\"", SPAN_ARG(path));
			rc = rc < 0 ? rc : builder_tree_digest(w->context, n, NULL, sha, err);
			builder_context_leave(w);
			if (rc < 0)
				return rc;
			buf_str(&key, "@");
			hex_add(&key, sha, sizeof(sha));
		}
	}
	if (rc < 0)
		return rc;
	s->said[s->n++] = arena_span(w->a, buf_span(&key));
	return 0;
}

static int mounts_read(struct build *w, struct step *s, struct err *err)
{
	int rc = 0;
	s->mounts = arena_alloc_n(w->a, s->in->n_flags + 1, sizeof(*s->mounts));
	s->said = arena_alloc_n(w->a, s->in->n_flags + 1, sizeof(*s->said));
	for (size_t i = 0; i < s->in->n_flags && rc == 0; i++)
		if (span_is(s->in->flags[i].name, "mount"))
			rc = mount_read(w, s, s->in->flags[i].value, err);
	return rc;
}

/* ---- mounts: what is made of them ---- */

static struct place *place_add(struct build *w, struct step *s, const char *path)
{
	struct place *p = arena_new(w->a, struct place);
	p->path = path;
	p->next = s->places;
	s->places = p;
	return p;
}

static void places_end(struct build *w, struct step *s)
{
	if (s->run.stuck) {
		/* Its container still has them: cache mounts stay taken while this process lives, and the rest goes with the next open. */
		for (struct place *p = s->places; p; p = p->next)
			if (p->hold)
				builder_cache_keep(w->b, p->hold);
		return;
	}
	for (struct place *p = s->places; p; p = p->next) {
		if (p->hold) {
			builder_cache_release(w->b, p->hold);
			continue;
		}
		if (p->mounted)
			(void)umount2(p->path, MNT_DETACH); /* a leftover goes with the next open */
		auto_fd int work = open(w->b->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (work >= 0)
			(void)snapshot_tree_remove(work, strrchr(p->path, '/') + 1, NULL);
		if (p->snapshot)
			(void)snapshot_remove(w->b->o.snapshots, p->snapshot, NULL);
	}
	s->places = NULL;
}

static const char *work_path(struct build *w, const char *prefix)
{
	return arena_printf(w->a, "%s/%s", w->b->work, builder_work_name(w->b, w->a, prefix)).ptr;
}

static int context_write(struct build *w, struct layer *l, struct tree_node *n, struct err *err)
{
	const struct layer_owner own = { .set = true };
	return builder_layer_copy(l, w->context, n, n->kind == TAR_DIR ? SPAN_EMPTY : n->name, NULL, &own, err);
}

/* The context as folders: written as an archive, extracted as one, so that nothing in it leads anywhere. */
static int context_unpack(struct build *w, struct tree_node *n, int to, struct err *err)
{
	auto_fd int spool = open(w->b->work, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (spool < 0)
		return err_sys(err, "make a file in %s", w->b->work);
	struct tar_fd_sink sink;
	struct layer l;
	tar_fd_sink_init(&sink, spool);
	builder_layer_begin(&l, &sink.sink, -1, NULL, builder_now_ns(w));
	l.stop = w->p->stop;
	l.any_name = true;
	builder_context_enter(w);
	int rc = context_write(w, &l, n, err);
	builder_context_leave(w);
	rc = rc < 0 ? rc : builder_layer_end(&l, err);
	builder_layer_done(&l);
	if (rc < 0)
		return rc;
	struct tar_fd_source from;
	struct stop_source stopping;
	const struct container_files_put how = {};
	if (lseek(spool, 0, SEEK_SET) < 0)
		return err_sys(err, "read what was written");
	tar_fd_source_init(&from, spool);
	builder_stop_source(&stopping, &from.source, w->p->stop);
	rc = container_files_put(to, "the build context", SPAN("/"), &stopping.source, &how, err);
	tar_fd_source_done(&from);
	return rc;
}

/* The host's name of a path inside root. */
static int source_path(struct build *w, int root, struct span path, const char **out, struct err *err)
{
	char link[40], to[4096];
	auto_free char *name = path.len ? mem_dup(path.ptr, path.len) : mem_dup("/", 1);
	auto_fd int fd = sys_path_open(root, name, O_PATH, 0);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = fd < 0 ? -1 : readlink(link, to, sizeof(to) - 1);
	if (n < 0)
		return err_sys(err, "failed to mount \"%s\"", name);
	*out = arena_cstr(w->a, span_make(to, (size_t)n));
	return 0;
}

static int bind_context(struct build *w, struct step *s, const struct builder_mount *m, struct run_mount *out, struct err *err)
{
	struct tree_node *n;
	const char *at = work_path(w, "context");
	builder_context_enter(w);
	int rc = builder_tree_find(w->context, m->source.len ? m->source : SPAN("/"), true, &n, err);
	builder_context_leave(w);
	if (rc < 0)
		return rc;
	if (mkdir(at, 0755) < 0)
		return err_sys(err, "make folder %s", at);
	(void)place_add(w, s, at);
	auto_fd int dir = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = dir < 0 ? err_sys(err, "open %s", at) : context_unpack(w, n, dir, err);
	out->source = n->kind == TAR_DIR ? at : arena_printf(w->a, "%s/%.*s", at, SPAN_ARG(n->name)).ptr;
	return rc;
}

static int bind_image(struct build *w, struct step *s, const struct builder_mount *m, struct run_mount *out, struct err *err)
{
	struct image_digest id;
	char chain[65] = "";
	const char *at = work_path(w, "bind");
	int rc = builder_from_need(w, m->from, &id, err);
	rc = rc < 0 || !id.text[0] ? rc : image_top(w->b->o.images, &id, chain, err);
	if (rc < 0)
		return rc;
	if (mkdir(at, 0755) < 0)
		return err_sys(err, "make folder %s", at);
	struct place *p = place_add(w, s, at);
	if (!m->read_only) {
		/* Writes are allowed and forgotten. */
		p->snapshot = builder_work_name(w->b, w->a, "build");
		rc = snapshot_prepare(w->b->o.snapshots, p->snapshot, chain, err);
		rc = rc < 0 ? rc : snapshot_mount(w->b->o.snapshots, p->snapshot, at, false, err);
	} else if (chain[0]) {
		rc = snapshot_layer_mount(w->b->o.snapshots, chain, at, err);
	}
	p->mounted = rc == 0 && (chain[0] || !m->read_only);
	auto_fd int root = rc < 0 ? -1 : open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rc == 0 && root < 0)
		rc = err_sys(err, "open %s", at);
	return rc < 0 ? rc : source_path(w, root, m->source, &out->source, err);
}

static int stop_check(void *stop, struct err *err)
{
	return builder_stop_check(stop, err);
}

static int cache_fill(struct build *w, const struct builder_mount *m, int to, struct err *err)
{
	struct image_digest id;
	auto_fd int root = -1, from = -1;
	int rc = builder_from_need(w, m->from, &id, err);
	rc = rc < 0 ? rc : builder_root_open(w, &id, &root, err);
	if (rc < 0)
		return rc;
	auto_free char *name = m->source.len ? mem_dup(m->source.ptr, m->source.len) : mem_dup("/", 1);
	from = sys_path_open(root, name, O_RDONLY | O_DIRECTORY, 0);
	return from < 0 ? err_sys(err, "failed to mount \"%s\"", name) :
		snapshot_tree_copy_while(from, to, stop_check, w->p->stop, err);
}

static struct span cache_id(const struct builder_mount *m)
{
	return m->id.len ? m->id : m->target;
}

/* One cache mounted in several places of a step is taken once, as the first of them asks for it: BuildKit's getRefCacheDir clones
 * what the same exec has, whatever the sharing. A lock would wait for itself. */
static int bind_cache(struct build *w, struct step *s, const struct builder_mount *m, struct run_mount *out, struct err *err)
{
	struct cache_hold *hold;
	const char *fresh;
	int rc = builder_cache_take(w->b, cache_id(m), m->sharing, w->p->stop, &hold, &out->source, &fresh, err);
	if (rc < 0)
		return rc;
	place_add(w, s, out->source)->hold = hold;
	if (!fresh)
		return 0;
	auto_fd int dir = open(fresh, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "open %s", fresh);
	rc = m->from.len ? cache_fill(w, m, dir, err) : 0;
	if (rc == 0 && m->from.len && syncfs(dir) < 0) /* whole or not there, after a power cut too: the name comes behind it */
		rc = err_sys(err, "sync %s", fresh);
	FAILPOINT("builder.cache.filled");
	if (rc == 0 && (fchown(dir, m->uid, m->gid) < 0 || fchmod(dir, m->mode_set ? m->mode : 0755) < 0))
		rc = err_sys(err, "owner of %s", fresh);
	return rc < 0 ? rc : builder_cache_made(w->b, hold, err);
}

/* The first mount of the same cache. */
static size_t cache_first(const struct step *s, size_t i)
{
	size_t k = 0;
	while (k < i && !(s->mounts[k].kind == BUILDER_MOUNT_CACHE && span_eq(cache_id(&s->mounts[k]), cache_id(&s->mounts[i]))))
		k++;
	return k;
}

/* All caches of a step, in the order of their ids: two steps that want the same two never wait for each other. */
static int caches_take(struct build *w, struct step *s, struct run_mount *out, struct err *err)
{
	size_t n = 0, *order = arena_alloc_n(w->a, s->n + 1, sizeof(*order));
	int rc = 0;
	for (size_t i = 0; i < s->n; i++) {
		if (s->mounts[i].kind != BUILDER_MOUNT_CACHE || cache_first(s, i) != i)
			continue;
		size_t at = n++;
		while (at && span_cmp(cache_id(&s->mounts[i]), cache_id(&s->mounts[order[at - 1]])) < 0) {
			order[at] = order[at - 1];
			at--;
		}
		order[at] = i;
	}
	for (size_t k = 0; k < n && rc == 0; k++)
		rc = bind_cache(w, s, &s->mounts[order[k]], &out[order[k]], err);
	for (size_t i = 0; i < s->n && rc == 0; i++)
		if (s->mounts[i].kind == BUILDER_MOUNT_CACHE)
			out[i].source = out[cache_first(s, i)].source;
	return rc;
}

static int mounts_make(struct build *w, struct step *s, struct run_mount *out, size_t *out_n, struct err *err)
{
	int rc = caches_take(w, s, out, err);
	*out_n = 0;
	for (size_t i = 0; i < s->n && rc == 0; i++) {
		const struct builder_mount *m = &s->mounts[i];
		struct run_mount *r = &out[(*out_n)++];
		*r = (struct run_mount){ .kind = m->kind, .source = r->source, .target = m->target, .read_only = m->read_only,
			.size = m->size };
		if (m->kind == BUILDER_MOUNT_BIND)
			rc = m->from.len ? bind_image(w, s, m, r, err) : bind_context(w, s, m, r, err);
	}
	if (rc == 0 && s->script_name.len) {
		const char *at = work_path(w, "script");
		rc = io_write_file_lazy(AT_FDCWD, at, s->script_text, 0755, err);
		if (rc == 0 && chmod(at, 0755) < 0)
			rc = err_sys(err, "mode of %s", at);
		(void)place_add(w, s, at);
		out[(*out_n)++] = (struct run_mount){ .kind = BUILDER_MOUNT_BIND, .source = at, .read_only = true,
			.target = arena_printf(w->a, "/dev/pipes/%.*s", SPAN_ARG(s->script_name)) };
	}
	return rc;
}

/* ---- the layer ---- */

static int clamp_write(struct build *w, struct layer *l, void *arg, struct err *err)
{
	return builder_layer_pass(l, arg, err);
}

/* SOURCE_DATE_EPOCH: no time in the layer is later. */
static int clamp(struct build *w, struct image_digest *layer, uint64_t *bytes, struct err *err)
{
	auto_fd int fd = -1;
	uint64_t size;
	struct tar_fd_source from;
	int rc = image_blob_open(w->b->o.images, layer, &fd, &size, err);
	if (rc < 0)
		return rc;
	tar_fd_source_init(&from, fd);
	rc = builder_layer_make(w, -1, clamp_write, &from.source, layer, bytes, err);
	tar_fd_source_done(&from);
	return rc;
}

static struct json container_config(struct build *w, const struct base *base, const struct json *cmd, const struct span *env,
	size_t n)
{
	struct json c = json_copy(w->a, &w->c.doc), entry = json_array(), none = json_array(), health = json_object();
	struct json *list = json_getl(&c, "Env");
	for (size_t i = 0; i < n; i++)
		(void)json_push(w->a, list, json_str(env[i]));
	(void)json_push(w->a, &entry, json_cstr("")); /* neither the image's entrypoint nor its health check concern a step */
	(void)json_push(w->a, &none, json_cstr("NONE"));
	(void)json_setl(w->a, &health, "Test", none);
	(void)json_setl(w->a, &c, "Image", json_str(image_digest_span(&base->id)));
	(void)json_setl(w->a, &c, "Cmd", *cmd);
	(void)json_setl(w->a, &c, "Entrypoint", entry);
	(void)json_setl(w->a, &c, "Healthcheck", health);
	(void)json_remove(&c, SPAN("OnBuild"));
	return c;
}

static void failed(struct build *w, struct step *s, struct err *err)
{
	auto_buf struct buf words = {};
	JSON_EACH_ITEM(&s->cmd, item)
		buf_printf(&words, "%s%.*s", item == s->cmd.items ? "" : " ", SPAN_ARG(json_span(item)));
	w->code = s->run.code;
	(void)err_set(err, ERR_INTERNAL, "The command '%s' returned a non-zero code: %d", buf_cstr(&words), s->run.code);
}

static int run_layer(struct build *w, const struct base *base, void *arg, struct image_digest *out, uint64_t *out_bytes,
	struct err *err)
{
	struct step *s = arg;
	struct run *r = &s->run;
	struct span *env, *key;
	size_t n_env, n_key;
	if (!base->id.text[0])
		return err_set(err, ERR_INVALID_REQUEST, "RUN in an empty image (FROM scratch): COPY a program into it first");
	builder_vars_run(&w->vars, json_getl(&w->c.doc, "Env"), &env, &n_env, &key, &n_key);
	struct json config = container_config(w, base, &s->cmd, env, n_env);
	struct run_mount *mounts = arena_zalloc(w->a, (s->n + 1) * sizeof(*mounts));
	*r = (struct run){ .b = w->b, .p = w->p, .a = w->a, .config = &config, .mounts = mounts, .network = s->network };
	int rc = mounts_make(w, s, mounts, &r->n_mounts, err);
	rc = rc < 0 ? rc : builder_run_start(r, err);
	if (rc == 0 && r->code) {
		failed(w, s, err);
		rc = -ERR_INTERNAL;
	}
	rc = rc < 0 ? rc : builder_run_layer(r, out, out_bytes, err);
	if (rc == 0 && *out_bytes && w->epoch_set)
		rc = clamp(w, out, out_bytes, err);
	/* One that failed stays to be looked at, as Docker has it; one that was cancelled concerns nobody. */
	bool remove = rc == 0 ? !w->p->keep : w->p->force_rm || rc == -ERR_CANCELLED || builder_stop_raised(w->p->stop);
	const char *short_id = r->id[0] ? arena_printf(w->a, "%.12s", r->id).ptr : NULL;
	builder_run_settle(w->b, r, remove);
	if (remove) {
		auto_err struct err why = ERR_INIT;
		int removed = builder_run_remove(r, &why);
		if (removed < 0 && rc == 0)
			rc = err ? err_move(err, &why) : removed;
		if (rc == 0 && short_id && builder_say(w, "Removing intermediate container %s\n", short_id) < 0)
			rc = err_set(err, ERR_CANCELLED, "the client is gone");
	}
	places_end(w, s);
	return rc;
}

int builder_step_run(struct build *w, const struct builder_instruction *in, struct err *err)
{
	struct step s = { .in = in };
	struct span *env, *key;
	size_t n_env, n_key;
	int rc = command(w, &s, err);
	rc = rc < 0 ? rc : options(w, &s, err);
	rc = rc < 0 ? rc : mounts_read(w, &s, err);
	if (rc < 0)
		return rc;
	struct json cmd = json_array();
	builder_vars_run(&w->vars, json_getl(&w->c.doc, "Env"), &env, &n_env, &key, &n_key);
	if (n_env) {
		(void)json_push(w->a, &cmd, json_str(arena_printf(w->a, "|%zu", n_key)));
		for (size_t i = 0; i < n_key; i++)
			(void)json_push(w->a, &cmd, json_str(key[i]));
	}
	for (size_t i = 0; i < s.n; i++)
		(void)json_push(w->a, &cmd, json_str(s.said[i]));
	if (s.network.len)
		(void)json_push(w->a, &cmd, json_str(arena_printf(w->a, "--network=%.*s", SPAN_ARG(s.network))));
	JSON_EACH_ITEM(&s.cmd, item)
		(void)json_push(w->a, &cmd, *item);
	if (s.script_name.len)
		(void)json_push(w->a, &cmd, json_str(s.script_text));
	return builder_step(w, &cmd, run_layer, &s, err);
}
