/* The monitor's children: what parses, builds and starts, with all the memory that this takes. See monitor.h. */
#pragma once

#include "monitor/monitor.h"

enum build_kind {
	BUILD_WARNING,
	BUILD_ERROR,
	BUILD_MADE,
	BUILD_MEMORY,	  /* a descriptor of the file that counts kills for lack of memory */
	BUILD_MEMORY_EVENT, /* v1: an eventfd that the kernel raises when memory is lacking. v2's counter says so itself */
	BUILD_STARTED,
	BUILD_KIND_COUNT
};

/* A packet from a child to its monitor. */
struct build_msg {
	uint32_t kind;
	int32_t a, b;	/* ERROR: class, errno; MADE: pid, 1 when the terminal's master comes along */
	uint64_t ticks; /* MADE: start time */
	char text[MONITOR_TEXT_MAX];
};

/* Builds, with stdio as descriptors 0, 1, 2 (-1 = /dev/null), a terminal of that size; MADE or ERROR, then MEMORY and
 * MEMORY_EVENT where there is something to watch. With MONITOR_EXEC it is a process in a running container instead. */
void monitor_build_run(const struct monitor_spawn *s, const int stdio[3], uint16_t rows, uint16_t cols, int channel)
	__attribute__((noreturn));
/* Lets a built one run: STARTED or ERROR. */
void monitor_build_start(const struct monitor_spawn *s, int channel) __attribute__((noreturn));
