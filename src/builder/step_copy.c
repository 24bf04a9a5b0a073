/* COPY, ADD and WORKDIR: what makes layers without running anything. */
#include "builder/work.h"

#include <fcntl.h>
#include <unistd.h>

#include "sys/sys.h"
#include "tls/tls.h"

struct source {
	struct tree *tree;
	struct tree_node *node;
	struct span name;      /* what a destination folder calls it */
	struct span keep;      /* --parents: folders that go along */
	bool remote;           /* from a URL: not unpacked unless told so */
	const struct builder_heredoc *doc;
	struct span text;      /* of doc */
};
struct copy {
	const struct builder_instruction *in;
	struct tree *tree;     /* the context, or from */
	struct tree from;
	struct tree *urls;     /* one each */
	size_t n_urls;
	struct source *items;
	size_t n, cap;
	struct span to;        /* absolute; closing '/' kept */
	struct span to_said;   /* as it is written, expanded */
	bool to_folder;        /* it ends with '/', or is "." */
	struct span chown;
	struct layer_owner own;
	bool link, parents, from_other;
	enum { UNPACK_LOCAL, UNPACK_YES, UNPACK_NO } unpack;
	struct builder_ignore *skip;
	struct span key;       /* "file:HEX" */
};

static void copy_done(struct copy *c)
{
	builder_tree_done(&c->from);
	for (size_t i = 0; i < c->n_urls; i++)
		builder_tree_done(&c->urls[i]);
}

/* A folder's tree is the step's own. */
static void enter(struct build *w, const struct copy *c)
{
	if (!c->from_other)
		builder_context_enter(w);
}

static void leave(struct build *w, const struct copy *c)
{
	if (!c->from_other)
		builder_context_leave(w);
}

static int expand(struct build *w, struct span text, struct span *out, struct err *err)
{
	const struct builder_scope scope = builder_config_scope(&w->c);
	return builder_expand(text, &scope, w->a, out, err);
}

/* ---- flags ---- */

static int excludes(struct build *w, struct copy *c, struct err *err)
{
	auto_buf struct buf lines = {};
	for (size_t i = 0; i < c->in->n_flags; i++) {
		struct span one;
		if (!span_is(c->in->flags[i].name, "exclude"))
			continue;
		int rc = expand(w, c->in->flags[i].value, &one, err);
		if (rc < 0)
			return rc;
		buf_printf(&lines, "%.*s\n", SPAN_ARG(one));
	}
	if (!lines.len)
		return 0;
	c->skip = arena_new(w->a, struct builder_ignore);
	return builder_ignore_parse(arena_span(w->a, buf_span(&lines)), w->a, c->skip, err);
}

static int flags(struct build *w, struct copy *c, struct err *err)
{
	bool set;
	struct span mode, text = builder_flag_get(c->in, "chmod", &set);
	int rc = expand(w, text, &mode, err);
	if (rc == 0 && set) {
		uint64_t bits;
		if (!span_to_u64_base(mode, 8, &bits) || bits > 07777)
			return err_set(err, ERR_INVALID_REQUEST,
				"invalid chmod parameter: '%.*s'. it should be octal string and between 0 and 07777",
				SPAN_ARG(mode));
		c->own.mode_set = true;
		c->own.mode = (mode_t)bits;
	}
	rc = rc < 0 ? rc : expand(w, builder_flag_get(c->in, "chown", NULL), &c->chown, err);
	c->link = builder_flag_on(c->in, "link");
	c->parents = builder_flag_on(c->in, "parents");
	text = builder_flag_get(c->in, "unpack", &set);
	if (set)
		c->unpack = builder_flag_on(c->in, "unpack") ? UNPACK_YES : UNPACK_NO;
	return rc < 0 ? rc : excludes(w, c, err);
}

/* ---- sources ---- */

static struct source *item_add(struct build *w, struct copy *c)
{
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 8;
		struct source *more = arena_alloc_n(w->a, cap, sizeof(*more));
		if (c->n)
			memcpy(more, c->items, c->n * sizeof(*more));
		c->items = more;
		c->cap = cap;
	}
	c->items[c->n] = (struct source){ .tree = c->tree };
	return &c->items[c->n++];
}

static int missing(const struct copy *c, struct span path, struct err *err)
{
	while (span_starts(path, SPAN("/")))
		path = span_from(path, 1);
	return err_set(err, ERR_NOT_FOUND, "%s failed: %sstat %.*s: file does not exist", builder_op_name(c->in->op),
		c->from_other ? "" : "file not found in build context or excluded by .dockerignore: ", SPAN_ARG(path));
}

