/* Images from Dockerfiles. First the front: Dockerfiles, the words in them, and ignore files, as data; nothing of it touches a file
 * or runs anything. Then the building itself, at the end.
 *
 *     builder_file_parse(text, &arena, &file, &err);          // stages and their instructions, checked
 *     builder_expand(span, &scope, &out, &err);               // $NAME, ${NAME:-word}, quotes, escapes
 *     builder_ignore_parse(text, &arena, &rules, &err);
 *     if (builder_ignore_has(&rules, SPAN("node_modules/x"))) ...
 *
 * The grammar is that of docs.docker.com/reference/dockerfile with the meaning that moby/buildkit's frontend gives it
 * (instructions, flags and messages of its 1.x line), so that a file is refused in the words people know.
 *
 * Bounds: a Dockerfile has at most BUILDER_FILE_MAX bytes, a line BUILDER_LINE_MAX, BUILDER_INSTRUCTIONS_MAX instructions; an
 * ignore file BUILDER_FILE_MAX bytes and BUILDER_RULES_MAX rules. ${} nests at most BUILDER_NEST_MAX deep.
 *
 * Memory: results live in the arena given; spans point into it or into the text, which the caller keeps as long.
 * Threads: any; no state. */
#pragma once

#include "base/base.h"

#define BUILDER_FILE_MAX (1 << 20)
#define BUILDER_LINE_MAX 65535
#define BUILDER_INSTRUCTIONS_MAX 10000
#define BUILDER_RULES_MAX 10000
#define BUILDER_NEST_MAX 32
#define BUILDER_EXPANDED_MAX (1 << 20) /* bytes that one expansion gives */

/* ---- Dockerfiles ---- */

enum builder_op {
	BUILDER_ADD,
	BUILDER_ARG,
	BUILDER_CMD,
	BUILDER_COPY,
	BUILDER_ENTRYPOINT,
	BUILDER_ENV,
	BUILDER_EXPOSE,
	BUILDER_FROM,
	BUILDER_HEALTHCHECK,
	BUILDER_LABEL,
	BUILDER_MAINTAINER,
	BUILDER_ONBUILD,
	BUILDER_RUN,
	BUILDER_SHELL,
	BUILDER_STOPSIGNAL,
	BUILDER_USER,
	BUILDER_VOLUME,
	BUILDER_WORKDIR,
	BUILDER_OP_COUNT
};
const char *builder_op_name(enum builder_op op); /* "ADD" */

/* --name=value as written; value is not expanded. Names are among those that the instruction has. */
struct builder_flag {
	struct span name, value;
	bool has_value; /* else a switch: --link */
};
/* ENV and LABEL: key and value (quotes still in it: builder_expand takes them away). ARG: value only if has_value. */
struct builder_pair {
	struct span key, value;
	bool has_value;
	bool spaced; /* the old form `ENV key value`: one pair, the rest of the line */
};
/* <<NAME ... NAME */
struct builder_heredoc {
	struct span name, content; /* content as written, with its line ends */
	unsigned fd;               /* 3<<NAME */
	bool expand;               /* NAME was not quoted: variables in it are replaced where that has a meaning (COPY, ADD) */
	bool chomp;                /* <<-: leading tabs of each line do not count */
};
/* The content as a reader gets it: without the leading tabs of <<-. */
struct span builder_heredoc_text(const struct builder_heredoc *d, struct arena *a);

struct builder_instruction {
	enum builder_op op;
	struct span code;          /* as written, continuation lines joined, without here-documents: "COPY a b" */
	unsigned line, end_line;   /* from 1 */
	struct builder_flag *flags;
	size_t n_flags;
	/* Words: sources and destination, ports, volumes, FROM's; the exec form's items; else (CMD, RUN, USER, ... in shell form)
	 * the rest of the line as one. HEALTHCHECK: without the leading NONE or CMD. */
	struct span *args;
	size_t n_args;
	bool json;                 /* args were given as a JSON array: exec form */
	bool health_none;          /* HEALTHCHECK NONE */
	struct builder_pair *pairs;
	size_t n_pairs;
	struct builder_heredoc *docs;
	size_t n_docs;
	struct span trigger;       /* ONBUILD: the instruction that follows, here-documents included,
		as the image's config keeps it */
};
/* The flag's last value, or empty; *out_set tells whether it was given (may be NULL). */
struct span builder_flag_get(const struct builder_instruction *in, const char *name, bool *out_set);
bool builder_flag_on(const struct builder_instruction *in, const char *name); /* --link, --link=true */

