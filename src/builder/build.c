/* One build from its context to its image: its stages (lanes.c says when), each instruction by instruction. */
#include "builder/giturl.h"
#include "builder/work.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- small things ---- */

int builder_say(struct build *w, const char *fmt, ...)
{
	auto_buf struct buf b = {};
	auto_err struct err err = ERR_INIT;
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	return w->lane ? builder_lane_say(w->lane, buf_span(&b), false, &err) : w->p->say(w->p->arg, buf_span(&b), &err);
}

static int gone(struct err *err)
{
	return err_set(err, ERR_CANCELLED, "the client is gone");
}

static int say_id(struct build *w, struct err *err)
{
	return builder_say(w, " ---> %.12s\n", w->id.text[0] ? w->id.text + 7 : "") < 0 ? gone(err) : 0;
}

int64_t builder_now_ns(const struct build *w)
{
	return w->epoch_set ? w->epoch_s * NS_PER_S : clock_wall_ns(clock_real());
}

struct json builder_nop(struct build *w, struct span said, bool as_one)
{
	struct json cmd = builder_config_shell(&w->c);
	if (as_one) {
		(void)json_push(w->a, &cmd, json_str(arena_printf(w->a, "#(nop) %.*s", SPAN_ARG(said))));
	} else {
		(void)json_push(w->a, &cmd, json_cstr("#(nop) "));
		(void)json_push(w->a, &cmd, json_str(said));
	}
	return cmd;
}

