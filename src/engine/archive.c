/* Files of containers as archives: `docker cp` and `docker export`. The container's root is a descriptor that containers give;
 * the
 * archive is read and written on a stream's thread. */
#include <fcntl.h>
#include <unistd.h>

#include "container/files.h"
#include "engine/private.h"
#include "tar/tar.h"

struct archive {
	int root;          /* of the container; -1 = none */
	bool held;         /* the root must be released */
	struct span who, path, id;
	uid_t uid;
	gid_t gid;
	bool read_only, put, chown, no_overwrite;
	bool moved;        /* the worker's word: all of it went through */
	struct buf stat;   /* the header's text, base64 */
	struct container_call call;
	struct engine_call *c;
};

static void archive_end(struct engine_call *c)
{
	struct archive *r = c->state;
	fd_close(&r->root);
	if (r->moved)
		engine_event_container(c->e, r->put ? "extract-to-dir" : "archive-path", r->id);
	r->moved = false;
	if (r->held)
		container_root_release(c->e->containers, r->id);
	r->held = false;
}

static void stat_encode(struct engine_call *c, const struct container_files_stat *st)
{
	auto_buf struct buf text = {}, coded = {};
	container_files_stat_write(st, &text);
	base64_add(&coded, BASE64_STD, text.ptr, text.len);
	c->extra_value = arena_span(&c->arena, buf_span(&coded));
	c->extra_name = "X-Docker-Container-Path-Stat";
}

/* Called before the first byte of the archive is pushed, so the header is there when the answer begins. */
static int ready(void *arg, const struct container_files_stat *st, struct err *err)
{
	stat_encode(arg, st);
	return 0;
}

static int get_run(struct engine_call *c, struct err *err)
{
	struct archive *r = c->state;
	int rc = container_files_get(r->root, arena_cstr(&c->arena, r->who), r->path, engine_out(c), ready, c, err);
	r->moved = rc == 0;
	return rc;
}

static int put_run(struct engine_call *c, struct err *err)
{
	struct archive *r = c->state;
	const struct container_files_put p = { .no_overwrite_dir_non_dir = r->no_overwrite, .chown = r->chown, .uid = r->uid,
		.gid = r->gid,
		.root_read_only = r->read_only };
	int rc = container_files_put(r->root, arena_cstr(&c->arena, r->who), r->path, engine_in(c), &p, err);
	r->moved = rc == 0;
	return rc;
}

static int stat_run(struct engine_call *c, struct err *err)
{
	struct archive *r = c->state;
	struct container_files_stat st;
	loop_pool_wait_begin(c->e->pool); /* a mount of the container's may be a server's that does not answer */
	int rc = container_files_stat(r->root, arena_cstr(&c->arena, r->who), r->path, &c->arena, &st, err);
	loop_pool_wait_end(c->e->pool);
	if (rc == 0)
		stat_encode(c, &st);
	return rc;
}

static void stat_done(struct engine_call *c, int rc)
{
	archive_end(c);
	if (rc < 0) {
		engine_fail(c);
	} else if (engine_answer_head(c, 200)) {
		http_reply_header(c->req, c->extra_name, c->extra_value);
		http_reply_end(c->req);
	}
}

static void root_there(struct container_call *call, const struct err *err)
{
	struct archive *r = container_of(call, struct archive, call);
	struct engine_call *c = r->c;
	if (err) {
		(void)err_set(&c->err, err->class, "%s", err_msg(err));
		engine_fail(c);
		engine_call_unref(c);
		return;
	}
	r->held = true;
	r->root = (int)json_i64(json_getl(&call->result, "fd"), -1);
	r->read_only = json_truth(json_getl(&call->result, "read_only"), false);
	r->uid = (uid_t)json_i64(json_getl(&call->result, "uid"), 0);
	r->gid = (gid_t)json_i64(json_getl(&call->result, "gid"), 0);
	if (!c->req) {
		archive_end(c);
	} else if (http_req_is(c->req, "HEAD")) {
		engine_work(c, stat_run, stat_done);
	} else {
		c->stream_over = archive_end;
		engine_stream_begin(c, r->put ? ENGINE_IN : 0, r->put ? "" : "application/x-tar", r->put ? put_run : get_run);
		/* Refused before it began: nobody else closes what was opened. */
		if (!c->stream)
			archive_end(c);
	}
	engine_call_unref(c);
}

void engine_container_archive(struct engine_call *c)
{
	struct archive *r = arena_new(&c->arena, struct archive);
	char id[65];
	*r = (struct archive){ .root = -1, .who = c->name, .path = engine_param(c, "path"), .put = http_req_is(c->req, "PUT") };
	if (!r->path.len) {
		engine_fail_with(c, ERR_INVALID_REQUEST, "bad parameter: path cannot be empty");
		return;
	}
	if (container_find(c->e->containers, c->name, id, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	r->id = arena_span(&c->arena, span_of(id));
	if (r->put) {
		r->no_overwrite = engine_truth(c, "noOverwriteDirNonDir", false);
		r->chown = engine_truth(c, "copyUIDGID", false);
	}
	r->c = engine_call_ref(c);
	r->call = (struct container_call){ .done = root_there, .arena = &c->arena };
	c->state = r;
	/* A client that leaves now is noticed when the root is there: it must be released either way. */
	container_root(c->e->containers, r->id, &r->call);
}

/* ---- export ---- */

struct export {
	int from, to; /* a pipe */
	struct container_call call;
	struct engine_call *c;
	struct err err;
	bool failed;
};

static int export_run(struct engine_call *c, struct err *err)
{
	struct export *x = c->state;
	struct tar_fd_source source;
	struct span piece;
	int rc;
	tar_fd_source_init(&source, x->from);
	while ((rc = source.source.pull(&source.source, &piece, err)) > 0) {
		rc = engine_out(c)->push(engine_out(c), piece, err);
		if (rc < 0)
			break;
	}
	tar_fd_source_done(&source);
	/* With our end closed a writer that is still at it gets EPIPE. */
	fd_close(&x->from);
	return rc;
}

static void export_written(struct container_call *call, const struct err *err)
{
	struct export *x = container_of(call, struct export, call);
	struct engine_call *c = x->c;
	if (err) {
		x->failed = true;
		(void)err_set(&x->err, err->class, "%s", err_msg(err));
		if (!c->stream)
			engine_fail(c);
	}
	fd_close(&x->to);
	engine_call_unref(c);
}

void engine_container_export(struct engine_call *c)
{
	struct export *x = arena_new(&c->arena, struct export);
	int ends[2];
	char id[65];
	if (container_find(c->e->containers, c->name, id, &c->err) < 0) {
		engine_fail(c);
		return;
	}
	if (pipe2(ends, O_CLOEXEC) < 0) {
		(void)err_sys(&c->err, "a pipe");
		engine_fail(c);
		return;
	}
	*x = (struct export){ .from = ends[0], .to = ends[1], .call = { .done = export_written, .arena = &c->arena } };
	c->state = x;
	engine_stream_begin(c, 0, "application/x-tar", export_run);
	if (!c->stream) {
		fd_close(&x->from);
		fd_close(&x->to);
		return;
	}
	x->c = engine_call_ref(c);
	container_export(c->e->containers, span_of(id), x->to, &x->call);
}
