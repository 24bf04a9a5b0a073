/* A bundle in `dir` whose process is /true (ends at once) or /pause (never). network: NULL = the host's, "" = a new network
 * namespace, else the path of one to join; profile: a file with a seccomp object, or NULL. Ends the program on failure. */
#pragma once

void bench_bundle_make(const char *dir, const char *program, const char *network, const char *profile);