static struct span base_name(struct span path)
{
	while (path.len > 1 && path.ptr[path.len - 1] == '/')
		path.len--;
	return span_from(path, (size_t)(span_rchr(path, '/') + 1));
}

/* Does path climb above its root, read as text? */
static bool climbs(struct span path)
{
	struct span part;
	int depth = 0;
	while (span_cut(&path, '/', &part)) {
		if (!part.len || span_is(part, "."))
			continue;
		depth += span_is(part, "..") ? -1 : 1;
		if (depth < 0)
			return true;
	}
	return false;
}

static int path_add(struct build *w, struct copy *c, struct span path, struct err *err)
{
	struct tree_node **found, *one;
	size_t n = 1;
	int rc;
	if (!c->from_other && climbs(path))
		return err_set(err, ERR_INVALID_REQUEST, "%s failed: forbidden path outside the build context: %.*s ()",
			builder_op_name(c->in->op), SPAN_ARG(path));
	if (builder_glob_is(path)) {
		rc = builder_tree_glob(c->tree, path, w->a, &found, &n, err);
		if (rc < 0)
			return err_note(err, "%s failed", builder_op_name(c->in->op)), rc;
	} else {
		found = &one;
		auto_err struct err why = ERR_INIT;
		rc = builder_tree_find(c->tree, path, false, &one, &why);
		if (rc == -ERR_NOT_FOUND)
			return missing(c, path, err);
		if (rc < 0)
			return err ? err_move(err, &why) : rc;
	}
	for (size_t i = 0; i < n; i++) {
		struct tree_node *node = found[i];
		if (node->kind == TAR_SYMLINK) { /* what is named is followed; what lies in a folder is not */
			auto_err struct err why = ERR_INIT;
			rc = builder_tree_find(c->tree, found[i]->path, true, &node, &why);
			if (rc == -ERR_NOT_FOUND)
				return missing(c, found[i]->path, err);
			if (rc < 0)
				return err ? err_move(err, &why) : rc;
		}
		struct source *s = item_add(w, c);
		s->node = node;
		s->name = builder_glob_is(path) ? found[i]->name : base_name(path);
		if (!s->name.len || span_is(s->name, ".") || span_is(s->name, ".."))
			s->name = node->name;
		if (c->parents) {
			/* What stands before "/./" stays behind. */
			ptrdiff_t pivot = span_find(path, SPAN("/./"));
			struct span full = found[i]->path, dir = span_sub(full, 0, full.len - found[i]->name.len);
			if (pivot >= 0) {
				struct span cut = span_from(builder_path_clean(w->a, span_sub(path, 0, (size_t)pivot)), 1);
				if (cut.len && span_starts(dir, cut))
					dir = span_from(dir, MIN(cut.len + 1, dir.len));
			}
			s->keep = node->kind == TAR_DIR ? span_from(full, (size_t)(dir.ptr - full.ptr)) : dir;
		}
	}
	return 0;
}

static int doc_add(struct build *w, struct copy *c, const struct builder_heredoc *d, struct err *err)
{
	struct span text = builder_heredoc_text(d, w->a);
	int rc = 0;
	if (d->expand) {
		struct builder_scope scope = builder_config_scope(&w->c);
		scope.raw_quotes = true;
		scope.raw_escapes = true;
		rc = builder_expand(text, &scope, w->a, &text, err);
	}
	if (rc < 0)
		return rc;
	struct source *s = item_add(w, c);
	s->doc = d;
	s->text = text;
	s->name = d->name;
	s->remote = true; /* never unpacked */
	return 0;
}

static int checksum(struct build *w, struct copy *c, struct source *s, struct err *err)
{
	struct span want;
	struct image_digest parsed;
	uint8_t have[32];
	auto_buf struct buf hex = {};
	int rc = expand(w, builder_flag_get(c->in, "checksum", NULL), &want, err);
	if (rc < 0 || !want.len)
		return rc;
	rc = image_digest_parse(want, &parsed, err);
	if (rc < 0)
		return err_note(err, "ADD --checksum"), rc;
	struct tls_hash h;
	struct tree_source data;
	struct span piece;
	tls_sha256_begin(&h);
	rc = builder_tree_source(s->tree, s->node, &data, err);
	while (rc >= 0 && (rc = data.source.pull(&data.source, &piece, err)) > 0)
		tls_hash_add(&h, piece.ptr, piece.len);
	builder_tree_source_done(&data);
	tls_hash_end(&h, have);
	if (rc < 0)
		return rc;
	hex_add(&hex, have, sizeof(have));
	return span_is(buf_span(&hex), parsed.text + 7) ? 0 :
		err_set(err, ERR_INVALID_REQUEST, "digest mismatch sha256:%s: %s", buf_cstr(&hex), parsed.text);
}

