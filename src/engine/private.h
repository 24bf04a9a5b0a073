/* What the files of the engine share. Private.
 *
 *     http_req ── engine_call ─┬─ answered at once on the loop
 *                              ├─ engine_work: run on a worker, done on the loop
 *                              └─ engine_stream: a thread of its own, body in and answer out, both bounded
 *
 * A call lives until its exchange is over and its worker is back, whichever is last: each holds a reference. */
#pragma once

#include <pthread.h>

#include "engine/engine.h"
#include "http/http.h"
#include "container/container.h"
#include "image/image.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "network/network.h"
#include "snapshot/snapshot.h"
#include "volume/volume.h"

#define ENGINE_API_MIN 24 /* of 1.24 */
#define ENGINE_API_MAX 50
#define ENGINE_API_TEXT "1.50"
#define ENGINE_API_MIN_TEXT "1.24"
/* Taken too and answered as 1.24: the programs of containers/image (skopeo's docker-daemon:) say 1.22 whatever we say (0854). */
#define ENGINE_API_TAKEN_TEXT "1.22"
#define ENGINE_BODY_MAX (4u << 20) /* of a JSON document in a request */

struct builder;
struct engine;
struct engine_call;
struct engine_stream;
struct engine_filters;

/* ---- the engine (server.c) ---- */

enum engine_metric {
	ENGINE_REQUESTS,
	ENGINE_SECONDS,
	ENGINE_UNKNOWN_PARAMS,
	ENGINE_UNKNOWN_FIELDS,
	ENGINE_EVENTS_TOTAL,
	ENGINE_METRIC_COUNT
};

struct engine {
	const struct engine_options *o;
	struct loop *loop;
	struct loop_pool *pool;
	struct image_store *images;
	struct snapshot_store *snapshots;
	struct network_engine *networks;
	struct volume_store *volumes;
	struct container_engine *containers;
	struct builder *builder;
	struct engine_registry *registry; /* owned; settings of registries */
	struct http_server *server;       /* connections of every socket */
	struct cri *cri;                  /* NULL without --cri-host */
	pthread_mutex_t cri_lock;         /* workers ask who uses an image */
	struct tls_slot tls;
	struct metrics *metrics;
	struct metrics_table *counted;
	struct engine_events *events;     /* owned */
	struct list calls, streams;       /* open: engine_call.link, engine_stream.link */
	struct list sessions, followers;  /* open: attached clients (attach.c), readers of logs (logs.c) */
	unsigned n_streams;
	int pool_threads;
	char id[40];                      /* of `docker info`: made once, kept in DIR/engine-id */
	bool stopping;
	struct loop_ending ending;
	struct loop_signal hup;
	struct arena texts;               /* paths that the parts borrow for as long as they live */
};

extern const struct metrics_family engine_families[ENGINE_METRIC_COUNT];

/* ---- calls (call.c) ---- */

struct engine_param {
	struct span key, value;
	bool known;
};

/* What a route's flags say. */
enum {
	ENGINE_BODY_JSON = 1,  /* a JSON object is needed: parsed into c->body before the handler runs */
	ENGINE_BODY_MAYBE = 2, /* likewise, and an empty body is an empty object */
	ENGINE_BODY_SKIP = 8,  /* whatever body there is is read and passed over first: HTTP can be left only behind it */
	ENGINE_ENDLESS = 4,    /* may last for ever: cut off when the engine stops */
};

struct engine_route {
	const char *method, *pattern;
	void (*handle)(struct engine_call *c);
	unsigned flags;
	unsigned since;        /* minor version that brought it; 0 = always there */
	const char *params;    /* known query parameters, comma separated */
};

struct engine_call {
	struct engine *e;
	struct http_req *req;  /* NULL once the exchange is over */
	const struct engine_route *route;
	struct arena arena;
	struct err err;
	unsigned refs;
	unsigned api;          /* minor version that the client speaks */
	bool plain_errors;     /* it speaks one from before errors were documents */
	struct span name;      /* the variable of the path, decoded */
	struct engine_param *params;
	size_t n_params;
	struct json body;
	struct json out;       /* what a worker made to be answered */
	int64_t began_ns;
	struct list link;
	struct engine_stream *stream; /* the stream that serves it */
	/* A header of a streamed answer, which the thread may set before its first byte. */
	const char *extra_name;
	struct span extra_value;
	void (*stream_cancel)(struct engine_call *c); /* the stream is cancelled; on the loop, while its thread runs */
	void (*stream_over)(struct engine_call *c); /* the stream's thread is gone; on the loop, before the answer ends */
	void *state;           /* the handler's */
	/* The client went away, or the exchange ended otherwise than by our answer. On the loop. */
	void (*gone)(struct engine_call *c);
	struct http_req_ops ops; /* a handler that takes the body itself sets data, end, drain before engine_call_ops */
	struct loop_work work;
	int (*work_run)(struct engine_call *c, struct err *err);
	void (*work_done)(struct engine_call *c, int rc);
	int work_rc;
	bool answered;
};

