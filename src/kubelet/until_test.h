/* Waiting in a test: the loop turns until a condition holds, forty seconds at most (an emulated processor needs more than
 * ten seconds for 65 MB over TLS). words: what else to say when it never does. */
#pragma once

#include "loop/loop.h"

static void until_tick(struct loop_timer *t)
{
	(void)t;
}

#define until_in(l, words, condition)                                                                                    \
	do {                                                                                                             \
		int64_t end_ = loop_now_ms(l) + 40000;                                                                   \
		struct loop_timer tick_;                                                                                 \
		loop_timer_init(&tick_, (l), "tick", until_tick);                                                        \
		while (!(condition) && loop_now_ms(l) < end_) {                                                          \
			loop_timer_start(&tick_, 50);                                                                    \
			(void)loop_turn((l), true);                                                                      \
		}                                                                                                        \
		loop_timer_stop(&tick_);                                                                                 \
		if (!(condition))                                                                                        \
			fail_msg("waited in vain for %s; %s", #condition, (words));                                      \
	} while (0)