int builder_root_open(struct build *w, const struct image_digest *id, int *out_fd, struct err *err)
{
	char chain[65] = "";
	int rc = id->text[0] ? image_top(w->b->o.images, id, chain, err) : 0;
	if (rc < 0)
		return rc;
	const char *at = arena_printf(w->a, "%s/%s", w->b->work, builder_work_name(w->b, w->a, "root")).ptr;
	if (mkdir(at, 0700) < 0)
		return err_sys(err, "make folder %s", at);
	rc = chain[0] ? snapshot_layer_mount(w->b->o.snapshots, chain, at, err) : 0;
	if (rc == 0 && (*out_fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		rc = err_sys(err, "open %s", at);
	/* The descriptor holds the mount, and nobody else sees it: it ends with the last use, or with this process. */
	if (chain[0])
		(void)umount2(at, MNT_DETACH);
	(void)rmdir(at);
	return rc;
}

int builder_layer_make(struct build *w, int lower, int (*write)(struct build *w, struct layer *l, void *arg, struct err *err),
	void *arg,
	struct image_digest *out, uint64_t *out_bytes, struct err *err)
{
	struct image_ingest *in;
	struct layer l;
	*out_bytes = 0;
	int rc = image_ingest_begin(w->b->o.images, NULL, &in, NULL, err);
	if (rc < 0)
		return rc;
	builder_layer_begin(&l, image_ingest_sink(in), lower, w->epoch_set ? &w->epoch_s : NULL, builder_now_ns(w));
	l.stop = w->p->stop;
	rc = write(w, &l, arg, err);
	rc = rc < 0 ? rc : builder_layer_end(&l, err);
	bool empty = l.entries == 0;
	builder_layer_done(&l);
	FAILPOINT("builder.layer.written");
	if (rc < 0 || empty) {
		image_ingest_drop(in, false);
		return rc;
	}
	uint64_t bytes = image_ingest_size(in);
	rc = image_ingest_commit(in, out, err);
	*out_bytes = rc < 0 ? 0 : bytes;
	return rc;
}

/* Where the build stands now: others ask, so that it is not removed under it. */
static void id_set(struct build *w, struct image_digest id)
{
	pthread_mutex_lock(&w->b->mutex);
	w->id = id;
	pthread_mutex_unlock(&w->b->mutex);
	builder_lane_stands(w->lane, &id, w->next, w->triggers);
}

/* What COPY and mounts read from, and what is mounted is held by nothing else: who removes images asks. One that went between
 * being found and being noted here is missed when its layers are asked for, under the store's lock. */
static void used_add(struct build *w, const struct image_digest *id)
{
	struct image_used *u = arena_new(w->a, struct image_used);
	u->id = *id;
	pthread_mutex_lock(&w->b->mutex);
	u->next = w->used;
	w->used = u;
	pthread_mutex_unlock(&w->b->mutex);
}

bool builder_uses_image(struct builder *b, const struct image_digest *id)
{
	bool used = false;
	pthread_mutex_lock(&b->mutex);
	LIST_EACH(&b->builds, w, struct build, link) {
		used |= image_digest_eq(&w->id, id);
		for (size_t i = 0; i < w->plan.n && !w->lane; i++)
			used |= image_digest_eq(&w->stages[i].id, id);
		for (const struct image_used *u = w->used; u && !used; u = u->next)
			used = image_digest_eq(&u->id, id);
	}
	pthread_mutex_unlock(&b->mutex);
	return used;
}

/* ---- a step ---- */

int builder_step(struct build *w, const struct json *cmd,
	int (*layer)(struct build *w, const struct base *base, void *arg, struct image_digest *out, uint64_t *out_bytes,
		struct err *err),
	void *arg, struct err *err)
{
	/* The parent's configuration has all of the history: kept until the build's end it would grow with the square of the steps. */
	auto_arena struct arena a = {};
	struct image_digest id, diff;
	struct base base;
	int64_t epoch_ns = w->epoch_s * NS_PER_S;
	struct cache_want want = { .platform = w->id.text[0] ? NULL : &w->stage_platform, .epoch_ns = w->epoch_set ? &epoch_ns : NULL };
	uint64_t bytes = 0;
	int rc = builder_stop_check(w->p->stop, err);
	if (rc < 0)
		return rc;
	builder_key(&w->c.doc, cmd, want.key);
	for (rc = 1; rc > 0 && !w->p->no_cache;) {
		if (builder_cache_probe(w->b, &w->id, &want, &id)) {
			id_set(w, id);
			return builder_say(w, " ---> Using cache\n") < 0 ? gone(err) : 0;
		}
		/* A stage beside may be making it. */
		rc = builder_lane_claim(w->lane, want.key, err);
	}
	if (rc < 0)
		return rc;
	rc = builder_base_load(w->b, &w->id, &a, &base, err);
	if (rc < 0)
		return rc;
	if (!w->id.text[0])
		base.platform = w->stage_platform;
	if (!w->p->no_cache && w->sources.n) {
		rc = builder_cache_from(w->b, &w->sources, &base, &w->c.doc, cmd, want.epoch_ns, &a, &id, err);
		if (rc > 0) {
			id_set(w, id);
			return builder_say(w, " ---> Using cache\n") < 0 ? gone(err) : 0;
		}
	}
	if (rc == 0 && layer)
		rc = layer(w, &base, arg, &diff, &bytes, err);
	if (rc < 0)
		return rc;
	const struct base_step s = { .doc = &w->c.doc, .cmd = cmd, .author = w->c.author, .created_ns = builder_now_ns(w),
		.layer = bytes ? &diff : NULL, .layer_bytes = bytes, .stop = w->p->stop };
	rc = builder_base_step(w->b, &base, &s, &a, &id, err);
	if (rc == 0)
		id_set(w, id);
	return rc;
}

static int dispatch(struct build *w, const struct builder_instruction *in, struct err *err)
{
	struct span said;
	int rc;
	w->in = in;
	switch (in->op) {
	case BUILDER_RUN:
		return builder_step_run(w, in, err);
	case BUILDER_ADD:
	case BUILDER_COPY:
		return builder_step_copy(w, in, err);
	case BUILDER_WORKDIR:
		return builder_step_workdir(w, in, err);
	default:
		rc = builder_config_apply(&w->c, in, &said, err);
		if (rc == 0) {
			struct json cmd = builder_nop(w, said, false);
			rc = builder_step(w, &cmd, NULL, NULL, err);
		}
		return rc;
	}
}

/* ---- images that are built upon ---- */

static bool fits(struct build *w, const struct image_digest *id, const struct image_platform *want)
{
	struct base base;
	auto_arena struct arena a = {};
	return builder_base_load(w->b, id, &a, &base, NULL) == 0 && image_platform_score(want, &base.platform) > 0;
}

static int image_get(struct build *w, struct span name, const struct image_platform *platform, struct image_digest *out,
	struct err *err)
{
	const struct image_platform *want = platform ? platform : &w->platform;
	auto_err struct err why = ERR_INIT;
	int rc = image_find(w->b->o.images, name, out, &why);
	/* Without --platform anything that is here is taken, as Docker does. */
	bool here = rc == 0 && (!(platform || w->p->platform) || fits(w, out, want));
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return err ? err_move(err, &why) : rc;
	if (here && !w->p->pull)
		return 0;
	bool by_id = span_starts(name, SPAN("sha256:"));
	if (here && by_id)
		return 0;
	if (!w->p->fetch || by_id)
		return rc < 0 ? (err ? err_move(err, &why) : rc) :
			err_set(err, ERR_NOT_FOUND,
				"image with reference %.*s was found but does not match the specified platform: wanted %s/%s",
				SPAN_ARG(name), want->os, want->arch);
	builder_lane_away(w->lane, true);
	rc = w->p->fetch(w->p->arg, name, want, NULL, err);
	builder_lane_away(w->lane, false);
	return rc < 0 ? rc : image_find(w->b->o.images, name, out, err);
}

int builder_image_need(struct build *w, struct span name, const struct image_platform *platform, struct image_digest *out,
	struct err *err)
{
	int rc = image_get(w, name, platform, out, err);
	if (rc == 0)
		used_add(w, out);
	return rc;
}

int builder_from_need(struct build *w, struct span word, struct image_digest *out, struct err *err)
{
	int at = builder_plan_stage_find(&w->plan, word);
	if (at == -2)
		return err_set(err, ERR_INVALID_REQUEST, "invalid from flag value %.*s: invalid stage index %.*s", SPAN_ARG(word),
			SPAN_ARG(word));
	if (at >= 0)
		return builder_stage_need(w, (unsigned)at, out, err);
	int rc = builder_image_need(w, word, NULL, out, err);
	return rc < 0 ? err_note(err, "invalid from flag value %.*s", SPAN_ARG(word)), rc : 0;
}

/* ---- a stage ---- */

static int from(struct build *w, const struct plan_stage *ps, struct json *out_triggers, struct err *err)
{
	struct base base;
	struct image_platform platform = w->platform;
	int rc = 0;
	struct image_digest id = {};
	builder_vars_stage_begin(&w->vars);
	if (ps->platform.len)
		rc = image_platform_parse(ps->platform, &platform, err);
	if (rc < 0)
		return rc;
	w->stage_platform = platform;
	if (ps->base == PLAN_STAGE)
		id = w->stages[ps->base_stage].id;
	else if (ps->base == PLAN_IMAGE)
		rc = builder_image_need(w, ps->image, ps->platform.len ? &platform : NULL, &id, err);
	rc = rc < 0 ? rc : builder_base_load(w->b, &id, w->a, &base, err);
	if (rc < 0)
		return rc;
	if (id.text[0])
		w->stage_platform = base.platform;
	builder_config_begin(&w->c, &base.config, out_triggers);
	w->next = ps->is->n ? &ps->is->items[0] : NULL;
	w->triggers = out_triggers->n;
	id_set(w, id);
	return 0;
}

static int triggers(struct build *w, const struct json *list, struct err *err)
{
	int rc = 0;
	unsigned left = list->n;
	if (list->n && builder_say(w, "# Executing %u build trigger%s\n", list->n, list->n == 1 ? "" : "s") < 0)
		return gone(err);
	JSON_EACH_ITEM(list, item) {
		struct builder_instruction *in = arena_new(w->a, struct builder_instruction);
		rc = builder_trigger_parse(json_span(item), w->a, in, err);
		if (rc < 0)
			return err_note(err, "dockerfile parse error in trigger \"%.*s\"", SPAN_ARG(json_span(item)));
		in->line = 0;
		w->triggers = --left;
		rc = dispatch(w, in, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The request's labels are steps of the target, each of its own, in order. */
static int labels(struct build *w, unsigned n, struct err *err)
{
	struct json sorted = json_is(w->p->labels, JSON_OBJECT) ? json_copy(w->a, w->p->labels) : json_object();
	int rc = 0;
	json_sort(&sorted);
	JSON_EACH_MEMBER(&sorted, m) {
		struct span said;
		builder_config_label(&w->c, m, &said);
		struct json cmd = builder_nop(w, said, false);
		if (builder_say(w, "Step %u/%u : %.*s\n", n++, w->steps, SPAN_ARG(said)) < 0)
			return gone(err);
		rc = builder_step(w, &cmd, NULL, NULL, err);
		rc = rc < 0 ? rc : say_id(w, err);
		if (rc < 0)
			break;
	}
	return rc;
}

int builder_stage_run(struct build *w, unsigned at, struct err *err)
{
	const struct plan_stage *ps = &w->plan.stages[at];
	struct stage *st = &w->stages[at];
	struct json list;
	unsigned n = ps->first_step;
	w->in = ps->is->from;
	if (builder_say(w, "Step %u/%u : %.*s\n", n++, w->steps, SPAN_ARG(ps->is->from->code)) < 0)
		return gone(err);
	int rc = from(w, ps, &list, err);
	rc = rc < 0 ? rc : triggers(w, &list, err);
	rc = rc < 0 ? rc : say_id(w, err);
	for (size_t i = 0; i < ps->is->n && rc == 0; i++) {
		if (builder_say(w, "Step %u/%u : %.*s\n", n++, w->steps, SPAN_ARG(ps->is->items[i].code)) < 0)
			return gone(err);
		w->next = i + 1 < ps->is->n ? &ps->is->items[i + 1] : NULL;
		rc = dispatch(w, &ps->is->items[i], err);
		rc = rc < 0 ? rc : say_id(w, err);
	}
	if (rc == 0)
		w->in = NULL;
	if (rc == 0 && at == w->plan.target)
		rc = labels(w, n, err);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&w->b->mutex);
	st->done = true;
	st->id = w->id;
	pthread_mutex_unlock(&w->b->mutex);
	return 0;
}

/* Of a stage that comes later: the plan did not see it coming, as a trigger of an image names it. */
int builder_stage_need(struct build *w, unsigned at, struct image_digest *out, struct err *err)
{
	auto_err struct err why = ERR_INIT;
	int rc = builder_lane_await(w->lane, at, &why);
	if (rc == -ERR_NOT_FOUND) {
		const struct builder_stage *is = w->plan.stages[at].is;
		return err_set(err, ERR_INVALID_REQUEST, "invalid from flag value %.*s: stage %u is not built yet where it is used",
			SPAN_ARG(is->name), at);
	}
	if (rc < 0)
		return err ? err_move(err, &why) : rc;
	*out = w->stages[at].id;
	return 0;
}

/* ---- the whole ---- */

/* Where it went wrong, for a person: the lines around, the instruction's marked. */
static void where(struct build *w)
{
	if (!w->in || !w->in->line)
		return;
	auto_buf struct buf b = {};
	struct span rest = w->text, line;
	unsigned n = 0, from = w->in->line > 2 ? w->in->line - 2 : 1, to = w->in->end_line + 2;
	buf_printf(&b, "%.*s:%u\n--------------------\n", SPAN_ARG(w->name), w->in->line);
	while (span_cut(&rest, '\n', &line)) {
		if (++n < from)
			continue;
		if (n > to)
			break;
		bool mine = n >= w->in->line && n <= w->in->end_line;
		buf_printf(&b, "%4u | %s %.*s\n", n, mine ? ">>>" : "   ", SPAN_ARG(span_trim(line).len ? line : SPAN_EMPTY));
	}
	buf_str(&b, "--------------------\n");
	(void)builder_say(w, "%s", buf_cstr(&b)); /* the failure itself is told anyway */
}

static int ignore_read(struct build *w, struct err *err)
{
	struct builder_ignore *rules = arena_new(w->a, struct builder_ignore);
	struct tree_node *n;
	auto_buf struct buf text = {};
	struct span own = arena_printf(w->a, "%.*s.dockerignore", SPAN_ARG(w->name));
	if (builder_tree_find(w->context, own, true, &n, NULL) < 0 && builder_tree_find(w->context, SPAN(".dockerignore"), true,
		&n, NULL) < 0)
		return 0;
	int rc = n->kind == TAR_FILE ? builder_tree_file(w->context, n, &text, BUILDER_FILE_MAX, err) : 0;
	rc = rc < 0 ? rc : builder_ignore_parse(arena_span(w->a, buf_span(&text)), w->a, rules, err);
	if (rc < 0)
		return err_note(err, "error reading .dockerignore"), rc;
	builder_tree_ignore(w->context, rules);
	return 0;
}

static int context_remote(struct build *w, struct err *err)
{
	struct fetched f;
	struct span url = w->p->remote;
	if (builder_git_is(url))
		return builder_git(w, url, w->context, err);
	if (!span_starts(url, SPAN("http://")) && !span_starts(url, SPAN("https://")))
		return err_set(err, ERR_INVALID_REQUEST, "remoteURL (%.*s) could not be recognized as URL", SPAN_ARG(url));
	int rc = builder_fetch(w->b, w->p, url, w->a, &f, err);
	if (rc < 0)
		return err_note(err, "error downloading remote context %.*s", SPAN_ARG(url)), rc;
	char head[262] = "";
	ssize_t n = pread(f.fd, head, sizeof(head), 0);
	bool tar = n == (ssize_t)sizeof(head) && memcmp(head + 257, "ustar", 5) == 0;
	if (tar || tar_format_of(span_make(head, n > 0 ? (size_t)n : 0)) != TAR_PLAIN) {
		struct tar_fd_source source;
		auto_fd int fd = f.fd;
		(void)lseek(fd, 0, SEEK_SET);
		tar_fd_source_init(&source, fd);
		rc = builder_tree_read(w->context, &source.source, w->b->work, w->p->stop, err);
		tar_fd_source_done(&source);
		return rc;
	}
	/* Text: the Dockerfile itself, and nothing else. */
	w->name = SPAN("Dockerfile");
	return builder_tree_single(w->context, f.fd, w->name, 0600, f.mtime, w->p->stop, err);
}

static int context_open(struct build *w, struct err *err)
{
	int rc = w->p->remote.len ? context_remote(w, err) :
				    builder_tree_read(w->context, w->p->context, w->b->work, w->p->stop, err);
	struct tree_node *n;
	auto_buf struct buf text = {};
	if (rc < 0)
		return rc;
	FAILPOINT("builder.context.read");
	if (builder_tree_find(w->context, w->name, true, &n, NULL) < 0 || n->kind != TAR_FILE) {
		/* The lower-case name is found too, as with Docker. */
		if (!w->p->dockerfile.len && builder_tree_find(w->context, SPAN("dockerfile"), true, &n, NULL) == 0 &&
			n->kind == TAR_FILE)
			w->name = SPAN("dockerfile");
		else
			return err_set(err, ERR_INVALID_REQUEST, "Cannot locate specified Dockerfile: %.*s", SPAN_ARG(w->name));
	}
	if (!n->size)
		return err_set(err, ERR_INVALID_REQUEST, "the Dockerfile (%.*s) cannot be empty", SPAN_ARG(w->name));
	rc = builder_tree_file(w->context, n, &text, BUILDER_FILE_MAX, err);
	if (rc < 0)
		return rc;
	w->text = arena_span(w->a, buf_span(&text));
	rc = ignore_read(w, err);
	if (rc < 0)
		return rc;
	rc = builder_file_parse(w->text, w->a, &w->file, err);
	return rc;
}

static int epoch_read(struct build *w, struct err *err)
{
	struct span text = json_span(json_getl(w->p->args, "SOURCE_DATE_EPOCH"));
	if (!text.len)
		return 0;
	if (!span_to_i64(text, &w->epoch_s) || w->epoch_s < 0 || w->epoch_s > INT64_MAX / NS_PER_S) /* the year 2262 */
		return err_set(err, ERR_INVALID_REQUEST, "invalid SOURCE_DATE_EPOCH: %.*s", SPAN_ARG(text));
	w->epoch_set = true;
	return 0;
}

static struct span platform_text(struct build *w, const struct image_platform *p)
{
	return arena_printf(w->a, "%s/%s%s%s", p->os, p->arch, p->variant[0] ? "/" : "", p->variant);
}

static int stages_run(struct build *w, struct image_digest *out_id, struct err *err)
{
	unsigned n = 1;
	for (size_t i = 0; i < w->file.n_warnings; i++)
		if (builder_say(w, "%.*s\n", SPAN_ARG(w->file.warnings[i])) < 0)
			return gone(err);
	for (size_t i = 0; i < w->file.n_globals; i++)
		if (builder_say(w, "Step %u/%u : %.*s\n", n++, w->steps, SPAN_ARG(w->file.globals[i].code)) < 0)
			return gone(err);
	int rc = builder_lanes_run(w, err);
	if (rc < 0)
		return rc;
	*out_id = w->stages[w->plan.target].id;
	if (!out_id->text[0])
		return err_set(err, ERR_INVALID_REQUEST, "No image was generated. Is your Dockerfile empty?");
	auto_buf struct buf unused = {};
	builder_vars_unused(&w->vars, &unused);
	if (unused.len && builder_say(w, "%s", buf_cstr(&unused)) < 0)
		return gone(err);
	return w->p->made ? w->p->made(w->p->arg, out_id, err) : 0;
}

static void sources_find(struct build *w)
{
	w->sources.ids = arena_alloc_n(w->a, w->p->n_cache_from + 1, sizeof(*w->sources.ids));
	for (size_t i = 0; i < w->p->n_cache_from; i++)
		/* One that is not here is passed over, as Docker does. */
		if (image_find(w->b->o.images, w->p->cache_from[i], &w->sources.ids[w->sources.n], NULL) == 0)
			w->sources.n++;
}

int builder_build(struct builder *b, const struct builder_params *p, struct image_digest *out_id, int *out_code,
	struct buf *out_advice, struct err *err)
{
	auto_arena struct arena a = {};
	struct tree context = { .fd = -1 };
	struct build w = { .b = b, .p = p, .a = &a, .context = &context,
		.name = p->dockerfile.len ? p->dockerfile : SPAN("Dockerfile") };
	struct image_platform here = image_platform_here();
	w.platform = p->platform ? *p->platform : here;
	builder_vars_init(&w.vars, &a, p->args, platform_text(&w, &w.platform), platform_text(&w, &here));
	struct image_hold *hold = image_hold_begin(b->o.images);
	int rc = context_open(&w, err);
	rc = rc < 0 ? rc : epoch_read(&w, err);
	rc = rc < 0 ? rc : builder_plan_make(&w.file, p->target, &w.vars, &w.plan, err);
	if (rc == 0) {
		w.stages = arena_zalloc(&a, (w.plan.n + 1) * sizeof(*w.stages));
		pthread_mutex_lock(&b->mutex);
		list_push(&b->builds, &w.link);
		pthread_mutex_unlock(&b->mutex);
		w.steps = w.plan.steps + (json_is(p->labels, JSON_OBJECT) ? p->labels->n : 0);
		sources_find(&w);
		rc = stages_run(&w, out_id, err);
		pthread_mutex_lock(&b->mutex);
		list_remove(&w.link);
		pthread_mutex_unlock(&b->mutex);
		if (rc < 0 && rc != -ERR_CANCELLED)
			where(&w);
	}
	if (rc == 0 && out_advice)
		builder_advice(&w, out_advice);
	*out_code = w.code;
	image_hold_end(hold);
	builder_tree_done(&context);
	builder_vars_done(&w.vars);
	return rc;
}
