/* A bundle in `dir` whose process is /true (ends at once) or /pause (never). With a network namespace or without; profile: a file
 * with a seccomp object, or NULL. Ends the program on failure. */
#pragma once

#include <stdbool.h>

void bench_bundle_make(const char *dir, const char *program, bool network, const char *profile);