struct builder_stage {
	struct span base;     /* not expanded */
	struct span name;     /* lower case; empty = none */
	struct span platform; /* not expanded; empty = none */
	const struct builder_instruction *from;
	struct builder_instruction *items;
	size_t n;
};
struct builder_file {
	char escape;              /* '\\' or '`' */
	struct span syntax, check; /* # syntax=, # check=: empty = none */
	struct builder_instruction *globals; /* ARGs before the first FROM */
	size_t n_globals;
	struct builder_stage *stages;
	size_t n_stages;
	struct span *warnings;    /* "Empty continuation line found in: ...", ... */
	size_t n_warnings;
};
/* INVALID_REQUEST with Docker's words: "dockerfile parse error on line 3: unknown instruction: FORM (did you mean FROM?)". */
int builder_file_parse(struct span text, struct arena *a, struct builder_file *out, struct err *err);
/* One instruction that an image's ONBUILD asks for: never FROM, MAINTAINER or ONBUILD, whatever the image says. */
int builder_trigger_parse(struct span text, struct arena *a, struct builder_instruction *out, struct err *err);

/* RUN --mount=..., its value after expansion. */
enum builder_mount_kind {
	BUILDER_MOUNT_BIND,
	BUILDER_MOUNT_CACHE,
	BUILDER_MOUNT_TMPFS,
	BUILDER_MOUNT_SECRET,
	BUILDER_MOUNT_SSH,
	BUILDER_MOUNT_COUNT
};
enum builder_sharing { BUILDER_SHARED, BUILDER_PRIVATE, BUILDER_LOCKED };
struct builder_mount {
	enum builder_mount_kind kind;
	struct span from, source, target, id, env; /* env: of a secret: the variable that gets it */
	bool read_only, required, sharing_set, mode_set, uid_set, gid_set;
	enum builder_sharing sharing;
	uint32_t mode, uid, gid;
	uint64_t size; /* of a tmpfs; 0 = no bound */
};
int builder_mount_parse(struct span text, struct arena *a, struct builder_mount *out, struct err *err);

/* ---- words ---- */

struct builder_scope {
	char escape;
	/* The value of a variable: true and *out when it is set. */
	bool (*get)(void *arg, struct span name, struct span *out);
	void *arg;
	bool keep_unset;  /* a variable that is not set stays as it is written */
	bool raw_quotes, raw_escapes; /* quotes and escapes stay in the result */
};
/* All of text as one word. INVALID_REQUEST: `failed to process "${x": syntax error: missing '}'`, `x: is not allowed to be
 * unset`. The result lies in the arena. Modifiers: :- :+ :? - + ? # ## % %% / //. */
int builder_expand(struct span text, const struct builder_scope *scope, struct arena *a, struct span *out, struct err *err);
/* Split at white space that is not quoted; what a variable brings is split too. */
int builder_expand_words(struct span text, const struct builder_scope *scope, struct arena *a, struct span **out, size_t *out_n,
			 struct err *err);

/* ---- patterns ---- */

/* Go's filepath.Match: * ? [a-z] \x, none of which matches '/'. *out. INVALID_REQUEST "syntax error in pattern". */
int builder_glob(struct span pattern, struct span name, bool *out, struct err *err);
bool builder_glob_is(struct span pattern); /* does it have any of * ? [ \ ? */

struct builder_rule;
struct builder_ignore {
	struct builder_rule *rules; /* in the arena */
	size_t n;
	bool exceptions; /* any rule with '!': folders that are left out must be walked nevertheless */
};
/* .dockerignore: lines, '#' comments, "!" exceptions, leading "/" taken away. Also --exclude, a pattern a line. */
int builder_ignore_parse(struct span text, struct arena *a, struct builder_ignore *out, struct err *err);
/* Is path (relative, clean, without a leading "/") left out? It is when it or a folder above it matches, the last rule that matches
 * deciding. "**" stands for any number of folders. One thread at a time for each struct builder_ignore. */
bool builder_ignore_has(const struct builder_ignore *ig, struct span path);

