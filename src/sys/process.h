/* Processes by descriptor, and facts of /proc about them.
 *
 * A number alone may by now be somebody else. What identifies a process for good is (number, start time): both are
 * kept in a container's state and compared before anything is done to it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/base.h"

struct sys_process {
	pid_t pid;
	char state;	      /* 'R', 'S', 'Z', ... */
	uint64_t start_ticks; /* since boot, field 22 of /proc/PID/stat */
	int wait_status;      /* of one that has ended and is not reaped yet, as wait(2) gives it; else 0 */
};

/* 0; NOT_FOUND when there is none of that number. */
int sys_process_read(pid_t pid, struct sys_process *out, struct err *err);
/* True when the process of that number and start time exists and is no zombie. */
bool sys_process_alive(pid_t pid, uint64_t start_ticks);
/* A pidfd of exactly that process: opened first, compared after. -1 and errno (ESRCH). */
int sys_process_open(pid_t pid, uint64_t start_ticks);
/* "0-3,8", a list of processors or nodes of memory as the kernel takes and shows it, blanks around its parts. Bit n of bytes n / 8
 * is number n. False: it is none, or has a number that is too large. An empty list is one. */
bool sys_numbers_parse(struct span list, uint8_t *out_bits, size_t bytes);
/* Reads a file of at most limit_bytes into out. For files of /proc and cgroupfs, whose size is not known. -1 and errno. */
int sys_file_read(int dirfd, const char *name, struct buf *out, size_t limit_bytes);
/* Writes text in one write(2) to an existing file. -1 and errno. */
int sys_file_write(int dirfd, const char *name, const char *text, size_t len);
