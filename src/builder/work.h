/* What the files of the builder's executor share. Private. */
#pragma once

#include <pthread.h>

#include "builder/config.h"
#include "builder/layer.h"
#include "container/container.h"
#include "image/image.h"
#include "loop/loop.h"
#include "snapshot/snapshot.h"

struct builder {
	struct builder_opts o;
	char *dir, *work;      /* owned */
	uint64_t stamp;        /* of this process, in names */
	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t changed; /* a cache mount was given back */
	struct map keys;       /* image id → struct known of cache.c */
	struct arena keys_arena;
	struct list mounts;    /* struct cache_hold: cache mounts in use */
	struct list builds;    /* struct build, running: their ids and those of their stages */
	uint64_t next;
};

/* A source that ends with CANCELLED once the wish was raised, for who reads it to its end without asking. */
struct stop_source {
	struct tar_source source;
	struct tar_source *from;   /* borrowed, as stop (NULL = never) */
	struct builder_stop *stop;
};
void builder_stop_source(struct stop_source *s, struct tar_source *from, struct builder_stop *stop);

/* ---- images (image.c) ---- */

struct base { /* what an instruction stands on, read when it is needed */
	struct image_digest id; /* "" = scratch */
	struct json config;     /* of the image: Config */
	struct json history;    /* array */
	struct image_digest *diffs;
	struct image_descriptor *layers;
	size_t n;
	struct image_platform platform;
	char chain[65];         /* of its top layer */
	struct json rest;       /* members of the image's document that are passed on: os.version, os.features */
};
int builder_base_load(struct builder *b, const struct image_digest *id, struct arena *a, struct base *out, struct err *err);

struct base_step {
	const struct json *doc;  /* Config */
	const struct json *cmd;  /* of the step: its key together with doc */
	struct span comment;
	struct span author;
	int64_t created_ns;
	const struct image_digest *layer; /* its diff id; NULL = none */
	uint64_t layer_bytes;             /* of the blob of that digest, plain tar, */
	const struct image_descriptor *as; /* ... unless this says how it is stored */
	struct builder_stop *stop;         /* ends the unpacking of the layer; NULL = never */
	bool elsewhere;                    /* it was made there: a step upon nothing is then no later build's hit */
};
/* The image that the step makes upon base; recorded with base as its parent. */
int builder_base_step(struct builder *b, const struct base *base, const struct base_step *s, struct arena *a,
	struct image_digest *out_id, struct err *err);

/* ---- cache (cache.c) ---- */

void builder_key(const struct json *doc, const struct json *cmd, uint8_t out[32]);
struct cache_want {
	uint8_t key[32];
	const struct image_platform *platform; /* of a step upon nothing, which inherits none; NULL = the parent's, whatever it is */
	const int64_t *epoch_ns;               /* SOURCE_DATE_EPOCH: only what was made with that one; NULL = none is set */
};
/* The child of parent that was made by this step, on this machine. False when there is none. */
bool builder_cache_probe(struct builder *b, const struct image_digest *parent, const struct cache_want *want,
	struct image_digest *out);
/* The next step of one of --cache-from's images, cut off there and made a child of base. 1 hit, 0 none. */
struct cache_sources {
	struct image_digest *ids; /* in order of preference; one that was hit is the only one afterwards */
	size_t n;
};
int builder_cache_from(struct builder *b, struct cache_sources *from, const struct base *base, const struct json *doc,
	const struct json *cmd, const int64_t *epoch_ns, struct arena *a, struct image_digest *out, struct err *err);

/* ---- the containers of RUN (run.c) ---- */

struct run_mount {
	enum builder_mount_kind kind;
	const char *source;    /* on the host: bind and cache */
	struct span target;
	bool read_only;
	uint64_t size;         /* of a tmpfs */
};
struct run {
	struct builder *b;
	const struct builder_params *p;
	struct arena *a;
	const struct json *config;  /* ContainerConfig, Image in it */
	const struct run_mount *mounts;
	size_t n_mounts;
	struct span network;        /* "" = the build's */
	bool plain_errors;          /* standard error is not coloured */
	const char *name;           /* of the container; a note in work/ says that it is to be removed */
	/* results */
	char id[65];
	int code;
	bool stuck;                 /* killed, and it has not ended: what it was given is still in use */
};
/* Creates, says " ---> Running in ID", runs to its end with output said. The container stays: builder_run_layer, then
 * builder_run_remove. */
int builder_run_start(struct run *r, struct err *err);
int builder_run_layer(struct run *r, struct image_digest *out, uint64_t *out_bytes,
	struct err *err); /* 0 bytes: nothing changed */
int builder_run_remove(struct run *r, struct err *err);
/* store.c: so that a process that dies leaves no container behind. */
int builder_run_note(struct builder *b, struct run *r, struct err *err);
void builder_run_settle(struct builder *b, struct run *r, bool will_be_removed);
void builder_run_forget(struct builder *b, struct run *r);

/* ---- cache mounts (store.c) ---- */

struct cache_hold;
/* The folder of a cache mount; waits for one that is locked or being made (CANCELLED when stop is raised). *out_fresh (else NULL):
 * there is none yet; this empty one is given its owner, mode and contents, and becomes *out_path by builder_cache_made. Both live
 * as long as the hold. Released before that, it is as if it had never been. */
int builder_cache_take(struct builder *b, struct span id, enum builder_sharing sharing, struct builder_stop *stop,
	struct cache_hold **out, const char **out_path, const char **out_fresh, struct err *err);
int builder_cache_made(struct builder *b, struct cache_hold *h, struct err *err);
void builder_cache_release(struct builder *b, struct cache_hold *h);
void builder_cache_keep(struct builder *b, struct cache_hold *h); /* never released: builder_close forgets it */

