/* What a Job is to do now: sets of indexes, policies, how many pods. Pure functions; private to src/controllers. */
#pragma once

#include "controllers/frame.h"

/* A set of completion indexes: a byte each, 1 = in. */
struct job_indexes {
	uint8_t *in;
	uint32_t size, n; /* the Job's completions; how many are in */
};
#define JOB_INDEXES_MAX 10000000
/* "1,3-5,7"; what is no such text ends the set, indexes beyond size are left out. */
struct job_indexes job_indexes_parse(struct arena *a, uint32_t size, struct span text);
void job_indexes_add(struct job_indexes *s, int64_t index);
/* The same text, as upstream prints it: ranges from three on, pairs with a comma. Appended. */
void job_indexes_print(const struct job_indexes *s, struct buf *out);

enum job_action { JOB_COUNT, JOB_IGNORE, JOB_FAIL_INDEX, JOB_FAIL };
/* What spec.podFailurePolicy says of a failed pod, with the words for the condition. */
enum job_action job_policy(struct arena *a, const struct json *policy, const struct json *pod, struct span *out_words);
/* The rule of spec.successPolicy that holds; -1: none. */
int job_success(struct arena *a, const struct json *policy, const struct job_indexes *succeeded);

struct job_numbers {
	int64_t parallelism, completions; /* completions < 0: not given */
	int64_t succeeded;                /* counted and to be counted */
	int64_t active, terminating;
	bool only_replace_failed;         /* podReplacementPolicy Failed: those that still end count as there */
	bool suspended;
};
/* > 0: create so many; < 0: delete so many active pods. */
int64_t job_difference(const struct job_numbers *n);
/* How long to wait with new pods after the n-th failure in a row, in ms: 10 s doubled, at most 10 min. */
int64_t job_backoff_ms(unsigned failures);