void engine_handle(struct http_req *r, void *arg); /* of the server: arg is the engine */
struct engine_call *engine_call_ref(struct engine_call *c);
void engine_call_unref(struct engine_call *c);

/* Query parameters, decoded. The first of a name; empty when absent. */
struct span engine_param(struct engine_call *c, const char *name);
bool engine_has_param(struct engine_call *c, const char *name);
/* Docker's truth: absent, "", "0", "no", "false" and "none" (any case) are false. */
bool engine_truth(struct engine_call *c, const char *name, bool absent);
/* INVALID_REQUEST with strconv's words when it is no number. */
int engine_number(struct engine_call *c, const char *name, int64_t absent, int64_t *out, struct err *err);

/* platform.c. Parameters that clients older than `since` do not know are passed over, as dockerd does. On a worker.
 * "platform" of an image; *out_said: it was given. INVALID_REQUEST in Docker's words. */
int engine_platform(struct engine_call *c, unsigned since, struct image_platform *out, bool *out_said, struct err *err);
/* Does the image fit "platform", or each of "platforms"? NOT_FOUND "image with reference x was found but does not provide the
 * specified platform (linux/arm64)". */
int engine_platform_check(struct engine_call *c, unsigned since, struct span name, struct err *err);
int engine_platforms_check(struct engine_call *c, unsigned since, struct span name, struct err *err);

/* Status, the headers of every answer, the metric: for answers that stream. False when nobody waits any more. */
bool engine_answer_head(struct engine_call *c, int status);
const struct engine_route *engine_route_at(size_t i); /* NULL behind the last */

