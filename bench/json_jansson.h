/* jansson behind names of our own; see json_jansson.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

bool bench_jansson_open(void);
void *bench_jansson_load(const char *text, size_t len); /* NULL: refused */
void bench_jansson_drop(void *v);
void bench_jansson_dump(const void *v); /* to a string, which is freed */