/* ---- building ----
 *
 * As Docker's classic builder: every instruction makes an image on its parent's, and the cache is the images that are stored: a
 * step is a hit when its parent has a child that was made by the same configuration and command (the digests of what COPY and ADD
 * bring stand in the command). So it survives a restart, is shared with everybody's images, and goes as they go. Beyond the classic
 * builder: here-documents, RUN --mount (bind, cache, tmpfs), --network, --security; COPY --link, --exclude, --chmod, --parents; ADD
 * --checksum; stages that are not reached are not built; TARGETARCH and its kin; SOURCE_DATE_EPOCH.
 *
 *     DIR/cache/ID/      folders of RUN --mount=type=cache
 *     DIR/work/          mounts while a build runs; emptied at every open. Contexts lie in files without a name.
 *
 * Stages that do not wait for each other are built side by side (lanes.c), and told one after the other.
 *
 * Threads: builder_build runs on the caller's thread, which is not the loop's, and blocks; several may run at once. It has threads
 * of its own for stages beside, which end with it, and lets the loop's thread drive containers. say, line and made are called on
 * the caller's thread alone, fetch on any of the build's. builder_stop_raise may be called from any thread. */

struct builder;
struct container_engine;
struct image_digest;
struct image_platform;
struct image_store;
struct json;
struct loop;
struct snapshot_store;
struct tar_sink;
struct tar_source;

struct builder_opts { /* borrowed; outlive the builder */
	struct loop *loop;
	const char *dir; /* made when missing (0700) */
	struct image_store *images;
	struct snapshot_store *snapshots;
	struct container_engine *containers;
};
int builder_open(const struct builder_opts *o, struct builder **out, struct err *err);
void builder_close(struct builder *b); /* accepts NULL; no build may be running */

/* A wish to end that wakes whoever waits. */
struct builder_stop {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool raised;
	void (*heard)(void *arg); /* of who listens; NULL = nobody */
	void *heard_arg;
};
void builder_stop_init(struct builder_stop *s);
void builder_stop_done(struct builder_stop *s);
void builder_stop_raise(struct builder_stop *s);
bool builder_stop_raised(struct builder_stop *s);
/* fn is called once when it is raised, by who raises it, or now if it was; NULL ends it: when that returns fn is not running. */
void builder_stop_listen(struct builder_stop *s, void (*fn)(void *arg), void *arg);
int builder_stop_check(struct builder_stop *s, struct err *err); /* CANCELLED once it was raised; NULL = it never is */

struct builder_params { /* borrowed for the call */
	struct tar_source *context;  /* NULL: nothing but what remote gives */
	struct span dockerfile;      /* its name in the context; empty = Dockerfile */
	struct span remote;          /* URL of an archive or of a Dockerfile; empty = context */
	struct span target;
	const struct json *args;     /* {"NAME": "value" or null}; NULL = none */
	const struct json *labels;   /* {"name": "value"}; NULL = none */
	const struct json *host;     /* HostConfig of RUN's containers; NULL = {} */
	const struct span *cache_from;
	size_t n_cache_from;
	bool no_cache, pull, keep, force_rm; /* keep: containers of steps that succeeded stay (--rm=false) */
	const struct image_platform *platform; /* NULL = this machine's */
	struct span https_proxy, http_proxy, no_proxy;
	struct builder_stop *stop;
	/* Brings an image that is not there (or, with pull, anew). NULL: an image that is not there is an error. What it has to say of
	 * its progress goes to lines, a whole line of the stream's own form each, which come to line in their turn; or, where lines is
	 * NULL, straight out. Called from several threads at once. */
	int (*fetch)(void *arg, struct span name, const struct image_platform *platform, struct tar_sink *lines, struct err *err);
	int (*line)(void *arg, struct span text, struct err *err);
	/* A piece of the classic stream; a failure (the client is gone) ends the build. */
	int (*say)(void *arg, struct span text, struct err *err);
	/* An image came to be: {"aux":{"ID":...}}. May be NULL. */
	int (*made)(void *arg, const struct image_digest *id, struct err *err);
	void *arg;
};
/* out_code: the exit code of a RUN that failed, else 0. Errors in Docker's words. The stream is that of `docker build` without
 * "Successfully built". out_advice (may be NULL): lines for a person about what could be better, appended. */
int builder_build(struct builder *b, const struct builder_params *p, struct image_digest *out_id, int *out_code,
	struct buf *out_advice, struct err *err);

/* Does a build that runs stand on this image? Any thread; for whoever removes images. */
bool builder_uses_image(struct builder *b, const struct image_digest *id);

/* What the builder keeps beside images: folders of cache mounts. */
struct builder_cache {
	struct span id;
	uint64_t bytes, entries;
	int64_t used_ns; /* wall time of the last use */
	bool in_use;
};
int builder_cache_list(struct builder *b, struct arena *a, struct builder_cache **out, size_t *out_n, struct err *err);
/* 0 also when it is gone; IN_USE. */
int builder_cache_remove(struct builder *b, struct span id, struct err *err);