/* Answers. Each may be called once per call; after the client is gone they do nothing. */
void engine_answer_json(struct engine_call *c, int status, struct json *v);
void engine_answer_text(struct engine_call *c, int status, const char *type, struct span text);
void engine_answer_empty(struct engine_call *c, int status);
void engine_fail(struct engine_call *c); /* with c->err */
void engine_fail_with(struct engine_call *c, enum err_class class, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A status that no error class has, with words. */
void engine_fail_status(struct engine_call *c, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int engine_error_status(const struct err *err);
void engine_error_body(const struct err *err, struct buf *out); /* {"message":"..."} and a newline */

/* Runs `run` on a worker, which may use c's arena, params, body, state and out; then `done` on the loop (NULL: answers c->out
 * with 200, or the error). The call stays alive meanwhile. */
void engine_work(struct engine_call *c, int (*run)(struct engine_call *c, struct err *err),
	void (*done)(struct engine_call *c, int rc));
void engine_work_end(struct engine_call *c, int rc); /* what NULL does */

/* A call of containers on behalf of c: pass it to one operation. then: on success (NULL: 204, or 304 when nothing changed);
 * failures
 * are answered. A client that goes away only stops listening. */
struct container_call *engine_container_call(struct engine_call *c, void (*then)(struct engine_call *c,
	struct container_call *done));
void engine_then_json(struct engine_call *c, struct container_call *done); /* 200 and the result */
void engine_then_ok(struct engine_call *c, struct container_call *done);   /* 200 without a body */
void engine_container_event(void *engine, const struct container_event *ev);
void engine_info_networks(struct engine_call *c, struct json *info);
/* cri.c: the other face */
int engine_cri_open(struct engine *e, struct err *err);
void engine_cri_close(struct engine *e);
/* image_remove_params.used: containers of both faces, and builds that stand on it; arg is the engine. */
bool engine_image_used(void *engine, const struct image_digest *id, bool only_running, char out_container[65], bool *out_running);
void engine_network_event(void *engine, const struct network_event *ev);

/* ---- sessions and followers ---- */

void engine_sessions_end(struct engine *e); /* cuts every attached client and every reader of logs off */
void engine_followers_end(struct engine *e, struct span id); /* the container ended; empty = all of them */
/* 8 bytes before each piece of a stream of a container without a terminal. */
void engine_frame(char out[8], int stream, size_t len);
/* application/vnd.docker.raw-stream, or multiplexed-stream. */
struct span engine_stream_type(const struct engine_call *c, bool terminal);

/* ---- streams (stream.c): work that reads the body or writes the answer piece by piece, on a thread of its own ---- */

enum { ENGINE_IN = 1 /* the body is wanted */ };
/* run gets the call; engine_in and engine_out connect it with the client. When it ends: a failure before anything was written
 * is an
 * error answer; after that it is a last line of a JSON stream (progress) or a broken connection (archives). Success without
 * output is an empty answer of `status`. */
void engine_stream_begin(struct engine_call *c, unsigned flags, const char *content_type,
	int (*run)(struct engine_call *c, struct err *err));
struct tar_source *engine_in(struct engine_call *c);
struct tar_sink *engine_out(struct engine_call *c);
bool engine_cancelled(struct engine_call *c); /* the client is gone, or the engine stops; any thread */
void engine_streams_cancel(struct engine *e);

/* ---- progress lines (progress.c), from the thread of a stream ---- */

struct engine_progress {
	struct engine_call *c;
	struct tar_sink *to; /* borrowed; NULL = out */
	bool load;  /* `docker load`: lines are "stream" */
	struct image_reporter reporter;
	int rc;     /* of the first line that could not be written */
};
void engine_progress_init(struct engine_progress *p, struct engine_call *c);
void engine_progress_status(struct engine_progress *p, struct span status);
void engine_progress_stream(struct engine_progress *p, struct span text);
void engine_progress_line(struct engine_progress *p, const struct json *line);
void engine_progress_error(struct engine_call *c, const struct err *err, struct buf *out);

/* ---- filters (filters.c) ---- */

struct engine_filter {
	struct span key;
	struct span *values;
	size_t n;
};
struct engine_filters {
	struct engine_filter *items;
	size_t n;
};
/* Both encodings, {"k":["v"]} and {"k":{"v":true}}. known: names, comma separated, NULL = any. INVALID_REQUEST "invalid filter
 * 'x'". */
int engine_filters_parse(struct span text, const char *known, struct arena *a, struct engine_filters *out, struct err *err);
int engine_filters_of(struct engine_call *c, const char *known, struct engine_filters *out, struct err *err);
const struct engine_filter *engine_filter_get(const struct engine_filters *f, const char *key);
int engine_filter_truth(const struct engine_filters *f, const char *key, bool absent, bool *out, struct err *err);
/* Absent filters match everything. exact: one of the values is the text; label: every "k" or "k=v" is met by the object. */
bool engine_filter_exact(const struct engine_filters *f, const char *key, struct span text);
bool engine_filter_label(const struct engine_filters *f, const char *key, const struct json *labels);
bool engine_filter_not_label(const struct engine_filters *f, const struct json *labels); /* "label!" */
/* One of the values is found in the text as a regular expression, or is the text. */
bool engine_filter_match(const struct engine_filters *f, const char *key, struct span text);
/* "id": one of the values begins the id, or is found in it as a regular expression. */
bool engine_filter_id(const struct engine_filters *f, struct span id);
/* The filters as the object {"k":["v"]} that other components take. */
struct json engine_filters_json(const struct engine_filters *f, struct arena *a);
/* Go's path.Match. */
bool engine_glob(struct span pattern, struct span text, bool *out_bad);
/* A point in time as Docker takes it: seconds with a fraction, RFC 3339, a date, or a Go duration before now. */
int engine_time_parse(struct span text, int64_t now_ns, int64_t *out_ns, struct err *err);

/* ---- fields by version (fields.c) ---- */

enum engine_doc {
#define DOC(name) ENGINE_DOC_##name,
#include "engine/docs.def"
#undef DOC
	ENGINE_DOC_COUNT
};
/* Replies: removes what a client of this version does not know, and gives it what it expects instead. Requests: removes what
 * the version
 * does not have, and sets the defaults of its time. */
void engine_shape(enum engine_doc doc, unsigned api, struct arena *a, struct json *v);
void engine_container_whole(struct arena *a, struct json *v); /* whole.c */


/* Counts members of a request's document that nobody knows. */
void engine_fields_count(struct engine_call *c, enum engine_doc doc, const struct json *v);
/* Go's decoder takes names in any case: gives members the names of the table. */
void engine_fields_name(enum engine_doc doc, struct json *v);

/* ---- events (events.c) ---- */

int engine_events_new(struct engine *e, struct engine_events **out);
void engine_events_free(struct engine_events *ev);
/* Any time on the loop; attributes: object of strings or NULL (copied). */
void engine_event(struct engine *e, const char *type, struct span action, struct span id, const struct json *attributes);
int engine_detach_keys_check(struct span text, struct err *err);
/* An event of a container that its own component does not know of: "attach", "archive-path". */
void engine_event_container(struct engine *e, const char *action, struct span id);
/* An image's event, from a worker: it arrives on the loop. Labels of the image (object of strings, NULL = none) are its attributes.
 * _read looks for the labels of the image that id (or its name) is now; what is not there any more has none. */
void engine_event_image_post(struct engine *e, const char *action, struct span id, struct span name, const struct json *labels);
void engine_event_image_read(struct engine *e, const char *action, struct span id, struct span name);
struct json engine_image_labels(struct engine *e, struct span image, struct arena *a); /* {} when it has none; reads a blob */
void engine_events_end(struct engine *e); /* ends every listener's answer */
unsigned engine_events_listeners(const struct engine_events *ev);

/* ---- registries (registry.c) ---- */

struct engine_registry;
int engine_registry_new(const struct engine_options *o, struct engine_registry **out, struct err *err);
void engine_registry_free(struct engine_registry *r);
/* Everything but credentials. */
void engine_registry_params(const struct engine_registry *r, struct image_registry_params *out);
/* Credentials of X-Registry-Auth (base64url of JSON), into the arena. An unreadable one is INVALID_REQUEST. */
int engine_registry_auth(struct span header, struct arena *a, struct image_registry_params *p, struct err *err);
struct json engine_registry_info(const struct engine_registry *r, struct arena *a); /* RegistryConfig of /info */

/* ---- containers, as the rest of the engine sees them (containers.c, list.c) ---- */

int engine_containers_open(struct engine *e, struct err *err);
void engine_containers_close(struct engine *e); /* turns the loop until nothing of them is left in it */
const struct image_unpacker *engine_unpacker(struct engine *e);
extern const struct engine_route *const engine_container_routes; /* ended by a row without a method */
void engine_info_containers(struct engine_call *c, struct json *info);
/* An array of what /containers/json shows of all of them; then(c) with their sizes filled in where sizes is set. */
void engine_containers_df(struct engine_call *c, struct json *out, bool sizes, void (*then)(struct engine_call *c));

/* ---- images (images.c), on workers ---- */

/* `repo` and `tag` of a request as one name with a tag. */
int engine_reference(struct span repo, struct span tag, struct arena *a, struct image_ref *out, struct err *err);
/* Removes layers and blobs that nobody needs. */
int engine_collect(struct engine *e, uint64_t *out_bytes, struct err *err);
/* Which containers use an image: fills used and arg. */
void engine_image_users(struct engine *e, struct image_remove_params *p);
uint64_t engine_layers_bytes(struct engine *e); /* of all unpacked layers */
int engine_images_df(struct engine_call *c, struct json *out_images, uint64_t *out_layers, struct err *err);

int engine_build_cache_df(struct engine_call *c, struct json *out, struct err *err); /* BuildCache of /system/df */

/* A line of Dockerfile ("CMD [\"sh\"]") applied to a container's configuration: `--change` of import (change.c). */
int engine_config_change(struct json *config, struct span line, struct arena *a, struct err *err);

/* ---- small things (text.c) ---- */

void engine_human_size(struct buf *out, double bytes); /* 4 digits, decimal units: "1.23MB" */
int64_t engine_unix_of(struct span rfc3339);           /* 0 when it is none */
struct json engine_text(struct arena *a, struct span s); /* a copy */
struct json engine_strings(struct arena *a, const struct span *items, size_t n);
struct json engine_time(struct arena *a, int64_t unix_ns); /* RFC 3339 with nanoseconds, UTC */
uint64_t engine_image_size(struct engine *e, const struct image_info *i); /* unpacked; any thread */

/* ---- handlers: one for each row of routes.def ---- */

#define ROUTE(method, pattern, fn, flags, since, params) void engine_##fn(struct engine_call *c);
#include "engine/routes.def"
#include "engine/routes_containers.def"
#undef ROUTE