static int url_add(struct build *w, struct copy *c, struct span url, struct err *err)
{
	struct fetched f;
	if (span_starts(url, SPAN("git@")) || span_ends(url, SPAN(".git")) || span_has(url, SPAN(".git#")))
		return err_set(err, ERR_UNSUPPORTED, "ADD failed: %.*s: this engine fetches no git repositories", SPAN_ARG(url));
	int rc = builder_fetch(w->b, w->p, url, w->a, &f, err);
	if (rc < 0)
		return err_note(err, "ADD failed"), rc;
	struct span name = f.name;
	if (!name.len && c->to_folder) {
		fd_close(&f.fd);
		return err_set(err, ERR_INVALID_REQUEST, "ADD failed: cannot determine filename for source %.*s", SPAN_ARG(url));
	}
	if (w->epoch_set && f.mtime.tv_sec == 0)
		f.mtime.tv_sec = w->epoch_s;
	struct tree *t = &c->urls[c->n_urls++];
	rc = builder_tree_single(t, f.fd, name.len ? name : SPAN("data"), 0600, f.mtime, w->p->stop, err);
	if (rc < 0)
		return rc;
	struct source *s = item_add(w, c);
	*s = (struct source){ .tree = t, .node = t->root->first, .name = t->root->first->name, .remote = true };
	return checksum(w, c, s, err);
}

static bool is_url(struct span s)
{
	return span_starts(s, SPAN("http://")) || span_starts(s, SPAN("https://"));
}

static int sources(struct build *w, struct copy *c, struct err *err)
{
	const struct builder_instruction *in = c->in;
	struct span word = builder_flag_get(in, "from", NULL);
	int rc = 0;
	c->tree = w->context;
	if (word.len) {
		struct image_digest id;
		int root = -1;
		rc = builder_from_need(w, word, &id, err);
		rc = rc < 0 ? rc : builder_root_open(w, &id, &root, err);
		rc = rc < 0 ? rc : builder_tree_folder(&c->from, root, w->p->stop, err);
		c->tree = &c->from;
		c->from_other = true;
	}
	c->urls = arena_zalloc(w->a, (in->n_args + 1) * sizeof(*c->urls));
	bool local = false, remote = false;
	size_t doc = 0;
	for (size_t i = 0; i + 1 < in->n_args && rc == 0; i++) {
		struct span one;
		if (doc < in->n_docs && !in->json && span_starts(in->args[i], SPAN("<<"))) {
			rc = doc_add(w, c, &in->docs[doc++], err);
			continue;
		}
		rc = expand(w, in->args[i], &one, err);
		if (rc < 0)
			break;
		if (in->op == BUILDER_ADD && (is_url(one) || span_starts(one, SPAN("git@")))) {
			remote = true;
			rc = url_add(w, c, one, err);
		} else if (is_url(one)) {
			rc = err_set(err, ERR_INVALID_REQUEST, "COPY failed: source can't be a URL for COPY");
		} else {
			local = true;
			enter(w, c);
			rc = path_add(w, c, one, err);
			leave(w, c);
		}
	}
	if (rc < 0)
		return rc;
	if (!c->n)
		return err_set(err, ERR_INVALID_REQUEST, "%s failed: no source files were specified", builder_op_name(in->op));
	if (local && !remote && builder_flag_get(in, "checksum", NULL).len)
		return err_set(err, ERR_INVALID_REQUEST, "checksum can't be specified for non-HTTP(S) sources");
	if (c->n > 1 && !c->to_folder)
		return err_set(err, ERR_INVALID_REQUEST,
			"When using %s with more than one source file, the destination must be a directory and end with a /",
				builder_op_name(in->op));
	return 0;
}

/* ---- the key ---- */

