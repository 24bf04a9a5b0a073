/* scale: the number of replicas, through the scale subresource. */
#include "front/private.h"

#define TRIES 20

struct scale {
	struct front *f;
	struct front_words files;
	int64_t replicas, current;
	bool alone; /* one object is meant */
	struct span resource_version;
};

static int scale_once(struct scale *s, const struct front_target *t, struct err *err)
{
	auto_buf struct buf path = {}, body = {};
	struct json now;
	if (!t->name.len)
		return err_set(err, ERR_USAGE, "resource(s) were provided, but no name was specified");
	front_target_path(&path, t, "scale");
	/* With a condition the object that was looked at is the one that is written: resourceVersion decides. */
	if (s->current >= 0 || s->resource_version.len) {
		int rc = front_ask(s->f, &(struct front_request){ .path = buf_span(&path) }, &now, err);
		if (rc < 0)
			return rc;
		int64_t n = json_i64(json_path(&now, "spec", "replicas", NULL), 0);
		struct span rv = json_span(json_path(&now, "metadata", "resourceVersion", NULL));
		if (s->current >= 0 && n != s->current)
			return err_set(err, ERR_PRECONDITION, "Expected replicas to be %lld, was %lld", (long long)s->current, (long long)n);
		if (s->resource_version.len && !span_eq(rv, s->resource_version))
			return err_set(err, ERR_PRECONDITION, "Expected resource version to be %.*s, was %.*s", SPAN_ARG(s->resource_version),
				       SPAN_ARG(rv));
		buf_printf(&body, "{\"metadata\":{\"resourceVersion\":\"%.*s\"},\"spec\":{\"replicas\":%lld}}", SPAN_ARG(rv),
			   (long long)s->replicas);
	} else {
		buf_printf(&body, "{\"spec\":{\"replicas\":%lld}}", (long long)s->replicas);
	}
	struct span what = arena_printf(&s->f->arena, "patch %.*s %.*s", SPAN_ARG(t->resource->plural), SPAN_ARG(t->name));
	int rc = front_ask(s->f, &(struct front_request){ .method = "PATCH", .path = buf_span(&path), .body = buf_span(&body),
			.content_type = CLIENT_MERGE_PATCH, .what = what.ptr }, NULL, err);
	if (rc == -ERR_NOT_FOUND && s->alone && s->f->said.answered && span_starts(span_of(err_msg(err)), t->resource->plural)) {
		const char *why = arena_cstr(&s->f->arena, span_of(err_msg(err)));
		s->f->said.answered = false;
		return err_set(err, ERR_NOT_FOUND, "no objects passed to scale %s", why);
	}
	if (rc < 0)
		return rc;
	front_resource_word(&s->f->out, t->resource);
	buf_printf(&s->f->out, "/%.*s scaled\n", SPAN_ARG(t->name));
	return front_flush(s->f, err);
}

/* What changed between looking and writing is looked at again. */
static int scale_one(struct scale *s, const struct front_target *t, struct err *err)
{
	for (unsigned tries = 0;; tries++) {
		int rc = scale_once(s, t, err);
		if (rc != -ERR_STALE || tries == TRIES || s->resource_version.len)
			return rc;
		err_done(err);
		s->f->said.answered = false;
	}
}

int front_scale_main(struct front *f, int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct scale s = { .f = f, .replicas = INT64_MIN, .current = -1 };
	struct front_targets targets = {};
	struct front_args args;
	const struct front_flag flags[] = {
		{ "replicas", 0, FRONT_FLAG_NUMBER, &s.replicas, NULL, "the new number; required" },
		{ "current-replicas", 0, FRONT_FLAG_NUMBER, &s.current, NULL, "only when it is this now" },
		{ "resource-version", 0, FRONT_FLAG_TEXT, &s.resource_version, NULL, "only when the object is this version now" },
		{ "filename", 'f', FRONT_FLAG_LIST, &s.files, NULL, "the objects of this file" },
		{},
	};
	int rc = front_verb_args(f, "scale", "--replicas=COUNT (-f FILENAME | TYPE NAME) [flags]", "Sets the number of replicas.",
		flags, argc,
				 argv, &args);
	if (rc)
		return rc < 0;
	if (s.replicas == INT64_MIN)
		rc = err_set(&err, ERR_USAGE, "required flag(s) \"replicas\" not set");
	else if (s.replicas < 0)
		rc = err_set(&err, ERR_USAGE, "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0");
	if (rc == 0)
		rc = front_discover(f, &err);
	if (rc == 0)
		rc = front_targets_files(f, &s.files, false, false, &targets, &err);
	if (rc == 0)
		rc = front_targets_words(f, &args.words, &targets, &err);
	if (rc == 0 && !targets.n)
		rc = err_set(&err, ERR_USAGE, "You must provide one or more resources by argument or filename.");
	if (rc < 0)
		(void)front_complain(f, &err, NULL);
	s.alone = targets.n == 1;
	for (unsigned i = 0; rc == 0 && i < targets.n; i++)
		if (scale_one(&s, &targets.items[i], &err) < 0)
			(void)front_complain(f, &err, NULL);
	front_targets_done(&targets);
	return f->complaints > 0;
}
