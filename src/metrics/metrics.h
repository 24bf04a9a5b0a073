/* Metrics, counted by any thread and written in Prometheus' text format (text/plain; version=0.0.4).
 *
 * A component describes its families in one static table, registers it at start-up, and keeps pointers to the series it
 * counts often:
 *
 *     enum { REQUESTS, DURATION, FAMILIES };
 *     static const struct metrics_family families[FAMILIES] = {
 *             [REQUESTS] = { "apiserver_request_total", "Requests by verb and code.", METRICS_COUNTER,
 *                            .labels = { "verb", "code" } },
 *             [DURATION] = { "apiserver_request_duration_seconds", "Time to answer.", METRICS_HISTOGRAM,
 *                            .labels = { "verb" }, .bounds = metrics_bounds_seconds },
 *     };
 *     struct metrics_table *t = metrics_register(m, families, FAMILIES);
 *     metrics_inc(METRICS_SERIES(t, REQUESTS, verb, SPAN("200")));
 *     metrics_observe(METRICS_SERIES(t, DURATION, verb), took_s);
 *     metrics_write(m, &body);
 *
 * Numbers of objects that come and go (pods, containers) are not kept here: a collector asks for them when
 * somebody reads, and writes them with metrics_emit.
 *
 * Threads: counting and looking a series up take no lock and never wait; a new series takes a short mutex. Register
 * tables and collectors before other threads count. metrics_write may run beside counting: each number is
 * whole, a histogram's count is the sum of the buckets written.
 *
 * Bounds: a family has at most max_series series (default METRICS_SERIES_DEFAULT). Label values that would be
 * one more are counted together in a series whose every label is "other", so that no total is lost and no client can
 * grow memory. A label value is cut at METRICS_VALUE_MAX bytes; what is not UTF-8 in it becomes U+FFFD.
 *
 * Mistakes in tables (bad names, a counter that goes down, wrong number of label values) are ours: they abort. */
#pragma once

#include "base/base.h"

enum {
	METRICS_LABELS_MAX = 10,
	METRICS_BOUNDS_MAX = 64,
	METRICS_SERIES_DEFAULT = 1000,
	METRICS_VALUE_MAX = 256,
	METRICS_SUM_MAX = 64, /* registries that one page sums */
};

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metrics_type {
	METRICS_COUNTER, /* only rises */
	METRICS_GAUGE,
	METRICS_HISTOGRAM,
	METRICS_TYPE_COUNT
};

/* A row of a component's table. Everything is borrowed for ever. Names follow Prometheus' data model; units are base
 * units (seconds, bytes) and stand in the name; a counter's name ends in _total. */
struct metrics_family {
	const char *name;
	const char *help;
	enum metrics_type type;
	const char *labels[METRICS_LABELS_MAX]; /* up to the first NULL */
	const double *bounds;  /* histogram: upper bounds, rising, closed by INFINITY, which is the last bucket */
	unsigned max_series;   /* 0 = METRICS_SERIES_DEFAULT */
};

/* 5 ms to 10 s, Prometheus' default. */
extern const double metrics_bounds_seconds[];

struct metrics;
struct metrics_table;
struct metrics_series;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m); /* accepts NULL; nobody counts any more */

/* Tables are written in the order in which they were registered, families in the order of their rows. A family without
 * labels has its one series from the start. The table lives as long as m. */
struct metrics_table *metrics_register(struct metrics *m, const struct metrics_family *rows, unsigned n);

/* The series of a family with these label values, in the order of its labels; made when it is new. Never NULL, and
 * valid as long as the registry. */
struct metrics_series *metrics_series(struct metrics_table *t, unsigned family, const struct span *values, unsigned n);
#define METRICS_SERIES(t, family, ...)                                                                                 \
	({                                                                                                             \
		const struct span metrics_values_[] = { SPAN_EMPTY, ##__VA_ARGS__ };                                   \
		metrics_series((t), (family), metrics_values_ + 1, ARRAY_LEN(metrics_values_) - 1);                    \
	})

/* Counters and gauges. */
void metrics_inc(struct metrics_series *s); /* by 1; the cheapest */
void metrics_add(struct metrics_series *s, double by);
void metrics_set(struct metrics_series *s, double value); /* gauges */
/* Histograms. NaN is left out. metrics_observe_n: the same value n times. */
void metrics_observe(struct metrics_series *s, double value);
void metrics_observe_n(struct metrics_series *s, double value, uint64_t n);

/* What was counted so far: the value, or a histogram's count of observations. For tests and for deciding. */
double metrics_value(const struct metrics_series *s);

/* Called by metrics_write behind the tables, in the order of adding, in the thread that writes. */
struct metrics_writer;
void metrics_collector_add(struct metrics *m, void (*collect)(struct metrics_writer *w, void *arg), void *arg);
/* Begins a family of a collector (counter or gauge); its samples follow. A name that was written before is skipped with
 * its samples: a family stands in a page once. */
void metrics_emit_family(struct metrics_writer *w, const char *name, const char *help, enum metrics_type type);
/* One sample of that family. values[i] belongs to labels[i]; NULL and 0 without labels. */
void metrics_emit(struct metrics_writer *w, const char *const *labels, const struct span *values, unsigned n,
		  double value);

/* A collector of the process itself: process_cpu_seconds_total, process_open_fds, process_max_fds,
 * process_resident_memory_bytes, process_virtual_memory_bytes, process_virtual_memory_max_bytes and
 * process_start_time_seconds, from /proc (which it reads in the writing thread). What /proc does not tell is left out. */
void metrics_process_add(struct metrics *m);

/* Appends the whole page. */
void metrics_write(struct metrics *m, struct buf *out);
/* The same for several registries with the same tables, registered in the same order: series with equal labels are added, gauges
 * too; the collectors are those of the first. So each thread can count in a registry of its own, whose cache lines nobody
 * else touches. */
void metrics_write_sum(struct metrics *const *all, unsigned n, struct buf *out);
