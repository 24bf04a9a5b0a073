/* For tests: numbers by chance, repeatable by the seed that is printed. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "base/base.h"

/* xorshift64: enough for test data */
static uint64_t chance(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t seed_of_run(void)
{
	const char *given = getenv("KNARR_TEST_SEED");
	uint64_t seed = 0;
	if (!given || !span_to_u64(span_of(given), &seed))
		seed = (uint64_t)time(NULL) * 2654435761u;
	print_message("KNARR_TEST_SEED=%llu\n", (unsigned long long)seed);
	return seed | 1;
}