/* ---- what comes from elsewhere (fetch.c) ---- */

struct fetched {
	int fd;                /* owned: a file without a name */
	struct span name;      /* the last component of the URL's path */
	struct timespec mtime; /* Last-Modified; 0 = not said */
	struct span type;      /* Content-Type */
};
int builder_fetch(struct builder *b, const struct builder_params *p, struct span url, struct arena *a, struct fetched *out,
	struct err *err);

/* ---- one build (build.c, step_copy.c, step_run.c, advice.c) ---- */

struct lane;
struct stage {
	bool done;
	struct image_digest id; /* "" = nothing */
};
struct image_used {
	struct image_used *next;
	struct image_digest id;
};
/* What a step sees. Each stage has one of its own (lane is set), made of the build's, which it shares the plan, the stages and the
 * context with. */
struct build {
	struct list link;
	struct builder *b;
	const struct builder_params *p; /* of a lane: its own stop, its words held back */
	struct arena *a;
	struct lane *lane;              /* NULL: the whole build */
	struct builder_file file;
	struct plan plan;
	struct vars vars;
	struct stage *stages;           /* by number; id with the builder's mutex */
	struct image_used *used;        /* what it reads from beside its stages; with the builder's mutex */
	struct tree *context;           /* looked at between builder_context_enter and _leave */
	struct span name, text;         /* of the Dockerfile */
	struct image_platform platform; /* of what is made */
	bool epoch_set;
	int64_t epoch_s;
	struct cache_sources sources;
	/* where it is */
	unsigned steps;
	struct config c;
	struct image_digest id;         /* of the stage's last step */
	struct image_platform stage_platform;
	const struct builder_instruction *in, *next; /* at hand, and behind it */
	unsigned triggers;              /* that are still to come */
	struct span failed;             /* command line of a RUN that failed */
	int code;
};
/* What the repository has there, read as a context. UNSUPPORTED where there is no git. (git.c) */
int builder_git(struct build *w, struct span url, struct tree *out, struct err *err);

/* ---- stages side by side (lanes.c) ---- */

/* Builds what the plan needs. The first failure in the plan's order is the build's, with its instruction and exit code in w. */
int builder_lanes_run(struct build *w, struct err *err);
/* What a lane says: straight out when it is its turn on the caller's thread, else into its spool. much: what a program writes,
 * which may be clipped. */
int builder_lane_say(struct lane *l, struct span text, bool much, struct err *err);
/* It stands on that image now; next is what it does there (NULL = nothing), any = more than that may come first. */
void builder_lane_stands(struct lane *l, const struct image_digest *id, const struct builder_instruction *next, bool any);
/* It is about to make a step upon the image it stands on, which nobody made yet. Waits for lanes before it that make the same, or
 * may: 1 = it waited, so look again; 0 = go on, others wait now. CANCELLED. */
int builder_lane_claim(struct lane *l, const uint8_t key[32], struct err *err);
/* Between them it waits for what says nothing about its next step: others do not wait for it. */
void builder_lane_away(struct lane *l, bool away);
/* Waits until a stage is done that comes before this one; 0 = it is. NOT_FOUND: it comes later, or not at all. */
int builder_lane_await(struct lane *l, unsigned stage, struct err *err);
/* The context's tree is one lane's at a time. */
void builder_context_enter(struct build *w);
void builder_context_leave(struct build *w);
int builder_stage_run(struct build *w, unsigned at, struct err *err); /* build.c */

int builder_say(struct build *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One step: from the cache, or made. layer (NULL: none) makes it: *out_bytes 0 = it changed nothing. */
int builder_step(struct build *w, const struct json *cmd,
	int (*layer)(struct build *w, const struct base *base, void *arg, struct image_digest *out, uint64_t *out_bytes,
		struct err *err),
	void *arg, struct err *err);
/* SHELL's words, and "#(nop) " with what was said: apart, or as one word. */
struct json builder_nop(struct build *w, struct span said, bool as_one);
/* The image of a stage; waits for it when it comes before this one. */
int builder_stage_need(struct build *w, unsigned at, struct image_digest *out, struct err *err);
/* An image by name, brought if it is not there. It is not removed while the build lasts, as builder_uses_image tells. */
int builder_image_need(struct build *w, struct span name, const struct image_platform *platform, struct image_digest *out,
	struct err *err);
/* --from=word: a stage or an image. */
int builder_from_need(struct build *w, struct span word, struct image_digest *out, struct err *err);
/* The folders of an image, read-only: a descriptor that nothing else shows; or, with out_path, mounted there until
 * builder_root_close. "" = an empty folder. */
int builder_root_open(struct build *w, const struct image_digest *id, int *out_fd, struct err *err);
int64_t builder_now_ns(const struct build *w); /* or SOURCE_DATE_EPOCH */
int builder_step_copy(struct build *w, const struct builder_instruction *in, struct err *err);
int builder_step_workdir(struct build *w, const struct builder_instruction *in, struct err *err);
int builder_step_run(struct build *w, const struct builder_instruction *in, struct err *err);
/* A sink's blob as a layer; nothing when it has no entries. write fills the layer. */
int builder_layer_make(struct build *w, int lower, int (*write)(struct build *w, struct layer *l, void *arg, struct err *err),
	void *arg,
	struct image_digest *out, uint64_t *out_bytes, struct err *err);
/* What could be better, as lines for a person. */
void builder_advice(const struct build *w, struct buf *out);
/* A name that nothing in work/ has, with that beginning. */
const char *builder_work_name(struct builder *b, struct arena *a, const char *prefix);
