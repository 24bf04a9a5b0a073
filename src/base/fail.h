/* Failpoints: named places at which a test can make the process fail, wait or die.
 *
 *     FAILPOINT("store.commit.synced");                      // may die or wait here
 *     if (FAILPOINT_ERR("image.rename", &errno)) return ...   // may also report an errno
 *
 * Off by default and then one load and branch. Armed by the environment variable KNARR_FAIL or fail_arm:
 *     KNARR_FAIL="store.commit.synced=kill@3;image.rename=ENOSPC;engine.start=sleep:200"
 * kill: SIGKILL to ourselves; abort; exit:N; sleep:MS; an errno name or number: reported by FAILPOINT_ERR.
 * while:PATH: waits for as long as that file is there, so that a test and no clock says when it goes on; one PATH for all points.
 * @N: at the N-th passage only (from 1); @N+: from the N-th on; without: at each.
 * Names are component.operation.moment and stay stable: tests name them. The name of a work ("container view") refuses it, as
 * a full pool does (loop_work_submit). */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include "base/auto.h"

extern atomic_bool fail_armed_; /* any point armed */
int fail_hit_(const char *name); /* does what is armed; returns an errno to report, or 0 */

#define FAILPOINT(name)                                                                                                \
	do {                                                                                                           \
		if (unlikely(atomic_load_explicit(&fail_armed_, memory_order_relaxed)))                                \
			(void)fail_hit_(name);                                                                         \
	} while (0)
/* True when the point reports a failure; *errnum_ptr then holds its errno. */
#define FAILPOINT_ERR(name, errnum_ptr)                                                                                \
	({                                                                                                             \
		int fail_num_ = 0;                                                                                     \
		if (unlikely(atomic_load_explicit(&fail_armed_, memory_order_relaxed)))                                \
			fail_num_ = fail_hit_(name);                                                                   \
		if (fail_num_)                                                                                         \
			*(errnum_ptr) = fail_num_;                                                                     \
		fail_num_ != 0;                                                                                        \
	})

/* Reads KNARR_FAIL; call once at process start. Returns -1 (and arms nothing) when the text makes no sense. */
int fail_init_from_env(void);
int fail_arm(const char *spec); /* the same text; replaces what was armed; "" disarms */
