/* The two files that a monitor writes, without an allocator. See monitor.h. */
#pragma once

#include "monitor/monitor.h"

/* Start time of a process, as sys_process has it; 0 when it cannot be read. */
uint64_t monitor_record_ticks(pid_t pid);
/* The text is made in scratch, MONITOR_RECORD_MAX bytes. An id or error that would not fit is cut: the JSON stays whole. */
#define MONITOR_RECORD_MAX 4096
/* This boot of the machine, by its name (boot_id); "" when the kernel does not tell. */
#define MONITOR_BOOT_MAX 40
void monitor_record_boot(char out[MONITOR_BOOT_MAX]);
/* For the spawner, once: the monitors that it clones know it, and write it into monitor.json. */
void monitor_record_boot_learn(void);
/* monitor.json: who watches. */
int monitor_record_self(char *scratch, int dir, const char *id, pid_t container, uint64_t container_ticks,
			int64_t started_ns);
/* exit.json. */
int monitor_record_exit(char *scratch, int dir, const char *id, const struct monitor_exit *e, bool oom_known, bool durable);