static int key_make(struct build *w, struct copy *c, struct err *err)
{
	auto_buf struct buf all = {}, one = {};
	uint8_t sha[32];
	for (size_t i = 0; i < c->n; i++) {
		const struct source *s = &c->items[i];
		bool dir = s->node && s->node->kind == TAR_DIR;
		struct tls_hash h;
		if (s->doc) {
			tls_sha256(s->text, sha);
		} else {
			int rc = builder_tree_digest(s->tree, s->node, dir ? c->skip : NULL, sha, err);
			if (rc < 0)
				return rc;
		}
		/* The name matters where it becomes one; a folder's does not: its contents are copied. */
		tls_sha256_begin(&h);
		tls_hash_add(&h, sha, sizeof(sha));
		if (!dir || c->parents) {
			tls_hash_add(&h, s->keep.ptr ? s->keep.ptr : "", s->keep.len);
			tls_hash_add(&h, s->name.ptr, s->name.len);
		}
		tls_hash_end(&h, sha);
		buf_trunc(&one, 0);
		buf_str(&one, dir ? "dir:" : "file:");
		hex_add(&one, sha, sizeof(sha));
		buf_printf(&all, "%s%s", i ? "," : "", buf_cstr(&one));
	}
	if (c->n > 1) {
		tls_sha256(buf_span(&all), sha);
		buf_trunc(&all, 0);
		buf_str(&all, "multi:");
		hex_add(&all, sha, sizeof(sha));
	}
	c->key = arena_span(w->a, buf_span(&all));
	return 0;
}

/* ---- owners ---- */

/* A name's number in FILE of the root below (/etc/passwd, /etc/group), or the number itself. */
static int owner_number(int lower, const char *file, struct span name, bool group, uint32_t *out, struct err *err)
{
	const char *id = group ? "gid" : "uid", *what = group ? "group" : "user";
	uint64_t n;
	auto_buf struct buf text = {};
	struct span rest, line, field[3];
	if (span_to_u64(name, &n)) {
		if (n >= UINT32_MAX)
			return err_set(err, ERR_INVALID_REQUEST,
				"unable to convert uid/gid chown string to host mapping: %s %.*s is out of range", id,
				SPAN_ARG(name));
		*out = (uint32_t)n;
		return 0;
	}
	auto_fd int fd = lower < 0 ? -1 : sys_path_open(lower, file, O_RDONLY | O_NONBLOCK, 0);
	if (fd >= 0)
		(void)io_read_all(fd, &text, 16 << 20, NULL); /* what cannot be read has no such name */
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &line)) {
		size_t i = 0;
		while (i < 3 && span_cut(&line, ':', &field[i]))
			i++;
		if (i == 3 && span_eq(field[0], name) && span_to_u64(field[2], &n) && n < UINT32_MAX) {
			*out = (uint32_t)n;
			return 0;
		}
	}
	return err_set(err, ERR_INVALID_REQUEST,
		"unable to convert uid/gid chown string to host mapping: can't find %s for %s %.*s: no such %s: %.*s", id, what,
			SPAN_ARG(name),
		what, SPAN_ARG(name));
}

static int owner_find(struct copy *c, int lower, struct err *err)
{
	struct span user, group;
	if (!c->chown.len) {
		/* What comes from outside becomes root's; what comes from an image keeps its owner. */
		c->own.set = !c->from_other;
		return 0;
	}
	if (!span_split(c->chown, ':', &user, &group) || !group.len)
		group = user;
	if (!user.len)
		return err_set(err, ERR_INVALID_REQUEST, "invalid chown string format: %.*s", SPAN_ARG(c->chown));
	int rc = owner_number(lower, "/etc/passwd", user, false, &c->own.uid, err);
	rc = rc < 0 ? rc : owner_number(lower, "/etc/group", group, true, &c->own.gid, err);
	c->own.set = rc == 0;
	return rc;
}

/* ---- the layer ---- */

static int archive_is(struct source *s, enum tar_format *out, struct err *err)
{
	struct tree_source data;
	struct span piece;
	*out = TAR_FORMAT_COUNT;
	if (s->doc || s->node->kind != TAR_FILE || !s->node->size)
		return 0;
	int rc = builder_tree_source(s->tree, s->node, &data, err);
	if (rc < 0)
		return rc;
	rc = data.source.pull(&data.source, &piece, err);
	if (rc > 0) {
		enum tar_format f = tar_format_of(piece);
		/* A plain one says so in its first header: POSIX, "ustar" at 257. */
		if (f != TAR_PLAIN || (piece.len >= 512 && memcmp(piece.ptr + 257, "ustar", 5) == 0))
			*out = f;
	}
	builder_tree_source_done(&data);
	return MIN(rc, 0);
}

