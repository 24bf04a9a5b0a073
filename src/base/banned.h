/* Calls that have no safe use here. Naming one is a compile error that says what to write instead.
 * The system headers come first, so that their declarations are not touched. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KNARR_BANNED(name, instead) name##_is_banned_use_##instead

#undef strcpy
#define strcpy(a, b) KNARR_BANNED(strcpy, buf_add)
#undef strncpy
#define strncpy(a, b, c) KNARR_BANNED(strncpy, span)
#undef strcat
#define strcat(a, b) KNARR_BANNED(strcat, buf_add)
#undef strncat
#define strncat(a, b, c) KNARR_BANNED(strncat, buf_add)
#undef sprintf
#define sprintf(...) KNARR_BANNED(sprintf, snprintf_or_buf_printf)
#undef vsprintf
#define vsprintf(...) KNARR_BANNED(vsprintf, buf_vprintf)
#undef strtok
#define strtok(a, b) KNARR_BANNED(strtok, span_cut)
#undef atoi
#define atoi(a) KNARR_BANNED(atoi, span_to_i64)
#undef atol
#define atol(a) KNARR_BANNED(atol, span_to_i64)
#undef atoll
#define atoll(a) KNARR_BANNED(atoll, span_to_i64)
#undef gmtime
#define gmtime(a) KNARR_BANNED(gmtime, gmtime_r)
#undef localtime
#define localtime(a) KNARR_BANNED(localtime, localtime_r)
#undef tmpnam
#define tmpnam(a) KNARR_BANNED(tmpnam, openat_with_O_TMPFILE)
#undef mktemp
#define mktemp(a) KNARR_BANNED(mktemp, mkostemp)
#undef rand
#define rand() KNARR_BANNED(rand, rng_u64)
#undef system
#define system(a) KNARR_BANNED(system, proc_spawn)
#undef popen
#define popen(a, b) KNARR_BANNED(popen, proc_spawn)
