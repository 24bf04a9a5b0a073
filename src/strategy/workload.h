/* Workloads: what the files workload_*.c share. Private to strategy. */
#pragma once

#include "strategy/pod.h"

/* A selector against template labels. EVERYTHING: it is there and empty. */
enum workload_match { WORKLOAD_BAD_SELECTOR, WORKLOAD_MATCHES, WORKLOAD_DIFFERS, WORKLOAD_EVERYTHING };
enum workload_match workload_match(struct arena *a, const struct json *selector, const struct json *template);
/* ... and the complaint: `selector` does not match template `labels`. labels_at: where the template's labels are said to be. */
void check_template_labels(struct check *c, const struct path *template_at, const struct json *template);
/* restartPolicy Always, no deadline: `kind` as the words about the latter have it ("ReplicaSet"). */
void check_template_runs_on(struct check *c, const struct path *template_at, const struct json *template, const char *kind);
/* spec.selector: there, well-formed, not empty; `kind` in lower case. */
void check_workload_selector(struct check *c, const struct path *spec_at, const struct json *spec, const char *kind);
/* The number of an int or of a percentage. */
int64_t workload_int_or_percent(const struct json *value);
/* Counts of a status, not negative; blank-separated names. */
void check_counts(struct check *c, const struct path *at, const struct json *status, const char *names);
void check_not_above(struct check *c, const struct path *at, const struct json *status, const char *name, const char *bound,
		     const char *words);
void check_collision_count(struct check *c, const struct json *status, const struct json *old_status);

/* Status by itself, generation by spec (typed; fields that 1.33 drops are gone before it is compared). */
void prepare_workload(struct strategy *s, const char *spec_type);
/* Of spec.template; on update only when the generation grew. */
void workload_template_warnings(struct check *c, const struct json *object, const struct json *old);

/* A JobSpec, as Jobs and CronJobs hold it: validateJobSpec. */
void check_job_spec(struct check *c, const struct path *at, const struct json *spec, const struct pod_opts *opts);
check_fn check_job_status; /* workload_job_status.c */
/* "1,3-5": how many indexes below completions; -1 and why. One interval: 0, its ends. */
int64_t workload_count_indexes(struct span text, int64_t completions, struct buf *why);
int workload_index_interval(struct span text, int64_t completions, int64_t *out_from, int64_t *out_to, struct buf *why);
void default_failure_policy(struct arena *a, struct json *job_spec);
void workload_job_warnings(struct check *c, const struct path *at, const struct json *spec);
/* robfig/cron's ParseStandard as Kubernetes calls it: 0, or -1 and its words, appended. */
int cron_check(struct span schedule, struct buf *out);
/* A name of the IANA time zone database, as time.LoadLocation knows it. */
bool cron_zone_exists(struct span name);