/* A compressed file need not be an archive, nor an archive have anything in it: then it is copied as it is. */
static int holds_archive(struct source *s, bool *out, struct err *err)
{
	struct tree_source data;
	struct tar_inflate *plain;
	struct tar_reader *r;
	const struct tar_entry *e;
	int rc = builder_tree_source(s->tree, s->node, &data, err);
	if (rc < 0)
		return rc;
	tar_inflate_new(&data.source, 0, &plain);
	tar_reader_new(tar_inflate_source(plain), NULL, &r);
	auto_err struct err why = ERR_INIT;
	int more = tar_next(r, &e, &why);
	*out = more == 1;
	tar_reader_free(r);
	tar_inflate_free(plain);
	builder_tree_source_done(&data);
	if (more == -ERR_UNSUPPORTED) /* without the format's library nobody can tell what it is */
		return err ? err_note(&why, "ADD failed: %.*s", SPAN_ARG(s->name)), err_move(err, &why) : more;
	return 0;
}

static int extract(struct layer *l, struct copy *c, struct source *s, struct err *err)
{
	struct tree_source data;
	struct tar_inflate *plain;
	int rc = builder_tree_source(s->tree, s->node, &data, err);
	if (rc < 0)
		return rc;
	struct layer_owner own = c->own;
	own.set = own.set && c->chown.len;
	tar_inflate_new(&data.source, 0, &plain);
	rc = builder_layer_extract(l, tar_inflate_source(plain), c->to, &own, err);
	tar_inflate_free(plain);
	builder_tree_source_done(&data);
	return rc < 0 ? err_note(err, "ADD failed: %.*s", SPAN_ARG(s->name)) : 0;
}

static int doc_write(struct build *w, struct layer *l, struct copy *c, struct source *s, struct span to, struct err *err)
{
	/* As a context of that one file. */
	struct tree t;
	int fd = open(w->b->work, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "make a file in %s", w->b->work);
	int rc = io_write_all(fd, s->text.ptr, s->text.len, err);
	if (rc < 0) {
		fd_close(&fd);
		return rc;
	}
	struct timespec now = { builder_now_ns(w) / NS_PER_S, 0 };
	rc = builder_tree_single(&t, fd, SPAN("doc"), 0644, now, w->p->stop, err);
	rc = rc < 0 ? rc : builder_layer_copy(l, &t, t.root->first, to, NULL, &c->own, err);
	builder_tree_done(&t);
	return rc;
}

static int item_write(struct build *w, struct layer *l, struct copy *c, struct source *s, struct err *err)
{
	enum layer_is is;
	struct span to, dest = c->to;
	bool unpack = c->in->op == BUILDER_ADD && (c->unpack == UNPACK_YES || (c->unpack == UNPACK_LOCAL && !s->remote));
	if (unpack) {
		enum tar_format f;
		bool yes = false;
		int rc = archive_is(s, &f, err);
		if (rc < 0)
			return rc;
		if (f != TAR_FORMAT_COUNT && (rc = holds_archive(s, &yes, err)) < 0)
			return rc;
		if (yes)
			return extract(l, c, s, err);
	}
	if (c->parents)
		dest = arena_printf(w->a, "%.*s/%.*s", SPAN_ARG(dest), SPAN_ARG(s->keep));
	int rc = builder_layer_resolve(l, dest, true, &to, &is, err);
	bool dir = s->node && s->node->kind == TAR_DIR;
	if (rc == 0 && !dir && (c->to_folder || c->parents || is == LAYER_FOLDER)) {
		if (is == LAYER_OTHER)
			return err_set(err, ERR_INVALID_REQUEST, "failed to copy files: /%.*s: not a directory", SPAN_ARG(to));
		to = to.len ? arena_printf(w->a, "%.*s/%.*s", SPAN_ARG(to), SPAN_ARG(s->name)) : s->name;
		struct span real;
		rc = builder_layer_resolve(l, to, false, &real, &is, err);
		to = rc < 0 ? to : real; /* a name of a here-document or a URL may hold ".." */
		if (rc == 0 && is == LAYER_FOLDER)
			return err_set(err, ERR_INVALID_REQUEST, "failed to copy files: cannot overwrite directory /%.*s with a file",
				SPAN_ARG(to));
	}
	if (rc < 0)
		return err_note(err, "failed to copy files"), rc;
	rc = s->doc ? doc_write(w, l, c, s, to, err) : builder_layer_copy(l, s->tree, s->node, to, dir ? c->skip : NULL, &c->own,
		err);
	return rc < 0 ? err_note(err, "failed to copy files") : 0;
}

