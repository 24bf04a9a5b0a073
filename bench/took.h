/* Times that were taken: the clock, and what is told of many of them. For the programs of this folder. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

static inline int64_t now_ns(void)
{
	return clock_mono_ns(clock_real());
}

/* For qsort(3): whole numbers (nanoseconds), and fractions (milliseconds, rates). */
static inline int took_by_ns(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}
static inline int took_by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Sorts them and prints one line. */
static inline void took_row(const char *title, double *ms, int n)
{
	qsort(ms, (size_t)n, sizeof(*ms), took_by_value);
	printf("%-28s p50 %7.2f ms  p99 %7.2f ms  min %7.2f ms\n", title, ms[n / 2], ms[n * 99 / 100], ms[0]);
}
