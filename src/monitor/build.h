/* The monitor's children: what parses, builds and starts, with all the memory that this takes. See monitor.h. */
#pragma once

#include "monitor/monitor.h"

enum build_kind { BUILD_WARNING, BUILD_ERROR, BUILD_MADE, BUILD_MEMORY, BUILD_STARTED, BUILD_KIND_COUNT };

/* A packet from a child to its monitor. */
struct build_msg {
	uint32_t kind;
	int32_t a, b;	/* ERROR: class, errno; MADE: pid, 1 when the terminal's master comes along */
	uint64_t ticks; /* MADE: start time */
	char text[MONITOR_TEXT_MAX];
};

/* Builds, with stdio as descriptors 0, 1, 2 (-1 = /dev/null); MADE or ERROR, then MEMORY with a descriptor of the file that
 * counts kills for lack of memory, when there is one. */
void monitor_build_run(const struct monitor_spawn *s, const int stdio[3], int channel) __attribute__((noreturn));
/* Lets a built one run: STARTED or ERROR. */
void monitor_build_start(const struct monitor_spawn *s, int channel) __attribute__((noreturn));