static int items_write(struct build *w, struct layer *l, void *arg, struct err *err)
{
	struct copy *c = arg;
	int rc = 0;
	for (size_t i = 0; i < c->n && rc == 0; i++)
		rc = item_write(w, l, c, &c->items[i], err);
	return rc;
}

static int copy_layer(struct build *w, const struct base *base, void *arg, struct image_digest *out, uint64_t *out_bytes,
	struct err *err)
{
	struct copy *c = arg;
	auto_fd int lower = -1;
	int rc = builder_root_open(w, &base->id, &lower, err);
	rc = rc < 0 ? rc : owner_find(c, lower, err);
	if (rc < 0)
		return rc;
	enter(w, c);
	rc = builder_layer_make(w, c->link ? -1 : lower, items_write, c, out, out_bytes, err);
	leave(w, c);
	return rc;
}

/* ---- the instructions ---- */

static int destination(struct build *w, struct copy *c, struct err *err)
{
	struct span to;
	int rc = expand(w, c->in->args[c->in->n_args - 1], &to, err);
	if (rc < 0)
		return rc;
	c->to_said = to;
	bool slash = span_ends(to, SPAN("/")), dot = span_is(to, ".") || span_ends(to, SPAN("/."));
	c->to_folder = slash || dot;
	if (!span_starts(to, SPAN("/")))
		to = arena_printf(w->a, "/%.*s/%.*s", SPAN_ARG(json_span(json_getl(&w->c.doc, "WorkingDir"))), SPAN_ARG(to));
	to = builder_path_clean(w->a, to);
	c->to = slash && to.len > 1 ? arena_printf(w->a, "%.*s/", SPAN_ARG(to)) : to;
	return 0;
}

int builder_step_copy(struct build *w, const struct builder_instruction *in, struct err *err)
{
	struct copy c = { .in = in, .from = { .fd = -1 } };
	int rc = destination(w, &c, err);
	rc = rc < 0 ? rc : flags(w, &c, err);
	rc = rc < 0 ? rc : sources(w, &c, err);
	if (rc == 0) {
		enter(w, &c);
		rc = key_make(w, &c, err);
		leave(w, &c);
	}
	if (rc == 0) {
		auto_buf struct buf said = {};
		buf_printf(&said, "%s ", builder_op_name(in->op));
		if (c.chown.len)
			buf_printf(&said, "--chown=%.*s ", SPAN_ARG(c.chown));
		if (c.own.mode_set)
			buf_printf(&said, "--chmod=%o ", c.own.mode);
		if (c.link)
			buf_str(&said, "--link ");
		if (c.unpack != UNPACK_LOCAL)
			buf_printf(&said, "--unpack=%s ", c.unpack == UNPACK_YES ? "true" : "false");
		buf_printf(&said, "%.*s in %.*s ", SPAN_ARG(c.key), SPAN_ARG(c.to_said));
		struct json cmd = builder_nop(w, arena_span(w->a, buf_span(&said)), true);
		rc = builder_step(w, &cmd, copy_layer, &c, err);
	}
	copy_done(&c);
	return rc;
}

static int folder_write(struct build *w, struct layer *l, void *arg, struct err *err)
{
	struct span to, *path = arg;
	enum layer_is is;
	int rc = builder_layer_resolve(l, *path, true, &to, &is, err);
	if (rc == 0 && is == LAYER_OTHER)
		return err_set(err, ERR_INVALID_REQUEST, "Cannot mkdir: %.*s is not a directory", SPAN_ARG(*path));
	return rc < 0 ? rc : builder_layer_folders(l, to, NULL, err);
}

static int folder_layer(struct build *w, const struct base *base, void *arg, struct image_digest *out, uint64_t *out_bytes,
	struct err *err)
{
	auto_fd int lower = -1;
	int rc = builder_root_open(w, &base->id, &lower, err);
	return rc < 0 ? rc : builder_layer_make(w, lower, folder_write, arg, out, out_bytes, err);
}

int builder_step_workdir(struct build *w, const struct builder_instruction *in, struct err *err)
{
	struct span said, path;
	int rc = builder_config_apply(&w->c, in, &said, err);
	if (rc < 0)
		return rc;
	path = json_span(json_getl(&w->c.doc, "WorkingDir"));
	struct json cmd = builder_nop(w, said, true);
	return builder_step(w, &cmd, folder_layer, &path, err);
}
