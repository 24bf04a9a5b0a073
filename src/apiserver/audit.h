/* Audit: who asked for what, and what they were answered. Private to apiserver.
 *
 * A policy (audit.k8s.io/v1 Policy) says how much is told of a request, by the first of its rules that fits; events
 * (audit.k8s.io/v1 Event) are one line of JSON each. Three parts: the policy (audit_policy.c), pure; the events (audit.c), made on
 * the loop thread of their request; the log (audit_log.c), written and rotated by a thread of its own behind a bounded
 * queue. When the queue is full an event is lost, counted and logged: requests do not wait for a disk that does not answer.
 *
 *     audit_begin(c)           after authentication: RequestReceived
 *     audit_request(c, body)   what was sent, once it is there
 *     call_annotate(c, k, v)   decisions on the way
 *     audit_complete(c, ...)   with the answer: ResponseStarted (long-running ones, audit_started), ResponseComplete */
#pragma once

#include "auth/auth.h"
#include "base/base.h"

struct call;
struct metrics_writer;

/* ---- policy */

enum audit_level { AUDIT_NONE, AUDIT_METADATA, AUDIT_REQUEST, AUDIT_RESPONSE, AUDIT_LEVEL_COUNT };
enum audit_stage { AUDIT_RECEIVED, AUDIT_STARTED, AUDIT_COMPLETE, AUDIT_PANIC, AUDIT_STAGE_COUNT };
extern const char *const audit_level_names[AUDIT_LEVEL_COUNT], *const audit_stage_names[AUDIT_STAGE_COUNT];

struct audit_verdict {
	enum audit_level level;
	unsigned omit; /* bit: enum audit_stage */
	bool omit_managed_fields;
};
struct audit_policy;
/* YAML or JSON. where names the file in errors; class INVALID with every fault. Unknown members are faults: a rule that is
 * misspelt would let through what it should tell. */
int audit_policy_read(struct span text, const char *where, struct audit_policy **out_policy, struct err *err);
void audit_policy_free(struct audit_policy *p); /* accepts NULL */
/* Any thread. user NULL: nobody was authenticated. */
struct audit_verdict audit_policy_match(const struct audit_policy *p, const struct auth_ask *ask);

/* ---- log */

struct audit_log_params {
	struct span path;       /* "-": standard output, not rotated */
	int64_t max_bytes;      /* a new file is begun before one grows larger; 0: never */
	int64_t max_backups;    /* 0: all */
	int64_t max_age_s;      /* 0: for ever */
	int64_t queue_bytes;    /* 0: 32 MB */
	struct clock *clock;
};
struct audit_log;
int audit_log_open(const struct audit_log_params *p, struct audit_log **out_log, struct err *err);
/* A line, with its end. Takes the reference. False: the queue is full. Any thread; waits for nobody. */
bool audit_log_put(struct audit_log *l, struct bytes *line);
/* Somebody else has moved the file away: opens it anew before the next line. Any thread. */
void audit_log_reopen(struct audit_log *l);
struct audit_log_stats {
	uint64_t lines, lost, failed; /* written; not taken because the queue was full; writes that failed */
};
struct audit_log_stats audit_log_stats(struct audit_log *l);
void audit_log_close(struct audit_log *l); /* writes what waits; accepts NULL */

/* ---- events */

struct audit;
/* Both flags absent: *out_audit is NULL and nothing below does anything. */
struct apiserver_options;
int audit_new(const struct apiserver_options *o, struct span policy, struct clock *clock, struct audit **out_audit,
	      struct err *err);
void audit_free(struct audit *a); /* accepts NULL */
/* Another policy from now on; the old one is given back for the caller to free when no thread uses it. NULL: there is no audit. */
struct audit_policy *audit_policy_swap(struct audit *a, struct audit_policy *fresh);
void audit_reopen(struct audit *a);

/* Chooses c->audit_id (the client's, or a new one). Before all else. */
void audit_id(struct call *c);
void audit_begin(struct call *c);
/* Nobody was authenticated, and 401 is about to be answered. */
void audit_unauthenticated(struct call *c);
void audit_request(struct call *c, struct span body);
void audit_started(struct call *c, int code);
/* Is the answer's body told? Then who streams it keeps a copy for audit_complete. */
bool audit_wants_answer(const struct call *c);
/* The answer is on its way; body may be empty. Repeated calls do nothing. */
void audit_complete(struct call *c, int code, const char *content_type, struct span body);
/* apiserver_audit_* and audit's share of /metrics. */
void audit_metrics(struct audit *a, struct metrics_writer *w);
