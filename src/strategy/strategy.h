/* What the API server does with an object besides storing it: defaults, the strategy of each kind on create and update, and
 * validation in Kubernetes' words. The seam of src/strategy.
 *
 * Objects are trees that were decoded against their type (api/codec.h): every value has the right kind, unknown fields and
 * nulls are gone. Each kind is a row of `kinds.def` with the functions below; a kind without a function has the common
 * behaviour alone. Custom resources have no row: their schema says it all, metadata is checked by strategy_meta_*.
 *
 *     strategy_default(&arena, resource, &object);                       // also on objects read in another version
 *     struct strategy s = { .arena = &arena, .resource = resource, .object = &object, .old = old_or_null, ... };
 *     strategy_prepare(&s);                                              // clears what the client may not set, generation
 *     if (strategy_validate(&s, err) < 0)                                // INVALID: Pod "x" is invalid: spec...: Required value
 *             return err;
 *     for (i < s.n_warnings) ... s.warnings[i]                           // Warning headers
 *
 * Order, as upstream: the name is generated, uid and creationTimestamp are set, then prepare, then validate; the store's part
 * (resourceVersion, preconditions) is the caller's. On update prepare puts back what no request changes: generation, uid (when
 * absent), creationTimestamp, deletionTimestamp, deletionGracePeriodSeconds.
 *
 * Pure functions: nothing is looked up, no clock is read; what depends on other objects (quota, service IPs, classes) is
 * admission's and the server's business. Any thread. Trees are changed in place; new nodes come from the arena. */
#pragma once

#include "api/api.h"
#include "base/base.h"
#include "json/json.h"

/* What a CustomResourceDefinition says of schemas is checked by whom serves custom resources. Each adds causes and returns their
 * number; at is the path of the schema, or of the list of fields. */
struct strategy_crd {
	unsigned (*schema)(struct arena *a, struct span at, const struct json *schema, bool has_status, struct err *err);
	unsigned (*selectable)(struct arena *a, struct span at, const struct json *fields, const struct json *schema,
			       struct err *err);
	const char *no_webhook; /* why conversion by webhook is forbidden; NULL = it is not */
};

/* A custom resource has no row here; whom it belongs to does its part, where a kind's own functions would. */
struct strategy;
struct strategy_custom {
	void (*prepare)(struct strategy *s, void *arg);
	/* Adds causes to err; rc is what was found so far. Returns what strategy_validate is to return. */
	int (*validate)(struct strategy *s, void *arg, int rc, struct err *err);
};

struct strategy {
	struct arena *arena;
	const struct api_resource *resource;
	struct span subresource;   /* "" or "status", "scale", "ephemeralcontainers", "resize", "approval", "finalize", ... */
	struct json *object;       /* what is to be stored */
	const struct json *old;    /* what is stored; NULL on create */
	struct span now;           /* RFC 3339, for timestamps that a strategy sets */
	struct span user_name, user_uid; /* who asks: CSRs record it */
	const struct span *user_groups;
	unsigned n_user_groups;
	const struct json *user_extra; /* object of lists of strings, or NULL */
	const struct strategy_crd *crd; /* NULL: schemas are not looked at */
	const struct strategy_custom *custom; /* NULL: of custom resources metadata alone is looked at */
	void *custom_arg;	       /* borrowed, given to custom */
	/* out */
	struct span *warnings;     /* in the arena, in order, each once */
	unsigned n_warnings, cap_warnings;
};

/* Static and declared defaults of the served version (stages `defaults`, `declared`, `conversion` of the schema files). A second
 * run changes nothing. Objects without rules stay as they are. */
void strategy_default(struct arena *a, const struct api_resource *resource, struct json *object);
/* The same for a part that is no resource: a PodTemplateSpec inside something, say. type by name ("core/v1.PodSpec"). */
void strategy_default_type(struct arena *a, struct span type_name, struct json *value);

/* Stage `strategy`: on create, fields that only the system sets are cleared and initial ones set; on update, the parts that this
 * (sub)resource does not own are taken from old, and metadata.generation grows when the wanted state changed. */
void strategy_prepare(struct strategy *s);
/* 0, or INVALID with all causes in the order upstream finds them. The message is whole:
 * `Deployment.apps "web" is invalid: [spec.a: Required value, spec.b: Invalid value: 1: must be ...]`.
 * Appends warnings (deprecated fields and values, as upstream words them). */
int strategy_validate(struct strategy *s, struct err *err);

/* Facts of the kind's strategy. */
enum strategy_flags {
	STRATEGY_CREATE_ON_UPDATE = 1 << 0,   /* PUT of an absent object creates it */
	STRATEGY_UNCONDITIONAL_UPDATE = 1 << 1, /* PUT without resourceVersion is taken */
	STRATEGY_GRACEFUL_DELETE = 1 << 2,    /* deletion waits for somebody (pods) */
	STRATEGY_HAS_GENERATION = 1 << 3,
};
unsigned strategy_flags(const struct api_resource *resource);
/* Appends a warning, for what strategy_custom finds. */
void strategy_warn(struct strategy *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Makes the message from the causes that err holds (api_fe_add): `Pod "x" is invalid: ...`; for field errors of admission. */
int strategy_invalid(const struct api_resource *resource, struct span name, struct err *err);
/* Metadata of a resource that lies inside of another object: adds its complaints as causes of err, with paths below at. A name may
 * be missing. */
void strategy_meta_causes(struct arena *a, struct span at, const struct json *meta, struct err *err);
/* Semantic.DeepEqual: as json_equal, but an absent, null or empty list, map or object equals another, and quantities and
 * times compare as text (a decoded tree holds them in canonical form). Trees are at most as deep as decoding allows (200). */
bool strategy_same(const struct json *a, const struct json *b);
