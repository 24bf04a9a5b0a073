/* What of a Dockerfile has to be built, and what variables mean where. Pure: no file, no image, no state. Private. */
#pragma once

#include "builder/private.h"
#include "json/json.h"

#define BUILDER_STAGES_MAX 500

/* ---- variables: ARG's rules. ENV wins over them; who expands asks there first ---- */

struct vars_arg {
	struct span name, value;
	bool has_value;
	struct vars_arg *next;
};
struct vars {
	struct arena *a;
	const struct json *given;      /* --build-arg: {"K": "v" or null}; NULL = none */
	struct vars_arg *platform;     /* TARGETARCH and its kin: known before the first FROM, and where ARG names them */
	struct vars_arg *global;       /* ARG before the first FROM */
	struct vars_arg *stage;        /* ARG of the stage that is being built */
	struct map used;               /* of given: named by an ARG somewhere; keys borrowed */
};
/* target: "linux/arm64" and so on of the image that is made; here: of this machine. */
void builder_vars_init(struct vars *v, struct arena *a, const struct json *given, struct span target, struct span here);
void builder_vars_done(struct vars *v);
/* For a stage that is built beside others: what was given and what came before the first FROM is shared, the rest its own. */
void builder_vars_split(struct vars *v, struct arena *a, const struct vars *from);
void builder_vars_join(struct vars *v, const struct vars *from); /* what it used counts as used */
/* ARG name[=value], value expanded already. */
void builder_vars_global_add(struct vars *v, struct span name, struct span value, bool has_value);
void builder_vars_stage_add(struct vars *v, struct span name, struct span value, bool has_value);
void builder_vars_stage_begin(struct vars *v); /* a FROM: its ARGs are forgotten */
bool builder_vars_global_get(const struct vars *v, struct span name, struct span *out);
bool builder_vars_stage_get(const struct vars *v, struct span name, struct span *out);
/* What a RUN of this stage gets beside env (array of K=V), and what of it counts for its key: sorted "K=V". The proxies are given
 * to every RUN, and count only where an ARG names them. */
void builder_vars_run(const struct vars *v, const struct json *env, struct span **out_env, size_t *out_n_env,
	struct span **out_key,
	size_t *out_n_key);
/* "[Warning] One or more build-args [A B] were not consumed\n", or nothing. */
void builder_vars_unused(const struct vars *v, struct buf *out);

/* ---- stages ---- */

enum plan_base { PLAN_SCRATCH, PLAN_STAGE, PLAN_IMAGE };
struct plan_stage {
	const struct builder_stage *is;
	enum plan_base base;
	unsigned base_stage;   /* of PLAN_STAGE */
	struct span image;     /* FROM's word, expanded */
	struct span platform;  /* expanded; empty = the build's */
	bool needed;
	unsigned first_step;   /* number of its FROM, from 1, among those of needed stages */
	unsigned *uses;        /* other stages: the base, COPY --from, RUN --mount=from= */
	size_t n_uses;
};
struct plan {
	struct plan_stage *stages;
	size_t n;
	unsigned target;
	unsigned steps;        /* of all needed stages, and of the ARGs before them; extra ones are not in it */
	unsigned *order;       /* needed stages, each behind those that it uses, else as in the file: how they are told */
	size_t n_order;
};
/* ARGs before the first FROM go into v. target: a stage's name or number, empty = the last. INVALID_REQUEST "base name (${X})
 * should not be blank", "failed to reach build target x in Dockerfile", "circular dependency detected on stage: x". */
int builder_plan_make(const struct builder_file *f, struct span target, struct vars *v, struct plan *out, struct err *err);
/* A stage by the word of --from: its name in any case, or its number. -1: it is none (an image); -2: a number beyond them. */
int builder_plan_stage_find(const struct plan *p, struct span word);
